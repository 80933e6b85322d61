#![no_std]
//! Pure data structures without Redis knowledge.
extern crate alloc;

pub mod alloc_size;
pub mod damage;
pub mod decimal;
pub mod intset;
pub mod listpack;
pub mod quicklist;
