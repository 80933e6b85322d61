//! Hashes: a listpack of field and value while small, a hash table beyond; fields may expire.

use alloc::{boxed::Box, collections::BTreeSet};

use perdura_structures::{alloc_size::alloc_size, dict::Dict, listpack::Listpack};

use super::value::{Kind, Object};

/// A field's value in the table encoding.
#[derive(Clone, Debug)]
pub struct FieldValue {
    /// The value.
    pub value: Box<[u8]>,
    /// When the field expires, milliseconds since 1970; 0 if never.
    pub expiry_ms: u64,
}

/// A hash in one of its encodings.
#[derive(Clone, Debug)]
pub enum Hash {
    /// `listpack`: field, value, field, value …
    Listpack(Listpack),
    /// `hashtable`
    Table(Box<HashTable>),
}

/// A hash as a table. Any hash with an expiring field is one or the listpack of triples (see `encoding`).
#[derive(Clone, Debug)]
pub struct HashTable {
    /// The fields.
    pub fields: Dict<FieldValue>,
    /// Fields that expire, by time.
    pub expiries: BTreeSet<(u64, Box<[u8]>)>,
    /// Bytes of all values and of `expiries`, rounded as the allocator rounds.
    pub value_bytes: usize,
}

impl Hash {
    /// Number of fields.
    pub fn len(&self) -> usize {
        match self {
            Hash::Listpack(pack) => pack.len() / 2,
            Hash::Table(table) => table.fields.len(),
        }
    }

    /// As OBJECT ENCODING answers it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Hash::Listpack(_) => "listpack",
            Hash::Table(_) => "hashtable",
        }
    }
}

impl Kind for Hash {
    fn wrap(self) -> Object {
        Object::Hash(self)
    }
    fn of(object: &Object) -> Option<&Self> {
        if let Object::Hash(hash) = object { Some(hash) } else { None }
    }
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        if let Object::Hash(hash) = object { Some(hash) } else { None }
    }
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn memory(&self) -> usize {
        match self {
            Hash::Listpack(pack) => pack.memory(),
            Hash::Table(table) => {
                alloc_size(core::mem::size_of::<HashTable>()) + table.fields.memory() + table.value_bytes
            }
        }
    }
}
