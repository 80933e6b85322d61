//! Proof by simulation: plans drawn from seeds, run on the engine that production runs, judged by what clients saw.
//!
//! Exists because a guarantee is only there when a sweep would have noticed its absence. One run goes like this:
//!
//! ```text
//!   seed ──plan.rs──> Plan ──run.rs──> World<Observed> ── every unit, reply and completion ──> History
//!                                          │ crash, power loss, stop, and probes on copies of the disk
//!                                          └──> recovered keyspace ──oracle/──> fine, or a Violation with its seed
//! ```
//!
//! Always true: the same plan gives the same run, to the last operation; the judge decides from what clients were told
//! and from a naive model, never from the engine's own account of what is safe.
//!
//! Not here: the simulated machine (`perdura-sim`), real processes (`crash.rs`).

pub mod command;
pub mod conversation;
pub mod explorer;
pub mod history;
pub mod inheritance;
pub mod mutants;
pub mod observed;
pub mod oracle;
pub mod page;
pub mod plan;
pub mod probe;
pub mod replay;
pub mod run;
pub mod shrink;
pub mod sweep;
pub mod workload;
