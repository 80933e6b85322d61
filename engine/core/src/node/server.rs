//! Which function carries out which command of the node, and the commands about whole databases.

use alloc::{format, vec::Vec};

use super::{
    Node, client, command, config,
    execute::{Outcome, Request},
    latency, memory, slowlog,
};
use crate::{
    commands::{Args, CommandResult, NodeCommand, parse_db, parse_int, table::Row},
    config::Extent,
    error::{DB_OUT_OF_RANGE, Error, SYNTAX},
    host::Effects,
    persist::snapshot::Origin,
    resp::Reply,
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
        match command {
            // connection
            Auth => self.auth(session, args)?,
            ClientCaching => self.client_caching(session, args)?,
            ClientGetName => self.client_getname(session),
            ClientGetRedir => self.client_getredir(session),
            ClientHelp => reply_help(&mut session.reply, "CLIENT", client::HELP),
            ClientId => session.reply.integer(session.number as i64),
            ClientInfo => self.client_info(session, request),
            ClientKill => self.client_kill(session, args, effects)?,
            ClientList => self.client_list(session, request)?,
            ClientNoEvict => self.client_no_evict(session, args)?,
            ClientNoTouch => self.client_no_touch(session, args)?,
            ClientPause => self.client_pause(session, args)?,
            ClientReply => self.client_reply(session, args)?,
            ClientSetInfo => self.client_setinfo(session, args)?,
            ClientSetName => self.client_setname(session, args)?,
            ClientTracking => self.client_tracking(session, args)?,
            ClientTrackingInfo => self.client_trackinginfo(session),
            ClientUnblock => self.client_unblock(session, args, effects)?,
            ClientUnpause => self.client_unpause(session),
            Echo => session.reply.bulk(args[1]),
            Hello => self.hello(session, args)?,
            Ping => self.ping(session, args)?,
            Quit => self.quit(session, effects)?,
            Reset => self.reset(session)?,
            Select => self.select(session, args)?,
            // transactions
            Discard => self.discard(session)?,
            Exec => self.exec(session, effects)?,
            Multi => self.multi(session)?,
            Unwatch => {
                self.unwatch(session);
                session.reply.ok();
            }
            Watch => self.watch(session, args)?,
            // persistence
            Backup => return self.backup(session, args),
            BgRewriteAof => self.bgrewriteaof(session)?,
            BgSave => self.bgsave(session, args, effects)?,
            LastSave => self.lastsave(session)?,
            Save => return self.save(session, effects),
            Shutdown => return self.shutdown_command(session, args, effects),
            WaitAof => return self.waitaof(session, args),
            Wait => return self.wait(session, args),
            // server
            Command if args.len() > 1 => return Err(command::unknown_subcommand(args[1])),
            Command => self.command_all(session),
            CommandCount => self.command_count(session),
            CommandDocs => self.command_docs(session, args),
            CommandGetKeys => self.command_getkeys(session, args)?,
            CommandGetKeysAndFlags => self.command_getkeysandflags(session, args)?,
            CommandHelp => reply_help(&mut session.reply, "COMMAND", command::HELP),
            CommandInfo => self.command_info(session, args),
            CommandList => self.command_list(session, args)?,
            ConfigGet => self.config_get(session, args)?,
            ConfigHelp => reply_help(&mut session.reply, "CONFIG", config::HELP),
            ConfigResetStat => self.config_resetstat(session),
            ConfigRewrite => return self.config_rewrite(session, request, Extent::Needed, effects),
            ConfigSet => return self.config_set(session, request, effects),
            DbSize => session.reply.integer(self.store.db(session.db).len() as i64),
            Debug => return self.debug(session, request, effects),
            FlushAll => self.flush(session, request, true, effects)?,
            FlushDb => self.flush(session, request, false, effects)?,
            Info => self.info(session, args),
            Migrate => return self.migrate(session, args, effects),
            LatencyDoctor => self.latency_doctor(session),
            LatencyGraph => self.latency_graph(session, args)?,
            LatencyHelp => reply_help(&mut session.reply, "LATENCY", latency::HELP),
            LatencyHistogram => self.latency_histogram(session, args),
            LatencyHistory => self.latency_history(session, args),
            LatencyLatest => self.latency_latest(session),
            LatencyReset => self.latency_reset(session, args),
            Lolwut => session.reply.verbatim(*b"txt", LOLWUT.as_bytes()),
            MemoryDoctor => self.memory_doctor(session),
            MemoryHelp => reply_help(&mut session.reply, "MEMORY", memory::HELP),
            MemoryMallocStats => self.memory_malloc_stats(session),
            MemoryPurge => self.memory_purge(session),
            MemoryStats => self.memory_stats(session),
            MemoryUsage => self.memory_usage(session, args)?,
            ModuleHelp => reply_help(&mut session.reply, "MODULE", MODULE_HELP),
            ModuleList => session.reply.array(0),
            ModuleLoad | ModuleLoadEx | ModuleUnload => return Err(NO_MODULES),
            Monitor => self.monitor(session)?,
            SlowlogGet => self.slowlog_get(session, args)?,
            SlowlogHelp => reply_help(&mut session.reply, "SLOWLOG", slowlog::HELP),
            SlowlogLen => self.slowlog_len(session),
            SlowlogReset => self.slowlog_reset(session),
            SwapDb => self.swapdb(session, request)?,
            Time => reply_time(session, self.now.wall_us),
            // replication and cluster: one server, no replicas
            Failover => return Err(Error::new("ERR FAILOVER requires connected replicas.")),
            PSync | Sync | ReplConf => return Err(NO_REPLICATION),
            ReplicaOf => replicaof(session, args)?,
            Role => reply_role(session),
            Asking | ReadOnly | ReadWrite | Cluster => return Err(NO_CLUSTER),
            // No row of the table names these yet, so no request gets here.
            PfDebug | PfSelfTest => unreachable!("no row of the table"),
            PSubscribe | PUnsubscribe | Publish | PubsubChannels | PubsubHelp | PubsubNumPat
            | PubsubNumSub | PubsubShardChannels | PubsubShardNumSub | SPublish | SSubscribe
            | SUnsubscribe | Subscribe | Unsubscribe => self.pubsub_command(session, command, args)?,
            Eval | EvalRo | EvalSha | EvalShaRo | FCall | FCallRo | ScriptDebug | ScriptExists
            | ScriptFlush | ScriptHelp | ScriptKill | ScriptLoad => {
                self.script_command(session, command, request, effects)?;
            }
            FunctionDelete | FunctionDump | FunctionFlush | FunctionHelp | FunctionKill | FunctionList
            | FunctionLoad | FunctionRestore | FunctionStats => {
                self.function_command(session, command, request)?;
            }
            AclLoad => return self.acl_load(session, request, effects),
            AclSave => return self.acl_save(session, request, effects),
            AclCat | AclDelUser | AclDryRun | AclGenPass | AclGetUser | AclHelp | AclList | AclLog
            | AclSetUser | AclUsers | AclWhoAmI => self.acl_command(session, command, args, effects)?,
        }
        Ok(None)
    }

    /// WAIT: there are no replicas, so asking for any waits to the end.
    fn wait(&mut self, session: &mut Session, args: Args<'_>) -> Result<Option<Waiting>, Error> {
        let replicas = parse_int(args[1])?;
        let timeout_ms = super::blocking::parse_timeout_ms(args[2])?;
        if replicas <= 0 || session.denies_blocking() {
            session.reply.integer(0);
            return Ok(None);
        }
        self.block(session, Waiting::Replicas, timeout_ms);
        Ok(None)
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
        let mut awaited = self.waiting.keys_in(&[db]);
        awaited.retain(|key| self.store.db(db).get(&key.key).is_some());
        self.store.dirty += self.store.empty_db(db) as u64;
        // Who reads for a group learns that it is gone.
        self.note_ready_keys(awaited);
    }

    /// Watched keys of a database that exist count as changed.
    pub(super) fn touch_watched_in(&mut self, db: usize) {
        self.touch_watched_if(db, |node, key| node.store.db(db).get(key).is_some());
    }

    /// The same for those that have not expired: in place of none, an expired key is no change.
    fn touch_watched_alive_in(&mut self, db: usize) {
        self.touch_watched_if(db, |node, key| !node.is_absent(db, key));
    }

    fn touch_watched_if(&mut self, db: usize, counts: impl Fn(&Self, &[u8]) -> bool) {
        let keys: Vec<DbKey> = self.watchers.keys().filter(|key| key.db == db).cloned().collect();
        for key in keys {
            if counts(self, &key.key) {
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
        let index = |arg: &[u8], what: &'static str| match parse_db(arg, self.store.db_count()) {
            Err(error) if error != DB_OUT_OF_RANGE => Err(Error::new(what)),
            index => Ok(index),
        };
        // Both must be numbers before either is looked up.
        let first = index(request.args[1], "ERR invalid first DB index")?;
        let second = index(request.args[2], "ERR invalid second DB index")?;
        let (first, second) = (first?, second?);
        self.touch_watched_in(first);
        self.touch_watched_in(second);
        self.store.swap(first, second);
        self.touch_watched_alive_in(first);
        self.touch_watched_alive_in(second);
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
}

const NO_CLUSTER: Error = Error::new("ERR This instance has cluster support disabled");
const NO_REPLICATION: Error = Error::new("ERR This server takes no part in replication");
const NO_MODULES: Error = Error::new("ERR MODULE command not allowed: this server loads no modules");

const LOLWUT: &str = concat!(
    "      .--.\n     /    \\    what was answered\n    | perd |   stays answered\n     \\ ura/\n      `--'\n\n",
    "Perdura ver. ",
    env!("CARGO_PKG_VERSION"),
    "\n"
);

/// What MODULE HELP says.
const MODULE_HELP: &[(&str, &str)] = &[("LIST", "Loaded modules: none.")];

fn reply_time(session: &mut Session, wall_us: u64) {
    session.reply.array(2);
    session.reply.bulk_int((wall_us / 1_000_000) as i64);
    session.reply.bulk_int((wall_us % 1_000_000) as i64);
}

fn reply_role(session: &mut Session) {
    session.reply.array(3);
    session.reply.bulk(b"master");
    session.reply.integer(0);
    session.reply.array(0);
}

fn replicaof(session: &mut Session, args: Args<'_>) -> CommandResult {
    if args[1].eq_ignore_ascii_case(b"no") && args[2].eq_ignore_ascii_case(b"one") {
        session.reply.ok();
        return Ok(());
    }
    match parse_int(args[2]) {
        Ok(0..=65_535) => Err(NO_REPLICATION),
        _ => Err(Error::new("ERR Invalid master port")),
    }
}

/// The reply of a HELP subcommand: each usage, and below it what it does.
pub(super) fn reply_help(reply: &mut Reply, command: &str, lines: &[(&str, &str)]) {
    reply.array(2 * lines.len() + 3);
    reply.simple(&format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for (usage, what) in lines {
        reply.simple(usage);
        reply.simple(&format!("    {what}"));
    }
    reply.simple("HELP");
    reply.simple("    This text.");
}

#[cfg(test)]
mod tests {
    use crate::{
        host::Engine,
        node::{conversation::Conversation, testing::TestServer},
    };

    #[test]
    fn one_server_says_that_it_is_alone() {
        TestServer::new("").check(&[
            ("ROLE", "[\"master\", :0, []]"),
            ("REPLICAOF NO ONE", "+OK"),
            ("SLAVEOF no one", "+OK"),
            ("REPLICAOF 127.0.0.1 6380", "-ERR This server takes no part in replication"),
            ("REPLICAOF 127.0.0.1 x", "-ERR Invalid master port"),
            ("SYNC", "-ERR This server takes no part in replication"),
            ("FAILOVER", "-ERR FAILOVER requires connected replicas."),
            ("CLUSTER INFO", "-ERR This instance has cluster support disabled"),
            ("CLUSTER NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP."),
            ("READONLY", "-ERR This instance has cluster support disabled"),
            ("ASKING", "-ERR This instance has cluster support disabled"),
            ("MODULE LIST", "[]"),
        ]);
    }

    #[test]
    fn wait_lasts_as_long_as_replicas_are_missing() {
        let mut server = TestServer::new("");
        server.check(&[("WAIT 0 0", ":0"), ("WAIT x 0", "-ERR value is not an integer or out of range")]);
        server.check(&[("WAIT 0 -1", "-ERR timeout is negative"), ("WAIT 1 100", "(waits)")]);
        let client = server.node.sessions.by_number(1).expect("connected").client;
        server.advance_ms(99);
        assert_eq!(server.read(client), "(waits)");
        server.advance_ms(2);
        assert_eq!(server.read(client), ":0");
        server.check(&[("MULTI", "+OK"), ("WAIT 1 0", "+QUEUED"), ("EXEC", "[:0]")]);
    }

    #[test]
    fn a_debugger_for_scripts_is_refused_as_plainly_as_it_is_switched_off() {
        let mut talk = Conversation::new("");
        let client = talk.connect();
        assert_eq!(talk.says(client, "SCRIPT DEBUG no"), "+OK");
        assert_eq!(talk.says(client, "SCRIPT DEBUG sync"), "-ERR This server has no debugger for scripts");
        assert_eq!(talk.says(client, "SCRIPT DEBUG on"), "-ERR Use SCRIPT DEBUG YES/SYNC/NO");
        let pipeline = b"PING\r\nSCRIPT DEBUG NO\r\n";
        talk.node.receive(talk.now, client, pipeline, &mut talk.effects);
        talk.turn();
        assert_eq!(talk.hears(client), "+PONG -ERR SCRIPT DEBUG must be called outside a pipeline");
    }

    #[test]
    fn the_time_has_two_parts() {
        assert_eq!(TestServer::new("").run("TIME"), "[\"1700000000\", \"0\"]");
    }

    #[test]
    fn every_container_has_help() {
        let mut server = TestServer::new("enable-debug-command yes");
        for name in ["CLIENT", "COMMAND", "CONFIG", "DEBUG", "LATENCY", "MEMORY", "MODULE", "SLOWLOG"] {
            let help = server.run(&alloc::format!("{name} HELP"));
            assert!(
                help.starts_with(&alloc::format!("[+{name} <subcommand> "))
                    && help.ends_with("+HELP, +    This text.]"),
                "{help}"
            );
        }
    }
}
