//! What one command on a very large value costs: for as long as it runs, nobody else is served.
//!
//! Always true: counted is the processor time of the server, so that neither the client nor the line is in the figure; what a
//! command stores is removed before the next one, outside of the measurement.
//!
//! Not here: how long values take to free, what others wait meanwhile (`tail.rs`).

use super::Config;
use super::fleet::start;
use super::memory::{Make, fill};
use crate::client::{Client, Reply};
use crate::os;
use crate::process::Server;
use crate::table::{Better, Row, Table};
use std::io;
use std::thread;
use std::time::Duration;

/// Items of the large values: a million, or as many as the largest keyspace has keys.
const ITEMS_MAX: u64 = 1_000_000;
/// The ratio wanted: no slower than the best peer.
const GOAL: f64 = 1.0;
/// After a stored result was removed: long enough for it to be freed.
const FREEING: Duration = Duration::from_millis(300);

/// What is filled in, `number` being below the items: keys, a list, a sorted set, two sets of half as many that share half.
const VALUES: [Make; 5] = [
    |number| words(&["SET", &format!("key:{number:012}"), "value"]),
    |number| words(&["RPUSH", "list", &scrambled(number).to_string()]),
    |number| words(&["ZADD", "zset", &scrambled(number).to_string(), &format!("member:{number:012}")]),
    |number| words(&["SADD", "one", &format!("member:{:012}", number / 2)]),
    |number| words(&["SADD", "two", &format!("member:{:012}", number / 2 + SHIFT)]),
];

/// How far the members of the second set are shifted.
const SHIFT: u64 = ITEMS_MAX / 4;

/// What is measured.
pub(super) const COMMANDS: [&str; 12] = [
    "KEYS *",
    "KEYS key:00000000*1",
    "SORT list",
    "SORT list ALPHA LIMIT 0 10",
    "LRANGE list 0 -1",
    "ZRANGE zset 0 -1",
    "ZRANGE zset 0 -1 WITHSCORES",
    "SMEMBERS one",
    "SUNION one two",
    "SINTER one two",
    "SUNIONSTORE stored one two",
    "ZUNIONSTORE stored 2 one two",
];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Numbers of up to 40 bits that are in no order.
fn scrambled(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24
}

/// Adds a row for each command.
pub(super) fn add_large(config: &Config, table: &mut Table) -> io::Result<()> {
    let items = config.keys.last().copied().unwrap_or(ITEMS_MAX).min(ITEMS_MAX);
    let mut samples = vec![Vec::new(); COMMANDS.len()];
    for command in &config.servers {
        eprintln!("filling {} with values of {items} items", command.name);
        let server = start(config, command, "off")?;
        let mut client = server.client()?;
        VALUES.iter().try_for_each(|make| fill(&mut client, items, *make))?;
        for (line, samples) in COMMANDS.iter().zip(&mut samples) {
            let figures: io::Result<Vec<f64>> =
                (0..config.rounds).map(|_| cpu_ms(&server, &mut client, line)).collect();
            samples.push(figures?);
        }
    }
    for (line, samples) in COMMANDS.iter().zip(samples) {
        table.add(Row {
            measurement: (*line).into(),
            parameters: format!("{items} items"),
            unit: "ms CPU",
            better: Better::Lower,
            samples,
            goal: Some(GOAL),
            remark: String::new(),
        });
    }
    Ok(())
}

/// Processor time that one run of a command takes the server, milliseconds.
fn cpu_ms(server: &Server, client: &mut Client, line: &str) -> io::Result<f64> {
    let before = os::process_cpu_time(server.pid())?;
    if let Reply::Error(error) = client.say(line)? {
        return Err(io::Error::other(format!("{line}: {error}")));
    }
    let elapsed = os::process_cpu_time(server.pid())?.saturating_sub(before);
    if line.contains("stored") {
        client.say("UNLINK stored")?;
        thread::sleep(FREEING);
    }
    Ok(elapsed.as_secs_f64() * 1e3)
}
