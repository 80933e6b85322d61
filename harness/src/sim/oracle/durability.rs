//! Nothing promised is lost, and what comes back is a prefix of what happened.
//!
//! One comparison covers most of the contract: the keyspace that a start came back with must be one of the states
//! the data set went through, and not one below the floor. A unit applied twice, half a transaction, a hole, a record out
//! of order or a unit that an earlier recovery gave up all make a keyspace that never was, because values are unique.
//!
//! Keys whose time has come are left out on both sides: whether they are still stored is nobody's business.

use super::Violation;
use crate::model::Keyspace;
use crate::sim::history::{Death, History};

/// The number of the state that came back.
///
/// # Errors
/// It never was, or it is below the floor.
pub fn check(
    history: &History,
    recovered: &Keyspace,
    now_ms: u64,
    death: Death,
    with_log: bool,
) -> Result<usize, Violation> {
    let floor = history.floor(death, with_log);
    let found = (0..history.states.len())
        .rev()
        .find(|number| history.states[*number].keyspace.is_equal_at(recovered, now_ms));
    match found {
        None => Err(Violation::NeverWas(nearest(history, recovered, now_ms, floor))),
        Some(number) if number < floor => Err(Violation::Lost {
            recovered: number,
            floor,
            last: history.last(),
            difference: history.states[floor].keyspace.difference(recovered, now_ms),
        }),
        Some(number) => Ok(number),
    }
}

fn nearest(history: &History, recovered: &Keyspace, now_ms: u64, floor: usize) -> String {
    let differences = (0..history.states.len())
        .map(|number| (number, history.states[number].keyspace.difference(recovered, now_ms)));
    let (number, difference) = differences.min_by_key(|(_, text)| text.len()).expect("state 0 is there");
    format!("nearest is state {number} of {} (floor {floor}): {difference}", history.last())
}
