//! The deterministic engine: decides everything, touches nothing.
//!
//! Never reads a clock, a file, a socket or a random source; those come in as arguments (`host.rs`).
//! Modules are listed in layer order: each uses earlier ones only, and tests/tidy.rs holds it to that.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bytes;
pub mod rng;
pub mod time;

pub mod host;
pub mod resp;

pub mod error;
pub mod store;

pub mod config;

pub mod rdb;

pub mod blocked;
pub mod pubsub;
pub mod script;
pub mod session;
pub mod tracking;

pub mod commands;

pub mod acl;

pub mod persist;

pub mod mutant;
pub mod node;
