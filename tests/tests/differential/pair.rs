//! Perdura and Redis, side by side: what one is sent, the other is sent, too.

use perdura_harness::{
    client::{Client, Reply},
    process::Server,
};
use proptest::{prelude::*, test_runner::TestCaseError};

use crate::{
    comparison::Comparison,
    forms::{Words, split},
};

/// Both servers, and one connection to each.
pub struct Pair {
    /// To Perdura.
    pub ours: Client,
    /// To Redis.
    pub theirs: Client,
    /// Commands queued since MULTI.
    queued: Vec<Words>,
}

impl Pair {
    /// Connects to both and empties them.
    pub fn connect(ours: &Server, theirs: &Server, is_resp3: bool) -> Pair {
        let mut clients = [ours, theirs].map(|server| server.client().expect("the server listens"));
        for client in &mut clients {
            assert!(client.say("FLUSHALL").expect("a reply").is_ok());
            if is_resp3 {
                client.say("HELLO 3").expect("a reply");
            }
        }
        let [ours, theirs] = clients;
        Pair { ours, theirs, queued: Vec::new() }
    }

    /// Sends a command to both; the reply of Redis.
    pub fn compare(&mut self, words: &[String]) -> Result<Reply, TestCaseError> {
        self.compare_by(Comparison::of(words, false), words)
    }

    /// The same, with a comparison of the caller's.
    pub fn compare_by(&mut self, comparison: Comparison, words: &[String]) -> Result<Reply, TestCaseError> {
        let (ours, theirs) = (answer(&mut self.ours, words)?, answer(&mut self.theirs, words)?);
        let is_same = match (words[0].as_str(), &ours, &theirs) {
            ("EXEC", Reply::Array(ours), Reply::Array(theirs)) => {
                ours.len() == theirs.len()
                    && self
                        .queued
                        .iter()
                        .zip(ours.iter().zip(theirs))
                        .all(|(words, (ours, theirs))| Comparison::of(words, true).same(ours, theirs))
            }
            _ => comparison.same(&ours, &theirs),
        };
        prop_assert!(
            is_same,
            "{words:?}\n   ours: {ours:?}\n theirs: {theirs:?}\n queued: {:?}",
            self.queued
        );
        match theirs {
            Reply::Simple(ref text) if text == "QUEUED" => self.queued.push(words.to_vec()),
            _ if words[0] == "EXEC" || words[0] == "DISCARD" => self.queued.clear(),
            _ => {}
        }
        Ok(theirs)
    }

    /// The same for a line without spaces inside its words.
    pub fn say(&mut self, line: &str) -> Result<Reply, TestCaseError> {
        self.compare(&split(line))
    }

    /// Reads all data of both databases back.
    pub fn compare_data(&mut self) -> Result<(), TestCaseError> {
        self.say("DISCARD")?;
        for db in 0..2 {
            self.say(&format!("SELECT {db}"))?;
            for key in self.say("KEYS *")?.into_elements().unwrap_or_default() {
                let key = String::from_utf8_lossy(key.as_bytes().unwrap_or_default()).into_owned();
                let kind = self.compare(&["TYPE".into(), key.clone()])?;
                let kind = String::from_utf8_lossy(kind.as_bytes().unwrap_or_default()).into_owned();
                for reader in readers(&kind) {
                    let words = split(reader)
                        .into_iter()
                        .map(|word| if word == "<key>" { key.clone() } else { word });
                    self.compare(&words.collect::<Words>())?;
                }
            }
        }
        Ok(())
    }
}

/// Commands that show all of a value.
///
/// Without OBJECT ENCODING: 7.2 keeps small lists and sets in listpacks, and on purpose (counter.rs) a whole
/// number from INCRBYFLOAT is encoded `int` where Redis has `embstr`.
fn readers(kind: &str) -> &'static [&'static str] {
    match kind {
        "string" => &["GET <key>", "PTTL <key>"],
        "list" => &["LRANGE <key> 0 -1", "PTTL <key>"],
        "set" => &["SMEMBERS <key>", "PTTL <key>"],
        "hash" => &["HGETALL <key>", "PTTL <key>"],
        "zset" => &["ZRANGE <key> 0 -1 WITHSCORES", "PTTL <key>"],
        _ => {
            &["XRANGE <key> - +", "XINFO GROUPS <key>", "XPENDING <key> g", "XPENDING <key> h", "PTTL <key>"]
        }
    }
}

/// Turns of a scan at most; a few keys with few members need far less.
const SCAN_TURNS_MAX: usize = 1000;

/// The reply; for a scan outside MULTI, all it finds, each once.
fn answer(client: &mut Client, words: &[String]) -> Result<Reply, TestCaseError> {
    let failed = |error| TestCaseError::fail(format!("{words:?}: {error}"));
    let mut reply = client.call(words).map_err(failed)?;
    let cursor_place = match words[0].as_str() {
        "SCAN" => 1,
        "SSCAN" | "HSCAN" | "ZSCAN" => 2,
        _ => return Ok(reply),
    };
    let mut found: Vec<Reply> = Vec::new();
    for _ in 0..SCAN_TURNS_MAX {
        let Reply::Array(parts) = &reply else { return Ok(reply) };
        let [Reply::Bulk(cursor), Reply::Array(elements)] = parts.as_slice() else { return Ok(reply) };
        found.extend(elements.iter().cloned());
        if cursor == b"0" {
            found.sort_by_key(|element| format!("{element:?}"));
            found.dedup();
            return Ok(Reply::Array(found));
        }
        let mut next = words.to_vec();
        next[cursor_place] = String::from_utf8_lossy(cursor).into_owned();
        reply = client.call(&next).map_err(failed)?;
    }
    Err(TestCaseError::fail(format!("{words:?} does not end")))
}
