//! What clients ask for: weighted commands of all types over a few hot keys, so that histories collide.
//!
//! Always true: values are unique, so two states are equal only if nothing that lies between them is left to see; the
//! seed alone decides.
//!
//! Not here: the commands on data, by family (`data.rs`, `streams.rs`), what the answer must be (`../../model/`), when
//! commands are sent (`../plan.rs`).

mod data;
mod streams;

use perdura_sim::SimRng;

use crate::client::encode_command;
use crate::model::Bytes;

/// A command on data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its words.
    pub words: Vec<Bytes>,
    /// What it reads or changes.
    pub keys: Keys,
    /// This word is a time from now, milliseconds, until it is sent.
    relative: Option<usize>,
    /// What the script calls, if it is one.
    pub calls: Vec<Command>,
}

/// Each argument is a command: its words, with spaces between. Whatever fails, the next one is called.
const CALLS_SCRIPT: &str = "local failed = 0 \
     for _, line in ipairs(ARGV) do \
         local words = {} \
         for word in string.gmatch(line, '%S+') do words[#words + 1] = word end \
         local reply = redis.pcall(unpack(words)) \
         if type(reply) == 'table' and reply.err then failed = failed + 1 end \
     end \
     return failed";

/// Which keys a command looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// These, in the database of its client.
    These(Vec<Bytes>),
    /// Whatever is there.
    All,
}

impl Command {
    /// A command on the keys at these places.
    fn at(line: &[&str], keys: &[usize]) -> Command {
        let words: Vec<Bytes> = line.iter().map(|word| word.as_bytes().to_vec()).collect();
        let keys = Keys::These(keys.iter().map(|index| words[*index].clone()).collect());
        Command { words, keys, relative: None, calls: Vec::new() }
    }

    /// A script that makes these calls, and answers how many of them failed.
    fn script(calls: Vec<Command>) -> Command {
        let named = |call: &Command| match &call.keys {
            Keys::These(keys) => keys.clone(),
            Keys::All => Vec::new(),
        };
        let keys: Vec<Bytes> = calls.iter().flat_map(named).collect();
        let mut words = vec![b"EVAL".to_vec(), CALLS_SCRIPT.into(), keys.len().to_string().into_bytes()];
        words.extend(keys.iter().cloned());
        words.extend(calls.iter().map(|call| call.words.join(&b' ')));
        Command { words, keys: Keys::These(keys), relative: None, calls }
    }

    /// It can be one of a script's calls, which are lines of words.
    fn can_be_called(&self) -> bool {
        let is_plain = |word: &Bytes| !word.is_empty() && !word.contains(&b' ');
        let is_known = matches!(self.keys, Keys::These(_)) && self.relative.is_none();
        is_known && !self.may_wait() && !self.is_chancy() && self.words.iter().all(is_plain)
    }

    /// A command on the key that is its second word.
    pub fn new(line: &[&str]) -> Command {
        Command::at(line, &[1])
    }

    /// A command that looks at more than a few keys.
    pub fn on_all(line: &[&str]) -> Command {
        Command { keys: Keys::All, ..Command::at(line, &[]) }
    }

    /// The word there is a time from now.
    fn due_in(self, index: usize) -> Command {
        Command { relative: Some(index), ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.words[0]).expect("names are plain")
    }

    /// Chance decides what it does, or the model does not know.
    fn is_chancy(&self) -> bool {
        matches!(self.name(), "SPOP" | "PFADD" | "PFMERGE" | "PFCOUNT")
    }

    /// Itself or its calls, as far as they change a key only to remember what they were asked.
    pub fn that_note(&self) -> Vec<Command> {
        match self.name() {
            "PFCOUNT" => vec![self.clone()],
            _ => self.calls.iter().flat_map(Command::that_note).collect(),
        }
    }

    /// It is a script.
    pub fn is_script(&self) -> bool {
        self.name() == "EVAL"
    }

    /// Its client may have to wait.
    pub fn may_wait(&self) -> bool {
        matches!(
            self.name(),
            "BLPOP" | "BRPOP" | "BLMOVE" | "BRPOPLPUSH" | "BLMPOP" | "BZPOPMIN" | "BZPOPMAX" | "BZMPOP"
        ) || self.words.iter().any(|word| word == b"BLOCK")
    }

    /// How long a client waits for it at most, milliseconds; 0 is for ever.
    pub fn timeout_ms(&self) -> u64 {
        let text = |word: &Bytes| String::from_utf8_lossy(word).parse::<f64>().unwrap_or(0.0);
        let block = self.words.iter().position(|word| word == b"BLOCK");
        match (block, self.name()) {
            (Some(index), _) => text(&self.words[index + 1]) as u64,
            (None, "BLMPOP" | "BZMPOP") => (text(&self.words[1]) * 1_000.0) as u64,
            (None, _) => (text(self.words.last().expect("it has words")) * 1_000.0) as u64,
        }
    }
}

/// One command of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A command on data; queued inside of a transaction.
    Data(Command),
    /// SELECT.
    Select(usize),
    /// MULTI.
    Multi,
    /// EXEC.
    Exec,
    /// DISCARD.
    Discard,
    /// WATCH.
    Watch(Vec<Bytes>),
    /// UNWATCH.
    Unwatch,
    /// CONFIG SET.
    Config(&'static str, &'static str),
    /// INFO persistence.
    Info,
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
    /// The words a client sends.
    fn words(&self) -> Vec<Bytes> {
        let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        match self {
            Op::Data(command) => command.words.clone(),
            Op::Select(db) => words(&["SELECT", &db.to_string()]),
            Op::Multi => words(&["MULTI"]),
            Op::Exec => words(&["EXEC"]),
            Op::Discard => words(&["DISCARD"]),
            Op::Watch(keys) => [words(&["WATCH"]), keys.clone()].concat(),
            Op::Unwatch => words(&["UNWATCH"]),
            // In a configuration file `""` is an empty word.
            Op::Config(name, value) => words(&["CONFIG", "SET", name, value.trim_matches('"')]),
            Op::Info => words(&["INFO", "persistence"]),
            Op::BgSave => words(&["BGSAVE"]),
            Op::Save => words(&["SAVE"]),
            Op::BgRewrite => words(&["BGREWRITEAOF"]),
            Op::WaitAof => words(&["WAITAOF", "1", "0", "8000"]),
            Op::Shutdown(rest) => words(&[&["SHUTDOWN"], *rest].concat()),
        }
    }

    /// The bytes a client sends.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_command(&self.words(), &mut bytes);
        bytes
    }

    /// The same with relative times made absolute.
    pub fn at(&self, now_ms: u64) -> Op {
        let mut op = self.clone();
        if let Op::Data(command) = &mut op
            && let Some(index) = command.relative.take()
        {
            let ms: u64 = String::from_utf8_lossy(&command.words[index]).parse().expect("a time from now");
            command.words[index] = (now_ms + ms).to_string().into_bytes();
        }
        op
    }

    /// The command as a person would write it.
    pub fn show(&self) -> String {
        let show = |word: &Bytes| String::from_utf8_lossy(&word[..word.len().min(24)]).into_owned();
        if let Op::Data(command) = self
            && command.is_script()
        {
            let calls = command.calls.iter().map(|call| Op::Data(call.clone()).show());
            return format!("EVAL ({})", calls.collect::<Vec<_>>().join("; "));
        }
        self.words().iter().map(show).collect::<Vec<_>>().join(" ")
    }

    /// It is about data, and about nothing else.
    pub fn is_data(&self) -> bool {
        matches!(self, Op::Data(_) | Op::Exec)
    }

    /// Nothing can follow on the connection before it is answered.
    pub fn is_blocking(&self) -> bool {
        matches!(self, Op::Save | Op::WaitAof | Op::Shutdown(_))
    }

    /// Nothing may be sent behind it, because its client may have to wait.
    pub fn ends_pipeline(&self) -> bool {
        self.is_blocking() || matches!(self, Op::Data(command) if command.may_wait())
    }
}

/// Longest filler of a value, bytes: a few pages.
const FILLER_BYTES_MAX: u64 = 9_000;
/// Expiry of keys that expire at all, milliseconds from now.
const EXPIRY_MS: (u64, u64) = (20, 4_000);
/// Keys of one kind in one database: few, so that commands meet.
const KEYS_PER_KIND: u64 = 3;
/// Of a thousand keys so many are of another kind than the command is for.
const WRONG_KIND_PERMILLE: u32 = 25;

/// A family of commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // Their names say it.
enum Family {
    Strings,
    Counters,
    Appends,
    Bits,
    Registers,
    Lists,
    Sets,
    Hashes,
    Zsets,
    Places,
    Streams,
    Keys,
    Databases,
    Waits,
    Scripts,
}

const FAMILIES: [Family; 15] = [
    Family::Strings,
    Family::Counters,
    Family::Appends,
    Family::Bits,
    Family::Registers,
    Family::Lists,
    Family::Sets,
    Family::Hashes,
    Family::Zsets,
    Family::Places,
    Family::Streams,
    Family::Keys,
    Family::Databases,
    Family::Waits,
    Family::Scripts,
];

/// Draws commands.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Values so far: each is used once.
    serial: u64,
    /// The families of this plan: some leave many out, so that the others meet more often.
    families: Vec<Family>,
    /// Of a thousand values so many are long.
    filler_permille: u32,
    /// Of a thousand changes of a key or a field so many are about its expiry.
    expiry_permille: u32,
    /// Of a thousand commands so many empty or swap whole databases.
    database_permille: u32,
}

impl Workload {
    /// The workload of one plan.
    pub fn draw(rng: &mut SimRng) -> Workload {
        let share = [150, 500, 1_000][rng.index(3)];
        let mut families: Vec<Family> = FAMILIES.into_iter().filter(|_| rng.chance(share)).collect();
        // Strings, counters and appends show most: one of them is always there.
        families.push(FAMILIES[rng.index(3)]);
        Workload {
            serial: 0,
            families,
            filler_permille: [0, 20, 200][rng.index(3)],
            expiry_permille: [0, 0, 100, 400][rng.index(4)],
            database_permille: [0, 5, 30][rng.index(3)],
        }
    }

    /// From now on nearly all commands are about streams.
    pub fn dwell_on_streams(&mut self) {
        self.families = vec![Family::Streams, Family::Streams, Family::Strings];
        self.database_permille = 0;
    }

    /// From now on no command is about expiry.
    pub fn draw_no_expiry(&mut self) {
        self.expiry_permille = 0;
    }

    /// A command for a client of this database.
    pub fn command(&mut self, db: usize, rng: &mut SimRng) -> Command {
        let family = match rng.chance(self.database_permille) {
            true => Family::Databases,
            false => self.families[rng.index(self.families.len())],
        };
        match family {
            Family::Strings => self.string(rng),
            Family::Counters => self.counter(rng),
            Family::Appends => self.append(rng),
            Family::Bits => self.bits(rng),
            Family::Registers => self.registers(rng),
            Family::Lists => self.list(rng),
            Family::Sets => self.set(rng),
            Family::Hashes => self.hash(rng),
            Family::Zsets => self.zset(rng),
            Family::Places => self.place(rng),
            Family::Streams => self.stream(rng),
            Family::Keys => self.any_key(db, rng),
            Family::Databases if rng.chance(300) => self.database(rng),
            Family::Databases => Command::on_all(&["DBSIZE"]),
            Family::Waits => self.wait(rng),
            Family::Scripts => self.script(db, rng),
        }
    }

    /// A key that is to live so long, milliseconds, and the command that makes it stay.
    pub fn outliving(&mut self, ms: u64, rng: &mut SimRng) -> [Command; 2] {
        let (key, value) = (self.key('s', rng), self.value(rng));
        [Command::new(&["SET", &key, &value, "PX", &ms.to_string()]), Command::new(&["PERSIST", &key])]
    }

    /// The commands of a transaction. What chance decides can be told afterwards only if nothing else touches its key.
    pub fn transaction(&mut self, db: usize, rng: &mut SimRng) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        for _ in 0..rng.between(2, 5) {
            let command = self.command(db, rng);
            let meets = commands.iter().any(|other| {
                overlap(&command.keys, &other.keys) && (command.is_chancy() || other.is_chancy())
            });
            if !meets {
                commands.push(command);
            }
        }
        commands
    }

    fn script(&mut self, db: usize, rng: &mut SimRng) -> Command {
        // A script makes no scripts.
        let families = self.families.clone();
        self.families.retain(|family| *family != Family::Scripts);
        let calls = self.transaction(db, rng).into_iter().filter(Command::can_be_called).collect();
        self.families = families;
        Command::script(calls)
    }

    /// Keys to watch: hot ones, but no streams. Which changes of a group touch its stream is no contract.
    pub fn watched(&mut self, rng: &mut SimRng) -> Vec<Bytes> {
        let kinds = &KINDS[..KINDS.len() - 1];
        let keys = (0..rng.between(1, 3))
            .map(|_| format!("{}{}", kinds[rng.index(kinds.len())], rng.below(KEYS_PER_KIND)));
        keys.map(String::into_bytes).collect()
    }

    fn key(&mut self, kind: char, rng: &mut SimRng) -> String {
        // HyperLogLogs and places are left alone: what else may be done to their bytes and scores is no contract. Streams
        // stay where they are.
        let is_wrong = !matches!(kind, 'p' | 'g' | 'x') && rng.chance(WRONG_KIND_PERMILLE);
        let kind = if is_wrong { KINDS[rng.index(KINDS.len())] } else { kind };
        format!("{kind}{}", rng.below(KEYS_PER_KIND))
    }

    fn value(&mut self, rng: &mut SimRng) -> String {
        self.serial += 1;
        let mut value = format!("v{};", self.serial);
        if rng.chance(self.filler_permille) {
            // Not zeroes, and not the same in each sector: a hole or a swap must show.
            let len = rng.between(100, FILLER_BYTES_MAX) as usize;
            value.extend((0..len).map(|index| char::from(b'a' + ((index / 512 + index) % 26) as u8)));
        }
        value
    }

    fn expires(&self, rng: &mut SimRng) -> bool {
        rng.chance(self.expiry_permille)
    }
}

/// The kinds of keys, by the first letter of their names: string, counter, append, bits, list, set, hash, zset, stream; HyperLogLogs
/// and places aside.
const KINDS: [char; 9] = ['s', 'c', 'a', 'b', 'l', 'e', 'h', 'z', 'x'];

fn overlap(a: &Keys, b: &Keys) -> bool {
    match (a, b) {
        (Keys::These(a), Keys::These(b)) => a.iter().any(|key| b.contains(key)),
        _ => true,
    }
}

fn pick<'a>(choices: &[&'a str], rng: &mut SimRng) -> &'a str {
    choices[rng.index(choices.len())]
}

fn number(from: u64, to: u64, rng: &mut SimRng) -> String {
    rng.between(from, to).to_string()
}

/// A whole number or one with a fraction that is written exactly, sometimes below zero.
fn score(rng: &mut SimRng) -> String {
    let quarters = rng.below(81) as i64 - 40;
    format!("{}", quarters as f64 / 4.0 + 0.0)
}
