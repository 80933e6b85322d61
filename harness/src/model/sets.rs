//! Sets.

use std::collections::BTreeSet;

use super::execute::{Answer, Choice, Outcome, count, exactly, integer, number, yes_no};
use super::{Bytes, Entry, Keyspace, Value};
use crate::client::Reply;

impl Keyspace {
    pub(super) fn run_on_sets(
        &mut self,
        db: usize,
        name: &str,
        args: &[Bytes],
        _now_ms: u64,
    ) -> Option<Outcome> {
        let key = args.first()?;
        Some(match name {
            "SADD" => self.set_mut(db, key).and_then(|set| {
                count(args[1..].iter().filter(|member| set.insert((*member).clone())).count())
            }),
            "SREM" => self.srem(db, args),
            "SMOVE" => self.smove(db, args),
            "SPOP" => self.spop(db, args),
            "SCARD" => self.set_of(db, key).and_then(|set| count(set.map_or(0, BTreeSet::len))),
            "SISMEMBER" => {
                self.set_of(db, key).and_then(|set| yes_no(set.is_some_and(|set| set.contains(&args[1]))))
            }
            "SMEMBERS" => self.combine("SUNION", db, args).map(any_order),
            "SINTER" | "SUNION" | "SDIFF" => self.combine(name, db, args).map(any_order),
            "SINTERSTORE" | "SUNIONSTORE" | "SDIFFSTORE" => {
                self.combine(name.trim_end_matches("STORE"), db, &args[1..]).and_then(|made| {
                    let len = made.len();
                    self.remove(db, key);
                    if len > 0 {
                        self.insert(db, key.clone(), Entry::lasting(Value::Set(made)));
                    }
                    count(len)
                })
            }
            _ => return None,
        })
    }

    fn srem(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        if self.set_of(db, &args[0])?.is_none_or(|set| args[1..].iter().all(|member| !set.contains(member))) {
            return integer(0);
        }
        let set = self.set_mut(db, &args[0])?;
        let gone = args[1..].iter().filter(|member| set.remove(*member)).count();
        self.drop_if_empty(db, &args[0]);
        count(gone)
    }

    fn smove(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let is_there = self.set_of(db, &args[0])?.map(|set| set.contains(&args[2]));
        let Some(is_there) = is_there else { return integer(0) };
        self.set_of(db, &args[1])?;
        if is_there && args[0] != args[1] {
            self.set_mut(db, &args[0])?.remove(&args[2]);
            self.drop_if_empty(db, &args[0]);
            self.set_mut(db, &args[1])?.insert(args[2].clone());
        }
        yes_no(is_there)
    }

    fn spop(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let wanted = args.get(1).map(|word| number(word)).transpose()?;
        match (self.set_of(db, &args[0])?, wanted) {
            (None, None) => exactly(Reply::Null),
            (None, Some(_)) | (_, Some(0)) => exactly(Reply::Array(vec![])),
            (Some(_), wanted) => Ok(Answer::Chosen(Choice::Members {
                key: args[0].clone(),
                count: wanted.unwrap_or(1) as usize,
                is_list: wanted.is_some(),
            })),
        }
    }

    fn combine(&self, name: &str, db: usize, keys: &[Bytes]) -> Result<BTreeSet<Bytes>, &'static str> {
        let read = |key| self.set_of(db, key).map(|set| set.cloned().unwrap_or_default());
        let sets: Vec<BTreeSet<Bytes>> = keys.iter().map(read).collect::<Result<_, _>>()?;
        let combined = sets.into_iter().reduce(|a, b| match name {
            "SINTER" => &a & &b,
            "SUNION" => &a | &b,
            _ => &a - &b,
        });
        Ok(combined.unwrap_or_default())
    }
}

fn any_order(members: BTreeSet<Bytes>) -> Answer {
    Answer::AnyOrder(members.into_iter().map(Reply::Bulk).collect())
}
