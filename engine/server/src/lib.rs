//! The parts of `perdura-server`: how it is called, what it reads, what it says, and how it is put together.
//!
//! Exists as a library so that each part is tested by itself; `main.rs` only strings them together.
//!
//! Not here: any decision about data (`perdura-core`), any system call (`perdura-linux`).

pub mod banner;
pub mod cli;
pub mod logging;
pub mod metrics;
pub mod notify;
pub mod reference;
pub mod serve;
pub mod settings;
pub mod trade_offs;
