//! The writes of each family, drawn.
//!
//! Always true: ids of stream entries grow with the numbers of operations, so they do also after a crash has taken back
//! the last of them; values of strings are unlike all others, and say who wrote them and when; scores stay numbers that a
//! short text says exactly.

use super::{Family, Plan, Step, key};
use crate::model::{Bytes, StreamId};
use crate::rng::Rng;

/// Bounds of collections, so that the state stays readable in one reply however long the run.
const LIST_LEN_MAX: usize = 200;
const MEMBERS: u64 = 100;
const STREAM_LEN_MAX: usize = 100;
/// 2100-01-01: no run lasts that long, so an expiry never fires and must simply be kept.
const FAR_FUTURE_MS: u64 = 4_102_444_800_000;
/// Half of the expiries that fire do it within this time: while the clients write, or while the server is down.
const SOON_MS: u64 = 4_000;
/// The others: some are still to come when what is left is looked at.
const LATER_MS: u64 = 600_000;
/// Entries of a stream that one XACK, XCLAIM or XDEL tries: which of them exist is not known here.
const IDS_TRIED: u64 = 64;

/// One operation being drawn.
pub(super) struct Draw<'a> {
    pub(super) plan: &'a Plan,
    pub(super) rng: Rng,
    pub(super) client: u64,
    pub(super) number: u64,
    /// Within a block.
    pub(super) index: u64,
}

/// Words of text, strings and bytes.
macro_rules! words {
    ($($word:expr),* $(,)?) => { vec![$(Bytes::from($word)),*] };
}

fn text(number: impl ToString) -> String {
    number.to_string()
}

/// A command whose first argument is its only key; `name` may be several words.
fn on(name: &str, key: Bytes, rest: Vec<Bytes>) -> Step {
    let words = name.split(' ').map(Bytes::from).chain([key.clone()]).chain(rest).collect();
    Step { keys: vec![key], words, is_timed: false }
}

/// A command on several keys, with words behind them.
fn across(name: &str, keys: Vec<Bytes>, rest: Vec<Bytes>) -> Step {
    let words = name.split(' ').map(Bytes::from).chain(keys.clone()).chain(rest).collect();
    Step { keys, words, is_timed: false }
}

/// The answer depends on what has expired by then, the effect does not.
fn timed(step: Step) -> Step {
    Step { is_timed: true, ..step }
}

impl Draw<'_> {
    /// What `family` does; several writes go into one transaction.
    pub(super) fn steps(&mut self, family: Family) -> Vec<Step> {
        match family {
            Family::Strings => vec![self.strings()],
            Family::Counters => vec![self.counters()],
            Family::Bits => vec![self.bits()],
            Family::Hyperloglogs => vec![self.hyperloglogs()],
            Family::Lists => vec![self.lists()],
            Family::Hashes => vec![self.hashes()],
            Family::Sets => vec![self.sets()],
            Family::Zsets => vec![self.zsets()],
            Family::Places => vec![self.places()],
            Family::Streams => vec![self.streams()],
            Family::Groups => self.groups(),
            Family::Keys => vec![self.keys()],
            Family::Expiries => vec![self.expiries()],
            Family::Fading => self.fading(),
            Family::Fields => self.fields(),
            Family::Multi | Family::Scripts => unreachable!("what is composed does not nest"),
        }
    }

    fn strings(&mut self) -> Step {
        let key = self.key(Family::Strings);
        match self.rng.below(20) {
            0..9 => on("SET", key, words![self.value()]),
            9..12 => on("APPEND", key, words![format!("+{}.{}", self.number, self.index)]),
            12 => on("DEL", key, vec![]),
            13 => on("SETNX", key, words![self.value()]),
            14 => on("GETSET", key, words![self.value()]),
            15 => on("GETDEL", key, vec![]),
            16 => on("SET", key, words![self.value(), "KEEPTTL"]),
            17 => on("GETEX", key, words!["PERSIST"]),
            18 => self.many_strings("MSET", 3),
            _ => self.many_strings("MSETNX", 2),
        }
    }

    fn many_strings(&mut self, name: &str, count: u64) -> Step {
        let keys: Vec<Bytes> = (0..count).map(|_| self.key(Family::Strings)).collect();
        let pairs = keys.iter().flat_map(|key| [key.clone(), self.value()]).collect::<Vec<_>>();
        Step { keys, words: [words![name], pairs].concat(), is_timed: false }
    }

    fn counters(&mut self) -> Step {
        let key = self.key(Family::Counters);
        let by = self.rng.below(2000) as i64 - 500;
        match self.rng.below(10) {
            0..6 => on("INCRBY", key, words![text(by)]),
            6 => on("INCR", key, vec![]),
            7 => on("DECR", key, vec![]),
            8 => on("DECRBY", key, words![text(by)]),
            // A whole number, or INCRBY would be refused ever after.
            _ => on("INCRBYFLOAT", key, words![text(by)]),
        }
    }

    fn bits(&mut self) -> Step {
        let key = self.key(Family::Bits);
        let place = self.rng.below(64);
        match self.rng.below(20) {
            0..9 => on("SETBIT", key, words![text(self.rng.below(2048)), text(self.rng.below(4).min(1))]),
            9..12 => self.bitfield("SET", key, place, self.number as i64 % 256),
            12..15 => self.bitfield("INCRBY", key, place, self.number as i64 % 100 - 50),
            15..18 => on("SETRANGE", key, words![text(place), text(self.number)]),
            18 => {
                let sources = vec![key, self.key(Family::Bits), self.key(Family::Bits)];
                across(["BITOP AND", "BITOP OR", "BITOP XOR"][place as usize % 3], sources, vec![])
            }
            _ => across("BITOP NOT", vec![key, self.key(Family::Bits)], vec![]),
        }
    }

    fn bitfield(&self, verb: &str, key: Bytes, index: u64, value: i64) -> Step {
        on("BITFIELD", key, words![verb, "u8", format!("#{index}"), text(value)])
    }

    fn hyperloglogs(&mut self) -> Step {
        let key = self.key(Family::Hyperloglogs);
        let element = |rng: &mut Rng| text(rng.below(50_000));
        match self.rng.below(20) {
            0..17 => on("PFADD", key, words![element(&mut self.rng), element(&mut self.rng)]),
            17..19 => across("PFMERGE", vec![key, self.key(Family::Hyperloglogs)], vec![]),
            _ => on("DEL", key, vec![]),
        }
    }

    fn lists(&mut self) -> Step {
        let (key, other) = (self.key(Family::Lists), self.key(Family::Lists));
        // Few names, so that some of them are in a list twice.
        let mark = format!("mark{}", self.rng.below(4));
        match self.rng.below(32) {
            0..8 => on("RPUSH", key, words![self.value()]),
            8..13 => on("LPUSH", key, words![self.value()]),
            13..15 => on("RPUSH", key, words![mark, self.value()]),
            15 => on("RPUSHX", key, words![self.value()]),
            16 => on("LPUSHX", key, words![self.value()]),
            17..19 => on("LPOP", key, vec![]),
            19..21 => on("RPOP", key, vec![]),
            21 => on("RPOP", key, words!["2"]),
            22 => on("LTRIM", key, words![format!("-{LIST_LEN_MAX}"), "-1"]),
            23 => on("LSET", key, words!["0", self.value()]),
            24 => on("LSET", key, words!["-1", self.value()]),
            25 => on("LINSERT", key, words!["BEFORE", mark, self.value()]),
            26 => on("LINSERT", key, words!["AFTER", mark, self.value()]),
            27 => on("LREM", key, words!["0", mark]),
            28 => across("LMOVE", vec![key, other], words!["LEFT", "RIGHT"]),
            29 => across("LMOVE", vec![key, other], words!["RIGHT", "LEFT"]),
            30 => across("RPOPLPUSH", vec![key, other], vec![]),
            _ => across("LMPOP 2", vec![key, other], words!["LEFT", "COUNT", "2"]),
        }
    }

    fn hashes(&mut self) -> Step {
        let key = self.key(Family::Hashes);
        let few = self.rng.below(4);
        match self.rng.below(20) {
            0..9 => on("HSET", key, words![self.member(), self.value()]),
            9..11 => on("HSET", key, words![self.member(), self.value(), self.member(), self.value()]),
            11..14 => on("HDEL", key, words![self.member(), self.member()]),
            14..17 => on("HINCRBY", key, words![format!("number{few}"), text(self.rng.below(100))]),
            17 => on("HINCRBYFLOAT", key, words![format!("float{few}"), "0.25"]),
            _ => on("HSETNX", key, words![self.member(), self.value()]),
        }
    }

    fn sets(&mut self) -> Step {
        let (key, other) = (self.key(Family::Sets), self.key(Family::Sets));
        match self.rng.below(24) {
            0..10 => on("SADD", key, words![self.member()]),
            10..14 => on("SADD", key, words![self.member(), text(self.rng.below(MEMBERS)), self.member()]),
            14..18 => on("SREM", key, words![self.member(), self.member()]),
            18..20 => across("SMOVE", vec![key, other], words![self.member()]),
            20 => across("SUNIONSTORE", vec![key, other, self.key(Family::Sets)], vec![]),
            21 => across("SINTERSTORE", vec![key, other, self.key(Family::Sets)], vec![]),
            22 => across("SDIFFSTORE", vec![key, other, self.key(Family::Sets)], vec![]),
            // More than there are: which ones go is no question.
            _ => on("SPOP", key, words![text(10 * MEMBERS)]),
        }
    }

    fn zsets(&mut self) -> Step {
        let (key, other) = (self.key(Family::Zsets), self.key(Family::Zsets));
        let score = self.rng.below(1_000_000) as i64 - 1000;
        match self.rng.below(32) {
            0..12 => on("ZADD", key, words![text(score), self.member()]),
            12..14 => on("ZADD", key, words!["GT", "CH", text(score), self.member()]),
            14 => on("ZADD", key, words!["NX", text(score), self.member(), text(score), self.member()]),
            15 => on("ZADD", key, words!["XX", "LT", text(score), self.member()]),
            16..20 => on("ZINCRBY", key, words![text(self.rng.below(100)), self.member()]),
            20..22 => on("ZREM", key, words![self.member(), self.member()]),
            22 => on("ZPOPMIN", key, vec![]),
            23 => on("ZPOPMAX", key, words!["2"]),
            24 => on("ZREMRANGEBYRANK", key, words!["0", "1"]),
            25 => on("ZREMRANGEBYSCORE", key, words![text(score), text(score + 20_000)]),
            26 => across("ZRANGESTORE", vec![key, other], words!["0", "9"]),
            27 => across("ZMPOP 2", vec![key, other], words!["MIN", "COUNT", "2"]),
            28 | 29 => self.made_of_zsets("ZUNIONSTORE"),
            30 => self.made_of_zsets("ZINTERSTORE"),
            _ => self.made_of_zsets("ZDIFFSTORE"),
        }
    }

    /// Into a key that is no source: scores that are added to themselves again and again leave the exact numbers.
    fn made_of_zsets(&mut self, name: &str) -> Step {
        let last = Family::Zsets.keys_per_client() - 1;
        let (one, other) = (1 + self.rng.below(last), 1 + self.rng.below(last));
        let [target, one, other] = [0, one, other].map(|index| key(self.client, Family::Zsets, index));
        let words = words![name, target.clone(), "2", one.clone(), other.clone()];
        Step { keys: vec![target, one, other], words, is_timed: false }
    }

    fn places(&mut self) -> Step {
        let key = self.key(Family::Places);
        let tenths = |number: i64| format!("{}", number as f64 / 10.0);
        match self.rng.below(10) {
            0..8 => {
                let longitude = self.rng.below(3600) as i64 - 1800;
                let latitude = self.rng.below(1700) as i64 - 850;
                on("GEOADD", key, words![tenths(longitude), tenths(latitude), self.member()])
            }
            8 => on("ZREM", key, words![self.member(), self.member()]),
            _ => {
                let whole_earth = words!["FROMLONLAT", "0", "0", "BYRADIUS", "30000", "km"];
                across("GEOSEARCHSTORE", vec![key, self.key(Family::Places)], whole_earth)
            }
        }
    }

    fn streams(&mut self) -> Step {
        let key = self.key(Family::Streams);
        match self.rng.below(20) {
            0..13 => self.entry("XADD", key, vec![]),
            13 => self.entry("XADD", key, words!["NOMKSTREAM"]),
            14 => self.entry("XADD", key, words!["MAXLEN", "50"]),
            15..17 => on("XDEL", key, self.recent_ids()),
            17..19 => on("XTRIM", key, words!["MAXLEN", text(STREAM_LEN_MAX)]),
            _ => on("XSETID", key, words![id_text(self.id())]),
        }
    }

    /// A consumer is always made before something is given to him: whether that makes him differs between versions.
    fn groups(&mut self) -> Vec<Step> {
        let key = self.key(Family::Groups);
        let group = format!("group{}", self.rng.below(2));
        let consumer = format!("consumer{}", self.rng.below(3));
        let known = on("XGROUP CREATECONSUMER", key.clone(), words![group.clone(), consumer.clone()]);
        let reads = |options: Vec<Bytes>| {
            let words = [words!["XREADGROUP", "GROUP", group.clone(), consumer.clone()], options].concat();
            let words = [words, words!["STREAMS", key.clone(), ">"]].concat();
            Step { keys: vec![key.clone()], words, is_timed: false }
        };
        let claims = |name: &str, rest: Vec<Bytes>| {
            let words = [words![group.clone(), consumer.clone(), "0"], rest, words!["JUSTID"]].concat();
            on(name, key.clone(), words)
        };
        match self.rng.below(40) {
            0..14 => vec![self.entry("XADD", key, vec![])],
            14 => vec![on("XDEL", key, self.recent_ids())],
            15 => vec![on("XTRIM", key, words!["MAXLEN", text(STREAM_LEN_MAX)])],
            16..20 => vec![on("XGROUP CREATE", key, words![group, "0", "MKSTREAM"])],
            20 => vec![on("XGROUP DESTROY", key, words![group])],
            21 => {
                let back = id_text((self.number.saturating_sub(2 * IDS_TRIED), 0));
                vec![on("XGROUP SETID", key, words![group, back])]
            }
            22 => vec![on("XGROUP DELCONSUMER", key, words![group, consumer])],
            23..31 => vec![known, reads(words!["COUNT", "10"])],
            31..33 => vec![known, reads(words!["COUNT", "2", "NOACK"])],
            33..37 => vec![on("XACK", key, [words![group], self.recent_ids()].concat())],
            37..39 => vec![known, claims("XCLAIM", self.recent_ids())],
            _ => vec![known, claims("XAUTOCLAIM", words!["0-0", "COUNT", "1000"])],
        }
    }

    /// On two keys of one kind, so that types stay apart.
    fn keys(&mut self) -> Step {
        let homes: Vec<Family> = self.plan.homes().into_iter().filter(|home| !home.fades()).collect();
        let home = *self.rng.choose(&homes);
        let (key, other) = (self.key(home), self.key(home));
        let far = text(FAR_FUTURE_MS + self.number * 1000 + self.index);
        // A list that is moved onto itself keeps its time in Redis although it was empty in between.
        let has_time = matches!(home, Family::Hashes | Family::Sets | Family::Zsets | Family::Strings);
        match self.rng.below(12) {
            0..2 => across("RENAME", vec![key, other], vec![]),
            2 => across("RENAMENX", vec![key, other], vec![]),
            3 if key != other => across("COPY", vec![key, other], vec![]),
            4..6 if key != other => across("COPY", vec![key, other], words!["REPLACE"]),
            6 => across("UNLINK", vec![key, other], vec![]),
            7 => across("DEL", vec![key, other], vec![]),
            8 if has_time => on("PERSIST", key, vec![]),
            9 if has_time => on("PEXPIREAT", key, words![far, "NX"]),
            _ if has_time => on("PEXPIREAT", key, words![far]),
            _ => across("RENAME", vec![key, other], vec![]),
        }
    }

    fn expiries(&mut self) -> Step {
        let key = self.key(Family::Strings);
        let far = text(FAR_FUTURE_MS + self.number * 1000 + self.index);
        match self.rng.below(8) {
            0..2 => on("SET", key, words![self.value(), "PXAT", far]),
            2..5 => on("PEXPIREAT", key, words![far]),
            // A time that is over: the key is gone.
            5 => on("PEXPIREAT", key, words!["1"]),
            _ => on("PERSIST", key, vec![]),
        }
    }

    fn fading(&mut self) -> Vec<Step> {
        let (key, at_ms) = (self.key(Family::Fading), text(self.near_ms()));
        match self.rng.below(10) {
            0..6 => vec![on("SET", key, words![self.value(), "PXAT", at_ms])],
            6..8 => vec![
                on("SET", key.clone(), words![self.value()]),
                // It was set without a time just before: it is there.
                on("PEXPIREAT", key, words![at_ms]),
            ],
            8 => vec![on("SET", key, words![self.value()])],
            _ => vec![timed(on("DEL", key, vec![]))],
        }
    }

    fn fields(&mut self) -> Vec<Step> {
        let (key, at_ms) = (self.key(Family::Fields), text(self.near_ms()));
        let field = format!("field{}", self.rng.below(6));
        let set = timed(on("HSET", key.clone(), words![field.clone(), self.value()]));
        match self.rng.below(10) {
            0..7 => {
                let fade = on("HPEXPIREAT", key, words![at_ms, "FIELDS", "1", field]);
                vec![set, timed(fade)]
            }
            7 => vec![set],
            _ => vec![timed(on("HDEL", key, words![field]))],
        }
    }

    // --- What the families need -----------------------------------------------------------------------------

    fn key(&mut self, home: Family) -> Bytes {
        key(self.client, home, self.rng.below(home.keys_per_client()))
    }

    fn member(&mut self) -> Bytes {
        format!("member{}", self.rng.below(MEMBERS)).into_bytes()
    }

    /// Mostly short, sometimes longer than any buffer a server might use whole.
    fn value(&mut self) -> Bytes {
        let size = match self.rng.below(200) {
            0 => 20_000,
            1..20 => 1_000,
            _ => self.rng.below(64) as usize,
        };
        let mut value = format!("{}.{}.{}:", self.client, self.number, self.index).into_bytes();
        value.resize(value.len() + size, b'a' + (self.number % 26) as u8);
        value
    }

    /// When something goes by itself.
    fn near_ms(&mut self) -> u64 {
        let after = if self.rng.below(2) == 0 { SOON_MS } else { LATER_MS };
        self.plan.epoch_ms + self.rng.below(after)
    }

    /// Higher than all before it.
    fn id(&self) -> StreamId {
        (self.number + 1, self.index)
    }

    fn entry(&mut self, name: &str, key: Bytes, options: Vec<Bytes>) -> Step {
        let entry = words![id_text(self.id()), "field", self.value()];
        on(name, key, [options, entry].concat())
    }

    fn recent_ids(&self) -> Vec<Bytes> {
        let first = self.number.saturating_sub(IDS_TRIED);
        (first..=self.number).map(|number| id_text((number, 0)).into_bytes()).collect()
    }
}

fn id_text(id: StreamId) -> String {
    format!("{}-{}", id.0, id.1)
}
