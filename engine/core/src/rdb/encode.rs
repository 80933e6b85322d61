//! Writing a whole data set as RDB, piece by piece, over memory that does not change under it.
//!
//! Exists as a state machine so that a forked child, SAVE and the simulator drive the same code: each step appends
//! about 64 KiB and remembers where it was.
//!
//! Always true: the pieces joined are one valid file; every key is written once; nothing but the store and the
//! settings decides a byte of it.

use alloc::vec::Vec;
use core::mem;

use perdura_structures::table::Iter;

use super::{
    MAGIC,
    hash::EXPIRY_VERSION_MIN,
    opcode,
    primitive::{put_int, put_len, put_raw, put_string},
    value::{Form, kind_of, put_value},
};
use crate::{
    bytes::crc64,
    config::REDIS_VERSION,
    host::Encoder,
    store::{Entry, Object, Store},
};

/// A step ends once it has appended this much, bytes.
const STEP_BYTES: usize = 64 << 10;

/// Name of the note by which a base says at which offset its log goes on, and that it has batch headers. Stock loaders skip
/// notes they do not know.
pub const AUX_LOG_OFFSET: &[u8] = b"perdura-aof-offset";

/// Name of the note by which a snapshot says when its data was frozen, in milliseconds since 1970.
pub const AUX_CREATED_MS: &[u8] = b"perdura-created-ms";

/// What goes into a file besides the data.
#[derive(Clone, Copy, Debug)]
pub struct RdbSettings {
    /// Version of the format, range 10..=12.
    pub version: u16,
    /// `rdbcompression`: long strings are compressed.
    pub is_compressed: bool,
    /// `rdbchecksum`: otherwise the checksum is written as zero, which means none.
    pub has_checksum: bool,
    /// The file is the base of an append-only set.
    pub is_aof_base: bool,
    /// Offset at which the log that follows this base goes on, if it is begun with batch headers.
    pub log_offset: Option<u64>,
    /// When it was made, seconds since 1970.
    pub created_s: u64,
    /// The same in milliseconds, to be noted in the file: tells whether it is newer than a log that was switched off.
    pub created_ms: Option<u64>,
    /// Memory the data takes, bytes.
    pub used_memory: u64,
    /// Keys carry how long they were idle (LRU policies).
    pub has_idle_times: bool,
    /// Keys carry how often they are used (LFU policies).
    pub has_frequencies: bool,
}

impl RdbSettings {
    fn form(&self) -> Form {
        Form { version: self.version, is_compressed: self.is_compressed }
    }
}

/// Where the encoder stands.
enum Phase<'a> {
    Header,
    /// About to begin this database.
    Database(usize),
    /// Within this database.
    Keys(usize, Iter<'a, Object>),
    Trailer,
    Done,
}

/// Writes a store as RDB.
pub struct RdbEncoder<'a> {
    store: &'a Store,
    settings: RdbSettings,
    functions: Vec<&'a [u8]>,
    phase: Phase<'a>,
    crc: u64,
    keys: u64,
}

impl<'a> RdbEncoder<'a> {
    /// Stands before the first byte.
    ///
    /// Fields that expire raise the version to the first that knows them.
    pub fn new(store: &'a Store, mut settings: RdbSettings) -> RdbEncoder<'a> {
        if (0..store.db_count()).any(|index| store.db(index).next_field_expiry_ms().is_some()) {
            settings.version = settings.version.max(EXPIRY_VERSION_MIN);
        }
        RdbEncoder { store, settings, functions: Vec::new(), phase: Phase::Header, crc: 0, keys: 0 }
    }

    /// Function libraries to write too: the source of each.
    pub fn with_functions(mut self, functions: Vec<&'a [u8]>) -> RdbEncoder<'a> {
        self.functions = functions;
        self
    }

    fn put_header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.extend(alloc::format!("{:04}", self.settings.version).into_bytes());
        self.put_aux(b"redis-ver", |out| put_string(REDIS_VERSION.as_bytes(), false, out), out);
        self.put_aux(b"redis-bits", |out| put_int(64, out), out);
        self.put_aux(b"ctime", |out| put_int(self.settings.created_s as i64, out), out);
        if let Some(created_ms) = self.settings.created_ms {
            self.put_aux(AUX_CREATED_MS, |out| put_int(created_ms as i64, out), out);
        }
        self.put_aux(b"used-mem", |out| put_int(self.settings.used_memory as i64, out), out);
        self.put_aux(b"aof-base", |out| put_int(i64::from(self.settings.is_aof_base), out), out);
        if let Some(offset) = self.settings.log_offset {
            self.put_aux(AUX_LOG_OFFSET, |out| put_int(offset as i64, out), out);
        }
        for source in &self.functions {
            out.push(opcode::FUNCTION);
            put_string(source, self.settings.is_compressed, out);
        }
    }

    fn put_aux(&self, name: &[u8], put_value: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        out.push(opcode::AUX);
        put_raw(name, out);
        put_value(out);
    }

    /// Begins the first database from `index` on that is not empty.
    fn begin_database(&self, index: usize, out: &mut Vec<u8>) -> Phase<'a> {
        let Some(index) = (index..self.store.db_count()).find(|&index| !self.store.db(index).is_empty())
        else {
            return Phase::Trailer;
        };
        let db = self.store.db(index);
        out.push(opcode::SELECT_DB);
        put_len(index as u64, out);
        out.push(opcode::RESIZE_DB);
        put_len(db.len() as u64, out);
        put_len(db.expiring_len() as u64, out);
        Phase::Keys(index, db.table().iter())
    }

    fn put_key(&self, entry: Entry<'_>, out: &mut Vec<u8>) {
        if let Some(at) = entry.expiry_ms() {
            out.push(opcode::EXPIRY_MS);
            out.extend(at.to_le_bytes());
        }
        let now_ms = self.settings.created_s * 1000;
        if self.settings.has_idle_times {
            out.push(opcode::IDLE);
            put_len(self.store.limits.idle_seconds(entry.meta(), now_ms), out);
        }
        if self.settings.has_frequencies {
            out.extend([opcode::FREQUENCY, self.store.limits.frequency(entry.meta(), now_ms)]);
        }
        let form = self.settings.form();
        out.push(kind_of(entry.content(), form));
        put_string(entry.key(), form.is_compressed, out);
        put_value(entry.content(), form, out);
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
                    self.put_key(entry, out);
                    self.keys += 1;
                    Phase::Keys(index, entries)
                }
            },
            Phase::Trailer => {
                out.push(opcode::EOF);
                Phase::Done
            }
            Phase::Done => Phase::Done,
        };
    }
}

impl Encoder for RdbEncoder<'_> {
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        if matches!(self.phase, Phase::Done) {
            return false;
        }
        let start = out.len();
        while out.len() - start < STEP_BYTES && !matches!(self.phase, Phase::Done) {
            self.advance(out);
        }
        if self.settings.has_checksum {
            self.crc = crc64::update(self.crc, &out[start..]);
        }
        let is_done = matches!(self.phase, Phase::Done);
        if is_done {
            out.extend(self.crc.to_le_bytes());
        }
        !is_done
    }

    fn keys(&self) -> u64 {
        self.keys
    }
}
