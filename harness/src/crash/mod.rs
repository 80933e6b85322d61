//! Crashes of real processes on real file systems, and what the server still holds: `perdura-harness crash …`.
//!
//! Exists because simulation proves the engine against a model; this proves the model and the host: the real binary,
//! the real kernel.
//!
//! Always true: a part that this machine cannot run says so and is not counted as run; what the server does wrong is a
//! finding, what the machine does wrong is an error.
//!
//! Not here: each part (`kill.rs`, `power/`, `errors.rs`, `contract/`), what is written (`record.rs`), what is right afterwards (`verdict.rs`).

mod all;
pub mod contract;
pub mod disk;
pub mod errors;
mod judge;
pub mod kill;
mod leftovers;
pub mod power;
mod report;
mod stage;
mod verdict;

pub use report::{ErrorsReport, Finding, PowerReport, Report, Violation};

use crate::args::{Args, UsageError};
use crate::process::{Launch, ServerCommand};
use disk::FileSystem;
use std::process::ExitCode;
use std::time::Duration;

/// How each part is called.
pub fn usage() -> String {
    [kill::USAGE, power::USAGE, errors::USAGE, contract::USAGE, all::USAGE].join("\n")
}

/// Runs the part that the first word names.
///
/// # Errors
/// A wrong command line, or a machine that fails.
pub fn main(args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    // Before any other thread begins: what is started later must see the mounts.
    if FileSystem::ALL.iter().any(|file_system| disk::missing(*file_system).is_none()) {
        disk::enter_namespace()?;
    }
    run_part(args)
}

fn run_part(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match args.word().as_deref() {
        Some("kill") => kill::main(args),
        Some("power") => power::main(args),
        Some("errors") => errors::main(args),
        Some("contract") => contract::contract_main(args),
        Some("enumerate") => contract::enumerate_main(args),
        Some("all") => all::main(args),
        _ => Err(UsageError(format!("usage:\n{}", usage())).into()),
    }
}

/// Why this machine cannot run a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Something the kernel, or whoever runs us, does not give: nothing to be done here.
    Facility(String),
    /// A program: whoever wants the part to run installs it.
    Program(String),
}

impl Missing {
    /// Says plainly that `part` did not run; `--must-run` makes a failure of what could have been installed.
    fn tell(&self, part: &str, must_run: bool) -> ExitCode {
        match self {
            Missing::Facility(what) => println!("NOT RUN: {part}: this machine has {what}"),
            Missing::Program(what) => println!("NOT RUN: {part}: {what} is not installed"),
        }
        let is_failure = must_run && matches!(self, Missing::Program(_));
        if is_failure { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// The server that `--server` names, ours if none, with every `--setting`.
fn read_launch(args: &mut Args) -> Result<Launch, UsageError> {
    let command = match args.text("--server")? {
        Some(text) => ServerCommand::parse(&text)
            .ok_or_else(|| UsageError(format!("--server {text}: not name=command")))?,
        None => ServerCommand::perdura().ok_or_else(|| UsageError("no perdura-server found".into()))?,
    };
    let mut launch = Launch::new(command);
    for setting in args.texts("--setting")? {
        let (name, value) = setting
            .split_once('=')
            .ok_or_else(|| UsageError(format!("--setting {setting}: not name=value")))?;
        launch = launch.setting(name, value);
    }
    Ok(launch)
}

/// Which part of persistence a server is asked to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `appendfsync always`
    Always,
    /// `appendfsync everysec`
    Everysec,
    /// `appendfsync no`
    No,
    /// `appendonly no`, and snapshots on demand.
    Snapshots,
    /// `appendonly no`, judged as if it were `always`: shows that the judge sees a loss.
    Off,
}

/// By when a write that was answered under `everysec` is durable: `appendfsync-max-lag`, and some time for a machine
/// that is busy.
const EVERYSEC_WINDOW: Duration = Duration::from_millis(2_100);

impl Policy {
    /// Those under which a kill must lose nothing.
    pub const PROMISING: [Policy; 3] = [Policy::Always, Policy::Everysec, Policy::No];
    /// Those that keep something over a loss of power.
    pub const KEEPING: [Policy; 4] = [Policy::Always, Policy::Everysec, Policy::No, Policy::Snapshots];
    const ALL: [Policy; 4] = [Policy::Always, Policy::Everysec, Policy::No, Policy::Off];

    /// As written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Always => "always",
            Policy::Everysec => "everysec",
            Policy::No => "no",
            Policy::Snapshots => "snapshots",
            Policy::Off => "off",
        }
    }

    /// How long after its answer a write may still be lost with the power; `None` if for ever.
    fn window(self) -> Option<Duration> {
        match self {
            Policy::Always | Policy::Off => Some(Duration::ZERO),
            Policy::Everysec => Some(EVERYSEC_WINDOW),
            Policy::No | Policy::Snapshots => None,
        }
    }

    fn apply(self, launch: Launch) -> Launch {
        match self {
            Policy::Off | Policy::Snapshots => launch.setting("appendonly", "no"),
            _ => launch.setting("appendonly", "yes").setting("appendfsync", self.name()),
        }
    }
}
