//! INFO: the state of the server in Redis's sections and field names, and what no peer shows.
//!
//! Always true: every field of Redis 7.2 is there, in its order; what has no meaning here is zero, never made up.
//!
//! Not here: what counts (`mod.rs`, `cron.rs`), where memory goes (`memory.rs`).

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Write;

use super::{ChildKind, Node};
use crate::{
    commands::Args,
    config::{REDIS_VERSION, Supervised},
    persist::{
        append_only::State,
        journal::{JournalStats, SYNC_STEPS},
    },
    pubsub::Kind,
    session::Session,
};

/// What only the host can know, for INFO and MEMORY; zero and empty where it does not.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// System and machine, as uname gives them.
    pub os: String,
    /// How the server waits for sockets, as operators know it.
    pub multiplexing: &'static str,
    /// Path of the program.
    pub executable: String,
    /// Allocator's name and version.
    pub allocator: String,
    /// Resident memory of the process, bytes.
    pub rss: u64,
    /// Memory of the machine, bytes.
    pub system_memory: u64,
    /// Bytes handed out by the allocator.
    pub allocated: u64,
    /// Bytes in pages with anything in them.
    pub active: u64,
    /// Bytes in pages that are backed by memory.
    pub resident: u64,
    /// Processor time in the kernel and outside of it, microseconds: the process.
    pub cpu_us: (u64, u64),
    /// The same of its children that have ended.
    pub cpu_children_us: (u64, u64),
    /// The same of the thread that runs the engine.
    pub cpu_main_us: (u64, u64),
}

/// How the host lets itself be asked; nothing is decided by the answers.
#[derive(Clone, Copy, Debug)]
pub struct HostHooks {
    /// The facts as they are now.
    pub facts: fn() -> HostFacts,
    /// Gives unused memory back.
    pub purge_memory: fn(),
}

impl Default for HostHooks {
    fn default() -> HostHooks {
        HostHooks { facts: HostFacts::default, purge_memory: || {} }
    }
}

/// Samples an average is taken over, one every 100 ms.
const RATE_SAMPLES: usize = 16;
const RATE_INTERVAL_US: u64 = 100_000;

/// What is averaged: commands, bytes in, bytes out, turns, microseconds in turns and commands.
const RATES: usize = 5;

/// Counts a second, averaged over the last 1.6 seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    samples: [[u64; RATES]; RATE_SAMPLES],
    index: usize,
    last: [u64; RATES],
    last_us: u64,
}

impl Rates {
    /// Takes in the present counts.
    pub(crate) fn sample(&mut self, now_us: u64, counts: [u64; RATES]) {
        let elapsed_us = now_us.saturating_sub(self.last_us);
        if elapsed_us < RATE_INTERVAL_US {
            return;
        }
        let slot = &mut self.samples[self.index];
        for (index, rate) in slot.iter_mut().enumerate() {
            *rate = counts[index].saturating_sub(self.last[index]) * 1_000_000 / elapsed_us;
        }
        self.index = (self.index + 1) % RATE_SAMPLES;
        self.last = counts;
        self.last_us = now_us;
    }

    fn average(&self, which: usize) -> u64 {
        self.samples.iter().map(|sample| sample[which]).sum::<u64>() / RATE_SAMPLES as u64
    }
}

/// The sections of INFO, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Section {
    Server,
    Clients,
    Memory,
    Persistence,
    Stats,
    Replication,
    Cpu,
    Modules,
    CommandStats,
    ErrorStats,
    LatencyStats,
    Cluster,
    Keyspace,
}

use Section::*;

const SECTIONS: &[(&str, Section)] = &[
    ("server", Server),
    ("clients", Clients),
    ("memory", Memory),
    ("persistence", Persistence),
    ("stats", Stats),
    ("replication", Replication),
    ("cpu", Cpu),
    ("modules", Modules),
    ("commandstats", CommandStats),
    ("errorstats", ErrorStats),
    ("latencystats", LatencyStats),
    ("cluster", Cluster),
    ("keyspace", Keyspace),
];

impl Section {
    /// Part of a plain INFO.
    fn is_default(self) -> bool {
        !matches!(self, CommandStats | LatencyStats)
    }
}

/// Writes `name:value` lines; a section's text is built of nothing else.
macro_rules! fields {
    ($text:expr, $($name:literal: $value:expr),* $(,)?) => {
        {
            // Writing to a string cannot fail.
            $( let _ = write!($text, concat!($name, ":{}\r\n"), $value); )*
        }
    };
}

impl Node {
    /// Lets INFO and MEMORY ask the host.
    pub fn set_host_hooks(&mut self, hooks: HostHooks) {
        self.hooks = hooks;
    }

    pub(super) fn info(&mut self, session: &mut Session, args: Args<'_>) {
        let mut text = String::new();
        for section in chosen(&args[1..]) {
            if !text.is_empty() {
                text += "\r\n";
            }
            self.write_section(section, session, &mut text);
        }
        session.reply.verbatim(*b"txt", text.as_bytes());
    }

    fn write_section(&self, section: Section, session: &Session, text: &mut String) {
        let title = match section {
            Server => "Server",
            Clients => "Clients",
            Memory => "Memory",
            Persistence => "Persistence",
            Stats => "Stats",
            Replication => "Replication",
            Cpu => "CPU",
            Modules => "Modules",
            CommandStats => "Commandstats",
            ErrorStats => "Errorstats",
            LatencyStats => "Latencystats",
            Cluster => "Cluster",
            Keyspace => "Keyspace",
        };
        let _ = write!(text, "# {title}\r\n");
        match section {
            Server => self.info_server(text),
            Clients => self.info_clients(session, text),
            Memory => self.info_memory(text),
            Persistence => self.info_persistence(text),
            Stats => self.info_stats(text),
            Replication => self.info_replication(text),
            Cpu => self.info_cpu(text),
            Modules => {}
            CommandStats => self.info_commandstats(text),
            ErrorStats => self.info_errorstats(text),
            LatencyStats => self.info_latencystats(text),
            Cluster => fields!(text, "cluster_enabled": 0),
            Keyspace => self.info_keyspace(text),
        }
    }

    fn info_server(&self, text: &mut String) {
        let facts = (self.hooks.facts)();
        let uptime_s = self.now.mono_us.saturating_sub(self.started.mono_us) / 1_000_000;
        fields!(text,
            "redis_version": REDIS_VERSION,
            "redis_git_sha1": "00000000",
            "redis_git_dirty": 0,
            "redis_build_id": 0,
            "redis_mode": "standalone",
            "os": facts.os,
            "arch_bits": usize::BITS,
            "monotonic_clock": "POSIX clock_gettime",
            "multiplexing_api": facts.multiplexing,
            "atomicvar_api": "none",
            "gcc_version": "0.0.0",
            "process_id": self.seeds.process_id,
            "process_supervised": match self.config.supervised {
                Supervised::No => "no",
                _ => "systemd",
            },
            "run_id": self.run_id,
            "tcp_port": self.config.port,
            "server_time_usec": self.now.wall_us,
            "uptime_in_seconds": uptime_s,
            "uptime_in_days": uptime_s / 86_400,
            "hz": self.config.hz,
            "configured_hz": self.config.hz,
            "lru_clock": self.now.wall_s() & 0x00ff_ffff,
            "executable": facts.executable,
            "config_file": self.config.config_file.as_deref().unwrap_or(""),
            "io_threads_active": u8::from(self.config.io_threads > 1),
            "server_name": "perdura",
            "perdura_version": env!("CARGO_PKG_VERSION"),
        );
        if self.config.port > 0 {
            let binds: Vec<String> =
                self.config.bind.iter().map(|address| format!("bind={address},")).collect();
            fields!(text, "listener0": format!("name=tcp,{}port={}", binds.concat(), self.config.port));
        }
        if self.config.tls_port > 0 {
            let binds: String = self.config.bind.iter().map(|address| format!("bind={address},")).collect();
            let number = u8::from(self.config.port > 0);
            let _ = write!(text, "listener{number}:name=tls,{binds}port={}\r\n", self.config.tls_port);
        }
    }

    fn info_clients(&self, own: &Session, text: &mut String) {
        let everybody = || self.sessions.iter().chain([own]);
        let present = everybody().filter(|session| !session.is_closing).count();
        fields!(text,
            "connected_clients": present,
            "cluster_connections": 0,
            "maxclients": self.config.maxclients,
            "client_recent_max_input_buffer": everybody().map(|session| session.input.len()).max().unwrap_or(0),
            "client_recent_max_output_buffer": everybody().map(Session::output_pending).max().unwrap_or(0),
            "blocked_clients": self.waiting.len(),
            "tracking_clients": everybody().filter(|session| session.tracking.is_on).count(),
            "pubsub_clients": everybody().filter(|session| session.is_subscribed()).count(),
            "watching_clients": everybody().filter(|session| !session.watched.is_empty()).count(),
            "clients_in_timeout_table": self.waiting.timeout_count(),
            "total_watched_keys": self.watchers.len(),
            "total_blocking_keys": self.waiting.key_count(),
            "total_blocking_keys_on_nokey": self.keys_awaited_on_removal(),
        );
    }

    fn info_memory(&self, text: &mut String) {
        let facts = (self.hooks.facts)();
        let used = self.memory_use();
        let scripts = self.scripting.memory();
        let peak = self.counters.peak_memory.max(used.total);
        let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let difference = |more: u64, less: u64| more as i64 - less as i64;
        let data = used.total.saturating_sub(used.startup);
        fields!(text,
            "used_memory": used.total,
            "used_memory_human": human(used.total),
            "used_memory_rss": facts.rss,
            "used_memory_rss_human": human(facts.rss),
            "used_memory_peak": peak,
            "used_memory_peak_human": human(peak),
            "used_memory_peak_perc": format!("{:.2}%", 100.0 * ratio(used.total, peak)),
            "used_memory_overhead": used.overhead,
            "used_memory_startup": used.startup,
            "used_memory_dataset": used.dataset,
            "used_memory_dataset_perc": format!("{:.2}%", 100.0 * ratio(used.dataset, data)),
            "allocator_allocated": facts.allocated,
            "allocator_active": facts.active,
            "allocator_resident": facts.resident,
            "total_system_memory": facts.system_memory,
            "total_system_memory_human": human(facts.system_memory),
            "used_memory_lua": scripts.vm_eval,
            "used_memory_vm_eval": scripts.vm_eval,
            "used_memory_lua_human": human(scripts.vm_eval),
            "used_memory_scripts_eval": scripts.eval,
            "number_of_cached_scripts": self.scripting.script_count(),
            "number_of_functions": self.scripting.libraries.function_count(),
            "number_of_libraries": self.scripting.libraries.len(),
            "used_memory_vm_functions": scripts.vm_functions,
            "used_memory_vm_total": scripts.vm_eval + scripts.vm_functions,
            "used_memory_vm_total_human": human(scripts.vm_eval + scripts.vm_functions),
            "used_memory_functions": scripts.functions,
            "used_memory_scripts": scripts.eval + scripts.functions,
            "used_memory_scripts_human": human(scripts.eval + scripts.functions),
            "maxmemory": self.config.maxmemory,
            "maxmemory_human": human(self.config.maxmemory),
            "maxmemory_policy": self.config.maxmemory_policy.word(),
            "allocator_frag_ratio": format!("{:.2}", ratio(facts.active, facts.allocated)),
            "allocator_frag_bytes": difference(facts.active, facts.allocated),
            "allocator_rss_ratio": format!("{:.2}", ratio(facts.resident, facts.active)),
            "allocator_rss_bytes": difference(facts.resident, facts.active),
            "rss_overhead_ratio": format!("{:.2}", ratio(facts.rss, facts.resident)),
            "rss_overhead_bytes": difference(facts.rss, facts.resident),
            "mem_fragmentation_ratio": format!("{:.2}", ratio(facts.rss, used.total)),
            "mem_fragmentation_bytes": difference(facts.rss, used.total),
            "mem_not_counted_for_evict": used.log_buffers,
            "mem_replication_backlog": 0,
            "mem_total_replication_buffers": 0,
            "mem_clients_slaves": 0,
            "mem_clients_normal": used.clients,
            "mem_cluster_links": 0,
            "mem_aof_buffer": used.log_buffers,
            "mem_allocator": facts.allocator,
            "active_defrag_running": 0,
            "lazyfree_pending_objects": self.store.garbage().pending(),
            "lazyfreed_objects": self.store.garbage().freed(),
        );
    }

    fn info_stats(&self, text: &mut String) {
        let counters = &self.counters;
        let keys = &self.store.stats;
        let kbps = |which: usize| format!("{:.2}", self.rates.average(which) as f64 / 1024.0);
        fields!(text,
            "total_connections_received": counters.connections,
            "total_commands_processed": counters.commands,
            "instantaneous_ops_per_sec": self.rates.average(0),
            "total_net_input_bytes": counters.input_bytes,
            "total_net_output_bytes": counters.output_bytes,
            "total_net_repl_input_bytes": 0,
            "total_net_repl_output_bytes": 0,
            "instantaneous_input_kbps": kbps(1),
            "instantaneous_output_kbps": kbps(2),
            "instantaneous_input_repl_kbps": "0.00",
            "instantaneous_output_repl_kbps": "0.00",
            "rejected_connections": counters.rejected_connections,
            "sync_full": 0,
            "sync_partial_ok": 0,
            "sync_partial_err": 0,
            "expired_keys": keys.expired,
            "expired_stale_perc": "0.00",
            "expired_time_cap_reached_count": 0,
            "expire_cycle_cpu_milliseconds": 0,
            "evicted_keys": keys.evicted,
            "evicted_clients": counters.evicted_clients,
            "total_eviction_exceeded_time": 0,
            "current_eviction_exceeded_time": 0,
            "keyspace_hits": keys.hits,
            "keyspace_misses": keys.misses,
            "pubsub_channels": self.subscriptions.name_count(Kind::Channel),
            "pubsub_patterns": self.subscriptions.name_count(Kind::Pattern),
            "pubsubshard_channels": self.subscriptions.name_count(Kind::Shard),
            "latest_fork_usec": counters.last_fork_us,
            "total_forks": counters.forks,
            "migrate_cached_sockets": 0,
            "slave_expires_tracked_keys": 0,
            "active_defrag_hits": 0,
            "active_defrag_misses": 0,
            "active_defrag_key_hits": 0,
            "active_defrag_key_misses": 0,
            "total_active_defrag_time": 0,
            "current_active_defrag_time": 0,
            "tracking_total_keys": self.tracking.key_count(),
            "tracking_total_items": self.tracking.item_count(),
            "tracking_total_prefixes": self.tracking.prefix_count(),
            "unexpected_error_replies": counters.unexpected_error_replies,
            "total_error_replies": counters.error_replies,
            "dump_payload_sanitizations": counters.dump_sanitizations,
            "total_reads_processed": counters.reads,
            "total_writes_processed": counters.writes,
            "io_threaded_reads_processed": 0,
            "io_threaded_writes_processed": 0,
            "reply_buffer_shrinks": 0,
            "reply_buffer_expands": 0,
            "eventloop_cycles": counters.turns,
            "eventloop_duration_sum": self.busy_us(),
            "eventloop_duration_cmd_sum": self.commands_us(),
            "instantaneous_eventloop_cycles_per_sec": self.rates.average(3),
            "instantaneous_eventloop_duration_usec": self.rates.average(4) / self.rates.average(3).max(1),
            "acl_access_denied_auth": counters.acl_denied_auth,
            "acl_access_denied_cmd": counters.acl_denied_cmd,
            "acl_access_denied_key": counters.acl_denied_key,
            "acl_access_denied_channel": counters.acl_denied_channel,
        );
    }

    fn info_replication(&self, text: &mut String) {
        fields!(text,
            "role": "master",
            "connected_slaves": 0,
            "master_failover_state": "no-failover",
            "master_replid": self.replication_id,
            "master_replid2": "0".repeat(40),
            "master_repl_offset": 0,
            "second_repl_offset": -1,
            "repl_backlog_active": 0,
            "repl_backlog_size": self.config.repl_backlog_size,
            "repl_backlog_first_byte_offset": 0,
            "repl_backlog_histlen": 0,
        );
    }

    /// Microseconds spent in commands.
    fn commands_us(&self) -> u64 {
        self.command_stats.iter().map(|stats| stats.ns).sum::<u64>() / 1000
    }

    /// Microseconds spent in commands and at the ends of turns.
    pub(super) fn busy_us(&self) -> u64 {
        self.commands_us() + self.counters.turn_ns / 1000
    }

    fn info_cpu(&self, text: &mut String) {
        let facts = (self.hooks.facts)();
        let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
        fields!(text,
            "used_cpu_sys": seconds(facts.cpu_us.0),
            "used_cpu_user": seconds(facts.cpu_us.1),
            "used_cpu_sys_children": seconds(facts.cpu_children_us.0),
            "used_cpu_user_children": seconds(facts.cpu_children_us.1),
            "used_cpu_sys_main_thread": seconds(facts.cpu_main_us.0),
            "used_cpu_user_main_thread": seconds(facts.cpu_main_us.1),
        );
    }

    fn info_commandstats(&self, text: &mut String) {
        for (row, stats) in self.table.rows().iter().zip(&self.command_stats) {
            if stats.calls + stats.rejected + stats.failed == 0 {
                continue;
            }
            let us = stats.ns as f64 / 1000.0;
            let _ = write!(
                text,
                "cmdstat_{}:calls={},usec={},usec_per_call={:.2},rejected_calls={},failed_calls={}\r\n",
                row.full_name(),
                stats.calls,
                us as u64,
                if stats.calls == 0 { 0.0 } else { us / stats.calls as f64 },
                stats.rejected,
                stats.failed
            );
        }
    }

    fn info_errorstats(&self, text: &mut String) {
        for (code, count) in &self.error_stats {
            let _ = write!(text, "errorstat_{code}:count={count}\r\n");
        }
    }

    fn info_latencystats(&self, text: &mut String) {
        for (id, histogram) in self.latencies.iter() {
            let percentiles: Vec<String> = self
                .config
                .latency_tracking_info_percentiles
                .iter()
                .map(|&percent| format!("p{percent}={:.3}", histogram.percentile(percent) as f64 / 1000.0))
                .collect();
            let name = self.table.rows()[id].full_name();
            let _ = write!(text, "latency_percentiles_usec_{name}:{}\r\n", percentiles.join(","));
        }
    }

    fn info_keyspace(&self, text: &mut String) {
        for (index, db) in (0..self.store.db_count()).map(|index| (index, self.store.db(index))) {
            if !db.is_empty() {
                let (keys, expires) = (db.len(), db.expiring_len());
                let _ = write!(
                    text,
                    "db{index}:keys={keys},expires={expires},avg_ttl={}\r\n",
                    self.average_ttl_ms(index)
                );
            }
        }
    }

    /// Milliseconds that the keys which expire first have left, on average.
    fn average_ttl_ms(&self, db: usize) -> u64 {
        const SAMPLE: usize = 100;
        let now_ms = self.store.now_ms;
        let times: Vec<u64> = self
            .store
            .db(db)
            .expiring_hashes()
            .take(SAMPLE)
            .map(|(at, _)| at.saturating_sub(now_ms))
            .collect();
        times.iter().sum::<u64>().checked_div(times.len() as u64).unwrap_or(0)
    }

    // --- Persistence --------------------------------------------------------------------------------

    fn info_persistence(&self, text: &mut String) {
        let word = |has_failed: bool| if has_failed { "err" } else { "ok" };
        let seconds_since =
            |us: Option<u64>| us.map_or(-1, |us| (self.now.mono_us.saturating_sub(us) / 1_000_000) as i64);
        let or_none = |seconds: Option<u64>| seconds.map_or(-1, |seconds| seconds as i64);
        // What was asked for counts as begun where only the end of the one before it is awaited; a rewrite has ended when the
        // files that it supersedes are gone.
        let is_rewriting = self.aof.is_rewriting()
            || self.aof.is_settling()
            || self.aof.is_cleaning_up()
            || self.aof.is_about_to_rewrite(self.now) && !self.has_working_child();
        let child = self.child.as_ref();
        let age_s = child.map_or(0, |child| self.now.mono_us.saturating_sub(child.reported_us) / 1_000_000);
        let done = child.map_or(0.0, |child| 100.0 * child.keys as f64 / child.keys_total.max(1) as f64);
        let is_saving = child.is_some_and(|child| child.kind == ChildKind::Rdb);
        let snapshots = &self.snapshots;
        let journal = &self.aof.journal;
        let has_write_failed = journal.broken().is_some();
        fields!(text,
            "loading": u8::from(self.loading.is_some()),
            "async_loading": 0,
            "current_cow_peak": child.map_or(0, |child| child.cow_peak),
            "current_cow_size": child.map_or(0, |child| child.cow_size),
            "current_cow_size_age": age_s,
            "current_fork_perc": format!("{done:.2}"),
            "current_save_keys_processed": child.map_or(0, |child| child.keys),
            "current_save_keys_total": child.map_or(0, |child| child.keys_total),
            "rdb_changes_since_last_save": self.store.dirty.saturating_sub(snapshots.dirty_in_foreground()),
            "rdb_bgsave_in_progress": u8::from(snapshots.is_in_background()),
            "rdb_last_save_time": snapshots.last_save_s,
            "rdb_last_bgsave_status": word(snapshots.has_failed),
            "rdb_last_bgsave_time_sec": or_none(snapshots.last_s),
            "rdb_current_bgsave_time_sec": seconds_since(snapshots.started_us().filter(|_| is_saving)),
            "rdb_saves": snapshots.count,
            "rdb_last_cow_size": snapshots.last_cow,
            "rdb_last_load_keys_expired": self.load_report.keys_expired,
            "rdb_last_load_keys_loaded": self.load_report.keys_loaded,
            "aof_enabled": u8::from(self.aof.state() != State::Off),
            "aof_rewrite_in_progress": u8::from(is_rewriting),
            "aof_rewrite_scheduled": u8::from(self.aof.is_scheduled() && !is_rewriting),
            "aof_last_rewrite_time_sec": or_none(self.aof.stats.last_s),
            "aof_current_rewrite_time_sec": seconds_since(self.aof.rewrite_started_us()),
            "aof_last_bgrewrite_status": word(self.aof.stats.has_failed),
            "aof_rewrites": self.aof.stats.count,
            "aof_rewrites_consecutive_failures": self.aof.stats.failures_consecutive,
            "aof_last_write_status": word(has_write_failed),
            "aof_last_cow_size": self.aof.stats.last_cow,
            "module_fork_in_progress": 0,
            "module_fork_last_cow_size": 0,
        );
        if self.config.appendonly {
            let (size, base_size) = self.aof.sizes();
            fields!(text,
                "aof_current_size": size,
                "aof_base_size": base_size,
                "aof_pending_rewrite": u8::from(self.aof.is_scheduled()),
                "aof_buffer_length": journal.buffer_len(),
                "aof_pending_bio_fsync": u8::from(journal.is_syncing()),
                "aof_delayed_fsync": journal.stats().lags,
            );
        }
        self.info_backup(text);
        self.info_loading(text);
        self.info_exposure(text);
    }

    fn info_backup(&self, text: &mut String) {
        let stats = &self.backups.stats;
        let is_running = self.backups.is_running();
        fields!(text,
            "backup_in_progress": u8::from(is_running),
            "backup_last_status": if stats.error.is_some() { "err" } else { "ok" },
            "backup_last_verified_time": stats.last_s.map_or(-1, |second| second as i64),
            "backup_last_verified_age_sec": stats.last_s.map_or(-1, |second| self.now.wall_s().saturating_sub(second) as i64),
            "backup_last_duration_ms": stats.last_ms,
            "backup_last_bytes": stats.last_bytes,
        );
        if let Some(error) = &stats.error {
            fields!(text, "backup_last_error": error);
        }
        if is_running {
            fields!(text, "backup_done_bytes": stats.done_bytes, "backup_total_bytes": stats.total_bytes);
        }
        if self.aof.archive.is_on() {
            fields!(text,
                "aof_archive_sets": self.aof.archive.len(),
                "aof_archive_bytes": self.aof.archive.bytes(),
                "aof_archive_status": if self.aof.archive.has_failed() { "err" } else { "ok" },
            );
        }
    }

    fn info_loading(&self, text: &mut String) {
        let (Some(loading), Some(progress)) = (&self.loading, self.load_progress()) else { return };
        fields!(text,
            "loading_start_time": loading.started_s,
            "loading_total_bytes": progress.total,
            "loading_rdb_used_mem": 0,
            "loading_loaded_bytes": progress.done,
            "loading_loaded_perc": format!("{:.2}", progress.percent()),
            "loading_eta_seconds": progress.eta_s().unwrap_or(1),
        );
    }

    /// What a power loss or a kill would take at this moment, and how the disk is doing.
    fn info_exposure(&self, text: &mut String) {
        let journal = &self.aof.journal;
        let exposure = self.exposure();
        let eta_s = self.child_progress().and_then(|progress| progress.eta_s());
        let syncs = journal.stats();
        let free = self.space.free(journal.offset_buffered());
        let broken = journal.broken().map(|broken| broken.error.to_string());
        let (cut_bytes, cut_copy) = match &self.load_report.cut {
            Some((bytes, copy)) => (*bytes, copy.as_str()),
            None => (0, ""),
        };
        fields!(text,
            "perdura_promise": self.promise(),
            "perdura_log_policy": exposure.policy,
            "perdura_power_loss_bytes": exposure.power_loss_bytes,
            "perdura_power_loss_commands": exposure.power_loss_commands,
            "perdura_power_loss_ms": exposure.power_loss_ms,
            "perdura_kill_loss_bytes": exposure.kill_loss_bytes,
            "perdura_log_offset_buffered": journal.offset_buffered(),
            "perdura_log_offset_written": journal.offset_written(),
            "perdura_log_offset_synced": journal.offset_synced(),
            "perdura_replies_held": self.gated.len(),
            "perdura_syncs": syncs.syncs,
            "perdura_last_sync_us": syncs.last_sync_us,
            "perdura_slowest_sync_us": syncs.slowest_sync_us,
            "perdura_sync_histogram_us": sync_histogram(syncs),
            "perdura_sync_failures": syncs.failures,
            "perdura_disk_free_bytes": free.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            "perdura_disk_state": self.room().word(),
            "perdura_save_eta_seconds": eta_s.map_or(-1, |seconds| seconds as i64),
            "perdura_log_broken": broken.as_deref().unwrap_or(""),
            "perdura_load_cut_bytes": cut_bytes,
            "perdura_load_cut_copy": cut_copy,
            "perdura_load_failed_commands": self.load_report.failed_commands,
        );
    }
}

/// `le_<us>=<count>` for each power of two: how many syncs took no longer; steps that add none are left out.
fn sync_histogram(stats: &JournalStats) -> String {
    let mut within = 0;
    let mut steps = Vec::new();
    for (step, &count) in stats.sync_counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        within += count;
        steps.push(match step {
            _ if step == SYNC_STEPS - 1 => format!("le_inf={within}"),
            _ => format!("le_{}={within}", 1u64 << step),
        });
    }
    steps.join(",")
}

/// The sections that words choose; none choose the usual ones, unknown ones nothing.
fn chosen(words: &[&[u8]]) -> Vec<Section> {
    let is_word = |wanted: &str| words.iter().any(|word| word.eq_ignore_ascii_case(wanted.as_bytes()));
    let has_all = is_word("all") || is_word("everything");
    let has_usual = words.is_empty() || is_word("default");
    SECTIONS
        .iter()
        .filter(|(name, section)| has_all || has_usual && section.is_default() || is_word(name))
        .map(|(_, section)| *section)
        .collect()
}

/// Bytes with a unit, as Redis shows them.
fn human(bytes: u64) -> String {
    const UNITS: &[&str] = &["B", "K", "M", "G", "T", "P"];
    let power = (bytes.max(1).ilog2() / 10) as usize;
    match power {
        0 => format!("{bytes}B"),
        power => format!(
            "{:.2}{}",
            bytes as f64 / (1u64 << (10 * power)) as f64,
            UNITS[power.min(UNITS.len() - 1)]
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::TestServer;

    #[test]
    fn bytes_have_units() {
        let shown = [0, 1023, 1024, 1536, 5 << 30].map(human);
        assert_eq!(shown, ["0B", "1023B", "1.00K", "1.50K", "5.00G"]);
    }

    #[track_caller]
    fn titles(server: &mut TestServer, command: &str) -> String {
        let text = server.run(command).replace("\\r\\n", "\n");
        let titles: Vec<&str> =
            text.split('\n').filter_map(|line| line.trim_start_matches('"').strip_prefix("# ")).collect();
        titles.join(" ")
    }

    #[test]
    fn sections_are_chosen_by_name() {
        let mut server = TestServer::new("");
        let usual =
            "Server Clients Memory Persistence Stats Replication CPU Modules Errorstats Cluster Keyspace";
        let all = "Server Clients Memory Persistence Stats Replication CPU Modules Commandstats Errorstats Latencystats \
                   Cluster Keyspace";
        for (command, expected) in [
            ("INFO", usual),
            ("INFO default", usual),
            ("INFO all", all),
            ("INFO everything", all),
            ("INFO keyspace SERVER", "Server Keyspace"),
            ("INFO commandstats default", all.replace(" Latencystats", "").as_str()),
            ("INFO nosuch", ""),
        ] {
            assert_eq!(titles(&mut server, command), expected, "{command}");
        }
    }

    #[test]
    fn figures_follow_what_happens() {
        let mut server = TestServer::new("appendonly yes");
        server.check(&[
            ("SET k v PX 5000", "+OK"),
            ("GET k", "\"v\""),
            ("GET l", "nil"),
            ("INCR k", "-ERR value is not an integer or out of range"),
        ]);
        let text = server.run("INFO all");
        for field in [
            "keyspace_hits:1",
            "keyspace_misses:1",
            "errorstat_ERR:count=1",
            "cmdstat_get:calls=2,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0",
            "cmdstat_incr:calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=1",
            "db0:keys=1,expires=1,avg_ttl=5000",
            "aof_enabled:1",
            "perdura_kill_loss_bytes:0",
            "connected_clients:1",
            "role:master",
        ] {
            assert!(text.contains(&format!("{field}\\r\\n")), "{field} in {text}");
        }
    }

    #[test]
    fn syncs_are_counted_by_how_long_they_took() {
        let mut stats = JournalStats::default();
        for (step, count) in [(0, 1), (7, 2), (SYNC_STEPS - 1, 3)] {
            stats.sync_counts[step] = count;
        }
        assert_eq!(sync_histogram(&stats), "le_1=1,le_128=3,le_inf=6");
        assert_eq!(sync_histogram(&JournalStats::default()), "");
    }

    #[test]
    fn rates_are_averages() {
        let mut rates = Rates::default();
        for tick in 1..=16 {
            rates.sample(tick * RATE_INTERVAL_US, [tick * 10, 0, 0, 0, 0]);
        }
        assert_eq!(rates.average(0), 100);
    }
}
