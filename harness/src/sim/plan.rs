//! A plan: everything that will be done in one run, as explicit data drawn from a seed.
//!
//! Exists because seeds die with the next change of code, and because data can be made smaller: a plan is a list of
//! rounds, each a list of actions and an end, and any action may be left out.
//!
//! Always true: the plan of a seed and the choices left out of it decide the run.
//!
//! Not here: doing it (`run.rs`), what commands there are (`workload/`).

mod focus;

use std::collections::BTreeSet;

use perdura_sim::{Crash, Fault, FaultKind, Moment, Operation, Profile, SimRng, WALL_STARTS_US};
use strum::{IntoStaticStr, VariantArray};

pub use self::focus::Focus;
use super::inheritance::Inheritance;
use super::workload::{Op, Workload};

/// Everything that will be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where it came from; also decides delays and images.
    pub seed: u64,
    /// The file system.
    pub profile: Profile,
    /// Settings at the first start.
    pub settings: Vec<(&'static str, &'static str)>,
    /// Of a thousand syncs so many take seconds.
    pub slow_sync_permille: u32,
    /// Clients that are connected.
    pub clients: usize,
    /// The wall clock at the beginning, microseconds since 1970.
    pub wall_start_us: u64,
    /// What lies there at the first start.
    pub inheritance: Inheritance,
    /// Lives of the server, one after the other.
    pub rounds: Vec<Round>,
    /// What decays while the server is down after the last of them.
    pub damage: Option<Damage>,
}

/// Damage at rest. `pick` chooses the file and the place among those there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What happens.
    pub kind: DamageKind,
    /// Where.
    pub pick: u64,
    /// The operator has forbidden to cut torn tails: `aof-load-truncated no`.
    pub is_strict: bool,
}

/// Kinds of damage at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// A bit flips.
    Flip,
    /// A bit of a base flips.
    FlipInBase,
    /// The lowest bit of a part's kind in the manifest flips: what was in use is to be removed.
    FlipInManifest,
    /// A sector reads as zeroes.
    ZeroSector,
    /// A base reads as zeroes.
    ZeroBase,
    /// A part of the set is gone.
    Vanish,
    /// The manifest is gone.
    VanishManifest,
    /// Nothing at rest: a write of the last life was lost or went astray.
    None,
    /// Nothing at all: what the power loss left is all there is, and nobody may cut it until the operator has looked.
    Unread,
}

/// One life of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// What the operator changes in the configuration before it.
    pub settings: Vec<(&'static str, &'static str)>,
    /// What is done while it lives.
    pub actions: Vec<Action>,
    /// How it ends.
    pub ending: Ending,
}

/// One thing done, and how long before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its place in the plan, by which it can be left out.
    pub number: usize,
    /// Microseconds since the last one.
    pub pause_us: u64,
    /// What.
    pub deed: Deed,
}

impl Action {
    /// It, in a line.
    pub fn show(&self) -> String {
        let deed = match &self.deed {
            Deed::Send { client, ops } => {
                format!("client {client} sends {}", ops.iter().map(Op::show).collect::<Vec<_>>().join(" | "))
            }
            Deed::SendAndBreak { client, ops, sent_permille, .. } => {
                let lines = ops.iter().map(Op::show).collect::<Vec<_>>().join(" | ");
                format!("client {client} sends {sent_permille}/1000 of {lines} and breaks off")
            }
            other => format!("{other:?}"),
        };
        format!("[{}] {deed}", self.number)
    }
}

/// What can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A client sends commands in one go.
    Send {
        /// Which client.
        client: usize,
        /// What it sends.
        ops: Vec<Op>,
    },
    /// A client sends commands and its connection breaks: a part arrives, and perhaps a part of the replies.
    SendAndBreak {
        /// Which client.
        client: usize,
        /// What it sends.
        ops: Vec<Op>,
        /// Of a thousand bytes so many are sent.
        sent_permille: u64,
        /// Microseconds until the connection breaks.
        after_us: u64,
    },
    /// A client hangs up and comes back.
    Reconnect(usize),
    /// A client does not read what it is sent, or reads again.
    Reading(usize, bool),
    /// Something will go wrong with the disk.
    Fault(Fault),
    /// The disk has room for so many bytes more, or for all again.
    Room(Option<u64>),
    /// The next fork fails.
    FailFork,
    /// The snapshot child is killed.
    KillChild,
    /// The wall clock jumps, microseconds.
    Jump(i64),
    /// The wall clock stands still.
    StopClock,
    /// It goes on.
    GoOnClock,
    /// The kernel needs memory: clean pages are dropped.
    Evict,
}

/// How a life of the server ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// A crash after this many microseconds more.
    Crash(Crash, u64),
    /// A crash around a disk operation, counted from the end of the actions.
    CrashAt(Crash, u64, Moment),
    /// A crash around a disk operation, counted from the start of the server: in recovery.
    CrashInRecovery(Crash, u64, Moment),
    /// SIGTERM.
    #[default]
    Terminate,
    /// SHUTDOWN with these words.
    Shutdown(&'static [&'static str]),
}

/// Which part of persistence a sweep is asked to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Policy {
    /// AOF, `appendfsync always`
    Always,
    /// AOF, `appendfsync everysec`
    Everysec,
    /// AOF, `appendfsync no`
    No,
    /// Snapshots only.
    Rdb,
    /// AOF and snapshots, switched at run time.
    Switching,
}

impl Policy {
    /// As written on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }

    fn fsync(self, rng: &mut SimRng) -> &'static str {
        match self {
            Policy::Always => "always",
            Policy::Everysec => "everysec",
            Policy::No => "no",
            Policy::Rdb | Policy::Switching => FSYNCS[rng.index(3)],
        }
    }
}

const FSYNCS: [&str; 3] = ["always", "everysec", "no"];

/// What to draw from: nothing said means anything.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Scope {
    /// Only this policy.
    pub policy: Option<Policy>,
    /// Only this file system.
    pub profile: Option<Profile>,
    /// All plans dwell on this; nothing said: some plans, each on something else.
    pub focus: Option<Focus>,
}

/// Of a thousand plans so many dwell on something.
const FOCUS_PERMILLE: u32 = 350;

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64, scope: Scope) -> Plan {
        let rng = &mut SimRng::new(seed ^ 0x9e1a_17bd);
        let drawn = rng.chance(FOCUS_PERMILLE).then(|| Focus::VARIANTS[rng.index(Focus::VARIANTS.len())]);
        let focus = scope.focus.or(drawn);
        let policy = match focus {
            Some(focus) => focus.policy(rng),
            None => Policy::VARIANTS[rng.index(5)],
        };
        let policy = scope.policy.unwrap_or(policy);
        let profile = match focus {
            // What has no checksums can be recovered from where appends stay in order.
            Some(Focus::Bare | Focus::Inherited) => Profile::Btrfs,
            _ => PROFILES[rng.index(PROFILES.len())],
        };
        let profile = scope.profile.unwrap_or(profile);
        let settings = draw_settings(policy, profile, focus, rng);
        // Without checksums a hole that a failed sync left cannot be seen.
        let has_checksums = settings.contains(&("aof-checksum", "yes"));
        let mut drawing = Drawing {
            policy,
            focus,
            workload: Workload::draw(rng),
            clients: rng.between(1, 4) as usize,
            has_faults: (rng.chance(450)
                || matches!(focus, Some(Focus::Hole | Focus::Directory | Focus::FailedStop)))
                && has_checksums,
            has_clock_faults: rng.chance(120) && focus.is_none(),
            pause_us_max: [200, 3_000, 60_000, 400_000][rng.index(4)],
            admin_permille: [10, 40, 120][rng.index(3)],
            number: 0,
            evict_after: None,
            admin_next: None,
        };
        if focus == Some(Focus::Streams) {
            drawing.workload.dwell_on_streams();
        }
        if drawing.has_clock_faults {
            // Whether a key that is due on one clock and not on the other is still there is nobody's business.
            drawing.workload.draw_no_expiry();
        }
        let slow_sync_permille = if focus == Some(Focus::Slow) { 300 } else { [0, 5, 100][rng.index(3)] };
        let wall_start_us = WALL_STARTS_US[if rng.chance(800) { 0 } else { rng.index(WALL_STARTS_US.len()) }];
        let mut rounds: Vec<Round> =
            (0..rng.between(2, 5)).map(|number| drawing.round(number, rng)).collect();
        let inheritance = match focus {
            _ if !settings.contains(&("appendonly", "yes")) => Inheritance::Nothing,
            Some(Focus::Inherited) => Inheritance::VARIANTS[1 + rng.index(Inheritance::VARIANTS.len() - 1)],
            Some(Focus::Hole) if rng.chance(300) => Inheritance::OldLog,
            _ if rng.chance(50) => Inheritance::OldLog,
            _ => Inheritance::Nothing,
        };
        // A base of commands has no checksum of its own, nor has what another server left.
        let can_be_damaged = has_checksums
            && inheritance == Inheritance::Nothing
            && !drawing.has_clock_faults
            && focus != Some(Focus::Bare)
            && settings.contains(&("aof-use-rdb-preamble", "yes"));
        let is_damaged = rng.chance(120) || matches!(focus, Some(Focus::Decay | Focus::CutForbidden));
        let damage = (can_be_damaged && is_damaged).then(|| drawing.damage(&mut rounds, rng));
        let clients = drawing.clients;
        Plan {
            seed,
            profile,
            settings,
            slow_sync_permille,
            clients,
            wall_start_us,
            inheritance,
            rounds,
            damage,
        }
    }

    /// The same plan without these actions.
    pub fn without(mut self, left_out: &BTreeSet<usize>) -> Plan {
        for round in &mut self.rounds {
            round.actions.retain(|action| !left_out.contains(&action.number));
        }
        self
    }

    /// Numbers of all its actions.
    pub fn numbers(&self) -> Vec<usize> {
        self.rounds.iter().flat_map(|round| &round.actions).map(|action| action.number).collect()
    }
}

/// Strict POSIX finds most, so it is drawn most.
const PROFILES: [Profile; 6] =
    [Profile::Strict, Profile::Strict, Profile::Strict, Profile::Ext4Ordered, Profile::Xfs, Profile::Btrfs];

fn draw_settings(
    policy: Policy,
    profile: Profile,
    focus: Option<Focus>,
    rng: &mut SimRng,
) -> Vec<(&'static str, &'static str)> {
    // Without checksums what faults do cannot be seen: plans that dwell on them have some.
    let bare_permille = match focus {
        _ if profile != Profile::Btrfs => 0,
        Some(Focus::Bare) => 700,
        Some(_) => 0,
        None => 300,
    };
    let yes_no = |rng: &mut SimRng, permille| if rng.chance(permille) { "yes" } else { "no" };
    let has_aof = policy != Policy::Rdb && (policy != Policy::Switching || rng.chance(600));
    let mut settings = vec![
        ("appendonly", if has_aof { "yes" } else { "no" }),
        ("appendfsync", policy.fsync(rng)),
        // Without checksums only a file system that keeps appends in order can be recovered from: the log has then no
        // more than its grammar to tell a tear by, as in Redis.
        ("aof-checksum", yes_no(rng, 1_000 - bare_permille)),
        ("stop-writes-on-bgsave-error", yes_no(rng, 100)),
    ];
    let fixed = focus.map_or(&[][..], Focus::settings);
    settings.extend(PERSISTENCE.iter().map(|(name, values)| (*name, values[rng.index(values.len())])));
    for setting in &mut settings {
        *setting = *fixed.iter().find(|(name, _)| *name == setting.0).unwrap_or(setting);
    }
    // Small thresholds, so that encodings change while crashes happen.
    settings.extend(ENCODINGS.iter().filter(|_| rng.chance(400)).copied());
    settings
}

/// Settings of persistence that promise nothing by themselves, with what they may be; usual values are there more often.
const PERSISTENCE: [(&str, &[&str]); 12] = [
    ("save", &["\"\"", "\"\"", "1 5"]),
    ("aof-use-rdb-preamble", &["yes", "yes", "no"]),
    ("aof-timestamp-enabled", &["no", "no", "no", "yes"]),
    ("no-appendfsync-on-rewrite", &["no", "no", "no", "yes"]),
    ("rdbcompression", &["yes", "no"]),
    ("rdb-version", &["11", "12"]),
    ("rdb-save-incremental-fsync", &["yes", "no"]),
    ("aof-rewrite-incremental-fsync", &["yes", "no"]),
    ("auto-aof-rewrite-percentage", &["100", "100", "10", "0"]),
    ("auto-aof-rewrite-min-size", &["64mb", "64mb", "2kb"]),
    ("appendfsync-max-lag", &["2000", "2000", "0", "200", "10000"]),
    ("appendfsync-lag-action", &["wait", "wait", "refuse"]),
];

/// The same, changed at run time only; what forbids to cut a torn tail is taken back before each start.
const AT_RUN_TIME: [(&str, &[&str]); 8] = [
    ("stop-writes-on-bgsave-error", &["yes", "no"]),
    ("aof-load-truncated", &["yes", "no"]),
    ("rdb-key-save-delay", &["0", "0", "1000"]),
    ("rdb-del-sync-files", &["yes", "no"]),
    ("aof-archive-max-age", &["0", "60"]),
    ("aof-archive-max-bytes", &["0", "100000"]),
    ("disk-soft-limit", &["0", "4000"]),
    ("disk-hard-limit", &["0", "0", "2000"]),
];

const ENCODINGS: [(&str, &str); 8] = [
    ("hash-max-listpack-entries", "2"),
    ("hash-max-listpack-value", "16"),
    ("list-max-listpack-size", "2"),
    ("set-max-intset-entries", "3"),
    ("set-max-listpack-entries", "4"),
    ("zset-max-listpack-entries", "3"),
    ("stream-node-max-entries", "3"),
    ("hll-sparse-max-bytes", "30"),
];

struct Drawing {
    focus: Option<Focus>,
    policy: Policy,
    workload: Workload,
    clients: usize,
    has_faults: bool,
    has_clock_faults: bool,
    pause_us_max: u64,
    admin_permille: u32,
    number: usize,
    /// The kernel drops clean pages before the action after so many more.
    evict_after: Option<u64>,
    /// The next action asks for this.
    admin_next: Option<Op>,
}

impl Drawing {
    fn round(&mut self, number: u64, rng: &mut SimRng) -> Round {
        let count = [0, 5, 40, 80][rng.index(4)];
        let actions = (0..count).map(|_| self.action(rng)).collect();
        let mut round = Round { actions, ending: self.ending(rng), settings: self.new_settings(rng) };
        self.dwell(number, &mut round, rng);
        round
    }

    fn add(&mut self, actions: &mut Vec<Action>, deed: Deed, pause_us: u64) {
        self.number += 1;
        actions.push(Action { number: self.number, pause_us, deed });
    }

    /// What an operator changes between two lives.
    fn new_settings(&self, rng: &mut SimRng) -> Vec<(&'static str, &'static str)> {
        if !rng.chance(if self.focus == Some(Focus::Bare) { 500 } else { 250 }) {
            return Vec::new();
        }
        let yes_no = if rng.chance(500) { "yes" } else { "no" };
        if self.focus == Some(Focus::Bare) && !self.has_faults && rng.chance(700) {
            return vec![("aof-checksum", yes_no)];
        }
        let changed = match rng.below(7) {
            0 if self.policy == Policy::Switching => ("appendfsync", FSYNCS[rng.index(3)]),
            1 if matches!(self.policy, Policy::Switching | Policy::Rdb) => ("appendonly", "yes"),
            2 => ("rdbcompression", yes_no),
            3 => ("aof-timestamp-enabled", yes_no),
            4 => ("auto-aof-rewrite-min-size", if rng.chance(500) { "2kb" } else { "64mb" }),
            5 => ("save", if rng.chance(500) { "1 5" } else { "\"\"" }),
            _ => ("no-appendfsync-on-rewrite", yes_no),
        };
        vec![changed]
    }

    /// What decays after the last life; for a write that goes astray the fault is put among its actions.
    fn damage(&mut self, rounds: &mut [Round], rng: &mut SimRng) -> Damage {
        let kind = match rng.below(13) {
            _ if self.focus == Some(Focus::CutForbidden) => DamageKind::Unread,
            0..2 => DamageKind::Flip,
            2 => DamageKind::FlipInBase,
            3 => DamageKind::FlipInManifest,
            4 => DamageKind::ZeroSector,
            5..7 => DamageKind::ZeroBase,
            7 => DamageKind::Vanish,
            8 => DamageKind::VanishManifest,
            _ => DamageKind::None,
        };
        if kind == DamageKind::None
            && let Some(last) = rounds.last_mut()
        {
            self.number += 1;
            let back = rng.between(1, 600) as u32;
            let kind = if rng.chance(500) { FaultKind::Lost } else { FaultKind::Misdirected(back) };
            let (operation, skip) = (Operation::Write, rng.below(6) as u32);
            let fault =
                Fault { operation, path: ["incr", "base", "temp", ""][rng.index(4)].into(), skip, kind };
            last.actions.insert(0, Action { number: self.number, pause_us: 0, deed: Deed::Fault(fault) });
        }
        if kind == DamageKind::ZeroBase
            && let Some(last) = rounds.last_mut()
        {
            // Only what nothing follows could be taken for a torn log.
            self.add(&mut last.actions, Deed::Send { client: 0, ops: vec![Op::BgRewrite] }, 1_000_000);
            last.ending = Ending::Crash(Crash::Group, 3_000_000);
        }
        let is_strict = rng.chance(400) || kind == DamageKind::Unread;
        Damage { kind, pick: rng.number(), is_strict }
    }

    fn action(&mut self, rng: &mut SimRng) -> Action {
        self.number += 1;
        // Now and then nothing happens for seconds: the tail must be synced all the same.
        let pause_us =
            if rng.chance(20) { rng.between(1_000_000, 4_000_000) } else { rng.below(self.pause_us_max) };
        Action { number: self.number, pause_us, deed: self.deed(rng) }
    }

    fn deed(&mut self, rng: &mut SimRng) -> Deed {
        if self.evict_after.take_if(|count| *count == 0).is_some() {
            return Deed::Evict;
        }
        self.evict_after = self.evict_after.map(|count| count - 1);
        if let Some(op) = self.admin_next.take() {
            return Deed::Send { client: rng.index(self.clients), ops: vec![op] };
        }
        if self.focus == Some(Focus::Directory) && self.has_faults && rng.chance(60) {
            self.admin_next = Some(Op::BgRewrite);
            let (operation, kind) = (Operation::Fsync, FaultKind::Errno(EIO));
            let skip = rng.below(5) as u32;
            return Deed::Fault(Fault { operation, path: "appendonlydir".into(), skip, kind });
        }
        if self.has_faults && rng.chance(40) {
            let deed = self.fault(rng);
            if matches!(&deed, Deed::Fault(fault) if fault.operation == Operation::Fdatasync) {
                // Soon after a failed sync is when it shows what the cache is worth.
                self.evict_after = rng.chance(500).then(|| rng.below(3));
            }
            return deed;
        }
        if self.has_clock_faults && rng.chance(60) {
            const HOUR_US: u64 = 3_600_000_000;
            return match rng.below(5) {
                0 => Deed::StopClock,
                1 => Deed::GoOnClock,
                2 => Deed::Jump(rng.between(1, 2 * HOUR_US) as i64),
                _ => Deed::Jump(-(rng.between(1, 2 * HOUR_US) as i64)),
            };
        }
        if rng.chance(10) {
            return Deed::Reconnect(rng.index(self.clients));
        }
        if rng.chance(10) {
            return Deed::Reading(rng.index(self.clients), rng.chance(600));
        }
        let client = rng.index(self.clients);
        if rng.chance(self.admin_permille) {
            return Deed::Send { client, ops: vec![self.admin(rng)] };
        }
        let ops = self.request(client % 2, rng);
        if rng.chance(15) {
            let (sent_permille, after_us) = (rng.between(1, 1_000), rng.below(3_000));
            return Deed::SendAndBreak { client, ops, sent_permille, after_us };
        }
        Deed::Send { client, ops }
    }

    /// What a client of this database sends in one go.
    fn request(&mut self, db: usize, rng: &mut SimRng) -> Vec<Op> {
        let mut ops = match rng.below(20) {
            _ if self.focus == Some(Focus::Bare) && rng.chance(400) => self.transaction(db, rng),
            0..12 => vec![Op::Data(self.workload.command(db, rng))],
            12..16 => (0..rng.between(2, 8)).map(|_| Op::Data(self.workload.command(db, rng))).collect(),
            16 => vec![Op::Watch(self.workload.watched(rng)), Op::Data(self.workload.command(db, rng))],
            17 => [vec![Op::Watch(self.workload.watched(rng))], self.transaction(db, rng)].concat(),
            _ => self.transaction(db, rng),
        };
        // Behind a command that may wait nothing is sent, except inside of a transaction, where none waits.
        if !ops.contains(&Op::Multi)
            && let Some(last) = ops.iter().position(Op::ends_pipeline)
        {
            ops.truncate(last + 1);
        }
        ops
    }

    fn transaction(&mut self, db: usize, rng: &mut SimRng) -> Vec<Op> {
        let commands = self.workload.transaction(db, rng).into_iter().map(Op::Data);
        let end = if rng.chance(80) { Op::Discard } else { Op::Exec };
        [Op::Multi].into_iter().chain(commands).chain([end]).collect()
    }

    fn admin(&mut self, rng: &mut SimRng) -> Op {
        if self.policy == Policy::Switching && rng.chance(400) {
            return match rng.below(4) {
                0 => Op::Config("appendonly", "no"),
                1 => Op::Config("appendonly", "yes"),
                _ => Op::Config("appendfsync", FSYNCS[rng.index(3)]),
            };
        }
        if rng.chance(250) {
            let all = PERSISTENCE.len() + AT_RUN_TIME.len();
            let (name, values) =
                *PERSISTENCE.iter().chain(&AT_RUN_TIME).nth(rng.index(all)).expect("in range");
            return Op::Config(name, values[rng.index(values.len())]);
        }
        match (self.policy, rng.below(14)) {
            (_, 10..) => Op::Info,
            (Policy::Rdb, 0..7) => Op::BgSave,
            (Policy::Rdb, _) => Op::Save,
            (_, 0..5) => Op::BgRewrite,
            (_, 5..7) => Op::WaitAof,
            (_, 7) => Op::Save,
            _ => Op::BgSave,
        }
    }

    fn fault(&mut self, rng: &mut SimRng) -> Deed {
        const PATHS: [&str; 5] = ["", "incr", "manifest", "temp", "base"];
        if self.policy == Policy::No && rng.chance(250) {
            // The one sync that `no` asks for is that of a file that is full: what it loses only the rewrite brings back.
            self.admin_next = Some(Op::BgRewrite);
            let (operation, kind) = (Operation::Fdatasync, FaultKind::Errno(EIO));
            return Deed::Fault(Fault { operation, path: "incr".into(), skip: 0, kind });
        }
        match rng.below(16) {
            12..16 => Deed::Evict,
            0 => Deed::FailFork,
            1 => Deed::KillChild,
            2 => Deed::Jump(rng.between(1_000_000, 3_600_000_000) as i64),
            3 => Deed::Room(Some(rng.between(0, 6_000))),
            4 => Deed::Room(None),
            _ => {
                let (operation, kind) = draw_fault(rng);
                let path = PATHS[rng.index(PATHS.len())].into();
                Deed::Fault(Fault { operation, path, skip: rng.below(6) as u32, kind })
            }
        }
    }

    fn ending(&mut self, rng: &mut SimRng) -> Ending {
        let crash = [Crash::Power, Crash::Power, Crash::Server, Crash::Group, Crash::Power][rng.index(5)];
        let moment = [Moment::Before, Moment::Within, Moment::After][rng.index(3)];
        match rng.below(10) {
            0..4 => Ending::Crash(crash, rng.below(self.pause_us_max * 2)),
            4..7 => Ending::CrashAt(crash, rng.below(12), moment),
            7..9 => Ending::CrashInRecovery(crash, rng.below(24), moment),
            _ => match rng.below(10) {
                0..2 => Ending::Shutdown(&[]),
                2 => Ending::Shutdown(&["nosave"]),
                3 => Ending::Shutdown(&["save"]),
                4 => Ending::Shutdown(&["now"]),
                5 => Ending::Shutdown(&["force"]),
                6 => Ending::Shutdown(&["save", "now", "force"]),
                7 => Ending::Shutdown(&["nosave", "force"]),
                8 => Ending::Shutdown(&["abort"]),
                _ => Ending::Terminate,
            },
        }
    }
}

pub(super) const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

fn draw_fault(rng: &mut SimRng) -> (Operation, FaultKind) {
    match rng.below(21) {
        // Delayed allocation: the device is found to be full when pages are written out, and who syncs hears of it.
        13 => (Operation::Fdatasync, FaultKind::Errno(ENOSPC)),
        14 => (Operation::Open, FaultKind::Errno(EMFILE)),
        // A file system that has found an error turns itself read-only (mount(8), errors=remount-ro).
        15 => (Operation::Rename, FaultKind::Errno(EROFS)),
        16 => (Operation::Mkdir, FaultKind::Errno(ENOSPC)),
        17 => (Operation::Read, FaultKind::Errno(EIO)),
        18 => (Operation::Write, FaultKind::Slow(rng.between(100_000, 3_000_000))),
        // A device that resets its bus, a cloud volume that fails over.
        19 if rng.chance(300) => (Operation::Fdatasync, FaultKind::Slow(rng.between(10_000_000, 30_000_000))),
        0..3 => (Operation::Fdatasync, FaultKind::Errno(EIO)),
        3 => (Operation::Fsync, FaultKind::Errno(EIO)),
        4 => (Operation::Write, FaultKind::Errno(ENOSPC)),
        5 => (Operation::Write, FaultKind::Short(rng.below(60) as u32)),
        6 => (Operation::Write, FaultKind::Writeback),
        7 => (Operation::Rename, FaultKind::Errno(EIO)),
        8 => (Operation::Open, FaultKind::Errno(ENOSPC)),
        9 => (Operation::Unlink, FaultKind::Errno(EIO)),
        10 => (Operation::Write, FaultKind::Interrupted),
        11 => (Operation::Truncate, FaultKind::Errno(EIO)),
        12 => (Operation::Fdatasync, FaultKind::Interrupted),
        _ => (Operation::Fdatasync, FaultKind::Slow(rng.between(500_000, 4_500_000))),
    }
}
