//! The values of settings that are more than a number or a text: choices and settings of several words.
//!
//! Always true: each type has exactly the values its directive allows; the word lists are in the order in
//! which Redis names them in its error texts.
//!
//! Not here: which directive has which type (`table.rs`).

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::kind::{Kind, Value, parse_memory, print_memory};
use crate::{bytes::quote::quoted, store::Class};

/// Declares settings whose value is one word of a list. The first spelling of a variant is the printed one.
macro_rules! choices {
    ($(
        #[doc = $doc:literal]
        $type:ident {$(
            #[doc = $variant_doc:literal]
            $word:literal $(| $spelling:literal)* => $variant:ident,
        )*}
    )*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $type {$(
            #[doc = $variant_doc]
            $variant,
        )*}

        impl $type {
            pub(super) const KIND: Kind = Kind::Choice(&[$($word, $($spelling,)*)*]);

            /// The word that stands for it in the configuration.
            pub fn word(self) -> &'static str {
                match self {$( $type::$variant => $word, )*}
            }

            fn from_word(word: &str) -> Option<$type> {
                $(
                    if [$word, $($spelling,)*].iter().any(|own| own.eq_ignore_ascii_case(word)) {
                        return Some($type::$variant);
                    }
                )*
                None
            }
        }

        impl Value for $type {
            fn parse(&self, words: &[&str], _: &Kind) -> Result<$type, String> {
                $type::from_word(words[0]).ok_or_else(|| not_a_choice(&[$($word, $($spelling,)*)*]))
            }

            fn print(&self, _: &Kind) -> String {
                self.word().into()
            }
        }
    )*};
}

choices! {
    /// When the append-only file is made durable.
    AppendFsync {
        /// About once a second.
        "everysec" => Everysec,
        /// Before a write is answered.
        "always" => Always,
        /// When the kernel sees fit.
        "no" => No,
    }

    /// What happens to writes when the disk has fallen behind `appendfsync-max-lag`.
    LagAction {
        /// They wait until the disk has caught up.
        "wait" => Wait,
        /// They are refused with -MISCONF.
        "refuse" => Refuse,
    }

    /// Who may use what is guarded.
    Guard {
        /// Nobody.
        "no" => No,
        /// Everybody.
        "yes" => Yes,
        /// Clients of the loopback interface and the unix socket.
        "local" => Local,
    }

    /// Which keys give way when `maxmemory` is reached.
    MaxmemoryPolicy {
        /// Of those that expire, the one not used for longest.
        "volatile-lru" => VolatileLru,
        /// Of those that expire, the one used least often.
        "volatile-lfu" => VolatileLfu,
        /// Of those that expire, any.
        "volatile-random" => VolatileRandom,
        /// Of those that expire, the one that expires first.
        "volatile-ttl" => VolatileTtl,
        /// The one not used for longest.
        "allkeys-lru" => AllkeysLru,
        /// The one used least often.
        "allkeys-lfu" => AllkeysLfu,
        /// Any.
        "allkeys-random" => AllkeysRandom,
        /// None: writes that need memory are refused.
        "noeviction" => Noeviction,
    }

    /// How much is logged.
    LogLevel {
        /// Everything.
        "debug" => Debug,
        /// Much of interest to few.
        "verbose" => Verbose,
        /// What an operator wants to know.
        "notice" => Notice,
        /// Only what needs attention.
        "warning" => Warning,
        /// Nothing.
        "nothing" => Nothing,
    }

    /// How a line of the log looks.
    LogFormat {
        /// Like a line of Redis's log.
        "redis" => Redis,
        /// One JSON object per line.
        "json" => Json,
    }

    /// Whether a dumped value is examined in depth before it is used.
    SanitizeDumpPayload {
        /// Never.
        "no" => No,
        /// Always.
        "yes" => Yes,
        /// For RESTORE by clients that are not exempt.
        "clients" => Clients,
    }

    /// What to do about an error reply to a command from the append-only file or the primary.
    PropagationErrorBehavior {
        /// Count it and go on.
        "ignore" => Ignore,
        /// Stop the server.
        "panic" => Panic,
        /// Stop the server if it is a replica.
        "panic-on-replicas" => PanicOnReplicas,
    }

    /// Channels a new user may use.
    AclPubsubDefault {
        /// All.
        "allchannels" => Allchannels,
        /// None.
        "resetchannels" => Resetchannels,
    }

    /// Whether the kernel's out-of-memory score is adjusted.
    OomScoreAdj {
        /// Left as it is.
        "no" => No,
        /// Relative to the score at start.
        "yes" | "relative" => Relative,
        /// Set to the values as they are.
        "absolute" => Absolute,
    }

    /// Who started the server and wants to hear of it.
    Supervised {
        /// Upstart.
        "upstart" => Upstart,
        /// systemd.
        "systemd" => Systemd,
        /// Whichever the environment shows.
        "auto" => Auto,
        /// Nobody.
        "no" => No,
    }

    /// How a replica takes in a snapshot.
    ReplDisklessLoad {
        /// From a file.
        "disabled" => Disabled,
        /// From the socket, if it holds no data.
        "on-empty-db" => OnEmptyDb,
        /// From the socket, beside the data it holds.
        "swapdb" => Swapdb,
    }

    /// Whether clients of a TLS port show certificates.
    TlsAuthClients {
        /// No.
        "no" => No,
        /// They must.
        "yes" => Yes,
        /// They may.
        "optional" => Optional,
    }

    /// How a cluster names its nodes to clients.
    ClusterEndpointType {
        /// By address.
        "ip" => Ip,
        /// By host name.
        "hostname" => Hostname,
        /// Not at all.
        "unknown-endpoint" => UnknownEndpoint,
    }

    /// Under which facility syslog files our lines.
    SyslogFacility {
        /// LOG_USER.
        "user" => User,
        /// LOG_LOCAL0.
        "local0" => Local0,
        /// LOG_LOCAL1.
        "local1" => Local1,
        /// LOG_LOCAL2.
        "local2" => Local2,
        /// LOG_LOCAL3.
        "local3" => Local3,
        /// LOG_LOCAL4.
        "local4" => Local4,
        /// LOG_LOCAL5.
        "local5" => Local5,
        /// LOG_LOCAL6.
        "local6" => Local6,
        /// LOG_LOCAL7.
        "local7" => Local7,
    }
}

fn not_a_choice(words: &[&str]) -> String {
    format!("argument(s) must be one of the following: {}", words.join(", "))
}

impl Guard {
    /// Whether what it guards is open to a client.
    pub fn allows(self, is_local: bool) -> bool {
        self == Guard::Yes || self == Guard::Local && is_local
    }
}

impl MaxmemoryPolicy {
    /// Whether keys without expiry are exempt.
    pub fn is_volatile(self) -> bool {
        use MaxmemoryPolicy::*;
        matches!(self, VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl)
    }

    /// Whether it goes by how often a key is used.
    pub fn is_lfu(self) -> bool {
        matches!(self, MaxmemoryPolicy::VolatileLfu | MaxmemoryPolicy::AllkeysLfu)
    }

    /// Whether it goes by when a key was last used.
    pub fn is_lru(self) -> bool {
        matches!(self, MaxmemoryPolicy::VolatileLru | MaxmemoryPolicy::AllkeysLru)
    }
}

/// When to write a snapshot by itself: more than `seconds` since the last one and at least `changes` since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SavePoint {
    /// At least 1.
    pub seconds: u64,
    /// 0 means that there is always something to save.
    pub changes: u64,
}

impl SavePoint {
    /// What applies if nobody says otherwise.
    pub const DEFAULT: [SavePoint; 3] = [
        SavePoint { seconds: 3600, changes: 1 },
        SavePoint { seconds: 300, changes: 100 },
        SavePoint { seconds: 60, changes: 10_000 },
    ];

    fn from_words(seconds: &str, changes: &str) -> Option<SavePoint> {
        let seconds = parse_c_integer(seconds).and_then(|number| u64::try_from(number).ok())?;
        let changes = parse_c_integer(changes).and_then(|number| u64::try_from(number).ok())?;
        (seconds >= 1).then_some(SavePoint { seconds, changes })
    }
}

impl Value for Vec<SavePoint> {
    fn parse(&self, words: &[&str], _: &Kind) -> Result<Vec<SavePoint>, String> {
        if words == [""] {
            return Ok(Vec::new());
        }
        let (pairs, rest) = words.as_chunks();
        let points: Option<Vec<SavePoint>> =
            pairs.iter().map(|[seconds, changes]| SavePoint::from_words(seconds, changes)).collect();
        points.filter(|_| rest.is_empty()).ok_or_else(|| "Invalid save parameters".into())
    }

    fn print(&self, _: &Kind) -> String {
        let pairs: Vec<String> =
            self.iter().map(|point| format!("{} {}", point.seconds, point.changes)).collect();
        pairs.join(" ")
    }

    fn lines(&self, _: &Kind) -> Vec<String> {
        // Without any line the defaults would apply.
        if self.is_empty() {
            return vec!["\"\"".into()];
        }
        self.iter().map(|point| format!("{} {}", point.seconds, point.changes)).collect()
    }
}

/// How much a client may leave unread before it is disconnected; 0 is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutputBufferLimit {
    /// Bytes that end the connection at once.
    pub hard_bytes: u64,
    /// Bytes that end it after `soft_seconds` above them.
    pub soft_bytes: u64,
    /// See `soft_bytes`.
    pub soft_seconds: u64,
}

/// The limits of each class of client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutputBufferLimits {
    /// Everybody else, MONITOR included.
    pub normal: OutputBufferLimit,
    /// Replicas.
    pub replica: OutputBufferLimit,
    /// Clients with at least one subscription.
    pub pubsub: OutputBufferLimit,
}

impl OutputBufferLimits {
    /// What applies if nobody says otherwise.
    pub const DEFAULT: OutputBufferLimits = OutputBufferLimits {
        normal: OutputBufferLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 },
        replica: OutputBufferLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_seconds: 60 },
        pubsub: OutputBufferLimit { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_seconds: 60 },
    };

    /// What applies to a client.
    pub fn of(&self, is_subscribed: bool) -> OutputBufferLimit {
        if is_subscribed { self.pubsub } else { self.normal }
    }

    fn class_mut(&mut self, name: &str) -> Option<&mut OutputBufferLimit> {
        match name.to_ascii_lowercase().as_str() {
            "normal" => Some(&mut self.normal),
            "slave" | "replica" => Some(&mut self.replica),
            "pubsub" => Some(&mut self.pubsub),
            _ => None,
        }
    }

    fn by_class(&self) -> [(&'static str, OutputBufferLimit); 3] {
        [("normal", self.normal), ("slave", self.replica), ("pubsub", self.pubsub)]
    }
}

impl OutputBufferLimit {
    fn from_words(hard: &str, soft: &str, seconds: &str) -> Option<OutputBufferLimit> {
        let bytes = |text| parse_memory(text).and_then(|bytes| u64::try_from(bytes).ok());
        let soft_seconds = parse_c_integer(seconds).and_then(|number| u64::try_from(number).ok())?;
        Some(OutputBufferLimit { hard_bytes: bytes(hard)?, soft_bytes: bytes(soft)?, soft_seconds })
    }
}

impl Value for OutputBufferLimits {
    fn parse(&self, words: &[&str], _: &Kind) -> Result<OutputBufferLimits, String> {
        let (groups, rest) = words.as_chunks();
        if !rest.is_empty() {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        let mut limits = *self;
        for [class, hard, soft, seconds] in groups {
            let limit = limits
                .class_mut(class)
                .ok_or("Invalid client class specified in buffer limit configuration.")?;
            *limit = OutputBufferLimit::from_words(hard, soft, seconds)
                .ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
        }
        Ok(limits)
    }

    fn print(&self, _: &Kind) -> String {
        let classes = self.by_class().map(|(name, limit)| {
            format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
        });
        classes.join(" ")
    }

    /// One line for each class that is not at its default: a line changes only the class it names.
    fn lines(&self, _: &Kind) -> Vec<String> {
        let classes = self.by_class().into_iter().zip(OutputBufferLimits::DEFAULT.by_class());
        classes
            .filter(|(own, default)| own != default)
            .map(|((name, limit), _)| {
                let name = if name == "slave" { "replica" } else { name };
                let hard = print_memory(limit.hard_bytes.into());
                let soft = print_memory(limit.soft_bytes.into());
                format!("{name} {hard} {soft} {}", limit.soft_seconds)
            })
            .collect()
    }
}

/// Memory as bytes, or as a share of `maxmemory`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryOrPercent {
    /// Bytes; 0 is no limit.
    Bytes(u64),
    /// 0 to 100.
    Percent(u8),
}

impl Value for MemoryOrPercent {
    fn parse(&self, words: &[&str], _: &Kind) -> Result<MemoryOrPercent, String> {
        if let Some(bytes) = parse_memory(words[0]) {
            return match i64::try_from(bytes) {
                Ok(bytes) => Ok(MemoryOrPercent::Bytes(bytes.unsigned_abs())),
                Err(_) => Err(format!("argument must be between -100 and {} inclusive", i64::MAX)),
            };
        }
        let percent = words[0].strip_suffix('%').and_then(|digits| digits.parse::<u32>().ok());
        match percent {
            Some(percent @ 0..=100) => Ok(MemoryOrPercent::Percent(percent as u8)),
            Some(_) => Err("percentage argument must be less or equal to 100".into()),
            None => Err("argument must be a memory or percent value".into()),
        }
    }

    fn print(&self, _: &Kind) -> String {
        match self {
            MemoryOrPercent::Bytes(bytes) => bytes.to_string(),
            MemoryOrPercent::Percent(percent) => format!("{percent}%"),
        }
    }

    fn lines(&self, kind: &Kind) -> Vec<String> {
        match self {
            MemoryOrPercent::Bytes(bytes) => vec![print_memory((*bytes).into())],
            MemoryOrPercent::Percent(_) => vec![self.print(kind)],
        }
    }
}

/// What a signal that ends the server asks of its shutdown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShutdownFlags {
    /// Write a snapshot even without save points.
    pub save: bool,
    /// Write none even with save points.
    pub nosave: bool,
    /// Do not wait for replicas.
    pub now: bool,
    /// Go on whatever fails.
    pub force: bool,
}

impl ShutdownFlags {
    pub(super) const KIND: Kind = Kind::Choice(&["default", "save", "nosave", "now", "force"]);

    fn by_name(&self) -> [(&'static str, bool); 4] {
        [("save", self.save), ("nosave", self.nosave), ("now", self.now), ("force", self.force)]
    }
}

impl Value for ShutdownFlags {
    fn parse(&self, words: &[&str], kind: &Kind) -> Result<ShutdownFlags, String> {
        let Kind::Choice(choices) = kind else { unreachable!("declared with ShutdownFlags::KIND") };
        let mut flags = ShutdownFlags::default();
        for word in words {
            match word.to_ascii_lowercase().as_str() {
                "default" => {}
                "save" => flags.save = true,
                "nosave" => flags.nosave = true,
                "now" => flags.now = true,
                "force" => flags.force = true,
                _ => return Err(not_a_choice(choices)),
            }
        }
        if words.is_empty() {
            return Err(not_a_choice(choices));
        }
        if flags.save && flags.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        Ok(flags)
    }

    fn print(&self, _: &Kind) -> String {
        let names: Vec<&str> =
            self.by_name().iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
        if names.is_empty() { "default".into() } else { names.join(" ") }
    }
}

/// Which events on keys are published, and under which channels: a set of [`Class`]es.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeyspaceEvents(u32);

/// What the letter `A` stands for, in the order in which Redis prints the letters.
const LETTERS_OF_ALL: [(char, u32); 10] = [
    ('g', Class::Generic as u32),
    ('$', Class::String as u32),
    ('l', Class::List as u32),
    ('s', Class::Set as u32),
    ('h', Class::Hash as u32),
    ('z', Class::ZSet as u32),
    ('x', Class::Expired as u32),
    ('e', Class::Evicted as u32),
    ('t', Class::Stream as u32),
    ('d', MODULE),
];

const LETTERS_BESIDE_ALL: [(char, u32); 4] = [
    ('n', Class::New as u32),
    ('K', Class::Keyspace as u32),
    ('E', Class::Keyevent as u32),
    ('m', Class::KeyMiss as u32),
];

/// Events of modules' types: nothing raises them here, but files may ask for them.
const MODULE: u32 = 1 << 13;

impl KeyspaceEvents {
    /// No event is published.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this class is among them.
    pub fn contains(self, class: Class) -> bool {
        self.0 & class as u32 != 0
    }

    /// The bits of all its classes.
    pub fn bits(self) -> u32 {
        self.0
    }

    fn all() -> u32 {
        LETTERS_OF_ALL.iter().fold(0, |all, (_, bit)| all | bit)
    }

    fn bits_of(letter: char) -> Option<u32> {
        if letter == 'A' {
            return Some(KeyspaceEvents::all());
        }
        let mut letters = LETTERS_OF_ALL.iter().chain(&LETTERS_BESIDE_ALL);
        letters.find(|(own, _)| *own == letter).map(|(_, bit)| *bit)
    }

    fn letters(self, table: &[(char, u32)]) -> impl Iterator<Item = char> {
        table.iter().filter(move |(_, bit)| self.0 & bit != 0).map(|(letter, _)| *letter)
    }
}

impl Value for KeyspaceEvents {
    fn parse(&self, words: &[&str], _: &Kind) -> Result<KeyspaceEvents, String> {
        let bits = words[0].chars().try_fold(0, |bits, letter| Some(bits | KeyspaceEvents::bits_of(letter)?));
        let bits = bits.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
        Ok(KeyspaceEvents(bits))
    }

    fn print(&self, _: &Kind) -> String {
        let mut text = String::new();
        if self.0 & KeyspaceEvents::all() == KeyspaceEvents::all() {
            text.push('A');
        } else {
            text.extend(self.letters(&LETTERS_OF_ALL));
        }
        // Redis leaves out `n` beside `A`, and would lose it with a CONFIG REWRITE.
        text.extend(self.letters(&LETTERS_BESIDE_ALL));
        text
    }

    fn lines(&self, kind: &Kind) -> Vec<String> {
        vec![quoted(self.print(kind).as_bytes())]
    }
}

/// Out-of-memory scores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OomScores {
    /// For a primary.
    pub primary: i32,
    /// For a replica.
    pub replica: i32,
    /// For the child that writes a snapshot.
    pub child: i32,
}

impl Value for OomScores {
    fn parse(&self, words: &[&str], _: &Kind) -> Result<OomScores, String> {
        let [primary, replica, child] = words else { return Err("wrong number of arguments".into()) };
        let score = |word: &str| {
            parse_c_integer(word)
                .filter(|score| (-2000..=2000).contains(score))
                .map(|score| score as i32)
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
        };
        Ok(OomScores { primary: score(primary)?, replica: score(replica)?, child: score(child)? })
    }

    fn print(&self, _: &Kind) -> String {
        format!("{} {} {}", self.primary, self.replica, self.child)
    }
}

/// The primary a replica follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Primary {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Value for Option<Primary> {
    fn parse(&self, words: &[&str], _: &Kind) -> Result<Option<Primary>, String> {
        let [host, port] = words else { return Err("wrong number of arguments".into()) };
        if host.eq_ignore_ascii_case("no") && port.eq_ignore_ascii_case("one") {
            return Ok(None);
        }
        let port = parse_c_integer(port).and_then(|port| u16::try_from(port).ok());
        let port = port.ok_or("Invalid master port")?;
        Ok(Some(Primary { host: (*host).into(), port }))
    }

    fn print(&self, _: &Kind) -> String {
        self.as_ref().map(|primary| format!("{} {}", primary.host, primary.port)).unwrap_or_default()
    }
}

/// Addresses to listen on; a leading `-` marks one that may be missing.
impl Value for Vec<String> {
    fn parse(&self, words: &[&str], _: &Kind) -> Result<Vec<String>, String> {
        if words.len() > BIND_ADDRESSES_MAX {
            return Err("Too many bind addresses specified.".into());
        }
        if words == [""] {
            return Ok(Vec::new());
        }
        Ok(words.iter().map(|&word| word.to_owned()).collect())
    }

    fn print(&self, _: &Kind) -> String {
        self.join(" ")
    }

    fn lines(&self, kind: &Kind) -> Vec<String> {
        if self.is_empty() { vec!["\"\"".into()] } else { vec![self.print(kind)] }
    }
}

/// Redis's own limit.
const BIND_ADDRESSES_MAX: usize = 16;

/// Percentiles of command latencies that INFO shows.
impl Value for Vec<f64> {
    fn parse(&self, words: &[&str], _: &Kind) -> Result<Vec<f64>, String> {
        if words == [""] {
            return Ok(Vec::new());
        }
        let mut percentiles = Vec::new();
        for word in words {
            let percentile: f64 =
                word.parse().map_err(|_| "Invalid latency-tracking-info-percentiles parameters")?;
            if !(0.0..=100.0).contains(&percentile) {
                return Err(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into()
                );
            }
            // Six digits are shown, so six are kept.
            percentiles.push(round_percentile(percentile));
        }
        Ok(percentiles)
    }

    fn print(&self, _: &Kind) -> String {
        let texts: Vec<String> = self.iter().map(|percentile| print_percentile(*percentile)).collect();
        texts.join(" ")
    }

    fn lines(&self, kind: &Kind) -> Vec<String> {
        if self.is_empty() { vec!["\"\"".into()] } else { vec![self.print(kind)] }
    }
}

fn round_percentile(percentile: f64) -> f64 {
    print_percentile(percentile).as_str().parse().expect("a printed number is a number")
}

fn print_percentile(percentile: f64) -> String {
    let text = format!("{percentile:.6}");
    text.trim_end_matches('0').trim_end_matches('.').into()
}

/// An integer as C's `strtoll` reads a whole word: blanks and a sign before it are fine, nothing at all is 0.
fn parse_c_integer(word: &str) -> Option<i64> {
    let word = word.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    if word.is_empty() { Some(0) } else { word.parse().ok() }
}
