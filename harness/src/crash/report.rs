//! What is told of a crash: each promise not kept, and the tables.
//!
//! Exists so that a test can look at the same findings that a person reads.
//!
//! Always true: every violation is counted in exactly one column.
//!
//! Not here: how a violation is noticed (`verdict.rs`, `kill.rs`, `power/`).

use super::kill::Moment;
use super::survey::Columns;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A promise not kept.
#[derive(Debug)]
pub enum Violation {
    /// The state is older than what was acknowledged, by so many operations.
    Lost {
        /// Whose.
        client: u64,
        /// Operations answered before the kill (or that were safe by then).
        acknowledged: u64,
        /// Operations still there.
        recovered: u64,
    },
    /// The state is not that after any number of this client's operations.
    NotAPrefix {
        /// Whose.
        client: u64,
        /// The number of operations that comes nearest.
        nearest: u64,
        /// What differs even there.
        differing: String,
    },
    /// A reader was shown a write that is not there any more.
    ShownThenGone {
        /// Who wrote it.
        client: u64,
        /// Operations of that client the reader knows of.
        shown: u64,
        /// Operations still there.
        recovered: u64,
    },
    /// An operation is there without another client's that had been answered before it was sent.
    NoCut {
        /// Whose operation is there.
        client: u64,
        /// Its number.
        operation: u64,
        /// Whose operations are not.
        other: u64,
        /// How many had been answered.
        known: u64,
        /// How many are there.
        recovered: u64,
    },
    /// A file of a live server was replaced by a child of a dead one.
    Replaced(PathBuf),
    /// A reply was not what the operation must answer.
    WrongReply(u64, String),
    /// A connection ended, or went silent, while the server was running.
    Disconnected(u64, io::Error),
    /// Keys appeared or vanished that no client owns.
    KeyCount {
        /// Ballast and all clients' keys.
        expected: u64,
        /// `DBSIZE`
        found: i64,
    },
    /// The server ended before it was killed.
    EndedByItself(String),
    /// It refused the command that starts what it was to be killed in.
    WouldNot(Moment, io::Error),
    /// It did not start again.
    RefusedStart(String),
    /// What it started with could not be read.
    Unreadable(io::Error),
    /// The device works again, and the server still does not.
    NotRecovered(String),
    /// Something went wrong, and the log does not say what.
    Silent(String),
    /// Temporary files of a dead process are still there after the start.
    Leftovers(Vec<PathBuf>),
    /// A backup that was answered OK is not there, or does not say that it is complete.
    BackupGone(String),
    /// A backup says that it is complete, and a server that starts from it shows this.
    BadBackup(String, Box<Violation>),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Lost { client, acknowledged, recovered } => {
                let lost = acknowledged - recovered;
                write!(
                    f,
                    "client {client} lost {lost} operations: {acknowledged} answered, {recovered} there"
                )
            }
            Violation::ShownThenGone { client, shown, recovered } => {
                write!(
                    f,
                    "client {client}: operation {shown} was shown to a reader, only {recovered} are there"
                )
            }
            Violation::NotAPrefix { client, nearest, differing } => {
                write!(f, "client {client}: no prefix; nearest is {nearest}, where these differ: {differing}")
            }
            Violation::NoCut { client, operation, other, known, recovered } => write!(
                f,
                "client {client}'s operation {operation} is there, but of the {known} operations of client {other} \
                 that were answered before it only {recovered} are"
            ),
            Violation::Replaced(path) => write!(f, "a child of a dead server replaced {}", path.display()),
            Violation::WrongReply(client, what) => write!(f, "client {client}, wrong reply: {what}"),
            Violation::Disconnected(client, error) => write!(f, "client {client} disconnected: {error}"),
            Violation::KeyCount { expected, found } => write!(f, "{found} keys instead of {expected}"),
            Violation::EndedByItself(log) => write!(f, "ended by itself; its log ends:\n{log}"),
            Violation::WouldNot(moment, error) => write!(f, "refused {}: {error}", moment.name()),
            Violation::RefusedStart(why) => write!(f, "refused start: {why}"),
            Violation::Unreadable(error) => write!(f, "unreadable: {error}"),
            Violation::NotRecovered(log) => {
                write!(f, "takes no writes although the device works again; its log ends:\n{log}")
            }
            Violation::Silent(log) => write!(f, "does not say what is wrong; its log ends:\n{log}"),
            Violation::BackupGone(name) => write!(f, "{name} was answered and is no complete backup"),
            Violation::BadBackup(name, what) => write!(f, "a server started from {name}: {what}"),
            Violation::Leftovers(paths) => {
                let names =
                    paths.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy());
                write!(f, "temporary files left: {}", names.collect::<Vec<_>>().join(" "))
            }
        }
    }
}

/// A violation and how it came about.
#[derive(Debug)]
pub struct Finding {
    /// Counted from 0.
    pub round: u64,
    /// What the server was doing.
    pub moment: Moment,
    /// What went wrong.
    pub violation: Violation,
}

/// What one run found.
#[derive(Debug, Default)]
pub struct Report {
    /// Rounds run.
    pub rounds: u64,
    /// Kills that hit while a child of the server was running.
    pub kills_with_child: u64,
    /// Those of them in which the child was killed as well, and not left to find out.
    pub children_killed: u64,
    /// Starts that were killed.
    pub starts_killed: u64,
    /// Backups that were complete when the server was killed, and were started from.
    pub backups: u64,
    /// Operations answered, all clients together.
    pub acknowledged: u64,
    /// Rounds in which a reader was shown a write before its writer was answered.
    pub rounds_shown_early: u64,
    /// Operations found beyond the acknowledged ones: allowed, they were in flight.
    pub in_flight_kept: u64,
    /// The longest time from start to PONG after a kill.
    pub slowest_recovery: Duration,
    /// All violations.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Report) -> Report {
        self.rounds += other.rounds;
        self.kills_with_child += other.kills_with_child;
        self.children_killed += other.children_killed;
        self.starts_killed += other.starts_killed;
        self.backups += other.backups;
        self.acknowledged += other.acknowledged;
        self.rounds_shown_early += other.rounds_shown_early;
        self.in_flight_kept += other.in_flight_kept;
        self.slowest_recovery = self.slowest_recovery.max(other.slowest_recovery);
        self.findings.extend(other.findings);
        self
    }

    /// Violations other than refused starts and leftovers, which have columns of their own.
    pub fn state_violations(&self) -> usize {
        self.findings.len() - self.refused_starts() - self.leftovers()
    }

    /// Starts that failed.
    pub fn refused_starts(&self) -> usize {
        self.count(|violation| matches!(violation, Violation::RefusedStart(_)))
    }

    /// Rounds after which temporary files stayed.
    pub fn leftovers(&self) -> usize {
        self.count(|violation| matches!(violation, Violation::Leftovers(_)))
    }

    fn count(&self, is_counted: impl Fn(&Violation) -> bool) -> usize {
        self.findings.iter().filter(|finding| is_counted(&finding.violation)).count()
    }

    /// The cells under [`KILL_COLUMNS`].
    pub(super) fn outcome(&self) -> Vec<String> {
        let figures = [
            self.rounds,
            self.kills_with_child,
            self.children_killed,
            self.starts_killed,
            self.backups,
            self.acknowledged,
            self.in_flight_kept,
            self.rounds_shown_early,
            self.state_violations() as u64,
            self.refused_starts() as u64,
            self.leftovers() as u64,
            self.slowest_recovery.as_millis() as u64,
        ];
        figures.iter().map(u64::to_string).collect()
    }
}

/// Of `crash kill`.
pub(super) static KILL_COLUMNS: Columns = Columns {
    places: &["policy", "moment"],
    outcomes: &[
        "rounds",
        "kills with a child running",
        "of these, the child too",
        "starts killed",
        "finished backups",
        "acknowledged operations",
        "in-flight operations kept",
        "rounds with a write read before its reply",
        "violations",
        "starts refused",
        "rounds with leftovers",
        "slowest recovery, ms",
    ],
};

/// What one run of `crash power` found.
#[derive(Debug, Default)]
pub struct PowerReport {
    /// Images given to the server.
    pub points: u64,
    /// Where the file system itself did not come back: nothing a server can help.
    pub unmountable: Vec<String>,
    /// The longest time from start to PONG.
    pub slowest_recovery: Duration,
    /// How long ago the oldest operation that was lost had been answered: what the policy cost.
    pub oldest_loss: Duration,
    /// All violations, each with where it was found.
    pub findings: Vec<(String, Violation)>,
}

impl PowerReport {
    /// Starts that failed.
    pub fn refused_starts(&self) -> usize {
        self.findings.iter().filter(|(_, violation)| matches!(violation, Violation::RefusedStart(_))).count()
    }

    /// The cells under [`POWER_COLUMNS`].
    pub(super) fn outcome(&self) -> Vec<String> {
        let figures = [
            self.points,
            (self.findings.len() - self.refused_starts()) as u64,
            self.refused_starts() as u64,
            self.unmountable.len() as u64,
            self.oldest_loss.as_millis() as u64,
            self.slowest_recovery.as_millis() as u64,
        ];
        figures.iter().map(u64::to_string).collect()
    }
}

/// Of `crash power` and `crash enumerate`.
pub(super) static POWER_COLUMNS: Columns = Columns {
    places: &["policy", "file system", "scenario"],
    outcomes: &[
        "crash points",
        "violations",
        "starts refused",
        "not mountable",
        "oldest lost write, ms",
        "slowest recovery, ms",
    ],
};

/// What one run of `crash errors` found.
#[derive(Debug, Default)]
pub struct ErrorsReport {
    /// Requests of the file system that the device failed.
    pub failed_requests: u64,
    /// Writes the server refused, to be tried again.
    pub refused: u64,
    /// The file system gave itself up: nothing a server can help.
    pub file_system_is_dead: bool,
    /// The server ended by itself.
    pub has_stopped: bool,
    /// From the device's recovery to the next write answered.
    pub recovered_after: Option<Duration>,
    /// When that was, since the run began.
    pub healthy_from: Option<Duration>,
    /// Starts on a full disk that ended with that reason, and went well once there was room.
    pub starts_waited: u64,
    /// Images given to the server.
    pub points: u64,
    /// The longest time from start to PONG.
    pub slowest_recovery: Duration,
    /// All violations, each with where it was found.
    pub findings: Vec<(String, Violation)>,
}

impl ErrorsReport {
    /// Starts that failed.
    pub fn refused_starts(&self) -> usize {
        self.findings.iter().filter(|(_, violation)| matches!(violation, Violation::RefusedStart(_))).count()
    }

    /// The cells under [`ERRORS_COLUMNS`].
    pub(super) fn outcome(&self) -> Vec<String> {
        let reaction = match self.recovered_after {
            Some(after) => format!("goes on after {} ms", after.as_millis()),
            None if self.has_stopped => "stops".into(),
            None if self.file_system_is_dead => "refuses: the file system gave up".into(),
            None => "does not go on".into(),
        };
        let counts = [
            self.points,
            (self.findings.len() - self.refused_starts()) as u64,
            self.refused_starts() as u64,
            self.starts_waited,
            self.slowest_recovery.as_millis() as u64,
        ];
        [self.failed_requests.to_string(), self.refused.to_string(), reaction]
            .into_iter()
            .chain(counts.iter().map(u64::to_string))
            .collect()
    }
}

/// Of `crash errors`.
pub(super) static ERRORS_COLUMNS: Columns = Columns {
    places: &["policy", "file system", "trouble"],
    outcomes: &[
        "failed requests",
        "refused writes",
        "the server",
        "crash points",
        "violations",
        "starts refused",
        "starts that waited for room",
        "slowest recovery, ms",
    ],
};
