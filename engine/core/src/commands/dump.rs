//! A value as a payload and back: DUMP and RESTORE.
//!
//! MIGRATE does both at once, with another server; `node/migrate.rs` carries it out.
//!
//! Always true: the log gets absolute times only, and a value whose time has come is logged as the removal it causes.
//!
//! Not here: the payload's bytes (`rdb/`).

use alloc::{vec, vec::Vec};

use super::{
    Args, Call, Command, CommandResult, KeySpec, NodeCommand,
    spec::{KeyBegin, KeyFind, acl, flag, key_flag},
};
use crate::{
    bytes::number::{DecimalBuffer, format_u64},
    error::{Error, SYNTAX},
    rdb::{self, LoadedValue},
    store::Class,
};

const MOVED: u32 = key_flag::RW | key_flag::ACCESS | key_flag::DELETE;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("dump", 2, flag::READONLY, dump)
        .keys(&[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)])
        .acl(acl::KEYSPACE)
        .doc(
            "generic",
            "2.6.0",
            "Gives a key's value as bytes that RESTORE takes.",
            "O(N*M) where N is the number of elements of the value and M their average size.",
        )
        .tips(&["nondeterministic_output"]),
    Command::run("restore", -4, flag::WRITE | flag::DENYOOM, restore)
        .keys(&[KeySpec::one(1, key_flag::OW | key_flag::UPDATE)])
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .doc(
            "generic",
            "2.6.0",
            "Makes a key of the bytes that DUMP gave.",
            "O(N*M) where N is the number of elements of the value and M their average size; for sorted sets \
             O(N*M*log(N)).",
        ),
    // Waits for the other server while everybody else goes on, which neither a transaction nor a script could.
    Command::node("migrate", -6, flag::WRITE | flag::NOSCRIPT | flag::NO_MULTI, NodeCommand::Migrate)
        .keys(&[
            KeySpec::one(3, MOVED),
            KeySpec {
                begin: KeyBegin::Keyword("KEYS", -2),
                find: KeyFind::Range { last: -1, step: 1, limit: 0 },
                flags: MOVED | key_flag::INCOMPLETE,
            },
        ])
        .keys_found_by(migrated_keys)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .doc(
            "generic",
            "2.6.0",
            "Moves keys to another server, or copies them there.",
            "That of DUMP and DEL here and of RESTORE there, and O(N) for N bytes between the two.",
        )
        .tips(&["nondeterministic_output"]),
];

/// The keys of MIGRATE: one, or all behind KEYS.
fn migrated_keys(args: Args<'_>) -> Vec<(usize, u32)> {
    let mut index = 6;
    while let Some(word) = args.get(index) {
        index += match &*word.to_ascii_lowercase() {
            // Beside a key that is named, it is a mistake.
            b"keys" if !args[3].is_empty() => return Vec::new(),
            b"keys" => return (index + 1..args.len()).map(|key| (key, MOVED)).collect(),
            b"auth" => 2,
            b"auth2" => 3,
            _ => 1,
        };
    }
    vec![(3, MOVED)]
}

const BUSY_KEY: Error = Error::new("BUSYKEY Target key name already exists.");
const BAD_TTL: Error = Error::new("ERR Invalid TTL value, must be >= 0");
const BAD_IDLE_TIME: Error = Error::new("ERR Invalid IDLETIME value, must be >= 0");
const BAD_FREQUENCY: Error = Error::new("ERR Invalid FREQ value, must be >= 0 and <= 255");

fn dump(call: &mut Call) -> CommandResult {
    let (version, is_compressed) = (call.context.rdb_version, call.context.rdb_compression);
    match call.store.read(call.args[1]) {
        Some(entry) => call.reply.bulk(&rdb::dump(entry.content(), version, is_compressed)),
        None => call.reply.null(),
    }
    Ok(())
}

/// Options of RESTORE.
#[derive(Default)]
struct RestoreOptions {
    may_replace: bool,
    is_absolute: bool,
    idle_s: Option<u64>,
    frequency: Option<u8>,
}

fn restore(call: &mut Call) -> CommandResult {
    let options = parse_restore_options(call)?;
    let key = call.args[1];
    if !options.may_replace && call.store.exists(key) {
        return Err(BUSY_KEY);
    }
    let ttl_ms = u64::try_from(call.int(2)?).map_err(|_| BAD_TTL)?;
    let value = rdb::restore(call.args[3], &call.store.limits, call.context.skip_checksum)?;
    let base_ms = if options.is_absolute { 0 } else { call.store.now_ms };
    let expiry_ms = (ttl_ms > 0).then(|| base_ms.saturating_add(ttl_ms));
    let had_key = options.may_replace && call.store.remove(key);
    // A log says itself what was removed.
    if !call.store.is_loading && expiry_ms.is_some_and(|at| at <= call.store.now_ms) {
        leave_removed(call, had_key);
    } else {
        store_restored(call, value, expiry_ms, &options);
    }
    call.reply.ok();
    Ok(())
}

/// The value has expired before it came: all that happens is that an old one is gone.
fn leave_removed(call: &mut Call, had_key: bool) {
    call.record.suppress();
    if had_key {
        let name: &[u8] = if call.context.lazyfree_server_del { b"UNLINK" } else { b"DEL" };
        call.record.replace(&[name, call.args[1]]);
        call.store.touch_removed(call.args[1]);
    }
}

fn store_restored(call: &mut Call, value: LoadedValue, expiry_ms: Option<u64>, options: &RestoreOptions) {
    let key = call.args[1];
    let (selected, now_ms) = (call.store.selected, call.store.now_ms);
    let meta = call.store.limits.meta_from(options.idle_s, options.frequency, now_ms);
    value.with(|value| call.store.insert_in(selected, key, value, meta, expiry_ms));
    if let Some(at) = expiry_ms
        && !options.is_absolute
    {
        let mut buffer = DecimalBuffer::default();
        let mut record: Vec<&[u8]> = vec![b"RESTORE", key, format_u64(at, &mut buffer)];
        record.extend(&call.args[3..]);
        record.push(b"ABSTTL");
        call.record.replace(&record);
    }
    call.store.touch(key, 1);
    call.store.notify(Class::Generic, "restore", key);
}

fn parse_restore_options(call: &Call) -> Result<RestoreOptions, Error> {
    let mut options = RestoreOptions::default();
    let mut index = 4;
    while index < call.args.len() {
        let has_next = index + 1 < call.args.len();
        if call.is_word(index, "replace") {
            options.may_replace = true;
        } else if call.is_word(index, "absttl") {
            options.is_absolute = true;
        } else if call.is_word(index, "idletime") && has_next && options.frequency.is_none() {
            index += 1;
            options.idle_s = Some(u64::try_from(call.int(index)?).map_err(|_| BAD_IDLE_TIME)?);
        } else if call.is_word(index, "freq") && has_next && options.idle_s.is_none() {
            index += 1;
            options.frequency = Some(u8::try_from(call.int(index)?).map_err(|_| BAD_FREQUENCY)?);
        } else {
            return Err(SYNTAX);
        }
        index += 1;
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, vec::Vec};

    use super::*;
    use crate::{
        bytes::quote::quoted,
        commands::testing::{Bench, NOW_MS, check},
    };

    /// The payload of the string `v`.
    fn payload() -> String {
        quoted(&rdb::dump(perdura_structures::table::ContentRef::Bytes(b"v"), 11, true))
    }

    fn bench() -> Bench {
        let mut bench = Bench::new();
        bench.run("SET old 1");
        bench.records();
        bench.events();
        bench
    }

    #[test]
    fn a_value_goes_out_and_comes_back() {
        let mut bench = Bench::new();
        bench.check(&[("SET k v", "+OK"), ("DUMP nothing", "nil")]);
        assert_eq!(bench.run("DUMP k"), payload());
        bench.run(&format!("RESTORE copy 0 {}", payload()));
        bench.check(&[("GET copy", "\"v\""), ("TTL copy", ":-1")]);
    }

    #[test]
    fn dump_writes_the_version_that_is_configured() {
        let mut bench = bench();
        bench.context.rdb_version = 10;
        let written = rdb::dump(perdura_structures::table::ContentRef::Int(1), 10, true);
        assert_eq!(bench.run("DUMP old"), quoted(&written));
    }

    #[test]
    fn errors_come_in_the_order_of_redis() {
        let good = payload();
        let table: &[(String, &str)] = &[
            // Options before everything else, then the key, the time, the payload.
            ("RESTORE old x x NONSENSE".into(), "-ERR syntax error"),
            ("RESTORE old x x IDLETIME".into(), "-ERR syntax error"),
            ("RESTORE old x x IDLETIME x".into(), "-ERR value is not an integer or out of range"),
            ("RESTORE old x x IDLETIME -1".into(), "-ERR Invalid IDLETIME value, must be >= 0"),
            ("RESTORE old x x FREQ -1".into(), "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
            ("RESTORE old x x FREQ 256".into(), "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
            ("RESTORE old x x FREQ 1 IDLETIME 1".into(), "-ERR syntax error"),
            ("RESTORE old x x IDLETIME 1 FREQ 1".into(), "-ERR syntax error"),
            ("RESTORE old x x".into(), "-BUSYKEY Target key name already exists."),
            ("RESTORE k x x".into(), "-ERR value is not an integer or out of range"),
            ("RESTORE k -1 x".into(), "-ERR Invalid TTL value, must be >= 0"),
            ("RESTORE k 0 x".into(), "-ERR DUMP payload version or checksum are wrong"),
            (format!("RESTORE old 0 {good}"), "-BUSYKEY Target key name already exists."),
        ];
        let mut bench = bench();
        for (command, error) in table {
            assert_eq!(bench.run(command), *error, "{command}");
        }
        let nonsense = rdb::seal(b"\x63x".to_vec(), 11);
        assert_eq!(
            bench.run_args(&[b"RESTORE", b"old", b"0", &nonsense, b"REPLACE"]),
            "-ERR Bad data format"
        );
        bench.check(&[("GET old", "\"1\"")]);
        check(&[("DUMP", "-ERR wrong number of arguments for 'dump' command")]);
    }

    #[test]
    fn a_checksum_is_skipped_if_asked() {
        let mut bench = bench();
        bench.context.skip_checksum = true;
        assert_eq!(bench.run("RESTORE k 0 \"\\x00\\x01v\\x0b\\x0012345678\""), "+OK");
        bench.check(&[("GET k", "\"v\"")]);
    }

    #[test]
    fn restore_logs_absolute_times() {
        let value = payload();
        let at = NOW_MS + 5000;
        let mut bench = bench();
        bench.logs(
            &format!("RESTORE a 5000 {value} IDLETIME 9"),
            &[&format!("RESTORE a {at} {value} IDLETIME 9 ABSTTL")],
        );
        bench.logs(&format!("RESTORE b {at} {value} ABSTTL"), &[&format!("RESTORE b {at} {value} ABSTTL")]);
        bench.logs(&format!("RESTORE c 0 {value}"), &[&format!("RESTORE c 0 {value}")]);
        bench.check(&[("PTTL a", ":5000"), ("PTTL b", ":5000"), ("PTTL c", ":-1")]);
    }

    #[test]
    fn replace_takes_the_old_expiry_away() {
        let mut bench = bench();
        bench.run("PEXPIRE old 1000");
        bench.logs(
            &format!("RESTORE old 0 {} REPLACE", payload()),
            &[&format!("RESTORE old 0 {} REPLACE", payload())],
        );
        bench.check(&[("GET old", "\"v\""), ("PTTL old", ":-1")]);
    }

    #[test]
    fn a_value_that_has_expired_is_not_stored() {
        let past = format!("RESTORE k {NOW_MS} {} ABSTTL", payload());
        let mut bench = bench();
        assert_eq!(bench.run(&past), "+OK");
        assert_eq!(bench.records(), Vec::<String>::new());
        assert_eq!(bench.events(), Vec::<String>::new());
        bench.check(&[("EXISTS k", ":0")]);
    }

    #[test]
    fn a_value_that_has_expired_removes_what_it_replaces() {
        let past = format!("RESTORE old 1 {} ABSTTL REPLACE", payload());
        let mut bench = bench();
        bench.logs(&past, &["DEL old"]);
        assert_eq!(bench.events(), ["del old"]);
        bench.check(&[("EXISTS old", ":0"), ("SET old 1", "+OK")]);
        bench.context.lazyfree_server_del = true;
        bench.logs(&past, &["UNLINK old"]);
    }

    #[test]
    fn restore_raises_events() {
        let mut bench = bench();
        bench.run(&format!("RESTORE k 0 {}", payload()));
        assert_eq!(bench.events(), ["new k", "restore k"]);
    }

    #[test]
    fn idle_time_and_frequency_come_with_the_value() {
        let mut bench = bench();
        bench.run(&format!("RESTORE k 0 {} IDLETIME 100", payload()));
        let meta = |bench: &Bench| bench.store.peek(b"k").unwrap().meta();
        assert_eq!(bench.store.limits.idle_seconds(meta(&bench), NOW_MS), 100);
        bench.store.limits.is_lfu = true;
        bench.run(&format!("RESTORE k 0 {} FREQ 100 REPLACE", payload()));
        assert_eq!(bench.store.limits.frequency(meta(&bench), NOW_MS), 100);
    }

    #[test]
    fn a_replayed_restore_keeps_what_the_log_will_remove() {
        let mut bench = bench();
        bench.store.is_loading = true;
        bench.run(&format!("RESTORE k 1 {} ABSTTL", payload()));
        assert!(bench.store.peek(b"k").is_some());
    }
}
