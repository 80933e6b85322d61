//! The world judged by a toy engine: a correct one never loses a reply, and each mistake is found.

mod toy;

use std::collections::BTreeMap;

use perdura_core::host::{EIO, Signal};
use perdura_sim::{
    Crash, Delay, End, Fault, FaultKind, Happening, Moment, Operation, Profile, SimRng, Sometimes, World,
    WorldConfig,
};
use toy::{Mistake, Toy};

fn world(seed: u64, profile: Profile) -> World<Toy> {
    World::new(seed, WorldConfig::new(profile))
}

fn start(world: &mut World<Toy>, mistake: Mistake) {
    world.start(|_| Toy::new(mistake));
}

/// One request, one reply; `None` if the server went away.
fn ask(world: &mut World<Toy>, line: &str) -> Option<String> {
    let client = world.connect();
    world.send(client, format!("{line}\n"));
    let is_answered = |world: &World<Toy>| world.received(client).ends_with(b"\n");
    if !world.run_until(20_000_000, is_answered) {
        return None;
    }
    let reply = String::from_utf8(world.take(client)).expect("text");
    world.hang_up(client);
    world.run_for(1_000);
    world.forget(client);
    Some(reply.trim_end().into())
}

#[test]
fn value_set_before_a_restart_is_there_after_it() {
    let mut world = world(1, Profile::Strict);
    start(&mut world, Mistake::None);
    assert_eq!(ask(&mut world, "set k v").as_deref(), Some("ok"));
    assert_eq!(world.crash(Crash::Power), Some(End::Crashed(Crash::Power)));
    start(&mut world, Mistake::None);
    assert_eq!(ask(&mut world, "get k").as_deref(), Some("v"));
}

#[test]
fn server_stops_when_told_to() {
    let mut world = world(1, Profile::Strict);
    start(&mut world, Mistake::None);
    ask(&mut world, "set k v");
    world.signal(Signal::Terminate);
    assert_eq!(world.run_for(1_000_000), Some(End::Exited(0)));
    assert!(world.engine().is_none());
}

#[test]
fn connection_without_a_server_is_closed() {
    let mut world = world(1, Profile::Strict);
    let client = world.connect();
    world.run_for(1_000);
    assert!(world.is_closed(client));
}

#[test]
fn client_that_does_not_read_gets_nothing_until_it_does() {
    let mut world = world(1, Profile::Strict);
    start(&mut world, Mistake::None);
    let client = world.connect();
    world.set_reading(client, false);
    world.send(client, "get k\n");
    world.run_for(100_000);
    assert_eq!((world.received(client), world.released_bytes(client)), (b"".as_slice(), 0));
    world.set_reading(client, true);
    world.run_for(100_000);
    assert_eq!(world.received(client), b"none\n");
}

#[test]
fn snapshot_child_shows_the_data_of_its_fork() {
    let mut world = world(1, Profile::Strict);
    start(&mut world, Mistake::None);
    ask(&mut world, "set k old");
    ask(&mut world, "bgsave");
    ask(&mut world, "set k new");
    assert!(world.run_until(10_000_000, |world| world.engine().is_some_and(|engine| engine.snapshots == 1)));
    let dump = String::from_utf8(world.disk().peek("dump").expect("renamed").to_vec()).expect("text");
    assert!(dump.ends_with(" k old\n"), "{dump:?}");
}

#[test]
fn orphaned_child_goes_on_writing() {
    let mut world = world(1, Profile::Strict);
    start(&mut world, Mistake::None);
    ask(&mut world, "set k v");
    ask(&mut world, "bgsave");
    assert_eq!(world.children_count(), 1);
    world.crash(Crash::Server);
    assert_eq!(world.children_count(), 1);
    world.run_for(1_000_000);
    assert_eq!(world.children_count(), 0);
    assert!(world.sometimes().count(Happening::OrphanActed) > 0);
    let temps = world.disk().files().into_keys().filter(|name| name.starts_with("temp-")).count();
    assert_eq!(temps, 1, "nobody was left to rename it");
}

#[test]
fn killed_child_leaves_its_file_and_is_reported() {
    let mut world = world(1, Profile::Strict);
    start(&mut world, Mistake::None);
    ask(&mut world, "set k v");
    ask(&mut world, "bgsave");
    assert_eq!(world.crash(Crash::Children), None);
    assert_eq!(ask(&mut world, "get k").as_deref(), Some("v"));
    assert_eq!(world.engine().map(|engine| engine.snapshots), Some(0));
}

#[test]
fn crash_point_in_loading_crashes_the_recovery() {
    let mut world = world(1, Profile::Strict);
    start(&mut world, Mistake::None);
    ask(&mut world, "set k v");
    world.crash(Crash::Power);
    let next = world.disk().operation_next();
    world.crash_at(next, Moment::After, Crash::Power);
    start(&mut world, Mistake::None);
    assert_eq!(world.run_for(1_000_000), Some(End::Crashed(Crash::Power)));
    assert_eq!(world.sometimes().count(Happening::PowerLost), 2);
    start(&mut world, Mistake::None);
    assert_eq!(ask(&mut world, "get k").as_deref(), Some("v"));
}

/// One history: rounds of requests from several clients, each ended by a crash, and what was acknowledged.
struct History {
    world: World<Toy>,
    rng: SimRng,
    mistake: Mistake,
    /// For each key: the value acknowledged last, and those sent after it whose fate is unknown.
    known: BTreeMap<String, (String, Vec<String>)>,
    value_next: u64,
}

impl History {
    fn new(seed: u64, profile: Profile, mistake: Mistake) -> History {
        let mut rng = SimRng::new(seed);
        let mut config = WorldConfig::new(profile);
        // Every world is a little different: quick and slow disks, long and short turns.
        config.sync = Delay::between(50, [200, 8_000, 200_000][rng.index(3)]);
        config.turn = Delay::between(0, [1, 500][rng.index(2)]);
        let world = World::new(rng.number(), config);
        History { world, rng, mistake, known: BTreeMap::new(), value_next: 0 }
    }

    /// Runs rounds of `requests` each; says what was lost.
    fn run(&mut self, rounds: u64, requests: u64) -> Result<(), String> {
        for _ in 0..rounds {
            self.plan_trouble();
            start(&mut self.world, self.mistake);
            self.work(requests);
            self.end_round();
            self.check()?;
        }
        Ok(())
    }

    fn plan_trouble(&mut self) {
        let rng = &mut self.rng;
        if rng.chance(500) {
            let at = self.world.disk().operation_next() + rng.below(60);
            let moment = [Moment::Before, Moment::Within, Moment::After][rng.index(3)];
            let crash = [Crash::Server, Crash::Group, Crash::Power, Crash::Children][rng.index(4)];
            self.world.crash_at(at, moment, crash);
        }
        let kinds = [
            (Operation::Fdatasync, FaultKind::Errno(EIO)),
            (Operation::Fdatasync, FaultKind::Slow(2_000_000)),
            (Operation::Write, FaultKind::Short(3)),
            (Operation::Write, FaultKind::Interrupted),
            (Operation::Write, FaultKind::Writeback),
        ];
        if rng.chance(400) {
            let (operation, kind) = kinds[rng.index(kinds.len())];
            let skip = rng.below(20) as u32;
            self.world.disk_mut().add_fault(Fault { operation, path: "log".into(), skip, kind });
        }
        if rng.chance(100) {
            self.world.fail_fork(11);
        }
        if rng.chance(100) {
            self.world.jump_wall_clock(-3_600_000_000);
        }
    }

    fn work(&mut self, requests: u64) {
        let clients: Vec<_> = (0..3).map(|_| self.world.connect()).collect();
        let mut sent: Vec<Vec<(String, String)>> = vec![Vec::new(); clients.len()];
        for _ in 0..requests {
            let index = self.rng.index(clients.len());
            let key = format!("{}{}", index, self.rng.below(4));
            self.value_next += 1;
            let value = format!("{}-{}", self.value_next, "x".repeat(self.rng.below(200) as usize));
            self.world.send(clients[index], format!("set {key} {value}\n"));
            sent[index].push((key, value));
            if self.rng.chance(20) {
                let client = self.world.connect();
                self.world.send(client, if self.rng.chance(800) { "bgsave\n" } else { "save\n" });
            }
            let pause_us = self.rng.below(2_000);
            if self.world.run_for(pause_us).is_some() {
                break;
            }
        }
        let pause_us = self.rng.below(20_000);
        self.world.run_for(pause_us);
        if self.world.engine().is_some() {
            match self.rng.below(4) {
                0 => self.world.signal(Signal::Terminate),
                1 => drop(self.world.crash(Crash::Power)),
                2 => drop(self.world.crash(Crash::Server)),
                _ => drop(self.world.crash(Crash::Group)),
            }
            self.world.run_for(10_000_000);
        }
        self.world.run_for(1_000);
        for (client, sent) in clients.into_iter().zip(sent) {
            let acks = self.world.take(client).iter().filter(|byte| **byte == b'\n').count();
            for (index, (key, value)) in sent.into_iter().enumerate() {
                let known = self.known.entry(key).or_insert(("none".into(), Vec::new()));
                if index < acks {
                    *known = (value, Vec::new());
                } else {
                    known.1.push(value);
                }
            }
        }
    }

    fn end_round(&mut self) {
        if self.rng.chance(300) {
            self.world.crash(Crash::Power);
        }
        if self.world.engine().is_some() {
            self.world.crash(Crash::Group);
        }
        self.world.disk_mut().clear_faults();
    }

    /// Restarts and compares, and then again after one more power loss: what was served once must stay.
    fn check(&mut self) -> Result<(), String> {
        self.world.crash(Crash::Children);
        for _ in 0..2 {
            start(&mut self.world, self.mistake);
            let is_up = |world: &World<Toy>| world.engine().is_some_and(|engine| !engine_is_loading(engine));
            if !self.world.run_until(10_000_000, is_up) {
                return Err("does not start".into());
            }
            for (key, (acknowledged, maybe)) in &mut self.known {
                let found = self.world.engine().and_then(|engine| engine.get(key)).unwrap_or("none");
                if found != acknowledged && !maybe.iter().any(|value| value == found) {
                    return Err(format!("{key}: {acknowledged:?} was acknowledged, {found:?} found"));
                }
                (*acknowledged, *maybe) = (found.to_string(), Vec::new());
            }
            self.world.crash(Crash::Power);
        }
        Ok(())
    }
}

fn engine_is_loading(engine: &Toy) -> bool {
    perdura_core::host::Engine::is_loading(engine)
}

/// Seeds of `0..count` in which the engine lost something.
fn failures(count: u64, profile: Profile, mistake: Mistake, sometimes: &mut Sometimes) -> Vec<(u64, String)> {
    let run = |seed| {
        let mut history = History::new(seed, profile, mistake);
        let result = history.run(3, 40);
        sometimes.add(history.world.sometimes());
        result.err().map(|why| (seed, why))
    };
    (0..count).filter_map(run).collect()
}

/// What could go wrong: the world reports a sync that did not happen, or an engine that is right is called wrong.
/// How this would notice: an engine that is right fails no seed, on no honest file system.
#[test]
fn correct_engine_loses_nothing_on_any_honest_file_system() {
    let mut sometimes = Sometimes::default();
    for profile in Profile::HONEST {
        assert_eq!(failures(60, profile, Mistake::None, &mut sometimes), [], "{profile:?}");
    }
    use Happening::*;
    for happening in [
        PowerLost,
        ServerKilled,
        CrashInRecovery,
        SyncOutlivedProcess,
        OrphanActed,
        ChildKilled,
        ForkFailed,
        PidReused,
        WallClockWentBack,
        StoppedGracefully,
        InputsCoalesced,
        OutputTakenInPart,
        SyncOverOneSecond,
        ShortWrite,
        Interrupted,
        WritebackFailed,
        SyncErrorSeenLater,
        SyncFailedClean,
        SyncFailedReverted,
        ClientCut,
    ] {
        assert!(sometimes.count(happening) > 0, "{happening:?} never happened");
    }
}

#[test]
fn each_mistake_is_found() {
    let mut sometimes = Sometimes::default();
    for mistake in [
        Mistake::RepliesBeforeSync,
        Mistake::KeepsTornTail,
        Mistake::ForgetsDirectory,
        Mistake::TrustsTheCache,
    ] {
        let found = failures(60, Profile::Strict, mistake, &mut sometimes);
        assert!(!found.is_empty(), "{mistake:?} was not found");
    }
}

#[test]
fn lying_disk_fails_every_engine() {
    let found = failures(20, Profile::LyingDisk, Mistake::None, &mut Sometimes::default());
    assert!(found.len() > 10, "only {} of 20", found.len());
}

#[test]
fn same_seed_same_run() {
    let digest = |seed| {
        let mut history = History::new(seed, Profile::Strict, Mistake::None);
        history.run(2, 30).expect("correct");
        history.world.digest()
    };
    assert_eq!((0..5).map(digest).collect::<Vec<_>>(), (0..5).map(digest).collect::<Vec<_>>());
    assert_ne!(digest(1), digest(2));
}
