//! The simulated world around one server: clocks, processes, clients and the disk, one event at a time.
//!
//! Exists to run the engine that production runs, with every delay and every disaster chosen by a seed. The user of a
//! world connects clients, sends bytes, plans crashes, calls [`World::step`], and looks.
//!
//! Always true: an event happens at its time, events of one time in the order they were planned; the same seed and the
//! same calls give the same [`World::digest`]; a dead process never acts again.
//!
//! Not here: the disk (`disk.rs`), the order of disk work (`work.rs`), what is right (`harness/`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use bytes::Bytes;
use perdura_core::host::{
    BackupJob, ChildEnd, ClientId, Completion, Disk, EIO, ENOENT, Effect, Engine, Exchange, ExchangeStep,
    FileId, FileStep, IoError, Peer, Signal, SnapshotJob, Ticket, write_snapshot,
};
use perdura_core::time::Now;

use crate::child::{Child, Outcome, SNAPSHOT_FILE, snapshot_path};
use crate::client::{Client, ClientKey};
use crate::disk::{Moment, ProcessId, SimDisk};
use crate::mutant::HostMutant;
use crate::profile::Profile;
use crate::rng::SimRng;
use crate::server::{Input, Server};
use crate::sometimes::{Happening, Sometimes};
use crate::work::{Purpose, Ready};

/// How long things take, microseconds, drawn evenly between the two ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delay {
    /// Shortest.
    pub min_us: u64,
    /// Longest.
    pub max_us: u64,
}

impl Delay {
    /// Between two ends.
    pub const fn between(min_us: u64, max_us: u64) -> Delay {
        Delay { min_us, max_us }
    }

    pub(crate) fn draw(self, rng: &mut SimRng) -> u64 {
        rng.between(self.min_us, self.max_us)
    }
}

/// What a world is made of, besides its seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorldConfig {
    /// The file system.
    pub profile: Profile,
    /// From one end of a connection to the other.
    pub network: Delay,
    /// An append into the page cache.
    pub write: Delay,
    /// A sync.
    pub sync: Delay,
    /// Of a thousand syncs so many take 1 to 5 seconds.
    pub slow_sync_permille: u32,
    /// A rename and its kin.
    pub step: Delay,
    /// From one call of a snapshot child to the next.
    pub child: Delay,
    /// From the first input to the turn: what arrives meanwhile is handed in together.
    pub turn: Delay,
    /// Of a thousand pieces sent or taken so many are cut somewhere.
    pub cut_permille: u32,
    /// The wall clock at the beginning, microseconds since 1970.
    pub wall_start_us: u64,
    /// A mistake that the host makes.
    pub mutant: Option<HostMutant>,
}

impl WorldConfig {
    /// An ordinary machine with this file system.
    pub fn new(profile: Profile) -> WorldConfig {
        WorldConfig {
            profile,
            network: Delay::between(10, 300),
            write: Delay::between(2, 60),
            sync: Delay::between(50, 8_000),
            slow_sync_permille: 5,
            step: Delay::between(10, 400),
            child: Delay::between(20, 5_000),
            turn: Delay::between(0, 40),
            cut_permille: 100,
            wall_start_us: WALL_STARTS_US[0],
            mutant: None,
        }
    }
}

/// What a new process is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Boot {
    /// The time.
    pub now: Now,
    /// For its own choices.
    pub seed: u64,
    /// Its process id, which an earlier process may have had.
    pub pid: i32,
}

/// Ways to lose a process, or all of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Crash {
    /// kill -9 of the server; its snapshot children live on (K1).
    Server,
    /// kill -9 of the server and its children (K2).
    Group,
    /// Power loss (K3).
    Power,
    /// SIGKILL of the snapshot children, as by the OOM killer (K4). A crash point reached by the server itself
    /// kills the server as well.
    Children,
}

/// How a run of the server ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal it asked for.
    Died(i32),
    /// By itself, to be started again.
    Restart,
    /// By a crash.
    Crashed(Crash),
}

/// What a step was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing is left to happen.
    Idle,
    /// Something happened.
    Went,
    /// The server is gone; [`World::start`] starts the next.
    Ended(End),
}

/// The world.
pub struct World<E> {
    config: WorldConfig,
    rng: SimRng,
    mono_us: u64,
    /// Wall clock minus monotonic clock.
    wall_offset_us: i64,
    /// What the wall clock shows while it stands still.
    wall_stopped_us: Option<u64>,
    disk: SimDisk,
    events: BinaryHeap<Reverse<Planned>>,
    event_next: u64,
    server: Option<Server<E>>,
    children: BTreeMap<ProcessId, Child>,
    clients: BTreeMap<ClientKey, Client>,
    client_next: u64,
    pids_used: BTreeSet<i32>,
    crash_planned: Option<(Crash, Moment)>,
    fork_failures: VecDeque<i32>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Planned {
    at_us: u64,
    number: u64,
    event: Event,
}

/// Events compare by time and number alone: no two have the same number.
enum Event {
    Opens(ClientKey),
    Arrives(ClientKey),
    HangsUp(ClientKey),
    Writable(ClientKey),
    Output(ClientKey),
    ServerClosed(ClientKey),
    AppendEnds(ProcessId, FileId),
    SyncEnds(ProcessId, FileId),
    JobSteps(ProcessId),
    Told(ProcessId, Completion),
    ChildSteps(ProcessId),
}

impl PartialEq for Event {
    fn eq(&self, _: &Event) -> bool {
        true
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, _: &Event) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// Wall clocks worth starting at, microseconds since 1970: an ordinary day; a board without a clock battery, which wakes up in
/// 1970; seconds before a signed 32-bit second overflows (January 2038); seconds before an unsigned one does (February 2106).
pub const WALL_STARTS_US: [u64; 4] =
    [1_767_225_600_000_000, 5_000_000, 2_147_483_645_000_000, 4_294_967_293_000_000];
/// Process ids, few so that they are used again.
const PIDS: std::ops::RangeInclusive<i32> = 100..=115;
/// How a child ends that the engine asks to end.
pub(crate) const SIGUSR1: i32 = 10;
/// How a child ends that is killed by the system.
pub(crate) const SIGKILL: i32 = 9;
/// The handle under which the configuration file is written.
const CONFIG_FILE: FileId = FileId(u32::MAX - 1);

impl<E: Engine> World<E> {
    /// A world with an empty disk and no server.
    pub fn new(seed: u64, config: WorldConfig) -> World<E> {
        let mut rng = SimRng::new(seed);
        let disk = SimDisk::new(config.profile, rng.number());
        World::with_disk(rng.number(), config, disk)
    }

    /// A world around a disk that has a past.
    pub fn with_disk(seed: u64, config: WorldConfig, disk: SimDisk) -> World<E> {
        let mut world = World {
            rng: SimRng::new(seed),
            mono_us: 1_000_000,
            wall_offset_us: config.wall_start_us as i64,
            wall_stopped_us: None,
            config,
            disk,
            events: BinaryHeap::new(),
            event_next: 0,
            server: None,
            children: BTreeMap::new(),
            clients: BTreeMap::new(),
            client_next: 1,
            pids_used: BTreeSet::new(),
            crash_planned: None,
            fork_failures: VecDeque::new(),
        };
        world.disk.set_now(world.now());
        world.disk.set_mutant(world.config.mutant);
        world
    }

    /// Starts a server.
    ///
    /// # Panics
    /// One is running.
    pub fn start(&mut self, boot: impl FnOnce(Boot) -> E) {
        assert!(self.server.is_none(), "one server at a time");
        let (process, pid) = (self.disk.spawn(), self.take_pid(None));
        let engine = boot(Boot { now: self.now(), seed: self.rng.number(), pid });
        let mut server = Server::new(engine, process, pid, self.mono_us);
        server.work.syncs_overtake = self.config.mutant == Some(HostMutant::SyncOvertakesAppends);
        self.server = Some(server);
    }

    /// Lets the next thing happen.
    pub fn step(&mut self) -> Step {
        let event_us = self.events.peek().map(|planned| planned.0.at_us);
        let server_us = self.server.as_ref().map(Server::due_us).filter(|at_us| *at_us < u64::MAX);
        match (event_us, server_us) {
            (None, None) => Step::Idle,
            (Some(event_us), server_us) if server_us.is_none_or(|server_us| event_us <= server_us) => {
                self.set_time(event_us);
                let Reverse(planned) = self.events.pop().expect("just looked at");
                self.happen(planned.event);
                self.crash_if_due().map_or(Step::Went, Step::Ended)
            }
            (_, server_us) => {
                self.set_time(server_us.expect("the other arm took it"));
                self.turn().map_or(Step::Went, Step::Ended)
            }
        }
    }

    /// Steps until the clock has gone on by `us`, or the server ended.
    pub fn run_for(&mut self, us: u64) -> Option<End> {
        let until_us = self.mono_us + us;
        while self.next_us().is_some_and(|at_us| at_us <= until_us) {
            if let Step::Ended(end) = self.step() {
                return Some(end);
            }
        }
        self.set_time(until_us);
        None
    }

    /// Steps until `is_done`, at most for `us`. False if the time went by or the server ended before.
    pub fn run_until(&mut self, us: u64, mut is_done: impl FnMut(&World<E>) -> bool) -> bool {
        let until_us = self.mono_us + us;
        while !is_done(self) {
            let is_over = self.next_us().is_none_or(|at_us| at_us > until_us);
            if is_over || matches!(self.step(), Step::Ended(_)) {
                return false;
            }
        }
        true
    }

    // Clients.

    /// A client sets out to connect.
    pub fn connect(&mut self) -> ClientKey {
        let key = ClientKey(self.client_next);
        self.client_next += 1;
        let at_us = self.mono_us + self.config.network.draw(&mut self.rng);
        self.clients.insert(key, Client { to_server_last_us: at_us, ..Client::default() });
        self.plan(at_us, Event::Opens(key));
        key
    }

    /// A client sends bytes, which arrive in order, whole or in pieces.
    pub fn send(&mut self, key: ClientKey, bytes: impl Into<Bytes>) {
        let mut bytes = bytes.into();
        while !bytes.is_empty() {
            let is_cut = bytes.len() > 1 && self.rng.chance(self.config.cut_permille);
            let count =
                if is_cut { self.rng.between(1, bytes.len() as u64 - 1) as usize } else { bytes.len() };
            let piece = bytes.split_to(count);
            self.deliver(key, Event::Arrives(key), Some(piece));
        }
    }

    /// A client hangs up; what it sent before still arrives.
    pub fn hang_up(&mut self, key: ClientKey) {
        self.deliver(key, Event::HangsUp(key), None);
    }

    /// A connection breaks: what was on its way to the server is lost.
    pub fn cut(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(&key) {
            let on_the_way = client.to_server.len() - client.arrived_count;
            if on_the_way > 0 {
                client.to_server.truncate(client.arrived_count);
                self.disk.note(Happening::ClientCut);
            }
            self.hang_up(key);
        }
    }

    /// Whether the client reads: while it does not, the server's output stays with the engine.
    pub fn set_reading(&mut self, key: ClientKey, is_reading: bool) {
        if let Some(client) = self.clients.get_mut(&key) {
            client.is_stuck = !is_reading;
            if is_reading {
                self.plan(self.mono_us + 1, Event::Writable(key));
            }
        }
    }

    /// Output that arrived at the client and was not taken yet.
    pub fn received(&self, key: ClientKey) -> &[u8] {
        self.clients.get(&key).map_or(&[], |client| &client.received)
    }

    /// Takes the output that arrived.
    pub fn take(&mut self, key: ClientKey) -> Vec<u8> {
        self.clients.get_mut(&key).map(|client| std::mem::take(&mut client.received)).unwrap_or_default()
    }

    /// Bytes the kernel took for this client so far, arrived or not. The disk at the end of the step in which this
    /// grows is what those bytes rest on.
    pub fn released_bytes(&self, key: ClientKey) -> u64 {
        self.clients.get(&key).map_or(0, |client| client.released_bytes)
    }

    /// Whether the connection is over and nothing more will be received.
    pub fn is_closed(&self, key: ClientKey) -> bool {
        self.clients.get(&key).is_none_or(|client| client.is_closed)
    }

    /// Forgets a closed connection.
    pub fn forget(&mut self, key: ClientKey) {
        if self.is_closed(key) && self.clients.get(&key).is_some_and(|client| client.engine_id.is_none()) {
            self.clients.remove(&key);
        }
    }

    // What goes wrong.

    /// Crashes now. Returns how the server ended, if one was running and is not any more.
    pub fn crash(&mut self, crash: Crash) -> Option<End> {
        self.crash_planned = None;
        self.disk.disarm();
        match crash {
            Crash::Server => self.kill_server(crash),
            Crash::Group => {
                self.kill_children();
                self.kill_server(crash)
            }
            Crash::Children => {
                self.kill_children();
                None
            }
            Crash::Power => {
                let end = self.server.take().map(|server| self.note_death(&server, crash));
                self.children.clear();
                self.cut_clients(true);
                let mut rng = self.rng.split();
                self.disk.lose_power(&mut rng);
                end
            }
        }
    }

    /// Crashes around the disk operation of this number (see [`SimDisk::operation_next`]).
    pub fn crash_at(&mut self, operation: u64, moment: Moment, crash: Crash) {
        self.crash_planned = Some((crash, moment));
        self.disk.arm(operation, moment);
    }

    /// Sends the server a signal; SIGTERM is how a lossless stop begins (K7).
    pub fn signal(&mut self, signal: Signal) {
        self.hand_in(Input::Signalled(signal));
    }

    /// The next fork fails with this error number.
    pub fn fail_fork(&mut self, errno: i32) {
        self.fork_failures.push_back(errno);
    }

    /// Moves the wall clock, and only that: a step of NTP, an operator, a virtual machine that was moved. Not before 1970.
    pub fn jump_wall_clock(&mut self, us: i64) {
        self.wall_stopped_us = self.wall_stopped_us.map(|at_us| at_us.saturating_add_signed(us));
        self.wall_offset_us = (self.wall_offset_us + us).max(-(self.mono_us as i64));
        self.disk.set_now(self.now());
        self.disk.note(if us < 0 { Happening::WallClockWentBack } else { Happening::WallClockJumped });
    }

    /// Stops the wall clock, as a slewing NTP daemon or a paused virtual machine's clock source may for a while.
    pub fn stop_wall_clock(&mut self) {
        self.wall_stopped_us = Some(self.now().wall_us);
        self.disk.note(Happening::WallClockStoodStill);
    }

    /// Lets the wall clock go on from where it stands.
    pub fn go_on_wall_clock(&mut self) {
        if let Some(at_us) = self.wall_stopped_us.take() {
            self.wall_offset_us = at_us as i64 - self.mono_us as i64;
        }
    }

    // What is known.

    /// Both clocks.
    pub fn now(&self) -> Now {
        let running_us = (self.mono_us as i64 + self.wall_offset_us).max(0) as u64;
        Now { mono_us: self.mono_us, wall_us: self.wall_stopped_us.unwrap_or(running_us) }
    }

    /// The running server's engine.
    pub fn engine(&self) -> Option<&E> {
        self.server.as_ref().map(|server| &*server.engine)
    }

    /// Snapshot children that are alive, orphans included.
    pub fn children_count(&self) -> usize {
        self.children.len()
    }

    /// The disk.
    pub fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// The disk, for planning faults.
    pub fn disk_mut(&mut self) -> &mut SimDisk {
        &mut self.disk
    }

    /// The disk alone, for what comes after this world.
    pub fn into_disk(self) -> SimDisk {
        self.disk
    }

    /// Digest of everything that happened so far.
    pub fn digest(&self) -> u64 {
        self.disk.trace().digest()
    }

    /// What has happened so far.
    pub fn sometimes(&self) -> &Sometimes {
        self.disk.sometimes()
    }

    // Time and events.

    fn next_us(&self) -> Option<u64> {
        let event_us = self.events.peek().map(|planned| planned.0.at_us);
        let server_us = self.server.as_ref().map(Server::due_us).filter(|at_us| *at_us < u64::MAX);
        event_us.into_iter().chain(server_us).min()
    }

    fn set_time(&mut self, mono_us: u64) {
        self.mono_us = self.mono_us.max(mono_us);
        self.disk.set_now(self.now());
    }

    fn plan(&mut self, at_us: u64, event: Event) {
        self.events.push(Reverse(Planned { at_us, number: self.event_next, event }));
        self.event_next += 1;
    }

    fn plan_in(&mut self, delay: Delay, event: Event) {
        let at_us = self.mono_us + delay.draw(&mut self.rng);
        self.plan(at_us, event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Opens(key) => self.opens(key),
            Event::Arrives(key) => self.arrives(key),
            Event::HangsUp(key) => self.hand_in(Input::HungUp(key)),
            Event::Writable(key) => self.hand_in(Input::Writable(key)),
            Event::Output(key) => self.output_arrives(key),
            Event::ServerClosed(key) => {
                if let Some(client) = self.clients.get_mut(&key) {
                    client.is_closed = true;
                }
            }
            Event::Told(process, completion) => {
                if self.is_server(process) {
                    self.hand_in(Input::Completed(completion));
                }
            }
            Event::AppendEnds(process, file) => {
                self.with_server(process, |world, server| world.end_append(server, file))
            }
            Event::SyncEnds(process, file) => {
                self.with_server(process, |world, server| world.end_sync(server, file))
            }
            Event::JobSteps(process) => self.with_server(process, World::step_job),
            Event::ChildSteps(process) => self.step_child(process),
        }
    }

    fn is_server(&self, process: ProcessId) -> bool {
        self.server.as_ref().is_some_and(|server| server.process == process)
    }

    /// Does something with the server, if it is still the same run of it.
    fn with_server(&mut self, process: ProcessId, act: impl FnOnce(&mut World<E>, &mut Server<E>)) {
        if let Some(mut server) = self.server.take_if(|server| server.process == process) {
            act(self, &mut server);
            self.server = Some(server);
        }
    }

    fn hand_in(&mut self, input: Input) {
        let turn = self.config.turn.draw(&mut self.rng);
        if let Some(server) = &mut self.server {
            if server.inbox.is_empty() {
                server.turn_at_us = self.mono_us + turn;
            }
            server.inbox.push_back(input);
        }
    }

    // Connections.

    fn deliver(&mut self, key: ClientKey, event: Event, piece: Option<Bytes>) {
        let delay = self.config.network.draw(&mut self.rng);
        if let Some(client) = self.clients.get_mut(&key) {
            let at_us = client.to_server_last_us.max(self.mono_us + delay);
            client.to_server_last_us = at_us;
            client.to_server.extend(piece);
            self.plan(at_us, event);
        }
    }

    fn opens(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        if self.server.is_some() {
            client.is_open = true;
            self.hand_in(Input::Opened(key));
        } else {
            client.is_closed = true;
        }
    }

    fn arrives(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(&key)
            && client.arrived_count < client.to_server.len()
        {
            client.arrived_count += 1;
            self.hand_in(Input::Readable(key));
        }
    }

    fn output_arrives(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(&key)
            && let Some(piece) = client.to_client.pop_front()
        {
            client.received.extend_from_slice(&piece);
        }
    }

    /// The kernel closes all connections of a dead server, what it had taken still arrives, or not.
    fn cut_clients(&mut self, may_lose_output: bool) {
        let keys: Vec<ClientKey> = self.clients.keys().copied().collect();
        for key in keys {
            let is_output_lost = may_lose_output && self.rng.chance(500);
            let client = self.clients.get_mut(&key).expect("listed above");
            if client.is_closed || !client.is_open {
                continue;
            }
            if client.arrived_count < client.to_server.len() {
                self.disk.note(Happening::ClientCut);
            }
            client.engine_id = None;
            client.to_server.clear();
            client.arrived_count = 0;
            if is_output_lost {
                client.to_client.clear();
            }
            let at_us = client.to_client_last_us.max(self.mono_us);
            self.plan(at_us, Event::ServerClosed(key));
        }
    }

    // Turns.

    fn turn(&mut self) -> Option<End> {
        let mut server = self.server.take()?;
        let end = self.turn_of(&mut server);
        self.disk.trace_mut().mix(self.mono_us);
        match end {
            None => {
                server.turned_at_us = self.mono_us;
                if server.engine.is_loading() {
                    server.turn_at_us = self.mono_us + self.rng.between(1, 100);
                }
                self.server = Some(server);
                self.crash_if_due()
            }
            Some(End::Crashed(_)) => {
                self.server = Some(server);
                self.crash_if_due()
            }
            Some(end) => {
                self.leave(&mut server, end);
                Some(end)
            }
        }
    }

    /// One turn; `Some` if the process ended in it.
    fn turn_of(&mut self, server: &mut Server<E>) -> Option<End> {
        if server.inbox.len() > 1 {
            self.disk.note(Happening::InputsCoalesced);
        }
        while let Some(input) = server.inbox.pop_front() {
            self.take_in(server, input);
            if server.has_urgent_effects() {
                let end = self.perform_all(server);
                if end.is_some() {
                    return end;
                }
            }
        }
        if server.engine.is_loading() {
            server.engine.load(self.now(), &mut self.disk.handle(server.process), &mut server.effects);
            server.free_at_us = self.mono_us + self.disk.take_spent_us();
            if self.disk.has_tripped() {
                self.disk.note(Happening::CrashInRecovery);
                return Some(End::Crashed(Crash::Server));
            }
        }
        server.engine.turn(self.now(), &mut server.effects);
        self.perform_all(server)
    }

    fn take_in(&mut self, server: &mut Server<E>, input: Input) {
        let now = self.now();
        match input {
            Input::Opened(key) => {
                let id = server.engine.connect(now, peer(key), &mut server.effects);
                server.clients.insert(id, key);
                if let Some(client) = self.clients.get_mut(&key) {
                    client.engine_id = Some(id);
                }
            }
            Input::Readable(key) => self.read(server, key),
            Input::Writable(key) => {
                if let Some(id) = self.clients.get(&key).and_then(|client| client.engine_id) {
                    server.effects.push(Effect::Send(id));
                }
            }
            Input::HungUp(key) => {
                let Some(client) = self.clients.get_mut(&key) else { return };
                client.is_closed = true;
                if let Some(id) = client.engine_id.take() {
                    server.clients.remove(&id);
                    server.engine.disconnect(now, id, &mut server.effects);
                }
            }
            Input::Completed(completion) => {
                if let Completion::Appended { file, error: Some(_), .. } = &completion {
                    server.work.failure_told(*file);
                }
                server.engine.complete(now, completion, &mut server.effects);
            }
            Input::Signalled(signal) => server.engine.signal(now, signal, &mut server.effects),
        }
    }

    fn read(&mut self, server: &mut Server<E>, key: ClientKey) {
        let now = self.now();
        let Some(client) = self.clients.get_mut(&key) else { return };
        let Some(id) = client.engine_id.filter(|_| !client.is_paused && !client.is_closing) else { return };
        if client.arrived_count > 0
            && let Some(piece) = client.to_server.pop_front()
        {
            client.arrived_count -= 1;
            server.engine.receive(now, id, &piece, &mut server.effects);
        }
    }

    /// Performs effects in order, and those that performing them gives, until none is left or the process ends.
    fn perform_all(&mut self, server: &mut Server<E>) -> Option<End> {
        while !server.effects.is_empty() {
            for effect in std::mem::take(&mut server.effects) {
                let end = self.perform(server, effect);
                if end.is_some() {
                    return end;
                }
            }
            self.begin_work(server);
        }
        self.begin_work(server);
        None
    }

    fn perform(&mut self, server: &mut Server<E>, effect: Effect) -> Option<End> {
        match effect {
            Effect::Send(id) => self.send_output(server, id),
            Effect::Close { client, now } => self.close(server, client, now),
            Effect::PauseReading { client, pause } => self.pause_reading(server, client, pause),
            Effect::Append { file, bytes } => server.work.append(file, bytes),
            Effect::Sync { file } => server.work.sync(file),
            Effect::Files { ticket, steps } => {
                server.work.job(Purpose::Files(ticket), steps, self.disk.cwd(server.process));
            }
            Effect::Fork(job) => self.fork(server, &job),
            Effect::Save(job) => return self.save(server, &job),
            Effect::Backup(job) => return self.back_up(server, &job),
            Effect::Exchange(exchange) => self.tell_now(server, nobody_there(&exchange)),
            Effect::MeasureSpace => {
                let free = self.disk.free_bytes();
                self.tell_now(server, Completion::SpaceMeasured(Ok(free)));
            }
            Effect::KillChild(ticket) => self.kill_child_of(server.process, ticket),
            Effect::ChangeDir(path) => {
                let result = self.disk.change_dir(server.process, &path);
                self.tell_now(server, Completion::DirChanged(result));
            }
            // Memory of a simulated machine has no end.
            Effect::AdjustOomScore(_) => self.tell_now(server, Completion::OomScoreAdjusted(Ok(()))),
            // A simulated connection never falls silent.
            Effect::KeepAlive { .. } => {}
            Effect::Listen { .. } => self.tell_now(server, Completion::Listening(Ok(()))),
            Effect::ReadConfig { path } => {
                let result = read_text(&path, &mut self.disk.handle(server.process));
                self.tell_now(server, Completion::ConfigRead(result));
            }
            Effect::WriteConfig { path, text } => {
                server.work.job(Purpose::Config, config_steps(&path, text), self.disk.cwd(server.process));
            }
            Effect::Sleep { us } => server.free_at_us = server.free_at_us.max(self.mono_us) + us,
            Effect::Exit(status) => return Some(End::Exited(status)),
            Effect::Die(signal) => return Some(End::Died(signal)),
            Effect::Restart => return Some(End::Restart),
        }
        None
    }

    fn tell_now(&mut self, server: &mut Server<E>, completion: Completion) {
        if server.inbox.is_empty() {
            server.turn_at_us = self.mono_us;
        }
        server.inbox.push_back(Input::Completed(completion));
    }

    fn tell(&mut self, process: ProcessId, completion: Completion) {
        let delay = self.rng.between(0, 20) + self.disk.take_spent_us();
        self.plan(self.mono_us + delay, Event::Told(process, completion));
    }

    fn send_output(&mut self, server: &mut Server<E>, id: ClientId) {
        let Some(&key) = server.clients.get(&id) else { return };
        let Some(client) = self.clients.get_mut(&key) else { return };
        let output = server.engine.output(id);
        if !output.is_empty() && !client.is_stuck {
            let is_cut = output.len() > 1 && self.rng.chance(self.config.cut_permille);
            let count =
                if is_cut { self.rng.between(1, output.len() as u64 - 1) as usize } else { output.len() };
            let piece = Bytes::copy_from_slice(&output[..count]);
            self.disk.trace_mut().mix_bytes(&piece);
            client.released_bytes += count as u64;
            client.to_client.push_back(piece);
            let delay = self.config.network.draw(&mut self.rng);
            client.to_client_last_us = client.to_client_last_us.max(self.mono_us + delay);
            let at_us = client.to_client_last_us;
            self.plan(at_us, Event::Output(key));
            if is_cut {
                self.disk.note(Happening::OutputTakenInPart);
                self.plan(at_us, Event::Writable(key));
            }
            server.engine.sent(self.now(), id, count, &mut server.effects);
        }
        let is_done = server.engine.output(id).is_empty();
        if is_done && self.clients.get(&key).is_some_and(|client| client.is_closing) {
            self.close(server, id, true);
        }
    }

    fn close(&mut self, server: &mut Server<E>, id: ClientId, is_now: bool) {
        let Some(&key) = server.clients.get(&id) else { return };
        let Some(client) = self.clients.get_mut(&key) else { return };
        if !is_now && !server.engine.output(id).is_empty() {
            client.is_closing = true;
            if !client.is_stuck {
                server.effects.push(Effect::Send(id));
            }
            return;
        }
        client.engine_id = None;
        server.clients.remove(&id);
        let at_us = client.to_client_last_us.max(self.mono_us);
        self.plan(at_us, Event::ServerClosed(key));
        server.engine.disconnect(self.now(), id, &mut server.effects);
    }

    fn pause_reading(&mut self, server: &mut Server<E>, id: ClientId, is_paused: bool) {
        let Some(&key) = server.clients.get(&id) else { return };
        let Some(client) = self.clients.get_mut(&key) else { return };
        client.is_paused = is_paused;
        if !is_paused {
            if server.inbox.is_empty() {
                server.turn_at_us = self.mono_us;
            }
            server.inbox.extend((0..client.arrived_count).map(|_| Input::Readable(key)));
        }
    }

    // Work on the disk.

    fn begin_work(&mut self, server: &mut Server<E>) {
        let process = server.process;
        while let Some(ready) = server.work.begin() {
            match ready {
                Ready::Append(file, bytes) => {
                    server.appends.insert(file, bytes);
                    let stall_us = self.disk.append_stall_us(process, file);
                    let at_us = self.mono_us + self.config.write.draw(&mut self.rng) + stall_us;
                    self.plan(at_us, Event::AppendEnds(process, file));
                }
                Ready::Refused(file, error) => {
                    self.tell(process, Completion::Appended { file, written: 0, error: Some(error) });
                }
                Ready::Sync(file) => self.begin_sync(server, file),
                Ready::Job => self.plan_in(self.config.step, Event::JobSteps(process)),
            }
        }
    }

    fn begin_sync(&mut self, server: &mut Server<E>, file: FileId) {
        let process = server.process;
        match self.disk.sync_begin(process, file) {
            Ok(started) => {
                server.syncs.insert(file, (started, self.mono_us));
                let delay_us = self.sync_delay_us() + self.disk.take_spent_us();
                self.plan(self.mono_us + delay_us, Event::SyncEnds(process, file));
            }
            Err(error) => {
                server.work.sync_ended(file);
                self.tell(process, Completion::Synced { file, elapsed_us: 0, error: Some(error) });
            }
        }
    }

    fn sync_delay_us(&mut self) -> u64 {
        if self.rng.chance(self.config.slow_sync_permille) {
            self.disk.note(Happening::SyncOverOneSecond);
            self.rng.between(1_000_001, 5_000_000)
        } else {
            self.config.sync.draw(&mut self.rng)
        }
    }

    fn end_append(&mut self, server: &mut Server<E>, file: FileId) {
        let bytes = server.appends.remove(&file).expect("begun");
        let (written, error) = self.disk.append(server.process, file, &bytes);
        if self.disk.has_tripped() {
            return;
        }
        // A stall that was planned while it was under way comes too late: what waits for it may begin now.
        self.disk.take_spent_us();
        server.work.append_ended(file, error.as_ref());
        self.tell(server.process, Completion::Appended { file, written, error });
        self.begin_work(server);
    }

    fn end_sync(&mut self, server: &mut Server<E>, file: FileId) {
        let (started, began_us) = server.syncs.remove(&file).expect("begun");
        let error = self.disk.sync_end(&started).err();
        if self.disk.has_tripped() {
            return;
        }
        server.work.sync_ended(file);
        self.tell(server.process, Completion::Synced { file, elapsed_us: self.mono_us - began_us, error });
        self.begin_work(server);
    }

    fn step_job(&mut self, server: &mut Server<E>) {
        let process = server.process;
        let job = server.work.job_front();
        let cwd = self.disk.cwd(process);
        self.disk.set_cwd(process, job.cwd);
        let mut result =
            job.steps.get(job.index).map_or(Ok(()), |step| self.disk.handle(process).perform(step));
        if self.config.mutant == Some(HostMutant::StepsGoOnAfterError) && !self.disk.has_tripped() {
            result = Ok(());
        }
        self.disk.set_cwd(process, cwd);
        if self.disk.has_tripped() {
            return;
        }
        let error = result.err().map(|error| (job.index, error));
        job.index += 1;
        if error.is_none() && job.index < job.steps.len() {
            let is_sync = matches!(
                job.steps[job.index],
                FileStep::Sync { .. } | FileStep::SyncPath { .. } | FileStep::SyncDir { .. }
            );
            let delay_us = if is_sync { self.sync_delay_us() } else { self.config.step.draw(&mut self.rng) };
            let at_us = self.mono_us + delay_us + self.disk.take_spent_us();
            self.plan(at_us, Event::JobSteps(process));
            return;
        }
        let completion = job_completion(server.work.job_ended().purpose, error);
        self.tell(process, completion);
        self.begin_work(server);
    }

    // Snapshots.

    fn fork(&mut self, server: &mut Server<E>, job: &SnapshotJob) {
        let elapsed_us = self.rng.between(50, 2_000);
        server.free_at_us = server.free_at_us.max(self.mono_us) + elapsed_us;
        let ticket = job.ticket;
        if let Some(errno) = self.fork_failures.pop_front() {
            self.disk.note(Happening::ForkFailed);
            self.tell_now(server, Completion::Forked { ticket, result: Err(errno), elapsed_us });
            return;
        }
        let (process, pid) = (self.disk.fork(server.process), self.take_pid(Some(server.pid)));
        let pid_in_name = if self.config.mutant == Some(HostMutant::TempNameShared) { 0 } else { pid };
        let child = Child::new(process, pid, pid_in_name, server.process, job, server.engine.encoder(job));
        self.children.insert(process, child);
        self.plan_in(self.config.child, Event::ChildSteps(process));
        self.tell_now(server, Completion::Forked { ticket, result: Ok(pid), elapsed_us });
    }

    fn save(&mut self, server: &mut Server<E>, job: &SnapshotJob) -> Option<End> {
        let path = snapshot_path(job, server.pid);
        let mut encoder = server.engine.encoder(job);
        let mut disk = self.disk.handle(server.process);
        let result = write_snapshot(&mut *encoder, &path, SNAPSHOT_FILE, &mut disk, &mut |_, _| {});
        drop(encoder);
        if self.disk.has_tripped() {
            return Some(End::Crashed(Crash::Server));
        }
        let spent_us = self.config.sync.draw(&mut self.rng) + self.disk.take_spent_us();
        server.free_at_us = server.free_at_us.max(self.mono_us) + spent_us;
        self.tell_now(server, Completion::Saved { ticket: job.ticket, result });
        None
    }

    /// At once, as far as the server can tell: the real host has a thread for it, whose steps a crash may fall between too.
    fn back_up(&mut self, server: &mut Server<E>, job: &BackupJob) -> Option<End> {
        let mut disk = self.disk.handle(server.process);
        let result = E::back_up(job, &mut disk, &mut |_| {});
        if self.disk.has_tripped() {
            return Some(End::Crashed(Crash::Server));
        }
        let ticket = job.ticket;
        self.tell_now(server, Completion::BackedUp { ticket, result });
        None
    }

    fn step_child(&mut self, process: ProcessId) {
        let Some(mut child) = self.children.remove(&process) else { return };
        if !self.is_server(child.parent) {
            self.disk.note(Happening::OrphanActed);
        }
        let outcome = child.step(&mut self.disk.handle(process));
        if self.disk.has_tripped() {
            self.children.insert(process, child);
            return;
        }
        let (parent, ticket) = (child.parent, child.ticket);
        match outcome {
            Outcome::GoesOn { pause_us, progress } => {
                if let Some(keys) = progress {
                    self.tell(parent, Completion::ChildProgress { ticket, keys, cow_size: 0 });
                }
                let delay_us = pause_us + self.config.child.draw(&mut self.rng) + self.disk.take_spent_us();
                self.plan(self.mono_us + delay_us, Event::ChildSteps(process));
                self.children.insert(process, child);
            }
            Outcome::Ended(result) => {
                self.disk.kill(process);
                let end = result.map_or_else(ChildEnd::Failed, ChildEnd::Written);
                self.tell(parent, Completion::ChildEnded { ticket, end, cow_size: 0 });
            }
        }
    }

    fn kill_child_of(&mut self, parent: ProcessId, ticket: Ticket) {
        let is_it = |child: &&Child| child.parent == parent && child.ticket == ticket;
        if let Some(process) = self.children.values().find(is_it).map(|child| child.process) {
            self.kill_child(process, SIGUSR1);
        }
    }

    fn kill_child(&mut self, process: ProcessId, signal: i32) {
        let child = self.children.remove(&process).expect("it lives");
        self.disk.kill(process);
        self.disk.note(Happening::ChildKilled);
        let end = if self.config.mutant == Some(HostMutant::ChildStatusIgnored) {
            ChildEnd::Written(child.as_if_written())
        } else {
            ChildEnd::Killed(signal)
        };
        self.tell(child.parent, Completion::ChildEnded { ticket: child.ticket, end, cow_size: 0 });
    }

    fn kill_children(&mut self) {
        let processes: Vec<ProcessId> = self.children.keys().copied().collect();
        processes.into_iter().for_each(|process| self.kill_child(process, SIGKILL));
    }

    // Ends.

    /// Performs the planned crash if the disk has reached its point.
    fn crash_if_due(&mut self) -> Option<End> {
        let culprit = self.disk.tripped_by()?;
        let (crash, moment) = self.crash_planned.take().expect("crash points are set by crash_at");
        self.disk.disarm();
        if self.children.contains_key(&culprit) && (crash == Crash::Children || moment != Moment::Before) {
            // Its operation is half done, and it was told of a failure: it cannot go on as if nothing happened.
            self.kill_child(culprit, SIGKILL);
        } else if self.children.contains_key(&culprit) {
            self.plan_in(self.config.child, Event::ChildSteps(culprit));
        }
        let is_server = self.is_server(culprit);
        let crash = if is_server && crash == Crash::Children { Crash::Group } else { crash };
        self.crash(crash)
    }

    fn kill_server(&mut self, crash: Crash) -> Option<End> {
        let server = self.server.take()?;
        self.finish_in_kernel(&server);
        self.disk.kill(server.process);
        self.cut_clients(false);
        Some(self.note_death(&server, crash))
    }

    /// What the kernel had begun for a process that is killed may still be done.
    fn finish_in_kernel(&mut self, server: &Server<E>) {
        for (file, bytes) in &server.appends {
            if self.rng.chance(500) {
                self.disk.append(server.process, *file, bytes);
            }
        }
        for (started, _) in server.syncs.values() {
            if self.rng.chance(500) {
                self.disk.sync_end_unattended(started);
            }
        }
    }

    fn note_death(&mut self, server: &Server<E>, crash: Crash) -> End {
        if crash != Crash::Power {
            self.disk.note(Happening::ServerKilled);
        }
        if server.engine.is_loading() {
            self.disk.note(Happening::CrashInRecovery);
        }
        End::Crashed(crash)
    }

    /// The server leaves by itself: sockets take what output there is.
    fn leave(&mut self, server: &mut Server<E>, end: End) {
        if !matches!(end, End::Died(_)) {
            let ids: Vec<ClientId> = server.clients.keys().copied().collect();
            ids.into_iter().for_each(|id| self.send_output(server, id));
            self.disk.note(Happening::StoppedGracefully);
        }
        self.finish_in_kernel(server);
        self.disk.kill(server.process);
        self.cut_clients(false);
    }

    fn take_pid(&mut self, server_pid: Option<i32>) -> i32 {
        let is_taken: BTreeSet<i32> =
            self.children.values().map(|child| child.pid).chain(server_pid).collect();
        let free: Vec<i32> = PIDS.filter(|pid| !is_taken.contains(pid)).collect();
        let pid = free[self.rng.index(free.len())];
        if !self.pids_used.insert(pid) {
            self.disk.note(Happening::PidReused);
        }
        pid
    }
}

fn peer(key: ClientKey) -> Peer {
    Peer {
        address: format!("127.0.0.1:{}", 10_000 + key.0 % 50_000),
        local_address: "127.0.0.1:6379".into(),
        is_unix: false,
        is_local: true,
        descriptor: 8 + (key.0 % 1_000) as i32,
    }
}

/// What comes of calling another server: the world has only one.
pub(crate) fn nobody_there(exchange: &Exchange) -> Completion {
    Completion::Exchanged {
        ticket: exchange.ticket,
        replies: Vec::new(),
        failed_at: Some(ExchangeStep::Connecting),
    }
}

/// A whole file as text.
pub(crate) fn read_text(path: &str, disk: &mut dyn Disk) -> Result<String, i32> {
    let errno = |error: IoError| error.errno;
    let len = disk.len(path).map_err(errno)?.ok_or(ENOENT)?;
    let mut bytes = vec![0; len as usize];
    let count = disk.read_at(path, 0, &mut bytes).map_err(errno)?;
    bytes.truncate(count);
    String::from_utf8(bytes).map_err(|_| EIO)
}

/// The configuration file is written beside and renamed, like every file that replaces one.
pub(crate) fn config_steps(path: &str, text: String) -> Vec<FileStep> {
    let (temp, file) = (format!("{path}.tmp"), CONFIG_FILE);
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| if folder.is_empty() { "/" } else { folder });
    vec![
        FileStep::CreateTemp { file, path: temp.clone() },
        FileStep::Append { file, bytes: text.into() },
        FileStep::Sync { file },
        FileStep::Close { file },
        FileStep::Rename { from: temp, to: path.into() },
        FileStep::SyncDir { path: folder.into() },
    ]
}

pub(crate) fn job_completion(purpose: Purpose, error: Option<(usize, IoError)>) -> Completion {
    match purpose {
        Purpose::Files(ticket) => Completion::Files { ticket, error },
        Purpose::Config => Completion::ConfigWritten(error.map_or(Ok(()), |(_, error)| Err(error.errno))),
    }
}
