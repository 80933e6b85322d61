//! Keyspace events: which classes there are, and one event as it waits to be published.
//!
//! Not here: channels and subscribers (`pubsub.rs`, `node/`).

use alloc::vec::Vec;

/// Classes of `notify-keyspace-events`, each a bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Class {
    /// `K`: publish to `__keyspace@<db>__:<key>`.
    Keyspace = 1 << 0,
    /// `E`: publish to `__keyevent@<db>__:<event>`.
    Keyevent = 1 << 1,
    /// `g`: DEL, EXPIRE, RENAME …
    Generic = 1 << 2,
    /// `$`: strings.
    String = 1 << 3,
    /// `l`: lists.
    List = 1 << 4,
    /// `s`: sets.
    Set = 1 << 5,
    /// `h`: hashes.
    Hash = 1 << 6,
    /// `z`: sorted sets.
    ZSet = 1 << 7,
    /// `x`: a key expired.
    Expired = 1 << 8,
    /// `e`: a key was evicted.
    Evicted = 1 << 9,
    /// `t`: streams.
    Stream = 1 << 10,
    /// `m`: a key was missed (not part of `A`).
    KeyMiss = 1 << 11,
    /// `n`: a key was created (not part of `A`).
    New = 1 << 14,
}

/// One event, not yet published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its class.
    pub class: Class,
    /// Its name, such as `lpush`.
    pub name: &'static str,
    /// Database of the key.
    pub db: usize,
    /// The key.
    pub key: Vec<u8>,
}
