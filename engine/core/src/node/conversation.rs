//! A node with clients to talk to, for the tests of what clients are told and when: nothing that it asks for happens by itself.
//!
//! Always true: effects stay in [`Conversation::effects`] until the test looks at them or confirms them. Replies are
//! taken as bytes; `\r\n` is shown as a blank, so that a test reads in one line.
//!
//! Not here: a server whose every effect succeeds at once (`testing.rs`).

use alloc::{string::String, vec::Vec};

use super::{Node, Seeds, no_stopwatch, testing::MemoryDisk};
use crate::{
    bytes::quote::split_args,
    config::Config,
    host::{ClientId, Completion, Effect, Effects, Engine, Peer},
    resp::encode_command,
    time::Now,
};

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
        let mut disk = MemoryDisk::default();
        let mut effects = Effects::new();
        for _ in 0..100 {
            if node.is_loading() {
                node.load(now, &mut disk, &mut effects);
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
