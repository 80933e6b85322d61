//! The host's contract, seen from outside: `perdura-harness crash contract` and `crash enumerate`.
//!
//! Exists because the engine counts on the order in which a host does what it is asked (`engine/core/src/host.rs`), and
//! because a trace of system calls needs neither root nor FUSE: every machine that has `strace` can check the order and
//! cut the power between any two calls.
//!
//! ```text
//! client ⇄ server under strace ⇒ calls (`trace.rs`) ⇒ rules (`order.rs`)
//!                                                  ⇒ directories after a crash (`enumerate.rs`) ⇒ server ⇒ verdict
//! ```
//!
//! Always true: one client pushes numbers onto one list, one at a time, so what is owed at any line of the trace is the
//! highest number answered by then, and what may be there is a list without holes.
//!
//! Not here: real file systems (`power/`).

mod enumerate;
mod order;
mod trace;

use super::report::{POWER_COLUMNS, PowerReport, Violation};
use super::survey::{Columns, Survey};
use super::{Missing, Policy};
use crate::args::{Args, UsageError};
use crate::client::{Client, Reply};
use crate::process::{Launch, Server, ServerCommand, StartError, TempDir, Victims};
use crate::rng::Rng;
use enumerate::{Disk, Keep};
use order::{breaches, element, pushed};
use std::fs;
use std::io;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use strum::VariantArray;
use trace::{CALLS, Call, Event};

/// How both are called.
pub const USAGE: &str =
    "perdura-harness crash contract [--server name=command] [--pushes 200] [--run-with always] [--setting …]
    [--must-run]
perdura-harness crash enumerate [--server name=command] [--pushes 200] [--states 400] [--seed 1] [--setting …]
    [--must-run]";

/// The list.
const KEY: &str = "list";
/// Largest filling of one element: more than one page, so that writes can be torn.
const FILLING_MAX: u64 = 6000;
/// How long snapshots and rewrites may go on after the last push.
const PATIENCE: Duration = Duration::from_secs(30);

/// A run to be traced.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server and its settings.
    pub launch: Launch,
    /// The policy it runs under; it is held to `always`.
    pub policy: Policy,
    /// Elements pushed.
    pub pushes: u64,
    /// Directories given to the server.
    pub states: u64,
    /// Decides elements and directories.
    pub seed: u64,
}

/// Why this machine cannot trace, if it cannot.
pub fn missing() -> Option<Missing> {
    match Command::new("strace").args(["-o", "/dev/null", "true"]).output() {
        Err(_) => Some(Missing::Program("strace".into())),
        Ok(output) if !output.status.success() => {
            Some(Missing::Facility("no leave for strace to trace".into()))
        }
        Ok(_) => None,
    }
}

/// What the order of calls was like.
#[derive(Debug)]
pub struct OrderReport {
    /// Calls that matter.
    pub calls: usize,
    /// Replies to pushes among them.
    pub replies: usize,
    /// Every place where the order was wrong.
    pub breaches: Vec<String>,
}

/// Traces a run and checks the order of its calls.
///
/// # Errors
/// When the machine fails.
pub fn check_order(config: &Config) -> io::Result<OrderReport> {
    let events = record(config)?;
    let is_reply = |event: &&Event| matches!(&event.call, Call::Send { bytes } if pushed(bytes).is_some());
    Ok(OrderReport {
        calls: events.len(),
        replies: events.iter().filter(is_reply).count(),
        breaches: breaches(&events),
    })
}

/// Traces a run and gives the server directories that a loss of power may leave.
///
/// # Errors
/// When the machine fails. What the server does wrong is a finding.
pub fn enumerate(config: &Config) -> io::Result<PowerReport> {
    let events = record(config)?;
    let mut report = PowerReport::default();
    let mut rng = Rng::at(config.seed, u64::MAX, 3);
    let mut instants: Vec<usize> =
        (0..config.states).map(|_| rng.below(events.len() as u64) as usize).collect();
    instants.sort_unstable();
    let mut disk = Disk::default();
    let mut taken_in = 0;
    let launch = Policy::Always.apply(config.launch.clone());
    for (number, instant) in instants.into_iter().enumerate() {
        events[taken_in..=instant].iter().for_each(|event| disk.take_in(event));
        taken_in = instant + 1;
        let line = events[instant].end;
        let keep = Keep::VARIANTS[number % Keep::VARIANTS.len()];
        let dir = TempDir::new("perdura-enumerate")?;
        disk.crash_into(dir.path(), keep, &mut rng)?;
        let mut server = Server::prepare_at(launch.clone(), dir.path())?;
        report.points += 1;
        let violation = match server.restart() {
            Ok(()) => {
                report.slowest_recovery = report.slowest_recovery.max(server.ready_after());
                judge(&mut server.client()?, answered(&events, line))?
            }
            Err(StartError::Io(error)) => return Err(error),
            Err(refused) => Some(Violation::RefusedStart(refused.to_string())),
        };
        let story = || format!("after line {line}, {keep:?}");
        report.findings.extend(violation.map(|violation| (story(), violation)));
    }
    Ok(report)
}

/// Pushes answered when the given line of the trace was written.
fn answered(events: &[Event], line: usize) -> u64 {
    let replies = events.iter().filter(|event| event.begin <= line).filter_map(|event| match &event.call {
        Call::Send { bytes } => pushed(bytes),
        _ => None,
    });
    replies.max().unwrap_or(0)
}

/// The list must have no holes and no fewer elements than were answered.
fn judge(client: &mut Client, answered: u64) -> io::Result<Option<Violation>> {
    let reply = client.call(&["LRANGE", KEY, "0", "-1"])?;
    let Some(elements) = reply.into_elements() else {
        return Ok(Some(Violation::Unreadable(io::ErrorKind::InvalidData.into())));
    };
    let is_in_place = |(number, found): (usize, &Reply)| {
        found.as_bytes().is_some_and(|bytes| bytes.starts_with(element(number as u64).as_bytes()))
    };
    let recovered = elements.len() as u64;
    if let Some(hole) = elements.iter().enumerate().position(|place| !is_in_place(place)) {
        let differing = format!("element {hole}");
        return Ok(Some(Violation::NotAPrefix { client: 0, nearest: hole as u64, differing }));
    }
    let is_lost = recovered < answered;
    Ok(is_lost.then_some(Violation::Lost { client: 0, acknowledged: answered, recovered }))
}

/// Runs the script under strace.
fn record(config: &Config) -> io::Result<Vec<Event>> {
    let folder = TempDir::new("perdura-trace")?;
    let output = folder.path().join("calls");
    let traced = folder.path().join("data");
    fs::create_dir(&traced)?;
    let traced = traced.canonicalize()?;
    let mut words: Vec<String> =
        ["strace", "-f", "-y", "-xx", "-s", "1000000", "-e", "signal=none", "-e"].map(String::from).into();
    words.push(format!("trace={CALLS}"));
    // What goes through a ring is not seen here, so there is none.
    words.extend(["-e", "inject=io_uring_setup:error=ENOSYS", "-o"].map(String::from));
    words.push(output.display().to_string());
    let mut launch = config.policy.apply(config.launch.clone());
    words.append(&mut launch.command.words);
    launch.command = ServerCommand { words, ..launch.command };
    let mut server = Server::prepare_at(launch, &traced)?;
    server.restart().map_err(io::Error::other)?;
    let outcome = play(config, &server);
    server.kill(Victims::ServerAndChildren)?;
    outcome?;
    Ok(trace::parse(&fs::read_to_string(&output)?, &traced))
}

/// Pushes, with two rewrites and a snapshot on the way.
fn play(config: &Config, server: &Server) -> io::Result<()> {
    let mut client = server.client()?;
    let mut rng = Rng::at(config.seed, 0, 0);
    let quarter = config.pushes / 4;
    for number in 0..config.pushes {
        let filling = "x".repeat(rng.below(FILLING_MAX) as usize);
        let reply = client.call(&["RPUSH", KEY, &format!("{}{filling}", element(number))])?;
        if reply != Reply::Integer(number as i64 + 1) {
            return Err(io::Error::other(format!("push {number} was answered by {reply:?}")));
        }
        let command = match number + 1 {
            part if part == quarter || part == 3 * quarter => "BGREWRITEAOF",
            part if part == 2 * quarter => "BGSAVE SCHEDULE",
            _ => continue,
        };
        match client.say(command)? {
            // The one before may still run.
            Reply::Error(error) if !error.contains("in progress") => {
                return Err(io::Error::other(format!("{command}: {error}")));
            }
            _ => {}
        }
    }
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let info = client.say("INFO persistence")?;
        let text = String::from_utf8_lossy(info.as_bytes().unwrap_or_default()).into_owned();
        let idle = ["rdb_bgsave_in_progress:0", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
        if idle.iter().all(|line| text.contains(line)) {
            // The last removals happen after that.
            thread::sleep(Duration::from_millis(100));
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the rewrite never ended"))
}

fn read_config(args: &mut Args) -> Result<Config, UsageError> {
    let launch = super::read_launch(args)?;
    let policy = match args.text("--run-with")? {
        Some(text) => {
            let mut choice = Args::new(["--run-with".into(), text]);
            choice.choices("--run-with", &Policy::PROMISING, Policy::name)?[0]
        }
        None => Policy::Always,
    };
    Ok(Config {
        launch,
        policy,
        pushes: args.number("--pushes", 200)?,
        states: args.number("--states", 400)?,
        seed: args.number("--seed", 1)?,
    })
}

/// `crash contract`: what was checked, and every breach.
///
/// # Errors
/// A wrong command line, or a machine that fails.
pub(super) fn survey_order(mut args: Args, survey: &mut Survey) -> Result<(), Box<dyn std::error::Error>> {
    let config = read_config(&mut args)?;
    args.finish()?;
    if let Some(missing) = missing() {
        return Ok(survey.skip("the host's contract", &missing)?);
    }
    let title = format!("crash contract: server {}, seed {}", config.launch.command.name, config.seed);
    survey.begin(&title, &ORDER_COLUMNS)?;
    let report = check_order(&config)?;
    let figures = [report.calls, report.replies, report.breaches.len()];
    survey.row(&[config.policy.name()], figures.iter().map(usize::to_string).collect())?;
    report.breaches.into_iter().try_for_each(|breach| survey.finding(breach))?;
    Ok(())
}

/// `crash enumerate`: one row, and every finding.
///
/// # Errors
/// A wrong command line, or a machine that fails.
pub(super) fn survey_states(mut args: Args, survey: &mut Survey) -> Result<(), Box<dyn std::error::Error>> {
    let config = read_config(&mut args)?;
    args.finish()?;
    if let Some(missing) = missing() {
        return Ok(survey.skip("crash states of a trace", &missing)?);
    }
    let title = format!("crash enumerate: server {}, seed {}", config.launch.command.name, config.seed);
    survey.begin(&title, &POWER_COLUMNS)?;
    let report = enumerate(&config)?;
    survey.row(&[config.policy.name(), "strict model", "rewrite, snapshot"], report.outcome())?;
    for (what, violation) in &report.findings {
        survey.finding(format!("{what}: {violation}"))?;
    }
    Ok(())
}

/// Of `crash contract`.
static ORDER_COLUMNS: Columns =
    Columns { places: &["policy"], outcomes: &["system calls", "replies", "breaches of the order"] };
