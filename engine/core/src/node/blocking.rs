//! Clients that wait: for keys, for a sync, for a snapshot, for the end of a pause.
//!
//! A client blocked on keys is served by running its command again when one of them was changed, in the order of
//! arrival. What it does then is logged by its own effects.
//!
//! Always true: a client is in `Waiters` exactly while its session is blocked; the first to come is served first.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{
    Node,
    acl::denied,
    execute::{Outcome, Request},
};
use crate::{
    blocked::{Block, TimeoutReply},
    bytes::number,
    commands::Args,
    error::{Error, TIMEOUT_NEGATIVE},
    host::{ClientId, Effects},
    session::{Blocked, Session, Waiting},
    store::{DbKey, value},
};

/// What a client waits for, without its details.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum WaitKind {
    Keys,
    Synced,
    Replicas,
    Saved,
    Backup,
    Shutdown,
    Paused,
    Config,
    Loaded,
    Script,
    Migration,
}

impl WaitKind {
    fn of(waiting: &Waiting) -> WaitKind {
        match waiting {
            Waiting::Keys { .. } => WaitKind::Keys,
            Waiting::Synced { .. } => WaitKind::Synced,
            Waiting::Replicas => WaitKind::Replicas,
            Waiting::Saved => WaitKind::Saved,
            Waiting::Backup => WaitKind::Backup,
            Waiting::Shutdown => WaitKind::Shutdown,
            Waiting::Paused => WaitKind::Paused,
            Waiting::Config => WaitKind::Config,
            Waiting::Loaded => WaitKind::Loaded,
            Waiting::Script => WaitKind::Script,
            Waiting::Migration => WaitKind::Migration,
        }
    }
}

/// Who waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiters {
    last_order: u64,
    /// In order of arrival.
    by_kind: BTreeSet<(WaitKind, u64, ClientId)>,
    by_key: BTreeMap<DbKey, BTreeSet<(u64, ClientId)>>,
    timeouts: BTreeSet<(u64, ClientId)>,
    /// Keys changed since blocked clients were last looked at.
    ready: Vec<DbKey>,
}

impl Waiters {
    /// Clients waiting for this, first come first.
    pub(crate) fn clients(&self, kind: WaitKind) -> Vec<ClientId> {
        let all = (kind, 0, ClientId(0))..=(kind, u64::MAX, ClientId(u64::MAX));
        self.by_kind.range(all).map(|&(_, _, client)| client).collect()
    }

    /// Somebody waits for a key.
    pub(crate) fn has_keys(&self) -> bool {
        !self.by_key.is_empty()
    }

    /// Number of clients that wait, as INFO's `blocked_clients` counts them.
    pub(crate) fn len(&self) -> usize {
        self.by_kind.len()
    }

    /// Number of clients whose wait ends by itself.
    pub(crate) fn timeout_count(&self) -> usize {
        self.timeouts.len()
    }

    /// Number of keys somebody waits for.
    pub(crate) fn key_count(&self) -> usize {
        self.by_key.len()
    }

    /// Keys of these databases that somebody waits for.
    pub(crate) fn keys_in(&self, dbs: &[usize]) -> Vec<DbKey> {
        self.by_key.keys().filter(|key| dbs.contains(&key.db)).cloned().collect()
    }

    fn next_timeout(&self) -> Option<u64> {
        self.timeouts.first().map(|&(at, _)| at)
    }
}

/// A timeout in milliseconds, as WAITAOF takes it; 0 is for ever.
///
/// # Errors
/// Not a number, negative, or too large.
pub(super) fn parse_timeout_ms(text: &[u8]) -> Result<u64, Error> {
    let ms = number::parse_i64(text).ok_or(Error::new("ERR timeout is not an integer or out of range"))?;
    u64::try_from(ms).map_err(|_| TIMEOUT_NEGATIVE)
}

impl Node {
    /// Lets a session wait; `timeout_ms` 0 is for ever.
    pub(super) fn block(&mut self, session: &mut Session, waiting: Waiting, timeout_ms: u64) {
        self.waiting.last_order += 1;
        let order = self.waiting.last_order;
        let until_us =
            (timeout_ms > 0).then(|| self.now.mono_us.saturating_add(timeout_ms.saturating_mul(1000)));
        self.waiting.by_kind.insert((WaitKind::of(&waiting), order, session.client));
        if let Some(at) = until_us {
            self.waiting.timeouts.insert((at, session.client));
        }
        if let Waiting::Keys { block, db, .. } = &waiting {
            for key in &block.keys {
                let key = DbKey { db: *db, key: key.clone() };
                self.waiting.by_key.entry(key).or_default().insert((order, session.client));
            }
        }
        session.blocked = Some(Blocked { waiting, since_us: self.now.mono_us, until_us, order, ran_ns: 0 });
        self.update_change_tracking();
    }

    pub(super) fn block_on_keys(&mut self, session: &mut Session, block: Block, args: Args<'_>) {
        let args = block.retry_args.clone().unwrap_or_else(|| args.iter().map(|arg| arg.to_vec()).collect());
        let (timeout_ms, db) = (block.timeout_ms, session.db);
        self.block(session, Waiting::Keys { block, args, db }, timeout_ms);
    }

    /// Ends a session's wait. What it is answered is up to the caller.
    pub(super) fn unblock(&mut self, session: &mut Session) -> Option<Blocked> {
        let blocked = session.blocked.take()?;
        self.waiting.by_kind.remove(&(WaitKind::of(&blocked.waiting), blocked.order, session.client));
        if let Some(at) = blocked.until_us {
            self.waiting.timeouts.remove(&(at, session.client));
        }
        if let Waiting::Keys { block, db, .. } = &blocked.waiting {
            for key in &block.keys {
                let key = DbKey { db: *db, key: key.clone() };
                if let Some(clients) = self.waiting.by_key.get_mut(&key) {
                    clients.remove(&(blocked.order, session.client));
                    if clients.is_empty() {
                        self.waiting.by_key.remove(&key);
                    }
                }
            }
        }
        self.update_change_tracking();
        Some(blocked)
    }

    /// What a session had sent while it waited is run soon.
    pub(super) fn resume(&mut self, session: &Session) {
        self.resumed.push(session.client);
    }

    /// Serves blocked clients whose keys the command just run has changed: before the next, which may want the same.
    pub(super) fn serve_before_next_command(&mut self, session: &mut Session) {
        if !self.waiting.ready.is_empty() {
            self.with_all_sessions(session, Node::serve_ready_keys);
            self.lap_ns = self.lap_ns.map(|_| (self.seeds.stopwatch)());
        }
    }

    fn serve_ready_keys(&mut self) {
        // While a script was left nobody's keys are looked at: they are its own.
        while !self.is_script_suspended()
            && let Some(key) = self.waiting.ready.pop()
        {
            self.serve_key(&key);
        }
    }

    /// Serves blocked clients whose keys changed, and runs what resumed clients had sent. Bounded: each client is looked at
    /// once for each time it was named.
    pub(super) fn run_resumed(&mut self, effects: &mut Effects) {
        loop {
            self.serve_ready_keys();
            let Some(client) = self.resumed.pop() else { return };
            self.with_session(client, |node, session| {
                if session.blocked.is_none() && !session.input.is_empty() {
                    node.run_kept_input(session, effects);
                }
            });
        }
    }

    pub(super) fn note_ready_keys(&mut self, changed: Vec<DbKey>) {
        if self.waiting.by_key.is_empty() {
            return;
        }
        // Pushed in reverse, popped in order.
        for key in changed.into_iter().rev() {
            if self.waiting.by_key.contains_key(&key) && !self.waiting.ready.contains(&key) {
                self.waiting.ready.push(key);
            }
        }
    }

    /// Runs the commands of those who wait for a key again, first come first, until one finds nothing.
    fn serve_key(&mut self, key: &DbKey) {
        let clients: Vec<(u64, ClientId)> =
            self.waiting.by_key.get(key).map(|clients| clients.iter().copied().collect()).unwrap_or_default();
        for (_, client) in clients {
            self.with_session(client, |node, session| node.retry(session, key));
        }
    }

    /// Whether what a key holds now can serve somebody who waits so.
    fn can_serve(&self, key: &DbKey, block: &Block) -> bool {
        let entry = self.store.db(key.db).get(&key.key).filter(|entry| !self.store.is_due(entry.expiry_ms()));
        block.wakes_on_removal || entry.is_some_and(|entry| value::type_of(entry.content()) == block.kind)
    }

    fn retry(&mut self, session: &mut Session, key: &DbKey) {
        let Some(blocked) = session.blocked.clone() else { return };
        let Waiting::Keys { args, db, block } = &blocked.waiting else { return };
        if !self.can_serve(key, block) {
            return;
        }
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let Some(row) = self.table.resolve(&args) else { return };
        if let Err(denial) = self.check_rights(session, &row, &args) {
            // The rights were taken away while it waited.
            self.unblock(session);
            let error = denied(&session.user, denial, &row);
            self.command_stats[row.id].rejected += 1;
            self.count_error(error.code());
            session.reply.error(error.as_str());
            self.owe(session);
            self.resume(session);
            return;
        }
        let selected = core::mem::replace(&mut session.db, *db);
        let reply_at = session.reply.len();
        self.unblock(session);
        let started = (self.seeds.stopwatch)();
        let outcome = self.run_data_command(session, &row, &Request { args: &args, frame: None }, false);
        let elapsed_ns = (self.seeds.stopwatch)().saturating_sub(started);
        session.db = selected;
        match outcome {
            Outcome::Done => {
                self.remember_reads(session, &row, &args);
                let ran_ns = blocked.ran_ns + elapsed_ns;
                self.account_for(session, &row, &args, ran_ns + self.waited_ns(&blocked));
                self.owe(session);
                self.resume(session);
                self.after_command(session);
                self.deliver(Some(session));
            }
            Outcome::Blocked => {
                // Still nothing: it waits on, in its old place and with its old deadline.
                session.reply.truncate(reply_at);
                self.unblock(session);
                self.block_again(session, blocked.clone(), block.clone(), *db);
            }
        }
    }

    pub(super) fn waited_ns(&self, blocked: &Blocked) -> u64 {
        self.now.mono_us.saturating_sub(blocked.since_us).saturating_mul(1000)
    }

    /// Statistics of a command that has waited for something else than keys, and is through.
    pub(super) fn account_for_wait(&mut self, session: &Session, blocked: &Blocked) {
        let Some(row) = session.last_row.map(|id| self.table.rows()[id]) else { return };
        let args = [row.command.name.as_bytes()];
        self.account_for(session, &row, &args, blocked.ran_ns + self.waited_ns(blocked));
    }

    /// Statistics of a command whose wait for keys has ended without success.
    pub(super) fn account_for_vain_wait(&mut self, session: &Session, blocked: &Blocked, has_failed: bool) {
        let Waiting::Keys { args, .. } = &blocked.waiting else { return };
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let Some(row) = self.table.resolve(&args) else { return };
        self.account_for(session, &row, &args, blocked.ran_ns + self.waited_ns(blocked));
        self.command_stats[row.id].failed += u64::from(has_failed);
    }

    fn block_again(&mut self, session: &mut Session, blocked: Blocked, block: Block, db: usize) {
        self.waiting.by_kind.insert((WaitKind::Keys, blocked.order, session.client));
        if let Some(at) = blocked.until_us {
            self.waiting.timeouts.insert((at, session.client));
        }
        for key in block.keys {
            self.waiting.by_key.entry(DbKey { db, key }).or_default().insert((blocked.order, session.client));
        }
        session.blocked = Some(blocked);
        self.update_change_tracking();
    }

    /// Number of keys that somebody waits for who is woken when the key goes away, too.
    pub(super) fn keys_awaited_on_removal(&self) -> usize {
        let wakes = |client: &ClientId| {
            let waiting = self.sessions.get(*client).and_then(|session| session.blocked.as_ref());
            waiting.is_some_and(
                |blocked| matches!(&blocked.waiting, Waiting::Keys { block, .. } if block.wakes_on_removal),
            )
        };
        self.waiting.by_key.values().filter(|clients| clients.iter().any(|(_, client)| wakes(client))).count()
    }

    pub(super) fn next_timeout_us(&self) -> u64 {
        self.waiting.next_timeout().unwrap_or(u64::MAX)
    }

    /// Answers those whose time is up.
    pub(super) fn time_out_blocked(&mut self, effects: &mut Effects) {
        while let Some(&(at, client)) = self.waiting.timeouts.first() {
            if at > self.now.mono_us {
                return;
            }
            if self.sessions.get(client).is_none() {
                self.waiting.timeouts.pop_first();
                continue;
            }
            self.with_session(client, |node, session| {
                if let Some(blocked) = node.unblock(session) {
                    node.account_for_vain_wait(session, &blocked, false);
                    node.answer_timeout(session, &blocked.waiting, effects);
                    node.owe(session);
                    node.resume(session);
                }
            });
        }
    }

    /// What a client is answered whose wait ends without success (its time is up, CLIENT UNBLOCK).
    pub(super) fn answer_timeout(&mut self, session: &mut Session, waiting: &Waiting, effects: &mut Effects) {
        match waiting {
            Waiting::Keys { block, .. } => match block.on_timeout {
                TimeoutReply::Null => session.reply.null(),
                TimeoutReply::NullArray => session.reply.null_array(),
            },
            Waiting::Synced { .. } => self.reply_waitaof(session),
            Waiting::Replicas => session.reply.integer(0),
            Waiting::Paused => self.run_kept_input(session, effects),
            Waiting::Saved
            | Waiting::Backup
            | Waiting::Shutdown
            | Waiting::Config
            | Waiting::Loaded
            | Waiting::Script
            | Waiting::Migration => {}
        }
    }

    /// A client is gone: nobody serves it any more.
    pub(super) fn forget_waiting(&mut self, session: &mut Session) {
        self.unblock(session);
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use crate::{
        host::{ClientId, Engine},
        node::conversation::Conversation,
        node::testing::TestServer,
    };

    /// A server, and a second client that waits with this command.
    fn waiting(command: &str) -> (TestServer, ClientId) {
        let mut server = TestServer::new("enable-debug-command yes\nslowlog-log-slower-than 0");
        let waiter = server.connect();
        assert_eq!(server.run_as(waiter, command), "(waits)");
        (server, waiter)
    }

    /// A client sends these lines at once.
    fn pipe(server: &mut Conversation, client: ClientId, lines: &str) -> String {
        server.node.receive(server.now, client, lines.as_bytes(), &mut server.effects);
        server.turn();
        server.hears(client)
    }

    #[test]
    fn who_waits_is_served_before_the_next_command_of_a_pipeline() {
        let mut server = Conversation::new("");
        let (first, second, both) = (server.connect(), server.connect(), server.connect());
        server.says(first, "BLPOP l 0");
        server.says(second, "BLMOVE m n LEFT LEFT 0");
        assert_eq!(pipe(&mut server, both, "LPUSH l 1\r\nBLPOP l 0\r\n"), ":1");
        // What serving changes is watched by whoever made it possible.
        assert_eq!(pipe(&mut server, both, "LPUSH l 2\r\n"), "");
        let other = server.connect();
        assert_eq!(server.says(other, "LPUSH l 3"), ":1");
        assert_eq!(server.hears(first), "*2 $1 l $1 1");
        assert_eq!(server.hears(both), "*2 $1 l $1 3 :1");
        assert_eq!(
            pipe(&mut server, both, "WATCH n\r\nLPUSH m 1\r\nMULTI\r\nPING\r\nEXEC\r\n"),
            "+OK :1 +OK +QUEUED *-1"
        );
        assert_eq!(server.hears(second), "$1 1");
    }

    #[test]
    fn a_key_of_another_type_wakes_nobody() {
        for (command, before) in [
            ("BLPOP k 0", "LPUSH k a"),
            ("BZPOPMIN k 0", "ZADD k 1 a"),
            ("XREAD BLOCK 0 STREAMS k 0", "XADD k 1-1 f v"),
        ] {
            let (mut server, waiter) = waiting(command);
            for line in ["MULTI", before, "DEL k", "SET k string", "EXEC"] {
                server.run(line);
            }
            assert_eq!(server.read(waiter), "(waits)", "{command}");
            server.run("DEL k");
            server.run(before);
            assert_ne!(server.read(waiter), "(waits)", "{command}");
        }
    }

    #[test]
    fn a_group_that_is_flushed_away_ends_the_wait_for_it() {
        for flush in ["FLUSHALL", "FLUSHDB", "DEL x"] {
            let mut server = TestServer::new("");
            let waiter = server.connect();
            server.check(&[("XGROUP CREATE x g $ MKSTREAM", "+OK")]);
            let command = "XREADGROUP GROUP g c BLOCK 0 STREAMS x >";
            assert_eq!(server.run_as(waiter, command), "(waits)");
            server.run(flush);
            assert!(server.read(waiter).starts_with("-NOGROUP"), "{flush}");
        }
    }

    #[test]
    fn rights_taken_away_while_waiting_are_missed_when_served() {
        let mut server = TestServer::new("");
        let waiter = server.connect();
        server.check(&[("ACL SETUSER bob on nopass ~* +@all", "+OK")]);
        assert_eq!(server.run_as(waiter, "AUTH bob x"), "+OK");
        assert_eq!(server.run_as(waiter, "BLPOP k 0"), "(waits)");
        server.check(&[("ACL SETUSER bob resetkeys ~other*", "+OK"), ("LPUSH k a", ":1")]);
        assert!(server.read(waiter).starts_with("-NOPERM"));
        server.check(&[("LLEN k", ":1")]);
    }

    #[test]
    fn a_served_command_is_counted_once_with_its_wait() {
        let (mut server, waiter) = waiting("BLPOP k 0");
        assert!(!server.run("SLOWLOG GET").contains("BLPOP"));
        server.advance_ms(5);
        server.run("LPUSH k a");
        assert_ne!(server.read(waiter), "(waits)");
        assert!(server.run("INFO commandstats").contains("cmdstat_blpop:calls=1,usec=5000"));
        assert_eq!(server.run("SLOWLOG GET").matches("BLPOP").count(), 1);
    }

    #[test]
    fn a_wait_that_is_ended_with_an_error_is_a_failed_call() {
        let (mut server, waiter) = waiting("BLPOP k 0");
        server.check(&[("CLIENT UNBLOCK 2 ERROR", ":1")]);
        assert!(server.read(waiter).starts_with("-UNBLOCKED"));
        let text = server.run("INFO commandstats");
        assert!(text.contains("cmdstat_blpop:calls=1") && text.contains("failed_calls=1"), "{text}");
    }

    #[test]
    fn monitors_see_a_waiting_command_when_it_comes() {
        let mut server = TestServer::new("");
        let (monitor, waiter) = (server.connect(), server.connect());
        server.run_as(monitor, "MONITOR");
        server.run_as(waiter, "BLPOP k 0");
        assert!(server.read(monitor).contains("BLPOP"));
        server.run("LPUSH k a");
        let seen = server.read(monitor);
        assert!(seen.contains("LPUSH") && !seen.contains("BLPOP"), "{seen}");
    }
}
