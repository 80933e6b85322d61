//! The engine as the world drives it, with the judge looking over its shoulder.
//!
//! Exists because a client cannot tell in which order the commands of several clients ran. Here every command is
//! handed over by itself, so the order is known; everything else is passed on unchanged.
//!
//! Always true: the engine sees the same bytes at the same times as without the judge, cut where commands end.
//!
//! Not here: what is made of it (`history.rs`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use perdura_core::config::AppendFsync;
use perdura_core::host::{
    BackupJob, BackupWritten, ClientId, Completion, Disk, Effect, Effects, Encoder, Engine, FileStep,
    IoError, Peer, Signal, SnapshotForm, SnapshotJob, Ticket,
};
use perdura_core::node::Node;
use perdura_core::persist::append_only::State as LogState;
use perdura_core::time::Now;

use super::conversation::Facts;
use super::history::{History, Logging, Sync};
use super::probe;

/// The judge's notes, shared between the engine's observer and the runner.
pub type Notes = Rc<RefCell<History>>;

/// What a list of steps puts in place, and the state it holds.
#[derive(Clone, Debug)]
enum Installed {
    Dump(usize),
    /// A base of this path.
    Base(usize, String),
}

/// The observed engine.
pub struct Observed {
    /// The engine.
    pub node: Node,
    notes: Notes,
    cuts: RefCell<BTreeMap<bool, usize>>,
    installing: BTreeMap<Ticket, Installed>,
}

impl Observed {
    /// An engine and where to note what it does.
    pub fn new(node: Node, notes: Notes) -> Observed {
        Observed { node, notes, cuts: RefCell::new(BTreeMap::new()), installing: BTreeMap::new() }
    }

    /// Notes what the engine asked for since `from`, and how it logs now.
    fn look(&mut self, now: Now, effects: &Effects, from: usize) {
        let mut notes = self.notes.borrow_mut();
        notes.observe_logging(
            logging_of(&self.node),
            self.node.config().appendfsync_max_lag,
            is_logged(&self.node),
        );
        if self.node.config().no_appendfsync_on_rewrite || self.node.append_only().journal.broken().is_some()
        {
            notes.suspend_bound(now);
        }
        for effect in &effects[from..] {
            match effect {
                Effect::Sync { .. } => notes.sync_begins(now),
                Effect::Files { ticket, steps } => {
                    notes.files_begin(*ticket, now);
                    let cut = |is_dump| self.cuts.borrow().get(&is_dump).copied().unwrap_or(0);
                    let installed = steps.iter().find_map(|step| match step {
                        FileStep::Rename { to, .. } if to == "dump.rdb" => Some(Installed::Dump(cut(true))),
                        FileStep::Rename { to, .. } if to.contains(".base.") => {
                            Some(Installed::Base(cut(false), to.clone()))
                        }
                        _ => None,
                    });
                    if let Some(installed) = installed {
                        self.installing.insert(*ticket, installed);
                    }
                }
                _ => {}
            }
        }
    }
}

fn logging_of(node: &Node) -> Logging {
    match node.append_only().state() {
        LogState::Off => Logging::Off,
        LogState::Starting => Logging::Starting,
        LogState::On => Logging::On(match node.config().appendfsync {
            AppendFsync::Always => Sync::Always,
            AppendFsync::Everysec => Sync::EverySec,
            AppendFsync::No => Sync::No,
        }),
    }
}

/// Whether changes go to the log, as INFO says: while it is being switched off they do not.
fn is_logged(node: &Node) -> bool {
    node.append_only().journal.is_open()
}

/// Whether the set stands on this base.
fn is_base(node: &Node, path: &str) -> bool {
    let base = node.append_only().manifest().base.as_ref();
    base.is_some_and(|base| path.rsplit('/').next() == Some(base.name.as_str()))
}

/// Changes of data, and of the log: not everything that is logged counts as a change.
fn changes_of(node: &Node) -> (u64, u64) {
    (node.store().dirty, node.append_only().journal.offset_buffered())
}

/// The key of a client is in the port that the world gives it.
fn key_of(peer: &Peer) -> u64 {
    let port = peer.address.rsplit(':').next().and_then(|port| port.parse::<u64>().ok());
    port.expect("the world names its clients by port") - 10_000
}

impl Engine for Observed {
    fn connect(&mut self, now: Now, peer: Peer, effects: &mut Effects) -> ClientId {
        let key = key_of(&peer);
        let id = self.node.connect(now, peer, effects);
        self.notes.borrow_mut().connected(key, id);
        id
    }

    fn receive(&mut self, now: Now, client: ClientId, bytes: &[u8], effects: &mut Effects) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let wanted = self.notes.borrow().bytes_wanted(client).unwrap_or(rest.len());
            let count = wanted.clamp(1, rest.len());
            let (is_loading, from) = (self.node.is_loading(), effects.len());
            let may_wait = !is_loading && self.notes.borrow().may_wait(client);
            let waiting = |node: &Node| if may_wait { probe::waiting_count(node, now) } else { 0 };
            let (waiting_before, changes_before) = (waiting(&self.node), changes_of(&self.node));
            self.node.receive(now, client, &rest[..count], effects);
            let facts = Facts {
                now,
                has_changed: changes_of(&self.node) != changes_before,
                is_loading,
                is_stopping: self.node.is_shutting_down(),
                is_waiting: waiting(&self.node) > waiting_before,
                look: &|db, key| probe::look(&self.node, now, db, key),
            };
            let before = self.notes.borrow().last();
            self.notes.borrow_mut().received(client, count, &facts);
            if self.notes.borrow().last() > before && is_logged(&self.node) && self.node.config().aof_checksum
            {
                self.notes.borrow_mut().note_offset(self.node.append_only().journal.offset_buffered());
            }
            self.look(now, effects, from);
            rest = &rest[count..];
        }
    }

    fn disconnect(&mut self, now: Now, client: ClientId, effects: &mut Effects) {
        self.notes.borrow_mut().disconnected(client);
        self.node.disconnect(now, client, effects);
    }

    fn complete(&mut self, now: Now, completion: Completion, effects: &mut Effects) {
        let installed = match &completion {
            Completion::Files { ticket, error } => {
                self.notes.borrow_mut().files_end(*ticket, now);
                let installed = self.installing.remove(ticket);
                installed.filter(|_| error.is_none())
            }
            _ => None,
        };
        match &completion {
            Completion::Synced { elapsed_us, error, .. } => {
                self.notes.borrow_mut().disk_answered(Some(*elapsed_us), error.is_some(), now);
            }
            Completion::Appended { error, .. } => {
                self.notes.borrow_mut().disk_answered(None, error.is_some(), now);
            }
            _ => {}
        }
        let from = effects.len();
        self.node.complete(now, completion, effects);
        self.look(now, effects, from);
        let mut notes = self.notes.borrow_mut();
        match installed {
            Some(Installed::Dump(state)) => notes.floors.dump = notes.floors.dump.max(state),
            // One that was given up while it was put in place promises nothing.
            Some(Installed::Base(state, path)) if is_base(&self.node, &path) => notes.promise_log(state),
            _ => {}
        }
    }

    fn signal(&mut self, now: Now, signal: Signal, effects: &mut Effects) {
        self.node.signal(now, signal, effects);
    }

    fn turn(&mut self, now: Now, effects: &mut Effects) {
        let from = effects.len();
        self.notes.borrow_mut().turn(now);
        self.node.turn(now, effects);
        self.look(now, effects, from);
    }

    fn wake_at(&self) -> u64 {
        self.node.wake_at()
    }

    fn output(&self, client: ClientId) -> &[u8] {
        self.node.output(client)
    }

    fn is_holding(&self, client: ClientId) -> bool {
        self.node.is_holding(client)
    }

    fn sent(&mut self, now: Now, client: ClientId, count: usize, effects: &mut Effects) {
        let bytes = self.node.output(client)[..count].to_vec();
        self.node.sent(now, client, count, effects);
        self.notes.borrow_mut().released(client, &bytes, now);
    }

    fn is_loading(&self) -> bool {
        self.node.is_loading()
    }

    fn load(&mut self, now: Now, disk: &mut dyn Disk, effects: &mut Effects) {
        self.node.load(now, disk, effects);
        let mut notes = self.notes.borrow_mut();
        notes.observe_logging(
            logging_of(&self.node),
            self.node.config().appendfsync_max_lag,
            is_logged(&self.node),
        );
        if !self.node.is_loading() || effects.iter().any(|effect| matches!(effect, Effect::Exit(_))) {
            self.node.start_cases().iter().for_each(|case| *notes.cases.entry(*case).or_default() += 1);
        }
    }

    fn back_up(
        job: &BackupJob,
        disk: &mut dyn Disk,
        progress: &mut dyn FnMut(u64),
    ) -> Result<BackupWritten, IoError> {
        Node::back_up(job, disk, progress)
    }

    fn encoder<'a>(&'a self, job: &SnapshotJob) -> Box<dyn Encoder + 'a> {
        self.cuts.borrow_mut().insert(job.form == SnapshotForm::Rdb, self.notes.borrow().last());
        self.node.encoder(job)
    }
}
