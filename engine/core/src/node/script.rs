//! Scripts: EVAL, FCALL and their kin, SCRIPT, and what a script may do while it runs.
//!
//! The interpreter asks, the node answers (`crate::script`). A script that has run for a while without an end is left where
//! it is: the node goes back to its host and answers the next step at its next turn. Until then the data belongs to the script:
//!
//! ```text
//!   a script runs for             other clients                              disk, time, signals
//!   one slice                     the node does not return                   wait
//!   up to busy-reply-threshold    are not read                               wait
//!   longer                        BUSY, but for what may end it (allow_busy) wait
//! ```
//!
//! Always true: what a script changed becomes one unit of the log, or nothing does; nothing forks, expires or is evicted
//! between its steps, and its clock stands still.
//!
//! Not here: the language (`engine/lua`), libraries (`function.rs`), what EXEC does with a script that is left (`transaction.rs`).

use alloc::{
    boxed::Box,
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    Node,
    acl::denied,
    execute::{Outcome, Request},
    function::Libraries,
    persistence::leave_at_once,
    server::reply_help,
};
use crate::{
    bytes::sha,
    commands::{Action, Args, CommandResult, NodeCommand, parse_int, spec, table::Row},
    error::{Error, OUT_OF_MEMORY},
    host::{ClientId, Completion, Effects, Peer, Signal},
    resp::{Protocol, Reply},
    script::{
        Answer, Ending, Interpreter, InterpreterSlot, Invocation, ScriptCommand, Sha, Step, Target, flag,
        parse_script,
    },
    session::{OwnedArgs, ReplyMode, Session, Waiting},
    time::Now,
};

/// What SCRIPT HELP says.
const HELP: &[(&str, &str)] = &[
    ("DEBUG (YES|SYNC|NO)", "Whether scripts are run in a debugger: there is none."),
    ("EXISTS <sha1> [<sha1> ...]", "Which of these scripts are known."),
    ("FLUSH [ASYNC|SYNC]", "Forget all scripts."),
    ("KILL", "End the script that runs, if it has changed nothing yet."),
    ("LOAD <script>", "Make a script known without running it."),
];

const NO_SCRIPT: Error = Error::new("NOSCRIPT No matching script. Please use EVAL.");
const NO_INTERPRETER: Error = Error::new("ERR This server was started without an interpreter");
const BUSY_SCRIPT: Error =
    Error::new("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.");
const BUSY_FUNCTION: Error =
    Error::new("BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.");
const NOT_FROM_SCRIPT: &str = "This Redis command is not allowed from script";

/// A script that is known by its digest.
#[derive(Clone, Debug)]
struct Script {
    /// Its length as it was sent, bytes.
    len: usize,
    /// Bits of [`flag`].
    flags: u32,
}

/// All about scripts and functions.
#[derive(Clone, Default)]
pub(super) struct Scripting {
    pub(super) interpreter: InterpreterSlot,
    scripts: BTreeMap<Sha, Script>,
    pub(super) libraries: Libraries,
    /// A run that was left between two steps.
    suspended: Option<Box<Run>>,
    /// Clients whose input waits for its end.
    held: Vec<ClientId>,
    /// News that waits for its end.
    late: Vec<News>,
    /// Memory was full, and could not be freed, when the running command was looked at.
    pub(super) is_out_of_memory: bool,
}

/// Bytes that scripts and functions take: their texts here, and the interpreter.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct ScriptMemory {
    pub eval: u64,
    pub functions: u64,
    pub vm_eval: u64,
    pub vm_functions: u64,
}

/// What the world told while a script was left.
#[derive(Clone)]
enum News {
    Completion(Completion),
    Signal(Signal),
}

/// One run of a script or function.
#[derive(Clone)]
struct Run {
    is_function: bool,
    /// Digest or function name.
    name: String,
    /// The command that started it.
    request: OwnedArgs,
    /// Its row.
    row: Row,
    /// Who started it.
    caller: ClientId,
    /// The caller's session, once its connection is gone: what it began is ended all the same.
    orphan: Option<Box<Session>>,
    /// As whom it executes commands.
    session: Box<Session>,
    is_read_only: bool,
    allows_oom: bool,
    has_written: bool,
    is_killed: bool,
    is_slow: bool,
    /// The caller wants no reply (CLIENT REPLY), which must be known until there is one.
    is_silenced: bool,
    /// The unit of the log is its own, not EXEC's.
    owns_unit: bool,
    started: Now,
    elapsed_ns: u64,
}

impl Scripting {
    /// Number of scripts known by their digest.
    pub(super) fn script_count(&self) -> usize {
        self.scripts.len()
    }

    /// Where memory for scripts and functions goes.
    pub(super) fn memory(&self) -> ScriptMemory {
        const SCRIPT_BYTES: usize = size_of::<(Sha, Script)>();
        let interpreter = self.interpreter.0.as_ref();
        ScriptMemory {
            eval: self.scripts.values().map(|script| (script.len + SCRIPT_BYTES) as u64).sum(),
            functions: self.libraries.source_bytes() as u64,
            vm_eval: interpreter.map_or(0, |interpreter| interpreter.scripts_memory() as u64),
            vm_functions: interpreter.map_or(0, |interpreter| interpreter.libraries_memory() as u64),
        }
    }
}

impl Node {
    /// Hands the interpreter in that runs scripts and functions. Without one they are refused.
    pub fn set_interpreter(&mut self, interpreter: Box<dyn Interpreter>) {
        self.scripting.interpreter.0 = Some(interpreter);
    }

    // --- The commands -------------------------------------------------------------------------------

    /// EVAL, EVALSHA, FCALL, their `_RO` forms, and SCRIPT.
    pub(super) fn script_command(
        &mut self,
        session: &mut Session,
        command: NodeCommand,
        request: &Request<'_>,
        effects: &mut Effects,
    ) -> CommandResult {
        use NodeCommand::*;
        let args = request.args;
        match command {
            Eval | EvalRo | EvalSha | EvalShaRo => {
                self.show_to_monitors(session, request.args);
                self.eval(session, command, args, effects)
            }
            FCall | FCallRo => {
                self.show_to_monitors(session, request.args);
                self.fcall(session, command, args, effects)
            }
            ScriptDebug => script_debug(session, args),
            ScriptExists => {
                self.script_exists(session, args);
                Ok(())
            }
            ScriptFlush => self.script_flush(session, args),
            ScriptHelp => {
                reply_help(&mut session.reply, "SCRIPT", HELP);
                Ok(())
            }
            ScriptKill => self.kill_run(session, false),
            ScriptLoad => {
                let sha = self.load_script(args[2])?;
                session.reply.bulk(&sha);
                Ok(())
            }
            other => unreachable!("{other:?} is about no script"),
        }
    }

    fn eval(
        &mut self,
        session: &mut Session,
        command: NodeCommand,
        args: Args<'_>,
        effects: &mut Effects,
    ) -> CommandResult {
        use NodeCommand::{EvalRo, EvalSha, EvalShaRo};
        let is_by_sha = matches!(command, EvalSha | EvalShaRo);
        if is_by_sha && args[1].len() != size_of::<Sha>() {
            return Err(NO_SCRIPT);
        }
        let (keys, rest) = split_keys(args, parse_int(args[2])?)?;
        let sha = match is_by_sha {
            true => args[1].to_ascii_lowercase().try_into().expect("its length was looked at"),
            false => self.load_script(args[1])?,
        };
        let flags = self.scripting.scripts.get(&sha).ok_or(NO_SCRIPT)?.flags;
        let target = Target::Script(sha);
        let name = String::from_utf8_lossy(&sha).into_owned();
        let is_read_only = matches!(command, EvalRo | EvalShaRo);
        self.start(session, Start { target, name, keys, rest, args, flags, is_read_only }, effects)
    }

    fn fcall(
        &mut self,
        session: &mut Session,
        command: NodeCommand,
        args: Args<'_>,
        effects: &mut Effects,
    ) -> CommandResult {
        let (library, function) =
            self.scripting.libraries.function(args[1]).ok_or(Error::new("ERR Function not found"))?;
        let (name, flags) = (function.name.clone(), function.flags);
        let count = parse_int(args[2]).map_err(|_| Error::new("ERR Bad number of keys provided"))?;
        let (keys, rest) = split_keys(args, count)?;
        let shown = String::from_utf8_lossy(&name).into_owned();
        let target = Target::Function { library, name };
        let is_read_only = command == NodeCommand::FCallRo;
        self.start(session, Start { target, name: shown, keys, rest, args, flags, is_read_only }, effects)
    }

    /// Makes a script known.
    ///
    /// # Errors
    /// Its first line is wrong, or it cannot be compiled.
    fn load_script(&mut self, body: &[u8]) -> Result<Sha, Error> {
        let sha: Sha =
            sha::hex(&sha::sha1(body)).into_bytes().try_into().expect("twenty bytes are forty digits");
        if self.scripting.scripts.contains_key(&sha) {
            return Ok(sha);
        }
        let (flags, code) = parse_script(body).map_err(|reason| Error::text(format!("ERR {reason}")))?;
        let interpreter = self.scripting.interpreter.0.as_mut().ok_or(NO_INTERPRETER)?;
        interpreter
            .load_script(&sha, code)
            .map_err(|reason| Error::text(format!("ERR Error compiling script (new function): {reason}")))?;
        self.scripting.scripts.insert(sha, Script { len: body.len(), flags });
        Ok(sha)
    }

    fn script_exists(&mut self, session: &mut Session, args: Args<'_>) {
        session.reply.array(args.len() - 2);
        for name in &args[2..] {
            let is_known = Sha::try_from(*name).is_ok_and(|sha| self.scripting.scripts.contains_key(&sha));
            session.reply.integer(i64::from(is_known));
        }
    }

    fn script_flush(&mut self, session: &mut Session, args: Args<'_>) -> CommandResult {
        if !is_flush_mode(args) {
            return Err(Error::new("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
        }
        self.scripting.scripts.clear();
        if let Some(interpreter) = &mut self.scripting.interpreter.0 {
            interpreter.flush_scripts();
        }
        session.reply.ok();
        Ok(())
    }

    /// SCRIPT KILL and FUNCTION KILL.
    pub(super) fn kill_run(&mut self, session: &mut Session, is_function: bool) -> CommandResult {
        let Some(run) = &mut self.scripting.suspended else {
            return Err(Error::new("NOTBUSY No scripts in execution right now."));
        };
        if run.has_written {
            return Err(Error::new(
                "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
                 script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
            ));
        }
        if run.is_function != is_function {
            return Err(run.busy_error());
        }
        run.is_killed = true;
        session.reply.ok();
        Ok(())
    }

    /// The function that runs, as FUNCTION STATS shows it: name, command, milliseconds.
    ///
    /// # Errors
    /// A script runs, which is none.
    pub(super) fn running_function(&self) -> Result<Option<(&str, &OwnedArgs, u64)>, Error> {
        match &self.scripting.suspended {
            None => Ok(None),
            Some(run) if !run.is_function => Err(run.busy_error()),
            Some(run) => Ok(Some((&run.name, &run.request, run.elapsed_ms(self.now)))),
        }
    }

    /// A command's flags; those of a script or function follow what it promises, if it does.
    pub(super) fn flags_of(&self, row: &Row, args: Args<'_>) -> u32 {
        use NodeCommand::*;
        const DECIDED: u32 =
            spec::flag::STALE | spec::flag::DENYOOM | spec::flag::WRITE | spec::flag::MAY_REPLICATE;
        let given = row.command.flags;
        let Action::Node(command) = row.command.action else { return given };
        let promised = match command {
            Eval | EvalRo => parse_script(args[1]).ok().map(|(flags, _)| flags),
            EvalSha | EvalShaRo => {
                let sha = Sha::try_from(args[1].to_ascii_lowercase()).ok();
                sha.and_then(|sha| self.scripting.scripts.get(&sha)).map(|script| script.flags)
            }
            FCall | FCallRo => self.scripting.libraries.function(args[1]).map(|(_, function)| function.flags),
            _ => None,
        };
        let Some(promised) = promised.filter(|flags| flags & flag::PLAIN == 0) else { return given };
        let mut flags = given & !DECIDED;
        if promised & flag::NO_WRITES == 0 {
            flags |= spec::flag::WRITE;
        }
        if promised & (flag::NO_WRITES | flag::ALLOW_OOM) == 0 {
            flags |= spec::flag::DENYOOM;
        }
        if promised & flag::ALLOW_STALE != 0 {
            flags |= spec::flag::STALE;
        }
        flags
    }

    /// Runs a command about scripts that stands in a log, as Redis before 7 wrote them; a script that takes long is left.
    ///
    /// # Errors
    /// As the command's reply.
    pub(super) fn replay_script(&mut self, db: usize, command: NodeCommand, args: Args<'_>) -> CommandResult {
        let nobody = Peer {
            address: String::new(),
            local_address: String::new(),
            is_unix: false,
            is_local: true,
            descriptor: -1,
        };
        let mut session = Session::new(self.now, ClientId(u64::MAX), 0, nobody);
        session.db = db;
        session.unrestricted_at = Some(self.acl.generation());
        let mut effects = Effects::new();
        let result = self.script_command(&mut session, command, &Request { args, frame: None }, &mut effects);
        self.keep_for_script(Some(Box::new(session)));
        result
    }

    /// Lets a script that was left in a unit of the log run to its end.
    pub(super) fn finish_script(&mut self) {
        let mut effects = Effects::new();
        while self.is_script_suspended() {
            self.continue_script(&mut effects);
        }
    }

    // --- Running ------------------------------------------------------------------------------------

    fn start(&mut self, session: &mut Session, start: Start<'_>, effects: &mut Effects) -> CommandResult {
        self.check_promise(&start)?;
        let mut interpreter = self.scripting.interpreter.0.take().ok_or(NO_INTERPRETER)?;
        let owns_unit = self.unit.is_none();
        if owns_unit {
            self.begin_unit();
        }
        let promises = start.flags & flag::PLAIN == 0;
        let mut run = Box::new(Run {
            is_function: matches!(start.target, Target::Function { .. }),
            name: start.name,
            request: start.args.iter().map(|arg| arg.to_vec()).collect(),
            row: self.table.resolve(start.args).expect("it is being executed"),
            caller: session.client,
            orphan: None,
            session: Box::new(session_of_script(session, self.now)),
            is_read_only: start.is_read_only || promises && start.flags & flag::NO_WRITES != 0,
            allows_oom: promises && start.flags & flag::ALLOW_OOM != 0,
            has_written: false,
            is_killed: false,
            is_slow: false,
            is_silenced: matches!(session.reply_mode, ReplyMode::Off | ReplyMode::SkipThis),
            owns_unit,
            started: self.now,
            elapsed_ns: 0,
        });
        let owned = |args: Args<'_>| args.iter().map(|arg| arg.to_vec()).collect();
        let step = interpreter.begin(Invocation {
            target: start.target,
            keys: owned(start.keys),
            args: owned(start.rest),
            protocol: session.reply.protocol(),
        });
        match self.answer_steps(&mut run, &mut *interpreter, step, effects) {
            Some(ending) => {
                self.scripting.interpreter.0 = Some(interpreter);
                self.finish_run(session, &run, ending);
            }
            None => {
                self.scripting.interpreter.0 = Some(interpreter);
                self.scripting.suspended = Some(run);
                self.block(session, Waiting::Script, 0);
            }
        }
        Ok(())
    }

    /// Whether a script may run that promised something in its first line, or a function.
    fn check_promise(&self, start: &Start<'_>) -> Result<(), Error> {
        if start.flags & flag::PLAIN != 0 {
            return Ok(());
        }
        if start.flags & flag::NO_WRITES == 0 {
            self.check_disk_for_script()?;
            self.check_replicas()?;
            if start.is_read_only {
                return Err(Error::new("ERR Can not execute a script with write flag using *_ro command."));
            }
        }
        if self.scripting.is_out_of_memory && start.flags & (flag::ALLOW_OOM | flag::NO_WRITES) == 0 {
            return Err(Error::new(
                "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
            ));
        }
        Ok(())
    }

    fn check_disk_for_script(&self) -> Result<(), Error> {
        let Err(error) = self.check_disk() else { return Ok(()) };
        if error.as_str().starts_with(super::execute::NO_ROOM) {
            return Err(error);
        }
        const ADVICE: &str = "Writable scripts are blocked. Use 'no-writes' flag for read only scripts.";
        Err(match error.as_str().strip_prefix("MISCONF Errors writing to the AOF file: ") {
            None => Error::text(format!(
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. {ADVICE}"
            )),
            Some(why) => Error::text(format!(
                "MISCONF Redis is configured to persist data to AOF, but it's currently unable to persist to disk. {ADVICE} \
                 AOF error: {why}"
            )),
        })
    }

    /// Answers what a script asks until it ends, or `None` if it is to be left for now.
    fn answer_steps(
        &mut self,
        run: &mut Run,
        interpreter: &mut dyn Interpreter,
        mut step: Step,
        effects: &mut Effects,
    ) -> Option<Ending> {
        loop {
            let answer = match step {
                Step::Command(command) => self.execute_for(run, &command, effects),
                Step::MayRun(args) => Answer::Allowed(self.may_run_for(run, &args)),
                Step::Breathe => return None,
                Step::Done(ending) => return Some(ending),
            };
            step = interpreter.go_on(answer);
        }
    }

    fn execute_for(&mut self, run: &mut Run, command: &ScriptCommand, effects: &mut Effects) -> Answer {
        let args: Vec<&[u8]> = command.args.iter().map(Vec::as_slice).collect();
        let row = match self.admit(run, &args) {
            Ok(row) => row,
            Err(refusal) => {
                let code = match refusal.strip_prefix('-') {
                    Some(text) => text.split(' ').next().unwrap_or("ERR").to_string(),
                    None => "ERR".into(),
                };
                self.count_error(&code);
                return Answer::Refused(refusal);
            }
        };
        run.has_written |= row.command.has(spec::flag::WRITE);
        run.session.reply = Reply::new(command.protocol);
        self.counters.commands += 1;
        let unit_len = self.unit.as_ref().map_or(0, Vec::len);
        let outcome = self.execute(&mut run.session, &row, &Request { args: &args, frame: None }, effects);
        if let Some(unit) = self.unit.as_mut().filter(|_| !command.is_logged) {
            unit.truncate(unit_len);
        }
        if outcome == Outcome::Blocked {
            // Only what DEBUG SET-DISABLE-DENY-SCRIPTS let through gets here.
            self.unblock(&mut run.session);
            return Answer::Refused(NOT_FROM_SCRIPT.into());
        }
        Answer::Reply(run.session.reply.take())
    }

    /// The command that a script asks for, if it may be executed now.
    ///
    /// # Errors
    /// Why not; with a `-` first it begins with a code.
    fn admit(&mut self, run: &mut Run, args: Args<'_>) -> Result<Row, String> {
        let row = self.table.resolve(args).filter(|row| !matches!(row.command.action, Action::Container));
        let row = row.ok_or("Unknown Redis command called from script")?;
        let result = self.check_for(run, &row, args);
        if result.is_err() {
            self.command_stats[row.id].rejected += 1;
        }
        result.map(|()| row)
    }

    fn check_for(&mut self, run: &mut Run, row: &Row, args: Args<'_>) -> Result<(), String> {
        let command = row.command;
        if !command.takes(args.len()) {
            return Err("Wrong number of args calling Redis command from script".into());
        }
        if command.has(spec::flag::NOSCRIPT) && !self.debug.allow_noscript {
            return Err(NOT_FROM_SCRIPT.into());
        }
        if let Err(denial) = self.check_rights(&mut run.session, row, args) {
            let error = denied(&run.session.user, denial, row);
            let reason = error.as_str().trim_start_matches("NOPERM ");
            return Err(format!("ACL failure in script: {reason}"));
        }
        if run.is_read_only && command.has(spec::flag::WRITE | spec::flag::MAY_REPLICATE) {
            return Err("Write commands are not allowed from read-only scripts.".into());
        }
        // What has begun to change the data goes through to its end.
        if command.has(spec::flag::WRITE) && !run.has_written {
            self.check_disk().and_then(|()| self.check_replicas()).map_err(|error| format!("-{error}"))?;
        }
        let is_full = self.scripting.is_out_of_memory && !run.allows_oom && !run.has_written;
        if is_full && command.has(spec::flag::DENYOOM) {
            return Err(format!("-{OUT_OF_MEMORY}"));
        }
        Ok(())
    }

    fn may_run_for(&self, run: &Run, args: &[Vec<u8>]) -> Option<bool> {
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let row = self.table.resolve(&args)?;
        let user = self.acl.get(&run.session.user);
        Some(user.is_some_and(|user| user.is_unrestricted() || user.may_run(&row, &args).is_ok()))
    }

    /// Gives the caller the script's reply and the log its changes.
    fn finish_run(&mut self, session: &mut Session, run: &Run, ending: Ending) {
        if run.owns_unit {
            self.end_unit();
        }
        session.is_dirty |= run.session.is_dirty;
        if run.has_written {
            session.last_write = self.aof.journal.offset_buffered();
        }
        session.reply.raw(&ending.reply);
        ending.error_codes.iter().for_each(|code| self.count_error(code));
        if ending.has_error {
            self.command_stats[run.row.id].failed += 1;
        }
    }

    // --- A script that was left -----------------------------------------------------------------------

    /// A script was left between two steps: the data is its own.
    pub(super) fn is_script_suspended(&self) -> bool {
        self.scripting.suspended.is_some()
    }

    /// The error for commands that cannot wait for the end of a script any more.
    pub(super) fn check_busy(&self, row: &Row) -> Result<(), Error> {
        match &self.scripting.suspended {
            Some(run) if run.is_slow && !row.command.has(spec::flag::ALLOW_BUSY) => Err(run.busy_error()),
            _ => Ok(()),
        }
    }

    /// Whether a client's input waits because a script was left; if so it is run when the script is slow or has ended.
    pub(super) fn is_held_by_script(&mut self, session: &Session) -> bool {
        let is_held = self.scripting.suspended.as_ref().is_some_and(|run| !run.is_slow);
        if is_held {
            self.scripting.held.push(session.client);
        }
        is_held
    }

    /// Lets a script that was left run for another slice.
    pub(super) fn continue_script(&mut self, effects: &mut Effects) {
        let Some(mut run) = self.scripting.suspended.take() else { return };
        if !run.is_slow && self.is_slow(&run) {
            tracing::warn!(
                "Slow script detected: still in execution after {} milliseconds. You can try killing the script using the {} \
                 command. Script name is: {}.",
                run.elapsed_ms(self.now),
                if run.is_function { "FUNCTION KILL" } else { "SCRIPT KILL" },
                run.name
            );
            run.is_slow = true;
            // Whoever was held learns that it may take a while, once everybody has had a word.
            self.scripting.suspended = Some(run);
            self.release_held(effects);
            return;
        }
        let mut interpreter = self.scripting.interpreter.0.take().expect("it is running");
        let started = (self.seeds.stopwatch)();
        self.store.now_ms = run.started.wall_ms();
        let step = interpreter.go_on(if run.is_killed { Answer::Stop } else { Answer::GoOn });
        let ending = self.answer_steps(&mut run, &mut *interpreter, step, effects);
        self.scripting.interpreter.0 = Some(interpreter);
        run.elapsed_ns += (self.seeds.stopwatch)().saturating_sub(started);
        match ending {
            None => self.scripting.suspended = Some(run),
            Some(ending) => self.end_suspension(run, ending, effects),
        }
    }

    fn is_slow(&self, run: &Run) -> bool {
        let threshold_ms = self.config.busy_reply_threshold;
        threshold_ms > 0 && run.elapsed_ms(self.now) >= threshold_ms
    }

    /// Runs what clients had sent while they were held.
    fn release_held(&mut self, effects: &mut Effects) {
        let held = core::mem::take(&mut self.scripting.held);
        // Popped in order of arrival.
        self.resumed.extend(held.into_iter().rev());
        self.run_resumed(effects);
    }

    fn end_suspension(&mut self, mut run: Box<Run>, ending: Ending, effects: &mut Effects) {
        match run.orphan.take() {
            Some(mut session) => {
                self.conclude(&mut session, &run, ending, effects);
                if let Some(next) = &mut self.scripting.suspended {
                    // EXEC went on to another script that takes long.
                    next.orphan = Some(session);
                }
            }
            None => {
                let caller = run.caller;
                self.with_session(caller, |node, session| node.conclude(session, &run, ending, effects));
            }
        }
        if self.scripting.suspended.is_some() {
            return;
        }
        self.store.now_ms = self.now.wall_ms();
        for news in core::mem::take(&mut self.scripting.late) {
            match news {
                News::Completion(completion) => self.take_completion(completion, effects),
                News::Signal(signal) => self.take_signal(signal, effects),
            }
        }
        self.release_held(effects);
    }

    /// What the caller is owed after a script that was left has ended, and the rest of its transaction.
    fn conclude(&mut self, session: &mut Session, run: &Run, ending: Ending, effects: &mut Effects) {
        let reply_at = session.reply.len();
        self.unblock(session);
        self.finish_run(session, run, ending);
        let args: Vec<&[u8]> = run.request.iter().map(Vec::as_slice).collect();
        self.account_for(session, &run.row, &args, run.elapsed_ns);
        self.after_command(session);
        self.continue_exec(session, effects);
        if run.is_silenced {
            session.reply.truncate(reply_at);
        }
        if session.blocked.is_some() {
            let next = self.scripting.suspended.as_mut().expect("only a script blocks EXEC");
            next.is_silenced |= run.is_silenced;
            return;
        }
        self.owe(session);
        self.limit_tracking(Some(session));
        self.deliver(Some(session));
        self.resume(session);
    }

    /// News for the node that came while a script was left; `false` if none was and it may take them in.
    pub(super) fn keep_completion(&mut self, completion: &Completion) -> bool {
        if self.is_script_suspended() {
            self.scripting.late.push(News::Completion(completion.clone()));
        }
        self.is_script_suspended()
    }

    /// [`Node::keep_completion`] for a signal.
    pub(super) fn keep_signal(&mut self, signal: Signal, effects: &mut Effects) -> bool {
        if self.is_script_suspended() {
            let is_second = self.scripting.late.iter().any(|news| matches!(news, News::Signal(_)));
            if is_second && signal == Signal::Interrupt {
                leave_at_once(effects);
            }
            self.scripting.late.push(News::Signal(signal));
        }
        self.is_script_suspended()
    }

    /// A connection is gone; its session is kept if a script that was left is its own.
    pub(super) fn keep_for_script(&mut self, session: Option<Box<Session>>) {
        if let (Some(run), Some(session)) = (&mut self.scripting.suspended, session)
            && run.caller == session.client
        {
            run.orphan = Some(session);
        }
    }

    /// SHUTDOWN NOSAVE ends a script whatever it has done: its changes are not logged, and nobody will see them.
    ///
    /// # Errors
    /// Any other SHUTDOWN has to wait for its end.
    pub(super) fn abandon_script(&mut self, is_nosave: bool, effects: &mut Effects) -> CommandResult {
        let Some(run) = self.scripting.suspended.take() else { return Ok(()) };
        if !is_nosave {
            let busy = run.busy_error();
            self.scripting.suspended = Some(run);
            return Err(busy);
        }
        let mut interpreter = self.scripting.interpreter.0.take().expect("it is running");
        let mut step = interpreter.go_on(Answer::Stop);
        let ending = loop {
            let answer = match step {
                Step::Command(_) => Answer::Refused(NOT_FROM_SCRIPT.into()),
                Step::MayRun(_) => Answer::Allowed(None),
                Step::Breathe => Answer::Stop,
                Step::Done(ending) => break ending,
            };
            step = interpreter.go_on(answer);
        };
        self.scripting.interpreter.0 = Some(interpreter);
        // What EXEC had yet to do is not done either.
        self.unit = None;
        let caller = run.caller;
        self.with_session(caller, |node, session| node.discard_transaction(session));
        self.end_suspension(run, ending, effects);
        Ok(())
    }
}

impl Run {
    fn elapsed_ms(&self, now: Now) -> u64 {
        now.mono_us.saturating_sub(self.started.mono_us) / 1000
    }

    fn busy_error(&self) -> Error {
        if self.is_function { BUSY_FUNCTION } else { BUSY_SCRIPT }
    }
}

/// A run about to start.
struct Start<'a> {
    target: Target,
    name: String,
    keys: Args<'a>,
    rest: Args<'a>,
    /// The whole command.
    args: Args<'a>,
    flags: u32,
    is_read_only: bool,
}

/// As whom a script executes commands: its caller, but for what is the connection's own.
fn session_of_script(caller: &Session, now: Now) -> Session {
    let mut session = Session::new(now, caller.client, caller.number, caller.peer.clone());
    // What a script changes may be what its own client watches.
    session.watched.clone_from(&caller.watched);
    session.is_script = true;
    session.name = caller.name.clone();
    session.last_row = caller.last_row;
    session.user = caller.user.clone();
    session.is_authenticated = caller.is_authenticated;
    session.unrestricted_at = caller.unrestricted_at;
    session.db = caller.db;
    session.no_touch = caller.no_touch;
    session.tracking = caller.tracking.clone();
    session.reply = Reply::new(Protocol::Resp2);
    session
}

/// The keys, and the other arguments.
fn split_keys(args: Args<'_>, count: i64) -> Result<(Args<'_>, Args<'_>), Error> {
    let given = &args[3..];
    if count > given.len() as i64 {
        return Err(Error::new("ERR Number of keys can't be greater than number of args"));
    }
    let count = usize::try_from(count).map_err(|_| Error::new("ERR Number of keys can't be negative"))?;
    Ok(given.split_at(count))
}

/// Whether `FLUSH`'s arguments are none, SYNC or ASYNC.
pub(super) fn is_flush_mode(args: Args<'_>) -> bool {
    match args {
        [_, _] => true,
        [_, _, mode] => mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async"),
        _ => false,
    }
}

fn script_debug(session: &mut Session, args: Args<'_>) -> CommandResult {
    if !session.written().is_empty() {
        return Err(Error::new("ERR SCRIPT DEBUG must be called outside a pipeline"));
    }
    match &*args[2].to_ascii_lowercase() {
        b"no" => session.reply.ok(),
        b"yes" | b"sync" => return Err(Error::new("ERR This server has no debugger for scripts")),
        _ => return Err(Error::new("ERR Use SCRIPT DEBUG YES/SYNC/NO")),
    }
    Ok(())
}
