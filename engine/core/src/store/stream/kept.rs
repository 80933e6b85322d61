//! A node as a stream keeps it: open, or packed once nothing is added to it any more.
//!
//! Exists because entries of a log repeat themselves: packed, a full node takes about half of its bytes. The newest
//! nodes stay open, as those who follow the log read there; a node that is changed stays open from then on, as it is
//! likely to be changed again (XTRIM takes one entry after the other).
//!
//! Always true: opening a packed node gives the bytes that were packed.
//!
//! Not here: when a node is packed (`entries.rs`), the compression (`bytes/lzf.rs`).

use alloc::{borrow::Cow, boxed::Box};

use perdura_structures::alloc_size::alloc_size;

use super::node::Node;
use crate::bytes::lzf;

/// A node, open or packed.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    /// As it is written.
    Open(Node),
    /// Compressed.
    Packed {
        /// Its bytes, compressed.
        bytes: Box<[u8]>,
        /// How many those are when decompressed.
        len: u32,
        /// Live entries in it.
        live: u32,
    },
}

impl Kept {
    /// The node, for reading.
    pub(super) fn open(&self) -> Cow<'_, Node> {
        match self {
            Kept::Open(node) => Cow::Borrowed(node),
            Kept::Packed { bytes, len, .. } => Cow::Owned(unpack(bytes, *len)),
        }
    }

    /// The node, for changing: it is open from now on.
    pub(super) fn open_mut(&mut self) -> &mut Node {
        if let Kept::Packed { bytes, len, .. } = self {
            *self = Kept::Open(unpack(bytes, *len));
        }
        match self {
            Kept::Open(node) => node,
            Kept::Packed { .. } => unreachable!("just opened"),
        }
    }

    /// Packs the node, unless that saves less than an eighth.
    pub(super) fn pack(&mut self) {
        let Kept::Open(node) = self else { return };
        let plain = node.as_bytes();
        let (Ok(len), Ok(live)) = (u32::try_from(plain.len()), u32::try_from(node.counts().live)) else {
            return;
        };
        if let Some(packed) = lzf::compress(plain, plain.len() - plain.len() / 8) {
            *self = Kept::Packed { bytes: packed.into(), len, live };
        }
    }

    /// Live entries.
    pub(super) fn live(&self) -> u64 {
        match self {
            Kept::Open(node) => node.counts().live,
            Kept::Packed { live, .. } => u64::from(*live),
        }
    }

    /// The bytes as RDB files hold them.
    pub(super) fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Kept::Open(node) => Cow::Borrowed(node.as_bytes()),
            Kept::Packed { bytes, len, .. } => Cow::Owned(decompress(bytes, *len)),
        }
    }

    /// Heap bytes held.
    pub(super) fn memory(&self) -> usize {
        match self {
            Kept::Open(node) => node.memory(),
            Kept::Packed { bytes, .. } => alloc_size(bytes.len()),
        }
    }
}

fn unpack(packed: &[u8], len: u32) -> Node {
    Node::from_own_bytes(&decompress(packed, len))
}

fn decompress(packed: &[u8], len: u32) -> alloc::vec::Vec<u8> {
    lzf::decompress(packed, len as usize).expect("these bytes were packed here")
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec::Vec};

    use super::*;
    use crate::store::stream::StreamId;

    /// A hundred entries with this value each.
    fn full_node(value: impl Fn(u64) -> Vec<u8>) -> Node {
        let master = StreamId::new(1, 0);
        let mut node = Node::new(&[b"f", b"v"]);
        for seq in 0..100 {
            node.push(master, StreamId::new(1, seq), &[b"f", &value(seq)]);
        }
        node
    }

    #[test]
    fn a_packed_node_opens_to_what_it_was() {
        let node = full_node(|seq| format!("value {seq}").into_bytes());
        let mut kept = Kept::Open(node.clone());
        let memory = kept.memory();
        kept.pack();
        assert!(matches!(kept, Kept::Packed { .. }));
        assert!(kept.memory() < memory);
        assert_eq!((kept.live(), kept.bytes().as_ref()), (100, node.as_bytes()));
        assert_eq!(kept.open().as_bytes(), node.as_bytes());
        assert_eq!(kept.open_mut().as_bytes(), node.as_bytes());
        assert!(matches!(kept, Kept::Open(_)));
    }

    #[test]
    fn what_cannot_be_packed_stays_open() {
        let mut rng = crate::rng::Rng::from_seed(1);
        let values: Vec<Vec<u8>> =
            (0..100).map(|_| (0..40).map(|_| rng.next_u64() as u8).collect()).collect();
        let mut kept = Kept::Open(full_node(|seq| values[seq as usize].clone()));
        kept.pack();
        assert!(matches!(kept, Kept::Open(_)));
    }
}
