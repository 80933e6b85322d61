//! Counters of what really happened, so that a sweep can prove it tested what it claims.
//!
//! Exists because a fault that never fires is a test that cannot fail. A sweep adds the counters of its runs and
//! fails if one that it promised stayed at zero ("sometimes" assertions, after Antithesis and FoundationDB's probes).

use strum::VariantArray;

/// Something that should happen in some run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, VariantArray)]
pub enum Happening {
    /// A sector came back half old, half new.
    TornSector,
    /// A later sector was kept while an earlier one of the same file was lost.
    SectorsReordered,
    /// Zeroes stood where bytes had been appended.
    ZeroTail,
    /// Old bytes of somebody else stood there.
    GarbageTail,
    /// A length was kept, its data was not.
    LenAheadOfData,
    /// A created or linked name was lost.
    NameLost,
    /// A rename was lost.
    RenameLost,
    /// A later change of names was kept, an earlier one was lost.
    NamesReordered,
    /// A removed name came back.
    RemovedNameReturned,
    /// A sync failed and its pages were marked clean.
    SyncFailedClean,
    /// A sync failed and the file went back to its old contents.
    SyncFailedReverted,
    /// An error of the past was reported to another description of the file.
    SyncErrorSeenLater,
    /// Pages were lost in the background, nobody having asked.
    WritebackFailed,
    /// A write took fewer bytes than given.
    ShortWrite,
    /// No space was left.
    NoSpace,
    /// A system call was interrupted and repeated.
    Interrupted,
    /// An operation failed by plan.
    ErrorByPlan,
    /// A read failed by plan.
    ReadFailed,
    /// An operation was slowed by plan.
    Slow,
    /// A sync took more than a second.
    SyncOverOneSecond,
    /// A bit flipped at rest.
    BitRot,
    /// A sector turned to zeroes at rest.
    SectorZeroed,
    /// A file was gone after a repair of the file system.
    FileVanished,
    /// A write never reached the platter.
    WriteLost,
    /// A write went to the wrong place.
    WriteMisdirected,
    /// Clean pages were dropped and re-read.
    CacheEvicted,
    /// A dead process tried to act, and nothing changed.
    DeadProcessActed,
    /// Power was lost.
    PowerLost,
    /// The server was killed.
    ServerKilled,
    /// The server was killed while it was loading.
    CrashInRecovery,
    /// A sync in flight took effect although its process was dead.
    SyncOutlivedProcess,
    /// A snapshot child wrote after its parent's death.
    OrphanActed,
    /// A snapshot child was killed.
    ChildKilled,
    /// Fork failed.
    ForkFailed,
    /// A process got the number of an earlier one.
    PidReused,
    /// The wall clock jumped ahead.
    WallClockJumped,
    /// The wall clock went back.
    WallClockWentBack,
    /// The wall clock stood still.
    WallClockStoodStill,
    /// The server was stopped by a signal and ended by itself.
    StoppedGracefully,
    /// A client was cut off in the middle of what it sent.
    ClientCut,
    /// Several inputs were handed in before one turn.
    InputsCoalesced,
    /// Output was taken in part only.
    OutputTakenInPart,
}

const HAPPENING_COUNT: usize = Happening::VARIANTS.len();

/// How often each happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sometimes {
    counts: [u64; HAPPENING_COUNT],
}

impl Default for Sometimes {
    fn default() -> Sometimes {
        Sometimes { counts: [0; HAPPENING_COUNT] }
    }
}

impl Sometimes {
    /// It happened.
    pub fn note(&mut self, happening: Happening) {
        self.counts[happening as usize] += 1;
    }

    /// How often it happened.
    pub fn count(&self, happening: Happening) -> u64 {
        self.counts[happening as usize]
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Sometimes) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
    }

    /// Those that never happened, in order.
    pub fn never(&self) -> impl Iterator<Item = Happening> + '_ {
        Happening::VARIANTS.iter().copied().filter(|happening| self.count(*happening) == 0)
    }
}
