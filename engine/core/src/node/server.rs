//! Which function carries out which command of the node, and the commands about whole databases.

use alloc::vec::Vec;

use super::{
    Node,
    execute::{Outcome, Request},
};
use crate::{
    commands::{CommandResult, NodeCommand, parse_int, table::Row},
    error::{DB_OUT_OF_RANGE, Error, SYNTAX},
    host::Effects,
    persist::snapshot::Origin,
    session::{Session, Waiting},
    store::DbKey,
};

impl Node {
    /// Carries a command of the node out; its reply, or that of its failure, is written.
    pub(super) fn run_node_command(
        &mut self,
        session: &mut Session,
        row: &Row,
        command: NodeCommand,
        request: &Request<'_>,
        effects: &mut Effects,
    ) -> Outcome {
        let reply_at = session.reply.len();
        let result = self.dispatch(session, command, request, effects);
        match result {
            Ok(None) if session.blocked.is_some() => Outcome::Blocked,
            Ok(None) => Outcome::Done,
            Ok(Some(waiting)) => {
                self.block(session, waiting, 0);
                Outcome::Blocked
            }
            Err(error) => {
                session.reply.truncate(reply_at);
                session.reply.error(error.as_str());
                self.count_error(error.code());
                self.command_stats[row.id].failed += 1;
                Outcome::Done
            }
        }
    }

    fn dispatch(
        &mut self,
        session: &mut Session,
        command: NodeCommand,
        request: &Request<'_>,
        effects: &mut Effects,
    ) -> Result<Option<Waiting>, Error> {
        use NodeCommand::*;
        let args = request.args;
        let done = |result: CommandResult| result.map(|()| None);
        match command {
            Ping => done(self.ping(session, args)),
            Echo => {
                session.reply.bulk(args[1]);
                Ok(None)
            }
            Auth => done(self.auth(session, args)),
            Hello => done(self.hello(session, args)),
            Select => done(self.select(session, args)),
            Quit => done(self.quit(session, effects)),
            Reset => done(self.reset(session)),
            Multi => done(self.multi(session)),
            Exec => done(self.exec(session, effects)),
            Discard => done(self.discard(session)),
            Watch => done(self.watch(session, args)),
            Unwatch => {
                self.unwatch(session);
                session.reply.ok();
                Ok(None)
            }
            Save => self.save(session, effects),
            BgSave => done(self.bgsave(session, args, effects)),
            BgRewriteAof => done(self.bgrewriteaof(session)),
            LastSave => done(self.lastsave(session)),
            Shutdown => self.shutdown_command(session, args, effects),
            WaitAof => self.waitaof(session, args),
            DbSize => {
                session.reply.integer(self.store.db(session.db).len() as i64);
                Ok(None)
            }
            FlushDb => done(self.flush(session, request, false, effects)),
            FlushAll => done(self.flush(session, request, true, effects)),
            SwapDb => done(self.swapdb(session, request)),
            other => self.dispatch_more(session, other, request, effects),
        }
    }

    fn flush(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
        all: bool,
        effects: &mut Effects,
    ) -> CommandResult {
        match request.args {
            [_] => {}
            [_, mode] if mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async") => {}
            _ => return Err(SYNTAX),
        }
        let dbs = if all { 0..self.store.db_count() } else { session.db..session.db + 1 };
        for db in dbs {
            self.empty_db(db);
        }
        self.invalidate_all();
        self.log_forced(session, request);
        session.reply.ok();
        if all && self.snapshots.is_in_background() {
            // The snapshot under way would bring the old data back.
            self.kill_child_of_snapshot(effects);
        }
        if all
            && !self.config.save.is_empty()
            && self.unit.is_none()
            && !self.snapshots.is_in_foreground()
            && !self.has_child()
        {
            self.begin_snapshot(Origin::Foreground, effects);
        }
        Ok(())
    }

    /// Removes all keys of a database; whoever watches one of them learns of it.
    pub(super) fn empty_db(&mut self, db: usize) {
        self.touch_watched_in(db);
        let taken = self.store.db_mut(db).take();
        self.store.dirty += taken.len() as u64;
        drop(taken);
    }

    /// Watched keys of a database that exist count as changed.
    pub(super) fn touch_watched_in(&mut self, db: usize) {
        let keys: Vec<DbKey> = self.watchers.keys().filter(|key| key.db == db).cloned().collect();
        for key in keys {
            if self.store.db(db).get(&key.key).is_some() {
                self.store.touch_in(db, &key.key, 0);
            }
        }
    }

    /// Logs a command of the node as it was typed.
    pub(super) fn log_forced(&mut self, session: &mut Session, request: &Request<'_>) {
        let mut record = core::mem::take(&mut self.record);
        record.clear();
        self.log_command(session.db, request, true, &mut record);
        self.record = record;
        session.last_write = self.aof.journal.offset_buffered();
    }

    fn swapdb(&mut self, session: &mut Session, request: &Request<'_>) -> CommandResult {
        let index = |arg: &[u8], what: &'static str| {
            let index = parse_int(arg).map_err(|_| Error::new(what))?;
            usize::try_from(index).ok().filter(|&index| index < self.store.db_count()).ok_or(DB_OUT_OF_RANGE)
        };
        let first = index(request.args[1], "ERR invalid first DB index")?;
        let second = index(request.args[2], "ERR invalid second DB index")?;
        self.touch_watched_in(first);
        self.touch_watched_in(second);
        self.store.swap(first, second);
        self.touch_watched_in(first);
        self.touch_watched_in(second);
        self.store.dirty += 1;
        self.log_forced(session, request);
        self.note_swapped_keys(first, second);
        session.reply.ok();
        Ok(())
    }

    /// Blocked clients may find what they wait for in the database that took the other's place.
    fn note_swapped_keys(&mut self, first: usize, second: usize) {
        let keys = self.waiting.keys_in(&[first, second]);
        self.note_ready_keys(keys);
    }

    fn dispatch_more(
        &mut self,
        session: &mut Session,
        command: NodeCommand,
        request: &Request<'_>,
        effects: &mut Effects,
    ) -> Result<Option<Waiting>, Error> {
        use NodeCommand::*;
        let args = request.args;
        match command {
            ConfigGet => self.config_get(session, args)?,
            ConfigSet => self.config_set(session, args, effects)?,
            Info => self.info(session, args)?,
            ClientTracking => self.client_tracking(session, args)?,
            ClientCaching => self.client_caching(session, args)?,
            ClientGetRedir => self.client_getredir(session),
            ClientTrackingInfo => self.client_trackinginfo(session),
            Subscribe | PSubscribe | SSubscribe | Unsubscribe | PUnsubscribe | SUnsubscribe | Publish
            | SPublish | PubsubChannels | PubsubShardChannels | PubsubNumSub | PubsubShardNumSub
            | PubsubNumPat | PubsubHelp => self.pubsub_command(session, command, args)?,
            _ => return Err(SYNTAX),
        }
        Ok(None)
    }
}
