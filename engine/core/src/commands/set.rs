//! Sets: members, random picks, and the algebra of several sets.
//!
//! Always true: what a random pick took out is logged by name, so that replay takes out the same.
//!
//! Not here: encodings (`store/set.rs`), options of SSCAN (`scan.rs`).

use alloc::vec::Vec;

use perdura_structures::{
    listpack::{Item, Listpack},
    table::ContentRef,
};

use super::{
    Args, Call, Command, CommandResult, KeySpec, parse_count, parse_signed_count, reply_item,
    scan::{ScanOptions, parse_cursor, reply_cursor},
    spec::{acl, flag, key_flag},
};
use crate::{
    error::{Error, KEY_COUNT_NOT_POSITIVE, SYNTAX},
    rng::Rng,
    store::{
        Class, Kind, Store, Value,
        set::{Set, SetLimits},
    },
};

const READ: u32 = key_flag::RO | key_flag::ACCESS;
const READ_KEY: &[KeySpec] = &[KeySpec::one(1, READ)];
const READ_KEYS: &[KeySpec] = &[KeySpec::range(1, -1, 1, READ)];
const LOOK_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RO)];
const INSERT: u32 = key_flag::RW | key_flag::INSERT;
const TAKE: u32 = key_flag::RW | key_flag::ACCESS | key_flag::DELETE;
const STORE_KEYS: &[KeySpec] =
    &[KeySpec::one(1, key_flag::OW | key_flag::UPDATE), KeySpec::range(2, -1, 1, READ)];
const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];
const ANY_OUTPUT: &[&str] = &["nondeterministic_output"];
const STORE_FLAGS: u32 = flag::WRITE | flag::DENYOOM;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("sadd", -3, flag::WRITE | flag::DENYOOM | flag::FAST, sadd)
        .keys(&[KeySpec::one(1, INSERT)])
        .acl(acl::SET)
        .doc(
            "set",
            "1.0.0",
            "Adds members. Makes the set if there is none.",
            "O(N) where N is the number of members added.",
        ),
    Command::run("scard", 2, flag::READONLY | flag::FAST, scard).keys(LOOK_KEY).acl(acl::SET).doc(
        "set",
        "1.0.0",
        "Counts the members.",
        "O(1)",
    ),
    Command::run("sdiff", -2, flag::READONLY, sdiff)
        .keys(READ_KEYS)
        .acl(acl::SET)
        .doc(
            "set",
            "1.0.0",
            "Gives the members of the first set that are in no other.",
            "O(N) where N is the number of members of all sets.",
        )
        .tips(ANY_ORDER),
    Command::run("sdiffstore", -3, STORE_FLAGS, sdiffstore).keys(STORE_KEYS).acl(acl::SET).doc(
        "set",
        "1.0.0",
        "Stores the members of the first set that are in no other.",
        "O(N) where N is the number of members of all sets.",
    ),
    Command::run("sinter", -2, flag::READONLY, sinter)
        .keys(READ_KEYS)
        .acl(acl::SET)
        .doc(
            "set",
            "1.0.0",
            "Gives the members that are in every set.",
            "O(N*M) where N is the size of the smallest set and M the number of sets.",
        )
        .tips(ANY_ORDER),
    Command::run("sintercard", -3, flag::READONLY | flag::MOVABLE_KEYS, sintercard)
        .keys(&[KeySpec::counted(1, READ)])
        .acl(acl::SET)
        .doc(
            "set",
            "7.0.0",
            "Counts the members that are in every set.",
            "O(N*M) where N is the size of the smallest set and M the number of sets.",
        ),
    Command::run("sinterstore", -3, STORE_FLAGS, sinterstore)
        .keys(&[KeySpec::one(1, key_flag::RW | key_flag::UPDATE), KeySpec::range(2, -1, 1, READ)])
        .acl(acl::SET)
        .doc(
            "set",
            "1.0.0",
            "Stores the members that are in every set.",
            "O(N*M) where N is the size of the smallest set and M the number of sets.",
        ),
    Command::run("sismember", 3, flag::READONLY | flag::FAST, sismember).keys(LOOK_KEY).acl(acl::SET).doc(
        "set",
        "1.0.0",
        "Says whether a set has a member.",
        "O(1)",
    ),
    Command::run("smembers", 2, flag::READONLY, sinter)
        .keys(READ_KEY)
        .acl(acl::SET)
        .doc("set", "1.0.0", "Gives all members.", "O(N) where N is the number of members.")
        .tips(ANY_ORDER),
    Command::run("smismember", -3, flag::READONLY | flag::FAST, smismember).keys(READ_KEY).acl(acl::SET).doc(
        "set",
        "6.2.0",
        "Says of several members whether a set has them.",
        "O(N) where N is the number of members asked for.",
    ),
    Command::run("smove", 4, flag::WRITE | flag::FAST, smove)
        .keys(&[KeySpec::one(1, TAKE), KeySpec::one(2, INSERT)])
        .acl(acl::SET)
        .doc("set", "1.0.0", "Moves a member from one set to another.", "O(1)"),
    Command::run("spop", -2, flag::WRITE | flag::FAST, spop)
        .keys(&[KeySpec::one(1, TAKE)])
        .acl(acl::SET)
        .doc(
            "set",
            "1.0.0",
            "Takes out members chosen at random.",
            "O(N) where N is the number of members taken out.",
        )
        .tips(ANY_OUTPUT),
    Command::run("srandmember", -2, flag::READONLY, srandmember)
        .keys(READ_KEY)
        .acl(acl::SET)
        .doc("set", "1.0.0", "Gives members chosen at random.", "O(N) where N is the amount of the count.")
        .tips(ANY_OUTPUT),
    Command::run("srem", -3, flag::WRITE | flag::FAST, srem)
        .keys(&[KeySpec::one(1, key_flag::RW | key_flag::DELETE)])
        .acl(acl::SET)
        .doc("set", "1.0.0", "Takes out members.", "O(N) where N is the number of members named."),
    Command::run("sscan", -3, flag::READONLY, sscan)
        .keys(READ_KEY)
        .acl(acl::SET)
        .doc(
            "set",
            "2.8.0",
            "Gives some of the members and a cursor for the rest.",
            "O(1) for every call. O(N) for a complete iteration, until the cursor is 0 again.",
        )
        .tips(ANY_OUTPUT),
    Command::run("sunion", -2, flag::READONLY, sunion)
        .keys(READ_KEYS)
        .acl(acl::SET)
        .doc(
            "set",
            "1.0.0",
            "Gives the members that are in any of the sets.",
            "O(N) where N is the number of members of all sets.",
        )
        .tips(ANY_ORDER),
    Command::run("sunionstore", -3, STORE_FLAGS, sunionstore).keys(STORE_KEYS).acl(acl::SET).doc(
        "set",
        "1.0.0",
        "Stores the members that are in any of the sets.",
        "O(N) where N is the number of members of all sets.",
    ),
];

/// Members named in one SREM of the log when many were popped; several such commands are one unit.
const MEMBERS_PER_RECORD: usize = 1024;

const TOO_FEW_KEYS: Error = Error::new("ERR Number of keys can't be greater than number of args");
const LIMIT_NEGATIVE: Error = Error::new("ERR LIMIT can't be negative");

// --- Members ------------------------------------------------------------------------------------

fn sadd(call: &mut Call) -> CommandResult {
    let (key, members) = (call.args[1], &call.args[2..]);
    let limits = SetLimits::new(&call.store.limits);
    let added = call.store.edit_or_insert(
        key,
        |_| Set::for_members(members[0], members.len(), limits),
        |set: &mut Set| {
            set.expect_members(members.len(), limits);
            members.iter().filter(|member| set.add(member, limits)).count()
        },
    )?;
    let added = added.value().expect("the set is made if there is none");
    if added > 0 {
        call.store.touch(key, added as u64);
        call.store.notify(Class::Set, "sadd", key);
    }
    call.reply.integer(added as i64);
    Ok(())
}

fn srem(call: &mut Call) -> CommandResult {
    let (key, members) = (call.args[1], &call.args[2..]);
    let removed =
        call.store.edit(key, |set: &mut Set| members.iter().filter(|member| set.remove(member)).count())?;
    let is_emptied = removed.is_emptied();
    let removed = removed.value().unwrap_or(0);
    if removed > 0 {
        call.store.touch(key, removed as u64);
        call.store.notify(Class::Set, "srem", key);
    }
    if is_emptied {
        call.store.notify(Class::Generic, "del", key);
    }
    call.reply.integer(removed as i64);
    Ok(())
}

fn smove(call: &mut Call) -> CommandResult {
    let &[_, source, destination, member] = call.args else { unreachable!("the arity is checked") };
    let Some(set) = call.store.find_kind::<Set>(source)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let is_member = set.contains(member);
    // Before anything is taken out: an error must leave the source whole.
    call.store.find_kind::<Set>(destination)?;
    call.reply.integer(i64::from(is_member));
    if !is_member || source == destination {
        return Ok(());
    }
    let is_emptied = call.store.edit(source, |set: &mut Set| set.remove(member))?.is_emptied();
    call.store.touch(source, 1);
    call.store.notify(Class::Set, "srem", source);
    if is_emptied {
        call.store.notify(Class::Generic, "del", source);
    }
    let limits = SetLimits::new(&call.store.limits);
    let added = call.store.edit_or_insert(
        destination,
        |_| Set::for_members(member, 1, limits),
        |set: &mut Set| set.add(member, limits),
    )?;
    if added.value() == Some(true) {
        call.store.touch(destination, 1);
        call.store.notify(Class::Set, "sadd", destination);
    }
    Ok(())
}

fn scard(call: &mut Call) -> CommandResult {
    let len = call.store.get::<Set>(call.args[1])?.map_or(0, Set::len);
    call.reply.integer(len as i64);
    Ok(())
}

fn sismember(call: &mut Call) -> CommandResult {
    let is_member = call.store.get::<Set>(call.args[1])?.is_some_and(|set| set.contains(call.args[2]));
    call.reply.integer(i64::from(is_member));
    Ok(())
}

fn smismember(call: &mut Call) -> CommandResult {
    let (set, members) = (call.store.get::<Set>(call.args[1])?, &call.args[2..]);
    call.reply.array(members.len());
    for member in members {
        call.reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

fn sscan(call: &mut Call) -> CommandResult {
    let mut cursor = parse_cursor(call.args[2])?;
    let Some(set) = call.store.get::<Set>(call.args[1])? else {
        reply_cursor(call.reply, 0);
        call.reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::of_collection(call.args)?;
    let (mut found, mut seen) = (Vec::new(), 0);
    // Ten steps per member wanted: a table that was emptied must not hold the server up.
    for _ in 0..options.count.saturating_mul(10) {
        cursor = set.scan(cursor, &mut |member| {
            seen += 1;
            if options.matches(member) {
                found.push(member.to_vec());
            }
        });
        if cursor == 0 || seen >= options.count {
            break;
        }
    }
    reply_cursor(call.reply, cursor);
    call.reply.array(found.len());
    found.iter().for_each(|member| call.reply.bulk(member));
    Ok(())
}

// --- Random picks -------------------------------------------------------------------------------

/// A generator for one command, so that a set can be borrowed meanwhile.
fn own_rng(call: &mut Call) -> Rng {
    Rng::from_seed(call.store.rng.next_u64())
}

fn spop(call: &mut Call) -> CommandResult {
    match call.args.len() {
        2 => spop_one(call),
        3 => spop_many(call),
        _ => Err(SYNTAX),
    }
}

fn spop_one(call: &mut Call) -> CommandResult {
    let (key, mut rng) = (call.args[1], own_rng(call));
    let popped = call.store.edit(key, |set: &mut Set| set.pop(&mut rng))?;
    let is_emptied = popped.is_emptied();
    let Some(member) = popped.value() else {
        call.reply.null();
        return Ok(());
    };
    call.reply.bulk(&member);
    call.record.replace(&[b"SREM", key, &member]);
    announce_pops(call, key, 1, is_emptied);
    Ok(())
}

fn spop_many(call: &mut Call) -> CommandResult {
    let (key, count) = (call.args[1], call.count(2)?);
    let len = call.store.find_kind::<Set>(key)?.map_or(0, Set::len);
    if len == 0 || count == 0 {
        call.reply.set(0);
        return Ok(());
    }
    if count >= len {
        return spop_all(call, key);
    }
    let mut rng = own_rng(call);
    let popped = call.store.edit(key, |set: &mut Set| (0..count).map(|_| set.pop(&mut rng)).collect())?;
    let popped: Vec<Vec<u8>> = popped.value().expect("the set was just looked up");
    call.reply.set(popped.len());
    for members in popped.chunks(MEMBERS_PER_RECORD) {
        let mut command: Vec<&[u8]> = Vec::from([&b"SREM"[..], key]);
        command.extend(members.iter().map(Vec::as_slice));
        call.record.replace(&command);
        members.iter().for_each(|member| call.reply.bulk(member));
    }
    announce_pops(call, key, count, false);
    Ok(())
}

fn spop_all(call: &mut Call, key: &[u8]) -> CommandResult {
    let set = call.store.find_kind::<Set>(key)?.expect("the set was just looked up");
    let len = set.len();
    call.reply.set(len);
    set.iter().for_each(|member| reply_item(call.reply, member));
    call.store.remove(key);
    let removal: &[u8] = if call.context.lazyfree_server_del { b"UNLINK" } else { b"DEL" };
    call.record.replace(&[removal, key]);
    announce_pops(call, key, len, true);
    Ok(())
}

fn announce_pops(call: &mut Call, key: &[u8], count: usize, is_emptied: bool) {
    call.store.touch(key, count as u64);
    call.store.notify(Class::Set, "spop", key);
    if is_emptied {
        call.store.notify(Class::Generic, "del", key);
    }
}

fn srandmember(call: &mut Call) -> CommandResult {
    let count = match call.args.len() {
        2 => None,
        3 => Some(parse_signed_count(call.args[2])?),
        _ => return Err(SYNTAX),
    };
    let mut rng = own_rng(call);
    let set = call.store.get::<Set>(call.args[1])?;
    match (set, count) {
        (None, None) => call.reply.null(),
        (Some(set), None) => reply_item(call.reply, set.random(&mut rng)),
        (None, Some(_)) => call.reply.array(0),
        // A negative count: the same member may come again.
        (Some(set), Some((count, true))) => {
            call.reply.array(count);
            for _ in 0..count {
                // There may be a billion of them, however small the set is.
                if call.reply.is_overlong() {
                    break;
                }
                reply_item(call.reply, set.random(&mut rng));
            }
        }
        (Some(set), Some((count, false))) => {
            let count = count.min(set.len());
            call.reply.array(count);
            set.random_distinct(count, &mut rng, &mut |member| reply_item(call.reply, member));
        }
    }
    Ok(())
}

// --- Several sets -------------------------------------------------------------------------------

/// The sets at these keys; `None` where there is no key.
fn sets<'a>(store: &'a mut Store, keys: Args<'_>) -> Result<Vec<Option<&'a Set>>, Error> {
    for key in keys {
        store.get::<Set>(key)?;
    }
    let store: &'a Store = store;
    let set_at = |key: &&[u8]| match store.peek(key)?.content() {
        ContentRef::Object(object) => Set::of(object),
        _ => None,
    };
    Ok(keys.iter().map(set_at).collect())
}

/// The sets at these keys, the smallest first; `None` if one is missing, so that nothing is in all of them.
fn sets_to_intersect<'a>(store: &'a mut Store, keys: Args<'_>) -> Result<Option<Vec<&'a Set>>, Error> {
    let sets: Option<Vec<&Set>> = sets(store, keys)?.into_iter().collect();
    Ok(sets.map(|mut sets| {
        sets.sort_by_key(|set| set.len());
        sets
    }))
}

/// Members that are in all of these sets, in the order of the first.
fn intersection<'a>(sets: &'a [&'a Set]) -> impl Iterator<Item = Item<'a>> {
    let others = &sets[1..];
    let is_in_all = move |member: &Item<'a>| {
        others.iter().all(|set| core::ptr::eq(*set, sets[0]) || set.contains_item(*member))
    };
    sets[0].iter().filter(is_in_all)
}

fn sinter(call: &mut Call) -> CommandResult {
    let Some(sets) = sets_to_intersect(call.store, &call.args[1..])? else {
        call.reply.set(0);
        return Ok(());
    };
    let begun = call.reply.defer_len();
    let count = intersection(&sets).map(|member| reply_item(call.reply, member)).count();
    call.reply.set_deferred(begun, count);
    Ok(())
}

fn sinterstore(call: &mut Call) -> CommandResult {
    let limits = SetLimits::new(&call.store.limits);
    let sets = sets_to_intersect(call.store, &call.args[2..])?;
    let result = sets.map(|sets| {
        // Members of an intset come in ascending order and stay one; others are expected to be few.
        let mut result = match sets[0] {
            Set::Intset(_) => empty_intset(),
            _ => Set::Listpack(Listpack::new()),
        };
        for member in intersection(&sets) {
            result.add_item(member, limits);
        }
        result.shrink_to_intset(limits);
        result
    });
    store_result(call, result, "sinterstore");
    Ok(())
}

fn sintercard(call: &mut Call) -> CommandResult {
    let key_count = parse_count(call.args[1], 1).ok_or(KEY_COUNT_NOT_POSITIVE)?;
    let rest = &call.args[2..];
    if key_count > rest.len() {
        return Err(TOO_FEW_KEYS);
    }
    let (keys, options) = rest.split_at(key_count);
    let mut limit = 0;
    for option in options.chunks(2) {
        match option {
            [word, value] if word.eq_ignore_ascii_case(b"limit") => {
                limit = parse_count(value, 0).ok_or(LIMIT_NEGATIVE)?;
            }
            _ => return Err(SYNTAX),
        }
    }
    let counted_max = if limit == 0 { usize::MAX } else { limit };
    let sets = sets_to_intersect(call.store, keys)?;
    let count = sets.map_or(0, |sets| intersection(&sets).take(counted_max).count());
    call.reply.integer(count as i64);
    Ok(())
}

fn sunion(call: &mut Call) -> CommandResult {
    reply_combined(call, union)
}

fn sdiff(call: &mut Call) -> CommandResult {
    reply_combined(call, difference)
}

fn sunionstore(call: &mut Call) -> CommandResult {
    let result = stored_combined(call, union)?;
    store_result(call, Some(result), "sunionstore");
    Ok(())
}

fn sdiffstore(call: &mut Call) -> CommandResult {
    let result = stored_combined(call, difference)?;
    store_result(call, Some(result), "sdiffstore");
    Ok(())
}

/// Makes one set out of several, adding to an empty one.
type Combine = fn(&[Option<&Set>], Set, SetLimits) -> Set;

fn reply_combined(call: &mut Call, combine: Combine) -> CommandResult {
    let limits = SetLimits::new(&call.store.limits);
    let sets = sets(call.store, &call.args[1..])?;
    let is_intset = |set: &&Set| matches!(set, Set::Intset(_));
    // Only the members are wanted: unless all of them are integers, a table finds them soonest.
    let empty = if sets.iter().flatten().all(is_intset) { empty_intset() } else { Set::new_table(limits) };
    let result = combine(&sets, empty, limits);
    call.reply.set(result.len());
    result.iter().for_each(|member| reply_item(call.reply, member));
    Ok(())
}

fn stored_combined(call: &mut Call, combine: Combine) -> Result<Set, Error> {
    let limits = SetLimits::new(&call.store.limits);
    let sets = sets(call.store, &call.args[2..])?;
    Ok(combine(&sets, empty_intset(), limits))
}

fn empty_intset() -> Set {
    Set::Intset(Default::default())
}

fn union(sets: &[Option<&Set>], empty: Set, limits: SetLimits) -> Set {
    let mut result = empty;
    for member in sets.iter().flatten().flat_map(|set| set.iter()) {
        result.add_item(member, limits);
    }
    result
}

fn difference(sets: &[Option<&Set>], empty: Set, limits: SetLimits) -> Set {
    let (Some(first), others) = (sets[0], &sets[1..]) else { return empty };
    let mut others: Vec<&Set> = others.iter().flatten().copied().collect();
    if others.iter().any(|set| core::ptr::eq(*set, first)) {
        return empty;
    }
    // Either each member of the first set is looked for in all others, or all others are taken out of it. Looking costs
    // half: it ends with the first hit.
    let looking = first.len() * (others.len() + 1) / 2;
    let taking = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
    if looking <= taking {
        // The largest one first: there a hit is likeliest.
        others.sort_by_key(|set| core::cmp::Reverse(set.len()));
        members_in_none(first, &others, empty, limits)
    } else {
        members_left(first, &others, empty, limits)
    }
}

fn members_in_none(first: &Set, others: &[&Set], empty: Set, limits: SetLimits) -> Set {
    let mut result = empty;
    for member in first.iter().filter(|member| !others.iter().any(|set| set.contains_item(*member))) {
        result.add_item(member, limits);
    }
    result
}

fn members_left(first: &Set, others: &[&Set], empty: Set, limits: SetLimits) -> Set {
    let mut result = union(&[Some(first)], empty, limits);
    for set in others {
        for member in set.iter() {
            result.remove(member.text(&mut Default::default()));
        }
        if result.len() == 0 {
            break;
        }
    }
    result
}

/// Puts a result at `args[1]`, where an empty one means that there is no key, and answers with its size.
fn store_result(call: &mut Call, result: Option<Set>, event: &'static str) {
    let destination = call.args[1];
    let len = result.as_ref().map_or(0, Set::len);
    match result.filter(|_| len > 0) {
        Some(set) => {
            call.store.set(destination, Value::Object(set.wrap()), false);
            call.store.touch(destination, 1);
            call.store.notify(Class::Set, event, destination);
        }
        None => {
            if call.store.remove(destination) {
                call.store.touch_removed(destination);
            }
        }
    }
    call.reply.integer(len as i64);
}

#[cfg(test)]
mod tests {
    use alloc::{
        collections::{BTreeMap, BTreeSet},
        format,
        string::{String, ToString},
        vec::Vec,
    };

    use proptest::prelude::*;

    use crate::{
        commands::testing::{Bench, NOW_MS, check},
        resp::{Protocol, Reply},
    };

    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    const SYNTAX: &str = "-ERR syntax error";

    #[test]
    fn members_come_and_go() {
        check(&[
            ("SADD s 3 1 2 1", ":3"),
            ("SADD s 1 4", ":1"),
            ("SMEMBERS s", r#"["1", "2", "3", "4"]"#),
            ("SCARD s", ":4"),
            ("SISMEMBER s 4", ":1"),
            ("SISMEMBER s x", ":0"),
            ("SISMEMBER s 04", ":0"),
            ("SMISMEMBER s 1 x 2", "[:1, :0, :1]"),
            ("SMISMEMBER none 1 x", "[:0, :0]"),
            ("SREM s x 1 2 5", ":2"),
            ("SREM s 3 4 1", ":2"),
            ("EXISTS s", ":0"),
            ("SREM s 1", ":0"),
            ("SCARD s", ":0"),
            ("SISMEMBER s 1", ":0"),
            ("SMEMBERS s", "[]"),
        ]);
    }

    #[test]
    fn members_move_between_sets() {
        check(&[
            ("SADD a 1 x", ":2"),
            ("SADD b 2 x", ":2"),
            ("SMOVE a b 1", ":1"),
            ("SMOVE a b 9", ":0"),
            ("SMOVE a a x", ":1"),
            ("SMOVE a a y", ":0"),
            ("SMOVE a b x", ":1"),
            ("EXISTS a", ":0"),
            ("SCARD b", ":3"),
            ("SMOVE a b x", ":0"),
            ("SET text v", "+OK"),
            ("SMOVE none text x", ":0"),
            ("SMOVE b text x", WRONG_TYPE),
            ("SMOVE b text none", WRONG_TYPE),
            ("SMOVE text b x", WRONG_TYPE),
            ("SISMEMBER b x", ":1"),
        ]);
    }

    #[test]
    fn sets_are_intersected_joined_and_subtracted() {
        check(&[
            ("SADD a 1 2 3 4", ":4"),
            ("SADD b 2 4 6", ":3"),
            ("SADD c 4 5", ":2"),
            ("SINTER a b c", r#"["4"]"#),
            ("SINTER a b none", "[]"),
            ("SINTER a a", r#"["1", "2", "3", "4"]"#),
            ("SUNION a b c none", r#"["1", "2", "3", "4", "5", "6"]"#),
            ("SDIFF a b c", r#"["1", "3"]"#),
            ("SDIFF a none", r#"["1", "2", "3", "4"]"#),
            ("SDIFF a b a", "[]"),
            ("SDIFF none a", "[]"),
            ("SINTERCARD 2 a b", ":2"),
            ("SINTERCARD 2 a b LIMIT 1", ":1"),
            ("SINTERCARD 2 a b LIMIT 0", ":2"),
            ("SINTERCARD 2 a none", ":0"),
            ("SINTERSTORE d a b", ":2"),
            ("SMEMBERS d", r#"["2", "4"]"#),
            ("SUNIONSTORE d d c", ":3"),
            ("SMEMBERS d", r#"["2", "4", "5"]"#),
            ("SDIFFSTORE d d c", ":1"),
            ("SMEMBERS d", r#"["2"]"#),
            ("SDIFFSTORE d d d", ":0"),
            ("EXISTS d", ":0"),
            ("SET d text", "+OK"),
            ("SINTERSTORE d a none", ":0"),
            ("EXISTS d", ":0"),
            ("SET d text EX 100", "+OK"),
            ("SUNIONSTORE d c", ":2"),
            ("TTL d", ":-1"),
        ]);
    }

    #[test]
    fn both_ways_to_subtract_agree() {
        // The first set is large and the others many and small, so that they are taken out of it.
        let mut bench = Bench::new();
        for number in 0..100 {
            bench.run(&format!("SADD a {number} w{number}"));
        }
        for number in 0..5 {
            bench.run(&format!("SADD small{number} {number} w{number} other"));
        }
        bench.check(&[
            ("SDIFFSTORE d a small0 small1 small2 small3 small4", ":190"),
            ("SISMEMBER d 4", ":0"),
            ("SISMEMBER d w5", ":1"),
            ("SDIFFSTORE d small0 a", ":1"),
            ("SMEMBERS d", r#"["other"]"#),
        ]);
    }

    #[test]
    fn arguments_of_sintercard_are_checked() {
        let numkeys = "-ERR numkeys should be greater than 0";
        check(&[
            ("SINTERCARD 0 a", numkeys),
            ("SINTERCARD x a", numkeys),
            ("SINTERCARD 2 a", "-ERR Number of keys can't be greater than number of args"),
            ("SINTERCARD 1 a b", SYNTAX),
            ("SINTERCARD 1 a LIMIT", SYNTAX),
            ("SINTERCARD 1 a LIMIT -1", "-ERR LIMIT can't be negative"),
            ("SINTERCARD 1 a LIMIT x", "-ERR LIMIT can't be negative"),
            ("SINTERCARD 1 a LIMIT 1 LIMIT 2", ":0"),
        ]);
    }

    #[test]
    fn every_command_refuses_other_types() {
        let mut bench = Bench::new();
        bench.run("SET text 1");
        bench.run("SADD s 1");
        for command in [
            "SADD text 1",
            "SREM text 1",
            "SISMEMBER text 1",
            "SMISMEMBER text 1",
            "SCARD text",
            "SMEMBERS text",
            "SPOP text",
            "SPOP text 1",
            "SPOP text 0",
            "SRANDMEMBER text",
            "SRANDMEMBER text 1",
            "SINTER none text",
            "SINTERSTORE d none text",
            "SINTERCARD 2 none text",
            "SUNION s text",
            "SUNIONSTORE d text",
            "SDIFF none text",
            "SDIFFSTORE d s text",
            "SSCAN text 0",
        ] {
            assert_eq!(bench.run(command), WRONG_TYPE, "{command}");
        }
    }

    /// The members in a reply, sorted.
    fn members(reply: &str) -> Vec<String> {
        let mut members: Vec<_> = reply.split('"').skip(1).step_by(2).map(String::from).collect();
        members.sort();
        members
    }

    #[test]
    fn popped_members_are_logged_by_name() {
        let mut bench = Bench::new();
        bench.run("SADD s a b c");
        bench.records();
        let popped = bench.run("SPOP s");
        assert_eq!(bench.records(), [format!("SREM s {}", popped.trim_matches('"'))]);
        let popped = bench.run("SPOP s 1");
        assert_eq!(bench.records(), [format!("SREM s {}", members(&popped)[0])]);
        bench.logs("SPOP s 0", &[]);
        bench.logs("SPOP s 7", &["DEL s"]);
        bench.logs("SPOP s 7", &[]);
        bench.logs("SPOP s", &[]);
        bench.context.lazyfree_server_del = true;
        bench.run("SADD s a");
        bench.logs("SPOP s 1", &["UNLINK s"]);
        bench.run("SADD s a");
        bench.logs("SPOP s", &["SREM s a"]);
        assert_eq!(bench.run("EXISTS s"), ":0");
    }

    #[test]
    fn many_popped_members_are_logged_in_batches() {
        let mut bench = Bench::new();
        for number in 0..3000 {
            bench.run(&format!("SADD s m{number}"));
        }
        bench.records();
        let popped = members(&bench.run("SPOP s 2500"));
        let records = bench.records();
        let counts: Vec<_> = records.iter().map(|record| record.split(' ').count() - 2).collect();
        assert_eq!(counts, [1024, 1024, 452]);
        let mut logged: Vec<_> = records.iter().flat_map(|record| record.split(' ').skip(2)).collect();
        logged.sort_unstable();
        assert_eq!(logged, popped);
        assert_eq!(popped.iter().collect::<BTreeSet<_>>().len(), 2500);
        assert_eq!(bench.run("SCARD s"), ":500");
    }

    #[test]
    fn counts_of_random_picks_are_checked() {
        let positive = "-ERR value is out of range, must be positive";
        check(&[
            ("SPOP s -1", positive),
            ("SPOP s x", positive),
            ("SPOP s 1 2", SYNTAX),
            ("SPOP s", "nil"),
            ("SPOP s 3", "[]"),
            ("SRANDMEMBER s x", "-ERR value is not an integer or out of range"),
            (
                "SRANDMEMBER s -9223372036854775808",
                "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ),
            ("SRANDMEMBER s 1 2", SYNTAX),
            ("SRANDMEMBER s", "nil"),
            ("SRANDMEMBER s 3", "[]"),
            ("SADD s a", ":1"),
            ("SRANDMEMBER s", r#""a""#),
            ("SRANDMEMBER s 0", "[]"),
            ("SRANDMEMBER s 5", r#"["a"]"#),
            ("SRANDMEMBER s -3", r#"["a", "a", "a"]"#),
        ]);
    }

    #[test]
    fn random_picks_reach_every_member_in_every_encoding() {
        for (encoding, name) in [
            ("intset", ""),
            ("listpack", "m"),
            ("hashtable", "a name that is far too long for a listpack, being longer than sixty-four bytes"),
        ] {
            let mut bench = Bench::new();
            for number in 0..20 {
                bench.run(&format!("SADD s '{name}{number}'"));
            }
            assert_eq!(bench.run("OBJECT ENCODING s"), format!("{encoding:?}"));
            // Both ways to choose different ones: few out of many, and most of them.
            for (count, turns) in [("3", 300), ("15", 40), ("-10", 60), ("", 500)] {
                let mut seen = BTreeMap::new();
                for _ in 0..turns {
                    let found = members(&bench.run(&format!("SRANDMEMBER s {count}")));
                    if count == "3" || count == "15" {
                        assert_eq!(found.iter().collect::<BTreeSet<_>>().len().to_string(), count);
                    }
                    found.into_iter().for_each(|member| *seen.entry(member).or_insert(0) += 1);
                }
                // 25 or more expected of each; none at all is out of the question.
                assert_eq!(seen.len(), 20, "{encoding} {count}: {seen:?}");
            }
            let mut popped: BTreeSet<String> = BTreeSet::new();
            for _ in 0..10 {
                popped.extend(members(&bench.run("SPOP s")));
            }
            popped.extend(members(&bench.run("SPOP s 9")));
            popped.extend(members(&bench.run("SPOP s 9")));
            assert_eq!((popped.len(), bench.run("EXISTS s").as_str()), (20, ":0"), "{encoding}");
        }
    }

    #[test]
    fn changes_are_counted_and_announced() {
        let mut bench = Bench::new();
        for (command, events, changes) in [
            ("SADD s 1 2 3", &["new s", "sadd s"][..], 3),
            ("SADD s 1", &[], 0),
            ("SREM s 1 9", &["srem s"], 1),
            ("SREM s 9", &[], 0),
            ("SMOVE s t 2", &["srem s", "new t", "sadd t"], 2),
            ("SADD s 2", &["sadd s"], 1),
            ("SMOVE s t 2", &["srem s"], 1),
            ("SMOVE s s 3", &[], 0),
            ("SMOVE s t 3", &["srem s", "del s", "sadd t"], 2),
            ("SPOP t", &["spop t"], 1),
            ("SPOP t 5", &["spop t", "del t"], 1),
            ("SADD s 1", &["new s", "sadd s"], 1),
            ("SUNIONSTORE d s", &["new d", "sunionstore d"], 1),
            ("SINTERSTORE d s d", &["sinterstore d"], 1),
            ("SDIFFSTORE e s none", &["keymiss none", "new e", "sdiffstore e"], 1),
            ("SDIFFSTORE e s e", &["del e"], 1),
            ("SDIFFSTORE e s d", &[], 0),
            ("SPOP s", &["spop s", "del s"], 1),
            ("SREM d 1", &["srem d", "del d"], 1),
        ] {
            let before = bench.store.dirty;
            bench.run(command);
            let events: Vec<String> = events.iter().map(ToString::to_string).collect();
            assert_eq!((bench.events(), bench.store.dirty - before), (events, changes), "{command}");
        }
    }

    #[test]
    fn members_come_as_sets_and_random_ones_as_arrays() {
        let first_bytes = |protocol| {
            let mut bench = Bench::new();
            bench.run("SADD s 1");
            bench.protocol = protocol;
            [
                "SMEMBERS s",
                "SINTER s",
                "SUNION s",
                "SDIFF s",
                "SMEMBERS none",
                "SPOP none 1",
                "SRANDMEMBER s 1",
            ]
            .map(|command| frame(&mut bench, command)[0] as char)
        };
        assert_eq!(first_bytes(Protocol::Resp2), ['*'; 7]);
        assert_eq!(first_bytes(Protocol::Resp3), ['~', '~', '~', '~', '~', '~', '*']);
    }

    /// The reply as bytes.
    fn frame(bench: &mut Bench, command: &str) -> Vec<u8> {
        use crate::commands::{Action, Call, Record, table::Table};
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let Action::Run(run) = Table::new().resolve(&args).unwrap().command.action else { panic!() };
        let (mut reply, mut record) = (Reply::new(bench.protocol), Record::default());
        let context = bench.context;
        let store = &mut bench.store;
        run(&mut Call { args: &args, store, reply: &mut reply, record: &mut record, context, block: None })
            .unwrap();
        reply.into_bytes()
    }

    #[test]
    fn scanning_finds_every_member_whatever_the_encoding() {
        for (count, name) in [(100, ""), (100, "m"), (1000, "m")] {
            let mut bench = Bench::new();
            for number in 0..count {
                bench.run(&format!("SADD s {name}{number}"));
            }
            for options in ["", "COUNT 1", "COUNT 2000", "MATCH *"] {
                assert_eq!(scan_all(&mut bench, options).len(), count, "{count} {name} {options}");
            }
            assert_eq!(scan_all(&mut bench, "MATCH *1?").len(), count / 10);
        }
        check(&[
            ("SSCAN none 0", r#"["0", []]"#),
            ("SSCAN none x", "-ERR invalid cursor"),
            ("SSCAN none 0 COUNT", r#"["0", []]"#),
            ("SADD s a", ":1"),
            ("SSCAN s 0 COUNT", SYNTAX),
            ("SSCAN s 0 COUNT 0", SYNTAX),
            ("SSCAN s 0 TYPE string", SYNTAX),
            ("SSCAN s 5", r#"["0", ["a"]]"#),
        ]);
    }

    fn scan_all(bench: &mut Bench, options: &str) -> BTreeSet<String> {
        let (mut found, mut cursor) = (BTreeSet::new(), String::from("0"));
        for _ in 0..2000 {
            let reply = bench.run(&format!("SSCAN s {cursor} {options}"));
            let mut words = reply.split('"').skip(1).step_by(2).map(String::from);
            cursor = words.next().expect("a cursor");
            found.extend(words);
            if cursor == "0" {
                return found;
            }
        }
        panic!("the scan does not end");
    }

    #[test]
    fn due_sets_are_missing_in_the_algebra() {
        let mut bench = Bench::new();
        bench.check(&[("SADD a 1", ":1"), ("SADD b 1", ":1"), ("PEXPIRE b 1", ":1")]);
        bench.store.now_ms = NOW_MS + 2;
        bench.check(&[("SINTER a b", "[]"), ("SDIFF a b", r#"["1"]"#), ("SUNION b", "[]")]);
    }

    #[test]
    fn encodings_follow_members_and_limits() {
        let mut bench = Bench::new();
        bench.store.limits.set_intset_entries_max = 4;
        bench.store.limits.set_listpack_entries_max = 3;
        bench.store.limits.set_listpack_value_max = 5;
        for (commands, expected) in [
            (&["SADD s 1 2 3 4"][..], "intset"),
            (&["SADD s 1 2 3 4", "SADD s 5"], "hashtable"),
            (&["SADD s 1 2", "SADD s x"], "listpack"),
            (&["SADD s 1 2 3", "SADD s x"], "hashtable"),
            (&["SADD s 1 2", "SADD s longer"], "hashtable"),
            (&["SADD s 123456", "SADD s x"], "hashtable"),
            (&["SADD s -12345", "SADD s x"], "hashtable"),
            (&["SADD s -1234", "SADD s x"], "listpack"),
            // What is named counts, even if it is there or comes twice.
            (&["SADD s 1 1 1 1 1"], "hashtable"),
            (&["SADD s 1", "SADD s 1 1 1 1 1"], "hashtable"),
            (&["SADD s x", "SADD s x x x x"], "hashtable"),
            (&["SADD s x 1 2"], "listpack"),
            (&["SADD s x 1 2", "SADD s 3"], "hashtable"),
            (&["SADD s x 1 2 3"], "hashtable"),
            (&["SADD s longer"], "hashtable"),
            (&["SADD s x 1 2", "SREM s x"], "listpack"),
            (&["SADD t x 1 2", "SADD u y 1 2", "SINTERSTORE s t u"], "intset"),
            (&["SADD t x 1 2 3 4 5", "SINTERSTORE s t t"], "hashtable"),
            (&["SADD t x 1 2 3 4 5", "SREM t x 5", "SINTERSTORE s t t"], "intset"),
            (&["SADD t x 1 2 3 4 5", "SREM t x 5", "SUNIONSTORE s t"], "intset"),
            (&["SADD t x 1 2", "SUNIONSTORE s t"], "listpack"),
            (&["SADD t x 1 2", "SADD u x", "SDIFFSTORE s t u"], "intset"),
        ] {
            bench.run("DEL s t u");
            commands.iter().for_each(|command| _ = bench.run(command));
            assert_eq!(bench.run("OBJECT ENCODING s"), format!("{expected:?}"), "{commands:?}");
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(u8, Vec<u16>),
        Remove(u8, Vec<u16>),
        Move(u8, u8, u16),
        Store(&'static str, u8, Vec<u8>),
        Pop(u8, usize),
    }

    /// Integers of every width, short words, and a few long ones.
    fn member(number: u16) -> String {
        match number % 4 {
            0 => (i64::from(number) - 8).pow(5).to_string(),
            1 => number.to_string(),
            2 => format!("w{number}"),
            _ => format!("long{}", "x".repeat(usize::from(number))),
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0..3u8;
        let members =
            proptest::collection::vec(prop_oneof![3 => (0..10u16).prop_map(|n| n * 4), 2 => 0..40u16], 1..6);
        let operation = prop_oneof![Just("SINTER"), Just("SUNION"), Just("SDIFF")];
        prop_oneof![
            5 => (key.clone(), members.clone()).prop_map(|(key, members)| Step::Add(key, members)),
            2 => (key.clone(), members).prop_map(|(key, members)| Step::Remove(key, members)),
            2 => (key.clone(), key.clone(), 0..40u16).prop_map(|(from, to, member)| Step::Move(from, to, member)),
            2 => (operation, key.clone(), proptest::collection::vec(key.clone(), 1..4)).prop_map(|(name, to, from)| Step::Store(name, to, from)),
            1 => (key, 0..4usize).prop_map(|(key, count)| Step::Pop(key, count)),
        ]
    }

    type Twins = [BTreeSet<String>; 3];

    fn show(set: &BTreeSet<String>) -> Vec<String> {
        set.iter().cloned().collect()
    }

    /// Does one step to the twins and to the bench, whose reply must agree.
    fn take(step: Step, twins: &mut Twins, bench: &mut Bench) {
        let words = |members: &[u16]| members.iter().copied().map(member).collect::<Vec<_>>();
        let (command, count) = match step {
            Step::Add(key, members) => {
                let (words, twin) = (words(&members), &mut twins[usize::from(key)]);
                (
                    format!("SADD {key} {}", words.join(" ")),
                    words.into_iter().filter(|word| twin.insert(word.clone())).count(),
                )
            }
            Step::Remove(key, members) => {
                let (words, twin) = (words(&members), &mut twins[usize::from(key)]);
                (
                    format!("SREM {key} {}", words.join(" ")),
                    words.iter().filter(|word| twin.remove(*word)).count(),
                )
            }
            Step::Move(from, to, number) => {
                let word = member(number);
                let is_moved = twins[usize::from(from)].remove(&word);
                if is_moved {
                    twins[usize::from(to)].insert(word.clone());
                }
                (format!("SMOVE {from} {to} {word}"), usize::from(is_moved))
            }
            Step::Store(name, to, from) => {
                let mut sets = from.iter().map(|&key| twins[usize::from(key)].clone());
                let first = sets.next().expect("at least one");
                let result = sets.fold(first, |result, set| match name {
                    "SINTER" => &result & &set,
                    "SUNION" => &result | &set,
                    _ => &result - &set,
                });
                let keys: Vec<_> = from.iter().map(ToString::to_string).collect();
                let (keys, count) = (keys.join(" "), result.len());
                assert_eq!(members(&bench.run(&format!("{name} {keys}"))), show(&result));
                twins[usize::from(to)] = result;
                (format!("{name}STORE {to} {keys}"), count)
            }
            Step::Pop(key, count) => {
                let popped = members(&bench.run(&format!("SPOP {key} {count}")));
                let twin = &mut twins[usize::from(key)];
                assert_eq!(popped.len(), count.min(twin.len()));
                assert!(popped.iter().all(|word| twin.remove(word)));
                return;
            }
        };
        assert_eq!(bench.run(&command), format!(":{count}"), "{command}");
    }

    proptest! {
        /// What could go wrong: a member lost or doubled by a conversion, or one that counts as equal in one encoding only.
        #[test]
        fn sets_do_what_ordered_sets_do(entries_max in prop_oneof![Just(0usize), Just(3), Just(8), Just(512)],
                                        steps in proptest::collection::vec(step(), 1..60)) {
            let (mut bench, mut twins) = (Bench::new(), Twins::default());
            bench.store.limits.set_intset_entries_max = entries_max;
            bench.store.limits.set_listpack_entries_max = entries_max / 2;
            bench.store.limits.set_listpack_value_max = 20;
            for step in steps {
                take(step, &mut twins, &mut bench);
                for (key, twin) in twins.iter().enumerate() {
                    prop_assert_eq!(members(&bench.run(&format!("SMEMBERS {key}"))), show(twin));
                    prop_assert_eq!(bench.run(&format!("EXISTS {key}")), format!(":{}", u8::from(!twin.is_empty())));
                    for word in twin {
                        prop_assert_eq!(bench.run(&format!("SISMEMBER {key} {word}")), ":1");
                    }
                }
            }
        }
    }
}
