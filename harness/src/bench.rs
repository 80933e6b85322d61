//! Measures servers against each other: `perdura-harness bench`.
//!
//! Exists because a figure means little alone and even less from another machine: all servers are measured
//! in turn, on the same cores, in every round, and what is reported is the ratio.
//!
//! Always true: one core for each server, another for the client; every server gets the same requests; a
//! server that answers with errors has no figure.
//!
//! Not here: the sections that need more than a loop over parameters (`bench/`), making load (`load.rs`), requests
//! (`workload.rs`), the table (`table.rs`).

mod always;
mod fleet;
mod instructions;
mod large;
mod life;
mod memory;
mod plot;
mod scaling;
mod slow_sync;
pub(crate) mod stock;
mod tail;

pub use self::scaling::Sweeps;

use self::fleet::{Conditions, Fleet, figures, remark};
use crate::args::{Args, UsageError};
use crate::load::Pace;
use crate::os;
use crate::process::ServerCommand;
use crate::table::{Better, Row, Table};
use crate::workload::Workload;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use strum::{IntoStaticStr, VariantArray};

/// How `bench` is called.
pub const USAGE: &str = "perdura-harness bench [--server name=command]… [--quick] [--rounds 3] [--seconds 1]
    [--sections all|throughput,aof,redis-benchmark,always,latency,persistence,large,tail,instructions,scaling]
    [--workloads all|GET,SET,…] [--pipelines 1,16,64]
    [--keys 10000,1000000] [--clients 50] [--value-size 64] [--rate 20000]
    [--sweep-keys 10000,…] [--sweep-clients 1,…] [--sweep-values 16,…] [--plots folder] [--slow-sync-ms 5] [--server-core 0] [--client-core 1]";

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Section {
    /// Every workload at every pipeline, nothing written to disk.
    Throughput,
    /// GET and SET under each AOF policy.
    Aof,
    /// The same by the stock client.
    #[strum(serialize = "redis-benchmark")]
    Stock,
    /// SET under `always`, beside the device, `everysec`, and a slow device.
    Always,
    /// GET and SET at a fixed rate.
    Latency,
    /// Memory, BGSAVE, start from RDB and from AOF.
    Persistence,
    /// One command on a value of a million items.
    Large,
    /// SET at a fixed rate while snapshots are made.
    Tail,
    /// Instructions of GET and SET, by callgrind.
    Instructions,
    /// GET and SET as keys, connections and values grow.
    Scaling,
}

impl Section {
    fn name(self) -> &'static str {
        self.into()
    }
}

/// The AOF settings compared.
const AOF_MODES: [&str; 3] = ["off", "everysec", "always"];
/// Latencies shown.
const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")];

/// The ratio wanted of GET and SET, from the keyspace up and at this pipeline; the issue on speed has the reasons.
fn throughput_goal(keys: u64, pipeline: u64) -> Option<f64> {
    let goals = match keys {
        ..500_000 => [1.25, 1.7, 2.5],
        500_000..3_000_000 => [1.25, 2.2, 4.0],
        _ => [1.25, 3.0, 5.0],
    };
    let index = [1, 16, 64].iter().position(|known| *known == pipeline)?;
    Some(goals[index])
}

/// The same with a log: `everysec` may cost 15 % of the ratio; what `always` is to reach is in `always.rs`.
fn aof_goal(mode: &str, keys: u64, pipeline: u64) -> Option<f64> {
    const EVERYSEC_SHARE: f64 = 0.85;
    let goal = throughput_goal(keys, pipeline)?;
    match mode {
        "off" => Some(goal),
        "everysec" => Some((goal * EVERYSEC_SHARE * 100.0).round() / 100.0),
        _ => None,
    }
}

/// The same for other commands.
const OTHER_COMMANDS_GOAL: f64 = 1.5;

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
    /// How much longer a sync takes on the slow device.
    pub slow_sync: Duration,
    /// Sizes of the scaling section.
    pub sweeps: Sweeps,
    /// Folder for its plots, if they are wanted.
    pub plots: Option<PathBuf>,
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
            Section::Stock => stock::add_stock(config, &mut table)?,
            Section::Always => always::add_always(config, &mut table)?,
            Section::Persistence => {
                life::add_persistence(config, &mut table)?;
                memory::add_collections(config, &mut table)?;
            }
            Section::Large => large::add_large(config, &mut table)?,
            Section::Tail => tail::add_tail(config, &mut table)?,
            Section::Instructions => instructions::add_instructions(config, &mut table)?,
            Section::Scaling => scaling::add_scaling(config, &mut table)?,
        }
    }
    os::unpin()?;
    Ok(table)
}

fn add_throughput(config: &Config, table: &mut Table) -> io::Result<()> {
    for name in &config.workloads {
        let is_basic = is_basic(name);
        let keyspaces = if is_basic { &config.keys[..] } else { &config.keys[..1] };
        for keys in keyspaces {
            let workload = Workload::new(name, *keys, config.value_size);
            let mut fleet = Fleet::start(config, "off")?;
            fleet.preload(&workload)?;
            for &pipeline in &config.pipelines {
                let parameters = format!("{keys} keys, pipeline {pipeline}");
                let goal = match is_basic {
                    true => throughput_goal(*keys, pipeline),
                    false => (pipeline == 16).then_some(OTHER_COMMANDS_GOAL),
                };
                fleet.add_closed(config, table, &workload, pipeline, Conditions { parameters, goal })?;
            }
        }
    }
    Ok(())
}

fn is_basic(name: &str) -> bool {
    matches!(name, "GET" | "SET")
}

fn add_aof(config: &Config, table: &mut Table) -> io::Result<()> {
    let keys = config.keys[0];
    for mode in AOF_MODES {
        for name in config.workloads.iter().filter(|name| is_basic(name)) {
            let workload = Workload::new(name, keys, config.value_size);
            let mut fleet = Fleet::start(config, mode)?;
            fleet.preload(&workload)?;
            for &pipeline in &config.pipelines {
                let parameters = format!("AOF {mode}, {keys} keys, pipeline {pipeline}");
                let goal = aof_goal(mode, keys, pipeline);
                fleet.add_closed(config, table, &workload, pipeline, Conditions { parameters, goal })?;
            }
        }
    }
    Ok(())
}

fn add_latency(config: &Config, table: &mut Table) -> io::Result<()> {
    for (name, mode) in [("GET", "off"), ("SET", "off"), ("SET", "everysec"), ("SET", "always")] {
        let workload = Workload::new(name, config.keys[0], config.value_size);
        let mut fleet = Fleet::start(config, mode)?;
        fleet.preload(&workload)?;
        let samples = fleet.measure(config, &workload, Pace::Open(config.rate))?;
        for (fraction, label) in QUANTILES {
            table.add(Row {
                measurement: format!("{name} {label}"),
                parameters: format!("AOF {mode}, {} keys, {}/s", config.keys[0], config.rate),
                unit: "µs",
                better: Better::Lower,
                samples: figures(&samples, |sample| {
                    Some(sample.outcome.latency.quantile(fraction)? as f64 / 1e3)
                }),
                goal: None,
                remark: remark(&samples, Pace::Open(config.rate)),
            });
        }
    }
    Ok(())
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
        sections: args.choices("--sections", Section::VARIANTS, Section::name)?,
        workloads: args.choices("--workloads", &Workload::NAMES, |name| name)?,
        pipelines: args.numbers("--pipelines", default_pipelines)?,
        keys: args.numbers("--keys", default_keys)?,
        rounds: args.number("--rounds", quick_or(1.0, 3.0) as u64)?,
        duration: Duration::from_secs_f64(args.number("--seconds", quick_or(0.25, 1.0))?),
        clients: args.number("--clients", 50)?,
        value_size: args.number("--value-size", 64)?,
        rate: args.number("--rate", 20_000.0)?,
        slow_sync: Duration::from_millis(args.number("--slow-sync-ms", 5)?),
        sweeps: Sweeps {
            keys: args.numbers("--sweep-keys", &[10_000, 100_000, 1_000_000, 10_000_000])?,
            clients: args.numbers("--sweep-clients", &[1, 10, 100, 1_000, 10_000])?,
            value_sizes: args.numbers("--sweep-values", &[16, 256, 4_096, 65_536, 1_048_576])?,
        },
        plots: args.text("--plots")?.map(PathBuf::from),
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

    /// A benchmark is a test with a small size: a server compared with itself, every section once. Counting instructions takes
    /// minutes whatever the size.
    #[test]
    fn a_small_bench_has_a_figure_in_every_cell() {
        let Some(command) = ServerCommand::stock_redis() else { return };
        let line = "--sections all --workloads all --pipelines 2 --keys 500 --rounds 1 --seconds 0.05 --clients 2 \
                    --rate 500 --sweep-keys 500 --sweep-clients 2 --sweep-values 16 --server-core 0 --client-core 0";
        let mut config = read_config(&mut Args::new(line.split_whitespace().map(String::from))).unwrap();
        config.sections.retain(|section| *section != Section::Instructions);
        config.servers = vec![command.clone(), ServerCommand { name: "peer".into(), ..command }];
        let table = run(&config).unwrap();
        let throughput = (Workload::NAMES.len() + AOF_MODES.len() * 2 * 2) * 2;
        let rows = throughput
            + 7
            + 4 * QUANTILES.len()
            + (7 + memory::KINDS.len())
            + large::COMMANDS.len()
            + 2 * QUANTILES.len()
            + 3 * 3;
        assert_eq!(table.rows().len(), rows);
        for row in table.rows() {
            assert!(row.samples.iter().all(|samples| samples.len() == 1), "{row:?}");
        }
    }
}
