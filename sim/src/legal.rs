//! The judge of images: is this a state that the file system may really leave behind?
//!
//! Exists so that a mistake in drawing images is found here and not as a false alarm about the engine.
//!
//! Always true: shares no code with `image.rs`; says in words what is wrong.

use std::collections::BTreeSet;

use crate::image::Image;
use crate::profile::{Contents, NamesOrder, Profile, Tail};
use crate::volume::{Change, Edit, Fate, File, PAGE_BYTES, SECTOR_BYTES, Slot, Volume};

/// Checks one image against the volume that it was made from.
pub(crate) fn check(volume: &Volume, image: &Image) -> Result<(), String> {
    check_names(volume, image)?;
    for (ino, file) in &volume.files {
        let floor = flushed_below(volume, image, *ino);
        match image.contents.get(ino) {
            Some(bytes) => check_contents(volume.profile, file, floor, bytes)
                .map_err(|why| format!("{:?} of {} bytes: {why}", ino, bytes.len()))?,
            None if file.pending.is_empty() => {}
            None => return Err(format!("{ino:?} has changes and no contents")),
        }
    }
    Ok(())
}

fn check_names(volume: &Volume, image: &Image) -> Result<(), String> {
    if image.names_kept.len() != volume.name_changes.len() {
        return Err("not one decision for each change of names".into());
    }
    if volume.profile.names_order() == NamesOrder::AsAsked && !image.names_kept.is_sorted_by_key(|kept| !kept)
    {
        return Err("names are not a prefix".into());
    }
    let mut lost: BTreeSet<&Slot> = BTreeSet::new();
    for (change, kept) in volume.name_changes.iter().zip(&image.names_kept) {
        if !kept {
            lost.extend(change.slots());
        } else if let Some(slot) = change.slots().find(|slot| lost.contains(slot)) {
            return Err(format!("a change of {:?} is kept, an earlier one of it is not", slot.name));
        }
    }
    Ok(())
}

fn flushed_below(volume: &Volume, image: &Image, ino: crate::volume::Ino) -> u64 {
    let kept = volume.name_changes.iter().zip(&image.names_kept).filter(|(_, kept)| **kept);
    let flushes = kept.filter_map(|(change, _)| change.flushes).filter(|(flushed, _)| *flushed == ino);
    flushes.map(|(_, seq)| seq).max().unwrap_or(0)
}

/// All contents the file has had since its last sync, the durable one first.
fn versions(file: &File, floor: u64) -> Vec<Vec<u8>> {
    let mut version = file.platter.clone();
    let mut versions = Vec::new();
    for change in &file.pending {
        if change.seq >= floor {
            versions.push(version.clone());
        }
        step(change, &mut version);
    }
    versions.push(version);
    versions
}

fn step(change: &Change, version: &mut Vec<u8>) {
    match &change.edit {
        Edit::Resize { len } => version.resize(*len as usize, 0),
        Edit::Write { offset, bytes } => {
            let back = match change.fate {
                Fate::Landed | Fate::Lost => 0,
                Fate::Misdirected(back) => u64::from(back),
            };
            let end = (*offset as usize + bytes.len()).max(version.len());
            version.resize(end, 0);
            if change.fate != Fate::Lost {
                for (index, byte) in bytes.iter().enumerate() {
                    version[offset.saturating_sub(back) as usize + index] = *byte;
                }
            }
        }
    }
}

fn check_contents(profile: Profile, file: &File, floor: u64, bytes: &[u8]) -> Result<(), String> {
    let versions = versions(file, floor);
    match profile.contents() {
        // A misdirected write breaks what the file system promises; what is left is for checksums to find.
        _ if file.pending.iter().any(|change| matches!(change.fate, Fate::Misdirected(_))) => Ok(()),
        Contents::AnySectors => check_sectors(&versions, bytes),
        Contents::Prefix(tail) => check_prefix(&versions, tail, bytes),
    }
}

fn check_sectors(versions: &[Vec<u8>], bytes: &[u8]) -> Result<(), String> {
    if !versions.iter().any(|version| version.len() == bytes.len()) {
        return Err("the file never had this length".into());
    }
    // A tear is inside one sector, and a page is 8 of them: at most one sector may be a mixture.
    let mut torn_count = 0;
    for (index, sector) in bytes.chunks(SECTOR_BYTES as usize).enumerate() {
        let start = index * SECTOR_BYTES as usize;
        let padded: Vec<Vec<u8>> =
            versions.iter().map(|version| padded_sector(version, start, sector.len())).collect();
        let is_version = padded.iter().any(|version| version == sector);
        let is_never_written = start >= versions[0].len() && versions.len() > 1;
        if !is_version && !is_never_written {
            if !is_mixture(&padded, sector) {
                return Err(format!("sector {index} never had these bytes"));
            }
            torn_count += 1;
        }
    }
    if torn_count > 1 { Err(format!("{torn_count} torn sectors")) } else { Ok(()) }
}

fn padded_sector(version: &[u8], start: usize, len: usize) -> Vec<u8> {
    let mut sector = version.get(start..).unwrap_or_default().to_vec();
    sector.resize(len, 0);
    sector
}

fn is_mixture(versions: &[Vec<u8>], sector: &[u8]) -> bool {
    let left = versions.iter().map(|version| common_prefix(version, sector)).max().unwrap_or(0);
    let right = versions.iter().map(|version| common_suffix(version, sector)).max().unwrap_or(0);
    left + right >= sector.len()
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

fn check_prefix(versions: &[Vec<u8>], tail: Tail, bytes: &[u8]) -> Result<(), String> {
    let fits = |index: usize| {
        let (version, next) = (&versions[index], versions.get(index + 1));
        let in_next = next.map_or(0, |next| common_prefix(next, bytes));
        let same = in_next.max(common_prefix(version, bytes));
        let rest = &bytes[same..];
        same >= version.len()
            && (rest.is_empty() || (is_zero(rest) && is_tail_allowed(versions, tail, same, bytes.len())))
    };
    let is_known = (0..versions.len()).any(fits);
    if is_known { Ok(()) } else { Err("neither a prefix nor one with a tail of zeroes".into()) }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn is_tail_allowed(versions: &[Vec<u8>], tail: Tail, kept: usize, len: usize) -> bool {
    match tail {
        Tail::None => false,
        // `kept` counts zeroes that were appended as well as those of the tail, so the block may be the one before.
        Tail::ZeroesToBlockEnd => len.is_multiple_of(PAGE_BYTES as usize) && len - kept < PAGE_BYTES as usize,
        Tail::ZeroesToAnyLen => versions.iter().any(|version| version.len() == len),
    }
}
