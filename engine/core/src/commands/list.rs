//! Lists: pushing, popping, moving, ranges, and the commands that wait for an element.
//!
//! Always true: what pops from whichever key had something is logged as the pop that took place, so that replay cannot
//! choose another key.
//!
//! Not here: encodings (`store/list.rs`), who waits and who is served first (`node/blocking.rs`).

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    Args, Call, Command, CommandResult, KeySpec, TimeoutReply, parse_count, parse_int, parse_signed_count,
    reply_item,
    spec::{acl, flag, key_flag},
};
use crate::{
    bytes::number::{DecimalBuffer, format_u64},
    error::{
        COUNT_NOT_POSITIVE, Error, KEY_COUNT_NOT_POSITIVE, NO_SUCH_KEY, OUT_OF_RANGE, SYNTAX, wrong_arity,
    },
    store::{
        Class, Edited, Type,
        list::{End, List, equal_to, fill},
    },
};

const READ_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];
const INSERT: u32 = key_flag::RW | key_flag::INSERT;
const INSERT_KEY: &[KeySpec] = &[KeySpec::one(1, INSERT)];
const DELETE_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)];
const POP: u32 = key_flag::RW | key_flag::ACCESS | key_flag::DELETE;
const POP_KEY: &[KeySpec] = &[KeySpec::one(1, POP)];
const POP_KEYS: &[KeySpec] = &[KeySpec::range(1, -2, 1, POP)];
const MOVE_KEYS: &[KeySpec] = &[KeySpec::one(1, POP), KeySpec::one(2, INSERT)];
const PUSH_FLAGS: u32 = flag::WRITE | flag::DENYOOM | flag::FAST;
const WAIT_FLAGS: u32 = flag::WRITE | flag::BLOCKING;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("blmove", 6, WAIT_FLAGS | flag::DENYOOM, blmove).keys(MOVE_KEYS).acl(acl::LIST).doc(
        "list",
        "6.2.0",
        "Moves an element from an end of one list to an end of another, waiting for one if there is none.",
        "O(1)",
    ),
    Command::run("blmpop", -5, flag::WRITE | flag::BLOCKING | flag::MOVABLE_KEYS, blmpop)
        .keys(&[KeySpec::counted(2, POP)])
        .acl(acl::LIST)
        .doc(
            "list",
            "7.0.0",
            "Takes elements off the first list that has any, waiting for some if none has.",
            "O(N+M) where N is the number of keys and M the number of elements taken.",
        ),
    Command::run("blpop", -3, WAIT_FLAGS, blpop).keys(POP_KEYS).acl(acl::LIST).doc(
        "list",
        "2.0.0",
        "Takes the head of the first list that has one, waiting for it if none has.",
        "O(N) where N is the number of keys.",
    ),
    Command::run("brpop", -3, WAIT_FLAGS, brpop).keys(POP_KEYS).acl(acl::LIST).doc(
        "list",
        "2.0.0",
        "Takes the tail of the first list that has one, waiting for it if none has.",
        "O(N) where N is the number of keys.",
    ),
    Command::run("brpoplpush", 4, WAIT_FLAGS | flag::DENYOOM, brpoplpush)
        .keys(MOVE_KEYS)
        .acl(acl::LIST)
        .doc(
            "list",
            "2.2.0",
            "Moves the tail of one list to the head of another, waiting for it if there is none.",
            "O(1)",
        )
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
    Command::run("lindex", 3, flag::READONLY, lindex).keys(READ_KEY).acl(acl::LIST).doc(
        "list",
        "1.0.0",
        "Gives the element at an index.",
        "O(N) where N is the number of elements on the way. O(1) for either end.",
    ),
    Command::run("linsert", 5, flag::WRITE | flag::DENYOOM, linsert).keys(INSERT_KEY).acl(acl::LIST).doc(
        "list",
        "2.2.0",
        "Inserts an element before or after another one.",
        "O(N) where N is the number of elements before the other one.",
    ),
    Command::run("llen", 2, flag::READONLY | flag::FAST, llen)
        .keys(&[KeySpec::one(1, key_flag::RO)])
        .acl(acl::LIST)
        .doc("list", "1.0.0", "Counts the elements.", "O(1)"),
    Command::run("lmove", 5, flag::WRITE | flag::DENYOOM, lmove).keys(MOVE_KEYS).acl(acl::LIST).doc(
        "list",
        "6.2.0",
        "Moves an element from an end of one list to an end of another.",
        "O(1)",
    ),
    Command::run("lmpop", -4, flag::WRITE | flag::MOVABLE_KEYS, lmpop)
        .keys(&[KeySpec::counted(1, POP)])
        .acl(acl::LIST)
        .doc(
            "list",
            "7.0.0",
            "Takes elements off the first list that has any.",
            "O(N+M) where N is the number of keys and M the number of elements taken.",
        ),
    Command::run("lpop", -2, flag::WRITE | flag::FAST, lpop).keys(POP_KEY).acl(acl::LIST).doc(
        "list",
        "1.0.0",
        "Takes elements off the head.",
        "O(N) where N is the number of elements taken.",
    ),
    Command::run("lpos", -3, flag::READONLY, lpos).keys(READ_KEY).acl(acl::LIST).doc(
        "list",
        "6.0.6",
        "Gives the index of elements that are equal to a value.",
        "O(N) where N is the number of elements compared.",
    ),
    Command::run("lpush", -3, PUSH_FLAGS, lpush).keys(INSERT_KEY).acl(acl::LIST).doc(
        "list",
        "1.0.0",
        "Adds elements at the head. Makes the list if there is none.",
        "O(N) where N is the number of elements added.",
    ),
    Command::run("lpushx", -3, PUSH_FLAGS, lpushx).keys(INSERT_KEY).acl(acl::LIST).doc(
        "list",
        "2.2.0",
        "Adds elements at the head of a list that exists.",
        "O(N) where N is the number of elements added.",
    ),
    Command::run("lrange", 4, flag::READONLY, lrange).keys(READ_KEY).acl(acl::LIST).doc(
        "list",
        "1.0.0",
        "Gives the elements between two indexes.",
        "O(S+N) where S is the distance of the first from the nearer end and N the number of elements given.",
    ),
    Command::run("lrem", 4, flag::WRITE, lrem).keys(DELETE_KEY).acl(acl::LIST).doc(
        "list",
        "1.0.0",
        "Takes out elements that are equal to a value.",
        "O(N+M) where N is the length of the list and M the number of elements taken out.",
    ),
    Command::run("lset", 4, flag::WRITE | flag::DENYOOM, lset)
        .keys(&[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)])
        .acl(acl::LIST)
        .doc(
            "list",
            "1.0.0",
            "Puts another element at an index.",
            "O(N) where N is the length of the list. O(1) for either end.",
        ),
    Command::run("ltrim", 4, flag::WRITE, ltrim).keys(DELETE_KEY).acl(acl::LIST).doc(
        "list",
        "1.0.0",
        "Takes out what is not between two indexes.",
        "O(N) where N is the number of elements taken out.",
    ),
    Command::run("rpop", -2, flag::WRITE | flag::FAST, rpop).keys(POP_KEY).acl(acl::LIST).doc(
        "list",
        "1.0.0",
        "Takes elements off the tail.",
        "O(N) where N is the number of elements taken.",
    ),
    Command::run("rpoplpush", 3, flag::WRITE | flag::DENYOOM, rpoplpush)
        .keys(MOVE_KEYS)
        .acl(acl::LIST)
        .doc("list", "1.2.0", "Moves the tail of one list to the head of another.", "O(1)")
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
    Command::run("rpush", -3, PUSH_FLAGS, rpush).keys(INSERT_KEY).acl(acl::LIST).doc(
        "list",
        "1.0.0",
        "Adds elements at the tail. Makes the list if there is none.",
        "O(N) where N is the number of elements added.",
    ),
    Command::run("rpushx", -3, PUSH_FLAGS, rpushx).keys(INSERT_KEY).acl(acl::LIST).doc(
        "list",
        "2.2.0",
        "Adds elements at the tail of a list that exists.",
        "O(N) where N is the number of elements added.",
    ),
];

/// Longest element: what the 32 bits of a listpack's length can say, with room for its head.
const ELEMENT_BYTES_MAX: usize = (1 << 32) - 1024;

const ELEMENT_TOO_LARGE: Error = Error::new("ERR Element too large");
const LIMIT_NEGATIVE: Error = Error::new("ERR MAXLEN can't be negative");
const COUNT_NEGATIVE: Error = Error::new("ERR COUNT can't be negative");
const RANK_ZERO: Error = Error::new(
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start \
     from the end of the list",
);

fn check_sizes(elements: Args<'_>) -> CommandResult {
    if elements.iter().any(|element| element.len() > ELEMENT_BYTES_MAX) {
        return Err(ELEMENT_TOO_LARGE);
    }
    Ok(())
}

/// `LEFT` or `RIGHT`.
fn parse_end(word: &[u8]) -> Result<End, Error> {
    match &*word.to_ascii_lowercase() {
        b"left" => Ok(End::Head),
        b"right" => Ok(End::Tail),
        _ => Err(SYNTAX),
    }
}

// --- Adding -------------------------------------------------------------------------------------

fn lpush(call: &mut Call) -> CommandResult {
    push(call, End::Head)
}

fn rpush(call: &mut Call) -> CommandResult {
    push(call, End::Tail)
}

fn lpushx(call: &mut Call) -> CommandResult {
    push_if_exists(call, End::Head)
}

fn rpushx(call: &mut Call) -> CommandResult {
    push_if_exists(call, End::Tail)
}

fn push(call: &mut Call, end: End) -> CommandResult {
    let (key, elements, fill) = (call.args[1], &call.args[2..], fill(&call.store.limits));
    check_sizes(elements)?;
    let pushed = call.store.edit_or_insert(
        key,
        |_| List::new(),
        |list: &mut List| list.push_all(end, elements, fill),
    )?;
    finish_push(call, end, pushed.value());
    Ok(())
}

fn push_if_exists(call: &mut Call, end: End) -> CommandResult {
    let (key, elements, fill) = (call.args[1], &call.args[2..], fill(&call.store.limits));
    check_sizes(elements)?;
    let pushed = call.store.edit(key, |list: &mut List| list.push_all(end, elements, fill))?;
    finish_push(call, end, pushed.value());
    Ok(())
}

/// Answers a push; `len` is that of the list afterwards, `None` if there is none.
fn finish_push(call: &mut Call, end: End, len: Option<usize>) {
    if len.is_some() {
        let key = call.args[1];
        call.store.touch(key, call.args.len() as u64 - 2);
        call.store.notify(Class::List, push_event(end), key);
    }
    call.reply.integer(len.unwrap_or(0) as i64);
}

fn push_event(end: End) -> &'static str {
    match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    }
}

fn linsert(call: &mut Call) -> CommandResult {
    let &[_, key, side, pivot, element] = call.args else { unreachable!("the arity is checked") };
    let distance = match &*side.to_ascii_lowercase() {
        b"before" => 0,
        b"after" => 1,
        _ => return Err(SYNTAX),
    };
    check_sizes(&[element])?;
    let fill = fill(&call.store.limits);
    let inserted = call.store.edit(key, |list: &mut List| {
        list.make_room(&[element], fill);
        let pivot = list.find(pivot)?;
        list.insert(pivot + distance, element);
        Some(list.len())
    })?;
    match inserted.value() {
        None => call.reply.integer(0),
        Some(None) => call.reply.integer(-1),
        Some(Some(len)) => {
            call.store.touch(key, 1);
            call.store.notify(Class::List, "linsert", key);
            call.reply.integer(len as i64);
        }
    }
    Ok(())
}

fn lset(call: &mut Call) -> CommandResult {
    let (key, element) = (call.args[1], call.args[3]);
    check_sizes(&[element])?;
    call.store.find_kind::<List>(key)?.ok_or(NO_SUCH_KEY)?;
    let (index, fill) = (call.int(2)?, fill(&call.store.limits));
    let replaced = call.store.edit(key, |list: &mut List| {
        list.make_room(&[element], fill);
        let replaced = list.replace(index, element);
        list.give_back_room(fill);
        replaced
    })?;
    if replaced.value() != Some(true) {
        return Err(OUT_OF_RANGE);
    }
    call.store.touch(key, 1);
    call.store.notify(Class::List, "lset", key);
    call.reply.ok();
    Ok(())
}

// --- Looking ------------------------------------------------------------------------------------

fn llen(call: &mut Call) -> CommandResult {
    let len = call.store.get::<List>(call.args[1])?.map_or(0, List::len);
    call.reply.integer(len as i64);
    Ok(())
}

fn lindex(call: &mut Call) -> CommandResult {
    let Some(list) = call.store.get::<List>(call.args[1])? else {
        call.reply.null();
        return Ok(());
    };
    match list.get(parse_int(call.args[2])?) {
        Some(item) => reply_item(call.reply, item),
        None => call.reply.null(),
    }
    Ok(())
}

fn lrange(call: &mut Call) -> CommandResult {
    let (start, end) = (call.int(2)?, call.int(3)?);
    let Some(list) = call.store.get::<List>(call.args[1])? else {
        call.reply.array(0);
        return Ok(());
    };
    let range = clamp(start, end, list.len());
    call.reply.array(range.len());
    list.range(range).for_each(|item| reply_item(call.reply, item));
    Ok(())
}

/// The indexes that exist between `start` and `end`, both included, negative ones counted from the tail.
fn clamp(start: i64, end: i64, len: usize) -> Range<usize> {
    let from_head = |index: i64| if index < 0 { index.saturating_add(len as i64) } else { index };
    let start = usize::try_from(from_head(start)).unwrap_or(0);
    // Below zero only if it lies before the head: then nothing is left.
    let end = from_head(end).saturating_add(1).clamp(0, len as i64) as usize;
    if start < end { start..end } else { 0..0 }
}

/// What LPOS is asked for.
struct Search {
    /// The first match that counts, from 1.
    rank: usize,
    /// Where to begin.
    from: End,
    /// How many matches are wanted; `None` is one, answered on its own; 0 is all.
    count: Option<usize>,
    /// How many elements to compare; 0 is all.
    compared_max: usize,
}

fn lpos(call: &mut Call) -> CommandResult {
    check_sizes(&call.args[2..3])?;
    let search = parse_search(&call.args[3..])?;
    let Some(list) = call.store.get::<List>(call.args[1])? else {
        match search.count {
            Some(_) => call.reply.array(0),
            None => call.reply.null(),
        }
        return Ok(());
    };
    let mut matches = positions(list, call.args[2], &search);
    match search.count {
        None => match matches.next() {
            Some(index) => call.reply.integer(index as i64),
            None => call.reply.null(),
        },
        Some(count) => {
            let begun = call.reply.defer_len();
            let wanted = if count == 0 { usize::MAX } else { count };
            let found = matches.take(wanted).map(|index| call.reply.integer(index as i64)).count();
            call.reply.array_deferred(begun, found);
        }
    }
    Ok(())
}

/// Indexes of the elements that a search finds, in its direction.
fn positions<'a>(list: &'a List, value: &'a [u8], search: &Search) -> impl Iterator<Item = usize> + 'a {
    let (len, from) = (list.len(), search.from);
    let compared_max = if search.compared_max == 0 { len } else { search.compared_max };
    let mut items = list.iter();
    let is_wanted = equal_to(value);
    (0..len.min(compared_max))
        .filter(move |_| {
            let item = if from == End::Head { items.next() } else { items.next_back() };
            item.is_some_and(&is_wanted)
        })
        .map(move |distance| if from == End::Head { distance } else { len - 1 - distance })
        .skip(search.rank - 1)
}

fn parse_search(options: Args<'_>) -> Result<Search, Error> {
    let mut search = Search { rank: 1, from: End::Head, count: None, compared_max: 0 };
    for option in options.chunks(2) {
        let &[word, value] = option else { return Err(SYNTAX) };
        match &*word.to_ascii_lowercase() {
            b"rank" => {
                let (rank, is_negative) = parse_signed_count(value)?;
                if rank == 0 {
                    return Err(RANK_ZERO);
                }
                search.rank = rank;
                search.from = if is_negative { End::Tail } else { End::Head };
            }
            b"count" => search.count = Some(parse_count(value, 0).ok_or(COUNT_NEGATIVE)?),
            b"maxlen" => search.compared_max = parse_count(value, 0).ok_or(LIMIT_NEGATIVE)?,
            _ => return Err(SYNTAX),
        }
    }
    Ok(search)
}

// --- Taking out ---------------------------------------------------------------------------------

fn lpop(call: &mut Call) -> CommandResult {
    pop(call, End::Head)
}

fn rpop(call: &mut Call) -> CommandResult {
    pop(call, End::Tail)
}

fn pop(call: &mut Call, end: End) -> CommandResult {
    let key = call.args[1];
    match call.args.len() {
        2 => {
            let Some((element, is_emptied)) = take_one(call, key, end)? else {
                call.reply.null();
                return Ok(());
            };
            call.reply.bulk(&element);
            announce_pop(call, key, end, 1, is_emptied);
        }
        3 => {
            let count = call.count(2)?;
            match call.store.find_kind::<List>(key)? {
                None => call.reply.null_array(),
                Some(_) if count == 0 => call.reply.array(0),
                Some(_) => _ = take_and_reply(call, key, end, count)?,
            }
        }
        _ => return Err(wrong_arity(if end == End::Head { "lpop" } else { "rpop" })),
    }
    Ok(())
}

/// Takes the element at an end, and says whether it was the last; `None` if there is no list.
fn take_one(call: &mut Call, key: &[u8], end: End) -> Result<Option<(Vec<u8>, bool)>, Error> {
    let fill = fill(&call.store.limits);
    let popped = call.store.edit(key, |list: &mut List| {
        let element = list.pop(end).expect("no list in the store is empty");
        list.give_back_room(fill);
        element
    })?;
    let is_emptied = popped.is_emptied();
    Ok(popped.value().map(|element| (element, is_emptied)))
}

/// Takes up to `count` elements off an end of a list that is there and writes them as an array; says how many.
fn take_and_reply(call: &mut Call, key: &[u8], end: End, count: usize) -> Result<usize, Error> {
    let fill = fill(&call.store.limits);
    let popped = call.store.edit(key, |list: &mut List| {
        let len = list.len();
        let count = count.min(len);
        call.reply.array(count);
        match end {
            End::Head => list.range(0..count).for_each(|item| reply_item(call.reply, item)),
            End::Tail => list.range(len - count..len).rev().for_each(|item| reply_item(call.reply, item)),
        }
        list.remove_range(if end == End::Head { 0 } else { -(count as i64) }, count);
        list.give_back_room(fill);
        count
    })?;
    let is_emptied = popped.is_emptied();
    let count = popped.value().expect("the list is there");
    announce_pop(call, key, end, count, is_emptied);
    Ok(count)
}

/// What every pop says: changed, by so many elements, and perhaps gone.
fn announce_pop(call: &mut Call, key: &[u8], end: End, count: usize, is_emptied: bool) {
    call.store.touch(key, count as u64);
    call.store.notify(Class::List, if end == End::Head { "lpop" } else { "rpop" }, key);
    if is_emptied {
        call.store.notify(Class::Generic, "del", key);
    }
}

fn lrem(call: &mut Call) -> CommandResult {
    let (key, element) = (call.args[1], call.args[3]);
    check_sizes(&[element])?;
    let count = call.int(2)?;
    let most = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let (from, fill) = (if count < 0 { End::Tail } else { End::Head }, fill(&call.store.limits));
    let removed = call.store.edit(key, |list: &mut List| {
        let removed = list.remove_equal(element, most, from);
        if removed > 0 {
            list.give_back_room(fill);
        }
        removed
    })?;
    let is_emptied = removed.is_emptied();
    let removed = removed.value().unwrap_or(0);
    if removed > 0 {
        call.store.touch(key, removed as u64);
        call.store.notify(Class::List, "lrem", key);
    }
    if is_emptied {
        call.store.notify(Class::Generic, "del", key);
    }
    call.reply.integer(removed as i64);
    Ok(())
}

fn ltrim(call: &mut Call) -> CommandResult {
    let key = call.args[1];
    let (start, end, fill) = (call.int(2)?, call.int(3)?, fill(&call.store.limits));
    let trimmed = call.store.edit(key, |list: &mut List| {
        let len = list.len();
        let kept = clamp(start, end, len);
        list.remove_range(kept.end as i64, len - kept.end);
        list.remove_range(0, kept.start);
        list.give_back_room(fill);
        len - kept.len()
    })?;
    let is_emptied = trimmed.is_emptied();
    if let Some(removed) = trimmed.value() {
        call.store.touch(key, removed as u64);
        call.store.notify(Class::List, "ltrim", key);
        if is_emptied {
            call.store.notify(Class::Generic, "del", key);
        }
    }
    call.reply.ok();
    Ok(())
}

// --- Several keys -------------------------------------------------------------------------------

fn lmpop(call: &mut Call) -> CommandResult {
    let request = parse_pops(call.args, 1)?;
    if !pop_first(call, &request)? {
        call.reply.null_array();
    }
    Ok(())
}

fn blmpop(call: &mut Call) -> CommandResult {
    let request = parse_pops(call.args, 2)?;
    let timeout_ms = call.timeout_ms(1)?;
    if !pop_first(call, &request)? {
        call.wait_for(Type::List, request.keys, timeout_ms, TimeoutReply::NullArray);
    }
    Ok(())
}

/// What LMPOP and BLMPOP are asked for.
struct Pops<'a> {
    keys: Args<'a>,
    end: End,
    count: usize,
}

/// Reads the arguments from the number of keys on.
fn parse_pops(args: Args<'_>, count_at: usize) -> Result<Pops<'_>, Error> {
    let key_count = parse_count(args[count_at], 1).ok_or(KEY_COUNT_NOT_POSITIVE)?;
    let rest = &args[count_at + 1..];
    if key_count >= rest.len() {
        return Err(SYNTAX);
    }
    let (keys, options) = rest.split_at(key_count);
    let end = parse_end(options[0])?;
    let count = match options[1..] {
        [] => 1,
        [word, count] if word.eq_ignore_ascii_case(b"count") => {
            parse_count(count, 1).ok_or(COUNT_NOT_POSITIVE)?
        }
        // The count is looked at before whatever follows it.
        [word, count, ..] if word.eq_ignore_ascii_case(b"count") && parse_count(count, 1).is_none() => {
            return Err(COUNT_NOT_POSITIVE);
        }
        _ => return Err(SYNTAX),
    };
    Ok(Pops { keys, end, count })
}

/// Pops from the first key that holds a list; `false`, without a reply, if none does.
fn pop_first(call: &mut Call, request: &Pops<'_>) -> Result<bool, Error> {
    for key in request.keys {
        if call.store.find_kind::<List>(key)?.is_none() {
            continue;
        }
        call.reply.array(2);
        call.reply.bulk(key);
        let count = take_and_reply(call, key, request.end, request.count)?;
        call.record.replace(&[
            pop_name(request.end),
            key,
            format_u64(count as u64, &mut DecimalBuffer::default()),
        ]);
        return Ok(true);
    }
    Ok(false)
}

fn pop_name(end: End) -> &'static [u8] {
    match end {
        End::Head => b"LPOP",
        End::Tail => b"RPOP",
    }
}

fn blpop(call: &mut Call) -> CommandResult {
    pop_or_wait(call, End::Head)
}

fn brpop(call: &mut Call) -> CommandResult {
    pop_or_wait(call, End::Tail)
}

fn pop_or_wait(call: &mut Call, end: End) -> CommandResult {
    let last = call.args.len() - 1;
    let (keys, timeout_ms) = (&call.args[1..last], call.timeout_ms(last)?);
    for key in keys {
        if let Some((element, is_emptied)) = take_one(call, key, end)? {
            call.reply.array(2);
            call.reply.bulk(key);
            call.reply.bulk(&element);
            announce_pop(call, key, end, 1, is_emptied);
            call.record.replace(&[pop_name(end), key]);
            return Ok(());
        }
    }
    call.wait_for(Type::List, keys, timeout_ms, TimeoutReply::NullArray);
    Ok(())
}

// --- Moving -------------------------------------------------------------------------------------

/// From which end of the one list to which end of the other.
#[derive(Clone, Copy)]
struct Ends {
    from: End,
    to: End,
}

const TAIL_TO_HEAD: Ends = Ends { from: End::Tail, to: End::Head };

fn parse_ends(call: &Call) -> Result<Ends, Error> {
    Ok(Ends { from: parse_end(call.args[3])?, to: parse_end(call.args[4])? })
}

fn lmove(call: &mut Call) -> CommandResult {
    let ends = parse_ends(call)?;
    if !move_element(call, ends)? {
        call.reply.null();
    }
    Ok(())
}

fn rpoplpush(call: &mut Call) -> CommandResult {
    if !move_element(call, TAIL_TO_HEAD)? {
        call.reply.null();
    }
    Ok(())
}

fn blmove(call: &mut Call) -> CommandResult {
    let ends = parse_ends(call)?;
    let timeout_ms = call.timeout_ms(5)?;
    move_or_wait(call, ends, timeout_ms, &[b"LMOVE", call.args[1], call.args[2], call.args[3], call.args[4]])
}

fn brpoplpush(call: &mut Call) -> CommandResult {
    let timeout_ms = call.timeout_ms(3)?;
    move_or_wait(call, TAIL_TO_HEAD, timeout_ms, &[b"RPOPLPUSH", call.args[1], call.args[2]])
}

fn move_or_wait(call: &mut Call, ends: Ends, timeout_ms: u64, record: Args<'_>) -> CommandResult {
    if move_element(call, ends)? {
        call.record.replace(record);
    } else {
        call.wait_for(Type::List, &call.args[1..2], timeout_ms, TimeoutReply::Null);
    }
    Ok(())
}

/// Moves an element of the list at `args[1]` to the one at `args[2]` and answers with it; `false`, without a reply, if
/// there is no first list.
fn move_element(call: &mut Call, ends: Ends) -> Result<bool, Error> {
    let (source, destination) = (call.args[1], call.args[2]);
    if call.store.find_kind::<List>(source)?.is_none() {
        return Ok(false);
    }
    // Before anything is taken out: an error must leave the source whole.
    call.store.find_kind::<List>(destination)?;
    if source == destination {
        rotate(call, source, ends)?;
        return Ok(true);
    }
    let (element, is_emptied) = take_one(call, source, ends.from)?.expect("the list was just looked up");
    let (elements, fill) = ([element.as_slice()], fill(&call.store.limits));
    call.store.edit_or_insert(
        destination,
        |_| List::new(),
        |list: &mut List| list.push_all(ends.to, &elements, fill),
    )?;
    call.store.touch(destination, 0);
    call.store.notify(Class::List, push_event(ends.to), destination);
    announce_pop(call, source, ends.from, 1, is_emptied);
    call.reply.bulk(&element);
    Ok(true)
}

/// Moves an element within one list, which therefore never is empty on the way and keeps its expiry.
fn rotate(call: &mut Call, key: &[u8], ends: Ends) -> CommandResult {
    let fill = fill(&call.store.limits);
    let moved: Edited<_> = call.store.edit(key, |list: &mut List| {
        let element = list.pop(ends.from).expect("no list in the store is empty");
        list.push_all(ends.to, &[&element], fill);
        list.give_back_room(fill);
        element
    })?;
    call.store.notify(Class::List, push_event(ends.to), key);
    announce_pop(call, key, ends.from, 1, false);
    call.reply.bulk(&moved.value().expect("the list was just looked up"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::{
        collections::VecDeque,
        format,
        string::{String, ToString},
        vec::Vec,
    };

    use proptest::prelude::*;

    use crate::commands::{
        TimeoutReply,
        testing::{Bench, NOW_MS, check},
    };
    use crate::resp::Protocol;

    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range";
    const SYNTAX: &str = "-ERR syntax error";

    #[test]
    fn pushed_elements_are_popped_from_either_end() {
        check(&[
            ("RPUSH l b c", ":2"),
            ("LPUSH l a x", ":4"),
            ("LRANGE l 0 -1", r#"["x", "a", "b", "c"]"#),
            ("LLEN l", ":4"),
            ("LPOP l", r#""x""#),
            ("RPOP l", r#""c""#),
            ("LPOP l 5", r#"["a", "b"]"#),
            ("EXISTS l", ":0"),
            ("LPOP l", "nil"),
            ("LPUSHX l a", ":0"),
            ("RPUSHX l a", ":0"),
            ("RPUSH l 1 2 3", ":3"),
            ("LPUSHX l 0", ":4"),
            ("RPUSHX l 4 5", ":6"),
            ("RPOP l 2", r#"["5", "4"]"#),
            ("LPOP l 0", "[]"),
            ("LRANGE l 0 -1", r#"["0", "1", "2", "3"]"#),
        ]);
    }

    #[test]
    fn counts_of_pops_must_be_positive() {
        let positive = "-ERR value is out of range, must be positive";
        check(&[
            ("LPOP l x", positive),
            ("RPOP l -1", positive),
            ("LPOP l 1 2", "-ERR wrong number of arguments for 'lpop' command"),
            ("RPOP l 1 2", "-ERR wrong number of arguments for 'rpop' command"),
            ("LPOP l 1", "nil"),
            ("LPOP l 0", "nil"),
        ]);
    }

    #[test]
    fn ranges_are_cut_to_what_exists() {
        let min = i64::MIN;
        check(&[
            ("RPUSH l a b c", ":3"),
            ("LRANGE l 1 1", r#"["b"]"#),
            ("LRANGE l -2 100", r#"["b", "c"]"#),
            ("LRANGE l -100 0", r#"["a"]"#),
            ("LRANGE l 2 1", "[]"),
            ("LRANGE l 3 5", "[]"),
            ("LRANGE l 0 -4", "[]"),
            (&format!("LRANGE l {min} {}", i64::MAX), r#"["a", "b", "c"]"#),
            (&format!("LRANGE l 0 {min}"), "[]"),
            ("LRANGE none 0 -1", "[]"),
            ("LRANGE l x 1", NOT_AN_INTEGER),
            ("LRANGE l 1 x", NOT_AN_INTEGER),
            ("LINDEX l 0", r#""a""#),
            ("LINDEX l -1", r#""c""#),
            ("LINDEX l 3", "nil"),
            ("LINDEX l -4", "nil"),
            ("LINDEX none x", "nil"),
            ("LINDEX l x", NOT_AN_INTEGER),
        ]);
    }

    #[test]
    fn elements_are_replaced_and_inserted() {
        check(&[
            ("LSET none x v", "-ERR no such key"),
            ("RPUSH l a b b", ":3"),
            ("LSET l x v", NOT_AN_INTEGER),
            ("LSET l 3 v", "-ERR index out of range"),
            ("LSET l -1 c", "+OK"),
            ("LINSERT l BEFORE b 1", ":4"),
            ("LINSERT l after c 2", ":5"),
            ("LINSERT l before nothing 2", ":-1"),
            ("LINSERT none before a 2", ":0"),
            ("LINSERT l beside a 2", SYNTAX),
            ("LRANGE l 0 -1", r#"["a", "1", "b", "c", "2"]"#),
        ]);
    }

    #[test]
    fn equal_elements_are_removed_from_either_end() {
        check(&[
            ("RPUSH l a 1 a 1 a", ":5"),
            ("LREM l 1 a", ":1"),
            ("LREM l -1 a", ":1"),
            ("LRANGE l 0 -1", r#"["1", "a", "1"]"#),
            ("LREM l 5 x", ":0"),
            ("LREM l x a", NOT_AN_INTEGER),
            ("LREM l -9223372036854775808 x", ":0"),
            ("LREM l 0 1", ":2"),
            ("LREM l 0 a", ":1"),
            ("EXISTS l", ":0"),
            ("LREM l 0 a", ":0"),
        ]);
    }

    #[test]
    fn trimming_keeps_what_lies_between() {
        check(&[
            ("RPUSH l a b c d e", ":5"),
            ("LTRIM l 1 -2", "+OK"),
            ("LRANGE l 0 -1", r#"["b", "c", "d"]"#),
            ("LTRIM l -100 100", "+OK"),
            ("LLEN l", ":3"),
            ("LTRIM l x 0", NOT_AN_INTEGER),
            ("LTRIM l 3 5", "+OK"),
            ("EXISTS l", ":0"),
            ("LTRIM l 0 0", "+OK"),
        ]);
    }

    #[test]
    fn positions_are_counted_by_rank_count_and_maxlen() {
        let rank_zero = "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                         negative to start from the end of the list";
        check(&[
            ("RPUSH l a b c 1 2 3 c c", ":8"),
            ("LPOS l c", ":2"),
            ("LPOS l c RANK 2", ":6"),
            ("LPOS l c RANK -1", ":7"),
            ("LPOS l c RANK 4", "nil"),
            ("LPOS l 2", ":4"),
            ("LPOS l x", "nil"),
            ("LPOS l c COUNT 2", "[:2, :6]"),
            ("LPOS l c COUNT 0", "[:2, :6, :7]"),
            ("LPOS l c COUNT 0 RANK -2", "[:6, :2]"),
            ("LPOS l c COUNT 0 MAXLEN 7", "[:2, :6]"),
            ("LPOS l c COUNT 0 MAXLEN 2", "[]"),
            ("LPOS l c MAXLEN 0", ":2"),
            ("LPOS l c RANK -1 MAXLEN 1 COUNT 5", "[:7]"),
            ("LPOS none c", "nil"),
            ("LPOS none c COUNT 1", "[]"),
            ("LPOS l c RANK 0", rank_zero),
            ("LPOS l c COUNT -1", "-ERR COUNT can't be negative"),
            ("LPOS l c MAXLEN -1", "-ERR MAXLEN can't be negative"),
            ("LPOS l c RANK x", NOT_AN_INTEGER),
            (
                "LPOS l c RANK -9223372036854775808",
                "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ),
            ("LPOS l c COUNT", SYNTAX),
            ("LPOS l c FOO 1", SYNTAX),
        ]);
    }

    #[test]
    fn elements_move_between_lists() {
        check(&[
            ("LMOVE a b LEFT RIGHT", "nil"),
            ("RPUSH a 1 2 3", ":3"),
            ("LMOVE a b up RIGHT", SYNTAX),
            ("LMOVE a b LEFT down", SYNTAX),
            ("LMOVE a b LEFT RIGHT", r#""1""#),
            ("RPOPLPUSH a b", r#""3""#),
            ("LRANGE b 0 -1", r#"["3", "1"]"#),
            ("LMOVE b b left right", r#""3""#),
            ("LMOVE b b right right", r#""3""#),
            ("LRANGE b 0 -1", r#"["1", "3"]"#),
            ("LMOVE a b RIGHT LEFT", r#""2""#),
            ("EXISTS a", ":0"),
            ("LRANGE b 0 -1", r#"["2", "1", "3"]"#),
            ("SET s x", "+OK"),
            ("LMOVE b s LEFT LEFT", WRONG_TYPE),
            ("LMOVE s b LEFT LEFT", WRONG_TYPE),
            ("LMOVE none s LEFT LEFT", "nil"),
            ("LLEN b", ":3"),
        ]);
    }

    #[test]
    fn a_list_of_one_rotates_without_losing_its_expiry() {
        check(&[
            ("RPUSH l a", ":1"),
            ("PEXPIRE l 1000", ":1"),
            ("RPOPLPUSH l l", r#""a""#),
            ("PTTL l", ":1000"),
            ("LRANGE l 0 -1", r#"["a"]"#),
        ]);
    }

    #[test]
    fn the_first_list_that_has_elements_is_popped() {
        let keys = "-ERR numkeys should be greater than 0";
        let count = "-ERR count should be greater than 0";
        check(&[
            ("RPUSH b 1 2 3", ":3"),
            ("LMPOP 2 a b LEFT", r#"["b", ["1"]]"#),
            ("LMPOP 2 a b right count 10", r#"["b", ["3", "2"]]"#),
            ("LMPOP 2 a b LEFT", "nil"),
            ("LMPOP 0 a LEFT", keys),
            ("LMPOP x a LEFT", keys),
            ("LMPOP 2 a LEFT", SYNTAX),
            ("LMPOP 3 a LEFT", SYNTAX),
            ("LMPOP 9223372036854775807 a LEFT", SYNTAX),
            ("LMPOP 1 a UP", SYNTAX),
            ("LMPOP 1 a LEFT COUNT", SYNTAX),
            ("LMPOP 1 a LEFT COUNT 0", count),
            ("LMPOP 1 a LEFT COUNT x", count),
            ("LMPOP 1 a LEFT COUNT 0 COUNT", count),
            ("LMPOP 1 a LEFT COUNT 1 COUNT 2", SYNTAX),
            ("LMPOP 1 a LEFT FOO 2", SYNTAX),
            ("BLMPOP 0 1 a UP", SYNTAX),
            ("BLMPOP x 1 a UP", SYNTAX),
            ("BLMPOP x 1 a LEFT", "-ERR timeout is not a float or out of range"),
            ("BLMPOP -1 1 a LEFT", "-ERR timeout is negative"),
            ("BLMPOP 0 0 a LEFT", keys),
        ]);
    }

    #[test]
    fn every_command_refuses_other_types() {
        let mut bench = Bench::new();
        bench.run("SET s 1");
        for command in [
            "LPUSH s a",
            "RPUSHX s a",
            "LPOP s",
            "LPOP s 1",
            "LLEN s",
            "LINDEX s 0",
            "LSET s x a",
            "LRANGE s 0 1",
            "LINSERT s BEFORE a b",
            "LREM s 0 a",
            "LTRIM s 0 1",
            "LPOS s a",
            "LMPOP 2 none s LEFT",
            "BLPOP none s 0",
            "BRPOP s 0",
            "BLMPOP 0 1 s LEFT",
            "BLMOVE s d LEFT LEFT 0",
            "BRPOPLPUSH s d 0",
            "RPOPLPUSH s d",
        ] {
            assert_eq!(bench.run(command), WRONG_TYPE, "{command}");
        }
    }

    #[test]
    fn blocking_commands_wait_only_where_they_may() {
        let mut bench = Bench::new();
        for (command, keys, ms) in [
            ("BLPOP a b 1.5", "a b", 1500),
            ("BRPOP a 0", "a", 0),
            ("BLMPOP 0.001 2 a b LEFT COUNT 3", "a b", 1),
            ("BLMOVE a b LEFT RIGHT 2", "a", 2000),
            ("BRPOPLPUSH a b 3", "a", 3000),
        ] {
            bench.context.deny_blocking = false;
            assert_eq!(bench.run(command), "(waits)", "{command}");
            let block = bench.block.take().expect("it waits");
            let waited: Vec<_> = block.keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
            assert_eq!((waited.join(" ").as_str(), block.timeout_ms), (keys, ms), "{command}");
            assert_eq!(block.on_timeout, TimeoutReply::NullArray);
            bench.context.deny_blocking = true;
            assert_eq!(bench.run(command), "nil", "{command}");
        }
        bench.check(&[
            ("BLPOP a -1", "-ERR timeout is negative"),
            ("BLPOP a x", "-ERR timeout is not a float or out of range"),
            ("BLMOVE a b LEFT UP x", SYNTAX),
            ("BLMOVE a b LEFT LEFT inf", "-ERR timeout is out of range"),
            ("RPUSH b 1 2 3 4 5 6", ":6"),
            ("BLPOP a b 0", r#"["b", "1"]"#),
            ("BRPOP a b 0", r#"["b", "6"]"#),
            ("BLMPOP 0 2 a b RIGHT COUNT 2", r#"["b", ["5", "4"]]"#),
            ("BLMOVE b c LEFT RIGHT 0", r#""2""#),
            ("BRPOPLPUSH b c 0", r#""3""#),
            ("LRANGE c 0 -1", r#"["3", "2"]"#),
        ]);
    }

    #[test]
    fn what_took_place_is_logged() {
        let mut bench = Bench::new();
        bench.run("RPUSH b 1 2 3 4 5 6 7 8 9");
        for (command, record) in [
            ("BLPOP a b 0", &["LPOP b"][..]),
            ("BRPOP a b 0", &["RPOP b"]),
            ("LMPOP 2 a b LEFT COUNT 2", &["LPOP b 2"]),
            ("LMPOP 1 a LEFT", &[]),
            ("BLMOVE b c left RIGHT 0", &["LMOVE b c left RIGHT"]),
            ("BRPOPLPUSH b c 0", &["RPOPLPUSH b c"]),
            ("BLMPOP 0 2 a b RIGHT COUNT 100", &["RPOP b 3"]),
            ("LMOVE c c LEFT RIGHT", &["LMOVE c c LEFT RIGHT"]),
            ("LTRIM c 0 -1", &[]),
            ("LREM c 0 none", &[]),
            ("LINSERT c BEFORE none 1", &[]),
            ("LPUSHX none 1", &[]),
            ("LPOP none", &[]),
            ("LPOP c 0", &[]),
            ("LPOP c", &["LPOP c"]),
        ] {
            bench.logs(command, record);
        }
    }

    #[test]
    fn changes_are_counted_and_announced() {
        let mut bench = Bench::new();
        for (command, events, changes) in [
            ("RPUSH l 1 2 3", &["new l", "rpush l"][..], 3),
            ("LPUSH l 0", &["lpush l"], 1),
            ("LPOP l 2", &["lpop l"], 2),
            ("LSET l 0 a", &["lset l"], 1),
            ("LINSERT l AFTER a b", &["linsert l"], 1),
            ("LINSERT l AFTER x b", &[], 0),
            ("LREM l 0 b", &["lrem l"], 1),
            ("LMOVE l m LEFT RIGHT", &["new m", "rpush m", "lpop l"], 1),
            ("RPOPLPUSH l m", &["lpush m", "rpop l", "del l"], 1),
            ("LMOVE m m RIGHT LEFT", &["lpush m", "rpop m"], 1),
            ("LTRIM m 0 5", &["ltrim m"], 0),
            ("LTRIM m 5 0", &["ltrim m", "del m"], 2),
            ("LTRIM m 5 0", &[], 0),
            ("RPUSH l 1", &["new l", "rpush l"], 1),
            ("LREM l 0 1", &["lrem l", "del l"], 1),
            ("BLMPOP 0 1 l LEFT", &[], 0),
        ] {
            let before = bench.store.dirty;
            bench.run(command);
            assert_eq!(
                (bench.events(), bench.store.dirty - before),
                (to_strings(events), changes),
                "{command}"
            );
        }
    }

    fn to_strings(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn both_keys_of_a_move_are_changed() {
        let mut bench = Bench::new();
        bench.run("RPUSH a 1");
        bench.store.track_changes = true;
        bench.run("LMOVE a b LEFT LEFT");
        let mut changed: Vec<_> = bench.store.changed.iter().map(|at| at.key[0] as char).collect();
        changed.sort_unstable();
        assert_eq!(changed, ['a', 'b']);
    }

    #[test]
    fn nulls_of_the_third_version_are_all_alike() {
        let mut bench = Bench::new();
        bench.protocol = Protocol::Resp3;
        bench.context.deny_blocking = true;
        for command in ["LPOP l", "LPOP l 1", "LMPOP 1 l LEFT", "BLPOP l 0", "BLMOVE l m LEFT LEFT 0"] {
            assert_eq!(bench.run(command), "nil", "{command}");
        }
    }

    #[test]
    fn due_lists_are_gone() {
        let mut bench = Bench::new();
        bench.check(&[("RPUSH l a", ":1"), ("PEXPIRE l 1", ":1")]);
        bench.store.now_ms = NOW_MS + 2;
        bench.check(&[("LPUSHX l b", ":0"), ("RPUSH l c", ":1"), ("LRANGE l 0 -1", r#"["c"]"#)]);
    }

    #[track_caller]
    fn encoding(bench: &mut Bench, expected: &str) {
        assert_eq!(bench.run("OBJECT ENCODING l"), format!("{expected:?}"));
    }

    #[test]
    fn encodings_change_at_the_limit_and_at_half_of_it() {
        let mut bench = Bench::new();
        bench.store.limits.list_listpack_size = 4;
        bench.run("RPUSH l 1 2 3 4");
        encoding(&mut bench, "listpack");
        bench.run("RPUSH l 5");
        encoding(&mut bench, "quicklist");
        bench.run("RPOP l 2");
        encoding(&mut bench, "quicklist");
        bench.run("RPOP l");
        encoding(&mut bench, "listpack");
        bench.run("LPUSH l 1 2 3");
        encoding(&mut bench, "quicklist");
        // Two nodes stay two, however little is in them.
        bench.run("LTRIM l 0 1");
        encoding(&mut bench, "quicklist");
        bench.run("LPOP l");
        encoding(&mut bench, "listpack");
        bench.run("RPUSH l 2");
        // One more than there is room for, whether or not the pivot is found.
        bench.check(&[("RPUSH l 3 4", ":4"), ("LINSERT l BEFORE none x", ":-1")]);
        encoding(&mut bench, "quicklist");
        bench.run("LREM l -2 3");
        bench.run("LREM l 0 4");
        encoding(&mut bench, "listpack");
    }

    #[test]
    fn encodings_change_with_bytes_too() {
        let mut bench = Bench::new();
        bench.store.limits.list_listpack_size = -1;
        let big = "x".repeat(4090);
        bench.run(&format!("RPUSH l {big}"));
        encoding(&mut bench, "quicklist");
        bench.run("LSET l 0 small");
        encoding(&mut bench, "listpack");
        bench.run(&format!("LSET l 0 {big}"));
        encoding(&mut bench, "quicklist");
        bench.run("RPUSH l 1");
        bench.run("LPOP l");
        encoding(&mut bench, "listpack");
        bench.check(&[("LRANGE l 0 -1", r#"["1"]"#)]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(bool, Vec<u16>),
        Pop(bool, usize),
        Set(i64, u16),
        Insert(bool, u16, u16),
        Remove(i64, u16),
        Trim(i64, i64),
        Move(bool, bool),
        Find(u16, i64),
    }

    /// Few small numbers and a few long words, so that elements repeat and nodes overflow.
    fn element(number: u16) -> String {
        if number.is_multiple_of(5) {
            format!("{number}{}", "x".repeat(usize::from(number) * 40))
        } else {
            number.to_string()
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = -12..12i64;
        let value = 0..12u16;
        prop_oneof![
            4 => (any::<bool>(), proptest::collection::vec(value.clone(), 1..6)).prop_map(|(head, values)| Step::Push(head, values)),
            3 => (any::<bool>(), 0..4usize).prop_map(|(head, count)| Step::Pop(head, count)),
            2 => (index.clone(), value.clone()).prop_map(|(index, value)| Step::Set(index, value)),
            2 => (any::<bool>(), value.clone(), value.clone()).prop_map(|(after, pivot, value)| Step::Insert(after, pivot, value)),
            1 => (-3..4i64, value.clone()).prop_map(|(count, value)| Step::Remove(count, value)),
            1 => (index.clone(), index).prop_map(|(start, end)| Step::Trim(start, end)),
            1 => (any::<bool>(), any::<bool>()).prop_map(|(from, to)| Step::Move(from, to)),
            1 => (value, 1..4i64).prop_map(|(value, rank)| Step::Find(value, rank)),
        ]
    }

    fn side(is_head: bool) -> &'static str {
        if is_head { "LEFT" } else { "RIGHT" }
    }

    fn pop_twin(twin: &mut VecDeque<String>, is_head: bool) -> Option<String> {
        if is_head { twin.pop_front() } else { twin.pop_back() }
    }

    fn push_twin(twin: &mut VecDeque<String>, is_head: bool, value: String) {
        if is_head { twin.push_front(value) } else { twin.push_back(value) }
    }

    fn show(items: &[String]) -> String {
        let quoted: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
        format!("[{}]", quoted.join(", "))
    }

    /// Does one step to the twin; the command that does the same, and the reply it must give.
    fn take(step: Step, twin: &mut VecDeque<String>) -> (String, String) {
        let len = twin.len() as i64;
        let forward = |index: i64| if index < 0 { index + len } else { index };
        match step {
            Step::Push(is_head, values) => {
                let words: Vec<_> = values.into_iter().map(element).collect();
                words.iter().for_each(|word| push_twin(twin, is_head, word.clone()));
                (format!("{}PUSH l {}", &side(is_head)[..1], words.join(" ")), format!(":{}", twin.len()))
            }
            Step::Pop(is_head, count) => {
                let popped: Vec<_> = (0..count).filter_map(|_| pop_twin(twin, is_head)).collect();
                let reply = if len == 0 { "nil".into() } else { show(&popped) };
                (format!("{}POP l {count}", &side(is_head)[..1]), reply)
            }
            Step::Set(index, value) => {
                let slot = usize::try_from(forward(index)).ok().and_then(|index| twin.get_mut(index));
                let reply = match slot {
                    _ if len == 0 => "-ERR no such key",
                    None => "-ERR index out of range",
                    Some(slot) => {
                        *slot = element(value);
                        "+OK"
                    }
                };
                (format!("LSET l {index} {}", element(value)), reply.into())
            }
            Step::Insert(is_after, pivot, value) => {
                let command = format!(
                    "LINSERT l {} {} {}",
                    if is_after { "AFTER" } else { "BEFORE" },
                    element(pivot),
                    element(value)
                );
                let found = twin.iter().position(|own| *own == element(pivot));
                if let Some(index) = found {
                    twin.insert(index + usize::from(is_after), element(value));
                }
                let reply = if len == 0 {
                    0
                } else if found.is_none() {
                    -1
                } else {
                    len + 1
                };
                (command, format!(":{reply}"))
            }
            Step::Remove(count, value) => {
                let most = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
                let equal = (0..twin.len()).filter(|&index| twin[index] == element(value));
                let mut doomed: Vec<usize> =
                    if count < 0 { equal.rev().take(most).collect() } else { equal.take(most).collect() };
                doomed.sort_unstable();
                doomed.iter().rev().for_each(|&index| _ = twin.remove(index));
                (format!("LREM l {count} {}", element(value)), format!(":{}", doomed.len()))
            }
            Step::Trim(start, end) => {
                let (first, last) = (forward(start), forward(end));
                *twin = (0..len)
                    .filter(|&index| first <= index && index <= last)
                    .map(|index| twin[index as usize].clone())
                    .collect();
                (format!("LTRIM l {start} {end}"), "+OK".into())
            }
            Step::Move(from, to) => {
                let moved = pop_twin(twin, from);
                let reply = moved.as_ref().map_or("nil".into(), |moved| format!("{moved:?}"));
                if let Some(moved) = moved {
                    push_twin(twin, to, moved);
                }
                (format!("LMOVE l l {} {}", side(from), side(to)), reply)
            }
            Step::Find(value, rank) => {
                let found =
                    (0..twin.len()).filter(|&index| twin[index] == element(value)).nth(rank as usize - 1);
                let reply = found.map_or("nil".into(), |index| format!(":{index}"));
                (format!("LPOS l {} RANK {rank}", element(value)), reply)
            }
        }
    }

    proptest! {
        /// What could go wrong: an index that lands in the wrong node, a conversion that loses or turns round elements.
        #[test]
        fn lists_do_what_a_deque_does(limit in prop_oneof![Just(-1i64), Just(2), Just(5), Just(128)],
                                      steps in proptest::collection::vec(step(), 1..60)) {
            let (mut bench, mut twin) = (Bench::new(), VecDeque::new());
            bench.store.limits.list_listpack_size = limit;
            for step in steps {
                let (command, reply) = take(step, &mut twin);
                prop_assert_eq!(bench.run(&command), reply, "{}", command);
                prop_assert_eq!(bench.run("LRANGE l 0 -1"), show(twin.make_contiguous()));
                prop_assert_eq!(bench.store.exists(b"l"), !twin.is_empty());
            }
        }
    }
}
