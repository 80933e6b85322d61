//! Lists: one listpack while small, a quicklist beyond.

use perdura_structures::{listpack::Listpack, quicklist::Quicklist};

use super::value::{Kind, Object};

/// A list in one of its two encodings.
#[derive(Clone, Debug)]
pub enum List {
    /// `listpack`
    Listpack(Listpack),
    /// `quicklist`
    Quicklist(Quicklist),
}

impl List {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            List::Listpack(pack) => pack.len(),
            List::Quicklist(list) => list.len(),
        }
    }

    /// As OBJECT ENCODING answers it.
    pub fn encoding(&self) -> &'static str {
        match self {
            List::Listpack(_) => "listpack",
            List::Quicklist(_) => "quicklist",
        }
    }
}

impl Kind for List {
    fn wrap(self) -> Object {
        Object::List(self)
    }
    fn of(object: &Object) -> Option<&Self> {
        if let Object::List(list) = object { Some(list) } else { None }
    }
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        if let Object::List(list) = object { Some(list) } else { None }
    }
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn memory(&self) -> usize {
        match self {
            List::Listpack(pack) => pack.memory(),
            List::Quicklist(list) => list.memory(),
        }
    }
}
