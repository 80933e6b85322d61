//! What a client can wait for: keys, for so long, with this answer in the end.
//!
//! Not here: who waits and who is served first (`node/blocking.rs`).

use alloc::vec::Vec;

use crate::{
    bytes::number,
    error::{Error, TIMEOUT_NEGATIVE, TIMEOUT_NOT_A_FLOAT, TIMEOUT_OUT_OF_RANGE},
    store::Type,
};

/// What a client waits for in a blocking command.
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// Any of these keys, in this order of preference.
    pub keys: Vec<Vec<u8>>,
    /// The type it serves itself from: a key of another does not wake it.
    pub kind: Type,
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

/// A timeout in seconds, perhaps with a fraction, in milliseconds; 0 is for ever.
///
/// Rounded up, so that a tiny wait is not for ever.
///
/// # Errors
/// Not a number, negative, or so large that it would end after the last millisecond there is.
pub fn parse_timeout_seconds(text: &[u8], now_ms: u64) -> Result<u64, Error> {
    let ms = number::parse_f64(text).ok_or(TIMEOUT_NOT_A_FLOAT)? * 1000.0;
    if ms >= i64::MAX as f64 {
        return Err(TIMEOUT_OUT_OF_RANGE);
    }
    let whole = ms as i64;
    let rounded = if (whole as f64) < ms { whole + 1 } else { whole };
    let timeout_ms = u64::try_from(rounded).map_err(|_| TIMEOUT_NEGATIVE)?;
    if timeout_ms > i64::MAX as u64 - now_ms {
        return Err(TIMEOUT_OUT_OF_RANGE);
    }
    Ok(timeout_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_rounded_up_to_milliseconds() {
        let table: &[(&str, Result<u64, Error>)] = &[
            ("0", Ok(0)),
            ("1", Ok(1000)),
            ("1.5", Ok(1500)),
            ("0.001", Ok(1)),
            ("0.0001", Ok(1)),
            ("0.0011", Ok(2)),
            ("1e2", Ok(100_000)),
            // Less than a millisecond below zero rounds up to zero, as in Redis.
            ("-0.0001", Ok(0)),
            ("-0.001", Err(TIMEOUT_NEGATIVE)),
            ("-1", Err(TIMEOUT_NEGATIVE)),
            ("-inf", Err(TIMEOUT_NEGATIVE)),
            ("inf", Err(TIMEOUT_OUT_OF_RANGE)),
            ("9223372036854775", Err(TIMEOUT_OUT_OF_RANGE)),
            ("9223372036854776", Err(TIMEOUT_OUT_OF_RANGE)),
            ("9000000000000000", Ok(9_000_000_000_000_000_000)),
            ("nan", Err(TIMEOUT_NOT_A_FLOAT)),
            ("", Err(TIMEOUT_NOT_A_FLOAT)),
            ("1s", Err(TIMEOUT_NOT_A_FLOAT)),
        ];
        for (text, expected) in table {
            let now_ms = 1_700_000_000_000;
            assert_eq!(parse_timeout_seconds(text.as_bytes(), now_ms), *expected, "{text}");
        }
    }
}
