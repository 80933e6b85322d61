//! The engine's only source of chance: a small generator whose whole future is its seed.
//!
//! xoshiro256**, seeded through splitmix64: fast, four words of state, good enough to sample keys. Never for secrets.
//!
//! Always true: the same seed and the same calls give the same numbers, on every machine.

/// A seeded generator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// A generator for this seed; any seed will do, near ones give unrelated numbers.
    pub fn from_seed(seed: u64) -> Rng {
        let mut counter = seed;
        let state = core::array::from_fn(|_| splitmix(&mut counter));
        Rng { state }
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let result = self.state[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = self.state[1] << 17;
        self.state[2] ^= self.state[0];
        self.state[3] ^= self.state[1];
        self.state[1] ^= self.state[2];
        self.state[0] ^= self.state[3];
        self.state[2] ^= shifted;
        self.state[3] = self.state[3].rotate_left(45);
        result
    }

    /// A number from 0 to `bound - 1`, each as likely as the others.
    ///
    /// # Panics
    /// If `bound` is 0: there is nothing to choose from.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0);
        // The high half of a 128-bit product is uniform once the few low halves that would favour it are thrown away.
        let unfair = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= unfair {
                return (product >> 64) as u64;
            }
        }
    }

    /// A number from 0 up to but without 1, with 53 random bits.
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A position in a collection of `len` entries.
    ///
    /// # Panics
    /// If the collection is empty.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }
}

fn splitmix(counter: &mut u64) -> u64 {
    *counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *counter;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_generator_is_the_one_we_have() {
        // First outputs of xoshiro256** from the state 1, 2, 3, 4, as in the authors' test of rand_xoshiro.
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let expected = [11520, 0, 1509978240, 1215971899390074240, 1216172134540287360];
        assert_eq!(core::array::from_fn(|_| rng.next_u64()), expected);
        // First outputs of splitmix64 from 0.
        let mut counter = 0;
        assert_eq!(splitmix(&mut counter), 0xe220_a839_7b1d_cdaf);
        assert_eq!(splitmix(&mut counter), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn below_reaches_every_number_and_no_other() {
        let mut rng = Rng::from_seed(7);
        let mut counts = [0u32; 10];
        for _ in 0..10_000 {
            counts[rng.below(10) as usize] += 1;
        }
        // 1000 expected, standard deviation 30: 150 is five of them.
        assert!(counts.iter().all(|&count| (850..=1150).contains(&count)), "{counts:?}");
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn floats_stay_within_zero_and_one() {
        let mut rng = Rng::from_seed(0);
        let mut sum = 0.0;
        for _ in 0..10_000 {
            let value = rng.next_f64();
            assert!((0.0..1.0).contains(&value));
            sum += value;
        }
        assert!((4_800.0..5_200.0).contains(&sum), "{sum}");
    }
}
