//! The Linux host: the only crate that talks to the kernel on the engine's behalf.
//!
//! Exists so that the engine can stay free of clocks, files and sockets: it asks with
//! `perdura_core::host::Effect`, this crate acts and reports with `Completion`.
//!
//! Always true: one thread runs the engine and never waits for a disk except where an effect says so (`Save`,
//! `Load`); completions of one file arrive in the order of their effects.
//!
//! Not here: any decision about data, durability or replies (`perdura-core`), the simulated host (`sim`).

pub mod limits;
pub mod settings;
pub mod signals;

mod allocator;
mod child;
mod clock;
mod connections;
mod exchange;
mod facts;
mod files;
mod host;
mod io_threads;
mod listen;
mod process;
mod readiness;
mod ring;
mod sys;
mod tls;
mod workers;

pub use allocator::Allocator;
pub use clock::{nanoseconds, now};
pub use facts::{facts, purge_memory};
pub use files::{DirLock, LinuxDisk};
pub use host::run;
pub use process::daemonize;
pub use settings::{CrashLog, HostSettings};
