//! What each command leaves in the append-only file, form by form, and that replaying it gives the same data.
//!
//! Exists because a log is deterministic only if every command that draws, waits, counts time or does less than it was asked
//! is logged as what it did; one form forgotten, and a restart gives other data than was shown.
//!
//! The rows (`rows.rs`) run on our server and, where Redis 7.0 knows the command, on Debian's redis-server: the same records are
//! expected of both (Valkey 7.2.7 in its place is asked for those of 7.2 as well). Then both are started again, and all values must be as they were.
//!
//! Not here: bytes and batches of the log (`engine/core/src/persist`), what each command's own tests say of it, MIGRATE
//! (`operating/migrate.rs`), what replicas and modules log: there are none.

mod rows;

use std::{
    fs,
    ops::RangeInclusive,
    thread,
    time::{Duration, Instant, SystemTime},
};

use perdura_core::bytes::quote::{quoted, split_args};
use perdura_harness::{
    client::{Client, Reply},
    process::{Server, Victims},
};
use perdura_tests::{start_perdura, start_redis};
use rows::{ROWS, Row, Since};

/// Every record is in the file before its reply comes; nothing but the rows writes.
const SETTINGS: &[(&str, &str)] = &[
    ("save", ""),
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("auto-aof-rewrite-percentage", "0"),
    ("databases", "200"),
    ("enable-debug-command", "local"),
];

/// Long enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

type Words = Vec<Vec<u8>>;

fn words(line: &str) -> Words {
    split_args(line.as_bytes()).unwrap_or_else(|| panic!("open quote: {line}"))
}

fn shown(words: &Words) -> String {
    let shown: Vec<String> = words
        .iter()
        .map(|word| match std::str::from_utf8(word) {
            Ok(text) if !text.is_empty() && text.chars().all(|letter| letter.is_ascii_graphic()) => {
                text.into()
            }
            _ => quoted(word),
        })
        .collect();
    shown.join(" ")
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// A server, one client that speaks and one that may wait.
struct Stage {
    server: Server,
    client: Client,
    other: Client,
    read_bytes: usize,
}

impl Stage {
    fn new(server: Server) -> Stage {
        let (client, other) = (server.client().expect("it listens"), server.client().expect("it listens"));
        Stage { server, client, other, read_bytes: 0 }
    }

    /// The commands that were logged since this was last asked.
    fn records(&mut self) -> Vec<Words> {
        let path = self.server.data_dir().join("appendonlydir/appendonly.aof.1.incr.aof");
        let log = fs::read(path).expect("the log");
        let mut rest = &log[self.read_bytes..];
        self.read_bytes = log.len();
        let mut records = Vec::new();
        while !rest.is_empty() {
            if rest[0] == b'#' {
                let end = rest.iter().position(|byte| *byte == b'\n').expect("a comment ends");
                rest = &rest[end + 1..];
                continue;
            }
            let record = Reply::read_from(&mut rest).expect("whole records");
            let arguments = record.into_elements().expect("a record is an array");
            records.push(arguments.iter().map(|word| word.as_bytes().expect("a bulk").to_vec()).collect());
        }
        records
    }

    /// Runs a line of a row: a command, or what stands in [`Row::run`]'s description.
    fn run(&mut self, line: &str) {
        if let Some(line) = line.strip_prefix("~ ") {
            self.other.queue(&words(line));
            self.other.flush().expect("it reads");
            self.wait_for("a client waits", |stage| stage.info("clients").contains("blocked_clients:1"));
        } else if line == "~" {
            self.other.read().expect("the waiting client is answered");
        } else if let Some(ms) = line.strip_prefix("sleep ") {
            thread::sleep(Duration::from_millis(ms.parse().expect("a number")));
        } else if line == "until empty" {
            self.wait_for("no key is left", |stage| {
                stage.client.say("DBSIZE").expect("a reply") == Reply::Integer(0)
            });
        } else {
            self.client.call(&words(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    fn info(&mut self, section: &str) -> String {
        let info = self.client.say(&format!("INFO {section}")).expect("a reply");
        String::from_utf8_lossy(info.as_bytes().expect("text")).into_owned()
    }

    fn wait_for(&mut self, what: &str, mut holds: impl FnMut(&mut Stage) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "never: {what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs a row in a database of its own; what was logged other than expected, if anything.
    fn judge(&mut self, db: usize, row: &Row) -> Option<String> {
        for client in [&mut self.client, &mut self.other] {
            assert!(client.say(&format!("SELECT {db}")).expect("a reply").is_ok());
        }
        row.given.iter().for_each(|line| self.run(line));
        self.records();
        let began_ms = now_ms();
        row.run.iter().for_each(|line| self.run(line));
        let when = began_ms..=now_ms();
        let own = [b"SELECT".to_vec(), db.to_string().into_bytes()];
        let logged: Vec<Words> = self.records().into_iter().filter(|record| record[..] != own).collect();
        let is_as_expected = logged.len() == row.logged.len()
            && logged
                .iter()
                .zip(row.logged)
                .all(|(record, expected)| is_like(record, &words(expected), &when));
        (!is_as_expected).then(|| {
            let logged: Vec<String> = logged.iter().map(shown).collect();
            format!("{}:\n  expected {:?}\n  logged   {logged:?}", row.what, row.logged)
        })
    }

    /// Each database's keys, with a digest of the value and the expiry.
    fn data(&mut self) -> Vec<String> {
        let mut data = Vec::new();
        for db in 0..200 {
            self.client.say(&format!("SELECT {db}")).expect("a reply");
            let keys = self.client.say("KEYS *").expect("a reply").into_elements().expect("an array");
            for key in keys {
                let key = key.as_bytes().expect("a key").to_vec();
                let digest = self.client.call(&[&b"DEBUG"[..], b"DIGEST-VALUE", &key]).expect("a reply");
                let expiry = self.client.call(&[&b"PEXPIRETIME"[..], &key]).expect("a reply");
                data.push(format!("{db} {} {digest:?} {expiry:?}", quoted(&key)));
            }
        }
        data.sort();
        data.push(format!("{:?}", self.client.say("DEBUG DIGEST").expect("a reply")));
        data
    }
}

/// Whether a record is the expected one: `*` is any word, `...` any words to the end, `{+n}` a time `n` ms after the row ran, also as
/// the beginning of a stream's id.
fn is_like(record: &Words, expected: &Words, when: &RangeInclusive<u64>) -> bool {
    let is_open = expected.last().is_some_and(|word| word == b"...");
    let count = expected.len() - usize::from(is_open);
    let has_length = if is_open { record.len() > count } else { record.len() == count };
    has_length
        && record.iter().zip(&expected[..count]).all(|(word, expected)| is_word_like(word, expected, when))
}

fn is_word_like(word: &[u8], expected: &[u8], when: &RangeInclusive<u64>) -> bool {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let Some(timed) = text(expected).strip_prefix("{+").map(str::to_owned) else {
        return expected == b"*" || word == expected;
    };
    let (after_ms, tail) = timed.split_once('}').expect("a brace closes");
    let after_ms: u64 = after_ms.parse().expect("milliseconds");
    let ms = text(word).strip_suffix(tail).and_then(|digits| digits.parse::<u64>().ok());
    ms.and_then(|ms| ms.checked_sub(after_ms)).is_some_and(|ms| when.contains(&ms))
}

/// Runs the rows that this server knows, ends it, starts it again, and compares.
fn check(server: Server, knows: impl Fn(&mut Stage, Since) -> bool) {
    let mut stage = Stage::new(server);
    stage.run("DEBUG SET-ACTIVE-EXPIRE 0");
    let mut wrong = Vec::new();
    for (db, row) in ROWS.iter().enumerate() {
        if knows(&mut stage, row.since) {
            wrong.extend(stage.judge(db, row));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let before = stage.data();
    let mut server = stage.server;
    server.kill(Victims::ServerAndChildren).expect("it runs");
    server.restart().unwrap_or_else(|error| panic!("{error}\n{}", server.log_tail()));
    let after = Stage::new(server).data();
    let differing: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert!(before == after, "replayed otherwise: {differing:#?}");
}

#[test]
fn what_is_logged_is_what_was_done() {
    check(start_perdura(SETTINGS), |_, _| true);
}

#[test]
fn redis_logs_the_same() {
    check(start_redis(SETTINGS), |stage, since| match since {
        Since::Redis70 => true,
        // Where Valkey 7.2 stands in its place.
        Since::Redis72 => stage.info("server").contains("redis_version:7.2"),
        Since::Redis74 | Since::Here => false,
    });
}

#[test]
fn what_gives_way_for_want_of_memory_is_logged_one_by_one() {
    for server in [start_perdura(SETTINGS), start_redis(SETTINGS)] {
        let mut stage = Stage::new(server);
        ["SET a 1", "SET b 2", "CONFIG SET maxmemory-policy allkeys-random"]
            .iter()
            .for_each(|line| stage.run(line));
        stage.records();
        ["CONFIG SET maxmemory 1", "GET a", "until empty"].iter().for_each(|line| stage.run(line));
        let mut logged: Vec<String> = stage.records().iter().map(shown).collect();
        logged.sort();
        assert_eq!(logged, ["DEL a", "DEL b"]);
    }
}
