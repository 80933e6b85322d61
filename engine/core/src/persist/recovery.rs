//! Start-up: what is on disk, what is loaded, and what is cut or swept.
//!
//! Decisions, each row a test (`tests/tests/recovery.rs`). *set* = manifest with parts, *old* = single file of Redis < 7:
//!
//! ```text
//!   appendonly  manifest  set        old   dump.rdb         decision
//!   any         damaged   any        any   any              refuse, naming the line
//!   no          any       any        any   there / missing  load it / first start
//!   yes         valid     complete   any   any              load the set
//!   yes         valid     closed     any   newer            import the dump, the set becomes history (W12)
//!   yes         valid     a part missing   any              refuse, naming the part
//!   yes         missing   stray parts with records          refuse: the manifest is lost, not the data (W17)
//!   yes         missing   none       there any              upgrade it, then load the set
//!   yes         begun     stray parts     as if there were none: the set did not count yet
//!   yes         missing   none       none  there            import the dump (W20)
//!   yes         missing   none       none  missing          first start
//! ```
//!
//! Always true: nothing is modified before everything was decided; a part is cut only where the log may have ended, after
//! the cut bytes were copied aside; a file that cannot be read is never an empty start.
//!
//! Not here: executing what is read (`node/loading.rs`), the grammar (`record.rs`), the RDB (`rdb/`).

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use bytes::Bytes;

use super::{
    append_only::{Ids, Names},
    journal::Offset,
    log_reader::{self, Testimony},
    manifest::{Manifest, Part},
};
use crate::{
    bytes::number,
    host::{DirEntry, Disk, ENOENT, FileId, FileStep, IoError},
    mutant::{self, Mutant},
    rdb::{self, DecodeSettings, Decoder, Event},
    store::Limits,
};
use strum::VariantArray;

/// Why the server does not start. The text is logged as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal(pub String);

impl From<IoError> for Refusal {
    fn from(error: IoError) -> Refusal {
        Refusal(format!("Fatal error: {error}"))
    }
}

/// What a start found: a row of the table above, or of the one in `node/loading.rs`. For tests, which must meet them all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, VariantArray)]
pub enum Case {
    /// Nothing there.
    FirstStart,
    /// The snapshot file, without AOF.
    DumpLoaded,
    /// The set.
    SetLoaded,
    /// The snapshot file, no set being there (W20).
    DumpImported,
    /// The snapshot file, newer than a set that was closed (W12).
    DumpNewerThanSet,
    /// The single file of an older server.
    OldFileUpgraded,
    /// A base whose manifest was never written, or lost.
    BaseAdopted,
    /// Refused: the manifest cannot be read.
    ManifestDamaged,
    /// Refused: a part is missing.
    PartMissing,
    /// Refused: parts with records and no manifest (W17).
    ManifestLost,
    /// The end of the last file was cut.
    TailCut,
    /// The log ended in a file that others followed.
    LogEndedEarlier,
    /// Refused: a torn tail, and `aof-load-truncated no`.
    TailRefused,
    /// Refused: a file that is not the last is torn.
    TornInTheMiddle,
    /// Refused: damage below what was synced.
    DamagedBelowSynced,
    /// Refused: an RDB that cannot be read.
    RdbDamaged,
    /// Records that only the page cache may have held were written anew.
    UnsyncedWrittenAnew,
    /// The same, in several files: all was written anew as a base.
    BaseWrittenAnew,
}

/// What is going to be loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice {
    /// There is nothing: begin empty.
    Fresh,
    /// The snapshot file.
    Dump,
    /// The snapshot file, into an append-only set that is not there yet or older.
    ImportDump,
    /// The append-only set.
    Set,
    /// The single file of an older server, moved into a set first.
    Upgrade,
    /// A base whose manifest was never written: a crash while AOF was being switched on.
    AdoptBase(String),
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Sources<'a> {
    /// The append-only set's names.
    pub names: &'a Names,
    /// `dbfilename`
    pub dump: &'a str,
    /// `appendonly`
    pub appendonly: bool,
}

/// Reads the manifest and decides. Touches nothing.
///
/// # Errors
/// A manifest that cannot be read, a part that is missing, parts without a manifest.
pub fn decide(
    sources: &Sources<'_>,
    cases: &mut Vec<Case>,
    disk: &mut dyn Disk,
) -> Result<(Choice, Manifest), Refusal> {
    let manifest = read_manifest(sources.names, disk).inspect_err(|refusal| {
        if refusal.0.contains(MANIFEST_ERROR) {
            cases.push(Case::ManifestDamaged);
        }
    })?;
    let dump_len = disk.len(sources.dump)?;
    if !sources.appendonly {
        let choice = if dump_len.is_some() { Choice::Dump } else { Choice::Fresh };
        return Ok((choice, manifest.unwrap_or_default()));
    }
    let old_len = disk.len(&sources.names.prefix)?;
    let is_begun = manifest.is_some();
    let Some(mut manifest) = manifest.filter(|manifest| !manifest.is_empty()) else {
        let choice = decide_without_set(sources, dump_len, old_len, is_begun, cases, disk)?;
        return Ok((choice, Manifest::default()));
    };
    if is_upgrade_interrupted(sources.names, &manifest, old_len, disk)? {
        return Ok((Choice::Upgrade, manifest));
    }
    if mutant::is(Mutant::LostPartIgnored) {
        let is_there = |part: &Part| matches!(disk.len(&sources.names.path(&part.name)), Ok(Some(_)));
        manifest.incrementals.retain(is_there);
    }
    for part in manifest.loaded() {
        if disk.len(&sources.names.path(&part.name))?.is_none() {
            cases.push(Case::PartMissing);
            return Err(Refusal(format!(
                "Unable to obtain the AOF file {} length. stat: No such file or directory: the manifest names it",
                part.name
            )));
        }
    }
    let is_superseded = match (manifest.closed_at_ms, dump_len) {
        (Some(_), _) if mutant::is(Mutant::ClosedSetWins) => false,
        (_, Some(_)) if mutant::is(Mutant::AnyDumpWins) => true,
        (Some(closed_at), Some(_)) => frozen_ms(sources.dump, disk)? > closed_at,
        _ => false,
    };
    Ok((if is_superseded { Choice::ImportDump } else { Choice::Set }, manifest))
}

fn decide_without_set(
    sources: &Sources<'_>,
    dump_len: Option<u64>,
    old_len: Option<u64>,
    is_begun: bool,
    cases: &mut Vec<Case>,
    disk: &mut dyn Disk,
) -> Result<Choice, Refusal> {
    let parts = stray_parts(sources.names, &Manifest::default(), disk)?;
    let is_lost_believed =
        mutant::is(Mutant::LostManifestIsEmpty) || mutant::is(Mutant::UnreadableManifestIsEmpty);
    let is_believed = is_begun || is_lost_believed;
    let has_records = |entry: &&DirEntry| entry.name.contains(".incr.") && entry.len > 0;
    let mut with_records = parts.iter().find(has_records).map(|entry| entry.name.as_str());
    // The single file of an older server comes into the directory only once a manifest names it.
    let upgraded = &sources.names.prefix;
    if disk.len(&sources.names.path(upgraded))?.is_some_and(|len| len > 0) {
        with_records = Some(upgraded);
    }
    if let Some(name) = with_records.filter(|_| !is_believed) {
        cases.push(Case::ManifestLost);
        return Err(Refusal(format!(
            "Fatal error: {} has records but {} is missing: restore the manifest, or move the directory away to start \
             without it",
            sources.names.path(name),
            sources.names.manifest()
        )));
    }
    if old_len.is_some() {
        return Ok(Choice::Upgrade);
    }
    if mutant::is(Mutant::OnlyDumpIgnored) || is_lost_believed {
        return Ok(Choice::Fresh);
    }
    let dump_ms = if dump_len.is_some() { Some(frozen_ms(sources.dump, disk)?) } else { None };
    let mut newest = None;
    let is_base = |entry: &&DirEntry| !is_begun && entry.name.contains(".base.") && entry.len > 0;
    for entry in parts.iter().filter(is_base) {
        let at_ms = frozen_ms(&sources.names.path(&entry.name), disk)?;
        newest = newest.max(Some((at_ms, entry.name.clone())));
    }
    // A base that says when it was frozen may be newer than the dump: its manifest was lost, or never written.
    Ok(match (newest, dump_ms) {
        (Some((base_ms, name)), dump_ms)
            if dump_ms.is_none_or(|dump_ms| base_ms > dump_ms && !mutant::is(Mutant::AnyDumpWins)) =>
        {
            Choice::AdoptBase(name)
        }
        (_, Some(_)) => Choice::ImportDump,
        (_, None) => Choice::Fresh,
    })
}

fn is_upgrade_interrupted(
    names: &Names,
    manifest: &Manifest,
    old_len: Option<u64>,
    disk: &mut dyn Disk,
) -> Result<bool, Refusal> {
    let is_only_the_old_file = manifest.incrementals.is_empty()
        && manifest.base.as_ref().is_some_and(|base| base.name == names.prefix);
    Ok(old_len.is_some() && is_only_the_old_file && disk.len(&names.path(&names.prefix))?.is_none())
}

/// When the data of a snapshot was frozen: its own note, or the file's time where a stock server wrote it, or 0 for a base.
/// The file's time alone would make a snapshot newer than what was logged while its child was writing.
///
/// # Errors
/// The file cannot be read.
pub fn frozen_ms(path: &str, disk: &mut dyn Disk) -> Result<u64, Refusal> {
    let bytes = read_range(path, 0, NOTES_BYTES, disk)?;
    let noted = if bytes.starts_with(b"#") { noted_by_commands(&bytes) } else { noted_by_rdb(&bytes) };
    noted.map_or_else(|| modified_ms(path, disk), Ok)
}

fn noted_by_rdb(bytes: &[u8]) -> Option<u64> {
    let mut decoder = Decoder::new(DecodeSettings { limits: Limits::default(), skip_checksum: true });
    decoder.feed(bytes);
    for _ in 0..NOTES_MAX {
        match decoder.next() {
            Ok(Event::Aux { name, value }) if name == rdb::AUX_CREATED_MS => {
                if let Some(at) = number::parse_u64(&value) {
                    return Some(at);
                }
            }
            Ok(Event::Aux { .. }) => {}
            _ => break,
        }
    }
    None
}

/// A base of commands says it in a comment.
fn noted_by_commands(bytes: &[u8]) -> Option<u64> {
    let mut lines = bytes.split(|&byte| byte == b'\n').take(NOTES_MAX);
    lines.find_map(|line| number::parse_u64(line.strip_prefix(rdb::CREATED_MS_COMMENT)?.trim_ascii_end()))
}

/// Notes at the beginning of a snapshot: how many there may be, and in how many bytes.
const NOTES_MAX: usize = 16;
const NOTES_BYTES: usize = 1024;

fn modified_ms(path: &str, disk: &mut dyn Disk) -> Result<u64, Refusal> {
    let entries = disk.list("")?;
    Ok(entries.iter().find(|entry| entry.name == path).map_or(0, |entry| entry.modified_ms))
}

/// The manifest, or `None` if there is none.
///
/// # Errors
/// One that is there and cannot be read.
pub fn read_manifest(names: &Names, disk: &mut dyn Disk) -> Result<Option<Manifest>, Refusal> {
    let path = names.manifest();
    let Some(len) = disk.len(&path)? else { return Ok(None) };
    let text = read_range(&path, 0, len as usize, disk)?;
    match Manifest::parse(&text) {
        Ok(manifest) if mutant::is(Mutant::ManifestIgnored) => all_parts(names, manifest, disk).map(Some),
        Ok(manifest) => Ok(Some(manifest)),
        Err(_) if mutant::is(Mutant::UnreadableManifestIsEmpty) => Ok(None),
        Err(error) => Err(Refusal(format!(
            "\n{MANIFEST_ERROR}\nReading the manifest file, at line {}\n>>> '{}'\n{}",
            error.line, error.text, error.reason
        ))),
    }
}

/// A mutant's idea of the set: the newest base that lies there, and every incremental file.
fn all_parts(names: &Names, named: Manifest, disk: &mut dyn Disk) -> Result<Manifest, Refusal> {
    let mut manifest = Manifest { base: named.base, closed_at_ms: named.closed_at_ms, ..Manifest::default() };
    for entry in disk.list(&names.dir)? {
        let rest = entry.name.strip_prefix(names.prefix.as_str()).and_then(|rest| rest.strip_prefix('.'));
        let seq = rest.and_then(|rest| rest.strip_suffix(".incr.aof")?.parse().ok());
        manifest.incrementals.extend(seq.map(|seq| Part { name: entry.name, seq }));
    }
    manifest.incrementals.sort_by_key(|part| part.seq);
    Ok(manifest)
}

const MANIFEST_ERROR: &str = "*** FATAL AOF MANIFEST FILE ERROR ***";

/// Bytes of a file from `offset`, fewer at its end.
///
/// # Errors
/// Whatever kept it from being read.
pub fn read_range(path: &str, offset: u64, len: usize, disk: &mut dyn Disk) -> Result<Vec<u8>, IoError> {
    let mut bytes = vec![0; len];
    let mut count = 0;
    while count < len {
        match disk.read_at(path, offset + count as u64, &mut bytes[count..])? {
            0 => break,
            read => count += read,
        }
    }
    bytes.truncate(count);
    Ok(bytes)
}

/// The set that the single file of an older server becomes.
pub fn upgraded(names: &Names) -> Manifest {
    Manifest { base: Some(Part { name: names.prefix.clone(), seq: 1 }), ..Manifest::default() }
}

/// Moves the single file of an older server into its set: manifest first, then the file, so that it can be done again.
///
/// # Errors
/// The first step that failed.
pub fn upgrade(
    names: &Names,
    manifest: &Manifest,
    ids: &mut Ids,
    disk: &mut dyn Disk,
) -> Result<(), Refusal> {
    let mut steps = vec![
        FileStep::CreateDir { path: names.dir.clone() },
        FileStep::SyncDir { path: String::new() },
        FileStep::SyncPath { path: names.prefix.clone() },
    ];
    steps.extend(names.manifest_steps(manifest, ids));
    steps.extend([
        FileStep::Rename { from: names.prefix.clone(), to: names.path(&names.prefix) },
        FileStep::SyncDir { path: names.dir.clone() },
        FileStep::SyncDir { path: String::new() },
    ]);
    perform_all(&steps, disk)?;
    tracing::info!("Successfully migrated an old-style AOF to the append-only directory {}", names.dir);
    Ok(())
}

/// Performs steps in order.
///
/// # Errors
/// The first that failed.
pub fn perform_all(steps: &[FileStep], disk: &mut dyn Disk) -> Result<(), IoError> {
    steps.iter().try_for_each(|step| disk.perform(step))
}

/// Bytes copied aside at a time.
const COPY_BYTES: usize = 1 << 20;

/// Copies a file from `offset` on, and all files that follow it, to `cut-<name>-<offset>` beside it, durably.
///
/// Gives back the copy's path and its length.
///
/// # Errors
/// The first step that failed.
pub fn copy_aside(
    names: &Names,
    part: &str,
    offset: u64,
    followers: &[Part],
    ids: &mut Ids,
    disk: &mut dyn Disk,
) -> Result<(String, u64), IoError> {
    let copy = names.path(&format!("cut-{part}-{offset}"));
    let file = ids.file();
    // A start that crashed may have left one, and with it an error that the kernel still has to tell.
    disk.perform(&FileStep::Remove { path: copy.clone() })?;
    let len = or_nothing(&copy, disk, |disk| -> Result<u64, IoError> {
        disk.perform(&FileStep::CreateTemp { file, path: copy.clone() })?;
        let mut len = copy_range(&names.path(part), offset, u64::MAX, file, disk)?;
        for follower in followers {
            len += copy_range(&names.path(&follower.name), 0, u64::MAX, file, disk)?;
        }
        let steps = [
            FileStep::Sync { file },
            FileStep::Close { file },
            FileStep::SyncDir { path: names.dir.clone() },
        ];
        perform_all(&steps, disk)?;
        Ok(len)
    })?;
    Ok((copy, len))
}

/// Makes the file at `path`, which nothing names yet, or leaves none: a start that ends because the disk is full takes up no
/// room.
///
/// # Errors
/// What kept `make` from making it.
pub fn or_nothing<T, E>(
    path: &str,
    disk: &mut dyn Disk,
    make: impl FnOnce(&mut dyn Disk) -> Result<T, E>,
) -> Result<T, E> {
    let made = make(disk);
    if made.is_err() {
        // If even that fails, the next start removes it.
        let _ = disk.perform(&FileStep::Remove { path: path.into() });
    }
    made
}

/// Cuts a file at `offset`, durably.
///
/// # Errors
/// The file is as it was.
pub fn cut(path: String, offset: u64, disk: &mut dyn Disk) -> Result<(), IoError> {
    // The kernel tells of a failed write-back once, to whoever syncs next: the second answer is about the cut.
    let cut = FileStep::Truncate { path, len: offset };
    disk.perform(&cut).or_else(|_| disk.perform(&cut))
}

/// Whether the log may have ended at `reached`, in a file that others follow: no crash takes what they call durable, and
/// what somebody else wrote was written by one who had all that comes before it.
///
/// So it ends where a sync failed under `appendfsync no`, and the power went before a rewrite had filled the hole.
///
/// # Errors
/// A file that cannot be read.
pub fn may_end_before(
    names: &Names,
    followers: &[Part],
    reached: Offset,
    disk: &mut dyn Disk,
) -> Result<bool, IoError> {
    for follower in followers {
        match log_reader::testimony(&names.path(&follower.name), disk)? {
            Testimony::Synced(synced) if synced <= reached => {}
            Testimony::Synced(_) | Testimony::Foreign => return Ok(false),
        }
    }
    Ok(true)
}

/// Appends the bytes of a file between two offsets (or up to its end) to an open one; how many there were.
///
/// # Errors
/// The first read or append that failed.
pub fn copy_range(path: &str, from: u64, to: u64, file: FileId, disk: &mut dyn Disk) -> Result<u64, IoError> {
    let mut at = from;
    while at < to {
        let bytes =
            read_range(path, at, COPY_BYTES.min(usize::try_from(to - at).unwrap_or(COPY_BYTES)), disk)?;
        if bytes.is_empty() {
            break;
        }
        at += bytes.len() as u64;
        disk.perform(&FileStep::Append { file, bytes: Bytes::from(bytes) })?;
    }
    Ok(at - from)
}

/// Removes what crashed servers left behind: temporary files whose writer is gone, parts that no manifest names (W8).
///
/// # Errors
/// Whatever kept a directory from being read; a file that cannot be removed is only logged.
pub fn sweep(names: &Names, manifest: &Manifest, disk: &mut dyn Disk) -> Result<(), IoError> {
    if mutant::is(Mutant::LeftoversKept) {
        return Ok(());
    }
    let mut leftovers: Vec<String> = Vec::new();
    for entry in disk.list("")? {
        // A child that outlived its server may still write to one: nobody waits for what it writes.
        if entry.is_file && is_temp(&entry.name) {
            leftovers.push(entry.name);
        }
    }
    if let Ok(entries) = disk.list(&names.dir) {
        let own = [format!("temp-{}.incr", names.prefix), format!("temp-{}.manifest", names.prefix)];
        leftovers.extend(
            entries.iter().filter(|entry| own.contains(&entry.name)).map(|entry| names.path(&entry.name)),
        );
    }
    if !manifest.is_empty() {
        leftovers.extend(stray_parts(names, manifest, disk)?.iter().map(|entry| names.path(&entry.name)));
    }
    for path in leftovers {
        tracing::info!("Removing {path}, left behind by an earlier run");
        if let Err(error) = disk.perform(&FileStep::Remove { path }) {
            tracing::warn!("Can't sweep: {error}");
        }
    }
    Ok(())
}

/// The temporary file of a base that a start writes.
pub const START_TEMP: &str = "temp-rewriteaof-start.aof";

/// Whether a name is that of a temporary file: `temp-<pid>.rdb`, `temp-rewriteaof[-bg]-<pid>.aof`, or that of a start.
fn is_temp(name: &str) -> bool {
    let middle = name.strip_prefix("temp-").and_then(|rest| match rest.strip_suffix(".rdb") {
        Some(pid) => Some(pid),
        None => {
            let rest = rest.strip_prefix("rewriteaof-")?.strip_suffix(".aof")?;
            Some(rest.strip_prefix("bg-").unwrap_or(rest))
        }
    });
    name == START_TEMP || middle.is_some_and(|pid| pid.parse::<i32>().is_ok())
}

/// Makes what lies in the directory without a manifest count for nothing: a server that starts without the log serves
/// something else, and a later start must not find an older truth there. The files stay.
///
/// # Errors
/// The first step that failed.
pub fn disown_strays(names: &Names, ids: &mut Ids, disk: &mut dyn Disk) -> Result<(), Refusal> {
    let parts = stray_parts(names, &Manifest::default(), disk)?;
    let is_base = |entry: &DirEntry| entry.name.contains(".base.") && entry.len > 0;
    let has_records = |entry: &DirEntry| entry.name.contains(".incr.") && entry.len > 0;
    let is_crashed_beginning = parts.iter().any(is_base) && !parts.iter().any(has_records);
    if is_crashed_beginning && read_manifest(names, disk)?.is_none() && !mutant::is(Mutant::StraysStayTrue) {
        perform_all(&names.manifest_steps(&Manifest::default(), ids), disk)?;
    }
    Ok(())
}

/// Files named like parts of the set that the manifest does not name.
fn stray_parts(names: &Names, manifest: &Manifest, disk: &mut dyn Disk) -> Result<Vec<DirEntry>, IoError> {
    let entries = match disk.list(&names.dir) {
        Ok(entries) => entries,
        Err(error) if error.errno == ENOENT => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let is_named = |name: &str| manifest.loaded().chain(&manifest.history).any(|part| part.name == name);
    let is_stray = |name: &str| {
        let of_set = |name: &str| {
            name.strip_prefix(names.prefix.as_str())
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(is_part_ending)
        };
        let cut_of = |name: &str| {
            // Tails cut from a part go when the part goes.
            name.strip_prefix("cut-")
                .and_then(|rest| rest.rsplit_once('-'))
                .is_some_and(|(part, _)| of_set(part) && !is_named(part))
        };
        (of_set(name) && !is_named(name)) || cut_of(name)
    };
    Ok(entries.into_iter().filter(|entry| entry.is_file && is_stray(&entry.name)).collect())
}

/// `<number>.base.rdb`, `<number>.base.aof`, `<number>.incr.aof`.
fn is_part_ending(rest: &str) -> bool {
    rest.split_once('.').is_some_and(|(seq, kind)| {
        seq.parse::<u64>().is_ok() && ["base.rdb", "base.aof", "incr.aof"].contains(&kind)
    })
}

/// Makes what was loaded durable before anybody is shown it: the machine may lose power right after a kill -9.
///
/// `is_checked`: the headers say that all of it was synced before, so an error that the kernel still has to tell is about
/// something else.
///
/// # Errors
/// The first sync that failed.
pub fn settle(
    names: &Names,
    manifest: &Manifest,
    is_checked: bool,
    disk: &mut dyn Disk,
) -> Result<(), IoError> {
    for part in manifest.loaded() {
        match disk.perform(&FileStep::SyncPath { path: names.path(&part.name) }) {
            Err(error) if is_checked => {
                tracing::warn!("A sync told of an old error: {error}; its records are elsewhere or safe");
            }
            result => result?,
        }
    }
    disk.perform(&FileStep::SyncPath { path: names.manifest() })?;
    disk.perform(&FileStep::SyncDir { path: names.dir.clone() })?;
    disk.perform(&FileStep::SyncDir { path: String::new() })
}

/// The words in which a cut is logged.
pub fn cut_message(part: &str, offset: u64, len: u64, copy: &str) -> String {
    format!("Truncating the AOF {part} at offset {offset}: {len} bytes, kept in {copy}").to_string()
}
