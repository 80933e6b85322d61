//! A server that parses requests and answers `+OK`: the ceiling of this host, without an engine.
//!
//! Usage: `null_server <port>`; SIGTERM ends it. Compare `redis-benchmark -t set` against a real server.

use std::collections::BTreeMap;

use perdura_core::host::*;
use perdura_core::time::Now;
use perdura_linux::{HostSettings, run};

fn main() {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("usage: null_server <port>");
    let settings = HostSettings { bind: vec!["127.0.0.1".into()], port, ..HostSettings::default() };
    std::process::exit(run(NullEngine::default(), settings));
}

#[derive(Default)]
struct NullEngine {
    clients: BTreeMap<ClientId, Client>,
    clients_seen: u64,
}

#[derive(Default)]
struct Client {
    /// A request that has not come in whole.
    rest: Vec<u8>,
    output: Vec<u8>,
}

impl Client {
    fn take(&mut self, bytes: &[u8]) {
        if self.rest.is_empty() {
            let used = self.answer(bytes);
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            self.rest.extend_from_slice(bytes);
            let input = std::mem::take(&mut self.rest);
            let used = self.answer(&input);
            self.rest.extend_from_slice(&input[used..]);
        }
    }

    /// Answers each whole request; how many bytes those were.
    fn answer(&mut self, input: &[u8]) -> usize {
        let mut used = 0;
        while let Some(len) = request_len(&input[used..]) {
            self.output.extend_from_slice(b"+OK\r\n");
            used += len;
        }
        used
    }
}

/// Length of the request at the start of `input`, if it is whole.
fn request_len(input: &[u8]) -> Option<usize> {
    let (count, mut at) = number_line(input, b'*')?;
    for _ in 0..count {
        let (len, head) = number_line(&input[at..], b'$')?;
        at += head + len + 2;
        if at > input.len() {
            return None;
        }
    }
    Some(at)
}

/// A line of one mark and a number; the number and the line's length.
fn number_line(input: &[u8], mark: u8) -> Option<(usize, usize)> {
    let (&first, digits) = input.split_first()?;
    assert_eq!(first, mark, "only arrays of bulk strings");
    let mut number = 0;
    for (index, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => number = number * 10 + usize::from(byte - b'0'),
            _ => return (digits.len() > index + 1).then_some((number, index + 3)),
        }
    }
    None
}

impl Engine for NullEngine {
    fn connect(&mut self, _: Now, _: Peer, _: &mut Effects) -> ClientId {
        self.clients_seen += 1;
        self.clients.insert(ClientId(self.clients_seen), Client::default());
        ClientId(self.clients_seen)
    }

    fn receive(&mut self, _: Now, id: ClientId, bytes: &[u8], effects: &mut Effects) {
        self.clients.get_mut(&id).expect("connected").take(bytes);
        effects.push(Effect::Send(id));
    }

    fn disconnect(&mut self, _: Now, id: ClientId, _: &mut Effects) {
        self.clients.remove(&id);
    }

    fn complete(&mut self, _: Now, _: Completion, _: &mut Effects) {}

    fn signal(&mut self, _: Now, _: Signal, effects: &mut Effects) {
        effects.push(Effect::Exit(0));
    }

    fn turn(&mut self, _: Now, _: &mut Effects) {}

    fn wake_at(&self) -> u64 {
        u64::MAX
    }

    fn output(&self, id: ClientId) -> &[u8] {
        self.clients.get(&id).map_or(&[], |client| &client.output)
    }

    fn sent(&mut self, _: Now, id: ClientId, count: usize, _: &mut Effects) {
        self.clients.get_mut(&id).expect("connected").output.drain(..count);
    }

    fn is_holding(&self, _: ClientId) -> bool {
        false
    }

    fn is_loading(&self) -> bool {
        false
    }

    fn load(&mut self, _: Now, _: &mut dyn Disk, _: &mut Effects) {
        unreachable!("nothing to load");
    }

    fn encoder<'a>(&'a self, _: &SnapshotJob) -> Box<dyn Encoder + 'a> {
        unreachable!("never asked for a snapshot");
    }
}
