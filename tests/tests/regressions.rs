//! Published bugs of peers and of ourselves, each as the shortest scenario that shows it, run in simulation: first by an
//! engine or a host that makes the mistake, which must fail, then by ours.
//!
//! One file a group under `tests/regressions/`; the seeds that found a bug of ours are in `seeds.rs` with their story.
//!
//! Weak points without a scenario here: W4 against a real process (`kill.rs`); W24, fork's cost (docs/PERFORMANCE.md); W25, what
//! a power loss may take, which is what every sweep asks (`simulation.rs`).

#[path = "../regressions/answers.rs"]
mod answers;
#[path = "../regressions/hole_under_no.rs"]
mod hole_under_no;
#[path = "../regressions/on_disk.rs"]
mod on_disk;
#[path = "../regressions/rewrite.rs"]
mod rewrite;
#[path = "../regressions/scenario.rs"]
mod scenario;
#[path = "../regressions/seeds.rs"]
mod seeds;
#[path = "../regressions/snapshots.rs"]
mod snapshots;
#[path = "../regressions/starts_cut_short.rs"]
mod starts_cut_short;
#[path = "../regressions/stops_and_switches.rs"]
mod stops_and_switches;
