//! Sets: an intset of integers, a listpack while small, a hash table beyond.

use perdura_structures::{dict::Dict, intset::Intset, listpack::Listpack};

use super::value::{Kind, Object};

/// A set in one of its three encodings.
#[derive(Clone, Debug)]
pub enum Set {
    /// `intset`
    Intset(Intset),
    /// `listpack`
    Listpack(Listpack),
    /// `hashtable`
    Table(Dict<()>),
}

impl Set {
    /// Number of members.
    pub fn len(&self) -> usize {
        match self {
            Set::Intset(ints) => ints.len(),
            Set::Listpack(pack) => pack.len(),
            Set::Table(table) => table.len(),
        }
    }

    /// As OBJECT ENCODING answers it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Set::Intset(_) => "intset",
            Set::Listpack(_) => "listpack",
            Set::Table(_) => "hashtable",
        }
    }
}

impl Kind for Set {
    fn wrap(self) -> Object {
        Object::Set(self)
    }
    fn of(object: &Object) -> Option<&Self> {
        if let Object::Set(set) = object { Some(set) } else { None }
    }
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        if let Object::Set(set) = object { Some(set) } else { None }
    }
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn memory(&self) -> usize {
        match self {
            Set::Intset(ints) => ints.memory(),
            Set::Listpack(pack) => pack.memory(),
            Set::Table(table) => table.memory(),
        }
    }
}
