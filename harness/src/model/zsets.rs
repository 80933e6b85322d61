//! Sorted sets, and places on earth, which are sorted sets.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use super::execute::{
    Answer, ERR, Outcome, after, bulks, count, exactly, float, has, integer, null, number, range,
};
use super::{Bytes, Entry, Keyspace, Value};
use crate::client::Reply;

/// A score. The judge uses such as a short text says exactly.
#[derive(Clone, Copy, Debug)]
pub struct Score(pub f64);

impl Score {
    /// As the server writes it.
    pub fn text(self) -> Bytes {
        // Minus nothing is nothing.
        format!("{}", self.0 + 0.0).into_bytes()
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Score) -> bool {
        self.0.total_cmp(&other.0).is_eq()
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Score) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Score) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Hash for Score {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.to_bits().hash(hasher);
    }
}

type Zset = BTreeMap<Bytes, Score>;

impl Keyspace {
    pub(super) fn run_on_zsets(
        &mut self,
        db: usize,
        name: &str,
        args: &[Bytes],
        _now_ms: u64,
    ) -> Option<Outcome> {
        let key = args.first()?;
        Some(match name {
            "ZADD" => self.zadd(db, args),
            "ZINCRBY" => self.zincrby(db, key, &args[2], &args[1]),
            "ZREM" => {
                let gone = |_: usize, member: &Bytes, _: Score| args[1..].contains(member);
                self.remove_members(db, key, gone)
            }
            "ZPOPMIN" | "ZPOPMAX" => self.zpop_command(db, args, name == "ZPOPMIN"),
            "BZPOPMIN" | "BZPOPMAX" => self.bzpop(db, &args[..args.len() - 1], name == "BZPOPMIN"),
            "ZMPOP" => self.zmpop(db, args, false),
            "BZMPOP" => self.zmpop(db, &args[1..], true),
            "ZSCORE" => self.zset_of(db, key).and_then(|zset| {
                exactly(
                    zset.and_then(|zset| zset.get(&args[1]))
                        .map_or(Reply::Null, |score| Reply::Bulk(score.text())),
                )
            }),
            "ZCARD" => self.zset_of(db, key).and_then(|zset| count(zset.map_or(0, BTreeMap::len))),
            "ZRANGE" => self.zrange(db, args),
            "ZRANGESTORE" => self.zrangestore(db, args),
            "ZREMRANGEBYRANK" => self.zremrangebyrank(db, args),
            "ZREMRANGEBYSCORE" => float(&args[1]).and_then(|from| {
                let to = float(&args[2])?;
                self.remove_members(db, key, |_, _, score| (from..=to).contains(&score.0))
            }),
            "ZUNIONSTORE" | "ZINTERSTORE" | "ZDIFFSTORE" => self.combine_store(db, name, args),
            "GEOADD" => self.geoadd(db, args),
            "GEOSEARCHSTORE" => self.geosearchstore(db, args),
            _ => return None,
        })
    }

    /// ZADD key [NX|XX|GT|LT] [CH] [INCR] score member…
    fn zadd(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let options = args[1..].iter().take_while(|word| float(word).is_err()).count();
        let (options, pairs) = args[1..].split_at(options);
        let is = |name| has(options, name);
        let old = self.zset_of(db, &args[0])?.cloned().unwrap_or_default();
        let (mut new, mut added, mut changed, mut last) = (old.clone(), 0, 0, None);
        for pair in pairs.chunks(2) {
            let before = new.get(&pair[1]).copied();
            let wanted =
                float(&pair[0])? + if is("INCR") { before.map_or(0.0, |score| score.0) } else { 0.0 };
            let wanted = Score(wanted);
            let is_refused = match before {
                None => is("XX"),
                Some(before) => is("NX") || is("GT") && wanted <= before || is("LT") && wanted >= before,
            };
            last = (!is_refused).then_some(wanted);
            if !is_refused {
                new.insert(pair[1].clone(), wanted);
                added += usize::from(before.is_none());
                changed += usize::from(before.is_some_and(|before| before != wanted));
            }
        }
        if new != old {
            *self.zset_mut(db, &args[0])? = new;
        }
        match is("INCR") {
            true => exactly(last.map_or(Reply::Null, |score| Reply::Bulk(score.text()))),
            false => count(added + if is("CH") { changed } else { 0 }),
        }
    }

    fn zincrby(&mut self, db: usize, key: &Bytes, member: &Bytes, by: &Bytes) -> Outcome {
        let by = float(by)?;
        let zset = self.zset_mut(db, key)?;
        let score = zset.entry(member.clone()).or_insert(Score(0.0));
        score.0 += by;
        exactly(Reply::Bulk(score.text()))
    }

    /// Removes members by rank, name or score, and answers with their number.
    fn remove_members(
        &mut self,
        db: usize,
        key: &Bytes,
        goes: impl Fn(usize, &Bytes, Score) -> bool,
    ) -> Outcome {
        let Some(zset) = self.zset_of(db, key)? else { return integer(0) };
        let ranked = ranked(zset).into_iter().enumerate();
        let gone: Vec<Bytes> = ranked
            .filter(|(rank, (member, score))| goes(*rank, member, *score))
            .map(|(_, (member, _))| member)
            .collect();
        if !gone.is_empty() {
            let zset = self.zset_mut(db, key)?;
            zset.retain(|member, _| !gone.contains(member));
        }
        self.drop_if_empty(db, key);
        count(gone.len())
    }

    fn zpop(
        &mut self,
        db: usize,
        key: &Bytes,
        at_most: usize,
        is_min: bool,
    ) -> Result<Vec<(Bytes, Score)>, &'static str> {
        let mut members = ranked(self.zset_of(db, key)?.expect("it is there"));
        if !is_min {
            members.reverse();
        }
        members.truncate(at_most);
        let zset = self.zset_mut(db, key)?;
        zset.retain(|member, _| !members.iter().any(|(gone, _)| gone == member));
        self.drop_if_empty(db, key);
        Ok(members)
    }

    fn zpop_command(&mut self, db: usize, args: &[Bytes], is_min: bool) -> Outcome {
        let wanted = args.get(1).map_or(Ok(1), |word| number(word))? as usize;
        if self.zset_of(db, &args[0])?.is_none() || wanted == 0 {
            return exactly(Reply::Array(vec![]));
        }
        let popped = self.zpop(db, &args[0], wanted, is_min)?;
        exactly(bulks(popped.into_iter().flat_map(|(member, score)| [member, score.text()])))
    }

    fn bzpop(&mut self, db: usize, keys: &[Bytes], is_min: bool) -> Outcome {
        for key in keys {
            if self.zset_of(db, key)?.is_some() {
                let (member, score) = self.zpop(db, key, 1, is_min)?.pop().expect("none is empty");
                return exactly(bulks([key.clone(), member, score.text()]));
            }
        }
        Ok(Answer::Wait)
    }

    /// numkeys key… MIN|MAX [COUNT n]
    fn zmpop(&mut self, db: usize, args: &[Bytes], blocks: bool) -> Outcome {
        let keys = number(&args[0])? as usize;
        let wanted = after(&args[keys + 1..], "COUNT").map_or(Ok(1), |word| number(word))? as usize;
        let is_min = args[keys + 1].eq_ignore_ascii_case(b"MIN");
        for key in &args[1..=keys] {
            if self.zset_of(db, key)?.is_some() {
                let popped = self.zpop(db, key, wanted, is_min)?;
                let pairs = popped.into_iter().map(|(member, score)| bulks([member, score.text()])).collect();
                return exactly(Reply::Array(vec![Reply::Bulk(key.clone()), Reply::Array(pairs)]));
            }
        }
        if blocks { Ok(Answer::Wait) } else { null() }
    }

    /// ZRANGE key from to [REV] [WITHSCORES]
    fn zrange(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let members = self.ranks(db, args)?;
        let with_scores = has(args, "WITHSCORES");
        let words = members.into_iter().flat_map(|(member, score)| {
            [Some(member), with_scores.then(|| score.text())].into_iter().flatten()
        });
        exactly(bulks(words))
    }

    fn ranks(&self, db: usize, args: &[Bytes]) -> Result<Vec<(Bytes, Score)>, &'static str> {
        let (from, to) = (number(&args[1])?, number(&args[2])?);
        let mut members = self.zset_of(db, &args[0])?.map(ranked).unwrap_or_default();
        if has(&args[3..], "REV") {
            members.reverse();
        }
        Ok(members[range(from, to, members.len())].to_vec())
    }

    fn store(&mut self, db: usize, key: &Bytes, made: Zset) -> Outcome {
        let len = made.len();
        self.remove(db, key);
        if len > 0 {
            self.insert(db, key.clone(), Entry::lasting(Value::Zset(made)));
        }
        count(len)
    }

    /// ZRANGESTORE target source from to
    fn zrangestore(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let made = self.ranks(db, &args[1..])?.into_iter().collect();
        self.store(db, &args[0], made)
    }

    fn zremrangebyrank(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let len = self.zset_of(db, &args[0])?.map_or(0, BTreeMap::len);
        let gone = range(number(&args[1])?, number(&args[2])?, len);
        self.remove_members(db, &args[0], |rank, _, _| gone.contains(&rank))
    }

    /// ZUNIONSTORE target numkeys key…
    fn combine_store(&mut self, db: usize, name: &str, args: &[Bytes]) -> Outcome {
        let read = |key: &Bytes| match self.get(db, key).map(|entry| &entry.value) {
            None => Ok(Zset::new()),
            Some(Value::Zset(zset)) => Ok(zset.clone()),
            Some(Value::Set(set)) => Ok(set.iter().map(|member| (member.clone(), Score(1.0))).collect()),
            Some(_) => Err(super::execute::WRONG_TYPE),
        };
        let sources: Vec<Zset> = args[2..].iter().map(read).collect::<Result<_, _>>()?;
        let made = sources.into_iter().reduce(|mut a, b| {
            match name {
                "ZUNIONSTORE" => b
                    .into_iter()
                    .for_each(|(member, score)| a.entry(member).or_insert(Score(0.0)).0 += score.0),
                "ZINTERSTORE" => {
                    a.retain(|member, score| b.get(member).map(|other| score.0 += other.0).is_some());
                }
                _ => a.retain(|member, _| !b.contains_key(member)),
            }
            a
        });
        self.store(db, &args[0], made.unwrap_or_default())
    }

    /// GEOADD key longitude latitude member
    fn geoadd(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let (longitude, latitude) = (float(&args[1])?, float(&args[2])?);
        if !(-180.0..=180.0).contains(&longitude) || !(-85.05112878..=85.05112878).contains(&latitude) {
            return Err(ERR);
        }
        let score =
            Score(interleave(share(latitude, -85.05112878, 85.05112878), share(longitude, -180.0, 180.0))
                as f64);
        let is_new = self.zset_mut(db, &args[0])?.insert(args[3].clone(), score).is_none();
        integer(i64::from(is_new))
    }

    /// GEOSEARCHSTORE target source FROMLONLAT 0 0 BYRADIUS 30000 km: the whole earth.
    fn geosearchstore(&mut self, db: usize, args: &[Bytes]) -> Outcome {
        let made = self.zset_of(db, &args[1])?.cloned().unwrap_or_default();
        self.store(db, &args[0], made)
    }
}

/// Lowest score first, then by name.
fn ranked(zset: &Zset) -> Vec<(Bytes, Score)> {
    let mut members: Vec<(Bytes, Score)> =
        zset.iter().map(|(member, score)| (member.clone(), *score)).collect();
    members.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    members
}

/// Where a coordinate lies between two ends, in 26 bits.
fn share(at: f64, from: f64, to: f64) -> u32 {
    ((at - from) / (to - from) * f64::from(1u32 << 26)) as u32
}

/// Bits of both by turns, the first number's lowest.
fn interleave(even: u32, odd: u32) -> u64 {
    (0..26)
        .map(|bit| u64::from(even >> bit & 1) << (2 * bit) | u64::from(odd >> bit & 1) << (2 * bit + 1))
        .sum()
}
