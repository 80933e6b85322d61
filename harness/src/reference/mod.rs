//! A second reader of what a server leaves on disk: RDB, manifest and append-only files, as their formats are published.
//!
//! Exists because a server that writes nonsense and reads it back the same way would pass every other oracle. This reader
//! was written from the description of the formats, is as naive as it can be, and stops at the first thing it does not
//! understand, where a server would try to make something of it.
//!
//! Always true: it shares no code with the engine; it skips what stock servers skip (lines that begin with `#`) and nothing
//! else; commands of a log are run on the judge's model.
//!
//! Not here: when it is asked, and what must come of it (`../sim/oracle/artefacts.rs`).

mod log;
mod rdb;

pub(crate) use self::rdb::crc64;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Keyspace, Place, Value};

/// Files by path from the server's directory.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The data.
    pub keyspace: Keyspace,
    /// Keys whose content this reader cannot tell: a command of the log left it to the server (PFADD).
    pub unknown: BTreeSet<Place>,
}

impl Loaded {
    /// The two without what nobody promised or this reader cannot tell: keys that are unknown, and how many entries a group
    /// of a stream is said to have read.
    pub fn comparable(&self, keyspace: &Keyspace) -> Keyspace {
        let mut keyspace = keyspace.clone();
        for (db, key) in &self.unknown {
            keyspace.remove(*db, key);
        }
        let with_groups: Vec<_> = keyspace
            .iter()
            .filter(|(_, _, entry)| matches!(entry.value, Value::Stream(_)))
            .map(|(db, key, entry)| (db, key.clone(), entry.clone()))
            .collect();
        for (db, key, mut entry) in with_groups {
            if let Value::Stream(stream) = &mut entry.value {
                stream.groups.values_mut().for_each(|group| group.entries_read = None);
            }
            keyspace.insert(db, key, entry);
        }
        keyspace
    }
}

/// Reads a snapshot file.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read_snapshot(bytes: &[u8]) -> Result<Keyspace, String> {
    rdb::read(bytes)
}

/// Reads the set of files that the manifest names, which is in the folder of the others.
///
/// # Errors
/// What is wrong, and in which file.
pub fn read_set(files: &Files, manifest: &str) -> Result<Loaded, String> {
    let text = files.get(manifest).ok_or("there is no manifest")?;
    let folder = manifest.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut loaded = Loaded::default();
    for name in parts_of(&String::from_utf8_lossy(text))? {
        let bytes = files.get(&format!("{folder}/{name}")).ok_or(format!("{name} is named and not there"))?;
        let outcome = match bytes.starts_with(b"REDIS") {
            true => rdb::read(bytes).map(|keyspace| loaded.keyspace = keyspace),
            false => log::run(bytes, &mut loaded),
        };
        outcome.map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(loaded)
}

/// Names of base and incremental files, in the order of their numbers.
fn parts_of(manifest: &str) -> Result<Vec<String>, String> {
    let mut parts = Vec::new();
    for line in manifest.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &["file", name, "seq", number, "type", kind] = &words[..6.min(words.len())] else {
            return Err(format!("manifest: {line:?}"));
        };
        let number: u64 = number.parse().map_err(|_| format!("manifest: {line:?}"))?;
        match kind {
            "b" => parts.push((0, number, name.to_string())),
            "i" => parts.push((1, number, name.to_string())),
            "h" => {}
            _ => return Err(format!("manifest: {line:?}")),
        }
    }
    parts.sort();
    Ok(parts.into_iter().map(|(_, _, name)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(manifest: &str, log: &str) -> Files {
        let file = |name: &str, text: &str| (format!("d/{name}"), text.replace('\n', "\r\n").into_bytes());
        Files::from([("d/m".into(), manifest.as_bytes().to_vec()), file("a.1.incr.aof", log)])
    }

    #[test]
    fn a_log_is_run_command_by_command() {
        let log = "#HDR x\n*2\n$6\nSELECT\n$1\n1\n*3\n$3\nSET\n$1\na\n$1\n1\n#TS:5\n*1\n$5\nMULTI\n*2\n$4\nINCR\n$1\na\n*1\n$4\nEXEC\n";
        let loaded = read_set(&files("file a.1.incr.aof seq 1 type i\n", log), "d/m").unwrap();
        assert_eq!(loaded.keyspace.get(1, b"a").unwrap().value, Value::String(b"2".to_vec()));
    }

    #[test]
    fn what_is_half_there_is_refused() {
        let set = "*3\n$3\nSET\n$1\na\n$1\n1\n";
        for log in [&set[..set.len() - 2], "*1\n$5\nMULTI\n", "zeroes", "*1\n$4\nEXEC\n"] {
            assert!(read_set(&files("file a.1.incr.aof seq 1 type i\n", log), "d/m").is_err(), "{log:?}");
        }
        assert!(read_set(&files("file b.1.incr.aof seq 1 type i\n", set), "d/m").is_err());
        assert!(read_set(&files("fil", set), "d/m").is_err());
    }
}
