//! BACKUP: a copy of the data files that is consistent, durable, read again, and listed with its checksums.
//!
//! ```text
//!   asked ──> drain: journal synced up to here ──> copy, on a thread of the host ──> answer
//!        └──> (no log) snapshot ──────────────────┘
//!
//!   DIR/perdura-backup.incomplete     there until everything else is; empty
//!   DIR/appendonlydir/…               the base (a hard link where the file system has them), the log up to a batch's end
//!   DIR/dump.rdb                      instead of a set, where there is no log
//!   DIR/perdura-backup.sha256         the inventory: `sha256sum -c` reads it too
//! ```
//!
//! Always true: a directory without an inventory is no backup; what is linked never changes again, what may change is
//! copied; while a backup runs no file that it needs is removed; files are decoded as at a start before they are listed.
//!
//! Not here: who may ask, and the answer (`node/backup.rs`); verifying from outside, object stores (`engine/tools`).

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    append_only::{Ids, Names},
    log_reader::{LogReader, Next},
    manifest::Manifest,
    recovery::{self, read_range},
    set_files::{self, Handover, SetFile},
};
use crate::{
    bytes::sha,
    host::{
        BACKUP_FILE, BackupJob, BackupPart, BackupWritten, Disk, EEXIST, EIO, ENOENT, FileId, FileStep,
        IoError, Ticket,
    },
    rdb::{DecodeSettings, Decoder, Event},
    store::Limits,
    time::Now,
};

/// The inventory's name in a backup.
pub const INVENTORY: &str = "perdura-backup.sha256";
/// What stands in a backup until it is complete.
pub const INCOMPLETE: &str = "perdura-backup.incomplete";
/// First words of an inventory.
const INVENTORY_TITLE: &str = "# perdura backup";

/// Bytes copied or read at a time.
const PIECE_BYTES: usize = 1 << 20;

// --- The work, as every host runs it ------------------------------------------------------------------------------

/// Makes a backup: what each host runs, off the engine's thread. `progress` is told of bytes read so far.
///
/// # Errors
/// The first step that failed; what was made so far stays, marked as incomplete.
pub fn write(
    job: &BackupJob,
    disk: &mut dyn Disk,
    progress: &mut dyn FnMut(u64),
) -> Result<BackupWritten, IoError> {
    let mut work = Writing { job, disk, done: 0, progress };
    let result = work.run();
    if result.is_err() {
        // The step's own error is the one worth reporting.
        let _ = work.disk.perform(&FileStep::Close { file: BACKUP_FILE });
    }
    result
}

struct Writing<'a> {
    job: &'a BackupJob,
    disk: &'a mut dyn Disk,
    done: u64,
    progress: &'a mut dyn FnMut(u64),
}

/// A file of the inventory.
struct Line {
    path: String,
    len: u64,
    sum: String,
}

impl Writing<'_> {
    fn run(&mut self) -> Result<BackupWritten, IoError> {
        self.begin()?;
        let mut written = BackupWritten::default();
        for part in &self.job.parts {
            written.linked_bytes += self.place(part)?;
        }
        if let Some((path, text)) = &self.job.manifest {
            self.create(path, text.as_bytes())?;
        }
        for dir in &self.job.dirs {
            self.disk.perform(&FileStep::SyncDir { path: self.path(dir) })?;
        }
        let lines = self.list()?;
        self.decode()?;
        written.files = lines.len() as u64;
        written.bytes = lines.iter().map(|line| line.len).sum();
        self.finish(&lines)?;
        Ok(written)
    }

    /// A name in the backup, as the disk knows it.
    fn path(&self, name: &str) -> String {
        match name {
            "" => self.job.dir.clone(),
            _ => format!("{}/{name}", self.job.dir),
        }
    }

    /// Makes the directories, the mark first.
    fn begin(&mut self) -> Result<(), IoError> {
        match self.disk.list(&self.job.dir) {
            Ok(entries) if !entries.is_empty() => {
                return Err(IoError { operation: "mkdir", path: self.job.dir.clone(), errno: EEXIST });
            }
            Err(error) if error.errno != ENOENT => return Err(error),
            _ => {}
        }
        let parent = super::parent_of(&self.job.dir);
        let steps = [
            FileStep::CreateDir { path: self.job.dir.clone() },
            FileStep::SyncDir { path: parent.to_string() },
        ];
        recovery::perform_all(&steps, self.disk)?;
        self.create(INCOMPLETE, b"")?;
        self.disk.perform(&FileStep::SyncDir { path: self.path("") })?;
        for dir in self.job.dirs.iter().filter(|dir| !dir.is_empty()) {
            self.disk.perform(&FileStep::CreateDir { path: self.path(dir) })?;
        }
        Ok(())
    }

    /// Makes a file durable under a new name.
    fn create(&mut self, name: &str, bytes: &[u8]) -> Result<(), IoError> {
        let (file, path) = (BACKUP_FILE, self.path(name));
        let steps = [
            FileStep::CreateExclusive { file, path },
            FileStep::Append { file, bytes: Bytes::copy_from_slice(bytes) },
            FileStep::Sync { file },
            FileStep::Close { file },
        ];
        recovery::perform_all(&steps, self.disk)
    }

    /// Links or copies a file; bytes that were linked.
    fn place(&mut self, part: &BackupPart) -> Result<u64, IoError> {
        let (from, to) = (part.from.clone(), self.path(&part.to));
        if part.is_final && self.disk.perform(&FileStep::Link { from, to: to.clone() }).is_ok() {
            return Ok(self.disk.len(&to)?.unwrap_or(0));
        }
        let file = BACKUP_FILE;
        self.disk.perform(&FileStep::CreateExclusive { file, path: to })?;
        let copied = self.copy(part, file);
        self.disk.perform(&FileStep::Close { file })?;
        copied.map(|()| 0)
    }

    fn copy(&mut self, part: &BackupPart, file: FileId) -> Result<(), IoError> {
        let mut at = 0;
        while part.len.is_none_or(|len| at < len) {
            let wanted = part.len.map_or(u64::MAX, |len| len - at).min(PIECE_BYTES as u64) as usize;
            let bytes = read_range(&part.from, at, wanted, self.disk)?;
            if bytes.is_empty() {
                break;
            }
            at += bytes.len() as u64;
            self.disk.perform(&FileStep::Append { file, bytes: Bytes::from(bytes) })?;
            self.advance(at);
        }
        if part.len.is_some_and(|len| at < len) {
            // A write to it failed meanwhile, and it was cut: what was to be backed up goes on elsewhere.
            return Err(IoError { operation: "read", path: part.from.clone(), errno: EIO });
        }
        self.done += at;
        self.disk.perform(&FileStep::Sync { file })
    }

    fn advance(&mut self, in_file: u64) {
        (self.progress)(self.done + in_file);
    }

    /// Reads every file of the backup again and takes its checksum.
    fn list(&mut self) -> Result<Vec<Line>, IoError> {
        let manifest = self.job.manifest.iter().map(|(path, _)| path);
        let names: Vec<String> =
            self.job.parts.iter().map(|part| &part.to).chain(manifest).cloned().collect();
        names.into_iter().map(|name| self.sum(name)).collect()
    }

    fn sum(&mut self, name: String) -> Result<Line, IoError> {
        let path = self.path(&name);
        let (mut hasher, mut len) = (Sha256::new(), 0);
        loop {
            let bytes = read_range(&path, len, PIECE_BYTES, self.disk)?;
            hasher.update(&bytes);
            len += bytes.len() as u64;
            self.advance(len);
            if bytes.len() < PIECE_BYTES {
                break;
            }
        }
        self.done += len;
        Ok(Line { path: name, len, sum: sha::hex(&hasher.finalize()) })
    }

    /// Reads the data as a start would: a file that was rotten before it was copied has a right checksum too.
    fn decode(&mut self) -> Result<(), IoError> {
        let Some((path, text)) = &self.job.manifest else {
            let part = self.job.parts.first().expect("a backup has a file");
            return self.decode_rdb(&self.path(&part.to)).map(|_| ());
        };
        let dir = self.path(path.rsplit_once('/').map_or("", |(dir, _)| dir));
        let names = Names { dir, prefix: String::new() };
        let manifest = Manifest::parse(text.as_bytes()).expect("it was written by us");
        let mut handover = Handover::default();
        for file in set_files::set_files(&names, &manifest, true, self.disk)? {
            self.decode_file(&file, &mut handover)?;
        }
        Ok(())
    }

    fn decode_file(&mut self, file: &SetFile, handover: &mut Handover) -> Result<(), IoError> {
        if file.len == 0 {
            return Ok(());
        }
        let mut reader = if file.is_rdb {
            let (told, end) = self.decode_rdb(&file.path)?;
            *handover = told;
            handover.reader_after_snapshot(file.path.clone(), end, true)
        } else {
            handover.reader(file, true)
        };
        self.decode_log(&mut reader, &file.path)?;
        handover.take_over(&reader);
        Ok(())
    }

    fn decode_rdb(&mut self, path: &str) -> Result<(Handover, u64), IoError> {
        let settings = DecodeSettings { limits: Limits::default(), skip_checksum: false };
        let (mut decoder, mut handover, mut at) = (Decoder::new(settings), Handover::default(), 0);
        loop {
            match decoder.next() {
                Ok(Event::NeedMore) => {
                    let bytes = read_range(path, at, PIECE_BYTES, self.disk)?;
                    at += bytes.len() as u64;
                    decoder.feed(&bytes);
                    if bytes.len() < PIECE_BYTES {
                        decoder.finish_input();
                    }
                }
                Ok(Event::Aux { name, value }) => handover.take_note(&name, &value),
                Ok(Event::End) => return Ok((handover, decoder.offset())),
                Ok(_) => {}
                Err(damage) => {
                    tracing::warn!("Backup: {path}, offset {}: {}", damage.offset, damage.what);
                    return Err(damaged(path));
                }
            }
        }
    }

    fn decode_log(&mut self, reader: &mut LogReader, path: &str) -> Result<(), IoError> {
        let mut previous_len = 0;
        loop {
            match reader.next(self.disk, &mut previous_len)? {
                Next::Command => {}
                Next::End => return Ok(()),
                Next::Bad(bad) => {
                    tracing::warn!("Backup: {path}, offset {}: {}", bad.found_at, bad.reason);
                    return Err(damaged(path));
                }
            }
        }
    }

    /// Writes the inventory and takes the mark away. From here on it is a backup.
    fn finish(&mut self, lines: &[Line]) -> Result<(), IoError> {
        let mut text = format!("{INVENTORY_TITLE}, created-ms {}", self.job.created_ms);
        if let Some(offset) = self.job.offset {
            text += &format!(", log offset {offset}");
        }
        text.push('\n');
        for line in lines {
            text += &format!("{}  {}\n", line.sum, line.path);
        }
        let temp = format!("{INVENTORY}.temp");
        self.create(&temp, text.as_bytes())?;
        let steps = [
            FileStep::Remove { path: self.path(INCOMPLETE) },
            FileStep::Rename { from: self.path(&temp), to: self.path(INVENTORY) },
            FileStep::SyncDir { path: self.path("") },
        ];
        recovery::perform_all(&steps, self.disk)
    }
}

fn damaged(path: &str) -> IoError {
    IoError { operation: "verify", path: path.into(), errno: EIO }
}

// --- When, and what INFO says ---------------------------------------------------------------------------------------

/// What a backup is made of, and where it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    /// The log is being synced up to here.
    Draining {
        dir: String,
        cut: u64,
    },
    /// There is no log: a snapshot is wanted, or being made.
    Snapshotting {
        dir: String,
        has_begun: bool,
    },
    /// The host works.
    Writing {
        ticket: Ticket,
    },
}

/// Figures for INFO.
#[derive(Clone, Debug, Default)]
pub struct BackupStats {
    /// The last one failed, and why.
    pub error: Option<String>,
    /// Those begun so far.
    pub count: u64,
    /// When the last verified one was complete, seconds since 1970.
    pub last_s: Option<u64>,
    /// How long it took, milliseconds.
    pub last_ms: u64,
    /// Its size, bytes.
    pub last_bytes: u64,
    /// Bytes read by the present one, of about so many.
    pub done_bytes: u64,
    /// Copied once and read twice.
    pub total_bytes: u64,
}

/// What the node must do next for a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// The log is to be synced up to this offset, then its files be listed.
    Log(u64),
    /// A snapshot.
    Snapshot,
}

/// The backups of one server run: one at a time.
#[derive(Clone, Debug)]
pub struct Backups {
    phase: Phase,
    began_us: u64,
    /// Figures for INFO.
    pub stats: BackupStats,
}

impl Default for Backups {
    fn default() -> Backups {
        Backups { phase: Phase::Idle, began_us: 0, stats: BackupStats::default() }
    }
}

impl Backups {
    /// One is under way.
    pub fn is_running(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// Files of the set may be needed: none is to be removed.
    pub fn needs_files(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. } | Phase::Writing { .. })
    }

    /// Begins one of the log, up to this offset.
    pub fn begin_with_log(&mut self, dir: String, cut: u64, now: Now) {
        self.began(now);
        self.phase = Phase::Draining { dir, cut };
    }

    /// Begins one of a snapshot that is still to be made.
    pub fn begin_with_snapshot(&mut self, dir: String, now: Now) {
        self.began(now);
        self.phase = Phase::Snapshotting { dir, has_begun: false };
    }

    fn began(&mut self, now: Now) {
        self.began_us = now.mono_us;
        self.stats.count += 1;
        (self.stats.done_bytes, self.stats.total_bytes) = (0, 0);
    }

    /// When the present one began, monotonic microseconds; that of the last one if there is none.
    pub fn began_us(&self) -> u64 {
        self.began_us
    }

    /// What it waits for.
    pub fn need(&self) -> Need {
        match &self.phase {
            Phase::Draining { cut, .. } => Need::Log(*cut),
            Phase::Snapshotting { has_begun: false, .. } => Need::Snapshot,
            _ => Need::Nothing,
        }
    }

    /// The snapshot it waits for has begun.
    pub fn snapshot_begun(&mut self) {
        if let Phase::Snapshotting { has_begun, .. } = &mut self.phase {
            *has_begun = true;
        }
    }

    /// It waits for the snapshot that has just ended.
    pub fn waits_for_snapshot(&self) -> bool {
        matches!(self.phase, Phase::Snapshotting { has_begun: true, .. })
    }

    /// The snapshot it waits for was called off: another is wanted.
    pub fn snapshot_lost(&mut self) {
        if let Phase::Snapshotting { has_begun, .. } = &mut self.phase {
            *has_begun = false;
        }
    }

    /// Everything is there: the work for the host.
    pub fn job(
        &mut self,
        parts: Vec<BackupPart>,
        manifest: Option<(String, String)>,
        offset: Option<u64>,
        bytes: u64,
        now: Now,
        ids: &mut Ids,
    ) -> Option<BackupJob> {
        let (Phase::Draining { dir, .. } | Phase::Snapshotting { dir, .. }) = &self.phase else {
            return None;
        };
        let ticket = ids.ticket();
        let mut dirs = Vec::new();
        if let Some((path, _)) = &manifest {
            dirs.extend(path.rsplit_once('/').map(|(dir, _)| dir.to_string()));
        }
        dirs.push(String::new());
        let dir = dir.clone();
        self.phase = Phase::Writing { ticket };
        (self.stats.done_bytes, self.stats.total_bytes) = (0, 2 * bytes);
        Some(BackupJob { ticket, dir, parts, manifest, dirs, offset, created_ms: now.wall_ms() })
    }

    /// The host tells how far it is.
    pub fn progressed(&mut self, done: u64) {
        self.stats.done_bytes = done;
    }

    /// It could not even begin, or not go on.
    pub fn fail(&mut self, reason: String) {
        tracing::warn!("Backup failed: {reason}");
        self.phase = Phase::Idle;
        self.stats.error = Some(reason);
    }

    /// The host is done; `false` if with another one.
    pub fn ended(&mut self, ticket: Ticket, result: Result<BackupWritten, IoError>, now: Now) -> bool {
        if self.phase != (Phase::Writing { ticket }) {
            return false;
        }
        match result {
            Ok(written) => {
                self.phase = Phase::Idle;
                self.stats.error = None;
                self.stats.last_s = Some(now.wall_s());
                self.stats.last_ms = now.mono_us.saturating_sub(self.began_us) / 1000;
                self.stats.last_bytes = written.bytes;
                tracing::info!(
                    "Backup complete and verified: {} files, {} bytes, {} of them linked",
                    written.files,
                    written.bytes,
                    written.linked_bytes
                );
            }
            Err(error) => {
                self.fail(format!("{} {}: errno {}", error.operation, error.path, error.errno));
            }
        }
        true
    }
}
