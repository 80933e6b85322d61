//! HyperLogLogs: PFADD, PFCOUNT, PFMERGE, and the commands that look inside.
//!
//! Not here: registers and estimates (`store/hyperloglog.rs`).

use alloc::{format, vec, vec::Vec};

use super::{
    Call, Command, CommandResult, KeySpec, printable,
    spec::{acl, flag, key_flag},
};
use crate::{
    bytes::number::DecimalBuffer,
    error::{Error, WRONG_TYPE},
    rng::Rng,
    store::{
        Class, StringRef,
        hyperloglog::{self as hll, Corrupt, Encoding, REGISTER_COUNT},
    },
};

const READ: u32 = key_flag::RO | key_flag::ACCESS;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("pfadd", -2, flag::WRITE | flag::DENYOOM | flag::FAST, pfadd)
        .keys(&[KeySpec::one(1, key_flag::RW | key_flag::INSERT)])
        .acl(acl::HYPERLOGLOG)
        .doc(
            "hyperloglog",
            "2.8.9",
            "Takes elements in. Makes the HyperLogLog if there is none.",
            "O(1) for each element.",
        ),
    // RW: it may keep the count it computes.
    Command::run("pfcount", -2, flag::READONLY | flag::MAY_REPLICATE, pfcount)
        .keys(&[KeySpec::range(1, -1, 1, key_flag::RW | key_flag::ACCESS)])
        .acl(acl::HYPERLOGLOG)
        .doc(
            "hyperloglog",
            "2.8.9",
            "Estimates how many different elements were taken in by any of the keys.",
            "O(1) for one key, soonest if nothing changed since it was last asked. O(N) for N keys.",
        ),
    Command::run("pfdebug", 3, flag::WRITE | flag::DENYOOM | flag::ADMIN, pfdebug)
        .keys(&[KeySpec::one(2, key_flag::RW | key_flag::ACCESS)])
        .acl(acl::HYPERLOGLOG)
        .doc("hyperloglog", "2.8.9", "Looks inside a HyperLogLog.", "N/A"),
    Command::run("pfmerge", -2, flag::WRITE | flag::DENYOOM, pfmerge)
        .keys(&[
            KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::INSERT),
            KeySpec::range(2, -1, 1, READ),
        ])
        .acl(acl::HYPERLOGLOG)
        .doc(
            "hyperloglog",
            "2.8.9",
            "Adds to a HyperLogLog what others have taken in.",
            "O(N) where N is the number of HyperLogLogs, with a high constant time.",
        ),
    Command::run("pfselftest", 1, flag::ADMIN, pfselftest).acl(acl::HYPERLOGLOG).doc(
        "hyperloglog",
        "2.8.9",
        "Tests the arithmetic of HyperLogLogs on this machine.",
        "N/A",
    ),
];

const NOT_A_HLL: Error = Error::new("WRONGTYPE Key is not a valid HyperLogLog string value.");
const CORRUPT: Error = Error::new("INVALIDOBJ Corrupted HLL object detected");
const NO_KEY: Error = Error::new("ERR The specified key does not exist");
const NOT_SPARSE: Error = Error::new("ERR HLL encoding is not sparse");

fn corrupt(_: Corrupt) -> Error {
    CORRUPT
}

/// The encoding of the HyperLogLog that a string is.
fn checked(text: StringRef<'_>) -> Result<Encoding, Error> {
    hll::encoding(text.bytes(&mut DecimalBuffer::default())).ok_or(NOT_A_HLL)
}

/// The encoding of the HyperLogLog at a key that is about to be changed; `None` if there is no such key.
fn find_encoding(call: &mut Call, key: &[u8]) -> Result<Option<Encoding>, Error> {
    let Some(entry) = call.store.find(key) else { return Ok(None) };
    let text = StringRef::of(entry.content()).ok_or(WRONG_TYPE)?;
    checked(text).map(Some)
}

fn pfadd(call: &mut Call) -> CommandResult {
    let (key, elements) = (call.args[1], &call.args[2..]);
    let is_new = find_encoding(call, key)?.is_none();
    let sparse_bytes_max = call.store.limits.hll_sparse_bytes_max;
    let changed = call.store.edit_text(key, |text| {
        if is_new {
            *text = hll::new();
        }
        let changed = hll::add(text, elements, sparse_bytes_max).map_err(corrupt)? + usize::from(is_new);
        if changed > 0 {
            hll::forget_count(text);
        }
        Ok::<usize, Error>(changed)
    })??;
    if changed > 0 {
        call.store.touch(key, changed as u64);
        call.store.notify(Class::String, "pfadd", key);
    }
    call.reply.integer(i64::from(changed > 0));
    Ok(())
}

fn pfcount(call: &mut Call) -> CommandResult {
    let count = if call.args.len() > 2 { count_together(call)? } else { count_one(call)? };
    call.reply.integer(count as i64);
    Ok(())
}

fn count_together(call: &mut Call) -> Result<u64, Error> {
    let mut ranks = vec![0; REGISTER_COUNT];
    for key in &call.args[1..] {
        let Some(text) = call.store.string(key)? else { continue };
        checked(text)?;
        hll::merge_into(&mut ranks, text.bytes(&mut DecimalBuffer::default())).map_err(corrupt)?;
    }
    Ok(hll::count_ranks(&ranks))
}

/// Counts one key, and keeps the count in it: that is a change, which is logged.
fn count_one(call: &mut Call) -> Result<u64, Error> {
    let key = call.args[1];
    let Some(text) = call.store.string(key)? else { return Ok(0) };
    checked(text)?;
    let mut digits = DecimalBuffer::default();
    let bytes = text.bytes(&mut digits);
    if let Some(count) = hll::cached_count(bytes) {
        return Ok(count);
    }
    let count = hll::count(bytes).map_err(corrupt)?;
    call.store.edit_text(key, |text| hll::cache_count(text, count))?;
    call.store.touch(key, 1);
    Ok(count)
}

fn pfmerge(call: &mut Call) -> CommandResult {
    let destination = call.args[1];
    let mut ranks = vec![0; REGISTER_COUNT];
    let mut is_dense = false;
    for key in &call.args[1..] {
        let Some(text) = call.store.string(key)? else { continue };
        is_dense |= checked(text)? == Encoding::Dense;
        hll::merge_into(&mut ranks, text.bytes(&mut DecimalBuffer::default())).map_err(corrupt)?;
    }
    // Built aside, so that damage found on the way changes nothing.
    let mut merged: Vec<u8> = match call.store.find(destination) {
        Some(entry) => StringRef::of(entry.content()).ok_or(WRONG_TYPE)?.to_vec(),
        None => hll::new(),
    };
    if is_dense {
        hll::make_dense(&mut merged).map_err(corrupt)?;
    }
    hll::raise_all(&mut merged, &ranks, call.store.limits.hll_sparse_bytes_max).map_err(corrupt)?;
    hll::forget_count(&mut merged);
    call.store.edit_text(destination, |text| *text = merged)?;
    call.store.touch(destination, 1);
    call.store.notify(Class::String, "pfadd", destination);
    call.reply.ok();
    Ok(())
}

fn pfdebug(call: &mut Call) -> CommandResult {
    let (word, key) = (call.args[1], call.args[2]);
    let encoding = find_encoding(call, key)?.ok_or(NO_KEY)?;
    match &*word.to_ascii_lowercase() {
        b"getreg" => {
            make_dense(call, key)?;
            call.reply.array(REGISTER_COUNT);
            let reply = &mut *call.reply;
            call.store
                .edit_text(key, |text| hll::dense_ranks(text).for_each(|rank| reply.integer(rank.into())))?;
        }
        b"decode" if encoding == Encoding::Dense => return Err(NOT_SPARSE),
        b"decode" => {
            let runs = call.store.edit_text(key, |text| hll::describe_runs(text))?;
            call.reply.bulk(runs.as_bytes());
        }
        b"encoding" => call.reply.simple(if encoding == Encoding::Dense { "dense" } else { "sparse" }),
        b"todense" => {
            let is_converted = make_dense(call, key)?;
            call.reply.integer(i64::from(is_converted));
        }
        _ => return Err(Error::text(format!("ERR Unknown PFDEBUG subcommand '{}'", printable(word)))),
    }
    Ok(())
}

/// Makes the HyperLogLog at a key dense, which is a change; `false` if it was dense already.
fn make_dense(call: &mut Call, key: &[u8]) -> Result<bool, Error> {
    let is_converted = call.store.edit_text(key, hll::make_dense)?.map_err(corrupt)?;
    call.store.touch(key, u64::from(is_converted));
    Ok(is_converted)
}

fn pfselftest(call: &mut Call) -> CommandResult {
    let mut rng = Rng::from_seed(call.store.rng.next_u64());
    hll::self_test(&mut rng).map_err(|what| Error::text(format!("TESTFAILED {what}")))?;
    call.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use proptest::prelude::*;

    use crate::commands::testing::{Bench, check};

    const NOT_A_HLL: &str = "-WRONGTYPE Key is not a valid HyperLogLog string value.";
    const CORRUPT: &str = "-INVALIDOBJ Corrupted HLL object detected";
    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

    #[test]
    fn bytes_are_those_of_redis() {
        // From redis-server 7.0.15.
        check(&[
            ("PFADD h a b c", ":1"),
            (
                "GET h",
                r#""HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80`\xf3\x80P\xb1\x84K\xfb\x80BZ""#,
            ),
            ("PFCOUNT h", ":3"),
            (
                "GET h",
                r#""HYLL\x01\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00`\xf3\x80P\xb1\x84K\xfb\x80BZ""#,
            ),
            ("PFDEBUG DECODE h", r#""Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603""#),
            ("PFADD h2 ''", ":1"),
            ("PFDEBUG DECODE h2", r#""Z:5938 v:2,1 Z:10445""#),
        ]);
    }

    #[test]
    fn elements_are_counted_once() {
        check(&[
            ("PFCOUNT none", ":0"),
            ("PFADD h", ":1"),
            ("PFADD h", ":0"),
            ("PFCOUNT h", ":0"),
            ("PFADD h a", ":1"),
            ("PFADD h a a", ":0"),
            ("PFADD g b c", ":1"),
            ("PFCOUNT h g none", ":3"),
            ("PFMERGE h g none", "+OK"),
            ("PFCOUNT h", ":3"),
            ("PFMERGE new", "+OK"),
            ("PFCOUNT new", ":0"),
            ("PFDEBUG ENCODING h", "+sparse"),
            ("PFDEBUG TODENSE h", ":1"),
            ("PFDEBUG TODENSE h", ":0"),
            ("PFDEBUG encoding h", "+dense"),
            ("PFDEBUG DECODE h", "-ERR HLL encoding is not sparse"),
            ("STRLEN h", ":12304"),
            ("PFCOUNT h", ":3"),
            ("PFMERGE new h", "+OK"),
            ("PFDEBUG ENCODING new", "+dense"),
            ("PFDEBUG ENCODING none", "-ERR The specified key does not exist"),
            ("PFDEBUG FOO h", "-ERR Unknown PFDEBUG subcommand 'FOO'"),
        ]);
    }

    #[test]
    fn registers_are_shown_and_kept_dense() {
        let mut bench = Bench::new();
        bench.run("PFADD h a b c");
        let shown = bench.run("PFDEBUG GETREG h");
        assert_eq!(bench.records(), ["PFADD h a b c", "PFDEBUG GETREG h"]);
        let ranks: alloc::vec::Vec<&str> = shown.trim_matches(['[', ']']).split(", ").collect();
        assert_eq!(
            (ranks.len(), ranks[8436], ranks[12711], ranks[15780], ranks[0]),
            (16384, ":1", ":2", ":1", ":0")
        );
        bench.check(&[("PFDEBUG ENCODING h", "+dense"), ("PFCOUNT h", ":3")]);
    }

    #[test]
    fn strings_that_are_none_are_refused() {
        let mut bench = Bench::new();
        bench.run("SADD s 1");
        for text in [
            "HYLL",
            "5",
            "hyll\\x01\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0",
            "HYLL\\x02\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0",
            "HYLL\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0",
            "",
        ] {
            // Bytes as `\xHH`, which is how a word in quotes is read.
            let text = text.replace("\\0", "\\x00");
            bench.run(&format!("SET k \"{text}\""));
            for command in [
                "PFADD k a",
                "PFADD k",
                "PFCOUNT k",
                "PFCOUNT none k",
                "PFMERGE d k",
                "PFMERGE k",
                "PFDEBUG ENCODING k",
            ] {
                assert_eq!(bench.run(command), NOT_A_HLL, "{command} {text}");
            }
        }
        for command in
            ["PFADD s a", "PFCOUNT s", "PFCOUNT none s", "PFMERGE d s", "PFMERGE s", "PFDEBUG ENCODING s"]
        {
            assert_eq!(bench.run(command), WRONG_TYPE, "{command}");
        }
        assert_eq!(bench.run("EXISTS d"), ":0");
    }

    #[test]
    fn damaged_runs_are_found_and_nothing_is_changed() {
        let header = r"HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80";
        for runs in ["", r"\x7f", r"\x7f\xfe", r"\x7f\xff\x00", r"\x00\x7f", r"\x7f\xffhello"] {
            let mut bench = Bench::new();
            bench.run(&format!("SET k \"{header}{runs}\""));
            bench.run("PFADD d a");
            let (before, other) = (bench.run("GET k"), bench.run("GET d"));
            for command in [
                "PFCOUNT k",
                "PFCOUNT d k",
                "PFMERGE d k",
                "PFMERGE k",
                "PFDEBUG TODENSE k",
                "PFDEBUG GETREG k",
                "PFADD k a b c d e",
            ] {
                assert_eq!(bench.run(command), CORRUPT, "{command} {runs}");
                assert_eq!(
                    (bench.run("GET k"), bench.run("GET d")),
                    (before.clone(), other.clone()),
                    "{command} {runs}"
                );
            }
        }
    }

    #[test]
    fn what_changed_is_logged_and_announced() {
        let mut bench = Bench::new();
        for (command, record, event) in [
            ("PFADD h a", &["PFADD h a"][..], &["new h", "pfadd h"][..]),
            ("PFADD h a", &[], &[]),
            ("PFCOUNT h", &["PFCOUNT h"], &[]),
            ("PFCOUNT h", &[], &[]),
            ("PFCOUNT h h", &[], &[]),
            ("PFMERGE h h", &["PFMERGE h h"], &["pfadd h"]),
            ("PFCOUNT h", &["PFCOUNT h"], &[]),
            ("PFDEBUG ENCODING h", &[], &[]),
            ("PFDEBUG TODENSE h", &["PFDEBUG TODENSE h"], &[]),
            ("PFDEBUG TODENSE h", &[], &[]),
        ] {
            bench.events();
            bench.logs(command, record);
            assert_eq!(bench.events(), event, "{command}");
        }
    }

    #[test]
    fn the_sparse_encoding_ends_at_its_limit_and_counts_the_same() {
        let mut bench = Bench::new();
        bench.store.limits.hll_sparse_bytes_max = 200;
        let mut dense_from = None;
        for number in 0..200 {
            bench.run(&format!("PFADD h element:{number}"));
            bench.run(&format!("PFADD dense element:{number}"));
            bench.run("PFDEBUG TODENSE dense");
            if dense_from.is_none() {
                let len: usize = bench.run("STRLEN h")[1..].parse().unwrap();
                match bench.run("PFDEBUG ENCODING h").as_str() {
                    "+sparse" => assert!(len <= 200),
                    _ => dense_from = Some(number),
                }
            }
            assert_eq!(bench.run("PFCOUNT h"), bench.run("PFCOUNT dense"), "{number}");
        }
        // Each element costs three bytes at most, one at least.
        assert!(dense_from.is_some_and(|number| (60..184).contains(&number)), "{dense_from:?}");
    }

    #[test]
    fn the_self_test_passes() {
        check(&[("PFSELFTEST", "+OK")]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// What could go wrong: runs cut or joined wrongly. The dense encoding is the twin: same registers, same count.
        #[test]
        fn sparse_and_dense_registers_agree(numbers in proptest::collection::vec(0..400u32, 1..150)) {
            let mut bench = Bench::new();
            bench.store.limits.hll_sparse_bytes_max = 1 << 20;
            bench.run("PFADD d");
            bench.run("PFDEBUG TODENSE d");
            for number in numbers {
                let replies: [String; 2] = ["s", "d"].map(|key| bench.run(&format!("PFADD {key} {number}")));
                prop_assert!(replies[0] == replies[1] || bench.run("PFCOUNT s") == ":1", "{:?}", replies);
            }
            prop_assert_eq!(bench.run("PFDEBUG ENCODING s"), "+sparse");
            prop_assert_eq!(bench.run("PFCOUNT s"), bench.run("PFCOUNT d"));
            prop_assert_eq!(bench.run("PFDEBUG GETREG s"), bench.run("PFDEBUG GETREG d"));
        }
    }
}
