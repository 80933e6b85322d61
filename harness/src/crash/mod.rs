//! Crashes of real processes on real file systems, and what the server still holds: `perdura-harness crash …`.
//!
//! Exists because simulation proves the engine against a model; this proves the model and the host: the real binary,
//! the real kernel.
//!
//! Always true: a part that this machine cannot run says so and is not counted as run; what the server does wrong is a
//! finding, what the machine does wrong is an error.
//!
//! Not here: each part (`kill.rs`, `power/`, `errors.rs`, `contract/`), what is written (`operations.rs`), what is right
//! afterwards (`verdict.rs`), how it is told (`survey.rs`).

mod all;
mod backup;
pub mod contract;
pub mod disk;
pub mod errors;
mod judge;
pub mod kill;
mod leftovers;
pub mod power;
mod report;
mod stage;
mod survey;
mod verdict;

pub use report::{ErrorsReport, Finding, PowerReport, Report, Violation};

use crate::args::{Args, UsageError};
use crate::client::Reply;
use crate::operations::Family;
use crate::process::{Launch, Server, ServerCommand};
use disk::FileSystem;
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::Duration;
use strum::{IntoStaticStr, VariantArray};
use survey::Survey;

/// How each part is called.
pub fn usage() -> String {
    [kill::USAGE, power::USAGE, errors::USAGE, contract::USAGE, all::USAGE].join("\n")
}

/// Runs the part that the first word names, and tells of it on standard output.
///
/// # Errors
/// A wrong command line, or a machine that fails.
pub fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    // Before any other thread begins: what is started later must see the mounts.
    if FileSystem::VARIANTS.iter().any(|file_system| disk::missing(*file_system).is_none()) {
        disk::enter_namespace()?;
    }
    let part = args.word().unwrap_or_default();
    if part == "all" {
        return all::main(args);
    }
    let mut stdout = io::stdout();
    let mut survey = Survey::new(&mut stdout, args.flag("--must-run"));
    run_part(&part, args, &mut survey)?;
    Ok(survey.conclude())
}

fn run_part(part: &str, args: Args, survey: &mut Survey) -> Result<(), Box<dyn std::error::Error>> {
    match part {
        "kill" => kill::survey(args, survey),
        "power" => power::survey(args, survey),
        "errors" => errors::survey(args, survey),
        "contract" => contract::survey_order(args, survey),
        "enumerate" => contract::survey_states(args, survey),
        _ => Err(UsageError(format!("usage:\n{}", usage())).into()),
    }
}

/// Why a part cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Something that the kernel, or whoever runs us, does not give.
    Facility(String),
    /// A program that can be installed.
    Program(String),
    /// The server does not know this command.
    Command(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Facility(what) => write!(f, "this machine has {what}"),
            Missing::Program(what) => write!(f, "{what} is not installed"),
            Missing::Command(what) => write!(f, "the server has no {what}"),
        }
    }
}

/// What a server lacks that does not know this command.
fn missing_command(launch: &Launch, name: &str) -> io::Result<Option<Missing>> {
    let server = Server::start(launch.clone()).map_err(io::Error::other)?;
    let described =
        server.client()?.say(&format!("COMMAND INFO {name}"))?.into_elements().unwrap_or_default();
    let is_known = described.iter().any(|entry| *entry != Reply::Null);
    Ok((!is_known).then(|| Missing::Command(name.into())))
}

/// Those of `families` that the server knows; the others are told.
fn known_families(
    launch: &Launch,
    mut families: Vec<Family>,
    survey: &mut Survey,
) -> io::Result<Vec<Family>> {
    if families.contains(&Family::Fields)
        && let Some(missing) = missing_command(launch, "HPEXPIREAT")?
    {
        survey.skip("expiries of fields", &missing)?;
        families.retain(|family| *family != Family::Fields);
    }
    Ok(families)
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
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
        self.into()
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
