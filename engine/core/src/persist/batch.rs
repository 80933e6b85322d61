//! Batch headers: checksums that make an append-only file provable and that stock servers skip.
//!
//! Stock loaders since 7.0 skip every line whose first byte is `#`, so each batch is preceded by one:
//!
//! ```text
//!   #C:<end>:<len>:<synced>:<crc>\r\n   hexadecimal, no padding; crc eight digits
//!   <len bytes of records>
//!
//!   end     offset of the log after this batch (records only, headers not counted)
//!   synced  offset known to be durable when the batch was written
//!   crc     CRC-32 (IEEE) over "<end>:<len>:<synced>" and the records
//! ```
//!
//! The header stands before its batch, not after: then records without a header can only be foreign (a stock
//! server appended them) and are trusted as far as their grammar goes, while a batch that was torn is known
//! by its header. `synced` tells a tear from rot: damage below an offset that a later header calls synced cannot come from a
//! crash. docs/decisions/0001-batch-headers.md has the cases.
//!
//! Not here: the grammar of records (`record.rs`), what recovery does about a bad batch (`recovery.rs`).

use alloc::{format, vec::Vec};

use bytes::Bytes;

use super::journal::Offset;
use crate::host::Encoder;

/// Longest header line, bytes: three 64-bit numbers, a checksum, punctuation.
pub const HEADER_BYTES_MAX: usize = 3 + 16 + 1 + 16 + 1 + 16 + 1 + 8 + 2;

/// What a header begins with.
pub const MARK: &[u8] = b"#C:";

/// What a header says of its batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Offset of the log after the batch.
    pub end: Offset,
    /// Bytes of records in the batch; 0 for the mark of an orderly stop.
    pub len: u64,
    /// Offset known to be durable when it was written.
    pub synced: Offset,
    /// Checksum.
    pub crc: u32,
}

impl Header {
    /// Offset of the log before the batch, or `None` if the header contradicts itself.
    pub fn start(&self) -> Option<Offset> {
        self.end.checked_sub(self.len)
    }

    /// Whether these are the records it was written for.
    pub fn matches(&self, payload: &[u8]) -> bool {
        payload.len() as u64 == self.len
            && crc_of(&fields(self.end, self.len, self.synced), payload) == self.crc
    }
}

/// A batch with its header.
pub fn seal(end: Offset, synced: Offset, payload: &[u8]) -> Bytes {
    let fields = fields(end, payload.len() as u64, synced);
    let mut bytes = Vec::with_capacity(HEADER_BYTES_MAX + payload.len());
    bytes.extend_from_slice(MARK);
    bytes.extend_from_slice(fields.as_bytes());
    bytes.extend_from_slice(format!(":{:08x}\r\n", crc_of(&fields, payload)).as_bytes());
    bytes.extend_from_slice(payload);
    Bytes::from(bytes)
}

/// Reads a header line without its line end; `None` if it is another kind of annotation or damaged.
pub fn parse(line: &[u8]) -> Option<Header> {
    let text = core::str::from_utf8(line.strip_prefix(MARK)?).ok()?;
    let mut parts = text.split(':');
    let mut hex = || u64::from_str_radix(parts.next()?, 16).ok();
    let header = Header { end: hex()?, len: hex()?, synced: hex()?, crc: u32::try_from(hex()?).ok()? };
    parts.next().is_none().then_some(header)
}

/// A base of commands, ended by an empty batch that says where its log goes on: so the incremental file after it is
/// known to have been begun with headers, as an RDB base says by its auxiliary field.
pub struct Marked<E> {
    inner: E,
    offset: Option<Offset>,
}

impl<E: Encoder> Marked<E> {
    /// The commands of `inner`, and the mark if `offset` is given.
    pub fn new(inner: E, offset: Option<Offset>) -> Marked<E> {
        Marked { inner, offset }
    }
}

impl<E: Encoder> Encoder for Marked<E> {
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        let has_more = self.inner.step(out);
        if !has_more && let Some(offset) = self.offset.take() {
            out.extend_from_slice(&seal(offset, offset, &[]));
        }
        has_more
    }

    fn keys(&self) -> u64 {
        self.inner.keys()
    }
}

fn fields(end: Offset, len: u64, synced: Offset) -> alloc::string::String {
    format!("{end:x}:{len:x}:{synced:x}")
}

fn crc_of(fields: &str, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(fields.as_bytes());
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(sealed: &[u8]) -> (Header, &[u8]) {
        let end = sealed.iter().position(|&byte| byte == b'\r').unwrap();
        (parse(&sealed[..end]).unwrap(), &sealed[end + 2..])
    }

    #[test]
    fn sealed_batch_reads_back() {
        let sealed = seal(0x1234, 0x1200, b"*1\r\n$4\r\nPING\r\n");
        assert!(sealed.starts_with(b"#C:1234:e:1200:"));
        let (header, payload) = split(&sealed);
        assert!(header.matches(payload));
        assert_eq!(header.start(), Some(0x1226));
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let sealed = seal(77, 3, b"*1\r\n$4\r\nPING\r\n").to_vec();
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let Some(end) = damaged.windows(2).position(|pair| pair == b"\r\n") else { continue };
            let is_accepted =
                parse(&damaged[..end]).is_some_and(|header| header.matches(&damaged[end + 2..]));
            // Upper-case hexadecimal reads the same: the only flips that may pass change no value.
            assert!(!is_accepted || damaged.eq_ignore_ascii_case(&sealed), "bit {bit}");
        }
    }

    #[test]
    fn other_annotations_are_not_headers() {
        for line in
            [&b"#TS:1628217473"[..], b"#C:", b"#C:1:2:3", b"#C:1:2:3:4:5", b"#C:x:2:3:4", b"# C:1:2:3:4"]
        {
            assert_eq!(parse(line), None);
        }
    }
}
