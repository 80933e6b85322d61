//! A bench for the commands' unit tests: data and the table of commands, no server around them.
//!
//! Exists so that a test is a list of commands with the replies they must give.
//!
//! How replies are shown: `+OK`, `-ERR …`, `:1`, `"bulk"`, `nil`, `[a, b]`.
//!
//! Not here: sessions, MULTI, blocking (`node/`); Redis beside us (`tests/interop`).

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use super::{Action, Block, Call, Context, Record, table::Table};
use crate::{
    bytes::quote::{quote_if_needed, quoted, split_args},
    error::wrong_arity,
    resp::{Protocol, Reply},
    store::Store,
};

/// The time a bench begins at, milliseconds since 1970.
pub const NOW_MS: u64 = 1_700_000_000_000;

/// Runs commands on a fresh bench and compares each reply.
#[track_caller]
pub fn check(commands: &[(&str, &str)]) {
    Bench::new().check(commands);
}

/// A store of 16 databases and the table of commands.
pub struct Bench {
    /// The data; its clock is moved by hand.
    pub store: Store,
    /// Circumstances every command is run in.
    pub context: Context,
    /// Version of the protocol replies are written in.
    pub protocol: Protocol,
    /// Where the last command began to wait, if it did.
    pub block: Option<Block>,
    table: Table,
    records: Vec<String>,
}

impl Bench {
    /// An empty one, with every keyspace event on.
    #[allow(clippy::new_without_default)] // Made by name only.
    pub fn new() -> Bench {
        let mut store = Store::new(16, 1);
        store.now_ms = NOW_MS;
        store.event_mask = u32::MAX;
        Bench {
            store,
            context: Context {
                deny_blocking: false,
                lazyfree_user_del: false,
                lazyfree_server_del: false,
                skip_checksum: false,
                rdb_version: 11,
                rdb_compression: true,
                may_read_all: true,
                is_replay: false,
                is_script: false,
            },
            protocol: Protocol::Resp2,
            block: None,
            table: Table::new(),
            records: Vec::new(),
        }
    }

    /// Runs a command, quoted as `redis-cli` takes it; the reply as text.
    ///
    /// # Panics
    /// If there is no such command, if it is one of the node's, or if it fails and yet changes something.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> String {
        let words = split_args(line.as_bytes()).expect("quotes are closed");
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        self.run_args(&args)
    }

    /// [`Bench::run`] for arguments already split.
    #[track_caller]
    pub fn run_args(&mut self, args: &[&[u8]]) -> String {
        let row = self.table.resolve(args).expect("the command exists");
        if !row.command.takes(args.len()) {
            return format!("-{}", wrong_arity(&row.full_name()));
        }
        let Action::Run(function) = row.command.action else { panic!("{} is the node's", row.full_name()) };
        let mut reply = Reply::new(self.protocol);
        let mut record = Record::default();
        let dirty = self.store.dirty;
        let mut call = Call {
            args,
            store: &mut self.store,
            reply: &mut reply,
            record: &mut record,
            context: self.context,
            block: None,
        };
        let result = function(&mut call);
        self.block = call.block;
        let is_changed = self.store.dirty != dirty;
        for expired in core::mem::take(&mut self.store.expired) {
            self.records.push(show_command(&[b"DEL", &expired.key]));
        }
        for expired in core::mem::take(&mut self.store.expired_fields) {
            let fields: Vec<&[u8]> = expired.fields.iter().map(|field| &**field).collect();
            self.records.push(show_command(&[&[b"HDEL", &expired.key.key[..]], &fields[..]].concat()));
        }
        if let Err(error) = result {
            assert!(!is_changed, "{error}: an error must not change anything");
            return format!("-{error}");
        }
        self.take_record(args, &record, is_changed);
        assert_eq!(self.block.is_some(), reply.is_empty(), "one reply, unless it waits");
        show_reply(reply.as_bytes())
    }

    fn take_record(&mut self, args: &[&[u8]], record: &Record, is_changed: bool) {
        if !is_changed && !record.is_forced {
            return;
        }
        if !record.is_replaced {
            self.records.push(show_command(args));
        }
        for command in &record.commands {
            let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            self.records.push(show_command(&args));
        }
    }

    /// Runs commands and compares each reply.
    #[track_caller]
    pub fn check(&mut self, commands: &[(&str, &str)]) {
        for (command, expected) in commands {
            assert_eq!(self.run(command), *expected, "{command}");
        }
    }

    /// Runs a command and compares what it logs.
    #[track_caller]
    pub fn logs(&mut self, command: &str, expected: &[&str]) {
        self.records.clear();
        self.run(command);
        assert_eq!(self.records(), expected, "{command}");
    }

    /// What was logged since this was last asked, one command a line.
    pub fn records(&mut self) -> Vec<String> {
        core::mem::take(&mut self.records)
    }

    /// Keyspace events since this was last asked: `set k`, or `set k @1` in another database than the selected one.
    pub fn events(&mut self) -> Vec<String> {
        let selected = self.store.selected;
        let show = |event: crate::store::Event| {
            let key = quote_lossy(&event.key);
            if event.db == selected {
                format!("{} {key}", event.name)
            } else {
                format!("{} {key} @{}", event.name, event.db)
            }
        };
        core::mem::take(&mut self.store.events).into_iter().map(show).collect()
    }
}

fn show_command(args: &[&[u8]]) -> String {
    let words: Vec<String> = args.iter().map(|argument| quote_lossy(argument)).collect();
    words.join(" ")
}

fn quote_lossy(bytes: &[u8]) -> String {
    match core::str::from_utf8(bytes) {
        Ok(text) => quote_if_needed(text).into_owned(),
        Err(_) => quoted(bytes),
    }
}

/// One whole reply as text.
fn show_reply(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "(waits)".to_owned();
    }
    let (shown, rest) = show_frame(bytes);
    assert!(rest.is_empty(), "more than one reply: {:?}", String::from_utf8_lossy(bytes));
    shown
}

/// The first frame as text, and what follows it.
pub(crate) fn show_frame(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a line ends");
    let (line, rest) = (core::str::from_utf8(&bytes[..end]).expect("a header is text"), &bytes[end + 2..]);
    let count = || line[1..].parse::<i64>().expect("a header has a count");
    match bytes[0] {
        b'_' => ("nil".to_owned(), rest),
        b'$' | b'*' if count() < 0 => ("nil".to_owned(), rest),
        b'$' | b'=' => {
            let (text, rest) = rest.split_at(count() as usize);
            (quoted(text), rest.strip_prefix(b"\r\n").expect("a bulk ends"))
        }
        b'*' | b'~' | b'>' => show_items("[", "]", count(), rest),
        b'%' => show_items("{", "}", count() * 2, rest),
        _ => (line.to_owned(), rest),
    }
}

fn show_items<'a>(open: &str, close: &str, count: i64, mut rest: &'a [u8]) -> (String, &'a [u8]) {
    let mut items = Vec::new();
    for _ in 0..count {
        let (item, after) = show_frame(rest);
        items.push(item);
        rest = after;
    }
    (format!("{open}{}{close}", items.join(", ")), rest)
}
