//! Sorted sets: a listpack of member and score while small, an ordered index beyond.
//!
//! Always true: members ascend by (score, bytes of the member), in either encoding; no score is NaN.
//!
//! Not here: the index itself (`engine/structures/src/sorted_set.rs`), the grammar of ranges (`commands/zset.rs`).

use alloc::boxed::Box;
use core::ops::{Bound, Range, RangeBounds};

use perdura_structures::{
    listpack::{self, Item, Listpack, Position},
    sorted_set::{self, Insertion, SortedSet},
};

use super::value::{Kind, Limits, Object};
use crate::bytes::number;

/// A sorted set in one of its two encodings.
#[derive(Clone, Debug)]
pub enum ZSet {
    /// `listpack`: member, score, member, score …, ascending.
    Listpack(Listpack),
    /// `skiplist`, as clients are told; see [`SortedSet`] for what it is.
    Index(Box<SortedSet>),
}

/// One end of a range of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LexBound<'a> {
    /// Before every name.
    Least,
    /// Behind every name.
    Greatest,
    /// At this name, which is in the range.
    Included(&'a [u8]),
    /// At this name, which is not.
    Excluded(&'a [u8]),
}

impl<'a> LexBound<'a> {
    fn as_bound(self) -> Bound<&'a [u8]> {
        match self {
            LexBound::Least | LexBound::Greatest => Bound::Unbounded,
            LexBound::Included(name) => Bound::Included(name),
            LexBound::Excluded(name) => Bound::Excluded(name),
        }
    }
}

impl ZSet {
    /// An empty one.
    #[allow(clippy::new_without_default)] // An empty sorted set exists only until its first member.
    pub fn new() -> ZSet {
        ZSet::Listpack(Listpack::new())
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match self {
            ZSet::Listpack(pack) => pack.len() / 2,
            ZSet::Index(index) => index.len(),
        }
    }

    /// As OBJECT ENCODING answers it.
    pub fn encoding(&self) -> &'static str {
        match self {
            ZSet::Listpack(_) => "listpack",
            ZSet::Index(_) => "skiplist",
        }
    }

    /// Adds a member or gives it another score. Panics if the score is NaN.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &Limits) -> Insertion {
        assert!(!score.is_nan());
        let pack = match self {
            ZSet::Index(index) => return index.insert(member, score),
            ZSet::Listpack(pack) => pack,
        };
        if let Some(found) = pack.find(member, 2) {
            let from = score_after(pack, found);
            if from == score {
                return Insertion::Same;
            }
            remove_pair(pack, found);
            insert_pair(pack, member, score);
            return Insertion::Moved { from };
        }
        // 32: any score, and the header of the member.
        let fits = member.len() <= limits.zset_listpack_value_max && pack.has_room(member.len() + 32);
        if pack.len() / 2 < limits.zset_listpack_entries_max && fits {
            insert_pair(pack, member, score);
            return Insertion::Added;
        }
        let mut index = self.to_index(limits.hash_seed);
        let insertion = index.insert(member, score);
        *self = ZSet::Index(Box::new(index));
        insertion
    }

    fn to_index(&self, seed: u64) -> SortedSet {
        let mut index = SortedSet::new(seed);
        for (member, score) in self.iter() {
            index.insert(member.text(&mut Default::default()), score);
        }
        index
    }

    /// Takes a member out and gives back its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self {
            ZSet::Listpack(pack) => {
                let found = pack.find(member, 2)?;
                let score = score_after(pack, found);
                remove_pair(pack, found);
                Some(score)
            }
            ZSet::Index(index) => index.remove(member),
        }
    }

    /// Takes out the members with a rank in `ranks`; says how many.
    pub fn remove_range(&mut self, ranks: Range<usize>) -> usize {
        match self {
            ZSet::Listpack(pack) => pack.remove_range(2 * ranks.start as i64, 2 * ranks.len()) / 2,
            ZSet::Index(index) => index.remove_range(ranks),
        }
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            ZSet::Listpack(pack) => pack.find(member, 2).map(|found| score_after(pack, found)),
            ZSet::Index(index) => index.score(member),
        }
    }

    /// How many members come before this one.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match self {
            ZSet::Listpack(_) => self.iter().position(|(name, _)| name.is(member)),
            ZSet::Index(index) => index.rank(member),
        }
    }

    /// The member at `rank`, with its score. With a random rank: a random member.
    pub fn get(&self, rank: usize) -> Option<(Item<'_>, f64)> {
        self.range(rank..rank + 1).next()
    }

    /// The ranks of all members whose score is in `scores`.
    pub fn ranks_by_score(&self, scores: (Bound<f64>, Bound<f64>)) -> Range<usize> {
        match self {
            ZSet::Listpack(_) => {
                let (after_start, before_end) = ((scores.0, Bound::Unbounded), (Bound::Unbounded, scores.1));
                self.ranks_where(
                    |_, score| after_start.contains(&score),
                    |_, score| before_end.contains(&score),
                )
            }
            ZSet::Index(index) => index.ranks_by_score(scores),
        }
    }

    /// The ranks of all members whose name is in the range; means something only if all scores are equal.
    pub fn ranks_by_lex(&self, min: LexBound<'_>, max: LexBound<'_>) -> Range<usize> {
        if min == LexBound::Greatest || max == LexBound::Least {
            return 0..0;
        }
        let (start, end) = (min.as_bound(), max.as_bound());
        match self {
            ZSet::Listpack(_) => {
                let is_in = |bounds: (Bound<&[u8]>, Bound<&[u8]>), name: Item<'_>| {
                    RangeBounds::<[u8]>::contains(&bounds, name.text(&mut Default::default()))
                };
                self.ranks_where(
                    |name, _| is_in((start, Bound::Unbounded), name),
                    |name, _| is_in((Bound::Unbounded, end), name),
                )
            }
            ZSet::Index(index) => index.ranks_by_lex((start, end)),
        }
    }

    /// From the first member after the start, as long as they are before the end.
    fn ranks_where(
        &self,
        is_after_start: impl Fn(Item<'_>, f64) -> bool,
        is_before_end: impl Fn(Item<'_>, f64) -> bool,
    ) -> Range<usize> {
        let start = self.iter().take_while(|&(name, score)| !is_after_start(name, score)).count();
        let members = self.range(start..self.len());
        start..start + members.take_while(|&(name, score)| is_before_end(name, score)).count()
    }

    /// All members in order with their scores, from either end.
    pub fn iter(&self) -> Iter<'_> {
        match self {
            ZSet::Listpack(pack) => Iter::Pack(pack.iter()),
            ZSet::Index(index) => Iter::Index(index.iter()),
        }
    }

    /// The members with a rank in `ranks`, from either end; what lies beyond the end is left out.
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_> {
        match self {
            ZSet::Listpack(pack) => Iter::Pack(pack.range(2 * ranks.start..2 * ranks.end.max(ranks.start))),
            ZSet::Index(index) => Iter::Index(index.range(ranks)),
        }
    }

    /// Hands some members to `emit` and returns the cursor that goes on after them; 0 starts, and 0 ends.
    pub fn scan(&self, cursor: u64, emit: &mut dyn FnMut(Item<'_>, f64)) -> u64 {
        match self {
            ZSet::Listpack(_) => {
                self.iter().for_each(|(name, score)| emit(name, score));
                0
            }
            ZSet::Index(index) => index.scan(cursor, |name, score| emit(Item::Bytes(name), score)),
        }
    }
}

/// Members with their scores in order, from either end.
#[derive(Clone)]
pub enum Iter<'a> {
    /// Of a listpack.
    Pack(listpack::Iter<'a>),
    /// Of an index.
    Index(sorted_set::Iter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Item<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Pack(items) => Some((items.next()?, score_of(items.next()?))),
            Iter::Index(members) => members.next().map(|(name, score)| (Item::Bytes(name), score)),
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Pack(items) => {
                let score = score_of(items.next_back()?);
                Some((items.next_back()?, score))
            }
            Iter::Index(members) => members.next_back().map(|(name, score)| (Item::Bytes(name), score)),
        }
    }
}

// --- Pairs in a listpack --------------------------------------------------------------------------

fn score_of(item: Item<'_>) -> f64 {
    match item {
        Item::Int(score) => score as f64,
        Item::Bytes(text) => number::parse_f64(text).expect("a stored score is a number"),
    }
}

/// The score of the member at `position`.
fn score_after(pack: &Listpack, position: Position) -> f64 {
    score_of(pack.item(pack.next(position).expect("a score follows its member")))
}

fn remove_pair(pack: &mut Listpack, position: Position) {
    let score = pack.remove(position).expect("a score follows its member");
    pack.remove(score);
}

/// Inserts a member that is not there where it belongs.
fn insert_pair(pack: &mut Listpack, member: &[u8], score: f64) {
    let text;
    let score_item = match whole(score) {
        Some(whole) => Item::Int(whole),
        None => {
            text = number::format_double(score);
            Item::Bytes(&text)
        }
    };
    match first_after(pack, member, score) {
        Some(next) => {
            let position = pack.insert_before(next, member);
            pack.insert_after(position, score_item);
        }
        None => {
            pack.push_back(member);
            pack.push_back(score_item);
        }
    }
}

/// A score that a listpack holds as an integer, which loses the sign of zero.
fn whole(score: f64) -> Option<i64> {
    const WHOLE_MAX: f64 = (i64::MAX / 2) as f64;
    (score.abs() <= WHOLE_MAX && (score as i64) as f64 == score).then_some(score as i64)
}

/// Where the first member behind (score, member) starts.
fn first_after(pack: &Listpack, member: &[u8], score: f64) -> Option<Position> {
    let mut at = pack.first();
    while let Some(position) = at {
        let other = score_after(pack, position);
        let is_after = || {
            other > score || (other == score && pack.item(position).text(&mut Default::default()) > member)
        };
        if is_after() {
            return at;
        }
        at = pack.next(position).and_then(|score| pack.next(score));
    }
    None
}

impl Kind for ZSet {
    fn wrap(self) -> Object {
        Object::ZSet(self)
    }
    fn of(object: &Object) -> Option<&Self> {
        if let Object::ZSet(zset) = object { Some(zset) } else { None }
    }
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        if let Object::ZSet(zset) = object { Some(zset) } else { None }
    }
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn memory(&self) -> usize {
        match self {
            ZSet::Listpack(pack) => pack.memory(),
            ZSet::Index(index) => index.memory(),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, format, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    type Twin = BTreeMap<Vec<u8>, f64>;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, f64),
        Remove(u8),
        RemoveRange(usize, usize),
    }

    fn score() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-4..4i8).prop_map(f64::from),
            2 => any::<f64>().prop_filter("no score is NaN", |score| !score.is_nan()),
            1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(0.1), Just(1e19), Just(-0.0)],
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (any::<u8>(), score()).prop_map(|(member, score)| Step::Insert(member % 40, score)),
            2 => (0..40u8).prop_map(Step::Remove),
            1 => (0..40usize, 0..5usize).prop_map(|(start, count)| Step::RemoveRange(start, count)),
        ]
    }

    /// Numbers and words; one in eight too long for a listpack.
    fn name_of(number: u8) -> Vec<u8> {
        let mut name =
            if number.is_multiple_of(3) { format!("{number}") } else { format!("m{number}") }.into_bytes();
        if number % 8 == 7 {
            name.resize(20, b'.');
        }
        name
    }

    fn sorted(twin: &Twin) -> Vec<(Vec<u8>, f64)> {
        let mut members: Vec<_> = twin.iter().map(|(name, score)| (name.clone(), *score)).collect();
        members
            .sort_by(|left, right| left.1.partial_cmp(&right.1).unwrap().then_with(|| left.0.cmp(&right.0)));
        members
    }

    fn owned<'a>(members: impl Iterator<Item = (Item<'a>, f64)>) -> Vec<(Vec<u8>, f64)> {
        members.map(|(name, score)| (name.to_vec(), score)).collect()
    }

    fn check(zset: &ZSet, twin: &Twin) {
        let mut expected = sorted(twin);
        assert_eq!(zset.len(), expected.len());
        assert_eq!(owned(zset.iter()), expected);
        for (rank, (name, score)) in expected.iter().enumerate() {
            assert_eq!((zset.rank(name), zset.score(name)), (Some(rank), Some(*score)));
            assert_eq!(owned(zset.get(rank).into_iter()), expected[rank..rank + 1]);
        }
        assert_eq!((zset.rank(b"none"), zset.score(b"none")), (None, None));
        expected.reverse();
        assert_eq!(owned(zset.iter().rev()), expected);
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_vector(
            steps in proptest::collection::vec(step(), 0..80),
            entries_max in 0..40usize,
            (low, high) in (score(), score()),
        ) {
            let limits =
                Limits { zset_listpack_entries_max: entries_max, zset_listpack_value_max: 12, ..Limits::default() };
            let (mut zset, mut twin) = (ZSet::new(), Twin::new());
            for step in steps {
                match step {
                    Step::Insert(member, score) => {
                        let name = name_of(member);
                        let expected = match twin.get(&name) {
                            None => Insertion::Added,
                            Some(&from) if from == score => Insertion::Same,
                            Some(&from) => Insertion::Moved { from },
                        };
                        prop_assert_eq!(zset.insert(&name, score, &limits), expected);
                        twin.insert(name, score);
                    }
                    Step::Remove(member) => {
                        let name = name_of(member);
                        prop_assert_eq!(zset.remove(&name), twin.remove(&name));
                    }
                    Step::RemoveRange(start, count) => {
                        let doomed: Vec<_> = sorted(&twin).into_iter().skip(start).take(count).collect();
                        prop_assert_eq!(zset.remove_range(start..start + count), doomed.len());
                        doomed.iter().for_each(|(name, _)| _ = twin.remove(name));
                    }
                }
                check(&zset, &twin);
            }
            for bounds in [
                (Bound::Included(low), Bound::Included(high)),
                (Bound::Excluded(low), Bound::Excluded(high)),
                (Bound::Unbounded, Bound::Included(high)),
            ] {
                let mut expected = sorted(&twin);
                expected.retain(|(_, score)| bounds.contains(score));
                prop_assert_eq!(owned(zset.range(zset.ranks_by_score(bounds))), expected);
            }
        }

        #[test]
        fn ranges_of_names_are_those_of_a_filter(
            members in proptest::collection::btree_set(0..40u8, 0..40),
            (low, high) in (0..40u8, 0..40u8),
            entries_max in 0..40usize,
        ) {
            let limits = Limits { zset_listpack_entries_max: entries_max, ..Limits::default() };
            let mut zset = ZSet::new();
            let mut names: Vec<Vec<u8>> = members.into_iter().map(name_of).collect();
            names.sort();
            for name in &names {
                zset.insert(name, 0.0, &limits);
            }
            let (low, high) = (name_of(low), name_of(high));
            type Test<'a> = &'a dyn Fn(&[u8]) -> bool;
            let table: [(LexBound, LexBound, Test); 5] = [
                (LexBound::Included(&low), LexBound::Included(&high), &|name| *low <= *name && *name <= *high),
                (LexBound::Excluded(&low), LexBound::Excluded(&high), &|name| *low < *name && *name < *high),
                (LexBound::Least, LexBound::Greatest, &|_| true),
                (LexBound::Greatest, LexBound::Greatest, &|_| false),
                (LexBound::Least, LexBound::Least, &|_| false),
            ];
            for (min, max, is_in) in table {
                let expected: Vec<_> = names.iter().filter(|name| is_in(name)).map(|name| (name.clone(), 0.0)).collect();
                prop_assert_eq!(owned(zset.range(zset.ranks_by_lex(min, max))), expected);
            }
        }
    }
}
