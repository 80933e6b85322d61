//! SET under `always`: beside the peers, beside the same server's `everysec`, beside the bare device.
//!
//! Exists because under `always` three things can be the limit: the loop, the device, and waiting for one with the
//! other idle. The rows tell them apart: one client (the device and the way to it), many clients (the loop), and a
//! device made slow (waiting).
//!
//! Not here: the other policies (`bench.rs`).

use super::fleet::{Fleet, figures, remark};
use super::{Config, slow_sync};
use crate::load::Pace;
use crate::process::TempDir;
use crate::table::{Better, Row, Table, median};
use crate::workload::Workload;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Who asks, and the ratio wanted.
#[derive(Clone, Copy)]
struct Crowd {
    clients: usize,
    pipeline: u64,
    goal: Option<f64>,
}

const CROWDS: [Crowd; 2] = [
    Crowd { clients: 50, pipeline: 1, goal: Some(1.4) },
    Crowd { clients: 50, pipeline: 16, goal: Some(2.0) },
];
/// So many that the device is not the limit: to be compared with `everysec`.
const MANY: Crowd = Crowd { clients: 500, pipeline: 1, goal: None };
/// Where a sync takes long.
const SLOW_CROWDS: [Crowd; 2] =
    [Crowd { clients: 50, pipeline: 1, goal: None }, Crowd { clients: 50, pipeline: 16, goal: Some(5.0) }];
/// Bytes of one SET in the log, about.
const RECORD_BYTES: usize = 128;

/// Adds all rows.
pub(super) fn add_always(config: &Config, table: &mut Table) -> io::Result<()> {
    let workload = Workload::new("SET", config.keys[0], config.value_size);
    let mut fleet = Fleet::start(config, "always")?;
    fleet.preload(&workload)?;
    add_alone(config, table, &workload, &mut fleet)?;
    for crowd in CROWDS {
        add_crowd(config, table, &workload, &mut fleet, crowd, "always")?;
    }
    add_crowd(config, table, &workload, &mut fleet, MANY, "always")?;
    let mut fleet = Fleet::start(config, "everysec")?;
    fleet.preload(&workload)?;
    add_crowd(config, table, &workload, &mut fleet, MANY, "everysec")?;
    add_slow(config, table, &workload)
}

/// One client: each request waits for a sync of its own, so the device sets the pace.
fn add_alone(config: &Config, table: &mut Table, workload: &Workload, fleet: &mut Fleet) -> io::Result<()> {
    let config = Config { clients: 1, ..config.clone() };
    let mut device = Vec::new();
    for _ in 0..config.rounds {
        device.push(append_and_sync_rate(config.duration)?);
    }
    let samples = fleet.measure(&config, workload, Pace::Closed(1))?;
    let samples = figures(&samples, |sample| Some(sample.outcome.throughput()));
    let device = median(&device).unwrap_or(f64::NAN);
    let share = samples.first().and_then(|ours| median(ours)).unwrap_or(f64::NAN) / device * 100.0;
    table.add(Row {
        measurement: workload.name.into(),
        parameters: "AOF always, 1 client, pipeline 1".into(),
        unit: "requests/s",
        better: Better::Higher,
        samples,
        goal: None,
        remark: format!(
            "bare append + fdatasync {device:.0}/s, the first server {share:.0} % of it (goal 90 %)"
        ),
    });
    Ok(())
}

fn add_crowd(
    config: &Config,
    table: &mut Table,
    workload: &Workload,
    fleet: &mut Fleet,
    crowd: Crowd,
    mode: &str,
) -> io::Result<()> {
    let Crowd { clients, pipeline, goal } = crowd;
    let config = Config { clients, ..config.clone() };
    let pace = Pace::Closed(pipeline);
    let samples = fleet.measure(&config, workload, pace)?;
    table.add(Row {
        measurement: workload.name.into(),
        parameters: format!("AOF {mode}, {clients} clients, pipeline {pipeline}"),
        unit: "requests/s",
        better: Better::Higher,
        samples: figures(&samples, |sample| Some(sample.outcome.throughput())),
        goal,
        remark: remark(&samples, pace),
    });
    Ok(())
}

/// A device whose sync takes `config.slow_sync`.
fn add_slow(config: &Config, table: &mut Table, workload: &Workload) -> io::Result<()> {
    let dir = TempDir::new("perdura-slow-sync")?;
    let library = slow_sync::make_library(dir.path(), config.slow_sync)?;
    let servers = config.servers.iter().map(|command| slow_sync::slowed(command, &library)).collect();
    let config = Config { servers, ..config.clone() };
    let mut fleet = Fleet::start(&config, "always")?;
    fleet.preload(workload)?;
    for crowd in SLOW_CROWDS {
        let mode = format!("always, each sync {:?} longer", config.slow_sync);
        add_crowd(&config, table, workload, &mut fleet, crowd, &mode)?;
    }
    Ok(())
}

/// Appends to a file and syncs it, again and again; how often per second.
fn append_and_sync_rate(duration: Duration) -> io::Result<f64> {
    let dir = TempDir::new("perdura-device")?;
    let mut file = OpenOptions::new().create_new(true).append(true).open(dir.path().join("log"))?;
    let start = Instant::now();
    let mut count = 0.0;
    while start.elapsed() < duration {
        file.write_all(&[b'x'; RECORD_BYTES])?;
        file.sync_data()?;
        count += 1.0;
    }
    Ok(count / start.elapsed().as_secs_f64())
}
