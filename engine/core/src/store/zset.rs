//! Sorted sets: a listpack of member and score while small, an ordered index beyond.

use alloc::boxed::Box;

use perdura_structures::{listpack::Listpack, sorted_set::SortedSet};

use super::value::{Kind, Object};

/// A sorted set in one of its two encodings.
#[derive(Clone, Debug)]
pub enum ZSet {
    /// `listpack`: member, score, member, score …, ascending.
    Listpack(Listpack),
    /// `skiplist`, as clients are told; see [`SortedSet`] for what it is.
    Index(Box<SortedSet>),
}

impl ZSet {
    /// Number of members.
    pub fn len(&self) -> usize {
        match self {
            ZSet::Listpack(pack) => pack.len() / 2,
            ZSet::Index(index) => index.len(),
        }
    }

    /// As OBJECT ENCODING answers it.
    pub fn encoding(&self) -> &'static str {
        match self {
            ZSet::Listpack(_) => "listpack",
            ZSet::Index(_) => "skiplist",
        }
    }
}

impl Kind for ZSet {
    fn wrap(self) -> Object {
        Object::ZSet(self)
    }
    fn of(object: &Object) -> Option<&Self> {
        if let Object::ZSet(zset) = object { Some(zset) } else { None }
    }
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        if let Object::ZSet(zset) = object { Some(zset) } else { None }
    }
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn memory(&self) -> usize {
        match self {
            ZSet::Listpack(pack) => pack.memory(),
            ZSet::Index(index) => index.memory(),
        }
    }
}
