//! A bench for the node's unit tests: one server with a disk in memory, and clients that send lines and read replies.
//!
//! Exists so that a test is a list of commands with the replies they must give, for commands that need more than
//! data: sessions, files, time.
//!
//! Always true: every effect succeeds at once, unless the test says otherwise; time moves only by hand.
//!
//! How replies are shown: as in `commands/testing.rs`; several are joined by a line end, none is `(waits)`.
//!
//! Not here: crashes and slow disks (`sim`).

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::{Node, Seeds, no_stopwatch};
use crate::{
    bytes::quote::split_args,
    commands::testing::{NOW_MS, show_frame},
    config::Config,
    host::{
        ChildEnd, ClientId, Completion, DirEntry, Disk, ENOENT, Effect, Effects, Engine, FileId, FileStep,
        IoError, Peer, SnapshotJob, SnapshotWritten, write_snapshot,
    },
    resp::encode_command,
    time::Now,
};

/// Rounds of turn and completions after which a server that still asks for something is stuck.
const ROUNDS_MAX: usize = 1000;

/// A server under test.
pub struct TestServer {
    /// The engine.
    pub node: Node,
    /// What both clocks show.
    pub now: Now,
    /// Its files.
    pub disk: MemoryDisk,
    /// Effects of the kinds a test may ask about: all but output, appends, syncs and steps.
    pub seen: Vec<Effect>,
    /// What the host says of [`Effect::Listen`].
    pub listening: Result<(), String>,
    /// Error number that [`Effect::ChangeDir`] fails with.
    pub dir_errno: Option<i32>,
    /// Why the out-of-memory score cannot be set, if so.
    pub oom_errno: Option<i32>,
    /// Room on the disk, bytes.
    pub free_bytes: u64,
    main: ClientId,
}

impl TestServer {
    /// A server with these configuration lines (none: no save points, no log), loaded, with one client.
    #[track_caller]
    pub fn new(lines: &str) -> TestServer {
        let mut config = Config::default();
        config.load("save \"\"", &mut |_| Ok(Vec::new())).expect("valid");
        config.load(lines, &mut |_| Ok(Vec::new())).expect("valid lines");
        let now = Now { mono_us: 1_000_000, wall_us: NOW_MS * 1000 };
        let seeds = Seeds { seed: 1, process_id: 42, stopwatch: no_stopwatch };
        let mut server = TestServer {
            node: {
                let mut node = Node::new(config, seeds, now);
                node.rename_commands().expect("valid names");
                node
            },
            now,
            disk: MemoryDisk::default(),
            seen: Vec::new(),
            listening: Ok(()),
            dir_errno: None,
            oom_errno: None,
            free_bytes: u64::MAX,
            main: ClientId(0),
        };
        server.settle();
        server.main = server.connect();
        server
    }

    /// One more client, on the loopback interface.
    pub fn connect(&mut self) -> ClientId {
        let mut effects = Effects::new();
        let peer = Peer {
            address: "127.0.0.1:50000".into(),
            local_address: "127.0.0.1:6379".into(),
            is_unix: false,
            is_local: true,
            descriptor: 8,
        };
        let client = self.node.connect(self.now, peer, &mut effects);
        self.perform_all(effects);
        client
    }

    /// Sends a command, quoted as `redis-cli` takes it, as the first client; what it reads then.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> String {
        self.run_as(self.main, line)
    }

    /// [`TestServer::run`] as another client.
    #[track_caller]
    pub fn run_as(&mut self, client: ClientId, line: &str) -> String {
        self.send(client, line);
        self.read(client)
    }

    /// Sends a command and lets the server do all it can.
    #[track_caller]
    pub fn send(&mut self, client: ClientId, line: &str) {
        let effects = self.receive(client, line);
        self.perform_all(effects);
        self.settle();
    }

    /// [`TestServer::run`] with a disk that takes this long for what the server asks for at the end of the turn.
    #[track_caller]
    pub fn run_on_slow_disk(&mut self, line: &str, ms: u64) -> String {
        let mut effects = self.receive(self.main, line);
        self.node.turn(self.now, &mut effects);
        self.now.mono_us += ms * 1000;
        self.perform_all(effects);
        self.settle();
        self.read(self.main)
    }

    fn receive(&mut self, client: ClientId, line: &str) -> Effects {
        let words = split_args(line.as_bytes()).expect("quotes are closed");
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let mut bytes = Vec::new();
        encode_command(&args, &mut bytes);
        let mut effects = Effects::new();
        self.node.receive(self.now, client, &bytes, &mut effects);
        effects
    }

    /// What a client has got since it last looked.
    #[track_caller]
    pub fn read(&mut self, client: ClientId) -> String {
        let output = self.node.output(client).to_vec();
        let mut effects = Effects::new();
        self.node.sent(self.now, client, output.len(), &mut effects);
        let mut shown = Vec::new();
        let mut rest = &output[..];
        while !rest.is_empty() {
            let (frame, after) = show_frame(rest);
            shown.push(frame);
            rest = after;
        }
        if shown.is_empty() { "(waits)".into() } else { shown.join("\n") }
    }

    /// Runs commands as the first client and compares each reply.
    #[track_caller]
    pub fn check(&mut self, commands: &[(&str, &str)]) {
        for (command, expected) in commands {
            assert_eq!(self.run(command), *expected, "{command}");
        }
    }

    /// Lets time pass, both clocks alike.
    pub fn advance_ms(&mut self, ms: u64) {
        self.now.mono_us += ms * 1000;
        self.now.wall_us += ms * 1000;
        self.settle();
    }

    /// Turns until nothing is asked for any more.
    #[track_caller]
    pub fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut effects = Effects::new();
            if self.node.is_loading() {
                self.node.load(self.now, &mut self.disk, &mut effects);
            }
            self.node.turn(self.now, &mut effects);
            let is_quiet = effects.iter().all(|effect| matches!(effect, Effect::Send(_)));
            if is_quiet && !self.node.is_loading() {
                return;
            }
            self.perform_all(effects);
        }
        panic!("the server comes to no end");
    }

    fn perform_all(&mut self, effects: Effects) {
        for effect in effects {
            let completions = self.perform(effect);
            for completion in completions {
                let mut more = Effects::new();
                self.node.complete(self.now, completion, &mut more);
                self.perform_all(more);
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Vec<Completion> {
        match effect {
            Effect::Send(_) | Effect::PauseReading { .. } => Vec::new(),
            Effect::Append { file, bytes } => {
                let written = bytes.len() as u64;
                let error = self.disk.perform(&FileStep::Append { file, bytes }).err();
                [Completion::Appended { file, written, error }].into()
            }
            Effect::Sync { file } => [Completion::Synced { file, elapsed_us: 10, error: None }].into(),
            Effect::Files { ticket, steps } => {
                let results = steps.iter().map(|step| self.disk.perform(step)).enumerate();
                let error =
                    results.filter_map(|(index, result)| result.err().map(|error| (index, error))).next();
                [Completion::Files { ticket, error }].into()
            }
            Effect::Fork(job) => {
                let end = match self.write(&job) {
                    Ok(written) => ChildEnd::Written(written),
                    Err(error) => ChildEnd::Failed(error),
                };
                let ticket = job.ticket;
                let forked = Completion::Forked { ticket, result: Ok(4711), elapsed_us: 100 };
                [forked, Completion::ChildEnded { ticket, end, cow_size: 4096 }].into()
            }
            Effect::Save(job) => {
                let result = self.write(&job);
                [Completion::Saved { ticket: job.ticket, result }].into()
            }
            Effect::Backup(job) => {
                let result = Node::back_up(&job, &mut self.disk, &mut |_| {});
                [Completion::BackedUp { ticket: job.ticket, result }].into()
            }
            seen => {
                let completion = self.report(&seen);
                self.seen.push(seen);
                completion.into_iter().collect()
            }
        }
    }

    fn report(&mut self, effect: &Effect) -> Option<Completion> {
        match effect {
            Effect::ChangeDir(path) => Some(Completion::DirChanged(match self.dir_errno {
                Some(errno) => Err(errno),
                None => Ok(path.clone()),
            })),
            Effect::MeasureSpace => Some(Completion::SpaceMeasured(Ok(self.free_bytes))),
            Effect::Listen { .. } => Some(Completion::Listening(self.listening.clone())),
            Effect::AdjustOomScore(_) => {
                Some(Completion::OomScoreAdjusted(self.oom_errno.map_or(Ok(()), Err)))
            }
            Effect::ReadConfig { path } => {
                let bytes = self.disk.files.get(path).cloned().ok_or(ENOENT);
                Some(Completion::ConfigRead(bytes.map(|bytes| String::from_utf8(bytes).expect("text"))))
            }
            Effect::WriteConfig { path, text } => {
                self.disk.files.insert(path.clone(), text.clone().into_bytes());
                Some(Completion::ConfigWritten(Ok(())))
            }
            _ => None,
        }
    }

    fn write(&mut self, job: &SnapshotJob) -> Result<SnapshotWritten, IoError> {
        let path = job.path.replace("{pid}", "4711");
        let mut encoder = self.node.encoder(job);
        write_snapshot(&mut *encoder, &path, FileId(u32::MAX), &mut self.disk, &mut |_, _| {})
    }
}

/// Files in memory, by name.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    /// Their contents.
    pub files: BTreeMap<String, Vec<u8>>,
    open: BTreeMap<FileId, String>,
}

impl MemoryDisk {
    fn file(&mut self, path: &str) -> Result<&mut Vec<u8>, IoError> {
        self.files.get_mut(path).ok_or(IoError { operation: "open", path: path.into(), errno: ENOENT })
    }
}

impl Disk for MemoryDisk {
    fn perform(&mut self, step: &FileStep) -> Result<(), IoError> {
        match step {
            FileStep::CreateExclusive { file, path } | FileStep::CreateTemp { file, path } => {
                self.files.insert(path.clone(), Vec::new());
                self.open.insert(*file, path.clone());
            }
            FileStep::OpenAppend { file, path } => {
                self.file(path)?;
                self.open.insert(*file, path.clone());
            }
            FileStep::Append { file, bytes } => {
                let path = self.open.get(file).cloned().unwrap_or_default();
                self.file(&path)?.extend_from_slice(bytes);
            }
            FileStep::Close { file } => drop(self.open.remove(file)),
            FileStep::Rename { from, to } => {
                let bytes = core::mem::take(self.file(from)?);
                self.files.remove(from);
                self.files.insert(to.clone(), bytes);
                self.open.values_mut().filter(|path| *path == from).for_each(|path| path.clone_from(to));
            }
            FileStep::Link { from, to } => {
                let bytes = self.file(from)?.clone();
                self.files.insert(to.clone(), bytes);
            }
            FileStep::Remove { path } => drop(self.files.remove(path)),
            FileStep::Truncate { path, len } => self.file(path)?.truncate(*len as usize),
            FileStep::CreateDir { .. }
            | FileStep::Sync { .. }
            | FileStep::SyncPath { .. }
            | FileStep::SyncDir { .. } => {}
        }
        Ok(())
    }

    fn list(&mut self, path: &str) -> Result<Vec<DirEntry>, IoError> {
        let prefix = if path.is_empty() { String::new() } else { alloc::format!("{path}/") };
        let entries = self.files.iter().filter_map(|(name, bytes)| {
            let name = name.strip_prefix(&prefix).filter(|name| !name.contains('/'))?;
            Some(DirEntry { name: name.into(), len: bytes.len() as u64, is_file: true, modified_ms: 0 })
        });
        Ok(entries.collect())
    }

    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, IoError> {
        let bytes = self.file(path)?;
        let rest = bytes.get(offset as usize..).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn len(&mut self, path: &str) -> Result<Option<u64>, IoError> {
        Ok(self.files.get(path).map(|bytes| bytes.len() as u64))
    }
}
