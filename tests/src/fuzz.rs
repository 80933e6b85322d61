//! What bytes from outside may not do: a property per door through which bytes come in.
//!
//! Exists so that a fuzzer and `cargo test` run the same thing: `fuzz/` hands these functions what libFuzzer makes,
//! `tests/fuzz.rs` what is in `fuzz/seeds` and mutations of it.
//!
//! Always true: a target panics if and only if a property is broken; it is a function of its bytes alone.
//!
//! Not here: where the bytes come from.

mod lua;

use perdura_core::rdb::{Damage, DecodeSettings, Decoder, Event};
use perdura_core::resp::{Parsed, Parser, ProtocolLimits};
use perdura_core::store::Limits;
use perdura_harness::client::Reply;
use perdura_sim::world::Crash;
use perdura_structures::{intset::Intset, listpack::Listpack, ziplist::Ziplist, zipmap::Zipmap};

use crate::simulated::{Simulated, show};
pub use lua::lua;

/// A property of whatever bytes it is given.
pub type Target = fn(&[u8]);

/// Every target by the name of its folder in `fuzz/seeds`.
pub const TARGETS: [(&str, Target); 7] = [
    ("resp", resp),
    ("commands", commands),
    ("rdb", rdb),
    ("aof", aof),
    ("listpack", listpack),
    ("restore", restore),
    ("lua", lua),
];

/// Longest input of the targets that run a whole server: longer ones only cost time.
const SERVER_BYTES_MAX: usize = 16 * 1024;

/// Requests: however the bytes are cut into pieces, the same commands come out, and the same error.
pub fn resp(data: &[u8]) {
    let Some((&choice, input)) = data.split_first() else { return };
    let limits = ProtocolLimits { bulk_bytes_max: 4096, is_auth_required: choice & 1 == 1 };
    let piece = usize::from(choice >> 1) + 1;
    assert_eq!(requests(input, input.len().max(1), &limits), requests(input, piece, &limits));
}

/// The commands in `input` when it arrives `piece` bytes at a time, and the error that ends them.
fn requests(input: &[u8], piece: usize, limits: &ProtocolLimits) -> (Vec<Vec<Vec<u8>>>, Option<Vec<u8>>) {
    let (mut parser, mut spans, mut commands) = (Parser::default(), Vec::new(), Vec::new());
    let (mut start, mut end) = (0, 0);
    while end < input.len() {
        end = input.len().min(end + piece);
        loop {
            let front = &input[start..end];
            match parser.parse(front, limits, &mut spans) {
                Parsed::Incomplete => break,
                Parsed::Error(error) => return (commands, Some(error.text())),
                Parsed::Empty { len } => start += len,
                Parsed::Inline { len, args } => {
                    commands.push(args);
                    start += len;
                }
                Parsed::Command { len, .. } => {
                    commands.push(spans.iter().map(|span| span.of(front).to_vec()).collect());
                    start += len;
                }
            }
        }
    }
    (commands, None)
}

/// Any bytes a client sends to a whole server: it may close the connection or stop when told to, never fail.
pub fn commands(data: &[u8]) {
    let mut server = started(&[("appendonly", "yes")]);
    let client = server.world.connect();
    for piece in data[..data.len().min(SERVER_BYTES_MAX)].chunks(512) {
        server.world.send(client, piece.to_vec());
        if server.wait_ms(2).is_some() {
            return;
        }
    }
    server.reconnect();
    // It may have been paused, told to ask for a password, or told to stop.
    server.try_say("PING");
}

/// A snapshot's bytes: however they are cut into pieces, the same keys come out, and the same damage.
pub fn rdb(data: &[u8]) {
    let Some((&choice, input)) = data.split_first() else { return };
    let piece = usize::from(choice) + 1;
    assert_eq!(contents(input, input.len().max(1)), contents(input, piece));
}

/// What a snapshot says when it arrives `piece` bytes at a time, each event as text, and what is wrong with it.
fn contents(input: &[u8], piece: usize) -> (Vec<String>, Option<Damage>) {
    let settings = DecodeSettings { limits: Limits::default(), skip_checksum: true };
    let (mut decoder, mut events) = (Decoder::new(settings), Vec::new());
    let mut pieces = input.chunks(piece);
    loop {
        match decoder.next() {
            Ok(Event::End) => return (events, None),
            Ok(Event::NeedMore) => match pieces.next() {
                Some(bytes) => decoder.feed(bytes),
                None => decoder.finish_input(),
            },
            Ok(event) => events.push(format!("{event:?}")),
            Err(damage) => return (events, Some(damage)),
        }
    }
}

/// An append-only file: a start serves it or refuses it; refusing changes nothing, and what is served once is served
/// again after the power fails.
pub fn aof(data: &[u8]) {
    const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
    const INCREMENTAL: &str = "appendonlydir/appendonly.aof.1.incr.aof";
    let Some((&choice, input)) = data.split_first() else { return };
    let verifies = if choice & 1 == 1 { "yes" } else { "no" };
    let truncates = if choice & 2 == 2 { "no" } else { "yes" };
    let settings = [("appendonly", "yes"), ("aof-checksum", verifies), ("aof-load-truncated", truncates)];
    let mut server = Simulated::new(&with_limits(&settings));
    server.write_file(MANIFEST, b"file appendonly.aof.1.incr.aof seq 1 type i\n");
    server.write_file(INCREMENTAL, &input[..input.len().min(SERVER_BYTES_MAX)]);
    let before = server.files();
    if server.start().is_err() {
        assert_eq!(server.files(), before, "a refused start changes nothing");
        return;
    }
    let first = volatile_and_digest(&mut server);
    server.crash(Crash::Power);
    server.start().expect("what was served is served again");
    let second = volatile_and_digest(&mut server);
    // What expires may have expired in between.
    assert!(first.0 > 0 || second.0 > 0 || first == second, "{first:?} then {second:?}");
}

/// How many keys or fields may go by themselves, and the digest of everything.
fn volatile_and_digest(server: &mut Simulated) -> (usize, String) {
    let info = server.say("INFO keyspace");
    let count = |name: &str| -> usize {
        let fields = info.split([',', '\r', '\n']).filter_map(|field| field.strip_prefix(name));
        fields.filter_map(|number| number.parse::<usize>().ok()).sum()
    };
    (count("expires=") + count("subexpiry="), server.say("DEBUG DIGEST"))
}

/// Packed collections: what passes the check can be read in both directions and changed like a list of its items.
pub fn listpack(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    match choice % 4 {
        0 => check_listpack(bytes),
        1 => check_intset(bytes),
        2 => {
            if let Ok(ziplist) = Ziplist::from_bytes_checked(bytes) {
                repack(ziplist.iter().map(|item| item.to_vec()));
            }
        }
        _ => {
            if let Ok(zipmap) = Zipmap::from_bytes_checked(bytes) {
                repack(zipmap.iter().flat_map(|(field, value)| [field.to_vec(), value.to_vec()]));
            }
        }
    }
}

fn check_listpack(bytes: &[u8]) {
    let Ok(mut packed) = Listpack::from_bytes_checked(bytes) else { return };
    let mut items: Vec<Vec<u8>> = packed.iter().map(|item| item.to_vec()).collect();
    let mut backwards: Vec<Vec<u8>> = packed.iter_rev().map(|item| item.to_vec()).collect();
    backwards.reverse();
    assert_eq!(items, backwards);
    assert_eq!(packed.len(), items.len());
    repack(items.iter().cloned());
    for index in [0, items.len() / 2] {
        let Some(position) = packed.seek(index as i64) else { continue };
        packed.insert_before(position, &b"inserted"[..]);
        items.insert(index, b"inserted".to_vec());
        let last = packed.last().expect("one was just inserted");
        packed.remove(last);
        items.pop();
    }
    assert!(packed.iter().map(|item| item.to_vec()).eq(items));
    assert!(Listpack::from_bytes_checked(packed.as_bytes()).is_ok());
}

fn check_intset(bytes: &[u8]) {
    let Ok(mut set) = Intset::from_bytes_checked(bytes) else { return };
    let members: Vec<i64> = set.iter().collect();
    assert!(members.is_sorted_by(|a, b| a < b));
    assert!(members.iter().all(|member| set.contains(*member)));
    set.insert(i64::MAX);
    assert!(members.iter().all(|member| set.contains(*member)));
    assert!(Intset::from_bytes_checked(set.as_bytes()).is_ok());
}

/// Items survive being packed by us.
fn repack(items: impl Iterator<Item = Vec<u8>>) {
    let items: Vec<Vec<u8>> = items.collect();
    let mut packed = Listpack::new();
    for item in &items {
        packed.push_back(&item[..]);
    }
    let packed = Listpack::from_bytes_checked(packed.as_bytes()).expect("our own");
    assert!(packed.iter().map(|item| item.to_vec()).eq(items));
}

/// RESTORE: a payload is refused or gives a value that dumps, restores and is changed like any other.
pub fn restore(data: &[u8]) {
    let mut server = started(&[]);
    ask(&mut server, &[b"DEBUG", b"SET-SKIP-CHECKSUM-VALIDATION", b"1"]);
    let payload = &data[..data.len().min(SERVER_BYTES_MAX)];
    if ask(&mut server, &[b"RESTORE", b"a", b"0", payload]) != Reply::Simple("OK".into()) {
        return;
    }
    let Reply::Bulk(dumped) = ask(&mut server, &[b"DUMP", b"a"]) else { panic!("what was restored dumps") };
    assert_eq!(ask(&mut server, &[b"RESTORE", b"b", b"0", &dumped]), Reply::Simple("OK".into()));
    let Reply::Array(digests) = ask(&mut server, &[b"DEBUG", b"DIGEST-VALUE", b"a", b"b"]) else {
        panic!("digests are an array")
    };
    assert_eq!(digests[0], digests[1], "a copy by DUMP and RESTORE is equal");
    let kind = show(&ask(&mut server, &[b"TYPE", b"a"]));
    for line in uses_of(&kind) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        ask(&mut server, &words);
    }
}

/// Commands that read a value through and change it at its ends and in the middle.
fn uses_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "string" => {
            &["GETRANGE a 0 -1", "BITCOUNT a", "PFCOUNT a", "PFADD a x", "SETRANGE a 3 xyz", "APPEND a tail"]
        }
        "list" => {
            &["LRANGE a 0 -1", "LPOS a x", "LINSERT a BEFORE x y", "LPUSH a x", "LSET a -1 z", "LTRIM a 1 -2"]
        }
        "set" => &["SMEMBERS a", "SADD a x 77", "SRANDMEMBER a -5", "SINTER a b", "SPOP a 2", "SMOVE a c 77"],
        "hash" => &[
            "HGETALL a",
            "HSET a f v",
            "HRANDFIELD a -5",
            "HINCRBY a n 1",
            "HEXPIRE a 9 FIELDS 1 f",
            "HDEL a f",
        ],
        "zset" => &[
            "ZRANGE a 0 -1 WITHSCORES",
            "ZADD a 3 x",
            "ZRANGEBYSCORE a -inf +inf",
            "ZRANK a x",
            "ZPOPMIN a 2",
        ],
        "stream" => &[
            "XRANGE a - +",
            "XINFO STREAM a FULL",
            "XADD a * f v",
            "XGROUP CREATE a fresh 0",
            "XREADGROUP GROUP fresh c COUNT 5 STREAMS a >",
            "XAUTOCLAIM a fresh d 0 0",
            "XTRIM a MAXLEN 2",
        ],
        other => panic!("a type that nobody knows: {other}"),
    }
}

/// A server of a test, small enough that no input makes it ask for much memory.
fn started(settings: &[(&str, &str)]) -> Simulated {
    let mut server = Simulated::new(&with_limits(settings));
    server.start().expect("an empty disk is served");
    server
}

fn with_limits<'a>(settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let limits = [("proto-max-bulk-len", "1mb"), ("enable-debug-command", "yes"), ("save", "\"\"")];
    [settings, &limits].concat()
}

/// Sends words of any bytes and waits for the reply.
fn ask(server: &mut Simulated, words: &[&[u8]]) -> Reply {
    server.call(words).expect("a server that answers")
}
