//! The clients of one run, and what they have been promised at each moment of it.
//!
//! Exists because a loss of power may come at any instant: for each of them one must know what had been answered, what
//! had been shown, and how much of that the policy in force vouches for.
//!
//! Always true: an operation's number means the same operation in all lives of the server in one run; what was sent once
//! counts as sent.
//!
//! Not here: what the server is made to do meanwhile (`power/scenario.rs`, `errors.rs`), what is found afterwards (`judge.rs`).

use super::Policy;
use super::backup::Backup;
use super::report::Violation;
use super::verdict::{Reached, read_until_ended};
use crate::operations::Plan;
use crate::process::{Server, Victims};
use crate::record::{Pace, Progress, Recorder, Stop};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two looks at the clients, beside those that the device takes.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Backups looked at on one image: the last complete one, and one that was being made.
const BACKUPS_MAX: usize = 2;

/// One moment of a run.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Since the run began.
    pub(super) at: Duration,
    clients: Vec<ClientSample>,
}

#[derive(Clone, Copy, Debug)]
struct ClientSample {
    acknowledged: u64,
    sent: u64,
    shown: u64,
}

/// What the server owes from some moment on.
#[derive(Clone, Debug)]
enum Duty {
    /// At least so many operations of each client.
    AsOf(Vec<u64>),
    /// What the policy says of everything that is answered.
    ByPolicy,
}

/// How clients write while the device works, and while it does not.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    /// As fast as this; a refusal is a wrong reply.
    Brisk(Pace),
    /// One at a time, with this pause, again after each refusal.
    Stubborn(Duration),
}

/// The clients of a run.
pub(super) struct Stage {
    began: Instant,
    plan: Plan,
    pub(super) progress: Vec<Progress>,
    timeline: Mutex<Vec<Sample>>,
    duties: Mutex<Vec<(Duration, Duty)>>,
    backups: Mutex<Vec<BackupTimes>>,
}

/// A backup, and when it was asked for and answered.
struct BackupTimes {
    backup: Backup,
    asked: Duration,
    answered: Option<Duration>,
}

impl Stage {
    /// Clients that have done nothing; the policy is in force.
    pub(super) fn new(plan: Plan, clients: u64) -> Stage {
        Stage {
            began: Instant::now(),
            plan,
            progress: (0..clients).map(|_| Progress::at(0)).collect(),
            timeline: Mutex::default(),
            duties: Mutex::new(vec![(Duration::ZERO, Duty::ByPolicy)]),
            backups: Mutex::default(),
        }
    }

    /// What is written.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// This moment.
    pub(super) fn sample(&self) -> Sample {
        let look = |progress: &Progress| ClientSample {
            acknowledged: progress.acknowledged(),
            sent: progress.sent(),
            shown: progress.shown(),
        };
        Sample { at: self.began.elapsed(), clients: self.progress.iter().map(look).collect() }
    }

    /// From now on no more is owed than what was answered by `then`.
    pub(super) fn owe_as_of(&self, then: &Sample) {
        self.owe(Duty::AsOf(then.clients.iter().map(|client| client.acknowledged).collect()));
    }

    /// From now on no more is owed than what is owed now.
    pub(super) fn owe_no_more(&self, policy: Policy) {
        let floors = self.promised(policy, &self.sample()).into_iter().map(|reached| reached.floor).collect();
        self.owe(Duty::AsOf(floors));
    }

    /// Until further notice nothing is owed.
    pub(super) fn owe_nothing(&self) {
        self.owe(Duty::AsOf(vec![0; self.progress.len()]));
    }

    /// From now on the policy is in force.
    pub(super) fn owe_by_policy(&self) {
        self.owe(Duty::ByPolicy);
    }

    fn owe(&self, duty: Duty) {
        self.duties.lock().expect("nobody panics holding it").push((self.began.elapsed(), duty));
    }

    /// A backup is asked for now: gives its name.
    pub(super) fn note_backup_asked(&self) -> String {
        let asked = self.sample();
        let owed = asked.clients.iter().map(|client| client.acknowledged).collect();
        let mut backups = self.backups.lock().expect("nobody panics holding it");
        let backup = Backup::new(backups.len() as u64, owed);
        let name = backup.name().to_string();
        backups.push(BackupTimes { backup, asked: asked.at, answered: None });
        name
    }

    /// The backup asked for last has been answered.
    pub(super) fn note_backup_answered(&self) {
        let mut backups = self.backups.lock().expect("nobody panics holding it");
        let last = backups.last_mut().expect("one was asked for");
        last.answered = Some(self.began.elapsed());
    }

    /// The newest backups at the moment of `sample`, each owed if it had been answered.
    pub(super) fn backups_at(&self, sample: &Sample) -> Vec<Backup> {
        let backups = self.backups.lock().expect("nobody panics holding it");
        let asked = backups.iter().filter(|times| times.asked <= sample.at).rev().take(BACKUPS_MAX);
        let is_answered = |times: &BackupTimes| times.answered.is_some_and(|at| at <= sample.at);
        asked.map(|times| times.backup.clone().owed_if(is_answered(times))).collect()
    }

    /// For each client, what it had sent.
    pub(super) fn sent(&self, sample: &Sample) -> Vec<u64> {
        sample.clients.iter().map(|client| client.sent).collect()
    }

    /// What must be there, and what may, after a loss of power at the moment of `sample`.
    pub(super) fn promised(&self, policy: Policy, sample: &Sample) -> Vec<Reached> {
        let floors = self.floors(policy, sample);
        // What a reader was shown binds where what a writer was told binds at once.
        let binds_shown = policy.window() == Some(Duration::ZERO) && self.is_by_policy_at(sample.at);
        let reached = |(client, floor): (&ClientSample, u64)| Reached {
            floor,
            acknowledged: client.acknowledged,
            sent: client.sent,
            shown: if binds_shown { client.shown } else { 0 },
        };
        sample.clients.iter().zip(floors).map(reached).collect()
    }

    fn is_by_policy_at(&self, at: Duration) -> bool {
        let duties = self.duties.lock().expect("nobody panics holding it");
        duties.iter().rfind(|(since, _)| *since <= at).is_some_and(|(_, duty)| matches!(duty, Duty::ByPolicy))
    }

    fn floors(&self, policy: Policy, sample: &Sample) -> Vec<u64> {
        let duties = self.duties.lock().expect("nobody panics holding it");
        let mut floors = vec![0; sample.clients.len()];
        for (since, duty) in duties.iter().rev().filter(|(since, _)| *since <= sample.at) {
            match (duty, policy.window()) {
                (Duty::AsOf(counts), _) => {
                    floors.clone_from(counts);
                    break;
                }
                (Duty::ByPolicy, Some(Duration::ZERO)) => {
                    floors = sample.clients.iter().map(|client| client.acknowledged).collect();
                    break;
                }
                // What was answered so long ago is owed; before the policy was in force the older duty counts.
                (Duty::ByPolicy, Some(window)) if *since + window <= sample.at => {
                    floors = self.acknowledged_at(sample.at - window);
                    break;
                }
                (Duty::ByPolicy, _) => {}
            }
        }
        floors
    }

    fn acknowledged_at(&self, at: Duration) -> Vec<u64> {
        let timeline = self.timeline.lock().expect("nobody panics holding it");
        let end = timeline.partition_point(|sample| sample.at <= at);
        match timeline[..end].last() {
            Some(sample) => sample.clients.iter().map(|client| client.acknowledged).collect(),
            None => vec![0; self.progress.len()],
        }
    }

    /// How long before the moment of `sample` the first operation beyond `survived` had been answered.
    pub(super) fn age_of_loss(&self, client: usize, survived: u64, sample: &Sample) -> Duration {
        if survived >= sample.clients[client].acknowledged {
            return Duration::ZERO;
        }
        let timeline = self.timeline.lock().expect("nobody panics holding it");
        let first = timeline.iter().find(|then| then.clients[client].acknowledged > survived);
        first.map_or(Duration::ZERO, |first| sample.at.saturating_sub(first.at))
    }

    /// Clients that go on where they stand.
    fn recorders(&self) -> Vec<Recorder> {
        let stand = |(client, progress): (usize, &Progress)| {
            let mut recorder = Recorder::new(self.plan.clone(), client as u64);
            recorder.rebase(progress.acknowledged());
            recorder
        };
        self.progress.iter().enumerate().map(stand).collect()
    }

    /// One life of the server: the clients write while `script` runs, then all of it is killed.
    ///
    /// Gives what a client had to complain of before the kill.
    pub(super) fn play(
        &self,
        server: &mut Server,
        manner: Manner,
        script: impl FnOnce(&mut Server) -> io::Result<()>,
    ) -> io::Result<Vec<Violation>> {
        let recorders = self.recorders();
        let address = &server.address();
        let has_ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| self.watch(&has_ended));
            scope.spawn(|| read_until_ended(address, &recorders, &self.progress));
            let writers: Vec<_> = recorders
                .iter()
                .map(|recorder| {
                    scope.spawn(move || match manner {
                        Manner::Brisk(pace) => recorder.run(address, pace, &self.progress),
                        Manner::Stubborn(pause) => recorder.run_stubbornly(address, pause, &self.progress),
                    })
                })
                .collect();
            // Not `?` before the kill: the threads end only when the server does.
            let outcome = script(server);
            let has_crashed = matches!(server.exit_status(), Ok(Some(_)));
            let ended_before: Vec<bool> = writers.iter().map(|writer| writer.is_finished()).collect();
            server.kill(Victims::ServerAndChildren)?;
            has_ended.store(true, Ordering::SeqCst);
            let mut violations = Vec::new();
            for ((client, writer), was_before) in writers.into_iter().enumerate().zip(ended_before) {
                match writer.join().expect("writers do not panic") {
                    Stop::WrongReply(what) => violations.push(Violation::WrongReply(client as u64, what)),
                    Stop::Disconnected(error) if was_before && !has_crashed => {
                        violations.push(Violation::Disconnected(client as u64, error));
                    }
                    Stop::Disconnected(_) => {}
                }
            }
            if has_crashed {
                violations.push(Violation::EndedByItself(server.log_tail()));
            }
            outcome?;
            Ok(violations)
        })
    }

    fn watch(&self, has_ended: &AtomicBool) {
        while !has_ended.load(Ordering::SeqCst) {
            let sample = self.sample();
            self.timeline.lock().expect("nobody panics holding it").push(sample);
            thread::sleep(LOOK_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::Family;
    use strum::VariantArray;

    fn sample(at_ms: u64, acknowledged: u64) -> Sample {
        let client = ClientSample { acknowledged, sent: acknowledged + 4, shown: acknowledged + 1 };
        Sample { at: Duration::from_millis(at_ms), clients: vec![client] }
    }

    /// A client that is answered one operation each millisecond.
    fn stage(duties: Vec<(u64, Duty)>) -> Stage {
        let stage = Stage::new(Plan { seed: 1, families: Family::VARIANTS.to_vec(), epoch_ms: 0 }, 1);
        *stage.timeline.lock().unwrap() = (0..10_000).map(|at_ms| sample(at_ms, at_ms)).collect();
        let at = |(at_ms, duty)| (Duration::from_millis(at_ms), duty);
        stage.duties.lock().unwrap().extend(duties.into_iter().map(at));
        stage
    }

    fn floor(stage: &Stage, policy: Policy, at_ms: u64) -> (u64, u64) {
        let reached = &stage.promised(policy, &sample(at_ms, at_ms))[0];
        (reached.floor, reached.shown)
    }

    #[test]
    fn each_policy_owes_what_its_window_leaves() {
        let stage = stage(vec![]);
        // policy              at                             floor, shown
        assert_eq!(floor(&stage, Policy::Always, 5000), (5000, 5001));
        assert_eq!(floor(&stage, Policy::Everysec, 5000), (2900, 0));
        assert_eq!(floor(&stage, Policy::Everysec, 2000), (0, 0));
        assert_eq!(floor(&stage, Policy::No, 5000), (0, 0));
    }

    #[test]
    fn while_the_log_is_off_what_was_owed_before_stays_owed() {
        let stage = stage(vec![(1000, Duty::AsOf(vec![900])), (4000, Duty::ByPolicy)]);
        assert_eq!(floor(&stage, Policy::Always, 999), (999, 1000));
        assert_eq!(floor(&stage, Policy::Always, 3999), (900, 0));
        assert_eq!(floor(&stage, Policy::Always, 4000), (4000, 4001));
        // The policy has been in force for less than its window: the older duty counts.
        assert_eq!(floor(&stage, Policy::Everysec, 6000), (900, 0));
        assert_eq!(floor(&stage, Policy::Everysec, 6100), (4000, 0));
    }

    #[test]
    fn the_age_of_a_loss_is_that_of_its_oldest_operation() {
        let stage = stage(vec![]);
        assert_eq!(stage.age_of_loss(0, 5000, &sample(5000, 5000)), Duration::ZERO);
        assert_eq!(stage.age_of_loss(0, 3999, &sample(5000, 5000)), Duration::from_millis(1000));
    }
}
