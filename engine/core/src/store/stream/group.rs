//! A consumer group: how far it has read, who reads for it, and what was delivered but not acknowledged.
//!
//! Always true: each pending entry is owned by exactly one consumer, which lists its id, and no consumer lists
//! another's.
//!
//! Not here: the entries themselves (`entries.rs`), what is delivered to whom (`commands/stream/`).

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use perdura_structures::alloc_size::alloc_size;

use super::{StreamId, btree_bytes};

/// Bytes of a pending entry: one in the group, one in its owner's list.
const PENDING_BYTES: usize =
    btree_bytes(size_of::<StreamId>() + size_of::<Pending>()) + btree_bytes(size_of::<StreamId>());

/// A consumer, as pending entries name their owner; good until it is deleted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConsumerId(u32);

/// A delivered entry that waits for its acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    /// Who has it.
    pub owner: ConsumerId,
    /// When it was delivered last, milliseconds since 1970.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// A consumer.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Box<[u8]>,
    /// When it was last heard of, milliseconds since 1970.
    pub seen_ms: u64,
    /// When it last got an entry, `None` if never.
    pub active_ms: Option<u64>,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Ids of the entries it owns, in order.
    pub fn pending(&self) -> &BTreeSet<StreamId> {
        &self.pending
    }

    /// Its name is kept twice: here and where it is looked up.
    fn memory(&self) -> usize {
        2 * alloc_size(self.name.len())
            + alloc_size(size_of::<Option<Consumer>>())
            + btree_bytes(size_of::<Box<[u8]>>() + size_of::<ConsumerId>())
    }
}

/// A consumer group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Last id delivered.
    pub last_id: StreamId,
    /// Entries read by the group, `None` if unknown.
    pub entries_read: Option<u64>,
    pending: BTreeMap<StreamId, Pending>,
    by_name: BTreeMap<Box<[u8]>, ConsumerId>,
    /// By their number; `None` where one was deleted.
    consumers: Vec<Option<Consumer>>,
    consumer_bytes: usize,
}

impl Group {
    /// A group without consumers that has read up to `last_id`.
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Group {
        Group { last_id, entries_read, ..Group::default() }
    }

    /// Heap bytes held; O(1).
    pub fn memory(&self) -> usize {
        self.consumer_bytes + self.pending.len() * PENDING_BYTES
    }

    // --- Consumers ------------------------------------------------------------------------------

    /// Number of consumers.
    pub fn consumer_count(&self) -> usize {
        self.by_name.len()
    }

    /// All consumers, by name.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.by_name.values().map(|&id| self.consumer(id))
    }

    /// The consumer of this name.
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        self.by_name.get(name).copied()
    }

    /// A consumer. Panics if it was deleted.
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers[id.0 as usize].as_ref().expect("the consumer was not deleted")
    }

    /// A consumer, for changing. Panics if it was deleted.
    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers[id.0 as usize].as_mut().expect("the consumer was not deleted")
    }

    /// Makes a consumer; `None` if there is one of this name.
    pub fn add_consumer(&mut self, name: &[u8], seen_ms: u64, active_ms: Option<u64>) -> Option<ConsumerId> {
        if self.by_name.contains_key(name) {
            return None;
        }
        let consumer = Consumer { name: name.into(), seen_ms, active_ms, pending: BTreeSet::new() };
        self.consumer_bytes += consumer.memory();
        let free = self.consumers.iter().position(Option::is_none).unwrap_or_else(|| {
            self.consumers.push(None);
            self.consumers.len() - 1
        });
        self.consumers[free] = Some(consumer);
        let id = ConsumerId(free as u32);
        self.by_name.insert(name.into(), id);
        Some(id)
    }

    /// Deletes a consumer with all it owns; how many entries that were, or `None` if there is no such consumer.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let id = self.by_name.remove(name)?;
        let consumer = self.consumers[id.0 as usize].take().expect("names are those of consumers");
        self.consumer_bytes -= consumer.memory();
        for entry in &consumer.pending {
            self.pending.remove(entry);
        }
        Some(consumer.pending.len())
    }

    // --- Pending entries ------------------------------------------------------------------------

    /// All pending entries by id, as they lie in memory.
    pub fn pending(&self) -> &BTreeMap<StreamId, Pending> {
        &self.pending
    }

    /// Gives an entry to a consumer, whoever had it before, with these particulars.
    pub fn assign(&mut self, entry: StreamId, pending: Pending) {
        let previous = self.pending.insert(entry, pending).map(|previous| previous.owner);
        if let Some(owner) = previous.filter(|&owner| owner != pending.owner) {
            self.consumer_mut(owner).pending.remove(&entry);
        }
        if previous != Some(pending.owner) {
            self.consumer_mut(pending.owner).pending.insert(entry);
        }
    }

    /// Takes an entry from its owner: it was acknowledged, or is gone from the stream.
    pub fn release(&mut self, entry: StreamId) -> Option<Pending> {
        let pending = self.pending.remove(&entry)?;
        self.consumer_mut(pending.owner).pending.remove(&entry);
        Some(pending)
    }
}
