//! How a scenario is shown to be one: an engine that makes the peer's mistake fails it, ours passes.
//!
//! A mistake is on for the whole process, so scenarios run one after the other.

use std::panic::{catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, PoisonError};

use perdura_core::mutant::{self, Mutant};
use perdura_sim::HostMutant;
use perdura_sim::faults::{Fault, FaultKind, Operation};
use perdura_sim::world::Crash;
use perdura_tests::simulated::{Simulated, set_host_mutant};

/// Whose mistake a peer makes.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    Engine(Mutant),
    Host(HostMutant),
}

impl From<Mutant> for Peer {
    fn from(mutant: Mutant) -> Peer {
        Peer::Engine(mutant)
    }
}

impl From<HostMutant> for Peer {
    fn from(mutant: HostMutant) -> Peer {
        Peer::Host(mutant)
    }
}

static ENGINE: Mutex<()> = Mutex::new(());

/// Runs a scenario the peer's way, which must fail, and ours.
pub fn fails_with(peer: impl Into<Peer>, scenario: fn()) {
    let _turn = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    let peer = peer.into();
    match peer {
        Peer::Engine(mutant) => mutant::set(Some(mutant)),
        Peer::Host(mutant) => set_host_mutant(Some(mutant)),
    }
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(scenario);
    set_hook(hook);
    mutant::set(None);
    set_host_mutant(None);
    assert!(outcome.is_err(), "{peer:?} was not noticed: the scenario shows nothing");
    scenario();
}

/// Runs a scenario that no peer's mistake belongs to.
pub fn holds(scenario: impl FnOnce()) {
    let _turn = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    scenario();
}

// What most scenarios begin with.

pub const ALWAYS: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "always"), ("save", "\"\"")];
pub const EVERYSEC: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "everysec"), ("save", "\"\"")];
pub const UNDER_NO: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "no"), ("save", "\"\"")];
pub const SNAPSHOTS: &[(&str, &str)] = &[("save", "\"\"")];
pub const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
pub const INCR: &str = "appendonlydir/appendonly.aof.1.incr.aof";

/// Input/output error, and no space left.
pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;

pub fn started(settings: &[(&str, &str)]) -> Simulated {
    let mut server = Simulated::new(settings);
    server.start().unwrap();
    server
}

pub fn fail(server: &mut Simulated, operation: Operation, path: &str, kind: FaultKind) {
    server.world.disk_mut().add_fault(Fault { operation, path: path.into(), skip: 0, kind });
}

/// Waits until a field of INFO persistence has this value.
pub fn wait_for(server: &mut Simulated, field: &str, value: &str) {
    for _ in 0..3_000 {
        let info = server.say("INFO persistence");
        if info.lines().any(|line| line.trim() == format!("{field}:{value}")) {
            return;
        }
        server.wait_ms(10);
    }
    panic!("{field} never became {value}:\n{}", server.say("INFO persistence"));
}

pub fn lose_power_and_start(server: &mut Simulated) {
    server.crash(Crash::Power);
    server.world.disk_mut().clear_faults();
    server.start().unwrap();
}
