//! A transaction, a script, a command on many keys: all of it or nothing; and one order for all clients and files.
//!
//! Each key by itself came back as it once was, but not all of them at the same time: a unit was torn, or one came back
//! without an earlier one.

use super::Violation;
use super::durability::{Suspect, nearest};

/// Says so if every key that came back was so at some time.
pub fn explain(suspect: &Suspect<'_>) -> Option<Violation> {
    let states = &suspect.history.states;
    let mut recovered = suspect.recovered.iter();
    let is_old = recovered
        .all(|(db, key, entry)| states.iter().any(|state| state.keyspace.get(db, key) == Some(entry)));
    is_old.then(|| Violation::Torn(nearest(suspect)))
}

#[test]
fn half_a_transaction_is_noticed() {
    use super::durability::tests::{history_of, judge};
    let mut history = history_of(&["SET a 1", "SET b 1; SET c 1"]);
    assert_eq!(judge(&mut history, 0, &["SET a 1", "SET b 1"]).unwrap_err().kind(), "torn");
}

#[test]
fn a_later_unit_without_an_earlier_one_is_noticed() {
    use super::durability::tests::{history_of, judge};
    let mut history = history_of(&["SET a 1", "SET b 1"]);
    assert_eq!(judge(&mut history, 0, &["SET b 1"]).unwrap_err().kind(), "torn");
}
