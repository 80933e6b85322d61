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

use alloc::{borrow::Cow, collections::BTreeSet, format, vec::Vec};
use core::{mem, ops::ControlFlow};

use perdura_structures::{
    listpack::{Item, Listpack},
    table::{ContentRef, Iter},
};

use crate::{
    bytes::number::{self, DecimalBuffer},
    host::Encoder,
    mutant::{self, Mutant},
    store::{
        Entry, Object, Store,
        hash::Hash,
        list::List,
        set::Set,
        stream::{self, Group, Stream, StreamId},
        zset::ZSet,
    },
    time::Now,
};

/// A step ends once it has appended this much, bytes.
const STEP_BYTES: usize = 64 << 10;

/// Most elements one command adds: replaying a larger one would hold everybody up.
const BATCH_ELEMENTS_MAX: usize = 64;

enum Phase<'a> {
    Header,
    /// About to begin this database.
    Database(usize),
    /// Within this database.
    Keys(usize, Iter<'a, Object>),
    Done,
}

/// Comment in which a base of commands says when it was frozen, milliseconds since 1970: [`super::AUX_CREATED_MS`] of an RDB.
pub const CREATED_MS_COMMENT: &[u8] = b"#perdura: created-ms ";

/// Writes a store as commands.
pub struct CommandsEncoder<'a> {
    store: &'a Store,
    functions: Vec<&'a [u8]>,
    now: Now,
    phase: Phase<'a>,
    keys: u64,
}

impl<'a> CommandsEncoder<'a> {
    /// Stands before the first byte.
    pub fn new(store: &'a Store, now: Now) -> CommandsEncoder<'a> {
        CommandsEncoder { store, functions: Vec::new(), now, phase: Phase::Header, keys: 0 }
    }

    /// Function libraries to write too: the source of each.
    pub fn with_functions(mut self, functions: Vec<&'a [u8]>) -> CommandsEncoder<'a> {
        self.functions = functions;
        self
    }

    fn put_header(&self, out: &mut Vec<u8>) {
        out.extend(format!("#TS:{}\r\n", self.now.wall_s()).into_bytes());
        out.extend_from_slice(CREATED_MS_COMMENT);
        out.extend(format!("{}\r\n", self.now.wall_ms()).into_bytes());
        for source in &self.functions {
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
        ContentRef::Int(number) => put_command(&[b"SET", key, &decimal(number)], out),
        ContentRef::Bytes(text) => put_command(&[b"SET", key, text], out),
        ContentRef::Object(Object::String(text)) => put_command(&[b"SET", key, text], out),
        ContentRef::Object(Object::List(list)) => put_list(key, list, out),
        ContentRef::Object(Object::Set(set)) => put_set(key, set, out),
        ContentRef::Object(Object::ZSet(zset)) => put_zset(key, zset, out),
        ContentRef::Object(Object::Hash(hash)) => put_hash(key, hash, out),
        ContentRef::Object(Object::Stream(stream)) => put_stream(key, stream, out),
    }
    if let Some(at) = entry.expiry_ms() {
        put_command(&[b"PEXPIREAT", key, &decimal(at as i64)], out);
    }
}

fn put_list(key: &[u8], list: &List, out: &mut Vec<u8>) {
    let mut batch = Batch::new(b"RPUSH", key, out);
    match list {
        List::Listpack(pack) => pack.iter().for_each(|item| batch.add(&[&text(item)])),
        List::Quicklist(list) => list.iter().for_each(|item| batch.add(&[&text(item)])),
    }
    batch.end();
}

fn put_set(key: &[u8], set: &Set, out: &mut Vec<u8>) {
    let mut batch = Batch::new(b"SADD", key, out);
    match set {
        Set::Intset(ints) => ints.iter().for_each(|number| batch.add(&[&decimal(number)])),
        Set::Listpack(pack) => pack.iter().for_each(|item| batch.add(&[&text(item)])),
        Set::Table(table) => table.iter().for_each(|(member, ())| batch.add(&[member])),
    }
    batch.end();
}

fn put_zset(key: &[u8], zset: &ZSet, out: &mut Vec<u8>) {
    let mut batch = Batch::new(b"ZADD", key, out);
    match zset {
        ZSet::Listpack(pack) => each_pair(pack, |member, score| batch.add(&[&text(score), &text(member)])),
        ZSet::Index(index) => {
            index.iter().for_each(|(member, score)| batch.add(&[&number::format_double(score), member]));
        }
    }
    batch.end();
}

fn put_hash(key: &[u8], hash: &Hash, out: &mut Vec<u8>) {
    let mut batch = Batch::new(b"HMSET", key, out);
    match hash {
        Hash::Listpack(pack) => each_pair(pack, |field, value| batch.add(&[&text(field), &text(value)])),
        Hash::Table(table) => table.fields.iter().for_each(|(field, slot)| batch.add(&[field, &slot.value])),
    }
    batch.end();
    if let Hash::Table(table) = hash {
        for (at, field) in &table.expiries {
            put_command(&[b"HPEXPIREAT", key, &decimal(*at as i64), b"FIELDS", b"1", field], out);
        }
    }
}

fn put_stream(key: &[u8], stream: &Stream, out: &mut Vec<u8>) {
    let entries = &stream.entries;
    let gone = pending_and_gone(stream);
    let mut gone_next = gone.iter().peekable();
    entries.visit(StreamId::MIN, StreamId::MAX, |entry| {
        while let Some(id) = gone_next.next_if(|id| **id < entry.id) {
            put_placeholder(key, *id, out);
        }
        put_entry(key, entry, out);
        ControlFlow::Continue(())
    });
    gone_next.for_each(|id| put_placeholder(key, *id, out));
    if entries.is_empty() && gone.is_empty() {
        // Makes the key and leaves nothing in it.
        put_command(&[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"], out);
    }
    put_set_id(key, stream, entries.added.max(entries.len() + gone.len() as u64), out);
    for (name, group) in stream.groups() {
        put_group(key, name, group, out);
    }
    if !gone.is_empty() {
        put_removal(key, stream, &gone, out);
        put_set_id(key, stream, entries.added, out);
    }
}

/// Ids that wait for an acknowledgement although their entries were deleted.
///
/// XCLAIM makes nothing pending that is not there, so for the time of the claim something is put there. The stock servers
/// do not, and forget these after a rewrite of this kind.
fn pending_and_gone(stream: &Stream) -> BTreeSet<StreamId> {
    if mutant::is(Mutant::GonePendingForgotten) {
        return BTreeSet::new();
    }
    let pending = stream.groups().values().flat_map(|group| group.pending().keys());
    pending.filter(|id| !stream.entries.contains(**id)).copied().collect()
}

fn put_placeholder(key: &[u8], id: StreamId, out: &mut Vec<u8>) {
    put_command(&[b"XADD", key, &id.text(), b"x", b"y"], out);
}

/// Takes the placeholders out again. What was trimmed stood before all others; trimming leaves no trace, as it left none.
fn put_removal(key: &[u8], stream: &Stream, gone: &BTreeSet<StreamId>, out: &mut Vec<u8>) {
    let is_trimmed = |first| gone.iter().all(|id| *id < first);
    if stream.entries.first().is_none_or(is_trimmed) {
        return put_command(&[b"XTRIM", key, b"MAXLEN", &decimal(stream.entries.len() as i64)], out);
    }
    let mut batch = Batch::new(b"XDEL", key, out);
    gone.iter().for_each(|id| batch.add(&[&id.text()]));
    batch.end();
}

fn put_set_id(key: &[u8], stream: &Stream, added: u64, out: &mut Vec<u8>) {
    let (last_id, deleted_id) = (stream.entries.last_id.text(), stream.entries.max_deleted_id.text());
    let added = decimal(added as i64);
    put_command(&[b"XSETID", key, &last_id, b"ENTRIESADDED", &added, b"MAXDELETEDID", &deleted_id], out);
}

fn put_entry(key: &[u8], entry: &stream::Entry<'_>, out: &mut Vec<u8>) {
    put_number(b'*', 3 + 2 * entry.len(), out);
    [b"XADD", key, &entry.id.text()].into_iter().for_each(|argument| put_argument(argument, out));
    for (name, value) in entry.pairs() {
        put_argument(&text(name), out);
        put_argument(&text(value), out);
    }
}

fn put_group(key: &[u8], name: &[u8], group: &Group, out: &mut Vec<u8>) {
    // -1: unknown.
    let entries_read = decimal(group.entries_read.map_or(-1, |count| count as i64));
    let last_id = group.last_id.text();
    put_command(&[b"XGROUP", b"CREATE", key, name, &last_id, b"ENTRIESREAD", &entries_read], out);
    for consumer in group.consumers().filter(|consumer| consumer.pending().is_empty()) {
        put_command(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer.name()], out);
    }
    for (id, pending) in group.pending() {
        let (id, owner) = (id.text(), group.consumer(pending.owner).name());
        let (time, deliveries) = (decimal(pending.delivered_ms as i64), decimal(pending.deliveries as i64));
        let claim: [&[u8]; 12] = [
            b"XCLAIM",
            key,
            name,
            owner,
            b"0",
            &id,
            b"TIME",
            &time,
            b"RETRYCOUNT",
            &deliveries,
            b"JUSTID",
            b"FORCE",
        ];
        put_command(&claim, out);
    }
}

fn each_pair<'a>(pack: &'a Listpack, mut visit: impl FnMut(Item<'a>, Item<'a>)) {
    let mut items = pack.iter();
    while let (Some(first), Some(second)) = (items.next(), items.next()) {
        visit(first, second);
    }
}

fn decimal(number: i64) -> Vec<u8> {
    number::format_i64(number, &mut DecimalBuffer::default()).to_vec()
}

fn text(item: Item<'_>) -> Cow<'_, [u8]> {
    match item {
        Item::Bytes(bytes) => Cow::Borrowed(bytes),
        Item::Int(number) => Cow::Owned(decimal(number)),
    }
}

/// Commands of the same name for the same key, with at most [`BATCH_ELEMENTS_MAX`] elements each.
struct Batch<'a> {
    name: &'static [u8],
    key: &'a [u8],
    elements: usize,
    /// Arguments after the key, and how many they are.
    body: Vec<u8>,
    arguments: usize,
    out: &'a mut Vec<u8>,
}

impl<'a> Batch<'a> {
    fn new(name: &'static [u8], key: &'a [u8], out: &'a mut Vec<u8>) -> Batch<'a> {
        Batch { name, key, elements: 0, body: Vec::new(), arguments: 0, out }
    }

    fn add(&mut self, element: &[&[u8]]) {
        if self.elements == BATCH_ELEMENTS_MAX {
            self.flush();
        }
        self.elements += 1;
        self.arguments += element.len();
        element.iter().for_each(|argument| put_argument(argument, &mut self.body));
    }

    fn flush(&mut self) {
        put_number(b'*', 2 + self.arguments, self.out);
        put_argument(self.name, self.out);
        put_argument(self.key, self.out);
        self.out.append(&mut self.body);
        (self.elements, self.arguments) = (0, 0);
    }

    fn end(mut self) {
        if self.elements > 0 {
            self.flush();
        }
    }
}

fn put_command(arguments: &[&[u8]], out: &mut Vec<u8>) {
    put_number(b'*', arguments.len(), out);
    arguments.iter().for_each(|argument| put_argument(argument, out));
}

fn put_argument(argument: &[u8], out: &mut Vec<u8>) {
    put_number(b'$', argument.len(), out);
    out.extend_from_slice(argument);
    out.extend_from_slice(b"\r\n");
}

fn put_number(letter: u8, number: usize, out: &mut Vec<u8>) {
    out.push(letter);
    out.extend_from_slice(number::format_u64(number as u64, &mut DecimalBuffer::default()));
    out.extend_from_slice(b"\r\n");
}
