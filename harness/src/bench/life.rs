//! One life of a server: filled, saved, killed, started again; memory and time of each step.
//!
//! Always true: a start counts only if every key is back: a fast start of an empty server is none.
//!
//! Not here: load while a snapshot is being made (`tail.rs`).

use super::fleet::{fill, start};
use super::{Config, POLL_PAUSE, SNAPSHOT_PATIENCE};
use crate::client::Reply;
use crate::process::{self, Server, ServerCommand, Victims};
use crate::table::{Better, Row, Table};
use crate::workload::Workload;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

const MEBIBYTE: f64 = 1_048_576.0;
const GIBIBYTE: f64 = 1024.0 * MEBIBYTE;

/// Adds memory, BGSAVE, fork, and both kinds of start, of the largest keyspace asked for.
pub(super) fn add_persistence(config: &Config, table: &mut Table) -> io::Result<()> {
    let keys = *config.keys.last().expect("at least one keyspace");
    let workload = Workload::new("SET", keys, config.value_size);
    let mut lives: Vec<Vec<Life>> = config.servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..config.rounds {
        for (command, lives) in config.servers.iter().zip(&mut lives) {
            lives.push(measure_life(config, command, &workload)?);
        }
    }
    let row = |measurement: &str, unit, goal, figure: fn(&Life) -> f64| Row {
        measurement: measurement.into(),
        parameters: format!("{keys} keys"),
        unit,
        better: Better::Lower,
        samples: lives.iter().map(|lives| lives.iter().map(figure).collect()).collect(),
        goal,
        remark: String::new(),
    };
    table.add(row("resident memory, empty", "MiB", None, |life| life.empty_size as f64 / MEBIBYTE));
    table.add(row("memory per key", "bytes", Some(1.25), |life| life.bytes_per_key));
    table.add(row("BGSAVE", "s", Some(5.0), |life| life.snapshot.as_secs_f64()));
    table.add(row("fork for it", "ms", None, |life| life.fork.as_secs_f64() * 1e3));
    table.add(row("fork per GiB resident", "ms", Some(1.0), |life| {
        life.fork.as_secs_f64() * 1e3 * GIBIBYTE / life.full_size as f64
    }));
    table.add(row("start from RDB", "s", Some(3.0), |life| life.start_from_rdb.as_secs_f64()));
    table.add(row("start from AOF of single commands", "s", Some(4.0), |life| {
        life.start_from_aof.as_secs_f64()
    }));
    Ok(())
}

/// What one server shows from filling to starting again.
struct Life {
    empty_size: u64,
    full_size: u64,
    bytes_per_key: f64,
    snapshot: Duration,
    fork: Duration,
    start_from_rdb: Duration,
    start_from_aof: Duration,
}

fn measure_life(config: &Config, command: &ServerCommand, workload: &Workload) -> io::Result<Life> {
    eprintln!("measuring memory and persistence of {}", command.name);
    let preload = workload.preload.as_ref().expect("SET fills its keyspace");
    let mut server = start(config, command, "off")?;
    let empty_size = process::resident_size(server.pid())?;
    fill(&server, workload)?;
    let full_size = process::resident_size(server.pid())?;
    let snapshot = measure_snapshot(&server)?;
    let fork = Duration::from_micros(info_number(&server, "stats", "latest_fork_usec")?);
    let start_from_rdb = measure_restart(&mut server, preload.count)?;
    drop(server);

    let mut server = start(config, command, "no")?;
    fill(&server, workload)?;
    let start_from_aof = measure_restart(&mut server, preload.count)?;
    Ok(Life {
        empty_size,
        full_size,
        bytes_per_key: full_size.saturating_sub(empty_size) as f64 / preload.count as f64,
        snapshot,
        fork,
        start_from_rdb,
        start_from_aof,
    })
}

/// From BGSAVE to the news of its end.
fn measure_snapshot(server: &Server) -> io::Result<Duration> {
    let start = Instant::now();
    background(server, "BGSAVE", "rdb_bgsave_in_progress", "rdb_last_bgsave_status")?;
    Ok(start.elapsed())
}

/// Asks for work in the background and waits until it has ended well.
pub(super) fn background(server: &Server, command: &str, running: &str, status: &str) -> io::Result<()> {
    let mut client = server.client()?;
    if let Reply::Error(error) = client.say(command)? {
        return Err(io::Error::other(format!("{command}: {error}")));
    }
    let start = Instant::now();
    while start.elapsed() < SNAPSHOT_PATIENCE {
        let info = client.say("INFO persistence")?;
        let info = String::from_utf8_lossy(info.as_bytes().unwrap_or_default()).into_owned();
        if info.contains(&format!("{running}:0")) {
            let is_done = info.contains(&format!("{status}:ok"));
            return is_done.then_some(()).ok_or_else(|| io::Error::other(format!("{command} failed")));
        }
        thread::sleep(POLL_PAUSE);
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// A number from INFO.
fn info_number(server: &Server, section: &str, field: &str) -> io::Result<u64> {
    let info = server.client()?.say(&format!("INFO {section}"))?;
    let info = String::from_utf8_lossy(info.as_bytes().unwrap_or_default()).into_owned();
    let number =
        info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.trim().parse().ok());
    number.ok_or_else(|| io::Error::other(format!("INFO {section} has no {field}")))
}

/// Kills, starts again and checks that everything is back: a fast start of an empty server is none.
fn measure_restart(server: &mut Server, keys: u64) -> io::Result<Duration> {
    server.kill(Victims::ServerAndChildren)?;
    server.restart().map_err(io::Error::other)?;
    match server.client()?.say("DBSIZE")? {
        Reply::Integer(found) if found == keys as i64 => Ok(server.ready_after()),
        found => Err(io::Error::other(format!("{keys} keys before the restart, {found:?} after"))),
    }
}
