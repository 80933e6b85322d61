//! The two clocks of the machine, read together.
//!
//! Not here: when to read them (`host.rs`: once per wake-up and once before a turn).

use perdura_core::time::Now;

use crate::sys;

/// One reading of CLOCK_MONOTONIC and CLOCK_REALTIME.
pub fn now() -> Now {
    Now { mono_us: sys::clock_us(libc::CLOCK_MONOTONIC), wall_us: sys::clock_us(libc::CLOCK_REALTIME) }
}

/// A stopwatch: nanoseconds of CLOCK_MONOTONIC.
pub fn nanoseconds() -> u64 {
    sys::clock_ns(libc::CLOCK_MONOTONIC)
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
}
