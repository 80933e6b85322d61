//! Strings: SET and GET with all their kin, counters, ranges.
//!
//! Not here: bits of a string (`bitmap.rs`), what a string is in memory (`store/value.rs`).

use super::{
    Call, Command, CommandResult, KeySpec, parse_int,
    spec::{acl, flag, key_flag},
};
use crate::{
    bytes::number,
    error::{Error, SYNTAX},
    store::Class,
};

const READ_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("get", 2, flag::READONLY | flag::FAST, get).keys(READ_KEY).acl(acl::STRING).doc(
        "string",
        "1.0.0",
        "Returns the string value of a key.",
        "O(1)",
    ),
    Command::run("set", -3, flag::WRITE | flag::DENYOOM, set)
        .keys(&[KeySpec::one(
            1,
            key_flag::RW | key_flag::ACCESS | key_flag::UPDATE | key_flag::VARIABLE_FLAGS,
        )])
        .acl(acl::STRING)
        .doc(
            "string",
            "1.0.0",
            "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
            "O(1)",
        ),
];

fn get(call: &mut Call) -> CommandResult {
    match call.store.string(call.args[1])? {
        Some(text) => call.reply.bulk(text.bytes(&mut number::DecimalBuffer::default())),
        None => call.reply.null(),
    }
    Ok(())
}

/// When a value is to expire, as SET and GETEX take it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expiry {
    /// Not at all.
    Never,
    /// As the key that is there.
    Keep,
    /// At this time, milliseconds since 1970; said relative to now or not.
    At { ms: u64, is_relative: bool },
}

/// Options of SET.
struct SetOptions {
    only_if_absent: bool,
    only_if_present: bool,
    wants_old: bool,
    expiry: Expiry,
}

fn set(call: &mut Call) -> CommandResult {
    let options = parse_set_options(call)?;
    let (key, value) = (call.args[1], call.args[2]);
    if options.wants_old {
        match call.store.string(key)? {
            Some(text) => call.reply.bulk(text.bytes(&mut number::DecimalBuffer::default())),
            None => call.reply.null(),
        }
    }
    let exists = (options.only_if_absent || options.only_if_present) && call.store.exists(key);
    if (options.only_if_absent && exists) || (options.only_if_present && !exists) {
        if !options.wants_old {
            call.reply.null();
        }
        return Ok(());
    }
    store_with_expiry(call, key, value, options.expiry);
    if !options.wants_old {
        call.reply.ok();
    }
    Ok(())
}

/// Stores a string and leaves a record whose time is absolute, so that replay gives the same.
fn store_with_expiry(call: &mut Call, key: &[u8], value: &[u8], expiry: Expiry) {
    if let Expiry::At { ms, .. } = expiry
        && call.store.is_due(Some(ms))
    {
        // The value would be gone before anybody saw it: what remains is the deletion of the old one.
        call.record.suppress();
        if call.store.remove(key).is_some() {
            call.record.replace(&[b"DEL", key]);
            call.store.touch_removed(key);
        }
        return;
    }
    call.store.set_string(key, value, expiry == Expiry::Keep);
    call.store.touch(key, 1);
    call.store.notify(Class::String, "set", key);
    if let Expiry::At { ms, is_relative } = expiry {
        call.store.set_expiry(key, Some(ms));
        call.store.notify(Class::Generic, "expire", key);
        if is_relative {
            call.record.replace(&[
                b"SET",
                key,
                value,
                b"PXAT",
                number::format_u64(ms, &mut Default::default()),
            ]);
        }
    }
}

fn parse_set_options(call: &Call) -> Result<SetOptions, Error> {
    let mut options =
        SetOptions { only_if_absent: false, only_if_present: false, wants_old: false, expiry: Expiry::Never };
    let mut index = 3;
    while index < call.args.len() {
        let has_expiry = options.expiry != Expiry::Never;
        let has_next = index + 1 < call.args.len();
        if call.is_word(index, "nx") && !options.only_if_present {
            options.only_if_absent = true;
        } else if call.is_word(index, "xx") && !options.only_if_absent {
            options.only_if_present = true;
        } else if call.is_word(index, "get") {
            options.wants_old = true;
        } else if call.is_word(index, "keepttl") && !has_expiry {
            options.expiry = Expiry::Keep;
        } else if let Some(unit) = expiry_unit(call.args[index])
            && !has_expiry
            && has_next
        {
            options.expiry = parse_expiry(call.args[index + 1], unit, call.store.now_ms, "set")?;
            index += 1;
        } else {
            return Err(SYNTAX);
        }
        index += 1;
    }
    Ok(options)
}

/// How an expiry option counts.
#[derive(Clone, Copy)]
struct ExpiryUnit {
    in_seconds: bool,
    is_relative: bool,
}

fn expiry_unit(word: &[u8]) -> Option<ExpiryUnit> {
    let unit = |in_seconds, is_relative| Some(ExpiryUnit { in_seconds, is_relative });
    match &*word.to_ascii_lowercase() {
        b"ex" => unit(true, true),
        b"px" => unit(false, true),
        b"exat" => unit(true, false),
        b"pxat" => unit(false, false),
        _ => None,
    }
}

fn parse_expiry(text: &[u8], unit: ExpiryUnit, now_ms: u64, command: &str) -> Result<Expiry, Error> {
    let invalid = || Error::text(alloc::format!("ERR invalid expire time in '{command}' command"));
    let amount = parse_int(text)?;
    if amount <= 0 {
        return Err(invalid());
    }
    let ms = if unit.in_seconds { amount.checked_mul(1000).ok_or_else(invalid)? } else { amount };
    let base = if unit.is_relative { now_ms as i64 } else { 0 };
    let at = ms.checked_add(base).ok_or_else(invalid)?;
    Ok(Expiry::At { ms: at as u64, is_relative: unit.is_relative })
}
