//! A dict: byte-string keys to values, for the fields of hashes, the members of sets, and the server's own lists.
//!
//! Exists beside `Table` because it has no use for clocks and expiries: key and value share one allocation with four
//! bytes of length. A dict of a few entries costs a few size classes, and an empty one nothing.
//!
//! ```text
//!   | value | length of the key u32 | key … |
//! ```
//!
//! Always true: at most one entry per key; iteration, scan and sample depend only on the seed and on what was done
//! before; `memory` is the sum over what is allocated.
//!
//! Not here: finding a place by hash (`raw_table.rs`), and what values own.

use crate::alloc_size::alloc_size;
use crate::hash::KeyHasher;
use crate::raw_table::{Entry, Position, RawIter, RawRemains, RawTable};
use alloc::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use core::marker::PhantomData;
use core::mem::{align_of, size_of};
use core::ptr::NonNull;

/// A map from byte strings to values.
pub struct Dict<V> {
    raw: RawTable,
    hasher: KeyHasher,
    /// What the entries occupy, in size classes.
    entry_bytes: usize,
    values: PhantomData<V>,
}

// SAFETY: the dict owns its entries alone; they hold plain bytes and values of type V.
unsafe impl<V: Send> Send for Dict<V> {}
// SAFETY: through a shared dict only shared references to its values are handed out.
unsafe impl<V: Sync> Sync for Dict<V> {}

impl<V> Dict<V> {
    /// An empty dict, which owns no memory. The seed decides every order in it.
    pub fn new(seed: u64) -> Self {
        Self { raw: RawTable::new(), hasher: KeyHasher::new(seed), entry_bytes: 0, values: PhantomData }
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

    /// Whether `key` is in the dict.
    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.find(self.hasher.hash(key), key).is_some()
    }

    /// The value of `key`.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        let position = self.find(self.hasher.hash(key), key)?;
        // SAFETY: the entry is live while the dict is borrowed.
        Some(unsafe { value(position.entry()).as_ref() })
    }

    /// The value of `key`, to be changed.
    #[inline]
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let position = self.find(self.hasher.hash(key), key)?;
        // SAFETY: the entry is live, and only reachable through the dict, which is borrowed exclusively.
        Some(unsafe { value(position.entry()).as_mut() })
    }

    /// Makes `key` have `new`; gives back the value it had.
    pub fn insert(&mut self, key: &[u8], new: V) -> Option<V> {
        let hash = self.hasher.hash(key);
        if let Some(position) = self.find(hash, key) {
            // SAFETY: the entry is live, and only reachable through the dict, which is borrowed exclusively.
            return Some(core::mem::replace(unsafe { value(position.entry()).as_mut() }, new));
        }
        let entry = write_entry(key, new);
        self.entry_bytes += alloc_size(layout::<V>(key.len()).size());
        let hasher = self.hasher;
        self.raw.insert(hash, entry, |entry| hasher.hash(self::key::<V>(entry)));
        None
    }

    /// Takes `key` out; gives back the value it had.
    pub fn remove(&mut self, key: &[u8]) -> Option<V> {
        let hash = self.hasher.hash(key);
        let position = self.find(hash, key)?;
        let entry = self.raw.remove(hash, position);
        self.entry_bytes -= alloc_size(layout::<V>(key.len()).size());
        // SAFETY: the entry is no longer in the dict, so nothing else refers to it.
        Some(unsafe { take_apart(entry) })
    }

    /// All keys and values in the order of `scan`, which depends on the seed and on history alone.
    pub fn iter(&self) -> Iter<'_, V> {
        Iter { raw: self.raw.iter(), values: PhantomData }
    }

    /// All keys, and their values to be changed, in the order of `iter`.
    pub fn iter_mut(&mut self) -> IterMut<'_, V> {
        IterMut { raw: self.raw.iter(), values: PhantomData }
    }

    /// Hands some entries to `emit` and returns the cursor that goes on after them; 0 starts, and 0 ends.
    ///
    /// A key that is there from the first call to the last is emitted at least once, whatever else is inserted or
    /// removed in between. One call emits a few dozen entries, or none.
    pub fn scan(&self, cursor: u64, emit: &mut dyn FnMut(&[u8], &V)) -> u64 {
        // SAFETY: the entry is live while the dict is borrowed.
        self.raw.scan(cursor, |entry| emit(key::<V>(entry), unsafe { value(entry).as_ref() }))
    }

    /// An entry chosen by `random`, each about equally likely; `None` only if there is none.
    pub fn sample(&self, random: u64) -> Option<(&[u8], &V)> {
        let entry = self.raw.sample(random)?;
        // SAFETY: the entry is live while the dict is borrowed.
        Some((key::<V>(entry), unsafe { value(entry).as_ref() }))
    }

    /// Removes and frees everything.
    pub fn clear(&mut self) {
        let hasher = self.hasher;
        *self = Self { raw: RawTable::new(), hasher, entry_bytes: 0, values: PhantomData };
    }

    /// Gives up being a dict, to be freed a little at a time.
    pub fn into_remains(mut self) -> Remains<V> {
        let raw = RawRemains::new(core::mem::take(&mut self.raw));
        Remains { raw, values: PhantomData }
    }

    /// Bytes of all allocations of the dict, rounded as the allocator does; not what values own.
    pub fn memory(&self) -> usize {
        self.raw.memory() + self.entry_bytes
    }

    #[inline]
    fn find(&self, hash: u64, wanted: &[u8]) -> Option<Position> {
        self.raw.find(hash, |entry| key::<V>(entry) == wanted)
    }

    /// Panics unless the dict's figures agree with its entries.
    #[cfg(test)]
    fn check(&self) {
        self.raw.check(|entry| self.hasher.hash(key::<V>(entry)));
        let entry_bytes: usize =
            self.raw.iter().map(|entry| alloc_size(layout::<V>(key::<V>(entry).len()).size())).sum();
        assert_eq!(self.entry_bytes, entry_bytes);
    }
}

impl<V> core::fmt::Debug for Dict<V> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Dict").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<V: Clone> Clone for Dict<V> {
    /// A deep copy that iterates, scans and samples in the same order.
    fn clone(&self) -> Self {
        // SAFETY: the entry is live while the dict is borrowed.
        let clone_entry = |entry| write_entry(key::<V>(entry), unsafe { value::<V>(entry).as_ref() }.clone());
        let raw = self.raw.clone_with(clone_entry);
        Self { raw, hasher: self.hasher, entry_bytes: self.entry_bytes, values: PhantomData }
    }
}

impl<V> Drop for Dict<V> {
    fn drop(&mut self) {
        for entry in self.raw.iter() {
            // SAFETY: each entry is visited once, and the dict that held it is never used again.
            drop(unsafe { take_apart::<V>(entry) });
        }
    }
}

/// Iterates over all keys and values of a dict.
pub struct Iter<'a, V> {
    raw: RawIter<'a>,
    values: PhantomData<&'a V>,
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (&'a [u8], &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.raw.next()?;
        // SAFETY: the entry is live while the dict is borrowed, which is for 'a.
        Some((key::<V>(entry), unsafe { value(entry).as_ref() }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.raw.size_hint()
    }
}

impl<V> ExactSizeIterator for Iter<'_, V> {}

/// Iterates over all keys of a dict and their values, to be changed.
pub struct IterMut<'a, V> {
    raw: RawIter<'a>,
    values: PhantomData<&'a mut V>,
}

impl<'a, V> Iterator for IterMut<'a, V> {
    type Item = (&'a [u8], &'a mut V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.raw.next()?;
        // SAFETY: the dict is borrowed exclusively for 'a, and each entry is visited once.
        Some((key::<V>(entry), unsafe { value(entry).as_mut() }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.raw.size_hint()
    }
}

impl<V> ExactSizeIterator for IterMut<'_, V> {}

impl<'a, V> IntoIterator for &'a Dict<V> {
    type Item = (&'a [u8], &'a V);
    type IntoIter = Iter<'a, V>;

    fn into_iter(self) -> Iter<'a, V> {
        self.iter()
    }
}

impl<'a, V> IntoIterator for &'a mut Dict<V> {
    type Item = (&'a [u8], &'a mut V);
    type IntoIter = IterMut<'a, V>;

    fn into_iter(self) -> IterMut<'a, V> {
        self.iter_mut()
    }
}

const fn key_len_at<V>() -> usize {
    size_of::<V>().next_multiple_of(align_of::<u32>())
}

const fn key_at<V>() -> usize {
    key_len_at::<V>() + size_of::<u32>()
}

/// The allocation of an entry whose key has `key_len` bytes.
#[inline]
fn layout<V>(key_len: usize) -> Layout {
    let align =
        const { if align_of::<V>() > align_of::<u32>() { align_of::<V>() } else { align_of::<u32>() } };
    Layout::from_size_align(key_at::<V>() + key_len, align)
        .expect("a length of 32 bits fits the address space")
}

/// Allocates an entry and writes all of it.
///
/// # Panics
/// If the key is longer than 32 bits can say: the caller has a far lower limit.
fn write_entry<V>(key: &[u8], value: V) -> Entry {
    assert!(key.len() <= u32::MAX as usize);
    let layout = layout::<V>(key.len());
    // SAFETY: the layout is never empty, since it has room for the length.
    let Some(entry) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
    // SAFETY: the new allocation has room for value, length and key in this order, and is aligned for the first two.
    unsafe {
        entry.cast::<V>().write(value);
        entry.add(key_len_at::<V>()).cast::<u32>().write(key.len() as u32);
        entry.add(key_at::<V>()).as_ptr().copy_from_nonoverlapping(key.as_ptr(), key.len());
    }
    entry
}

/// The key of a live entry of a `Dict<V>`, for as long as the caller has borrowed the dict.
#[inline]
fn key<'a, V>(entry: Entry) -> &'a [u8] {
    // SAFETY: a live entry has the length of its key and the key at these places.
    unsafe {
        let len = entry.add(key_len_at::<V>()).cast::<u32>().read() as usize;
        NonNull::slice_from_raw_parts(entry.add(key_at::<V>()), len).as_ref()
    }
}

/// Where the value of an entry of a `Dict<V>` is.
#[inline]
fn value<V>(entry: Entry) -> NonNull<V> {
    entry.cast()
}

/// Frees an entry and gives its value away.
///
/// # Safety
/// `entry` is a live entry of a `Dict<V>` that nothing refers to any more.
unsafe fn take_apart<V>(entry: Entry) -> V {
    // SAFETY: the caller's promise; the entry was allocated in `write_entry` with the layout of its key's length.
    unsafe {
        let value = value::<V>(entry).read();
        dealloc(entry.as_ptr(), layout::<V>(key::<V>(entry).len()));
        value
    }
}

/// What is left of a dict, to be freed a little at a time; dropping it frees the rest.
pub struct Remains<V> {
    raw: RawRemains,
    values: PhantomData<V>,
}

// SAFETY: the remains own their entries alone; they hold plain bytes and values of type V.
unsafe impl<V: Send> Send for Remains<V> {}
// SAFETY: through shared remains nothing is handed out.
unsafe impl<V: Sync> Sync for Remains<V> {}

impl<V> Remains<V> {
    /// Frees a few dozen entries with their values; how many, 0 when none is left.
    pub fn free_some(&mut self) -> usize {
        loop {
            // SAFETY: each entry is taken out once, so nothing else refers to it.
            match self.raw.take_some(|entry| drop(unsafe { take_apart::<V>(entry) })) {
                None => return 0,
                Some(0) => {} // An empty segment is no end.
                Some(count) => return count,
            }
        }
    }
}

impl<V> Drop for Remains<V> {
    fn drop(&mut self) {
        while self.free_some() > 0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_size::{cases, size};
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16, u32),
        Remove(u16),
        Change(u16, u32),
        /// Keys from the first number on, so that segments split and merge without thousands of steps.
        InsertMany(u16, u16),
        RemoveMany(u16, u16),
        /// Goes on with the dict's clone, and drops the dict.
        Clone,
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = || 0..size(600, 150) as u16;
        prop_oneof![
            4 => (key(), any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
            4 => key().prop_map(Step::Remove),
            2 => (key(), any::<u32>()).prop_map(|(key, value)| Step::Change(key, value)),
            2 => (key(), 0..size(300, 90) as u16).prop_map(|(from, count)| Step::InsertMany(from, count)),
            2 => (key(), 0..size(400, 90) as u16).prop_map(|(from, count)| Step::RemoveMany(from, count)),
            1 => Just(Step::Clone),
            1 => Just(Step::Clear),
        ]
    }

    /// Keys of 0 to 40 bytes; equal numbers give equal keys.
    fn key_of(number: u16) -> Vec<u8> {
        let mut key = alloc::format!("{number}").into_bytes();
        key.resize(key.len() + number as usize % 37, b'.');
        if number == 0 { Vec::new() } else { key }
    }

    /// What the twin is: the same calls, answered by a `BTreeMap`.
    type Twin<V> = BTreeMap<Vec<u8>, V>;

    fn check_against_twin<V: Clone + PartialEq + core::fmt::Debug>(dict: &Dict<V>, twin: &Twin<V>) {
        dict.check();
        assert_eq!(dict.len(), twin.len());
        let listed: Twin<V> = dict.iter().map(|(key, value)| (key.to_vec(), value.clone())).collect();
        assert_eq!((&listed, dict.iter().count()), (twin, twin.len()));
        for (key, value) in twin {
            assert_eq!(dict.get(key), Some(value));
        }
        assert_eq!(dict.sample(twin.len() as u64).is_some(), !twin.is_empty());
        assert!(!dict.contains(b"never inserted"));
    }

    /// Runs the steps on a dict and its twin; `make` turns a number into a value.
    fn run<V: Clone + PartialEq + core::fmt::Debug>(seed: u64, steps: &[Step], make: impl Fn(u32) -> V) {
        let (mut dict, mut twin) = (Dict::new(seed), Twin::new());
        for (turn, step) in steps.iter().enumerate() {
            match *step {
                Step::Insert(key, value) => {
                    let key = key_of(key);
                    assert_eq!(dict.insert(&key, make(value)), twin.insert(key, make(value)));
                }
                Step::Remove(key) => assert_eq!(dict.remove(&key_of(key)), twin.remove(&key_of(key))),
                Step::Change(key, value) => {
                    let (ours, theirs) = (dict.get_mut(&key_of(key)), twin.get_mut(&key_of(key)));
                    assert_eq!(ours.is_some(), theirs.is_some());
                    if let (Some(ours), Some(theirs)) = (ours, theirs) {
                        (*ours, *theirs) = (make(value), make(value));
                    }
                }
                Step::InsertMany(from, count) => {
                    for key in (from..from + count).map(key_of) {
                        assert_eq!(dict.insert(&key, make(7)), twin.insert(key, make(7)));
                    }
                }
                Step::RemoveMany(from, count) => {
                    for key in (from..from + count).map(key_of) {
                        assert_eq!(dict.remove(&key), twin.remove(&key));
                    }
                }
                Step::Clone => dict = dict.clone(),
                Step::Clear => {
                    dict.clear();
                    twin.clear();
                }
            }
            if turn % size(1, 6) == 0 {
                check_against_twin(&dict, &twin);
            }
        }
        check_against_twin(&dict, &twin);
        dict.iter_mut().for_each(|(_, value)| *value = make(9));
        assert!(dict.iter().all(|(_, value)| *value == make(9)));
    }

    proptest! {
        #![proptest_config(cases(64, 2))]

        #[test]
        fn dict_of_owners_does_what_a_btree_map_does(seed: u64, steps in prop::collection::vec(step(), 1..size(40, 15))) {
            run(seed, &steps, |number| alloc::format!("value {number}"));
        }

        #[test]
        fn dict_of_nothing_does_what_a_btree_map_does(seed: u64, steps in prop::collection::vec(step(), 1..size(40, 15))) {
            run(seed, &steps, |_| ());
        }

        #[test]
        fn dict_of_aligned_values_does_what_a_btree_map_does(seed: u64, steps in prop::collection::vec(step(), 1..size(40, 15))) {
            run(seed, &steps, |number| (u128::from(number), number as u8));
        }
    }

    #[test]
    fn small_dicts_are_small() {
        let mut dict = Dict::new(1);
        assert_eq!(dict.memory(), 0);
        (0..8u8).for_each(|member| _ = dict.insert(&[member], ()));
        // Eight entries of 5 bytes, a segment of 8 + 8 + 8 * 8, a directory of one pointer.
        assert_eq!(dict.memory(), 8 * 8 + 80 + 8);
        (0..8u8).for_each(|member| _ = dict.remove(&[member]));
        assert_eq!(dict.memory(), 0);
    }

    #[test]
    fn the_same_history_gives_the_same_order_and_samples() {
        let len = size(500, 100) as u16;
        let fill = || {
            let mut dict = Dict::new(3);
            (0..len).for_each(|number| _ = dict.insert(&key_of(number), number));
            (len / 5..len / 5 * 3).for_each(|number| _ = dict.remove(&key_of(number)));
            dict
        };
        let (one, two) = (fill(), fill());
        assert!(one.iter().eq(two.iter()));
        assert!(one.iter().eq(one.clone().iter()));
        assert!((0..100).all(|random| one.sample(random) == two.sample(random)));
    }

    /// What could go wrong: a split, a merge or a move between two calls takes an entry behind the cursor. This
    /// would notice because the lasting keys are counted, while others come and go in their thousands.
    #[test]
    fn scan_returns_every_lasting_key_across_splits_and_merges() {
        let (lasting_count, passing_count) = (300, size(6000, 400) as u32);
        let changes_per_call = passing_count / size(100, 20) as u32;
        for (seed, is_growing) in [(1, true), (2, false), (3, true), (4, false)] {
            let mut dict = Dict::new(seed);
            let lasting = |number: u32| alloc::format!("lasting {number}").into_bytes();
            let passing = |number: u32| alloc::format!("passing {number}").into_bytes();
            (0..lasting_count).for_each(|number| _ = dict.insert(&lasting(number), ()));
            if !is_growing {
                (0..passing_count).for_each(|number| _ = dict.insert(&passing(number), ()));
            }
            let mut seen = Twin::new();
            let (mut cursor, mut calls) = (0, 0);
            loop {
                cursor = dict.scan(cursor, &mut |key, ()| *seen.entry(key.to_vec()).or_insert(0) += 1);
                for number in calls * changes_per_call..(calls + 1) * changes_per_call {
                    match is_growing {
                        true => _ = dict.insert(&passing(number), ()),
                        false => _ = dict.remove(&passing(number)),
                    }
                }
                calls += 1;
                if cursor == 0 {
                    break;
                }
                assert!(calls < 10_000, "the scan must end");
            }
            assert!(calls > 5, "{calls} calls are too few to show anything");
            assert!((0..lasting_count).all(|number| seen.contains_key(&lasting(number))), "seed {seed}");
        }
    }

    #[test]
    fn scan_of_a_dict_at_rest_returns_every_key_once() {
        for len in [0, 1, 56, 57, size(1000, 200) as u32] {
            let mut dict = Dict::new(9);
            (0..len).for_each(|number| _ = dict.insert(&number.to_le_bytes(), ()));
            let (mut cursor, mut count) = (0, 0);
            loop {
                cursor = dict.scan(cursor, &mut |_, ()| count += 1);
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(count, len);
        }
    }
}
