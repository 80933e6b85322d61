//! The real engine in the simulated world: that it starts, serves, and comes back after every kind of crash.
//!
//! Not here: the full oracles (`harness/`); these are the shortest runs that would show a world that cannot carry it.

use std::collections::BTreeMap;

use perdura_core::config::Config;
use perdura_core::host::{EIO, ENOSPC, Engine, Signal};
use perdura_core::node::{Node, Seeds, no_stopwatch};
use perdura_sim::{
    ClientKey, Crash, End, Fault, FaultKind, Moment, Operation, Profile, SimRng, World, WorldConfig,
};

fn start(world: &mut World<Node>, settings: &str) {
    let mut config = Config::default();
    config.load(settings, &mut |_| Err("no includes here".into())).expect("settings of the test");
    world.start(|boot| {
        let seeds = Seeds { seed: boot.seed, process_id: boot.pid as u32, stopwatch: no_stopwatch };
        Node::new(config, seeds, boot.now)
    });
}

const ALWAYS: &str = "appendonly yes\nappendfsync always\n";

fn is_up(world: &World<Node>) -> bool {
    world.engine().is_some_and(|engine| !engine.is_loading())
}

fn ask(world: &mut World<Node>, client: ClientKey, request: &str) -> String {
    world.send(client, format!("{request}\r\n"));
    let is_answered = |world: &World<Node>| world.received(client).ends_with(b"\r\n");
    assert!(world.run_until(30_000_000, is_answered), "no answer to {request}");
    String::from_utf8(world.take(client)).expect("text")
}

#[test]
fn acknowledged_write_survives_power_loss() {
    for profile in Profile::HONEST {
        let mut world = World::new(1, WorldConfig::new(profile));
        start(&mut world, ALWAYS);
        let client = world.connect();
        assert_eq!(ask(&mut world, client, "SET k v"), "+OK\r\n");
        world.crash(Crash::Power);
        start(&mut world, ALWAYS);
        let client = world.connect();
        assert_eq!(ask(&mut world, client, "GET k"), "$1\r\nv\r\n", "{profile:?}");
    }
}

#[test]
fn shutdown_ends_the_process() {
    let mut world = World::new(1, WorldConfig::new(Profile::Strict));
    start(&mut world, ALWAYS);
    let client = world.connect();
    ask(&mut world, client, "SET k v");
    world.signal(Signal::Terminate);
    assert_eq!(world.run_for(30_000_000), Some(End::Exited(0)));
}

/// The last operations on the disk.
fn recent(world: &World<Node>) -> String {
    world.disk().trace().recent().map(|entry| format!("{entry}\n")).collect()
}

/// What the kernel may do to an operation without its failing.
const TRANSPARENT: [(Operation, FaultKind); 4] = [
    (Operation::Write, FaultKind::Short(5)),
    (Operation::Write, FaultKind::Interrupted),
    (Operation::Fdatasync, FaultKind::Interrupted),
    (Operation::Fdatasync, FaultKind::Slow(3_000_000)),
];

/// What may fail, once in a round.
const TROUBLE: [(Operation, FaultKind); 7] = [
    (Operation::Fdatasync, FaultKind::Errno(EIO)),
    (Operation::Fsync, FaultKind::Errno(EIO)),
    (Operation::Write, FaultKind::Errno(ENOSPC)),
    (Operation::Write, FaultKind::Short(5)),
    (Operation::Write, FaultKind::Writeback),
    (Operation::Rename, FaultKind::Errno(EIO)),
    (Operation::Open, FaultKind::Errno(EIO)),
];

/// One history of counters that only grow: what a client saw must never shrink.
fn run(seed: u64, profile: Profile, trouble: &[(Operation, FaultKind)]) -> Result<u64, String> {
    let mut rng = SimRng::new(seed);
    let mut world = World::new(rng.number(), WorldConfig::new(profile));
    let mut floors: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for _ in 0..4 {
        if rng.chance(500) {
            let at = world.disk().operation_next() + rng.below(80);
            let moment = [Moment::Before, Moment::Within, Moment::After][rng.index(3)];
            world.crash_at(at, moment, [Crash::Server, Crash::Group, Crash::Power][rng.index(3)]);
        }
        if !trouble.is_empty() && rng.chance(300) {
            let (operation, kind) = trouble[rng.index(trouble.len())];
            let skip = rng.below(40) as u32;
            world.disk_mut().add_fault(Fault { operation, path: String::new(), skip, kind });
        }
        start(&mut world, ALWAYS);
        let client = world.connect();
        let mut sent: Vec<u64> = Vec::new();
        for _ in 0..50 {
            let key = rng.below(5);
            sent.push(key);
            world.send(client, format!("INCR k{key}\r\n"));
            if rng.chance(30) {
                let other = world.connect();
                world.send(other, ["BGREWRITEAOF\r\n", "BGSAVE\r\n"][rng.index(2)]);
            }
            if world.run_for(rng.below(3_000)).is_some() {
                break;
            }
        }
        if world.engine().is_some() {
            world.crash([Crash::Server, Crash::Group, Crash::Power][rng.index(3)]);
        }
        world.run_for(10_000_000);
        let replies = String::from_utf8(world.take(client)).expect("text");
        // An error is a reply as well: -LOADING right after the start.
        let acknowledged: Vec<u64> =
            replies.lines().map(|line| line.trim_start_matches(':').parse().unwrap_or(0)).collect();
        for (index, key) in sent.into_iter().enumerate() {
            let (floor, ceiling) = floors.entry(key).or_default();
            *ceiling += 1;
            *floor = acknowledged.get(index).copied().unwrap_or(0).max(*floor);
        }
        world.crash(Crash::Group);
        world.disk_mut().clear_faults();
        start(&mut world, ALWAYS);
        if !world.run_until(30_000_000, is_up) {
            return Err(format!("seed {seed} {profile:?}: does not start\n{}", recent(&world)));
        }
        let client = world.connect();
        for (key, (floor, ceiling)) in &mut floors {
            let reply = ask(&mut world, client, &format!("INCR k{key}"));
            let found: u64 = reply.trim().trim_start_matches(':').parse().expect("a number");
            if !(*floor + 1..=*ceiling + 1).contains(&found) {
                return Err(format!(
                    "seed {seed} {profile:?} k{key}: {found} is not in {floor}+1..={ceiling}+1"
                ));
            }
            (*floor, *ceiling) = (found, found);
        }
        world.crash(Crash::Power);
    }
    Ok(world.digest())
}

#[test]
fn acknowledged_increments_survive_every_crash() {
    for profile in Profile::HONEST {
        for seed in 0..15 {
            run(seed, profile, &TRANSPARENT).unwrap_or_else(|why| panic!("{why}"));
        }
    }
}

#[test]
fn acknowledged_increments_survive_a_failing_disk() {
    for profile in Profile::HONEST {
        for seed in 0..1_000 {
            run(seed, profile, &TROUBLE).unwrap_or_else(|why| panic!("{why}"));
        }
    }
}

#[test]
fn lying_disk_is_found_out() {
    let failures = (0..10).filter(|seed| run(*seed, Profile::LyingDisk, &[]).is_err()).count();
    assert!(failures > 5, "only {failures} of 10");
}

#[test]
fn same_seed_same_run() {
    assert_eq!(
        run(7, Profile::Strict, &TRANSPARENT).expect("correct"),
        run(7, Profile::Strict, &TRANSPARENT).expect("correct")
    );
}
