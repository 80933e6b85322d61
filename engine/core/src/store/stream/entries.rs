//! The entries of a stream: nodes in the order of their ids, and what a stream remembers of entries that are gone.
//!
//! Always true: `len` counts the live entries; no node is without one; no entry is above `last_id`; `first_id` is the
//! first live entry's id, or 0-0; `bytes` is the sum over the nodes.
//!
//! Not here: the inside of a node (`node.rs`), consumer groups (`group.rs`).

use alloc::{borrow::Cow, collections::BTreeMap};
use core::ops::ControlFlow;

use perdura_structures::{damage::Damage, listpack::LISTPACK_BYTES_MAX};

use super::{
    StreamId, btree_bytes,
    kept::Kept,
    node::{Entry, Node, Verdict},
};
use crate::store::Limits;

/// The largest entry, bytes of all its names and values.
pub const ENTRY_BYTES_MAX: usize = LISTPACK_BYTES_MAX;

/// Bytes of a node in `nodes` beyond its listpack.
const NODE_BYTES: usize = btree_bytes(size_of::<StreamId>() + size_of::<Kept>());

/// The newest nodes stay open: readers are there.
const OPEN_NODES: usize = 2;

/// What XTRIM and XADD remove entries by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Threshold {
    /// As many entries stay, the newest.
    MaxLen(u64),
    /// Entries below this id go.
    MinId(StreamId),
}

/// How far trimming may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// Until the threshold is met.
    Exact,
    /// Only whole nodes go, and no more entries than this (0: any number).
    WholeNodes {
        /// Entries removed at most.
        limit: u64,
    },
}

/// The entries of a stream.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// By the id of their master, which is that of their first entry.
    nodes: BTreeMap<StreamId, Kept>,
    bytes: usize,
    len: u64,
    first_id: StreamId,
    /// Highest id ever added.
    pub last_id: StreamId,
    /// Highest id ever deleted by XDEL, 0-0 if none.
    pub max_deleted_id: StreamId,
    /// Entries ever added.
    pub added: u64,
}

impl Entries {
    /// Live entries.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// No live entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Id of the first live entry, 0-0 if there is none.
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// Heap bytes of all nodes.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// [`Entries::memory`], added up.
    #[cfg(test)]
    pub(super) fn counted_memory(&self) -> usize {
        self.nodes.values().map(|kept| kept.memory() + NODE_BYTES).sum()
    }

    // --- Changing -------------------------------------------------------------------------------

    /// Adds an entry of name, value pairs.
    ///
    /// # Panics
    /// If the id is not above `last_id`, or the pairs are longer than [`ENTRY_BYTES_MAX`].
    pub fn push(&mut self, id: StreamId, pairs: &[&[u8]], limits: &Limits) {
        assert!(id > self.last_id, "ids ascend");
        let bytes = pairs.iter().map(|part| part.len()).sum();
        assert!(bytes <= ENTRY_BYTES_MAX, "an entry fits a node");
        if !self.nodes.last_entry().is_some_and(|mut last| has_room(last.get_mut().open_mut(), bytes, limits))
        {
            self.insert_node(id, Node::new(pairs));
        }
        let (&master, kept) = self.nodes.iter_mut().next_back().expect("just made if there was none");
        let before = kept.memory();
        kept.open_mut().push(master, id, pairs);
        self.bytes = self.bytes + kept.memory() - before;
        self.len += 1;
        self.added += 1;
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
    }

    /// Deletes an entry; `false` if there is none of this id.
    pub fn delete(&mut self, id: StreamId) -> bool {
        // A packed node is opened only for an entry that is there.
        if !self.contains(id) {
            return false;
        }
        let (&master, kept) = self.nodes.range_mut(..=id).next_back().expect("the entry is in a node");
        let before = kept.memory();
        kept.open_mut().delete(master, id);
        self.bytes = self.bytes + kept.memory() - before;
        if kept.live() == 0 {
            self.remove_node(master);
        }
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        if id == self.first_id {
            self.find_first();
        }
        true
    }

    /// Removes entries from the first on; how many.
    pub fn trim(&mut self, threshold: Threshold, effort: Effort) -> u64 {
        let len_before = self.len;
        while let Some((&master, kept)) = self.nodes.first_key_value() {
            let live = kept.live();
            let removed = len_before - self.len;
            if matches!(effort, Effort::WholeNodes { limit } if limit > 0 && removed + live > limit) {
                break;
            }
            let is_met = match threshold {
                Threshold::MaxLen(len_max) => self.len <= len_max,
                Threshold::MinId(_) => false,
            };
            if is_met {
                break;
            }
            let goes_whole = match threshold {
                Threshold::MaxLen(len_max) => self.len - live >= len_max,
                Threshold::MinId(id_min) => {
                    kept.open().walk_back(master).next().is_some_and(|last| last.id < id_min)
                }
            };
            if goes_whole {
                self.remove_node(master);
                self.len -= live;
                continue;
            }
            if effort == Effort::Exact {
                self.trim_first_node(threshold);
            }
            break;
        }
        if self.len < len_before {
            self.find_first();
        }
        len_before - self.len
    }

    /// Marks entries of the first node as deleted, which keeps at least one.
    fn trim_first_node(&mut self, threshold: Threshold) {
        let Some((&master, kept)) = self.nodes.iter_mut().next() else { return };
        let before = kept.memory();
        let mut len = self.len;
        let deleted = kept.open_mut().delete_while(master, |entry| {
            let stays = match threshold {
                Threshold::MaxLen(len_max) => len <= len_max,
                Threshold::MinId(id_min) => entry.id >= id_min,
            };
            if stays {
                return Verdict::Stop;
            }
            len -= u64::from(!entry.is_deleted());
            Verdict::Delete
        });
        self.bytes = self.bytes + kept.memory() - before;
        self.len -= deleted;
        if kept.live() == 0 {
            self.remove_node(master);
        }
    }

    /// Adds a node at the end, and packs the one that is no longer among the newest.
    fn insert_node(&mut self, master: StreamId, node: Node) {
        self.bytes += node.memory() + NODE_BYTES;
        self.nodes.insert(master, Kept::Open(node));
        if let Some(kept) = self.nodes.values_mut().nth_back(OPEN_NODES) {
            let before = kept.memory();
            kept.pack();
            self.bytes = self.bytes + kept.memory() - before;
        }
    }

    fn remove_node(&mut self, master: StreamId) {
        let kept = self.nodes.remove(&master).expect("the node is there");
        self.bytes -= kept.memory() + NODE_BYTES;
    }

    fn find_first(&mut self) {
        self.first_id = self.first().unwrap_or_default();
    }

    // --- Reading --------------------------------------------------------------------------------

    /// Shows the live entries from `start` to `end`, both included, until `see` breaks off.
    pub fn visit(&self, start: StreamId, end: StreamId, mut see: impl FnMut(&Entry<'_>) -> ControlFlow<()>) {
        if start > end {
            return;
        }
        let from = self.nodes.range(..=start).next_back().map_or(start, |(&master, _)| master);
        for (&master, kept) in self.nodes.range(from..=end) {
            for entry in kept.open().walk(master) {
                if entry.id > end {
                    return;
                }
                if entry.id >= start && !entry.is_deleted() && see(&entry).is_break() {
                    return;
                }
            }
        }
    }

    /// [`Entries::visit`] from `end` to `start`.
    pub fn visit_back(
        &self,
        start: StreamId,
        end: StreamId,
        mut see: impl FnMut(&Entry<'_>) -> ControlFlow<()>,
    ) {
        for (&master, kept) in self.nodes.range(..=end).rev() {
            for entry in kept.open().walk_back(master) {
                if entry.id < start {
                    return;
                }
                if entry.id <= end && !entry.is_deleted() && see(&entry).is_break() {
                    return;
                }
            }
        }
    }

    /// Shows the live entry of this id; `false` if there is none.
    pub fn see(&self, id: StreamId, see: impl FnOnce(&Entry<'_>)) -> bool {
        let mut see = Some(see);
        self.visit(id, id, |entry| {
            if let Some(see) = see.take() {
                see(entry);
            }
            ControlFlow::Break(())
        });
        see.is_none()
    }

    /// Whether there is a live entry of this id.
    pub fn contains(&self, id: StreamId) -> bool {
        self.see(id, |_| {})
    }

    /// Id of the first live entry.
    pub fn first(&self) -> Option<StreamId> {
        let mut first = None;
        self.visit(StreamId::MIN, StreamId::MAX, |entry| {
            first = Some(entry.id);
            ControlFlow::Break(())
        });
        first
    }

    /// Id of the last live entry.
    pub fn last(&self) -> Option<StreamId> {
        let mut last = None;
        self.visit_back(StreamId::MIN, StreamId::MAX, |entry| {
            last = Some(entry.id);
            ControlFlow::Break(())
        });
        last
    }

    /// Id of the first entry whose bytes are still there, deleted or not.
    pub fn first_kept(&self) -> Option<StreamId> {
        let (&master, kept) = self.nodes.first_key_value()?;
        kept.open().walk(master).next().map(|entry| entry.id)
    }

    // --- Counting what was read -----------------------------------------------------------------

    /// How many entries were ever added up to `id`, or `None` where deletions or an id that never was make it
    /// unknowable.
    ///
    /// ```text
    /// nothing was ever added          0
    /// no entry is left, id <= last    all
    /// id = last                       all
    /// id > last                       unknown
    /// nothing deleted after the first entry:
    ///     id < first                  all that are gone
    ///     id = first                  all that are gone, and it
    /// else                            unknown
    /// ```
    pub fn count_up_to(&self, id: StreamId) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        if id == self.last_id || self.is_empty() && id < self.last_id {
            return Some(self.added);
        }
        if id > self.last_id || self.max_deleted_id != StreamId::MIN && self.max_deleted_id >= self.first_id {
            return None;
        }
        let gone = self.added.wrapping_sub(self.len);
        match id.cmp(&self.first_id) {
            core::cmp::Ordering::Less => Some(gone),
            core::cmp::Ordering::Equal => Some(gone.wrapping_add(1)),
            core::cmp::Ordering::Greater => None,
        }
    }

    /// Whether an entry that was deleted by XDEL lies at `id` or after it, among those that are left.
    pub fn has_deleted_from(&self, id: StreamId) -> bool {
        !self.is_empty()
            && self.max_deleted_id != StreamId::MIN
            && self.first_id <= self.max_deleted_id
            && id <= self.max_deleted_id
    }

    // --- Nodes, as RDB files hold them ----------------------------------------------------------

    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Each node: its master's id and its listpack.
    pub fn nodes(&self) -> impl Iterator<Item = (StreamId, Cow<'_, [u8]>)> {
        self.nodes.iter().map(|(&master, kept)| (master, kept.bytes()))
    }

    /// Adds a node that was read from elsewhere, after checking all of it; its entries come after those that are
    /// there. `last_id` rises to its last entry; `added` grows by its live entries.
    ///
    /// # Errors
    /// It is no node, or its entries are not above the others.
    pub fn push_node(&mut self, master: StreamId, bytes: &[u8]) -> Result<(), Damage> {
        let (node, counts) = Node::from_bytes_checked(bytes, master)?;
        let last = node.walk_back(master).next().expect("a checked node has entries").id;
        // While nodes are pushed, `last_id` is that of the last one's last entry.
        if !self.nodes.is_empty() && master <= self.last_id {
            return Err(Damage { what: "stream nodes out of order", offset: 0 });
        }
        self.insert_node(master, node);
        self.len += counts.live;
        self.added += counts.live;
        self.last_id = self.last_id.max(last);
        if self.first_id == StreamId::MIN {
            self.find_first();
        }
        Ok(())
    }

    /// Nodes that a radix tree over their 16-byte ids would have, as XINFO STREAM tells of Redis's index.
    pub fn radix_node_count(&self) -> usize {
        radix_node_count(self.nodes.keys().copied())
    }
}

/// Whether an entry of so many bytes still goes into a node.
fn has_room(node: &Node, bytes: usize, limits: &Limits) -> bool {
    let bytes_max = match limits.stream_node_bytes_max {
        0 => LISTPACK_BYTES_MAX,
        set => set.min(LISTPACK_BYTES_MAX),
    };
    let counts = node.counts();
    let entries_max = limits.stream_node_entries_max as u64;
    node.as_bytes().len() + bytes < bytes_max
        && (entries_max == 0 || counts.live + counts.deleted < entries_max)
}

/// Nodes of a radix tree over ascending keys of 16 bytes, in which every run of bytes without a branch is one node.
fn radix_node_count(mut ids: impl Iterator<Item = StreamId>) -> usize {
    const ID_BYTES: i32 = 16;

    /// The run of bytes between a branch at `parent`, which takes one byte, and what lies at `depth`.
    fn run(parent: i32, depth: i32) -> usize {
        usize::from(depth > parent + 1)
    }

    let Some(mut previous) = ids.next() else { return 1 };
    // Depths of the branches on the way to `previous`; -1 is above the root.
    let mut branches = alloc::vec![-1];
    let mut count = 0;
    let mut last_shared = -1;
    for id in ids {
        let both = previous.to_bytes().into_iter().zip(id.to_bytes());
        let shared = both.take_while(|(left, right)| left == right).count() as i32;
        count += 1 + run(last_shared.max(shared), ID_BYTES); // The leaf of `previous`.
        while branches.last().is_some_and(|&depth| depth > shared) {
            let depth = branches.pop().expect("just seen");
            let parent = branches.last().copied().unwrap_or(-1).max(shared);
            count += 1 + run(parent, depth);
        }
        if branches.last() != Some(&shared) {
            branches.push(shared);
        }
        last_shared = shared;
        previous = id;
    }
    count += 1 + run(last_shared, ID_BYTES);
    while branches.len() > 1 {
        let depth = branches.pop().expect("just counted");
        count += 1 + run(branches[branches.len() - 1], depth);
    }
    count
}
