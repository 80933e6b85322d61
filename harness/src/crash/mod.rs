//! Crashes of real processes on real file systems, and what the server still holds: `perdura-harness crash …`.
//!
//! Exists because simulation proves the engine against a model; this proves the model and the host: the real binary,
//! the real kernel.
//!
//! Always true: a part that this machine cannot run says so and is not counted as run; what the server does wrong is a
//! finding, what the machine does wrong is an error.
//!
//! Not here: each part (`kill.rs`, `power/`), what is written (`record.rs`), what is right afterwards (`verdict.rs`).

pub mod kill;
mod leftovers;
mod report;
mod verdict;

pub use report::{Finding, Report, Violation};

use crate::args::{Args, UsageError};
use crate::process::{Launch, ServerCommand};
use std::process::ExitCode;

/// How each part is called.
pub const USAGE: &str = kill::USAGE;

/// Runs the part that the first word names.
///
/// # Errors
/// A wrong command line, or a machine that fails.
pub fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match args.word().as_deref() {
        Some("kill") => kill::main(args),
        _ => Err(UsageError(format!("usage:\n{USAGE}")).into()),
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
    /// `appendonly no`, judged as if it were `always`: shows that the judge sees a loss.
    Off,
}

impl Policy {
    /// Those under which a kill must lose nothing.
    pub const PROMISING: [Policy; 3] = [Policy::Always, Policy::Everysec, Policy::No];
    const ALL: [Policy; 4] = [Policy::Always, Policy::Everysec, Policy::No, Policy::Off];

    /// As written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Always => "always",
            Policy::Everysec => "everysec",
            Policy::No => "no",
            Policy::Off => "off",
        }
    }

    fn apply(self, launch: Launch) -> Launch {
        match self {
            Policy::Off => launch.setting("appendonly", "no"),
            _ => launch.setting("appendonly", "yes").setting("appendfsync", self.name()),
        }
    }
}
