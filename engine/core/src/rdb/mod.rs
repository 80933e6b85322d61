//! RDB: the data set as one file of bytes, and single values as DUMP payloads.
//!
//! ```text
//! "REDIS" version (4 digits)
//! AUX name value …                         who wrote it, when, whether it is an AOF base
//! FUNCTION source …
//! per database that is not empty:
//!     SELECTDB number  RESIZEDB keys expires
//!     per key:  [EXPIRETIME_MS time] [IDLE seconds | FREQ counter]  type  key  value
//! EOF
//! CRC64 of everything before, 8 bytes, little endian (from version 5 on)
//! ```
//!
//! Written by [`RdbEncoder`], read by [`Decoder`]; the same data set as commands is [`CommandsEncoder`]'s; one value
//! alone is [`dump`]'s and [`restore`]'s. Versions 10 to 12 are written, all versions up to 12 are read.
//!
//! Always true: bytes from outside never cause a panic, nor an allocation that they could not fill; every value is
//! checked to its last byte before it is stored.
//!
//! Not here: files, and when a snapshot is due (`persist/snapshot.rs`); where loaded keys go (`node/loading.rs`).

mod decode;
mod encode;
pub mod functions;
mod payload;
mod rewrite;

mod value;

mod hash;
mod list;
mod set;
mod stream;
mod zset;

mod blob;
mod primitive;

#[cfg(test)]
mod tests;

pub use decode::{Damage, DecodeSettings, Decoder, Event, LoadedKey};
pub use encode::{AUX_CREATED_MS, AUX_LOG_OFFSET, RdbEncoder, RdbSettings};
pub use payload::{dump, restore, seal, unseal};
pub use rewrite::{CREATED_MS_COMMENT, CommandsEncoder};
pub use value::{LoadedValue, structure_name};

/// Newest version that is understood.
pub const VERSION_MAX: u16 = 12;

/// First bytes of every RDB file: how an AOF base in this format is told from one of commands.
pub const MAGIC: &[u8; 5] = b"REDIS";

/// Bytes that announce something other than a key's type.
mod opcode {
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION: u8 = 245;
    pub const FUNCTION_PRE_GA: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQUENCY: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZE_DB: u8 = 251;
    pub const EXPIRY_MS: u8 = 252;
    pub const EXPIRY_S: u8 = 253;
    pub const SELECT_DB: u8 = 254;
    pub const EOF: u8 = 255;
}

/// What follows a key, by the type byte before it.
///
/// Written are STRING, SET, HASH, ZSET_2, SET_INTSET, HASH_LISTPACK, ZSET_LISTPACK, LIST_QUICKLIST_2, SET_LISTPACK,
/// STREAM_LISTPACKS_2 (version 10), STREAM_LISTPACKS_3 and HASH_METADATA; the others are read.
mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    pub const ZSET_2: u8 = 5;
    pub const MODULE_PRE_GA: u8 = 6;
    pub const MODULE: u8 = 7;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const STREAM_LISTPACKS: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const STREAM_LISTPACKS_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_LISTPACKS_3: u8 = 21;
    pub const HASH_METADATA_PRE_GA: u8 = 22;
    pub const HASH_LISTPACK_EX_PRE_GA: u8 = 23;
    pub const HASH_METADATA: u8 = 24;
    pub const HASH_LISTPACK_EX: u8 = 25;
}
