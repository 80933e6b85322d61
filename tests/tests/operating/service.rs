//! The server as a service manager and a container meet it: readiness, progress, signs of life, SIGTERM, environment.
//!
//! What could go wrong: ready is said too early or never, a setting from the environment is lost or shows in `ps`, SIGTERM
//! loses something.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use perdura_harness::{
    client::{Address, Client},
    process::ServerCommand,
};

use super::{PATIENCE, Running, free_port, say, wait_for};

/// A directory of its own for one test, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("perdura-service-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Running {
    fn terminate(&mut self) -> i32 {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "it leaves");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn server() -> PathBuf {
    let command = ServerCommand::perdura().expect("perdura-server is built by cargo test --workspace");
    command.raw_command().get_program().into()
}

fn client(port: u16) -> Client {
    let mut connected = None;
    wait_for("a connection", || {
        connected = Client::connect(&Address::loopback(port), PATIENCE).ok();
        connected
            .as_mut()
            .is_some_and(|client| client.say("PING").is_ok_and(|reply| reply.as_bytes().is_some()))
            || connected.is_some()
    });
    connected.unwrap()
}

#[test]
fn systemd_hears_when_it_is_ready_alive_and_leaving() {
    let scratch = Scratch::new("notify");
    let path = scratch.0.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = free_port().to_string();
    let child = Command::new(server())
        .args(["--port", &port, "--supervised", "systemd", "--dir", &scratch.0.display().to_string()])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .env_remove("WATCHDOG_PID")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut buffer = [0; 4096];
    let mut next = || {
        let count = socket.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let mut heard = String::new();
    while !heard.contains("READY=1") || heard.matches("WATCHDOG=1").count() < 3 {
        heard += &next();
        assert!(heard.len() < 100_000, "{heard}");
    }
    assert!(heard.contains("STATUS=Ready to accept connections"), "{heard}");
    assert_eq!(running.terminate(), 0);
    let mut last = String::new();
    for _ in 0..1000 {
        last = next();
        if last.contains("STOPPING=1") {
            break;
        }
    }
    assert!(last.contains("STOPPING=1"), "{last}");
}

#[test]
fn a_container_takes_its_settings_from_the_environment_and_saves_on_sigterm() {
    let scratch = Scratch::new("container");
    let entrypoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/docker-entrypoint.sh");
    let port = free_port();
    let start = || {
        let child = Command::new("sh")
            .arg(&entrypoint)
            .args(["--port", &port.to_string()])
            .env_clear() // Whoever runs the tests may have PERDURA_… variables of his own.
            .env("PATH", std::env::var("PATH").unwrap())
            .env("PERDURA_SERVER", server())
            .env("PERDURA_SETTINGS_FILE", scratch.0.join("environment.conf"))
            .env("PERDURA_DIR", scratch.0.display().to_string())
            .env("PERDURA_SAVE", "900 1")
            .env("PERDURA_REQUIREPASS", "from-the-environment")
            .env("PERDURA_MAXMEMORY_POLICY", "allkeys-lru")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Running(child)
    };
    let mut running = start();
    let mut first = client(port);
    assert!(say(&mut first, "PING").contains("NOAUTH"));
    assert_eq!(say(&mut first, "AUTH from-the-environment"), "OK");
    assert_eq!(say(&mut first, "SET kept 1"), "OK");
    let policy = first.say("CONFIG GET maxmemory-policy").unwrap();
    assert!(format!("{policy:?}").contains("allkeys-lru") || policy.into_elements().is_some());
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", running.0.id())).unwrap();
    assert!(!arguments.contains("from-the-environment"), "{arguments}");
    assert_eq!(running.terminate(), 0);
    assert!(scratch.0.join("dump.rdb").is_file(), "it saved");
    let _again = start();
    let mut second = client(port);
    assert_eq!(say(&mut second, "AUTH from-the-environment"), "OK");
    assert_eq!(say(&mut second, "GET kept"), "1");
}

#[test]
fn the_unit_file_names_directives_that_systemd_knows() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/perdura.service");
    let text = fs::read_to_string(&unit).unwrap();
    for wanted in ["Type=notify", "WatchdogSec=", "UMask=0077", "NoNewPrivileges=yes", "ProtectSystem=strict"]
    {
        assert!(text.contains(wanted), "{wanted}");
    }
    // Where systemd is installed it is asked; the program it starts is not there, which it may say.
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&unit).output() else {
        println!("NOT RUN: no systemd-analyze on this machine");
        return;
    };
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    let serious: Vec<&str> = complaints
        .lines()
        .filter(|line| line.contains("Unknown") || line.contains("Failed to parse"))
        .collect();
    assert!(serious.is_empty(), "{serious:?}");
}
