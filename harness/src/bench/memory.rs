//! What collections cost in memory: many small hashes, one large sorted set, one long stream.
//!
//! Always true: counted is what the process has more, resident, than when it was empty, so that tables, allocator and
//! buffers are in the figure.
//!
//! Not here: strings (`life.rs`).

use super::Config;
use super::fleet::start;
use crate::client::Client;
use crate::process;
use crate::table::{Better, Row, Table};
use std::io;

/// Items of each kind: enough that what an empty server has does not show.
const ITEMS_MAX: u64 = 1_000_000;
/// Commands on the way at once.
const BATCH: u64 = 1000;
/// The ratio wanted: at most 0.8 of the best peer.
const GOAL: f64 = 1.25;

/// How item `number` of a kind is made.
pub(super) type Make = fn(number: u64) -> Vec<String>;

pub(super) const KINDS: [(&str, Make); 3] = [
    ("memory per hash of 5 fields", |number| {
        let pairs =
            (0..5).flat_map(|field| [format!("field{field}"), format!("value{:06}", number % 1_000_000)]);
        ["HSET".into(), format!("hash:{number:012}")].into_iter().chain(pairs).collect()
    }),
    ("memory per member of a sorted set", |number| {
        // Scores that are no order of the members.
        let score = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
        vec!["ZADD".into(), "zset".into(), score.to_string(), format!("member:{number:012}")]
    }),
    ("memory per entry of a stream", |number| {
        let id = format!("{}-0", 1_700_000_000_000 + number);
        vec![
            "XADD".into(),
            "stream".into(),
            id,
            "sensor".into(),
            "1234".into(),
            "reading".into(),
            "19.8".into(),
        ]
    }),
];

/// Adds a row for each kind; as many items as the largest keyspace has keys, up to a million.
pub(super) fn add_collections(config: &Config, table: &mut Table) -> io::Result<()> {
    let items = config.keys.last().copied().unwrap_or(ITEMS_MAX).min(ITEMS_MAX);
    for (name, make) in KINDS {
        let mut samples = Vec::new();
        for command in &config.servers {
            eprintln!("measuring {name} of {}", command.name);
            let server = start(config, command, "off")?;
            let empty_size = process::resident_size(server.pid())?;
            fill(&mut server.client()?, items, make)?;
            let full_size = process::resident_size(server.pid())?;
            samples.push(vec![full_size.saturating_sub(empty_size) as f64 / items as f64]);
        }
        table.add(Row {
            measurement: name.into(),
            parameters: format!("{items} of them"),
            unit: "bytes",
            better: Better::Lower,
            samples,
            goal: Some(GOAL),
            remark: String::new(),
        });
    }
    Ok(())
}

/// Makes that many items.
pub(super) fn fill(client: &mut Client, items: u64, make: Make) -> io::Result<()> {
    let mut done = 0;
    while done < items {
        let end = (done + BATCH).min(items);
        (done..end).for_each(|number| client.queue(&make(number)));
        client.flush()?;
        for _ in done..end {
            if let crate::client::Reply::Error(error) = client.read()? {
                return Err(io::Error::other(format!("filling: {error}")));
            }
        }
        done = end;
    }
    Ok(())
}
