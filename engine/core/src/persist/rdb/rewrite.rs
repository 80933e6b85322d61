//! The data set as commands: the base of an append-only set when `aof-use-rdb-preamble` is `no`.
//!
//! ```text
//! #TS:seconds
//! per database that is not empty: SELECT, then per key the commands that build it, PEXPIREAT if it expires
//! ```
//!
//! Always true: replaying them on an empty server gives the same data set, expired keys included; a collection is
//! built by commands of at most 64 elements each.
//!
//! Not kept, as in Redis: idle times and frequencies.

use alloc::{format, vec::Vec};
use core::mem;

use perdura_structures::table::{ContentRef, Iter};

use crate::{
    bytes::number::{self, DecimalBuffer},
    host::Encoder,
    store::{Entry, Object, Store},
    time::Now,
};

/// A step ends once it has appended this much, bytes.
const STEP_BYTES: usize = 64 << 10;

enum Phase<'a> {
    Header,
    /// About to begin this database.
    Database(usize),
    /// Within this database.
    Keys(usize, Iter<'a, Object>),
    Done,
}

/// Writes a store as commands.
pub struct CommandsEncoder<'a> {
    store: &'a Store,
    functions: &'a [&'a [u8]],
    now: Now,
    phase: Phase<'a>,
    keys: u64,
}

impl<'a> CommandsEncoder<'a> {
    /// Stands before the first byte.
    pub fn new(store: &'a Store, now: Now) -> CommandsEncoder<'a> {
        CommandsEncoder { store, functions: &[], now, phase: Phase::Header, keys: 0 }
    }

    /// Function libraries to write too: the source of each.
    pub fn with_functions(mut self, functions: &'a [&'a [u8]]) -> CommandsEncoder<'a> {
        self.functions = functions;
        self
    }

    fn put_header(&self, out: &mut Vec<u8>) {
        out.extend(format!("#TS:{}\r\n", self.now.wall_s()).into_bytes());
        for source in self.functions {
            put_command(&[b"FUNCTION", b"LOAD", source], out);
        }
    }

    /// Begins the first database from `index` on that is not empty.
    fn begin_database(&self, index: usize, out: &mut Vec<u8>) -> Phase<'a> {
        let Some(index) = (index..self.store.db_count()).find(|&index| !self.store.db(index).is_empty())
        else {
            return Phase::Done;
        };
        put_command(&[b"SELECT", number::format_u64(index as u64, &mut DecimalBuffer::default())], out);
        Phase::Keys(index, self.store.db(index).table().iter())
    }

    /// Appends what comes next and moves on.
    fn advance(&mut self, out: &mut Vec<u8>) {
        self.phase = match mem::replace(&mut self.phase, Phase::Done) {
            Phase::Header => {
                self.put_header(out);
                Phase::Database(0)
            }
            Phase::Database(index) => self.begin_database(index, out),
            Phase::Keys(index, mut entries) => match entries.next() {
                None => Phase::Database(index + 1),
                Some(entry) => {
                    put_key(entry, out);
                    self.keys += 1;
                    Phase::Keys(index, entries)
                }
            },
            Phase::Done => Phase::Done,
        };
    }
}

impl Encoder for CommandsEncoder<'_> {
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        while out.len() - start < STEP_BYTES && !matches!(self.phase, Phase::Done) {
            self.advance(out);
        }
        !matches!(self.phase, Phase::Done)
    }

    fn keys(&self) -> u64 {
        self.keys
    }
}

fn put_key(entry: Entry<'_>, out: &mut Vec<u8>) {
    let key = entry.key();
    match entry.content() {
        ContentRef::Int(number) => {
            put_command(&[b"SET", key, number::format_i64(number, &mut DecimalBuffer::default())], out);
        }
        ContentRef::Bytes(text) => put_command(&[b"SET", key, text], out),
        ContentRef::Object(object) => match object {
            Object::String(text) => put_command(&[b"SET", key, text], out),
            _ => unreachable!("no command makes a collection yet"),
        },
    }
    if let Some(at) = entry.expiry_ms() {
        put_command(&[b"PEXPIREAT", key, number::format_u64(at, &mut DecimalBuffer::default())], out);
    }
}

fn put_command(arguments: &[&[u8]], out: &mut Vec<u8>) {
    put_number(b'*', arguments.len(), out);
    for argument in arguments {
        put_number(b'$', argument.len(), out);
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

fn put_number(letter: u8, number: usize, out: &mut Vec<u8>) {
    out.push(letter);
    out.extend_from_slice(number::format_u64(number as u64, &mut DecimalBuffer::default()));
    out.extend_from_slice(b"\r\n");
}
