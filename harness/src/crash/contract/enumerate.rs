//! The directories that a loss of power may leave, computed from a trace of system calls.
//!
//! Exists so that a machine without root, FUSE or loop devices can run a loss of power too, and with a disk that is
//! stricter than any file system: names and contents are lost apart from each other.
//!
//! Always true: what a completed sync covers is there; of everything later any subset may be, of appended bytes any
//! part, with zeros where a part is missing; a name that was renamed is not lost altogether.
//!
//! Not here: how calls are read (`trace.rs`), what the server makes of a directory (`mod.rs`).

use super::trace::{Call, Event};
use crate::rng::Rng;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use strum::VariantArray;

/// What appended bytes are torn into.
const PIECE_SIZE: usize = 512;

/// Which of the changes that no sync covers are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub(super) enum Keep {
    Nothing,
    Everything,
    /// The changes up to some point, in their order.
    Prefix,
    /// Each by lot, appended bytes in pieces.
    Random,
}

/// A change of a file's contents that is not durable yet.
#[derive(Clone, Debug)]
enum Change {
    Append(usize, Vec<u8>),
    Cut(usize),
}

#[derive(Clone, Debug, Default)]
struct File {
    durable: Vec<u8>,
    /// Each with the line on which it ended.
    pending: Vec<(usize, Change)>,
    len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Dir,
}

/// A change of a directory that is not durable yet.
#[derive(Clone, Debug)]
struct NameChange {
    end: usize,
    path: PathBuf,
    /// What the name stands for from now on.
    node: Option<Node>,
    /// Where a file came from that has only this name now.
    replaces: Option<PathBuf>,
}

/// The disk as the trace builds it up.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    files: Vec<File>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    pending_names: Vec<NameChange>,
}

impl Disk {
    /// The next call of the trace has ended.
    pub(super) fn take_in(&mut self, event: &Event) {
        match &event.call {
            Call::Create { path, truncates, .. } => self.create(event.end, path, *truncates),
            Call::Write { path, bytes } => {
                if let Some(file) = self.file(path) {
                    file.pending.push((event.end, Change::Append(file.len, bytes.clone())));
                    file.len += bytes.len();
                }
            }
            Call::Truncate { path, len } => {
                if let Some(file) = self.file(path) {
                    file.len = *len as usize;
                    file.pending.push((event.end, Change::Cut(file.len)));
                }
            }
            Call::Sync { path } => self.sync(event.begin, path),
            Call::MakeDir { path } => self.name(event.end, path, Some(Node::Dir), None),
            Call::Remove { path } => self.name(event.end, path, None, None),
            Call::Link { from, to } => {
                let node = self.names.get(from).copied();
                self.name(event.end, to, node, None);
            }
            Call::Rename { from, to } => {
                let node = self.names.get(from).copied();
                self.name(event.end, to, node, None);
                self.name(event.end, from, None, Some(to.clone()));
            }
            Call::Send { .. } | Call::Ring => {}
        }
    }

    fn create(&mut self, end: usize, path: &Path, truncates: bool) {
        match self.file(path) {
            Some(file) if truncates => {
                file.len = 0;
                file.pending.push((end, Change::Cut(0)));
            }
            Some(_) => {}
            None => {
                self.files.push(File::default());
                let node = Node::File(self.files.len() - 1);
                self.name(end, path, Some(node), None);
            }
        }
    }

    fn file(&mut self, path: &Path) -> Option<&mut File> {
        match self.names.get(path) {
            Some(Node::File(number)) => Some(&mut self.files[*number]),
            _ => None,
        }
    }

    fn name(&mut self, end: usize, path: &Path, node: Option<Node>, replaces: Option<PathBuf>) {
        match node {
            Some(node) => self.names.insert(path.into(), node),
            None => self.names.remove(path),
        };
        self.pending_names.push(NameChange { end, path: path.into(), node, replaces });
    }

    /// A sync that began on line `begin` has ended: what had ended before is durable.
    fn sync(&mut self, begin: usize, path: &Path) {
        if let Some(file) = self.file(path) {
            let covered = file.pending.iter().take_while(|(end, _)| *end < begin).count();
            for (_, change) in file.pending.drain(..covered) {
                apply(&mut file.durable, &change);
            }
            return;
        }
        let parent = |change: &NameChange| change.path.parent().map(Path::to_path_buf).unwrap_or_default();
        let is_covered = |change: &NameChange| parent(change) == path && change.end < begin;
        let (covered, pending) = std::mem::take(&mut self.pending_names).into_iter().partition(is_covered);
        self.pending_names = pending;
        covered.into_iter().for_each(|change: NameChange| apply_name(&mut self.durable_names, &change));
    }

    /// Writes what a loss of power now may leave into the empty directory `dir`.
    pub(super) fn crash_into(&self, dir: &Path, keep: Keep, rng: &mut Rng) -> io::Result<()> {
        let mut names = self.durable_names.clone();
        let prefix = rng.below(self.pending_names.len() as u64 + 1) as usize;
        for (index, change) in self.pending_names.iter().enumerate() {
            let is_kept = is_kept(keep, index < prefix, rng);
            // The old name goes only once the new one is there.
            let would_vanish = change.replaces.as_ref().is_some_and(|to| !names.contains_key(to));
            if is_kept && !would_vanish {
                apply_name(&mut names, change);
            }
        }
        let contents: Vec<Vec<u8>> = self.files.iter().map(|file| crashed(file, keep, rng)).collect();
        // Sorted, so a directory comes before what is in it; without it its files are unreachable.
        for (path, node) in &names {
            let place = dir.join(path);
            match node {
                Node::Dir => fs::create_dir(&place)?,
                Node::File(number) if place.parent().is_some_and(Path::is_dir) => {
                    fs::write(&place, &contents[*number])?;
                }
                Node::File(_) => {}
            }
        }
        Ok(())
    }
}

fn is_kept(keep: Keep, is_in_prefix: bool, rng: &mut Rng) -> bool {
    match keep {
        Keep::Nothing => false,
        Keep::Everything => true,
        Keep::Prefix => is_in_prefix,
        Keep::Random => rng.below(2) == 0,
    }
}

fn apply(contents: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Append(offset, bytes) => {
            let end = offset + bytes.len();
            contents.resize(contents.len().max(end), 0);
            contents[*offset..end].copy_from_slice(bytes);
        }
        Change::Cut(len) => contents.resize(*len, 0),
    }
}

fn apply_name(names: &mut BTreeMap<PathBuf, Node>, change: &NameChange) {
    match change.node {
        Some(node) => names.insert(change.path.clone(), node),
        None => names.remove(&change.path),
    };
}

/// What is left of a file's contents.
fn crashed(file: &File, keep: Keep, rng: &mut Rng) -> Vec<u8> {
    let mut contents = file.durable.clone();
    let prefix = rng.below(file.pending.len() as u64 + 1) as usize;
    for (index, (_, change)) in file.pending.iter().enumerate() {
        match change {
            Change::Append(offset, bytes) if keep == Keep::Random => {
                for (piece, part) in bytes.chunks(PIECE_SIZE).enumerate() {
                    if rng.below(2) == 0 {
                        apply(&mut contents, &Change::Append(offset + piece * PIECE_SIZE, part.to_vec()));
                    }
                }
            }
            Change::Append(offset, bytes) if keep == Keep::Prefix && index == prefix => {
                let kept = rng.below(bytes.len() as u64 + 1) as usize;
                apply(&mut contents, &Change::Append(*offset, bytes[..kept].to_vec()));
            }
            change if is_kept(keep, index < prefix, rng) => apply(&mut contents, change),
            _ => {}
        }
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::TempDir;

    fn left(calls: Vec<Call>, keep: Keep) -> BTreeMap<String, String> {
        let mut disk = Disk::default();
        for (at, call) in calls.into_iter().enumerate() {
            disk.take_in(&Event { begin: at, end: at, call });
        }
        let dir = TempDir::new("perdura-enumerate").unwrap();
        disk.crash_into(dir.path(), keep, &mut Rng::new(1)).unwrap();
        let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap());
        let read = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        };
        entries.map(read).collect()
    }

    fn create(path: &str) -> Call {
        Call::Create { path: path.into(), is_exclusive: false, truncates: false }
    }

    fn write(path: &str, text: &str) -> Call {
        Call::Write { path: path.into(), bytes: text.into() }
    }

    fn sync(path: &str) -> Call {
        Call::Sync { path: path.into() }
    }

    fn files(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
        expected.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    }

    #[test]
    fn names_and_contents_are_durable_apart_from_each_other() {
        let calls = || vec![create("a"), write("a", "1")];
        assert_eq!(left(calls(), Keep::Nothing), files(&[]));
        assert_eq!(left(calls(), Keep::Everything), files(&[("a", "1")]));
        assert_eq!(left([calls(), vec![sync("a")]].concat(), Keep::Nothing), files(&[]));
        assert_eq!(left([calls(), vec![sync("")]].concat(), Keep::Nothing), files(&[("a", "")]));
        assert_eq!(left([calls(), vec![sync("a"), sync("")]].concat(), Keep::Nothing), files(&[("a", "1")]));
    }

    #[test]
    fn a_rename_leaves_one_of_the_names() {
        let calls = vec![
            create("a"),
            write("a", "1"),
            sync("a"),
            sync(""),
            Call::Rename { from: "a".into(), to: "b".into() },
        ];
        assert_eq!(left(calls.clone(), Keep::Nothing), files(&[("a", "1")]));
        assert_eq!(left(calls.clone(), Keep::Everything), files(&[("b", "1")]));
        assert_eq!(left([calls, vec![sync("")]].concat(), Keep::Nothing), files(&[("b", "1")]));
    }
}
