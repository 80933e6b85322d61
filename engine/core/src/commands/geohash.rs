//! Places on earth as numbers of 52 bits, and distances between them.
//!
//! Longitude and latitude are cut in halves in turn; each cut is a bit:
//!
//! ```text
//!   51                                    0
//!   lon lat lon lat …              lon lat      26 bits of each
//! ```
//!
//! Numbers that are near each other are places near each other, and all places in one cell of the grid of `step` cuts
//! are one range of numbers. (Not the other way round: the cells around it have to be looked at, too.)
//!
//! Always true: the same bits as in Redis, for the same doubles.
//!
//! Not here: sorted sets (`geo.rs`). Functions of trigonometry come from `libm`: equal on every machine.

use core::{f64::consts::PI, ops::Range};

/// Cuts per direction in a score.
pub const STEP_MAX: u32 = 26;

const LONGITUDE_MAX: f64 = 180.0;
/// Beyond, the Mercator projection leaves the square.
const LATITUDE_MAX: f64 = 85.051_128_78;
const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
/// Half of the projected equator.
const MERCATOR_MAX_M: f64 = 20_037_726.37;

/// A place, in degrees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Place {
    /// East of Greenwich.
    pub longitude: f64,
    /// North of the equator.
    pub latitude: f64,
}

impl Place {
    /// Whether it can be told as a number.
    pub fn is_valid(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    /// As a score.
    pub fn score(self) -> u64 {
        Cell::at(self, STEP_MAX).bits()
    }

    /// The middle of the cell that a score means.
    pub fn of_score(score: f64) -> Place {
        let cell = Cell::of_bits(bits_of(score), STEP_MAX);
        let Bounds { west, east, south, north } = cell.bounds();
        Place {
            longitude: ((west + east) / 2.0).clamp(-LONGITUDE_MAX, LONGITUDE_MAX),
            latitude: ((south + north) / 2.0).clamp(-LATITUDE_MAX, LATITUDE_MAX),
        }
    }

    /// The geohash that other programs know, eleven characters.
    pub fn geohash(self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        // They let latitude go up to the poles.
        let cell = Cell {
            x: index(self.longitude, LONGITUDE_MAX, STEP_MAX),
            y: index(self.latitude, 90.0, STEP_MAX),
            step: STEP_MAX,
        };
        let bits = cell.bits();
        // 52 bits are ten characters of five; the eleventh tells nothing.
        core::array::from_fn(
            |at| if at < 10 { ALPHABET[(bits >> (47 - 5 * at)) as usize & 31] } else { b'0' },
        )
    }

    /// Metres to another place along a great circle.
    pub fn distance_m(self, other: Place) -> f64 {
        let (latitude, other_latitude) = (radians(self.latitude), radians(other.latitude));
        let v = libm::sin((radians(other.longitude) - radians(self.longitude)) / 2.0);
        if v == 0.0 {
            return self.latitude_distance_m(other);
        }
        let u = libm::sin((other_latitude - latitude) / 2.0);
        let a = u * u + libm::cos(latitude) * libm::cos(other_latitude) * v * v;
        2.0 * EARTH_RADIUS_M * libm::asin(libm::sqrt(a))
    }

    /// Metres from parallel to parallel.
    fn latitude_distance_m(self, other: Place) -> f64 {
        EARTH_RADIUS_M * (radians(other.latitude) - radians(self.latitude)).abs()
    }
}

fn radians(degrees: f64) -> f64 {
    degrees * (PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (PI / 180.0)
}

// --- Cells ----------------------------------------------------------------------------------------

/// A cell of the grid of `step` cuts per direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cell {
    x: u32,
    y: u32,
    step: u32,
}

/// The edges of a cell or a box, in degrees.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

/// Where a coordinate from `-max` to `max` falls among 2^step cells. `max` itself falls behind the last, as in Redis.
fn index(coordinate: f64, max: f64, step: u32) -> u32 {
    ((coordinate + max) / (max + max) * (1u64 << step) as f64) as u32
}

impl Cell {
    fn at(place: Place, step: u32) -> Cell {
        let (x, y) = (index(place.longitude, LONGITUDE_MAX, step), index(place.latitude, LATITUDE_MAX, step));
        Cell { x, y, step }
    }

    fn of_bits(bits: u64, step: u32) -> Cell {
        Cell { x: every_second_bit(bits >> 1), y: every_second_bit(bits), step }
    }

    fn bits(self) -> u64 {
        spread(self.y) | spread(self.x) << 1
    }

    fn bounds(self) -> Bounds {
        let edge = |index: u64, max: f64| -max + index as f64 / (1u64 << self.step) as f64 * (max + max);
        Bounds {
            west: edge(self.x.into(), LONGITUDE_MAX),
            east: edge(u64::from(self.x) + 1, LONGITUDE_MAX),
            south: edge(self.y.into(), LATITUDE_MAX),
            north: edge(u64::from(self.y) + 1, LATITUDE_MAX),
        }
    }

    /// The cell this many cells to the east and to the north; the world is round in both directions.
    fn neighbor(self, east: i32, north: i32) -> Cell {
        let mask = (1u32 << self.step) - 1;
        let moved = |index: u32, by: i32| if by == 0 { index } else { index.wrapping_add_signed(by) & mask };
        Cell { x: moved(self.x, east), y: moved(self.y, north), step: self.step }
    }

    /// The scores of all places in it.
    fn scores(self) -> Range<u64> {
        let shift = 2 * (STEP_MAX - self.step);
        self.bits() << shift..(self.bits() + 1) << shift
    }
}

/// Bit n of `half` becomes bit 2n.
fn spread(half: u32) -> u64 {
    const MASKS: [(u32, u64); 5] = [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ];
    MASKS.iter().fold(half.into(), |bits, (shift, mask)| (bits | bits << shift) & mask)
}

/// Bit 2n of `bits` becomes bit n.
fn every_second_bit(bits: u64) -> u32 {
    const MASKS: [(u32, u64); 5] = [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ];
    MASKS.iter().fold(bits & 0x5555_5555_5555_5555, |bits, (shift, mask)| (bits | bits >> shift) & mask)
        as u32
}

// --- Areas ----------------------------------------------------------------------------------------

/// What a search covers around its centre, in metres.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Everything as near as this.
    Circle {
        /// From the centre.
        radius_m: f64,
    },
    /// A box along the meridians.
    Box {
        /// From west to east.
        width_m: f64,
        /// From south to north.
        height_m: f64,
    },
}

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// Its centre.
    pub center: Place,
    /// What is around that.
    pub shape: Shape,
}

impl Area {
    /// Metres from the centre to a place that is inside; `None` outside.
    pub fn distance_inside_m(self, place: Place) -> Option<f64> {
        let distance_m = self.center.distance_m(place);
        let is_inside = match self.shape {
            Shape::Circle { radius_m } => distance_m <= radius_m,
            Shape::Box { width_m, height_m } => {
                let on_parallel = Place { latitude: place.latitude, ..self.center };
                self.center.latitude_distance_m(place) <= height_m / 2.0
                    && place.distance_m(on_parallel) <= width_m / 2.0
            }
        };
        is_inside.then_some(distance_m)
    }

    /// Ranges of scores that hold every place inside: the cell of the centre and those around it that matter.
    ///
    /// In the order in which Redis looks at them, which is that of unsorted results. A range may come twice.
    pub fn score_ranges(self) -> impl Iterator<Item = Range<u64>> {
        /// East and north: the middle, the four sides, the four corners.
        const AROUND: [(i32, i32); 9] =
            [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let bounds = self.bounds();
        let mut middle = Cell::at(self.center, self.step());
        if middle.step > 1 && !is_covered(middle, bounds) {
            middle = Cell::at(self.center, middle.step - 1);
        }
        let own = middle.bounds();
        // Where the middle reaches beyond the bounds, what lies behind it cannot matter.
        let is_needed = move |(east, north): (i32, i32)| {
            middle.step < 2
                || !((north < 0 && own.south < bounds.south)
                    || (north > 0 && own.north > bounds.north)
                    || (east < 0 && own.west < bounds.west)
                    || (east > 0 && own.east > bounds.east))
        };
        let mut previous = None;
        AROUND.into_iter().filter(move |&by| is_needed(by)).filter_map(move |(east, north)| {
            let cell = middle.neighbor(east, north);
            // In a grid of few cells the neighbours on both sides can be the same.
            let is_repeated = previous == Some(cell);
            if (east, north) != (0, 0) {
                previous = Some(cell);
            }
            (!is_repeated).then(|| cell.scores())
        })
    }

    /// Cuts after which a cell is about as large as the area.
    fn step(self) -> u32 {
        let radius_m = match self.shape {
            Shape::Circle { radius_m } => radius_m,
            Shape::Box { width_m, height_m } => {
                libm::sqrt((width_m / 2.0) * (width_m / 2.0) + (height_m / 2.0) * (height_m / 2.0))
            }
        };
        if radius_m == 0.0 {
            return STEP_MAX;
        }
        let (mut step, mut covered_m) = (1, radius_m);
        while covered_m < MERCATOR_MAX_M {
            covered_m *= 2.0;
            step += 1;
        }
        step -= 2;
        // Meridians draw together towards the poles.
        step -= i32::from(self.center.latitude.abs() > 66.0) + i32::from(self.center.latitude.abs() > 80.0);
        step.clamp(1, STEP_MAX as i32) as u32
    }

    fn bounds(self) -> Bounds {
        let Place { longitude, latitude } = self.center;
        let (width_m, height_m) = match self.shape {
            Shape::Circle { radius_m } => (radius_m, radius_m),
            Shape::Box { width_m, height_m } => (width_m / 2.0, height_m / 2.0),
        };
        let north_south = degrees(height_m / EARTH_RADIUS_M);
        // The side towards the pole is where most meridians are crossed.
        let edge = if latitude < 0.0 { latitude - north_south } else { latitude + north_south };
        let east_west = degrees(width_m / EARTH_RADIUS_M / libm::cos(radians(edge)));
        Bounds {
            west: longitude - east_west,
            east: longitude + east_west,
            south: latitude - north_south,
            north: latitude + north_south,
        }
    }
}

/// Whether a cell and its neighbours reach as far as `bounds`.
fn is_covered(middle: Cell, bounds: Bounds) -> bool {
    middle.neighbor(0, 1).bounds().north >= bounds.north
        && middle.neighbor(0, -1).bounds().south <= bounds.south
        && middle.neighbor(1, 0).bounds().east >= bounds.east
        && middle.neighbor(-1, 0).bounds().west <= bounds.west
}

/// The bits of any score. What is no place is shown as one all the same, as by Redis on x86-64: below zero from the other
/// end of the world, and what no integer of 64 bits holds as that processor converts it.
fn bits_of(score: f64) -> u64 {
    const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;
    if score < -TWO_POW_63 {
        1 << 63
    } else if score < TWO_POW_63 {
        score as i64 as u64
    } else if score < 2.0 * TWO_POW_63 {
        score as u64
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PALERMO: Place = Place { longitude: 13.361389, latitude: 38.115556 };

    #[test]
    fn scores_are_those_of_redis() {
        let table = [
            (PALERMO, 3479099956230698, "sqc8b49rny0"),
            (Place { longitude: 15.087269, latitude: 37.502669 }, 3479447370796909, "sqdtr74hyu0"),
            (Place { longitude: -180.0, latitude: -LATITUDE_MAX }, 0, "00bh0hbj200"),
        ];
        for (place, score, geohash) in table {
            assert_eq!(place.score(), score);
            assert_eq!(Place::of_score(score as f64).geohash(), geohash.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn spreading_is_undone_by_taking_every_second_bit(half: u32) {
            prop_assert_eq!(every_second_bit(spread(half)), half);
        }

        /// What could go wrong: a cell that matters is left out, and with it the places in it. Each place inside of the
        /// area must lie in one of the ranges.
        #[test]
        fn ranges_hold_every_place_inside(
            (longitude, latitude) in (-170.0..170.0f64, -70.0..70.0f64),
            (east, north) in (-1.0..1.0f64, -1.0..1.0f64),
            size_m in 1.0..400_000.0f64,
            is_circle: bool,
        ) {
            let center = Place { longitude, latitude };
            let shape = if is_circle {
                Shape::Circle { radius_m: size_m }
            } else {
                Shape::Box { width_m: size_m, height_m: size_m / 2.0 }
            };
            let area = Area { center, shape };
            let reach = degrees(size_m / EARTH_RADIUS_M);
            let place = Place { longitude: longitude + east * reach, latitude: latitude + north * reach };
            let score = place.score();
            let place = Place::of_score(score as f64);
            if place.is_valid() && area.distance_inside_m(place).is_some() {
                prop_assert!(area.score_ranges().any(|range| range.contains(&score)));
            }
        }

        #[test]
        fn a_place_comes_back_from_its_score(longitude in -180.0..180.0f64, latitude in -85.0..85.0f64) {
            let place = Place { longitude, latitude };
            prop_assert!(place.distance_m(Place::of_score(place.score() as f64)) < 0.6);
        }
    }
}
