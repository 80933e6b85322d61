//! The judge of Perdura: it drives servers, ours or stock, and decides whether they kept their promises.
//!
//! Exists apart from the engine, and shares no code with it, so that no mistake can hide by being made on both
//! sides.
//!
//! Not here: the simulated host (`perdura-sim`), the tests that call the judge (`tests/`).

pub mod args;
pub mod bench;
pub mod client;
pub mod crash;
pub mod histogram;
pub mod instructions;
pub mod load;
pub mod model;
pub mod operations;
pub mod os;
pub mod process;
pub mod record;
pub mod reference;
pub mod rng;
pub mod sim;
pub mod suite;
pub mod table;
pub mod tools;
pub mod workload;
