//! The listpack: many small elements in one run of bytes, walkable from both ends.
//!
//! Exists because small hashes, sorted sets, lists and stream nodes spend more on pointers than on data. The bytes in
//! memory are Redis's own, so saving is a copy and loading is a check.
//!
//! ```text
//! ┌────────────┬───────────┬─────────┬───┬─────────┬──────┐
//! │ total  u32 │ count u16 │ entry 0 │ … │ entry n │ 0xFF │     little endian; count 0xFFFF = not known, walk
//! └────────────┴───────────┴─────────┴───┴─────────┴──────┘
//! entry = kind and data, then its own length, readable backwards:
//!   0xxxxxxx                 0..127           10llllll + l            string below 64
//!   110xxxxx xxxxxxxx        13-bit signed    1110llll llllllll + l   string below 4096
//!   F1 F2 F3 F4 + 2,3,4,8    signed           F0 + u32 + l            any other string
//! ```
//!
//! Always true: the bytes pass `from_bytes_checked`; an element that is a canonical decimal `i64` and came in through
//! `Item::from` is stored as an integer in its shortest form, so equal contents give the bytes Redis would write.
//!
//! Not here: what elements mean in pairs (field, value), uniqueness of keys, and the thresholds for leaving this
//! encoding; those belong to whoever owns the listpack.

use crate::alloc_size::alloc_size;
use crate::damage::Damage;
use crate::decimal;
use alloc::vec::Vec;

/// Bytes before the first entry.
const HEADER_BYTES: usize = 6;
/// Header and terminator.
const EMPTY_BYTES: usize = HEADER_BYTES + 1;
const TERMINATOR: u8 = 0xff;
/// Count field of a listpack whose elements must be counted by walking.
const COUNT_UNKNOWN: u16 = u16::MAX;

/// Size beyond which Redis refuses to append, so that the 32-bit size field stays far from its end.
pub const LISTPACK_BYTES_MAX: usize = 1 << 30;

/// One element, borrowed from the listpack that holds it (or from the caller who wants it stored).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// An element stored as an integer.
    Int(i64),
    /// An element stored as bytes.
    Bytes(&'a [u8]),
}

impl<'a> From<&'a [u8]> for Item<'a> {
    fn from(bytes: &'a [u8]) -> Item<'a> {
        decimal::parse(bytes).map_or(Item::Bytes(bytes), Item::Int)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Item<'a> {
    fn from(bytes: &'a [u8; N]) -> Item<'a> {
        Item::from(bytes.as_slice())
    }
}

impl From<i64> for Item<'_> {
    fn from(value: i64) -> Self {
        Item::Int(value)
    }
}

impl<'a> Item<'a> {
    /// The element as the bytes a client would see; integers are printed into `buffer`.
    pub fn text<'b>(self, buffer: &'b mut [u8; decimal::TEXT_BYTES_MAX]) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Item::Int(value) => decimal::format(value, buffer),
            Item::Bytes(bytes) => bytes,
        }
    }

    /// The element as owned bytes.
    pub fn to_vec(self) -> Vec<u8> {
        self.text(&mut [0; decimal::TEXT_BYTES_MAX]).to_vec()
    }

    /// Whether a client would see exactly `bytes`.
    pub fn is(self, bytes: &[u8]) -> bool {
        match self {
            Item::Int(value) => decimal::parse(bytes) == Some(value),
            Item::Bytes(own) => own == bytes,
        }
    }

    /// Length in bytes of what a client would see.
    pub fn text_len(self) -> usize {
        match self {
            Item::Int(value) => decimal::format(value, &mut [0; decimal::TEXT_BYTES_MAX]).len(),
            Item::Bytes(bytes) => bytes.len(),
        }
    }

    /// The integer this element is, stored as one or spelling one.
    pub fn to_int(self) -> Option<i64> {
        match self {
            Item::Int(value) => Some(value),
            Item::Bytes(bytes) => decimal::parse(bytes),
        }
    }

    /// Bytes this element takes in a listpack.
    pub fn packed_bytes(self) -> usize {
        Encoded::new(self).len()
    }
}

/// Where an entry starts. Good until the listpack is changed at or before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(usize);

/// An owned listpack.
#[derive(Clone, PartialEq, Eq)]
pub struct Listpack {
    bytes: Vec<u8>,
}

impl Listpack {
    /// An empty listpack.
    pub fn new() -> Listpack {
        Listpack { bytes: [EMPTY_BYTES as u8, 0, 0, 0, 0, 0, TERMINATOR].to_vec() }
    }

    /// Takes in bytes of unknown origin after checking every entry.
    ///
    /// # Errors
    /// The first rule the bytes break: size, terminator, an entry out of bounds, its backwards length, the count.
    pub fn from_bytes_checked(bytes: &[u8]) -> Result<Listpack, Damage> {
        check(bytes)?;
        Ok(Listpack { bytes: bytes.to_vec() })
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

    /// Number of elements. O(1) below 65535 elements, a walk from there on.
    pub fn len(&self) -> usize {
        match self.count_field() {
            COUNT_UNKNOWN => self.iter().count(),
            count => usize::from(count),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == EMPTY_BYTES
    }

    /// Whether `additional` more bytes of entries stay within `LISTPACK_BYTES_MAX`.
    pub fn has_room(&self, additional: usize) -> bool {
        self.bytes.len().saturating_add(additional) <= LISTPACK_BYTES_MAX
    }

    /// The elements in order; `.rev()` walks backwards.
    pub fn iter(&self) -> Iter<'_> {
        Iter { bytes: &self.bytes, front: HEADER_BYTES, back: self.end() }
    }

    /// The elements from the last to the first.
    pub fn iter_rev(&self) -> core::iter::Rev<Iter<'_>> {
        self.iter().rev()
    }

    /// The elements from `position` to the end.
    pub fn iter_from(&self, position: Position) -> Iter<'_> {
        Iter { bytes: &self.bytes, front: position.0, back: self.end() }
    }

    /// The elements with an index in `range`; what lies beyond the end is left out.
    pub fn range(&self, range: core::ops::Range<usize>) -> Iter<'_> {
        let offset = |index: usize| {
            let position = i64::try_from(index).ok().and_then(|index| self.seek(index));
            position.map_or(self.end(), |position| position.0)
        };
        Iter { bytes: &self.bytes, front: offset(range.start), back: offset(range.end) }
    }

    /// The element at `index`; negative counts from the end, -1 being the last.
    pub fn get(&self, index: i64) -> Option<Item<'_>> {
        self.seek(index).map(|position| self.item(position))
    }

    /// Where the element at `index` starts; negative counts from the end.
    ///
    /// Walks from whichever end is nearer.
    pub fn seek(&self, index: i64) -> Option<Position> {
        let index = match self.count_field() {
            COUNT_UNKNOWN => index,
            count => nearer_end(index, usize::from(count))?,
        };
        let mut entries = self.iter();
        if index >= 0 {
            let at = usize::try_from(index).ok()?;
            if at > 0 {
                entries.nth(at - 1)?;
            }
            (entries.front < entries.back).then_some(Position(entries.front))
        } else {
            entries.nth_back(usize::try_from(-(index + 1)).ok()?)?;
            Some(Position(entries.back))
        }
    }

    /// Where the first element starts.
    pub fn first(&self) -> Option<Position> {
        (!self.is_empty()).then_some(Position(HEADER_BYTES))
    }

    /// Where the last element starts.
    pub fn last(&self) -> Option<Position> {
        self.before(self.end())
    }

    /// Where the element after the one at `position` starts.
    pub fn next(&self, position: Position) -> Option<Position> {
        let next = position.0 + self.entry_len(position);
        (next < self.end()).then_some(Position(next))
    }

    /// Where the element before the one at `position` starts.
    pub fn prev(&self, position: Position) -> Option<Position> {
        self.before(position.0)
    }

    /// The element at `position`.
    pub fn item(&self, position: Position) -> Item<'_> {
        decode(&self.bytes[position.0..]).expect("a position names an entry").0
    }

    /// Where the first of every `stride`-th element equal to `value` starts.
    ///
    /// Stride 2 looks at the fields of a listpack of field, value pairs and passes over the values.
    pub fn find(&self, value: &[u8], stride: usize) -> Option<Position> {
        self.find_from(Position(HEADER_BYTES), value, stride)
    }

    /// Like `find`, starting with the element at `position`.
    pub fn find_from(&self, position: Position, value: &[u8], stride: usize) -> Option<Position> {
        assert!(stride > 0);
        let int = decimal::parse(value);
        let end = self.end();
        let (mut at, mut until_compared) = (position.0, 0);
        while at < end {
            let (item, len) = decode(&self.bytes[at..]).expect("entries are valid");
            if until_compared == 0 {
                let is_equal = match item {
                    Item::Bytes(bytes) => bytes == value,
                    Item::Int(own) => int == Some(own),
                };
                if is_equal {
                    return Some(Position(at));
                }
                until_compared = stride;
            }
            until_compared -= 1;
            at += len + backlen_bytes(len);
        }
        None
    }

    /// Adds an element at the end.
    pub fn push_back<'v>(&mut self, value: impl Into<Item<'v>>) {
        self.insert_at(self.end(), value.into());
    }

    /// Adds an element at the beginning.
    pub fn push_front<'v>(&mut self, value: impl Into<Item<'v>>) {
        self.insert_at(HEADER_BYTES, value.into());
    }

    /// Adds an element before the one at `position`, and says where the new one starts.
    pub fn insert_before<'v>(&mut self, position: Position, value: impl Into<Item<'v>>) -> Position {
        self.insert_at(position.0, value.into());
        position
    }

    /// Adds an element after the one at `position`, and says where the new one starts.
    pub fn insert_after<'v>(&mut self, position: Position, value: impl Into<Item<'v>>) -> Position {
        let after = position.0 + self.entry_len(position);
        self.insert_at(after, value.into());
        Position(after)
    }

    /// Puts another element in the place of the one at `position`, which stays good.
    pub fn replace<'v>(&mut self, position: Position, value: impl Into<Item<'v>>) {
        let old_len = self.entry_len(position);
        self.splice(position.0, old_len, &Encoded::new(value.into()));
        self.write_size();
    }

    /// Takes the element at `position` out; what followed it, if anything, then starts there.
    pub fn remove(&mut self, position: Position) -> Option<Position> {
        self.cut(position.0, position.0 + self.entry_len(position), 1);
        (position.0 < self.end()).then_some(position)
    }

    /// Takes out up to `count` elements from `index` on (negative counts from the end); says how many.
    pub fn remove_range(&mut self, index: i64, count: usize) -> usize {
        let Some(start) = self.seek(index) else { return 0 };
        let mut doomed = self.iter_from(start);
        let removed = doomed.by_ref().take(count).count();
        let end = doomed.front;
        self.cut(start.0, end, removed);
        removed
    }

    /// Takes out every element.
    pub fn clear(&mut self) {
        *self = Listpack::new();
    }

    /// Keeps the first `index` elements and gives back the others.
    pub fn split_off(&mut self, index: usize) -> Listpack {
        let mut tail = Listpack::new();
        let Some(start) = i64::try_from(index).ok().and_then(|index| self.seek(index)) else { return tail };
        let (end, moved) = (self.end(), self.iter_from(start).count());
        tail.take_in(&self.bytes[start.0..end], moved);
        self.cut(start.0, end, moved);
        tail
    }

    /// Adds all elements of `other` at the end.
    pub fn append(&mut self, other: &Listpack) {
        self.take_in(&other.bytes[HEADER_BYTES..other.end()], other.len());
    }

    /// Adds `count` entries, already encoded, at the end.
    fn take_in(&mut self, entries: &[u8], count: usize) {
        self.bytes.pop();
        self.reserve(entries.len() + 1);
        self.bytes.extend_from_slice(entries);
        self.bytes.push(TERMINATOR);
        self.write_size();
        self.count_grows(count);
    }

    fn insert_at(&mut self, at: usize, item: Item<'_>) {
        self.splice(at, 0, &Encoded::new(item));
        self.write_size();
        self.count_grows(1);
    }

    /// Replaces `old_len` bytes at `at` by an encoded entry.
    fn splice(&mut self, at: usize, old_len: usize, entry: &Encoded<'_>) {
        let (len, new_len) = (self.bytes.len(), entry.len());
        if new_len > old_len {
            self.reserve(new_len - old_len);
            self.bytes.resize(len + new_len - old_len, 0);
        }
        self.bytes.copy_within(at + old_len..len, at + new_len);
        self.bytes.truncate(len + new_len - old_len);
        entry.write(&mut self.bytes[at..at + new_len]);
        self.give_back_spare();
    }

    /// Takes out the `count` entries that lie in `start..end`.
    fn cut(&mut self, start: usize, end: usize, count: usize) {
        self.bytes.drain(start..end);
        self.give_back_spare();
        self.write_size();
        self.count_shrinks(count);
    }

    /// Grows to exactly what the allocator would set aside anyway, so that no byte of it is wasted.
    fn reserve(&mut self, additional: usize) {
        let needed = self.bytes.len() + additional;
        if needed > self.bytes.capacity() {
            self.bytes.reserve_exact(alloc_size(needed) - self.bytes.len());
        }
    }

    /// Half empty is worth a move; less than that is not.
    fn give_back_spare(&mut self) {
        let class = alloc_size(self.bytes.len());
        if class <= self.bytes.capacity() / 2 {
            self.bytes.shrink_to(class);
        }
    }

    fn count_field(&self) -> u16 {
        u16::from_le_bytes([self.bytes[4], self.bytes[5]])
    }

    fn count_grows(&mut self, by: usize) {
        let count = usize::from(self.count_field()).saturating_add(by);
        self.write_count(u16::try_from(count).unwrap_or(COUNT_UNKNOWN));
    }

    /// An unknown count stays unknown, except that an empty listpack is seen at once.
    fn count_shrinks(&mut self, by: usize) {
        match self.count_field() {
            _ if self.is_empty() => self.write_count(0),
            COUNT_UNKNOWN => {}
            count => self.write_count(count - by as u16), // At most `count` entries were there to take.
        }
    }

    fn write_count(&mut self, count: u16) {
        self.bytes[4..6].copy_from_slice(&count.to_le_bytes());
    }

    fn write_size(&mut self) {
        let size = u32::try_from(self.bytes.len()).expect("callers ask has_room before they add");
        self.bytes[..4].copy_from_slice(&size.to_le_bytes());
    }

    /// Offset of the terminator.
    fn end(&self) -> usize {
        self.bytes.len() - 1
    }

    fn before(&self, at: usize) -> Option<Position> {
        (at > HEADER_BYTES).then(|| Position(entry_start(&self.bytes, at)))
    }

    fn entry_len(&self, position: Position) -> usize {
        let (_, len) = decode(&self.bytes[position.0..]).expect("a position names an entry");
        len + backlen_bytes(len)
    }
}

impl Default for Listpack {
    fn default() -> Self {
        Listpack::new()
    }
}

impl core::fmt::Debug for Listpack {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &'a Listpack {
    type Item = Item<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'v, T: Into<Item<'v>>> FromIterator<T> for Listpack {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut pack = Listpack::new();
        values.into_iter().for_each(|value| pack.push_back(value));
        pack
    }
}

/// Elements of a listpack, from either end.
#[derive(Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (item, len) = decode(&self.bytes[self.front..]).expect("entries are valid");
        self.front += len + backlen_bytes(len);
        Some(item)
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    fn next_back(&mut self) -> Option<Item<'a>> {
        if self.front >= self.back {
            return None;
        }
        self.back = entry_start(self.bytes, self.back);
        decode(&self.bytes[self.back..]).map(|(item, _)| item)
    }
}

/// An element ready to be written: head, data, backwards length.
struct Encoded<'a> {
    head: [u8; 9],
    head_len: usize,
    data: &'a [u8],
}

impl<'a> Encoded<'a> {
    fn new(item: Item<'a>) -> Encoded<'a> {
        match item {
            Item::Int(value) => {
                let (head, head_len) = int_head(value);
                Encoded { head, head_len, data: &[] }
            }
            Item::Bytes(data) => {
                let (head, head_len) = string_head(data.len());
                Encoded { head, head_len, data }
            }
        }
    }

    fn len(&self) -> usize {
        let len = self.head_len + self.data.len();
        len + backlen_bytes(len)
    }

    fn write(&self, room: &mut [u8]) {
        let len = self.head_len + self.data.len();
        room[..self.head_len].copy_from_slice(&self.head[..self.head_len]);
        room[self.head_len..len].copy_from_slice(self.data);
        write_backlen(len, &mut room[len..]);
    }
}

fn int_head(value: i64) -> ([u8; 9], usize) {
    let mut head = [0; 9];
    let bytes = value.to_le_bytes();
    let (kind, width) = match value {
        0..=127 => {
            head[0] = bytes[0];
            return (head, 1);
        }
        -4096..=4095 => {
            head[0] = 0b1100_0000 | (bytes[1] & 0b0001_1111);
            head[1] = bytes[0];
            return (head, 2);
        }
        -0x8000..=0x7fff => (0xf1, 2),
        -0x80_0000..=0x7f_ffff => (0xf2, 3),
        -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
        _ => (0xf4, 8),
    };
    head[0] = kind;
    head[1..=width].copy_from_slice(&bytes[..width]);
    (head, width + 1)
}

fn string_head(len: usize) -> ([u8; 9], usize) {
    let mut head = [0; 9];
    if len < 64 {
        head[0] = 0b1000_0000 | len as u8;
        (head, 1)
    } else if len < 4096 {
        head[0] = 0b1110_0000 | (len >> 8) as u8;
        head[1] = len as u8;
        (head, 2)
    } else {
        let len = u32::try_from(len).expect("callers ask has_room before they add");
        head[0] = 0xf0;
        head[1..5].copy_from_slice(&len.to_le_bytes());
        (head, 5)
    }
}

/// The element at the start of `bytes` and its length without the backwards length.
///
/// `None` if the first byte names no kind or the element runs over the end.
#[inline]
fn decode(bytes: &[u8]) -> Option<(Item<'_>, usize)> {
    let first = *bytes.first()?;
    let string = |start: usize, len: usize| {
        let end = start.checked_add(len)?;
        Some((Item::Bytes(bytes.get(start..end)?), end))
    };
    match first {
        0..=0x7f => Some((Item::Int(i64::from(first)), 1)),
        0x80..=0xbf => string(1, usize::from(first & 0x3f)),
        0xc0..=0xdf => {
            let raw = u16::from_be_bytes([first & 0x1f, *bytes.get(1)?]);
            // Moving the sign bit (bit 12) to the top and back again copies it over the high bits.
            Some((Item::Int(i64::from((raw << 3) as i16 >> 3)), 2))
        }
        0xe0..=0xef => string(2, usize::from(u16::from_be_bytes([first & 0x0f, *bytes.get(1)?]))),
        0xf0 => string(5, u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?) as usize),
        0xf1 => Some((Item::Int(signed(bytes.get(1..3)?)), 3)),
        0xf2 => Some((Item::Int(signed(bytes.get(1..4)?)), 4)),
        0xf3 => Some((Item::Int(signed(bytes.get(1..5)?)), 5)),
        0xf4 => Some((Item::Int(signed(bytes.get(1..9)?)), 9)),
        _ => None,
    }
}

/// A little endian two's complement integer of up to eight bytes.
pub(crate) fn signed(bytes: &[u8]) -> i64 {
    let mut wide = [0; 8];
    let start = 8 - bytes.len();
    wide[start..].copy_from_slice(bytes);
    i64::from_le_bytes(wide) >> (8 * start)
}

/// Bytes the backwards length of an entry of `len` takes. The odd limits (one short of full) are Redis's.
fn backlen_bytes(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// Writes `len` so that reading from the end meets its lowest seven bits first.
fn write_backlen(len: usize, room: &mut [u8]) {
    for (turn, byte) in room.iter_mut().rev().enumerate() {
        *byte = (len >> (7 * turn)) as u8 | 0x80;
    }
    room[0] &= 0x7f; // Nothing more to the left.
}

/// Start of the entry that ends just before `end`.
fn entry_start(bytes: &[u8], end: usize) -> usize {
    let (mut len, mut width) = (0, 0);
    loop {
        let byte = bytes[end - 1 - width];
        len |= usize::from(byte & 0x7f) << (7 * width);
        width += 1;
        if byte & 0x80 == 0 {
            return end - width - len;
        }
    }
}

/// The same element counted from the end that is closer; `None` if there is none.
fn nearer_end(index: i64, count: usize) -> Option<i64> {
    let count = count as i64; // Below 65535.
    let forward = if index < 0 { index + count } else { index };
    if !(0..count).contains(&forward) {
        return None;
    }
    Some(if forward > count / 2 { forward - count } else { forward })
}

/// The deep check behind `from_bytes_checked`.
fn check(bytes: &[u8]) -> Result<(), Damage> {
    if bytes.len() < EMPTY_BYTES {
        return Err(Damage::at(0, "listpack shorter than its header"));
    }
    let size = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    if size as usize != bytes.len() {
        return Err(Damage::at(0, "listpack size differs from its header"));
    }
    let end = bytes.len() - 1;
    if bytes[end] != TERMINATOR {
        return Err(Damage::at(end, "listpack terminator missing"));
    }
    let (mut at, mut count) = (HEADER_BYTES, 0usize);
    while at < end {
        at += checked_entry_len(&bytes[at..end]).ok_or(Damage::at(at, "listpack entry invalid"))?;
        count += 1;
    }
    let claimed = u16::from_le_bytes([bytes[4], bytes[5]]);
    if claimed != COUNT_UNKNOWN && usize::from(claimed) != count {
        return Err(Damage::at(4, "listpack count differs from its entries"));
    }
    Ok(())
}

/// Whole length of the entry at the start of `bytes`, if both its data and its backwards length are sound.
fn checked_entry_len(bytes: &[u8]) -> Option<usize> {
    let (_, len) = decode(bytes)?;
    let mut backlen = [0; 5];
    let backlen = &mut backlen[..backlen_bytes(len)];
    write_backlen(len, backlen);
    (bytes.get(len..len + backlen.len())? == backlen).then_some(len + backlen.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// Redis 7.0.15: RPUSH of 1 -1 128 4096 -4097 32768 -8388609 2147483648 x, from its DUMP payload.
    const VECTOR: &[u8] = &[
        0x2f, 0, 0, 0, 9, 0, 0x01, 0x01, 0xdf, 0xff, 0x02, 0xc0, 0x80, 0x02, 0xf1, 0x00, 0x10, 0x03, 0xf1,
        0xff, 0xef, 0x03, 0xf2, 0x00, 0x80, 0x00, 0x04, 0xf3, 0xff, 0xff, 0x7f, 0xff, 0x05, 0xf4, 0, 0, 0,
        0x80, 0, 0, 0, 0, 0x09, 0x81, 0x78, 0x02, 0xff,
    ];

    #[test]
    fn bytes_are_those_of_redis() {
        let texts = ["1", "-1", "128", "4096", "-4097", "32768", "-8388609", "2147483648", "x"];
        let pack: Listpack = texts.iter().map(|text| text.as_bytes()).collect();
        assert_eq!(pack.as_bytes(), VECTOR);
        let read = Listpack::from_bytes_checked(VECTOR).unwrap();
        assert!(read.iter().zip(texts).all(|(item, text)| item.is(text.as_bytes())));
        assert_eq!(read.len(), texts.len());
    }

    #[test]
    fn zset_vector_of_redis_is_rebuilt() {
        let pack: Listpack = [&b"m"[..], b"1.5"].into_iter().collect();
        let expected = [0x0f, 0, 0, 0, 2, 0, 0x81, 0x6d, 0x02, 0x83, 0x31, 0x2e, 0x35, 0x04, 0xff];
        assert_eq!(pack.as_bytes(), expected);
    }

    #[test]
    fn integers_take_the_shortest_form() {
        let sizes = [
            (0, 1),
            (127, 1),
            (128, 2),
            (-1, 2),
            (4095, 2),
            (-4096, 2),
            (4096, 3),
            (-4097, 3),
            (32767, 3),
            (32768, 4),
            (-32769, 4),
            (8388607, 4),
            (8388608, 5),
            (2147483647, 5),
            (2147483648, 9),
            (i64::MIN, 9),
            (i64::MAX, 9),
        ];
        for (value, size) in sizes {
            let mut pack = Listpack::new();
            pack.push_back(value);
            assert_eq!(pack.byte_len(), EMPTY_BYTES + size + 1, "{value}");
            assert_eq!(pack.get(0), Some(Item::Int(value)));
        }
    }

    #[test]
    fn every_width_of_head_and_backlen_is_walked_both_ways() {
        let lengths =
            [0, 63, 64, 126, 127, 128, 4095, 4096, 16377, 16378, 16379, 2_097_145, 2_097_146, 2_097_147];
        for len in lengths {
            let big = vec![b'x'; len];
            let pack: Listpack = [&b"first"[..], &big, b"last"].into_iter().collect();
            assert_eq!(check(pack.as_bytes()), Ok(()), "{len}");
            assert!(
                pack.iter_rev().eq([Item::from(b"last"), Item::Bytes(&big), Item::from(b"first")]),
                "{len}"
            );
        }
    }

    #[test]
    fn sixteen_bit_count_overflows_into_unknown_and_still_counts() {
        let mut pack: Listpack = (0..65_534i64).collect();
        assert_eq!((pack.count_field(), pack.len()), (65_534, 65_534));
        pack.push_back(1);
        assert_eq!((pack.count_field(), pack.len()), (COUNT_UNKNOWN, 65_535));
        assert_eq!(pack.get(-2), Some(Item::Int(65_533)));
        assert_eq!(pack.get(65_535), None);
        assert_eq!(pack.remove_range(1, usize::MAX), 65_534);
        assert_eq!(pack.len(), 1);
        assert_eq!(check(pack.as_bytes()), Ok(()));
    }

    #[test]
    fn find_with_stride_passes_over_values() {
        let pack: Listpack = [&b"a"[..], b"b", b"b", b"a", b"7", b"8"].into_iter().collect();
        assert_eq!(pack.find(b"b", 2), pack.seek(2));
        assert_eq!(pack.find(b"b", 1), pack.seek(1));
        assert_eq!(pack.find(b"7", 2), pack.seek(4));
        assert_eq!(pack.find(b"8", 2), None);
        assert_eq!(pack.find(b"07", 1), None);
    }

    #[test]
    fn integer_stored_as_string_is_still_found() {
        let pack: Listpack = [Item::Bytes(b"12")].into_iter().collect();
        assert_eq!(pack.find(b"12", 1), pack.first());
    }

    // Bytes from outside could make a reader run off the end or loop. Every truncation and every flipped bit must
    // either be refused or leave a listpack that can be walked both ways.
    #[test]
    fn damaged_bytes_are_refused_or_walkable() {
        let mut pack = Listpack::from_bytes_checked(VECTOR).unwrap();
        pack.push_back(&[b'y'; 70]);
        let whole = pack.as_bytes().to_vec();
        for len in 0..whole.len() {
            assert!(Listpack::from_bytes_checked(&whole[..len]).is_err(), "cut to {len}");
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(survivor) = Listpack::from_bytes_checked(&bytes) {
                let forward: Vec<_> = survivor.iter().collect();
                let backward: Vec<_> = survivor.iter_rev().collect();
                assert!(forward.iter().eq(backward.iter().rev()));
                assert_eq!(forward.len(), survivor.len());
            }
        }
    }

    #[test]
    fn memory_follows_growth_and_shrinking() {
        let mut pack = Listpack::new();
        assert_eq!(pack.memory(), 8);
        pack.push_back(&[b'x'; 4000]);
        assert_eq!(pack.memory(), 4096);
        pack.remove(pack.first().unwrap());
        assert_eq!(pack.memory(), 8);
    }

    #[derive(Clone, Debug)]
    enum Step {
        PushBack(Vec<u8>),
        PushFront(Vec<u8>),
        InsertBefore(usize, Vec<u8>),
        InsertAfter(usize, Vec<u8>),
        Replace(usize, Vec<u8>),
        Remove(usize),
        RemoveRange(i64, usize),
        SplitAndAppend(usize),
        Clear,
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<i64>().prop_map(|value| alloc::format!("{value}").into_bytes()),
            (-5000i64..5000).prop_map(|value| alloc::format!("{value}").into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..10),
            proptest::collection::vec(any::<u8>(), 60..140),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => value().prop_map(Step::PushBack),
            4 => value().prop_map(Step::PushFront),
            2 => (any::<usize>(), value()).prop_map(|(at, value)| Step::InsertBefore(at, value)),
            2 => (any::<usize>(), value()).prop_map(|(at, value)| Step::InsertAfter(at, value)),
            2 => (any::<usize>(), value()).prop_map(|(at, value)| Step::Replace(at, value)),
            2 => any::<usize>().prop_map(Step::Remove),
            1 => (-12i64..12, 0usize..4).prop_map(|(index, count)| Step::RemoveRange(index, count)),
            1 => (0usize..12).prop_map(Step::SplitAndAppend),
            1 => Just(Step::Clear),
        ]
    }

    /// Runs one step on the listpack and on its naive twin.
    fn take(step: Step, pack: &mut Listpack, twin: &mut Vec<Vec<u8>>) {
        let place = |at: usize, len: usize| at.checked_rem(len);
        match step {
            Step::PushBack(value) => {
                pack.push_back(value.as_slice());
                twin.push(value);
            }
            Step::PushFront(value) => {
                pack.push_front(value.as_slice());
                twin.insert(0, value);
            }
            Step::InsertBefore(at, value) => {
                let Some(at) = place(at, twin.len()) else { return };
                let new = pack.insert_before(pack.seek(at as i64).unwrap(), value.as_slice());
                assert!(pack.item(new).is(&value));
                twin.insert(at, value);
            }
            Step::InsertAfter(at, value) => {
                let Some(at) = place(at, twin.len()) else { return };
                let new = pack.insert_after(pack.seek(at as i64).unwrap(), value.as_slice());
                assert!(pack.item(new).is(&value));
                twin.insert(at + 1, value);
            }
            Step::Replace(at, value) => {
                let Some(at) = place(at, twin.len()) else { return };
                pack.replace(pack.seek(at as i64).unwrap(), value.as_slice());
                twin[at] = value;
            }
            Step::Remove(at) => {
                let Some(at) = place(at, twin.len()) else { return };
                let following = pack.remove(pack.seek(at as i64).unwrap());
                twin.remove(at);
                assert_eq!(following.map(|position| pack.item(position).to_vec()), twin.get(at).cloned());
            }
            Step::RemoveRange(index, count) => {
                let start = if index < 0 { index + twin.len() as i64 } else { index };
                let removed = pack.remove_range(index, count);
                if (0..twin.len() as i64).contains(&start) {
                    let start = start as usize;
                    let end = twin.len().min(start + count);
                    assert_eq!(twin.drain(start..end).count(), removed);
                } else {
                    assert_eq!(removed, 0);
                }
            }
            Step::SplitAndAppend(at) => {
                let tail = pack.split_off(at);
                assert_eq!((pack.len(), tail.len()), (at.min(twin.len()), twin.len().saturating_sub(at)));
                pack.append(&tail);
            }
            Step::Clear => {
                pack.clear();
                twin.clear();
            }
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_vector(steps in proptest::collection::vec(step(), 0..60)) {
            let (mut pack, mut twin) = (Listpack::new(), Vec::new());
            for step in steps {
                take(step, &mut pack, &mut twin);
                prop_assert_eq!(check(pack.as_bytes()), Ok(()));
                prop_assert!(pack.iter().map(Item::to_vec).eq(twin.iter().cloned()));
                prop_assert!(pack.iter_rev().map(Item::to_vec).eq(twin.iter().rev().cloned()));
            }
            let fresh: Listpack = twin.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(fresh.as_bytes(), pack.as_bytes());
            for index in 0..twin.len() {
                let position = pack.seek(index as i64).unwrap();
                prop_assert_eq!(pack.seek(index as i64 - twin.len() as i64), Some(position));
                prop_assert_eq!(pack.next(position), pack.seek(index as i64 + 1));
                prop_assert_eq!(pack.prev(position), (index > 0).then(|| pack.seek(index as i64 - 1).unwrap()));
                let first_equal = twin.iter().position(|value| *value == twin[index]).unwrap();
                prop_assert_eq!(pack.find(&twin[index], 1), pack.seek(first_equal as i64));
                let middle = pack.range(index / 2..index).map(Item::to_vec);
                prop_assert!(middle.eq(twin[index / 2..index].iter().cloned()));
            }
        }
    }
}
