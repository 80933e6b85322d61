//! How figures change as the work grows: keys, connections, size of values, each drawn as a log-log plot.
//!
//! Exists because a table of one size hides what grows faster than it should: on a log-log plot that is a bend.
//!
//! Always true: one parameter changes, the others stay as given on the command line; every point is in the table too.
//!
//! Not here: what is compared at one size (`bench.rs`).

use super::Config;
use super::fleet::{Fleet, figures, remark};
use super::plot::{self, Curve};
use crate::load::Pace;
use crate::table::{Better, Row, Table, median};
use crate::workload::Workload;
use std::fs;
use std::io;

/// Requests in flight per connection where throughput over many keys or large values is wanted.
const PIPELINE: u64 = 16;
/// All values of a keyspace together, bytes, so that large values mean few keys.
const KEYSPACE_BYTES_MAX: usize = 256 << 20;

/// What grows.
#[derive(Clone, Debug)]
pub struct Sweeps {
    /// Keys of GET and SET.
    pub keys: Vec<u64>,
    /// Connections.
    pub clients: Vec<u64>,
    /// Bytes per value.
    pub value_sizes: Vec<u64>,
}

/// One point of a sweep.
struct Point {
    /// On the horizontal axis.
    size: u64,
    keys: u64,
    clients: usize,
    value_size: usize,
    pipeline: u64,
}

/// Adds the points of all sweeps, and draws them if a folder for plots was named.
pub(super) fn add_scaling(config: &Config, table: &mut Table) -> io::Result<()> {
    let point = |size| Point {
        size,
        keys: config.keys[0],
        clients: config.clients,
        value_size: config.value_size,
        pipeline: PIPELINE,
    };
    let keys = config.sweeps.keys.iter().map(|&keys| Point { keys, ..point(keys) });
    sweep(config, table, "keys", keys.collect())?;
    let clients = config.sweeps.clients.iter();
    let clients = clients.map(|&count| Point { clients: count as usize, pipeline: 1, ..point(count) });
    sweep(config, table, "connections", clients.collect())?;
    let sizes = config.sweeps.value_sizes.iter().map(|&size| {
        let keys = (KEYSPACE_BYTES_MAX as u64 / size).clamp(1, config.keys[0]);
        Point { value_size: size as usize, keys, pipeline: 1, ..point(size) }
    });
    sweep(config, table, "bytes per value", sizes.collect())
}

fn sweep(config: &Config, table: &mut Table, what: &'static str, points: Vec<Point>) -> io::Result<()> {
    let mut throughput = Sweep::new(config, what, "requests per second");
    let mut memory = Sweep::new(config, what, "bytes per key");
    for point in points {
        let config = Config { clients: point.clients, value_size: point.value_size, ..config.clone() };
        let mut fleet = Fleet::start(&config, "off")?;
        let set = Workload::new("SET", point.keys, point.value_size);
        let empty = fleet.resident_sizes()?;
        fleet.preload(&set)?;
        let full = fleet.resident_sizes()?;
        let per_key = |(full, empty): (&u64, &u64)| full.saturating_sub(*empty) as f64 / point.keys as f64;
        let samples = full.iter().zip(&empty).map(|both| vec![per_key(both)]).collect();
        let row = Row {
            measurement: "memory per key".into(),
            parameters: format!("{} {what}", point.size),
            unit: "bytes",
            better: Better::Lower,
            samples,
            goal: None,
            remark: String::new(),
        };
        memory.add(&point, row, table);
        for workload in [set, Workload::new("GET", point.keys, point.value_size)] {
            let pace = Pace::Closed(point.pipeline);
            let samples = fleet.measure(&config, &workload, pace)?;
            let row = Row {
                measurement: workload.name.into(),
                parameters: format!("{} {what}, pipeline {}", point.size, point.pipeline),
                unit: "requests/s",
                better: Better::Higher,
                samples: figures(&samples, |sample| Some(sample.outcome.throughput())),
                goal: None,
                remark: remark(&samples, pace),
            };
            throughput.add(&point, row, table);
        }
    }
    throughput.draw(config)?;
    memory.draw(config)
}

/// The curves of one plot.
struct Sweep {
    what: &'static str,
    figure: &'static str,
    servers: Vec<String>,
    curves: Vec<Curve>,
}

impl Sweep {
    fn new(config: &Config, what: &'static str, figure: &'static str) -> Sweep {
        let servers = config.servers.iter().map(|server| server.name.clone()).collect();
        Sweep { what, figure, servers, curves: Vec::new() }
    }

    /// Adds a row to the table, and its medians to the curves.
    fn add(&mut self, point: &Point, row: Row, table: &mut Table) {
        for (server, samples) in self.servers.iter().zip(&row.samples) {
            let Some(figure) = median(samples).filter(|figure| *figure > 0.0) else { continue };
            let name = format!("{server}, {}", row.measurement);
            let index = self.curves.iter().position(|curve| curve.name == name).unwrap_or_else(|| {
                self.curves.push(Curve { name, points: Vec::new() });
                self.curves.len() - 1
            });
            self.curves[index].points.push((point.size as f64, figure));
        }
        table.add(row);
    }

    fn draw(&self, config: &Config) -> io::Result<()> {
        let Some(dir) = &config.plots else { return Ok(()) };
        fs::create_dir_all(dir)?;
        let path = dir.join(format!("{} by {}.svg", self.figure, self.what).replace(' ', "-"));
        plot::draw(&path, self.what, self.figure, &self.curves)
            .map_err(|error| io::Error::other(error.to_string()))
    }
}
