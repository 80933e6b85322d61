//! Reading a whole data set from RDB bytes as they arrive.
//!
//! Exists as a pull parser so that a file is loaded in bounded slices: whoever has bytes feeds them, whoever wants
//! keys asks for the next event, and nobody waits inside.
//!
//! Always true: an event is given only when all its bytes were there and right; what is buffered is what was fed and
//! not yet understood; after damage or the end nothing more is read.
//!
//! Not here: what a value's bytes mean (`value.rs`), what is done with a key (`node/loading.rs`).

use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    MAGIC, VERSION_MAX, opcode,
    primitive::{Fault, Reader},
    value::{LoadedValue, module_name, read_value},
};
use crate::{bytes::crc64, store::Limits};

/// Files from this version on end with a checksum.
const CHECKSUM_VERSION_MIN: u16 = 5;

const SHORT_READ: &str = "Short read or OOM loading DB. Unrecoverable error, aborting now.";

/// What is expected of a file.
#[derive(Clone, Debug)]
pub struct DecodeSettings {
    /// Which encoding loaded values get.
    pub limits: Limits,
    /// A wrong checksum is no damage.
    pub skip_checksum: bool,
}

/// Something a file says.
#[derive(Debug)]
pub enum Event {
    /// Nothing without more bytes.
    NeedMore,
    /// A note about the file.
    Aux {
        /// What it is about.
        name: Vec<u8>,
        /// What it says.
        value: Vec<u8>,
    },
    /// The source of a function library.
    Function(Vec<u8>),
    /// Keys that follow belong to this database.
    SelectDb(usize),
    /// How much this database holds, so that room can be made; may be wrong.
    SizeHint {
        /// Keys.
        keys: u64,
        /// Keys that expire.
        expires: u64,
    },
    /// A key with its value.
    Key(LoadedKey),
    /// A key whose collection has no elements: it is passed over.
    EmptyKey(Vec<u8>),
    /// The file is whole and its checksum right.
    End,
}

/// A key as it was saved.
#[derive(Debug)]
pub struct LoadedKey {
    /// The key.
    pub key: Vec<u8>,
    /// What it holds.
    pub value: LoadedValue,
    /// When it expires, milliseconds since 1970; it may have come already.
    pub expiry_ms: Option<u64>,
    /// Seconds since it was last used.
    pub idle_s: Option<u64>,
    /// How often it is used, as LFU counts.
    pub frequency: Option<u8>,
}

/// Why a file cannot be loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Where that was noticed, bytes from the start.
    pub offset: u64,
    /// What is wrong, ready for the log.
    pub what: String,
    /// The key that was being read.
    pub key: Option<Vec<u8>>,
    /// What was being read, in the words of redis-check-rdb.
    pub doing: &'static str,
    /// Type byte of the value that was being read.
    pub kind: Option<u8>,
}

/// What the next key gets besides its value.
#[derive(Clone, Copy, Default, Debug)]
struct Attributes {
    expiry_ms: Option<u64>,
    idle_s: Option<u64>,
    frequency: Option<u8>,
}

#[derive(Clone, Debug)]
enum Phase {
    Header,
    Body,
    Trailer,
    Ended,
    Damaged(Damage),
}

/// What taking one item came to.
enum Taken {
    Event(Event),
    /// Nothing anybody has to know.
    Quiet,
}

/// Reads a file.
#[derive(Clone, Debug)]
pub struct Decoder {
    settings: DecodeSettings,
    /// Bytes from `start` on are not yet understood; `crc` covers those before `summed`.
    buffer: Vec<u8>,
    start: usize,
    summed: usize,
    /// Bytes of the file before `buffer[start]`.
    offset: u64,
    /// Looking again is useless before this many bytes are there: it keeps the work linear for a huge value that
    /// arrives in many pieces.
    bytes_wanted: usize,
    is_input_finished: bool,
    phase: Phase,
    version: u16,
    crc: u64,
    attributes: Attributes,
    /// The key whose value was being read when it failed.
    key: Option<Vec<u8>>,
    doing: &'static str,
    kind: Option<u8>,
}

impl Decoder {
    /// Waits for the first byte.
    pub fn new(settings: DecodeSettings) -> Decoder {
        Decoder {
            settings,
            buffer: Vec::new(),
            start: 0,
            summed: 0,
            offset: 0,
            bytes_wanted: 0,
            is_input_finished: false,
            phase: Phase::Header,
            version: 0,
            crc: 0,
            attributes: Attributes::default(),
            key: None,
            doing: "start",
            kind: None,
        }
    }

    /// Takes in the next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > self.buffer.len() / 2 {
            self.sum_up();
            self.buffer.drain(..self.start);
            (self.start, self.summed) = (0, 0);
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Says that no more bytes come: what is cut off now stays cut off.
    pub fn finish_input(&mut self) {
        self.is_input_finished = true;
        self.bytes_wanted = 0;
    }

    /// Bytes understood so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Version of the format; 0 before the header was read.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Bytes that were fed and not understood: after [`Event::End`] what follows the trailer.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.split_off(self.start)
    }

    /// The next thing the file says.
    ///
    /// # Errors
    /// The file is damaged; asking again gives the same answer.
    #[allow(clippy::should_implement_trait)] // It has no end to iterate to: NeedMore is an answer.
    pub fn next(&mut self) -> Result<Event, Damage> {
        loop {
            match &self.phase {
                Phase::Ended => return Ok(Event::End),
                Phase::Damaged(damage) => return Err(damage.clone()),
                _ if self.buffer.len() - self.start < self.bytes_wanted => return Ok(Event::NeedMore),
                _ => {}
            }
            match self.take_item() {
                Ok(Taken::Event(event)) => return Ok(event),
                Ok(Taken::Quiet) => {}
                Err(Fault::Short { bytes_needed }) if !self.is_input_finished => {
                    let available = self.buffer.len() - self.start;
                    self.bytes_wanted = bytes_needed.max(available + available / 2);
                    return Ok(Event::NeedMore);
                }
                Err(fault) => self.phase = Phase::Damaged(self.damage(fault)),
            }
        }
    }

    /// Takes what was understood into the checksum: seldom, because long runs are summed up faster.
    fn sum_up(&mut self) {
        self.crc = crc64::update(self.crc, &self.buffer[self.summed..self.start]);
        self.summed = self.start;
    }

    fn damage(&mut self, fault: Fault) -> Damage {
        let (offset, what) = match fault {
            Fault::Short { .. } => ((self.buffer.len() - self.start) as u64, SHORT_READ.to_string()),
            Fault::Bad { offset, what } => (offset as u64, what.into_owned()),
        };
        let offset = self.offset + offset;
        Damage { offset, what, key: self.key.take(), doing: self.doing, kind: self.kind.take() }
    }

    /// Reads one item; only a whole one counts as understood.
    fn take_item(&mut self) -> Result<Taken, Fault> {
        if matches!(self.phase, Phase::Trailer) {
            self.sum_up();
        }
        // The buffer is lent out while `self` changes, and put back in any case.
        let buffer = core::mem::take(&mut self.buffer);
        let mut reader = Reader::new(&buffer[self.start..]);
        let taken = match self.phase {
            Phase::Header => self.take_header(&mut reader),
            Phase::Body => self.take_body(&mut reader),
            _ => self.take_trailer(&mut reader),
        };
        if taken.is_ok() {
            let count = reader.offset();
            self.start += count;
            self.offset += count as u64;
            self.bytes_wanted = 0;
            (self.key, self.kind) = (None, None);
        }
        self.buffer = buffer;
        taken
    }

    fn take_header(&mut self, reader: &mut Reader<'_>) -> Result<Taken, Fault> {
        let wrong = Fault::Bad { offset: 0, what: "Wrong signature trying to load DB from file".into() };
        if reader.array()? != *MAGIC {
            return Err(wrong);
        }
        let digits = reader.array::<4>()?;
        let text = core::str::from_utf8(&digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
        let version: u16 = text.and_then(|text| text.parse().ok()).ok_or(wrong)?;
        if !(1..=VERSION_MAX).contains(&version) {
            let what = format!("Can't handle RDB format version {version}");
            return Err(Fault::Bad { offset: MAGIC.len(), what: what.into() });
        }
        self.version = version;
        self.phase = Phase::Body;
        Ok(Taken::Quiet)
    }

    fn take_body(&mut self, reader: &mut Reader<'_>) -> Result<Taken, Fault> {
        self.doing = "read-type";
        let kind = reader.byte()?;
        self.doing = doing(kind);
        let event = match kind {
            opcode::EXPIRY_MS => {
                self.attributes.expiry_ms = expiry(reader.u64_le()? as i64);
                return Ok(Taken::Quiet);
            }
            opcode::EXPIRY_S => {
                let seconds = i32::from_le_bytes(reader.array()?);
                self.attributes.expiry_ms = expiry(i64::from(seconds) * 1000);
                return Ok(Taken::Quiet);
            }
            opcode::IDLE => {
                self.attributes.idle_s = Some(reader.len()?);
                return Ok(Taken::Quiet);
            }
            opcode::FREQUENCY => {
                self.attributes.frequency = Some(reader.byte()?);
                return Ok(Taken::Quiet);
            }
            opcode::SLOT_INFO => {
                // Slot, keys, expires: hints for a cluster.
                for _ in 0..3 {
                    reader.len()?;
                }
                return Ok(Taken::Quiet);
            }
            opcode::EOF => {
                self.phase = Phase::Trailer;
                return Ok(Taken::Quiet);
            }
            opcode::SELECT_DB => {
                let index = reader.len()?;
                Event::SelectDb(usize::try_from(index).unwrap_or(usize::MAX))
            }
            opcode::RESIZE_DB => Event::SizeHint { keys: reader.len()?, expires: reader.len()? },
            opcode::AUX => take_aux(reader)?,
            opcode::FUNCTION => Event::Function(reader.string()?.into_owned()),
            opcode::FUNCTION_PRE_GA => return Err(reader.bad("Pre-release function format not supported")),
            opcode::MODULE_AUX => {
                let module = module_name(reader.len()?);
                return Err(reader.bad(format!("AUX data of module '{module}', which is not loaded")));
            }
            kind => self.take_key(kind, reader)?,
        };
        Ok(Taken::Event(event))
    }

    fn take_key(&mut self, kind: u8, reader: &mut Reader<'_>) -> Result<Event, Fault> {
        self.kind = Some(kind);
        let key = reader.string()?;
        self.doing = "read-object-value";
        let value = read_value(kind, reader, &self.settings.limits)
            .inspect_err(|_| self.key = Some(key.clone().into_owned()))?;
        let Attributes { expiry_ms, idle_s, frequency } = core::mem::take(&mut self.attributes);
        let key = key.into_owned();
        Ok(match value {
            None => Event::EmptyKey(key),
            Some(value) => Event::Key(LoadedKey { key, value, expiry_ms, idle_s, frequency }),
        })
    }

    fn take_trailer(&mut self, reader: &mut Reader<'_>) -> Result<Taken, Fault> {
        if self.version >= CHECKSUM_VERSION_MIN {
            self.doing = "check-sum";
            self.check_sum(reader.u64_le()?)?;
        }
        self.phase = Phase::Ended;
        Ok(Taken::Quiet)
    }

    fn check_sum(&self, stored: u64) -> Result<(), Fault> {
        if stored == 0 {
            tracing::info!("RDB file was saved with checksum disabled: no check performed.");
        }
        if stored == 0 || stored == self.crc || self.settings.skip_checksum {
            return Ok(());
        }
        let what = format!("RDB CRC error: expected ({stored:x}) but got ({:x}). Aborting now.", self.crc);
        Err(Fault::Bad { offset: 0, what: Cow::Owned(what) })
    }
}

/// What a first byte says is coming, in the words of redis-check-rdb.
fn doing(kind: u8) -> &'static str {
    match kind {
        opcode::EXPIRY_MS | opcode::EXPIRY_S => "read-expire",
        opcode::IDLE | opcode::SLOT_INFO | opcode::SELECT_DB | opcode::RESIZE_DB => "read-len",
        opcode::FREQUENCY | opcode::EOF => "read-type",
        opcode::AUX => "read-aux",
        opcode::FUNCTION | opcode::FUNCTION_PRE_GA => "read-functions",
        opcode::MODULE_AUX => "read-module-aux",
        _ => "read-key",
    }
}

/// The time -1 means never, as in Redis; any other before 1970 has come, whichever it is.
fn expiry(ms: i64) -> Option<u64> {
    (ms != -1).then(|| u64::try_from(ms).unwrap_or(0))
}

fn take_aux(reader: &mut Reader<'_>) -> Result<Event, Fault> {
    let (name, value) = (reader.string()?, reader.string()?);
    if name.eq_ignore_ascii_case(b"slot-info") && !is_slot_info(&value) {
        return Err(reader.bad("slot-info that is not three numbers"));
    }
    Ok(Event::Aux { name: name.into_owned(), value: value.into_owned() })
}

/// `slot,keys,expires`
fn is_slot_info(value: &[u8]) -> bool {
    let mut numbers = value.split(|&byte| byte == b',').map(crate::bytes::number::parse_u64);
    matches!(
        (numbers.next(), numbers.next(), numbers.next(), numbers.next()),
        (Some(Some(_)), Some(Some(_)), Some(Some(_)), None)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::Encoder,
        rdb::{RdbEncoder, RdbSettings},
        store::{Store, Value},
    };

    fn settings(version: u16) -> RdbSettings {
        RdbSettings {
            version,
            is_compressed: true,
            has_checksum: true,
            is_aof_base: true,
            log_offset: None,
            created_s: 1_700_000_000,
            created_ms: None,
            used_memory: 1 << 40,
            has_idle_times: false,
            has_frequencies: false,
        }
    }

    fn file_of(store: &Store, settings: RdbSettings) -> Vec<u8> {
        let mut encoder = RdbEncoder::new(store, settings);
        let mut file = Vec::new();
        while encoder.step(&mut file) {}
        assert_eq!(encoder.keys(), store.len() as u64);
        file
    }

    /// Loads a file that arrives in pieces of `piece` bytes; what was understood, and what followed the end.
    fn load(file: &[u8], piece: usize, skip_checksum: bool) -> Result<(Store, Vec<u8>), Damage> {
        let mut decoder = Decoder::new(DecodeSettings { limits: Limits::default(), skip_checksum });
        let mut pieces = file.chunks(piece);
        let mut store = Store::new(16, 1);
        store.is_loading = true;
        let mut db = 0;
        loop {
            match decoder.next()? {
                Event::NeedMore => match pieces.next() {
                    Some(bytes) => decoder.feed(bytes),
                    None => decoder.finish_input(),
                },
                Event::SelectDb(index) => db = index % 16,
                Event::Key(LoadedKey { key, value, expiry_ms, idle_s, frequency }) => {
                    let meta = store.limits.meta_from(idle_s, frequency, 1_700_000_000_000);
                    value.with(|value| store.db_mut(db).insert(&key, value, meta, expiry_ms));
                }
                Event::End => break,
                _ => {}
            }
        }
        let mut rest = decoder.into_rest();
        rest.extend(pieces.flatten());
        Ok((store, rest))
    }

    fn sample() -> Store {
        let mut store = Store::new(16, 7);
        store.now_ms = 1_700_000_000_000;
        for (key, text) in
            [(&b"a"[..], &b""[..]), (b"b", b"12345"), (b"c", &[b'x'; 90]), (b"\0\xff", b"9999999999")]
        {
            store.set(key, Value::from_text(text), false);
        }
        store.set_expiry(b"b", Some(1_800_000_000_000));
        store.selected = 9;
        store.set(b"nine", Value::Int(-9), false);
        store.selected = 0;
        store
    }

    /// Database, key, payload and expiry.
    type Listed = (usize, Vec<u8>, Vec<u8>, Option<u64>);

    /// Everything that can be asked of a store, in an order that does not depend on its tables.
    fn listing(store: &Store) -> Vec<Listed> {
        let mut all = Vec::new();
        for db in 0..store.db_count() {
            for entry in store.db(db).table() {
                let value = crate::rdb::dump(entry.content(), 12, false);
                all.push((db, entry.key().to_vec(), value, entry.expiry_ms()));
            }
        }
        all.sort();
        all
    }

    #[test]
    fn a_data_set_survives_in_pieces_of_any_size() {
        let store = sample();
        for version in 10..=12 {
            let mut file = file_of(&store, settings(version));
            file.extend(b"*1\r\n$4\r\nPING\r\n");
            for piece in [1, 2, 7, 64, 1 << 20] {
                let (loaded, rest) = load(&file, piece, false).unwrap();
                assert_eq!(listing(&loaded), listing(&store));
                assert_eq!(rest, b"*1\r\n$4\r\nPING\r\n");
            }
        }
    }

    #[test]
    fn every_cut_is_a_short_read() {
        let file = file_of(&sample(), settings(11));
        for len in 0..file.len() {
            let damage = load(&file[..len], 1 << 20, false).err().expect("a cut file is damaged");
            assert_eq!((damage.what.as_str(), damage.offset), (SHORT_READ, len as u64));
        }
    }

    /// Could go wrong: a flipped bit turns a length into a huge one, or a value into another that nobody notices.
    /// Noticed: by a panic, or by data that differs although the checksum was looked at.
    #[test]
    fn every_flipped_bit_is_noticed() {
        let file = file_of(&sample(), settings(11));
        let expected = listing(&sample());
        for index in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[index / 8] ^= 1 << (index % 8);
            let is_version = (5..9).contains(&(index / 8));
            if let Ok((loaded, _)) = load(&flipped, 1 << 20, false) {
                assert!(is_version && listing(&loaded) == expected, "bit {index}");
            }
            // Without the checksum some flips make other data; none makes a panic.
            let _ = load(&flipped, 1 << 20, true);
        }
    }

    #[test]
    fn empty_files_are_known_byte_for_byte() {
        let table: [(u16, [u8; 8]); 4] = [
            (9, 0x9aac_7abc_fb0f_ad74_u64.to_be_bytes()),
            (10, 0xa9fd_37fe_89a7_7eeb_u64.to_be_bytes()),
            (11, 0xc022_8a8d_7438_9762_u64.to_be_bytes()),
            (12, 0x10d0_db41_20be_f4d3_u64.to_be_bytes()),
        ];
        for (version, checksum) in table {
            let mut file = format!("REDIS{version:04}").into_bytes();
            file.push(opcode::EOF);
            file.extend(checksum);
            assert!(load(&file, 1, false).unwrap().0.is_empty());
            file[9 + 1] ^= 1;
            assert!(load(&file, 1, false).is_err());
        }
    }

    fn damage_of(file: &[u8]) -> String {
        load(file, 1 << 20, false).err().expect("damaged").what
    }

    #[test]
    fn damage_is_named() {
        let table: &[(&[u8], &str)] = &[
            (b"RESID0011", "Wrong signature trying to load DB from file"),
            (b"REDIS001x", "Wrong signature trying to load DB from file"),
            (b"REDIS0000", "Can't handle RDB format version 0"),
            (b"REDIS0013", "Can't handle RDB format version 13"),
            (b"REDIS0011", SHORT_READ),
            (b"REDIS0011\xf6", "Pre-release function format not supported"),
            (b"REDIS0011\x63\x01k", "Unknown RDB encoding type 99"),
            (b"REDIS0011\x00\xfe", "Unknown RDB string encoding type 62"),
            (b"REDIS0011\xfa\x09slot-info\x031,2", "slot-info that is not three numbers"),
            (
                b"REDIS0011\xff12345678",
                "RDB CRC error: expected (3837363534333231) but got (629738748d8a22c0). Aborting now.",
            ),
        ];
        for &(file, what) in table {
            assert_eq!(damage_of(file), what);
        }
    }

    #[test]
    fn damage_names_the_key_and_stays() {
        let mut decoder = Decoder::new(DecodeSettings { limits: Limits::default(), skip_checksum: false });
        decoder.feed(b"REDIS0011\x00\x03key\xc3\x01\x05\x00");
        decoder.finish_input();
        let damage = decoder.next().unwrap_err();
        assert_eq!(damage.key.as_deref(), Some(&b"key"[..]));
        assert_eq!(damage.what, "Invalid LZF compressed string");
        assert_eq!(decoder.next().unwrap_err(), damage);
    }

    #[test]
    fn old_files_have_no_checksum_and_a_zero_one_is_none() {
        assert!(load(b"REDIS0004\x00\x01k\x01v\xff", 1, false).unwrap().0.db(0).get(b"k").is_some());
        assert!(load(b"REDIS0005\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0", 1, false).is_ok());
        let mut unchecked = settings(11);
        unchecked.has_checksum = false;
        let file = file_of(&sample(), unchecked);
        assert_eq!(file[file.len() - 8..], [0; 8]);
        assert!(load(&file, 5, false).is_ok());
    }

    #[test]
    fn attributes_belong_to_the_next_key() {
        let mut decoder = Decoder::new(DecodeSettings { limits: Limits::default(), skip_checksum: true });
        decoder.feed(b"REDIS0009\xfd\x01\0\0\0\xf8\x05\x00\x01a\x01x\xf9\x07\xfc\xfe\xff\xff\xff\xff\xff\xff\xff\x00\x01b\x01x");
        decoder.feed(b"\xfc\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01c\x01x");
        let Event::Key(first) = decoder.next().unwrap() else { panic!("a key") };
        assert_eq!((first.expiry_ms, first.idle_s, first.frequency), (Some(1000), Some(5), None));
        let Event::Key(second) = decoder.next().unwrap() else { panic!("a key") };
        assert_eq!((second.expiry_ms, second.idle_s, second.frequency), (Some(0), None, Some(7)));
        let Event::Key(third) = decoder.next().unwrap() else { panic!("a key") };
        assert_eq!((third.expiry_ms, third.idle_s, third.frequency), (None, None, None));
        assert!(matches!(decoder.next(), Ok(Event::NeedMore)));
    }
}
