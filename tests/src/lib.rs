//! What several tests need: a simulated server one can talk to, real servers, ours and the stock one, and the
//! properties that fuzzing checks.
//!
//! Not here: the tests (`tests/`), the judge of crashes (`perdura-harness`).

pub mod fuzz;
pub mod killed;
pub mod simulated;

use perdura_harness::process::{Launch, Server, ServerCommand};

/// Our server, started in a directory of its own with these settings.
///
/// # Panics
/// If it is not built or does not start.
pub fn start_perdura(settings: &[(&str, &str)]) -> Server {
    start(ServerCommand::perdura().expect("perdura-server is built by cargo test --workspace"), settings)
}

/// Debian's redis-server, started in a directory of its own with these settings.
///
/// # Panics
/// If it is not installed: a test that needs a peer fails without it.
pub fn start_redis(settings: &[(&str, &str)]) -> Server {
    start(ServerCommand::stock_redis().expect("redis-server is installed (.ci/run does it)"), settings)
}

/// One of our tools, to be run with arguments.
///
/// # Panics
/// If it is not built.
pub fn tool(name: &str) -> std::process::Command {
    let server = ServerCommand::perdura().expect("perdura-server is built by cargo test --workspace");
    let program = std::path::Path::new(server.raw_command().get_program()).with_file_name("perdura");
    assert!(program.is_file(), "perdura is built by cargo test --workspace");
    let mut command = std::process::Command::new(program);
    command.arg(name);
    command
}

/// Says why a test cannot run here.
///
/// # Panics
/// With `PERDURA_MUST_RUN=1`, as in `.ci/run`: the machine was to have what it needs.
pub fn tell_not_run(why: &str) {
    assert!(!std::env::var("PERDURA_MUST_RUN").is_ok_and(|value| value == "1"), "{why}");
    println!("NOT RUN: {why}");
}

fn start(command: ServerCommand, settings: &[(&str, &str)]) -> Server {
    let launch =
        settings.iter().fold(Launch::new(command), |launch, (name, value)| launch.setting(name, value));
    Server::start(launch).unwrap_or_else(|error| panic!("{error}"))
}
