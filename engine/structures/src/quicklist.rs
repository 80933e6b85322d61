//! The quicklist: a long list cut into listpacks.
//!
//! Exists because one listpack of a million elements would be moved on every push, and one allocation per element
//! would cost more than the elements. Nodes lie side by side in a ring with their counts, so finding an index passes
//! over a node by reading one number next to the previous one, without touching the node's bytes.
//!
//! ```text
//! ring:  ┌ 612 ┬ 580 ┬  1  ┬ 598 ┐    count of elements
//!        └──┼──┴──┼──┴──┼──┴──┼──┘
//!       listpack  …  one large  listpack
//!                    element
//! ```
//!
//! Always true: no node is empty; the length is the sum of the counts; `memory` is the sum over the nodes and the
//! ring. A node that grew here is within the fill; one that was loaded stays as it is until it is changed.
//!
//! Not here: compression of inner nodes (`list-compress-depth` is a setting without effect), and the choice between a
//! bare listpack and a quicklist.

use crate::alloc_size::alloc_size;
use crate::decimal;
use crate::listpack::{self, Item, Listpack};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::collections::vec_deque;
use alloc::vec::Vec;
use core::ops::Range;

/// Bytes a node may have when its fill counts elements, so that a few large ones do not make it slow to change.
const NODE_BYTES_MAX: usize = 8192;

/// How large a node may become: the setting `list-max-listpack-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    elements_max: usize,
    bytes_max: usize,
}

impl Fill {
    /// Reads the setting: positive = elements; -1 to -5 = 4, 8, 16, 32 or 64 KiB.
    ///
    /// Zero counts as one element and anything below -5 as -5, as in Redis.
    pub fn new(setting: i32) -> Fill {
        match setting {
            0.. => Fill { elements_max: setting.max(1) as usize, bytes_max: NODE_BYTES_MAX },
            _ => Fill { elements_max: usize::MAX, bytes_max: 4096 << (-setting.max(-5) - 1) },
        }
    }

    /// Whether an element is so large that it gets a node for itself.
    fn is_large(self, item: Item<'_>) -> bool {
        item.packed_bytes() > self.bytes_max
    }

    /// Whether a listpack of this size may exist.
    pub fn allows(self, elements: usize, bytes: usize) -> bool {
        elements <= self.elements_max && bytes <= self.bytes_max
    }

    /// Whether a listpack takes at most half of what is allowed, by the one measure the setting names.
    pub fn allows_half(self, elements: usize, bytes: usize) -> bool {
        match self.elements_max {
            usize::MAX => bytes <= self.bytes_max / 2,
            elements_max => elements <= elements_max / 2,
        }
    }
}

/// One node as an encoder sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRef<'a> {
    /// Several elements, or one of ordinary size.
    Packed(&'a Listpack),
    /// One large element.
    Plain(&'a [u8]),
}

#[derive(Clone)]
enum Body {
    Packed(Listpack),
    Plain(Box<[u8]>),
}

#[derive(Clone)]
struct Node {
    body: Body,
    count: u32,
}

impl Node {
    /// A node for one element.
    fn new(item: Item<'_>, fill: Fill) -> Node {
        if fill.is_large(item) {
            return Node { body: Body::Plain(item.to_vec().into_boxed_slice()), count: 1 };
        }
        let mut pack = Listpack::new();
        pack.push_back(item);
        Node { body: Body::Packed(pack), count: 1 }
    }

    fn packed(pack: Listpack) -> Node {
        let count = u32::try_from(pack.len()).expect("a listpack has fewer elements than bytes");
        Node { body: Body::Packed(pack), count }
    }

    fn len(&self) -> usize {
        self.count as usize
    }

    fn memory(&self) -> usize {
        match &self.body {
            Body::Packed(pack) => pack.memory(),
            Body::Plain(bytes) => alloc_size(bytes.len()),
        }
    }

    /// The elements whose index within the node is in `range`.
    fn items(&self, range: Range<usize>) -> Items<'_> {
        match &self.body {
            Body::Packed(pack) => Items::Packed(pack.range(range)),
            Body::Plain(bytes) => Items::Plain(range.contains(&0).then_some(Item::Bytes(bytes))),
        }
    }

    fn all_items(&self) -> Items<'_> {
        match &self.body {
            Body::Packed(pack) => Items::Packed(pack.iter()),
            Body::Plain(bytes) => Items::Plain(Some(Item::Bytes(bytes))),
        }
    }

    /// Whether `item` may join this node.
    fn has_room(&self, item: Item<'_>, fill: Fill) -> bool {
        match &self.body {
            Body::Packed(pack) => fill.allows(self.len() + 1, pack.byte_len() + item.packed_bytes()),
            Body::Plain(_) => false,
        }
    }

    /// Puts `item` at `offset` of a node that has room for it.
    fn insert(&mut self, offset: usize, item: Item<'_>) {
        let Body::Packed(pack) = &mut self.body else { unreachable!("a plain node has no room") };
        if offset == self.count as usize {
            pack.push_back(item);
        } else {
            let position = pack.seek(offset as i64).expect("offset is within the node");
            pack.insert_before(position, item);
        }
        self.count += 1;
    }

    /// Puts `item` in the place of the element at `offset` if the node stays within `fill`.
    fn replace(&mut self, offset: usize, item: Item<'_>, fill: Fill) -> bool {
        match &mut self.body {
            Body::Plain(bytes) if fill.is_large(item) => {
                *bytes = item.to_vec().into_boxed_slice();
                true
            }
            Body::Plain(_) => false,
            Body::Packed(pack) => {
                let position = pack.seek(offset as i64).expect("offset is within the node");
                let others = pack.byte_len() - pack.item(position).packed_bytes();
                let has_room = fill.allows(self.count as usize, others + item.packed_bytes());
                if has_room {
                    pack.replace(position, item);
                }
                has_room
            }
        }
    }

    /// Takes out elements; the node may be empty afterwards.
    fn remove_range(&mut self, offset: usize, count: usize) {
        match &mut self.body {
            Body::Packed(pack) => self.count -= pack.remove_range(offset as i64, count) as u32,
            Body::Plain(_) => self.count = 0,
        }
    }

    /// Takes out the first elements equal to `value`, at most `most`; says how many.
    fn remove_first_equal(&mut self, value: &[u8], most: usize) -> usize {
        let removed = match &mut self.body {
            Body::Packed(pack) => {
                let (mut removed, mut from) = (0, pack.first());
                while removed < most
                    && let Some(hit) = from.and_then(|from| pack.find_from(from, value, 1))
                {
                    from = pack.remove(hit);
                    removed += 1;
                }
                removed
            }
            Body::Plain(bytes) => usize::from(most > 0 && **bytes == *value),
        };
        self.count -= removed as u32;
        removed
    }

    /// Takes out the last elements equal to `value`, at most `most`; says how many.
    fn remove_last_equal(&mut self, value: &[u8], most: usize) -> usize {
        let Body::Packed(pack) = &mut self.body else { return self.remove_first_equal(value, most) };
        let (mut removed, mut at) = (0, pack.last());
        while removed < most
            && let Some(position) = at
        {
            at = pack.prev(position);
            if pack.item(position).is(value) {
                pack.remove(position);
                removed += 1;
            }
        }
        self.count -= removed as u32;
        removed
    }
}

/// Which node, and which element within it.
#[derive(Clone, Copy)]
struct Place {
    node: usize,
    offset: usize,
}

/// A list of byte strings.
#[derive(Clone)]
pub struct Quicklist {
    nodes: VecDeque<Node>,
    len: usize,
    nodes_memory: usize,
    fill: Fill,
}

impl Quicklist {
    /// An empty list whose nodes follow `fill`.
    pub fn new(fill: Fill) -> Quicklist {
        Quicklist { nodes: VecDeque::new(), len: 0, nodes_memory: 0, fill }
    }

    /// A list of the elements of one listpack.
    pub fn from_listpack(pack: Listpack, fill: Fill) -> Quicklist {
        let mut list = Quicklist::new(fill);
        list.append_packed(pack);
        list
    }

    /// Adds a loaded node at the end; an empty one is passed over.
    pub fn append_packed(&mut self, pack: Listpack) {
        if !pack.is_empty() {
            self.insert_node(self.nodes.len(), Node::packed(pack));
        }
    }

    /// Adds a loaded node of one large element at the end.
    pub fn append_plain(&mut self, bytes: Box<[u8]>) {
        self.insert_node(self.nodes.len(), Node { body: Body::Plain(bytes), count: 1 });
    }

    /// The nodes from head to tail.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeRef<'_>> {
        self.nodes.iter().map(|node| match &node.body {
            Body::Packed(pack) => NodeRef::Packed(pack),
            Body::Plain(bytes) => NodeRef::Plain(bytes),
        })
    }

    /// Takes the only node's listpack out, leaving the list empty; `None`, and no change, if there is not exactly one.
    pub fn take_only_listpack(&mut self) -> Option<Listpack> {
        if !matches!(self.nodes.make_contiguous(), [Node { body: Body::Packed(_), .. }]) {
            return None;
        }
        match self.remove_node(0).body {
            Body::Packed(pack) => Some(pack),
            Body::Plain(_) => None,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes held.
    pub fn memory(&self) -> usize {
        self.nodes_memory + alloc_size(self.nodes.capacity() * size_of::<Node>())
    }

    /// The element at `index`; negative counts from the end, -1 being the last.
    pub fn get(&self, index: i64) -> Option<Item<'_>> {
        let place = self.locate(self.forward(index)?);
        self.nodes[place.node].items(place.offset..place.offset + 1).next()
    }

    /// Index of the first element equal to `value`.
    pub fn find(&self, value: &[u8]) -> Option<usize> {
        let int = decimal::parse(value);
        self.iter().position(|item| match item {
            Item::Bytes(bytes) => bytes == value,
            Item::Int(own) => int == Some(own),
        })
    }

    /// All elements, from either end.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0..self.len)
    }

    /// The elements with an index in `range`, from either end; what lies beyond the end is left out.
    pub fn range(&self, range: Range<usize>) -> Iter<'_> {
        let end = range.end.min(self.len);
        if range.start >= end {
            return Iter {
                inner: self.nodes.range(0..0),
                front: Items::Plain(None),
                back: Items::Plain(None),
            };
        }
        let (first, last) = (self.locate(range.start), self.locate(end - 1));
        let (head, tail) = (&self.nodes[first.node], &self.nodes[last.node]);
        if first.node == last.node {
            let front = head.items(first.offset..last.offset + 1);
            return Iter { inner: self.nodes.range(0..0), front, back: Items::Plain(None) };
        }
        Iter {
            inner: self.nodes.range(first.node + 1..last.node),
            front: head.items(first.offset..head.len()),
            back: tail.items(0..last.offset + 1),
        }
    }

    /// Adds an element at the head.
    pub fn push_front<'v>(&mut self, value: impl Into<Item<'v>>) {
        let (item, fill) = (value.into(), self.fill);
        match self.nodes.front() {
            Some(head) if head.has_room(item, fill) => self.change(0, |node| node.insert(0, item)),
            _ => self.insert_node(0, Node::new(item, fill)),
        }
    }

    /// Adds an element at the tail.
    pub fn push_back<'v>(&mut self, value: impl Into<Item<'v>>) {
        let (item, fill, end) = (value.into(), self.fill, self.nodes.len());
        match self.nodes.back() {
            Some(tail) if tail.has_room(item, fill) => {
                self.change(end - 1, |node| node.insert(node.len(), item))
            }
            _ => self.insert_node(end, Node::new(item, fill)),
        }
    }

    /// Takes the head.
    pub fn pop_front(&mut self) -> Option<Vec<u8>> {
        self.pop(0)
    }

    /// Takes the tail.
    pub fn pop_back(&mut self) -> Option<Vec<u8>> {
        self.pop(-1)
    }

    /// Moves the tail to the head.
    pub fn rotate(&mut self) {
        if let Some(tail) = self.pop_back() {
            self.push_front(tail.as_slice());
        }
    }

    /// Adds an element so that it has `index` afterwards.
    ///
    /// To insert before the element at `i` pass `i`, after it `i + 1`.
    ///
    /// # Panics
    /// If `index` is greater than the length.
    pub fn insert<'v>(&mut self, index: usize, value: impl Into<Item<'v>>) {
        assert!(index <= self.len);
        if index == self.len {
            return self.push_back(value);
        }
        let (item, fill, place) = (value.into(), self.fill, self.locate(index));
        let node = &self.nodes[place.node];
        if !fill.is_large(item) {
            if node.has_room(item, fill) {
                return self.change(place.node, |node| node.insert(place.offset, item));
            }
            if place.offset == 0 && place.node > 0 && self.nodes[place.node - 1].has_room(item, fill) {
                return self.change(place.node - 1, |node| node.insert(node.len(), item));
            }
        }
        let seam = self.split(place);
        self.insert_node(seam, Node::new(item, fill));
        self.merge_with_next(seam);
        if seam > 0 {
            self.merge_with_next(seam - 1);
        }
    }

    /// Puts another element in the place of the one at `index` (negative from the end); `false` if there is none.
    pub fn replace<'v>(&mut self, index: i64, value: impl Into<Item<'v>>) -> bool {
        let Some(index) = self.forward(index) else { return false };
        let (item, fill, place) = (value.into(), self.fill, self.locate(index));
        if !self.change(place.node, |node| node.replace(place.offset, item, fill)) {
            self.remove_range(index as i64, 1);
            self.insert(index, item);
        }
        true
    }

    /// Takes out up to `count` elements from `start` on (negative from the end); says how many.
    pub fn remove_range(&mut self, start: i64, count: usize) -> usize {
        let Some(start) = self.forward(start).filter(|_| count > 0) else { return 0 };
        let end = start.saturating_add(count).min(self.len);
        let (first, last) = (self.locate(start), self.locate(end - 1));
        if first.node == last.node {
            self.change(first.node, |node| node.remove_range(first.offset, end - start));
        } else {
            self.change(last.node, |node| node.remove_range(0, last.offset + 1));
            self.drop_nodes(first.node + 1..last.node);
            self.change(first.node, |node| node.remove_range(first.offset, usize::MAX));
        }
        // The seam is now at `first` and the node after it; either may have been emptied.
        for index in [first.node + 1, first.node] {
            if self.nodes.get(index).is_some_and(|node| node.count == 0) {
                self.remove_node(index);
            }
        }
        self.merge_with_next(first.node);
        end - start
    }

    /// Takes out elements equal to `value`, head first, at most `most`; says how many.
    pub fn remove_first_equal(&mut self, value: &[u8], most: usize) -> usize {
        let mut removed = 0;
        for index in 0..self.nodes.len() {
            if removed == most {
                break;
            }
            removed += self.change(index, |node| node.remove_first_equal(value, most - removed));
        }
        self.drop_empty_nodes();
        removed
    }

    /// Takes out elements equal to `value`, tail first, at most `most`; says how many.
    pub fn remove_last_equal(&mut self, value: &[u8], most: usize) -> usize {
        let mut removed = 0;
        for index in (0..self.nodes.len()).rev() {
            if removed == most {
                break;
            }
            removed += self.change(index, |node| node.remove_last_equal(value, most - removed));
        }
        self.drop_empty_nodes();
        removed
    }

    /// Takes out every element.
    pub fn clear(&mut self) {
        *self = Quicklist::new(self.fill);
    }

    fn pop(&mut self, index: i64) -> Option<Vec<u8>> {
        let value = self.get(index)?.to_vec();
        let node = if index < 0 { self.nodes.len() - 1 } else { 0 };
        self.change(node, |node| node.remove_range(if index < 0 { node.len() - 1 } else { 0 }, 1));
        if self.nodes[node].count == 0 {
            self.remove_node(node);
        }
        Some(value)
    }

    /// The index counted from the head, if there is such an element.
    fn forward(&self, index: i64) -> Option<usize> {
        let forward = if index < 0 { index + self.len as i64 } else { index };
        usize::try_from(forward).ok().filter(|&index| index < self.len)
    }

    /// Where the element at `index`, which must exist, is kept. Looks from the nearer end.
    fn locate(&self, index: usize) -> Place {
        if index < self.len / 2 {
            let mut offset = index;
            for (node, Node { count, .. }) in self.nodes.iter().enumerate() {
                if offset < *count as usize {
                    return Place { node, offset };
                }
                offset -= *count as usize;
            }
        } else {
            let mut from_end = self.len - index; // 1 for the last.
            for (node, Node { count, .. }) in self.nodes.iter().enumerate().rev() {
                if from_end <= *count as usize {
                    return Place { node, offset: *count as usize - from_end };
                }
                from_end -= *count as usize;
            }
        }
        unreachable!("the length is the sum of the counts")
    }

    /// Makes a node boundary just before `place` and gives back the index of the node after it.
    fn split(&mut self, place: Place) -> usize {
        if place.offset == 0 {
            return place.node;
        }
        let tail = self.change(place.node, |node| {
            let Body::Packed(pack) = &mut node.body else { unreachable!("a plain node has only offset 0") };
            let tail = Node::packed(pack.split_off(place.offset));
            node.count -= tail.count;
            tail
        });
        self.insert_node(place.node + 1, tail);
        place.node + 1
    }

    /// Joins a node and its follower if the fill allows; so splitting over and over leaves no crumbs.
    fn merge_with_next(&mut self, index: usize) {
        let (Some(node), Some(next)) = (self.nodes.get(index), self.nodes.get(index + 1)) else { return };
        let (Body::Packed(pack), Body::Packed(more)) = (&node.body, &next.body) else { return };
        if !self.fill.allows(node.len() + next.len(), pack.byte_len() + more.byte_len()) {
            return;
        }
        let next = self.remove_node(index + 1);
        self.change(index, |node| {
            if let (Body::Packed(pack), Body::Packed(more)) = (&mut node.body, &next.body) {
                pack.append(more);
                node.count += next.count;
            }
        });
    }

    /// Changes one node and keeps the sums right.
    fn change<R>(&mut self, index: usize, change: impl FnOnce(&mut Node) -> R) -> R {
        let node = &mut self.nodes[index];
        let (len, memory) = (node.len(), node.memory());
        let result = change(node);
        self.len = self.len - len + node.len();
        self.nodes_memory = self.nodes_memory - memory + node.memory();
        result
    }

    fn insert_node(&mut self, index: usize, node: Node) {
        self.len += node.len();
        self.nodes_memory += node.memory();
        self.nodes.insert(index, node);
    }

    fn remove_node(&mut self, index: usize) -> Node {
        let node = self.nodes.remove(index).expect("callers name a node that exists");
        self.len -= node.len();
        self.nodes_memory -= node.memory();
        self.give_back_spare();
        node
    }

    fn drop_nodes(&mut self, range: Range<usize>) {
        for node in self.nodes.drain(range) {
            self.len -= node.len();
            self.nodes_memory -= node.memory();
        }
        self.give_back_spare();
    }

    fn drop_empty_nodes(&mut self) {
        let freed = &mut self.nodes_memory;
        self.nodes.retain(|node| {
            if node.count == 0 {
                *freed -= node.memory();
            }
            node.count > 0
        });
        self.give_back_spare();
    }

    /// Three quarters empty is worth a move; less than that is not.
    fn give_back_spare(&mut self) {
        if self.nodes.len() <= self.nodes.capacity() / 4 {
            self.nodes.shrink_to(self.nodes.len() * 2);
        }
    }
}

impl core::fmt::Debug for Quicklist {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &'a Quicklist {
    type Item = Item<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Elements of one node.
#[derive(Clone)]
enum Items<'a> {
    Packed(listpack::Iter<'a>),
    Plain(Option<Item<'a>>),
}

impl<'a> Items<'a> {
    fn next(&mut self) -> Option<Item<'a>> {
        match self {
            Items::Packed(items) => items.next(),
            Items::Plain(item) => item.take(),
        }
    }

    fn next_back(&mut self) -> Option<Item<'a>> {
        match self {
            Items::Packed(items) => items.next_back(),
            Items::Plain(item) => item.take(),
        }
    }
}

/// Elements of a quicklist, from either end.
#[derive(Clone)]
pub struct Iter<'a> {
    front: Items<'a>,
    inner: vec_deque::Iter<'a, Node>,
    back: Items<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        loop {
            if let Some(item) = self.front.next() {
                return Some(item);
            }
            match self.inner.next() {
                Some(node) => self.front = node.all_items(),
                None => return self.back.next(),
            }
        }
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    fn next_back(&mut self) -> Option<Item<'a>> {
        loop {
            if let Some(item) = self.back.next_back() {
                return Some(item);
            }
            match self.inner.next_back() {
                Some(node) => self.back = node.all_items(),
                None => return self.front.next_back(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_size::size;
    use alloc::format;
    use alloc::vec;
    use proptest::prelude::*;

    /// Every promise of the file head.
    fn check(list: &Quicklist) {
        assert!(list.nodes.iter().all(|node| node.count > 0));
        assert_eq!(list.len, list.nodes.iter().map(Node::len).sum::<usize>());
        assert_eq!(list.nodes_memory, list.nodes.iter().map(Node::memory).sum::<usize>());
        for node in &list.nodes {
            if let Body::Packed(pack) = &node.body {
                assert_eq!(pack.len(), node.len());
                assert!(list.fill.allows(node.len(), pack.byte_len() - 7), "a node outgrew the fill");
            }
        }
    }

    #[test]
    fn half_of_a_fill_is_measured_in_what_the_setting_names() {
        let table = [
            (-1, 1000, 2048, true),
            (-1, 1, 2049, false),
            (4, 2, 1 << 20, true),
            (4, 3, 10, false),
            (1, 1, 10, false),
        ];
        for (setting, elements, bytes, expected) in table {
            assert_eq!(
                Fill::new(setting).allows_half(elements, bytes),
                expected,
                "{setting} {elements} {bytes}"
            );
        }
    }

    #[test]
    fn fill_reads_the_setting_as_redis_does() {
        for (setting, elements_max, bytes_max) in [
            (1, 1, 8192),
            (128, 128, 8192),
            (0, 1, 8192),
            (-1, usize::MAX, 4096),
            (-2, usize::MAX, 8192),
            (-5, usize::MAX, 65_536),
            (-9, usize::MAX, 65_536),
        ] {
            assert_eq!(Fill::new(setting), Fill { elements_max, bytes_max }, "{setting}");
        }
    }

    #[test]
    fn element_beyond_the_limit_is_a_plain_node() {
        let mut list = Quicklist::new(Fill::new(-1));
        list.push_back(b"small");
        list.push_back(vec![b'x'; 5000].as_slice());
        list.push_back(b"small");
        let kinds: Vec<bool> = list.nodes().map(|node| matches!(node, NodeRef::Plain(_))).collect();
        assert_eq!(kinds, [false, true, false]);
        assert_eq!(list.pop_front().unwrap(), b"small");
        assert_eq!(list.pop_front().unwrap(), [b'x'; 5000]);
        check(&list);
    }

    #[test]
    fn only_listpack_can_be_taken_back() {
        let mut list = Quicklist::new(Fill::new(2));
        list.push_back(b"a");
        list.push_back(b"b");
        list.push_back(b"c");
        assert!(list.take_only_listpack().is_none());
        list.pop_back();
        let pack = list.take_only_listpack().unwrap();
        assert_eq!((pack.len(), list.len()), (2, 0));
        check(&list);
    }

    #[test]
    fn rotating_moves_the_tail_to_the_head() {
        let mut list = Quicklist::new(Fill::new(2));
        for value in 0..5i64 {
            list.push_back(value);
        }
        list.rotate();
        assert!(list.iter().eq([4, 0, 1, 2, 3].map(Item::Int)));
        check(&list);
    }

    #[test]
    fn emptied_list_holds_no_nodes() {
        let mut list = Quicklist::new(Fill::new(-2));
        let len = size(100_000, 800) as i64;
        for value in 0..len {
            list.push_back(value);
        }
        check(&list);
        assert_eq!(list.get(len / 9 * 7), Some(Item::Int(len / 9 * 7)));
        assert_eq!(list.remove_range(0, usize::MAX), len as usize);
        assert_eq!(list.nodes_memory, 0);
        assert!(list.memory() < 1024, "the ring was given back: {}", list.memory());
    }

    #[derive(Clone, Debug)]
    enum Step {
        PushFront(Vec<u8>),
        PushBack(Vec<u8>),
        PopFront,
        PopBack,
        Insert(usize, Vec<u8>),
        Replace(i64, Vec<u8>),
        RemoveRange(i64, usize),
        RemoveFirstEqual(usize, usize),
        RemoveLastEqual(usize, usize),
        Rotate,
    }

    /// Few distinct values, so that equal ones meet; some numbers; some beyond the 4 KiB limit.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            6 => (0..6i64).prop_map(|value| format!("{value}").into_bytes()),
            4 => (0..4u8, 0..40usize).prop_map(|(letter, len)| vec![b'a' + letter; len]),
            1 => (0..2u8, 900..1100usize).prop_map(|(letter, len)| vec![b'm' + letter; len]),
            1 => (0..2u8, 4080..4100usize).prop_map(|(letter, len)| vec![b'x' + letter; len]),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => value().prop_map(Step::PushFront),
            6 => value().prop_map(Step::PushBack),
            2 => Just(Step::PopFront),
            2 => Just(Step::PopBack),
            8 => (any::<usize>(), value()).prop_map(|(index, value)| Step::Insert(index, value)),
            4 => (-30i64..30, value()).prop_map(|(index, value)| Step::Replace(index, value)),
            2 => (-30i64..30, 0usize..8).prop_map(|(start, count)| Step::RemoveRange(start, count)),
            1 => (any::<usize>(), 0usize..4).prop_map(|(index, most)| Step::RemoveFirstEqual(index, most)),
            1 => (any::<usize>(), 0usize..4).prop_map(|(index, most)| Step::RemoveLastEqual(index, most)),
            1 => Just(Step::Rotate),
        ]
    }

    /// Runs one step on the quicklist and on its naive twin.
    fn take(step: Step, list: &mut Quicklist, twin: &mut VecDeque<Vec<u8>>) {
        let forward = |index: i64, len: usize| {
            let index = if index < 0 { index + len as i64 } else { index };
            usize::try_from(index).ok().filter(|&index| index < len)
        };
        match step {
            Step::PushFront(value) => {
                list.push_front(value.as_slice());
                twin.push_front(value);
            }
            Step::PushBack(value) => {
                list.push_back(value.as_slice());
                twin.push_back(value);
            }
            Step::PopFront => assert_eq!(list.pop_front(), twin.pop_front()),
            Step::PopBack => assert_eq!(list.pop_back(), twin.pop_back()),
            Step::Insert(index, value) => {
                let index = index % (twin.len() + 1);
                list.insert(index, value.as_slice());
                twin.insert(index, value);
            }
            Step::Replace(index, value) => {
                let place = forward(index, twin.len());
                assert_eq!(list.replace(index, value.as_slice()), place.is_some());
                if let Some(place) = place {
                    twin[place] = value;
                }
            }
            Step::RemoveRange(start, count) => {
                let start_forward = forward(start, twin.len()).unwrap_or(twin.len());
                let end = twin.len().min(start_forward + count);
                assert_eq!(list.remove_range(start, count), twin.drain(start_forward..end).count());
            }
            Step::RemoveFirstEqual(index, most) => {
                let Some(index) = index.checked_rem(twin.len()) else { return };
                let value = twin[index].clone();
                let hits: Vec<usize> = (0..twin.len()).filter(|&at| twin[at] == value).take(most).collect();
                assert_eq!(list.remove_first_equal(&value, most), hits.len());
                hits.iter().rev().for_each(|&at| drop(twin.remove(at)));
            }
            Step::RemoveLastEqual(index, most) => {
                let Some(index) = index.checked_rem(twin.len()) else { return };
                let value = twin[index].clone();
                let hits: Vec<usize> =
                    (0..twin.len()).rev().filter(|&at| twin[at] == value).take(most).collect();
                assert_eq!(list.remove_last_equal(&value, most), hits.len());
                hits.iter().for_each(|&at| drop(twin.remove(at)));
            }
            Step::Rotate => {
                list.rotate();
                let len = twin.len();
                twin.rotate_right(usize::from(len > 0));
            }
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_ring(
            setting in prop_oneof![Just(1), Just(2), Just(5), Just(-1)],
            steps in proptest::collection::vec(step(), 0..size(120, 30)),
        ) {
            let (mut list, mut twin) = (Quicklist::new(Fill::new(setting)), VecDeque::new());
            for step in steps {
                take(step, &mut list, &mut twin);
                check(&list);
                prop_assert!(list.iter().map(Item::to_vec).eq(twin.iter().cloned()));
            }
            prop_assert!(list.iter().rev().map(Item::to_vec).eq(twin.iter().rev().cloned()));
            for (index, value) in twin.iter().enumerate() {
                let from_end = index as i64 - twin.len() as i64;
                prop_assert_eq!(list.get(index as i64).map(Item::to_vec), Some(value.clone()));
                prop_assert_eq!(list.get(from_end).map(Item::to_vec), Some(value.clone()));
                prop_assert_eq!(list.find(value), twin.iter().position(|other| other == value));
                let range = index / 3..index * 2;
                let expected: Vec<_> = twin.iter().take(range.end).skip(range.start).cloned().collect();
                prop_assert!(list.range(range.clone()).map(Item::to_vec).eq(expected.iter().cloned()));
                prop_assert!(list.range(range).rev().map(Item::to_vec).eq(expected.into_iter().rev()));
            }
            prop_assert_eq!(list.get(twin.len() as i64), None);
            prop_assert_eq!(list.get(-1 - twin.len() as i64), None);
        }
    }
}
