//! The simulated disk: what the engine's host sees of the file system, with faults, crashes and their images.
//!
//! Exists because the bugs worth finding live between a write and its sync. Every operation is numbered, and before
//! and after each the power may go; what is there afterwards is one of the states a real file system may leave.
//!
//! Always true: what was synced, under a name that was synced, survives every crash (except on `LyingDisk`); an
//! operation of a dead process changes nothing; the same calls give the same results and the same digest.
//!
//! Not here: what each file system allows (`profile.rs`), which image comes back (`image.rs`), when things happen
//! (`world.rs`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use perdura_core::host::{self, DirEntry, EEXIST, EIO, ENOENT, ENOSPC, FileId, FileStep, IoError};
use perdura_core::time::Now;

use crate::black_box::{self, PowerLoss};
use crate::faults::{Fault, FaultKind, Faults, Operation};
use crate::image::Image;
use crate::legal;
use crate::mutant::HostMutant;
use crate::profile::Profile;
use crate::rng::SimRng;
use crate::sometimes::{Happening, Sometimes};
use crate::trace::{EntryRef, Trace};
use crate::volume::{Fate, Ino, Node, PAGE_BYTES, ROOT, SECTOR_BYTES, Slot, View, Volume, errno};

/// A process as the disk knows it; never used again, unlike a process id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProcessId(pub u32);

/// A directory that paths of a process start from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cwd(Ino);

impl Default for Cwd {
    fn default() -> Cwd {
        Cwd(ROOT)
    }
}

/// Where in an operation a crash strikes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Moment {
    /// Before it did anything.
    Before,
    /// In a write, after the last whole page: the kernel looks for SIGKILL between pages
    /// (`generic_perform_write`). Elsewhere the same as `Before`.
    Within,
    /// After it took effect, before the caller knows.
    After,
}

/// A sync that was asked for and has not ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncStarted {
    process: ProcessId,
    description: DescriptionId,
    ino: Ino,
    path: String,
    /// Changes below this are covered; later ones may wait for the next sync.
    seq: u64,
}

/// The simulated disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    volume: Volume,
    processes: BTreeMap<ProcessId, Process>,
    descriptions: BTreeMap<DescriptionId, Description>,
    process_next: u32,
    description_next: u32,
    faults: Faults,
    capacity: Option<u64>,
    now: Now,
    spent_us: u64,
    operation_next: u64,
    armed: Option<(u64, Moment)>,
    has_tripped: bool,
    tripped_by: Option<ProcessId>,
    mutant: Option<HostMutant>,
    rng: SimRng,
    trace: Trace,
    sometimes: Sometimes,
    /// The losses of power so far, if somebody wants to see them.
    black_box: Option<Vec<PowerLoss>>,
}

#[derive(Clone, Debug)]
struct Process {
    cwd: Ino,
    files: BTreeMap<FileId, DescriptionId>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct DescriptionId(u32);

/// An open file description: shared by a process and the children that inherited it.
#[derive(Clone, Debug)]
struct Description {
    ino: Ino,
    path: String,
    /// Write-back failures of the file that this description has reported. Each sees each once: errseq_t, Linux 4.13
    /// (Layton), and so a child that syncs an inherited file takes the error from its parent.
    errors_seen: u64,
}

/// Error number handed to a process that is dead: nobody reads it.
const EOWNERDEAD: i32 = 130;

impl SimDisk {
    /// An empty file system. `seed` decides what a failed sync still wrote, nothing else.
    pub fn new(profile: Profile, seed: u64) -> SimDisk {
        SimDisk {
            volume: Volume::new(profile),
            processes: BTreeMap::new(),
            descriptions: BTreeMap::new(),
            process_next: 1,
            description_next: 1,
            faults: Faults::default(),
            capacity: None,
            now: Now::default(),
            spent_us: 0,
            operation_next: 0,
            armed: None,
            has_tripped: false,
            tripped_by: None,
            mutant: None,
            rng: SimRng::new(seed),
            trace: Trace::default(),
            sometimes: Sometimes::default(),
            black_box: None,
        }
    }

    // Processes.

    /// A process that starts in the root directory with nothing open.
    pub fn spawn(&mut self) -> ProcessId {
        self.add_process(Process { cwd: ROOT, files: BTreeMap::new() })
    }

    /// A copy of a process, which shares what its parent has open: fork(2).
    ///
    /// # Panics
    /// The parent is dead.
    pub fn fork(&mut self, parent: ProcessId) -> ProcessId {
        self.add_process(self.processes[&parent].clone())
    }

    /// The end of a process: its files are closed, the page cache stays.
    pub fn kill(&mut self, process: ProcessId) {
        self.processes.remove(&process);
        self.forget_closed();
    }

    /// Whether the process still runs.
    pub fn is_alive(&self, process: ProcessId) -> bool {
        self.processes.contains_key(&process)
    }

    /// Goes to another directory, whose absolute path is returned; paths of this process start there from now on.
    ///
    /// # Errors
    /// `ENOENT` and `ENOTDIR`.
    pub fn change_dir(&mut self, process: ProcessId, path: &str) -> Result<String, i32> {
        match self.node(process, path)? {
            Node::Dir(dir) => {
                self.set_cwd(process, Cwd(dir));
                Ok(self.volume.path_of(dir))
            }
            Node::File(_) => Err(errno::ENOTDIR),
        }
    }

    /// Where a living process stands.
    pub(crate) fn cwd(&self, process: ProcessId) -> Cwd {
        Cwd(self.processes[&process].cwd)
    }

    /// Puts a living process elsewhere.
    pub(crate) fn set_cwd(&mut self, process: ProcessId, cwd: Cwd) {
        if let Some(process) = self.processes.get_mut(&process) {
            process.cwd = cwd.0;
        }
    }

    /// The disk as this process sees it, for use in place.
    pub fn handle(&mut self, process: ProcessId) -> Handle<'_> {
        Handle { disk: self, process }
    }

    // What goes wrong.

    /// Plans a fault.
    pub fn add_fault(&mut self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Strikes out all faults that did not fire yet.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// Bytes that all files together may have; `None` for no bound. Space comes back when files go.
    pub fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    /// Bytes that may still be written.
    pub fn free_bytes(&self) -> u64 {
        let open: BTreeSet<Ino> = self.descriptions.values().map(|description| description.ino).collect();
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.volume.used_bytes(&open)))
    }

    /// Stops everything at operation `number`. From then on every operation of everybody fails and does nothing,
    /// until the caller, who sees [`has_tripped`](Self::has_tripped), has decided what crashed.
    pub fn arm(&mut self, number: u64, moment: Moment) {
        (self.armed, self.has_tripped) = (Some((number, moment)), false);
    }

    /// Forgets the crash point, reached or not.
    pub fn disarm(&mut self) {
        (self.armed, self.has_tripped) = (None, false);
    }

    /// Whether the crash point was reached.
    pub fn has_tripped(&self) -> bool {
        self.has_tripped
    }

    /// Whose operation reached the crash point.
    pub fn tripped_by(&self) -> Option<ProcessId> {
        self.tripped_by.filter(|_| self.has_tripped)
    }

    /// Makes the host that works on this disk make a mistake.
    pub fn set_mutant(&mut self, mutant: Option<HostMutant>) {
        self.mutant = mutant;
    }

    fn is(&self, mutant: HostMutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Flips a bit on the platter and in the cache: decay at rest (Bairavasundaram et al., "An Analysis of Data Corruption in
    /// the Storage Stack", FAST 2008). False if there is no such byte.
    pub fn rot(&mut self, path: &str, offset: u64, bit: u8) -> bool {
        self.damage(path, offset, 1, Happening::BitRot, |byte| *byte ^= 1 << (bit % 8))
    }

    /// A sector reads as zeroes from now on: what a drive gives for one it had to replace (latent sector errors,
    /// Bairavasundaram et al., SIGMETRICS 2007). False if there is no such sector.
    pub fn zero_sector(&mut self, path: &str, offset: u64) -> bool {
        let start = offset - offset % SECTOR_BYTES;
        self.damage(path, start, SECTOR_BYTES, Happening::SectorZeroed, |byte| *byte = 0)
    }

    /// A file is gone, as after a repair of the file system that moved it to lost+found: fsck(8). False if there is none.
    pub fn vanish(&mut self, path: &str) -> bool {
        let Ok(slot) = self.volume.slot(ROOT, path) else { return false };
        let Some(Node::File(_)) = self.volume.at(&slot) else { return false };
        self.volume.forget_name(&slot);
        self.sometimes.note(Happening::FileVanished);
        true
    }

    fn damage(
        &mut self,
        path: &str,
        offset: u64,
        len: u64,
        mark: Happening,
        change: impl Fn(&mut u8),
    ) -> bool {
        let Ok(Node::File(ino)) = self.volume.resolve(View::Cache, ROOT, path) else { return false };
        let file = self.volume.files.get_mut(&ino).expect("names lead to files that exist");
        let mut is_hit = false;
        for bytes in [&mut file.cache, &mut file.platter] {
            for byte in bytes.iter_mut().skip(offset as usize).take(len as usize) {
                change(byte);
                is_hit = true;
            }
        }
        if is_hit {
            self.sometimes.note(mark);
        }
        is_hit
    }

    /// Drops clean pages, as the kernel does when memory is short: after a failed sync this shows what is really there.
    pub fn evict_cache(&mut self) {
        let evicted = self.volume.files.values_mut().filter_map(|file| file.evict().then_some(())).count();
        (0..evicted).for_each(|_| self.sometimes.note(Happening::CacheEvicted));
    }

    /// The power goes, and the disk comes back as one of its legal images. Every process is dead.
    pub fn lose_power(&mut self, rng: &mut SimRng) {
        let image = self.draw_image(rng);
        debug_assert_eq!(self.check_image(&image), Ok(()));
        self.lose_power_to(&image);
    }

    /// The power goes, and the disk comes back as this image of it.
    pub fn lose_power_to(&mut self, image: &Image) {
        let seen = self.black_box.is_some().then(|| black_box::files_of(self));
        self.processes.clear();
        self.descriptions.clear();
        self.volume.become_image(image);
        self.disarm();
        if let Some(mut files) = seen {
            black_box::fill_in_after(&mut files, self);
            let (mono_us, operation) = (self.now.mono_us, self.operation_next);
            self.black_box.get_or_insert_default().push(PowerLoss { mono_us, operation, files });
        }
        self.sometimes.note(Happening::PowerLost);
        image.marks.iter().for_each(|mark| self.sometimes.note(*mark));
        self.trace.mix(self.contents_digest());
    }

    /// One of the states the platter may be in if the power goes now.
    pub fn draw_image(&self, rng: &mut SimRng) -> Image {
        self.volume.draw_image(rng)
    }

    /// States that differ in coarse ways, at most `limit`, and whether these are all of them.
    pub fn images(&self, limit: usize) -> (Vec<Image>, bool) {
        self.volume.enumerate_images(limit)
    }

    /// Whether the platter may be in this state if the power goes now.
    ///
    /// # Errors
    /// What is impossible about it.
    pub fn check_image(&self, image: &Image) -> Result<(), String> {
        legal::check(&self.volume, image)
    }

    // What is known.

    /// How much of this file, from its start, every image keeps under this name; `None` if not even the name.
    ///
    /// For checks at the moment a reply leaves: what it rests on must be inside.
    pub fn durable_len(&self, path: &str) -> Option<u64> {
        let Ok(Node::File(ino)) = self.volume.resolve(View::Cache, ROOT, path) else { return None };
        let is_certain = self.volume.resolve(View::Platter, ROOT, path) == Ok(Node::File(ino));
        (is_certain && !self.is_name_at_stake(path)).then(|| self.volume.files[&ino].durable_len())
    }

    /// The file as reads see it, without counting as an operation; `None` if there is none.
    pub fn peek(&self, path: &str) -> Option<&[u8]> {
        match self.volume.resolve(View::Cache, ROOT, path) {
            Ok(Node::File(ino)) => Some(&self.volume.files[&ino].cache),
            _ => None,
        }
    }

    /// All files by path from the root, with their lengths, without counting as an operation.
    pub fn files(&self) -> BTreeMap<String, u64> {
        let mut files = BTreeMap::new();
        let mut waiting = vec![(String::new(), ROOT)];
        while let Some((folder, dir)) = waiting.pop() {
            for (name, ino) in &self.volume.dirs[&dir].entries {
                let path = if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") };
                match self.volume.files.get(ino) {
                    Some(file) => drop(files.insert(path, file.len())),
                    None => waiting.push((path, *ino)),
                }
            }
        }
        files
    }

    /// Number the next operation gets.
    pub fn operation_next(&self) -> u64 {
        self.operation_next
    }

    /// The time, for stamps and reports.
    pub fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// Microseconds that faults made operations take longer since the last call.
    pub fn take_spent_us(&mut self) -> u64 {
        std::mem::take(&mut self.spent_us)
    }

    /// Keeps every operation, and what each loss of power does: for a report that shows them.
    pub fn record_everything(&mut self) {
        self.black_box = Some(Vec::new());
        self.trace.keep_all();
    }

    /// The losses of power since `record_everything`.
    pub fn losses(&self) -> &[PowerLoss] {
        self.black_box.as_deref().unwrap_or_default()
    }

    pub(crate) fn file_at(&self, path: &str) -> Option<&crate::volume::File> {
        match self.volume.resolve(View::Cache, ROOT, path) {
            Ok(Node::File(ino)) => self.volume.files.get(&ino),
            _ => None,
        }
    }

    /// Digest and last operations.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The trace, to take in what happens beside the disk.
    pub fn trace_mut(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// What has happened so far.
    pub fn sometimes(&self) -> &Sometimes {
        &self.sometimes
    }

    /// Counts something that happened beside the disk.
    pub fn note(&mut self, happening: Happening) {
        self.sometimes.note(happening);
    }

    // Work that takes its time: begun and ended at different moments.

    /// Appends to an open file: how many bytes got there, and why not all.
    pub fn append(&mut self, process: ProcessId, file: FileId, bytes: &Bytes) -> (u64, Option<IoError>) {
        let mut written = 0;
        let description = match self.description(process, file) {
            Ok(description) => description,
            Err(error) => return (0, Some(error)),
        };
        while written < bytes.len() {
            let rest = if self.is(HostMutant::ShortWriteSentAgain) { 0 } else { written };
            match self.write_once(process, description, bytes.slice(rest..)) {
                Ok(count) => written += count,
                Err(error) => return (written as u64, Some(error)),
            }
            if self.is(HostMutant::ShortWriteTakenForWhole) {
                break;
            }
        }
        (bytes.len() as u64, None)
    }

    /// How much longer than usual an append that begins now will take, microseconds: the device is slow, and the page cache is
    /// full of what waits for it (`dirty_ratio`, vm.txt of the kernel's documentation).
    pub fn append_stall_us(&mut self, process: ProcessId, file: FileId) -> u64 {
        let Ok(id) = self.description(process, file) else { return 0 };
        let stall_us = self.faults.next_slow(Operation::Write, &self.descriptions[&id].path).unwrap_or(0);
        if stall_us > 0 {
            self.sometimes.note(Happening::Slow);
        }
        stall_us
    }

    /// Begins to make durable what an open file holds now. Nothing is certain until `sync_end`.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn sync_begin(&mut self, process: ProcessId, file: FileId) -> Result<SyncStarted, IoError> {
        let description = self.description(process, file)?;
        let Description { ino, path, .. } = self.descriptions[&description].clone();
        if let Some(us) = self.faults.next_slow(Operation::Fdatasync, &path) {
            self.slow_down(Operation::Fdatasync, us);
        }
        let seq = self.volume.files[&ino].seq_next;
        Ok(SyncStarted { process, description, ino, path, seq })
    }

    /// Ends a sync. It counts as one operation, `fdatasync`.
    ///
    /// # Errors
    /// Pages are gone, now or earlier.
    pub fn sync_end(&mut self, started: &SyncStarted) -> Result<(), IoError> {
        let SyncStarted { process, description, ino, path, seq } = started;
        self.operate(*process, Operation::Fdatasync, path, |disk, fault| {
            disk.sync_file(*ino, Some(*description), *seq, fault)
        })
    }

    /// The kernel ends a sync whose process was killed meanwhile.
    pub fn sync_end_unattended(&mut self, started: &SyncStarted) {
        if self.volume.profile.is_honest() {
            self.volume.commit_file(started.ino, started.seq);
        }
        self.sometimes.note(Happening::SyncOutlivedProcess);
        self.trace.mix(started.seq);
    }

    // Inside.

    fn add_process(&mut self, process: Process) -> ProcessId {
        let id = ProcessId(self.process_next);
        self.process_next += 1;
        self.processes.insert(id, process);
        id
    }

    /// Runs one numbered operation: crash points around it, its fault, its line in the trace.
    fn operate(
        &mut self,
        process: ProcessId,
        operation: Operation,
        path: &str,
        act: impl FnOnce(&mut SimDisk, Option<i32>) -> Result<(), i32>,
    ) -> Result<(), IoError> {
        let failed = |errno| IoError { operation: operation.name(), path: path.into(), errno };
        loop {
            let number = self.begin(process).map_err(failed)?;
            let fault = self.fault(operation, path);
            if fault == Some(errno::EINTR) {
                if self.is(HostMutant::InterruptedSyncTakenForDone) {
                    return self.end(number, process, operation, path, 0, 0).map_err(failed);
                }
                self.end(number, process, operation, path, 0, errno::EINTR).map_err(failed)?;
                continue;
            }
            // A failed sync does something; anything else that fails does not.
            let result = match fault {
                Some(errno) if !matches!(operation, Operation::Fdatasync | Operation::Fsync) => Err(errno),
                _ => act(self, fault),
            };
            self.end(number, process, operation, path, 0, result.err().unwrap_or(0)).map_err(failed)?;
            return result.map_err(failed);
        }
    }

    /// Gives an operation its number, unless its process is dead or dies just now.
    fn begin(&mut self, process: ProcessId) -> Result<u64, i32> {
        if self.has_tripped || !self.is_alive(process) {
            self.sometimes.note(Happening::DeadProcessActed);
            return Err(EOWNERDEAD);
        }
        let number = self.operation_next;
        self.operation_next += 1;
        if self.armed == Some((number, Moment::Before)) {
            (self.has_tripped, self.tripped_by) = (true, Some(process));
            return Err(EOWNERDEAD);
        }
        Ok(number)
    }

    fn end(
        &mut self,
        number: u64,
        process: ProcessId,
        operation: Operation,
        path: &str,
        amount: u64,
        errno: i32,
    ) -> Result<(), i32> {
        let operation = operation.name();
        let mono_us = self.now.mono_us;
        self.trace.record(&EntryRef { number, mono_us, process: process.0, operation, path, amount, errno });
        if self.armed.is_some_and(|(at, moment)| at == number && moment != Moment::Before) {
            (self.has_tripped, self.tripped_by) = (true, Some(process));
            return Err(EOWNERDEAD);
        }
        Ok(())
    }

    /// The error that a planned fault means for anything but a write; faults that only fit writes do nothing.
    fn fault(&mut self, operation: Operation, path: &str) -> Option<i32> {
        match self.faults.next(operation, path)? {
            FaultKind::Errno(errno) => {
                self.sometimes.note(Happening::ErrorByPlan);
                Some(errno)
            }
            FaultKind::Interrupted => {
                self.sometimes.note(Happening::Interrupted);
                Some(errno::EINTR)
            }
            FaultKind::Slow(us) => {
                self.slow_down(operation, us);
                None
            }
            FaultKind::Short(_) | FaultKind::Writeback | FaultKind::Lost | FaultKind::Misdirected(_) => None,
        }
    }

    fn slow_down(&mut self, operation: Operation, us: u64) {
        self.spent_us += us;
        self.sometimes.note(Happening::Slow);
        if us > 1_000_000 && matches!(operation, Operation::Fdatasync | Operation::Fsync) {
            self.sometimes.note(Happening::SyncOverOneSecond);
        }
    }

    /// One write(2) at the end of the file: how many bytes it took.
    fn write_once(
        &mut self,
        process: ProcessId,
        description: DescriptionId,
        bytes: Bytes,
    ) -> Result<usize, IoError> {
        let Description { ino, path, .. } = self.descriptions[&description].clone();
        let failed = |errno| IoError { operation: Operation::Write.name(), path: path.clone(), errno };
        let number = self.begin(process).map_err(failed)?;
        let outcome = self.write_outcome(number, ino, &path, bytes.len());
        if let Ok(Outcome { count, fate, is_lost_later }) = outcome {
            self.write(ino, bytes.slice(..count), fate);
            if is_lost_later {
                self.sometimes.note(Happening::WritebackFailed);
                self.fail_writeback(ino);
            }
        }
        let count = outcome.map_or(0, |outcome| outcome.count);
        let errno = outcome.err().unwrap_or(0);
        self.end(number, process, Operation::Write, &path, count as u64, errno).map_err(failed)?;
        match errno {
            // Interrupted before any byte: the caller goes round again.
            0 | errno::EINTR => Ok(count),
            errno => Err(failed(errno)),
        }
    }

    fn write_outcome(&mut self, number: u64, ino: Ino, path: &str, len: usize) -> Result<Outcome, i32> {
        let mut outcome = Outcome { count: len, fate: Fate::Landed, is_lost_later: false };
        if self.armed == Some((number, Moment::Within)) {
            let offset = self.volume.files[&ino].len();
            outcome.count = whole_pages(offset, len);
            return Ok(outcome);
        }
        match self.faults.next(Operation::Write, path) {
            None => {}
            Some(FaultKind::Errno(errno)) => {
                self.sometimes.note(Happening::ErrorByPlan);
                return Err(errno);
            }
            Some(FaultKind::Interrupted) => {
                self.sometimes.note(Happening::Interrupted);
                return Err(errno::EINTR);
            }
            Some(FaultKind::Slow(us)) => self.slow_down(Operation::Write, us),
            Some(FaultKind::Short(count)) if count > 0 && (count as usize) < len => {
                self.sometimes.note(Happening::ShortWrite);
                outcome.count = count as usize;
            }
            Some(FaultKind::Short(_)) => {}
            Some(FaultKind::Writeback) => outcome.is_lost_later = true,
            Some(FaultKind::Lost) => {
                self.sometimes.note(Happening::WriteLost);
                outcome.fate = Fate::Lost;
            }
            Some(FaultKind::Misdirected(back)) => {
                self.sometimes.note(Happening::WriteMisdirected);
                outcome.fate = Fate::Misdirected(back);
            }
        }
        outcome.count = self.room_for(outcome.count)?;
        Ok(outcome)
    }

    /// How many of `count` bytes still fit: all, some (a short write), or `ENOSPC`.
    fn room_for(&mut self, count: usize) -> Result<usize, i32> {
        if self.capacity.is_none() {
            return Ok(count);
        }
        let room = self.free_bytes();
        if room < count as u64 {
            self.sometimes.note(Happening::NoSpace);
        }
        if room == 0 { Err(ENOSPC) } else { Ok(count.min(room as usize)) }
    }

    fn write(&mut self, ino: Ino, bytes: Bytes, fate: Fate) {
        if bytes.is_empty() {
            return;
        }
        let file = self.volume.files.get_mut(&ino).expect("open files exist");
        file.modified_us = self.now.wall_us;
        self.trace.mix_bytes(&bytes);
        file.append(bytes, fate);
    }

    /// What a sync does to a file. `seen_by` is the description that hears of errors, if it was opened before them.
    fn sync_file(
        &mut self,
        ino: Ino,
        seen_by: Option<DescriptionId>,
        seq: u64,
        fault: Option<i32>,
    ) -> Result<(), i32> {
        if let Some(errno) = fault {
            self.fail_writeback(ino);
            self.hear_error(ino, seen_by);
            return Err(errno);
        }
        let has_grown =
            self.volume.files.get(&ino).is_some_and(|file| file.len() > file.platter.len() as u64);
        let is_without_length = self.is(HostMutant::SyncWithoutLength) && has_grown;
        if self.volume.profile.is_honest() && !is_without_length {
            self.volume.commit_file(ino, seq);
            self.forget_closed();
        }
        if self.hear_error(ino, seen_by) {
            self.sometimes.note(Happening::SyncErrorSeenLater);
            return Err(EIO);
        }
        Ok(())
    }

    /// Whether the file had a failure that this description has not reported; it has now.
    fn hear_error(&mut self, ino: Ino, seen_by: Option<DescriptionId>) -> bool {
        let Some(file) = self.volume.files.get_mut(&ino) else { return false };
        let is_new = match seen_by.and_then(|id| self.descriptions.get_mut(&id)) {
            Some(description) => {
                std::mem::replace(&mut description.errors_seen, file.error_count) < file.error_count
            }
            None => file.is_error_unseen,
        };
        file.is_error_unseen &= !is_new;
        is_new
    }

    /// The device refused: some of the waiting pages got there, none will be tried again.
    fn fail_writeback(&mut self, ino: Ino) {
        let image = self.volume.draw_image(&mut self.rng.split());
        let how = self.volume.profile.failed_sync();
        let file = self.volume.files.get_mut(&ino).expect("open files exist");
        let reached = image.contents.get(&ino).cloned().unwrap_or_else(|| file.platter.clone());
        file.lose_pending(how, reached);
        file.error_count += 1;
        file.is_error_unseen = true;
        self.sometimes.note(match how {
            crate::profile::FailedSync::MarkClean => Happening::SyncFailedClean,
            crate::profile::FailedSync::Revert => Happening::SyncFailedReverted,
        });
        self.trace.mix(self.volume.files[&ino].len());
    }

    fn open(&mut self, process: ProcessId, file: FileId, path: &str, how: Open) -> Result<(), IoError> {
        self.operate(process, Operation::Open, path, |disk, _| {
            let ino = disk.open_ino(process, path, how)?;
            let inode = &disk.volume.files[&ino];
            let errors_seen = inode.error_count - u64::from(inode.is_error_unseen);
            let id = DescriptionId(disk.description_next);
            disk.description_next += 1;
            disk.descriptions.insert(id, Description { ino, path: path.into(), errors_seen });
            let previous = disk.processes.get_mut(&process).expect("it runs").files.insert(file, id);
            assert!(previous.is_none(), "{file:?} is open already");
            Ok(())
        })
    }

    fn open_ino(&mut self, process: ProcessId, path: &str, how: Open) -> Result<Ino, i32> {
        let slot = self.slot(process, path)?;
        match (self.volume.at(&slot), how) {
            (Some(_), Open::New) => Err(EEXIST),
            (Some(Node::Dir(_)), _) => Err(errno::EISDIR),
            (None, Open::Existing) => Err(ENOENT),
            (None, _) => Ok(self.volume.create_file(slot, self.now.wall_us)),
            (Some(Node::File(ino)), Open::Existing) => Ok(ino),
            (Some(Node::File(ino)), _) => {
                self.resize(ino, 0);
                Ok(ino)
            }
        }
    }

    fn resize(&mut self, ino: Ino, len: u64) {
        let file = self.volume.files.get_mut(&ino).expect("names lead to files that exist");
        if file.len() != len {
            file.resize(len);
            file.modified_us = self.now.wall_us;
        }
    }

    fn create_dir(&mut self, process: ProcessId, path: &str) -> Result<(), i32> {
        let slot = self.slot(process, path)?;
        match self.volume.at(&slot) {
            Some(Node::Dir(_)) => Ok(()),
            Some(Node::File(_)) => Err(EEXIST),
            None => {
                self.volume.create_dir(slot);
                Ok(())
            }
        }
    }

    fn remove(&mut self, process: ProcessId, path: &str) -> Result<(), i32> {
        let slot = match self.slot(process, path) {
            Err(ENOENT) => return Ok(()),
            slot => slot?,
        };
        match self.volume.unlink(slot) {
            Err(ENOENT) => Ok(()),
            result => result,
        }
    }

    fn truncate(&mut self, process: ProcessId, path: &str, len: u64) -> Result<(), IoError> {
        let ino = self.file(process, path).map_err(|errno| open_failed(path, errno))?;
        self.operate(process, Operation::Truncate, path, |disk, _| {
            if disk.volume.files[&ino].len() < len {
                return Err(errno::EINVAL);
            }
            disk.resize(ino, len);
            Ok(())
        })?;
        if self.is(HostMutant::CutNotSynced) {
            return Ok(());
        }
        self.operate(process, Operation::Fdatasync, path, |disk, fault| {
            disk.sync_file(ino, None, u64::MAX, fault)
        })
    }

    fn sync_path(&mut self, process: ProcessId, path: &str) -> Result<(), IoError> {
        match self.node(process, path).map_err(|errno| open_failed(path, errno))? {
            Node::Dir(_) => self.sync_dir(process, path),
            Node::File(ino) => self.operate(process, Operation::Fsync, path, |disk, fault| {
                disk.sync_file(ino, None, u64::MAX, fault)
            }),
        }
    }

    fn sync_dir(&mut self, process: ProcessId, path: &str) -> Result<(), IoError> {
        let dir = match self.node(process, path) {
            Ok(Node::Dir(dir)) => dir,
            Ok(Node::File(_)) => return Err(open_failed(path, errno::ENOTDIR)),
            Err(errno) => return Err(open_failed(path, errno)),
        };
        self.operate(process, Operation::Fsync, path, |disk, fault| {
            match fault {
                Some(errno) => return Err(errno),
                None if disk.is(HostMutant::DirSyncForgotten) => {}
                None if disk.volume.profile.is_honest() => disk.volume.commit_dir(dir),
                None => {}
            }
            disk.forget_closed();
            Ok(())
        })
    }

    fn node(&self, process: ProcessId, path: &str) -> Result<Node, i32> {
        let cwd = self.processes.get(&process).ok_or(EOWNERDEAD)?.cwd;
        self.volume.resolve(View::Cache, cwd, path)
    }

    fn file(&self, process: ProcessId, path: &str) -> Result<Ino, i32> {
        match self.node(process, path)? {
            Node::File(ino) => Ok(ino),
            Node::Dir(_) => Err(errno::EISDIR),
        }
    }

    fn slot(&self, process: ProcessId, path: &str) -> Result<Slot, i32> {
        let cwd = self.processes.get(&process).ok_or(EOWNERDEAD)?.cwd;
        self.volume.slot(cwd, path)
    }

    fn description(&self, process: ProcessId, file: FileId) -> Result<DescriptionId, IoError> {
        let process = self.processes.get(&process).ok_or(EOWNERDEAD);
        let id = process.and_then(|process| process.files.get(&file).copied().ok_or(errno::EBADF));
        id.map_err(|errno| IoError { operation: "fd", path: format!("#{}", file.0), errno })
    }

    /// Reads are not numbered: a crash at a read leaves what a crash at the next operation leaves.
    fn read_fault(&mut self, process: ProcessId, operation: Operation, path: &str) -> Result<(), IoError> {
        let failed = |errno| IoError { operation: operation.name(), path: path.into(), errno };
        if self.has_tripped || !self.is_alive(process) {
            return Err(failed(EOWNERDEAD));
        }
        match self.fault(operation, path) {
            Some(errno) if errno != errno::EINTR => {
                self.sometimes.note(Happening::ReadFailed);
                Err(failed(errno))
            }
            _ => Ok(()),
        }
    }

    fn forget_closed(&mut self) {
        let held: BTreeSet<DescriptionId> =
            self.processes.values().flat_map(|process| process.files.values().copied()).collect();
        self.descriptions.retain(|id, _| held.contains(id));
        self.volume.forget_unreachable(self.descriptions.values().map(|description| description.ino));
    }

    fn is_name_at_stake(&self, path: &str) -> bool {
        let mut dir = ROOT;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let is_it = |slot: &Slot| slot.dir == dir && &*slot.name == part;
            if self.volume.name_changes.iter().any(|change| change.slots().any(is_it)) {
                return true;
            }
            match self.volume.lookup(View::Cache, dir, part) {
                Some(Node::Dir(next)) => dir = next,
                _ => return false,
            }
        }
        false
    }

    fn contents_digest(&self) -> u64 {
        let mut digest = Trace::default();
        for path in self.files().keys() {
            digest.mix_bytes(path.as_bytes());
            digest.mix_bytes(self.peek(path).unwrap_or_default());
        }
        digest.digest()
    }
}

/// What becomes of one write.
#[derive(Clone, Copy)]
struct Outcome {
    count: usize,
    fate: Fate,
    is_lost_later: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// Must not exist.
    New,
    /// Created or emptied.
    Fresh,
    /// Must exist.
    Existing,
}

/// Bytes of a write that end with the last page end inside it.
fn whole_pages(offset: u64, len: usize) -> usize {
    let end = (offset + len as u64) / PAGE_BYTES * PAGE_BYTES;
    end.saturating_sub(offset) as usize
}

/// The disk in the hands of one process, for work done in place: start-up, SAVE, a snapshot child.
pub struct Handle<'a> {
    disk: &'a mut SimDisk,
    process: ProcessId,
}

impl host::Disk for Handle<'_> {
    fn perform(&mut self, step: &FileStep) -> Result<(), IoError> {
        let (disk, process) = (&mut *self.disk, self.process);
        match step {
            FileStep::CreateDir { path } => {
                disk.operate(process, Operation::Mkdir, path, |disk, _| disk.create_dir(process, path))
            }
            FileStep::CreateExclusive { file, path } => disk.open(process, *file, path, Open::New),
            FileStep::CreateTemp { file, path } => disk.open(process, *file, path, Open::Fresh),
            FileStep::OpenAppend { file, path } => disk.open(process, *file, path, Open::Existing),
            FileStep::Append { file, bytes } => disk.append(process, *file, bytes).1.map_or(Ok(()), Err),
            FileStep::Sync { file } => {
                let started = disk.sync_begin(process, *file)?;
                disk.sync_end(&started)
            }
            FileStep::Close { file } => {
                // One that is not open is fine, but not for a dead process.
                if let Some(process) = disk.processes.get_mut(&process) {
                    process.files.remove(file);
                    disk.forget_closed();
                    return Ok(());
                }
                disk.description(process, *file).map(drop)
            }
            FileStep::Rename { from, to } => disk.operate(process, Operation::Rename, from, |disk, _| {
                let (from, to) = (disk.slot(process, from)?, disk.slot(process, to)?);
                disk.volume.rename(from, to)
            }),
            FileStep::Link { from, to } => disk.operate(process, Operation::Link, to, |disk, _| {
                let (node, to) = (disk.node(process, from)?, disk.slot(process, to)?);
                disk.volume.link(node, to)
            }),
            FileStep::Remove { path } => {
                disk.operate(process, Operation::Unlink, path, |disk, _| disk.remove(process, path))
            }
            FileStep::Truncate { path, len } => disk.truncate(process, path, *len),
            FileStep::SyncPath { path } => disk.sync_path(process, path),
            FileStep::SyncDir { path } => disk.sync_dir(process, path),
        }
    }

    fn list(&mut self, path: &str) -> Result<Vec<DirEntry>, IoError> {
        self.disk.read_fault(self.process, Operation::Readdir, path)?;
        let failed = |errno| IoError { operation: Operation::Open.name(), path: path.into(), errno };
        match self.disk.node(self.process, path).map_err(failed)? {
            Node::File(_) => Err(failed(errno::ENOTDIR)),
            Node::Dir(dir) => {
                let entries = &self.disk.volume.dirs[&dir].entries;
                Ok(entries.iter().map(|(name, ino)| entry(name, self.disk.volume.files.get(ino))).collect())
            }
        }
    }

    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, IoError> {
        self.disk.read_fault(self.process, Operation::Read, path)?;
        let failed =
            |operation: Operation, errno| IoError { operation: operation.name(), path: path.into(), errno };
        match self.disk.node(self.process, path).map_err(|errno| failed(Operation::Open, errno))? {
            Node::Dir(_) => Err(failed(Operation::Read, errno::EISDIR)),
            Node::File(ino) => {
                let bytes = self.disk.volume.files[&ino].cache.get(offset as usize..).unwrap_or_default();
                let count = bytes.len().min(buffer.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                Ok(count)
            }
        }
    }

    fn len(&mut self, path: &str) -> Result<Option<u64>, IoError> {
        self.disk.read_fault(self.process, Operation::Stat, path)?;
        match self.disk.node(self.process, path) {
            Ok(Node::File(ino)) => Ok(Some(self.disk.volume.files[&ino].len())),
            Ok(Node::Dir(_)) | Err(ENOENT) => Ok(None),
            Err(errno) => Err(IoError { operation: Operation::Stat.name(), path: path.into(), errno }),
        }
    }
}

fn open_failed(path: &str, errno: i32) -> IoError {
    IoError { operation: Operation::Open.name(), path: path.into(), errno }
}

fn entry(name: &str, file: Option<&crate::volume::File>) -> DirEntry {
    DirEntry {
        name: name.into(),
        len: file.map_or(0, crate::volume::File::len),
        is_file: file.is_some(),
        modified_ms: file.map_or(0, |file| file.modified_us / 1_000),
    }
}
