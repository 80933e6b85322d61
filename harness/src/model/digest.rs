//! A keyspace as one number, for any moment at which somebody may look.
//!
//! Exists so that a state of a history can be found again by comparing numbers. A keyspace is a set of pieces (a key with all
//! it holds; of a hash each field) which are there until a time. The digest is the sum of the hashes of those that are, so
//! that a change costs the hashes of the keys it touched.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{Bytes, Entry, Keyspace, Place, Value};

/// Digest of a keyspace at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Sum over what stays.
    lasting: u64,
    /// What goes by itself: when, and its hash.
    fading: Arc<Vec<(u64, u64)>>,
}

impl Digest {
    /// The digest of a keyspace, from scratch.
    pub fn of(keyspace: &Keyspace) -> Digest {
        let mut digest = Digest::default();
        let mut fading = Vec::new();
        for (db, key, entry) in keyspace.iter() {
            pieces(db, key, entry, &mut |until, hash| digest.put(until, hash, &mut fading));
        }
        digest.fading = Arc::new(fading);
        digest
    }

    /// The digest of `after`, which differs in these places from `before`, whose digest this is.
    pub fn after(&self, before: &Keyspace, after: &Keyspace, changed: &[Place]) -> Digest {
        let mut digest = self.clone();
        let mut fading = self.fading.as_ref().clone();
        for (db, key) in changed {
            if let Some(entry) = before.get(*db, key) {
                pieces(*db, key, entry, &mut |until, hash| digest.take(until, hash, &mut fading));
            }
            if let Some(entry) = after.get(*db, key) {
                pieces(*db, key, entry, &mut |until, hash| digest.put(until, hash, &mut fading));
            }
        }
        if fading != *self.fading {
            digest.fading = Arc::new(fading);
        }
        digest
    }

    /// What somebody sees who looks at this time.
    pub fn at(&self, now_ms: u64) -> u64 {
        let there = self.fading.iter().filter(|(until_ms, _)| *until_ms >= now_ms);
        there.fold(self.lasting, |sum, (_, hash)| sum.wrapping_add(*hash))
    }

    fn put(&mut self, until_ms: Option<u64>, hash: u64, fading: &mut Vec<(u64, u64)>) {
        match until_ms {
            None => self.lasting = self.lasting.wrapping_add(hash),
            Some(at_ms) => fading.push((at_ms, hash)),
        }
    }

    fn take(&mut self, until_ms: Option<u64>, hash: u64, fading: &mut Vec<(u64, u64)>) {
        match until_ms {
            None => self.lasting = self.lasting.wrapping_sub(hash),
            Some(at_ms) => {
                let index = fading.iter().position(|piece| *piece == (at_ms, hash));
                fading.swap_remove(index.expect("what is taken was put"));
            }
        }
    }
}

/// The pieces of one key: until when each is there, and its hash.
fn pieces(db: usize, key: &Bytes, entry: &Entry, see: &mut dyn FnMut(Option<u64>, u64)) {
    let hasher = || {
        let mut hasher = DefaultHasher::new();
        (db, key, entry.expires_at_ms).hash(&mut hasher);
        hasher
    };
    let mut whole = |kind: u8, hash: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = hasher();
        kind.hash(&mut hasher);
        hash(&mut hasher);
        see(entry.expires_at_ms, hasher.finish());
    };
    match &entry.value {
        Value::String(bytes) => whole(0, &|hasher| bytes.hash(hasher)),
        Value::List(items) => whole(1, &|hasher| items.hash(hasher)),
        Value::Set(members) => whole(2, &|hasher| members.hash(hasher)),
        Value::Zset(members) => whole(3, &|hasher| members.hash(hasher)),
        Value::Stream(stream) => whole(4, &|hasher| stream.hash(hasher)),
        Value::Hash(fields) => {
            for (name, field) in fields {
                let mut hasher = hasher();
                (5u8, name, &field.value, field.expires_at_ms).hash(&mut hasher);
                let until = [entry.expires_at_ms, field.expires_at_ms].into_iter().flatten().min();
                see(until, hasher.finish());
            }
        }
    }
}
