//! The grammar of an append-only file: records, annotations, and where it ends in the middle of something.
//!
//! Reads from a growing buffer, one item at a time, strictly: a line end that is no line end, a count out of range
//! or a byte that starts nothing is a format error; running out of bytes inside an item is a short read.
//!
//! Not here: what a short read or a bad batch means for the set (`recovery.rs`), headers (`batch.rs`).

use alloc::vec::Vec;

use super::batch::{self, Header};
use crate::resp::Span;

/// Longest annotation line that stock loaders skip, bytes, line end included.
pub const ANNOTATION_BYTES_MAX: usize = 1024;

/// Most arguments of a record.
const ARGUMENTS_MAX: u64 = 1024 * 1024 * 1024;

/// Longest argument, bytes: far beyond `proto-max-bulk-len`, but no reason to allocate without end.
const ARGUMENT_BYTES_MAX: u64 = i64::MAX as u64 / 2;

/// One item at the front of a buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// A command; its arguments are in the spans that were passed in.
    Command,
    /// A batch header.
    Header(Header),
    /// `#TS:`: what follows was logged at this second since 1970.
    Timestamp(u64),
    /// Another annotation; skipped.
    Annotation,
}

/// What reading one item found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    /// An item of this many bytes.
    Item(Item, usize),
    /// The buffer ends inside of an item; more bytes may complete it.
    Short,
    /// No item begins here, or it contradicts itself.
    Bad {
        /// Which byte of the buffer breaks a rule.
        at: usize,
        /// How.
        reason: &'static str,
    },
}

/// Reads the item at the front of `input`; fills `spans` for a command.
pub fn read(input: &[u8], spans: &mut Vec<Span>) -> Read {
    match input.first() {
        None => Read::Short,
        Some(b'*') => read_command(input, spans),
        Some(b'#') => read_annotation(input),
        Some(0) => bad(0, "a NUL byte where a record begins"),
        Some(_) => bad(0, "a byte that begins no record"),
    }
}

fn read_annotation(input: &[u8]) -> Read {
    let window = &input[..input.len().min(ANNOTATION_BYTES_MAX)];
    let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
        return if window.len() < ANNOTATION_BYTES_MAX {
            Read::Short
        } else {
            bad(0, "an annotation without end")
        };
    };
    let line = window[..end].strip_suffix(b"\r").unwrap_or(&window[..end]);
    let item = if let Some(header) = batch::parse(line) {
        Item::Header(header)
    } else if let Some(second) = parse_timestamp(line) {
        Item::Timestamp(second)
    } else {
        Item::Annotation
    };
    Read::Item(item, end + 1)
}

fn bad(at: usize, reason: &'static str) -> Read {
    Read::Bad { at, reason }
}

fn parse_timestamp(line: &[u8]) -> Option<u64> {
    core::str::from_utf8(line.strip_prefix(b"#TS:")?).ok()?.parse().ok()
}

fn read_command(input: &[u8], spans: &mut Vec<Span>) -> Read {
    spans.clear();
    let mut at = 0;
    let count = match read_number(input, &mut at, b'*', ARGUMENTS_MAX) {
        Ok(0) => return bad(1, "a record without arguments"),
        Ok(count) => count,
        Err(read) => return read,
    };
    for _ in 0..count {
        let len = match read_number(input, &mut at, b'$', ARGUMENT_BYTES_MAX) {
            Ok(len) => len as usize,
            Err(read) => return read,
        };
        if input.len() - at < len + 2 {
            return Read::Short;
        }
        if &input[at + len..at + len + 2] != b"\r\n" {
            return bad(at + len, "an argument that does not end where its length says");
        }
        spans.push(Span { start: at, end: at + len });
        at += len + 2;
    }
    Read::Item(Item::Command, at)
}

/// Reads `<letter><decimal>\r\n` at `at` and moves past it.
fn read_number(input: &[u8], at: &mut usize, letter: u8, max: u64) -> Result<u64, Read> {
    let rest = &input[*at..];
    match rest.first() {
        None => return Err(Read::Short),
        Some(&byte) if byte == letter => {}
        Some(_) => return Err(bad(*at, "an argument without a length")),
    }
    let mut value = 0u64;
    for (index, &byte) in rest.iter().enumerate().skip(1) {
        match byte {
            b'0'..=b'9' => {
                value = value.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
                if value > max {
                    return Err(bad(*at + index, "a length out of range"));
                }
            }
            b'\r' if index > 1 => {
                return match rest.get(index + 1) {
                    None => Err(Read::Short),
                    Some(b'\n') => {
                        *at += index + 2;
                        Ok(value)
                    }
                    Some(_) => Err(bad(*at + index + 1, "a length that does not end its line")),
                };
            }
            _ => return Err(bad(*at + index, "a length that is no number")),
        }
    }
    Err(Read::Short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nvv\r\n";

    #[test]
    fn command_gives_its_arguments() {
        let mut spans = Vec::new();
        assert_eq!(read(SET, &mut spans), Read::Item(Item::Command, SET.len()));
        let arguments: Vec<&[u8]> = spans.iter().map(|span| &SET[span.start..span.end]).collect();
        assert_eq!(arguments, [&b"SET"[..], b"k", b"vv"]);
    }

    #[test]
    fn every_cut_is_a_short_read() {
        for len in 0..SET.len() {
            assert_eq!(read(&SET[..len], &mut Vec::new()), Read::Short, "cut at {len}");
        }
    }

    #[test]
    fn annotations_are_told_apart() {
        let check = |text: &str, item: Item| {
            assert_eq!(read(text.as_bytes(), &mut Vec::new()), Read::Item(item, text.len()), "{text:?}");
        };
        check("#TS:1628217473\r\n", Item::Timestamp(1_628_217_473));
        check("#C:e:e:0:0000002a\r\n", Item::Header(Header { end: 14, len: 14, synced: 0, crc: 42 }));
        check("#\n", Item::Annotation);
        check(&format!("#{}\n", "x".repeat(1022)), Item::Annotation);
        assert!(matches!(
            read(format!("#{}\n", "x".repeat(1023)).as_bytes(), &mut Vec::new()),
            Read::Bad { .. }
        ));
    }

    #[test]
    fn nonsense_is_a_format_error_at_its_first_wrong_byte() {
        for (text, wrong_at) in [
            ("\0\0", 0),
            ("x", 0),
            ("*0\r\n", 1),
            ("*x\r\n", 1),
            ("*-1\r\n", 1),
            ("*\r\n", 1),
            ("*1\rx", 3),
            ("*1\r\nx", 4),
            ("*1\r\n$x\r\n", 5),
            ("*1\r\n$1\r\nab\r\n", 9),
            ("*99999999999\r\n", 10),
        ] {
            let found = read(text.as_bytes(), &mut Vec::new());
            assert!(matches!(found, Read::Bad { at, .. } if at == wrong_at), "{text:?}: {found:?}");
        }
    }
}
