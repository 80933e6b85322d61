//! Snapshot children: a fork that writes memory as it was to a file and reports through a pipe.
//!
//! Always true: the child touches nothing it shares with another thread, closes its parent's sockets, dies with its
//! parent, and leaves only by `_exit`; its end is known by the end of the pipe, so no SIGCHLD is needed.
//!
//! Not here: the order of file operations (`write_snapshot` in core), the renaming (the engine), signals' meaning.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::{Duration, Instant};

use perdura_core::host::{
    ChildEnd, Disk as _, Encoder, Engine, FileId, FileStep, IoError, SnapshotJob, SnapshotWritten, Ticket,
    write_snapshot,
};

use crate::files::{LinuxDisk, OPERATIONS, write_all};
use crate::settings::HostSettings;
use crate::sys::{self, Forked};
use crate::{process, signals};

/// The one file a snapshot writer has open; its table of files is its own.
const SNAPSHOT_FILE: FileId = FileId(0);

/// Least time between two progress reports.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// How far a child steps back where it shares a processor with the server: a quarter is left to it then. With equal shares
/// the server, woken by a request, often waits until the child's turn is over, which takes milliseconds.
const CHILD_STEPS_BACK: i32 = 5;
/// Share of its time a child spends on finding out its own memory use, at most one part in this many.
const MEMORY_CHECK_SHARE: u32 = 100;
/// How often a second SIGINT is looked for while a snapshot is slowed down.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A running child, seen from its parent.
pub struct Child {
    /// Process id.
    pub pid: i32,
    /// Its job.
    pub ticket: Ticket,
    pipe: OwnedFd,
    inbox: Vec<u8>,
    outcome: Option<ChildEnd>,
    /// Private dirty memory as last reported, bytes.
    pub cow_size: u64,
}

/// News from a child.
pub enum News {
    /// It works.
    Progress {
        /// Keys written so far.
        keys: u64,
    },
    /// It is gone and reaped.
    Ended(ChildEnd),
}

impl Child {
    /// Forks a child for `job`.
    ///
    /// # Errors
    /// Error number of pipe or fork.
    pub fn start<E: Engine>(
        engine: &E,
        job: &SnapshotJob,
        disk: &LinuxDisk,
        settings: &HostSettings,
        oom_score: Option<i32>,
    ) -> Result<Child, i32> {
        let (reader, writer) = sys::pipe().map_err(|error| sys::errno(&error))?;
        let parent = sys::process_id();
        sys::with_signals_held(|| {
            // SAFETY: the child takes no lock of this process (a disk of its own, no logging) and ends in run_child.
            match unsafe { sys::fork() }.map_err(|error| sys::errno(&error))? {
                Forked::Child => run_child(engine, job, disk, settings, oom_score, &writer, parent),
                Forked::Parent(pid) => Ok(Child {
                    pid,
                    ticket: job.ticket,
                    pipe: reader,
                    inbox: Vec::new(),
                    outcome: None,
                    cow_size: 0,
                }),
            }
        })
    }

    /// Readable when there may be news.
    pub fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Ends the child; its end is reported like any other.
    pub fn kill(&self) {
        // It cannot be gone: only we reap it.
        let _ = sys::kill(self.pid, libc::SIGUSR1);
    }

    /// Takes in what has come through the pipe. After [`News::Ended`] there is nothing more.
    pub fn take_news(&mut self) -> Vec<News> {
        let is_over = self.fill_inbox();
        let mut news = Vec::new();
        while let Some((report, len)) = Report::decode(&self.inbox) {
            self.inbox.drain(..len);
            self.cow_size = report.cow_size();
            match report {
                Report::Progress { keys, .. } => news.push(News::Progress { keys }),
                Report::Written(written, _) => self.outcome = Some(ChildEnd::Written(written)),
                Report::Failed(error, _) => self.outcome = Some(ChildEnd::Failed(error)),
            }
        }
        if is_over {
            news.push(News::Ended(self.reap()));
        }
        news
    }

    /// Reads all there is; `true` at the end of the pipe.
    fn fill_inbox(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match sys::read(self.pipe.as_fd(), &mut buffer) {
                Ok(0) => return true,
                Ok(count) => self.inbox.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
        }
    }

    /// The pipe is closed, so the child has given up its memory and files already: this does not wait.
    fn reap(&mut self) -> ChildEnd {
        let Ok(status) = sys::wait_for(self.pid) else { return ChildEnd::Exited(-1) };
        if libc::WIFSIGNALED(status) {
            return ChildEnd::Killed(libc::WTERMSIG(status));
        }
        // A report counts only together with the exit status that goes with it.
        match (self.outcome.take(), libc::WEXITSTATUS(status)) {
            (Some(end @ ChildEnd::Written(_)), 0) | (Some(end @ ChildEnd::Failed(_)), 1) => end,
            (_, status) => ChildEnd::Exited(status),
        }
    }
}

/// Writes a snapshot in this very process, for SAVE.
pub fn save_here<E: Engine>(
    engine: &E,
    job: &SnapshotJob,
    disk: &LinuxDisk,
) -> Result<SnapshotWritten, IoError> {
    let path = snapshot_path(job);
    let look = || {
        if job.is_last && signals::is_interrupted() {
            leave_at_once(&path, disk);
        }
    };
    let mut encoder = SlowedEncoder::new(engine.encoder(job), job.key_delay_us, &look);
    write_snapshot(&mut encoder, &path, SNAPSHOT_FILE, &mut disk.separate(), &mut |_, _| look())
}

/// A second SIGINT while the last snapshot is written: it is not waited for.
fn leave_at_once(path: &str, disk: &LinuxDisk) -> ! {
    tracing::warn!("You insist... exiting now.");
    // What is left of it is swept at the next start.
    let _ = disk.separate().perform(&FileStep::Remove { path: path.into() });
    sys::exit_now(1)
}

fn snapshot_path(job: &SnapshotJob) -> String {
    job.path.replace("{pid}", &sys::process_id().to_string())
}

/// The child's whole life.
fn run_child<E: Engine>(
    engine: &E,
    job: &SnapshotJob,
    disk: &LinuxDisk,
    settings: &HostSettings,
    oom_score: Option<i32>,
    pipe: &OwnedFd,
    parent: i32,
) -> ! {
    let is_orphan = sys::die_with_parent().is_err() || sys::parent_id() != parent;
    if is_orphan {
        sys::exit_now(1);
    }
    signals::reset_in_child();
    // What a child must not keep open: a connection would outlive its close there, a lock or a port its server.
    // SAFETY: the parent's owners of these descriptors are never used in the child, nor dropped (exit_now).
    unsafe { sys::close_all_but(&[pipe.as_raw_fd(), disk.descriptor()]) };
    process::tie_to_cpus(settings.bgsave_cpulist.as_deref());
    sys::step_back(CHILD_STEPS_BACK);
    if let Some(score) = oom_score {
        // Refused only where lowering needs a privilege; the snapshot matters more.
        let _ = process::write_oom_score(score);
    }
    // Unwinding would run on into the parent's loop.
    let result = panic::catch_unwind(AssertUnwindSafe(|| write_and_report(engine, job, disk, pipe)));
    sys::exit_now(if matches!(result, Ok(true)) { 0 } else { 1 })
}

/// `true` if the snapshot is whole and the parent has been told.
fn write_and_report<E: Engine>(engine: &E, job: &SnapshotJob, disk: &LinuxDisk, pipe: &OwnedFd) -> bool {
    let encoder = SlowedEncoder::new(engine.encoder(job), job.key_delay_us, &|| {});
    let mut encoder = ReportingEncoder { encoder, reports: ProgressReports::new(pipe) };
    let mut disk = disk.separate();
    let result = write_snapshot(&mut encoder, &snapshot_path(job), SNAPSHOT_FILE, &mut disk, &mut |_, _| {});
    let is_written = result.is_ok();
    let cow_size = private_dirty_bytes();
    let report = match result {
        Ok(written) => Report::Written(written, cow_size),
        Err(error) => Report::Failed(error, cow_size),
    };
    report.send(pipe) && is_written
}

/// Reports at most once a second, and less often where measuring memory takes long.
struct ProgressReports<'a> {
    pipe: &'a OwnedFd,
    due: Instant,
}

impl<'a> ProgressReports<'a> {
    fn new(pipe: &'a OwnedFd) -> Self {
        ProgressReports { pipe, due: Instant::now() + PROGRESS_INTERVAL }
    }

    fn made(&mut self, keys: u64) {
        let begun = Instant::now();
        if begun < self.due {
            return;
        }
        let cow_size = private_dirty_bytes();
        // A parent that is gone takes us with it; nothing to do about it here.
        Report::Progress { keys, cow_size }.send(self.pipe);
        self.due = Instant::now() + PROGRESS_INTERVAL.max(begun.elapsed() * MEMORY_CHECK_SHARE);
    }
}

/// An encoder that reports by time: what it makes may be so small that little of it is written before the end.
struct ReportingEncoder<'a> {
    encoder: SlowedEncoder<'a>,
    reports: ProgressReports<'a>,
}

impl Encoder for ReportingEncoder<'_> {
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        let more = self.encoder.step(out);
        self.reports.made(self.encoder.keys());
        more
    }

    fn keys(&self) -> u64 {
        self.encoder.keys()
    }
}

/// Memory of this process that is its own and changed: what copy-on-write has cost. 0 where unknown.
fn private_dirty_bytes() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/smaps_rollup") else { return 0 };
    private_dirty_of(&text)
}

fn private_dirty_of(smaps: &str) -> u64 {
    let line = smaps.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// An encoder that waits after each key (`rdb-key-save-delay`), and gives up at a SIGINT if its job says so.
struct SlowedEncoder<'a> {
    encoder: Box<dyn Encoder + 'a>,
    delay_us: i64,
    keys_waited_for: u64,
    /// Called while it waits.
    look: &'a dyn Fn(),
}

impl<'a> SlowedEncoder<'a> {
    fn new(encoder: Box<dyn Encoder + 'a>, delay_us: i64, look: &'a dyn Fn()) -> Self {
        SlowedEncoder { encoder, delay_us, keys_waited_for: 0, look }
    }

    fn wait(&self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            (self.look)();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(LOOK_INTERVAL));
        }
    }
}

impl Encoder for SlowedEncoder<'_> {
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        let more = self.encoder.step(out);
        let keys_new = self.encoder.keys() - self.keys_waited_for;
        let amount = self.delay_us.unsigned_abs();
        let wait_us = match self.delay_us {
            0 => return more,
            1.. => keys_new.saturating_mul(amount),
            // One microsecond per `amount` keys: whole microseconds now, the rest later.
            _ => keys_new / amount,
        };
        if wait_us > 0 {
            self.wait(Duration::from_micros(wait_us));
            self.keys_waited_for += if self.delay_us > 0 { keys_new } else { wait_us * amount };
        }
        more
    }

    fn keys(&self) -> u64 {
        self.encoder.keys()
    }
}

/// A message from child to parent. On the pipe:
///
/// ```text
/// offset  0     4     5          6      8     16    24        32
///         len   kind  operation  errno  keys  size  cow_size  path …
/// ```
///
/// All little-endian; `len` counts everything, itself included.
#[derive(PartialEq, Eq, Debug)]
enum Report {
    Progress { keys: u64, cow_size: u64 },
    Written(SnapshotWritten, u64),
    Failed(IoError, u64),
}

const REPORT_HEAD_BYTES: usize = 32;

impl Report {
    fn cow_size(&self) -> u64 {
        match self {
            Report::Progress { cow_size, .. }
            | Report::Written(_, cow_size)
            | Report::Failed(_, cow_size) => *cow_size,
        }
    }

    fn send(&self, pipe: &OwnedFd) -> bool {
        write_all(pipe.as_fd(), &self.encode()).1.is_none()
    }

    fn encode(&self) -> Vec<u8> {
        let (kind, operation, errno, keys, size, path) = match self {
            Report::Progress { keys, .. } => (0, 0, 0, *keys, 0, ""),
            Report::Written(written, _) => (1, 0, 0, written.keys, written.len, written.path.as_str()),
            Report::Failed(error, _) => (2, operation_code(error), error.errno, 0, 0, error.path.as_str()),
        };
        let len = u32::try_from(REPORT_HEAD_BYTES + path.len()).expect("paths are short");
        let mut bytes = Vec::with_capacity(len as usize);
        bytes.extend(len.to_le_bytes());
        bytes.extend([kind, operation]);
        bytes.extend(u16::try_from(errno).unwrap_or(0).to_le_bytes());
        bytes.extend(keys.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(self.cow_size().to_le_bytes());
        bytes.extend(path.as_bytes());
        bytes
    }

    /// The first message and its length, or `None` if it has not come in whole.
    fn decode(bytes: &[u8]) -> Option<(Report, usize)> {
        let len = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let message = bytes.get(..len)?;
        let number = |at: usize| Some(u64::from_le_bytes(message.get(at..at + 8)?.try_into().ok()?));
        let (keys, size, cow_size) = (number(8)?, number(16)?, number(24)?);
        let path = String::from_utf8_lossy(message.get(REPORT_HEAD_BYTES..)?).into_owned();
        let report = match message[4] {
            0 => Report::Progress { keys, cow_size },
            1 => Report::Written(SnapshotWritten { path, len: size, keys }, cow_size),
            _ => {
                let errno = i32::from(u16::from_le_bytes([message[6], message[7]]));
                let operation = OPERATIONS.get(usize::from(message[5])).copied().unwrap_or("snapshot");
                Report::Failed(IoError { operation, path, errno }, cow_size)
            }
        };
        Some((report, len))
    }
}

fn operation_code(error: &IoError) -> u8 {
    let code = OPERATIONS.iter().position(|&operation| operation == error.operation);
    code.unwrap_or(OPERATIONS.len() - 1) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_pipe_and_wait_until_whole() {
        let check = |report: Report| {
            let bytes = report.encode();
            for len in 0..bytes.len() {
                assert_eq!(Report::decode(&bytes[..len]), None);
            }
            let len = bytes.len();
            assert_eq!(Report::decode(&bytes), Some((report, len)));
        };
        check(Report::Progress { keys: 1, cow_size: u64::MAX });
        check(Report::Written(SnapshotWritten { path: "temp-7.rdb".into(), len: 9, keys: 2 }, 4096));
        check(Report::Written(SnapshotWritten { path: String::new(), len: 0, keys: 0 }, 0));
        check(Report::Failed(IoError { operation: "verify", path: "a".into(), errno: libc::EIO }, 0));
        check(Report::Failed(IoError { operation: "open", path: "b/c".into(), errno: libc::ENOSPC }, 1));
    }

    #[test]
    fn private_dirty_memory_is_read_in_bytes() {
        let check = |text: &str, expected| assert_eq!(private_dirty_of(text), expected, "{text}");
        check("Rss: 10 kB\nPrivate_Dirty:      1234 kB\nReferenced: 1 kB\n", 1234 * 1024);
        check("Private_Dirty: x kB\n", 0);
        check("", 0);
        assert!(private_dirty_bytes() > 0);
    }

    struct Counting(u64);

    impl Encoder for Counting {
        fn step(&mut self, _: &mut Vec<u8>) -> bool {
            self.0 += 10;
            self.0 < 30
        }
        fn keys(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn slowed_encoder_waits_once_per_key() {
        let begun = Instant::now();
        let mut encoder = SlowedEncoder::new(Box::new(Counting(0)), 1_000, &|| {});
        while encoder.step(&mut Vec::new()) {}
        assert!(begun.elapsed() >= Duration::from_millis(30));
        assert_eq!(encoder.keys_waited_for, 30);
    }

    #[test]
    fn slowed_encoder_with_negative_delay_waits_for_whole_groups() {
        let mut encoder = SlowedEncoder::new(Box::new(Counting(0)), -20, &|| {});
        encoder.step(&mut Vec::new());
        assert_eq!(encoder.keys_waited_for, 0);
        encoder.step(&mut Vec::new());
        encoder.step(&mut Vec::new());
        assert_eq!(encoder.keys_waited_for, 20);
    }
}
