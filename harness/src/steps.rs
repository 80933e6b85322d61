//! Writes of a client that owns its keys: each a change of one key, and the words that a server is sent for it.
//!
//! Not here: which writes are made when (`record.rs`), what they do (`model/`).

use crate::client::Reply;
use crate::model::{Bytes, Keyspace, StreamId};

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
    /// Makes the change and gives the reply a server must send (RESP2).
    ///
    /// # Panics
    /// If the key holds another type: the plan keeps types apart.
    pub fn apply(&self, keyspace: &mut Keyspace) -> Reply {
        match &self.change {
            // At which time it is applied is nobody's business otherwise.
            Change::Overdue => Reply::Integer(i64::from(keyspace.remove(0, &self.key))),
            _ => keyspace.apply(&self.arguments()),
        }
    }

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
