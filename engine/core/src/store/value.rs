//! What a key can hold: a string in one of three encodings, or a collection.
//!
//! Integers and strings that are not long live inside the table's entry; everything else is an
//! [`Object`]. A collection type plugs in by implementing [`Kind`].
//!
//! Not here: the collections themselves (`list.rs`, `hash.rs` …), how they are written to RDB (`rdb/`).

use alloc::{boxed::Box, vec::Vec};

use perdura_structures::{
    alloc_size::alloc_size,
    table::{Content, ContentRef},
};

use super::{hash::Hash, list::List, set::Set, stream::Stream, zset::ZSet};
use crate::{bytes::number, rng::Rng};

/// Longest string that OBJECT ENCODING calls `embstr`, bytes: Redis's own limit.
const EMBSTR_BYTES_MAX: usize = 44;

/// Longest string kept inside its entry, bytes. One allocation and one cache miss less than on its own, and short enough
/// that moving it with its entry, when the key gets an expiry, costs little.
pub const EMBEDDED_BYTES_MAX: usize = 1024;

/// The types clients see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// `string`
    String,
    /// `list`
    List,
    /// `set`
    Set,
    /// `zset`
    ZSet,
    /// `hash`
    Hash,
    /// `stream`
    Stream,
}

impl Type {
    /// As TYPE answers it.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::ZSet => "zset",
            Type::Hash => "hash",
            Type::Stream => "stream",
        }
    }
}

/// A value too large or too complex to live in its table entry.
#[derive(Clone, Debug)]
pub enum Object {
    /// A string on its own (`raw`): long, or one that was appended to or overwritten in part.
    String(Vec<u8>),
    /// A list.
    List(List),
    /// A set.
    Set(Set),
    /// A sorted set.
    ZSet(ZSet),
    /// A hash.
    Hash(Hash),
    /// A stream.
    Stream(Box<Stream>),
}

/// It stands in the entry of its key: what is larger goes behind a box.
const _: () = assert!(size_of::<Object>() <= 32);

impl Object {
    /// Its type.
    pub fn type_of(&self) -> Type {
        match self {
            Object::String(_) => Type::String,
            Object::List(_) => Type::List,
            Object::Set(_) => Type::Set,
            Object::ZSet(_) => Type::ZSet,
            Object::Hash(_) => Type::Hash,
            Object::Stream(_) => Type::Stream,
        }
    }

    /// As OBJECT ENCODING answers it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Object::String(_) => "raw",
            Object::List(list) => list.encoding(),
            Object::Set(set) => set.encoding(),
            Object::ZSet(zset) => zset.encoding(),
            Object::Hash(hash) => hash.encoding(),
            Object::Stream(_) => "stream",
        }
    }

    /// Bytes it owns beyond the entry, rounded as the allocator rounds.
    pub fn memory(&self) -> usize {
        match self {
            Object::String(text) => text.memory(),
            Object::List(list) => list.memory(),
            Object::Set(set) => set.memory(),
            Object::ZSet(zset) => zset.memory(),
            Object::Hash(hash) => hash.memory(),
            Object::Stream(stream) => stream.memory(),
        }
    }
}

impl Object {
    /// The earliest time at which a part of it expires, milliseconds since 1970.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        if let Object::Hash(hash) = self { hash.next_expiry_ms() } else { None }
    }
}

/// A collection type: how to find it in an [`Object`].
pub trait Kind: Sized {
    /// Puts it into an object.
    fn wrap(self) -> Object;
    /// It, if the object is of this type.
    fn of(object: &Object) -> Option<&Self>;
    /// It, for changing, if the object is of this type.
    fn of_mut(object: &mut Object) -> Option<&mut Self>;
    /// Nothing in it: its key goes.
    fn is_empty(&self) -> bool;
    /// Bytes it owns; O(1).
    fn memory(&self) -> usize;
    /// The earliest time at which a part of it expires, milliseconds since 1970.
    fn next_expiry_ms(&self) -> Option<u64> {
        None
    }
}

impl Kind for Vec<u8> {
    fn wrap(self) -> Object {
        Object::String(self)
    }
    fn of(object: &Object) -> Option<&Self> {
        if let Object::String(text) = object { Some(text) } else { None }
    }
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        if let Object::String(text) = object { Some(text) } else { None }
    }
    fn is_empty(&self) -> bool {
        // A string may be empty and stay: SETRANGE, APPEND "" and SET "" leave one.
        false
    }
    fn memory(&self) -> usize {
        alloc_size(self.capacity())
    }
}

/// A value about to be stored.
#[derive(Debug)]
pub enum Value<'a> {
    /// A string that is the canonical decimal of this integer.
    Int(i64),
    /// A short string, copied into the entry.
    Bytes(&'a [u8]),
    /// Anything else.
    Object(Object),
}

impl<'a> Value<'a> {
    /// The encoding SET would choose for this text.
    pub fn from_text(text: &'a [u8]) -> Value<'a> {
        // 20: the longest decimal of an i64.
        if text.len() <= 20
            && let Some(number) = number::parse_i64(text)
        {
            return Value::Int(number);
        }
        if text.len() <= EMBEDDED_BYTES_MAX {
            Value::Bytes(text)
        } else {
            Value::Object(Object::String(text.to_vec()))
        }
    }
}

/// The value as its type, whichever encoding.
pub fn type_of(content: ContentRef<'_, Object>) -> Type {
    match content {
        ContentRef::Object(object) => object.type_of(),
        _ => Type::String,
    }
}

/// As OBJECT ENCODING answers it.
pub fn encoding(content: ContentRef<'_, Object>) -> &'static str {
    match content {
        ContentRef::Int(_) => "int",
        ContentRef::Bytes(text) if text.len() <= EMBSTR_BYTES_MAX => "embstr",
        ContentRef::Bytes(_) => "raw",
        ContentRef::Object(object) => object.encoding(),
    }
}

/// What a removed or replaced key held, as a value to store elsewhere.
pub fn into_owned(content: Content<Object>) -> OwnedValue {
    OwnedValue(content)
}

/// A copy of what a key holds, as a value to store elsewhere.
pub fn copied(content: ContentRef<'_, Object>) -> OwnedValue {
    OwnedValue(match content {
        ContentRef::Int(number) => Content::Int(number),
        ContentRef::Bytes(bytes) => Content::Bytes(bytes.into()),
        ContentRef::Object(object) => Content::Object(object.clone()),
    })
}

/// A value outside of any entry (RENAME, MOVE, COPY).
#[derive(Debug)]
pub struct OwnedValue(Content<Object>);

impl OwnedValue {
    /// Lends it for storing.
    pub fn with<R>(self, store: impl FnOnce(Value<'_>) -> R) -> R {
        match self.0 {
            Content::Int(number) => store(Value::Int(number)),
            Content::Bytes(bytes) => store(Value::Bytes(&bytes)),
            Content::Object(object) => store(Value::Object(object)),
        }
    }
}

/// A string as it lies in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StringRef<'a> {
    /// Its canonical decimal is the string.
    Int(i64),
    /// The bytes.
    Bytes(&'a [u8]),
}

impl<'a> StringRef<'a> {
    /// The string a content holds, or `None` if it is a collection.
    pub fn of(content: ContentRef<'a, Object>) -> Option<StringRef<'a>> {
        match content {
            ContentRef::Int(number) => Some(StringRef::Int(number)),
            ContentRef::Bytes(bytes) => Some(StringRef::Bytes(bytes)),
            ContentRef::Object(Object::String(text)) => Some(StringRef::Bytes(text)),
            ContentRef::Object(_) => None,
        }
    }

    /// Its length in bytes.
    pub fn len(self) -> usize {
        match self {
            StringRef::Int(number) => number::decimal_len(number),
            StringRef::Bytes(bytes) => bytes.len(),
        }
    }

    /// No bytes.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Its bytes, with `buffer` lent for a number's digits.
    pub fn bytes<'b>(self, buffer: &'b mut number::DecimalBuffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            StringRef::Int(number) => number::format_i64(number, buffer),
            StringRef::Bytes(bytes) => bytes,
        }
    }

    /// Its bytes, copied.
    pub fn to_vec(self) -> Vec<u8> {
        self.bytes(&mut number::DecimalBuffer::default()).to_vec()
    }

    /// It as a 64-bit integer, as INCR reads it.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            StringRef::Int(number) => Some(number),
            StringRef::Bytes(bytes) => number::parse_i64(bytes),
        }
    }
}

/// Thresholds between encodings and the kind of eviction clock; kept equal to the configuration.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `hash-max-listpack-entries`
    pub hash_listpack_entries_max: usize,
    /// `hash-max-listpack-value`, bytes
    pub hash_listpack_value_max: usize,
    /// `list-max-listpack-size`: entries if positive, -1..-5 for 4..64 KiB
    pub list_listpack_size: i64,
    /// `set-max-intset-entries`
    pub set_intset_entries_max: usize,
    /// `set-max-listpack-entries`
    pub set_listpack_entries_max: usize,
    /// `set-max-listpack-value`, bytes
    pub set_listpack_value_max: usize,
    /// `zset-max-listpack-entries`
    pub zset_listpack_entries_max: usize,
    /// `zset-max-listpack-value`, bytes
    pub zset_listpack_value_max: usize,
    /// `stream-node-max-bytes`
    pub stream_node_bytes_max: usize,
    /// `stream-node-max-entries`
    pub stream_node_entries_max: usize,
    /// `hll-sparse-max-bytes`
    pub hll_sparse_bytes_max: usize,
    /// `proto-max-bulk-len`: longest string, bytes
    pub string_bytes_max: usize,
    /// An LFU policy is chosen: an entry's meta is a frequency, not a time.
    pub is_lfu: bool,
    /// `lfu-log-factor`
    pub lfu_log_factor: u32,
    /// `lfu-decay-time`, minutes
    pub lfu_decay_minutes: u32,
    /// Idle times stand still: a child shares the pages that they would dirty.
    pub is_clock_frozen: bool,
    /// Seed of hash tables inside collections.
    pub hash_seed: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            hash_listpack_entries_max: 512,
            hash_listpack_value_max: 64,
            list_listpack_size: -2,
            set_intset_entries_max: 512,
            set_listpack_entries_max: 128,
            set_listpack_value_max: 64,
            zset_listpack_entries_max: 128,
            zset_listpack_value_max: 64,
            stream_node_bytes_max: 4096,
            stream_node_entries_max: 100,
            hll_sparse_bytes_max: 3000,
            string_bytes_max: 512 << 20,
            is_lfu: false,
            lfu_log_factor: 10,
            lfu_decay_minutes: 1,
            is_clock_frozen: false,
            hash_seed: 0,
        }
    }
}

/// Frequency a new key starts with, so that it is not evicted before it could be used.
const LFU_INITIAL: u8 = 5;

// An entry's meta (32 bits): with LRU the second of the last access; with LFU minutes (24 bits), counter (8 bits).
impl Limits {
    /// The clock an access would write.
    pub fn touch_clock(&self, now_ms: u64) -> u32 {
        if self.is_lfu { ((now_ms / 60_000) as u32) << 8 } else { (now_ms / 1000) as u32 }
    }

    /// A new key's meta.
    pub fn new_meta(&self, now_ms: u64) -> u32 {
        let clock = self.touch_clock(now_ms);
        if self.is_lfu { clock | u32::from(LFU_INITIAL) } else { clock }
    }

    /// A key's meta after an access.
    pub fn touched_meta(&self, old: u32, clock: u32, rng: &mut Rng) -> u32 {
        if self.is_clock_frozen {
            return old;
        }
        if !self.is_lfu {
            return clock;
        }
        let counter = self.decayed(old, clock);
        let base = f64::from(counter.saturating_sub(LFU_INITIAL));
        let grows = counter < u8::MAX && rng.next_f64() < 1.0 / (base * f64::from(self.lfu_log_factor) + 1.0);
        clock | u32::from(if grows { counter + 1 } else { counter })
    }

    /// Seconds since the last access (LRU policies).
    pub fn idle_seconds(&self, meta: u32, now_ms: u64) -> u64 {
        // Below zero when the wall clock was set back.
        let seconds = ((now_ms / 1000) as u32).wrapping_sub(meta) as i32;
        seconds.max(0) as u64
    }

    /// Access frequency now (LFU policies), range 0..=255.
    pub fn frequency(&self, meta: u32, now_ms: u64) -> u8 {
        self.decayed(meta, self.touch_clock(now_ms))
    }

    /// Meta of a key idle for this long, or with this frequency, for RESTORE and loading.
    pub fn meta_from(&self, idle_seconds: Option<u64>, frequency: Option<u8>, now_ms: u64) -> u32 {
        match (self.is_lfu, idle_seconds, frequency) {
            (true, _, Some(frequency)) => self.touch_clock(now_ms) | u32::from(frequency),
            (false, Some(idle), _) => ((now_ms / 1000).saturating_sub(idle)) as u32,
            _ => self.new_meta(now_ms),
        }
    }

    fn decayed(&self, meta: u32, clock: u32) -> u8 {
        let minutes = (clock >> 8).wrapping_sub(meta >> 8) & 0x00ff_ffff;
        let periods = minutes.checked_div(self.lfu_decay_minutes).unwrap_or(0);
        (meta as u8).saturating_sub(periods.min(255) as u8)
    }
}
