//! Reading a pipeline ahead: which commands stand in a client's input, and where in memory their keys are.
//!
//! Exists because memory is what a command waits for: one look-up among millions of keys costs several hundred nanoseconds
//! alone, and a fraction of that when the memory for a whole batch is asked for before the first command runs.
//!
//! Always true: reading ahead changes nothing. A batch ends with the first command that may change how what follows it is
//! read or where its keys are looked for: one about the server or the session (SELECT, AUTH, CONFIG …), one that may
//! block, one unknown.
//!
//! Not here: running the commands (`execute.rs`), the grammar (`resp/parser.rs`).

use alloc::vec::Vec;
use core::ops::Range;

use super::Node;
use crate::{
    commands::{
        Action,
        spec::{KeyBegin, KeyFind, flag},
        table::{KeyPlaces, Row},
    },
    resp::{Parsed, Parser, ProtocolError, ProtocolLimits, Span},
};

/// Most commands of one batch: enough for waits to overlap, few enough for what was loaded to be there still.
const COMMANDS_MAX: usize = 64;

/// Most keys whose memory is asked for ahead; those of MGET and MSET count one by one.
const KEYS_MAX: usize = 128;

/// Tables up to this many keys are in the processor's nearest cache anyway. (With 10,000 they are not: prefetching halves
/// the time of a GET even there.)
const KEYS_CACHED: usize = 500;

/// A command that was read.
#[derive(Clone)]
pub(super) struct Read {
    /// Its row, unless there is none of its name.
    pub row: Option<Row>,
    /// Its bytes in the input.
    pub frame: Range<usize>,
    /// Where what comes after it begins, blank lines left out.
    pub next: usize,
    /// Typed by hand: its bytes are no record.
    pub is_inline: bool,
    /// Its first argument's hash, where that is its one key.
    pub hash: Option<u64>,
    /// Where its arguments end among those of the batch.
    args_end: usize,
}

/// What stands behind the last command of a batch.
pub(super) enum Tail {
    /// Perhaps more commands.
    Open,
    /// The beginning of one.
    Incomplete,
    /// One with quotes, its arguments resolved, and where it ends in the input.
    Quoted(Vec<Vec<u8>>, usize),
    /// No request.
    Error(ProtocolError),
}

/// Room for batches, kept from one to the next.
#[derive(Clone, Default)]
pub(super) struct Room {
    args: Vec<&'static [u8]>,
    reads: Vec<Read>,
    spans: Vec<Span>,
    hashes: Vec<u64>,
}

/// Commands in the input, read and not yet run.
pub(super) struct Batch<'a> {
    /// Where the first command begins: blank lines may come before it.
    pub start: usize,
    args: Vec<&'a [u8]>,
    reads: Vec<Read>,
    spans: Vec<Span>,
    hashes: Vec<u64>,
}

impl<'a> Batch<'a> {
    /// An empty batch.
    pub(super) fn new(room: Room) -> Batch<'a> {
        let Room { args, reads, spans, hashes } = room;
        Batch { start: 0, args, reads, spans, hashes }
    }

    /// Takes the room back.
    pub(super) fn into_room(self) -> Room {
        Room { args: emptied(self.args), reads: self.reads, spans: self.spans, hashes: self.hashes }
    }

    /// The commands, in order, each with its arguments.
    pub(super) fn commands(&self) -> impl Iterator<Item = (&Read, &[&'a [u8]])> {
        let mut args_start = 0;
        self.reads.iter().map(move |read| {
            let args = &self.args[args_start..read.args_end];
            args_start = read.args_end;
            (read, args)
        })
    }

    fn clear(&mut self) {
        self.start = 0;
        self.args.clear();
        self.reads.clear();
        self.hashes.clear();
    }

    /// Takes note of blank lines up to here.
    fn skip_to(&mut self, at: usize) {
        match self.reads.last_mut() {
            Some(last) => last.next = at,
            None => self.start = at,
        }
    }
}

/// The allocation of a list of slices, for slices that live longer or shorter.
fn emptied<'b>(mut slices: Vec<&[u8]>) -> Vec<&'b [u8]> {
    slices.clear();
    slices.into_iter().map(|_| -> &'b [u8] { unreachable!("it was cleared") }).collect()
}

impl Node {
    /// Reads the next batch off the front of `input`, and starts loading what it will look at.
    pub(super) fn read_batch<'a>(
        &self,
        db: usize,
        parser: &mut Parser,
        limits: &ProtocolLimits,
        input: &'a [u8],
        batch: &mut Batch<'a>,
    ) -> Tail {
        batch.clear();
        let mut at = 0;
        let mut tail = Tail::Open;
        while at < input.len() && batch.reads.len() < COMMANDS_MAX {
            let rest = &input[at..];
            match parser.parse(rest, limits, &mut batch.spans) {
                Parsed::Command { len, is_inline } => {
                    let is_last = !self.read_command(&input[at..], at..at + len, is_inline, batch);
                    at += len;
                    if is_last {
                        break;
                    }
                }
                Parsed::Empty { len } => {
                    at += len;
                    batch.skip_to(at);
                }
                Parsed::Incomplete => tail = Tail::Incomplete,
                Parsed::Inline { len, args } => tail = Tail::Quoted(args, at + len),
                Parsed::Error(error) => tail = Tail::Error(error),
            }
            if !matches!(tail, Tail::Open) {
                break;
            }
        }
        self.prefetch(db, &batch.hashes);
        tail
    }

    /// Adds a command to the batch; `false` if nothing may be read behind it before it has run.
    fn read_command<'a>(
        &self,
        input: &'a [u8],
        frame: Range<usize>,
        is_inline: bool,
        batch: &mut Batch<'a>,
    ) -> bool {
        let args_start = batch.args.len();
        batch.args.extend(batch.spans.iter().map(|span| span.of(input)));
        let args = &batch.args[args_start..];
        let row = self.table.resolve(args);
        let is_plain = row.is_some_and(|row| {
            matches!(row.command.action, Action::Run(_)) && !row.command.has(flag::BLOCKING)
        });
        let mut hash = None;
        if let Some(row) = row.filter(|row| row.command.takes(args.len())) {
            if row.keys == KeyPlaces::First {
                hash = Some(self.store.hash(args[1]));
                batch.hashes.extend(hash);
            } else {
                self.hash_keys(&row, args, &mut batch.hashes);
            }
        }
        let (next, args_end) = (frame.end, batch.args.len());
        batch.reads.push(Read { row, frame, next, is_inline, hash, args_end });
        is_plain
    }

    /// Hashes the keys of a command that has several, if they are simply listed.
    fn hash_keys(&self, row: &Row, args: &[&[u8]], hashes: &mut Vec<u64>) {
        let [spec] = row.command.keys else { return };
        let (KeyBegin::Index(first), KeyFind::Range { step, .. }) = (&spec.begin, &spec.find) else { return };
        if args.len() > *first {
            let room = KEYS_MAX.saturating_sub(hashes.len());
            hashes.extend(args[*first..].iter().step_by(*step).take(room).map(|key| self.store.hash(key)));
        }
    }

    /// Asks for the memory that a look-up of these keys will touch.
    pub(super) fn prefetch(&self, db: usize, hashes: &[u64]) {
        let table = self.store.db(db).table();
        if hashes.len() > 1 && table.len() > KEYS_CACHED {
            table.prefetch(hashes);
        }
    }
}
