//! The tools that work on Perdura's files from outside: check, inspect, restore, back up.
//!
//! Exists as one program with many names: `perdura check-aof x` and a link called `perdura-check-aof` (or, for those who
//! have scripts, `redis-check-aof`) do the same. The files are read by the engine's own readers, so a tool and the
//! server never differ about where a file stops being good.
//!
//! Always true: a tool that only looks opens nothing for writing; one that writes says what before it does, makes it
//! durable before it says so, and touches no file that the server may be writing to.
//!
//! Not here: the formats (`perdura-core`: `persist`, `rdb`), system calls (`perdura-linux`).

pub mod artefact;
pub mod backup;
pub mod check_aof;
pub mod check_rdb;
pub mod cut;
pub mod dataset;
pub mod explain;
pub mod inspect;
pub mod json;
mod log;
pub mod place;
pub mod progress;
pub mod restore;
pub mod walk;

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

/// How a tool ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// What was asked for is so, or was done.
    Good,
    /// It is not, or was not; the reason has been said.
    Bad,
}

/// Where a tool says what it found.
pub type Out<'a> = &'a mut dyn Write;

type Tool = fn(Vec<OsString>, Out<'_>) -> io::Result<Outcome>;

/// Name, what it does, the tool.
const TOOLS: &[(&str, &str, Tool)] = &[
    ("check-aof", "check an append-only set, and cut off what a crash tore", check_aof::run),
    ("check-rdb", "check a snapshot", check_rdb::run),
    ("inspect", "say what is in a set, a log, a snapshot or a backup; compare, export", inspect::run),
    ("restore", "build a data directory that ends at a point of the past", restore::run),
    ("backup", "back up a live server; verify, push and pull backups", backup::run),
];

/// Prefixes of the names a tool is called by: ours, and those that scripts for stock servers use.
const PREFIXES: &[&str] = &["perdura-", "redis-", "valkey-"];

/// Runs the tool that the program's name or its first argument asks for.
pub fn run(program: &OsStr, mut arguments: Vec<OsString>) -> ExitCode {
    let own = Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let by_link = PREFIXES.iter().find_map(|prefix| own.strip_prefix(prefix)).and_then(find);
    let tool = match by_link {
        Some(tool) => tool,
        None if arguments.is_empty() => return help(),
        None => {
            let word = arguments.remove(0).to_string_lossy().into_owned();
            match (&*word, find(&word)) {
                ("-h" | "--help" | "help", _) => return help(),
                ("-v" | "--version", _) => {
                    println!("perdura tools {}", env!("CARGO_PKG_VERSION"));
                    return ExitCode::SUCCESS;
                }
                ("link", _) => return link(&arguments),
                (_, Some(tool)) => tool,
                (_, None) => {
                    eprintln!("perdura: no tool is called '{word}'; perdura --help names them");
                    return ExitCode::FAILURE;
                }
            }
        }
    };
    log::start();
    exit_code(tool(arguments, &mut io::stdout().lock()))
}

fn find(name: &str) -> Option<Tool> {
    TOOLS.iter().find(|(known, ..)| *known == name).map(|&(.., tool)| tool)
}

fn exit_code(result: io::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::FAILURE,
        // Whoever read our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> ExitCode {
    println!("Usage: perdura <tool> [arguments], or through a link called perdura-<tool>\n");
    for (name, purpose, _) in TOOLS {
        println!("  {name:<12} {purpose}");
    }
    println!("  {:<12} make links perdura-<tool> in a directory: perdura link DIR [PREFIX]", "link");
    ExitCode::SUCCESS
}

/// Makes a link to this program for each tool.
fn link(arguments: &[OsString]) -> ExitCode {
    let (directory, prefix) = match arguments {
        [directory] => (Path::new(directory), "perdura-".into()),
        [directory, prefix] => (Path::new(directory), prefix.to_string_lossy().into_owned()),
        _ => {
            eprintln!("Usage: perdura link DIR [PREFIX]");
            return ExitCode::FAILURE;
        }
    };
    let result = std::env::current_exe().and_then(|program| {
        TOOLS.iter().try_for_each(|(name, ..)| {
            std::os::unix::fs::symlink(&program, directory.join(format!("{prefix}{name}")))
        })
    });
    exit_code(result.map(|()| Outcome::Good))
}
