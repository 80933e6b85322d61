//! Clients whose every write is known in advance, so that what a server holds can be dated.
//!
//! Exists to answer one question after a crash: the state after exactly how many of this client's operations
//! is this? Each operation is a pure function of plan, client and number, and each client owns its keys, so
//! nothing has to be logged and no order between clients has to be guessed.
//!
//! Always true: base <= acknowledged <= sent. A `MULTI` block is one operation: a prefix holds all of it or
//! nothing.
//!
//! Not here: what is written (`operations.rs`), what it does (`model/`), when the server is killed and how its state is
//! judged (`crash/`).

mod observed;

pub use observed::Observed;

use crate::client::{Address, Client, Reply};
use crate::model::{Answer, Bytes, Keyspace};
use crate::operations::{Operation, Plan, unix_ms};
use crate::process::REQUEST_TIMEOUT;
use std::collections::BTreeSet;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

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
        assert!(plan.has_plain_family(), "blocks need something to hold");
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

    /// Those of its keys that go by themselves.
    pub fn fading_keys(&self) -> BTreeSet<Bytes> {
        self.plan.fading_keys(self.client)
    }

    /// The times in what it does from here on count from now.
    pub fn begin_life(&mut self) {
        self.plan.epoch_ms = unix_ms();
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
                    if !expected.allows(&reply) {
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
                    if !expected.allows(reply) {
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
    pub fn date(&self, observed: &Observed, sent: u64) -> Dating {
        assert!(self.base_count <= sent, "a client never takes back");
        let differs = |model: &Keyspace, key: &Bytes| !observed.agrees(model, key);
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
            for key in operation.steps().iter().flat_map(|step| &step.keys) {
                if differs(&model, key) {
                    differing.insert(key.clone());
                } else {
                    differing.remove(key);
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

fn describe_wrong(number: u64, operation: &Operation, expected: &Answer, reply: &Reply) -> String {
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
    pub fn date(&self, observed: &Observed, sent: u64) -> Dating {
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
    use crate::operations::Family;
    use strum::VariantArray;

    const EPOCH_MS: u64 = 1_000_000;

    fn plan(families: &[Family]) -> Plan {
        Plan { seed: 7, families: families.to_vec(), epoch_ms: EPOCH_MS }
    }

    fn recorder(families: &[Family]) -> Recorder {
        Recorder::new(plan(families), 3)
    }

    fn state_after(recorder: &Recorder, count: u64) -> Keyspace {
        let mut rebased = recorder.clone();
        rebased.rebase(count);
        rebased.base
    }

    /// As a server is found that holds this, while nothing has expired yet.
    fn found(state: &Keyspace) -> Observed {
        Observed::between(EPOCH_MS - 1, EPOCH_MS - 1, state)
    }

    #[test]
    fn every_prefix_of_every_family_is_dated_to_a_state_equal_to_it() {
        for &family in Family::VARIANTS {
            let families = if family.is_composed() { vec![family, Family::Lists] } else { vec![family] };
            let recorder = recorder(&families);
            for count in [0, 1, 2, 50, 199, 200] {
                let state = state_after(&recorder, count);
                let prefix = recorder.date(&found(&state), 200).prefix.expect("it is a prefix");
                assert!(prefix >= count);
                assert_eq!(state_after(&recorder, prefix), state, "{family:?} {count}");
            }
        }
    }

    #[test]
    fn a_state_beyond_what_was_sent_is_no_prefix() {
        let recorder = recorder(&[Family::Counters]);
        assert_eq!(recorder.date(&found(&state_after(&recorder, 101)), 100).prefix, None);
        assert_eq!(recorder.date(&found(&state_after(&recorder, 101)), 101).prefix, Some(101));
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
        let dating = recorder.date(&found(&observed), number + 1);
        assert_eq!(dating.prefix, None);
        assert_eq!(dating.differing.len(), 1);
    }

    #[test]
    fn a_chronicle_dates_as_a_walk_from_the_start_does() {
        let chronicle = Chronicle::new(plan(&[Family::Strings, Family::Lists]), 3, 2500);
        for count in [0, 1, 999, 1000, 1001, 2000, 2400] {
            let observed = found(&state_after(chronicle.recorder(), count));
            let expected = chronicle.recorder().date(&observed, 2500).prefix;
            assert_eq!(chronicle.date(&observed, 2500).prefix, expected, "{count}");
        }
        let beyond = found(&state_after(chronicle.recorder(), 2400));
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

    /// What is there again after its time was over is the state after no number of operations.
    #[test]
    fn what_comes_back_after_its_time_is_no_prefix() {
        for family in [Family::Fading, Family::Fields] {
            let recorder = recorder(&[family]);
            let state = state_after(&recorder, 50);
            let ends: Vec<u64> = state.iter().flat_map(|(_, _, entry)| entry.ends()).collect();
            let (first, last) = (*ends.iter().min().unwrap(), *ends.iter().max().unwrap());
            let dated = |at_ms| recorder.date(&Observed::between(at_ms, at_ms, &state), 50).prefix;
            assert_eq!(dated(first), Some(50), "{family:?}");
            assert_eq!(dated(first + 1), None, "{family:?}");
            let mut rest = state.clone();
            rest.expire(last + 1);
            let observed = Observed::between(last + 1, last + 1, &rest);
            assert_eq!(recorder.date(&observed, 50).prefix, Some(50), "{family:?}");
            assert_eq!(dated(last + 1), None, "{family:?}");
        }
    }

    #[test]
    fn a_hole_in_the_middle_is_no_prefix() {
        let recorder = recorder(&[Family::Counters]);
        let mut observed = state_after(&recorder, 10);
        recorder.plan.operation(3, 11).apply(&mut observed);
        assert_eq!(recorder.date(&found(&observed), 12).prefix, None);
    }
}
