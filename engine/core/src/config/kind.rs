//! What a directive is: its names, its flags, the values it takes, and how they are read and printed.
//!
//! Exists so that the table's rows stay data. A row names a type and a [`Kind`]; everything that
//! parses or prints goes through [`Value`], once per type.
//!
//! Always true: `parse` of what `print` gave yields an equal value.
//!
//! Not here: the rows (`table.rs`), the values with several parts (`types.rs`).

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::{Changed, Config};
use crate::bytes::quote::quoted;

/// One directive. Built by the table's macro only.
pub struct Directive {
    /// Its main name.
    pub name: &'static str,
    /// An older name that means the same.
    pub alias: Option<&'static str>,
    /// What is special about it.
    pub flags: &'static [Flag],
    /// The values it takes.
    pub kind: Kind,
    /// One sentence for whoever reads the generated documentation.
    pub doc: &'static str,
    pub(super) accessors: Accessors,
}

/// How a directive reaches its field; the types are gone here, so that all directives fit one table.
pub(super) struct Accessors {
    pub print: fn(&Config, &Kind) -> String,
    pub parse: fn(&mut Config, &[&str], &Kind) -> Result<(), String>,
    pub lines: fn(&Config, &Kind) -> Vec<String>,
    pub is_equal: fn(&Config, &Config) -> bool,
}

/// What is special about a directive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flag {
    /// Only the file and the command line set it.
    Immutable,
    /// CONFIG SET needs `enable-protected-configs`.
    Protected,
    /// CONFIG GET shows it by its exact name only.
    Hidden,
    /// Takes several words.
    MultiWord,
    /// CONFIG SET is refused while the data set is loaded.
    NotWhileLoading,
    /// Its value must not appear in a log.
    Sensitive,
    /// CONFIG REWRITE writes it even where it has its default.
    AlwaysWritten,
    /// CONFIG REWRITE removes its line where it has its default.
    AbsentAtDefault,
    /// Setting it to the value it has puts it into effect again: it names a file whose contents may have changed.
    Reapplied,
    /// Accepted so that files written for Redis load; nothing is done about it.
    NoEffect,
}

/// The values a directive takes.
#[derive(Clone, Copy)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// `no`, and `yes` is refused with this reason.
    Off(&'static str),
    /// A decimal integer.
    Int {
        /// Smallest value.
        min: i128,
        /// Largest value.
        max: i128,
    },
    /// Any integer from 0 on, brought into the range.
    Hint {
        /// Smallest value taken.
        min: i128,
        /// Largest value taken.
        max: i128,
    },
    /// An octal integer: permission bits.
    Octal {
        /// Largest value; the smallest is 0.
        max: i128,
    },
    /// Bytes, with an optional unit: `b`, `k` = 1000, `kb` = 1024, and so on to `gb`.
    Memory {
        /// Smallest value in bytes.
        min: i128,
        /// Largest value in bytes.
        max: i128,
    },
    /// Bytes as above, or a percentage of `maxmemory`.
    MemoryOrPercent,
    /// One of these words; some are other spellings of the one before.
    Choice(&'static [&'static str]),
    /// Any text this check finds nothing wrong with.
    Text(fn(&str) -> Result<(), &'static str>),
    /// Several words, described here.
    Special(&'static str),
}

/// A type a directive may have.
pub(super) trait Value: Clone + PartialEq {
    /// Reads the words given for the directive. `self` is the present value: some settings change in part.
    fn parse(&self, words: &[&str], kind: &Kind) -> Result<Self, String>;

    /// As CONFIG GET shows it.
    fn print(&self, kind: &Kind) -> String;

    /// As the configuration file holds it: what follows the name, for each line needed.
    fn lines(&self, kind: &Kind) -> Vec<String> {
        vec![self.print(kind)]
    }
}

impl Directive {
    /// Whether it has a flag.
    pub fn is(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// Its name, then its alias.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        core::iter::once(self.name).chain(self.alias)
    }

    /// [`Directive::names`] without a newer spelling of the main one, as `server-cpulist` is: Redis 7.2 does not list these.
    pub fn listed_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let name = self.name;
        let is_spelling = move |other: &str| {
            other != name && other.bytes().eq(name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte }))
        };
        self.names().filter(move |other| !is_spelling(other))
    }

    /// Its value as CONFIG GET shows it.
    pub fn print(&self, config: &Config) -> String {
        (self.accessors.print)(config, &self.kind)
    }

    /// Sets it from words.
    pub(super) fn parse(&self, config: &mut Config, words: &[&str]) -> Result<(), String> {
        if !self.is(Flag::MultiWord) && words.len() != 1 {
            return Err("wrong number of arguments".into());
        }
        (self.accessors.parse)(config, words, &self.kind)
    }

    /// The words of a CONFIG SET value: split at each space where several are meant.
    pub(super) fn split<'a>(&self, value: &'a str) -> Vec<&'a str> {
        match (self.is(Flag::MultiWord), value) {
            (true, "") => Vec::new(),
            (true, _) => value.split(' ').collect(),
            (false, _) => vec![value],
        }
    }

    /// The configuration file's lines for its present value.
    pub(super) fn lines(&self, config: &Config) -> Vec<String> {
        let values = (self.accessors.lines)(config, &self.kind);
        values.into_iter().map(|value| format!("{} {value}", self.name)).collect()
    }

    /// Whether two configurations agree on it.
    pub(super) fn is_equal(&self, left: &Config, right: &Config) -> bool {
        (self.accessors.is_equal)(left, right)
    }

    /// The change between two configurations, if there is one.
    pub(super) fn change(&self, old: &Config, new: &Config) -> Option<Changed> {
        if self.is_equal(old, new) && !self.is(Flag::Reapplied) {
            return None;
        }
        Some(Changed { name: self.name, old: self.print(old), new: self.print(new) })
    }
}

impl Value for bool {
    fn parse(&self, words: &[&str], kind: &Kind) -> Result<bool, String> {
        let is_yes = words[0].eq_ignore_ascii_case("yes");
        if !is_yes && !words[0].eq_ignore_ascii_case("no") {
            return Err("argument must be 'yes' or 'no'".into());
        }
        match kind {
            Kind::Off(reason) if is_yes => Err((*reason).into()),
            _ => Ok(is_yes),
        }
    }

    fn print(&self, _: &Kind) -> String {
        if *self { "yes" } else { "no" }.into()
    }
}

impl Value for String {
    fn parse(&self, words: &[&str], kind: &Kind) -> Result<String, String> {
        if let Kind::Text(check) = kind {
            check(words[0])?;
        }
        Ok(words[0].into())
    }

    fn print(&self, _: &Kind) -> String {
        self.clone()
    }

    fn lines(&self, _: &Kind) -> Vec<String> {
        vec![quoted(self.as_bytes())]
    }
}

macro_rules! number_values {
    ($($type:ty)*) => {$(
        impl Value for $type {
            fn parse(&self, words: &[&str], kind: &Kind) -> Result<$type, String> {
                let number = kind.parse_number(words[0])?;
                Ok(<$type>::try_from(number).expect("the range of a directive fits the type of its field"))
            }

            fn print(&self, kind: &Kind) -> String {
                kind.print_number(i128::from(*self))
            }

            fn lines(&self, kind: &Kind) -> Vec<String> {
                vec![kind.write_number(i128::from(*self))]
            }
        }
    )*};
}

number_values!(u16 u32 i32 u64 i64);

impl Kind {
    fn parse_number(&self, text: &str) -> Result<i128, String> {
        match *self {
            Kind::Int { min, max } => within(parse_decimal(text)?, min, max),
            Kind::Hint { min, max } => {
                within(parse_decimal(text)?, 0, INT_MAX).map(|number| number.clamp(min, max))
            }
            Kind::Octal { max } => i128::from_str_radix(text, 8)
                .map_err(|_| "argument couldn't be parsed as an octal number".into())
                .and_then(|number| match number {
                    0.. if number <= max => Ok(number),
                    _ => Err(format!("argument must be between 0 and {max:o} inclusive")),
                }),
            Kind::Memory { min, max } => {
                let bytes = parse_memory(text).ok_or("argument must be a memory value")?;
                within(bytes, min, max)
            }
            _ => unreachable!("a number's directive is of a number's kind"),
        }
    }

    fn print_number(&self, number: i128) -> String {
        match self {
            Kind::Octal { .. } => format!("{number:o}"),
            _ => number.to_string(),
        }
    }

    fn write_number(&self, number: i128) -> String {
        match self {
            Kind::Memory { .. } => print_memory(number),
            _ => self.print_number(number),
        }
    }
}

fn within(number: i128, min: i128, max: i128) -> Result<i128, String> {
    if (min..=max).contains(&number) {
        return Ok(number);
    }
    Err(format!("argument must be between {min} and {max} inclusive"))
}

/// A 64-bit integer in the only form it would be printed in: no sign `+`, no leading zeros, no spaces.
fn parse_decimal(text: &str) -> Result<i128, String> {
    let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
    number.map(i128::from).ok_or_else(|| "argument couldn't be parsed into an integer".into())
}

/// Bytes from digits and a unit; nothing but a unit is zero, as in Redis.
pub(super) fn parse_memory(text: &str) -> Option<i128> {
    let unit_start = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_start);
    let factor = MEMORY_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1;
    if digits.is_empty() {
        return Some(0);
    }
    // The largest 64-bit number times the largest unit fits i128; what exceeds 64 bits fails the range check.
    Some(i128::from(digits.parse::<u64>().ok()?) * factor)
}

/// Bytes in the largest power-of-two unit that divides them.
pub(super) fn print_memory(bytes: i128) -> String {
    let unit = [("gb", GIB), ("mb", MIB), ("kb", KIB)].into_iter().find(|(_, unit)| bytes % unit == 0);
    match unit {
        Some((name, unit)) if bytes != 0 => format!("{}{name}", bytes / unit),
        _ => bytes.to_string(),
    }
}

const MEMORY_UNITS: [(&str, i128); 8] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", KIB),
    ("m", 1_000_000),
    ("mb", MIB),
    ("g", 1_000_000_000),
    ("gb", GIB),
];

pub(super) const KIB: i128 = 1 << 10;
pub(super) const MIB: i128 = 1 << 20;
pub(super) const GIB: i128 = 1 << 30;

/// The largest C `int`, the limit of many directives of Redis.
pub(super) const INT_MAX: i128 = i32::MAX as i128;
/// The smallest C `int`.
pub(super) const INT_MIN: i128 = i32::MIN as i128;
/// The largest C `unsigned int`.
pub(super) const UINT_MAX: i128 = u32::MAX as i128;
/// The largest C `long`.
pub(super) const LONG_MAX: i128 = i64::MAX as i128;
/// The largest C `unsigned long`.
pub(super) const ULONG_MAX: i128 = u64::MAX as i128;
