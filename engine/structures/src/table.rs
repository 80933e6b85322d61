//! The table of a keyspace: byte-string keys to an integer, a short string, or an object.
//!
//! Exists because a keyspace is millions of small entries: one allocation holds key, clock, expiry and small value, so that
//! a look-up touches the least memory and an entry costs little more than its bytes.
//!
//! ```text
//!   | meta u32 | shape u32 | long lengths 2 × u32 | expiry ms u64 | i64 or object | key … | string … |
//!                            only if long           only if set     not of strings          only of strings
//! ```
//!
//! Always true: at most one entry per key; an entry's layout follows from its shape alone; iteration, scan and sample
//! depend only on the seed and on what was done before; `memory` is the sum over what is allocated.
//!
//! Not here: finding a place by hash (`raw_table.rs`), what meta counts, when expired keys go, and what objects own.

use crate::alloc_size::alloc_size;
use crate::hash::KeyHasher;
use crate::raw_table::{Entry, Position, RawIter, RawRemains, RawTable};
use alloc::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::mem::{align_of, size_of};
use core::ptr::NonNull;

/// The content of an entry, borrowed.
#[derive(Debug, PartialEq, Eq)]
pub enum ContentRef<'a, O> {
    /// An integer.
    Int(i64),
    /// A byte string.
    Bytes(&'a [u8]),
    /// Anything else.
    Object(&'a O),
}

impl<O> Clone for ContentRef<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for ContentRef<'_, O> {}

/// The content of an entry, to be changed in place; a string keeps its length.
#[derive(Debug, PartialEq, Eq)]
pub enum ContentMut<'a, O> {
    /// An integer.
    Int(&'a mut i64),
    /// A byte string.
    Bytes(&'a mut [u8]),
    /// Anything else.
    Object(&'a mut O),
}

/// The content of an entry that is no longer in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<O> {
    /// An integer.
    Int(i64),
    /// A byte string.
    Bytes(Vec<u8>),
    /// Anything else.
    Object(O),
}

/// What a key had before it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous<O> {
    /// Whether the key was in the table.
    pub existed: bool,
    /// When the key would have expired, also where that was kept.
    pub expiry_ms: Option<u64>,
    /// Its object, if it was one: the caller decides where a large one is freed.
    pub object: Option<O>,
}

/// What was taken out of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed<O> {
    /// The value.
    pub content: Content<O>,
    /// When the key would have expired.
    pub expiry_ms: Option<u64>,
    /// Its clock.
    pub meta: u32,
}

/// A map from byte strings to contents. Every `hash` argument is `hash(key)` of this table.
pub struct Table<O> {
    raw: RawTable,
    hasher: KeyHasher,
    /// What the entries occupy, in size classes.
    entry_bytes: usize,
    objects: PhantomData<O>,
}

// SAFETY: the table owns its entries alone; they hold plain bytes and values of type O.
unsafe impl<O: Send> Send for Table<O> {}
// SAFETY: through a shared table only shared references to its values are handed out.
unsafe impl<O: Sync> Sync for Table<O> {}

impl<O> Table<O> {
    /// An empty table, which owns no memory. The seed decides every order in it.
    pub fn new(seed: u64) -> Self {
        Self::with_hasher(KeyHasher::new(seed))
    }

    fn with_hasher(hasher: KeyHasher) -> Self {
        Self { raw: RawTable::new(), hasher, entry_bytes: 0, objects: PhantomData }
    }

    /// Number of keys.
    #[inline]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there is no key.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash by which this table knows `key`.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    /// Starts loading what look-ups of these keys will need, given their hashes: the keys of a batch, about to be looked up
    /// one after the other. Each of the three steps is made for all of them before the next, so that the waits for memory
    /// overlap.
    #[inline]
    pub fn prefetch(&self, hashes: &[u64]) {
        /// As many as a cache holds lines for, four of them each.
        const HASHES_MAX: usize = 64;
        for hashes in hashes.chunks(HASHES_MAX) {
            let mut candidates = [None; HASHES_MAX];
            hashes.iter().for_each(|&hash| self.raw.prefetch(hash));
            for (place, &hash) in candidates.iter_mut().zip(hashes) {
                *place = self.raw.prefetch_slots(hash);
            }
            candidates[..hashes.len()].iter().flatten().for_each(|found| found.prefetch_entries());
        }
    }

    /// The entry of `key`.
    #[inline]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<EntryRef<'_, O>> {
        self.find(hash, key).map(|position| EntryRef::new(position.entry()))
    }

    /// The entry of `key`, its clock set to what `touch` makes of the present one.
    #[inline]
    pub fn get_touching(
        &mut self,
        hash: u64,
        key: &[u8],
        touch: impl FnOnce(u32) -> u32,
    ) -> Option<EntryRef<'_, O>> {
        let mut entry = self.get_mut(hash, key)?;
        let (old, new) = (entry.meta(), touch(entry.meta()));
        // A page that is written to is copied while a child shares it.
        if new != old {
            entry.set_meta(new);
        }
        Some(EntryRef::new(entry.entry()))
    }

    /// The entry of `key`, to be changed.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<EntryMut<'_, O>> {
        self.find(hash, key).map(|position| EntryMut { table: self, position })
    }

    /// Makes `key` hold an integer. `keep_expiry`: whether an expiry it has stays.
    #[inline]
    pub fn set_int(
        &mut self,
        hash: u64,
        key: &[u8],
        value: i64,
        meta: u32,
        keep_expiry: bool,
    ) -> Previous<O> {
        self.set(hash, key, Stored::Int(value), meta, keep_expiry)
    }

    /// Makes `key` hold a string. `keep_expiry`: whether an expiry it has stays.
    #[inline]
    pub fn set_bytes(
        &mut self,
        hash: u64,
        key: &[u8],
        value: &[u8],
        meta: u32,
        keep_expiry: bool,
    ) -> Previous<O> {
        self.set(hash, key, Stored::Bytes(value), meta, keep_expiry)
    }

    /// Makes `key` hold an object. `keep_expiry`: whether an expiry it has stays.
    #[inline]
    pub fn set_object(
        &mut self,
        hash: u64,
        key: &[u8],
        value: O,
        meta: u32,
        keep_expiry: bool,
    ) -> Previous<O> {
        self.set(hash, key, Stored::Object(value), meta, keep_expiry)
    }

    /// Takes `key` out.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Removed<O>> {
        let position = self.find(hash, key)?;
        let entry = self.raw.remove(hash, position);
        self.entry_bytes -= alloc_size(Form::read::<O>(entry).size);
        let (expiry_ms, meta) = (expiry_ms::<O>(entry), meta(entry));
        // SAFETY: the entry is no longer in the table, so nothing else refers to it.
        let content = unsafe { take_apart(entry) };
        Some(Removed { content, expiry_ms, meta })
    }

    /// The first entry with exactly this hash that `accept` takes.
    pub fn find_by_hash(
        &self,
        hash: u64,
        accept: &mut dyn FnMut(&EntryRef<'_, O>) -> bool,
    ) -> Option<EntryRef<'_, O>> {
        let is_match = |entry| self.hash(key::<O>(entry)) == hash && accept(&EntryRef::new(entry));
        self.raw.find(hash, is_match).map(|position| EntryRef::new(position.entry()))
    }

    /// Hands some entries to `emit` and returns the cursor that goes on after them; 0 starts, and 0 ends.
    ///
    /// A key that is there from the first call to the last is emitted at least once, whatever else is set or removed
    /// in between. One call emits a few dozen entries, or none.
    pub fn scan(&self, cursor: u64, emit: &mut dyn FnMut(EntryRef<'_, O>)) -> u64 {
        self.raw.scan(cursor, |entry| emit(EntryRef::new(entry)))
    }

    /// All entries in the order of `scan`, which depends on the seed and on history alone.
    pub fn iter(&self) -> Iter<'_, O> {
        Iter { raw: self.raw.iter(), objects: PhantomData }
    }

    /// An entry chosen by `random`, each about equally likely; `None` only if there is none.
    pub fn sample(&self, random: u64) -> Option<EntryRef<'_, O>> {
        self.raw.sample(random).map(EntryRef::new)
    }

    /// Removes and frees everything.
    pub fn clear(&mut self) {
        drop(self.take());
    }

    /// Hands over everything and leaves an empty table with the same seed.
    pub fn take(&mut self) -> Self {
        let empty = Self::with_hasher(self.hasher);
        core::mem::replace(self, empty)
    }

    /// Gives up being a table, to be freed a little at a time.
    pub fn into_remains(mut self) -> Remains<O> {
        let raw = RawRemains::new(core::mem::take(&mut self.raw));
        Remains { raw, objects: PhantomData }
    }

    /// Bytes of all allocations of the table, rounded as the allocator does; not what objects own.
    pub fn memory(&self) -> usize {
        self.raw.memory() + self.entry_bytes
    }

    #[inline]
    fn find(&self, hash: u64, wanted: &[u8]) -> Option<Position> {
        debug_assert_eq!(hash, self.hash(wanted), "the hash of another key, or of another table");
        self.raw.find(hash, |entry| is_equal(key::<O>(entry), wanted))
    }

    #[inline]
    fn set(
        &mut self,
        hash: u64,
        key: &[u8],
        value: Stored<'_, O>,
        meta: u32,
        keep_expiry: bool,
    ) -> Previous<O> {
        let Some(position) = self.find(hash, key) else {
            let entry = self.allocate(key, value, None, meta);
            let hasher = self.hasher;
            self.raw.insert(hash, entry, |entry| hasher.hash(self::key::<O>(entry)));
            return Previous { existed: false, expiry_ms: None, object: None };
        };
        let mut entry = EntryMut { table: self, position };
        let expiry_ms = entry.expiry_ms();
        entry.set_meta(meta);
        let object = entry.replace(value, expiry_ms.filter(|_| keep_expiry));
        Previous { existed: true, expiry_ms, object }
    }

    /// A new entry, accounted for but not yet in the table.
    fn allocate(&mut self, key: &[u8], value: Stored<'_, O>, expiry_ms: Option<u64>, meta: u32) -> Entry {
        let (entry, size) = write_entry(key, value, expiry_ms, meta);
        self.entry_bytes += alloc_size(size);
        entry
    }

    /// Panics unless the table's figures agree with its entries.
    #[cfg(test)]
    fn check(&self) {
        self.raw.check(|entry| self.hash(key::<O>(entry)));
        let entry_bytes: usize = self.raw.iter().map(|entry| alloc_size(Form::read::<O>(entry).size)).sum();
        assert_eq!(self.entry_bytes, entry_bytes);
    }
}

impl<O: Clone> Clone for Table<O> {
    /// A deep copy that iterates, scans and samples in the same order.
    fn clone(&self) -> Self {
        let clone_entry = |entry| {
            let value = match content::<O>(entry) {
                ContentRef::Int(value) => Stored::Int(value),
                ContentRef::Bytes(value) => Stored::Bytes(value),
                ContentRef::Object(value) => Stored::Object(value.clone()),
            };
            write_entry(key::<O>(entry), value, expiry_ms::<O>(entry), meta(entry)).0
        };
        let raw = self.raw.clone_with(clone_entry);
        Self { raw, hasher: self.hasher, entry_bytes: self.entry_bytes, objects: PhantomData }
    }
}

impl<O> Drop for Table<O> {
    fn drop(&mut self) {
        for entry in self.raw.iter() {
            // SAFETY: each entry is visited once, and the table that held it is never used again.
            unsafe { free::<O>(entry) }
        }
    }
}

/// What is left of a table, to be freed a little at a time; dropping it frees the rest.
pub struct Remains<O> {
    raw: RawRemains,
    objects: PhantomData<O>,
}

// SAFETY: the remains own their entries alone; they hold plain bytes and values of type O.
unsafe impl<O: Send> Send for Remains<O> {}
// SAFETY: through shared remains nothing is handed out.
unsafe impl<O: Sync> Sync for Remains<O> {}

impl<O> Remains<O> {
    /// Frees a few dozen entries; how many, 0 when none is left. Objects go to `take`.
    pub fn free_some(&mut self, take: &mut dyn FnMut(O)) -> usize {
        loop {
            let free_entry = |entry| {
                // SAFETY: each entry is taken out once, so nothing else refers to it.
                if let Some(object) = unsafe { take_object(entry) } {
                    take(object);
                }
            };
            match self.raw.take_some(free_entry) {
                None => return 0,
                Some(0) => {} // An empty segment is no end.
                Some(count) => return count,
            }
        }
    }
}

impl<O> Drop for Remains<O> {
    fn drop(&mut self) {
        while self.free_some(&mut drop) > 0 {}
    }
}

/// A key with its content, shared.
pub struct EntryRef<'a, O> {
    entry: Entry,
    table: PhantomData<&'a O>,
}

impl<O> Clone for EntryRef<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for EntryRef<'_, O> {}

impl<'a, O> EntryRef<'a, O> {
    /// `entry` is in a table that is borrowed for 'a.
    #[inline]
    fn new(entry: Entry) -> Self {
        Self { entry, table: PhantomData }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        key::<O>(self.entry)
    }

    /// The value.
    #[inline]
    pub fn content(&self) -> ContentRef<'a, O> {
        content(self.entry)
    }

    /// Absolute time of expiry in milliseconds, if one is set.
    #[inline]
    pub fn expiry_ms(&self) -> Option<u64> {
        expiry_ms::<O>(self.entry)
    }

    /// The clock of the last access, or its frequency: whatever was last set.
    #[inline]
    pub fn meta(&self) -> u32 {
        meta(self.entry)
    }
}

/// A key with its content, exclusive.
pub struct EntryMut<'a, O> {
    table: &'a mut Table<O>,
    position: Position,
}

impl<O> EntryMut<'_, O> {
    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        key::<O>(self.entry())
    }

    /// The value.
    #[inline]
    pub fn content(&self) -> ContentRef<'_, O> {
        content(self.entry())
    }

    /// The value, to be changed in place.
    #[inline]
    pub fn content_mut(&mut self) -> ContentMut<'_, O> {
        let entry = self.entry();
        let form = Form::read::<O>(entry);
        // SAFETY: the form was read from this live entry, whose table is borrowed exclusively for as long as the
        // result lives.
        unsafe {
            match form.kind {
                Kind::Int => ContentMut::Int(entry.add(form.fixed_at).cast().as_mut()),
                Kind::Object => ContentMut::Object(entry.add(form.fixed_at).cast().as_mut()),
                Kind::Bytes => {
                    let start = entry.add(form.key_at + form.key_len);
                    ContentMut::Bytes(NonNull::slice_from_raw_parts(start, form.value_len).as_mut())
                }
            }
        }
    }

    /// Absolute time of expiry in milliseconds, if one is set.
    #[inline]
    pub fn expiry_ms(&self) -> Option<u64> {
        expiry_ms::<O>(self.entry())
    }

    /// The clock of the last access, or its frequency: whatever was last set.
    #[inline]
    pub fn meta(&self) -> u32 {
        meta(self.entry())
    }

    /// Sets the clock.
    #[inline]
    pub fn set_meta(&mut self, meta: u32) {
        // SAFETY: the entry is live and exclusively borrowed; meta is its first field.
        unsafe { self.entry().cast::<u32>().write(meta) }
    }

    /// Sets, moves or removes the expiry.
    pub fn set_expiry(&mut self, expiry_ms: Option<u64>) {
        let entry = self.entry();
        let form = Form::read::<O>(entry);
        match (form.has_expiry, expiry_ms) {
            (false, None) => {}
            // SAFETY: the form says that this live, exclusively borrowed entry has an expiry at this place.
            (true, Some(expiry_ms)) => unsafe { entry.add(form.expiry_at).cast::<u64>().write(expiry_ms) },
            // SAFETY: an object is moved out of the old entry, which is freed without dropping it.
            _ => unsafe {
                let value = match content::<O>(entry) {
                    ContentRef::Int(value) => Stored::Int(value),
                    ContentRef::Bytes(value) => Stored::Bytes(value),
                    ContentRef::Object(value) => Stored::Object(core::ptr::read(value)),
                };
                let old = self.renew(value, expiry_ms);
                free_shell::<O>(old);
            },
        }
    }

    /// Makes the value an integer; gives back the object it was. The expiry stays.
    pub fn set_int(&mut self, value: i64) -> Option<O> {
        self.replace(Stored::Int(value), self.expiry_ms())
    }

    /// Makes the value a string; gives back the object it was. The expiry stays.
    pub fn set_bytes(&mut self, value: &[u8]) -> Option<O> {
        self.replace(Stored::Bytes(value), self.expiry_ms())
    }

    /// Makes the value an object; gives back the object it was. The expiry stays.
    pub fn set_object(&mut self, value: O) -> Option<O> {
        self.replace(Stored::Object(value), self.expiry_ms())
    }

    #[inline]
    fn entry(&self) -> Entry {
        self.position.entry()
    }

    /// Writes value and expiry, in place where the form of the entry stays as it is.
    fn replace(&mut self, value: Stored<'_, O>, expiry_ms: Option<u64>) -> Option<O> {
        if self.expiry_ms().is_some() != expiry_ms.is_some() {
            return self.replace_by_move(value, expiry_ms);
        }
        if expiry_ms.is_some() {
            self.set_expiry(expiry_ms);
        }
        match (self.content_mut(), value) {
            (ContentMut::Int(place), Stored::Int(value)) => *place = value,
            (ContentMut::Object(place), Stored::Object(value)) => {
                return Some(core::mem::replace(place, value));
            }
            (ContentMut::Bytes(place), Stored::Bytes(value)) if place.len() == value.len() => {
                place.copy_from_slice(value);
            }
            (_, value) => return self.replace_by_move(value, expiry_ms),
        }
        None
    }

    fn replace_by_move(&mut self, value: Stored<'_, O>, expiry_ms: Option<u64>) -> Option<O> {
        // SAFETY: an object is moved out of the old entry, which is freed without dropping it.
        unsafe {
            let object = match self.content() {
                ContentRef::Object(object) => Some(core::ptr::read(object)),
                ContentRef::Int(_) | ContentRef::Bytes(_) => None,
            };
            let old = self.renew(value, expiry_ms);
            free_shell::<O>(old);
            object
        }
    }

    /// Puts a new allocation with the same key and meta in the place of this entry, and gives the old one, which the caller frees
    /// without its object. Not freed here: the value may borrow from it, and what an argument borrows has to live as long as
    /// the function runs (Miri found it freed before).
    fn renew(&mut self, value: Stored<'_, O>, expiry_ms: Option<u64>) -> Entry {
        let old = self.entry();
        let new = self.table.allocate(key::<O>(old), value, expiry_ms, meta(old));
        self.position.replace(new);
        self.table.entry_bytes -= alloc_size(Form::read::<O>(old).size);
        old
    }
}

/// Iterates over all entries of a table.
pub struct Iter<'a, O> {
    raw: RawIter<'a>,
    objects: PhantomData<&'a O>,
}

impl<'a, O> Iterator for Iter<'a, O> {
    type Item = EntryRef<'a, O>;

    #[inline]
    fn next(&mut self) -> Option<EntryRef<'a, O>> {
        self.raw.next().map(EntryRef::new)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.raw.size_hint()
    }
}

impl<O> ExactSizeIterator for Iter<'_, O> {}

impl<'a, O> IntoIterator for &'a Table<O> {
    type Item = EntryRef<'a, O>;
    type IntoIter = Iter<'a, O>;

    fn into_iter(self) -> Iter<'a, O> {
        self.iter()
    }
}

/// A content on its way into an entry.
enum Stored<'a, O> {
    Int(i64),
    Bytes(&'a [u8]),
    Object(O),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Bytes,
    Object,
}

// The shape, from the lowest bit: kind, has expiry, is long, length of the key, length of a string. An entry whose
// lengths do not fit is long: both follow as u32 behind the shape, and the bits for them are 0.
const KIND_BITS: u32 = 2;
const EXPIRY_BIT: u32 = 1 << 2;
const LONG_BIT: u32 = 1 << 3;
const KEY_LEN_SHIFT: u32 = 4;
const KEY_LEN_BITS: u32 = 12;
const VALUE_LEN_SHIFT: u32 = KEY_LEN_SHIFT + KEY_LEN_BITS;
const VALUE_LEN_BITS: u32 = 32 - VALUE_LEN_SHIFT;

const META_AND_SHAPE_SIZE: usize = 8;
const ENTRY_ALIGN: usize = 8;

/// Where everything is within an entry: its shape, spelled out.
struct Form {
    kind: Kind,
    has_expiry: bool,
    is_long: bool,
    key_len: usize,
    /// 0 unless the content is a string.
    value_len: usize,
    expiry_at: usize,
    /// Of the integer or the object; it is followed by the key, and that by a string.
    fixed_at: usize,
    key_at: usize,
    size: usize,
}

impl Form {
    #[inline]
    fn new<O>(kind: Kind, has_expiry: bool, is_long: bool, key_len: usize, value_len: usize) -> Self {
        const { assert!(align_of::<O>() <= ENTRY_ALIGN) };
        let fixed_size = match kind {
            Kind::Int => size_of::<i64>(),
            Kind::Object => size_of::<O>(),
            Kind::Bytes => 0,
        };
        let expiry_at = META_AND_SHAPE_SIZE + if is_long { 2 * size_of::<u32>() } else { 0 };
        let fixed_at = expiry_at + if has_expiry { size_of::<u64>() } else { 0 };
        let key_at = fixed_at + fixed_size;
        let size = key_at + key_len + value_len;
        Self { kind, has_expiry, is_long, key_len, value_len, expiry_at, fixed_at, key_at, size }
    }

    /// The form of a live entry of a `Table<O>`.
    #[inline]
    fn read<O>(entry: Entry) -> Self {
        // SAFETY: an entry is live for as long as the table or the caller has it, and starts with meta and shape.
        let shape = unsafe { entry.cast::<u32>().add(1).read() };
        let kind = match shape & ((1 << KIND_BITS) - 1) {
            0 => Kind::Int,
            1 => Kind::Bytes,
            _ => Kind::Object,
        };
        let is_long = shape & LONG_BIT != 0;
        let (key_len, value_len) = match is_long {
            // SAFETY: a long entry has its two lengths behind meta and shape.
            true => unsafe { (entry.cast::<u32>().add(2).read(), entry.cast::<u32>().add(3).read()) },
            false => (shape >> KEY_LEN_SHIFT & ((1 << KEY_LEN_BITS) - 1), shape >> VALUE_LEN_SHIFT),
        };
        Self::new::<O>(kind, shape & EXPIRY_BIT != 0, is_long, key_len as usize, value_len as usize)
    }

    /// Writes the shape, and the long lengths, of an entry with this form.
    ///
    /// # Safety
    /// `entry` is an allocation of at least `size` bytes, aligned to `ENTRY_ALIGN`.
    unsafe fn write(&self, entry: Entry) {
        let kind = match self.kind {
            Kind::Int => 0,
            Kind::Bytes => 1,
            Kind::Object => 2,
        };
        let mut shape = kind | if self.has_expiry { EXPIRY_BIT } else { 0 };
        let (key_len, value_len) = (self.key_len as u32, self.value_len as u32);
        match self.is_long {
            true => {
                shape |= LONG_BIT;
                // SAFETY: the caller's promise; a long form has room for both.
                unsafe {
                    entry.cast::<u32>().add(2).write(key_len);
                    entry.cast::<u32>().add(3).write(value_len);
                }
            }
            false => shape |= key_len << KEY_LEN_SHIFT | value_len << VALUE_LEN_SHIFT,
        }
        // SAFETY: the caller's promise; every form has room for meta and shape.
        unsafe { entry.cast::<u32>().add(1).write(shape) }
    }

    fn layout(&self) -> Layout {
        Layout::from_size_align(self.size, ENTRY_ALIGN).expect("lengths of 32 bits fit the address space")
    }
}

/// Allocates an entry and writes all of it; also gives its size.
///
/// # Panics
/// If key or string are longer than 32 bits can say: the caller has a far lower limit.
fn write_entry<O>(key: &[u8], value: Stored<'_, O>, expiry_ms: Option<u64>, meta: u32) -> (Entry, usize) {
    let (kind, bytes) = match &value {
        Stored::Int(_) => (Kind::Int, &[][..]),
        Stored::Bytes(bytes) => (Kind::Bytes, *bytes),
        Stored::Object(_) => (Kind::Object, &[][..]),
    };
    assert!(key.len() <= u32::MAX as usize);
    assert!(bytes.len() <= u32::MAX as usize);
    let is_long = key.len() >= 1 << KEY_LEN_BITS || bytes.len() >= 1 << VALUE_LEN_BITS;
    let form = Form::new::<O>(kind, expiry_ms.is_some(), is_long, key.len(), bytes.len());
    let layout = form.layout();
    // SAFETY: the layout is never empty, since it has room for meta and shape.
    let Some(entry) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
    // SAFETY: the new allocation has room for everything at the place that the form gives it, and is aligned for
    // the integer or the object because all that precedes them has a size divisible by 8.
    unsafe {
        entry.cast::<u32>().write(meta);
        form.write(entry);
        if let Some(expiry_ms) = expiry_ms {
            entry.add(form.expiry_at).cast::<u64>().write(expiry_ms);
        }
        let key_start = entry.add(form.key_at).as_ptr();
        key_start.copy_from_nonoverlapping(key.as_ptr(), key.len());
        key_start.add(key.len()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        match value {
            Stored::Int(value) => entry.add(form.fixed_at).cast::<i64>().write(value),
            Stored::Object(value) => entry.add(form.fixed_at).cast::<O>().write(value),
            Stored::Bytes(_) => {}
        }
    }
    (entry, form.size)
}

// The four readers below take a live entry of a `Table<O>`, and give references that live as long as their caller
// says: `EntryRef` and `EntryMut`, the only ones to hand them out, tie them to the borrowed table.

#[inline]
fn key<'a, O>(entry: Entry) -> &'a [u8] {
    let form = Form::read::<O>(entry);
    // SAFETY: the form was read from this live entry, which has its key there.
    unsafe { NonNull::slice_from_raw_parts(entry.add(form.key_at), form.key_len).as_ref() }
}

/// Whether two keys are the same. Keys are short, so this is quicker than a call of `memcmp`.
#[inline]
fn is_equal(left: &[u8], right: &[u8]) -> bool {
    const WORD: usize = size_of::<u64>();
    let len = left.len();
    if len != right.len() || len < WORD {
        return left == right;
    }
    let word = |bytes: &[u8], at: usize| bytes[at..at + WORD].first_chunk::<WORD>().copied();
    let mut at = 0;
    while at + WORD < len {
        if word(left, at) != word(right, at) {
            return false;
        }
        at += WORD;
    }
    // The last word overlaps the one before it unless the length is a multiple of eight.
    word(left, len - WORD) == word(right, len - WORD)
}

#[inline]
fn content<'a, O>(entry: Entry) -> ContentRef<'a, O> {
    let form = Form::read::<O>(entry);
    // SAFETY: the form was read from this live entry, which has a content of this kind there.
    unsafe {
        match form.kind {
            Kind::Int => ContentRef::Int(entry.add(form.fixed_at).cast().read()),
            Kind::Object => ContentRef::Object(entry.add(form.fixed_at).cast().as_ref()),
            Kind::Bytes => {
                let start = entry.add(form.key_at + form.key_len);
                ContentRef::Bytes(NonNull::slice_from_raw_parts(start, form.value_len).as_ref())
            }
        }
    }
}

#[inline]
fn expiry_ms<O>(entry: Entry) -> Option<u64> {
    let form = Form::read::<O>(entry);
    // SAFETY: the form was read from this live entry and says that it has an expiry.
    form.has_expiry.then(|| unsafe { entry.add(form.expiry_at).cast().read() })
}

#[inline]
fn meta(entry: Entry) -> u32 {
    // SAFETY: an entry is live for as long as the table or the caller has it, and starts with meta.
    unsafe { entry.cast().read() }
}

/// Frees an entry and gives its content away.
///
/// # Safety
/// `entry` is a live entry of a `Table<O>` that nothing refers to any more.
unsafe fn take_apart<O>(entry: Entry) -> Content<O> {
    // SAFETY: the caller's promise; an object is moved out, and its entry freed without dropping it.
    unsafe {
        let content = match content::<O>(entry) {
            ContentRef::Int(value) => Content::Int(value),
            ContentRef::Bytes(value) => Content::Bytes(value.to_vec()),
            ContentRef::Object(value) => Content::Object(core::ptr::read(value)),
        };
        free_shell::<O>(entry);
        content
    }
}

/// Frees an entry and gives away its object, if it is one.
///
/// # Safety
/// `entry` is a live entry of a `Table<O>` that nothing refers to any more.
unsafe fn take_object<O>(entry: Entry) -> Option<O> {
    let form = Form::read::<O>(entry);
    // SAFETY: the caller's promise; an object is moved out, and its entry freed without dropping it.
    unsafe {
        let object = (form.kind == Kind::Object).then(|| entry.add(form.fixed_at).cast::<O>().read());
        free_shell::<O>(entry);
        object
    }
}

/// Frees an entry and drops its object.
///
/// # Safety
/// `entry` is a live entry of a `Table<O>` that nothing refers to any more.
unsafe fn free<O>(entry: Entry) {
    // SAFETY: the caller's promise; the object is moved out first, so that its own drop may do what it likes.
    drop(unsafe { take_object::<O>(entry) });
}

/// Frees an entry without dropping its object.
///
/// # Safety
/// `entry` is a live entry of a `Table<O>` that nothing refers to any more, and its object has been moved out.
unsafe fn free_shell<O>(entry: Entry) {
    // SAFETY: every entry is allocated in `write_entry`, with the layout of the form that it still has.
    unsafe { dealloc(entry.as_ptr(), Form::read::<O>(entry).layout()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_size::{cases, size};
    use alloc::collections::BTreeMap;
    use alloc::string::String;
    use proptest::prelude::*;

    /// An object that owns memory, so that a sanitizer sees one that is dropped twice, or never.
    type Object = String;
    type OwnedContent = Content<Object>;

    #[derive(Clone, Debug)]
    enum Step {
        Set {
            key: u16,
            content: OwnedContent,
            meta: u32,
            keep_expiry: bool,
        },
        Replace {
            key: u16,
            content: OwnedContent,
        },
        ChangeInPlace(u16),
        Expire(u16, Option<u64>),
        Remove(u16),
        /// Keys from the first number on, so that segments split and merge without thousands of steps.
        SetMany(u16, u16),
        RemoveMany(u16, u16),
        /// Goes on with the table's clone, and drops the table.
        Clone,
        Clear,
    }

    /// Strings on both sides of the edge between short and long lengths.
    fn content() -> impl Strategy<Value = OwnedContent> {
        let len = prop_oneof![8 => 0..40usize, 1 => 65_530..65_540usize];
        prop_oneof![
            any::<i64>().prop_map(Content::Int),
            (len, any::<u8>()).prop_map(|(len, byte)| Content::Bytes(alloc::vec![byte; len])),
            any::<u16>().prop_map(|number| Content::Object(alloc::format!("object {number}"))),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = || 0..size(600, 150) as u16;
        prop_oneof![
            6 => (key(), content(), any::<u32>(), any::<bool>())
                .prop_map(|(key, content, meta, keep_expiry)| Step::Set { key, content, meta, keep_expiry }),
            3 => (key(), content()).prop_map(|(key, content)| Step::Replace { key, content }),
            2 => key().prop_map(Step::ChangeInPlace),
            4 => (key(), any::<Option<u64>>()).prop_map(|(key, expiry_ms)| Step::Expire(key, expiry_ms)),
            4 => key().prop_map(Step::Remove),
            3 => (key(), 0..size(300, 90) as u16).prop_map(|(from, count)| Step::SetMany(from, count)),
            2 => (key(), 0..size(400, 90) as u16).prop_map(|(from, count)| Step::RemoveMany(from, count)),
            1 => Just(Step::Clone),
            1 => Just(Step::Clear),
        ]
    }

    /// Keys of 0 to 40 bytes, and one of either length beside the edge to long ones.
    fn key_of(number: u16) -> Vec<u8> {
        let len = match number {
            0 => return Vec::new(),
            1 | 2 => 4094 + number as usize,
            _ => 3 + number as usize % 37,
        };
        let mut key = alloc::format!("{number:03}").into_bytes();
        key.resize(len, b'.');
        key
    }

    /// The twin: a `BTreeMap` of what was removed last if it were removed now.
    type Twin = BTreeMap<Vec<u8>, Removed<Object>>;

    fn owned(content: ContentRef<'_, Object>) -> OwnedContent {
        match content {
            ContentRef::Int(value) => Content::Int(value),
            ContentRef::Bytes(value) => Content::Bytes(value.to_vec()),
            ContentRef::Object(value) => Content::Object(value.clone()),
        }
    }

    fn owned_entry(entry: EntryRef<'_, Object>) -> Removed<Object> {
        Removed { content: owned(entry.content()), expiry_ms: entry.expiry_ms(), meta: entry.meta() }
    }

    fn object_in(content: OwnedContent) -> Option<Object> {
        match content {
            Content::Object(object) => Some(object),
            Content::Int(_) | Content::Bytes(_) => None,
        }
    }

    fn set(
        table: &mut Table<Object>,
        key: &[u8],
        content: OwnedContent,
        meta: u32,
        keep: bool,
    ) -> Previous<Object> {
        let hash = table.hash(key);
        match content {
            Content::Int(value) => table.set_int(hash, key, value, meta, keep),
            Content::Bytes(value) => table.set_bytes(hash, key, &value, meta, keep),
            Content::Object(value) => table.set_object(hash, key, value, meta, keep),
        }
    }

    fn set_in_twin(
        twin: &mut Twin,
        key: Vec<u8>,
        content: OwnedContent,
        meta: u32,
        keep: bool,
    ) -> Previous<Object> {
        let before = twin.remove(&key);
        let expiry_ms = before.as_ref().and_then(|before| before.expiry_ms);
        twin.insert(key, Removed { content, expiry_ms: expiry_ms.filter(|_| keep), meta });
        let existed = before.is_some();
        Previous { existed, expiry_ms, object: before.and_then(|before| object_in(before.content)) }
    }

    fn change_in_place(content: ContentMut<'_, Object>) {
        match content {
            ContentMut::Int(value) => *value = value.wrapping_add(1),
            ContentMut::Bytes(value) => value.reverse(),
            ContentMut::Object(value) => value.push_str(" changed"),
        }
    }

    fn content_mut(content: &mut OwnedContent) -> ContentMut<'_, Object> {
        match content {
            Content::Int(value) => ContentMut::Int(value),
            Content::Bytes(value) => ContentMut::Bytes(value),
            Content::Object(value) => ContentMut::Object(value),
        }
    }

    fn take_step(table: &mut Table<Object>, twin: &mut Twin, step: Step) {
        match step {
            Step::Set { key, content, meta, keep_expiry } => {
                let key = key_of(key);
                let ours = set(table, &key, content.clone(), meta, keep_expiry);
                assert_eq!(ours, set_in_twin(twin, key, content, meta, keep_expiry));
            }
            Step::Replace { key, content } => {
                let key = key_of(key);
                let Some(mut ours) = table.get_mut(table.hash(&key), &key) else {
                    return assert!(!twin.contains_key(&key));
                };
                let object = match content.clone() {
                    Content::Int(value) => ours.set_int(value),
                    Content::Bytes(value) => ours.set_bytes(&value),
                    Content::Object(value) => ours.set_object(value),
                };
                let before =
                    core::mem::replace(&mut twin.get_mut(&key).expect("ours has it").content, content);
                assert_eq!(object, object_in(before));
            }
            Step::ChangeInPlace(key) => {
                let key = key_of(key);
                if let Some(mut entry) = table.get_mut(table.hash(&key), &key) {
                    assert_eq!(entry.key(), key);
                    change_in_place(entry.content_mut());
                    entry.set_meta(entry.meta() ^ 1);
                    let entry = twin.get_mut(&key).expect("ours has it");
                    change_in_place(content_mut(&mut entry.content));
                    entry.meta ^= 1;
                }
            }
            Step::Expire(key, expiry_ms) => {
                let key = key_of(key);
                if let Some(mut entry) = table.get_mut(table.hash(&key), &key) {
                    entry.set_expiry(expiry_ms);
                    assert_eq!(entry.expiry_ms(), expiry_ms);
                    twin.get_mut(&key).expect("ours has it").expiry_ms = expiry_ms;
                }
            }
            Step::Remove(key) => {
                let key = key_of(key);
                assert_eq!(table.remove(table.hash(&key), &key), twin.remove(&key));
            }
            Step::SetMany(from, count) => {
                for key in (from..from + count).map(key_of) {
                    let ours = set(table, &key, Content::Int(7), 8, false);
                    assert_eq!(ours, set_in_twin(twin, key, Content::Int(7), 8, false));
                }
            }
            Step::RemoveMany(from, count) => {
                for key in (from..from + count).map(key_of) {
                    assert_eq!(table.remove(table.hash(&key), &key), twin.remove(&key));
                }
            }
            Step::Clone => *table = table.clone(),
            Step::Clear => {
                table.clear();
                twin.clear();
            }
        }
    }

    fn check_against_twin(table: &Table<Object>, twin: &Twin) {
        table.check();
        assert_eq!((table.len(), table.is_empty()), (twin.len(), twin.is_empty()));
        let listed: Twin = table.iter().map(|entry| (entry.key().to_vec(), owned_entry(entry))).collect();
        assert_eq!((&listed, table.iter().count()), (twin, twin.len()));
        for (key, wanted) in twin {
            let hash = table.hash(key);
            table.prefetch(&[hash, !hash]);
            assert_eq!(table.get(hash, key).map(owned_entry).as_ref(), Some(wanted));
            let found = table.find_by_hash(hash, &mut |entry| entry.expiry_ms() == wanted.expiry_ms);
            assert_eq!(found.map(|entry| entry.key()), Some(&key[..]));
            assert!(table.find_by_hash(hash, &mut |_| false).is_none());
        }
        let absent = b"never set";
        assert!(table.get(table.hash(absent), absent).is_none());
        assert_eq!(table.sample(twin.len() as u64).is_some(), !twin.is_empty());
    }

    proptest! {
        #![proptest_config(cases(96, 2))]

        #[test]
        fn table_does_what_a_btree_map_does(seed: u64, steps in prop::collection::vec(step(), 1..size(40, 15))) {
            let (mut table, mut twin) = (Table::new(seed), Twin::new());
            for (turn, step) in steps.into_iter().enumerate() {
                take_step(&mut table, &mut twin, step);
                if turn % size(1, 6) == 0 {
                    check_against_twin(&table, &twin);
                }
            }
            check_against_twin(&table, &twin);
        }

        /// What could go wrong: a split, a merge or a move takes an entry behind the cursor. This would notice
        /// because every key that was there from the first call to the last is looked for among those seen.
        #[test]
        fn scan_misses_no_lasting_key(
            seed: u64,
            start in 0..size(3000, 200) as u16,
            changes in prop::collection::vec(
                (any::<bool>(), 0..size(6000, 400) as u16, 0..size(400, 40) as u16),
                0..size(200, 12),
            ),
        ) {
            let (mut table, mut twin) = (Table::new(seed), Twin::new());
            take_step(&mut table, &mut twin, Step::SetMany(0, start));
            let (mut lasting, mut seen) = (twin.clone(), Twin::new());
            let (mut cursor, mut changes) = (0, changes.into_iter());
            loop {
                cursor = table.scan(cursor, &mut |entry| _ = seen.insert(entry.key().to_vec(), owned_entry(entry)));
                if cursor == 0 {
                    break;
                }
                if let Some((is_set, from, count)) = changes.next() {
                    let change = if is_set { Step::SetMany(from, count) } else { Step::RemoveMany(from, count) };
                    take_step(&mut table, &mut twin, change);
                    lasting.retain(|key, _| twin.contains_key(key));
                }
            }
            prop_assert!(lasting.keys().all(|key| seen.contains_key(key)));
        }
    }

    #[test]
    fn small_entries_take_the_expected_size_class() {
        let entry_size = |content: OwnedContent, expiry_ms: Option<u64>| {
            let mut table = Table::new(1);
            let key = b"key:000000000001";
            set(&mut table, key, content, 0, false);
            table.get_mut(table.hash(key), key).expect("just set").set_expiry(expiry_ms);
            table.entry_bytes
        };
        let value = || Content::Bytes(alloc::vec![b'x'; 16]);
        assert_eq!(entry_size(value(), None), 40);
        assert_eq!(entry_size(value(), Some(1)), 48);
        assert_eq!(entry_size(Content::Int(1), None), 32);
        assert_eq!(entry_size(Content::Int(1), Some(1)), 40);
    }

    #[test]
    fn take_leaves_an_empty_table_with_the_same_seed() {
        let mut table = Table::<Object>::new(5);
        set(&mut table, b"key", Content::Int(1), 0, false);
        let taken = table.take();
        assert_eq!((taken.len(), table.len(), table.memory()), (1, 0, 0));
        assert_eq!(table.hash(b"key"), taken.hash(b"key"));
    }

    #[test]
    fn the_same_history_gives_the_same_order_and_samples() {
        let len = size(500, 100) as u16;
        let fill = || {
            let mut table = Table::<Object>::new(3);
            (0..len).for_each(|number| _ = set(&mut table, &key_of(number), Content::Int(1), 0, false));
            (len / 5..len / 5 * 3)
                .for_each(|number| _ = table.remove(table.hash(&key_of(number)), &key_of(number)));
            table
        };
        let (one, two) = (fill(), fill());
        let keys = |table: &Table<Object>| -> Vec<Vec<u8>> {
            table.iter().map(|entry| entry.key().to_vec()).collect()
        };
        assert_eq!(keys(&one), keys(&two));
        assert_eq!(keys(&one), keys(&one.clone()));
        let sampled = |table: &Table<Object>, random| table.sample(random).map(|entry| entry.key().to_vec());
        assert!((0..100).all(|random| sampled(&one, random) == sampled(&two, random)));
    }
}
