//! Commands on keys whatever they hold, and on whole databases.

use super::execute::{
    Answer, ERR, Outcome, after, bulks, count, exactly, has, integer, null, number, ok, yes_no,
};
use super::{Bytes, DBS, Entry, Keyspace, Value};
use crate::client::Reply;

impl Keyspace {
    pub(super) fn run_on_keys(
        &mut self,
        db: usize,
        name: &str,
        args: &[Bytes],
        now_ms: u64,
    ) -> Option<Outcome> {
        Some(match name {
            "DEL" | "UNLINK" => count(args.iter().filter(|key| self.remove(db, key)).count()),
            "EXISTS" | "TOUCH" => count(args.iter().filter(|key| self.get(db, key).is_some()).count()),
            "TYPE" => exactly(Reply::Simple(self.get(db, &args[0]).map_or("none", type_name).into())),
            "RENAME" => self.rename(db, args).and_then(|_| ok()),
            "RENAMENX" => match self.get(db, &args[1]).is_some() {
                true if self.get(db, &args[0]).is_none() => Err(ERR),
                true => integer(0),
                false => self.rename(db, args).and_then(|_| integer(1)),
            },
            "COPY" => self.copy(db, args),
            "MOVE" => self.move_to(db, args),
            "EXPIRE" => self.expire_key(db, args, |number| now_ms as i64 + number * 1_000, now_ms),
            "PEXPIRE" => self.expire_key(db, args, |number| now_ms as i64 + number, now_ms),
            "EXPIREAT" => self.expire_key(db, args, |number| number * 1_000, now_ms),
            "PEXPIREAT" => self.expire_key(db, args, |number| number, now_ms),
            "PERSIST" => {
                let is_volatile = self.get(db, &args[0]).is_some_and(|entry| entry.expires_at_ms.is_some());
                if is_volatile {
                    self.entry_mut(db, &args[0]).expect("just seen").expires_at_ms = None;
                }
                yes_no(is_volatile)
            }
            "PEXPIRETIME" => integer(self.expiry(db, &args[0])),
            "PTTL" => integer(match self.expiry(db, &args[0]) {
                at_ms @ ..0 => at_ms,
                at_ms => at_ms - now_ms as i64,
            }),
            // Keys that nobody sees any more are counted until they are removed.
            "DBSIZE" => Ok(Answer::AtLeast(self.names(db).len() as i64)),
            "KEYS" => Ok(Answer::AtLeastThese(self.names(db).into_iter().map(Reply::Bulk).collect())),
            "RANDOMKEY" if self.names(db).is_empty() => null(),
            "RANDOMKEY" => Ok(Answer::Anything),
            "FLUSHDB" => {
                self.clear(db);
                ok()
            }
            "FLUSHALL" => {
                (0..DBS).for_each(|db| self.clear(db));
                ok()
            }
            "SWAPDB" => {
                self.swap();
                ok()
            }
            "SORT" => self.sort(db, args),
            _ => return None,
        })
    }

    fn expiry(&self, db: usize, key: &[u8]) -> i64 {
        self.get(db, key).map_or(-2, |entry| entry.expires_at_ms.map_or(-1, |at_ms| at_ms as i64))
    }

    fn rename(&mut self, db: usize, args: &[Bytes]) -> Result<(), &'static str> {
        let entry = self.get(db, &args[0]).cloned().ok_or(ERR)?;
        if args[0] != args[1] {
            self.remove(db, &args[0]);
            self.insert(db, args[1].clone(), entry);
        }
        Ok(())
    }

    /// COPY from to [DB number] [REPLACE]
    fn copy(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let target = after(args, "DB").map_or(Ok(db), |word| number(word).map(|db| db as usize))?;
        if target == db && args[0] == args[1] {
            return Err(ERR);
        }
        let Some(entry) = self.get(db, &args[0]).cloned() else { return integer(0) };
        if self.get(target, &args[1]).is_some() && !has(args, "REPLACE") {
            return integer(0);
        }
        self.insert(target, args[1].clone(), entry);
        integer(1)
    }

    fn move_to(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let target = number(&args[1])? as usize;
        if target == db {
            return Err(ERR);
        }
        let Some(entry) = self.get(db, &args[0]).cloned() else { return integer(0) };
        if self.get(target, &args[0]).is_some() {
            return integer(0);
        }
        self.remove(db, &args[0]);
        self.insert(target, args[0].clone(), entry);
        integer(1)
    }

    fn expire_key(&mut self, db: usize, args: &[Bytes], at: impl Fn(i64) -> i64, now_ms: u64) -> Outcome {
        let at_ms = at(number(&args[1])?);
        let Some(entry) = self.get(db, &args[0]) else { return integer(0) };
        // A key without expiry counts as one that expires never.
        let old = entry.expires_at_ms.map(|at_ms| at_ms as i64);
        let is_refused = has(args, "NX") && old.is_some()
            || has(args, "XX") && old.is_none()
            || has(args, "GT") && old.is_none_or(|old| at_ms <= old)
            || has(args, "LT") && old.is_some_and(|old| at_ms >= old);
        if is_refused {
            return integer(0);
        }
        if at_ms <= now_ms as i64 {
            self.remove(db, &args[0]);
        } else {
            self.entry_mut(db, &args[0]).expect("just seen").expires_at_ms = Some(at_ms as u64);
        }
        integer(1)
    }

    /// SORT key ALPHA [STORE target]
    fn sort(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let mut items: Vec<Bytes> = match self.get(db, &args[0]).map(|entry| &entry.value) {
            None => Vec::new(),
            Some(Value::List(items)) => items.iter().cloned().collect(),
            Some(Value::Set(members)) => members.iter().cloned().collect(),
            Some(Value::Zset(members)) => members.keys().cloned().collect(),
            Some(_) => return Err(super::execute::WRONG_TYPE),
        };
        items.sort();
        let Some(target) = after(args, "STORE") else { return exactly(bulks(items)) };
        let len = items.len();
        self.remove(db, target);
        if len > 0 {
            self.insert(db, target.clone(), Entry::lasting(Value::List(items.into())));
        }
        count(len)
    }
}

fn type_name(entry: &Entry) -> &'static str {
    match &entry.value {
        Value::String(_) => "string",
        Value::List(_) => "list",
        Value::Hash(_) => "hash",
        Value::Set(_) => "set",
        Value::Zset(_) => "zset",
        Value::Stream(_) => "stream",
    }
}
