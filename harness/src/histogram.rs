//! A histogram of durations with a bounded relative error.
//!
//! Exists because means hide what matters and sorted lists of every sample do not fit in a cache.
//!
//! Always true: a reported value is never below the recorded one, and at most 1/64 above it.
//!
//! Not here: when a duration starts and ends (`load.rs`).

/// Linear steps within one doubling; their inverse is the relative error.
const STEPS: u64 = 64;
const STEPS_LOG2: u32 = STEPS.ilog2();

/// Counts of values, in nanoseconds or any other unit.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; bucket(u64::MAX) + 1], total: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
    }

    /// How many values were recorded.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The value that `fraction` of all recorded ones do not exceed, or `None` if there are none.
    ///
    /// # Panics
    /// If `fraction` is not between 0 and 1.
    pub fn quantile(&self, fraction: f64) -> Option<u64> {
        assert!((0.0..=1.0).contains(&fraction), "a share of the whole");
        let rank = ((self.total as f64 * fraction).ceil() as u64).max(1);
        let mut seen = 0;
        let reaches = |count: &u64| {
            seen += count;
            seen >= rank
        };
        self.counts.iter().position(reaches).map(highest_of)
    }
}

// value      0 … 63   64 … 127   128 … 255   256 … 511
// step       1        1          2           4
// bucket     0 … 63   64 … 127   128 … 191   192 … 255
fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let doubling = value.ilog2() - STEPS_LOG2;
    (u64::from(doubling) * STEPS + (value >> doubling)) as usize
}

fn highest_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let doubling = bucket / STEPS - 1;
    let step = bucket - doubling * STEPS;
    // Subtracting last keeps the highest bucket, which ends at u64::MAX, from overflowing.
    ((step << doubling) - 1) + (1 << doubling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_keep_the_relative_error() {
        let mut previous = 0;
        let powers = (0..64).map(|power| 1u64 << power);
        let edges = powers.flat_map(|power| [power - 1, power, power + power / 3, power + (power - 1)]);
        for value in (0..5000).chain(edges.skip(4 * 12)) {
            let index = bucket(value);
            let highest = highest_of(index);
            assert!(value <= highest, "{value} > {highest}");
            assert!(highest - value <= value / STEPS, "{value} reported as {highest}");
            assert!(index >= previous || value < 5000);
            previous = index;
        }
        assert_eq!(highest_of(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn every_bucket_begins_right_after_the_one_before() {
        for index in 0..bucket(u64::MAX) {
            assert_eq!(bucket(highest_of(index)), index);
            assert_eq!(bucket(highest_of(index) + 1), index + 1);
        }
    }

    #[test]
    fn quantiles_of_one_to_hundred() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=100).for_each(|value| histogram.record(value));
        assert_eq!(histogram.quantile(0.0), Some(1));
        assert_eq!(histogram.quantile(0.5), Some(50));
        assert_eq!(histogram.quantile(0.99), Some(99));
        assert_eq!(histogram.quantile(1.0), Some(100));
        assert_eq!(histogram.total(), 100);
    }
}
