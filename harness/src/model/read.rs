//! Reads a keyspace from a server, as a client would: first the names, then the types, then what is in them.

use std::io;

use super::streams::parse_id;
use super::{Bytes, DBS, Entry, Field, Group, Keyspace, Pending, Score, Stream, Value};
use crate::client::{Client, Reply};

/// Whom to ask: sends all commands at once and gives a reply to each.
pub trait Ask {
    /// Asks.
    ///
    /// # Errors
    /// The server did not answer.
    fn ask(&mut self, commands: &[Vec<Bytes>]) -> io::Result<Vec<Reply>>;
}

impl Ask for Client {
    fn ask(&mut self, commands: &[Vec<Bytes>]) -> io::Result<Vec<Reply>> {
        self.pipeline(commands)
    }
}

fn words(name: &[&str], key: &[u8], rest: &[&str]) -> Vec<Bytes> {
    let bytes = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    [bytes(name), vec![key.to_vec()], bytes(rest)].concat()
}

/// Reads all keys of all databases.
///
/// # Errors
/// The server does not answer, or not as it must.
pub fn read_dbs(server: &mut dyn Ask) -> io::Result<Keyspace> {
    let mut keyspace = Keyspace::default();
    for db in 0..DBS {
        let names =
            server.ask(&[words(&["SELECT"], db.to_string().as_bytes(), &[]), words(&["KEYS"], b"*", &[])])?;
        let names = bulks(names.into_iter().next_back().ok_or_else(|| not_a("reply"))?)?;
        read_into(&mut keyspace, server, db, &names)?;
    }
    Ok(keyspace)
}

/// Reads these keys of the database that is selected.
///
/// # Errors
/// As [`read_dbs`].
pub fn read_keys(server: &mut dyn Ask, keys: &[Bytes]) -> io::Result<Keyspace> {
    let mut keyspace = Keyspace::default();
    read_into(&mut keyspace, server, 0, keys)?;
    Ok(keyspace)
}

/// Reads one key of a database.
///
/// # Errors
/// As [`read_dbs`].
pub fn read_key(server: &mut dyn Ask, db: usize, key: &Bytes) -> io::Result<Option<Entry>> {
    let mut keyspace = Keyspace::default();
    server.ask(&[words(&["SELECT"], db.to_string().as_bytes(), &[])])?;
    read_into(&mut keyspace, server, db, std::slice::from_ref(key))?;
    Ok(keyspace.get(db, key).cloned())
}

fn read_into(keyspace: &mut Keyspace, server: &mut dyn Ask, db: usize, keys: &[Bytes]) -> io::Result<()> {
    let headers: Vec<Vec<Bytes>> =
        keys.iter().flat_map(|key| [words(&["TYPE"], key, &[]), words(&["PEXPIRETIME"], key, &[])]).collect();
    let mut headers = server.ask(&headers)?.into_iter();
    let (mut questions, mut read) = (Vec::new(), Vec::new());
    for key in keys {
        let (Some(kind), Some(expiry)) = (headers.next(), headers.next()) else {
            return Err(not_a("pair of replies"));
        };
        let kind = kind.as_bytes().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
        let first = questions.len();
        match kind.as_str() {
            "none" => continue,
            "string" => questions.push(words(&["GET"], key, &[])),
            "list" => questions.push(words(&["LRANGE"], key, &["0", "-1"])),
            "set" => questions.push(words(&["SMEMBERS"], key, &[])),
            "hash" => questions.push(words(&["HGETALL"], key, &[])),
            "zset" => questions.push(words(&["ZRANGE"], key, &["0", "-1", "WITHSCORES"])),
            "stream" => questions.push(words(&["XINFO", "STREAM"], key, &["FULL", "COUNT", "0"])),
            other => return Err(not_a(other)),
        }
        read.push((key, kind, expiry, first));
    }
    let answers = server.ask(&questions)?;
    for (key, kind, expiry, first) in read {
        let expires_at_ms = match expiry.as_integer() {
            Some(-1) => None,
            Some(at_ms) if at_ms >= 0 => Some(at_ms as u64),
            // It expired between the two looks.
            Some(-2) => continue,
            _ => return Err(unexpected("PEXPIRETIME", &expiry)),
        };
        let Some(value) = value_of(server, key, &kind, answers[first].clone())? else { continue };
        keyspace.insert(db, key.clone(), Entry { value, expires_at_ms });
    }
    Ok(())
}

/// What an answer says is in the key; `None` if it was gone by then.
fn value_of(server: &mut dyn Ask, key: &Bytes, kind: &str, answer: Reply) -> io::Result<Option<Value>> {
    Ok(Some(match kind {
        "string" if answer == Reply::Null => return Ok(None),
        "string" => Value::String(bulk(answer)?),
        "list" => Value::List(bulks(answer)?.into()),
        "set" => Value::Set(bulks(answer)?.into_iter().collect()),
        "hash" => Value::Hash(read_fields(server, key, pairs(bulks(answer)?).collect())?),
        "zset" => {
            let read = |(member, score): (Bytes, Bytes)| Some((member, Score(parse(&score)?)));
            let scored = pairs(bulks(answer)?).map(read).collect::<Option<_>>();
            Value::Zset(scored.ok_or_else(|| not_a("score"))?)
        }
        _ if matches!(answer, Reply::Error(_)) => return Ok(None),
        _ => Value::Stream(stream_of(answer).ok_or_else(|| not_a("stream"))?),
    }))
}

/// The lifetimes of fields are asked for apart, of servers that know them.
fn read_fields(
    server: &mut dyn Ask,
    key: &Bytes,
    pairs: Vec<(Bytes, Bytes)>,
) -> io::Result<std::collections::BTreeMap<Bytes, Field>> {
    let mut question = words(&["HPEXPIRETIME"], key, &["FIELDS", &pairs.len().to_string()]);
    question.extend(pairs.iter().map(|(name, _)| name.clone()));
    let times = match pairs.is_empty() {
        true => Vec::new(),
        false => server.ask(&[question])?.pop().and_then(Reply::into_elements).unwrap_or_default(),
    };
    let time = |index: usize| {
        times.get(index).and_then(Reply::as_integer).and_then(|at_ms| u64::try_from(at_ms).ok())
    };
    // It went between the two looks.
    let is_gone = |index: usize| times.get(index).and_then(Reply::as_integer) == Some(-2);
    let there = pairs.into_iter().enumerate().filter(|(index, _)| !is_gone(*index));
    Ok(there.map(|(index, (name, value))| (name, Field { value, expires_at_ms: time(index) })).collect())
}

/// XINFO STREAM … FULL
fn stream_of(reply: Reply) -> Option<Stream> {
    let info = Named::of(reply)?;
    let id = |reply: &Reply| parse_id(reply.as_bytes()?).ok();
    let entry = |entry: Reply| {
        let [id, fields]: [Reply; 2] = entry.into_elements()?.try_into().ok()?;
        Some((parse_id(&bulk(id).ok()?).ok()?, bulks(fields).ok()?))
    };
    Some(Stream {
        entries: info
            .get("entries")?
            .clone()
            .into_elements()?
            .into_iter()
            .map(entry)
            .collect::<Option<_>>()?,
        last_id: id(info.get("last-generated-id")?)?,
        deleted_id_max: id(info.get("max-deleted-entry-id")?)?,
        added: info.get("entries-added")?.as_integer()? as u64,
        groups: info
            .get("groups")?
            .clone()
            .into_elements()?
            .into_iter()
            .map(group_of)
            .collect::<Option<_>>()?,
    })
}

fn group_of(reply: Reply) -> Option<(Bytes, Group)> {
    let info = Named::of(reply)?;
    let pending = |reply: Reply| {
        let [id, consumer, since, count]: [Reply; 4] = reply.into_elements()?.try_into().ok()?;
        let pending = Pending {
            consumer: bulk(consumer).ok()?,
            delivered_ms: since.as_integer()? as u64,
            count: count.as_integer()? as u64,
        };
        Some((parse_id(&bulk(id).ok()?).ok()?, pending))
    };
    let consumer = |reply: Reply| bulk(Named::of(reply)?.get("name")?.clone()).ok();
    let group = Group {
        last_id: parse_id(info.get("last-delivered-id")?.as_bytes()?).ok()?,
        entries_read: info.get("entries-read")?.as_integer(),
        pending: info
            .get("pending")?
            .clone()
            .into_elements()?
            .into_iter()
            .map(pending)
            .collect::<Option<_>>()?,
        consumers: info
            .get("consumers")?
            .clone()
            .into_elements()?
            .into_iter()
            .map(consumer)
            .collect::<Option<_>>()?,
    };
    Some((bulk(info.get("name")?.clone()).ok()?, group))
}

/// Names and values by turns, as RESP2 sends a map.
struct Named(Vec<Reply>);

impl Named {
    fn of(reply: Reply) -> Option<Named> {
        reply.into_elements().map(Named)
    }

    fn get(&self, name: &str) -> Option<&Reply> {
        self.0.chunks(2).find(|pair| pair[0].as_bytes() == Some(name.as_bytes())).and_then(|pair| pair.get(1))
    }
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

fn parse(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn not_a(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server's reply is not a {what}"))
}

fn unexpected(wanted: &str, reply: &Reply) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("wanted {wanted}, got {reply:?}"))
}
