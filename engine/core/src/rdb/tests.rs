//! Values of all types, to bytes and back: as stock servers write them, at random, and damaged.

use alloc::{format, string::String, vec, vec::Vec};

use perdura_structures::table::ContentRef;
use proptest::prelude::*;

use super::*;
use crate::{
    error::Error,
    host::Encoder,
    store::{
        Limits, Object, Store, Type, Value,
        stream::StreamId,
        value::{encoding, type_of},
    },
};

fn content_of<'a>(value: &'a Value<'_>) -> ContentRef<'a, Object> {
    match value {
        Value::Int(number) => ContentRef::Int(*number),
        Value::Bytes(bytes) => ContentRef::Bytes(bytes),
        Value::Object(object) => ContentRef::Object(object),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The payload of a type byte and a value's bytes.
fn sealed(body: &[u8]) -> Vec<u8> {
    payload::seal(body.to_vec(), 10)
}

fn with_content<R>(
    payload: &[u8],
    limits: &Limits,
    look: impl FnOnce(ContentRef<'_, Object>) -> R,
) -> Result<R, Error> {
    Ok(restore(payload, limits, false)?.with(|value| look(content_of(&value))))
}

/// What a value is, told without the code under test: type, encoding and elements as the commands form shows them.
fn told(body: &[u8], limits: &Limits) -> Result<(Type, &'static str, Vec<String>), Error> {
    let loaded = restore(&sealed(body), limits, false)?;
    let mut store = Store::new(1, 1);
    loaded.with(|value| store.set(b"k", value, false));
    let entry = store.peek(b"k").expect("just set");
    let (kind, encoding) = (type_of(entry.content()), encoding(entry.content()));
    Ok((kind, encoding, words(&store)))
}

/// Arguments after the name and key of each command, except of SELECT.
fn words(store: &Store) -> Vec<String> {
    let mut encoder = CommandsEncoder::new(store, crate::time::Now::default());
    let mut bytes = Vec::new();
    while encoder.step(&mut bytes) {}
    let mut words = Vec::new();
    let mut rest = &bytes[bytes.iter().position(|&byte| byte == b'*').unwrap_or(bytes.len())..];
    while !rest.is_empty() {
        let count = take_number(b'*', &mut rest);
        let arguments: Vec<&[u8]> = (0..count).map(|_| take_argument(&mut rest)).collect();
        let skipped = if arguments[0] == b"SELECT" { arguments.len() } else { 2 };
        words.extend(arguments[skipped..].iter().map(|word| String::from_utf8_lossy(word).into_owned()));
    }
    words
}

fn take_argument<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let len = take_number(b'$', rest);
    let (argument, after) = rest.split_at(len);
    *rest = after.strip_prefix(b"\r\n").expect("an argument ends its line");
    argument
}

fn take_number(letter: u8, rest: &mut &[u8]) -> usize {
    let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a number ends its line");
    let (line, after) = rest.split_at(end);
    *rest = &after[2..];
    assert_eq!(line[0], letter);
    core::str::from_utf8(&line[1..]).unwrap().parse().expect("a number")
}

// --- As stock servers write them ----------------------------------------------------------------------

/// DUMP payloads of Redis 7.0.15, whose footers say version 10.
const PAYLOADS: &[(&str, &str)] = &[
    ("string 10", "00 c00a 0a00 6e9f57450eae63bb"),
    ("string of 100 a", "00 c3 09 4064 01 6161 e05700 01 6161 0a00 e8a3b507b06df271"),
    ("set 1 2 300", "0b 0e 02000000 03000000 0100 0200 2c01 0a00 e510b28e7b9529aa"),
    ("zset m 1.5", "11 0f 0f000000 0200 816d02 83312e3504 ff 0a00 49d9876078254e8a"),
    (
        "list of integers of each width",
        "12 01 02 2f 2f000000 0900 0101 dfff02 c08002 f1001003 f1ffef03 f200800004 f3ffff7fff05 \
         f4000000800000000009 817802 ff 0a00 f175e09ab26edaf4",
    ),
    (
        "stream 1-1 f v",
        "13 01 10 0000000000000001 0000000000000001 1d 1d000000 0a00 0101 0001 0101 816602 0001 0201 0001 0001 \
         817602 0401 ff 01 01 01 01 01 00 00 01 00 0a00 ff55ab626ac035db",
    ),
];

#[test]
fn payloads_of_stock_servers_are_ours_byte_for_byte() {
    for (name, hex) in PAYLOADS {
        let payload = unhex(hex);
        let again = with_content(&payload, &Limits::default(), |content| dump(content, 10, true));
        assert_eq!(again.as_deref(), Ok(&payload[..]), "{name}");
    }
}

#[test]
fn a_payload_of_valkey_is_ours_byte_for_byte() {
    let payload = unhex("00 c07f 0b00 646a5642afcb2c9d");
    assert_eq!(dump(ContentRef::Int(127), 11, true), payload);
}

// --- Every form that is read --------------------------------------------------------------------------

/// A ziplist of short strings.
fn ziplist(texts: &[&str]) -> Vec<u8> {
    let (mut entries, mut previous_len, mut tail) = (Vec::new(), 0, 10);
    for text in texts {
        tail = 10 + entries.len();
        entries.push(previous_len as u8);
        entries.push(text.len() as u8);
        entries.extend(text.as_bytes());
        previous_len = text.len() + 2;
    }
    let mut bytes = Vec::new();
    bytes.extend((11 + entries.len() as u32).to_le_bytes());
    bytes.extend((tail as u32).to_le_bytes());
    bytes.extend((texts.len() as u16).to_le_bytes());
    bytes.extend(entries);
    bytes.push(0xff);
    bytes
}

fn listpack(texts: &[&str]) -> Vec<u8> {
    let mut pack = perdura_structures::listpack::Listpack::new();
    texts.iter().for_each(|text| pack.push_back(text.as_bytes()));
    pack.as_bytes().to_vec()
}

/// `head` and then each part as a string.
fn body(head: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut out = head.to_vec();
    parts.iter().for_each(|part| primitive::put_raw(part, &mut out));
    out
}

fn check(name: &str, body: &[u8], expected: (Type, &str, &[&str])) {
    let (kind, encoding, mut words) =
        told(body, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    if encoding == "hashtable" && kind == Type::Set {
        words.sort();
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!((kind, encoding, &words[..]), expected, "{name}");
}

#[test]
fn lists_are_read_in_every_form() {
    let expected = (Type::List, "listpack", &["a", "7", "b"][..]);
    check("LIST", &body(&[1, 3], &[b"a", b"7", b"b"]), expected);
    check("LIST_ZIPLIST", &body(&[10], &[&ziplist(&["a", "7", "b"])]), expected);
    check("LIST_QUICKLIST", &body(&[14, 2], &[&ziplist(&["a", "7"]), &ziplist(&["b"])]), expected);
    check("LIST_QUICKLIST_2, packed", &body(&[18, 1, 2], &[&listpack(&["a", "7", "b"])]), expected);
    let mut two_nodes = body(&[18, 2, 1], &[b"a"]);
    two_nodes.extend(body(&[2], &[&listpack(&["7", "b"])]));
    check("LIST_QUICKLIST_2, plain and packed", &two_nodes, (Type::List, "quicklist", &["a", "7", "b"]));
}

#[test]
fn sets_are_read_in_every_form() {
    check("SET of integers", &body(&[2, 2], &[b"3", b"-1"]), (Type::Set, "intset", &["-1", "3"]));
    check("SET of one text", &body(&[2, 1], &[b"x"]), (Type::Set, "listpack", &["x"]));
    let long = "x".repeat(65);
    check("SET of a long text", &body(&[2, 1], &[long.as_bytes()]), (Type::Set, "hashtable", &[&long]));
    let intset = unhex("02000000 02000000 ffff 0300");
    check("SET_INTSET", &body(&[11], &[&intset]), (Type::Set, "intset", &["-1", "3"]));
    check("SET_LISTPACK", &body(&[20], &[&listpack(&["b", "a"])]), (Type::Set, "listpack", &["b", "a"]));
}

#[test]
fn sorted_sets_are_read_in_every_form() {
    let expected = (Type::ZSet, "listpack", &["-inf", "b", "1.5", "a"][..]);
    check("ZSET", b"\x03\x02\x01a\x031.5\x01b\xff", expected);
    let mut binary = b"\x05\x02\x01a".to_vec();
    binary.extend(1.5f64.to_le_bytes());
    binary.extend(b"\x01b");
    binary.extend(f64::NEG_INFINITY.to_le_bytes());
    check("ZSET_2", &binary, expected);
    check("ZSET_ZIPLIST", &body(&[12], &[&ziplist(&["b", "-inf", "a", "1.5"])]), expected);
    check("ZSET_LISTPACK", &body(&[17], &[&listpack(&["b", "-inf", "a", "1.5"])]), expected);
    check("ZSET_LISTPACK out of order", &body(&[17], &[&listpack(&["a", "1.5", "b", "-inf"])]), expected);
}

#[test]
fn hashes_are_read_in_every_form() {
    let expected = (Type::Hash, "listpack", &["f", "1"][..]);
    check("HASH", &body(&[4, 1], &[b"f", b"1"]), expected);
    check("HASH_ZIPMAP", &body(&[9], &[b"\x01\x01f\x01\x001\xff"]), expected);
    check("HASH_ZIPLIST", &body(&[13], &[&ziplist(&["f", "1"])]), expected);
    check("HASH_LISTPACK", &body(&[16], &[&listpack(&["f", "1"])]), expected);
}

#[test]
fn expiring_fields_are_read_in_every_form() {
    let expected = ["f", "v", "1000", "FIELDS", "1", "f"];
    let told = |body: &[u8]| told(body, &Limits::default()).unwrap().2;
    assert_eq!(told(&body(&[22, 1, 0x43, 0xe8], &[b"f", b"v"])), expected);
    assert_eq!(told(&body(&[23], &[&listpack(&["f", "v", "1000"])])), expected);
    let earliest = 1000u64.to_le_bytes();
    assert_eq!(told(&body(&[&[24], &earliest[..], &[1, 1]].concat(), &[b"f", b"v"])), expected);
    assert_eq!(told(&body(&[&[25], &earliest[..]].concat(), &[&listpack(&["f", "v", "1000"])])), expected);
}

#[test]
fn fields_without_expiry_stay_beside_others() {
    let mut bytes = [&[24], &1000u64.to_le_bytes()[..], &[2, 0]].concat();
    bytes.extend(body(&[], &[b"stays", b"1"]));
    bytes.extend(body(&[5], &[b"goes", b"2"]));
    let words = told(&bytes, &Limits::default()).unwrap().2;
    assert_eq!(words[4..], ["1004", "FIELDS", "1", "goes"]);
}

#[test]
fn expiring_fields_raise_the_version() {
    let earliest = 1000u64.to_le_bytes();
    let bytes = body(&[&[24], &earliest[..], &[1, 1]].concat(), &[b"f", b"v"]);
    let written =
        with_content(&sealed(&bytes), &Limits::default(), |content| dump(content, 10, true)).unwrap();
    assert_eq!(written, payload::seal(bytes.clone(), 12));
    let mut store = Store::new(1, 1);
    restore(&sealed(&bytes), &Limits::default(), false).unwrap().with(|value| store.set(b"k", value, false));
    assert_eq!(file_of(&store, 10)[..9], *b"REDIS0012");
    store.remove(b"k");
    assert_eq!(file_of(&store, 10)[..9], *b"REDIS0010");
}

/// A stream of two entries in one node, one of them deleted, with a group; ends of the three forms differ.
fn stream(kind: u8, with_active_time: bool) -> Vec<u8> {
    let node = listpack(&["1", "1", "1", "f", "0", "3", "0", "0", "x", "4", "2", "4", "1", "v", "4"]);
    let mut bytes = body(&[kind, 1], &[&[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1], &node]);
    bytes.extend([1, 9, 2]);
    if kind > 15 {
        bytes.extend([9, 2, 5, 1, 7]);
    }
    bytes.extend(body(&[1], &[b"g"]));
    bytes.extend([9, 2]);
    if kind > 15 {
        bytes.extend([0x81, 255, 255, 255, 255, 255, 255, 255, 255]);
    }
    let id = [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 2];
    bytes.push(1);
    bytes.extend(id);
    bytes.extend(1000u64.to_le_bytes());
    bytes.push(3);
    bytes.extend(body(&[1], &[b"c"]));
    bytes.extend(2000u64.to_le_bytes());
    if with_active_time {
        bytes.extend(u64::MAX.to_le_bytes());
    }
    bytes.push(1);
    bytes.extend(id);
    bytes
}

#[test]
fn streams_are_read_in_every_form() {
    let words = |kind, added, deleted, entries_read| {
        let text = format!(
            "9-2 f v 9-2 ENTRIESADDED {added} MAXDELETEDID {deleted} k g 9-2 ENTRIESREAD {entries_read} \
             g c 0 9-2 TIME 1000 RETRYCOUNT 3 JUSTID FORCE"
        );
        let expected: Vec<String> = text.split(' ').map(String::from).collect();
        let found = told(&stream(kind, kind == 21), &Limits::default()).unwrap();
        assert_eq!(found, (Type::Stream, "stream", expected));
    };
    words(15, 1, "0-0", "1");
    words(19, 7, "5-1", "-1");
    words(21, 7, "5-1", "-1");
}

#[test]
fn streams_are_written_as_they_were_read() {
    for (kind, version) in [(19, 10), (21, 11), (21, 12)] {
        let bytes = stream(kind, kind == 21);
        let written =
            with_content(&sealed(&bytes), &Limits::default(), |content| dump(content, version, false));
        assert_eq!(written.unwrap()[..bytes.len()], bytes);
    }
}

#[test]
fn consumer_that_was_never_active_keeps_that() {
    let check = |bytes: &[u8], active_ms| {
        with_content(&sealed(bytes), &Limits::default(), |content| {
            let ContentRef::Object(Object::Stream(stream)) = content else { panic!("a stream") };
            let consumer = stream.group(b"g").unwrap().consumers().next().unwrap();
            assert_eq!((consumer.name(), consumer.seen_ms, consumer.active_ms), (&b"c"[..], 2000, active_ms));
            assert_eq!(stream.entries.first_id(), StreamId { ms: 9, seq: 2 });
        })
        .unwrap();
    };
    check(&stream(21, true), None);
    check(&stream(19, false), Some(2000));
}

// --- Which encoding -----------------------------------------------------------------------------------

#[test]
fn limits_decide_the_encoding() {
    let limits = Limits {
        hash_listpack_entries_max: 1,
        list_listpack_size: 2,
        set_intset_entries_max: 2,
        set_listpack_entries_max: 2,
        zset_listpack_entries_max: 1,
        ..Limits::default()
    };
    let encoding = |body: &[u8]| told(body, &limits).unwrap().1;
    assert_eq!(encoding(&body(&[18, 1, 2], &[&listpack(&["a", "b"])])), "listpack");
    assert_eq!(encoding(&body(&[18, 1, 2], &[&listpack(&["a", "b", "c"])])), "quicklist");
    assert_eq!(encoding(&body(&[2, 2], &[b"1", b"2"])), "intset");
    assert_eq!(encoding(&body(&[2, 3], &[b"1", b"2", b"3"])), "hashtable");
    assert_eq!(encoding(&body(&[11], &[&unhex("02000000 03000000 0100 0200 0300")])), "hashtable");
    assert_eq!(encoding(&body(&[20], &[&listpack(&["a", "b"])])), "listpack");
    assert_eq!(encoding(&body(&[20], &[&listpack(&["a", "b", "c"])])), "hashtable");
    assert_eq!(encoding(&body(&[16], &[&listpack(&["a", "1"])])), "listpack");
    assert_eq!(encoding(&body(&[16], &[&listpack(&["a", "1", "b", "2"])])), "hashtable");
    assert_eq!(encoding(&body(&[17], &[&listpack(&["a", "1"])])), "listpack");
    assert_eq!(encoding(&body(&[17], &[&listpack(&["a", "1", "b", "2"])])), "skiplist");
}

#[test]
fn before_version_11_a_set_is_written_member_by_member() {
    let payload = sealed(&body(&[20], &[&listpack(&["a", "12"])]));
    let written =
        |version| with_content(&payload, &Limits::default(), |content| dump(content, version, true)).unwrap();
    assert_eq!(written(11)[..1], [20]);
    assert_eq!(written(10)[..6], *b"\x02\x02\x01a\xc0\x0c");
}

// --- What is refused ----------------------------------------------------------------------------------

#[test]
fn collections_without_elements_are_passed_over() {
    let empty: &[&[u8]] = &[b"\x01\0", b"\x02\0", b"\x03\0", b"\x04\0", b"\x05\0", b"\x0e\0", b"\x12\0"];
    let listpacks = [16, 17, 20, 23].map(|kind| body(&[kind], &[&listpack(&[])]));
    let ziplists = [10, 12, 13].map(|kind| body(&[kind], &[&ziplist(&[])]));
    let all = empty.iter().map(|bytes| bytes.to_vec()).chain(listpacks).chain(ziplists);
    for bytes in all {
        assert_eq!(told(&bytes, &Limits::default()), Err(payload::BAD_FORMAT), "{bytes:?}");
        let mut decoder = Decoder::new(DecodeSettings { limits: Limits::default(), skip_checksum: true });
        decoder.feed(b"REDIS0011");
        decoder.feed(&[&bytes[..1], b"\x03key", &bytes[1..]].concat());
        assert!(matches!(decoder.next(), Ok(Event::EmptyKey(key)) if key == b"key"), "{bytes:?}");
    }
}

#[test]
fn what_breaks_a_rule_is_refused() {
    let nan = f64::NAN.to_le_bytes();
    let twice = |head: &[u8]| body(head, &[b"a", b"a"]);
    let refused: Vec<(&str, Vec<u8>)> = vec![
        ("member twice", twice(&[2, 2])),
        ("member twice in a listpack", body(&[20], &[&listpack(&["a", "b", "a"])])),
        ("field twice", body(&[4, 2], &[b"a", b"1", b"a", b"2"])),
        ("field twice in a listpack", body(&[16], &[&listpack(&["a", "1", "a", "2"])])),
        ("field twice in triples", body(&[23], &[&listpack(&["a", "1", "0", "a", "2", "0"])])),
        ("field without value", body(&[16], &[&listpack(&["a"])])),
        ("field without expiry", body(&[23], &[&listpack(&["a", "1"])])),
        ("field with a late expiry", body(&[23], &[&listpack(&["a", "1", "281474976710656"])])),
        ("field with a negative expiry", body(&[23], &[&listpack(&["a", "1", "-1"])])),
        ("expiry beyond 64 bits", body(&[&[24], &[255; 8][..], &[1, 9]].concat(), &[b"a", b"1"])),
        ("scored member twice", [b"\x05\x02\x01a", &[0; 8][..], b"\x01a", &[1; 8]].concat()),
        ("scored member twice in a listpack", body(&[17], &[&listpack(&["a", "1", "b", "2", "a", "3"])])),
        ("score missing", body(&[17], &[&listpack(&["a"])])),
        ("score NaN", [b"\x05\x01\x01a", &nan[..]].concat()),
        ("score NaN as text", b"\x03\x01\x01a\xfd".to_vec()),
        ("score nan in a listpack", body(&[17], &[&listpack(&["a", "nan"])])),
        ("score that is no number", b"\x03\x01\x01a\x011x".to_vec()),
        ("empty element with a node of its own", body(&[18, 1, 1], &[b""])),
        ("node of unknown kind", body(&[18, 1, 3], &[b"a"])),
        ("intset that descends", body(&[11], &[&unhex("02000000 02000000 0300 ffff")])),
        ("intset without members", body(&[11], &[&unhex("02000000 00000000")])),
        ("zipmap without fields", body(&[9], &[b"\x00\xff"])),
        ("listpack that is cut off", body(&[20], &[&listpack(&["a", "b"])[..8]])),
        ("ziplist that is cut off", body(&[10], &[&ziplist(&["a", "b"])[..14]])),
        ("module value", vec![7, 0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("module value of a pre-release", vec![6, 0]),
        ("type 8", vec![8, 0]),
        ("type 26", vec![26, 0]),
    ];
    for (name, bytes) in refused {
        assert_eq!(told(&bytes, &Limits::default()), Err(payload::BAD_FORMAT), "{name}");
    }
}

#[test]
fn streams_that_break_a_rule_are_refused() {
    let node = |texts: &[&str]| {
        let id = [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1];
        let mut bytes = body(&[15, 1], &[&id, &listpack(texts)]);
        bytes.extend([1, 9, 9, 0]);
        told(&bytes, &Limits::default()).map(|_| ())
    };
    let good = ["1", "0", "1", "f", "0", "2", "0", "0", "v", "4"];
    assert_eq!(node(&good), Ok(()));
    let table: &[(&str, usize, &str)] = &[
        ("more entries than there are", 0, "2"),
        ("fewer entries than there are", 0, "0"),
        ("deleted entries that are not there", 1, "1"),
        ("text as a count", 0, "x"),
        ("a negative count", 0, "-1"),
        ("more fields than there are", 2, "9"),
        ("a huge number of fields", 2, "9223372036854775807"),
        ("a master entry that does not end", 4, "1"),
        ("a live entry that is flagged as deleted", 5, "3"),
        ("another set of fields", 5, "0"),
        ("an id above the last one", 6, "5"),
        ("a wrong count of elements", 9, "5"),
    ];
    for &(name, index, text) in table {
        let mut texts = good;
        texts[index] = text;
        assert_eq!(node(&texts), Err(payload::BAD_FORMAT), "{name}");
    }
    let mut more = good.to_vec();
    more.push("1");
    assert_eq!(node(&more), Err(payload::BAD_FORMAT), "something after the last entry");
    // Entries in the order 6-1, 5-1.
    let descending = ["2", "0", "1", "f", "0", "2", "1", "0", "v", "4", "2", "0", "0", "v", "4"];
    assert_eq!(node(&descending), Err(payload::BAD_FORMAT), "entries that do not ascend");
}

#[test]
fn last_id_goes_on_after_an_entry_that_is_deleted_only() {
    let node = listpack(&["1", "1", "1", "f", "0", "2", "0", "0", "v", "4", "3", "4", "0", "x", "4"]);
    let mut bytes = body(&[15, 1], &[&[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1], &node]);
    // Entries 5-1 and, deleted, 9-1; last id 6-0.
    bytes.extend([1, 6, 0, 0]);
    let words = told(&bytes, &Limits::default()).unwrap().2;
    assert_eq!(words[..4], ["5-1", "f", "v", "9-1"]);
}

#[test]
fn groups_that_break_a_rule_are_refused() {
    let good = stream(15, false);
    assert!(told(&good, &Limits::default()).is_ok());
    let consumer_pending = good.len() - 17;
    let mut unowned = good[..consumer_pending].to_vec();
    unowned.push(0);
    assert_eq!(
        told(&unowned, &Limits::default()),
        Err(payload::BAD_FORMAT),
        "a pending entry without consumer"
    );
    let mut foreign = good.clone();
    *foreign.last_mut().unwrap() += 1;
    assert_eq!(
        told(&foreign, &Limits::default()),
        Err(payload::BAD_FORMAT),
        "a pending entry the group has not"
    );
    let mut twice = good.clone();
    twice[consumer_pending] = 2;
    twice.extend_from_within(consumer_pending + 1..);
    assert_eq!(told(&twice, &Limits::default()), Err(payload::BAD_FORMAT), "a consumer's entry twice");
}

// --- At random ----------------------------------------------------------------------------------------

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-c]{0,3}".prop_map(String::into_bytes),
        3 => any::<i64>().prop_map(|number| format!("{number}").into_bytes()),
        3 => (-200..200i64).prop_map(|number| format!("{number}").into_bytes()),
        2 => prop::collection::vec(any::<u8>(), 0..100),
        1 => (0..200usize).prop_map(|len| vec![b'z'; len]),
    ]
}

/// Type byte and bytes of a value as some server might write it, good ones mostly.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let texts = || prop::collection::vec(text(), 1..40);
    let distinct =
        || prop::collection::btree_set(text(), 1..40).prop_map(|set| set.into_iter().collect::<Vec<_>>());
    let strings = |head: u8, per_element: usize, texts: Vec<Vec<u8>>| {
        let mut out = vec![head];
        primitive::put_len((texts.len() / per_element) as u64, &mut out);
        texts.iter().for_each(|text| primitive::put_string(text, true, &mut out));
        out
    };
    prop_oneof![
        text().prop_map(|text| body(&[0], &[&text])),
        texts().prop_map(move |texts| strings(1, 1, texts)),
        distinct().prop_map(move |texts| strings(2, 1, texts)),
        distinct().prop_map(move |mut texts| {
            texts.truncate(texts.len() / 2 * 2);
            strings(4, 2, texts)
        }),
        prop::collection::btree_map(text(), any::<f64>(), 1..40).prop_map(|scores| {
            let mut out = vec![5];
            primitive::put_len(scores.len() as u64, &mut out);
            for (member, score) in scores {
                primitive::put_string(&member, true, &mut out);
                out.extend(score.to_le_bytes());
            }
            out
        }),
        distinct().prop_map(|texts| {
            let mut out = [&[24], &1_000_000u64.to_le_bytes()[..]].concat();
            primitive::put_len(texts.len() as u64, &mut out);
            for (index, text) in texts.iter().enumerate() {
                primitive::put_len(index as u64 % 3, &mut out);
                primitive::put_string(text, true, &mut out);
                primitive::put_string(text, true, &mut out);
            }
            out
        }),
        Just(stream(21, true)),
        Just(stream(15, false)),
    ]
}

/// Encoding limits as small as the values, so that both sides of each are met.
fn any_limits() -> impl Strategy<Value = Limits> {
    (0..20usize, 0..20usize, -5..10i64).prop_map(|(entries, bytes, list)| Limits {
        hash_listpack_entries_max: entries,
        hash_listpack_value_max: bytes,
        list_listpack_size: list,
        set_intset_entries_max: entries,
        set_listpack_entries_max: entries,
        set_listpack_value_max: bytes,
        zset_listpack_entries_max: entries,
        zset_listpack_value_max: bytes,
        ..Limits::default()
    })
}

/// Database, key, type, encoding, sorted words, expiry.
type Listed = (usize, Vec<u8>, Type, &'static str, Vec<String>, Option<u64>);

/// What every file says of itself, in the order in which stock servers say it.
#[test]
fn files_begin_with_who_wrote_them() {
    let file = file_of(&Store::new(16, 1), 11);
    let header =
        b"REDIS0011\xfa\x09redis-ver\x057.2.4\xfa\x0aredis-bits\xc0\x40\xfa\x05ctime\xc2\x00\xf1\x53\x65\
        \xfa\x08used-mem\xc0\x00\xfa\x08aof-base\xc0\x00\xff";
    assert_eq!(file[..file.len() - 8], header[..]);
}

#[test]
fn functions_come_before_all_keys() {
    let mut store = Store::new(16, 1);
    store.set(b"k", Value::Int(1), false);
    let source: &[u8] = b"#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    let mut encoder = RdbEncoder::new(&store, settings(12)).with_functions(vec![source]);
    let mut file = Vec::new();
    while encoder.step(&mut file) {}
    let mut decoder = Decoder::new(DecodeSettings { limits: Limits::default(), skip_checksum: false });
    decoder.feed(&file);
    let mut seen = Vec::new();
    loop {
        match decoder.next().unwrap() {
            Event::Function(text) => seen.push(text),
            Event::Key(key) => seen.push(key.key),
            Event::End => break,
            _ => {}
        }
    }
    assert_eq!(seen, [source, b"k"]);
}

/// Everything a store holds, in an order that does not depend on its tables.
fn listing(store: &Store) -> Vec<Listed> {
    let mut all = Vec::new();
    for db in 0..store.db_count() {
        for entry in store.db(db).table() {
            let mut alone = Store::new(1, 1);
            let payload = dump(entry.content(), 12, false);
            restore(&payload, &store.limits, false).unwrap().with(|value| alone.set(b"k", value, false));
            let mut words = words(&alone);
            if type_of(entry.content()) != Type::List {
                words.sort();
            }
            let key = entry.key().to_vec();
            all.push((
                db,
                key,
                type_of(entry.content()),
                encoding(entry.content()),
                words,
                entry.expiry_ms(),
            ));
        }
    }
    all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    all
}

fn settings(version: u16) -> RdbSettings {
    RdbSettings {
        version,
        is_compressed: true,
        has_checksum: true,
        is_aof_base: false,
        log_offset: None,
        created_s: 0x6553_f100,
        created_ms: None,
        used_memory: 0,
        has_idle_times: version == 10,
        has_frequencies: version == 11,
    }
}

fn file_of(store: &Store, version: u16) -> Vec<u8> {
    let mut encoder = RdbEncoder::new(store, settings(version));
    let mut file = Vec::new();
    while encoder.step(&mut file) {}
    file
}

fn load(file: &[u8], piece: usize, limits: &Limits, skip_checksum: bool) -> Result<Store, Damage> {
    let mut decoder = Decoder::new(DecodeSettings { limits: limits.clone(), skip_checksum });
    let mut store = Store::new(16, 3);
    store.limits = limits.clone();
    let mut pieces = file.chunks(piece);
    let mut db = 0;
    loop {
        match decoder.next()? {
            Event::NeedMore => match pieces.next() {
                Some(piece) => decoder.feed(piece),
                None => decoder.finish_input(),
            },
            Event::SelectDb(index) => db = index % 16,
            Event::Key(key) => {
                let db = store.db_mut(db);
                key.value.with(|value| db.insert(&key.key, value, 0, key.expiry_ms));
            }
            Event::End => return Ok(store),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// What could go wrong: a form, a length or an encoding that one side knows and the other does not. It would show
    /// as a difference between what was stored and what came back.
    #[test]
    fn stores_survive(
        values in prop::collection::vec((text(), any_body(), 0..3usize, prop::option::of(any::<u32>())), 0..12),
        limits in any_limits(),
        piece in 1..200usize,
        version in 10..=12u16,
    ) {
        let mut store = Store::new(16, 9);
        store.limits = limits.clone();
        for (key, body, db, expiry) in values {
            if let Ok(value) = restore(&sealed(&body), &limits, false) {
                value.with(|value| store.db_mut(db).insert(&key, value, 0, expiry.map(u64::from)));
            }
        }
        let loaded = load(&file_of(&store, version), piece, &limits, false);
        prop_assert_eq!(listing(&loaded.unwrap()), listing(&store));
    }

    /// What could go wrong: a length that lies. It would show as a panic, or as memory without end.
    #[test]
    fn damaged_values_never_panic(
        body in any_body(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        limits in any_limits(),
    ) {
        let mut body = body;
        for (index, byte) in damage {
            let index = index.index(body.len());
            body[index] = byte;
        }
        if let Ok(value) = restore(&sealed(&body), &limits, false) {
            // What is accepted can be written, shown as commands, and read back.
            let payload = value.with(|value| dump(content_of(&value), 12, true));
            prop_assert!(restore(&payload, &limits, false).is_ok());
            let mut store = Store::new(1, 1);
            restore(&payload, &limits, false).unwrap().with(|value| store.set(b"k", value, false));
            words(&store);
        }
    }

    #[test]
    fn any_bytes_after_a_header_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let file = [b"REDIS0011", &bytes[..]].concat();
        let _ = load(&file, 7, &Limits::default(), true);
    }
}

/// What could go wrong: a flipped bit makes a length huge, or another value that nobody notices. It would show as a
/// panic, or as other data although the checksum was looked at.
#[test]
fn every_flipped_bit_of_a_file_with_all_types_is_noticed() {
    let mut store = Store::new(16, 9);
    for (index, (_, hex)) in PAYLOADS.iter().enumerate() {
        let value = restore(&unhex(hex), &Limits::default(), false).unwrap();
        value.with(|value| store.set(format!("k{index}").as_bytes(), value, false));
    }
    let file = file_of(&store, 11);
    let expected = listing(&load(&file, 1 << 20, &Limits::default(), false).unwrap());
    for index in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[index / 8] ^= 1 << (index % 8);
        if let Ok(loaded) = load(&flipped, 1 << 20, &Limits::default(), false) {
            let is_version = (5..9).contains(&(index / 8));
            assert!(is_version && listing(&loaded) == expected, "bit {index}");
        }
        let _ = load(&flipped, 1 << 20, &Limits::default(), true);
    }
    for len in 0..file.len() {
        assert!(load(&file[..len], 1 << 20, &Limits::default(), true).is_err(), "cut to {len}");
    }
}
