//! What a key costs in a `Table`: bytes, and nanoseconds per set, get, visit and removal.
//!
//! Exists to check the two goals of the table: at most 58 bytes for `key:%012d` with 16 bytes of value, and 53 to
//! 75 ns per look-up in prefetched batches, both at five million keys.
//!
//! `cargo run --release -p perdura-structures --example table_bench [keys]`. Prints its parameters and a digest of
//! what was read, so that two runs can be compared.

use perdura_structures::table::{ContentRef, Table};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SEED: u64 = 42;
const LOOKUPS: usize = 2_000_000;

type Key = [u8; 16];

fn main() {
    let count = std::env::args().nth(1).map_or(5_000_000, |keys| keys.parse().expect("a number of keys"));
    let keys: Vec<Key> = (0..count).map(key).collect();
    let mut random = SEED;
    let wanted: Vec<Key> = (0..LOOKUPS).map(|_| keys[next(&mut random) as usize % count]).collect();
    println!("{count} keys of 16 bytes, values of 16 bytes, seed {SEED}, {LOOKUPS} look-ups");

    let allocated_before = allocated();
    let mut table = Table::<u64>::new(SEED);
    report("set", count, || keys.iter().map(|key| set(&mut table, key)).fold(0, u64::wrapping_add));
    let per_key = |bytes: usize| bytes as f64 / count as f64;
    println!("memory: {:.2} bytes per key as computed", per_key(table.memory()));
    println!("        {:.2} bytes per key by jemalloc", per_key(allocated() - allocated_before));

    for batch in [1, 16, 32, 64] {
        report(&format!("get, batches of {batch}"), LOOKUPS, || {
            wanted.chunks(batch).map(|keys| look_up(&table, keys)).fold(0, u64::wrapping_add)
        });
    }
    let absent: Vec<Key> = (count..count + LOOKUPS).map(key).collect();
    report("get of absent keys, batches of 64", LOOKUPS, || {
        absent.chunks(64).map(|keys| look_up(&table, keys)).fold(0, u64::wrapping_add)
    });
    report("iter", count, || table.iter().fold(0, |sum, entry| sum + digest(entry.content())));
    report("sample", LOOKUPS, || {
        (0..LOOKUPS as u64)
            .filter_map(|random| table.sample(random))
            .fold(0, |sum, entry| sum + digest(entry.content()))
    });
    report("remove", count, || {
        keys.iter().filter_map(|key| table.remove(table.hash(key), key)).count() as u64
    });
    assert_eq!(table.memory(), 0);
    println!("slowest sets of a second filling: {:?} (ns, keys before)", slowest_sets(&mut table, &keys));
}

fn set(table: &mut Table<u64>, key: &Key) -> u64 {
    let previous = table.set_bytes(table.hash(key), key, key, 0, false);
    u64::from(previous.existed)
}

/// The five slowest sets. A set that is slow because the machine was busy is slow at another key in the next run.
fn slowest_sets(table: &mut Table<u64>, keys: &[Key]) -> Vec<(u128, usize)> {
    let mut slowest = Vec::new();
    for (before, key) in keys.iter().enumerate() {
        let start = Instant::now();
        set(table, key);
        slowest.push((start.elapsed().as_nanos(), before));
        if slowest.len() == 1000 {
            slowest.sort_unstable_by(|a, b| b.cmp(a));
            slowest.truncate(5);
        }
    }
    slowest.sort_unstable_by(|a, b| b.cmp(a));
    slowest.truncate(5);
    slowest
}

/// A batch as the server runs one: all hashes and tags, then all pointers, then all entries, then the work.
fn look_up(table: &Table<u64>, keys: &[Key]) -> u64 {
    let mut hashes = [0; 64];
    for (hash, key) in hashes.iter_mut().zip(keys) {
        *hash = table.hash(key);
    }
    let hashes = &hashes[..keys.len()];
    table.prefetch(hashes);
    let entries = hashes.iter().zip(keys).filter_map(|(&hash, key)| table.get(hash, key));
    entries.fold(0, |sum, entry| sum + digest(entry.content()))
}

fn digest(content: ContentRef<'_, u64>) -> u64 {
    match content {
        ContentRef::Bytes(bytes) => bytes.len() as u64 + u64::from(bytes[15]),
        ContentRef::Int(_) | ContentRef::Object(_) => 0,
    }
}

fn report(what: &str, operations: usize, work: impl FnOnce() -> u64) {
    let start = Instant::now();
    let digest = work();
    let ns = start.elapsed().as_nanos() as f64 / operations as f64;
    println!("{what}: {ns:.1} ns per operation, digest {digest}");
}

fn key(number: usize) -> Key {
    format!("key:{number:012}").into_bytes().try_into().expect("sixteen bytes")
}

fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *random >> 33
}

fn allocated() -> usize {
    tikv_jemalloc_ctl::epoch::advance().expect("jemalloc keeps statistics");
    tikv_jemalloc_ctl::stats::allocated::read().expect("jemalloc keeps statistics")
}
