//! One run of the server process: its engine, what waits to be handed in, and what it asked for.
//!
//! Exists so that the death of a process is the drop of one value.
//!
//! Not here: who performs what it asked for, and when (`world.rs`).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use perdura_core::host::{ClientId, Completion, Effect, Effects, Engine, FileId, Signal};

use crate::client::ClientKey;
use crate::disk::{ProcessId, SyncStarted};
use crate::work::Work;

pub(crate) struct Server<E> {
    /// In one place for life: a server is moved about several times in each step.
    pub engine: Box<E>,
    pub process: ProcessId,
    pub pid: i32,
    /// What arrived since the last turn, in order.
    pub inbox: VecDeque<Input>,
    /// When the next turn is due if something is in the inbox.
    pub turn_at_us: u64,
    /// When the last turn was.
    pub turned_at_us: u64,
    /// It is busy or asleep until then.
    pub free_at_us: u64,
    pub effects: Effects,
    pub work: Work,
    pub appends: BTreeMap<FileId, Bytes>,
    /// Syncs in flight, and when they began.
    pub syncs: BTreeMap<FileId, (SyncStarted, u64)>,
    pub clients: BTreeMap<ClientId, ClientKey>,
}

/// Something that happened and was not handed to the engine.
#[derive(Debug)]
pub(crate) enum Input {
    Opened(ClientKey),
    Readable(ClientKey),
    HungUp(ClientKey),
    Writable(ClientKey),
    Completed(Completion),
    Signalled(Signal),
}

impl<E: Engine> Server<E> {
    pub fn new(engine: E, process: ProcessId, pid: i32, now_us: u64) -> Server<E> {
        Server {
            engine: Box::new(engine),
            process,
            pid,
            inbox: VecDeque::new(),
            turn_at_us: now_us,
            turned_at_us: now_us,
            free_at_us: now_us,
            effects: Effects::new(),
            work: Work::default(),
            appends: BTreeMap::new(),
            syncs: BTreeMap::new(),
            clients: BTreeMap::new(),
        }
    }

    /// When it wants its next turn.
    pub fn due_us(&self) -> u64 {
        let wanted = if !self.inbox.is_empty() || self.engine.is_loading() {
            self.turn_at_us
        } else {
            self.engine.wake_at()
        };
        // A turn that asks for the next at once gets it a microsecond later: time always goes on.
        wanted.max(self.turned_at_us + 1).max(self.free_at_us)
    }

    /// Effects that must be performed before anything else is handed in.
    pub fn has_urgent_effects(&self) -> bool {
        let is_urgent = |effect: &Effect| {
            use Effect::{Die, Exit, Fork, Restart, Save, Sleep};
            matches!(effect, Fork(_) | Save(_) | Sleep { .. } | Exit(_) | Restart | Die(_))
        };
        self.effects.iter().any(is_urgent)
    }
}
