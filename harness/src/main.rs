//! `perdura-harness`: one subcommand per judge.
//!
//! Not here: anything but the choice of the subcommand.

use perdura_harness::args::{Args, UsageError};
use perdura_harness::{bench, crash, instructions, sim, suite, tools};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = Args::new(std::env::args().skip(1));
    let outcome = match args.word().as_deref() {
        Some("bench") => bench::main(args),
        Some("instructions") => instructions::main(args),
        Some("crash") => crash::main(args),
        Some("sweep") => sim::command::sweep_main(args),
        Some("replay") => sim::replay::main(args),
        Some("shrink") => sim::shrink::main(args),
        Some("explore") => sim::explorer::main(args),
        Some("mutants") => sim::mutants::main(args),
        Some("suite") => suite::main(args),
        Some("tools") => tools::main(args),
        _ => {
            let crash = crash::usage();
            let usages =
                [bench::USAGE, instructions::USAGE, &crash, sim::command::USAGE, suite::USAGE, tools::USAGE];
            Err(UsageError(format!("usage:\n{}", usages.join("\n"))).into())
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}
