//! A disk whose sync takes long, for any server: a library loaded before all others that makes each sync wait.
//!
//! Exists because waiting for a slow device is where group commit matters most, and no machine has every device.
//!
//! Always true: the sync itself still happens; the wait comes on top. Every server is slowed by the same code.
//!
//! Not here: what is measured on it (`always.rs`).

use crate::process::ServerCommand;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What the C compiler gets; `DELAY_US` is defined on its command line.
const SOURCE: &str = "
#define _GNU_SOURCE
#include <unistd.h>
#include <sys/syscall.h>
int fdatasync(int fd) { usleep(DELAY_US); return syscall(SYS_fdatasync, fd); }
int fsync(int fd) { usleep(DELAY_US); return syscall(SYS_fsync, fd); }
";

/// Makes the library in `dir`.
///
/// # Errors
/// No C compiler, or it fails.
pub(super) fn make_library(dir: &Path, delay: Duration) -> io::Result<PathBuf> {
    let (source, library) = (dir.join("slow_sync.c"), dir.join("slow_sync.so"));
    fs::write(&source, SOURCE)?;
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", &format!("-DDELAY_US={}", delay.as_micros()), "-o"])
        .args([&library, &source])
        .status()?;
    status.success().then_some(library).ok_or_else(|| io::Error::other("cc made no library"))
}

/// The same server with slow syncs.
pub(super) fn slowed(command: &ServerCommand, library: &Path) -> ServerCommand {
    let preload = ["env".to_string(), format!("LD_PRELOAD={}", library.display())];
    ServerCommand {
        name: command.name.clone(),
        words: preload.into_iter().chain(command.words.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::TempDir;
    use std::time::Instant;

    #[test]
    fn a_sync_takes_as_long_as_wanted() {
        let dir = TempDir::new("perdura-slow-sync").unwrap();
        let library = make_library(dir.path(), Duration::from_millis(50)).unwrap();
        let file = dir.path().join("file").display().to_string();
        let plain =
            ServerCommand { name: "sync".into(), words: vec!["sync".into(), "-d".into(), file.clone()] };
        fs::write(&file, "x").unwrap();
        let start = Instant::now();
        assert!(slowed(&plain, &library).raw_command().status().unwrap().success());
        assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
    }
}
