//! Nothing promised is lost, and what comes back is a prefix of what happened, over all clients, databases and files.
//!
//! One comparison of numbers covers most of the contract: the digest of what a start came back with must be that of one of
//! the states the data set went through, and not of one below the floor. A unit applied twice, half a transaction, a hole, a
//! record out of order or a unit that an earlier recovery gave up all make a keyspace that never was, because values are
//! unique. Which promise was broken is then told by the other oracles.
//!
//! Keys whose time has come are left out on both sides: whether they are still stored is nobody's business.

use super::{Violation, atomicity, once, resurrection};
use crate::model::{Digest, Keyspace};
use crate::sim::history::{Death, History};

/// What came back and is no state.
pub struct Suspect<'a> {
    /// What happened.
    pub history: &'a History,
    /// What came back.
    pub recovered: &'a Keyspace,
    /// The lowest state that may come back.
    pub floor: usize,
    /// When it is looked at.
    pub now_ms: u64,
}

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
    match state_of(history, recovered, now_ms) {
        None => Err(name(&Suspect { history, recovered, floor, now_ms })),
        Some(number) if number < floor => Err(Violation::Lost {
            recovered: number,
            floor,
            last: history.last(),
            difference: history.states[floor].keyspace.difference(recovered, now_ms),
        }),
        Some(number) => Ok(number),
    }
}

/// The last state that looks like this.
pub fn state_of(history: &History, recovered: &Keyspace, now_ms: u64) -> Option<usize> {
    let wanted = Digest::of(recovered).at(now_ms);
    (0..history.states.len()).rev().find(|number| history.states[*number].digest.at(now_ms) == wanted)
}

/// Says which promise was broken.
fn name(suspect: &Suspect<'_>) -> Violation {
    resurrection::explain(suspect)
        .or_else(|| once::explain(suspect))
        .or_else(|| atomicity::explain(suspect))
        .unwrap_or_else(|| Violation::NeverWas(nearest(suspect)))
}

/// The state that differs least, and how.
pub(super) fn nearest(suspect: &Suspect<'_>) -> String {
    let states = &suspect.history.states;
    let differences = (0..states.len())
        .map(|number| (number, states[number].keyspace.difference(suspect.recovered, suspect.now_ms)));
    let (number, difference) = differences.min_by_key(|(_, text)| text.len()).expect("state 0 is there");
    format!("nearest is state {number} of {} (floor {}): {difference}", suspect.history.last(), suspect.floor)
}

#[cfg(test)]
pub(super) mod tests {
    use perdura_core::time::Now;

    use super::*;
    use crate::model::Bytes;

    /// The history that these lines make, one unit each.
    pub fn history_of(lines: &[&str]) -> History {
        let mut history = History::default();
        for line in lines {
            let mut keyspace = history.present().keyspace.clone();
            say(&mut keyspace, line);
            let changed = keyspace.changed_since(&history.present().keyspace);
            history.push(keyspace, &changed, Now { mono_us: 1, wall_us: 1_000 });
        }
        history
    }

    /// A line may be a transaction: commands with semicolons between.
    fn say(keyspace: &mut Keyspace, line: &str) {
        for command in line.split("; ") {
            let words: Vec<Bytes> = command.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            keyspace.execute(0, &words, 1);
        }
    }

    /// What is made of a recovery of this, everything up to `floor` being promised.
    pub fn judge(history: &mut History, floor: usize, recovered: &[&str]) -> Result<usize, Violation> {
        history.promise_log(floor);
        let mut keyspace = Keyspace::default();
        recovered.iter().for_each(|line| say(&mut keyspace, line));
        check(history, &keyspace, 1, Death::Power, true)
    }

    #[test]
    fn a_prefix_comes_back_with_its_number() {
        let lines = ["SET a 1", "INCR c", "RPUSH l x", "DEL a"];
        for count in 0..=lines.len() {
            assert_eq!(judge(&mut history_of(&lines), 0, &lines[..count]), Ok(count));
        }
    }

    #[test]
    fn less_than_was_promised_is_lost() {
        let lines = ["SET a 1", "INCR c"];
        let lost = judge(&mut history_of(&lines), 2, &lines[..1]).unwrap_err();
        assert_eq!(lost.kind(), "lost");
    }

    #[test]
    fn a_hole_never_was() {
        let found = judge(&mut history_of(&["SET a 1", "APPEND a 2", "APPEND a 3"]), 0, &["SET a 13"]);
        assert_eq!(found.unwrap_err().kind(), "never-was");
    }
}
