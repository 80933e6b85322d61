//! The order of a sorted set: a B+ tree of (score, handle) that knows how many entries lie under each child.
//!
//! ```text
//!   inner:  first key of each child | child | count under it        rank of a place = counts to the left of the path
//!   leaf:   scores, handles, and its neighbours on both sides       a range = walk along the leaves
//! ```
//!
//! Nodes live in arenas and name each other by number, so a leaf can know its neighbours without unsafe code. Scores
//! are kept here a second time because most comparisons then need nothing else; names only decide between equal
//! scores, and are looked up through the handle.
//!
//! Always true: the key noted for a child is exactly the first key under it, the count exactly the number of entries;
//! no node is empty except the root of an empty tree; a root that is no leaf has at least two children.
//!
//! A tree filled from either end has full leaves, because a split at the edge leaves the full half alone: loading a
//! snapshot, which lists members from one end to the other, packs them tightly.

use super::members::Members;
use crate::alloc_size::alloc_size;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Chosen so that a leaf fills the allocator's class of 768 bytes.
const LEAF_MAX: usize = 62;
/// Chosen so that an inner node fills the class of 1024 bytes.
const INNER_MAX: usize = 50;
const _: () = assert!(size_of::<Leaf>() <= 768 && size_of::<Inner>() <= 1024);

/// No such node.
const NONE: u32 = u32::MAX;

#[derive(Clone)]
struct Leaf {
    len: usize,
    prev: u32,
    next: u32,
    scores: [f64; LEAF_MAX],
    handles: [u32; LEAF_MAX],
}

#[derive(Clone)]
struct Inner {
    len: usize,
    scores: [f64; INNER_MAX],
    handles: [u32; INNER_MAX],
    children: [u32; INNER_MAX],
    counts: [u32; INNER_MAX],
}

/// A node and how far it is from the leaves (0: it is one).
#[derive(Clone, Copy)]
struct NodeId {
    id: u32,
    height: u32,
}

impl NodeId {
    fn below(self, id: u32) -> NodeId {
        NodeId { id, height: self.height - 1 }
    }
}

/// What an inner node notes about a child.
#[derive(Clone, Copy)]
struct Summary {
    score: f64,
    handle: u32,
    count: u32,
}

/// Whether a node is the first, or the last, of its level.
#[derive(Clone, Copy)]
struct Edges {
    is_first: bool,
    is_last: bool,
}

/// An entry: which leaf, and which index in it.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    leaf: u32,
    at: usize,
}

#[derive(Clone)]
pub(super) struct Order {
    leaves: Arena<Leaf>,
    inners: Arena<Inner>,
    root: NodeId,
}

impl Order {
    pub(super) fn new() -> Order {
        let mut leaves = Arena::new();
        let root = NodeId { id: leaves.add(Leaf::new()), height: 0 };
        Order { leaves, inners: Arena::new(), root }
    }

    pub(super) fn memory(&self) -> usize {
        self.leaves.memory() + self.inners.memory()
    }

    /// How many entries satisfy `is_before`, which must hold for a beginning of the order and not for the rest.
    pub(super) fn rank(&self, is_before: impl Fn(f64, u32) -> bool) -> usize {
        let (mut node, mut rank) = (self.root, 0);
        while node.height > 0 {
            let inner = &self.inners[node.id];
            let Some(at) = partition(&inner.scores[..inner.len], &inner.handles, &is_before).checked_sub(1)
            else {
                return rank;
            };
            rank += inner.counts[..at].iter().map(|&count| count as usize).sum::<usize>();
            node = node.below(inner.children[at]);
        }
        let leaf = &self.leaves[node.id];
        rank + partition(&leaf.scores[..leaf.len], &leaf.handles, &is_before)
    }

    /// The entry at `rank`, which must exist.
    pub(super) fn place(&self, mut rank: usize) -> Place {
        let mut node = self.root;
        while node.height > 0 {
            let inner = &self.inners[node.id];
            let mut at = 0;
            while rank >= inner.counts[at] as usize {
                rank -= inner.counts[at] as usize;
                at += 1;
            }
            node = node.below(inner.children[at]);
        }
        Place { leaf: node.id, at: rank }
    }

    /// Score and handle at a place.
    pub(super) fn entry(&self, place: Place) -> (f64, u32) {
        let leaf = &self.leaves[place.leaf];
        (leaf.scores[..leaf.len][place.at], leaf.handles[place.at])
    }

    /// The place after `place`, which must not be the last.
    pub(super) fn next(&self, place: Place) -> Place {
        let leaf = &self.leaves[place.leaf];
        match place.at + 1 {
            at if at < leaf.len => Place { at, ..place },
            _ => Place { leaf: leaf.next, at: 0 },
        }
    }

    /// The place before `place`, which must not be the first.
    pub(super) fn prev(&self, place: Place) -> Place {
        match place.at.checked_sub(1) {
            Some(at) => Place { at, ..place },
            None => {
                let leaf = self.leaves[place.leaf].prev;
                Place { leaf, at: self.leaves[leaf].len - 1 }
            }
        }
    }

    /// Adds the entry of `handle`, which is not in the tree yet.
    pub(super) fn insert(&mut self, handle: u32, members: &Members) {
        let edges = Edges { is_first: true, is_last: true };
        if let Some(right) = self.insert_under(self.root, edges, handle, members) {
            let height = self.root.height + 1;
            let mut inner = Inner::new();
            inner.insert(0, self.root.id, self.summary(self.root));
            inner.insert(1, right.id, self.summary(right));
            self.root = NodeId { id: self.inners.add(inner), height };
        }
    }

    /// Takes the entry of `handle` out. Its member must still have the score it was added with.
    pub(super) fn remove(&mut self, handle: u32, members: &Members) {
        self.remove_under(self.root, handle, members);
        while self.root.height > 0 && self.inners[self.root.id].len == 1 {
            let old = self.inners.take(self.root.id);
            self.root = self.root.below(old.children[0]);
        }
    }

    /// Lets the entry of handle `from` be known as `to`; its place stays.
    pub(super) fn relabel(&mut self, from: u32, to: u32, members: &Members) {
        let mut node = self.root;
        while node.height > 0 {
            let at = self.child_for(node.id, from, members);
            let inner = &mut self.inners[node.id];
            if inner.handles[at] == from {
                inner.handles[at] = to;
            }
            node = node.below(inner.children[at]);
        }
        let at = self.entry_in(node.id, from, members);
        self.leaves[node.id].handles[at] = to;
    }

    /// Adds the entry somewhere under `node`; gives back the new right neighbour if `node` had to be split.
    fn insert_under(&mut self, node: NodeId, edges: Edges, handle: u32, members: &Members) -> Option<NodeId> {
        if node.height == 0 {
            return self.insert_into_leaf(node, edges, handle, members);
        }
        let at = self.child_for(node.id, handle, members);
        let inner = &self.inners[node.id];
        let child = node.below(inner.children[at]);
        let edges_below =
            Edges { is_first: edges.is_first && at == 0, is_last: edges.is_last && at + 1 == inner.len };
        let right = self.insert_under(child, edges_below, handle, members);
        self.note(node, at);
        self.insert_child(node, edges, at + 1, right?)
    }

    fn insert_into_leaf(
        &mut self,
        node: NodeId,
        edges: Edges,
        handle: u32,
        members: &Members,
    ) -> Option<NodeId> {
        let (at, score) = (self.position_in(node.id, handle, members), members.score(handle));
        let leaf = &mut self.leaves[node.id];
        if leaf.len < LEAF_MAX {
            leaf.insert(at, score, handle);
            return None;
        }
        let split = match at {
            LEAF_MAX if edges.is_last => LEAF_MAX,
            0 if edges.is_first => 0,
            _ => LEAF_MAX / 2,
        };
        let right = self.split_leaf(node.id, split);
        if at < split || split == 0 {
            self.leaves[node.id].insert(at, score, handle);
        } else {
            self.leaves[right].insert(at - split, score, handle);
        }
        Some(NodeId { id: right, height: 0 })
    }

    /// Makes `child` the child of `node` at `at`, at least 1; gives back the new right neighbour if `node` was full.
    fn insert_child(&mut self, node: NodeId, edges: Edges, at: usize, child: NodeId) -> Option<NodeId> {
        let summary = self.summary(child);
        let inner = &mut self.inners[node.id];
        if inner.len < INNER_MAX {
            inner.insert(at, child.id, summary);
            return None;
        }
        let split = match at {
            INNER_MAX if edges.is_last => INNER_MAX,
            1 if edges.is_first => 1,
            _ => INNER_MAX / 2,
        };
        let mut right = inner.split_off(split);
        if at <= split && split < INNER_MAX {
            inner.insert(at, child.id, summary);
        } else {
            right.insert(at - split, child.id, summary);
        }
        Some(NodeId { id: self.inners.add(right), height: node.height })
    }

    /// Moves the entries from `split` on into a new leaf to the right.
    fn split_leaf(&mut self, id: u32, split: usize) -> u32 {
        let leaf = &mut self.leaves[id];
        let mut right = Leaf::new();
        right.append(&leaf.scores[split..leaf.len], &leaf.handles[split..leaf.len]);
        leaf.len = split;
        (right.prev, right.next) = (id, leaf.next);
        let next = right.next;
        let right = self.leaves.add(right);
        self.leaves[id].next = right;
        if next != NONE {
            self.leaves[next].prev = right;
        }
        right
    }

    fn remove_under(&mut self, node: NodeId, handle: u32, members: &Members) {
        if node.height == 0 {
            let at = self.entry_in(node.id, handle, members);
            return self.leaves[node.id].remove(at);
        }
        let at = self.child_for(node.id, handle, members);
        let child = node.below(self.inners[node.id].children[at]);
        self.remove_under(child, handle, members);
        self.mend(node, at);
    }

    /// Brings `node` up to date after a removal under its child at `at`: drops an empty child, merges a thin one.
    fn mend(&mut self, node: NodeId, at: usize) {
        let child = node.below(self.inners[node.id].children[at]);
        let (len, max) = self.len_and_max(child);
        if len == 0 {
            self.drop_node(child);
            return self.inners[node.id].remove(at);
        }
        self.note(node, at);
        if len >= max / 2 {
            return;
        }
        // Three quarters, not full: the next insertions must not split what was just merged.
        let is_thin = |left: usize| {
            let inner = &self.inners[node.id];
            let pair = inner.children[..inner.len].get(left..left + 2)?;
            let len = pair.iter().map(|&id| self.len_and_max(node.below(id)).0).sum::<usize>();
            (len <= max / 4 * 3).then_some(left)
        };
        if let Some(left) = is_thin(at).or_else(|| is_thin(at.checked_sub(1)?)) {
            self.merge_children(node, left);
        }
    }

    /// Moves everything from the child after `left` into the child at `left`.
    fn merge_children(&mut self, node: NodeId, left: usize) {
        let inner = &mut self.inners[node.id];
        let (keeps, goes) = (inner.children[left], inner.children[left + 1]);
        inner.remove(left + 1);
        if node.height == 1 {
            let gone = self.leaves[goes].clone();
            self.leaves[keeps].append(&gone.scores[..gone.len], &gone.handles[..gone.len]);
        } else {
            let gone = self.inners[goes].clone();
            self.inners[keeps].append(&gone, 0..gone.len);
        }
        self.drop_node(node.below(goes));
        self.note(node, left);
    }

    /// Gives a node back; a leaf's neighbours become each other's.
    fn drop_node(&mut self, node: NodeId) {
        if node.height > 0 {
            self.inners.take(node.id);
            return;
        }
        let leaf = self.leaves.take(node.id);
        if leaf.prev != NONE {
            self.leaves[leaf.prev].next = leaf.next;
        }
        if leaf.next != NONE {
            self.leaves[leaf.next].prev = leaf.prev;
        }
    }

    /// Notes first key and count of the child at `at` anew.
    fn note(&mut self, node: NodeId, at: usize) {
        let summary = self.summary(node.below(self.inners[node.id].children[at]));
        self.inners[node.id].set(at, summary);
    }

    fn summary(&self, node: NodeId) -> Summary {
        if node.height == 0 {
            let leaf = &self.leaves[node.id];
            return Summary { score: leaf.scores[0], handle: leaf.handles[0], count: leaf.len as u32 };
        }
        let inner = &self.inners[node.id];
        let count = inner.counts[..inner.len].iter().sum();
        Summary { score: inner.scores[0], handle: inner.handles[0], count }
    }

    fn len_and_max(&self, node: NodeId) -> (usize, usize) {
        match node.height {
            0 => (self.leaves[node.id].len, LEAF_MAX),
            _ => (self.inners[node.id].len, INNER_MAX),
        }
    }

    /// Index of the child under which the key of `handle` is, or belongs.
    fn child_for(&self, inner: u32, handle: u32, members: &Members) -> usize {
        let inner = &self.inners[inner];
        let is_up_to = |score, other| members.compare(score, other, handle).is_le();
        partition(&inner.scores[..inner.len], &inner.handles, &is_up_to).saturating_sub(1)
    }

    /// How many entries of a leaf come up to and including the key of `handle`.
    fn position_in(&self, leaf: u32, handle: u32, members: &Members) -> usize {
        let leaf = &self.leaves[leaf];
        let is_up_to = |score, other| members.compare(score, other, handle).is_le();
        partition(&leaf.scores[..leaf.len], &leaf.handles, &is_up_to)
    }

    /// Index of the entry of `handle`, which must be in this leaf.
    fn entry_in(&self, leaf: u32, handle: u32, members: &Members) -> usize {
        let at = self.position_in(leaf, handle, members) - 1;
        assert!(self.leaves[leaf].handles[at] == handle, "the order lost a member");
        at
    }
}

impl Leaf {
    fn new() -> Leaf {
        Leaf { len: 0, prev: NONE, next: NONE, scores: [0.0; LEAF_MAX], handles: [0; LEAF_MAX] }
    }

    fn insert(&mut self, at: usize, score: f64, handle: u32) {
        open(&mut self.scores, self.len, at, score);
        open(&mut self.handles, self.len, at, handle);
        self.len += 1;
    }

    fn remove(&mut self, at: usize) {
        self.scores.copy_within(at + 1..self.len, at);
        self.handles.copy_within(at + 1..self.len, at);
        self.len -= 1;
    }

    fn append(&mut self, scores: &[f64], handles: &[u32]) {
        let end = self.len + scores.len();
        self.scores[self.len..end].copy_from_slice(scores);
        self.handles[self.len..end].copy_from_slice(handles);
        self.len = end;
    }
}

impl Inner {
    fn new() -> Inner {
        Inner {
            len: 0,
            scores: [0.0; INNER_MAX],
            handles: [0; INNER_MAX],
            children: [0; INNER_MAX],
            counts: [0; INNER_MAX],
        }
    }

    fn set(&mut self, at: usize, summary: Summary) {
        self.scores[at] = summary.score;
        self.handles[at] = summary.handle;
        self.counts[at] = summary.count;
    }

    fn insert(&mut self, at: usize, child: u32, summary: Summary) {
        open(&mut self.scores, self.len, at, summary.score);
        open(&mut self.handles, self.len, at, summary.handle);
        open(&mut self.counts, self.len, at, summary.count);
        open(&mut self.children, self.len, at, child);
        self.len += 1;
    }

    fn remove(&mut self, at: usize) {
        self.scores.copy_within(at + 1..self.len, at);
        self.handles.copy_within(at + 1..self.len, at);
        self.counts.copy_within(at + 1..self.len, at);
        self.children.copy_within(at + 1..self.len, at);
        self.len -= 1;
    }

    fn append(&mut self, other: &Inner, range: core::ops::Range<usize>) {
        let end = self.len + range.len();
        self.scores[self.len..end].copy_from_slice(&other.scores[range.clone()]);
        self.handles[self.len..end].copy_from_slice(&other.handles[range.clone()]);
        self.counts[self.len..end].copy_from_slice(&other.counts[range.clone()]);
        self.children[self.len..end].copy_from_slice(&other.children[range]);
        self.len = end;
    }

    fn split_off(&mut self, at: usize) -> Inner {
        let mut right = Inner::new();
        right.append(self, at..self.len);
        self.len = at;
        right
    }
}

/// Makes room at `at` in an array of which `len` items are in use, and puts `item` there.
fn open<T: Copy>(array: &mut [T], len: usize, at: usize, item: T) {
    array.copy_within(at..len, at + 1);
    array[at] = item;
}

/// How many leading entries satisfy `is_before`.
#[inline]
fn partition(scores: &[f64], handles: &[u32], is_before: &impl Fn(f64, u32) -> bool) -> usize {
    let (mut low, mut high) = (0, scores.len());
    while low < high {
        let middle = (low + high) / 2;
        if is_before(scores[middle], handles[middle]) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Nodes of one kind, named by numbers that stay good until the node is taken out.
#[derive(Clone)]
struct Arena<T> {
    nodes: Vec<Option<Box<T>>>,
    free: Vec<u32>,
}

impl<T> Arena<T> {
    fn new() -> Arena<T> {
        Arena { nodes: Vec::new(), free: Vec::new() }
    }

    fn add(&mut self, node: T) -> u32 {
        let node = Some(Box::new(node));
        if let Some(id) = self.free.pop() {
            self.nodes[id as usize] = node;
            return id;
        }
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    fn take(&mut self, id: u32) -> Box<T> {
        self.free.push(id);
        self.nodes[id as usize].take().expect("a number names a node that lives")
    }

    fn memory(&self) -> usize {
        alloc_size(self.nodes.capacity() * size_of::<Option<Box<T>>>())
            + alloc_size(self.free.capacity() * size_of::<u32>())
            + (self.nodes.len() - self.free.len()) * alloc_size(size_of::<T>())
    }
}

impl<T> core::ops::Index<u32> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, id: u32) -> &T {
        self.nodes[id as usize].as_ref().expect("a number names a node that lives")
    }
}

impl<T> core::ops::IndexMut<u32> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, id: u32) -> &mut T {
        self.nodes[id as usize].as_mut().expect("a number names a node that lives")
    }
}

#[cfg(test)]
impl Order {
    /// Every promise of the file head; gives back the handles in order.
    pub(super) fn check(&self, members: &Members) -> Vec<u32> {
        let (mut handles, mut leaves) = (Vec::new(), Vec::new());
        self.check_under(self.root, members, &mut handles, &mut leaves);
        assert!(
            handles.windows(2).all(|pair| members.compare(members.score(pair[0]), pair[0], pair[1]).is_lt())
        );
        for (index, &leaf) in leaves.iter().enumerate() {
            let neighbour =
                |index: Option<usize>| index.and_then(|index| leaves.get(index)).copied().unwrap_or(NONE);
            assert_eq!(self.leaves[leaf].prev, neighbour(index.checked_sub(1)));
            assert_eq!(self.leaves[leaf].next, neighbour(Some(index + 1)));
        }
        assert_eq!(self.leaves.nodes.iter().flatten().count(), leaves.len(), "a leaf leaked");
        handles
    }

    fn check_under(&self, node: NodeId, members: &Members, handles: &mut Vec<u32>, leaves: &mut Vec<u32>) {
        let (len, max) = self.len_and_max(node);
        let is_root = node.id == self.root.id && node.height == self.root.height;
        let len_min = if !is_root { 1 } else { node.height.min(1) as usize * 2 };
        assert!((len_min..=max).contains(&len));
        if node.height == 0 {
            let leaf = &self.leaves[node.id];
            leaves.push(node.id);
            handles.extend_from_slice(&leaf.handles[..len]);
            let scores = leaf.handles[..len].iter().map(|&handle| members.score(handle));
            assert!(scores.eq(leaf.scores[..len].iter().copied()));
            return;
        }
        let inner = &self.inners[node.id];
        for at in 0..len {
            let before = handles.len();
            self.check_under(node.below(inner.children[at]), members, handles, leaves);
            assert_eq!(inner.counts[at] as usize, handles.len() - before);
            assert_eq!(inner.handles[at], handles[before]);
            assert_eq!(inner.scores[at], members.score(handles[before]));
        }
    }
}
