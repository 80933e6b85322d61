//! What clients ask for: weighted commands over a few hot keys, so that histories collide.
//!
//! Always true: a key has one type, told by its name; values are unique, so two states are equal only if nothing that
//! lies between them is left to see; no reply depends on a clock, except through expiry.
//!
//! Not here: what the answer must be (`model.rs`, `history.rs`), when commands are sent (`plan.rs`).

use perdura_sim::SimRng;

use crate::client::encode_command;
use crate::model::{Bytes, Change, Step};

/// One command of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A change of one key. Expiry times are relative until it is sent, milliseconds.
    Write(Step),
    /// GET.
    Get(Bytes),
    /// FLUSHALL.
    FlushAll,
    /// SELECT.
    Select(usize),
    /// MULTI.
    Multi,
    /// A command inside of a transaction.
    Queued(Box<Op>),
    /// EXEC, with what was queued.
    Exec(Vec<Op>),
    /// CONFIG SET.
    Config(&'static str, &'static str),
    /// BGSAVE.
    BgSave,
    /// SAVE.
    Save,
    /// BGREWRITEAOF.
    BgRewrite,
    /// WAITAOF 1 0 with a timeout.
    WaitAof,
    /// SHUTDOWN, with its words.
    Shutdown(&'static [&'static str]),
}

impl Op {
    /// The bytes a client sends.
    pub fn encode(&self) -> Vec<u8> {
        let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let arguments: Vec<Bytes> = match self {
            Op::Write(step) => step.arguments(),
            Op::Get(key) => vec![b"GET".to_vec(), key.clone()],
            Op::FlushAll => words(&["FLUSHALL"]),
            Op::Select(db) => words(&["SELECT", &db.to_string()]),
            Op::Multi => words(&["MULTI"]),
            Op::Queued(op) => return op.encode(),
            Op::Exec(_) => words(&["EXEC"]),
            Op::Config(name, value) => words(&["CONFIG", "SET", name, value]),
            Op::BgSave => words(&["BGSAVE"]),
            Op::Save => words(&["SAVE"]),
            Op::BgRewrite => words(&["BGREWRITEAOF"]),
            Op::WaitAof => words(&["WAITAOF", "1", "0", "8000"]),
            Op::Shutdown(rest) => words(&[&["SHUTDOWN"], *rest].concat()),
        };
        let mut bytes = Vec::new();
        encode_command(&arguments, &mut bytes);
        bytes
    }

    /// The same with relative expiry times made absolute.
    pub fn at(&self, now_ms: u64) -> Op {
        let mut op = self.clone();
        match &mut op {
            Op::Write(Step { change: Change::SetPxat(_, at) | Change::Pexpireat(at), .. }) => *at += now_ms,
            Op::Queued(inner) => **inner = inner.at(now_ms),
            Op::Exec(ops) => ops.iter_mut().for_each(|op| *op = op.at(now_ms)),
            _ => {}
        }
        op
    }

    /// The command as a person would write it.
    pub fn show(&self) -> String {
        let words = match self {
            Op::Queued(op) => return format!("(queued) {}", op.show()),
            Op::Exec(ops) => return format!("EXEC of {}", ops.len()),
            Op::Write(step) => step.arguments(),
            Op::Get(key) => vec![b"GET".to_vec(), key.clone()],
            other => return format!("{other:?}"),
        };
        let show = |word: &Bytes| String::from_utf8_lossy(&word[..word.len().min(24)]).into_owned();
        words.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    /// Nothing can follow on the connection before it is answered.
    pub fn is_blocking(&self) -> bool {
        matches!(self, Op::Save | Op::WaitAof | Op::Shutdown(_))
    }
}

/// Clients alternate between databases; keys of the second begin with this, so that a key in the wrong one is seen.
pub const DB1_PREFIX: &[u8] = b"d1:";

/// Longest filler of a value, bytes: a few pages.
const FILLER_BYTES_MAX: u64 = 9_000;
/// Expiry of keys that expire at all, milliseconds from now.
const EXPIRY_MS: (u64, u64) = (20, 4_000);

/// Draws commands.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Values so far: each is used once.
    serial: u64,
    /// Of a thousand values so many are long.
    pub filler_permille: u32,
    /// Of a thousand writes of a string so many expire.
    pub expiry_permille: u32,
    /// Of a thousand commands so many are FLUSHALL.
    pub flush_permille: u32,
}

impl Workload {
    /// The workload of one plan.
    pub fn draw(rng: &mut SimRng) -> Workload {
        Workload {
            serial: 0,
            filler_permille: [0, 20, 200][rng.index(3)],
            expiry_permille: [0, 0, 100, 400][rng.index(4)],
            flush_permille: [0, 5, 30][rng.index(3)],
        }
    }

    /// A command for a client of this database.
    pub fn command(&mut self, db: usize, rng: &mut SimRng) -> Op {
        if rng.chance(self.flush_permille) {
            return Op::FlushAll;
        }
        match rng.below(10) {
            0..2 => Op::Get(key(db, *pick(b"sca", rng), rng)),
            2..5 => Op::Write(Step { key: key(db, b's', rng), change: self.string_change(rng) }),
            5..7 => Op::Write(Step { key: key(db, b'c', rng), change: counter_change(rng) }),
            _ => Op::Write(Step { key: key(db, b'a', rng), change: self.append_change(rng) }),
        }
    }

    /// A transaction of a client of this database, without its MULTI and EXEC.
    pub fn transaction(&mut self, db: usize, rng: &mut SimRng) -> Vec<Op> {
        (0..rng.between(2, 5)).map(|_| self.command(db, rng)).collect()
    }

    fn string_change(&mut self, rng: &mut SimRng) -> Change {
        let expiry = rng.chance(self.expiry_permille);
        match rng.below(10) {
            0..2 => Change::Del,
            2 if expiry => Change::Pexpireat(rng.between(EXPIRY_MS.0, EXPIRY_MS.1)),
            3 if expiry => Change::Persist,
            _ if expiry => Change::SetPxat(self.value(rng), rng.between(EXPIRY_MS.0, EXPIRY_MS.1)),
            _ => Change::Set(self.value(rng)),
        }
    }

    fn append_change(&mut self, rng: &mut SimRng) -> Change {
        if rng.chance(80) { Change::Del } else { Change::Append(self.value(rng)) }
    }

    fn value(&mut self, rng: &mut SimRng) -> Bytes {
        self.serial += 1;
        let mut value = format!("v{};", self.serial).into_bytes();
        if rng.chance(self.filler_permille) {
            // Not zeroes, and not the same in each sector: a hole or a swap must show.
            let len = rng.between(100, FILLER_BYTES_MAX) as usize;
            value.extend((0..len).map(|index| b'a' + ((index / 512 + index) % 26) as u8));
        }
        value
    }
}

fn counter_change(rng: &mut SimRng) -> Change {
    if rng.chance(60) { Change::Del } else { Change::Incrby(rng.between(1, 9) as i64) }
}

/// Keys of one type in one database: few, so that commands meet.
const KEYS_PER_TYPE: u64 = 4;

fn key(db: usize, kind: u8, rng: &mut SimRng) -> Bytes {
    let name = format!("{}{}", char::from(kind), rng.below(KEYS_PER_TYPE));
    if db == 0 { name.into_bytes() } else { [DB1_PREFIX, name.as_bytes()].concat() }
}

fn pick<'a, T>(choices: &'a [T], rng: &mut SimRng) -> &'a T {
    &choices[rng.index(choices.len())]
}
