//! What plans dwell on: places that chance alone would come to once in thousands of them.
//!
//! Each mutant that survived a sweep for long has led to one of these: the judge could see it, but hardly any plan went there.
//!
//! Always true: what is added here is added to a round that was drawn without it, so all else goes on around it.
//!
//! Not here: drawing everything else (`../plan.rs`), which mutant is hunted where (`../mutants.rs`).

use perdura_sim::{Crash, Fault, FaultKind, Moment, Operation, SimRng};
use strum::VariantArray;

use super::{Action, Deed, Drawing, EIO, Ending, Policy, Round};
use crate::sim::workload::Op;

/// What a plan dwells on: a rare place that chance alone would come to once in thousands of plans.
#[derive(Clone, Copy, PartialEq, Eq, Debug, VariantArray)]
pub enum Focus {
    /// Streams with their groups, rewritten as commands.
    Streams,
    /// Under `no` the sync of a rotation fails, and the power goes before the rewrite has ended that makes it good.
    Hole,
    /// AOF is switched off again while its first base is being put in place, or while its last sync takes long.
    SwitchBack,
    /// A directory's sync fails during a rewrite, or while the log goes on in a fresh file.
    Directory,
    /// The log cannot be synced when the server is asked to stop.
    FailedStop,
    /// A log without checksums, or with them in some lives only, on the file system that may have one, torn inside of
    /// transactions.
    Bare,
    /// Something decays at rest.
    Decay,
    /// A torn log meets `aof-load-truncated no`.
    CutForbidden,
    /// Syncs that take seconds, under `everysec`, which is `no` for a moment.
    Slow,
    /// A key outlives the time that the base of the set has for it.
    Outlived,
    /// What another server left is the beginning.
    Inherited,
    /// AOF is switched on under `always`, and INFO is asked from when on it counts.
    SwitchOn,
    /// A child outlives its server and meets that of the next one.
    Orphan,
    /// A crash cuts the making of the first set short, and the server goes on without AOF before it is switched on again.
    Strays,
}

impl Focus {
    pub(super) fn policy(self, rng: &mut SimRng) -> Policy {
        match self {
            Focus::Hole => Policy::No,
            Focus::SwitchBack | Focus::SwitchOn | Focus::Strays => Policy::Switching,
            Focus::Slow => Policy::Everysec,
            Focus::Streams
            | Focus::Directory
            | Focus::FailedStop
            | Focus::Bare
            | Focus::Outlived
            | Focus::Inherited => Policy::VARIANTS[rng.index(3)],
            Focus::Orphan => [Policy::Rdb, Policy::Always, Policy::Everysec][rng.index(3)],
            // What is torn has a file after it, or not, only where syncs are rare.
            Focus::Decay | Focus::CutForbidden => [Policy::Everysec, Policy::No][rng.index(2)],
        }
    }

    pub(super) fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Focus::Streams => &[("aof-use-rdb-preamble", "no")],
            Focus::Decay | Focus::CutForbidden => &[("aof-use-rdb-preamble", "yes")],
            Focus::Strays => &[("appendonly", "no"), ("save", "\"\"")],
            _ => &[],
        }
    }
}

impl Drawing {
    /// Brings a round to what the plan dwells on.
    pub(super) fn dwell(&mut self, number: u64, round: &mut Round, rng: &mut SimRng) {
        let Round { settings, actions, ending } = round;
        match self.focus {
            Some(Focus::Hole) if self.has_faults && rng.chance(600) => {
                settings.push(("rdb-key-save-delay", "0"));
                *ending = self.leave_hole(actions, rng);
            }
            Some(Focus::FailedStop) if self.has_faults && rng.chance(600) => {
                self.fail_before_stop(actions, rng);
                let ways: [&[&str]; 4] = [&[], &["nosave"], &["nosave", "now"], &["save"]];
                *ending = Ending::Shutdown(ways[rng.index(4)]);
            }
            Some(Focus::Directory) if self.has_faults && rng.chance(500) => {
                self.doubt_repair(actions, rng);
                *ending = Ending::Crash(Crash::Power, rng.below(20_000));
            }
            Some(Focus::CutForbidden) => *ending = Ending::Crash(Crash::Power, rng.below(5_000)),
            Some(Focus::SwitchBack) if rng.chance(600) => {
                self.switch_back(actions, rng);
                *ending = Ending::Crash(Crash::Power, rng.below(20_000));
            }
            Some(Focus::SwitchOn) if rng.chance(600) => {
                self.switch_on(actions, rng);
                *ending = Ending::Crash(Crash::Power, 0);
            }
            Some(Focus::Outlived) if rng.chance(600) => self.outlive_base(actions, rng),
            // Decay finds something in a base only behind a rewrite.
            Some(Focus::Decay) if rng.chance(500) => self.ask(actions, Op::BgRewrite, rng.below(50_000)),
            Some(Focus::Orphan) => self.leave_orphan(number, round, rng),
            Some(Focus::Inherited) if number == 0 && rng.chance(600) => {
                let crash = [Crash::Power, Crash::Group][rng.index(2)];
                *ending = Ending::CrashInRecovery(crash, rng.below(40), Moment::After);
            }
            Some(Focus::Slow) if rng.chance(400) => self.flip_policy(actions, rng),
            Some(Focus::Slow) if rng.chance(400) => {
                self.rotate_under_sync(actions, rng);
                *ending = Ending::Crash(Crash::Power, rng.below(500_000));
            }
            Some(Focus::Strays) => self.leave_strays(number, round, rng),
            _ => {}
        }
    }

    fn ask(&mut self, actions: &mut Vec<Action>, op: Op, pause_us: u64) {
        self.add(actions, Deed::Send { client: 0, ops: vec![op] }, pause_us);
    }

    fn change_something(&mut self, actions: &mut Vec<Action>, pause_us: u64, rng: &mut SimRng) {
        let command = self.workload.command(0, rng);
        self.ask(actions, Op::Data(command), pause_us);
    }

    fn hit_sync(&mut self, path: &str, kind: FaultKind, skip: u32, actions: &mut Vec<Action>, pause_us: u64) {
        let fault = Fault { operation: Operation::Fdatasync, path: path.into(), skip, kind };
        self.add(actions, Deed::Fault(fault), pause_us);
    }

    /// The sync that closes a file fails, and the log goes on: the file is changed for a rewrite that takes long, or AOF is
    /// switched off, or the server is asked to stop and cannot.
    fn leave_hole(&mut self, actions: &mut Vec<Action>, rng: &mut SimRng) -> Ending {
        let what = rng.below(7);
        let delay = if what == 0 { "10000000" } else { "100000" };
        self.ask(actions, Op::Config("rdb-key-save-delay", delay), 0);
        for _ in 0..rng.between(2, 8) {
            self.change_something(actions, 1_000, rng);
        }
        self.hit_sync("incr", FaultKind::Errno(EIO), 0, actions, 1_000);
        match what {
            0 => return Ending::Shutdown(&["nosave"]),
            1 => {
                self.ask(actions, Op::Config("appendonly", "no"), 0);
                self.change_something(actions, 0, rng);
                self.ask(actions, Op::Save, rng.below(30_000));
            }
            2 => {
                // The rewrite that is to fill it fails as well; then everybody waits for it.
                self.hit_sync("temp-appendonly.aof.manifest", FaultKind::Errno(EIO), 1, actions, 0);
                self.ask(actions, Op::BgRewrite, 0);
                self.ask(actions, Op::Config("appendfsync", "always"), 3_000_000);
                self.change_something(actions, 0, rng);
                self.ask(actions, Op::Save, 0);
            }
            _ => {
                self.ask(actions, Op::BgRewrite, 0);
                for _ in 0..rng.below(4) {
                    self.change_something(actions, rng.below(30_000), rng);
                }
            }
        }
        Ending::Crash(Crash::Power, rng.below(20_000))
    }

    /// The log goes on in a fresh file, and whether the manifest that names it is the one on disk is unknown.
    fn doubt_repair(&mut self, actions: &mut Vec<Action>, rng: &mut SimRng) {
        let (operation, path) =
            [(Operation::Rename, "manifest"), (Operation::Fsync, "appendonlydir")][rng.index(2)];
        let kind = FaultKind::Errno(EIO);
        self.hit_sync("incr", kind, 0, actions, 0);
        let skip = rng.below(2) as u32;
        self.add(actions, Deed::Fault(Fault { operation, path: path.into(), skip, kind }), 0);
        for _ in 0..rng.between(2, 6) {
            self.change_something(actions, rng.below(300_000), rng);
        }
    }

    /// A sync fails just before the server is to stop, perhaps that of a rewrite which has just begun.
    fn fail_before_stop(&mut self, actions: &mut Vec<Action>, rng: &mut SimRng) {
        self.hit_sync("incr", FaultKind::Errno(EIO), rng.below(3) as u32, actions, 0);
        if rng.chance(500) {
            self.change_something(actions, 0, rng);
            self.change_something(actions, 1_000, rng);
            self.ask(actions, Op::BgRewrite, 0);
            self.ask(actions, Op::Info, rng.below(12_000));
        }
    }

    /// The server is killed before its child has come far; the next one has a child as well at once, and lives to see its end.
    fn leave_orphan(&mut self, number: u64, round: &mut Round, rng: &mut SimRng) {
        let op = if self.policy == Policy::Rdb { Op::BgSave } else { Op::BgRewrite };
        let mut actions = Vec::new();
        self.change_something(&mut actions, 0, rng);
        self.ask(&mut actions, Op::Config("rdb-key-save-delay", "2000"), 0);
        self.ask(&mut actions, op, 0);
        self.change_something(&mut actions, rng.below(2_000), rng);
        round.actions = actions;
        round.ending = match number % 2 {
            0 => Ending::Crash(Crash::Server, rng.below(30_000)),
            _ => Ending::Crash(Crash::Group, rng.below(600_000)),
        };
    }

    /// AOF is switched off, on, and off again before its first base is in place, while the disk may be slow or fail; then a
    /// snapshot is the newer one.
    fn switch_back(&mut self, actions: &mut Vec<Action>, rng: &mut SimRng) {
        self.change_something(actions, 0, rng);
        let (mut off_us, mut end_us) = (200_000, 300_000);
        match rng.below(4) {
            0 | 1 => {
                self.ask(actions, Op::Config("appendfsync", "always"), 0);
                self.hit_sync("temp-appendonly.aof.incr", FaultKind::Errno(EIO), 0, actions, 0);
            }
            2 => {
                self.hit_sync("incr", FaultKind::Slow(2_000_000), 0, actions, 0);
                (off_us, end_us) = (10_000, 4_000_000);
            }
            _ => {}
        }
        for (value, pause_us) in [("no", 0), ("yes", off_us), ("no", rng.below(40_000))] {
            self.ask(actions, Op::Config("appendonly", value), pause_us);
            self.change_something(actions, rng.below(20_000), rng);
        }
        self.ask(actions, Op::Save, end_us);
    }

    /// AOF is switched on under `always`, while changes go on and INFO is asked at every turn.
    fn switch_on(&mut self, actions: &mut Vec<Action>, rng: &mut SimRng) {
        let switches =
            [("appendonly", "no", 0), ("appendfsync", "always", 200_000), ("appendonly", "yes", 200_000)];
        for (name, value, pause_us) in switches {
            self.ask(actions, Op::Config(name, value), pause_us);
        }
        for _ in 0..rng.between(10, 40) {
            self.change_something(actions, rng.below(2_000), rng);
            self.ask(actions, Op::Info, rng.below(500));
        }
    }

    /// While a sync takes long the policy is `no` for a moment.
    fn flip_policy(&mut self, actions: &mut Vec<Action>, rng: &mut SimRng) {
        self.change_something(actions, 0, rng);
        self.hit_sync("incr", FaultKind::Slow(8_000_000), 0, actions, 0);
        self.change_something(actions, 1_300_000, rng);
        for (policy, pause_us) in [("no", rng.below(1_000_000)), ("everysec", rng.below(2_000_000))] {
            self.change_something(actions, 0, rng);
            self.ask(actions, Op::Config("appendfsync", policy), pause_us);
        }
        for _ in 0..3 {
            self.change_something(actions, rng.below(1_000_000), rng);
        }
    }

    /// Pages cannot be written back, the sync that is told so takes long, and meanwhile the file is changed for a rewrite.
    fn rotate_under_sync(&mut self, actions: &mut Vec<Action>, rng: &mut SimRng) {
        let (operation, kind) = (Operation::Write, FaultKind::Writeback);
        self.add(actions, Deed::Fault(Fault { operation, path: "incr".into(), skip: 0, kind }), 0);
        self.hit_sync("incr", FaultKind::Slow(8_000_000), 0, actions, 0);
        self.ask(actions, Op::Config("rdb-key-save-delay", "100000"), 0);
        self.change_something(actions, 0, rng);
        self.change_something(actions, 0, rng);
        self.ask(actions, Op::BgRewrite, rng.between(1_000, 2_000_000));
        self.ask(actions, Op::Info, rng.between(1_000, 500_000));
        self.ask(actions, Op::WaitAof, 0);
    }

    /// Three lives in turn: the first set is cut short, the next server knows of no AOF and goes on, the third is to have one.
    fn leave_strays(&mut self, number: u64, round: &mut Round, rng: &mut SimRng) {
        let actions = &mut round.actions;
        match number % 3 {
            0 => {
                self.change_something(actions, 0, rng);
                self.ask(actions, Op::Config("appendonly", "yes"), 200_000);
                round.settings = vec![("appendonly", "no")];
                round.ending = Ending::CrashAt(Crash::Group, rng.below(24), Moment::After);
            }
            1 => {
                self.change_something(actions, 0, rng);
                self.ask(actions, Op::Save, 200_000);
                round.settings = vec![("appendonly", "no")];
                round.ending = Ending::Crash(Crash::Group, 300_000);
            }
            _ => round.settings = vec![("appendonly", "yes")],
        }
    }

    /// A key is to live for a moment, is written into a base, and is made to stay.
    fn outlive_base(&mut self, actions: &mut Vec<Action>, rng: &mut SimRng) {
        let [set, persist] = self.workload.outliving(rng.between(100, 500), rng);
        self.ask(actions, Op::Data(set), 0);
        self.ask(actions, Op::BgRewrite, 0);
        self.ask(actions, Op::Data(persist), rng.between(1_000, 90_000));
        self.change_something(actions, 600_000, rng);
    }
}
