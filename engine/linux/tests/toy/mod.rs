//! A toy engine under the real loop: line commands for clients, and a wire through which a test asks for effects.
//!
//! Exists so that the host is tested without the real engine. The toy decides nothing: effects come from the test
//! as they are, completions go back to it as they are.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use perdura_core::host::*;
use perdura_core::time::Now;
use perdura_linux::{HostSettings, run};

/// Longest wait for anything in these tests.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What the toy tells its test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    Connected(Peer),
    Disconnected,
    Completed(Completion),
    Signalled(Signal),
}

/// The engine. Commands, one per line: `PING`, `BIG <bytes>`, `QUIT`, `DROP`, `LEAVE`,
/// and `HOLD`, whose answer waits for the next sync of a file; anything else is echoed.
pub struct Toy {
    wishes: Receiver<Vec<Effect>>,
    told: Sender<Told>,
    clients: BTreeMap<ClientId, Client>,
    clients_seen: u64,
    wake_at: u64,
    encoder: ToyEncoder,
}

#[derive(Default)]
struct Client {
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    /// Moved to the output when a sync ends.
    held: Vec<u8>,
}

impl Toy {
    pub fn new(encoder: ToyEncoder) -> (Toy, Sender<Vec<Effect>>, Receiver<Told>) {
        let (wish, wishes) = mpsc::channel();
        let (told, hear) = mpsc::channel();
        let toy = Toy { wishes, told, clients: BTreeMap::new(), clients_seen: 0, wake_at: 0, encoder };
        (toy, wish, hear)
    }

    fn tell(&self, told: Told) {
        // A test that has heard enough is gone.
        let _ = self.told.send(told);
    }
}

impl Engine for Toy {
    fn connect(&mut self, _: Now, peer: Peer, _: &mut Effects) -> ClientId {
        self.clients_seen += 1;
        let id = ClientId(self.clients_seen);
        self.clients.insert(id, Client::default());
        self.tell(Told::Connected(peer));
        id
    }

    fn receive(&mut self, _: Now, id: ClientId, bytes: &[u8], effects: &mut Effects) {
        let client = self.clients.get_mut(&id).expect("connected");
        client.input.extend_from_slice(bytes);
        while let Some(end) = client.input.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = client.input.drain(..=end).collect();
            let line = String::from_utf8(line).unwrap();
            let (command, argument) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
            match command {
                "PING" => client.output.extend(b"+PONG\r\n"),
                "BIG" => client.output.resize(client.output.len() + argument.parse::<usize>().unwrap(), b'x'),
                "HOLD" => client.held.extend(b"+HELD\r\n"),
                "QUIT" => {
                    client.output.extend(b"+OK\r\n");
                    effects.push(Effect::Close { client: id, now: false });
                }
                "LEAVE" => {
                    client.output.extend(b"+BYE\r\n");
                    effects.extend([Effect::Send(id), Effect::Exit(3)]);
                }
                "DROP" => effects.push(Effect::Close { client: id, now: true }),
                _ => client.output.extend(line.as_bytes()),
            }
        }
        effects.push(Effect::Send(id));
    }

    fn disconnect(&mut self, _: Now, id: ClientId, _: &mut Effects) {
        self.clients.remove(&id).expect("said once");
        self.tell(Told::Disconnected);
    }

    fn complete(&mut self, _: Now, completion: Completion, effects: &mut Effects) {
        if matches!(completion, Completion::Synced { .. }) {
            for (&id, client) in &mut self.clients {
                client.output.append(&mut client.held);
                effects.push(Effect::Send(id));
            }
        }
        self.tell(Told::Completed(completion));
    }

    fn signal(&mut self, _: Now, signal: Signal, _: &mut Effects) {
        self.tell(Told::Signalled(signal));
    }

    fn turn(&mut self, now: Now, effects: &mut Effects) {
        for wishes in self.wishes.try_iter() {
            effects.extend(wishes);
        }
        self.wake_at = now.mono_us + 500;
    }

    fn wake_at(&self) -> u64 {
        self.wake_at
    }

    fn output(&self, id: ClientId) -> &[u8] {
        self.clients.get(&id).map_or(&[], |client| &client.output[client.sent..])
    }

    fn is_holding(&self, id: ClientId) -> bool {
        self.clients.get(&id).is_some_and(|client| !client.held.is_empty())
    }

    fn sent(&mut self, _: Now, id: ClientId, count: usize, _: &mut Effects) {
        let client = self.clients.get_mut(&id).expect("connected");
        client.sent += count;
        assert!(client.sent <= client.output.len());
        if client.sent == client.output.len() {
            client.output.clear();
            client.sent = 0;
        }
    }

    fn is_loading(&self) -> bool {
        false
    }

    fn load(&mut self, _: Now, _: &mut dyn Disk, _: &mut Effects) {
        unreachable!("never loading");
    }

    fn encoder<'a>(&'a self, _: &SnapshotJob) -> Box<dyn Encoder + 'a> {
        Box::new(self.encoder.clone())
    }
}

/// Writes `key <n>` lines, one per step.
#[derive(Clone)]
pub struct ToyEncoder {
    keys_max: u64,
    keys: u64,
    /// Line breaks after each line.
    breaks: usize,
}

impl ToyEncoder {
    pub fn of(keys_max: u64) -> ToyEncoder {
        ToyEncoder { keys_max, keys: 0, breaks: 1 }
    }

    /// Keys so large that four of them make a piece of the file.
    pub fn of_large(keys_max: u64) -> ToyEncoder {
        ToyEncoder { breaks: 64 * 1024, ..ToyEncoder::of(keys_max) }
    }

    /// The whole file.
    pub fn contents(keys_max: u64) -> String {
        (1..=keys_max).map(|key| format!("key {key}\n")).collect()
    }
}

impl Encoder for ToyEncoder {
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        self.keys += 1;
        out.extend(format!("key {}", self.keys).as_bytes());
        out.resize(out.len() + self.breaks, b'\n');
        self.keys < self.keys_max
    }

    fn keys(&self) -> u64 {
        self.keys
    }
}

/// A loop in a thread, over a directory of its own; ended and cleaned up when dropped.
pub struct Server {
    pub dir: TempDir,
    pub port: u16,
    wish: Sender<Vec<Effect>>,
    hear: Receiver<Told>,
    thread: Option<JoinHandle<i32>>,
}

impl Server {
    pub fn start() -> Server {
        Server::start_with(ToyEncoder::of(3), |_| {})
    }

    pub fn start_with(encoder: ToyEncoder, adjust: impl FnOnce(&mut HostSettings)) -> Server {
        let dir = TempDir::new();
        let port = free_port();
        let mut settings = HostSettings {
            bind: vec!["127.0.0.1".into()],
            port,
            dir: dir.path.to_str().unwrap().into(),
            catch_signals: false,
            disable_thp: false,
            io_uring: !module_path!().starts_with("run_on_epoll"),
            io_threads: if module_path!().starts_with("run_with_io_threads") { 3 } else { 1 },
            ..HostSettings::default()
        };
        adjust(&mut settings);
        let (toy, wish, hear) = Toy::new(encoder);
        let thread = thread::spawn(move || run(toy, settings));
        Server { dir, port, wish, hear, thread: Some(thread) }
    }

    /// Asks for effects, all in one turn.
    pub fn wish(&self, effects: impl IntoIterator<Item = Effect>) {
        self.wish.send(effects.into_iter().collect()).unwrap();
    }

    /// The next thing the engine is told.
    pub fn hear(&self) -> Told {
        self.hear.recv_timeout(PATIENCE).expect("the engine is told something")
    }

    /// The next completion; other news is passed over.
    pub fn completion(&self) -> Completion {
        loop {
            if let Told::Completed(completion) = self.hear() {
                return completion;
            }
        }
    }

    /// Passes news over until this one.
    pub fn hear_until(&self, wanted: Told) {
        while self.hear() != wanted {}
    }

    /// Performs effects and waits for as many completions.
    pub fn perform(&self, effects: impl IntoIterator<Item = Effect>) -> Vec<Completion> {
        let effects: Vec<Effect> = effects.into_iter().collect();
        let count = effects.len();
        self.wish(effects);
        (0..count).map(|_| self.completion()).collect()
    }

    pub fn connect(&self) -> TcpStream {
        let begun = Instant::now();
        loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    return stream;
                }
                Err(error) if begun.elapsed() > PATIENCE => panic!("no server: {error}"),
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Opens a file for appending under this name, creating it.
    pub fn open(&self, file: FileId, path: &str) {
        let steps = vec![FileStep::CreateTemp { file, path: path.into() }];
        let done = self.perform([Effect::Files { ticket: Ticket(0), steps }]);
        assert_eq!(done, [Completion::Files { ticket: Ticket(0), error: None }]);
    }

    pub fn read_file(&self, path: &str) -> String {
        std::fs::read_to_string(self.dir.path.join(path)).unwrap()
    }

    /// Asks the loop to leave and gives its status.
    pub fn stop(mut self, status: i32) -> i32 {
        // A loop that has ended already takes no wishes.
        let _ = self.wish.send(vec![Effect::Exit(status)]);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.wish.send(vec![Effect::Exit(0)]);
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || thread::panicking(), "the loop panicked");
        }
    }
}

/// A directory that goes away with its owner.
pub struct TempDir {
    pub path: PathBuf,
}

impl TempDir {
    pub fn new() -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("perdura-linux-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        TempDir { path }
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Sends one line and reads a reply of this length.
pub fn ask(stream: &mut (impl Read + Write), line: &str, reply_len: usize) -> String {
    stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    read_exactly(stream, reply_len)
}

pub fn read_exactly(stream: &mut impl Read, len: usize) -> String {
    let mut reply = vec![0; len];
    stream.read_exact(&mut reply).unwrap();
    String::from_utf8(reply).unwrap()
}

/// Waits until `found` gives something.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(result) = found() {
            return result;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process exists and is not a zombie.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}
