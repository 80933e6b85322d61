//! Probes: what would a start find if everything ended just now? Asked of a copy of the disk, the run goes on.
//!
//! Exists because a crash shows one moment and one image; a copy of the disk can be crashed a hundred times. The start is
//! the engine's own, over the same disk; crashes within it (depth 2) are planned by the number of an operation.
//!
//! Not here: whether what was found is right (`oracle/`), crashes of the whole world (`run.rs`).

use std::collections::BTreeMap;

use perdura_core::config::Config;
use perdura_core::host::{ClientId, Completion, Effect, Engine, Peer};
use perdura_core::node::{Node, Seeds, no_stopwatch};
use perdura_core::time::Now;
use perdura_lua::LuaInterpreter;
use perdura_sim::{Moment, SimDisk};

use super::workload::DB1_PREFIX;
use crate::client::{Reply, encode_command};
use crate::model::{Entry, Keyspace, Value};

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
#[derive(Debug)]
pub enum Found {
    /// It serves this.
    Keyspace(Keyspace),
    /// It refused.
    Refused,
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
            return Found::Refused;
        }
        if !node.is_loading() {
            disk.disarm();
            return Found::Keyspace(read(&mut node, now));
        }
    }
    Found::Endless
}

/// Reads all keys of an engine, as a client would.
///
/// # Panics
/// If it does not answer as a server must.
pub fn read(node: &mut Node, now: Now) -> Keyspace {
    let peer = Peer {
        address: "127.0.0.1:1".into(),
        local_address: "127.0.0.1:6379".into(),
        is_unix: false,
        is_local: true,
        descriptor: 7,
    };
    let mut effects = Vec::new();
    let client = node.connect(now, peer, &mut effects);
    let mut keyspace = Keyspace::default();
    for db in ["0", "1"] {
        let names = ask(node, now, client, &[&["SELECT", db], &["KEYS", "*"]]).remove(1);
        for name in names.into_elements().expect("KEYS answers with names") {
            let name = name.as_bytes().expect("names are strings").to_vec();
            let text = String::from_utf8_lossy(&name).into_owned();
            let mut replies = ask(node, now, client, &[&["GET", &text], &["PEXPIRETIME", &text]]);
            let expires_at_ms = replies.remove(1).as_integer().and_then(|at| u64::try_from(at).ok());
            let Reply::Bulk(value) = replies.remove(0) else { continue };
            // A key in the wrong database is not the key.
            let is_at_home = (db == "1") == name.starts_with(DB1_PREFIX);
            let name = if is_at_home { name } else { [b"WRONG DATABASE: ", name.as_slice()].concat() };
            keyspace.insert(name, Entry { value: Value::String(value), expires_at_ms });
        }
    }
    keyspace
}

/// Asks, the disk being one that takes everything: a key that expires while it is read is logged first.
fn ask(node: &mut Node, now: Now, client: ClientId, commands: &[&[&str]]) -> Vec<Reply> {
    let mut request = Vec::new();
    commands.iter().for_each(|command| encode_command(command, &mut request));
    let mut effects = Vec::new();
    node.receive(now, client, &request, &mut effects);
    node.turn(now, &mut effects);
    for _ in 0..EFFECTS_MAX {
        let asked = std::mem::take(&mut effects);
        asked.into_iter().filter_map(completed).for_each(|done| node.complete(now, done, &mut effects));
        node.turn(now, &mut effects);
    }
    let output = node.output(client).to_vec();
    node.sent(now, client, output.len(), &mut effects);
    let mut rest = output.as_slice();
    commands.iter().map(|_| Reply::read_from(&mut rest).expect("a reply to each")).collect()
}

/// Rounds of effects that reading a few keys can ask for.
const EFFECTS_MAX: usize = 16;

fn completed(effect: Effect) -> Option<Completion> {
    match effect {
        Effect::Append { file, bytes } => {
            Some(Completion::Appended { file, written: bytes.len() as u64, error: None })
        }
        Effect::Sync { file } => Some(Completion::Synced { file, elapsed_us: 1, error: None }),
        Effect::Fork(job) => Some(Completion::Forked { ticket: job.ticket, result: Err(12), elapsed_us: 1 }),
        _ => None,
    }
}
