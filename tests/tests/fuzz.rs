//! The short run of every fuzz target: its seeds as they are, then mutations of them.
//!
//! Not here: the properties (`perdura_tests::fuzz`), the long run (`fuzz/README.md`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use perdura_tests::fuzz::TARGETS;
use rand::prelude::*;

/// Mutated inputs of a target, at most.
const MUTATIONS_MAX: usize = 2_000;
/// Time for a target's mutations, at most: those that run a whole server are slower.
const TIME_MAX: Duration = Duration::from_secs(4);

fn seeds(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("readable"))).collect()
}

fn check(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).expect("a target");
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "no seeds for {name}");
    for (path, bytes) in &seeds {
        eprintln!("{}", path.display());
        target(bytes);
    }
    let mut rng = SmallRng::seed_from_u64(1);
    let began = Instant::now();
    for _ in 0..MUTATIONS_MAX {
        if began.elapsed() > TIME_MAX {
            break;
        }
        let (path, seed) = seeds.choose(&mut rng).expect("at least one");
        let (_, other) = seeds.choose(&mut rng).expect("at least one");
        let mutated = mutate(seed, other, &mut rng);
        // Shown only when the test fails; enough to make it a seed.
        eprintln!("{}: {}", path.display(), mutated.escape_ascii());
        target(&mutated);
    }
}

/// A few changes of the kinds that find most: bits, bytes, numbers at their edges, cuts, repetitions, splices.
fn mutate(seed: &[u8], other: &[u8], rng: &mut SmallRng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.random_range(1..4) {
        let len = bytes.len();
        let at = rng.random_range(0..=len);
        let end = rng.random_range(at..=len);
        match rng.random_range(0..7) {
            0 if at < len => bytes[at] ^= 1 << rng.random_range(0..8),
            1 if at < len => bytes[at] = rng.random(),
            2 if at < len => bytes[at] = *[0, 1, 0x7f, 0x80, 0xff, b'*', b'$'].choose(rng).expect("some"),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..end)),
            5 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                let from = rng.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

#[test]
fn every_target_has_a_binary_of_its_name() {
    for (name, _) in TARGETS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fuzz/fuzz_targets/{name}.rs"));
        assert!(path.is_file(), "{}", path.display());
    }
}

#[test]
fn requests_are_the_same_however_they_are_cut() {
    check("resp");
}

#[test]
fn no_bytes_of_a_client_break_a_server() {
    check("commands");
}

#[test]
fn snapshots_are_the_same_however_they_are_cut() {
    check("rdb");
}

#[test]
fn an_append_only_file_is_served_again_or_left_alone() {
    check("aof");
}

#[test]
fn packed_collections_that_pass_the_check_are_sound() {
    check("listpack");
}

#[test]
fn payloads_are_refused_or_sound() {
    check("restore");
}

#[test]
fn no_script_breaks_the_interpreter_or_its_server() {
    check("lua");
}
