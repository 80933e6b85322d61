//! File systems: what each keeps, loses and reorders when the power goes.
//!
//! Exists because a program that is safe on one file system loses data on another: ALICE (Pillai et al., OSDI 2014)
//! found 60 such places in 11 programs. Each profile is a row of answers to a few questions.
//!
//! Not here: how an image is built from the answers (`image.rs`).

/// A file system's promises, or lack of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Profile {
    /// What POSIX promises and nothing more: every name and every sector on its own. The default.
    Strict,
    /// ext4, `data=ordered`, delayed allocation: names in order, appends as a prefix.
    Ext4Ordered,
    /// XFS: names in order, but a length may be ahead of its data, which then reads as zeroes.
    Xfs,
    /// btrfs: the last transaction, plus a log of what was synced since; so names overtake each other.
    Btrfs,
    /// Says yes to every sync and does nothing. Negative control: every check of durability must fail on it.
    LyingDisk,
}

impl Profile {
    /// All that keep their word.
    pub const HONEST: [Profile; 4] = [Profile::Strict, Profile::Ext4Ordered, Profile::Xfs, Profile::Btrfs];

    /// In which order changes of names reach the platter.
    pub(crate) fn names_order(self) -> NamesOrder {
        match self {
            Profile::Strict | Profile::LyingDisk => NamesOrder::EachAlone,
            Profile::Ext4Ordered | Profile::Xfs | Profile::Btrfs => NamesOrder::AsAsked,
        }
    }

    /// Which names the sync of a file makes durable besides its contents.
    pub(crate) fn names_with_sync(self) -> NamesWithSync {
        match self {
            Profile::Strict | Profile::LyingDisk => NamesWithSync::None,
            Profile::Ext4Ordered | Profile::Xfs => NamesWithSync::All,
            Profile::Btrfs => NamesWithSync::OfTheFile,
        }
    }

    /// What may be left of changes that were not synced.
    pub(crate) fn contents(self) -> Contents {
        match self {
            Profile::Strict | Profile::LyingDisk => Contents::AnySectors,
            Profile::Ext4Ordered => Contents::Prefix(Tail::ZeroesToBlockEnd),
            Profile::Xfs => Contents::Prefix(Tail::ZeroesToAnyLen),
            Profile::Btrfs => Contents::Prefix(Tail::None),
        }
    }

    /// What a failed sync leaves in the page cache.
    pub(crate) fn failed_sync(self) -> FailedSync {
        match self {
            Profile::Btrfs => FailedSync::Revert,
            _ => FailedSync::MarkClean,
        }
    }

    /// Whether a rename over an existing file first writes out the file that takes its place.
    ///
    /// ext4 does since 2.6.30 (mount option `auto_da_alloc`, kernel documentation of ext4); the others do not.
    pub(crate) fn rename_flushes(self) -> bool {
        self == Profile::Ext4Ordered
    }

    /// Whether a sync does what it says.
    pub(crate) fn is_honest(self) -> bool {
        self != Profile::LyingDisk
    }
}

/// In which order changes of names reach the platter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NamesOrder {
    /// Each by itself; only changes of one name keep their order. Seen on btrfs and F2FS by CrashMonkey
    /// (Mohan et al., OSDI 2018), allowed by POSIX everywhere.
    EachAlone,
    /// A prefix of them all, as a journal of metadata keeps it.
    AsAsked,
}

/// Which names the sync of a file makes durable besides its contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NamesWithSync {
    /// None: fsync(2), "does not necessarily ensure that the entry in the directory has also reached disk".
    None,
    /// Every change so far, because the journal commits as a whole.
    All,
    /// The file's own (btrfs' tree log).
    OfTheFile,
}

/// What may be left of a file's changes that were not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Contents {
    /// Each sector old, in between or new; the length any it has had.
    AnySectors,
    /// The first so many bytes of what was appended.
    Prefix(Tail),
}

/// What may follow the bytes that were kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tail {
    /// Nothing.
    None,
    /// Zeroes up to the end of the block: the tails of Redis issue 5177 and Valkey issue 1148.
    ZeroesToBlockEnd,
    /// Zeroes up to any length the file has had: XFS writes lengths before data (XFS FAQ, "binary NULLs").
    ZeroesToAnyLen,
}

/// What a failed sync leaves in the page cache.
///
/// Both from "Can Applications Recover from fsync Failures?" (Rebello et al., USENIX ATC 2020).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FailedSync {
    /// The new bytes, marked clean: reads see them, the platter never gets them (ext4, XFS).
    MarkClean,
    /// The old bytes and the old length (btrfs).
    Revert,
}
