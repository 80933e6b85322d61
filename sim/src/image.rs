//! Images: what the platter may hold after the power went, drawn, enumerated, and checked for being legal.
//!
//! Exists because "some subset of what was not synced" has corners that chance alone never hits: everything lost,
//! everything kept, a length without its data, a sector without the one before it.
//!
//! Always true: an image only decides about changes made since the last sync that covers them; all else is kept.
//! `check` decides that by itself, sharing no code with `draw` and `enumerate`.
//!
//! Not here: which file system allows what (`profile.rs`); how changes pile up (`volume.rs`).
//!
//! The way of drawing follows FoundationDB's `AsyncFileNonDurable` (per page: keep, drop, corrupt; per sector:
//! left or right part only) and TigerBeetle's storage tests (garbage instead of what was never written).

use std::collections::{BTreeMap, BTreeSet};

use crate::profile::{Contents, NamesOrder, Tail};
use crate::rng::SimRng;
use crate::sometimes::Happening;
use crate::volume::{Change, Edit, File, Ino, NameChange, PAGE_BYTES, SECTOR_BYTES, Volume};

/// One state the platter may be in, as decisions about everything that was not certain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// For each change of names, oldest first: whether it is there.
    pub names_kept: Vec<bool>,
    /// What is in each file that had changes.
    pub contents: BTreeMap<Ino, Vec<u8>>,
    /// What is remarkable about it.
    pub marks: BTreeSet<Happening>,
}

/// How much of what was not synced survives; drawn once per crash, so that "nothing" and "all" happen often.
///
/// Per-sector coin tosses would never give either (swarm testing, as in TigerBeetle's VOPR).
const KEEP_PERMILLE: [u32; 4] = [0, 300, 800, 1_000];

/// Of files with lost sectors beyond their durable end, so many of a thousand show old bytes of somebody else.
const GARBAGE_PERMILLE: u32 = 125;
/// Of files with several sectors at stake, so many of a thousand get one sector torn inside.
const TORN_SECTOR_PERMILLE: u32 = 20;
/// Of prefixes cut short, so many of a thousand end in zeroes.
const ZERO_TAIL_PERMILLE: u32 = 250;

impl Volume {
    /// The image that the draws choose.
    pub(crate) fn draw_image(&self, rng: &mut SimRng) -> Image {
        let keep = Keep { permille: KEEP_PERMILLE[rng.index(KEEP_PERMILLE.len())] };
        let names_kept = self.draw_names(keep, rng);
        let floors = self.floors(&names_kept);
        let mut marks = BTreeSet::new();
        let mut contents = BTreeMap::new();
        for (ino, file) in self.files.iter().filter(|(_, file)| !file.pending.is_empty()) {
            let stakes = Stakes::new(file, floors.get(ino).copied().unwrap_or(0));
            let bytes = match self.profile.contents() {
                Contents::AnySectors => stakes.draw_sectors(keep, rng, &mut marks),
                Contents::Prefix(tail) => stakes.draw_prefix(tail, keep, rng, &mut marks),
            };
            contents.insert(*ino, bytes);
        }
        self.mark_names(&names_kept, &mut marks);
        Image { names_kept, contents, marks }
    }

    /// Images that differ in coarse ways, at most `limit` of them, and whether those are all such images.
    ///
    /// Coarse: for names every legal choice, for contents the corners named at `Stakes::corners`.
    pub(crate) fn enumerate_images(&self, limit: usize) -> (Vec<Image>, bool) {
        let mut images = Vec::new();
        let (choices, mut is_whole) = self.enumerate_names(limit);
        for names_kept in choices {
            let floors = self.floors(&names_kept);
            let reachable = self.reachable_after(&names_kept);
            let mut partial: Vec<BTreeMap<Ino, Vec<u8>>> = vec![BTreeMap::new()];
            for (ino, file) in self.files.iter().filter(|(_, file)| !file.pending.is_empty()) {
                let stakes = Stakes::new(file, floors.get(ino).copied().unwrap_or(0));
                let mut corners = stakes.corners(self.profile.contents());
                if !reachable.contains(ino) {
                    corners.truncate(1);
                }
                if images.len() + partial.len() * corners.len() > limit {
                    is_whole = false;
                    corners.truncate((limit.saturating_sub(images.len()) / partial.len()).max(1));
                }
                partial = with_each(partial, *ino, &corners);
            }
            for contents in partial {
                if images.len() == limit {
                    return (images, false);
                }
                let mut marks = BTreeSet::new();
                self.mark_names(&names_kept, &mut marks);
                images.push(Image { names_kept: names_kept.clone(), contents, marks });
            }
        }
        (images, is_whole)
    }

    /// Becomes what the image says: nothing is pending any more, and the cache knows no more than the platter.
    pub(crate) fn become_image(&mut self, image: &Image) {
        self.apply_names(&image.names_kept);
        self.name_changes.clear();
        for (ino, file) in &mut self.files {
            if let Some(bytes) = image.contents.get(ino) {
                file.platter.clone_from(bytes);
            }
            file.pending.clear();
            file.ghosts.clear();
            file.cache.clone_from(&file.platter);
            (file.error_count, file.is_error_unseen) = (0, false);
        }
        for dir in self.dirs.values_mut() {
            dir.entries.clone_from(&dir.platter);
        }
        self.forget_unreachable(std::iter::empty());
    }

    fn draw_names(&self, keep: Keep, rng: &mut SimRng) -> Vec<bool> {
        match self.profile.names_order() {
            NamesOrder::AsAsked => {
                let count = keep.choose(self.name_changes.len() as u64, rng);
                (0..self.name_changes.len() as u64).map(|index| index < count).collect()
            }
            NamesOrder::EachAlone => {
                let mut lost = BTreeSet::new();
                self.name_changes
                    .iter()
                    .map(|change| keeps_order(change, keep.toss(rng), &mut lost))
                    .collect()
            }
        }
    }

    fn enumerate_names(&self, limit: usize) -> (Vec<Vec<bool>>, bool) {
        let count = self.name_changes.len();
        if self.profile.names_order() == NamesOrder::AsAsked {
            let prefixes = (0..=count).rev().map(|kept| (0..count).map(|index| index < kept).collect());
            return (prefixes.take(limit).collect(), count < limit);
        }
        let mut choices: Vec<Vec<bool>> = vec![Vec::new()];
        let mut is_whole = true;
        for change in &self.name_changes {
            let mut longer = Vec::with_capacity(choices.len() * 2);
            for choice in choices {
                let mut lost = BTreeSet::new();
                for (change, kept) in self.name_changes.iter().zip(&choice) {
                    keeps_order(change, *kept, &mut lost);
                }
                if keeps_order(change, true, &mut lost) && longer.len() < limit {
                    longer.push([choice.as_slice(), &[true]].concat());
                }
                is_whole &= longer.len() < limit;
                if longer.len() < limit {
                    longer.push([choice.as_slice(), &[false]].concat());
                }
            }
            choices = longer;
        }
        (choices, is_whole)
    }

    /// What must be in a file because a kept rename waited for it: changes below this number.
    fn floors(&self, names_kept: &[bool]) -> BTreeMap<Ino, u64> {
        let kept = self.name_changes.iter().zip(names_kept).filter(|(_, kept)| **kept);
        let mut floors = BTreeMap::new();
        for (ino, seq) in kept.filter_map(|(change, _)| change.flushes) {
            let floor = floors.entry(ino).or_insert(seq);
            *floor = seq.max(*floor);
        }
        floors
    }

    fn reachable_after(&self, names_kept: &[bool]) -> BTreeSet<Ino> {
        let mut names = self.without_files();
        names.apply_names(names_kept);
        names.dirs.values().flat_map(|dir| dir.platter.values().copied()).collect()
    }

    fn mark_names(&self, names_kept: &[bool], marks: &mut BTreeSet<Happening>) {
        let mut is_one_lost = false;
        for (change, kept) in self.name_changes.iter().zip(names_kept) {
            if *kept {
                marks.extend(is_one_lost.then_some(Happening::NamesReordered));
                continue;
            }
            is_one_lost = true;
            marks.insert(match (&change.set, change.is_rename()) {
                (_, true) => Happening::RenameLost,
                (Some(_), false) => Happening::NameLost,
                (None, false) => Happening::RemovedNameReturned,
            });
        }
    }
}

/// Whether a change of names is there, given that it is wanted and that some before it are not.
fn keeps_order<'a>(
    change: &'a NameChange,
    is_wanted: bool,
    lost: &mut BTreeSet<&'a crate::volume::Slot>,
) -> bool {
    let is_kept = is_wanted && !change.slots().any(|slot| lost.contains(slot));
    if !is_kept {
        lost.extend(change.slots());
    }
    is_kept
}

fn with_each(
    partial: Vec<BTreeMap<Ino, Vec<u8>>>,
    ino: Ino,
    corners: &[Vec<u8>],
) -> Vec<BTreeMap<Ino, Vec<u8>>> {
    let with = |contents: &BTreeMap<Ino, Vec<u8>>, bytes: &Vec<u8>| {
        let mut contents = contents.clone();
        contents.insert(ino, bytes.clone());
        contents
    };
    partial.iter().flat_map(|contents| corners.iter().map(move |bytes| with(contents, bytes))).collect()
}

/// How willingly this crash keeps things.
#[derive(Clone, Copy)]
struct Keep {
    permille: u32,
}

impl Keep {
    fn toss(self, rng: &mut SimRng) -> bool {
        rng.chance(self.permille)
    }

    /// A number in `0..=count`: all at 1000, none at 0, else drawn.
    fn choose(self, count: u64, rng: &mut SimRng) -> u64 {
        match self.permille {
            0 => 0,
            1_000 => count,
            _ if self.toss(rng) => count,
            _ => rng.between(0, count),
        }
    }
}

/// What is at stake in one file: the bytes every image has, and the changes it may have.
struct Stakes<'a> {
    base: Vec<u8>,
    changes: &'a [Change],
    /// Length before the first change and after each.
    lens: Vec<u64>,
}

impl Stakes<'_> {
    fn new(file: &File, floor: u64) -> Stakes<'_> {
        let count = file.pending.partition_point(|change| change.seq < floor);
        let mut base = file.platter.clone();
        file.pending[..count].iter().for_each(|change| change.apply(&mut base));
        let changes = &file.pending[count..];
        let mut lens = vec![base.len() as u64];
        lens.extend(changes.iter().scan(base.len() as u64, |len, change| {
            *len = change.len_after(*len);
            Some(*len)
        }));
        Stakes { base, changes, lens }
    }

    fn draw_sectors(&self, keep: Keep, rng: &mut SimRng, marks: &mut BTreeSet<Happening>) -> Vec<u8> {
        let len = self.lens[keep.choose(self.changes.len() as u64, rng) as usize];
        let unit_bytes = if rng.chance(500) { SECTOR_BYTES } else { PAGE_BYTES };
        let touches = self.touches(unit_bytes);
        let mut bounds: BTreeMap<u64, usize> = BTreeMap::new();
        for (unit, indexes) in &touches {
            let kept = keep.choose(indexes.len() as u64, rng) as usize;
            bounds.insert(*unit, kept.checked_sub(1).map_or(0, |last| indexes[last] + 1));
        }
        mark_sectors(&touches, &bounds, marks);
        let mut bytes = self.apply_below(&bounds, unit_bytes);
        if rng.chance(TORN_SECTOR_PERMILLE) && !touches.is_empty() {
            self.tear(&mut bytes, &touches, unit_bytes, rng);
            marks.insert(Happening::TornSector);
        }
        self.fill_unwritten(&mut bytes, &bounds, unit_bytes, len, rng, marks);
        bytes.resize(len as usize, 0);
        bytes
    }

    fn draw_prefix(
        &self,
        tail: Tail,
        keep: Keep,
        rng: &mut SimRng,
        marks: &mut BTreeSet<Happening>,
    ) -> Vec<u8> {
        let whole = keep.choose(self.changes.len() as u64, rng) as usize;
        let mut bytes = self.apply_count(whole);
        let Some(next) = self.changes.get(whole) else { return bytes };
        if keep.permille > 0
            && let Edit::Write { offset, bytes: new } = &next.edit
            && *offset == bytes.len() as u64
        {
            let cut = cut_of(*offset, new.len() as u64, rng);
            Change {
                edit: Edit::Write { offset: *offset, bytes: new.slice(..cut as usize) },
                ..next.clone()
            }
            .apply(&mut bytes);
        }
        let len_zeroed = match tail {
            Tail::None => return bytes,
            Tail::ZeroesToBlockEnd if rng.chance(ZERO_TAIL_PERMILLE) => {
                (bytes.len() as u64).next_multiple_of(PAGE_BYTES)
            }
            Tail::ZeroesToAnyLen if rng.chance(2 * ZERO_TAIL_PERMILLE) => {
                self.lens[rng.between(whole as u64, self.changes.len() as u64) as usize]
            }
            Tail::ZeroesToBlockEnd | Tail::ZeroesToAnyLen => return bytes,
        };
        if len_zeroed > bytes.len() as u64 && matches!(next.edit, Edit::Write { .. }) {
            bytes.resize(len_zeroed as usize, 0);
            marks.insert(Happening::ZeroTail);
        }
        bytes
    }

    /// Contents worth trying, the first being "everything lost": each without repetition.
    ///
    /// All kept · the last change lost · the last change cut in its middle · length without data · data without
    /// length · the last sector without the first · each prefix, if there are few.
    fn corners(&self, contents: Contents) -> Vec<Vec<u8>> {
        let count = self.changes.len();
        let mut corners =
            vec![self.base.clone(), self.apply_count(count), self.apply_count(count.saturating_sub(1))];
        corners.extend((1..count.min(PREFIXES_MAX)).map(|kept| self.apply_count(kept)));
        corners.extend(self.last_cut_in_half(contents));
        let len = self.lens[count];
        let has_grown = len > self.base.len() as u64;
        if contents != Contents::Prefix(Tail::None) && has_grown && self.has_only_writes() {
            let mut zeroed = self.base.clone();
            let block_end = (self.base.len() as u64).next_multiple_of(PAGE_BYTES);
            zeroed.resize(
                if contents == Contents::Prefix(Tail::ZeroesToBlockEnd) { block_end } else { len } as usize,
                0,
            );
            corners.push(zeroed);
        }
        if contents == Contents::AnySectors {
            corners.extend(self.one_sector_lost());
        }
        let mut seen = BTreeSet::new();
        corners.retain(|bytes| seen.insert(bytes.clone()));
        corners
    }

    /// Where sectors are independent so is the length: the missing half is zeroes then.
    fn last_cut_in_half(&self, contents: Contents) -> Option<Vec<u8>> {
        let (last, before) = self.changes.split_last()?;
        let Edit::Write { offset, bytes } = &last.edit else { return None };
        let mut kept = self.apply_count(before.len());
        let half = bytes.slice(..bytes.len() / 2);
        (*offset == kept.len() as u64 && last.fate == crate::volume::Fate::Landed).then(|| {
            kept.extend_from_slice(&half);
            if contents == Contents::AnySectors {
                kept.resize(self.lens[self.changes.len()] as usize, 0);
            }
            kept
        })
    }

    /// All there but the first sector at stake, and all there but the last.
    fn one_sector_lost(&self) -> Vec<Vec<u8>> {
        let touches = self.touches(SECTOR_BYTES);
        let without = |lost: u64| {
            let bounds =
                touches.keys().map(|unit| (*unit, if *unit == lost { 0 } else { self.changes.len() }));
            let mut bytes = self.apply_below(&bounds.collect(), SECTOR_BYTES);
            bytes.resize(self.lens[self.changes.len()] as usize, 0);
            bytes
        };
        let ends = [touches.keys().next(), touches.keys().next_back()];
        if touches.len() < 2 {
            Vec::new()
        } else {
            ends.into_iter().flatten().map(|unit| without(*unit)).collect()
        }
    }

    fn has_only_writes(&self) -> bool {
        self.changes.iter().all(|change| matches!(change.edit, Edit::Write { .. }))
    }

    fn apply_count(&self, count: usize) -> Vec<u8> {
        let mut bytes = self.base.clone();
        self.changes[..count].iter().for_each(|change| change.apply(&mut bytes));
        bytes
    }

    /// For each unit that a change touches: the indexes of those changes, in order.
    fn touches(&self, unit_bytes: u64) -> BTreeMap<u64, Vec<usize>> {
        let mut touches: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (index, (change, len)) in self.changes.iter().zip(&self.lens).enumerate() {
            let (start, end) = extent(change, *len);
            for unit in start / unit_bytes..end.div_ceil(unit_bytes) {
                touches.entry(unit).or_default().push(index);
            }
        }
        touches
    }

    /// The bytes when each unit has the changes below its bound; as long as the file ever was.
    fn apply_below(&self, bounds: &BTreeMap<u64, usize>, unit_bytes: u64) -> Vec<u8> {
        let mut bytes = self.base.clone();
        let len_max = self.lens.iter().copied().max().unwrap_or(0);
        bytes.resize(len_max as usize, 0);
        for (index, (change, len)) in self.changes.iter().zip(&self.lens).enumerate() {
            let (start, end) = extent(change, *len);
            for unit in start / unit_bytes..end.div_ceil(unit_bytes) {
                if index < bounds[&unit] {
                    let (from, to) = (start.max(unit * unit_bytes), end.min((unit + 1) * unit_bytes));
                    apply_part(change, from, to, &mut bytes);
                }
            }
        }
        bytes
    }

    /// One sector gets the left part of one version and the right part of another.
    fn tear(&self, bytes: &mut [u8], touches: &BTreeMap<u64, Vec<usize>>, unit_bytes: u64, rng: &mut SimRng) {
        let units: Vec<u64> = touches.keys().copied().collect();
        let unit = units[rng.index(units.len())];
        let sector = unit * (unit_bytes / SECTOR_BYTES) + rng.below(unit_bytes / SECTOR_BYTES);
        let start = (sector * SECTOR_BYTES) as usize;
        let split = start + rng.index(SECTOR_BYTES as usize);
        let version = rng.index(self.changes.len() + 1);
        let bounds = self.touches(SECTOR_BYTES).into_keys().map(|unit| (unit, version)).collect();
        let other = self.apply_below(&bounds, SECTOR_BYTES);
        let end = (start + SECTOR_BYTES as usize).min(bytes.len());
        if split < end {
            bytes[split..end].copy_from_slice(&other[split..end]);
        }
    }

    /// Sectors inside the length that nothing was ever written to: zeroes, or what somebody else left there.
    fn fill_unwritten(
        &self,
        bytes: &mut [u8],
        bounds: &BTreeMap<u64, usize>,
        unit_bytes: u64,
        len: u64,
        rng: &mut SimRng,
        marks: &mut BTreeSet<Happening>,
    ) {
        let is_garbage = rng.chance(GARBAGE_PERMILLE);
        let is_unwritten = |unit: &u64| {
            bounds[unit] == 0 && unit * unit_bytes >= self.base.len() as u64 && unit * unit_bytes < len
        };
        for unit in bounds.keys().filter(|unit| is_unwritten(unit)) {
            marks.insert(Happening::LenAheadOfData);
            let range = (unit * unit_bytes) as usize..bytes.len().min(((unit + 1) * unit_bytes) as usize);
            if is_garbage {
                marks.insert(Happening::GarbageTail);
                bytes[range].iter_mut().for_each(|byte| *byte = rng.number() as u8);
            } else {
                marks.insert(Happening::ZeroTail);
            }
        }
    }
}

/// Prefixes of changes tried one by one; above that the corners speak for them.
const PREFIXES_MAX: usize = 4;

/// Where an interrupted write-back stopped: at a page's end, or at any byte.
fn cut_of(offset: u64, len: u64, rng: &mut SimRng) -> u64 {
    let page_ends = (offset + len) / PAGE_BYTES - offset / PAGE_BYTES;
    if page_ends > 0 && rng.chance(500) {
        (offset / PAGE_BYTES + rng.between(1, page_ends)) * PAGE_BYTES - offset
    } else {
        rng.between(0, len)
    }
}

/// The bytes a change touches, `len` being the length before it.
fn extent(change: &Change, len: u64) -> (u64, u64) {
    match &change.edit {
        Edit::Write { offset, bytes } => (*offset, offset + bytes.len() as u64),
        Edit::Resize { len: new } => (len.min(*new), len.max(*new)),
    }
}

/// What a change does to the bytes `from..to`, which it touches.
fn apply_part(change: &Change, from: u64, to: u64, platter: &mut [u8]) {
    use crate::volume::Fate;
    let range = from as usize..to as usize;
    match (&change.edit, change.fate) {
        (Edit::Write { offset, bytes }, Fate::Landed) => {
            let start = (from - offset) as usize;
            platter[range.clone()].copy_from_slice(&bytes[start..start + range.len()]);
        }
        (Edit::Write { .. }, Fate::Lost) => {}
        (Edit::Write { offset, bytes }, Fate::Misdirected(back)) => {
            let start = (from - offset) as usize;
            let target = (from as usize).saturating_sub(back as usize);
            platter[target..target + range.len()].copy_from_slice(&bytes[start..start + range.len()]);
        }
        (Edit::Resize { .. }, _) => platter[range].fill(0),
    }
}

fn mark_sectors(
    touches: &BTreeMap<u64, Vec<usize>>,
    bounds: &BTreeMap<u64, usize>,
    marks: &mut BTreeSet<Happening>,
) {
    let is_latest = |unit: &u64| touches[unit].last().is_some_and(|last| bounds[unit] > *last);
    let mut is_one_lost = false;
    for unit in touches.keys() {
        if is_latest(unit) && is_one_lost {
            marks.insert(Happening::SectorsReordered);
        }
        is_one_lost |= !is_latest(unit);
    }
}
