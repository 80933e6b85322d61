//! Sorted sets as bytes.
//!
//! ```text
//! ZSET_LISTPACK   a listpack: member, score, member, score … ascending
//! ZSET_2          count, then member and score (double, little endian), highest score first
//! ```
//!
//! Read besides: scores as text (`ZSET`), a ziplist instead of a listpack.
//!
//! Always true: no member occurs twice, no score is NaN, a listpack is in order.

use alloc::{boxed::Box, vec::Vec};

use perdura_structures::{
    listpack::{Item, Listpack},
    sorted_set::{Insertion, SortedSet},
};

use super::{
    blob::{has_duplicates, read_listpack, read_ziplist_as_listpack},
    kind,
    primitive::{Fault, Reader, put_len, put_string},
    value::Form,
};
use crate::{
    bytes::number,
    store::{Limits, zset::ZSet},
};

/// Lengths of a score's text that say something else.
const TEXT_NAN: u8 = 253;
const TEXT_INFINITY: u8 = 254;
const TEXT_MINUS_INFINITY: u8 = 255;

const DUPLICATE: &str = "a member occurs twice in a sorted set";
const NOT_A_SCORE: &str = "a score that is not a number";

/// The type byte of a sorted set.
pub fn kind_of(zset: &ZSet) -> u8 {
    match zset {
        ZSet::Listpack(_) => kind::ZSET_LISTPACK,
        ZSet::Index(_) => kind::ZSET_2,
    }
}

/// Appends a sorted set as its type byte says.
pub fn put_zset(zset: &ZSet, form: Form, out: &mut Vec<u8>) {
    match zset {
        ZSet::Listpack(pack) => put_string(pack.as_bytes(), form.is_compressed, out),
        ZSet::Index(index) => {
            put_len(index.len() as u64, out);
            for (member, score) in index.iter().rev() {
                put_string(member, form.is_compressed, out);
                out.extend(score.to_le_bytes());
            }
        }
    }
}

/// Reads `ZSET_2`.
pub fn read_members(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<ZSet>, Fault> {
    read_scored(reader, limits, 8, &|reader| reader.array().map(f64::from_le_bytes))
}

/// Reads `ZSET`.
pub fn read_members_with_text(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<ZSet>, Fault> {
    read_scored(reader, limits, 1, &read_text_score)
}

fn read_scored(
    reader: &mut Reader<'_>,
    limits: &Limits,
    score_bytes_min: usize,
    read_score: &dyn Fn(&mut Reader<'_>) -> Result<f64, Fault>,
) -> Result<Option<ZSet>, Fault> {
    let mut index = SortedSet::new(limits.hash_seed);
    let mut member_bytes_max = 0;
    for _ in 0..reader.count(1 + score_bytes_min)? {
        let member = reader.string()?;
        let score = read_score(reader)?;
        member_bytes_max = member_bytes_max.max(member.len());
        insert(&mut index, &member, score).map_err(|what| reader.bad(what))?;
    }
    if index.is_empty() {
        return Ok(None);
    }
    let is_small =
        index.len() <= limits.zset_listpack_entries_max && member_bytes_max <= limits.zset_listpack_value_max;
    Ok(Some(if is_small { ZSet::Listpack(packed(&index)) } else { ZSet::Index(Box::new(index)) }))
}

fn read_text_score(reader: &mut Reader<'_>) -> Result<f64, Fault> {
    match reader.byte()? {
        TEXT_NAN => Ok(f64::NAN),
        TEXT_INFINITY => Ok(f64::INFINITY),
        TEXT_MINUS_INFINITY => Ok(f64::NEG_INFINITY),
        len => {
            let text = reader.take(usize::from(len))?;
            number::parse_f64(text).ok_or_else(|| reader.bad(NOT_A_SCORE))
        }
    }
}

/// Reads `ZSET_LISTPACK`.
pub fn read_packed(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<ZSet>, Fault> {
    let pack = read_listpack(reader)?;
    from_listpack(pack, limits).map_err(|what| reader.bad(what))
}

/// Reads `ZSET_ZIPLIST`.
pub fn read_ziplist(reader: &mut Reader<'_>, limits: &Limits) -> Result<Option<ZSet>, Fault> {
    let pack = read_ziplist_as_listpack(reader)?;
    from_listpack(pack, limits).map_err(|what| reader.bad(what))
}

/// Checks pairs of member and score. Only their number decides the encoding, as in Redis.
fn from_listpack(pack: Listpack, limits: &Limits) -> Result<Option<ZSet>, &'static str> {
    if !pack.len().is_multiple_of(2) {
        return Err("a member without score in a sorted set");
    }
    if has_duplicates(pack.iter().step_by(2)) {
        return Err(DUPLICATE);
    }
    let mut index = SortedSet::new(limits.hash_seed);
    let is_small = pack.len() / 2 <= limits.zset_listpack_entries_max;
    if is_small && is_ascending(&pack)? {
        return Ok((!pack.is_empty()).then_some(ZSet::Listpack(pack)));
    }
    let mut items = pack.iter();
    while let (Some(member), Some(score)) = (items.next(), items.next()) {
        insert(&mut index, member.text(&mut Default::default()), score_of(score)?)?;
    }
    Ok(Some(if is_small { ZSet::Listpack(packed(&index)) } else { ZSet::Index(Box::new(index)) }))
}

/// Whether the pairs are in the order (score, member).
fn is_ascending(pack: &Listpack) -> Result<bool, &'static str> {
    let mut previous: Option<(f64, Item<'_>)> = None;
    let mut items = pack.iter();
    while let (Some(member), Some(score)) = (items.next(), items.next()) {
        let score = score_of(score)?;
        if let Some((previous_score, previous_member)) = previous {
            let is_after = score > previous_score
                || (score == previous_score
                    && member.text(&mut Default::default()) > previous_member.text(&mut Default::default()));
            if !is_after {
                return Ok(false);
            }
        }
        previous = Some((score, member));
    }
    Ok(true)
}

fn score_of(item: Item<'_>) -> Result<f64, &'static str> {
    match item {
        Item::Int(number) => Ok(number as f64),
        Item::Bytes(text) => number::parse_f64(text).ok_or(NOT_A_SCORE),
    }
}

fn insert(index: &mut SortedSet, member: &[u8], score: f64) -> Result<(), &'static str> {
    if score.is_nan() {
        return Err(NOT_A_SCORE);
    }
    match index.insert(member, score) {
        Insertion::Added => Ok(()),
        _ => Err(DUPLICATE),
    }
}

fn packed(index: &SortedSet) -> Listpack {
    let mut pack = Listpack::new();
    for (member, score) in index.iter() {
        pack.push_back(member);
        pack.push_back(&*number::format_double(score));
    }
    pack
}
