//! The file system: `Disk` over real files, and the table of those held open.
//!
//! Exists so that start-up, SAVE, snapshot children and the worker threads perform a step by the same code.
//!
//! Always true: paths are resolved against one directory descriptor, not the working directory, so a change of
//! `dir` cannot move a step that was asked for earlier; a failed sync is reported and never retried.
//!
//! Not here: threads and order between files (`workers.rs`), the crash model (`sim/disk.rs`).

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex};

use perdura_core::host::{DirEntry, Disk, ENOENT, FileId, FileStep, IoError};

use crate::sys;

/// Mode of new files, before the umask.
const FILE_MODE: libc::mode_t = 0o600;
/// Mode of new directories, before the umask.
const DIR_MODE: libc::mode_t = 0o700;

/// The file system below one directory. Clones share their open files.
#[derive(Clone)]
pub struct LinuxDisk {
    root: Arc<OwnedFd>,
    files: Arc<FileTable>,
}

/// Proof that no other server uses the directory; given up when dropped.
pub struct DirLock {
    _fd: OwnedFd,
}

impl LinuxDisk {
    /// The file system below `dir`, with no file open.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn open(dir: &str) -> io::Result<LinuxDisk> {
        Ok(LinuxDisk { root: Arc::new(sys::open_dir(dir)?), files: Arc::default() })
    }

    /// Bytes that may still be written to the disk that holds the directory.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        sys::free_bytes(self.root.as_fd())
    }

    /// What its paths are relative to.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.root.as_raw_fd()
    }

    /// The same directory with a table of open files of its own, that no other thread can have locked.
    pub(crate) fn separate(&self) -> LinuxDisk {
        LinuxDisk { root: self.root.clone(), files: Arc::default() }
    }

    /// Another directory from now on; open files stay open. Clones made earlier stay where they are.
    pub(crate) fn move_to(&mut self, dir: &str) -> io::Result<()> {
        self.root = Arc::new(sys::open_dir(dir)?);
        Ok(())
    }

    /// Locks the directory against a second server, for as long as the result lives.
    ///
    /// Redis has no such lock; two servers over one directory overwrite each other's files.
    ///
    /// # Errors
    /// EWOULDBLOCK: another process holds it.
    pub fn lock_dir(&self) -> io::Result<DirLock> {
        // A descriptor of its own, because the lock belongs to it and must not reach the snapshot child.
        let fd = sys::open_at(self.root.as_fd(), ".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        sys::lock_exclusive(fd.as_fd())?;
        Ok(DirLock { _fd: fd })
    }

    /// Appends to an open file; the count is right even when it fails.
    pub(crate) fn append(&self, file: FileId, bytes: &[u8]) -> (u64, Option<IoError>) {
        let open = match self.files.get(file) {
            Ok(open) => open,
            Err(error) => return (0, Some(error)),
        };
        let (written, error) = write_all(open.fd.as_fd(), bytes);
        (written, error.map(|error| open.failed("write", &error)))
    }

    fn create(&self, file: FileId, path: &str, flags: libc::c_int) -> Result<(), IoError> {
        let flags = flags | libc::O_WRONLY | libc::O_APPEND;
        let fd =
            sys::open_at(self.root.as_fd(), path, flags, FILE_MODE).map_err(|e| failed("open", path, &e))?;
        self.files.insert(file, OpenFile { fd, path: path.into() });
        Ok(())
    }

    fn create_dir(&self, path: &str) -> Result<(), IoError> {
        match sys::mkdir_at(self.root.as_fd(), path, DIR_MODE) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                let stat = sys::stat_at(self.root.as_fd(), path).map_err(|e| failed("stat", path, &e))?;
                if is_kind(&stat, libc::S_IFDIR) { Ok(()) } else { Err(failed("mkdir", path, &error)) }
            }
            result => result.map_err(|e| failed("mkdir", path, &e)),
        }
    }

    fn remove(&self, path: &str) -> Result<(), IoError> {
        match sys::unlink_at(self.root.as_fd(), path) {
            Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(()),
            result => result.map_err(|e| failed("unlink", path, &e)),
        }
    }

    fn truncate(&self, path: &str, len: u64) -> Result<(), IoError> {
        let fd = self.open_path(path, libc::O_WRONLY)?;
        let stat = sys::stat_at(self.root.as_fd(), path).map_err(|e| failed("stat", path, &e))?;
        if stat_len(&stat) < len {
            // ftruncate would fill up with zeroes: a cut must never invent bytes.
            return Err(IoError { operation: "truncate", path: path.into(), errno: libc::EINVAL });
        }
        sys::truncate(fd.as_fd(), len).map_err(|e| failed("truncate", path, &e))?;
        sys::fdatasync(fd.as_fd()).map_err(|e| failed("fdatasync", path, &e))
    }

    fn sync_dir(&self, path: &str) -> Result<(), IoError> {
        let fd = self.open_path(dir_name(path), libc::O_RDONLY | libc::O_DIRECTORY)?;
        sys::fsync(fd.as_fd()).map_err(|e| failed("fsync", path, &e))
    }

    fn open_path(&self, path: &str, flags: libc::c_int) -> Result<OwnedFd, IoError> {
        sys::open_at(self.root.as_fd(), path, flags, 0).map_err(|e| failed("open", path, &e))
    }
}

impl Disk for LinuxDisk {
    fn perform(&mut self, step: &FileStep) -> Result<(), IoError> {
        match step {
            FileStep::CreateDir { path } => self.create_dir(path),
            FileStep::CreateExclusive { file, path } => {
                self.create(*file, path, libc::O_CREAT | libc::O_EXCL)
            }
            FileStep::CreateTemp { file, path } => self.create(*file, path, libc::O_CREAT | libc::O_TRUNC),
            FileStep::OpenAppend { file, path } => self.create(*file, path, 0),
            FileStep::Append { file, bytes } => self.append(*file, bytes).1.map_or(Ok(()), Err),
            FileStep::Sync { file } => {
                let open = self.files.get(*file)?;
                sys::fdatasync(open.fd.as_fd()).map_err(|e| open.failed("fdatasync", &e))
            }
            // One that is not open is fine: a repair closes what an earlier attempt may have closed.
            FileStep::Close { file } => self.files.remove(*file).or(Ok(())),
            FileStep::Rename { from, to } => {
                sys::rename_at(self.root.as_fd(), from, to).map_err(|e| failed("rename", from, &e))
            }
            FileStep::Link { from, to } => {
                sys::link_at(self.root.as_fd(), from, to).map_err(|e| failed("link", to, &e))
            }
            FileStep::Remove { path } => self.remove(path),
            FileStep::Truncate { path, len } => self.truncate(path, *len),
            FileStep::SyncPath { path } => {
                let fd = self.open_path(path, libc::O_RDONLY)?;
                sys::fsync(fd.as_fd()).map_err(|e| failed("fsync", path, &e))
            }
            FileStep::SyncDir { path } => self.sync_dir(path),
        }
    }

    fn list(&mut self, path: &str) -> Result<Vec<DirEntry>, IoError> {
        let dir = self.open_path(dir_name(path), libc::O_RDONLY | libc::O_DIRECTORY)?;
        let names = sys::read_dir(dir).map_err(|e| failed("readdir", path, &e))?;
        let mut entries: Vec<DirEntry> = names.into_iter().map(|(name, stat)| entry(name, &stat)).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, IoError> {
        let fd = self.open_path(path, libc::O_RDONLY)?;
        sys::read_at(fd.as_fd(), offset, buffer).map_err(|e| failed("read", path, &e))
    }

    fn len(&mut self, path: &str) -> Result<Option<u64>, IoError> {
        match sys::stat_at(self.root.as_fd(), path) {
            Ok(stat) if is_kind(&stat, libc::S_IFREG) => Ok(Some(stat_len(&stat))),
            Ok(_) => Ok(None),
            Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(None),
            Err(error) => Err(failed("stat", path, &error)),
        }
    }
}

/// The files held open, by the engine's names for them.
#[derive(Default)]
struct FileTable {
    files: Mutex<HashMap<FileId, Arc<OpenFile>>>,
}

struct OpenFile {
    fd: OwnedFd,
    path: String,
}

impl OpenFile {
    fn failed(&self, operation: &'static str, error: &io::Error) -> IoError {
        failed(operation, &self.path, error)
    }
}

impl FileTable {
    fn get(&self, file: FileId) -> Result<Arc<OpenFile>, IoError> {
        self.lock().get(&file).cloned().ok_or_else(|| not_open(file))
    }

    fn insert(&self, file: FileId, open: OpenFile) {
        let previous = self.lock().insert(file, Arc::new(open));
        assert!(previous.is_none(), "{file:?} is open already");
    }

    fn remove(&self, file: FileId) -> Result<(), IoError> {
        self.lock().remove(&file).map(drop).ok_or_else(|| not_open(file))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<FileId, Arc<OpenFile>>> {
        self.files.lock().expect("a worker panicked, which aborts the process")
    }
}

fn not_open(file: FileId) -> IoError {
    IoError { operation: "fd", path: format!("#{}", file.0), errno: libc::EBADF }
}

/// Writes everything, going on after short writes; how much got there, and why not all.
pub(crate) fn write_all(fd: BorrowedFd, bytes: &[u8]) -> (u64, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match sys::write(fd, &bytes[written..]) {
            Ok(0) => return (written as u64, Some(io::Error::from_raw_os_error(libc::EIO))),
            Ok(count) => written += count,
            Err(error) => return (written as u64, Some(error)),
        }
    }
    (written as u64, None)
}

/// Operations an [`IoError`] can name, so that a child's report can carry one as a number.
pub(crate) const OPERATIONS: [&str; 15] = [
    "open",
    "write",
    "fdatasync",
    "fsync",
    "rename",
    "link",
    "unlink",
    "mkdir",
    "truncate",
    "read",
    "readdir",
    "stat",
    "fd",
    "verify",
    "snapshot",
];

fn failed(operation: &'static str, path: &str, error: &io::Error) -> IoError {
    IoError { operation, path: path.into(), errno: sys::errno(error) }
}

fn dir_name(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}

fn is_kind(stat: &libc::stat, kind: libc::mode_t) -> bool {
    stat.st_mode & libc::S_IFMT == kind
}

fn stat_len(stat: &libc::stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn entry(name: String, stat: &libc::stat) -> DirEntry {
    let modified_ms = i128::from(stat.st_mtime) * 1_000 + i128::from(stat.st_mtime_nsec) / 1_000_000;
    DirEntry {
        name,
        len: if is_kind(stat, libc::S_IFDIR) { 0 } else { stat_len(stat) },
        is_file: is_kind(stat, libc::S_IFREG),
        modified_ms: u64::try_from(modified_ms).unwrap_or(0),
    }
}
