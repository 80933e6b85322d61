//! The wire protocol: requests in, replies out.
//!
//! Always true: parsing never copies an argument of a normal request, and how the stream was cut into reads makes no
//! difference to what is understood.
//!
//! Not here: the stricter grammar of AOF files (`persist/record.rs`), who may send what (`session`).

mod parser;
mod reply;

pub use parser::{Parsed, Parser, ProtocolError, ProtocolLimits, Span};
pub use reply::{DeferredLen, Protocol, Reply, encode_command};
