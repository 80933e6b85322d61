//! Strings, counters, bits and HyperLogLogs.

use super::execute::{
    Answer, Choice, ERR, Outcome, after, bulk, bulk_or_null, count, exactly, float, has, integer, null,
    number, ok, range, yes_no,
};
use super::zsets::Score;
use super::{Bytes, Entry, Keyspace, Value};
use crate::client::Reply;

impl Keyspace {
    pub(super) fn run_on_strings(
        &mut self,
        db: usize,
        name: &str,
        args: &[Bytes],
        now_ms: u64,
    ) -> Option<Outcome> {
        let key = args.first()?;
        Some(match name {
            "GET" => self.string_of(db, key).and_then(|string| bulk_or_null(string.cloned())),
            "SET" => self.set_command(db, args, now_ms),
            "SETNX" => match self.get(db, key) {
                Some(_) => integer(0),
                None => self.put(db, key, &args[1], None).and_then(|_| integer(1)),
            },
            "SETEX" => {
                number(&args[1]).and_then(|s| self.put(db, key, &args[2], Some(now_ms + s as u64 * 1_000)))
            }
            "PSETEX" => number(&args[1]).and_then(|ms| self.put(db, key, &args[2], Some(now_ms + ms as u64))),
            "GETSET" => self.old_then(db, key, |model| model.put(db, key, &args[1], None)),
            "GETDEL" => self.old_then(db, key, |model| {
                model.remove(db, key);
                ok()
            }),
            "GETEX" => self.getex(db, args),
            "APPEND" => self.string_mut(db, key).and_then(|string| {
                string.extend_from_slice(&args[1]);
                count(string.len())
            }),
            "STRLEN" => self.string_of(db, key).and_then(|string| count(string.map_or(0, Vec::len))),
            "GETRANGE" => self.getrange(db, args),
            "SETRANGE" => self.setrange(db, args),
            "INCR" => self.increment(db, key, 1),
            "DECR" => self.increment(db, key, -1),
            "INCRBY" => number(&args[1]).and_then(|by| self.increment(db, key, by)),
            "DECRBY" => number(&args[1]).and_then(|by| self.increment(db, key, -by)),
            "INCRBYFLOAT" => self.increment_float(db, args),
            "MSET" => {
                args.chunks(2).for_each(|pair| drop(self.put(db, &pair[0], &pair[1], None)));
                ok()
            }
            "MSETNX" => {
                let is_free = args.chunks(2).all(|pair| self.get(db, &pair[0]).is_none());
                if is_free {
                    args.chunks(2).for_each(|pair| drop(self.put(db, &pair[0], &pair[1], None)));
                }
                yes_no(is_free)
            }
            "MGET" => {
                let read =
                    |key| self.string_of(db, key).ok().flatten().cloned().map_or(Reply::Null, Reply::Bulk);
                exactly(Reply::Array(args.iter().map(read).collect()))
            }
            "SETBIT" => self.setbit(db, args),
            "GETBIT" => self.getbit(db, args),
            "BITCOUNT" => self.string_of(db, key).and_then(|string| {
                integer(string.map_or(0, |bytes| bytes.iter().map(|byte| i64::from(byte.count_ones())).sum()))
            }),
            "BITOP" => self.bitop(db, args),
            "BITFIELD" => self.bitfield(db, args),
            "PFADD" => self.touch_registers(db, key, args.len() > 1 || self.get(db, key).is_none()),
            "PFMERGE" => self.touch_registers(db, key, true),
            "PFCOUNT" => self.touch_registers(db, key, false),
            _ => return None,
        })
    }

    fn put(&mut self, db: usize, key: &Bytes, value: &Bytes, expires_at_ms: Option<u64>) -> Outcome {
        self.insert(db, key.clone(), Entry { value: Value::String(value.clone()), expires_at_ms });
        ok()
    }

    /// The old string is the answer, after `change`.
    fn old_then(&mut self, db: usize, key: &Bytes, change: impl FnOnce(&mut Keyspace) -> Outcome) -> Outcome {
        let old = self.string_of(db, key)?.cloned();
        change(self)?;
        bulk_or_null(old)
    }

    /// SET key value [NX|XX] [GET] [KEEPTTL] [EX|PX|EXAT|PXAT number]
    fn set_command(&mut self, db: usize, args: &[Bytes], now_ms: u64) -> Outcome {
        let (key, value, options) = (&args[0], &args[1], &args[2..]);
        let is_get = has(options, "GET");
        let old = if is_get { self.string_of(db, key)?.cloned() } else { None };
        let is_there = self.get(db, key).is_some();
        let time = |name: &str, scale: u64, base: u64| {
            after(options, name)
                .map(|word| number(word).map(|number| base + number as u64 * scale))
                .transpose()
        };
        let times = [
            time("EX", 1_000, now_ms)?,
            time("PX", 1, now_ms)?,
            time("EXAT", 1_000, 0)?,
            time("PXAT", 1, 0)?,
        ];
        let kept =
            self.get(db, key).and_then(|entry| entry.expires_at_ms).filter(|_| has(options, "KEEPTTL"));
        let expires_at_ms = times.into_iter().flatten().next().or(kept);
        let is_done = !(has(options, "NX") && is_there || has(options, "XX") && !is_there);
        if is_done {
            self.put(db, key, value, expires_at_ms)?;
            // A time in the past: the key is gone at once.
            if expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                self.remove(db, key);
            }
        }
        match (is_get, is_done) {
            (true, _) => bulk_or_null(old),
            (false, true) => ok(),
            (false, false) => null(),
        }
    }

    /// GETEX key [PERSIST | PXAT ms]
    fn getex(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let Some(old) = self.string_of(db, &args[0])?.cloned() else { return null() };
        let at_ms = after(args, "PXAT").map(|word| number(word)).transpose()?;
        let had_expiry = self.get(db, &args[0]).is_some_and(|entry| entry.expires_at_ms.is_some());
        if at_ms.is_some() || has(args, "PERSIST") && had_expiry {
            self.entry_mut(db, &args[0]).expect("just seen").expires_at_ms = at_ms.map(|at_ms| at_ms as u64);
        }
        bulk(&old)
    }

    fn getrange(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let (from, to) = (number(&args[1])?, number(&args[2])?);
        let string = self.string_of(db, &args[0])?.cloned().unwrap_or_default();
        bulk(&string[range(from, to, string.len())])
    }

    fn setrange(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let at = number(&args[1])? as usize;
        if args[2].is_empty() {
            return count(self.string_of(db, &args[0])?.map_or(0, Vec::len));
        }
        let string = self.string_mut(db, &args[0])?;
        string.resize(string.len().max(at + args[2].len()), 0);
        string[at..at + args[2].len()].copy_from_slice(&args[2]);
        count(string.len())
    }

    fn increment(&mut self, db: usize, key: &Bytes, by: i64) -> Outcome {
        let old = self.string_of(db, key)?.map_or(Ok(0), |text| number(text))?;
        let new = old.checked_add(by).ok_or(ERR)?;
        *self.string_mut(db, key)? = new.to_string().into_bytes();
        integer(new)
    }

    fn increment_float(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let old = self.string_of(db, &args[0])?.map_or(Ok(0.0), |text| float(text))?;
        let new = Score(old + float(&args[1])?).text();
        self.string_mut(db, &args[0])?.clone_from(&new);
        bulk(&new)
    }

    fn setbit(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let (at, is_on) = (number(&args[1])? as usize, args[2] == b"1");
        let mask = 0x80 >> (at % 8);
        let old = self.string_of(db, &args[0])?.and_then(|string| string.get(at / 8).copied());
        let was_on = old.is_some_and(|byte| byte & mask != 0);
        // What leaves the string as it is does not touch it, for somebody who watches it.
        if old.is_none() || was_on != is_on {
            let string = self.string_mut(db, &args[0])?;
            string.resize(string.len().max(at / 8 + 1), 0);
            string[at / 8] = if is_on { string[at / 8] | mask } else { string[at / 8] & !mask };
        }
        yes_no(was_on)
    }

    fn getbit(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let at = number(&args[1])? as usize;
        let byte = self.string_of(db, &args[0])?.and_then(|string| string.get(at / 8).copied()).unwrap_or(0);
        yes_no(byte & (0x80 >> (at % 8)) != 0)
    }

    /// BITOP AND|OR|XOR|NOT target source…
    fn bitop(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let read = |key| self.string_of(db, key).map(|string| string.cloned().unwrap_or_default());
        let sources: Vec<Bytes> = args[2..].iter().map(read).collect::<Result<_, _>>()?;
        let len = sources.iter().map(Vec::len).max().unwrap_or(0);
        let byte = |source: &Bytes, index: usize| source.get(index).copied().unwrap_or(0);
        let combine = |index: usize| -> u8 {
            let bytes = sources.iter().map(|source| byte(source, index));
            match args[0].to_ascii_uppercase().as_slice() {
                b"AND" => bytes.reduce(|a, b| a & b).unwrap_or(0),
                b"OR" => bytes.reduce(|a, b| a | b).unwrap_or(0),
                b"XOR" => bytes.reduce(|a, b| a ^ b).unwrap_or(0),
                _ => !byte(&sources[0], index),
            }
        };
        let made: Bytes = (0..len).map(combine).collect();
        self.remove(db, &args[1]);
        if len > 0 {
            self.put(db, &args[1], &made, None)?;
        }
        count(len)
    }

    /// BITFIELD key SET|INCRBY u8 #index value
    fn bitfield(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let (index, value) = (number(&args[3][1..])? as usize, number(&args[4])?);
        let there = self.string_of(db, &args[0])?.and_then(|string| string.get(index).copied());
        let old = there.unwrap_or(0);
        let is_set = args[1].eq_ignore_ascii_case(b"SET");
        let new = if is_set { value as u8 } else { (i64::from(old) + value) as u8 };
        if there != Some(new) {
            let string = self.string_mut(db, &args[0])?;
            string.resize(string.len().max(index + 1), 0);
            string[index] = new;
        }
        let shown = if is_set { old } else { new };
        exactly(Reply::Array(vec![Reply::Integer(i64::from(shown))]))
    }

    /// A HyperLogLog's bytes are the server's affair; that it is a string, and becomes one, is not.
    fn touch_registers(&mut self, db: usize, key: &Bytes, makes: bool) -> Outcome {
        self.string_of(db, key)?;
        if makes {
            self.string_mut(db, key)?;
        }
        Ok(Answer::Chosen(Choice::Registers(key.clone())))
    }
}
