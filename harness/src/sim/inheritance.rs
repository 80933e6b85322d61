//! What lies in the directory when a run begins: nothing, or what another server left there.
//!
//! Exists because a server is rarely the first on its disk: the single log of an older one, whole, torn or damaged, and a set that
//! a stock server went on in. All of it is durable; nobody knows that but the judge.
//!
//! Not here: what decays later (`plan.rs`, `Damage`).

use perdura_core::host::{Disk as _, FileId, FileStep};
use perdura_core::persist::batch;
use perdura_sim::SimDisk;
use strum::VariantArray;

use crate::model::{Entry, Keyspace, Value};
use crate::reference::crc64;

/// What another server left.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, VariantArray)]
pub enum Inheritance {
    /// Nothing.
    #[default]
    Nothing,
    /// The single file of an older server.
    OldLog,
    /// The same, begun with a snapshot; the first command behind that is torn (W7b).
    TornOldLog,
    /// The same, and a record has too few arguments: this is refused (W21).
    ShortRecord,
    /// A set of ours that a stock server went on in, and crashed in the middle of a transaction.
    OpenMulti,
    /// A set of ours that a stock server went on in: records without a header before and behind a batch that has one.
    SharedSet,
}

const OLD_LOG: &str = "appendonly.aof";
const SET_DIR: &str = "appendonlydir";

impl Inheritance {
    /// Whether no server may start from it.
    pub fn is_refused(self) -> bool {
        self == Inheritance::ShortRecord
    }

    /// The data set that it holds.
    pub fn keyspace(self) -> Keyspace {
        let string = |text: &str| Value::String(text.into());
        let entries: Vec<(&str, Value)> = match self {
            Inheritance::Nothing | Inheritance::ShortRecord => vec![],
            Inheritance::OldLog => vec![("s0", string("old")), ("s1", string("old"))],
            Inheritance::TornOldLog | Inheritance::OpenMulti => vec![("s0", string("old"))],
            Inheritance::SharedSet => {
                vec![("c0", string("3")), ("l0", Value::List([b"a".to_vec(), b"b".to_vec()].into()))]
            }
        };
        let mut keyspace = Keyspace::default();
        for (key, value) in entries {
            keyspace.insert(0, key.into(), Entry::lasting(value));
        }
        keyspace
    }

    /// The files, by path.
    fn files(self) -> Vec<(String, Vec<u8>)> {
        let set = |key: &str| record(&["SET", key, "old"]);
        let select = record(&["SELECT", "0"]);
        match self {
            Inheritance::Nothing => vec![],
            Inheritance::OldLog => vec![(OLD_LOG.into(), [select, set("s0"), set("s1")].concat())],
            Inheritance::TornOldLog => {
                let mut torn = set("s1");
                torn.truncate(torn.len() - 3);
                vec![(OLD_LOG.into(), [snapshot("s0", "old"), torn].concat())]
            }
            Inheritance::ShortRecord => vec![(OLD_LOG.into(), [select, record(&["SET", "s0"])].concat())],
            Inheritance::SharedSet => {
                let [first, batch] = ["a", "b"]
                    .map(|value| [record(&["INCR", "c0"]), record(&["RPUSH", "l0", value])].concat());
                let first = [select, first].concat();
                let sealed = batch::seal((first.len() + batch.len()) as u64, 0, &batch);
                set_of(vec![("1.incr.aof", [&first[..], &sealed, &record(&["INCR", "c0"])].concat())])
            }
            Inheritance::OpenMulti => {
                let incr = [select, set("s0"), record(&["MULTI"]), record(&["SET", "s0", "half"])].concat();
                set_of(vec![("1.base.aof", batch::seal(0, 0, b"").to_vec()), ("1.incr.aof", incr)])
            }
        }
    }

    /// Puts it on the disk, durable.
    ///
    /// # Panics
    /// The disk has faults already.
    pub fn leave_on(self, disk: &mut SimDisk) {
        let mut steps = Vec::new();
        let files = self.files();
        if files.iter().any(|(path, _)| path.starts_with(SET_DIR)) {
            steps.push(FileStep::CreateDir { path: SET_DIR.into() });
        }
        for (number, (path, bytes)) in (0..).zip(files) {
            let file = FileId(u32::MAX - 3 - number);
            steps.push(FileStep::CreateExclusive { file, path: path.clone() });
            steps.push(FileStep::Append { file, bytes: bytes.into() });
            steps.push(FileStep::Sync { file });
            steps.extend(path.split_once('/').map(|(dir, _)| FileStep::SyncDir { path: dir.into() }));
        }
        steps.push(FileStep::SyncDir { path: String::new() });
        let process = disk.spawn();
        let mut handle = disk.handle(process);
        steps.iter().for_each(|step| handle.perform(step).expect("nothing fails before the first start"));
        disk.kill(process);
    }
}

/// A set of these files, each named from its number on.
fn set_of(parts: Vec<(&str, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let kind = |name: &str| if name.contains("base") { 'b' } else { 'i' };
    let line = |name: &str| format!("file appendonly.aof.{name} seq 1 type {}\n", kind(name));
    let manifest = parts.iter().map(|(name, _)| line(name)).collect::<String>().into_bytes();
    let in_set = |name: &str| format!("{SET_DIR}/appendonly.aof.{name}");
    let parts = parts.into_iter().chain([("manifest", manifest)]);
    parts.map(|(name, bytes)| (in_set(name), bytes)).collect()
}

/// A command as it stands in a log.
fn record(words: &[&str]) -> Vec<u8> {
    let bulk = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
    format!("*{}\r\n{}", words.len(), words.iter().map(bulk).collect::<String>()).into_bytes()
}

/// A snapshot of one short string.
fn snapshot(key: &str, value: &str) -> Vec<u8> {
    let mut bytes = b"REDIS0009\xfe\x00\x00".to_vec();
    for text in [key, value] {
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.push(0xff);
    let sum = crc64(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}
