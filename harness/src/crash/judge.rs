//! A disk after a loss of power, given to the file system and then to the server: what is still there?
//!
//! Exists so that every image, however it came about, goes through the same: mount, start without help, read, compare.
//!
//! Always true: the image itself is not changed; a file system that does not come back is no fault of the server and is
//! counted apart.
//!
//! Not here: which images there are (`disk/image.rs`), what must be on them (`stage.rs`).

use super::Policy;
use super::disk::{FileSystem, Image, Mount};
use super::report::Violation;
use super::stage::{Sample, Stage};
use super::verdict::{Reached, Survived, check_cut, judge_client};
use crate::model::{Keyspace, read_keys};
use crate::process::{Launch, Server, StartError, TempDir};
use crate::record::{Chronicle, Progress};
use std::io;
use std::time::Duration;

/// The folder on the file system that is the server's `dir`.
pub(super) const DATA: &str = "data";

/// One run's clients, ready to date what is found.
pub(super) struct Judge<'a> {
    stage: &'a Stage,
    chronicles: Vec<Chronicle>,
    /// How the server is started on what is left.
    launch: Launch,
    file_system: FileSystem,
    policy: Policy,
}

/// What was found on one image.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) violations: Vec<Violation>,
    /// Why the file system itself did not come back, or not with the server's folder.
    pub(super) unmountable: Option<String>,
    /// From the start of the server to its first PONG.
    pub(super) recovery: Duration,
    /// How long ago the oldest operation that is gone had been answered.
    pub(super) oldest_loss: Duration,
}

impl<'a> Judge<'a> {
    /// `policy` is what the server is held to.
    pub(super) fn new(
        stage: &'a Stage,
        launch: Launch,
        file_system: FileSystem,
        policy: Policy,
    ) -> Judge<'a> {
        let chronicle = |(client, progress): (usize, &Progress)| {
            Chronicle::new(stage.plan().clone(), client as u64, progress.sent())
        };
        let chronicles = stage.progress.iter().enumerate().map(chronicle).collect();
        Judge { stage, chronicles, launch, file_system, policy }
    }

    /// What comes back of `image` after a loss of power at the moment of `sample`.
    pub(super) fn judge(&self, image: &Image, sample: &Sample) -> io::Result<Verdict> {
        let folder = TempDir::new("perdura-image")?;
        let disk = folder.path().join("disk");
        image.write_to(&disk)?;
        let unmountable = |why: String| Verdict { unmountable: Some(why), ..Verdict::default() };
        let mount = match Mount::new(self.file_system, &disk) {
            Ok(mount) => mount,
            Err(error) => return Ok(unmountable(error.to_string())),
        };
        // It was synced before the server began, so only a file system that was lied to can lose it.
        if !mount.path().join(DATA).is_dir() {
            return Ok(unmountable("the server's folder is gone".into()));
        }
        let mut server = Server::prepare_at(self.launch.clone(), &mount.path().join(DATA))?;
        let verdict = match server.restart() {
            Ok(()) => self.look_as(self.policy, &server, sample),
            Err(StartError::Io(error)) => Err(error),
            Err(refused) => Ok(Verdict {
                violations: vec![Violation::RefusedStart(refused.to_string())],
                ..Verdict::default()
            }),
        };
        drop(server);
        mount.unmount()?;
        verdict
    }

    /// What a server that runs holds, if the moment of `sample` was the last and `policy` its promise.
    pub(super) fn look_as(&self, policy: Policy, server: &Server, sample: &Sample) -> io::Result<Verdict> {
        let promised = self.stage.promised(policy, sample);
        let mut verdict = Verdict { recovery: server.ready_after(), ..Verdict::default() };
        let mut client = server.client()?;
        let mut survived = Vec::new();
        let mut key_count = 0;
        for (chronicle, reached) in self.chronicles.iter().zip(&promised) {
            let observed = match read_keys(&mut client, &chronicle.recorder().keys()) {
                Ok(observed) => observed,
                Err(error) => {
                    verdict.violations.push(Violation::Unreadable(error));
                    return Ok(verdict);
                }
            };
            key_count += observed.len() as u64;
            match self.judge_one(chronicle, &observed, reached, sample, &mut verdict) {
                Ok(one) => survived.push(one),
                Err(violation) => verdict.violations.push(violation),
            }
        }
        let found = client.call(&["DBSIZE"])?.as_integer().unwrap_or(-1);
        if found != key_count as i64 {
            verdict.violations.push(Violation::KeyCount { expected: key_count, found });
        }
        if verdict.violations.is_empty() {
            verdict.violations.extend(check_cut(&self.stage.progress, &survived));
        }
        Ok(verdict)
    }

    fn judge_one(
        &self,
        chronicle: &Chronicle,
        observed: &Keyspace,
        reached: &Reached,
        sample: &Sample,
        verdict: &mut Verdict,
    ) -> Result<Survived, Violation> {
        let client = chronicle.recorder().client();
        let survived = judge_client(client, chronicle.date(observed, reached.sent), reached)?;
        let age = self.stage.age_of_loss(client as usize, survived.at_most, sample);
        verdict.oldest_loss = verdict.oldest_loss.max(age);
        Ok(survived)
    }
}
