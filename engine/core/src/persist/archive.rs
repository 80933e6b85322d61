//! The archive: superseded parts of the append-only set, kept so that a restore can reach back across rewrites.
//!
//! ```text
//!   <aof-archive-dir>/1795341600123-appendonly.aof.manifest        a set like any other, that ends where the next begins
//!                     1795341600123-appendonly.aof.3.base.rdb      milliseconds at which it was superseded, then the
//!                     1795341600123-appendonly.aof.7.incr.aof      name it had
//! ```
//!
//! A part is linked into the archive and its set listed there, all of it durable, before the part is removed from the set.
//! After a crash the same is done again under the same names: the manifest of the live set says when its history was
//! superseded. Sets that are too old, or too many bytes, go: their manifest first.
//!
//! Always true: a manifest in the archive names files that are there; a part is in the set or in the archive, or both.
//!
//! Not here: when a rewrite supersedes what (`append_only.rs`), restoring (`engine/tools`).

use alloc::{
    collections::{BTreeSet, VecDeque},
    format,
    string::String,
    vec::Vec,
};

use bytes::Bytes;

use super::{
    append_only::{Ids, Names},
    manifest::{Manifest, Part},
};
use crate::host::{DirEntry, FileStep};

/// Where to, and how much.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ArchiveSettings {
    /// `aof-archive-dir`; empty for none.
    pub dir: String,
    /// `aof-archive-max-age`, seconds; 0 for any.
    pub age_s_max: u64,
    /// `aof-archive-max-bytes`; 0 for any number.
    pub bytes_max: u64,
}

/// A set in the archive.
#[derive(Clone, PartialEq, Eq, Debug)]
struct ArchivedSet {
    superseded_ms: u64,
    /// Its files, the manifest first.
    files: Vec<String>,
    bytes: u64,
}

/// The archive of one server run.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    settings: ArchiveSettings,
    /// Oldest first.
    sets: VecDeque<ArchivedSet>,
    /// Names linked already for a history that is still listed.
    linked: BTreeSet<String>,
    /// The last attempt failed.
    has_failed: bool,
}

/// Steps that archive a history, with what is known once they have ended.
#[derive(Clone, Debug, Default)]
pub struct Archiving {
    /// To be performed before the parts are removed.
    pub steps: Vec<FileStep>,
    /// Names that the step of this index links.
    links: Vec<(usize, String)>,
    sets: Vec<ArchivedSet>,
}

impl Archive {
    /// Takes over new settings. What another directory holds is learned at the next start.
    pub fn configure(&mut self, settings: ArchiveSettings) {
        if settings.dir != self.settings.dir {
            self.sets.clear();
            self.linked.clear();
        }
        self.settings = settings;
    }

    /// Superseded parts are kept.
    pub fn is_on(&self) -> bool {
        !self.settings.dir.is_empty()
    }

    /// Where they are kept.
    pub fn dir(&self) -> &str {
        &self.settings.dir
    }

    /// Learns what is there; gives back the names that no manifest accounts for and no history needs.
    pub fn learn(&mut self, names: &Names, entries: &[DirEntry], live: &Manifest) -> Vec<String> {
        let needed: BTreeSet<String> = self.history(live).into_iter().flat_map(|set| set.links()).collect();
        let mut stamps: BTreeSet<u64> = BTreeSet::new();
        for entry in entries {
            if let Some((stamp, name)) = split(&entry.name)
                && name == manifest_name(names)
            {
                stamps.insert(stamp);
            }
        }
        self.sets = stamps
            .iter()
            .map(|&superseded_ms| {
                let own =
                    entries.iter().filter(|e| split(&e.name).is_some_and(|(at, _)| at == superseded_ms));
                let mut set = ArchivedSet { superseded_ms, files: Vec::new(), bytes: 0 };
                for entry in own {
                    set.bytes += entry.len;
                    set.files.push(entry.name.clone());
                }
                set.files.sort_by_key(|name| !name.ends_with(".manifest"));
                set
            })
            .collect();
        let mut strays = Vec::new();
        for entry in entries.iter().filter(|entry| entry.is_file) {
            let is_temp = entry.name == temp_name(names);
            let is_ours = split(&entry.name).is_some_and(|(_, name)| name.starts_with(names.prefix.as_str()));
            if needed.contains(&entry.name) {
                self.linked.insert(entry.name.clone());
            } else if is_temp || is_ours && split(&entry.name).is_some_and(|(at, _)| !stamps.contains(&at)) {
                strays.push(self.path(&entry.name));
            }
        }
        strays
    }

    /// What must be done before the history of `live` is removed.
    pub fn archiving(&self, names: &Names, live: &Manifest, bytes: u64, ids: &mut Ids) -> Archiving {
        let mut archiving = Archiving::default();
        if !self.is_on() || live.history.is_empty() {
            return archiving;
        }
        let dir = self.settings.dir.clone();
        archiving.steps = alloc::vec![
            FileStep::CreateDir { path: dir.clone() },
            FileStep::SyncDir { path: super::parent_of(&dir).into() },
        ];
        let sets = self.history(live);
        for set in &sets {
            for (part, link) in set.parts().zip(set.links()) {
                if !self.linked.contains(&link) {
                    archiving.links.push((archiving.steps.len(), link.clone()));
                    let (from, to) = (names.path(&part.name), self.path(&link));
                    archiving.steps.push(FileStep::Link { from, to });
                }
            }
        }
        archiving.steps.push(FileStep::SyncDir { path: dir.clone() });
        for set in &sets {
            let name = format!("{}-{}", set.superseded_ms, manifest_name(names));
            let (file, temp) = (ids.file(), self.path(&temp_name(names)));
            archiving.steps.extend([
                FileStep::CreateTemp { file, path: temp.clone() },
                FileStep::Append { file, bytes: Bytes::from(set.manifest().format().into_bytes()) },
                FileStep::Sync { file },
                FileStep::Close { file },
                FileStep::Rename { from: temp, to: self.path(&name) },
                FileStep::SyncDir { path: dir.clone() },
            ]);
            let files = core::iter::once(name).chain(set.links()).collect();
            let bytes = bytes / sets.len() as u64;
            archiving.sets.push(ArchivedSet { superseded_ms: set.superseded_ms, files, bytes });
        }
        archiving
    }

    /// The steps have ended, at this index if they failed.
    pub fn archived(&mut self, archiving: Archiving, failed_at: Option<usize>) {
        let reached = failed_at.unwrap_or(usize::MAX);
        let is_done = reached >= archiving.steps.len();
        self.has_failed = !is_done;
        if is_done {
            self.linked.clear();
            self.sets.extend(archiving.sets);
        } else {
            let links = archiving.links.into_iter().filter(|(index, _)| *index < reached);
            self.linked.extend(links.map(|(_, link)| link));
        }
    }

    /// Removes what is too old or too much: the steps, oldest set first.
    pub fn trim(&mut self, now_ms: u64) -> Vec<FileStep> {
        let mut steps = Vec::new();
        while let Some(oldest) = self.sets.front().filter(|oldest| self.is_due(oldest, now_ms)) {
            for (index, name) in oldest.files.iter().enumerate() {
                steps.push(FileStep::Remove { path: self.path(name) });
                if index == 0 {
                    // A set without its files must not be listed.
                    steps.push(FileStep::SyncDir { path: self.settings.dir.clone() });
                }
            }
            self.sets.pop_front();
        }
        steps
    }

    fn is_due(&self, oldest: &ArchivedSet, now_ms: u64) -> bool {
        let ArchiveSettings { age_s_max, bytes_max, .. } = self.settings;
        let is_old = age_s_max > 0 && now_ms.saturating_sub(oldest.superseded_ms) > age_s_max * 1000;
        is_old || bytes_max > 0 && self.bytes() > bytes_max
    }

    /// Sets kept.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> u64 {
        self.sets.iter().map(|set| set.bytes).sum()
    }

    /// The last attempt to archive failed: superseded parts stay in the set until one succeeds.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.settings.dir)
    }

    /// The history of a set, split into the sets it is made of: each ends with its base.
    fn history(&self, live: &Manifest) -> Vec<Superseded> {
        let superseded_ms = live.superseded_at_ms.unwrap_or(0);
        let mut sets = Vec::new();
        let mut set = Superseded { superseded_ms, ..Superseded::default() };
        for part in &live.history {
            if part.name.contains(".incr.") {
                set.incrementals.insert(0, part.clone());
            } else {
                set.base = Some(part.clone());
                let next = Superseded { superseded_ms: set.superseded_ms + 1, ..Superseded::default() };
                sets.push(core::mem::replace(&mut set, next));
            }
        }
        if !set.incrementals.is_empty() {
            sets.push(set);
        }
        sets
    }
}

/// A set that was superseded as a whole.
#[derive(Default)]
struct Superseded {
    superseded_ms: u64,
    base: Option<Part>,
    /// Oldest first.
    incrementals: Vec<Part>,
}

impl Superseded {
    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.base.iter().chain(&self.incrementals)
    }

    fn links(&self) -> Vec<String> {
        self.parts().map(|part| self.link(part)).collect()
    }

    fn link(&self, part: &Part) -> String {
        format!("{}-{}", self.superseded_ms, part.name)
    }

    fn manifest(&self) -> Manifest {
        let linked = |part: &Part| Part { name: self.link(part), seq: part.seq };
        Manifest {
            base: self.base.as_ref().map(linked),
            incrementals: self.incrementals.iter().map(linked).collect(),
            ..Manifest::default()
        }
    }
}

fn manifest_name(names: &Names) -> String {
    format!("{}.manifest", names.prefix)
}

fn temp_name(names: &Names) -> String {
    format!("temp-{}.manifest", names.prefix)
}

/// `<milliseconds>-<name>`
fn split(name: &str) -> Option<(u64, &str)> {
    let (stamp, name) = name.split_once('-')?;
    Some((stamp.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use super::*;

    fn part(name: &str, seq: u64) -> Part {
        Part { name: name.into(), seq }
    }

    fn names() -> Names {
        Names { dir: "d".into(), prefix: "a".into() }
    }

    fn live() -> Manifest {
        Manifest {
            base: Some(part("a.2.base.rdb", 2)),
            history: vec![part("a.2.incr.aof", 2), part("a.1.incr.aof", 1), part("a.1.base.rdb", 1)],
            incrementals: vec![part("a.3.incr.aof", 3)],
            superseded_at_ms: Some(1000),
            ..Manifest::default()
        }
    }

    fn archive() -> Archive {
        let mut archive = Archive::default();
        archive.configure(ArchiveSettings { dir: "old".into(), age_s_max: 10, bytes_max: 1000 });
        archive
    }

    fn linked(archiving: &Archiving) -> Vec<String> {
        let to = |step: &FileStep| match step {
            FileStep::Link { to, .. } => Some(to.clone()),
            _ => None,
        };
        archiving.steps.iter().filter_map(to).collect()
    }

    #[test]
    fn a_history_is_linked_under_the_time_it_was_superseded() {
        let archiving = archive().archiving(&names(), &live(), 100, &mut Ids::default());
        assert_eq!(
            linked(&archiving),
            ["old/1000-a.1.base.rdb", "old/1000-a.1.incr.aof", "old/1000-a.2.incr.aof"]
        );
        let listed = archiving.steps.iter().find_map(|step| match step {
            FileStep::Append { bytes, .. } => Some(String::from_utf8_lossy(bytes).to_string()),
            _ => None,
        });
        let expected = "file 1000-a.1.base.rdb seq 1 type b\nfile 1000-a.1.incr.aof seq 1 type i\n\
                        file 1000-a.2.incr.aof seq 2 type i\n";
        assert_eq!(listed.unwrap(), expected);
    }

    #[test]
    fn what_was_linked_before_a_failure_is_not_linked_again() {
        let mut archive = archive();
        let first = archive.archiving(&names(), &live(), 100, &mut Ids::default());
        let second_link = first.links[1].0;
        archive.archived(first, Some(second_link));
        assert!(archive.has_failed());
        let again = archive.archiving(&names(), &live(), 100, &mut Ids::default());
        assert_eq!(linked(&again), ["old/1000-a.1.incr.aof", "old/1000-a.2.incr.aof"]);
        archive.archived(again, None);
        assert_eq!((archive.len(), archive.bytes(), archive.has_failed()), (1, 100, false));
    }

    #[test]
    fn a_start_learns_what_a_crash_left() {
        let entry = |name: &str| DirEntry { name: name.into(), len: 10, is_file: true, modified_ms: 0 };
        let entries = [
            entry("1000-a.1.base.rdb"),
            entry("500-a.manifest"),
            entry("500-a.1.base.rdb"),
            entry("400-a.1.base.rdb"),
            entry("temp-a.manifest"),
            entry("notes.txt"),
        ];
        let mut archive = archive();
        let strays = archive.learn(&names(), &entries, &live());
        assert_eq!(strays, ["old/400-a.1.base.rdb", "old/temp-a.manifest"]);
        assert_eq!((archive.len(), archive.bytes()), (1, 20));
        let archiving = archive.archiving(&names(), &live(), 100, &mut Ids::default());
        assert_eq!(linked(&archiving), ["old/1000-a.1.incr.aof", "old/1000-a.2.incr.aof"]);
    }

    #[test]
    fn the_oldest_go_when_they_are_too_old_or_too_much() {
        let mut archive = archive();
        let set = |superseded_ms, bytes| ArchivedSet {
            superseded_ms,
            files: vec![format!("{superseded_ms}-a.manifest"), format!("{superseded_ms}-a.1.base.rdb")],
            bytes,
        };
        archive.sets = [set(1000, 400), set(2000, 400), set(3000, 400)].into();
        let steps = archive.trim(3000);
        assert_eq!(
            steps,
            [
                FileStep::Remove { path: "old/1000-a.manifest".into() },
                FileStep::SyncDir { path: "old".into() },
                FileStep::Remove { path: "old/1000-a.1.base.rdb".into() },
            ]
        );
        assert_eq!((archive.len(), archive.trim(12_000).len()), (2, 0));
        archive.trim(12_001);
        assert_eq!(archive.len(), 1);
    }
}
