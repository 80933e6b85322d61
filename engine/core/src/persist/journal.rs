//! The append-only journal: which changes are buffered, written, and durable, and who may be answered.
//!
//! Exists so that a reply never overtakes its change: every reply carries the offset that it needs, and may
//! leave once [`Journal::offset_safe`] has reached it. Batches are handed to the host and confirmed later, so
//! the engine runs on while the disk works (one batch syncing, the next one forming).
//!
//! Always true: `offset_synced <= offset_written <= offset_buffered`, and none of them ever decreases.
//! A batch holds whole units; a file is never synced again after one of its syncs failed.
//!
//! ```text
//!   offset_synced        offset_written             offset_buffered
//!        |  unsynced batches  |  batches in flight | forming |
//!  ------+--------------------+--------------------+---------+
//!   durable   in the page cache   handed to the host   still here
//! ```
//!
//! Not here: the bytes of a batch (`batch.rs`), which files there are (`append_only.rs`).

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;

use super::batch;
pub use crate::host::Offset;
use crate::{
    host::{Effect, Effects, FileId, IoError},
    mutant::{self, Mutant},
    resp::encode_command,
    time::Now,
};

/// When the log is made durable (`appendfsync`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fsync {
    /// Before anybody is answered.
    Always,
    /// About once a second, with an enforced bound.
    #[default]
    EverySec,
    /// When the kernel likes.
    No,
}

/// Settings the journal follows; kept equal to the configuration.
#[derive(Clone, Copy, Debug)]
pub struct JournalSettings {
    /// `appendfsync`
    pub fsync: Fsync,
    /// `aof-checksum`
    pub has_checksums: bool,
    /// `aof-timestamp-enabled`
    pub has_timestamps: bool,
    /// `appendfsync-max-lag`: age of the oldest unsynced write, milliseconds, from which on replies wait for the sync.
    pub lag_max_ms: u64,
    /// `no-appendfsync-on-rewrite` and a child runs: `everysec` does not sync. `always` is never weakened (W19).
    pub sync_paused: bool,
}

impl Default for JournalSettings {
    fn default() -> JournalSettings {
        JournalSettings {
            fsync: Fsync::EverySec,
            has_checksums: true,
            has_timestamps: false,
            lag_max_ms: 2000,
            sync_paused: false,
        }
    }
}

/// A sync that took this long, microseconds, is worth having more company in the next one. A shorter one is over before
/// those it released have asked again.
const SLOW_SYNC_US: u64 = 1_000;

/// Part of a slow sync's time that the next one is put off, at most.
const COMPANY_SHARE: u64 = 4;

/// Those released by a slow sync, who may soon ask again.
#[derive(Clone, Copy, Debug)]
struct Company {
    /// Units buffered once as many have come as were released.
    units: u64,
    /// Monotonic time until which they are waited for.
    until_us: u64,
}

/// Microseconds between two syncs under `everysec`.
const SYNC_INTERVAL_US: u64 = 1_000_000;

/// Bad file descriptor, as Linux numbers it.
const EBADF: i32 = 9;

/// A batch on its way to durability.
#[derive(Clone, Debug)]
struct Batch {
    /// Records only, kept so that a fresh file can take them if this one fails.
    payload: Bytes,
    /// Logical offset at its end.
    end: Offset,
    /// Bytes it takes in the file, header included.
    file_bytes: u64,
    /// Monotonic time at which it was sealed.
    sealed_us: u64,
    /// Database that its records begin in, unless they select one themselves.
    db_before: Option<usize>,
}

/// Why the journal does not take the disk's word any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// What failed.
    pub error: IoError,
    /// Since when, monotonic microseconds.
    pub since_us: u64,
}

/// The journal of one server run.
#[derive(Clone, Debug)]
pub struct Journal {
    settings: JournalSettings,
    file: Option<FileId>,
    /// Bytes in the present file that are known to be there.
    file_len_written: u64,
    forming: Vec<u8>,
    selected: Option<usize>,
    /// What `selected` was where the forming batch begins.
    selected_before: Option<usize>,
    timestamp_s: u64,
    in_flight: VecDeque<Batch>,
    unsynced: VecDeque<Batch>,
    /// What was written under `no` and not kept: up to where, and since when the oldest of it waits to be durable.
    let_go: Option<(Offset, u64)>,
    /// Offset that the running sync covers.
    syncing: Option<Offset>,
    sync_started_us: u64,
    /// Units buffered, handed over, covered by the running sync, and covered by the one before it.
    units: u64,
    units_sealed: u64,
    units_syncing: u64,
    units_synced: u64,
    /// Under `always` the next sync is put off for them.
    company: Option<Company>,
    offset_buffered: Offset,
    offset_written: Offset,
    offset_synced: Offset,
    /// Nothing is handed over: the present file takes no more, the next one is not there yet.
    is_held: bool,
    /// AOF was switched off: nothing more is taken in, and everybody waits until the rest is durable.
    is_closing: bool,
    /// Replies wait for it. Not so while a set just switched on has no base yet.
    is_effective: bool,
    broken: Option<Broken>,
    /// Everything below was answered under a policy that syncs, and is synced although the policy is `no` by now.
    offset_owed: Offset,
    /// Monotonic time since which some of it waits.
    owed_since_us: Option<u64>,
    /// Where the last sync reached. Behind a hole `offset_synced` does not follow.
    offset_covered: Offset,
    /// A file that was given up may lack records below this that nobody kept (`no`): nothing is durable before a rewrite has
    /// ended that began no earlier.
    hole_end: Option<Offset>,
    /// When `is_closing` began, milliseconds since 1970: what came later is not in the log.
    closing_since_ms: u64,
    stats: JournalStats,
}

/// Steps of [`JournalStats::sync_counts`]: up to 2^23 microseconds, eight seconds, and one for what took longer.
pub const SYNC_STEPS: usize = 25;

/// Figures for INFO and metrics.
#[derive(Clone, Copy, Default, Debug)]
pub struct JournalStats {
    /// How many syncs took more than `2^(index - 1)` and at most `2^index` microseconds; the last has no upper end.
    pub sync_counts: [u64; SYNC_STEPS],
    /// Duration of all syncs together, microseconds.
    pub sync_total_us: u64,
    /// Duration of the last sync, microseconds.
    pub last_sync_us: u64,
    /// Longest sync, microseconds.
    pub slowest_sync_us: u64,
    /// Syncs completed.
    pub syncs: u64,
    /// Syncs or writes that failed.
    pub failures: u64,
    /// Times that replies had to wait because the disk fell behind (`aof_delayed_fsync`).
    pub lags: u64,
}

impl JournalStats {
    fn count_sync(&mut self, elapsed_us: u64) {
        let step = elapsed_us.clamp(1, 1 << 40).next_power_of_two().ilog2() as usize;
        self.sync_counts[step.min(SYNC_STEPS - 1)] += 1;
        self.sync_total_us += elapsed_us;
        self.last_sync_us = elapsed_us;
        self.slowest_sync_us = self.slowest_sync_us.max(elapsed_us);
        self.syncs += 1;
    }
}

impl Journal {
    /// A journal without a file: nothing is logged, everybody is answered at once.
    pub fn new(settings: JournalSettings) -> Journal {
        Journal {
            settings,
            file: None,
            file_len_written: 0,
            forming: Vec::new(),
            selected: None,
            selected_before: None,
            timestamp_s: 0,
            in_flight: VecDeque::new(),
            unsynced: VecDeque::new(),
            let_go: None,
            syncing: None,
            sync_started_us: 0,
            units: 0,
            units_sealed: 0,
            units_syncing: 0,
            units_synced: 0,
            company: None,
            offset_buffered: 0,
            offset_written: 0,
            offset_synced: 0,
            is_held: false,
            is_closing: false,
            is_effective: false,
            broken: None,
            offset_owed: 0,
            owed_since_us: None,
            offset_covered: 0,
            hole_end: None,
            closing_since_ms: 0,
            stats: JournalStats::default(),
        }
    }

    /// Takes over new settings.
    pub fn configure(&mut self, settings: JournalSettings) {
        if mutant::is(Mutant::SwitchTrustsBacklog)
            && settings.fsync == Fsync::Always
            && self.settings.fsync != Fsync::Always
        {
            self.offset_synced = self.offset_written;
        }
        if self.settings.fsync != Fsync::No && settings.fsync == Fsync::No {
            self.owed_since_us = self.oldest_owed_us().filter(|_| !mutant::is(Mutant::LagForgottenUnderNo));
            self.offset_owed = self.offset_buffered;
        }
        self.settings = settings;
    }

    // --- Taking records in ------------------------------------------------------------------------

    /// Whether changes are logged at all.
    pub fn is_open(&self) -> bool {
        (self.file.is_some() || self.is_held) && !self.is_closing
    }

    /// Takes nothing more in from this time on, milliseconds since 1970; the rest is synced as under `always`.
    pub fn begin_closing(&mut self, at_ms: u64) {
        if !self.is_closing {
            self.closing_since_ms = at_ms;
        }
        self.is_closing = true;
    }

    /// When the log stopped taking in, milliseconds since 1970.
    pub fn closing_since_ms(&self) -> u64 {
        self.closing_since_ms
    }

    /// Records are missing from the files that only a rewrite brings back.
    pub fn has_hole(&self) -> bool {
        self.hole_end.is_some()
    }

    /// A rewrite has ended whose base holds everything up to `base`: with it what was missing below.
    pub fn fill_hole(&mut self, base: Offset) {
        let is_filled = |end: &mut Offset| *end <= base || mutant::is(Mutant::HoleFilledByOlderBase);
        if self.hole_end.take_if(is_filled).is_some() {
            self.offset_synced = self.offset_covered;
        }
    }

    /// Nothing more is taken in and all of it is durable. A failed write or sync is mended first: whoever waits for
    /// `always` is not to be answered because somebody switched the log off.
    pub fn is_closed_safely(&self) -> bool {
        let is_safe = self.offset_synced == self.offset_buffered || mutant::is(Mutant::DisableDropsTail);
        self.is_closing && (is_safe || self.file.is_none())
    }

    /// Nothing more is taken in.
    pub fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Adds one unit: a command as it was typed, already in RESP form.
    pub fn append_frame(&mut self, now: Now, db: usize, frame: &[u8]) {
        self.annotate_time(now);
        self.select(db);
        self.forming.extend_from_slice(frame);
        self.units += 1;
        self.count_buffered();
    }

    /// Adds one unit of several commands: framed by MULTI and EXEC if there is more than one.
    pub fn append_unit(&mut self, now: Now, commands: &[(usize, Vec<Vec<u8>>)]) {
        if commands.is_empty() {
            return;
        }
        self.annotate_time(now);
        let is_framed = commands.len() > 1 && !mutant::is(Mutant::MultiNotFramed);
        if is_framed {
            encode_command(&[b"MULTI"], &mut self.forming);
        }
        for (db, command) in commands {
            self.select(*db);
            let arguments: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            encode_command(&arguments, &mut self.forming);
        }
        if is_framed {
            encode_command(&[b"EXEC"], &mut self.forming);
        }
        self.units += 1;
        self.count_buffered();
    }

    fn annotate_time(&mut self, now: Now) {
        if self.settings.has_timestamps && now.wall_s() != self.timestamp_s {
            self.timestamp_s = now.wall_s();
            self.forming.extend_from_slice(alloc::format!("#TS:{}\r\n", now.wall_s()).as_bytes());
        }
    }

    fn select(&mut self, db: usize) {
        if self.selected != Some(db) {
            self.selected = Some(db);
            encode_command(&[b"SELECT", alloc::format!("{db}").as_bytes()], &mut self.forming);
        }
    }

    fn count_buffered(&mut self) {
        let sealed = self.in_flight.back().map_or(self.offset_written, |batch| batch.end);
        self.offset_buffered = sealed + self.forming.len() as u64;
    }

    // --- Handing over -----------------------------------------------------------------------------

    /// Hands the forming batch over and starts a sync, as far as the policy and the running sync let it.
    pub fn flush(&mut self, now: Now, effects: &mut Effects) {
        let Some(file) = self.file.filter(|_| !self.is_held && self.broken.is_none()) else { return };
        // Under `always` the next batch forms while this one syncs: that is the group commit.
        let gathers =
            self.settings.fsync == Fsync::Always && (self.syncing.is_some() || self.awaits_company(now));
        let at = effects.len();
        if !self.forming.is_empty() && !gathers {
            self.seal(now, file, effects);
        }
        if mutant::is(Mutant::EverysecRoundForgotten)
            && self.syncing.is_some()
            && now.mono_us >= self.sync_due_us()
        {
            self.sync_started_us = now.mono_us;
        }
        if self.wants_sync(now) {
            self.start_sync(now, file, effects);
            if mutant::is(Mutant::SyncBeforeWrite) {
                effects[at..].reverse();
            }
        }
    }

    /// A slow sync has just released clients, and those that are back do not outnumber them yet. Begun at once, the next
    /// sync would cover only those who came during the last one: the crowd splits in two halves that wait for each other.
    fn awaits_company(&mut self, now: Now) -> bool {
        self.company = self.company.filter(|company| {
            self.units < company.units && now.mono_us < company.until_us && !self.is_closing
        });
        self.company.is_some()
    }

    /// Hands everything over now, whatever the policy: the file is about to end here.
    pub fn flush_all(&mut self, now: Now, effects: &mut Effects) {
        let Some(file) = self.file.filter(|_| !self.is_held && self.broken.is_none()) else { return };
        if !self.forming.is_empty() {
            self.seal(now, file, effects);
        }
    }

    /// Syncs what has been handed over, whatever the policy, unless a sync is running: before an orderly stop.
    pub fn sync_all(&mut self, now: Now, effects: &mut Effects) {
        let Some(file) = self.file.filter(|_| !self.is_held && self.broken.is_none()) else { return };
        if self.syncing.is_none() && self.offset_covered < self.offset_buffered {
            self.start_sync(now, file, effects);
        }
    }

    /// An empty batch that calls everything before it synced: the mark of an orderly stop. Any damage below it is then
    /// known not to come from a crash.
    pub fn closing_mark(&self) -> Option<Effect> {
        let file = self.file.filter(|_| self.settings.has_checksums && self.broken.is_none())?;
        Some(Effect::Append { file, bytes: batch::seal(self.offset_buffered, self.offset_synced, &[]) })
    }

    fn seal(&mut self, now: Now, file: FileId, effects: &mut Effects) {
        let payload = Bytes::from(core::mem::take(&mut self.forming));
        let end = self.offset_buffered;
        let bytes = if self.settings.has_checksums {
            batch::seal(end, self.offset_synced, &payload)
        } else {
            payload.clone()
        };
        self.units_sealed = self.units;
        self.in_flight.push_back(Batch {
            payload,
            end,
            file_bytes: bytes.len() as u64,
            sealed_us: now.mono_us,
            db_before: core::mem::replace(&mut self.selected_before, self.selected),
        });
        effects.push(Effect::Append { file, bytes });
    }

    fn start_sync(&mut self, now: Now, file: FileId, effects: &mut Effects) {
        self.syncing = Some(self.in_flight.back().map_or(self.offset_written, |batch| batch.end));
        self.sync_started_us = now.mono_us;
        self.units_syncing = self.units_sealed;
        if mutant::is(Mutant::SyncedAtSubmit) {
            self.offset_synced = self.offset_written;
        }
        if mutant::is(Mutant::TimerOnWallClock) {
            self.sync_started_us = now.wall_us;
        }
        let file = if mutant::is(Mutant::SyncOfAnotherFile) { FileId(u32::MAX / 2) } else { file };
        effects.push(Effect::Sync { file });
    }

    fn wants_sync(&self, now: Now) -> bool {
        let handed_over = self.in_flight.back().map_or(self.offset_written, |batch| batch.end);
        if self.syncing.is_some() || handed_over == self.offset_covered {
            return false;
        }
        match self.settings.fsync {
            _ if self.is_closing => true,
            Fsync::Always if mutant::is(Mutant::AlwaysWithoutSync) => false,
            Fsync::Always if mutant::is(Mutant::RewritePausesAlways) => !self.settings.sync_paused,
            Fsync::Always => true,
            Fsync::EverySec if mutant::is(Mutant::IdleTailNotSynced) && self.in_flight.is_empty() => false,
            Fsync::EverySec if mutant::is(Mutant::TimerOnWallClock) => {
                !self.settings.sync_paused && now.wall_us >= self.sync_due_us()
            }
            Fsync::EverySec => !self.settings.sync_paused && now.mono_us >= self.sync_due_us(),
            Fsync::No => self.offset_synced < self.offset_owed,
        }
    }

    fn sync_due_us(&self) -> u64 {
        self.sync_started_us + SYNC_INTERVAL_US
    }

    /// When `flush` has something to do by itself: the idle tail is synced too.
    pub fn wake_at_us(&self, now: Now) -> Option<u64> {
        if let Some(company) = self.company.filter(|_| !self.forming.is_empty() && self.syncing.is_none()) {
            return Some(company.until_us.max(now.mono_us));
        }
        let is_behind = self.offset_written > self.offset_covered && self.syncing.is_none();
        let is_timed = self.settings.fsync == Fsync::EverySec && !self.settings.sync_paused;
        if mutant::is(Mutant::IdleTailNotSynced) {
            return None;
        }
        let is_usable = self.file.is_some() && !self.is_held && self.broken.is_none();
        if mutant::is(Mutant::TimerOnWallClock) {
            let wait_us = self.sync_due_us().saturating_sub(now.wall_us);
            return (is_behind && is_timed && is_usable).then(|| now.mono_us + wait_us);
        }
        (is_behind && is_timed && is_usable).then(|| self.sync_due_us().max(now.mono_us))
    }

    // --- What the host reports ----------------------------------------------------------------------

    /// How long the oldest batch in flight has been on its way to the page cache of this file, microseconds.
    pub fn appending_us(&self, now: Now, file: FileId) -> Option<u64> {
        let batch = self.in_flight.front().filter(|_| self.file == Some(file))?;
        Some(now.mono_us.saturating_sub(batch.sealed_us))
    }

    /// The oldest batch in flight has ended.
    pub fn appended(&mut self, now: Now, file: FileId, error: Option<IoError>) {
        if self.file != Some(file) {
            return; // A file that was given up: its batches live on in the fresh one.
        }
        if let Some(error) = error
            && !mutant::is(Mutant::WriteErrorIgnored)
        {
            self.break_down(now, error);
            return;
        }
        if self.broken.is_some() {
            return;
        }
        let batch = self.in_flight.pop_front().expect("an append that was asked for");
        assert!(batch.end > self.offset_written);
        self.offset_written = batch.end;
        self.file_len_written += batch.file_bytes;
        if self.settings.fsync == Fsync::No {
            // Nobody will sync it, so nobody can learn that it failed: no need to keep it.
            let since_us = self.exposed_since_us().unwrap_or(batch.sealed_us);
            self.let_go = Some((batch.end, since_us));
            self.unsynced.clear();
        } else {
            self.unsynced.push_back(batch);
        }
        assert!(self.offset_written <= self.offset_buffered);
    }

    /// The running sync has ended.
    pub fn synced(&mut self, now: Now, file: FileId, elapsed_us: u64, error: Option<IoError>) {
        if self.file != Some(file) && !mutant::is(Mutant::SyncOfAnotherFile) {
            return;
        }
        let error = error.filter(|error| error.errno != EBADF || !mutant::is(Mutant::SyncOfAnotherFile));
        let Some(covered) = self.syncing.take() else { return };
        self.stats.count_sync(elapsed_us);
        if error.is_some() && mutant::is(Mutant::SyncErrorRetried) {
            return;
        }
        if let Some(error) = error
            && !mutant::is(Mutant::SyncErrorIgnored)
        {
            self.break_down(now, error);
            return;
        }
        let covered = if mutant::is(Mutant::SyncCoversLater) { self.offset_written } else { covered };
        if self.broken.is_some() {
            return; // It may have covered a write that failed.
        }
        self.mark_synced(covered);
        let released = self.units_syncing - self.units_synced;
        self.units_synced = self.units_syncing;
        self.company = (elapsed_us >= SLOW_SYNC_US).then(|| Company {
            units: self.units + released,
            until_us: now.mono_us + elapsed_us / COMPANY_SHARE,
        });
    }

    fn mark_synced(&mut self, covered: Offset) {
        assert!(self.offset_synced <= covered); // Never back…
        assert!(covered <= self.offset_written); // …and never durable before written.
        self.offset_covered = covered;
        if !self.has_hole() {
            self.offset_synced = covered;
            self.let_go = self.let_go.filter(|(end, _)| *end > covered);
        }
        while self.unsynced.front().is_some_and(|batch| batch.end <= covered) {
            self.unsynced.pop_front();
        }
    }

    /// Commands, a transaction counting as one, that are not durable yet.
    pub fn units_unsynced(&self) -> u64 {
        if self.is_all_synced() { 0 } else { self.units - self.units_synced }
    }

    /// Someone else found that the present file cannot be trusted.
    pub fn distrust(&mut self, now: Now, error: IoError) {
        self.break_down(now, error);
    }

    /// Whether replies wait for this journal.
    pub fn set_effective(&mut self, is_effective: bool) {
        self.is_effective = is_effective;
    }

    /// The policy is `appendfsync always`.
    pub fn is_always(&self) -> bool {
        self.settings.fsync == Fsync::Always
    }

    /// All that was taken in is durable: no reply has anything to wait for.
    #[inline]
    pub fn is_all_synced(&self) -> bool {
        self.offset_synced == self.offset_buffered
    }

    /// Nothing is on its way to the file.
    pub fn is_all_written(&self) -> bool {
        self.in_flight.is_empty()
    }

    fn break_down(&mut self, now: Now, error: IoError) {
        self.stats.failures += 1;
        if self.broken.is_none() {
            tracing::warn!(
                "Error on the AOF file: {error}. Writes are refused until its unsynced part is safe in a new file"
            );
            self.broken = Some(Broken { error, since_us: now.mono_us });
        }
    }

    // --- Who may be answered --------------------------------------------------------------------------

    /// The offset a reply to a command that ran just now must wait for.
    pub fn offset_buffered(&self) -> Offset {
        self.offset_buffered
    }

    /// Everything up to here is in the page cache.
    pub fn offset_written(&self) -> Offset {
        self.offset_written
    }

    /// Everything up to here survives a power loss.
    pub fn offset_synced(&self) -> Offset {
        self.offset_synced
    }

    /// Replies that need no more than this may leave.
    pub fn offset_safe(&self, now: Now) -> Offset {
        if self.is_held && mutant::is(Mutant::HoldAnswersAll) {
            return Offset::MAX;
        }
        if (self.file.is_none() && !self.is_held) || !self.is_effective {
            return Offset::MAX;
        }
        match self.settings.fsync {
            _ if self.is_closing => self.offset_synced,
            Fsync::Always
                if mutant::is(Mutant::AlwaysWithoutSync)
                    || mutant::is(Mutant::ReplyBeforeSync)
                    || mutant::is(Mutant::RewritePausesAlways) && self.settings.sync_paused =>
            {
                self.offset_written
            }
            Fsync::Always => self.offset_synced,
            _ if mutant::is(Mutant::ReplyBeforeWrite) => self.offset_buffered,
            Fsync::EverySec if self.is_lagging(now) => self.offset_synced,
            Fsync::EverySec | Fsync::No => self.offset_written,
        }
    }

    /// The disk is so far behind that answering more writes would break the bound of `everysec`.
    pub fn is_lagging(&self, now: Now) -> bool {
        self.settings.fsync == Fsync::EverySec
            && !mutant::is(Mutant::NoBackpressure)
            && !self.settings.sync_paused
            && self.oldest_owed_us().is_some_and(|at| now.mono_us > at + self.settings.lag_max_ms * 1000)
    }

    /// Monotonic time since which something that a loss of power would take is there.
    pub fn exposed_since_us(&self) -> Option<u64> {
        self.let_go.map(|(_, since_us)| since_us).or(self.oldest_unsynced_us())
    }

    /// Monotonic time since which something waits that was answered under a policy that syncs, whatever it has been since.
    fn oldest_owed_us(&self) -> Option<u64> {
        let since_us = self.owed_since_us.filter(|_| self.offset_synced < self.offset_owed);
        since_us.or(self.oldest_unsynced_us())
    }

    /// Monotonic time since which something waits to be synced.
    fn oldest_unsynced_us(&self) -> Option<u64> {
        self.unsynced.front().or(self.in_flight.front()).map(|batch| batch.sealed_us)
    }

    /// What failed, if the present file is no longer trusted.
    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// A sync is on its way.
    pub fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// Nothing waits to be written.
    pub fn is_drained(&self) -> bool {
        self.in_flight.is_empty() && self.forming.is_empty()
    }

    /// Bytes not yet written.
    pub fn buffer_len(&self) -> usize {
        self.forming.len() + self.in_flight.iter().map(|batch| batch.payload.len()).sum::<usize>()
    }

    /// Bytes kept for the case that a sync fails.
    pub fn retained_len(&self) -> usize {
        self.unsynced.iter().map(|batch| batch.payload.len()).sum()
    }

    /// Bytes written to the present file.
    pub fn file_len(&self) -> u64 {
        self.file_len_written
    }

    /// Bytes of the present file that are durable, or were written and are nobody's to make so (`no`).
    pub fn file_len_synced(&self) -> u64 {
        self.file_len_written - self.unsynced.iter().map(|batch| batch.file_bytes).sum::<u64>()
    }

    /// Figures for INFO.
    pub fn stats(&self) -> &JournalStats {
        &self.stats
    }

    // --- Changing files ---------------------------------------------------------------------------------

    /// Opens the journal on a file of this length, all of it durable, the log standing at `offset`.
    pub fn open(&mut self, file: FileId, file_len: u64, offset: Offset) {
        assert!(self.is_drained());
        self.let_go = None;
        self.stand_at(if mutant::is(Mutant::OffsetForgotten) { 0 } else { offset });
        self.file = Some(file);
        self.file_len_written = file_len;
        self.unsynced.clear();
        self.syncing = None;
        self.selected = None;
        self.selected_before = None;
        self.timestamp_s = 0;
        self.is_held = false;
        self.broken = None;
    }

    /// The log ends here, all of it durable, and no file is open: so a base that is written now says where it goes on.
    pub fn stand_at(&mut self, offset: Offset) {
        self.offset_buffered = offset;
        self.offset_written = offset;
        self.offset_synced = offset;
        self.offset_covered = offset;
    }

    /// The file that is written to.
    pub fn file(&self) -> Option<FileId> {
        self.file
    }

    /// Stops handing over: what comes from now on belongs to the next file. Call with nothing forming.
    pub fn hold(&mut self) {
        let is_at_end = self.forming.is_empty() || mutant::is(Mutant::CutCarriesBuffer);
        assert!(is_at_end, "a file ends where a batch ends");
        self.is_held = true;
        if !mutant::is(Mutant::SelectNotRepeated) {
            self.selected = None;
        }
        self.selected_before = None;
    }

    /// Goes on with the first file of a set that was just switched on; what was held back is its beginning.
    pub fn start(&mut self, file: FileId, offset: Offset) {
        assert!(self.file.is_none() && self.is_held);
        let held = self.forming.len() as Offset;
        self.file = Some(file);
        self.file_len_written = 0;
        self.offset_written = offset - held;
        self.offset_synced = offset - held;
        self.offset_covered = offset - held;
        self.is_held = false;
    }

    /// Whether records wait for the next file.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Trusts the present file again.
    pub fn forgive(&mut self) {
        assert!(mutant::is(Mutant::BrokenForgotten), "a file that failed is never written to again");
        let retried = core::mem::take(&mut self.in_flight);
        self.offset_written = retried.back().map_or(self.offset_written, |batch| batch.end);
        (self.broken, self.syncing) = (None, None);
    }

    /// Goes on with the present file after all.
    pub fn release(&mut self) {
        self.is_held = false;
    }

    /// Goes on with another file, empty and durable, after the present one was synced to its end.
    pub fn switch(&mut self, file: FileId) {
        assert!(self.in_flight.is_empty(), "a batch is still on its way to the old file");
        self.syncing = None;
        self.mark_synced(self.offset_written);
        self.units_synced = self.units_sealed;
        self.file = Some(file);
        self.file_len_written = 0;
        self.is_held = false;
        self.broken = None;
    }

    /// What a fresh file must take over from one that failed: its durable length, and the batches beyond it.
    pub fn salvage(&mut self) -> Salvage {
        self.is_held = true;
        self.selected = None;
        let has_checksums = self.settings.has_checksums;
        let retained: u64 = self.unsynced.iter().map(|batch| batch.payload.len() as u64).sum();
        let retained_file_bytes: u64 = self.unsynced.iter().map(|batch| batch.file_bytes).sum();
        let start = self.offset_written - retained;
        // Where records are missing below `start`, a start must not take the fresh file's word for them.
        let synced = if mutant::is(Mutant::HoleForgotten) { start } else { start.min(self.offset_synced) };
        if mutant::is(Mutant::SalvageDropsUnsynced) {
            self.unsynced.clear();
        }
        let mut bytes = Vec::new();
        let mut end = start;
        // What waits in memory goes too, so that the fresh file alone is whole.
        let forming = core::mem::take(&mut self.forming);
        let first = self.unsynced.front().or(self.in_flight.front());
        let is_empty = first.is_none() && forming.is_empty() && !mutant::is(Mutant::SelectsForNothing);
        if let Some(db) = first.map_or(self.selected_before, |batch| batch.db_before).filter(|_| !is_empty) {
            // A file begins in database 0, its first record may not. Alone it would look like the log of a stock server,
            // which has no headers to say what is durable before it.
            encode_command(&[b"SELECT", alloc::format!("{db}").as_bytes()], &mut bytes);
        }
        let payloads = self.unsynced.iter().chain(&self.in_flight).map(|batch| batch.payload.clone());
        for payload in payloads.chain((!forming.is_empty()).then(|| Bytes::from(forming.clone()))) {
            end += payload.len() as u64;
            if has_checksums {
                bytes.extend_from_slice(&batch::seal(end, synced, &payload));
            } else {
                bytes.extend_from_slice(&payload);
            }
        }
        self.forming = forming;
        Salvage {
            old_len: self.file_len_written - retained_file_bytes,
            bytes: Bytes::from(bytes),
            start,
            end,
            is_whole: start == self.offset_synced,
        }
    }

    /// A fresh file holds the salvaged part durably: everything up to its end is safe.
    pub fn salvaged(&mut self, file: FileId, salvage: &Salvage) {
        let taken =
            (salvage.end - self.in_flight.back().map_or(self.offset_written, |batch| batch.end)) as usize;
        self.forming.drain(..taken);
        self.in_flight.clear();
        self.unsynced.clear();
        self.syncing = None;
        self.offset_written = salvage.end;
        self.offset_covered = salvage.end;
        if !salvage.is_whole && !mutant::is(Mutant::HoleForgotten) {
            self.hole_end = Some(salvage.start);
        }
        if !self.has_hole() {
            self.offset_synced = salvage.end;
            self.let_go = None;
        }
        self.file = Some(file);
        self.file_len_written = salvage.bytes.len() as u64;
        self.selected_before = None;
        self.is_held = false;
        self.broken = None;
        assert!(self.offset_written <= self.offset_buffered);
    }

    /// Stops logging. Whatever was not handed over is dropped; the caller has flushed and synced.
    pub fn close(&mut self) -> Option<FileId> {
        let file = self.file.take();
        let settings = self.settings;
        let stats = self.stats;
        let offset = self.offset_buffered;
        *self = Journal::new(settings);
        self.stats = stats;
        self.stand_at(offset);
        file
    }
}

/// See [`Journal::salvage`].
#[derive(Clone, Debug)]
pub struct Salvage {
    /// Bytes of the failed file that are durable: it is cut to this length.
    pub old_len: u64,
    /// What the fresh file begins with.
    pub bytes: Bytes,
    /// The log's offset before it.
    pub start: Offset,
    /// The log's offset after it.
    pub end: Offset,
    /// Nothing below it is in doubt. Under `appendfsync no` written batches are not kept, so after a failure only a
    /// rewrite makes the log whole again.
    pub is_whole: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileId = FileId(1);

    fn at(mono_us: u64) -> Now {
        Now { mono_us, wall_us: mono_us }
    }

    /// A journal under `always` whose first sync, of `units` units, is running since 0.
    fn syncing(units: usize) -> Journal {
        let mut journal =
            Journal::new(JournalSettings { fsync: Fsync::Always, ..JournalSettings::default() });
        journal.open(FILE, 0, 0);
        append(&mut journal, 0, units);
        assert_eq!(flush(&mut journal, 0), 2, "an append and a sync");
        journal.appended(at(0), FILE, None);
        journal
    }

    fn append(journal: &mut Journal, mono_us: u64, units: usize) {
        (0..units).for_each(|_| journal.append_frame(at(mono_us), 0, b"*1\r\n$4\r\nPING\r\n"));
    }

    fn flush(journal: &mut Journal, mono_us: u64) -> usize {
        let mut effects = Effects::new();
        journal.flush(at(mono_us), &mut effects);
        effects.len()
    }

    #[test]
    fn after_a_slow_sync_the_next_waits_for_as_many_as_were_released() {
        let mut journal = syncing(3);
        append(&mut journal, 2_000, 2);
        assert_eq!(flush(&mut journal, 2_000), 0);
        journal.synced(at(4_000), FILE, 4_000, None);
        assert_eq!(flush(&mut journal, 4_000), 0);
        assert_eq!(journal.wake_at_us(at(4_000)), Some(5_000));
        append(&mut journal, 4_200, 2);
        assert_eq!(flush(&mut journal, 4_200), 0);
        append(&mut journal, 4_300, 1);
        assert_eq!(flush(&mut journal, 4_300), 2);
        assert_eq!(journal.wake_at_us(at(4_300)), None);
    }

    #[test]
    fn it_waits_for_a_quarter_of_the_last_one_at_most() {
        let mut journal = syncing(3);
        append(&mut journal, 2_000, 2);
        journal.synced(at(4_000), FILE, 4_000, None);
        assert_eq!(flush(&mut journal, 4_999), 0);
        assert_eq!(flush(&mut journal, 5_000), 2);
    }

    #[test]
    fn a_quick_sync_and_a_lone_client_wait_for_nobody() {
        let mut journal = syncing(3);
        append(&mut journal, 500, 1);
        journal.synced(at(900), FILE, 900, None);
        assert_eq!(flush(&mut journal, 900), 2);
        let mut journal = syncing(1);
        journal.synced(at(4_000), FILE, 4_000, None);
        append(&mut journal, 4_100, 1);
        assert_eq!(flush(&mut journal, 4_100), 2);
    }
    #[test]
    fn syncs_are_counted_by_powers_of_two_microseconds() {
        let mut stats = JournalStats::default();
        for us in [0, 1, 2, 3, 1024, 1025, 1 << 23, (1 << 23) + 1, u64::MAX / 2] {
            stats.count_sync(us);
        }
        let counted: Vec<(usize, u64)> =
            stats.sync_counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(0, 2), (1, 1), (2, 1), (10, 1), (11, 1), (23, 1), (24, 2)]);
    }

    #[test]
    fn what_nobody_syncs_ages_until_somebody_does() {
        let no = JournalSettings { fsync: Fsync::No, ..JournalSettings::default() };
        let mut journal = Journal::new(no);
        journal.open(FILE, 0, 0);
        for mono_us in [100, 200] {
            append(&mut journal, mono_us, 1);
            assert_eq!(flush(&mut journal, mono_us), 1, "an append and no sync");
            journal.appended(at(mono_us), FILE, None);
            assert_eq!(journal.exposed_since_us(), Some(100));
        }
        journal.sync_all(at(900), &mut Effects::new());
        journal.synced(at(1_000), FILE, 100, None);
        assert_eq!((journal.exposed_since_us(), journal.units_unsynced()), (None, 0));
    }

    #[test]
    fn commands_are_exposed_until_their_sync_has_ended() {
        let mut journal = syncing(3);
        append(&mut journal, 500, 1);
        assert_eq!(journal.units_unsynced(), 4);
        journal.synced(at(900), FILE, 900, None);
        assert_eq!(journal.units_unsynced(), 1);
        flush(&mut journal, 900);
        journal.appended(at(900), FILE, None);
        journal.synced(at(1_500), FILE, 600, None);
        assert_eq!(journal.units_unsynced(), 0);
    }
}
