//! Bytes in, bytes out: numbers, patterns, checksums, compression and quoting, as Redis does them.
//!
//! Always true: nothing here knows a key, a client or a file, and nothing here panics on bytes from outside.
//!
//! Not here: the wire protocol (`resp`), RDB encodings (`persist/rdb`).

pub mod number;
pub mod quote;
