//! SAVE, BGSAVE, BGREWRITEAOF, SHUTDOWN, WAITAOF, switching at run time; and what the host reports of them.
//!
//! The node only decides who may begin: at most one child at a time, a rewrite only at the end of a turn. The state
//! machines themselves are in `persist/`.

use alloc::{format, string::String, vec, vec::Vec};

use super::{Child, ChildKind, Node, blocking::WaitKind};
use crate::{
    commands::{Args, CommandResult},
    config::{AppendFsync, ShutdownFlags},
    error::{Error, SYNTAX},
    host::{ChildEnd, ClientId, Completion, Effect, Effects, FileStep, Signal, SnapshotForm, Ticket},
    mutant::{self, Mutant},
    persist::{
        append_only::{REWRITE_TEMP, State, Wish},
        snapshot::{Order, Origin, Outcome, SNAPSHOT_TEMP},
    },
    rdb::RdbSettings,
    session::{Session, Waiting},
};

/// A shutdown under way.
#[derive(Clone, Debug)]
pub(super) struct Shutdown {
    save: bool,
    force: bool,
    phase: ShutdownPhase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ShutdownPhase {
    /// The journal is being written and synced.
    Syncing,
    /// The final snapshot is being written.
    Saving,
}

/// How SHUTDOWN was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShutdownOptions {
    pub save: bool,
    pub nosave: bool,
    pub force: bool,
}

impl Node {
    // --- Commands -----------------------------------------------------------------------------------

    pub(super) fn save(
        &mut self,
        session: &mut Session,
        effects: &mut Effects,
    ) -> Result<Option<Waiting>, Error> {
        if self.snapshots.is_in_background() || self.snapshots.is_in_foreground() {
            return Err(Error::new("ERR Background save already in progress"));
        }
        let _ = session;
        self.begin_snapshot(Origin::Foreground, effects);
        Ok(Some(Waiting::Saved))
    }

    pub(super) fn bgsave(
        &mut self,
        session: &mut Session,
        args: Args<'_>,
        effects: &mut Effects,
    ) -> CommandResult {
        let is_scheduling = match args {
            [_] => false,
            [_, word] if word.eq_ignore_ascii_case(b"schedule") => true,
            [_, word] if word.eq_ignore_ascii_case(b"cancel") => return self.cancel_bgsave(session, effects),
            _ => return Err(SYNTAX),
        };
        if self.snapshots.is_in_background() {
            return Err(Error::new("ERR Background save already in progress"));
        }
        let in_exec = self.unit.is_some();
        // A SAVE, or the snapshot after FLUSHALL, is still being put in place: this one comes next.
        if self.snapshots.is_in_foreground() {
            self.snapshots.is_scheduled = true;
            session.reply.simple("Background saving scheduled");
            return Ok(());
        }
        if self.has_child() || in_exec || self.aof.is_rewriting() {
            if !is_scheduling && !in_exec {
                return Err(Error::new(
                    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to \
                     schedule a BGSAVE whenever possible.",
                ));
            }
            self.snapshots.is_scheduled = true;
            session.reply.simple("Background saving scheduled");
            return Ok(());
        }
        self.begin_snapshot(Origin::Background, effects);
        session.reply.simple("Background saving started");
        Ok(())
    }

    fn cancel_bgsave(&mut self, session: &mut Session, effects: &mut Effects) -> CommandResult {
        if self.snapshots.is_in_background() {
            self.kill_child(effects);
            session.reply.simple("Background saving cancelled");
        } else if self.snapshots.is_scheduled {
            self.snapshots.is_scheduled = false;
            session.reply.simple("Scheduled background saving cancelled");
        } else {
            return Err(Error::new("ERR Background saving is currently not in progress or scheduled"));
        }
        Ok(())
    }

    /// Ends the snapshot child, if there is one: its image is out of date.
    pub(super) fn kill_child_of_snapshot(&mut self, effects: &mut Effects) {
        if self.child.is_some_and(|child| child.kind == ChildKind::Rdb) {
            self.kill_child(effects);
        }
    }

    /// A shutdown is under way.
    pub fn is_shutting_down(&self) -> bool {
        self.shutdown.is_some()
    }

    pub(super) fn bgrewriteaof(&mut self, session: &mut Session) -> CommandResult {
        let waits = self.has_working_child() || self.unit.is_some();
        let is_rewriting = self.aof.is_rewriting() && !self.aof.is_calling_off();
        if is_rewriting || self.aof.is_about_to_rewrite(self.now) && !waits {
            return Err(Error::new("ERR Background append only file rewriting already in progress"));
        }
        if !waits && self.aof.journal.broken().is_some() {
            return Err(Error::new(
                "ERR Can't execute an AOF background rewriting. Please check the server logs for more information.",
            ));
        }
        self.aof.stats.failures_consecutive = if waits { 0 } else { self.aof.stats.failures_consecutive };
        self.aof.schedule();
        session.reply.simple(if waits {
            "Background append only file rewriting scheduled"
        } else {
            "Background append only file rewriting started"
        });
        Ok(())
    }

    pub(super) fn lastsave(&mut self, session: &mut Session) -> CommandResult {
        session.reply.integer(self.snapshots.last_save_s as i64);
        Ok(())
    }

    pub(super) fn shutdown_command(
        &mut self,
        session: &mut Session,
        args: Args<'_>,
        effects: &mut Effects,
    ) -> Result<Option<Waiting>, Error> {
        let mut options = ShutdownOptions::default();
        let mut is_abort = false;
        for word in &args[1..] {
            match &*word.to_ascii_lowercase() {
                b"save" => options.save = true,
                b"nosave" => options.nosave = true,
                b"now" => {}
                b"force" => options.force = true,
                b"abort" => is_abort = true,
                _ => return Err(SYNTAX),
            }
        }
        if options.save && options.nosave || is_abort && args.len() > 2 {
            return Err(SYNTAX);
        }
        if is_abort {
            if self.shutdown.take().is_none() && self.debug.kept_signal.take().is_none() {
                return Err(Error::new("ERR No shutdown in progress."));
            }
            tracing::info!("Shutdown manually aborted.");
            self.fail_shutdown_waiters(effects);
            session.reply.ok();
            return Ok(None);
        }
        if self.loading.is_some() {
            options.save = false;
            options.nosave = true;
        }
        self.abandon_script(options.nosave, effects)?;
        self.begin_shutdown(options, effects);
        Ok(Some(Waiting::Shutdown))
    }

    pub(super) fn waitaof(
        &mut self,
        session: &mut Session,
        args: Args<'_>,
    ) -> Result<Option<Waiting>, Error> {
        let local = crate::commands::parse_int(args[1])?;
        let replicas = crate::commands::parse_int(args[2])?;
        let timeout_ms = super::blocking::parse_timeout_ms(args[3])?;
        if !(0..=1).contains(&local) {
            return Err(Error::new("ERR value is out of range, value must between 0 and 1"));
        }
        if replicas < 0 {
            return Err(crate::error::MUST_BE_POSITIVE);
        }
        // What runs while the log is being switched off is not logged any more.
        let is_off = self.aof.state() == State::Off || self.aof.journal.is_closing();
        if local == 1 && is_off {
            return Err(Error::new(
                "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
            ));
        }
        let is_enough = self.is_locally_synced(session.last_write) as i64 >= local && replicas == 0;
        if is_enough || session.denies_blocking() {
            self.reply_waitaof(session);
            return Ok(None);
        }
        self.block(session, Waiting::Synced { offset: session.last_write, local, replicas }, timeout_ms);
        Ok(None)
    }

    fn is_locally_synced(&self, offset: u64) -> bool {
        // Not before the set counts: a set just switched on has no base yet.
        let journal = &self.aof.journal;
        let reached = match mutant::is(Mutant::WaitaofEarly) {
            true => journal.offset_written(),
            false => journal.offset_synced(),
        };
        self.aof.state() == State::On && reached >= offset
    }

    pub(super) fn reply_waitaof(&mut self, session: &mut Session) {
        session.reply.array(2);
        session.reply.integer(i64::from(self.is_locally_synced(session.last_write)));
        session.reply.integer(0);
    }

    /// Answers WAITAOF where the sync it waited for has happened, or AOF was switched off.
    pub(super) fn serve_synced_waiters(&mut self, effects: &mut Effects) {
        for client in self.waiting.clients(WaitKind::Synced) {
            self.with_session(client, |node, session| {
                let waiting = session.blocked.as_ref().map(|blocked| &blocked.waiting);
                let Some(&Waiting::Synced { offset, local, replicas }) = waiting else { return };
                if local == 1 && node.aof.state() == State::Off {
                    node.unblock(session);
                    session
                        .reply
                        .error("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
                } else if replicas == 0 && node.is_locally_synced(offset) {
                    node.unblock(session);
                    node.reply_waitaof(session);
                } else {
                    return;
                }
                node.owe(session);
                node.resume(session);
            });
        }
        self.run_resumed(effects);
    }

    // --- Beginning things ---------------------------------------------------------------------------

    /// A child of ours runs, or is about to.
    pub(super) fn has_child(&self) -> bool {
        self.child.is_some() || self.snapshots.is_in_background()
    }

    /// A child of ours runs that was not called off.
    pub(super) fn has_working_child(&self) -> bool {
        self.child.map_or(self.snapshots.is_in_background(), |child| !child.is_cancelled)
    }

    pub(super) fn begin_snapshot(&mut self, origin: Origin, effects: &mut Effects) {
        let target = self.config.dbfilename.clone();
        let delay = i64::from(self.config.rdb_key_save_delay);
        self.aof.note_dump(self.snapshot_ms(self.now.wall_ms()));
        let is_last = origin == Origin::Foreground && self.is_shutting_down();
        let order = Order { origin, target: &target, dirty: self.store.dirty, key_delay_us: delay, is_last };
        self.snapshots.begin(self.now, order, &mut self.ids, effects);
        if origin == Origin::Background {
            self.expect_child(ChildKind::Rdb);
        }
    }

    fn expect_child(&mut self, kind: ChildKind) {
        let ticket = match kind {
            ChildKind::Rdb => self.snapshots.job().expect("just begun"),
            ChildKind::Aof => self.aof.job().expect("just begun"),
        };
        self.child = Some(Child {
            kind,
            ticket,
            pid: 0,
            is_cancelled: false,
            keys: 0,
            keys_total: self.store.len() as u64,
            cow_size: 0,
            cow_peak: 0,
            reported_us: self.now.mono_us,
        });
        self.counters.forks += 1;
        self.apply_settings();
    }

    fn kill_child(&mut self, effects: &mut Effects) {
        if let Some(child) = &mut self.child {
            child.is_cancelled = true;
            effects.push(Effect::KillChild(child.ticket));
        }
    }

    /// The end of a turn: begins what may begin now, and mends the journal.
    pub(super) fn drive_persistence(&mut self, effects: &mut Effects) {
        if self.loading.is_some() {
            return;
        }
        let wish = self.aof.repair_if_broken(self.now, &mut self.ids, effects);
        self.grant(wish, effects);
        self.aof.advance(self.now, &mut self.ids, effects);
        self.finish_closing(effects);
        if !self.has_child() && self.shutdown.is_none() {
            if self.aof.wants_rewrite(self.now) {
                let use_rdb = self.config.aof_use_rdb_preamble;
                let delay = i64::from(self.config.rdb_key_save_delay);
                self.aof.begin_rewrite(self.now, use_rdb, delay, &mut self.ids, effects);
                self.expect_child(ChildKind::Aof);
            } else if self.snapshots.wants_scheduled(self.now)
                && !self.snapshots.is_in_foreground()
                && !self.aof.is_rewriting()
            {
                self.begin_snapshot(Origin::Background, effects);
            }
        }
        self.drive_backup(effects);
        self.drive_shutdown(effects);
    }

    fn grant(&mut self, wish: Wish, effects: &mut Effects) {
        if let Wish::KillChild(ticket) = wish
            && let Some(child) = &mut self.child
            && child.ticket == ticket
        {
            tracing::info!("Killing running AOF rewrite child");
            child.is_cancelled = true;
            effects.push(Effect::KillChild(ticket));
        }
    }

    /// `appendonly` was changed at run time.
    pub(super) fn switch_append_only(&mut self, is_on: bool, effects: &mut Effects) {
        if !is_on {
            // The reply to CONFIG SET waits, like every other, until what was logged so far is durable.
            self.aof.unschedule();
            self.aof.journal.begin_closing(self.aof.closing_ms(self.now));
            self.finish_closing(effects);
        } else if self.aof.state() == State::Off {
            let reason = match (self.unit.is_some(), self.has_child()) {
                (true, _) => Some("during a transaction"),
                (false, true) => Some("but there is already another background operation"),
                (false, false) => None,
            };
            if let Some(reason) = reason {
                tracing::info!(
                    "AOF was enabled {reason}. An AOF background was scheduled to start when possible."
                );
            }
            self.aof.enable();
        } else {
            self.aof.reopen();
        }
    }

    fn finish_closing(&mut self, effects: &mut Effects) {
        if self.aof.journal.is_closed_safely() {
            let wish = self.aof.disable(self.now, &mut self.ids, effects);
            self.grant(wish, effects);
        }
    }

    /// When the data of a snapshot was frozen: never in the same millisecond as the end of a log that it is newer than.
    fn snapshot_ms(&self, now_ms: u64) -> u64 {
        let closing = self.aof.journal.is_closing().then(|| self.aof.journal.closing_since_ms());
        let closed = closing.or(self.aof.manifest().closed_at_ms).max(self.aof.base_cut_ms());
        closed.map_or(now_ms, |closed_ms| now_ms.max(closed_ms + 1))
    }

    pub(super) fn rdb_settings(&self, form: SnapshotForm, now_ms: u64) -> RdbSettings {
        RdbSettings {
            version: self.config.rdb_version as u16,
            is_compressed: self.config.rdbcompression,
            has_checksum: self.config.rdbchecksum,
            is_aof_base: form == SnapshotForm::AofBaseRdb,
            log_offset: (form == SnapshotForm::AofBaseRdb && self.config.aof_checksum)
                .then(|| self.aof.journal.offset_buffered()),
            created_s: now_ms / 1000,
            created_ms: Some(if form == SnapshotForm::Rdb { self.snapshot_ms(now_ms) } else { now_ms }),
            used_memory: self.store.memory() as u64,
            has_idle_times: self.config.maxmemory_policy.is_lru(),
            has_frequencies: self.config.maxmemory_policy.is_lfu(),
        }
    }

    // --- What the host reports ------------------------------------------------------------------------

    pub(super) fn take_completion(&mut self, completion: Completion, effects: &mut Effects) {
        let now = self.now;
        match completion {
            Completion::Appended { file, error, .. } => {
                self.note_append_latency(file);
                self.aof.journal.appended(now, file, error);
                self.aof.advance(now, &mut self.ids, effects);
            }
            Completion::Synced { file, elapsed_us, error } => {
                if self.config.appendfsync == AppendFsync::Always {
                    self.note_latency("aof-fsync-always", elapsed_us);
                }
                self.aof.journal.synced(now, file, elapsed_us, error);
            }
            Completion::Files { ticket, error } => self.take_files(ticket, error, effects),
            Completion::Forked { ticket, result, elapsed_us } => {
                self.take_forked(ticket, result, elapsed_us, effects)
            }
            Completion::ChildProgress { ticket, keys, cow_size } => {
                if let Some(child) = self.child.as_mut().filter(|child| child.ticket == ticket) {
                    child.keys = keys;
                    child.cow_size = cow_size;
                    child.cow_peak = child.cow_peak.max(cow_size);
                    child.reported_us = now.mono_us;
                }
            }
            Completion::ChildEnded { ticket, end, cow_size } => {
                self.take_child_end(ticket, end, cow_size, effects)
            }
            Completion::Saved { result, .. } => {
                let outcome = self.snapshots.saved(result, &mut self.ids, effects);
                self.settle_snapshot(outcome, effects);
            }
            Completion::BackupProgress { bytes, .. } => self.backups.progressed(bytes),
            Completion::BackedUp { ticket, result } => self.backed_up(ticket, result, effects),
            Completion::Exchanged { ticket, replies, failed_at } => {
                self.exchanged(ticket, &replies, failed_at);
            }
            Completion::SpaceMeasured(result) => {
                self.space.take_in(now, result, self.aof.journal.offset_buffered());
            }
            Completion::DirChanged(_)
            | Completion::Listening(_)
            | Completion::OomScoreAdjusted(_)
            | Completion::ConfigRead(_)
            | Completion::ConfigWritten(_) => {
                self.take_config_completion(completion, effects);
            }
        }
    }

    fn take_files(
        &mut self,
        ticket: Ticket,
        error: Option<(usize, crate::host::IoError)>,
        effects: &mut Effects,
    ) {
        self.leftover = self.leftover.filter(|&leftover| leftover != ticket);
        let outcome = self.snapshots.files_done(self.now, ticket, &error);
        if outcome.is_some() {
            self.settle_snapshot(outcome, effects);
        } else {
            self.aof.files_done(self.now, ticket, error, &mut self.ids, effects);
        }
    }

    fn take_forked(
        &mut self,
        ticket: Ticket,
        result: Result<i32, i32>,
        elapsed_us: u64,
        effects: &mut Effects,
    ) {
        self.counters.last_fork_us = elapsed_us;
        self.note_latency("fork", elapsed_us);
        let Some(child) = self.child.as_mut().filter(|child| child.ticket == ticket) else { return };
        let kind = child.kind;
        match result {
            Ok(pid) => child.pid = pid,
            Err(_) => self.child = None,
        }
        match kind {
            ChildKind::Rdb => {
                let outcome = self.snapshots.forked(result);
                self.settle_snapshot(outcome, effects);
            }
            ChildKind::Aof => self.aof.forked(self.now, result, &mut self.ids, effects),
        }
        self.apply_settings();
    }

    fn take_child_end(&mut self, ticket: Ticket, end: ChildEnd, cow_size: u64, effects: &mut Effects) {
        let Some(child) = self.child.take_if(|child| child.ticket == ticket) else { return };
        let cow = cow_size.max(child.cow_peak);
        if child.is_cancelled || !matches!(end, ChildEnd::Written(_)) {
            self.remove_leftover(child, effects);
        }
        match child.kind {
            ChildKind::Rdb if child.is_cancelled => {
                self.snapshots.cancelled();
                self.backups.snapshot_lost();
            }
            ChildKind::Rdb => {
                let outcome = self.snapshots.child_ended(end, cow, &mut self.ids, effects);
                self.settle_snapshot(outcome, effects);
            }
            ChildKind::Aof if child.is_cancelled => {}
            ChildKind::Aof => self.aof.child_ended(self.now, end, cow, &mut self.ids, effects),
        }
        self.apply_settings();
    }

    /// What a child that was called off or died has written is of no use.
    fn remove_leftover(&mut self, child: Child, effects: &mut Effects) {
        let path = match child.kind {
            ChildKind::Rdb => SNAPSHOT_TEMP,
            ChildKind::Aof => REWRITE_TEMP,
        };
        let path = path.replace("{pid}", &format!("{}", child.pid));
        let ticket = self.ids.ticket();
        effects.push(Effect::Files { ticket, steps: vec![FileStep::Remove { path }] });
        self.leftover = Some(ticket);
    }

    fn settle_snapshot(&mut self, outcome: Option<Outcome>, effects: &mut Effects) {
        let Some(outcome) = outcome else { return };
        if outcome.is_ok {
            self.store.dirty = self.store.dirty.saturating_sub(outcome.dirty_at_cut);
        }
        self.back_up_snapshot(&outcome, effects);
        if outcome.origin == Origin::Background {
            self.child = self.child.take().filter(|child| child.kind != ChildKind::Rdb);
            return;
        }
        for client in self.waiting.clients(WaitKind::Saved) {
            self.with_session(client, |node, session| {
                let Some(blocked) = node.unblock(session) else { return };
                node.account_for_wait(session, &blocked);
                if outcome.is_ok {
                    session.reply.ok()
                } else {
                    session.reply.error("ERR")
                }
                node.owe(session);
                node.resume(session);
            });
        }
        self.continue_reload(outcome.is_ok, effects);
        self.continue_after_save(outcome.is_ok, effects);
    }

    // --- Shutting down --------------------------------------------------------------------------------

    pub(super) fn take_signal(&mut self, signal: Signal, effects: &mut Effects) {
        let (name, flags) = match signal {
            Signal::Interrupt => ("SIGINT", &self.config.shutdown_on_sigint),
            Signal::Terminate => ("SIGTERM", &self.config.shutdown_on_sigterm),
        };
        let options = options_of(flags);
        if signal == Signal::Interrupt && self.shutdown.is_some() {
            return leave_at_once(effects);
        }
        tracing::warn!("Received {name} scheduling shutdown...");
        self.begin_shutdown(options, effects);
    }

    fn begin_shutdown(&mut self, options: ShutdownOptions, effects: &mut Effects) {
        if self.shutdown.is_some() {
            return;
        }
        tracing::warn!("User requested shutdown...");
        if self.loading.is_some() {
            self.leave(effects);
            return;
        }
        if self.aof.state() == State::Starting && !options.force {
            tracing::warn!("Writing initial AOF, can't exit.");
            self.fail_shutdown(effects);
            return;
        }
        if self.child.is_some() {
            tracing::warn!("There is a child saving an .rdb or rewriting the AOF. Killing it!");
            self.kill_child(effects);
            let wish = self.aof.abandon_rewrite(self.now, &mut self.ids, effects);
            self.grant(wish, effects);
        }
        let saves = !self.config.save.is_empty() && !options.nosave || options.save;
        self.shutdown = Some(Shutdown { save: saves, force: options.force, phase: ShutdownPhase::Syncing });
        if self.aof.state() == State::On {
            tracing::info!("Calling fsync() on the AOF file.");
        }
    }

    /// Goes on with a shutdown as far as the disk has come.
    fn drive_shutdown(&mut self, effects: &mut Effects) {
        let Some(shutdown) = self.shutdown.clone() else { return };
        let is_busy = self.snapshots.is_in_foreground() || self.has_child() || self.leftover.is_some();
        if shutdown.phase != ShutdownPhase::Syncing || is_busy {
            return;
        }
        if self.aof.state() == State::On {
            let journal = &mut self.aof.journal;
            let is_forced = shutdown.force || mutant::is(Mutant::ShutdownIgnoresFailure);
            if (journal.broken().is_some() || journal.has_hole()) && !is_forced {
                // W15: what was acknowledged is not safe, so this is no orderly stop.
                tracing::warn!("The AOF could not be synced, can't exit.");
                self.fail_shutdown(effects);
                return;
            }
            if !mutant::is(Mutant::ShutdownWithoutFlush) {
                journal.flush_all(self.now, effects);
                journal.sync_all(self.now, effects);
            }
            let is_safe = journal.offset_synced() == journal.offset_buffered()
                || mutant::is(Mutant::ShutdownWithoutFlush);
            let is_hopeless = is_forced && (journal.broken().is_some() || journal.has_hole());
            if !is_safe && !is_hopeless {
                return;
            }
        }
        if shutdown.save {
            tracing::info!("Saving the final RDB snapshot before exiting.");
            self.shutdown = Some(Shutdown { phase: ShutdownPhase::Saving, ..shutdown });
            self.begin_snapshot(Origin::Foreground, effects);
        } else {
            self.leave(effects);
        }
    }

    fn continue_after_save(&mut self, is_ok: bool, effects: &mut Effects) {
        let Some(shutdown) = self.shutdown.clone() else { return };
        if shutdown.phase != ShutdownPhase::Saving {
            return;
        }
        if is_ok || shutdown.force {
            self.leave(effects);
        } else {
            tracing::warn!("Error trying to save the DB, can't exit.");
            self.fail_shutdown(effects);
        }
    }

    fn leave(&mut self, effects: &mut Effects) {
        if self.aof.state() == State::On
            && let Some(mark) = self.aof.journal.closing_mark()
        {
            effects.push(mark);
        }
        tracing::warn!("Redis is now ready to exit, bye bye...");
        effects.push(Effect::Exit(0));
    }

    fn fail_shutdown(&mut self, effects: &mut Effects) {
        tracing::warn!("Errors trying to shut down the server. Check the logs for more information.");
        self.shutdown = None;
        self.fail_shutdown_waiters(effects);
    }

    fn fail_shutdown_waiters(&mut self, effects: &mut Effects) {
        let clients: Vec<ClientId> = self.waiting.clients(WaitKind::Shutdown);
        for client in clients {
            self.with_session(client, |node, session| {
                node.unblock(session);
                session.reply.error("ERR Errors trying to SHUTDOWN. Check logs.");
                node.owe(session);
                node.resume(session);
            });
        }
        let _ = effects;
    }

    /// What the present settings promise, in one sentence, for the start-up banner and INFO.
    pub fn promise(&self) -> String {
        let points = self.config.save.len();
        let rdb = if points == 0 { String::new() } else { format!("RDB snapshots at {points} save points") };
        let aof = match (self.config.appendonly, self.config.appendfsync) {
            (false, _) => "",
            (true, AppendFsync::Always) => "AOF, fsync always: nothing acknowledged is lost",
            (true, AppendFsync::Everysec) => {
                "AOF, fsync everysec: a power loss may take about the last second"
            }
            (true, AppendFsync::No) => "AOF, fsync no: a power loss may take what the kernel had not written",
        };
        match (rdb.is_empty(), aof.is_empty()) {
            (true, true) => "no persistence: a restart begins empty".into(),
            (false, true) => format!("{rdb}: a crash may take everything since the last one"),
            (true, false) => aof.into(),
            (false, false) => format!("{aof}; {rdb}"),
        }
    }
}

/// A second SIGINT: somebody does not want to wait for a stop in good order.
pub(super) fn leave_at_once(effects: &mut Effects) {
    tracing::warn!("You insist... exiting now.");
    effects.push(Effect::Exit(1));
}

fn options_of(flags: &ShutdownFlags) -> ShutdownOptions {
    ShutdownOptions { save: flags.save, nosave: flags.nosave, force: flags.force }
}
