//! How long single operations of the structures take: `cargo bench -p perdura-structures`.
//!
//! Sizes are those at which Redis changes an encoding, and sizes that leave the processor's cache.

use divan::{Bencher, black_box, counter::ItemsCount};
use perdura_structures::{dict::Dict, listpack::Listpack, sorted_set::SortedSet, table::Table};

fn main() {
    divan::main();
}

/// Operations timed together, each on another key.
const OPERATIONS: usize = 1024;

fn key(number: usize) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

/// Keys all over a keyspace of this size.
fn keys(of: usize) -> Vec<Vec<u8>> {
    (0..OPERATIONS).map(|number| key(number * 7919 % of)).collect()
}

fn filled_table(len: usize) -> Table<u64> {
    let mut table = Table::new(1);
    for number in 0..len {
        let key = key(number);
        table.set_bytes(table.hash(&key), &key, b"a value of sixtee", 0, false);
    }
    table
}

#[divan::bench(args = [1000, 100_000, 1_000_000])]
fn table_get_one_by_one(bencher: Bencher, len: usize) {
    let (table, keys) = (filled_table(len), keys(len));
    bencher.counter(ItemsCount::new(OPERATIONS)).bench_local(|| {
        keys.iter().filter(|key| table.get(table.hash(black_box(key)), key).is_some()).count()
    });
}

#[divan::bench(args = [1000, 100_000, 1_000_000])]
fn table_get_in_batches_of_32(bencher: Bencher, len: usize) {
    let (table, keys) = (filled_table(len), keys(len));
    bencher.counter(ItemsCount::new(OPERATIONS)).bench_local(|| {
        let mut found = 0;
        for batch in keys.chunks(32) {
            let mut hashes = [0; 32];
            hashes.iter_mut().zip(batch).for_each(|(hash, key)| *hash = table.hash(black_box(key)));
            table.prefetch(&hashes);
            found += batch.iter().zip(hashes).filter(|(key, hash)| table.get(*hash, key).is_some()).count();
        }
        found
    });
}

#[divan::bench(args = [100, 100_000])]
fn dict_get(bencher: Bencher, len: usize) {
    let mut dict = Dict::new(1);
    (0..len).for_each(|number| _ = dict.insert(&key(number), number as u64));
    let keys = keys(len);
    bencher
        .counter(ItemsCount::new(OPERATIONS))
        .bench_local(|| keys.iter().filter_map(|key| dict.get(black_box(key))).sum::<u64>());
}

#[divan::bench]
fn dict_insert(bencher: Bencher) {
    let keys = keys(usize::MAX);
    bencher.counter(ItemsCount::new(OPERATIONS)).with_inputs(|| Dict::new(1)).bench_local_values(
        |mut dict| {
            keys.iter().for_each(|key| _ = dict.insert(black_box(key), 1u64));
            dict
        },
    );
}

#[divan::bench(args = [16, 128])]
fn listpack_find(bencher: Bencher, len: usize) {
    let mut pack = Listpack::new();
    (0..len).for_each(|number| pack.push_back(key(number).as_slice()));
    let wanted = key(len - 1);
    bencher.bench_local(|| pack.find(black_box(&wanted), 1));
}

#[divan::bench]
fn listpack_push_back(bencher: Bencher) {
    bencher.counter(ItemsCount::new(128usize)).with_inputs(Listpack::new).bench_local_values(|mut pack| {
        (0..128).for_each(|_| pack.push_back(black_box(b"sixteen bytes ..".as_slice())));
        pack
    });
}

#[divan::bench(args = [1000, 100_000])]
fn sorted_set_moves_a_member(bencher: Bencher, len: usize) {
    let mut set = SortedSet::new(1);
    (0..len).for_each(|number| _ = set.insert(&key(number), number as f64));
    let keys = keys(len);
    let mut score = 0.0;
    bencher.counter(ItemsCount::new(OPERATIONS)).bench_local(|| {
        for key in &keys {
            score = (score + 7919.5) % len as f64;
            set.insert(black_box(key), score);
        }
    });
}

#[divan::bench(args = [1000, 100_000])]
fn sorted_set_rank(bencher: Bencher, len: usize) {
    let mut set = SortedSet::new(1);
    (0..len).for_each(|number| _ = set.insert(&key(number), number as f64));
    let keys = keys(len);
    bencher
        .counter(ItemsCount::new(OPERATIONS))
        .bench_local(|| keys.iter().filter_map(|key| set.rank(black_box(key))).sum::<usize>());
}
