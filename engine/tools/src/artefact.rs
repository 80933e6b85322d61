//! What a path given to a tool is: an append-only set, a single log, or a snapshot.
//!
//! A directory is looked into: a set below it or in it comes first, then a snapshot. A backup is a directory like any
//! other.
//!
//! Always true: opening one reads names and manifests only; nothing is created.
//!
//! Not here: reading its records (`walk.rs`), loading its data (`dataset.rs`).

use std::{
    io,
    path::{Path, PathBuf},
};

use perdura_core::{
    host::Disk,
    persist::{
        append_only::Names,
        manifest::{Manifest, Part},
        recovery::read_range,
        set_files::{self, SetFile},
    },
    rdb,
};
use perdura_linux::LinuxDisk;

use crate::place::{self, Place, io_error};

/// What it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A manifest and the files it names.
    Set,
    /// One file of records, perhaps behind a snapshot.
    Log,
    /// A snapshot alone.
    Snapshot,
}

/// Files that together hold a data set.
pub struct Artefact {
    /// What it is.
    pub kind: Kind,
    /// The directory its files are in.
    pub disk: LinuxDisk,
    /// Where that is.
    pub dir: PathBuf,
    /// The set's names within that directory.
    pub names: Names,
    /// Its manifest; for a single file one that names it alone.
    pub manifest: Manifest,
    /// Its files, in the order in which they are read.
    pub files: Vec<SetFile>,
}

/// Bytes within which a manifest or a snapshot shows what it is.
const HEAD_BYTES: usize = 1 << 20;

/// How a manifest's name ends.
pub const MANIFEST_ENDING: &str = ".manifest";

impl Artefact {
    /// Finds out what is at `path`.
    ///
    /// # Errors
    /// Nothing is there, or nothing that is known; a manifest that cannot be read.
    pub fn open(path: &Path) -> io::Result<Artefact> {
        if !path.is_dir() {
            return Artefact::of_file(Place::of(path)?);
        }
        let own = manifests_in(path)?;
        if let Some(name) = the_only(&own, path)? {
            return Artefact::of_file(Place::of(&path.join(name))?);
        }
        for below in directories_in(path)? {
            let live: Vec<String> =
                manifests_in(&below)?.into_iter().filter(|name| unarchived(name) == name).collect();
            if let Some(name) = the_only(&live, &below)? {
                return Artefact::of_file(Place::of(&below.join(name))?);
            }
        }
        let snapshots = names_in(path, |name| name.ends_with(".rdb"))?;
        match &snapshots[..] {
            [name] => Artefact::of_file(Place::of(&path.join(name))?),
            [] => Err(other(format!("{}: neither an append-only set nor a snapshot", path.display()))),
            _ => Err(other(format!("{}: several snapshots: name one of them", path.display()))),
        }
    }

    fn of_file(place: Place) -> io::Result<Artefact> {
        let Place { mut disk, dir, name } = place;
        if disk.len(&name).map_err(io_error)?.is_none() {
            return Err(other(format!("{}: there is no such file", dir.join(&name).display())));
        }
        let head = read_range(&name, 0, HEAD_BYTES, &mut disk).map_err(io_error)?;
        if is_manifest(&head) {
            return Artefact::of_set(disk, dir, &name, &head);
        }
        let manifest = Manifest { base: Some(Part { name: name.clone(), seq: 1 }), ..Manifest::default() };
        let names = Names { dir: ".".into(), prefix: name.clone() };
        let files = set_files::set_files(&names, &manifest, true, &mut disk).map_err(io_error)?;
        let is_snapshot = head.starts_with(rdb::MAGIC) && name.ends_with(".rdb");
        let kind = if is_snapshot { Kind::Snapshot } else { Kind::Log };
        Ok(Artefact { kind, disk, dir, names, manifest, files })
    }

    fn of_set(mut disk: LinuxDisk, dir: PathBuf, name: &str, text: &[u8]) -> io::Result<Artefact> {
        let manifest = Manifest::parse(text).map_err(|error| {
            let path = dir.join(name);
            other(format!("{}, line {}: {} ({})", path.display(), error.line, error.reason, error.text))
        })?;
        let prefix = name.strip_suffix(MANIFEST_ENDING).unwrap_or(name).to_owned();
        let names = Names { dir: ".".into(), prefix };
        for part in manifest.loaded() {
            if disk.len(&part.name).map_err(io_error)?.is_none() {
                let path = dir.join(&part.name);
                return Err(other(format!("{}: the manifest names it, and it is not there", path.display())));
            }
        }
        let files = set_files::set_files(&names, &manifest, true, &mut disk).map_err(io_error)?;
        Ok(Artefact { kind: Kind::Set, disk, dir, names, manifest, files })
    }

    /// Bytes of all its files.
    pub fn len(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }
}

/// A manifest is known by its first line that is no comment; one that names no file yet, by its only comment.
pub fn is_manifest(head: &[u8]) -> bool {
    match head.split(|&byte| byte == b'\n').find(|line| !line.starts_with(b"#")) {
        Some(line) if !line.is_empty() => line.starts_with(b"file"),
        _ => head.starts_with(b"#perdura: begun"),
    }
}

/// Manifests in a directory, sorted; those being written are not counted.
///
/// # Errors
/// The directory cannot be read.
pub fn manifests_in(dir: &Path) -> io::Result<Vec<String>> {
    names_in(dir, |name| name.ends_with(MANIFEST_ENDING) && !name.starts_with("temp-"))
}

/// The name that a file of the archive had in its set: it is kept as `<milliseconds>-<name>`.
pub fn unarchived(name: &str) -> &str {
    match name.split_once('-') {
        Some((time, own)) if !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit()) => own,
        _ => name,
    }
}

fn the_only(manifests: &[String], dir: &Path) -> io::Result<Option<String>> {
    match manifests {
        [] => Ok(None),
        [name] => Ok(Some(name.clone())),
        _ => Err(other(format!("{}: several manifests: name one of them", dir.display()))),
    }
}

fn names_in(dir: &Path, is_wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let entries = place::open(dir)?.list("").map_err(io_error)?;
    let files = entries.into_iter().filter(|entry| entry.is_file);
    Ok(files.map(|entry| entry.name).filter(|name| is_wanted(name)).collect())
}

fn directories_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = place::open(dir)?.list("").map_err(io_error)?;
    let below = entries.iter().filter(|entry| !entry.is_file).map(|entry| dir.join(&entry.name));
    Ok(below.filter(|path| path.is_dir()).collect())
}

/// An error that says this.
pub fn other(text: String) -> io::Error {
    io::Error::other(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archived_names_lose_their_time() {
        assert_eq!(unarchived("1795341600123-appendonly.aof.1.incr.aof"), "appendonly.aof.1.incr.aof");
        assert_eq!(unarchived("append-only.aof.1.incr.aof"), "append-only.aof.1.incr.aof");
    }
}
