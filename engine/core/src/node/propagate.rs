//! What a command leaves behind: records for the log, word to those who watch keys.
//!
//! One execution unit (a command, a whole EXEC, a script) becomes one unit of the log. Keys that lazy expiry
//! removed on the way come first, as DEL, so that replay sees what the command saw.
//!
//! Not here: bytes and offsets (`persist/journal.rs`), publishing events (`pubsub.rs`).

use alloc::{vec, vec::Vec};

use super::{Node, execute::Request};
use crate::{
    commands::{Args, Record},
    host::ClientId,
    mutant::{self, Mutant},
    session::Session,
    store::{DbKey, ExpiredFields},
};

/// A unit being collected: commands with their databases. `None` outside of EXEC and scripts.
pub(super) type Unit = Vec<(usize, Vec<Vec<u8>>)>;

impl Node {
    /// Logs what one command changed, or adds it to the unit that is being collected.
    pub(super) fn log_command(
        &mut self,
        db: usize,
        request: &Request<'_>,
        has_changed: bool,
        record: &mut Record,
    ) {
        let expired = self.take_expired();
        let is_flush = || request.args[0].eq_ignore_ascii_case(b"flushall");
        if mutant::is(Mutant::FlushNotLogged) && self.aof.is_rewriting() && is_flush() {
            return;
        }
        if !self.aof.journal.is_open() && self.unit.is_none() {
            return;
        }
        // The common case goes straight into the journal: one command, as it was typed.
        if expired.is_empty() && has_changed && !record.is_replaced && self.unit.is_none() {
            match request.frame {
                Some(frame) => self.aof.journal.append_frame(self.now, db, frame),
                None => self.aof.journal.append_unit(self.now, &[(db, owned(request.args))]),
            }
            return;
        }
        if !has_changed && self.unit.is_none() {
            // A read came upon them one by one; nothing makes them one change.
            for removal in expired {
                self.aof.journal.append_unit(self.now, &[removal]);
            }
            return;
        }
        let mut unit = expired;
        if has_changed && !record.is_replaced {
            unit.push((db, owned(request.args)));
        } else if has_changed {
            unit.extend(record.commands.drain(..).map(|command| (db, command)));
        }
        match &mut self.unit {
            Some(collected) => collected.extend(unit),
            None => self.aof.journal.append_unit(self.now, &unit),
        }
    }

    /// Logs keys and fields that went by themselves: each removal is a unit of its own.
    pub(super) fn log_expired(&mut self) {
        for removal in self.take_expired() {
            if self.aof.journal.is_open() {
                self.aof.journal.append_unit(self.now, &[removal]);
            }
        }
    }

    /// What expired since this was last asked, as the removals the log gets.
    fn take_expired(&mut self) -> Unit {
        if self.store.expired.is_empty() && self.store.expired_fields.is_empty() {
            return Unit::new();
        }
        let keys = core::mem::take(&mut self.store.expired);
        let fields = core::mem::take(&mut self.store.expired_fields);
        if mutant::is(Mutant::ExpiryNotLogged) {
            return Unit::new();
        }
        // Fields first: their hash may have expired after them.
        let is_lazy = self.config.lazyfree_lazy_expire;
        let fields = fields.into_iter().map(|expired| (expired.key.db, removal_of(expired)));
        fields.chain(keys.into_iter().map(|key| (key.db, deletion_of(key, is_lazy)))).collect()
    }

    /// Logs that a key gave way for want of memory.
    pub(super) fn log_eviction(&mut self, key: DbKey) {
        if self.aof.journal.is_open() {
            let db = key.db;
            let command = deletion_of(key, self.config.lazyfree_lazy_eviction);
            self.aof.journal.append_unit(self.now, &[(db, command)]);
        }
    }

    /// Begins collecting a unit (EXEC, a script); what is logged meanwhile becomes one.
    pub(super) fn begin_unit(&mut self) {
        self.unit = Some(Unit::new());
    }

    /// Logs the collected unit whole.
    pub(super) fn end_unit(&mut self) {
        if let Some(unit) = self.unit.take()
            && self.aof.journal.is_open()
        {
            self.aof.journal.append_unit(self.now, &unit);
        }
    }

    /// Tells everybody whom the last command concerns: watchers, blocked clients, subscribers.
    pub(super) fn after_command(&mut self, session: &mut Session) {
        self.settle_changes(session, Some(session.client));
    }

    /// Who is concerned by what was evicted to make room for a session's command learns of it before the reply.
    pub(super) fn after_eviction(&mut self, session: &mut Session) {
        self.settle_changes(session, None);
        self.deliver(Some(session));
    }

    /// Changes concern watchers, blocked clients, caches and subscribers; `author` made them, if a client did.
    fn settle_changes(&mut self, session: &mut Session, author: Option<ClientId>) {
        if !self.store.changed.is_empty() {
            let changed = core::mem::take(&mut self.store.changed);
            self.touch_watchers(session, &changed);
            self.invalidate(Some(session), author, &changed);
            self.note_ready_keys(changed);
        }
        if !self.store.events.is_empty() {
            self.publish_events();
        }
    }

    fn touch_watchers(&mut self, session: &mut Session, changed: &[DbKey]) {
        if self.watchers.is_empty() {
            return;
        }
        for key in changed {
            session.is_dirty |= self.concerns(session, key);
            self.touch_watchers_of(key);
        }
    }

    /// The transactions of those who watch a key will fail. A session that is out of its slot is not among them.
    pub(super) fn touch_watchers_of(&mut self, key: &DbKey) {
        let Some(clients) = self.watchers.get(key) else { return };
        let is_concerned =
            |client: &ClientId| self.sessions.get(*client).is_some_and(|session| self.concerns(session, key));
        let concerned: Vec<ClientId> = clients.iter().copied().filter(is_concerned).collect();
        for client in concerned {
            self.sessions.get_mut(client).expect("just seen").is_dirty = true;
        }
    }

    /// Whether anybody needs to hear of changed keys.
    pub(super) fn update_change_tracking(&mut self) {
        self.store.track_changes =
            !self.watchers.is_empty() || self.waiting.has_keys() || self.is_tracking_used();
    }
}

fn deletion_of(key: DbKey, is_lazy: bool) -> Vec<Vec<u8>> {
    let name: &[u8] = if is_lazy { b"UNLINK" } else { b"DEL" };
    vec![name.to_vec(), key.key]
}

/// Removes fields that expired.
fn removal_of(expired: ExpiredFields) -> Vec<Vec<u8>> {
    let names = expired.fields.into_iter().map(Vec::from);
    [b"HDEL".to_vec(), expired.key.key].into_iter().chain(names).collect()
}

fn owned(args: Args<'_>) -> Vec<Vec<u8>> {
    args.iter().map(|arg| arg.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use crate::node::testing::TestServer;

    #[test]
    fn what_a_read_found_expired_is_logged_one_by_one() {
        let mut server = TestServer::new("appendonly yes\nenable-debug-command yes");
        server.check(&[
            ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"),
            ("SET a 1 PX 5", "+OK"),
            ("SET b 1 PX 5", "+OK"),
        ]);
        server.advance_ms(10);
        server.run("SCAN 0 COUNT 100");
        let log = log_of(&server);
        assert_eq!(log.matches("DEL").count(), 2, "{log}");
        assert!(!log.contains("MULTI"), "{log}");
    }

    fn log_of(server: &TestServer) -> String {
        let files = server.disk.files.iter().filter(|(name, _)| name.ends_with(".incr.aof"));
        files.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    #[test]
    fn what_gives_way_is_logged_as_it_is_freed() {
        for (lazily, name) in [("no", "DEL"), ("yes", "UNLINK")] {
            let mut server = TestServer::new(&format!("appendonly yes\nlazyfree-lazy-eviction {lazily}"));
            server.check(&[
                ("SET a 1", "+OK"),
                ("CONFIG SET maxmemory 1 maxmemory-policy allkeys-random", "+OK"),
            ]);
            server.run("GET a");
            let log = log_of(&server);
            assert!(log.contains(&format!("{name}\r\n$1\r\na")), "{log}");
        }
    }

    #[test]
    fn writes_that_are_to_have_a_replica_are_refused() {
        let mut server = TestServer::new("min-replicas-to-write 1");
        let refusal = "-NOREPLICAS Not enough good replicas to write.";
        server.check(&[("SET a 1", refusal), ("GET a", "nil"), ("PING", "+PONG")]);
        server.check(&[("CONFIG SET min-replicas-max-lag 0", "+OK"), ("SET a 1", "+OK")]);
    }
}
