//! Real file systems on a disk that is a file: made, mounted through the loop driver, unmounted.
//!
//! Exists so that whoever needs a mounted file system holds a value, and the mount is gone with it.
//!
//! Always true: everything is mounted in a namespace of this process ([`enter_namespace`]), so nothing outlives it, not
//! even when it is killed.
//!
//! Not here: what is on the disk (`image.rs`), who watches it (`device.rs`).

use super::holders;
use super::image::Image;
use crate::crash::Missing;
use crate::os;
use crate::process::TempDir;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use strum::{IntoStaticStr, VariantArray};

/// How long an unmount is tried while the file system is busy: on a machine with much to do, a killed process or somebody
/// who looked into a loop device lets go only later.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const UNMOUNT_PAUSE: Duration = Duration::from_millis(10);

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

    /// Unmounts, once nobody has a file open on it.
    pub(in crate::crash) fn unmount(mut self) -> io::Result<()> {
        unmount(self.folder.path())?;
        self.is_mounted = false;
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.is_mounted {
            // Out of sight at least; it is gone with the last file open on it. Nothing can be done about an error here; the
            // namespace ends with the process.
            let _ = run(Command::new("umount").arg("-l").arg(self.folder.path()));
        }
    }
}

/// Unmounts what is mounted at `folder`, and waits for those who keep it busy.
///
/// # Errors
/// Names them, when they do not let go.
pub(super) fn unmount(folder: &Path) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match run(Command::new("umount").arg(folder)) {
            Err(error) if start.elapsed() > UNMOUNT_PATIENCE => {
                return Err(io::Error::other(format!("{error}; held by {}", holders::describe(folder))));
            }
            Err(_) => thread::sleep(UNMOUNT_PAUSE),
            Ok(()) => return Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use super::super::{Device, Request};
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    const CYCLES: u32 = 30;

    /// What could go wrong: the device is freed by whoever closes it last, which need not be the one that unmounted.
    #[test]
    fn a_disk_is_let_go_of_although_others_look_into_its_loop_device() {
        if let Some(missing) = super::super::missing(FileSystem::Ext4) {
            assert!(!std::env::var("PERDURA_MUST_RUN").is_ok_and(|value| value == "1"), "{missing}");
            writeln!(io::stderr(), "NOT RUN: unmounting in a crowd: {missing}").unwrap();
            return;
        }
        enter_namespace().unwrap();
        let start = FileSystem::Ext4.make().unwrap();
        let has_ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| look_into_loop_devices(&has_ended));
            let cycles = (0..CYCLES).try_for_each(|_| record_one_file(&start));
            has_ended.store(true, Ordering::SeqCst);
            cycles.unwrap();
        });
    }

    fn record_one_file(start: &Image) -> io::Result<()> {
        let device = Device::open(start.clone(), Arc::new(|| ()))?;
        let mount = Mount::new(FileSystem::Ext4, &device.path())?;
        fs::write(mount.path().join("file"), b"contents")?;
        mount.unmount()?;
        let recording = device.finish(start.clone())?;
        assert!(recording.requests.iter().any(|request| matches!(request, Request::Flush)));
        Ok(())
    }

    /// As every `mount` with a loop device does, only that each look takes longer.
    fn look_into_loop_devices(has_ended: &AtomicBool) {
        while !has_ended.load(Ordering::SeqCst) {
            let open: Vec<_> = (0..8).map(|number| fs::File::open(format!("/dev/loop{number}"))).collect();
            thread::sleep(Duration::from_millis(15));
            drop(open);
            thread::sleep(Duration::from_millis(5));
        }
    }
}
