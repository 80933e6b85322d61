//! The same engine and disk among asynchronous tasks: server and clients as nodes of a madsim network.
//!
//! Exists because `world.rs` decides itself what may happen at one time. Here a scheduler with its own mind interleaves
//! connections, timers, disk work and snapshot children, and connections are sockets.
//!
//! Always true: each run has a thread of its own, because hash seeds and madsim's state belong to the thread; the disk
//! is outside every node, since madsim drops the tasks of a killed node late; whatever they still do meets a
//! [`ProcessId`] that is dead. Sleeps have a floor of 1 ms, so here delays tell the order of things and not their size.
//!
//! Not here: exact crash points inside a turn, wall clock jumps, slow readers (`world.rs` has them, madsim's sockets
//! take everything at once).

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use madsim::net::{TcpListener, TcpStream};
use madsim::runtime::{Handle, NodeHandle, Runtime};
use madsim::task::NodeId;
use madsim::time::{self, TimeHandle};
use perdura_core::host::{
    BackupJob, ChildEnd, ClientId, Completion, Disk as _, Effect, Engine, FileId, Peer, Signal, SnapshotJob,
    Ticket, write_snapshot,
};
use perdura_core::time::Now;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::child::{Child, Outcome, SNAPSHOT_FILE, snapshot_path};
use crate::disk::{ProcessId, SimDisk, SyncStarted};
use crate::rng::SimRng;
use crate::sometimes::Happening;
use crate::work::{Purpose, Ready, Work};
use crate::world::{
    Boot, Crash, End, SIGKILL, SIGUSR1, WALL_STARTS_US, WorldConfig, config_steps, job_completion,
    nobody_there, read_text,
};

/// Where the server listens.
const ADDRESS: &str = "10.0.0.1:6379";
/// Bytes read from a connection at once.
const READ_BYTES: usize = 16 * 1024;
/// Longest sleep of a server that wants no turn: an hour, because timers have an end.
const PATIENCE_US_MAX: u64 = 3_600_000_000;

/// Runs a scenario from a seed on a thread of its own.
///
/// # Panics
/// The scenario did.
pub fn run<T, F>(seed: u64, config: WorldConfig, scenario: impl FnOnce(Arena) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let body = move || {
        let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
        runtime.block_on(async move { scenario(Arena::new(seed, config)).await })
    };
    let thread = std::thread::Builder::new().name(format!("seed {seed}")).spawn(body).expect("a thread");
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The machine with the server, the network, and the clients' machines.
pub struct Arena {
    shared: Arc<Shared>,
    nodes: Nodes,
    running: Option<Running>,
    clients_count: u32,
}

/// Snapshot children have a node of their own, so that the server's death does not touch them.
#[derive(Clone, Copy)]
struct Nodes {
    server: NodeId,
    children: NodeId,
}

struct Running {
    process: ProcessId,
    inbox: UnboundedSender<Input>,
}

/// What outlives every process.
struct Shared {
    disk: Mutex<SimDisk>,
    rng: Mutex<SimRng>,
    config: WorldConfig,
    ended: Mutex<BTreeMap<ProcessId, End>>,
    /// Snapshot children that live, and their jobs.
    children: Mutex<BTreeMap<ProcessId, Ticket>>,
}

impl Shared {
    fn disk(&self) -> MutexGuard<'_, SimDisk> {
        let mut disk = self.disk.lock().expect("a panic ends the run");
        disk.set_now(self.now());
        disk
    }

    fn now(&self) -> Now {
        let mono_us = TimeHandle::current().elapsed().as_micros() as u64 + 1;
        Now { mono_us, wall_us: WALL_STARTS_US[0] + mono_us }
    }

    fn draw(&self, choose: impl FnOnce(&mut SimRng) -> u64) -> u64 {
        choose(&mut self.rng.lock().expect("a panic ends the run"))
    }

    async fn pause(&self, us: u64) {
        time::sleep(Duration::from_micros(us)).await;
    }
}

impl Arena {
    fn new(seed: u64, config: WorldConfig) -> Arena {
        let mut rng = SimRng::new(seed);
        let shared = Arc::new(Shared {
            disk: Mutex::new(SimDisk::new(config.profile, rng.number())),
            rng: Mutex::new(rng),
            config,
            ended: Mutex::default(),
            children: Mutex::default(),
        });
        let node = |name: &str, ip: &str| {
            let ip = ip.parse().expect("an address");
            Handle::current().create_node().name(name).ip(ip).build()
        };
        let (server, children) = (node("server", "10.0.0.1"), node("children", "10.0.0.2"));
        let nodes = Nodes { server: server.id(), children: children.id() };
        Arena { shared, nodes, running: None, clients_count: 0 }
    }

    /// Starts a server; connections are refused until it listens.
    pub fn start<E: Engine + Send + 'static>(&mut self, boot: impl FnOnce(Boot) -> E) {
        let process = self.shared.disk().spawn();
        let pid = self.shared.draw(|rng| rng.between(100, 115)) as i32;
        let seed = self.shared.draw(SimRng::number);
        let engine = boot(Boot { now: self.shared.now(), seed, pid });
        let (inbox, inputs) = unbounded_channel();
        let server = Server::new(engine, process, pid, self.shared.clone(), inbox.clone(), self.nodes);
        kill_node(self.nodes.server);
        node(self.nodes.server).spawn(server.run(inputs));
        self.running = Some(Running { process, inbox });
    }

    /// Crashes the machine or some of its processes, now.
    pub fn crash(&mut self, crash: Crash) {
        let mut disk = self.shared.disk();
        disk.disarm();
        if crash != Crash::Server {
            self.kill_children(&mut disk);
        }
        if crash != Crash::Children
            && let Some(running) = self.running.take()
        {
            disk.kill(running.process);
            disk.note(Happening::ServerKilled);
            kill_node(self.nodes.server);
        }
        if crash == Crash::Power {
            let mut rng = SimRng::new(self.shared.draw(SimRng::number));
            disk.lose_power(&mut rng);
        }
    }

    fn kill_children(&self, disk: &mut SimDisk) {
        let children = std::mem::take(&mut *self.shared.children.lock().expect("a panic ends the run"));
        kill_node(self.nodes.children);
        for (process, ticket) in children {
            disk.kill(process);
            disk.note(Happening::ChildKilled);
            if let Some(running) = &self.running {
                let end = ChildEnd::Killed(SIGKILL);
                let _ = running.inbox.send(Input::Told(Completion::ChildEnded { ticket, end, cow_size: 0 }));
            }
        }
    }

    /// Sends the server a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(running) = &self.running {
            // A server that has just left hears nothing.
            let _ = running.inbox.send(Input::Signalled(signal));
        }
    }

    /// How the running server ended by itself, once it has.
    pub fn ended(&self) -> Option<End> {
        let process = self.running.as_ref()?.process;
        self.shared.ended.lock().expect("a panic ends the run").get(&process).copied()
    }

    /// Waits for the server to end by itself, or to reach the crash point that the disk was armed with.
    pub async fn wait_for_end(&self) -> Option<End> {
        while !self.shared.disk().has_tripped() {
            if let Some(end) = self.ended() {
                return Some(end);
            }
            time::sleep(Duration::from_millis(1)).await;
        }
        None
    }

    /// A machine for a client.
    pub fn client_node(&mut self) -> NodeHandle {
        self.clients_count += 1;
        let number = self.clients_count;
        let ip = format!("10.0.1.{}", number % 250 + 1).parse().expect("an address");
        Handle::current().create_node().name(format!("client {number}")).ip(ip).build()
    }

    /// Does something with the disk.
    pub fn with_disk<T>(&self, act: impl FnOnce(&mut SimDisk) -> T) -> T {
        act(&mut self.shared.disk())
    }
}

/// The node as it is since its last restart: a handle from before leads to tasks that never run.
fn node(id: NodeId) -> NodeHandle {
    Handle::current().get_node(id).expect("it was created")
}

fn kill_node(id: NodeId) {
    // `restart` alone would leave the sockets open.
    Handle::current().kill(id);
    Handle::current().restart(id);
}

/// A client's end of a connection; to be used on a node of its own.
pub struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects to the server.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn connect() -> io::Result<Client> {
        Ok(Client { stream: TcpStream::connect(ADDRESS).await? })
    }

    /// Sends bytes, in pieces of `piece_bytes`: madsim itself never cuts what one flush sends.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, bytes: &[u8], piece_bytes: usize) -> io::Result<()> {
        for piece in bytes.chunks(piece_bytes.max(1)) {
            self.stream.write_all(piece).await?;
            self.stream.flush().await?;
        }
        Ok(())
    }

    /// Receives some bytes; none when the server has closed.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; READ_BYTES];
        let count = self.stream.read(&mut bytes).await?;
        bytes.truncate(count);
        Ok(bytes)
    }
}

/// What reaches the server's loop.
enum Input {
    Opened(u64, SocketAddr, UnboundedSender<Bytes>),
    Received(u64, Bytes),
    HungUp(u64),
    Signalled(Signal),
    Told(Completion),
    AppendEnds(FileId, Bytes),
    SyncEnds(FileId, SyncStarted, u64),
    JobSteps,
}

/// The server process: one loop, and tasks that sleep and then tell it.
struct Server<E> {
    engine: E,
    process: ProcessId,
    pid: i32,
    shared: Arc<Shared>,
    inbox: UnboundedSender<Input>,
    nodes: Nodes,
    effects: Vec<Effect>,
    work: Work,
    /// Connections by the engine's name for them, and the other way round.
    outputs: BTreeMap<ClientId, UnboundedSender<Bytes>>,
    clients: BTreeMap<u64, ClientId>,
    sleep_us: u64,
}

impl<E: Engine + Send + 'static> Server<E> {
    fn new(
        engine: E,
        process: ProcessId,
        pid: i32,
        shared: Arc<Shared>,
        inbox: UnboundedSender<Input>,
        nodes: Nodes,
    ) -> Server<E> {
        Server {
            engine,
            process,
            pid,
            shared,
            inbox,
            nodes,
            effects: Vec::new(),
            work: Work::default(),
            outputs: BTreeMap::new(),
            clients: BTreeMap::new(),
            sleep_us: 0,
        }
    }

    async fn run(mut self, mut inputs: UnboundedReceiver<Input>) {
        madsim::task::spawn(accept(self.inbox.clone()));
        loop {
            let mut end = None;
            for input in wait(self.patience_us(), &mut inputs).await {
                self.take_in(input);
                end = end.or(self.perform_all());
                if self.has_crashed() {
                    break;
                }
            }
            if end.is_none() && !self.has_crashed() {
                end = self.turn();
            }
            if self.has_crashed() {
                // The supervisor kills the node; until then nothing more may happen.
                return std::future::pending().await;
            }
            if let Some(end) = end {
                return self.leave(end).await;
            }
            let sleep_us = std::mem::take(&mut self.sleep_us) + self.shared.disk().take_spent_us();
            if sleep_us > 0 {
                self.shared.pause(sleep_us).await;
            }
        }
    }

    /// Leaves: what was handed to the sockets is sent before they close.
    async fn leave(mut self, end: End) {
        self.outputs.clear();
        self.shared.disk().kill(self.process);
        self.shared.ended.lock().expect("a panic ends the run").insert(self.process, end);
        self.shared.pause(10_000).await;
        kill_node(self.nodes.server);
    }

    /// How long the engine is content to wait.
    fn patience_us(&self) -> u64 {
        let wake_us = if self.engine.is_loading() { 0 } else { self.engine.wake_at() };
        wake_us.saturating_sub(self.shared.now().mono_us).min(PATIENCE_US_MAX)
    }

    fn has_crashed(&self) -> bool {
        let disk = self.shared.disk();
        disk.has_tripped() || !disk.is_alive(self.process)
    }

    fn take_in(&mut self, input: Input) {
        let now = self.shared.now();
        match input {
            Input::Opened(number, peer, output) => {
                let id = self.engine.connect(now, peer_of(peer), &mut self.effects);
                self.clients.insert(number, id);
                self.outputs.insert(id, output);
            }
            Input::Received(number, bytes) => {
                if let Some(id) = self.clients.get(&number) {
                    self.engine.receive(now, *id, &bytes, &mut self.effects);
                }
            }
            Input::HungUp(number) => {
                if let Some(id) = self.clients.remove(&number) {
                    self.outputs.remove(&id);
                    self.engine.disconnect(now, id, &mut self.effects);
                }
            }
            Input::Signalled(signal) => self.engine.signal(now, signal, &mut self.effects),
            Input::Told(completion) => {
                if let Completion::Appended { file, error: Some(_), .. } = &completion {
                    self.work.failure_told(*file);
                }
                self.engine.complete(now, completion, &mut self.effects);
            }
            Input::AppendEnds(file, bytes) => {
                let (written, error) = self.shared.disk().append(self.process, file, &bytes);
                self.work.append_ended(file, error.as_ref());
                self.tell(Completion::Appended { file, written, error });
            }
            Input::SyncEnds(file, started, elapsed_us) => {
                let error = self.shared.disk().sync_end(&started).err();
                self.work.sync_ended(file);
                self.tell(Completion::Synced { file, elapsed_us, error });
            }
            Input::JobSteps => self.step_job(),
        }
    }

    fn turn(&mut self) -> Option<End> {
        if self.engine.is_loading() {
            let mut disk = self.shared.disk();
            let now = self.shared.now();
            self.engine.load(now, &mut disk.handle(self.process), &mut self.effects);
            if disk.has_tripped() {
                disk.note(Happening::CrashInRecovery);
                return None;
            }
        }
        self.engine.turn(self.shared.now(), &mut self.effects);
        self.perform_all()
    }

    fn perform_all(&mut self) -> Option<End> {
        while !self.effects.is_empty() && !self.has_crashed() {
            for effect in std::mem::take(&mut self.effects) {
                let end = self.perform(effect);
                if end.is_some() || self.has_crashed() {
                    return end;
                }
            }
        }
        self.begin_work();
        None
    }

    fn perform(&mut self, effect: Effect) -> Option<End> {
        match effect {
            Effect::Send(id) => self.send(id),
            Effect::Close { client, now } => self.close(client, now),
            Effect::PauseReading { .. } => {} // madsim's sockets have no back-pressure to show.
            Effect::Append { file, bytes } => self.work.append(file, bytes),
            Effect::Sync { file } => self.work.sync(file),
            Effect::Files { ticket, steps } => {
                let cwd = self.shared.disk().cwd(self.process);
                self.work.job(Purpose::Files(ticket), steps, cwd);
            }
            Effect::Fork(job) => self.fork(&job),
            Effect::Save(job) => self.save(&job),
            Effect::Backup(job) => self.back_up(&job),
            Effect::Exchange(exchange) => self.tell(nobody_there(&exchange)),
            Effect::MeasureSpace => {
                let free = self.shared.disk().free_bytes();
                self.tell(Completion::SpaceMeasured(Ok(free)));
            }
            Effect::KillChild(ticket) => self.kill_child(ticket),
            Effect::ChangeDir(path) => {
                let result = self.shared.disk().change_dir(self.process, &path);
                self.tell(Completion::DirChanged(result));
            }
            // Memory of a simulated machine has no end.
            Effect::AdjustOomScore(_) => self.tell(Completion::OomScoreAdjusted(Ok(()))),
            // A simulated connection never falls silent.
            Effect::KeepAlive { .. } => {}
            Effect::Listen { .. } => self.tell(Completion::Listening(Ok(()))),
            Effect::ReadConfig { path } => {
                let result = read_text(&path, &mut self.shared.disk().handle(self.process));
                self.tell(Completion::ConfigRead(result));
            }
            Effect::WriteConfig { path, text } => {
                let cwd = self.shared.disk().cwd(self.process);
                self.work.job(Purpose::Config, config_steps(&path, text), cwd);
            }
            Effect::Sleep { us } => self.sleep_us += us,
            Effect::Exit(status) => return Some(End::Exited(status)),
            Effect::Die(signal) => return Some(End::Died(signal)),
            Effect::Restart => return Some(End::Restart),
        }
        None
    }

    fn tell(&self, completion: Completion) {
        // The receiver lives as long as this server.
        let _ = self.inbox.send(Input::Told(completion));
    }

    /// Lets an input arrive after a delay.
    fn tell_later(&self, delay_us: u64, input: Input) {
        let (shared, inbox) = (self.shared.clone(), self.inbox.clone());
        madsim::task::spawn(async move {
            shared.pause(delay_us).await;
            let _ = inbox.send(input);
        });
    }

    fn send(&mut self, id: ClientId) {
        let output = self.engine.output(id);
        let Some(sender) = self.outputs.get(&id).filter(|_| !output.is_empty()) else { return };
        let piece = Bytes::copy_from_slice(output);
        self.shared.disk().trace_mut().mix_bytes(&piece);
        let count = piece.len();
        // A connection that is gone takes everything: its end is on the way here.
        let _ = sender.send(piece);
        self.engine.sent(self.shared.now(), id, count, &mut self.effects);
    }

    fn close(&mut self, id: ClientId, is_now: bool) {
        if !is_now {
            self.send(id);
        }
        if self.outputs.remove(&id).is_some() {
            self.clients.retain(|_, client| *client != id);
            self.engine.disconnect(self.shared.now(), id, &mut self.effects);
        }
    }

    fn begin_work(&mut self) {
        let config = &self.shared.config;
        while let Some(ready) = self.work.begin() {
            match ready {
                Ready::Append(file, bytes) => {
                    let delay_us = self.shared.draw(|rng| config.write.draw(rng));
                    self.tell_later(delay_us, Input::AppendEnds(file, bytes));
                }
                Ready::Refused(file, error) => {
                    self.tell(Completion::Appended { file, written: 0, error: Some(error) });
                }
                Ready::Sync(file) => {
                    let started = self.shared.disk().sync_begin(self.process, file);
                    let delay_us =
                        self.shared.draw(|rng| config.sync.draw(rng)) + self.shared.disk().take_spent_us();
                    match started {
                        Ok(started) => self.tell_later(delay_us, Input::SyncEnds(file, started, delay_us)),
                        Err(error) => {
                            self.work.sync_ended(file);
                            self.tell(Completion::Synced { file, elapsed_us: 0, error: Some(error) });
                        }
                    }
                }
                Ready::Job => {
                    let delay_us = self.shared.draw(|rng| config.step.draw(rng));
                    self.tell_later(delay_us, Input::JobSteps);
                }
            }
        }
    }

    fn step_job(&mut self) {
        let job = self.work.job_front();
        let result = job.steps.get(job.index).map_or(Ok(()), |step| {
            let mut disk = self.shared.disk();
            let cwd = disk.cwd(self.process);
            disk.set_cwd(self.process, job.cwd);
            let result = disk.handle(self.process).perform(step);
            disk.set_cwd(self.process, cwd);
            result
        });
        let error = result.err().map(|error| (job.index, error));
        job.index += 1;
        if error.is_none() && job.index < job.steps.len() {
            let delay_us = self.shared.draw(|rng| self.shared.config.step.draw(rng));
            return self.tell_later(delay_us, Input::JobSteps);
        }
        let purpose = self.work.job_ended().purpose;
        self.tell(job_completion(purpose, error));
    }

    fn fork(&mut self, job: &SnapshotJob) {
        let process = self.shared.disk().fork(self.process);
        // Not drawn from all: the child of a server never has its parent's number.
        let pid = 200 + process.0 as i32;
        let child = Child::new(process, pid, pid, self.process, job, self.engine.encoder(job));
        self.shared.children.lock().expect("a panic ends the run").insert(process, job.ticket);
        node(self.nodes.children).spawn(write_in_child(child, self.shared.clone(), self.inbox.clone()));
        self.tell(Completion::Forked { ticket: job.ticket, result: Ok(pid), elapsed_us: 100 });
    }

    fn save(&mut self, job: &SnapshotJob) {
        let path = snapshot_path(job, self.pid);
        let mut disk = self.shared.disk();
        let mut handle = disk.handle(self.process);
        let mut encoder = self.engine.encoder(job);
        let result = write_snapshot(&mut *encoder, &path, SNAPSHOT_FILE, &mut handle, &mut |_, _| {});
        drop(encoder);
        drop(disk);
        self.tell(Completion::Saved { ticket: job.ticket, result });
    }

    fn back_up(&mut self, job: &BackupJob) {
        let mut disk = self.shared.disk();
        let result = E::back_up(job, &mut disk.handle(self.process), &mut |_| {});
        drop(disk);
        self.tell(Completion::BackedUp { ticket: job.ticket, result });
    }

    fn kill_child(&mut self, ticket: Ticket) {
        let mut children = self.shared.children.lock().expect("a panic ends the run");
        let found = children.iter().find(|(_, job)| **job == ticket).map(|(process, _)| *process);
        if let Some(process) = found {
            children.remove(&process);
            let mut disk = self.shared.disk();
            disk.kill(process);
            disk.note(Happening::ChildKilled);
            self.tell(Completion::ChildEnded { ticket, end: ChildEnd::Killed(SIGUSR1), cow_size: 0 });
        }
    }
}

/// Everything that has arrived, after waiting for the first at most so long.
async fn wait(patience_us: u64, inputs: &mut UnboundedReceiver<Input>) -> Vec<Input> {
    let mut arrived = Vec::new();
    tokio::select! {
        biased;
        input = inputs.recv() => arrived.extend(input),
        () = time::sleep(Duration::from_micros(patience_us)) => {}
    }
    while let Ok(input) = inputs.try_recv() {
        arrived.push(input);
    }
    arrived
}

/// The life of a snapshot child, on a node that its parent's death does not touch.
async fn write_in_child(mut child: Child, shared: Arc<Shared>, parent: UnboundedSender<Input>) {
    let ticket = child.ticket;
    loop {
        let delay_us = shared.draw(|rng| shared.config.child.draw(rng));
        shared.pause(delay_us).await;
        let outcome = {
            let mut disk = shared.disk();
            if disk.has_tripped() || !disk.is_alive(child.process) {
                return;
            }
            if !disk.is_alive(child.parent) {
                disk.note(Happening::OrphanActed);
            }
            let outcome = child.step(&mut disk.handle(child.process));
            if disk.has_tripped() {
                disk.kill(child.process);
                return;
            }
            outcome
        };
        // A parent that is dead hears nothing.
        match outcome {
            Outcome::GoesOn { pause_us, progress } => {
                if let Some(keys) = progress {
                    let _ = parent.send(Input::Told(Completion::ChildProgress { ticket, keys, cow_size: 0 }));
                }
                shared.pause(pause_us).await;
            }
            Outcome::Ended(result) => {
                shared.children.lock().expect("a panic ends the run").remove(&child.process);
                shared.disk().kill(child.process);
                let end = result.map_or_else(ChildEnd::Failed, ChildEnd::Written);
                let _ = parent.send(Input::Told(Completion::ChildEnded { ticket, end, cow_size: 0 }));
                return;
            }
        }
    }
}

/// Takes connections for as long as the node lives.
async fn accept(inbox: UnboundedSender<Input>) {
    let listener = TcpListener::bind(ADDRESS).await.expect("the address of this node");
    for number in 0.. {
        let Ok((stream, peer)) = listener.accept().await else { return };
        let (reader, mut writer) = tokio::io::split(stream);
        let (output, mut pieces) = unbounded_channel::<Bytes>();
        if inbox.send(Input::Opened(number, peer, output)).is_err() {
            return;
        }
        madsim::task::spawn(read(number, reader, inbox.clone()));
        madsim::task::spawn(async move {
            while let Some(piece) = pieces.recv().await {
                if writer.write_all(&piece).await.is_err() || writer.flush().await.is_err() {
                    return;
                }
            }
            // The client learns of the end from the socket.
            let _ = writer.shutdown().await;
        });
    }
}

async fn read(number: u64, mut reader: tokio::io::ReadHalf<TcpStream>, inbox: UnboundedSender<Input>) {
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let input = match reader.read(&mut bytes).await {
            Ok(count) if count > 0 => Input::Received(number, Bytes::copy_from_slice(&bytes[..count])),
            Ok(_) | Err(_) => Input::HungUp(number),
        };
        let is_over = matches!(input, Input::HungUp(_));
        if inbox.send(input).is_err() || is_over {
            return;
        }
    }
}

fn peer_of(address: SocketAddr) -> Peer {
    Peer {
        address: address.to_string(),
        local_address: ADDRESS.into(),
        is_unix: false,
        is_local: true,
        descriptor: 8,
    }
}
