//! The oracles: one promise each, and what it looks like when it is broken.
//!
//! Always true: an oracle says what is wrong in words that need no debugger, and never guesses: what it cannot know it
//! does not demand.
//!
//! Not here: what happened (`../history.rs`), when to ask (`../run.rs`, `../probe.rs`).

pub mod durability;
pub mod leftovers;
pub mod replies;
pub mod start;

use std::fmt;

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A start came back with less than it may.
    Lost {
        /// State that came back.
        recovered: usize,
        /// Lowest state that may.
        floor: usize,
        /// State before the crash.
        last: usize,
        /// Where the two differ.
        difference: String,
    },
    /// A start came back with something that never was: a hole, half a unit, a unit twice, or one that was given up.
    NeverWas(String),
    /// A reply that cannot be.
    Reply(String),
    /// The server did not start although nothing is wrong with the disk.
    Refused(String),
    /// The server did not come to serve, or left a client without an answer.
    Stuck(String),
    /// Files nobody needs any more.
    Leftovers(String),
    /// The server ended by itself.
    Ended(String),
    /// Two runs of one plan differ.
    NotDeterministic(u64, u64),
    /// The simulated disk gave an image that no disk gives.
    IllegalImage(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Lost { recovered, floor, last, difference } => write!(
                f,
                "LOST: came back with state {recovered}, may not be below {floor} (last was {last}): {difference}"
            ),
            Violation::NeverWas(why) => write!(f, "NEVER WAS: {why}"),
            Violation::Reply(why) => write!(f, "REPLY: {why}"),
            Violation::Refused(why) => write!(f, "REFUSED TO START: {why}"),
            Violation::Stuck(why) => write!(f, "STUCK: {why}"),
            Violation::Leftovers(why) => write!(f, "LEFTOVERS: {why}"),
            Violation::Ended(why) => write!(f, "ENDED: {why}"),
            Violation::NotDeterministic(a, b) => write!(f, "NOT DETERMINISTIC: {a:016x} then {b:016x}"),
            Violation::IllegalImage(why) => write!(f, "ILLEGAL IMAGE: {why}"),
        }
    }
}

impl Violation {
    /// Its kind, for tables.
    pub fn kind(&self) -> &'static str {
        match self {
            Violation::Lost { .. } => "lost",
            Violation::NeverWas(_) => "never-was",
            Violation::Reply(_) => "reply",
            Violation::Refused(_) => "refused",
            Violation::Stuck(_) => "stuck",
            Violation::Leftovers(_) => "leftovers",
            Violation::Ended(_) => "ended",
            Violation::NotDeterministic(..) => "not-deterministic",
            Violation::IllegalImage(_) => "illegal-image",
        }
    }
}
