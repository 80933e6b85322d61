//! A key's value as bytes: which type byte announces it, how it is written, how it is read and checked.
//!
//! Always true: a value that is read is in the encoding that the limits ask for, whichever form it came in.
//!
//! Not here: one file per type beside this one holds the forms of that type.

use alloc::{format, vec::Vec};

use perdura_structures::table::{Content, ContentRef};

use super::{
    kind,
    primitive::{Fault, Reader, put_int, put_string},
};
use crate::{
    bytes::number,
    store::{
        Limits, Object,
        value::{EMBEDDED_BYTES_MAX, OwnedValue, into_owned},
    },
};

/// A value that was read and belongs to no key yet.
pub type LoadedValue = OwnedValue;

/// How values are to be written.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Version of the format: newer types only where it has them.
    pub version: u16,
    /// Long strings are compressed.
    pub is_compressed: bool,
}

/// The type byte of a value.
pub fn kind_of(content: ContentRef<'_, Object>) -> u8 {
    match content {
        ContentRef::Int(_) | ContentRef::Bytes(_) => kind::STRING,
        ContentRef::Object(object) => match object {
            Object::String(_) => kind::STRING,
            _ => unreachable!("no command makes a collection yet"),
        },
    }
}

/// Appends a value, without its type.
pub fn put_value(content: ContentRef<'_, Object>, form: Form, out: &mut Vec<u8>) {
    match content {
        ContentRef::Int(number) => put_int(number, out),
        ContentRef::Bytes(text) => put_string(text, form.is_compressed, out),
        ContentRef::Object(object) => match object {
            Object::String(text) => put_string(text, form.is_compressed, out),
            _ => unreachable!("no command makes a collection yet"),
        },
    }
}

/// Reads a value of a type; `None` for a collection without elements, which no key may hold.
pub fn read_value(kind: u8, reader: &mut Reader<'_>, _limits: &Limits) -> Result<Option<LoadedValue>, Fault> {
    let content = match kind {
        kind::STRING => Some(read_string(reader)?),
        _ => return Err(reader.bad(format!("Unknown RDB encoding type {kind}"))),
    };
    Ok(content.map(into_owned))
}

fn read_string(reader: &mut Reader<'_>) -> Result<Content<Object>, Fault> {
    let text = reader.string()?;
    Ok(match number::parse_i64(&text) {
        Some(number) => Content::Int(number),
        None if text.len() <= EMBEDDED_BYTES_MAX => Content::Bytes(text.into_owned()),
        None => Content::Object(Object::String(text.into_owned())),
    })
}
