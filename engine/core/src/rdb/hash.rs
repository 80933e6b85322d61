//! Hashes as bytes.
//!
//! ```text
//! HASH               count, then field and value
//! HASH_LISTPACK      a listpack: field, value, field, value …
//! HASH_METADATA      earliest expiry (8 bytes), count, then ttl, field, value
//! HASH_LISTPACK_EX   earliest expiry (8 bytes), a listpack: field, value, expiry …
//! ```
//!
//! `ttl` is 0 if the field stays, else its expiry minus the earliest plus one; `expiry` is 0 if the field stays.
//! Expiring fields came with version 12, and make what they are in one of that version, whichever was asked for: losing
//! an expiry is worse than a file that older servers refuse.
//!
//! Read besides: both in their first forms, with absolute times and no earliest; a zipmap; a ziplist.
//!
//! Always true: no field occurs twice.

use alloc::vec::Vec;

use perdura_structures::{listpack::Listpack, zipmap::Zipmap};

use super::{
    blob::{has_duplicates, read_blob, read_listpack, read_ziplist_as_listpack},
    kind,
    primitive::{Fault, Reader, put_len, put_string},
    value::Form,
};
use crate::store::{
    Limits,
    hash::{Builder, Hash},
};

/// First version that knows fields which expire.
pub const EXPIRY_VERSION_MIN: u16 = 12;

/// Latest time an expiry may have, milliseconds since 1970: 48 bits.
const EXPIRY_MS_MAX: u64 = 0xffff_ffff_ffff;

const DUPLICATE: &str = "a field occurs twice in a hash";

/// The type byte of a hash.
pub fn kind_of(hash: &Hash) -> u8 {
    match hash {
        Hash::Listpack(_) => kind::HASH_LISTPACK,
        Hash::Table(table) if table.expiries.is_empty() => kind::HASH,
        Hash::Table(_) => kind::HASH_METADATA,
    }
}

/// Appends a hash as its type byte says.
pub fn put_hash(hash: &Hash, form: Form, out: &mut Vec<u8>) {
    let table = match hash {
        Hash::Listpack(pack) => return put_string(pack.as_bytes(), form.is_compressed, out),
        Hash::Table(table) => table,
    };
    let earliest_ms = table.expiries.first().map(|(at, _)| *at);
    if let Some(earliest_ms) = earliest_ms {
        out.extend(earliest_ms.to_le_bytes());
    }
    put_len(table.fields.len() as u64, out);
    for (field, slot) in table.fields.iter() {
        if let Some(earliest_ms) = earliest_ms {
            let ttl = if slot.expiry_ms == 0 { 0 } else { slot.expiry_ms - earliest_ms + 1 };
            put_len(ttl, out);
        }
        put_string(field, form.is_compressed, out);
        put_string(&slot.value, form.is_compressed, out);
    }
}

/// Reads `HASH`.
pub fn read_pairs(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Hash>, Fault> {
    let count = reader.count(2)?;
    read_fields(reader, limits, count, &|_| Ok(0))
}

/// Reads `HASH_METADATA`.
pub fn read_with_ttls(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Hash>, Fault> {
    let earliest_ms = reader.u64_le()?;
    let count = reader.count(3)?;
    read_fields(reader, limits, count, &|reader| match reader.len()? {
        0 => Ok(0),
        ttl => earliest_ms.checked_add(ttl - 1).ok_or_else(|| reader.bad("a field's expiry out of range")),
    })
}

/// Reads `HASH_METADATA` as it was before its release.
pub fn read_with_times(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Hash>, Fault> {
    let count = reader.count(3)?;
    read_fields(reader, limits, count, &|reader| reader.len())
}

fn read_fields(
    reader: &mut Reader<'_>,
    limits: &Limits,
    count: usize,
    read_expiry: &dyn Fn(&mut Reader<'_>) -> Result<u64, Fault>,
) -> Result<Option<Hash>, Fault> {
    let mut fields = Builder::new(limits);
    for _ in 0..count {
        let expiry_ms = read_expiry(reader)?;
        let (field, value) = (reader.string()?, reader.string()?);
        add(&mut fields, &field, &value, expiry_ms).map_err(|what| reader.bad(what))?;
    }
    Ok(fields.finish())
}

/// Reads `HASH_LISTPACK`.
pub fn read_packed(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Hash>, Fault> {
    let pack = read_listpack(reader)?;
    from_listpack(pack, limits).map_err(|what| reader.bad(what))
}

/// Reads `HASH_ZIPLIST`.
pub fn read_ziplist(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Hash>, Fault> {
    let pack = read_ziplist_as_listpack(reader)?;
    from_listpack(pack, limits).map_err(|what| reader.bad(what))
}

/// Reads `HASH_ZIPMAP`.
pub fn read_zipmap(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Hash>, Fault> {
    let mut fields = Builder::new(limits);
    read_blob(reader, |bytes| {
        for (field, value) in Zipmap::from_bytes_checked(bytes)?.iter() {
            add(&mut fields, field, value, 0).expect("a checked zipmap has no duplicates");
        }
        Ok(())
    })?;
    Ok(fields.finish())
}

/// Reads `HASH_LISTPACK_EX`.
pub fn read_packed_with_times(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Hash>, Fault> {
    // The earliest expiry: the triples say it again.
    reader.u64_le()?;
    read_packed_with_times_pre_ga(reader, limits)
}

/// Reads `HASH_LISTPACK_EX` as it was before its release.
pub fn read_packed_with_times_pre_ga(
    reader: &mut Reader<'_>,
    limits: &Limits,
) -> Result<Option<Hash>, Fault> {
    let pack = read_listpack(reader)?;
    let mut fields = Builder::new(limits);
    let mut items = pack.iter();
    while let Some(field) = items.next() {
        let (Some(value), Some(expiry)) = (items.next(), items.next()) else {
            return Err(reader.bad("a field without value or expiry in a hash"));
        };
        let expiry_ms = expiry.to_int().and_then(|at| u64::try_from(at).ok());
        let expiry_ms = expiry_ms.ok_or_else(|| reader.bad("a field's expiry that is not a time"))?;
        let (mut field_digits, mut value_digits) = Default::default();
        let (field, value) = (field.text(&mut field_digits), value.text(&mut value_digits));
        add(&mut fields, field, value, expiry_ms).map_err(|what| reader.bad(what))?;
    }
    Ok(fields.finish())
}

/// Checks pairs of field and value. Only their number decides the encoding, as in Redis.
fn from_listpack(pack: Listpack, limits: &Limits) -> Result<Option<Hash>, &'static str> {
    if !pack.len().is_multiple_of(2) {
        return Err("a field without value in a hash");
    }
    if has_duplicates(pack.iter().step_by(2)) {
        return Err(DUPLICATE);
    }
    Ok((!pack.is_empty()).then(|| Hash::from_listpack(pack, limits)))
}

/// Adds a field, which must be the first of its name.
fn add(fields: &mut Builder<'_>, field: &[u8], value: &[u8], expiry_ms: u64) -> Result<(), &'static str> {
    if expiry_ms > EXPIRY_MS_MAX {
        return Err("a field's expiry out of range");
    }
    if fields.add(field, value, expiry_ms) { Ok(()) } else { Err(DUPLICATE) }
}
