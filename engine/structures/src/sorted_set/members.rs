//! Where a sorted set keeps its members, and how it finds one by name.
//!
//! Slots are dense, so a handle is an index and nothing needs a free list. The hash index is a linear hash table: its
//! buckets are heads of chains that run through the slots, and it grows and shrinks by one bucket at a time, so no
//! operation ever pays for a resize.
//!
//! ```text
//!   n = 6 buckets: 0 and 1 are already split in two (0|4, 1|5), 2 and 3 are next
//!   address = low 3 bits of the hash if that is below 6, else its low 2 bits
//! ```
//!
//! Always true: handles are exactly 0..len; each slot is in the chain that its hash addresses; there are at least as
//! many buckets as members, and at most about twice as many.

use crate::alloc_size::alloc_size;
use crate::chunked::Chunked;
use crate::hash::KeyHasher;
use alloc::boxed::Box;
use core::cmp::Ordering;

/// End of a chain.
const NONE: u32 = u32::MAX;

#[derive(Clone)]
struct Slot {
    score: f64,
    name: Box<[u8]>,
    /// The next slot in the chain.
    next: u32,
    /// Kept so that splitting a bucket reads no names, and most strangers in a chain are told apart at once.
    hash: u32,
}

const _: () = assert!(size_of::<Slot>() == 32);

#[derive(Clone)]
pub(super) struct Members {
    slots: Chunked<Slot, 128>,
    heads: Chunked<u32, 1024>,
    hasher: KeyHasher,
    /// What the allocator sets aside for all names.
    names_memory: usize,
}

impl Members {
    pub(super) fn new(seed: u64) -> Members {
        let mut heads = Chunked::new();
        heads.push(NONE);
        Members { slots: Chunked::new(), heads, hasher: KeyHasher::new(seed), names_memory: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn memory(&self) -> usize {
        self.slots.memory() + self.heads.memory() + self.names_memory
    }

    pub(super) fn score(&self, handle: u32) -> f64 {
        self.slots[handle as usize].score
    }

    pub(super) fn set_score(&mut self, handle: u32, score: f64) {
        self.slots[handle as usize].score = score;
    }

    pub(super) fn name(&self, handle: u32) -> &[u8] {
        &self.slots[handle as usize].name
    }

    /// Handle of the slot that would leave a gap nowhere. The set must not be empty.
    pub(super) fn last(&self) -> u32 {
        (self.len() - 1) as u32
    }

    /// How (`score`, name of `other`) stands to the score and name of `handle`.
    ///
    /// The score is passed in because the order has it at hand; most comparisons end there.
    #[inline]
    pub(super) fn compare(&self, score: f64, other: u32, handle: u32) -> Ordering {
        let key = &self.slots[handle as usize];
        match score.partial_cmp(&key.score).expect("no score is NaN") {
            Ordering::Equal if other == handle => Ordering::Equal,
            Ordering::Equal => self.name(other).cmp(&key.name),
            unequal => unequal,
        }
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<u32> {
        let hash = self.hash(name);
        self.chain(self.bucket(hash)).find(|&handle| {
            let slot = &self.slots[handle as usize];
            slot.hash == hash && *slot.name == *name
        })
    }

    /// Adds a member that is not there yet.
    pub(super) fn add(&mut self, name: &[u8], score: f64) -> u32 {
        let handle = u32::try_from(self.len()).ok().filter(|&handle| handle != NONE);
        let handle = handle.expect("a sorted set has fewer than 2^32 members");
        self.names_memory += alloc_size(name.len());
        self.slots.push(Slot { score, name: name.into(), next: NONE, hash: self.hash(name) });
        self.link(handle);
        if self.slots.len() > self.heads.len() {
            self.split_bucket();
        }
        handle
    }

    /// Takes a member out; the last slot, if it is another one, gets its handle.
    pub(super) fn swap_remove(&mut self, handle: u32) -> (Box<[u8]>, f64) {
        self.replace_link(handle, self.slots[handle as usize].next);
        let last = self.last();
        if last != handle {
            self.replace_link(last, handle);
        }
        let mut removed = self.slots.pop().expect("there is a member to remove");
        if last != handle {
            core::mem::swap(&mut removed, &mut self.slots[handle as usize]);
        }
        self.names_memory -= alloc_size(removed.name.len());
        // Two at a time, so that a set losing members catches up.
        for _ in 0..2 {
            if self.slots.len() < self.heads.len() / 2 {
                self.join_bucket();
            }
        }
        (removed.name, removed.score)
    }

    /// Visits the members of one bucket and gives back the cursor of the next.
    ///
    /// The cursor counts with its bits reversed: buckets that share low bits of the hash, as halves of a split do, then
    /// follow each other, and whatever the table's size was or will be, nothing before the cursor is still to be seen.
    pub(super) fn scan(&self, cursor: u64, mut visit: impl FnMut(u32)) -> u64 {
        let bucket = self.bucket(cursor as u32);
        self.chain(bucket).for_each(&mut visit);
        let above = u64::MAX << self.bits(bucket);
        (cursor | above).reverse_bits().wrapping_add(1).reverse_bits()
    }

    fn hash(&self, name: &[u8]) -> u32 {
        self.hasher.hash(name) as u32
    }

    fn chain(&self, bucket: usize) -> impl Iterator<Item = u32> + '_ {
        let some = |handle: u32| (handle != NONE).then_some(handle);
        core::iter::successors(some(self.heads[bucket]), move |&handle| {
            some(self.slots[handle as usize].next)
        })
    }

    /// The bucket that a hash addresses.
    fn bucket(&self, hash: u32) -> usize {
        let full = self.heads.len().next_power_of_two();
        let bucket = hash as usize & (full - 1);
        if bucket < self.heads.len() { bucket } else { bucket - full / 2 }
    }

    /// How many low bits of the hash its members share.
    fn bits(&self, bucket: usize) -> u32 {
        let count = self.heads.len();
        let full = count.next_power_of_two();
        let is_split = full == count || bucket >= full / 2 || bucket < count - full / 2;
        full.trailing_zeros() - u32::from(!is_split)
    }

    /// The bucket that a new last bucket would be split from, and joined with.
    fn partner(last_bucket: usize) -> usize {
        last_bucket - (last_bucket + 1).next_power_of_two() / 2
    }

    fn split_bucket(&mut self) {
        let partner = Self::partner(self.heads.len());
        self.heads.push(NONE);
        let mut next = core::mem::replace(&mut self.heads[partner], NONE);
        while next != NONE {
            let handle = next;
            next = self.slots[handle as usize].next;
            self.link(handle);
        }
    }

    fn join_bucket(&mut self) {
        let mut next = self.heads.pop().expect("there is always a bucket");
        while next != NONE {
            let handle = next;
            next = self.slots[handle as usize].next;
            self.link(handle);
        }
    }

    /// Puts a slot at the head of the chain that its hash addresses.
    fn link(&mut self, handle: u32) {
        let bucket = self.bucket(self.slots[handle as usize].hash);
        self.slots[handle as usize].next = core::mem::replace(&mut self.heads[bucket], handle);
    }

    /// Makes whatever points to `handle` point to `to`.
    fn replace_link(&mut self, handle: u32, to: u32) {
        let bucket = self.bucket(self.slots[handle as usize].hash);
        if self.heads[bucket] == handle {
            self.heads[bucket] = to;
            return;
        }
        let before = self.chain(bucket).find(|&before| self.slots[before as usize].next == handle);
        self.slots[before.expect("each slot is in its chain") as usize].next = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_size::size;
    use alloc::format;
    use alloc::vec::Vec;

    fn check(members: &Members) {
        let mut seen: Vec<u32> = Vec::new();
        for bucket in 0..members.heads.len() {
            for handle in members.chain(bucket) {
                assert_eq!(members.bucket(members.slots[handle as usize].hash), bucket);
                seen.push(handle);
            }
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..members.len() as u32));
        assert!(members.len() <= members.heads.len() && members.heads.len() <= 2 * members.len().max(1) + 1);
    }

    #[test]
    fn buckets_come_and_go_one_by_one() {
        let mut members = Members::new(3);
        let count = size(300, 60);
        for number in 0..count {
            members.add(format!("{number}").as_bytes(), 0.0);
            check(&members);
        }
        let names_memory = members.names_memory;
        assert_eq!(names_memory, count * 8);
        for turn in 0..count {
            let handle = (turn * 7919 % members.len()) as u32;
            let name = members.name(handle).to_vec();
            assert_eq!(*members.swap_remove(handle).0, name);
            assert_eq!(members.find(&name), None);
            check(&members);
        }
        assert_eq!(members.names_memory, 0);
    }

    // A split or a join between two calls could move a member from the part still to come to the part already done.
    // The first members stay; others, five times as many, come and go between calls; each that stayed must be seen.
    #[test]
    fn scan_sees_what_stays_while_the_table_grows_and_shrinks() {
        let staying = size(200, 12);
        for start in [staying, staying * 7 / 5, staying * 7 / 2] {
            let mut members = Members::new(9);
            for number in 0..start {
                members.add(format!("{number}").as_bytes(), 0.0);
            }
            let (mut cursor, mut turn) = (0, 0);
            let mut seen = alloc::vec![false; staying];
            loop {
                cursor = members.scan(cursor, |handle| {
                    let number: usize = core::str::from_utf8(members.name(handle)).unwrap().parse().unwrap();
                    if let Some(seen) = seen.get_mut(number) {
                        *seen = true;
                    }
                });
                if cursor == 0 {
                    break;
                }
                turn += 1;
                assert!(turn < 10_000);
                for number in staying..6 * staying {
                    let name = format!("{number}");
                    match (turn / 3 % 2, members.find(name.as_bytes())) {
                        (0, None) => assert_eq!(members.add(name.as_bytes(), 0.0), members.last()),
                        (1, Some(handle)) => assert_eq!(*members.swap_remove(handle).0, *name.as_bytes()),
                        _ => {}
                    }
                }
            }
            assert!(seen.iter().all(|&seen| seen));
        }
    }
}
