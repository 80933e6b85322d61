//! A command on the model: which function carries it out, and what may be answered.
//!
//! Not here: the functions, by type (`strings.rs`, `lists.rs`, …).

use std::sync::Arc;

use super::{Bytes, DBS, Entry, Keyspace, Value};
use crate::client::Reply;

/// The time at which [`Keyspace::apply`] does everything, milliseconds of unix time: every other time is to come.
pub const APPLIED_AT_MS: u64 = 1;

/// What a command must answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// This.
    Exactly(Reply),
    /// A number not below this.
    AtLeast(i64),
    /// These, in any order.
    AnyOrder(Vec<Reply>),
    /// These, in any order, and perhaps more: hashes whose fields' time has come are still there until they are removed.
    AtLeastThese(Vec<Reply>),
    /// A list of these, in this order.
    Each(Vec<Answer>),
    /// An error with this code as its first word.
    Error(&'static str),
    /// Chance decides, or something that the model does not know: the server is asked what became of the key.
    Chosen(Choice),
    /// Nothing yet: the client waits for one of its keys.
    Wait,
    /// Any reply.
    Anything,
}

/// What the server decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Which so many members of a set are taken out (SPOP with or without a count).
    Members {
        /// The set.
        key: Bytes,
        /// How many go.
        count: usize,
        /// The reply is a list.
        is_list: bool,
    },
    /// What is in a string (a HyperLogLog).
    Registers(Bytes),
    /// How many entries a group has read: Redis's own guess, which the model does not make. The rest is as modelled.
    GroupReads(Bytes, Box<Answer>),
}

impl Choice {
    /// The key in question.
    pub fn key(&self) -> &Bytes {
        match self {
            Choice::Members { key, .. } | Choice::Registers(key) | Choice::GroupReads(key, _) => key,
        }
    }
}

impl Answer {
    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Answer::Error(_) | Answer::Exactly(Reply::Error(_)))
    }

    /// Whether this reply may be given.
    pub fn allows(&self, reply: &Reply) -> bool {
        match (self, reply) {
            (Answer::Exactly(wanted), reply) => wanted == reply,
            (Answer::AtLeast(least), Reply::Integer(number)) => number >= least,
            (Answer::AnyOrder(wanted), Reply::Array(elements)) => {
                let mut rest = elements.clone();
                wanted.len() == rest.len()
                    && wanted.iter().all(|element| {
                        rest.iter()
                            .position(|other| other == element)
                            .map(|index| rest.swap_remove(index))
                            .is_some()
                    })
            }
            (Answer::AtLeastThese(wanted), Reply::Array(elements)) => {
                wanted.iter().all(|element| elements.contains(element))
            }
            (Answer::Each(answers), Reply::Array(elements)) => {
                answers.len() == elements.len()
                    && answers.iter().zip(elements).all(|(answer, element)| answer.allows(element))
            }
            (Answer::Error(code), Reply::Error(text)) => text.split(' ').next() == Some(code),
            (Answer::Chosen(Choice::GroupReads(_, answer)), reply) => answer.allows(reply),
            (Answer::Chosen(Choice::Registers(_)), Reply::Integer(_) | Reply::Simple(_)) => true,
            (Answer::Anything, _) => true,
            _ => false,
        }
    }
}

/// What a command's function gives back: an answer, or an error's code.
pub(super) type Outcome = Result<Answer, &'static str>;

pub(super) const WRONG_TYPE: &str = "WRONGTYPE";
pub(super) const ERR: &str = "ERR";

pub(super) fn exactly(reply: Reply) -> Outcome {
    Ok(Answer::Exactly(reply))
}

pub(super) fn integer(number: i64) -> Outcome {
    exactly(Reply::Integer(number))
}

pub(super) fn count(count: usize) -> Outcome {
    integer(count as i64)
}

pub(super) fn yes_no(is_so: bool) -> Outcome {
    integer(i64::from(is_so))
}

pub(super) fn ok() -> Outcome {
    exactly(Reply::Simple("OK".into()))
}

pub(super) fn null() -> Outcome {
    exactly(Reply::Null)
}

pub(super) fn bulk(bytes: &[u8]) -> Outcome {
    exactly(Reply::Bulk(bytes.to_vec()))
}

pub(super) fn bulk_or_null(bytes: Option<Bytes>) -> Outcome {
    exactly(bytes.map_or(Reply::Null, Reply::Bulk))
}

pub(super) fn bulks(items: impl IntoIterator<Item = Bytes>) -> Reply {
    Reply::Array(items.into_iter().map(Reply::Bulk).collect())
}

/// A word in capitals.
pub(super) fn upper(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_uppercase()
}

/// A whole number.
pub(super) fn number(word: &[u8]) -> Result<i64, &'static str> {
    std::str::from_utf8(word).ok().and_then(|text| text.parse().ok()).ok_or(ERR)
}

/// A number that may have a fraction.
pub(super) fn float(word: &[u8]) -> Result<f64, &'static str> {
    std::str::from_utf8(word).ok().and_then(|text| text.parse().ok()).ok_or(ERR)
}

/// Whether one of the words is this option.
pub(super) fn has(words: &[Bytes], option: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(option.as_bytes()))
}

/// The word after an option.
pub(super) fn after<'a>(words: &'a [Bytes], option: &str) -> Option<&'a Bytes> {
    let index = words.iter().position(|word| word.eq_ignore_ascii_case(option.as_bytes()))?;
    words.get(index + 1)
}

/// Indexes `from..to` as Redis counts them: negative ones from the end, both ends included.
pub(super) fn range(from: i64, to: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    let place = |index: i64| if index < 0 { len + index } else { index };
    let (from, to) = (place(from).max(0), place(to).min(len - 1));
    if from > to || from >= len { 0..0 } else { from as usize..to as usize + 1 }
}

impl Keyspace {
    /// Carries out a command of a client of this database. A command that blocks answers [`Answer::Wait`] if it must.
    pub fn execute(&mut self, db: usize, words: &[Bytes], now_ms: u64) -> Answer {
        self.expire(now_ms);
        let before = self.clone();
        let outcome = self.run(db, &upper(&words[0]), &words[1..], now_ms);
        outcome.unwrap_or_else(|code| {
            *self = before;
            Answer::Error(code)
        })
    }

    /// Carries out a command whose effect neither a clock nor chance decides, in database 0. A HyperLogLog is held as
    /// [`plain_registers`](super::plain_registers) gives it, and what a group has read is not guessed.
    ///
    /// # Panics
    /// Chance decides.
    pub fn apply(&mut self, words: &[Bytes]) -> Answer {
        let name = upper(&words[0]);
        let outcome = match name.as_str() {
            "PFADD" => self.pfadd(&words[1..]),
            "PFMERGE" => self.pfmerge(&words[1..]),
            _ => self.run(0, &name, &words[1..], APPLIED_AT_MS),
        };
        match outcome {
            Ok(Answer::Chosen(Choice::GroupReads(_, answer))) => *answer,
            Ok(Answer::Chosen(choice)) => self.choose(0, &choice, None).expect("all of them go"),
            Ok(answer) => answer,
            Err(code) => Answer::Error(code),
        }
    }

    fn run(&mut self, db: usize, name: &str, args: &[Bytes], now_ms: u64) -> Outcome {
        let families = [
            Keyspace::run_on_keys,
            Keyspace::run_on_strings,
            Keyspace::run_on_lists,
            Keyspace::run_on_hashes,
            Keyspace::run_on_sets,
            Keyspace::run_on_zsets,
            Keyspace::run_on_streams,
        ];
        let outcome = families.iter().find_map(|family| family(self, db, name, args, now_ms));
        outcome.unwrap_or_else(|| panic!("the model does not know {name}"))
    }

    /// Takes over what the server decided: `actual` is what it holds under the key now. Gives the reply that goes with it.
    ///
    /// # Errors
    /// It cannot be.
    pub fn choose(&mut self, db: usize, choice: &Choice, actual: Option<Entry>) -> Result<Answer, String> {
        match choice {
            Choice::Members { key, count, is_list } => {
                let before = self.set_of(db, key).expect("it was looked at").cloned().unwrap_or_default();
                let after = match actual {
                    None => Default::default(),
                    Some(Entry { value: Value::Set(members), .. }) => members,
                    Some(other) => return Err(format!("SPOP left {other:?}")),
                };
                let gone: Vec<Reply> = before.difference(&after).cloned().map(Reply::Bulk).collect();
                if !after.is_subset(&before) || gone.len() != before.len().min(*count) {
                    return Err(format!("SPOP of {count} made {before:?} {after:?}"));
                }
                let set = self.set_mut(db, key).expect("it was looked at");
                *set = after;
                self.drop_if_empty(db, key);
                Ok(match (is_list, gone.into_iter().collect::<Vec<_>>()) {
                    (true, gone) => Answer::AnyOrder(gone),
                    (false, mut gone) => Answer::Exactly(gone.pop().unwrap_or(Reply::Null)),
                })
            }
            Choice::Registers(key) => match actual {
                Some(Entry { value: Value::String(bytes), .. }) if bytes.starts_with(b"HYLL") => {
                    let is_same = matches!(self.get(db, key), Some(Entry { value: Value::String(old), .. }) if *old == bytes);
                    if !is_same {
                        *self.string_mut(db, key).map_err(str::to_string)? = bytes;
                    }
                    Ok(Answer::Chosen(choice.clone()))
                }
                None if self.get(db, key).is_none() => Ok(Answer::Chosen(choice.clone())),
                other => Err(format!("not a HyperLogLog: {other:?}")),
            },
            Choice::GroupReads(key, answer) => {
                let Some(Entry { value: Value::Stream(actual), .. }) = actual else {
                    return Ok(answer.as_ref().clone());
                };
                let stream = self.stream_mut(db, key).map_err(str::to_string)?;
                for (name, group) in &mut stream.groups {
                    group.entries_read = actual.groups.get(name).and_then(|group| group.entries_read);
                }
                Ok(answer.as_ref().clone())
            }
        }
    }

    // --- What the functions by type need --------------------------------------------------------------------

    pub(super) fn entry_mut(&mut self, db: usize, key: &Bytes) -> Option<&mut Entry> {
        self.dbs[db].get_mut(key).map(Arc::make_mut)
    }

    /// The entry of a key, made with this value if it does not exist.
    pub(super) fn entry_or(&mut self, db: usize, key: &Bytes, new: impl FnOnce() -> Value) -> &mut Entry {
        let entry = self.dbs[db].entry(key.clone()).or_insert_with(|| Arc::new(Entry::lasting(new())));
        Arc::make_mut(entry)
    }

    pub(super) fn drop_if_empty(&mut self, db: usize, key: &Bytes) {
        let is_empty = self.get(db, key).is_some_and(|entry| match &entry.value {
            Value::List(list) => list.is_empty(),
            Value::Hash(hash) => hash.is_empty(),
            Value::Set(set) => set.is_empty(),
            Value::Zset(zset) => zset.is_empty(),
            Value::String(_) | Value::Stream(_) => false,
        });
        if is_empty {
            self.remove(db, key);
        }
    }

    /// Swaps the first two databases.
    pub(super) fn swap(&mut self) {
        const { assert!(DBS == 2) };
        self.dbs.swap(0, 1);
    }

    pub(super) fn clear(&mut self, db: usize) {
        self.dbs[db].clear();
    }

    pub(super) fn names(&self, db: usize) -> Vec<Bytes> {
        self.dbs[db].keys().cloned().collect()
    }
}

/// Two looks at a key of one type: to read, and to change (making it if it is not there).
macro_rules! of_type {
    ($read:ident, $change:ident, $variant:ident, $holds:ty) => {
        impl Keyspace {
            pub(super) fn $read(&self, db: usize, key: &Bytes) -> Result<Option<&$holds>, &'static str> {
                match self.get(db, key).map(|entry| &entry.value) {
                    None => Ok(None),
                    Some(Value::$variant(value)) => Ok(Some(value)),
                    Some(_) => Err(WRONG_TYPE),
                }
            }

            pub(super) fn $change(&mut self, db: usize, key: &Bytes) -> Result<&mut $holds, &'static str> {
                match &mut self.entry_or(db, key, || Value::$variant(<$holds>::default())).value {
                    Value::$variant(value) => Ok(value),
                    _ => Err(WRONG_TYPE),
                }
            }
        }
    };
}

of_type!(string_of, string_mut, String, Bytes);
of_type!(list_of, list_mut, List, std::collections::VecDeque<Bytes>);
of_type!(hash_of, hash_mut, Hash, std::collections::BTreeMap<Bytes, super::Field>);
of_type!(set_of, set_mut, Set, std::collections::BTreeSet<Bytes>);
of_type!(zset_of, zset_mut, Zset, std::collections::BTreeMap<Bytes, super::Score>);
of_type!(stream_of, stream_mut, Stream, super::Stream);
