//! `perdura-server`: called, configured and logging like redis-server.
//!
//! Not here: anything but the order of things; see `lib.rs` for the parts.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    io,
    path::Path,
    process::ExitCode,
};

use perdura_core::{
    config::Config,
    node::{HostHooks, Node, Seeds},
};
use perdura_lua::LuaInterpreter;
use perdura_server::{
    banner,
    cli::{self, Command, Invocation},
    reference,
    serve::{self, Views},
    settings,
};

#[global_allocator]
static ALLOCATOR: perdura_linux::Allocator = perdura_linux::Allocator;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    match cli::parse(&arguments) {
        Command::Serve(invocation) => start(&invocation),
        Command::Version => say(&banner::version()),
        Command::Help => say(banner::HELP.trim_end()),
        Command::DefaultConfig => say(reference::default_config().trim_end()),
        Command::CheckSystem => check_system(),
        Command::Refused(reason) => refuse(reason),
    }
}

fn start(invocation: &Invocation) -> ExitCode {
    let start_dir = std::env::current_dir().ok();
    match settings::load(invocation, &mut io::stdin()) {
        Ok(config) => {
            let views = Views { config: Node::config, figures: Node::figures };
            let status = serve::serve(config, start_dir, node, views);
            ExitCode::from(u8::try_from(status).unwrap_or(1))
        }
        Err(text) => refuse(&text),
    }
}

/// The engine, with its users.
fn node(config: Config) -> Result<Node, String> {
    let seeds = Seeds { seed: seed(), process_id: std::process::id(), stopwatch: perdura_linux::nanoseconds };
    let data_dir = std::path::absolute(&config.dir).unwrap_or_else(|_| config.dir.clone().into());
    let users = read_users(&config, &data_dir)?;
    let mut node = Node::new(config, seeds, perdura_linux::now());
    node.set_data_dir(data_dir.to_string_lossy().into_owned());
    node.set_host_hooks(HostHooks { facts: perdura_linux::facts, purge_memory: perdura_linux::purge_memory });
    node.set_interpreter(Box::new(LuaInterpreter::new()));
    node.rename_commands()?;
    node.load_users(users.as_deref())?;
    Ok(node)
}

/// The text of the file of users, if one is named.
fn read_users(config: &Config, data_dir: &Path) -> Result<Option<String>, String> {
    if config.aclfile.is_empty() {
        return Ok(None);
    }
    let path = data_dir.join(&config.aclfile);
    std::fs::read_to_string(&path).map(Some).map_err(|error| {
        format!(
            "Aborting Redis startup because of ACL errors: Error loading ACLs, opening file '{}': {error}",
            config.aclfile
        )
    })
}

/// What the system's random source gives: the keys of a fresh hasher come from there.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn check_system() -> ExitCode {
    let warnings = serve::machine_warnings(&Config::default());
    for text in &warnings {
        println!("{text}");
    }
    if warnings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}

fn refuse(reason: &str) -> ExitCode {
    eprintln!("{reason}");
    ExitCode::FAILURE
}
