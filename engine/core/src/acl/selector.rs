//! One set of rights: which commands, with which keys, on which channels.
//!
//! Always true: `rules` together with `starts_from_all` make the same set of commands again.

use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};

use crate::{
    bytes::glob,
    commands::{
        Action, NodeCommand,
        spec::{ACL_NAMES, flag, key_flag},
        table::{Row, Table, key_positions},
    },
};

/// Why a rule is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// No command or category of this name.
    Unknown,
    /// Not the form of a rule.
    Syntax,
    /// A key pattern where all keys are allowed.
    KeysAreAll,
    /// A channel pattern where all channels are allowed.
    ChannelsAreAll,
    /// A password to remove that is not there.
    NoSuchPassword,
    /// Not a SHA-256 in lower case hexadecimal.
    BadHash,
    /// A first argument of a subcommand.
    FirstArgOfSubcommand,
    /// A user declared twice.
    Duplicate,
}

impl Fault {
    /// In the words of ACL SETUSER.
    pub fn text(self) -> &'static str {
        match self {
            Fault::Unknown => "Unknown command or category name in ACL",
            Fault::Syntax => "Syntax error",
            Fault::KeysAreAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. \
                 Try 'resetkeys' to start with an empty list of patterns"
            }
            Fault::ChannelsAreAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            Fault::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            Fault::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            Fault::FirstArgOfSubcommand => "Allowing first-arg of a subcommand is not supported",
            Fault::Duplicate => "Duplicate user found. A user can only be defined once in config files",
        }
    }
}

/// What stands in the way, in the order in which the later is the nearer miss.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// The command itself.
    Command,
    /// One of its keys.
    Key,
    /// A wrong password, or no such user.
    Auth,
    /// One of its channels.
    Channel,
}

/// A command that may not run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Denial {
    /// What stands in the way.
    pub reason: Reason,
    /// Argument that names the key or the channel.
    pub index: usize,
}

/// Keys that may be touched, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
struct KeyPattern {
    pattern: Vec<u8>,
    can_read: bool,
    can_write: bool,
}

/// A set of rights.
#[derive(Clone, PartialEq, Debug)]
pub struct Selector {
    has_all_keys: bool,
    has_all_channels: bool,
    /// The rules start from all commands instead of none.
    starts_from_all: bool,
    /// By number of the row.
    commands: Vec<bool>,
    /// First arguments with which a command is allowed that is not allowed otherwise.
    first_args: BTreeMap<usize, Vec<Vec<u8>>>,
    keys: Vec<KeyPattern>,
    channels: Vec<Vec<u8>>,
    /// What was said of commands and categories since it started, `+get` or `-@write`.
    rules: Vec<String>,
}

impl Selector {
    /// No rights, except for channels if so wanted.
    pub fn new(table: &Table, has_channels: bool) -> Selector {
        Selector {
            has_all_keys: false,
            has_all_channels: has_channels,
            starts_from_all: false,
            commands: vec![false; table.len()],
            first_args: BTreeMap::new(),
            keys: Vec::new(),
            channels: Vec::new(),
            rules: Vec::new(),
        }
    }

    /// Nothing is forbidden.
    pub fn is_unrestricted(&self) -> bool {
        self.has_all_keys && self.has_all_channels && self.commands.iter().all(|is_allowed| *is_allowed)
    }

    // --- Deciding -----------------------------------------------------------------------------------

    /// Whether a command with these arguments is allowed.
    ///
    /// # Errors
    /// What is not.
    pub fn may_run(&self, row: &Row, args: &[&[u8]]) -> Result<(), Denial> {
        if !row.command.has(flag::NO_AUTH) && !self.has_command(row, args) {
            return Err(Denial { reason: Reason::Command, index: 0 });
        }
        if !self.has_all_keys {
            for (index, flags) in key_positions(row.command, args).unwrap_or_default() {
                if flags & key_flag::NOT_KEY == 0 && !self.has_key(args[index], flags) {
                    return Err(Denial { reason: Reason::Key, index });
                }
            }
        }
        let (channels, is_pattern) = channels_of(row, args);
        match channels.into_iter().find(|&index| !self.may_use_channel(args[index], is_pattern)) {
            Some(index) => Err(Denial { reason: Reason::Channel, index }),
            None => Ok(()),
        }
    }

    /// Whether a channel, or a pattern by the letter, is allowed.
    pub fn may_use_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        let covers = |own: &Vec<u8>| if is_pattern { own == name } else { glob::matches(own, name) };
        self.has_all_channels || self.channels.iter().any(covers)
    }

    /// Every key may be read.
    pub fn may_read_all(&self) -> bool {
        self.has_all_keys || self.keys.iter().any(|own| own.can_read && own.pattern == b"*")
    }

    fn has_command(&self, row: &Row, args: &[&[u8]]) -> bool {
        let is_first_arg = |known: &Vec<Vec<u8>>| {
            args.get(1).is_some_and(|arg| known.iter().any(|known| known.eq_ignore_ascii_case(arg)))
        };
        self.commands[row.id] || self.first_args.get(&row.id).is_some_and(is_first_arg)
    }

    fn has_key(&self, key: &[u8], flags: u32) -> bool {
        let reads = flags & key_flag::ACCESS != 0;
        let writes = flags & (key_flag::INSERT | key_flag::DELETE | key_flag::UPDATE) != 0;
        self.keys.iter().any(|own| {
            (own.can_read || !reads) && (own.can_write || !writes) && glob::matches(&own.pattern, key)
        })
    }

    // --- Describing ---------------------------------------------------------------------------------

    /// Its commands, as rules.
    pub fn describe_commands(&self) -> String {
        let start = if self.starts_from_all { "+@all" } else { "-@all" };
        let rules = self.rules.iter().map(String::as_str);
        core::iter::once(start).chain(rules).collect::<Vec<_>>().join(" ")
    }

    /// Its keys, as rules.
    pub fn describe_keys(&self) -> String {
        if self.has_all_keys {
            return "~*".into();
        }
        let describe = |key: &KeyPattern| {
            let pattern = String::from_utf8_lossy(&key.pattern);
            match (key.can_read, key.can_write) {
                (true, true) => format!("~{pattern}"),
                (true, false) => format!("%R~{pattern}"),
                _ => format!("%W~{pattern}"),
            }
        };
        self.keys.iter().map(describe).collect::<Vec<_>>().join(" ")
    }

    /// Its channels, as rules.
    pub fn describe_channels(&self) -> String {
        if self.has_all_channels {
            return "&*".into();
        }
        let describe = |channel: &Vec<u8>| format!("&{}", String::from_utf8_lossy(channel));
        self.channels.iter().map(describe).collect::<Vec<_>>().join(" ")
    }

    /// The rules that make it out of a new one.
    pub fn describe(&self) -> String {
        let mut words = vec![self.describe_keys()];
        if !self.has_all_channels {
            words.push("resetchannels".into());
        }
        words.push(self.describe_channels());
        words.push(self.describe_commands());
        words.retain(|word| !word.is_empty());
        words.join(" ")
    }

    // --- Changing -----------------------------------------------------------------------------------

    /// Applies one rule about commands, keys or channels.
    ///
    /// # Errors
    /// Why it is no rule.
    pub fn apply(&mut self, rule: &[u8], table: &Table) -> Result<(), Fault> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => {
                self.has_all_keys = true;
                self.keys.clear();
            }
            b"resetkeys" => {
                self.has_all_keys = false;
                self.keys.clear();
            }
            b"allchannels" | b"&*" => {
                self.has_all_channels = true;
                self.channels.clear();
            }
            b"resetchannels" => {
                self.has_all_channels = false;
                self.channels.clear();
            }
            b"allcommands" | b"+@all" => self.start_from(true),
            b"nocommands" | b"-@all" => self.start_from(false),
            _ => return self.apply_named(rule, table),
        }
        Ok(())
    }

    fn apply_named(&mut self, rule: &[u8], table: &Table) -> Result<(), Fault> {
        match rule {
            [b'~', pattern @ ..] => self.add_keys(pattern, true, true),
            [b'%', rest @ ..] => {
                let (can_read, can_write, pattern) = parse_key_rights(rest)?;
                self.add_keys(pattern, can_read, can_write)
            }
            [b'&', pattern @ ..] => self.add_channels(pattern),
            [b'+', b'@', category @ ..] => self.set_category(category, true, table),
            [b'-', b'@', category @ ..] => self.set_category(category, false, table),
            [b'+', name @ ..] => self.allow(name, table),
            [b'-', name @ ..] => {
                let row = table.find(name).ok_or(Fault::Unknown)?;
                self.set_command(&row, false);
                self.note_rule(false, &row.full_name());
                Ok(())
            }
            _ => Err(Fault::Syntax),
        }
    }

    fn start_from(&mut self, all: bool) {
        self.starts_from_all = all;
        self.commands.fill(all);
        self.first_args.clear();
        self.rules.clear();
    }

    fn add_keys(&mut self, pattern: &[u8], can_read: bool, can_write: bool) -> Result<(), Fault> {
        if self.has_all_keys {
            return Err(Fault::KeysAreAll);
        }
        check_one_word(pattern)?;
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => {
                known.can_read |= can_read;
                known.can_write |= can_write;
            }
            None => self.keys.push(KeyPattern { pattern: pattern.to_vec(), can_read, can_write }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), Fault> {
        if self.has_all_channels {
            return Err(Fault::ChannelsAreAll);
        }
        check_one_word(pattern)?;
        if !self.channels.iter().any(|known| known == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    /// `+get`, `+config|get`, or `+select|0`: a command only with this first argument.
    fn allow(&mut self, name: &[u8], table: &Table) -> Result<(), Fault> {
        let Some(bar) = name.iter().rposition(|&byte| byte == b'|') else {
            return self.allow_command(name, table);
        };
        let (first, second) = (&name[..bar], &name[bar + 1..]);
        let row = table.find(first).ok_or(Fault::Unknown)?;
        if row.container.is_some() {
            return Err(Fault::FirstArgOfSubcommand);
        }
        if second.is_empty() {
            return Err(Fault::Syntax);
        }
        if !row.command.subcommands.is_empty() {
            return self.allow_command(name, table);
        }
        let first_args = self.first_args.entry(row.id).or_default();
        if !first_args.iter().any(|known| known.eq_ignore_ascii_case(second)) {
            first_args.push(second.to_vec());
        }
        self.note_rule(true, &String::from_utf8_lossy(name).to_ascii_lowercase());
        Ok(())
    }

    fn allow_command(&mut self, name: &[u8], table: &Table) -> Result<(), Fault> {
        let row = table.find(name).ok_or(Fault::Unknown)?;
        self.set_command(&row, true);
        self.note_rule(true, &row.full_name());
        Ok(())
    }

    fn set_category(&mut self, name: &[u8], is_allowed: bool, table: &Table) -> Result<(), Fault> {
        let (bit, name) = ACL_NAMES
            .iter()
            .find(|(_, known)| name.eq_ignore_ascii_case(known.as_bytes()))
            .ok_or(Fault::Unknown)?;
        for row in table.rows().iter().filter(|row| row.command.all_categories() & bit != 0) {
            self.set_command(row, is_allowed);
        }
        self.note_rule(is_allowed, &format!("@{name}"));
        Ok(())
    }

    /// Allows or forbids a command with all its subcommands.
    fn set_command(&mut self, row: &Row, is_allowed: bool) {
        // Subcommands' rows follow their container's.
        let ids = row.id..=row.id + row.command.subcommands.len();
        self.commands[ids].fill(is_allowed);
        self.first_args.remove(&row.id);
    }

    /// The latest rule about a command stands last; what it overrides goes.
    fn note_rule(&mut self, is_allowed: bool, name: &str) {
        self.rules.retain(|rule| {
            let known = &rule[1..];
            !known.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        });
        self.rules.push(format!("{}{name}", if is_allowed { '+' } else { '-' }));
    }
}

/// `RW~pattern` and its kin, without the percent sign.
fn parse_key_rights(text: &[u8]) -> Result<(bool, bool, &[u8]), Fault> {
    let end = text.iter().position(|&byte| byte == b'~').ok_or(Fault::Syntax)?;
    let (mut can_read, mut can_write) = (false, false);
    for byte in &text[..end] {
        let right = match byte.to_ascii_uppercase() {
            b'R' => &mut can_read,
            b'W' => &mut can_write,
            _ => return Err(Fault::Syntax),
        };
        if core::mem::replace(right, true) {
            return Err(Fault::Syntax);
        }
    }
    if end == 0 {
        return Err(Fault::Syntax);
    }
    Ok((can_read, can_write, &text[end + 1..]))
}

/// Rules are written with blanks between them.
fn check_one_word(pattern: &[u8]) -> Result<(), Fault> {
    let has_blank = pattern.iter().any(|&byte| byte.is_ascii_whitespace() || byte == 0 || byte == 0x0b);
    if has_blank { Err(Fault::Syntax) } else { Ok(()) }
}

/// Arguments that name channels a command publishes to or subscribes to, and whether they are patterns.
fn channels_of(row: &Row, args: &[&[u8]]) -> (Vec<usize>, bool) {
    match row.command.action {
        Action::Node(NodeCommand::Publish | NodeCommand::SPublish) => (vec![1], false),
        Action::Node(NodeCommand::Subscribe | NodeCommand::SSubscribe) => ((1..args.len()).collect(), false),
        Action::Node(NodeCommand::PSubscribe) => ((1..args.len()).collect(), true),
        _ => (Vec::new(), false),
    }
}
