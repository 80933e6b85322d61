//! The subcommands of simulation: `sweep`, `replay`, `shrink`, `mutants`, `explore`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::plan::{Focus, Policy, Scope};
use super::run::Options;
use super::sweep::{Sweep, Tally, sweep};
use crate::args::{Args, UsageError};
use perdura_core::mutant::{self, Mutant};
use perdura_core::persist::recovery::Case;
use perdura_sim::{Happening, Profile};
use strum::VariantArray;

/// How they are called.
pub const USAGE: &str = "perdura-harness sweep [--seeds 0..1000] [--policy always|everysec|no|rdb|switching]
    [--profile strict|ext4|xfs|btrfs] [--focus hole|bare|decay|…] [--minutes N] [--threads N] [--probe permille] [--all] [--coverage]
    [--digests file]                                          (written if it is not there, otherwise held to)
perdura-harness replay --seed N [--without 1,2,…] [--html file] [--policy …] [--profile …] [--mutant Name]
perdura-harness shrink --seed N [--policy …] [--profile …] [--mutant Name]
perdura-harness explore [--images 256] [--script name]
perdura-harness mutants [--seeds 2000] [--only Name]          (built with --features mutants)";

/// What went wrong with a subcommand.
type Failure = Box<dyn std::error::Error>;

/// `sweep`
///
/// # Errors
/// A command line that is wrong.
pub fn sweep_main(mut args: Args) -> Result<ExitCode, Failure> {
    let minutes = args.number("--minutes", 0u64)?;
    let seeds = seeds_of(&mut args, 0..1_000)?;
    let scope = scope_of(&mut args)?;
    let options = Options { probe_permille: args.number("--probe", 150)?, ..Options::default() };
    let threads = args.number("--threads", cores())?;
    let stops_at_failure = !args.flag("--all");
    let shows_coverage = args.flag("--coverage");
    let digests = args.text("--digests")?;
    args.finish()?;
    let began = Instant::now();
    let mut total = Tally::default();
    let mut batch = seeds.clone();
    loop {
        let part = Sweep {
            seeds: batch.clone(),
            scope,
            options: options.clone(),
            threads,
            twice_every: 50,
            stops_at_failure,
        };
        let tally = sweep(&part, &|tally| show_progress(tally, &batch, began));
        total.merge(tally);
        let is_time_left = began.elapsed() < Duration::from_secs(60 * minutes);
        if !is_time_left || stops_at_failure && !total.failures.is_empty() {
            break;
        }
        batch = batch.end..batch.end + (seeds.end - seeds.start);
    }
    if let Some(path) = digests {
        match std::fs::read_to_string(&path) {
            Ok(text) => total.hold_to_digests(&text)?,
            Err(_) => std::fs::write(&path, total.show_digests())?,
        }
    }
    report(&total, began.elapsed(), threads, scope);
    if shows_coverage {
        show_coverage(&total);
    }
    Ok(if total.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show_progress(tally: &Tally, seeds: &std::ops::Range<u64>, began: Instant) {
    if !tally.seeds.is_multiple_of(256) {
        return;
    }
    let per_s = tally.recoveries as f64 / began.elapsed().as_secs_f64();
    eprint!(
        "\r{}/{} seeds, {} recoveries ({per_s:.0}/s), {} failed ",
        tally.seeds,
        seeds.end - seeds.start,
        tally.recoveries,
        tally.failures.len()
    );
}

fn report(tally: &Tally, elapsed: Duration, threads: usize, scope: Scope) {
    let per_core = tally.recoveries as f64 / elapsed.as_secs_f64() / threads as f64;
    println!(
        "\n{} seeds, {} commands, {} replies, {} crash-recoveries in {:.1} s on {threads} threads: {per_core:.0} \
         crash-recoveries/s/core",
        tally.seeds,
        tally.commands,
        tally.replies,
        tally.recoveries,
        elapsed.as_secs_f64()
    );
    for (seed, violation) in tally.failures.iter().take(20) {
        println!("SIM FAIL seed={seed} {violation}");
        println!("  replay: {}", replay_line(*seed, scope));
    }
    println!("digest of all runs {:016x}", tally.digest);
    println!("{} of {} seeds failed", tally.failures.len(), tally.seeds);
}

fn show_coverage(tally: &Tally) {
    for &happening in Happening::VARIANTS {
        println!("{:>10}  {happening:?}", tally.sometimes.count(happening));
    }
    println!("rows of the recovery tables:");
    for &case in Case::VARIANTS {
        println!("{:>10}  {case:?}", tally.cases.get(&case).copied().unwrap_or(0));
    }
}

/// The command that runs a failing seed again.
pub fn replay_line(seed: u64, scope: Scope) -> String {
    let policy = scope.policy.map_or(String::new(), |policy| format!(" --policy {}", policy.name()));
    let profile =
        scope.profile.map_or(String::new(), |profile| format!(" --profile {}", profile_name(profile)));
    let focus = scope.focus.map_or(String::new(), |focus| format!(" --focus {focus:?}"));
    format!("cargo run --release -p perdura-harness -- replay --seed {seed}{policy}{profile}{focus}")
}

/// All cores.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Takes `--seeds A..B`.
///
/// # Errors
/// It is no range.
pub fn seeds_of(args: &mut Args, default: std::ops::Range<u64>) -> Result<std::ops::Range<u64>, UsageError> {
    let Some(text) = args.text("--seeds")? else { return Ok(default) };
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.ok_or_else(|| UsageError(format!("--seeds {text}: not a range A..B")))
}

/// Takes `--policy`, `--profile` and `--focus`.
///
/// # Errors
/// A name that is unknown.
pub fn scope_of(args: &mut Args) -> Result<Scope, UsageError> {
    let policy = args.text("--policy")?;
    let profile = args.text("--profile")?;
    let focus = args.text("--focus")?;
    let unknown = |name: &str, text: &str| UsageError(format!("{name} {text}: unknown"));
    Ok(Scope {
        policy: policy
            .map(|text| {
                Policy::VARIANTS
                    .iter()
                    .copied()
                    .find(|policy| policy.name() == text)
                    .ok_or(unknown("--policy", &text))
            })
            .transpose()?,
        profile: profile
            .map(|text| {
                PROFILES
                    .into_iter()
                    .find(|profile| profile_name(*profile) == text)
                    .ok_or(unknown("--profile", &text))
            })
            .transpose()?,
        focus: focus
            .map(|text| {
                let is_named = |focus: &Focus| format!("{focus:?}").eq_ignore_ascii_case(&text);
                Focus::VARIANTS.iter().copied().find(is_named).ok_or(unknown("--focus", &text))
            })
            .transpose()?,
    })
}

/// A mistake that a run is made with, if one was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Chosen(Option<Mutant>);

impl Chosen {
    /// Makes all engines of this process make it.
    pub fn switch_on(self) {
        #[cfg(feature = "mutants")]
        perdura_core::mutant::set(self.0);
    }

    /// The flag that asks for it.
    pub fn flag(self) -> String {
        self.0.map_or(String::new(), |mutant| format!(" --mutant {mutant:?}"))
    }
}

/// Takes `--mutant`.
///
/// # Errors
/// A name that is unknown, or mutants that are not compiled in.
pub fn mutant_of(args: &mut Args) -> Result<Chosen, UsageError> {
    let Some(name) = args.text("--mutant")? else { return Ok(Chosen(None)) };
    if !mutant::ARE_COMPILED_IN {
        return Err(UsageError("--mutant: built without --features mutants".into()));
    }
    let found = Mutant::VARIANTS.iter().copied().find(|mutant| format!("{mutant:?}") == name);
    found.map(|mutant| Chosen(Some(mutant))).ok_or(UsageError(format!("--mutant {name}: unknown")))
}

const PROFILES: [Profile; 5] =
    [Profile::Strict, Profile::Ext4Ordered, Profile::Xfs, Profile::Btrfs, Profile::LyingDisk];

fn profile_name(profile: Profile) -> &'static str {
    match profile {
        Profile::Strict => "strict",
        Profile::Ext4Ordered => "ext4",
        Profile::Xfs => "xfs",
        Profile::Btrfs => "btrfs",
        Profile::LyingDisk => "lying",
    }
}
