//! The data: databases of keys to values, with expiry, change tracking and memory counted.
//!
//! Exists so that a command touches data in one way only: look a key up, edit its value, say what changed.
//! Expired keys are removed on the way (and remembered, so that the log learns of it), memory is counted
//! before and after each edit, an emptied collection is removed.
//!
//! Always true: a key in `expiries` has that expiry in its entry and the reverse; `memory` is the sum over
//! all entries; no key holds an empty collection.
//!
//! Not here: replies and arguments (`commands/`), when to expire or evict (`node/cron.rs`), files (`persist/`).

pub mod db;
pub mod event;
pub mod garbage;
pub mod hash;
pub mod hyperloglog;
pub mod list;
pub mod set;
pub mod stream;
pub mod value;
pub mod zset;

use alloc::{boxed::Box, vec, vec::Vec};

use perdura_structures::table::ContentRef;

pub use db::{Db, Edited};
pub use event::{Class, Event};
pub use value::{Kind, Limits, Object, StringRef, Type, Value};

use crate::{
    error::{Error, WRONG_TYPE},
    rng::Rng,
};
use garbage::Garbage;
use hash::Hash;

/// Entry of a key and what it holds, as looked up.
pub type Entry<'a> = perdura_structures::table::EntryRef<'a, Object>;

/// A key in a database.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DbKey {
    /// Database number.
    pub db: usize,
    /// The key.
    pub key: Vec<u8>,
}

/// Fields of a hash whose time had come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpiredFields {
    /// The hash, which may be gone with its last field.
    pub key: DbKey,
    /// Their names, earliest first.
    pub fields: Vec<Box<[u8]>>,
}

/// Counters of what happened to keys, for INFO.
#[derive(Clone, Copy, Default, Debug)]
pub struct KeyStats {
    /// Lookups for reading that found something.
    pub hits: u64,
    /// Lookups for reading that did not.
    pub misses: u64,
    /// Keys removed because their time had come.
    pub expired: u64,
    /// Hash fields removed because their time had come.
    pub expired_fields: u64,
    /// Keys removed to stay below maxmemory.
    pub evicted: u64,
}

/// All databases, and the cursor of the command that is running.
#[derive(Clone)]
pub struct Store {
    dbs: Vec<Db>,
    /// Database the running command works on.
    pub selected: usize,
    /// Wall clock the running command sees, milliseconds since 1970; stands still within a command, script or EXEC.
    pub now_ms: u64,
    /// While a log or a snapshot is loaded nothing expires by itself.
    pub is_loading: bool,
    /// CLIENT PAUSE lasts: a key whose time has come is not shown, but stays.
    pub is_paused: bool,
    /// Lookups do not refresh idle times or count hits (CLIENT NO-TOUCH, OBJECT, DEBUG).
    pub no_touch: bool,
    /// Changes since the last snapshot, as INFO's `rdb_changes_since_last_save` counts them.
    pub dirty: u64,
    /// Encoding thresholds and the eviction clock's kind, kept equal to the configuration by the node.
    pub limits: Limits,
    /// Hits, misses, expiries.
    pub stats: KeyStats,
    /// Keyspace events raised since the node last took them; kept only for classes in `event_mask`.
    pub events: Vec<Event>,
    /// Classes somebody may hear of (`notify-keyspace-events`).
    pub event_mask: u32,
    /// Keys changed since the node last took them; kept only while `track_changes` is on.
    pub changed: Vec<DbKey>,
    /// Somebody watches, blocks on or caches keys.
    pub track_changes: bool,
    /// Keys that lazy expiry removed since the node last took them: each becomes a DEL in the log.
    pub expired: Vec<DbKey>,
    /// Fields that expiry removed since the node last took them: each hash's become an HDEL in the log.
    pub expired_fields: Vec<ExpiredFields>,
    /// For random picks of commands and eviction.
    pub rng: Rng,
    /// The key whose hash is known already.
    known: KnownKey,
    garbage: Garbage,
}

/// A key by where it lies in memory, and its hash. It is told while a command runs, whose arguments stay where they
/// are for as long: then other bytes can not lie there.
#[derive(Clone, Copy, Default)]
struct KnownKey {
    address: usize,
    len: usize,
    hash: u64,
}

impl Store {
    /// Empty databases `0..count`.
    pub fn new(count: usize, seed: u64) -> Store {
        Store {
            dbs: (0..count).map(|_| Db::new(seed)).collect(),
            selected: 0,
            now_ms: 0,
            is_loading: false,
            is_paused: false,
            no_touch: false,
            dirty: 0,
            limits: Limits::default(),
            stats: KeyStats::default(),
            events: vec![],
            event_mask: 0,
            changed: vec![],
            track_changes: false,
            expired: vec![],
            expired_fields: vec![],
            rng: Rng::from_seed(seed),
            known: KnownKey::default(),
            garbage: Garbage::default(),
        }
    }

    /// How many databases there are.
    pub fn db_count(&self) -> usize {
        self.dbs.len()
    }

    /// A database. Panics if `index` is not below `db_count`.
    pub fn db(&self, index: usize) -> &Db {
        &self.dbs[index]
    }

    /// A database for changing. Panics if `index` is not below `db_count`.
    pub fn db_mut(&mut self, index: usize) -> &mut Db {
        &mut self.dbs[index]
    }

    /// The database the running command works on.
    pub fn current(&self) -> &Db {
        &self.dbs[self.selected]
    }

    /// Exchanges two databases' contents (SWAPDB).
    pub fn swap(&mut self, first: usize, second: usize) {
        self.dbs.swap(first, second);
    }

    /// Bytes of all keys and values, computed from the data.
    pub fn memory(&self) -> usize {
        self.dbs.iter().map(Db::memory).sum()
    }

    /// Keys in all databases.
    pub fn len(&self) -> usize {
        self.dbs.iter().map(Db::len).sum()
    }

    /// No key anywhere.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // --- Hashing --------------------------------------------------------------------------------

    /// A key's hash, the same in every database.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let known = &self.known;
        if known.address == key.as_ptr().addr() && known.len == key.len() && known.len > 0 {
            return known.hash;
        }
        self.dbs[0].hash(key)
    }

    /// Says that the hash of a key is known, so that it is not computed again until [`Store::forget_hash`], which is due
    /// before the key's bytes may change.
    pub fn know_hash(&mut self, key: &[u8], hash: u64) {
        self.known = KnownKey { address: key.as_ptr().addr(), len: key.len(), hash };
    }

    /// The bytes of the key that is known may change from now on.
    pub fn forget_hash(&mut self) {
        self.known = KnownKey::default();
    }

    // --- Looking up -----------------------------------------------------------------------------

    /// Looks a key up for reading: expires it if due, counts hit or miss, refreshes its idle time.
    pub fn read(&mut self, key: &[u8]) -> Option<Entry<'_>> {
        let hash = self.hash(key);
        self.expire_if_due(self.selected, hash, key);
        let meta = (!self.no_touch).then(|| self.limits.touch_clock(self.now_ms));
        let hidden_before_ms = self.hidden_before_ms();
        let rng = &mut self.rng;
        let limits = &self.limits;
        let found = self.dbs[self.selected].lookup(hash, key, |old| match meta {
            Some(clock) => limits.touched_meta(old, clock, rng),
            None => old,
        });
        let found = found.filter(|entry| is_shown(entry, hidden_before_ms));
        match found {
            Some(_) if !self.no_touch => self.stats.hits += 1,
            None if !self.no_touch => self.stats.misses += 1,
            _ => {}
        }
        if found.is_none() && self.event_mask & Class::KeyMiss as u32 != 0 {
            let event =
                Event { class: Class::KeyMiss, name: "keymiss", db: self.selected, key: key.to_vec() };
            self.events.push(event);
        }
        found
    }

    /// Looks a key up for reading something about it, not its value: like [`Store::read`], but it stays as idle as
    /// it was.
    pub fn inspect(&mut self, key: &[u8]) -> Option<Entry<'_>> {
        let hash = self.hash(key);
        self.expire_if_due(self.selected, hash, key);
        let hidden_before_ms = self.hidden_before_ms();
        let found = self.dbs[self.selected].get_hashed(hash, key);
        let found = found.filter(|entry| is_shown(entry, hidden_before_ms));
        match found {
            Some(_) => self.stats.hits += 1,
            None => self.stats.misses += 1,
        }
        found
    }

    /// Looks a key up without any trace: no expiry, no hit, no idle time. An expired key is not shown.
    pub fn peek(&self, key: &[u8]) -> Option<Entry<'_>> {
        self.peek_in(self.selected, key)
    }

    /// [`Store::peek`] in another database.
    pub fn peek_in(&self, db: usize, key: &[u8]) -> Option<Entry<'_>> {
        let entry = self.dbs[db].get_hashed(self.hash(key), key)?;
        (!self.is_due(entry.expiry_ms())).then_some(entry)
    }

    /// Looks a key up as a write command does: expires it if due, without counting a hit or miss.
    pub fn find(&mut self, key: &[u8]) -> Option<Entry<'_>> {
        self.find_in(self.selected, key)
    }

    /// [`Store::find`] in another database.
    pub fn find_in(&mut self, db: usize, key: &[u8]) -> Option<Entry<'_>> {
        let hash = self.hash(key);
        self.expire_if_due(db, hash, key);
        let hidden_before_ms = self.hidden_before_ms();
        self.dbs[db].get_hashed(hash, key).filter(|entry| is_shown(entry, hidden_before_ms))
    }

    /// Whether the key is there (expiring it if due).
    pub fn exists(&mut self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// The string at a key, for reading.
    ///
    /// # Errors
    /// `WRONGTYPE` if it is not a string.
    pub fn string(&mut self, key: &[u8]) -> Result<Option<StringRef<'_>>, Error> {
        match self.read(key) {
            None => Ok(None),
            Some(entry) => StringRef::of(entry.content()).map(Some).ok_or(WRONG_TYPE),
        }
    }

    /// A collection, for reading.
    ///
    /// # Errors
    /// `WRONGTYPE` if the key holds another type.
    pub fn get<K: Kind>(&mut self, key: &[u8]) -> Result<Option<&K>, Error> {
        match self.read(key) {
            None => Ok(None),
            Some(entry) => match entry.content() {
                ContentRef::Object(object) => K::of(object).map(Some).ok_or(WRONG_TYPE),
                _ => Err(WRONG_TYPE),
            },
        }
    }

    /// A collection that is about to be changed: no hit is counted, it stays as idle as it was.
    ///
    /// # Errors
    /// `WRONGTYPE` if the key holds another type.
    pub fn find_kind<K: Kind>(&mut self, key: &[u8]) -> Result<Option<&K>, Error> {
        match self.find(key).map(|entry| entry.content()) {
            None => Ok(None),
            Some(ContentRef::Object(object)) => K::of(object).map(Some).ok_or(WRONG_TYPE),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    // --- Changing -------------------------------------------------------------------------------

    /// Edits a collection in place; one that is empty afterwards is removed with its key.
    ///
    /// Says nothing about the change: the command calls [`Store::touch`] if it made one.
    ///
    /// # Errors
    /// `WRONGTYPE` if the key holds another type.
    pub fn edit<K: Kind, R>(
        &mut self,
        key: &[u8],
        edit: impl FnOnce(&mut K) -> R,
    ) -> Result<Edited<R>, Error> {
        let hash = self.hash(key);
        self.expire_if_due(self.selected, hash, key);
        self.edit_found(hash, key, edit)
    }

    /// [`Store::edit`] of a key that was looked up in the same command.
    fn edit_found<K: Kind, R>(
        &mut self,
        hash: u64,
        key: &[u8],
        edit: impl FnOnce(&mut K) -> R,
    ) -> Result<Edited<R>, Error> {
        let clock = self.limits.touch_clock(self.now_ms);
        let rng = &mut self.rng;
        let limits = &self.limits;
        self.dbs[self.selected].edit(hash, key, |old| limits.touched_meta(old, clock, rng), edit)
    }

    /// [`Store::edit`], making the collection first if there is none.
    ///
    /// # Errors
    /// `WRONGTYPE` if the key holds another type.
    pub fn edit_or_insert<K: Kind, R>(
        &mut self,
        key: &[u8],
        create: impl FnOnce(&Limits) -> K,
        edit: impl FnOnce(&mut K) -> R,
    ) -> Result<Edited<R>, Error> {
        // Nearly always it is there, and one look-up does.
        let mut edit = Some(edit);
        let mut edit_once = |collection: &mut K| edit.take().map(|edit| edit(collection));
        let edited = self.edit(key, &mut edit_once)?;
        let edited = if let Edited::Missing = edited {
            let value = create(&self.limits);
            let meta = self.limits.new_meta(self.now_ms);
            self.insert_in(self.selected, key, Value::Object(value.wrap()), meta, None);
            // Not looked up again: what was just made is empty still, and a lookup would take it for one that ran empty.
            let hash = self.hash(key);
            self.edit_found(hash, key, &mut edit_once)?
        } else {
            edited
        };
        Ok(edited.map(|result| result.expect("edited once: before or after it was made")))
    }

    /// Sets a key to a value, replacing what was there; its expiry goes unless `keep_expiry`.
    pub fn set(&mut self, key: &[u8], value: Value<'_>, keep_expiry: bool) {
        self.set_in(self.selected, key, value, keep_expiry);
    }

    /// [`Store::set`] in another database.
    pub fn set_in(&mut self, db: usize, key: &[u8], value: Value<'_>, keep_expiry: bool) {
        let hash = self.hash(key);
        if keep_expiry {
            self.expire_if_due(db, hash, key);
        }
        let meta = self.overwritten_meta(db, hash, key);
        let existed = self.dbs[db].set(hash, key, value, meta, keep_expiry);
        if !existed {
            self.notify_in(db, Class::New, "new", key);
        }
    }

    /// Meta of a key that gets a new value: a frequency survives, an idle time does not.
    fn overwritten_meta(&mut self, db: usize, hash: u64, key: &[u8]) -> u32 {
        match self.limits.is_lfu.then(|| self.dbs[db].get_hashed(hash, key)).flatten() {
            Some(entry) => {
                self.limits.touched_meta(entry.meta(), self.limits.touch_clock(self.now_ms), &mut self.rng)
            }
            None => self.limits.new_meta(self.now_ms),
        }
    }

    /// Stores a value with meta and expiry as given (RENAME, MOVE, COPY), replacing what was there.
    pub fn insert_in(&mut self, db: usize, key: &[u8], value: Value<'_>, meta: u32, expiry_ms: Option<u64>) {
        let hash = self.hash(key);
        let existed = self.dbs[db].insert_hashed(hash, key, value, meta, expiry_ms);
        if !existed {
            self.notify_in(db, Class::New, "new", key);
        }
    }

    /// Edits the bytes of a string in place, from an empty one if there is none; its expiry stays.
    ///
    /// The string is `raw` afterwards, as everything that was once edited in part.
    ///
    /// # Errors
    /// `WRONGTYPE` if the key holds another type.
    pub fn edit_text<R>(&mut self, key: &[u8], edit: impl FnOnce(&mut Vec<u8>) -> R) -> Result<R, Error> {
        let embedded = match self.find(key) {
            None => Some(Vec::new()),
            Some(entry) => match entry.content() {
                ContentRef::Object(_) => None,
                content => StringRef::of(content).map(StringRef::to_vec),
            },
        };
        if let Some(text) = embedded {
            self.set(key, Value::Object(Object::String(text)), true);
        }
        let edited = self.edit(key, edit)?;
        Ok(edited.value().expect("the key was just looked up or made"))
    }

    /// Sets a key to a string, in the encoding Redis would choose (int, embstr, raw).
    pub fn set_string(&mut self, key: &[u8], text: &[u8], keep_expiry: bool) {
        self.set(key, Value::from_text(text), keep_expiry);
    }

    /// Removes a key; `false` if there was none (an expired one counts as none).
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let hash = self.hash(key);
        self.expire_if_due(self.selected, hash, key);
        self.dbs[self.selected].remove(hash, key)
    }

    /// Removes a key and gives what it held, or `None` if there was none (an expired one counts as none).
    pub fn take(&mut self, key: &[u8]) -> Option<perdura_structures::table::Removed<Object>> {
        let hash = self.hash(key);
        self.expire_if_due(self.selected, hash, key);
        self.dbs[self.selected].take_key(hash, key)
    }

    /// Removes all keys of a database; how many there were.
    pub fn empty_db(&mut self, db: usize) -> usize {
        self.dbs[db].empty_into(&mut self.garbage)
    }

    // --- Freeing --------------------------------------------------------------------------------

    /// What was removed and waits to be freed.
    pub fn garbage(&self) -> &Garbage {
        &self.garbage
    }

    /// Begins the count of what was freed anew.
    pub fn reset_freed(&mut self) {
        self.garbage.reset_freed();
    }

    /// Frees some of what was removed, about as many allocations as `budget` says; `false` when nothing is left.
    pub fn free_garbage(&mut self, budget: usize) -> bool {
        self.collect_garbage();
        self.garbage.free_some(budget)
    }

    /// Takes over the heavy objects that were removed lately.
    pub fn collect_garbage(&mut self) {
        for db in &mut self.dbs {
            db.discarded.drain(..).for_each(|object| self.garbage.discard(object));
        }
    }

    /// Gives a key an expiry, or takes it away; `false` if there is no such key.
    pub fn set_expiry(&mut self, key: &[u8], expiry_ms: Option<u64>) -> bool {
        self.set_expiry_in(self.selected, key, expiry_ms)
    }

    /// [`Store::set_expiry`] in another database.
    pub fn set_expiry_in(&mut self, db: usize, key: &[u8], expiry_ms: Option<u64>) -> bool {
        let hash = self.hash(key);
        self.dbs[db].set_expiry(hash, key, expiry_ms)
    }

    /// Says that a key was changed: counts `changes` towards the save points and tells whoever watches it.
    pub fn touch(&mut self, key: &[u8], changes: u64) {
        self.touch_in(self.selected, key, changes);
    }

    /// [`Store::touch`] in another database.
    pub fn touch_in(&mut self, db: usize, key: &[u8], changes: u64) {
        self.dirty += changes;
        if self.track_changes {
            self.changed.push(DbKey { db, key: key.to_vec() });
        }
    }

    /// Raises a keyspace event if anybody may hear it.
    pub fn notify(&mut self, class: Class, name: &'static str, key: &[u8]) {
        self.notify_in(self.selected, class, name, key);
    }

    /// [`Store::notify`] in another database.
    pub fn notify_in(&mut self, db: usize, class: Class, name: &'static str, key: &[u8]) {
        if self.event_mask & class as u32 != 0 {
            self.events.push(Event { class, name, db, key: key.to_vec() });
        }
    }

    /// What every write that removed a key says: changed, and `del` to the listeners.
    pub fn touch_removed(&mut self, key: &[u8]) {
        self.touch(key, 1);
        self.notify(Class::Generic, "del", key);
    }

    // --- Expiry ---------------------------------------------------------------------------------

    /// Whether an expiry has come. Never while loading: the log itself says what was removed.
    pub fn is_due(&self, expiry_ms: Option<u64>) -> bool {
        !self.is_loading && expiry_ms.is_some_and(|at| at < self.now_ms)
    }

    /// While paused: keys that expire before this moment are not shown.
    fn hidden_before_ms(&self) -> u64 {
        if self.is_paused { self.now_ms } else { 0 }
    }

    /// Whether an expiry about to be set leaves nothing to see: the key goes at once. Never while loading.
    pub fn is_past(&self, expiry_ms: u64) -> bool {
        !self.is_loading && expiry_ms <= self.now_ms
    }

    /// Removes the key if its time has come, or those of its fields whose time has.
    fn expire_if_due(&mut self, db: usize, hash: u64, key: &[u8]) {
        // Nearly every lookup ends here: nothing of this database ever expires, or the first one not yet.
        let is_later = |at: Option<u64>| at.is_none_or(|at| at >= self.now_ms);
        let database = &self.dbs[db];
        let (no_key, no_field) =
            (is_later(database.next_expiry_ms()), is_later(database.next_field_expiry_ms()));
        if self.is_loading || self.is_paused || (no_key && no_field) {
            return;
        }
        let is_due = database.get_hashed(hash, key).is_some_and(|entry| self.is_due(entry.expiry_ms()));
        if is_due {
            self.expire(db, key.to_vec());
        } else if !no_field {
            self.expire_fields(db, hash, key, usize::MAX);
        }
    }

    /// Removes the next key of `db` whose time has come; `false` if there is none.
    pub fn expire_next(&mut self, db: usize) -> bool {
        if self.dbs[db].next_expiry_ms().is_none_or(|at| at >= self.now_ms) {
            return false;
        }
        if let Some(key) = self.dbs[db].next_expiring_key() {
            self.expire(db, key);
        }
        true
    }

    /// Removes up to `count_max` fields of the hash in `db` whose field expired first; how many, 0 if none is due.
    pub fn expire_next_fields(&mut self, db: usize, count_max: usize) -> usize {
        if self.dbs[db].next_field_expiry_ms().is_none_or(|at| at >= self.now_ms) {
            return 0;
        }
        let Some(key) = self.dbs[db].next_field_expiring_key() else { return 0 };
        let hash = self.hash(&key);
        self.expire_fields(db, hash, &key, count_max)
    }

    /// Removes fields of a hash whose time has come; how many.
    fn expire_fields(&mut self, db: usize, hash: u64, key: &[u8], count_max: usize) -> usize {
        let now_ms = self.now_ms;
        let take = |fields: &mut Hash| fields.take_due(now_ms, count_max);
        // A key of another type has no fields to expire.
        let edited = self.dbs[db].edit(hash, key, |meta| meta, take).unwrap_or(Edited::Missing);
        let is_emptied = edited.is_emptied();
        let fields = edited.value().unwrap_or_default();
        let count = fields.len();
        if count == 0 {
            return 0;
        }
        self.stats.expired_fields += count as u64;
        self.touch_in(db, key, 0);
        self.notify_in(db, Class::Hash, "hexpired", key);
        if is_emptied {
            self.notify_in(db, Class::Generic, "del", key);
        }
        self.expired_fields.push(ExpiredFields { key: DbKey { db, key: key.to_vec() }, fields });
        count
    }

    fn expire(&mut self, db: usize, key: Vec<u8>) {
        let hash = self.hash(&key);
        self.dbs[db].remove(hash, &key);
        self.stats.expired += 1;
        self.touch_in(db, &key, 0);
        self.notify_in(db, Class::Expired, "expired", &key);
        self.expired.push(DbKey { db, key });
    }
}

fn is_shown(entry: &Entry<'_>, hidden_before_ms: u64) -> bool {
    hidden_before_ms == 0 || entry.expiry_ms().is_none_or(|at| at >= hidden_before_ms)
}
