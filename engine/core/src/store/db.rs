//! One database: its keys, the order in which they expire, and the bytes they take.
//!
//! Always true: `expiries` holds exactly (expiry, hash) of each key that has one; `field_expiries` holds exactly
//! (earliest expiry of a field, hash) of each key with such fields; `object_bytes` is the sum of `Object::memory`
//! over all entries.
//!
//! Not here: whether a key is due (`store/mod.rs`), the table itself (`engine/structures/table.rs`).

use alloc::{collections::BTreeSet, vec::Vec};

use perdura_structures::table::{Content, ContentMut, ContentRef, Previous, Removed, Table};

use super::{
    Entry,
    garbage::{self, Garbage},
    value::{Kind, Object, Value},
};
use crate::error::{Error, WRONG_TYPE};

/// How an edit of a collection went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edited<R> {
    /// There is no such key.
    Missing,
    /// Done; the key is still there.
    Kept(R),
    /// Done; nothing was left, so the key was removed.
    Emptied(R),
}

impl<R> Edited<R> {
    /// What the edit gave back, or `None` if there was no key.
    pub fn value(self) -> Option<R> {
        match self {
            Edited::Missing => None,
            Edited::Kept(value) | Edited::Emptied(value) => Some(value),
        }
    }

    /// The same outcome with another result.
    pub fn map<T>(self, change: impl FnOnce(R) -> T) -> Edited<T> {
        match self {
            Edited::Missing => Edited::Missing,
            Edited::Kept(value) => Edited::Kept(change(value)),
            Edited::Emptied(value) => Edited::Emptied(change(value)),
        }
    }

    /// The key was removed because nothing was left.
    pub fn is_emptied(&self) -> bool {
        matches!(self, Edited::Emptied(_))
    }
}

/// Bytes of one element of `expiries`, with a B-tree's overhead.
const EXPIRY_BYTES: usize = 24;

/// A database.
#[derive(Clone)]
pub struct Db {
    table: Table<Object>,
    expiries: BTreeSet<(u64, u64)>,
    field_expiries: BTreeSet<(u64, u64)>,
    object_bytes: usize,
    /// Heavy objects that were removed since the store last took them.
    pub(super) discarded: Vec<Object>,
}

impl Db {
    /// An empty database whose table hashes with `seed`.
    pub fn new(seed: u64) -> Db {
        Db {
            table: Table::new(seed),
            expiries: BTreeSet::new(),
            field_expiries: BTreeSet::new(),
            object_bytes: 0,
            discarded: Vec::new(),
        }
    }

    /// Number of keys, expired ones that were not yet removed included.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// No keys.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Number of keys that have an expiry.
    pub fn expiring_len(&self) -> usize {
        self.expiries.len()
    }

    /// Bytes of all keys and values.
    pub fn memory(&self) -> usize {
        let expiries = self.expiries.len() + self.field_expiries.len();
        self.table.memory() + self.object_bytes + expiries * EXPIRY_BYTES
    }

    /// The table, for iterating and scanning.
    pub fn table(&self) -> &Table<Object> {
        &self.table
    }

    /// A key's hash, for the calls that take one.
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.table.hash(key)
    }

    /// The entry of a key, due or not.
    pub fn get(&self, key: &[u8]) -> Option<Entry<'_>> {
        self.table.get(self.table.hash(key), key)
    }

    /// [`Db::get`] for a known hash.
    pub fn get_hashed(&self, hash: u64, key: &[u8]) -> Option<Entry<'_>> {
        self.table.get(hash, key)
    }

    /// The entry of a key, its meta changed by `touch` on the way.
    pub fn lookup(&mut self, hash: u64, key: &[u8], touch: impl FnOnce(u32) -> u32) -> Option<Entry<'_>> {
        self.table.get_touching(hash, key, touch)
    }

    /// Stores a value; whether the key was there before.
    pub fn set(&mut self, hash: u64, key: &[u8], value: Value<'_>, meta: u32, keep_expiry: bool) -> bool {
        let part_expiry_ms = if let Value::Object(object) = &value { object.next_expiry_ms() } else { None };
        let previous = match value {
            Value::Int(number) => self.table.set_int(hash, key, number, meta, keep_expiry),
            Value::Bytes(bytes) => self.table.set_bytes(hash, key, bytes, meta, keep_expiry),
            Value::Object(object) => {
                self.object_bytes += object.memory();
                self.table.set_object(hash, key, object, meta, keep_expiry)
            }
        };
        let existed = previous.existed;
        self.settle(hash, previous, keep_expiry);
        self.move_field_expiry(hash, None, part_expiry_ms);
        existed
    }

    /// Stores a value under a key that may exist, with meta and expiry as given (loading, RESTORE, COPY);
    /// whether it was there before.
    pub fn insert(&mut self, key: &[u8], value: Value<'_>, meta: u32, expiry_ms: Option<u64>) -> bool {
        self.insert_hashed(self.hash(key), key, value, meta, expiry_ms)
    }

    /// [`Db::insert`] for a known hash.
    pub fn insert_hashed(
        &mut self,
        hash: u64,
        key: &[u8],
        value: Value<'_>,
        meta: u32,
        expiry_ms: Option<u64>,
    ) -> bool {
        let existed = self.set(hash, key, value, meta, false);
        if expiry_ms.is_some() {
            self.set_expiry(hash, key, expiry_ms);
        }
        existed
    }

    /// Removes a key; whether there was one.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> bool {
        let removed = self.take_key(hash, key);
        let is_removed = removed.is_some();
        if let Some(Removed { content: Content::Object(object), .. }) = removed {
            self.discard(object);
        }
        is_removed
    }

    /// Frees an object, or leaves it to be freed bit by bit.
    fn discard(&mut self, object: Object) {
        if garbage::is_heavy(&object) {
            self.discarded.push(object);
        }
    }

    /// Removes a key and gives what it held.
    pub fn take_key(&mut self, hash: u64, key: &[u8]) -> Option<Removed<Object>> {
        let removed = self.table.remove(hash, key)?;
        if let Some(at) = removed.expiry_ms {
            self.expiries.remove(&(at, hash));
        }
        if let Content::Object(object) = &removed.content {
            self.object_bytes -= object.memory();
            self.move_field_expiry(hash, object.next_expiry_ms(), None);
        }
        Some(removed)
    }

    /// Gives a key an expiry, or takes it away; `false` if there is no such key.
    pub fn set_expiry(&mut self, hash: u64, key: &[u8], expiry_ms: Option<u64>) -> bool {
        let Some(mut entry) = self.table.get_mut(hash, key) else { return false };
        let old = entry.expiry_ms();
        entry.set_expiry(expiry_ms);
        if let Some(at) = old {
            self.expiries.remove(&(at, hash));
        }
        if let Some(at) = expiry_ms {
            self.expiries.insert((at, hash));
        }
        true
    }

    /// Sets a key's access clock or frequency.
    pub fn set_meta(&mut self, key: &[u8], meta: u32) {
        let hash = self.hash(key);
        if let Some(mut entry) = self.table.get_mut(hash, key) {
            entry.set_meta(meta);
        }
    }

    /// Edits a collection in place, counting its memory before and after; removes it if it ends empty.
    ///
    /// # Errors
    /// `WRONGTYPE` if the key holds another type.
    pub fn edit<K: Kind, R>(
        &mut self,
        hash: u64,
        key: &[u8],
        touch: impl FnOnce(u32) -> u32,
        edit: impl FnOnce(&mut K) -> R,
    ) -> Result<Edited<R>, Error> {
        let Some(mut entry) = self.table.get_mut(hash, key) else { return Ok(Edited::Missing) };
        let meta = touch(entry.meta());
        let ContentMut::Object(object) = entry.content_mut() else { return Err(WRONG_TYPE) };
        let collection = K::of_mut(object).ok_or(WRONG_TYPE)?;
        let (before, part_expiry_before) = (collection.memory(), collection.next_expiry_ms());
        let result = edit(collection);
        let (is_empty, part_expiry) = (collection.is_empty(), collection.next_expiry_ms());
        self.object_bytes = self.object_bytes + collection.memory() - before;
        entry.set_meta(meta);
        self.move_field_expiry(hash, part_expiry_before, part_expiry);
        if is_empty {
            self.remove(hash, key);
            return Ok(Edited::Emptied(result));
        }
        Ok(Edited::Kept(result))
    }

    /// Edits an integer in place; `None` if the key does not hold one in that encoding.
    pub fn edit_int(
        &mut self,
        hash: u64,
        key: &[u8],
        edit: impl FnOnce(i64) -> Option<i64>,
    ) -> Option<Option<i64>> {
        let mut entry = self.table.get_mut(hash, key)?;
        match entry.content_mut() {
            ContentMut::Int(number) => Some(edit(*number).inspect(|new| *number = *new)),
            _ => None,
        }
    }

    /// The earliest expiry of any key.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.expiries.first().map(|&(at, _)| at)
    }

    /// The key that expires first.
    pub fn next_expiring_key(&self) -> Option<Vec<u8>> {
        let &(at, hash) = self.expiries.first()?;
        let entry = self.table.find_by_hash(hash, &mut |entry| entry.expiry_ms() == Some(at));
        Some(entry.expect("an indexed expiry belongs to a key").key().to_vec())
    }

    /// The earliest expiry of any field of any hash.
    pub fn next_field_expiry_ms(&self) -> Option<u64> {
        self.field_expiries.first().map(|&(at, _)| at)
    }

    /// The key of the hash whose field expires first.
    pub fn next_field_expiring_key(&self) -> Option<Vec<u8>> {
        let &(at, hash) = self.field_expiries.first()?;
        let is_it = &mut |entry: &Entry<'_>| match entry.content() {
            ContentRef::Object(object) => object.next_expiry_ms() == Some(at),
            _ => false,
        };
        let entry = self.table.find_by_hash(hash, is_it);
        Some(entry.expect("an indexed field belongs to a key").key().to_vec())
    }

    /// Keys in the order in which they expire, with the time.
    pub fn expiring_hashes(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.expiries.iter().copied()
    }

    /// A key that expires, chosen by `random`; `None` only if there is none.
    ///
    /// Looks from a random moment on, so keys after a long gap in time are likelier: good enough to evict by.
    pub fn sample_expiring(&self, random: u64) -> Option<Entry<'_>> {
        let (&(first, _), &(last, _)) = (self.expiries.first()?, self.expiries.last()?);
        let at = first + if last > first { random % (last - first + 1) } else { 0 };
        let hash_from = random.rotate_left(32);
        let found = self.expiries.range((at, hash_from)..).next().or_else(|| self.expiries.first());
        let &(at, hash) = found?;
        self.table.find_by_hash(hash, &mut |entry| entry.expiry_ms() == Some(at))
    }

    /// Takes everything out, leaving an empty database; how many keys there were.
    pub(super) fn empty_into(&mut self, garbage: &mut Garbage) -> usize {
        let table = self.table.take();
        let count = table.len();
        let expiries = [core::mem::take(&mut self.expiries), core::mem::take(&mut self.field_expiries)];
        garbage.discard_table(table, expiries);
        self.object_bytes = 0;
        count
    }

    fn settle(&mut self, hash: u64, previous: Previous<Object>, keep_expiry: bool) {
        if let Some(object) = previous.object {
            self.object_bytes -= object.memory();
            self.move_field_expiry(hash, object.next_expiry_ms(), None);
            self.discard(object);
        }
        if let Some(at) = previous.expiry_ms
            && !keep_expiry
        {
            self.expiries.remove(&(at, hash));
        }
    }

    /// The earliest expiry of a hash's fields is another one now.
    fn move_field_expiry(&mut self, hash: u64, from: Option<u64>, to: Option<u64>) {
        if from == to {
            return;
        }
        if let Some(at) = from {
            self.field_expiries.remove(&(at, hash));
        }
        if let Some(at) = to {
            self.field_expiries.insert((at, hash));
        }
    }
}

/// Bytes of one key with its value, as MEMORY USAGE counts them.
pub fn entry_memory(entry: Entry<'_>) -> usize {
    let (own, outside) = match entry.content() {
        ContentRef::Int(_) => (8, 0),
        ContentRef::Bytes(bytes) => (bytes.len() + 1, 0),
        ContentRef::Object(object) => (core::mem::size_of::<Object>(), object.memory()),
    };
    let expiry = if entry.expiry_ms().is_some() { 8 + EXPIRY_BYTES } else { 0 };
    // 4: meta, 2: key length and flags, 9: slot and tag in the table.
    perdura_structures::alloc_size::alloc_size(entry.key().len() + own + 6) + outside + 9 + expiry
}
