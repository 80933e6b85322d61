//! What a keyspace holds after a sequence of commands: Redis's data types in their plainest form.
//!
//! Exists to say, without asking any server, what each command must answer and what must be there afterwards; and to read
//! the same from a server, so that the two can be compared. A command is its words, as a client sends them.
//!
//! Always true: a collection never stays behind empty, except a stream; equal keyspaces are equal values; a command that
//! answers an error has changed nothing; what depends on chance is taken from the server and checked for being possible.
//!
//! Not here: which commands are sent (`operations.rs`, `sim/workload/`).

mod digest;
mod execute;
mod hashes;
mod hyperloglog;
mod keys;
mod lists;
mod read;
mod sets;
mod streams;
mod strings;
mod zsets;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub use digest::Digest;
pub use execute::{APPLIED_AT_MS, Answer, Choice};
pub use hyperloglog::plain_registers;
pub use read::{Ask, read_dbs, read_key, read_keys};
pub use streams::{Consumer, Group, Pending, Stream, StreamId};
pub use zsets::Score;

/// A string of Redis: any bytes.
pub type Bytes = Vec<u8>;

/// Databases that the judge uses.
pub const DBS: usize = 2;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Also counters, bitmaps and HyperLogLogs.
    String(Bytes),
    /// Head first.
    List(VecDeque<Bytes>),
    /// Field to value.
    Hash(BTreeMap<Bytes, Field>),
    /// Members.
    Set(BTreeSet<Bytes>),
    /// Member to score; also places on earth.
    Zset(BTreeMap<Bytes, Score>),
    /// Entries and groups.
    Stream(Stream),
}

/// One field of a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its value.
    pub value: Bytes,
    /// When it expires, milliseconds of unix time.
    pub expires_at_ms: Option<u64>,
}

/// One key's content and lifetime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it holds.
    pub value: Value,
    /// When it expires, in milliseconds of unix time.
    pub expires_at_ms: Option<u64>,
}

impl Entry {
    /// A key that stays.
    pub fn lasting(value: Value) -> Entry {
        Entry { value, expires_at_ms: None }
    }

    /// Whether its time has come: what expires at this very millisecond is still there.
    pub fn is_due(&self, now_ms: u64) -> bool {
        is_due(self.expires_at_ms, now_ms)
    }

    /// When it goes, and each field of it that goes before.
    pub fn ends(&self) -> impl Iterator<Item = u64> {
        let fields = match &self.value {
            Value::Hash(fields) => Some(fields.values().filter_map(|field| field.expires_at_ms)),
            _ => None,
        };
        self.expires_at_ms.into_iter().chain(fields.into_iter().flatten())
    }

    /// The same without fields whose time has come; `None` if nothing is left to see.
    pub fn seen_at(&self, now_ms: u64) -> Option<Entry> {
        let mut entry = self.clone();
        if let Value::Hash(fields) = &mut entry.value {
            fields.retain(|_, field| !is_due(field.expires_at_ms, now_ms));
            if fields.is_empty() {
                return None;
            }
        }
        (!self.is_due(now_ms)).then_some(entry)
    }
}

pub(crate) fn is_due(expires_at_ms: Option<u64>, now_ms: u64) -> bool {
    expires_at_ms.is_some_and(|at_ms| at_ms < now_ms)
}

/// A key and its database.
pub type Place = (usize, Bytes);

type Db = BTreeMap<Bytes, Arc<Entry>>;

/// Every key and what it holds. Cheap to clone: entries are shared until one of the two changes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyspace {
    dbs: [Db; DBS],
}

impl Keyspace {
    /// The content of `key`.
    pub fn get(&self, db: usize, key: &[u8]) -> Option<&Entry> {
        self.dbs[db].get(key).map(Arc::as_ref)
    }

    /// How many keys exist in all databases.
    pub fn len(&self) -> usize {
        self.dbs.iter().map(BTreeMap::len).sum()
    }

    /// Whether no key exists.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a key in as it was read.
    pub fn insert(&mut self, db: usize, key: Bytes, entry: Entry) {
        self.dbs[db].insert(key, Arc::new(entry));
    }

    /// Takes a key out.
    pub fn remove(&mut self, db: usize, key: &[u8]) -> bool {
        self.dbs[db].remove(key).is_some()
    }

    /// All keys with what they hold.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Bytes, &Entry)> {
        let dbs = self.dbs.iter().enumerate();
        dbs.flat_map(|(db, keys)| keys.iter().map(move |(key, entry)| (db, key, entry.as_ref())))
    }

    /// Removes keys and fields whose time has come.
    pub fn expire(&mut self, now_ms: u64) {
        for db in &mut self.dbs {
            db.retain(|_, entry| {
                let has_due_field = match &entry.value {
                    Value::Hash(fields) => fields.values().any(|field| is_due(field.expires_at_ms, now_ms)),
                    _ => false,
                };
                if has_due_field && let Some(seen) = entry.seen_at(now_ms) {
                    *entry = Arc::new(seen);
                    return true;
                }
                !has_due_field && !entry.is_due(now_ms)
            });
        }
    }

    /// Keys whose entries are not the very same in both: whatever was written, be it with the same value.
    pub fn changed_since(&self, before: &Keyspace) -> Vec<Place> {
        let mut changed = Vec::new();
        for (db, (now, then)) in self.dbs.iter().zip(&before.dbs).enumerate() {
            let is_same = |key: &Bytes, entry: &Arc<Entry>| {
                then.get(key).is_some_and(|other| Arc::ptr_eq(entry, other))
            };
            changed.extend(
                now.iter().filter(|(key, entry)| !is_same(key, entry)).map(|(key, _)| (db, key.clone())),
            );
            changed.extend(then.keys().filter(|key| !now.contains_key(*key)).map(|key| (db, key.clone())));
        }
        changed
    }

    /// Where two keyspaces differ for somebody who looks now, key by key.
    pub fn difference(&self, other: &Keyspace, now_ms: u64) -> String {
        let mut lines = Vec::new();
        for db in 0..DBS {
            let keys: BTreeSet<&Bytes> = self.dbs[db].keys().chain(other.dbs[db].keys()).collect();
            for key in keys {
                let seen =
                    |keyspace: &Keyspace| keyspace.get(db, key).and_then(|entry| entry.seen_at(now_ms));
                let (mine, theirs) = (seen(self), seen(other));
                if mine != theirs {
                    let name = String::from_utf8_lossy(key);
                    let (mine, theirs) = (show(mine), show(theirs));
                    let (mine, theirs) = (from_difference(&mine, &theirs), from_difference(&theirs, &mine));
                    lines.push(format!("{db}/{name}: {mine} became {theirs}"));
                }
            }
        }
        lines.join("; ")
    }
}

/// Characters of a value shown in a report, and how many of them before the first that differs.
const SHOWN_CHARS_MAX: usize = 400;
const SHOWN_CHARS_BEFORE: usize = 100;

/// The part of a text where it differs from another one.
fn from_difference(text: &str, other: &str) -> String {
    let equal = text.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    let skipped = equal.saturating_sub(SHOWN_CHARS_BEFORE);
    let shown: String = text.chars().skip(skipped).take(SHOWN_CHARS_MAX).collect();
    if skipped > 0 { format!("… {shown}") } else { shown }
}

fn show(entry: Option<Entry>) -> String {
    let Some(entry) = entry else { return "nothing".into() };
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let value = match &entry.value {
        Value::String(bytes) => format!("{:?} ({} bytes)", text(bytes), bytes.len()),
        Value::List(items) => format!("list {:?}", items.iter().map(text).collect::<Vec<_>>()),
        Value::Set(members) => format!("set {:?}", members.iter().map(text).collect::<Vec<_>>()),
        Value::Hash(fields) => {
            let show = |(name, field): (&Bytes, &Field)| {
                format!("{}={} until {:?}", text(name), text(&field.value), field.expires_at_ms)
            };
            format!("hash {:?}", fields.iter().map(show).collect::<Vec<_>>())
        }
        Value::Zset(members) => {
            let show =
                |(member, score): (&Bytes, &Score)| format!("{}={}", text(member), text(&score.text()));
            format!("zset {:?}", members.iter().map(show).collect::<Vec<_>>())
        }
        Value::Stream(stream) => format!("{stream:?}"),
    };
    match entry.expires_at_ms {
        None => value,
        Some(at_ms) => format!("{value} until {at_ms}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Reply;

    /// Says each line at this time, in database 0, and expects the answer.
    #[track_caller]
    pub(super) fn check_at(keyspace: &mut Keyspace, now_ms: u64, script: &[(&str, Reply)]) {
        for (line, expected) in script {
            let words: Vec<Bytes> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            let answer = keyspace.execute(0, &words, now_ms);
            assert!(answer.allows(expected), "{line}: {answer:?} is not {expected:?}");
        }
    }

    #[track_caller]
    fn check(script: &[(&str, Reply)]) {
        check_at(&mut Keyspace::default(), 1_000, script);
    }

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.as_bytes().to_vec())
    }

    fn bulks(texts: &[&str]) -> Reply {
        Reply::Array(texts.iter().map(|text| bulk(text)).collect())
    }

    fn ok() -> Reply {
        Reply::Simple("OK".into())
    }

    fn error(text: &str) -> Reply {
        Reply::Error(text.into())
    }

    use Reply::{Integer, Null};

    #[test]
    fn strings_and_counters() {
        check(&[
            ("SET k a", ok()),
            ("APPEND k a", Integer(2)),
            ("SET n 5 NX", ok()),
            ("INCRBY n -7", Integer(-2)),
            ("SET n 5 NX", Null),
            ("INCR k", error("ERR value is not an integer or out of range")),
            ("SETBIT b 7 1", Integer(0)),
            ("GET b", Reply::Bulk(vec![1])),
            ("INCRBYFLOAT f 1.5", bulk("1.5")),
            ("DEL k missing", Integer(1)),
        ]);
    }

    #[test]
    fn a_collection_that_becomes_empty_is_gone() {
        check(&[
            ("RPUSH l a b", Integer(2)),
            ("LPOP l 5", bulks(&["a", "b"])),
            ("SADD s a", Integer(1)),
            ("SREM s a", Integer(1)),
            ("HSET h f v", Integer(1)),
            ("HDEL h f", Integer(1)),
            ("ZADD z 1 a", Integer(1)),
            ("ZREM z a", Integer(1)),
            ("DBSIZE", Integer(0)),
        ]);
    }

    #[test]
    fn a_stream_stays_when_empty_and_is_not_made_by_removing() {
        check(&[
            ("XTRIM x MAXLEN 3", Integer(0)),
            ("EXISTS x", Integer(0)),
            ("XADD x 1-0 f v", bulk("1-0")),
            ("XDEL x 1-0", Integer(1)),
            ("EXISTS x", Integer(1)),
            (
                "XADD x 1-0 f v",
                error("ERR The ID specified in XADD is equal or smaller than the target stream top item"),
            ),
        ]);
    }

    #[test]
    fn zpopmin_takes_the_lowest_score_then_the_lowest_member() {
        check(&[
            ("ZADD z 1 b 1 a", Integer(2)),
            ("ZPOPMIN z", bulks(&["a", "1"])),
            ("ZPOPMIN z", bulks(&["b", "1"])),
        ]);
    }

    #[test]
    fn set_forgets_the_expiry_and_append_keeps_it() {
        let mut keyspace = Keyspace::default();
        check_at(&mut keyspace, 1_000, &[("SET k a PXAT 2000", ok()), ("APPEND k b", Integer(2))]);
        assert_eq!(keyspace.get(0, b"k").unwrap().expires_at_ms, Some(2_000));
        check_at(
            &mut keyspace,
            1_000,
            &[("SET k a", ok()), ("PERSIST k", Integer(0)), ("PEXPIREAT k 2000", Integer(1))],
        );
        check_at(&mut keyspace, 2_000, &[("EXISTS k", Integer(1))]);
        check_at(&mut keyspace, 2_001, &[("EXISTS k", Integer(0))]);
    }

    #[test]
    fn the_wrong_type_is_an_error_that_changes_nothing() {
        let mut keyspace = Keyspace::default();
        check_at(&mut keyspace, 1, &[("LPUSH k a", Integer(1))]);
        let before = keyspace.clone();
        let wrong = || error("WRONGTYPE Operation against a key holding the wrong kind of value");
        check_at(&mut keyspace, 1, &[("INCR k", wrong()), ("ZADD k 1 a", wrong()), ("HSET k a b", wrong())]);
        assert_eq!(keyspace, before);
    }

    #[test]
    fn a_group_delivers_each_entry_once_until_it_is_acknowledged() {
        let entry = |id: &str| Reply::Array(vec![bulk(id), bulks(&["f", "v"])]);
        let of_x = |entries| Reply::Array(vec![Reply::Array(vec![bulk("x"), Reply::Array(entries)])]);
        check(&[
            ("XADD x 1-0 f v", bulk("1-0")),
            ("XGROUP CREATE x g 0", ok()),
            ("XREADGROUP GROUP g c STREAMS x >", of_x(vec![entry("1-0")])),
            ("XREADGROUP GROUP g c STREAMS x >", Null),
            ("XACK x g 1-0", Integer(1)),
            ("XACK x g 1-0", Integer(0)),
        ]);
    }

    #[test]
    fn digests_tell_states_apart_and_forget_what_is_due() {
        let mut keyspace = Keyspace::default();
        check_at(&mut keyspace, 1_000, &[("SET a 1", ok()), ("HSET h f v g w", Integer(2))]);
        let before = Digest::of(&keyspace);
        check_at(&mut keyspace, 1_000, &[("SET b 1 PXAT 2000", ok())]);
        let after = Digest::of(&keyspace);
        assert_ne!(before.at(2_000), after.at(2_000));
        assert_eq!(before.at(2_001), after.at(2_001));
        let mut swapped = Keyspace::default();
        check_at(&mut swapped, 1_000, &[("SET a w", ok()), ("HSET h f v g 1", Integer(2))]);
        assert_ne!(before.at(0), Digest::of(&swapped).at(0));
    }
}
