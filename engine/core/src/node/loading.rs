//! Loading: runs what recovery chose to load, a bounded slice at a time, so that INFO and PING are answered meanwhile.
//!
//! Used at start-up and by DEBUG RELOAD and LOADAOF. What is done about a file that ends badly:
//!
//! ```text
//!   file      end                                aof-load-truncated   decision
//!   not last  torn, and no later file calls
//!             what is missing durable            yes                  copy the tail and all later files aside, cut, go on
//!   not last  torn or damaged                    any                  refuse; nothing is modified (W7)
//!   last      torn: short, NUL, bad checksum     yes                  copy the tail aside, cut, go on
//!   last      torn                               no                   refuse
//!   last      damaged below what was synced      any                  refuse, naming file and offset
//!   base      an RDB that cannot be read         any                  refuse
//! ```
//!
//! Always true: a unit is executed whole or not at all; a command of the log that fails is counted and logged.
//!
//! Not here: what to load (`persist/recovery.rs`), the grammar (`persist/log_reader.rs`, `rdb/`).

use alloc::{
    collections::VecDeque,
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{Node, blocking::WaitKind};
use crate::{
    commands::{Action, Call, NodeCommand, Record},
    host::{Disk, ENOENT, Effect, Effects, Encoder, FileId, FileStep, IoError, SnapshotForm, write_snapshot},
    mutant::{self, Mutant},
    persist::{
        append_only::Names,
        batch,
        journal::Offset,
        log_reader::{Bad, LogReader, Next},
        manifest::{Manifest, Part},
        recovery::{self, Case, Choice, Refusal, Sources},
        set_files::{self, Handover, SetFile},
    },
    rdb::{self, DecodeSettings, Decoder, Event, LoadedKey},
    session::OwnedArgs,
};

/// Records executed in one slice.
const SLICE_RECORDS: usize = 16 * 1024;
/// Bytes of an RDB read in one slice.
const SLICE_BYTES: usize = 2 << 20;
/// Keys whose places in memory are asked for together: enough for the waits to overlap.
const BATCH_KEYS: usize = 64;

/// What loading found, for INFO.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Keys loaded from an RDB.
    pub keys_loaded: u64,
    /// Keys of an RDB that had expired.
    pub keys_expired: u64,
    /// Keys of an RDB that held an empty collection.
    pub empty_keys: u64,
    /// Bytes cut from the last file, and where they are kept.
    pub cut: Option<(u64, String)>,
    /// Commands of the log that answered with an error.
    pub failed_commands: u64,
    /// Rows of the tables that this start went through.
    pub cases: Vec<Case>,
}

/// Why data is being loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    Start,
    /// DEBUG RELOAD: the snapshot file.
    Reload {
        /// Keys of the file replace those that are there.
        merge: bool,
    },
    /// DEBUG LOADAOF: the append-only set.
    LoadAof,
}

#[derive(Clone, Debug)]
enum Source {
    Rdb { path: String, is_base: bool },
    Log(SetFile),
}

/// Part of a file that may not be durable.
#[derive(Clone, Debug)]
struct Unsynced {
    name: String,
    /// Where in the file.
    from: u64,
    to: u64,
    /// Database that is selected where it begins.
    db: usize,
    /// The log's offset at its beginning, if what comes before tells it.
    start: Option<Offset>,
    /// The log's offset at its end.
    end: Offset,
}

impl Unsynced {
    /// Whether a copy in a file of its own would be known for what it is as long as the original stands: its first header
    /// tells where the original ends, so it must begin with one, and whoever reads the original must know where it is.
    fn is_told_apart(&self, names: &Names, disk: &mut dyn Disk) -> Result<bool, IoError> {
        let mark = recovery::read_range(&names.path(&self.name), self.from, batch::MARK.len(), disk)?;
        Ok(self.start.is_some() && mark == batch::MARK || mutant::is(Mutant::CopyNotToldApart))
    }
}

#[derive(Clone)]
enum Reading {
    Rdb(RdbReading),
    Log { reader: LogReader, name: String, is_last: bool, previous_len: usize },
}

struct RdbReading {
    path: String,
    at: u64,
    is_base: bool,
    decoder: Decoder,
    /// Keys that were read and are not in the store yet.
    batch: Vec<LoadedKey>,
}

impl Clone for RdbReading {
    fn clone(&self) -> RdbReading {
        // Only a node that is not loading is ever cloned (fork).
        unreachable!("a loading node does not fork")
    }
}

/// A data set being loaded.
#[derive(Clone)]
pub(super) struct Loading {
    reason: Reason,
    choice: Option<Choice>,
    manifest: Manifest,
    /// The single file of an older server still lies where that left it: it is moved once nothing speaks against serving it.
    is_unmoved: bool,
    sources: VecDeque<Source>,
    reading: Option<Reading>,
    db: usize,
    multi: Option<Vec<OwnedArgs>>,
    /// What the files read so far tell about the next one.
    handover: Handover,
    /// Parts of files that no header calls durable, in their order. A kill -9 may have left them in the page cache alone,
    /// and a failed write-back, which the kernel tells only once, not even there for long.
    unsynced: Vec<Unsynced>,
    /// Files that hold more than counts, and where the next one takes over: the cut that belongs there was not made.
    overlaps: Vec<(String, u64)>,
    /// Highest offset of the log that a header called durable.
    synced: Offset,
    /// The last file with records has headers, so that what is not in `unsynced` is known to be durable.
    is_checked: bool,
    /// Length of the last file, and of all others.
    last_len: u64,
    closed_len: u64,
    base_len: u64,
    pub total_bytes: u64,
    pub loaded_bytes: u64,
    pub started_us: u64,
    pub started_s: u64,
}

impl Loading {
    /// What the server does first.
    pub(super) fn at_start() -> Loading {
        Loading::new(Reason::Start)
    }

    fn new(reason: Reason) -> Loading {
        Loading {
            reason,
            choice: None,
            manifest: Manifest::default(),
            is_unmoved: false,
            sources: VecDeque::new(),
            reading: None,
            db: 0,
            multi: None,
            handover: Handover::default(),
            unsynced: Vec::new(),
            overlaps: Vec::new(),
            synced: 0,
            is_checked: false,
            last_len: 0,
            closed_len: 0,
            base_len: 0,
            total_bytes: 0,
            loaded_bytes: 0,
            started_us: 0,
            started_s: 0,
        }
    }
}

impl Loading {
    /// Remembers what a file that was read told about the log.
    fn take_over(&mut self, reader: &LogReader, name: &str) {
        self.handover.take_over(reader);
        if reader.valid_to() == 0 {
            return;
        }
        self.is_checked = reader.has_headers();
        self.synced = self.synced.max(reader.synced());
        let (is_checked, synced) = (self.is_checked, self.synced);
        self.unsynced.retain(|part| is_checked && part.end > synced);
        self.unsynced.extend(reader.unsynced_from().map(|from| Unsynced {
            name: name.into(),
            from,
            to: reader.valid_to(),
            db: reader.unsynced_db(),
            start: reader.unsynced_offset(),
            end: reader.offset().unwrap_or(Offset::MAX),
        }));
    }
}

impl Node {
    /// DEBUG RELOAD, after the file was saved.
    pub(super) fn begin_reload(&mut self, merge: bool) {
        self.loading = Some(Loading::new(Reason::Reload { merge }));
    }

    /// DEBUG LOADAOF, after the journal was flushed.
    pub(super) fn begin_loadaof(&mut self) {
        self.loading = Some(Loading::new(Reason::LoadAof));
    }

    /// One slice of loading.
    pub(super) fn load_slice(&mut self, disk: &mut dyn Disk, effects: &mut Effects) {
        if self.loading.is_some() && self.is_script_suspended() {
            self.store.is_loading = true;
            self.continue_script(effects);
            return self.end_slice();
        }
        let Some(mut loading) = self.loading.take() else { return };
        self.store.is_loading = true;
        let result = self.load_some(&mut loading, disk);
        self.end_slice();
        match result {
            Ok(false) => self.loading = Some(loading),
            Ok(true) => self.finish_loading(&mut loading, disk, effects),
            Err(refusal) => self.refuse_to_load(&loading, &refusal, effects),
        }
    }

    /// Nobody is told of what loading changes.
    fn end_slice(&mut self) {
        self.store.is_loading = false;
        self.store.collect_garbage();
        self.store.events.clear();
        self.store.changed.clear();
        self.store.expired.clear();
        self.store.expired_fields.clear();
    }

    /// `true` once everything is loaded.
    fn load_some(&mut self, loading: &mut Loading, disk: &mut dyn Disk) -> Result<bool, Refusal> {
        if loading.choice.is_none() {
            self.choose(loading, disk)?;
        }
        while mutant::is(Mutant::LoadingBlocks) && !(loading.reading.is_none() && loading.sources.is_empty())
        {
            self.load_next(loading, disk)?;
        }
        self.load_next(loading, disk)
    }

    /// The next slice of what was chosen.
    fn load_next(&mut self, loading: &mut Loading, disk: &mut dyn Disk) -> Result<bool, Refusal> {
        if loading.reading.is_none() {
            match loading.sources.pop_front() {
                None => return Ok(true),
                Some(source) => self.open_source(loading, source, disk)?,
            }
        }
        match loading.reading.take().expect("just opened") {
            Reading::Rdb(reading) => self.load_rdb(loading, reading, disk)?,
            Reading::Log { reader, name, is_last, previous_len } => {
                self.load_log(loading, reader, name, is_last, previous_len, disk)?;
            }
        }
        Ok(false)
    }

    fn choose(&mut self, loading: &mut Loading, disk: &mut dyn Disk) -> Result<(), Refusal> {
        loading.started_us = self.now.mono_us;
        loading.started_s = self.now.wall_s();
        self.load_report = LoadReport::default();
        let names = self.aof.names.clone();
        let dump = self.config.dbfilename.clone();
        let (choice, mut manifest) = match loading.reason {
            Reason::Start => {
                let sources = Sources { names: &names, dump: &dump, appendonly: self.config.appendonly };
                recovery::decide(&sources, &mut self.load_report.cases, disk)?
            }
            Reason::Reload { .. } => (Choice::Dump, Manifest::default()),
            Reason::LoadAof => (Choice::Set, recovery::read_manifest(&names, disk)?.unwrap_or_default()),
        };
        self.load_report.cases.push(match &choice {
            Choice::Fresh => Case::FirstStart,
            Choice::Dump => Case::DumpLoaded,
            Choice::ImportDump if manifest.is_empty() => Case::DumpImported,
            Choice::ImportDump => Case::DumpNewerThanSet,
            Choice::Set => Case::SetLoaded,
            Choice::Upgrade => Case::OldFileUpgraded,
            Choice::AdoptBase(_) => Case::BaseAdopted,
        });
        match &choice {
            Choice::Fresh => {}
            Choice::Dump | Choice::ImportDump => {
                if choice == Choice::ImportDump {
                    tracing::warn!(
                        "appendonly is yes and {dump} is newer than any AOF: it is loaded, and the AOF begins from it"
                    );
                }
                loading.sources.push_back(Source::Rdb { path: dump, is_base: false });
            }
            Choice::AdoptBase(name) => {
                tracing::warn!("Loading {name}, left by a server that was switching AOF on");
                let path = names.path(name);
                loading.sources.push_back(match name.ends_with(".aof") {
                    true => Source::Log(SetFile::alone(name.clone(), path, 0, false)),
                    false => Source::Rdb { path, is_base: true },
                });
            }
            Choice::Upgrade => {
                manifest = recovery::upgraded(&names);
                loading.is_unmoved = true;
                let path = names.prefix.clone();
                let is_rdb = recovery::read_range(&path, 0, rdb::MAGIC.len(), disk)? == rdb::MAGIC;
                loading.base_len = disk.len(&path)?.unwrap_or(0);
                loading.sources.push_back(match is_rdb {
                    true => Source::Rdb { path, is_base: true },
                    false => Source::Log(SetFile::alone(path.clone(), path, loading.base_len, false)),
                });
            }
            Choice::Set => self.add_set_sources(loading, &manifest, disk)?,
        }
        for source in &loading.sources {
            let (Source::Rdb { path, .. } | Source::Log(SetFile { path, .. })) = source;
            loading.total_bytes += disk.len(path)?.unwrap_or(0);
        }
        loading.manifest = manifest;
        loading.choice = Some(choice);
        self.measure(loading, disk)
    }

    /// Moves the file of an older server into the set, if that is what was loaded.
    fn move_old_file(&mut self, loading: &mut Loading, disk: &mut dyn Disk) -> Result<(), Refusal> {
        if core::mem::take(&mut loading.is_unmoved) {
            recovery::upgrade(&self.aof.names, &loading.manifest, &mut self.ids, disk)?;
            self.measure(loading, disk)?;
        }
        Ok(())
    }

    fn add_set_sources(
        &self,
        loading: &mut Loading,
        manifest: &Manifest,
        disk: &mut dyn Disk,
    ) -> Result<(), Refusal> {
        let files = set_files::set_files(&self.aof.names, manifest, self.config.aof_checksum, disk)?;
        for file in files {
            if file.is_base {
                loading.base_len = file.len;
            }
            loading.sources.push_back(match file.is_rdb {
                true => Source::Rdb { path: file.path, is_base: true },
                false => Source::Log(file),
            });
        }
        Ok(())
    }

    fn open_source(
        &mut self,
        loading: &mut Loading,
        source: Source,
        disk: &mut dyn Disk,
    ) -> Result<(), Refusal> {
        loading.db = 0;
        loading.multi = None;
        loading.reading = Some(match source {
            Source::Rdb { path, is_base } => {
                if disk.len(&path)?.is_none() {
                    // Asked for by DEBUG RELOAD NOSAVE: nothing to load.
                    return Err(Refusal(format!(
                        "Fatal error: can't open the RDB file {path} for reading: No such file or directory"
                    )));
                }
                tracing::debug!("Loading RDB {path}");
                let settings = DecodeSettings {
                    limits: self.store.limits.clone(),
                    skip_checksum: !self.config.rdbchecksum
                        || self.debug.skip_checksum
                        || mutant::is(Mutant::RdbChecksumIgnored),
                };
                let (decoder, batch) = (Decoder::new(settings), Vec::with_capacity(BATCH_KEYS));
                Reading::Rdb(RdbReading { path, at: 0, is_base, decoder, batch })
            }
            Source::Log(file) => {
                tracing::debug!("Loading AOF {}", file.path);
                let reader = loading.handover.reader(&file, self.config.aof_checksum);
                Reading::Log { reader, name: file.name, is_last: file.is_last, previous_len: 0 }
            }
        });
        Ok(())
    }

    // --- RDB ------------------------------------------------------------------------------------------

    fn load_rdb(
        &mut self,
        loading: &mut Loading,
        mut reading: RdbReading,
        disk: &mut dyn Disk,
    ) -> Result<(), Refusal> {
        let bytes = recovery::read_range(&reading.path, reading.at, SLICE_BYTES, disk)?;
        reading.at += bytes.len() as u64;
        loading.loaded_bytes += bytes.len() as u64;
        reading.decoder.feed(&bytes);
        if bytes.len() < SLICE_BYTES {
            reading.decoder.finish_input();
        }
        loop {
            let event = reading.decoder.next();
            if event.is_err() && mutant::is(Mutant::UnreadableDumpIsEmpty) && !reading.is_base {
                for db in 0..self.store.db_count() {
                    self.store.empty_db(db);
                }
                return Ok(());
            }
            if event.is_err() && mutant::is(Mutant::TornBaseAccepted) && reading.is_base {
                return Ok(());
            }
            if event.is_err() {
                self.load_report.cases.push(Case::RdbDamaged);
            }
            let event = event.map_err(|damage| {
                if let Some(kind) = damage.kind {
                    tracing::warn!("{} integrity check failed", rdb::structure_name(kind));
                }
                Refusal(format!(
                    "RDB integrity check failed: {} in {} at offset {}{}. Terminating server after rdb file reading failure.",
                    damage.what,
                    reading.path,
                    damage.offset,
                    damage
                        .key
                        .map_or(String::new(), |key| format!(", key '{}'", crate::commands::printable(&key)))
                ))
            })?;
            let is_full = reading.batch.len() == BATCH_KEYS;
            if is_full || matches!(event, Event::SelectDb(_) | Event::End) {
                self.load_batch(loading, &mut reading.batch, reading.is_base)?;
            }
            match event {
                Event::NeedMore => break,
                Event::SelectDb(db) if db >= self.store.db_count() => {
                    return Err(Refusal(format!(
                        "FATAL: Data file was created with a Redis server configured to handle more than {} databases. Exiting",
                        self.store.db_count()
                    )));
                }
                Event::SelectDb(db) => loading.db = db,
                Event::Key(key) => reading.batch.push(key),
                Event::EmptyKey(key) => {
                    self.load_report.empty_keys += 1;
                    tracing::info!("RDB: skipping empty key: {}", crate::commands::printable(&key));
                }
                Event::Aux { name, value } => loading.handover.take_note(&name, &value),
                Event::Function(source) => {
                    let may_replace = matches!(loading.reason, Reason::Reload { merge: true });
                    self.load_saved_library(&source, may_replace).map_err(|error| {
                        Refusal(format!("Failed loading a library of {}: {error}", reading.path))
                    })?;
                }
                Event::SizeHint { .. } => {}
                Event::End => return self.end_rdb(loading, reading, disk),
            }
        }
        loading.reading = Some(Reading::Rdb(reading));
        Ok(())
    }

    /// Stores keys that were read, after asking for all the memory that is looked at on the way.
    fn load_batch(
        &mut self,
        loading: &Loading,
        batch: &mut Vec<LoadedKey>,
        is_base: bool,
    ) -> Result<(), Refusal> {
        let mut hashes = [0; BATCH_KEYS];
        let hashes = &mut hashes[..batch.len()];
        for (hash, key) in hashes.iter_mut().zip(&*batch) {
            *hash = self.store.hash(&key.key);
        }
        self.prefetch(loading.db, hashes);
        for (key, &hash) in batch.drain(..).zip(&*hashes) {
            self.load_key(loading, key, hash, is_base)?;
        }
        Ok(())
    }

    fn load_key(
        &mut self,
        loading: &Loading,
        key: LoadedKey,
        hash: u64,
        is_base: bool,
    ) -> Result<(), Refusal> {
        let has_expired = key.expiry_ms.is_some_and(|at| at < self.store.now_ms);
        if has_expired && (!is_base || mutant::is(Mutant::BaseDropsExpired)) {
            self.load_report.keys_expired += 1;
            return Ok(());
        }
        let meta = self.store.limits.meta_from(key.idle_s, key.frequency, self.store.now_ms);
        let (name, expiry) = (key.key, key.expiry_ms);
        let db = self.store.db_mut(loading.db);
        let existed = key.value.with(|value| db.insert_hashed(hash, &name, value, meta, expiry));
        let may_replace = matches!(loading.reason, Reason::Reload { merge: true });
        if existed && !may_replace {
            return Err(Refusal(format!(
                "Internal error in RDB reading: duplicated key '{}' found in RDB file",
                crate::commands::printable(&name)
            )));
        }
        self.load_report.keys_loaded += 1;
        Ok(())
    }

    fn end_rdb(
        &mut self,
        loading: &mut Loading,
        reading: RdbReading,
        disk: &mut dyn Disk,
    ) -> Result<(), Refusal> {
        let end = reading.decoder.offset();
        let len = disk.len(&reading.path)?.unwrap_or(0);
        if reading.is_base && end < len {
            // Records follow the snapshot: the file of an older server, or a base it went on writing to.
            let is_last = loading.sources.is_empty();
            let name = reading.path.rsplit('/').next().unwrap_or(&reading.path).to_string();
            loading.db = 0;
            let reader = loading.handover.reader_after_snapshot(reading.path, end, self.config.aof_checksum);
            loading.reading = Some(Reading::Log { reader, name, is_last, previous_len: 0 });
        }
        Ok(())
    }

    // --- The log --------------------------------------------------------------------------------------

    fn load_log(
        &mut self,
        loading: &mut Loading,
        mut reader: LogReader,
        name: String,
        is_last: bool,
        mut previous_len: usize,
        disk: &mut dyn Disk,
    ) -> Result<(), Refusal> {
        let start = reader.position();
        for index in 0..SLICE_RECORDS {
            if index % BATCH_KEYS == 0 {
                self.prefetch_log(loading.db, &mut reader, previous_len);
            }
            match reader.next(disk, &mut previous_len)? {
                Next::Command => {
                    let args: Vec<&[u8]> = reader.args().collect();
                    self.replay(loading, &args, &name)?;
                    if self.is_script_suspended() {
                        // It goes on in the next slice, and the log after it.
                        break;
                    }
                }
                Next::End => {
                    loading.take_over(&reader, &name);
                    if reader.is_taken_over() {
                        loading.overlaps.push((name, reader.valid_to()));
                    }
                    loading.loaded_bytes += reader.position() - start;
                    return Ok(());
                }
                Next::Bad(bad) => {
                    let is_checked =
                        reader.has_headers() || reader.follows_checked() || loading.handover.expects_headers;
                    loading.take_over(&reader, &name);
                    let may_end = is_last || is_checked && self.may_end_with(loading, &name, disk)?;
                    return self.end_badly(loading, &name, may_end, bad, disk);
                }
            }
        }
        loading.loaded_bytes += reader.position() - start;
        loading.reading = Some(Reading::Log { reader, name, is_last, previous_len });
        Ok(())
    }

    /// Whether the log may have ended in this file, although others follow it.
    fn may_end_with(&self, loading: &Loading, name: &str, disk: &mut dyn Disk) -> Result<bool, Refusal> {
        let is_sure = self.config.aof_checksum && loading.reason == Reason::Start;
        let Some(reached) = loading.handover.offset.filter(|_| is_sure) else { return Ok(false) };
        let followers = loading.manifest.followers(name);
        Ok(recovery::may_end_before(&self.aof.names, followers, reached, disk)?)
    }

    /// Asks for the memory that the next commands will look at: the first argument of nearly all is their key. Of one
    /// that has none, or whose database another selects before, something useless is asked for, no more.
    fn prefetch_log(&self, db: usize, reader: &mut LogReader, previous_len: usize) {
        let mut hashes = [0; BATCH_KEYS];
        let mut count = 0;
        reader.look_ahead(previous_len, BATCH_KEYS, |key| {
            hashes[count] = self.store.hash(key);
            count += 1;
        });
        self.prefetch(db, &hashes[..count]);
    }

    fn end_badly(
        &mut self,
        loading: &mut Loading,
        name: &str,
        may_end: bool,
        bad: Bad,
        disk: &mut dyn Disk,
    ) -> Result<(), Refusal> {
        if bad.is_open_multi && mutant::is(Mutant::OpenMultiApplied) {
            self.replay(loading, &[b"EXEC"], name)?;
        }
        loading.multi = None;
        if bad.is_tail && !may_end && mutant::is(Mutant::TornFileFollowed) {
            loading.handover.offset = None;
            return Ok(());
        }
        if bad.is_tail && !may_end && mutant::is(Mutant::CutBeforeRefusal) {
            recovery::cut(self.aof.names.path(name), bad.at, disk)?;
        }
        self.load_report.cases.push(match (bad.is_tail, may_end, self.config.aof_load_truncated) {
            (false, ..) => Case::DamagedBelowSynced,
            (true, false, _) => Case::TornInTheMiddle,
            (true, true, false) => Case::TailRefused,
            (true, true, true) => Case::TailCut,
        });
        if bad.is_tail && !may_end {
            return Err(Refusal(format!(
                "Fatal error: the truncated file is not the last file: {name} ends badly at offset {}: {}",
                bad.at, bad.reason
            )));
        }
        if !bad.is_tail {
            return Err(Refusal(format!(
                "Bad file format reading the append only file {name}: at offset {}: {}. Make a backup of your AOF file, then \
                 use perdura-check-aof --fix <filename.manifest>",
                bad.at, bad.reason
            )));
        }
        if !self.config.aof_load_truncated {
            return Err(Refusal(format!(
                "Unexpected end of file reading the append only file {name}. You can: 1) Make a backup of your AOF file, \
                 then use perdura-check-aof --fix <filename.manifest>. 2) Alternatively you can set the 'aof-load-truncated' \
                 configuration option to yes and restart the server."
            )));
        }
        if bad.is_open_multi {
            tracing::warn!("Revert incomplete MULTI/EXEC transaction in AOF file {name}");
        }
        tracing::warn!("!!! Warning: short read while loading the AOF file {name}: {} !!!", bad.reason);
        if mutant::is(Mutant::TailNotCut) {
            return Ok(());
        }
        self.move_old_file(loading, disk)?;
        let names = self.aof.names.clone();
        let mut followers = Vec::new();
        for part in loading.manifest.followers(name) {
            if disk.len(&names.path(&part.name))?.unwrap_or(0) > 0 {
                followers.push(part.clone());
            }
        }
        let (copy, len) = recovery::copy_aside(&names, name, bad.at, &followers, &mut self.ids, disk)?;
        if !followers.is_empty() {
            self.load_report.cases.push(Case::LogEndedEarlier);
            // The end of the log first: what is cut then is the tail of the last file, now and at a start after a crash.
            loading.sources.clear();
            loading.manifest.end_with(name);
            recovery::perform_all(&names.manifest_steps(&loading.manifest, &mut self.ids), disk)?;
        }
        recovery::cut(names.path(name), bad.at, disk)?;
        tracing::warn!("{}", recovery::cut_message(name, bad.at, len, &copy));
        tracing::warn!("AOF {name} loaded anyway because aof-load-truncated is enabled");
        self.load_report.cut = Some((len, copy));
        if mutant::is(Mutant::CutLengthForgotten) {
            return Ok(());
        }
        self.measure(loading, disk)
    }

    /// Takes the lengths of the set's files.
    fn measure(&self, loading: &mut Loading, disk: &mut dyn Disk) -> Result<(), Refusal> {
        (loading.closed_len, loading.last_len) = (0, 0);
        for part in loading.manifest.loaded() {
            let len = disk.len(&self.aof.names.path(&part.name))?.unwrap_or(0);
            if loading.manifest.incrementals.last() == Some(part) {
                loading.last_len = len;
            } else {
                loading.closed_len += len;
            }
        }
        Ok(())
    }

    /// Runs one command of the log.
    fn replay(&mut self, loading: &mut Loading, args: &[&[u8]], name: &str) -> Result<(), Refusal> {
        let Some(row) = self.table.resolve_logged(args) else {
            return Err(Refusal(format!(
                "Unknown command '{}' reading the append only file {name}",
                crate::commands::printable(args[0])
            )));
        };
        if !row.command.takes(args.len()) && !mutant::is(Mutant::ArityIgnored) {
            // W21: a record with too few arguments is damage, not a reason to crash.
            return Err(Refusal(format!(
                "Bad file format reading the append only file {name}: wrong number of arguments for '{}'",
                row.full_name()
            )));
        }
        match row.command.action {
            Action::Node(NodeCommand::Multi) => loading.multi = Some(Vec::new()),
            Action::Node(NodeCommand::Exec) => {
                for queued in loading.multi.take().unwrap_or_default() {
                    let args: Vec<&[u8]> = queued.iter().map(Vec::as_slice).collect();
                    self.replay(loading, &args, name)?;
                    self.finish_script();
                }
            }
            _ if loading.multi.is_some() => {
                let owned = args.iter().map(|arg| arg.to_vec()).collect();
                loading.multi.as_mut().expect("just seen").push(owned);
            }
            Action::Run(function) => {
                self.store.selected = loading.db;
                let (mut reply, mut record) = (Node::scratch_reply(), Record::default());
                let mut context = self.context(true);
                context.is_replay = true;
                let mut call = Call {
                    args,
                    store: &mut self.store,
                    reply: &mut reply,
                    record: &mut record,
                    context,
                    block: None,
                };
                if let Err(error) = function(&mut call) {
                    self.replay_failed(args, error.as_str());
                }
            }
            Action::Node(command) => self.replay_node_command(loading, command, args),
            Action::Container => {}
        }
        Ok(())
    }

    fn replay_failed(&mut self, args: &[&[u8]], error: &str) {
        self.load_report.failed_commands += 1;
        self.counters.unexpected_error_replies += 1;
        tracing::warn!(
            "== CRITICAL == This server is sending an error to its AOF-loading client: '{error}' after processing the command '{}'",
            crate::commands::printable(args[0])
        );
    }

    fn replay_node_command(&mut self, loading: &mut Loading, command: NodeCommand, args: &[&[u8]]) {
        match command {
            NodeCommand::Select => {
                let index =
                    crate::commands::parse_int(args[1]).ok().and_then(|index| usize::try_from(index).ok());
                match index.filter(|&index| index < self.store.db_count()) {
                    Some(index) => loading.db = index,
                    None => self.replay_failed(args, "ERR DB index is out of range"),
                }
            }
            NodeCommand::FlushAll => {
                for db in 0..self.store.db_count() {
                    self.store.empty_db(db);
                }
            }
            NodeCommand::FlushDb => {
                self.store.empty_db(loading.db);
            }
            NodeCommand::SwapDb => {
                let index = |at: usize| {
                    crate::commands::parse_int(args[at]).ok().and_then(|index| usize::try_from(index).ok())
                };
                if let (Some(first), Some(second)) = (index(1), index(2))
                    && first.max(second) < self.store.db_count()
                {
                    self.store.swap(first, second);
                }
            }
            NodeCommand::FunctionDelete
            | NodeCommand::FunctionFlush
            | NodeCommand::FunctionLoad
            | NodeCommand::FunctionRestore => {
                if let Err(error) = self.replay_function(command, args) {
                    self.replay_failed(args, error.as_str());
                }
            }
            NodeCommand::Eval
            | NodeCommand::EvalSha
            | NodeCommand::FCall
            | NodeCommand::ScriptLoad
            | NodeCommand::ScriptFlush => {
                if let Err(error) = self.replay_script(loading.db, command, args) {
                    self.replay_failed(args, error.as_str());
                }
            }
            // Anything else changes no data.
            _ => {}
        }
    }

    /// Rows of the recovery tables that the last start went through.
    pub fn start_cases(&self) -> &[Case] {
        &self.load_report.cases
    }

    // --- Afterwards -----------------------------------------------------------------------------------

    fn refuse_to_load(&mut self, loading: &Loading, refusal: &Refusal, effects: &mut Effects) {
        tracing::warn!("{}", refusal.0);
        match loading.reason {
            Reason::Start => effects.push(Effect::Exit(1)),
            Reason::Reload { .. } => {
                self.answer_loaded(Err("ERR Error trying to load the RDB dump, check server logs."), effects)
            }
            Reason::LoadAof => {
                self.answer_loaded(Err("ERR Error trying to load the AOF files, check server logs."), effects)
            }
        }
    }

    fn finish_loading(&mut self, loading: &mut Loading, disk: &mut dyn Disk, effects: &mut Effects) {
        self.store.dirty = 0;
        match loading.reason {
            Reason::Start => {
                if let Err(refusal) = self.finish_start(loading, disk, effects) {
                    self.refuse_to_load(loading, &refusal, effects);
                    self.loading = None;
                }
            }
            Reason::Reload { .. } | Reason::LoadAof => self.answer_loaded(Ok(()), effects),
        }
    }

    pub(super) fn answer_loaded(&mut self, result: Result<(), &str>, effects: &mut Effects) {
        for client in self.waiting.clients(WaitKind::Loaded) {
            self.with_session(client, |node, session| {
                node.unblock(session);
                match result {
                    Ok(()) => session.reply.ok(),
                    Err(text) => session.reply.error(text),
                }
                node.owe(session);
                node.resume(session);
            });
        }
        let _ = effects;
    }

    fn finish_start(
        &mut self,
        loading: &mut Loading,
        disk: &mut dyn Disk,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.move_old_file(loading, disk)?;
        let names = self.aof.names.clone();
        let elapsed = (self.now.mono_us - loading.started_us) as f64 / 1e6;
        match loading.choice.as_ref().expect("chosen") {
            Choice::Fresh => {}
            Choice::Set | Choice::Upgrade => {
                tracing::info!("DB loaded from append only file: {elapsed:.3} seconds");
            }
            Choice::Dump | Choice::ImportDump | Choice::AdoptBase(_) => {
                tracing::info!(
                    "Done loading RDB, keys loaded: {}, keys expired: {}, empty keys skipped: {}.",
                    self.load_report.keys_loaded,
                    self.load_report.keys_expired,
                    self.load_report.empty_keys
                );
                tracing::info!("DB loaded from disk: {elapsed:.3} seconds");
            }
        }
        let dump = self.config.dbfilename.clone();
        if disk.len(&dump)?.is_some() {
            self.aof.note_dump(recovery::frozen_ms(&dump, disk)?);
        }
        let manifest = loading.manifest.clone();
        if self.config.appendonly {
            self.open_set(loading, manifest, disk)?;
        } else {
            if manifest.is_empty() {
                recovery::disown_strays(&names, &mut self.ids, disk)?;
            }
            self.aof.set_manifest(manifest);
            if loading.choice == Some(Choice::Dump) {
                // A kill -9 between rename and sync leaves a snapshot that only the page cache knows by this name.
                let dump = FileStep::SyncPath { path: self.config.dbfilename.clone() };
                recovery::perform_all(&[dump, FileStep::SyncDir { path: String::new() }], disk)?;
            }
        }
        recovery::sweep(&names, self.aof.manifest(), disk)?;
        self.learn_archive(disk);
        self.aof.clean_up(self.now, &mut self.ids, effects);
        // The start counts as a snapshot.
        self.snapshots = crate::persist::snapshot::Snapshots::new(self.now);
        tracing::info!("Ready to accept connections");
        Ok(())
    }

    /// Looks into the archive: what it holds counts for its bounds, and what a crash left half done is finished.
    fn learn_archive(&mut self, disk: &mut dyn Disk) {
        if !self.aof.archive.is_on() {
            return;
        }
        let entries = match disk.list(self.aof.archive.dir()) {
            Ok(entries) => entries,
            Err(error) if error.errno == ENOENT => Vec::new(),
            Err(error) => {
                tracing::warn!("Can't read aof-archive-dir {}: errno {}", error.path, error.errno);
                return;
            }
        };
        let names = self.aof.names.clone();
        let manifest = self.aof.manifest().clone();
        for path in self.aof.archive.learn(&names, &entries, &manifest) {
            tracing::info!("Removing {path}, which no archived set names");
            if let Err(error) = disk.perform(&FileStep::Remove { path }) {
                tracing::warn!("Can't remove {}: errno {}", error.path, error.errno);
            }
        }
    }

    /// Makes the set ready for appending: a base if it has none, a file to append to, everything durable.
    fn open_set(
        &mut self,
        loading: &Loading,
        mut manifest: Manifest,
        disk: &mut dyn Disk,
    ) -> Result<(), Refusal> {
        let names = self.aof.names.clone();
        let (mut closed_len, mut base_len, mut last_len) =
            (loading.closed_len, loading.base_len, loading.last_len);
        let is_imported = matches!(loading.choice, Some(Choice::ImportDump | Choice::AdoptBase(_)));
        let steps =
            [FileStep::CreateDir { path: names.dir.clone() }, FileStep::SyncDir { path: String::new() }];
        recovery::perform_all(&steps, disk)?;
        let file = self.ids.file();
        // What is in doubt in several files at once is written anew as a base: nothing else has it all. So is what a copy would
        // stand beside.
        let is_scattered = match &loading.unsynced[..] {
            _ if mutant::is(Mutant::UnsyncedNotCopied) => false,
            [] => false,
            [part] => !part.is_told_apart(&names, disk)?,
            _ => true,
        };
        let is_new = manifest.is_empty() || is_imported || is_scattered;
        if is_scattered {
            self.load_report.cases.push(Case::BaseWrittenAnew);
        }
        if is_new {
            self.aof.journal.stand_at(loading.handover.offset.unwrap_or(0));
            let (base, len) = self.write_base(&manifest, disk)?;
            let superseded_at_ms = self.aof.archive.is_on().then(|| self.now.wall_ms());
            manifest.supersede(usize::MAX, superseded_at_ms);
            manifest.base = Some(base);
            (base_len, closed_len, last_len) = (len, len, 0);
        }
        let was_closed = manifest.closed_at_ms.take().is_some();
        let is_first = is_new || manifest.incrementals.is_empty();
        let is_behind_bare = self.config.aof_checksum && !is_first && !loading.handover.expects_headers;
        if is_first {
            self.begin_part(&mut manifest, file, disk)?;
            let first_seq = manifest.incrementals.last().map(|part| part.seq);
            manifest.headed_seq = first_seq.filter(|_| self.config.aof_checksum);
            last_len = 0;
            recovery::perform_all(&names.manifest_steps(&manifest, &mut self.ids), disk)?;
        } else if let Some(Unsynced { name, from, to, db, .. }) =
            loading.unsynced.first().filter(|_| !mutant::is(Mutant::UnsyncedNotCopied))
        {
            self.load_report.cases.push(Case::UnsyncedWrittenAnew);
            let (path, from, to) = (names.path(name), *from, *to);
            let mut select = Vec::new();
            if *db != 0 {
                // A file begins in database 0, what is copied may not.
                crate::resp::encode_command(&[b"SELECT", format!("{db}").as_bytes()], &mut select);
            }
            let copy = names.path(&self.aof.part_after(&manifest).name);
            recovery::or_nothing(&copy, disk, |disk| -> Result<(), Refusal> {
                self.begin_part(&mut manifest, file, disk)?;
                if !select.is_empty() {
                    disk.perform(&FileStep::Append { file, bytes: select.clone().into() })?;
                }
                recovery::copy_range(&path, from, to, file, disk)?;
                Ok(disk.perform(&FileStep::Sync { file })?)
            })?;
            recovery::perform_all(&names.manifest_steps(&manifest, &mut self.ids), disk)?;
            // Only now: until the manifest names the copy, the original is what counts. And only if it can be: the copy's
            // first header tells our loader where the original ends.
            if let Err(error) = disk.perform(&FileStep::Truncate { path, len: from }) {
                tracing::warn!("Can't cut at {from}: {error}");
            }
            last_len = to - from + select.len() as u64;
            let parts: Vec<Part> = manifest.loaded().cloned().collect();
            closed_len = 0;
            for part in &parts[..parts.len() - 1] {
                closed_len += disk.len(&names.path(&part.name))?.unwrap_or(0);
            }
        } else {
            let last = manifest.incrementals.last().expect("just seen").clone();
            disk.perform(&FileStep::OpenAppend { file, path: names.path(&last.name) })?;
            if was_closed {
                recovery::perform_all(&names.manifest_steps(&manifest, &mut self.ids), disk)?;
            }
        }
        if !mutant::is(Mutant::StartNotSettled) {
            recovery::settle(&names, &manifest, loading.is_checked, disk)?;
        }
        closed_len -= cut_overlaps(&names, &manifest, &loading.overlaps, disk)?.min(closed_len);
        let offset = loading.handover.offset.unwrap_or(0);
        if is_behind_bare {
            last_len += begin_headers(file, offset, disk)?;
        }
        self.aof.resume(manifest, file, last_len, closed_len, base_len, offset);
        Ok(())
    }

    /// Makes the next incremental file and adds it to the manifest, which is still to be written.
    fn begin_part(
        &mut self,
        manifest: &mut Manifest,
        file: FileId,
        disk: &mut dyn Disk,
    ) -> Result<(), Refusal> {
        let part = self.aof.part_after(manifest);
        let path = self.aof.names.path(&part.name);
        if mutant::is(Mutant::LostManifestIsEmpty) && disk.len(&path)?.is_some() {
            disk.perform(&FileStep::OpenAppend { file, path })?;
            manifest.incrementals.push(part);
            return Ok(());
        }
        let steps = [
            // A start that crashed may have left an empty one that nothing names.
            FileStep::Remove { path: path.clone() },
            FileStep::CreateExclusive { file, path },
            FileStep::SyncDir { path: self.aof.names.dir.clone() },
        ];
        recovery::perform_all(&steps, disk)?;
        manifest.incrementals.push(part);
        Ok(())
    }

    /// Writes the data set as it is now as the base of a set.
    fn write_base(&mut self, manifest: &Manifest, disk: &mut dyn Disk) -> Result<(Part, u64), Refusal> {
        let names = self.aof.names.clone();
        let form = if self.config.aof_use_rdb_preamble {
            SnapshotForm::AofBaseRdb
        } else {
            SnapshotForm::AofBaseCommands
        };
        let base = names.base(manifest.next_base_seq(), form);
        let file = self.ids.file();
        let temp = recovery::START_TEMP;
        let written = {
            let mut encoder: alloc::boxed::Box<dyn Encoder + '_> = match form {
                SnapshotForm::AofBaseCommands => alloc::boxed::Box::new(self.commands_encoder()),
                form => alloc::boxed::Box::new(self.rdb_encoder(form, self.now.wall_ms())),
            };
            write_snapshot(&mut *encoder, temp, file, disk, &mut |_, _| {})?
        };
        let steps = [
            FileStep::Rename { from: temp.into(), to: names.path(&base.name) },
            FileStep::SyncDir { path: names.dir.clone() },
            FileStep::SyncDir { path: String::new() },
        ];
        recovery::perform_all(&steps, disk)?;
        Ok((base, written.len))
    }
}

/// Cuts files where the next one took over, as a repair or a start before this one should have: a stock server would run
/// twice what stands in both. Gives how many bytes went; that a cut fails is no reason not to start.
fn cut_overlaps(
    names: &Names,
    manifest: &Manifest,
    overlaps: &[(String, u64)],
    disk: &mut dyn Disk,
) -> Result<u64, Refusal> {
    let mut gone = 0;
    if mutant::is(Mutant::OverlapKept) {
        return Ok(gone);
    }
    for (name, at) in overlaps.iter().filter(|(name, _)| manifest.loaded().any(|part| part.name == *name)) {
        let (path, at) = (names.path(name), *at);
        let len = disk.len(&path)?.unwrap_or(0);
        let tail =
            recovery::read_range(&path, at, OVERLAP_LOOK_BYTES.min(len.saturating_sub(at) as usize), disk)?;
        // Headers and marks of time say what nobody runs, but a line without its end is a torn file to a stock server.
        let says_nothing =
            || tail.split(|byte| *byte == b'\n').all(|line| line.is_empty() || line[0] == b'#');
        if tail.is_empty() || tail.ends_with(b"\n") && says_nothing() {
            continue;
        }
        match disk.perform(&FileStep::Truncate { path, len: at }) {
            Ok(()) => gone += len - at,
            Err(error) => tracing::warn!("Can't cut {name} at {at}: {error}"),
        }
    }
    Ok(gone)
}

/// Of what follows in a file that another one took over from so much is looked at, bytes.
const OVERLAP_LOOK_BYTES: usize = 64 << 10;

/// Puts an empty batch, durable, behind records without headers, where a server of another kind stopped. Without it, a crash
/// that loses the beginning of our first batch and keeps what follows would look like damage. Gives its length.
fn begin_headers(file: FileId, offset: Offset, disk: &mut dyn Disk) -> Result<u64, Refusal> {
    let bytes = batch::seal(offset, offset, &[]);
    let len = bytes.len() as u64;
    recovery::perform_all(&[FileStep::Append { file, bytes }, FileStep::Sync { file }], disk)?;
    Ok(len)
}
