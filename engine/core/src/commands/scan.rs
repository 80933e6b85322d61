//! SCAN, and the options it shares with SSCAN, HSCAN and ZSCAN.
//!
//! Always true: a key that is there from the first call to the last is given at least once.
//!
//! Not here: what a cursor means (`engine/structures/table.rs`).

use alloc::vec::Vec;

use super::{
    Args, Call, Command, CommandResult, parse_int,
    spec::{acl, flag},
};
use crate::{
    bytes::{
        glob,
        number::{DecimalBuffer, format_u64},
    },
    error::{Error, INVALID_CURSOR, SYNTAX},
    resp::Reply,
    store::value,
};

/// The command of this file.
pub const COMMANDS: &[Command] = &[Command::run("scan", -2, flag::READONLY | flag::ARBITRARY_KEYS, scan)
    .acl(acl::KEYSPACE)
    .doc(
        "generic",
        "2.8.0",
        "Gives some of the keys and a cursor for the rest.",
        "O(1) for every call. O(N) for a complete iteration, until the cursor is 0 again.",
    )
    .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])];

/// COUNT, MATCH and TYPE.
pub struct ScanOptions<'a> {
    /// About how many elements one call looks at; at least 1.
    pub count: usize,
    pattern: Option<&'a [u8]>,
    type_name: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// Options of SSCAN, HSCAN and ZSCAN, which begin at `args[3]`.
    ///
    /// # Errors
    /// `ERR syntax error`, or a count that is no integer.
    pub fn of_collection(args: Args<'a>) -> Result<ScanOptions<'a>, Error> {
        let options = ScanOptions::parse(&args[3..])?;
        if options.type_name.is_some() { Err(SYNTAX) } else { Ok(options) }
    }

    fn parse(args: Args<'a>) -> Result<ScanOptions<'a>, Error> {
        let mut options = ScanOptions { count: 10, pattern: None, type_name: None };
        for pair in args.chunks(2) {
            let &[word, value] = pair else { return Err(SYNTAX) };
            match &*word.to_ascii_lowercase() {
                b"count" => {
                    options.count = parse_int(value)?.try_into().ok().filter(|&n| n > 0).ok_or(SYNTAX)?
                }
                // As in KEYS.
                b"match" => options.pattern = Some(value).filter(|pattern| *pattern != b"*"),
                b"type" => options.type_name = Some(value),
                _ => return Err(SYNTAX),
            }
        }
        Ok(options)
    }

    /// Whether MATCH lets this name through.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }
}

/// A cursor as a client sends it.
///
/// # Errors
/// `ERR invalid cursor`
pub fn parse_cursor(text: &[u8]) -> Result<u64, Error> {
    core::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(INVALID_CURSOR)
}

/// Begins a reply of two: the cursor, and what the caller writes next.
pub fn reply_cursor(reply: &mut Reply, cursor: u64) {
    reply.array(2);
    reply.bulk(format_u64(cursor, &mut DecimalBuffer::default()));
}

fn scan(call: &mut Call) -> CommandResult {
    let cursor = parse_cursor(call.args[1])?;
    let options = ScanOptions::parse(&call.args[2..])?;
    let (cursor, keys, due) = collect(call, cursor, &options);
    for key in due {
        // Looking a due key up removes it.
        call.store.find(&key);
    }
    reply_cursor(call.reply, cursor);
    call.reply.array(keys.len());
    for key in keys {
        call.reply.bulk(&key);
    }
    Ok(())
}

/// The next cursor, the keys that are wanted, and those whose time has come.
fn collect(call: &Call, mut cursor: u64, options: &ScanOptions<'_>) -> (u64, Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut keys, mut due) = (Vec::new(), Vec::new());
    let mut seen = 0;
    // Ten steps per key wanted: a table that was emptied must not hold the server up.
    for _ in 0..options.count.saturating_mul(10) {
        cursor = call.store.current().table().scan(cursor, &mut |entry| {
            seen += 1;
            let is_type =
                |name: &[u8]| name.eq_ignore_ascii_case(value::type_of(entry.content()).name().as_bytes());
            if call.store.is_due(entry.expiry_ms()) {
                due.push(entry.key().to_vec());
            } else if options.matches(entry.key()) && options.type_name.is_none_or(is_type) {
                keys.push(entry.key().to_vec());
            }
        });
        if cursor == 0 || seen >= options.count {
            break;
        }
    }
    (cursor, keys, due)
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, format, string::String};

    use crate::commands::testing::{Bench, NOW_MS, check};

    /// Scans with these options until the cursor is 0; the keys given.
    fn scan_all(bench: &mut Bench, options: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut cursor = String::from("0");
        for _ in 0..1000 {
            let reply = bench.run(&format!("SCAN {cursor} {options}"));
            let mut words = reply.split('"').skip(1).step_by(2).map(String::from);
            cursor = words.next().expect("a cursor");
            found.extend(words);
            if cursor == "0" {
                return found;
            }
        }
        panic!("the scan does not end");
    }

    #[test]
    fn every_key_is_found_whatever_the_count() {
        let mut bench = Bench::new();
        for index in 0..500 {
            bench.run(&format!("SET key:{index} v"));
        }
        for options in ["", "COUNT 1", "COUNT 1000", "TYPE string", "TYPE STRING MATCH *"] {
            assert_eq!(scan_all(&mut bench, options).len(), 500, "{options}");
        }
        assert_eq!(scan_all(&mut bench, "MATCH key:1?").len(), 10);
        assert_eq!(scan_all(&mut bench, "TYPE list").len(), 0);
        assert_eq!(scan_all(&mut bench, "TYPE nosuchtype").len(), 0);
    }

    #[test]
    fn due_keys_are_removed_not_shown() {
        let mut bench = Bench::new();
        bench.run("SET k v PX 1");
        bench.run("SET other v");
        bench.records();
        bench.store.now_ms = NOW_MS + 2;
        assert_eq!(bench.run("SCAN 0"), "[\"0\", [\"other\"]]");
        assert_eq!(bench.records(), ["DEL k"]);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let syntax = "-ERR syntax error";
        check(&[
            ("SCAN 0", "[\"0\", []]"),
            ("SCAN abc", "-ERR invalid cursor"),
            ("SCAN 18446744073709551616", "-ERR invalid cursor"),
            ("SCAN 18446744073709551615", "[\"0\", []]"),
            ("SCAN 0 COUNT", syntax),
            ("SCAN 0 COUNT 0", syntax),
            ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range"),
            ("SCAN 0 FOO bar", syntax),
        ]);
    }
}
