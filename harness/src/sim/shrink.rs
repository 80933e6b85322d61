//! Makes a failing plan small: leaves actions out as long as it still fails in the same way.
//!
//! Halves first, then ever smaller pieces (delta debugging, Zeller 1999), bounded by a number of runs.

use std::collections::BTreeSet;
use std::process::ExitCode;

use super::command::{mutant_of, replay_line, scope_of};
use super::oracle::Violation;
use super::plan::{Plan, Scope};
use super::run::Options;
use super::sweep::run_caught;
use crate::args::Args;

/// A plan made small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// Actions left out.
    pub left_out: BTreeSet<usize>,
    /// Actions left.
    pub kept: usize,
    /// How it fails.
    pub violation: Violation,
    /// Runs it took.
    pub runs: usize,
}

/// Shrinks the plan of a seed; `None` if it does not fail.
pub fn shrink(seed: u64, scope: Scope, options: &Options, runs_max: usize) -> Option<Shrunk> {
    let plan = Plan::draw(seed, scope);
    let mut violation = run_caught(&plan, options).violation?;
    let mut kept = plan.numbers();
    let mut left_out = BTreeSet::new();
    let (mut runs, mut size) = (1, kept.len() / 2);
    while size > 0 && runs < runs_max {
        let mut at = 0;
        while at < kept.len() && runs < runs_max {
            let piece = &kept[at..(at + size).min(kept.len())];
            let tried: BTreeSet<usize> = left_out.iter().chain(piece).copied().collect();
            let outcome = run_caught(&plan.clone().without(&tried), options);
            runs += 1;
            match outcome.violation {
                Some(found) if found.kind() == violation.kind() => {
                    violation = found;
                    left_out = tried;
                    kept.drain(at..(at + size).min(kept.len()));
                }
                _ => at += size,
            }
        }
        size /= 2;
    }
    Some(Shrunk { left_out, kept: kept.len(), violation, runs })
}

/// `shrink --seed N`
///
/// # Errors
/// A command line that is wrong.
pub fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let seed = args.number("--seed", 0u64)?;
    let scope = scope_of(&mut args)?;
    let probe_permille = args.number("--probe", Options::default().probe_permille)?;
    let runs_max = args.number("--runs", 2_000usize)?;
    let mutant = mutant_of(&mut args)?;
    args.finish()?;
    mutant.switch_on();
    std::panic::set_hook(Box::new(|_| {}));
    let options = Options { probe_permille, ..Options::default() };
    let Some(shrunk) = shrink(seed, scope, &options, runs_max) else {
        println!("seed {seed} does not fail");
        return Ok(ExitCode::SUCCESS);
    };
    let left_out: Vec<String> = shrunk.left_out.iter().map(ToString::to_string).collect();
    println!("{} actions left after {} runs: {}", shrunk.kept, shrunk.runs, shrunk.violation);
    println!("{}{} --without {}", replay_line(seed, scope), mutant.flag(), left_out.join(","));
    Ok(ExitCode::FAILURE)
}
