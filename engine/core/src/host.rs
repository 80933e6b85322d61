//! The border between the engine and the world: what the engine asks for, and what it is told.
//!
//! Exists so that one engine runs unchanged over Linux and over the simulator. The engine gives back
//! [`Effect`]s; a host performs them and reports with [`Completion`]s. Reading at start-up and the work
//! of a snapshot child go through [`Disk`], which both hosts implement over the same [`FileStep`]s.
//!
//! Always true: effects of one turn are begun in their order; every effect that names a completion gets
//! exactly one, unless the process dies; a path is relative to `dir`, `/`-separated, without `..`.
//!
//! Not here: sockets and threads (`engine/linux`), the crash model (`sim/disk.rs`), when to ask (`persist/`).

use alloc::{format, string::String, vec::Vec};
use bytes::Bytes;
use core::fmt;

use crate::{
    mutant::{self, Mutant},
    time::Now,
};

/// A connected client, named by the engine; never used again within one run of the server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId(pub u64);

/// Where a connection comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// `ip:port` of the remote end, or the socket's path with `:0` for a unix socket.
    pub address: String,
    /// `ip:port` of our end, or the socket's path with `:0`.
    pub local_address: String,
    /// Came over the unix socket.
    pub is_unix: bool,
    /// Came over the loopback interface or the unix socket; protected mode lets only these in.
    pub is_local: bool,
    /// File descriptor number, shown by CLIENT LIST.
    pub descriptor: i32,
}

/// A file the engine holds open for appending. Chosen by the engine, unique within one run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub u32);

/// A position in the logical log: bytes of records since the data set began, headers not counted.
pub type Offset = u64;

/// Names one asynchronous request so that its completion can be matched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// An operation on the file system that did not succeed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IoError {
    /// The step that failed, in the words of the system call: `open`, `write`, `fsync`, `rename` …
    pub operation: &'static str,
    /// The file or directory it was about, relative to `dir`.
    pub path: String,
    /// Linux error number, range 1..=4095.
    pub errno: i32,
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.path, errno_text(self.errno))
    }
}

/// One step on the file system. A list of them is performed in order and stops at the first failure.
///
/// What a crash may do to a step that has returned is said for each; anything else about it is undefined
/// until the next `Sync` or `SyncDir` that covers it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileStep {
    /// Makes a directory, mode 0700; one that exists is fine. Its name is durable after `SyncDir` of its parent.
    CreateDir {
        /// The directory.
        path: String,
    },
    /// Creates a file that must not exist (`O_EXCL`) and opens it for appending. Name durable after `SyncDir`.
    CreateExclusive {
        /// Handle from now on.
        file: FileId,
        /// Its name.
        path: String,
    },
    /// Creates or empties a file (`O_TRUNC`) and opens it for appending: temporary files only.
    CreateTemp {
        /// Handle from now on.
        file: FileId,
        /// Its name.
        path: String,
    },
    /// Opens an existing file for appending.
    OpenAppend {
        /// Handle from now on.
        file: FileId,
        /// Its name.
        path: String,
    },
    /// Appends all bytes, going on after short writes. A crash may keep any torn subset.
    Append {
        /// An open file.
        file: FileId,
        /// What to append.
        bytes: Bytes,
    },
    /// Makes everything appended to the file so far durable, and its length (`fdatasync`).
    Sync {
        /// An open file.
        file: FileId,
    },
    /// Forgets the handle, after earlier appends to it have ended; one that is not open is fine. Makes nothing durable.
    Close {
        /// An open file.
        file: FileId,
    },
    /// Atomically gives a file another name, replacing what had it. Durable after `SyncDir` of both parents.
    Rename {
        /// Present name.
        from: String,
        /// New name.
        to: String,
    },
    /// Gives a file a second name (hard link), which must be free. Durable after `SyncDir`.
    Link {
        /// Present name.
        from: String,
        /// Additional name.
        to: String,
    },
    /// Removes a file; one that does not exist is fine. Durable after `SyncDir`.
    Remove {
        /// The file.
        path: String,
    },
    /// Cuts a file to `len` bytes and makes the cut durable.
    Truncate {
        /// The file.
        path: String,
        /// Its new length in bytes.
        len: u64,
    },
    /// Makes an existing file's contents durable by name, for files opened by nobody.
    SyncPath {
        /// The file.
        path: String,
    },
    /// Makes the names in a directory durable; `""` is `dir` itself.
    SyncDir {
        /// The directory.
        path: String,
    },
}

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// Name without folder.
    pub name: String,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
    /// A regular file, as opposed to a directory or something special.
    pub is_file: bool,
    /// Last modification, milliseconds since 1970; used only to choose the newest among valid artefacts.
    pub modified_ms: u64,
}

/// The file system as start-up, SAVE and a snapshot child see it: blocking, in order.
pub trait Disk {
    /// Performs one step.
    ///
    /// # Errors
    /// The step's failure; an `Append` may then have written any part of its bytes.
    fn perform(&mut self, step: &FileStep) -> Result<(), IoError>;

    /// The names in a directory, sorted; `""` is `dir`. A missing directory is `ENOENT`.
    ///
    /// # Errors
    /// Whatever kept the directory from being read.
    fn list(&mut self, path: &str) -> Result<Vec<DirEntry>, IoError>;

    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end of the file.
    ///
    /// # Errors
    /// Open and read failures; a missing file is `ENOENT`.
    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, IoError>;

    /// Length of a regular file, or `None` if there is none of that name.
    ///
    /// # Errors
    /// Anything but its absence.
    fn len(&mut self, path: &str) -> Result<Option<u64>, IoError>;
}

/// What a snapshot is written as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotForm {
    /// An RDB file for `dbfilename`.
    Rdb,
    /// An RDB file that is the base of an append-only set.
    AofBaseRdb,
    /// Commands that rebuild the data set: the base when `aof-use-rdb-preamble` is `no`.
    AofBaseCommands,
}

/// A snapshot to be written to a temporary file; the parent renames it when it is whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotJob {
    /// Matches the completions.
    pub ticket: Ticket,
    /// Which encoding.
    pub form: SnapshotForm,
    /// Temporary file to write, `{pid}` standing for the writer's process id.
    pub path: String,
    /// Microseconds to wait after each key (`rdb-key-save-delay`), negative: about once per that many keys.
    pub key_delay_us: i64,
    /// Wall clock of the cut, milliseconds since 1970.
    pub now_ms: u64,
    /// The process ends after it: whoever interrupts it a second time does not want to wait for it.
    pub is_last: bool,
}

/// What a snapshot's writer found about its own file before it reported success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotWritten {
    /// The temporary file's name, `{pid}` filled in.
    pub path: String,
    /// Its length in bytes, as re-read after the sync.
    pub len: u64,
    /// Keys written.
    pub keys: u64,
}

/// How readily the kernel ends a process when memory runs out, as it goes to `/proc/self/oom_score_adj`: −1000 (never) to 1000.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OomAdjustment {
    /// The server itself.
    pub server: i32,
    /// A snapshot child: higher, so that it goes first.
    pub child: i32,
    /// They are added to what the score is without them.
    pub are_relative: bool,
}

/// A file of a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupPart {
    /// The file.
    pub from: String,
    /// Its name in the backup.
    pub to: String,
    /// Bytes of it that count; `None` for all.
    pub len: Option<u64>,
    /// It never changes again, and may be linked instead of copied.
    pub is_final: bool,
}

/// A backup to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupJob {
    /// Matches the completions.
    pub ticket: Ticket,
    /// Directory to make; one that is empty is fine.
    pub dir: String,
    /// Directories in it, each after those in it; the last is itself.
    pub dirs: Vec<String>,
    /// Files.
    pub parts: Vec<BackupPart>,
    /// Name and text of the manifest.
    pub manifest: Option<(String, String)>,
    /// Offset of the log that it reaches.
    pub offset: Option<Offset>,
    /// Wall clock, milliseconds since 1970.
    pub created_ms: u64,
}

/// What a backup came to, after all of it was read again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BackupWritten {
    /// Files in its inventory.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that were linked.
    pub linked_bytes: u64,
}

/// What another server is to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// Matches the completion.
    pub ticket: Ticket,
    /// Its name or address.
    pub host: String,
    /// Its port; 0 is none, and fails.
    pub port: u16,
    /// All of what it is sent.
    pub request: Bytes,
    /// Replies to wait for, each of one line.
    pub replies: usize,
    /// Longest time to connect, to send the request, and until each reply; milliseconds, at least 1.
    pub timeout_ms: u64,
}

/// Where a talk with another server ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExchangeStep {
    /// It is not there, or does not answer.
    Connecting,
    /// It does not take the request.
    Writing,
    /// It does not reply.
    Reading,
}

/// How a snapshot child ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChildEnd {
    /// Wrote, synced and verified its file.
    Written(SnapshotWritten),
    /// Failed by itself; the text says at which step.
    Failed(IoError),
    /// Ended with this exit status without a report.
    Exited(i32),
    /// Killed by this signal.
    Killed(i32),
}

/// Whether clients of the TLS port show certificates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientCertificates {
    /// Nobody asks for one.
    #[default]
    Ignored,
    /// Whoever shows one needs a valid one.
    Optional,
    /// Everybody shows a valid one.
    Required,
}

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Secret")
    }
}

/// What connections of the TLS port are made with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsSettings {
    /// The port, 0 for none.
    pub port: u16,
    /// Our certificate and those it rests on, as PEM.
    pub cert_file: String,
    /// Its key, as PEM.
    pub key_file: String,
    /// The key's password; empty where it is not encrypted.
    pub key_password: Secret,
    /// Authorities of clients' certificates, in one file…
    pub ca_cert_file: String,
    /// …and in the files of a directory.
    pub ca_cert_dir: String,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
    /// Versions, as `TLSv1.2 TLSv1.3`; empty for both.
    pub protocols: String,
}

/// What the world tells the engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Completion {
    /// An [`Effect::Append`] ended. `written` counts this batch's bytes now in the file, all of them on success.
    Appended {
        /// The file.
        file: FileId,
        /// Bytes of this batch that reached the file.
        written: u64,
        /// Why not all of them.
        error: Option<IoError>,
    },
    /// An [`Effect::Sync`] ended.
    Synced {
        /// The file.
        file: FileId,
        /// How long the device took, microseconds.
        elapsed_us: u64,
        /// Failure: pages may be gone; the file is not to be synced again.
        error: Option<IoError>,
    },
    /// An [`Effect::Files`] ended.
    Files {
        /// Whose steps.
        ticket: Ticket,
        /// Index of the step that failed, and how.
        error: Option<(usize, IoError)>,
    },
    /// A child runs, or fork failed.
    Forked {
        /// The job.
        ticket: Ticket,
        /// Process id, or the error number of fork.
        result: Result<i32, i32>,
        /// How long fork took, microseconds.
        elapsed_us: u64,
    },
    /// A child's report while it works.
    ChildProgress {
        /// The job.
        ticket: Ticket,
        /// Keys written so far.
        keys: u64,
        /// Private dirty memory of the child, bytes.
        cow_size: u64,
    },
    /// A child is gone and reaped.
    ChildEnded {
        /// The job.
        ticket: Ticket,
        /// How.
        end: ChildEnd,
        /// Private dirty memory at its end, bytes; 0 where unknown.
        cow_size: u64,
    },
    /// An [`Effect::Save`] ended.
    Saved {
        /// The job.
        ticket: Ticket,
        /// The file, or what failed.
        result: Result<SnapshotWritten, IoError>,
    },
    /// A backup's report while it is made.
    BackupProgress {
        /// The job.
        ticket: Ticket,
        /// Bytes read so far; each file is read when it is copied, and again.
        bytes: u64,
    },
    /// An [`Effect::Backup`] ended.
    BackedUp {
        /// The job.
        ticket: Ticket,
        /// What it came to, or the step that failed.
        result: Result<BackupWritten, IoError>,
    },
    /// An [`Effect::Exchange`] ended.
    Exchanged {
        /// The talk.
        ticket: Ticket,
        /// The replies that came, without their line ends.
        replies: Vec<Vec<u8>>,
        /// Why not all of them.
        failed_at: Option<ExchangeStep>,
    },
    /// An [`Effect::MeasureSpace`] ended: free bytes, errno on failure.
    SpaceMeasured(Result<u64, i32>),
    /// A [`Effect::ChangeDir`] ended; the absolute path on success, else errno.
    DirChanged(Result<String, i32>),
    /// A [`Effect::Listen`] ended; on failure the old listeners still stand.
    Listening(Result<(), String>),
    /// An [`Effect::AdjustOomScore`] ended; on failure, an errno, the score is what it was.
    OomScoreAdjusted(Result<(), i32>),
    /// A [`Effect::ReadConfig`] ended: the file's text, errno on failure.
    ConfigRead(Result<String, i32>),
    /// A [`Effect::WriteConfig`] ended, errno on failure.
    ConfigWritten(Result<(), i32>),
}

/// A signal the server listens to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// What the engine asks the world to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Bytes may be sent to this client: take them with `Node::output`, report with `Node::sent`.
    Send(ClientId),
    /// End this connection once its output is sent (or at once if `now`).
    Close {
        /// The client.
        client: ClientId,
        /// Do not wait for the output.
        now: bool,
    },
    /// Stop (`true`) or go on (`false`) reading from a client.
    PauseReading {
        /// The client.
        client: ClientId,
        /// Whether to stop.
        pause: bool,
    },
    /// Append a batch to a log file, after any earlier append to it. Completes with `Appended`.
    Append {
        /// The file.
        file: FileId,
        /// Whole records only.
        bytes: Bytes,
    },
    /// Make durable all that was appended to a file before this. Completes with `Synced`.
    Sync {
        /// The file.
        file: FileId,
    },
    /// Steps to perform in order, off the engine's thread. A step on an open file waits for the appends and syncs asked
    /// for before it, and their completions come first. Completes with `Files`.
    Files {
        /// Matches the completion.
        ticket: Ticket,
        /// The steps.
        steps: Vec<FileStep>,
    },
    /// Start a child over a frozen copy of memory, **before any further input is handed in**. Completes with
    /// `Forked`, then `ChildProgress` any number of times, then `ChildEnded`.
    Fork(SnapshotJob),
    /// Write a snapshot here and now, blocking. Completes with `Saved`.
    Save(SnapshotJob),
    /// Make a backup with [`Engine::back_up`], off the engine's thread and beside all other work: the files it names do not
    /// change meanwhile, but for the growing end of the last. Completes with `BackupProgress` any number of times, then
    /// `BackedUp`. A crash leaves any part of it, and the inventory only if all of it is durable.
    Backup(BackupJob),
    /// Talk to another server over TCP, beside all other work. Completes with `Exchanged`, after three times the timeout and
    /// one more for each reply at the latest.
    Exchange(Exchange),
    /// End the child of this job (SIGUSR1). `ChildEnded` follows.
    KillChild(Ticket),
    /// Find out how many bytes may still be written to the disk that holds `dir`. Completes with `SpaceMeasured`.
    MeasureSpace,
    /// Go to another directory; paths are relative to it from now on. Completes with `DirChanged`.
    ChangeDir(String),
    /// Open these listeners instead of the present ones. Completes with `Listening`.
    Listen {
        /// Addresses, a leading `-` meaning optional.
        bind: Vec<String>,
        /// TCP port, 0 for none.
        port: u16,
        /// The TLS port, and what its connections are made with; files are read anew.
        tls: TlsSettings,
    },
    /// Probe connections made from now on after they were idle for this long.
    KeepAlive {
        /// Seconds; 0 for never.
        seconds: u32,
    },
    /// Let the kernel end this process, and children begun from now on, this readily; as before the first such change if
    /// `None`. Completes with `OomScoreAdjusted`.
    AdjustOomScore(Option<OomAdjustment>),
    /// Read the configuration file, here and now. Completes with `ConfigRead`.
    ReadConfig {
        /// Absolute path of the file.
        path: String,
    },
    /// Replace the configuration file atomically and durably. Completes with `ConfigWritten`.
    WriteConfig {
        /// Absolute path of the file.
        path: String,
        /// Its new contents.
        text: String,
    },
    /// Do nothing at all for this long (DEBUG SLEEP).
    Sleep {
        /// Microseconds.
        us: u64,
    },
    /// Leave the process with this status, output flushed as far as sockets take it.
    Exit(i32),
    /// Die by this signal (DEBUG SEGFAULT and kin): a test aid.
    Die(i32),
    /// Replace the process by a fresh one of the same command line (DEBUG RESTART).
    Restart,
}

/// The engine's list of wishes of one turn, in order.
pub type Effects = Vec<Effect>;

/// The engine as a host drives it. [`crate::node::Node`] is the one real implementation; a host's own tests use toys.
///
/// A host calls `connect`, `receive`, `disconnect`, `complete`, `signal` and `sent` as things happen, then
/// `turn` once, then performs the effects in order, then waits until something happens or `wake_at`.
pub trait Engine {
    /// A connection came in. The engine may answer with output and [`Effect::Close`] at once (maxclients, protected mode).
    fn connect(&mut self, now: Now, peer: Peer, effects: &mut Effects) -> ClientId;
    /// Bytes came from a client. Complete commands among them are run at once.
    fn receive(&mut self, now: Now, client: ClientId, bytes: &[u8], effects: &mut Effects);
    /// A connection is gone, for whatever reason, [`Effect::Close`] included. Said once for each client.
    fn disconnect(&mut self, now: Now, client: ClientId, effects: &mut Effects);
    /// Something asked for has ended.
    fn complete(&mut self, now: Now, completion: Completion, effects: &mut Effects);
    /// A signal came in.
    fn signal(&mut self, now: Now, signal: Signal, effects: &mut Effects);
    /// The end of a turn: hand the journal's batch over, release replies, do timed work that is due.
    fn turn(&mut self, now: Now, effects: &mut Effects);
    /// Monotonic time, microseconds, at which `turn` is wanted at the latest.
    fn wake_at(&self) -> u64;
    /// Bytes that may go to this client now; empty for an unknown client.
    fn output(&self, client: ClientId) -> &[u8];
    /// Replies to this client wait for their changes to be safe. A connection that is being closed, or whose other
    /// end sends nothing more, stays until they are sent.
    fn is_holding(&self, client: ClientId) -> bool;
    /// The first `count` bytes of `output` were taken by the kernel.
    fn sent(&mut self, now: Now, client: ClientId, count: usize, effects: &mut Effects);
    /// The data set is being loaded: the host calls `load` between turns.
    fn is_loading(&self) -> bool;
    /// One bounded slice of loading (start-up, DEBUG RELOAD, DEBUG LOADAOF).
    fn load(&mut self, now: Now, disk: &mut dyn Disk, effects: &mut Effects);
    /// Makes a backup through `disk`; what a host runs for [`Effect::Backup`]. An engine that wraps another hands this on.
    ///
    /// # Errors
    /// The first step that failed; `ENOSYS` from an engine without backups.
    fn back_up(
        job: &BackupJob,
        _disk: &mut dyn Disk,
        _progress: &mut dyn FnMut(u64),
    ) -> Result<BackupWritten, IoError>
    where
        Self: Sized,
    {
        Err(IoError { operation: "backup", path: job.dir.clone(), errno: ENOSYS })
    }
    /// Starts encoding the data set as it is now. Driven to its end by a child, by SAVE, or step by step by the simulator.
    fn encoder<'a>(&'a self, job: &SnapshotJob) -> alloc::boxed::Box<dyn Encoder + 'a>;
}

/// A snapshot in the making over memory that does not change under it.
pub trait Encoder {
    /// Appends the next piece to `out`: at most about 64 KiB more than the largest single key. `false` when that was the last.
    fn step(&mut self, out: &mut Vec<u8>) -> bool;
    /// Keys written so far.
    fn keys(&self) -> u64;
}

/// Writes a whole snapshot through `disk`: create, append in pieces, sync, re-read and compare, close.
///
/// What SAVE and the snapshot child of every host run, so that the order of steps exists once. The file is left
/// in place on success and removed on failure; it is never renamed here (W14: only the parent renames).
///
/// # Errors
/// The first step that failed; a file whose re-read does not match is `EIO` on `verify`.
pub fn write_snapshot(
    encoder: &mut dyn Encoder,
    path: &str,
    file: FileId,
    disk: &mut dyn Disk,
    progress: &mut dyn FnMut(&mut dyn Disk, u64),
) -> Result<SnapshotWritten, IoError> {
    let result = append_all(encoder, path, file, disk, progress);
    if result.is_err() {
        // The step's own error is the one worth reporting.
        let _ = disk.perform(&FileStep::Close { file });
        let _ = disk.perform(&FileStep::Remove { path: path.into() });
    }
    result
}

fn append_all(
    encoder: &mut dyn Encoder,
    path: &str,
    file: FileId,
    disk: &mut dyn Disk,
    progress: &mut dyn FnMut(&mut dyn Disk, u64),
) -> Result<SnapshotWritten, IoError> {
    disk.perform(&FileStep::CreateTemp { file, path: path.into() })?;
    let mut crc = crc32fast::Hasher::new();
    let mut len = 0;
    let mut piece = Vec::new();
    loop {
        let more = encoder.step(&mut piece);
        if piece.len() >= SNAPSHOT_PIECE_BYTES || !more {
            crc.update(&piece);
            len += piece.len() as u64;
            let step = FileStep::Append { file, bytes: Bytes::from(core::mem::take(&mut piece)) };
            disk.perform(&step).or_else(unless_errors_are_ignored)?;
            progress(disk, encoder.keys());
        }
        if !more {
            break;
        }
    }
    if !mutant::is(Mutant::SnapshotNotSynced) {
        disk.perform(&FileStep::Sync { file }).or_else(unless_errors_are_ignored)?;
    }
    verify(path, len, crc.finalize(), disk).or_else(unless_errors_are_ignored)?;
    disk.perform(&FileStep::Close { file })?;
    if mutant::is(Mutant::ChildRenames) && path.ends_with(".rdb") {
        disk.perform(&FileStep::Rename { from: path.into(), to: "dump.rdb".into() })?;
    }
    Ok(SnapshotWritten { path: path.into(), len, keys: encoder.keys() })
}

fn unless_errors_are_ignored(error: IoError) -> Result<(), IoError> {
    if mutant::is(Mutant::SnapshotErrorsIgnored) { Ok(()) } else { Err(error) }
}

/// Bytes gathered before one append of a snapshot: large enough that system calls vanish, small enough for the cache.
const SNAPSHOT_PIECE_BYTES: usize = 256 * 1024;

fn verify(path: &str, len: u64, crc_expected: u32, disk: &mut dyn Disk) -> Result<(), IoError> {
    let mut crc = crc32fast::Hasher::new();
    let mut buffer = alloc::vec![0; SNAPSHOT_PIECE_BYTES];
    let mut offset = 0;
    loop {
        let count = disk.read_at(path, offset, &mut buffer)?;
        if count == 0 {
            break;
        }
        crc.update(&buffer[..count]);
        offset += count as u64;
    }
    if offset != len || crc.finalize() != crc_expected {
        return Err(IoError { operation: "verify", path: path.into(), errno: EIO });
    }
    Ok(())
}

/// What the system calls an error number, for those a disk gives.
pub fn errno_text(errno: i32) -> String {
    let text = match errno {
        1 => "Operation not permitted",
        2 => "No such file or directory",
        5 => "Input/output error",
        9 => "Bad file descriptor",
        12 => "Cannot allocate memory",
        13 => "Permission denied",
        17 => "File exists",
        20 => "Not a directory",
        21 => "Is a directory",
        22 => "Invalid argument",
        23 => "Too many open files in system",
        24 => "Too many open files",
        27 => "File too large",
        28 => "No space left on device",
        30 => "Read-only file system",
        122 => "Disk quota exceeded",
        other => return format!("errno {other}"),
    };
    text.into()
}

/// Handle of the file that a backup is writing: no engine gives out a number so high.
pub const BACKUP_FILE: FileId = FileId(u32::MAX - 16);

/// Input/output error, as Linux numbers it.
pub const EIO: i32 = 5;
/// No such file or directory.
pub const ENOENT: i32 = 2;
/// File exists.
pub const EEXIST: i32 = 17;
/// No space left on device.
pub const ENOSPC: i32 = 28;
/// Function not implemented.
pub const ENOSYS: i32 = 38;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_failed_step_says_in_words_what_is_wrong() {
        let error = |errno| IoError { operation: "fdatasync", path: "a/b".into(), errno }.to_string();
        assert_eq!(error(EIO), "fdatasync a/b: Input/output error");
        assert_eq!(error(ENOSPC), "fdatasync a/b: No space left on device");
        assert_eq!(error(4095), "fdatasync a/b: errno 4095");
    }
}
