#![no_std]
#![forbid(unsafe_code)]
//! The deterministic engine: decides everything, touches nothing.
extern crate alloc;
