//! MONITOR: every command as it is run, told to whoever asked; and what of a command must not be shown.
//!
//! Always true: administrators' commands and secrets are not shown; a line leaves when its command's own reply may.

use alloc::{format, string::String, vec::Vec};

use super::Node;
use crate::{
    bytes::quote::quoted,
    commands::{Action, Args, CommandResult, NodeCommand, spec::flag, table::Row},
    config::{DIRECTIVES, Flag},
    error::Error,
    session::Session,
};

const REDACTED: &[u8] = b"(redacted)";

impl Node {
    pub(super) fn monitor(&mut self, session: &mut Session) -> CommandResult {
        if session.denies_blocking() {
            return Err(Error::new("ERR MONITOR isn't allowed for DENY BLOCKING client"));
        }
        session.is_monitor = true;
        self.monitors.insert(session.client);
        session.reply.ok();
        Ok(())
    }

    /// Shows a command that was just run to those who monitor.
    pub(super) fn tell_monitors(&mut self, session: &mut Session, row: &Row, args: Args<'_>) {
        if !row.command.has(flag::SKIP_MONITOR) && !row.command.has(flag::ADMIN) {
            self.show_to_monitors(session, args);
        }
    }

    /// Shows a command to those who monitor, whatever it is.
    pub(super) fn show_to_monitors(&mut self, session: &mut Session, args: Args<'_>) {
        if self.monitors.is_empty() {
            return;
        }
        let Some(row) = &self.table.resolve(args) else { return };
        let line = self.monitor_line(session, row, args);
        for client in self.monitors.clone() {
            if client == session.client {
                if session.is_monitor {
                    session.reply.simple(&line);
                }
                continue;
            }
            if self.sessions.get(client).is_none_or(|other| !other.is_monitor) {
                self.monitors.remove(&client);
            }
            self.with_session(client, |node, other| {
                if other.is_monitor {
                    other.reply.simple(&line);
                    node.owe(other);
                }
            });
        }
    }

    fn monitor_line(&self, session: &Session, row: &Row, args: Args<'_>) -> String {
        let at = self.now.wall_us;
        let address = match session.peer.is_unix {
            _ if session.is_script => "lua".into(),
            true => format!("unix:{}", session.peer.address.trim_end_matches(":0")),
            false => session.peer.address.clone(),
        };
        let mut line = format!("{}.{:06} [{} {address}]", at / 1_000_000, at % 1_000_000, session.db);
        for arg in without_secrets(row, args) {
            line.push(' ');
            line += &quoted(arg);
        }
        line
    }
}

/// A command's arguments as they may be shown and kept.
pub(super) fn without_secrets<'a>(row: &Row, args: Args<'a>) -> Vec<&'a [u8]> {
    let mut shown = args.to_vec();
    let is_word = |index: usize, word: &str| args[index].eq_ignore_ascii_case(word.as_bytes());
    match row.command.action {
        Action::Node(NodeCommand::Auth) => shown[1..].fill(REDACTED),
        Action::Node(NodeCommand::Hello) => {
            for index in 1..args.len().saturating_sub(2) {
                if is_word(index, "auth") {
                    shown[index + 1..index + 3].fill(REDACTED);
                }
            }
        }
        Action::Node(NodeCommand::Migrate) => {
            let mut index = 6;
            while index < args.len() && !is_word(index, "keys") {
                let secrets = 2 * usize::from(is_word(index, "auth2")) + usize::from(is_word(index, "auth"));
                let end = args.len().min(index + 1 + secrets);
                shown[index + 1..end].fill(REDACTED);
                index = end;
            }
        }
        Action::Node(NodeCommand::AclSetUser) => shown[2..].fill(REDACTED),
        Action::Node(NodeCommand::ConfigSet) => {
            for index in (2..args.len().saturating_sub(1)).step_by(2) {
                let is_secret = DIRECTIVES
                    .iter()
                    .filter(|directive| directive.flags.contains(&Flag::Sensitive))
                    .any(|directive| is_word(index, directive.name));
                if is_secret {
                    shown[index + 1] = REDACTED;
                }
            }
        }
        _ => {}
    }
    shown
}

#[cfg(test)]
mod tests {
    use crate::node::testing::TestServer;

    #[test]
    fn monitors_see_commands_but_no_secrets() {
        let mut server = TestServer::new("");
        let monitor = server.connect();
        assert_eq!(server.run_as(monitor, "MONITOR"), "+OK");
        server.run("set k 'a b\n'");
        server.run("AUTH hush");
        server.run("CONFIG GET hz");
        server.run("SELECT 3");
        assert_eq!(
            server.read(monitor),
            "+1700000000.000000 [0 127.0.0.1:50000] \"set\" \"k\" \"a b\\n\"\n\
             +1700000000.000000 [0 127.0.0.1:50000] \"AUTH\" \"(redacted)\"\n\
             +1700000000.000000 [3 127.0.0.1:50000] \"SELECT\" \"3\""
        );
    }

    #[test]
    fn a_transaction_is_shown_as_it_is_run() {
        let mut server = TestServer::new("");
        let monitor = server.connect();
        server.run_as(monitor, "MONITOR");
        server.check(&[("MULTI", "+OK"), ("SET k 1", "+QUEUED"), ("EXEC", "[+OK]")]);
        let lines = server.read(monitor);
        let words: alloc::vec::Vec<&str> = lines.lines().filter_map(|line| line.split(' ').nth(3)).collect();
        assert_eq!(words, ["\"MULTI\"", "\"SET\"", "\"EXEC\""]);
    }

    #[test]
    fn reset_ends_monitoring() {
        let mut server = TestServer::new("");
        let monitor = server.connect();
        server.run_as(monitor, "MONITOR");
        assert_eq!(server.run_as(monitor, "RESET"), "+RESET");
        server.run("PING");
        assert_eq!(server.read(monitor), "(waits)");
    }
}
