//! Measures servers against each other: `perdura-harness bench`.
//!
//! Exists because a figure means little alone and even less from another machine: all servers are measured
//! in turn, on the same cores, in every round, and what is reported is the ratio.
//!
//! Always true: one core for each server, another for the client; every server gets the same requests; a
//! server that answers with errors has no figure.
//!
//! Not here: making load (`load.rs`), requests (`workload.rs`), the table (`table.rs`).

use crate::args::{Args, UsageError};
use crate::client::Reply;
use crate::load::{self, Limit, Load, Outcome, Pace};
use crate::os;
use crate::process::{self, Launch, Server, ServerCommand, Victims};
use crate::table::{Better, Row, Table};
use crate::workload::Workload;
use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// How `bench` is called.
pub const USAGE: &str = "perdura-harness bench [--server name=command]… [--quick] [--rounds 3] [--seconds 1]
    [--sections all|throughput,aof,latency,persistence] [--workloads all|GET,SET,…] [--pipelines 1,16,64]
    [--keys 10000,1000000] [--clients 50] [--value-size 64] [--rate 20000] [--server-core 0] [--client-core 1]";

/// Connections and pipeline used to fill a server before a measurement.
const FILL_CLIENTS: usize = 8;
const FILL_PIPELINE: u64 = 64;
/// Run before each measurement and thrown away, as a share of it.
const WARM_UP_SHARE: f64 = 0.1;
/// A snapshot or rewrite that takes longer is stuck.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(600);
const POLL_PAUSE: Duration = Duration::from_millis(1);
/// Above this share of its core the client may be what was measured.
const CLIENT_BUSY_MAX: f64 = 0.95;

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Every workload at every pipeline, nothing written to disk.
    Throughput,
    /// SET under each AOF policy.
    Aof,
    /// GET and SET at a fixed rate.
    Latency,
    /// Memory, BGSAVE, start from RDB and from AOF.
    Persistence,
}

impl Section {
    const ALL: [Section; 4] = [Section::Throughput, Section::Aof, Section::Latency, Section::Persistence];

    fn name(self) -> &'static str {
        match self {
            Section::Throughput => "throughput",
            Section::Aof => "aof",
            Section::Latency => "latency",
            Section::Persistence => "persistence",
        }
    }
}

/// The AOF settings compared.
const AOF_MODES: [&str; 4] = ["off", "no", "everysec", "always"];

/// What is measured and how long.
#[derive(Clone, Debug)]
pub struct Config {
    /// The first is ours, the others are what it is compared with.
    pub servers: Vec<ServerCommand>,
    /// Parts of the table.
    pub sections: Vec<Section>,
    /// Names of workloads.
    pub workloads: Vec<&'static str>,
    /// Requests in flight per connection.
    pub pipelines: Vec<u64>,
    /// Keyspaces of GET and SET; other workloads use the first, memory and persistence the last.
    pub keys: Vec<u64>,
    /// Measurements of each server per row.
    pub rounds: u64,
    /// Length of one.
    pub duration: Duration,
    /// Connections.
    pub clients: usize,
    /// Bytes per value.
    pub value_size: usize,
    /// Requests per second in the latency rows.
    pub rate: f64,
    /// Where servers run.
    pub server_core: usize,
    /// Where the client runs.
    pub client_core: usize,
}

/// Makes all measurements asked for.
///
/// # Errors
/// When a server does not start or ends, or the machine fails.
pub fn run(config: &Config) -> io::Result<Table> {
    os::pin(config.client_core)?;
    let mut table = Table::new(config.servers.iter().map(|server| server.name.clone()).collect());
    for section in &config.sections {
        match section {
            Section::Throughput => add_throughput(config, &mut table)?,
            Section::Aof => add_aof(config, &mut table)?,
            Section::Latency => add_latency(config, &mut table)?,
            Section::Persistence => add_persistence(config, &mut table)?,
        }
    }
    os::unpin()?;
    Ok(table)
}

fn add_throughput(config: &Config, table: &mut Table) -> io::Result<()> {
    for name in &config.workloads {
        let keyspaces = if matches!(*name, "GET" | "SET") { &config.keys[..] } else { &config.keys[..1] };
        for keys in keyspaces {
            let workload = Workload::new(name, *keys, config.value_size);
            let fleet = Fleet::start(config, "off")?;
            fleet.preload(&workload)?;
            for pipeline in &config.pipelines {
                let parameters = format!("{keys} keys, pipeline {pipeline}");
                fleet.add_closed(config, table, &workload, *pipeline, &parameters)?;
            }
        }
    }
    Ok(())
}

fn add_aof(config: &Config, table: &mut Table) -> io::Result<()> {
    let workload = Workload::new("SET", config.keys[0], config.value_size);
    for mode in AOF_MODES {
        let fleet = Fleet::start(config, mode)?;
        fleet.preload(&workload)?;
        for pipeline in &config.pipelines {
            let parameters = format!("AOF {mode}, {} keys, pipeline {pipeline}", config.keys[0]);
            fleet.add_closed(config, table, &workload, *pipeline, &parameters)?;
        }
    }
    Ok(())
}

fn add_latency(config: &Config, table: &mut Table) -> io::Result<()> {
    const QUANTILES: [(f64, &str); 3] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")];
    for (name, mode) in [("GET", "off"), ("SET", "off"), ("SET", "everysec"), ("SET", "always")] {
        let workload = Workload::new(name, config.keys[0], config.value_size);
        let fleet = Fleet::start(config, mode)?;
        fleet.preload(&workload)?;
        let samples = fleet.measure(config, &workload, Pace::Open(config.rate))?;
        for (fraction, label) in QUANTILES {
            let microseconds =
                |sample: &Sample| Some(sample.outcome.latency.quantile(fraction)? as f64 / 1e3);
            table.add(Row {
                measurement: format!("{name} {label}"),
                parameters: format!("AOF {mode}, {} keys, {}/s", config.keys[0], config.rate),
                unit: "µs",
                better: Better::Lower,
                samples: figures(&samples, microseconds),
                remark: remark(&samples, Pace::Open(config.rate)),
            });
        }
    }
    Ok(())
}

fn add_persistence(config: &Config, table: &mut Table) -> io::Result<()> {
    let keys = *config.keys.last().expect("at least one keyspace");
    let workload = Workload::new("SET", keys, config.value_size);
    let mut lives: Vec<Vec<Life>> = config.servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..config.rounds {
        for (command, lives) in config.servers.iter().zip(&mut lives) {
            lives.push(measure_life(config, command, &workload)?);
        }
    }
    let row = |measurement: &str, unit, figure: fn(&Life) -> f64| Row {
        measurement: measurement.into(),
        parameters: format!("{keys} keys"),
        unit,
        better: Better::Lower,
        samples: lives.iter().map(|lives| lives.iter().map(figure).collect()).collect(),
        remark: String::new(),
    };
    table.add(row("resident memory, empty", "MiB", |life| life.empty_size as f64 / 1048576.0));
    table.add(row("memory per key", "bytes", |life| life.bytes_per_key));
    table.add(row("BGSAVE", "s", |life| life.snapshot.as_secs_f64()));
    table.add(row("start from RDB", "s", |life| life.start_from_rdb.as_secs_f64()));
    table.add(row("start from AOF of single commands", "s", |life| life.start_from_aof.as_secs_f64()));
    Ok(())
}

/// What one server shows from filling to starting again.
struct Life {
    empty_size: u64,
    bytes_per_key: f64,
    snapshot: Duration,
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
    let start_from_rdb = measure_restart(&mut server, preload.count)?;
    drop(server);

    let mut server = start(config, command, "no")?;
    fill(&server, workload)?;
    let start_from_aof = measure_restart(&mut server, preload.count)?;
    Ok(Life {
        empty_size,
        bytes_per_key: full_size.saturating_sub(empty_size) as f64 / preload.count as f64,
        snapshot,
        start_from_rdb,
        start_from_aof,
    })
}

fn measure_snapshot(server: &Server) -> io::Result<Duration> {
    let mut client = server.client()?;
    let start = Instant::now();
    if let Reply::Error(error) = client.say("BGSAVE")? {
        return Err(io::Error::other(format!("BGSAVE: {error}")));
    }
    while start.elapsed() < SNAPSHOT_PATIENCE {
        let info = client.say("INFO persistence")?;
        let info = String::from_utf8_lossy(info.as_bytes().unwrap_or_default()).into_owned();
        if info.contains("rdb_bgsave_in_progress:0") {
            let elapsed = start.elapsed();
            let is_saved = info.contains("rdb_last_bgsave_status:ok");
            return is_saved.then_some(elapsed).ok_or_else(|| io::Error::other("BGSAVE failed"));
        }
        thread::sleep(POLL_PAUSE);
    }
    Err(io::ErrorKind::TimedOut.into())
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

/// All servers of a row, running at the same time; the ones not measured are idle.
struct Fleet {
    servers: Vec<Server>,
}

/// One measurement of one server.
struct Sample {
    outcome: Outcome,
    server_cpu: Duration,
}

impl Fleet {
    fn start(config: &Config, aof_mode: &str) -> io::Result<Fleet> {
        let servers: io::Result<Vec<Server>> =
            config.servers.iter().map(|command| start(config, command, aof_mode)).collect();
        Ok(Fleet { servers: servers? })
    }

    fn preload(&self, workload: &Workload) -> io::Result<()> {
        self.servers.iter().try_for_each(|server| fill(server, workload))
    }

    /// Adds throughput and CPU time of a closed loop.
    fn add_closed(
        &self,
        config: &Config,
        table: &mut Table,
        workload: &Workload,
        pipeline: u64,
        parameters: &str,
    ) -> io::Result<()> {
        let pace = Pace::Closed(pipeline);
        let samples = self.measure(config, workload, pace)?;
        table.add(Row {
            measurement: workload.name.into(),
            parameters: parameters.into(),
            unit: "requests/s",
            better: Better::Higher,
            samples: figures(&samples, |sample| Some(sample.outcome.throughput())),
            remark: remark(&samples, pace),
        });
        let nanoseconds =
            |sample: &Sample| Some(sample.server_cpu.as_nanos() as f64 / sample.outcome.replies as f64);
        table.add(Row {
            measurement: format!("{}, server CPU", workload.name),
            parameters: parameters.into(),
            unit: "ns/request",
            better: Better::Lower,
            samples: figures(&samples, nanoseconds),
            remark: String::new(),
        });
        Ok(())
    }

    /// Per server, one sample per round; servers take turns, and every round another one begins.
    fn measure(&self, config: &Config, workload: &Workload, pace: Pace) -> io::Result<Vec<Vec<Sample>>> {
        eprintln!("measuring {}, {pace:?}", workload.name);
        let mut samples: Vec<Vec<Sample>> = self.servers.iter().map(|_| Vec::new()).collect();
        for round in 0..config.rounds {
            for turn in 0..self.servers.len() {
                let index = (turn + round as usize) % self.servers.len();
                let server = &self.servers[index];
                let address = server.address();
                let mut load = Load {
                    address: &address,
                    clients: config.clients,
                    templates: &workload.templates,
                    pace,
                    limit: Limit::Time(config.duration.mul_f64(WARM_UP_SHARE)),
                    seed: round,
                };
                load::run(&load)?;
                load.limit = Limit::Time(config.duration);
                let cpu_before = process::cpu_time(server.pid())?;
                let outcome = load::run(&load)?;
                let server_cpu = process::cpu_time(server.pid())?.saturating_sub(cpu_before);
                samples[index].push(Sample { outcome, server_cpu });
            }
        }
        Ok(samples)
    }
}

/// Figures of each server; none for one that answered with errors.
fn figures(samples: &[Vec<Sample>], figure: impl Fn(&Sample) -> Option<f64>) -> Vec<Vec<f64>> {
    let of_server = |samples: &Vec<Sample>| {
        let is_refused = samples.iter().any(|sample| sample.outcome.first_error.is_some());
        if is_refused { Vec::new() } else { samples.iter().filter_map(&figure).collect() }
    };
    samples.iter().map(of_server).collect()
}

/// What a reader must know to trust the row: errors, and a client that had no time to spare.
fn remark(samples: &[Vec<Sample>], pace: Pace) -> String {
    let all = || samples.iter().flatten();
    if let Some(error) = all().find_map(|sample| sample.outcome.first_error.as_ref()) {
        return format!("refused: {error}");
    }
    let busy = all().map(|sample| sample.outcome.client_busy()).fold(0.0, f64::max);
    // At a fixed rate the client never sleeps, on purpose.
    if matches!(pace, Pace::Closed(_)) && busy > CLIENT_BUSY_MAX {
        return format!("client {:.0} % busy", busy * 100.0);
    }
    String::new()
}

fn start(config: &Config, command: &ServerCommand, aof_mode: &str) -> io::Result<Server> {
    let launch = Launch::new(command.clone()).pinned_to(config.server_core);
    let launch = match aof_mode {
        "off" => launch.setting("appendonly", "no"),
        policy => launch.setting("appendonly", "yes").setting("appendfsync", policy),
    };
    Server::start(launch).map_err(|error| io::Error::other(format!("{}: {error}", command.name)))
}

fn fill(server: &Server, workload: &Workload) -> io::Result<()> {
    let Some(preload) = &workload.preload else { return Ok(()) };
    let outcome = load::run(&Load {
        address: &server.address(),
        clients: FILL_CLIENTS,
        templates: std::slice::from_ref(&preload.template),
        pace: Pace::Closed(FILL_PIPELINE),
        limit: Limit::Count(preload.count),
        seed: 0,
    })?;
    outcome.first_error.map_or(Ok(()), |error| Err(io::Error::other(format!("filling: {error}"))))
}

/// The subcommand: prints parameters and the table.
///
/// # Errors
/// A wrong command line, or what [`run`] reports.
pub fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let config = read_config(&mut args)?;
    args.finish()?;
    println!("{}\n", parameters(&config));
    println!("{}", run(&config)?.to_markdown());
    Ok(ExitCode::SUCCESS)
}

fn read_config(args: &mut Args) -> Result<Config, UsageError> {
    let named = args.texts("--server")?;
    let parse = |text: &String| {
        ServerCommand::parse(text).ok_or_else(|| UsageError(format!("--server {text}: not name=command")))
    };
    let servers = if named.is_empty() {
        let known = [ServerCommand::perdura(), ServerCommand::stock_redis(), ServerCommand::stock_valkey()];
        known.into_iter().flatten().collect()
    } else {
        named.iter().map(parse).collect::<Result<Vec<_>, _>>()?
    };
    let is_quick = args.flag("--quick");
    let quick_or = |quick: f64, full: f64| if is_quick { quick } else { full };
    let default_keys: &[u64] = if is_quick { &[10_000] } else { &[10_000, 1_000_000] };
    let default_pipelines: &[u64] = if is_quick { &[1, 64] } else { &[1, 16, 64] };
    let config = Config {
        servers,
        sections: args.choices("--sections", &Section::ALL, Section::name)?,
        workloads: args.choices("--workloads", &Workload::NAMES, |name| name)?,
        pipelines: args.numbers("--pipelines", default_pipelines)?,
        keys: args.numbers("--keys", default_keys)?,
        rounds: args.number("--rounds", quick_or(1.0, 3.0) as u64)?,
        duration: Duration::from_secs_f64(args.number("--seconds", quick_or(0.25, 1.0))?),
        clients: args.number("--clients", 50)?,
        value_size: args.number("--value-size", 64)?,
        rate: args.number("--rate", 20_000.0)?,
        server_core: args.number("--server-core", 0)?,
        client_core: args.number("--client-core", 1)?,
    };
    let is_runnable = !config.servers.is_empty()
        && [&config.keys, &config.pipelines]
            .iter()
            .all(|numbers| !numbers.is_empty() && !numbers.contains(&0))
        && config.rounds > 0
        && config.clients > 0
        && config.rate > 0.0;
    is_runnable.then_some(config).ok_or_else(|| UsageError("a server and numbers above 0 are needed".into()))
}

fn parameters(config: &Config) -> String {
    format!(
        "Parameters: {} rounds of {:?} per server, servers in turn; {} connections; values of {} bytes; server on \
         core {}, client on core {}.",
        config.rounds,
        config.duration,
        config.clients,
        config.value_size,
        config.server_core,
        config.client_core,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A benchmark is a test with a small size: a server compared with itself, every section once.
    #[test]
    fn a_small_bench_has_a_figure_in_every_cell() {
        let Some(command) = ServerCommand::stock_redis() else { return };
        let line = "--sections all --workloads all --pipelines 2 --keys 500 --rounds 1 --seconds 0.05 --clients 2 \
                    --rate 500 --server-core 0 --client-core 0";
        let mut config = read_config(&mut Args::new(line.split_whitespace().map(String::from))).unwrap();
        config.servers = vec![command.clone(), ServerCommand { name: "peer".into(), ..command }];
        let table = run(&config).unwrap();
        let rows = Workload::NAMES.len() * 2 + AOF_MODES.len() * 2 + 4 * 3 + 5;
        assert_eq!(table.rows().len(), rows);
        for row in table.rows() {
            assert!(row.samples.iter().all(|samples| samples.len() == 1), "{row:?}");
        }
    }
}
