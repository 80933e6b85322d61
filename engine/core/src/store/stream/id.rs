//! An entry's id: milliseconds and a sequence number, as it is typed, printed and ordered.
//!
//! Always true: `parse(id.text()) == id`; ids order as their 16 bytes do.
//!
//! Not here: what `*`, `$`, `>`, `-`, `+` and `(` mean to a command (`commands/stream/`).

use core::fmt;

use crate::bytes::number::{self, DecimalBuffer};

/// Text longer than this is no id, whatever it says. Redis parses ids in a buffer of this size.
const TEXT_BYTES_MAX: usize = 127;

/// An entry's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct StreamId {
    /// Milliseconds, usually since 1970.
    pub ms: u64,
    /// Sequence number within the millisecond.
    pub seq: u64,
}

impl StreamId {
    /// Below every entry: no entry has it.
    pub const MIN: StreamId = StreamId::new(0, 0);
    /// The last id there is.
    pub const MAX: StreamId = StreamId::new(u64::MAX, u64::MAX);

    /// An id of these parts.
    pub const fn new(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    /// The id right after this one, or `None` after the last.
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => self.ms.checked_add(1).map(|ms| StreamId { ms, seq: 0 }),
        }
    }

    /// The id right before this one, or `None` before 0-0.
    pub fn prev(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => self.ms.checked_sub(1).map(|ms| StreamId { ms, seq: u64::MAX }),
        }
    }

    /// As RDB writes it: both parts, highest byte first.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    /// As RDB writes it.
    pub fn from_bytes(bytes: [u8; 16]) -> StreamId {
        let both = u128::from_be_bytes(bytes);
        StreamId { ms: (both >> 64) as u64, seq: both as u64 }
    }

    /// `ms` or `ms-seq`; where the sequence is left out, it is `seq_missing`.
    pub fn parse(text: &[u8], seq_missing: u64) -> Option<StreamId> {
        let (ms, seq) = split(text)?;
        Some(StreamId { ms: parse_part(ms)?, seq: seq.map_or(Some(seq_missing), parse_part)? })
    }

    /// The milliseconds of `ms-*`, whose sequence number is for the stream to choose.
    pub fn parse_open(text: &[u8]) -> Option<u64> {
        match split(text)? {
            (ms, Some(b"*")) => parse_part(ms),
            _ => None,
        }
    }

    /// `ms-seq`.
    pub fn text(self) -> IdText {
        let mut text = IdText { bytes: [0; 41], len: 0 };
        text.push(number::format_u64(self.ms, &mut DecimalBuffer::default()));
        text.push(b"-");
        text.push(number::format_u64(self.seq, &mut DecimalBuffer::default()));
        text
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// An id, printed.
#[derive(Clone, Copy, Debug)]
pub struct IdText {
    /// Two numbers of 20 digits and what stands between them.
    bytes: [u8; 41],
    len: usize,
}

impl IdText {
    fn push(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }
}

impl core::ops::Deref for IdText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Both parts, unread; a zero byte ends the text, as where C reads it.
fn split(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    let text = &text[..end];
    Some(match text.iter().position(|&byte| byte == b'-') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    })
}

/// A number as C's `strtoull` reads it, which Redis falls back on: leading spaces, zeros and a sign are fine; only
/// a canonical negative number is refused, any other wraps.
fn parse_part(text: &[u8]) -> Option<u64> {
    if number::parse_i64(text).is_some_and(|number| number < 0) {
        return None;
    }
    let unspaced = text.trim_ascii_start();
    let (is_negative, digits) = match unspaced {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(if is_negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let id = StreamId::new;
        let table: &[(&[u8], Option<StreamId>)] = &[
            (b"5", Some(id(5, 7))),
            (b"5-6", Some(id(5, 6))),
            (b"0", Some(id(0, 7))),
            (b"0-0", Some(id(0, 0))),
            (b"007-010", Some(id(7, 10))),
            (b" 1- 2", Some(id(1, 2))),
            (b"+1-+2", Some(id(1, 2))),
            (b"1--05", Some(id(1, u64::MAX - 4))),
            (b"1-2\0junk", Some(id(1, 2))),
            (b"18446744073709551615-18446744073709551615", Some(StreamId::MAX)),
            (b"18446744073709551616", None),
            (b"1--5", None),
            (b"", None),
            (b"-", None),
            (b"+", None),
            (b"1-", None),
            (b"-1", None),
            (b"1-2-3", None),
            (b"1-*", None),
            (b"1 ", None),
            (b"x", None),
            (&[b'0'; 127], Some(id(0, 7))),
            (&[b'0'; 128], None),
        ];
        for &(text, expected) in table {
            assert_eq!(StreamId::parse(text, 7), expected, "{}", text.escape_ascii());
        }
        assert_eq!(StreamId::parse_open(b"5-*"), Some(5));
        assert_eq!(StreamId::parse_open(b"5-**"), None);
        assert_eq!(StreamId::parse_open(b"5-6"), None);
        assert_eq!(StreamId::parse_open(b"5"), None);
    }

    #[test]
    fn neighbours_carry_over() {
        assert_eq!(StreamId::new(1, u64::MAX).next(), Some(StreamId::new(2, 0)));
        assert_eq!(StreamId::new(2, 0).prev(), Some(StreamId::new(1, u64::MAX)));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.prev(), None);
    }

    proptest! {
        #[test]
        fn ids_survive_printing_and_order_as_bytes(parts: (u64, u64), others: (u64, u64)) {
            let (id, other) = (StreamId::new(parts.0, parts.1), StreamId::new(others.0, others.1));
            prop_assert_eq!(StreamId::parse(&id.text(), 0), Some(id));
            prop_assert_eq!(StreamId::from_bytes(id.to_bytes()), id);
            prop_assert_eq!(id.cmp(&other), id.to_bytes().cmp(&other.to_bytes()));
        }
    }
}
