//! The allocator of the server: jemalloc, with size classes eight bytes apart where entries are small.
//!
//! Exists because a key of 16 bytes with a value of 16 takes 40 bytes, for which jemalloc by default sets 48 aside: its
//! classes are 16 bytes apart so that everything is aligned for the largest types of C. `.cargo/config.toml` has it built
//! with classes of 8, 16, 24, 32, 40, 48, 56, 64, 80 … bytes; then who needs more alignment than eight must say so,
//! which the wrapper that comes with jemalloc does not for sixteen.
//!
//! Always true: the allocator may be forked at any time, and tells how much memory it has (`facts.rs`).

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_int;

use tikv_jemalloc_sys as jemalloc;

/// What every allocation is aligned for, if nothing else is asked for: `JEMALLOC_SYS_WITH_LG_QUANTUM`.
const QUANTUM: usize = 8;

/// To be named as `#[global_allocator]`.
pub struct Allocator;

/// How jemalloc is told of an alignment.
#[inline]
fn flags(layout: Layout) -> c_int {
    if layout.align() <= QUANTUM { 0 } else { jemalloc::MALLOCX_ALIGN(layout.align()) }
}

// SAFETY: jemalloc's functions keep the contract of an allocator: a block stays until it is given back, and is as large
// and as aligned as was asked for. They never unwind. Sizes are never 0, which callers of `GlobalAlloc` promise.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is not 0.
        unsafe { jemalloc::mallocx(layout.size(), flags(layout)).cast() }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is not 0.
        unsafe { jemalloc::mallocx(layout.size(), flags(layout) | jemalloc::MALLOCX_ZERO).cast() }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise: the block came from here with this layout.
        unsafe { jemalloc::sdallocx(block.cast(), layout.size(), flags(layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: the block came from here with this layout, and the new size is not 0.
        unsafe { jemalloc::rallocx(block.cast(), size, flags(layout)).cast() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What could go wrong: a size whose class is a multiple of eight only, asked for with an alignment of sixteen, as hash
    /// tables of the standard library do. The remainder would tell, in nearly every second block.
    #[test]
    fn every_block_is_aligned_as_asked_for() {
        for (size, align) in
            [(1, 1), (24, 8), (24, 16), (40, 16), (52, 16), (56, 16), (100, 64), (5000, 4096)]
        {
            let layout = Layout::from_size_align(size, align).expect("a valid layout");
            // SAFETY: blocks are given back with the layout they were asked for, the last one's changed size included.
            unsafe {
                let blocks: Vec<*mut u8> = (0..100).map(|_| Allocator.alloc(layout)).collect();
                for &block in &blocks {
                    assert_eq!(block.addr() % align, 0, "{size} bytes aligned to {align}");
                    let grown = Allocator.realloc(block, layout, size + 16);
                    assert_eq!(grown.addr() % align, 0, "{size} bytes aligned to {align}, grown");
                    Allocator
                        .dealloc(grown, Layout::from_size_align(size + 16, align).expect("a valid layout"));
                }
                let zeroed = Allocator.alloc_zeroed(layout);
                assert!(std::slice::from_raw_parts(zeroed, size).iter().all(|&byte| byte == 0));
                Allocator.dealloc(zeroed, layout);
            }
        }
    }

    #[test]
    fn classes_are_eight_bytes_apart() {
        for size in 1..=64 {
            // SAFETY: asks for the class of a size, allocates nothing.
            let class = unsafe { jemalloc::nallocx(size, 0) };
            assert_eq!(class, size.next_multiple_of(QUANTUM));
        }
    }
}
