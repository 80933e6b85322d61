//! What a keyspace holds after a sequence of writes: Redis's data types in their plainest form.
//!
//! Exists to say, without asking any server, what each write must answer and what must be there afterwards;
//! and to read the same from a server, so that the two can be compared.
//!
//! Always true: a collection never stays behind empty, except a stream; equal keyspaces are equal values.
//!
//! Not here: which writes are made (`record.rs`); commands whose effect depends on a clock or on chance,
//! because nothing but the sequence may decide the outcome.

use crate::client::{Client, Reply};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

/// A string of Redis: any bytes.
pub type Bytes = Vec<u8>;

/// Milliseconds and sequence number of a stream entry.
pub type StreamId = (u64, u64);

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Also counters.
    String(Bytes),
    /// Head first.
    List(VecDeque<Bytes>),
    /// Field to value.
    Hash(BTreeMap<Bytes, Bytes>),
    /// Members.
    Set(BTreeSet<Bytes>),
    /// Member to score; the judge uses whole scores only.
    Zset(BTreeMap<Bytes, i64>),
    /// Id to the one field and value of its entry.
    Stream(BTreeMap<StreamId, (Bytes, Bytes)>),
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
    /// Whether its time has come.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|at_ms| at_ms < now_ms)
    }
}

/// Bytes of a value shown in a report.
const SHOWN_BYTES_MAX: usize = 60;

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The key it changes.
    pub key: Bytes,
    /// What it does to it.
    pub change: Change,
}

/// What a write does to its key. The names are those of the commands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // A row per command would only repeat its name.
pub enum Change {
    Set(Bytes),
    SetPxat(Bytes, u64),
    Append(Bytes),
    Del,
    Pexpireat(u64),
    /// `PEXPIREAT` with a time that is over: the key is gone.
    Overdue,
    Persist,
    Incrby(i64),
    Rpush(Bytes),
    Lpush(Bytes),
    Lpop,
    Rpop,
    /// Keeps the last so many elements.
    Ltrim(usize),
    Hset(Bytes, Bytes),
    Hdel(Bytes),
    Hincrby(Bytes, i64),
    Sadd(Bytes),
    Srem(Bytes),
    Zadd(Bytes, i64),
    Zincrby(Bytes, i64),
    Zrem(Bytes),
    Zpopmin,
    Xadd(StreamId, Bytes, Bytes),
    Xdel(StreamId),
    /// Keeps the newest so many entries.
    Xtrim(usize),
}

impl Step {
    /// The command and its arguments.
    pub fn arguments(&self) -> Vec<Bytes> {
        let number = |number: &dyn ToString| number.to_string().into_bytes();
        let key = || self.key.clone();
        let words = |name: &str, rest: Vec<Bytes>| [vec![name.as_bytes().to_vec(), key()], rest].concat();
        match &self.change {
            Change::Set(value) => words("SET", vec![value.clone()]),
            Change::SetPxat(value, at_ms) => {
                words("SET", vec![value.clone(), b"PXAT".to_vec(), number(at_ms)])
            }
            Change::Append(value) => words("APPEND", vec![value.clone()]),
            Change::Del => words("DEL", vec![]),
            Change::Pexpireat(at_ms) => words("PEXPIREAT", vec![number(at_ms)]),
            Change::Overdue => words("PEXPIREAT", vec![b"1".to_vec()]),
            Change::Persist => words("PERSIST", vec![]),
            Change::Incrby(by) => words("INCRBY", vec![number(by)]),
            Change::Rpush(element) => words("RPUSH", vec![element.clone()]),
            Change::Lpush(element) => words("LPUSH", vec![element.clone()]),
            Change::Lpop => words("LPOP", vec![]),
            Change::Rpop => words("RPOP", vec![]),
            Change::Ltrim(keep) => words("LTRIM", vec![format!("-{keep}").into_bytes(), b"-1".to_vec()]),
            Change::Hset(field, value) => words("HSET", vec![field.clone(), value.clone()]),
            Change::Hdel(field) => words("HDEL", vec![field.clone()]),
            Change::Hincrby(field, by) => words("HINCRBY", vec![field.clone(), number(by)]),
            Change::Sadd(member) => words("SADD", vec![member.clone()]),
            Change::Srem(member) => words("SREM", vec![member.clone()]),
            Change::Zadd(member, score) => words("ZADD", vec![number(score), member.clone()]),
            Change::Zincrby(member, by) => words("ZINCRBY", vec![number(by), member.clone()]),
            Change::Zrem(member) => words("ZREM", vec![member.clone()]),
            Change::Zpopmin => words("ZPOPMIN", vec![]),
            Change::Xadd(id, field, value) => words("XADD", vec![id_text(*id), field.clone(), value.clone()]),
            Change::Xdel(id) => words("XDEL", vec![id_text(*id)]),
            Change::Xtrim(keep) => words("XTRIM", vec![b"MAXLEN".to_vec(), number(keep)]),
        }
    }
}

fn id_text(id: StreamId) -> Bytes {
    format!("{}-{}", id.0, id.1).into_bytes()
}

/// Every key and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyspace {
    entries: BTreeMap<Bytes, Entry>,
}

impl Keyspace {
    /// The content of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// How many keys exist.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key exists.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts a key in as it was read.
    pub fn insert(&mut self, key: Bytes, entry: Entry) {
        self.entries.insert(key, entry);
    }

    /// Removes a key whose time has come: one that expires at this very millisecond is still there.
    pub fn expire(&mut self, key: &[u8], now_ms: u64) {
        if self.entries.get(key).is_some_and(|entry| entry.is_due(now_ms)) {
            self.entries.remove(key);
        }
    }

    /// Whether both show the same to somebody who looks now.
    pub fn is_equal_at(&self, other: &Keyspace, now_ms: u64) -> bool {
        self.visible(now_ms).eq(other.visible(now_ms))
    }

    /// Where two keyspaces differ for somebody who looks now, key by key.
    pub fn difference(&self, other: &Keyspace, now_ms: u64) -> String {
        let show = |entry: Option<&Entry>| match entry.filter(|entry| !entry.is_due(now_ms)) {
            None => String::from("nothing"),
            Some(Entry { value: Value::String(bytes), expires_at_ms }) => {
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)]).into_owned();
                let expiry = expires_at_ms.map_or(String::new(), |at| format!(" until {at}"));
                format!("{text:?} ({} bytes){expiry}", bytes.len())
            }
            Some(entry) => format!("{entry:?}"),
        };
        let keys: BTreeSet<&Bytes> = self.entries.keys().chain(other.entries.keys()).collect();
        let seen = |entry: Option<&Entry>| entry.filter(|entry| !entry.is_due(now_ms)).cloned();
        let differing = keys.into_iter().filter(|key| seen(self.get(key)) != seen(other.get(key)));
        let lines = differing.map(|key| {
            let name = String::from_utf8_lossy(key);
            format!("{name}: {} became {}", show(self.get(key)), show(other.get(key)))
        });
        lines.collect::<Vec<_>>().join("; ")
    }

    fn visible(&self, now_ms: u64) -> impl Iterator<Item = (&Bytes, &Entry)> {
        self.entries.iter().filter(move |(_, entry)| !entry.is_due(now_ms))
    }

    /// Makes the change and gives the reply a server must send (RESP2).
    ///
    /// # Panics
    /// If the key holds another type: the plan keeps types apart.
    pub fn apply(&mut self, step: &Step) -> Reply {
        let key = &step.key;
        let reply = match &step.change {
            Change::Set(value) => self.put_string(key, value, None),
            Change::SetPxat(value, at_ms) => self.put_string(key, value, Some(*at_ms)),
            Change::Del | Change::Overdue => count(usize::from(self.entries.remove(key).is_some())),
            Change::Pexpireat(at_ms) => self.change_expiry(key, Some(*at_ms)),
            Change::Persist => self.change_expiry(key, None),
            Change::Append(_) | Change::Incrby(_) => apply_to_string(self.string(key), &step.change),
            Change::Rpush(_) | Change::Lpush(_) | Change::Lpop | Change::Rpop | Change::Ltrim(_) => {
                apply_to_list(self.list(key), &step.change)
            }
            Change::Hset(..) | Change::Hdel(_) | Change::Hincrby(..) => {
                apply_to_hash(self.hash(key), &step.change)
            }
            Change::Sadd(member) => count(usize::from(self.set(key).insert(member.clone()))),
            Change::Srem(member) => count(usize::from(self.set(key).remove(member))),
            Change::Zadd(..) | Change::Zincrby(..) | Change::Zrem(_) | Change::Zpopmin => {
                apply_to_zset(self.zset(key), &step.change)
            }
            Change::Xadd(id, field, value) => {
                self.stream(key).insert(*id, (field.clone(), value.clone()));
                Reply::Bulk(id_text(*id))
            }
            // Unlike other collections a stream is not made by a command that only removes.
            Change::Xdel(_) | Change::Xtrim(_) if !self.entries.contains_key(key) => count(0),
            Change::Xdel(id) => count(usize::from(self.stream(key).remove(id).is_some())),
            Change::Xtrim(keep) => {
                let stream = self.stream(key);
                let excess = stream.len().saturating_sub(*keep);
                (0..excess).for_each(|_| drop(stream.pop_first()));
                count(excess)
            }
        };
        self.drop_if_empty(key);
        reply
    }

    fn put_string(&mut self, key: &Bytes, value: &Bytes, expires_at_ms: Option<u64>) -> Reply {
        self.entries.insert(key.clone(), Entry { value: Value::String(value.clone()), expires_at_ms });
        Reply::Simple("OK".into())
    }

    fn change_expiry(&mut self, key: &Bytes, expires_at_ms: Option<u64>) -> Reply {
        let Some(entry) = self.entries.get_mut(key) else { return count(0) };
        let had_expiry = entry.expires_at_ms.is_some();
        entry.expires_at_ms = expires_at_ms;
        count(usize::from(expires_at_ms.is_some() || had_expiry))
    }

    fn drop_if_empty(&mut self, key: &Bytes) {
        let is_empty = self.entries.get(key).is_some_and(|entry| match &entry.value {
            Value::List(list) => list.is_empty(),
            Value::Hash(hash) => hash.is_empty(),
            Value::Set(set) => set.is_empty(),
            Value::Zset(zset) => zset.is_empty(),
            Value::String(_) | Value::Stream(_) => false,
        });
        if is_empty {
            self.entries.remove(key);
        }
    }

    fn value(&mut self, key: &Bytes, new: Value) -> &mut Value {
        let new = || Entry { value: new, expires_at_ms: None };
        &mut self.entries.entry(key.clone()).or_insert_with(new).value
    }

    fn string(&mut self, key: &Bytes) -> &mut Bytes {
        let Value::String(string) = self.value(key, Value::String(Bytes::new())) else { wrong_type(key) };
        string
    }

    fn list(&mut self, key: &Bytes) -> &mut VecDeque<Bytes> {
        let Value::List(list) = self.value(key, Value::List(VecDeque::new())) else { wrong_type(key) };
        list
    }

    fn hash(&mut self, key: &Bytes) -> &mut BTreeMap<Bytes, Bytes> {
        let Value::Hash(hash) = self.value(key, Value::Hash(BTreeMap::new())) else { wrong_type(key) };
        hash
    }

    fn set(&mut self, key: &Bytes) -> &mut BTreeSet<Bytes> {
        let Value::Set(set) = self.value(key, Value::Set(BTreeSet::new())) else { wrong_type(key) };
        set
    }

    fn zset(&mut self, key: &Bytes) -> &mut BTreeMap<Bytes, i64> {
        let Value::Zset(zset) = self.value(key, Value::Zset(BTreeMap::new())) else { wrong_type(key) };
        zset
    }

    fn stream(&mut self, key: &Bytes) -> &mut BTreeMap<StreamId, (Bytes, Bytes)> {
        let Value::Stream(stream) = self.value(key, Value::Stream(BTreeMap::new())) else { wrong_type(key) };
        stream
    }

    /// Reads `keys` from a server.
    ///
    /// # Errors
    /// I/O, or `InvalidData` when a reply cannot be what such a key answers.
    pub fn read(client: &mut Client, keys: &[Bytes]) -> io::Result<Keyspace> {
        let ask = |name: &str| -> Vec<Vec<Bytes>> {
            keys.iter().map(|key| vec![name.as_bytes().to_vec(), key.clone()]).collect()
        };
        let types = client.pipeline(&ask("TYPE"))?;
        let expiries = client.pipeline(&ask("PEXPIRETIME"))?;
        let mut keyspace = Keyspace::default();
        for ((key, kind), expiry) in keys.iter().zip(types).zip(expiries) {
            let Some(value) = read_value(client, key, kind)? else { continue };
            let expires_at_ms = match expiry.as_integer() {
                Some(-1) => None,
                Some(at_ms) if at_ms >= 0 => Some(at_ms as u64),
                _ => return Err(unexpected("PEXPIRETIME", &expiry)),
            };
            keyspace.entries.insert(key.clone(), Entry { value, expires_at_ms });
        }
        Ok(keyspace)
    }
}

fn wrong_type(key: &Bytes) -> ! {
    panic!("the plan gave {} two types", String::from_utf8_lossy(key))
}

fn count(count: usize) -> Reply {
    Reply::Integer(count as i64)
}

fn bulk_or_null(bytes: Option<Bytes>) -> Reply {
    bytes.map_or(Reply::Null, Reply::Bulk)
}

fn apply_to_string(string: &mut Bytes, change: &Change) -> Reply {
    match change {
        Change::Append(value) => {
            string.extend_from_slice(value);
            count(string.len())
        }
        Change::Incrby(by) => Reply::Integer(increment(string, *by)),
        _ => unreachable!("not a change of a string"),
    }
}

fn increment(text: &mut Bytes, by: i64) -> i64 {
    let before: i64 = if text.is_empty() { 0 } else { parse(text).expect("counters hold numbers") };
    *text = (before + by).to_string().into_bytes();
    before + by
}

fn apply_to_list(list: &mut VecDeque<Bytes>, change: &Change) -> Reply {
    match change {
        Change::Rpush(element) => {
            list.push_back(element.clone());
            count(list.len())
        }
        Change::Lpush(element) => {
            list.push_front(element.clone());
            count(list.len())
        }
        Change::Lpop => bulk_or_null(list.pop_front()),
        Change::Rpop => bulk_or_null(list.pop_back()),
        Change::Ltrim(keep) => {
            list.drain(..list.len().saturating_sub(*keep));
            Reply::Simple("OK".into())
        }
        _ => unreachable!("not a change of a list"),
    }
}

fn apply_to_hash(hash: &mut BTreeMap<Bytes, Bytes>, change: &Change) -> Reply {
    match change {
        Change::Hset(field, value) => count(usize::from(hash.insert(field.clone(), value.clone()).is_none())),
        Change::Hdel(field) => count(usize::from(hash.remove(field).is_some())),
        Change::Hincrby(field, by) => Reply::Integer(increment(hash.entry(field.clone()).or_default(), *by)),
        _ => unreachable!("not a change of a hash"),
    }
}

fn apply_to_zset(zset: &mut BTreeMap<Bytes, i64>, change: &Change) -> Reply {
    match change {
        Change::Zadd(member, score) => count(usize::from(zset.insert(member.clone(), *score).is_none())),
        Change::Zincrby(member, by) => {
            let score = zset.entry(member.clone()).or_default();
            *score += by;
            Reply::Bulk(score.to_string().into_bytes())
        }
        Change::Zrem(member) => count(usize::from(zset.remove(member).is_some())),
        Change::Zpopmin => {
            let lowest = zset.iter().map(|(member, score)| (*score, member.clone())).min();
            Reply::Array(lowest.map_or(Vec::new(), |(score, member)| {
                zset.remove(&member);
                vec![Reply::Bulk(member), Reply::Bulk(score.to_string().into_bytes())]
            }))
        }
        _ => unreachable!("not a change of a sorted set"),
    }
}

/// What `key`, of the type the server named, holds; `None` if it does not exist.
fn read_value(client: &mut Client, key: &Bytes, kind: Reply) -> io::Result<Option<Value>> {
    let kind = kind.as_bytes().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
    let mut ask = |words: &[&str]| {
        let mut arguments: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        arguments.insert(1, key);
        client.call(&arguments)
    };
    Ok(Some(match kind.as_str() {
        "none" => return Ok(None),
        "string" => Value::String(bulk(ask(&["GET"])?)?),
        "list" => Value::List(bulks(ask(&["LRANGE", "0", "-1"])?)?.into()),
        "set" => Value::Set(bulks(ask(&["SMEMBERS"])?)?.into_iter().collect()),
        "hash" => Value::Hash(pairs(bulks(ask(&["HGETALL"])?)?).collect()),
        "zset" => {
            let scored = pairs(bulks(ask(&["ZRANGE", "0", "-1", "WITHSCORES"])?)?);
            let read = |(member, score): (Bytes, Bytes)| Some((member, parse(&score)?));
            Value::Zset(scored.map(read).collect::<Option<_>>().ok_or_else(|| not_a("whole score"))?)
        }
        "stream" => Value::Stream(read_stream(ask(&["XRANGE", "-", "+"])?)?),
        other => return Err(not_a(other)),
    }))
}

fn read_stream(reply: Reply) -> io::Result<BTreeMap<StreamId, (Bytes, Bytes)>> {
    let entries = reply.into_elements().ok_or_else(|| not_a("list of entries"))?;
    let read = |entry: Reply| {
        let [id, fields]: [Reply; 2] = entry.into_elements()?.try_into().ok()?;
        let [field, value]: [Bytes; 2] = bulks(fields).ok()?.try_into().ok()?;
        let id = String::from_utf8(bulk(id).ok()?).ok()?;
        let (milliseconds, sequence) = id.split_once('-')?;
        Some(((milliseconds.parse().ok()?, sequence.parse().ok()?), (field, value)))
    };
    entries.into_iter().map(read).collect::<Option<_>>().ok_or_else(|| not_a("stream entry"))
}

fn bulk(reply: Reply) -> io::Result<Bytes> {
    match reply {
        Reply::Bulk(bytes) => Ok(bytes),
        other => Err(unexpected("a string", &other)),
    }
}

fn bulks(reply: Reply) -> io::Result<Vec<Bytes>> {
    reply.into_elements().ok_or_else(|| not_a("list of strings"))?.into_iter().map(bulk).collect()
}

fn pairs(flat: Vec<Bytes>) -> impl Iterator<Item = (Bytes, Bytes)> {
    let mut flat = flat.into_iter();
    std::iter::from_fn(move || Some((flat.next()?, flat.next()?)))
}

fn parse(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn not_a(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server's reply is not a {what}"))
}

fn unexpected(wanted: &str, reply: &Reply) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("wanted {wanted}, got {reply:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(change: Change) -> Step {
        Step { key: b"k".to_vec(), change }
    }

    fn bytes(text: &str) -> Bytes {
        text.as_bytes().to_vec()
    }

    fn check(changes: &[Change], last_reply: Reply, expected: Option<Value>) {
        let mut keyspace = Keyspace::default();
        let reply = changes.iter().map(|change| keyspace.apply(&step(change.clone()))).last();
        assert_eq!(reply, Some(last_reply), "{changes:?}");
        assert_eq!(keyspace.get(b"k").map(|entry| entry.value.clone()), expected, "{changes:?}");
    }

    #[test]
    fn strings_and_counters() {
        let a = bytes("a");
        check(&[Change::Set(a.clone()), Change::Append(a)], count(2), Some(Value::String(bytes("aa"))));
        check(&[Change::Incrby(5), Change::Incrby(-7)], Reply::Integer(-2), Some(Value::String(bytes("-2"))));
        check(&[Change::Del], count(0), None);
        check(&[Change::Incrby(1), Change::Del], count(1), None);
    }

    #[test]
    fn a_collection_that_becomes_empty_is_gone() {
        let a = bytes("a");
        check(&[Change::Rpush(a.clone()), Change::Lpop], Reply::Bulk(a.clone()), None);
        check(&[Change::Sadd(a.clone()), Change::Srem(a.clone())], count(1), None);
        check(&[Change::Hset(a.clone(), a.clone()), Change::Hdel(a.clone())], count(1), None);
        check(&[Change::Zadd(a.clone(), 1), Change::Zrem(a)], count(1), None);
        check(&[Change::Lpop], Reply::Null, None);
    }

    #[test]
    fn a_stream_stays_when_empty_and_is_not_made_by_removing() {
        let add = Change::Xadd((1, 0), bytes("f"), bytes("v"));
        check(&[add, Change::Xdel((1, 0))], count(1), Some(Value::Stream(BTreeMap::new())));
        check(&[Change::Xtrim(3)], count(0), None);
    }

    #[test]
    fn zpopmin_takes_the_lowest_score_then_the_lowest_member() {
        let (a, b) = (bytes("a"), bytes("b"));
        check(
            &[Change::Zadd(b.clone(), 1), Change::Zadd(a.clone(), 1), Change::Zpopmin],
            Reply::Array(vec![Reply::Bulk(a), Reply::Bulk(bytes("1"))]),
            Some(Value::Zset([(b, 1)].into())),
        );
    }

    #[test]
    fn set_forgets_the_expiry_and_append_keeps_it() {
        let mut keyspace = Keyspace::default();
        keyspace.apply(&step(Change::SetPxat(bytes("a"), 9)));
        keyspace.apply(&step(Change::Append(bytes("b"))));
        assert_eq!(keyspace.get(b"k").unwrap().expires_at_ms, Some(9));
        keyspace.apply(&step(Change::Set(bytes("a"))));
        assert_eq!(keyspace.get(b"k").unwrap().expires_at_ms, None);
        assert_eq!(keyspace.apply(&step(Change::Persist)), count(0));
        assert_eq!(keyspace.apply(&step(Change::Pexpireat(9))), count(1));
        assert_eq!(keyspace.apply(&step(Change::Persist)), count(1));
    }
}
