//! What a client can wait for: keys, for so long, with this answer in the end.
//!
//! Not here: who waits and who is served first (`node/blocking.rs`).

use alloc::vec::Vec;

/// What a client waits for in a blocking command.
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// Any of these keys, in this order of preference.
    pub keys: Vec<Vec<u8>>,
    /// Milliseconds to wait at most; 0 is for ever.
    pub timeout_ms: u64,
    /// What is answered when the time is up.
    pub on_timeout: TimeoutReply,
    /// Woken also when a key goes away or changes its type (XREADGROUP, which then answers an error).
    pub wakes_on_removal: bool,
    /// Arguments to run again instead of the ones typed (XREAD with `$` made concrete).
    pub retry_args: Option<Vec<Vec<u8>>>,
}

/// The answer of a blocking command whose time is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeoutReply {
    /// Null bulk.
    Null,
    /// Null array.
    NullArray,
}
