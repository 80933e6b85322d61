//! A path as it was typed, as the engine's readers want it: a directory to stand in, and a name within.
//!
//! Not here: what the file is (`check_aof.rs`, `artefact.rs`), reading it (`perdura-linux`'s `LinuxDisk`).

use std::{
    io,
    path::{Path, PathBuf},
};

use perdura_core::host::IoError;
use perdura_linux::LinuxDisk;

/// A file, seen from the directory it is in.
pub struct Place {
    /// The directory.
    pub disk: LinuxDisk,
    /// Where that is.
    pub dir: PathBuf,
    /// The file's name in it.
    pub name: String,
}

impl Place {
    /// Stands in the directory of `path`.
    ///
    /// # Errors
    /// The directory cannot be opened; a path without a file name.
    pub fn of(path: &Path) -> io::Result<Place> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        let dir = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Place { disk: open(&dir)?, dir, name })
    }
}

/// The file system below a directory.
///
/// # Errors
/// It cannot be opened.
pub fn open(dir: &Path) -> io::Result<LinuxDisk> {
    let text = dir.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
    LinuxDisk::open(text).map_err(|error| io::Error::new(error.kind(), format!("{text}: {error}")))
}

/// A failed step, as an error one can print.
pub fn io_error(error: IoError) -> io::Error {
    let cause = io::Error::from_raw_os_error(error.errno);
    io::Error::new(cause.kind(), format!("{} {}: {cause}", error.operation, error.path))
}
