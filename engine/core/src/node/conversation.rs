//! A node with clients to talk to, for the tests of what clients are told: no sockets, a disk in memory.
//!
//! Replies are taken as bytes; `\r\n` is shown as a blank, so that a test reads in one line.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use super::{Node, Seeds, no_stopwatch};
use crate::{
    bytes::quote::split_args,
    config::Config,
    host::{ClientId, Completion, DirEntry, Disk, Effect, Effects, Engine, FileId, FileStep, IoError, Peer},
    resp::encode_command,
    time::Now,
};

const ENOENT: i32 = 2;

/// Files by their paths; never crashes, never fails.
#[derive(Default)]
struct Files {
    contents: BTreeMap<String, Vec<u8>>,
    open: BTreeMap<FileId, String>,
}

impl Disk for Files {
    fn perform(&mut self, step: &FileStep) -> Result<(), IoError> {
        match step {
            FileStep::CreateExclusive { file, path } | FileStep::CreateTemp { file, path } => {
                self.contents.insert(path.clone(), Vec::new());
                self.open.insert(*file, path.clone());
            }
            FileStep::Append { file, bytes } => {
                self.contents.get_mut(&self.open[file]).expect("an open file").extend_from_slice(bytes);
            }
            FileStep::Rename { from, to } => {
                let content = self.contents.remove(from).expect("a file to rename");
                self.contents.insert(to.clone(), content);
            }
            FileStep::Remove { path } => {
                self.contents.remove(path);
            }
            _ => {}
        }
        Ok(())
    }

    fn list(&mut self, path: &str) -> Result<Vec<DirEntry>, IoError> {
        let entries = self.contents.iter().filter_map(|(name, content)| {
            let (dir, name) = name.rsplit_once('/').unwrap_or(("", name));
            (dir == path).then(|| DirEntry {
                name: name.to_string(),
                len: content.len() as u64,
                is_file: true,
                modified_ms: 0,
            })
        });
        Ok(entries.collect())
    }

    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, IoError> {
        let missing = IoError { operation: "open", path: path.into(), errno: ENOENT };
        let content = self.contents.get(path).ok_or(missing)?;
        let rest = &content[content.len().min(offset as usize)..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn len(&mut self, path: &str) -> Result<Option<u64>, IoError> {
        Ok(self.contents.get(path).map(|content| content.len() as u64))
    }
}

/// A node and the time.
pub(super) struct Conversation {
    pub node: Node,
    pub now: Now,
    pub effects: Effects,
}

impl Conversation {
    /// A node with these lines of configuration, loaded. It has no save points unless they say so.
    pub fn new(settings: &str) -> Conversation {
        let mut config = Config::default();
        config.load("save \"\"", &mut |_| Ok(Vec::new())).expect("valid");
        config.load(settings, &mut |_| Ok(Vec::new())).expect("valid settings");
        let seeds = Seeds { seed: 1, process_id: 1, stopwatch: no_stopwatch };
        let now = Now { mono_us: 1_000_000, wall_us: 1_700_000_000_000_000 };
        let mut node = Node::new(config, seeds, now);
        let mut files = Files::default();
        let mut effects = Effects::new();
        for _ in 0..100 {
            if node.is_loading() {
                node.load(now, &mut files, &mut effects);
            }
        }
        assert!(!node.is_loading(), "an empty directory loads at once");
        Conversation { node, now, effects: Effects::new() }
    }

    /// A client, connected from this machine.
    pub fn connect(&mut self) -> ClientId {
        self.connect_from("127.0.0.1:5000", true)
    }

    /// A client, connected from another machine.
    pub fn connect_stranger(&mut self) -> ClientId {
        self.connect_from("192.0.2.7:5000", false)
    }

    fn connect_from(&mut self, address: &str, is_local: bool) -> ClientId {
        let peer = Peer {
            address: address.into(),
            local_address: "127.0.0.1:6379".into(),
            is_unix: false,
            is_local,
            descriptor: 8,
        };
        self.node.connect(self.now, peer, &mut self.effects)
    }

    /// A client that speaks RESP3, its greeting read.
    pub fn connect_resp3(&mut self) -> ClientId {
        let client = self.connect();
        self.says(client, "HELLO 3");
        client
    }

    /// A client sends a command, quoted as `redis-cli` takes it; what it can read afterwards.
    pub fn says(&mut self, client: ClientId, line: &str) -> String {
        self.sends(client, line);
        self.turn();
        self.hears(client)
    }

    /// A client sends a command. Nothing leaves before [`Conversation::turn`].
    pub fn sends(&mut self, client: ClientId, line: &str) {
        let words = split_args(line.as_bytes()).expect("quotes are closed");
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let mut request = Vec::new();
        encode_command(&words, &mut request);
        self.node.receive(self.now, client, &request, &mut self.effects);
    }

    /// The end of a turn; what it asks for is left in `effects`.
    pub fn turn(&mut self) {
        self.node.turn(self.now, &mut self.effects);
    }

    /// Confirms what the log asked for: appends and syncs.
    pub fn confirm_log(&mut self) {
        for effect in core::mem::take(&mut self.effects) {
            let completion = match effect {
                Effect::Append { file, bytes } => {
                    Completion::Appended { file, written: bytes.len() as u64, error: None }
                }
                Effect::Sync { file } => Completion::Synced { file, elapsed_us: 1, error: None },
                _ => continue,
            };
            self.node.complete(self.now, completion, &mut self.effects);
        }
    }

    /// What a client can read now, and has not read before.
    pub fn hears(&mut self, client: ClientId) -> String {
        let output = self.node.output(client).to_vec();
        self.node.sent(self.now, client, output.len(), &mut self.effects);
        String::from_utf8_lossy(&output).trim_end().replace("\r\n", " ")
    }

    /// A client hangs up.
    pub fn disconnect(&mut self, client: ClientId) {
        self.node.disconnect(self.now, client, &mut self.effects);
    }

    /// Whether the server is ending a connection.
    pub fn is_closing(&self, client: ClientId) -> bool {
        self.node.sessions.get(client).is_none_or(|session| session.is_closing)
    }

    /// Time passes.
    pub fn wait_ms(&mut self, ms: u64) {
        self.now.mono_us += ms * 1_000;
        self.now.wall_us += ms * 1_000;
        self.turn();
    }
}
