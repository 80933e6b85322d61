#![no_std]
//! Pure data structures without Redis knowledge.
extern crate alloc;
