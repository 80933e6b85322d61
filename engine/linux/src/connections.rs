//! The connected sockets, by slot and by the engine's name for the client.
//!
//! Always true: a slot that is used again has another generation, so an event meant for its last owner is known
//! as stale.
//!
//! Not here: moving bytes (`readiness.rs`), protocol and buffers (the engine).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use perdura_core::host::ClientId;

use crate::readiness::{Interest, RECEIVE_BYTES_MAX, Sockets};
use crate::tls::TlsStream;

/// Bytes asked of a socket at first: a pipeline of hundreds of commands, and still in the processor's cache.
const RECEIVE_BYTES_MIN: usize = 64 * 1024;

/// A place in [`Connections`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// Which place.
    pub index: u32,
    /// Which of its owners, so far. 24 bits.
    pub generation: u32,
}

/// One connected client.
pub struct Connection {
    /// The engine's name.
    pub client: ClientId,
    /// The socket.
    pub fd: OwnedFd,
    /// What is between it and the engine, on the TLS port.
    pub tls: Option<Box<TlsStream>>,
    /// What it is watched for at present.
    pub interest: Interest,
    /// The engine does not want to read.
    pub is_paused: bool,
    /// To be closed when its output is sent; no longer read.
    pub is_closing: bool,
    /// Waits in the list of connections to write to.
    pub is_send_due: bool,
    receive_len: usize,
}

impl Connection {
    /// A new one, being read.
    pub fn new(client: ClientId, fd: OwnedFd, tls: Option<Box<TlsStream>>) -> Connection {
        Connection {
            client,
            fd,
            tls,
            interest: Interest::READ,
            is_paused: false,
            is_closing: false,
            is_send_due: false,
            receive_len: RECEIVE_BYTES_MIN,
        }
    }

    /// How many bytes to ask for.
    pub fn receive_len(&self) -> usize {
        self.receive_len
    }

    /// Learns from what came: a full buffer asks for a larger one next time, which big values need.
    pub fn received(&mut self, count: usize) {
        self.receive_len = if count == self.receive_len {
            (self.receive_len * 4).min(RECEIVE_BYTES_MAX)
        } else {
            RECEIVE_BYTES_MIN
        };
    }

    /// Hands bytes for the other end over; how many were taken, 0 while there is no room.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, sockets: &mut dyn Sockets, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => sockets.send(self.fd.as_fd(), bytes),
            Some(tls) => tls.send(sockets, self.fd.as_fd(), bytes),
        }
    }

    /// Hands over what is encrypted and waits for room.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, sockets: &mut dyn Sockets) -> io::Result<()> {
        self.tls.as_mut().map_or(Ok(()), |tls| tls.flush(sockets, self.fd.as_fd()))
    }

    /// Encrypted bytes wait for room.
    pub fn has_outgoing(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_outgoing())
    }

    /// Bytes are on their way to the kernel: forgetting the connection would lose them.
    pub fn is_sending(&self, sockets: &dyn Sockets) -> bool {
        self.has_outgoing() || sockets.is_sending(self.fd.as_fd())
    }

    /// Bytes are wanted from it.
    pub fn is_read(&self) -> bool {
        !self.is_paused && !self.is_closing
    }
}

/// All connected clients.
#[derive(Default)]
pub struct Connections {
    places: Vec<PlaceInTable>,
    free: Vec<u32>,
    by_client: HashMap<ClientId, u32, BuildHasherDefault<IdHasher>>,
}

struct PlaceInTable {
    generation: u32,
    connection: Option<Connection>,
}

impl Connections {
    /// Takes a connection in.
    pub fn insert(&mut self, slot: Slot, connection: Connection) {
        let previous = self.by_client.insert(connection.client, slot.index);
        assert!(previous.is_none(), "the engine named two clients {:?}", connection.client);
        self.places[slot.index as usize].connection = Some(connection);
    }

    /// A free slot for the next [`insert`](Self::insert).
    pub fn reserve(&mut self) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(PlaceInTable { generation: 0, connection: None });
            u32::try_from(self.places.len() - 1).expect("fewer connections than descriptors")
        });
        Slot { index, generation: self.places[index as usize].generation }
    }

    /// Gives back a reserved slot, or takes a connection out.
    pub fn release(&mut self, slot: Slot) -> Option<Connection> {
        let place = &mut self.places[slot.index as usize];
        place.generation = (place.generation + 1) & GENERATION_MASK;
        self.free.push(slot.index);
        let connection = place.connection.take()?;
        self.by_client.remove(&connection.client);
        Some(connection)
    }

    /// The connection at a slot, unless its owner has changed.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Connection> {
        let place = self.places.get_mut(slot.index as usize)?;
        if place.generation == slot.generation { place.connection.as_mut() } else { None }
    }

    /// Where a client is, if it is connected.
    pub fn slot_of(&self, client: ClientId) -> Option<Slot> {
        let index = *self.by_client.get(&client)?;
        Some(Slot { index, generation: self.places[index as usize].generation })
    }

    /// Slots of all connections.
    pub fn slots(&self) -> Vec<Slot> {
        let all = self.places.iter().enumerate().filter(|(_, place)| place.connection.is_some());
        all.map(|(index, place)| Slot { index: index as u32, generation: place.generation }).collect()
    }
}

/// Generations fit in 24 bits, next to index and kind in one event token.
pub const GENERATION_MASK: u32 = 0x00ff_ffff;

/// Client ids are counted up by the engine: one multiplication spreads them, nobody chooses them.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn connection(client: u64) -> Connection {
        Connection::new(ClientId(client), File::open("/dev/null").unwrap().into(), None)
    }

    #[test]
    fn a_slot_used_again_does_not_answer_to_its_last_owner() {
        let mut connections = Connections::default();
        let first = connections.reserve();
        connections.insert(first, connection(1));
        assert!(connections.release(first).is_some());
        let second = connections.reserve();
        connections.insert(second, connection(2));
        assert_eq!(second.index, first.index);
        assert!(connections.get_mut(first).is_none());
        assert_eq!(connections.get_mut(second).unwrap().client, ClientId(2));
        assert_eq!(connections.slot_of(ClientId(1)), None);
        assert_eq!(connections.slot_of(ClientId(2)), Some(second));
    }

    #[test]
    fn a_full_buffer_grows_the_next_and_a_short_one_shrinks_it() {
        let mut connection = connection(1);
        connection.received(RECEIVE_BYTES_MIN);
        assert_eq!(connection.receive_len(), 4 * RECEIVE_BYTES_MIN);
        connection.received(4 * RECEIVE_BYTES_MIN);
        assert_eq!(connection.receive_len(), RECEIVE_BYTES_MAX);
        connection.received(RECEIVE_BYTES_MAX);
        assert_eq!(connection.receive_len(), RECEIVE_BYTES_MAX);
        connection.received(1);
        assert_eq!(connection.receive_len(), RECEIVE_BYTES_MIN);
    }
}
