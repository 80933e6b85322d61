//! DEBUG: aids for tests, refused unless `enable-debug-command` allows them.
//!
//! Only what a test of a server like this one can use is here; what shows the inside of Redis answers as an unknown
//! subcommand does.
//!
//! Not here: hashing the data set (`digest.rs`), loading (`loading.rs`).

use alloc::{format, string::String};

use super::{Node, digest, execute::Request};
use crate::{
    bytes::{glob, number, sha::hex},
    commands::{Args, CommandResult, parse_int, printable},
    config::Extent,
    error::{Error, NO_SUCH_KEY},
    host::{Effect, Effects, Signal},
    persist::snapshot::Origin,
    rdb,
    session::{Session, Waiting},
    store::{Object, Value, value},
    time::Now,
};

/// Signal numbers of Linux.
const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

const REFUSED: Error = Error::new(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local \
     connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

/// Test aids that stay switched on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DebugSwitches {
    pub no_active_expire: bool,
    pub pause_cron: bool,
    /// A signal that came while it was paused.
    pub kept_signal: Option<Signal>,
    pub skip_checksum: bool,
    /// Scripts may call what is otherwise kept from them.
    pub allow_noscript: bool,
    /// Microseconds to sleep before each write to the log.
    pub append_delay_us: u64,
    /// Microseconds that DEBUG SLEEP has taken ever, and how many of them `now` has been moved by.
    pub slept_us: u64,
    pub passed_us: u64,
}

/// A DEBUG RELOAD or LOADAOF that has not begun to load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reload {
    /// The snapshot is being saved.
    Saving { flushes: bool, merges: bool },
    /// What is logged is being written.
    Flushing,
}

impl Node {
    pub(super) fn debug(
        &mut self,
        session: &mut Session,
        request: &Request<'_>,
        effects: &mut Effects,
    ) -> Result<Option<Waiting>, Error> {
        if !self.config.enable_debug_command.allows(session.peer.is_local) {
            return Err(REFUSED);
        }
        let args = request.args;
        let word = args[1].to_ascii_lowercase();
        match (&*word, &args[2..]) {
            (b"help", []) => super::server::reply_help(&mut session.reply, "DEBUG", HELP),
            (b"reload", options) => return self.debug_reload(options, effects),
            (b"loadaof", []) => return self.debug_loadaof(),
            (b"digest", []) => session.reply.simple(&hex(digest::of_store(&self.store).bytes())),
            (b"digest-value", keys) => self.debug_digest_value(session, keys),
            (b"object", [key]) | (b"object", [key, _]) => self.debug_object(session, key)?,
            (b"populate", [_, ..]) if args.len() <= 5 => self.debug_populate(session, &args[2..])?,
            (b"config-rewrite-force-all", []) => {
                return self.config_rewrite(session, request, Extent::All, effects);
            }
            // There are no replicas, so it goes to all of them.
            (b"replicate", [_, ..]) => session.reply.ok(),
            (b"sleep", [seconds]) => {
                let seconds = number::parse_f64(seconds).filter(|seconds| *seconds >= 0.0).unwrap_or(0.0);
                self.sleep((seconds * 1e6) as u64, effects);
                session.reply.ok();
            }
            (b"set-active-expire", [value]) => {
                self.debug.no_active_expire = !parse_switch(value);
                session.reply.ok();
            }
            (b"pause-cron", [value]) => {
                self.debug.pause_cron = parse_switch(value);
                session.reply.ok();
            }
            (b"set-skip-checksum-validation", [value]) => {
                self.debug.skip_checksum = parse_switch(value);
                session.reply.ok();
            }
            (b"set-disable-deny-scripts", [value]) => {
                self.debug.allow_noscript = parse_switch(value);
                session.reply.ok();
            }
            (b"aof-flush-sleep", [us]) => {
                self.debug.append_delay_us = parse_int(us)?.max(0) as u64;
                session.reply.ok();
            }
            (b"quicklist-packed-threshold", [size]) => check_packed_threshold(session, size)?,
            // Output is kept in one piece that grows and shrinks by itself.
            (b"replybuffer", [_, _]) => session.reply.ok(),
            (b"stringmatch-len", [len, pattern]) => {
                let text = alloc::vec![b'a'; usize::try_from(parse_int(len)?).unwrap_or(0).min(1 << 26)];
                session.reply.integer(i64::from(glob::matches(pattern, &text)));
            }
            (b"protocol", [kind]) => reply_in_kind(session, kind)?,
            (b"error", [text]) => session.reply.error(&printable(text)),
            (b"log", [text]) => {
                tracing::warn!("DEBUG LOG: {}", printable(text));
                session.reply.ok();
            }
            (b"change-repl-id", []) => {
                tracing::info!("Changing replication IDs after receiving change-repl-id");
                self.replication_id = self.new_id();
                session.reply.ok();
            }
            (b"htstats", [db, ..]) => self.debug_htstats(session, db)?,
            (b"segfault", []) => effects.push(Effect::Die(SIGSEGV)),
            (b"panic" | b"assert" | b"oom", []) => effects.push(Effect::Die(SIGABRT)),
            (b"restart" | b"crash-and-recover", _) => effects.push(Effect::Restart),
            _ => {
                return Err(Error::text(format!(
                    "ERR unknown subcommand or wrong number of arguments for '{}'. Try DEBUG HELP.",
                    printable(&args[1][..args[1].len().min(128)])
                )));
            }
        }
        Ok(None)
    }

    /// Does nothing for a while. What comes after it sees the time it is then; a transaction sees one time throughout.
    fn sleep(&mut self, us: u64, effects: &mut Effects) {
        effects.push(Effect::Sleep { us });
        self.debug.slept_us = self.debug.slept_us.saturating_add(us);
        if self.unit.is_none() {
            self.wake_up();
        }
    }

    /// Takes the time that DEBUG SLEEP took for passed.
    pub(super) fn wake_up(&mut self) {
        let us = self.debug.slept_us - core::mem::replace(&mut self.debug.passed_us, self.debug.slept_us);
        let Now { mono_us, wall_us } = self.now;
        self.now = Now { mono_us: mono_us.saturating_add(us), wall_us: wall_us.saturating_add(us) };
        self.store.now_ms = self.now.wall_ms();
    }

    // --- Loading again ------------------------------------------------------------------------------

    fn debug_reload(&mut self, options: Args<'_>, effects: &mut Effects) -> Result<Option<Waiting>, Error> {
        let (mut saves, mut flushes, mut merges) = (true, true, false);
        for option in options {
            match &*option.to_ascii_lowercase() {
                b"merge" => merges = true,
                b"noflush" => flushes = false,
                b"nosave" => saves = false,
                _ => {
                    return Err(Error::new(
                        "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                    ));
                }
            }
        }
        self.refuse_reload_now()?;
        if saves && (self.snapshots.is_in_background() || self.snapshots.is_in_foreground()) {
            return Err(Error::new("ERR Background save already in progress"));
        }
        let reload = Reload::Saving { flushes, merges };
        self.reload = Some(reload);
        if saves {
            self.begin_snapshot(Origin::Foreground, effects);
        } else {
            self.continue_reload(true, effects);
        }
        Ok(Some(Waiting::Loaded))
    }

    fn debug_loadaof(&mut self) -> Result<Option<Waiting>, Error> {
        self.refuse_reload_now()?;
        self.reload = Some(Reload::Flushing);
        Ok(Some(Waiting::Loaded))
    }

    fn refuse_reload_now(&self) -> Result<(), Error> {
        if self.unit.is_some() {
            return Err(Error::new("ERR Command not allowed inside a transaction"));
        }
        if self.loading.is_some() || self.reload.is_some() {
            return Err(Error::new("LOADING Redis is loading the dataset in memory"));
        }
        Ok(())
    }

    /// DEBUG RELOAD's snapshot was saved, or not.
    pub(super) fn continue_reload(&mut self, is_saved: bool, effects: &mut Effects) {
        let Some(Reload::Saving { flushes, merges }) = self.reload else { return };
        self.reload = None;
        if !is_saved {
            self.answer_loaded(Err("ERR"), effects);
            return;
        }
        if flushes {
            self.empty_for_loading();
        }
        self.begin_reload(merges);
    }

    /// Goes on with DEBUG LOADAOF once everything logged is in the file.
    pub(super) fn drive_reload(&mut self, effects: &mut Effects) {
        if self.reload != Some(Reload::Flushing) {
            return;
        }
        self.aof.journal.flush_all(self.now, effects);
        if self.aof.journal.is_drained() || self.aof.journal.broken().is_some() {
            self.reload = None;
            self.empty_for_loading();
            self.begin_loadaof();
        }
    }

    /// Empties all databases without counting it as a change: the same data comes back from a file.
    fn empty_for_loading(&mut self) {
        for db in 0..self.store.db_count() {
            self.touch_watched_in(db);
            self.store.empty_db(db);
        }
        self.forget_libraries();
    }

    // --- Looking at data ----------------------------------------------------------------------------

    fn debug_digest_value(&mut self, session: &mut Session, keys: Args<'_>) {
        session.reply.array(keys.len());
        for key in keys {
            let digest = self.store.peek_in(session.db, key).map(digest::of_value).unwrap_or_default();
            session.reply.simple(&hex(digest.bytes()));
        }
    }

    fn debug_object(&mut self, session: &mut Session, key: &[u8]) -> CommandResult {
        // An expired key is found as long as it is there: that is what one asks for.
        let (version, is_compressed) = (self.config.rdb_version as u16, self.config.rdbcompression);
        let hash = self.store.db(session.db).hash(key);
        let (now_ms, limits) = (self.store.now_ms, self.store.limits.clone());
        let entry = self.store.db(session.db).get(key).ok_or(NO_SUCH_KEY)?;
        let content = entry.content();
        // Type and footer of a payload are no part of the value.
        let len = rdb::dump(content, version, is_compressed).len() - 11;
        let text = format!(
            "Value at:{hash:#x} refcount:1 encoding:{} serializedlength:{len} lru:{} lru_seconds_idle:{}{}",
            value::encoding(content),
            entry.meta() & 0x00ff_ffff,
            limits.idle_seconds(entry.meta(), now_ms),
            describe_list(content)
        );
        session.reply.simple(&text);
        Ok(())
    }

    /// Fills the database without a trace in the log.
    fn debug_populate(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let count = parse_int(args[0])?;
        let prefix = args.get(1).copied().unwrap_or(b"key");
        let size = args.get(2).map_or(Ok(0), |size| parse_int(size))?;
        let (Ok(count), Ok(size)) = (u64::try_from(count), usize::try_from(size)) else {
            return Err(crate::error::MUST_BE_POSITIVE);
        };
        let meta = self.store.limits.new_meta(self.store.now_ms);
        for index in 0..count {
            let key = [prefix, format!(":{index}").as_bytes()].concat();
            if self.store.db(session.db).get(&key).is_some() {
                continue;
            }
            let mut text = format!("value:{index}").into_bytes();
            if size > 0 {
                text.resize(size, 0);
            }
            self.store.db_mut(session.db).insert(&key, Value::from_text(&text), meta, None);
        }
        session.reply.ok();
        Ok(())
    }

    fn debug_htstats(&mut self, session: &mut Session, db: &[u8]) -> CommandResult {
        let index = parse_int(db).ok().and_then(|index| usize::try_from(index).ok());
        let index = index
            .filter(|&index| index < self.store.db_count())
            .ok_or(Error::new("ERR Out of range database"))?;
        let db = self.store.db(index);
        let text = format!(
            "[Dictionary HT]\nHash table 0 stats (main hash table):\n number of elements: {}\n memory: {}\n[Expires HT]\n\
             number of elements: {}\n",
            db.len(),
            db.table().memory(),
            db.expiring_len()
        );
        session.reply.verbatim(*b"txt", text.as_bytes());
        Ok(())
    }
}

fn parse_switch(text: &[u8]) -> bool {
    parse_int(text).is_ok_and(|value| value != 0)
}

/// What DEBUG OBJECT adds about a list of several nodes.
fn describe_list(content: perdura_structures::table::ContentRef<'_, Object>) -> String {
    use crate::store::list::List;
    let perdura_structures::table::ContentRef::Object(Object::List(List::Quicklist(list))) = content else {
        return String::new();
    };
    let nodes = list.nodes().len();
    format!(
        " ql_nodes:{nodes} ql_avg_node:{:.2} ql_compressed:0 ql_uncompressed_size:{}",
        list.len() as f64 / nodes.max(1) as f64,
        list.memory()
    )
}

/// Elements of any size share nodes here as far as `list-max-listpack-size` lets them; the threshold is only checked.
fn check_packed_threshold(session: &mut Session, size: &[u8]) -> CommandResult {
    let digits = size.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = size.split_at(digits);
    let factor = match &*unit.to_ascii_lowercase() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => 0,
    };
    let bytes = parse_int(number).unwrap_or(-1).saturating_mul(factor);
    // As much below 4 GiB as headers could take.
    const BYTES_MAX: i64 = (1 << 32) - (1 << 20);
    if factor == 0 || !(0..=BYTES_MAX).contains(&bytes) {
        return Err(Error::new("ERR argument must be a memory value bigger than 1 and smaller than 4gb"));
    }
    session.reply.ok();
    Ok(())
}

/// What DEBUG PROTOCOL shows of a double; clients' tests expect just these digits.
#[allow(clippy::approx_constant)]
const SAMPLE_DOUBLE: f64 = 3.141;

/// DEBUG PROTOCOL: one reply of each kind.
fn reply_in_kind(session: &mut Session, kind: &[u8]) -> CommandResult {
    let reply = &mut session.reply;
    match &*kind.to_ascii_lowercase() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double(SAMPLE_DOUBLE),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if reply.attribute(1) {
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
        }
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim(*b"txt", b"This is a verbatim\nstring"),
        _ => {
            return Err(Error::new(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

/// What DEBUG HELP says.
const HELP: &[(&str, &str)] = &[
    ("AOF-FLUSH-SLEEP <microseconds>", "Sleep before each write to the append-only file."),
    ("CHANGE-REPL-ID", "Take another replication id."),
    ("CONFIG-REWRITE-FORCE-ALL", "CONFIG REWRITE that writes defaults too."),
    ("DIGEST", "A hash of all data."),
    ("DIGEST-VALUE <key> [<key> ...]", "Hashes of single values."),
    ("ERROR <text>", "Answer this error."),
    ("HTSTATS <db>", "Sizes of a database's tables."),
    ("LOADAOF", "Write the log out, forget the data, load the log."),
    ("LOG <text>", "Write a line to the server's log."),
    ("OBJECT <key>", "How a value is kept."),
    ("PANIC", "Die as by a failed assertion."),
    ("PAUSE-CRON <0|1>", "Leave timed work undone."),
    ("POPULATE <count> [<prefix>] [<size>]", "Make keys, unlogged."),
    ("PROTOCOL <type>", "A reply of this type."),
    ("QUICKLIST-PACKED-THRESHOLD <size>", "Accepted for the sake of tests."),
    ("RELOAD [MERGE] [NOFLUSH] [NOSAVE]", "Save a snapshot, forget the data, load the snapshot."),
    ("REPLICATE <text>", "Send this to the replicas, of which there are none."),
    ("REPLYBUFFER <option> <value>", "Accepted for the sake of tests."),
    ("RESTART", "Begin anew as a fresh process."),
    ("SEGFAULT", "Die as by a bad pointer."),
    ("SET-ACTIVE-EXPIRE <0|1>", "Whether expired keys are looked for."),
    ("SET-DISABLE-DENY-SCRIPTS <0|1>", "Whether scripts may call what is kept from them."),
    ("SET-SKIP-CHECKSUM-VALIDATION <0|1>", "Whether checksums of snapshots and payloads are ignored."),
    ("SLEEP <seconds>", "Do nothing for a while."),
    ("STRINGMATCH-LEN <length> <pattern>", "Match a pattern against this many letters a."),
];

#[cfg(test)]
mod tests {
    use crate::{host::Effect, node::testing::TestServer};

    fn server(lines: &str) -> TestServer {
        TestServer::new(&alloc::format!("enable-debug-command local\n{lines}"))
    }

    #[test]
    fn a_sleep_takes_its_time() {
        let mut server = TestServer::new("enable-debug-command yes\nslowlog-log-slower-than 100000");
        server.check(&[
            ("MULTI", "+OK"),
            ("SET k v PX 50", "+QUEUED"),
            ("DEBUG SLEEP 0.2", "+QUEUED"),
            ("GET k", "+QUEUED"),
            ("EXEC", "[+OK, +OK, \"v\"]"),
        ]);
        // The host slept meanwhile.
        server.advance_ms(200);
        server.check(&[("GET k", "nil")]);
        assert!(server.run("SLOWLOG GET").contains("SLEEP"));
        assert!(server.run("INFO commandstats").contains("cmdstat_debug:calls=1,usec=200000"));
    }

    #[test]
    fn debug_is_refused_unless_allowed() {
        let reply = TestServer::new("").run("DEBUG DIGEST");
        assert!(
            reply.starts_with("-ERR DEBUG command not allowed. If the enable-debug-command option"),
            "{reply}"
        );
        assert_eq!(
            server("").run("DEBUG NOSUCH"),
            "-ERR unknown subcommand or wrong number of arguments for 'NOSUCH'. Try DEBUG HELP."
        );
    }

    #[test]
    fn a_reload_brings_the_same_data_back() {
        let mut server = server("appendonly yes");
        server.check(&[
            ("SET a 1", "+OK"),
            ("SET b x PX 100000", "+OK"),
            ("SELECT 3", "+OK"),
            ("SET c 3", "+OK"),
        ]);
        let digest = server.run("DEBUG DIGEST");
        server.check(&[("DEBUG RELOAD", "+OK"), ("DEBUG DIGEST", &digest)]);
        server.check(&[("DEBUG LOADAOF", "+OK"), ("DEBUG DIGEST", &digest)]);
        server.check(&[("SET d 4", "+OK"), ("DEBUG LOADAOF", "+OK"), ("GET d", "\"4\"")]);
    }

    #[test]
    fn a_reload_keeps_or_merges_as_asked() {
        let mut server = server("");
        server.check(&[
            ("SET a 1", "+OK"),
            ("SAVE", "+OK"),
            ("SET a 2", "+OK"),
            ("SET b 2", "+OK"),
            ("DEBUG RELOAD NOSAVE NOFLUSH", "-ERR Error trying to load the RDB dump, check server logs."),
            ("DEBUG RELOAD NOSAVE NOFLUSH MERGE", "+OK"),
            ("MGET a b", "[\"1\", \"2\"]"),
            ("DEBUG RELOAD NOSAVE", "+OK"),
            ("MGET a b", "[\"1\", nil]"),
            ("DEBUG RELOAD FAST", "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."),
        ]);
    }

    #[test]
    fn a_transaction_cannot_reload() {
        server("").check(&[
            ("MULTI", "+OK"),
            ("DEBUG RELOAD", "+QUEUED"),
            ("EXEC", "[-ERR Command not allowed inside a transaction]"),
        ]);
    }

    #[test]
    fn keys_are_populated_without_counting_as_changes() {
        let mut server = server("");
        server.check(&[
            ("DEBUG POPULATE 3", "+OK"),
            ("MGET key:0 key:2", "[\"value:0\", \"value:2\"]"),
            ("DEBUG POPULATE 1 p 9", "+OK"),
            ("GET p:0", "\"value:0\\x00\\x00\""),
            ("DBSIZE", ":4"),
        ]);
        assert_eq!(server.node.store().dirty, 0);
    }

    #[test]
    fn values_are_described() {
        let mut server = server("");
        server.check(&[("DEBUG OBJECT k", "-ERR no such key"), ("SET k 12", "+OK")]);
        let first = server.run("DEBUG OBJECT k");
        assert!(
            first.starts_with("+Value at:0x")
                && first.contains(" refcount:1 encoding:int serializedlength:2 lru:"),
            "{first}"
        );
        server.run("INCR k");
        let address = |text: &str| text.split(' ').nth(1).map(alloc::string::ToString::to_string);
        assert_eq!(address(&server.run("DEBUG OBJECT k")), address(&first));
    }

    #[test]
    fn aids_reach_the_host() {
        let mut server = server("");
        server.check(&[
            ("DEBUG SLEEP 0.25", "+OK"),
            ("DEBUG SEGFAULT", "(waits)"),
            ("DEBUG PANIC", "(waits)"),
            ("DEBUG RESTART", "(waits)"),
        ]);
        let expected = [Effect::Sleep { us: 250_000 }, Effect::Die(11), Effect::Die(6), Effect::Restart];
        assert_eq!(server.seen, expected);
    }

    #[test]
    fn active_expiry_can_be_stopped() {
        let mut server = server("");
        server.check(&[("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"), ("SET k v PX 10", "+OK")]);
        server.advance_ms(500);
        server.check(&[("DBSIZE", ":1"), ("DEBUG SET-ACTIVE-EXPIRE 1", "+OK")]);
        server.advance_ms(500);
        server.check(&[("DBSIZE", ":0")]);
    }

    #[test]
    fn replies_come_in_every_kind() {
        let mut server = server("");
        server.check(&[
            ("DEBUG PROTOCOL double", "\"3.141\""),
            ("DEBUG PROTOCOL map", "[:0, :0, :1, :1, :2, :0]"),
            ("DEBUG PROTOCOL attrib", "\"Some real reply following the attribute\""),
            ("DEBUG PROTOCOL true", ":1"),
        ]);
        server.run("HELLO 3");
        server.check(&[
            ("DEBUG PROTOCOL double", ",3.141"),
            ("DEBUG PROTOCOL map", "{:0, #f, :1, #t, :2, #f}"),
            ("DEBUG PROTOCOL null", "nil"),
            ("DEBUG PROTOCOL bignum", "(1234567999999999999999999999999999999"),
        ]);
    }

    #[test]
    fn thresholds_are_checked() {
        server("").check(&[
            ("DEBUG QUICKLIST-PACKED-THRESHOLD 100b", "+OK"),
            ("DEBUG QUICKLIST-PACKED-THRESHOLD 0", "+OK"),
            (
                "DEBUG QUICKLIST-PACKED-THRESHOLD 4gb",
                "-ERR argument must be a memory value bigger than 1 and smaller than 4gb",
            ),
            ("DEBUG STRINGMATCH-LEN 10 a*", ":1"),
            ("DEBUG STRINGMATCH-LEN 10 b*", ":0"),
        ]);
    }
}
