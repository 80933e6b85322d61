//! Who may have cached which key: the table behind CLIENT TRACKING.
//!
//! Exists so that a changed key finds its readers. It forgets readers as it tells them: who wants to hear of
//! the next change reads again.
//!
//! Always true: `cached` holds no key without a client; a prefix without clients is forgotten. A client that left may
//! still stand here for a while; its id is never given to another.
//!
//! Not here: what a client asked for (`session.rs`), telling it (`node/tracking.rs`).

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::ops::Bound;

use crate::host::ClientId;

/// Keys that changed below a prefix, with who changed each last.
type Pending = BTreeMap<Vec<u8>, Option<ClientId>>;

/// The clients that want to hear of a prefix, and what there is to tell them.
#[derive(Clone, Debug, Default)]
struct Broadcast {
    clients: BTreeSet<ClientId>,
    pending: Pending,
}

/// All that is known of clients' caches.
#[derive(Clone, Debug, Default)]
pub struct TrackingTable {
    /// Clients with tracking on.
    clients: BTreeSet<ClientId>,
    /// Keys with those who read them since they last changed. Databases are not told apart.
    cached: BTreeMap<Vec<u8>, BTreeSet<ClientId>>,
    /// Sum of the sets in `cached`.
    item_count: usize,
    broadcasts: BTreeMap<Vec<u8>, Broadcast>,
    /// Where the search for a key to give up goes on, so that no key is given up much more often than others.
    next_victim: Vec<u8>,
}

/// A message to the clients of a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BroadcastDue {
    /// Who is to be told.
    pub clients: Vec<ClientId>,
    /// Changed keys, with who changed each last.
    pub keys: Vec<(Vec<u8>, Option<ClientId>)>,
}

impl TrackingTable {
    /// Nobody tracks.
    pub fn is_unused(&self) -> bool {
        self.clients.is_empty()
    }

    /// Clients that track.
    pub fn clients(&self) -> impl Iterator<Item = ClientId> {
        self.clients.iter().copied()
    }

    /// Number of clients that track, for INFO.
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// Number of keys known to be cached, for INFO.
    pub fn key_count(&self) -> usize {
        self.cached.len()
    }

    /// Number of pairs of key and client, for INFO.
    pub fn item_count(&self) -> usize {
        self.item_count
    }

    /// Number of prefixes that are broadcast, for INFO.
    pub fn prefix_count(&self) -> usize {
        self.broadcasts.len()
    }

    /// A client begins to track.
    pub fn start(&mut self, client: ClientId) {
        self.clients.insert(client);
    }

    /// A client wants to hear of all keys below a prefix, read or not.
    pub fn start_broadcast(&mut self, client: ClientId, prefix: &[u8]) {
        self.broadcasts.entry(prefix.to_vec()).or_default().clients.insert(client);
    }

    /// A client tracks no more.
    pub fn stop<'a>(&mut self, client: ClientId, prefixes: impl Iterator<Item = &'a Vec<u8>>) {
        self.clients.remove(&client);
        for prefix in prefixes {
            if let Some(broadcast) = self.broadcasts.get_mut(prefix) {
                broadcast.clients.remove(&client);
                if broadcast.clients.is_empty() {
                    self.broadcasts.remove(prefix);
                }
            }
        }
    }

    /// A client has read a key.
    pub fn remember(&mut self, client: ClientId, key: &[u8]) {
        let is_new = match self.cached.get_mut(key) {
            Some(readers) => readers.insert(client),
            None => self.cached.insert(key.to_vec(), BTreeSet::from([client])).is_none(),
        };
        self.item_count += usize::from(is_new);
    }

    /// Forgets a key; who had read it.
    pub fn take_readers(&mut self, key: &[u8]) -> BTreeSet<ClientId> {
        let readers = self.cached.remove(key).unwrap_or_default();
        self.item_count -= readers.len();
        readers
    }

    /// Notes a change for those who hear of its prefix.
    pub fn note_broadcast(&mut self, key: &[u8], author: Option<ClientId>) {
        for (prefix, broadcast) in &mut self.broadcasts {
            if key.starts_with(prefix) {
                broadcast.pending.insert(key.to_vec(), author);
            }
        }
    }

    /// What there is to broadcast, prefix by prefix.
    pub fn take_broadcasts(&mut self) -> Vec<BroadcastDue> {
        let due = self.broadcasts.values_mut().filter(|broadcast| !broadcast.pending.is_empty());
        due.map(|broadcast| BroadcastDue {
            clients: broadcast.clients.iter().copied().collect(),
            keys: core::mem::take(&mut broadcast.pending).into_iter().collect(),
        })
        .collect()
    }

    /// Forgets all keys: they are gone.
    pub fn forget_keys(&mut self) {
        self.cached.clear();
        self.item_count = 0;
    }

    /// A key to give up while there are more than `keys_max` (0: no limit).
    pub fn victim(&mut self, keys_max: usize) -> Option<Vec<u8>> {
        if keys_max == 0 || self.cached.len() <= keys_max {
            return None;
        }
        let after = (Bound::Excluded(self.next_victim.as_slice()), Bound::Unbounded);
        let (key, _) =
            self.cached.range::<[u8], _>(after).next().or_else(|| self.cached.first_key_value())?;
        self.next_victim = key.clone();
        Some(key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: ClientId = ClientId(1);
    const BOB: ClientId = ClientId(2);

    #[test]
    fn a_change_forgets_the_readers() {
        let mut table = TrackingTable::default();
        for (client, key) in [(ALICE, b"k"), (BOB, b"k"), (BOB, b"k"), (BOB, b"j")] {
            table.remember(client, key);
        }
        assert_eq!((table.key_count(), table.item_count()), (2, 3));
        assert_eq!(table.take_readers(b"k"), BTreeSet::from([ALICE, BOB]));
        assert_eq!(table.take_readers(b"k"), BTreeSet::new());
        assert_eq!((table.key_count(), table.item_count()), (1, 1));
    }

    #[test]
    fn broadcasts_gather_until_they_are_taken() {
        let mut table = TrackingTable::default();
        table.start_broadcast(ALICE, b"user:");
        table.start_broadcast(BOB, b"");
        table.note_broadcast(b"user:1", Some(BOB));
        table.note_broadcast(b"k", None);
        table.note_broadcast(b"user:1", None);
        let due = table.take_broadcasts();
        assert_eq!(due[0].clients, [BOB]);
        assert_eq!(due[0].keys, [(b"k".to_vec(), None), (b"user:1".to_vec(), None)]);
        assert_eq!(due[1].clients, [ALICE]);
        assert_eq!(due[1].keys, [(b"user:1".to_vec(), None)]);
        assert_eq!(table.take_broadcasts(), []);
        table.stop(ALICE, [b"user:".to_vec()].iter());
        assert_eq!(table.prefix_count(), 1);
    }

    #[test]
    fn keys_are_given_up_in_turn() {
        let mut table = TrackingTable::default();
        for key in [b"a", b"b", b"c"] {
            table.remember(ALICE, key);
        }
        assert_eq!(table.victim(0), None);
        assert_eq!(table.victim(3), None);
        let victims: Vec<_> = (0..4).filter_map(|_| table.victim(2)).collect();
        assert_eq!(victims, [b"a", b"b", b"c", b"a"]);
    }
}
