//! Sets: an intset of integers, a listpack while small, a hash table beyond.
//!
//! ```text
//!            first member no integer            too many, or one too long
//!   intset ─────────────────────────▶ listpack ──────────────────────────▶ hash table
//!      └──────────────── too many, or the first other one too long ───────────▲
//! ```
//!
//! Always true: a set never goes back to a smaller encoding by losing members; only one that is made anew
//! (SINTERSTORE, loading) gets the smallest.
//!
//! Not here: the algorithms over several sets, replies and events (`commands/set.rs`).

use alloc::{boxed::Box, vec::Vec};

use perdura_structures::{
    alloc_size::alloc_size,
    dict::{self, Dict},
    intset::Intset,
    listpack::{self, Item, Listpack},
};

use super::value::{Kind, Limits, Object};
use crate::{
    bytes::number::{DecimalBuffer, decimal_len, parse_i64},
    rng::Rng,
};

/// A set in one of its three encodings.
#[derive(Clone, Debug)]
pub enum Set {
    /// `intset`
    Intset(Intset),
    /// `listpack`
    Listpack(Listpack),
    /// `hashtable`
    Table(Box<Dict<()>>),
}

/// Most integers an intset takes, whatever the configuration says: its size must stay within 32 bits.
const INTSET_ENTRIES_MAX: usize = 1 << 30;

/// Where encodings end, and the seed of tables; copied out of [`Limits`] so that a set can be edited in its store.
#[derive(Clone, Copy, Debug)]
pub struct SetLimits {
    intset_entries_max: usize,
    listpack_entries_max: usize,
    listpack_value_max: usize,
    hash_seed: u64,
}

impl SetLimits {
    /// Those of the configuration.
    pub fn new(limits: &Limits) -> SetLimits {
        SetLimits {
            intset_entries_max: limits.set_intset_entries_max.min(INTSET_ENTRIES_MAX),
            listpack_entries_max: limits.set_listpack_entries_max,
            listpack_value_max: limits.set_listpack_value_max,
            hash_seed: limits.hash_seed,
        }
    }
}

impl Set {
    /// An empty set for about `count` members, of which the first is known.
    pub fn for_members(first: &[u8], count: usize, limits: SetLimits) -> Set {
        if count <= limits.intset_entries_max && parse_i64(first).is_some() {
            Set::Intset(Intset::new())
        } else if count <= limits.listpack_entries_max {
            Set::Listpack(Listpack::new())
        } else {
            Set::new_table(limits)
        }
    }

    /// An empty set in the encoding that is never converted.
    pub fn new_table(limits: SetLimits) -> Set {
        Set::Table(Box::new(Dict::new(limits.hash_seed)))
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match self {
            Set::Intset(ints) => ints.len(),
            Set::Listpack(pack) => pack.len(),
            Set::Table(table) => table.len(),
        }
    }

    /// As OBJECT ENCODING answers it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Set::Intset(_) => "intset",
            Set::Listpack(_) => "listpack",
            Set::Table(_) => "hashtable",
        }
    }

    /// Whether it has this member.
    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            Set::Intset(ints) => parse_i64(member).is_some_and(|int| ints.contains(int)),
            Set::Listpack(pack) => pack.find(member, 1).is_some(),
            Set::Table(table) => table.contains(member),
        }
    }

    /// [`Set::contains`] for a member of another set.
    pub fn contains_item(&self, member: Item<'_>) -> bool {
        match (self, member) {
            (Set::Intset(ints), Item::Int(int)) => ints.contains(int),
            _ => self.contains(member.text(&mut DecimalBuffer::default())),
        }
    }

    /// All members, in the order of the encoding.
    pub fn iter(&self) -> Iter<'_> {
        match self {
            Set::Intset(ints) => Iter::Intset { ints, next: 0 },
            Set::Listpack(pack) => Iter::Listpack(pack.iter()),
            Set::Table(table) => Iter::Table(table.iter()),
        }
    }

    /// A member, each about equally likely.
    ///
    /// # Panics
    /// If the set is empty; none in the store is.
    pub fn random(&self, rng: &mut Rng) -> Item<'_> {
        let found = match self {
            Set::Intset(ints) => ints.get(rng.index(ints.len())).map(Item::Int),
            Set::Listpack(pack) => pack.get(rng.index(pack.len()) as i64),
            Set::Table(table) => table.sample(rng.next_u64()).map(|(member, ())| Item::Bytes(member)),
        };
        found.expect("the set has members")
    }

    /// Hands `count` different members to `emit`, each choice about equally likely.
    ///
    /// # Panics
    /// If there are fewer members.
    pub fn random_distinct(&self, count: usize, rng: &mut Rng, emit: &mut dyn FnMut(Item<'_>)) {
        assert!(count <= self.len());
        match self {
            // Few out of many: what was already drawn is drawn again at most every third time.
            Set::Table(table) if count <= table.len() / 3 => {
                let mut drawn: Dict<()> = Dict::new(rng.next_u64());
                while drawn.len() < count {
                    let (member, ()) = table.sample(rng.next_u64()).expect("the set has members");
                    if drawn.insert(member, ()).is_none() {
                        emit(Item::Bytes(member));
                    }
                }
            }
            // Else every member is looked at once, and taken with the chance that the rest needs it.
            _ => {
                let (mut wanted, mut left) = (count, self.len());
                for member in self.iter() {
                    if wanted == 0 {
                        break;
                    }
                    if rng.index(left) < wanted {
                        emit(member);
                        wanted -= 1;
                    }
                    left -= 1;
                }
            }
        }
    }

    /// Takes out a member, each about equally likely.
    ///
    /// # Panics
    /// If the set is empty; none in the store is.
    pub fn pop(&mut self, rng: &mut Rng) -> Vec<u8> {
        let member = self.random(rng).to_vec();
        self.remove(&member);
        member
    }

    /// Adds a member; `false` if it was there already.
    pub fn add(&mut self, member: &[u8], limits: SetLimits) -> bool {
        match self {
            Set::Table(table) => table.insert(member, ()).is_none(),
            Set::Listpack(pack) => {
                if pack.find(member, 1).is_some() {
                    return false;
                }
                let has_room = pack.len() < limits.listpack_entries_max && pack.has_room(member.len());
                if has_room && member.len() <= limits.listpack_value_max {
                    pack.push_back(member);
                } else {
                    self.convert_to_table(limits).insert(member, ());
                }
                true
            }
            Set::Intset(ints) => match parse_i64(member) {
                Some(int) => self.add_int(int, limits),
                None => {
                    if ints.len() < limits.listpack_entries_max
                        && longest_decimal(ints).max(member.len()) <= limits.listpack_value_max
                    {
                        let mut pack: Listpack = ints.iter().collect();
                        pack.push_back(member);
                        *self = Set::Listpack(pack);
                    } else {
                        self.convert_to_table(limits).insert(member, ());
                    }
                    true
                }
            },
        }
    }

    /// [`Set::add`] for a member of another set.
    pub fn add_item(&mut self, member: Item<'_>, limits: SetLimits) -> bool {
        match (&self, member) {
            (Set::Intset(_), Item::Int(int)) => self.add_int(int, limits),
            _ => self.add(member.text(&mut DecimalBuffer::default()), limits),
        }
    }

    /// Adds an integer to an intset.
    fn add_int(&mut self, int: i64, limits: SetLimits) -> bool {
        let Set::Intset(ints) = self else { unreachable!("callers have matched an intset") };
        let is_new = ints.insert(int);
        if ints.len() > limits.intset_entries_max {
            self.convert_to_table(limits);
        }
        is_new
    }

    /// Takes out a member; `false` if it was not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Set::Intset(ints) => parse_i64(member).is_some_and(|int| ints.remove(int)),
            Set::Listpack(pack) => match pack.find(member, 1) {
                Some(position) => {
                    pack.remove(position);
                    true
                }
                None => false,
            },
            Set::Table(table) => table.remove(member).is_some(),
        }
    }

    /// Becomes a table at once if that many new members would make it one anyway.
    pub fn expect_members(&mut self, count: usize, limits: SetLimits) {
        let entries_max = match self {
            Set::Intset(_) => limits.intset_entries_max,
            Set::Listpack(_) => limits.listpack_entries_max,
            Set::Table(_) => return,
        };
        if count > entries_max {
            self.convert_to_table(limits);
        }
    }

    /// Becomes an intset if all members are integers, few enough for one.
    pub fn shrink_to_intset(&mut self, limits: SetLimits) {
        if matches!(self, Set::Intset(_)) || self.len() > limits.intset_entries_max {
            return;
        }
        if let Some(ints) = self.iter().map(Item::to_int).collect::<Option<Vec<i64>>>() {
            *self = Set::Intset(ints.into_iter().collect());
        }
    }

    fn convert_to_table(&mut self, limits: SetLimits) -> &mut Dict<()> {
        if !matches!(self, Set::Table(_)) {
            let mut table = Dict::new(limits.hash_seed);
            for member in self.iter() {
                table.insert(member.text(&mut DecimalBuffer::default()), ());
            }
            *self = Set::Table(Box::new(table));
        }
        let Set::Table(table) = self else { unreachable!("it was just made one") };
        table
    }

    /// Goes on with a scan: hands members to `emit` and returns the cursor that goes on after them.
    ///
    /// Everything at once unless the set is a table, as in Redis: nothing else keeps its order from call to call.
    pub fn scan(&self, cursor: u64, emit: &mut dyn FnMut(&[u8])) -> u64 {
        match self {
            Set::Table(table) => table.scan(cursor, &mut |member, ()| emit(member)),
            _ => {
                self.iter().for_each(|member| emit(member.text(&mut DecimalBuffer::default())));
                0
            }
        }
    }
}

/// Bytes of the longest decimal among these: that of the least or of the greatest.
fn longest_decimal(ints: &Intset) -> usize {
    let ends = [ints.get(0), ints.len().checked_sub(1).and_then(|last| ints.get(last))];
    ends.into_iter().flatten().map(decimal_len).max().unwrap_or(0)
}

/// Members of a set.
pub enum Iter<'a> {
    /// Of an intset, ascending.
    Intset {
        /// The set.
        ints: &'a Intset,
        /// Index of the next one.
        next: usize,
    },
    /// Of a listpack, in the order in which they came.
    Listpack(listpack::Iter<'a>),
    /// Of a table.
    Table(dict::Iter<'a, ()>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        match self {
            Iter::Intset { ints, next } => {
                *next += 1;
                ints.get(*next - 1).map(Item::Int)
            }
            Iter::Listpack(items) => items.next(),
            Iter::Table(members) => members.next().map(|(member, ())| Item::Bytes(member)),
        }
    }
}

impl Kind for Set {
    fn wrap(self) -> Object {
        Object::Set(self)
    }
    fn of(object: &Object) -> Option<&Self> {
        if let Object::Set(set) = object { Some(set) } else { None }
    }
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        if let Object::Set(set) = object { Some(set) } else { None }
    }
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn memory(&self) -> usize {
        match self {
            Set::Intset(ints) => ints.memory(),
            Set::Listpack(pack) => pack.memory(),
            Set::Table(table) => alloc_size(size_of::<Dict<()>>()) + table.memory(),
        }
    }
}
