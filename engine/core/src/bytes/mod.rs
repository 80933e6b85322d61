//! Bytes in, bytes out: numbers, patterns, checksums, compression and quoting, as Redis does them.
//!
//! Always true: nothing here knows a key, a client or a file, and nothing here panics on bytes from outside.
//!
//! Not here: the wire protocol (`resp`), RDB encodings (`rdb/`).

pub mod crc16;
pub mod crc64;
pub mod glob;
pub mod long_double;
pub mod lzf;
pub mod number;
pub mod quote;
pub mod sha;
