//! What a reply waits for: the changes that it tells of or lets one see, and no others.
//!
//! A reply to a write waits for that write. A reply to a read waits for the last unsafe write to the keys it looked at: nobody
//! is shown a value that a crash can take back, and nobody waits for a stranger's write. So reads go on while the disk
//! is full and writes to other keys are held.
//!
//! Keys are told apart by a small table of offsets, indexed by hash: two keys may share a place, which makes a read wait
//! longer, never shorter.
//!
//! Always true: for every key, its place or `all` is at least the offset after its last logged write.

use alloc::{vec, vec::Vec};

use super::Node;
use crate::{
    commands::{
        Action, Args, NodeCommand,
        table::{KeyPlaces, Row, key_positions},
    },
    host::Offset,
};

/// Places for keys: 32 KiB, so that even a full second of writes leaves most reads alone.
const PLACES: usize = 4096;

/// Offsets of the last writes, by key.
#[derive(Clone, Debug)]
pub(super) struct Visibility {
    places: Vec<Offset>,
    /// The last write whose keys are not known one by one (EXEC, scripts, FLUSHALL, expiry).
    all: Offset,
    /// Writes up to here are in `places` or `all`.
    noted: Offset,
}

impl Default for Visibility {
    fn default() -> Visibility {
        Visibility { places: vec![0; PLACES], all: 0, noted: 0 }
    }
}

impl Visibility {
    /// Writes up to here whose keys nobody named concern every reader.
    fn catch_up(&mut self, buffered: Offset) {
        if buffered > self.noted {
            self.all = buffered;
            self.noted = buffered;
        }
    }
}

impl Node {
    /// Notes that a data command was logged: `before` and now are the journal's offsets around it.
    pub(super) fn note_logged(&mut self, before: Offset, db: usize, row: &Row, args: Args<'_>) {
        let buffered = self.aof.journal.offset_buffered();
        self.visibility.catch_up(before);
        if buffered == before || self.unit.is_some() {
            return;
        }
        let Some(keys) = keys_of(row, args) else { return };
        keys.for_each(args, |key| {
            let place = self.place_of(db, key);
            self.visibility.places[place] = buffered;
        });
        self.visibility.noted = buffered;
    }

    /// The offset that a reply to this command, which just ran, waits for.
    pub(super) fn offset_to_show(&mut self, before: Offset, db: usize, row: &Row, args: Args<'_>) -> Offset {
        let buffered = self.aof.journal.offset_buffered();
        if buffered > before {
            return buffered;
        }
        if self.aof.journal.is_all_synced() {
            return 0; // Nothing can be taken back, whatever was looked at.
        }
        match row.command.action {
            Action::Node(command) if shows_no_data(command) => 0,
            Action::Run(_) => match keys_of(row, args) {
                None => buffered,
                Some(keys) => {
                    self.visibility.catch_up(buffered);
                    let mut needed = self.visibility.all;
                    keys.for_each(args, |key| {
                        needed = needed.max(self.visibility.places[self.place_of(db, key)])
                    });
                    needed
                }
            },
            _ => buffered,
        }
    }

    fn place_of(&self, db: usize, key: &[u8]) -> usize {
        (self.store.hash(key) as usize ^ db) % PLACES
    }
}

/// Where a request's keys stand.
enum Keys {
    /// The usual case, without looking.
    First,
    At(Vec<(usize, u32)>),
}

impl Keys {
    #[inline]
    fn for_each(&self, args: Args<'_>, mut see: impl FnMut(&[u8])) {
        match self {
            Keys::First => see(args[1]),
            Keys::At(positions) => positions.iter().for_each(|&(index, _)| see(args[index])),
        }
    }
}

/// All keys a request reads or changes, or `None` if they cannot be said one by one.
#[inline]
fn keys_of(row: &Row, args: Args<'_>) -> Option<Keys> {
    match row.keys {
        KeyPlaces::Unknown => None,
        KeyPlaces::First => Some(Keys::First),
        KeyPlaces::Listed => key_positions(row.command, args).map(Keys::At),
    }
}

/// Commands whose replies tell nothing of the data or of what was promised about it.
fn shows_no_data(command: NodeCommand) -> bool {
    use NodeCommand::*;
    matches!(
        command,
        Ping | Echo
            | Auth
            | Hello
            | Select
            | Quit
            | Reset
            | Info
            | ConfigGet
            | ClientId
            | ClientInfo
            | ClientList
            | ClientGetName
            | ClientSetName
            | ClientSetInfo
            | Command
            | CommandCount
            | CommandDocs
            | CommandInfo
            | Time
            | Multi
            | Discard
            | Watch
            | Unwatch
            | SlowlogGet
            | SlowlogLen
            | LatencyLatest
    )
}
