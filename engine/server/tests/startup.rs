//! The binary as operators and scripts meet it: arguments, exit status, the first lines of the log.

use std::{
    fs,
    io::Read,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

fn server(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perdura-server"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs to its end a server that is not expected to stay.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = server(arguments).output().expect("the binary can be run");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// A directory of its own for one test, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("perdura-startup-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        Scratch(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running server, killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Long enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn version_and_help_are_said_and_that_is_all() {
    let (status, stdout, stderr) = run(&["--version"]);
    assert!(stdout.starts_with("Perdura server v=7.2.4 "), "{stdout}");
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let (status, stdout, _) = run(&["-h"]);
    assert!(stdout.starts_with("Usage: perdura-server"), "{stdout}");
    assert_eq!(status, Some(0));
}

#[test]
fn a_memory_test_is_refused() {
    let (status, _, stderr) = run(&["--test-memory", "16"]);
    assert!(stderr.contains("no memory test"), "{stderr}");
    assert_eq!(status, Some(1));
}

#[test]
fn a_wrong_option_is_fatal_and_quoted() {
    for (arguments, line, reason) in [
        (
            &["--port", "--bla", "--bla"][..],
            ">>> 'port \"--bla\"'",
            "argument couldn't be parsed into an integer",
        ),
        (&["--port"], ">>> 'port'", "wrong number of arguments"),
        (&["--port", "70000"], ">>> 'port \"70000\"'", "argument must be between 0 and 65535 inclusive"),
        (&["--port=1"], ">>> 'port=1'", "Bad directive or wrong number of arguments"),
        (&["--port", "1", "2"], ">>> 'port \"1\" \"2\"'", "wrong number of arguments"),
        (&["-x"], ">>> '\"-x\"'", "Bad directive or wrong number of arguments"),
    ] {
        let (status, stdout, stderr) = run(arguments);
        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{arguments:?}");
        let expected = format!(
            "\n*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\n\
             Reading the configuration file, at line 2\n{line}\n{reason}\n"
        );
        // The first line is the empty file before the options.
        assert_eq!(stderr.trim_end(), expected.trim_end(), "{arguments:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let (status, _, stderr) = run(&["/nonexistent/perdura.conf"]);
    let expected =
        "Fatal error, can't open config file '/nonexistent/perdura.conf': No such file or directory\n";
    assert_eq!((status, stderr.as_str()), (Some(1), expected));
}

#[test]
fn a_taken_port_is_reported_in_the_log() {
    let scratch = Scratch::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let (status, log, _) = run(&["--bind", "127.0.0.1", "--port", &port, "--dir", &scratch.path("")]);
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains(&format!("Failed listening on port {port}")), "{log}");
    assert!(!log.lines().next().is_some_and(|first| first.contains("already in use")), "{log}");
}

#[test]
fn the_log_says_who_starts_what_is_promised_and_when_it_is_ready() {
    let scratch = Scratch::new("log");
    let (log_path, socket) = (scratch.path("log"), scratch.path("socket"));
    let file = scratch.path("perdura.conf");
    fs::write(&file, "port 0\nsave ''\nappendonly yes\nlogfile log\n").expect("writable");
    let arguments = [&file, "--unixsocket", &socket, "--dir", &scratch.path("")];
    let child = server(&arguments).stdout(Stdio::piped()).spawn().expect("the binary can be run");
    let mut running = Running(child);
    let log = || fs::read_to_string(&log_path).unwrap_or_default();
    wait_for("Ready to accept connections", || log().contains("Ready to accept connections"));

    let text = log();
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("no '{part}' in {text}"));
    let pid = running.0.id();
    assert!(place(&format!(" PID: {pid}\n")) < place("Persistence: AOF with appendfsync everysec"));
    assert!(place("Persistence: AOF") < place("Server initialized"));
    assert!(place("Server initialized") < place("Ready to accept connections"));
    assert!(text.lines().all(|line| line.starts_with(&format!("{pid}:M "))), "{text}");

    let terminated = Command::new("kill").arg(pid.to_string()).status().expect("kill is installed");
    assert!(terminated.success());
    wait_for("the end", || running.0.try_wait().expect("it is our child").is_some());
    assert_eq!(running.0.wait().expect("it has ended").code(), Some(0), "{}", log());
    let mut stdout = String::new();
    running.0.stdout.take().expect("piped").read_to_string(&mut stdout).expect("UTF-8");
    assert_eq!(stdout, "", "with a log file nothing goes to the standard output");
}

#[test]
fn the_log_is_json_on_request() {
    let scratch = Scratch::new("json");
    let log_path = scratch.path("log");
    let arguments = ["--port", "0", "--unixsocket", &scratch.path("socket"), "--dir", &scratch.path("")];
    let more = ["--save", "", "--logfile", "log", "--log-format", "json"];
    let child = server(&[&arguments[..], &more[..]].concat()).spawn().expect("the binary can be run");
    let running = Running(child);
    let log = || fs::read_to_string(&log_path).unwrap_or_default();
    wait_for("Ready to accept connections", || log().contains("Ready to accept connections"));
    let text = log();
    let pid = format!("\"pid\":{}", running.0.id());
    assert!(text.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{text}");
    assert!(text.lines().all(|line| line.contains(&pid)), "{text}");
}
