//! Hashes: fields with values, counters among them, and fields that expire.
//!
//! Always true: a field whose time has come is gone before a command looks (the store sees to that); the log gets
//! absolute times and results of floating point sums only.
//!
//! Not here: what a hash is in memory (`store/hash.rs`).

use alloc::{collections::BTreeSet, vec, vec::Vec};

use perdura_structures::listpack::Item;

use super::{
    Args, Call, Command, CommandResult, KeySpec,
    expire::{ExpiryUnit, invalid_expiry},
    parse_count, parse_signed_count, reply_item,
    scan::{ScanOptions, parse_cursor, reply_cursor},
    spec::{acl, flag, key_flag},
};
use crate::{
    bytes::{
        long_double::LongDouble,
        number::{DecimalBuffer, format_i64, format_u64},
    },
    error::{Error, INCREMENT_OVERFLOW, NAN_OR_INFINITY, NOT_A_FLOAT, SYNTAX, wrong_arity},
    resp::{Protocol, Reply},
    rng::Rng,
    store::{
        Class, Edited,
        hash::{Field, Hash},
    },
};

const READ_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];
const LOOK_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RO)];
const UPDATE_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)];
const CHANGE_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)];
const GROW: u32 = flag::WRITE | flag::DENYOOM | flag::FAST;
const READ: u32 = flag::READONLY | flag::FAST;
const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];
const ANY_OUTPUT: &[&str] = &["nondeterministic_output"];
const O_FIELDS: &str = "O(N) where N is the number of fields named.";
const O_SIZE: &str = "O(N) where N is the size of the hash.";

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("hdel", -3, flag::WRITE | flag::FAST, hdel)
        .keys(&[KeySpec::one(1, key_flag::RW | key_flag::DELETE)])
        .acl(acl::HASH)
        .doc("hash", "2.0.0", "Removes fields from a hash, and the key with the last of them.", O_FIELDS),
    Command::run("hexists", 3, READ, hexists).keys(LOOK_KEY).acl(acl::HASH).doc(
        "hash",
        "2.0.0",
        "Tells whether a hash has a field.",
        "O(1)",
    ),
    Command::run("hexpire", -6, GROW, hexpire).keys(UPDATE_KEY).acl(acl::HASH).doc(
        "hash",
        "7.4.0",
        "Lets fields expire after some seconds.",
        O_FIELDS,
    ),
    Command::run("hexpireat", -6, GROW, hexpireat).keys(UPDATE_KEY).acl(acl::HASH).doc(
        "hash",
        "7.4.0",
        "Lets fields expire at a Unix time.",
        O_FIELDS,
    ),
    Command::run("hexpiretime", -5, READ, hexpiretime).keys(READ_KEY).acl(acl::HASH).doc(
        "hash",
        "7.4.0",
        "Gives the Unix time at which fields expire.",
        O_FIELDS,
    ),
    Command::run("hget", 3, READ, hget).keys(READ_KEY).acl(acl::HASH).doc(
        "hash",
        "2.0.0",
        "Gives the value of a field.",
        "O(1)",
    ),
    Command::run("hgetall", 2, flag::READONLY, hgetall)
        .keys(READ_KEY)
        .acl(acl::HASH)
        .doc("hash", "2.0.0", "Gives all fields of a hash with their values.", O_SIZE)
        .tips(ANY_ORDER),
    Command::run("hincrby", 4, GROW, hincrby).keys(CHANGE_KEY).acl(acl::HASH).doc(
        "hash",
        "2.0.0",
        "Adds a number to the integer in a field, which is 0 if there is none.",
        "O(1)",
    ),
    Command::run("hincrbyfloat", 4, GROW, hincrbyfloat).keys(CHANGE_KEY).acl(acl::HASH).doc(
        "hash",
        "2.6.0",
        "Adds a number to the floating point number in a field, which is 0 if there is none.",
        "O(1)",
    ),
    Command::run("hkeys", 2, flag::READONLY, hkeys)
        .keys(READ_KEY)
        .acl(acl::HASH)
        .doc("hash", "2.0.0", "Gives the names of all fields of a hash.", O_SIZE)
        .tips(ANY_ORDER),
    Command::run("hlen", 2, READ, hlen).keys(LOOK_KEY).acl(acl::HASH).doc(
        "hash",
        "2.0.0",
        "Gives the number of fields in a hash.",
        "O(1)",
    ),
    Command::run("hmget", -3, READ, hmget).keys(READ_KEY).acl(acl::HASH).doc(
        "hash",
        "2.0.0",
        "Gives the values of several fields.",
        O_FIELDS,
    ),
    Command::run("hmset", -4, GROW, hmset)
        .keys(UPDATE_KEY)
        .acl(acl::HASH)
        .doc("hash", "2.0.0", "Sets several fields.", O_FIELDS)
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs"),
    Command::run("hpersist", -5, flag::WRITE | flag::FAST, hpersist).keys(UPDATE_KEY).acl(acl::HASH).doc(
        "hash",
        "7.4.0",
        "Takes the expiry of fields away.",
        O_FIELDS,
    ),
    Command::run("hpexpire", -6, GROW, hpexpire).keys(UPDATE_KEY).acl(acl::HASH).doc(
        "hash",
        "7.4.0",
        "Lets fields expire after some milliseconds.",
        O_FIELDS,
    ),
    Command::run("hpexpireat", -6, GROW, hpexpireat).keys(UPDATE_KEY).acl(acl::HASH).doc(
        "hash",
        "7.4.0",
        "Lets fields expire at a Unix time in milliseconds.",
        O_FIELDS,
    ),
    Command::run("hpexpiretime", -5, READ, hpexpiretime).keys(READ_KEY).acl(acl::HASH).doc(
        "hash",
        "7.4.0",
        "Gives the Unix time at which fields expire, in milliseconds.",
        O_FIELDS,
    ),
    Command::run("hpttl", -5, READ, hpttl)
        .keys(READ_KEY)
        .acl(acl::HASH)
        .doc("hash", "7.4.0", "Gives the milliseconds fields have left.", O_FIELDS)
        .tips(ANY_OUTPUT),
    Command::run("hrandfield", -2, flag::READONLY, hrandfield)
        .keys(READ_KEY)
        .acl(acl::HASH)
        .doc(
            "hash",
            "6.2.0",
            "Gives fields of a hash at random.",
            "O(N) where N is the number of fields given.",
        )
        .tips(ANY_OUTPUT),
    Command::run("hscan", -3, flag::READONLY, hscan)
        .keys(READ_KEY)
        .acl(acl::HASH)
        .doc(
            "hash",
            "2.8.0",
            "Gives some of the fields of a hash and a cursor for the rest.",
            "O(1) for every call. O(N) for a complete iteration, until the cursor is 0 again.",
        )
        .tips(ANY_OUTPUT),
    Command::run("hset", -4, GROW, hset).keys(UPDATE_KEY).acl(acl::HASH).doc(
        "hash",
        "2.0.0",
        "Sets fields of a hash, which is made if there is none.",
        O_FIELDS,
    ),
    Command::run("hsetnx", 4, GROW, hsetnx)
        .keys(&[KeySpec::one(1, key_flag::RW | key_flag::INSERT)])
        .acl(acl::HASH)
        .doc("hash", "2.0.0", "Sets a field if the hash does not have it.", "O(1)"),
    Command::run("hstrlen", 3, READ, hstrlen).keys(LOOK_KEY).acl(acl::HASH).doc(
        "hash",
        "3.2.0",
        "Gives the length of the value of a field in bytes.",
        "O(1)",
    ),
    Command::run("httl", -5, READ, httl)
        .keys(READ_KEY)
        .acl(acl::HASH)
        .doc("hash", "7.4.0", "Gives the seconds fields have left.", O_FIELDS)
        .tips(ANY_OUTPUT),
    Command::run("hvals", 2, flag::READONLY, hvals)
        .keys(READ_KEY)
        .acl(acl::HASH)
        .doc("hash", "2.0.0", "Gives the values of all fields of a hash.", O_SIZE)
        .tips(ANY_ORDER),
];

fn reply_value(reply: &mut Reply, value: Option<Item<'_>>) {
    match value {
        Some(value) => reply_item(reply, value),
        None => reply.null(),
    }
}

// --- Reading ------------------------------------------------------------------------------------

fn hget(call: &mut Call) -> CommandResult {
    let value = call.store.get::<Hash>(call.args[1])?.and_then(|hash| hash.get(call.args[2]));
    reply_value(call.reply, value);
    Ok(())
}

fn hmget(call: &mut Call) -> CommandResult {
    let hash = call.store.get::<Hash>(call.args[1])?;
    call.reply.array(call.args.len() - 2);
    for field in &call.args[2..] {
        reply_value(call.reply, hash.and_then(|hash| hash.get(field)));
    }
    Ok(())
}

fn hlen(call: &mut Call) -> CommandResult {
    let len = call.store.get::<Hash>(call.args[1])?.map_or(0, Hash::len);
    call.reply.integer(len as i64);
    Ok(())
}

fn hstrlen(call: &mut Call) -> CommandResult {
    let value = call.store.get::<Hash>(call.args[1])?.and_then(|hash| hash.get(call.args[2]));
    call.reply.integer(value.map_or(0, Item::text_len) as i64);
    Ok(())
}

fn hexists(call: &mut Call) -> CommandResult {
    let exists = call.store.get::<Hash>(call.args[1])?.is_some_and(|hash| hash.contains(call.args[2]));
    call.reply.integer(i64::from(exists));
    Ok(())
}

fn hgetall(call: &mut Call) -> CommandResult {
    let hash = call.store.get::<Hash>(call.args[1])?;
    call.reply.map(hash.map_or(0, Hash::len));
    for field in hash.iter().flat_map(|hash| hash.iter()) {
        reply_item(call.reply, field.name);
        reply_item(call.reply, field.value);
    }
    Ok(())
}

fn hkeys(call: &mut Call) -> CommandResult {
    reply_each(call, |field| field.name)
}

fn hvals(call: &mut Call) -> CommandResult {
    reply_each(call, |field| field.value)
}

fn reply_each(call: &mut Call, part: impl Fn(Field<'_>) -> Item<'_>) -> CommandResult {
    let hash = call.store.get::<Hash>(call.args[1])?;
    call.reply.array(hash.map_or(0, Hash::len));
    for field in hash.iter().flat_map(|hash| hash.iter()) {
        reply_item(call.reply, part(field));
    }
    Ok(())
}

fn hscan(call: &mut Call) -> CommandResult {
    let cursor = parse_cursor(call.args[2])?;
    let Some(hash) = call.store.get::<Hash>(call.args[1])? else {
        // Options of a scan through nothing are not looked at.
        reply_cursor(call.reply, 0);
        call.reply.array(0);
        return Ok(());
    };
    let (args, with_values) = without_novalues(call.args);
    let options = ScanOptions::of_collection(&args)?;
    let mut found = Reply::new(call.reply.protocol());
    let mut count = 0;
    let cursor = scan_for(cursor, options.count, |cursor, seen| {
        hash.scan(cursor, &mut |field| {
            *seen += 1;
            if !options.matches(field.name.text(&mut Default::default())) {
                return;
            }
            reply_item(&mut found, field.name);
            if with_values {
                reply_item(&mut found, field.value);
            }
            count += if with_values { 2 } else { 1 };
        })
    });
    reply_cursor(call.reply, cursor);
    call.reply.array(count);
    call.reply.raw(found.as_bytes());
    Ok(())
}

/// Scans on until about `wanted` elements are seen; the cursor where that is.
///
/// `step` goes on from a cursor, counts what it sees, and gives back the next cursor.
pub(super) fn scan_for(mut cursor: u64, wanted: usize, mut step: impl FnMut(u64, &mut usize) -> u64) -> u64 {
    let mut seen = 0;
    // Ten steps per element wanted: a table that was emptied must not hold the server up.
    for _ in 0..wanted.saturating_mul(10) {
        cursor = step(cursor, &mut seen);
        if cursor == 0 || seen >= wanted {
            break;
        }
    }
    cursor
}

/// The arguments without the option NOVALUES, and whether values are wanted.
fn without_novalues<'a>(args: Args<'a>) -> (Vec<&'a [u8]>, bool) {
    let mut kept = args[..3].to_vec();
    let mut rest = &args[3..];
    while let [word, after @ ..] = rest {
        if word.eq_ignore_ascii_case(b"novalues") {
            rest = after;
        } else {
            // The other options come with a value, which may be this very word.
            let pair;
            (pair, rest) = rest.split_at(rest.len().min(2));
            kept.extend(pair);
        }
    }
    let with_values = kept.len() == args.len();
    (kept, with_values)
}

fn hrandfield(call: &mut Call) -> CommandResult {
    let wanted = RandomCount::parse(call, "withvalues")?;
    let seed = call.store.rng.next_u64();
    let hash = call.store.get::<Hash>(call.args[1])?;
    let mut rng = Rng::from_seed(seed);
    let Some(wanted) = wanted else {
        let field = hash.and_then(|hash| hash.sample(rng.next_u64()));
        reply_value(call.reply, field.map(|field| field.name));
        return Ok(());
    };
    let reply_field = |reply: &mut Reply, field: Field<'_>| {
        wanted.begin_element(reply);
        reply_item(reply, field.name);
        if wanted.has_more {
            reply_item(reply, field.value);
        }
    };
    match hash {
        Some(hash) if !wanted.is_distinct => {
            wanted.begin(call.reply, wanted.count);
            for _ in 0..wanted.count {
                // There may be a billion of them, however small the hash is.
                if call.reply.is_overlong() {
                    break;
                }
                reply_field(call.reply, hash.sample(rng.next_u64()).expect("a stored hash has a field"));
            }
        }
        hash => {
            let fields = hash.map_or(Vec::new(), |hash| random_fields(hash, &wanted, &mut rng));
            wanted.begin(call.reply, fields.len());
            fields.into_iter().for_each(|field| reply_field(call.reply, field));
        }
    }
    Ok(())
}

/// Different fields.
fn random_fields<'a>(hash: &'a Hash, wanted: &RandomCount, rng: &mut Rng) -> Vec<Field<'a>> {
    if wanted.count >= hash.len() {
        return hash.iter().collect();
    }
    if wanted.count.saturating_mul(3) < hash.len() && matches!(hash, Hash::Table(_)) {
        // Few of many: draw until enough different ones are found.
        let mut names = BTreeSet::new();
        let mut fields = Vec::with_capacity(wanted.count);
        while fields.len() < wanted.count {
            let field = hash.sample(rng.next_u64()).expect("a stored hash has a field");
            if names.insert(field.name.to_vec()) {
                fields.push(field);
            }
        }
        return fields;
    }
    let all: Vec<Field<'a>> = hash.iter().collect();
    distinct_indexes(all.len(), wanted.count, rng).into_iter().map(|index| all[index]).collect()
}

/// What HRANDFIELD and ZRANDMEMBER were asked for, if not for a single one.
pub(super) struct RandomCount {
    /// How many.
    pub count: usize,
    /// No element twice.
    pub is_distinct: bool,
    /// Values or scores, too.
    pub has_more: bool,
}

impl RandomCount {
    /// The count and the option `word`; `None` if no count was given.
    pub fn parse(call: &Call, word: &str) -> Result<Option<RandomCount>, Error> {
        if call.args.len() == 2 {
            return Ok(None);
        }
        let (count, is_negative) = parse_signed_count(call.args[2])?;
        let has_more = call.args.len() == 4 && call.is_word(3, word);
        if call.args.len() > 3 && !has_more {
            return Err(SYNTAX);
        }
        if has_more && count > i64::MAX as usize / 2 {
            return Err(Error::new("ERR value is out of range"));
        }
        Ok(Some(RandomCount { count, is_distinct: !is_negative, has_more }))
    }

    /// Begins a reply of `count` elements.
    pub fn begin(&self, reply: &mut Reply, count: usize) {
        let is_flat = self.has_more && reply.protocol() == Protocol::Resp2;
        reply.array(if is_flat { count * 2 } else { count });
    }

    /// Begins one element: a pair of its own in RESP3.
    pub fn begin_element(&self, reply: &mut Reply) {
        begin_pair(reply, self.has_more);
    }
}

/// Begins an element with its value or score, which RESP3 keeps together.
pub(super) fn begin_pair(reply: &mut Reply, is_pair: bool) {
    if is_pair && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
}

/// `count` different numbers below `len`, at random.
pub(super) fn distinct_indexes(len: usize, count: usize, rng: &mut Rng) -> Vec<usize> {
    assert!(count <= len);
    if count.saturating_mul(3) < len {
        let mut seen = BTreeSet::new();
        let mut indexes = Vec::with_capacity(count);
        while indexes.len() < count {
            let index = rng.index(len);
            if seen.insert(index) {
                indexes.push(index);
            }
        }
        return indexes;
    }
    let mut indexes: Vec<usize> = (0..len).collect();
    for at in 0..count {
        let other = at + rng.index(len - at);
        indexes.swap(at, other);
    }
    indexes.truncate(count);
    indexes
}

// --- Writing ------------------------------------------------------------------------------------

/// Edits a hash, which is made if there is none. `edit` leaves a field behind, or fails.
fn edit_or_create<R>(call: &mut Call, edit: impl FnOnce(&mut Hash) -> R) -> Result<R, Error> {
    let edited = call.store.edit_or_insert(call.args[1], |_| Hash::new(), edit)?;
    Ok(edited.value().expect("the hash was just looked up or made"))
}

fn hset(call: &mut Call) -> CommandResult {
    let added = set_fields(call, "hset")?;
    call.reply.integer(added as i64);
    Ok(())
}

fn hmset(call: &mut Call) -> CommandResult {
    set_fields(call, "hmset")?;
    call.reply.ok();
    Ok(())
}

/// Sets all fields the command names; how many are new.
fn set_fields(call: &mut Call, command: &str) -> Result<usize, Error> {
    if !call.args.len().is_multiple_of(2) {
        return Err(wrong_arity(command));
    }
    let (key, pairs) = (call.args[1], &call.args[2..]);
    let limits = call.store.limits.clone();
    let added = edit_or_create(call, |hash| {
        pairs.chunks(2).filter(|pair| hash.set(pair[0], pair[1], &limits)).count()
    })?;
    call.store.touch(key, pairs.len() as u64 / 2);
    call.store.notify(Class::Hash, "hset", key);
    Ok(added)
}

fn hsetnx(call: &mut Call) -> CommandResult {
    let (key, field, value) = (call.args[1], call.args[2], call.args[3]);
    let limits = call.store.limits.clone();
    let is_set = edit_or_create(call, |hash| !hash.contains(field) && hash.set(field, value, &limits))?;
    if is_set {
        call.store.touch(key, 1);
        call.store.notify(Class::Hash, "hset", key);
    }
    call.reply.integer(i64::from(is_set));
    Ok(())
}

fn hincrby(call: &mut Call) -> CommandResult {
    let delta = call.int(3)?;
    let (key, field) = (call.args[1], call.args[2]);
    let limits = call.store.limits.clone();
    let sum = edit_or_create(call, |hash| {
        let old = match hash.get(field) {
            Some(value) => value.to_int().ok_or(Error::new("ERR hash value is not an integer"))?,
            None => 0,
        };
        let sum = old.checked_add(delta).ok_or(INCREMENT_OVERFLOW)?;
        hash.update(field, format_i64(sum, &mut DecimalBuffer::default()), &limits);
        Ok::<_, Error>(sum)
    })??;
    call.store.touch(key, 1);
    call.store.notify(Class::Hash, "hincrby", key);
    call.reply.integer(sum);
    Ok(())
}

fn hincrbyfloat(call: &mut Call) -> CommandResult {
    let delta = LongDouble::parse(call.args[3]).ok_or(NOT_A_FLOAT)?;
    let is_finite = delta.checked_add(LongDouble::from(0)).is_some();
    if !is_finite {
        return Err(Error::new("ERR value is NaN or Infinity"));
    }
    let (key, field) = (call.args[1], call.args[2]);
    let limits = call.store.limits.clone();
    let (sum, expiry_ms) = edit_or_create(call, |hash| {
        let old = match hash.get(field) {
            Some(value) => LongDouble::parse(value.text(&mut Default::default()))
                .ok_or(Error::new("ERR hash value is not a float"))?,
            None => LongDouble::from(0),
        };
        let sum = old.checked_add(delta).ok_or(NAN_OR_INFINITY)?.format();
        hash.update(field, &sum, &limits);
        Ok::<_, Error>((sum, hash.expiry_of(field).unwrap_or(0)))
    })??;
    call.store.touch(key, 1);
    call.store.notify(Class::Hash, "hincrbyfloat", key);
    // The result and not the sum goes to the log: whoever replays it must not round again.
    call.record.replace(&[b"HSET", key, field, &sum]);
    if expiry_ms != 0 {
        // HSET forgets it.
        log_expiry(call, key, expiry_ms, &[field]);
    }
    call.reply.bulk(&sum);
    Ok(())
}

fn hdel(call: &mut Call) -> CommandResult {
    let (key, fields) = (call.args[1], &call.args[2..]);
    let edited =
        call.store.edit(key, |hash: &mut Hash| fields.iter().filter(|field| hash.remove(field)).count())?;
    let removed = settle_removal(call, key, edited, "hdel");
    call.reply.integer(removed as i64);
    Ok(())
}

/// Tells of fields that were removed, and of the key if nothing is left of it; how many there were.
fn settle_removal(call: &mut Call, key: &[u8], edited: Edited<usize>, event: &'static str) -> usize {
    let is_emptied = edited.is_emptied();
    let removed = edited.value().unwrap_or(0);
    if removed > 0 {
        call.store.touch(key, removed as u64);
        call.store.notify(Class::Hash, event, key);
    }
    if is_emptied {
        call.store.notify(Class::Generic, "del", key);
    }
    removed
}

// --- Fields that expire -------------------------------------------------------------------------

/// Latest time a field may expire, milliseconds since 1970: what Redis 7.4 accepts.
const EXPIRY_MS_MAX: i64 = 0xffff_ffff_fffe >> 2;

/// There is no such field.
const NO_FIELD: i64 = -2;
/// The field never expires.
const NO_EXPIRY: i64 = -1;
/// A condition is not met.
const NOT_MET: i64 = 0;
/// Done.
const DONE: i64 = 1;
/// The time was past, and so the field went.
const DELETED: i64 = 2;

fn hexpire(call: &mut Call) -> CommandResult {
    set_expiries(call, ExpiryUnit::EX, "hexpire")
}

fn hpexpire(call: &mut Call) -> CommandResult {
    set_expiries(call, ExpiryUnit::PX, "hpexpire")
}

fn hexpireat(call: &mut Call) -> CommandResult {
    set_expiries(call, ExpiryUnit::EXAT, "hexpireat")
}

fn hpexpireat(call: &mut Call) -> CommandResult {
    set_expiries(call, ExpiryUnit::PXAT, "hpexpireat")
}

/// When a field may be given an expiry. Without one it lives for ever.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    OnlyIfNone,
    OnlyIfSome,
    OnlyLater,
    OnlyEarlier,
}

impl Condition {
    fn of_word(word: &[u8]) -> Option<Condition> {
        match &*word.to_ascii_lowercase() {
            b"nx" => Some(Condition::OnlyIfNone),
            b"xx" => Some(Condition::OnlyIfSome),
            b"gt" => Some(Condition::OnlyLater),
            b"lt" => Some(Condition::OnlyEarlier),
            _ => None,
        }
    }

    /// Whether a field that expires at `current` (0 if never) may be made to expire at `at`.
    fn allows(self, current: u64, at: u64) -> bool {
        match self {
            Condition::Always => true,
            Condition::OnlyIfNone => current == 0,
            Condition::OnlyIfSome => current != 0,
            Condition::OnlyLater => current != 0 && at > current,
            Condition::OnlyEarlier => current == 0 || at < current,
        }
    }
}

fn set_expiries(call: &mut Call, unit: ExpiryUnit, command: &str) -> CommandResult {
    check_type(call)?;
    let at_ms = parse_expiry(call, unit, command)?;
    let condition = Condition::of_word(call.args[3]);
    let fields_at = if condition.is_some() { 4 } else { 3 };
    let fields = parse_fields(call.args, fields_at, "ERR Parameter `numFields` should be greater than 0")?;
    let condition = condition.unwrap_or(Condition::Always);

    let key = call.args[1];
    let is_past = call.store.is_past(at_ms);
    let limits = call.store.limits.clone();
    let edited = call.store.edit(key, |hash: &mut Hash| {
        let expire = |field: &&[u8]| match hash.expiry_of(field) {
            None => NO_FIELD,
            Some(current) if !condition.allows(current, at_ms) => NOT_MET,
            Some(_) if is_past => {
                hash.remove(field);
                DELETED
            }
            Some(_) => {
                hash.set_expiry(field, at_ms, &limits);
                DONE
            }
        };
        fields.iter().map(expire).collect::<Vec<i64>>()
    })?;
    let is_emptied = edited.is_emptied();
    let outcomes = edited.value().unwrap_or_else(|| vec![NO_FIELD; fields.len()]);
    let changed = |wanted: i64| -> Vec<&[u8]> {
        fields
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| **outcome == wanted)
            .map(|(field, _)| *field)
            .collect()
    };
    let (expiring, deleted) = (changed(DONE), changed(DELETED));
    if !expiring.is_empty() {
        call.store.touch(key, expiring.len() as u64);
        call.store.notify(Class::Hash, "hexpire", key);
        log_expiry(call, key, at_ms, &expiring);
    }
    if !deleted.is_empty() {
        let removed = if is_emptied { Edited::Emptied(deleted.len()) } else { Edited::Kept(deleted.len()) };
        settle_removal(call, key, removed, "hdel");
        call.record.replace(&[&[b"HDEL", key], &deleted[..]].concat());
    }
    reply_integers(call.reply, &outcomes);
    Ok(())
}

/// Fails if the key holds something else: these commands look at that before their other arguments.
fn check_type(call: &mut Call) -> CommandResult {
    call.store.find_kind::<Hash>(call.args[1]).map(drop)
}

/// The time in `args[2]`, in milliseconds since 1970.
fn parse_expiry(call: &Call, unit: ExpiryUnit, command: &str) -> Result<u64, Error> {
    let amount = call.int(2)?;
    if amount < 0 {
        return Err(Error::new("ERR invalid expire time, must be >= 0"));
    }
    let at = unit.resolve(amount, call.store.now_ms).filter(|&at| at <= EXPIRY_MS_MAX);
    // 0 means never; while loading, when no time is past, the earliest moment there is will do.
    at.map(|at| at.max(1) as u64).ok_or_else(|| invalid_expiry(command))
}

/// The fields after `FIELDS count`, which stand at `at`.
fn parse_fields<'a>(args: Args<'a>, at: usize, not_positive: &'static str) -> Result<&'a [&'a [u8]], Error> {
    if !args[at].eq_ignore_ascii_case(b"fields") {
        return Err(Error::new("ERR Mandatory argument FIELDS is missing or not at the right position"));
    }
    let count = args.get(at + 1).and_then(|text| parse_count(text, 1)).ok_or(Error::new(not_positive))?;
    let fields = &args[at + 2..];
    if count != fields.len() {
        return Err(Error::new("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(fields)
}

/// Logs an expiry as an absolute time. Conditions stay out: they were met.
fn log_expiry(call: &mut Call, key: &[u8], at_ms: u64, fields: &[&[u8]]) {
    let (mut at, mut count) = (DecimalBuffer::default(), DecimalBuffer::default());
    let mut command: Vec<&[u8]> = vec![b"HPEXPIREAT", key, format_u64(at_ms, &mut at), b"FIELDS"];
    command.push(format_u64(fields.len() as u64, &mut count));
    command.extend(fields);
    call.record.replace(&command);
}

fn reply_integers(reply: &mut Reply, integers: &[i64]) {
    reply.array(integers.len());
    for &integer in integers {
        reply.integer(integer);
    }
}

const COUNT_NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

fn hpersist(call: &mut Call) -> CommandResult {
    check_type(call)?;
    let fields = parse_fields(call.args, 2, COUNT_NOT_POSITIVE)?;
    let key = call.args[1];
    let limits = call.store.limits.clone();
    let edited = call.store.edit(key, |hash: &mut Hash| {
        let persist = |field: &&[u8]| match hash.expiry_of(field) {
            None => NO_FIELD,
            Some(0) => NO_EXPIRY,
            Some(_) => {
                hash.set_expiry(field, 0, &limits);
                DONE
            }
        };
        fields.iter().map(persist).collect::<Vec<i64>>()
    })?;
    let outcomes = edited.value().unwrap_or_else(|| vec![NO_FIELD; fields.len()]);
    let changed = outcomes.iter().filter(|&&outcome| outcome == DONE).count();
    if changed > 0 {
        call.store.touch(key, changed as u64);
        call.store.notify(Class::Hash, "hpersist", key);
    }
    reply_integers(call.reply, &outcomes);
    Ok(())
}

fn httl(call: &mut Call) -> CommandResult {
    reply_expiries(call, |at, now| to_seconds(at.saturating_sub(now)))
}

fn hpttl(call: &mut Call) -> CommandResult {
    reply_expiries(call, u64::saturating_sub)
}

fn hexpiretime(call: &mut Call) -> CommandResult {
    reply_expiries(call, |at, _| to_seconds(at))
}

fn hpexpiretime(call: &mut Call) -> CommandResult {
    reply_expiries(call, |at, _| at)
}

/// Rounded up, unlike a key's.
fn to_seconds(ms: u64) -> u64 {
    ms.div_ceil(1000)
}

/// Answers for each field with a function of its expiry and now.
fn reply_expiries(call: &mut Call, show: impl Fn(u64, u64) -> u64) -> CommandResult {
    let now_ms = call.store.now_ms;
    let hash = call.store.get::<Hash>(call.args[1])?;
    let fields = parse_fields(call.args, 2, COUNT_NOT_POSITIVE)?;
    let outcome = |field: &&[u8]| match hash.and_then(|hash| hash.expiry_of(field)) {
        None => NO_FIELD,
        Some(0) => NO_EXPIRY,
        Some(at) => show(at, now_ms) as i64,
    };
    let outcomes: Vec<i64> = fields.iter().map(outcome).collect();
    reply_integers(call.reply, &outcomes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, format, string::String, vec, vec::Vec};

    use crate::{
        commands::testing::{Bench, NOW_MS, check},
        resp::Protocol,
        store::Limits,
    };

    /// A bench on which every hash is a table from its first field on.
    fn table_bench() -> Bench {
        let mut bench = Bench::new();
        bench.store.limits = Limits { hash_listpack_entries_max: 0, ..Limits::default() };
        bench
    }

    #[track_caller]
    fn check_both(commands: &[(&str, &str)]) {
        check(commands);
        table_bench().check(commands);
    }

    #[test]
    fn fields_are_set_and_read_in_both_encodings() {
        check_both(&[
            ("HSET h a 1", ":1"),
            ("HSET h a 2 b x", ":1"),
            ("HSET h a", "-ERR wrong number of arguments for 'hset' command"),
            ("HSET h a 1 b", "-ERR wrong number of arguments for 'hset' command"),
            ("HMSET h a 1 b", "-ERR wrong number of arguments for 'hmset' command"),
            ("HMSET h a 3", "+OK"),
            ("HGET h a", "\"3\""),
            ("HGET h none", "nil"),
            ("HGET none a", "nil"),
            ("HMGET h a none b", "[\"3\", nil, \"x\"]"),
            ("HMGET none a b", "[nil, nil]"),
            ("HLEN h", ":2"),
            ("HLEN none", ":0"),
            ("HSTRLEN h b", ":1"),
            ("HSTRLEN h none", ":0"),
            ("HEXISTS h a", ":1"),
            ("HEXISTS h none", ":0"),
            ("HSETNX h a 9", ":0"),
            ("HSETNX h c 9", ":1"),
            ("HSETNX new c 9", ":1"),
            ("HDEL h a none c a", ":2"),
            ("HGETALL h", "[\"b\", \"x\"]"),
            ("HKEYS h", "[\"b\"]"),
            ("HVALS h", "[\"x\"]"),
            ("HDEL h b", ":1"),
            ("EXISTS h", ":0"),
            ("HDEL h b", ":0"),
            ("HGETALL h", "[]"),
            ("HKEYS h", "[]"),
            ("HVALS h", "[]"),
            ("HRANDFIELD h", "nil"),
            ("HRANDFIELD h 3", "[]"),
            ("HSCAN h 0", "[\"0\", []]"),
            ("HSCAN h 0 FOO", "[\"0\", []]"),
        ]);
    }

    #[test]
    fn other_types_are_refused_by_every_command() {
        let mut bench = Bench::new();
        bench.run("SET s v");
        for command in [
            "HSET s a 1",
            "HMSET s a 1",
            "HSETNX s a 1",
            "HGET s a",
            "HMGET s a",
            "HGETALL s",
            "HDEL s a",
            "HLEN s",
            "HSTRLEN s a",
            "HEXISTS s a",
            "HKEYS s",
            "HVALS s",
            "HINCRBY s a 1",
            "HINCRBYFLOAT s a 1",
            "HRANDFIELD s",
            "HRANDFIELD s 1",
            "HSCAN s 0 FOO",
            "HEXPIRE s x FIELDS 1 a",
            "HPERSIST s FIELDS 0 a",
            "HTTL s FIELDS 1 a",
        ] {
            let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
            assert_eq!(bench.run(command), wrong, "{command}");
        }
    }

    #[test]
    fn counters_count() {
        check_both(&[
            ("HINCRBY h n 5", ":5"),
            ("HINCRBY h n -7", ":-2"),
            ("HINCRBY h n x", "-ERR value is not an integer or out of range"),
            ("HSET h n 9223372036854775807 s x f 1.5", ":2"),
            ("HINCRBY h n 1", "-ERR increment or decrement would overflow"),
            ("HINCRBY h s 1", "-ERR hash value is not an integer"),
            ("HINCRBY h f 1", "-ERR hash value is not an integer"),
            ("HINCRBYFLOAT h f 0.1", "\"1.6\""),
            ("HINCRBYFLOAT h new 3.0e1", "\"30\""),
            ("HINCRBYFLOAT h f x", "-ERR value is not a valid float"),
            ("HINCRBYFLOAT h f inf", "-ERR value is NaN or Infinity"),
            ("HINCRBYFLOAT h s 1", "-ERR hash value is not a float"),
            ("HSET h i inf", ":1"),
            ("HINCRBYFLOAT h i 1", "-ERR increment would produce NaN or Infinity"),
            ("HINCRBY none n x", "-ERR value is not an integer or out of range"),
            ("EXISTS none", ":0"),
        ]);
    }

    #[test]
    fn float_sums_are_logged_as_results_and_keep_the_expiry() {
        let mut bench = Bench::new();
        bench.logs("HINCRBYFLOAT h f 0.5", &["HSET h f 0.5"]);
        bench.run("HPEXPIREAT h 1700000005000 FIELDS 1 f");
        bench.logs("HINCRBYFLOAT h f 0.25", &["HSET h f 0.75", "HPEXPIREAT h 1700000005000 FIELDS 1 f"]);
        bench.logs("HINCRBY h n 1", &["HINCRBY h n 1"]);
        bench.check(&[("HPTTL h FIELDS 2 f n", "[:5000, :-1]")]);
    }

    #[test]
    fn encoding_follows_size_and_length() {
        let mut bench = Bench::new();
        bench.store.limits =
            Limits { hash_listpack_entries_max: 2, hash_listpack_value_max: 4, ..Limits::default() };
        bench.check(&[
            ("HSET h a 1 b 1234", ":2"),
            ("OBJECT ENCODING h", "\"listpack\""),
            ("HSETNX h c 1", ":1"),
            ("OBJECT ENCODING h", "\"hashtable\""),
            ("HSET long a 12345", ":1"),
            ("OBJECT ENCODING long", "\"hashtable\""),
            ("HSET name abcde 1", ":1"),
            ("OBJECT ENCODING name", "\"hashtable\""),
            ("HSET ex a 1", ":1"),
            ("HEXPIRE ex 10 FIELDS 1 a", "[:1]"),
            ("OBJECT ENCODING ex", "\"listpackex\""),
            ("HINCRBYFLOAT ex a 1234.5", "\"1235.5\""),
            ("OBJECT ENCODING ex", "\"hashtable\""),
        ]);
    }

    #[test]
    fn replies_in_resp3() {
        let mut bench = Bench::new();
        bench.protocol = Protocol::Resp3;
        bench.check(&[
            ("HGETALL h", "{}"),
            ("HSET h a 1", ":1"),
            ("HGETALL h", "{\"a\", \"1\"}"),
            ("HGET h none", "nil"),
            ("HRANDFIELD h 1 WITHVALUES", "[[\"a\", \"1\"]]"),
            ("HRANDFIELD h -2 WITHVALUES", "[[\"a\", \"1\"], [\"a\", \"1\"]]"),
            ("HRANDFIELD h 1", "[\"a\"]"),
            ("HSCAN h 0", "[\"0\", [\"a\", \"1\"]]"),
        ]);
    }

    #[test]
    fn random_fields_are_distinct_unless_asked_otherwise() {
        for (mut bench, len) in [(Bench::new(), 100), (table_bench(), 100), (table_bench(), 3)] {
            for index in 0..len {
                bench.run(&format!("HSET h f{index} v{index}"));
            }
            for count in [0, 1, 2, len / 4, len / 2, len - 1, len, len + 1] {
                let reply = bench.run(&format!("HRANDFIELD h {count} WITHVALUES"));
                let words: Vec<&str> = reply.split('"').skip(1).step_by(2).collect();
                let names: BTreeSet<&str> = words.iter().step_by(2).copied().collect();
                assert_eq!((words.len(), names.len()), (2 * count.min(len), count.min(len)));
                assert!(words.chunks(2).all(|pair| pair[0][1..] == pair[1][1..]));
            }
            let reply = bench.run("HRANDFIELD h -300");
            assert_eq!(reply.split(", ").count(), 300);
            assert!(bench.run("HRANDFIELD h").starts_with("\"f"));
        }
        check(&[
            ("HRANDFIELD h x", "-ERR value is not an integer or out of range"),
            ("HRANDFIELD h 1 WITHSCORES", "-ERR syntax error"),
            ("HRANDFIELD h 1 WITHVALUES x", "-ERR syntax error"),
            ("HRANDFIELD h 9223372036854775807 WITHVALUES", "-ERR value is out of range"),
            (
                "HRANDFIELD h -9223372036854775808",
                "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ),
        ]);
    }

    #[test]
    fn scans_find_every_field() {
        let mut bench = table_bench();
        for index in 0..300 {
            bench.run(&format!("HSET h f{index} v"));
        }
        let mut found = BTreeSet::new();
        let mut cursor = String::from("0");
        for _ in 0..1000 {
            let reply = bench.run(&format!("HSCAN h {cursor} COUNT 7 NOVALUES MATCH f*"));
            let mut words = reply.split('"').skip(1).step_by(2).map(String::from);
            cursor = words.next().expect("a cursor");
            found.extend(words);
            if cursor == "0" {
                break;
            }
        }
        assert_eq!((cursor.as_str(), found.len()), ("0", 300));
        check(&[
            ("HSET h a 1 b 2", ":2"),
            ("HSCAN h 0 MATCH a COUNT 1", "[\"0\", [\"a\", \"1\"]]"),
            ("HSCAN h 0 NOVALUES", "[\"0\", [\"a\", \"b\"]]"),
            ("HSCAN h 0 MATCH novalues", "[\"0\", []]"),
            ("HSCAN h x", "-ERR invalid cursor"),
            ("HSCAN h 0 COUNT 0", "-ERR syntax error"),
            ("HSCAN h 0 TYPE hash", "-ERR syntax error"),
            ("HSCAN h 0 MATCH", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn fields_expire_before_anybody_sees_them() {
        let mut bench = Bench::new();
        bench.check(&[
            ("HSET h a 1 b 2 c 3", ":3"),
            ("HPEXPIRE h 10 FIELDS 2 a b", "[:1, :1]"),
            ("HPEXPIRE h 20 FIELDS 1 c", "[:1]"),
        ]);
        bench.store.now_ms = NOW_MS + 10;
        bench.check(&[("HLEN h", ":3"), ("HPTTL h FIELDS 3 a c x", "[:0, :10, :-2]")]);
        bench.store.now_ms = NOW_MS + 11;
        bench.records();
        bench.events();
        bench.check(&[("HGETALL h", "[\"c\", \"3\"]")]);
        assert_eq!((bench.records(), bench.events()), (vec!["HDEL h a b".into()], vec!["hexpired h".into()]));
        bench.store.now_ms = NOW_MS + 21;
        bench.check(&[("EXISTS h", ":0")]);
        assert_eq!(bench.events(), ["hexpired h", "del h"]);
        assert_eq!((bench.records(), bench.store.stats.expired_fields), (vec!["HDEL h c".into()], 3));
        assert_eq!(bench.store.current().next_field_expiry_ms(), None);
    }

    #[test]
    fn a_hash_is_made_while_fields_of_another_one_are_due() {
        let mut bench = Bench::new();
        bench.check(&[("HSET h a 1 b 2", ":2"), ("HPEXPIRE h 10 FIELDS 1 a", "[:1]")]);
        bench.store.now_ms = NOW_MS + 11;
        bench.check(&[("HSET other a 1", ":1"), ("HGETALL other", "[\"a\", \"1\"]")]);
    }

    #[test]
    fn due_fields_are_removed_a_few_at_a_time_without_being_looked_up() {
        let mut bench = Bench::new();
        for index in 0..5 {
            bench.run(&format!("HSET h{index} a 1 b 2 c 3"));
            bench.run(&format!("HPEXPIRE h{index} {} FIELDS 2 a b", 10 + index));
        }
        bench.store.now_ms = NOW_MS + 13;
        let counts: Vec<usize> = (0..6).map(|_| bench.store.expire_next_fields(0, 1)).collect();
        assert_eq!(counts, [1, 1, 1, 1, 1, 1]);
        assert_eq!(bench.store.expire_next_fields(0, 10), 0);
        assert_eq!(bench.store.current().next_field_expiry_ms(), Some(NOW_MS + 13));
        bench.store.now_ms = NOW_MS + 100;
        assert_eq!([bench.store.expire_next_fields(0, 10), bench.store.expire_next_fields(0, 10)], [2, 2]);
        assert_eq!(bench.store.current().next_field_expiry_ms(), None);
    }

    #[test]
    fn whatever_moves_a_hash_moves_its_expiries() {
        let mut bench = Bench::new();
        bench.check(&[
            ("HSET h a 1 b 2", ":2"),
            ("HPEXPIRE h 10 FIELDS 1 a", "[:1]"),
            ("RENAME h i", "+OK"),
            ("COPY i j", ":1"),
            ("SET i v", "+OK"),
            ("HSET j a 2", ":0"),
            ("HTTL j FIELDS 2 a b", "[:-1, :-1]"),
            ("HPEXPIRE j 10 FIELDS 1 b", "[:1]"),
            ("DEL j", ":1"),
        ]);
        assert_eq!(bench.store.current().next_field_expiry_ms(), None);
    }

    #[test]
    fn expiry_conditions_and_units() {
        check_both(&[
            ("HSET h a 1 b 2", ":2"),
            ("HTTL h FIELDS 2 a x", "[:-1, :-2]"),
            ("HTTL none FIELDS 1 a", "[:-2]"),
            ("HEXPIRE none 10 FIELDS 2 a b", "[:-2, :-2]"),
            ("HEXPIRE h 10 XX FIELDS 1 a", "[:0]"),
            ("HEXPIRE h 10 GT FIELDS 1 a", "[:0]"),
            ("HEXPIRE h 10 LT FIELDS 1 b", "[:1]"),
            ("HEXPIRE h 10 NX FIELDS 2 a b", "[:1, :0]"),
            ("HEXPIRE h 20 GT FIELDS 1 a", "[:1]"),
            ("HEXPIRE h 20 GT FIELDS 1 a", "[:0]"),
            ("HEXPIRE h 30 LT FIELDS 1 a", "[:0]"),
            ("HPEXPIRE h 1001 lt fields 1 a", "[:1]"),
            ("HTTL h FIELDS 1 a", "[:2]"),
            ("HPTTL h FIELDS 1 a", "[:1001]"),
            ("HPEXPIRETIME h FIELDS 1 a", "[:1700000001001]"),
            ("HEXPIRETIME h FIELDS 1 a", "[:1700000002]"),
            ("HEXPIREAT h 1700000050 FIELDS 1 a", "[:1]"),
            ("HTTL h FIELDS 1 a", "[:50]"),
            ("HPERSIST h FIELDS 3 a a x", "[:1, :-1, :-2]"),
            ("HPERSIST none FIELDS 1 a", "[:-2]"),
            ("HPEXPIREAT h 1700000000000 FIELDS 2 a x", "[:2, :-2]"),
            ("HLEN h", ":1"),
            ("HEXPIRE h 0 FIELDS 1 b", "[:2]"),
            ("EXISTS h", ":0"),
        ]);
    }

    #[test]
    fn wrong_expiries_are_refused() {
        let missing = "-ERR Mandatory argument FIELDS is missing or not at the right position";
        let mismatch = "-ERR The `numfields` parameter must match the number of arguments";
        check(&[
            ("HEXPIRE h x FIELDS 1 a", "-ERR value is not an integer or out of range"),
            ("HEXPIRE h -1 FIELDS 1 a", "-ERR invalid expire time, must be >= 0"),
            ("HEXPIRE h 9223372036854775807 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"),
            ("HPEXPIREAT h 70368744177663 FIELDS 1 a", "[:-2]"),
            ("HPEXPIREAT h 70368744177664 FIELDS 1 a", "-ERR invalid expire time in 'hpexpireat' command"),
            ("HEXPIRE h 1 FOO 1 a", missing),
            ("HEXPIRE h 1 NX 1 a", missing),
            ("HEXPIRE h 1 FIELDS 0 a", "-ERR Parameter `numFields` should be greater than 0"),
            ("HEXPIRE h 1 FIELDS x a", "-ERR Parameter `numFields` should be greater than 0"),
            ("HEXPIRE h 1 FIELDS 2 a", mismatch),
            ("HEXPIRE h 1 NX FIELDS 1", mismatch),
            ("HTTL h FOO 1 a", missing),
            ("HTTL h FIELDS 0 a", "-ERR Number of fields must be a positive integer"),
            ("HTTL h FIELDS 3 a b", mismatch),
            ("HPERSIST h FIELDS 3 a b", mismatch),
            ("HTTL h FIELDS 1", "-ERR wrong number of arguments for 'httl' command"),
            ("HEXPIRE h 1 FIELDS 1", "-ERR wrong number of arguments for 'hexpire' command"),
        ]);
    }

    #[test]
    fn expiries_are_logged_absolutely_for_the_fields_that_took_them() {
        let mut bench = Bench::new();
        bench.run("HSET h a 1 b 2 c 3");
        bench.logs("HEXPIRE h 10 FIELDS 2 a x", &["HPEXPIREAT h 1700000010000 FIELDS 1 a"]);
        bench.logs("HEXPIRE h 10 NX FIELDS 2 a b", &["HPEXPIREAT h 1700000010000 FIELDS 1 b"]);
        bench.logs("HEXPIRE h 10 NX FIELDS 2 a b", &[]);
        bench.logs("HPERSIST h FIELDS 2 a c", &["HPERSIST h FIELDS 2 a c"]);
        bench.logs("HPERSIST h FIELDS 2 a c", &[]);
        bench.logs("HEXPIREAT h 1 FIELDS 3 a x b", &["HDEL h a b"]);
        bench.logs("HEXPIRE none 1 FIELDS 1 a", &[]);
    }

    #[test]
    fn nothing_expires_while_loading() {
        let mut bench = Bench::new();
        bench.store.is_loading = true;
        bench.check(&[("HSET h a 1", ":1"), ("HPEXPIREAT h 5 FIELDS 1 a", "[:1]"), ("HGET h a", "\"1\"")]);
        bench.store.is_loading = false;
        bench.check(&[("HGET h a", "nil"), ("EXISTS h", ":0")]);
    }

    #[test]
    fn writes_are_announced() {
        let mut bench = Bench::new();
        for (command, events) in [
            ("HSET h a 1", &["new h", "hset h"][..]),
            ("HSETNX h a 1", &[]),
            ("HSETNX h b 1", &["hset h"]),
            ("HMSET h c 1", &["hset h"]),
            ("HINCRBY h a 1", &["hincrby h"]),
            ("HINCRBYFLOAT h a 1", &["hincrbyfloat h"]),
            ("HEXPIRE h 5 FIELDS 1 a", &["hexpire h"]),
            ("HPERSIST h FIELDS 1 a", &["hpersist h"]),
            ("HDEL h none", &[]),
            ("HDEL h a", &["hdel h"]),
            ("HEXPIRE h 0 FIELDS 1 b", &["hdel h"]),
            ("HDEL h c", &["hdel h", "del h"]),
        ] {
            bench.run(command);
            assert_eq!(bench.events(), events, "{command}");
        }
    }
}
