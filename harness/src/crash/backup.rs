//! Backups as something to fail in: what says that it is complete is, and what was answered is there.
//!
//! Exists because a backup is believed without being looked at: one that a crash left half done must not pass for a
//! complete one, and one that was answered OK must outlive what comes after the answer.
//!
//! Always true: it is judged by a server that starts from a copy, so that the backup stays as the crash left it.
//!
//! Not here: when backups are asked for (`kill.rs`, `power/scenario.rs`).

use super::report::Violation;
use super::verdict::{Dated, Reached, judge_all};
use crate::client::{Client, Reply};
use crate::process::{Launch, Server, StartError, TempDir};
use crate::record::Progress;
use std::fs;
use std::io;
use std::path::Path;

/// How the directories of all backups begin.
pub(super) const PREFIX: &str = "backup-";
/// The file that is there if and only if the backup is complete.
const INVENTORY: &str = "perdura-backup.sha256";

/// What asks for one.
pub(super) const COMMAND: &str = "BACKUP";

/// One backup, in a directory below the server's own.
#[derive(Clone, Debug)]
pub(super) struct Backup {
    name: String,
    /// For each client, the operations that had been answered when it was asked for: they are in it.
    floors: Vec<u64>,
    /// Whether somebody was told that it is complete.
    is_owed: bool,
}

impl Backup {
    /// One that has just been asked for; nobody else has this number.
    pub(super) fn new(number: u64, floors: Vec<u64>) -> Backup {
        Backup { name: format!("{PREFIX}{number}"), floors, is_owed: false }
    }

    /// Its directory.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The same, answered or not.
    pub(super) fn owed_if(self, is_owed: bool) -> Backup {
        Backup { is_owed, ..self }
    }

    /// Whether it says that it is complete.
    pub(super) fn is_complete_in(&self, data_dir: &Path) -> bool {
        data_dir.join(&self.name).join(INVENTORY).is_file()
    }

    /// Starts a server from it if it says that it is complete. `sent` is what each client can have sent by now.
    pub(super) fn judge<D: Dated>(
        &self,
        data_dir: &Path,
        launch: &Launch,
        clients: &[D],
        sent: &[u64],
        everybody: &[Progress],
        others: u64,
    ) -> io::Result<Vec<Violation>> {
        if !self.is_complete_in(data_dir) {
            return Ok(self.is_owed.then(|| Violation::BackupGone(self.name.clone())).into_iter().collect());
        }
        let folder = TempDir::new("perdura-backup")?;
        let copy = folder.path().join("data");
        copy_all(&data_dir.join(&self.name), &copy)?;
        let mut server = Server::prepare_at(launch.clone(), &copy)?;
        let violations = match server.restart() {
            Ok(()) => {
                let reach = |(floor, sent): (&u64, &u64)| Reached {
                    floor: *floor,
                    acknowledged: *floor,
                    sent: *sent,
                    shown: 0,
                };
                let reached: Vec<Reached> = self.floors.iter().zip(sent).map(reach).collect();
                judge_all(&server, clients, &reached, everybody, others)?.1
            }
            Err(StartError::Io(error)) => return Err(error),
            Err(refused) => vec![Violation::RefusedStart(refused.to_string())],
        };
        let bad = |violation| Violation::BadBackup(self.name.clone(), Box::new(violation));
        Ok(violations.into_iter().map(bad).collect())
    }

    /// Makes room, if there is anything.
    pub(super) fn remove_from(&self, data_dir: &Path) -> io::Result<()> {
        match fs::remove_dir_all(data_dir.join(&self.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A backup that was asked for and may not be answered any more.
pub(super) struct Asked {
    backup: Backup,
    client: Client,
    reply: Option<Reply>,
}

impl Asked {
    /// Asks, and waits for nothing.
    pub(super) fn new(server: &Server, number: u64, floors: Vec<u64>) -> io::Result<Asked> {
        let backup = Backup::new(number, floors);
        let mut client = server.client()?;
        client.queue(&["BACKUP", "TO", backup.name()]);
        client.flush()?;
        Ok(Asked { backup, client, reply: None })
    }

    /// Waits for the answer.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        self.reply = Some(self.client.read()?);
        Ok(())
    }

    /// After the server's end: whether the answer had been sent before it.
    pub(super) fn end(mut self) -> Result<Backup, Violation> {
        // If the connection ended with the server there is none.
        match self.reply.or_else(|| self.client.read().ok()) {
            Some(Reply::Error(error)) => {
                let error = Box::new(Violation::WrongReply(0, format!("BACKUP: {error}")));
                Err(Violation::BadBackup(self.backup.name, error))
            }
            Some(reply) => Ok(self.backup.owed_if(reply.is_ok())),
            None => Ok(self.backup),
        }
    }
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.metadata()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
