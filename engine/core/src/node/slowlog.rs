//! SLOWLOG: the commands that took longest lately, with arguments cut to a bearable size.
//!
//! Always true: at most `slowlog-max-len` entries, the newest first; secrets are not among them.

use alloc::{collections::VecDeque, format, vec::Vec};

use super::{Node, monitoring::without_secrets};
use crate::{
    commands::{Args, CommandResult, parse_int, spec::flag, table::Row},
    error::Error,
    session::Session,
};

/// Arguments kept of a command; the last one tells how many were left out.
const ARGS_MAX: usize = 32;
/// Bytes kept of an argument.
const ARG_BYTES_MAX: usize = 128;

#[derive(Clone, Debug)]
struct Entry {
    id: u64,
    at_s: u64,
    elapsed_us: u64,
    args: Vec<Vec<u8>>,
    address: Vec<u8>,
    name: Vec<u8>,
}

/// The slow log.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlowLog {
    entries: VecDeque<Entry>,
    next_id: u64,
}

impl SlowLog {
    /// Forgets the oldest entries beyond `len_max`.
    pub(crate) fn trim(&mut self, len_max: u64) {
        self.entries.truncate(usize::try_from(len_max).unwrap_or(usize::MAX));
    }
}

impl Node {
    /// Takes a command into the slow log if it was slow.
    pub(super) fn record_slow(&mut self, session: &Session, row: &Row, args: Args<'_>, elapsed_us: u64) {
        let threshold_us = self.config.slowlog_log_slower_than;
        let is_slow = threshold_us >= 0 && elapsed_us >= threshold_us as u64;
        if !is_slow || row.command.has(flag::SKIP_SLOWLOG) {
            return;
        }
        let entry = Entry {
            id: self.slowlog.next_id,
            at_s: self.now.wall_s(),
            elapsed_us,
            args: shortened(&without_secrets(row, args)),
            address: session.peer.address.clone().into_bytes(),
            name: session.name.clone(),
        };
        self.slowlog.next_id += 1;
        self.slowlog.entries.push_front(entry);
        self.slowlog.trim(self.config.slowlog_max_len);
    }

    pub(super) fn slowlog_get(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let count = match args {
            [_, _] => 10,
            [_, _, count] => match parse_int(count) {
                Ok(-1) => usize::MAX,
                Ok(count) if count >= 0 => count as usize,
                Ok(_) => return Err(Error::new("ERR count should be greater than or equal to -1")),
                Err(error) => return Err(error),
            },
            _ => return Err(crate::error::wrong_arity("slowlog|get")),
        };
        let reply = &mut session.reply;
        let entries = &self.slowlog.entries;
        reply.array(entries.len().min(count));
        for entry in entries.iter().take(count) {
            reply.array(6);
            reply.integer(entry.id as i64);
            reply.integer(entry.at_s as i64);
            reply.integer(entry.elapsed_us as i64);
            reply.array(entry.args.len());
            entry.args.iter().for_each(|arg| reply.bulk(arg));
            reply.bulk(&entry.address);
            reply.bulk(&entry.name);
        }
        Ok(())
    }

    pub(super) fn slowlog_len(&mut self, session: &mut Session) {
        session.reply.integer(self.slowlog.entries.len() as i64);
    }

    pub(super) fn slowlog_reset(&mut self, session: &mut Session) {
        self.slowlog.entries.clear();
        session.reply.ok();
    }
}

/// Arguments as the log keeps them.
fn shortened(args: Args<'_>) -> Vec<Vec<u8>> {
    let kept = if args.len() > ARGS_MAX { ARGS_MAX - 1 } else { args.len() };
    let mut short: Vec<Vec<u8>> = args[..kept].iter().map(|arg| shortened_arg(arg)).collect();
    if kept < args.len() {
        short.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    short
}

fn shortened_arg(arg: &[u8]) -> Vec<u8> {
    if arg.len() <= ARG_BYTES_MAX {
        return arg.to_vec();
    }
    let more = format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX);
    [&arg[..ARG_BYTES_MAX], more.as_bytes()].concat()
}

/// What SLOWLOG HELP says.
pub(super) const HELP: &[(&str, &str)] = &[
    (
        "GET [<count>]",
        "The latest entries (10, or all with -1): id, time, microseconds, arguments, address and name of the client.",
    ),
    ("LEN", "How many entries there are."),
    ("RESET", "Forget all."),
];

#[cfg(test)]
mod tests {
    use crate::node::testing::TestServer;

    #[test]
    fn commands_slower_than_the_threshold_are_kept() {
        let mut server = TestServer::new("slowlog-log-slower-than 0");
        server.check(&[
            ("SLOWLOG RESET", "+OK"),
            ("GET a", "nil"),
            ("SLOWLOG LEN", ":2"),
            ("CONFIG SET slowlog-log-slower-than -1", "+OK"),
            ("PING", "+PONG"),
            ("SLOWLOG GET 1", "[[:2, :1700000000, :0, [\"SLOWLOG\", \"LEN\"], \"127.0.0.1:50000\", \"\"]]"),
            ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"),
            ("SLOWLOG GET x", "-ERR value is not an integer or out of range"),
        ]);
    }

    #[test]
    fn the_log_keeps_its_length_and_shortens_arguments() {
        let mut server = TestServer::new("slowlog-log-slower-than 0\nslowlog-max-len 2");
        let many = "a ".repeat(33);
        server.run(&alloc::format!("DEL {many}"));
        assert!(server.run("SLOWLOG GET 1").contains("\"... (3 more arguments)\"]"));
        server.run(&alloc::format!("SET k {}", "x".repeat(200)));
        assert!(server.run("SLOWLOG GET 1").contains("x... (72 more bytes)\"]"));
        assert_eq!(server.run("SLOWLOG LEN"), ":2");
        assert_eq!(server.run("CONFIG SET slowlog-max-len 1"), "+OK");
        assert_eq!(server.run("SLOWLOG LEN"), ":1");
    }

    #[test]
    fn secrets_are_not_kept() {
        let mut server = TestServer::new("slowlog-log-slower-than 0");
        server.run("CONFIG SET requirepass hush hz 11");
        assert!(server.run("SLOWLOG GET 1").contains("\"requirepass\", \"(redacted)\", \"hz\", \"11\"]"));
        server.run("AUTH hush");
        assert!(server.run("SLOWLOG GET 1").contains("[\"AUTH\", \"(redacted)\"]"));
    }
}
