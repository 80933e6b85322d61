//! RDB snapshots: when one is due, how it is put in place, and what came of it.
//!
//! The child (or SAVE) writes a temporary file and verifies it; only the parent renames it (W14) and then syncs the
//! directory. A snapshot counts once the directory is synced.
//!
//! Always true: at most one snapshot is under way; `dbfilename` is replaced by rename only, never written in place.
//!
//! Not here: the bytes (`rdb/`), rewriting the log (`append_only.rs`).

use alloc::{string::String, vec, vec::Vec};

use super::append_only::Ids;
use crate::{
    host::{
        ChildEnd, Effect, Effects, FileStep, IoError, SnapshotForm, SnapshotJob, SnapshotWritten, Ticket,
        errno_text,
    },
    mutant::{self, Mutant},
    time::Now,
};

/// A save point: so many changes within so many seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SavePoint {
    /// Seconds since the last snapshot.
    pub seconds: u64,
    /// Changes since then.
    pub changes: u64,
}

/// Where a child writes, its process id put in. Not where it will be: only the parent renames (W14).
pub const SNAPSHOT_TEMP: &str = "temp-{pid}.rdb";

/// Pause after a failed snapshot before a save point triggers the next one, microseconds.
const RETRY_INTERVAL_US: u64 = 5_000_000;

/// Who asked for the snapshot under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// BGSAVE or a save point: a child.
    Background,
    /// SAVE, SHUTDOWN, FLUSHALL, DEBUG RELOAD: here and now.
    Foreground,
}

/// A snapshot asked for.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Who asks.
    pub origin: Origin,
    /// `dbfilename`
    pub target: &'a str,
    /// Changes up to now.
    pub dirty: u64,
    /// `rdb-key-save-delay`
    pub key_delay_us: i64,
    /// The process ends after it.
    pub is_last: bool,
}

#[derive(Clone, Debug)]
enum Phase {
    Forking,
    Writing,
    Installing(Ticket),
}

#[derive(Clone, Debug)]
struct Running {
    origin: Origin,
    phase: Phase,
    job: SnapshotJob,
    target: String,
    /// Changes up to the cut: what the snapshot makes safe.
    dirty_at_cut: u64,
    started_us: u64,
}

/// How a snapshot ended, for whoever waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Who asked.
    pub origin: Origin,
    /// The file is in place, durably.
    pub is_ok: bool,
    /// Changes it made safe.
    pub dirty_at_cut: u64,
}

/// Snapshots of one server run.
#[derive(Clone, Debug)]
pub struct Snapshots {
    running: Option<Running>,
    /// BGSAVE SCHEDULE: begin as soon as no other child runs.
    pub is_scheduled: bool,
    /// Unix seconds of the last success; start-up counts.
    pub last_save_s: u64,
    /// The last background snapshot failed.
    pub has_failed: bool,
    /// Attempts (`rdb_saves`).
    pub count: u64,
    /// Seconds the last one took.
    pub last_s: Option<u64>,
    /// Copy-on-write memory of the last child, bytes.
    pub last_cow: u64,
    last_save_us: u64,
    last_try_us: Option<u64>,
}

impl Snapshots {
    /// None taken yet; the start counts as one.
    pub fn new(now: Now) -> Snapshots {
        Snapshots {
            running: None,
            is_scheduled: false,
            last_save_s: now.wall_s(),
            has_failed: false,
            count: 0,
            last_s: None,
            last_cow: 0,
            last_save_us: now.mono_us,
            last_try_us: None,
        }
    }

    /// One is under way, in a child.
    pub fn is_in_background(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.origin == Origin::Background)
    }

    /// One is under way, here.
    pub fn is_in_foreground(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.origin == Origin::Foreground)
    }

    /// When the one under way began, monotonic microseconds.
    pub fn started_us(&self) -> Option<u64> {
        self.running.as_ref().map(|running| running.started_us)
    }

    /// Whether a save point has been reached: the first that matches.
    pub fn due(&self, now: Now, dirty: u64, points: &[SavePoint]) -> Option<SavePoint> {
        let may_try = !self.has_failed
            || self.last_try_us.is_none_or(|at| now.mono_us.saturating_sub(at) > RETRY_INTERVAL_US);
        let elapsed_s = now.mono_us.saturating_sub(self.last_save_us) / 1_000_000;
        points.iter().copied().find(|point| may_try && dirty >= point.changes && elapsed_s > point.seconds)
    }

    /// Whether a scheduled one may begin, given that no child runs.
    pub fn wants_scheduled(&self, now: Now) -> bool {
        self.is_scheduled
            && (!self.has_failed
                || self.last_try_us.is_none_or(|at| now.mono_us.saturating_sub(at) > RETRY_INTERVAL_US))
    }

    /// Begins one. Call at a point where the data set is whole.
    pub fn begin(&mut self, now: Now, order: Order<'_>, ids: &mut Ids, effects: &mut Effects) {
        assert!(self.running.is_none());
        self.is_scheduled = false;
        self.count += 1;
        self.last_try_us = Some(now.mono_us);
        let job = SnapshotJob {
            ticket: ids.ticket(),
            form: SnapshotForm::Rdb,
            path: if mutant::is(Mutant::DumpInPlace) { order.target } else { SNAPSHOT_TEMP }.into(),
            key_delay_us: order.key_delay_us,
            now_ms: now.wall_ms(),
            is_last: order.is_last,
        };
        let (phase, effect) = match order.origin {
            Origin::Background => (Phase::Forking, Effect::Fork(job.clone())),
            Origin::Foreground => (Phase::Writing, Effect::Save(job.clone())),
        };
        effects.push(effect);
        self.running = Some(Running {
            origin: order.origin,
            phase,
            job,
            target: order.target.into(),
            dirty_at_cut: order.dirty,
            started_us: now.mono_us,
        });
    }

    /// Job of the child under way.
    pub fn job(&self) -> Option<Ticket> {
        self.running.as_ref().map(|running| running.job.ticket)
    }

    /// Changes that a SAVE under way has: whoever asked for it, FLUSHALL above all, does not count them any more.
    pub fn dirty_in_foreground(&self) -> u64 {
        let running = self.running.as_ref().filter(|running| running.origin == Origin::Foreground);
        running.map_or(0, |running| running.dirty_at_cut)
    }

    /// The child runs, or could not be started.
    pub fn forked(&mut self, result: Result<i32, i32>) -> Option<Outcome> {
        let running = self.running.as_mut()?;
        match result {
            Ok(pid) => {
                tracing::info!("Background saving started by pid {pid}");
                running.phase = Phase::Writing;
                None
            }
            Err(errno) => {
                tracing::warn!("Can't save in background: fork: {}", errno_text(errno));
                self.finish(None)
            }
        }
    }

    /// The child is gone.
    pub fn child_ended(
        &mut self,
        end: ChildEnd,
        cow_size: u64,
        ids: &mut Ids,
        effects: &mut Effects,
    ) -> Option<Outcome> {
        self.last_cow = cow_size;
        match end {
            ChildEnd::Written(written) => {
                self.install(written, ids, effects);
                None
            }
            ChildEnd::Failed(error) => {
                tracing::warn!("Background saving error: {error}");
                self.finish(None)
            }
            ChildEnd::Exited(status) => {
                tracing::warn!("Background saving error (exit {status})");
                self.finish(None)
            }
            ChildEnd::Killed(signal) => {
                tracing::warn!("Background saving terminated by signal {signal}");
                self.finish(None)
            }
        }
    }

    /// The child was ended on purpose (SIGUSR1): no failure, and nothing to install.
    pub fn cancelled(&mut self) {
        self.running = None;
    }

    /// SAVE's file is written, or not.
    pub fn saved(
        &mut self,
        result: Result<SnapshotWritten, IoError>,
        ids: &mut Ids,
        effects: &mut Effects,
    ) -> Option<Outcome> {
        match result {
            Ok(written) => {
                self.install(written, ids, effects);
                if mutant::is(Mutant::SaveAnsweredEarly) {
                    return self.finish(Some(Now::default()));
                }
                None
            }
            Err(error) => {
                tracing::warn!("Error saving DB on disk: {error}");
                self.finish(None)
            }
        }
    }

    fn install(&mut self, written: SnapshotWritten, ids: &mut Ids, effects: &mut Effects) {
        let Some(running) = self.running.as_mut() else { return };
        let ticket = ids.ticket();
        let mut steps: Vec<FileStep> = vec![
            FileStep::Rename { from: written.path, to: running.target.clone() },
            FileStep::SyncDir { path: String::new() },
        ];
        if mutant::is(Mutant::DumpNameNotSynced) {
            steps.pop();
        } else if mutant::is(Mutant::ChildRenames) {
            steps.remove(0);
        }
        effects.push(Effect::Files { ticket, steps });
        running.phase = Phase::Installing(ticket);
    }

    /// Steps ended. `None` if the ticket is none of ours.
    pub fn files_done(
        &mut self,
        now: Now,
        ticket: Ticket,
        error: &Option<(usize, IoError)>,
    ) -> Option<Outcome> {
        let running = self.running.as_ref()?;
        if !matches!(running.phase, Phase::Installing(expected) if expected == ticket) {
            return None;
        }
        if let Some((_, error)) = error {
            tracing::warn!("Error moving the DB file in place: {error}");
            return self.finish(None);
        }
        self.finish(Some(now))
    }

    /// Ends the one under way; `Some(now)` on success.
    fn finish(&mut self, success: Option<Now>) -> Option<Outcome> {
        let running = self.running.take()?;
        // As in Redis: who asked for one here has been told, and nobody else needs to stop writing.
        if running.origin == Origin::Background || success.is_some() {
            self.has_failed = success.is_none();
        }
        if let Some(now) = success {
            tracing::info!("DB saved on disk");
            if running.origin == Origin::Background {
                tracing::info!("Background saving terminated with success");
            }
            self.last_save_s = now.wall_s();
            self.last_save_us = now.mono_us;
            self.last_s = Some(now.mono_us.saturating_sub(running.started_us) / 1_000_000);
        }
        Some(Outcome { origin: running.origin, is_ok: success.is_some(), dirty_at_cut: running.dirty_at_cut })
    }
}
