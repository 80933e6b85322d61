//! What plans dwell on: places that chance alone would come to once in thousands of them.
//!
//! Each mutant that survived a sweep for long has led to one of these: the judge could see it, but hardly any plan went there.
//!
//! Always true: what is added here is added to a round that was drawn without it, so all else goes on around it.
//!
//! Not here: drawing everything else (`../plan.rs`), which mutant is hunted where (`../mutants.rs`).

use perdura_sim::{Crash, Fault, FaultKind, Operation, SimRng};
use strum::VariantArray;

use super::{Action, Deed, Drawing, EIO, Ending, Policy};
use crate::sim::workload::Op;

/// What a plan dwells on: a rare place that chance alone would come to once in thousands of plans.
#[derive(Clone, Copy, PartialEq, Eq, Debug, VariantArray)]
pub enum Focus {
    /// Streams with their groups, rewritten as commands.
    Streams,
    /// Under `no` the sync of a rotation fails, and the power goes before the rewrite has ended that makes it good.
    Hole,
    /// AOF is switched off again while its first base is being put in place.
    SwitchBack,
    /// A directory's sync fails during a rewrite.
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
    /// Syncs that take seconds, under `everysec`.
    Slow,
    /// A key outlives the time that the base of the set has for it.
    Outlived,
}

impl Focus {
    pub(super) fn policy(self, rng: &mut SimRng) -> Policy {
        match self {
            Focus::Hole => Policy::No,
            Focus::SwitchBack => Policy::Switching,
            Focus::Slow => Policy::Everysec,
            Focus::Streams | Focus::Directory | Focus::FailedStop | Focus::Bare | Focus::Outlived => {
                Policy::VARIANTS[rng.index(3)]
            }
            // What is torn has a file after it, or not, only where syncs are rare.
            Focus::Decay | Focus::CutForbidden => [Policy::Everysec, Policy::No][rng.index(2)],
        }
    }

    pub(super) fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Focus::Streams => &[("aof-use-rdb-preamble", "no")],
            Focus::Decay | Focus::CutForbidden => &[("aof-use-rdb-preamble", "yes")],
            _ => &[],
        }
    }
}

impl Drawing {
    /// Brings a round to what the plan dwells on.
    pub(super) fn dwell(&mut self, actions: &mut Vec<Action>, ending: &mut Ending, rng: &mut SimRng) {
        match self.focus {
            Some(Focus::Hole) if self.has_faults && rng.chance(600) => {
                self.leave_hole(actions, rng);
                *ending = Ending::Crash(Crash::Power, rng.below(20_000));
            }
            Some(Focus::FailedStop) if self.has_faults && rng.chance(600) => {
                let skip = rng.below(3) as u32;
                self.fail_sync(actions, skip, 0);
                let ways: [&[&str]; 4] = [&[], &["nosave"], &["nosave", "now"], &["save"]];
                *ending = Ending::Shutdown(ways[rng.index(4)]);
            }
            Some(Focus::CutForbidden) => *ending = Ending::Crash(Crash::Power, rng.below(5_000)),
            Some(Focus::SwitchBack) if rng.chance(600) => {
                self.switch_back(actions, rng);
                *ending = Ending::Crash(Crash::Power, rng.below(20_000));
            }
            Some(Focus::Outlived) if rng.chance(600) => self.outlive_base(actions, rng),
            // Decay finds something in a base only behind a rewrite.
            Some(Focus::Decay) if rng.chance(500) => self.ask(actions, Op::BgRewrite, rng.below(50_000)),
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

    fn fail_sync(&mut self, actions: &mut Vec<Action>, skip: u32, pause_us: u64) {
        let (operation, kind) = (Operation::Fdatasync, FaultKind::Errno(EIO));
        self.add(actions, Deed::Fault(Fault { operation, path: "incr".into(), skip, kind }), pause_us);
    }

    /// The sync of a rotation fails while a rewrite begins that takes long, and the log goes on.
    fn leave_hole(&mut self, actions: &mut Vec<Action>, rng: &mut SimRng) {
        self.ask(actions, Op::Config("rdb-key-save-delay", "100000"), 0);
        for _ in 0..rng.between(2, 8) {
            self.change_something(actions, 1_000, rng);
        }
        self.fail_sync(actions, 0, 1_000);
        self.ask(actions, Op::BgRewrite, 0);
        for _ in 0..rng.below(4) {
            self.change_something(actions, rng.below(30_000), rng);
        }
    }

    /// AOF is switched off, on, and off again before its first base is in place; then a snapshot is the newer one.
    fn switch_back(&mut self, actions: &mut Vec<Action>, rng: &mut SimRng) {
        self.change_something(actions, 0, rng);
        for (value, pause_us) in [("no", 0), ("yes", 200_000), ("no", rng.below(80_000))] {
            self.ask(actions, Op::Config("appendonly", value), pause_us);
            self.change_something(actions, 0, rng);
        }
        self.ask(actions, Op::Save, 300_000);
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
