//! A toy store: just enough engine to drive the world, with one mistake to be chosen.
//!
//! Lines in, lines out: `set k v` → `ok`, `get k` → the value, `bgsave` → `started`, `save` → `saved`.
//! Journal: file `log`, one checksummed line for each set; a reply leaves when its line is synced.

use std::collections::{BTreeMap, VecDeque};

use perdura_core::host::{
    ChildEnd, ClientId, Completion, Disk, Effect, Effects, Encoder, Engine, FileId, FileStep, IoError, Peer,
    Signal, SnapshotForm, SnapshotJob, Ticket,
};
use perdura_core::time::Now;

/// What it does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    None,
    /// Replies when the line is written.
    RepliesBeforeSync,
    /// Does not cut a torn tail before it appends.
    KeepsTornTail,
    /// Does not sync the directory after creating the journal.
    ForgetsDirectory,
    /// Goes on with the file it finds, not knowing whether a failed sync left it in the page cache only.
    TrustsTheCache,
}

pub struct Toy {
    mistake: Mistake,
    data: BTreeMap<String, String>,
    is_loading: bool,
    clients: BTreeMap<ClientId, Session>,
    client_next: u64,
    batch: Vec<u8>,
    /// Replies in order, with the number of the sync they wait for.
    held: VecDeque<(u64, ClientId, String)>,
    batch_number: u64,
    is_writing: bool,
    is_stopping: bool,
    ticket_next: u64,
    pub snapshots: u64,
}

#[derive(Default)]
struct Session {
    input: Vec<u8>,
    output: Vec<u8>,
}

const LOG: FileId = FileId(1);

impl Toy {
    pub fn new(mistake: Mistake) -> Toy {
        Toy {
            mistake,
            data: BTreeMap::new(),
            is_loading: true,
            clients: BTreeMap::new(),
            client_next: 1,
            batch: Vec::new(),
            held: VecDeque::new(),
            batch_number: 0,
            is_writing: false,
            is_stopping: false,
            ticket_next: 1,
            snapshots: 0,
        }
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.data.get(key).map(String::as_str)
    }

    fn run(&mut self, client: ClientId, line: &str, effects: &mut Effects) {
        let mut words = line.split(' ');
        let reply = match (words.next(), words.next(), words.next()) {
            (Some("set"), Some(key), Some(value)) => {
                self.data.insert(key.into(), value.into());
                self.batch.extend_from_slice(record(key, value).as_bytes());
                "ok".into()
            }
            (Some("get"), Some(key), None) => self.get(key).unwrap_or("none").into(),
            (Some("bgsave"), None, None) => {
                effects.push(Effect::Fork(self.job()));
                "started".into()
            }
            (Some("save"), None, None) => {
                effects.push(Effect::Save(self.job()));
                "saved".into()
            }
            _ => "what?".into(),
        };
        // Reads wait as well: they may show what is not synced yet.
        self.held.push_back((self.batch_number, client, reply));
    }

    fn job(&mut self) -> SnapshotJob {
        self.ticket_next += 1;
        let ticket = Ticket(self.ticket_next);
        SnapshotJob {
            ticket,
            form: SnapshotForm::Rdb,
            path: "temp-{pid}".into(),
            key_delay_us: 100,
            now_ms: 0,
            is_last: false,
        }
    }

    fn install(&mut self, path: String, effects: &mut Effects) {
        self.ticket_next += 1;
        let steps = vec![
            FileStep::Rename { from: path, to: "dump".into() },
            FileStep::SyncDir { path: String::new() },
        ];
        effects.push(Effect::Files { ticket: Ticket(self.ticket_next), steps });
    }

    fn release(&mut self, below: u64, effects: &mut Effects) {
        while self.held.front().is_some_and(|(number, _, _)| *number < below) {
            let (_, client, reply) = self.held.pop_front().expect("just looked at");
            if let Some(session) = self.clients.get_mut(&client) {
                session.output.extend_from_slice(format!("{reply}\n").as_bytes());
                effects.push(Effect::Send(client));
            }
        }
    }

    fn recover(&mut self, disk: &mut dyn Disk) -> Result<(), IoError> {
        let (path, dir) = ("log".to_string(), String::new());
        let Some(len) = disk.len(&path)? else {
            disk.perform(&FileStep::CreateExclusive { file: LOG, path })?;
            if self.mistake != Mistake::ForgetsDirectory {
                disk.perform(&FileStep::SyncDir { path: dir })?;
            }
            return Ok(());
        };
        let mut bytes = vec![0; len as usize];
        let count = disk.read_at(&path, 0, &mut bytes)?;
        let whole = self.replay(&bytes[..count]);
        if self.mistake == Mistake::TrustsTheCache {
            disk.perform(&FileStep::Truncate { path: path.clone(), len: whole })?;
            return disk.perform(&FileStep::OpenAppend { file: LOG, path });
        }
        if self.mistake != Mistake::KeepsTornTail {
            bytes.truncate(whole as usize);
        }
        // Whatever was read may be a page that a failed sync marked clean: only a new file is certain.
        let temp = "log.new".to_string();
        disk.perform(&FileStep::CreateTemp { file: LOG, path: temp.clone() })?;
        disk.perform(&FileStep::Append { file: LOG, bytes: bytes.into() })?;
        disk.perform(&FileStep::Sync { file: LOG })?;
        disk.perform(&FileStep::Rename { from: temp, to: path })?;
        if self.mistake != Mistake::ForgetsDirectory {
            disk.perform(&FileStep::SyncDir { path: dir })?;
        }
        Ok(())
    }

    fn replay(&mut self, bytes: &[u8]) -> u64 {
        let mut whole = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some((key, value)) = std::str::from_utf8(line).ok().and_then(parse) else { break };
            self.data.insert(key, value);
            whole += line.len() as u64;
        }
        whole
    }
}

fn checksum(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn record(key: &str, value: &str) -> String {
    let text = format!("{key} {value}");
    format!("{:016x} {text}\n", checksum(&text))
}

fn parse(line: &str) -> Option<(String, String)> {
    let (sum, text) = line.strip_suffix('\n')?.split_once(' ')?;
    let (key, value) = text.split_once(' ')?;
    (u64::from_str_radix(sum, 16).ok()? == checksum(text)).then(|| (key.into(), value.into()))
}

impl Engine for Toy {
    fn connect(&mut self, _: Now, _: Peer, _: &mut Effects) -> ClientId {
        self.client_next += 1;
        let id = ClientId(self.client_next);
        self.clients.insert(id, Session::default());
        id
    }

    fn receive(&mut self, _: Now, client: ClientId, bytes: &[u8], effects: &mut Effects) {
        let Some(session) = self.clients.get_mut(&client) else { panic!("bytes from a stranger") };
        session.input.extend_from_slice(bytes);
        let Some(end) = session.input.iter().rposition(|byte| *byte == b'\n') else { return };
        let lines: Vec<u8> = session.input.drain(..=end).collect();
        for line in String::from_utf8(lines).expect("the tests send text").lines() {
            self.run(client, line, effects);
        }
    }

    fn disconnect(&mut self, _: Now, client: ClientId, _: &mut Effects) {
        assert!(self.clients.remove(&client).is_some(), "said once");
    }

    fn complete(&mut self, _: Now, completion: Completion, effects: &mut Effects) {
        match completion {
            Completion::Appended { error: None, .. } if self.mistake == Mistake::RepliesBeforeSync => {
                self.release(self.batch_number, effects);
            }
            Completion::Synced { error: None, .. } => {
                self.is_writing = false;
                self.release(self.batch_number, effects);
            }
            Completion::Appended { error: Some(_), .. } | Completion::Synced { error: Some(_), .. } => {
                effects.push(Effect::Exit(1));
            }
            Completion::ChildEnded { end: ChildEnd::Written(written), .. } => {
                self.install(written.path, effects)
            }
            Completion::Saved { result: Ok(written), .. } => self.install(written.path, effects),
            Completion::Files { error: None, .. } => self.snapshots += 1,
            _ => {}
        }
    }

    fn signal(&mut self, _: Now, _: Signal, _: &mut Effects) {
        self.is_stopping = true;
    }

    fn turn(&mut self, _: Now, effects: &mut Effects) {
        if self.is_loading || self.is_writing {
            return;
        }
        if !self.batch.is_empty() {
            self.is_writing = true;
            self.batch_number += 1;
            effects.push(Effect::Append { file: LOG, bytes: std::mem::take(&mut self.batch).into() });
            effects.push(Effect::Sync { file: LOG });
            return;
        }
        // Nothing waits to be synced, so nothing that was read can be taken back.
        self.release(u64::MAX, effects);
        if self.is_stopping {
            effects.push(Effect::Exit(0));
        }
    }

    fn wake_at(&self) -> u64 {
        u64::MAX
    }

    fn output(&self, client: ClientId) -> &[u8] {
        self.clients.get(&client).map_or(&[], |session| &session.output)
    }

    fn sent(&mut self, _: Now, client: ClientId, count: usize, _: &mut Effects) {
        self.clients.get_mut(&client).expect("known").output.drain(..count);
    }

    fn is_holding(&self, _client: ClientId) -> bool {
        false
    }

    fn is_loading(&self) -> bool {
        self.is_loading
    }

    fn load(&mut self, _: Now, disk: &mut dyn Disk, effects: &mut Effects) {
        self.is_loading = false;
        if self.recover(disk).is_err() {
            effects.push(Effect::Exit(2));
        }
    }

    fn encoder<'a>(&'a self, _: &SnapshotJob) -> Box<dyn Encoder + 'a> {
        Box::new(Lines { entries: self.data.iter(), keys: 0 })
    }
}

struct Lines<'a> {
    entries: std::collections::btree_map::Iter<'a, String, String>,
    keys: u64,
}

impl Encoder for Lines<'_> {
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((key, value)) = self.entries.next() else { return false };
        out.extend_from_slice(record(key, value).as_bytes());
        self.keys += 1;
        true
    }

    fn keys(&self) -> u64 {
        self.keys
    }
}
