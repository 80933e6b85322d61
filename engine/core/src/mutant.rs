//! Faults put into the engine on purpose, to find out whether the judge would see them.
//!
//! Exists because a sweep that finds nothing proves nothing until it is known what it would have found. Each mutant is
//! a mistake that a real server has made; `perdura-harness mutants` switches one on at a time and sweeps.
//!
//! Always true: without the cargo feature `mutants`, which only tests and the harness can ask for, [`is`] is `false`
//! at compile time and no trace of this is left.
//!
//! Not here: what catches them (`harness/src/sim/mutants.rs`).

use strum::VariantArray;

/// A mistake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, VariantArray)]
#[repr(u8)]
pub enum Mutant {
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
    /// A round of `everysec` that finds a sync running is forgotten (W3).
    EverysecRoundForgotten,
    /// The second of `everysec` is counted by the wall clock.
    TimerOnWallClock,
    /// After a change of files the sync goes to one that is closed, and its EBADF counts as success (redis#8751).
    SyncOfAnotherFile,
    /// Switching to `always` takes the backlog for synced.
    SwitchTrustsBacklog,
    /// INFO says that the log is on while what was answered before is still being synced.
    SettlingNotSaid,
    /// `appendonly no` forgets a first base that is being put in place (seed 100555).
    InstalledWhileOff,
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
    /// What `everysec` answered is forgotten while the policy is `no`, and counts as new afterwards (seed 3003841).
    LagForgottenUnderNo,
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
    /// A snapshot is written over the one before (redisraft#654).
    DumpInPlace,
    /// The child puts its snapshot in place by itself (W14).
    ChildRenames,
    /// What fails while a snapshot is written is not looked at.
    SnapshotErrorsIgnored,
    /// What is logged between fork and switch goes to the old part.
    CutWithoutHold,
    /// What waits in memory when the child is forked goes to the next part as well (W6, valkey#2627).
    CutCarriesBuffer,
    /// A set that is switched on counts before its base is there (redis#10616).
    EnabledTooEarly,
    /// A finished rewrite takes the part that is being written for superseded.
    HistoryTakesLivePart,
    /// When the directory's sync fails after the manifest's rename, the new base is removed (W10).
    DoubtfulBaseRemoved,
    /// A rewrite that fails forgets the parts before it.
    FailedRewriteDropsPart,
    /// The first record of a new part does not select its database.
    SelectNotRepeated,
    /// A transaction is logged without its frame.
    MultiNotFramed,
    /// While a rewrite runs FLUSHALL is not logged.
    FlushNotLogged,
    /// A rewrite into commands forgets pending entries that were deleted (Redis, Valkey; seed 10651).
    GonePendingForgotten,
    /// A set is closed at the time that the clock shows, which may have gone back (seed 1386).
    ClosedByClockAlone,
    /// What expired is not logged as removed.
    ExpiryNotLogged,
    /// A batch is read whatever its checksum says.
    ChecksumIgnored,
    /// A batch is read wherever in the log it belongs.
    BatchOrderIgnored,
    /// A batch that does not match its checksum is skipped.
    BadBatchSkipped,
    /// Zeroes at the end are damage (redis#5177).
    ZeroTailRefused,
    /// Zeroes at the end are skipped and written behind.
    ZeroTailAccepted,
    /// A torn tail is skipped but not cut.
    TailNotCut,
    /// A cut inside of a MULTI leaves it open (valkey#4342).
    MultiLeftOpen,
    /// A MULTI without its EXEC is run.
    OpenMultiApplied,
    /// A torn file is cut before it is found not to be the last (W7).
    CutBeforeRefusal,
    /// What follows a torn file is run all the same.
    TornFileFollowed,
    /// The good part of a file with a preamble is counted from its beginning (W7b).
    PreambleForgotten,
    /// After a cut the set is as long as before (W27).
    CutLengthForgotten,
    /// The number of a record's arguments is not checked (W21).
    ArityIgnored,
    /// Nobody is answered while data is loaded (W26).
    LoadingBlocks,
    /// An RDB is read whatever its checksum says, or without one (W23).
    RdbChecksumIgnored,
    /// A base that ends too early is taken as far as it goes.
    TornBaseAccepted,
    /// Keys of a base that expired since are not loaded, but what was done to them later is run (redis#11792).
    BaseDropsExpired,
    /// A snapshot that cannot be read is an empty start (garnet#2150, dragonfly#4840).
    UnreadableDumpIsEmpty,
    /// A manifest that cannot be read is an empty start.
    UnreadableManifestIsEmpty,
    /// A manifest is read whatever its checksum says: it has none in the stock servers.
    ManifestChecksumIgnored,
    /// A lost manifest is an empty start, and its parts are written to again (W17).
    LostManifestIsEmpty,
    /// A part that is missing is passed over.
    LostPartIgnored,
    /// What is in the directory is loaded, not what the manifest names.
    ManifestIgnored,
    /// A base that a crash left without a manifest is believed whatever was served since (seed 3139).
    StraysStayTrue,
    /// `appendonly yes` with a snapshot alone starts empty (W20).
    OnlyDumpIgnored,
    /// A snapshot wins over the set, however old it is.
    AnyDumpWins,
    /// What dead servers left behind is kept (W8).
    LeftoversKept,
    /// What only the page cache may hold is synced by name, not written anew.
    UnsyncedNotCopied,
    /// What only the page cache may hold is copied to a file of its own although nothing tells the copy from its original while
    /// both stand (seeds 100070, 100089).
    CopyNotToldApart,
    /// Behind the file of an older server the log is read from wherever it happens to begin (seed 410048).
    FirstOffsetUnknown,
    /// Switched off, on and off again while its last sync takes long, the log is begun anew (seed 1004362).
    ReopensForNobody,
    /// A log that fails while it is being switched on is begun anew, although it was switched off again meanwhile.
    SwitchOffForgotten,
    /// A log that is being switched on begins anew, while its first set is being put in place (seed 906519).
    InstallationForgotten,
    /// A base whose beginning has decayed is taken for a log that a crash has torn, and is cut to nothing (seed 716977).
    RottenBaseIsTorn,
    /// A rewrite that is called off while the file in use is synced for it takes the error of that sync along (seed 700946).
    RotationForgotten,
    /// A file is changed while one of its syncs is under way, and the error that this one is told is nobody's (seed 4023668).
    SyncUnderWayForgotten,
    /// Half a transaction that was cut off still counts in the offset at which headers begin (seed 601870).
    OpenMultiCounted,
    /// A log that is being switched off keeps its hole, and the switch is never answered (seed 601895).
    HoleClosedIn,
    /// The rewrite that was to fill a hole fails, and nobody asks for another (seed 3013643).
    HoleRewriteNotRepeated,
    /// A fresh file selects its database although nothing follows yet, as a log without checksums would (seed 502714).
    SelectsForNothing,
    /// A file that another one took over from keeps what stands in both, if the cut was missed once (seed 98).
    OverlapKept,
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
    /// After a failed sync the same file is written to again (Redis: the next good sync clears the error).
    BrokenForgotten,
    /// Records that nobody kept are taken for durable once the log goes on in a fresh file (seed 1578).
    HoleForgotten,
    /// A rewrite that began before the hole is taken to fill it (focus hole, seed 132).
    HoleFilledByOlderBase,
    /// A repair that could not sync the file it gives up asks again.
    GivenUpFileSyncedAgain,
    /// A repair whose manifest may not be the one on disk answers for what it wrote (seed 1372).
    DoubtfulRepairAdopted,
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
