//! What clients feel while a snapshot and a rewrite are being made.
//!
//! Always true: requests come at a fixed rate, half of what the slowest server can do, from before the first fork to
//! the end of the second child, and each latency counts from when its request was due.
//!
//! Not here: how long the snapshot takes with nobody asking (`life.rs`).

use super::fleet::{Fleet, measure_one};
use super::life::background;
use super::{Config, QUANTILES};
use crate::histogram::Histogram;
use crate::load::{self, Limit, Load, Pace};
use crate::process::Server;
use crate::table::{Better, Row, Table, median};
use crate::workload::Workload;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Load as a share of the slowest server's closed-loop throughput.
const LOAD_SHARE: f64 = 0.5;
/// The ratio wanted at p99.9.
const GOAL: f64 = 2.0;

/// Adds the latencies of SET over the largest keyspace, `everysec`.
pub(super) fn add_tail(config: &Config, table: &mut Table) -> io::Result<()> {
    let keys = *config.keys.last().expect("at least one keyspace");
    let workload = Workload::new("SET", keys, config.value_size);
    let mut fleet = Fleet::start(config, "everysec")?;
    fleet.preload(&workload)?;
    let full = fleet.measure(config, &workload, Pace::Closed(1))?;
    let throughputs = full.iter().filter_map(|samples| {
        let figures: Vec<f64> = samples.iter().map(|sample| sample.outcome.throughput()).collect();
        median(&figures)
    });
    let rate = throughputs.fold(f64::INFINITY, f64::min) * LOAD_SHARE;

    let quiet = fleet.take_turns(config.rounds, |server, round| {
        Ok(measure_one(config, server, &workload, Pace::Open(rate), round)?.outcome.latency)
    })?;
    add_rows(table, "nothing else", &format!("everysec, {keys} keys, {rate:.0}/s"), None, &quiet);
    let busy = fleet.take_turns(config.rounds, |server, round| {
        eprintln!("measuring SET during BGSAVE and BGREWRITEAOF");
        measure_busy(config, server, &workload, rate, round)
    })?;
    let parameters = format!("everysec, {keys} keys, {rate:.0}/s");
    add_rows(table, "BGSAVE, then BGREWRITEAOF", &parameters, Some(GOAL), &busy);
    Ok(())
}

fn add_rows(
    table: &mut Table,
    during: &str,
    parameters: &str,
    goal: Option<f64>,
    latencies: &[Vec<Histogram>],
) {
    for (fraction, label) in QUANTILES {
        let figure = |latency: &Histogram| latency.quantile(fraction).map(|ns| ns as f64 / 1e3);
        table.add(Row {
            measurement: format!("SET {label} during {during}"),
            parameters: parameters.into(),
            unit: "µs",
            better: Better::Lower,
            samples: latencies.iter().map(|rounds| rounds.iter().filter_map(figure).collect()).collect(),
            goal: goal.filter(|_| label == "p99.9"),
            remark: String::new(),
        });
    }
}

fn measure_busy(
    config: &Config,
    server: &mut Server,
    workload: &Workload,
    rate: f64,
    seed: u64,
) -> io::Result<Histogram> {
    let is_over = AtomicBool::new(false);
    let server: &Server = server;
    thread::scope(|scope| {
        let work = scope.spawn(|| {
            let saved = background(server, "BGSAVE", "rdb_bgsave_in_progress", "rdb_last_bgsave_status");
            let rewritten = saved.and_then(|()| {
                background(server, "BGREWRITEAOF", "aof_rewrite_in_progress", "aof_last_bgrewrite_status")
            });
            is_over.store(true, Ordering::Relaxed);
            rewritten
        });
        let outcome = load::run(&Load {
            address: &server.address(),
            clients: config.clients,
            templates: &workload.templates,
            pace: Pace::Open(rate),
            limit: Limit::Until(&is_over),
            seed,
        })?;
        work.join().expect("the other thread does not panic")?;
        outcome.first_error.map_or(Ok(outcome.latency), |error| Err(io::Error::other(error)))
    })
}
