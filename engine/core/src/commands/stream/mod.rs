//! Streams: the table of their commands, and what several of them share.
//!
//! Not here: entries (`entries.rs`), XREAD and XREADGROUP (`read.rs`), groups (`groups.rs`), their pending entries
//! (`pending.rs`), XINFO (`info.rs`), what a stream is in memory (`store/stream/`).

mod entries;
mod groups;
mod info;
mod pending;
mod read;
mod record;
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, format};

use perdura_structures::table::ContentRef;

use super::{
    Call, Command, CommandResult, KeySpec, printable,
    spec::{KeyBegin, KeyFind, acl, flag, key_flag},
};
use crate::{
    error::{Error, WRONG_TYPE},
    resp::Reply,
    store::{
        Object,
        stream::{Entry, Stream, StreamId},
    },
};

const READ: u32 = key_flag::RO | key_flag::ACCESS;
const READ_KEY: &[KeySpec] = &[KeySpec::one(1, READ)];
const UPDATE_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)];
const DELETE_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)];
const SUB_READ_KEY: &[KeySpec] = &[KeySpec::one(2, READ)];
const SUB_UPDATE_KEY: &[KeySpec] = &[KeySpec::one(2, key_flag::RW | key_flag::UPDATE)];
const SUB_INSERT_KEY: &[KeySpec] = &[KeySpec::one(2, key_flag::RW | key_flag::INSERT)];
const SUB_DELETE_KEY: &[KeySpec] = &[KeySpec::one(2, key_flag::RW | key_flag::DELETE)];
const VARYING: &[&str] = &["nondeterministic_output"];

/// Keys after the word STREAMS: the first half of what follows it.
const fn keys_after_streams(from: i32) -> KeySpec {
    KeySpec {
        begin: KeyBegin::Keyword("STREAMS", from),
        find: KeyFind::Range { last: -1, step: 1, limit: 2 },
        flags: READ,
    }
}

/// The commands of this folder.
pub const COMMANDS: &[Command] = &[
    Command::run("xack", -4, flag::WRITE | flag::FAST, pending::xack).keys(UPDATE_KEY).acl(acl::STREAM).doc(
        "stream",
        "5.0.0",
        "Acknowledges entries: they are no longer pending.",
        "O(1) for each id.",
    ),
    Command::run("xadd", -5, flag::WRITE | flag::DENYOOM | flag::FAST, entries::xadd)
        .keys(UPDATE_KEY)
        .acl(acl::STREAM)
        .doc(
            "stream",
            "5.0.0",
            "Adds an entry to a stream, which is made if there is none.",
            "O(1) to add, O(N) to trim, where N is the number of entries removed.",
        )
        .tips(VARYING),
    Command::run("xautoclaim", -6, flag::WRITE | flag::FAST, pending::xautoclaim)
        .keys(DELETE_KEY)
        .acl(acl::STREAM)
        .doc(
            "stream",
            "6.2.0",
            "Makes a consumer the owner of pending entries that nobody looked after.",
            "O(1) if COUNT is small.",
        )
        .tips(VARYING),
    Command::run("xclaim", -6, flag::WRITE | flag::FAST, pending::xclaim)
        .keys(UPDATE_KEY)
        .acl(acl::STREAM)
        .doc(
            "stream",
            "5.0.0",
            "Makes a consumer the owner of some pending entries.",
            "O(log N) where N is the number of the group's pending entries.",
        )
        .tips(VARYING),
    Command::run("xdel", -3, flag::WRITE | flag::FAST, entries::xdel).keys(DELETE_KEY).acl(acl::STREAM).doc(
        "stream",
        "5.0.0",
        "Deletes entries; gives how many there were.",
        "O(1) for each id, whatever the size of the stream.",
    ),
    Command::container("xgroup", GROUP_COMMANDS).doc(
        "stream",
        "5.0.0",
        "Commands that make, change and delete consumer groups.",
        "Depends on subcommand.",
    ),
    Command::container("xinfo", INFO_COMMANDS).doc(
        "stream",
        "5.0.0",
        "Commands that look at streams, groups and consumers.",
        "Depends on subcommand.",
    ),
    Command::run("xlen", 2, flag::READONLY | flag::FAST, entries::xlen)
        .keys(&[KeySpec::one(1, key_flag::RO)])
        .acl(acl::STREAM)
        .doc("stream", "5.0.0", "Gives the number of entries.", "O(1)"),
    Command::run("xpending", -3, flag::READONLY, pending::xpending)
        .keys(READ_KEY)
        .acl(acl::STREAM)
        .doc(
            "stream",
            "5.0.0",
            "Shows a group's pending entries, one by one or in sum.",
            "O(N) where N is the number of entries shown, or with IDLE looked at; O(1) for the sum, and O(N) for N consumers.",
        )
        .tips(VARYING),
    Command::run("xrange", -4, flag::READONLY, entries::xrange).keys(READ_KEY).acl(acl::STREAM).doc(
        "stream",
        "5.0.0",
        "Gives the entries whose ids lie between two ids.",
        "O(N) where N is the number of entries given.",
    ),
    Command::run("xread", -4, flag::READONLY | flag::BLOCKING | flag::MOVABLE_KEYS, read::xread)
        .keys(&[keys_after_streams(1)])
        .acl(acl::STREAM)
        .doc(
            "stream",
            "5.0.0",
            "Gives the entries of several streams after an id for each; may wait for some.",
            "O(N) for each stream, where N is the number of entries given.",
        ),
    Command::run(
        "xreadgroup",
        -7,
        flag::WRITE | flag::BLOCKING | flag::MOVABLE_KEYS,
        read::xreadgroup,
    )
    .keys(&[keys_after_streams(4)])
    .acl(acl::STREAM)
    .doc(
        "stream",
        "5.0.0",
        "Delivers new entries to a consumer of a group, or shows what it has pending; may wait for new ones.",
        "O(N) for each stream, where N is the number of entries given.",
    ),
    Command::run("xrevrange", -4, flag::READONLY, entries::xrevrange).keys(READ_KEY).acl(acl::STREAM).doc(
        "stream",
        "5.0.0",
        "Gives the entries whose ids lie between two ids, the last one first.",
        "O(N) where N is the number of entries given.",
    ),
    Command::run("xsetid", -3, flag::WRITE | flag::DENYOOM | flag::FAST, entries::xsetid)
        .keys(UPDATE_KEY)
        .acl(acl::STREAM)
        .doc("stream", "5.0.0", "Sets a stream's last id and counters; for the log.", "O(1)"),
    Command::run("xtrim", -4, flag::WRITE, entries::xtrim)
        .keys(DELETE_KEY)
        .acl(acl::STREAM)
        .doc(
            "stream",
            "5.0.0",
            "Removes the oldest entries, down to a length or up to an id.",
            "O(N) where N is the number of entries removed; whole nodes go at once.",
        )
        .tips(VARYING),
];

const GROUP_COMMANDS: &[Command] = &[
    Command::run("create", -5, flag::WRITE | flag::DENYOOM, groups::create)
        .keys(SUB_INSERT_KEY)
        .acl(acl::STREAM)
        .doc("stream", "5.0.0", "Makes a consumer group.", "O(1)"),
    Command::run("createconsumer", 5, flag::WRITE | flag::DENYOOM, groups::create_consumer)
        .keys(SUB_INSERT_KEY)
        .acl(acl::STREAM)
        .doc("stream", "6.2.0", "Makes a consumer in a group.", "O(1)"),
    Command::run("delconsumer", 5, flag::WRITE, groups::delete_consumer)
        .keys(SUB_DELETE_KEY)
        .acl(acl::STREAM)
        .doc("stream", "5.0.0", "Deletes a consumer with its pending entries.", "O(1)"),
    Command::run("destroy", 4, flag::WRITE, groups::destroy).keys(SUB_DELETE_KEY).acl(acl::STREAM).doc(
        "stream",
        "5.0.0",
        "Deletes a consumer group.",
        "O(N) where N is the number of the group's pending entries.",
    ),
    Command::run("help", 2, flag::LOADING | flag::STALE, groups::help).acl(acl::STREAM).doc(
        "stream",
        "5.0.0",
        "Lists the subcommands.",
        "O(1)",
    ),
    Command::run("setid", -5, flag::WRITE, groups::set_id).keys(SUB_UPDATE_KEY).acl(acl::STREAM).doc(
        "stream",
        "5.0.0",
        "Sets the id up to which a group has read.",
        "O(1)",
    ),
];

const INFO_COMMANDS: &[Command] = &[
    Command::run("consumers", 4, flag::READONLY, info::consumers)
        .keys(SUB_READ_KEY)
        .acl(acl::STREAM)
        .doc("stream", "5.0.0", "Lists the consumers of a group.", "O(N) where N is the number of consumers.")
        .tips(VARYING),
    Command::run("groups", 3, flag::READONLY, info::groups).keys(SUB_READ_KEY).acl(acl::STREAM).doc(
        "stream",
        "5.0.0",
        "Lists the groups of a stream.",
        "O(N) where N is the number of groups.",
    ),
    Command::run("help", 2, flag::LOADING | flag::STALE, info::help).acl(acl::STREAM).doc(
        "stream",
        "5.0.0",
        "Lists the subcommands.",
        "O(1)",
    ),
    Command::run("stream", -3, flag::READONLY, info::stream).keys(SUB_READ_KEY).acl(acl::STREAM).doc(
        "stream",
        "5.0.0",
        "Shows a stream's counters, or with FULL all about it.",
        "O(N) where N is the number of nodes and of what FULL shows.",
    ),
];

// --- Ids as arguments ---------------------------------------------------------------------------

const INVALID_ID: Error = Error::new("ERR Invalid stream ID specified as stream command argument");

/// An id, complete or without its sequence number, which then is 0.
fn parse_id(text: &[u8]) -> Result<StreamId, Error> {
    StreamId::parse(text, 0).ok_or(INVALID_ID)
}

/// An id that may also be `-` or `+`.
fn parse_id_or_end(text: &[u8], seq_missing: u64) -> Result<StreamId, Error> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => StreamId::parse(text, seq_missing).ok_or(INVALID_ID),
    }
}

/// The lowest id that an interval with this start has.
fn parse_start(text: &[u8]) -> Result<StreamId, Error> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => {
            parse_id(id)?.next().ok_or(Error::new("ERR invalid start ID for the interval"))
        }
        _ => parse_id_or_end(text, 0),
    }
}

/// The highest id that an interval with this end has.
fn parse_end(text: &[u8]) -> Result<StreamId, Error> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => StreamId::parse(id, u64::MAX)
            .ok_or(INVALID_ID)?
            .prev()
            .ok_or(Error::new("ERR invalid end ID for the interval")),
        _ => parse_id_or_end(text, u64::MAX),
    }
}

// --- Looking up ---------------------------------------------------------------------------------

/// The stream at a key, for reading.
fn find<'a>(call: &'a mut Call<'_>, key: &[u8]) -> Result<Option<&'a Stream>, Error> {
    Ok(call.store.get::<Box<Stream>>(key)?.map(|stream| &**stream))
}

/// The stream a content is.
fn stream_in(content: ContentRef<'_, Object>) -> Result<&Stream, Error> {
    match content {
        ContentRef::Object(Object::Stream(stream)) => Ok(stream),
        _ => Err(WRONG_TYPE),
    }
}

/// The stream at a key that is about to be changed: no hit is counted.
fn find_for_change<'a>(call: &'a mut Call<'_>, key: &[u8]) -> Result<Option<&'a Stream>, Error> {
    call.store.find(key).map(|entry| stream_in(entry.content())).transpose()
}

/// Changes the stream at a key, which was found there before.
fn edit<R>(call: &mut Call<'_>, key: &[u8], change: impl FnOnce(&mut Stream) -> R) -> Result<R, Error> {
    let edited = call.store.edit::<Box<Stream>, R>(key, |stream| change(stream))?;
    Ok(edited.value().expect("the key was just seen"))
}

/// `NOGROUP` as most commands say it.
fn no_group(key: &[u8], group: &[u8]) -> Error {
    Error::text(format!("NOGROUP No such key '{}' or consumer group '{}'", printable(key), printable(group)))
}

/// `NOGROUP` where the key was found.
fn no_group_at(key: &[u8], group: &[u8]) -> Error {
    Error::text(format!(
        "NOGROUP No such consumer group '{}' for key name '{}'",
        printable(group),
        printable(key)
    ))
}

/// What is answered to a known subcommand with arguments it does not know.
fn subcommand_syntax(call: &Call<'_>, container: &str) -> Error {
    let typed = call.args[1];
    let shown = printable(&typed[..typed.len().min(128)]);
    Error::text(format!(
        "ERR unknown subcommand or wrong number of arguments for '{shown}'. Try {container} HELP."
    ))
}

// --- Replies ------------------------------------------------------------------------------------

fn reply_id(reply: &mut Reply, id: StreamId) {
    reply.bulk(&id.text());
}

/// An entry: its id, and its names and values in one array.
fn reply_entry(reply: &mut Reply, entry: &Entry<'_>) {
    let mut digits = [0; 20];
    reply.array(2);
    reply_id(reply, entry.id);
    reply.array(entry.len() * 2);
    for (name, value) in entry.pairs() {
        reply.bulk(name.text(&mut digits));
        reply.bulk(value.text(&mut digits));
    }
}

/// Lines of a HELP.
fn reply_help(call: &mut Call<'_>, lines: &[&str]) -> CommandResult {
    call.reply.array(lines.len());
    for line in lines {
        call.reply.simple(line);
    }
    Ok(())
}
