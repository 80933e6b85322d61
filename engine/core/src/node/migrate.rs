//! MIGRATE: keys on their way to another server.
//!
//! The keys are dumped, sent as RESTOREs, and removed here once the other server has taken them. Redis stands still meanwhile, for
//! as long as the other server may take; here the loop goes on (nobody's sync is late), and only what would change data waits, so
//! that what was sent is what is removed. That is why it can be part of no transaction and no script.
//!
//! Always true: one migration at a time; nothing changes the data set while it is under way; a key is removed only after the other
//! server said `+OK` to it, whether or not the client is still there, and is logged as DEL.
//!
//! Not here: sockets (`engine/linux/src/exchange.rs`), a payload's bytes (`rdb/payload.rs`), RESTORE (`commands/dump.rs`).

use alloc::{format, string::String, vec, vec::Vec};

use super::{Node, execute::Request};
use crate::{
    bytes::number::{DecimalBuffer, format_u64},
    commands::{Args, Record, parse_int},
    error::{Error, SYNTAX},
    host::{ClientId, Effect, Effects, Exchange, ExchangeStep, Ticket},
    rdb,
    resp::encode_command,
    session::{OwnedArgs, Session, Waiting},
};

/// How long a step of the talk may take if the client names no time, milliseconds.
const TIMEOUT_DEFAULT_MS: u64 = 1000;

/// What is under way.
#[derive(Clone, Debug)]
pub(super) struct Migration {
    ticket: Ticket,
    client: ClientId,
    args: OwnedArgs,
    db: usize,
    /// The keys that were sent, in their order.
    keys: Vec<Vec<u8>>,
    /// Replies that come before those to the keys: of AUTH, of SELECT.
    greetings: usize,
    /// The keys stay here, too.
    is_copy: bool,
}

/// What a client asks for.
struct Order<'a> {
    host: &'a [u8],
    port: &'a [u8],
    keys: Args<'a>,
    db: i64,
    timeout_ms: u64,
    is_copy: bool,
    may_replace: bool,
    /// Arguments of AUTH; none if it is not needed.
    credentials: Args<'a>,
}

impl Node {
    pub(super) fn migrate(
        &mut self,
        session: &mut Session,
        args: Args<'_>,
        effects: &mut Effects,
    ) -> Result<Option<Waiting>, Error> {
        let order = parse(args)?;
        let mut request = Vec::new();
        let greetings = greet(&order, &mut request);
        self.store.selected = session.db;
        let mut keys = Vec::new();
        for &key in order.keys {
            if self.put_restore(key, order.may_replace, &mut request) {
                keys.push(key.to_vec());
            }
        }
        self.log_expired();
        if keys.is_empty() {
            session.reply.simple("NOKEY");
            return Ok(None);
        }
        let ticket = self.ids.ticket();
        effects.push(Effect::Exchange(Exchange {
            ticket,
            host: String::from_utf8_lossy(order.host).into_owned(),
            port: String::from_utf8_lossy(order.port).parse().unwrap_or(0),
            request: request.into(),
            replies: greetings + keys.len(),
            timeout_ms: order.timeout_ms,
        }));
        self.migration = Some(Migration {
            ticket,
            client: session.client,
            args: args.iter().map(|arg| arg.to_vec()).collect(),
            db: session.db,
            keys,
            greetings,
            is_copy: order.is_copy,
        });
        self.store.is_paused = true;
        Ok(Some(Waiting::Migration))
    }

    /// Appends the RESTORE that makes a key of the selected database; `false` if there is no such key.
    fn put_restore(&mut self, key: &[u8], may_replace: bool, request: &mut Vec<u8>) -> bool {
        let (version, is_compressed) = (self.config.rdb_version as u16, self.config.rdbcompression);
        let now_ms = self.store.now_ms;
        let Some(entry) = self.store.read(key) else { return false };
        // 0 would be for ever.
        let ttl_ms = entry.expiry_ms().map_or(0, |at| at.saturating_sub(now_ms).max(1));
        let payload = rdb::dump(entry.content(), version, is_compressed);
        let mut digits = DecimalBuffer::default();
        let mut restore: Vec<&[u8]> = vec![b"RESTORE", key, format_u64(ttl_ms, &mut digits), &payload];
        restore.extend(may_replace.then_some(&b"REPLACE"[..]));
        encode_command(&restore, request);
        true
    }

    /// The other server has answered, or will not.
    pub(super) fn exchanged(&mut self, ticket: Ticket, replies: &[Vec<u8>], failed_at: Option<ExchangeStep>) {
        let Some(migration) = self.migration.take_if(|migration| migration.ticket == ticket) else { return };
        self.store.is_paused = self.is_data_paused();
        let (taken, result) = migration.judge(replies, failed_at);
        if !migration.is_copy && !taken.is_empty() {
            self.remove_taken(migration.db, &taken);
        }
        self.with_session(migration.client, |node, session| {
            node.answer_migration(session, &migration, result);
        });
    }

    fn remove_taken(&mut self, db: usize, keys: Args<'_>) {
        self.store.selected = db;
        for &key in keys {
            if self.store.remove(key) {
                self.store.touch_removed(key);
            }
        }
        let args = [&[&b"DEL"[..]], keys].concat();
        self.log_command(db, &Request { args: &args, frame: None }, true, &mut Record::default());
        self.settle_unowned_changes();
    }

    fn answer_migration(&mut self, session: &mut Session, migration: &Migration, result: Result<(), Error>) {
        let Some(blocked) = self.unblock(session) else { return };
        let args: Vec<&[u8]> = migration.args.iter().map(Vec::as_slice).collect();
        let row = self.table.resolve(&args).expect("it was run under this name");
        match result {
            Ok(()) => session.reply.ok(),
            Err(error) => {
                self.count_error(error.code());
                self.command_stats[row.id].failed += 1;
                session.reply.error(error.as_str());
            }
        }
        session.last_write = self.aof.journal.offset_buffered();
        self.account_for(session, &row, &args, blocked.ran_ns + self.waited_ns(&blocked));
        self.owe(session);
        self.resume(session);
    }
}

impl Migration {
    /// Which keys the other server has taken, and what its client is to be told.
    fn judge(&self, replies: &[Vec<u8>], failed_at: Option<ExchangeStep>) -> (Vec<&[u8]>, Result<(), Error>) {
        let is_refusal = |reply: &&Vec<u8>| reply.starts_with(b"-");
        let (greetings, restores) = replies.split_at(replies.len().min(self.greetings));
        let refusal = greetings.iter().chain(restores).find(is_refusal);
        // Without AUTH or SELECT a key is at best in the wrong place.
        let is_let_in = !greetings.iter().any(|reply| is_refusal(&reply));
        let answered = self.keys.iter().zip(restores);
        let taken = answered.filter(|(_, reply)| is_let_in && !is_refusal(reply)).map(|(key, _)| &key[..]);
        let result = match (refusal, failed_at) {
            (Some(refusal), _) => Err(Error::text(format!(
                "ERR Target instance replied with error: {}",
                String::from_utf8_lossy(&refusal[1..])
            ))),
            (None, Some(step)) => Err(failure(step)),
            (None, None) => Ok(()),
        };
        (taken.collect(), result)
    }
}

fn failure(step: ExchangeStep) -> Error {
    Error::new(match step {
        ExchangeStep::Connecting => "IOERR error or timeout connecting to the client",
        ExchangeStep::Writing => "IOERR error or timeout writing to target instance",
        ExchangeStep::Reading => "IOERR error or timeout reading to target instance",
    })
}

/// Appends what comes before the keys; how many replies that takes.
fn greet(order: &Order<'_>, request: &mut Vec<u8>) -> usize {
    if !order.credentials.is_empty() {
        encode_command(&[&[&b"AUTH"[..]], order.credentials].concat(), request);
    }
    encode_command(&[b"SELECT", format!("{}", order.db).as_bytes()], request);
    1 + usize::from(!order.credentials.is_empty())
}

fn parse<'a>(args: Args<'a>) -> Result<Order<'a>, Error> {
    let [_, host, port, _, db, timeout, ..] = *args else { return Err(SYNTAX) };
    let (mut keys, mut credentials): (Args<'a>, Args<'a>) = (&args[3..4], &[]);
    let (mut is_copy, mut may_replace) = (false, false);
    let mut index = 6;
    while let Some(word) = args.get(index) {
        index += 1;
        match &*word.to_ascii_lowercase() {
            b"copy" => is_copy = true,
            b"replace" => may_replace = true,
            b"auth" => credentials = args.get(index..index + 1).ok_or(SYNTAX)?,
            b"auth2" => credentials = args.get(index..index + 2).ok_or(SYNTAX)?,
            b"keys" if !args[3].is_empty() => {
                return Err(Error::new(
                    "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                ));
            }
            b"keys" => {
                keys = &args[index..];
                break;
            }
            _ => return Err(SYNTAX),
        }
        index += match &*word.to_ascii_lowercase() {
            b"auth" => 1,
            b"auth2" => 2,
            _ => 0,
        };
    }
    let timeout_ms = parse_int(timeout)?;
    let timeout_ms = u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0).unwrap_or(TIMEOUT_DEFAULT_MS);
    Ok(Order { host, port, keys, db: parse_int(db)?, timeout_ms, is_copy, may_replace, credentials })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::Completion, host::Engine, node::testing::TestServer};

    /// What the server wants of another one.
    fn exchange(server: &mut TestServer) -> Exchange {
        let found = server.seen.iter().rposition(|effect| matches!(effect, Effect::Exchange(_)));
        match server.seen.remove(found.expect("asked for")) {
            Effect::Exchange(exchange) => exchange,
            other => unreachable!("{other:?}"),
        }
    }

    fn answer(server: &mut TestServer, replies: &[&str], failed_at: Option<ExchangeStep>) {
        let ticket = exchange(server).ticket;
        let replies = replies.iter().map(|reply| reply.as_bytes().to_vec()).collect();
        let mut effects = Effects::new();
        server.node.complete(server.now, Completion::Exchanged { ticket, replies, failed_at }, &mut effects);
        server.settle();
    }

    /// A server that migrates `a` and `b`, and what became of it after these replies.
    fn after(command: &str, replies: &[&str], failed_at: Option<ExchangeStep>) -> (String, String) {
        let mut server = TestServer::new("");
        let client = server.connect();
        server.check(&[("MSET a 1 b 2", "+OK")]);
        assert_eq!(server.run_as(client, command), "(waits)");
        answer(&mut server, replies, failed_at);
        (server.read(client), server.run("MGET a b"))
    }

    #[test]
    fn keys_are_sent_as_restores_behind_the_greetings() {
        let mut server = TestServer::new("");
        server.check(&[("SET a 1", "+OK"), ("SET b 2 PX 500", "+OK")]);
        server.run("MIGRATE there 7000 \"\" 3 250 REPLACE AUTH2 me secret KEYS a nobody b");
        let exchange = exchange(&mut server);
        assert_eq!((&*exchange.host, exchange.port, exchange.timeout_ms), ("there", 7000, 250));
        let text = String::from_utf8_lossy(&exchange.request).into_owned();
        let names: Vec<&str> = text
            .lines()
            .filter(|line| {
                ["AUTH", "me", "secret", "SELECT", "3", "RESTORE", "a", "b", "500", "REPLACE"].contains(line)
            })
            .collect();
        assert_eq!(
            names,
            [
                "AUTH", "me", "secret", "SELECT", "3", "RESTORE", "a", "REPLACE", "RESTORE", "b", "500",
                "REPLACE"
            ]
        );
        assert_eq!(exchange.replies, 4);
    }

    #[test]
    fn what_was_taken_is_removed() {
        let all = "MIGRATE h 1 \"\" 0 10 KEYS a b";
        let bye = |text: &str, left: &str| (text.into(), left.into());
        assert_eq!(after(all, &["+OK", "+OK", "+OK"], None), bye("+OK", "[nil, nil]"));
        assert_eq!(
            after("MIGRATE h 1 \"\" 0 10 COPY KEYS a b", &["+OK", "+OK", "+OK"], None),
            bye("+OK", "[\"1\", \"2\"]")
        );
        assert_eq!(
            after(all, &["+OK", "-BUSYKEY there", "+OK"], None),
            bye("-ERR Target instance replied with error: BUSYKEY there", "[\"1\", nil]")
        );
        assert_eq!(
            after(all, &["-ERR no such db", "+OK", "+OK"], None),
            bye("-ERR Target instance replied with error: ERR no such db", "[\"1\", \"2\"]")
        );
        assert_eq!(
            after(all, &["+OK", "+OK"], Some(ExchangeStep::Reading)),
            bye("-IOERR error or timeout reading to target instance", "[nil, \"2\"]")
        );
        assert_eq!(
            after(all, &[], Some(ExchangeStep::Connecting)),
            bye("-IOERR error or timeout connecting to the client", "[\"1\", \"2\"]")
        );
    }

    #[test]
    fn only_what_changes_data_waits_meanwhile() {
        let mut server = TestServer::new("");
        let (reader, writer, another) = (server.connect(), server.connect(), server.connect());
        server.check(&[("SET a 1", "+OK"), ("MIGRATE h 1 a 0 10", "(waits)")]);
        assert_eq!(server.run_as(reader, "GET a"), "\"1\"");
        assert_eq!(server.run_as(writer, "SET a 2"), "(waits)");
        assert_eq!(server.run_as(another, "MIGRATE h 1 a 0 10"), "(waits)");
        answer(&mut server, &["+OK", "+OK"], None);
        assert_eq!(server.read(writer), "+OK");
        assert_eq!(server.run_as(reader, "GET a"), "\"2\"");
        assert_eq!(server.read(another), "(waits)");
        answer(&mut server, &["+OK", "+OK"], None);
        assert_eq!(server.read(another), "+OK");
        assert_eq!(server.run_as(reader, "GET a"), "nil");
    }

    #[test]
    fn keys_go_even_if_the_client_has_gone() {
        let mut server = TestServer::new("");
        let client = server.connect();
        server.check(&[("SET a 1", "+OK")]);
        server.run_as(client, "MIGRATE h 1 a 0 10");
        server.node.disconnect(server.now, client, &mut Effects::new());
        answer(&mut server, &["+OK", "+OK"], None);
        server.check(&[("GET a", "nil"), ("SET a 2", "+OK")]);
    }

    #[test]
    fn what_is_wrong_is_said_before_anybody_is_called() {
        TestServer::new("").check(&[
            ("MIGRATE h 1 a 0 10", "+NOKEY"),
            ("MIGRATE h 1 \"\" 0 10 KEYS a b", "+NOKEY"),
            ("MIGRATE h 1 a 0 10 AUTH", "-ERR syntax error"),
            ("MIGRATE h 1 a 0 10 AUTH2 me", "-ERR syntax error"),
            ("MIGRATE h 1 a 0 10 WHAT", "-ERR syntax error"),
            (
                "MIGRATE h 1 a 0 10 KEYS b",
                "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
            ),
            ("MIGRATE h 1 a 0 x", "-ERR value is not an integer or out of range"),
            ("MIGRATE h 1 a x 10", "-ERR value is not an integer or out of range"),
            ("MIGRATE h 1 a 0", "-ERR wrong number of arguments for 'migrate' command"),
            ("COMMAND GETKEYS MIGRATE h 1 a 0 10 COPY", "[\"a\"]"),
            ("COMMAND GETKEYS MIGRATE h 1 \"\" 0 10 AUTH keys KEYS a b", "[\"a\", \"b\"]"),
            ("MULTI", "+OK"),
            ("MIGRATE h 1 a 0 10", "-ERR Command not allowed inside a transaction"),
        ]);
    }

    #[test]
    fn passwords_are_not_shown() {
        let mut server = TestServer::new("slowlog-log-slower-than 0");
        server.run("MIGRATE h 1 nobody 0 10 AUTH2 me secret COPY AUTH other");
        let shown = server.run("SLOWLOG GET 1");
        assert!(
            shown.contains("\"AUTH2\", \"(redacted)\", \"(redacted)\", \"COPY\", \"AUTH\", \"(redacted)\""),
            "{shown}"
        );
    }
}
