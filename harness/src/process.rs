//! Real server processes: started in a directory of their own, watched, killed, restarted, cleaned up.
//!
//! Exists so that every test and judge treats every server alike, ours or stock, and none outlives its test.
//!
//! Always true: a server leads its own process group, so the children it forks can be told from everything
//! else; dropping a `Server` kills the group; when this whole process dies, the kernel kills the server.
//! The log lies beside the data directory, never in it.
//!
//! Not here: what is asked of the server (`client.rs`) and what its answers mean (`crash.rs`, `bench.rs`).

use crate::client::{Address, Client, Reply};
use crate::os::{self, Signal};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long one request to a healthy server may take before the judge calls it stuck.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks at a starting server: well below the shortest restart worth measuring.
const POLL_PAUSE: Duration = Duration::from_millis(2);
/// Ports given to servers: below Linux's ephemeral range, so that no outgoing connection takes one first.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
/// Tries with another port when somebody else took the chosen one between choosing and binding.
const PORT_TRIES_MAX: usize = 5;

/// How to start one kind of server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCommand {
    /// Shown in reports.
    pub name: String,
    /// Program and arguments; `{port}` and `{dir}` stand for what each start gets.
    pub words: Vec<String>,
}

impl ServerCommand {
    /// A program that takes Redis's own flags.
    pub fn of_program(name: &str, program: &Path) -> ServerCommand {
        ServerCommand { name: name.into(), words: vec![program.display().to_string()] }
    }

    /// Reads `name=program argument…`, with quotes as in a shell.
    ///
    /// Returns `None` when there is no name or no program.
    pub fn parse(text: &str) -> Option<ServerCommand> {
        let (name, command) = text.split_once('=')?;
        let words = split_words(command);
        (!name.is_empty() && !words.is_empty()).then(|| ServerCommand { name: name.into(), words })
    }

    /// Our own server: `$PERDURA_SERVER`, or the binary built beside the running one.
    pub fn perdura() -> Option<ServerCommand> {
        let named = std::env::var_os("PERDURA_SERVER").map(PathBuf::from);
        let program = named.or_else(|| {
            // Test binaries live in target/<profile>/deps, ordinary ones in target/<profile>.
            let current = std::env::current_exe().ok()?;
            current
                .ancestors()
                .skip(1)
                .take(2)
                .map(|dir| dir.join("perdura-server"))
                .find(|path| path.is_file())
        })?;
        Some(ServerCommand::of_program("perdura", &program))
    }

    /// The stock `redis-server` on the path, if there is one.
    pub fn stock_redis() -> Option<ServerCommand> {
        find_on_path("redis-server").map(|program| ServerCommand::of_program("redis", &program))
    }

    /// The stock `valkey-server` on the path, if there is one.
    pub fn stock_valkey() -> Option<ServerCommand> {
        find_on_path("valkey-server").map(|program| ServerCommand::of_program("valkey", &program))
    }

    /// The program with its own arguments and none of ours: for starts that are meant to fail.
    pub fn raw_command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }

    fn arguments(&self, port: u16, data_dir: &Path) -> Vec<String> {
        let takes_port = self.words.iter().any(|word| word.contains("{port}"));
        let dir = data_dir.display().to_string();
        let fill = |word: &String| word.replace("{port}", &port.to_string()).replace("{dir}", &dir);
        let mut arguments: Vec<String> = self.words[1..].iter().map(fill).collect();
        if !takes_port {
            let own = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir", &dir];
            arguments.extend(own.map(String::from));
        }
        arguments
    }
}

fn find_on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// Splits at spaces; single or double quotes keep a word together, and `""` is an empty word.
fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for character in text.chars() {
        match quote {
            Some(open) if character == open => quote = None,
            Some(_) => word.get_or_insert_default().push(character),
            None if character == '"' || character == '\'' => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            None if character.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// Everything one start needs.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Which server.
    pub command: ServerCommand,
    /// Settings passed as `--name value`, after the template's own arguments.
    pub settings: Vec<(String, String)>,
    /// Core to pin the server and its children to.
    pub core: Option<usize>,
    /// How long until it must answer PING.
    pub ready_timeout: Duration,
}

impl Launch {
    /// `command` with nothing written to disk unless a setting asks for it.
    pub fn new(command: ServerCommand) -> Launch {
        Launch { command, settings: Vec::new(), core: None, ready_timeout: Duration::from_secs(60) }
            .setting("save", "")
    }

    /// Adds a setting, replacing an earlier one of the same name.
    pub fn setting(mut self, name: &str, value: &str) -> Launch {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Pins the server to `core`.
    pub fn pinned_to(mut self, core: usize) -> Launch {
        self.core = Some(core);
        self
    }
}

/// Why a server did not come up.
#[derive(Debug)]
pub enum StartError {
    /// The program could not be run, or its directory not be made.
    Io(io::Error),
    /// It ended before it answered.
    Exited(ExitStatus, String),
    /// It ran but did not answer in time.
    NotReady(Duration, String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Io(error) => write!(f, "could not be run: {error}"),
            StartError::Exited(status, log) => write!(f, "ended at start ({status}); its log ends:\n{log}"),
            StartError::NotReady(after, log) => write!(f, "not ready after {after:?}; its log ends:\n{log}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::Io(error)
    }
}

/// Whom a kill hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victims {
    /// The server; children it forked live on as orphans.
    ServerOnly,
    /// The children it forked; the server lives on.
    ChildrenOnly,
    /// The whole group in one call.
    ServerAndChildren,
}

/// One server and its directory, through any number of lives.
pub struct Server {
    launch: Launch,
    dir: TempDir,
    data_dir: PathBuf,
    port: u16,
    child: Option<Child>,
    /// Leaders of earlier lives' groups, whose orphans may still run.
    past_leaders: Vec<u32>,
    ready_after: Duration,
}

impl Server {
    /// Starts in a new directory and waits until it answers.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(launch: Launch) -> Result<Server, StartError> {
        let mut server = Server::prepare(launch)?;
        server.restart()?;
        Ok(server)
    }

    /// A directory and no process yet.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn prepare(launch: Launch) -> io::Result<Server> {
        let dir = TempDir::new("perdura-server")?;
        let data_dir = dir.path().join("data");
        fs::create_dir(&data_dir)?;
        Ok(Server::prepare_on(launch, data_dir, dir))
    }

    /// No process yet, and a directory that exists already and outlives this value.
    ///
    /// # Errors
    /// When there is no place for the log.
    pub fn prepare_at(launch: Launch, data_dir: &Path) -> io::Result<Server> {
        Ok(Server::prepare_on(launch, data_dir.into(), TempDir::new("perdura-server")?))
    }

    fn prepare_on(launch: Launch, data_dir: PathBuf, dir: TempDir) -> Server {
        Server {
            launch,
            dir,
            data_dir,
            port: 0,
            child: None,
            past_leaders: Vec::new(),
            ready_after: Duration::ZERO,
        }
    }

    /// Starts again on the same directory, on a new port, and waits until it answers.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Panics
    /// If it is still running.
    pub fn restart(&mut self) -> Result<(), StartError> {
        let mut tries_left = PORT_TRIES_MAX;
        loop {
            tries_left -= 1;
            self.spawn()?;
            match self.wait_until_ready() {
                Err(StartError::Exited(_, log))
                    if tries_left > 0 && log.contains("Address already in use") => {}
                outcome => return outcome,
            }
        }
    }

    /// Starts the process without waiting for anything.
    ///
    /// # Errors
    /// When the program cannot be run.
    ///
    /// # Panics
    /// If it is still running.
    pub fn spawn(&mut self) -> io::Result<()> {
        assert!(self.child.is_none(), "one life at a time");
        self.port = free_port()?;
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(&self.launch.command.words[0]);
        command.args(self.launch.command.arguments(self.port, &self.data_dir()));
        for (name, value) in &self.launch.settings {
            command.arg(format!("--{name}")).arg(value);
        }
        command.current_dir(self.data_dir());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        os::prepare_server(&mut command, self.launch.core);
        self.child = Some(spawn_on_lasting_thread(command)?);
        Ok(())
    }

    /// Waits until the server answers PING with PONG, which it does not while loading.
    ///
    /// # Errors
    /// See [`StartError`]; the process is gone afterwards.
    pub fn wait_until_ready(&mut self) -> Result<(), StartError> {
        let start = Instant::now();
        while start.elapsed() < self.launch.ready_timeout {
            if let Some(status) = self.exit_status()? {
                self.forget_child();
                return Err(StartError::Exited(status, self.log_tail()));
            }
            if self.answers_ping() {
                self.ready_after = start.elapsed();
                return Ok(());
            }
            thread::sleep(POLL_PAUSE);
        }
        self.kill(Victims::ServerAndChildren)?;
        Err(StartError::NotReady(self.launch.ready_timeout, self.log_tail()))
    }

    fn answers_ping(&self) -> bool {
        let pong = self.client().and_then(|mut client| client.call(&["PING"]));
        matches!(pong, Ok(Reply::Simple(text)) if text == "PONG")
    }

    /// From the start of the process, or of the wait, to its first PONG.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// A new connection.
    ///
    /// # Errors
    /// Whatever the socket reports.
    pub fn client(&self) -> io::Result<Client> {
        Client::connect(&self.address(), REQUEST_TIMEOUT)
    }

    /// Where the current life listens.
    pub fn address(&self) -> Address {
        Address::loopback(self.port)
    }

    /// The process id.
    ///
    /// # Panics
    /// If it is not running.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Whether a process was started and has not been waited for.
    pub fn has_process(&self) -> bool {
        self.child.is_some()
    }

    /// How the process ended, or `None` while it runs.
    ///
    /// # Errors
    /// Whatever the kernel reports.
    pub fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => child.try_wait(),
            None => Ok(None),
        }
    }

    /// What the server keeps its data in.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone()
    }

    /// What it says on stdout and stderr, of all lives.
    pub fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    /// The last lines of the log.
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// For the next start; the running process does not notice.
    pub fn change_setting(&mut self, name: &str, value: &str) {
        self.launch = self.launch.clone().setting(name, value);
    }

    /// Kills with SIGKILL and, if the server is among the victims, waits until it is gone.
    ///
    /// # Errors
    /// Whatever the kernel reports, except that a victim is already gone.
    pub fn kill(&mut self, victims: Victims) -> io::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let leader = child.id();
        match victims {
            Victims::ChildrenOnly => {
                for pid in group_members(leader).into_iter().filter(|pid| *pid != leader) {
                    ignore_missing(os::signal_process(pid, Signal::Kill))?;
                }
                return Ok(());
            }
            Victims::ServerOnly => ignore_missing(os::signal_process(leader, Signal::Kill))?,
            Victims::ServerAndChildren => ignore_missing(os::signal_group(leader, Signal::Kill))?,
        }
        child.wait()?;
        self.forget_child();
        Ok(())
    }

    /// Asks the server to end with SIGTERM and waits; kills it after `patience`.
    ///
    /// # Errors
    /// `TimedOut` when it had to be killed.
    pub fn terminate(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        ignore_missing(os::signal_process(self.pid(), Signal::Terminate))?;
        let ended = self.wait_for_exit(patience);
        if ended.is_err() {
            self.kill(Victims::ServerAndChildren)?;
        }
        ended
    }

    /// Waits until the server has ended by itself.
    ///
    /// # Errors
    /// `TimedOut` when it still runs after `patience`.
    pub fn wait_for_exit(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < patience {
            if let Some(status) = self.exit_status()? {
                self.forget_child();
                return Ok(status);
            }
            thread::sleep(POLL_PAUSE);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the server did not end"))
    }

    /// Children of the current life, in no order.
    pub fn children(&self) -> Vec<u32> {
        let leader = self.pid();
        group_members(leader).into_iter().filter(|pid| *pid != leader).collect()
    }

    /// Children of earlier lives that still run.
    pub fn orphans(&self) -> Vec<u32> {
        self.past_leaders.iter().flat_map(|leader| group_members(*leader)).collect()
    }

    /// Kills the children of earlier lives.
    ///
    /// # Errors
    /// Whatever the kernel reports, except that they are already gone.
    pub fn kill_orphans(&mut self) -> io::Result<()> {
        for pid in self.orphans() {
            ignore_missing(os::signal_process(pid, Signal::Kill))?;
        }
        self.past_leaders.clear();
        Ok(())
    }

    fn forget_child(&mut self) {
        self.past_leaders.extend(self.child.take().map(|child| child.id()));
        self.past_leaders.retain(|leader| !group_members(*leader).is_empty());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about an error here; the kernel ends the server with this process anyway.
        let _ = self.kill(Victims::ServerAndChildren);
        let _ = self.kill_orphans();
    }
}

/// Memory of `pid` resident now, in bytes.
///
/// # Errors
/// When the process is gone.
pub fn resident_size(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    kilobytes.map(|kilobytes: u64| kilobytes * 1024).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Processes of the group led by `leader`, without those already dead and only waiting to be reaped.
fn group_members(leader: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| is_live_member(*pid, leader)).collect()
}

fn is_live_member(pid: u32, leader: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // pid (name) state parent group …; the name may hold spaces and parentheses, so look after the last one.
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<&str> = fields.split_whitespace().take(3).collect();
    matches!(fields[..], [state, _, group] if state != "Z" && state != "X" && group.parse() == Ok(leader))
}

fn ignore_missing(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// Starts `command` on a thread that lives until this process ends.
///
/// The kernel ends a server when the *thread* that started it ends; a server kept in a static and first
/// used by one test must survive that test's thread.
fn spawn_on_lasting_thread(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            // Whoever came first may have been pinned; what is started here must not inherit that. A
            // failure leaves things as they were.
            let _ = os::unpin();
            for (mut command, answer) in inbox {
                // The receiver waits right below; it cannot have gone away.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, outcome) = mpsc::channel();
    spawner.lock().expect("nobody panics holding it").send((command, answer)).expect("the thread never ends");
    outcome.recv().expect("every order is answered")
}

/// A port of [`PORTS`] that nobody listens on now.
fn free_port() -> io::Result<u16> {
    let start = unique_number();
    let span = u64::from(PORTS.end - PORTS.start);
    let candidates = (0..span).map(|step| PORTS.start + ((start.wrapping_add(step * 7)) % span) as u16);
    let free = candidates.into_iter().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, "no free port"))
}

/// Differs between calls and, most likely, between processes.
fn unique_number() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    crate::rng::mix(time ^ (u64::from(std::process::id()) << 32) ^ call)
}

/// A directory that is removed when dropped.
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// A new, empty directory under the system's one for temporary files.
    ///
    /// # Errors
    /// Whatever the file system reports.
    pub fn new(prefix: &str) -> io::Result<TempDir> {
        let path = std::env::temp_dir().join(format!("{prefix}-{:016x}", unique_number()));
        fs::create_dir(&path)?;
        Ok(TempDir { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Left behind at worst; the system cleans its directory for temporary files.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_words(text: &str, expected: &[&str]) {
        assert_eq!(split_words(text), expected, "{text:?}");
    }

    #[test]
    fn words_are_split_as_a_shell_would() {
        check_words("", &[]);
        check_words("  a  b ", &["a", "b"]);
        check_words("a --save \"\" b", &["a", "--save", "", "b"]);
        check_words("--save '900 1'", &["--save", "900 1"]);
    }

    #[test]
    fn a_template_gets_port_and_directory() {
        let command = ServerCommand::parse("x=prog -p {port} -d {dir}/x").unwrap();
        assert_eq!(command.arguments(7, Path::new("/d")), ["-p", "7", "-d", "/d/x"]);
        let plain = ServerCommand::parse("x=prog").unwrap();
        assert_eq!(
            plain.arguments(7, Path::new("/d")),
            ["--port", "7", "--bind", "127.0.0.1", "--dir", "/d"]
        );
        assert_eq!(ServerCommand::parse("no-program="), None);
        assert_eq!(ServerCommand::parse("prog"), None);
    }

    #[test]
    fn a_later_setting_replaces_an_earlier_one() {
        let launch = Launch::new(ServerCommand::parse("x=prog").unwrap()).setting("save", "1 1");
        assert_eq!(launch.settings, [("save".to_string(), "1 1".to_string())]);
    }

    #[test]
    fn a_program_that_ends_at_once_is_a_refused_start_with_its_log() {
        let command = ServerCommand::parse("x=/bin/sh -c 'echo why; exit 3' {port}").unwrap();
        match Server::start(Launch::new(command)) {
            Err(StartError::Exited(status, log)) => {
                assert_eq!(status.code(), Some(3));
                assert_eq!(log, "why");
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("a shell is no server"),
        }
    }

    #[test]
    fn killing_the_server_only_leaves_an_orphan_that_is_found_and_killed() {
        let command = ServerCommand::parse("x=/bin/sh -c 'sleep 60 & wait' {port}").unwrap();
        let mut server = Server::prepare(Launch::new(command)).unwrap();
        server.spawn().unwrap();
        let start = Instant::now();
        while server.children().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(10), "the shell never forked");
            thread::sleep(POLL_PAUSE);
        }
        server.kill(Victims::ServerOnly).unwrap();
        let orphans = server.orphans();
        assert_eq!(orphans.len(), 1);
        server.kill_orphans().unwrap();
        let start = Instant::now();
        while Path::new(&format!("/proc/{}", orphans[0])).exists() {
            assert!(start.elapsed() < Duration::from_secs(10), "the orphan lives");
            thread::sleep(POLL_PAUSE);
        }
    }

    #[test]
    fn a_dropped_server_leaves_no_process_and_no_directory() {
        let command = ServerCommand::parse("x=/bin/sleep 60").unwrap();
        let mut server = Server::prepare(Launch::new(ServerCommand {
            words: vec!["/bin/sh".into(), "-c".into(), "sleep 60 # {port}".into()],
            ..command
        }))
        .unwrap();
        server.spawn().unwrap();
        let (pid, dir) = (server.pid(), server.data_dir());
        drop(server);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert!(!dir.exists());
    }

    #[test]
    fn a_stock_server_keeps_its_data_over_a_restart() {
        let Some(command) = ServerCommand::stock_redis() else { return };
        let launch = Launch::new(command).setting("appendonly", "yes").setting("appendfsync", "always");
        let mut server = Server::start(launch).unwrap();
        let mut client = server.client().unwrap();
        assert!(client.say("SET a 1").unwrap().is_ok());
        assert!(os::process_cpu_time(server.pid()).unwrap() > Duration::ZERO);
        assert!(resident_size(server.pid()).unwrap() > 1_000_000);
        server.kill(Victims::ServerAndChildren).unwrap();
        server.restart().unwrap();
        assert_eq!(server.client().unwrap().say("GET a").unwrap(), Reply::Bulk(b"1".to_vec()));
        assert!(server.terminate(Duration::from_secs(10)).unwrap().success());
        server.restart().unwrap();
        assert_eq!(server.client().unwrap().say("GET a").unwrap(), Reply::Bulk(b"1".to_vec()));
    }
}
