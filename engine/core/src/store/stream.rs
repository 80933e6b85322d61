//! Streams: entries in nodes of listpacks, and the consumer groups that read them.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use perdura_structures::listpack::Listpack;

use super::value::{Kind, Object};

/// An entry's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct StreamId {
    /// Milliseconds.
    pub ms: u64,
    /// Sequence number within the millisecond.
    pub seq: u64,
}

/// A stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Nodes by the id of their first entry (the master entry's id); the layout inside is RDB's.
    pub nodes: BTreeMap<StreamId, Listpack>,
    /// Live entries.
    pub len: u64,
    /// Highest id ever added.
    pub last_id: StreamId,
    /// Id of the first live entry, 0-0 if none.
    pub first_id: StreamId,
    /// Highest id ever deleted.
    pub max_deleted_id: StreamId,
    /// Entries ever added.
    pub entries_added: u64,
    /// Consumer groups by name.
    pub groups: BTreeMap<Vec<u8>, Group>,
    /// Bytes of nodes and groups, kept up to date by whoever changes them.
    pub bytes: usize,
}

/// A consumer group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Last id delivered.
    pub last_id: StreamId,
    /// Entries read by the group, `None` if unknown.
    pub entries_read: Option<u64>,
    /// Entries delivered and not acknowledged.
    pub pending: BTreeMap<StreamId, Pending>,
    /// Consumers by name.
    pub consumers: BTreeMap<Vec<u8>, Consumer>,
}

/// A delivered entry that waits for its acknowledgement.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Name of the consumer that owns it.
    pub consumer: Vec<u8>,
    /// When it was delivered last, milliseconds since 1970.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// A consumer.
#[derive(Clone, Debug, Default)]
pub struct Consumer {
    /// When it was last heard of, milliseconds since 1970.
    pub seen_ms: u64,
    /// When it last got an entry, `None` if never.
    pub active_ms: Option<u64>,
    /// Ids of its pending entries.
    pub pending: alloc::collections::BTreeSet<StreamId>,
}

impl Kind for Box<Stream> {
    fn wrap(self) -> Object {
        Object::Stream(self)
    }
    fn of(object: &Object) -> Option<&Self> {
        if let Object::Stream(stream) = object { Some(stream) } else { None }
    }
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        if let Object::Stream(stream) = object { Some(stream) } else { None }
    }
    fn is_empty(&self) -> bool {
        // A stream without entries stays: it has a last id, and perhaps groups.
        false
    }
    fn memory(&self) -> usize {
        core::mem::size_of::<Stream>() + self.bytes
    }
}
