//! Hashes: a listpack of field and value while small, a hash table beyond; fields may expire.
//!
//! ```text
//!               short fields        a long one, or many
//! none expires  listpack            table
//! some expire   table, is_compact   table
//! ```
//!
//! Redis keeps the lower left one as a listpack of triples, and so it is called; here it is a table, so that there is
//! one place where expiries are kept.
//!
//! Always true: `expiries` holds exactly (expiry, field) of each field that has one; `owned_bytes` is what values and
//! `expiries` occupy.
//!
//! Not here: removing what is due before anybody sees it (`store/mod.rs`), the commands (`commands/hash.rs`).

use alloc::{boxed::Box, collections::BTreeSet, vec::Vec};

use perdura_structures::{
    alloc_size::alloc_size,
    dict::{self, Dict},
    listpack::{self, Item, Listpack},
};

use super::value::{Kind, Limits, Object};

/// Bytes of one element of `expiries` without the field, with a B-tree's overhead.
const EXPIRY_BYTES: usize = 32;

/// A field's value in the table encoding.
#[derive(Clone, Debug)]
pub struct FieldValue {
    /// The value.
    pub value: Box<[u8]>,
    /// When the field expires, milliseconds since 1970; 0 if never.
    pub expiry_ms: u64,
}

/// A hash in one of its encodings.
#[derive(Clone, Debug)]
pub enum Hash {
    /// `listpack`: field, value, field, value …; no field expires.
    Listpack(Listpack),
    /// `hashtable`, or `listpackex` while compact.
    Table(Box<HashTable>),
}

/// Fields with the times at which they expire, milliseconds since 1970, the first to expire first.
pub type FieldOrder = BTreeSet<(u64, Box<[u8]>)>;

/// A hash as a table.
#[derive(Clone, Debug)]
pub struct HashTable {
    /// The fields.
    pub fields: Dict<FieldValue>,
    /// Fields that expire, by time.
    pub expiries: FieldOrder,
    /// Bytes of all values and of `expiries`, rounded as the allocator rounds.
    owned_bytes: usize,
    /// It is a table only because fields expire, and has never outgrown a listpack.
    is_compact: bool,
}

/// A field as iteration shows it.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Its name.
    pub name: Item<'a>,
    /// Its value.
    pub value: Item<'a>,
    /// When it expires, milliseconds since 1970; 0 if never.
    pub expiry_ms: u64,
}

impl Hash {
    /// An empty one.
    #[allow(clippy::new_without_default)] // An empty hash exists only until its first field.
    pub fn new() -> Hash {
        Hash::Listpack(Listpack::new())
    }

    /// A hash of a listpack of field, value, field, value … that holds no field twice.
    pub fn from_listpack(pack: Listpack, limits: &Limits) -> Hash {
        let mut hash = Hash::Listpack(pack);
        hash.convert_if_large(limits);
        hash
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        match self {
            Hash::Listpack(pack) => pack.len() / 2,
            Hash::Table(table) => table.fields.len(),
        }
    }

    /// As OBJECT ENCODING answers it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Hash::Listpack(_) => "listpack",
            Hash::Table(table) if table.is_compact => "listpackex",
            Hash::Table(_) => "hashtable",
        }
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<Item<'_>> {
        match self {
            Hash::Listpack(pack) => {
                let value = pack.next(pack.find(field, 2)?)?;
                Some(pack.item(value))
            }
            Hash::Table(table) => table.fields.get(field).map(|found| Item::Bytes(&found.value)),
        }
    }

    /// Whether there is such a field.
    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// When a field expires, milliseconds since 1970, 0 if never; `None` if there is no such field.
    pub fn expiry_of(&self, field: &[u8]) -> Option<u64> {
        match self {
            Hash::Listpack(pack) => pack.find(field, 2).map(|_| 0),
            Hash::Table(table) => table.fields.get(field).map(|found| found.expiry_ms),
        }
    }

    /// Gives a field a value, and makes it stay for ever; whether it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        self.put(field, value, None, limits)
    }

    /// Gives a field a value and leaves its expiry as it is; whether it is new.
    pub fn update(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        self.put(field, value, self.expiry_of(field), limits)
    }

    fn put(&mut self, field: &[u8], value: &[u8], expiry_ms: Option<u64>, limits: &Limits) -> bool {
        if !fits(field, value, limits) {
            self.outgrow(limits);
        }
        let is_new = match self {
            Hash::Listpack(pack) => put_packed(pack, field, value),
            Hash::Table(table) => table.insert(field, value, expiry_ms.unwrap_or(0)),
        };
        if is_new {
            self.convert_if_large(limits);
        }
        is_new
    }

    /// Removes a field; whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            Hash::Listpack(pack) => {
                let Some(found) = pack.find(field, 2) else { return false };
                let value = pack.remove(found).expect("a value follows its field");
                pack.remove(value);
                true
            }
            Hash::Table(table) => table.remove(field),
        }
    }

    /// Gives a field an expiry (0: takes it away); `false` if there is no such field.
    pub fn set_expiry(&mut self, field: &[u8], expiry_ms: u64, limits: &Limits) -> bool {
        if let Hash::Listpack(pack) = self {
            if pack.find(field, 2).is_none() {
                return false;
            }
            if expiry_ms == 0 {
                return true;
            }
            let mut table = HashTable::from_pack(pack, limits.hash_seed);
            table.is_compact = true;
            *self = Hash::Table(Box::new(table));
        }
        match self {
            Hash::Table(table) => table.set_expiry(field, expiry_ms),
            Hash::Listpack(_) => unreachable!("made a table above"),
        }
    }

    /// Takes out up to `count_max` fields that expired before `now_ms`; their names, earliest first.
    pub fn take_due(&mut self, now_ms: u64, count_max: usize) -> Vec<Box<[u8]>> {
        let Hash::Table(table) = self else { return Vec::new() };
        let due: Vec<Box<[u8]>> = table
            .expiries
            .iter()
            .take_while(|(at, _)| *at < now_ms)
            .take(count_max)
            .map(|(_, field)| field.clone())
            .collect();
        for field in &due {
            table.remove(field);
        }
        due
    }

    /// All fields, in an order that depends on the seed and on history alone.
    pub fn iter(&self) -> Iter<'_> {
        match self {
            Hash::Listpack(pack) => Iter::Pack(pack.iter()),
            Hash::Table(table) => Iter::Table(table.fields.iter()),
        }
    }

    /// Hands some fields to `emit` and returns the cursor that goes on after them; 0 starts, and 0 ends.
    pub fn scan(&self, cursor: u64, emit: &mut dyn FnMut(Field<'_>)) -> u64 {
        match self {
            Hash::Listpack(_) => {
                self.iter().for_each(emit);
                0
            }
            Hash::Table(table) => table.fields.scan(cursor, &mut |name, found| emit(found.shown(name))),
        }
    }

    /// A field chosen by `random`, each about equally likely; `None` only if there is none.
    pub fn sample(&self, random: u64) -> Option<Field<'_>> {
        match self {
            Hash::Listpack(pack) => {
                let count = pack.len() as u64 / 2;
                let mut pair = pack.iter_from(pack.seek(2 * random.checked_rem(count)? as i64)?);
                Some(Field { name: pair.next()?, value: pair.next()?, expiry_ms: 0 })
            }
            Hash::Table(table) => table.fields.sample(random).map(|(name, found)| found.shown(name)),
        }
    }

    /// Leaves the listpack behind for good.
    fn outgrow(&mut self, limits: &Limits) {
        match self {
            Hash::Listpack(pack) => {
                *self = Hash::Table(Box::new(HashTable::from_pack(pack, limits.hash_seed)));
            }
            Hash::Table(table) => table.is_compact = false,
        }
    }

    fn convert_if_large(&mut self, limits: &Limits) {
        if self.len() > limits.hash_listpack_entries_max {
            self.outgrow(limits);
        }
    }
}

/// Collects fields for a new hash, in the encoding Redis would choose for them.
pub struct Builder<'l> {
    table: HashTable,
    /// The fields in their order, as long as the table is compact.
    pack: Listpack,
    limits: &'l Limits,
}

impl<'l> Builder<'l> {
    /// Without any field yet.
    pub fn new(limits: &'l Limits) -> Builder<'l> {
        let mut table = HashTable::new(limits.hash_seed);
        table.is_compact = true;
        Builder { table, pack: Listpack::new(), limits }
    }

    /// Adds a field with value and expiry (0 if none); `false` if it was added before.
    pub fn add(&mut self, field: &[u8], value: &[u8], expiry_ms: u64) -> bool {
        let is_new = self.table.insert(field, value, expiry_ms);
        self.table.is_compact &= fits(field, value, self.limits);
        self.table.is_compact &= self.table.fields.len() <= self.limits.hash_listpack_entries_max;
        if self.table.is_compact {
            self.pack.push_back(field);
            self.pack.push_back(value);
        }
        is_new
    }

    /// The hash, if every `add` said true; `None` if there was none.
    pub fn finish(self) -> Option<Hash> {
        if self.table.fields.is_empty() {
            return None;
        }
        let is_packed = self.table.is_compact && self.table.expiries.is_empty();
        Some(if is_packed { Hash::Listpack(self.pack) } else { Hash::Table(Box::new(self.table)) })
    }
}

/// Whether a listpack may hold these texts.
fn fits(field: &[u8], value: &[u8], limits: &Limits) -> bool {
    field.len().max(value.len()) <= limits.hash_listpack_value_max
}

fn put_packed(pack: &mut Listpack, field: &[u8], value: &[u8]) -> bool {
    match pack.find(field, 2) {
        Some(found) => {
            let old = pack.next(found).expect("a value follows its field");
            pack.replace(old, value);
            false
        }
        None => {
            pack.push_back(field);
            pack.push_back(value);
            true
        }
    }
}

impl HashTable {
    /// An empty one.
    fn new(seed: u64) -> HashTable {
        HashTable { fields: Dict::new(seed), expiries: BTreeSet::new(), owned_bytes: 0, is_compact: false }
    }

    /// The fields, and the order of those that expire.
    pub fn into_parts(self) -> (Dict<FieldValue>, FieldOrder) {
        (self.fields, self.expiries)
    }

    fn from_pack(pack: &Listpack, seed: u64) -> HashTable {
        let mut table = HashTable::new(seed);
        for field in Iter::Pack(pack.iter()) {
            let (mut name, mut value) = Default::default();
            table.insert(field.name.text(&mut name), field.value.text(&mut value), 0);
        }
        table
    }

    /// Gives a field a value and an expiry (0 if none); whether it is new.
    fn insert(&mut self, field: &[u8], value: &[u8], expiry_ms: u64) -> bool {
        self.owned_bytes += alloc_size(value.len());
        let old = self.fields.insert(field, FieldValue { value: value.into(), expiry_ms });
        if let Some(old) = &old {
            self.forget(field, old);
        }
        self.note_expiry(field, expiry_ms);
        old.is_none()
    }

    fn remove(&mut self, field: &[u8]) -> bool {
        let Some(old) = self.fields.remove(field) else { return false };
        self.forget(field, &old);
        true
    }

    fn set_expiry(&mut self, field: &[u8], expiry_ms: u64) -> bool {
        let Some(found) = self.fields.get_mut(field) else { return false };
        let old_ms = core::mem::replace(&mut found.expiry_ms, expiry_ms);
        self.forget_expiry(field, old_ms);
        self.note_expiry(field, expiry_ms);
        true
    }

    fn forget(&mut self, field: &[u8], old: &FieldValue) {
        self.owned_bytes -= alloc_size(old.value.len());
        self.forget_expiry(field, old.expiry_ms);
    }

    fn note_expiry(&mut self, field: &[u8], expiry_ms: u64) {
        if expiry_ms != 0 {
            self.expiries.insert((expiry_ms, field.into()));
            self.owned_bytes += EXPIRY_BYTES + alloc_size(field.len());
        }
    }

    fn forget_expiry(&mut self, field: &[u8], expiry_ms: u64) {
        if expiry_ms != 0 {
            let is_known = self.expiries.remove(&(expiry_ms, field.into()));
            assert!(is_known);
            self.owned_bytes -= EXPIRY_BYTES + alloc_size(field.len());
        }
    }
}

impl FieldValue {
    fn shown<'a>(&'a self, name: &'a [u8]) -> Field<'a> {
        Field { name: Item::Bytes(name), value: Item::Bytes(&self.value), expiry_ms: self.expiry_ms }
    }
}

/// Fields of a hash.
pub enum Iter<'a> {
    /// Of a listpack.
    Pack(listpack::Iter<'a>),
    /// Of a table.
    Table(dict::Iter<'a, FieldValue>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        match self {
            Iter::Pack(items) => Some(Field { name: items.next()?, value: items.next()?, expiry_ms: 0 }),
            Iter::Table(fields) => fields.next().map(|(name, found)| found.shown(name)),
        }
    }
}

impl Kind for Hash {
    fn wrap(self) -> Object {
        Object::Hash(self)
    }
    fn of(object: &Object) -> Option<&Self> {
        if let Object::Hash(hash) = object { Some(hash) } else { None }
    }
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        if let Object::Hash(hash) = object { Some(hash) } else { None }
    }
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn memory(&self) -> usize {
        match self {
            Hash::Listpack(pack) => pack.memory(),
            Hash::Table(table) => {
                alloc_size(core::mem::size_of::<HashTable>()) + table.fields.memory() + table.owned_bytes
            }
        }
    }
    fn next_expiry_ms(&self) -> Option<u64> {
        match self {
            Hash::Listpack(_) => None,
            Hash::Table(table) => table.expiries.first().map(|&(at, _)| at),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, format};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Set(u8, u16),
        Update(u8, u16),
        Remove(u8),
        Expire(u8, u64),
        TakeDue(u64, usize),
        Clone,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..40u8, any::<u16>()).prop_map(|(field, value)| Step::Set(field, value)),
            2 => (0..40u8, any::<u16>()).prop_map(|(field, value)| Step::Update(field, value)),
            2 => (0..40u8).prop_map(Step::Remove),
            2 => (0..40u8, 0..50u64).prop_map(|(field, at)| Step::Expire(field, at)),
            1 => (0..50u64, 0..4usize).prop_map(|(now, count)| Step::TakeDue(now, count)),
            1 => Just(Step::Clone),
        ]
    }

    /// Every fourth field is a number, every fifth value longer than a listpack holds.
    fn field_of(number: u8) -> Vec<u8> {
        if number.is_multiple_of(4) {
            format!("{number}").into_bytes()
        } else {
            format!("f{number}").into_bytes()
        }
    }

    fn value_of(number: u16) -> Vec<u8> {
        let mut value = format!("{number}").into_bytes();
        if number.is_multiple_of(50) {
            value.resize(20, b'.');
        }
        value
    }

    type Twin = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

    fn check(hash: &Hash, twin: &Twin) {
        assert_eq!(hash.len(), twin.len());
        let listed: Twin =
            hash.iter().map(|field| (field.name.to_vec(), (field.value.to_vec(), field.expiry_ms))).collect();
        assert_eq!(&listed, twin);
        let mut scanned = Twin::new();
        let end = hash.scan(0, &mut |field| {
            scanned.insert(field.name.to_vec(), (field.value.to_vec(), field.expiry_ms));
        });
        assert!(end != 0 || scanned == *twin);
        for (field, (value, expiry_ms)) in twin {
            assert_eq!(hash.get(field).map(Item::to_vec).as_ref(), Some(value));
            assert_eq!(hash.expiry_of(field), Some(*expiry_ms));
        }
        assert_eq!(hash.sample(7).is_some(), !twin.is_empty());
        let earliest = twin.values().map(|(_, at)| *at).filter(|&at| at != 0).min();
        assert_eq!(hash.next_expiry_ms(), earliest);
        if let Hash::Table(table) = hash {
            let values: usize = twin.values().map(|(value, _)| alloc_size(value.len())).sum();
            let expiries: usize =
                table.expiries.iter().map(|(_, field)| EXPIRY_BYTES + alloc_size(field.len())).sum();
            assert_eq!(table.owned_bytes, values + expiries);
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec(step(), 0..120), entries_max in 0..40usize) {
            let limits =
                Limits { hash_listpack_entries_max: entries_max, hash_listpack_value_max: 12, ..Limits::default() };
            let (mut hash, mut twin) = (Hash::new(), Twin::new());
            for step in steps {
                match step {
                    Step::Set(field, value) => {
                        let (field, value) = (field_of(field), value_of(value));
                        prop_assert_eq!(hash.set(&field, &value, &limits), twin.insert(field, (value, 0)).is_none());
                    }
                    Step::Update(field, value) => {
                        let (field, value) = (field_of(field), value_of(value));
                        let expiry_ms = twin.get(&field).map_or(0, |(_, at)| *at);
                        let is_new = twin.insert(field.clone(), (value.clone(), expiry_ms)).is_none();
                        prop_assert_eq!(hash.update(&field, &value, &limits), is_new);
                    }
                    Step::Remove(field) => {
                        let field = field_of(field);
                        prop_assert_eq!(hash.remove(&field), twin.remove(&field).is_some());
                    }
                    Step::Expire(field, at) => {
                        let field = field_of(field);
                        let known = twin.get_mut(&field).map(|(_, expiry_ms)| *expiry_ms = at).is_some();
                        prop_assert_eq!(hash.set_expiry(&field, at, &limits), known);
                    }
                    Step::TakeDue(now_ms, count_max) => {
                        let taken = hash.take_due(now_ms, count_max);
                        let is_due = |at: u64| at != 0 && at < now_ms;
                        let due_count = twin.values().filter(|(_, at)| is_due(*at)).count();
                        prop_assert_eq!(taken.len(), due_count.min(count_max));
                        for field in taken {
                            prop_assert!(is_due(twin.remove(&*field).expect("it was there").1));
                        }
                    }
                    Step::Clone => hash = hash.clone(),
                }
                check(&hash, &twin);
            }
            let mut builder = Builder::new(&limits);
            for (field, (value, expiry_ms)) in &twin {
                prop_assert!(builder.add(field, value, *expiry_ms));
            }
            match builder.finish() {
                Some(rebuilt) => check(&rebuilt, &twin),
                None => prop_assert!(twin.is_empty()),
            }
        }
    }

    #[test]
    fn a_builder_notices_a_field_added_twice() {
        let limits = Limits::default();
        let mut builder = Builder::new(&limits);
        assert_eq!([builder.add(b"a", b"1", 0), builder.add(b"a", b"1", 0)], [true, false]);
    }

    #[test]
    fn encodings_change_at_their_limits_and_never_back() {
        let limits = Limits { hash_listpack_entries_max: 2, hash_listpack_value_max: 3, ..Limits::default() };
        let mut hash = Hash::new();
        for (field, encoding) in [("a", "listpack"), ("b", "listpack"), ("c", "hashtable")] {
            hash.set(field.as_bytes(), b"123", &limits);
            assert_eq!(hash.encoding(), encoding);
        }
        hash.remove(b"c");
        assert_eq!(hash.encoding(), "hashtable");

        let mut hash = Hash::new();
        hash.set(b"a", b"123", &limits);
        hash.set_expiry(b"a", 5, &limits);
        assert_eq!(hash.encoding(), "listpackex");
        hash.set(b"a", b"1234", &limits);
        assert_eq!((hash.encoding(), hash.next_expiry_ms()), ("hashtable", None));

        let pack: Listpack = ["a", "1", "b", "2", "c", "3"].iter().map(|text| text.as_bytes()).collect();
        assert_eq!(Hash::from_listpack(pack, &limits).encoding(), "hashtable");
    }
}
