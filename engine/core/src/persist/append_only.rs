//! The append-only set: its files, how one follows the other, and the background rewrite.
//!
//! Everything that changes which files count goes through here, each change as one list of steps for the host and
//! one decision when the list has ended:
//!
//! ```text
//!   rewrite    cut: seal, hold, fork ──> rotate: sync old, create next, manifest ──> switch, go on
//!              child ended ──> install: rename base, manifest ──> remove what it replaces
//!   enable     cut: hold, fork ──> temporary incremental file ──> child ended ──> install all three ──> on
//!   repair     a write or sync failed ──> cut the old file, fresh file with the unsynced part, manifest ──> go on
//! ```
//!
//! Always true: the manifest is changed by one list of steps at a time, made from the newest one, and no file name is
//! used twice; a file is named in the manifest only after its own name and contents are durable (W10, W11); the
//! next file takes its first record only after the old one is synced to its end (W5, W6); new parts are created, never
//! re-opened (W17); between fork and switch nothing is handed over, so the child's image ends where the file ends.
//!
//! Not here: records and offsets (`journal.rs`), the child's bytes (`rdb/`), start-up (`recovery.rs`).

use alloc::{format, string::String, vec, vec::Vec};

use bytes::Bytes;

use super::{
    archive::{Archive, Archiving},
    journal::{Journal, JournalSettings, Offset, Salvage},
    manifest::{Manifest, Part},
};
use crate::{
    host::{
        BackupPart, ChildEnd, Effect, Effects, FileId, FileStep, IoError, SnapshotForm, SnapshotJob, Ticket,
        errno_text,
    },
    mutant::{self, Mutant},
    time::Now,
};

/// Hands out names for files and requests; one for the whole node.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    last_file: u32,
    last_ticket: u64,
}

impl Ids {
    /// A file handle never used before.
    pub fn file(&mut self) -> FileId {
        self.last_file += 1;
        FileId(self.last_file)
    }

    /// A ticket never used before.
    pub fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }
}

/// Where the child of a rewrite writes, its process id put in.
pub const REWRITE_TEMP: &str = "temp-rewriteaof-bg-{pid}.aof";

/// Names of the set, from `appenddirname` and `appendfilename`; fixed for one run.
#[derive(Clone, Debug)]
pub struct Names {
    /// Directory of the set, under `dir`.
    pub dir: String,
    /// Prefix of all its files.
    pub prefix: String,
}

impl Names {
    /// A file of the set, relative to `dir`.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }

    /// The manifest, relative to `dir`.
    pub fn manifest(&self) -> String {
        self.path(&format!("{}.manifest", self.prefix))
    }

    /// Where a new manifest is written before it is renamed.
    pub fn manifest_temp(&self) -> String {
        self.path(&format!("temp-{}.manifest", self.prefix))
    }

    /// The incremental file used until the first base is there.
    pub fn incremental_temp(&self) -> String {
        self.path(&format!("temp-{}.incr", self.prefix))
    }

    fn incremental(&self, seq: u64) -> Part {
        Part { name: format!("{}.{seq}.incr.aof", self.prefix), seq }
    }

    /// A base of the set.
    pub fn base(&self, seq: u64, form: SnapshotForm) -> Part {
        let ending = if form == SnapshotForm::AofBaseCommands { "aof" } else { "rdb" };
        Part { name: format!("{}.{seq}.base.{ending}", self.prefix), seq }
    }

    /// Steps that make `manifest` the truth: written aside, synced, renamed, the directory synced.
    pub fn manifest_steps(&self, manifest: &Manifest, ids: &mut Ids) -> Vec<FileStep> {
        let file = ids.file();
        let temp = self.manifest_temp();
        let mut steps = vec![
            FileStep::CreateTemp { file, path: temp.clone() },
            FileStep::Append { file, bytes: Bytes::from(manifest.sealed().into_bytes()) },
            FileStep::Sync { file },
            FileStep::Close { file },
            FileStep::Rename { from: temp, to: self.manifest() },
            FileStep::SyncDir { path: self.dir.clone() },
        ];
        if mutant::is(Mutant::ManifestNotSynced) {
            steps.remove(2);
        } else if mutant::is(Mutant::ManifestNameNotSynced) {
            steps.pop();
        } else if mutant::is(Mutant::ManifestInPlace) {
            steps[0] = FileStep::CreateTemp { file, path: self.manifest() };
            steps.remove(4);
        }
        steps
    }
}

/// Index, counted from the end of `manifest_steps`, of the first step after which the new manifest may be the one on disk.
const STEPS_FROM_RENAME: usize = 2;

/// Whether changes are logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// `appendonly no`.
    Off,
    /// Switched on at run time; counts once its first base is there.
    Starting,
    /// Every change is logged.
    On,
}

/// What a running rewrite is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// Shortens the log of a set in use.
    Shorten,
    /// Makes the first base after `appendonly yes`.
    Enable,
    /// Asked for while AOF is off, or is being switched off with a hole in it: a base and nothing else.
    BaseOnly,
}

#[derive(Clone, Debug)]
enum Phase {
    /// The child is being started.
    Forking,
    /// The next incremental file is being made.
    Rotating { ticket: Ticket, next: Part, file: FileId, manifest: Manifest, steps_len: usize },
    /// The host is done; batches to the old file are still being confirmed.
    Rotated { next: Part, file: FileId, manifest: Manifest },
    /// The child works.
    Writing,
    /// The new base is being put in place.
    Installing { ticket: Ticket, manifest: Manifest, steps_len: usize },
}

/// A rewrite under way.
#[derive(Clone, Debug)]
struct Rewrite {
    purpose: Purpose,
    phase: Phase,
    job: SnapshotJob,
    /// First incremental file of what came after the cut: it and all that follow stay when the base is in place.
    after_cut: Option<Part>,
    /// What the child reported, if it ended before the rotation did.
    end: Option<ChildEnd>,
    started_us: u64,
    /// When its image was frozen, milliseconds since 1970, by the clock of `closing_ms`.
    cut_ms: u64,
    /// The log's offset then.
    cut_at: Offset,
    /// Nobody wants its base any more, but what the rotation tells is still to come.
    is_called_off: bool,
}

/// A repair under way.
#[derive(Clone, Debug)]
struct Repair {
    ticket: Ticket,
    file: FileId,
    part: Part,
    /// The file that is given up.
    old: Part,
    manifest: Manifest,
    salvage: Salvage,
    steps_len: usize,
}

/// Superseded files being removed.
#[derive(Clone, Debug)]
struct Cleanup {
    ticket: Ticket,
    manifest: Manifest,
    archiving: Archiving,
}

/// What the node must do next about the child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Nothing.
    Nothing,
    /// End the child of this job: its work is of no use any more.
    KillChild(Ticket),
}

/// Figures for INFO and the limiter.
#[derive(Clone, Debug, Default)]
pub struct RewriteStats {
    /// The last one failed.
    pub has_failed: bool,
    /// Failures since the last success.
    pub failures_consecutive: u32,
    /// Attempts.
    pub count: u64,
    /// Seconds the last one took.
    pub last_s: Option<u64>,
    /// Copy-on-write memory of the last child, bytes.
    pub last_cow: u64,
}

/// Failures in a row after which automatic rewrites slow down.
const LIMITER_FAILURES: u32 = 3;
/// Longest pause between automatic rewrites that keep failing, minutes.
const LIMITER_MINUTES_MAX: u64 = 60;
/// Pause between attempts to move to a fresh file, microseconds.
const REPAIR_INTERVAL_US: u64 = 1_000_000;

/// The append-only set of one server run.
#[derive(Clone, Debug)]
pub struct AppendOnly {
    /// What it is called.
    pub names: Names,
    /// Offsets and batches.
    pub journal: Journal,
    /// Figures for INFO.
    pub stats: RewriteStats,
    /// What becomes of superseded files.
    pub archive: Archive,
    /// A backup reads the files: none is removed.
    pub is_pinned: bool,
    state: State,
    manifest: Manifest,
    /// The file that is written to.
    current: Option<Part>,
    /// Highest sequence number of an incremental file ever tried: a name is never used twice.
    seq_tried: u64,
    /// Highest sequence number of a base ever tried.
    base_seq_tried: u64,
    rewrite: Option<Rewrite>,
    repair: Option<Repair>,
    repair_at_us: u64,
    /// A repair could not sync the file that it was to give up: asked again, the kernel would say yes (fsyncgate).
    is_old_doubtful: bool,
    cleanup: Option<Cleanup>,
    /// About how many bytes the history takes.
    superseded_len: u64,
    /// The mark by which a set that was switched off is known, on its way to the disk.
    closing: Option<(Ticket, Manifest)>,
    is_scheduled: bool,
    /// Switched on again while it was being closed.
    reopens: bool,
    /// Where the log stood when it came into force: what is older was answered without waiting for it.
    in_force_from: Offset,
    retry_at_us: u64,
    /// Bytes of all parts but the present file.
    closed_len: u64,
    /// Bytes of the base, or of everything at start.
    base_len: u64,
    /// When the newest snapshot file was frozen, milliseconds since 1970. A set that is closed after it says so, whatever
    /// the clock says: it may have gone back.
    dump_ms: u64,
}

impl AppendOnly {
    /// A set that is off, with the files the manifest names.
    pub fn new(names: Names, manifest: Manifest, settings: JournalSettings) -> AppendOnly {
        AppendOnly {
            names,
            journal: Journal::new(settings),
            stats: RewriteStats::default(),
            archive: Archive::default(),
            is_pinned: false,
            state: State::Off,
            current: None,
            seq_tried: manifest.next_incremental_seq() - 1,
            base_seq_tried: manifest.next_base_seq() - 1,
            manifest,
            rewrite: None,
            repair: None,
            repair_at_us: 0,
            is_old_doubtful: false,
            cleanup: None,
            superseded_len: 0,
            closing: None,
            is_scheduled: false,
            reopens: false,
            in_force_from: 0,
            retry_at_us: 0,
            closed_len: 0,
            base_len: 0,
            dump_ms: 0,
        }
    }

    /// A snapshot was frozen at this time, milliseconds since 1970.
    pub fn note_dump(&mut self, at_ms: u64) {
        self.dump_ms = self.dump_ms.max(at_ms);
    }

    /// The time at which a set is closed now, milliseconds since 1970: never before the snapshots that it is newer than.
    pub fn closing_ms(&self, now: Now) -> u64 {
        if mutant::is(Mutant::ClosedByClockAlone) { now.wall_ms() } else { now.wall_ms().max(self.dump_ms) }
    }

    /// Takes over a set that recovery opened: its last file, the file's length, the bytes of all others.
    pub fn resume(
        &mut self,
        manifest: Manifest,
        file: FileId,
        file_len: u64,
        closed_len: u64,
        base_len: u64,
        offset: Offset,
    ) {
        self.seq_tried = self.seq_tried.max(manifest.next_incremental_seq() - 1);
        self.base_seq_tried = self.base_seq_tried.max(manifest.next_base_seq() - 1);
        self.current = manifest.incrementals.last().cloned();
        self.manifest = manifest;
        self.closed_len = closed_len;
        self.base_len = base_len;
        self.journal.open(file, file_len, offset);
        self.journal.set_effective(true);
        self.state = State::On;
    }

    /// Takes note of a set that is not in use.
    pub fn set_manifest(&mut self, manifest: Manifest) {
        self.manifest = manifest;
    }

    /// The incremental file that follows those of `manifest`.
    pub fn part_after(&mut self, manifest: &Manifest) -> Part {
        self.seq_tried = self.seq_tried.max(manifest.next_incremental_seq() - 1) + 1;
        self.names.incremental(self.seq_tried)
    }

    /// Job of the rewrite under way.
    pub fn job(&self) -> Option<Ticket> {
        self.rewrite.as_ref().map(|rewrite| rewrite.job.ticket)
    }

    /// Cut of a base being made while AOF is off, milliseconds since 1970: a snapshot of later is the newer one.
    pub fn base_cut_ms(&self) -> Option<u64> {
        let rewrite = self.rewrite.as_ref().filter(|rewrite| rewrite.purpose == Purpose::BaseOnly);
        rewrite.map(|rewrite| rewrite.cut_ms)
    }

    /// Whether changes are logged.
    pub fn state(&self) -> State {
        self.state
    }

    /// The files of the set.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of all files of the set, and of its base (`aof_current_size`, `aof_base_size`).
    pub fn sizes(&self) -> (u64, u64) {
        (self.closed_len + self.journal.file_len(), self.base_len)
    }

    /// A rewrite is under way, up to its base being in place.
    pub fn is_rewriting(&self) -> bool {
        self.rewrite.is_some()
    }

    /// The rewrite under way was called off; the next may be asked for.
    pub fn is_calling_off(&self) -> bool {
        self.rewrite.as_ref().is_some_and(|rewrite| rewrite.is_called_off)
    }

    /// When the running rewrite began, monotonic microseconds.
    pub fn rewrite_started_us(&self) -> Option<u64> {
        self.rewrite.as_ref().map(|rewrite| rewrite.started_us)
    }

    /// A rewrite waits for its turn, or for the set before it to be closed.
    pub fn is_scheduled(&self) -> bool {
        self.is_scheduled || self.reopens
    }

    /// A rewrite was asked for and begins as soon as what is being put in place, or closed, is there.
    pub fn is_about_to_rewrite(&self, now: Now) -> bool {
        self.reopens
            || self.is_scheduled && now.mono_us >= self.retry_at_us && self.journal.broken().is_none()
    }

    /// Forgets what was scheduled: the log that it was for ends. So does the one that was to follow it.
    pub fn unschedule(&mut self) {
        self.is_scheduled = false;
        self.reopens &= mutant::is(Mutant::ReopensForNobody);
    }

    /// Asks for a rewrite as soon as no other child runs; by hand, so without the limiter.
    pub fn schedule(&mut self) {
        self.is_scheduled = true;
        self.retry_at_us = 0;
    }

    /// Asks for a rewrite as soon as no other child runs and the limiter allows.
    pub fn schedule_limited(&mut self) {
        self.is_scheduled = true;
    }

    /// Whether a rewrite should begin now, given that no child runs.
    pub fn wants_rewrite(&self, now: Now) -> bool {
        self.needs_rewrite() && self.rewrite.is_none() && self.can_cut() && now.mono_us >= self.retry_at_us
    }

    /// One was asked for, or records are missing that only a rewrite brings back, however often one has failed.
    fn needs_rewrite(&self) -> bool {
        let has_hole = self.journal.has_hole() && !mutant::is(Mutant::HoleRewriteNotRepeated);
        self.is_scheduled || self.state == State::On && has_hole || self.is_closing_with_hole()
    }

    /// The log is being switched off, but records are missing from it: a base answers for them, and nothing follows it.
    fn is_closing_with_hole(&self) -> bool {
        let journal = &self.journal;
        self.state == State::On
            && journal.is_closing()
            && journal.has_hole()
            && !mutant::is(Mutant::HoleClosedIn)
    }

    /// When `wants_rewrite` may turn true by itself.
    pub fn wake_at_us(&self, now: Now) -> Option<u64> {
        let repair = self.journal.broken().filter(|_| self.repair.is_none()).map(|_| self.repair_at_us);
        let retry = (self.needs_rewrite() && self.rewrite.is_none())
            .then_some(self.retry_at_us.max(now.mono_us + 10_000));
        [self.journal.wake_at_us(now), repair, retry].into_iter().flatten().min()
    }

    /// Whether the log has grown enough for an automatic rewrite (`auto-aof-rewrite-*`).
    pub fn has_grown(&self, percentage: u64, size_min: u64) -> bool {
        let (current, base) = self.sizes();
        self.state == State::On
            && percentage > 0
            && current > size_min
            && (current as u128 * 100 / base.max(1) as u128).saturating_sub(100) >= percentage as u128
    }

    fn can_cut(&self) -> bool {
        self.repair.is_none()
            && self.cleanup.is_none()
            && self.closing.is_none()
            && (!self.journal.is_closing() || self.is_closing_with_hole())
            && self.journal.broken().is_none()
            && !self.journal.is_held()
    }

    // --- Switching on and off ---------------------------------------------------------------------------

    /// `appendonly yes` at run time: the first rewrite is wanted; nothing counts before it ended.
    pub fn enable(&mut self) {
        assert!(self.state == State::Off);
        self.state = State::Starting;
        self.schedule();
    }

    /// `appendonly yes` while the set is still being closed: what was not logged meanwhile is missing from it, so it
    /// counts as switched off, and a new one is begun.
    pub fn reopen(&mut self) {
        self.reopens = true;
    }

    /// `appendonly no` at run time, after everything was flushed and synced: stops logging; the set stays, marked with
    /// the time so that a later start knows it to be old (W12).
    ///
    /// The set is on until its mark is durable: a snapshot that is answered for afterwards would otherwise lose against
    /// a set that looks alive. Called again until then.
    pub fn disable(&mut self, now: Now, ids: &mut Ids, effects: &mut Effects) -> Wish {
        if self.is_being_installed() && !mutant::is(Mutant::InstalledWhileOff) {
            // Its steps cannot be called back: the set they put in place must get its mark.
            return Wish::Nothing;
        }
        let wish = self.abandon_rewrite(now, ids, effects);
        if self.rewrite.is_some() || !self.journal.is_closing() {
            // It ends first; or it was what was being switched on, and with it that has ended.
            return wish;
        }
        if self.state != State::On {
            self.is_scheduled &= self.state != State::Starting;
            self.switch_off(ids, effects);
        } else if self.closing.is_none()
            && self.cleanup.is_none()
            && self.repair.is_none()
            && now.mono_us >= self.repair_at_us
        {
            let mut manifest = self.manifest.clone();
            manifest.closed_at_ms = manifest.closed_at_ms.max(Some(self.journal.closing_since_ms()));
            let (ticket, steps) = (ids.ticket(), self.names.manifest_steps(&manifest, ids));
            effects.push(Effect::Files { ticket, steps });
            self.closing = Some((ticket, manifest));
        }
        wish
    }

    /// The first base of a set that is being switched on is on its way into place.
    fn is_being_installed(&self) -> bool {
        let is_installing = |rewrite: &Rewrite| matches!(rewrite.phase, Phase::Installing { .. });
        self.state == State::Starting && self.rewrite.as_ref().is_some_and(is_installing)
    }

    /// The set is closed, its mark in place.
    fn switch_off(&mut self, ids: &mut Ids, effects: &mut Effects) {
        self.state = State::Off;
        self.repair = None;
        if let Some(file) = self.journal.close() {
            let steps = vec![FileStep::Close { file }];
            effects.push(Effect::Files { ticket: ids.ticket(), steps });
        }
        if core::mem::take(&mut self.reopens) {
            self.enable();
        }
    }

    // --- Rewriting --------------------------------------------------------------------------------------

    /// Begins a rewrite: ends the present file here and starts the child. Call at the end of a turn, no child running.
    pub fn begin_rewrite(
        &mut self,
        now: Now,
        use_rdb: bool,
        key_delay_us: i64,
        ids: &mut Ids,
        effects: &mut Effects,
    ) {
        assert!(self.rewrite.is_none() && self.can_cut());
        self.is_scheduled = false;
        self.stats.count += 1;
        let purpose = match self.state {
            State::On if self.is_closing_with_hole() => Purpose::BaseOnly,
            State::On => Purpose::Shorten,
            State::Starting => Purpose::Enable,
            State::Off => Purpose::BaseOnly,
        };
        if purpose == Purpose::Shorten && !mutant::is(Mutant::CutCarriesBuffer) {
            self.journal.flush_all(now, effects);
        }
        if purpose == Purpose::Enable || purpose == Purpose::Shorten && !mutant::is(Mutant::CutWithoutHold) {
            self.journal.hold();
        }
        let job = SnapshotJob {
            ticket: ids.ticket(),
            form: if use_rdb { SnapshotForm::AofBaseRdb } else { SnapshotForm::AofBaseCommands },
            path: REWRITE_TEMP.into(),
            key_delay_us,
            now_ms: now.wall_ms(),
            is_last: false,
        };
        effects.push(Effect::Fork(job.clone()));
        self.rewrite = Some(Rewrite {
            purpose,
            phase: Phase::Forking,
            job,
            after_cut: None,
            end: None,
            started_us: now.mono_us,
            cut_ms: self.closing_ms(now),
            cut_at: self.journal.offset_buffered(),
            is_called_off: false,
        });
    }

    /// The child of the rewrite runs, or could not be started.
    pub fn forked(&mut self, now: Now, result: Result<i32, i32>, ids: &mut Ids, effects: &mut Effects) {
        let rewrite = self.rewrite.as_mut().expect("a rewrite waits for its child");
        let pid = match result {
            Ok(pid) => pid,
            Err(errno) => {
                tracing::warn!("Can't rewrite append only file in background: fork: {}", errno_text(errno));
                self.fail_rewrite(now, ids, effects);
                return;
            }
        };
        tracing::info!("Background append only file rewriting started by pid {pid}");
        let (steps, next, file, manifest) = match rewrite.purpose {
            Purpose::BaseOnly => {
                rewrite.phase = Phase::Writing;
                return;
            }
            Purpose::Shorten => self.rotation_steps(ids),
            Purpose::Enable => self.enabling_steps(ids),
        };
        let (ticket, steps_len) = (ids.ticket(), steps.len());
        effects.push(Effect::Files { ticket, steps });
        let rewrite = self.rewrite.as_mut().expect("still there");
        rewrite.phase = Phase::Rotating { ticket, next, file, manifest, steps_len };
    }

    fn next_part(&mut self) -> Part {
        let manifest = self.manifest.clone();
        self.part_after(&manifest)
    }

    fn rotation_steps(&mut self, ids: &mut Ids) -> (Vec<FileStep>, Part, FileId, Manifest) {
        let old = self.journal.file().expect("a set in use has a file");
        let (next, file) = (self.next_part(), ids.file());
        let mut manifest = self.manifest.clone();
        manifest.incrementals.push(next.clone());
        let mut steps = vec![
            FileStep::Sync { file: old },
            FileStep::CreateExclusive { file, path: self.names.path(&next.name) },
            FileStep::SyncDir { path: self.names.dir.clone() },
        ];
        if mutant::is(Mutant::OldPartNotSynced) {
            steps.remove(0);
        } else if mutant::is(Mutant::PartNameNotSynced) {
            steps.remove(2);
        }
        let manifest_steps = self.names.manifest_steps(&manifest, ids);
        if mutant::is(Mutant::ManifestBeforePart) {
            steps.splice(0..0, manifest_steps);
        } else {
            steps.extend(manifest_steps);
        }
        (steps, next, file, manifest)
    }

    fn enabling_steps(&mut self, ids: &mut Ids) -> (Vec<FileStep>, Part, FileId, Manifest) {
        let (next, file) = (self.next_part(), ids.file());
        let mut steps = vec![
            FileStep::CreateDir { path: self.names.dir.clone() },
            FileStep::SyncDir { path: String::new() },
        ];
        if self.manifest.is_empty() {
            // Parts without a manifest are a lost manifest (W17). A crash while the first parts are put in place must not
            // look like that.
            steps.extend(self.names.manifest_steps(&self.manifest, ids));
        }
        steps.push(FileStep::CreateTemp { file, path: self.names.incremental_temp() });
        (steps, next, file, self.manifest.clone())
    }

    /// The child of the rewrite is gone.
    pub fn child_ended(
        &mut self,
        now: Now,
        end: ChildEnd,
        cow_size: u64,
        ids: &mut Ids,
        effects: &mut Effects,
    ) {
        self.stats.last_cow = cow_size;
        match (&mut self.rewrite, end) {
            (Some(rewrite), end) => rewrite.end = Some(end),
            // The rewrite was given up meanwhile: its file is of no use.
            (None, ChildEnd::Written(written)) => {
                let steps = vec![FileStep::Remove { path: written.path }];
                effects.push(Effect::Files { ticket: ids.ticket(), steps });
            }
            (None, _) => {}
        }
        self.advance(now, ids, effects);
    }

    /// Steps of this set ended. `false` if the ticket is none of its own.
    pub fn files_done(
        &mut self,
        now: Now,
        ticket: Ticket,
        error: Option<(usize, IoError)>,
        ids: &mut Ids,
        effects: &mut Effects,
    ) -> bool {
        if self.repair.as_ref().is_some_and(|repair| repair.ticket == ticket) {
            self.repair_done(now, error, ids, effects);
            return true;
        }
        if let Some((_, manifest)) = self.closing.take_if(|(closing, _)| *closing == ticket) {
            match error {
                None => {
                    self.manifest = manifest;
                    self.switch_off(ids, effects);
                }
                Some((_, error)) => {
                    tracing::warn!("Can't mark the AOF as switched off, will try again: {error:?}");
                    self.repair_at_us = now.mono_us + REPAIR_INTERVAL_US;
                }
            }
            return true;
        }
        if let Some(cleanup) = self.cleanup.take_if(|cleanup| cleanup.ticket == ticket) {
            self.cleanup_done(now, cleanup, error, ids, effects);
            return true;
        }
        let Some(rewrite) = &mut self.rewrite else { return false };
        match &rewrite.phase {
            Phase::Rotating { ticket: expected, .. } if *expected == ticket => {
                self.rotation_done(now, error, ids, effects);
            }
            Phase::Installing { ticket: expected, .. } if *expected == ticket => {
                self.installation_done(now, error, ids, effects);
            }
            _ => return false,
        }
        self.advance(now, ids, effects);
        true
    }

    fn rotation_done(
        &mut self,
        now: Now,
        error: Option<(usize, IoError)>,
        ids: &mut Ids,
        effects: &mut Effects,
    ) {
        let rewrite = self.rewrite.as_mut().expect("checked by the caller");
        let Phase::Rotating { next, file, manifest, steps_len, .. } = rewrite.phase.clone() else { return };
        let Some((step, error)) = error else {
            rewrite.phase = Phase::Rotated { next, file, manifest };
            return;
        };
        tracing::warn!("Can't open the next AOF file: {error}");
        if rewrite.purpose == Purpose::Enable {
            self.fail_rewrite(now, ids, effects);
        } else if step + STEPS_FROM_RENAME >= steps_len {
            // The new manifest may be the one on disk. Both are complete as long as nothing is answered for: the next
            // file is used, and given up at once for one whose manifest is certain.
            rewrite.phase = Phase::Rotated { next, file, manifest };
            self.journal.distrust(now, error);
        } else {
            let is_old_sync = step == 0;
            self.fail_rewrite(now, ids, effects);
            if is_old_sync {
                self.journal.distrust(now, error);
            }
        }
    }

    /// Goes on with what no longer waits for anything. Called whenever something has ended.
    pub fn advance(&mut self, now: Now, ids: &mut Ids, effects: &mut Effects) {
        let Some(rewrite) = &self.rewrite else { return };
        // The sync that the rotation made may have been told nothing because one that is still under way was: a failed
        // write-back is told once.
        let is_syncing = self.journal.is_syncing() && !mutant::is(Mutant::SyncUnderWayForgotten);
        if let Phase::Rotated { next, file, manifest } = rewrite.phase.clone()
            && (self.journal.broken().is_some() || self.journal.is_all_written() && !is_syncing)
        {
            self.switch_to(now, next, file, manifest, ids, effects);
        }
        let Some(rewrite) = &self.rewrite else { return };
        if matches!(rewrite.phase, Phase::Writing) && rewrite.is_called_off {
            self.call_off(now, ids, effects);
            return;
        }
        let is_manifest_free = self.repair.is_none() && self.cleanup.is_none();
        if matches!(rewrite.phase, Phase::Writing)
            && is_manifest_free
            && let Some(end) = rewrite.end.clone()
        {
            self.install(now, end, ids, effects);
        }
    }

    fn switch_to(
        &mut self,
        now: Now,
        next: Part,
        file: FileId,
        manifest: Manifest,
        ids: &mut Ids,
        effects: &mut Effects,
    ) {
        if self.journal.broken().is_some() {
            // A batch before the cut did not reach the old file, but its effects are in the child's image: that image must
            // not be followed by what the repair writes. The next file stays, listed and empty.
            self.manifest = manifest;
            self.fail_rewrite(now, ids, effects);
            return;
        }
        let rewrite = self.rewrite.as_mut().expect("checked by the caller");
        rewrite.phase = Phase::Writing;
        rewrite.after_cut = Some(next.clone());
        if rewrite.purpose == Purpose::Enable {
            let offset = self.journal.offset_buffered();
            self.journal.start(file, offset);
            self.current = Some(next);
            if mutant::is(Mutant::EnabledTooEarly) {
                self.finish_enabling();
            }
            return;
        }
        self.manifest = manifest;
        let old = self.journal.file().expect("a set in use has a file");
        self.closed_len += self.journal.file_len();
        self.journal.switch(file);
        tracing::debug!("AOF goes on in {}", next.name);
        self.current = Some(next);
        effects.push(Effect::Files { ticket: ids.ticket(), steps: vec![FileStep::Close { file: old }] });
    }

    fn install(&mut self, now: Now, end: ChildEnd, ids: &mut Ids, effects: &mut Effects) {
        let written = match end {
            ChildEnd::Written(written) => written,
            end => {
                log_child_failure(&end);
                self.fail_rewrite(now, ids, effects);
                return;
            }
        };
        let rewrite = self.rewrite.as_ref().expect("checked by the caller");
        self.base_seq_tried = self.base_seq_tried.max(self.manifest.next_base_seq() - 1) + 1;
        let base = self.names.base(self.base_seq_tried, rewrite.job.form);
        let mut manifest = self.manifest.clone();
        let keep_from = match (rewrite.purpose, &rewrite.after_cut) {
            (Purpose::Shorten, Some(first)) => {
                let at = manifest.incrementals.iter().position(|part| part == first);
                let superseded = usize::from(mutant::is(Mutant::HistoryTakesLivePart));
                at.expect("a file that was listed at the cut") + superseded
            }
            _ => manifest.incrementals.len(),
        };
        let kept: Vec<Part> = match (rewrite.purpose, &rewrite.after_cut) {
            (Purpose::Enable, Some(first)) => vec![first.clone()],
            _ => vec![],
        };
        manifest.supersede(keep_from, self.archive.is_on().then(|| now.wall_ms()));
        self.superseded_len = self.closed_len;
        manifest.base = Some(base.clone());
        manifest.incrementals.extend(kept.iter().cloned());
        manifest.closed_at_ms = (rewrite.purpose == Purpose::BaseOnly).then_some(rewrite.cut_ms);

        let mut steps = vec![
            FileStep::CreateDir { path: self.names.dir.clone() },
            FileStep::SyncDir { path: String::new() },
        ];
        if mutant::is(Mutant::OldPartsRemovedFirst) {
            let removed = manifest.history.iter();
            steps.extend(removed.map(|part| FileStep::Remove { path: self.names.path(&part.name) }));
        }
        steps.extend([FileStep::Rename { from: written.path, to: self.names.path(&base.name) }]);
        if let (Purpose::Enable, [part]) = (rewrite.purpose, &kept[..]) {
            steps.push(FileStep::Rename {
                from: self.names.incremental_temp(),
                to: self.names.path(&part.name),
            });
        }
        if !mutant::is(Mutant::PartNameNotSynced) {
            steps.push(FileStep::SyncDir { path: self.names.dir.clone() });
        }
        steps.push(FileStep::SyncDir { path: String::new() });
        steps.extend(self.names.manifest_steps(&manifest, ids));
        let (ticket, steps_len) = (ids.ticket(), steps.len());
        effects.push(Effect::Files { ticket, steps });
        self.base_len = written.len;
        let rewrite = self.rewrite.as_mut().expect("checked by the caller");
        rewrite.phase = Phase::Installing { ticket, manifest, steps_len };
    }

    fn installation_done(
        &mut self,
        now: Now,
        error: Option<(usize, IoError)>,
        ids: &mut Ids,
        effects: &mut Effects,
    ) {
        let rewrite = self.rewrite.as_ref().expect("checked by the caller");
        let Phase::Installing { manifest, steps_len, .. } = rewrite.phase.clone() else { return };
        if let Some((step, error)) = error {
            tracing::warn!("Can't install the rewritten AOF: {error}");
            // From the rename on the new manifest may be the one on disk (W10): what it names is kept, and so is everything
            // the old one names; both are complete. The next rewrite settles it. A set that is only being switched on
            // does not count before its manifest is certain.
            let is_in_doubt = step + STEPS_FROM_RENAME >= steps_len;
            if is_in_doubt && mutant::is(Mutant::DoubtfulBaseRemoved) {
                let base = manifest.base.as_ref().map(|base| self.names.path(&base.name));
                let steps = base.into_iter().map(|path| FileStep::Remove { path }).collect();
                effects.push(Effect::Files { ticket: ids.ticket(), steps });
                self.fail_rewrite(now, ids, effects);
            } else if is_in_doubt && self.state == State::On {
                self.manifest = manifest;
                self.stats.has_failed = true;
                self.count_failure(now);
                self.rewrite = None;
            } else {
                self.fail_rewrite(now, ids, effects);
            }
            return;
        }
        self.manifest = manifest;
        self.closed_len = self.base_len;
        self.stats.has_failed = false;
        self.stats.failures_consecutive = 0;
        self.retry_at_us = 0;
        self.stats.last_s = Some(now.mono_us.saturating_sub(rewrite.started_us) / 1_000_000);
        self.journal.fill_hole(rewrite.cut_at);
        // A base that was asked for while AOF was off, and AOF switched on since: the set still needs one of its own.
        if rewrite.purpose == Purpose::Enable {
            self.finish_enabling();
        }
        self.rewrite = None;
        tracing::info!("Background AOF rewrite finished successfully");
        self.clean_up(now, ids, effects);
    }

    fn finish_enabling(&mut self) {
        if self.state == State::Starting {
            self.state = State::On;
            self.in_force_from = self.journal.offset_buffered();
            self.journal.set_effective(true);
        }
    }

    /// The log has come into force, but not yet for all that was answered before: under `always` that is still being synced.
    /// Who asks whether it is on is told so only afterwards.
    pub fn is_settling(&self) -> bool {
        self.state == State::On
            && self.journal.is_always()
            && self.journal.offset_synced() < self.in_force_from
            && !mutant::is(Mutant::SettlingNotSaid)
    }

    /// Superseded files are being removed.
    pub fn is_cleaning_up(&self) -> bool {
        self.cleanup.is_some()
    }

    /// Archives superseded files if they are to be kept, removes them, then their lines. Called after a rewrite, after a
    /// backup, and at start for what a crash left.
    pub fn clean_up(&mut self, now: Now, ids: &mut Ids, effects: &mut Effects) {
        if self.cleanup.is_some() || self.is_pinned {
            return;
        }
        if self.manifest.history.is_empty() {
            self.trim_archive(now, ids, effects);
            return;
        }
        let archiving = self.archive.archiving(&self.names, &self.manifest, self.superseded_len, ids);
        let mut manifest = self.manifest.clone();
        manifest.superseded_at_ms = None;
        let mut steps = archiving.steps.clone();
        let removed = manifest.history.drain(..);
        steps.extend(removed.map(|part| FileStep::Remove { path: self.names.path(&part.name) }));
        steps.extend(self.names.manifest_steps(&manifest, ids));
        let ticket = ids.ticket();
        effects.push(Effect::Files { ticket, steps });
        self.cleanup = Some(Cleanup { ticket, manifest, archiving });
    }

    fn cleanup_done(
        &mut self,
        now: Now,
        cleanup: Cleanup,
        error: Option<(usize, IoError)>,
        ids: &mut Ids,
        effects: &mut Effects,
    ) {
        self.archive.archived(cleanup.archiving, error.as_ref().map(|(index, _)| *index));
        if let Some((_, error)) = error {
            tracing::warn!("Can't remove superseded AOF files: {error:?}");
            return;
        }
        self.manifest.history = cleanup.manifest.history;
        self.manifest.superseded_at_ms = None;
        self.trim_archive(now, ids, effects);
    }

    /// Removes what the archive is not to keep any longer.
    pub fn trim_archive(&mut self, now: Now, ids: &mut Ids, effects: &mut Effects) {
        let steps = self.archive.trim(now.wall_ms());
        if !steps.is_empty() {
            effects.push(Effect::Files { ticket: ids.ticket(), steps });
        }
    }

    /// The present file is being given up for a fresh one.
    pub fn is_repairing(&self) -> bool {
        self.repair.is_some()
    }

    /// The files that make up the data as far as it is synced, and the manifest that names them, by its path.
    pub fn backup_parts(&self) -> (Vec<BackupPart>, (String, String)) {
        let part_of = |part: &Part| BackupPart {
            from: self.names.path(&part.name),
            to: self.names.path(&part.name),
            // The present file goes on growing, and the next start may cut the end of any log.
            len: (self.current.as_ref() == Some(part)).then(|| self.journal.file_len_synced()),
            is_final: self.manifest.base.as_ref() == Some(part),
        };
        let parts = self.manifest.loaded().map(part_of).collect();
        let manifest = Manifest {
            base: self.manifest.base.clone(),
            incrementals: self.manifest.incrementals.clone(),
            headed_seq: self.manifest.headed_seq,
            ..Manifest::default()
        };
        (parts, (self.names.manifest(), manifest.format()))
    }

    /// Gives the running rewrite up, if there is one. It stays until its rotation has ended: that syncs the file in use, and
    /// the kernel tells of a failed sync once.
    pub fn abandon_rewrite(&mut self, now: Now, ids: &mut Ids, effects: &mut Effects) -> Wish {
        let Some(rewrite) = self.rewrite.as_mut().filter(|rewrite| !rewrite.is_called_off) else {
            return Wish::Nothing;
        };
        let ticket = rewrite.job.ticket;
        let is_over = rewrite.end.is_some() || matches!(rewrite.phase, Phase::Forking);
        let is_rotating =
            rewrite.purpose == Purpose::Shorten && matches!(rewrite.phase, Phase::Rotating { .. });
        if is_rotating && !mutant::is(Mutant::RotationForgotten) {
            rewrite.is_called_off = true;
        } else {
            self.call_off(now, ids, effects);
        }
        if is_over { Wish::Nothing } else { Wish::KillChild(ticket) }
    }

    /// Called off is not failed.
    fn call_off(&mut self, now: Now, ids: &mut Ids, effects: &mut Effects) {
        let (failures, is_scheduled, state) = (self.stats.clone(), self.is_scheduled, self.state);
        let reopens = self.reopens;
        self.fail_rewrite(now, ids, effects);
        self.stats = failures;
        if (self.state, self.reopens) == (state, reopens) {
            self.is_scheduled = is_scheduled;
        }
    }

    fn fail_rewrite(&mut self, now: Now, ids: &mut Ids, effects: &mut Effects) {
        let Some(rewrite) = self.rewrite.take() else { return };
        self.stats.has_failed = true;
        self.count_failure(now);
        let mut leftovers = vec![];
        if mutant::is(Mutant::FailedRewriteDropsPart) && self.manifest.incrementals.len() > 1 {
            self.manifest.incrementals.remove(0);
        }
        if let Some(ChildEnd::Written(written)) = &rewrite.end {
            leftovers.push(FileStep::Remove { path: written.path.clone() });
        }
        if let Phase::Rotating { file, .. } | Phase::Rotated { file, .. } = &rewrite.phase {
            leftovers.push(FileStep::Close { file: *file });
        }
        match rewrite.purpose {
            Purpose::Enable => {
                tracing::info!(
                    "Removing the temp incr aof file {} in the background",
                    self.names.incremental_temp()
                );
                let is_unwanted = self.journal.is_closing() && !mutant::is(Mutant::SwitchOffForgotten);
                if let Some(file) = self.journal.close() {
                    leftovers.push(FileStep::Close { file });
                }
                leftovers.push(FileStep::Remove { path: self.names.incremental_temp() });
                if self.state == State::Starting && is_unwanted {
                    self.is_scheduled = false;
                    self.switch_off(ids, effects);
                } else if self.state == State::Starting {
                    self.is_scheduled = true;
                }
            }
            // What was held back goes to the file that is still the present one.
            Purpose::Shorten => self.journal.release(),
            Purpose::BaseOnly => {}
        }
        if !leftovers.is_empty() {
            effects.push(Effect::Files { ticket: ids.ticket(), steps: leftovers });
        }
    }

    fn count_failure(&mut self, now: Now) {
        self.stats.failures_consecutive += 1;
        let beyond = self.stats.failures_consecutive.saturating_sub(LIMITER_FAILURES);
        if self.stats.failures_consecutive >= LIMITER_FAILURES {
            let minutes = (1u64 << beyond.min(6)).min(LIMITER_MINUTES_MAX);
            self.retry_at_us = now.mono_us + minutes * 60_000_000;
            tracing::warn!(
                "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {minutes} minutes"
            );
        }
    }

    // --- Surviving a failed write or sync -----------------------------------------------------------------

    /// Moves on to a fresh file if the present one is no longer trusted and it is time to try.
    pub fn repair_if_broken(&mut self, now: Now, ids: &mut Ids, effects: &mut Effects) -> Wish {
        let is_due =
            self.journal.broken().is_some() && self.repair.is_none() && now.mono_us >= self.repair_at_us;
        if !is_due {
            return Wish::Nothing;
        }
        let is_installed_meanwhile = self.is_being_installed() && !mutant::is(Mutant::InstallationForgotten);
        if self.state == State::Starting && !is_installed_meanwhile {
            // Nothing counts yet: begin anew.
            let wish = self.abandon_rewrite(now, ids, effects);
            if self.state == State::Starting {
                self.schedule_limited();
                self.count_failure(now);
            }
            return wish;
        }
        let is_writing = self.rewrite.as_ref().is_none_or(|rewrite| matches!(rewrite.phase, Phase::Writing));
        if !is_writing || self.cleanup.is_some() {
            return Wish::Nothing; // The manifest is being changed: the end of that comes first.
        }
        if mutant::is(Mutant::BrokenForgotten) {
            self.journal.forgive();
            return Wish::Nothing;
        }
        let old_file = self.journal.file().expect("a set in use has a file");
        let old = self.current.clone().expect("a set in use has a part");
        let is_write_failure = self.journal.broken().is_some_and(|broken| broken.error.operation == "write");
        let mut salvage = self.journal.salvage();
        let (next, file) = (self.next_part(), ids.file());
        let mut manifest = self.manifest.clone();
        manifest.incrementals.push(next.clone());
        let path = self.names.path(&next.name);
        let mut steps = vec![FileStep::Close { file: old_file }, FileStep::CreateExclusive { file, path }];
        if is_write_failure && !salvage.is_whole && !self.is_old_doubtful {
            // Nobody kept what was written before (`no`), but no sync of it failed either: it is made durable here.
            steps.push(FileStep::SyncPath { path: self.names.path(&old.name) });
            salvage.is_whole = true;
        }
        steps.extend([
            FileStep::Append { file, bytes: salvage.bytes.clone() },
            FileStep::Sync { file },
            FileStep::SyncDir { path: self.names.dir.clone() },
        ]);
        if !mutant::is(Mutant::RepairNotListed) {
            steps.extend(self.names.manifest_steps(&manifest, ids));
        }
        let (ticket, steps_len) = (ids.ticket(), steps.len());
        effects.push(Effect::Files { ticket, steps });
        self.closed_len += salvage.old_len;
        self.repair = Some(Repair { ticket, file, part: next, old, manifest, salvage, steps_len });
        Wish::Nothing
    }

    fn repair_done(
        &mut self,
        now: Now,
        error: Option<(usize, IoError)>,
        ids: &mut Ids,
        effects: &mut Effects,
    ) {
        let repair = self.repair.take().expect("checked by the caller");
        if let Some((step, error)) = error {
            tracing::warn!("Can't move the AOF to a fresh file: {error}");
            self.closed_len -= repair.salvage.old_len;
            self.is_old_doubtful |= error.path == self.names.path(&repair.old.name)
                && !mutant::is(Mutant::GivenUpFileSyncedAgain);
            self.repair_at_us = now.mono_us + REPAIR_INTERVAL_US;
            let mut steps = vec![FileStep::Close { file: repair.file }];
            if step + STEPS_FROM_RENAME >= repair.steps_len && !mutant::is(Mutant::DoubtfulRepairAdopted) {
                // Its manifest may be the one on disk: the file it names stays, whole and durable, until one is that does
                // without it. Nobody is answered by it: it may as well not be the one.
                self.manifest.history.push(repair.part);
            } else if step + STEPS_FROM_RENAME >= repair.steps_len {
                self.adopt_repair(repair, ids, effects);
                self.journal.distrust(now, error);
                return;
            } else {
                steps.push(FileStep::Remove { path: self.names.path(&repair.part.name) });
            }
            effects.push(Effect::Files { ticket: ids.ticket(), steps });
            return;
        }
        let is_whole = repair.salvage.is_whole;
        self.adopt_repair(repair, ids, effects);
        tracing::info!("The AOF goes on in a fresh file; nothing was lost");
        if !is_whole {
            tracing::warn!("Parts of the old AOF file may be damaged (appendfsync no): rewriting it");
            self.schedule();
        }
    }

    /// Goes on in the fresh file. The old one is cut where the fresh one begins; until that is done, and if it fails,
    /// our loader knows the end by the fresh file's first header.
    fn adopt_repair(&mut self, repair: Repair, ids: &mut Ids, effects: &mut Effects) {
        self.journal.salvaged(repair.file, &repair.salvage);
        self.is_old_doubtful = false;
        self.manifest = repair.manifest;
        self.current = Some(repair.part);
        let path = self.names.path(&repair.old.name);
        let steps = vec![FileStep::Truncate { path, len: repair.salvage.old_len }];
        effects.push(Effect::Files { ticket: ids.ticket(), steps });
    }
}

fn log_child_failure(end: &ChildEnd) {
    match end {
        ChildEnd::Killed(signal) => tracing::warn!("Background AOF rewrite terminated by signal {signal}"),
        ChildEnd::Exited(status) => {
            tracing::warn!("Background AOF rewrite terminated with error (exit {status})")
        }
        ChildEnd::Failed(error) => tracing::warn!("Background AOF rewrite terminated with error: {error}"),
        ChildEnd::Written(_) => {}
    }
}
