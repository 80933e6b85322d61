//! Lists, their blocking commands included: those answer [`Answer::Wait`] where a client must wait.

use std::collections::VecDeque;

use super::execute::{
    Answer, ERR, Outcome, after, bulk, bulk_or_null, bulks, count, exactly, integer, null, number, ok, range,
};
use super::{Bytes, Keyspace};
use crate::client::Reply;

impl Keyspace {
    pub(super) fn run_on_lists(
        &mut self,
        db: usize,
        name: &str,
        args: &[Bytes],
        _now_ms: u64,
    ) -> Option<Outcome> {
        let key = args.first()?;
        Some(match name {
            "LPUSH" | "RPUSH" => self.push(db, key, &args[1..], name == "LPUSH"),
            "LPUSHX" | "RPUSHX" => match self.list_of(db, key) {
                Err(code) => Err(code),
                Ok(None) => integer(0),
                Ok(Some(_)) => self.push(db, key, &args[1..], name == "LPUSHX"),
            },
            "LPOP" | "RPOP" => self.pop(db, args, name == "LPOP"),
            "LLEN" => self.list_of(db, key).and_then(|list| count(list.map_or(0, VecDeque::len))),
            "LRANGE" => self.lrange(db, args),
            "LINDEX" => self.lindex(db, args),
            "LSET" => self.lset(db, args),
            "LINSERT" => self.linsert(db, args),
            "LREM" => self.lrem(db, args),
            "LTRIM" => self.ltrim(db, args),
            "LMOVE" | "BLMOVE" => {
                let ends = (side(&args[2]), side(&args[3]));
                self.move_element(db, &args[0], &args[1], ends, name.starts_with('B'))
            }
            "RPOPLPUSH" | "BRPOPLPUSH" => {
                self.move_element(db, &args[0], &args[1], (false, true), name.starts_with('B'))
            }
            "BLPOP" | "BRPOP" => self.pop_first_of(db, &args[..args.len() - 1], name == "BLPOP"),
            "LMPOP" => self.pop_many(db, args, false),
            "BLMPOP" => self.pop_many(db, &args[1..], true),
            _ => return None,
        })
    }

    fn push(&mut self, db: usize, key: &Bytes, elements: &[Bytes], at_head: bool) -> Outcome {
        let list = self.list_mut(db, key)?;
        for element in elements {
            if at_head { list.push_front(element.clone()) } else { list.push_back(element.clone()) }
        }
        count(list.len())
    }

    fn take(
        &mut self,
        db: usize,
        key: &Bytes,
        at_most: usize,
        at_head: bool,
    ) -> Result<Vec<Bytes>, &'static str> {
        let list = self.list_mut(db, key)?;
        let taken = (0..at_most.min(list.len()))
            .filter_map(|_| if at_head { list.pop_front() } else { list.pop_back() })
            .collect();
        self.drop_if_empty(db, key);
        Ok(taken)
    }

    fn pop(&mut self, db: usize, args: &[Bytes], at_head: bool) -> Outcome {
        let wanted = args.get(1).map(|word| number(word)).transpose()?;
        if self.list_of(db, &args[0])?.is_none() {
            return null();
        }
        match wanted {
            None => bulk_or_null(self.take(db, &args[0], 1, at_head)?.pop()),
            Some(0) => exactly(Reply::Array(vec![])),
            Some(wanted) => exactly(bulks(self.take(db, &args[0], wanted as usize, at_head)?)),
        }
    }

    fn lrange(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let (from, to) = (number(&args[1])?, number(&args[2])?);
        let list: Vec<Bytes> = self.list_of(db, &args[0])?.into_iter().flatten().cloned().collect();
        exactly(bulks(list[range(from, to, list.len())].iter().cloned()))
    }

    fn lindex(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let index = number(&args[1])?;
        let list = self.list_of(db, &args[0])?;
        bulk_or_null(list.and_then(|list| list.get(place(index, list.len())?)).cloned())
    }

    fn lset(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let index = number(&args[1])?;
        let len = self.list_of(db, &args[0])?.ok_or(ERR)?.len();
        let index = place(index, len).ok_or(ERR)?;
        self.list_mut(db, &args[0])?[index].clone_from(&args[2]);
        ok()
    }

    /// LINSERT key BEFORE|AFTER pivot element
    fn linsert(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let Some(list) = self.list_of(db, &args[0])? else { return integer(0) };
        let Some(index) = list.iter().position(|element| *element == args[2]) else { return integer(-1) };
        let list = self.list_mut(db, &args[0])?;
        list.insert(index + usize::from(args[1].eq_ignore_ascii_case(b"AFTER")), args[3].clone());
        count(list.len())
    }

    fn lrem(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let wanted = number(&args[1])?;
        let Some(list) = self.list_of(db, &args[0])? else { return integer(0) };
        let mut indexes: Vec<usize> = (0..list.len()).filter(|index| list[*index] == args[2]).collect();
        if wanted < 0 {
            indexes.reverse();
        }
        if wanted != 0 {
            indexes.truncate(wanted.unsigned_abs() as usize);
        }
        indexes.sort();
        if !indexes.is_empty() {
            let list = self.list_mut(db, &args[0])?;
            indexes.iter().rev().for_each(|index| drop(list.remove(*index)));
        }
        self.drop_if_empty(db, &args[0]);
        count(indexes.len())
    }

    fn ltrim(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let (from, to) = (number(&args[1])?, number(&args[2])?);
        let Some(list) = self.list_of(db, &args[0])? else { return ok() };
        let kept = range(from, to, list.len());
        let list = self.list_mut(db, &args[0])?;
        *list = std::mem::take(list).into_iter().skip(kept.start).take(kept.len()).collect();
        self.drop_if_empty(db, &args[0]);
        ok()
    }

    fn move_element(
        &mut self,
        db: usize,
        from: &Bytes,
        to: &Bytes,
        (head, to_head): (bool, bool),
        blocks: bool,
    ) -> Outcome {
        if self.list_of(db, from)?.is_none() {
            return if blocks { Ok(Answer::Wait) } else { null() };
        }
        self.list_of(db, to)?;
        if from == to {
            // A list that is turned is never empty in between: it keeps its expiry.
            let list = self.list_mut(db, from)?;
            let element = if head { list.pop_front() } else { list.pop_back() }.expect("no list is empty");
            if to_head {
                list.push_front(element.clone())
            } else {
                list.push_back(element.clone())
            }
            return bulk(&element);
        }
        let element = self.take(db, from, 1, head)?.pop().expect("no list is empty");
        self.push(db, to, std::slice::from_ref(&element), to_head)?;
        bulk(&element)
    }

    fn pop_first_of(&mut self, db: usize, keys: &[Bytes], at_head: bool) -> Outcome {
        for key in keys {
            if self.list_of(db, key)?.is_some() {
                let element = self.take(db, key, 1, at_head)?.pop().expect("no list is empty");
                return exactly(bulks([key.clone(), element]));
            }
        }
        Ok(Answer::Wait)
    }

    /// numkeys key… LEFT|RIGHT [COUNT n]
    fn pop_many(&mut self, db: usize, args: &[Bytes], blocks: bool) -> Outcome {
        let keys = number(&args[0])? as usize;
        let wanted = after(&args[keys + 1..], "COUNT").map_or(Ok(1), |word| number(word))? as usize;
        for key in &args[1..=keys] {
            if self.list_of(db, key)?.is_some() {
                let taken = self.take(db, key, wanted, side(&args[keys + 1]))?;
                return exactly(Reply::Array(vec![Reply::Bulk(key.clone()), bulks(taken)]));
            }
        }
        if blocks { Ok(Answer::Wait) } else { null() }
    }
}

/// Whether a word names the head.
fn side(word: &Bytes) -> bool {
    word.eq_ignore_ascii_case(b"LEFT")
}

fn place(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index + len as i64 } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}
