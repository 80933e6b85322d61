//! What clients ask and are told, command by command: the model runs along, and each reply is compared when it leaves.
//!
//! Always true: a command is run on the model at the moment the engine runs it; a client that waits is owed nothing until it
//! is served or its time is up, and nothing it sends is run before.
//!
//! Not here: states and what may not be lost (`history.rs`), what an answer must be (`../model/`, `oracle/replies.rs`).

use std::collections::{BTreeMap, VecDeque};

use perdura_core::host::ClientId;
use perdura_core::time::Now;

use super::history::{History, Logging};
use super::oracle::replies::{Expected, check_reply, is_refusal};
use super::oracle::{Violation, exposure};
use super::workload::{Command, Keys, Op};
use crate::client::Reply;
use crate::model::{Answer, Bytes, Entry, Keyspace, Place, Value};

/// One connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Conversation {
    /// Sent and not yet run.
    sent: VecDeque<(Op, usize)>,
    /// Of the first of them, bytes that arrived.
    arrived: usize,
    /// Run and not answered.
    owed: VecDeque<Owed>,
    /// Reply bytes that are no whole reply yet.
    partial: Vec<u8>,
    /// Last state that it made.
    own_last: usize,
    db: usize,
    /// Queued since MULTI.
    queue: Option<Vec<Command>>,
    /// Watched keys, the history's stamp then, and whether they were there.
    watched: BTreeMap<Place, (u64, bool)>,
    waiting: Option<Waiting>,
}

/// A client that waits for one of its keys.
#[derive(Clone, Debug)]
struct Waiting {
    command: Command,
    /// Earlier ones are served first.
    order: u64,
    until_us: Option<u64>,
}

/// A reply that is owed.
#[derive(Clone, Debug)]
struct Owed {
    op: Op,
    expected: Expected,
    /// State that it tells of.
    rests_on: usize,
    /// Last state that its client made.
    own_last: usize,
    logging: Logging,
    /// It ran while the log was being switched off.
    is_unlogged: bool,
}

/// What could be seen of the engine while it took a command in.
pub struct Facts<'a> {
    /// When.
    pub now: Now,
    /// Data was changed, or something logged.
    pub has_changed: bool,
    /// It was loading.
    pub is_loading: bool,
    /// It was about to stop, and holds writes back.
    pub is_stopping: bool,
    /// One more client waits than before; not looked at for commands that cannot wait.
    pub is_waiting: bool,
    /// What is in a key now.
    pub look: &'a dyn Fn(usize, &Bytes) -> Option<Entry>,
}

/// What became of commands on the model.
struct Run {
    answers: Vec<Answer>,
    /// It was carried out and changed something.
    has_changed: bool,
    is_refused: bool,
    /// Keys that changed, in the order of the commands.
    ready: Vec<Place>,
}

impl History {
    // --- Requests ---------------------------------------------------------------------------------------

    /// A client sends a command of so many bytes.
    pub fn sent(&mut self, client: u64, op: Op, len: usize) {
        self.conversations.entry(client).or_default().sent.push_back((op, len));
    }

    /// The engine has a name for a client.
    pub fn connected(&mut self, client: u64, id: ClientId) {
        self.client_keys.insert(id, client);
    }

    /// The engine knows that a client is gone.
    pub fn disconnected(&mut self, id: ClientId) {
        if let Some(client) = self.client_keys.remove(&id) {
            self.conversations.remove(&client);
        }
    }

    fn conversation(&self, id: ClientId) -> Option<&Conversation> {
        self.conversations.get(self.client_keys.get(&id)?)
    }

    /// Bytes missing until the end of the command under way.
    pub fn bytes_wanted(&self, id: ClientId) -> Option<usize> {
        let conversation = self.conversation(id)?;
        conversation.sent.front().map(|(_, len)| len - conversation.arrived)
    }

    /// Whether the command under way may make its client wait.
    pub fn may_wait(&self, id: ClientId) -> bool {
        let front = self.conversation(id).and_then(|conversation| conversation.sent.front());
        matches!(front, Some((Op::Data(command), _)) if command.may_wait())
    }

    /// Bytes were handed to the engine.
    pub fn received(&mut self, id: ClientId, count: usize, facts: &Facts<'_>) {
        let Some(&client) = self.client_keys.get(&id) else { return };
        let Some(conversation) = self.conversations.get_mut(&client) else { return };
        conversation.arrived += count;
        let is_whole = conversation.sent.front().is_some_and(|(_, len)| conversation.arrived >= *len);
        if is_whole {
            conversation.arrived = 0;
            let (op, _) = conversation.sent.pop_front().expect("just seen");
            self.expire(facts.now);
            self.run(client, op, facts);
        }
    }

    fn run(&mut self, client: u64, op: Op, facts: &Facts<'_>) {
        let state_before = self.last();
        let conversation = self.conversations.get_mut(&client).expect("it has just sent something");
        let mut ready = Vec::new();
        let expected = match &op {
            _ if facts.is_loading => Expected::Anything,
            Op::Data(_) | Op::Exec if facts.is_stopping && !facts.has_changed => {
                self.has_held_back = true;
                Expected::Anything
            }
            Op::Data(command) => match &mut conversation.queue {
                Some(queue) => {
                    queue.push(command.clone());
                    Expected::Queued
                }
                None => {
                    let db = conversation.db;
                    let mut run = self.run_on_model(db, std::slice::from_ref(command), facts);
                    ready = run.ready;
                    match (run.answers.pop().expect("one command, one answer"), run.is_refused) {
                        // What refuses its calls does not refuse a script.
                        (_, true) if command.is_script() => Expected::Anything,
                        (_, true) => Expected::Refusal,
                        (Answer::Wait, _) if facts.is_waiting => {
                            self.wait(client, command, facts.now);
                            self.narrate_request(client, &op, facts.now);
                            return;
                        }
                        (Answer::Wait, _) => Expected::Refusal,
                        (answer, _) if run.has_changed => Expected::Done(answer),
                        (answer, _) => Expected::Harmless(answer),
                    }
                }
            },
            Op::Exec => {
                let queue = conversation.queue.take().unwrap_or_default();
                let (db, watched) = (conversation.db, std::mem::take(&mut conversation.watched));
                let is_missing = |place: &Place| self.present().keyspace.get(place.0, &place.1).is_none();
                let is_touched = |(place, (stamp, _)): (&Place, &(u64, bool))| {
                    self.touched.get(place).is_some_and(|touch| touch.stamp > *stamp)
                };
                // A key that was missing and is missing again may have come and gone within one unit: whether that is a
                // change to somebody who watches it is no contract.
                let is_changed = |watched: (&Place, &(u64, bool))| {
                    is_touched(watched) && (watched.1.1 || !is_missing(watched.0))
                };
                // Some commands touch a key that they leave as it is.
                let is_brushed = |(place, (stamp, _)): (&Place, &(u64, bool))| {
                    self.swapped > *stamp
                        || self.brushed.get(place).is_some_and(|at| at > stamp)
                        || self.lapsed.contains(place)
                };
                let may_fail = watched.iter().any(|key| is_brushed(key) || is_touched(key));
                if watched.iter().any(is_changed) {
                    Expected::Nothing
                } else if may_fail && !facts.has_changed {
                    Expected::Anything
                } else {
                    let run = self.run_on_model(db, &queue, facts);
                    ready = run.ready;
                    match run.is_refused {
                        true if queue.iter().any(Command::is_script) => Expected::Anything,
                        true => Expected::Refusal,
                        false => Expected::Each(run.answers, run.has_changed),
                    }
                }
            }
            Op::Select(db) => {
                conversation.db = *db;
                Expected::Harmless(ok())
            }
            Op::Multi => {
                conversation.queue = Some(Vec::new());
                Expected::Harmless(ok())
            }
            Op::Discard | Op::Unwatch => {
                conversation.queue = None;
                conversation.watched.clear();
                Expected::Harmless(ok())
            }
            Op::Watch(keys) => {
                for key in keys {
                    let place = (conversation.db, key.clone());
                    let is_there =
                        self.states.last().is_some_and(|state| state.keyspace.get(place.0, key).is_some());
                    conversation.watched.entry(place).or_insert((self.stamp, is_there));
                }
                Expected::Harmless(ok())
            }
            _ => Expected::Anything,
        };
        self.narrate_request(client, &op, facts.now);
        let has_changed = self.last() > state_before;
        self.owe(client, op, expected, has_changed);
        self.serve(ready, facts);
    }

    fn narrate_request(&self, client: u64, op: &Op, now: Now) {
        if let Some(narrate) = self.narrate {
            narrate(format!(
                "{:>12} client  {client} asks {}: state {}",
                now.mono_us,
                op.show(),
                self.last()
            ));
        }
    }

    /// Runs commands as one unit; a unit that the engine refused has not happened.
    fn run_on_model(&mut self, db: usize, commands: &[Command], facts: &Facts<'_>) -> Run {
        let before = self.present().keyspace.clone();
        let mut after = before.clone();
        let mut run = Run { answers: Vec::new(), has_changed: false, is_refused: false, ready: Vec::new() };
        for command in commands {
            let answer = if command.is_script() {
                let mut call = |call| self.call_on_model(db, call, &mut after, &mut run, facts);
                let failed = command.calls.iter().filter(|line| call(line).is_error()).count();
                Answer::Exactly(Reply::Integer(failed as i64))
            } else {
                self.call_on_model(db, command, &mut after, &mut run, facts)
            };
            run.answers.push(answer);
        }
        let changed = after.changed_since(&before);
        let differs = |place: &&Place| after.get(place.0, &place.1) != before.get(place.0, &place.1);
        let real: Vec<&Place> = changed.iter().filter(differs).collect();
        // PFCOUNT keeps its result in the key, also while writes are refused: that is no sign that the others were carried out.
        let noting: Vec<Command> = commands.iter().flat_map(Command::that_note).collect();
        let is_sign = real.is_empty() || noting.is_empty();
        let is_there =
            |place: &&Place| (facts.look)(place.0, &place.1).as_ref() == after.get(place.0, &place.1);
        let is_taken = |place: &&Place| is_there(place) || self.is_awaited(place);
        // Some changes are not counted as such (what is pending in a group): the engine is asked.
        let is_done = facts.has_changed && (is_sign || real.iter().all(is_taken))
            || !real.is_empty() && real.iter().all(is_there);
        if run.is_refused || !real.is_empty() && !is_done {
            (run.is_refused, run.ready) = (true, Vec::new());
            if facts.has_changed && commands.iter().any(|command| command.name() != "PFCOUNT") {
                self.run_on_model(db, &noting, facts);
            }
        } else if !changed.is_empty() && is_done {
            run.has_changed = !real.is_empty();
            // Beside a change, what was left as it is was not touched: who watches it hears nothing.
            let real: Vec<Place> = real.into_iter().cloned().collect();
            match run.has_changed {
                true => self.push(after, &real, facts.now),
                false => self.stamp(&changed),
            }
        }
        if !run.has_changed {
            // What would have changed nothing may have been refused as well, and a script counts that.
            for (answer, command) in run.answers.iter_mut().zip(commands) {
                if let (true, Answer::Exactly(Reply::Integer(failed))) = (command.is_script(), &*answer) {
                    *answer = Answer::AtLeast(*failed);
                }
            }
        }
        run
    }

    /// Somebody waits for this key, and may have what was put there before anybody can look.
    fn is_awaited(&self, place: &Place) -> bool {
        let waits = |conversation: &Conversation| {
            let keys = conversation.waiting.as_ref().map(|waiting| &waiting.command.keys);
            conversation.db == place.0 && matches!(keys, Some(Keys::These(keys)) if keys.contains(&place.1))
        };
        self.conversations.values().any(waits)
    }

    fn call_on_model(
        &mut self,
        db: usize,
        command: &Command,
        after: &mut Keyspace,
        run: &mut Run,
        facts: &Facts<'_>,
    ) -> Answer {
        self.brush(db, command);
        let started = after.clone();
        let mut answer = after.execute(db, &command.words, facts.now.wall_ms());
        if let Answer::Chosen(choice) = &answer {
            match after.choose(db, &choice.clone(), (facts.look)(db, choice.key())) {
                Ok(chosen) => answer = chosen,
                Err(_) if !facts.has_changed => run.is_refused = true,
                Err(why) => {
                    self.complain(Violation::Reply(format!("{}: {why}", Op::Data(command.clone()).show())));
                }
            }
        }
        run.ready.extend(after.changed_since(&started));
        answer
    }

    /// A command looked at keys, and may have touched them without changing anything.
    fn brush(&mut self, db: usize, command: &Command) {
        self.stamp += 1;
        if command.name() == "SWAPDB" {
            self.swapped = self.stamp;
        }
        if let Keys::These(keys) = &command.keys {
            self.brushed.extend(keys.iter().map(|key| ((db, key.clone()), self.stamp)));
        }
    }

    fn owe(&mut self, client: u64, op: Op, expected: Expected, has_changed: bool) {
        let last = self.last();
        let rests_on = self.rests_on(client, &op, &expected);
        // What is switched off is promised once: later changes are not logged any more.
        let is_unlogged = self.is_closing;
        let logging = if self.is_closing { Logging::Off } else { self.logging };
        if let Op::Config("appendonly", word) = op {
            self.is_off_wanted = word == "no";
            self.is_off_asked |= self.is_off_wanted;
        }
        let conversation = self.conversations.get_mut(&client).expect("it has just sent something");
        if has_changed {
            conversation.own_last = last;
        }
        let own_last = conversation.own_last;
        conversation.owed.push_back(Owed { op, expected, rests_on, own_last, logging, is_unlogged });
    }

    /// A reply rests on the last changes of the keys it tells of; a promise about the log on all that came before.
    fn rests_on(&self, client: u64, op: &Op, expected: &Expected) -> usize {
        match (op, expected) {
            (_, Expected::Refusal | Expected::Queued | Expected::Nothing | Expected::Anything)
                if op.is_data() =>
            {
                0
            }
            (Op::Data(command), _) => match &command.keys {
                Keys::All => self.last(),
                Keys::These(keys) => {
                    let db = self.conversations[&client].db;
                    let touched =
                        |key: &Bytes| self.touched.get(&(db, key.clone())).map_or(0, |touch| touch.state);
                    keys.iter().map(touched).max().unwrap_or(0)
                }
            },
            (Op::Exec, Expected::Each(answers, _)) if !answers.is_empty() => self.last(),
            (
                Op::Config("appendonly", "no") | Op::Config("appendfsync", "always") | Op::Save | Op::Info,
                _,
            ) => self.last(),
            _ => 0,
        }
    }

    // --- Waiting ----------------------------------------------------------------------------------------

    fn wait(&mut self, client: u64, command: &Command, now: Now) {
        self.stamp += 1;
        let (order, timeout_ms) = (self.stamp, command.timeout_ms());
        let until_us = (timeout_ms > 0).then(|| now.mono_us + timeout_ms * 1_000);
        let conversation = self.conversations.get_mut(&client).expect("it has just sent something");
        conversation.waiting = Some(Waiting { command: command.clone(), order, until_us });
    }

    /// The engine's turn has come: those whose time is up are answered.
    pub fn turn(&mut self, now: Now) {
        let is_over = |conversation: &Conversation| {
            conversation
                .waiting
                .as_ref()
                .and_then(|waiting| waiting.until_us)
                .is_some_and(|at_us| at_us <= now.mono_us)
        };
        let over: Vec<u64> = self
            .conversations
            .iter()
            .filter(|(_, conversation)| is_over(conversation))
            .map(|(key, _)| *key)
            .collect();
        for client in over {
            let waiting =
                self.conversations.get_mut(&client).and_then(|conversation| conversation.waiting.take());
            let command = waiting.expect("just seen").command;
            self.owe(client, Op::Data(command), Expected::Nothing, false);
        }
    }

    /// Clients that wait for a key are served in the order in which they came, key by key.
    fn serve(&mut self, mut ready: Vec<Place>, facts: &Facts<'_>) {
        ready.reverse();
        while let Some(place) = ready.pop() {
            let mut waiting: Vec<(u64, u64)> = self
                .conversations
                .iter()
                .filter_map(|(client, conversation)| {
                    let waiting = conversation.waiting.as_ref()?;
                    let Keys::These(keys) = &waiting.command.keys else { return None };
                    (conversation.db == place.0 && keys.contains(&place.1))
                        .then_some((waiting.order, *client))
                })
                .collect();
            waiting.sort();
            for (_, client) in waiting {
                let more = self.serve_one(client, &place, facts);
                ready.extend(more.into_iter().rev());
            }
        }
    }

    fn serve_one(&mut self, client: u64, (db, key): &Place, facts: &Facts<'_>) -> Vec<Place> {
        let conversation = &self.conversations[&client];
        let Some(Waiting { command, .. }) = conversation.waiting.clone() else { return Vec::new() };
        // A key that holds something else is not what it waits for; who reads for a group hears of that as well.
        let held = self.present().keyspace.get(*db, key).map(|entry| &entry.value);
        let is_useful = match command.name() {
            "XREADGROUP" => true,
            name if name.starts_with("BZ") => matches!(held, Some(Value::Zset(_))),
            _ => matches!(held, Some(Value::List(_))),
        };
        let db = conversation.db;
        let answer = self.present().keyspace.clone().execute(db, &command.words, facts.now.wall_ms());
        if !is_useful || answer == Answer::Wait {
            return Vec::new();
        }
        let before = self.last();
        let served = Facts { has_changed: true, ..*facts };
        let mut run = self.run_on_model(db, std::slice::from_ref(&command), &served);
        let answer = run.answers.pop().expect("one command, one answer");
        self.conversations.get_mut(&client).expect("just seen").waiting = None;
        let has_changed = self.last() > before;
        if let Some(narrate) = self.narrate {
            narrate(format!("{:>12} client  {client} is served: state {}", facts.now.mono_us, self.last()));
        }
        self.owe(client, Op::Data(command), Expected::Done(answer), has_changed);
        run.ready
    }

    // --- Replies ----------------------------------------------------------------------------------------

    /// Reply bytes left the engine for a client.
    pub fn released(&mut self, id: ClientId, bytes: &[u8], now: Now) {
        let Some(&client) = self.client_keys.get(&id) else { return };
        let Some(conversation) = self.conversations.get_mut(&client) else { return };
        conversation.partial.extend_from_slice(bytes);
        let mut at = 0;
        let mut answered = Vec::new();
        while at < conversation.partial.len() {
            let mut rest = &conversation.partial[at..];
            let before = rest.len();
            let Ok(reply) = Reply::read_from(&mut rest) else { break };
            at += before - rest.len();
            answered.push((conversation.owed.pop_front(), reply));
        }
        conversation.partial.drain(..at);
        for (owed, reply) in answered {
            self.replies += 1;
            match owed {
                None => self.complain(Violation::Reply(format!("{reply:?} to nothing"))),
                Some(owed) => self.answered(client, &owed, &reply, now),
            }
        }
    }

    fn answered(&mut self, client: u64, owed: &Owed, reply: &Reply, now: Now) {
        if let Err(why) = check_reply(&owed.expected, reply) {
            self.complain(Violation::Reply(format!("{}: {why}", owed.op.show())));
        }
        if let Some(narrate) = self.narrate {
            narrate(format!(
                "{:>12} client  is told {} to {}, resting on state {}",
                now.mono_us,
                show(reply),
                owed.op.show(),
                owed.rests_on
            ));
        }
        if matches!(reply, Reply::Error(_)) && !owed.op.is_data() || is_refusal(reply) {
            return;
        }
        match (&owed.op, self.logging) {
            (Op::Config("appendonly", "no"), _) => {
                if matches!(owed.logging, Logging::On(_)) {
                    self.promise_log(owed.rests_on);
                }
            }
            (Op::WaitAof, _) => {
                let is_synced =
                    reply.clone().into_elements().and_then(|parts| parts[0].as_integer()) == Some(1);
                self.promise_log(if is_synced { owed.own_last } else { 0 });
            }
            (Op::Save, _) => self.floors.dump = self.floors.dump.max(owed.rests_on),
            (Op::Info, _) => {
                if let Err(violation) = exposure::hold_to(self, reply, owed.rests_on) {
                    self.complain(violation);
                }
            }
            // What runs while the log is being switched off is answered, and logged no more.
            (Op::Config(..), Logging::On(sync)) if !owed.is_unlogged => {
                self.tell(client, owed.rests_on, sync, now)
            }
            (_, Logging::On(_)) if owed.is_unlogged => {}
            // A reply may be on its way when the policy changes: what was let go under the weaker one is judged by it.
            (_, Logging::On(sync)) if let Logging::On(before) = owed.logging => {
                self.tell(client, owed.rests_on, before.max(sync), now);
            }
            // So may it be when the log comes on: it was let go while nothing was logged.
            _ => self.told_unlogged = self.told_unlogged.max(owed.rests_on),
        }
        if let Op::Config(name, value) = owed.op {
            self.settings_changed.push((name, value));
        }
    }

    /// Whether a client is owed nothing; one that waits is.
    pub fn is_idle(&self, client: u64) -> bool {
        self.conversations
            .get(&client)
            .is_none_or(|conversation| conversation.owed.is_empty() && conversation.sent.is_empty())
    }

    /// Whether a client waits for one of its keys, or has asked for something that may make it wait.
    pub fn is_waiting(&self, client: u64) -> bool {
        self.conversations.get(&client).is_some_and(|conversation| {
            let may_wait = |op: &Op| matches!(op, Op::Data(command) if command.may_wait());
            conversation.waiting.is_some() || conversation.sent.iter().any(|(op, _)| may_wait(op))
        })
    }

    /// Clients that wait for keys.
    pub fn waiting_count(&self) -> usize {
        self.conversations.values().filter(|conversation| conversation.waiting.is_some()).count()
    }

    /// What is not answered, for reports.
    pub fn unanswered(&self) -> Vec<String> {
        self.conversations
            .values()
            .flat_map(|conversation| conversation.owed.iter().map(|owed| owed.op.show()))
            .collect()
    }
}

/// Characters of a string in a reply that are told.
const TOLD_CHARS_MAX: usize = 24;

/// A reply as a person would write it.
fn show(reply: &Reply) -> String {
    match reply {
        Reply::Simple(text) => text.clone(),
        Reply::Error(text) => format!("-{text}"),
        Reply::Integer(number) => number.to_string(),
        Reply::Bulk(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let shown: String = text.chars().take(TOLD_CHARS_MAX).collect();
            format!("{shown:?}{}", if shown.len() < text.len() { "…" } else { "" })
        }
        Reply::Array(elements) => {
            format!("[{}]", elements.iter().map(show).collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

fn ok() -> Answer {
    Answer::Exactly(Reply::Simple("OK".into()))
}
