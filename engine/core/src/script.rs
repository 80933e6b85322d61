//! Scripts and functions as the engine sees them: an interpreter that asks, and the answers it gets.
//!
//! Exists so that the engine knows no language: a host hands an [`Interpreter`] in, the same in production and in
//! simulation. An interpreter never calls the engine. It runs until it wants something, gives that back as a [`Step`] and
//! is kept where it is until it gets its [`Answer`]. So a script that takes long is just one that is not answered yet:
//! the node goes back to its host between two steps, and stays one state machine.
//!
//! ```text
//!   begin ──> Command ──go_on(Reply)──> Breathe ──go_on(GoOn)──> … ──> Done
//! ```
//!
//! Always true: between `begin` and `Done` every step is answered exactly once, and nothing else is asked of the interpreter.
//! What a script does follows from its arguments and answers alone.
//!
//! Not here: Lua (`engine/lua`), who may run what and when (`node/script.rs`), libraries (`node/function.rs`).

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use crate::{bytes::quote, resp::Protocol};

/// What a script promises in its first line, or a function when it is registered; names are in [`FLAG_NAMES`].
pub mod flag {
    /// Changes nothing.
    pub const NO_WRITES: u32 = 1 << 0;
    /// May run when memory is full.
    pub const ALLOW_OOM: u32 = 1 << 1;
    /// May run on stale data.
    pub const ALLOW_STALE: u32 = 1 << 2;
    /// Not in a cluster.
    pub const NO_CLUSTER: u32 = 1 << 3;
    /// Keys may lie in different slots.
    pub const ALLOW_CROSS_SLOT_KEYS: u32 = 1 << 4;
    /// Promises nothing, being a script without a first line of its own: checked at each call instead.
    pub const PLAIN: u32 = 1 << 31;
}

/// Flag bits with their names.
pub const FLAG_NAMES: &[(u32, &str)] = &[
    (flag::NO_WRITES, "no-writes"),
    (flag::ALLOW_OOM, "allow-oom"),
    (flag::ALLOW_STALE, "allow-stale"),
    (flag::NO_CLUSTER, "no-cluster"),
    (flag::ALLOW_CROSS_SLOT_KEYS, "allow-cross-slot-keys"),
];

/// The only language there is.
pub const LANGUAGE: &str = "LUA";

/// A script's name: forty hexadecimal digits.
pub type Sha = [u8; 40];

/// A library's number, never used twice.
pub type LibraryId = u64;

/// What is to be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A script that was loaded.
    Script(Sha),
    /// A function of a library that was loaded.
    Function {
        /// The library.
        library: LibraryId,
        /// The function's name.
        name: Vec<u8>,
    },
}

/// One run of a script or function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invocation {
    /// What runs.
    pub target: Target,
    /// The keys it was given.
    pub keys: Vec<Vec<u8>>,
    /// The other arguments.
    pub args: Vec<Vec<u8>>,
    /// The version its result is written in.
    pub protocol: Protocol,
}

/// A command that a script wants executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptCommand {
    /// Name and arguments.
    pub args: Vec<Vec<u8>>,
    /// The version it wants the reply in.
    pub protocol: Protocol,
    /// What it changes goes to the log (`redis.set_repl`).
    pub is_logged: bool,
}

/// What a running script wants next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// To have a command executed; answered with `Reply` or `Refused`.
    Command(ScriptCommand),
    /// To know whether its user may run a command; answered with `Allowed`.
    MayRun(Vec<Vec<u8>>),
    /// Nothing: it has run for a while. Answered with `GoOn` or `Stop`.
    Breathe,
    /// It has ended.
    Done(Ending),
}

/// How a script ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ending {
    /// The reply, in the version that was asked for.
    pub reply: Vec<u8>,
    /// An error stands in the reply.
    pub has_error: bool,
    /// Codes of errors in it that were counted nowhere yet.
    pub error_codes: Vec<String>,
}

/// What a script is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The command's reply.
    Reply(Vec<u8>),
    /// The command was not executed: why. With a `-` first it begins with a code.
    Refused(String),
    /// Whether the command is allowed; `None` if there is none of that name.
    Allowed(Option<bool>),
    /// Go on.
    GoOn,
    /// Come to an end: somebody killed it.
    Stop,
}

/// A function, as its library registered it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    /// Its name.
    pub name: Vec<u8>,
    /// What it does.
    pub description: Option<Vec<u8>>,
    /// Bits of [`flag`].
    pub flags: u32,
}

/// Runs scripts and functions. Scripts and libraries see nothing of each other.
pub trait Interpreter: Send {
    /// Takes a script in; one that is known already is fine. `code` has no first line of its own any more.
    ///
    /// # Errors
    /// Why it cannot be compiled.
    fn load_script(&mut self, sha: &Sha, code: &[u8]) -> Result<(), String>;

    /// Forgets all scripts, and all that they did to their surroundings.
    fn flush_scripts(&mut self);

    /// Takes a library in and gives its functions back, sorted by name. `code` has no first line of its own any more.
    ///
    /// # Errors
    /// Why it cannot be compiled, or what went wrong while it registered its functions. Nothing is left of it.
    fn load_library(&mut self, library: LibraryId, code: &[u8]) -> Result<Vec<Registered>, String>;

    /// Forgets a library.
    fn drop_library(&mut self, library: LibraryId);

    /// Forgets all libraries, and all that they did to their surroundings.
    fn flush_libraries(&mut self);

    /// Starts a run.
    fn begin(&mut self, invocation: Invocation) -> Step;

    /// Answers the last step.
    fn go_on(&mut self, answer: Answer) -> Step;

    /// Memory that scripts take, bytes.
    fn scripts_memory(&self) -> usize;

    /// Memory that libraries take, bytes.
    fn libraries_memory(&self) -> usize;
}

/// The place of an interpreter. A copy of it is empty: what is copied is data, for a snapshot, and runs nothing.
#[derive(Default)]
pub struct InterpreterSlot(pub Option<Box<dyn Interpreter>>);

impl Clone for InterpreterSlot {
    fn clone(&self) -> InterpreterSlot {
        InterpreterSlot(None)
    }
}

impl fmt::Debug for InterpreterSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "InterpreterSlot(filled)" } else { "InterpreterSlot(empty)" })
    }
}

/// What a script's first line says, `#!lua flags=no-writes`, and where its code begins.
///
/// The line's end belongs to the code, so that lines keep their numbers.
///
/// # Errors
/// Not Lua, or an option or flag that is none.
pub fn parse_script(body: &[u8]) -> Result<(u32, &[u8]), String> {
    if !body.starts_with(b"#!") {
        return Ok((flag::PLAIN, body));
    }
    let end = body.iter().position(|&byte| byte == b'\n').ok_or("Invalid script shebang")?;
    let words = quote::split_args(&body[..end]).filter(|words| !words.is_empty());
    let words = words.ok_or("Invalid engine in script shebang")?;
    if words[0] != b"#!lua" {
        return Err(alloc::format!("Unexpected engine in script shebang: {}", shown(&words[0])));
    }
    let mut flags = 0;
    for word in &words[1..] {
        let Some(list) = word.strip_prefix(b"flags=") else {
            return Err(alloc::format!("Unknown lua shebang option: {}", shown(word)));
        };
        for name in list.split(|&byte| byte == b',').filter(|_| !list.is_empty()) {
            let known = FLAG_NAMES.iter().find(|(_, known)| known.as_bytes() == name);
            let Some((bit, _)) = known else {
                return Err(alloc::format!("Unexpected flag in script shebang: {}", shown(name)));
            };
            flags |= bit;
        }
    }
    Ok((flags, &body[end..]))
}

/// A library's source, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LibrarySource<'a> {
    /// The language it says it is written in.
    pub language: Vec<u8>,
    /// Its name.
    pub name: Vec<u8>,
    /// What follows the first line, that line's end included.
    pub code: &'a [u8],
}

/// What a library's first line says: `#!lua name=mylib`.
///
/// # Errors
/// No such line, or one that says something else.
pub fn parse_library(source: &[u8]) -> Result<LibrarySource<'_>, String> {
    if !source.starts_with(b"#!") {
        return Err("Missing library metadata".into());
    }
    let end = source.iter().position(|&byte| byte == b'\n').ok_or("Invalid library metadata")?;
    let words = quote::split_args(&source[..end]).filter(|words| !words.is_empty());
    let words = words.ok_or("Invalid library metadata")?;
    let mut name = None;
    for word in &words[1..] {
        let is_name = word.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"name="));
        if !is_name {
            return Err(alloc::format!("Invalid metadata value given: {}", shown(word)));
        }
        if name.replace(word[5..].to_vec()).is_some() {
            return Err("Invalid metadata value, name argument was given multiple times".into());
        }
    }
    let name = name.ok_or("Library name was not given")?;
    Ok(LibrarySource { language: words[0][2..].to_vec(), name, code: &source[end..] })
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// Whether a library or function may be named so: letters, digits and underscores.
pub fn is_name(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripts_first_line_says_what_it_promises() {
        let check = |body: &str, expected: Result<(u32, &str), &str>| {
            let parsed = parse_script(body.as_bytes());
            let expected = expected.map(|(flags, code)| (flags, code.as_bytes())).map_err(String::from);
            assert_eq!(parsed, expected, "{body:?}");
        };
        check("return 1", Ok((flag::PLAIN, "return 1")));
        check("#!lua\nreturn 1", Ok((0, "\nreturn 1")));
        check("#!lua flags=\nx", Ok((0, "\nx")));
        check("#!lua flags=no-writes,allow-oom\nx", Ok((flag::NO_WRITES | flag::ALLOW_OOM, "\nx")));
        check("#!lua", Err("Invalid script shebang"));
        check("#!not-lua\nx", Err("Unexpected engine in script shebang: #!not-lua"));
        check("#!lua name=x\nx", Err("Unknown lua shebang option: name=x"));
        check("#!lua flags=bad\nx", Err("Unexpected flag in script shebang: bad"));
    }

    #[test]
    fn a_librarys_first_line_names_it() {
        let check = |source: &str, expected: Result<(&str, &str, &str), &str>| {
            let parsed = parse_library(source.as_bytes());
            let expected = expected
                .map(|(language, name, code)| LibrarySource {
                    language: language.as_bytes().to_vec(),
                    name: name.as_bytes().to_vec(),
                    code: code.as_bytes(),
                })
                .map_err(String::from);
            assert_eq!(parsed, expected, "{source:?}");
        };
        check("#!lua name=l\nx", Ok(("lua", "l", "\nx")));
        check("#!LUA NAME=l\nx", Ok(("LUA", "l", "\nx")));
        check("return 1", Err("Missing library metadata"));
        check("#!lua name=l", Err("Invalid library metadata"));
        check("#!lua\nx", Err("Library name was not given"));
        check("#!lua foo\nx", Err("Invalid metadata value given: foo"));
        check(
            "#!lua name=a name=b\nx",
            Err("Invalid metadata value, name argument was given multiple times"),
        );
    }

    #[test]
    fn names_are_letters_digits_and_underscores() {
        assert!(is_name(b"a_9"));
        for name in [&b""[..], b"a-b", b"a b", b"\xc3\xa4"] {
            assert!(!is_name(name));
        }
    }
}
