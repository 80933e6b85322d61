//! How much room the disk has left, and what follows from it: `disk-soft-limit` and `disk-hard-limit`.
//!
//! Exists so that the disk is never found full in the middle of a write. The host measures about once a second; in
//! between, what the log has grown by is taken off. Below the soft limit the log is rewritten early; below the hard one
//! writes are refused, and what is left is the room of the rewrite that frees some.
//!
//! Always true: nobody is asked while no limit is set; what cannot be measured refuses nothing.
//!
//! Not here: a disk that is full all the same (`append_only.rs`, `repair_if_broken`).

use crate::{
    host::{Effect, Effects, Offset},
    time::Now,
};

/// Time between two measurements, microseconds.
const INTERVAL_US: u64 = 1_000_000;
/// The same while there is little room, so that writes are taken again soon after somebody has made some.
const INTERVAL_SCARCE_US: u64 = 200_000;

/// `disk-soft-limit` and `disk-hard-limit`, free bytes; 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SpaceLimits {
    /// Below it the log is rewritten early.
    pub soft: u64,
    /// Below it writes are refused.
    pub hard: u64,
}

/// What is known of the room on the disk.
#[derive(Clone, Debug, Default)]
pub struct Space {
    limits: SpaceLimits,
    /// Free bytes when last measured, and where the log stood then.
    measured: Option<(u64, Offset)>,
    is_asked: bool,
    ask_at_us: u64,
    /// What was last said about it, so that the log tells of changes only.
    told: Room,
}

/// How much room there is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Room {
    /// Enough, or nobody knows.
    #[default]
    Enough,
    /// Less than the soft limit.
    Scarce,
    /// Less than the hard limit.
    Reserved,
}

impl Room {
    /// As INFO shows it.
    pub fn word(self) -> &'static str {
        match self {
            Room::Enough => "ok",
            Room::Scarce => "soft-limit",
            Room::Reserved => "hard-limit",
        }
    }
}

impl Space {
    /// Takes over new limits, and measures at once where they have changed.
    pub fn configure(&mut self, limits: SpaceLimits) {
        if self.limits != limits {
            self.limits = limits;
            self.ask_at_us = 0;
            if limits == SpaceLimits::default() {
                self.measured = None;
            }
        }
    }

    /// Has the disk measured if it is time.
    pub fn poll(&mut self, now: Now, effects: &mut Effects) {
        if self.limits != SpaceLimits::default() && !self.is_asked && now.mono_us >= self.ask_at_us {
            self.is_asked = true;
            effects.push(Effect::MeasureSpace);
        }
    }

    /// The host has measured, the log standing at `logged`; or could not, with this error number.
    pub fn take_in(&mut self, now: Now, result: Result<u64, i32>, logged: Offset) {
        self.is_asked = false;
        self.measured = match result {
            Ok(free) => Some((free, logged)),
            Err(errno) => {
                tracing::warn!("Can't find out how much room the disk has left: errno {errno}");
                None
            }
        };
        let room = self.room(logged);
        self.tell(room, logged);
        let interval_us = if room == Room::Enough { INTERVAL_US } else { INTERVAL_SCARCE_US };
        self.ask_at_us = now.mono_us + interval_us;
    }

    fn tell(&mut self, room: Room, logged: Offset) {
        if room == self.told {
            return;
        }
        self.told = room;
        let free = self.free(logged).unwrap_or(0);
        match room {
            Room::Enough => tracing::info!("The disk has room again: {free} bytes are free"),
            Room::Scarce => tracing::warn!("{free} bytes are free on the disk, less than disk-soft-limit"),
            Room::Reserved => {
                tracing::warn!(
                    "{free} bytes are free on the disk, less than disk-hard-limit: writes are refused"
                );
            }
        }
    }

    /// Free bytes, as far as known; what was logged since the last measurement is taken off.
    pub fn free(&self, logged: Offset) -> Option<u64> {
        self.measured.map(|(free, at)| free.saturating_sub(logged.saturating_sub(at)))
    }

    /// How much room there is now that the log stands at `logged`.
    #[inline]
    pub fn room(&self, logged: Offset) -> Room {
        let Some(free) = self.free(logged) else { return Room::Enough };
        match () {
            () if free < self.limits.hard => Room::Reserved,
            () if free < self.limits.soft => Room::Scarce,
            () => Room::Enough,
        }
    }

    /// The hard limit, bytes.
    pub fn hard_limit(&self) -> u64 {
        self.limits.hard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_us: u64) -> Now {
        Now { mono_us, wall_us: mono_us }
    }

    fn space(soft: u64, hard: u64) -> Space {
        let mut space = Space::default();
        space.configure(SpaceLimits { soft, hard });
        space
    }

    fn is_asked(space: &mut Space, mono_us: u64) -> bool {
        let mut effects = Effects::new();
        space.poll(at(mono_us), &mut effects);
        effects == [Effect::MeasureSpace]
    }

    #[test]
    fn limits_begin_below_their_number() {
        let mut space = space(100, 10);
        for (free, room) in [(100, Room::Enough), (99, Room::Scarce), (10, Room::Scarce), (9, Room::Reserved)]
        {
            space.take_in(at(0), Ok(free), 0);
            assert_eq!(space.room(0), room, "{free}");
        }
    }

    #[test]
    fn what_is_logged_between_two_measurements_counts() {
        let mut space = space(0, 10);
        space.take_in(at(0), Ok(50), 1000);
        assert_eq!((space.room(1040), space.room(1041)), (Room::Enough, Room::Reserved));
        assert_eq!(space.free(2000), Some(0));
    }

    #[test]
    fn one_measurement_at_a_time_and_more_often_when_room_is_scarce() {
        let mut space = space(100, 0);
        assert!(is_asked(&mut space, 5));
        assert!(!is_asked(&mut space, 10_000_000));
        space.take_in(at(10_000_000), Ok(1000), 0);
        assert!(!is_asked(&mut space, 10_999_999));
        assert!(is_asked(&mut space, 11_000_000));
        space.take_in(at(11_000_000), Ok(1), 0);
        assert!(is_asked(&mut space, 11_200_000));
    }

    #[test]
    fn without_limits_or_knowledge_nothing_is_refused() {
        let mut space = space(0, 0);
        assert!(!is_asked(&mut space, 5));
        space.configure(SpaceLimits { soft: 1, hard: 1 });
        assert!(is_asked(&mut space, 5));
        space.take_in(at(5), Err(5), 0);
        assert_eq!(space.room(0), Room::Enough);
    }

    #[test]
    fn limits_taken_back_refuse_nothing_any_more() {
        let mut space = space(0, 10);
        space.take_in(at(0), Ok(1), 0);
        assert_eq!(space.room(0), Room::Reserved);
        space.configure(SpaceLimits::default());
        assert_eq!(space.room(0), Room::Enough);
    }
}
