//! Lists as bytes.
//!
//! ```text
//! QUICKLIST_2   count, then per node: 1, the element (a large one)  |  2, a listpack of elements
//! ```
//!
//! Read besides: plain elements (`LIST`), one ziplist, a count of ziplists.
//!
//! Always true: a list that would fit one listpack within the limits is read as one.

use alloc::vec::Vec;

use perdura_structures::{
    listpack::Listpack,
    quicklist::{NodeRef, Quicklist},
};

use super::{
    blob::{read_listpack, read_ziplist},
    primitive::{Fault, Reader, put_len, put_string},
    value::Form,
};
use crate::store::{
    Limits,
    list::{List, fill},
};

/// What the bytes of a node are.
const NODE_PLAIN: u64 = 1;
const NODE_PACKED: u64 = 2;

/// Appends a list as `QUICKLIST_2`.
pub fn put_list(list: &List, form: Form, out: &mut Vec<u8>) {
    match list {
        List::Listpack(pack) => {
            put_len(1, out);
            put_packed(pack, form, out);
        }
        List::Quicklist(list) => {
            let nodes = list.nodes();
            put_len(nodes.len() as u64, out);
            for node in nodes {
                match node {
                    NodeRef::Packed(pack) => put_packed(pack, form, out),
                    NodeRef::Plain(bytes) => {
                        put_len(NODE_PLAIN, out);
                        put_string(bytes, form.is_compressed, out);
                    }
                }
            }
        }
    }
}

fn put_packed(pack: &Listpack, form: Form, out: &mut Vec<u8>) {
    put_len(NODE_PACKED, out);
    put_string(pack.as_bytes(), form.is_compressed, out);
}

/// Reads `QUICKLIST_2`.
pub fn read_nodes(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<List>, Fault> {
    let mut list = Quicklist::new(fill(limits));
    for _ in 0..reader.count(2)? {
        match reader.len()? {
            NODE_PLAIN => match reader.string()? {
                text if text.is_empty() => {
                    return Err(reader.bad("a list node of one large element is empty"));
                }
                text => list.append_plain(text.into_owned().into()),
            },
            NODE_PACKED => list.append_packed(read_listpack(reader)?),
            _ => return Err(reader.bad("a list node of unknown kind")),
        }
    }
    Ok(in_best_encoding(list, limits))
}

/// Reads `LIST`.
pub fn read_elements(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<List>, Fault> {
    let mut list = Quicklist::new(fill(limits));
    for _ in 0..reader.count(1)? {
        list.push_back(&*reader.string()?);
    }
    Ok(in_best_encoding(list, limits))
}

/// Reads `LIST_QUICKLIST`.
pub fn read_ziplists(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<List>, Fault> {
    let mut list = Quicklist::new(fill(limits));
    for _ in 0..reader.count(1)? {
        read_ziplist(reader, &mut |item| list.push_back(item))?;
    }
    Ok(in_best_encoding(list, limits))
}

/// Reads `LIST_ZIPLIST`.
pub fn read_one_ziplist(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<List>, Fault> {
    let mut list = Quicklist::new(fill(limits));
    read_ziplist(reader, &mut |item| list.push_back(item))?;
    Ok(in_best_encoding(list, limits))
}

/// A single node that keeps to the limits becomes a listpack of its own; without elements there is no list.
fn in_best_encoding(list: Quicklist, limits: &Limits) -> Option<List> {
    (!list.is_empty()).then(|| List::from_nodes(list, fill(limits)))
}
