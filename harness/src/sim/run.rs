//! Runs a plan: a world, its clients, its crashes, and the judge after each.
//!
//! Always true: everything is decided by the plan; the run ends at the first violation.
//!
//! Not here: what is planned (`plan.rs`), what is right (`oracle/`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use perdura_core::host::{Engine, Signal};
use perdura_core::node::Node;
use perdura_core::persist::recovery::Case;
use perdura_core::time::Now;
use perdura_sim::{
    ClientKey, Crash, Delay, End, Entry as Operated, FaultKind, HostMutant, Moment, Operation, PowerLoss,
    SECTOR_BYTES, SimDisk, SimRng, Sometimes, Step, World, WorldConfig,
};

use super::history::{Death, History, Logging};
use super::observed::{Notes, Observed};
use super::oracle::start::{Start, check_end};
use super::oracle::{Violation, artefacts, durability, exposure, instant, leftovers, memory};
use super::plan::{Action, Damage, DamageKind, Deed, Ending, Plan};
use super::probe::{self, Found, Settings, boot, config_of};
use super::workload::Op;
use crate::model::{Digest, Keyspace};

/// How a run is made and watched.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of a thousand actions so many are followed by a probe, and of a thousand fresh replies so many.
    pub probe_permille: u32,
    /// The judge demands one state more than it may: a canary.
    pub is_greedy: bool,
    /// The simulated disk gives images that no disk gives: a canary.
    pub is_tampering: bool,
    /// The host makes this mistake.
    pub host_mutant: Option<HostMutant>,
    /// Told what happens, line by line.
    pub narrate: Option<fn(String)>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            probe_permille: 150,
            is_greedy: false,
            is_tampering: false,
            host_mutant: None,
            narrate: None,
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first broken promise.
    pub violation: Option<Violation>,
    /// Digest of everything that happened.
    pub digest: u64,
    /// Starts after a crash, probes included.
    pub recoveries: u64,
    /// Commands that were sent.
    pub commands: u64,
    /// Replies that came.
    pub replies: u64,
    /// What happened, for coverage.
    pub sometimes: Sometimes,
    /// Rows of the recovery tables that starts went through.
    pub cases: BTreeMap<Case, u64>,
    /// The last operations on the disk; all of them if the run is told.
    pub recent: Vec<Operated>,
    /// What each loss of power did, if the run is told.
    pub losses: Vec<PowerLoss>,
    /// The files at the end: length, how much of it is durable, and for logs where each batch stands.
    pub files: Vec<String>,
}

fn list_files(disk: &SimDisk) -> Vec<String> {
    let describe = |(path, len): (String, u64)| {
        let durable = disk.durable_len(&path).map_or("name in doubt".into(), |len| format!("{len} durable"));
        let bytes = disk.peek(&path).unwrap_or_default();
        let is_text = path.ends_with(".aof") || path.ends_with(".manifest");
        let lines =
            bytes.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).trim().to_string());
        let headers: Vec<String> =
            lines.filter(|line| is_text && (line.starts_with('#') || line.starts_with("file "))).collect();
        format!("{path}: {len} bytes, {durable} {}", headers.join(" "))
    };
    disk.files().into_iter().map(describe).collect()
}

/// Runs a plan to its end or to the first violation.
pub fn run(plan: &Plan, options: &Options) -> Outcome {
    let mut runner = Runner::new(plan, options.clone());
    let violation = runner.play(plan).err();
    let history = runner.notes.borrow();
    let mut losses = runner.world.disk().losses().to_vec();
    // What went wrong in a probe is seen in the copy of the disk that was probed.
    losses.extend(runner.loss_in_probe.clone().filter(|_| violation.is_some()));
    Outcome {
        violation,
        digest: runner.world.digest(),
        recoveries: runner.recoveries,
        commands: runner.commands,
        replies: history.replies,
        sometimes: runner.all_that_happened(),
        cases: runner.all_cases(&history),
        recent: runner.world.disk().trace().recent().cloned().collect(),
        losses,
        files: list_files(runner.world.disk()),
    }
}

/// What an exploration looked at.
#[derive(Clone, Copy, Default, Debug)]
pub struct Exploration {
    /// Moments at which the disk had changed.
    pub points: u64,
    /// Images that were started from.
    pub images: u64,
    /// Starts, those from crashed starts included.
    pub recoveries: u64,
    /// No limit was reached: these are all coarse images of all points.
    pub is_whole: bool,
}

/// Runs a plan and crashes it at every operation of the disk.
///
/// # Errors
/// The first violation.
pub fn explore(plan: &Plan, options: &Options, images_max: usize) -> Result<Exploration, Violation> {
    let mut runner = Runner::new(plan, options.clone());
    let exploration = Exploration { is_whole: true, ..Exploration::default() };
    runner.exploring = Some((images_max, runner.world.disk().operation_next(), exploration));
    runner.play(plan)?;
    Ok(runner.exploring.expect("set above").2)
}

/// Longest wait for a start, for an answer, for a stop; virtual microseconds.
const START_US: u64 = 60_000_000;
const ANSWER_US: u64 = 90_000_000;
/// How long a disk without faults may take before an unanswered request is a violation, virtual microseconds.
const PATIENCE_US: u64 = 70_000_000;
/// Time a quiet server gets to clean up.
const QUIET_US: u64 = 8_000_000;
const TIDY_US: u64 = 777_777;
const TIDY_TRIES: u32 = 40;

/// A stop that was asked for.
#[derive(Clone, Copy, Debug)]
struct Stop {
    /// It makes a snapshot: asked for, or because there were save points. `save` may have been changed on the way.
    saves: bool,
    /// It does so whatever the save points are.
    is_told_to_save: bool,
    /// It stops whatever goes wrong.
    is_forced: bool,
}

struct Runner {
    world: World<Observed>,
    notes: Notes,
    options: Options,
    rng: SimRng,
    settings: Settings,
    clients: Vec<Option<ClientKey>>,
    all_clients: Vec<ClientKey>,
    has_faults: bool,
    /// A write was lost or went astray: from now on only detection can be asked for.
    is_damaged: bool,
    /// The start that is under way finds no set: what it loads is the snapshot.
    has_no_set: bool,
    recoveries: u64,
    commands: u64,
    /// Images at each point at most, operations looked at so far, what was found.
    exploring: Option<(usize, u64, Exploration)>,
    seen_in_probes: Sometimes,
    cases_in_probes: BTreeMap<Case, u64>,
    /// What the last copy of the disk lost, if the run is told.
    loss_in_probe: Option<PowerLoss>,
    stop: Option<Stop>,
}

impl Runner {
    fn new(plan: &Plan, options: Options) -> Runner {
        let mut history = History::default();
        history.narrate = options.narrate;
        let mut config = WorldConfig::new(plan.profile);
        config.slow_sync_permille = plan.slow_sync_permille;
        config.wall_start_us = plan.wall_start_us;
        config.mutant = options.host_mutant;
        config.child = Delay::between(20, [200, 5_000, 60_000][(plan.seed % 3) as usize]);
        let mut world = World::new(plan.seed, config);
        if options.narrate.is_some() {
            world.disk_mut().record_everything();
        }
        plan.inheritance.leave_on(world.disk_mut());
        let keyspace = plan.inheritance.keyspace();
        history.states[0].digest = Digest::of(&keyspace);
        history.states[0].keyspace = keyspace;
        let notes = Rc::new(RefCell::new(history));
        Runner {
            world,
            notes,
            options,
            rng: SimRng::new(plan.seed ^ 0x51f3),
            settings: plan.settings.iter().copied().collect(),
            clients: vec![None; plan.clients],
            all_clients: Vec::new(),
            has_faults: false,
            is_damaged: false,
            has_no_set: false,
            recoveries: 0,
            commands: 0,
            exploring: None,
            seen_in_probes: Sometimes::default(),
            cases_in_probes: BTreeMap::new(),
            loss_in_probe: None,
            stop: None,
        }
    }

    fn has_save_points(&self) -> bool {
        self.settings["save"] != "\"\""
    }

    fn play(&mut self, plan: &Plan) -> Result<(), Violation> {
        if plan.inheritance.is_refused() {
            return self.expect_refusal();
        }
        let mut death = Death::Kill;
        for round in &plan.rounds {
            let crash = match round.ending {
                Ending::CrashInRecovery(crash, number, moment) => Some((crash, number, moment)),
                _ => None,
            };
            self.settings.extend(round.settings.iter().copied());
            if let Some(end) = self.start(death, crash)? {
                death = death_of(end, death);
                continue;
            }
            let end = match self.act(&round.actions)? {
                Some(end) => end,
                None => self.end(&round.ending)?,
            };
            let is_refused_stop = self.stop.is_some() && matches!(end, End::Crashed(_));
            if is_refused_stop && self.notes.borrow().has_held_back {
                // What it had held back has run since, in an order that nobody saw: from here on nothing is known.
                return Ok(());
            }
            self.settle_end(end)?;
            death = death_of(end, Death::Kill);
        }
        if let Some(damage) = plan.damage {
            return self.start_damaged(damage, death);
        }
        // Whatever happened, the last start serves, and is tidy once it had time. Orphans are gone by then.
        self.settings.insert("rdb-key-save-delay", "0"); // Nor has a snapshot to take for ever.
        self.start(death, None)?;
        let end = self.world.crash(Crash::Group).expect("a server was running");
        self.start(death_of(end, Death::Kill), None)?;
        self.step_for(QUIET_US)?;
        // Save points and growth may have begun something just now: only what stays is left over.
        for _ in 0..TIDY_TRIES {
            if self.world.children_count() == 0 && leftovers::check(self.world.disk()).is_ok() {
                return self.read_all();
            }
            self.step_for(TIDY_US)?;
        }
        leftovers::check(self.world.disk())
    }

    /// Another reader finds in the set of a quiet server what the server serves.
    fn read_all(&self) -> Result<(), Violation> {
        let now = self.world.now();
        let Some(node) = self.world.engine().map(|engine| &engine.node) else { return Ok(()) };
        if !matches!(self.notes.borrow().logging, Logging::On(_)) {
            return Ok(());
        }
        artefacts::check(&contents(self.world.disk()), true, &probe::read(node, now), now.wall_ms())
    }

    /// What happened to the world and in probes.
    fn all_that_happened(&self) -> Sometimes {
        let mut sum = self.world.sometimes().clone();
        sum.add(&self.seen_in_probes);
        sum
    }

    /// Rows of the recovery tables that starts and probes went through.
    fn all_cases(&self, history: &History) -> BTreeMap<Case, u64> {
        let mut sum = history.cases.clone();
        self.cases_in_probes.iter().for_each(|(case, count)| *sum.entry(*case).or_default() += count);
        sum
    }

    fn tell(&self, line: impl FnOnce() -> String) {
        if let Some(narrate) = self.options.narrate {
            narrate(line());
        }
    }

    // --- Starting -----------------------------------------------------------------------------------------

    /// What lies there must not be served, nor touched.
    fn expect_refusal(&mut self) -> Result<(), Violation> {
        let before = contents(self.world.disk());
        match self.try_start() {
            Some(End::Exited(1)) if contents(self.world.disk()) == before => Ok(()),
            Some(End::Exited(1)) => Err(Violation::Refused("and changed files".into())),
            Some(end) => Err(Violation::Ended(format!("{end:?}"))),
            None => Err(Violation::NeverWas("what should have been refused is served".into())),
        }
    }

    /// Starts a server and judges what it serves. `Some` if it was crashed on the way.
    fn start(&mut self, death: Death, crash: Option<(Crash, u64, Moment)>) -> Result<Option<End>, Violation> {
        // Connections of an earlier life must not reach this one.
        for key in std::mem::take(&mut self.all_clients) {
            self.world.cut(key);
        }
        self.clients.fill(None);
        self.choose_log();
        self.explore_start(death)?;
        if let Some((crash, number, moment)) = crash {
            let operation = self.world.disk().operation_next() + number;
            self.world.crash_at(operation, moment, crash);
        }
        let end = match self.try_start() {
            None => None,
            Some(end) => {
                let had_errors = self.has_faults;
                match check_end(end, had_errors, "")? {
                    Start::Crashed(end) => return Ok(Some(end)),
                    Start::Serves | Start::RefusedRightly => {
                        // The disk failed the start: without its faults the next one must come up.
                        self.clear_faults();
                        let end = self.try_start();
                        let is_told_late = end.is_some() && self.notes.borrow().is_cache_doubtful;
                        // The kernel tells of pages it lost once, to whoever syncs next: that start was right to refuse.
                        if is_told_late { self.try_start() } else { end }
                    }
                }
            }
        };
        if let Some(end) = end {
            check_end(end, false, "")?;
            return Ok(Some(end));
        }
        if self.world.engine().is_none_or(Engine::is_loading) {
            return Err(Violation::Stuck("loading".into()));
        }
        self.clear_faults();
        self.world.disk_mut().disarm();
        self.judge_start(death)?;
        if let Some((crash, ..)) = crash {
            // The start had fewer operations than that: it ends where they ended.
            return Ok(self.world.crash(crash));
        }
        Ok(None)
    }

    /// A start from files that have decayed serves what once was, and has kept aside what it gave up; or it refuses and has
    /// changed nothing. A single copy that was damaged cannot be restored: to notice is all that can be asked for.
    fn start_damaged(&mut self, damage: Damage, death: Death) -> Result<(), Violation> {
        self.clear_faults();
        self.world.crash(Crash::Group);
        self.choose_log();
        if damage.is_strict {
            self.settings.insert("aof-load-truncated", "no");
        }
        self.decay(damage);
        let with_log = self.settings["appendonly"] == "yes";
        let before = contents(self.world.disk());
        self.recoveries += 1;
        match self.try_start() {
            Some(End::Exited(1)) if contents(self.world.disk()) == before => {
                return match damage.kind {
                    // The operator has looked, and allows the cut.
                    DamageKind::Unread => self.start(death, None).map(drop),
                    _ => Ok(()),
                };
            }
            Some(End::Exited(1)) => return Err(Violation::Refused("and changed files".into())),
            Some(end) => return Err(Violation::Ended(format!("{end:?}"))),
            None if self.world.engine().is_none_or(Engine::is_loading) => {
                return Err(Violation::Stuck("loading".into()));
            }
            None => {}
        }
        let now = self.world.now();
        let node = &self.world.engine().expect("it serves").node;
        let keyspace = probe::read(node, now);
        let found = durability::check(&self.notes.borrow(), &keyspace, now.wall_ms(), death, with_log);
        // A base was durable before it counted: nothing of it can have been torn.
        let is_kept_aside =
            |path: &String| path.contains("cut-") && !path.contains(".base.") && !before.contains_key(path);
        match found {
            Err(Violation::Lost { .. }) if self.world.disk().files().keys().any(is_kept_aside) => Ok(()),
            // Where the manifest is gone, a snapshot counts that was newer than the set although the set won.
            Err(_) if self.notes.borrow().was_abandoned(&keyspace, now.wall_ms()) => Ok(()),
            found => found.map(drop),
        }
    }

    fn decay(&mut self, damage: Damage) {
        let disk = self.world.disk_mut();
        let files = disk.files();
        let is_part = |path: &&String| path.contains(".incr.aof") || path.contains(".base.");
        let is_read = |path: &&String| is_part(path) || *path == MANIFEST || *path == "dump.rdb";
        let is_whole = |path: &&String| !path.contains("cut-") && !path.contains("temp");
        let paths: Vec<&String> = match damage.kind {
            DamageKind::Vanish => files.keys().filter(is_part).filter(is_whole).collect(),
            DamageKind::VanishManifest | DamageKind::FlipInManifest => {
                files.keys().filter(|path| *path == MANIFEST).collect()
            }
            DamageKind::FlipInBase | DamageKind::ZeroBase => {
                files.keys().filter(|path| path.ends_with(".base.rdb")).collect()
            }
            // A base of commands has no checksum of its own.
            _ => files
                .keys()
                .filter(is_read)
                .filter(is_whole)
                .filter(|path| !path.ends_with(".base.aof"))
                .collect(),
        };
        let Some(path) = paths.get((damage.pick % paths.len().max(1) as u64) as usize) else { return };
        let (mut offset, mut bit) = ((damage.pick >> 16) % files[*path].max(1), (damage.pick >> 60) as u8);
        match damage.kind {
            DamageKind::FlipInManifest => {
                let kinds = kinds_in(disk.peek(path).unwrap_or_default());
                let Some(at) = kinds.get(offset as usize % kinds.len().max(1)) else { return };
                (offset, bit) = (*at, 0);
                disk.rot(path, offset, bit);
            }
            DamageKind::ZeroBase => {
                offset = 0;
                let len = files[*path];
                (0..len).step_by(SECTOR_BYTES as usize).for_each(|at| _ = disk.zero_sector(path, at));
            }
            DamageKind::Flip | DamageKind::FlipInBase => drop(disk.rot(path, offset, bit)),
            DamageKind::ZeroSector => drop(disk.zero_sector(path, offset)),
            DamageKind::Vanish | DamageKind::VanishManifest => drop(disk.vanish(path)),
            DamageKind::None | DamageKind::Unread => {}
        }
        let line = format!("{:>12} plan    {damage:?} hits {path} at {offset}", self.world.now().mono_us);
        self.tell(|| line);
    }

    fn try_start(&mut self) -> Option<End> {
        let (notes, config) = (self.notes.clone(), config_of(&self.settings));
        self.world.start(|boot_with| {
            let node = boot(&config, boot_with.seed, boot_with.pid as u32, boot_with.now);
            Observed::new(node, notes)
        });
        let until = self.world.now().mono_us + START_US;
        while self.world.engine().is_some_and(Engine::is_loading) && self.world.now().mono_us < until {
            if let Step::Ended(end) = self.world.step() {
                return Some(end);
            }
        }
        None
    }

    /// An operator who switched the log off, and left a set behind, starts with it: the server finds out which of set and
    /// snapshot is newer.
    fn choose_log(&mut self) {
        self.settings = self.settings_now();
        self.has_no_set = !self.world.disk().files().contains_key(MANIFEST);
    }

    fn judge_start(&mut self, death: Death) -> Result<(), Violation> {
        self.recoveries += 1;
        let now = self.world.now();
        let node = &self.world.engine().expect("it serves").node;
        let keyspace = probe::read(node, now);
        let with_log = self.settings["appendonly"] == "yes";
        let state = self.judge(&keyspace, now, death, with_log && !self.has_no_set)?;
        self.tell(|| format!("{:>12} engine  serves state {state}", now.mono_us));
        let mut history = self.notes.borrow_mut();
        let logging = history.logging;
        history.adopt(state, with_log);
        history.logging = logging;
        Ok(())
    }

    fn judge(&self, keyspace: &Keyspace, now: Now, death: Death, with_log: bool) -> Result<usize, Violation> {
        let history = self.notes.borrow();
        let state = durability::check(&history, keyspace, now.wall_ms(), death, with_log)?;
        if self.options.is_greedy && state < history.floor(death, with_log) + 1 && history.last() > 0 {
            return Err(Violation::NeverWas("the canary demands more than was promised".into()));
        }
        Ok(state)
    }

    // --- Living -------------------------------------------------------------------------------------------

    fn act(&mut self, actions: &[Action]) -> Result<Option<End>, Violation> {
        for action in actions {
            if let Some(end) = self.step_for(action.pause_us)? {
                return Ok(Some(end));
            }
            self.tell(|| format!("{:>12} plan    {}", self.world.now().mono_us, action.show()));
            if let Some(end) = self.perform(&action.deed)? {
                return Ok(Some(end));
            }
            if self.rng.chance(self.options.probe_permille) {
                self.probe()?;
            }
        }
        Ok(None)
    }

    fn perform(&mut self, deed: &Deed) -> Result<Option<End>, Violation> {
        match deed {
            Deed::Send { client, ops } => {
                self.send(*client, ops);
                if ops.iter().any(Op::is_blocking) {
                    return self.await_answers(*client);
                }
            }
            Deed::SendAndBreak { client, ops, sent_permille, after_us } => {
                self.send_part(*client, ops, *sent_permille);
                if let Some(end) = self.step_for(*after_us)? {
                    return Ok(Some(end));
                }
                return self.hang_up(*client);
            }
            Deed::Reconnect(client) => return self.hang_up(*client),
            Deed::Reading(client, is_reading) => {
                if let Some(key) = self.clients[*client] {
                    if !is_reading {
                        self.notes.borrow_mut().stall(key.0);
                    }
                    self.world.set_reading(key, *is_reading);
                }
            }
            Deed::Fault(fault) => {
                self.has_faults = true;
                let loses_pages = matches!(fault.operation, Operation::Fdatasync | Operation::Fsync)
                    && matches!(fault.kind, FaultKind::Errno(_))
                    || fault.kind == FaultKind::Writeback;
                self.notes.borrow_mut().is_cache_doubtful |= loses_pages;
                self.is_damaged |= matches!(fault.kind, FaultKind::Lost | FaultKind::Misdirected(_));
                self.world.disk_mut().add_fault(fault.clone());
            }
            Deed::Room(room) => {
                self.has_faults = true;
                let used: u64 = self.world.disk().files().values().sum();
                self.world.disk_mut().set_capacity(room.map(|room| used + room));
            }
            Deed::FailFork => self.world.fail_fork(12),
            Deed::KillChild => drop(self.world.crash(Crash::Children)),
            Deed::Jump(us) => self.world.jump_wall_clock(*us),
            Deed::StopClock => self.world.stop_wall_clock(),
            Deed::GoOnClock => self.world.go_on_wall_clock(),
            Deed::Evict => {
                self.notes.borrow_mut().is_cache_doubtful |= self.has_faults;
                self.world.disk_mut().evict_cache();
            }
        }
        Ok(None)
    }

    fn hang_up(&mut self, client: usize) -> Result<Option<End>, Violation> {
        match self.clients[client].take() {
            None => Ok(None),
            Some(key) => {
                self.world.cut(key);
                self.step_for(1_000)
            }
        }
    }

    fn send(&mut self, client: usize, ops: &[Op]) {
        self.send_part(client, ops, 1_000);
    }

    /// Sends a part of what these commands make; what is missing never comes.
    fn send_part(&mut self, client: usize, ops: &[Op], sent_permille: u64) {
        let now_ms = self.world.now().wall_ms();
        let mut bytes = Vec::new();
        let open = self.clients[client].filter(|key| !self.world.is_closed(*key));
        let is_impatient = open.is_some_and(|key| self.is_impatient(key));
        let key = match open {
            Some(key) if !is_impatient => key,
            other => {
                if let Some(key) = other {
                    self.world.cut(key);
                }
                let key = self.world.connect();
                self.all_clients.push(key);
                self.clients[client] = Some(key);
                if client % 2 == 1 {
                    self.queue(key, Op::Select(1), &mut bytes);
                }
                key
            }
        };
        if self.notes.borrow().is_waiting(key.0) {
            return;
        }
        for op in ops {
            self.queue(key, op.at(now_ms), &mut bytes);
        }
        self.commands += ops.len() as u64;
        bytes.truncate((bytes.len() as u64 * sent_permille).div_ceil(1_000) as usize);
        self.world.send(key, bytes);
    }

    /// A client that waits for a key either waits on or breaks off and comes back.
    fn is_impatient(&mut self, key: ClientKey) -> bool {
        self.notes.borrow().is_waiting(key.0) && self.rng.chance(400)
    }

    fn queue(&mut self, key: ClientKey, op: Op, bytes: &mut Vec<u8>) {
        let encoded = op.encode();
        self.notes.borrow_mut().sent(key.0, op, encoded.len());
        bytes.extend_from_slice(&encoded);
    }

    fn await_answers(&mut self, client: usize) -> Result<Option<End>, Violation> {
        let Some(key) = self.clients[client] else { return Ok(None) };
        self.world.set_reading(key, true);
        let until = self.world.now().mono_us + ANSWER_US;
        while !self.notes.borrow().is_idle(key.0) && !self.world.is_closed(key) {
            if self.has_faults && self.world.now().mono_us + PATIENCE_US > until {
                // A full disk answers nothing; once there is room again everybody must be served.
                self.clear_faults();
            }
            if self.world.now().mono_us > until {
                let unanswered = self.notes.borrow().unanswered();
                return Err(Violation::Stuck(format!("no answer to {unanswered:?}")));
            }
            if let Some(end) = self.step()? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// One step of the world, and a look at what it showed.
    fn step(&mut self) -> Result<Option<End>, Violation> {
        let step = self.world.step();
        self.look()?;
        match step {
            Step::Ended(end) => Ok(Some(end)),
            Step::Went => Ok(None),
            Step::Idle => {
                self.world.run_for(1_000);
                Ok(None)
            }
        }
    }

    fn step_for(&mut self, us: u64) -> Result<Option<End>, Violation> {
        if self.exploring.is_some() {
            return self.explore_for(us);
        }
        let until = self.world.now().mono_us + us;
        loop {
            let left = until.saturating_sub(self.world.now().mono_us);
            // A microsecond at a time is what the world needs to stop at the right moment; most of it is empty.
            if let Some(end) = self.world.run_for(left.min(STRIDE_US)) {
                self.look()?;
                return Ok(Some(end));
            }
            self.look()?;
            if left <= STRIDE_US {
                return Ok(None);
            }
        }
    }

    /// [`Runner::step_for`], one event after the other.
    fn explore_for(&mut self, us: u64) -> Result<Option<End>, Violation> {
        let until = self.world.now().mono_us + us;
        while self.world.now().mono_us < until {
            match self.world.step() {
                Step::Ended(end) => {
                    self.look()?;
                    return Ok(Some(end));
                }
                Step::Idle => drop(self.world.run_for(1_000)),
                Step::Went => {}
            }
            self.look()?;
            self.explore_here()?;
        }
        Ok(None)
    }

    /// All images of the disk as it is now, if it has changed.
    fn explore_here(&mut self) -> Result<(), Violation> {
        let Some((images_max, seen, mut found)) = self.exploring else { return Ok(()) };
        let operation = self.world.disk().operation_next();
        if operation == seen || self.world.engine().is_none_or(Engine::is_loading) {
            return Ok(());
        }
        found.points += 1;
        let (images, is_whole) = self.world.disk().images(images_max);
        found.is_whole &= is_whole;
        for image in images {
            found.images += 1;
            self.world.disk().check_image(&image).map_err(Violation::IllegalImage)?;
            let mut disk = self.world.disk().clone();
            disk.lose_power_to(&image);
            found.recoveries += self.start_from(disk.clone(), Death::Power, None)?;
            // The start is hit as well, each time at another of its operations.
            let crash = (found.images % RECOVERY_OPERATIONS, Moment::After);
            found.recoveries += self.start_from(disk, Death::Power, Some(crash))?;
        }
        found.recoveries += self.start_from(self.world.disk().clone(), Death::Kill, None)?;
        self.exploring = Some((images_max, operation, found));
        Ok(())
    }

    /// A start from the disk as it is, ended before each of its operations in turn: by a kill, and by a loss of power with
    /// each image that it may leave.
    fn explore_start(&mut self, death: Death) -> Result<(), Violation> {
        let Some((images_max, seen, mut found)) = self.exploring else { return Ok(()) };
        let (now, config) = (self.world.now(), config_of(&self.settings));
        for number in 0.. {
            let mut disk = self.world.disk().clone();
            let crash = Some((number, Moment::Before));
            if !matches!(probe::start(&mut disk, &config, now, crash), Found::Crashed) {
                break;
            }
            found.points += 1;
            found.recoveries += self.start_from(disk.clone(), death, None)?;
            let (images, is_whole) = disk.images(images_max);
            found.is_whole &= is_whole;
            for image in images {
                found.images += 1;
                disk.check_image(&image).map_err(Violation::IllegalImage)?;
                let mut disk = disk.clone();
                disk.lose_power_to(&image);
                found.recoveries += self.start_from(disk, Death::Power, None)?;
            }
        }
        self.exploring = Some((images_max, seen, found));
        Ok(())
    }

    /// Starts from a disk; if a crash is planned there, once more from one image of what it left. Gives the starts made.
    fn start_from(
        &mut self,
        mut disk: SimDisk,
        death: Death,
        crash: Option<(u64, Moment)>,
    ) -> Result<u64, Violation> {
        let now = self.world.now();
        disk.clear_faults();
        self.notes.borrow_mut().settle_bound(now);
        let settings = self.settings_now();
        let with_log = settings["appendonly"] == "yes";
        let config = config_of(&settings);
        let mut found = probe::start(&mut disk, &config, now, crash);
        let mut starts = 1;
        if let Found::Crashed = found {
            self.lose_power(&mut disk)?;
            found = probe::start(&mut disk, &config, now, None);
            starts += 1;
        }
        self.judge_found(found, now, death, with_log)?;
        Ok(starts)
    }

    /// The settings an operator would start with now.
    fn settings_now(&self) -> Settings {
        let mut settings = self.settings.clone();
        // Torn tails are what crashes leave: an operator who wants to start has them cut.
        settings.insert("aof-load-truncated", "yes");
        let has_set = self.world.disk().files().contains_key(MANIFEST);
        if matches!(self.notes.borrow().logging, Logging::On(_)) || has_set {
            settings.insert("appendonly", "yes");
        }
        settings
    }

    fn look(&mut self) -> Result<(), Violation> {
        let (violation, promised, fresh) = {
            let mut history = self.notes.borrow_mut();
            let changed = std::mem::take(&mut history.settings_changed);
            self.settings.extend(changed);
            (history.take_violation(), history.take_promised(), std::mem::take(&mut history.fresh_replies))
        };
        if let Some(violation) = violation {
            return Err(violation);
        }
        if let Some((state, offset)) = promised.filter(|_| !self.is_damaged) {
            instant::check(self.world.disk(), state, offset)?;
        }
        // Just now somebody was told of something: whatever it rests on must be there.
        if fresh > 0 && self.rng.chance(self.options.probe_permille) {
            self.probe()?;
        }
        Ok(())
    }

    // --- Ending -------------------------------------------------------------------------------------------

    fn end(&mut self, ending: &Ending) -> Result<End, Violation> {
        self.tell(|| format!("{:>12} plan    {ending:?}", self.world.now().mono_us));
        match ending {
            Ending::Crash(crash, after_us) => {
                if let Some(end) = self.step_for(*after_us)? {
                    return Ok(end);
                }
                Ok(self.world.crash(*crash).expect("a server was running"))
            }
            Ending::CrashAt(crash, number, moment) => {
                let operation = self.world.disk().operation_next() + number;
                self.world.crash_at(operation, *moment, *crash);
                if let Some(end) = self.step_for(QUIET_US)? {
                    return Ok(end);
                }
                Ok(self.world.crash(*crash).expect("a server was running"))
            }
            Ending::Terminate => {
                self.stop =
                    Some(Stop { saves: self.has_save_points(), is_told_to_save: false, is_forced: false });
                self.world.signal(Signal::Terminate);
                self.await_end()
            }
            Ending::Shutdown(words) => {
                let is_told_to_save = words.contains(&"save");
                let saves = is_told_to_save || !words.contains(&"nosave") && self.has_save_points();
                self.stop = Some(Stop { saves, is_told_to_save, is_forced: words.contains(&"force") });
                // On a connection of its own: another one may be waiting.
                self.hang_up(0)?;
                self.send(0, &[Op::Shutdown(words)]);
                self.await_end()
            }
            Ending::CrashInRecovery(crash, ..) => Ok(self.world.crash(*crash).expect("a server was running")),
        }
    }

    /// A stop that was asked for; refused, the server is killed instead.
    fn await_end(&mut self) -> Result<End, Violation> {
        match self.step_for(ANSWER_US)? {
            Some(end) => Ok(end),
            None => Ok(self.world.crash(Crash::Group).expect("a server was running")),
        }
    }

    fn settle_end(&mut self, end: End) -> Result<(), Violation> {
        self.look()?;
        let now = self.world.now();
        self.tell(|| format!("{:>12} world   {end:?}", now.mono_us));
        let has_save_points = self.has_save_points();
        let mut history = self.notes.borrow_mut();
        history.settle_bound(now);
        match end {
            End::Crashed(_) => Ok(()),
            End::Exited(0) => {
                // A stop that is forced goes on although it could not save or sync.
                match self.stop.take() {
                    Some(stop) if !stop.is_forced => {
                        history.stopped(stop.saves && (stop.is_told_to_save || has_save_points))
                    }
                    _ => {}
                }
                Ok(())
            }
            other => Err(Violation::Ended(format!("{other:?}"))),
        }
    }

    fn clear_faults(&mut self) {
        self.has_faults = false;
        self.world.disk_mut().clear_faults();
        self.world.disk_mut().set_capacity(None);
    }

    // --- Probes -------------------------------------------------------------------------------------------

    /// What if all ended now: a kill, a loss of power, or both with a start in between.
    fn probe(&mut self) -> Result<(), Violation> {
        if self.is_damaged
            || self.notes.borrow().has_held_back
            || self.world.engine().is_none_or(Engine::is_loading)
        {
            return Ok(());
        }
        let now = self.world.now();
        self.notes.borrow_mut().settle_bound(now);
        let mut disk = self.world.disk().clone();
        disk.clear_faults();
        disk.set_capacity(None);
        disk.disarm();
        let death = if self.rng.chance(300) { Death::Kill } else { Death::Power };
        self.tell(|| format!("{:>12} probe   what if it ended just now? {death:?}", now.mono_us));
        if death == Death::Power {
            self.lose_power(&mut disk)?;
        }
        let settings = self.settings_now();
        let with_log = settings["appendonly"] == "yes";
        let config = config_of(&settings);
        let crash = self.rng.chance(300).then(|| (self.rng.below(24), Moment::After));
        let mut found = probe::start(&mut disk, &config, now, crash);
        self.recoveries += 1;
        let mut floor_death = death;
        if let Found::Crashed = found {
            // Depth 2: the start itself was hit.
            if self.rng.chance(700) {
                self.lose_power(&mut disk)?;
                floor_death = Death::Power;
            }
            found = probe::start(&mut disk, &config, now, None);
            self.recoveries += 1;
        }
        if matches!(found, Found::Refused(_)) && self.notes.borrow().is_cache_doubtful {
            // The kernel tells of pages it lost once, to whoever syncs next: that start was right to refuse.
            found = probe::start(&mut disk, &config, now, None);
        }
        let is_read = self.rng.chance(READ_PERMILLE);
        if let Found::Serves(node) = &found
            && is_read
        {
            check_artefacts(node, &disk, now)?;
            check_size(node, &disk, now)?;
        }
        let state = self.judge_found(found, now, floor_death, with_log)?;
        self.tell(|| format!("{:>12} probe   state {state} comes back", now.mono_us));
        // K6: what was served must survive, whatever had become of it before.
        if self.rng.chance(400) {
            self.lose_power(&mut disk)?;
            let again = probe::start(&mut disk, &config, now, None);
            self.recoveries += 1;
            let again = self.judge_found(again, now, floor_death, with_log)?;
            if again < state {
                return Err(Violation::Lost {
                    recovered: again,
                    floor: state,
                    last: self.notes.borrow().last(),
                    difference: "served after a start, lost by the power loss that followed".into(),
                });
            }
        }
        Ok(())
    }

    /// The power goes, for a copy of the disk.
    fn lose_power(&mut self, disk: &mut SimDisk) -> Result<(), Violation> {
        let mut image = disk.draw_image(&mut self.rng);
        if self.options.is_tampering {
            image.contents.values_mut().for_each(|bytes| bytes.insert(0, b'?'));
        }
        disk.check_image(&image).map_err(Violation::IllegalImage)?;
        disk.lose_power_to(&image);
        self.loss_in_probe = disk.losses().last().cloned();
        image.marks.iter().for_each(|mark| self.seen_in_probes.note(*mark));
        Ok(())
    }

    fn judge_found(
        &mut self,
        found: Found,
        now: Now,
        death: Death,
        with_log: bool,
    ) -> Result<usize, Violation> {
        let cases = match &found {
            Found::Serves(node) => node.start_cases(),
            Found::Refused(cases) => cases,
            _ => &[],
        };
        cases.iter().for_each(|case| *self.cases_in_probes.entry(*case).or_default() += 1);
        match found {
            Found::Serves(node) => {
                let keyspace = probe::read(&node, now);
                let state = self.judge(&keyspace, now, death, with_log)?;
                memory::check_emptied(probe::bytes_when_emptied(*node, now, &keyspace))?;
                Ok(state)
            }
            Found::Refused(_) => Err(Violation::Refused("probe".into())),
            Found::Crashed => Err(Violation::Stuck("a probe crashed twice".into())),
            Found::Endless => Err(Violation::Stuck("a probe never ends loading".into())),
        }
    }
}

/// What a start that served from the set, or from the snapshot file, left on disk means the same to another reader.
fn check_artefacts(node: &Node, disk: &SimDisk, now: Now) -> Result<(), Violation> {
    let with_log = match node.start_cases() {
        cases if cases.contains(&Case::DumpLoaded) => false,
        cases if cases.contains(&Case::SetLoaded) => true,
        _ => return Ok(()),
    };
    artefacts::check(&contents(disk), with_log, &probe::read(node, now), now.wall_ms())
}

/// What INFO says of the files of a set that was just loaded.
fn check_size(node: &Node, disk: &SimDisk, now: Now) -> Result<(), Violation> {
    if !node.start_cases().contains(&Case::SetLoaded) {
        return Ok(());
    }
    let manifest = String::from_utf8_lossy(disk.peek(MANIFEST).unwrap_or_default()).into_owned();
    let name_of = |line: &str| {
        let (name, kind) = line.strip_prefix("file ")?.split_once(" seq ")?;
        (!kind.contains(" type h")).then(|| format!("appendonlydir/{name}"))
    };
    let files = disk.files();
    let len = manifest.lines().filter_map(name_of).filter_map(|path| files.get(&path)).sum();
    exposure::check_size(probe::info_number(node, now, "aof_current_size"), len)
}

/// Of a thousand probes the files of so many are read by another reader.
const READ_PERMILLE: u32 = 250;

/// Where the kinds of its parts stand in a manifest.
fn kinds_in(manifest: &[u8]) -> Vec<u64> {
    let word = b" type ";
    let found = manifest.windows(word.len() + 1).enumerate().filter(|(_, text)| text.starts_with(word));
    found.map(|(at, _)| (at + word.len()) as u64).collect()
}

/// Where a set's files are listed.
const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
/// Operations of a start that are crashed in turn.
const RECOVERY_OPERATIONS: u64 = 24;
/// Time between two looks while nothing is awaited, microseconds.
const STRIDE_US: u64 = 2_000;

/// All files with what is in them.
fn contents(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let read = |path: &String| disk.peek(path).unwrap_or_default().to_vec();
    disk.files().into_keys().map(|path| (path.clone(), read(&path))).collect()
}

/// After two deaths in a row the worse one counts.
fn death_of(end: End, before: Death) -> Death {
    match end {
        End::Crashed(Crash::Power) => Death::Power,
        _ => before,
    }
}
