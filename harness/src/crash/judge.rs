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
use super::verdict::judge_all;
use crate::process::{Launch, Server, StartError, TempDir};
use crate::record::{Chronicle, Progress};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The folder on the file system that is the server's `dir`.
pub(super) const DATA: &str = "data";

/// A file beside it that takes all the room of a disk that is full.
pub(super) const FILLER: &str = "filler";
/// What a server says that cannot start without room.
const NO_SPACE: &str = "No space left on device";

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
    /// The server said that the disk is full, and started once there was room.
    pub(super) has_waited_for_room: bool,
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
        self.judge_as(self.policy, image, sample)
    }

    /// The same, with `policy` for its promise.
    pub(super) fn judge_as(&self, policy: Policy, image: &Image, sample: &Sample) -> io::Result<Verdict> {
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
        let verdict = match start(&mut server, &mount.path().join(FILLER)) {
            Ok(has_waited_for_room) => self
                .look_as(policy, &server, sample)
                .map(|verdict| Verdict { has_waited_for_room, ..verdict }),
            Err(StartError::Io(error)) => Err(error),
            Err(refused) => Ok(Verdict {
                violations: vec![Violation::RefusedStart(refused.to_string())],
                ..Verdict::default()
            }),
        };
        drop(server);
        let verdict = verdict.and_then(|mut verdict| {
            verdict.violations.extend(self.judge_backups(&mount.path().join(DATA), sample)?);
            Ok(verdict)
        });
        mount.unmount()?;
        verdict
    }

    /// What a server that runs holds, if the moment of `sample` was the last and `policy` its promise.
    pub(super) fn look_as(&self, policy: Policy, server: &Server, sample: &Sample) -> io::Result<Verdict> {
        let promised = self.stage.promised(policy, sample);
        let mut verdict = Verdict { recovery: server.ready_after(), ..Verdict::default() };
        let everybody = &self.stage.progress;
        let (survived, violations) = judge_all(server, &self.chronicles, &promised, everybody, 0)?;
        verdict.violations = violations;
        for (client, survived) in survived.iter().enumerate() {
            let age = self.stage.age_of_loss(client, survived.at_most, sample);
            verdict.oldest_loss = verdict.oldest_loss.max(age);
        }
        Ok(verdict)
    }

    /// The backups that somebody may believe in at the moment of `sample`.
    fn judge_backups(&self, data_dir: &Path, sample: &Sample) -> io::Result<Vec<Violation>> {
        let sent = self.stage.sent(sample);
        let mut violations = Vec::new();
        for backup in self.stage.backups_at(sample) {
            let everybody = &self.stage.progress;
            violations.extend(backup.judge(data_dir, &self.launch, &self.chronicles, &sent, everybody, 0)?);
        }
        Ok(violations)
    }
}

/// Starts on what a crash left. A server that ends because `filler` takes all the room, and says so, is started again
/// without it; gives whether that was so.
fn start(server: &mut Server, filler: &Path) -> Result<bool, StartError> {
    match server.restart() {
        Err(StartError::Exited(_, log)) if filler.exists() && log.contains(NO_SPACE) => {
            fs::remove_file(filler)?;
            server.restart().map(|()| true)
        }
        outcome => outcome.map(|()| false),
    }
}
