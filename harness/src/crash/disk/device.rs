//! A disk that remembers everything: one file of a FUSE file system, made a block device by the loop driver.
//!
//! Exists because only somebody between a file system and its device sees which writes a flush covered; the loop driver
//! hands each flush of the file system over as an `fsync` of the file.
//!
//! Always true: requests are served one at a time, and each is noted, with what the witness says at that moment, before
//! it is answered; what is read is what was written last.
//!
//! Not here: what a loss of power leaves (`image.rs`), the file system on top (`mount.rs`).

use super::image::{Image, Request};
use super::mount;
use crate::process::TempDir;
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, WriteFlags,
};
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

/// The one file's name.
const NAME: &str = "disk";
const INODE: INodeNo = INodeNo(2);
/// Attributes never change.
const LASTING: Duration = Duration::from_secs(3600);

/// What a device can do wrong, while it does.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::crash) struct Faults {
    /// So many more writes fail.
    pub(in crate::crash) writes: u64,
    /// So many more flushes fail.
    pub(in crate::crash) flushes: u64,
    /// How long each flush takes.
    pub(in crate::crash) flush_delay: Duration,
}

/// What is true of the clients at one moment.
pub(in crate::crash) type Witness<S> = Arc<dyn Fn() -> S + Send + Sync>;

struct State<S> {
    image: Image,
    requests: Vec<Request>,
    samples: Vec<S>,
    faults: Faults,
    failures: u64,
}

/// The disk while a run goes on.
pub(in crate::crash) struct Device<S> {
    state: Arc<Mutex<State<S>>>,
    session: Option<BackgroundSession>,
    folder: TempDir,
}

/// A run, as the disk saw it.
pub(in crate::crash) struct Recording<S> {
    /// What the disk held at first.
    pub(in crate::crash) start: Image,
    pub(in crate::crash) requests: Vec<Request>,
    /// For each request, what the witness said when it came.
    pub(in crate::crash) samples: Vec<S>,
}

impl<S: Send + 'static> Device<S> {
    /// A disk that holds `start`.
    pub(in crate::crash) fn open(start: Image, witness: Witness<S>) -> io::Result<Device<S>> {
        let folder = TempDir::new("perdura-device")?;
        let state = State {
            image: start,
            requests: Vec::new(),
            samples: Vec::new(),
            faults: Faults::default(),
            failures: 0,
        };
        let state = Arc::new(Mutex::new(state));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("perdura-device".into())];
        let folder_of_disk = Folder { state: state.clone(), witness };
        let session = fuser::spawn_mount(folder_of_disk, folder.path(), &config)?;
        Ok(Device { state, session: Some(session), folder })
    }

    /// The file that is the disk.
    pub(in crate::crash) fn path(&self) -> PathBuf {
        self.folder.path().join(NAME)
    }

    /// How many requests it has served.
    pub(in crate::crash) fn request_count(&self) -> usize {
        self.lock().requests.len()
    }

    /// From now on the disk does this wrong.
    pub(in crate::crash) fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Requests that failed so far.
    pub(in crate::crash) fn failures(&self) -> u64 {
        self.lock().failures
    }

    /// Gives the record, and the disk up.
    pub(in crate::crash) fn finish(mut self, start: Image) -> io::Result<Recording<S>> {
        self.close()?;
        let mut state = self.lock();
        Ok(Recording {
            start,
            requests: std::mem::take(&mut state.requests),
            samples: std::mem::take(&mut state.samples),
        })
    }
}

impl<S> Device<S> {
    /// Ends the session once nobody holds the disk any more.
    fn close(&mut self) -> io::Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        mount::unmount(self.folder.path())?;
        session.join()
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().expect("nobody panics holding it")
    }
}

impl<S> Drop for Device<S> {
    fn drop(&mut self) {
        // Nothing can be done about an error here; the namespace ends with the process.
        let _ = self.close();
    }
}

struct Folder<S> {
    state: Arc<Mutex<State<S>>>,
    witness: Witness<S>,
}

impl<S> Folder<S> {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_disk = inode == INODE;
        let size =
            if is_disk { self.state.lock().expect("nobody panics holding it").image.size() } else { 0 };
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_disk { FileType::RegularFile } else { FileType::Directory },
            perm: if is_disk { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// Serves one request, if it does not fail.
    fn serve(&self, request: Request) -> Result<(), Errno> {
        let sample = (self.witness)();
        let mut state = self.state.lock().expect("nobody panics holding it");
        let left = match request {
            Request::Write(..) => &mut state.faults.writes,
            Request::Flush => &mut state.faults.flushes,
        };
        if *left > 0 {
            *left -= 1;
            state.failures += 1;
            return Err(Errno::EIO);
        }
        if let Request::Write(offset, bytes) = &request {
            state.image.write(*offset, bytes);
        }
        state.requests.push(request);
        state.samples.push(sample);
        Ok(())
    }
}

impl<S: Send + 'static> Filesystem for Folder<S> {
    fn lookup(&self, _: &fuser::Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == NAME {
            reply.entry(&LASTING, &self.attributes(INODE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &fuser::Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&LASTING, &self.attributes(inode));
    }

    fn open(&self, _: &fuser::Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Without a page cache in between: the order seen here is the order in which the loop driver asked.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &fuser::Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.state.lock().expect("nobody panics holding it");
        let count = state.image.size().saturating_sub(offset).min(size.into());
        let mut bytes = vec![0; count as usize];
        state.image.read(offset, &mut bytes);
        reply.data(&bytes);
    }

    fn write(
        &self,
        _: &fuser::Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.serve(Request::Write(offset, bytes.into())) {
            Ok(()) => reply.written(bytes.len() as u32),
            Err(errno) => reply.error(errno),
        }
    }

    fn fsync(&self, _: &fuser::Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let delay = self.state.lock().expect("nobody panics holding it").faults.flush_delay;
        thread::sleep(delay);
        match self.serve(Request::Flush) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &fuser::Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // A close of the file: says nothing about durability.
        reply.ok();
    }
}
