//! Counts the instructions that a server spends on one request: `perdura-harness instructions`.
//!
//! Exists because times depend on who else uses the machine and this number does not: the same requests run the same
//! instructions. It counts those outside of the kernel, by valgrind's callgrind, which must be installed.
//!
//! A server is run twice, with N and with 2N requests; the difference belongs to N requests alone, and start, preload and
//! end cancel out. Requests are pipelined, and a batch is sent when the last one is answered.
//!
//! Not here: requests (`workload.rs`), what a cache miss costs (`bench.rs` measures time).

use crate::args::{Args, UsageError};
use crate::load::{self, Limit, Load, Pace};
use crate::process::{Launch, Server, ServerCommand, TempDir};
use crate::workload::Workload;
use std::fs;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// How `instructions` is called.
pub const USAGE: &str =
    "perdura-harness instructions [--server name=command]… [--workloads GET,SET] [--pipelines 1,16,64]
    [--keys 10000] [--requests 20000] [--value-size 16]";

/// Under valgrind everything takes fifty times as long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the command.
///
/// # Errors
/// Wrong arguments, a server that does not start or end, no valgrind.
pub fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let named = args.texts("--server")?;
    let mut servers = Vec::new();
    for text in &named {
        servers.push(
            ServerCommand::parse(text)
                .ok_or_else(|| UsageError(format!("--server {text}: not name=command")))?,
        );
    }
    if servers.is_empty() {
        servers.extend(ServerCommand::perdura().into_iter().chain(ServerCommand::stock_redis()));
    }
    let workloads = args.text("--workloads")?.unwrap_or_else(|| "GET,SET".into());
    let pipelines: Vec<u64> = args.numbers("--pipelines", &[1, 16, 64])?;
    let keys = args.number("--keys", 10_000)?;
    let requests = args.number("--requests", 20_000)?;
    let value_size = args.number("--value-size", 16)?;
    args.finish()?;
    println!("Instructions outside of the kernel per request; {keys} keys, values of {value_size} bytes.\n");
    println!(
        "| workload | pipeline |{}",
        servers.iter().map(|server| format!(" {} |", server.name)).collect::<String>()
    );
    println!("|---|---:|{}", "---:|".repeat(servers.len()));
    for name in workloads.split(',') {
        let name = *Workload::NAMES.iter().find(|known| **known == name).ok_or_else(|| {
            UsageError(format!("--workloads {name}: not one of {}", Workload::NAMES.join(", ")))
        })?;
        let workload = Workload::new(name, keys, value_size);
        for &pipeline in &pipelines {
            let mut line = format!("| {name} | {pipeline} |");
            for server in &servers {
                let once = count(server, &workload, pipeline, requests)?;
                let twice = count(server, &workload, pipeline, 2 * requests)?;
                line += &format!(" {} |", twice.saturating_sub(once) / requests);
            }
            println!("{line}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Instructions of one life of a server that answers so many requests of one client.
fn count(command: &ServerCommand, workload: &Workload, pipeline: u64, requests: u64) -> io::Result<u64> {
    let dir = TempDir::new("perdura-instructions")?;
    let report = dir.path().join("callgrind.out");
    let mut watched = command.clone();
    let valgrind =
        ["valgrind".into(), "--tool=callgrind".into(), format!("--callgrind-out-file={}", report.display())];
    watched.words.splice(0..0, valgrind);
    let launch = Launch { ready_timeout: PATIENCE, ..Launch::new(watched).setting("appendonly", "no") };
    let mut server = Server::start(launch).map_err(|error| io::Error::other(error.to_string()))?;
    let address = server.address();
    let run = |templates: &[_], count, pipeline| {
        let load = Load {
            address: &address,
            clients: 1,
            templates,
            pace: Pace::Closed(pipeline),
            limit: Limit::Count(count),
            seed: 1,
        };
        let outcome = load::run(&load)?;
        outcome.first_error.map_or(Ok(()), |error| Err(io::Error::other(error)))
    };
    if let Some(preload) = &workload.preload {
        run(std::slice::from_ref(&preload.template), preload.count, 64)?;
    }
    run(&workload.templates, requests, pipeline)?;
    server.terminate(PATIENCE)?;
    let text = fs::read_to_string(&report)?;
    total(&text).ok_or_else(|| io::Error::other("callgrind's report has no total"))
}

/// The sum over all functions, as callgrind's report ends with it.
fn total(report: &str) -> Option<u64> {
    let line = report
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_is_found_wherever_callgrind_writes_it() {
        assert_eq!(total("version: 1\nsummary: 12\nfn=(1)\n"), Some(12));
        assert_eq!(total("events: Ir\nfn=(1)\n1 2\n\ntotals: 34567\n"), Some(34_567));
        assert_eq!(total("events: Ir\n"), None);
    }
}
