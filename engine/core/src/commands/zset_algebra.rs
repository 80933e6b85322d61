//! Unions, intersections and differences of sorted sets, and of sets, whose members all score 1.
//!
//! Always true: no result has a score that is not a number: where infinities cancel out or meet a weight of zero, it
//! is 0.
//!
//! Not here: the same of plain sets (`set.rs`).

use alloc::vec::Vec;

use perdura_structures::{dict::Dict, listpack::Item, table::ContentRef};

use super::{
    Args, Call, Command, CommandResult, KeySpec, parse_count, parse_int,
    spec::{acl, flag, key_flag},
    zset::{parse_score, reply_members, store_result},
};
use crate::{
    bytes::number,
    error::{Error, SYNTAX, WRONG_TYPE},
    store::{Limits, Object, Store, Type, set::Set, value, zset::ZSet},
};

const READ: u32 = key_flag::RO | key_flag::ACCESS;
const READ_KEYS: &[KeySpec] = &[KeySpec::counted(1, READ)];
const STORE_KEYS: &[KeySpec] = &[KeySpec::one(1, key_flag::OW | key_flag::UPDATE), KeySpec::counted(2, READ)];

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("zdiff", -3, flag::READONLY | flag::MOVABLE_KEYS, zdiff).keys(READ_KEYS).acl(acl::SORTEDSET).doc("sorted-set", "6.2.0", "Gives the members of the first sorted set that are in none of the others.", "O(L + (N-K)log(N)) where L is the size of all sets together, N that of the first and K that of the result."),
    Command::run("zdiffstore", -4, flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS, zdiffstore).keys(STORE_KEYS).acl(acl::SORTEDSET).doc("sorted-set", "6.2.0", "Stores the members of the first sorted set that are in none of the others.", "O(L + (N-K)log(N)) where L is the size of all sets together, N that of the first and K that of the result."),
    Command::run("zinter", -3, flag::READONLY | flag::MOVABLE_KEYS, zinter).keys(READ_KEYS).acl(acl::SORTEDSET).doc("sorted-set", "6.2.0", "Gives the members that are in all of several sorted sets.", "O(N*K + M*log(M)) where N is the size of the smallest set, K the number of sets and M the size of the result."),
    Command::run("zintercard", -3, flag::READONLY | flag::MOVABLE_KEYS, zintercard).keys(READ_KEYS).acl(acl::SORTEDSET).doc("sorted-set", "7.0.0", "Counts the members that are in all of several sorted sets.", "O(N*K) where N is the size of the smallest set and K the number of sets."),
    Command::run("zinterstore", -4, flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS, zinterstore).keys(STORE_KEYS).acl(acl::SORTEDSET).doc("sorted-set", "2.0.0", "Stores the members that are in all of several sorted sets.", "O(N*K + M*log(M)) where N is the size of the smallest set, K the number of sets and M the size of the result."),
    Command::run("zunion", -3, flag::READONLY | flag::MOVABLE_KEYS, zunion).keys(READ_KEYS).acl(acl::SORTEDSET).doc("sorted-set", "6.2.0", "Gives the members that are in any of several sorted sets.", "O(N + M*log(M)) where N is the size of all sets together and M that of the result."),
    Command::run("zunionstore", -4, flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS, zunionstore).keys(STORE_KEYS).acl(acl::SORTEDSET).doc("sorted-set", "2.0.0", "Stores the members that are in any of several sorted sets.", "O(N + M*log(M)) where N is the size of all sets together and M that of the result."),
];

/// What becomes of the sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of a result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Given,
    Stored,
    Counted,
}

/// What scores of the same member become.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Aggregate {
    #[default]
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of_word(word: &[u8]) -> Result<Aggregate, Error> {
        match &*word.to_ascii_lowercase() {
            b"sum" => Ok(Aggregate::Sum),
            b"min" => Ok(Aggregate::Min),
            b"max" => Ok(Aggregate::Max),
            _ => Err(SYNTAX),
        }
    }

    fn apply(self, first: f64, second: f64) -> f64 {
        match self {
            Aggregate::Sum => number_or_zero(first + second),
            Aggregate::Min => first.min(second),
            Aggregate::Max => first.max(second),
        }
    }
}

fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

// --- What is asked for ----------------------------------------------------------------------------

struct Query<'a> {
    keys: Args<'a>,
    /// One for each key.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Where counting ends; 0 is nowhere.
    limit: usize,
}

/// The keys, whose number stands first.
fn parse_keys<'a>(args: Args<'a>, command: &str) -> Result<Args<'a>, Error> {
    let count = parse_int(args[0])?;
    if count < 1 {
        let text = alloc::format!("ERR at least 1 input key is needed for '{command}' command");
        return Err(Error::text(text));
    }
    let count = usize::try_from(count).expect("a positive number");
    args[1..].get(..count).ok_or(SYNTAX)
}

fn parse_options<'a>(
    keys: Args<'a>,
    options: Args<'a>,
    operation: Operation,
    output: Output,
) -> Result<Query<'a>, Error> {
    let weights = alloc::vec![1.0; keys.len()];
    let mut query = Query { keys, weights, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
    let has_scores = operation != Operation::Difference && output != Output::Counted;
    let mut rest = options;
    while let [word, after @ ..] = rest {
        rest = match (&*word.to_ascii_lowercase(), after) {
            (b"weights", after) if has_scores && after.len() >= keys.len() => {
                let (weights, after) = after.split_at(keys.len());
                query.weights = weights.iter().map(|text| parse_weight(text)).collect::<Result<_, _>>()?;
                after
            }
            (b"aggregate", [word, after @ ..]) if has_scores => {
                query.aggregate = Aggregate::of_word(word)?;
                after
            }
            (b"withscores", after) if output == Output::Given => {
                query.with_scores = true;
                after
            }
            (b"limit", [limit, after @ ..]) if output == Output::Counted => {
                query.limit = parse_count(limit, 0).ok_or(Error::new("ERR LIMIT can't be negative"))?;
                after
            }
            _ => return Err(SYNTAX),
        };
    }
    Ok(query)
}

fn parse_weight(text: &[u8]) -> Result<f64, Error> {
    parse_score(text).map_err(|_| Error::new("ERR weight value is not a float"))
}

// --- The commands ---------------------------------------------------------------------------------

fn zunion(call: &mut Call) -> CommandResult {
    give(call, Operation::Union, "zunion")
}

fn zinter(call: &mut Call) -> CommandResult {
    give(call, Operation::Intersection, "zinter")
}

fn zdiff(call: &mut Call) -> CommandResult {
    give(call, Operation::Difference, "zdiff")
}

fn zunionstore(call: &mut Call) -> CommandResult {
    store(call, Operation::Union, "zunionstore")
}

fn zinterstore(call: &mut Call) -> CommandResult {
    store(call, Operation::Intersection, "zinterstore")
}

fn zdiffstore(call: &mut Call) -> CommandResult {
    store(call, Operation::Difference, "zdiffstore")
}

fn give(call: &mut Call, operation: Operation, command: &str) -> CommandResult {
    let query = prepare(call, 1, operation, Output::Given, command)?;
    let result = combine(call.store, &query, operation);
    reply_members(call.reply, result.iter(), query.with_scores);
    Ok(())
}

fn store(call: &mut Call, operation: Operation, command: &'static str) -> CommandResult {
    let query = prepare(call, 2, operation, Output::Stored, command)?;
    let result = combine(call.store, &query, operation);
    store_result(call, call.args[1], result, command);
    Ok(())
}

fn zintercard(call: &mut Call) -> CommandResult {
    let query = prepare(call, 1, Operation::Intersection, Output::Counted, "zintercard")?;
    let inputs = Inputs::of(call.store, &query).smallest_first();
    let mut count = 0;
    inputs.intersect(query.aggregate, &mut |_, _| {
        count += 1;
        count != query.limit
    });
    call.reply.integer(count as i64);
    Ok(())
}

/// Reads the arguments from the number of keys on; types of keys are looked at before options.
fn prepare<'a>(
    call: &mut Call<'a>,
    keys_at: usize,
    operation: Operation,
    output: Output,
    command: &str,
) -> Result<Query<'a>, Error> {
    let args = &call.args[keys_at..];
    let keys = parse_keys(args, command)?;
    for key in keys {
        let kind = call.store.read(key).map(|entry| value::type_of(entry.content()));
        if !matches!(kind, None | Some(Type::ZSet | Type::Set)) {
            return Err(WRONG_TYPE);
        }
    }
    parse_options(keys, &args[1 + keys.len()..], operation, output)
}

fn combine(store: &Store, query: &Query<'_>, operation: Operation) -> ZSet {
    let inputs = Inputs::of(store, query);
    let limits = &store.limits;
    match operation {
        // Scores are added up from the smallest set on, as in Redis: the last digit may depend on it.
        Operation::Union => inputs.smallest_first().unite(query.aggregate, limits),
        Operation::Intersection => {
            let mut result = ZSet::new();
            inputs.smallest_first().intersect(query.aggregate, &mut |member, score| {
                result.insert(member, score, limits);
                true
            });
            result
        }
        Operation::Difference => inputs.subtract(limits),
    }
}

// --- The sets themselves --------------------------------------------------------------------------

/// A collection that takes part.
#[derive(Clone, Copy)]
enum Members<'s> {
    None,
    ZSet(&'s ZSet),
    Set(&'s Set),
}

impl<'s> Members<'s> {
    fn of(store: &'s Store, key: &[u8]) -> Members<'s> {
        match store.peek(key).map(|entry| entry.content()) {
            Some(ContentRef::Object(Object::ZSet(zset))) => Members::ZSet(zset),
            Some(ContentRef::Object(Object::Set(set))) => Members::Set(set),
            _ => Members::None,
        }
    }

    fn len(self) -> usize {
        match self {
            Members::None => 0,
            Members::ZSet(zset) => zset.len(),
            Members::Set(set) => set.len(),
        }
    }

    /// The score of a member; 1 in a set.
    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Members::None => None,
            Members::ZSet(zset) => zset.score(member),
            Members::Set(set) => set_contains(set, member).then_some(1.0),
        }
    }

    /// Shows members with their scores until `visit` says false.
    fn each(self, visit: &mut dyn FnMut(&[u8], f64) -> bool) {
        let mut visit_item = |item: Item<'_>, score| visit(item.text(&mut Default::default()), score);
        match self {
            Members::None => true,
            Members::ZSet(zset) => zset.iter().all(|(member, score)| visit_item(member, score)),
            Members::Set(Set::Intset(ints)) => ints.iter().all(|int| visit_item(Item::Int(int), 1.0)),
            Members::Set(Set::Listpack(pack)) => pack.iter().all(|member| visit_item(member, 1.0)),
            Members::Set(Set::Table(table)) => {
                table.iter().all(|(member, ())| visit_item(Item::Bytes(member), 1.0))
            }
        };
    }
}

fn set_contains(set: &Set, member: &[u8]) -> bool {
    match set {
        Set::Intset(ints) => number::parse_i64(member).is_some_and(|int| ints.contains(int)),
        Set::Listpack(pack) => pack.find(member, 1).is_some(),
        Set::Table(table) => table.contains(member),
    }
}

/// Collections with their weights.
struct Inputs<'s>(Vec<(Members<'s>, f64)>);

impl<'s> Inputs<'s> {
    fn of(store: &'s Store, query: &Query<'_>) -> Inputs<'s> {
        let inputs = query.keys.iter().zip(&query.weights);
        Inputs(inputs.map(|(key, &weight)| (Members::of(store, key), weight)).collect())
    }

    fn smallest_first(mut self) -> Inputs<'s> {
        self.0.sort_by_key(|(members, _)| members.len());
        self
    }

    fn unite(&self, aggregate: Aggregate, limits: &Limits) -> ZSet {
        let mut scores: Dict<f64> = Dict::new(limits.hash_seed);
        for &(members, weight) in &self.0 {
            members.each(&mut |member, score| {
                let score = number_or_zero(score * weight);
                match scores.get_mut(member) {
                    Some(known) => *known = aggregate.apply(*known, score),
                    None => _ = scores.insert(member, score),
                }
                true
            });
        }
        let mut result = ZSet::new();
        for (member, &score) in scores.iter() {
            result.insert(member, score, limits);
        }
        result
    }

    /// Shows members that are in all, with their scores, until `visit` says false.
    fn intersect(&self, aggregate: Aggregate, visit: &mut dyn FnMut(&[u8], f64) -> bool) {
        let ((first, weight), others) = self.0.split_first().expect("there is at least one key");
        first.each(&mut |member, score| {
            let start = number_or_zero(score * weight);
            let sum = others.iter().try_fold(start, |sum, (members, weight)| {
                let score = members.score(member)?;
                Some(aggregate.apply(sum, number_or_zero(score * weight)))
            });
            sum.is_none_or(|score| visit(member, score))
        });
    }

    fn subtract(&self, limits: &Limits) -> ZSet {
        let ((first, _), others) = self.0.split_first().expect("there is at least one key");
        let mut result = ZSet::new();
        first.each(&mut |member, score| {
            if others.iter().all(|(members, _)| members.score(member).is_none()) {
                result.insert(member, score, limits);
            }
            true
        });
        result
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        commands::testing::{Bench, check},
        resp::Protocol,
        store::{Kind, Limits, Value, set::Set},
    };
    use perdura_structures::{dict::Dict, intset::Intset, listpack::Listpack};

    /// Runs the same on listpacks and on indexes.
    #[track_caller]
    fn check_both(commands: &[(&str, &str)]) {
        check(commands);
        let mut bench = Bench::new();
        bench.store.limits = Limits { zset_listpack_entries_max: 0, ..Limits::default() };
        bench.check(commands);
    }

    #[test]
    fn unions_intersections_and_differences() {
        check_both(&[
            ("ZADD a 1 x 2 y 3 z", ":3"),
            ("ZADD b 10 y 20 z 30 w", ":3"),
            ("ZUNION 2 a b WITHSCORES", "[\"x\", \"1\", \"y\", \"12\", \"z\", \"23\", \"w\", \"30\"]"),
            ("ZUNION 2 a none", "[\"x\", \"y\", \"z\"]"),
            ("ZINTER 2 a b WITHSCORES", "[\"y\", \"12\", \"z\", \"23\"]"),
            ("ZINTER 2 a none", "[]"),
            ("ZDIFF 2 a b WITHSCORES", "[\"x\", \"1\"]"),
            ("ZDIFF 2 none a", "[]"),
            ("ZDIFF 2 a a", "[]"),
            (
                "ZUNION 2 a b WEIGHTS 2 0.5 AGGREGATE MAX WITHSCORES",
                "[\"x\", \"2\", \"y\", \"5\", \"z\", \"10\", \"w\", \"15\"]",
            ),
            ("ZINTER 2 a b AGGREGATE min WITHSCORES", "[\"y\", \"2\", \"z\", \"3\"]"),
            ("ZINTER 2 a a WITHSCORES", "[\"x\", \"2\", \"y\", \"4\", \"z\", \"6\"]"),
            ("ZINTERCARD 2 a b", ":2"),
            ("ZINTERCARD 2 a b LIMIT 1", ":1"),
            ("ZINTERCARD 2 a b LIMIT 0", ":2"),
            ("ZINTERCARD 1 none", ":0"),
            ("ZUNIONSTORE d 2 a b", ":4"),
            ("ZINTERSTORE d 2 a b WEIGHTS 1 -1", ":2"),
            ("ZRANGE d 0 -1 WITHSCORES", "[\"z\", \"-17\", \"y\", \"-8\"]"),
            ("ZDIFFSTORE a 2 a b", ":1"),
            ("ZRANGE a 0 -1", "[\"x\"]"),
            ("ZINTERSTORE d 2 a none", ":0"),
            ("EXISTS d", ":0"),
        ]);
    }

    #[test]
    fn infinities_cancel_out_to_zero() {
        check_both(&[
            ("ZADD a inf x 1 y", ":2"),
            ("ZADD b -inf x 1 y", ":2"),
            ("ZUNION 2 a b WITHSCORES", "[\"x\", \"0\", \"y\", \"2\"]"),
            ("ZINTER 2 a b WEIGHTS 0 0 WITHSCORES", "[\"x\", \"0\", \"y\", \"0\"]"),
            ("ZUNION 1 a WEIGHTS inf WITHSCORES", "[\"x\", \"inf\", \"y\", \"inf\"]"),
        ]);
    }

    #[test]
    fn sets_take_part_with_a_score_of_one() {
        let mut bench = Bench::new();
        let mut table = Dict::new(1);
        table.insert(b"1", ());
        table.insert(b"x", ());
        let mut ints = Intset::new();
        ints.insert(1);
        ints.insert(7);
        let pack: Listpack = [&b"1"[..], b"x"].into_iter().collect();
        for (key, set) in [
            ("table", Set::Table(alloc::boxed::Box::new(table))),
            ("ints", Set::Intset(ints)),
            ("pack", Set::Listpack(pack)),
        ] {
            bench.store.set(key.as_bytes(), Value::Object(set.wrap()), false);
        }
        bench.check(&[
            ("ZADD z 5 1 6 other", ":2"),
            ("ZINTER 4 z table ints pack WITHSCORES", "[\"1\", \"8\"]"),
            ("ZUNION 3 table ints pack WITHSCORES", "[\"7\", \"1\", \"x\", \"2\", \"1\", \"3\"]"),
            ("ZDIFF 2 pack ints WITHSCORES", "[\"x\", \"1\"]"),
            ("ZDIFF 2 ints table", "[\"7\"]"),
            ("ZUNION 1 ints WEIGHTS 3 WITHSCORES", "[\"1\", \"3\", \"7\", \"3\"]"),
        ]);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let syntax = "-ERR syntax error";
        check(&[
            ("ZUNION 0 a", "-ERR at least 1 input key is needed for 'zunion' command"),
            ("ZINTERSTORE d -1 a", "-ERR at least 1 input key is needed for 'zinterstore' command"),
            ("ZUNION x a", "-ERR value is not an integer or out of range"),
            ("ZUNION 2 a", syntax),
            ("ZUNION 9223372036854775807 a", syntax),
            ("ZUNION 1 a WEIGHTS", syntax),
            ("ZUNION 2 a b WEIGHTS 1", syntax),
            ("ZUNION 1 a WEIGHTS x", "-ERR weight value is not a float"),
            ("ZUNION 1 a AGGREGATE avg", syntax),
            ("ZUNION 1 a AGGREGATE", syntax),
            ("ZDIFF 1 a WEIGHTS 1", syntax),
            ("ZDIFF 1 a AGGREGATE SUM", syntax),
            ("ZUNIONSTORE d 1 a WITHSCORES", syntax),
            ("ZINTERCARD 1 a WITHSCORES", syntax),
            ("ZINTERCARD 1 a LIMIT -1", "-ERR LIMIT can't be negative"),
            ("ZINTERCARD 1 a LIMIT x", "-ERR LIMIT can't be negative"),
            ("ZINTERCARD 1 a WEIGHTS 1", syntax),
            ("ZINTERCARD 0 a", "-ERR at least 1 input key is needed for 'zintercard' command"),
            ("SET s v", "+OK"),
            ("ZUNION 2 a s FOO", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }

    #[test]
    fn replies_in_resp3() {
        let mut bench = Bench::new();
        bench.protocol = Protocol::Resp3;
        bench.check(&[
            ("ZADD z 1 a 2.5 b", ":2"),
            ("ZUNION 1 z", "[\"a\", \"b\"]"),
            ("ZDIFF 1 z WITHSCORES", "[[\"a\", ,1], [\"b\", ,2.5]]"),
        ]);
    }

    #[test]
    fn stored_results_are_announced_and_logged_as_typed() {
        let mut bench = Bench::new();
        bench.run("ZADD z 1 a");
        bench.events();
        for (command, events) in [
            ("ZUNIONSTORE d 1 z", &["new d", "zunionstore d"][..]),
            ("ZINTERSTORE d 1 z", &["zinterstore d"]),
            ("ZDIFFSTORE d 1 z", &["zdiffstore d"]),
            ("ZDIFFSTORE d 2 z z", &["del d"]),
        ] {
            bench.logs(command, &[command]);
            assert_eq!(bench.events(), events, "{command}");
        }
        bench.logs("ZUNIONSTORE d 1 none", &[]);
    }
}
