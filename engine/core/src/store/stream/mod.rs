//! Streams: entries in nodes of listpacks, and the consumer groups that read them.
//!
//! Exists so that a log of a million entries takes less than its bytes, and saving it is copying its nodes.
//!
//! Always true: `group_bytes` is the sum over the groups, so that `memory` is O(1).
//!
//! Not here: replies and arguments (`commands/stream/`), files (`persist/rdb`).

mod entries;
mod group;
mod id;
mod kept;
mod node;
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use perdura_structures::alloc_size::alloc_size;

pub use entries::{ENTRY_BYTES_MAX, Effort, Entries, Threshold};
pub use group::{Consumer, ConsumerId, Group, Pending};
pub use id::{IdText, StreamId};
pub use node::{Entry, Pairs};

use super::value::{Kind, Object};

/// A stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Its entries, and its memory of those that are gone.
    pub entries: Entries,
    groups: BTreeMap<Vec<u8>, Group>,
    group_bytes: usize,
}

impl Stream {
    /// All groups, by name.
    pub fn groups(&self) -> &BTreeMap<Vec<u8>, Group> {
        &self.groups
    }

    /// The group of this name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// Changes a group, with the entries at hand; `None` if there is no such group.
    pub fn edit_group<R>(&mut self, name: &[u8], edit: impl FnOnce(&Entries, &mut Group) -> R) -> Option<R> {
        let group = self.groups.get_mut(name)?;
        let before = group.memory();
        let result = edit(&self.entries, group);
        self.group_bytes = self.group_bytes + group.memory() - before;
        Some(result)
    }

    /// Adds a group; `false` if there is one of this name.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.group_bytes += group.memory() + group_base_bytes(name);
        self.groups.insert(name.to_vec(), group);
        true
    }

    /// Removes a group with all it has pending; `false` if there is none of this name.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let removed = self.groups.remove(name);
        if let Some(group) = &removed {
            self.group_bytes -= group.memory() + group_base_bytes(name);
        }
        removed.is_some()
    }

    /// Entries that a group has still to read, or `None` where that cannot be known.
    ///
    /// May be negative, if a client has set the group's counter so.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let entries = &self.entries;
        let read = match group.entries_read {
            _ if entries.added == 0 => return Some(0),
            Some(read) if !entries.has_deleted_from(group.last_id) => read,
            _ => entries.count_up_to(group.last_id)?,
        };
        Some(entries.added.wrapping_sub(read) as i64)
    }
}

/// Bytes of a group beyond what it owns itself.
fn group_base_bytes(name: &[u8]) -> usize {
    alloc_size(name.len()) + btree_bytes(size_of::<Vec<u8>>() + size_of::<Group>())
}

/// Bytes an element of a B-tree takes: nodes that are filled in order stay half empty.
const fn btree_bytes(element: usize) -> usize {
    element * 2
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
        size_of::<Stream>() + self.entries.memory() + self.group_bytes
    }
}
