//! Probes: what would a start find if everything ended just now? Asked of a copy of the disk, the run goes on.
//!
//! Exists because a crash shows one moment and one image; a copy of the disk can be crashed a hundred times. The start is
//! the engine's own, over the same disk; crashes within it (depth 2) are planned by the number of an operation.
//!
//! Not here: whether what was found is right (`oracle/`), crashes of the whole world (`run.rs`).

use std::collections::BTreeMap;
use std::io;

use perdura_core::config::Config;
use perdura_core::host::{ClientId, Effect, Engine, Peer};
use perdura_core::node::{Node, Seeds, no_stopwatch};
use perdura_core::persist::recovery::Case;
use perdura_core::time::Now;
use perdura_lua::LuaInterpreter;
use perdura_sim::{Moment, SimDisk};

use crate::client::{Reply, encode_command};
use crate::model::{Ask, Bytes, Entry, Keyspace, read_dbs, read_key};

/// Settings by name.
pub type Settings = BTreeMap<&'static str, &'static str>;

/// The configuration that these settings make.
pub fn config_of(settings: &Settings) -> Config {
    let text: String = settings.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
    let mut config = Config::default();
    config.load(&text, &mut |_| unreachable!("no includes")).expect("settings of a plan are right");
    config
}

/// An engine about to load.
pub fn boot(config: &Config, seed: u64, pid: u32, now: Now) -> Node {
    let mut node = Node::new(config.clone(), Seeds { seed, process_id: pid, stopwatch: no_stopwatch }, now);
    node.set_interpreter(Box::new(LuaInterpreter::new()));
    node
}

/// How a start on a copy of the disk went.
pub enum Found {
    /// It serves.
    Serves(Box<Node>),
    /// It refused, having gone through these rows of the recovery tables.
    Refused(Vec<Case>),
    /// The planned crash came first.
    Crashed,
    /// It was not through after as many slices as any of these data sets could need.
    Endless,
}

/// Slices of loading: the data sets here need a few.
const SLICES_MAX: usize = 2_000;

/// Starts a server on this disk and reads what it serves.
pub fn start(disk: &mut SimDisk, config: &Config, now: Now, crash: Option<(u64, Moment)>) -> Found {
    let process = disk.spawn();
    if let Some((number, moment)) = crash {
        disk.arm(disk.operation_next() + number, moment);
    }
    let mut node = boot(config, 1, 99, now);
    let mut effects = Vec::new();
    for _ in 0..SLICES_MAX {
        node.load(now, &mut disk.handle(process), &mut effects);
        if disk.has_tripped() {
            disk.disarm();
            return Found::Crashed;
        }
        if effects.iter().any(|effect| matches!(effect, Effect::Exit(_))) {
            disk.disarm();
            return Found::Refused(node.start_cases().to_vec());
        }
        if !node.is_loading() {
            disk.disarm();
            return Found::Serves(Box::new(node));
        }
    }
    Found::Endless
}

/// Reads all keys of an engine, as a client would.
///
/// # Panics
/// If it does not answer as a server must.
pub fn read(node: &Node, now: Now) -> Keyspace {
    read_dbs(&mut Questioner::of(node.clone(), now)).expect("a server that serves answers")
}

/// Reads one key of an engine.
///
/// # Panics
/// As [`read`].
pub fn look(node: &Node, now: Now, db: usize, key: &Bytes) -> Option<Entry> {
    read_key(&mut Questioner::of(node.clone(), now), db, key).expect("a server that serves answers")
}

/// How many clients wait, as INFO says.
///
/// # Panics
/// INFO does not.
pub fn waiting_count(node: &Node, now: Now) -> usize {
    info_number(node, now, "blocked_clients").expect("INFO counts those that are blocked") as usize
}

/// A number that INFO gives under this name, if it does.
///
/// # Panics
/// INFO is not answered.
pub fn info_number(node: &Node, now: Now, name: &str) -> Option<u64> {
    let question = vec![b"INFO".to_vec()];
    let replies = Questioner::of(node.clone(), now).ask(&[question]).expect("INFO is always answered");
    let text = String::from_utf8_lossy(replies[0].as_bytes().unwrap_or_default()).into_owned();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

/// Bytes that an engine still counts for data after every key was deleted; none if keys stay that nobody sees any more. The
/// engine must be the one that loaded them: a copy has the same data in other allocations.
///
/// # Panics
/// As [`read`].
pub fn bytes_when_emptied(node: Node, now: Now, keyspace: &Keyspace) -> usize {
    let mut questioner = Questioner::of(node, now);
    let words = |db: usize, key: &Bytes| {
        [vec![b"SELECT".to_vec(), db.to_string().into_bytes()], vec![b"DEL".to_vec(), key.clone()]]
    };
    let deletions: Vec<Vec<Bytes>> = keyspace.iter().flat_map(|(db, key, _)| words(db, key)).collect();
    questioner.ask(&deletions).expect("a server that serves answers");
    let store = questioner.node.store();
    let of_data = |db| store.db(db).memory() - store.db(db).table().memory();
    if store.is_empty() { (0..store.db_count()).map(of_data).sum() } else { 0 }
}

/// A client of an engine that nobody else has, mostly a copy: it is told everything at once, safe or not.
struct Questioner {
    node: Node,
    now: Now,
    client: ClientId,
}

impl Questioner {
    fn of(mut node: Node, now: Now) -> Questioner {
        let peer = Peer {
            address: "127.0.0.1:1".into(),
            local_address: "127.0.0.1:6379".into(),
            is_unix: false,
            is_local: true,
            descriptor: 7,
        };
        let client = node.connect(now, peer, &mut Vec::new());
        Questioner { node, now, client }
    }
}

impl Ask for Questioner {
    fn ask(&mut self, commands: &[Vec<Bytes>]) -> io::Result<Vec<Reply>> {
        let mut request = Vec::new();
        commands.iter().for_each(|command| encode_command(command, &mut request));
        let before = self.node.answers(self.client).len();
        self.node.receive(self.now, self.client, &request, &mut Vec::new());
        let mut rest = &self.node.answers(self.client)[before..];
        commands.iter().map(|_| Reply::read_from(&mut rest)).collect()
    }
}
