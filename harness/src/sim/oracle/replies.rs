//! Every reply is the one that a naive model gives.

use crate::client::Reply;
use crate::model::{Bytes, Keyspace, Value};
use crate::sim::workload::Op;

/// What may be answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// This and nothing else, unless writes are refused as a whole.
    Exactly(Reply),
    /// `QUEUED`, unless writes are refused.
    Queued,
    /// An error: the engine did not carry it out.
    Refusal,
    /// Any well-formed reply.
    Anything,
}

impl Expected {
    /// What a command must answer, carried out on the model.
    pub fn of(op: &Op, keyspace: &mut Keyspace, now_ms: u64, is_loading: bool) -> Expected {
        if is_loading {
            return Expected::Anything;
        }
        match op {
            Op::Write(_) | Op::Get(_) | Op::FlushAll => Expected::Exactly(apply(op, keyspace, now_ms)),
            Op::Exec(ops) => {
                Expected::Exactly(Reply::Array(ops.iter().map(|op| apply(op, keyspace, now_ms)).collect()))
            }
            Op::Multi | Op::Select(_) => Expected::Exactly(Reply::Simple("OK".into())),
            Op::Queued(_) => Expected::Queued,
            _ => Expected::Anything,
        }
    }
}

fn apply(op: &Op, keyspace: &mut Keyspace, now_ms: u64) -> Reply {
    match op {
        Op::Write(step) => {
            keyspace.expire(&step.key, now_ms);
            keyspace.apply(step)
        }
        Op::Get(key) => {
            keyspace.expire(key, now_ms);
            keyspace.get(key).map_or(Reply::Null, |entry| Reply::Bulk(string(&entry.value)))
        }
        Op::FlushAll => {
            *keyspace = Keyspace::default();
            Reply::Simple("OK".into())
        }
        other => unreachable!("{other:?} is no data command"),
    }
}

fn string(value: &Value) -> Bytes {
    match value {
        Value::String(bytes) => bytes.clone(),
        other => unreachable!("GET of {other:?}"),
    }
}

/// Whether a reply may be given.
///
/// # Errors
/// What is wrong with it.
pub fn check_reply(expected: &Expected, reply: &Reply) -> Result<(), String> {
    let is_refusal =
        |text: &String| ["MISCONF", "EXECABORT", "LOADING"].iter().any(|code| text.starts_with(code));
    let is_right = match (expected, reply) {
        (Expected::Exactly(wanted), reply) if wanted == reply => true,
        (Expected::Exactly(_), Reply::Error(text)) => is_refusal(text),
        (Expected::Queued, Reply::Simple(text)) => text == "QUEUED",
        (Expected::Queued | Expected::Refusal, Reply::Error(text)) => is_refusal(text),
        (Expected::Anything, _) => true,
        _ => false,
    };
    if is_right { Ok(()) } else { Err(format!("expected {expected:?}, got {reply:?}")) }
}
