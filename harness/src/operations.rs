//! What a recording client does at each number: the commands, and what they must answer.
//!
//! Exists so that nothing has to be logged while a server is being killed: an operation is a pure function of the plan, the
//! client and the number, and each client owns its keys, so that the state after any number of them is known.
//!
//! Always true: what an operation does to the keys depends on no clock and on nobody else. Where a time is in it, the keys
//! that it is set on are changed only by commands that do not ask whether they are still there.
//!
//! Not here: the draw of each kind (`operations/draw.rs`), who sends them and how far he is (`record.rs`), what a command
//! does (`model/`).

mod draw;

use crate::client::Reply;
use crate::model::{Answer, Bytes, Keyspace};
use crate::rng::Rng;
use draw::Draw;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use strum::{IntoStaticStr, VariantArray};

/// A kind of write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Family {
    /// SET and its relatives, APPEND, MSET, DEL.
    Strings,
    /// INCRBY and its relatives.
    Counters,
    /// SETBIT, BITFIELD, BITOP, SETRANGE.
    Bits,
    /// PFADD, PFMERGE.
    Hyperloglogs,
    /// Pushes, pops, moves and trims.
    Lists,
    /// HSET, HDEL, HINCRBY and their relatives.
    Hashes,
    /// SADD, SREM, SMOVE, SPOP, and sets made of others.
    Sets,
    /// ZADD, ZINCRBY, ZREM, pops, and sorted sets made of others.
    Zsets,
    /// GEOADD, GEOSEARCHSTORE.
    Places,
    /// XADD, XDEL, XTRIM, XSETID.
    Streams,
    /// Consumer groups: made, read from, acknowledged to, claimed from, removed.
    Groups,
    /// RENAME, COPY, UNLINK and PEXPIREAT on keys of all kinds.
    Keys,
    /// Expiries of strings that do not come in any run: they must be kept.
    Expiries,
    /// Expiries of strings that come while the server runs, while it is down, and later.
    Fading,
    /// The same of fields of hashes.
    Fields,
    /// Writes of two to five draws of the other families in one MULTI.
    Multi,
    /// The same in one EVAL.
    Scripts,
}

impl Family {
    /// As written on the command line and in keys.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether its operations are made of the other families' writes.
    pub fn is_composed(self) -> bool {
        matches!(self, Family::Multi | Family::Scripts)
    }

    /// The family whose keys it works on; [`Family::Keys`] works on those of all families that do not fade.
    fn home(self) -> Family {
        if matches!(self, Family::Expiries | Family::Keys) { Family::Strings } else { self }
    }

    /// Whether what it writes goes by itself while somebody may look.
    fn fades(self) -> bool {
        matches!(self, Family::Fading | Family::Fields)
    }

    /// Keys of one client: few enough that every key is changed often, and that judging stays quick.
    fn keys_per_client(self) -> u64 {
        match self {
            // Large each, or changed only where several operations meet.
            Family::Hyperloglogs | Family::Groups => 4,
            _ => 16,
        }
    }
}

/// What all clients of a run do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything but times.
    pub seed: u64,
    /// Kinds of writes, at least one of them not composed of others.
    pub families: Vec<Family>,
    /// What times are counted from, milliseconds of unix time: about when the operations are sent.
    pub epoch_ms: u64,
}

/// One command, and the keys in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The keys it changes, and those that it reads.
    pub keys: Vec<Bytes>,
    /// As it is sent.
    pub words: Vec<Bytes>,
    /// The answer says whether something was still there whose time may have come.
    pub is_timed: bool,
}

impl Step {
    /// Makes the change and gives what a server may answer.
    pub fn apply(&self, keyspace: &mut Keyspace) -> Answer {
        let answer = keyspace.apply(&self.words);
        if self.is_timed { Answer::Anything } else { answer }
    }
}

/// What a client does at one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// One command.
    Single(Step),
    /// `MULTI`, the commands, `EXEC`.
    Block(Vec<Step>),
    /// `EVAL` of [`SCRIPT`] with the commands as its arguments.
    Script(Vec<Step>),
}

/// Runs the commands in its arguments, each behind its number of words, and gives their replies, errors among them. A
/// server that takes no writes at all is another matter: then nothing has been done.
const SCRIPT: &str = "\
local replies, at = {}, 1
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  local reply = redis.pcall(unpack(ARGV, at + 1, at + words))
  if type(reply) == 'table' and reply.err and reply.err:find('MISCONF', 1, true) then return reply end
  replies[#replies + 1] = reply
  at = at + words + 1
end
return replies";

impl Operation {
    /// Its writes, in order.
    pub fn steps(&self) -> &[Step] {
        match self {
            Operation::Single(step) => std::slice::from_ref(step),
            Operation::Block(steps) | Operation::Script(steps) => steps,
        }
    }

    /// As it is sent.
    pub fn commands(&self) -> Vec<Vec<Bytes>> {
        let bare = |name: &str| vec![name.as_bytes().to_vec()];
        let steps = self.steps().iter().map(|step| step.words.clone());
        match self {
            Operation::Single(_) => steps.collect(),
            Operation::Block(_) => [bare("MULTI")].into_iter().chain(steps).chain([bare("EXEC")]).collect(),
            Operation::Script(_) => vec![self.script()],
        }
    }

    /// The words of the one `EVAL`.
    fn script(&self) -> Vec<Bytes> {
        let number = |number: usize| number.to_string().into_bytes();
        let keys: Vec<Bytes> = self.steps().iter().flat_map(|step| step.keys.clone()).collect();
        let mut words = vec![b"EVAL".to_vec(), SCRIPT.into(), number(keys.len())];
        words.extend(keys);
        for step in self.steps() {
            words.push(number(step.words.len()));
            words.extend(step.words.clone());
        }
        words
    }

    /// Makes the changes and gives what the server may answer to each command.
    pub fn apply(&self, keyspace: &mut Keyspace) -> Vec<Answer> {
        let answers: Vec<Answer> = self.steps().iter().map(|step| step.apply(keyspace)).collect();
        let said = |text: &str| Answer::Exactly(Reply::Simple(text.into()));
        match self {
            Operation::Single(_) => answers,
            Operation::Block(steps) => {
                let queued = steps.iter().map(|_| said("QUEUED"));
                [said("OK")].into_iter().chain(queued).chain([Answer::Each(answers)]).collect()
            }
            Operation::Script(_) => vec![Answer::Each(answers)],
        }
    }
}

/// The time of day, milliseconds of unix time.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

impl Plan {
    /// A plan for a run that begins now.
    pub fn starting_now(seed: u64, families: Vec<Family>) -> Plan {
        Plan { seed, families, epoch_ms: unix_ms() }
    }

    /// What `client` does at `number`, always the same.
    pub fn operation(&self, client: u64, number: u64) -> Operation {
        let mut rng = Rng::at(self.seed, client, number);
        let family = *rng.choose(&self.families);
        let mut draw = Draw { plan: self, rng, client, number, index: 0 };
        if !family.is_composed() {
            let mut steps = draw.steps(family);
            // Several belong together, and half of them is no state that may be seen.
            let is_single = steps.len() == 1;
            return if is_single { Operation::Single(steps.remove(0)) } else { Operation::Block(steps) };
        }
        let plain: Vec<Family> = self.plain_families().collect();
        let steps = (0..2 + draw.rng.below(4)).flat_map(|index| {
            draw.index = index;
            // Round the families, so that one operation touches several.
            draw.steps(plain[((index + number) % plain.len() as u64) as usize])
        });
        let steps = steps.collect();
        if family == Family::Multi { Operation::Block(steps) } else { Operation::Script(steps) }
    }

    /// Every key `client` may ever have.
    pub fn keys(&self, client: u64) -> Vec<Bytes> {
        self.homes().into_iter().flat_map(|home| keys_of(client, home)).collect()
    }

    /// Keys of `client` that hold strings which say when they were set.
    pub fn dated_keys(&self, client: u64) -> Vec<Bytes> {
        keys_of(client, Family::Strings).collect()
    }

    /// Keys of `client` that go by themselves, whole or in part.
    pub fn fading_keys(&self, client: u64) -> BTreeSet<Bytes> {
        self.homes().into_iter().filter(|home| home.fades()).flat_map(|home| keys_of(client, home)).collect()
    }

    /// Whether something is written at all.
    pub fn has_plain_family(&self) -> bool {
        self.plain_families().next().is_some()
    }

    fn homes(&self) -> BTreeSet<Family> {
        self.plain_families().map(Family::home).collect()
    }

    fn plain_families(&self) -> impl Iterator<Item = Family> {
        self.families.iter().copied().filter(|family| !family.is_composed())
    }
}

fn keys_of(client: u64, home: Family) -> impl Iterator<Item = Bytes> {
    (0..home.keys_per_client()).map(move |index| key(client, home, index))
}

fn key(client: u64, home: Family, index: u64) -> Bytes {
    format!("c{client}:{}:{index}", home.name()).into_bytes()
}

/// Operations that must have been made for a string key to hold `value`: its text says who set it, and when.
///
/// `None` if the string was begun by APPEND, which does not say.
pub fn operations_shown(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(&value[..value.len().min(64)]).ok()?;
    if text.starts_with('+') {
        return None;
    }
    let number: u64 = text.split('.').nth(1)?.parse().ok()?;
    Some(number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(families: &[Family]) -> Plan {
        Plan { seed: 7, families: families.to_vec(), epoch_ms: 1_000_000 }
    }

    #[test]
    fn an_operation_depends_on_nothing_but_its_place() {
        let plan = plan(Family::VARIANTS);
        for number in 0..1000 {
            assert_eq!(plan.operation(1, number), plan.operation(1, number));
        }
        assert_ne!(plan.operation(1, 5), plan.operation(2, 5));
    }

    #[test]
    fn an_operation_touches_only_keys_its_client_owns_and_names_them() {
        let plan = plan(Family::VARIANTS);
        let keys: BTreeSet<Bytes> = plan.keys(1).into_iter().collect();
        assert!(plan.keys(2).iter().all(|key| !keys.contains(key)));
        for number in 0..5000 {
            for step in plan.operation(1, number).steps() {
                assert!(step.keys.iter().all(|key| keys.contains(key)), "{step:?}");
                let mut in_words = step.words.iter().filter(|word| word.starts_with(b"c1:"));
                assert!(in_words.all(|word| step.keys.contains(word)), "{step:?}");
            }
        }
    }

    /// A command that is refused must leave the model alone, or everything after it is judged wrongly. And one that never
    /// succeeds would show nothing.
    #[test]
    fn every_command_succeeds_sometimes_and_changes_nothing_when_it_does_not() {
        let plan = plan(Family::VARIANTS);
        let mut keyspace = Keyspace::default();
        let (mut drawn, mut done) = (BTreeSet::new(), BTreeSet::new());
        for number in 0..40_000 {
            for step in plan.operation(1, number).steps() {
                let is_container = matches!(step.words[0].as_slice(), b"XGROUP" | b"BITOP" | b"BITFIELD");
                let words = if is_container { &step.words[..2] } else { &step.words[..1] };
                let name = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
                let name = if step.words[0] == b"BITFIELD" { "BITFIELD".to_string() } else { name };
                let before = keyspace.clone();
                if step.apply(&mut keyspace).is_error() {
                    assert_eq!(keyspace, before, "{step:?}");
                } else if !keyspace.changed_since(&before).is_empty() {
                    done.insert(name.clone());
                }
                drawn.insert(name);
            }
        }
        assert_eq!(done, drawn);
        assert!(drawn.len() > 70, "{drawn:?}");
    }

    #[test]
    fn a_string_says_after_how_many_operations_it_can_be_seen() {
        let plan = plan(&[Family::Strings, Family::Expiries, Family::Keys]);
        let mut keyspace = Keyspace::default();
        for number in 0..2000 {
            plan.operation(3, number).apply(&mut keyspace);
            for key in plan.dated_keys(3) {
                let Some(entry) = keyspace.get(0, &key) else { continue };
                let crate::model::Value::String(value) = &entry.value else { panic!("{entry:?}") };
                assert!(operations_shown(value).is_none_or(|count| count <= number + 1), "{entry:?}");
            }
        }
        assert_eq!(operations_shown(b"3.4.0:aaa"), Some(5));
        assert_eq!(operations_shown(b"+1.4"), None);
        assert_eq!(operations_shown(b""), None);
    }

    #[test]
    fn a_script_gets_each_command_behind_its_number_of_words() {
        let step = |words: &str| {
            let words: Vec<Bytes> = words.split(' ').map(Bytes::from).collect();
            Step { keys: vec![words[1].clone()], words, is_timed: false }
        };
        let script = Operation::Script(vec![step("INCRBY a 5"), step("LPOP b")]);
        let [words] = &script.commands()[..] else { panic!("one command") };
        let text = |words: &[Bytes]| words.join(&b' ');
        assert_eq!(text(&words[..1]), b"EVAL");
        assert_eq!(text(&words[2..]), b"2 a b 3 INCRBY a 5 2 LPOP b");
        let answers = script.apply(&mut Keyspace::default());
        assert!(answers[0].allows(&Reply::Array(vec![Reply::Integer(5), Reply::Null])));
        assert!(!answers[0].allows(&Reply::Array(vec![Reply::Integer(5)])));
        assert!(!answers[0].allows(&Reply::Array(vec![Reply::Integer(5), Reply::Integer(5)])));
    }
}
