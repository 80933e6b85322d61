//! Sets as bytes.
//!
//! ```text
//! SET            count, members            the table
//! SET_INTSET     an intset
//! SET_LISTPACK   a listpack of members     from version 11 on; before, SET
//! ```
//!
//! Always true: no member occurs twice.

use alloc::{boxed::Box, vec::Vec};

use perdura_structures::{dict::Dict, intset::Intset, listpack::Item};

use super::{
    blob::{has_duplicates, read_blob, read_listpack},
    kind,
    primitive::{Fault, Reader, put_int, put_len, put_string},
    value::Form,
};
use crate::store::{
    Limits,
    set::{Set, SetLimits},
};

/// First version that knows listpacks of members.
const LISTPACK_VERSION_MIN: u16 = 11;

const DUPLICATE: &str = "a member occurs twice in a set";

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
    let (count, limits) = (reader.count(1)?, SetLimits::new(limits));
    let mut set = None;
    for _ in 0..count {
        let member = reader.string()?;
        let set = set.get_or_insert_with(|| Set::for_members(&member, count, limits));
        if !set.add(&member, limits) {
            return Err(reader.bad(DUPLICATE));
        }
    }
    Ok(set)
}

/// Reads `SET_INTSET`.
pub fn read_intset(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Set>, Fault> {
    let ints = read_blob(reader, Intset::from_bytes_checked)?;
    if ints.len() <= limits.set_intset_entries_max {
        return Ok(Some(Set::Intset(ints)));
    }
    Ok(Some(table_of(ints.iter().map(Item::Int), limits)))
}

/// Reads `SET_LISTPACK`.
pub fn read_packed(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<Set>, Fault> {
    let pack = read_listpack(reader)?;
    if has_duplicates(pack.iter()) {
        return Err(reader.bad(DUPLICATE));
    }
    if pack.len() <= limits.set_listpack_entries_max {
        return Ok((!pack.is_empty()).then_some(Set::Listpack(pack)));
    }
    Ok(Some(table_of(pack.iter(), limits)))
}

fn table_of<'a>(members: impl Iterator<Item = Item<'a>>, limits: &Limits) -> Set {
    let mut table = Dict::new(limits.hash_seed);
    members.for_each(|member| {
        table.insert(member.text(&mut Default::default()), ());
    });
    Set::Table(Box::new(table))
}
