//! Chance, from a seed: the one source of every choice a simulated run makes.
//!
//! Exists so that the generator is named once. Xoshiro256++ is fixed by its paper; `StdRng` may change with rand.
//!
//! Always true: the same seed and the same questions give the same answers, on every machine.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};

/// A stream of choices.
#[derive(Clone, Debug)]
pub struct SimRng(Xoshiro256PlusPlus);

impl SimRng {
    /// The stream that belongs to a seed.
    pub fn new(seed: u64) -> SimRng {
        SimRng(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A stream of its own, so that questions asked of one part do not shift the answers of another.
    pub fn split(&mut self) -> SimRng {
        SimRng::new(self.number())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..count`.
    ///
    /// # Panics
    /// `count` is 0: there is nothing to choose from.
    pub fn below(&mut self, count: u64) -> u64 {
        assert!(count > 0);
        // The bias of a plain remainder is below 2^-40 for the counts used here.
        self.number() % count
    }

    /// A number in `min..=max`.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        min + self.below(max - min + 1)
    }

    /// An index into something of `count` elements.
    pub fn index(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    /// True `permille` times in a thousand.
    pub fn chance(&mut self, permille: u32) -> bool {
        self.below(1_000) < u64::from(permille)
    }
}
