//! The two clocks of the machine, read together.
//!
//! Not here: when to read them (`host.rs`: once per wake-up and once before a turn).

use std::sync::OnceLock;

use perdura_core::time::Now;

use crate::sys;

/// One reading of CLOCK_MONOTONIC and CLOCK_REALTIME.
pub fn now() -> Now {
    Now { mono_us: sys::clock_us(libc::CLOCK_MONOTONIC), wall_us: sys::clock_us(libc::CLOCK_REALTIME) }
}

/// A stopwatch: nanoseconds since some moment, for durations that are only shown.
///
/// The processor's own counter where it runs evenly, which costs a third of a clock reading: commands are timed one by one.
pub fn nanoseconds() -> u64 {
    static RATE: OnceLock<Option<Rate>> = OnceLock::new();
    match RATE.get_or_init(Rate::measure) {
        Some(rate) => rate.nanoseconds(sys::ticks()),
        None => sys::clock_ns(libc::CLOCK_MONOTONIC),
    }
}

/// How fast the processor's counter runs: nanoseconds in 2^32 ticks.
struct Rate(u64);

impl Rate {
    /// Compares the counter with the clock; `None` if it does not run evenly.
    fn measure() -> Option<Rate> {
        /// The clock's own unevenness is some 50 ns: a thousandth of this.
        const WATCHED_NS: u64 = 100_000;
        if !sys::has_steady_ticks() {
            return None;
        }
        let (clock_before, ticks_before) = (sys::clock_ns(libc::CLOCK_MONOTONIC), sys::ticks());
        loop {
            let (clock, ticks) = (sys::clock_ns(libc::CLOCK_MONOTONIC), sys::ticks());
            let (elapsed_ns, elapsed_ticks) = (clock - clock_before, ticks.saturating_sub(ticks_before));
            if elapsed_ns >= WATCHED_NS {
                return (u128::from(elapsed_ns) << 32)
                    .checked_div(elapsed_ticks.into())
                    .map(|rate| Rate(rate as u64));
            }
        }
    }

    fn nanoseconds(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.0)) >> 32) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_clock_does_not_go_back_and_wall_clock_is_after_2020() {
        let first = now();
        let second = now();
        assert!(second.mono_us >= first.mono_us);
        assert!(first.wall_us > 1_577_836_800_000_000);
    }

    #[test]
    fn the_stopwatch_agrees_with_the_clock() {
        let clock_ns = || sys::clock_ns(libc::CLOCK_MONOTONIC);
        let first = nanoseconds();
        let outer_before = clock_ns();
        let before = nanoseconds();
        let inner_before = clock_ns();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let inner = clock_ns() - inner_before;
        let elapsed = nanoseconds() - before;
        let outer = clock_ns() - outer_before;
        // A hundredth off at most; the readings of the clock lie on either side of those of the stopwatch.
        assert!(first <= before);
        assert!(
            inner - inner / 100 <= elapsed && elapsed <= outer + outer / 100,
            "{inner} {elapsed} {outer}"
        );
    }
}
