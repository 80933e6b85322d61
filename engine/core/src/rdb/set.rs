//! Sets as bytes.
//!
//! ```text
//! SET            count, members            the table
//! SET_INTSET     an intset
//! SET_LISTPACK   a listpack of members     from version 11 on; before, SET
//! ```
//!
//! Always true: no member occurs twice.

use alloc::vec::Vec;

use perdura_structures::{
    dict::Dict,
    intset::Intset,
    listpack::{Item, Listpack},
};

use super::{
    blob::{has_duplicates, read_blob, read_listpack},
    kind,
    primitive::{Fault, Reader, put_int, put_len, put_string},
    value::Form,
};
use crate::{
    bytes::number,
    store::{Limits, set::Set},
};

/// First version that knows listpacks of members.
const LISTPACK_VERSION_MIN: u16 = 11;

/// The type byte of a set.
pub fn kind_of(set: &Set, form: Form) -> u8 {
    match set {
        Set::Intset(_) => kind::SET_INTSET,
        Set::Listpack(_) if form.version >= LISTPACK_VERSION_MIN => kind::SET_LISTPACK,
        Set::Listpack(_) | Set::Table(_) => kind::SET,
    }
}

/// Appends a set as its type byte says.
pub fn put_set(set: &Set, form: Form, out: &mut Vec<u8>) {
    match set {
        Set::Intset(ints) => put_string(ints.as_bytes(), form.is_compressed, out),
        Set::Listpack(pack) if form.version >= LISTPACK_VERSION_MIN => {
            put_string(pack.as_bytes(), form.is_compressed, out);
        }
        Set::Listpack(pack) => {
            put_len(pack.len() as u64, out);
            for item in pack.iter() {
                match item {
                    Item::Int(number) => put_int(number, out),
                    Item::Bytes(bytes) => put_string(bytes, form.is_compressed, out),
                }
            }
        }
        Set::Table(table) => {
            put_len(table.len() as u64, out);
            for (member, ()) in table.iter() {
                put_string(member, form.is_compressed, out);
            }
        }
    }
}

/// Reads `SET`.
pub fn read_members(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Set>, Fault> {
    let count = reader.count(1)?;
    let mut table = Dict::new(limits.hash_seed);
    for _ in 0..count {
        if table.insert(&reader.string()?, ()).is_some() {
            return Err(reader.bad("a member occurs twice in a set"));
        }
    }
    Ok((count > 0).then(|| in_best_encoding(table, limits)))
}

/// Reads `SET_INTSET`.
pub fn read_intset(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Set>, Fault> {
    let ints = read_blob(reader, Intset::from_bytes_checked)?;
    if ints.len() <= limits.set_intset_entries_max {
        return Ok(Some(Set::Intset(ints)));
    }
    let mut table = Dict::new(limits.hash_seed);
    for number in ints.iter() {
        table.insert(number::format_i64(number, &mut Default::default()), ());
    }
    Ok(Some(in_best_encoding(table, limits)))
}

/// Reads `SET_LISTPACK`.
pub fn read_packed(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Set>, Fault> {
    let pack = read_listpack(reader)?;
    if has_duplicates(pack.iter()) {
        return Err(reader.bad("a member occurs twice in a set"));
    }
    if pack.len() <= limits.set_listpack_entries_max {
        return Ok((!pack.is_empty()).then_some(Set::Listpack(pack)));
    }
    let mut table = Dict::new(limits.hash_seed);
    for item in pack.iter() {
        table.insert(item.text(&mut Default::default()), ());
    }
    Ok(Some(Set::Table(table)))
}

/// An intset if all members are integers, else a listpack if they are few and short, else the table.
fn in_best_encoding(table: Dict<()>, limits: &Limits) -> Set {
    if table.len() <= limits.set_intset_entries_max
        && let Some(ints) =
            table.iter().map(|(member, ())| number::parse_i64(member)).collect::<Option<Vec<_>>>()
    {
        return Set::Intset(ints.into_iter().collect());
    }
    let is_short = |member: &[u8]| member.len() <= limits.set_listpack_value_max;
    if table.len() <= limits.set_listpack_entries_max && table.iter().all(|(member, ())| is_short(member)) {
        let mut pack = Listpack::new();
        table.iter().for_each(|(member, ())| pack.push_back(member));
        return Set::Listpack(pack);
    }
    Set::Table(table)
}
