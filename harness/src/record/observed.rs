//! What a server was found to hold, and when: the other side of a comparison with the model.
//!
//! Exists because keys and fields go by themselves: what was there at the first question may be gone at the last one, and
//! what has gone must not come back.
//!
//! Always true: what the server decides for itself (when it delivered an entry, how it writes down a HyperLogLog, its guess
//! of how much a group has read) is made equal before anything is compared.

use crate::model::{APPLIED_AT_MS, Ask, Bytes, Entry, Keyspace, Value, plain_registers, read_keys};
use crate::operations::unix_ms;
use std::io;

/// A server reads its clock when it begins to work on what it was sent, which may be before all of it has come.
const CLOCK_SLACK_MS: u64 = 50;

/// What was found, and between which two instants.
#[derive(Clone, Debug)]
pub struct Observed {
    keyspace: Keyspace,
    from_ms: u64,
    to_ms: u64,
}

impl Observed {
    /// Asks for these keys of the database that is selected.
    ///
    /// # Errors
    /// The server does not answer, or not as it must.
    pub fn read(server: &mut dyn Ask, keys: &[Bytes]) -> io::Result<Observed> {
        let from_ms = unix_ms() - CLOCK_SLACK_MS;
        let found = read_keys(server, keys)?;
        Ok(Observed::between(from_ms, unix_ms(), &found))
    }

    /// What was found between two instants.
    pub fn between(from_ms: u64, to_ms: u64, found: &Keyspace) -> Observed {
        let mut keyspace = Keyspace::default();
        for (db, key, entry) in found.iter() {
            if let Some(entry) = comparable(entry) {
                keyspace.insert(db, key.clone(), entry);
            }
        }
        Observed { keyspace, from_ms, to_ms }
    }

    /// The keys that were there.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.keyspace.iter().map(|(_, key, _)| key)
    }

    /// Whether a server that holds what `model` does could have been found so, as for this key.
    pub fn agrees(&self, model: &Keyspace, key: &[u8]) -> bool {
        let found = self.keyspace.get(0, key);
        let Some(entry) = model.get(0, key) else { return found.is_none() };
        let mut ends = entry.ends().peekable();
        if ends.peek().is_none() {
            return found == Some(entry);
        }
        let within = ends.filter(|end| (self.from_ms..self.to_ms).contains(end)).map(|end| end + 1);
        let mut instants = [self.from_ms, self.to_ms].into_iter().chain(within);
        instants.any(|instant| entry.seen_at(instant).as_ref() == found)
    }
}

/// The same without what the server decides for itself; `None` if nothing is left of it.
fn comparable(entry: &Entry) -> Option<Entry> {
    let mut entry = entry.clone();
    match &mut entry.value {
        Value::Hash(fields) if fields.is_empty() => return None,
        Value::String(bytes) => {
            if let Some(plain) = plain_registers(bytes) {
                *bytes = plain;
            }
        }
        Value::Stream(stream) => {
            for group in stream.groups.values_mut() {
                group.entries_read = None;
                group.pending.values_mut().for_each(|pending| pending.delivered_ms = APPLIED_AT_MS);
            }
        }
        _ => {}
    }
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(lines: &[&str]) -> Keyspace {
        let mut keyspace = Keyspace::default();
        for line in lines {
            keyspace.apply(&line.split(' ').map(Bytes::from).collect::<Vec<_>>());
        }
        keyspace
    }

    #[test]
    fn what_fades_is_there_until_its_time_and_never_after() {
        let model = holding(&["SET k v PXAT 5000"]);
        let (there, gone) = (model.clone(), Keyspace::default());
        // found, from, to                                            may be
        assert!(Observed::between(4_000, 4_100, &there).agrees(&model, b"k"));
        assert!(!Observed::between(4_000, 4_100, &gone).agrees(&model, b"k"));
        assert!(Observed::between(4_950, 5_050, &there).agrees(&model, b"k"));
        assert!(Observed::between(4_950, 5_050, &gone).agrees(&model, b"k"));
        assert!(!Observed::between(5_001, 5_100, &there).agrees(&model, b"k"));
        assert!(Observed::between(5_001, 5_100, &gone).agrees(&model, b"k"));
        let other = holding(&["SET k v PXAT 6000"]);
        assert!(!Observed::between(4_950, 5_050, &other).agrees(&model, b"k"));
    }

    #[test]
    fn fields_fade_one_by_one() {
        let set = ["HSET h a 1 b 2 c 3", "HPEXPIREAT h 5000 FIELDS 1 a", "HPEXPIREAT h 5020 FIELDS 1 b"];
        let model = holding(&set);
        let without = |fields: &str| {
            let mut keyspace = model.clone();
            keyspace.apply(&format!("HDEL h {fields}").split(' ').map(Bytes::from).collect::<Vec<_>>());
            Observed::between(4_990, 5_050, &keyspace)
        };
        assert!(without("none").agrees(&model, b"h"));
        assert!(without("a").agrees(&model, b"h"));
        assert!(without("a b").agrees(&model, b"h"));
        assert!(!without("b").agrees(&model, b"h"));
        assert!(!without("c").agrees(&model, b"h"));
    }
}
