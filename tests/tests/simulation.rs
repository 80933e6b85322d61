//! Simulation sweeps: the engine in the simulated world, crashed thousands of times, judged by what clients were told.
//!
//! A failure prints the one command that runs it again and tells its story.

use perdura_harness::sim::command::{cores, replay_line};
use perdura_harness::sim::explorer::{SCRIPTS, explore_script};
use perdura_harness::sim::plan::{Plan, Policy, Scope};
use perdura_harness::sim::run::Options;
use perdura_harness::sim::sweep::{Sweep, Tally, run_caught, sweep};
use perdura_sim::Profile;
use strum::VariantArray;

/// Seeds of the fixed sweep: about a minute on two quiet cores in the test profile, most of what this file takes.
const SEEDS: u64 = 1_500;
/// Seeds of each policy.
const SEEDS_PER_POLICY: u64 = 150;

fn check(seeds: std::ops::Range<u64>, scope: Scope) -> Tally {
    let wanted = Sweep {
        seeds,
        scope,
        options: Options::default(),
        threads: cores(),
        twice_every: 20,
        stops_at_failure: false,
    };
    let tally = sweep(&wanted, &|_| {});
    let failures: Vec<String> = tally
        .failures
        .iter()
        .take(10)
        .map(|(seed, violation)| format!("SIM FAIL seed={seed} {violation}\n  {}", replay_line(*seed, scope)))
        .collect();
    assert!(failures.is_empty(), "{} seeds failed\n{}", tally.failures.len(), failures.join("\n"));
    tally
}

#[test]
fn fixed_seeds_hold_and_cover_every_fault() {
    let tally = check(0..SEEDS, Scope::default());
    assert!(tally.recoveries > 10 * SEEDS, "only {} recoveries", tally.recoveries);
    assert_eq!(tally.never(), [], "a fault that never fires is a test that cannot fail");
    assert_eq!(tally.never_cases(), [], "a row of the recovery tables that no start went through");
}

#[test]
fn each_policy_holds() {
    for &policy in Policy::VARIANTS {
        check(100_000..100_000 + SEEDS_PER_POLICY, Scope { policy: Some(policy), ..Scope::default() });
    }
}

#[test]
fn same_seed_is_the_same_run_on_any_thread() {
    let digest = |seed| run_caught(&Plan::draw(seed, Scope::default()), &Options::default()).digest;
    for seed in 0..20 {
        let here = digest(seed);
        let there = std::thread::spawn(move || digest(seed)).join().expect("a run does not panic");
        assert_eq!(here, there, "seed {seed}");
    }
}

#[test]
fn every_crash_point_of_the_scripts_recovers() {
    let mut recoveries = 0;
    for script in SCRIPTS {
        for profile in Profile::HONEST {
            let found = explore_script(script, profile, 256);
            let found = found.unwrap_or_else(|why| panic!("{} on {profile:?}: {why}", script.name));
            recoveries += found.recoveries;
        }
    }
    assert!(recoveries > 5_000, "only {recoveries} recoveries");
}
