//! A key's value as bytes: which type byte announces it, how it is written, how it is read and checked.
//!
//! Always true: a value that is read is in the encoding that the limits ask for, whichever form it came in.
//!
//! Not here: one file per type beside this one holds the forms of that type.

use alloc::{format, string::String, vec::Vec};

use perdura_structures::table::{Content, ContentRef};

use super::{
    hash, kind, list,
    primitive::{Fault, Reader, put_int, put_string},
    set, stream, zset,
};
use crate::{
    bytes::number,
    store::{
        Kind, Limits, Object,
        value::{EMBEDDED_BYTES_MAX, OwnedValue, into_owned},
    },
};

/// A value that was read and belongs to no key yet.
pub type LoadedValue = OwnedValue;

/// How values are to be written.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Version of the format: newer types only where it has them.
    pub version: u16,
    /// Long strings are compressed.
    pub is_compressed: bool,
}

/// The type byte of a value.
pub fn kind_of(content: ContentRef<'_, Object>, form: Form) -> u8 {
    match content {
        ContentRef::Int(_) | ContentRef::Bytes(_) | ContentRef::Object(Object::String(_)) => kind::STRING,
        ContentRef::Object(Object::List(_)) => kind::LIST_QUICKLIST_2,
        ContentRef::Object(Object::Set(set)) => set::kind_of(set, form),
        ContentRef::Object(Object::ZSet(zset)) => zset::kind_of(zset),
        ContentRef::Object(Object::Hash(hash)) => hash::kind_of(hash),
        ContentRef::Object(Object::Stream(_)) => stream::kind_of(form),
    }
}

/// Appends a value, without its type.
pub fn put_value(content: ContentRef<'_, Object>, form: Form, out: &mut Vec<u8>) {
    match content {
        ContentRef::Int(number) => put_int(number, out),
        ContentRef::Bytes(text) => put_string(text, form.is_compressed, out),
        ContentRef::Object(Object::String(text)) => put_string(text, form.is_compressed, out),
        ContentRef::Object(Object::List(list)) => list::put_list(list, form, out),
        ContentRef::Object(Object::Set(set)) => set::put_set(set, form, out),
        ContentRef::Object(Object::ZSet(zset)) => zset::put_zset(zset, form, out),
        ContentRef::Object(Object::Hash(hash)) => hash::put_hash(hash, form, out),
        ContentRef::Object(Object::Stream(stream)) => stream::put_stream(stream, form, out),
    }
}

/// Reads a value of a type; `None` for a collection without elements, which no key may hold.
pub fn read_value(kind: u8, reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<LoadedValue>, Fault> {
    let content = match kind {
        kind::STRING => Some(read_string(reader)?),
        kind::LIST => object(list::read_elements(reader, limits)?),
        kind::LIST_ZIPLIST => object(list::read_one_ziplist(reader, limits)?),
        kind::LIST_QUICKLIST => object(list::read_ziplists(reader, limits)?),
        kind::LIST_QUICKLIST_2 => object(list::read_nodes(reader, limits)?),
        kind::SET => object(set::read_members(reader, limits)?),
        kind::SET_INTSET => object(set::read_intset(reader, limits)?),
        kind::SET_LISTPACK => object(set::read_packed(reader, limits)?),
        kind::ZSET => object(zset::read_members_with_text(reader, limits)?),
        kind::ZSET_2 => object(zset::read_members(reader, limits)?),
        kind::ZSET_ZIPLIST => object(zset::read_ziplist(reader, limits)?),
        kind::ZSET_LISTPACK => object(zset::read_packed(reader, limits)?),
        kind::HASH => object(hash::read_pairs(reader, limits)?),
        kind::HASH_ZIPMAP => object(hash::read_zipmap(reader, limits)?),
        kind::HASH_ZIPLIST => object(hash::read_ziplist(reader, limits)?),
        kind::HASH_LISTPACK => object(hash::read_packed(reader, limits)?),
        kind::HASH_METADATA_PRE_GA => object(hash::read_with_times(reader, limits)?),
        kind::HASH_LISTPACK_EX_PRE_GA => object(hash::read_packed_with_times_pre_ga(reader, limits)?),
        kind::HASH_METADATA => object(hash::read_with_ttls(reader, limits)?),
        kind::HASH_LISTPACK_EX => object(hash::read_packed_with_times(reader, limits)?),
        kind::STREAM_LISTPACKS | kind::STREAM_LISTPACKS_2 | kind::STREAM_LISTPACKS_3 => {
            object(Some(stream::read_stream(kind, reader)?))
        }
        kind::MODULE_PRE_GA => return Err(reader.bad("Pre-release module format not supported")),
        kind::MODULE => {
            let module = module_name(reader.len()?);
            return Err(reader.bad(format!("a value of module type '{module}', which is not loaded")));
        }
        _ => return Err(reader.bad(format!("Unknown RDB encoding type {kind}"))),
    };
    Ok(content.map(into_owned))
}

/// What the bytes of a type are called in a message about damage: the packed structure where there is one.
pub fn structure_name(kind: u8) -> &'static str {
    match kind {
        kind::STRING => "String",
        kind::LIST => "List",
        kind::LIST_ZIPLIST => "List ziplist",
        kind::LIST_QUICKLIST => "Quicklist ziplist",
        kind::LIST_QUICKLIST_2 => "Quicklist listpack",
        kind::SET => "Set",
        kind::SET_INTSET => "Intset",
        kind::SET_LISTPACK => "Set listpack",
        kind::ZSET | kind::ZSET_2 => "Zset",
        kind::ZSET_ZIPLIST => "Zset ziplist",
        kind::ZSET_LISTPACK => "Zset listpack",
        kind::HASH | kind::HASH_METADATA | kind::HASH_METADATA_PRE_GA => "Hash",
        kind::HASH_ZIPMAP => "Zipmap",
        kind::HASH_ZIPLIST => "Hash ziplist",
        kind::HASH_LISTPACK | kind::HASH_LISTPACK_EX | kind::HASH_LISTPACK_EX_PRE_GA => "Hash listpack",
        kind::STREAM_LISTPACKS | kind::STREAM_LISTPACKS_2 | kind::STREAM_LISTPACKS_3 => "Stream listpack",
        _ => "Value",
    }
}

fn object<K: Kind>(collection: Option<K>) -> Option<Content<Object>> {
    collection.map(|collection| Content::Object(collection.wrap()))
}

/// The name in a module's id: nine letters of six bits each, above ten bits of version.
pub fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).map(|index| char::from(LETTERS[(id >> (58 - 6 * index)) as usize & 63])).collect()
}

fn read_string(reader: &mut Reader<'_>) -> Result<Content<Object>, Fault> {
    let text = reader.string()?;
    Ok(match number::parse_i64(&text) {
        Some(number) => Content::Int(number),
        None if text.len() <= EMBEDDED_BYTES_MAX => Content::Bytes(text.into_owned()),
        None => Content::Object(Object::String(text.into_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_written_has_a_name_in_messages() {
        for kind in 0..=kind::HASH_LISTPACK_EX {
            let is_module = matches!(kind, kind::MODULE_PRE_GA | kind::MODULE | 8);
            assert_eq!(structure_name(kind) == "Value", is_module, "{kind}");
        }
        assert_eq!(structure_name(kind::ZSET_ZIPLIST), "Zset ziplist");
    }

    #[test]
    fn module_ids_spell_names() {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let index_of = |letter: &u8| letters.iter().position(|other| other == letter).unwrap() as u64;
        let id = b"ReJSON-RL".iter().fold(0, |id, letter| id << 6 | index_of(letter));
        assert_eq!(module_name(id << 10 | 3), "ReJSON-RL");
    }
}
