//! The stock client: GET and SET by `redis-benchmark` under each AOF policy.
//!
//! Exists because everybody knows its figures. From pipeline 16 on the client itself is the limit, so the server's
//! CPU time per request tells more than the requests per second.
//!
//! Not here: our own load (`fleet.rs`, `load.rs`).

use super::fleet::Fleet;
use super::{AOF_MODES, Config, aof_goal};
use crate::client::Address;
use crate::os;
use crate::process::Server;
use crate::table::{Better, Row, Table};
use std::io;
use std::process::Command;

/// Requests per second assumed when a run is cut to the wanted length, up to the pipeline that still scales.
const RATE_EXPECTED: f64 = 40_000.0;
const PIPELINE_SCALING_MAX: u64 = 16;

/// What one run of redis-benchmark gave.
pub(crate) struct Run {
    /// Requests a second.
    pub throughput: f64,
    /// CPU time of the server for one of them, nanoseconds.
    pub cpu_per_request: f64,
}

/// What redis-benchmark is to send.
pub(crate) struct Load<'a> {
    /// The test's name, which is the command's.
    pub command: &'a str,
    /// Requests in all.
    pub requests: u64,
    /// Different keys.
    pub keys: u64,
    /// Connections.
    pub clients: usize,
    /// Requests sent at once on each.
    pub pipeline: u64,
    /// Bytes of a value.
    pub value_size: usize,
}

/// Adds throughput and server CPU of every workload redis-benchmark shares with us, policy and pipeline.
pub(super) fn add_stock(config: &Config, table: &mut Table) -> io::Result<()> {
    // SET first, so that GET finds what it asks for.
    let commands: Vec<&str> =
        ["SET", "GET"].into_iter().filter(|name| config.workloads.contains(name)).collect();
    for mode in AOF_MODES {
        let mut fleet = Fleet::start(config, mode)?;
        for command in &commands {
            for &pipeline in &config.pipelines {
                eprintln!("measuring {command} by redis-benchmark, AOF {mode}, pipeline {pipeline}");
                let runs = fleet
                    .take_turns(config.rounds, |server, _| run_once(config, server, command, pipeline))?;
                let row = |measurement, unit, better, goal, figure: fn(&Run) -> f64| Row {
                    measurement,
                    parameters: format!("AOF {mode}, {} keys, pipeline {pipeline}", config.keys[0]),
                    unit,
                    better,
                    samples: runs.iter().map(|runs| runs.iter().map(figure).collect()).collect(),
                    goal,
                    remark: String::new(),
                };
                let name = format!("redis-benchmark {command}");
                let goal = aof_goal(mode, config.keys[0], pipeline);
                table.add(row(name.clone(), "requests/s", Better::Higher, None, |run| run.throughput));
                table.add(row(format!("{name}, server CPU"), "ns/request", Better::Lower, goal, |run| {
                    run.cpu_per_request
                }));
            }
        }
    }
    Ok(())
}

fn run_once(config: &Config, server: &mut Server, command: &str, pipeline: u64) -> io::Result<Run> {
    let scale = pipeline.min(PIPELINE_SCALING_MAX) as f64;
    let requests = (config.duration.as_secs_f64() * RATE_EXPECTED * scale).ceil() as u64;
    let (keys, clients, value_size) = (config.keys[0], config.clients, config.value_size);
    run(server, &Load { command, requests, keys, clients, pipeline, value_size })
}

/// Runs redis-benchmark once.
///
/// # Errors
/// It is not installed, or says nothing that can be read; the server is gone.
pub(crate) fn run(server: &Server, load: &Load<'_>) -> io::Result<Run> {
    let Address::Tcp(address) = server.address() else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "redis-benchmark goes over TCP"));
    };
    let cpu_before = os::process_cpu_time(server.pid())?;
    let output = Command::new("redis-benchmark")
        .args(["--csv", "-t", load.command])
        .args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()])
        .args(["-n", &load.requests.to_string(), "-r", &load.keys.to_string()])
        .args(["-c", &load.clients.to_string(), "-P", &load.pipeline.to_string()])
        .args(["-d", &load.value_size.to_string()])
        .output()?;
    let server_cpu = os::process_cpu_time(server.pid())?.saturating_sub(cpu_before);
    let text = String::from_utf8_lossy(&output.stdout);
    let throughput = throughput_in(&text, load.command)
        .ok_or_else(|| io::Error::other(format!("redis-benchmark -t {} said: {text}", load.command)))?;
    Ok(Run { throughput, cpu_per_request: server_cpu.as_nanos() as f64 / load.requests as f64 })
}

/// The second field of the line that begins with the command, both in quotes.
fn throughput_in(csv: &str, command: &str) -> Option<f64> {
    let line = csv.lines().find(|line| line.starts_with(&format!("\"{command}\"")))?;
    line.split(',').nth(1)?.trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_throughput_is_read_from_the_line_of_the_command() {
        let csv =
            "\"test\",\"rps\",\"avg_latency_ms\"\n\"SET\",\"41580.04\",\"0.6\"\n\"GET\",\"1.5\",\"2\"\n";
        assert_eq!(throughput_in(csv, "SET"), Some(41580.04));
        assert_eq!(throughput_in(csv, "GET"), Some(1.5));
        assert_eq!(throughput_in(csv, "INCR"), None);
        assert_eq!(throughput_in("Could not connect", "GET"), None);
    }
}
