//! DEBUG DIGEST: a hash of the data set that does not depend on the order in which anything lies in memory.
//!
//! Computed step for step as Redis computes it, so that a stock server that holds the same data shows the same digits.
//! Two ways of adding to a digest: `mix` where order matters (list elements, a field and its value), `add` where it
//! does not (members of a set, keys of a database).
//!
//! Always true: an empty data set is forty zeros.

use alloc::{format, string::String, vec::Vec};
use core::ops::ControlFlow;

use perdura_structures::table::ContentRef;

use crate::{
    bytes::sha::sha1,
    store::{
        Entry, Object, Store, StringRef, Type,
        hash::Hash,
        list::List,
        set::Set,
        stream::{Stream, StreamId},
        zset::ZSet,
    },
};

/// A digest in the making.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Digest([u8; 20]);

impl Digest {
    /// The finished hash.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds something whose place among the others does not matter.
    fn add(&mut self, bytes: &[u8]) {
        for (byte, other) in self.0.iter_mut().zip(sha1(bytes)) {
            *byte ^= other;
        }
    }

    /// Adds something after what was added before.
    fn mix(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = sha1(&self.0);
    }
}

/// The digest of all databases.
pub(super) fn of_store(store: &Store) -> Digest {
    let mut all = Digest::default();
    for (index, db) in
        (0..store.db_count()).map(|index| (index, store.db(index))).filter(|(_, db)| !db.is_empty())
    {
        all.mix(&(index as u32).to_be_bytes());
        for entry in db.table().iter() {
            let mut digest = Digest::default();
            digest.mix(entry.key());
            mix_value(&mut digest, entry);
            all.add(&digest.0);
        }
    }
    all
}

/// The digest of one value, its key left out.
pub(super) fn of_value(entry: Entry<'_>) -> Digest {
    let mut digest = Digest::default();
    mix_value(&mut digest, entry);
    digest
}

/// The digest of a value, as DEBUG DIGEST-VALUE shows it: the same for equal values, however they are encoded.
pub fn value_digest(entry: Entry<'_>) -> [u8; 20] {
    of_value(entry).0
}

fn mix_value(digest: &mut Digest, entry: Entry<'_>) {
    let content = entry.content();
    digest.mix(&type_number(crate::store::value::type_of(content)).to_be_bytes());
    match content {
        ContentRef::Object(Object::List(list)) => mix_list(digest, list),
        ContentRef::Object(Object::Set(set)) => add_set(digest, set),
        ContentRef::Object(Object::ZSet(zset)) => add_zset(digest, zset),
        ContentRef::Object(Object::Hash(hash)) => add_hash(digest, hash),
        ContentRef::Object(Object::Stream(stream)) => mix_stream(digest, stream),
        string => digest.mix(&StringRef::of(string).expect("all other types were seen").to_vec()),
    }
    if entry.expiry_ms().is_some() {
        digest.add(b"!!expire!!");
    }
}

/// As Redis numbers its types.
fn type_number(of: Type) -> u32 {
    match of {
        Type::String => 0,
        Type::List => 1,
        Type::Set => 2,
        Type::ZSet => 3,
        Type::Hash => 4,
        Type::Stream => 6,
    }
}

fn mix_list(digest: &mut Digest, list: &List) {
    match list {
        List::Listpack(pack) => pack.iter().for_each(|item| digest.mix(&item.to_vec())),
        List::Quicklist(list) => list.iter().for_each(|item| digest.mix(&item.to_vec())),
    }
}

fn add_set(digest: &mut Digest, set: &Set) {
    match set {
        Set::Intset(ints) => ints.iter().for_each(|number| digest.add(format!("{number}").as_bytes())),
        Set::Listpack(pack) => pack.iter().for_each(|item| digest.add(&item.to_vec())),
        Set::Table(table) => table.iter().for_each(|(member, ())| digest.add(member)),
    }
}

fn add_pair(digest: &mut Digest, first: &[u8], second: &[u8]) {
    let mut pair = Digest::default();
    pair.mix(first);
    pair.mix(second);
    digest.add(&pair.0);
}

fn add_zset(digest: &mut Digest, zset: &ZSet) {
    match zset {
        ZSet::Listpack(pack) => {
            let items: Vec<Vec<u8>> = pack.iter().map(|item| item.to_vec()).collect();
            for pair in items.chunks_exact(2) {
                let score =
                    crate::bytes::number::parse_f64(&pair[1]).expect("a listpack of members and scores");
                add_pair(digest, &pair[0], score_text(score).as_bytes());
            }
        }
        ZSet::Index(index) => {
            index.iter().for_each(|(member, score)| add_pair(digest, member, score_text(score).as_bytes()));
        }
    }
}

fn add_hash(digest: &mut Digest, hash: &Hash) {
    match hash {
        Hash::Listpack(pack) => {
            let items: Vec<Vec<u8>> = pack.iter().map(|item| item.to_vec()).collect();
            items.chunks_exact(2).for_each(|pair| add_pair(digest, &pair[0], &pair[1]));
        }
        Hash::Table(table) => {
            table.fields.iter().for_each(|(field, value)| add_pair(digest, field, &value.value));
        }
    }
}

/// Entries in order, each by its id, its fields and its values.
fn mix_stream(digest: &mut Digest, stream: &Stream) {
    stream.entries.visit(StreamId::MIN, StreamId::MAX, |entry| {
        digest.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
        for (field, value) in entry.pairs() {
            digest.mix(&field.to_vec());
            digest.mix(&value.to_vec());
        }
        ControlFlow::Continue(())
    });
}

/// A number as C's `%.17g` prints it.
fn score_text(score: f64) -> String {
    const DIGITS: i32 = 17;
    if !score.is_finite() {
        return if score > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{score:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("an exponent was asked for");
    let exponent: i32 = exponent.parse().expect("a small number");
    if (-4..DIGITS).contains(&exponent) {
        return trimmed(&format!("{score:.*}", (DIGITS - 1 - exponent) as usize)).into();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
}

/// Without zeros that say nothing after the point.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_spelled_as_in_c() {
        let expected = [
            (0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.10000000000000001"),
            (3.0e-5, "3.0000000000000001e-05"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e300, "1.5000000000000001e+300"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (score, text) in expected {
            assert_eq!(score_text(score), text);
        }
    }

    #[test]
    fn digests_are_those_of_a_stock_server() {
        // Shown by redis-server 7.0.15 for the same commands.
        let mut server = crate::node::testing::TestServer::new("enable-debug-command yes");
        server.check(&[
            ("DEBUG DIGEST", "+0000000000000000000000000000000000000000"),
            ("SET a 1", "+OK"),
            ("SET b hello", "+OK"),
            ("DEBUG DIGEST", "+2539797405e828ad7a3aa48c536b3eaf2803a421"),
            ("PEXPIREAT b 9999999999999", ":1"),
            ("DEBUG DIGEST", "+669dc7955c0119edb82e7cfeb40ea4a28f89f902"),
            ("SELECT 2", "+OK"),
            ("APPEND c x", ":1"),
            ("DEBUG DIGEST", "+0a306842715f9d169fb6c14737f4f2c0854e6cd4"),
            (
                "DEBUG DIGEST-VALUE c none",
                "[+e1c099d36d86ec50b7f83540e7e59065055be33d, +0000000000000000000000000000000000000000]",
            ),
        ]);
    }
}
