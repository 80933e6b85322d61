//! SORT: elements of a collection in the order of themselves or of other keys, answered or stored.
//!
//! Always true: the order is total (equal weights are ordered by the elements), so that replaying
//! `SORT … STORE` gives the same list on every machine.
//!
//! Not here: sorted sets (`zset.rs`), what collections are made of (`store/`).

use alloc::{borrow::ToOwned, boxed::Box, vec::Vec};
use core::cmp::Ordering;

use perdura_structures::{
    quicklist::{Fill, Quicklist},
    table::ContentRef,
};

use super::{
    Args, Call, Command, CommandResult, KeySpec,
    spec::{acl, flag, key_flag},
};
use crate::{
    bytes::number::parse_f64,
    error::{Error, SYNTAX, WRONG_TYPE},
    store::{Class, Kind, Limits, Object, StringRef, Value, hash::Hash, list::List, set::Set, zset::ZSet},
};

const READ: u32 = key_flag::RO | key_flag::ACCESS;
const OVERWRITE: u32 = key_flag::OW | key_flag::UPDATE;
const CATEGORIES: u32 = acl::SET | acl::SORTEDSET | acl::LIST | acl::DANGEROUS;
const COMPLEXITY: &str = "O(N+M*log(M)) where N is the number of elements to sort and M the number of those given. O(N) if they are not sorted.";

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("sort", -2, flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS, sort)
        .keys(&[KeySpec::one(1, READ), KeySpec::unknown(READ), KeySpec::unknown(OVERWRITE)])
        .keys_found_by(sort_keys)
        .acl(CATEGORIES)
        .doc(
            "generic",
            "1.0.0",
            "Sorts a list, a set or a sorted set and gives or stores what comes out.",
            COMPLEXITY,
        ),
    Command::run("sort_ro", -2, flag::READONLY | flag::MOVABLE_KEYS, sort_ro)
        .keys(&[KeySpec::one(1, READ), KeySpec::unknown(READ)])
        .keys_found_by(sort_keys)
        .acl(CATEGORIES)
        .doc("generic", "7.0.0", "Sorts a list, a set or a sorted set and gives what comes out.", COMPLEXITY),
];

/// Options of SORT.
#[derive(Default)]
struct Options<'a> {
    is_descending: bool,
    is_alpha: bool,
    /// Where the weights are; without it the elements are their own.
    by: Option<&'a [u8]>,
    /// What is given for each element; nothing means the element.
    gets: Vec<&'a [u8]>,
    /// How many to skip and how many to give at most, all if negative.
    limit: Option<(i64, i64)>,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// `may_read_all` tells whether the patterns of BY and GET, which name no keys beforehand, are allowed.
    fn parse(args: Args<'a>, may_read_all: bool) -> Result<Options<'a>, Error> {
        let mut options = Options::default();
        let mut rest = &args[2..];
        while let Some((word, after)) = rest.split_first() {
            rest = match (&*word.to_ascii_lowercase(), after) {
                (b"asc", _) => {
                    options.is_descending = false;
                    after
                }
                (b"desc", _) => {
                    options.is_descending = true;
                    after
                }
                (b"alpha", _) => {
                    options.is_alpha = true;
                    after
                }
                (b"limit", [start, count, after @ ..]) => {
                    options.limit = Some((super::parse_int(start)?, super::parse_int(count)?));
                    after
                }
                (b"store", [target, after @ ..]) => {
                    options.store = Some(target);
                    after
                }
                (b"by", [pattern, after @ ..]) => {
                    if !may_read_all && pattern.contains(&b'*') {
                        return Err(Error::new(
                            "ERR BY option of SORT denied due to insufficient ACL permissions.",
                        ));
                    }
                    options.by = Some(pattern);
                    after
                }
                (b"get", [pattern, after @ ..]) => {
                    if !may_read_all {
                        return Err(Error::new(
                            "ERR GET option of SORT denied due to insufficient ACL permissions.",
                        ));
                    }
                    options.gets.push(pattern);
                    after
                }
                _ => return Err(SYNTAX),
            };
        }
        Ok(options)
    }

    /// BY a pattern without `*`: the order is left as it is.
    fn keeps_order(&self) -> bool {
        self.by.is_some_and(|pattern| !pattern.contains(&b'*'))
    }

    /// The part of the elements that LIMIT asks for.
    fn limited<T>(&self, mut elements: Vec<T>) -> Vec<T> {
        if let Some((start, count)) = self.limit {
            elements.drain(..(start.max(0) as usize).min(elements.len()));
            if count >= 0 {
                elements.truncate(count as usize);
            }
        }
        elements
    }
}

fn sort(call: &mut Call) -> CommandResult {
    let options = Options::parse(call.args, call.context.may_read_all)?;
    let output = output(call, options.store.is_some(), &options)?;
    match options.store {
        Some(target) => store_output(call, target, output),
        None => reply_output(call, output),
    }
    Ok(())
}

fn sort_ro(call: &mut Call) -> CommandResult {
    let options = Options::parse(call.args, call.context.may_read_all)?;
    if options.store.is_some() {
        return Err(SYNTAX);
    }
    let output = output(call, false, &options)?;
    reply_output(call, output);
    Ok(())
}

/// What is given: for each element itself, or as many values as there are GETs.
fn output(call: &mut Call, is_stored: bool, options: &Options<'_>) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let elements = match call.store.read(call.args[1]) {
        Some(entry) => elements_of(entry.content()).ok_or(WRONG_TYPE)?,
        None => Elements { items: Vec::new(), has_order: true },
    };
    let sorted = options.limited(in_order(call, elements, is_stored, options)?);
    if options.gets.is_empty() {
        return Ok(sorted.into_iter().map(Some).collect());
    }
    let values = sorted.iter().flat_map(|element| options.gets.iter().map(move |pattern| (pattern, element)));
    Ok(values.map(|(pattern, element)| look_up(call, pattern, element)).collect())
}

fn in_order(
    call: &mut Call,
    elements: Elements,
    is_stored: bool,
    options: &Options<'_>,
) -> Result<Vec<Vec<u8>>, Error> {
    if !options.keeps_order() {
        return sorted(call, elements.items, options);
    }
    if (is_stored || call.context.is_script) && !elements.has_order {
        // A set's own order is not the same after a replay, so what is stored gets one, and so does what a script sees.
        let by_themselves =
            Options { is_alpha: true, by: None, is_descending: options.is_descending, ..Options::default() };
        return sorted(call, elements.items, &by_themselves);
    }
    let mut items = elements.items;
    if options.is_descending && elements.has_order {
        items.reverse();
    }
    Ok(items)
}

/// An element with what it is sorted by.
struct Weighted {
    element: Vec<u8>,
    /// Of a numeric sort.
    number: f64,
    /// Of an alphabetic sort by other keys; a missing one comes first.
    text: Option<Vec<u8>>,
}

impl Weighted {
    fn compare(&self, other: &Weighted) -> Ordering {
        let by_number = self.number.partial_cmp(&other.number).expect("a weight is a number");
        by_number.then_with(|| self.text.cmp(&other.text)).then_with(|| self.element.cmp(&other.element))
    }
}

fn sorted(call: &mut Call, elements: Vec<Vec<u8>>, options: &Options<'_>) -> Result<Vec<Vec<u8>>, Error> {
    let mut weighted = Vec::with_capacity(elements.len());
    for element in elements {
        weighted.push(weigh(call, element, options)?);
    }
    if options.is_descending {
        weighted.sort_unstable_by(|first, second| second.compare(first));
    } else {
        weighted.sort_unstable_by(Weighted::compare);
    }
    Ok(weighted.into_iter().map(|weighted| weighted.element).collect())
}

fn weigh(call: &mut Call, element: Vec<u8>, options: &Options<'_>) -> Result<Weighted, Error> {
    let external = options.by.map(|pattern| look_up(call, pattern, &element));
    if options.is_alpha {
        return Ok(Weighted { element, number: 0.0, text: external.flatten() });
    }
    let number = match &external {
        Some(None) => 0.0,
        Some(Some(text)) => parse_weight(text)?,
        None => parse_weight(&element)?,
    };
    Ok(Weighted { element, number, text: None })
}

fn parse_weight(text: &[u8]) -> Result<f64, Error> {
    if text.is_empty() {
        return Ok(0.0);
    }
    // The standard library of C, which Redis asks here, passes over blanks in front.
    parse_f64(text.trim_ascii_start())
        .ok_or(Error::new("ERR One or more scores can't be converted into double"))
}

/// The value a pattern means for an element: `#` itself, `a*b` a string, `a*b->field` a field of a hash.
fn look_up(call: &mut Call, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_owned());
    }
    let star = pattern.iter().position(|&byte| byte == b'*')?;
    let (prefix, suffix) = (&pattern[..star], &pattern[star + 1..]);
    // An arrow at the very end is part of the name.
    let arrow = suffix.windows(2).position(|pair| pair == b"->").filter(|&at| at + 2 < suffix.len());
    let (suffix, field) = match arrow {
        Some(at) => (&suffix[..at], Some(&suffix[at + 2..])),
        None => (suffix, None),
    };
    let key = [prefix, element, suffix].concat();
    let now_ms = call.store.now_ms;
    match (call.store.read(&key)?.content(), field) {
        (ContentRef::Object(Object::Hash(hash)), Some(field)) => field_of(hash, field, now_ms),
        (content, None) => StringRef::of(content).map(StringRef::to_vec),
        _ => None,
    }
}

fn reply_output(call: &mut Call, output: Vec<Option<Vec<u8>>>) {
    call.reply.array(output.len());
    for value in output {
        match value {
            Some(value) => call.reply.bulk(&value),
            None => call.reply.null(),
        }
    }
}

fn store_output(call: &mut Call, target: &[u8], output: Vec<Option<Vec<u8>>>) {
    let count = output.len();
    if count > 0 {
        let list = list_of(output.into_iter().map(Option::unwrap_or_default), &call.store.limits);
        call.store.set(target, Value::Object(list.wrap()), false);
        call.store.touch(target, count as u64);
        call.store.notify(Class::List, "sortstore", target);
    } else if call.store.remove(target) {
        call.store.touch_removed(target);
    }
    call.reply.integer(count as i64);
}

/// Reads its first key, overwrites that of the last STORE.
fn sort_keys(args: Args<'_>) -> Vec<(usize, u32)> {
    let mut keys = alloc::vec![(1, READ)];
    let mut index = 2;
    while index < args.len() {
        index += match &*args[index].to_ascii_lowercase() {
            b"limit" => 3,
            b"by" | b"get" => 2,
            b"store" if index + 1 < args.len() => {
                keys.truncate(1);
                keys.push((index + 1, OVERWRITE));
                2
            }
            _ => 1,
        };
    }
    keys
}

// --- Collections --------------------------------------------------------------------------------

/// What there is to sort.
struct Elements {
    items: Vec<Vec<u8>>,
    /// The items come in an order that means something.
    has_order: bool,
}

/// Elements of a list, members of a set or a sorted set; `None` for other types.
fn elements_of(content: ContentRef<'_, Object>) -> Option<Elements> {
    let ContentRef::Object(object) = content else { return None };
    let items = match object {
        Object::List(List::Listpack(pack)) => pack.iter().map(|item| item.to_vec()).collect(),
        Object::List(List::Quicklist(list)) => list.iter().map(|item| item.to_vec()).collect(),
        Object::Set(Set::Intset(ints)) => ints.iter().map(|int| StringRef::Int(int).to_vec()).collect(),
        Object::Set(Set::Listpack(pack)) => pack.iter().map(|item| item.to_vec()).collect(),
        Object::Set(Set::Table(table)) => table.iter().map(|(member, ())| member.to_vec()).collect(),
        Object::ZSet(ZSet::Listpack(pack)) => pack.iter().step_by(2).map(|item| item.to_vec()).collect(),
        Object::ZSet(ZSet::Index(index)) => index.iter().map(|(member, _)| member.to_vec()).collect(),
        Object::String(_) | Object::Hash(_) | Object::Stream(_) => return None,
    };
    Some(Elements { items, has_order: !matches!(object, Object::Set(_)) })
}

/// The value of a hash's field that has not expired.
fn field_of(hash: &Hash, field: &[u8], now_ms: u64) -> Option<Vec<u8>> {
    match hash {
        Hash::Listpack(pack) => {
            let value = pack.next(pack.find(field, 2)?)?;
            Some(pack.item(value).to_vec())
        }
        Hash::Table(table) => {
            let found = table.fields.get(field)?;
            let has_expired = found.expiry_ms != 0 && found.expiry_ms < now_ms;
            (!has_expired).then(|| found.value.to_vec())
        }
    }
}

/// A list in the encoding its size asks for.
fn list_of(elements: impl Iterator<Item = Vec<u8>>, limits: &Limits) -> List {
    let mut list = Quicklist::new(Fill::new(limits.list_listpack_size as i32));
    for element in elements {
        list.push_back(element.as_slice());
    }
    match list.take_only_listpack() {
        Some(pack) => List::Listpack(pack),
        None => List::Quicklist(Box::new(list)),
    }
}

#[cfg(test)]
mod tests {
    use perdura_structures::{intset::Intset, listpack::Listpack};

    use super::*;
    use crate::commands::testing::{Bench, check};

    fn listpack(words: &str) -> Listpack {
        let mut pack = Listpack::new();
        words.split_whitespace().for_each(|word| pack.push_back(word.as_bytes()));
        pack
    }

    fn put(bench: &mut Bench, key: &str, object: Object) {
        bench.store.set(key.as_bytes(), Value::Object(object), false);
    }

    /// A bench with a list `l`, a set `s`, a set of integers `i`, a sorted set `z` and weights for 1, 2 and 3.
    fn collections() -> Bench {
        let mut bench = Bench::new();
        put(&mut bench, "l", Object::List(List::Listpack(listpack("3 1 10 2"))));
        put(&mut bench, "s", Object::Set(Set::Listpack(listpack("c a b"))));
        let mut ints = Intset::new();
        [3, 1, 2].into_iter().for_each(|int| assert!(ints.insert(int)));
        put(&mut bench, "i", Object::Set(Set::Intset(ints)));
        put(&mut bench, "z", Object::ZSet(ZSet::Listpack(listpack("x 1 y 2 a 3"))));
        put(&mut bench, "h1", Object::Hash(Hash::Listpack(listpack("name one weight 9"))));
        bench.run("MSET w1 30 w2 20 w3 10 n1 uno n2 dos n3 tres");
        bench.events();
        bench.records();
        bench
    }

    #[test]
    fn numbers_sort_as_numbers_unless_told() {
        collections().check(&[
            ("SORT l", r#"["1", "2", "3", "10"]"#),
            ("SORT l DESC", r#"["10", "3", "2", "1"]"#),
            ("SORT l DESC ASC", r#"["1", "2", "3", "10"]"#),
            ("SORT l ALPHA", r#"["1", "10", "2", "3"]"#),
            ("SORT l ALPHA DESC", r#"["3", "2", "10", "1"]"#),
            ("SORT s", "-ERR One or more scores can't be converted into double"),
            ("SORT s ALPHA", r#"["a", "b", "c"]"#),
            ("SORT_RO z ALPHA LIMIT 0 2", r#"["a", "x"]"#),
            ("SORT none", "[]"),
        ]);
    }

    #[test]
    fn limits_are_clipped() {
        collections().check(&[
            ("SORT l LIMIT 1 2", r#"["2", "3"]"#),
            ("SORT l LIMIT 3 10", r#"["10"]"#),
            ("SORT l LIMIT 4 1", "[]"),
            ("SORT l LIMIT -5 1", r#"["1"]"#),
            ("SORT l LIMIT 2 -1", r#"["3", "10"]"#),
            ("SORT l LIMIT 0 0", "[]"),
            ("SORT l LIMIT 9223372036854775807 9223372036854775807", "[]"),
        ]);
    }

    #[test]
    fn patterns_reach_strings_and_fields() {
        collections().check(&[
            ("SORT i BY w*", r#"["3", "2", "1"]"#),
            ("SORT i BY n* ALPHA", r#"["2", "3", "1"]"#),
            ("SORT l BY w*", r#"["10", "3", "2", "1"]"#),
            ("SORT i BY none* DESC", r#"["3", "2", "1"]"#),
            ("SORT i BY n*", "-ERR One or more scores can't be converted into double"),
            ("SORT i BY w* GET # GET n*", r#"["3", "tres", "2", "dos", "1", "uno"]"#),
            ("SORT i GET h*->name", r#"["one", nil, nil]"#),
            ("SORT i GET h*->none LIMIT 0 1", "[nil]"),
            ("SORT i GET h* LIMIT 0 1", "[nil]"),
            ("SORT i GET w*->name LIMIT 0 1", "[nil]"),
            ("SORT i GET w1 LIMIT 0 1", "[nil]"),
            ("SORT i BY h*->weight", r#"["2", "3", "1"]"#),
            ("SET w1-> arrow", "+OK"),
            ("SORT i GET w*-> LIMIT 0 1", r#"["arrow"]"#),
        ]);
    }

    #[test]
    fn a_pattern_without_star_keeps_the_order() {
        collections().check(&[
            ("SORT l BY nosort", r#"["3", "1", "10", "2"]"#),
            ("SORT l BY nosort DESC LIMIT 0 2", r#"["2", "10"]"#),
            ("SORT z BY nosort", r#"["x", "y", "a"]"#),
            ("SORT z BY nosort DESC LIMIT 1 5", r#"["y", "x"]"#),
            ("SORT s BY nosort STORE d", ":3"),
            ("SORT d BY nosort", r#"["a", "b", "c"]"#),
        ]);
    }

    #[test]
    fn what_is_stored_is_a_list() {
        let mut bench = collections();
        bench.store.event_mask = Class::List as u32;
        bench.logs("SORT i BY w* GET n* GET none* STORE d", &["SORT i BY w* GET n* GET none* STORE d"]);
        assert_eq!(bench.events(), ["sortstore d"]);
        bench.check(&[
            ("TYPE d", "+list"),
            ("OBJECT ENCODING d", "\"listpack\""),
            ("SORT d BY nosort", r#"["tres", "", "dos", "", "uno", ""]"#),
        ]);
        bench.logs("SORT none STORE d", &["SORT none STORE d"]);
        assert_eq!(bench.run("EXISTS d"), ":0");
        bench.logs("SORT none STORE d", &[]);
        bench.logs("SORT l", &[]);
    }

    #[test]
    fn wrong_options_and_types_are_refused() {
        let syntax = "-ERR syntax error";
        check(&[
            ("SET string 1", "+OK"),
            ("SORT string", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("SORT l LIMIT 0", syntax),
            ("SORT l LIMIT a b", "-ERR value is not an integer or out of range"),
            ("SORT l BY", syntax),
            ("SORT l FOO", syntax),
            ("SORT_RO l STORE d", syntax),
        ]);
    }

    #[test]
    fn the_last_store_is_the_key_that_is_written() {
        let positions = |words: &str| {
            let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            sort_keys(&args)
        };
        assert_eq!(positions("sort k"), [(1, READ)]);
        assert_eq!(positions("sort k store a store b"), [(1, READ), (5, OVERWRITE)]);
        assert_eq!(positions("sort k by store get store limit 1 2 STORE d"), [(1, READ), (10, OVERWRITE)]);
        assert_eq!(positions("sort k store"), [(1, READ)]);
    }
}
