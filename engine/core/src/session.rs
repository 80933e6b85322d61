//! A connected client as the engine knows it: what it sent, what it is owed, which state its commands left.
//!
//! Exists so that a reply can be written when the command runs and leave when its change is safe: each stretch of
//! output has a gate, the journal offset it waits for.
//!
//! Always true: output leaves in the order in which it was written; `released <= reply.len()`; gates rise in both
//! offset and position.
//!
//! Not here: executing (`node/`), sockets (`host`).

use alloc::{
    boxed::Box,
    collections::{BTreeSet, VecDeque},
    string::String,
    vec::Vec,
};

use crate::{
    blocked::Block,
    host::{ClientId, Offset, Peer},
    pubsub,
    resp::{Parser, Protocol, Reply},
    time::Now,
};

/// What CLIENT LIST shows as the fixed buffer of the output (`obl`), which Redis keeps for each client; `omem` is what is
/// pending beyond it.
pub const FIRST_BUFFER_BYTES: usize = 16 * 1024;

/// Output up to `position` may leave once the journal is safe up to `offset`.
#[derive(Clone, Copy, Debug)]
struct Gate {
    position: usize,
    offset: Offset,
}

/// A command waiting in MULTI, or to be run again for a blocked client.
pub type OwnedArgs = Vec<Vec<u8>>;

/// MULTI, between its beginning and EXEC.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// What EXEC will run, or has yet to.
    queue: VecDeque<OwnedArgs>,
    /// Bytes of the arguments in the queue.
    queue_bytes: usize,
    /// EXEC has begun.
    pub is_executing: bool,
    /// A command was refused while queueing: EXEC discards.
    pub is_aborted: bool,
}

impl Transaction {
    /// Queues a command.
    pub fn push(&mut self, args: OwnedArgs) {
        self.queue_bytes += args.iter().map(Vec::len).sum::<usize>();
        self.queue.push_back(args);
    }

    /// The command to run next, which leaves the queue.
    pub fn pop(&mut self) -> Option<OwnedArgs> {
        let args = self.queue.pop_front()?;
        self.queue_bytes -= args.iter().map(Vec::len).sum::<usize>();
        Some(args)
    }

    /// What is queued.
    pub fn queue(&self) -> &VecDeque<OwnedArgs> {
        &self.queue
    }

    /// Bytes of the arguments in the queue.
    pub fn queue_bytes(&self) -> usize {
        self.queue_bytes
    }

    /// Bytes it takes.
    fn memory(&self) -> usize {
        self.queue_bytes + self.queue.len() * core::mem::size_of::<OwnedArgs>()
    }
}

/// A key watched by WATCH.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WatchedKey {
    /// Its database.
    pub db: usize,
    /// The key.
    pub key: Vec<u8>,
    /// What it was when WATCH was called.
    pub was: WatchedAs,
}

/// What a watched key was when WATCH was called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WatchedAs {
    /// A key like any other.
    There,
    /// Expired, though not yet removed: its removal is no change.
    Expired,
    /// Not there.
    Missing,
}

/// Which replies a client wants (CLIENT REPLY).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplyMode {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// Not the one to this command's successor.
    SkipNext,
    /// Not this one.
    SkipThis,
}

/// What a blocked client waits for.
#[derive(Clone, Debug)]
pub enum Waiting {
    /// Keys.
    Keys {
        /// Which, and what is answered in the end.
        block: Block,
        /// The command to run again.
        args: OwnedArgs,
        /// Database it was called in.
        db: usize,
    },
    /// WAITAOF: the journal to be synced up to here.
    Synced {
        /// The client's last write.
        offset: Offset,
        /// Number of local syncs asked for, 0 or 1.
        local: i64,
        /// Number of replicas asked for: they never come, so any lets the wait last to its end.
        replicas: i64,
    },
    /// WAIT for replicas that never come.
    Replicas,
    /// SAVE, until its file is in place.
    Saved,
    /// BACKUP, until it is complete.
    Backup,
    /// SHUTDOWN, until it happens or fails.
    Shutdown,
    /// A write while CLIENT PAUSE or MIGRATE lasts: the command runs afterwards.
    Paused,
    /// The end of a script that it started and that takes long.
    Script,
    /// A setting that takes effect when the host is done (CONFIG SET dir, CONFIG REWRITE).
    Config,
    /// DEBUG RELOAD and kin, until the data set is loaded.
    Loaded,
    /// MIGRATE, until the other server has answered.
    Migration,
}

/// A client that waits.
#[derive(Clone, Debug)]
pub struct Blocked {
    /// For what.
    pub waiting: Waiting,
    /// Since when, monotonic microseconds.
    pub since_us: u64,
    /// Until when, monotonic microseconds; `None` is for ever.
    pub until_us: Option<u64>,
    /// Order of arrival: who came first is served first.
    pub order: u64,
    /// Nanoseconds that the command has run so far, which count once it has ended.
    pub ran_ns: u64,
}

/// A client that gets another one's invalidations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Redirect {
    /// Its number, as shown to users.
    pub number: u64,
    /// How the host names it.
    pub client: ClientId,
}

/// Client-side caching as this client wants it.
#[derive(Clone, Debug, Default)]
pub struct Tracking {
    /// CLIENT TRACKING ON.
    pub is_on: bool,
    /// BCAST.
    pub is_broadcast: bool,
    /// OPTIN.
    pub is_opt_in: bool,
    /// OPTOUT.
    pub is_opt_out: bool,
    /// NOLOOP.
    pub is_no_loop: bool,
    /// CLIENT CACHING yes or no was just said.
    pub caching: Option<bool>,
    /// Who gets the invalidations instead.
    pub redirect: Option<Redirect>,
    /// The redirection's client is gone.
    pub is_redirect_broken: bool,
    /// BCAST prefixes.
    pub prefixes: Vec<Vec<u8>>,
}

/// A connected client.
#[derive(Clone, Debug)]
pub struct Session {
    /// How the host names it.
    pub client: ClientId,
    /// Number shown to users (CLIENT ID): never used twice.
    pub number: u64,
    /// Where it comes from.
    pub peer: Peer,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO.
    pub client_library: (Vec<u8>, Vec<u8>),
    /// User it is logged in as.
    pub user: String,
    /// It has logged in, or needs not to.
    pub is_authenticated: bool,
    /// State of the users (`Acl::generation`) in which its user was found to be allowed everything.
    pub unrestricted_at: Option<u64>,
    /// Selected database.
    pub db: usize,
    /// Monotonic time of its arrival.
    pub connected_us: u64,
    /// Monotonic time of its last bytes.
    pub active_us: u64,
    /// Bytes received, not yet run.
    pub input: Vec<u8>,
    /// What is known of an incomplete command in `input`.
    pub parser: Parser,
    /// Output, sent part included until it is dropped.
    pub reply: Reply,
    /// Part of the output that the host has taken.
    pub sent: usize,
    /// Part of the output that may leave.
    pub released: usize,
    gates: VecDeque<Gate>,
    /// It stands in the node's list of those whose output waits.
    pub is_listed: bool,
    /// MULTI.
    pub transaction: Option<Transaction>,
    /// WATCH.
    pub watched: BTreeSet<WatchedKey>,
    /// A watched key was changed: EXEC answers null.
    pub is_dirty: bool,
    /// A blocking command waits.
    pub blocked: Option<Blocked>,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// MONITOR.
    pub is_monitor: bool,
    /// SUBSCRIBE.
    pub channels: BTreeSet<Vec<u8>>,
    /// PSUBSCRIBE.
    pub patterns: BTreeSet<Vec<u8>>,
    /// SSUBSCRIBE.
    pub shard_channels: BTreeSet<Vec<u8>>,
    /// No client at all, but a script that executes commands for one.
    pub is_script: bool,
    /// CLIENT TRACKING.
    pub tracking: Tracking,
    /// Journal offset after its last write, for WAITAOF.
    pub last_write: Offset,
    /// The connection ends once the output is sent; further input is ignored.
    pub is_closing: bool,
    /// Number of the last command's row, `None` before the first.
    pub last_row: Option<usize>,
    /// Since when the output has been above its soft limit, monotonic microseconds.
    pub soft_limit_us: Option<u64>,
    /// Bytes received and sent.
    pub traffic: (u64, u64),
    /// Its memory as it stands in the sum over all.
    memory_counted: usize,
}

impl Session {
    /// A client that just came in.
    pub fn new(now: Now, client: ClientId, number: u64, peer: Peer) -> Session {
        Session {
            client,
            number,
            peer,
            name: Vec::new(),
            client_library: (Vec::new(), Vec::new()),
            user: "default".into(),
            is_authenticated: false,
            unrestricted_at: None,
            db: 0,
            connected_us: now.mono_us,
            active_us: now.mono_us,
            input: Vec::new(),
            parser: Parser::default(),
            reply: Reply::new(Protocol::Resp2),
            sent: 0,
            released: 0,
            gates: VecDeque::new(),
            is_listed: false,
            transaction: None,
            watched: BTreeSet::new(),
            is_dirty: false,
            blocked: None,
            reply_mode: ReplyMode::On,
            no_evict: false,
            no_touch: false,
            is_monitor: false,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            shard_channels: BTreeSet::new(),
            is_script: false,
            tracking: Tracking::default(),
            last_write: 0,
            is_closing: false,
            last_row: None,
            soft_limit_us: None,
            traffic: (0, 0),
            memory_counted: 0,
        }
    }

    /// Adds to the input that is kept. It grows by doubling, but not beyond the argument that is awaited: its memory counts.
    pub fn keep_input(&mut self, bytes: &[u8]) {
        let needed = self.input.len() + bytes.len();
        if needed > self.input.capacity() {
            let room = (2 * needed).min(self.parser.bytes_wanted().max(needed));
            self.input.reserve_exact(room - self.input.len());
        }
        self.input.extend_from_slice(bytes);
    }

    /// Says that all output written so far needs the journal to be safe up to `offset`.
    pub fn gate(&mut self, offset: Offset) {
        let position = self.reply.len();
        if let Some(last) = self.gates.back_mut()
            && last.offset >= offset
        {
            last.position = position;
        } else if position > self.gates.back().map_or(self.released, |last| last.position) {
            self.gates.push_back(Gate { position, offset });
        }
    }

    /// Lets go what needs no more than `safe`; `true` if something may leave that could not before.
    pub fn release(&mut self, safe: Offset) -> bool {
        let before = self.released;
        while self.gates.front().is_some_and(|gate| gate.offset <= safe) {
            let gate = self.gates.pop_front().expect("just seen");
            assert!(gate.position >= self.released);
            self.released = gate.position;
        }
        self.released > before
    }

    /// Output waits for the journal.
    pub fn is_gated(&self) -> bool {
        !self.gates.is_empty()
    }

    /// Output that may leave and was not taken yet.
    pub fn output(&self) -> &[u8] {
        &self.reply.as_bytes()[self.sent..self.released]
    }

    /// All output not taken yet, released or not.
    pub fn written(&self) -> &[u8] {
        &self.reply.as_bytes()[self.sent..]
    }

    /// The host took this many bytes of `output`.
    pub fn take_sent(&mut self, count: usize) {
        if self.is_closing && self.output().is_empty() {
            return; // It was discarded while it was on its way.
        }
        self.sent += count;
        self.traffic.1 += count as u64;
        assert!(self.sent <= self.released);
        if self.sent == self.reply.len() {
            self.reply.truncate(0);
            self.sent = 0;
            self.released = 0;
        }
    }

    /// Forgets what it sent and is owed: the connection is cut, and nobody will read it.
    pub fn discard(&mut self) {
        self.input = Vec::new();
        self.reply = Reply::new(self.reply.protocol());
        self.gates.clear();
        (self.sent, self.released) = (0, 0);
    }

    /// Commands that would wait answer at once: in MULTI and in scripts.
    pub fn denies_blocking(&self) -> bool {
        self.transaction.is_some() || self.is_script
    }

    /// Bytes of output not yet taken.
    pub fn output_pending(&self) -> usize {
        self.reply.len() - self.sent
    }

    /// Its commands are run as they come: it waits for nothing and is not on its way out.
    pub fn is_served(&self) -> bool {
        self.blocked.is_none() && !self.is_closing
    }

    /// It has a subscription of any kind.
    pub fn is_subscribed(&self) -> bool {
        !(self.channels.is_empty() && self.patterns.is_empty() && self.shard_channels.is_empty())
    }

    /// Number of subscriptions, as confirmations count them: channels and patterns together, shard channels apart.
    pub fn subscription_count(&self, kind: pubsub::Kind) -> usize {
        match kind {
            pubsub::Kind::Channel | pubsub::Kind::Pattern => self.channels.len() + self.patterns.len(),
            pubsub::Kind::Shard => self.shard_channels.len(),
        }
    }

    /// Its subscriptions of a kind.
    pub fn subscriptions_mut(&mut self, kind: pubsub::Kind) -> &mut BTreeSet<Vec<u8>> {
        match kind {
            pubsub::Kind::Channel => &mut self.channels,
            pubsub::Kind::Pattern => &mut self.patterns,
            pubsub::Kind::Shard => &mut self.shard_channels,
        }
    }

    /// Bytes it takes, roughly: its buffers, what it has queued, and the names it has given.
    pub fn memory(&self) -> usize {
        /// A short name with its places in the session and in the node.
        const NAME_BYTES: usize = 96;
        let names = self.watched.len()
            + self.channels.len()
            + self.patterns.len()
            + self.shard_channels.len()
            + self.tracking.prefixes.len();
        core::mem::size_of::<Session>()
            + self.input.capacity()
            // Less leaves with the turn that wrote it, as a rule.
            + self.reply.len().saturating_sub(FIRST_BUFFER_BYTES)
            + self.transaction.as_ref().map_or(0, Transaction::memory)
            + names * NAME_BYTES
    }
}

/// All sessions, by client.
///
/// A [`ClientId`] is a slot and a generation, so that finding a session is an index, and a stale id finds nothing.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    slots: Vec<Slot>,
    free: Vec<u32>,
    count: usize,
    last_number: u64,
    /// Sum of the sessions' memory when each was last put back, sent to or counted.
    memory: usize,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    generation: u32,
    /// `None` while free, or while the session is out for processing.
    session: Option<Box<Session>>,
}

impl Sessions {
    /// Makes a session for a new connection.
    pub fn open(&mut self, now: Now, peer: Peer) -> &mut Session {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        self.count += 1;
        self.last_number += 1;
        let number = self.last_number;
        let slot = &mut self.slots[index as usize];
        slot.generation += 1;
        let client = ClientId(u64::from(slot.generation) << 32 | u64::from(index));
        slot.session = Some(Box::new(Session::new(now, client, number, peer)));
        self.count_memory(client);
        self.get_mut(client).expect("just opened")
    }

    /// Removes a session for good.
    pub fn close(&mut self, client: ClientId) -> Option<Box<Session>> {
        let session = self.take(client)?;
        self.free.push(client.0 as u32);
        self.count -= 1;
        self.memory -= session.memory_counted;
        Some(session)
    }

    /// A session.
    pub fn get(&self, client: ClientId) -> Option<&Session> {
        self.slot(client)?.session.as_deref()
    }

    /// A session, for changing.
    pub fn get_mut(&mut self, client: ClientId) -> Option<&mut Session> {
        let slot = self.slots.get_mut(client.0 as u32 as usize)?;
        if slot.generation != (client.0 >> 32) as u32 { None } else { slot.session.as_deref_mut() }
    }

    /// Takes a session out, so that it and the node can be changed at once; to be put back.
    pub fn take(&mut self, client: ClientId) -> Option<Box<Session>> {
        let slot = self.slots.get_mut(client.0 as u32 as usize)?;
        if slot.generation != (client.0 >> 32) as u32 { None } else { slot.session.take() }
    }

    /// Puts a session back.
    pub fn put_back(&mut self, session: Box<Session>) {
        let client = session.client;
        self.slots[client.0 as u32 as usize].session = Some(session);
        self.count_memory(client);
    }

    /// Brings the sum of memory up to date after a session's buffers have changed.
    pub fn count_memory(&mut self, client: ClientId) {
        let Some(session) = self.get_mut(client) else { return };
        let (counted, memory) = (session.memory_counted, session.memory());
        session.memory_counted = memory;
        self.memory = self.memory - counted + memory;
    }

    /// Bytes of all sessions.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// [`Sessions::memory`], with one that is out as it is now.
    pub fn memory_with(&self, out: &Session) -> usize {
        self.memory - out.memory_counted + out.memory()
    }

    /// Number of connected clients.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All sessions that are not out, in order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().filter_map(|slot| slot.session.as_deref())
    }

    /// All sessions that are not out, for changing.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.slots.iter_mut().filter_map(|slot| slot.session.as_deref_mut())
    }

    /// The session of this number (CLIENT ID).
    pub fn by_number(&self, number: u64) -> Option<&Session> {
        self.iter().find(|session| session.number == number)
    }

    fn slot(&self, client: ClientId) -> Option<&Slot> {
        self.slots.get(client.0 as u32 as usize).filter(|slot| slot.generation == (client.0 >> 32) as u32)
    }
}
