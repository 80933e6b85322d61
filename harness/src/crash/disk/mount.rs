//! Real file systems on a disk that is a file: made, mounted through the loop driver, unmounted.
//!
//! Exists so that whoever needs a mounted file system holds a value, and the mount is gone with it.
//!
//! Always true: everything is mounted in a namespace of this process ([`enter_namespace`]), so nothing outlives it, not
//! even when it is killed.
//!
//! Not here: what is on the disk (`image.rs`), who watches it (`device.rs`).

use super::image::Image;
use crate::crash::Missing;
use crate::os;
use crate::process::TempDir;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;
use strum::{IntoStaticStr, VariantArray};

/// How often an unmount is tried while the file system is busy: a killed process lets go a little later.
const UNMOUNT_TRIES_MAX: usize = 200;

/// A file system that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum FileSystem {
    /// With its default, ordered journal.
    Ext4,
    /// Logs metadata only.
    Xfs,
    /// Copies on write.
    Btrfs,
}

impl FileSystem {
    /// As the kernel calls it.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The smallest that its `mkfs` makes, with room for a run.
    fn size(self) -> u64 {
        const MIB: u64 = 1 << 20;
        match self {
            FileSystem::Ext4 => 96 * MIB,
            FileSystem::Xfs => 304 * MIB,
            FileSystem::Btrfs => 160 * MIB,
        }
    }

    fn mkfs_arguments(self) -> &'static [&'static str] {
        match self {
            // Everything is laid out at once: nothing happens in the background of a run.
            FileSystem::Ext4 => &["-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
            FileSystem::Xfs => &["-q", "-K"],
            FileSystem::Btrfs => &["-q", "-K"],
        }
    }

    /// Why this machine cannot have it, if it cannot.
    pub fn missing(self) -> Option<Missing> {
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if !known.lines().any(|line| line.trim() == self.name()) {
            return Some(Missing::Facility(format!("no {} in its kernel", self.name())));
        }
        let mkfs = format!("mkfs.{}", self.name());
        let is_there = Command::new(&mkfs).arg("-V").output().is_ok();
        (!is_there).then_some(Missing::Program(mkfs))
    }

    /// A fresh one.
    pub(in crate::crash) fn make(self) -> io::Result<Image> {
        let folder = TempDir::new("perdura-mkfs")?;
        let path = folder.path().join("image");
        File::create(&path)?.set_len(self.size())?;
        run(Command::new(format!("mkfs.{}", self.name())).args(self.mkfs_arguments()).arg(&path))?;
        Image::read_from(&path)
    }
}

/// Why this machine can mount nothing of ours, if it cannot.
pub(in crate::crash) fn missing() -> Option<Missing> {
    if !os::is_root() {
        return Some(Missing::Facility("no root for us".into()));
    }
    ["/dev/fuse", "/dev/loop-control"]
        .into_iter()
        .find(|path| File::options().read(true).write(true).open(path).is_err())
        .map(|path| Missing::Facility(format!("no {path} that can be opened")))
}

/// Moves this process to mounts of its own. Before any other thread begins.
///
/// # Errors
/// Whatever the kernel reports.
pub(in crate::crash) fn enter_namespace() -> io::Result<()> {
    os::unshare_mounts()?;
    run(Command::new("mount").args(["--make-rprivate", "/"]))
}

/// A mounted file system.
pub(in crate::crash) struct Mount {
    folder: TempDir,
    is_mounted: bool,
}

impl Mount {
    /// Mounts the file `disk`; the file system recovers it first, as after a crash.
    pub(in crate::crash) fn new(file_system: FileSystem, disk: &Path) -> io::Result<Mount> {
        Mount::with(file_system, disk, "loop,noatime")
    }

    /// The same where a file gets room only as it is written: XFS otherwise sets aside as much again as a file has, and
    /// a disk that is full is not felt for long.
    pub(in crate::crash) fn without_reserve(file_system: FileSystem, disk: &Path) -> io::Result<Mount> {
        match file_system {
            FileSystem::Xfs => Mount::with(file_system, disk, "loop,noatime,allocsize=4096"),
            FileSystem::Ext4 | FileSystem::Btrfs => Mount::new(file_system, disk),
        }
    }

    fn with(file_system: FileSystem, disk: &Path, options: &str) -> io::Result<Mount> {
        let folder = TempDir::new("perdura-mount")?;
        run(Command::new("mount")
            .args(["-t", file_system.name(), "-o", options])
            .arg(disk)
            .arg(folder.path()))?;
        Ok(Mount { folder, is_mounted: true })
    }

    /// Where it is.
    pub(in crate::crash) fn path(&self) -> PathBuf {
        self.folder.path().into()
    }

    /// Unmounts.
    pub(in crate::crash) fn unmount(mut self) -> io::Result<()> {
        self.try_unmount()
    }

    fn try_unmount(&mut self) -> io::Result<()> {
        for _ in 0..UNMOUNT_TRIES_MAX {
            if !self.is_mounted || run(Command::new("umount").arg(self.folder.path())).is_ok() {
                self.is_mounted = false;
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        // Out of sight at least; it is gone with the last file open on it.
        self.is_mounted = false;
        run(Command::new("umount").arg("-l").arg(self.folder.path()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Nothing can be done about an error here; the namespace ends with the process.
        let _ = self.try_unmount();
    }
}

/// Runs a command to its end.
fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}", said.trim())))
}
