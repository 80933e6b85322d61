//! What the server is made to do while its disk is recorded.
//!
//! Exists so that every path by which bytes come to a disk is cut at every place, not only the plain appending.
//!
//! Always true: what is owed to the clients changes only here, and before it changes for the worse.
//!
//! Not here: the clients (`stage.rs`), the disk (`crash/disk/`).

use crate::client::{Client, Reply};
use crate::crash::Policy;
use crate::crash::stage::Stage;
use crate::process::Server;
use std::io;
use std::thread;
use std::time::{Duration, Instant};
use strum::{IntoStaticStr, VariantArray};

/// Pause between two looks at a child's progress.
const POLL_PAUSE: Duration = Duration::from_millis(5);
/// From one backup to the next: each holds the whole log, and the disk is small.
const BACKUP_PAUSE: Duration = Duration::from_millis(250);
/// How long a snapshot, a rewrite or a switch may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What happens besides the clients' writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Scenario {
    /// Nothing.
    Steady,
    /// One rewrite after the other.
    Rewrite,
    /// One snapshot after the other.
    Snapshot,
    /// The append-only file is switched on, off and on again.
    Enabling,
    /// The server is killed and started again in mid-load.
    Restart,
    /// Steady load; the power fails once more while the server recovers.
    Recovery,
    /// One backup after the other.
    Backup,
}

impl Scenario {
    /// As written on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether it says anything about this policy.
    pub fn fits(self, policy: Policy) -> bool {
        let needs_log = matches!(self, Scenario::Rewrite | Scenario::Enabling);
        // Without snapshots such a server promises nothing.
        let needs_none = matches!(self, Scenario::Steady);
        policy != Policy::Snapshots || !(needs_log || needs_none)
    }

    /// Whether the append-only file is off when the server is first started.
    pub(super) fn begins_without_log(self) -> bool {
        self == Scenario::Enabling
    }

    /// Lives of the server in one run.
    pub(super) fn lives(self) -> u32 {
        if self == Scenario::Restart { 3 } else { 1 }
    }

    /// One life's events, for this long.
    pub(super) fn act(
        self,
        policy: Policy,
        stage: &Stage,
        server: &Server,
        time: Duration,
    ) -> io::Result<()> {
        let end = Instant::now() + time;
        match self {
            Scenario::Backup => repeat_backups(policy, stage, server, end),
            // Under this policy the promise is about snapshots, so every life takes some.
            _ if policy == Policy::Snapshots => repeat_snapshots(policy, stage, server, end),
            Scenario::Snapshot => repeat_snapshots(policy, stage, server, end),
            Scenario::Rewrite => repeat_rewrites(server, end),
            Scenario::Enabling => switch_on_and_off(policy, stage, server, end),
            Scenario::Steady | Scenario::Restart | Scenario::Recovery => {
                thread::sleep(time);
                Ok(())
            }
        }
    }
}

fn repeat_snapshots(policy: Policy, stage: &Stage, server: &Server, end: Instant) -> io::Result<()> {
    let mut client = server.client()?;
    while Instant::now() < end {
        let before = stage.sample();
        ask(&mut client, "BGSAVE")?;
        wait_for(&mut client, &["rdb_bgsave_in_progress:0", "rdb_last_bgsave_status:ok"])?;
        if policy == Policy::Snapshots {
            stage.owe_as_of(&before);
        }
        thread::sleep(POLL_PAUSE);
    }
    Ok(())
}

fn repeat_backups(policy: Policy, stage: &Stage, server: &Server, end: Instant) -> io::Result<()> {
    let mut client = server.client()?;
    while Instant::now() < end {
        let before = stage.sample();
        let name = stage.note_backup_asked();
        match client.say(&format!("BACKUP TO {name}"))? {
            Reply::Error(error) => return Err(io::Error::other(format!("BACKUP: {error}"))),
            _ => stage.note_backup_answered(),
        }
        if policy == Policy::Snapshots {
            stage.owe_as_of(&before);
        }
        thread::sleep(BACKUP_PAUSE);
    }
    Ok(())
}

fn repeat_rewrites(server: &Server, end: Instant) -> io::Result<()> {
    let mut client = server.client()?;
    while Instant::now() < end {
        ask(&mut client, "BGREWRITEAOF")?;
        wait_for(&mut client, &["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"])?;
        thread::sleep(POLL_PAUSE);
    }
    Ok(())
}

fn switch_on_and_off(policy: Policy, stage: &Stage, server: &Server, end: Instant) -> io::Result<()> {
    let mut client = server.client()?;
    stage.owe_nothing();
    let quarter = end.saturating_duration_since(Instant::now()) / 4;
    thread::sleep(quarter / 2);
    loop {
        ask(&mut client, "CONFIG SET appendonly yes")?;
        wait_for(&mut client, &["aof_enabled:1", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"])?;
        stage.owe_by_policy();
        thread::sleep(quarter);
        if Instant::now() > end {
            return Ok(());
        }
        stage.owe_no_more(policy);
        ask(&mut client, "CONFIG SET appendonly no")?;
        thread::sleep(quarter / 4);
    }
}

fn ask(client: &mut Client, command: &str) -> io::Result<()> {
    match client.say(command)? {
        // A child that runs already, by the server's own decision, serves as well.
        Reply::Error(error) if !error.contains("in progress") => {
            Err(io::Error::other(format!("{command}: {error}")))
        }
        _ => Ok(()),
    }
}

/// Waits until INFO holds all of `lines`.
fn wait_for(client: &mut Client, lines: &[&str]) -> io::Result<()> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let info = client.say("INFO persistence")?;
        let text = String::from_utf8_lossy(info.as_bytes().unwrap_or_default()).into_owned();
        if lines.iter().all(|line| text.lines().any(|found| found == *line)) {
            return Ok(());
        }
        thread::sleep(POLL_PAUSE);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("INFO never said {lines:?}")))
}
