//! What was deleted or has expired does not come back.

use super::Violation;
use super::durability::Suspect;

/// Names a key that came back although it was gone for good: no state that may come back has it.
pub fn explain(suspect: &Suspect<'_>) -> Option<Violation> {
    let states = &suspect.history.states;
    let is_due = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| at_ms < suspect.now_ms);
    suspect.recovered.iter().find_map(|(db, key, entry)| {
        let held = |number: &usize| states[*number].keyspace.get(db, key).is_some();
        let was_there = (0..suspect.floor).rev().find(held)?;
        let is_gone = !(suspect.floor..states.len()).any(|number| held(&number));
        (is_gone && !is_due(entry.expires_at_ms)).then(|| {
            let name = String::from_utf8_lossy(key);
            Violation::Resurrected(format!("{db}/{name} of state {was_there}, gone at {}", suspect.floor))
        })
    })
}

#[test]
fn a_deleted_key_that_comes_back_is_noticed() {
    use super::durability::tests::{history_of, judge};
    let mut history = history_of(&["SET a 1", "SET b 1", "DEL a"]);
    let found = judge(&mut history, 3, &["SET a 1", "SET b 1", "SET d 2"]);
    assert_eq!(found.unwrap_err().kind(), "resurrected");
}
