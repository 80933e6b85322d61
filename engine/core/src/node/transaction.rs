//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Always true: a transaction is executed whole and logged as one unit, or not at all.

use alloc::vec::Vec;

use super::{
    Node,
    acl::denied_in_exec,
    execute::{Outcome, Request},
};
use crate::{
    commands::{Action, Args, CommandResult, NodeCommand, table::Row},
    error::Error,
    host::Effects,
    session::{Session, Transaction, WatchedAs, WatchedKey},
    store::DbKey,
};

impl Node {
    pub(super) fn multi(&mut self, session: &mut Session) -> CommandResult {
        if session.transaction.is_some() {
            return Err(Error::new("ERR MULTI calls can not be nested"));
        }
        session.transaction = Some(Transaction::default());
        session.reply.ok();
        Ok(())
    }

    pub(super) fn discard(&mut self, session: &mut Session) -> CommandResult {
        if session.transaction.is_none() {
            return Err(Error::new("ERR DISCARD without MULTI"));
        }
        self.discard_transaction(session);
        session.reply.ok();
        Ok(())
    }

    pub(super) fn watch(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        if session.transaction.is_some() {
            return Err(Error::new("ERR WATCH inside MULTI is not allowed"));
        }
        if session.is_dirty {
            // EXEC will fail whatever else is watched.
            session.reply.ok();
            return Ok(());
        }
        for key in &args[1..] {
            let db = session.db;
            let was = match self.store.db(db).get(key) {
                None => WatchedAs::Missing,
                Some(_) if self.is_absent(db, key) => WatchedAs::Expired,
                Some(_) => WatchedAs::There,
            };
            let least = WatchedKey { db, key: key.to_vec(), was: WatchedAs::There };
            let next = session.watched.range(&least..).next();
            if next.is_none_or(|next| next.db != db || next.key != *key) {
                session.watched.insert(WatchedKey { was, ..least });
                self.watchers.entry(DbKey { db, key: key.to_vec() }).or_default().insert(session.client);
            }
        }
        self.update_change_tracking();
        session.reply.ok();
        Ok(())
    }

    pub(super) fn unwatch(&mut self, session: &mut Session) {
        for watched in core::mem::take(&mut session.watched) {
            let key = DbKey { db: watched.db, key: watched.key };
            if let Some(clients) = self.watchers.get_mut(&key) {
                clients.remove(&session.client);
                if clients.is_empty() {
                    self.watchers.remove(&key);
                }
            }
        }
        session.is_dirty = false;
        self.update_change_tracking();
    }

    pub(super) fn discard_transaction(&mut self, session: &mut Session) {
        session.transaction = None;
        self.unwatch(session);
    }

    /// Whether a command is queued instead of run.
    pub(super) fn is_queued(&self, session: &Session, row: &Row) -> bool {
        use NodeCommand::*;
        session.transaction.is_some()
            && !matches!(row.command.action, Action::Node(Exec | Discard | Multi | Watch | Quit | Reset))
    }

    pub(super) fn queue(&mut self, session: &mut Session, request: &Request<'_>) {
        let transaction = session.transaction.as_mut().expect("only inside of MULTI");
        if !transaction.is_aborted {
            transaction.push(request.args.iter().map(|arg| arg.to_vec()).collect());
        }
        session.reply.simple("QUEUED");
    }

    pub(super) fn exec(&mut self, session: &mut Session, effects: &mut Effects) -> CommandResult {
        let Some(transaction) = &session.transaction else {
            return Err(Error::new("ERR EXEC without MULTI"));
        };
        if transaction.is_aborted {
            self.discard_transaction(session);
            return Err(Error::new("EXECABORT Transaction discarded because of previous errors."));
        }
        if session.is_dirty || self.has_watched_key_expired(session) {
            self.discard_transaction(session);
            session.reply.null_array();
            return Ok(());
        }
        session.reply.array(transaction.queue().len());
        // What it watches itself may change now.
        self.unwatch(session);
        self.begin_unit();
        session.transaction.as_mut().expect("seen above").is_executing = true;
        self.exec_queue(session, effects);
        Ok(())
    }

    /// Executes what is queued, to the end or up to a script that takes long.
    fn exec_queue(&mut self, session: &mut Session, effects: &mut Effects) {
        while let Some(args) = session.transaction.as_mut().and_then(Transaction::pop) {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            self.exec_one(session, &args, effects);
            if session.blocked.is_some() {
                return;
            }
        }
        self.end_unit();
        self.wake_up();
        session.transaction = None;
        session.last_write = self.aof.journal.offset_buffered();
    }

    /// Goes on with an EXEC after the script that held it up, if there was one.
    pub(super) fn continue_exec(&mut self, session: &mut Session, effects: &mut Effects) {
        if session.transaction.as_ref().is_none_or(|transaction| !transaction.is_executing) {
            return;
        }
        self.exec_queue(session, effects);
        if session.blocked.is_none() {
            let row = self.table.find(b"exec").expect("a row of the table");
            self.account_for(session, &row, &[b"exec"], 0);
        }
    }

    fn exec_one(&mut self, session: &mut Session, args: Args<'_>, effects: &mut Effects) {
        let row = self.table.resolve(args).expect("it was found when it was queued");
        if let Err(denial) = self.check_rights(session, &row, args) {
            let error = denied_in_exec(denial);
            self.count_error(error.code());
            session.reply.error(error.as_str());
            return;
        }
        let request = Request { args, frame: None };
        let outcome = self.execute(session, &row, &request, effects);
        assert!(outcome == Outcome::Done || self.is_script_suspended(), "only a script holds EXEC up");
    }

    fn has_watched_key_expired(&self, session: &Session) -> bool {
        session.watched.iter().any(|watched| {
            let entry = self.store.db(watched.db).get(&watched.key);
            watched.was == WatchedAs::There && entry.is_some_and(|entry| self.store.is_due(entry.expiry_ms()))
        })
    }

    /// Whether a key is missing, or there only because nobody has removed it since it expired.
    pub(super) fn is_absent(&self, db: usize, key: &[u8]) -> bool {
        self.store.db(db).get(key).is_none_or(|entry| self.store.is_due(entry.expiry_ms()))
    }

    /// Whether a change of a key is one to somebody who watches it. That an expired key goes away is none.
    pub(super) fn concerns(&self, session: &Session, key: &DbKey) -> bool {
        let watches = |was| session.watched.contains(&WatchedKey { db: key.db, key: key.key.clone(), was });
        watches(WatchedAs::There)
            || watches(WatchedAs::Missing)
            || (watches(WatchedAs::Expired) && !self.is_absent(key.db, &key.key))
    }

    /// Whether a queued command has a flag.
    pub(super) fn has_queued(&self, session: &Session, flag: u32) -> bool {
        self.queued_flags(session).any(|flags| flags & flag != 0)
    }

    /// Whether this is EXEC and a queued command has a flag.
    pub(super) fn has_queued_exec(&self, session: &Session, row: &Row, flag: u32) -> bool {
        matches!(row.command.action, Action::Node(NodeCommand::Exec)) && self.has_queued(session, flag)
    }

    /// Whether this is EXEC and a queued command lacks a flag.
    pub(super) fn has_queued_exec_without(&self, session: &Session, row: &Row, flag: u32) -> bool {
        matches!(row.command.action, Action::Node(NodeCommand::Exec))
            && self.queued_flags(session).any(|flags| flags & flag == 0)
    }

    fn queued_flags<'a>(&'a self, session: &'a Session) -> impl Iterator<Item = u32> + 'a {
        let queue = session.transaction.iter().flat_map(Transaction::queue);
        queue.filter_map(|args| {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            self.table.resolve(&args).map(|row| self.flags_of(&row, &args))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::node::testing::TestServer;

    const ABSENT: &[(&str, &str)] = &[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "[+PONG]")];
    const TOUCHED: &[(&str, &str)] = &[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "nil")];

    /// A server with an expired key that is still there.
    fn with_stale_key() -> TestServer {
        let mut server = TestServer::new("enable-debug-command yes");
        server.check(&[("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"), ("SET k v PX 1", "+OK")]);
        server.advance_ms(10);
        server
    }

    #[test]
    fn removal_of_an_expired_key_does_not_touch_it() {
        for removal in ["DEL k", "FLUSHALL", "SWAPDB 0 1"] {
            let mut server = with_stale_key();
            server.run("WATCH k");
            server.run(removal);
            server.check(ABSENT);
        }
    }

    #[test]
    fn an_expired_key_in_place_of_none_does_not_touch_it() {
        let mut server = with_stale_key();
        server.check(&[("SELECT 1", "+OK"), ("WATCH k", "+OK"), ("SWAPDB 0 1", "+OK")]);
        server.check(ABSENT);
    }

    #[test]
    fn a_key_that_comes_back_touches_it() {
        let mut server = with_stale_key();
        server.check(&[("WATCH k", "+OK"), ("SET k w", "+OK")]);
        server.check(TOUCHED);
    }

    #[test]
    fn expiry_after_the_watch_touches_it() {
        let mut server = TestServer::new("");
        server.check(&[("SET k v PX 5", "+OK"), ("WATCH k", "+OK")]);
        server.advance_ms(10);
        server.check(TOUCHED);
    }

    #[test]
    fn what_is_watched_and_not_there_is_touched_by_a_write() {
        let mut server = TestServer::new("");
        server.check(&[("WATCH k", "+OK"), ("SET k v", "+OK")]);
        server.check(TOUCHED);
    }

    #[test]
    fn exec_with_an_argument_aborts_the_transaction() {
        const ABORTED: &str =
            "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
        TestServer::new("").check(&[
            ("EXEC x", ABORTED),
            ("MULTI", "+OK"),
            ("SET k v", "+QUEUED"),
            (
                "EXEC x",
                "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command",
            ),
            ("EXEC", "-ERR EXEC without MULTI"),
            ("GET k", "nil"),
        ]);
    }

    #[test]
    fn refused_commands_are_counted_with_their_command() {
        let mut server = TestServer::new("");
        server.run("GET");
        let stats = server.run("INFO commandstats");
        assert!(stats.contains("cmdstat_get:calls=0") && stats.contains("rejected_calls=1"), "{stats}");
    }
}
