//! Sweeps: many seeds on all cores, and what they covered.
//!
//! Always true: the seeds that fail do not depend on how many threads look; a fault that the sweep is meant to test
//! and that never fired is a failure of the sweep.
//!
//! Not here: one run (`run.rs`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use perdura_core::persist::recovery::Case;
use perdura_sim::{Happening, Sometimes};
use strum::VariantArray;

use super::oracle::Violation;
use super::plan::{Plan, Scope};
use super::run::{Options, Outcome, run};

/// A sweep to be made.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Which seeds.
    pub seeds: Range<u64>,
    /// What plans are drawn from.
    pub scope: Scope,
    /// How each is run.
    pub options: Options,
    /// Threads.
    pub threads: usize,
    /// One seed in so many is run twice, and must be the same run; 0 for none.
    pub twice_every: u64,
    /// Ends at the first failure.
    pub stops_at_failure: bool,
}

/// What came of a sweep.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Seeds that were run.
    pub seeds: u64,
    /// Starts after a crash, probes included.
    pub recoveries: u64,
    /// Commands.
    pub commands: u64,
    /// Replies.
    pub replies: u64,
    /// Everything that happened.
    pub sometimes: Sometimes,
    /// Rows of the recovery tables that starts went through.
    pub cases: BTreeMap<Case, u64>,
    /// Digest of all runs, whatever their order: equal for the same seeds, in any build and on any number of threads.
    pub digest: u64,
    /// The same, run by run.
    pub digests: BTreeMap<u64, u64>,
    /// Seeds that failed, and how.
    pub failures: BTreeMap<u64, Violation>,
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.recoveries += outcome.recoveries;
        self.commands += outcome.commands;
        self.replies += outcome.replies;
        self.sometimes.add(&outcome.sometimes);
        self.digest = self.digest.wrapping_add((outcome.digest ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.digests.insert(seed, outcome.digest);
        outcome.cases.iter().for_each(|(case, count)| *self.cases.entry(*case).or_default() += count);
        if let Some(violation) = outcome.violation {
            self.failures.insert(seed, violation);
        }
    }

    /// Adds another sweep's.
    pub fn merge(&mut self, part: Tally) {
        self.seeds += part.seeds;
        self.recoveries += part.recoveries;
        self.commands += part.commands;
        self.replies += part.replies;
        self.sometimes.add(&part.sometimes);
        self.digest = self.digest.wrapping_add(part.digest);
        part.cases.iter().for_each(|(case, count)| *self.cases.entry(*case).or_default() += count);
        self.digests.extend(part.digests);
        self.failures.extend(part.failures);
    }

    /// The digests as text, a run a line.
    pub fn show_digests(&self) -> String {
        self.digests.iter().map(|(seed, digest)| format!("{seed} {digest:016x}\n")).collect()
    }

    /// Counts as a failure each run that differs from the one that another build made of the same seed.
    ///
    /// # Errors
    /// A line that says nothing of a seed that was run.
    pub fn hold_to_digests(&mut self, text: &str) -> Result<(), String> {
        for line in text.lines() {
            let known = line.split_once(' ').and_then(|(seed, digest)| {
                let seed: u64 = seed.parse().ok()?;
                Some((seed, u64::from_str_radix(digest, 16).ok()?, *self.digests.get(&seed)?))
            });
            let (seed, theirs, ours) = known.ok_or_else(|| format!("{line:?}: no seed of this sweep"))?;
            if theirs != ours {
                self.failures.entry(seed).or_insert(Violation::NotDeterministic(theirs, ours));
            }
        }
        Ok(())
    }

    /// Rows of the recovery tables that no start went through.
    pub fn never_cases(&self) -> Vec<Case> {
        Case::VARIANTS.iter().copied().filter(|case| !self.cases.contains_key(case)).collect()
    }

    /// Faults and recoveries that a sweep is meant to test and this one did not.
    pub fn never(&self) -> Vec<Happening> {
        self.sometimes.never().collect()
    }
}

/// Runs all seeds. `progress` is called after each.
pub fn sweep(sweep: &Sweep, progress: &(dyn Fn(&Tally) + Sync)) -> Tally {
    let next = AtomicU64::new(sweep.seeds.start);
    let is_over = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for _ in 0..sweep.threads {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= sweep.seeds.end {
                        break;
                    }
                    let outcome = run_one(sweep, seed);
                    if sweep.stops_at_failure && outcome.violation.is_some() {
                        is_over.store(true, Ordering::Relaxed);
                    }
                    let mut tally = tally.lock().expect("no thread panics while it counts");
                    tally.add(seed, outcome);
                    progress(&tally);
                }
            });
        }
    });
    tally.into_inner().expect("all threads have ended")
}

/// A seed's run, and again if its turn has come. A panic of the engine is a violation like any other.
pub fn run_one(sweep: &Sweep, seed: u64) -> Outcome {
    let plan = Plan::draw(seed, sweep.scope);
    let mut outcome = run_caught(&plan, &sweep.options);
    if sweep.twice_every > 0 && seed.is_multiple_of(sweep.twice_every) && outcome.violation.is_none() {
        let again = run_caught(&plan, &sweep.options);
        if again.digest != outcome.digest {
            outcome.violation = Some(Violation::NotDeterministic(outcome.digest, again.digest));
        }
    }
    outcome
}

/// [`run`], a panic being a violation.
pub fn run_caught(plan: &Plan, options: &Options) -> Outcome {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(plan, options))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_default();
        Outcome {
            violation: Some(Violation::Ended(format!("panic: {text}"))),
            digest: 0,
            recoveries: 0,
            commands: 0,
            replies: 0,
            sometimes: Sometimes::default(),
            cases: BTreeMap::new(),
            recent: Vec::new(),
            losses: Vec::new(),
            files: Vec::new(),
        }
    })
}

#[test]
fn a_run_that_differs_from_another_builds_is_a_failure() {
    let mut tally = Tally::default();
    tally.digests.extend([(1, 0xa), (2, 0xb)]);
    let text = tally.show_digests();
    assert_eq!(tally.hold_to_digests(&text), Ok(()));
    assert!(tally.failures.is_empty());
    assert_eq!(tally.hold_to_digests("2 000000000000000c"), Ok(()));
    assert_eq!(tally.failures[&2], Violation::NotDeterministic(0xc, 0xb));
    assert!(tally.hold_to_digests("3 000000000000000c").is_err());
}
