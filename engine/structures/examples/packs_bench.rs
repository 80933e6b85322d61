//! What an element costs in a `SortedSet` and in a `Quicklist`: bytes, and nanoseconds per operation.
//!
//! Exists to check the goals of both: at most 76 bytes per member of 12 bytes, all in, and an index in a list of a
//! million found in no more than the time Redis needs to walk its nodes.
//!
//! `cargo run --release -p perdura-structures --example packs_bench [elements]`. Prints its parameters and a digest of
//! what was read, so that two runs can be compared.

use perdura_structures::listpack::Item;
use perdura_structures::quicklist::{Fill, Quicklist};
use perdura_structures::sorted_set::SortedSet;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SEED: u64 = 42;

fn main() {
    let count =
        std::env::args().nth(1).map_or(1_000_000, |count| count.parse().expect("a number of elements"));
    println!("{count} elements of 12 bytes, seed {SEED}");
    sorted_set(count);
    quicklist(count);
}

fn sorted_set(count: usize) {
    let members: Vec<_> = (0..count).map(|number| format!("m:{number:010}").into_bytes()).collect();
    let mut random = SEED;
    let before = allocated();
    let mut set = SortedSet::new(SEED);
    report("zset: add, random scores", count, || {
        let mut slowest_ns = 0;
        for member in &members {
            let start = Instant::now();
            set.insert(member, (next(&mut random) % 1_000_000_007) as f64);
            slowest_ns = slowest_ns.max(start.elapsed().as_nanos());
        }
        slowest_ns as u64
    });
    report_memory(set.memory(), allocated() - before, count);
    let pick = |random: &mut u64| next(random) as usize % count;
    report("zset: score", count, || {
        (0..count).map(|_| set.score(&members[pick(&mut random)]).unwrap() as u64).fold(0, u64::wrapping_add)
    });
    report("zset: rank", count, || {
        (0..count).map(|_| set.rank(&members[pick(&mut random)]).unwrap() as u64).fold(0, u64::wrapping_add)
    });
    report("zset: ten from a random rank", count, || {
        (0..count).map(|_| pick(&mut random)).map(|rank| set.range(rank..rank + 10).len() as u64).sum()
    });
    report("zset: iter", count, || set.iter().fold(0, |sum, (_, score)| sum + score as u64));
    report("zset: move, random scores", count, || {
        for _ in 0..count {
            set.insert(&members[pick(&mut random)], (next(&mut random) % 1_000_000_007) as f64);
        }
        set.len() as u64
    });
    report("zset: remove half", count / 2, || {
        members.iter().step_by(2).filter_map(|name| set.remove(name)).count() as u64
    });
    report_memory(set.memory(), allocated() - before, set.len());
    report("zset: pop_first the rest", set.len(), || {
        std::iter::from_fn(|| set.pop_first()).fold(0, |sum, (_, score)| sum + score as u64)
    });
    report("zset: add, equal scores", count, || {
        for member in &members {
            set.insert(member, 0.0);
        }
        set.len() as u64
    });
    report_memory(set.memory(), allocated() - before, set.len());
}

fn quicklist(count: usize) {
    let mut random = SEED;
    let before = allocated();
    let mut list = Quicklist::new(Fill::new(-2));
    report("list: push_back", count, || {
        for number in 0..count {
            list.push_back(format!("m:{number:010}").as_bytes());
        }
        list.len() as u64
    });
    report_memory(list.memory(), allocated() - before, count);
    report("list: get at a random index", count, || {
        (0..count)
            .filter_map(|_| list.get((next(&mut random) as usize % count) as i64))
            .fold(0, |sum, item| sum + digest(item))
    });
    report("list: iter", count, || list.iter().fold(0, |sum, item| sum + digest(item)));
    report("list: insert at a random index", count / 10, || {
        for _ in 0..count / 10 {
            list.insert(next(&mut random) as usize % list.len(), b"inserted");
        }
        list.len() as u64
    });
    report("list: pop_front all", list.len(), || {
        std::iter::from_fn(|| list.pop_front()).fold(0, |sum, value| sum + value.len() as u64)
    });
}

fn digest(item: Item<'_>) -> u64 {
    match item {
        Item::Int(value) => value as u64,
        Item::Bytes(bytes) => u64::from(bytes[bytes.len() - 1]),
    }
}

/// Runs `work` once and prints what one of its `count` operations took.
fn report(what: &str, count: usize, work: impl FnOnce() -> u64) {
    let start = Instant::now();
    let digest = work();
    let ns = start.elapsed().as_nanos() as f64 / count as f64;
    println!("{what:<32} {ns:>8.1} ns each   digest {digest}");
}

fn report_memory(computed: usize, allocated: usize, count: usize) {
    let per_element = |bytes: usize| bytes as f64 / count as f64;
    println!(
        "    {:.2} bytes each as computed, {:.2} by jemalloc",
        per_element(computed),
        per_element(allocated)
    );
}

/// Bytes jemalloc has handed out.
fn allocated() -> usize {
    tikv_jemalloc_ctl::epoch::advance().expect("jemalloc keeps statistics");
    tikv_jemalloc_ctl::stats::allocated::read().expect("jemalloc keeps statistics")
}

/// The next number of a linear congruential sequence; its low bits are dropped because they repeat early.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 20
}
