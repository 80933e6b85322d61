//! The history of one run: every state the data set went through, who was told what, and what may therefore not be lost.
//!
//! Exists so that judging a crash costs one comparison. States are numbered; state 0 is the empty data set, and each
//! unit (a command, a whole EXEC) that changed something makes the next one. What a client was shown depends on a state;
//! a *floor* is the lowest state that a start may come back with.
//!
//! Always true: floors rise while a server lives, and come down only to the state that a start came back with; states
//! above that one are forgotten, so that meeting one of them again is a violation.
//!
//! Not here: how states are found again (`oracle/`), where the knowledge comes from (`observed.rs`).

use std::collections::{BTreeMap, VecDeque};

use perdura_core::host::{ClientId, Ticket};
use perdura_core::persist::recovery::Case;
use perdura_core::time::Now;

use super::oracle::Violation;
use super::oracle::replies::{Expected, check_reply};
use super::workload::Op;
use crate::client::Reply;
use crate::model::{Bytes, Keyspace};

/// The data set after a unit.
#[derive(Clone, Debug)]
pub struct State {
    /// What it holds, keys that are due but not removed included.
    pub keyspace: Keyspace,
    /// When the unit ran, monotonic microseconds.
    pub executed_us: u64,
}

/// Whether and how changes were logged when something happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Logging {
    /// Not at all.
    Off,
    /// A set is being made, and does not count yet.
    Starting,
    /// Under this policy.
    On(Sync),
}

/// `appendfsync`, the strictest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)] // The names are those of the setting.
pub enum Sync {
    Always,
    EverySec,
    No,
}

/// How a life of the server ended, as far as the disk is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// The page cache lives on.
    Kill,
    /// Only the platter does.
    Power,
}

/// A reply that is owed.
#[derive(Clone, Debug)]
struct Owed {
    op: Op,
    expected: Expected,
    /// State that it tells of.
    rests_on: usize,
    /// Last state that its client made.
    own_last: usize,
    logging: Logging,
    /// It ran while the log was being switched off.
    is_unlogged: bool,
}

#[derive(Clone, Debug, Default)]
struct Conversation {
    /// Sent and not yet run.
    sent: VecDeque<(Op, usize)>,
    /// Of the first of them, bytes that arrived.
    arrived: usize,
    /// Run and not answered.
    owed: VecDeque<Owed>,
    /// Reply bytes that are no whole reply yet.
    partial: Vec<u8>,
    own_last: usize,
}

/// A state that somebody was told of.
#[derive(Clone, Copy, Debug)]
struct Told {
    state: usize,
    at_us: u64,
}

/// What may not be lost.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Floors {
    /// By kill -9, from the log.
    pub kill: usize,
    /// By loss of power, from the log.
    pub power: usize,
    /// By anything, from the snapshot file.
    pub dump: usize,
}

/// The history of one run.
#[derive(Debug)]
pub struct History {
    /// All states, by number.
    pub states: Vec<State>,
    /// What may not be lost, `everysec`'s bound aside.
    pub floors: Floors,
    /// As of the last thing that happened.
    pub logging: Logging,
    /// Rows of the recovery tables that starts went through.
    pub cases: BTreeMap<Case, u64>,
    conversations: BTreeMap<u64, Conversation>,
    client_keys: BTreeMap<ClientId, u64>,
    /// Last state that changed each key; 0 stands for the last FLUSHALL.
    touched: BTreeMap<Bytes, usize>,
    flushed: usize,
    /// Told under `everysec` and not yet beyond its bound.
    told: VecDeque<Told>,
    /// Longest sync of this life, microseconds.
    sync_us_max: u64,
    /// Syncs in flight began then.
    syncing_since: Option<u64>,
    files_since: BTreeMap<Ticket, u64>,
    /// When the device last ended something.
    idle_since_us: u64,
    /// The time bound of `everysec` does not hold before this: the disk failed, or syncs were switched off.
    unbounded_until_us: u64,
    violation: Option<Violation>,
    /// Replies since the runner last looked that rest on more than the floor before.
    pub fresh_replies: usize,
    /// Replies released in all.
    pub replies: u64,
    /// The log is being switched off.
    is_closing: bool,
    /// The disk was told to lose pages: what a kill leaves is then no better known than what a power loss leaves.
    pub is_cache_doubtful: bool,
    /// Told what clients do and are told, line by line.
    pub narrate: Option<fn(String)>,
    /// CONFIG SETs that were carried out.
    pub settings_changed: Vec<(&'static str, &'static str)>,
}

/// `everysec`: the interval between two syncs, and what one turn may take, microseconds.
const EVERYSEC_US: u64 = 1_000_000;
/// `appendfsync-max-lag`, as it is by default.
const LAG_US: u64 = 2_000_000;
const TURN_US: u64 = 300_000;
/// After the disk failed, the bound of `everysec` needs this long to hold again, microseconds.
const RECOVERY_US: u64 = 10_000_000;

impl Default for History {
    fn default() -> History {
        History {
            states: vec![State { keyspace: Keyspace::default(), executed_us: 0 }],
            floors: Floors::default(),
            logging: Logging::Off,
            cases: BTreeMap::new(),
            conversations: BTreeMap::new(),
            client_keys: BTreeMap::new(),
            touched: BTreeMap::new(),
            flushed: 0,
            told: VecDeque::new(),
            sync_us_max: 0,
            syncing_since: None,
            files_since: BTreeMap::new(),
            idle_since_us: 0,
            unbounded_until_us: 0,
            violation: None,
            fresh_replies: 0,
            replies: 0,
            settings_changed: Vec::new(),
            is_closing: false,
            is_cache_doubtful: false,
            narrate: None,
        }
    }
}

impl History {
    /// Number of the present state.
    pub fn last(&self) -> usize {
        self.states.len() - 1
    }

    /// The first thing that went wrong, if anything has.
    pub fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    /// Something went wrong.
    pub fn complain(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    // --- Requests ---------------------------------------------------------------------------------------

    /// A client sends a command of so many bytes.
    pub fn sent(&mut self, client: u64, op: Op, len: usize) {
        self.conversations.entry(client).or_default().sent.push_back((op, len));
    }

    /// The engine has a name for a client.
    pub fn connected(&mut self, client: u64, id: ClientId) {
        self.client_keys.insert(id, client);
    }

    /// Bytes missing until the end of the command under way.
    pub fn bytes_wanted(&self, id: ClientId) -> Option<usize> {
        let conversation = self.conversations.get(self.client_keys.get(&id)?)?;
        conversation.sent.front().map(|(_, len)| len - conversation.arrived)
    }

    /// Bytes were handed to the engine; whether it changed data, and whether it was loading.
    pub fn received(&mut self, id: ClientId, count: usize, now: Now, has_changed: bool, is_loading: bool) {
        let Some(&client) = self.client_keys.get(&id) else { return };
        let Some(conversation) = self.conversations.get_mut(&client) else { return };
        conversation.arrived += count;
        let is_whole = conversation.sent.front().is_some_and(|(_, len)| conversation.arrived >= *len);
        if is_whole {
            conversation.arrived = 0;
            let (op, _) = conversation.sent.pop_front().expect("just seen");
            self.run(client, op, now, has_changed, is_loading);
        }
    }

    fn run(&mut self, client: u64, op: Op, now: Now, has_changed: bool, is_loading: bool) {
        let mut keyspace = self.states[self.last()].keyspace.clone();
        let expected = Expected::of(&op, &mut keyspace, now.wall_ms(), is_loading);
        let would_change = !keyspace.is_equal_at(&self.states[self.last()].keyspace, now.wall_ms());
        let is_refused = !has_changed && op_may_change(&op) && would_change;
        let expected = if is_refused { Expected::Refusal } else { expected };
        if has_changed && !is_loading && op_may_change(&op) {
            self.states.push(State { keyspace, executed_us: now.mono_us });
            self.touch(&op);
        } else if has_changed && !matches!(op, Op::Get(_) | Op::Exec(_)) {
            self.complain(Violation::Reply(format!("{op:?} changed data")));
        }
        let last = self.last();
        let rests_on = self.rests_on(&op);
        // What is switched off is promised once: later changes are not logged any more.
        let is_unlogged = self.is_closing;
        let logging = if self.is_closing { Logging::Off } else { self.logging };
        match op {
            Op::Config("appendonly", "no") => self.is_closing = matches!(self.logging, Logging::On(_)),
            Op::Config("appendonly", "yes") => {
                self.is_closing = self.is_closing && self.logging != Logging::Off
            }
            _ => {}
        }
        if let Some(narrate) = self.narrate {
            narrate(format!("{:>12} client  {client} asks {}: state {last}", now.mono_us, op.show()));
        }
        let conversation = self.conversations.entry(client).or_default();
        if has_changed {
            conversation.own_last = last;
        }
        let own_last = conversation.own_last;
        conversation.owed.push_back(Owed { op, expected, rests_on, own_last, logging, is_unlogged });
    }

    fn touch(&mut self, op: &Op) {
        let last = self.last();
        match op {
            Op::Write(step) => drop(self.touched.insert(step.key.clone(), last)),
            Op::FlushAll => self.flushed = last,
            Op::Exec(ops) => ops.iter().for_each(|op| self.touch(op)),
            _ => {}
        }
    }

    /// A reply rests on the last changes of the keys it tells of; a promise about the log on all that came before.
    fn rests_on(&self, op: &Op) -> usize {
        let of_key = |key: &Bytes| self.touched.get(key).copied().unwrap_or(0).max(self.flushed);
        match op {
            Op::Get(key) => of_key(key),
            Op::Write(step) => of_key(&step.key),
            Op::FlushAll => self.flushed,
            Op::Exec(ops) => ops.iter().map(|op| self.rests_on(op)).max().unwrap_or(0),
            Op::Config("appendonly", "no") | Op::Config("appendfsync", "always") | Op::Save => self.last(),
            _ => 0,
        }
    }

    // --- Replies ----------------------------------------------------------------------------------------

    /// Reply bytes left the engine for a client.
    pub fn released(&mut self, id: ClientId, bytes: &[u8], now: Now) {
        let Some(&client) = self.client_keys.get(&id) else { return };
        let Some(conversation) = self.conversations.get_mut(&client) else { return };
        conversation.partial.extend_from_slice(bytes);
        let mut at = 0;
        let mut answered = Vec::new();
        while at < conversation.partial.len() {
            let mut rest = &conversation.partial[at..];
            let before = rest.len();
            let Ok(reply) = Reply::read_from(&mut rest) else { break };
            at += before - rest.len();
            answered.push((conversation.owed.pop_front(), reply));
        }
        conversation.partial.drain(..at);
        for (owed, reply) in answered {
            self.replies += 1;
            match owed {
                None => self.complain(Violation::Reply(format!("{reply:?} to nothing"))),
                Some(owed) => self.answered(&owed, &reply, now),
            }
        }
    }

    fn answered(&mut self, owed: &Owed, reply: &Reply, now: Now) {
        if let Err(why) = check_reply(&owed.expected, reply) {
            self.complain(Violation::Reply(format!("{:?}: {why}", owed.op)));
        }
        if let Some(narrate) = self.narrate {
            narrate(format!(
                "{:>12} client  is told {reply:?} to {}, resting on state {}",
                now.mono_us,
                owed.op.show(),
                owed.rests_on
            ));
        }
        if matches!(reply, Reply::Error(_)) {
            return;
        }
        match (&owed.op, self.logging) {
            (Op::Config("appendonly", "no"), _) => {
                if matches!(owed.logging, Logging::On(_)) {
                    self.promise_log(owed.rests_on);
                }
            }
            (Op::WaitAof, _) => {
                let is_synced =
                    reply.clone().into_elements().and_then(|parts| parts[0].as_integer()) == Some(1);
                self.promise_log(if is_synced { owed.own_last } else { 0 });
            }
            (Op::Save, _) => self.floors.dump = self.floors.dump.max(owed.rests_on),
            // What runs while the log is being switched off is answered, and logged no more.
            (Op::Config(..), Logging::On(sync)) if !owed.is_unlogged => self.tell(owed.rests_on, sync, now),
            // A reply may be on its way when the policy changes: what was let go under the weaker one is judged by it.
            (_, Logging::On(sync)) if !owed.is_unlogged => {
                let before = if let Logging::On(before) = owed.logging { before } else { sync };
                self.tell(owed.rests_on, before.max(sync), now);
            }
            _ => {}
        }
        if let Op::Config(name, value) = owed.op {
            self.settings_changed.push((name, value));
        }
    }

    fn tell(&mut self, state: usize, sync: Sync, now: Now) {
        if state > self.floors.kill {
            self.fresh_replies += 1;
        }
        self.floors.kill = self.floors.kill.max(state);
        match sync {
            Sync::Always => self.floors.power = self.floors.power.max(state),
            Sync::EverySec => {
                self.settle_lag(state, now);
                self.told.push_back(Told { state, at_us: now.mono_us });
            }
            Sync::No => {}
        }
    }

    /// Nobody is told of a state while it, or an earlier one told longer ago than `appendfsync-max-lag`, is not synced.
    fn settle_lag(&mut self, state: usize, now: Now) {
        if now.mono_us < self.unbounded_until_us {
            return;
        }
        while let Some(told) = self.told.front()
            && told.at_us + LAG_US + TURN_US < now.mono_us
            && told.state <= state
        {
            self.floors.power = self.floors.power.max(told.state);
            self.told.pop_front();
        }
    }

    /// Everything up to this state is said to be safe in the log.
    pub fn promise_log(&mut self, state: usize) {
        self.floors.kill = self.floors.kill.max(state);
        self.floors.power = self.floors.power.max(state);
    }

    /// How the engine logs now.
    pub fn observe_logging(&mut self, logging: Logging) {
        self.logging = logging;
        self.is_closing &= matches!(logging, Logging::On(_));
    }

    // --- The disk, as far as the bound of everysec needs it -----------------------------------------------

    /// A sync of the log begins.
    pub fn sync_begins(&mut self, now: Now) {
        self.settle_bound(now);
        self.syncing_since.get_or_insert(now.mono_us);
    }

    /// Steps on files begin: a file's change syncs as well, and the log waits for it.
    pub fn files_begin(&mut self, ticket: Ticket, now: Now) {
        self.settle_bound(now);
        self.files_since.insert(ticket, now.mono_us);
    }

    /// They have ended.
    pub fn files_end(&mut self, ticket: Ticket, now: Now) {
        self.settle_bound(now);
        self.idle_since_us = now.mono_us;
        let waited_us = self.files_since.remove(&ticket).map_or(0, |since| now.mono_us - since);
        self.sync_us_max = self.sync_us_max.max(waited_us);
    }

    /// A sync or an append of the log has ended.
    pub fn disk_answered(&mut self, elapsed_us: Option<u64>, has_failed: bool, now: Now) {
        self.settle_bound(now);
        self.idle_since_us = now.mono_us;
        if elapsed_us.is_some() {
            // What counts is how long the engine waited, the queue before the device included.
            let waited_us = self.syncing_since.take().map_or(0, |since| now.mono_us - since);
            self.sync_us_max = self.sync_us_max.max(waited_us);
        }
        if has_failed {
            self.suspend_bound(now);
        }
    }

    /// The bound of `everysec` does not hold for a while.
    pub fn suspend_bound(&mut self, now: Now) {
        self.unbounded_until_us = now.mono_us + RECOVERY_US;
    }

    /// Takes what is older than the bound of `everysec` into the floor.
    pub fn settle_bound(&mut self, now: Now) {
        let oldest_us = self.syncing_since.into_iter().chain(self.files_since.values().copied()).min();
        let in_flight_us = oldest_us.map_or(0, |since| now.mono_us - since);
        let sync_us = self.sync_us_max.max(in_flight_us);
        let bound_us = EVERYSEC_US + 2 * sync_us + TURN_US;
        if now.mono_us < self.unbounded_until_us {
            return;
        }
        while let Some(told) = self.told.front() {
            // A device that is idle has no excuse: a second after it was told, or once the device was done with what
            // came before, the sync that covers it must have begun; and if none is in flight, it has ended.
            let is_late = oldest_us.is_none()
                && now.mono_us > (told.at_us + EVERYSEC_US).max(self.idle_since_us) + TURN_US;
            if told.at_us + bound_us > now.mono_us && !is_late {
                break;
            }
            let state = told.state;
            self.floors.power = self.floors.power.max(state);
            self.told.pop_front();
        }
    }

    // --- Deaths and starts ---------------------------------------------------------------------------------

    /// The lowest state that a start may come back with.
    pub fn floor(&self, death: Death, with_log: bool) -> usize {
        let log = match death {
            Death::Kill if self.is_cache_doubtful => self.floors.power,
            Death::Kill => self.floors.kill,
            Death::Power => self.floors.power,
        };
        match (with_log, self.logging) {
            (false, _) => self.floors.dump,
            (true, Logging::On(_)) => log,
            // What was switched off stays what it was; a newer snapshot counts as well.
            (true, Logging::Off | Logging::Starting) => log.max(self.floors.dump),
        }
    }

    /// The server left by itself, in order: nothing is lost.
    pub fn stopped(&mut self, has_saved: bool) {
        if matches!(self.logging, Logging::On(_)) && !self.is_closing {
            self.promise_log(self.last());
        }
        if has_saved {
            self.floors.dump = self.last();
        }
    }

    /// A start came back with this state: all above it is gone for good, all below is safe.
    pub fn adopt(&mut self, state: usize, with_log: bool, keyspace: Keyspace) {
        self.states.truncate(state + 1);
        self.states[state].keyspace = keyspace;
        self.floors = match with_log {
            true => Floors { kill: state, power: state, dump: self.floors.dump.min(state) },
            false => Floors { kill: 0, power: 0, dump: state },
        };
        self.logging = Logging::Off;
        self.conversations.clear();
        self.client_keys.clear();
        self.touched.retain(|_, touched| *touched <= state);
        self.flushed = self.flushed.min(state);
        self.told.clear();
        self.sync_us_max = 0;
        self.syncing_since = None;
        self.files_since.clear();
        self.unbounded_until_us = 0;
        self.fresh_replies = 0;
        self.is_cache_doubtful = false;
        self.is_closing = false;
    }

    /// Whether a client waits for nothing.
    pub fn is_idle(&self, client: u64) -> bool {
        self.conversations
            .get(&client)
            .is_none_or(|conversation| conversation.owed.is_empty() && conversation.sent.is_empty())
    }

    /// What is not answered, for reports.
    pub fn unanswered(&self) -> Vec<String> {
        self.conversations
            .values()
            .flat_map(|conversation| conversation.owed.iter().map(|owed| format!("{:?}", owed.op)))
            .collect()
    }
}

fn op_may_change(op: &Op) -> bool {
    match op {
        Op::Write(_) | Op::FlushAll => true,
        Op::Exec(ops) => ops.iter().any(op_may_change),
        _ => false,
    }
}
