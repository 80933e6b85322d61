//! CLIENT and its subcommands: who is connected, who is sent away, who has to wait.
//!
//! Not here: tracking (`tracking.rs`), HELLO and its like (`connection.rs`), waiting itself (`blocking.rs`).

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use super::{Node, connection::set_name, execute::Request, tracking::redirection};
use crate::{
    commands::{Args, CommandResult, parse_int, printable, spec::flag, table::Row},
    error::{Error, SYNTAX},
    host::{ClientId, Effects},
    resp::{Protocol, encode_command},
    session::{FIRST_BUFFER_BYTES, ReplyMode, Session, Transaction, Waiting},
};

/// CLIENT PAUSE, while it lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pause {
    /// Monotonic time of its end.
    pub until_us: u64,
    /// Reads wait too.
    pub holds_all: bool,
}

/// Which clients CLIENT KILL and CLIENT LIST mean: those for which all that is given holds.
#[derive(Default)]
struct Filter {
    ids: Option<BTreeSet<u64>>,
    address: Option<Vec<u8>>,
    local_address: Option<Vec<u8>>,
    user: Option<Vec<u8>>,
    class: Option<ClientClass>,
}

/// Kinds of clients, as CLIENT LIST TYPE and output limits name them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ClientClass {
    Normal,
    /// Never seen: there is no replication.
    Replica,
    /// Never seen either.
    Primary,
    Pubsub,
}

impl ClientClass {
    fn parse(text: &[u8]) -> Result<ClientClass, Error> {
        match &*text.to_ascii_lowercase() {
            b"normal" => Ok(ClientClass::Normal),
            b"slave" | b"replica" => Ok(ClientClass::Replica),
            b"master" => Ok(ClientClass::Primary),
            b"pubsub" => Ok(ClientClass::Pubsub),
            _ => Err(Error::text(format!("ERR Unknown client type '{}'", printable(text)))),
        }
    }

    fn of(session: &Session) -> ClientClass {
        if session.is_subscribed() { ClientClass::Pubsub } else { ClientClass::Normal }
    }
}

impl Filter {
    fn admits(&self, session: &Session) -> bool {
        let is_one_of = |ids: &BTreeSet<u64>| ids.contains(&session.number);
        let is_same = |wanted: &Option<Vec<u8>>, has: &str| {
            wanted.as_ref().is_none_or(|wanted| *wanted == has.as_bytes())
        };
        self.ids.as_ref().is_none_or(is_one_of)
            && is_same(&self.address, &session.peer.address)
            && is_same(&self.local_address, &session.peer.local_address)
            && is_same(&self.user, &session.user)
            && self.class.is_none_or(|class| class == ClientClass::of(session))
    }
}

impl Node {
    // --- About oneself ------------------------------------------------------------------------------

    pub(super) fn client_getname(&mut self, session: &mut Session) {
        if session.name.is_empty() {
            session.reply.null();
        } else {
            session.reply.bulk(&session.name);
        }
    }

    pub(super) fn client_setname(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        set_name(session, args[2])?;
        session.reply.ok();
        Ok(())
    }

    pub(super) fn client_setinfo(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let (option, value) = (args[2], args[3]);
        let field = match &*option.to_ascii_lowercase() {
            b"lib-name" => &mut session.client_library.0,
            b"lib-ver" => &mut session.client_library.1,
            _ => return Err(Error::text(format!("ERR Unrecognized option '{}'", printable(option)))),
        };
        if value.iter().any(|byte| !(b'!'..=b'~').contains(byte)) {
            return Err(Error::text(format!(
                "ERR {} cannot contain spaces, newlines or special characters.",
                printable(option)
            )));
        }
        *field = value.to_vec();
        session.reply.ok();
        Ok(())
    }

    pub(super) fn client_reply(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        match &*args[2].to_ascii_lowercase() {
            b"on" => {
                session.reply_mode = ReplyMode::On;
                session.reply.ok();
            }
            b"off" => session.reply_mode = ReplyMode::Off,
            b"skip" if session.reply_mode == ReplyMode::Off => {}
            b"skip" => session.reply_mode = ReplyMode::SkipNext,
            _ => return Err(SYNTAX),
        }
        Ok(())
    }

    pub(super) fn client_no_evict(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        session.no_evict = parse_on_off(args[2])?;
        session.reply.ok();
        Ok(())
    }

    pub(super) fn client_no_touch(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        session.no_touch = parse_on_off(args[2])?;
        session.reply.ok();
        Ok(())
    }

    pub(super) fn client_getredir(&mut self, session: &mut Session) {
        session.reply.integer(redirection(&session.tracking));
    }

    // --- About others -------------------------------------------------------------------------------

    pub(super) fn client_info(&mut self, session: &mut Session, request: &Request<'_>) {
        let line = self.describe(session, request_len(request)) + "\n";
        session.reply.verbatim(*b"txt", line.as_bytes());
    }

    pub(super) fn client_list(&mut self, session: &mut Session, request: &Request<'_>) -> CommandResult {
        let filter = parse_list_filter(request.args)?;
        let mut lines: Vec<(u64, String)> = self
            .sessions
            .iter()
            .filter(|other| !other.is_closing && filter.admits(other))
            .map(|other| (other.number, self.describe(other, 0)))
            .collect();
        if filter.admits(session) {
            lines.push((session.number, self.describe(session, request_len(request))));
        }
        lines.sort();
        let text: String = lines.into_iter().map(|(_, line)| line + "\n").collect();
        session.reply.verbatim(*b"txt", text.as_bytes());
        Ok(())
    }

    /// One line of CLIENT LIST. `request_len` is what the running command takes of the query buffer.
    pub(super) fn describe(&self, session: &Session, request_len: usize) -> String {
        let age_s = |since_us: u64| self.now.mono_us.saturating_sub(since_us) / 1_000_000;
        let transaction = session.transaction.as_ref();
        let queued_bytes = transaction.map_or(0, Transaction::queue_bytes);
        let redirect = redirection(&session.tracking);
        // Of the running session's input nothing is here.
        let understood = session.parser.bytes_understood().min(session.input.len());
        let query = session.input.len() - understood + request_len;
        let events = if session.output().is_empty() { "r" } else { "rw" };
        let pending = session.output_pending();
        let first_buffer = pending.min(FIRST_BUFFER_BYTES);
        let more = pending - first_buffer;
        format!(
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} qbuf={query} \
             qbuf-free={} argv-mem={} multi-mem={queued_bytes} rbs={} rbp={} obl={first_buffer} oll={} omem={more} tot-mem={} events={events} \
             cmd={} user={} redir={redirect} resp={} lib-name={} lib-ver={}",
            session.number,
            session.peer.address,
            session.peer.local_address,
            session.peer.descriptor,
            printable(&session.name),
            age_s(session.connected_us),
            age_s(session.active_us),
            flags_of(session),
            session.db,
            session.channels.len(),
            session.patterns.len(),
            session.shard_channels.len(),
            transaction.map_or(-1, |transaction| transaction.queue().len() as i64),
            session.input.capacity() - session.input.len(),
            request_len + understood,
            session.reply.len(),
            session.reply.len(),
            more.div_ceil(FIRST_BUFFER_BYTES),
            session.memory() + request_len,
            session.last_row.map_or("NULL".into(), |id| self.table.rows()[id].full_name()),
            session.user,
            if session.reply.protocol() == Protocol::Resp3 { 3 } else { 2 },
            printable(&session.client_library.0),
            printable(&session.client_library.1),
        )
    }

    pub(super) fn client_kill(
        &mut self,
        session: &mut Session,
        args: Args<'_>,
        effects: &mut Effects,
    ) -> CommandResult {
        if let [_, _, address] = args {
            let filter = Filter { address: Some(address.to_vec()), ..Filter::default() };
            if self.kill(session, &filter, false, effects) == 0 {
                return Err(Error::new("ERR No such client"));
            }
            session.reply.ok();
            return Ok(());
        }
        let (filter, skips_me) = self.parse_kill_filter(args)?;
        let count = self.kill(session, &filter, skips_me, effects);
        session.reply.integer(count as i64);
        Ok(())
    }

    fn kill(
        &mut self,
        session: &mut Session,
        filter: &Filter,
        skips_me: bool,
        effects: &mut Effects,
    ) -> usize {
        let victims: Vec<ClientId> = self
            .sessions
            .iter()
            .filter(|other| !other.is_closing && filter.admits(other))
            .map(|other| other.client)
            .collect();
        for &client in &victims {
            self.with_session(client, |node, other| node.close_session(other, true, effects));
        }
        let is_own = !skips_me && filter.admits(session);
        if is_own {
            // Its reply still goes out.
            self.close_session(session, false, effects);
        }
        victims.len() + usize::from(is_own)
    }

    fn parse_kill_filter(&self, args: Args<'_>) -> Result<(Filter, bool), Error> {
        let mut filter = Filter::default();
        let mut skips_me = true;
        if !args.len().is_multiple_of(2) {
            return Err(SYNTAX);
        }
        for pair in args[2..].chunks_exact(2) {
            let value = pair[1];
            match &*pair[0].to_ascii_lowercase() {
                b"id" => {
                    let id = parse_int(value).ok().and_then(|id| u64::try_from(id).ok()).filter(|&id| id > 0);
                    let id = id.ok_or(Error::new("ERR client-id should be greater than 0"))?;
                    filter.ids = Some([id].into());
                }
                b"type" => filter.class = Some(ClientClass::parse(value)?),
                b"addr" => filter.address = Some(value.to_vec()),
                b"laddr" => filter.local_address = Some(value.to_vec()),
                b"user" if self.is_user(value) => filter.user = Some(value.to_vec()),
                b"user" => return Err(Error::text(format!("ERR No such user '{}'", printable(value)))),
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => skips_me = true,
                b"skipme" if value.eq_ignore_ascii_case(b"no") => skips_me = false,
                _ => return Err(SYNTAX),
            }
        }
        Ok((filter, skips_me))
    }

    /// Whether there is a user of this name.
    fn is_user(&self, name: &[u8]) -> bool {
        self.acl.get(&printable(name)).is_some()
    }

    pub(super) fn client_unblock(
        &mut self,
        session: &mut Session,
        args: Args<'_>,
        effects: &mut Effects,
    ) -> CommandResult {
        let number = parse_int(args[2])?;
        let is_error = match args {
            [_, _, _] => false,
            [_, _, _, how] if how.eq_ignore_ascii_case(b"timeout") => false,
            [_, _, _, how] if how.eq_ignore_ascii_case(b"error") => true,
            [_, _, _, _] => return Err(Error::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
            _ => return Err(crate::error::wrong_arity("client|unblock")),
        };
        let client =
            u64::try_from(number).ok().and_then(|number| self.sessions.by_number(number)).filter(|other| {
                // Only waits that could also run out are ended by hand.
                let waiting = other.blocked.as_ref().map(|blocked| &blocked.waiting);
                matches!(waiting, Some(Waiting::Keys { .. } | Waiting::Synced { .. } | Waiting::Replicas))
            });
        let Some(client) = client.map(|other| other.client) else {
            session.reply.integer(0);
            return Ok(());
        };
        self.with_session(client, |node, other| {
            let Some(blocked) = node.unblock(other) else { return };
            node.account_for_vain_wait(other, &blocked, is_error);
            if is_error {
                let error = Error::new("UNBLOCKED client unblocked via CLIENT UNBLOCK");
                node.count_error(error.code());
                other.reply.error(error.as_str());
            } else {
                node.answer_timeout(other, &blocked.waiting, effects);
            }
            node.owe(other);
            node.resume(other);
        });
        session.reply.integer(1);
        Ok(())
    }

    // --- Pausing ------------------------------------------------------------------------------------

    pub(super) fn client_pause(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let holds_all = match args {
            [_, _, _] => true,
            [_, _, _, mode] if mode.eq_ignore_ascii_case(b"all") => true,
            [_, _, _, mode] if mode.eq_ignore_ascii_case(b"write") => false,
            [_, _, _, _] => return Err(Error::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
            _ => return Err(crate::error::wrong_arity("client|pause")),
        };
        let timeout_ms = super::blocking::parse_timeout_ms(args[2])?;
        let until_us = self.now.mono_us.saturating_add(timeout_ms.saturating_mul(1000));
        // A pause within a pause makes it neither shorter nor weaker.
        let running = self.pause.unwrap_or(Pause { until_us: 0, holds_all: false });
        self.pause = Some(Pause {
            until_us: running.until_us.max(until_us),
            holds_all: running.holds_all || holds_all,
        });
        self.store.is_paused = self.is_data_paused();
        session.reply.ok();
        Ok(())
    }

    pub(super) fn client_unpause(&mut self, session: &mut Session) {
        // Those who wait go on at the end of this turn.
        self.pause = None;
        self.store.is_paused = self.is_data_paused();
        session.reply.ok();
    }

    /// CLIENT PAUSE lasts, or MIGRATE: nothing changes data, not even time.
    pub(super) fn is_data_paused(&self) -> bool {
        self.lasting_pause().is_some() || self.migration.is_some()
    }

    fn lasting_pause(&self) -> Option<Pause> {
        self.pause.filter(|pause| pause.until_us > self.now.mono_us)
    }

    /// Whether this command may not run now: CLIENT PAUSE lasts, or keys are being migrated, or a stop is under way, and what ran
    /// after its last snapshot was cut would be answered and lost.
    pub(super) fn is_paused(&self, session: &Session, row: &Row, args: Args<'_>) -> bool {
        const CHANGES: u32 = flag::WRITE | flag::MAY_REPLICATE;
        let pause = self.lasting_pause();
        if pause.is_none() && self.migration.is_none() && !self.is_shutting_down() {
            return false;
        }
        let holds_all = pause.is_some_and(|pause| pause.holds_all);
        holds_all || self.flags_of(row, args) & CHANGES != 0 || self.has_queued_exec(session, row, CHANGES)
    }

    /// Keeps a command until the pause is over: it becomes the first of the client's input again.
    pub(super) fn block_until_unpaused(&mut self, session: &mut Session, request: &Request<'_>) {
        self.counters.commands -= 1;
        match request.frame {
            Some(frame) => session.input.extend_from_slice(frame),
            None => encode_command(request.args, &mut session.input),
        }
        self.block(session, Waiting::Paused, 0);
    }
}

/// Bytes of the running command in the query buffer.
fn request_len(request: &Request<'_>) -> usize {
    request.frame.map_or_else(|| request.args.iter().map(|arg| arg.len()).sum(), <[u8]>::len)
}

fn parse_on_off(text: &[u8]) -> Result<bool, Error> {
    match &*text.to_ascii_lowercase() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(SYNTAX),
    }
}

fn parse_list_filter(args: Args<'_>) -> Result<Filter, Error> {
    match args {
        [_, _] => Ok(Filter::default()),
        [_, _, word, class] if word.eq_ignore_ascii_case(b"type") => {
            Ok(Filter { class: Some(ClientClass::parse(class)?), ..Filter::default() })
        }
        [_, _, word, ids @ ..] if word.eq_ignore_ascii_case(b"id") && !ids.is_empty() => {
            let id = |text: &&[u8]| parse_int(text).ok().and_then(|id| u64::try_from(id).ok());
            let ids: Option<BTreeSet<u64>> = ids.iter().map(id).collect();
            Ok(Filter { ids: Some(ids.ok_or(Error::new("ERR Invalid client ID"))?), ..Filter::default() })
        }
        _ => Err(SYNTAX),
    }
}

/// The letters of CLIENT LIST's `flags`.
fn flags_of(session: &Session) -> String {
    let letters = [
        ('O', session.is_monitor),
        ('P', session.is_subscribed()),
        ('x', session.transaction.is_some()),
        ('b', session.blocked.is_some()),
        ('t', session.tracking.is_on),
        ('R', session.tracking.is_redirect_broken),
        ('B', session.tracking.is_broadcast),
        ('d', session.is_dirty),
        ('c', session.is_closing),
        ('U', session.peer.is_unix),
        ('e', session.no_evict),
        ('T', session.no_touch),
    ];
    let set: String = letters.iter().filter(|(_, is_set)| *is_set).map(|(letter, _)| *letter).collect();
    if set.is_empty() { "N".into() } else { set }
}

/// What CLIENT HELP says.
pub(super) const HELP: &[(&str, &str)] = &[
    (
        "CACHING (YES|NO)",
        "Whether the keys of the next command are tracked, where OPTIN or OPTOUT leaves it open.",
    ),
    ("GETNAME", "The name given to this connection."),
    ("GETREDIR", "Id of the client that gets this one's invalidations."),
    ("ID", "The id of this connection."),
    ("INFO", "This connection's line of CLIENT LIST."),
    ("KILL <ip:port>", "End the connection from this address."),
    (
        "KILL <option> <value> [<option> <value> [...]]",
        "End connections; options: ADDR, LADDR, TYPE, USER, ID, SKIPME (YES|NO).",
    ),
    ("LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <id> [...]]", "Who is connected, a line for each."),
    ("NO-EVICT (ON|OFF)", "Keep this connection when clients take too much memory."),
    ("NO-TOUCH (ON|OFF)", "Leave idle times of keys as they are."),
    ("PAUSE <milliseconds> [WRITE|ALL]", "Let commands wait, all or those that write."),
    ("REPLY (ON|OFF|SKIP)", "Which replies this connection gets."),
    ("SETINFO <option> <value>", "Say what talks to us; options: LIB-NAME, LIB-VER."),
    ("SETNAME <name>", "Give this connection a name."),
    (
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
        "Be told when cached keys change.",
    ),
    ("TRACKINGINFO", "How tracking is set up for this connection."),
    ("UNBLOCK <id> [TIMEOUT|ERROR]", "End a blocking command of another client."),
    ("UNPAUSE", "End CLIENT PAUSE."),
];

#[cfg(test)]
mod tests {
    use alloc::format;

    use crate::{host::Effect, node::testing::TestServer};

    #[test]
    fn a_reply_without_end_stops_at_the_output_limit() {
        let mut server = TestServer::new("client-output-buffer-limit normal 100000 0 0");
        server.check(&[("HSET h f v", ":1"), ("ZADD z 1 m", ":1"), ("SADD s m", ":1")]);
        for command in ["HRANDFIELD h -999999999", "ZRANDMEMBER z -999999999", "SRANDMEMBER s -999999999"] {
            let greedy = server.connect();
            server.send(greedy, command);
            let line = format!("cmdstat_{}", command.split(' ').next().unwrap().to_lowercase());
            assert!(server.run("INFO commandstats").contains(&line));
            assert!(server.seen.iter().any(|effect| matches!(
                effect,
                Effect::Close { client, now: true } if *client == greedy
            )));
        }
    }

    #[test]
    fn a_client_speaks_of_itself() {
        TestServer::new("").check(&[
            ("CLIENT ID", ":1"),
            ("CLIENT GETNAME", "nil"),
            ("CLIENT SETNAME a-name", "+OK"),
            ("CLIENT GETNAME", "\"a-name\""),
            (
                "CLIENT SETNAME 'a name'",
                "-ERR Client names cannot contain spaces, newlines or special characters.",
            ),
            ("CLIENT SETINFO LIB-NAME jedis", "+OK"),
            (
                "CLIENT SETINFO lib-ver 'a b'",
                "-ERR lib-ver cannot contain spaces, newlines or special characters.",
            ),
            ("CLIENT SETINFO lib x", "-ERR Unrecognized option 'lib'"),
            ("CLIENT GETREDIR", ":-1"),
            ("CLIENT NO-EVICT on", "+OK"),
            ("CLIENT NO-TOUCH maybe", "-ERR syntax error"),
            ("CLIENT NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
            ("CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command"),
        ]);
    }

    #[test]
    fn a_line_of_client_list_has_every_field_of_redis_7_2() {
        let mut server = TestServer::new("");
        let line = server.run("CLIENT LIST");
        let fields: alloc::vec::Vec<&str> =
            line.trim_matches('"').split(' ').map(|field| field.split('=').next().unwrap_or("")).collect();
        assert_eq!(
            fields.join(" "),
            "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll \
             omem tot-mem events cmd user redir resp lib-name lib-ver"
        );
        assert!(line.contains(" qbuf=26 "), "{line}");
        assert!(line.contains(" flags=N db=0 ") && line.contains(" cmd=client|list "), "{line}");
    }

    #[test]
    fn client_list_selects_by_id_and_type() {
        let mut server = TestServer::new("");
        server.connect();
        assert!(server.run("CLIENT LIST ID 2").starts_with("\"id=2 "));
        server.check(&[
            ("CLIENT LIST ID 7 8", "\"\""),
            ("CLIENT LIST TYPE pubsub", "\"\""),
            ("CLIENT LIST TYPE odd", "-ERR Unknown client type 'odd'"),
            ("CLIENT LIST ID x", "-ERR Invalid client ID"),
            ("CLIENT LIST ID", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn clients_are_killed_by_filter() {
        let mut server = TestServer::new("");
        server.connect();
        server.connect();
        server.check(&[
            ("CLIENT KILL 127.0.0.1:1", "-ERR No such client"),
            ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0"),
            ("CLIENT KILL ID 2", ":1"),
            ("CLIENT KILL ID 2", ":0"),
            ("CLIENT KILL TYPE pubsub", ":0"),
            ("CLIENT KILL USER nobody", "-ERR No such user 'nobody'"),
            ("CLIENT KILL SKIPME no ID 3 ID", "-ERR syntax error"),
            ("CLIENT KILL SKIPME no TYPE normal", ":2"),
        ]);
    }

    #[test]
    fn replies_are_left_out_as_asked() {
        TestServer::new("").check(&[
            ("CLIENT REPLY SKIP", "(waits)"),
            ("PING", "(waits)"),
            ("PING", "+PONG"),
            ("CLIENT REPLY OFF", "(waits)"),
            ("PING", "(waits)"),
            ("CLIENT REPLY SKIP", "(waits)"),
            ("CLIENT REPLY ON", "+OK"),
            ("PING", "+PONG"),
        ]);
    }

    #[test]
    fn writes_wait_while_paused_and_go_on_in_order() {
        let mut server = TestServer::new("");
        let other = server.connect();
        server.check(&[("CLIENT PAUSE 1000 WRITE", "+OK"), ("GET k", "nil")]);
        server.send(other, "SET k 1");
        assert_eq!(server.run_as(other, "GET k"), "(waits)");
        assert_eq!(server.run("GET k"), "nil");
        server.check(&[("CLIENT UNBLOCK 2", ":0"), ("CLIENT UNPAUSE", "+OK")]);
        assert_eq!(server.read(other), "+OK\n\"1\"");
    }

    #[test]
    fn a_pause_ends_by_itself() {
        let mut server = TestServer::new("");
        assert_eq!(server.run("CLIENT PAUSE 100 ALL"), "+OK");
        assert_eq!(server.run("PING"), "(waits)");
        server.advance_ms(101);
        let first = server.node.sessions.by_number(1).expect("connected").client;
        assert_eq!(server.read(first), "+PONG");
        server.check(&[
            ("CLIENT PAUSE abc", "-ERR timeout is not an integer or out of range"),
            ("CLIENT PAUSE -1", "-ERR timeout is negative"),
            ("CLIENT PAUSE 1 reads", "-ERR CLIENT PAUSE mode must be WRITE or ALL"),
        ]);
    }

    #[test]
    fn keys_do_not_expire_while_paused_but_are_not_shown() {
        let mut server = TestServer::new("");
        server.check(&[("SET k v PX 10", "+OK"), ("CLIENT PAUSE 1000 WRITE", "+OK")]);
        server.advance_ms(500);
        server.check(&[
            ("GET k", "nil"),
            ("EXISTS k", ":0"),
            ("TTL k", ":-2"),
            ("RANDOMKEY", "\"k\""),
            ("DBSIZE", ":1"),
        ]);
        assert_eq!(server.node.store().stats.expired, 0);
        server.check(&[("CLIENT UNPAUSE", "+OK"), ("GET k", "nil"), ("DBSIZE", ":0")]);
    }

    #[test]
    fn waits_can_be_ended_from_outside() {
        let mut server = TestServer::new("");
        let other = server.connect();
        assert_eq!(server.run_as(other, "WAIT 1 0"), "(waits)");
        server.check(&[
            ("CLIENT UNBLOCK 2 odd", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
            ("CLIENT UNBLOCK 2", ":1"),
            ("CLIENT UNBLOCK 2", ":0"),
        ]);
        assert_eq!(server.read(other), ":0");
        server.send(other, "WAIT 1 0");
        assert_eq!(server.run("CLIENT UNBLOCK 2 ERROR"), ":1");
        assert_eq!(server.read(other), "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    }
}
