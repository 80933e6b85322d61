//! From bytes to an executed command: parsing, what may keep it from running, running it, its aftermath.
//!
//! The order of the checks is the order in which Redis applies them, since a client sees the first that fails.
//!
//! Not here: reading commands ahead (`batch.rs`), what the log gets (`propagate.rs`), MULTI (`transaction.rs`), who is served next (`blocking.rs`).

use alloc::{format, string::String, vec::Vec};

use super::{
    Node,
    acl::denied,
    batch::{Batch, Tail},
};
use crate::{
    commands::{Action, Args, Call, Context, NodeCommand, printable, spec::flag, table::Row},
    error::{Error, OUT_OF_MEMORY},
    host::{Effects, Offset, errno_text},
    persist::space::Room,
    resp::{Parser, Protocol, ProtocolLimits},
    session::{OwnedArgs, ReplyMode, Session},
};

/// Bytes of unfinished requests before AUTH.
const INPUT_UNAUTHENTICATED_BYTES_MAX: u64 = 1 << 20;

/// Arguments quoted back in the error for an unknown command, bytes.
const QUOTED_ARGS_BYTES_MAX: usize = 128;

/// How the refusal of a write below `disk-hard-limit` begins.
pub(super) const NO_ROOM: &str = "MISCONF The disk is almost full:";

/// A command about to run, with the bytes it came as if they can go to the log unchanged.
pub(super) struct Request<'a> {
    pub args: Args<'a>,
    pub frame: Option<&'a [u8]>,
}

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Its reply is written.
    Done,
    /// It waits; its reply comes later.
    Blocked,
}

impl Node {
    // --- Parsing ------------------------------------------------------------------------------------

    /// Takes bytes in and runs the complete commands among them.
    pub(super) fn run_input(&mut self, session: &mut Session, bytes: &[u8], effects: &mut Effects) {
        if session.is_closing {
            return;
        }
        if session.input.is_empty() {
            // Commands are run in place, out of the host's buffer.
            let consumed = self.run_pipeline(session, bytes, effects);
            session.input.extend_from_slice(&bytes[consumed..]);
        } else {
            session.keep_input(bytes);
            // Before the last bytes of a command that is too large are made one.
            self.evict_clients(Some(session), effects);
            if session.is_closing {
                return;
            }
            self.run_kept_input(session, effects);
        }
        let is_stranger = !session.is_authenticated && self.is_auth_required();
        let limit = self.config.client_query_buffer_limit;
        let limit = if is_stranger { limit.min(INPUT_UNAUTHENTICATED_BYTES_MAX) } else { limit };
        if session.input.len() as u64 > limit {
            self.counters.query_limit_disconnections += 1;
            tracing::warn!("Closing client that reached max query buffer length: {}", session.peer.address);
            self.close_session(session, true, effects);
        }
        self.evict_clients(Some(session), effects);
    }

    /// Runs what a client had sent before it was held up.
    pub(super) fn run_kept_input(&mut self, session: &mut Session, effects: &mut Effects) {
        let input = core::mem::take(&mut session.input);
        let consumed = self.run_pipeline(session, &input, effects);
        if consumed == 0 && session.input.is_empty() {
            // A large argument that comes in many pieces stays where it is.
            session.input = input;
        } else {
            session.input.extend_from_slice(&input[consumed..]);
        }
    }

    /// Runs the complete commands at the front of `input`, a batch at a time; how many bytes they take up.
    fn run_pipeline(&mut self, session: &mut Session, input: &[u8], effects: &mut Effects) -> usize {
        let mut batch = Batch::new(core::mem::take(&mut self.batch_room));
        let mut consumed = 0;
        while consumed < input.len() && session.is_served() && !self.is_held_by_script(session) {
            let limits = ProtocolLimits {
                bulk_bytes_max: self.config.proto_max_bulk_len,
                is_auth_required: !session.is_authenticated && self.is_auth_required(),
            };
            let rest = &input[consumed..];
            let tail = self.read_batch(session.db, &mut session.parser, &limits, rest, &mut batch);
            consumed += self.run_batch(session, rest, &batch, effects);
            if !session.is_served() {
                // What was read ahead is read again, behind what may have been put before it.
                session.parser = Parser::default();
                break;
            }
            match tail {
                Tail::Open => {}
                Tail::Incomplete => break,
                Tail::Quoted(args, end) => {
                    consumed = input.len() - rest.len() + end;
                    self.run_owned(session, &args, effects);
                }
                Tail::Error(error) => {
                    session.reply.error_bytes(&error.text());
                    self.count_error("ERR");
                    self.owe(session);
                    self.close_session(session, false, effects);
                    consumed = input.len();
                }
            }
        }
        self.batch_room = batch.into_room();
        consumed
    }

    /// Runs commands that were read, until one holds the client up; how many bytes of the input they take up.
    fn run_batch(
        &mut self,
        session: &mut Session,
        input: &[u8],
        batch: &Batch<'_>,
        effects: &mut Effects,
    ) -> usize {
        let mut consumed = batch.start;
        self.lap_ns = Some((self.seeds.stopwatch)());
        for (read, args) in batch.commands() {
            if let Some(hash) = read.hash {
                self.store.know_hash(args[1], hash);
            }
            let frame = (!read.is_inline).then(|| &input[read.frame.clone()]);
            self.run_resolved(session, read.row, Request { args, frame }, effects);
            consumed = read.next;
            if !session.is_served() {
                break;
            }
        }
        self.store.forget_hash();
        self.lap_ns = None;
        consumed
    }

    /// Runs a command that is kept in memory of its own.
    pub(super) fn run_owned(&mut self, session: &mut Session, args: &OwnedArgs, effects: &mut Effects) {
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        self.run_request(session, Request { args: &args, frame: None }, effects);
    }

    // --- Checking -----------------------------------------------------------------------------------

    /// Runs one request of a client, whatever becomes of it, and gates its reply.
    pub(super) fn run_request(&mut self, session: &mut Session, request: Request<'_>, effects: &mut Effects) {
        self.run_resolved(session, self.table.resolve(request.args), request, effects);
    }

    /// [`Node::run_request`] for a request whose row was looked up.
    fn run_resolved(
        &mut self,
        session: &mut Session,
        row: Option<Row>,
        request: Request<'_>,
        effects: &mut Effects,
    ) {
        self.counters.commands += 1;
        let reply_at = session.reply.len();
        let row = match vetted(row, request.args) {
            Ok(row) => row,
            Err(error) => {
                let row = self.table.resolve(request.args);
                self.refuse(session, row.as_ref(), &error);
                self.finish_reply(session, reply_at, 0);
                return;
            }
        };
        session.last_row = Some(row.id);
        let mut is_pushing = false;
        let before = self.aof.journal.offset_buffered();
        // What was refused or only queued tells of nothing.
        let mut needed = 0;
        let db = session.db;
        match self.check(session, &row, &request) {
            Err(error) => self.refuse(session, Some(&row), &error),
            Ok(()) if self.is_paused(session, &row, request.args) => {
                self.block_until_unpaused(session, &request)
            }
            Ok(()) if self.is_queued(session, &row) => self.queue(session, &request),
            Ok(()) => {
                self.execute(session, &row, &request, effects);
                needed = self.offset_to_show(before, db, &row, request.args);
                is_pushing = is_answered_by_pushes(&row);
            }
        }
        if is_pushing {
            // CLIENT REPLY does not silence what is pushed.
            self.owe(session);
        } else {
            self.finish_reply(session, reply_at, needed);
        }
        if session.transaction.is_none() && !is_client_command(&row) {
            // CLIENT CACHING holds for the next command or transaction only.
            session.tracking.caching = None;
        }
        self.limit_tracking(Some(session));
        self.deliver(Some(session));
        self.serve_before_next_command(session);
        if self.is_over_output_limit(session) {
            self.close_overlong(session, effects);
        }
        self.evict_clients(Some(session), effects);
    }

    fn check(&mut self, session: &mut Session, row: &Row, request: &Request<'_>) -> Result<(), Error> {
        let command = row.command;
        let is_container = matches!(command.action, Action::Container);
        if is_container || !command.takes(request.args.len()) {
            return Err(Error::text(format!(
                "ERR wrong number of arguments for '{}' command",
                row.full_name()
            )));
        }
        if !session.is_authenticated && self.is_auth_required() && !command.has(flag::NO_AUTH) {
            return Err(Error::new("NOAUTH Authentication required."));
        }
        if session.transaction.is_some() && command.has(flag::NO_MULTI) {
            return Err(Error::new("ERR Command not allowed inside a transaction"));
        }
        self.check_rights(session, row, request.args).map_err(|denial| denied(&session.user, denial, row))?;
        let flags = self.flags_of(row, request.args);
        let is_write = flags & flag::WRITE != 0;
        let is_exec_of_writes = matches!(command.action, Action::Node(NodeCommand::Exec))
            && self.has_queued(session, flag::WRITE);
        self.scripting.is_out_of_memory = false;
        if self.config.maxmemory > 0
            && self.loading.is_none()
            && !self.is_data_paused()
            && !self.is_script_suspended()
        {
            let is_over = !self.evict_to_limit();
            if !self.store.changed.is_empty() {
                self.after_eviction(session);
            }
            self.scripting.is_out_of_memory = is_over;
            let denies = flags & flag::DENYOOM != 0 || self.has_queued_exec(session, row, flag::DENYOOM);
            if is_over && denies {
                return Err(OUT_OF_MEMORY);
            }
        }
        if is_write || is_exec_of_writes || matches!(command.action, Action::Node(NodeCommand::Ping)) {
            self.check_disk()?;
        }
        if is_write || is_exec_of_writes {
            self.check_replicas()?;
        }
        if session.is_subscribed()
            && session.reply.protocol() == Protocol::Resp2
            && !is_allowed_while_subscribed(row)
        {
            return Err(Error::text(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
                 context",
                row.full_name()
            )));
        }
        let is_loading_refused = self.loading.is_some()
            && (!command.has(flag::LOADING) || self.has_queued_exec_without(session, row, flag::LOADING));
        if is_loading_refused {
            return Err(Error::new("LOADING Redis is loading the dataset in memory"));
        }
        self.check_busy(row)
    }

    /// Whether as many replicas follow as writes are to have. None follows us: this server has no replication.
    pub(super) fn check_replicas(&self) -> Result<(), Error> {
        let are_wanted = self.config.min_replicas_to_write > 0 && self.config.min_replicas_max_lag > 0;
        if are_wanted { Err(Error::new("NOREPLICAS Not enough good replicas to write.")) } else { Ok(()) }
    }

    /// Whether the disk has failed in a way that forbids further writes.
    pub(super) fn check_disk(&self) -> Result<(), Error> {
        let saves = !self.config.save.is_empty() && self.config.stop_writes_on_bgsave_error;
        if saves && self.snapshots.has_failed {
            return Err(Error::new(
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
                 Commands that may modify the data set are disabled, because this instance is configured to report \
                 errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the \
                 Redis logs for details about the RDB error.",
            ));
        }
        if let Some(broken) = self.aof.journal.broken() {
            return Err(Error::text(format!(
                "MISCONF Errors writing to the AOF file: {}",
                errno_text(broken.error.errno)
            )));
        }
        if self.room() == Room::Reserved {
            return Err(Error::text(format!(
                "{NO_ROOM} less than {} bytes are free (disk-hard-limit). Commands that may modify the data set are disabled \
                 until there is room again.",
                self.space.hard_limit()
            )));
        }
        if self.config.appendfsync_lag_action == crate::config::LagAction::Refuse
            && self.aof.journal.is_lagging(self.now)
        {
            return Err(Error::new(
                "MISCONF Errors writing to the AOF file: the disk is behind appendfsync-max-lag",
            ));
        }
        Ok(())
    }

    /// How much room the disk has.
    pub(super) fn room(&self) -> Room {
        self.space.room(self.aof.journal.offset_buffered())
    }

    fn refuse(&mut self, session: &mut Session, row: Option<&Row>, error: &Error) {
        if let Some(row) = row {
            self.command_stats[row.id].rejected += 1;
        }
        let is_exec = row.is_some_and(|row| matches!(row.command.action, Action::Node(NodeCommand::Exec)));
        if is_exec {
            // EXEC itself is refused: the transaction is over.
            let text = error.as_str().strip_prefix("ERR ").unwrap_or(error.as_str());
            self.discard_transaction(session);
            let aborted = format!("EXECABORT Transaction discarded because of: {text}");
            self.count_error("EXECABORT");
            session.reply.error(&aborted);
            return;
        }
        if let Some(transaction) = &mut session.transaction {
            transaction.is_aborted = true;
        }
        self.count_error(error.code());
        session.reply.error(error.as_str());
    }

    pub(super) fn count_error(&mut self, code: &str) {
        self.counters.error_replies += 1;
        // Bounded: error codes are ours, but scripts may invent theirs.
        if self.error_stats.len() < 128 || self.error_stats.contains_key(code) {
            *self.error_stats.entry(String::from(code)).or_default() += 1;
        }
    }

    fn finish_reply(&mut self, session: &mut Session, reply_at: usize, needed: Offset) {
        match session.reply_mode {
            ReplyMode::On => {}
            ReplyMode::Off => session.reply.truncate(reply_at),
            ReplyMode::SkipNext => {
                session.reply.truncate(reply_at);
                session.reply_mode = ReplyMode::SkipThis;
            }
            ReplyMode::SkipThis => {
                session.reply.truncate(reply_at);
                session.reply_mode = ReplyMode::On;
            }
        }
        if session.reply.len() > reply_at {
            self.owe_until(session, needed);
        }
    }

    // --- Running ------------------------------------------------------------------------------------

    /// Runs a command that passed the checks, and its aftermath: statistics, the log, watchers, blocked clients.
    pub(super) fn execute(
        &mut self,
        session: &mut Session,
        row: &Row,
        request: &Request<'_>,
        effects: &mut Effects,
    ) -> Outcome {
        // One reading for each command of a batch: the end of one is the beginning of the next.
        let started = self.lap_ns.unwrap_or_else(self.seeds.stopwatch);
        let slept_us = self.debug.slept_us;
        let outcome = match row.command.action {
            Action::Run(_) => self.run_data_command(session, row, request, false),
            Action::Node(command) => self.run_node_command(session, row, command, request, effects),
            Action::Container => unreachable!("resolved to a subcommand"),
        };
        let ended = (self.seeds.stopwatch)();
        self.lap_ns = self.lap_ns.map(|_| ended);
        let slept_ns = (self.debug.slept_us - slept_us).saturating_mul(1000);
        let elapsed_ns = ended.saturating_sub(started) + slept_ns;
        match outcome {
            Outcome::Done => self.account_for(session, row, request.args, elapsed_ns),
            // It counts as a call once it has ended.
            Outcome::Blocked => {
                if let Some(blocked) = &mut session.blocked {
                    blocked.ran_ns = elapsed_ns;
                }
            }
        }
        self.tell_monitors(session, row, request.args);
        self.after_command(session);
        self.remember_reads(session, row, request.args);
        outcome
    }

    /// Statistics of a command that has ended.
    pub(super) fn account_for(&mut self, session: &Session, row: &Row, args: Args<'_>, elapsed_ns: u64) {
        let stats = &mut self.command_stats[row.id];
        stats.ns += elapsed_ns;
        stats.calls += 1;
        self.note_duration(row, elapsed_ns);
        self.record_slow(session, row, args, elapsed_ns / 1000);
    }

    /// Runs a data command in the session's database and logs what it changed.
    pub(super) fn run_data_command(
        &mut self,
        session: &mut Session,
        row: &Row,
        request: &Request<'_>,
        deny_blocking: bool,
    ) -> Outcome {
        let Action::Run(function) = row.command.action else { unreachable!("a data command") };
        self.store.selected = session.db;
        self.store.no_touch = session.no_touch;
        let dirty_before = self.store.dirty;
        let mut record = core::mem::take(&mut self.record);
        record.clear();
        let reply_at = session.reply.len();
        let room = self.output_room(session);
        session.reply.stop_at(reply_at.saturating_add(room));
        let mut context = self.context(deny_blocking || session.denies_blocking());
        context.is_script = session.is_script;
        context.may_read_all = self.may_read_all(session, row, request.args);
        let mut call = Call {
            args: request.args,
            context,
            store: &mut self.store,
            reply: &mut session.reply,
            record: &mut record,
            block: None,
        };
        let result = function(&mut call);
        let block = call.block.take();
        if let Err(error) = result {
            session.reply.truncate(reply_at);
            session.reply.error(error.as_str());
            self.count_error(error.code());
            self.command_stats[row.id].failed += 1;
        }
        let has_changed = self.store.dirty != dirty_before || record.is_forced;
        let before = self.aof.journal.offset_buffered();
        self.log_command(session.db, request, has_changed, &mut record);
        self.note_logged(before, session.db, row, request.args);
        if has_changed {
            session.last_write = self.aof.journal.offset_buffered();
        }
        self.record = record;
        match block {
            None => Outcome::Done,
            Some(block) => {
                self.block_on_keys(session, block, request.args);
                Outcome::Blocked
            }
        }
    }

    pub(super) fn context(&self, deny_blocking: bool) -> Context {
        Context {
            deny_blocking,
            lazyfree_user_del: self.config.lazyfree_lazy_user_del,
            lazyfree_server_del: self.config.lazyfree_lazy_server_del,
            skip_checksum: self.debug.skip_checksum,
            rdb_version: self.config.rdb_version as u16,
            rdb_compression: self.config.rdbcompression,
            may_read_all: true,
            is_replay: false,
            is_script: false,
        }
    }
}

/// The row, if the request is one of its command.
fn vetted(row: Option<Row>, args: Args<'_>) -> Result<Row, Error> {
    let Some(row) = row else { return Err(unknown_command(args)) };
    let is_container = matches!(row.command.action, Action::Container);
    if is_container && args.len() > 1 {
        return Err(Error::text(format!(
            "ERR unknown subcommand '{}'. Try {} HELP.",
            printable(&args[1][..args[1].len().min(QUOTED_ARGS_BYTES_MAX)]),
            row.command.name.to_ascii_uppercase()
        )));
    }
    Ok(row)
}

/// In RESP2 nothing else is, since messages could not be told from replies.
fn is_allowed_while_subscribed(row: &Row) -> bool {
    use NodeCommand::*;
    is_answered_by_pushes(row) || matches!(row.command.action, Action::Node(Ping | Quit | Reset))
}

fn is_client_command(row: &Row) -> bool {
    row.container.is_some_and(|container| container.name == "client")
}

fn is_answered_by_pushes(row: &Row) -> bool {
    use NodeCommand::*;
    matches!(
        row.command.action,
        Action::Node(Subscribe | Unsubscribe | PSubscribe | PUnsubscribe | SSubscribe | SUnsubscribe)
    )
}

fn unknown_command(args: Args<'_>) -> Error {
    let mut quoted = String::new();
    for arg in &args[1..] {
        if quoted.len() >= QUOTED_ARGS_BYTES_MAX {
            break;
        }
        let room = QUOTED_ARGS_BYTES_MAX - quoted.len();
        quoted += &format!("'{}' ", printable(&arg[..arg.len().min(room)]));
    }
    let name = printable(&args[0][..args[0].len().min(QUOTED_ARGS_BYTES_MAX)]);
    Error::text(format!("ERR unknown command '{name}', with args beginning with: {quoted}"))
}
