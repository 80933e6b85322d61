//! The intset: a sorted array of distinct integers, all of one width.
//!
//! Exists because a small set of integers needs no hash table: two bytes per member instead of some fifty. The bytes
//! in memory are Redis's own, so saving is a copy and loading is a check.
//!
//! ```text
//! ┌────────────────────┬───────────┬──────┬──────┬───┐
//! │ width u32: 2, 4, 8 │ count u32 │ least│ next │ … │     little endian, strictly ascending
//! └────────────────────┴───────────┴──────┴──────┴───┘
//! ```
//!
//! Always true: the width holds every member, and never decreases; the size is exactly header plus count × width.
//!
//! Not here: when a set leaves this encoding (a member that is no integer, or too many of them).

use crate::alloc_size::alloc_size;
use crate::damage::Damage;
use crate::listpack::signed;
use alloc::vec::Vec;

const HEADER_BYTES: usize = 8;
const WIDTH_LEAST: usize = 2;

/// An owned set of integers.
#[derive(Clone, PartialEq, Eq)]
pub struct Intset {
    bytes: Vec<u8>,
}

impl Intset {
    /// An empty set.
    pub fn new() -> Intset {
        Intset { bytes: [WIDTH_LEAST as u8, 0, 0, 0, 0, 0, 0, 0].to_vec() }
    }

    /// Takes in bytes of unknown origin after checking every member.
    ///
    /// # Errors
    /// The first rule the bytes break: width, size, order. No members at all is damage too, as in Redis: a stored set
    /// is never empty.
    pub fn from_bytes_checked(bytes: &[u8]) -> Result<Intset, Damage> {
        let field = |at: usize| bytes.get(at..at + 4).map(|field| signed(field) as u32 as usize);
        let (Some(width), Some(count)) = (field(0), field(4)) else {
            return Err(Damage::at(0, "intset shorter than its header"));
        };
        if !matches!(width, 2 | 4 | 8) {
            return Err(Damage::at(0, "intset width is none of 2, 4, 8"));
        }
        if count == 0 || count.checked_mul(width) != Some(bytes.len() - HEADER_BYTES) {
            return Err(Damage::at(4, "intset count does not match its size"));
        }
        let set = Intset { bytes: bytes.to_vec() };
        match (1..count).find(|&index| set.at(index - 1) >= set.at(index)) {
            Some(index) => Err(Damage::at(HEADER_BYTES + index * width, "intset members not ascending")),
            None => Ok(set),
        }
    }

    /// The bytes as Redis would store them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Size of `as_bytes`.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Heap bytes held.
    pub fn memory(&self) -> usize {
        alloc_size(self.bytes.capacity())
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        (self.bytes.len() - HEADER_BYTES) / self.width()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER_BYTES
    }

    /// Whether `value` is a member.
    pub fn contains(&self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// The member at `index` in ascending order. With a random index: a random member.
    pub fn get(&self, index: usize) -> Option<i64> {
        (index < self.len()).then(|| self.at(index))
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + Clone + '_ {
        self.bytes[HEADER_BYTES..].chunks_exact(self.width()).map(signed)
    }

    /// Adds a member; `false` if it was there already.
    pub fn insert(&mut self, value: i64) -> bool {
        if width_of(value) > self.width() {
            self.widen(width_of(value)); // A value too wide for the others is not among them.
        }
        let Err(index) = self.search(value) else { return false };
        let (width, len) = (self.width(), self.bytes.len());
        let at = HEADER_BYTES + index * width;
        if len + width > self.bytes.capacity() {
            self.bytes.reserve_exact(alloc_size(len + width) - len);
        }
        self.bytes.resize(len + width, 0);
        self.bytes.copy_within(at..len, at + width);
        self.bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        self.write_count();
        true
    }

    /// Takes a member out; `false` if it was not there.
    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(index) = self.search(value) else { return false };
        let at = HEADER_BYTES + index * self.width();
        self.bytes.drain(at..at + self.width());
        self.write_count();
        let class = alloc_size(self.bytes.len());
        if class <= self.bytes.capacity() / 2 {
            self.bytes.shrink_to(class);
        }
        true
    }

    /// Rewrites every member in `width` bytes.
    fn widen(&mut self, width: usize) {
        let size = HEADER_BYTES + (self.len() + 1) * width; // One more: the member that asked for it.
        let mut bytes = Vec::with_capacity(alloc_size(size));
        bytes.extend_from_slice(&(width as u32).to_le_bytes());
        bytes.extend_from_slice(&self.bytes[4..HEADER_BYTES]);
        self.iter().for_each(|member| bytes.extend_from_slice(&member.to_le_bytes()[..width]));
        self.bytes = bytes;
    }

    /// `Ok` with the index of `value`, or `Err` with the index it would take.
    fn search(&self, value: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            match self.at(middle).cmp(&value) {
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Equal => return Ok(middle),
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    fn at(&self, index: usize) -> i64 {
        let members = &self.bytes[HEADER_BYTES..];
        match self.width() {
            2 => i64::from(i16::from_le_bytes([members[2 * index], members[2 * index + 1]])),
            width => signed(&members[index * width..(index + 1) * width]),
        }
    }

    fn width(&self) -> usize {
        usize::from(self.bytes[0])
    }

    fn write_count(&mut self) {
        let count = u32::try_from(self.len()).expect("an intset stays far below 2^32 members");
        self.bytes[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
    }
}

impl Default for Intset {
    fn default() -> Self {
        Intset::new()
    }
}

impl core::fmt::Debug for Intset {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<i64> for Intset {
    fn from_iter<I: IntoIterator<Item = i64>>(values: I) -> Self {
        let mut set = Intset::new();
        values.into_iter().for_each(|value| {
            set.insert(value);
        });
        set
    }
}

/// Bytes of the narrowest width that holds `value`.
fn width_of(value: i64) -> usize {
    match value {
        -0x8000..=0x7fff => 2,
        -0x8000_0000..=0x7fff_ffff => 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_size::size;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_those_of_redis() {
        // Redis 7.0.15: SADD of 1 2 300, from its DUMP payload.
        let expected = [2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 2, 0, 0x2c, 1];
        let set: Intset = [300, 1, 2, 1].into_iter().collect();
        assert_eq!(set.as_bytes(), expected);
        assert_eq!(Intset::from_bytes_checked(&expected), Ok(set));
    }

    #[test]
    fn width_grows_with_a_member_and_stays() {
        let mut set: Intset = [1, -1].into_iter().collect();
        for (value, width) in [(32_767, 2), (-32_769, 4), (1 << 31, 8), (i64::MIN, 8)] {
            assert!(set.insert(value));
            assert_eq!(set.width(), width);
        }
        assert!(set.iter().eq([i64::MIN, -32_769, -1, 1, 32_767, 1 << 31]));
        assert!(set.remove(i64::MIN) && set.remove(1 << 31) && !set.remove(1 << 40));
        assert_eq!(set.width(), 8);
    }

    #[test]
    fn damaged_bytes_are_refused_or_sorted() {
        let whole: Intset = [-70_000, -1, 0, 1, 300].into_iter().collect();
        let whole = whole.as_bytes();
        for len in 0..whole.len() {
            assert!(Intset::from_bytes_checked(&whole[..len]).is_err(), "cut to {len}");
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(survivor) = Intset::from_bytes_checked(&bytes) {
                assert!(survivor.iter().is_sorted());
                assert!(survivor.iter().all(|member| survivor.contains(member)));
            }
        }
        assert!(Intset::from_bytes_checked(Intset::new().as_bytes()).is_err(), "a stored set is never empty");
    }

    fn value() -> impl Strategy<Value = i64> {
        prop_oneof![4 => -20i64..20, 1 => any::<i16>().prop_map(i64::from), 1 => any::<i32>().prop_map(i64::from), 1 => any::<i64>()]
    }

    proptest! {
        #[test]
        fn behaves_like_a_tree_set(steps in proptest::collection::vec((any::<bool>(), value()), 0..size(80, 30))) {
            let (mut set, mut twin) = (Intset::new(), BTreeSet::new());
            for (is_insert, value) in steps {
                if is_insert {
                    prop_assert_eq!(set.insert(value), twin.insert(value));
                } else {
                    prop_assert_eq!(set.remove(value), twin.remove(&value));
                }
                prop_assert_eq!(set.contains(value), twin.contains(&value));
                prop_assert!(set.iter().eq(twin.iter().copied()));
                prop_assert!((0..set.len()).filter_map(|index| set.get(index)).eq(twin.iter().copied()));
                if !set.is_empty() {
                    prop_assert_eq!(Intset::from_bytes_checked(set.as_bytes()), Ok(set.clone()));
                }
            }
            prop_assert_eq!(set.get(set.len()), None);
        }
    }
}
