//! Libraries of functions: FUNCTION and its subcommands, and what of them is kept on disk.
//!
//! A library is its source. What it registers is found out by loading it, here as after a restart, so snapshots, logs and
//! FUNCTION DUMP carry sources only.
//!
//! Always true: a function belongs to one library; what the interpreter has loaded is what is listed here.
//!
//! Not here: calling a function (`script.rs`), the first line's grammar (`crate::script`), bytes of a snapshot (`rdb/`).

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use super::{Node, execute::Request, script::is_flush_mode, server::reply_help};
use crate::{
    bytes::glob,
    commands::{Args, CommandResult, NodeCommand, printable},
    error::Error,
    rdb::functions,
    script::{FLAG_NAMES, LANGUAGE, LibraryId, LibrarySource, Registered, is_name, parse_library},
    session::Session,
};

/// What FUNCTION HELP says.
const HELP: &[(&str, &str)] = &[
    ("DELETE <library-name>", "Remove a library with its functions."),
    ("DUMP", "All libraries as one payload, for FUNCTION RESTORE."),
    ("FLUSH [ASYNC|SYNC]", "Remove all libraries."),
    ("KILL", "End the function that runs, if it has changed nothing yet."),
    (
        "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
        "Libraries with their functions, and their code if asked for.",
    ),
    ("LOAD [REPLACE] <code>", "Make a library of the code, whose first line names it."),
    (
        "RESTORE <payload> [FLUSH|APPEND|REPLACE]",
        "Make all libraries of a payload: instead of, beside or over those there are.",
    ),
    ("STATS", "The function that runs, its command and milliseconds, and how many there are."),
];

/// One library.
#[derive(Clone, Debug)]
struct Library {
    id: LibraryId,
    /// As it was sent, first line included.
    source: Vec<u8>,
    functions: Vec<Registered>,
}

/// All libraries, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Libraries {
    by_name: BTreeMap<Vec<u8>, Library>,
    last_id: LibraryId,
}

/// What becomes of a library whose name is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Collision {
    Refuse,
    Replace,
}

impl Libraries {
    /// The function of this name, in any case, with its library's number.
    pub(super) fn function(&self, name: &[u8]) -> Option<(LibraryId, &Registered)> {
        self.by_name.values().find_map(|library| {
            let function =
                library.functions.iter().find(|function| function.name.eq_ignore_ascii_case(name))?;
            Some((library.id, function))
        })
    }

    /// Number of libraries.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Number of functions.
    pub(super) fn function_count(&self) -> usize {
        self.by_name.values().map(|library| library.functions.len()).sum()
    }

    /// Memory of their sources, bytes.
    pub(super) fn source_bytes(&self) -> usize {
        const ROW_BYTES: usize = size_of::<Library>();
        self.by_name.iter().map(|(name, library)| name.len() + library.source.len() + ROW_BYTES).sum()
    }

    /// The sources, in the order of their names.
    pub(super) fn sources(&self) -> Vec<&[u8]> {
        self.by_name.values().map(|library| library.source.as_slice()).collect()
    }
}

impl Node {
    /// FUNCTION and its subcommands.
    pub(super) fn function_command(
        &mut self,
        session: &mut Session,
        command: NodeCommand,
        request: &Request<'_>,
    ) -> CommandResult {
        use NodeCommand::*;
        let args = request.args;
        match command {
            FunctionDelete => {
                self.function_delete(args)?;
                session.reply.ok();
            }
            FunctionDump => {
                let payload =
                    functions::dump(&self.scripting.libraries.sources(), self.config.rdb_version as u16);
                session.reply.bulk(&payload);
                return Ok(());
            }
            FunctionFlush => {
                self.function_flush(args)?;
                session.reply.ok();
            }
            FunctionHelp => {
                reply_help(&mut session.reply, "FUNCTION", HELP);
                return Ok(());
            }
            FunctionKill => return self.kill_run(session, true),
            FunctionList => return self.function_list(session, args),
            FunctionLoad => {
                let name = self.function_load(args)?;
                session.reply.bulk(&name);
            }
            FunctionRestore => {
                self.function_restore(args)?;
                session.reply.ok();
            }
            FunctionStats => return self.function_stats(session),
            other => unreachable!("{other:?} is about no function"),
        }
        // Libraries are data: they count as changed, and the log repeats the command.
        self.store.dirty += 1;
        self.log_forced(session, request);
        Ok(())
    }

    /// Runs a command about functions that stands in a log.
    ///
    /// # Errors
    /// As the command's reply.
    pub(super) fn replay_function(&mut self, command: NodeCommand, args: Args<'_>) -> CommandResult {
        match command {
            NodeCommand::FunctionDelete => self.function_delete(args),
            NodeCommand::FunctionFlush => self.function_flush(args),
            NodeCommand::FunctionLoad => self.function_load(args).map(|_| ()),
            NodeCommand::FunctionRestore => self.function_restore(args),
            _ => Ok(()),
        }
    }

    /// Takes in a library of a snapshot.
    ///
    /// # Errors
    /// Its name is taken, or it cannot be loaded.
    pub(super) fn load_saved_library(&mut self, source: &[u8], may_replace: bool) -> CommandResult {
        let collision = if may_replace { Collision::Replace } else { Collision::Refuse };
        self.load_library(source, collision).map(|_| ()).map_err(Error::text)
    }

    /// Removes all libraries, without a trace in the log.
    pub(super) fn forget_libraries(&mut self) {
        self.scripting.libraries.by_name.clear();
        if let Some(interpreter) = &mut self.scripting.interpreter.0 {
            interpreter.flush_libraries();
        }
    }

    fn function_load(&mut self, args: Args<'_>) -> Result<Vec<u8>, Error> {
        let (source, options) = args[2..].split_last().expect("at least three arguments");
        let mut collision = Collision::Refuse;
        for option in options {
            if !option.eq_ignore_ascii_case(b"replace") {
                return Err(Error::text(format!("ERR Unknown option given: {}", printable(option))));
            }
            collision = Collision::Replace;
        }
        self.load_library(source, collision).map_err(with_code)
    }

    /// Makes a library, and gives its name.
    ///
    /// # Errors
    /// Why not, without a code. Nothing has changed then.
    fn load_library(&mut self, source: &[u8], collision: Collision) -> Result<Vec<u8>, String> {
        let (name, library) = self.compile(source, collision)?;
        let Some(replaced) = self.scripting.libraries.by_name.insert(name.clone(), library) else {
            return Ok(name);
        };
        self.drop_from_interpreter(replaced.id);
        Ok(name)
    }

    /// A library that is loaded by the interpreter but not listed yet.
    fn compile(&mut self, source: &[u8], collision: Collision) -> Result<(Vec<u8>, Library), String> {
        let LibrarySource { language, name, code } = parse_library(source)?;
        if !is_name(&name) {
            return Err("Library names can only contain letters, numbers, or underscores(_) and must be at least one \
                        character long"
                .into());
        }
        if !language.eq_ignore_ascii_case(LANGUAGE.as_bytes()) {
            return Err(format!("Engine '{}' not found", printable(&language)));
        }
        let libraries = &mut self.scripting.libraries;
        if collision == Collision::Refuse && libraries.by_name.contains_key(&name) {
            return Err(format!("Library '{}' already exists", printable(&name)));
        }
        let interpreter = self.scripting.interpreter.0.as_mut();
        let interpreter = interpreter.ok_or("This server was started without an interpreter")?;
        libraries.last_id += 1;
        let id = libraries.last_id;
        let functions = interpreter.load_library(id, code)?;
        let taken = functions.iter().find(|function| {
            let others = libraries.by_name.iter().filter(|(other, _)| **other != name);
            others
                .flat_map(|(_, library)| &library.functions)
                .any(|other| other.name.eq_ignore_ascii_case(&function.name))
        });
        let problem = match taken {
            Some(function) => Some(format!("Function {} already exists", printable(&function.name))),
            None if functions.is_empty() => Some("No functions registered".into()),
            None => None,
        };
        if let Some(problem) = problem {
            interpreter.drop_library(id);
            return Err(problem);
        }
        Ok((name, Library { id, source: source.to_vec(), functions }))
    }

    fn drop_from_interpreter(&mut self, id: LibraryId) {
        if let Some(interpreter) = &mut self.scripting.interpreter.0 {
            interpreter.drop_library(id);
        }
    }

    fn function_delete(&mut self, args: Args<'_>) -> CommandResult {
        let removed = self.scripting.libraries.by_name.remove(args[2]);
        let library = removed.ok_or(Error::new("ERR Library not found"))?;
        self.drop_from_interpreter(library.id);
        Ok(())
    }

    fn function_flush(&mut self, args: Args<'_>) -> CommandResult {
        if args.len() > 3 {
            return Err(too_many(args));
        }
        if !is_flush_mode(args) {
            return Err(Error::new("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"));
        }
        self.forget_libraries();
        Ok(())
    }

    fn function_restore(&mut self, args: Args<'_>) -> CommandResult {
        let policy: &[u8] = match args {
            [_, _, _] => b"append",
            [_, _, _, policy] => policy,
            _ => return Err(too_many(args)),
        };
        let (collision, is_flush) = match &*policy.to_ascii_lowercase() {
            b"append" => (Collision::Refuse, false),
            b"replace" => (Collision::Replace, false),
            b"flush" => (Collision::Refuse, true),
            _ => {
                return Err(Error::new(
                    "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
                ));
            }
        };
        let sources = functions::undump(args[2], self.debug.skip_checksum)?;
        self.restore_all(&sources, collision, is_flush)
    }

    /// Makes all these libraries or none.
    fn restore_all(&mut self, sources: &[Vec<u8>], collision: Collision, is_flush: bool) -> CommandResult {
        let before = self.scripting.libraries.by_name.clone();
        if is_flush {
            self.scripting.libraries.by_name.clear();
        }
        // Loaded beside what there is, whose libraries leave the interpreter only when all have come in.
        for source in sources {
            let compiled = match self.joins(source, &before, collision, is_flush) {
                Ok(()) => self.compile(source, collision),
                Err(problem) => Err(problem),
            };
            match compiled {
                Ok((name, library)) => self.scripting.libraries.by_name.insert(name, library),
                Err(problem) => {
                    let failed = core::mem::replace(&mut self.scripting.libraries.by_name, before.clone());
                    self.drop_missing(failed, &before);
                    return Err(with_code(problem));
                }
            };
        }
        let after = self.scripting.libraries.by_name.clone();
        self.drop_missing(before, &after);
        Ok(())
    }

    /// Whether a payload's library may stand beside those there were.
    fn joins(
        &self,
        source: &[u8],
        others: &BTreeMap<Vec<u8>, Library>,
        collision: Collision,
        is_flush: bool,
    ) -> Result<(), String> {
        let name = parse_library(source)?.name;
        if !is_flush && collision == Collision::Refuse && others.contains_key(&name) {
            return Err(format!("Library {} already exists", printable(&name)));
        }
        Ok(())
    }

    /// Takes those libraries out of the interpreter that are not among the others.
    fn drop_missing(&mut self, libraries: BTreeMap<Vec<u8>, Library>, others: &BTreeMap<Vec<u8>, Library>) {
        for (name, library) in libraries {
            if others.get(&name).is_none_or(|other| other.id != library.id) {
                self.drop_from_interpreter(library.id);
            }
        }
    }

    fn function_list(&self, session: &mut Session, args: Args<'_>) -> CommandResult {
        let (mut pattern, mut has_code) = (None, false);
        let mut words = args[2..].iter();
        while let Some(word) = words.next() {
            match &*word.to_ascii_lowercase() {
                b"withcode" if !has_code => has_code = true,
                b"libraryname" if pattern.is_none() => {
                    let given = words.next().ok_or(Error::new("ERR library name argument was not given"))?;
                    pattern = Some(*given);
                }
                _ => return Err(Error::text(format!("ERR Unknown argument {}", printable(word)))),
            }
        }
        let is_shown = |name: &[u8]| pattern.is_none_or(|pattern| glob::matches_ignoring_case(pattern, name));
        let libraries = self.scripting.libraries.by_name.iter().filter(|(name, _)| is_shown(name));
        session.reply.array(libraries.clone().count());
        for (name, library) in libraries {
            reply_library(session, name, library, has_code);
        }
        Ok(())
    }

    fn function_stats(&self, session: &mut Session) -> CommandResult {
        let running = self.running_function()?;
        let reply = &mut session.reply;
        reply.map(2);
        reply.bulk(b"running_script");
        match running {
            None => reply.null(),
            Some((name, command, elapsed_ms)) => {
                reply.map(3);
                reply.bulk(b"name");
                reply.bulk(name.as_bytes());
                reply.bulk(b"command");
                reply.array(command.len());
                command.iter().for_each(|arg| reply.bulk(arg));
                reply.bulk(b"duration_ms");
                reply.integer(elapsed_ms as i64);
            }
        }
        reply.bulk(b"engines");
        reply.map(1);
        reply.bulk(LANGUAGE.as_bytes());
        reply.map(2);
        reply.bulk(b"libraries_count");
        reply.integer(self.scripting.libraries.len() as i64);
        reply.bulk(b"functions_count");
        reply.integer(self.scripting.libraries.function_count() as i64);
        Ok(())
    }
}

fn reply_library(session: &mut Session, name: &[u8], library: &Library, has_code: bool) {
    let reply = &mut session.reply;
    reply.map(if has_code { 4 } else { 3 });
    reply.bulk(b"library_name");
    reply.bulk(name);
    reply.bulk(b"engine");
    reply.bulk(LANGUAGE.as_bytes());
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(&function.name);
        reply.bulk(b"description");
        match &function.description {
            Some(text) => reply.bulk(text),
            None => reply.null(),
        }
        reply.bulk(b"flags");
        let names = FLAG_NAMES.iter().filter(|(bit, _)| function.flags & bit != 0);
        reply.set(names.clone().count());
        names.for_each(|(_, name)| reply.simple(name));
    }
    if has_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.source);
    }
}

fn too_many(args: Args<'_>) -> Error {
    Error::text(format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try FUNCTION HELP.",
        printable(args[1])
    ))
}

/// An error as a reply: with the code that others have of their own.
fn with_code(reason: String) -> Error {
    Error::text(format!("ERR {reason}"))
}
