//! The judge is judged: one mistake at a time is put into the engine, and a sweep must notice.
//!
//! A mutant that survives is a hole in the judge and gets an oracle or a fault, not a longer run. The canaries are mistakes
//! of the other side, of the disk and of the judge itself: a run in which they go unnoticed is worth nothing.
//!
//! Not here: the mistakes themselves (`perdura_core::mutant`).

use std::process::ExitCode;
use std::time::{Duration, Instant};

use perdura_core::mutant::Mutant;
use perdura_sim::{HostMutant, Profile};

use super::command::cores;
use super::plan::{Focus, Policy, Scope};
use super::run::Options;
use super::sweep::{Sweep, sweep};
use crate::args::Args;
use crate::os::process_cpu_time;
use strum::VariantArray;

/// Where a mutant shows soonest; `None` where any plan will do.
fn scope_of(mutant: Mutant) -> Scope {
    use Mutant::*;
    let policy = match mutant {
        AlwaysWithoutSync
        | DoubtfulRepairAdopted
        | ReplyBeforeSync
        | RewritePausesAlways
        | SyncedAtSubmit
        | SyncBeforeWrite => Some(Policy::Always),
        IdleTailNotSynced | NoBackpressure | TimerOnWallClock => Some(Policy::Everysec),
        GivenUpFileSyncedAgain | BatchOrderIgnored => Some(Policy::No),
        SwitchTrustsBacklog | DisableDropsTail | ClosedSetWins | EnabledTooEarly | OnlyDumpIgnored => {
            Some(Policy::Switching)
        }
        DumpNameNotSynced | SaveAnsweredEarly | DumpInPlace | ChildRenames | UnreadableDumpIsEmpty => {
            Some(Policy::Rdb)
        }
        _ => None,
    };
    let focus = match mutant {
        // Half a transaction is seen in a log without checksums alone, and only one file system may have one.
        MultiLeftOpen | OpenMultiApplied => Some(Focus::Bare),
        PreambleForgotten | ArityIgnored | CopyNotToldApart | OpenMultiCounted => Some(Focus::Inherited),
        SettlingNotSaid => Some(Focus::SwitchOn),
        StraysStayTrue => Some(Focus::Strays),
        HoleForgotten
        | HoleFilledByOlderBase
        | HoleRewriteNotRepeated
        | FirstOffsetUnknown
        | HoleClosedIn
        | SelectsForNothing => Some(Focus::Hole),
        InstalledWhileOff | InstallationForgotten | SwitchOffForgotten | ReopensForNobody => {
            Some(Focus::SwitchBack)
        }
        DoubtfulBaseRemoved | DoubtfulRepairAdopted => Some(Focus::Directory),
        SyncUnderWayForgotten => Some(Focus::Slow),
        ShutdownIgnoresFailure | RotationForgotten => Some(Focus::FailedStop),
        GonePendingForgotten => Some(Focus::Streams),
        CutBeforeRefusal
        | TornFileFollowed
        | TornBaseAccepted
        | RottenBaseIsTorn
        | UnreadableManifestIsEmpty
        | ManifestChecksumIgnored
        | LostPartIgnored
        | RdbChecksumIgnored
        | BadBatchSkipped => Some(Focus::Decay),
        EverysecRoundForgotten | LagForgottenUnderNo => Some(Focus::Slow),
        BaseDropsExpired => Some(Focus::Outlived),
        _ => None,
    };
    Scope { policy, profile: None, focus }
}

/// Where a mutant of the host shows soonest.
fn scope_of_host(mutant: HostMutant) -> Scope {
    match mutant {
        HostMutant::CutNotSynced => Scope { focus: Some(Focus::Inherited), ..Scope::default() },
        HostMutant::InterruptedSyncTakenForDone => Scope { policy: Some(Policy::Always), ..Scope::default() },
        HostMutant::TempNameShared => Scope { focus: Some(Focus::Orphan), ..Scope::default() },
        _ => Scope::default(),
    }
}

/// How a mutant was caught.
#[derive(Clone, Debug)]
pub struct Caught {
    /// Seeds until then.
    pub seeds: u64,
    /// Seconds of processor time until then, on each thread: what it takes on a machine that does nothing else.
    pub seconds: f64,
    /// By which kind of violation.
    pub kind: &'static str,
}

/// Sweeps until a mutant is caught or the budget is spent. It must be switched on already.
pub fn hunt(scope: Scope, options: &Options, seeds: u64, threads: usize) -> Option<Caught> {
    let began = processor_seconds();
    let hunt = Sweep {
        seeds: 0..seeds,
        scope,
        options: options.clone(),
        threads,
        twice_every: 0,
        stops_at_failure: true,
    };
    let tally = sweep(&hunt, &|_| {});
    let (_, violation) = tally.failures.iter().next()?;
    let seconds = (processor_seconds() - began) / threads as f64;
    Some(Caught { seeds: tally.seeds, seconds, kind: violation.kind() })
}

fn processor_seconds() -> f64 {
    process_cpu_time(std::process::id()).expect("this process is there").as_secs_f64()
}

/// Hunts one mutant of the engine.
#[cfg(feature = "mutants")]
pub fn hunt_mutant(mutant: Mutant, seeds: u64, threads: usize) -> Option<Caught> {
    perdura_core::mutant::set(Some(mutant));
    let caught = hunt(scope_of(mutant), &Options::default(), seeds, threads);
    perdura_core::mutant::set(None);
    caught
}

/// Hunts one mutant of the host.
pub fn hunt_host_mutant(mutant: HostMutant, seeds: u64, threads: usize) -> Option<Caught> {
    let options = Options { host_mutant: Some(mutant), ..Options::default() };
    hunt(scope_of_host(mutant), &options, seeds, threads)
}

/// Hunts one mutant of the engine: never, because they are not compiled in.
#[cfg(not(feature = "mutants"))]
pub fn hunt_mutant(mutant: Mutant, _seeds: u64, _threads: usize) -> Option<Caught> {
    let _ = scope_of(mutant);
    None
}

/// What must be noticed although the engine makes no mistake.
pub fn canaries(seeds: u64, threads: usize) -> Vec<(&'static str, Option<Caught>)> {
    let lying = Scope { policy: Some(Policy::Always), profile: Some(Profile::LyingDisk), focus: None };
    let greedy = Options { is_greedy: true, ..Options::default() };
    let tampering = Options { is_tampering: true, ..Options::default() };
    vec![
        ("a disk whose syncs do nothing", hunt(lying, &Options::default(), seeds, threads)),
        ("a judge that demands one state more", hunt(Scope::default(), &greedy, seeds, threads)),
        ("a disk that gives impossible images", hunt(Scope::default(), &tampering, seeds, threads)),
    ]
}

/// `mutants [--seeds N] [--only Name] [--threads N]`
///
/// # Errors
/// A command line that is wrong.
pub fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let seeds = args.number("--seeds", 2_000u64)?;
    let only = args.text("--only")?;
    let threads = args.number("--threads", cores())?;
    args.finish()?;
    if !perdura_core::mutant::ARE_COMPILED_IN {
        return Err("mutants are not compiled in: cargo run --release -p perdura-harness --features mutants -- mutants".into());
    }
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let mut survivors = 0;
    let chosen = Mutant::VARIANTS
        .iter()
        .filter(|mutant| only.as_ref().is_none_or(|only| *only == format!("{mutant:?}")));
    let mut count = 0;
    for mutant in chosen {
        count += 1;
        survivors += u32::from(!show(&format!("{mutant:?}"), hunt_mutant(*mutant, seeds, threads)));
    }
    for &mutant in HostMutant::VARIANTS {
        let name = format!("{mutant:?}");
        if only.as_ref().is_none_or(|only| *only == name) {
            count += 1;
            survivors += u32::from(!show(&name, hunt_host_mutant(mutant, seeds, threads)));
        }
    }
    if only.is_some() {
        return Ok(if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for (name, caught) in canaries(seeds, threads) {
        survivors += u32::from(!show(name, caught));
    }
    println!("{count} mutants, {survivors} survived, {:?}", Duration::from_secs(began.elapsed().as_secs()));
    Ok(if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(name: &str, caught: Option<Caught>) -> bool {
    match &caught {
        Some(Caught { seeds, seconds, kind }) => {
            println!("{name:<40} {seeds:>5} seeds {seconds:>7.2} s  {kind}")
        }
        None => println!("{name:<40} SURVIVED"),
    }
    caught.is_some()
}
