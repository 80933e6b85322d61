//! Clients as pairs of byte pipes: what is on its way to the server, and what came back.
//!
//! Exists so that bytes arrive in pieces, late, and stop in the middle, as on a network.
//!
//! Always true: within one connection bytes keep their order; after the end of a pipe nothing follows.
//!
//! Not here: when pieces arrive (`world.rs`), what they mean (`harness/`).

use std::collections::VecDeque;

use bytes::Bytes;
use perdura_core::host::ClientId;

/// A connection as the world's user names it; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientKey(pub u64);

#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Pieces sent and not handed to the engine; each has an event that lets it arrive.
    pub to_server: VecDeque<Bytes>,
    /// Of those, how many have arrived.
    pub arrived_count: usize,
    /// Output on its way back; each piece has an event.
    pub to_client: VecDeque<Bytes>,
    /// Output that arrived and was not taken.
    pub received: Vec<u8>,
    /// Bytes that the kernel took from the engine so far.
    pub released_bytes: u64,
    /// When the last piece in each direction arrives; the next cannot be earlier.
    pub to_server_last_us: u64,
    pub to_client_last_us: u64,
    /// The engine's name for it, while the engine knows it.
    pub engine_id: Option<ClientId>,
    /// It has reached a server.
    pub is_open: bool,
    /// The engine asked not to read.
    pub is_paused: bool,
    /// The client does not read: the kernel's buffers are full.
    pub is_stuck: bool,
    /// The engine wants it closed once its output is out.
    pub is_closing: bool,
    /// The client has hung up, or the server's end is gone and all output arrived.
    pub is_closed: bool,
}
