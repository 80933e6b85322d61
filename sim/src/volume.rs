//! A file system twice over: as processes see it through the page cache, and as the platter holds it.
//!
//! Exists so that "what is there" and "what would be there after a power loss" are two answers to one question.
//!
//! ```text
//! File   cache    what reads see                     Dir   entries   what lookups see
//!        platter  what any crash leaves                    platter   what any crash leaves
//!        pending  changes between the two, in order  name_changes    changes between the two, all directories
//! ```
//!
//! Always true: applying all pending changes to the platter gives the cache, except for pages that a failed sync
//! marked clean (`ghosts`), lost and misdirected writes, and rotten bits.
//!
//! Not here: numbering, faults, descriptors (`disk.rs`); which subset of changes a crash keeps (`image.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::profile::{FailedSync, NamesWithSync, Profile};

/// Bytes a device writes at once.
pub const SECTOR_BYTES: u64 = 512;
/// Bytes the page cache handles at once; also a file system's block.
pub(crate) const PAGE_BYTES: u64 = 4096;

pub(crate) type Name = Arc<str>;

/// A file or directory, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ino(pub(crate) u32);

/// The directory every path starts from.
pub(crate) const ROOT: Ino = Ino(0);

#[derive(Clone, Debug)]
pub(crate) struct Volume {
    pub profile: Profile,
    pub files: BTreeMap<Ino, File>,
    pub dirs: BTreeMap<Ino, Dir>,
    /// Changes of names that are not certain to be on the platter, oldest first.
    pub name_changes: Vec<NameChange>,
    ino_next: u32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Dir {
    pub entries: BTreeMap<Name, Ino>,
    pub platter: BTreeMap<Name, Ino>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    pub cache: Vec<u8>,
    pub platter: Vec<u8>,
    pub pending: Vec<Change>,
    /// Sequence number of the next change.
    pub seq_next: u64,
    /// Ranges that reads see but no sync will ever write.
    pub ghosts: Vec<Range<u64>>,
    /// Write-back failures so far (errseq_t).
    pub error_count: u64,
    /// The last of them was reported to nobody yet.
    pub is_error_unseen: bool,
    /// Microseconds since 1970.
    pub modified_us: u64,
}

/// A change of contents or length.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub seq: u64,
    pub edit: Edit,
    pub fate: Fate,
}

#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Write { offset: u64, bytes: Bytes },
    Resize { len: u64 },
}

/// What the device does with a write that it says it has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Landed,
    Lost,
    /// Lands this many bytes before its place.
    Misdirected(u32),
}

/// A change of names: a link has `set`, an unlink has `unset`, a rename has both and is never half done.
#[derive(Clone, Debug)]
pub(crate) struct NameChange {
    pub unset: Option<Slot>,
    pub set: Option<(Slot, Ino)>,
    /// What has to be on the platter before this change: a file and its changes below a sequence number.
    pub flushes: Option<(Ino, u64)>,
    unset_synced: bool,
    set_synced: bool,
}

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Slot {
    pub dir: Ino,
    pub name: Name,
}

impl NameChange {
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.unset.iter().chain(self.set.iter().map(|(slot, _)| slot))
    }

    pub fn is_rename(&self) -> bool {
        self.unset.is_some() && self.set.is_some()
    }

    fn is_synced(&self) -> bool {
        (self.unset.is_none() || self.unset_synced) && (self.set.is_none() || self.set_synced)
    }
}

impl Change {
    /// Length of the file after this change, given the one before.
    pub fn len_after(&self, len: u64) -> u64 {
        match &self.edit {
            Edit::Write { offset, bytes } => len.max(offset + bytes.len() as u64),
            Edit::Resize { len } => *len,
        }
    }

    /// Does to `platter` what the device does.
    pub fn apply(&self, platter: &mut Vec<u8>) {
        match &self.edit {
            Edit::Write { offset, bytes } => write_at(platter, *offset, bytes, self.fate),
            Edit::Resize { len } => platter.resize(*len as usize, 0),
        }
    }
}

fn write_at(platter: &mut Vec<u8>, offset: u64, bytes: &[u8], fate: Fate) {
    let end = offset as usize + bytes.len();
    if platter.len() < end {
        platter.resize(end, 0);
    }
    let start = match fate {
        Fate::Landed => offset as usize,
        Fate::Lost => return,
        Fate::Misdirected(back) => (offset as usize).saturating_sub(back as usize),
    };
    platter[start..start + bytes.len()].copy_from_slice(bytes);
}

impl File {
    pub fn len(&self) -> u64 {
        self.cache.len() as u64
    }

    /// Appends through the page cache.
    pub fn append(&mut self, bytes: Bytes, fate: Fate) {
        let offset = self.len();
        self.cache.extend_from_slice(&bytes);
        let (offset, bytes) = self.with_ghosts_of_the_page(offset, bytes);
        self.push(Edit::Write { offset, bytes }, fate);
    }

    pub fn resize(&mut self, len: u64) {
        self.cache.resize(len as usize, 0);
        self.ghosts.retain_mut(|ghost| {
            ghost.end = ghost.end.min(len);
            !ghost.is_empty()
        });
        self.push(Edit::Resize { len }, Fate::Landed);
    }

    /// Brings all changes below `seq` to the platter.
    pub fn commit(&mut self, seq: u64) {
        let count = self.pending.partition_point(|change| change.seq < seq);
        for change in self.pending.drain(..count) {
            change.apply(&mut self.platter);
        }
    }

    /// Write-back failed: `reached` is what the platter got of it.
    pub fn lose_pending(&mut self, how: FailedSync, mut reached: Vec<u8>) {
        match how {
            FailedSync::MarkClean => {
                reached.resize(self.cache.len(), 0);
                self.ghosts.extend(self.pending.iter().filter_map(|change| match &change.edit {
                    Edit::Write { offset, bytes } => Some(*offset..offset + bytes.len() as u64),
                    Edit::Resize { .. } => None,
                }));
                let (cache, len) = (&self.cache, self.cache.len() as u64);
                self.ghosts.retain_mut(|ghost| {
                    ghost.end = ghost.end.min(len);
                    let range = ghost.start as usize..ghost.end as usize;
                    !range.is_empty() && cache[range.clone()] != reached[range]
                });
                self.platter = reached;
            }
            FailedSync::Revert => self.cache = self.platter.clone(),
        }
        self.pending.clear();
    }

    /// Drops clean pages: what only looked written is gone. True if that changed anything.
    pub fn evict(&mut self) -> bool {
        for ghost in &self.ghosts {
            let range = ghost.start as usize..ghost.end as usize;
            self.cache[range.clone()].copy_from_slice(&self.platter[range]);
        }
        !std::mem::take(&mut self.ghosts).is_empty()
    }

    /// How far from its start the file is certain to survive as it is now.
    pub fn durable_len(&self) -> u64 {
        let pending = self.pending.iter().map(|change| match &change.edit {
            Edit::Write { offset, .. } => *offset,
            Edit::Resize { len } => *len,
        });
        let ghosts = self.ghosts.iter().map(|ghost| ghost.start);
        pending.chain(ghosts).min().unwrap_or(self.len()).min(self.len())
    }

    fn push(&mut self, edit: Edit, fate: Fate) {
        self.pending.push(Change { seq: self.seq_next, edit, fate });
        self.seq_next += 1;
    }

    /// A page is written as a whole, so a new write rescues what a failed one left in the same page.
    fn with_ghosts_of_the_page(&mut self, offset: u64, bytes: Bytes) -> (u64, Bytes) {
        let page = offset - offset % PAGE_BYTES;
        if !self.ghosts.iter().any(|ghost| ghost.end > page) {
            return (offset, bytes);
        }
        self.ghosts.retain_mut(|ghost| {
            ghost.end = ghost.end.min(page);
            !ghost.is_empty()
        });
        (page, Bytes::copy_from_slice(&self.cache[page as usize..]))
    }
}

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Node {
    File(Ino),
    Dir(Ino),
}

impl Node {
    pub fn ino(self) -> Ino {
        match self {
            Node::File(ino) | Node::Dir(ino) => ino,
        }
    }
}

/// Linux error numbers this file system answers with, besides those of `host.rs`.
pub(crate) mod errno {
    pub const EPERM: i32 = 1;
    pub const EINTR: i32 = 4;
    pub const EBADF: i32 = 9;
    pub const ENOTDIR: i32 = 20;
    pub const EISDIR: i32 = 21;
    pub const EINVAL: i32 = 22;
    pub const ENOTEMPTY: i32 = 39;
}

use errno::{EINVAL, EISDIR, ENOTDIR, ENOTEMPTY, EPERM};
use perdura_core::host::{EEXIST, ENOENT};

/// Looks up as processes do, or as a crash would leave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum View {
    Cache,
    Platter,
}

impl Volume {
    pub fn new(profile: Profile) -> Volume {
        let dirs = BTreeMap::from([(ROOT, Dir::default())]);
        Volume { profile, files: BTreeMap::new(), dirs, name_changes: Vec::new(), ino_next: 1 }
    }

    /// What `path` leads to, starting at `cwd` unless it is absolute.
    pub fn resolve(&self, view: View, cwd: Ino, path: &str) -> Result<Node, i32> {
        let mut node = Node::Dir(if path.starts_with('/') { ROOT } else { cwd });
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            let Node::Dir(dir) = node else { return Err(ENOTDIR) };
            node = self.lookup(view, dir, part).ok_or(ENOENT)?;
        }
        Ok(node)
    }

    /// The absolute path of a directory.
    pub fn path_of(&self, dir: Ino) -> String {
        let (mut path, mut dir) = (String::new(), dir);
        while let Some((parent, name)) = self.parent(dir) {
            path.insert_str(0, &format!("/{name}"));
            dir = parent;
        }
        if path.is_empty() { "/".into() } else { path }
    }

    /// Whether a directory is `outer` or below it.
    fn is_within(&self, dir: Ino, outer: Ino) -> bool {
        dir == outer || self.parent(dir).is_some_and(|(parent, _)| self.is_within(parent, outer))
    }

    fn parent(&self, dir: Ino) -> Option<(Ino, Name)> {
        self.dirs.iter().find_map(|(parent, node)| {
            node.entries.iter().find(|(_, ino)| **ino == dir).map(|(name, _)| (*parent, name.clone()))
        })
    }

    /// The directory and the last name of a path.
    pub fn slot(&self, cwd: Ino, path: &str) -> Result<Slot, i32> {
        let (parent, name) = match path.trim_end_matches('/').rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((parent, name)) => (parent, name),
            None => ("", path),
        };
        match self.resolve(View::Cache, cwd, parent)? {
            Node::Dir(dir) if !name.is_empty() => Ok(Slot { dir, name: name.into() }),
            Node::Dir(_) => Err(EISDIR),
            Node::File(_) => Err(ENOTDIR),
        }
    }

    pub fn lookup(&self, view: View, dir: Ino, name: &str) -> Option<Node> {
        let dir = &self.dirs[&dir];
        let entries = if view == View::Cache { &dir.entries } else { &dir.platter };
        entries
            .get(name)
            .map(|ino| if self.dirs.contains_key(ino) { Node::Dir(*ino) } else { Node::File(*ino) })
    }

    pub fn at(&self, slot: &Slot) -> Option<Node> {
        self.lookup(View::Cache, slot.dir, &slot.name)
    }

    pub fn create_file(&mut self, slot: Slot, modified_us: u64) -> Ino {
        let ino = self.ino_take();
        self.files.insert(ino, File { modified_us, ..File::default() });
        self.set(slot, ino);
        ino
    }

    pub fn create_dir(&mut self, slot: Slot) {
        let ino = self.ino_take();
        self.dirs.insert(ino, Dir::default());
        self.set(slot, ino);
    }

    pub fn link(&mut self, from: Node, to: Slot) -> Result<(), i32> {
        if self.at(&to).is_some() {
            return Err(EEXIST);
        }
        let Node::File(ino) = from else { return Err(EPERM) };
        self.set(to, ino);
        Ok(())
    }

    pub fn unlink(&mut self, slot: Slot) -> Result<(), i32> {
        match self.at(&slot).ok_or(ENOENT)? {
            Node::Dir(_) => Err(EISDIR),
            Node::File(_) => {
                self.entries_mut(slot.dir).remove(&slot.name);
                self.push(NameChange::new(Some(slot), None, None));
                Ok(())
            }
        }
    }

    /// Forgets a name, on the platter too: no operation, but damage.
    pub fn forget_name(&mut self, slot: &Slot) {
        self.entries_mut(slot.dir).remove(&slot.name);
        self.platter_mut(slot.dir).remove(&slot.name);
    }

    pub fn rename(&mut self, from: Slot, to: Slot) -> Result<(), i32> {
        let node = self.at(&from).ok_or(ENOENT)?;
        let replaced = self.at(&to);
        if self.is_within(to.dir, node.ino()) {
            return Err(EINVAL);
        }
        if replaced.is_some_and(|replaced| self.is_within(from.dir, replaced.ino())) {
            return Err(ENOTEMPTY);
        }
        match (node, replaced) {
            // Two names of one file: rename(2) does nothing and says so successfully.
            (node, Some(replaced)) if node == replaced => return Ok(()),
            (Node::File(_), Some(Node::Dir(_))) => return Err(EISDIR),
            (Node::Dir(_), Some(Node::File(_))) => return Err(ENOTDIR),
            (Node::Dir(_), Some(Node::Dir(ino))) if !self.dirs[&ino].entries.is_empty() => {
                return Err(ENOTEMPTY);
            }
            _ => {}
        }
        let flushes = match (node, replaced) {
            (Node::File(ino), Some(_)) if self.profile.rename_flushes() => {
                Some((ino, self.files[&ino].seq_next))
            }
            _ => None,
        };
        self.entries_mut(from.dir).remove(&from.name);
        self.entries_mut(to.dir).insert(to.name.clone(), node.ino());
        self.push(NameChange::new(Some(from), Some((to, node.ino())), flushes));
        Ok(())
    }

    /// A sync of a file ended well: its changes below `seq` are on the platter, and the names that go with it.
    pub fn commit_file(&mut self, ino: Ino, seq: u64) {
        if let Some(file) = self.files.get_mut(&ino) {
            file.commit(seq);
        }
        match self.profile.names_with_sync() {
            NamesWithSync::None => {}
            NamesWithSync::All => self.commit_names(|_| true),
            NamesWithSync::OfTheFile => {
                self.commit_names(|change| change.set.as_ref().is_some_and(|(_, target)| *target == ino));
            }
        }
    }

    /// A sync of a directory ended well: its names are on the platter.
    pub fn commit_dir(&mut self, dir: Ino) {
        for change in &mut self.name_changes {
            change.unset_synced |= change.unset.as_ref().is_some_and(|slot| slot.dir == dir);
            change.set_synced |= change.set.as_ref().is_some_and(|(slot, _)| slot.dir == dir);
        }
        match self.profile.names_with_sync() {
            NamesWithSync::All => self.commit_names(|_| true),
            NamesWithSync::None | NamesWithSync::OfTheFile => self.commit_names(NameChange::is_synced),
        }
    }

    /// Brings changes of names to the platter, and with each all earlier ones of the same name.
    fn commit_names(&mut self, is_wanted: impl Fn(&NameChange) -> bool) {
        let mut needed: BTreeSet<Slot> = BTreeSet::new();
        let mut is_kept: Vec<bool> = vec![false; self.name_changes.len()];
        for (change, is_kept) in self.name_changes.iter().zip(&mut is_kept).rev() {
            if is_wanted(change) || change.slots().any(|slot| needed.contains(slot)) {
                *is_kept = true;
                needed.extend(change.slots().cloned());
            }
        }
        if is_kept.contains(&true) {
            self.apply_names(&is_kept);
        }
    }

    /// Applies the chosen changes of names to the platter, in order; the others go on waiting.
    pub fn apply_names(&mut self, is_kept: &[bool]) {
        let changes = std::mem::take(&mut self.name_changes);
        for (change, is_kept) in changes.into_iter().zip(is_kept) {
            if !is_kept {
                self.name_changes.push(change);
                continue;
            }
            if let Some((ino, seq)) = change.flushes
                && let Some(file) = self.files.get_mut(&ino)
            {
                file.commit(seq);
            }
            if let Some(slot) = &change.unset {
                self.platter_mut(slot.dir).remove(&slot.name);
            }
            if let Some((slot, ino)) = change.set {
                self.platter_mut(slot.dir).insert(slot.name, ino);
            }
        }
    }

    /// The names alone, to try changes of them on.
    pub fn without_files(&self) -> Volume {
        Volume {
            profile: self.profile,
            files: BTreeMap::new(),
            dirs: self.dirs.clone(),
            name_changes: self.name_changes.clone(),
            ino_next: self.ino_next,
        }
    }

    /// Forgets files and directories that neither a name, past or present, nor an open description leads to.
    pub fn forget_unreachable(&mut self, open: impl Iterator<Item = Ino>) {
        let mut reached: BTreeSet<Ino> = open.collect();
        let mut waiting = vec![ROOT];
        waiting.extend(reached.iter().copied());
        waiting.extend(self.name_changes.iter().flat_map(|change| change.slots().map(|slot| slot.dir)));
        waiting
            .extend(self.name_changes.iter().filter_map(|change| change.set.as_ref().map(|(_, ino)| *ino)));
        while let Some(ino) = waiting.pop() {
            reached.insert(ino);
            if let Some(dir) = self.dirs.get(&ino) {
                waiting.extend(
                    dir.entries.values().chain(dir.platter.values()).filter(|ino| !reached.contains(ino)),
                );
            }
        }
        self.files.retain(|ino, _| reached.contains(ino));
        self.dirs.retain(|ino, _| reached.contains(ino));
    }

    /// Bytes taken by files that have a name or are open.
    pub fn used_bytes(&self, open: &BTreeSet<Ino>) -> u64 {
        let named: BTreeSet<Ino> = self.dirs.values().flat_map(|dir| dir.entries.values().copied()).collect();
        let is_used = |ino: &Ino| named.contains(ino) || open.contains(ino);
        self.files.iter().filter(|(ino, _)| is_used(ino)).map(|(_, file)| file.len()).sum()
    }

    fn set(&mut self, slot: Slot, ino: Ino) {
        self.entries_mut(slot.dir).insert(slot.name.clone(), ino);
        self.push(NameChange::new(None, Some((slot, ino)), None));
    }

    fn push(&mut self, change: NameChange) {
        self.name_changes.push(change);
    }

    fn entries_mut(&mut self, dir: Ino) -> &mut BTreeMap<Name, Ino> {
        &mut self.dirs.get_mut(&dir).expect("slots name directories that exist").entries
    }

    fn platter_mut(&mut self, dir: Ino) -> &mut BTreeMap<Name, Ino> {
        &mut self.dirs.get_mut(&dir).expect("slots name directories that exist").platter
    }

    fn ino_take(&mut self) -> Ino {
        self.ino_next += 1;
        Ino(self.ino_next - 1)
    }
}

impl NameChange {
    fn new(unset: Option<Slot>, set: Option<(Slot, Ino)>, flushes: Option<(Ino, u64)>) -> NameChange {
        NameChange { unset, set, flushes, unset_synced: false, set_synced: false }
    }
}
