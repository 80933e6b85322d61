//! What a server leaves on disk means the same to somebody else: a naive reader of the published formats.
//!
//! A start has just served a keyspace from these files, having cut and repaired what it had to: whoever takes them away now,
//! to a stock server for instance, finds the same.

use super::Violation;
use crate::model::Keyspace;
use crate::reference::{self, Files, Loaded};

/// Where a set's files are listed.
const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
/// The snapshot file.
const DUMP: &str = "dump.rdb";

/// Checks the set of append-only files, or the snapshot file, against what is served.
///
/// # Errors
/// The reader stops, or finds something else.
pub fn check(files: &Files, with_log: bool, served: &Keyspace, now_ms: u64) -> Result<(), Violation> {
    let loaded = match (with_log, files.get(DUMP)) {
        (true, _) => reference::read_set(files, MANIFEST),
        (false, Some(dump)) => {
            reference::read_snapshot(dump).map(|keyspace| Loaded { keyspace, ..Loaded::default() })
        }
        (false, None) => Ok(Loaded::default()),
    };
    let loaded = loaded.map_err(Violation::Artefact)?;
    let (found, served) = (loaded.comparable(&loaded.keyspace), loaded.comparable(served));
    match found.difference(&served, now_ms) {
        same if same.is_empty() => Ok(()),
        difference => Err(Violation::Artefact(format!("read, and as served: {difference}"))),
    }
}

#[test]
fn a_file_that_means_something_else_is_noticed() {
    use crate::model::{Entry, Value};
    let log = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n".to_vec();
    let files = Files::from([
        (MANIFEST.into(), b"file a.1.incr.aof seq 1 type i\n".to_vec()),
        ("appendonlydir/a.1.incr.aof".into(), log),
    ]);
    let mut served = Keyspace::default();
    served.insert(0, b"a".to_vec(), Entry::lasting(Value::String(b"1".to_vec())));
    assert_eq!(check(&files, true, &served, 0), Ok(()));
    served.insert(0, b"b".to_vec(), Entry::lasting(Value::String(b"1".to_vec())));
    assert!(check(&files, true, &served, 0).is_err());
    assert!(check(&files, false, &served, 0).is_err());
}
