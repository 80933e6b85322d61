//! A server in the simulated world, driven like redis-cli: one command, one reply, crashes in between.

use perdura_core::{
    config::Config,
    host::{Disk, FileId, FileStep},
    node::{Node, Seeds, no_stopwatch},
};
use perdura_harness::client::{Reply, encode_command};
use perdura_lua::LuaInterpreter;
use perdura_sim::{
    HostMutant,
    client::ClientKey,
    profile::Profile,
    world::{Crash, End, World, WorldConfig},
};

thread_local! {
    static HOST_MUTANT: std::cell::Cell<Option<HostMutant>> = const { std::cell::Cell::new(None) };
}

/// Makes the hosts of this thread's servers make a mistake, or none.
pub fn set_host_mutant(mutant: Option<HostMutant>) {
    HOST_MUTANT.set(mutant);
}

/// Longest wait for one reply, simulated microseconds.
const REPLY_US: u64 = 120_000_000;

/// A simulated server with one client.
pub struct Simulated {
    /// The world around it.
    pub world: World<Node>,
    settings: Vec<(String, String)>,
    client: Option<ClientKey>,
}

impl Simulated {
    /// An empty disk, no server yet.
    pub fn new(settings: &[(&str, &str)]) -> Simulated {
        Simulated::on(Profile::Strict, 1, settings)
    }

    /// An empty disk of this kind, no server yet.
    pub fn on(profile: Profile, seed: u64, settings: &[(&str, &str)]) -> Simulated {
        let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let config = WorldConfig { mutant: HOST_MUTANT.get(), ..WorldConfig::new(profile) };
        Simulated { world: World::new(seed, config), settings, client: None }
    }

    /// Changes a setting for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.into(), value.into()));
    }

    /// Starts the server and waits until it serves; how it ended if it refused.
    pub fn start(&mut self) -> Result<(), End> {
        self.boot();
        for _ in 0..100_000 {
            if !self.world.engine().is_some_and(perdura_core::host::Engine::is_loading) {
                break;
            }
            if let Some(end) = self.world.run_for(1_000) {
                return Err(end);
            }
        }
        Ok(())
    }

    /// Starts the server and does not wait.
    pub fn boot(&mut self) {
        let mut config = Config::default();
        let text: String = self.settings.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
        config.load(&text, &mut |_| unreachable!("no includes")).expect("settings of a test are right");
        self.world.start(|boot| {
            let seeds = Seeds { seed: boot.seed, process_id: boot.pid as u32, stopwatch: no_stopwatch };
            let mut node = Node::new(config, seeds, boot.now);
            node.set_interpreter(Box::new(LuaInterpreter::new()));
            node
        });
        self.reconnect();
    }

    /// Leaves the old connection as it is, perhaps with a reply owed, and opens another.
    pub fn reconnect(&mut self) {
        self.client = Some(self.world.connect());
    }

    /// Sends a command, words separated by blanks, and waits for its reply as text: `OK`, `(nil)`, `1) a 2) b`, `(error) …`.
    ///
    /// # Panics
    /// If no reply comes.
    pub fn say(&mut self, line: &str) -> String {
        self.try_say(line).unwrap_or_else(|| panic!("no reply to {line}"))
    }

    /// Sends a command and waits for nothing.
    pub fn send(&mut self, line: &str) {
        let mut request = Vec::new();
        encode_command(&line.split(' ').collect::<Vec<_>>(), &mut request);
        if let Some(client) = self.client {
            self.world.send(client, request);
        }
    }

    /// What the server has sent and nobody has taken.
    pub fn received(&self) -> Vec<u8> {
        self.client.map(|client| self.world.received(client).to_vec()).unwrap_or_default()
    }

    /// [`Simulated::say`], or `None` if the server ends or stays silent.
    pub fn try_say(&mut self, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split(' ').collect();
        self.call(&words).map(|reply| show(&reply))
    }

    /// Sends these words, of whatever bytes, and waits for the reply; `None` if the server ends or stays silent.
    pub fn call<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Option<Reply> {
        let mut request = Vec::new();
        encode_command(words, &mut request);
        let client = self.client?;
        self.world.take(client);
        self.world.send(client, request);
        let is_there = self.world.run_until(REPLY_US, |world| parse(world.received(client)).is_some());
        is_there.then(|| parse(&self.world.take(client)).expect("just seen"))
    }

    /// Says each of these and expects the reply.
    ///
    /// # Panics
    /// At the first that differs.
    pub fn check(&mut self, script: &[(&str, &str)]) {
        for (line, expected) in script {
            assert_eq!(self.say(line), *expected, "{line}");
        }
    }

    /// Lets time pass.
    pub fn wait_ms(&mut self, ms: u64) -> Option<End> {
        self.world.run_for(ms * 1000)
    }

    /// kill -9 of everything, or power loss.
    pub fn crash(&mut self, crash: Crash) {
        self.world.crash(crash);
        self.client = None;
    }

    /// Replaces a file's contents, durably, as an operator would.
    pub fn write_file(&mut self, path: &str, contents: &[u8]) {
        let disk = self.world.disk_mut();
        let process = disk.spawn();
        let file = FileId(u32::MAX - 7);
        let mut handle = disk.handle(process);
        if let Some((folder, _)) = path.rsplit_once('/') {
            handle.perform(&FileStep::CreateDir { path: folder.into() }).expect("a folder");
            handle.perform(&FileStep::SyncDir { path: String::new() }).expect("its name");
        }
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let steps = [
            FileStep::CreateTemp { file, path: path.into() },
            FileStep::Append { file, bytes: contents.to_vec().into() },
            FileStep::Sync { file },
            FileStep::Close { file },
            FileStep::SyncDir { path: folder.into() },
        ];
        for step in steps {
            handle.perform(&step).expect("a file of a test");
        }
    }

    /// Removes a file, durably.
    pub fn remove_file(&mut self, path: &str) {
        let disk = self.world.disk_mut();
        let process = disk.spawn();
        disk.handle(process).perform(&FileStep::Remove { path: path.into() }).expect("a file of a test");
    }

    /// A file's contents as a process would read them.
    pub fn read_file(&self, path: &str) -> Option<Vec<u8>> {
        self.world.disk().peek(path).map(<[u8]>::to_vec)
    }

    /// Names of all files with their lengths.
    pub fn files(&self) -> Vec<(String, u64)> {
        self.world.disk().files().into_iter().collect()
    }
}

fn parse(bytes: &[u8]) -> Option<Reply> {
    Reply::read_from(&mut &*bytes).ok()
}

/// A reply as redis-cli would show it on one line.
pub fn show(reply: &Reply) -> String {
    match reply {
        Reply::Simple(text) => text.clone(),
        Reply::Error(text) => format!("(error) {text}"),
        Reply::Integer(number) => number.to_string(),
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Null => "(nil)".into(),
        Reply::Array(elements) => {
            let shown: Vec<String> = elements
                .iter()
                .enumerate()
                .map(|(index, element)| format!("{}) {}", index + 1, show(element)))
                .collect();
            shown.join(" ")
        }
        other => format!("{other:?}"),
    }
}
