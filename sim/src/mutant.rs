//! Mistakes of a host, put in on purpose, to find out whether the judge would see them.
//!
//! Exists because half of what durability rests on is not the engine's: that a short write is gone on with, that a cut is
//! synced, that a child's failure is reported. Each mutant is a mistake that a real server's host layer has made.
//!
//! Always true: without one named in [`WorldConfig`](crate::WorldConfig) the simulated host makes none.
//!
//! Not here: mistakes of the engine (`perdura_core::mutant`), what catches them (`harness/src/sim/mutants.rs`).

use strum::VariantArray;

/// A mistake of the host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, VariantArray)]
pub enum HostMutant {
    /// A write that took a part is reported as whole.
    ShortWriteTakenForWhole,
    /// After a short write the buffer is sent again from its beginning (valkey#2627 is the family).
    ShortWriteSentAgain,
    /// A file is cut and the cut not synced (redis' load-time truncate, W11).
    CutNotSynced,
    /// Directories are never synced (redis#10737).
    DirSyncForgotten,
    /// sync_file_range instead of fdatasync: bytes go to the device, the length that covers them does not.
    SyncWithoutLength,
    /// A sync does not wait for the appends asked for before it.
    SyncOvertakesAppends,
    /// A sync that a signal interrupts is reported as done.
    InterruptedSyncTakenForDone,
    /// A list of steps goes on after a step that failed, and succeeds (EROFS on the manifest's rename).
    StepsGoOnAfterError,
    /// However a child ends, its file is taken for whole: its exit status is not looked at.
    ChildStatusIgnored,
    /// All children write to one name, whatever their process id.
    TempNameShared,
}
