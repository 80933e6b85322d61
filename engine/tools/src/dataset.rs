//! The data that an artefact holds, loaded by the engine itself.
//!
//! An append-only set is only understood by running it. So the engine loads it, exactly as at a start, over a disk that
//! keeps every change in memory: where a start would cut a torn end, only the copy in memory is cut.
//!
//! Always true: nothing on the real disk changes.
//!
//! Not here: what is said about the data (`inspect.rs`).

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use perdura_core::{
    config::Config,
    host::{DirEntry, Disk, ENOENT, Effect, Effects, Engine, FileId, FileStep, IoError},
    node::{Node, Seeds, no_stopwatch},
};
use perdura_linux::LinuxDisk;

use crate::{
    artefact::{Artefact, Kind, other},
    progress::Progress,
};

/// Databases that a data set may have.
const DATABASES: u32 = 16_384;

/// Loads everything.
///
/// # Errors
/// The engine refuses to load it; its reason went to the error output.
pub fn load(artefact: &Artefact) -> io::Result<Node> {
    let mut config = Config { databases: DATABASES, ..Config::default() };
    config.appendonly = artefact.kind != Kind::Snapshot;
    config.appendfilename = artefact.names.prefix.clone();
    config.dbfilename = match artefact.kind {
        Kind::Snapshot => artefact.files[0].name.clone(),
        Kind::Set | Kind::Log => "no-snapshot-is-wanted.rdb".into(),
    };
    let dir = config.appenddirname.clone();
    let manifest = format!("{dir}/{}.manifest", artefact.names.prefix);
    let mut disk = Overlay {
        real: artefact.disk.clone(),
        dir: format!("{dir}/"),
        files: [(manifest, artefact.manifest.format().into_bytes())].into(),
        lens: BTreeMap::new(),
        open: HashMap::new(),
    };
    let now = perdura_linux::now();
    let seeds = Seeds { seed: 1, process_id: std::process::id(), stopwatch: no_stopwatch };
    let mut node = Node::new(config, seeds, now);
    let mut progress = Progress::new("Loading", artefact.len());
    let mut effects = Effects::new();
    while node.is_loading() {
        node.load(perdura_linux::now(), &mut disk, &mut effects);
        progress.at(node.loaded_bytes());
        if effects.iter().any(|effect| matches!(effect, Effect::Exit(_))) {
            return Err(other("it cannot be loaded; a server would refuse to start on it".into()));
        }
        effects.clear();
    }
    progress.finish();
    Ok(node)
}

/// The real directory with changes that exist in memory only. The set's files, which the engine looks for below `dir`, lie
/// in the real directory itself.
struct Overlay {
    real: LinuxDisk,
    dir: String,
    files: BTreeMap<String, Vec<u8>>,
    /// Real files that were cut.
    lens: BTreeMap<String, u64>,
    open: HashMap<FileId, String>,
}

impl Overlay {
    fn real_path<'a>(&self, path: &'a str) -> &'a str {
        path.strip_prefix(self.dir.as_str()).unwrap_or(path)
    }

    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<(), IoError> {
        let path = self.open.get(&file).cloned().unwrap_or_default();
        match self.files.get_mut(&path) {
            Some(contents) => contents.extend_from_slice(bytes),
            // The end of the log goes on in a file that is there: nobody reads it again.
            None => drop(self.lens.get(&path)),
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), IoError> {
        let missing = || IoError { operation: "rename", path: from.into(), errno: ENOENT };
        let bytes = self.files.remove(from).ok_or_else(missing)?;
        self.files.insert(to.into(), bytes);
        Ok(())
    }
}

impl Disk for Overlay {
    fn perform(&mut self, step: &FileStep) -> Result<(), IoError> {
        match step {
            FileStep::CreateExclusive { file, path } | FileStep::CreateTemp { file, path } => {
                self.files.insert(path.clone(), Vec::new());
                self.open.insert(*file, path.clone());
            }
            FileStep::OpenAppend { file, path } => drop(self.open.insert(*file, path.clone())),
            FileStep::Append { file, bytes } => self.append(*file, bytes)?,
            FileStep::Rename { from, to } => self.rename(from, to)?,
            FileStep::Remove { path } => drop(self.files.remove(path)),
            FileStep::Truncate { path, len } => drop(self.lens.insert(path.clone(), *len)),
            FileStep::CreateDir { .. }
            | FileStep::Sync { .. }
            | FileStep::Close { .. }
            | FileStep::Link { .. }
            | FileStep::SyncPath { .. }
            | FileStep::SyncDir { .. } => {}
        }
        Ok(())
    }

    fn list(&mut self, path: &str) -> Result<Vec<DirEntry>, IoError> {
        // Sweeping is for a start: here there is nothing to sweep.
        let _ = path;
        Ok(Vec::new())
    }

    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, IoError> {
        if let Some(bytes) = self.files.get(path) {
            let rest = bytes.get(offset as usize..).unwrap_or(&[]);
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            return Ok(count);
        }
        let left = self.lens.get(path).map_or(u64::MAX, |len| len.saturating_sub(offset));
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let path = self.real_path(path).to_owned();
        self.real.read_at(&path, offset, &mut buffer[..wanted])
    }

    fn len(&mut self, path: &str) -> Result<Option<u64>, IoError> {
        if let Some(bytes) = self.files.get(path) {
            return Ok(Some(bytes.len() as u64));
        }
        let cut = self.lens.get(path).copied();
        let path = self.real_path(path).to_owned();
        Ok(self.real.len(&path)?.map(|len| cut.unwrap_or(len)))
    }
}
