//! COMMAND: what commands there are, from the one table.
//!
//! Not here: the rows (`commands/`), who may call them (access control).

use alloc::{format, vec::Vec};

use super::Node;
use crate::{
    bytes::glob,
    commands::{
        Args, Command, CommandResult, KeySpec,
        arguments::{self, Argument, Kind},
        printable,
        spec::{ACL_NAMES, FLAG_NAMES, KEY_FLAG_NAMES, KeyBegin, KeyFind, flag, key_flag},
        table::{KeyPlaces, Row, key_positions},
    },
    error::{Error, SYNTAX},
    resp::Reply,
    session::Session,
};

impl Node {
    /// Commands that are no subcommands, in the order of the table.
    fn commands(&self) -> impl Iterator<Item = &Row> {
        self.table.rows().iter().filter(|row| row.container.is_none())
    }

    pub(super) fn command_all(&mut self, session: &mut Session) {
        session.reply.array(self.commands().count());
        for row in self.commands() {
            reply_info(&mut session.reply, row);
        }
    }

    pub(super) fn command_count(&mut self, session: &mut Session) {
        session.reply.integer(self.commands().count() as i64);
    }

    pub(super) fn command_info(&mut self, session: &mut Session, args: Args<'_>) {
        if args.len() == 2 {
            return self.command_all(session);
        }
        session.reply.array(args.len() - 2);
        for name in &args[2..] {
            match self.table.find(name) {
                Some(row) => reply_info(&mut session.reply, &row),
                None => session.reply.null_array(),
            }
        }
    }

    pub(super) fn command_docs(&mut self, session: &mut Session, args: Args<'_>) {
        let rows: Vec<Row> = match args {
            [_, _] => self.commands().copied().collect(),
            [_, _, names @ ..] => names.iter().filter_map(|name| self.table.find(name)).collect(),
            _ => Vec::new(),
        };
        session.reply.map(rows.len());
        for row in rows {
            session.reply.bulk(row.full_name().as_bytes());
            reply_docs(&mut session.reply, &row.full_name(), row.command);
        }
    }

    pub(super) fn command_list(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let rows: Vec<&Row> = match args {
            [_, _] => self.table.rows().iter().collect(),
            [_, _, word, by, pattern] if word.eq_ignore_ascii_case(b"filterby") => {
                let rows = self.table.rows().iter();
                match &*by.to_ascii_lowercase() {
                    b"module" => Vec::new(),
                    b"aclcat" => {
                        let is_wanted = |name: &str| pattern.eq_ignore_ascii_case(name.as_bytes());
                        let bit =
                            ACL_NAMES.iter().find(|(_, name)| is_wanted(name)).map_or(0, |(bit, _)| *bit);
                        rows.filter(|row| row.command.all_categories() & bit != 0).collect()
                    }
                    b"pattern" => rows
                        .filter(|row| glob::matches_ignoring_case(pattern, row.full_name().as_bytes()))
                        .collect(),
                    _ => return Err(SYNTAX),
                }
            }
            _ => return Err(SYNTAX),
        };
        session.reply.array(rows.len());
        rows.iter().for_each(|row| session.reply.bulk(row.full_name().as_bytes()));
        Ok(())
    }

    pub(super) fn command_getkeys(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let keys = self.keys_of(&args[2..])?;
        session.reply.array(keys.len());
        keys.iter().for_each(|&(index, _)| session.reply.bulk(args[2 + index]));
        Ok(())
    }

    pub(super) fn command_getkeysandflags(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let keys = self.keys_of(&args[2..])?;
        session.reply.array(keys.len());
        for (index, flags) in keys {
            session.reply.array(2);
            session.reply.bulk(args[2 + index]);
            reply_key_flags(&mut session.reply, flags);
        }
        Ok(())
    }

    fn keys_of(&self, request: Args<'_>) -> Result<Vec<(usize, u32)>, Error> {
        let row = self.table.resolve(request).ok_or(Error::new("ERR Invalid command specified"))?;
        if row.command.keys.is_empty() && row.command.find_keys.is_none() {
            return Err(Error::new("ERR The command has no key arguments"));
        }
        if !row.command.takes(request.len()) {
            return Err(Error::new("ERR Invalid number of arguments specified for command"));
        }
        let keys = key_positions(row.command, request)
            .ok_or(Error::new("ERR Invalid arguments specified for command"))?;
        if keys.is_empty() && !row.command.has(flag::NO_MANDATORY_KEYS) {
            return Err(Error::new("ERR Invalid arguments specified for command"));
        }
        Ok(keys)
    }
}

// --- COMMAND INFO -----------------------------------------------------------------------------------

fn reply_info(reply: &mut Reply, row: &Row) {
    let command = row.command;
    let (first, last, step) = key_range(command.keys);
    reply.array(10);
    reply.bulk(row.full_name().as_bytes());
    reply.integer(i64::from(command.arity));
    reply_flags(reply, command);
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    reply_categories(reply, command.all_categories());
    reply.array(command.tips.len());
    command.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.array(command.keys.len());
    command.keys.iter().for_each(|spec| reply_key_spec(reply, spec));
    reply.array(command.subcommands.len());
    for subcommand in command.subcommands {
        reply_info(
            reply,
            &Row { command: subcommand, container: Some(command), id: 0, keys: KeyPlaces::Unknown },
        );
    }
}

fn reply_flags(reply: &mut Reply, command: &Command) {
    let has = |bit: u32| command.has(bit) || bit == flag::MOVABLE_KEYS && has_movable_keys(command);
    let names: Vec<&str> = FLAG_NAMES.iter().filter(|(bit, _)| has(*bit)).map(|(_, name)| *name).collect();
    reply.set(names.len());
    names.iter().for_each(|name| reply.simple(name));
}

fn reply_categories(reply: &mut Reply, categories: u32) {
    let names = ACL_NAMES.iter().filter(|(bit, _)| categories & bit != 0);
    reply.set(names.clone().count());
    names.for_each(|(_, name)| reply.simple(&format!("@{name}")));
}

fn reply_key_flags(reply: &mut Reply, flags: u32) {
    let names = KEY_FLAG_NAMES.iter().filter(|(bit, _)| flags & bit != 0);
    reply.set(names.clone().count());
    names.for_each(|(_, name)| reply.simple(name));
}

/// Whether a client must ask where the keys are: no range of arguments says it.
fn has_movable_keys(command: &Command) -> bool {
    let is_range =
        |spec: &KeySpec| matches!((spec.begin, spec.find), (KeyBegin::Index(_), KeyFind::Range { .. }));
    command.keys.iter().any(|spec| !is_range(spec) || spec.flags & key_flag::INCOMPLETE != 0)
}

/// First key, last key and step, as far as one range can say where the keys stand.
fn key_range(specs: &[KeySpec]) -> (i64, i64, i64) {
    let mut range: Option<(i64, i64, i64)> = None;
    for spec in specs {
        let (KeyBegin::Index(first), KeyFind::Range { last, step, .. }) = (spec.begin, spec.find) else {
            continue;
        };
        let first = first as i64;
        let last = if last >= 0 { first + i64::from(last) } else { i64::from(last) };
        let step = step as i64;
        range = Some(match range {
            None => (first, last, step),
            Some((before, end, _)) if end + 1 == first => (before, last, 1),
            Some(known) => known,
        });
    }
    range.unwrap_or((0, 0, 0))
}

fn reply_key_spec(reply: &mut Reply, spec: &KeySpec) {
    reply.map(3);
    reply.bulk(b"flags");
    reply_key_flags(reply, spec.flags);
    reply.bulk(b"begin_search");
    reply_begin(reply, spec.begin);
    reply.bulk(b"find_keys");
    reply_find(reply, spec.find);
}

fn reply_begin(reply: &mut Reply, begin: KeyBegin) {
    reply.map(2);
    reply.bulk(b"type");
    match begin {
        KeyBegin::Index(index) => {
            reply.bulk(b"index");
            reply.bulk(b"spec");
            reply.map(1);
            reply.bulk(b"index");
            reply.integer(index as i64);
        }
        KeyBegin::Keyword(word, from) => {
            reply.bulk(b"keyword");
            reply.bulk(b"spec");
            reply.map(2);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            reply.bulk(b"startfrom");
            reply.integer(i64::from(from));
        }
        KeyBegin::Unknown => reply_unknown(reply),
    }
}

fn reply_find(reply: &mut Reply, find: KeyFind) {
    reply.map(2);
    reply.bulk(b"type");
    match find {
        KeyFind::Range { last, step, limit } => {
            reply.bulk(b"range");
            reply.bulk(b"spec");
            reply_numbers(
                reply,
                &[("lastkey", i64::from(last)), ("keystep", step as i64), ("limit", limit as i64)],
            );
        }
        KeyFind::Count { count_at, first, step } => {
            reply.bulk(b"keynum");
            reply.bulk(b"spec");
            let numbers =
                [("keynumidx", count_at as i64), ("firstkey", first as i64), ("keystep", step as i64)];
            reply_numbers(reply, &numbers);
        }
        KeyFind::Unknown => reply_unknown(reply),
    }
}

fn reply_unknown(reply: &mut Reply) {
    reply.bulk(b"unknown");
    reply.bulk(b"spec");
    reply.map(0);
}

fn reply_numbers(reply: &mut Reply, numbers: &[(&str, i64)]) {
    reply.map(numbers.len());
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(*number);
    }
}

// --- COMMAND DOCS -----------------------------------------------------------------------------------

fn reply_docs(reply: &mut Reply, full_name: &str, command: &Command) {
    let mut texts = alloc::vec![
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group),
        ("complexity", command.complexity),
    ];
    if let Some(deprecation) = command.deprecation {
        texts.push(("deprecated_since", deprecation.since));
        texts.push(("replaced_by", deprecation.replaced_by));
    }
    let is_deprecated = command.deprecation.is_some();
    let has_subcommands = !command.subcommands.is_empty();
    let arguments = arguments::of(full_name);
    let parts = [is_deprecated, !arguments.is_empty(), has_subcommands];
    reply.map(texts.len() + parts.into_iter().filter(|is_there| *is_there).count());
    for (name, text) in texts {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if is_deprecated {
        reply.bulk(b"doc_flags");
        reply.set(1);
        reply.simple("deprecated");
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        reply_arguments(reply, arguments);
    }
    if has_subcommands {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        for subcommand in command.subcommands {
            let full_name = format!("{}|{}", command.name, subcommand.name);
            reply.bulk(full_name.as_bytes());
            reply_docs(reply, &full_name, subcommand);
        }
    }
}

fn reply_arguments(reply: &mut Reply, arguments: &[Argument]) {
    reply.array(arguments.len());
    arguments.iter().for_each(|argument| reply_argument(reply, argument));
}

fn reply_argument(reply: &mut Reply, argument: &Argument) {
    let name = match (argument.name, argument.token) {
        ("", Some(token)) => token.to_ascii_lowercase(),
        (name, _) => name.into(),
    };
    let (kind, parts) = kind_of(argument.kind);
    let mut texts = alloc::vec![("name", &*name), ("type", kind)];
    if parts.is_none() {
        texts.push(("display_text", argument.shown.unwrap_or(&name)));
    }
    texts.extend(argument.token.map(|token| ("token", token)));
    texts.extend(argument.since.map(|version| ("since", version)));
    texts.extend(argument.until.map(|version| ("deprecated_since", version)));
    let flags = [
        (argument.is_optional, "optional"),
        (argument.is_several, "multiple"),
        (argument.has_token_each, "multiple_token"),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
    let others = [argument.specification.is_some(), !flags.is_empty(), parts.is_some()];
    reply.map(texts.len() + others.into_iter().filter(|is_there| *is_there).count());
    for (name, text) in texts {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if let Some(index) = argument.specification {
        reply.bulk(b"key_spec_index");
        reply.integer(index as i64);
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.simple(flag));
    }
    if let Some(parts) = parts {
        reply.bulk(b"arguments");
        reply_arguments(reply, parts);
    }
}

/// The name of a kind of argument, and what it is made of.
fn kind_of(kind: Kind) -> (&'static str, Option<&'static [Argument]>) {
    match kind {
        Kind::Text => ("string", None),
        Kind::Int => ("integer", None),
        Kind::Double => ("double", None),
        Kind::Key => ("key", None),
        Kind::Pattern => ("pattern", None),
        Kind::Time => ("unix-time", None),
        Kind::Word => ("pure-token", None),
        Kind::OneOf(parts) => ("oneof", Some(parts)),
        Kind::Block(parts) => ("block", Some(parts)),
    }
}

/// The error for COMMAND's own unknown subcommands.
pub(super) fn unknown_subcommand(name: &[u8]) -> Error {
    Error::text(format!(
        "ERR unknown subcommand '{}'. Try COMMAND HELP.",
        printable(&name[..name.len().min(128)])
    ))
}

/// What COMMAND HELP says.
pub(super) const HELP: &[(&str, &str)] = &[
    ("(no subcommand)", "Details of all commands."),
    ("COUNT", "How many commands there are."),
    ("DOCS [<command> ...]", "Documentation of commands."),
    ("GETKEYS <command line>", "The keys among these arguments."),
    ("GETKEYSANDFLAGS <command line>", "The keys among these arguments and what happens to them."),
    ("INFO [<command> ...]", "Details of commands: arity, flags, keys, categories."),
    ("LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]", "Names of commands."),
];

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use crate::{
        config::Config,
        node::{Node, Seeds, no_stopwatch, testing::TestServer},
        time::Now,
    };

    #[test]
    fn a_command_is_described() {
        TestServer::new("").check(&[
            (
                "COMMAND INFO get nosuch",
                "[[\"get\", :2, [+readonly, +fast], :1, :1, :1, [+@read, +@string, +@fast], [], \
                 [[\"flags\", [+RO, +access], \"begin_search\", [\"type\", \"index\", \"spec\", [\"index\", :1]], \
                 \"find_keys\", [\"type\", \"range\", \"spec\", [\"lastkey\", :0, \"keystep\", :1, \"limit\", :0]]]], []], nil]",
            ),
            ("COMMAND LIST FILTERBY PATTERN get*x", "[\"getex\"]"),
            ("COMMAND LIST FILTERBY MODULE x", "[]"),
            ("COMMAND LIST FILTERBY NAME x", "-ERR syntax error"),
            ("COMMAND LIST PATTERN", "-ERR syntax error"),
            ("COMMAND NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try COMMAND HELP."),
        ]);
    }

    #[test]
    fn all_names_include_those_of_subcommands() {
        let names = TestServer::new("").run("COMMAND LIST");
        assert!(names.contains("\"client\"") && names.contains("\"client|list\""), "{names}");
    }

    #[test]
    fn documentation_is_a_map() {
        let mut server = TestServer::new("");
        server.run("HELLO 3");
        let docs = server.run("COMMAND DOCS get");
        assert!(
            docs.starts_with("{\"get\", {\"summary\", ") && docs.contains("\"group\", \"string\""),
            "{docs}"
        );
        assert!(server.run("COMMAND DOCS slaveof").contains("\"doc_flags\", [+deprecated]"));
        assert_eq!(server.run("COMMAND DOCS nosuch"), "{}");
    }

    #[test]
    fn documentation_tells_of_arguments() {
        let mut server = TestServer::new("");
        let docs = server.run("COMMAND DOCS getex");
        let key = "[\"name\", \"key\", \"type\", \"key\", \"display_text\", \"key\", \"key_spec_index\", :0]";
        let expiration =
            "[\"name\", \"expiration\", \"type\", \"oneof\", \"flags\", [+optional], \"arguments\", ";
        let seconds = "[\"name\", \"seconds\", \"type\", \"integer\", \"display_text\", \"seconds\", \"token\", \"EX\"]";
        let persist = "[\"name\", \"persist\", \"type\", \"pure-token\", \"display_text\", \"persist\", \"token\", \"PERSIST\"]";
        assert!(docs.contains(&alloc::format!("\"arguments\", [{key}, {expiration}[{seconds}, ")), "{docs}");
        assert!(docs.contains(persist), "{docs}");
        assert!(server.run("COMMAND DOCS bitfield_ro").contains("[+optional, +multiple, +multiple_token]"));
        assert!(!server.run("COMMAND DOCS dbsize").contains("arguments"));
    }

    #[test]
    fn every_row_can_be_shown() {
        let mut server = TestServer::new("");
        let count = server.run("COMMAND COUNT");
        for command in ["COMMAND", "COMMAND INFO", "COMMAND DOCS", "COMMAND LIST"] {
            let shown = server.run(command);
            assert!(shown.starts_with('[') && shown.contains("\"get\""), "{command}");
        }
        assert!(count[1..].parse::<usize>().is_ok_and(|count| count > 100), "{count}");
    }

    #[test]
    fn a_renamed_command_is_known_by_its_new_name_only() {
        let mut server = TestServer::new("rename-command FLUSHALL wipe\nrename-command CONFIG \"\"");
        assert!(server.run("FLUSHALL").starts_with("-ERR unknown command 'FLUSHALL'"));
        assert!(server.run("CONFIG GET port").starts_with("-ERR unknown command 'CONFIG'"));
        server.check(&[("SET k v", "+OK"), ("WIPE", "+OK"), ("DBSIZE", ":0")]);
        let mut node = Node::new(
            {
                let mut config = Config::default();
                config.load("rename-command NOSUCH x", &mut |_| Ok(Vec::new())).expect("valid");
                config
            },
            Seeds { seed: 1, process_id: 1, stopwatch: no_stopwatch },
            Now::default(),
        );
        assert_eq!(
            node.rename_commands(),
            Err("rename-command NOSUCH: No such command in rename-command".into())
        );
    }

    #[test]
    fn a_subcommand_is_not_called_by_its_full_name() {
        assert!(TestServer::new("").run("config|get a").starts_with("-ERR unknown command 'config|get'"));
    }

    #[test]
    fn keys_are_found_in_a_command_line() {
        TestServer::new("").check(&[
            ("COMMAND GETKEYS MSET a 1 b 2", "[\"a\", \"b\"]"),
            ("COMMAND GETKEYSANDFLAGS SET k v", "[[\"k\", [+OW, +update]]]"),
            ("COMMAND GETKEYS PING a", "-ERR The command has no key arguments"),
            ("COMMAND GETKEYS NOSUCH a", "-ERR Invalid command specified"),
            ("COMMAND GETKEYS GET a b", "-ERR Invalid number of arguments specified for command"),
        ]);
    }
}
