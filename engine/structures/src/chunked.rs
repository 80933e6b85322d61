//! A vector that never moves more than one small chunk when it grows.
//!
//! Exists because doubling a vector of a million items stops the engine for as long as the copy takes, and leaves up
//! to half of it unused.
//!
//! Always true: every chunk but the last is full; only the first grows by doubling, the others are made whole.

use crate::alloc_size::alloc_size;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// Items in chunks of `N`, which must be a power of two.
pub(crate) struct Chunked<T, const N: usize> {
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T, const N: usize> Chunked<T, N> {
    const SIZE_IS_MASKABLE: () = assert!(N.is_power_of_two());

    pub(crate) const fn new() -> Self {
        let () = Self::SIZE_IS_MASKABLE;
        Chunked { chunks: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.len.is_multiple_of(N) {
            self.chunks.push(if self.len == 0 { Vec::new() } else { Vec::with_capacity(N) });
        }
        self.chunks[self.len / N].push(item);
        self.len += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let chunk = self.chunks.last_mut()?;
        let item = chunk.pop();
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.pop();
        }
        if self.chunks.len() <= self.chunks.capacity() / 4 {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
        item
    }

    /// Heap bytes held, without what the items hold themselves.
    pub(crate) fn memory(&self) -> usize {
        let chunk = match self.chunks.as_slice() {
            [only] => only.capacity(),
            _ => N,
        };
        alloc_size(self.chunks.capacity() * size_of::<Vec<T>>())
            + self.chunks.len() * alloc_size(chunk * size_of::<T>())
    }
}

/// Item by item, so that the copy's chunks are sized by the same rule.
impl<T: Clone, const N: usize> Clone for Chunked<T, N> {
    fn clone(&self) -> Self {
        let mut copy = Self::new();
        self.chunks.iter().flatten().for_each(|item| copy.push(item.clone()));
        copy
    }
}

impl<T, const N: usize> Index<usize> for Chunked<T, N> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        &self.chunks[index / N][index % N]
    }
}

impl<T, const N: usize> IndexMut<usize> for Chunked<T, N> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.chunks[index / N][index % N]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_like_a_vector_across_chunk_edges() {
        let (mut chunked, mut twin) = (Chunked::<u32, 4>::new(), Vec::new());
        for (turn, is_push) in [(40, true), (30, false), (7, true), (17, false)] {
            for item in 0..turn {
                if is_push {
                    chunked.push(item);
                    twin.push(item);
                } else {
                    assert_eq!(chunked.pop(), twin.pop());
                }
                assert!((0..chunked.len()).map(|index| chunked[index]).eq(twin.iter().copied()));
            }
        }
        assert_eq!(chunked.pop(), None);
        assert_eq!(chunked.memory(), 0);
    }
}
