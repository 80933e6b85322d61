//! What a benchmark asks of a server: requests with numbers left open, encoded once.
//!
//! Exists so that the client never is the limit: making a request is one copy and a few digits.
//!
//! Always true: a request's size does not depend on the numbers put into it.
//!
//! Not here: when requests are sent (`load.rs`) and how results are compared (`bench.rs`).

use crate::client::encode_command;
use crate::rng::Rng;

/// Digits of a number in a request.
const DIGITS: usize = 12;
/// Stands for a key's number while a template is made; as long as the number.
const KEY_HOLE: &str = "<key-number>";
/// Stands for the number of a member, field or element.
const MEMBER_HOLE: &str = "<mem-number>";
/// Members, fields or elements per collection.
const MEMBERS: u64 = 100;

const _: () = assert!(KEY_HOLE.len() == DIGITS && MEMBER_HOLE.len() == DIGITS);

/// A request with holes.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    holes: Vec<Hole>,
}

#[derive(Clone, Debug)]
struct Hole {
    offset: usize,
    kind: HoleKind,
    /// Numbers put in are below this.
    end: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HoleKind {
    Key,
    Member,
}

impl Template {
    fn new(arguments: &[&str], keys: u64) -> Template {
        assert!(keys > 0, "at least one key");
        let mut bytes = Vec::new();
        encode_command(arguments, &mut bytes);
        let mut holes = Vec::new();
        for offset in 0..bytes.len() {
            if bytes[offset..].starts_with(KEY_HOLE.as_bytes()) {
                holes.push(Hole { offset, kind: HoleKind::Key, end: keys });
            } else if bytes[offset..].starts_with(MEMBER_HOLE.as_bytes()) {
                holes.push(Hole { offset, kind: HoleKind::Member, end: MEMBERS });
            }
        }
        Template { bytes, holes }
    }

    /// Appends the request with random numbers.
    pub fn append_random(&self, rng: &mut Rng, output: &mut Vec<u8>) {
        self.append(output, |hole| rng.below(hole.end));
    }

    /// Appends request `number` of a walk over all keys, and then over all members of each.
    pub fn append_in_order(&self, number: u64, output: &mut Vec<u8>) {
        let keys = self.holes.iter().find(|hole| hole.kind == HoleKind::Key).map_or(1, |hole| hole.end);
        self.append(output, |hole| match hole.kind {
            HoleKind::Key => number % keys,
            HoleKind::Member => number / keys % hole.end,
        });
    }

    fn append(&self, output: &mut Vec<u8>, mut number: impl FnMut(&Hole) -> u64) {
        let start = output.len();
        output.extend_from_slice(&self.bytes);
        for hole in &self.holes {
            let place = start + hole.offset;
            write_digits(number(hole), &mut output[place..place + DIGITS]);
        }
    }
}

fn write_digits(mut number: u64, place: &mut [u8]) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Requests made once before a measurement.
#[derive(Clone, Debug)]
pub struct Preload {
    /// What is sent.
    pub template: Template,
    /// How often; the numbers go in order.
    pub count: u64,
}

/// Requests of one kind and what must be there before.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Shown in reports.
    pub name: &'static str,
    /// Sent in turn.
    pub templates: Vec<Template>,
    /// Sent first, if anything.
    pub preload: Option<Preload>,
}

impl Workload {
    /// Names of all workloads.
    pub const NAMES: [&'static str; 12] = [
        "GET",
        "SET",
        "INCR",
        "LPUSH+RPOP",
        "HSET",
        "HGET",
        "SADD",
        "ZADD",
        "ZRANGE_100",
        "LRANGE_100",
        "XADD",
        "MSET_10",
    ];

    /// The workload of that name over `keys` keys and values of `value_size` bytes.
    ///
    /// Collections hold 100 members, so that there are a hundredth as many of them.
    ///
    /// # Panics
    /// If the name is not one of [`Workload::NAMES`].
    pub fn new(name: &str, keys: u64, value_size: usize) -> Workload {
        let value = "x".repeat(value_size);
        let value = value.as_str();
        let collections = (keys / MEMBERS).max(1);
        let whole = collections * MEMBERS;
        let [string, counter, list, hash, set, zset, stream] =
            ["key", "counter", "list", "hash", "set", "zset", "stream"]
                .map(|kind| format!("{kind}:{KEY_HOLE}"));
        let member = format!("member:{MEMBER_HOLE}");
        let zadd = ["ZADD", &zset, MEMBER_HOLE, &member];
        let rpush = ["RPUSH", &list, value];
        let hset = ["HSET", &hash, &member, value];
        let plain = |name, keys, arguments: &[&str]| Workload {
            name,
            templates: vec![Template::new(arguments, keys)],
            preload: None,
        };
        let after = |workload: Workload, keys, arguments: &[&str], count| Workload {
            preload: Some(Preload { template: Template::new(arguments, keys), count }),
            ..workload
        };
        match name {
            "GET" => after(plain("GET", keys, &["GET", &string]), keys, &["SET", &string, value], keys),
            "SET" => {
                let set = ["SET", &string, value];
                after(plain("SET", keys, &set), keys, &set, keys)
            }
            "INCR" => plain("INCR", keys, &["INCR", &counter]),
            "LPUSH+RPOP" => {
                let lpush = Template::new(&["LPUSH", &list, value], collections);
                let rpop = Template::new(&["RPOP", &list], collections);
                let both = Workload { name: "LPUSH+RPOP", templates: vec![lpush, rpop], preload: None };
                after(both, collections, &rpush, whole)
            }
            "HSET" => plain("HSET", collections, &hset),
            "HGET" => after(plain("HGET", collections, &["HGET", &hash, &member]), collections, &hset, whole),
            "SADD" => plain("SADD", collections, &["SADD", &set, &member]),
            "ZADD" => plain("ZADD", collections, &zadd),
            "ZRANGE_100" => {
                let zrange = ["ZRANGE", &zset, "0", "99"];
                after(plain("ZRANGE_100", collections, &zrange), collections, &zadd, whole)
            }
            "LRANGE_100" => {
                let lrange = ["LRANGE", &list, "0", "99"];
                after(plain("LRANGE_100", collections, &lrange), collections, &rpush, whole)
            }
            "XADD" => {
                let xadd = ["XADD", &stream, "MAXLEN", "~", "1000", "*", "field", value];
                plain("XADD", collections, &xadd)
            }
            "MSET_10" => {
                let pairs = std::iter::repeat_n([string.as_str(), value], 10).flatten();
                plain("MSET_10", keys, &std::iter::once("MSET").chain(pairs).collect::<Vec<&str>>())
            }
            other => panic!("no workload {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_order(template: &Template, number: u64) -> String {
        let mut output = Vec::new();
        template.append_in_order(number, &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_template_is_filled_with_digits_of_fixed_width() {
        let workload = Workload::new("SET", 5, 3);
        assert_eq!(
            in_order(&workload.templates[0], 7),
            "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000002\r\n$3\r\nxxx\r\n"
        );
    }

    #[test]
    fn a_walk_visits_every_member_of_every_collection_once() {
        let preload = Workload::new("HGET", 300, 1).preload.unwrap();
        let requests: std::collections::BTreeSet<String> =
            (0..preload.count).map(|number| in_order(&preload.template, number)).collect();
        assert_eq!(requests.len(), 300);
    }

    #[test]
    fn every_name_is_a_workload_of_that_name() {
        for name in Workload::NAMES {
            assert_eq!(Workload::new(name, 1, 1).name, name);
        }
    }

    #[test]
    fn random_numbers_differ_and_keep_the_size() {
        let template = &Workload::new("MSET_10", 1_000_000, 8).templates[0];
        let mut rng = Rng::new(1);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        template.append_random(&mut rng, &mut first);
        template.append_random(&mut rng, &mut second);
        assert_ne!(first, second);
        assert_eq!(first.len(), second.len());
    }
}
