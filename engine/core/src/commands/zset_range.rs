//! Ranges of sorted sets: by rank, by score, by name; given, stored, counted, removed.
//!
//! Every range becomes one of ranks, from which the rest follows: its length is a count, its two ends are what LIMIT and
//! REV move.
//!
//! Not here: single members (`zset.rs`), how ranks are found (`store/zset.rs`).

use core::ops::{Bound, Range};

use super::{
    Args, Call, Command, CommandResult, KeySpec, parse_int,
    spec::{acl, flag, key_flag},
    zset::{reply_members, settle_removal, store_result},
};
use crate::{
    bytes::number,
    error::{Error, SYNTAX},
    store::zset::{LexBound, ZSet},
};

const READ_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];
const O_LOG: &str = "O(log(N)) where N is the size of the sorted set.";
const O_RANGE: &str =
    "O(log(N)+M) where N is the size of the sorted set and M the number of members in the range.";

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("zcount", 4, flag::READONLY | flag::FAST, zcount).keys(READ_KEY).acl(acl::SORTEDSET).doc(
        "sorted-set",
        "2.0.0",
        "Counts the members with scores in a range.",
        O_LOG,
    ),
    Command::run("zlexcount", 4, flag::READONLY | flag::FAST, zlexcount)
        .keys(READ_KEY)
        .acl(acl::SORTEDSET)
        .doc(
            "sorted-set",
            "2.8.9",
            "Counts the members with names in a range, where all scores are equal.",
            O_LOG,
        ),
    Command::run("zrange", -4, flag::READONLY, zrange).keys(READ_KEY).acl(acl::SORTEDSET).doc(
        "sorted-set",
        "1.2.0",
        "Gives the members in a range of ranks, scores or names.",
        O_RANGE,
    ),
    Command::run("zrangebylex", -4, flag::READONLY, zrangebylex)
        .keys(READ_KEY)
        .acl(acl::SORTEDSET)
        .doc(
            "sorted-set",
            "2.8.9",
            "Gives the members with names in a range, where all scores are equal.",
            O_RANGE,
        )
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument"),
    Command::run("zrangebyscore", -4, flag::READONLY, zrangebyscore)
        .keys(READ_KEY)
        .acl(acl::SORTEDSET)
        .doc("sorted-set", "1.0.5", "Gives the members with scores in a range.", O_RANGE)
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument"),
    Command::run("zrangestore", -5, flag::WRITE | flag::DENYOOM, zrangestore)
        .keys(&[
            KeySpec::one(1, key_flag::OW | key_flag::UPDATE),
            KeySpec::one(2, key_flag::RO | key_flag::ACCESS),
        ])
        .acl(acl::SORTEDSET)
        .doc("sorted-set", "6.2.0", "Stores the members in a range of ranks, scores or names.", O_RANGE),
    Command::run("zremrangebylex", 4, flag::WRITE, zremrangebylex)
        .keys(&[KeySpec::one(1, key_flag::RW | key_flag::DELETE)])
        .acl(acl::SORTEDSET)
        .doc(
            "sorted-set",
            "2.8.9",
            "Removes the members with names in a range, where all scores are equal.",
            O_RANGE,
        ),
    Command::run("zremrangebyrank", 4, flag::WRITE, zremrangebyrank)
        .keys(&[KeySpec::one(1, key_flag::RW | key_flag::DELETE)])
        .acl(acl::SORTEDSET)
        .doc("sorted-set", "2.0.0", "Removes the members with ranks in a range.", O_RANGE),
    Command::run("zremrangebyscore", 4, flag::WRITE, zremrangebyscore)
        .keys(&[KeySpec::one(1, key_flag::RW | key_flag::DELETE)])
        .acl(acl::SORTEDSET)
        .doc("sorted-set", "1.2.0", "Removes the members with scores in a range.", O_RANGE),
    Command::run("zrevrange", -4, flag::READONLY, zrevrange)
        .keys(READ_KEY)
        .acl(acl::SORTEDSET)
        .doc(
            "sorted-set",
            "1.2.0",
            "Gives the members in a range of ranks, counted from the highest score.",
            O_RANGE,
        )
        .deprecated("6.2.0", "`ZRANGE` with the `REV` argument"),
    Command::run("zrevrangebylex", -4, flag::READONLY, zrevrangebylex)
        .keys(READ_KEY)
        .acl(acl::SORTEDSET)
        .doc(
            "sorted-set",
            "2.8.9",
            "Gives the members with names in a range, the last first, where all scores are equal.",
            O_RANGE,
        )
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments"),
    Command::run("zrevrangebyscore", -4, flag::READONLY, zrevrangebyscore)
        .keys(READ_KEY)
        .acl(acl::SORTEDSET)
        .doc("sorted-set", "2.2.0", "Gives the members with scores in a range, the highest first.", O_RANGE)
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments"),
];

/// What a range is a range of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range of members, its lower end first.
enum Interval<'a> {
    /// From first to last, both included, from the end if negative.
    Rank(i64, i64),
    Score(Bound<f64>, Bound<f64>),
    Lex(LexBound<'a>, LexBound<'a>),
}

impl<'a> Interval<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Interval<'a>, Error> {
        Ok(match by {
            By::Rank => Interval::Rank(parse_int(min)?, parse_int(max)?),
            By::Score => Interval::Score(parse_score_bound(min)?, parse_score_bound(max)?),
            By::Lex => Interval::Lex(parse_lex_bound(min)?, parse_lex_bound(max)?),
        })
    }

    /// The ranks of the members that are in it; counted from the highest if `is_reverse` and it is one of ranks.
    fn ranks(&self, zset: &ZSet, is_reverse: bool) -> Range<usize> {
        match *self {
            Interval::Score(min, max) => zset.ranks_by_score((min, max)),
            Interval::Lex(min, max) => zset.ranks_by_lex(min, max),
            Interval::Rank(first, last) => {
                let len = zset.len();
                let ranks = ranks_of(first, last, len);
                if is_reverse { len - ranks.end..len - ranks.start } else { ranks }
            }
        }
    }
}

/// The ranks from `first` to `last` inclusive that a set of `len` members has.
fn ranks_of(first: i64, last: i64, len: usize) -> Range<usize> {
    let from_front = |rank: i64| if rank < 0 { rank.saturating_add(len as i64) } else { rank };
    let (first, last) = (from_front(first).max(0), from_front(last));
    if first > last || first >= len as i64 {
        return 0..0;
    }
    first as usize..(last as usize + 1).min(len)
}

/// `1.5`, `(1.5` without the score itself, `-inf`.
fn parse_score_bound(text: &[u8]) -> Result<Bound<f64>, Error> {
    let (is_excluded, text) = match text {
        [b'(', rest @ ..] => (true, rest),
        text => (false, text),
    };
    let score = parse_like_c(text).ok_or(Error::new("ERR min or max is not a float"))?;
    Ok(if is_excluded { Bound::Excluded(score) } else { Bound::Included(score) })
}

/// As C's `strtod` would: nothing is zero, blanks before the number do not matter, too large is infinite.
fn parse_like_c(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii_start();
    if text.is_empty() {
        return Some(0.0);
    }
    let lenient = core::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    lenient.or_else(|| number::parse_f64(text)).filter(|score| !score.is_nan())
}

/// `-`, `+`, `[name`, or `(name` without the name itself.
fn parse_lex_bound(text: &[u8]) -> Result<LexBound<'_>, Error> {
    match text {
        b"-" => Ok(LexBound::Least),
        b"+" => Ok(LexBound::Greatest),
        [b'[', name @ ..] => Ok(LexBound::Included(name)),
        [b'(', name @ ..] => Ok(LexBound::Excluded(name)),
        _ => Err(Error::new("ERR min or max not valid string range item")),
    }
}

// --- ZRANGE and its kin ---------------------------------------------------------------------------

/// What a command of ZRANGE's kin fixes, and options therefore cannot.
#[derive(Clone, Copy, Default)]
struct Form {
    by: Option<By>,
    is_reverse: Option<bool>,
    is_stored: bool,
}

impl Form {
    const fn fixed(by: By, is_reverse: bool) -> Form {
        Form { by: Some(by), is_reverse: Some(is_reverse), is_stored: false }
    }
}

/// Which members are wanted, and how.
struct Query<'a> {
    interval: Interval<'a>,
    is_reverse: bool,
    /// How many to leave out first; none is left over if negative.
    offset: i64,
    /// How many to give at most; all if negative.
    count: i64,
    with_scores: bool,
}

impl<'a> Query<'a> {
    /// Arguments from the source key on.
    fn parse(args: Args<'a>, form: Form) -> Result<Query<'a>, Error> {
        let (mut by, mut is_reverse) = (form.by, form.is_reverse);
        let (mut offset, mut count, mut with_scores) = (0, -1, false);
        let mut rest = &args[3..];
        while let [word, after @ ..] = rest {
            rest = after;
            match (&*word.to_ascii_lowercase(), after) {
                (b"withscores", _) if !form.is_stored => with_scores = true,
                (b"limit", [first, second, after @ ..]) => {
                    (offset, count) = (parse_int(first)?, parse_int(second)?);
                    rest = after;
                }
                (b"rev", _) if is_reverse.is_none() => is_reverse = Some(true),
                (b"bylex", _) if by.is_none() => by = Some(By::Lex),
                (b"byscore", _) if by.is_none() => by = Some(By::Score),
                _ => return Err(SYNTAX),
            }
        }
        let (by, is_reverse) = (by.unwrap_or(By::Rank), is_reverse.unwrap_or(false));
        if count != -1 && by == By::Rank {
            return Err(Error::new(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(Error::new("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        let (min, max) = if is_reverse && by != By::Rank { (args[2], args[1]) } else { (args[1], args[2]) };
        let interval = Interval::parse(by, min, max)?;
        // LIMIT without a count is accepted for ranks, and means nothing.
        let offset = if by == By::Rank { 0 } else { offset };
        Ok(Query { interval, is_reverse, offset, count, with_scores })
    }

    /// The ranks wanted, LIMIT included.
    fn ranks(&self, zset: &ZSet) -> Range<usize> {
        let all = self.interval.ranks(zset, self.is_reverse);
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX).min(all.len());
        let count = usize::try_from(self.count).unwrap_or(usize::MAX).min(all.len() - offset);
        if self.is_reverse {
            all.end - offset - count..all.end - offset
        } else {
            all.start + offset..all.start + offset + count
        }
    }
}

fn zrange(call: &mut Call) -> CommandResult {
    reply_range(call, Form::default())
}

fn zrevrange(call: &mut Call) -> CommandResult {
    reply_range(call, Form::fixed(By::Rank, true))
}

fn zrangebyscore(call: &mut Call) -> CommandResult {
    reply_range(call, Form::fixed(By::Score, false))
}

fn zrevrangebyscore(call: &mut Call) -> CommandResult {
    reply_range(call, Form::fixed(By::Score, true))
}

fn zrangebylex(call: &mut Call) -> CommandResult {
    reply_range(call, Form::fixed(By::Lex, false))
}

fn zrevrangebylex(call: &mut Call) -> CommandResult {
    reply_range(call, Form::fixed(By::Lex, true))
}

fn reply_range(call: &mut Call, form: Form) -> CommandResult {
    let query = Query::parse(&call.args[1..], form)?;
    let Some(zset) = call.store.get::<ZSet>(call.args[1])? else {
        call.reply.array(0);
        return Ok(());
    };
    let members = zset.range(query.ranks(zset));
    if query.is_reverse {
        reply_members(call.reply, members.rev(), query.with_scores);
    } else {
        reply_members(call.reply, members, query.with_scores);
    }
    Ok(())
}

fn zrangestore(call: &mut Call) -> CommandResult {
    let query = Query::parse(&call.args[2..], Form { is_stored: true, ..Form::default() })?;
    let limits = call.store.limits.clone();
    let mut result = ZSet::new();
    if let Some(zset) = call.store.get::<ZSet>(call.args[2])? {
        for (member, score) in zset.range(query.ranks(zset)) {
            result.insert(member.text(&mut Default::default()), score, &limits);
        }
    }
    store_result(call, call.args[1], result, "zrangestore");
    Ok(())
}

// --- Counting and removing ------------------------------------------------------------------------

fn zcount(call: &mut Call) -> CommandResult {
    count(call, By::Score)
}

fn zlexcount(call: &mut Call) -> CommandResult {
    count(call, By::Lex)
}

fn count(call: &mut Call, by: By) -> CommandResult {
    let interval = Interval::parse(by, call.args[2], call.args[3])?;
    let count = call.store.get::<ZSet>(call.args[1])?.map_or(0, |zset| interval.ranks(zset, false).len());
    call.reply.integer(count as i64);
    Ok(())
}

fn zremrangebyrank(call: &mut Call) -> CommandResult {
    remove(call, By::Rank, "zremrangebyrank")
}

fn zremrangebyscore(call: &mut Call) -> CommandResult {
    remove(call, By::Score, "zremrangebyscore")
}

fn zremrangebylex(call: &mut Call) -> CommandResult {
    remove(call, By::Lex, "zremrangebylex")
}

fn remove(call: &mut Call, by: By, event: &'static str) -> CommandResult {
    let interval = Interval::parse(by, call.args[2], call.args[3])?;
    let key = call.args[1];
    let edited = call.store.edit(key, |zset: &mut ZSet| zset.remove_range(interval.ranks(zset, false)))?;
    let removed = edited.value().unwrap_or(0);
    settle_removal(call, key, &edited, removed, event);
    call.reply.integer(removed as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{
        commands::testing::{Bench, check},
        resp::Protocol,
        store::Limits,
    };

    /// Runs the same on listpacks and on indexes.
    #[track_caller]
    fn check_both(commands: &[(&str, &str)]) {
        check(commands);
        let mut bench = Bench::new();
        bench.store.limits = Limits { zset_listpack_entries_max: 0, ..Limits::default() };
        bench.check(commands);
    }

    #[test]
    fn ranges_of_ranks() {
        check_both(&[
            ("ZADD z 1 a 2 b 3 c", ":3"),
            ("ZRANGE z 0 -1", "[\"a\", \"b\", \"c\"]"),
            ("ZRANGE z 0 0 WITHSCORES", "[\"a\", \"1\"]"),
            ("ZRANGE z -2 -1", "[\"b\", \"c\"]"),
            ("ZRANGE z -9 9", "[\"a\", \"b\", \"c\"]"),
            ("ZRANGE z 2 1", "[]"),
            ("ZRANGE z 3 9", "[]"),
            ("ZRANGE z 0 -4", "[]"),
            ("ZRANGE z 9223372036854775807 -9223372036854775808", "[]"),
            ("ZRANGE z 0 1 REV", "[\"c\", \"b\"]"),
            ("ZREVRANGE z 0 1", "[\"c\", \"b\"]"),
            ("ZREVRANGE z -1 -1 WITHSCORES", "[\"a\", \"1\"]"),
            ("ZRANGE none 0 -1", "[]"),
            ("ZRANGE z 0 -1 LIMIT 2 -1", "[\"a\", \"b\", \"c\"]"),
        ]);
    }

    #[test]
    fn ranges_of_scores() {
        check_both(&[
            ("ZADD z 1 a 2 b 3 c", ":3"),
            ("ZRANGEBYSCORE z 1 2", "[\"a\", \"b\"]"),
            ("ZRANGEBYSCORE z (1 2", "[\"b\"]"),
            ("ZRANGEBYSCORE z -inf (3 WITHSCORES", "[\"a\", \"1\", \"b\", \"2\"]"),
            ("ZRANGEBYSCORE z 3 1", "[]"),
            ("ZRANGEBYSCORE z -inf +inf LIMIT 1 1", "[\"b\"]"),
            ("ZRANGEBYSCORE z -inf +inf LIMIT 1 -1", "[\"b\", \"c\"]"),
            ("ZRANGEBYSCORE z -inf +inf LIMIT -1 5", "[]"),
            ("ZRANGEBYSCORE z -inf +inf LIMIT 9 5", "[]"),
            ("ZRANGEBYSCORE z \"\" \" 1\"", "[\"a\"]"),
            ("ZREVRANGEBYSCORE z +inf 2", "[\"c\", \"b\"]"),
            ("ZREVRANGEBYSCORE z 3 (1 LIMIT 1 5", "[\"b\"]"),
            ("ZRANGE z (1 inf BYSCORE", "[\"b\", \"c\"]"),
            ("ZRANGE z inf (1 BYSCORE REV LIMIT 0 1 WITHSCORES", "[\"c\", \"3\"]"),
            ("ZCOUNT z (1 3", ":2"),
            ("ZCOUNT z 4 3", ":0"),
            ("ZCOUNT none 1 3", ":0"),
        ]);
    }

    #[test]
    fn ranges_of_names() {
        check_both(&[
            ("ZADD z 0 a 0 b 0 c 0 d", ":4"),
            ("ZRANGEBYLEX z - +", "[\"a\", \"b\", \"c\", \"d\"]"),
            ("ZRANGEBYLEX z [b (d", "[\"b\", \"c\"]"),
            ("ZRANGEBYLEX z (b +", "[\"c\", \"d\"]"),
            ("ZRANGEBYLEX z + -", "[]"),
            ("ZRANGEBYLEX z - + LIMIT 1 2", "[\"b\", \"c\"]"),
            ("ZREVRANGEBYLEX z + [c", "[\"d\", \"c\"]"),
            ("ZREVRANGEBYLEX z + - LIMIT 1 2", "[\"c\", \"b\"]"),
            ("ZRANGE z [b [c BYLEX", "[\"b\", \"c\"]"),
            ("ZRANGE z [c [b BYLEX REV", "[\"c\", \"b\"]"),
            ("ZLEXCOUNT z - +", ":4"),
            ("ZLEXCOUNT z (a (c", ":1"),
            ("ZLEXCOUNT none - +", ":0"),
        ]);
    }

    #[test]
    fn wrong_ranges_are_refused() {
        let syntax = "-ERR syntax error";
        let not_float = "-ERR min or max is not a float";
        let not_name = "-ERR min or max not valid string range item";
        let limit = "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
        let scores = "-ERR syntax error, WITHSCORES not supported in combination with BYLEX";
        check(&[
            ("ZRANGE z a 1", "-ERR value is not an integer or out of range"),
            ("ZRANGE z 0 1 LIMIT 0 1", limit),
            ("ZRANGE z 0 1 LIMIT 0", syntax),
            ("ZRANGE z 0 1 LIMIT a b", "-ERR value is not an integer or out of range"),
            ("ZRANGE z 0 1 BYSCORE BYLEX", syntax),
            ("ZRANGE z 0 1 REV REV", syntax),
            ("ZRANGE z 0 1 FOO", syntax),
            ("ZRANGE z - + BYLEX WITHSCORES", scores),
            ("ZRANGEBYLEX z - + WITHSCORES", scores),
            ("ZREVRANGE z 0 1 REV", syntax),
            ("ZRANGEBYSCORE z 0 1 BYSCORE", syntax),
            ("ZRANGEBYSCORE z a 1", not_float),
            ("ZRANGEBYSCORE z 1 nan", not_float),
            ("ZRANGEBYSCORE z ((1 2", not_float),
            ("ZCOUNT z 1 x", not_float),
            ("ZRANGEBYLEX z a b", not_name),
            ("ZRANGEBYLEX z -a +", not_name),
            ("ZLEXCOUNT z \"\" +", not_name),
            ("ZREMRANGEBYSCORE z a 1", not_float),
            ("ZREMRANGEBYLEX z a 1", not_name),
            ("ZREMRANGEBYRANK z a 1", "-ERR value is not an integer or out of range"),
            ("ZRANGESTORE d z 0 1 WITHSCORES", syntax),
        ]);
        let mut bench = Bench::new();
        bench.run("SET s v");
        for command in [
            "ZRANGE s 0 1",
            "ZREVRANGE s 0 1",
            "ZRANGEBYSCORE s 0 1",
            "ZREVRANGEBYSCORE s 0 1",
            "ZRANGEBYLEX s - +",
            "ZREVRANGEBYLEX s + -",
            "ZCOUNT s 0 1",
            "ZLEXCOUNT s - +",
            "ZREMRANGEBYRANK s 0 1",
            "ZREMRANGEBYSCORE s 0 1",
            "ZREMRANGEBYLEX s - +",
            "ZRANGESTORE d s 0 1",
        ] {
            let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
            assert_eq!(bench.run(command), wrong, "{command}");
        }
    }

    #[test]
    fn ranges_are_removed() {
        check_both(&[
            ("ZADD z 1 a 2 b 3 c 4 d 5 e", ":5"),
            ("ZREMRANGEBYRANK z 0 0", ":1"),
            ("ZREMRANGEBYRANK z 7 9", ":0"),
            ("ZREMRANGEBYSCORE z (2 3", ":1"),
            ("ZRANGE z 0 -1", "[\"b\", \"d\", \"e\"]"),
            ("ZREMRANGEBYLEX z [e +", ":1"),
            ("ZREMRANGEBYRANK z -1 -1", ":1"),
            ("ZREMRANGEBYSCORE z -inf inf", ":1"),
            ("EXISTS z", ":0"),
            ("ZREMRANGEBYLEX z - +", ":0"),
        ]);
    }

    #[test]
    fn ranges_are_stored() {
        check_both(&[
            ("ZADD z 1 a 2 b 3 c", ":3"),
            ("SET d v EX 10", "+OK"),
            ("ZRANGESTORE d z 0 1", ":2"),
            ("ZRANGE d 0 -1 WITHSCORES", "[\"a\", \"1\", \"b\", \"2\"]"),
            ("TTL d", ":-1"),
            ("ZRANGESTORE d z 3 2 BYSCORE REV LIMIT 0 1", ":1"),
            ("ZRANGE d 0 -1", "[\"c\"]"),
            ("ZRANGESTORE z z 1 1", ":1"),
            ("ZRANGE z 0 -1", "[\"b\"]"),
            ("ZRANGESTORE d none 0 -1", ":0"),
            ("EXISTS d", ":0"),
        ]);
    }

    #[test]
    fn replies_in_resp3() {
        let mut bench = Bench::new();
        bench.protocol = Protocol::Resp3;
        bench.check(&[
            ("ZADD z 1 a 2.5 b", ":2"),
            ("ZRANGE z 0 -1", "[\"a\", \"b\"]"),
            ("ZRANGE z 0 -1 WITHSCORES", "[[\"a\", ,1], [\"b\", ,2.5]]"),
            ("ZREVRANGEBYSCORE z 5 2 WITHSCORES", "[[\"b\", ,2.5]]"),
        ]);
    }

    #[test]
    fn writes_are_announced_and_logged_as_typed() {
        let mut bench = Bench::new();
        bench.run("ZADD z 1 a 2 b 3 c 4 d");
        bench.events();
        for (command, events) in [
            ("ZRANGESTORE d z 0 0", &["new d", "zrangestore d"][..]),
            ("ZRANGESTORE d z 9 9", &["del d"]),
            ("ZREMRANGEBYRANK z 0 0", &["zremrangebyrank z"]),
            ("ZREMRANGEBYSCORE z 2 2", &["zremrangebyscore z"]),
            ("ZREMRANGEBYLEX z - +", &["zremrangebylex z", "del z"]),
        ] {
            bench.logs(command, &[command]);
            assert_eq!(bench.events(), events, "{command}");
        }
        bench.logs("ZRANGESTORE d z 9 9", &[]);
    }
}
