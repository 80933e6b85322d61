//! The sorted set: members with scores, found by name, by score, by rank, or in order.
//!
//! Exists because ZADD needs a map, ZRANGE needs an order, and both need the member; here it is stored once.
//!
//! ```text
//!            name → handle                       rank, score → handle
//!   members: hash chains ──┐                 ┌── order: B+ tree with counts
//!                          ▼                 ▼
//!              slot[handle] = score, bytes of the member
//! ```
//!
//! A B+ tree instead of Redis's skip list: its leaves hold scores next to each other, so a search touches a handful
//! of cache lines, a range is a walk over arrays, and an entry costs 12 bytes divided by the fill instead of a node
//! with two pointers or more. Handles of four bytes instead of pointers halve the index and keep this file safe code.
//!
//! Per member of 12 bytes, at a million members in random order: slot 32, bytes 16, hash 4, order 18 = 70 bytes
//! (`a_million_members_cost_less_than_76_bytes_each` measures it).
//!
//! Always true: both halves hold the same members; the order is strictly ascending by (score, bytes of the member);
//! -0.0 and 0.0 are the same place in the order; no score is NaN (the caller refuses it).
//!
//! Not here: small sorted sets (a listpack), and the grammar of ranges (`(1`, `[a`, `+inf`).

mod members;
mod order;

use alloc::boxed::Box;
use core::ops::{Bound, Range, RangeBounds};
use members::Members;
use order::{Order, Place};

/// What adding a member came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Insertion {
    /// The member is new.
    Added,
    /// The member was there with another score.
    Moved {
        /// The score it had.
        from: f64,
    },
    /// The member was there with this score.
    Same,
}

/// Members ordered by (score, member).
#[derive(Clone)]
pub struct SortedSet {
    members: Members,
    order: Order,
}

impl SortedSet {
    /// An empty set whose hash function belongs to `seed`.
    pub fn new(seed: u64) -> SortedSet {
        SortedSet { members: Members::new(seed), order: Order::new() }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes held. O(1).
    pub fn memory(&self) -> usize {
        self.members.memory() + self.order.memory()
    }

    /// Adds a member or gives it another score.
    ///
    /// # Panics
    /// If `score` is NaN.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Insertion {
        assert!(!score.is_nan());
        let Some(handle) = self.members.find(member) else {
            let handle = self.members.add(member, score);
            self.order.insert(handle, &self.members);
            return Insertion::Added;
        };
        let from = self.members.score(handle);
        if from == score {
            return Insertion::Same;
        }
        self.order.remove(handle, &self.members);
        self.members.set_score(handle, score);
        self.order.insert(handle, &self.members);
        Insertion::Moved { from }
    }

    /// Takes a member out and gives back its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let handle = self.members.find(member)?;
        Some(self.remove_handle(handle).1)
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.members.find(member).map(|handle| self.members.score(handle))
    }

    /// How many members come before this one.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        let handle = self.members.find(member)?;
        Some(self.order.rank(|score, other| self.members.compare(score, other, handle).is_lt()))
    }

    /// How many members come after this one.
    pub fn rank_rev(&self, member: &[u8]) -> Option<usize> {
        self.rank(member).map(|rank| self.len() - 1 - rank)
    }

    /// The member and score at `rank`. With a random rank: a random member.
    pub fn get(&self, rank: usize) -> Option<(&[u8], f64)> {
        self.range(rank..rank.saturating_add(1)).next()
    }

    /// The ranks of all members whose score is in `scores`; their number is the length of the result. O(log n).
    pub fn ranks_by_score(&self, scores: impl RangeBounds<f64>) -> Range<usize> {
        let start = match scores.start_bound() {
            Bound::Unbounded => 0,
            Bound::Included(&least) => self.order.rank(|score, _| score < least),
            Bound::Excluded(&least) => self.order.rank(|score, _| score <= least),
        };
        let end = match scores.end_bound() {
            Bound::Unbounded => self.len(),
            Bound::Included(&most) => self.order.rank(|score, _| score <= most),
            Bound::Excluded(&most) => self.order.rank(|score, _| score < most),
        };
        start..end.max(start)
    }

    /// The ranks of all members whose bytes are in `names`. O(log n).
    ///
    /// Has a meaning only if all scores are equal, as Redis says of ZRANGEBYLEX; else the result is some range.
    pub fn ranks_by_lex(&self, names: impl RangeBounds<[u8]>) -> Range<usize> {
        let rank = |is_before: &dyn Fn(&[u8]) -> bool| {
            self.order.rank(|_, handle| is_before(self.members.name(handle)))
        };
        let start = match names.start_bound() {
            Bound::Unbounded => 0,
            Bound::Included(least) => rank(&|name| name < least),
            Bound::Excluded(least) => rank(&|name| name <= least),
        };
        let end = match names.end_bound() {
            Bound::Unbounded => self.len(),
            Bound::Included(most) => rank(&|name| name <= most),
            Bound::Excluded(most) => rank(&|name| name < most),
        };
        start..end.max(start)
    }

    /// All members in order, from either end.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0..self.len())
    }

    /// The members with a rank in `ranks`, from either end; what lies beyond the end is left out.
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_> {
        let end = ranks.end.min(self.len());
        let left = end.saturating_sub(ranks.start);
        let place = |rank| if left == 0 { Place::default() } else { self.order.place(rank) };
        Iter { set: self, front: place(ranks.start), back: place(end.wrapping_sub(1)), left }
    }

    /// Takes out the members with a rank in `ranks`; says how many.
    pub fn remove_range(&mut self, ranks: Range<usize>) -> usize {
        let count = ranks.end.min(self.len()).saturating_sub(ranks.start);
        for _ in 0..count {
            self.remove_at(ranks.start);
        }
        count
    }

    /// Takes out the member that comes first.
    pub fn pop_first(&mut self) -> Option<(Box<[u8]>, f64)> {
        (!self.is_empty()).then(|| self.remove_at(0))
    }

    /// Takes out the member that comes last.
    pub fn pop_last(&mut self) -> Option<(Box<[u8]>, f64)> {
        (!self.is_empty()).then(|| self.remove_at(self.len() - 1))
    }

    /// Visits a few members, in no order, and gives back the cursor for the next call.
    ///
    /// Starts and ends with cursor 0. A member that is there from start to end is visited at least once, whatever is
    /// added or taken out in between; so may be some others, and some twice.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&[u8], f64)) -> u64 {
        self.members.scan(cursor, |handle| visit(self.members.name(handle), self.members.score(handle)))
    }

    fn remove_at(&mut self, rank: usize) -> (Box<[u8]>, f64) {
        let (_, handle) = self.order.entry(self.order.place(rank));
        self.remove_handle(handle)
    }

    /// Slots stay dense: the last one moves into the gap, and the order learns its new handle.
    fn remove_handle(&mut self, handle: u32) -> (Box<[u8]>, f64) {
        self.order.remove(handle, &self.members);
        let last = self.members.last();
        if last != handle {
            self.order.relabel(last, handle, &self.members);
        }
        self.members.swap_remove(handle)
    }
}

impl core::fmt::Debug for SortedSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Members with their scores in order, from either end.
#[derive(Clone)]
pub struct Iter<'a> {
    set: &'a SortedSet,
    front: Place,
    back: Place,
    left: usize,
}

impl<'a> Iter<'a> {
    fn at(&self, place: Place) -> (&'a [u8], f64) {
        let (score, handle) = self.set.order.entry(place);
        (self.set.members.name(handle), score)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let item = self.at(self.front);
        if self.left > 0 {
            self.front = self.set.order.next(self.front);
        }
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let item = self.at(self.back);
        if self.left > 0 {
            self.back = self.set.order.prev(self.back);
        }
        Some(item)
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_size::size;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    type Twin = BTreeMap<Vec<u8>, f64>;

    /// The twin's members in the order of the set.
    fn sorted(twin: &Twin) -> Vec<(&[u8], f64)> {
        let mut entries: Vec<_> = twin.iter().map(|(member, &score)| (member.as_slice(), score)).collect();
        entries.sort_by(|left, right| left.1.partial_cmp(&right.1).unwrap().then(left.0.cmp(right.0)));
        entries
    }

    /// Inner promises, and equality with the twin from every point of view that needs no argument.
    fn check(set: &SortedSet, twin: &Twin) {
        assert_eq!(set.order.check(&set.members).len(), set.members.len());
        let expected = sorted(twin);
        assert!(set.iter().eq(expected.iter().copied()));
        assert!(set.iter().rev().eq(expected.iter().rev().copied()));
        for (rank, &(member, score)) in expected.iter().enumerate() {
            assert_eq!(set.rank(member), Some(rank));
            assert_eq!(set.rank_rev(member), Some(expected.len() - 1 - rank));
            assert_eq!(set.score(member), Some(score));
            assert_eq!(set.get(rank), Some((member, score)));
        }
        assert_eq!(set.get(expected.len()), None);
    }

    #[test]
    fn equal_scores_are_ordered_by_bytes() {
        let mut set = SortedSet::new(1);
        for member in ["b", "a", "ab", "", "\u{ff}"] {
            set.insert(member.as_bytes(), 1.0);
        }
        let names: Vec<_> =
            set.iter().map(|(member, _)| String::from_utf8_lossy(member).into_owned()).collect();
        assert_eq!(names, ["", "a", "ab", "b", "\u{ff}"]);
    }

    #[test]
    fn negative_zero_is_the_same_place_as_zero() {
        let mut set = SortedSet::new(1);
        assert_eq!(set.insert(b"b", -0.0), Insertion::Added);
        assert_eq!(set.insert(b"a", 0.0), Insertion::Added);
        assert_eq!(set.insert(b"b", 0.0), Insertion::Same);
        assert!(set.score(b"b").unwrap().is_sign_negative());
        assert_eq!(set.get(0), Some((&b"a"[..], 0.0)));
        assert_eq!(set.ranks_by_score(0.0..=0.0), 0..2);
    }

    #[test]
    fn infinities_are_scores_like_others() {
        let mut set = SortedSet::new(1);
        set.insert(b"top", f64::INFINITY);
        set.insert(b"bottom", f64::NEG_INFINITY);
        set.insert(b"middle", 0.0);
        assert_eq!(set.ranks_by_score(f64::NEG_INFINITY..=f64::INFINITY), 0..3);
        let inside = (Bound::Excluded(f64::NEG_INFINITY), Bound::Excluded(f64::INFINITY));
        assert_eq!(set.ranks_by_score(inside), 1..2);
        assert_eq!(set.pop_last().unwrap().0.as_ref(), b"top");
        assert_eq!(set.pop_first().unwrap().0.as_ref(), b"bottom");
    }

    #[test]
    fn moving_a_member_says_where_from() {
        let mut set = SortedSet::new(1);
        assert_eq!(set.insert(b"m", 1.0), Insertion::Added);
        assert_eq!(set.insert(b"m", 2.0), Insertion::Moved { from: 1.0 });
        assert_eq!(set.insert(b"m", 2.0), Insertion::Same);
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn backward_range_is_empty_everywhere() {
        let mut set = SortedSet::new(1);
        for number in 0..10 {
            set.insert(&[number], f64::from(number));
        }
        assert_eq!(set.ranks_by_score((Bound::Included(5.0), Bound::Included(4.0))).len(), 0);
        assert_eq!(set.range(Range { start: 7, end: 3 }).count(), 0);
        assert_eq!(set.remove_range(Range { start: 7, end: 3 }), 0);
        assert_eq!(set.range(10..20).count(), 0);
    }

    #[test]
    fn filling_from_either_end_leaves_full_leaves() {
        let len = size(10_000, 400);
        for step in [1.0, -1.0] {
            let mut set = SortedSet::new(1);
            for number in 0..len as u32 {
                set.insert(format!("{number}").as_bytes(), step * f64::from(number));
            }
            set.order.check(&set.members);
            // 12 bytes per entry, a tenth for links and inner nodes, and the root; half-filled leaves would take twice as much.
            assert!(set.order.memory() < len * 12 * 110 / 100 + 1024, "{}", set.order.memory());
        }
    }

    #[test]
    fn emptied_set_holds_little() {
        let mut set = SortedSet::new(1);
        let len = size(20_000, 500);
        for number in 0..len as u32 {
            set.insert(&number.to_le_bytes(), f64::from(number * 7 % 1000));
        }
        set.order.check(&set.members);
        assert_eq!(set.remove_range(1..len - 1), len - 2);
        set.order.check(&set.members);
        // One chunk of slots, one of buckets, and 12 bytes for the number of each leaf that was.
        assert!(set.memory() < 24 * 1024, "{}", set.memory());
    }

    // Trees of three levels (two under Miri) split and merge inner nodes, which the small sets below never reach. A wrong first key or
    // count after that is found by the check of the order, a lost member by the count of successes.
    #[test]
    fn deep_order_survives_moves_and_removals() {
        let mut set = SortedSet::new(1);
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut len = 0;
        for (turns, removals_of_8) in
            [(size(40_000, 1500), 1), (size(60_000, 1500), 7), (size(20_000, 500), 4)]
        {
            for _ in 0..turns {
                let (member, score) = (random(size(30_000, 1500) as u64).to_le_bytes(), random(500) as f64);
                if random(8) < removals_of_8 {
                    len -= usize::from(set.remove(&member).is_some());
                } else {
                    len += usize::from(set.insert(&member, score) == Insertion::Added);
                }
            }
            assert_eq!(set.order.check(&set.members).len(), len);
            assert!(
                set.iter().enumerate().step_by(97).all(|(rank, (member, _))| set.rank(member) == Some(rank))
            );
        }
    }

    #[test]
    fn a_million_members_cost_less_than_76_bytes_each() {
        let mut set = SortedSet::new(1);
        let mut state = 1u64;
        let len = size(1_000_000, 1500);
        for number in 0..len {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            set.insert(format!("m:{number:010}").as_bytes(), (state >> 12) as f64);
        }
        assert!(set.memory() < len * 76, "{}", set.memory());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(Vec<u8>, f64),
        Remove(Vec<u8>),
        RemoveRange(usize, usize),
        PopFirst,
        PopLast,
        Fill(u16, bool),
    }

    fn member() -> impl Strategy<Value = Vec<u8>> {
        (0..300u16).prop_map(|number| format!("{number}").into_bytes())
    }

    fn score() -> impl Strategy<Value = f64> {
        prop_oneof![
            6 => (-4..4i8).prop_map(f64::from),
            2 => any::<f64>().prop_filter("no score is NaN", |score| !score.is_nan()),
            1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0)],
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            10 => (member(), score()).prop_map(|(member, score)| Step::Insert(member, score)),
            3 => member().prop_map(Step::Remove),
            1 => (0usize..300, 0usize..80).prop_map(|(start, count)| Step::RemoveRange(start, count)),
            1 => Just(Step::PopFirst),
            1 => Just(Step::PopLast),
            1 => (0..size(200, 70) as u16, any::<bool>()).prop_map(|(count, is_up)| Step::Fill(count, is_up)),
        ]
    }

    fn take(step: Step, set: &mut SortedSet, twin: &mut Twin) {
        let owned = |(member, score): (&[u8], f64)| (Box::from(member), score);
        match step {
            Step::Insert(member, score) => {
                let expected = match twin.get(&member) {
                    None => Insertion::Added,
                    Some(&from) if from == score => Insertion::Same,
                    Some(&from) => Insertion::Moved { from },
                };
                assert_eq!(set.insert(&member, score), expected);
                if expected != Insertion::Same {
                    twin.insert(member, score);
                }
            }
            Step::Remove(member) => assert_eq!(set.remove(&member), twin.remove(&member)),
            Step::RemoveRange(start, count) => {
                let doomed: Vec<Vec<u8>> = sorted(twin)
                    .into_iter()
                    .skip(start)
                    .take(count)
                    .map(|(member, _)| member.to_vec())
                    .collect();
                assert_eq!(set.remove_range(start..start + count), doomed.len());
                twin.retain(|member, _| !doomed.contains(member));
            }
            Step::PopFirst => {
                let expected = sorted(twin).first().copied().map(owned);
                twin.retain(|member, _| expected.as_ref().is_none_or(|expected| *expected.0 != **member));
                assert_eq!(set.pop_first(), expected);
            }
            Step::PopLast => {
                let expected = sorted(twin).last().copied().map(owned);
                twin.retain(|member, _| expected.as_ref().is_none_or(|expected| *expected.0 != **member));
                assert_eq!(set.pop_last(), expected);
            }
            Step::Fill(count, is_up) => {
                for number in 0..count {
                    let score = if is_up { f64::from(number) } else { -f64::from(number) };
                    set.insert(format!("fill{number}").as_bytes(), score);
                    twin.insert(format!("fill{number}").into_bytes(), score);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_vector(steps in proptest::collection::vec(step(), 0..size(200, 40)), seed: u64) {
            let (mut set, mut twin) = (SortedSet::new(seed), Twin::new());
            for (turn, step) in steps.into_iter().enumerate() {
                take(step, &mut set, &mut twin);
                if turn % 16 == 0 {
                    check(&set, &twin);
                }
            }
            check(&set, &twin);
            let mut scanned = Vec::new();
            let mut cursor = 0;
            loop {
                cursor = set.scan(cursor, |member, score| scanned.push((member.to_vec(), score)));
                if cursor == 0 {
                    break;
                }
            }
            scanned.sort_by(|left, right| left.0.cmp(&right.0));
            prop_assert_eq!(scanned, twin.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn ranges_by_score_are_those_of_a_filter(
            scores in proptest::collection::vec(score(), 0..size(200, 70)),
            (low, high) in (score(), score()),
        ) {
            let mut set = SortedSet::new(5);
            for (number, &score) in scores.iter().enumerate() {
                set.insert(&number.to_le_bytes(), score);
            }
            for bounds in [
                (Bound::Included(low), Bound::Included(high)),
                (Bound::Excluded(low), Bound::Excluded(high)),
                (Bound::Included(low), Bound::Unbounded),
                (Bound::Unbounded, Bound::Excluded(high)),
            ] {
                let ranks = set.ranks_by_score(bounds);
                let expected = set.iter().filter(|(_, score)| bounds.contains(score));
                prop_assert!(set.range(ranks).eq(expected));
            }
        }

        #[test]
        fn ranges_by_lex_are_those_of_a_filter(
            members in proptest::collection::btree_set(member(), 0..size(200, 70)),
            (low, high) in (member(), member()),
        ) {
            let mut set = SortedSet::new(5);
            for member in &members {
                set.insert(member, 0.0);
            }
            let (low, high) = (low.as_slice(), high.as_slice());
            for bounds in [
                (Bound::Included(low), Bound::Included(high)),
                (Bound::Excluded(low), Bound::Excluded(high)),
                (Bound::Included(low), Bound::Unbounded),
                (Bound::Unbounded, Bound::Excluded(high)),
            ] {
                let ranks = set.ranks_by_lex(bounds);
                let expected = set.iter().filter(|(member, _)| bounds.contains(*member));
                prop_assert!(set.range(ranks).eq(expected));
            }
        }
    }
}
