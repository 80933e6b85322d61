//! XGROUP: making, changing and deleting consumer groups and their consumers.
//!
//! As in Redis, none of it counts as a change to those who watch the key, except where a key is made and where a
//! group goes that clients may be blocked on.
//!
//! Not here: delivering (`read.rs`), pending entries (`pending.rs`).

use alloc::boxed::Box;

use super::{
    Call, CommandResult, edit, find_for_change, no_group_at, parse_id, parse_id_or_end, reply_help,
    subcommand_syntax,
};
use crate::{
    error::Error,
    store::{
        Class,
        stream::{Group, Stream, StreamId},
    },
};

const KEY_MISSING: Error = Error::new(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
);

pub(super) fn help(call: &mut Call) -> CommandResult {
    reply_help(
        call,
        &[
            "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "CREATE <key> <groupname> <id|$> [option]",
            "    Make a group that reads on after <id>. Options are:",
            "    * MKSTREAM",
            "      Make the stream too if there is none.",
            "    * ENTRIESREAD entries_read",
            "      How many entries the group has read (for the log).",
            "CREATECONSUMER <key> <groupname> <consumer>",
            "    Make a consumer.",
            "DELCONSUMER <key> <groupname> <consumer>",
            "    Delete a consumer with what it has pending.",
            "DESTROY <key> <groupname>",
            "    Delete a group.",
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            "    Let a group read on after <id>.",
            "HELP",
            "    This text.",
        ],
    )
}

/// Options after the id of CREATE and SETID.
#[derive(Default)]
struct Options {
    makes_stream: bool,
    entries_read: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Create,
    SetId,
}

impl Options {
    fn parse(call: &Call, purpose: Purpose) -> Result<Options, Error> {
        let mut options = Options::default();
        let mut index = 5;
        while index < call.args.len() {
            if purpose == Purpose::Create && call.is_word(index, "mkstream") {
                options.makes_stream = true;
                index += 1;
            } else if call.is_word(index, "entriesread") && index + 1 < call.args.len() {
                options.entries_read = parse_entries_read(call.int(index + 1)?)?;
                index += 2;
            } else {
                return Err(subcommand_syntax(call, "XGROUP"));
            }
        }
        Ok(options)
    }
}

/// -1 means that it is not known.
fn parse_entries_read(count: i64) -> Result<Option<u64>, Error> {
    match count {
        -1 => Ok(None),
        _ => u64::try_from(count)
            .map(Some)
            .map_err(|_| Error::new("ERR value for ENTRIESREAD must be positive or -1")),
    }
}

pub(super) fn create(call: &mut Call) -> CommandResult {
    /// All options once: more arguments than that are refused.
    const ARGS_MAX: usize = 8;

    let options = Options::parse(call, Purpose::Create)?;
    let (key, name, id) = (call.args[2], call.args[3], call.args[4]);
    let found =
        find_for_change(call, key)?.map(|stream| (stream.entries.last_id, stream.group(name).is_some()));
    if found.is_none() && !options.makes_stream {
        return Err(KEY_MISSING);
    }
    if call.args.len() > ARGS_MAX {
        return Err(subcommand_syntax(call, "XGROUP"));
    }
    let last_id = match (id, found) {
        (b"$", Some((last_id, _))) => last_id,
        (b"$", None) => StreamId::MIN,
        _ => parse_id(id)?,
    };
    if found.is_some_and(|(_, is_taken)| is_taken) {
        return Err(Error::new("BUSYGROUP Consumer Group name already exists"));
    }
    call.store.edit_or_insert(
        key,
        |_| Box::<Stream>::default(),
        |stream| stream.add_group(name, Group::new(last_id, options.entries_read)),
    )?;
    match found {
        Some(_) => call.store.dirty += 1,
        None => call.store.touch(key, 1),
    }
    call.store.notify(Class::Stream, "xgroup-create", key);
    call.reply.ok();
    Ok(())
}

/// Fails unless the key holds a stream that has the group; gives back the stream's last id.
fn require_group(call: &mut Call, key: &[u8], name: &[u8]) -> Result<StreamId, Error> {
    let stream = find_for_change(call, key)?.ok_or(KEY_MISSING)?;
    match stream.group(name) {
        Some(_) => Ok(stream.entries.last_id),
        None => Err(no_group_at(key, name)),
    }
}

/// Changes a group that was found before.
fn edit_group<R>(
    call: &mut Call,
    key: &[u8],
    name: &[u8],
    change: impl FnOnce(&mut Group) -> R,
) -> Result<R, Error> {
    let changed = edit(call, key, |stream| stream.edit_group(name, |_, group| change(group)))?;
    Ok(changed.expect("the group was just seen"))
}

pub(super) fn set_id(call: &mut Call) -> CommandResult {
    let options = Options::parse(call, Purpose::SetId)?;
    let (key, name, id) = (call.args[2], call.args[3], call.args[4]);
    let last_id = require_group(call, key, name)?;
    if call.args.len() != 5 && call.args.len() != 7 {
        return Err(subcommand_syntax(call, "XGROUP"));
    }
    let id = if id == b"$" { last_id } else { parse_id_or_end(id, 0)? };
    edit_group(call, key, name, |group| {
        group.last_id = id;
        group.entries_read = options.entries_read;
    })?;
    call.store.dirty += 1;
    call.store.notify(Class::Stream, "xgroup-setid", key);
    call.reply.ok();
    Ok(())
}

pub(super) fn destroy(call: &mut Call) -> CommandResult {
    let (key, name) = (call.args[2], call.args[3]);
    find_for_change(call, key)?.ok_or(KEY_MISSING)?;
    let is_removed = edit(call, key, |stream| stream.remove_group(name))?;
    if is_removed {
        // Whoever is blocked on the group learns that it is gone.
        call.store.touch(key, 1);
        call.store.notify(Class::Stream, "xgroup-destroy", key);
    }
    call.reply.integer(i64::from(is_removed));
    Ok(())
}

pub(super) fn create_consumer(call: &mut Call) -> CommandResult {
    let (key, name, consumer) = (call.args[2], call.args[3], call.args[4]);
    require_group(call, key, name)?;
    let now_ms = call.store.now_ms;
    let created = edit_group(call, key, name, |group| group.add_consumer(consumer, now_ms, None))?;
    if created.is_some() {
        call.store.dirty += 1;
        call.store.notify(Class::Stream, "xgroup-createconsumer", key);
    }
    call.reply.integer(i64::from(created.is_some()));
    Ok(())
}

pub(super) fn delete_consumer(call: &mut Call) -> CommandResult {
    let (key, name, consumer) = (call.args[2], call.args[3], call.args[4]);
    require_group(call, key, name)?;
    let released = edit_group(call, key, name, |group| group.delete_consumer(consumer))?;
    if released.is_some() {
        call.store.dirty += 1;
        call.store.notify(Class::Stream, "xgroup-delconsumer", key);
    }
    call.reply.integer(released.unwrap_or(0) as i64);
    Ok(())
}
