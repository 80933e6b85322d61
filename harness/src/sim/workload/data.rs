//! Commands on strings, lists, sets, hashes, sorted sets, whole keys and whole databases.
//!
//! The first letter of a key tells its kind. Weights make what cannot be done twice (INCR, APPEND, pushes) most frequent.

use perdura_sim::SimRng;

use super::{Command, EXPIRY_MS, KINDS, Workload, number, pick, score};

impl Workload {
    pub(super) fn string(&mut self, rng: &mut SimRng) -> Command {
        let (key, other) = (self.key('s', rng), self.key('s', rng));
        let (value, second) = (self.value(rng), self.value(rng));
        let ms = number(EXPIRY_MS.0, EXPIRY_MS.1, rng);
        let (key, value) = (key.as_str(), value.as_str());
        if self.expires(rng) {
            return match rng.below(9) {
                0..3 => Command::new(&["SET", key, value, "PXAT", &ms]).due_in(4),
                3 => Command::new(&["SET", key, value, "PX", &ms]),
                4 => Command::new(&["PSETEX", key, &ms, value]),
                5 => Command::new(&["GETEX", key, "PXAT", &ms]).due_in(3),
                6 => Command::new(&["GETEX", key, "PERSIST"]),
                7 => Command::new(&["SET", key, value, "KEEPTTL"]),
                _ => Command::new(&["SETEX", key, pick(&["1", "2"], rng), value]),
            };
        }
        match rng.below(16) {
            0..5 => Command::new(&["SET", key, value]),
            5..7 => Command::new(&["GET", key]),
            7 => Command::new(&["DEL", key]),
            8 => Command::new(&["GETSET", key, value]),
            9 => Command::new(&["GETDEL", key]),
            10 => Command::new(&["SET", key, value, pick(&["NX", "XX", "GET"], rng)]),
            11 => Command::new(&["SETNX", key, value]),
            12 => Command::at(&["MSET", key, value, &other, &second], &[1, 3]),
            13 => Command::at(&["MSETNX", key, value, &other, &second], &[1, 3]),
            14 => Command::at(&["MGET", key, &other], &[1, 2]),
            _ => Command::new(&["STRLEN", key]),
        }
    }

    pub(super) fn counter(&mut self, rng: &mut SimRng) -> Command {
        let key = self.key('c', rng);
        let (key, by) = (key.as_str(), number(1, 9, rng));
        match rng.below(20) {
            0..7 => Command::new(&["INCR", key]),
            7..12 => Command::new(&["INCRBY", key, &by]),
            12 => Command::new(&["DECR", key]),
            13 => Command::new(&["DECRBY", key, &by]),
            14 => Command::new(&["INCRBYFLOAT", key, &score(rng)]),
            15 => Command::new(&["SET", key, &by]),
            16 => Command::new(&["DEL", key]),
            _ => Command::new(&["GET", key]),
        }
    }

    pub(super) fn append(&mut self, rng: &mut SimRng) -> Command {
        let (key, value) = (self.key('a', rng), self.value(rng));
        let key = key.as_str();
        match rng.below(20) {
            0..14 => Command::new(&["APPEND", key, &value]),
            14 => Command::new(&["SETRANGE", key, &number(0, 30, rng), &value]),
            15 => Command::new(&["GETRANGE", key, &number(0, 9, rng), "-1"]),
            16 => Command::new(&["UNLINK", key]),
            _ => Command::new(&["GET", key]),
        }
    }

    pub(super) fn bits(&mut self, rng: &mut SimRng) -> Command {
        let (key, other) = (self.key('b', rng), self.key('b', rng));
        let (key, at) = (key.as_str(), number(0, 200, rng));
        match rng.below(9) {
            0..4 => Command::new(&["SETBIT", key, &at, pick(&["0", "1", "1"], rng)]),
            4 => Command::new(&["GETBIT", key, &at]),
            5 => Command::new(&["BITCOUNT", key]),
            6 => Command::at(&["BITOP", pick(&["AND", "OR", "XOR"], rng), &other, key, "b0"], &[2, 3, 4]),
            7 => Command::new(&[
                "BITFIELD",
                key,
                "SET",
                "u8",
                &format!("#{}", rng.below(9)),
                &number(0, 255, rng),
            ]),
            _ => Command::new(&[
                "BITFIELD",
                key,
                "INCRBY",
                "u8",
                &format!("#{}", rng.below(9)),
                &number(1, 99, rng),
            ]),
        }
    }

    pub(super) fn registers(&mut self, rng: &mut SimRng) -> Command {
        let (key, other, value) = (self.key('p', rng), self.key('p', rng), self.value(rng));
        match rng.below(8) {
            0..5 => Command::new(&["PFADD", &key, &value, &number(0, 99, rng)]),
            5 => Command::at(&["PFMERGE", &key, &other], &[1, 2]),
            6 => Command::new(&["DEL", &key]),
            _ => Command::new(&["PFCOUNT", &key]),
        }
    }

    pub(super) fn list(&mut self, rng: &mut SimRng) -> Command {
        let (key, other) = (self.key('l', rng), self.key('l', rng));
        let (value, second) = (self.value(rng), self.value(rng));
        let (key, other, value) = (key.as_str(), other.as_str(), value.as_str());
        let (side, to) = (pick(&["LEFT", "RIGHT"], rng), pick(&["LEFT", "RIGHT"], rng));
        match rng.below(26) {
            0..4 => Command::new(&["LPUSH", key, value]),
            4..9 => Command::new(&["RPUSH", key, value, &second]),
            9 => Command::new(&["LPUSHX", key, value]),
            10..12 => Command::new(&["LPOP", key]),
            12 => Command::new(&["RPOP", key, pick(&["0", "1", "3"], rng)]),
            13 => Command::new(&["LSET", key, pick(&["0", "-1", "2"], rng), value]),
            14 => Command::new(&["LTRIM", key, pick(&["0", "-5", "1"], rng), "-1"]),
            15..17 => Command::at(&["LMOVE", key, other, side, to], &[1, 2]),
            17 => Command::at(&["RPOPLPUSH", key, other], &[1, 2]),
            18 => Command::at(&["LMPOP", "2", key, other, side, "COUNT", "2"], &[2, 3]),
            19 => Command::new(&["LREM", key, pick(&["0", "1", "-1"], rng), value]),
            20 => Command::new(&["LINSERT", key, "BEFORE", "pivot", value]),
            21 => Command::new(&["RPUSH", key, "pivot"]),
            22 => Command::new(&["LINDEX", key, "0"]),
            23 => Command::new(&["LLEN", key]),
            _ => Command::new(&["LRANGE", key, "0", "-1"]),
        }
    }

    /// A member: a few words and a few numbers, so that encodings change.
    fn member(&mut self, rng: &mut SimRng) -> String {
        if rng.chance(500) { number(0, 9, rng) } else { format!("m{}", rng.below(10)) }
    }

    pub(super) fn set(&mut self, rng: &mut SimRng) -> Command {
        let (key, other, target) = (self.key('e', rng), self.key('e', rng), self.key('e', rng));
        let (member, second) = (self.member(rng), self.member(rng));
        let (key, other, member) = (key.as_str(), other.as_str(), member.as_str());
        let unique = self.value(rng);
        match rng.below(20) {
            0..5 => Command::new(&["SADD", key, member, &second]),
            5..7 => Command::new(&["SADD", key, &unique]),
            7..9 => Command::new(&["SREM", key, member, &second]),
            9 => Command::at(&["SMOVE", key, other, member], &[1, 2]),
            10..12 => Command::new(&["SPOP", key]),
            12 => Command::new(&["SPOP", key, pick(&["1", "2", "50"], rng)]),
            13 => Command::at(
                &[pick(&["SUNIONSTORE", "SDIFFSTORE", "SINTERSTORE"], rng), &target, key, other],
                &[1, 2, 3],
            ),
            14 => Command::at(&[pick(&["SUNION", "SDIFF", "SINTER"], rng), key, other], &[1, 2]),
            15 => Command::new(&["SCARD", key]),
            16 => Command::new(&["SISMEMBER", key, member]),
            _ => Command::new(&["SMEMBERS", key]),
        }
    }

    pub(super) fn hash(&mut self, rng: &mut SimRng) -> Command {
        let (key, value) = (self.key('h', rng), self.value(rng));
        let (key, value) = (key.as_str(), value.as_str());
        let (field, second) = (format!("f{}", rng.below(5)), format!("f{}", rng.below(5)));
        let (field, counter, by) = (field.as_str(), format!("n{}", rng.below(2)), number(1, 9, rng));
        let ms = number(EXPIRY_MS.0, EXPIRY_MS.1, rng);
        if self.expires(rng) {
            return match rng.below(5) {
                0..2 => Command::new(&["HPEXPIRE", key, &ms, "FIELDS", "1", field]),
                2 => Command::new(&["HPEXPIREAT", key, &ms, "FIELDS", "2", field, &counter]).due_in(2),
                3 => Command::new(&["HPERSIST", key, "FIELDS", "2", field, &counter]),
                _ => Command::new(&["HPEXPIRETIME", key, "FIELDS", "1", field]),
            };
        }
        match rng.below(16) {
            0..5 => Command::new(&["HSET", key, field, value]),
            5 => Command::new(&["HMSET", key, field, value, &second, &by]),
            6 => Command::new(&["HSETNX", key, field, value]),
            7..9 => Command::new(&["HDEL", key, field]),
            9..12 => Command::new(&["HINCRBY", key, &counter, &by]),
            12 => Command::new(&["HINCRBYFLOAT", key, &counter, &score(rng)]),
            13 => Command::new(&["HGET", key, field]),
            14 => Command::new(&["HMGET", key, field, &counter]),
            _ => Command::new(&["HGETALL", key]),
        }
    }

    pub(super) fn zset(&mut self, rng: &mut SimRng) -> Command {
        let (key, other, target) = (self.key('z', rng), self.key('z', rng), self.key('z', rng));
        let (key, other) = (key.as_str(), other.as_str());
        let (member, second) = (format!("m{}", rng.below(8)), format!("m{}", rng.below(8)));
        let (member, first, then) = (member.as_str(), score(rng), score(rng));
        match rng.below(24) {
            0..4 => Command::new(&["ZADD", key, &first, member, &then, &second]),
            4 => Command::new(&["ZADD", key, pick(&["NX", "XX", "GT", "LT"], rng), "CH", &first, member]),
            5 => Command::new(&["ZADD", key, "INCR", &first, member]),
            6..11 => Command::new(&["ZINCRBY", key, &first, member]),
            11 => Command::new(&["ZREM", key, member, &second]),
            12..14 => Command::new(&[pick(&["ZPOPMIN", "ZPOPMAX"], rng), key]),
            14 => Command::new(&["ZPOPMIN", key, "2"]),
            15 => Command::new(&["ZREMRANGEBYRANK", key, "0", "0"]),
            16 => Command::new(&["ZREMRANGEBYSCORE", key, "-2", &first]),
            17 => Command::at(&["ZRANGESTORE", &target, key, "0", "2"], &[1, 2]),
            18 => {
                let name = pick(&["ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"], rng);
                Command::at(&[name, &target, "2", key, other], &[1, 3, 4])
            }
            19 => Command::at(&["ZMPOP", "2", key, other, "MIN"], &[2, 3]),
            20 => Command::new(&["ZSCORE", key, member]),
            21 => Command::new(&["ZCARD", key]),
            _ => Command::new(&["ZRANGE", key, "0", "-1", "WITHSCORES"]),
        }
    }

    pub(super) fn place(&mut self, rng: &mut SimRng) -> Command {
        let (key, other, member) = (self.key('g', rng), self.key('g', rng), format!("m{}", rng.below(8)));
        let (longitude, latitude) =
            (rng.below(3_600) as f64 / 10.0 - 180.0, rng.below(1_700) as f64 / 10.0 - 85.0);
        match rng.below(8) {
            0..5 => Command::new(&["GEOADD", &key, &longitude.to_string(), &latitude.to_string(), &member]),
            5 => {
                let whole_earth = ["FROMLONLAT", "0", "0", "BYRADIUS", "30000", "km"];
                Command::at(
                    &[&["GEOSEARCHSTORE", other.as_str(), key.as_str()], &whole_earth[..]].concat(),
                    &[1, 2],
                )
            }
            6 => Command::new(&["ZREM", &key, &member]),
            _ => Command::new(&["ZSCORE", &key, &member]),
        }
    }

    /// Commands that do not care what a key holds.
    pub(super) fn any_key(&mut self, db: usize, rng: &mut SimRng) -> Command {
        let kind = KINDS[rng.index(KINDS.len())];
        let (key, other) = (self.key(kind, rng), self.key(kind, rng));
        let (key, other) = (key.as_str(), other.as_str());
        let other_db = (1 - db).to_string();
        let ms = number(EXPIRY_MS.0, EXPIRY_MS.1, rng);
        if self.expires(rng) {
            return match rng.below(6) {
                0..2 => Command::new(&["PEXPIREAT", key, &ms]).due_in(2),
                2 => Command::new(&["PEXPIRE", key, &ms]),
                3 => Command::new(&["PEXPIRE", key, &ms, pick(&["NX", "XX", "GT", "LT"], rng)]),
                4 => Command::new(&["PERSIST", key]),
                _ => Command::new(&["PEXPIRETIME", key]),
            };
        }
        match rng.below(14) {
            0..3 => Command::at(&["RENAME", key, other], &[1, 2]),
            3 => Command::at(&["RENAMENX", key, other], &[1, 2]),
            4..6 => Command::at(&["COPY", key, other, "REPLACE"], &[1, 2]),
            6 => Command::on_all(&["COPY", key, other, "DB", &other_db]),
            7..9 => Command::on_all(&["MOVE", key, &other_db]),
            9 => Command::at(&["DEL", key, other], &[1, 2]),
            10 => Command::new(&["TYPE", key]),
            11 => Command::at(&["EXISTS", key, other], &[1, 2]),
            12 => Command::on_all(&["SORT", key, "ALPHA", "STORE", &format!("l{}", rng.below(3))]),
            _ => Command::on_all(&["KEYS", "*"]),
        }
    }

    pub(super) fn database(&mut self, rng: &mut SimRng) -> Command {
        Command::on_all(pick_line(
            &[&["FLUSHALL"], &["FLUSHDB"], &["SWAPDB", "0", "1"], &["FLUSHALL", "ASYNC"]],
            rng,
        ))
    }

    /// Commands whose clients wait if there is nothing to take.
    pub(super) fn wait(&mut self, rng: &mut SimRng) -> Command {
        let (list, second) = (format!("l{}", rng.below(3)), format!("l{}", rng.below(3)));
        let (zset, stream) = (format!("z{}", rng.below(3)), format!("x{}", rng.below(3)));
        let seconds = pick(&["0", "0.05", "0.5", "3"], rng);
        let value = self.value(rng);
        match rng.below(12) {
            0..2 => Command::at(&["BLPOP", &list, &second, seconds], &[1, 2]),
            2 => Command::new(&["BRPOP", &list, seconds]),
            3 => Command::at(&["BLMOVE", &list, &second, "LEFT", "RIGHT", seconds], &[1, 2]),
            4 => Command::at(&["BLMPOP", seconds, "1", &list, "LEFT", "COUNT", "2"], &[3]),
            5 => Command::new(&["BZPOPMIN", &zset, seconds]),
            6 => Command::at(&["BZMPOP", seconds, "1", &zset, "MAX"], &[3]),
            7 => Command::at(
                &["XREADGROUP", "GROUP", "g0", "c0", "COUNT", "1", "BLOCK", "500", "STREAMS", &stream, ">"],
                &[9],
            ),
            8 => Command::new(&["ZADD", &zset, &score(rng), "m0"]),
            _ => Command::new(&["RPUSH", &list, &value]),
        }
    }
}

fn pick_line<'a>(choices: &[&'a [&'a str]], rng: &mut SimRng) -> &'a [&'a str] {
    choices[rng.index(choices.len())]
}
