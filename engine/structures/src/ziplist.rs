//! Reads ziplists, the predecessor of the listpack, from snapshots of Redis 6 and older.
//!
//! ```text
//! ┌───────────┬────────────────────┬───────────┬─────────┬───┬──────┐
//! │ total u32 │ last entry at: u32 │ count u16 │ entry 0 │ … │ 0xFF │     little endian; count 0xFFFF = walk
//! └───────────┴────────────────────┴───────────┴─────────┴───┴──────┘
//! entry = length of the entry before (1 byte below 254, else FE + u32), kind, data:
//!   00llllll + l   01llllll llllllll + l   10...... + u32 big endian + l     strings
//!   C0 D0 E0 + 2,4,8     F0 + 3     FE + 1     F1..FD = 0..12                integers
//! ```
//!
//! Always true: a `Ziplist` passed the deep check, so walking it meets no surprise.
//!
//! Not here: writing one; what is read is stored as a listpack.

use crate::damage::Damage;
use crate::listpack::{Item, signed};

const HEADER_BYTES: usize = 10;
const TERMINATOR: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;

/// A ziplist somebody else wrote, checked.
#[derive(Clone, Copy, Debug)]
pub struct Ziplist<'a> {
    entries: &'a [u8],
}

impl<'a> Ziplist<'a> {
    /// Checks every entry of `bytes`.
    ///
    /// # Errors
    /// The first rule the bytes break.
    pub fn from_bytes_checked(bytes: &'a [u8]) -> Result<Ziplist<'a>, Damage> {
        if bytes.len() <= HEADER_BYTES {
            return Err(Damage::at(0, "ziplist shorter than its header"));
        }
        if signed(&bytes[..4]) as u32 as usize != bytes.len() {
            return Err(Damage::at(0, "ziplist size differs from its header"));
        }
        let end = bytes.len() - 1;
        if bytes[end] != TERMINATOR {
            return Err(Damage::at(end, "ziplist terminator missing"));
        }
        let (last, count) = walk(&bytes[..end])?;
        if signed(&bytes[4..8]) as u32 as usize != last {
            return Err(Damage::at(4, "ziplist tail offset is not the last entry"));
        }
        let claimed = u16::from_le_bytes([bytes[8], bytes[9]]);
        if claimed != COUNT_UNKNOWN && usize::from(claimed) != count {
            return Err(Damage::at(8, "ziplist count differs from its entries"));
        }
        Ok(Ziplist { entries: &bytes[HEADER_BYTES..end] })
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Item<'a>> + Clone + use<'a> {
        let mut rest = self.entries;
        core::iter::from_fn(move || {
            let entry = decode(rest)?;
            rest = &rest[entry.len..];
            Some(entry.item)
        })
    }
}

/// One entry: its element, its whole length, and the length it claims for the entry before it.
struct Entry<'a> {
    item: Item<'a>,
    len: usize,
    len_before: usize,
}

/// Offset of the last entry (of the end if there is none) and the number of entries.
fn walk(bytes: &[u8]) -> Result<(usize, usize), Damage> {
    let (mut at, mut last, mut count) = (HEADER_BYTES, HEADER_BYTES, 0);
    while at < bytes.len() {
        let entry = decode(&bytes[at..]).ok_or(Damage::at(at, "ziplist entry invalid"))?;
        if entry.len_before != at - last {
            return Err(Damage::at(at, "ziplist entry misstates the length before it"));
        }
        last = at;
        at += entry.len;
        count += 1;
    }
    Ok((last, count))
}

/// The entry at the start of `bytes`, or `None` if it is of no known kind or runs over the end.
fn decode(bytes: &[u8]) -> Option<Entry<'_>> {
    let (len_before, start) = match *bytes.first()? {
        0xff => return None,
        0xfe => (signed(bytes.get(1..5)?) as u32 as usize, 5),
        len => (usize::from(len), 1),
    };
    let kind = *bytes.get(start)?;
    let (head, body) = match kind {
        0x00..=0x3f => (1, usize::from(kind)),
        0x40..=0x7f => (2, usize::from(u16::from_be_bytes([kind & 0x3f, *bytes.get(start + 1)?]))),
        0x80..=0xbf => (5, u32::from_be_bytes(bytes.get(start + 1..start + 5)?.try_into().ok()?) as usize),
        0xc0 => (1, 2),
        0xd0 => (1, 4),
        0xe0 => (1, 8),
        0xf0 => (1, 3),
        0xfe => (1, 1),
        0xf1..=0xfd => (1, 0),
        _ => return None,
    };
    let start = start + head;
    let len = start.checked_add(body)?;
    let data = bytes.get(start..len)?;
    let item = match kind {
        0x00..=0xbf => Item::Bytes(data),
        0xf1..=0xfd => Item::Int(i64::from(kind & 0x0f) - 1),
        _ => Item::Int(signed(data)),
    };
    Some(Entry { item, len, len_before })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_size::size;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// A naive writer, for tests only. `body` is kind and data of each entry.
    fn write(bodies: &[Vec<u8>]) -> Vec<u8> {
        let (mut bytes, mut last, mut len_before) = (vec![0; HEADER_BYTES], HEADER_BYTES, 0usize);
        for body in bodies {
            last = bytes.len();
            match len_before {
                0..254 => bytes.push(len_before as u8),
                _ => {
                    bytes.push(0xfe);
                    bytes.extend_from_slice(&(len_before as u32).to_le_bytes());
                }
            }
            bytes.extend_from_slice(body);
            len_before = bytes.len() - last;
        }
        bytes.push(TERMINATOR);
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        bytes[4..8].copy_from_slice(&(last as u32).to_le_bytes());
        bytes[8..10].copy_from_slice(&(bodies.len() as u16).to_le_bytes());
        bytes
    }

    fn string(data: &[u8]) -> Vec<u8> {
        let len = data.len();
        let mut body = match len {
            0..64 => vec![len as u8],
            64..16384 => vec![0x40 | (len >> 8) as u8, len as u8],
            _ => [&[0x80][..], &(len as u32).to_be_bytes()].concat(),
        };
        body.extend_from_slice(data);
        body
    }

    fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Damage> {
        Ok(Ziplist::from_bytes_checked(bytes)?.iter().map(Item::to_vec).collect())
    }

    #[test]
    fn two_small_numbers_as_redis_writes_them() {
        let bytes = [0x0f, 0, 0, 0, 0x0c, 0, 0, 0, 2, 0, 0x00, 0xf3, 0x02, 0xf6, 0xff];
        assert_eq!(read(&bytes).unwrap(), [b"2", b"5"]);
    }

    #[test]
    fn every_kind_of_integer_is_read() {
        let bodies = [
            vec![0xf1],
            vec![0xfd],
            vec![0xfe, 0x80],
            vec![0xc0, 0x00, 0x80],
            vec![0xf0, 0xff, 0xff, 0x7f],
            vec![0xd0, 0, 0, 0, 0x80],
            vec![0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ];
        let bytes = write(&bodies);
        let items: Vec<_> = Ziplist::from_bytes_checked(&bytes).unwrap().iter().collect();
        let expected = [0, 12, -128, -32_768, 8_388_607, -2_147_483_648, i64::MAX];
        assert!(items.into_iter().eq(expected.map(Item::Int)));
    }

    #[test]
    fn empty_and_uncounted_ziplists_are_read() {
        assert_eq!(read(&write(&[])).unwrap().len(), 0);
        let mut bytes = write(&[string(b"a"), string(b"b")]);
        bytes[8..10].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(read(&bytes).unwrap(), [b"a", b"b"]);
        bytes[8..10].copy_from_slice(&[3, 0]);
        assert_eq!(read(&bytes).unwrap_err().offset, 8);
    }

    #[test]
    fn damaged_bytes_are_refused_or_readable() {
        let whole = write(&[string(b"abc"), vec![0xc0, 1, 2], string(&[b'x'; 300]), vec![0xf5]]);
        assert!(read(&whole).is_ok());
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "cut to {len}");
        }
        for bit in (0..whole.len() * 8).step_by(size(1, 9)) {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(elements) = read(&bytes) {
                assert_eq!(elements.len(), 4);
            }
        }
    }

    proptest! {
        #[test]
        fn strings_come_back(
            strings in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..70),
                    (200usize..20_000).prop_map(|len| vec![b'x'; len]),
                ],
                0..12,
            ),
        ) {
            let bodies: Vec<_> = strings.iter().map(|data| string(data)).collect();
            prop_assert_eq!(read(&write(&bodies)).unwrap(), strings);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = [&[0; HEADER_BYTES][..], &bytes, &[TERMINATOR]].concat();
            let len = bytes.len() as u32;
            bytes[..4].copy_from_slice(&len.to_le_bytes());
            bytes[8..10].copy_from_slice(&[0xff, 0xff]);
            if let Ok((last, _)) = walk(&bytes[..bytes.len() - 1]) {
                bytes[4..8].copy_from_slice(&(last as u32).to_le_bytes());
                prop_assert!(read(&bytes).is_ok());
            }
        }
    }
}
