//! Numbers that depend on nothing but a seed.
//!
//! Exists so that every choice of the judge can be made again: the same seed, client and number give the
//! same operation in every run and on every machine.
//!
//! Always true: no clock, no state outside the value itself.
//!
//! Not here: what is drawn (`record.rs`, `crash.rs`, `load.rs`).

/// A small generator (SplitMix64): full period, good enough to spread work, not for secrets.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The generator of `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng { state: seed }
    }

    /// The generator of one place in a family of them; near places give unrelated numbers.
    pub fn at(seed: u64, stream: u64, number: u64) -> Rng {
        Rng::new(mix(mix(mix(seed) ^ stream) ^ number))
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number from 0 to `end` - 1.
    ///
    /// # Panics
    /// If `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "nothing to choose from");
        // The high half of the product: no division, and a bias far too small to matter here.
        ((u128::from(self.draw()) * u128::from(end)) >> 64) as u64
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// If there are none.
    pub fn choose<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

/// Spreads the bits of `number` over the whole word; different numbers stay different.
pub fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_gives_the_same_numbers() {
        assert_eq!(Rng::at(1, 2, 3).draw(), Rng::at(1, 2, 3).draw());
        assert_ne!(Rng::at(1, 2, 3).draw(), Rng::at(1, 3, 2).draw());
    }

    #[test]
    fn below_reaches_every_value_and_no_other() {
        let mut rng = Rng::new(1);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[rng.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
        assert_eq!(rng.below(1), 0);
    }
}
