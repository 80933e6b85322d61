//! Servers measured in turn: started alike, filled alike, loaded alike.
//!
//! Exists so that every section compares the same way.
//!
//! Always true: all servers of a fleet run on one core and only one has work; in every round another one begins, so
//! that no server always meets a colder or busier machine; a server that answered with errors has no figure.
//!
//! Not here: which rows there are (`bench.rs`), how load is made (`load.rs`).

use super::{CLIENT_BUSY_MAX, Config, FILL_CLIENTS, FILL_PIPELINE, WARM_UP_SHARE};
use crate::load::{self, Limit, Load, Outcome, Pace};
use crate::os;
use crate::process::{self, Launch, Server, ServerCommand};
use crate::table::{Better, Row, Table};
use crate::workload::Workload;
use std::io;
use std::time::Duration;

/// More connections than any measurement makes.
const CLIENTS_MAX: &str = "12000";

/// All servers of a row, running at the same time; the ones not measured are idle.
pub(super) struct Fleet {
    servers: Vec<Server>,
}

/// One measurement of one server.
pub(super) struct Sample {
    pub(super) outcome: Outcome,
    pub(super) server_cpu: Duration,
}

impl Fleet {
    pub(super) fn start(config: &Config, aof_mode: &str) -> io::Result<Fleet> {
        let servers: io::Result<Vec<Server>> =
            config.servers.iter().map(|command| start(config, command, aof_mode)).collect();
        servers.map(|servers| Fleet { servers })
    }

    pub(super) fn preload(&self, workload: &Workload) -> io::Result<()> {
        self.servers.iter().try_for_each(|server| fill(server, workload))
    }

    /// Memory of each server resident now, bytes.
    pub(super) fn resident_sizes(&self) -> io::Result<Vec<u64>> {
        self.servers.iter().map(|server| process::resident_size(server.pid())).collect()
    }

    /// Adds throughput and CPU time of a closed loop; `goal` is for the throughput.
    pub(super) fn add_closed(
        &mut self,
        config: &Config,
        table: &mut Table,
        workload: &Workload,
        pipeline: u64,
        conditions: Conditions,
    ) -> io::Result<()> {
        let pace = Pace::Closed(pipeline);
        let Conditions { parameters, goal } = conditions;
        let samples = self.measure(config, workload, pace)?;
        table.add(Row {
            measurement: workload.name.into(),
            parameters: parameters.clone(),
            unit: "requests/s",
            better: Better::Higher,
            samples: figures(&samples, |sample| Some(sample.outcome.throughput())),
            goal: None,
            remark: remark(&samples, pace),
        });
        table.add(Row {
            measurement: format!("{}, server CPU", workload.name),
            parameters,
            unit: "ns/request",
            better: Better::Lower,
            samples: figures(&samples, |sample| Some(sample.cpu_per_request())),
            goal,
            remark: String::new(),
        });
        Ok(())
    }

    /// Per server, one sample per round.
    pub(super) fn measure(
        &mut self,
        config: &Config,
        workload: &Workload,
        pace: Pace,
    ) -> io::Result<Vec<Vec<Sample>>> {
        eprintln!("measuring {}, {pace:?}", workload.name);
        self.take_turns(config.rounds, |server, round| measure_one(config, server, workload, pace, round))
    }

    /// Per server, one result per round; servers take turns, and every round another one begins.
    pub(super) fn take_turns<T>(
        &mut self,
        rounds: u64,
        mut measure: impl FnMut(&mut Server, u64) -> io::Result<T>,
    ) -> io::Result<Vec<Vec<T>>> {
        let mut results: Vec<Vec<T>> = self.servers.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            for turn in 0..self.servers.len() {
                let index = (turn + round as usize) % self.servers.len();
                results[index].push(measure(&mut self.servers[index], round)?);
            }
        }
        Ok(results)
    }
}

/// What a row says beside its figures.
pub(super) struct Conditions {
    pub(super) parameters: String,
    pub(super) goal: Option<f64>,
}

impl Sample {
    /// Nanoseconds.
    pub(super) fn cpu_per_request(&self) -> f64 {
        self.server_cpu.as_nanos() as f64 / self.outcome.replies as f64
    }
}

/// Warms a server up and loads it.
pub(super) fn measure_one(
    config: &Config,
    server: &Server,
    workload: &Workload,
    pace: Pace,
    seed: u64,
) -> io::Result<Sample> {
    let address = server.address();
    let mut load = Load {
        address: &address,
        clients: config.clients,
        templates: &workload.templates,
        pace,
        limit: Limit::Time(config.duration.mul_f64(WARM_UP_SHARE)),
        seed,
    };
    load::run(&load)?;
    load.limit = Limit::Time(config.duration);
    let cpu_before = os::process_cpu_time(server.pid())?;
    let outcome = load::run(&load)?;
    let server_cpu = os::process_cpu_time(server.pid())?.saturating_sub(cpu_before);
    Ok(Sample { outcome, server_cpu })
}

/// Figures of each server; none for one that answered with errors.
pub(super) fn figures(samples: &[Vec<Sample>], figure: impl Fn(&Sample) -> Option<f64>) -> Vec<Vec<f64>> {
    let of_server = |samples: &Vec<Sample>| {
        let is_refused = samples.iter().any(|sample| sample.outcome.first_error.is_some());
        if is_refused { Vec::new() } else { samples.iter().filter_map(&figure).collect() }
    };
    samples.iter().map(of_server).collect()
}

/// What a reader must know to trust the row: errors, and a client that had no time to spare.
pub(super) fn remark(samples: &[Vec<Sample>], pace: Pace) -> String {
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

pub(super) fn start(config: &Config, command: &ServerCommand, aof_mode: &str) -> io::Result<Server> {
    // A rewrite that begins by itself would fall into one server's measurement and not into another's.
    let launch = Launch::new(command.clone())
        .pinned_to(config.server_core)
        .setting("auto-aof-rewrite-percentage", "0")
        .setting("maxclients", CLIENTS_MAX);
    let launch = match aof_mode {
        "off" => launch.setting("appendonly", "no"),
        policy => launch.setting("appendonly", "yes").setting("appendfsync", policy),
    };
    Server::start(launch).map_err(|error| io::Error::other(format!("{}: {error}", command.name)))
}

pub(super) fn fill(server: &Server, workload: &Workload) -> io::Result<()> {
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
