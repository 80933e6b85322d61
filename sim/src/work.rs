//! Disk work a server has asked for and not been told the end of: which piece may begin next.
//!
//! Exists so that the simulated host keeps the same order as the real one (`engine/linux/src/workers.rs`) and no more:
//! whatever is not ordered here, a seed will sooner or later reorder.
//!
//! Always true, per file: appends in their order; a sync begins when every append asked for before it has ended, and
//! runs beside later ones; a job waits for all earlier work on the files it names, and later work on them waits for
//! the job. Jobs run one after another. After a failed append what waits fails with it, until the engine was told.
//!
//! Not here: how long anything takes and what it does (`world.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use perdura_core::host::{FileId, FileStep, IoError, Ticket};

use crate::disk::Cwd;

/// All work of one server.
#[derive(Debug, Default)]
pub(crate) struct Work {
    lanes: BTreeMap<FileId, Lane>,
    jobs: VecDeque<Job>,
    job_number_next: u64,
    is_job_running: bool,
    /// Syncs do not wait for earlier appends: a mistake.
    pub syncs_overtake: bool,
}

/// Work on one file, first come first.
#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Item>,
    is_appending: bool,
    is_syncing: bool,
    failure: Option<IoError>,
}

#[derive(Debug)]
enum Item {
    Append(Bytes),
    Sync,
    /// The job of this number stands here, running or not.
    Barrier(u64),
}

/// Steps to perform in order.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    number: u64,
    pub purpose: Purpose,
    pub steps: Vec<FileStep>,
    /// Step to perform next.
    pub index: usize,
    /// Where its paths start: a change of `dir` does not move steps that were asked for earlier.
    pub cwd: Cwd,
}

/// Who is told of a job's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Files(Ticket),
    Config,
}

/// A piece of work that may begin.
#[derive(Debug)]
pub(crate) enum Ready {
    Append(FileId, Bytes),
    /// An append behind a failed one: fails without being tried.
    Refused(FileId, IoError),
    Sync(FileId),
    /// The job at the front.
    Job,
}

impl Work {
    pub fn append(&mut self, file: FileId, bytes: Bytes) {
        self.lanes.entry(file).or_default().waiting.push_back(Item::Append(bytes));
    }

    pub fn sync(&mut self, file: FileId) {
        self.lanes.entry(file).or_default().waiting.push_back(Item::Sync);
    }

    pub fn job(&mut self, purpose: Purpose, steps: Vec<FileStep>, cwd: Cwd) {
        let number = self.job_number_next;
        self.job_number_next += 1;
        for file in files_of(&steps) {
            self.lanes.entry(file).or_default().waiting.push_back(Item::Barrier(number));
        }
        self.jobs.push_back(Job { number, purpose, steps, index: 0, cwd });
    }

    /// Takes the next piece that may begin; to be asked again until there is none.
    pub fn begin(&mut self) -> Option<Ready> {
        if !self.is_job_running && self.is_front_job_free() {
            self.is_job_running = true;
            return Some(Ready::Job);
        }
        let syncs_overtake = self.syncs_overtake;
        self.lanes.iter_mut().find_map(|(file, lane)| lane.begin(*file, syncs_overtake))
    }

    pub fn append_ended(&mut self, file: FileId, error: Option<&IoError>) {
        let lane = self.lanes.get_mut(&file).expect("it has work in progress");
        lane.is_appending = false;
        lane.failure = error.cloned();
    }

    pub fn sync_ended(&mut self, file: FileId) {
        self.lanes.get_mut(&file).expect("it has work in progress").is_syncing = false;
    }

    /// The engine has been told of a failed append: it decides what comes next.
    pub fn failure_told(&mut self, file: FileId) {
        if let Some(lane) = self.lanes.get_mut(&file) {
            lane.failure = None;
        }
    }

    pub fn job_front(&mut self) -> &mut Job {
        self.jobs.front_mut().expect("a job is running")
    }

    pub fn job_ended(&mut self) -> Job {
        self.is_job_running = false;
        let job = self.jobs.pop_front().expect("a job is running");
        for file in files_of(&job.steps) {
            let barrier = self.lanes.get_mut(&file).and_then(|lane| lane.waiting.pop_front());
            assert!(matches!(barrier, Some(Item::Barrier(number)) if number == job.number));
        }
        self.lanes.retain(|_, lane| !lane.is_idle());
        job
    }

    fn is_front_job_free(&self) -> bool {
        let Some(job) = self.jobs.front() else { return false };
        let is_first =
            |lane: &Lane| matches!(lane.waiting.front(), Some(Item::Barrier(n)) if *n == job.number);
        files_of(&job.steps).iter().all(|file| {
            let lane = &self.lanes[file];
            is_first(lane) && !lane.is_appending && !lane.is_syncing
        })
    }
}

impl Lane {
    fn begin(&mut self, file: FileId, syncs_overtake: bool) -> Option<Ready> {
        let is_free = match self.waiting.front()? {
            Item::Append(_) => !self.is_appending,
            Item::Sync => (!self.is_appending || syncs_overtake) && !self.is_syncing,
            Item::Barrier(_) => false,
        };
        if !is_free {
            return None;
        }
        match self.waiting.pop_front()? {
            Item::Append(_) if self.failure.is_some() => {
                self.failure.clone().map(|error| Ready::Refused(file, error))
            }
            Item::Append(bytes) => {
                self.is_appending = true;
                Some(Ready::Append(file, bytes))
            }
            Item::Sync => {
                self.is_syncing = true;
                Some(Ready::Sync(file))
            }
            Item::Barrier(_) => None,
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.is_appending && !self.is_syncing && self.failure.is_none()
    }
}

fn files_of(steps: &[FileStep]) -> BTreeSet<FileId> {
    let file = |step: &FileStep| match step {
        FileStep::CreateExclusive { file, .. }
        | FileStep::CreateTemp { file, .. }
        | FileStep::OpenAppend { file, .. }
        | FileStep::Append { file, .. }
        | FileStep::Sync { file }
        | FileStep::Close { file } => Some(*file),
        _ => None,
    };
    steps.iter().filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: FileId = FileId(1);
    const B: FileId = FileId(2);

    fn append(work: &mut Work, file: FileId) {
        work.append(file, Bytes::from_static(b"x"));
    }

    fn begun(work: &mut Work) -> Vec<String> {
        std::iter::from_fn(|| work.begin())
            .map(|ready| match ready {
                Ready::Append(file, _) => format!("append {}", file.0),
                Ready::Refused(file, _) => format!("refuse {}", file.0),
                Ready::Sync(file) => format!("sync {}", file.0),
                Ready::Job => "job".into(),
            })
            .collect()
    }

    #[test]
    fn sync_waits_for_earlier_appends_and_runs_beside_later_ones() {
        let mut work = Work::default();
        append(&mut work, A);
        work.sync(A);
        append(&mut work, A);
        append(&mut work, B);
        assert_eq!(begun(&mut work), ["append 1", "append 2"]);
        work.append_ended(A, None);
        assert_eq!(begun(&mut work), ["sync 1", "append 1"]);
    }

    #[test]
    fn job_waits_for_its_files_and_they_for_it() {
        let mut work = Work::default();
        append(&mut work, A);
        work.job(Purpose::Config, vec![FileStep::Close { file: A }], Cwd::default());
        append(&mut work, A);
        assert_eq!(begun(&mut work), ["append 1"]);
        work.append_ended(A, None);
        assert_eq!(begun(&mut work), ["job"]);
        work.job_ended();
        assert_eq!(begun(&mut work), ["append 1"]);
    }

    #[test]
    fn appends_behind_a_failed_one_fail_until_it_is_told() {
        let mut work = Work::default();
        append(&mut work, A);
        append(&mut work, A);
        assert_eq!(begun(&mut work), ["append 1"]);
        let error = IoError { operation: "write", path: "f".into(), errno: 28 };
        work.append_ended(A, Some(&error));
        assert_eq!(begun(&mut work), ["refuse 1"]);
        work.failure_told(A);
        append(&mut work, A);
        assert_eq!(begun(&mut work), ["append 1"]);
    }
}
