//! Hashes, the lifetimes of their fields included.

use std::collections::BTreeMap;

use super::execute::{
    Answer, ERR, Outcome, bulk, bulk_or_null, count, exactly, float, integer, number, ok, yes_no,
};
use super::zsets::Score;
use super::{Bytes, Field, Keyspace};
use crate::client::Reply;

impl Keyspace {
    pub(super) fn run_on_hashes(
        &mut self,
        db: usize,
        name: &str,
        args: &[Bytes],
        now_ms: u64,
    ) -> Option<Outcome> {
        let key = args.first()?;
        Some(match name {
            "HSET" => self.hset(db, key, &args[1..]).and_then(count),
            "HMSET" => self.hset(db, key, &args[1..]).and_then(|_| ok()),
            "HSETNX" => {
                match self.hash_of(db, key).map(|hash| hash.is_some_and(|hash| hash.contains_key(&args[1]))) {
                    Err(code) => Err(code),
                    Ok(true) => integer(0),
                    Ok(false) => self.hset(db, key, &args[1..]).and_then(count),
                }
            }
            "HDEL" => self.hdel(db, args),
            "HINCRBY" => self.hincrby(db, args),
            "HINCRBYFLOAT" => self.hincrbyfloat(db, args),
            "HGET" => self.hash_of(db, key).and_then(|hash| {
                bulk_or_null(hash.and_then(|hash| hash.get(&args[1])).map(|field| field.value.clone()))
            }),
            "HMGET" => self.hash_of(db, key).and_then(|hash| {
                let read = |name| {
                    hash.and_then(|hash| hash.get(name))
                        .map_or(Reply::Null, |field| Reply::Bulk(field.value.clone()))
                };
                exactly(Reply::Array(args[1..].iter().map(read).collect()))
            }),
            "HGETALL" => self.hash_of(db, key).map(|hash| {
                let pairs =
                    hash.into_iter().flatten().flat_map(|(name, field)| [name.clone(), field.value.clone()]);
                Answer::AnyOrder(pairs.map(Reply::Bulk).collect())
            }),
            "HEXISTS" => self
                .hash_of(db, key)
                .and_then(|hash| yes_no(hash.is_some_and(|hash| hash.contains_key(&args[1])))),
            "HLEN" => self.hash_of(db, key).and_then(|hash| count(hash.map_or(0, BTreeMap::len))),
            "HEXPIRE" => self.expire_fields(db, args, |number| now_ms as i64 + number * 1_000, now_ms),
            "HPEXPIRE" => self.expire_fields(db, args, |number| now_ms as i64 + number, now_ms),
            "HPEXPIREAT" => self.expire_fields(db, args, |number| number, now_ms),
            "HPERSIST" => self.persist_fields(db, args),
            "HPEXPIRETIME" => self.each_field(db, key, &args[3..], |field| {
                field.expires_at_ms.map_or(-1, |at_ms| at_ms as i64)
            }),
            _ => return None,
        })
    }

    fn hset(&mut self, db: usize, key: &Bytes, pairs: &[Bytes]) -> Result<usize, &'static str> {
        let hash = self.hash_mut(db, key)?;
        let put = |pair: &&[Bytes]| {
            hash.insert(pair[0].clone(), Field { value: pair[1].clone(), expires_at_ms: None }).is_none()
        };
        Ok(pairs.chunks(2).filter(put).count())
    }

    fn hdel(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        if self
            .hash_of(db, &args[0])?
            .is_none_or(|hash| args[1..].iter().all(|name| !hash.contains_key(name)))
        {
            return integer(0);
        }
        let hash = self.hash_mut(db, &args[0])?;
        let gone = args[1..].iter().filter(|name| hash.remove(*name).is_some()).count();
        self.drop_if_empty(db, &args[0]);
        count(gone)
    }

    /// A field's number changes, its lifetime does not.
    fn hincrby(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let old = self.hash_of(db, &args[0])?.and_then(|hash| hash.get(&args[1])).cloned();
        let number_before = old.as_ref().map_or(Ok(0), |field| number(&field.value))?;
        let new = number_before.checked_add(number(&args[2])?).ok_or(ERR)?;
        let field = Field {
            value: new.to_string().into_bytes(),
            expires_at_ms: old.and_then(|field| field.expires_at_ms),
        };
        self.hash_mut(db, &args[0])?.insert(args[1].clone(), field);
        integer(new)
    }

    fn hincrbyfloat(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let old = self.hash_of(db, &args[0])?.and_then(|hash| hash.get(&args[1])).cloned();
        let number_before = old.as_ref().map_or(Ok(0.0), |field| float(&field.value))?;
        let value = Score(number_before + float(&args[2])?).text();
        let field = Field { value: value.clone(), expires_at_ms: old.and_then(|field| field.expires_at_ms) };
        self.hash_mut(db, &args[0])?.insert(args[1].clone(), field);
        bulk(&value)
    }

    /// HPEXPIREAT key time FIELDS count field…: 1 set, 2 gone at once, -2 not there.
    fn expire_fields(&mut self, db: usize, args: &[Bytes], at: impl Fn(i64) -> i64, now_ms: u64) -> Outcome {
        let at_ms = at(number(&args[1])?);
        if self.hash_of(db, &args[0])?.is_none() {
            return exactly(Reply::Array(args[4..].iter().map(|_| Reply::Integer(-2)).collect()));
        }
        let is_any = self
            .hash_of(db, &args[0])?
            .is_some_and(|hash| args[4..].iter().any(|name| hash.contains_key(name)));
        if !is_any {
            return exactly(Reply::Array(args[4..].iter().map(|_| Reply::Integer(-2)).collect()));
        }
        let hash = self.hash_mut(db, &args[0])?;
        let replies = args[4..].iter().map(|name| {
            Reply::Integer(match hash.get_mut(name) {
                None => -2,
                Some(_) if at_ms <= now_ms as i64 => {
                    hash.remove(name);
                    2
                }
                Some(field) => {
                    field.expires_at_ms = Some(at_ms as u64);
                    1
                }
            })
        });
        let replies = replies.collect();
        self.drop_if_empty(db, &args[0]);
        exactly(Reply::Array(replies))
    }

    /// HPERSIST key FIELDS count field…
    fn persist_fields(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let names = &args[3..];
        let hash = self.hash_of(db, &args[0])?;
        let fades =
            |name: &Bytes| hash.and_then(|hash| hash.get(name)).map(|field| field.expires_at_ms.is_some());
        let found: Vec<Option<bool>> = names.iter().map(fades).collect();
        if found.contains(&Some(true)) {
            let hash = self.hash_mut(db, &args[0])?;
            names
                .iter()
                .filter_map(|name| hash.get_mut(name).map(|field| field.expires_at_ms = None))
                .count();
        }
        let reply =
            |found: Option<bool>| Reply::Integer(found.map_or(-2, |fades| if fades { 1 } else { -1 }));
        exactly(Reply::Array(found.into_iter().map(reply).collect()))
    }

    fn each_field(&self, db: usize, key: &Bytes, names: &[Bytes], show: impl Fn(&Field) -> i64) -> Outcome {
        let hash = self.hash_of(db, key)?;
        let read = |name: &Bytes| Reply::Integer(hash.and_then(|hash| hash.get(name)).map_or(-2, &show));
        exactly(Reply::Array(names.iter().map(read).collect()))
    }
}
