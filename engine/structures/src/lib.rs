#![no_std]
//! Pure data structures without Redis knowledge.
extern crate alloc;

pub mod dict;
pub mod hash;
mod raw_table;
pub mod size_class;
pub mod table;
