//! Pure data structures: hash tables, packed lists, ordered sets. Nothing here knows Redis.
//!
//! The one engine crate besides `linux` that may use unsafe: each use has its SAFETY line, and each structure a naive
//! twin under proptest, which Miri runs too (`fuzz/README.md`).
#![no_std]

extern crate alloc;

pub mod alloc_size;
mod chunked;
pub mod damage;
pub mod decimal;
pub mod dict;
pub mod hash;
pub mod intset;
pub mod listpack;
pub mod quicklist;
mod raw_table;
pub mod sorted_set;
pub mod table;
#[cfg(test)]
mod test_size;
pub mod ziplist;
pub mod zipmap;
