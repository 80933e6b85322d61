//! Lists: one listpack while small, a quicklist beyond.
//!
//! Always true: a list is a listpack again once a single node holds all of it in half of what a node may have; half, so
//! that a list whose size goes up and down around the limit is not converted each time.
//!
//! Not here: nodes and their limits (`engine/structures/quicklist.rs`), replies and events (`commands/list.rs`).

use alloc::{boxed::Box, vec::Vec};

use perdura_structures::{
    alloc_size::alloc_size,
    listpack::{self, Item, Listpack},
    quicklist::{self, Fill, NodeRef, Quicklist},
};

use super::value::{Kind, Limits, Object};
use crate::bytes::number;

/// One end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Where index 0 is; `LEFT`.
    Head,
    /// Where index -1 is; `RIGHT`.
    Tail,
}

/// A list in one of its two encodings.
#[derive(Clone, Debug)]
pub enum List {
    /// `listpack`
    Listpack(Listpack),
    /// `quicklist`
    Quicklist(Box<Quicklist>),
}

/// The size a node may have, by `list-max-listpack-size`.
pub fn fill(limits: &Limits) -> Fill {
    Fill::new(limits.list_listpack_size as i32)
}

impl List {
    /// An empty list.
    pub fn new() -> List {
        List::Listpack(Listpack::new())
    }

    /// The list of these nodes: one that keeps within the limit becomes a listpack of its own.
    pub fn from_nodes(list: Quicklist, fill: Fill) -> List {
        let mut list = List::Quicklist(Box::new(list));
        list.unwrap_only_node(|elements, bytes| fill.allows(elements, bytes));
        list
    }

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

    /// The element at `index`; negative counts from the tail, -1 being the last.
    pub fn get(&self, index: i64) -> Option<Item<'_>> {
        match self {
            List::Listpack(pack) => pack.get(index),
            List::Quicklist(list) => list.get(index),
        }
    }

    /// All elements, from either end.
    pub fn iter(&self) -> Iter<'_> {
        match self {
            List::Listpack(pack) => Iter::Listpack(pack.iter()),
            List::Quicklist(list) => Iter::Quicklist(list.iter()),
        }
    }

    /// The elements with an index in `range`, from either end; what lies beyond the tail is left out.
    pub fn range(&self, range: core::ops::Range<usize>) -> Iter<'_> {
        match self {
            List::Listpack(pack) => Iter::Listpack(pack.range(range)),
            List::Quicklist(list) => Iter::Quicklist(list.range(range)),
        }
    }

    /// Becomes a quicklist if one listpack could not take these values too. To be called before they are added.
    pub fn make_room(&mut self, values: &[&[u8]], fill: Fill) {
        let List::Listpack(pack) = self else { return };
        let bytes: usize = values.iter().map(|value| value.len()).sum();
        if !fill.allows(pack.len() + values.len(), pack.byte_len() + bytes) {
            let pack = core::mem::take(pack);
            *self = List::Quicklist(Box::new(Quicklist::from_listpack(pack, fill)));
        }
    }

    /// Becomes a listpack again if little is left. To be called after elements were taken out.
    pub fn give_back_room(&mut self, fill: Fill) {
        self.unwrap_only_node(|elements, bytes| fill.allows_half(elements, bytes));
    }

    fn unwrap_only_node(&mut self, is_small: impl FnOnce(usize, usize) -> bool) {
        let List::Quicklist(list) = self else { return };
        let is_small = {
            let mut nodes = list.nodes();
            matches!((nodes.next(), nodes.next()),
                (Some(NodeRef::Packed(pack)), None) if is_small(pack.len(), pack.byte_len()))
        };
        if is_small {
            let pack = list.take_only_listpack().expect("the only node is a listpack");
            *self = List::Listpack(pack);
        }
    }

    /// Adds an element at an end, for which there must be room.
    pub fn push(&mut self, end: End, value: &[u8]) {
        match (self, end) {
            (List::Listpack(pack), End::Head) => pack.push_front(value),
            (List::Listpack(pack), End::Tail) => pack.push_back(value),
            (List::Quicklist(list), End::Head) => list.push_front(value),
            (List::Quicklist(list), End::Tail) => list.push_back(value),
        }
    }

    /// Adds elements at an end, one after the other, making room as needed; gives the length afterwards.
    pub fn push_all(&mut self, end: End, values: &[&[u8]], fill: Fill) -> usize {
        self.make_room(values, fill);
        values.iter().for_each(|value| self.push(end, value));
        self.len()
    }

    /// Takes the element at an end.
    pub fn pop(&mut self, end: End) -> Option<Vec<u8>> {
        match (self, end) {
            (List::Listpack(pack), end) => {
                let position = if end == End::Head { pack.first()? } else { pack.last()? };
                let value = pack.item(position).to_vec();
                pack.remove(position);
                Some(value)
            }
            (List::Quicklist(list), End::Head) => list.pop_front(),
            (List::Quicklist(list), End::Tail) => list.pop_back(),
        }
    }

    /// Adds an element, for which there must be room, so that it has `index` afterwards.
    ///
    /// # Panics
    /// If `index` is greater than the length.
    pub fn insert(&mut self, index: usize, value: &[u8]) {
        match self {
            List::Quicklist(list) => list.insert(index, value),
            List::Listpack(pack) if index == pack.len() => pack.push_back(value),
            List::Listpack(pack) => {
                let position = pack.seek(index as i64).expect("the index is within the list");
                pack.insert_before(position, value);
            }
        }
    }

    /// Puts another element, for which there must be room, in the place of one; `false` if there is none.
    pub fn replace(&mut self, index: i64, value: &[u8]) -> bool {
        match self {
            List::Quicklist(list) => list.replace(index, value),
            List::Listpack(pack) => pack.seek(index).map(|position| pack.replace(position, value)).is_some(),
        }
    }

    /// Takes out up to `count` elements from `start` on (negative from the tail); says how many.
    pub fn remove_range(&mut self, start: i64, count: usize) -> usize {
        match self {
            List::Listpack(pack) => pack.remove_range(start, count),
            List::Quicklist(list) => list.remove_range(start, count),
        }
    }

    /// Takes out elements equal to `value`, beginning at an end, at most `most`; says how many.
    pub fn remove_equal(&mut self, value: &[u8], most: usize, from: End) -> usize {
        match (self, from) {
            (List::Listpack(pack), End::Head) => remove_first_equal(pack, value, most),
            (List::Listpack(pack), End::Tail) => remove_last_equal(pack, value, most),
            (List::Quicklist(list), End::Head) => list.remove_first_equal(value, most),
            (List::Quicklist(list), End::Tail) => list.remove_last_equal(value, most),
        }
    }

    /// Index of the first element equal to `value`.
    pub fn find(&self, value: &[u8]) -> Option<usize> {
        let is_wanted = equal_to(value);
        self.iter().position(is_wanted)
    }
}

impl Default for List {
    fn default() -> List {
        List::new()
    }
}

/// Whether an element reads as `value`, whichever way it is kept; `value` is parsed once.
pub fn equal_to(value: &[u8]) -> impl Fn(Item<'_>) -> bool + '_ {
    let int = number::parse_i64(value);
    move |item| match item {
        Item::Int(own) => int == Some(own),
        Item::Bytes(bytes) => bytes == value,
    }
}

fn remove_first_equal(pack: &mut Listpack, value: &[u8], most: usize) -> usize {
    let (mut removed, mut from) = (0, pack.first());
    while removed < most
        && let Some(hit) = from.and_then(|from| pack.find_from(from, value, 1))
    {
        from = pack.remove(hit);
        removed += 1;
    }
    removed
}

fn remove_last_equal(pack: &mut Listpack, value: &[u8], most: usize) -> usize {
    let is_wanted = equal_to(value);
    let (mut removed, mut at) = (0, pack.last());
    while removed < most
        && let Some(position) = at
    {
        at = pack.prev(position);
        if is_wanted(pack.item(position)) {
            pack.remove(position);
            removed += 1;
        }
    }
    removed
}

/// Elements of a list, from either end.
#[derive(Clone)]
pub enum Iter<'a> {
    /// Of a listpack.
    Listpack(listpack::Iter<'a>),
    /// Of a quicklist.
    Quicklist(quicklist::Iter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        match self {
            Iter::Listpack(items) => items.next(),
            Iter::Quicklist(items) => items.next(),
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Listpack(items) => items.next_back(),
            Iter::Quicklist(items) => items.next_back(),
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
            List::Quicklist(list) => alloc_size(size_of::<Quicklist>()) + list.memory(),
        }
    }
}
