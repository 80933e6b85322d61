//! When keys go: EXPIRE and its kin, TTL, PERSIST.
//!
//! Always true: the log gets absolute times only, and a time that has come is logged as the removal it causes.
//!
//! Not here: the removal of due keys (`store/mod.rs`, `node/cron.rs`), SET and GETEX with an expiry (`string.rs`).

use alloc::{vec, vec::Vec};

use super::{
    Args, Call, Command, CommandResult, KeySpec, printable,
    spec::{acl, flag, key_flag},
};
use crate::{
    bytes::number::{DecimalBuffer, format_u64},
    error::Error,
    store::Class,
};

const UPDATE_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)];
const LOOK_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];
const WRITE: u32 = flag::WRITE | flag::FAST;
const READ: u32 = flag::READONLY | flag::FAST;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("expire", -3, WRITE, expire).keys(UPDATE_KEY).acl(acl::KEYSPACE).doc(
        "generic",
        "1.0.0",
        "Lets a key expire after some seconds.",
        "O(1)",
    ),
    Command::run("expireat", -3, WRITE, expireat).keys(UPDATE_KEY).acl(acl::KEYSPACE).doc(
        "generic",
        "1.2.0",
        "Lets a key expire at a Unix time.",
        "O(1)",
    ),
    Command::run("expiretime", 2, READ, expiretime).keys(LOOK_KEY).acl(acl::KEYSPACE).doc(
        "generic",
        "7.0.0",
        "Gives the Unix time at which a key expires.",
        "O(1)",
    ),
    Command::run("persist", 2, WRITE, persist).keys(UPDATE_KEY).acl(acl::KEYSPACE).doc(
        "generic",
        "2.2.0",
        "Takes a key's expiry away.",
        "O(1)",
    ),
    Command::run("pexpire", -3, WRITE, pexpire).keys(UPDATE_KEY).acl(acl::KEYSPACE).doc(
        "generic",
        "2.6.0",
        "Lets a key expire after some milliseconds.",
        "O(1)",
    ),
    Command::run("pexpireat", -3, WRITE, pexpireat).keys(UPDATE_KEY).acl(acl::KEYSPACE).doc(
        "generic",
        "2.6.0",
        "Lets a key expire at a Unix time in milliseconds.",
        "O(1)",
    ),
    Command::run("pexpiretime", 2, READ, pexpiretime).keys(LOOK_KEY).acl(acl::KEYSPACE).doc(
        "generic",
        "7.0.0",
        "Gives the Unix time at which a key expires, in milliseconds.",
        "O(1)",
    ),
    Command::run("pttl", 2, READ, pttl)
        .keys(LOOK_KEY)
        .acl(acl::KEYSPACE)
        .doc("generic", "2.6.0", "Gives the milliseconds a key has left.", "O(1)")
        .tips(&["nondeterministic_output"]),
    Command::run("ttl", 2, READ, ttl)
        .keys(LOOK_KEY)
        .acl(acl::KEYSPACE)
        .doc("generic", "1.0.0", "Gives the seconds a key has left.", "O(1)")
        .tips(&["nondeterministic_output"]),
];

/// How the amount of an expiry counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ExpiryUnit {
    /// Seconds; otherwise milliseconds.
    in_seconds: bool,
    /// From now; otherwise from 1970.
    is_relative: bool,
}

impl ExpiryUnit {
    /// Seconds from now.
    pub const EX: ExpiryUnit = ExpiryUnit { in_seconds: true, is_relative: true };
    /// Milliseconds from now.
    pub const PX: ExpiryUnit = ExpiryUnit { in_seconds: false, is_relative: true };
    /// Seconds since 1970.
    pub const EXAT: ExpiryUnit = ExpiryUnit { in_seconds: true, is_relative: false };
    /// Milliseconds since 1970.
    pub const PXAT: ExpiryUnit = ExpiryUnit { in_seconds: false, is_relative: false };

    /// The unit an option of SET or GETEX names.
    pub fn of_word(word: &[u8]) -> Option<ExpiryUnit> {
        let units = [("ex", Self::EX), ("px", Self::PX), ("exat", Self::EXAT), ("pxat", Self::PXAT)];
        units.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, unit)| unit)
    }

    /// An amount in this unit as milliseconds since 1970, or `None` beyond 64 bits.
    pub fn resolve(self, amount: i64, now_ms: u64) -> Option<i64> {
        let ms = if self.in_seconds { amount.checked_mul(1000)? } else { amount };
        if self.is_relative { ms.checked_add_unsigned(now_ms) } else { Some(ms) }
    }
}

/// The error of an amount that is out of range.
pub(super) fn invalid_expiry(command: &str) -> Error {
    Error::text(alloc::format!("ERR invalid expire time in '{command}' command"))
}

fn expire(call: &mut Call) -> CommandResult {
    set_expiry(call, ExpiryUnit::EX, "expire")
}

fn pexpire(call: &mut Call) -> CommandResult {
    set_expiry(call, ExpiryUnit::PX, "pexpire")
}

fn expireat(call: &mut Call) -> CommandResult {
    set_expiry(call, ExpiryUnit::EXAT, "expireat")
}

fn pexpireat(call: &mut Call) -> CommandResult {
    set_expiry(call, ExpiryUnit::PXAT, "pexpireat")
}

/// Conditions under which an expiry is set.
#[derive(Clone, Copy, Default)]
struct Conditions {
    only_if_none: bool,
    only_if_some: bool,
    only_later: bool,
    only_earlier: bool,
}

impl Conditions {
    fn parse(call: &Call) -> Result<Conditions, Error> {
        let mut conditions = Conditions::default();
        for index in 3..call.args.len() {
            match &*call.args[index].to_ascii_lowercase() {
                b"nx" => conditions.only_if_none = true,
                b"xx" => conditions.only_if_some = true,
                b"gt" => conditions.only_later = true,
                b"lt" => conditions.only_earlier = true,
                _ => {
                    let option = printable(call.args[index]);
                    return Err(Error::text(alloc::format!("ERR Unsupported option {option}")));
                }
            }
        }
        let Conditions { only_if_none, only_if_some, only_later, only_earlier } = conditions;
        if only_if_none && (only_if_some || only_later || only_earlier) {
            return Err(Error::new("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if only_later && only_earlier {
            return Err(Error::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    /// Whether a key that expires at `current` may be made to expire at `at`. Without an expiry it lives for ever.
    fn allow(self, current: Option<u64>, at: i64) -> bool {
        match current.map(|current| current as i64) {
            Some(current) => {
                !self.only_if_none
                    && (!self.only_later || at > current)
                    && (!self.only_earlier || at < current)
            }
            None => !self.only_if_some && !self.only_later,
        }
    }
}

fn set_expiry(call: &mut Call, unit: ExpiryUnit, command: &str) -> CommandResult {
    let conditions = Conditions::parse(call)?;
    let at = unit.resolve(call.int(2)?, call.store.now_ms).ok_or_else(|| invalid_expiry(command))?;
    let key = call.args[1];
    let current = call.store.find(key).map(|entry| entry.expiry_ms());
    if !current.is_some_and(|current| conditions.allow(current, at)) {
        call.reply.integer(0);
        return Ok(());
    }
    // A time before 1970 is past, and while loading it is kept as the earliest time there is.
    let at_ms = at.max(0) as u64;
    if call.store.is_past(at_ms) {
        call.remove_past(key);
    } else {
        call.store.set_expiry(key, Some(at_ms));
        call.store.touch(key, 1);
        call.store.notify(Class::Generic, "expire", key);
        if command != "pexpireat" {
            log_expiry(call, key, at_ms, &call.args[3..]);
        }
    }
    call.reply.integer(1);
    Ok(())
}

/// Logs an expiry as an absolute time, with the conditions it was set under.
pub(super) fn log_expiry(call: &mut Call, key: &[u8], at_ms: u64, conditions: Args<'_>) {
    let mut buffer = DecimalBuffer::default();
    let mut command: Vec<&[u8]> = vec![b"PEXPIREAT", key, format_u64(at_ms, &mut buffer)];
    command.extend(conditions);
    call.record.replace(&command);
}

impl Call<'_> {
    /// Removes a key that was given an expiry in the past; the log gets the removal, or nothing if there was no key.
    /// Whether there was one.
    pub(super) fn remove_past(&mut self, key: &[u8]) -> bool {
        self.record.suppress();
        let is_removed = self.store.remove(key);
        if is_removed {
            self.store.touch_removed(key);
            let word: &[u8] = if self.context.lazyfree_server_del { b"UNLINK" } else { b"DEL" };
            self.record.replace(&[word, key]);
        }
        is_removed
    }
}

fn persist(call: &mut Call) -> CommandResult {
    let is_changed = persist_key(call, call.args[1]);
    call.reply.integer(i64::from(is_changed));
    Ok(())
}

/// Takes a key's expiry away; whether it had one.
pub(super) fn persist_key(call: &mut Call, key: &[u8]) -> bool {
    let has_expiry = call.store.find(key).is_some_and(|entry| entry.expiry_ms().is_some());
    if has_expiry {
        call.store.set_expiry(key, None);
        call.store.touch(key, 1);
        call.store.notify(Class::Generic, "persist", key);
    }
    has_expiry
}

fn ttl(call: &mut Call) -> CommandResult {
    reply_expiry(call, |at, now| to_seconds(at.saturating_sub(now)))
}

fn pttl(call: &mut Call) -> CommandResult {
    reply_expiry(call, u64::saturating_sub)
}

fn expiretime(call: &mut Call) -> CommandResult {
    reply_expiry(call, |at, _| to_seconds(at))
}

fn pexpiretime(call: &mut Call) -> CommandResult {
    reply_expiry(call, |at, _| at)
}

/// Rounded, so that a key just set to expire after 10 s answers 10.
fn to_seconds(ms: u64) -> u64 {
    (ms + 500) / 1000
}

/// Answers with a function of expiry and now; -1 for a key without expiry, -2 for no key.
fn reply_expiry(call: &mut Call, show: impl Fn(u64, u64) -> u64) -> CommandResult {
    let now_ms = call.store.now_ms;
    let answer = match call.store.inspect(call.args[1]).map(|entry| entry.expiry_ms()) {
        Some(Some(at)) => show(at, now_ms) as i64,
        Some(None) => -1,
        None => -2,
    };
    call.reply.integer(answer);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Bench, NOW_MS, check};

    #[test]
    fn expiry_is_shown_in_every_unit() {
        check(&[
            ("TTL k", ":-2"),
            ("PTTL k", ":-2"),
            ("EXPIRETIME k", ":-2"),
            ("SET k v", "+OK"),
            ("TTL k", ":-1"),
            ("PEXPIRETIME k", ":-1"),
            ("PEXPIRE k 1499", ":1"),
            ("TTL k", ":1"),
            ("PEXPIRE k 1500", ":1"),
            ("TTL k", ":2"),
            ("PTTL k", ":1500"),
            ("EXPIRETIME k", ":1700000002"),
            ("PEXPIRETIME k", ":1700000001500"),
            ("PERSIST k", ":1"),
            ("PERSIST k", ":0"),
            ("PERSIST none", ":0"),
            ("TTL k", ":-1"),
        ]);
    }

    #[test]
    fn conditions_compare_with_the_expiry_that_is_there() {
        check(&[
            ("SET k v", "+OK"),
            ("EXPIRE k 10 XX", ":0"),
            ("EXPIRE k 10 GT", ":0"),
            ("EXPIRE k 10 NX", ":1"),
            ("EXPIRE k 20 NX", ":0"),
            ("EXPIRE k 5 GT", ":0"),
            ("EXPIRE k 10 GT", ":0"),
            ("EXPIRE k 20 GT XX", ":1"),
            ("EXPIRE k 30 LT", ":0"),
            ("EXPIRE k 20 LT", ":0"),
            ("EXPIRE k 10 lt", ":1"),
            ("TTL k", ":10"),
            ("PERSIST k", ":1"),
            ("EXPIRE k 30 LT", ":1"),
            ("TTL k", ":30"),
            ("EXPIRE none 10", ":0"),
        ]);
    }

    #[test]
    fn wrong_arguments_change_nothing() {
        let both = "-ERR NX and XX, GT or LT options at the same time are not compatible";
        check(&[
            ("SET k v", "+OK"),
            ("EXPIRE k 1 NX XX", both),
            ("EXPIRE k 1 NX LT", both),
            ("EXPIRE k 1 GT LT", "-ERR GT and LT options at the same time are not compatible"),
            ("EXPIRE k 1 foo", "-ERR Unsupported option foo"),
            ("EXPIRE k x", "-ERR value is not an integer or out of range"),
            ("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
            ("EXPIRE k -9223372036854775808", "-ERR invalid expire time in 'expire' command"),
            ("PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"),
            ("EXPIREAT none 9223372036854775807", "-ERR invalid expire time in 'expireat' command"),
            ("TTL k", ":-1"),
        ]);
    }

    #[test]
    fn expiry_is_logged_as_an_absolute_time() {
        let mut bench = Bench::new();
        bench.run("SET k v");
        bench.logs("EXPIRE k 10", &["PEXPIREAT k 1700000010000"]);
        bench.logs("PEXPIRE k 1 GT", &[]);
        bench.logs("PEXPIRE k 20000 GT", &["PEXPIREAT k 1700000020000 GT"]);
        bench.logs("EXPIREAT k 1700000001", &["PEXPIREAT k 1700000001000"]);
        bench.logs("pexpireat k 1700000001001", &["pexpireat k 1700000001001"]);
        bench.logs("PERSIST k", &["PERSIST k"]);
        bench.logs("PERSIST k", &[]);
    }

    #[test]
    fn an_expiry_in_the_past_removes_the_key() {
        let mut bench = Bench::new();
        for command in
            ["EXPIRE k 0", "EXPIRE k -1", "EXPIREAT k 1", "PEXPIREAT k -5", "PEXPIREAT k 1700000000000"]
        {
            bench.run("SET k v");
            bench.events();
            bench.records();
            assert_eq!(bench.run(command), ":1", "{command}");
            assert_eq!(bench.records(), ["DEL k"], "{command}");
            assert_eq!(bench.events(), ["del k"], "{command}");
            assert_eq!(bench.run("EXISTS k"), ":0");
        }
    }

    #[test]
    fn replay_keeps_a_key_whose_time_has_come() {
        // Would lose data on a machine whose clock jumped: the log says itself what was removed.
        let mut bench = Bench::new();
        bench.store.is_loading = true;
        bench.run("SET k v");
        assert_eq!(bench.run("PEXPIREAT k 1"), ":1");
        assert_eq!(bench.run("GET k"), "\"v\"");
        bench.store.is_loading = false;
        assert_eq!(bench.run("GET k"), "nil");
        assert_eq!(bench.records().last().map(|record| record.as_str()), Some("DEL k"));
    }

    #[test]
    fn a_key_goes_after_its_last_millisecond() {
        let mut bench = Bench::new();
        bench.run("SET k v PX 10");
        bench.store.now_ms = NOW_MS + 10;
        bench.check(&[("GET k", "\"v\""), ("PTTL k", ":0")]);
        bench.records();
        bench.store.now_ms = NOW_MS + 11;
        assert_eq!(bench.run("GET k"), "nil");
        assert_eq!(bench.records(), ["DEL k"]);
        assert_eq!(bench.store.stats.expired, 1);
    }
}
