//! The time as the host tells it: one reading per wake-up, passed down as an argument.

/// One reading of both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Microseconds of a clock that never goes back and does not jump; its zero is arbitrary.
    pub mono_us: u64,
    /// Microseconds since 1970 as the machine believes; may jump both ways.
    pub wall_us: u64,
}

impl Now {
    /// Milliseconds since 1970.
    pub fn wall_ms(self) -> u64 {
        self.wall_us / 1_000
    }

    /// Seconds since 1970.
    pub fn wall_s(self) -> u64 {
        self.wall_us / 1_000_000
    }

    /// Milliseconds of the monotonic clock.
    pub fn mono_ms(self) -> u64 {
        self.mono_us / 1_000
    }
}
