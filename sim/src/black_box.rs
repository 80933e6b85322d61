//! The black box: which bytes were where when the power went, and what came back.
//!
//! Exists for the page of a replay: a violation is understood once one sees that these bytes were in the page cache only.
//!
//! Always true: recording changes nothing about a run, its digest included; nothing is recorded unless it was asked for.
//!
//! Not here: drawing it (`harness/src/sim/page.rs`).

use std::ops::Range;

use crate::disk::SimDisk;
use crate::volume::{Edit, File};

/// Where bytes of a file were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// On the platter: every image has them.
    Platter,
    /// In the page cache, waiting to be written.
    Cache,
    /// In the page cache, and a failed sync has marked them clean: nobody will ever write them.
    Ghost,
}

/// One file when the power went.
#[derive(Clone, Debug)]
pub struct FileAtLoss {
    /// Its path.
    pub path: String,
    /// Whether its name was certain to survive.
    pub is_name_certain: bool,
    /// What reads saw.
    pub before: Vec<u8>,
    /// Where those bytes were, in order, without gaps.
    pub places: Vec<(Range<u64>, Place)>,
    /// What there is afterwards; `None` if not even the name.
    pub after: Option<Vec<u8>>,
}

/// A loss of power.
#[derive(Clone, Debug)]
pub struct PowerLoss {
    /// When, microseconds of the monotonic clock.
    pub mono_us: u64,
    /// Number of the next operation.
    pub operation: u64,
    /// All files that were there before or are there after.
    pub files: Vec<FileAtLoss>,
}

/// All files as they are now.
pub(crate) fn files_of(disk: &SimDisk) -> Vec<FileAtLoss> {
    let describe = |path: String| {
        let file = disk.file_at(&path)?;
        let is_name_certain = disk.durable_len(&path).is_some();
        let (before, places) = (file.cache.clone(), places_of(file));
        Some(FileAtLoss { path, is_name_certain, before, places, after: None })
    };
    disk.files().into_keys().filter_map(describe).collect()
}

/// Notes what each file has become.
pub(crate) fn fill_in_after(files: &mut Vec<FileAtLoss>, disk: &SimDisk) {
    for file in files.iter_mut() {
        file.after = disk.peek(&file.path).map(<[u8]>::to_vec);
    }
    for path in disk.files().into_keys() {
        if !files.iter().any(|file| file.path == path) {
            let after = disk.peek(&path).map(<[u8]>::to_vec);
            let (before, places) = (Vec::new(), Vec::new());
            files.push(FileAtLoss { path, is_name_certain: false, before, places, after });
        }
    }
}

fn places_of(file: &File) -> Vec<(Range<u64>, Place)> {
    let mut places = vec![Place::Platter; file.cache.len()];
    let mut mark = |range: Range<u64>, place: Place| {
        let len = places.len();
        places[(range.start as usize).min(len)..(range.end as usize).min(len)].fill(place);
    };
    for change in &file.pending {
        match &change.edit {
            Edit::Write { offset, bytes } => mark(*offset..offset + bytes.len() as u64, Place::Cache),
            Edit::Resize { len } => mark(*len..u64::MAX, Place::Cache),
        }
    }
    file.ghosts.iter().for_each(|ghost| mark(ghost.clone(), Place::Ghost));
    let mut runs: Vec<(Range<u64>, Place)> = Vec::new();
    for (index, place) in places.into_iter().enumerate() {
        match runs.last_mut() {
            Some((range, last)) if *last == place => range.end += 1,
            _ => runs.push((index as u64..index as u64 + 1, place)),
        }
    }
    runs
}
