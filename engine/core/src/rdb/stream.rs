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
//! Always true: entries ascend, within a node and from node to node, up to the last id; each pending entry has exactly
//! one consumer.
//!
//! Not here: the inside of a node, and its check (`store/stream/node.rs`).

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use super::{
    blob::read_blob,
    kind,
    primitive::{Fault, Reader, put_len, put_raw, put_string},
    value::Form,
};
use crate::store::stream::{Entries, Group, Pending, Stream, StreamId};

/// First version that knows `STREAM_LISTPACKS_3`.
const ACTIVE_TIME_VERSION_MIN: u16 = 11;

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
    let entries = &stream.entries;
    put_len(entries.node_count() as u64, out);
    for (master_id, node) in entries.nodes() {
        put_raw(&master_id.to_bytes(), out);
        put_string(&node, form.is_compressed, out);
    }
    put_len(entries.len(), out);
    put_id(entries.last_id, out);
    put_id(entries.first_id(), out);
    put_id(entries.max_deleted_id, out);
    put_len(entries.added, out);
    put_len(stream.groups().len() as u64, out);
    for (name, group) in stream.groups() {
        put_string(name, form.is_compressed, out);
        put_group(group, form, out);
    }
}

fn put_group(group: &Group, form: Form, out: &mut Vec<u8>) {
    put_id(group.last_id, out);
    put_len(group.entries_read.unwrap_or(UNKNOWN), out);
    put_len(group.pending().len() as u64, out);
    for (id, pending) in group.pending() {
        out.extend(id.to_bytes());
        out.extend(pending.delivered_ms.to_le_bytes());
        put_len(pending.deliveries, out);
    }
    put_len(group.consumer_count() as u64, out);
    for consumer in group.consumers() {
        put_string(consumer.name(), form.is_compressed, out);
        out.extend(consumer.seen_ms.to_le_bytes());
        if has_active_times(form) {
            out.extend(consumer.active_ms.unwrap_or(UNKNOWN).to_le_bytes());
        }
        put_len(consumer.pending().len() as u64, out);
        consumer.pending().iter().for_each(|id| out.extend(id.to_bytes()));
    }
}

fn put_id(id: StreamId, out: &mut Vec<u8>) {
    put_len(id.ms, out);
    put_len(id.seq, out);
}

/// Reads any of the three forms.
pub fn read_stream(kind: u8, reader: &mut Reader<'_>) -> Result<Box<Stream>, Fault> {
    let mut stream = Box::new(Stream::default());
    read_entries(kind, reader, &mut stream.entries)?;
    // A name, an id, two counts.
    for _ in 0..reader.count(5)? {
        let name = reader.string()?;
        let group = read_group(kind, &stream.entries, reader)?;
        if !stream.add_group(&name, group) {
            return Err(reader.bad("two groups of a stream have the same name"));
        }
    }
    Ok(stream)
}

fn read_entries(kind: u8, reader: &mut Reader<'_>, entries: &mut Entries) -> Result<(), Fault> {
    // An id and a listpack, compressed perhaps.
    for _ in 0..reader.count(2)? {
        let master_id = reader.string()?;
        let master_id = <[u8; 16]>::try_from(&*master_id);
        let master_id = master_id.map_err(|_| reader.bad("the id of a stream's node is not 16 bytes"))?;
        read_blob(reader, |node| entries.push_node(StreamId::from_bytes(master_id), node))?;
    }
    if reader.len()? != entries.len() {
        return Err(reader.bad("a stream's length differs from its entries"));
    }
    let last_id = read_id(reader)?;
    if entries.last().is_some_and(|last| last > last_id) {
        return Err(reader.bad("a stream's last id is below its last entry's"));
    }
    // XSETID may have gone below an entry that is deleted and still lies in its node: ids go on after that one.
    entries.last_id = entries.last_id.max(last_id);
    if kind != kind::STREAM_LISTPACKS {
        // The first id: the entries say it again.
        read_id(reader)?;
        entries.max_deleted_id = read_id(reader)?;
        entries.added = reader.len()?;
    }
    Ok(())
}

fn read_id(reader: &mut Reader<'_>) -> Result<StreamId, Fault> {
    Ok(StreamId { ms: reader.len()?, seq: reader.len()? })
}

/// Delivery time and number of deliveries of entries that have no owner yet.
type Unowned = BTreeMap<StreamId, (u64, u64)>;

fn read_group(kind: u8, entries: &Entries, reader: &mut Reader<'_>) -> Result<Group, Fault> {
    let last_id = read_id(reader)?;
    let entries_read = match kind {
        kind::STREAM_LISTPACKS => entries.count_up_to(last_id),
        _ => Some(reader.len()?).filter(|&count| i64::try_from(count).is_ok()),
    };
    let mut group = Group::new(last_id, entries_read);
    let mut unowned = Unowned::new();
    // 16 bytes of id, 8 of time, 1 of deliveries.
    for _ in 0..reader.count(25)? {
        let id = StreamId::from_bytes(reader.array()?);
        let particulars = (reader.u64_le()?, reader.len()?);
        if unowned.insert(id, particulars).is_some() {
            return Err(reader.bad("an entry is pending twice in a group"));
        }
    }
    // A name, a time, a count.
    for _ in 0..reader.count(10)? {
        read_consumer(kind, &mut group, &mut unowned, reader)?;
    }
    if unowned.is_empty() { Ok(group) } else { Err(reader.bad("a pending entry without consumer")) }
}

fn read_consumer(
    kind: u8,
    group: &mut Group,
    unowned: &mut Unowned,
    reader: &mut Reader<'_>,
) -> Result<(), Fault> {
    let name = reader.string()?;
    let seen_ms = reader.u64_le()?;
    let active_ms = match kind {
        kind::STREAM_LISTPACKS_3 => Some(reader.u64_le()?).filter(|&at| i64::try_from(at).is_ok()),
        _ => Some(seen_ms),
    };
    let owner = group.add_consumer(&name, seen_ms, active_ms);
    let owner = owner
        .ok_or_else(|| reader.bad("Duplicate stream consumer detected: two of a group have the same name"))?;
    for _ in 0..reader.count(16)? {
        let id = StreamId::from_bytes(reader.array()?);
        let (delivered_ms, deliveries) = unowned
            .remove(&id)
            .ok_or_else(|| reader.bad("a consumer's pending entry is not its group's, or another's too"))?;
        group.assign(id, Pending { owner, delivered_ms, deliveries });
    }
    Ok(())
}
