//! What the server would tell about itself at any moment, as plain numbers: for INFO and for the metrics endpoint.
//!
//! Exists so that whoever watches the server need not ask it: the host copies [`Figures`] out between two turns and
//! shows them wherever it likes.
//!
//! Always true: made without allocation and without a look at any key; nothing is decided by them.
//!
//! Not here: names and texts (`info.rs`, and `engine/server/src/metrics`).

use super::{ChildKind, Node};
use crate::{
    config::AppendFsync,
    persist::{append_only::State, journal::JournalStats},
};

/// What would be gone if it happened now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exposure {
    /// `always`, `everysec` or `no`; `none` where nothing is logged.
    pub policy: &'static str,
    /// Bytes of the log that a loss of power would take.
    pub power_loss_bytes: u64,
    /// Commands it would take, a transaction counting as one; without a log, changes since the last snapshot.
    pub power_loss_commands: u64,
    /// Age of the oldest of them, milliseconds; without a log, of the last snapshot.
    pub power_loss_ms: u64,
    /// Bytes of the log that the end of the process alone would take: none that was answered.
    pub kill_loss_bytes: u64,
}

/// How far a piece of work has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Of so many…
    pub total: u64,
    /// …so many are done.
    pub done: u64,
    /// Microseconds it has taken so far.
    pub elapsed_us: u64,
}

impl Progress {
    /// Share that is done, 0 to 100.
    pub fn percent(&self) -> f64 {
        100.0 * self.done.min(self.total) as f64 / self.total.max(1) as f64
    }

    /// Seconds it will take if it goes on like this; `None` before anything is done.
    pub fn eta_s(&self) -> Option<u64> {
        let left = u128::from(self.total.saturating_sub(self.done));
        (u128::from(self.elapsed_us) * left)
            .checked_div(u128::from(self.done))
            .map(|us| (us / 1_000_000) as u64)
    }
}

/// Work that is done now and then: snapshots, rewrites, backups.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// The one under way.
    pub running: Option<Progress>,
    /// The last one failed.
    pub has_failed: bool,
    /// Those begun so far.
    pub count: u64,
    /// Milliseconds the last one took.
    pub last_ms: Option<u64>,
    /// When the last good one was complete, seconds since 1970.
    pub last_good_s: Option<u64>,
}

/// All of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Wall clock, milliseconds since 1970.
    pub wall_ms: u64,
    /// Seconds since the server started.
    pub uptime_s: u64,
    /// The data set that is being loaded, bytes.
    pub loading: Option<Progress>,
    /// Connected clients.
    pub clients: u64,
    /// Of these, those that wait in a blocking command.
    pub clients_blocked: u64,
    /// Clients whose replies wait for the disk.
    pub clients_held: u64,
    /// Connections taken so far.
    pub connections: u64,
    /// Connections refused so far.
    pub connections_rejected: u64,
    /// Commands run so far.
    pub commands: u64,
    /// Error replies so far.
    pub error_replies: u64,
    /// Bytes received so far.
    pub input_bytes: u64,
    /// Bytes sent so far.
    pub output_bytes: u64,
    /// Keys of all databases.
    pub keys: u64,
    /// Keys removed because their time had come.
    pub keys_expired: u64,
    /// Keys removed for want of memory.
    pub keys_evicted: u64,
    /// Lookups that found a key.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
    /// Memory in use, bytes.
    pub memory: u64,
    /// Most of it so far.
    pub memory_peak: u64,
    /// `maxmemory`, 0 for no limit.
    pub memory_max: u64,
    /// What a failure would take now.
    pub exposure: Exposure,
    /// Syncs of the log.
    pub syncs: JournalStats,
    /// The log's file cannot be trusted at the moment.
    pub is_log_broken: bool,
    /// Room on the disk when last measured, bytes; measured only where there are limits.
    pub disk_free: Option<u64>,
    /// Writes are taken.
    pub takes_writes: bool,
    /// Length of the append-only set.
    pub log_bytes: u64,
    /// Length of its base.
    pub log_base_bytes: u64,
    /// Memory that the running child has cost by copy-on-write so far, bytes.
    pub cow_bytes: u64,
    /// Snapshots; progress in keys.
    pub snapshots: Work,
    /// Rewrites of the append-only file; progress in keys.
    pub rewrites: Work,
    /// Backups; progress in bytes. A good one was verified.
    pub backups: Work,
}

impl Node {
    /// The figures as they are now. Cheap enough to be taken ten times a second.
    pub fn figures(&self) -> Figures {
        let counters = &self.counters;
        let keys = &self.store.stats;
        let memory = self.memory_use().total;
        let (log_bytes, log_base_bytes) = self.aof.sizes();
        Figures {
            wall_ms: self.now.wall_ms(),
            uptime_s: self.now.mono_us.saturating_sub(self.started.mono_us) / 1_000_000,
            loading: self.load_progress(),
            clients: self.sessions.len() as u64,
            clients_blocked: self.waiting.len() as u64,
            clients_held: self.gated.len() as u64,
            connections: counters.connections,
            connections_rejected: counters.rejected_connections,
            commands: counters.commands,
            error_replies: counters.error_replies,
            input_bytes: counters.input_bytes,
            output_bytes: counters.output_bytes,
            keys: self.store.len() as u64,
            keys_expired: keys.expired,
            keys_evicted: keys.evicted,
            hits: keys.hits,
            misses: keys.misses,
            memory,
            memory_peak: counters.peak_memory.max(memory),
            memory_max: self.config.maxmemory,
            exposure: self.exposure(),
            syncs: *self.aof.journal.stats(),
            is_log_broken: self.aof.journal.broken().is_some(),
            disk_free: self.space.free(self.aof.journal.offset_buffered()),
            takes_writes: self.loading.is_none()
                && self.check_disk().is_ok()
                && self.check_replicas().is_ok(),
            log_bytes,
            log_base_bytes,
            cow_bytes: self.child.as_ref().map_or(0, |child| child.cow_size),
            snapshots: self.snapshot_work(),
            rewrites: self.rewrite_work(),
            backups: self.backup_work(),
        }
    }

    /// What a loss of power, or the end of the process, would take at this moment.
    pub fn exposure(&self) -> Exposure {
        // While the log is being switched off what changes is not in it any more.
        if self.aof.state() != State::On || !self.aof.journal.is_open() {
            let since_s = self.now.wall_s().saturating_sub(self.snapshots.last_save_s);
            let changes = self.store.dirty;
            let power_loss_ms = if changes == 0 { 0 } else { since_s * 1000 };
            return Exposure {
                policy: "none",
                power_loss_commands: changes,
                power_loss_ms,
                ..Exposure::default()
            };
        }
        let journal = &self.aof.journal;
        let age_us = journal.exposed_since_us().map_or(0, |since| self.now.mono_us.saturating_sub(since));
        Exposure {
            policy: match self.config.appendfsync {
                AppendFsync::Always => "always",
                AppendFsync::Everysec => "everysec",
                AppendFsync::No => "no",
            },
            power_loss_bytes: journal.offset_buffered() - journal.offset_synced(),
            power_loss_commands: journal.units_unsynced(),
            power_loss_ms: age_us / 1000,
            kill_loss_bytes: journal.offset_buffered() - journal.offset_written(),
        }
    }

    /// How far loading has come.
    pub fn load_progress(&self) -> Option<Progress> {
        self.loading.as_ref().map(|loading| Progress {
            total: loading.total_bytes,
            done: loading.loaded_bytes,
            elapsed_us: self.now.mono_us.saturating_sub(loading.started_us),
        })
    }

    /// How far the running child has come, in keys.
    pub(super) fn child_progress(&self) -> Option<Progress> {
        let child = self.child.as_ref()?;
        let started_us = match child.kind {
            ChildKind::Rdb => self.snapshots.started_us(),
            ChildKind::Aof => self.aof.rewrite_started_us(),
        };
        let elapsed_us = self.now.mono_us.saturating_sub(started_us.unwrap_or(self.now.mono_us));
        Some(Progress { total: child.keys_total, done: child.keys, elapsed_us })
    }

    fn progress_of(&self, kind: ChildKind) -> Option<Progress> {
        self.child_progress().filter(|_| self.child.is_some_and(|child| child.kind == kind))
    }

    fn snapshot_work(&self) -> Work {
        let snapshots = &self.snapshots;
        Work {
            running: self.progress_of(ChildKind::Rdb),
            has_failed: snapshots.has_failed,
            count: snapshots.count,
            last_ms: snapshots.last_s.map(|seconds| seconds * 1000),
            // The start of the server counts as one for save points, not here.
            last_good_s: Some(snapshots.last_save_s).filter(|_| snapshots.last_s.is_some()),
        }
    }

    fn rewrite_work(&self) -> Work {
        let stats = &self.aof.stats;
        Work {
            running: self.progress_of(ChildKind::Aof),
            has_failed: stats.has_failed,
            count: stats.count,
            last_ms: stats.last_s.map(|seconds| seconds * 1000),
            last_good_s: None,
        }
    }

    fn backup_work(&self) -> Work {
        let stats = &self.backups.stats;
        let elapsed_us = self.now.mono_us.saturating_sub(self.backups.began_us());
        let progress = Progress { total: stats.total_bytes, done: stats.done_bytes, elapsed_us };
        Work {
            running: self.backups.is_running().then_some(progress),
            has_failed: stats.error.is_some(),
            count: stats.count,
            last_ms: stats.last_s.map(|_| stats.last_ms),
            last_good_s: stats.last_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::TestServer;

    #[test]
    fn progress_tells_how_long_it_will_take() {
        let progress = |done, elapsed_us| Progress { total: 100, done, elapsed_us };
        assert_eq!(progress(0, 5_000_000).eta_s(), None);
        assert_eq!(progress(25, 5_000_000).eta_s(), Some(15));
        assert_eq!(progress(100, 5_000_000).eta_s(), Some(0));
        assert_eq!(progress(25, 0).percent(), 25.0);
        assert_eq!(Progress::default().percent(), 0.0);
    }

    #[test]
    fn without_a_log_all_changes_since_the_last_snapshot_are_exposed() {
        let mut server = TestServer::new("appendonly no");
        server.check(&[("SET a 1", "+OK"), ("SET b 1", "+OK")]);
        let exposure = server.node.exposure();
        assert_eq!((exposure.policy, exposure.power_loss_commands), ("none", 2));
    }

    #[test]
    fn under_always_nothing_answered_is_exposed() {
        let mut server = TestServer::new("appendonly yes\nappendfsync always");
        server.check(&[("SET a 1", "+OK"), ("INCR a", ":2")]);
        let figures = server.node.figures();
        assert_eq!(figures.exposure, Exposure { policy: "always", ..Exposure::default() });
        assert_eq!(figures.keys, 1);
        assert!(figures.takes_writes && figures.syncs.syncs > 0);
        assert_eq!(figures.syncs.sync_counts.iter().sum::<u64>(), figures.syncs.syncs);
    }
}
