//! What groups leave for the log: by effect, so that replay gives the same owners, times and counters.
//!
//! ```text
//! delivered, claimed, or released because the entry is gone
//!     XCLAIM key group owner 0 id TIME ms RETRYCOUNT n FORCE JUSTID LASTID last
//! how far the group has read
//!     XGROUP SETID key group last ENTRIESREAD n
//! a consumer that no XCLAIM names
//!     XGROUP CREATECONSUMER key group consumer
//! ```
//!
//! Not here: entries, which are logged as typed with ids made concrete (`entries.rs`).

use crate::{
    bytes::number::{DecimalBuffer, format_u64},
    commands::Record,
    store::stream::{Group, Pending, StreamId},
};

/// A group by its names, and where its effects go.
pub(super) struct GroupRecord<'a> {
    pub key: &'a [u8],
    pub group: &'a [u8],
    pub record: &'a mut Record,
}

impl GroupRecord<'_> {
    /// An entry as it is pending. Replaying it where the entry is gone releases it.
    pub(super) fn claim(&mut self, group: &Group, id: &[u8], pending: &Pending) {
        self.record.replace(&[
            b"XCLAIM",
            self.key,
            self.group,
            group.consumer(pending.owner).name(),
            b"0",
            id,
            b"TIME",
            format_u64(pending.delivered_ms, &mut DecimalBuffer::default()),
            b"RETRYCOUNT",
            format_u64(pending.deliveries, &mut DecimalBuffer::default()),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            &group.last_id.text(),
        ]);
    }

    /// [`GroupRecord::claim`] for an id that nobody typed.
    pub(super) fn claim_id(&mut self, group: &Group, id: StreamId, pending: &Pending) {
        self.claim(group, &id.text(), pending);
    }

    /// How far the group has read.
    pub(super) fn set_id(&mut self, group: &Group) {
        let mut digits = DecimalBuffer::default();
        let entries_read = match group.entries_read {
            Some(count) => format_u64(count, &mut digits),
            None => b"-1",
        };
        let last_id = group.last_id.text();
        self.record.replace(&[
            b"XGROUP",
            b"SETID",
            self.key,
            self.group,
            &last_id,
            b"ENTRIESREAD",
            entries_read,
        ]);
    }

    /// A new consumer.
    pub(super) fn create_consumer(&mut self, name: &[u8]) {
        self.record.replace(&[b"XGROUP", b"CREATECONSUMER", self.key, self.group, name]);
    }
}
