//! XACK, XPENDING, XCLAIM, XAUTOCLAIM: what was delivered and not acknowledged.
//!
//! Not here: how entries become pending (`read.rs`).

use alloc::{boxed::Box, format, vec::Vec};
use core::ops::Bound;

use super::{
    Call, CommandResult, find, no_group, parse_end, parse_id, parse_start, printable, record::GroupRecord,
    reply_entry, reply_id,
};
use crate::{
    bytes::number,
    error::{Error, SYNTAX},
    resp::Reply,
    store::{
        Class, Store,
        stream::{ConsumerId, Entries, Group, Pending, Stream, StreamId},
    },
};

pub(super) fn xack(call: &mut Call) -> CommandResult {
    let (key, name) = (call.args[1], call.args[2]);
    if find(call, key)?.is_none_or(|stream| stream.group(name).is_none()) {
        call.reply.integer(0);
        return Ok(());
    }
    let ids: Vec<StreamId> = call.args[3..].iter().map(|text| parse_id(text)).collect::<Result<_, _>>()?;
    let acknowledged = edit_group(call, key, name, |_, group, _, _| {
        ids.iter().filter(|&&id| group.release(id).is_some()).count() as u64
    })?;
    call.store.dirty += acknowledged;
    call.reply.integer(acknowledged as i64);
    Ok(())
}

/// Changes a group that was found before, with reply and log at hand.
pub(super) fn edit_group<R>(
    call: &mut Call,
    key: &[u8],
    name: &[u8],
    change: impl FnOnce(&Entries, &mut Group, &mut Reply, &mut GroupRecord<'_>) -> R,
) -> Result<R, Error> {
    let reply = &mut *call.reply;
    let mut record = GroupRecord { key, group: name, record: &mut *call.record };
    let edited = call.store.edit::<Box<Stream>, _>(key, |stream| {
        stream.edit_group(name, |entries, group| change(entries, group, reply, &mut record))
    })?;
    Ok(edited.value().flatten().expect("the group was just seen"))
}

/// Fails unless the key holds a stream that has the group.
fn require_group(call: &mut Call, key: &[u8], name: &[u8]) -> CommandResult {
    match find(call, key)?.and_then(|stream| stream.group(name)) {
        Some(_) => Ok(()),
        None => Err(no_group(key, name)),
    }
}

/// Milliseconds since an entry was delivered; below zero if the clock was set back.
fn idle_ms(now_ms: u64, pending: &Pending) -> i64 {
    now_ms.wrapping_sub(pending.delivered_ms) as i64
}

// --- XPENDING -----------------------------------------------------------------------------------

/// Which pending entries XPENDING shows one by one.
struct Filter<'a> {
    idle_ms_min: i64,
    start: StreamId,
    end: StreamId,
    count: u64,
    consumer: Option<&'a [u8]>,
}

impl<'a> Filter<'a> {
    fn parse(call: &Call<'a>) -> Result<Filter<'a>, Error> {
        let args = call.args;
        if !(6..=9).contains(&args.len()) {
            return Err(SYNTAX);
        }
        let (mut idle_ms_min, mut at) = (0, 3);
        if call.is_word(3, "idle") {
            idle_ms_min = call.int(4)?;
            if args.len() < 8 {
                return Err(SYNTAX);
            }
            at = 5;
        }
        let count = call.int(at + 2)?.max(0) as u64;
        let (start, end) = (parse_start(args[at])?, parse_end(args[at + 1])?);
        Ok(Filter { idle_ms_min, start, end, count, consumer: args.get(at + 3).copied() })
    }
}

pub(super) fn xpending(call: &mut Call) -> CommandResult {
    let (key, name) = (call.args[1], call.args[2]);
    let filter = if call.args.len() == 3 { None } else { Some(Filter::parse(call)?) };
    let now_ms = call.store.now_ms;
    let stream = call.store.get::<Box<Stream>>(key)?;
    let group = stream.and_then(|stream| stream.group(name)).ok_or_else(|| no_group(key, name))?;
    match filter {
        None => reply_summary(call.reply, group),
        Some(filter) => reply_pending(call.reply, group, &filter, now_ms),
    }
    Ok(())
}

fn reply_summary(reply: &mut Reply, group: &Group) {
    reply.array(4);
    reply.integer(group.pending().len() as i64);
    let (Some((&first, _)), Some((&last, _))) =
        (group.pending().first_key_value(), group.pending().last_key_value())
    else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply_id(reply, first);
    reply_id(reply, last);
    let owners = || group.consumers().filter(|consumer| !consumer.pending().is_empty());
    reply.array(owners().count());
    for consumer in owners() {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_int(consumer.pending().len() as i64);
    }
}

fn reply_pending(reply: &mut Reply, group: &Group, filter: &Filter<'_>, now_ms: u64) {
    let owner = filter.consumer.map(|name| group.find_consumer(name));
    if owner == Some(None) || filter.start > filter.end {
        reply.array(0);
        return;
    }
    let range = filter.start..=filter.end;
    let candidates: Box<dyn Iterator<Item = (StreamId, Pending)>> = match owner.flatten() {
        Some(owner) => {
            Box::new(group.consumer(owner).pending().range(range).map(|&id| (id, group.pending()[&id])))
        }
        None => Box::new(group.pending().range(range).map(|(&id, &pending)| (id, pending))),
    };
    let begun = reply.defer_len();
    let mut shown = 0;
    let is_idle = |pending: &Pending| filter.idle_ms_min <= idle_ms(now_ms, pending);
    let chosen = candidates.filter(|(_, pending)| filter.idle_ms_min == 0 || is_idle(pending));
    for (id, pending) in chosen.take(usize::try_from(filter.count).unwrap_or(usize::MAX)) {
        reply.array(4);
        reply_id(reply, id);
        reply.bulk(group.consumer(pending.owner).name());
        reply.integer(idle_ms(now_ms, &pending).max(0));
        reply.integer(pending.deliveries as i64);
        shown += 1;
    }
    reply.array_deferred(begun, shown);
}

// --- Claiming -----------------------------------------------------------------------------------

/// The consumer that claims or reads, and whether it had to be made.
#[derive(Clone, Copy)]
pub(super) struct Reader {
    pub id: ConsumerId,
    pub is_new: bool,
}

impl Reader {
    /// The consumer of this name, which is heard of now.
    pub(super) fn find_or_add(group: &mut Group, name: &[u8], now_ms: u64) -> Reader {
        if let Some(id) = group.find_consumer(name) {
            group.consumer_mut(id).seen_ms = now_ms;
            return Reader { id, is_new: false };
        }
        let id = group.add_consumer(name, now_ms, None).expect("there is none of this name");
        Reader { id, is_new: true }
    }
}

/// What claiming does to each entry.
#[derive(Clone, Copy)]
struct Terms {
    now_ms: u64,
    /// Entries that were delivered later than so long ago stay where they are; 0: none does.
    idle_ms_min: i64,
    delivered_ms: u64,
    deliveries: Option<u64>,
    only_ids: bool,
}

impl Terms {
    fn allow(&self, pending: &Pending) -> bool {
        self.idle_ms_min == 0 || idle_ms(self.now_ms, pending) >= self.idle_ms_min
    }

    /// Gives an entry to `owner` and shows it.
    fn claim(
        &self,
        entries: &Entries,
        group: &mut Group,
        id: StreamId,
        owner: ConsumerId,
        deliveries_before: u64,
        reply: &mut Reply,
    ) -> Pending {
        let counted = if self.only_ids { deliveries_before } else { deliveries_before.wrapping_add(1) };
        let deliveries = self.deliveries.unwrap_or(counted);
        let pending = Pending { owner, delivered_ms: self.delivered_ms, deliveries };
        group.assign(id, pending);
        group.consumer_mut(owner).active_ms = Some(self.now_ms);
        if self.only_ids {
            reply_id(reply, id);
        } else {
            let is_there = entries.see(id, |entry| reply_entry(reply, entry));
            assert!(is_there, "only entries that are there are claimed");
        }
        pending
    }
}

/// How often things happened in one call.
#[derive(Default)]
struct Tally {
    /// Consumers made: 0 or 1.
    made: u64,
    /// Entries that changed hands.
    claimed: u64,
    /// Entries that are no longer pending because they are no longer there.
    released: u64,
    /// Changes of the group's last id without any of these: 0 or 1.
    moved: u64,
}

impl Tally {
    fn note(&self, call: &mut Call, key: &[u8]) {
        if self.made > 0 {
            call.store.notify(Class::Stream, "xgroup-createconsumer", key);
        }
        call.store.dirty += self.made + self.claimed + self.released + self.moved;
    }
}

/// Options of XCLAIM.
#[derive(Default)]
struct ClaimOptions {
    delivered_ms: Option<i64>,
    deliveries: Option<u64>,
    is_forced: bool,
    only_ids: bool,
    last_id: StreamId,
}

impl ClaimOptions {
    fn parse(call: &Call, mut index: usize) -> Result<ClaimOptions, Error> {
        let mut options = ClaimOptions::default();
        while index < call.args.len() {
            let has_more = index + 1 < call.args.len();
            let int = |name| claim_int(call, index + 1, || format!("{name} option argument for XCLAIM"));
            if call.is_word(index, "force") {
                options.is_forced = true;
            } else if call.is_word(index, "justid") {
                options.only_ids = true;
            } else if has_more && call.is_word(index, "idle") {
                options.delivered_ms = Some((call.store.now_ms as i64).wrapping_sub(int("IDLE")?));
                index += 1;
            } else if has_more && call.is_word(index, "time") {
                options.delivered_ms = Some(int("TIME")?);
                index += 1;
            } else if has_more && call.is_word(index, "retrycount") {
                options.deliveries = u64::try_from(int("RETRYCOUNT")?).ok();
                index += 1;
            } else if has_more && call.is_word(index, "lastid") {
                options.last_id = parse_id(call.args[index + 1])?;
                index += 1;
            } else {
                let shown = printable(call.args[index]);
                return Err(Error::text(format!("ERR Unrecognized XCLAIM option '{shown}'")));
            }
            index += 1;
        }
        Ok(options)
    }

    /// The time given, or now where that is none or makes no sense. A log tells what was, whatever the clock says by now.
    fn delivered_ms(&self, store: &Store) -> u64 {
        let given = self.delivered_ms.and_then(|ms| u64::try_from(ms).ok());
        given.filter(|&ms| ms <= store.now_ms || store.is_loading).unwrap_or(store.now_ms)
    }
}

/// An integer whose error names it.
fn claim_int(call: &Call, at: usize, name: impl FnOnce() -> alloc::string::String) -> Result<i64, Error> {
    number::parse_i64(call.args[at]).ok_or_else(|| Error::text(format!("ERR Invalid {}", name())))
}

pub(super) fn xclaim(call: &mut Call) -> CommandResult {
    let args = call.args;
    let (key, name, consumer) = (args[1], args[2], args[3]);
    require_group(call, key, name)?;
    let idle_ms_min = claim_int(call, 4, || "min-idle-time argument for XCLAIM".into())?.max(0);
    // Ids are all arguments up to the first that is none.
    let ids: Vec<(&[u8], StreamId)> =
        args[5..].iter().map_while(|&text| Some((text, StreamId::parse(text, 0)?))).collect();
    let options = ClaimOptions::parse(call, 5 + ids.len())?;
    let now_ms = call.store.now_ms;
    let terms = Terms {
        now_ms,
        idle_ms_min,
        delivered_ms: options.delivered_ms(call.store),
        deliveries: options.deliveries,
        only_ids: options.only_ids,
    };
    call.record.suppress();
    let tally = edit_group(call, key, name, |entries, group, reply, record| {
        let reader = Reader::find_or_add(group, consumer, now_ms);
        let mut tally = Tally { made: u64::from(reader.is_new), ..Tally::default() };
        let is_moved = options.last_id > group.last_id;
        group.last_id = group.last_id.max(options.last_id);
        let begun = reply.defer_len();
        for &(text, id) in &ids {
            let found = group.pending().get(&id).copied();
            if !entries.contains(id) {
                if let Some(pending) = found {
                    record.claim(group, text, &pending);
                    group.release(id);
                    tally.released += 1;
                }
                continue;
            }
            let deliveries_before = match found {
                Some(pending) if terms.allow(&pending) => pending.deliveries,
                Some(_) => continue,
                // As if delivered once: what follows counts the second time.
                None if options.is_forced => 1,
                None => continue,
            };
            let pending = terms.claim(entries, group, id, reader.id, deliveries_before, reply);
            record.claim(group, text, &pending);
            tally.claimed += 1;
        }
        reply.array_deferred(begun, tally.claimed as usize);
        if reader.is_new && tally.claimed == 0 {
            record.create_consumer(consumer);
        }
        // A claim in the log says the last id too.
        if is_moved && tally.claimed + tally.released == 0 {
            record.set_id(group);
            tally.moved = 1;
        }
        tally
    })?;
    tally.note(call, key);
    Ok(())
}

/// How many pending entries XAUTOCLAIM looks at for each that it may claim.
const ATTEMPTS_PER_CLAIM: u64 = 10;

/// Options of XAUTOCLAIM.
struct AutoclaimOptions {
    count: u64,
    only_ids: bool,
}

impl AutoclaimOptions {
    fn parse(call: &Call) -> Result<AutoclaimOptions, Error> {
        let mut options = AutoclaimOptions { count: 100, only_ids: false };
        let mut index = 6;
        while index < call.args.len() {
            if call.is_word(index, "count") && index + 1 < call.args.len() {
                options.count = parse_count(call.args[index + 1])?;
                index += 1;
            } else if call.is_word(index, "justid") {
                options.only_ids = true;
            } else {
                return Err(SYNTAX);
            }
            index += 1;
        }
        Ok(options)
    }
}

fn parse_count(text: &[u8]) -> Result<u64, Error> {
    /// So many ids Redis could still hold in memory.
    const COUNT_MAX: i64 = i64::MAX / size_of::<StreamId>() as i64;

    match number::parse_i64(text) {
        Some(count @ 1..=COUNT_MAX) => Ok(count as u64),
        _ => Err(Error::new("ERR COUNT must be > 0")),
    }
}

pub(super) fn xautoclaim(call: &mut Call) -> CommandResult {
    let (key, name, consumer) = (call.args[1], call.args[2], call.args[3]);
    let idle_ms_min = claim_int(call, 4, || "min-idle-time argument for XAUTOCLAIM".into())?.max(0);
    let start = parse_start(call.args[5])?;
    let options = AutoclaimOptions::parse(call)?;
    require_group(call, key, name)?;
    let now_ms = call.store.now_ms;
    let terms =
        Terms { now_ms, idle_ms_min, delivered_ms: now_ms, deliveries: None, only_ids: options.only_ids };
    call.record.suppress();
    let tally = edit_group(call, key, name, |entries, group, reply, record| {
        let reader = Reader::find_or_add(group, consumer, now_ms);
        let mut tally = Tally { made: u64::from(reader.is_new), ..Tally::default() };
        let mut gone = Vec::new();
        let mut from = Bound::Included(start);
        let mut claimed = Reply::new(reply.protocol());
        let next_pending = |group: &Group, from| {
            group.pending().range((from, Bound::Unbounded)).next().map(|(&id, &pending)| (id, pending))
        };
        for _ in 0..options.count * ATTEMPTS_PER_CLAIM {
            if tally.claimed + tally.released == options.count {
                break;
            }
            let Some((id, pending)) = next_pending(group, from) else { break };
            from = Bound::Excluded(id);
            if !entries.contains(id) {
                record.claim_id(group, id, &pending);
                group.release(id);
                gone.push(id);
                tally.released += 1;
            } else if terms.allow(&pending) {
                let pending = terms.claim(entries, group, id, reader.id, pending.deliveries, &mut claimed);
                record.claim_id(group, id, &pending);
                tally.claimed += 1;
            }
        }
        if reader.is_new && tally.claimed == 0 {
            record.create_consumer(consumer);
        }
        let cursor = next_pending(group, from).map_or(StreamId::MIN, |(id, _)| id);
        reply.array(3);
        reply_id(reply, cursor);
        reply.array(tally.claimed as usize);
        reply.raw(claimed.as_bytes());
        reply.array(gone.len());
        gone.iter().for_each(|&id| reply_id(reply, id));
        tally
    })?;
    tally.note(call, key);
    Ok(())
}
