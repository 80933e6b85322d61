//! The judge is judged: mistakes put into the engine on purpose must be found.
//!
//! A test binary of its own: a mutant is on for the whole process. All of them: `perdura-harness mutants`.

use perdura_core::mutant::{self, Mutant};
use perdura_harness::sim::command::cores;
use perdura_harness::sim::mutants::{canaries, hunt_mutant};

/// Seeds within which each must be found.
const SEEDS: u64 = 2_000;

/// Mistakes that sweeps were seen to find. The others are shown by scenarios (`tests/regressions`), or are open:
/// docs/DURABILITY.md.
const FOUND_BY_SWEEPS: &[Mutant] = &[
    Mutant::AlwaysWithoutSync,
    Mutant::ReplyBeforeSync,
    Mutant::ReadsNotGated,
    Mutant::SyncBeforeWrite,
    Mutant::SyncCoversLater,
    Mutant::ReplyBeforeWrite,
    Mutant::IdleTailNotSynced,
    Mutant::SyncedAtSubmit,
    Mutant::WaitaofEarly,
    Mutant::SwitchTrustsBacklog,
    Mutant::DisableDropsTail,
    Mutant::ShutdownWithoutFlush,
    Mutant::ShutdownIgnoresFailure,
    Mutant::RewritePausesAlways,
    Mutant::NoBackpressure,
    Mutant::HoldAnswersAll,
    Mutant::ManifestNotSynced,
    Mutant::ManifestNameNotSynced,
    Mutant::PartNameNotSynced,
    Mutant::ManifestBeforePart,
    Mutant::ManifestInPlace,
    Mutant::SnapshotNotSynced,
    Mutant::OldPartsRemovedFirst,
    Mutant::OldPartNotSynced,
    Mutant::DumpNameNotSynced,
    Mutant::CutWithoutHold,
    Mutant::FailedRewriteDropsPart,
    Mutant::SelectNotRepeated,
    Mutant::MultiNotFramed,
    Mutant::ChecksumIgnored,
    Mutant::ZeroTailRefused,
    Mutant::TailNotCut,
    Mutant::StartNotSettled,
    Mutant::SyncErrorIgnored,
    Mutant::SyncErrorRetried,
    Mutant::WriteErrorIgnored,
    Mutant::SalvageDropsUnsynced,
    Mutant::RepairNotListed,
    Mutant::SaveAnsweredEarly,
    Mutant::OffsetForgotten,
    Mutant::ClosedSetWins,
];

#[test]
fn mistakes_in_the_engine_and_lies_of_the_disk_are_found() {
    const { assert!(mutant::ARE_COMPILED_IN, "the tests ask for the feature `mutants`") };
    std::panic::set_hook(Box::new(|_| {}));
    let survivors: Vec<Mutant> = FOUND_BY_SWEEPS
        .iter()
        .copied()
        .filter(|mutant| hunt_mutant(*mutant, SEEDS, cores()).is_none())
        .collect();
    let unnoticed: Vec<&str> = canaries(SEEDS, cores())
        .into_iter()
        .filter(|(_, caught)| caught.is_none())
        .map(|(name, _)| name)
        .collect();
    let _ = std::panic::take_hook();
    assert_eq!((survivors, unnoticed), (vec![], vec![]));
}
