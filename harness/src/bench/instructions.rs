//! Instructions per request, counted by callgrind: the figure that does not depend on the neighbours.
//!
//! Always true: counted is what the server's own code does, without the kernel's part; a server's start and end are not in
//! the figure, because it is the difference between a long life and a short one.
//!
//! Not here: time (`fleet.rs`).

use super::fleet::{fill, start};
use super::{Conditions, Config, is_basic};
use crate::load::{self, Limit, Load, Pace};
use crate::process::{ServerCommand, TempDir};
use crate::table::{Better, Row, Table};
use crate::workload::Workload;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Requests of a short life, and of a long one.
const REQUESTS: [u64; 2] = [20_000, 120_000];
/// Writing the counts out takes its time.
const END_PATIENCE: Duration = Duration::from_secs(60);

/// Adds a row for GET and SET at each pipeline; nothing where there is no valgrind.
pub(super) fn add_instructions(config: &Config, table: &mut Table) -> io::Result<()> {
    let found = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!("instructions: not counted, valgrind is not installed");
        return Ok(());
    }
    for name in config.workloads.iter().filter(|name| is_basic(name)) {
        let workload = Workload::new(name, config.keys[0], config.value_size);
        for &pipeline in &config.pipelines {
            eprintln!("counting {name}, pipeline {pipeline}");
            let conditions = Conditions {
                parameters: format!("{} keys, pipeline {pipeline}", config.keys[0]),
                goal: None,
            };
            add_row(config, table, &workload, pipeline, conditions)?;
        }
    }
    Ok(())
}

fn add_row(
    config: &Config,
    table: &mut Table,
    workload: &Workload,
    pipeline: u64,
    conditions: Conditions,
) -> io::Result<()> {
    let mut samples = Vec::new();
    for command in &config.servers {
        let [short, long] = REQUESTS;
        let fewer = instructions(config, command, workload, pipeline, short)?;
        let more = instructions(config, command, workload, pipeline, long)?;
        samples.push(vec![more.saturating_sub(fewer) as f64 / (long - short) as f64]);
    }
    table.add(Row {
        measurement: format!("{}, instructions", workload.name),
        parameters: conditions.parameters,
        unit: "per request",
        better: Better::Lower,
        samples,
        goal: conditions.goal,
        remark: String::new(),
    });
    Ok(())
}

/// Instructions of one life in which so many requests are answered.
fn instructions(
    config: &Config,
    command: &ServerCommand,
    workload: &Workload,
    pipeline: u64,
    requests: u64,
) -> io::Result<u64> {
    let dir = TempDir::new("perdura-callgrind")?;
    let counts = dir.path().join("counts");
    let mut server = start(config, &under_callgrind(command, &counts), "off")?;
    fill(&server, workload)?;
    let outcome = load::run(&Load {
        address: &server.address(),
        clients: config.clients,
        templates: &workload.templates,
        pace: Pace::Closed(pipeline),
        limit: Limit::Count(requests),
        seed: 0,
    })?;
    if let Some(error) = outcome.first_error {
        return Err(io::Error::other(format!("{}: {error}", command.name)));
    }
    // Not by a signal: one that comes while the server waits in io_uring_enter is handed on by valgrind only once that returns.
    drop(server.client()?.call(&["SHUTDOWN", "NOSAVE"]));
    server.wait_for_exit(END_PATIENCE)?;
    let text = std::fs::read_to_string(&counts)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.ok_or_else(|| io::Error::other(format!("{}: callgrind gave no total", command.name)))
}

fn under_callgrind(command: &ServerCommand, counts: &Path) -> ServerCommand {
    let file = format!("--callgrind-out-file={}", counts.display());
    let callgrind = ["valgrind", "--quiet", "--tool=callgrind", &file].map(String::from);
    ServerCommand {
        name: command.name.clone(),
        words: callgrind.into_iter().chain(command.words.clone()).collect(),
    }
}
