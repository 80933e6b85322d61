//! Clients whose every write is known in advance, so that what a server holds can be dated.
//!
//! Exists to answer one question after a crash: the state after exactly how many of this client's operations
//! is this? Each operation is a pure function of seed, client and number, and each client owns its keys, so
//! nothing has to be logged and no order between clients has to be guessed.
//!
//! Always true: base <= acknowledged <= sent. A `MULTI` block is one operation: a prefix holds all of it or
//! nothing.
//!
//! Not here: when the server is killed and how the answers are judged (`crash/`), what a write does
//! (`steps.rs`, `model/`).

use crate::client::{Address, Client, Reply};
use crate::model::{Bytes, Keyspace};
use crate::process::REQUEST_TIMEOUT;
use crate::rng::Rng;
use crate::steps::{Change, Step};
use std::collections::BTreeSet;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Keys per family and client: few enough that every key is changed often, and that judging stays quick.
const KEYS_PER_FAMILY: u64 = 16;
/// Bounds of collections, so that the state stays readable in one reply however long the run.
const LIST_LEN_MAX: usize = 200;
const MEMBERS: u64 = 100;
const STREAM_LEN_MAX: usize = 100;
/// 2100-01-01: no run lasts that long, so an expiry never fires and must simply be kept.
const FAR_FUTURE_MS: u64 = 4_102_444_800_000;

/// A kind of write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// SET, APPEND, DEL.
    Strings,
    /// INCRBY.
    Counters,
    /// Pushes, pops and trims.
    Lists,
    /// HSET, HDEL, HINCRBY.
    Hashes,
    /// SADD, SREM.
    Sets,
    /// ZADD, ZINCRBY, ZREM, ZPOPMIN.
    Zsets,
    /// XADD, XDEL, XTRIM.
    Streams,
    /// PEXPIREAT and PERSIST on strings, SET with PXAT; also times that are over, which delete.
    Expiries,
    /// Two to five writes of the other families in one MULTI.
    Multi,
    /// The same in one EVAL.
    Scripts,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 10] = [
        Family::Strings,
        Family::Counters,
        Family::Lists,
        Family::Hashes,
        Family::Sets,
        Family::Zsets,
        Family::Streams,
        Family::Expiries,
        Family::Multi,
        Family::Scripts,
    ];

    /// As written on the command line and in keys.
    pub fn name(self) -> &'static str {
        match self {
            Family::Strings => "strings",
            Family::Counters => "counters",
            Family::Lists => "lists",
            Family::Hashes => "hashes",
            Family::Sets => "sets",
            Family::Zsets => "zsets",
            Family::Streams => "streams",
            Family::Expiries => "expiries",
            Family::Multi => "multi",
            Family::Scripts => "scripts",
        }
    }

    /// Whether its operations are made of the other families' writes.
    pub fn is_composed(self) -> bool {
        matches!(self, Family::Multi | Family::Scripts)
    }
}

/// What all clients of a run do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// Kinds of writes, at least one of them not composed of others.
    pub families: Vec<Family>,
}

/// What a client does at one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// One command.
    Single(Step),
    /// `MULTI`, the commands, `EXEC`.
    Block(Vec<Step>),
    /// `EVAL` of [`SCRIPT`] with the commands as its arguments.
    Script(Vec<Step>),
}

/// Runs the commands in its arguments, each behind its number of words, and gives their replies.
const SCRIPT: &str = "\
local replies, at = {}, 1
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  replies[#replies + 1] = redis.call(unpack(ARGV, at + 1, at + words))
  at = at + words + 1
end
return replies";

impl Operation {
    /// Its writes, in order.
    pub fn steps(&self) -> &[Step] {
        match self {
            Operation::Single(step) => std::slice::from_ref(step),
            Operation::Block(steps) | Operation::Script(steps) => steps,
        }
    }

    fn commands(&self) -> Vec<Vec<Bytes>> {
        let bare = |name: &str| vec![name.as_bytes().to_vec()];
        let steps = self.steps().iter().map(Step::arguments);
        match self {
            Operation::Single(_) => steps.collect(),
            Operation::Block(_) => [bare("MULTI")].into_iter().chain(steps).chain([bare("EXEC")]).collect(),
            Operation::Script(_) => vec![self.script()],
        }
    }

    /// The words of the one `EVAL`.
    fn script(&self) -> Vec<Bytes> {
        let number = |number: usize| number.to_string().into_bytes();
        let mut words = vec![b"EVAL".to_vec(), SCRIPT.into(), number(self.steps().len())];
        words.extend(self.steps().iter().map(|step| step.key.clone()));
        for command in self.steps().iter().map(Step::arguments) {
            words.push(number(command.len()));
            words.extend(command);
        }
        words
    }

    /// Makes the changes and gives every reply the server must send.
    fn apply(&self, keyspace: &mut Keyspace) -> Vec<Reply> {
        let replies: Vec<Reply> = self.steps().iter().map(|step| step.apply(keyspace)).collect();
        match self {
            Operation::Single(_) => replies,
            Operation::Block(steps) => {
                let queued = steps.iter().map(|_| Reply::Simple("QUEUED".into()));
                let opened = Reply::Simple("OK".into());
                [opened].into_iter().chain(queued).chain([Reply::Array(replies)]).collect()
            }
            Operation::Script(_) => vec![Reply::Array(replies)],
        }
    }
}

impl Plan {
    /// What `client` does at `number`, always the same.
    pub fn operation(&self, client: u64, number: u64) -> Operation {
        let mut rng = Rng::at(self.seed, client, number);
        let mut place = Place { client, number, index: 0 };
        let family = *rng.choose(&self.families);
        if !family.is_composed() {
            return Operation::Single(draw_step(&mut rng, &place, family));
        }
        let plain: Vec<Family> = self.plain_families().collect();
        let steps = (0..2 + rng.below(4)).map(|index| {
            place.index = index;
            // Round the families, so that one operation touches several.
            let family = plain[((index + number) % plain.len() as u64) as usize];
            draw_step(&mut rng, &place, family)
        });
        let steps = steps.collect();
        if family == Family::Multi { Operation::Block(steps) } else { Operation::Script(steps) }
    }

    /// Every key `client` may ever have.
    pub fn keys(&self, client: u64) -> Vec<Bytes> {
        let families: BTreeSet<Family> = self.plain_families().map(home).collect();
        let indexes = |family: Family| (0..KEYS_PER_FAMILY).map(move |index| key(client, family, index));
        families.into_iter().flat_map(indexes).collect()
    }

    /// Keys of `client` that hold strings which say when they were set.
    pub fn dated_keys(&self, client: u64) -> Vec<Bytes> {
        (0..KEYS_PER_FAMILY).map(|index| key(client, Family::Strings, index)).collect()
    }

    fn plain_families(&self) -> impl Iterator<Item = Family> {
        self.families.iter().copied().filter(|family| !family.is_composed())
    }
}

/// Who writes, and what makes this write's values unlike all others.
struct Place {
    client: u64,
    number: u64,
    /// Within a block.
    index: u64,
}

/// The family whose keys `family` works on.
fn home(family: Family) -> Family {
    if family == Family::Expiries { Family::Strings } else { family }
}

fn key(client: u64, family: Family, index: u64) -> Bytes {
    format!("c{client}:{}:{index}", family.name()).into_bytes()
}

fn draw_step(rng: &mut Rng, place: &Place, family: Family) -> Step {
    let key = key(place.client, home(family), rng.below(KEYS_PER_FAMILY));
    let change = match family {
        Family::Strings => draw_string(rng, place),
        Family::Counters => Change::Incrby(rng.below(2000) as i64 - 500),
        Family::Lists => draw_list(rng, place),
        Family::Hashes => draw_hash(rng, place),
        Family::Sets => draw_set(rng),
        Family::Zsets => draw_zset(rng),
        Family::Streams => draw_stream(rng, place),
        Family::Expiries => draw_expiry(rng, place),
        Family::Multi | Family::Scripts => unreachable!("what is composed does not nest"),
    };
    Step { key, change }
}

fn draw_string(rng: &mut Rng, place: &Place) -> Change {
    match rng.below(10) {
        0..6 => Change::Set(unique_value(rng, place)),
        6..9 => Change::Append(format!("+{}.{}", place.number, place.index).into_bytes()),
        _ => Change::Del,
    }
}

fn draw_list(rng: &mut Rng, place: &Place) -> Change {
    match rng.below(20) {
        0..8 => Change::Rpush(unique_value(rng, place)),
        8..13 => Change::Lpush(unique_value(rng, place)),
        13..16 => Change::Lpop,
        16..19 => Change::Rpop,
        _ => Change::Ltrim(LIST_LEN_MAX),
    }
}

fn draw_hash(rng: &mut Rng, place: &Place) -> Change {
    match rng.below(10) {
        0..6 => Change::Hset(member(rng), unique_value(rng, place)),
        6..8 => Change::Hdel(member(rng)),
        _ => Change::Hincrby(format!("number{}", rng.below(4)).into_bytes(), rng.below(100) as i64),
    }
}

fn draw_set(rng: &mut Rng) -> Change {
    match rng.below(3) {
        0..2 => Change::Sadd(member(rng)),
        _ => Change::Srem(member(rng)),
    }
}

fn draw_zset(rng: &mut Rng) -> Change {
    match rng.below(10) {
        0..5 => Change::Zadd(member(rng), rng.below(1_000_000) as i64 - 1000),
        5..7 => Change::Zincrby(member(rng), rng.below(100) as i64),
        7..9 => Change::Zrem(member(rng)),
        _ => Change::Zpopmin,
    }
}

fn draw_stream(rng: &mut Rng, place: &Place) -> Change {
    match rng.below(10) {
        // Numbers only grow, so ids do, also after a crash has taken back the last of them.
        0..8 => Change::Xadd((place.number + 1, place.index), b"field".to_vec(), unique_value(rng, place)),
        8 => Change::Xdel((place.number.saturating_sub(rng.below(50)), 0)),
        _ => Change::Xtrim(STREAM_LEN_MAX),
    }
}

fn draw_expiry(rng: &mut Rng, place: &Place) -> Change {
    let at_ms = FAR_FUTURE_MS + place.number * 1000 + place.index;
    match rng.below(8) {
        0..2 => Change::SetPxat(unique_value(rng, place), at_ms),
        2..5 => Change::Pexpireat(at_ms),
        5 => Change::Overdue,
        _ => Change::Persist,
    }
}

fn member(rng: &mut Rng) -> Bytes {
    format!("member{}", rng.below(MEMBERS)).into_bytes()
}

/// A value no other write has: mostly short, sometimes longer than any buffer a server might use whole.
fn unique_value(rng: &mut Rng, place: &Place) -> Bytes {
    let size = match rng.below(200) {
        0 => 20_000,
        1..20 => 1_000,
        _ => rng.below(64) as usize,
    };
    let mut value = format!("{}.{}.{}:", place.client, place.number, place.index).into_bytes();
    value.resize(value.len() + size, b'a' + (place.number % 26) as u8);
    value
}

/// Operations that must have been made for a string key to hold `value`: its text says who set it, and when.
///
/// `None` if the string was begun by APPEND, which does not say.
pub fn operations_shown(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(&value[..value.len().min(64)]).ok()?;
    if text.starts_with('+') {
        return None;
    }
    let number: u64 = text.split('.').nth(1)?.parse().ok()?;
    Some(number + 1)
}

/// How fast a client writes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Operations it leaves unanswered at most.
    pub pipeline: u64,
    /// How long it rests after each batch of replies.
    pub pause: Duration,
}

/// How far a client is; read by the judge while the client runs.
#[derive(Debug, Default)]
pub struct Progress {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    shown: AtomicU64,
    refused: AtomicU64,
    batches: Mutex<Vec<Batch>>,
}

/// What a client knew when it sent some operations.
#[derive(Debug)]
struct Batch {
    /// Number of the first of them.
    first: u64,
    /// For each client, the operations answered by then: they happened before.
    acknowledged: Vec<u64>,
}

impl Progress {
    /// Of a client that stands at `count` operations.
    pub fn at(count: u64) -> Progress {
        Progress { sent: count.into(), acknowledged: count.into(), ..Progress::default() }
    }

    /// Operations handed to the socket, at least in part.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Operations whose replies have all arrived.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Operations some reader has seen the effect of.
    pub fn shown(&self) -> u64 {
        self.shown.load(Ordering::SeqCst)
    }

    /// Refusals so far, of a client that tries again.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// A reader saw the effect of so many operations.
    pub fn show(&self, count: u64) {
        self.shown.fetch_max(count, Ordering::SeqCst);
    }

    /// After a crash: `count` operations are there, and the client goes on from them.
    pub fn resume(&self, count: u64) {
        self.sent.fetch_max(count, Ordering::SeqCst);
        self.acknowledged.store(count, Ordering::SeqCst);
        self.batches.lock().expect("nobody panics holding it").retain(|batch| batch.first < count);
    }

    /// For each client, the operations that were answered before this one's operation `number` was sent.
    pub fn known_at(&self, number: u64) -> Vec<u64> {
        let batches = self.batches.lock().expect("nobody panics holding it");
        let end = batches.partition_point(|batch| batch.first <= number);
        batches[..end].last().map(|batch| batch.acknowledged.clone()).unwrap_or_default()
    }

    /// The operations from `first` up to `end` are about to be sent.
    pub fn note_sending(&self, first: u64, end: u64, everybody: &[Progress]) {
        let acknowledged = everybody.iter().map(Progress::acknowledged).collect();
        self.batches.lock().expect("nobody panics holding it").push(Batch { first, acknowledged });
        self.sent.fetch_max(end, Ordering::SeqCst);
    }
}

/// Why a client stopped.
#[derive(Debug)]
pub enum Stop {
    /// The connection ended: what a kill looks like from outside.
    Disconnected(io::Error),
    /// The server answered something else than the model.
    WrongReply(String),
}

/// One client: what it has done, as far as it knows.
#[derive(Clone, Debug)]
pub struct Recorder {
    plan: Plan,
    client: u64,
    /// The state after `base_count` operations: what the server held when this life of it began.
    base: Keyspace,
    base_count: u64,
}

impl Recorder {
    /// A client that has done nothing yet.
    pub fn new(plan: Plan, client: u64) -> Recorder {
        assert!(plan.plain_families().next().is_some(), "blocks need something to hold");
        Recorder { plan, client, base: Keyspace::default(), base_count: 0 }
    }

    /// Its number.
    pub fn client(&self) -> u64 {
        self.client
    }

    /// What it has written, at the beginning of the server's current life.
    pub fn base(&self) -> &Keyspace {
        &self.base
    }

    /// Every key it may have.
    pub fn keys(&self) -> Vec<Bytes> {
        self.plan.keys(self.client)
    }

    /// Those of its keys whose values say when they were set.
    pub fn dated_keys(&self) -> Vec<Bytes> {
        self.plan.dated_keys(self.client)
    }

    /// A progress that starts where this client stands.
    pub fn progress(&self) -> Progress {
        Progress::at(self.base_count)
    }

    /// Writes at this pace until the connection ends; `everybody` holds each client's progress by number.
    pub fn run(&self, address: &Address, pace: Pace, everybody: &[Progress]) -> Stop {
        self.connected(address, |client| self.write_until_wrong(client, pace, everybody))
    }

    /// Writes one operation at a time, each again for as long as the server refuses it, until the connection
    /// ends: what a patient client does while the disk fails.
    pub fn run_stubbornly(&self, address: &Address, pause: Duration, everybody: &[Progress]) -> Stop {
        self.connected(address, |client| self.insist_until_wrong(client, pause, everybody))
    }

    fn connected(&self, address: &Address, write: impl FnOnce(Client) -> io::Result<String>) -> Stop {
        match Client::connect(address, REQUEST_TIMEOUT).and_then(write) {
            Ok(wrong_reply) => Stop::WrongReply(wrong_reply),
            Err(error) => Stop::Disconnected(error),
        }
    }

    fn write_until_wrong(
        &self,
        mut client: Client,
        pace: Pace,
        everybody: &[Progress],
    ) -> io::Result<String> {
        let progress = &everybody[self.client as usize];
        let mut model = self.base.clone();
        let mut sent = self.base_count;
        let mut acknowledged = self.base_count;
        loop {
            let first = sent;
            while sent - acknowledged < pace.pipeline {
                for command in self.plan.operation(self.client, sent).commands() {
                    client.queue(&command);
                }
                sent += 1;
            }
            // Before the first byte leaves: the server may act on it before we do anything else.
            progress.note_sending(first, sent, everybody);
            client.flush()?;
            loop {
                let operation = self.plan.operation(self.client, acknowledged);
                for expected in operation.apply(&mut model) {
                    let reply = client.read()?;
                    if reply != expected {
                        return Ok(describe_wrong(acknowledged, &operation, &expected, &reply));
                    }
                }
                acknowledged += 1;
                progress.acknowledged.store(acknowledged, Ordering::SeqCst);
                if acknowledged == sent || !client.has_buffered_input() {
                    break;
                }
            }
            thread::sleep(pace.pause);
        }
    }

    fn insist_until_wrong(
        &self,
        mut client: Client,
        pause: Duration,
        everybody: &[Progress],
    ) -> io::Result<String> {
        let progress = &everybody[self.client as usize];
        let mut model = self.base.clone();
        let mut number = self.base_count;
        loop {
            let operation = self.plan.operation(self.client, number);
            progress.note_sending(number, number + 1, everybody);
            let replies = client.pipeline(&operation.commands())?;
            if replies.last().is_some_and(is_refusal) {
                progress.refused.fetch_add(1, Ordering::SeqCst);
            } else {
                for (expected, reply) in operation.apply(&mut model).iter().zip(&replies) {
                    if reply != expected {
                        return Ok(describe_wrong(number, &operation, expected, reply));
                    }
                }
                number += 1;
                progress.acknowledged.store(number, Ordering::SeqCst);
            }
            thread::sleep(pause);
        }
    }

    /// Dates `observed`: which prefix, from the base up to `sent` operations, gives exactly this state?
    pub fn date(&self, observed: &Keyspace, sent: u64) -> Dating {
        assert!(self.base_count <= sent, "a client never takes back");
        let differs = |model: &Keyspace, key: &Bytes| model.get(0, key) != observed.get(0, key);
        let mut model = self.base.clone();
        let mut differing: BTreeSet<Bytes> =
            self.keys().into_iter().filter(|key| differs(&model, key)).collect();
        let mut dating =
            Dating { prefix: None, earliest: None, nearest: self.base_count, differing: differing.clone() };
        for count in self.base_count..=sent {
            if differing.is_empty() {
                dating.earliest = dating.earliest.or(Some(count));
                dating.prefix = Some(count);
            }
            if differing.len() < dating.differing.len() {
                dating.nearest = count;
                dating.differing = differing.clone();
            }
            // Only the keys an operation touches can start or stop to differ.
            let operation = self.plan.operation(self.client, count);
            operation.apply(&mut model);
            for step in operation.steps() {
                if differs(&model, &step.key) {
                    differing.insert(step.key.clone());
                } else {
                    differing.remove(&step.key);
                }
            }
        }
        dating
    }

    /// Takes the state after `count` operations as the new base.
    pub fn rebase(&mut self, count: u64) {
        assert!(self.base_count <= count, "what was durable stays so");
        for number in self.base_count..count {
            self.plan.operation(self.client, number).apply(&mut self.base);
        }
        self.base_count = count;
    }
}

/// Whether the server said that it does not take writes now, and so has not done the operation.
fn is_refusal(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(text) if text.starts_with("MISCONF") || text.starts_with("EXECABORT"))
}

fn describe_wrong(number: u64, operation: &Operation, expected: &Reply, reply: &Reply) -> String {
    let mut text = format!("operation {number}: expected {expected:?}, got {reply:?}, for {operation:?}");
    text.truncate(text.floor_char_boundary(600));
    text
}

/// What dating found.
#[derive(Debug, PartialEq, Eq)]
pub struct Dating {
    /// The longest prefix that gives exactly the observed state.
    pub prefix: Option<u64>,
    /// The shortest: beyond it are only operations that changed nothing.
    pub earliest: Option<u64>,
    /// The first of those prefixes that come nearest.
    pub nearest: u64,
    /// The keys that differ even there.
    pub differing: BTreeSet<Bytes>,
}

/// A client's states from its first operation on, with marks, so that a state is dated without walking the
/// whole way to it.
#[derive(Clone, Debug)]
pub struct Chronicle {
    /// The client at 0, `MARK_DISTANCE`, twice that …
    marks: Vec<Recorder>,
}

/// Operations between two marks: dating walks one such distance in the usual case.
const MARK_DISTANCE: u64 = 1000;

impl Chronicle {
    /// Of a client that will have sent `sent` operations.
    pub fn new(plan: Plan, client: u64, sent: u64) -> Chronicle {
        let mut marks = vec![Recorder::new(plan, client)];
        while let Some(last) = marks.last().filter(|last| last.base_count + MARK_DISTANCE <= sent) {
            let mut next = last.clone();
            next.rebase(last.base_count + MARK_DISTANCE);
            marks.push(next);
        }
        Chronicle { marks }
    }

    /// The client, before its first operation.
    pub fn recorder(&self) -> &Recorder {
        &self.marks[0]
    }

    /// As [`Recorder::date`], from the first operation on.
    pub fn date(&self, observed: &Keyspace, sent: u64) -> Dating {
        let mut best: Option<Dating> = None;
        for mark in self.marks.iter().rev().filter(|mark| mark.base_count <= sent) {
            let dating = mark.date(observed, sent.min(mark.base_count + MARK_DISTANCE));
            if dating.prefix.is_some() {
                return dating;
            }
            if best.as_ref().is_none_or(|best| dating.differing.len() < best.differing.len()) {
                best = Some(dating);
            }
        }
        best.expect("there is a mark at 0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(families: &[Family]) -> Recorder {
        Recorder::new(Plan { seed: 7, families: families.to_vec() }, 3)
    }

    fn state_after(recorder: &Recorder, count: u64) -> Keyspace {
        let mut rebased = recorder.clone();
        rebased.rebase(count);
        rebased.base
    }

    #[test]
    fn an_operation_depends_on_nothing_but_its_place() {
        let plan = Plan { seed: 7, families: Family::ALL.to_vec() };
        for number in 0..1000 {
            assert_eq!(plan.operation(1, number), plan.operation(1, number));
        }
        assert_ne!(plan.operation(1, 5), plan.operation(2, 5));
    }

    #[test]
    fn an_operation_touches_only_keys_its_client_owns() {
        let plan = Plan { seed: 7, families: Family::ALL.to_vec() };
        let keys: BTreeSet<Bytes> = plan.keys(1).into_iter().collect();
        assert!(plan.keys(2).iter().all(|key| !keys.contains(key)));
        for number in 0..2000 {
            for step in plan.operation(1, number).steps() {
                assert!(keys.contains(&step.key));
            }
        }
    }

    #[test]
    fn every_prefix_of_every_family_is_dated_to_a_state_equal_to_it() {
        for family in Family::ALL {
            let families = if family.is_composed() { vec![family, Family::Lists] } else { vec![family] };
            let recorder = recorder(&families);
            for count in [0, 1, 2, 50, 199, 200] {
                let observed = state_after(&recorder, count);
                let prefix = recorder.date(&observed, 200).prefix.expect("it is a prefix");
                assert!(prefix >= count);
                assert_eq!(state_after(&recorder, prefix), observed, "{family:?} {count}");
            }
        }
    }

    #[test]
    fn a_string_says_after_how_many_operations_it_can_be_seen() {
        let recorder = recorder(&[Family::Strings, Family::Expiries]);
        let mut keyspace = Keyspace::default();
        for number in 0..500 {
            let operation = recorder.plan.operation(3, number);
            operation.apply(&mut keyspace);
            if let Change::Set(value) | Change::SetPxat(value, _) = &operation.steps()[0].change {
                assert_eq!(operations_shown(value), Some(number + 1));
            }
        }
        assert!(recorder.dated_keys().iter().any(|key| keyspace.get(0, key).is_some()));
        assert_eq!(operations_shown(b"+1.4"), None);
        assert_eq!(operations_shown(b""), None);
    }

    #[test]
    fn a_state_beyond_what_was_sent_is_no_prefix() {
        let recorder = recorder(&[Family::Counters]);
        assert_eq!(recorder.date(&state_after(&recorder, 101), 100).prefix, None);
        assert_eq!(recorder.date(&state_after(&recorder, 101), 101).prefix, Some(101));
    }

    #[test]
    fn half_a_block_or_script_is_no_prefix() {
        half_is_no_prefix(Family::Multi);
        half_is_no_prefix(Family::Scripts);
    }

    fn half_is_no_prefix(family: Family) {
        let recorder = recorder(&[Family::Counters, family]);
        let number = (0..).find(|n| recorder.plan.operation(3, *n).steps().len() > 1).unwrap();
        let mut observed = state_after(&recorder, number);
        recorder.plan.operation(3, number).steps()[0].apply(&mut observed);
        let dating = recorder.date(&observed, number + 1);
        assert_eq!(dating.prefix, None);
        assert_eq!(dating.differing.len(), 1);
    }

    #[test]
    fn a_script_gets_each_command_behind_its_number_of_words() {
        let step = |key: &str, change| Step { key: key.into(), change };
        let script = Operation::Script(vec![step("a", Change::Incrby(5)), step("b", Change::Lpop)]);
        let [words] = &script.commands()[..] else { panic!("one command") };
        let text = |words: &[Bytes]| words.join(&b' ');
        assert_eq!(text(&words[..1]), b"EVAL");
        assert_eq!(text(&words[2..]), b"2 a b 3 INCRBY a 5 2 LPOP b");
        let replies = script.apply(&mut Keyspace::default());
        assert_eq!(replies, [Reply::Array(vec![Reply::Integer(5), Reply::Null])]);
    }

    #[test]
    fn a_chronicle_dates_as_a_walk_from_the_start_does() {
        let plan = Plan { seed: 7, families: vec![Family::Strings, Family::Lists] };
        let chronicle = Chronicle::new(plan, 3, 2500);
        for count in [0, 1, 999, 1000, 1001, 2000, 2400] {
            let observed = state_after(chronicle.recorder(), count);
            let expected = chronicle.recorder().date(&observed, 2500).prefix;
            assert_eq!(chronicle.date(&observed, 2500).prefix, expected, "{count}");
        }
        let beyond = state_after(chronicle.recorder(), 2400);
        assert_eq!(chronicle.date(&beyond, 2000).prefix, None);
    }

    #[test]
    fn what_was_answered_before_an_operation_was_sent_is_known() {
        let everybody = [Progress::at(0), Progress::at(7)];
        everybody[0].note_sending(0, 4, &everybody);
        everybody[1].resume(9);
        everybody[0].note_sending(4, 6, &everybody);
        assert_eq!(everybody[0].known_at(3), [0, 7]);
        assert_eq!(everybody[0].known_at(4), [0, 9]);
        everybody[0].resume(4);
        assert_eq!(everybody[0].known_at(5), [0, 7]);
        assert!(everybody[1].known_at(0).is_empty());
    }

    #[test]
    fn a_hole_in_the_middle_is_no_prefix() {
        let recorder = recorder(&[Family::Counters]);
        let mut observed = state_after(&recorder, 10);
        recorder.plan.operation(3, 11).apply(&mut observed);
        assert_eq!(recorder.date(&observed, 12).prefix, None);
    }
}
