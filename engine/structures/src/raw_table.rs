//! A segmented hash table of thin pointers: the common ground of `table.rs` and `dict.rs`.
//!
//! Exists because a table that doubles stalls, and dirties all its pages while a snapshot child shares them. Here a
//! directory points to small segments, and a segment that is full splits alone (extendible hashing): an insert
//! never moves more than one segment's entries, plus now and then eight bytes per segment to double the directory.
//!
//! ```text
//!   hash:  | top `depth` bits: directory index |   …   | lowest byte: tag |
//!
//!   directory      segments: entries whose hashes share their first `segment.depth` bits
//!   00 ──────────► depth 2 | len, capacity | tag tag tag … | pointer pointer pointer … |
//!   01 ──────────► depth 2 | …
//!   10 ──┬───────► depth 1 | …               (one segment behind two directory places)
//!   11 ──┘
//! ```
//!
//! A segment is an unordered, dense array, so that growing one is a copy that hashes nothing, its capacity can
//! follow the allocator's size classes closely (about 10 bytes per entry, all in), and iteration skips no holes.
//! The header and all the tags of a segment share a cache line when the allocator aligns it so.
//!
//! Always true: every place of the directory holds a live segment; a segment of depth d stands in exactly
//! 2^(depth - d) adjacent places; the segments' lengths sum to `len`; no segment is deeper than the directory, and
//! `deepest` of them are as deep; an empty table owns no memory.
//!
//! Not here: what an entry is, who frees it, and how it is hashed or compared. Those are given as closures.

use crate::alloc_size::alloc_size;
use alloc::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use alloc::vec::Vec;
use core::mem::{align_of, size_of};
use core::ptr::NonNull;

/// A pointer the table stores and hands back; it never looks behind it, except to prefetch.
pub(crate) type Entry = NonNull<u8>;

/// A segment that has this many entries splits: then header and tags (8 + 56 bytes) fill one cache line.
const SEGMENT_ENTRIES_MAX: usize = 56;

/// Siblings merge when both fit in this many: half a segment, so that a merge is not undone by the next inserts.
const MERGED_ENTRIES_MAX: usize = SEGMENT_ENTRIES_MAX / 2;

/// The directory doubles only if then this many entries come on each place. Otherwise a segment that is full by bad
/// luck (or by an attack on the hash) grows beyond its bound, rather than the directory beyond reason. At twice this
/// (42) entries per segment, one in sixty has more than 56 of them, and hardly any more than 75.
const ENTRIES_PER_PLACE_MIN: usize = SEGMENT_ENTRIES_MAX * 3 / 8;

/// Bits of the hash that a directory may use, and so also the width of a scan cursor: fits in any client's integer.
const DEPTH_MAX: u32 = 48;

/// How far iteration prefetches: enough to cover a memory access at a few nanoseconds of work per entry.
const PREFETCH_ENTRIES: usize = 24;

/// Tags are padded to a multiple of this, which keeps the entries behind them aligned.
const GROUP: usize = align_of::<Entry>();

/// Bytes of a cache line: the tags in one are compared in one step.
const LINE: usize = 64;

/// Draws before `sample` settles for an entry that is a little more likely than others.
const SAMPLE_DRAWS_MAX: usize = 64;

/// Where an entry stands; valid until the table changes.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    segment: Segment,
    slot: usize,
}

impl Position {
    /// The entry that stands here.
    #[inline]
    pub(crate) fn entry(self) -> Entry {
        self.segment.entry(self.slot)
    }

    /// Puts `entry`, which has the same hash, in the place of the one that stands here.
    #[inline]
    pub(crate) fn replace(self, entry: Entry) {
        self.segment.set_entry(self.slot, entry);
    }
}

/// Slots of a segment that may hold what is looked for; valid until the table changes.
#[derive(Clone, Copy)]
pub(crate) struct Candidates {
    segment: Segment,
    /// One bit for each slot, the lowest for the first.
    hits: u64,
}

impl Candidates {
    /// Starts loading the entries.
    #[inline]
    pub(crate) fn prefetch_entries(self) {
        self.slots().for_each(|slot| prefetch_lines(self.segment.entry(slot)));
    }

    #[inline]
    fn slots(self) -> impl Iterator<Item = usize> {
        let mut hits = self.hits;
        core::iter::from_fn(move || {
            let slot = hits.trailing_zeros() as usize;
            let is_there = hits != 0;
            hits &= hits.wrapping_sub(1);
            is_there.then_some(slot)
        })
    }
}

/// The table. It owns its directory and segments, never what the entries point to.
#[derive(Default)]
pub(crate) struct RawTable {
    directory: Vec<Segment>,
    depth: u32,
    len: usize,
    /// How many segments are as deep as the directory; at 0 the directory halves.
    deepest: usize,
    /// What the segments occupy, in size classes.
    segment_bytes: usize,
}

impl RawTable {
    /// An empty table, which owns no memory.
    pub(crate) const fn new() -> Self {
        Self { directory: Vec::new(), depth: 0, len: 0, deepest: 0, segment_bytes: 0 }
    }

    /// Number of entries.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of directory and segments, in size classes.
    pub(crate) fn memory(&self) -> usize {
        self.segment_bytes + alloc_size(self.directory.capacity() * size_of::<Segment>())
    }

    /// Starts loading the tags among which `hash` would be found.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        if let Some(segment) = self.segment(hash) {
            prefetch_line(segment.header.as_ptr().cast());
        }
    }

    /// Starts loading the pointers to the entries that `hash` may mean, and says which these are: almost always one, or
    /// none. Those beyond the first line of tags are left out.
    #[inline]
    pub(crate) fn prefetch_slots(&self, hash: u64) -> Option<Candidates> {
        let segment = self.segment(hash).filter(|segment| segment.len() > 0)?;
        let candidates = Candidates { segment, hits: segment.tag_hits(0, tag(hash)) };
        candidates.slots().for_each(|slot| prefetch_line(segment.entries().wrapping_add(slot).cast()));
        Some(candidates)
    }

    /// The first entry with this hash's tag that `is_match` accepts. It must compare: tags collide.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_match: impl FnMut(Entry) -> bool) -> Option<Position> {
        let segment = self.segment(hash)?;
        let len = segment.len();
        let (mut line, mut start) = (0, 0);
        while start < len {
            let mut hits = segment.tag_hits(line, tag(hash));
            while hits != 0 {
                let slot = start + hits.trailing_zeros() as usize;
                if is_match(segment.entry(slot)) {
                    return Some(Position { segment, slot });
                }
                hits &= hits - 1;
            }
            line += 1;
            start = line * LINE - size_of::<SegmentHeader>();
        }
        None
    }

    /// Adds an entry that is not in the table. `rehash` gives the hash of any entry that is.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, entry: Entry, rehash: impl Fn(Entry) -> u64) {
        let mut segment = self.segment(hash).unwrap_or_else(|| self.add_first_segment());
        if segment.len() == segment.capacity() {
            segment = self.make_room(hash, rehash);
        }
        segment.push(tag(hash), entry);
        self.len += 1;
    }

    /// Takes out the entry that stands at `position`, where its `hash` led.
    pub(crate) fn remove(&mut self, hash: u64, position: Position) -> Entry {
        let Position { segment, slot } = position;
        let entry = segment.swap_remove(slot);
        self.len -= 1;
        if self.len == 0 {
            *self = Self::new();
        } else {
            self.give_back_room(hash, segment);
        }
        entry
    }

    /// Hands the entries of one segment to `emit` and returns the cursor of the next; 0 starts, and 0 ends.
    ///
    /// The cursor is the lowest hash not yet seen. Segments are visited in hash order, and a split or a merge moves
    /// no entry across that border without the whole of its segment being visited again.
    pub(crate) fn scan(&self, cursor: u64, mut emit: impl FnMut(Entry)) -> u64 {
        let hash = cursor << (64 - DEPTH_MAX);
        let Some(segment) = self.segment(hash) else { return 0 };
        for slot in 0..segment.len() {
            if slot % GROUP == 0 {
                (slot..segment.len().min(slot + 2 * GROUP))
                    .for_each(|ahead| prefetch_lines(segment.entry(ahead)));
            }
            emit(segment.entry(slot));
        }
        let cursors_per_segment = 1 << (DEPTH_MAX - segment.depth());
        let cursor_next =
            (hash >> (64 - DEPTH_MAX)) / cursors_per_segment * cursors_per_segment + cursors_per_segment;
        cursor_next % (1 << DEPTH_MAX)
    }

    /// All entries, in the order of their segments' hashes.
    pub(crate) fn iter(&self) -> RawIter<'_> {
        RawIter::new(self)
    }

    /// An entry chosen by `random`, each about equally likely; `None` only if the table is empty.
    ///
    /// Draws a place and a slot, and draws again when the slot is vacant, so that an entry of a full segment is as
    /// likely as one of a sparse segment. Segments behind several places get as many times more slots.
    pub(crate) fn sample(&self, random: u64) -> Option<Entry> {
        let mut index = 0;
        let mut random = random;
        if self.len == 0 {
            return None;
        }
        for _ in 0..SAMPLE_DRAWS_MAX {
            random = scramble(random);
            index = (((random >> 32) * self.directory.len() as u64) >> 32) as usize;
            let segment = self.directory[index];
            let slots = match self.depth {
                0 => segment.len(),
                _ => (SEGMENT_ENTRIES_MAX * 3 / 2) << (self.depth - segment.depth()),
            };
            // A segment beyond its bound has more entries than slots: there every draw is a hit.
            let slot = (random & 0xffff_ffff) as usize % slots.max(segment.len());
            if slot < segment.len() {
                return Some(segment.entry(slot));
            }
        }
        let (before, from) = self.directory.split_at(index);
        let segment = from.iter().chain(before).find(|segment| segment.len() > 0)?;
        Some(segment.entry(random as usize % segment.len()))
    }

    /// A table of the same form, whose entries are what `clone_entry` makes of the ones here.
    pub(crate) fn clone_with(&self, mut clone_entry: impl FnMut(Entry) -> Entry) -> Self {
        let mut copy = Self {
            directory: Vec::with_capacity(self.directory.len()),
            depth: self.depth,
            len: self.len,
            deepest: self.deepest,
            segment_bytes: self.segment_bytes,
        };
        for segment in self.segments() {
            let twin = Segment::allocate(segment.capacity(), segment.depth());
            let places = self.places_of(segment);
            copy.directory.extend(core::iter::repeat_n(twin, places));
            for slot in 0..segment.len() {
                twin.push(segment.tag_at(slot), clone_entry(segment.entry(slot)));
            }
        }
        copy
    }

    /// The segment in which `hash` belongs; `None` if the table owns none yet.
    #[inline]
    fn segment(&self, hash: u64) -> Option<Segment> {
        self.directory.get(self.index(hash)).copied()
    }

    /// Two shifts, because one by all 64 bits (depth 0) would not be defined.
    #[inline]
    fn index(&self, hash: u64) -> usize {
        (hash >> 1 >> (63 - self.depth)) as usize
    }

    /// Every segment once, in the order of the directory.
    fn segments(&self) -> impl Iterator<Item = Segment> {
        let mut index = 0;
        core::iter::from_fn(move || {
            let segment = *self.directory.get(index)?;
            index += self.places_of(segment);
            Some(segment)
        })
    }

    /// How many places of the directory `segment` stands in.
    #[inline]
    fn places_of(&self, segment: Segment) -> usize {
        1 << (self.depth - segment.depth())
    }

    fn add_first_segment(&mut self) -> Segment {
        let segment = Segment::allocate(1, 0);
        self.segment_bytes += segment.bytes();
        self.directory = Vec::with_capacity(1);
        self.directory.push(segment);
        self.deepest = 1;
        segment
    }

    /// Makes a vacant slot where `hash` belongs: by one split where that is due and possible, else by growing.
    #[cold]
    fn make_room(&mut self, hash: u64, rehash: impl Fn(Entry) -> u64) -> Segment {
        let full = self.directory[self.index(hash)];
        if full.len() >= SEGMENT_ENTRIES_MAX {
            if full.depth() == self.depth && self.is_doubling_worthwhile() {
                self.double_directory();
            }
            if full.depth() < self.depth {
                self.split(hash, rehash);
            }
        }
        let segment = self.directory[self.index(hash)];
        match segment.len() == segment.capacity() {
            true => self.resize(hash, segment, segment.len() + 1),
            false => segment,
        }
    }

    fn is_doubling_worthwhile(&self) -> bool {
        self.depth < DEPTH_MAX && self.len >= (self.directory.len() * 2).saturating_mul(ENTRIES_PER_PLACE_MIN)
    }

    fn double_directory(&mut self) {
        let mut doubled = Vec::with_capacity(self.directory.len() * 2);
        doubled.extend(self.directory.iter().flat_map(|&segment| [segment, segment]));
        self.directory = doubled;
        self.depth += 1;
        self.deepest = 0;
    }

    /// Divides the segment of `hash` by the next bit of its entries' hashes.
    fn split(&mut self, hash: u64, rehash: impl Fn(Entry) -> u64) {
        let full = self.directory[self.index(hash)];
        let depth = full.depth() + 1;
        (0..full.len()).for_each(|slot| prefetch_lines(full.entry(slot)));

        let is_upper = |slot: usize| rehash(full.entry(slot)) >> (64 - depth) & 1 == 1;
        let uppers: Vec<bool> = (0..full.len()).map(is_upper).collect();
        let upper_len = uppers.iter().filter(|&&is_upper| is_upper).count();

        // One more than needed on each side, for the entry that asked for room.
        let lower = Segment::allocate(full.len() - upper_len + 1, depth);
        let upper = Segment::allocate(upper_len + 1, depth);
        for (slot, &is_upper) in uppers.iter().enumerate() {
            let half = if is_upper { upper } else { lower };
            half.push(full.tag_at(slot), full.entry(slot));
        }

        let places = self.places_of(full);
        let start = self.index(hash) / places * places;
        self.directory[start..start + places / 2].fill(lower);
        self.directory[start + places / 2..start + places].fill(upper);
        self.segment_bytes = self.segment_bytes - full.bytes() + lower.bytes() + upper.bytes();
        self.deepest += if depth == self.depth { 2 } else { 0 };
        full.free();
    }

    /// Moves the entries of `segment`, which is where `hash` belongs, to one with room for `entries`.
    fn resize(&mut self, hash: u64, segment: Segment, entries: usize) -> Segment {
        let resized = Segment::allocate(entries, segment.depth());
        resized.append(segment);
        self.segment_bytes = self.segment_bytes - segment.bytes() + resized.bytes();
        let places = self.places_of(segment);
        let start = self.index(hash) / places * places;
        self.directory[start..start + places].fill(resized);
        segment.free();
        resized
    }

    /// After a removal from `segment`, where `hash` belongs: merges it while it and its sibling are nearly empty,
    /// else gives it a smaller allocation when a quarter of slack still fits there.
    fn give_back_room(&mut self, hash: u64, segment: Segment) {
        let mut segment = segment;
        while let Some(sibling) = self.sibling_to_merge(hash, segment) {
            segment = self.merge(hash, segment, sibling);
        }
        let entries = segment.len() + segment.len() / 4 + 1;
        if capacity_for(entries) < segment.capacity() {
            self.resize(hash, segment, entries);
        }
        if self.deepest == 0 {
            self.halve_directory();
        }
    }

    /// The other half of the segment that `segment` once was, if the two should be one again.
    fn sibling_to_merge(&self, hash: u64, segment: Segment) -> Option<Segment> {
        if segment.len() > MERGED_ENTRIES_MAX / 2 || segment.depth() == 0 {
            return None;
        }
        let sibling = self.segment(hash ^ 1 << (64 - segment.depth()))?;
        let is_due =
            sibling.depth() == segment.depth() && sibling.len() + segment.len() <= MERGED_ENTRIES_MAX;
        is_due.then_some(sibling)
    }

    fn merge(&mut self, hash: u64, segment: Segment, sibling: Segment) -> Segment {
        let merged = Segment::allocate(segment.len() + sibling.len() + 1, segment.depth() - 1);
        merged.append(segment);
        merged.append(sibling);
        self.deepest -= if segment.depth() == self.depth { 2 } else { 0 };
        let places = self.places_of(merged);
        let start = self.index(hash) / places * places;
        self.directory[start..start + places].fill(merged);
        self.segment_bytes = self.segment_bytes + merged.bytes() - segment.bytes() - sibling.bytes();
        segment.free();
        sibling.free();
        merged
    }

    /// Drops the last bit of the directory for as long as no segment needs it.
    fn halve_directory(&mut self) {
        let deepest = self.segments().map(Segment::depth).max().unwrap_or(0);
        let step = 1 << (self.depth - deepest);
        let mut halved = Vec::with_capacity(self.directory.len() / step);
        halved.extend(self.directory.iter().step_by(step));
        self.directory = halved;
        self.depth = deepest;
        self.deepest = self.segments().filter(|segment| segment.depth() == deepest).count();
    }

    /// Panics unless everything that the head of this file calls always true is.
    #[cfg(test)]
    pub(crate) fn check(&self, rehash: impl Fn(Entry) -> u64) {
        let (mut len, mut bytes, mut deepest, mut index) = (0, 0, 0, 0);
        for segment in self.segments() {
            assert!(segment.depth() <= self.depth);
            assert!(segment.len() <= segment.capacity());
            let places = self.places_of(segment);
            assert_eq!(index % places, 0);
            assert!(self.directory[index..index + places].iter().all(|&place| place == segment));
            for slot in 0..segment.len() {
                let hash = rehash(segment.entry(slot));
                assert_eq!(segment.tag_at(slot), tag(hash));
                assert!((index..index + places).contains(&self.index(hash)));
            }
            len += segment.len();
            bytes += segment.bytes();
            deepest += usize::from(segment.depth() == self.depth);
            index += places;
        }
        assert_eq!(index, self.directory.len());
        assert_eq!((len, bytes, deepest), (self.len, self.segment_bytes, self.deepest));
        assert!(self.len > 0 || self.memory() == 0);
    }
}

/// What is left of a table that nobody looks into any more.
pub(crate) struct RawRemains {
    table: RawTable,
}

impl RawRemains {
    /// Gives up being a table. Whoever owns the entries takes them with `take_some`.
    pub(crate) fn new(table: RawTable) -> Self {
        Self { table }
    }

    /// Hands the entries of the last segment to `take` and frees it; how many there were, and whether it was there.
    pub(crate) fn take_some(&mut self, mut take: impl FnMut(Entry)) -> Option<usize> {
        let directory = &mut self.table.directory;
        let segment = *directory.last()?;
        let places = 1 << (self.table.depth - segment.depth());
        directory.truncate(directory.len() - places);
        (0..segment.len()).for_each(|slot| prefetch_lines(segment.entry(slot)));
        (0..segment.len()).for_each(|slot| take(segment.entry(slot)));
        let count = segment.len();
        segment.free();
        Some(count)
    }
}

impl Drop for RawTable {
    fn drop(&mut self) {
        let mut index = 0;
        while index < self.directory.len() {
            let segment = self.directory[index];
            index += self.places_of(segment);
            segment.free();
        }
    }
}

/// Iterates over all entries, with the memory of those to come already on its way.
pub(crate) struct RawIter<'a> {
    table: &'a RawTable,
    here: Place,
    /// `PREFETCH_ENTRIES` further on.
    ahead: Place,
    remaining: usize,
}

#[derive(Clone, Copy, Default)]
struct Place {
    index: usize,
    slot: usize,
}

impl Place {
    #[inline]
    fn advance(&mut self, table: &RawTable) -> Option<Entry> {
        loop {
            let segment = *table.directory.get(self.index)?;
            if self.slot < segment.len() {
                self.slot += 1;
                return Some(segment.entry(self.slot - 1));
            }
            self.index += table.places_of(segment);
            self.slot = 0;
        }
    }
}

impl<'a> RawIter<'a> {
    fn new(table: &'a RawTable) -> Self {
        let mut iter = Self { table, here: Place::default(), ahead: Place::default(), remaining: table.len };
        for _ in 0..PREFETCH_ENTRIES {
            iter.prefetch_next();
        }
        iter
    }

    #[inline]
    fn prefetch_next(&mut self) {
        if let Some(entry) = self.ahead.advance(self.table) {
            prefetch_lines(entry);
        }
    }
}

impl Iterator for RawIter<'_> {
    type Item = Entry;

    #[inline]
    fn next(&mut self) -> Option<Entry> {
        self.prefetch_next();
        let entry = self.here.advance(self.table)?;
        self.remaining -= 1;
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

/// A pointer to a segment: a header, then `capacity` tags padded to whole groups, then `capacity` entries.
///
/// Not an owner: it is copied freely, and `RawTable` sees to it that every copy it keeps is live. All methods rely on
/// that, and on slots below `len` (`capacity` for `push`), which they check in debug builds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Segment {
    header: NonNull<SegmentHeader>,
}

#[repr(C, align(8))]
struct SegmentHeader {
    len: u32,
    /// The capacity in the upper 26 bits, the depth in the lower 6.
    shape: u32,
}

const DEPTH_BITS: u32 = 6;
const _: () = assert!(DEPTH_MAX < 1 << DEPTH_BITS);
const _: () = assert!(size_of::<SegmentHeader>() == 8 && size_of::<Entry>() == 8);

impl Segment {
    /// An empty segment with room for at least `entries`, and for as many more as its size class holds.
    fn allocate(entries: usize, depth: u32) -> Self {
        let capacity = capacity_for(entries);
        assert!(capacity < 1 << (32 - DEPTH_BITS));
        let layout = segment_layout(capacity);
        // SAFETY: the layout is never empty, since it has room for a header.
        let Some(memory) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        let segment = Self { header: memory.cast() };
        // SAFETY: the header and the padded tags lie at the start of the new allocation. The tags are set because
        // more of them are read than are in use.
        unsafe {
            segment.header.write(SegmentHeader { len: 0, shape: (capacity as u32) << DEPTH_BITS | depth });
            segment.tags().write_bytes(0, capacity.next_multiple_of(GROUP));
        }
        segment
    }

    /// Returns the memory; no copy of this pointer may be used afterwards.
    fn free(self) {
        // SAFETY: allocated in `allocate` with the layout of this capacity, which never changes afterwards.
        unsafe { dealloc(self.header.as_ptr().cast(), segment_layout(self.capacity())) }
    }

    /// What the segment occupies, as a size class.
    fn bytes(self) -> usize {
        alloc_size(segment_layout(self.capacity()).size())
    }

    #[inline]
    fn len(self) -> usize {
        // SAFETY: the segment is live, and its header was written when it was allocated.
        unsafe { (*self.header.as_ptr()).len as usize }
    }

    #[inline]
    fn set_len(self, len: usize) {
        debug_assert!(len <= self.capacity());
        // SAFETY: the segment is live, and only the table that is being changed holds it.
        unsafe { (*self.header.as_ptr()).len = len as u32 }
    }

    #[inline]
    fn shape(self) -> u32 {
        // SAFETY: the segment is live, and its header was written when it was allocated.
        unsafe { (*self.header.as_ptr()).shape }
    }

    #[inline]
    fn capacity(self) -> usize {
        (self.shape() >> DEPTH_BITS) as usize
    }

    #[inline]
    fn depth(self) -> u32 {
        self.shape() & ((1 << DEPTH_BITS) - 1)
    }

    #[inline]
    fn tags(self) -> *mut u8 {
        // SAFETY: the tags follow the header in the same allocation.
        unsafe { self.header.as_ptr().add(1).cast() }
    }

    #[inline]
    fn entries(self) -> *mut Entry {
        // SAFETY: the entries follow the padded tags in the same allocation; header and padding keep them aligned.
        unsafe { self.tags().add(self.capacity().next_multiple_of(GROUP)).cast() }
    }

    #[inline]
    fn tag_at(self, slot: usize) -> u8 {
        debug_assert!(slot < self.len());
        // SAFETY: the slot is in use, so its tag is within the allocation and written.
        unsafe { *self.tags().add(slot) }
    }

    /// One bit for each slot in use whose tag is in the given 64 bytes of the segment and equal to `tag`; the lowest
    /// is for the first slot there. The header takes the place of eight tags in the first line.
    #[inline]
    fn tag_hits(self, line: usize, tag: u8) -> u64 {
        let header = size_of::<SegmentHeader>();
        let start = line * LINE;
        let bytes = header + self.len() - start;
        debug_assert!(self.len() > 0 && start < header + self.len());
        // SAFETY: header and tags in use end `bytes` after `start`. What is read up to the next multiple of 16 is
        // either padding of the tags, which is written, or the first entry, which is in use: tags end at a multiple of 8,
        // so that is at most eight bytes behind them, and even the smallest segment has one entry there.
        let hits =
            unsafe { equal_bytes_of(self.header.as_ptr().cast::<u8>().add(start), bytes.min(LINE), tag) };
        let in_use = if bytes < LINE { hits & ((1 << bytes) - 1) } else { hits };
        if line == 0 { in_use >> header } else { in_use }
    }

    #[inline]
    fn entry(self, slot: usize) -> Entry {
        debug_assert!(slot < self.len());
        // SAFETY: the slot is in use, so its entry is within the allocation and written.
        unsafe { *self.entries().add(slot) }
    }

    #[inline]
    fn set_entry(self, slot: usize, entry: Entry) {
        debug_assert!(slot < self.len());
        // SAFETY: the slot is in use, so its entry is within the allocation.
        unsafe { *self.entries().add(slot) = entry }
    }

    /// Adds an entry behind the last one; there must be a vacant slot.
    #[inline]
    fn push(self, tag: u8, entry: Entry) {
        let slot = self.len();
        debug_assert!(slot < self.capacity());
        // SAFETY: the slot is below the capacity, so both places are within the allocation.
        unsafe {
            *self.tags().add(slot) = tag;
            *self.entries().add(slot) = entry;
        }
        self.set_len(slot + 1);
    }

    /// Takes out the entry of `slot` and moves the last one there.
    #[inline]
    fn swap_remove(self, slot: usize) -> Entry {
        let last = self.len() - 1;
        let removed = self.entry(slot);
        self.set_entry(slot, self.entry(last));
        // SAFETY: both slots are in use, so their tags are within the allocation.
        unsafe { *self.tags().add(slot) = self.tag_at(last) }
        self.set_len(last);
        removed
    }

    /// Copies all entries of `other` behind those here; there must be room for them.
    fn append(self, other: Segment) {
        let (len, added) = (self.len(), other.len());
        debug_assert!(self != other && len + added <= self.capacity());
        // SAFETY: two different live segments; the other has `added` slots in use, and this one as many vacant.
        unsafe {
            other.tags().copy_to_nonoverlapping(self.tags().add(len), added);
            other.entries().copy_to_nonoverlapping(self.entries().add(len), added);
        }
        self.set_len(len + added);
    }
}

/// The largest capacity that costs no more than one of `entries` does.
#[inline]
fn capacity_for(entries: usize) -> usize {
    let class = alloc_size(segment_bytes(entries));
    // Nine bytes per entry, unless the padding of the tags takes up one entry's worth.
    let capacity = (class - size_of::<SegmentHeader>()) / (size_of::<Entry>() + 1);
    if segment_bytes(capacity) <= class { capacity } else { capacity - 1 }
}

#[inline]
const fn segment_bytes(capacity: usize) -> usize {
    size_of::<SegmentHeader>() + capacity.next_multiple_of(GROUP) + capacity * size_of::<Entry>()
}

#[inline]
fn segment_layout(capacity: usize) -> Layout {
    // A capacity has 26 bits, so its bytes never overflow.
    Layout::from_size_align(segment_bytes(capacity), 8)
        .expect("a segment is far smaller than the address space")
}

/// The byte of the hash that tells most entries of a segment apart: the one the directory uses last.
#[inline]
fn tag(hash: u64) -> u8 {
    hash as u8
}

/// One bit for each of the `len` bytes from `start` on that equals `byte`; those beyond `len` mean nothing.
///
/// # Safety
/// `len` is at most 64 and, rounded up to a multiple of 16, within one allocation and initialised.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn equal_bytes_of(start: *const u8, len: usize, byte: u8) -> u64 {
    use core::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    let mut hits = 0;
    for at in (0..len).step_by(16) {
        // SAFETY: the caller's promise; every x86-64 has SSE2.
        let marks = unsafe {
            _mm_movemask_epi8(_mm_cmpeq_epi8(
                _mm_loadu_si128(start.add(at).cast()),
                _mm_set1_epi8(byte as i8),
            ))
        };
        hits |= u64::from(marks as u16) << at;
    }
    hits
}

/// One bit for each of the `len` bytes from `start` on that equals `byte`; those beyond `len` mean nothing.
///
/// # Safety
/// `len` is at most 64 and, rounded up to a multiple of 8, within one allocation and initialised.
#[cfg(any(test, not(target_arch = "x86_64")))]
unsafe fn equal_bytes_of_portable(start: *const u8, len: usize, byte: u8) -> u64 {
    const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let mut hits = 0;
    for at in (0..len).step_by(8) {
        // SAFETY: the caller's promise.
        let group = u64::from_le(unsafe { start.add(at).cast::<u64>().read_unaligned() });
        let difference = group ^ u64::from_ne_bytes([byte; 8]);
        // The top bit of each byte that is equal, moved to its lowest; the product gathers these in its top byte.
        let equal = !(((difference & LOW_BITS) + LOW_BITS) | difference | LOW_BITS) >> 7;
        hits |= (equal.wrapping_mul(0x0102_0408_1020_4080) >> 56) << at;
    }
    hits
}

#[cfg(not(target_arch = "x86_64"))]
use equal_bytes_of_portable as equal_bytes_of;

/// One step of SplitMix64: turns a number into another that has nothing to do with it.
fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Starts loading the one or two cache lines of a small entry.
#[inline]
fn prefetch_lines(entry: Entry) {
    prefetch_line(entry.as_ptr());
    prefetch_line(entry.as_ptr().wrapping_add(40));
}

#[inline]
fn prefetch_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program can see and accepts any address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_size::size;

    #[test]
    fn capacities_use_their_size_class_to_the_full() {
        for entries in 1..200 {
            let capacity = capacity_for(entries);
            let class = alloc_size(segment_bytes(entries));
            assert!(capacity >= entries && segment_bytes(capacity) <= class, "{entries} entries");
            assert!(segment_bytes(capacity + 1) > class, "{entries} entries");
        }
        assert_eq!((capacity_for(1), capacity_for(5), capacity_for(49)), (1, 5, SEGMENT_ENTRIES_MAX));
    }

    #[test]
    fn equal_bytes_are_found_at_every_place_by_both_ways() {
        let bytes: [u8; LINE] = core::array::from_fn(|at| (at as u8 % 5).wrapping_mul(0x7f));
        for byte in [0, 1, 0x7e, 0x7f, 0x80, 0xfe, 0xff] {
            let naive = |len| (0..len).filter(|&at| bytes[at] == byte).map(|at| 1 << at).sum::<u64>();
            for len in (16..=LINE).step_by(16) {
                // SAFETY: the array has 64 bytes, and the lengths are multiples of 16 up to that.
                let both = unsafe {
                    (
                        equal_bytes_of(bytes.as_ptr(), len, byte),
                        equal_bytes_of_portable(bytes.as_ptr(), len, byte),
                    )
                };
                assert_eq!(both, (naive(len), naive(len)));
            }
        }
    }

    /// Entries that are never followed: the hash itself, kept in the pointer.
    fn fake(hash: u64) -> Entry {
        NonNull::new(core::ptr::without_provenance_mut(hash as usize)).expect("a hash other than 0")
    }

    fn fake_hash(entry: Entry) -> u64 {
        entry.as_ptr().addr() as u64
    }

    /// What could go wrong: equal hashes can never be split, so that a split rule without a bound on the directory
    /// would double it for ever. This would notice by running out of memory, or by a large directory.
    #[test]
    fn equal_hashes_grow_one_segment_and_leave_the_directory_small() {
        let count = size(5000, 500);
        let mut table = RawTable::new();
        for _ in 0..count {
            table.insert(7 << 32, fake(7 << 32), fake_hash);
        }
        table.check(fake_hash);
        assert!(table.directory.len() <= count / ENTRIES_PER_PLACE_MIN);
        for _ in 0..count {
            let position = table.find(7 << 32, |_| true).expect("not all are removed");
            table.remove(7 << 32, position);
        }
        assert_eq!(table.memory(), 0);
    }

    #[test]
    fn emptying_a_table_returns_memory_on_the_way() {
        let hashes: Vec<u64> = (1..size(20_000, 1500) as u64).map(scramble).collect();
        let mut table = RawTable::new();
        hashes.iter().for_each(|&hash| table.insert(hash, fake(hash), fake_hash));
        table.check(fake_hash);
        let memory_full = table.memory();
        for (removed, &hash) in hashes.iter().enumerate() {
            let position = table.find(hash, |entry| entry == fake(hash)).expect("inserted above");
            assert_eq!(table.remove(hash, position), fake(hash));
            if removed % 1000 == 0 {
                table.check(fake_hash);
                let share_left = (hashes.len() - removed) as f64 / hashes.len() as f64;
                assert!(table.memory() as f64 <= memory_full as f64 * (share_left * 1.8 + 0.02));
            }
        }
        assert_eq!(table.memory(), 0);
    }

    #[test]
    fn a_full_table_costs_at_most_eleven_bytes_per_entry() {
        let mut table = RawTable::new();
        for (count, hash) in (1..size(200_000, 2500) as u64).map(scramble).enumerate() {
            table.insert(hash, fake(hash), fake_hash);
            assert!(count < 1000 || table.memory() <= count * 11 + 4096, "{count}: {}", table.memory());
        }
    }

    #[test]
    fn samples_are_close_to_uniform() {
        let len = size(1000, 25) as u64;
        let hashes: Vec<u64> = (1..=len).map(scramble).collect();
        let mut table = RawTable::new();
        hashes.iter().for_each(|&hash| table.insert(hash, fake(hash), fake_hash));
        let mut counts = alloc::collections::BTreeMap::new();
        for random in 0..200 * len {
            *counts.entry(table.sample(random).expect("not empty")).or_insert(0) += 1;
        }
        // 200 expected each, standard deviation 14: six deviations on either side.
        assert_eq!(counts.len() as u64, len);
        assert!(counts.values().all(|count| (116..=284).contains(count)), "{:?}", counts.values().max());
    }
}
