//! What a block device holds, what was written to it, and what a loss of power may leave of that.
//!
//! Exists so that any instant of a run can be turned into the disks that a real device might then come back with.
//!
//! Always true: a crash image holds every write that a completed flush covers; of the later ones it holds a subset,
//! down to single sectors, laid down in the order in which they were written. A write of one block or less is there or
//! not: file systems count on that for their superblocks.
//!
//! What this does not show: the recorder counts a write that it served before a flush as covered by it, although a
//! device need only keep those that were *answered* before the flush was asked for.
//!
//! Not here: how the writes are caught (`device.rs`), what is made of a disk (`mount.rs`, `crash/judge.rs`).

use crate::rng::Rng;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// What an image keeps and shares as one piece.
const BLOCK_SIZE: usize = 4096;
/// What a longer write is torn into.
const SECTOR_SIZE: usize = 512;
/// Of the unflushed writes of a random subset, one in so many is torn into sectors.
const TORN_ONE_IN: u64 = 4;

type Block = [u8; BLOCK_SIZE];

/// The contents of a device; blocks that hold only zeros are not kept.
#[derive(Clone, Debug)]
pub(in crate::crash) struct Image {
    size: u64,
    blocks: BTreeMap<u64, Arc<Block>>,
}

impl Image {
    /// `size` bytes of zeros.
    pub(in crate::crash) fn new(size: u64) -> Image {
        assert!(size.is_multiple_of(BLOCK_SIZE as u64), "whole blocks");
        Image { size, blocks: BTreeMap::new() }
    }

    /// The contents of a file.
    pub(in crate::crash) fn read_from(path: &Path) -> io::Result<Image> {
        let mut file = File::open(path)?;
        let mut image = Image::new(file.metadata()?.len());
        let mut block = [0; BLOCK_SIZE];
        for number in 0..image.size / BLOCK_SIZE as u64 {
            file.read_exact(&mut block)?;
            image.put(number, block);
        }
        Ok(image)
    }

    /// Writes a sparse file of these contents.
    pub(in crate::crash) fn write_to(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.size)?;
        for (number, block) in &self.blocks {
            file.write_all_at(&block[..], number * BLOCK_SIZE as u64)?;
        }
        Ok(())
    }

    /// Bytes from one end to the other.
    pub(in crate::crash) fn size(&self) -> u64 {
        self.size
    }

    /// Fills `buffer` from `offset` on; zeros beyond the end.
    pub(in crate::crash) fn read(&self, offset: u64, buffer: &mut [u8]) {
        for (number, inside, range) in pieces(offset, buffer.len()) {
            match self.blocks.get(&number) {
                Some(block) => buffer[range.clone()].copy_from_slice(&block[inside..inside + range.len()]),
                None => buffer[range].fill(0),
            }
        }
    }

    /// Puts `bytes` at `offset`.
    pub(in crate::crash) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (number, inside, range) in pieces(offset, bytes.len()) {
            let block = self.blocks.entry(number).or_insert_with(|| Arc::new([0; BLOCK_SIZE]));
            Arc::make_mut(block)[inside..inside + range.len()].copy_from_slice(&bytes[range]);
        }
    }

    fn put(&mut self, number: u64, block: Block) {
        if block.iter().any(|byte| *byte != 0) {
            self.blocks.insert(number, Arc::new(block));
        }
    }
}

/// Block number, place in the block, and range of the buffer, for each block that `len` bytes at `offset` touch.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let inside = (at % BLOCK_SIZE as u64) as usize;
        let count = (BLOCK_SIZE - inside).min(len - done);
        let range = done..done + count;
        done += count;
        (count > 0).then_some((at / BLOCK_SIZE as u64, inside, range))
    })
}

/// What the file system asked of the device.
#[derive(Clone, Debug)]
pub(in crate::crash) enum Request {
    /// Bytes at an offset.
    Write(u64, Arc<[u8]>),
    /// Everything written before is durable from here on.
    Flush,
}

/// Which of the writes that no flush covers a loss of power leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::crash) enum Keep {
    /// None: the device's cache is gone.
    Nothing,
    /// All: the device had written everything.
    Everything,
    /// The first so many thousandths, the last of these torn.
    Prefix(u64),
    /// Each by lot, some of them torn.
    Random(u64),
}

impl Keep {
    /// The kinds in turn, so that a few images already show each; the random one twice.
    pub(in crate::crash) fn in_turn(number: u64, rng: &mut Rng) -> Keep {
        match number % 5 {
            0 => Keep::Nothing,
            1 => Keep::Everything,
            2 => Keep::Prefix(rng.below(1001)),
            _ => Keep::Random(rng.draw()),
        }
    }

    /// Lays those of `pending` that are kept on `image`.
    fn apply(self, image: &mut Image, pending: &[Request]) {
        let writes: Vec<(u64, &[u8])> = pending
            .iter()
            .filter_map(|request| match request {
                Request::Write(offset, bytes) => Some((*offset, &bytes[..])),
                Request::Flush => None,
            })
            .collect();
        match self {
            Keep::Nothing => {}
            Keep::Everything => writes.iter().for_each(|(offset, bytes)| image.write(*offset, bytes)),
            Keep::Prefix(thousandths) => {
                let count = (writes.len() as u64 * thousandths / 1000) as usize;
                writes[..count].iter().for_each(|(offset, bytes)| image.write(*offset, bytes));
                if let Some((offset, bytes)) = writes.get(count).filter(|(_, bytes)| bytes.len() > BLOCK_SIZE)
                {
                    let sectors = (bytes.len() / SECTOR_SIZE) as u64;
                    let kept = (sectors * (thousandths % 10) / 10) as usize * SECTOR_SIZE;
                    image.write(*offset, &bytes[..kept]);
                }
            }
            Keep::Random(seed) => {
                let mut rng = Rng::new(seed);
                // Some disks write nearly everything, some nearly nothing.
                let kept_percent = 5 + rng.below(91);
                for (offset, bytes) in writes {
                    if bytes.len() > BLOCK_SIZE && rng.below(TORN_ONE_IN) == 0 {
                        write_torn(image, offset, bytes, &mut rng);
                    } else if rng.below(100) < kept_percent {
                        image.write(offset, bytes);
                    }
                }
            }
        }
    }
}

/// Writes each sector by lot.
fn write_torn(image: &mut Image, offset: u64, bytes: &[u8], rng: &mut Rng) {
    for (index, sector) in bytes.chunks(SECTOR_SIZE).enumerate() {
        if rng.below(2) == 0 {
            image.write(offset + (index * SECTOR_SIZE) as u64, sector);
        }
    }
}

/// Whether a flush means what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honesty {
    /// A completed flush makes durable what was written before it.
    Honest,
    /// Flushes are answered and ignored: shows that the judge sees what then gets lost.
    Lying,
}

/// Goes through a recorded run and gives the disks that a loss of power at each instant may leave.
pub(in crate::crash) struct CrashImages<'a> {
    requests: &'a [Request],
    honesty: Honesty,
    /// Everything before `flushed_end`, which is durable.
    flushed: Image,
    flushed_end: usize,
}

impl<'a> CrashImages<'a> {
    /// Of a run that began with `start`, all of which was durable.
    pub(in crate::crash) fn new(start: Image, requests: &'a [Request], honesty: Honesty) -> CrashImages<'a> {
        CrashImages { requests, honesty, flushed: start, flushed_end: 0 }
    }

    /// The device after a loss of power when `count` requests had been served.
    ///
    /// # Panics
    /// If asked for an earlier instant than before.
    pub(in crate::crash) fn after(&mut self, count: usize, keep: Keep) -> Image {
        assert!(self.flushed_end <= count, "instants are taken in their order");
        let is_flush = |request: &Request| matches!(request, Request::Flush);
        let pending = &self.requests[self.flushed_end..count];
        let covered = match self.honesty {
            Honesty::Honest => pending.iter().rposition(is_flush).map_or(0, |last| last + 1),
            Honesty::Lying => 0,
        };
        Keep::Everything.apply(&mut self.flushed, &pending[..covered]);
        self.flushed_end += covered;
        let mut image = self.flushed.clone();
        keep.apply(&mut image, &pending[covered..]);
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 4 * BLOCK_SIZE as u64;

    fn write(sector: u64, sectors: usize, fill: u8) -> Request {
        Request::Write(sector * SECTOR_SIZE as u64, vec![fill; sectors * SECTOR_SIZE].into())
    }

    /// The first byte of each of the first sectors.
    fn sectors(image: &Image, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count * SECTOR_SIZE];
        image.read(0, &mut bytes);
        bytes.chunks(SECTOR_SIZE).map(|sector| sector[0]).collect()
    }

    #[test]
    fn an_image_holds_what_was_written_across_blocks() {
        let mut image = Image::new(SIZE);
        image.write(4000, &[7; 5000]);
        let mut bytes = vec![1; 6000];
        image.read(3500, &mut bytes);
        assert!(bytes[..500].iter().all(|byte| *byte == 0));
        assert!(bytes[500..5500].iter().all(|byte| *byte == 7));
        assert!(bytes[5500..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_flush_covers_what_was_written_before_it_and_a_lying_one_nothing() {
        let requests = [write(0, 1, 1), Request::Flush, write(1, 1, 2)];
        let held = |honesty, count, keep| {
            let mut images = CrashImages::new(Image::new(SIZE), &requests, honesty);
            sectors(&images.after(count, keep), 2)
        };
        // honesty        instant  keep              sectors
        assert_eq!(held(Honesty::Honest, 1, Keep::Nothing), [0, 0]);
        assert_eq!(held(Honesty::Honest, 2, Keep::Nothing), [1, 0]);
        assert_eq!(held(Honesty::Honest, 3, Keep::Nothing), [1, 0]);
        assert_eq!(held(Honesty::Honest, 3, Keep::Everything), [1, 2]);
        assert_eq!(held(Honesty::Honest, 3, Keep::Prefix(0)), [1, 0]);
        assert_eq!(held(Honesty::Lying, 3, Keep::Nothing), [0, 0]);
        assert_eq!(held(Honesty::Lying, 3, Keep::Everything), [1, 2]);
    }

    #[test]
    fn a_random_subset_tears_writes_into_sectors_and_invents_nothing() {
        let requests = [write(0, 16, 1), write(12, 16, 2)];
        let mut is_torn = false;
        for seed in 0..200 {
            let mut images = CrashImages::new(Image::new(SIZE), &requests, Honesty::Honest);
            let held = sectors(&images.after(2, Keep::Random(seed)), 28);
            assert!(held[..12].iter().all(|byte| [0, 1].contains(byte)));
            assert!(held[16..].iter().all(|byte| [0, 2].contains(byte)));
            is_torn |= held[..12].contains(&0) && held[..12].contains(&1);
        }
        assert!(is_torn);
    }

    #[test]
    fn a_write_of_one_block_is_there_or_not() {
        for keep in (0..200).map(Keep::Random).chain((0..1001).map(Keep::Prefix)) {
            let requests = [write(0, 8, 1)];
            let mut images = CrashImages::new(Image::new(SIZE), &requests, Honesty::Honest);
            let held = sectors(&images.after(1, keep), 8);
            assert!(held == [0; 8] || held == [1; 8], "{keep:?}: {held:?}");
        }
    }

    #[test]
    fn instants_are_taken_one_after_the_other() {
        let requests = [write(0, 1, 1), Request::Flush, write(0, 1, 2), Request::Flush];
        let mut images = CrashImages::new(Image::new(SIZE), &requests, Honesty::Honest);
        let held: Vec<Vec<u8>> =
            (0..=4).map(|count| sectors(&images.after(count, Keep::Nothing), 1)).collect();
        assert_eq!(held, [[0], [0], [1], [1], [2]]);
    }
}
