//! Disk work off the engine's thread: three threads, and one lane of waiting work per open file.
//!
//! Exists so that the loop never waits for a device. A writer appends, a syncer runs fdatasync, a third thread
//! runs scripts of steps; so a running sync holds up neither the next append nor a rename.
//!
//! Always true, per file: appends happen in their order; a sync begins when every append asked for before it has
//! ended; a script waits for all earlier work on the files it names, and later work on them waits for the script.
//! After a failed append, a script's included, nothing more is appended to the file until the engine has been told:
//! what waits completes with `written: 0` and the same error, because appending it would leave a hole.
//!
//! Not here: the steps themselves (`files.rs`), who is told and when (`host.rs`).

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use perdura_core::host::{
    BackupJob, BackupWritten, Completion, Disk, Exchange, ExchangeStep, FileId, FileStep, IoError, Ticket,
};

use crate::files::LinuxDisk;
use crate::{exchange, process, sys};

/// The worker threads, seen from the loop.
pub struct Workers {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    writer: Condvar,
    syncer: Condvar,
    runner: Condvar,
    completions: Mutex<Vec<Completion>>,
    doorbell: OwnedFd,
    sync_delay: Duration,
}

#[derive(Default)]
struct State {
    lanes: BTreeMap<FileId, Lane>,
    jobs: VecDeque<Job>,
    jobs_begun: u64,
    /// Scripts that failed in an append to this file, until the engine has been told.
    script_failures: BTreeMap<Ticket, FileId>,
    is_stopping: bool,
}

/// Work on one file that has not ended, first come first.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Item>,
    is_writing: bool,
    is_syncing: bool,
    /// The failure that stops all appends until the engine knows of it.
    failure: Option<IoError>,
    /// Failed appends the engine has not been told of.
    failures_untold: usize,
}

enum Item {
    Append(LinuxDisk, Bytes),
    /// An append behind one that failed: completes without being tried.
    Skip(IoError),
    Sync(LinuxDisk),
    /// The job of this number stands here, running or not. It may not append where an append before it failed.
    Barrier(u64, Option<IoError>),
}

/// Work of the third thread.
struct Job {
    number: u64,
    disk: LinuxDisk,
    work: Work,
    /// The open files its steps use, each once.
    files: Vec<FileId>,
    /// Those of them in which an append failed before, unknown to the engine when it asked for this.
    unappendable: Vec<(FileId, IoError)>,
}

enum Work {
    Steps { ticket: Ticket, steps: Vec<FileStep> },
    Config { path: String, text: String },
    Space,
}

/// What makes a backup; see `Engine::back_up`.
pub type BackUp = fn(&BackupJob, &mut dyn Disk, &mut dyn FnMut(u64)) -> Result<BackupWritten, IoError>;

/// Bytes between two reports of a backup.
const BACKUP_REPORT_BYTES: u64 = 16 << 20;

/// A thread's name and what it does.
type Thread = (&'static str, fn(&Shared));

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// The kernel's refusal of a thread or of the descriptor that announces completions.
    pub fn start(sync_delay: Duration, cpus: Option<&str>) -> io::Result<Workers> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            writer: Condvar::new(),
            syncer: Condvar::new(),
            runner: Condvar::new(),
            completions: Mutex::default(),
            doorbell: sys::event_fd()?,
            sync_delay,
        });
        let threads: [Thread; 3] = [
            ("aof_write", Shared::run_writer),
            ("aof_sync", Shared::run_syncer),
            ("files", Shared::run_jobs),
        ];
        for (name, body) in threads {
            let shared = shared.clone();
            let cpus = cpus.map(str::to_owned);
            thread::Builder::new().name(name.into()).spawn(move || {
                let _guard = AbortOnPanic;
                process::tie_to_cpus(cpus.as_deref());
                body(&shared);
            })?;
        }
        Ok(Workers { shared })
    }

    /// Readable when completions wait to be taken.
    pub fn doorbell(&self) -> BorrowedFd<'_> {
        self.shared.doorbell.as_fd()
    }

    /// Silences the doorbell; to be followed by [`take_completions`](Self::take_completions), not preceded.
    pub fn clear_doorbell(&self) {
        sys::event_clear(self.shared.doorbell.as_fd());
    }

    /// Moves all completions that have come in to the end of `into`.
    pub fn take_completions(&self, into: &mut Vec<Completion>) {
        into.append(&mut self.shared.completions.lock().expect("worker panics abort"));
    }

    /// Nothing is queued or running for this file, nor has an append failed unseen.
    pub fn is_idle(&self, file: FileId) -> bool {
        self.shared.lock().lanes.get(&file).is_none_or(Lane::is_idle)
    }

    /// Queues an append.
    pub fn append(&self, file: FileId, bytes: Bytes, disk: &LinuxDisk) {
        let mut state = self.shared.lock();
        let lane = state.lanes.entry(file).or_default();
        match lane.failure.clone() {
            Some(failure) => lane.skip(failure),
            None => lane.waiting.push_back(Item::Append(disk.clone(), bytes)),
        }
        self.shared.wake(state);
    }

    /// Takes note of an append that the loop tried itself and that failed.
    pub fn append_failed(&self, file: FileId, error: &IoError) {
        self.shared.lock().lanes.entry(file).or_default().fail(error.clone());
    }

    /// The engine is being told of this failure; after the last one of a file appends to it are tried again.
    pub fn failure_told(&self, completion: &Completion) {
        let mut state = self.shared.lock();
        let file = match completion {
            Completion::Appended { file, error: Some(_), .. } => Some(*file),
            Completion::Files { ticket, error: Some(_) } => state.script_failures.remove(ticket),
            _ => None,
        };
        if let Some(file) = file {
            state.lane(file).failure_told();
        }
    }

    /// Queues a sync.
    pub fn sync(&self, file: FileId, disk: &LinuxDisk) {
        let mut state = self.shared.lock();
        state.lanes.entry(file).or_default().waiting.push_back(Item::Sync(disk.clone()));
        self.shared.wake(state);
    }

    /// Queues a script.
    pub fn run_steps(&self, ticket: Ticket, steps: Vec<FileStep>, disk: &LinuxDisk) {
        self.queue_job(disk, Work::Steps { ticket, steps });
    }

    /// Queues the replacement of a configuration file.
    pub fn write_config(&self, path: String, text: String, disk: &LinuxDisk) {
        self.queue_job(disk, Work::Config { path, text });
    }

    /// Finds out how much room the disk has.
    pub fn measure_space(&self, disk: &LinuxDisk) {
        self.queue_job(disk, Work::Space);
    }

    /// Makes a backup on a thread of its own: it may take minutes, and nothing waits for it.
    pub fn back_up(&self, job: BackupJob, run: BackUp, disk: &LinuxDisk) {
        let (shared, ticket) = (self.shared.clone(), job.ticket);
        let mut disk = disk.separate();
        let work = move || {
            let _guard = AbortOnPanic;
            let mut told = 0;
            let result = run(&job, &mut disk, &mut |bytes| {
                if bytes >= told + BACKUP_REPORT_BYTES {
                    told = bytes;
                    shared.finish(shared.lock(), Completion::BackupProgress { ticket, bytes });
                }
            });
            shared.finish(shared.lock(), Completion::BackedUp { ticket, result });
        };
        if let Err(error) = thread::Builder::new().name("backup".into()).spawn(work) {
            let error = IoError { operation: "thread", path: String::new(), errno: sys::errno(&error) };
            self.shared.finish(self.shared.lock(), Completion::BackedUp { ticket, result: Err(error) });
        }
    }

    /// Talks to another server, on a thread of its own: it may be slow, and nothing waits for it.
    pub fn exchange(&self, order: Exchange) {
        let (shared, ticket) = (self.shared.clone(), order.ticket);
        let work = move || {
            let _guard = AbortOnPanic;
            let (replies, failed_at) = exchange::exchange(&order);
            shared.finish(shared.lock(), Completion::Exchanged { ticket, replies, failed_at });
        };
        if thread::Builder::new().name("exchange".into()).spawn(work).is_err() {
            let failed_at = Some(ExchangeStep::Connecting);
            self.shared
                .finish(self.shared.lock(), Completion::Exchanged { ticket, replies: Vec::new(), failed_at });
        }
    }

    fn queue_job(&self, disk: &LinuxDisk, work: Work) {
        let mut state = self.shared.lock();
        state.jobs_begun += 1;
        let (number, files) = (state.jobs_begun, work.files());
        let job = Job { number, disk: disk.clone(), work, files, unappendable: Vec::new() };
        for &file in &job.files {
            let lane = state.lanes.entry(file).or_default();
            lane.waiting.push_back(Item::Barrier(job.number, lane.failure.clone()));
        }
        state.jobs.push_back(job);
        self.shared.wake(state);
    }
}

impl Drop for Workers {
    /// Lets the threads end after what they are doing; what waits is left undone, as at any end of the process.
    fn drop(&mut self) {
        self.shared.lock().is_stopping = true;
        for condition in [&self.shared.writer, &self.shared.syncer, &self.shared.runner] {
            condition.notify_all();
        }
    }
}

impl Shared {
    fn run_writer(&self) {
        while let Some((file, item)) = self.next(&self.writer, State::take_append) {
            let (completion, failure) = match item {
                Item::Append(disk, bytes) => {
                    let (written, error) = disk.append(file, &bytes);
                    (Completion::Appended { file, written, error: error.clone() }, error)
                }
                Item::Skip(error) => (Completion::Appended { file, written: 0, error: Some(error) }, None),
                Item::Sync(_) | Item::Barrier(..) => unreachable!("take_append gives appends"),
            };
            let mut state = self.lock();
            let lane = state.lane(file);
            lane.is_writing = false;
            if let Some(error) = failure {
                lane.fail(error);
            }
            self.finish(state, completion);
        }
    }

    fn run_syncer(&self) {
        while let Some((file, mut disk)) = self.next(&self.syncer, State::take_sync) {
            let begun = Instant::now();
            if !self.sync_delay.is_zero() {
                thread::sleep(self.sync_delay);
            }
            let error = disk.perform(&FileStep::Sync { file }).err();
            let elapsed_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            let mut state = self.lock();
            state.lane(file).is_syncing = false;
            self.finish(state, Completion::Synced { file, elapsed_us, error });
        }
    }

    fn run_jobs(&self) {
        while let Some(mut job) = self.next(&self.runner, State::take_job) {
            let completion = job.run();
            let mut state = self.lock();
            state.end_job(&job, &completion);
            self.finish(state, completion);
        }
    }

    /// Waits for work of one kind; `None` when the threads are to end.
    fn next<T>(&self, condition: &Condvar, take: fn(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            if let Some(work) = take(&mut state) {
                // One take may free the head of a lane for another thread.
                self.wake(state);
                return Some(work);
            }
            state = condition.wait(state).expect("worker panics abort");
        }
    }

    /// Publishes a completion while the lanes are locked, so that completions keep the order of what happened.
    fn finish(&self, state: MutexGuard<'_, State>, completion: Completion) {
        let mut completions = self.completions.lock().expect("worker panics abort");
        completions.push(completion);
        let is_first = completions.len() == 1;
        drop(completions);
        self.wake(state);
        if is_first {
            sys::event_ring(self.doorbell.as_raw_fd());
        }
    }

    /// Wakes exactly the threads that have something to do, and after the lanes are unlocked: woken before, a thread on
    /// the same processor would run only to wait for them.
    fn wake(&self, state: MutexGuard<'_, State>) {
        let has_append = state.lanes.values().any(Lane::can_append);
        let has_sync = state.lanes.values().any(Lane::can_sync);
        let has_job = state.can_run_job();
        drop(state);
        for (is_due, thread) in
            [(has_append, &self.writer), (has_sync, &self.syncer), (has_job, &self.runner)]
        {
            if is_due {
                thread.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("worker panics abort")
    }
}

impl State {
    fn lane(&mut self, file: FileId) -> &mut Lane {
        self.lanes.get_mut(&file).expect("a lane outlives its work")
    }

    fn take_append(&mut self) -> Option<(FileId, Item)> {
        let (&file, lane) = self.lanes.iter_mut().find(|(_, lane)| lane.can_append())?;
        lane.is_writing = true;
        lane.waiting.pop_front().map(|item| (file, item))
    }

    fn take_sync(&mut self) -> Option<(FileId, LinuxDisk)> {
        let (&file, lane) = self.lanes.iter_mut().find(|(_, lane)| lane.can_sync())?;
        match lane.waiting.pop_front() {
            Some(Item::Sync(disk)) => {
                lane.is_syncing = true;
                Some((file, disk))
            }
            _ => unreachable!("can_sync saw a sync in front"),
        }
    }

    fn take_job(&mut self) -> Option<Job> {
        let mut job = if self.can_run_job() { self.jobs.pop_front()? } else { return None };
        for &file in &job.files {
            if let Some(Item::Barrier(_, Some(failure))) = self.lane(file).waiting.front() {
                job.unappendable.push((file, failure.clone()));
            }
        }
        Some(job)
    }

    fn can_run_job(&self) -> bool {
        let Some(job) = self.jobs.front() else { return false };
        job.files.iter().all(|file| self.lanes.get(file).is_some_and(|lane| lane.is_at_barrier(job.number)))
    }

    /// Takes a job's barriers away, and lanes with nothing left to do.
    fn end_job(&mut self, job: &Job, completion: &Completion) {
        if let Some((ticket, file, error)) = job.failed_append(completion) {
            self.script_failures.insert(ticket, file);
            self.lane(file).fail(error);
        }
        for &file in &job.files {
            let lane = self.lane(file);
            let front = lane.waiting.pop_front();
            assert!(matches!(front, Some(Item::Barrier(number, _)) if number == job.number));
            if lane.is_idle() {
                self.lanes.remove(&file);
            }
        }
    }
}

impl Lane {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.is_at_rest() && self.failures_untold == 0
    }

    fn is_at_rest(&self) -> bool {
        !self.is_writing && !self.is_syncing
    }

    fn can_append(&self) -> bool {
        !self.is_writing && matches!(self.waiting.front(), Some(Item::Append(..) | Item::Skip(_)))
    }

    fn can_sync(&self) -> bool {
        self.is_at_rest() && matches!(self.waiting.front(), Some(Item::Sync(_)))
    }

    fn is_at_barrier(&self, job: u64) -> bool {
        self.is_at_rest() && matches!(self.waiting.front(), Some(Item::Barrier(number, _)) if *number == job)
    }

    /// An append failed: everything waiting behind it is skipped.
    fn fail(&mut self, error: IoError) {
        self.failures_untold += 1;
        for item in &mut self.waiting {
            match item {
                Item::Append(..) => {
                    *item = Item::Skip(error.clone());
                    self.failures_untold += 1;
                }
                Item::Barrier(_, failure) => *failure = Some(error.clone()),
                Item::Skip(_) | Item::Sync(_) => {}
            }
        }
        self.failure = Some(error);
    }

    fn failure_told(&mut self) {
        assert!(self.failures_untold > 0, "a failure is told once");
        self.failures_untold -= 1;
        if self.failures_untold == 0 {
            self.failure = None;
        }
    }

    fn skip(&mut self, failure: IoError) {
        self.waiting.push_back(Item::Skip(failure));
        self.failures_untold += 1;
    }
}

impl Job {
    fn run(&mut self) -> Completion {
        match &self.work {
            Work::Steps { ticket, steps } => {
                let (disk, unappendable) = (&mut self.disk, &self.unappendable);
                let failure = steps.iter().enumerate().find_map(|(index, step)| {
                    let error = refusal(step, unappendable).or_else(|| disk.perform(step).err())?;
                    Some((index, error))
                });
                Completion::Files { ticket: *ticket, error: failure }
            }
            Work::Space => {
                let result = self.disk.free_bytes();
                Completion::SpaceMeasured(result.map_err(|error| sys::errno(&error)))
            }
            Work::Config { path, text } => {
                let result = process::replace_file(path, text.as_bytes());
                Completion::ConfigWritten(result.map_err(|error| sys::errno(&error)))
            }
        }
    }

    /// The append its script ended at, if it ended at one.
    fn failed_append(&self, completion: &Completion) -> Option<(Ticket, FileId, IoError)> {
        let Work::Steps { ticket, steps } = &self.work else { return None };
        let Completion::Files { error: Some((index, error)), .. } = completion else { return None };
        let FileStep::Append { file, .. } = &steps[*index] else { return None };
        Some((*ticket, *file, error.clone()))
    }
}

/// Why a step may not be tried: it would append behind a hole.
fn refusal(step: &FileStep, unappendable: &[(FileId, IoError)]) -> Option<IoError> {
    let FileStep::Append { file, .. } = step else { return None };
    unappendable.iter().find(|(other, _)| other == file).map(|(_, error)| error.clone())
}

impl Work {
    fn files(&self) -> Vec<FileId> {
        let Work::Steps { steps, .. } = self else { return Vec::new() };
        let mut files: Vec<FileId> = steps.iter().filter_map(file_of).collect();
        files.sort_unstable();
        files.dedup();
        files
    }
}

fn file_of(step: &FileStep) -> Option<FileId> {
    match step {
        FileStep::CreateExclusive { file, .. }
        | FileStep::CreateTemp { file, .. }
        | FileStep::OpenAppend { file, .. }
        | FileStep::Append { file, .. }
        | FileStep::Sync { file }
        | FileStep::Close { file } => Some(*file),
        FileStep::CreateDir { .. }
        | FileStep::Rename { .. }
        | FileStep::Link { .. }
        | FileStep::Remove { .. }
        | FileStep::Truncate { .. }
        | FileStep::SyncPath { .. }
        | FileStep::SyncDir { .. } => None,
    }
}

/// A worker that panics would leave its file stuck for ever and replies unsent: the process ends instead.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}
