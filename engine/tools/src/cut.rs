//! Ending a file of records in the middle of a batch: where that may be, and the bytes that make what is left whole.
//!
//! A batch is good as a whole or not at all. Records from the first half of one are kept by sealing them again, as a
//! shorter batch that ends at the cut:
//!
//! ```text
//!   #C:… a b c d      cut before c      #C:… a b
//! ```
//!
//! Always true: a cut stands between two units, never inside of a MULTI.
//!
//! Not here: where one wants to cut (`check_aof.rs`, `restore.rs`), checksums (`perdura-core`: `persist/batch.rs`).

use std::io;

use bytes::Bytes;
use perdura_core::{
    host::{Disk, FileStep},
    persist::{
        append_only::{Ids, Names},
        batch,
        journal::Offset,
        log_reader::LogReader,
        recovery::{self, read_range},
    },
};

use crate::place::io_error;

/// A place between two units of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Point {
    /// Position in the file.
    pub at: u64,
    /// The batch it is in the middle of.
    pub inside: Option<Inside>,
}

/// A batch that a point is in the middle of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inside {
    /// Position of its header.
    pub header_at: u64,
    /// The log's offset at the point.
    pub offset: Offset,
    /// What the header, or one before it, calls durable.
    pub synced: Offset,
}

impl Point {
    /// Where the bytes end that can be kept as they are.
    pub fn kept_to(&self) -> u64 {
        self.inside.as_ref().map_or(self.at, |inside| inside.header_at)
    }

    /// The first half of the batch that the point is in, sealed again; empty between two batches.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn sealed_rest(&self, path: &str, disk: &mut dyn Disk) -> io::Result<Bytes> {
        let Some(inside) = &self.inside else { return Ok(Bytes::new()) };
        let len = usize::try_from(self.at - inside.header_at).map_err(io::Error::other)?;
        let bytes = read_range(path, inside.header_at, len, disk).map_err(io_error)?;
        let header_len = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
        Ok(batch::seal(inside.offset, inside.synced, &bytes[header_len..]))
    }
}

/// Follows a reader and knows the last place where a file may end.
#[derive(Clone, Debug)]
pub struct Tracker {
    last: Point,
}

impl Tracker {
    /// Reading begins here.
    pub fn new(at: u64) -> Tracker {
        Tracker { last: Point { at, inside: None } }
    }

    /// The reader gave out a command of this length; `is_in_multi` whether a MULTI is open after it.
    pub fn took(&mut self, reader: &LogReader, len: usize, is_in_multi: bool) {
        if is_in_multi {
            return;
        }
        self.last = Point {
            at: reader.position() + len as u64,
            inside: reader.batch_at().zip(reader.offset_here()).map(|(header_at, offset)| Inside {
                header_at,
                offset: offset + len as u64,
                synced: reader.synced(),
            }),
        };
    }

    /// The last place where the file may end before the command that the reader has just given out.
    pub fn here(&self, reader: &LogReader) -> Point {
        let mut point = self.last.clone();
        // Another batch has begun since: the one before it is whole.
        if point.inside.as_ref().is_some_and(|inside| reader.batch_at() != Some(inside.header_at)) {
            point.inside = None;
        }
        point
    }

    /// The last place where the file may end, the reader being at its end.
    pub fn end(&self) -> Point {
        Point { at: self.last.at, inside: None }
    }
}

/// Ends a file at a point, after its tail was copied aside; where the copy is.
///
/// # Errors
/// The first step that failed.
pub fn cut(names: &Names, part: &str, point: &Point, disk: &mut dyn Disk) -> io::Result<String> {
    let path = names.path(part);
    let mut ids = Ids::default();
    let rest = point.sealed_rest(&path, disk)?;
    let kept_to = point.kept_to();
    let (copy, _) = recovery::copy_aside(names, part, kept_to, &[], &mut ids, disk).map_err(io_error)?;
    recovery::cut(path.clone(), kept_to, disk).map_err(io_error)?;
    if !rest.is_empty() {
        let file = ids.file();
        let steps = [
            FileStep::OpenAppend { file, path },
            FileStep::Append { file, bytes: rest },
            FileStep::Sync { file },
            FileStep::Close { file },
        ];
        recovery::perform_all(&steps, disk).map_err(io_error)?;
    }
    Ok(copy)
}
