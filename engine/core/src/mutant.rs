//! Faults put into the engine on purpose, to find out whether the judge would see them.
//!
//! Exists because a sweep that finds nothing proves nothing until it is known what it would have found. Each mutant is
//! a mistake that a real server has made; `perdura-harness mutants` switches one on at a time and sweeps.
//!
//! Always true: without the cargo feature `mutants`, which only tests and the harness can ask for, [`is`] is `false`
//! at compile time and no trace of this is left.
//!
//! Not here: what catches them (`harness/src/sim/mutants.rs`).

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A mistake.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Mutant {
            $($(#[$doc])* $name,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Mutant] = &[$(Mutant::$name,)*];
        }
    };
}

mutants! {
    /// `always` never syncs.
    AlwaysWithoutSync,
    /// `always` answers before its sync has ended.
    ReplyBeforeSync,
    /// A reply waits for its own client's writes only, not for those that it shows.
    ReadsNotGated,
    /// The sync is asked for before the write that it is meant to cover.
    SyncBeforeWrite,
    /// The end of a sync counts for everything written meanwhile.
    SyncCoversLater,
    /// `everysec` and `no` answer before the write (Redis, while a sync is slow).
    ReplyBeforeWrite,
    /// `everysec` syncs only when something is being written (redis#5985).
    IdleTailNotSynced,
    /// A sync counts when it begins (redis#13793).
    SyncedAtSubmit,
    /// WAITAOF is answered by what is written, not synced.
    WaitaofEarly,
    /// Switching to `always` takes the backlog for synced.
    SwitchTrustsBacklog,
    /// `appendonly no` does not wait for the tail.
    DisableDropsTail,
    /// SHUTDOWN does not flush the log.
    ShutdownWithoutFlush,
    /// SHUTDOWN succeeds although the log cannot be synced (W15).
    ShutdownIgnoresFailure,
    /// `no-appendfsync-on-rewrite` weakens `always` (W19).
    RewritePausesAlways,
    /// `everysec` answers however far the disk is behind.
    NoBackpressure,
    /// While a file is changed replies wait for nothing.
    HoldAnswersAll,
    /// The manifest is renamed before it is synced.
    ManifestNotSynced,
    /// The directory is not synced after the manifest's rename (redis#10737).
    ManifestNameNotSynced,
    /// The directory is not synced between making a part and naming it (W11).
    PartNameNotSynced,
    /// The manifest names a part before it is made.
    ManifestBeforePart,
    /// The manifest is written in place.
    ManifestInPlace,
    /// A snapshot is renamed before it is synced.
    SnapshotNotSynced,
    /// Old parts are removed before the manifest that does without them.
    OldPartsRemovedFirst,
    /// The next part takes records before the old one is synced (W5).
    OldPartNotSynced,
    /// The directory is not synced after the snapshot's rename.
    DumpNameNotSynced,
    /// What is logged between fork and switch goes to the old part.
    CutWithoutHold,
    /// A rewrite that fails forgets the parts before it.
    FailedRewriteDropsPart,
    /// The first record of a new part does not select its database.
    SelectNotRepeated,
    /// A transaction is logged without its frame.
    MultiNotFramed,
    /// A batch is read whatever its checksum says.
    ChecksumIgnored,
    /// Zeroes at the end are damage (redis#5177).
    ZeroTailRefused,
    /// A torn tail is skipped but not cut.
    TailNotCut,
    /// What a start serves is not made durable first.
    StartNotSettled,
    /// A failed sync counts (Redis before 6.2).
    SyncErrorIgnored,
    /// A failed sync is tried again (fsyncgate).
    SyncErrorRetried,
    /// A failed write counts.
    WriteErrorIgnored,
    /// The fresh file after a failed sync begins without what was not synced.
    SalvageDropsUnsynced,
    /// The fresh file after a failed sync is not named in the manifest.
    RepairNotListed,
    /// SAVE is answered before its file is in place.
    SaveAnsweredEarly,
    /// A start counts the log's offset from 0 again.
    OffsetForgotten,
    /// A set that was switched off wins over a newer snapshot (W12).
    ClosedSetWins,
}

/// Whether mutants are compiled in.
pub const ARE_COMPILED_IN: bool = cfg!(feature = "mutants");

#[cfg(feature = "mutants")]
static ACTIVE: core::sync::atomic::AtomicU8 = core::sync::atomic::AtomicU8::new(0);

/// Whether the engine makes this mistake.
#[cfg(feature = "mutants")]
pub fn is(mutant: Mutant) -> bool {
    ACTIVE.load(core::sync::atomic::Ordering::Relaxed) == mutant as u8 + 1
}

/// Whether the engine makes this mistake: no.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is(_mutant: Mutant) -> bool {
    false
}

/// Makes all engines of this process make one mistake, or none.
#[cfg(feature = "mutants")]
pub fn set(mutant: Option<Mutant>) {
    let number = mutant.map_or(0, |mutant| mutant as u8 + 1);
    ACTIVE.store(number, core::sync::atomic::Ordering::Relaxed);
}
