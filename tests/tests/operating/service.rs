//! The server as a service manager and a container meet it: readiness, progress, signs of life, SIGTERM, environment.
//!
//! What could go wrong: ready is said too early or never, a setting from the environment is lost or shows in `ps`, SIGTERM
//! loses something.

use std::{
    fs,
    os::unix::{fs::MetadataExt, net::UnixDatagram},
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
    let mut answered = None;
    wait_for("an answer", || {
        // An answer may be that a password is wanted.
        let connected = Client::connect(&Address::loopback(port), PATIENCE);
        answered = connected.and_then(|mut client| client.say("PING").map(|_| client)).ok();
        answered.is_some()
    });
    answered.unwrap()
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
fn systemd_hears_how_far_loading_is() {
    let scratch = Scratch::new("status");
    let dir = scratch.0.display().to_string();
    let port = free_port();
    let command = || {
        let mut command = Command::new(server());
        command.args(["--port", &port.to_string(), "--dir", &dir, "--enable-debug-command", "yes"]);
        command.stdout(Stdio::null()).env_remove("WATCHDOG_USEC");
        command
    };
    let mut first = Running(command().spawn().unwrap());
    assert_eq!(say(&mut client(port), "DEBUG POPULATE 300000 key 200"), "OK");
    assert_eq!(say(&mut client(port), "SAVE"), "OK");
    assert_eq!(first.terminate(), 0);
    let path = scratch.0.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _second =
        Running(command().args(["--supervised", "systemd"]).env("NOTIFY_SOCKET", &path).spawn().unwrap());
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains("READY=1") {
        let count = socket.recv(&mut buffer).expect("a message");
        heard += &String::from_utf8_lossy(&buffer[..count]);
        assert!(heard.len() < 100_000, "{heard}");
    }
    let (before, _) = heard.split_once("READY=1").unwrap();
    let percent =
        before.split("STATUS=Loading the data set: ").nth(1).and_then(|rest| rest.split(" %").next());
    let percent: f64 = percent.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{heard}"));
    assert!((0.0..=100.0).contains(&percent), "{heard}");
}

/// The image's user is not root; neither is whoever starts the entry point by hand.
#[test]
fn a_container_needs_no_root() {
    const NOBODY: &str = "65534";
    let scratch = Scratch::new("nobody");
    let entrypoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/docker-entrypoint.sh");
    // Somebody else may not be let into the folder this was built in.
    let (program, script) = (scratch.0.join("perdura-server"), scratch.0.join("entrypoint.sh"));
    fs::copy(server(), &program).unwrap();
    fs::copy(entrypoint, &script).unwrap();
    let data = scratch.0.join("data");
    fs::create_dir(&data).unwrap();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = Command::new(if is_root { "setpriv" } else { "env" });
    if is_root {
        let id: u32 = NOBODY.parse().unwrap();
        std::os::unix::fs::chown(&data, Some(id), Some(id)).unwrap();
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all"]);
    }
    let port = free_port();
    let child = command
        .arg("sh")
        .arg(&script)
        .env_clear() // As above.
        .env("PATH", std::env::var("PATH").unwrap())
        .env("PERDURA_SERVER", &program)
        .env("PERDURA_SETTINGS_FILE", data.join("environment.conf"))
        .env("PERDURA_DIR", &data)
        .env("PERDURA_PORT", port.to_string())
        .env("PERDURA_APPENDONLY", "yes")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    assert_eq!(say(&mut client(port), "SET kept 1"), "OK");
    let status = fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap();
    assert!(!status.contains("\nUid:\t0\t") && !status.contains("\nName:\tsh\n"), "{status}");
    assert_eq!(running.terminate(), 0);
    for name in ["environment.conf", "appendonlydir"] {
        let metadata = fs::metadata(data.join(name)).unwrap();
        assert!(metadata.uid() != 0 && metadata.mode() & 0o077 == 0, "{name}: {:o}", metadata.mode());
    }
}

/// What can be looked at without an engine that builds images: the file says what it must, and names what exists.
#[test]
fn the_dockerfile_is_one_for_a_durable_server() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("deploy/Dockerfile")).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for wanted in [
        "USER perdura",
        "WORKDIR /data",
        "VOLUME /data",
        "STOPSIGNAL SIGTERM",
        "ENTRYPOINT [\"docker-entrypoint.sh\"]",
    ] {
        assert!(lines.contains(&wanted), "{wanted}");
    }
    let images: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert!(
        images.len() == 2 && images.iter().all(|image| image.contains(':')),
        "versions are named: {images:?}"
    );
    let cargo = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let wanted =
        cargo.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"')).unwrap();
    assert!(images[0].contains(&format!("rust:{wanted}")), "{images:?} has Rust {wanted}");
    for line in lines.iter().filter(|line| line.starts_with("COPY ") && !line.contains("--from=")) {
        let from = line.split(' ').rfind(|word| !word.starts_with("--") && !word.starts_with('/')).unwrap();
        assert!(root.join(from).exists(), "{line}");
    }
    let user = lines.iter().position(|line| *line == "USER perdura").unwrap();
    assert!(
        lines[user..].iter().all(|line| !line.starts_with("RUN ")),
        "nothing is made after the rights are gone"
    );
    let links = lines.iter().find_map(|line| line.split("for tool in ").nth(1)?.split(';').next()).unwrap();
    for tool in links.split(' ') {
        let known = perdura_tests::tool(tool).arg("--no-such-option").output().unwrap();
        let said = String::from_utf8_lossy(&known.stderr).into_owned();
        assert!(!said.contains("no tool is called"), "{tool}: {said}");
    }
    let shell = Command::new("sh").arg("-n").arg(root.join("deploy/docker-entrypoint.sh")).status().unwrap();
    assert!(shell.success());
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
