//! What everything in an RDB file is made of: lengths, strings and fixed-width numbers.
//!
//! ```text
//! length  00nnnnnn                     below 64
//!         01nnnnnn nnnnnnnn            below 16384, big endian
//!         10000000 + 4 bytes           32 bits, big endian
//!         10000001 + 8 bytes           64 bits, big endian
//! string  length, bytes
//!         C0 + 1, C1 + 2, C2 + 4       the decimal of a signed integer, little endian
//!         C3, length, length, bytes    LZF: compressed size, original size
//! ```
//!
//! Always true: a string that is written reads back as the same bytes; the reader never looks beyond its input and
//! says how much more it would need.

use alloc::{borrow::Cow, format, vec::Vec};

use crate::bytes::{
    lzf,
    number::{self, DecimalBuffer},
};

/// Leading byte of the two long forms of a length.
const LEN_32: u8 = 0x80;
const LEN_64: u8 = 0x81;

/// Leading byte of the special forms of a string.
const STRING_INT8: u8 = 0xc0;
const STRING_INT16: u8 = 0xc1;
const STRING_INT32: u8 = 0xc2;
const STRING_LZF: u8 = 0xc3;

/// Longest text that may be the decimal of a 32-bit integer, bytes.
const INT_TEXT_BYTES_MAX: usize = 11;

/// Strings up to here are never compressed, bytes.
const PLAIN_BYTES_MAX: usize = 20;

/// What compression has to save to be worth it, bytes.
const LZF_GAIN_MIN: usize = 4;

/// Appends a length.
pub fn put_len(len: u64, out: &mut Vec<u8>) {
    match len {
        0..64 => out.push(len as u8),
        64..16384 => out.extend([0x40 | (len >> 8) as u8, len as u8]),
        16384..=0xffff_ffff => {
            out.push(LEN_32);
            out.extend((len as u32).to_be_bytes());
        }
        _ => {
            out.push(LEN_64);
            out.extend(len.to_be_bytes());
        }
    }
}

/// Appends a string in the shortest of its forms.
pub fn put_string(text: &[u8], is_compressed: bool, out: &mut Vec<u8>) {
    if text.len() <= INT_TEXT_BYTES_MAX
        && let Some(number) = number::parse_i64(text)
        && let Ok(number) = i32::try_from(number)
    {
        return put_int32(number, out);
    }
    if is_compressed
        && text.len() > PLAIN_BYTES_MAX
        && let Some(packed) = lzf::compress(text, text.len() - LZF_GAIN_MIN)
    {
        out.push(STRING_LZF);
        put_len(packed.len() as u64, out);
        put_len(text.len() as u64, out);
        out.extend(packed);
        return;
    }
    put_raw(text, out);
}

/// Appends a string as length and bytes, whatever it looks like.
pub fn put_raw(text: &[u8], out: &mut Vec<u8>) {
    put_len(text.len() as u64, out);
    out.extend_from_slice(text);
}

/// Appends a string that is the decimal of `number`.
pub fn put_int(number: i64, out: &mut Vec<u8>) {
    match i32::try_from(number) {
        Ok(number) => put_int32(number, out),
        Err(_) => put_raw(number::format_i64(number, &mut DecimalBuffer::default()), out),
    }
}

fn put_int32(number: i32, out: &mut Vec<u8>) {
    if let Ok(number) = i8::try_from(number) {
        out.extend([STRING_INT8, number as u8]);
    } else if let Ok(number) = i16::try_from(number) {
        out.push(STRING_INT16);
        out.extend(number.to_le_bytes());
    } else {
        out.push(STRING_INT32);
        out.extend(number.to_le_bytes());
    }
}

/// Why something could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The input ends too early: nothing can be said before it has this many bytes.
    Short {
        /// Counted from where the reader began.
        bytes_needed: usize,
    },
    /// It breaks a rule.
    Bad {
        /// Where that was noticed, counted from where the reader began.
        offset: usize,
        /// The rule.
        what: Cow<'static, str>,
    },
}

/// Takes things off the front of bytes from outside.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Bytes taken so far.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Everything has been taken.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// A rule is broken here.
    pub fn bad(&self, what: impl Into<Cow<'static, str>>) -> Fault {
        Fault::Bad { offset: self.at, what: what.into() }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let bytes_needed = self.at.saturating_add(count);
        let taken = self.bytes.get(self.at..bytes_needed).ok_or(Fault::Short { bytes_needed })?;
        self.at = bytes_needed;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }

    /// A little-endian number of 64 bits.
    pub fn u64_le(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length.
    pub fn len(&mut self) -> Result<u64, Fault> {
        let offset = self.at;
        let first = self.byte()?;
        match first {
            0x00..0x40 => Ok(u64::from(first)),
            0x40..0x80 => Ok(u64::from(u16::from_be_bytes([first & 0x3f, self.byte()?]))),
            LEN_32 => Ok(u64::from(u32::from_be_bytes(self.array()?))),
            LEN_64 => Ok(u64::from_be_bytes(self.array()?)),
            0x82..0xc0 => {
                Err(Fault::Bad { offset, what: format!("Unknown length encoding {first:#x}").into() })
            }
            0xc0.. => Err(Fault::Bad { offset, what: "a special string where a length belongs".into() }),
        }
    }

    /// A number of elements, each of which takes at least `element_bytes_min`: more than the input can hold is short.
    pub fn count(&mut self, element_bytes_min: usize) -> Result<usize, Fault> {
        let count = usize::try_from(self.len()?).unwrap_or(usize::MAX);
        let bytes_needed = self.at.saturating_add(count.saturating_mul(element_bytes_min));
        if bytes_needed > self.bytes.len() { Err(Fault::Short { bytes_needed }) } else { Ok(count) }
    }

    /// A string.
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        let offset = self.at;
        match self.bytes.get(offset).copied() {
            Some(form @ 0xc0..) => {
                self.at += 1;
                self.special_string(form).inspect_err(|_| self.at = offset)
            }
            _ => {
                let len = self.len()?;
                self.take(usize::try_from(len).unwrap_or(usize::MAX)).map(Cow::Borrowed)
            }
        }
    }

    fn special_string(&mut self, form: u8) -> Result<Cow<'a, [u8]>, Fault> {
        let number = match form {
            STRING_INT8 => i64::from(i8::from_le_bytes(self.array()?)),
            STRING_INT16 => i64::from(i16::from_le_bytes(self.array()?)),
            STRING_INT32 => i64::from(i32::from_le_bytes(self.array()?)),
            STRING_LZF => return self.compressed_string().map(Cow::Owned),
            _ => return Err(self.bad(format!("Unknown RDB string encoding type {}", form & 0x3f))),
        };
        Ok(Cow::Owned(number::format_i64(number, &mut DecimalBuffer::default()).to_vec()))
    }

    fn compressed_string(&mut self) -> Result<Vec<u8>, Fault> {
        let packed_len = self.len()?;
        let original_len = self.len()?;
        let packed = self.take(usize::try_from(packed_len).unwrap_or(usize::MAX))?;
        let original = usize::try_from(original_len).ok().and_then(|len| lzf::decompress(packed, len));
        original.ok_or_else(|| self.bad("Invalid LZF compressed string"))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;

    fn written(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out);
        out
    }

    #[test]
    fn lengths_take_the_shortest_form() {
        let table: &[(u64, &[u8])] = &[
            (0, &[0]),
            (63, &[63]),
            (64, &[0x40, 64]),
            (16383, &[0x7f, 0xff]),
            (16384, &[0x80, 0, 0, 0x40, 0]),
            (0xffff_ffff, &[0x80, 0xff, 0xff, 0xff, 0xff]),
            (0x1_0000_0000, &[0x81, 0, 0, 0, 1, 0, 0, 0, 0]),
            (u64::MAX, &[0x81, 255, 255, 255, 255, 255, 255, 255, 255]),
        ];
        for &(len, bytes) in table {
            assert_eq!(written(|out| put_len(len, out)), bytes);
            assert_eq!(Reader::new(bytes).len(), Ok(len));
            for cut in 0..bytes.len() {
                assert!(
                    matches!(Reader::new(&bytes[..cut]).len(), Err(Fault::Short { .. })),
                    "{len} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn unknown_lengths_are_refused() {
        for first in 0x82..=0xff {
            assert!(
                matches!(Reader::new(&[first; 10]).len(), Err(Fault::Bad { offset: 0, .. })),
                "{first:#x}"
            );
        }
    }

    #[test]
    fn strings_take_the_shortest_form() {
        let table: &[(&[u8], &[u8])] = &[
            (b"", &[0]),
            (b"0", &[0xc0, 0]),
            (b"-128", &[0xc0, 0x80]),
            (b"128", &[0xc1, 128, 0]),
            (b"-32769", &[0xc2, 0xff, 0x7f, 0xff, 0xff]),
            (b"2147483647", &[0xc2, 0xff, 0xff, 0xff, 0x7f]),
            (b"2147483648", b"\x0a2147483648"),
            (b"-2147483648", &[0xc2, 0, 0, 0, 0x80]),
            (b"-0", b"\x02-0"),
            (b"+1", b"\x02+1"),
            (b"0012", b"\x040012"),
            (&[b'a'; 20], b"\x14aaaaaaaaaaaaaaaaaaaa"),
            (&[b'a'; 100], &[0xc3, 9, 0x40, 100, 1, b'a', b'a', 0xe0, 0x57, 0, 1, b'a', b'a']),
        ];
        for &(text, bytes) in table {
            assert_eq!(written(|out| put_string(text, true, out)), bytes);
            assert_eq!(Reader::new(bytes).string().unwrap(), text);
        }
    }

    #[test]
    fn a_string_that_claims_too_much_is_short_and_allocates_nothing() {
        let long = [0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, b'x'];
        assert!(matches!(Reader::new(&long).string(), Err(Fault::Short { .. })));
        let bomb = [0xc3, 1, 0x80, 0xff, 0xff, 0xff, 0xff, 0];
        assert!(matches!(Reader::new(&bomb).string(), Err(Fault::Bad { .. })));
    }

    proptest! {
        #[test]
        fn strings_survive(
            text in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                prop::collection::vec(0u8..2, 0..300),
                "-?[0-9]{1,12}".prop_map(String::into_bytes),
            ],
            is_compressed: bool,
        ) {
            let bytes = written(|out| put_string(&text, is_compressed, out));
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.string().unwrap(), text);
            prop_assert!(reader.is_at_end());
        }

        #[test]
        fn integers_are_strings(number: i64) {
            let bytes = written(|out| put_int(number, out));
            prop_assert_eq!(Reader::new(&bytes).string().unwrap().to_vec(), format!("{number}").into_bytes());
        }

        #[test]
        fn any_bytes_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader::new(&bytes);
            let _ = reader.string();
            prop_assert!(reader.offset() <= bytes.len());
        }
    }
}
