//! Published bugs of peers and of ourselves, each as the shortest scenario that shows it, run in simulation.
//!
//! One file a group under `tests/regressions/`; the seeds that found a bug of ours are in `seeds.rs` with their story.

#[path = "../regressions/hole_under_no.rs"]
mod hole_under_no;
#[path = "../regressions/seeds.rs"]
mod seeds;
#[path = "../regressions/stops_and_switches.rs"]
mod stops_and_switches;
#[path = "../regressions/w04_kill_loses_nothing.rs"]
mod w04_kill_loses_nothing;
#[path = "../regressions/w12_switched_off_set.rs"]
mod w12_switched_off_set;
#[path = "../regressions/w14_w15_children_and_stops.rs"]
mod w14_w15_children_and_stops;
