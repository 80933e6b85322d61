//! Streams as bytes.
//!
//! ```text
//! STREAM_LISTPACKS_3
//!   count of nodes; per node: master id (string of 16 bytes, big endian), listpack
//!   live entries, last id, first id, max deleted id, entries added
//!   count of groups; per group: name, last id, entries read, pending
//!     count of consumers; per consumer: name, seen time, active time, count of pending, ids
//!
//! id        ms, seq                                  two lengths
//! pending   count; per entry: id (16 bytes), delivery time (8 bytes), count of deliveries
//! ```
//!
//! `STREAM_LISTPACKS_2`, the newest that version 10 knows, has no active time; `STREAM_LISTPACKS` has neither that nor
//! first id, max deleted id, entries added and entries read.
//!
//! Always true: live entries ascend, within a node and from node to node, up to the last id; each pending entry has
//! exactly one consumer.
//!
//! Not here: entries as the type's commands see them (`store/stream.rs`).

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use perdura_structures::listpack::{self, Item, Listpack};

use super::{
    blob::read_listpack,
    kind,
    primitive::{Fault, Reader, put_len, put_raw, put_string},
    value::Form,
};
use crate::store::stream::{Consumer, Group, Pending, Stream, StreamId};

/// First version that knows `STREAM_LISTPACKS_3`.
const ACTIVE_TIME_VERSION_MIN: u16 = 11;

/// Flags of an entry within a node.
const FLAG_DELETED: i64 = 1;
const FLAG_SAME_FIELDS: i64 = 2;

/// "Unknown" where a count or a time is expected.
const UNKNOWN: u64 = u64::MAX;

/// The type byte of a stream.
pub fn kind_of(form: Form) -> u8 {
    if has_active_times(form) { kind::STREAM_LISTPACKS_3 } else { kind::STREAM_LISTPACKS_2 }
}

fn has_active_times(form: Form) -> bool {
    form.version >= ACTIVE_TIME_VERSION_MIN
}

/// Appends a stream as its type byte says.
pub fn put_stream(stream: &Stream, form: Form, out: &mut Vec<u8>) {
    put_len(stream.nodes.len() as u64, out);
    for (id, pack) in &stream.nodes {
        put_raw(&raw(*id), out);
        put_string(pack.as_bytes(), form.is_compressed, out);
    }
    put_len(stream.len, out);
    put_id(stream.last_id, out);
    put_id(stream.first_id, out);
    put_id(stream.max_deleted_id, out);
    put_len(stream.entries_added, out);
    put_len(stream.groups.len() as u64, out);
    for (name, group) in &stream.groups {
        put_string(name, form.is_compressed, out);
        put_group(group, form, out);
    }
}

fn put_group(group: &Group, form: Form, out: &mut Vec<u8>) {
    put_id(group.last_id, out);
    put_len(group.entries_read.unwrap_or(UNKNOWN), out);
    put_len(group.pending.len() as u64, out);
    for (id, pending) in &group.pending {
        out.extend(raw(*id));
        out.extend(pending.delivered_ms.to_le_bytes());
        put_len(pending.deliveries, out);
    }
    put_len(group.consumers.len() as u64, out);
    for (name, consumer) in &group.consumers {
        put_string(name, form.is_compressed, out);
        out.extend(consumer.seen_ms.to_le_bytes());
        if has_active_times(form) {
            out.extend(consumer.active_ms.unwrap_or(UNKNOWN).to_le_bytes());
        }
        put_len(consumer.pending.len() as u64, out);
        consumer.pending.iter().for_each(|id| out.extend(raw(*id)));
    }
}

fn put_id(id: StreamId, out: &mut Vec<u8>) {
    put_len(id.ms, out);
    put_len(id.seq, out);
}

fn raw(id: StreamId) -> [u8; 16] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

fn from_raw(raw: [u8; 16]) -> StreamId {
    let both = u128::from_be_bytes(raw);
    StreamId { ms: (both >> 64) as u64, seq: both as u64 }
}

/// Reads any of the three forms.
pub fn read_stream(kind: u8, reader: &mut Reader<'_>) -> Result<Box<Stream>, Fault> {
    let mut stream = Box::new(Stream::default());
    let mut summary = Summary::default();
    for _ in 0..reader.count(2)? {
        let (id, pack) = read_node(reader, &mut summary)?;
        if stream.nodes.insert(id, pack).is_some() {
            return Err(reader.bad("two nodes of a stream begin with the same id"));
        }
    }
    let len_claimed = reader.len()?;
    stream.last_id = read_id(reader)?;
    if len_claimed != summary.live {
        return Err(reader.bad("a stream's length differs from its entries"));
    }
    if summary.last_id > stream.last_id {
        return Err(reader.bad("a stream's last id is below its last entry's"));
    }
    stream.len = summary.live;
    stream.first_id = summary.first_id;
    stream.entries_added = stream.len;
    if kind != kind::STREAM_LISTPACKS {
        // The first id: the entries say it again.
        read_id(reader)?;
        stream.max_deleted_id = read_id(reader)?;
        stream.entries_added = reader.len()?;
    }
    for _ in 0..reader.count(5)? {
        let name = reader.string()?.into_owned();
        let group = read_group(kind, &stream, reader)?;
        if stream.groups.insert(name, group).is_some() {
            return Err(reader.bad("two groups of a stream have the same name"));
        }
    }
    stream.bytes = measure(&stream);
    Ok(stream)
}

/// Bytes of nodes and groups.
fn measure(stream: &Stream) -> usize {
    stream.nodes.values().map(|pack| pack.memory()).sum()
}

fn read_id(reader: &mut Reader<'_>) -> Result<StreamId, Fault> {
    Ok(StreamId { ms: reader.len()?, seq: reader.len()? })
}

/// What the nodes read so far hold.
#[derive(Default)]
struct Summary {
    live: u64,
    first_id: StreamId,
    last_id: StreamId,
}

fn read_node(reader: &mut Reader<'_>, summary: &mut Summary) -> Result<(StreamId, Listpack), Fault> {
    let offset = reader.offset();
    let id = reader.string()?;
    let id =
        <[u8; 16]>::try_from(&*id).map_err(|_| reader.bad("the id of a stream's node is not 16 bytes"))?;
    let id = from_raw(id);
    let pack = read_listpack(reader)?;
    let mut is_ascending = true;
    let checked = walk_node(id, &pack, &mut |entry| {
        is_ascending &= summary.live == 0 || entry.id > summary.last_id;
        if summary.live == 0 {
            summary.first_id = entry.id;
        }
        summary.last_id = entry.id;
        summary.live += 1;
    });
    let checked =
        checked.and(if is_ascending { Ok(()) } else { Err("the entries of a stream do not ascend") });
    checked.map_err(|what| Fault::Bad { offset, what: what.into() })?;
    Ok((id, pack))
}

fn read_group(kind: u8, stream: &Stream, reader: &mut Reader<'_>) -> Result<Group, Fault> {
    let last_id = read_id(reader)?;
    let entries_read = match kind {
        kind::STREAM_LISTPACKS => estimated_entries_read(stream, last_id),
        _ => Some(reader.len()?).filter(|&count| i64::try_from(count).is_ok()),
    };
    let mut group = Group { last_id, entries_read, ..Group::default() };
    // 16 bytes of id, 8 of time, 1 of deliveries.
    for _ in 0..reader.count(25)? {
        let id = from_raw(reader.array()?);
        let pending =
            Pending { consumer: Vec::new(), delivered_ms: reader.u64_le()?, deliveries: reader.len()? };
        if group.pending.insert(id, pending).is_some() {
            return Err(reader.bad("an entry is pending twice in a group"));
        }
    }
    let mut unowned: BTreeSet<StreamId> = group.pending.keys().copied().collect();
    for _ in 0..reader.count(10)? {
        let name = reader.string()?.into_owned();
        let consumer = read_consumer(kind, &name, &mut group.pending, &mut unowned, reader)?;
        if group.consumers.insert(name, consumer).is_some() {
            return Err(reader.bad("two consumers of a group have the same name"));
        }
    }
    if !unowned.is_empty() {
        return Err(reader.bad("a pending entry without consumer"));
    }
    Ok(group)
}

fn read_consumer(
    kind: u8,
    name: &[u8],
    pending: &mut BTreeMap<StreamId, Pending>,
    unowned: &mut BTreeSet<StreamId>,
    reader: &mut Reader<'_>,
) -> Result<Consumer, Fault> {
    let seen_ms = reader.u64_le()?;
    let active_ms = match kind {
        kind::STREAM_LISTPACKS_3 => Some(reader.u64_le()?).filter(|&at| i64::try_from(at).is_ok()),
        _ => Some(seen_ms),
    };
    let mut consumer = Consumer { seen_ms, active_ms, pending: BTreeSet::new() };
    for _ in 0..reader.count(16)? {
        let id = from_raw(reader.array()?);
        let entry = pending.get_mut(&id).filter(|_| unowned.remove(&id));
        let entry = entry
            .ok_or_else(|| reader.bad("a consumer's pending entry is not its group's, or another's too"))?;
        entry.consumer = name.to_vec();
        consumer.pending.insert(id);
    }
    Ok(consumer)
}

/// How many entries a group must have read that read up to `id`; files before Redis 7 do not say.
fn estimated_entries_read(stream: &Stream, id: StreamId) -> Option<u64> {
    if stream.entries_added == 0 {
        return Some(0);
    }
    if id >= stream.last_id {
        return (id == stream.last_id || stream.len == 0).then_some(stream.entries_added);
    }
    match id.cmp(&stream.first_id) {
        core::cmp::Ordering::Less => Some(stream.entries_added - stream.len),
        core::cmp::Ordering::Equal => Some(stream.entries_added - stream.len + 1),
        core::cmp::Ordering::Greater => None,
    }
}

/// A live entry within a node.
pub struct NodeEntry<'a> {
    /// Its id.
    pub id: StreamId,
    /// Field, value, field, value …
    pub fields: &'a [Item<'a>],
}

/// Goes through a node, checks all of it, and shows its live entries.
///
/// ```text
/// master:  live count, deleted count, field count, fields, 0
/// entry:   flags, ms and seq minus the master's, then  field count, field, value …  |  values, if the fields are the
///          master's;  then the number of elements so far
/// ```
///
/// # Errors
/// The first rule the node breaks.
pub fn walk_node(
    master_id: StreamId,
    pack: &Listpack,
    emit: &mut dyn FnMut(NodeEntry<'_>),
) -> Result<(), &'static str> {
    let mut items = Items(pack.iter());
    let (live_claimed, deleted_claimed) = (items.count()?, items.count()?);
    let master_fields = (0..items.count()?).map(|_| items.item()).collect::<Result<Vec<_>, _>>()?;
    if items.int()? != 0 {
        return Err("a stream node's master entry does not end");
    }
    let (mut live, mut deleted) = (0, 0);
    let mut fields = Vec::new();
    while live + deleted < live_claimed.saturating_add(deleted_claimed) {
        let flags = items.int()?;
        let id = StreamId {
            ms: master_id.ms.wrapping_add(items.int()? as u64),
            seq: master_id.seq.wrapping_add(items.int()? as u64),
        };
        let element_count = items.fields(flags & FLAG_SAME_FIELDS != 0, &master_fields, &mut fields)?;
        if items.count()? != element_count {
            return Err("a stream entry's element count is wrong");
        }
        if flags & FLAG_DELETED != 0 {
            deleted += 1;
        } else {
            live += 1;
            emit(NodeEntry { id, fields: &fields });
        }
    }
    if live != live_claimed {
        return Err("a stream node's counts differ from its entries");
    }
    if items.0.next().is_some() {
        return Err("a stream node goes on after its last entry");
    }
    Ok(())
}

/// Elements of a node, each of which has to be there.
struct Items<'a>(listpack::Iter<'a>);

impl<'a> Items<'a> {
    fn item(&mut self) -> Result<Item<'a>, &'static str> {
        self.0.next().ok_or("a stream node ends inside of an entry")
    }

    fn int(&mut self) -> Result<i64, &'static str> {
        self.item()?.to_int().ok_or("a stream node has text where a number belongs")
    }

    fn count(&mut self) -> Result<u64, &'static str> {
        u64::try_from(self.int()?).map_err(|_| "a stream node has a negative count")
    }

    /// Reads an entry's fields and values; how many elements the entry has.
    fn fields(
        &mut self,
        has_master_fields: bool,
        master_fields: &[Item<'a>],
        fields: &mut Vec<Item<'a>>,
    ) -> Result<u64, &'static str> {
        fields.clear();
        if has_master_fields {
            for &field in master_fields {
                fields.extend([field, self.item()?]);
            }
            return Ok(master_fields.len() as u64 + 3);
        }
        let count = self.count()?;
        for _ in 0..count {
            fields.extend([self.item()?, self.item()?]);
        }
        // Every counted field was there, so this does not overflow.
        Ok(count * 2 + 4)
    }
}
