//! Effects happen exactly once: what cannot be done twice without being seen (INCR, APPEND, pushes) shows if it was.

use std::collections::BTreeSet;

use super::Violation;
use super::durability::Suspect;
use crate::model::{Bytes, Value};

/// Names a key whose value tells of something done twice.
pub fn explain(suspect: &Suspect<'_>) -> Option<Violation> {
    suspect.recovered.iter().find_map(|(db, key, entry)| {
        let twice = match &entry.value {
            Value::String(bytes) => {
                first_repeated(bytes.split_inclusive(|byte| *byte == b';').map(<[u8]>::to_vec))
            }
            Value::List(items) => first_repeated(items.iter().cloned()),
            _ => None,
        };
        // A counter is beyond all it ever was.
        let number = |value: &Value| match value {
            Value::String(bytes) => std::str::from_utf8(bytes).ok()?.parse::<i64>().ok(),
            _ => None,
        };
        let counts = || {
            let states = suspect.history.states.iter();
            let highest = states.filter_map(|state| number(&state.keyspace.get(db, key)?.value)).max()?;
            number(&entry.value)
                .filter(|found| *found > highest)
                .map(|found| format!("{found} beyond {highest}"))
        };
        let twice =
            twice.map(|value| format!("{} twice", String::from_utf8_lossy(&value))).or_else(counts)?;
        Some(Violation::Twice(format!("{db}/{}: {twice}", String::from_utf8_lossy(key))))
    })
}

/// The first of these that is a value of the workload (they are unique) and not the only one of its kind.
fn first_repeated(values: impl Iterator<Item = Bytes>) -> Option<Bytes> {
    let mut seen = BTreeSet::new();
    values
        .filter(|value| value.starts_with(b"v") && value.contains(&b';'))
        .find(|value| !seen.insert(value.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::durability::tests::{history_of, judge};

    fn check(lines: &[&str], recovered: &[&str]) {
        assert_eq!(judge(&mut history_of(lines), 0, recovered).unwrap_err().kind(), "twice", "{lines:?}");
    }

    #[test]
    fn what_is_applied_twice_is_noticed() {
        check(&["INCR c", "INCR c"], &["SET c 3"]);
        check(&["APPEND a v1;", "APPEND a v2;"], &["APPEND a v1;v2;v2;"]);
        check(&["RPUSH l v1;", "RPUSH l v2;"], &["RPUSH l v1;", "RPUSH l v2;", "RPUSH l v2;"]);
    }
}
