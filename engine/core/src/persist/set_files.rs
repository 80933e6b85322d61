//! The files of an append-only set in the order in which they are read, and what each tells the reader of the next.
//!
//! Exists so that the server at its start and the tools afterwards read a set by the same rules: where a file ends
//! because the next one took over, which one may end badly, whether batch headers are expected.
//!
//! Always true: nothing here changes a file.
//!
//! Not here: which set is loaded (`recovery.rs`), reading one file (`log_reader.rs`), executing (`node/loading.rs`).

use alloc::{string::String, vec::Vec};

use super::{
    append_only::Names,
    journal::Offset,
    log_reader::{self, LogReader},
    manifest::{Manifest, Part},
    recovery::read_range,
};
use crate::{
    bytes::number,
    host::{Disk, IoError},
    mutant::{self, Mutant},
    rdb,
};

/// A file of the set, with what the others say about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetFile {
    /// Its name within the append-only directory.
    pub name: String,
    /// The same, relative to `dir`.
    pub path: String,
    /// Its length, bytes.
    pub len: u64,
    /// It begins with a snapshot.
    pub is_rdb: bool,
    /// The manifest calls it the base.
    pub is_base: bool,
    /// No file after it holds anything: a crash may have torn its end.
    pub is_last: bool,
    /// The manifest says that it was begun with batch headers.
    pub is_headed: bool,
    /// Where the next file takes over: what this one holds beyond does not count.
    pub until: Option<Offset>,
}

impl SetFile {
    /// A file that no manifest names.
    pub fn alone(name: String, path: String, len: u64, is_rdb: bool) -> SetFile {
        SetFile { name, path, len, is_rdb, is_base: true, is_last: true, is_headed: false, until: None }
    }
}

/// The files that `manifest` names, in order. `verifies` whether batch headers are looked at.
///
/// # Errors
/// A file that cannot be read; one that is missing counts as empty.
pub fn set_files(
    names: &Names,
    manifest: &Manifest,
    verifies: bool,
    disk: &mut dyn Disk,
) -> Result<Vec<SetFile>, IoError> {
    let parts: Vec<Part> = manifest.loaded().cloned().collect();
    let mut lens = Vec::new();
    for part in &parts {
        lens.push(disk.len(&names.path(&part.name))?.unwrap_or(0));
    }
    let mut files = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let path = names.path(&part.name);
        let follower = (index + 1..parts.len()).find(|&later| lens[later] > 0);
        let until = match follower {
            Some(later) if verifies => log_reader::first_offset(&names.path(&parts[later].name), disk)?,
            _ => None,
        };
        files.push(SetFile {
            is_rdb: lens[index] > 0 && is_rdb(part, &path, disk)?,
            name: part.name.clone(),
            path,
            len: lens[index],
            is_base: manifest.base.as_ref() == Some(part),
            // Parts made in advance and still empty do not make this one any less the last.
            is_last: follower.is_none(),
            is_headed: manifest.base.as_ref() != Some(part) && manifest.headed_seq == Some(part.seq),
            until,
        });
    }
    Ok(files)
}

/// Whether a file begins with a snapshot. The name of a base says so only where the contents do not: stock servers name one by
/// what is asked for when it is finished. A base that was called one and begins with neither is no log that a crash has torn.
fn is_rdb(part: &Part, path: &str, disk: &mut dyn Disk) -> Result<bool, IoError> {
    let begin = read_range(path, 0, rdb::MAGIC.len(), disk)?;
    let is_log = begin.starts_with(b"*") || begin.starts_with(b"#") || mutant::is(Mutant::RottenBaseIsTorn);
    Ok(begin == rdb::MAGIC || part.name.ends_with(".base.rdb") && !is_log)
}

/// What the files read so far tell about the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Handover {
    /// The log's offset where the next file begins, if one of them told.
    pub offset: Option<Offset>,
    /// What comes next, in this file or the next one, begins with a batch header, as far as one can know.
    pub expects_headers: bool,
}

impl Handover {
    /// A note in the base may say where the log goes on.
    pub fn take_note(&mut self, name: &[u8], value: &[u8]) {
        if name == rdb::AUX_LOG_OFFSET {
            self.offset = number::parse_u64(value);
            self.expects_headers = true;
        }
    }

    /// A file of records was read as far as it is good.
    pub fn take_over(&mut self, reader: &LogReader) {
        self.offset = reader.offset();
        self.expects_headers = reader.follows_checked();
    }

    /// A reader for a file of records. Where the base tells no offset, behind the file of an older server, the first part of
    /// ours began at 0: what is missing at its beginning, whole as it may look, must be missed.
    pub fn reader(&self, file: &SetFile, verifies: bool) -> LogReader {
        let begins_at_0 = verifies && file.is_headed && !mutant::is(Mutant::FirstOffsetUnknown);
        let offset = self.offset.or(begins_at_0.then_some(0));
        LogReader::new(file.path.clone(), 0, offset, verifies, file.until)
            .expecting_headers(self.expects_headers || file.is_headed)
    }

    /// A reader for the records that follow a snapshot in the same file.
    pub fn reader_after_snapshot(&self, path: String, start: u64, verifies: bool) -> LogReader {
        LogReader::new(path, start, self.offset, verifies, None)
    }
}
