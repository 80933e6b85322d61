//! What was denied lately, for ACL LOG: equal events of a minute are one entry.
//!
//! Always true: newest first; never longer than the limit it was last given.

use alloc::{collections::VecDeque, string::String, vec::Vec};

use super::selector::Reason;

/// Equal events nearer than this are counted together, milliseconds.
const GROUPING_MS: u64 = 60_000;

/// Newest entries among which an equal one is looked for.
const GROUPING_ENTRIES: usize = 10;

/// Where a command was denied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// By itself.
    TopLevel,
    /// In MULTI.
    Multi,
    /// In a script.
    Script,
}

impl Context {
    /// As ACL LOG shows it.
    pub fn word(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
            Context::Script => "lua",
        }
    }
}

impl Reason {
    /// As ACL LOG shows it.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Auth => "auth",
            Reason::Channel => "channel",
        }
    }
}

/// Something denied, once or several times.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// How often.
    pub count: u64,
    /// What stood in the way.
    pub reason: Reason,
    /// Where.
    pub context: Context,
    /// Command, key or channel.
    pub object: Vec<u8>,
    /// Who was denied.
    pub username: String,
    /// The client as CLIENT INFO shows it, the last time.
    pub client_info: String,
    /// Number, never used twice.
    pub id: u64,
    /// The first time, milliseconds since 1970.
    pub created_ms: u64,
    /// The last time, milliseconds since 1970.
    pub updated_ms: u64,
}

/// The entries.
#[derive(Clone, Debug, Default)]
pub struct Log {
    entries: VecDeque<LogEntry>,
    next_id: u64,
}

impl Log {
    /// Newest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &LogEntry> {
        self.entries.iter()
    }

    /// Forgets all.
    pub fn reset(&mut self) {
        self.entries.clear();
    }

    /// Adds an event; its number and count are given here.
    pub fn add(&mut self, mut event: LogEntry, entries_max: usize) {
        let now_ms = event.updated_ms;
        let same = self.entries.iter().take(GROUPING_ENTRIES).position(|known| {
            known.reason == event.reason
                && known.context == event.context
                && now_ms.abs_diff(known.updated_ms) <= GROUPING_MS
                && known.object == event.object
                && known.username == event.username
        });
        if let Some(mut known) = same.and_then(|index| self.entries.remove(index)) {
            known.count += 1;
            known.updated_ms = now_ms;
            known.client_info = event.client_info;
            self.entries.push_front(known);
        } else {
            event.id = self.next_id;
            self.next_id += 1;
            self.entries.push_front(event);
        }
        self.entries.truncate(entries_max);
    }
}
