//! Files of dead processes: temporary ones that stay behind, finished ones that appear late.
//!
//! Exists because a server that is killed often must not fill the disk (whoever starts on the directory sweeps), and
//! because nothing a dead server's child still does may undo what the living one has done.
//!
//! Always true: only a file seen before the start and still there after it is left over; what the new process
//! makes for itself is not.
//!
//! Not here: whether a process that still writes to the file is alive (`kill.rs` asks first).

use super::backup;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to sweep temporary files after it answers.
const SWEEP_PATIENCE: Duration = Duration::from_secs(2);

/// A file that looks temporary: its path and its inode, so that a new file of an old name is not taken for it.
pub(super) type TempFile = (PathBuf, u64);

/// Files under `dir` that look temporary.
pub(super) fn temp_files(dir: &Path) -> BTreeSet<TempFile> {
    use std::os::unix::fs::MetadataExt;
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            // An unfinished backup belongs to whoever asked for it, and says what it is.
            if !name.starts_with(backup::PREFIX) {
                found.extend(temp_files(&entry.path()));
            }
        } else if is_temporary(&name) {
            found.insert((entry.path(), metadata.ino()));
        }
    }
    found
}

/// Files, each with its inode and when it was last changed.
pub(super) type Fingerprints = BTreeMap<PathBuf, (u64, i64, i64)>;

/// Every file under `dir` that does not look temporary.
pub(super) fn fingerprints(dir: &Path) -> Fingerprints {
    use std::os::unix::fs::MetadataExt;
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            found.extend(fingerprints(&entry.path()));
        } else if !is_temporary(&entry.file_name().to_string_lossy()) {
            found.insert(entry.path(), (metadata.ino(), metadata.mtime(), metadata.mtime_nsec()));
        }
    }
    found
}

/// A file of `before` that has another one in its place, or was written into. The log may have grown: the server that runs
/// writes down what expires.
pub(super) fn replaced(before: &Fingerprints, after: &Fingerprints) -> Option<PathBuf> {
    let is_other = |(path, file): &(&PathBuf, &(u64, i64, i64))| {
        let may_grow = path.to_string_lossy().ends_with(".incr.aof");
        after.get(*path).is_some_and(|now| if may_grow { now.0 != file.0 } else { now != *file })
    };
    before.iter().find(is_other).map(|(path, _)| path.clone())
}

fn is_temporary(name: &str) -> bool {
    name.starts_with("temp") || name.contains(".tmp") || name.contains(".temp")
}

/// Those of `before` that are still there after the server had time to sweep.
pub(super) fn leftovers(dir: &Path, before: &BTreeSet<TempFile>) -> BTreeSet<TempFile> {
    let start = Instant::now();
    loop {
        let left = &temp_files(dir) & before;
        if left.is_empty() || start.elapsed() > SWEEP_PATIENCE {
            return left;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_there_before_the_start_and_still_is_is_left_over() {
        let dir = crate::process::TempDir::new("perdura-leftovers").unwrap();
        fs::create_dir(dir.path().join("appendonlydir")).unwrap();
        let path = dir.path().join("appendonlydir/temp-rewriteaof-1.aof");
        fs::write(&path, b"x").unwrap();
        let before = temp_files(dir.path());
        assert_eq!(before.len(), 1);
        assert_eq!(leftovers(dir.path(), &before), before);
        fs::remove_file(&path).unwrap();
        assert!(leftovers(dir.path(), &before).is_empty());
    }

    #[test]
    fn only_the_log_may_be_written_into_and_nothing_may_be_replaced() {
        let files = |name: &str, file| BTreeMap::from([(PathBuf::from(name), file)]);
        let check = |name: &str, now, is_replaced: bool| {
            let found = replaced(&files(name, (7, 100, 0)), &files(name, now));
            assert_eq!(found, is_replaced.then(|| name.into()), "{name} {now:?}");
        };
        for name in
            ["appendonly.aof.2.incr.aof", "appendonly.aof.2.base.rdb", "appendonly.aof.manifest", "dump.rdb"]
        {
            let is_log = name.ends_with(".incr.aof");
            check(name, (7, 100, 0), false);
            check(name, (7, 101, 0), !is_log);
            check(name, (8, 100, 0), true);
        }
    }
}
