//! A snapshot child: a process of its own that writes a frozen data set, one step now and one later.
//!
//! Exists so that a child can be slow, be killed, and outlive its parent, while `write_snapshot` of the engine's
//! border stays the only place that knows the order of its steps.
//!
//! How: the encoder is driven to its end at the fork, so nothing can thaw. For each step the whole of
//! `write_snapshot` is run again over what its calls have answered so far; the first call without an answer is the
//! next step to perform.
//!
//! Not here: when a step happens and who hears of the end (`world.rs`).

use perdura_core::host::{
    DirEntry, Disk, EIO, Encoder, FileId, FileStep, IoError, SnapshotJob, SnapshotWritten, Ticket,
    write_snapshot,
};

use crate::disk::{Handle, ProcessId};

/// The handle a snapshot's writer uses; engines count theirs from below.
pub(crate) const SNAPSHOT_FILE: FileId = FileId(u32::MAX);

#[derive(Debug)]
pub(crate) struct Child {
    pub process: ProcessId,
    pub pid: i32,
    /// Whose memory it froze, and who hears of its end.
    pub parent: ProcessId,
    pub ticket: Ticket,
    /// Microseconds it waits after each key.
    key_delay_us: u64,
    path: String,
    pieces: Vec<Piece>,
    answers: Vec<Answer>,
    progress_told: usize,
}

/// What one `step` of the encoder gave.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    keys: u64,
}

#[derive(Debug)]
enum Answer {
    Performed(Result<(), IoError>),
    Read(Result<Vec<u8>, IoError>),
}

#[derive(Debug)]
enum Call {
    Perform(FileStep),
    Read { offset: u64, len: usize },
}

/// What became of one step of a child.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It goes on, after this pause; maybe it reported how many keys it has written.
    GoesOn {
        pause_us: u64,
        progress: Option<u64>,
    },
    Ended(Result<SnapshotWritten, IoError>),
}

impl Child {
    /// Freezes what `encoder` sees.
    pub fn new(
        process: ProcessId,
        pid: i32,
        pid_in_name: i32,
        parent: ProcessId,
        job: &SnapshotJob,
        mut encoder: Box<dyn Encoder + '_>,
    ) -> Child {
        let mut pieces = Vec::new();
        let mut has_more = true;
        while has_more {
            let mut bytes = Vec::new();
            has_more = encoder.step(&mut bytes);
            pieces.push(Piece { bytes, keys: encoder.keys() });
        }
        Child {
            process,
            pid,
            parent,
            ticket: job.ticket,
            key_delay_us: u64::try_from(job.key_delay_us).unwrap_or(0),
            path: snapshot_path(job, pid_in_name),
            pieces,
            answers: Vec::new(),
            progress_told: 0,
        }
    }

    /// What a parent believes that does not look at how its child ended.
    pub fn as_if_written(&self) -> SnapshotWritten {
        let len = self.pieces.iter().map(|piece| piece.bytes.len() as u64).sum();
        let keys = self.pieces.last().map_or(0, |piece| piece.keys);
        SnapshotWritten { path: self.path.clone(), len, keys }
    }

    /// Performs one call of `write_snapshot`, the next one.
    pub fn step(&mut self, disk: &mut Handle<'_>) -> Outcome {
        let mut replay = Replay { answers: &self.answers, index: 0, next: None };
        let mut encoder = Pieces { pieces: &self.pieces, index: 0 };
        let mut reports = Vec::new();
        let result = write_snapshot(&mut encoder, &self.path, SNAPSHOT_FILE, &mut replay, &mut |_, keys| {
            reports.push(keys)
        });
        let Some(call) = replay.next else { return Outcome::Ended(result) };
        let keys_before = self.progress_told.checked_sub(1).map_or(0, |last| reports[last]);
        let progress = (reports.len() > self.progress_told).then(|| reports[reports.len() - 1]);
        self.progress_told = reports.len();
        self.answers.push(answer(call, &self.path, disk));
        let keys = progress.map_or(0, |keys| keys - keys_before);
        Outcome::GoesOn { pause_us: keys * self.key_delay_us, progress }
    }
}

/// The file that this process writes for a job.
pub(crate) fn snapshot_path(job: &SnapshotJob, pid: i32) -> String {
    job.path.replace("{pid}", &pid.to_string())
}

fn answer(call: Call, path: &str, disk: &mut Handle<'_>) -> Answer {
    match call {
        Call::Perform(step) => Answer::Performed(disk.perform(&step)),
        Call::Read { offset, len } => {
            let mut bytes = vec![0; len];
            Answer::Read(disk.read_at(path, offset, &mut bytes).map(|count| {
                bytes.truncate(count);
                bytes
            }))
        }
    }
}

/// Answers as before; notes the first call that was not made before.
struct Replay<'a> {
    answers: &'a [Answer],
    index: usize,
    next: Option<Call>,
}

impl Replay<'_> {
    fn answer(&mut self, call: impl FnOnce() -> Call) -> Option<&Answer> {
        let answer = self.answers.get(self.index);
        self.index += 1;
        if answer.is_none() && self.next.is_none() {
            self.next = Some(call());
        }
        answer
    }
}

/// Makes `write_snapshot` give up: its own steps after that are not looked at.
fn stop() -> IoError {
    IoError { operation: "replay", path: String::new(), errno: EIO }
}

impl Disk for Replay<'_> {
    fn perform(&mut self, step: &FileStep) -> Result<(), IoError> {
        match self.answer(|| Call::Perform(step.clone())) {
            Some(Answer::Performed(result)) => result.clone(),
            Some(Answer::Read(_)) => unreachable!("write_snapshot asks the same every time"),
            None => Err(stop()),
        }
    }

    fn read_at(&mut self, _path: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, IoError> {
        let len = buffer.len();
        match self.answer(|| Call::Read { offset, len }) {
            Some(Answer::Read(Ok(bytes))) => {
                buffer[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            }
            Some(Answer::Read(Err(error))) => Err(error.clone()),
            Some(Answer::Performed(_)) => unreachable!("write_snapshot asks the same every time"),
            None => Err(stop()),
        }
    }

    fn list(&mut self, _path: &str) -> Result<Vec<DirEntry>, IoError> {
        unreachable!("write_snapshot lists nothing")
    }

    fn len(&mut self, _path: &str) -> Result<Option<u64>, IoError> {
        unreachable!("write_snapshot asks for no length")
    }
}

struct Pieces<'a> {
    pieces: &'a [Piece],
    index: usize,
}

impl Encoder for Pieces<'_> {
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.pieces[self.index].bytes);
        self.index += 1;
        self.index < self.pieces.len()
    }

    fn keys(&self) -> u64 {
        self.index.checked_sub(1).map_or(0, |last| self.pieces[last].keys)
    }
}
