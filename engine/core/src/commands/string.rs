//! Strings: SET and GET with all their kin, ranges.
//!
//! Not here: counters (`counter.rs`), LCS (`lcs.rs`), bits of a string (`bitmap.rs`), what a string is in memory
//! (`store/value.rs`).

use alloc::{vec, vec::Vec};

use super::{
    Args, Call, Command, CommandResult, KeySpec,
    expire::{ExpiryUnit, invalid_expiry, log_expiry, persist_key},
    parse_int,
    spec::{acl, flag, key_flag},
};
use crate::{
    bytes::number::{DecimalBuffer, format_u64},
    error::{Error, OFFSET_OUT_OF_RANGE, STRING_TOO_LONG, SYNTAX, WRONG_TYPE, wrong_arity},
    resp::Reply,
    store::{Class, Object, StringRef, Value},
};

const READ: u32 = key_flag::RO | key_flag::ACCESS;
const READ_KEY: &[KeySpec] = &[KeySpec::one(1, READ)];
const READ_KEYS: &[KeySpec] = &[KeySpec::range(1, -1, 1, READ)];
const CHANGE: u32 = key_flag::RW | key_flag::ACCESS | key_flag::UPDATE;
const CHANGE_KEY: &[KeySpec] = &[KeySpec::one(1, CHANGE)];
const OVERWRITE_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::OW | key_flag::UPDATE)];

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("append", 3, flag::WRITE | flag::DENYOOM | flag::FAST, append)
        .keys(&[KeySpec::one(1, key_flag::RW | key_flag::INSERT)])
        .acl(acl::STRING)
        .doc(
            "string",
            "2.0.0",
            "Adds text to the end of a string, which is made if there is none.",
            "O(1), amortized.",
        ),
    Command::run("get", 2, flag::READONLY | flag::FAST, get).keys(READ_KEY).acl(acl::STRING).doc(
        "string",
        "1.0.0",
        "Gives the string at a key.",
        "O(1)",
    ),
    Command::run("getdel", 2, flag::WRITE | flag::FAST, getdel)
        .keys(&[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)])
        .acl(acl::STRING)
        .doc("string", "6.2.0", "Gives the string at a key and deletes the key.", "O(1)"),
    Command::run("getex", -2, flag::WRITE | flag::FAST, getex).keys(CHANGE_KEY).acl(acl::STRING).doc(
        "string",
        "6.2.0",
        "Gives the string at a key and sets or removes the key's expiry.",
        "O(1)",
    ),
    Command::run("getrange", 4, flag::READONLY, getrange).keys(READ_KEY).acl(acl::STRING).doc(
        "string",
        "2.4.0",
        "Gives a part of the string at a key.",
        "O(N) where N is the length of the part.",
    ),
    Command::run("getset", 3, flag::WRITE | flag::DENYOOM | flag::FAST, getset)
        .keys(CHANGE_KEY)
        .acl(acl::STRING)
        .doc("string", "1.0.0", "Sets a string and gives the one it replaces.", "O(1)")
        .deprecated("6.2.0", "`SET` with the `!GET` argument"),
    Command::run("mget", -2, flag::READONLY | flag::FAST, mget)
        .keys(READ_KEYS)
        .acl(acl::STRING)
        .doc(
            "string",
            "1.0.0",
            "Gives the strings at several keys, as of one moment.",
            "O(N) where N is the number of keys.",
        )
        .tips(&["request_policy:multi_shard"]),
    Command::run("mset", -3, flag::WRITE | flag::DENYOOM, mset)
        .keys(&[KeySpec::range(1, -1, 2, key_flag::OW | key_flag::UPDATE)])
        .acl(acl::STRING)
        .doc("string", "1.0.1", "Sets several strings at one moment.", "O(N) where N is the number of keys.")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
    Command::run("msetnx", -3, flag::WRITE | flag::DENYOOM, msetnx)
        .keys(&[KeySpec::range(1, -1, 2, key_flag::OW | key_flag::INSERT)])
        .acl(acl::STRING)
        .doc(
            "string",
            "1.0.1",
            "Sets several strings if none of the keys exists.",
            "O(N) where N is the number of keys.",
        ),
    Command::run("psetex", 4, flag::WRITE | flag::DENYOOM, psetex).keys(OVERWRITE_KEY).acl(acl::STRING).doc(
        "string",
        "2.6.0",
        "Sets a string that expires after some milliseconds.",
        "O(1)",
    ),
    Command::run("set", -3, flag::WRITE | flag::DENYOOM, set)
        .keys(&[KeySpec::one(1, CHANGE | key_flag::VARIABLE_FLAGS)])
        .keys_found_by(set_keys)
        .acl(acl::STRING)
        .doc("string", "1.0.0", "Sets a string, whatever the key held before.", "O(1)"),
    Command::run("setex", 4, flag::WRITE | flag::DENYOOM, setex).keys(OVERWRITE_KEY).acl(acl::STRING).doc(
        "string",
        "2.0.0",
        "Sets a string that expires after some seconds.",
        "O(1)",
    ),
    Command::run("setnx", 3, flag::WRITE | flag::DENYOOM | flag::FAST, setnx)
        .keys(&[KeySpec::one(1, key_flag::OW | key_flag::INSERT)])
        .acl(acl::STRING)
        .doc("string", "1.0.0", "Sets a string if the key does not exist.", "O(1)"),
    Command::run("setrange", 4, flag::WRITE | flag::DENYOOM, setrange)
        .keys(&[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)])
        .acl(acl::STRING)
        .doc(
            "string",
            "2.2.0",
            "Overwrites a part of a string, padding it with zeros if it is shorter.",
            "O(N) where N is the length of the new part.",
        ),
    Command::run("strlen", 2, flag::READONLY | flag::FAST, strlen)
        .keys(&[KeySpec::one(1, key_flag::RO)])
        .acl(acl::STRING)
        .doc("string", "2.2.0", "Gives the length of a string in bytes.", "O(1)"),
    Command::run("substr", 4, flag::READONLY, getrange)
        .keys(READ_KEY)
        .acl(acl::STRING)
        .doc(
            "string",
            "1.0.0",
            "Gives a part of the string at a key.",
            "O(N) where N is the length of the part.",
        )
        .deprecated("2.0.0", "`GETRANGE`"),
];

fn get(call: &mut Call) -> CommandResult {
    let found = call.store.string(call.args[1])?;
    reply_text(call.reply, found);
    Ok(())
}

fn reply_text(reply: &mut Reply, text: Option<StringRef<'_>>) {
    match text {
        Some(text) => reply.bulk(text.bytes(&mut DecimalBuffer::default())),
        None => reply.null(),
    }
}

fn mget(call: &mut Call) -> CommandResult {
    call.reply.array(call.args.len() - 1);
    for &key in &call.args[1..] {
        // A key of another type is answered like a missing one.
        reply_text(call.reply, call.store.string(key).unwrap_or_default());
    }
    Ok(())
}

fn strlen(call: &mut Call) -> CommandResult {
    let len = call.store.string(call.args[1])?.map_or(0, StringRef::len);
    call.reply.integer(len as i64);
    Ok(())
}

fn getrange(call: &mut Call) -> CommandResult {
    let (start, end) = (call.int(2)?, call.int(3)?);
    let text = call.store.string(call.args[1])?.unwrap_or(StringRef::Bytes(b""));
    let mut buffer = DecimalBuffer::default();
    let bytes = text.bytes(&mut buffer);
    call.reply.bulk(part_of(bytes, start, end));
    Ok(())
}

/// The bytes from `start` to `end` inclusive, each counted from the end if negative and clipped to the text.
fn part_of(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    let len = bytes.len() as i64;
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let from_front = |index: i64| if index < 0 { index.saturating_add(len).max(0) } else { index };
    let (start, end) = (from_front(start), from_front(end).min(len - 1));
    if start > end { b"" } else { &bytes[start as usize..=end as usize] }
}

// --- SET and its kin ----------------------------------------------------------------------------

/// An expiry option: how its amount counts and where that stands.
#[derive(Clone, Copy)]
struct ExpiryOption {
    unit: ExpiryUnit,
    amount_at: usize,
}

impl ExpiryOption {
    /// Milliseconds since 1970.
    fn resolve(self, call: &Call, command: &str) -> Result<u64, Error> {
        positive_expiry(call.args[self.amount_at], self.unit, call.store.now_ms, command)
    }
}

/// An expiry that may not be zero or negative, in milliseconds since 1970.
fn positive_expiry(amount: &[u8], unit: ExpiryUnit, now_ms: u64, command: &str) -> Result<u64, Error> {
    let amount = parse_int(amount)?;
    if amount <= 0 {
        return Err(invalid_expiry(command));
    }
    unit.resolve(amount, now_ms).map(|at| at as u64).ok_or_else(|| invalid_expiry(command))
}

/// Options of SET.
#[derive(Default)]
struct SetOptions {
    only_if_absent: bool,
    only_if_present: bool,
    wants_old: bool,
    keeps_expiry: bool,
    expiry: Option<ExpiryOption>,
}

fn set(call: &mut Call) -> CommandResult {
    let options = parse_set_options(call)?;
    let expiry = options.expiry.map(|option| option.resolve(call, "set")).transpose()?;
    let key = call.args[1];
    if options.wants_old {
        let old = call.store.string(key)?;
        reply_text(call.reply, old);
    }
    let exists = (options.only_if_absent || options.only_if_present) && call.store.exists(key);
    if (options.only_if_absent && exists) || (options.only_if_present && !exists) {
        if !options.wants_old {
            call.reply.null();
        }
        return Ok(());
    }
    match (expiry, options.expiry) {
        (Some(at), Some(option)) if option.unit == ExpiryUnit::PXAT => {
            store_expiring(call, call.args[2], at, Log::AsTyped)
        }
        (Some(at), _) => store_expiring(call, call.args[2], at, Log::Absolute),
        _ => store(call, call.args[2], options.keeps_expiry),
    }
    if options.wants_old {
        if expiry.is_none() {
            log_without_get(call);
        }
    } else {
        call.reply.ok();
    }
    Ok(())
}

fn parse_set_options(call: &Call) -> Result<SetOptions, Error> {
    let mut options = SetOptions::default();
    let mut index = 3;
    while index < call.args.len() {
        if call.is_word(index, "nx") && !options.only_if_present {
            options.only_if_absent = true;
        } else if call.is_word(index, "xx") && !options.only_if_absent {
            options.only_if_present = true;
        } else if call.is_word(index, "get") {
            options.wants_old = true;
        } else if call.is_word(index, "keepttl") && options.expiry.is_none() {
            options.keeps_expiry = true;
        } else if let Some(expiry) = expiry_option(call.args, index, options.expiry)
            && !options.keeps_expiry
        {
            options.expiry = Some(expiry);
            index += 1;
        } else {
            return Err(SYNTAX);
        }
        index += 1;
    }
    Ok(options)
}

/// The expiry option at `index`, if it is one, is complete, and does not contradict an earlier one.
fn expiry_option(args: Args<'_>, index: usize, earlier: Option<ExpiryOption>) -> Option<ExpiryOption> {
    let unit = ExpiryUnit::of_word(args[index])?;
    let is_allowed = earlier.is_none_or(|earlier| earlier.unit == unit);
    (is_allowed && index + 1 < args.len()).then_some(ExpiryOption { unit, amount_at: index + 1 })
}

/// What goes to the log for a value that expires.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Log {
    /// The command itself: its time is absolute already.
    AsTyped,
    /// `SET key value PXAT time`, so that replay gives the same.
    Absolute,
}

fn store(call: &mut Call, value: &[u8], keep_expiry: bool) {
    let key = call.args[1];
    call.store.set_string(key, value, keep_expiry);
    call.store.touch(key, 1);
    call.store.notify(Class::String, "set", key);
}

fn store_expiring(call: &mut Call, value: &[u8], at_ms: u64, log: Log) {
    let key = call.args[1];
    if call.store.is_past(at_ms) {
        // The value would be gone before anybody saw it: what remains is the deletion of the old one. Whoever watches the key
        // is told even if there was none, as by Redis.
        if !call.remove_past(key) {
            call.store.touch(key, 1);
        }
        return;
    }
    store(call, value, false);
    call.store.set_expiry(key, Some(at_ms));
    call.store.notify(Class::Generic, "expire", key);
    if log == Log::Absolute {
        call.record.replace(&[b"SET", key, value, b"PXAT", format_u64(at_ms, &mut DecimalBuffer::default())]);
    }
}

/// Replay needs no answer: GET stays out of the log.
fn log_without_get(call: &mut Call) {
    let is_get = |&(index, argument): &(usize, &&[u8])| index >= 3 && argument.eq_ignore_ascii_case(b"get");
    let kept: Vec<&[u8]> =
        call.args.iter().enumerate().filter(|item| !is_get(item)).map(|(_, &argument)| argument).collect();
    call.record.replace(&kept);
}

/// SET reads its key only where GET is asked for.
fn set_keys(args: Args<'_>) -> Vec<(usize, u32)> {
    let wants_old = args.iter().skip(3).any(|argument| argument.eq_ignore_ascii_case(b"get"));
    vec![(1, if wants_old { CHANGE } else { key_flag::OW | key_flag::UPDATE })]
}

fn setnx(call: &mut Call) -> CommandResult {
    let exists = call.store.exists(call.args[1]);
    if !exists {
        store(call, call.args[2], false);
    }
    call.reply.integer(i64::from(!exists));
    Ok(())
}

fn setex(call: &mut Call) -> CommandResult {
    set_with_ttl(call, ExpiryUnit::EX, "setex")
}

fn psetex(call: &mut Call) -> CommandResult {
    set_with_ttl(call, ExpiryUnit::PX, "psetex")
}

fn set_with_ttl(call: &mut Call, unit: ExpiryUnit, command: &str) -> CommandResult {
    let at = positive_expiry(call.args[2], unit, call.store.now_ms, command)?;
    store_expiring(call, call.args[3], at, Log::Absolute);
    call.reply.ok();
    Ok(())
}

fn getset(call: &mut Call) -> CommandResult {
    let (key, value) = (call.args[1], call.args[2]);
    let old = call.store.string(key)?;
    reply_text(call.reply, old);
    store(call, value, false);
    call.record.replace(&[b"SET", key, value]);
    Ok(())
}

fn getdel(call: &mut Call) -> CommandResult {
    let key = call.args[1];
    let old = call.store.string(key)?;
    reply_text(call.reply, old);
    if call.store.remove(key) {
        call.store.touch_removed(key);
        call.record.replace(&[b"DEL", key]);
    }
    Ok(())
}

/// What GETEX does to the expiry.
enum GetexOption {
    Nothing,
    Persist,
    Expire(ExpiryOption),
}

fn getex(call: &mut Call) -> CommandResult {
    let option = parse_getex_option(call)?;
    let key = call.args[1];
    if call.store.string(key)?.is_none() {
        call.reply.null();
        return Ok(());
    }
    let expiry = match option {
        GetexOption::Expire(option) => Some(option.resolve(call, "getex")?),
        _ => None,
    };
    let text = call.store.peek(key).and_then(|entry| StringRef::of(entry.content()));
    reply_text(call.reply, text);
    match (expiry, option) {
        (Some(at), _) if call.store.is_past(at) => {
            call.remove_past(key);
        }
        (Some(at), _) => {
            call.store.set_expiry(key, Some(at));
            call.store.touch(key, 1);
            call.store.notify(Class::Generic, "expire", key);
            log_expiry(call, key, at, &[]);
        }
        (None, GetexOption::Persist) if persist_key(call, key) => {
            call.record.replace(&[b"PERSIST", key]);
        }
        _ => {}
    }
    Ok(())
}

fn parse_getex_option(call: &Call) -> Result<GetexOption, Error> {
    let mut option = GetexOption::Nothing;
    let mut index = 2;
    while index < call.args.len() {
        let earlier = match option {
            GetexOption::Expire(earlier) => Some(earlier),
            _ => None,
        };
        if call.is_word(index, "persist") && earlier.is_none() {
            option = GetexOption::Persist;
        } else if let Some(expiry) = expiry_option(call.args, index, earlier)
            && !matches!(option, GetexOption::Persist)
        {
            option = GetexOption::Expire(expiry);
            index += 1;
        } else {
            return Err(SYNTAX);
        }
        index += 1;
    }
    Ok(option)
}

// --- Several at once ----------------------------------------------------------------------------

fn mset(call: &mut Call) -> CommandResult {
    set_pairs(call, "mset")?;
    call.reply.ok();
    Ok(())
}

fn msetnx(call: &mut Call) -> CommandResult {
    if call.args.len().is_multiple_of(2) {
        return Err(wrong_arity("msetnx"));
    }
    if call.args[1..].chunks(2).any(|pair| call.store.exists(pair[0])) {
        call.reply.integer(0);
        return Ok(());
    }
    set_pairs(call, "msetnx")?;
    call.reply.integer(1);
    Ok(())
}

fn set_pairs(call: &mut Call, command: &str) -> CommandResult {
    if call.args.len().is_multiple_of(2) {
        return Err(wrong_arity(command));
    }
    for pair in call.args[1..].chunks(2) {
        call.store.set_string(pair[0], pair[1], false);
        call.store.touch(pair[0], 1);
        call.store.notify(Class::String, "set", pair[0]);
    }
    Ok(())
}

// --- Editing in place ---------------------------------------------------------------------------

fn append(call: &mut Call) -> CommandResult {
    let (key, suffix) = (call.args[1], call.args[2]);
    let old_len = string_len(call, key)?;
    let len = old_len.unwrap_or(0) + suffix.len();
    check_len(call, len)?;
    if old_len.is_some() {
        call.store.edit_text(key, |text| {
            reserve(text, suffix.len());
            text.extend_from_slice(suffix);
        })?;
    } else {
        call.store.set_string(key, suffix, false);
    }
    call.store.touch(key, 1);
    call.store.notify(Class::String, "append", key);
    call.reply.integer(len as i64);
    Ok(())
}

fn setrange(call: &mut Call) -> CommandResult {
    let offset = call.int(2)?;
    let (key, part) = (call.args[1], call.args[3]);
    let offset = usize::try_from(offset).map_err(|_| OFFSET_OUT_OF_RANGE)?;
    let old_len = string_len(call, key)?.unwrap_or(0);
    if part.is_empty() {
        call.reply.integer(old_len as i64);
        return Ok(());
    }
    let end = offset.saturating_add(part.len());
    check_len(call, end)?;
    let len = call.store.edit_text(key, |text| {
        grow(text, end);
        text[offset..end].copy_from_slice(part);
        text.len()
    })?;
    call.store.touch(key, 1);
    call.store.notify(Class::String, "setrange", key);
    call.reply.integer(len as i64);
    Ok(())
}

/// Length of the string at a key that is about to be changed.
fn string_len(call: &mut Call, key: &[u8]) -> Result<Option<usize>, Error> {
    match call.store.find(key) {
        None => Ok(None),
        Some(entry) => Ok(Some(StringRef::of(entry.content()).ok_or(WRONG_TYPE)?.len())),
    }
}

fn check_len(call: &Call, len: usize) -> CommandResult {
    if len > call.store.limits.string_bytes_max { Err(STRING_TOO_LONG) } else { Ok(()) }
}

/// Pads a string with zeros to at least this length.
pub(super) fn grow(text: &mut Vec<u8>, len: usize) {
    if len > text.len() {
        reserve(text, len - text.len());
        text.resize(len, 0);
    }
}

/// Makes room for `more` bytes and, so that repeated appends are cheap, as much again up to 1 MiB.
fn reserve(text: &mut Vec<u8>, more: usize) {
    /// Where doubling would waste too much.
    const SLACK_BYTES_MAX: usize = 1 << 20;

    if text.is_empty() {
        // Nothing says that it will grow.
        text.reserve_exact(more);
    } else if text.capacity() - text.len() < more {
        let len = text.len() + more;
        text.reserve_exact(more + len.min(SLACK_BYTES_MAX));
    }
}

/// Stores a string without looking for a shorter encoding: the result of an operation on bytes.
pub(super) fn store_raw(call: &mut Call, key: &[u8], text: Vec<u8>) {
    call.store.set(key, Value::Object(Object::String(text)), false);
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Bench, check};

    #[test]
    fn get_and_set_agree() {
        check(&[
            ("GET k", "nil"),
            ("SET k v", "+OK"),
            ("GET k", "\"v\""),
            ("SET k \"\"", "+OK"),
            ("GET k", "\"\""),
            ("SET k 12", "+OK"),
            ("GET k", "\"12\""),
            ("STRLEN k", ":2"),
            ("STRLEN none", ":0"),
            ("MGET k none k", "[\"12\", nil, \"12\"]"),
        ]);
    }

    #[test]
    fn set_conditions_and_old_values() {
        check(&[
            ("SET k 1 XX", "nil"),
            ("SET k 1 NX", "+OK"),
            ("SET k 2 NX", "nil"),
            ("SET k 2 XX", "+OK"),
            ("SET k 3 GET", "\"2\""),
            ("SET k 4 NX GET", "\"3\""),
            ("GET k", "\"3\""),
            ("SET new 1 GET", "nil"),
            ("SET other 1 XX GET", "nil"),
            ("EXISTS other", ":0"),
            ("SETNX k 9", ":0"),
            ("SETNX fresh 9", ":1"),
            ("GETSET k 5", "\"3\""),
            ("GETSET none 5", "nil"),
            ("GETDEL k", "\"5\""),
            ("GETDEL k", "nil"),
        ]);
    }

    #[test]
    fn set_options_that_contradict_are_refused() {
        let syntax = "-ERR syntax error";
        check(&[
            ("SET k v NX XX", syntax),
            ("SET k v EX", syntax),
            ("SET k v EX 1 PX 1", syntax),
            ("SET k v EX 1 KEEPTTL", syntax),
            ("SET k v KEEPTTL EX 1", syntax),
            ("SET k v PERSIST", syntax),
            ("SET k v EX abc FOO", syntax),
            ("SET k v EX abc", "-ERR value is not an integer or out of range"),
            ("SET k v EX 0", "-ERR invalid expire time in 'set' command"),
            ("SET k v PXAT -1", "-ERR invalid expire time in 'set' command"),
            ("SET k v EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
            ("SET k v PX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
            ("SETEX k 0 v", "-ERR invalid expire time in 'setex' command"),
            ("PSETEX k -1 v", "-ERR invalid expire time in 'psetex' command"),
            ("SETEX k x v", "-ERR value is not an integer or out of range"),
            ("EXISTS k", ":0"),
            ("SET k v EX 10 EX 20", "+OK"),
            ("TTL k", ":20"),
            ("SET k v KEEPTTL", "+OK"),
            ("TTL k", ":20"),
            ("SET k v", "+OK"),
            ("TTL k", ":-1"),
        ]);
    }

    #[test]
    fn set_logs_absolute_times_and_drops_get() {
        let mut bench = Bench::new();
        bench.logs("SET k v EX 10", &["SET k v PXAT 1700000010000"]);
        bench.logs("SET k v PX 10 NX", &[]);
        bench.logs("SET k v PX 10 XX", &["SET k v PXAT 1700000000010"]);
        bench.logs("SET k v EXAT 1700000009", &["SET k v PXAT 1700000009000"]);
        bench.logs("SET k v PXAT 1700000009001 GET", &["SET k v PXAT 1700000009001 GET"]);
        bench.logs("SET k v GET", &["SET k v"]);
        bench.logs("SET k get GET KEEPTTL", &["SET k get KEEPTTL"]);
        bench.logs("SETEX k 1 v", &["SET k v PXAT 1700000001000"]);
        bench.logs("PSETEX k 1 v", &["SET k v PXAT 1700000000001"]);
        bench.logs("GETSET k w", &["SET k w"]);
        bench.logs("GETDEL k", &["DEL k"]);
        bench.logs("GETDEL k", &[]);
        bench.logs("MSET a 1 b 2", &["MSET a 1 b 2"]);
    }

    #[test]
    fn set_into_the_past_leaves_a_deletion() {
        let mut bench = Bench::new();
        bench.logs("SET k v PXAT 1700000000000", &[]);
        bench.logs("SET k v", &["SET k v"]);
        bench.logs("SET k w PXAT 1", &["DEL k"]);
        assert_eq!(bench.run("EXISTS k"), ":0");
        bench.logs("SET k v", &["SET k v"]);
        bench.logs("GETEX k EXAT 1", &["DEL k"]);
    }

    #[test]
    fn getex_changes_the_expiry_and_logs_only_that() {
        let mut bench = Bench::new();
        bench.run("SET k v");
        bench.logs("GETEX k", &[]);
        bench.logs("GETEX k EX 5", &["PEXPIREAT k 1700000005000"]);
        assert_eq!(bench.run("PTTL k"), ":5000");
        bench.logs("GETEX k PERSIST", &["PERSIST k"]);
        bench.logs("GETEX k PERSIST", &[]);
        assert_eq!(bench.run("GETEX k EX 1 PERSIST"), "-ERR syntax error");
        assert_eq!(bench.run("GETEX k KEEPTTL"), "-ERR syntax error");
        assert_eq!(bench.run("GETEX k EX 0"), "-ERR invalid expire time in 'getex' command");
        assert_eq!(bench.run("GETEX none EX 0"), "nil");
    }

    #[test]
    fn ranges_count_from_both_ends() {
        check(&[
            ("SET k 0123456", "+OK"),
            ("GETRANGE k 0 -1", "\"0123456\""),
            ("GETRANGE k -3 -1", "\"456\""),
            ("GETRANGE k -1 -3", "\"\""),
            ("GETRANGE k 5 100", "\"56\""),
            ("GETRANGE k 7 8", "\"\""),
            ("GETRANGE k -100 0", "\"0\""),
            ("GETRANGE k 0 -100", "\"0\""),
            ("GETRANGE k -9223372036854775808 9223372036854775807", "\"0123456\""),
            ("GETRANGE none 0 -1", "\"\""),
            ("GETRANGE none a -1", "-ERR value is not an integer or out of range"),
            ("SUBSTR k 1 2", "\"12\""),
        ]);
    }

    #[test]
    fn setrange_pads_with_zeros() {
        check(&[
            ("SETRANGE k 0 \"\"", ":0"),
            ("EXISTS k", ":0"),
            ("SETRANGE k 2 ab", ":4"),
            ("GET k", "\"\\x00\\x00ab\""),
            ("SETRANGE k 1 Z", ":4"),
            ("SETRANGE k 1 \"\"", ":4"),
            ("SETRANGE k -1 x", "-ERR offset is out of range"),
            ("SETRANGE k 536870912 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
            (
                "SETRANGE k 9223372036854775807 x",
                "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            ),
            ("SET n 1234", "+OK"),
            ("SETRANGE n 1 x", ":4"),
            ("GET n", "\"1x34\""),
            ("OBJECT ENCODING n", "\"raw\""),
        ]);
    }

    #[test]
    fn append_keeps_the_expiry_and_stops_at_the_limit() {
        let mut bench = Bench::new();
        bench.store.limits.string_bytes_max = 5;
        bench.check(&[
            ("APPEND k 12", ":2"),
            ("OBJECT ENCODING k", "\"int\""),
            ("EXPIRE k 10", ":1"),
            ("APPEND k 345", ":5"),
            ("OBJECT ENCODING k", "\"raw\""),
            ("GET k", "\"12345\""),
            ("TTL k", ":10"),
            ("APPEND k 6", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
            ("STRLEN k", ":5"),
        ]);
    }

    #[test]
    fn msetnx_sets_all_or_nothing() {
        check(&[
            ("MSETNX a 1 b 2", ":1"),
            ("MSETNX b 3 c 4", ":0"),
            ("MGET a b c", "[\"1\", \"2\", nil]"),
            ("MSETNX a", "-ERR wrong number of arguments for 'msetnx' command"),
            ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
            ("MSET a 1 a 2", "+OK"),
            ("GET a", "\"2\""),
        ]);
    }

    #[test]
    fn writes_are_announced() {
        let mut bench = Bench::new();
        for (command, events) in [
            ("SET k v", &["new k", "set k"][..]),
            ("SET k v EX 1", &["set k", "expire k"]),
            ("APPEND k w", &["append k"]),
            ("SETRANGE k 0 x", &["setrange k"]),
            ("GETEX k PERSIST", &["persist k"]),
            ("GETDEL k", &["del k"]),
            ("GET k", &["keymiss k"]),
            ("MSET a 1 b 2", &["new a", "set a", "new b", "set b"]),
            ("SETNX a 1", &[]),
        ] {
            bench.run(command);
            assert_eq!(bench.events(), events, "{command}");
        }
    }
}
