//! The history of one run: every state the data set went through, who was told what, and what may therefore not be lost.
//!
//! Exists so that judging a crash costs one comparison. States are numbered; state 0 is the empty data set, and each
//! unit (a command, a whole EXEC, a client served that waited) that changed something makes the next one. What a client was
//! shown depends on a state; a *floor* is the lowest state that a start may come back with.
//!
//! Always true: floors rise while a server lives, and come down only to the state that a start came back with; states
//! above that one are forgotten, so that meeting one of them again is a violation.
//!
//! Not here: how states are found again (`oracle/`), where the knowledge comes from (`observed.rs`), who waits for what
//! (`conversation.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use perdura_core::host::{ClientId, Ticket};
use perdura_core::persist::recovery::Case;
use perdura_core::time::Now;

use super::conversation::Conversation;
use super::oracle::Violation;
use crate::model::{Digest, Keyspace, Place, Value};

/// The data set after a unit.
#[derive(Clone, Debug)]
pub struct State {
    /// What it holds.
    pub keyspace: Keyspace,
    /// The same as a number.
    pub digest: Digest,
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

/// When a key was last touched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touch {
    /// The state that it made.
    pub state: usize,
    /// Counts everything that touches keys, what goes by itself included.
    pub stamp: u64,
}

/// The history of one run.
#[derive(Debug)]
pub struct History {
    /// All states, by number.
    pub states: Vec<State>,
    /// Of states that earlier starts gave up: a snapshot of one of them may still lie there.
    abandoned: Vec<Digest>,
    /// What may not be lost, `everysec`'s bound aside.
    pub floors: Floors,
    /// As of the last thing that happened.
    pub logging: Logging,
    /// Rows of the recovery tables that starts went through.
    pub cases: BTreeMap<Case, u64>,
    pub(super) conversations: BTreeMap<u64, Conversation>,
    pub(super) client_keys: BTreeMap<ClientId, u64>,
    /// Keys that were changed, deleted or went by themselves.
    pub(super) touched: BTreeMap<Place, Touch>,
    pub(super) stamp: u64,
    /// Keys that a command named, and the stamp then.
    pub(super) brushed: BTreeMap<Place, u64>,
    /// Connections whose clients have stopped reading, once or for good.
    stalled: BTreeSet<u64>,
    /// Hashes that lost a field to the clock: when the engine takes it out, which touches the key, is its own business.
    pub(super) lapsed: BTreeSet<Place>,
    /// The stamp when databases were last swapped, which touches all keys of both, even if they are swapped back at once.
    pub(super) swapped: u64,
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
    /// `appendfsync-max-lag`, microseconds.
    lag_us: u64,
    violation: Option<Violation>,
    /// Where the engine put a state in its log.
    offsets: BTreeMap<usize, u64>,
    /// The highest state since the runner last looked of which somebody was told that no loss of power takes it.
    promised: Option<usize>,
    /// Replies since the runner last looked that rest on more than the floor before.
    pub fresh_replies: usize,
    /// Replies released in all.
    pub replies: u64,
    /// The highest state that somebody was told of while nothing was logged.
    pub told_unlogged: usize,
    /// The log is being switched off.
    pub(super) is_closing: bool,
    /// Somebody asked for that.
    pub(super) is_off_asked: bool,
    /// The last word of somebody who switched the log was `no`.
    pub(super) is_off_wanted: bool,
    /// The disk was told to lose pages: what a kill leaves is then no better known than what a power loss leaves.
    pub is_cache_doubtful: bool,
    /// A stop held commands back; if it fails, they run in an order that nobody saw.
    pub has_held_back: bool,
    /// Told what clients do and are told, line by line.
    pub narrate: Option<fn(String)>,
    /// CONFIG SETs that were carried out.
    pub settings_changed: Vec<(&'static str, &'static str)>,
}

/// `everysec`: the interval between two syncs, and what one turn may take, microseconds.
const EVERYSEC_US: u64 = 1_000_000;
const TURN_US: u64 = 300_000;
/// After the disk failed, the bound of `everysec` needs this long to hold again, microseconds.
const RECOVERY_US: u64 = 10_000_000;

impl Default for History {
    fn default() -> History {
        History {
            states: vec![State { keyspace: Keyspace::default(), digest: Digest::default(), executed_us: 0 }],
            abandoned: Vec::new(),
            floors: Floors::default(),
            logging: Logging::Off,
            cases: BTreeMap::new(),
            conversations: BTreeMap::new(),
            client_keys: BTreeMap::new(),
            touched: BTreeMap::new(),
            stamp: 0,
            brushed: BTreeMap::new(),
            stalled: BTreeSet::new(),
            lapsed: BTreeSet::new(),
            swapped: 0,
            told: VecDeque::new(),
            sync_us_max: 0,
            syncing_since: None,
            files_since: BTreeMap::new(),
            idle_since_us: 0,
            unbounded_until_us: 0,
            lag_us: 0,
            violation: None,
            offsets: BTreeMap::new(),
            promised: None,
            fresh_replies: 0,
            replies: 0,
            settings_changed: Vec::new(),
            told_unlogged: 0,
            is_closing: false,
            is_off_asked: false,
            is_off_wanted: false,
            is_cache_doubtful: false,
            has_held_back: false,
            narrate: None,
        }
    }
}

impl History {
    /// Number of the present state.
    pub fn last(&self) -> usize {
        self.states.len() - 1
    }

    /// The present state.
    pub fn present(&self) -> &State {
        self.states.last().expect("state 0 is there")
    }

    /// The first thing that went wrong, if anything has.
    pub fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    /// Something went wrong.
    pub fn complain(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    // --- States -----------------------------------------------------------------------------------------

    /// A unit made this of the data set, in these places.
    pub(super) fn push(&mut self, keyspace: Keyspace, changed: &[Place], now: Now) {
        let digest = self.present().digest.after(&self.present().keyspace, &keyspace, changed);
        self.states.push(State { keyspace, digest, executed_us: now.mono_us });
        self.touch(changed);
    }

    /// Keys and fields whose time has come are gone, without a state of their own: nobody can tell when they went.
    pub(super) fn expire(&mut self, now: Now) {
        let mut keyspace = self.present().keyspace.clone();
        keyspace.expire(now.wall_ms());
        let changed = keyspace.changed_since(&self.present().keyspace);
        if changed.is_empty() {
            return;
        }
        let digest = self.present().digest.after(&self.present().keyspace, &keyspace, &changed);
        let is_hash = |(db, key): &&Place| {
            self.present().keyspace.get(*db, key).is_some_and(|entry| matches!(entry.value, Value::Hash(_)))
        };
        let lapsed: Vec<Place> = changed.iter().filter(is_hash).cloned().collect();
        self.lapsed.extend(lapsed);
        let state = self.states.last_mut().expect("state 0 is there");
        (state.keyspace, state.digest) = (keyspace, digest);
        self.stamp(&changed);
    }

    /// These were touched, and no state came of it: what they show rests on what it rested on before.
    pub(super) fn stamp(&mut self, touched: &[Place]) {
        self.stamp += 1;
        for place in touched {
            let state = self.touched.get(place).map_or(0, |touch| touch.state);
            self.touched.insert(place.clone(), Touch { state, stamp: self.stamp });
        }
    }

    fn touch(&mut self, changed: &[Place]) {
        self.stamp += 1;
        let touch = Touch { state: self.last(), stamp: self.stamp };
        self.touched.extend(changed.iter().map(|place| (place.clone(), touch)));
    }

    // --- Floors -----------------------------------------------------------------------------------------

    /// A client stops reading: what it is told from now on may have been let go long before.
    pub fn stall(&mut self, client: u64) {
        self.stalled.insert(client);
    }

    /// Somebody is told of a state under this policy.
    pub(super) fn tell(&mut self, client: u64, state: usize, sync: Sync, now: Now) {
        if state > self.floors.kill {
            self.fresh_replies += 1;
        }
        self.floors.kill = self.floors.kill.max(state);
        match sync {
            Sync::Always => self.promise_durable(state),
            Sync::EverySec => {
                if !self.stalled.contains(&client) {
                    self.settle_lag(state, now);
                }
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
            && told.at_us + self.lag_us + TURN_US < now.mono_us
            && told.state <= state
        {
            self.floors.power = self.floors.power.max(told.state);
            self.told.pop_front();
        }
    }

    /// Somebody has just been told that no loss of power takes this state.
    pub fn promise_durable(&mut self, state: usize) {
        if state > self.floors.power {
            self.promised = self.promised.max(Some(state));
        }
        self.floors.power = self.floors.power.max(state);
    }

    /// The engine put the present state here in its log.
    pub fn note_offset(&mut self, offset: u64) {
        self.offsets.entry(self.last()).or_insert(offset);
    }

    /// The highest state that was promised since this was last asked, and where it ends in the log.
    pub fn take_promised(&mut self) -> Option<(usize, u64)> {
        let state = self.promised.take()?;
        Some((state, *self.offsets.get(&state)?))
    }

    /// Everything up to this state is said to be safe in the log.
    pub fn promise_log(&mut self, state: usize) {
        self.floors.kill = self.floors.kill.max(state);
        self.floors.power = self.floors.power.max(state);
    }

    /// How the engine logs now, how long it lets the disk lag behind, and whether it says that changes are logged: only
    /// somebody who asked for `appendonly no` lets it say that they are not.
    pub fn observe_logging(&mut self, logging: Logging, lag_ms: u64, is_logged: bool) {
        let has_begun = logging == Logging::Starting && self.logging != Logging::Starting;
        let has_come_on = self.logging == Logging::Starting && matches!(logging, Logging::On(_)) && is_logged;
        if self.is_off_wanted && (has_begun || has_come_on) {
            self.complain(Violation::Exposure("the log is switched on although nobody asked for it".into()));
        }
        self.logging = logging;
        self.lag_us = lag_ms * 1_000;
        self.is_off_asked &= logging != Logging::Off;
        self.is_closing = self.is_off_asked && !is_logged && matches!(logging, Logging::On(_));
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

    /// Whether this is a state that an earlier start gave up.
    pub fn was_abandoned(&self, keyspace: &Keyspace, now_ms: u64) -> bool {
        let wanted = Digest::of(keyspace).at(now_ms);
        self.abandoned.iter().any(|digest| digest.at(now_ms) == wanted)
    }

    /// A start came back with this state: all above it is gone for good, all below is safe.
    pub fn adopt(&mut self, state: usize, with_log: bool) {
        self.abandoned.extend(self.states.drain(state + 1..).map(|state| state.digest));
        self.floors = match with_log {
            true => Floors { kill: state, power: state, dump: self.floors.dump.min(state) },
            false => Floors { kill: 0, power: 0, dump: state },
        };
        self.logging = Logging::Off;
        self.conversations.clear();
        self.client_keys.clear();
        self.touched.retain(|_, touch| touch.state <= state);
        self.told.clear();
        self.told_unlogged = 0;
        self.sync_us_max = 0;
        self.syncing_since = None;
        self.files_since.clear();
        self.unbounded_until_us = 0;
        self.offsets.clear();
        self.promised = None;
        self.fresh_replies = 0;
        self.is_cache_doubtful = false;
        self.has_held_back = false;
        self.is_closing = false;
        self.is_off_asked = false;
        self.is_off_wanted = false;
    }
}
