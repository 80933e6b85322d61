//! Keys whatever they hold: deleting, renaming, copying, listing, and looking at how they are kept.
//!
//! Not here: expiry (`expire.rs`), SCAN (`scan.rs`), SORT (`sort.rs`), databases as a whole (FLUSHALL, SWAPDB:
//! `node/`), lookups (`store/mod.rs`).

use alloc::vec::Vec;

use super::{
    Call, Command, CommandResult, KeySpec, parse_db,
    spec::{acl, flag, key_flag},
};
use crate::{
    bytes::glob,
    error::{Error, NO_SUCH_KEY, SAME_OBJECT, SYNTAX},
    store::{
        Class,
        value::{self, OwnedValue},
    },
};

const LOOK_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RO)];
const LOOK_KEYS: &[KeySpec] = &[KeySpec::range(1, -1, 1, key_flag::RO)];
const REMOVE_KEYS: &[KeySpec] = &[KeySpec::range(1, -1, 1, key_flag::RM | key_flag::DELETE)];
const MOVE_KEY: u32 = key_flag::RW | key_flag::ACCESS | key_flag::DELETE;
const SUM_OF_SHARDS: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("copy", -3, flag::WRITE | flag::DENYOOM, copy)
        .keys(&[
            KeySpec::one(1, key_flag::RO | key_flag::ACCESS),
            KeySpec::one(2, key_flag::OW | key_flag::UPDATE),
        ])
        .acl(acl::KEYSPACE)
        .doc(
            "generic",
            "6.2.0",
            "Copies a key's value and expiry to another key.",
            "O(N) for collections, where N is the number of their elements. O(1) for strings.",
        ),
    Command::run("del", -2, flag::WRITE, del)
        .keys(REMOVE_KEYS)
        .acl(acl::KEYSPACE)
        .doc(
            "generic",
            "1.0.0",
            "Deletes one or more keys.",
            "O(N) where N is the number of keys and of the elements in them.",
        )
        .tips(SUM_OF_SHARDS),
    Command::run("exists", -2, flag::READONLY | flag::FAST, exists)
        .keys(LOOK_KEYS)
        .acl(acl::KEYSPACE)
        .doc("generic", "1.0.0", "Counts how many of the keys exist.", "O(N) where N is the number of keys.")
        .tips(SUM_OF_SHARDS),
    Command::run("keys", 2, flag::READONLY, keys)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .doc(
            "generic",
            "1.0.0",
            "Gives all keys that match a pattern.",
            "O(N) where N is the number of keys in the database.",
        )
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
    Command::run("move", 3, flag::WRITE | flag::FAST, move_key)
        .keys(&[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)])
        .acl(acl::KEYSPACE)
        .doc("generic", "1.0.0", "Moves a key to another database.", "O(1)"),
    Command::container("object", OBJECT_COMMANDS).doc(
        "generic",
        "2.2.3",
        "Commands that look at how a value is kept.",
        "Depends on subcommand.",
    ),
    Command::run("randomkey", 1, flag::READONLY | flag::ARBITRARY_KEYS, randomkey)
        .acl(acl::KEYSPACE)
        .doc("generic", "1.0.0", "Gives a key chosen at random.", "O(1)")
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"]),
    Command::run("rename", 3, flag::WRITE, rename)
        .keys(&[KeySpec::one(1, MOVE_KEY), KeySpec::one(2, key_flag::OW | key_flag::UPDATE)])
        .acl(acl::KEYSPACE)
        .doc("generic", "1.0.0", "Gives a key another name, overwriting whatever had that name.", "O(1)"),
    Command::run("renamenx", 3, flag::WRITE | flag::FAST, renamenx)
        .keys(&[KeySpec::one(1, MOVE_KEY), KeySpec::one(2, key_flag::OW | key_flag::INSERT)])
        .acl(acl::KEYSPACE)
        .doc("generic", "1.0.0", "Gives a key another name that is not taken.", "O(1)"),
    Command::run("touch", -2, flag::READONLY | flag::FAST, touch)
        .keys(LOOK_KEYS)
        .acl(acl::KEYSPACE)
        .doc(
            "generic",
            "3.2.1",
            "Counts how many of the keys exist, as accesses to them.",
            "O(N) where N is the number of keys.",
        )
        .tips(SUM_OF_SHARDS),
    Command::run("type", 2, flag::READONLY | flag::FAST, type_of).keys(LOOK_KEY).acl(acl::KEYSPACE).doc(
        "generic",
        "1.0.0",
        "Gives the type of the value at a key.",
        "O(1)",
    ),
    Command::run("unlink", -2, flag::WRITE | flag::FAST, del)
        .keys(REMOVE_KEYS)
        .acl(acl::KEYSPACE)
        .doc(
            "generic",
            "4.0.0",
            "Deletes one or more keys.",
            "O(1) for each key, and O(N) for freeing it, where N is the number of its allocations.",
        )
        .tips(SUM_OF_SHARDS),
];

const OBJECT_KEY: &[KeySpec] = &[KeySpec::one(2, key_flag::RO)];

const OBJECT_COMMANDS: &[Command] = &[
    Command::run("encoding", 3, flag::READONLY, object_encoding)
        .keys(OBJECT_KEY)
        .acl(acl::KEYSPACE)
        .doc("generic", "2.2.3", "Gives the encoding of the value at a key.", "O(1)")
        .tips(&["nondeterministic_output"]),
    Command::run("freq", 3, flag::READONLY, object_freq)
        .keys(OBJECT_KEY)
        .acl(acl::KEYSPACE)
        .doc("generic", "4.0.0", "Gives how often a key was accessed, as a logarithm.", "O(1)")
        .tips(&["nondeterministic_output"]),
    Command::run("help", 2, flag::LOADING | flag::STALE, object_help).acl(acl::KEYSPACE).doc(
        "generic",
        "6.2.0",
        "Lists the subcommands.",
        "O(1)",
    ),
    Command::run("idletime", 3, flag::READONLY, object_idletime)
        .keys(OBJECT_KEY)
        .acl(acl::KEYSPACE)
        .doc("generic", "2.2.3", "Gives the seconds since a key was last accessed.", "O(1)")
        .tips(&["nondeterministic_output"]),
    Command::run("refcount", 3, flag::READONLY, object_refcount)
        .keys(OBJECT_KEY)
        .acl(acl::KEYSPACE)
        .doc("generic", "2.2.3", "Gives how many references to a value there are.", "O(1)")
        .tips(&["nondeterministic_output"]),
];

// --- Deleting and counting ----------------------------------------------------------------------

fn del(call: &mut Call) -> CommandResult {
    let mut removed = 0;
    for &key in &call.args[1..] {
        if call.store.remove(key) {
            call.store.touch_removed(key);
            removed += 1;
        }
    }
    call.reply.integer(removed);
    Ok(())
}

fn exists(call: &mut Call) -> CommandResult {
    let count = call.args[1..].iter().filter(|key| call.store.inspect(key).is_some()).count();
    call.reply.integer(count as i64);
    Ok(())
}

fn touch(call: &mut Call) -> CommandResult {
    let count = call.args[1..].iter().filter(|key| call.store.read(key).is_some()).count();
    call.reply.integer(count as i64);
    Ok(())
}

fn type_of(call: &mut Call) -> CommandResult {
    let found = call.store.inspect(call.args[1]);
    let name = found.map_or("none", |entry| value::type_of(entry.content()).name());
    call.reply.simple(name);
    Ok(())
}

// --- Listing ------------------------------------------------------------------------------------

fn keys(call: &mut Call) -> CommandResult {
    // A lone star is no pattern: unlike any other, it takes the empty key, too.
    let pattern = Some(call.args[1]).filter(|pattern| *pattern != b"*");
    let mut count = 0;
    let begun = call.reply.defer_len();
    for entry in call.store.current().table().iter() {
        // A key whose time has come is left to the cycle that removes them.
        let is_match = pattern.is_none_or(|pattern| glob::matches(pattern, entry.key()));
        if is_match && !call.store.is_due(entry.expiry_ms()) {
            call.reply.bulk(entry.key());
            count += 1;
        }
    }
    call.reply.array_deferred(begun, count);
    Ok(())
}

fn randomkey(call: &mut Call) -> CommandResult {
    loop {
        let random = call.store.rng.next_u64();
        let sampled = call.store.current().table().sample(random).map(|entry| entry.key().to_vec());
        let Some(key) = sampled else {
            call.reply.null();
            return Ok(());
        };
        // One whose time has come is removed by looking it up, so the next turn has one less to choose from.
        // While writes are paused none is removed, and one that is past will do.
        if call.store.exists(&key) || call.store.is_paused {
            call.reply.bulk(&key);
            return Ok(());
        }
    }
}

// --- To another name or place -------------------------------------------------------------------

fn rename(call: &mut Call) -> CommandResult {
    let (source, target) = (call.args[1], call.args[2]);
    if !call.store.exists(source) {
        return Err(NO_SUCH_KEY);
    }
    if source != target {
        rename_existing(call, source, target);
    }
    call.reply.ok();
    Ok(())
}

fn renamenx(call: &mut Call) -> CommandResult {
    let (source, target) = (call.args[1], call.args[2]);
    if !call.store.exists(source) {
        return Err(NO_SUCH_KEY);
    }
    let is_free = !call.store.exists(target);
    if is_free {
        rename_existing(call, source, target);
    }
    call.reply.integer(i64::from(is_free));
    Ok(())
}

fn rename_existing(call: &mut Call, source: &[u8], target: &[u8]) {
    let removed = call.store.take(source).expect("the caller found it");
    let db = call.store.selected;
    value::into_owned(removed.content)
        .with(|value| call.store.insert_in(db, target, value, removed.meta, removed.expiry_ms));
    call.store.touch(source, 1);
    call.store.touch(target, 0);
    call.store.notify(Class::Generic, "rename_from", source);
    call.store.notify(Class::Generic, "rename_to", target);
}

fn move_key(call: &mut Call) -> CommandResult {
    let (key, source_db) = (call.args[1], call.store.selected);
    let target_db = parse_db(call.args[2], call.store.db_count())?;
    if target_db == source_db {
        return Err(SAME_OBJECT);
    }
    let can_move = call.store.exists(key) && call.store.find_in(target_db, key).is_none();
    if can_move {
        let removed = call.store.take(key).expect("it was just found");
        value::into_owned(removed.content)
            .with(|value| call.store.insert_in(target_db, key, value, removed.meta, removed.expiry_ms));
        call.store.touch(key, 1);
        call.store.touch_in(target_db, key, 0);
        call.store.notify(Class::Generic, "move_from", key);
        call.store.notify_in(target_db, Class::Generic, "move_to", key);
    }
    call.reply.integer(i64::from(can_move));
    Ok(())
}

/// Where COPY copies to.
struct CopyOptions {
    target_db: usize,
    replaces: bool,
}

fn copy(call: &mut Call) -> CommandResult {
    let options = parse_copy_options(call)?;
    let (source, target, db) = (call.args[1], call.args[2], options.target_db);
    if db == call.store.selected && source == target {
        return Err(SAME_OBJECT);
    }
    let copied = call.store.read(source).map(|entry| (value::copied(entry.content()), entry.expiry_ms()));
    let can_copy = copied.is_some() && (options.replaces || call.store.find_in(db, target).is_none());
    if let Some((value, expiry_ms)) = copied
        && can_copy
    {
        store_copy(call, db, value, expiry_ms);
    }
    call.reply.integer(i64::from(can_copy));
    Ok(())
}

fn store_copy(call: &mut Call, db: usize, value: OwnedValue, expiry_ms: Option<u64>) {
    let target = call.args[2];
    let meta = call.store.limits.new_meta(call.store.now_ms);
    value.with(|value| call.store.insert_in(db, target, value, meta, expiry_ms));
    call.store.touch_in(db, target, 1);
    call.store.notify_in(db, Class::Generic, "copy_to", target);
}

fn parse_copy_options(call: &Call) -> Result<CopyOptions, Error> {
    let mut options = CopyOptions { target_db: call.store.selected, replaces: false };
    let mut index = 3;
    while index < call.args.len() {
        if call.is_word(index, "replace") {
            options.replaces = true;
        } else if call.is_word(index, "db") && index + 1 < call.args.len() {
            options.target_db = parse_db(call.args[index + 1], call.store.db_count())?;
            index += 1;
        } else {
            return Err(SYNTAX);
        }
        index += 1;
    }
    Ok(options)
}

// --- OBJECT -------------------------------------------------------------------------------------

fn object_encoding(call: &mut Call) -> CommandResult {
    match call.store.inspect(call.args[2]) {
        Some(entry) => call.reply.bulk(value::encoding(entry.content()).as_bytes()),
        None => call.reply.null(),
    }
    Ok(())
}

fn object_refcount(call: &mut Call) -> CommandResult {
    match call.store.inspect(call.args[2]) {
        // Values are owned by their keys and never shared.
        Some(_) => call.reply.integer(1),
        None => call.reply.null(),
    }
    Ok(())
}

fn object_idletime(call: &mut Call) -> CommandResult {
    let meta = call.store.inspect(call.args[2]).map(|entry| entry.meta());
    let limits = &call.store.limits;
    match meta {
        None => call.reply.null(),
        Some(_) if limits.is_lfu => {
            return Err(Error::new(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        Some(meta) => call.reply.integer(limits.idle_seconds(meta, call.store.now_ms) as i64),
    }
    Ok(())
}

fn object_freq(call: &mut Call) -> CommandResult {
    let meta = call.store.inspect(call.args[2]).map(|entry| entry.meta());
    let limits = &call.store.limits;
    match meta {
        None => call.reply.null(),
        Some(_) if !limits.is_lfu => {
            return Err(Error::new(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        Some(meta) => call.reply.integer(i64::from(limits.frequency(meta, call.store.now_ms))),
    }
    Ok(())
}

fn object_help(call: &mut Call) -> CommandResult {
    let lines: Vec<&str> = [
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    How the value at <key> is encoded.",
        "FREQ <key>",
        "    How often <key> was accessed lately, as a logarithm (LFU policies).",
        "HELP",
        "    This text.",
        "IDLETIME <key>",
        "    Seconds since <key> was last accessed (other policies).",
        "REFCOUNT <key>",
        "    References to the value at <key>.",
    ]
    .into();
    call.reply.array(lines.len());
    for line in lines {
        call.reply.simple(line);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Bench, NOW_MS, check};

    #[test]
    fn keys_are_deleted_and_counted() {
        check(&[
            ("MSET a 1 b 2 c 3", "+OK"),
            ("EXISTS a b a none", ":3"),
            ("TOUCH a none", ":1"),
            ("DEL a none a", ":1"),
            ("UNLINK b c", ":2"),
            ("EXISTS a b c", ":0"),
            ("TYPE a", "+none"),
            ("SET a v", "+OK"),
            ("TYPE a", "+string"),
        ]);
    }

    #[test]
    fn rename_takes_value_and_expiry_along() {
        check(&[
            ("RENAME a b", "-ERR no such key"),
            ("RENAMENX a b", "-ERR no such key"),
            ("SET a 1 EX 10", "+OK"),
            ("SET b 2", "+OK"),
            ("RENAME a b", "+OK"),
            ("GET b", "\"1\""),
            ("TTL b", ":10"),
            ("EXISTS a", ":0"),
            ("RENAME b b", "+OK"),
            ("RENAMENX b b", ":0"),
            ("SET c \"a long string that lives in an object of its own, not in the entry\"", "+OK"),
            ("RENAMENX b c", ":0"),
            ("RENAMENX b d", ":1"),
            ("RENAME c d", "+OK"),
            ("TTL d", ":-1"),
            ("OBJECT ENCODING d", "\"raw\""),
        ]);
    }

    #[test]
    fn a_renamed_key_no_longer_expires_under_its_old_name() {
        let mut bench = Bench::new();
        bench.run("SET a 1 PX 5");
        bench.run("RENAME a b");
        bench.run("SET a 2");
        bench.store.now_ms = NOW_MS + 6;
        bench.check(&[("GET a", "\"2\""), ("GET b", "nil")]);
    }

    #[test]
    fn copy_leaves_the_source_and_needs_replace() {
        check(&[
            ("SET a 1 EX 10", "+OK"),
            ("COPY a b", ":1"),
            ("TTL b", ":10"),
            ("SET a 2", "+OK"),
            ("COPY a b", ":0"),
            ("COPY a b REPLACE", ":1"),
            ("GET b", "\"2\""),
            ("TTL b", ":-1"),
            ("COPY none b REPLACE", ":0"),
            ("COPY a a", "-ERR source and destination objects are the same"),
            ("COPY a a DB 1", ":1"),
            ("COPY a a DB 1", ":0"),
            ("COPY a b DB 99", "-ERR DB index is out of range"),
            ("COPY a b DB x", "-ERR value is not an integer or out of range"),
            ("COPY a b DB", "-ERR syntax error"),
            ("COPY a b FOO", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn move_changes_the_database() {
        let mut bench = Bench::new();
        bench.check(&[
            ("SET a 1 EX 10", "+OK"),
            ("MOVE a 1", ":1"),
            ("EXISTS a", ":0"),
            ("SET a 2", "+OK"),
            ("MOVE a 1", ":0"),
            ("MOVE none 1", ":0"),
            ("MOVE a 0", "-ERR source and destination objects are the same"),
            ("MOVE a 16", "-ERR DB index is out of range"),
            ("MOVE a -1", "-ERR DB index is out of range"),
            (
                "MOVE a 3000000000",
                "-ERR value is out of range, value must between -2147483648 and 2147483647",
            ),
            ("MOVE a x", "-ERR value is not an integer or out of range"),
        ]);
        bench.store.selected = 1;
        bench.check(&[("GET a", "\"1\""), ("TTL a", ":10")]);
    }

    #[test]
    fn changes_are_announced_where_they_happen() {
        let mut bench = Bench::new();
        bench.run("MSET a 1 b 2");
        bench.events();
        for (command, events) in [
            ("RENAME a c", &["new c", "rename_from a", "rename_to c"][..]),
            ("RENAME c c", &[]),
            ("RENAMENX c b", &[]),
            ("COPY c d", &["new d", "copy_to d"]),
            ("MOVE d 1", &["new d @1", "move_from d", "move_to d @1"]),
            ("DEL c none", &["del c"]),
            ("TYPE none", &[]),
            ("TOUCH none", &["keymiss none"]),
        ] {
            bench.run(command);
            assert_eq!(bench.events(), events, "{command}");
        }
        bench.logs("RENAME none b", &[]);
        bench.logs("DEL b none", &["DEL b none"]);
        bench.logs("DEL b", &[]);
    }

    #[test]
    fn watchers_hear_of_both_names() {
        let mut bench = Bench::new();
        bench.store.track_changes = true;
        bench.run("SET a 1");
        bench.store.changed.clear();
        bench.run("RENAME a b");
        bench.run("MOVE b 1");
        let changed: alloc::vec::Vec<_> =
            bench.store.changed.iter().map(|at| (at.db, at.key[0] as char)).collect();
        assert_eq!(changed, [(0, 'a'), (0, 'b'), (0, 'b'), (1, 'b')]);
    }

    #[test]
    fn keys_that_match_and_live_are_listed() {
        let mut bench = Bench::new();
        bench.check(&[
            ("KEYS *", "[]"),
            ("RANDOMKEY", "nil"),
            ("MSET one 1 two 2", "+OK"),
            ("SET gone 1 PX 1", "+OK"),
            ("KEYS t?o", "[\"two\"]"),
            ("KEYS g*", "[\"gone\"]"),
        ]);
        bench.store.now_ms = NOW_MS + 2;
        bench.check(&[("KEYS g*", "[]"), ("KEYS [^t]*e", "[\"one\"]"), ("DEL two", ":1")]);
        for _ in 0..20 {
            assert_eq!(bench.run("RANDOMKEY"), "\"one\"");
        }
        assert_eq!(bench.run("EXISTS gone"), ":0");
    }

    #[test]
    fn encodings_have_redis_names() {
        check(&[
            ("SET k 9223372036854775807", "+OK"),
            ("OBJECT ENCODING k", "\"int\""),
            ("SET k 01", "+OK"),
            ("OBJECT ENCODING k", "\"embstr\""),
            ("SET k 01234567890123456789012345678901234567890123", "+OK"),
            ("OBJECT ENCODING k", "\"embstr\""),
            ("SET k 012345678901234567890123456789012345678901234", "+OK"),
            ("OBJECT ENCODING k", "\"raw\""),
            ("OBJECT ENCODING none", "nil"),
            ("OBJECT REFCOUNT k", ":1"),
            ("OBJECT REFCOUNT none", "nil"),
            ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command"),
        ]);
    }

    #[test]
    fn idle_time_and_frequency_belong_to_their_policies() {
        let mut bench = Bench::new();
        bench.run("SET k v");
        bench.store.now_ms = NOW_MS + 10_000;
        bench.check(&[
            ("OBJECT IDLETIME k", ":10"),
            ("TYPE k", "+string"),
            ("TTL k", ":-1"),
            ("EXISTS k", ":1"),
        ]);
        bench.check(&[("OBJECT IDLETIME k", ":10"), ("TOUCH k", ":1"), ("OBJECT IDLETIME k", ":0")]);
        assert!(bench.run("OBJECT FREQ k").starts_with("-ERR An LFU maxmemory policy is not selected"));
        assert_eq!(bench.run("OBJECT FREQ none"), "nil");
        bench.store.limits.is_lfu = true;
        bench.run("SET fresh v");
        assert_eq!(bench.run("OBJECT FREQ fresh"), ":5");
        assert!(bench.run("OBJECT IDLETIME fresh").starts_with("-ERR An LFU maxmemory policy is selected"));
        for _ in 0..200 {
            bench.run("GET fresh");
        }
        bench.run("SET fresh w");
        assert_ne!(bench.run("OBJECT FREQ fresh"), ":5", "a frequency survives overwriting");
    }
}
