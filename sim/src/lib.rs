//! The simulated host of Perdura: one disk, clock, network and set of processes, all decided by a seed.
//!
//! Exists so that the engine that runs in production can be crashed at any operation, a million times over, and every
//! failure be run again. `SimDisk` alone serves the explorer of crash points.
//!
//! Always true: no clock, no thread, no hash map and no randomness but the seed's (`clippy.toml` forbids them).
//!
//! Not here: what is right (`harness/`), what the real system does (`engine/linux`, held to the same contract by
//! `tests/tests/host_contract.rs`).

#![forbid(unsafe_code)]

pub mod black_box;
mod child;
pub mod client;
pub mod disk;
pub mod faults;
pub mod image;
mod legal;
#[cfg(madsim)]
pub mod madsim_world;
pub mod mutant;
pub mod profile;
pub mod rng;
mod server;
pub mod sometimes;
pub mod trace;
mod volume;
mod work;
pub mod world;

pub use black_box::{FileAtLoss, Place, PowerLoss};
pub use client::ClientKey;
pub use disk::{Handle, Moment, ProcessId, SimDisk, SyncStarted};
pub use faults::{Fault, FaultKind, Operation};
pub use image::Image;
pub use mutant::HostMutant;
pub use profile::Profile;
pub use rng::SimRng;
pub use sometimes::{Happening, Sometimes};
pub use trace::{Entry, Trace};
pub use volume::{Ino, SECTOR_BYTES};
pub use world::{Boot, Crash, Delay, End, Step, WALL_STARTS_US, World, WorldConfig};
