//! XREAD and XREADGROUP: new entries of several streams, at once or when they come.
//!
//! Exists as one file because both take the same options and wait in the same way; a group adds who gets what.
//!
//! What XREADGROUP gives to a consumer:
//!
//! ```text
//! >        entries nobody of the group has got, which become pending unless NOACK
//! an id    the consumer's own pending entries after that id, again
//! ```
//!
//! Not here: claiming what another consumer has (`pending.rs`), who is woken (`node/blocking.rs`).

use alloc::{boxed::Box, format, vec::Vec};
use core::ops::{Bound, ControlFlow};

use super::{
    Call, CommandResult, find, parse_id,
    pending::{Reader, edit_group},
    printable,
    record::GroupRecord,
    reply_entry, reply_id,
};
use crate::{
    bytes::number,
    commands::{Block, TimeoutReply},
    error::{Error, SYNTAX, TIMEOUT_NEGATIVE},
    resp::{Protocol, Reply},
    store::{
        Class, Type,
        stream::{Entries, Group, Pending, Stream, StreamId},
    },
};

/// The group and consumer that XREADGROUP reads for.
#[derive(Clone, Copy)]
struct For<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
}

/// Options of both commands.
#[derive(Default)]
struct Options<'a> {
    timeout_ms: Option<u64>,
    /// 0: all there are.
    count: u64,
    reads_for: Option<For<'a>>,
    no_ack: bool,
    keys: &'a [&'a [u8]],
    /// As many as keys.
    ids: &'a [&'a [u8]],
    /// Where the first id stands.
    ids_at: usize,
}

/// Where reading begins in one stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// After this id; for a group: what the consumer has pending after it.
    After(StreamId),
    /// What the group has not got yet.
    NewToGroup,
    /// At the last entry.
    Last,
}

impl<'a> Options<'a> {
    fn parse(call: &Call<'a>, is_for_group: bool) -> Result<Options<'a>, Error> {
        let args = call.args;
        let mut options = Options::default();
        let mut index = 1;
        while index < args.len() {
            let more = args.len() - index - 1;
            if more >= 1 && call.is_word(index, "block") {
                if call.context.is_script {
                    return Err(Error::text(format!(
                        "ERR {} command is not allowed with BLOCK option from scripts",
                        printable(call.args[0])
                    )));
                }
                options.timeout_ms = Some(parse_timeout_ms(args[index + 1], call.store.now_ms)?);
                index += 1;
            } else if more >= 1 && call.is_word(index, "count") {
                options.count = call.int(index + 1)?.max(0) as u64;
                index += 1;
            } else if more >= 1 && call.is_word(index, "streams") {
                if more % 2 == 1 {
                    return Err(unbalanced(is_for_group));
                }
                (options.keys, options.ids) = args[index + 1..].split_at(more / 2);
                options.ids_at = index + 1 + more / 2;
                break;
            } else if more >= 2 && call.is_word(index, "group") {
                refuse_unless(is_for_group, "GROUP")?;
                options.reads_for = Some(For { group: args[index + 1], consumer: args[index + 2] });
                index += 2;
            } else if call.is_word(index, "noack") {
                refuse_unless(is_for_group, "NOACK")?;
                options.no_ack = true;
            } else {
                return Err(SYNTAX);
            }
            index += 1;
        }
        if options.keys.is_empty() {
            return Err(SYNTAX);
        }
        Ok(options)
    }
}

fn parse_timeout_ms(text: &[u8], now_ms: u64) -> Result<u64, Error> {
    let ms = number::parse_i64(text).ok_or(Error::new("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| TIMEOUT_NEGATIVE)?;
    if ms > i64::MAX as u64 - now_ms {
        return Err(Error::new("ERR timeout is out of range"));
    }
    Ok(ms)
}

fn refuse_unless(is_for_group: bool, option: &str) -> CommandResult {
    if is_for_group {
        return Ok(());
    }
    Err(Error::text(format!(
        "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    )))
}

fn unbalanced(is_for_group: bool) -> Error {
    let (name, sign) = if is_for_group { ("xreadgroup", '>') } else { ("xread", '$') };
    Error::text(format!(
        "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{sign}' must be specified."
    ))
}

/// Writes what each stream gives, as a map from keys; `false` if none gave anything, and nothing is written then.
fn reply_streams(
    call: &mut Call,
    options: &Options<'_>,
    mut read: impl FnMut(&mut Call, usize) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let begun = call.reply.defer_len();
    let mut count = 0;
    for index in 0..options.keys.len() {
        let before = call.reply.len();
        if call.reply.protocol() == Protocol::Resp2 {
            call.reply.array(2);
        }
        call.reply.bulk(options.keys[index]);
        if read(call, index)? {
            count += 1;
        } else {
            call.reply.truncate(before);
        }
    }
    match (count, call.reply.protocol()) {
        (0, _) => return Ok(false),
        (_, Protocol::Resp2) => call.reply.array_deferred(begun, count),
        (_, Protocol::Resp3) => call.reply.map_deferred(begun, count),
    }
    Ok(true)
}

/// Waits, or answers that there is nothing.
fn wait(call: &mut Call, options: &Options<'_>, retry_args: Option<Vec<Vec<u8>>>) {
    match options.timeout_ms {
        Some(timeout_ms) if !call.context.deny_blocking => {
            call.block = Some(Block {
                keys: options.keys.iter().map(|key| key.to_vec()).collect(),
                kind: Type::Stream,
                timeout_ms,
                on_timeout: TimeoutReply::NullArray,
                wakes_on_removal: options.reads_for.is_some(),
                retry_args,
            });
        }
        _ => call.reply.null_array(),
    }
}

/// The entries after an id, as an array.
fn reply_after(
    reply: &mut Reply,
    entries: &Entries,
    id: StreamId,
    count: u64,
    mut see: impl FnMut(StreamId),
) {
    let begun = reply.defer_len();
    let mut shown = 0;
    if let Some(start) = id.next() {
        entries.visit(start, StreamId::MAX, |entry| {
            reply_entry(reply, entry);
            see(entry.id);
            shown += 1;
            if shown == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
    reply.array_deferred(begun, shown as usize);
}

// --- XREAD --------------------------------------------------------------------------------------

pub(super) fn xread(call: &mut Call) -> CommandResult {
    let options = Options::parse(call, false)?;
    let mut starts = Vec::new();
    for (&key, &id) in options.keys.iter().zip(options.ids) {
        let entries = find(call, key)?.map(|stream| &stream.entries);
        starts.push(match id {
            b"$" => From::After(entries.map_or(StreamId::MIN, |entries| entries.last_id)),
            b"+" => From::Last,
            b">" => {
                return Err(Error::new(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                ));
            }
            _ => From::After(parse_id(id)?),
        });
    }
    let has_replied = reply_streams(call, &options, |call, index| {
        let Some(stream) = call.store.get::<Box<Stream>>(options.keys[index])? else { return Ok(false) };
        let Some(last) = stream.entries.last() else { return Ok(false) };
        let after = match starts[index] {
            From::After(id) => id,
            _ => last.prev().expect("no entry has the first id"),
        };
        if last <= after {
            return Ok(false);
        }
        reply_after(call.reply, &stream.entries, after, options.count, |_| {});
        Ok(true)
    })?;
    if !has_replied {
        let retry_args = concrete_args(call, &options, &starts);
        wait(call, &options, Some(retry_args));
    }
    Ok(())
}

/// The command with `$` made the id it means now: later it would mean another.
fn concrete_args(call: &Call, options: &Options<'_>, starts: &[From]) -> Vec<Vec<u8>> {
    let mut args: Vec<Vec<u8>> = call.args.iter().map(|arg| arg.to_vec()).collect();
    for (arg, from) in args[options.ids_at..].iter_mut().zip(starts) {
        if let From::After(id) = from
            && arg == b"$"
        {
            *arg = id.text().to_vec();
        }
    }
    args
}

// --- XREADGROUP ---------------------------------------------------------------------------------

pub(super) fn xreadgroup(call: &mut Call) -> CommandResult {
    let options = Options::parse(call, true)?;
    let reads_for = options.reads_for.ok_or(Error::new("ERR Missing GROUP option for XREADGROUP"))?;
    let starts = parse_group_starts(call, &options, reads_for)?;
    call.record.suppress();
    let has_replied =
        reply_streams(call, &options, |call, index| serve(call, &options, reads_for, index, starts[index]))?;
    if !has_replied {
        wait(call, &options, None);
    }
    Ok(())
}

fn parse_group_starts(
    call: &mut Call,
    options: &Options<'_>,
    reads_for: For<'_>,
) -> Result<Vec<From>, Error> {
    let mut starts = Vec::new();
    for (&key, &id) in options.keys.iter().zip(options.ids) {
        if find(call, key)?.is_none_or(|stream| stream.group(reads_for.group).is_none()) {
            return Err(Error::text(format!(
                "NOGROUP No such key '{}' or consumer group '{}' in XREADGROUP with GROUP option",
                printable(key),
                printable(reads_for.group)
            )));
        }
        starts.push(match id {
            b">" => From::NewToGroup,
            b"$" | b"+" => return Err(meaningless_id(id)),
            _ => match parse_id(id)? {
                // Redis has no other word for it inside.
                StreamId::MAX => From::NewToGroup,
                id => From::After(id),
            },
        });
    }
    Ok(starts)
}

fn meaningless_id(id: &[u8]) -> Error {
    let id = printable(id);
    Error::text(format!(
        "ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The {id} ID would just return an empty result set."
    ))
}

/// Gives one stream's entries to the consumer; `false` if there is nothing new.
fn serve(
    call: &mut Call,
    options: &Options<'_>,
    reads_for: For<'_>,
    index: usize,
    from: From,
) -> Result<bool, Error> {
    let key = options.keys[index];
    let now_ms = call.store.now_ms;
    let (is_served, is_new) = edit_group(call, key, reads_for.group, |entries, group, reply, record| {
        let reader = Reader::find_or_add(group, reads_for.consumer, now_ms);
        let mut delivery = Delivery { entries, group, reader, now_ms, count: options.count, reply, record };
        let delivered = match from {
            From::NewToGroup => delivery.deliver_new(options.no_ack),
            From::After(id) => Some(delivery.deliver_again(id)),
            From::Last => unreachable!("refused for groups"),
        };
        delivery.log_end(delivered, options.no_ack, from, reads_for.consumer);
        (delivered.is_some(), reader.is_new)
    })?;
    if is_new {
        call.store.notify(Class::Stream, "xgroup-createconsumer", key);
    }
    call.store.dirty += u64::from(is_new) + u64::from(is_served);
    Ok(is_served)
}

/// One stream's entries on their way to a consumer.
struct Delivery<'a, 'r> {
    entries: &'a Entries,
    group: &'a mut Group,
    reader: Reader,
    now_ms: u64,
    count: u64,
    reply: &'a mut Reply,
    record: &'a mut GroupRecord<'r>,
}

impl Delivery<'_, '_> {
    /// Entries nobody of the group has got; how many, or `None` if there are none.
    fn deliver_new(&mut self, no_ack: bool) -> Option<u64> {
        self.entries.last().filter(|&last| last > self.group.last_id)?;
        let mut ids = Vec::new();
        reply_after(self.reply, self.entries, self.group.last_id, self.count, |id| ids.push(id));
        for &id in &ids {
            self.advance_to(id);
            if !no_ack {
                let owner = self.reader.id;
                let pending = Pending { owner, delivered_ms: self.now_ms, deliveries: 1 };
                self.group.assign(id, pending);
                self.group.consumer_mut(owner).active_ms = Some(self.now_ms);
                self.record.claim_id(self.group, id, &pending);
            }
        }
        Some(ids.len() as u64)
    }

    /// The group has read one more entry.
    fn advance_to(&mut self, id: StreamId) {
        self.group.entries_read = match self.group.entries_read {
            Some(count) if !self.entries.has_deleted_from(id) => Some(count.wrapping_add(1)),
            _ => self.entries.count_up_to(id),
        };
        self.group.last_id = id;
    }

    /// The consumer's own pending entries after an id, those that are gone without content; how many were there.
    fn deliver_again(&mut self, id: StreamId) -> u64 {
        let ids =
            self.group.consumer(self.reader.id).pending().range((Bound::Excluded(id), Bound::Unbounded));
        let count = if self.count == 0 { usize::MAX } else { self.count as usize };
        let ids: Vec<StreamId> = ids.take(count).copied().collect();
        let mut delivered = 0;
        self.reply.array(ids.len());
        for id in ids {
            if !self.entries.see(id, |entry| reply_entry(self.reply, entry)) {
                self.reply.array(2);
                reply_id(self.reply, id);
                self.reply.null_array();
                continue;
            }
            let mut pending = self.group.pending()[&id];
            pending.delivered_ms = self.now_ms;
            pending.deliveries = pending.deliveries.wrapping_add(1);
            self.group.assign(id, pending);
            self.record.claim_id(self.group, id, &pending);
            delivered += 1;
        }
        delivered
    }

    /// What the log must know besides who got what.
    fn log_end(&mut self, delivered: Option<u64>, no_ack: bool, from: From, consumer: &[u8]) {
        let is_named = delivered.is_some_and(|count| count > 0) && !(no_ack && from == From::NewToGroup);
        if self.reader.is_new && !is_named {
            self.record.create_consumer(consumer);
        }
        if from == From::NewToGroup && delivered.is_some() {
            self.record.set_id(self.group);
        }
    }
}
