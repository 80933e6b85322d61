//! Every command of streams: replies, errors, what is logged, what is announced, who waits.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    commands::testing::{Bench, NOW_MS, check},
    resp::Protocol,
};

const INVALID_ID: &str = "-ERR Invalid stream ID specified as stream command argument";
const SYNTAX: &str = "-ERR syntax error";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

/// A bench with entries 1-0 … 5-0 in `s`, each `n <ms>`.
fn five() -> Bench {
    let mut bench = Bench::new();
    for ms in 1..=5 {
        bench.run(&alloc::format!("XADD s {ms}-0 n {ms}"));
    }
    bench.records();
    bench.events();
    bench
}

/// [`five`] with a group `g` of which `c` has got the first three entries.
fn three_pending() -> Bench {
    let mut bench = five();
    bench.run("XGROUP CREATE s g 0");
    bench.run("XREADGROUP GROUP g c COUNT 3 STREAMS s >");
    bench.records();
    bench.events();
    bench
}

/// The value after a name in a flat reply such as XINFO's.
fn field<'a>(reply: &'a str, name: &str) -> &'a str {
    let start = reply.find(&alloc::format!("\"{name}\", ")).expect("the field is there") + name.len() + 4;
    let rest = &reply[start..];
    &rest[..rest.find([',', ']']).unwrap_or(rest.len())]
}

// --- XADD ---------------------------------------------------------------------------------------

#[test]
fn xadd_makes_and_checks_ids() {
    check(&[
        ("XADD s * f v", "\"1700000000000-0\""),
        ("XADD s * f v", "\"1700000000000-1\""),
        ("XADD s 1700000000000-* f v", "\"1700000000000-2\""),
        ("XADD s 1700000000001-* f v", "\"1700000000001-0\""),
        ("XADD s * f v", "\"1700000000001-1\""),
        ("XADD s 1700000000002 f v g w", "\"1700000000002-0\""),
        (
            "XADD s 1700000000002-0 f v",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        (
            "XADD s 5-* f v",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        ("XADD new 0-0 f v", "-ERR The ID specified in XADD must be greater than 0-0"),
        ("EXISTS new", ":0"),
        ("XADD new 0-* f v", "\"0-1\""),
        ("XADD new x f v", INVALID_ID),
        ("XADD new - f v", INVALID_ID),
        ("XADD new 1-*-* f v", INVALID_ID),
        ("XADD new * f", "-ERR wrong number of arguments for 'xadd' command"),
        ("XADD new * f v g", "-ERR wrong number of arguments for 'xadd' command"),
        ("XADD new MAXLEN 5 * f", "-ERR wrong number of arguments for 'xadd' command"),
        ("XADD new NOMKSTREAM MAXLEN = 5", "-ERR wrong number of arguments for 'xadd' command"),
        ("XADD none NOMKSTREAM * f v", "nil"),
        ("XADD new NOMKSTREAM 7-7 f v", "\"7-7\""),
        (
            "XADD new 18446744073709551615-18446744073709551615 f v",
            "\"18446744073709551615-18446744073709551615\"",
        ),
        ("XADD new * f v", "-ERR The stream has exhausted the last possible ID, unable to add more items"),
        ("XADD last 9-18446744073709551615 f v", "\"9-18446744073709551615\""),
        (
            "XADD last 9-* f v",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        ("SET string v", "+OK"),
        ("XADD string * f v", WRONG_TYPE),
        ("XADD string 0-0 f v", "-ERR The ID specified in XADD must be greater than 0-0"),
        ("XLEN s", ":6"),
        ("XLEN none", ":0"),
        ("XLEN string", WRONG_TYPE),
    ]);
}

#[test]
fn trimming_options_that_contradict_are_refused() {
    let both = "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
    let no_strategy = "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
    let not_approximate = "-ERR syntax error, LIMIT cannot be used without the special ~ option";
    check(&[
        ("XADD s MAXLEN 1 MINID 1 * f v", both),
        ("XADD s MAXLEN 1 MAXLEN 1 * f v", both),
        ("XADD s LIMIT 1 * f v", no_strategy),
        ("XADD s LIMIT 0 * f v", not_approximate),
        ("XADD s MAXLEN = 1 LIMIT 1 * f v", not_approximate),
        ("XADD s MAXLEN -1 * f v", "-ERR The MAXLEN argument must be >= 0."),
        ("XADD s MAXLEN x * f v", NOT_AN_INTEGER),
        ("XADD s MINID x * f v", INVALID_ID),
        ("XADD s MAXLEN ~ 1 LIMIT -1 * f v", "-ERR The LIMIT argument must be >= 0."),
        ("XTRIM s MAXLEN 1 FOO", SYNTAX),
        ("XTRIM s MAXLEN", "-ERR wrong number of arguments for 'xtrim' command"),
        ("XTRIM s LIMIT 0", "-ERR syntax error, XTRIM must be called with a trimming strategy"),
        ("XTRIM s MAXLEN ~", NOT_AN_INTEGER),
        ("XTRIM s LIMIT 1 LIMIT 0", "-ERR syntax error, XTRIM must be called with a trimming strategy"),
        ("XTRIM s LIMIT 1 LIMIT 1", no_strategy),
        ("XTRIM s NOMKSTREAM 1", SYNTAX),
        ("XTRIM s MAXLEN = 1 LIMIT 1", not_approximate),
        ("XTRIM s MINID -", INVALID_ID),
        ("XTRIM s MINID = -", INVALID_ID),
        ("XTRIM none MAXLEN 1", ":0"),
        ("XTRIM none MAXLEN = 1", ":0"),
        ("EXISTS s", ":0"),
        ("SET string v", "+OK"),
        ("XTRIM string MAXLEN = 1", WRONG_TYPE),
    ]);
}

#[test]
fn exact_trimming_reaches_its_threshold() {
    let mut bench = five();
    bench.check(&[
        ("XTRIM s MAXLEN = 4", ":1"),
        ("XRANGE s - + COUNT 1", "[[\"2-0\", [\"n\", \"2\"]]]"),
        ("XTRIM s MINID = 3", ":1"),
        ("XTRIM s MINID = 3", ":0"),
        ("XADD s MAXLEN 2 6-0 n 6", "\"6-0\""),
        ("XRANGE s - +", "[[\"5-0\", [\"n\", \"5\"]], [\"6-0\", [\"n\", \"6\"]]]"),
        ("XADD s MINID 7-0 7-0 n 7", "\"7-0\""),
        ("XLEN s", ":1"),
        ("XTRIM s MAXLEN = 0", ":1"),
        ("XLEN s", ":0"),
        ("EXISTS s", ":1"),
        ("XADD s MAXLEN 0 8-0 n 8", "\"8-0\""),
        ("XLEN s", ":0"),
    ]);
}

#[test]
fn approximate_trimming_takes_whole_nodes_and_logs_what_it_reached() {
    let mut bench = Bench::new();
    bench.store.limits.stream_node_entries_max = 3;
    for ms in 1..=10 {
        bench.run(&alloc::format!("XADD s {ms}-0 n {ms}"));
    }
    bench.logs("XTRIM s MAXLEN ~ 8", &[]);
    bench.logs("XTRIM s MAXLEN ~ 5", &["XTRIM s MAXLEN = 7"]);
    bench.logs("XTRIM s MINID ~ 6-0 LIMIT 2", &[]);
    bench.logs("XTRIM s MINID ~ 7-0 LIMIT 0", &["XTRIM s MINID = 7-0 LIMIT 0"]);
    bench.logs("XADD s MAXLEN ~ 3 11-0 n 11", &["XADD s MAXLEN = 5 11-0 n 11"]);
    bench.logs("XADD s MAXLEN ~ 2 LIMIT 3 12-* n 12", &["XADD s MAXLEN = 3 LIMIT 3 12-0 n 12"]);
    bench.logs(
        "XADD s MINID ~ 1700000000001 * n 13",
        &["XADD s MINID = 18446744073709551615-18446744073709551615 1700000000000-0 n 13"],
    );
    assert_eq!(bench.run("XLEN s"), ":0");
}

#[test]
fn a_log_may_limit_exact_trimming() {
    let mut bench = five();
    bench.context.is_replay = true;
    bench.check(&[("XADD s MAXLEN = 3 LIMIT 1 6-0 n 6", "\"6-0\""), ("XLEN s", ":3")]);
}

#[test]
fn xadd_logs_the_id_it_made() {
    let mut bench = Bench::new();
    bench.logs("XADD s * f v", &["XADD s 1700000000000-0 f v"]);
    bench.logs(
        "XADD s NOMKSTREAM MAXLEN 5 1700000000000-* f v",
        &["XADD s NOMKSTREAM MAXLEN 5 1700000000000-1 f v"],
    );
    bench.logs("XADD s 1700000000001 f v", &["XADD s 1700000000001 f v"]);
    bench.logs("XADD s MAXLEN = 2 1700000000002 f v", &["XADD s MAXLEN = 2 1700000000002 f v"]);
    bench.logs("XADD none NOMKSTREAM * f v", &[]);
}

// --- XRANGE, XDEL, XSETID -----------------------------------------------------------------------

#[test]
fn ranges_are_closed_unless_said_otherwise() {
    let mut bench = Bench::new();
    bench.check(&[
        ("XADD s 1-1 f v", "\"1-1\""),
        ("XADD s 1-2 f 12 g w", "\"1-2\""),
        ("XADD s 2-0 f v", "\"2-0\""),
        ("XRANGE s 1 1", "[[\"1-1\", [\"f\", \"v\"]], [\"1-2\", [\"f\", \"12\", \"g\", \"w\"]]]"),
        ("XRANGE s (1-1 +", "[[\"1-2\", [\"f\", \"12\", \"g\", \"w\"]], [\"2-0\", [\"f\", \"v\"]]]"),
        ("XRANGE s - (1-2", "[[\"1-1\", [\"f\", \"v\"]]]"),
        ("XRANGE s (1 (2-0 COUNT 1", "[[\"1-1\", [\"f\", \"v\"]]]"),
        ("XRANGE s + -", "[]"),
        ("XRANGE s 3 +", "[]"),
        ("XREVRANGE s + - COUNT 2", "[[\"2-0\", [\"f\", \"v\"]], [\"1-2\", [\"f\", \"12\", \"g\", \"w\"]]]"),
        ("XREVRANGE s (2-0 (1-1", "[[\"1-2\", [\"f\", \"12\", \"g\", \"w\"]]]"),
        ("XREVRANGE s - +", "[]"),
        ("XRANGE s - + COUNT 0", "nil"),
        ("XRANGE s - + COUNT -5", "nil"),
        ("XRANGE none - + COUNT 0", "[]"),
        ("XRANGE s - + COUNT", SYNTAX),
        ("XRANGE s - + COUNT x", NOT_AN_INTEGER),
        ("XRANGE s - + FOO", SYNTAX),
        ("XRANGE s x +", INVALID_ID),
        ("XRANGE s (- +", INVALID_ID),
        ("XRANGE s ( +", INVALID_ID),
        ("XRANGE s (18446744073709551615-18446744073709551615 +", "-ERR invalid start ID for the interval"),
        ("XRANGE s - (0-0", "-ERR invalid end ID for the interval"),
        ("SET string v", "+OK"),
        ("XRANGE string - +", WRONG_TYPE),
    ]);
}

#[test]
fn deleted_entries_are_gone_for_good() {
    let mut bench = five();
    bench.check(&[
        ("XDEL s 1 3-0 3-0 9-9", ":2"),
        ("XRANGE s - (5-0", "[[\"2-0\", [\"n\", \"2\"]], [\"4-0\", [\"n\", \"4\"]]]"),
        ("XREVRANGE s (5-0 -", "[[\"4-0\", [\"n\", \"4\"]], [\"2-0\", [\"n\", \"2\"]]]"),
        ("XDEL s 1", ":0"),
        ("XDEL s 2 x", INVALID_ID),
        ("XLEN s", ":3"),
        ("XDEL none x", ":0"),
        ("XDEL s 2 4 5", ":3"),
        ("XLEN s", ":0"),
        (
            "XADD s 5-0 n 5",
            "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ),
        ("SET string v", "+OK"),
        ("XDEL string 1", WRONG_TYPE),
    ]);
    bench.logs("XDEL s 1", &[]);
}

#[test]
fn xsetid_keeps_ids_rising() {
    let mut bench = five();
    bench.check(&[
        ("XSETID none 1", "-ERR no such key"),
        ("XSETID s x", INVALID_ID),
        ("XSETID s 4-9", "-ERR The ID specified in XSETID is smaller than the target stream top item"),
        (
            "XSETID s 9 ENTRIESADDED 4",
            "-ERR The entries_added specified in XSETID is smaller than the target stream length",
        ),
        ("XSETID s 9 ENTRIESADDED -1", "-ERR entries_added must be positive"),
        ("XSETID s 9 ENTRIESADDED x", NOT_AN_INTEGER),
        (
            "XSETID s 9 MAXDELETEDID 10",
            "-ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        ),
        ("XSETID s 9 MAXDELETEDID x", INVALID_ID),
        ("XSETID s 9 FOO 1", SYNTAX),
        ("XSETID s 9 ENTRIESADDED", SYNTAX),
        ("XSETID s 9-3 ENTRIESADDED 50 MAXDELETEDID 7-7", "+OK"),
        ("XSETID s 7-6", "-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"),
        ("XADD s 9-* n v", "\"9-4\""),
        ("SET string v", "+OK"),
        ("XSETID string 1", WRONG_TYPE),
    ]);
    let info = bench.run("XINFO STREAM s");
    for (name, value) in
        [("last-generated-id", "\"9-4\""), ("entries-added", ":51"), ("max-deleted-entry-id", "\"7-7\"")]
    {
        assert_eq!(field(&info, name), value);
    }
}

// --- XREAD --------------------------------------------------------------------------------------

#[test]
fn xread_gives_what_comes_after_an_id() {
    let mut bench = five();
    bench.check(&[
        ("XADD t 1-1 f v", "\"1-1\""),
        ("XREAD COUNT 1 STREAMS s t 3 0", "[[\"s\", [[\"4-0\", [\"n\", \"4\"]]]], [\"t\", [[\"1-1\", [\"f\", \"v\"]]]]]"),
        ("XREAD STREAMS s t 4-0 1-1", "[[\"s\", [[\"5-0\", [\"n\", \"5\"]]]]]"),
        ("XREAD STREAMS s 5-0", "nil"),
        ("XREAD STREAMS s $", "nil"),
        ("XREAD COUNT 7 STREAMS s t + +", "[[\"s\", [[\"5-0\", [\"n\", \"5\"]]]], [\"t\", [[\"1-1\", [\"f\", \"v\"]]]]]"),
        ("XREAD COUNT -1 STREAMS t 0", "[[\"t\", [[\"1-1\", [\"f\", \"v\"]]]]]"),
        ("XREAD STREAMS none +", "nil"),
        ("XREAD STREAMS s 18446744073709551615-18446744073709551615", "nil"),
        ("XREAD STREAMS s x", INVALID_ID),
        ("XREAD STREAMS s -", INVALID_ID),
        ("XREAD STREAMS s >", "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."),
        ("XREAD STREAMS s t 0", "-ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified."),
        ("XREAD COUNT 1 FOO", SYNTAX),
        ("XREAD COUNT x STREAMS s 0", NOT_AN_INTEGER),
        ("XREAD COUNT 1 STREAMS", SYNTAX),
        ("XREAD COUNT 1 COUNT 1", SYNTAX),
        ("XREAD NOACK STREAMS s 0", "-ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."),
        ("XREAD GROUP g c STREAMS s 0", "-ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."),
        ("XREAD BLOCK x STREAMS s 0", "-ERR timeout is not an integer or out of range"),
        ("XREAD BLOCK -1 STREAMS s 0", "-ERR timeout is negative"),
        ("XREAD BLOCK 9223372036854775807 STREAMS s 0", "-ERR timeout is out of range"),
        ("XDEL s 5", ":1"),
        ("XREAD STREAMS s +", "[[\"s\", [[\"4-0\", [\"n\", \"4\"]]]]]"),
        ("SET string v", "+OK"),
        ("XREAD STREAMS s string 0 0", WRONG_TYPE),
    ]);
    bench.protocol = Protocol::Resp3;
    bench.check(&[
        ("XREAD STREAMS t 0", "{\"t\", [[\"1-1\", [\"f\", \"v\"]]]}"),
        ("XREAD STREAMS t $", "nil"),
    ]);
}

#[test]
fn xread_waits_for_what_comes_after_now() {
    let mut bench = five();
    assert_eq!(bench.run("XREAD BLOCK 250 STREAMS s none 5-0 $"), "(waits)");
    let block = bench.block.take().unwrap();
    assert_eq!((block.timeout_ms, block.wakes_on_removal), (250, false));
    assert_eq!(block.keys, [b"s".to_vec(), b"none".to_vec()]);
    let retry: Vec<String> =
        block.retry_args.unwrap().iter().map(|arg| arg.escape_ascii().to_string()).collect();
    assert_eq!(retry.join(" "), "XREAD BLOCK 250 STREAMS s none 5-0 0-0");
    assert_eq!(bench.run("XREAD BLOCK 0 STREAMS s $"), "(waits)");
    assert_eq!(bench.block.take().unwrap().retry_args.unwrap()[5], b"5-0");
    bench.context.deny_blocking = true;
    assert_eq!(bench.run("XREAD BLOCK 0 STREAMS s $"), "nil");
    assert_eq!(bench.run("XREAD BLOCK 0 STREAMS s 4-0"), "[[\"s\", [[\"5-0\", [\"n\", \"5\"]]]]]");
}

// --- XGROUP -------------------------------------------------------------------------------------

#[test]
fn groups_are_made_changed_and_deleted() {
    let no_key = "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.";
    let no_group = "-NOGROUP No such consumer group 'x' for key name 's'";
    let mut bench = five();
    bench.check(&[
        ("XGROUP CREATE none g 0", no_key),
        ("XGROUP CREATE none g $ MKSTREAM", "+OK"),
        ("XLEN none", ":0"),
        ("XGROUP CREATE s g $", "+OK"),
        ("XGROUP CREATE s g 0", "-BUSYGROUP Consumer Group name already exists"),
        ("XGROUP CREATE s h x", INVALID_ID),
        ("XGROUP CREATE s h -", INVALID_ID),
        ("XGROUP CREATE s h 0 ENTRIESREAD x", NOT_AN_INTEGER),
        ("XGROUP CREATE s h 0 ENTRIESREAD -2", "-ERR value for ENTRIESREAD must be positive or -1"),
        ("XGROUP CREATE s h 0 FOO", "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP."),
        ("XGROUP create s h 0 ENTRIESREAD", "-ERR unknown subcommand or wrong number of arguments for 'create'. Try XGROUP HELP."),
        ("XGROUP CREATE s h 0 ENTRIESREAD 1 ENTRIESREAD 1", "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP."),
        ("XGROUP CREATE s h 2-0 MKSTREAM ENTRIESREAD 2", "+OK"),
        ("XGROUP SETID nokey g 0", no_key),
        ("XGROUP SETID s x 0", no_group),
        ("XGROUP SETID s g 0 MKSTREAM", "-ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP."),
        ("XGROUP SETID s g x", INVALID_ID),
        ("XGROUP SETID s g +", "+OK"),
        ("XGROUP SETID s g 3-0 ENTRIESREAD 3", "+OK"),
        ("XINFO GROUPS s", "[[\"name\", \"g\", \"consumers\", :0, \"pending\", :0, \"last-delivered-id\", \"3-0\", \"entries-read\", :3, \"lag\", :2], [\"name\", \"h\", \"consumers\", :0, \"pending\", :0, \"last-delivered-id\", \"2-0\", \"entries-read\", :2, \"lag\", :3]]"),
        ("XGROUP CREATECONSUMER nokey g c", no_key),
        ("XGROUP CREATECONSUMER s x c", no_group),
        ("XGROUP CREATECONSUMER s g c", ":1"),
        ("XGROUP CREATECONSUMER s g c", ":0"),
        ("XREADGROUP GROUP g c STREAMS s >", "[[\"s\", [[\"4-0\", [\"n\", \"4\"]], [\"5-0\", [\"n\", \"5\"]]]]]"),
        ("XGROUP DELCONSUMER s x c", no_group),
        ("XGROUP DELCONSUMER s g none", ":0"),
        ("XGROUP DELCONSUMER s g c", ":2"),
        ("XPENDING s g", "[:0, nil, nil, nil]"),
        ("XGROUP DESTROY nokey g", no_key),
        ("XGROUP DESTROY s x", ":0"),
        ("XGROUP DESTROY s g", ":1"),
        ("XGROUP DESTROY s g", ":0"),
        ("SET string v", "+OK"),
        ("XGROUP CREATE string g 0 MKSTREAM", WRONG_TYPE),
        ("XGROUP DESTROY string g", WRONG_TYPE),
        ("XGROUP CREATE s g", "-ERR wrong number of arguments for 'xgroup|create' command"),
    ]);
    assert!(
        bench
            .run("XGROUP HELP")
            .starts_with("[+XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:, ")
    );
}

// --- XREADGROUP ---------------------------------------------------------------------------------

#[test]
fn a_group_delivers_each_entry_once_and_again_on_demand() {
    let mut bench = five();
    bench.check(&[
        ("XGROUP CREATE s g 2-0", "+OK"),
        ("XREADGROUP GROUP g a COUNT 1 STREAMS s >", "[[\"s\", [[\"3-0\", [\"n\", \"3\"]]]]]"),
        (
            "XREADGROUP GROUP g b STREAMS s >",
            "[[\"s\", [[\"4-0\", [\"n\", \"4\"]], [\"5-0\", [\"n\", \"5\"]]]]]",
        ),
        ("XREADGROUP GROUP g a STREAMS s >", "nil"),
        ("XREADGROUP GROUP g a STREAMS s 0", "[[\"s\", [[\"3-0\", [\"n\", \"3\"]]]]]"),
        ("XREADGROUP GROUP g b COUNT 1 STREAMS s 4", "[[\"s\", [[\"5-0\", [\"n\", \"5\"]]]]]"),
        ("XREADGROUP GROUP g a STREAMS s 3", "[[\"s\", []]]"),
        ("XREADGROUP GROUP g new STREAMS s 0", "[[\"s\", []]]"),
        ("XDEL s 4", ":1"),
        ("XREADGROUP GROUP g b STREAMS s 0", "[[\"s\", [[\"4-0\", nil], [\"5-0\", [\"n\", \"5\"]]]]]"),
        (
            "XPENDING s g - + 10",
            "[[\"3-0\", \"a\", :0, :2], [\"4-0\", \"b\", :0, :1], [\"5-0\", \"b\", :0, :3]]",
        ),
        ("XACK s g 3 4 9", ":2"),
        ("XACK s g 3", ":0"),
        ("XACK s g x", INVALID_ID),
        ("XACK s none x", ":0"),
        ("XACK none g x", ":0"),
        ("XADD s 6-0 n 6", "\"6-0\""),
        ("XREADGROUP GROUP g a NOACK STREAMS s >", "[[\"s\", [[\"6-0\", [\"n\", \"6\"]]]]]"),
        ("XPENDING s g", "[:1, \"5-0\", \"5-0\", [[\"b\", \"1\"]]]"),
        ("XGROUP SETID s g 4", "+OK"),
        ("XREADGROUP GROUP g a COUNT 1 STREAMS s >", "[[\"s\", [[\"5-0\", [\"n\", \"5\"]]]]]"),
        ("XPENDING s g - + 10", "[[\"5-0\", \"a\", :0, :1]]"),
    ]);
    bench.protocol = Protocol::Resp3;
    bench.check(&[("XREADGROUP GROUP g a STREAMS s 0", "{\"s\", [[\"5-0\", [\"n\", \"5\"]]]}")]);
}

#[test]
fn xreadgroup_refuses_what_makes_no_sense() {
    let mut bench = five();
    bench.check(&[
        ("XGROUP CREATE s g 0", "+OK"),
        ("XREADGROUP GROUP x c STREAMS s >", "-NOGROUP No such key 's' or consumer group 'x' in XREADGROUP with GROUP option"),
        ("XREADGROUP GROUP g c STREAMS s none > >", "-NOGROUP No such key 'none' or consumer group 'g' in XREADGROUP with GROUP option"),
        ("XREADGROUP GROUP g c STREAMS s $", "-ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."),
        ("XREADGROUP GROUP g c STREAMS s x", INVALID_ID),
        ("XREADGROUP GROUP g c STREAMS s t 0", "-ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."),
        ("XREADGROUP COUNT 1 COUNT 1 STREAMS s 0", "-ERR Missing GROUP option for XREADGROUP"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS", SYNTAX),
        ("XREADGROUP GROUP g c FOO STREAMS s 0", SYNTAX),
        ("XINFO CONSUMERS s g", "[]"),
        ("SET string v", "+OK"),
        ("XREADGROUP GROUP g c STREAMS string >", WRONG_TYPE),
    ]);
}

#[test]
fn xreadgroup_logs_who_got_what_and_how_far_it_read() {
    let mut bench = five();
    bench.run("XGROUP CREATE s g 0");
    bench.logs(
        "XREADGROUP GROUP g c COUNT 2 STREAMS s >",
        &[
            "XCLAIM s g c 0 1-0 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-0",
            "XCLAIM s g c 0 2-0 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 2-0",
            "XGROUP SETID s g 2-0 ENTRIESREAD 2",
        ],
    );
    bench.logs(
        "XREADGROUP GROUP g d NOACK COUNT 1 STREAMS s >",
        &["XGROUP CREATECONSUMER s g d", "XGROUP SETID s g 3-0 ENTRIESREAD 3"],
    );
    bench.store.now_ms += 5;
    bench.logs(
        "XREADGROUP GROUP g c COUNT 1 STREAMS s 1",
        &["XCLAIM s g c 0 2-0 TIME 1700000000005 RETRYCOUNT 2 FORCE JUSTID LASTID 3-0"],
    );
    bench.logs("XREADGROUP GROUP g e STREAMS s 0", &["XGROUP CREATECONSUMER s g e"]);
    bench.run("XDEL s 4");
    bench.run("XGROUP SETID s g 2-0");
    bench.logs("XREADGROUP GROUP g c NOACK COUNT 1 STREAMS s >", &["XGROUP SETID s g 3-0 ENTRIESREAD -1"]);
}

#[test]
fn replay_keeps_a_delivery_time_that_lies_ahead() {
    // The clock may have gone back since it was logged: what is pending would come back younger than it was.
    let mut bench = five();
    bench.run("XGROUP CREATE s g 0");
    bench.store.is_loading = true;
    bench.run("XCLAIM s g c 0 1-0 TIME 1700000000500 RETRYCOUNT 1 FORCE JUSTID LASTID 1-0");
    bench.store.is_loading = false;
    bench.store.now_ms = 1_700_000_000_600;
    assert_eq!(bench.run("XPENDING s g - + 9"), "[[\"1-0\", \"c\", :100, :1]]");
}

#[test]
fn xreadgroup_waits_and_remembers_its_consumer() {
    let mut bench = five();
    bench.run("XGROUP CREATE s g $");
    bench.events();
    bench.logs("XREADGROUP GROUP g c BLOCK 7 STREAMS s >", &["XGROUP CREATECONSUMER s g c"]);
    let block = bench.block.take().unwrap();
    assert_eq!((block.timeout_ms, block.wakes_on_removal, block.retry_args), (7, true, None));
    assert_eq!(block.keys, [b"s".to_vec()]);
    assert_eq!(bench.events(), ["xgroup-createconsumer s"]);
    bench.logs("XREADGROUP GROUP g c BLOCK 7 STREAMS s >", &[]);
    assert_eq!(bench.run("XREADGROUP GROUP g c BLOCK 7 STREAMS s 0"), "[[\"s\", []]]");
    bench.context.deny_blocking = true;
    assert_eq!(bench.run("XREADGROUP GROUP g c BLOCK 7 STREAMS s >"), "nil");
}

// --- XPENDING, XCLAIM, XAUTOCLAIM ---------------------------------------------------------------

#[test]
fn pending_entries_are_shown_in_sum_and_one_by_one() {
    let mut bench = three_pending();
    bench.store.now_ms += 100;
    bench.check(&[
        ("XREADGROUP GROUP g d COUNT 1 STREAMS s >", "[[\"s\", [[\"4-0\", [\"n\", \"4\"]]]]]"),
        ("XPENDING s g", "[:4, \"1-0\", \"4-0\", [[\"c\", \"3\"], [\"d\", \"1\"]]]"),
        ("XPENDING s g (1-0 + 2", "[[\"2-0\", \"c\", :100, :1], [\"3-0\", \"c\", :100, :1]]"),
        ("XPENDING s g - + 9 d", "[[\"4-0\", \"d\", :0, :1]]"),
        ("XPENDING s g - + 9 none", "[]"),
        ("XPENDING s g + - 9", "[]"),
        ("XPENDING s g IDLE 100 3 + 9", "[[\"3-0\", \"c\", :100, :1]]"),
        ("XPENDING s g IDLE 101 - + 9", "[]"),
        ("XPENDING s g IDLE 0 - + 1 d", "[[\"4-0\", \"d\", :0, :1]]"),
        ("XPENDING s g - + 0", "[]"),
        ("XPENDING s g - + -1", "[]"),
        ("XPENDING s g - +", SYNTAX),
        ("XPENDING s g -", SYNTAX),
        ("XPENDING s g IDLE 1 - +", SYNTAX),
        ("XPENDING s g IDLE x - + 1", NOT_AN_INTEGER),
        ("XPENDING s g - + x", NOT_AN_INTEGER),
        ("XPENDING s g x + 1", INVALID_ID),
        ("XPENDING s g - + 1 c d e f", SYNTAX),
        ("XPENDING s x", "-NOGROUP No such key 's' or consumer group 'x'"),
        ("XPENDING none g - + 1", "-NOGROUP No such key 'none' or consumer group 'g'"),
        ("SET string v", "+OK"),
        ("XPENDING string g", WRONG_TYPE),
    ]);
}

#[test]
fn xclaim_moves_entries_that_are_idle() {
    let mut bench = three_pending();
    bench.store.now_ms += 100;
    bench.check(&[
        ("XCLAIM s g d 101 1-0", "[]"),
        ("XCLAIM s g d 100 1-0 9-9", "[[\"1-0\", [\"n\", \"1\"]]]"),
        ("XCLAIM s g d 0 2-0 JUSTID", "[\"2-0\"]"),
        (
            "XPENDING s g - + 9",
            "[[\"1-0\", \"d\", :0, :2], [\"2-0\", \"d\", :0, :1], [\"3-0\", \"c\", :100, :1]]",
        ),
        ("XCLAIM s g c 0 1-0 2-0 IDLE 30 RETRYCOUNT 7 JUSTID", "[\"1-0\", \"2-0\"]"),
        (
            "XPENDING s g - + 9 c",
            "[[\"1-0\", \"c\", :30, :7], [\"2-0\", \"c\", :30, :7], [\"3-0\", \"c\", :100, :1]]",
        ),
        ("XCLAIM s g c 0 1-0 TIME 5 RETRYCOUNT -1 JUSTID", "[\"1-0\"]"),
        ("XPENDING s g - + 1 c", "[[\"1-0\", \"c\", :1700000000095, :7]]"),
        ("XCLAIM s g c 0 1-0 TIME 1700000009999", "[[\"1-0\", [\"n\", \"1\"]]]"),
        ("XPENDING s g - + 1 c", "[[\"1-0\", \"c\", :0, :8]]"),
        ("XCLAIM s g e 0 4-0", "[]"),
        ("XCLAIM s g e 99 4-0 FORCE", "[[\"4-0\", [\"n\", \"4\"]]]"),
        ("XCLAIM s g e 0 5-0 FORCE JUSTID", "[\"5-0\"]"),
        ("XPENDING s g - + 9 e", "[[\"4-0\", \"e\", :0, :2], [\"5-0\", \"e\", :0, :1]]"),
        ("XDEL s 2-0", ":1"),
        ("XCLAIM s g e 0 2-0 FORCE", "[]"),
        ("XPENDING s g 2 2 9", "[]"),
        ("XCLAIM s g c x 1", "-ERR Invalid min-idle-time argument for XCLAIM"),
        ("XCLAIM s g c 0 1 IDLE x", "-ERR Invalid IDLE option argument for XCLAIM"),
        ("XCLAIM s g c 0 1 TIME x", "-ERR Invalid TIME option argument for XCLAIM"),
        ("XCLAIM s g c 0 1 RETRYCOUNT x", "-ERR Invalid RETRYCOUNT option argument for XCLAIM"),
        ("XCLAIM s g c 0 1 LASTID x", INVALID_ID),
        ("XCLAIM s g c 0 1 FOO", "-ERR Unrecognized XCLAIM option 'FOO'"),
        ("XCLAIM s g c 0 1 FORCE 2", "-ERR Unrecognized XCLAIM option '2'"),
        ("XCLAIM s g c 0 1 TIME", "-ERR Unrecognized XCLAIM option 'TIME'"),
        ("XCLAIM s x c 0 1", "-NOGROUP No such key 's' or consumer group 'x'"),
        ("XCLAIM none g c x 1", "-NOGROUP No such key 'none' or consumer group 'g'"),
        ("SET string v", "+OK"),
        ("XCLAIM string g c 0 1", WRONG_TYPE),
    ]);
}

#[test]
fn claims_are_logged_as_they_turned_out() {
    let mut bench = three_pending();
    bench.store.now_ms += 9;
    bench.logs(
        "XCLAIM s g d 0 1 9-9 IDLE 4",
        &["XCLAIM s g d 0 1 TIME 1700000000005 RETRYCOUNT 2 FORCE JUSTID LASTID 3-0"],
    );
    bench.logs("XCLAIM s g c 0 9-9 LASTID 4-0", &["XGROUP SETID s g 4-0 ENTRIESREAD 3"]);
    bench.logs("XCLAIM s g e 0 9-9 LASTID 1-0", &["XGROUP CREATECONSUMER s g e"]);
    bench.logs("XCLAIM s g e 0 9-9", &[]);
    bench.run("XDEL s 2-0");
    bench.logs(
        "XCLAIM s g f 0 2-0",
        &[
            "XCLAIM s g c 0 2-0 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 4-0",
            "XGROUP CREATECONSUMER s g f",
        ],
    );
    bench.run("XDEL s 1-0");
    bench.logs(
        "XAUTOCLAIM s g e 0 -",
        &[
            "XCLAIM s g d 0 1-0 TIME 1700000000005 RETRYCOUNT 2 FORCE JUSTID LASTID 4-0",
            "XCLAIM s g e 0 3-0 TIME 1700000000009 RETRYCOUNT 2 FORCE JUSTID LASTID 4-0",
        ],
    );
}

#[test]
fn what_is_logged_replays_to_the_same() {
    let mut bench = three_pending();
    let mut copy = three_pending();
    copy.context.is_replay = true;
    bench.store.now_ms += 50;
    copy.store.now_ms += 99;
    for command in [
        "XDEL s 2-0",
        "XCLAIM s g d 0 1-0 2-0",
        "XREADGROUP GROUP g d COUNT 1 STREAMS s >",
        "XREADGROUP GROUP g d NOACK STREAMS s >",
        "XREADGROUP GROUP g c STREAMS s 0",
        "XADD s MAXLEN ~ 2 * n 6",
        "XAUTOCLAIM s g e 10 - COUNT 1",
        "XACK s g 4-0",
        "XTRIM s MAXLEN 1",
        "XAUTOCLAIM s g e 0 -",
    ] {
        bench.run(command);
        for record in bench.records() {
            copy.run(&record);
        }
        copy.store.now_ms = bench.store.now_ms;
        for look in ["XPENDING s g - + 99", "XINFO GROUPS s", "XINFO STREAM s", "XRANGE s - +"] {
            assert_eq!(bench.run(look), copy.run(look), "{look} after {command}");
        }
        copy.store.now_ms = NOW_MS + 99;
    }
}

#[test]
fn xautoclaim_goes_round_in_steps() {
    let mut bench = three_pending();
    bench.store.now_ms += 100;
    bench.check(&[
        ("XAUTOCLAIM s g d 101 -", "[\"0-0\", [], []]"),
        ("XAUTOCLAIM s g d 100 - COUNT 1", "[\"2-0\", [[\"1-0\", [\"n\", \"1\"]]], []]"),
        ("XAUTOCLAIM s g d 100 - COUNT 1 JUSTID", "[\"3-0\", [\"2-0\"], []]"),
        ("XDEL s 1 3", ":2"),
        ("XAUTOCLAIM s g d 0 (1-0", "[\"0-0\", [[\"2-0\", [\"n\", \"2\"]]], [\"3-0\"]]"),
        ("XAUTOCLAIM s g d 0 0 COUNT 1", "[\"2-0\", [], [\"1-0\"]]"),
        ("XPENDING s g - + 9", "[[\"2-0\", \"d\", :0, :2]]"),
        ("XAUTOCLAIM s g d x 0", "-ERR Invalid min-idle-time argument for XAUTOCLAIM"),
        ("XAUTOCLAIM s g d 0 x", INVALID_ID),
        (
            "XAUTOCLAIM s g d 0 (18446744073709551615-18446744073709551615",
            "-ERR invalid start ID for the interval",
        ),
        ("XAUTOCLAIM s g d 0 0 COUNT 0", "-ERR COUNT must be > 0"),
        ("XAUTOCLAIM s g d 0 0 COUNT x", "-ERR COUNT must be > 0"),
        ("XAUTOCLAIM s g d 0 0 COUNT", SYNTAX),
        ("XAUTOCLAIM s g d 0 0 FOO", SYNTAX),
        ("XAUTOCLAIM s x d 0 0", "-NOGROUP No such key 's' or consumer group 'x'"),
        ("SET string v", "+OK"),
        ("XAUTOCLAIM string g d 0 0", WRONG_TYPE),
    ]);
}

#[test]
fn xautoclaim_gives_up_after_ten_attempts_per_claim() {
    let mut bench = Bench::new();
    for seq in 1..=12 {
        bench.run(&alloc::format!("XADD s 1-{seq} f v"));
    }
    bench.run("XGROUP CREATE s g 0");
    bench.run("XREADGROUP GROUP g c STREAMS s >");
    assert_eq!(bench.run("XAUTOCLAIM s g d 1 - COUNT 1"), "[\"1-11\", [], []]");
}

// --- XINFO --------------------------------------------------------------------------------------

#[test]
fn xinfo_shows_all_there_is() {
    let mut bench = three_pending();
    bench.store.now_ms += 10;
    bench.check(&[
        ("XINFO STREAM s", "[\"length\", :5, \"radix-tree-keys\", :1, \"radix-tree-nodes\", :2, \"last-generated-id\", \"5-0\", \"max-deleted-entry-id\", \"0-0\", \"entries-added\", :5, \"recorded-first-entry-id\", \"1-0\", \"groups\", :1, \"first-entry\", [\"1-0\", [\"n\", \"1\"]], \"last-entry\", [\"5-0\", [\"n\", \"5\"]]]"),
        ("XGROUP CREATECONSUMER s g d", ":1"),
        ("XINFO STREAM s FULL COUNT 1", "[\"length\", :5, \"radix-tree-keys\", :1, \"radix-tree-nodes\", :2, \"last-generated-id\", \"5-0\", \"max-deleted-entry-id\", \"0-0\", \"entries-added\", :5, \"recorded-first-entry-id\", \"1-0\", \"entries\", [[\"1-0\", [\"n\", \"1\"]]], \"groups\", [[\"name\", \"g\", \"last-delivered-id\", \"3-0\", \"entries-read\", :3, \"lag\", :2, \"pel-count\", :3, \"pending\", [[\"1-0\", \"c\", :1700000000000, :1]], \"consumers\", [[\"name\", \"c\", \"seen-time\", :1700000000000, \"active-time\", :1700000000000, \"pel-count\", :3, \"pending\", [[\"1-0\", :1700000000000, :1]]], [\"name\", \"d\", \"seen-time\", :1700000000010, \"active-time\", :-1, \"pel-count\", :0, \"pending\", []]]]]]"),
        ("XINFO CONSUMERS s g", "[[\"name\", \"c\", \"pending\", :3, \"idle\", :10, \"inactive\", :10], [\"name\", \"d\", \"pending\", :0, \"idle\", :0, \"inactive\", :-1]]"),
        ("XINFO CONSUMERS s x", "-NOGROUP No such consumer group 'x' for key name 's'"),
        ("XINFO CONSUMERS none g", "-ERR no such key"),
        ("XINFO GROUPS none", "-ERR no such key"),
        ("XINFO STREAM none FOO", "-ERR no such key"),
        ("XINFO STREAM s FOO", "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."),
        ("XINFO STREAM s FULL COUNT", "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."),
        ("XINFO STREAM s FULL FOO 1", "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."),
        ("XINFO STREAM s FULL COUNT x", NOT_AN_INTEGER),
        ("XGROUP CREATE empty g $ MKSTREAM", "+OK"),
        ("XINFO STREAM empty", "[\"length\", :0, \"radix-tree-keys\", :0, \"radix-tree-nodes\", :1, \"last-generated-id\", \"0-0\", \"max-deleted-entry-id\", \"0-0\", \"entries-added\", :0, \"recorded-first-entry-id\", \"0-0\", \"groups\", :1, \"first-entry\", nil, \"last-entry\", nil]"),
        ("SET string v", "+OK"),
        ("XINFO STREAM string", WRONG_TYPE),
        ("XINFO GROUPS string", WRONG_TYPE),
    ]);
    assert_eq!(bench.run("XINFO STREAM s FULL COUNT 0").matches("\"n\"").count(), 5);
    assert_eq!(bench.run("XINFO STREAM s FULL COUNT -1").matches("\"n\"").count(), 5);
    assert!(
        bench
            .run("XINFO HELP")
            .starts_with("[+XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:, ")
    );
    bench.protocol = Protocol::Resp3;
    assert!(bench.run("XINFO STREAM s FULL").starts_with("{\"length\", :5, "));
    assert!(bench.run("XINFO GROUPS s").starts_with("[{\"name\", \"g\", "));
}

#[test]
fn lag_is_told_only_where_it_is_known() {
    let mut bench = five();
    let progress = |bench: &mut Bench| {
        let info = bench.run("XINFO GROUPS s");
        alloc::format!("{} {}", field(&info, "entries-read"), field(&info, "lag"))
    };
    bench.run("XGROUP CREATE s g 0");
    assert_eq!(progress(&mut bench), "nil :5", "before the first entry");
    bench.run("XGROUP SETID s g 1");
    assert_eq!(progress(&mut bench), "nil :4", "at the first entry");
    bench.run("XGROUP SETID s g 2");
    assert_eq!(progress(&mut bench), "nil nil", "somewhere between");
    bench.run("XGROUP SETID s g 5");
    assert_eq!(progress(&mut bench), "nil :0", "at the last entry");
    bench.run("XGROUP SETID s g 99");
    assert_eq!(progress(&mut bench), "nil nil", "in the future");
    bench.run("XGROUP SETID s g 0 ENTRIESREAD 9");
    assert_eq!(progress(&mut bench), ":9 :-4", "as the client says");
    bench.run("XGROUP SETID s g 0");
    bench.run("XREADGROUP GROUP g c COUNT 2 STREAMS s >");
    assert_eq!(progress(&mut bench), ":2 :3", "counted while reading");
    bench.run("XDEL s 4");
    assert_eq!(progress(&mut bench), ":2 nil", "a hole ahead");
    bench.run("XREADGROUP GROUP g c STREAMS s >");
    assert_eq!(progress(&mut bench), ":5 :0", "the end is known again");
    bench.run("XTRIM s MAXLEN = 0");
    bench.run("XGROUP SETID s g 1");
    assert_eq!(progress(&mut bench), "nil :0", "nothing is left to read");
}

#[test]
fn changes_are_announced() {
    let mut bench = Bench::new();
    for (command, events) in [
        ("XADD s 1-0 f v", &["new s", "xadd s"][..]),
        ("XADD s MAXLEN 1 2-0 f v", &["xadd s", "xtrim s"]),
        ("XADD s MAXLEN 9 3-0 f v", &["xadd s"]),
        ("XTRIM s MAXLEN = 9", &[]),
        ("XTRIM s MAXLEN = 1", &["xtrim s"]),
        ("XDEL s 9-0", &[]),
        ("XSETID s 9-0", &["xsetid s"]),
        ("XGROUP CREATE t g 0 MKSTREAM", &["new t", "xgroup-create t"]),
        ("XGROUP CREATE s g 0", &["xgroup-create s"]),
        ("XGROUP SETID s g 0", &["xgroup-setid s"]),
        ("XGROUP CREATECONSUMER s g c", &["xgroup-createconsumer s"]),
        ("XGROUP CREATECONSUMER s g c", &[]),
        ("XREADGROUP GROUP g d STREAMS s >", &["xgroup-createconsumer s"]),
        ("XCLAIM s g e 0 3-0", &["xgroup-createconsumer s"]),
        ("XAUTOCLAIM s g f 0 0", &["xgroup-createconsumer s"]),
        ("XACK s g 3-0", &[]),
        ("XGROUP DELCONSUMER s g f", &["xgroup-delconsumer s"]),
        ("XGROUP DELCONSUMER s g f", &[]),
        ("XGROUP DESTROY s g", &["xgroup-destroy s"]),
        ("XDEL s 3-0", &["xdel s"]),
    ] {
        bench.run(command);
        assert_eq!(bench.events(), events, "{command}");
    }
}

#[test]
fn streams_are_typed_copied_and_counted() {
    let mut bench = three_pending();
    bench.check(&[
        ("TYPE s", "+stream"),
        ("OBJECT ENCODING s", "\"stream\""),
        ("COPY s t", ":1"),
        ("XACK t g 1-0", ":1"),
        ("XDEL t 1-0", ":1"),
        ("XLEN s", ":5"),
        ("XPENDING s g", "[:3, \"1-0\", \"3-0\", [[\"c\", \"3\"]]]"),
        ("DEL s t", ":2"),
    ]);
    assert_eq!(bench.store.memory(), Bench::new().store.memory(), "what was counted is given back");
}
