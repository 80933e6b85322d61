//! Every command of an artefact in order, each with all that is known about where and when it was logged.
//!
//! Always true: commands come in the order in which the server would run them, and only from the good part; between two
//! units there is a point where a log may end.
//!
//! Not here: the data that results (`dataset.rs`), where one wants to stop (`restore.rs`).

use std::{io, ops::ControlFlow};

use perdura_core::{
    host::Disk,
    persist::{
        journal::Offset,
        log_reader::{Bad, LogReader, Next},
        recovery::read_range,
        set_files::{Handover, SetFile},
    },
    rdb::{DecodeSettings, Decoder, Event, LoadedKey},
    store::Limits,
};
use perdura_linux::LinuxDisk;

use crate::{
    artefact::{Artefact, other},
    cut::{Point, Tracker},
    explain,
    place::io_error,
    progress::Progress,
};

/// Bytes of a snapshot read at a time.
const READ_BYTES: usize = 2 << 20;

/// A command of a log, and where it stands.
pub struct Seen<'a> {
    /// Index of its file in the artefact.
    pub file: usize,
    /// Position in the file.
    pub at: u64,
    /// Its bytes there.
    pub len: usize,
    /// Its number among the commands after the base, from 1; 0 for SELECT, MULTI and EXEC.
    pub number: u64,
    /// The log's offset before it, where headers tell.
    pub offset: Option<Offset>,
    /// The second in which it was logged, where annotations tell.
    pub second: Option<u64>,
    /// Database it runs in.
    pub db: u64,
    /// The last point before it where a log may end.
    pub before: Point,
    /// It begins a unit: outside of any MULTI, or itself one.
    pub begins_unit: bool,
    /// The command.
    pub args: Vec<&'a [u8]>,
}

/// What looks at commands and at the keys of snapshots.
pub trait Visitor {
    /// A command of a log.
    ///
    /// # Errors
    /// Whatever keeps it from going on.
    fn command(&mut self, seen: &Seen<'_>) -> io::Result<ControlFlow<()>>;

    /// A note in a snapshot.
    fn note(&mut self, _name: &[u8], _value: &[u8]) {}

    /// A key of a snapshot, which begins at this position.
    fn key(&mut self, _db: usize, _at: u64, _key: &LoadedKey) {}
}

/// How a walk ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// Everything was seen.
    Whole,
    /// The visitor had seen enough.
    Stopped,
    /// A file is damaged, or torn.
    Bad {
        /// Index of the file.
        file: usize,
        /// How.
        bad: Bad,
    },
}

/// Shows an artefact to a visitor.
///
/// # Errors
/// A file cannot be read; a snapshot is damaged.
pub fn walk(artefact: &mut Artefact, what: &str, visitor: &mut dyn Visitor) -> io::Result<End> {
    let mut progress = Progress::new(what, artefact.len());
    let mut walker = Walker { handover: Handover::default(), number: 0, done: 0 };
    let mut end = End::Whole;
    for (index, file) in artefact.files.iter().enumerate() {
        end = walker.walk_file(&mut artefact.disk, file, index, visitor, &mut progress)?;
        walker.done += file.len;
        if end != End::Whole {
            break;
        }
    }
    progress.finish();
    Ok(end)
}

struct Walker {
    handover: Handover,
    number: u64,
    /// Bytes of the files before.
    done: u64,
}

impl Walker {
    fn walk_file(
        &mut self,
        disk: &mut LinuxDisk,
        file: &SetFile,
        index: usize,
        visitor: &mut dyn Visitor,
        progress: &mut Progress,
    ) -> io::Result<End> {
        let mut reader = if file.is_rdb {
            let end = self.walk_snapshot(disk, file, visitor, progress)?;
            self.handover.reader_after_snapshot(file.path.clone(), end, true)
        } else {
            self.handover.reader(file, true)
        };
        let end = self.walk_log(disk, index, &mut reader, visitor, progress)?;
        self.handover.take_over(&reader);
        Ok(end)
    }

    fn walk_snapshot(
        &mut self,
        disk: &mut LinuxDisk,
        file: &SetFile,
        visitor: &mut dyn Visitor,
        progress: &mut Progress,
    ) -> io::Result<u64> {
        let settings = DecodeSettings { limits: Limits::default(), skip_checksum: false };
        let (mut decoder, mut at, mut db) = (Decoder::new(settings), 0, 0);
        loop {
            let began = decoder.offset();
            match decoder.next() {
                Ok(Event::NeedMore) => {
                    let bytes = read_range(&file.path, at, READ_BYTES, disk).map_err(io_error)?;
                    at += bytes.len() as u64;
                    decoder.feed(&bytes);
                    if bytes.len() < READ_BYTES {
                        decoder.finish_input();
                    }
                    progress.at(self.done + at);
                }
                Ok(Event::Aux { name, value }) => {
                    self.handover.take_note(&name, &value);
                    visitor.note(&name, &value);
                }
                Ok(Event::SelectDb(index)) => db = index,
                Ok(Event::Key(key)) => visitor.key(db, began, &key),
                Ok(Event::EmptyKey(_) | Event::Function(_) | Event::SizeHint { .. }) => {}
                Ok(Event::End) => return Ok(decoder.offset()),
                Err(damage) => {
                    return Err(other(format!("{}: offset {}: {}", file.name, damage.offset, damage.what)));
                }
            }
        }
    }

    fn walk_log(
        &mut self,
        disk: &mut dyn Disk,
        index: usize,
        reader: &mut LogReader,
        visitor: &mut dyn Visitor,
        progress: &mut Progress,
    ) -> io::Result<End> {
        let mut points = Tracker::new(reader.position());
        let (mut len, mut is_in_multi, mut db) = (0, false, 0);
        loop {
            match reader.next(disk, &mut len).map_err(io_error)? {
                Next::End => return Ok(End::Whole),
                Next::Bad(bad) => return Ok(End::Bad { file: index, bad }),
                Next::Command => {}
            }
            let args: Vec<&[u8]> = reader.args().collect();
            let is_framing = explain::is_framing(args[0]);
            self.number += u64::from(!is_framing);
            if args[0].eq_ignore_ascii_case(b"select") {
                db = args.get(1).and_then(|arg| std::str::from_utf8(arg).ok()?.parse().ok()).unwrap_or(db);
            }
            let begins_unit = !is_in_multi;
            is_in_multi = match is_framing {
                true if args[0].eq_ignore_ascii_case(b"multi") => true,
                true if args[0].eq_ignore_ascii_case(b"exec") => false,
                _ => is_in_multi,
            };
            let seen = Seen {
                file: index,
                at: reader.position(),
                len,
                number: if is_framing { 0 } else { self.number },
                offset: reader.offset_here(),
                second: reader.timestamp_s(),
                db,
                before: points.here(reader),
                begins_unit,
                args,
            };
            if visitor.command(&seen)?.is_break() {
                return Ok(End::Stopped);
            }
            points.took(reader, len, is_in_multi);
            progress.at(self.done + reader.position());
        }
    }
}
