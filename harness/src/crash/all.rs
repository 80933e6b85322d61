//! Every part, for our server and for the stock one beside it: `perdura-harness crash all`.
//!
//! Exists so that the tables of docs/DURABILITY.md come from one command.
//!
//! Always true: a part that finds something does not keep the later ones from running; what the stock server does wrong
//! is shown and is no failure of this command.
//!
//! Not here: the parts.

use crate::args::Args;
use crate::process::ServerCommand;
use std::process::ExitCode;

/// How `crash all` is called.
pub const USAGE: &str = "perdura-harness crash all [--points 48] [--rounds 170] [--states 400] [--seconds 3] [--seed 1] [--must-run]";

/// Runs all parts.
///
/// # Errors
/// A wrong command line, or a machine that fails.
pub(super) fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let value =
        |args: &mut Args, name: &str, default: &str| -> Result<[String; 2], Box<dyn std::error::Error>> {
            Ok([name.to_string(), args.text(name)?.unwrap_or(default.into())])
        };
    let points = value(&mut args, "--points", "48")?;
    let rounds = value(&mut args, "--rounds", "170")?;
    let states = value(&mut args, "--states", "400")?;
    let seconds = value(&mut args, "--seconds", "3")?;
    let seed = value(&mut args, "--seed", "1")?;
    let must_run = args.flag("--must-run");
    args.finish()?;
    let parts: [(&str, Vec<&[String; 2]>); 5] = [
        ("kill", vec![&rounds, &seed]),
        ("power", vec![&points, &seconds, &seed]),
        ("errors", vec![&seed]),
        ("contract", vec![&seed]),
        ("enumerate", vec![&states, &seed]),
    ];
    let ours = ServerCommand::perdura();
    let mut outcome = ExitCode::SUCCESS;
    for server in [ours.clone(), ServerCommand::stock_redis()].into_iter().flatten() {
        for (part, options) in &parts {
            let mut words = vec![part.to_string()];
            words.extend(["--server".to_string(), format!("{}={}", server.name, server.words.join(" "))]);
            words.extend(options.iter().flat_map(|option| option.iter().cloned()));
            // A kill has no conditions that a machine may fail to meet.
            words.extend((must_run && *part != "kill").then(|| "--must-run".to_string()));
            let ended = super::run_part(Args::new(words))?;
            println!();
            if ended != ExitCode::SUCCESS && Some(&server) == ours.as_ref() {
                outcome = ended;
            }
        }
    }
    Ok(outcome)
}
