//! The node: one server, the hub where clients, data and disk meet.
//!
//! One SET, followed in order. The host hands bytes to `receive`; `resp::Parser` finds the commands in them without
//! copying; `batch.rs` looks their rows up in `commands/table.rs`, hashes their keys and has memory on its way for all of
//! them; then `execute.rs` takes them in order, checks what may keep this one from running, and calls
//! `commands/string.rs`, which changes the `store`, writes `+OK` into the session's reply and leaves a record;
//! `propagate` appends the record to `persist/journal.rs` and gates the reply with the offset after it. When
//! all input of this wake-up is run, the host calls `turn`: the journal hands its batch over as `Effect::Append`, and
//! the host writes it (`engine/linux/files.rs`) and confirms with `Completion::Appended` (and `Synced`). Then the reply's
//! gate opens, `Effect::Send` names the client, and the host takes the bytes with `output`. On the way back at a
//! restart, `loading.rs` reads the record with `persist/log_reader.rs` and runs it like any command.
//!
//! Always true: leaves are called from here and return values, none calls upwards; a reply leaves only when the journal
//! is safe up to everything it tells of; nothing here reads a clock, a file or a random source.
//!
//! Not here: what a command does (`commands/`), what durable means (`persist/`).

mod acl;
mod backup;
mod batch;
mod blocking;
mod client;
mod client_memory;
mod command;
mod config;
mod connection;
#[cfg(test)]
mod conversation;
mod cron;
mod debug;
mod digest;
mod execute;
mod figures;
mod function;
mod info;
mod latency;
mod loading;
mod memory;
mod migrate;
mod monitoring;
mod persistence;
mod propagate;
mod pubsub;
mod script;
mod server;
mod slowlog;
mod tracking;
mod transaction;
mod visibility;

#[cfg(test)]
pub mod testing;

use alloc::{boxed::Box, collections::BTreeMap, collections::BTreeSet, string::String, vec, vec::Vec};

use crate::{
    acl::{Acl, Log},
    bytes::sha,
    commands::{Record, table::Table},
    config::{AclPubsubDefault, AppendFsync, Config},
    host::{
        BackupJob, BackupWritten, ClientId, Completion, Disk, Effect, Effects, Encoder, Engine, IoError,
        Peer, Signal, SnapshotForm, SnapshotJob, Ticket,
    },
    mutant::{self, Mutant},
    persist::{
        append_only::{AppendOnly, Ids, Names},
        archive::ArchiveSettings,
        backup::{self as backup_work, Backups},
        batch::Marked,
        journal::{Fsync, JournalSettings},
        manifest::Manifest,
        snapshot::Snapshots,
        space::{Space, SpaceLimits},
    },
    pubsub::Registry,
    rdb,
    resp::{Protocol, Reply},
    session::{Session, Sessions},
    store::{DbKey, Limits, Store},
    time::Now,
    tracking::TrackingTable,
};

use debug::DebugSwitches;
pub use digest::value_digest;
pub use figures::{Exposure, Figures, Progress, Work};
pub use info::{HostFacts, HostHooks};
use loading::Loading;

/// What a node is made from, beside its configuration.
#[derive(Clone, Debug)]
pub struct Seeds {
    /// Seed of everything that is drawn or hashed.
    pub seed: u64,
    /// Process id, shown in INFO.
    pub process_id: u32,
    /// Reads a clock in nanoseconds, for statistics of single commands only: nothing is decided by it.
    pub stopwatch: fn() -> u64,
}

/// A stopwatch that stands still.
pub fn no_stopwatch() -> u64 {
    0
}

/// A child process of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ChildKind {
    Rdb,
    Aof,
}

#[derive(Clone, Copy, Debug)]
struct Child {
    kind: ChildKind,
    ticket: Ticket,
    pid: i32,
    /// Ended on purpose: its failure is none.
    is_cancelled: bool,
    keys: u64,
    keys_total: u64,
    cow_size: u64,
    cow_peak: u64,
    reported_us: u64,
}

/// Counters of the server as a whole, for INFO stats.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counters {
    pub connections: u64,
    pub rejected_connections: u64,
    pub commands: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
    pub forks: u64,
    pub last_fork_us: u64,
    pub error_replies: u64,
    pub unexpected_error_replies: u64,
    pub evicted_clients: u64,
    pub output_limit_disconnections: u64,
    pub query_limit_disconnections: u64,
    /// Nanoseconds at the ends of turns: cron, persistence, replies that are let go.
    pub turn_ns: u64,
    pub acl_denied_auth: u64,
    pub acl_denied_cmd: u64,
    pub acl_denied_key: u64,
    pub acl_denied_channel: u64,
    pub peak_memory: u64,
    pub dump_sanitizations: u64,
    pub reads: u64,
    pub writes: u64,
    pub turns: u64,
}

/// What one command has done so far, for INFO commandstats.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct CommandStats {
    pub calls: u64,
    pub ns: u64,
    pub rejected: u64,
    pub failed: u64,
}

/// One server.
#[derive(Clone)]
pub struct Node {
    pub(crate) config: Config,
    pub(crate) seeds: Seeds,
    pub(crate) table: Table,
    pub(crate) store: Store,
    pub(crate) sessions: Sessions,
    pub(crate) aof: AppendOnly,
    pub(crate) snapshots: Snapshots,
    pub(crate) backups: Backups,
    /// Room on the disk.
    pub(crate) space: Space,
    pub(crate) ids: Ids,
    child: Option<Child>,
    loading: Option<Loading>,
    /// What happened while the data set was last loaded, for INFO.
    pub(crate) load_report: loading::LoadReport,
    /// Clients whose output waits for the journal, in the order in which they came to wait; each once.
    gated: Vec<ClientId>,
    /// Clients that wait, by what they wait for.
    pub(crate) waiting: blocking::Waiters,
    /// Clients that watch keys.
    pub(crate) watchers: BTreeMap<DbKey, BTreeSet<ClientId>>,
    /// The users and their rights.
    pub(crate) acl: Acl,
    /// What was denied lately.
    pub(crate) acl_log: Log,
    /// Who listens to which channels.
    pub(crate) subscriptions: Registry,
    /// Who may have cached which keys.
    pub(crate) tracking: TrackingTable,
    /// Memory is above its limit, and more keys are to be evicted.
    is_evicting: bool,
    /// Scripts, libraries, and what runs them.
    scripting: script::Scripting,
    /// What is to be told once the running command is through.
    outbox: Vec<pubsub::Outgoing>,
    /// A shutdown that was asked for and is not through.
    shutdown: Option<persistence::Shutdown>,
    /// The removal of what a dead child left, while it is not through.
    leftover: Option<Ticket>,
    pub(crate) counters: Counters,
    pub(crate) command_stats: Vec<CommandStats>,
    pub(crate) error_stats: BTreeMap<String, u64>,
    pub(crate) debug: DebugSwitches,
    pub(crate) started: Now,
    /// Reading of the clocks at the running wake-up.
    pub(crate) now: Now,
    cron_at_us: u64,
    /// What EXEC or a script has logged so far; becomes one unit.
    unit: Option<propagate::Unit>,
    /// Which reads wait for which writes.
    visibility: visibility::Visibility,
    record: Record,
    batch_room: batch::Room,
    /// Last reading of the stopwatch while a batch runs.
    lap_ns: Option<u64>,
    /// Commands that wait until the node is free again (served blocked clients, resumed after CLIENT PAUSE).
    resumed: Vec<ClientId>,
    pub(crate) data_dir: String,
    /// CLIENT PAUSE.
    pause: Option<client::Pause>,
    /// Keys on their way to another server.
    migration: Option<migrate::Migration>,
    /// Clients that monitor, or did.
    monitors: BTreeSet<ClientId>,
    pub(crate) slowlog: slowlog::SlowLog,
    spikes: latency::Spikes,
    latencies: latency::Latencies,
    rates: info::Rates,
    hooks: HostHooks,
    /// What the host is doing for a CONFIG command.
    config_job: Option<config::ConfigJob>,
    /// A DEBUG RELOAD or LOADAOF that has not begun to load.
    reload: Option<debug::Reload>,
    /// Forty hexadecimal digits that name this run.
    run_id: String,
    /// Forty hexadecimal digits that name this history of the data.
    replication_id: String,
    /// Identifiers made so far.
    ids_made: u64,
}

impl Node {
    /// A node with empty databases, which loads what is on disk when the host calls `load`.
    pub fn new(config: Config, seeds: Seeds, now: Now) -> Node {
        let names = Names { dir: config.appenddirname.clone(), prefix: config.appendfilename.clone() };
        let table = Table::new();
        let command_stats = vec![CommandStats::default(); table.len()];
        let mut acl = Acl::new(&table, config.acl_pubsub_default == AclPubsubDefault::Allchannels);
        acl.set_default_password(&config.requirepass);
        let mut node = Node {
            store: Store::new(config.databases as usize, seeds.seed),
            table,
            sessions: Sessions::default(),
            aof: AppendOnly::new(names, Manifest::default(), JournalSettings::default()),
            snapshots: Snapshots::new(now),
            backups: Backups::default(),
            space: Space::default(),
            ids: Ids::default(),
            child: None,
            loading: Some(Loading::at_start()),
            load_report: loading::LoadReport::default(),
            gated: Vec::new(),
            waiting: blocking::Waiters::default(),
            watchers: BTreeMap::new(),
            acl,
            acl_log: Log::default(),
            subscriptions: Registry::default(),
            tracking: TrackingTable::default(),
            is_evicting: false,
            scripting: script::Scripting::default(),
            outbox: Vec::new(),
            shutdown: None,
            leftover: None,
            counters: Counters::default(),
            command_stats,
            error_stats: BTreeMap::new(),
            debug: DebugSwitches::default(),
            started: now,
            now,
            cron_at_us: now.mono_us,
            unit: None,
            visibility: visibility::Visibility::default(),
            record: Record::default(),
            batch_room: batch::Room::default(),
            lap_ns: None,
            resumed: Vec::new(),
            data_dir: config.dir.clone(),
            pause: None,
            migration: None,
            monitors: BTreeSet::new(),
            slowlog: slowlog::SlowLog::default(),
            spikes: latency::Spikes::default(),
            latencies: latency::Latencies::default(),
            rates: info::Rates::default(),
            hooks: HostHooks::default(),
            config_job: None,
            reload: None,
            run_id: String::new(),
            replication_id: String::new(),
            ids_made: 0,
            config,
            seeds,
        };
        node.run_id = node.new_id();
        node.replication_id = node.new_id();
        node.apply_settings();
        node
    }

    /// Forty hexadecimal digits, different from all before.
    fn new_id(&mut self) -> String {
        self.ids_made += 1;
        let source = [self.seeds.seed, self.started.wall_us, u64::from(self.seeds.process_id), self.ids_made];
        let bytes: Vec<u8> = source.iter().flat_map(|number| number.to_le_bytes()).collect();
        sha::hex(&sha::sha1(&bytes))
    }

    /// Carries settings over to the parts that keep their own copy.
    pub(crate) fn apply_settings(&mut self) {
        let config = &self.config;
        self.aof.journal.configure(JournalSettings {
            fsync: match config.appendfsync {
                AppendFsync::Always => Fsync::Always,
                AppendFsync::Everysec => Fsync::EverySec,
                AppendFsync::No => Fsync::No,
            },
            has_checksums: config.aof_checksum,
            has_timestamps: config.aof_timestamp_enabled,
            lag_max_ms: config.appendfsync_max_lag,
            sync_paused: config.no_appendfsync_on_rewrite && self.child.is_some(),
        });
        self.space.configure(SpaceLimits { soft: config.disk_soft_limit, hard: config.disk_hard_limit });
        self.aof.archive.configure(ArchiveSettings {
            dir: config.aof_archive_dir.trim_end_matches('/').into(),
            age_s_max: config.aof_archive_max_age,
            bytes_max: config.aof_archive_max_bytes,
        });
        self.store.limits = Limits {
            hash_listpack_entries_max: config.hash_max_listpack_entries as usize,
            hash_listpack_value_max: config.hash_max_listpack_value as usize,
            list_listpack_size: i64::from(config.list_max_listpack_size),
            set_intset_entries_max: config.set_max_intset_entries as usize,
            set_listpack_entries_max: config.set_max_listpack_entries as usize,
            set_listpack_value_max: config.set_max_listpack_value as usize,
            zset_listpack_entries_max: config.zset_max_listpack_entries as usize,
            zset_listpack_value_max: config.zset_max_listpack_value as usize,
            stream_node_bytes_max: config.stream_node_max_bytes as usize,
            stream_node_entries_max: config.stream_node_max_entries as usize,
            hll_sparse_bytes_max: config.hll_sparse_max_bytes as usize,
            string_bytes_max: config.proto_max_bulk_len as usize,
            is_lfu: config.maxmemory_policy.is_lfu(),
            lfu_log_factor: config.lfu_log_factor,
            lfu_decay_minutes: config.lfu_decay_time,
            is_clock_frozen: self.child.is_some(),
            hash_seed: self.seeds.seed,
        };
        self.acl.channels_by_default = config.acl_pubsub_default == AclPubsubDefault::Allchannels;
        self.store.event_mask = config.notify_keyspace_events.bits();
    }

    /// The data, for tests and oracles.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Bytes loaded so far, of a start or a reload.
    pub fn loaded_bytes(&self) -> u64 {
        self.loading.as_ref().map_or(0, |loading| loading.loaded_bytes)
    }

    /// What a client was answered and has not been sent, whether it may leave or not, for tests and oracles.
    pub fn answers(&self, client: ClientId) -> &[u8] {
        self.sessions.get(client).map_or(&[], Session::written)
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The append-only set, for tests and oracles.
    pub fn append_only(&self) -> &AppendOnly {
        &self.aof
    }

    /// Directory of the data, absolute, as the host found it.
    pub fn set_data_dir(&mut self, path: String) {
        self.data_dir = path;
    }

    /// Gives commands the names of the configuration; to be done once, before anything is served.
    ///
    /// # Errors
    /// What to tell before the server ends.
    pub fn rename_commands(&mut self) -> Result<(), String> {
        for (from, to) in &self.config.renamed_commands {
            self.table
                .rename(from, to)
                .map_err(|reason| alloc::format!("rename-command {from}: {reason}"))?;
        }
        Ok(())
    }

    /// Names the process for INFO; the host knows it only once it runs.
    pub fn set_process_id(&mut self, process_id: u32) {
        self.seeds.process_id = process_id;
    }

    fn begin(&mut self, now: Now) {
        self.now = now;
        self.store.now_ms = now.wall_ms();
        self.store.is_paused = self.is_data_paused();
    }

    /// Frees a bounded part of what was removed, so that no turn takes long.
    fn free_garbage(&mut self) {
        /// Allocations freed in one turn: about half a millisecond when each is a cache miss.
        const FREED_PER_TURN: usize = 4096;
        self.store.free_garbage(FREED_PER_TURN);
    }

    /// Lets replies go whose gates have opened.
    fn release_replies(&mut self, effects: &mut Effects) {
        if self.gated.is_empty() {
            return;
        }
        let safe = self.aof.journal.offset_safe(self.now);
        let sessions = &mut self.sessions;
        self.gated.retain(|&client| {
            let Some(session) = sessions.get_mut(client) else { return false };
            if session.release(safe) {
                effects.push(Effect::Send(client));
            }
            session.is_listed = session.is_gated();
            session.is_listed
        });
    }

    /// Hands the journal's batch over, after the pause that DEBUG AOF-FLUSH-SLEEP asks for.
    fn flush_journal(&mut self, effects: &mut Effects) {
        let begun = effects.len();
        self.aof.journal.flush(self.now, effects);
        let us = self.debug.append_delay_us;
        if us > 0 && effects[begun..].iter().any(|effect| matches!(effect, Effect::Append { .. })) {
            effects.insert(begun, Effect::Sleep { us });
        }
    }

    /// A session's output has grown: gates it and notes it for release.
    fn owe(&mut self, session: &mut Session) {
        self.owe_until(session, self.aof.journal.offset_buffered());
    }

    /// A session's output has grown by something that is safe once the journal is, up to this offset.
    fn owe_until(&mut self, session: &mut Session, needed: crate::host::Offset) {
        let offset = match mutant::is(Mutant::ReadsNotGated) {
            true => session.last_write,
            false => needed,
        };
        session.gate(offset);
        if session.is_gated() && !session.is_listed {
            session.is_listed = true;
            self.gated.push(session.client);
        }
    }

    /// Runs `work` on a session that is out of its slot, then puts it back.
    fn with_session(&mut self, client: ClientId, work: impl FnOnce(&mut Node, &mut Session)) {
        let Some(mut session) = self.sessions.take(client) else { return };
        work(self, &mut session);
        self.sessions.put_back(session);
    }

    /// Runs `work` with a session that is out put back meanwhile, so that it hears what concerns it.
    fn with_all_sessions(&mut self, session: &mut Session, work: impl FnOnce(&mut Node)) {
        let client = session.client;
        let stand_in = Session::new(self.now, client, session.number, session.peer.clone());
        self.sessions.put_back(Box::new(core::mem::replace(session, stand_in)));
        work(self);
        *session = *self.sessions.take(client).expect("put back above");
    }

    /// The data set as commands, and where the log goes on.
    fn commands_encoder(&self) -> Marked<rdb::CommandsEncoder<'_>> {
        let offset = self.config.aof_checksum.then(|| self.aof.journal.offset_buffered());
        let encoder = rdb::CommandsEncoder::new(&self.store, self.now);
        Marked::new(encoder.with_functions(self.scripting.libraries.sources()), offset)
    }

    /// The data set as RDB.
    fn rdb_encoder(&self, form: SnapshotForm, now_ms: u64) -> rdb::RdbEncoder<'_> {
        let encoder = rdb::RdbEncoder::new(&self.store, self.rdb_settings(form, now_ms));
        encoder.with_functions(self.scripting.libraries.sources())
    }

    /// A reply to write into that belongs to nobody.
    fn scratch_reply() -> Reply {
        Reply::new(Protocol::Resp2)
    }
}

impl Engine for Node {
    fn connect(&mut self, now: Now, peer: Peer, effects: &mut Effects) -> ClientId {
        self.begin(now);
        self.accept(peer, effects)
    }

    fn receive(&mut self, now: Now, client: ClientId, bytes: &[u8], effects: &mut Effects) {
        self.begin(now);
        self.counters.input_bytes += bytes.len() as u64;
        self.counters.reads += 1;
        self.with_session(client, |node, session| {
            session.active_us = now.mono_us;
            session.traffic.0 += bytes.len() as u64;
            node.run_input(session, bytes, effects);
        });
        self.run_resumed(effects);
    }

    fn disconnect(&mut self, now: Now, client: ClientId, _effects: &mut Effects) {
        self.begin(now);
        self.forget(client);
    }

    fn complete(&mut self, now: Now, completion: Completion, effects: &mut Effects) {
        self.begin(now);
        if self.keep_completion(&completion) {
            return;
        }
        self.take_completion(completion, effects);
        self.run_resumed(effects);
    }

    fn signal(&mut self, now: Now, signal: Signal, effects: &mut Effects) {
        self.begin(now);
        if self.keep_signal(signal, effects) {
            return;
        }
        if self.debug.pause_cron {
            // Redis looks for signals where it does its timed work.
            self.debug.kept_signal = Some(signal);
            return;
        }
        self.take_signal(signal, effects);
    }

    fn turn(&mut self, now: Now, effects: &mut Effects) {
        let started = (self.seeds.stopwatch)();
        self.begin(now);
        self.counters.turns += 1;
        self.free_garbage();
        if self.loading.is_none() {
            // One of the log goes on where the log does.
            self.continue_script(effects);
        }
        if self.is_script_suspended() {
            // All else would see half of what it does.
            return self.release_replies(effects);
        }
        self.go_on_evicting();
        self.run_cron(effects);
        self.end_pause_if_due(effects);
        self.run_resumed(effects);
        self.drive_persistence(effects);
        self.drive_reload(effects);
        self.flush_journal(effects);
        self.serve_synced_waiters(effects);
        self.broadcast_invalidations();
        self.evict_clients(None, effects);
        self.release_replies(effects);
        self.counters.turn_ns += (self.seeds.stopwatch)().saturating_sub(started);
    }

    fn wake_at(&self) -> u64 {
        let is_evicting = self.is_evicting && !self.is_data_paused();
        if !self.store.garbage().is_empty() || is_evicting || self.is_script_suspended() {
            return self.now.mono_us; // The next turn goes on.
        }
        let aof = self.aof.wake_at_us(self.now).unwrap_or(u64::MAX);
        let lag = if self.gated.is_empty() { u64::MAX } else { self.now.mono_us + 100_000 };
        let pause = self.pause.map_or(u64::MAX, |pause| pause.until_us);
        self.cron_at_us.min(aof).min(lag).min(pause).min(self.next_timeout_us())
    }

    fn output(&self, client: ClientId) -> &[u8] {
        self.sessions.get(client).map_or(&[], Session::output)
    }

    fn sent(&mut self, now: Now, client: ClientId, count: usize, _effects: &mut Effects) {
        self.now = now;
        self.counters.output_bytes += count as u64;
        self.counters.writes += 1;
        if let Some(session) = self.sessions.get_mut(client) {
            session.take_sent(count);
            self.sessions.count_memory(client);
        }
    }

    fn is_holding(&self, client: ClientId) -> bool {
        self.sessions.get(client).is_some_and(Session::is_gated)
    }

    fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    fn load(&mut self, now: Now, disk: &mut dyn Disk, effects: &mut Effects) {
        self.begin(now);
        self.load_slice(disk, effects);
    }

    fn back_up(
        job: &BackupJob,
        disk: &mut dyn Disk,
        progress: &mut dyn FnMut(u64),
    ) -> Result<BackupWritten, IoError> {
        backup_work::write(job, disk, progress)
    }

    fn encoder<'a>(&'a self, job: &SnapshotJob) -> Box<dyn Encoder + 'a> {
        match job.form {
            SnapshotForm::AofBaseCommands => Box::new(self.commands_encoder()),
            form => Box::new(self.rdb_encoder(form, job.now_ms)),
        }
    }
}
