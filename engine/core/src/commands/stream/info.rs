//! XINFO: what a stream, its groups and their consumers look like from inside.
//!
//! Not here: where the figures come from (`store/stream/`).

use alloc::boxed::Box;
use core::ops::ControlFlow;

use super::{Call, CommandResult, no_group_at, reply_entry, reply_help, reply_id, subcommand_syntax};
use crate::{
    error::{Error, NO_SUCH_KEY},
    resp::Reply,
    store::stream::{Consumer, Entries, Group, Pending, Stream, StreamId},
};

/// Entries that FULL shows of each list, unless told otherwise.
const FULL_COUNT: u64 = 10;

pub(super) fn help(call: &mut Call) -> CommandResult {
    reply_help(
        call,
        &[
            "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "CONSUMERS <key> <groupname>",
            "    The consumers of a group.",
            "GROUPS <key>",
            "    The groups of a stream.",
            "STREAM <key> [FULL [COUNT <count>]]",
            "    The stream itself; with FULL also its entries, groups and consumers.",
            "HELP",
            "    This text.",
        ],
    )
}

pub(super) fn consumers(call: &mut Call) -> CommandResult {
    let (key, name) = (call.args[2], call.args[3]);
    let now_ms = call.store.now_ms;
    let stream = call.store.get::<Box<Stream>>(key)?.ok_or(NO_SUCH_KEY)?;
    let group = stream.group(name).ok_or_else(|| no_group_at(key, name))?;
    let reply = &mut *call.reply;
    reply.array(group.consumer_count());
    for consumer in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        reply.bulk(b"pending");
        reply.integer(consumer.pending().len() as i64);
        reply.bulk(b"idle");
        reply.integer((now_ms.wrapping_sub(consumer.seen_ms) as i64).max(0));
        reply.bulk(b"inactive");
        reply.integer(consumer.active_ms.map_or(-1, |active_ms| now_ms.wrapping_sub(active_ms) as i64));
    }
    Ok(())
}

pub(super) fn groups(call: &mut Call) -> CommandResult {
    let stream = call.store.get::<Box<Stream>>(call.args[2])?.ok_or(NO_SUCH_KEY)?;
    let reply = &mut *call.reply;
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"consumers");
        reply.integer(group.consumer_count() as i64);
        reply.bulk(b"pending");
        reply.integer(group.pending().len() as i64);
        reply_progress(reply, stream, group);
    }
    Ok(())
}

/// How far a group has read, as GROUPS and STREAM FULL both tell.
fn reply_progress(reply: &mut Reply, stream: &Stream, group: &Group) {
    reply.bulk(b"last-delivered-id");
    reply_id(reply, group.last_id);
    reply.bulk(b"entries-read");
    reply_if_known(reply, group.entries_read.map(|count| count as i64));
    reply.bulk(b"lag");
    reply_if_known(reply, stream.lag(group));
}

fn reply_if_known(reply: &mut Reply, count: Option<i64>) {
    match count {
        Some(count) => reply.integer(count),
        None => reply.null(),
    }
}

pub(super) fn stream(call: &mut Call) -> CommandResult {
    // A missing key is noticed before a wrong option.
    if call.store.get::<Box<Stream>>(call.args[2])?.is_none() {
        return Err(NO_SUCH_KEY);
    }
    let full_count = parse_full(call)?;
    let entry = call.store.peek(call.args[2]).expect("the key was just seen");
    let stream = super::stream_in(entry.content())?;
    let reply = &mut *call.reply;
    match full_count {
        None => {
            reply.map(10);
            reply_counters(reply, &stream.entries);
            reply.bulk(b"groups");
            reply.integer(stream.groups().len() as i64);
            reply_edges(reply, &stream.entries);
        }
        Some(count) => {
            reply.map(9);
            reply_counters(reply, &stream.entries);
            reply_entries(reply, &stream.entries, count);
            reply_groups(reply, stream, count);
        }
    }
    Ok(())
}

/// COUNT of FULL, `None` without FULL; 0 means all.
fn parse_full(call: &Call) -> Result<Option<u64>, Error> {
    match call.args.len() {
        3 => Ok(None),
        4 if call.is_word(3, "full") => Ok(Some(FULL_COUNT)),
        6 if call.is_word(3, "full") && call.is_word(4, "count") => {
            Ok(Some(u64::try_from(call.int(5)?).unwrap_or(FULL_COUNT)))
        }
        _ => Err(subcommand_syntax(call, "XINFO")),
    }
}

fn reply_counters(reply: &mut Reply, entries: &Entries) {
    reply.bulk(b"length");
    reply.integer(entries.len() as i64);
    reply.bulk(b"radix-tree-keys");
    reply.integer(entries.node_count() as i64);
    reply.bulk(b"radix-tree-nodes");
    reply.integer(entries.radix_node_count() as i64);
    reply.bulk(b"last-generated-id");
    reply_id(reply, entries.last_id);
    reply.bulk(b"max-deleted-entry-id");
    reply_id(reply, entries.max_deleted_id);
    reply.bulk(b"entries-added");
    reply.integer(entries.added as i64);
    reply.bulk(b"recorded-first-entry-id");
    reply_id(reply, entries.first_id());
}

/// The first and the last entry.
fn reply_edges(reply: &mut Reply, entries: &Entries) {
    for (name, id) in [("first-entry", entries.first()), ("last-entry", entries.last())] {
        reply.bulk(name.as_bytes());
        if !id.is_some_and(|id| entries.see(id, |entry| reply_entry(reply, entry))) {
            reply.null();
        }
    }
}

fn reply_entries(reply: &mut Reply, entries: &Entries, count: u64) {
    reply.bulk(b"entries");
    let begun = reply.defer_len();
    let mut shown = 0;
    entries.visit(StreamId::MIN, StreamId::MAX, |entry| {
        reply_entry(reply, entry);
        shown += 1;
        if shown == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    reply.array_deferred(begun, shown as usize);
}

fn reply_groups(reply: &mut Reply, stream: &Stream, count: u64) {
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(name);
        reply_progress(reply, stream, group);
        reply.bulk(b"pel-count");
        reply.integer(group.pending().len() as i64);
        reply.bulk(b"pending");
        reply.array(shown_of(group.pending().len(), count));
        for (&id, pending) in group.pending().iter().take(shown_of(group.pending().len(), count)) {
            reply.array(4);
            reply_id(reply, id);
            reply.bulk(group.consumer(pending.owner).name());
            reply_delivery(reply, pending);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumer_count());
        group.consumers().for_each(|consumer| reply_consumer(reply, group, consumer, count));
    }
}

fn reply_consumer(reply: &mut Reply, group: &Group, consumer: &Consumer, count: u64) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    reply.bulk(b"seen-time");
    reply.integer(consumer.seen_ms as i64);
    reply.bulk(b"active-time");
    reply.integer(consumer.active_ms.map_or(-1, |active_ms| active_ms as i64));
    reply.bulk(b"pel-count");
    reply.integer(consumer.pending().len() as i64);
    reply.bulk(b"pending");
    let shown = shown_of(consumer.pending().len(), count);
    reply.array(shown);
    for &id in consumer.pending().iter().take(shown) {
        reply.array(3);
        reply_id(reply, id);
        reply_delivery(reply, &group.pending()[&id]);
    }
}

fn reply_delivery(reply: &mut Reply, pending: &Pending) {
    reply.integer(pending.delivered_ms as i64);
    reply.integer(pending.deliveries as i64);
}

/// How many of `len` are shown where at most `count` are, or all if that is 0.
fn shown_of(len: usize, count: u64) -> usize {
    match usize::try_from(count) {
        Ok(count) if count > 0 => len.min(count),
        _ => len,
    }
}
