//! What a command answers when it is the client's fault: the exact words of Redis 7.2.
//!
//! Not here: errors of the protocol (`resp.rs`), of the world (`host::IoError`), of ours (assertions).

use alloc::{borrow::Cow, format, string::String};
use core::fmt;

/// An error reply: code, blank, text; without the leading `-`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error(Cow<'static, str>);

impl Error {
    /// An error whose text is known beforehand.
    pub const fn new(text: &'static str) -> Error {
        Error(Cow::Borrowed(text))
    }

    /// An error whose text names something.
    pub fn text(text: String) -> Error {
        Error(Cow::Owned(text))
    }

    /// The whole reply, code first.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The code: what comes before the first blank, as counted in INFO errorstats.
    pub fn code(&self) -> &str {
        self.0.split(' ').next().unwrap_or("ERR")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key holds another type than the command works on.
pub const WRONG_TYPE: Error = Error::new("WRONGTYPE Operation against a key holding the wrong kind of value");
/// An option that is not known, or in the wrong place.
pub const SYNTAX: Error = Error::new("ERR syntax error");
/// Not a canonical decimal of 64 bits.
pub const NOT_AN_INTEGER: Error = Error::new("ERR value is not an integer or out of range");
/// Not a number.
pub const NOT_A_FLOAT: Error = Error::new("ERR value is not a valid float");
/// An index outside of a collection, where that is an error.
pub const OUT_OF_RANGE: Error = Error::new("ERR index out of range");
/// The command needs a key that is not there.
pub const NO_SUCH_KEY: Error = Error::new("ERR no such key");
/// `SELECT`, `MOVE`, `COPY`, `SWAPDB` beyond `databases`.
pub const DB_OUT_OF_RANGE: Error = Error::new("ERR DB index is out of range");
/// Source and destination must differ.
pub const SAME_OBJECT: Error = Error::new("ERR source and destination objects are the same");
/// A string would grow beyond `proto-max-bulk-len`.
pub const STRING_TOO_LONG: Error = Error::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
/// An offset into a string must not be negative.
pub const OFFSET_OUT_OF_RANGE: Error = Error::new("ERR offset is out of range");
/// A sum would leave 64 bits.
pub const INCREMENT_OVERFLOW: Error = Error::new("ERR increment or decrement would overflow");
/// A number to subtract has no negative.
pub const DECREMENT_OVERFLOW: Error = Error::new("ERR decrement would overflow");
/// A sum is no number.
pub const NAN_OR_INFINITY: Error = Error::new("ERR increment would produce NaN or Infinity");
/// The cursor of a scan is not an unsigned number.
pub const INVALID_CURSOR: Error = Error::new("ERR invalid cursor");
/// A count must not be negative.
pub const MUST_BE_POSITIVE: Error = Error::new("ERR value is out of range, must be positive");
/// A blocking command's timeout is below zero.
pub const TIMEOUT_NEGATIVE: Error = Error::new("ERR timeout is negative");
/// A blocking command's timeout is not a number.
pub const TIMEOUT_NOT_A_FLOAT: Error = Error::new("ERR timeout is not a float or out of range");
/// A blocking command's timeout ends after the last millisecond there is.
pub const TIMEOUT_OUT_OF_RANGE: Error = Error::new("ERR timeout is out of range");
/// The number of keys that a command is told must be above zero.
pub const KEY_COUNT_NOT_POSITIVE: Error = Error::new("ERR numkeys should be greater than 0");
/// The number of elements that a command is told must be above zero.
pub const COUNT_NOT_POSITIVE: Error = Error::new("ERR count should be greater than 0");
/// The one number of 64 bits that has no counterpart.
pub const NO_COUNTERPART: Error =
    Error::new("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
/// A number that must fit 32 bits does not.
pub const OUT_OF_INT_RANGE: Error =
    Error::new("ERR value is out of range, value must between -2147483648 and 2147483647");
/// maxmemory is reached and nothing may be evicted.
pub const OUT_OF_MEMORY: Error = Error::new("OOM command not allowed when used memory > 'maxmemory'.");

/// The number of arguments does not fit; `command` is the full name (`object|freq`).
pub fn wrong_arity(command: &str) -> Error {
    Error::text(format!("ERR wrong number of arguments for '{command}' command"))
}
