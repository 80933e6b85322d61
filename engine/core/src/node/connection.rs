//! Clients coming, going, and speaking about themselves: HELLO, SELECT, QUIT, RESET, PING, ECHO.
//!
//! Not here: AUTH (`acl.rs`), CLIENT and its subcommands (`client.rs`), sockets (the host).

use alloc::format;

use super::Node;
use crate::{
    acl::DEFAULT,
    commands::{Args, CommandResult, parse_db, parse_int},
    error::Error,
    host::{ClientId, Effect, Effects, Peer},
    resp::Protocol,
    session::{ReplyMode, Session},
};

const PROTECTED: &str = "DENIED Redis is running in protected mode because protected mode is enabled and no password is \
    set for the default user. In this mode connections are only accepted from the loopback interface. If you want to \
    connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode \
    sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host \
    the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE \
    to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis \
    configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the \
    server manually just for testing, restart it with the '--protected-mode no' option. 4) Set up an authentication password \
    for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting \
    connections from the outside.";

impl Node {
    /// Takes a connection in, or turns it away with a reason.
    pub(super) fn accept(&mut self, peer: Peer, effects: &mut Effects) -> ClientId {
        let now = self.now;
        let is_full = self.sessions.len() >= self.config.maxclients as usize;
        let is_stranger = self.config.protected_mode && !self.is_auth_required() && !peer.is_local;
        let is_authenticated = !self.is_auth_required();
        let session = self.sessions.open(now, peer);
        session.is_authenticated = is_authenticated;
        let client = session.client;
        if is_full || is_stranger {
            session.reply.error(if is_full { "ERR max number of clients reached" } else { PROTECTED });
            session.gate(0);
            session.release(0);
            session.is_closing = true;
            self.counters.rejected_connections += 1;
            effects.push(Effect::Close { client, now: false });
            return client;
        }
        self.counters.connections += 1;
        tracing::trace!("Accepted {}", session.peer.address);
        client
    }

    /// Ends a connection from our side: at once, or after its output.
    pub(super) fn close_session(&mut self, session: &mut Session, now: bool, effects: &mut Effects) {
        if !session.is_closing || now {
            session.is_closing = true;
            effects.push(Effect::Close { client: session.client, now });
        }
    }

    /// A connection is gone: nothing of it stays.
    pub(super) fn forget(&mut self, client: ClientId) {
        self.with_session(client, |node, session| {
            node.unwatch(session);
            node.forget_waiting(session);
            node.forget_subscriptions(session);
            node.stop_tracking(session);
        });
        self.gated.retain(|&other| other != client);
        self.monitors.remove(&client);
        let session = self.sessions.close(client);
        self.keep_for_script(session);
    }

    pub(super) fn ping(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        if args.len() > 2 {
            return Err(Error::new("ERR wrong number of arguments for 'ping' command"));
        }
        if session.is_subscribed() && session.reply.protocol() == Protocol::Resp2 {
            session.reply.array(2);
            session.reply.bulk(b"pong");
            session.reply.bulk(args.get(1).copied().unwrap_or(b""));
        } else {
            match args.get(1) {
                Some(text) => session.reply.bulk(text),
                None => session.reply.simple("PONG"),
            }
        }
        Ok(())
    }

    pub(super) fn select(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        session.db = parse_db(args[1], self.store.db_count())?;
        session.reply.ok();
        Ok(())
    }

    pub(super) fn hello(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let mut protocol = session.reply.protocol();
        let mut index = 1;
        if let Some(version) = args.get(1) {
            protocol = match parse_int(version) {
                Ok(2) => Protocol::Resp2,
                Ok(3) => Protocol::Resp3,
                Ok(_) => return Err(Error::new("NOPROTO unsupported protocol version")),
                Err(_) => return Err(Error::new("ERR Protocol version is not an integer or out of range")),
            };
            index = 2;
        }
        let mut credentials = None;
        let mut name = None;
        while index < args.len() {
            let more = args.len() - index - 1;
            if args[index].eq_ignore_ascii_case(b"auth") && more >= 2 {
                credentials = Some((args[index + 1], args[index + 2]));
                index += 3;
            } else if args[index].eq_ignore_ascii_case(b"setname") && more >= 1 {
                name = Some(args[index + 1]);
                index += 2;
            } else {
                return Err(Error::text(format!(
                    "ERR Syntax error in HELLO option '{}'",
                    crate::commands::printable(args[index])
                )));
            }
        }
        if let Some((user, password)) = credentials {
            self.authenticate(session, args[0], user, password)?;
        }
        if !session.is_authenticated && self.is_auth_required() {
            return Err(Error::new(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
                 <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
            ));
        }
        if let Some(name) = name {
            set_name(session, name)?;
        }
        session.reply.set_protocol(protocol);
        let reply = &mut session.reply;
        reply.map(7);
        reply.bulk(b"server");
        reply.bulk(b"redis");
        reply.bulk(b"version");
        reply.bulk(crate::config::REDIS_VERSION.as_bytes());
        reply.bulk(b"proto");
        reply.integer(if protocol == Protocol::Resp3 { 3 } else { 2 });
        reply.bulk(b"id");
        reply.integer(session.number as i64);
        reply.bulk(b"mode");
        reply.bulk(b"standalone");
        reply.bulk(b"role");
        reply.bulk(b"master");
        reply.bulk(b"modules");
        reply.array(0);
        Ok(())
    }

    pub(super) fn quit(&mut self, session: &mut Session, effects: &mut Effects) -> CommandResult {
        session.reply.ok();
        self.close_session(session, false, effects);
        Ok(())
    }

    pub(super) fn reset(&mut self, session: &mut Session) -> CommandResult {
        self.discard_transaction(session);
        self.forget_subscriptions(session);
        session.is_monitor = false;
        self.stop_tracking(session);
        session.db = 0;
        session.name.clear();
        session.no_evict = false;
        session.no_touch = false;
        session.reply_mode = ReplyMode::On;
        session.is_authenticated = !self.is_auth_required();
        session.user = DEFAULT.into();
        session.unrestricted_at = None;
        session.reply.set_protocol(Protocol::Resp2);
        session.reply.simple("RESET");
        Ok(())
    }
}

/// CLIENT SETNAME and HELLO SETNAME.
///
/// # Errors
/// A name with blanks, line ends or other unprintable bytes.
pub(super) fn set_name(session: &mut Session, name: &[u8]) -> CommandResult {
    if name.iter().any(|byte| !(b'!'..=b'~').contains(byte)) {
        return Err(Error::new("ERR Client names cannot contain spaces, newlines or special characters."));
    }
    session.name = name.to_vec();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::node::conversation::Conversation;

    #[test]
    fn strangers_are_turned_away_while_nobody_needs_a_password() {
        let mut server = Conversation::new("");
        let stranger = server.connect_stranger();
        assert!(server.hears(stranger).starts_with("-DENIED Redis is running in protected mode"));
        assert!(server.is_closing(stranger));
        let local = server.connect();
        assert_eq!(server.says(local, "PING"), "+PONG");
        assert_eq!(server.says(local, "CONFIG SET protected-mode no"), "+OK");
        let stranger = server.connect_stranger();
        assert_eq!(server.says(stranger, "PING"), "+PONG");
    }

    #[test]
    fn a_password_lets_strangers_knock() {
        let mut server = Conversation::new("requirepass secret");
        let stranger = server.connect_stranger();
        assert_eq!(server.says(stranger, "PING"), "-NOAUTH Authentication required.");
        assert_eq!(server.says(stranger, "AUTH secret"), "+OK");
        assert_eq!(server.says(stranger, "PING"), "+PONG");
    }

    #[test]
    fn one_client_too_many_is_told_so() {
        let mut server = Conversation::new("maxclients 2");
        let first = server.connect();
        server.connect();
        let third = server.connect();
        assert_eq!(server.hears(third), "-ERR max number of clients reached");
        assert!(server.is_closing(third));
        assert!(server.says(first, "INFO stats").contains("rejected_connections:1"));
    }

    #[test]
    fn idle_clients_leave_after_the_timeout_and_subscribers_stay() {
        let mut server = Conversation::new("timeout 10");
        let (idle, busy, listening) = (server.connect(), server.connect(), server.connect());
        server.says(listening, "SUBSCRIBE news");
        for _ in 0..12 {
            server.wait_ms(1_000);
            assert_eq!(server.says(busy, "PING"), "+PONG");
        }
        assert!(server.is_closing(idle));
        assert!(!server.is_closing(busy) && !server.is_closing(listening));
    }
}
