//! Counters: strings that are numbers, changed by adding to them.
//!
//! Always true: a result outside of 64 bits is an error and changes nothing.
//!
//! Not here: counters in hashes (`hash.rs`) and among bits (`bitmap.rs`), decimal arithmetic (`bytes/long_double.rs`).

use super::{
    Call, Command, CommandResult, KeySpec,
    spec::{acl, flag, key_flag},
};
use crate::{
    bytes::{long_double::LongDouble, number::DecimalBuffer},
    error::{
        DECREMENT_OVERFLOW, Error, INCREMENT_OVERFLOW, NAN_OR_INFINITY, NOT_A_FLOAT, NOT_AN_INTEGER,
        WRONG_TYPE,
    },
    store::{Class, StringRef, Value},
};

const CHANGE_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)];
const FLAGS: u32 = flag::WRITE | flag::DENYOOM | flag::FAST;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("decr", 2, FLAGS, decr).keys(CHANGE_KEY).acl(acl::STRING).doc(
        "string",
        "1.0.0",
        "Takes one from the integer at a key, which is 0 if there is none.",
        "O(1)",
    ),
    Command::run("decrby", 3, FLAGS, decrby).keys(CHANGE_KEY).acl(acl::STRING).doc(
        "string",
        "1.0.0",
        "Takes a number from the integer at a key, which is 0 if there is none.",
        "O(1)",
    ),
    Command::run("incr", 2, FLAGS, incr).keys(CHANGE_KEY).acl(acl::STRING).doc(
        "string",
        "1.0.0",
        "Adds one to the integer at a key, which is 0 if there is none.",
        "O(1)",
    ),
    Command::run("incrby", 3, FLAGS, incrby).keys(CHANGE_KEY).acl(acl::STRING).doc(
        "string",
        "1.0.0",
        "Adds a number to the integer at a key, which is 0 if there is none.",
        "O(1)",
    ),
    Command::run("incrbyfloat", 3, FLAGS, incrbyfloat).keys(CHANGE_KEY).acl(acl::STRING).doc(
        "string",
        "2.6.0",
        "Adds a number to the floating point number at a key, which is 0 if there is none.",
        "O(1)",
    ),
];

fn incr(call: &mut Call) -> CommandResult {
    add(call, 1)
}

fn decr(call: &mut Call) -> CommandResult {
    add(call, -1)
}

fn incrby(call: &mut Call) -> CommandResult {
    add(call, call.int(2)?)
}

fn decrby(call: &mut Call) -> CommandResult {
    add(call, call.int(2)?.checked_neg().ok_or(DECREMENT_OVERFLOW)?)
}

fn add(call: &mut Call, delta: i64) -> CommandResult {
    let key = call.args[1];
    let old = match text(call, key)? {
        Some(text) => text.as_i64().ok_or(NOT_AN_INTEGER)?,
        None => 0,
    };
    let new = old.checked_add(delta).ok_or(INCREMENT_OVERFLOW)?;
    call.store.set(key, Value::Int(new), true);
    call.store.touch(key, 1);
    call.store.notify(Class::String, "incrby", key);
    call.reply.integer(new);
    Ok(())
}

fn incrbyfloat(call: &mut Call) -> CommandResult {
    let key = call.args[1];
    let old = text(call, key)?.unwrap_or(StringRef::Int(0));
    let old = LongDouble::parse(old.bytes(&mut DecimalBuffer::default())).ok_or(NOT_A_FLOAT)?;
    let delta = LongDouble::parse(call.args[2]).ok_or(NOT_A_FLOAT)?;
    let new = old.checked_add(delta).ok_or(NAN_OR_INFINITY)?.format();
    // Encoded as SET would, which is what a replay runs: Redis says `embstr` until then and `int` after a restart.
    call.store.set_string(key, &new, true);
    call.store.touch(key, 1);
    call.store.notify(Class::String, "incrbyfloat", key);
    // The result and not the sum goes to the log: whoever replays it must not round again.
    call.record.replace(&[b"SET", key, &new, b"KEEPTTL"]);
    call.reply.bulk(&new);
    Ok(())
}

/// The string at a key that is about to be changed.
fn text<'a>(call: &'a mut Call, key: &[u8]) -> Result<Option<StringRef<'a>>, Error> {
    match call.store.find(key) {
        None => Ok(None),
        Some(entry) => StringRef::of(entry.content()).map(Some).ok_or(WRONG_TYPE),
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Bench, check};

    #[test]
    fn counters_start_at_zero_and_end_at_64_bits() {
        let overflow = "-ERR increment or decrement would overflow";
        check(&[
            ("INCR k", ":1"),
            ("INCRBY k 41", ":42"),
            ("DECR k", ":41"),
            ("DECRBY k 40", ":1"),
            ("OBJECT ENCODING k", "\"int\""),
            ("INCRBY k 9223372036854775807", overflow),
            ("GET k", "\"1\""),
            ("INCRBY k 9223372036854775806", ":9223372036854775807"),
            ("INCR k", overflow),
            ("SET k -9223372036854775808", "+OK"),
            ("DECR k", overflow),
            ("DECRBY k -9223372036854775808", "-ERR decrement would overflow"),
            ("INCRBY k 9223372036854775808", "-ERR value is not an integer or out of range"),
        ]);
    }

    #[test]
    fn only_canonical_integers_count() {
        let mut bench = Bench::new();
        for text in ["\"\"", "\" 1\"", "\"1 \"", "01", "+1", "1.0", "-0", "x", "9223372036854775808"] {
            bench.run(&alloc::format!("SET k {text}"));
            assert_eq!(bench.run("INCR k"), "-ERR value is not an integer or out of range", "{text}");
        }
    }

    #[test]
    fn counting_keeps_the_expiry() {
        let mut bench = Bench::new();
        bench.check(&[("SET k 1 EX 10", "+OK"), ("INCR k", ":2"), ("TTL k", ":10")]);
        bench.check(&[("INCRBYFLOAT k 0.5", "\"2.5\""), ("TTL k", ":10")]);
        assert_eq!(bench.events().last().map(|event| event.as_str()), Some("incrbyfloat k"));
        bench.logs("DECR other", &["DECR other"]);
        assert_eq!(bench.events(), ["new other", "incrby other"]);
    }

    #[test]
    fn floats_are_logged_as_results() {
        let mut bench = Bench::new();
        bench.logs("INCRBYFLOAT k 10.5", &["SET k 10.5 KEEPTTL"]);
        bench.logs("INCRBYFLOAT k 0.1", &["SET k 10.6 KEEPTTL"]);
        bench.check(&[
            ("INCRBYFLOAT k -5e0", "\"5.6\""),
            ("SET k 5.0e3", "+OK"),
            ("INCRBYFLOAT k 2.0e2", "\"5200\""),
            ("SET k 1000", "+OK"),
            // As Redis on x86-64, whose arithmetic has 64 bits of mantissa.
            ("INCRBYFLOAT k 0.1", "\"1000.09999999999999998\""),
            ("INCRBYFLOAT k inf", "-ERR increment would produce NaN or Infinity"),
            ("INCRBYFLOAT k abc", "-ERR value is not a valid float"),
            ("SET k \" 1\"", "+OK"),
            ("INCRBYFLOAT k 1", "-ERR value is not a valid float"),
        ]);
    }
}
