//! The oracles: one promise each, and what it looks like when it is broken.
//!
//! Always true: an oracle says what is wrong in words that need no debugger, and never guesses: what it cannot know it
//! does not demand.
//!
//! Not here: what happened (`../history.rs`), when to ask (`../run.rs`, `../probe.rs`).

pub mod artefacts;
pub mod atomicity;
pub mod durability;
pub mod exposure;
pub mod instant;
pub mod leftovers;
pub mod memory;
pub mod once;
pub mod replies;
pub mod resurrection;
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
    /// A start came back with something that never was: a hole, or a unit that was given up.
    NeverWas(String),
    /// A start came back with half a unit, or with one and without an earlier one.
    Torn(String),
    /// Something that happened once came back twice.
    Twice(String),
    /// A key that was gone for good came back.
    Resurrected(String),
    /// A reply that cannot be.
    Reply(String),
    /// INFO called safe what it cannot be.
    Exposure(String),
    /// A reply left before what it tells of was on the platter.
    Early(String),
    /// Another reader finds something else on disk than the server that left it there.
    Artefact(String),
    /// Memory is counted wrongly.
    Memory(String),
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
            Violation::Torn(why) => write!(f, "TORN: {why}"),
            Violation::Twice(why) => write!(f, "TWICE: {why}"),
            Violation::Resurrected(why) => write!(f, "RESURRECTED: {why}"),
            Violation::Exposure(why) => write!(f, "EXPOSURE: {why}"),
            Violation::Early(why) => write!(f, "EARLY: {why}"),
            Violation::Artefact(why) => write!(f, "ARTEFACT: {why}"),
            Violation::Memory(why) => write!(f, "MEMORY: {why}"),
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
            Violation::Torn(_) => "torn",
            Violation::Twice(_) => "twice",
            Violation::Resurrected(_) => "resurrected",
            Violation::Exposure(_) => "exposure",
            Violation::Early(_) => "early",
            Violation::Artefact(_) => "artefact",
            Violation::Memory(_) => "memory",
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
