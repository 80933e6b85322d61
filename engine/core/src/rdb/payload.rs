//! One value alone, as DUMP hands it out and RESTORE takes it in.
//!
//! ```text
//! type, value, version (2 bytes), CRC64 of everything before (8 bytes); both little endian
//! ```
//!
//! Always true: unlike a file, a payload always has its checksum; a zero one is not accepted.
//!
//! Not here: the commands (`commands/dump.rs`).

use alloc::vec::Vec;

use perdura_structures::table::ContentRef;

use super::{
    VERSION_MAX,
    hash::EXPIRY_VERSION_MIN,
    primitive::{Fault, Reader},
    value::{Form, LoadedValue, kind_of, put_value, read_value, structure_name},
};
use crate::{
    bytes::crc64,
    error::Error,
    store::{Limits, Object},
};

const VERSION_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 8;

/// A payload is too short, of a newer version, or its checksum does not match.
pub const BAD_FOOTER: Error = Error::new("ERR DUMP payload version or checksum are wrong");
/// What the footer vouches for is no value.
pub const BAD_FORMAT: Error = Error::new("ERR Bad data format");

/// The payload of a value.
///
/// Fields that expire raise the version to the first that knows them.
pub fn dump(content: ContentRef<'_, Object>, version: u16, is_compressed: bool) -> Vec<u8> {
    let has_expiring_fields =
        matches!(content, ContentRef::Object(object) if object.next_expiry_ms().is_some());
    let version = if has_expiring_fields { version.max(EXPIRY_VERSION_MIN) } else { version };
    let form = Form { version, is_compressed };
    let mut payload = alloc::vec![kind_of(content, form)];
    put_value(content, form, &mut payload);
    seal(payload, version)
}

/// Appends the footer. FUNCTION DUMP's payload ends in the same way.
pub fn seal(mut payload: Vec<u8>, version: u16) -> Vec<u8> {
    payload.extend(version.to_le_bytes());
    payload.extend(crc64::checksum(&payload).to_le_bytes());
    payload
}

/// What the footer vouches for.
///
/// # Errors
/// [`BAD_FOOTER`]
pub fn unseal(payload: &[u8], skip_checksum: bool) -> Result<&[u8], Error> {
    let (sealed, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>().ok_or(BAD_FOOTER)?;
    let (body, version) = sealed.split_last_chunk::<VERSION_BYTES>().ok_or(BAD_FOOTER)?;
    let is_checksum_right = skip_checksum || crc64::checksum(sealed) == u64::from_le_bytes(*checksum);
    if u16::from_le_bytes(*version) > VERSION_MAX || !is_checksum_right {
        return Err(BAD_FOOTER);
    }
    Ok(body)
}

/// The value of a payload, in the encoding that `limits` ask for.
///
/// # Errors
/// [`BAD_FOOTER`], [`BAD_FORMAT`]
pub fn restore(payload: &[u8], limits: &Limits, skip_checksum: bool) -> Result<LoadedValue, Error> {
    let mut reader = Reader::new(unseal(payload, skip_checksum)?);
    let kind = reader.byte().map_err(|_| BAD_FORMAT)?;
    let refuse = |offset: usize, what: &str| {
        let structure = structure_name(kind);
        tracing::warn!("DUMP payload: {structure} integrity check failed at offset {offset}: {what}");
        BAD_FORMAT
    };
    match read_value(kind, &mut reader, limits) {
        Ok(Some(value)) if reader.is_at_end() => Ok(value),
        Ok(Some(_)) => Err(refuse(reader.offset(), "bytes follow the value")),
        Ok(None) => Err(refuse(reader.offset(), "it has no elements")),
        Err(Fault::Bad { offset, what }) => Err(refuse(offset, &what)),
        Err(Fault::Short { .. }) => Err(refuse(reader.offset(), "it ends in the middle of a value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(payload: &[u8]) -> Result<(), Error> {
        restore(payload, &Limits::default(), false).map(|_| ())
    }

    #[test]
    fn footer_is_checked_before_anything_else() {
        let payload = dump(ContentRef::Bytes(b"x"), 11, true);
        for len in 0..payload.len() {
            assert_eq!(restored(&payload[..len]), Err(BAD_FOOTER), "cut to {len}");
        }
        for index in 0..payload.len() * 8 {
            let mut flipped = payload.clone();
            flipped[index / 8] ^= 1 << (index % 8);
            assert_eq!(restored(&flipped), Err(BAD_FOOTER), "bit {index}");
        }
        assert!(restored(&dump(ContentRef::Bytes(b"x"), VERSION_MAX, true)).is_ok());
        assert_eq!(restored(&dump(ContentRef::Bytes(b"x"), VERSION_MAX + 1, true)), Err(BAD_FOOTER));
    }

    #[test]
    fn a_zero_checksum_is_a_wrong_one_unless_it_is_skipped() {
        let mut payload = dump(ContentRef::Bytes(b"x"), 11, true);
        let footer = payload.len() - CHECKSUM_BYTES;
        payload[footer..].fill(0);
        assert_eq!(restored(&payload), Err(BAD_FOOTER));
        assert!(restore(&payload, &Limits::default(), true).is_ok());
    }

    #[test]
    fn what_is_no_value_is_bad_data_format() {
        for body in
            [&b""[..], b"\x00", b"\x00\x05abc", b"\x00\x01ab", b"\x06\x01a", b"\xff", b"\x00\xc3\x01\x01\x00"]
        {
            assert_eq!(restored(&seal(body.to_vec(), 11)), Err(BAD_FORMAT), "{body:?}");
        }
    }
}
