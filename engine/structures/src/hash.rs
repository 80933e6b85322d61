//! The one hash of the engine: bytes and a seed in, 64 well-mixed bits out.
//!
//! Exists so that every table agrees on one function, and so that its seed comes from the caller: the engine
//! owns no randomness, and two runs with one seed must iterate, scan and sample in the same order.
//!
//! Always true: equal seed and equal bytes give equal hashes, in every process and every run. The value is never
//! written to disk, so the function may change between versions.
//!
//! Not here: how the bits are used (`raw_table.rs`: top bits choose a segment, the lowest byte is the tag).

use core::hash::{BuildHasher, Hasher as _};
use foldhash::quality::FixedState;

/// A seeded hash function for byte strings.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher {
    seed: u64,
}

impl KeyHasher {
    /// The hash function that belongs to `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// 64 bits of which any subset is fit to choose a place in a table.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = FixedState::with_seed(self.seed).build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_size::size;

    #[test]
    fn same_seed_same_hash_and_other_seed_other_hash() {
        assert_eq!(KeyHasher::new(7).hash(b"key"), KeyHasher::new(7).hash(b"key"));
        assert_ne!(KeyHasher::new(7).hash(b"key"), KeyHasher::new(8).hash(b"key"));
    }

    #[test]
    fn length_counts_even_when_the_bytes_are_zero() {
        let hasher = KeyHasher::new(1);
        let hashes: alloc::collections::BTreeSet<u64> =
            (0..64).map(|len| hasher.hash(&[0u8; 64][..len])).collect();
        assert_eq!(hashes.len(), 64);
    }

    /// The tables use the top bits and the lowest byte: numbered keys must spread over both.
    #[test]
    fn numbered_keys_spread_over_top_bits_and_tags() {
        let hasher = KeyHasher::new(42);
        let (mut tops, mut tags) = ([0u32; 256], [0u32; 256]);
        let per_cell = size(100, 4) as u32;
        for number in 0..256 * per_cell {
            let hash = hasher.hash(alloc::format!("key:{number:012}").as_bytes());
            tops[(hash >> 56) as usize] += 1;
            tags[(hash & 0xff) as usize] += 1;
        }
        // The variance of a cell is what is expected in it: six standard deviations on either side.
        let off_max = 6 * per_cell.isqrt();
        assert!(tops.iter().chain(&tags).all(|&count| count.abs_diff(per_cell) <= off_max));
    }
}
