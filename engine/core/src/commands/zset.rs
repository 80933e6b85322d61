//! Sorted sets: members with scores, one by one, by rank, taken from either end, at random.
//!
//! Always true: what is logged of a pop names the key it came from and how many members went.
//!
//! Not here: ranges (`zset_range.rs`), unions and the like (`zset_algebra.rs`), what a sorted set is in memory
//! (`store/zset.rs`).

use alloc::{format, vec::Vec};

use perdura_structures::{listpack::Item, sorted_set::Insertion};

use super::{
    Args, Call, Command, CommandResult, KeySpec, TimeoutReply,
    hash::{RandomCount, begin_pair, distinct_indexes, scan_for},
    parse_count, reply_item,
    scan::{ScanOptions, parse_cursor, reply_cursor},
    spec::{acl, flag, key_flag},
};
use crate::{
    bytes::number::{self, DecimalBuffer, format_u64},
    error::{COUNT_NOT_POSITIVE, Error, KEY_COUNT_NOT_POSITIVE, NOT_A_FLOAT, SYNTAX, wrong_arity},
    resp::{Protocol, Reply},
    rng::Rng,
    store::{Class, Edited, Kind, Limits, Type, Value, zset::ZSet},
};

const READ: u32 = flag::READONLY | flag::FAST;
const BLOCKING: u32 = flag::WRITE | flag::BLOCKING | flag::FAST;
const POP: u32 = key_flag::RW | key_flag::ACCESS | key_flag::DELETE;
const POP_KEY: &[KeySpec] = &[KeySpec::one(1, POP)];
const POP_KEYS: &[KeySpec] = &[KeySpec::range(1, -2, 1, POP)];
const LOOK_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RO)];
const READ_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];
const ANY_OUTPUT: &[&str] = &["nondeterministic_output"];
const O_LOG: &str = "O(log(N)) where N is the size of the sorted set.";
const O_POP: &str = "O(M*log(N)) where M is the number of members taken and N the size of the sorted set.";
const O_MPOP: &str = "O(K) + O(M*log(N)) where K is the number of keys, M that of members taken and N the size of the sorted set.";

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("bzmpop", -5, flag::WRITE | flag::BLOCKING | flag::MOVABLE_KEYS, bzmpop).keys(&[KeySpec::counted(2, POP)]).acl(acl::SORTEDSET).doc("sorted-set", "7.0.0", "Takes the members with the lowest or highest scores out of the first sorted set that has any, and waits for one.", O_MPOP),
    Command::run("bzpopmax", -3, BLOCKING, bzpopmax).keys(POP_KEYS).acl(acl::SORTEDSET).doc("sorted-set", "5.0.0", "Takes the member with the highest score out of the first sorted set that has any, and waits for one.", O_LOG),
    Command::run("bzpopmin", -3, BLOCKING, bzpopmin).keys(POP_KEYS).acl(acl::SORTEDSET).doc("sorted-set", "5.0.0", "Takes the member with the lowest score out of the first sorted set that has any, and waits for one.", O_LOG),
    Command::run("zadd", -4, flag::WRITE | flag::DENYOOM | flag::FAST, zadd).keys(&[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)]).acl(acl::SORTEDSET).doc("sorted-set", "1.2.0", "Adds members to a sorted set, or gives them other scores.", "O(M*log(N)) where M is the number of members named and N the size of the sorted set."),
    Command::run("zcard", 2, READ, zcard).keys(LOOK_KEY).acl(acl::SORTEDSET).doc("sorted-set", "1.2.0", "Gives the number of members of a sorted set.", "O(1)"),
    Command::run("zincrby", 4, flag::WRITE | flag::DENYOOM | flag::FAST, zincrby).keys(&[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)]).acl(acl::SORTEDSET).doc("sorted-set", "1.2.0", "Adds a number to the score of a member, which is 0 if there is none.", O_LOG),
    Command::run("zmpop", -4, flag::WRITE | flag::MOVABLE_KEYS, zmpop).keys(&[KeySpec::counted(1, POP)]).acl(acl::SORTEDSET).doc("sorted-set", "7.0.0", "Takes the members with the lowest or highest scores out of the first sorted set that has any.", O_MPOP),
    Command::run("zmscore", -3, READ, zmscore).keys(READ_KEY).acl(acl::SORTEDSET).doc("sorted-set", "6.2.0", "Gives the scores of several members.", "O(N) where N is the number of members named."),
    Command::run("zpopmax", -2, flag::WRITE | flag::FAST, zpopmax).keys(POP_KEY).acl(acl::SORTEDSET).doc("sorted-set", "5.0.0", "Takes the members with the highest scores out of a sorted set.", O_POP),
    Command::run("zpopmin", -2, flag::WRITE | flag::FAST, zpopmin).keys(POP_KEY).acl(acl::SORTEDSET).doc("sorted-set", "5.0.0", "Takes the members with the lowest scores out of a sorted set.", O_POP),
    Command::run("zrandmember", -2, flag::READONLY, zrandmember).keys(READ_KEY).acl(acl::SORTEDSET).doc("sorted-set", "6.2.0", "Gives members of a sorted set at random.", "O(N) where N is the number of members given.").tips(ANY_OUTPUT),
    Command::run("zrank", -3, READ, zrank).keys(READ_KEY).acl(acl::SORTEDSET).doc("sorted-set", "2.0.0", "Tells how many members of a sorted set come before one.", O_LOG),
    Command::run("zrem", -3, flag::WRITE | flag::FAST, zrem).keys(&[KeySpec::one(1, key_flag::RW | key_flag::DELETE)]).acl(acl::SORTEDSET).doc("sorted-set", "1.2.0", "Removes members from a sorted set, and the key with the last of them.", "O(M*log(N)) where M is the number of members named and N the size of the sorted set."),
    Command::run("zrevrank", -3, READ, zrevrank).keys(READ_KEY).acl(acl::SORTEDSET).doc("sorted-set", "2.0.0", "Tells how many members of a sorted set come behind one.", O_LOG),
    Command::run("zscan", -3, flag::READONLY, zscan).keys(READ_KEY).acl(acl::SORTEDSET).doc("sorted-set", "2.8.0", "Gives some of the members of a sorted set and a cursor for the rest.", "O(1) for every call. O(N) for a complete iteration, until the cursor is 0 again.").tips(ANY_OUTPUT),
    Command::run("zscore", 3, READ, zscore).keys(READ_KEY).acl(acl::SORTEDSET).doc("sorted-set", "1.2.0", "Gives the score of a member.", "O(1)"),
];

// --- Reading ------------------------------------------------------------------------------------

fn zcard(call: &mut Call) -> CommandResult {
    let len = call.store.get::<ZSet>(call.args[1])?.map_or(0, ZSet::len);
    call.reply.integer(len as i64);
    Ok(())
}

fn zscore(call: &mut Call) -> CommandResult {
    let score = call.store.get::<ZSet>(call.args[1])?.and_then(|zset| zset.score(call.args[2]));
    reply_score(call.reply, score);
    Ok(())
}

fn zmscore(call: &mut Call) -> CommandResult {
    let zset = call.store.get::<ZSet>(call.args[1])?;
    call.reply.array(call.args.len() - 2);
    for member in &call.args[2..] {
        reply_score(call.reply, zset.and_then(|zset| zset.score(member)));
    }
    Ok(())
}

fn reply_score(reply: &mut Reply, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

fn zrank(call: &mut Call) -> CommandResult {
    reply_rank(call, "zrank", |_, rank| rank)
}

fn zrevrank(call: &mut Call) -> CommandResult {
    reply_rank(call, "zrevrank", |len, rank| len - 1 - rank)
}

fn reply_rank(call: &mut Call, command: &str, show: impl Fn(usize, usize) -> usize) -> CommandResult {
    if call.args.len() > 4 {
        return Err(wrong_arity(command));
    }
    let with_score = call.args.len() == 4;
    if with_score && !call.is_word(3, "withscore") {
        return Err(SYNTAX);
    }
    let member = call.args[2];
    let zset = call.store.get::<ZSet>(call.args[1])?;
    let found = zset.and_then(|zset| Some((show(zset.len(), zset.rank(member)?), zset.score(member)?)));
    match found {
        Some((rank, score)) if with_score => {
            call.reply.array(2);
            call.reply.integer(rank as i64);
            call.reply.double(score);
        }
        Some((rank, _)) => call.reply.integer(rank as i64),
        None if with_score => call.reply.null_array(),
        None => call.reply.null(),
    }
    Ok(())
}

fn zscan(call: &mut Call) -> CommandResult {
    let cursor = parse_cursor(call.args[2])?;
    let Some(zset) = call.store.get::<ZSet>(call.args[1])? else {
        // Options of a scan through nothing are not looked at.
        reply_cursor(call.reply, 0);
        call.reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::of_collection(call.args)?;
    // What Redis keeps in a skip list it prints with all digits here.
    let show = if matches!(zset, ZSet::Listpack(_)) { number::format_double } else { format_17_digits };
    let mut found = Reply::new(call.reply.protocol());
    let mut count = 0;
    let cursor = scan_for(cursor, options.count, |cursor, seen| {
        zset.scan(cursor, &mut |member, score| {
            *seen += 1;
            if options.matches(member.text(&mut Default::default())) {
                reply_item(&mut found, member);
                found.bulk(&show(score));
                count += 2;
            }
        })
    });
    reply_cursor(call.reply, cursor);
    call.reply.array(count);
    call.reply.raw(found.as_bytes());
    Ok(())
}

/// A score as C's `%.17g` prints it.
fn format_17_digits(score: f64) -> Vec<u8> {
    if score == 0.0 || score.is_infinite() {
        return number::format_double(score);
    }
    let text = format!("{:.16e}", score.abs());
    let (mantissa, power) = text.split_once('e').expect("`{:e}` always prints an exponent");
    let power: i32 = power.parse().expect("an exponent is an integer");
    let all_digits = mantissa.replace('.', "");
    let digits = all_digits.trim_end_matches('0');
    let sign = if score < 0.0 { "-" } else { "" };
    let zeros = |count: i32| "0".repeat(count.max(0) as usize);
    let shown = if !(-4..17).contains(&power) {
        let point = if digits.len() > 1 { "." } else { "" };
        let power_sign = if power < 0 { '-' } else { '+' };
        format!("{}{point}{}e{power_sign}{:02}", &digits[..1], &digits[1..], power.abs())
    } else if power < 0 {
        format!("0.{}{digits}", zeros(-power - 1))
    } else {
        let whole_count = power as usize + 1;
        if digits.len() <= whole_count {
            format!("{digits}{}", zeros((whole_count - digits.len()) as i32))
        } else {
            format!("{}.{}", &digits[..whole_count], &digits[whole_count..])
        }
    };
    format!("{sign}{shown}").into_bytes()
}

fn zrandmember(call: &mut Call) -> CommandResult {
    let wanted = RandomCount::parse(call, "withscores")?;
    let seed = call.store.rng.next_u64();
    let zset = call.store.get::<ZSet>(call.args[1])?;
    let mut rng = Rng::from_seed(seed);
    let Some(wanted) = wanted else {
        match zset.and_then(|zset| zset.get(rng.index(zset.len()))) {
            Some((member, _)) => reply_item(call.reply, member),
            None => call.reply.null(),
        }
        return Ok(());
    };
    match zset {
        Some(zset) if !wanted.is_distinct => {
            let picks =
                (0..wanted.count).map(|_| zset.get(rng.index(zset.len())).expect("a rank below the length"));
            reply_members(call.reply, picks, wanted.has_more);
        }
        zset => {
            let members = zset.map_or(Vec::new(), |zset| random_members(zset, wanted.count, &mut rng));
            reply_members(call.reply, members.into_iter(), wanted.has_more);
        }
    }
    Ok(())
}

/// Different members, all there are if that is fewer than `count`.
fn random_members<'a>(zset: &'a ZSet, count: usize, rng: &mut Rng) -> Vec<(Item<'a>, f64)> {
    if count >= zset.len() {
        return zset.iter().collect();
    }
    let ranks = distinct_indexes(zset.len(), count, rng).into_iter();
    ranks.map(|rank| zset.get(rank).expect("a rank below the length")).collect()
}

/// Writes members, perhaps with their scores: one list in RESP2, pairs in RESP3.
pub(super) fn reply_members<'a>(
    reply: &mut Reply,
    members: impl Iterator<Item = (Item<'a>, f64)>,
    with_scores: bool,
) {
    let begun = reply.defer_len();
    let is_flat = with_scores && reply.protocol() == Protocol::Resp2;
    let mut count = 0;
    for (member, score) in members {
        // Random members may be a billion, however small the sorted set is.
        if reply.is_overlong() {
            break;
        }
        begin_pair(reply, with_scores);
        reply_item(reply, member);
        if with_scores {
            reply.double(score);
        }
        count += if is_flat { 2 } else { 1 };
    }
    reply.array_deferred(begun, count);
}

// --- Adding -------------------------------------------------------------------------------------

/// Options of ZADD.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct AddOptions {
    only_if_absent: bool,
    only_if_present: bool,
    only_greater: bool,
    only_less: bool,
    counts_changes: bool,
    is_increment: bool,
}

impl AddOptions {
    /// Takes the option in, if the word is one.
    fn take(&mut self, word: &[u8]) -> bool {
        match &*word.to_ascii_lowercase() {
            b"nx" => self.only_if_absent = true,
            b"xx" => self.only_if_present = true,
            b"gt" => self.only_greater = true,
            b"lt" => self.only_less = true,
            b"ch" => self.counts_changes = true,
            b"incr" => self.is_increment = true,
            _ => return false,
        }
        true
    }

    fn check(self, pair_count: usize) -> CommandResult {
        let AddOptions { only_if_absent, only_if_present, only_greater, only_less, .. } = self;
        if only_if_absent && only_if_present {
            return Err(Error::new("ERR XX and NX options at the same time are not compatible"));
        }
        if (only_if_absent && (only_greater || only_less)) || (only_greater && only_less) {
            return Err(Error::new("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if self.is_increment && pair_count > 1 {
            return Err(Error::new("ERR INCR option supports a single increment-element pair"));
        }
        Ok(())
    }
}

/// What adding one member came to.
enum Added {
    New(f64),
    Moved(f64),
    Same(f64),
    /// A condition was not met.
    Skipped,
}

impl Added {
    fn score(&self) -> Option<f64> {
        match self {
            Added::New(score) | Added::Moved(score) | Added::Same(score) => Some(*score),
            Added::Skipped => None,
        }
    }
}

pub(super) fn zadd(call: &mut Call) -> CommandResult {
    add_members(call, AddOptions::default())
}

fn zincrby(call: &mut Call) -> CommandResult {
    add_members(call, AddOptions { is_increment: true, ..AddOptions::default() })
}

fn add_members(call: &mut Call, mut options: AddOptions) -> CommandResult {
    let key = call.args[1];
    let option_count = call.args[2..].iter().take_while(|word| options.take(word)).count();
    let pairs = parse_pairs(&call.args[2 + option_count..], options)?;
    let exists = call.store.find_kind::<ZSet>(key)?.is_some();
    let outcomes = if exists || !options.only_if_present {
        let limits = call.store.limits.clone();
        let add = |zset: &mut ZSet| -> Result<Vec<Added>, Error> {
            pairs.iter().map(|&(score, member)| add_member(zset, member, score, options, &limits)).collect()
        };
        let edited = call.store.edit_or_insert(key, |_| ZSet::new(), add)?;
        edited.value().expect("the sorted set was just looked up or made")?
    } else {
        Vec::new()
    };
    let added = outcomes.iter().filter(|outcome| matches!(outcome, Added::New(_))).count();
    let moved = outcomes.iter().filter(|outcome| matches!(outcome, Added::Moved(_))).count();
    if added + moved > 0 {
        call.store.touch(key, (added + moved) as u64);
        call.store.notify(Class::ZSet, if options.is_increment { "zincr" } else { "zadd" }, key);
    }
    if options.is_increment {
        reply_score(call.reply, outcomes.first().and_then(Added::score));
    } else {
        call.reply.integer((if options.counts_changes { added + moved } else { added }) as i64);
    }
    Ok(())
}

fn parse_pairs<'a>(args: Args<'a>, options: AddOptions) -> Result<Vec<(f64, &'a [u8])>, Error> {
    if args.is_empty() || !args.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    options.check(args.len() / 2)?;
    let pair = |pair: &[&'a [u8]]| Ok((parse_score(pair[0])?, pair[1]));
    args.chunks(2).map(pair).collect()
}

/// Bytes as a score: a float that may be infinite.
///
/// # Errors
/// `ERR value is not a valid float`
pub(super) fn parse_score(text: &[u8]) -> Result<f64, Error> {
    number::parse_f64(text).filter(|score| !score.is_nan()).ok_or(NOT_A_FLOAT)
}

/// # Errors
/// A sum is no number. Only an increment can fail, and it comes alone: nothing has been added before.
fn add_member(
    zset: &mut ZSet,
    member: &[u8],
    score: f64,
    options: AddOptions,
    limits: &Limits,
) -> Result<Added, Error> {
    let is_plain = AddOptions { counts_changes: false, ..options } == AddOptions::default();
    let current = if is_plain { None } else { zset.score(member) };
    let score = match current {
        Some(current) => {
            let new = if options.is_increment { current + score } else { score };
            if options.only_if_absent {
                return Ok(Added::Skipped);
            }
            if new.is_nan() {
                return Err(Error::new("ERR resulting score is not a number (NaN)"));
            }
            if (options.only_greater && new <= current) || (options.only_less && new >= current) {
                return Ok(Added::Skipped);
            }
            new
        }
        None if options.only_if_present => return Ok(Added::Skipped),
        None => score,
    };
    Ok(match zset.insert(member, score, limits) {
        Insertion::Added => Added::New(score),
        Insertion::Moved { .. } => Added::Moved(score),
        Insertion::Same => Added::Same(score),
    })
}

/// Stores the result of a command under `target`, or removes what is there if nothing came out.
pub(super) fn store_result(call: &mut Call, target: &[u8], result: ZSet, event: &'static str) {
    let len = result.len();
    if len > 0 {
        call.store.set(target, Value::Object(result.wrap()), false);
        call.store.touch(target, 1);
        call.store.notify(Class::ZSet, event, target);
    } else if call.store.remove(target) {
        call.store.touch_removed(target);
    }
    call.reply.integer(len as i64);
}

// --- Removing -----------------------------------------------------------------------------------

fn zrem(call: &mut Call) -> CommandResult {
    let (key, members) = (call.args[1], &call.args[2..]);
    let remove = |zset: &mut ZSet| members.iter().filter(|member| zset.remove(member).is_some()).count();
    let edited = call.store.edit(key, remove)?;
    settle_removal(call, key, &edited, edited.value().unwrap_or(0), "zrem");
    call.reply.integer(edited.value().unwrap_or(0) as i64);
    Ok(())
}

/// Tells of members that were removed, and of the key if nothing is left of it.
pub(super) fn settle_removal<R>(
    call: &mut Call,
    key: &[u8],
    edited: &Edited<R>,
    count: usize,
    event: &'static str,
) {
    if count > 0 {
        call.store.touch(key, count as u64);
        call.store.notify(Class::ZSet, event, key);
    }
    if edited.is_emptied() {
        call.store.notify(Class::Generic, "del", key);
    }
}

/// The end of a sorted set that members are taken from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Min,
    Max,
}

impl Side {
    fn of_word(word: &[u8]) -> Option<Side> {
        match &*word.to_ascii_lowercase() {
            b"min" => Some(Side::Min),
            b"max" => Some(Side::Max),
            _ => None,
        }
    }

    /// The event, which is named like the command.
    fn event(self) -> &'static str {
        match self {
            Side::Min => "zpopmin",
            Side::Max => "zpopmax",
        }
    }

    /// The command as logged.
    fn command(self) -> &'static [u8] {
        match self {
            Side::Min => b"ZPOPMIN",
            Side::Max => b"ZPOPMAX",
        }
    }
}

type Popped = Vec<(Vec<u8>, f64)>;

/// Takes up to `count` members from one side, the outermost first.
fn pop(call: &mut Call, key: &[u8], side: Side, count: usize) -> Result<Popped, Error> {
    let take = |zset: &mut ZSet| -> Popped {
        let len = zset.len();
        let count = count.min(len);
        let owned = |(member, score): (Item<'_>, f64)| (member.to_vec(), score);
        let (ranks, popped) = match side {
            Side::Min => (0..count, zset.range(0..count).map(owned).collect()),
            Side::Max => (len - count..len, zset.range(len - count..len).rev().map(owned).collect()),
        };
        zset.remove_range(ranks);
        popped
    };
    let edited = call.store.edit(key, take)?;
    let is_emptied = edited.is_emptied();
    let popped = edited.value().unwrap_or_default();
    let edited = if is_emptied { Edited::Emptied(()) } else { Edited::Kept(()) };
    settle_removal(call, key, &edited, popped.len(), side.event());
    Ok(popped)
}

/// [`pop`] from the first of these keys that has members.
fn pop_first<'a>(
    call: &mut Call,
    keys: Args<'a>,
    side: Side,
    count: usize,
) -> Result<Option<(&'a [u8], Popped)>, Error> {
    for &key in keys {
        if call.store.find_kind::<ZSet>(key)?.is_some() {
            return Ok(Some((key, pop(call, key, side, count)?)));
        }
    }
    Ok(None)
}

fn zpopmin(call: &mut Call) -> CommandResult {
    pop_and_reply(call, Side::Min)
}

fn zpopmax(call: &mut Call) -> CommandResult {
    pop_and_reply(call, Side::Max)
}

fn pop_and_reply(call: &mut Call, side: Side) -> CommandResult {
    if call.args.len() > 3 {
        return Err(SYNTAX);
    }
    let count = if call.args.len() == 3 { Some(call.count(2)?) } else { None };
    let popped = pop(call, call.args[1], side, count.unwrap_or(1))?;
    // In pairs only where a count was asked for and the protocol has doubles.
    let has_pairs = count.is_some() && call.reply.protocol() == Protocol::Resp3;
    call.reply.array(if has_pairs { popped.len() } else { popped.len() * 2 });
    for (member, score) in popped {
        begin_pair(call.reply, has_pairs);
        call.reply.bulk(&member);
        call.reply.double(score);
    }
    Ok(())
}

fn bzpopmin(call: &mut Call) -> CommandResult {
    pop_or_wait(call, Side::Min)
}

fn bzpopmax(call: &mut Call) -> CommandResult {
    pop_or_wait(call, Side::Max)
}

fn pop_or_wait(call: &mut Call, side: Side) -> CommandResult {
    let last = call.args.len() - 1;
    let timeout_ms = call.timeout_ms(last)?;
    let keys = &call.args[1..last];
    let Some((key, popped)) = pop_first(call, keys, side, 1)? else {
        call.wait_for(Type::ZSet, keys, timeout_ms, TimeoutReply::NullArray);
        return Ok(());
    };
    let (member, score) = &popped[0];
    call.reply.array(3);
    call.reply.bulk(key);
    call.reply.bulk(member);
    call.reply.double(*score);
    call.record.replace(&[side.command(), key]);
    Ok(())
}

/// What ZMPOP and BZMPOP are asked for.
struct MultiPop<'a> {
    keys: Args<'a>,
    side: Side,
    count: usize,
}

impl<'a> MultiPop<'a> {
    /// Arguments from the number of keys on.
    fn parse(args: Args<'a>) -> Result<MultiPop<'a>, Error> {
        let key_count = parse_count(args[0], 1).ok_or(KEY_COUNT_NOT_POSITIVE)?;
        let side_at = key_count.saturating_add(1);
        let side = args.get(side_at).and_then(|word| Side::of_word(word)).ok_or(SYNTAX)?;
        let count = match &args[side_at + 1..] {
            [] => 1,
            [word, count, rest @ ..] if word.eq_ignore_ascii_case(b"count") => {
                let count = parse_count(count, 1).ok_or(COUNT_NOT_POSITIVE)?;
                if !rest.is_empty() {
                    return Err(SYNTAX);
                }
                count
            }
            _ => return Err(SYNTAX),
        };
        Ok(MultiPop { keys: &args[1..side_at], side, count })
    }

    /// Pops and answers; `false` if no key has members.
    fn run(&self, call: &mut Call) -> Result<bool, Error> {
        let Some((key, popped)) = pop_first(call, self.keys, self.side, self.count)? else {
            return Ok(false);
        };
        call.reply.array(2);
        call.reply.bulk(key);
        call.reply.array(popped.len());
        for (member, score) in &popped {
            call.reply.array(2);
            call.reply.bulk(member);
            call.reply.double(*score);
        }
        let mut count = DecimalBuffer::default();
        call.record.replace(&[self.side.command(), key, format_u64(popped.len() as u64, &mut count)]);
        Ok(true)
    }
}

fn zmpop(call: &mut Call) -> CommandResult {
    if !MultiPop::parse(&call.args[1..])?.run(call)? {
        call.reply.null_array();
    }
    Ok(())
}

fn bzmpop(call: &mut Call) -> CommandResult {
    let wanted = MultiPop::parse(&call.args[2..])?;
    let timeout_ms = call.timeout_ms(1)?;
    if !wanted.run(call)? {
        call.wait_for(Type::ZSet, wanted.keys, timeout_ms, TimeoutReply::NullArray);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

    use super::format_17_digits;
    use crate::{
        commands::testing::{Bench, check},
        resp::Protocol,
        store::Limits,
    };

    /// A bench on which every sorted set is an index from its first member on.
    fn index_bench() -> Bench {
        let mut bench = Bench::new();
        bench.store.limits = Limits { zset_listpack_entries_max: 0, ..Limits::default() };
        bench
    }

    #[track_caller]
    fn check_both(commands: &[(&str, &str)]) {
        check(commands);
        index_bench().check(commands);
    }

    #[test]
    fn members_are_added_read_and_removed_in_both_encodings() {
        check_both(&[
            ("ZADD z 1 a 2 b", ":2"),
            ("ZADD z 3 a 2 b 1.5 c", ":1"),
            ("ZCARD z", ":3"),
            ("ZCARD none", ":0"),
            ("ZSCORE z a", "\"3\""),
            ("ZSCORE z none", "nil"),
            ("ZSCORE none a", "nil"),
            ("ZMSCORE z c none a", "[\"1.5\", nil, \"3\"]"),
            ("ZMSCORE none a", "[nil]"),
            ("ZRANK z c", ":0"),
            ("ZRANK z a", ":2"),
            ("ZREVRANK z a", ":0"),
            ("ZREVRANK z c", ":2"),
            ("ZRANK z c WITHSCORE", "[:0, \"1.5\"]"),
            ("ZREVRANK z b withscore", "[:1, \"2\"]"),
            ("ZRANK z none", "nil"),
            ("ZRANK none a WITHSCORE", "nil"),
            ("ZRANK z a FOO", "-ERR syntax error"),
            ("ZRANK z a WITHSCORE x", "-ERR wrong number of arguments for 'zrank' command"),
            ("ZREM z a none a", ":1"),
            ("ZREM z none", ":0"),
            ("ZREM none a", ":0"),
            ("ZREM z b c", ":2"),
            ("EXISTS z", ":0"),
            ("ZADD z inf a -inf b +inf c 1e3 d 0x10 e", ":5"),
            ("ZMSCORE z a b c d e", "[\"inf\", \"-inf\", \"inf\", \"1000\", \"16\"]"),
        ]);
    }

    #[test]
    fn options_decide_what_is_added() {
        let both = "-ERR GT, LT, and/or NX options at the same time are not compatible";
        check_both(&[
            ("ZADD z XX 1 a", ":0"),
            ("EXISTS z", ":0"),
            ("ZADD z NX 1 a", ":1"),
            ("ZADD z NX CH 2 a 5 b", ":1"),
            ("ZADD z XX CH 3 a 3 c", ":1"),
            ("ZADD z GT CH 2 a 9 d", ":1"),
            ("ZADD z GT 4 a", ":0"),
            ("ZADD z LT CH 5 a 1 b", ":1"),
            ("ZMSCORE z a b c d", "[\"4\", \"1\", nil, \"9\"]"),
            ("ZADD z INCR 2 a", "\"6\""),
            ("ZADD z XX INCR 2 none", "nil"),
            ("ZADD none XX INCR 2 none", "nil"),
            ("ZADD z NX INCR 2 a", "nil"),
            ("ZADD z GT INCR -1 a", "nil"),
            ("ZADD z LT INCR -1 a", "\"5\""),
            ("ZADD z INCR 0 a", "\"5\""),
            ("ZADD z INCR 1 a 2 b", "-ERR INCR option supports a single increment-element pair"),
            ("ZADD z NX XX 1 a", "-ERR XX and NX options at the same time are not compatible"),
            ("ZADD z GT LT 1 a", both),
            ("ZADD z NX GT 1 a", both),
            ("ZADD z NX XX 1", "-ERR syntax error"),
            ("ZADD z CH NX", "-ERR syntax error"),
            ("ZADD z x a", "-ERR value is not a valid float"),
            ("ZADD z nan a", "-ERR value is not a valid float"),
            ("ZADD z 1 a x b", "-ERR value is not a valid float"),
            ("ZINCRBY z 1.5 a", "\"6.5\""),
            ("ZINCRBY z 1 new", "\"1\""),
            ("ZINCRBY z x a", "-ERR value is not a valid float"),
            ("ZADD z inf i", ":1"),
            ("ZINCRBY z -inf i", "-ERR resulting score is not a number (NaN)"),
            ("ZSCORE z i", "\"inf\""),
        ]);
    }

    #[test]
    fn other_types_are_refused_by_every_command() {
        let mut bench = Bench::new();
        bench.run("SET s v");
        for command in [
            "ZADD s 1 a",
            "ZADD s XX 1 a",
            "ZINCRBY s 1 a",
            "ZREM s a",
            "ZSCORE s a",
            "ZMSCORE s a",
            "ZCARD s",
            "ZRANK s a",
            "ZREVRANK s a",
            "ZPOPMIN s",
            "ZPOPMAX s 0",
            "BZPOPMIN none s 0",
            "ZMPOP 2 none s MIN",
            "BZMPOP 0 1 s MAX",
            "ZRANDMEMBER s",
            "ZRANDMEMBER s 2",
            "ZSCAN s 0 FOO",
        ] {
            let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
            assert_eq!(bench.run(command), wrong, "{command}");
        }
    }

    #[test]
    fn encoding_follows_size_and_length() {
        let mut bench = Bench::new();
        bench.store.limits =
            Limits { zset_listpack_entries_max: 2, zset_listpack_value_max: 4, ..Limits::default() };
        bench.check(&[
            ("ZADD z 1 a 2 1234", ":2"),
            ("OBJECT ENCODING z", "\"listpack\""),
            ("ZADD z 5 a", ":0"),
            ("OBJECT ENCODING z", "\"listpack\""),
            ("ZADD z 1 c", ":1"),
            ("OBJECT ENCODING z", "\"skiplist\""),
            ("ZADD long 1 12345", ":1"),
            ("OBJECT ENCODING long", "\"skiplist\""),
        ]);
    }

    #[test]
    fn members_are_popped_from_either_end() {
        check_both(&[
            ("ZADD z 1 a 2 b 3 c 4 d", ":4"),
            ("ZPOPMIN z", "[\"a\", \"1\"]"),
            ("ZPOPMAX z 2", "[\"d\", \"4\", \"c\", \"3\"]"),
            ("ZPOPMIN z 0", "[]"),
            ("ZPOPMIN z -1", "-ERR value is out of range, must be positive"),
            ("ZPOPMIN z x", "-ERR value is out of range, must be positive"),
            ("ZPOPMIN z 1 2", "-ERR syntax error"),
            ("ZPOPMIN z 10", "[\"b\", \"2\"]"),
            ("EXISTS z", ":0"),
            ("ZPOPMAX z 10", "[]"),
            ("ZADD z 1 a 2 b 3 c", ":3"),
            ("ZMPOP 2 none z MIN", "[\"z\", [[\"a\", \"1\"]]]"),
            ("ZMPOP 1 z max COUNT 5", "[\"z\", [[\"c\", \"3\"], [\"b\", \"2\"]]]"),
            ("ZMPOP 1 z MIN", "nil"),
        ]);
        let syntax = "-ERR syntax error";
        check(&[
            ("ZMPOP 0 z MIN", "-ERR numkeys should be greater than 0"),
            ("ZMPOP x z MIN", "-ERR numkeys should be greater than 0"),
            ("ZMPOP 2 z MIN", syntax),
            ("ZMPOP 9223372036854775807 z MIN", syntax),
            ("ZMPOP 1 z FOO", syntax),
            ("ZMPOP 1 z MIN COUNT", syntax),
            ("ZMPOP 1 z MIN COUNT 0", "-ERR count should be greater than 0"),
            ("ZMPOP 1 z MIN COUNT 1 COUNT 2", syntax),
            ("BZMPOP x 1 z MIN", "-ERR timeout is not a float or out of range"),
            ("BZMPOP x 1 z FOO", syntax),
            ("BZPOPMIN z -1", "-ERR timeout is negative"),
        ]);
    }

    #[test]
    fn pops_wait_unless_they_may_not() {
        let mut bench = Bench::new();
        for (command, keys) in [("BZPOPMIN a b 1.5", &["a", "b"][..]), ("BZMPOP 1.5 1 a MAX COUNT 2", &["a"])]
        {
            assert_eq!(bench.run(command), "(waits)");
            let block = bench.block.take().expect("it waits");
            assert_eq!(block.timeout_ms, 1500);
            assert!(block.keys.iter().map(Vec::as_slice).eq(keys.iter().map(|key| key.as_bytes())));
        }
        bench.context.deny_blocking = true;
        bench.check(&[("BZPOPMIN a 0", "nil"), ("BZMPOP 0 1 a MIN", "nil")]);
        bench.check(&[
            ("ZADD b 1 x 2 y 3 z", ":3"),
            ("BZPOPMIN a b 0", "[\"b\", \"x\", \"1\"]"),
            ("BZPOPMAX a b 0", "[\"b\", \"z\", \"3\"]"),
            ("BZMPOP 0 2 a b MIN COUNT 2", "[\"b\", [[\"y\", \"2\"]]]"),
        ]);
    }

    #[test]
    fn pops_are_logged_as_what_they_took() {
        let mut bench = Bench::new();
        bench.run("ZADD z 1 a 2 b 3 c 4 d 5 e 6 f");
        bench.logs("BZPOPMIN none z 0", &["ZPOPMIN z"]);
        bench.logs("BZPOPMAX none z 0", &["ZPOPMAX z"]);
        bench.logs("ZMPOP 2 none z MIN COUNT 2", &["ZPOPMIN z 2"]);
        bench.logs("BZMPOP 0 1 z MAX COUNT 9", &["ZPOPMAX z 2"]);
        bench.logs("ZPOPMIN z", &[]);
        bench.run("ZADD z 1 a");
        bench.logs("ZPOPMIN z", &["ZPOPMIN z"]);
        bench.logs("ZADD z NX 1 a", &["ZADD z NX 1 a"]);
        bench.logs("ZADD z NX 2 a", &[]);
        bench.logs("ZADD z 1 a", &[]);
    }

    #[test]
    fn replies_in_resp3() {
        let mut bench = Bench::new();
        bench.protocol = Protocol::Resp3;
        bench.check(&[
            ("ZADD z 1 a 2.5 b", ":2"),
            ("ZSCORE z b", ",2.5"),
            ("ZSCORE z none", "nil"),
            ("ZRANK z b WITHSCORE", "[:1, ,2.5]"),
            ("ZADD z INCR 1 a", ",2"),
            ("ZRANDMEMBER z -1 WITHSCORES", "[[\"a\", ,2]]"),
            ("ZPOPMIN z", "[\"a\", ,2]"),
            ("ZPOPMIN z 2", "[[\"b\", ,2.5]]"),
            ("ZADD z 1 a", ":1"),
            ("BZPOPMIN z 0", "[\"z\", \"a\", ,1]"),
            ("ZADD z 1 a", ":1"),
            ("ZSCAN z 0", "[\"0\", [\"a\", \"1\"]]"),
            ("ZMPOP 1 z MIN", "[\"z\", [[\"a\", ,1]]]"),
        ]);
    }

    #[test]
    fn random_members_are_distinct_unless_asked_otherwise() {
        for (mut bench, len) in [(Bench::new(), 100), (index_bench(), 100), (index_bench(), 3)] {
            for index in 0..len {
                bench.run(&format!("ZADD z {index} m{index}"));
            }
            for count in [0, 1, 2, len / 4, len / 2, len - 1, len, len + 1] {
                let reply = bench.run(&format!("ZRANDMEMBER z {count} WITHSCORES"));
                let words: Vec<&str> = reply.split('"').skip(1).step_by(2).collect();
                let names: BTreeSet<&str> = words.iter().step_by(2).copied().collect();
                assert_eq!((words.len(), names.len()), (2 * count.min(len), count.min(len)));
                assert!(words.chunks(2).all(|pair| pair[0][1..] == *pair[1]));
            }
            assert_eq!(bench.run("ZRANDMEMBER z -300").split(", ").count(), 300);
            assert!(bench.run("ZRANDMEMBER z").starts_with("\"m"));
        }
        check(&[
            ("ZRANDMEMBER z", "nil"),
            ("ZRANDMEMBER z 5", "[]"),
            ("ZRANDMEMBER z 5 FOO", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn scans_find_every_member() {
        let mut bench = index_bench();
        for index in 0..300 {
            bench.run(&format!("ZADD z {index} m{index}"));
        }
        let mut found = BTreeSet::new();
        let mut cursor = String::from("0");
        for _ in 0..1000 {
            let reply = bench.run(&format!("ZSCAN z {cursor} COUNT 7 MATCH m*"));
            let mut words = reply.split('"').skip(1).step_by(2).map(String::from);
            cursor = words.next().expect("a cursor");
            found.extend(words.step_by(2));
            if cursor == "0" {
                break;
            }
        }
        assert_eq!((cursor.as_str(), found.len()), ("0", 300));
        check(&[
            ("ZADD z 0.1 a 2 b", ":2"),
            ("ZSCAN z 0", "[\"0\", [\"a\", \"0.1\", \"b\", \"2\"]]"),
            ("ZSCAN z 0 MATCH b", "[\"0\", [\"b\", \"2\"]]"),
            ("ZSCAN z 0 NOVALUES", "-ERR syntax error"),
            ("ZSCAN none 0 FOO", "[\"0\", []]"),
        ]);
    }

    #[test]
    fn scores_with_all_their_digits() {
        for (score, text) in [
            (0.1, "0.10000000000000001"),
            (-2.5, "-2.5"),
            (3.0, "3"),
            (0.0, "0"),
            (f64::NEG_INFINITY, "-inf"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e300, "1.5000000000000001e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (123456.789, "123456.789"),
        ] {
            assert_eq!(String::from_utf8(format_17_digits(score)).unwrap(), text);
        }
    }

    #[test]
    fn writes_are_announced() {
        let mut bench = Bench::new();
        for (command, events) in [
            ("ZADD z 1 a 2 b 3 c 4 d", &["new z", "zadd z"][..]),
            ("ZADD z 1 a", &[]),
            ("ZADD z INCR 1 a", &["zincr z"]),
            ("ZINCRBY z 1 a", &["zincr z"]),
            ("ZREM z none", &[]),
            ("ZREM z a", &["zrem z"]),
            ("ZPOPMIN z", &["zpopmin z"]),
            ("ZMPOP 1 z MAX", &["zpopmax z"]),
            ("BZPOPMIN z 0", &["zpopmin z", "del z"]),
        ] {
            bench.run(command);
            assert_eq!(bench.events(), events, "{command}");
        }
    }
}
