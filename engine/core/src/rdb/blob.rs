//! Packed structures that lie in an RDB file as one string each.
//!
//! Always true: what is handed on was checked to its last byte.
//!
//! Not here: the checks themselves (`perdura_structures`), what elements mean (`hash.rs`, `zset.rs` …).

use alloc::vec::Vec;

use perdura_structures::{
    damage::Damage,
    decimal,
    listpack::{Item, Listpack},
    ziplist::Ziplist,
};

use super::primitive::{Fault, Reader};

/// Reads a string that holds some structure; damage counts from the string's start.
pub fn read_blob<T>(
    reader: &mut Reader<'_>,
    check: impl FnOnce(&[u8]) -> Result<T, Damage>,
) -> Result<T, Fault> {
    let offset = reader.offset();
    let bytes = reader.string()?;
    check(&bytes).map_err(|damage| Fault::Bad { offset, what: damage.what.into() })
}

/// Reads a string that holds a listpack.
pub fn read_listpack(reader: &mut Reader<'_>) -> Result<Listpack, Fault> {
    read_blob(reader, Listpack::from_bytes_checked)
}

/// Reads a string that holds a ziplist and hands its elements on.
pub fn read_ziplist(reader: &mut Reader<'_>, emit: &mut dyn FnMut(Item<'_>)) -> Result<(), Fault> {
    read_blob(reader, |bytes| {
        Ziplist::from_bytes_checked(bytes)?.iter().for_each(emit);
        Ok(())
    })
}

/// Reads a ziplist into a listpack.
pub fn read_ziplist_as_listpack(reader: &mut Reader<'_>) -> Result<Listpack, Fault> {
    let mut pack = Listpack::new();
    read_ziplist(reader, &mut |item| pack.push_back(item))?;
    Ok(pack)
}

/// Whether two items are the same text, however they are stored.
pub fn has_duplicates<'a>(items: impl Iterator<Item = Item<'a>>) -> bool {
    // A number may be stored as one or spelled out.
    let mut keys: Vec<(Option<i64>, &[u8])> = items
        .map(|item| match item {
            Item::Int(number) => (Some(number), &[][..]),
            Item::Bytes(bytes) => match decimal::parse(bytes) {
                Some(number) => (Some(number), &[][..]),
                None => (None, bytes),
            },
        })
        .collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}
