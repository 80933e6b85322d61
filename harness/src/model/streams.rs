//! Streams: entries in order, and groups of consumers that share them out.
//!
//! When a consumer was last seen is not modelled: no promise is made about it.

use std::collections::{BTreeMap, BTreeSet};

use super::execute::{
    Answer, Choice, ERR, Outcome, after, bulk, bulks, count, exactly, has, integer, null, number, ok, upper,
};
use super::{Bytes, Keyspace};
use crate::client::Reply;

/// Milliseconds and sequence number of a stream entry.
pub type StreamId = (u64, u64);

/// A stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stream {
    /// Entries: fields and values by turns.
    pub entries: BTreeMap<StreamId, Vec<Bytes>>,
    /// Highest id ever.
    pub last_id: StreamId,
    /// Highest id that was deleted by name.
    pub deleted_id_max: StreamId,
    /// Entries ever added.
    pub added: u64,
    /// Groups by name.
    pub groups: BTreeMap<Bytes, Group>,
}

/// A group of consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group {
    /// Delivered up to here.
    pub last_id: StreamId,
    /// Redis's count of what it read, if it knows.
    pub entries_read: Option<i64>,
    /// Delivered and not acknowledged.
    pub pending: BTreeMap<StreamId, Pending>,
    /// Names of consumers.
    pub consumers: BTreeSet<Consumer>,
}

/// A consumer's name.
pub type Consumer = Bytes;

/// An entry that waits for its acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pending {
    /// Who has it.
    pub consumer: Consumer,
    /// Since when, milliseconds of unix time.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub count: u64,
}

/// `1-2`, or `1` for `1-0`.
///
/// # Errors
/// It is no id.
pub fn parse_id(text: &[u8]) -> Result<StreamId, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| ERR)?;
    let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
    Ok((ms.parse().map_err(|_| ERR)?, seq.parse().map_err(|_| ERR)?))
}

fn id_text(id: StreamId) -> Bytes {
    format!("{}-{}", id.0, id.1).into_bytes()
}

fn entry_reply(id: StreamId, fields: &[Bytes]) -> Reply {
    Reply::Array(vec![Reply::Bulk(id_text(id)), bulks(fields.iter().cloned())])
}

impl Keyspace {
    pub(super) fn run_on_streams(
        &mut self,
        db: usize,
        name: &str,
        args: &[Bytes],
        now_ms: u64,
    ) -> Option<Outcome> {
        let key = args.first()?;
        Some(match name {
            "XADD" => self.xadd(db, args, now_ms),
            "XDEL" => self.xdel(db, args),
            "XTRIM" => number(&args[2]).and_then(|keep| match self.stream_of(db, key)? {
                None => integer(0),
                Some(_) => count(trim(self.stream_mut(db, key)?, keep as usize)),
            }),
            "XLEN" => self
                .stream_of(db, key)
                .and_then(|stream| count(stream.map_or(0, |stream| stream.entries.len()))),
            "XRANGE" => self.stream_of(db, key).and_then(|stream| {
                let entries = stream.into_iter().flat_map(|stream| &stream.entries);
                exactly(Reply::Array(entries.map(|(id, fields)| entry_reply(*id, fields)).collect()))
            }),
            "XSETID" => self.xsetid(db, args),
            "XGROUP" => self.xgroup(db, args),
            "XREADGROUP" => self.xreadgroup(db, args, now_ms),
            "XACK" => self.xack(db, args),
            "XCLAIM" => self.xclaim(db, args, now_ms),
            "XAUTOCLAIM" => self.xautoclaim(db, args, now_ms),
            "XPENDING" => self.xpending(db, args),
            _ => return None,
        })
    }

    /// XADD key [NOMKSTREAM] [MAXLEN n] id|* field value…
    fn xadd(&mut self, db: usize, args: &[Bytes], now_ms: u64) -> Outcome {
        let keep = after(args, "MAXLEN").map(|word| number(word)).transpose()?;
        let at = 1 + usize::from(has(args, "NOMKSTREAM")) + 2 * usize::from(keep.is_some());
        let stream = match self.stream_of(db, &args[0])? {
            None if has(args, "NOMKSTREAM") => return null(),
            _ => self.stream_mut(db, &args[0])?,
        };
        let (last_ms, last_seq) = stream.last_id;
        let id = match args[at].as_slice() {
            b"*" if now_ms > last_ms => (now_ms, 0),
            b"*" => (last_ms, last_seq + 1),
            text => parse_id(text)?,
        };
        if id <= stream.last_id {
            return Err(ERR);
        }
        stream.entries.insert(id, args[at + 1..].to_vec());
        stream.last_id = id;
        stream.added += 1;
        if let Some(keep) = keep {
            trim(stream, keep as usize);
        }
        bulk(&id_text(id))
    }

    fn xdel(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let ids: Vec<StreamId> = args[1..].iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?;
        let Some(stream) = self.stream_of(db, &args[0])? else { return integer(0) };
        if ids.iter().all(|id| !stream.entries.contains_key(id)) {
            return integer(0);
        }
        let stream = self.stream_mut(db, &args[0])?;
        let gone: Vec<StreamId> = ids.into_iter().filter(|id| stream.entries.remove(id).is_some()).collect();
        stream.deleted_id_max = gone.iter().copied().max().unwrap_or_default().max(stream.deleted_id_max);
        count(gone.len())
    }

    fn xsetid(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let id = parse_id(&args[1])?;
        let top = self.stream_of(db, &args[0])?.ok_or(ERR)?.entries.keys().next_back().copied();
        if top.is_some_and(|top| id < top) {
            return Err(ERR);
        }
        let stream = self.stream_mut(db, &args[0])?;
        // As a log tells it, with all that is known of the stream.
        if let Some(deleted) = after(args, "MAXDELETEDID") {
            stream.deleted_id_max = parse_id(deleted)?;
        }
        if id < stream.deleted_id_max {
            return Err(ERR);
        }
        if let Some(added) = after(args, "ENTRIESADDED") {
            stream.added = number(added)? as u64;
        }
        stream.last_id = id;
        ok()
    }

    /// XGROUP CREATE|SETID key group id [MKSTREAM], DESTROY key group, CREATECONSUMER|DELCONSUMER key group consumer
    fn xgroup(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let (verb, key, name) = (upper(&args[0]), &args[1], &args[2]);
        if self.stream_of(db, key)?.is_none() && !(verb == "CREATE" && has(args, "MKSTREAM")) {
            return Err(ERR);
        }
        let stream = self.stream_mut(db, key)?;
        let is_there = stream.groups.contains_key(name);
        let start = |stream: &Stream| match args[3].as_slice() {
            b"$" => Ok(stream.last_id),
            text => parse_id(text),
        };
        let reads = || Choice::GroupReads(key.clone(), Box::new(Answer::Exactly(Reply::Simple("OK".into()))));
        match verb.as_str() {
            "CREATE" if is_there => Err("BUSYGROUP"),
            "CREATE" => {
                let group = Group { last_id: start(stream)?, ..Group::default() };
                stream.groups.insert(name.clone(), group);
                Ok(Answer::Chosen(reads()))
            }
            "DESTROY" => {
                stream.groups.remove(name);
                integer(i64::from(is_there))
            }
            _ if !is_there => Err("NOGROUP"),
            "SETID" => {
                let last_id = start(stream)?;
                stream.groups.get_mut(name).expect("just seen").last_id = last_id;
                Ok(Answer::Chosen(reads()))
            }
            "CREATECONSUMER" => {
                let group = stream.groups.get_mut(name).expect("just seen");
                integer(i64::from(group.consumers.insert(args[3].clone())))
            }
            _ => {
                let group = stream.groups.get_mut(name).expect("just seen");
                let before = group.pending.len();
                group.pending.retain(|_, pending| pending.consumer != args[3]);
                group.consumers.remove(&args[3]);
                count(before - group.pending.len())
            }
        }
    }

    /// XREADGROUP GROUP group consumer [COUNT n] [BLOCK ms] [NOACK] STREAMS key > | id
    fn xreadgroup(&mut self, db: usize, args: &[Bytes], now_ms: u64) -> Outcome {
        let (name, consumer) = (&args[1], &args[2]);
        let (key, from) = (&args[args.len() - 2], &args[args.len() - 1]);
        let at_most = after(args, "COUNT").map_or(Ok(i64::MAX), |word| number(word))? as usize;
        if self.stream_of(db, key)?.is_none_or(|stream| !stream.groups.contains_key(name)) {
            return Err("NOGROUP");
        }
        let stream = self.stream_mut(db, key)?;
        let group = stream.groups.get_mut(name).expect("just seen");
        group.consumers.insert(consumer.clone());
        let shown: Vec<Reply> = if from == b">" {
            let fresh = (std::ops::Bound::Excluded(group.last_id), std::ops::Bound::Unbounded);
            let fresh: Vec<StreamId> = stream.entries.range(fresh).take(at_most).map(|(id, _)| *id).collect();
            for id in &fresh {
                group.last_id = *id;
                if !has(args, "NOACK") {
                    let pending = Pending { consumer: consumer.clone(), delivered_ms: now_ms, count: 1 };
                    group.pending.insert(*id, pending);
                }
            }
            fresh.iter().map(|id| entry_reply(*id, &stream.entries[id])).collect()
        } else {
            let from = parse_id(from)?;
            let own = group.pending.range_mut((std::ops::Bound::Excluded(from), std::ops::Bound::Unbounded));
            let own = own.filter(|(_, pending)| pending.consumer == *consumer).take(at_most);
            let show = |(id, pending): (&StreamId, &mut Pending)| match stream.entries.get(id) {
                Some(fields) => {
                    (pending.delivered_ms, pending.count) = (now_ms, pending.count + 1);
                    entry_reply(*id, fields)
                }
                None => Reply::Array(vec![Reply::Bulk(id_text(*id)), Reply::Null]),
            };
            own.map(show).collect()
        };
        let answer = match shown.is_empty() && from == b">" {
            true if has(args, "BLOCK") => Answer::Wait,
            true => Answer::Exactly(Reply::Null),
            false => {
                let of_key = Reply::Array(vec![Reply::Bulk(key.clone()), Reply::Array(shown)]);
                Answer::Exactly(Reply::Array(vec![of_key]))
            }
        };
        match answer {
            Answer::Wait => Ok(Answer::Wait),
            answer => Ok(Answer::Chosen(Choice::GroupReads(key.clone(), Box::new(answer)))),
        }
    }

    fn xack(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let ids: Vec<StreamId> = args[2..].iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?;
        let group = self.stream_of(db, &args[0])?.and_then(|stream| stream.groups.get(&args[1]));
        if group.is_none_or(|group| ids.iter().all(|id| !group.pending.contains_key(id))) {
            return integer(0);
        }
        let group = self.group_mut(db, &args[0], &args[1])?;
        count(ids.iter().filter(|id| group.pending.remove(*id).is_some()).count())
    }

    fn group_mut(&mut self, db: usize, key: &Bytes, name: &Bytes) -> Result<&mut Group, &'static str> {
        self.stream_mut(db, key)?.groups.get_mut(name).ok_or("NOGROUP")
    }

    /// XCLAIM key group consumer 0 id… [TIME ms] [RETRYCOUNT n] [FORCE] JUSTID [LASTID id]
    fn xclaim(&mut self, db: usize, args: &[Bytes], now_ms: u64) -> Outcome {
        let ids: Vec<StreamId> = args[4..].iter().map_while(|word| parse_id(word).ok()).collect();
        if has(args, "FORCE") {
            self.make_pending(db, args, &ids)?;
        }
        let delivered_ms = after(args, "TIME").map_or(Ok(now_ms as i64), |word| number(word))? as u64;
        let (claimed, _) = self.claim(db, args, ids, delivered_ms)?;
        let group = self.group_mut(db, &args[0], &args[1])?;
        if let Some(deliveries) = after(args, "RETRYCOUNT") {
            let deliveries = number(deliveries)? as u64;
            for id in &claimed {
                group.pending.entry(*id).and_modify(|pending| pending.count = deliveries);
            }
        }
        if let Some(last_id) = after(args, "LASTID") {
            group.last_id = group.last_id.max(parse_id(last_id)?);
        }
        exactly(bulks(claimed.into_iter().map(id_text)))
    }

    /// Entries that are there and pending for nobody become pending.
    fn make_pending(&mut self, db: usize, args: &[Bytes], ids: &[StreamId]) -> Result<(), &'static str> {
        let stream = self.stream_mut(db, &args[0])?;
        let group = stream.groups.get_mut(&args[1]).ok_or("NOGROUP")?;
        for id in ids.iter().filter(|id| stream.entries.contains_key(id)) {
            let fresh = Pending { consumer: args[2].clone(), delivered_ms: 0, count: 0 };
            group.pending.entry(*id).or_insert(fresh);
        }
        Ok(())
    }

    /// XAUTOCLAIM key group consumer 0 start JUSTID
    fn xautoclaim(&mut self, db: usize, args: &[Bytes], now_ms: u64) -> Outcome {
        let from = parse_id(&args[4])?;
        let group =
            self.stream_of(db, &args[0])?.and_then(|stream| stream.groups.get(&args[1])).ok_or("NOGROUP")?;
        let ids = group.pending.range(from..).map(|(id, _)| *id).collect();
        let (claimed, gone) = self.claim(db, args, ids, now_ms)?;
        let ids = |ids: Vec<StreamId>| bulks(ids.into_iter().map(id_text));
        exactly(Reply::Array(vec![Reply::Bulk(b"0-0".to_vec()), ids(claimed), ids(gone)]))
    }

    /// Gives pending entries to a consumer; those whose entries are deleted are pending no more.
    fn claim(
        &mut self,
        db: usize,
        args: &[Bytes],
        ids: Vec<StreamId>,
        now_ms: u64,
    ) -> Result<(Vec<StreamId>, Vec<StreamId>), &'static str> {
        let (key, name, consumer) = (&args[0], &args[1], &args[2]);
        let stream = self.stream_of(db, key)?.ok_or("NOGROUP")?;
        stream.groups.get(name).ok_or("NOGROUP")?;
        let alive: BTreeSet<StreamId> = stream.entries.keys().copied().collect();
        let group = self.group_mut(db, key, name)?;
        group.consumers.insert(consumer.clone());
        let (mut claimed, mut gone) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(pending) = group.pending.get_mut(&id) else { continue };
            if alive.contains(&id) {
                // JUSTID does not count as a delivery.
                pending.consumer.clone_from(consumer);
                pending.delivered_ms = now_ms;
                claimed.push(id);
            } else {
                group.pending.remove(&id);
                gone.push(id);
            }
        }
        Ok((claimed, gone))
    }

    fn xpending(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let group =
            self.stream_of(db, &args[0])?.and_then(|stream| stream.groups.get(&args[1])).ok_or("NOGROUP")?;
        let mut by_consumer: BTreeMap<&Bytes, u64> = BTreeMap::new();
        group.pending.values().for_each(|pending| *by_consumer.entry(&pending.consumer).or_default() += 1);
        let (Some((first, _)), Some((last, _))) =
            (group.pending.first_key_value(), group.pending.last_key_value())
        else {
            return exactly(Reply::Array(vec![Reply::Integer(0), Reply::Null, Reply::Null, Reply::Null]));
        };
        let shares = by_consumer
            .into_iter()
            .map(|(name, count)| bulks([name.clone(), count.to_string().into_bytes()]));
        exactly(Reply::Array(vec![
            Reply::Integer(group.pending.len() as i64),
            Reply::Bulk(id_text(*first)),
            Reply::Bulk(id_text(*last)),
            Reply::Array(shares.collect()),
        ]))
    }
}

/// Keeps the newest so many entries; gives how many went.
fn trim(stream: &mut Stream, keep: usize) -> usize {
    let excess = stream.entries.len().saturating_sub(keep);
    (0..excess).for_each(|_| drop(stream.entries.pop_first()));
    excess
}
