//! Reads zipmaps, the oldest form of a small hash, from snapshots of Redis 2.4 and older.
//!
//! ```text
//! ┌──────────┬─────────┬───────┬───────────┬──────────┬───────┬────────────┬───┬──────┐
//! │ count u8 │ its len │ field │ value len │ spare u8 │ value │ spare bytes│ … │ 0xFF │
//! └──────────┴─────────┴───────┴───────────┴──────────┴───────┴────────────┴───┴──────┘
//! len = 1 byte below 254, or FE + u32 little endian; count of 254 and more = walk
//! ```
//!
//! Always true: a `Zipmap` passed the deep check: it is not empty and no field occurs twice.
//!
//! Not here: writing one; what is read is stored as a listpack or a table.

use crate::damage::Damage;
use crate::listpack::signed;
use alloc::vec::Vec;

const TERMINATOR: u8 = 0xff;
/// Count byte from which on the pairs must be counted by walking.
const COUNT_UNKNOWN: u8 = 254;

/// A zipmap somebody else wrote, checked.
#[derive(Clone, Copy, Debug)]
pub struct Zipmap<'a> {
    pairs: &'a [u8],
}

impl<'a> Zipmap<'a> {
    /// Checks every pair of `bytes`.
    ///
    /// # Errors
    /// The first rule the bytes break.
    pub fn from_bytes_checked(bytes: &'a [u8]) -> Result<Zipmap<'a>, Damage> {
        let [claimed, pairs @ .., TERMINATOR] = bytes else {
            return Err(Damage::at(bytes.len(), "zipmap shorter than its frame or not terminated"));
        };
        let (mut fields, mut at) = (Vec::new(), 0);
        while at < pairs.len() {
            let (field, _, len) = decode(&pairs[at..]).ok_or(Damage::at(at + 1, "zipmap pair invalid"))?;
            fields.push(field);
            at += len;
        }
        if fields.is_empty() {
            return Err(Damage::at(0, "zipmap empty"));
        }
        if *claimed < COUNT_UNKNOWN && usize::from(*claimed) != fields.len() {
            return Err(Damage::at(0, "zipmap count differs from its pairs"));
        }
        fields.sort_unstable();
        if fields.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Damage::at(0, "zipmap field occurs twice"));
        }
        Ok(Zipmap { pairs })
    }

    /// The pairs of field and value in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone + use<'a> {
        let mut rest = self.pairs;
        core::iter::from_fn(move || {
            let (field, value, len) = decode(rest)?;
            rest = &rest[len..];
            Some((field, value))
        })
    }
}

/// Field, value and whole length of the pair at the start of `bytes`, or `None` if it runs over the end.
fn decode(bytes: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let (field_len, at) = length(bytes)?;
    let (field, rest) = bytes[at..].split_at_checked(field_len)?;
    let (value_len, at) = length(rest)?;
    let (&spare, rest) = rest[at..].split_first()?;
    let (value, rest) = rest.split_at_checked(value_len)?;
    let rest = rest.get(usize::from(spare)..)?;
    Some((field, value, bytes.len() - rest.len()))
}

/// A length and how many bytes it takes itself.
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.first()? {
        0xff => None,
        0xfe => Some((signed(bytes.get(1..5)?) as u32 as usize, 5)),
        len => Some((usize::from(len), 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One pair with three spare bytes after the value, one field with the long form of length.
    const MAP: &[u8] = b"\x02\x03foo\x03\x03bar...\xfe\x05\0\0\0hello\x05\0world\xff";

    type Pair<'a> = (&'a [u8], &'a [u8]);

    fn read(bytes: &[u8]) -> Result<Vec<Pair<'_>>, Damage> {
        Ok(Zipmap::from_bytes_checked(bytes)?.iter().collect())
    }

    #[test]
    fn pairs_are_read_past_spare_bytes() {
        assert_eq!(read(MAP).unwrap(), [(&b"foo"[..], &b"bar"[..]), (b"hello", b"world")]);
    }

    #[test]
    fn large_count_means_walk() {
        let mut bytes = MAP.to_vec();
        bytes[0] = 254;
        assert_eq!(read(&bytes).unwrap().len(), 2);
        bytes[0] = 3;
        assert!(read(&bytes).is_err());
    }

    #[test]
    fn empty_map_and_repeated_field_are_damage() {
        assert_eq!(read(b"\0\xff").unwrap_err().what, "zipmap empty");
        assert_eq!(read(b"\x02\x01a\x01\0x\x01a\x01\0y\xff").unwrap_err().what, "zipmap field occurs twice");
    }

    #[test]
    fn damaged_bytes_are_refused_or_readable() {
        for len in 0..MAP.len() {
            assert!(read(&MAP[..len]).is_err(), "cut to {len}");
        }
        for bit in 0..MAP.len() * 8 {
            let mut bytes = MAP.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(pairs) = read(&bytes) {
                assert_eq!(pairs.len(), 2);
            }
        }
    }
}
