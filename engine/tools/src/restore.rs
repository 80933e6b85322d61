//! `perdura-restore --to POINT [--archive DIR] SOURCE TARGET`: builds a data directory that ends at a point of the past.
//!
//! The points:
//!
//! ```text
//!   2026-11-22T10:00:00Z, 1795341600   nothing logged after that second (needs aof-timestamp-enabled yes)
//!   offset:N                           nothing of the log beyond this offset
//!   before:FLUSHALL                    without the last FLUSHALL and what came after; before:"DEL key" works too
//!   before:N                           without the N-th command behind the base, and what came after
//!   end                                everything that is good
//! ```
//!
//! A transaction is kept whole or left out whole. A point older than the set's base is looked for in the archive
//! (`aof-archive-dir`), newest set first.
//!
//! Always true: the source is only read; the target appears under its name once it is complete, synced and read again,
//! until then it is called `TARGET.incomplete`; what was left out lies in it as `left-out.aof`, command by command.
//!
//! Not here: reading (`walk.rs`), ending a file inside of a batch (`cut.rs`).

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use perdura_core::{
    bytes::{number, quote},
    persist::{
        append_only::Names,
        journal::Offset,
        manifest::{Manifest, Part},
    },
    resp::encode_command,
};

use crate::{
    Out, Outcome,
    artefact::{self, Artefact, Kind, other, unarchived},
    cut::Point,
    explain::{self, Dropped},
    progress::Progress,
    walk::{self, End, Seen, Visitor},
};

const USAGE: &str = "\
Usage: perdura-restore --to <time | offset:N | before:COMMAND | before:N | end> [--archive DIR] SOURCE TARGET

  SOURCE   a data directory, a backup, a manifest, or an append-only file
  TARGET   a directory that does not exist yet, or is empty
  --archive DIR   where aof-archive-dir keeps superseded parts; found by itself if it lies in SOURCE";

/// Where the log is to end.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Goal {
    End,
    /// Nothing logged later than this second.
    Second(u64),
    /// Nothing beyond this offset.
    Offset(Offset),
    /// Without this command, counted from 1 behind the base.
    Number(u64),
    /// Without the last command that begins with these words.
    Command(Vec<Vec<u8>>),
}

struct Options {
    goal: Goal,
    archive: Option<PathBuf>,
    source: PathBuf,
    target: PathBuf,
}

/// The tool.
///
/// # Errors
/// The source cannot be read, the point is not in it, the target cannot be written.
pub fn run(arguments: Vec<OsString>, out: Out<'_>) -> io::Result<Outcome> {
    let options = match parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            writeln!(out, "{USAGE}")?;
            return Ok(Outcome::Good);
        }
        Err(reason) => {
            eprintln!("perdura-restore: {reason}\n{USAGE}");
            return Ok(Outcome::Bad);
        }
    };
    check_target(&options.target)?;
    let mut sets = sets_of(&options)?;
    let (index, found) = find(&options.goal, &mut sets)?;
    say_point(&found, &sets[index], out)?;

    let work = Work::begin(&options.target)?;
    let (newer, used) = sets.split_at_mut(index);
    let set = &mut used[0];
    let left_out = write_left_out(set, newer, found.cut.as_ref(), &work.path.join(LEFT_OUT))?;
    build(set, found.cut.as_ref(), &work.path)?;
    let kept = verify(&work.path, &found)?;
    work.finish(&options.target)?;

    say_left_out(&left_out, &options.target, out)?;
    writeln!(
        out,
        "{} is complete, synced and read again: {} keys in its base, {} commands behind it",
        options.target.display(),
        kept.keys,
        kept.commands
    )?;
    Ok(Outcome::Good)
}

fn parse(arguments: Vec<OsString>) -> Result<Option<Options>, String> {
    use lexopt::prelude::{Long, Short, Value};
    let (mut goal, mut archive, mut paths) = (None, None, Vec::new());
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Long("to") => {
                let text = parser.value().map_err(|error| error.to_string())?;
                goal = Some(parse_goal(&text.to_string_lossy())?);
            }
            Long("archive") => archive = Some(parser.value().map_err(|error| error.to_string())?.into()),
            Long("help") | Short('h') => return Ok(None),
            Value(path) => paths.push(PathBuf::from(path)),
            other => return Err(other.unexpected().to_string()),
        }
    }
    let goal = goal.ok_or("--to says where to end, and is missing")?;
    let [source, target] =
        <[PathBuf; 2]>::try_from(paths).map_err(|_| "one SOURCE and one TARGET are needed")?;
    Ok(Some(Options { goal, archive, source, target }))
}

/// Seconds since 1970 have fewer digits than this for the next thousand years; what has more is milliseconds.
const SECONDS_MAX: u64 = 100_000_000_000;

fn parse_goal(text: &str) -> Result<Goal, String> {
    if text == "end" {
        return Ok(Goal::End);
    }
    if let Some(rest) = text.strip_prefix("offset:") {
        return rest.parse().map(Goal::Offset).map_err(|_| format!("'{rest}' is no offset"));
    }
    if let Some(rest) = text.strip_prefix("before:") {
        if let Ok(number) = rest.parse() {
            return Ok(Goal::Number(number));
        }
        let words = quote::split_args(rest.as_bytes()).filter(|words| !words.is_empty());
        return words.map(Goal::Command).ok_or_else(|| format!("'{rest}' is no command"));
    }
    if let Ok(number) = text.parse::<u64>() {
        return Ok(Goal::Second(if number < SECONDS_MAX { number } else { number / 1000 }));
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| {
        format!("'{text}' is neither a time (2026-11-22T10:00:00Z or seconds since 1970) nor another point")
    })?;
    Ok(Goal::Second(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())))
}

fn check_target(target: &Path) -> io::Result<()> {
    let is_empty = match fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(other(format!("{}: {error}", target.display()))),
    };
    match is_empty {
        true => Ok(()),
        false => Err(other(format!("{}: it is there and not empty", target.display()))),
    }
}

/// The source's set, then those of the archive, newest first.
fn sets_of(options: &Options) -> io::Result<Vec<Artefact>> {
    let mut sets = vec![Artefact::open(&options.source)?];
    if sets[0].kind == Kind::Snapshot && options.goal != Goal::End {
        return Err(other(format!(
            "{}: a snapshot alone: there is no log to end earlier",
            options.source.display()
        )));
    }
    let archive = match &options.archive {
        Some(archive) => Some(archive.clone()),
        None => archive_below(&options.source)?,
    };
    if let Some(archive) = archive {
        // Their names begin with the time at which they were superseded.
        for name in artefact::manifests_in(&archive)?.iter().rev() {
            sets.push(Artefact::open(&archive.join(name))?);
        }
    }
    Ok(sets)
}

/// A directory of archived sets in a data directory: its manifests have a time before their names.
fn archive_below(source: &Path) -> io::Result<Option<PathBuf>> {
    if !source.is_dir() {
        return Ok(None);
    }
    for entry in fs::read_dir(source)? {
        let path = entry?.path();
        let is_archived = |name: &String| unarchived(name) != name;
        if path.is_dir() && artefact::manifests_in(&path)?.iter().any(is_archived) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

// --- Finding the point ----------------------------------------------------------------------------------------

/// Where a set is cut: nothing of `file` beyond `point`, and no file after it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Cut {
    file: usize,
    point: Point,
}

/// A point that was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Found {
    /// `None`: nothing is cut off.
    cut: Option<Cut>,
    /// The first command that is left out, in words.
    before: Option<String>,
    /// The log's offset there.
    offset: Option<Offset>,
    /// The second noted last before it.
    second: Option<u64>,
    /// Commands kept behind the base.
    commands: u64,
}

/// Looks for a point in one set.
struct Search<'a> {
    goal: &'a Goal,
    /// When the base was made, and where its log goes on.
    base_second: Option<u64>,
    base_offset: Option<Offset>,
    has_times: bool,
    has_offsets: bool,
    /// What is known where the last unit begins.
    last: Found,
    /// Commands seen.
    counted: u64,
    found: Option<Found>,
}

impl Search<'_> {
    /// The base is later than the point.
    fn is_too_late(&self) -> bool {
        match self.goal {
            Goal::Second(second) => self.base_second.is_some_and(|base| base > *second),
            Goal::Offset(offset) => self.base_offset.is_some_and(|base| base > *offset),
            _ => false,
        }
    }

    fn is_left_out(&self, seen: &Seen<'_>) -> bool {
        match self.goal {
            Goal::End => false,
            Goal::Second(second) => seen.second.is_some_and(|at| at > *second),
            Goal::Offset(offset) => seen.offset.is_some_and(|at| at + seen.len as u64 > *offset),
            Goal::Number(number) => seen.number == *number,
            Goal::Command(words) => {
                words.len() <= seen.args.len()
                    && words[0].eq_ignore_ascii_case(seen.args[0])
                    && words.iter().zip(&seen.args).skip(1).all(|(word, arg)| word == arg)
            }
        }
    }
}

impl Visitor for Search<'_> {
    fn note(&mut self, name: &[u8], value: &[u8]) {
        if name == b"ctime" {
            self.base_second = number::parse_u64(value);
        } else if name == perdura_core::rdb::AUX_LOG_OFFSET {
            self.base_offset = number::parse_u64(value);
        }
    }

    fn command(&mut self, seen: &Seen<'_>) -> io::Result<ControlFlow<()>> {
        if self.is_too_late() {
            return Ok(ControlFlow::Break(()));
        }
        self.has_times |= seen.second.is_some();
        self.has_offsets |= seen.offset.is_some();
        if seen.begins_unit {
            // Commands of a transaction are kept or left out with it.
            self.last = Found {
                cut: Some(Cut { file: seen.file, point: seen.before.clone() }),
                before: None,
                offset: seen.offset,
                second: self.last.second,
                commands: self.counted,
            };
        }
        if self.is_left_out(seen) {
            let before =
                format!("{} (at {} of file {})", explain::command_line(&seen.args), seen.at, seen.file + 1);
            self.found = Some(Found { before: Some(before), ..self.last.clone() });
            // The last of its kind is wanted, so one that came earlier is no reason to stop.
            if !matches!(self.goal, Goal::Command(_)) {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.last.second = seen.second;
        self.counted = self.counted.max(seen.number);
        Ok(ControlFlow::Continue(()))
    }
}

/// The newest set that has the point, and where in it.
fn find(goal: &Goal, sets: &mut [Artefact]) -> io::Result<(usize, Found)> {
    let mut oldest = None;
    for (index, set) in sets.iter_mut().enumerate() {
        let mut search = Search {
            goal,
            base_second: None,
            base_offset: None,
            has_times: false,
            has_offsets: false,
            last: Found::default(),
            counted: 0,
            found: None,
        };
        let end = walk::walk(set, "Looking for the point", &mut search)?;
        if search.is_too_late() {
            oldest =
                search.base_second.map(time_text).or(search.base_offset.map(|at| format!("offset {at}")));
            continue;
        }
        if let Some(found) = search.found {
            return Ok((index, found));
        }
        match goal {
            Goal::Command(_) => {}
            Goal::Number(number) => {
                return Err(other(format!("the log has no command number {number} behind its base")));
            }
            Goal::Second(_) if !search.has_times && search.last.cut.is_some() => {
                return Err(other(
                    "the log carries no times (aof-timestamp-enabled was off): choose offset:N or before:COMMAND"
                        .into(),
                ));
            }
            Goal::Offset(_) if !search.has_offsets && search.last.cut.is_some() => {
                return Err(other(
                    "the log carries no offsets (it has no batch headers): choose a time or before:COMMAND"
                        .into(),
                ));
            }
            Goal::End | Goal::Second(_) | Goal::Offset(_) => return Ok((index, at_end(set, &search, end)?)),
        }
    }
    Err(other(match (goal, oldest) {
        (Goal::Command(words), _) => {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            format!("no {} in the log, nor in the archive", explain::command_line(&words))
        }
        (_, oldest) => format!(
            "the oldest base that is kept was made at {}, after the point (see aof-archive-dir)",
            oldest.unwrap_or_else(|| "an unknown time".into())
        ),
    }))
}

/// Everything that is good is before the point.
fn at_end(set: &Artefact, search: &Search<'_>, end: End) -> io::Result<Found> {
    let whole = Found { cut: None, before: None, commands: search.counted, ..search.last.clone() };
    match end {
        End::Whole | End::Stopped => Ok(whole),
        End::Bad { file, bad } if bad.is_tail && set.files[file].is_last => {
            let cut = Cut { file, point: Point { at: bad.at, inside: None } };
            // A transaction without its end was seen, and is cut off.
            let is_open =
                search.last.cut.as_ref().is_some_and(|last| last.file == file && last.point.at >= bad.at);
            let whole = if is_open { Found { commands: search.last.commands, ..whole } } else { whole };
            Ok(Found { cut: Some(cut), before: Some(format!("the torn end ({})", bad.reason)), ..whole })
        }
        End::Bad { file, bad } => Err(other(format!(
            "{} is damaged at {}: {}. Everything before can be had{}",
            set.files[file].name,
            bad.found_at,
            bad.reason,
            search.last.offset.map_or(String::new(), |offset| format!(" with --to offset:{offset}"))
        ))),
    }
}

fn say_point(found: &Found, set: &Artefact, out: Out<'_>) -> io::Result<()> {
    let name = match set.kind {
        Kind::Set => format!("{}{}", set.names.prefix, artefact::MANIFEST_ENDING),
        Kind::Log | Kind::Snapshot => set.names.prefix.clone(),
    };
    writeln!(out, "From {}", set.dir.join(name).display())?;
    match &found.before {
        Some(before) => writeln!(out, "Ends before {before}")?,
        None => writeln!(out, "Ends where the log ends")?,
    }
    if let Some(offset) = found.offset {
        writeln!(out, "Offset {offset}")?;
    }
    if let Some(second) = found.second {
        writeln!(out, "Last time noted before it: {}", time_text(second))?;
    }
    Ok(())
}

fn time_text(second: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(second)).to_string()
}

// --- What is left out -----------------------------------------------------------------------------------------

/// File in the target with the commands that were left out.
const LEFT_OUT: &str = "left-out.aof";

struct LeftOut<'a> {
    from: Option<&'a Cut>,
    dropped: Dropped,
    db: Option<u64>,
    file: BufWriter<File>,
}

impl Visitor for LeftOut<'_> {
    fn command(&mut self, seen: &Seen<'_>) -> io::Result<ControlFlow<()>> {
        let is_kept = self.from.is_some_and(|cut| (seen.file, seen.at) < (cut.file, cut.point.at));
        if is_kept {
            return Ok(ControlFlow::Continue(()));
        }
        let mut bytes = Vec::new();
        let is_select = seen.args[0].eq_ignore_ascii_case(b"select");
        if !is_select && self.db != Some(seen.db) && seen.begins_unit {
            encode_command(&[b"SELECT", seen.db.to_string().as_bytes()], &mut bytes);
        }
        self.db = Some(seen.db);
        encode_command(&seen.args, &mut bytes);
        self.dropped.add(&seen.args);
        self.file.write_all(&bytes)?;
        Ok(ControlFlow::Continue(()))
    }
}

/// Writes the commands behind the cut, and all of the sets that came later, oldest first.
fn write_left_out(
    set: &mut Artefact,
    newer: &mut [Artefact],
    cut: Option<&Cut>,
    path: &Path,
) -> io::Result<Dropped> {
    let file = BufWriter::new(File::create_new(path)?);
    let mut left_out = LeftOut { from: cut, dropped: Dropped::default(), db: None, file };
    if cut.is_some() {
        walk::walk(set, "Listing what is left out", &mut left_out)?;
    }
    left_out.from = None;
    for later in newer.iter_mut().rev() {
        walk::walk(later, "Listing what is left out", &mut left_out)?;
    }
    left_out.file.flush()?;
    left_out.file.get_ref().sync_all()?;
    if left_out.dropped == Dropped::default() {
        fs::remove_file(path)?;
    }
    Ok(left_out.dropped)
}

fn say_left_out(dropped: &Dropped, target: &Path, out: Out<'_>) -> io::Result<()> {
    if *dropped == Dropped::default() {
        return writeln!(out, "Left out: nothing");
    }
    writeln!(out, "Left out: {}", dropped.summary())?;
    for command in &dropped.first {
        writeln!(out, "  {command}")?;
    }
    if dropped.commands > dropped.first.len() as u64 {
        writeln!(out, "  …")?;
    }
    writeln!(out, "All of them, in order: {}", target.join(LEFT_OUT).display())
}

// --- Building the target --------------------------------------------------------------------------------------

/// The target while it is not complete.
struct Work {
    path: PathBuf,
}

impl Work {
    /// Makes `TARGET.incomplete`; what an interrupted restore left under that name goes.
    fn begin(target: &Path) -> io::Result<Work> {
        let mut name = target.as_os_str().to_owned();
        name.push(".incomplete");
        let path = PathBuf::from(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir(&path).map_err(|error| other(format!("{}: {error}", path.display())))?;
        Ok(Work { path })
    }

    /// Gives it its name. From here on it counts.
    fn finish(self, target: &Path) -> io::Result<()> {
        sync_dir(&self.path)?;
        fs::rename(&self.path, target)?;
        match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
            _ => sync_dir(Path::new(".")),
        }
    }
}

/// Copies the files of a set up to a cut into `work`, with a manifest, all of it synced.
fn build(set: &mut Artefact, cut: Option<&Cut>, work: &Path) -> io::Result<()> {
    if set.kind == Kind::Snapshot {
        let progress = &mut Progress::new("Copying", set.len());
        let name = "dump.rdb";
        copy(&set.dir.join(&set.files[0].name), u64::MAX, &work.join(name), progress)?;
        return Ok(());
    }
    let dir = work.join("appendonlydir");
    fs::create_dir(&dir)?;
    let kept = cut.map_or(set.files.len(), |cut| cut.file + 1);
    let mut progress = Progress::new("Copying", set.files[..kept].iter().map(|file| file.len).sum());
    for (index, file) in set.files[..kept].iter().enumerate() {
        let point = cut.filter(|cut| cut.file == index).map(|cut| &cut.point);
        let target = dir.join(unarchived(&file.name));
        let len = point.map_or(u64::MAX, Point::kept_to);
        copy(&set.dir.join(&file.name), len, &target, &mut progress)?;
        if let Some(point) = point {
            let rest = point.sealed_rest(&file.path, &mut set.disk)?;
            let mut file = File::options().append(true).open(&target)?;
            file.write_all(&rest)?;
            file.sync_all()?;
        }
    }
    progress.finish();
    let own = |part: &Part| Part { name: unarchived(&part.name).to_owned(), seq: part.seq };
    let has_base = usize::from(set.manifest.base.is_some());
    let manifest = Manifest {
        base: set.manifest.base.as_ref().map(own),
        incrementals: set.manifest.incrementals.iter().take(kept - has_base).map(own).collect(),
        headed_seq: set.manifest.headed_seq,
        ..Manifest::default()
    };
    let names = Names { dir: ".".into(), prefix: unarchived(&set.names.prefix).to_owned() };
    let mut file = File::create_new(dir.join(names.manifest()))?;
    file.write_all(manifest.format().as_bytes())?;
    file.sync_all()?;
    sync_dir(&dir)
}

/// Bytes copied between two looks at the progress.
const COPY_BYTES: u64 = 16 << 20;

/// Copies the first `len` bytes of a file into a new one and makes them durable.
fn copy(from: &Path, len: u64, to: &Path, progress: &mut Progress) -> io::Result<()> {
    let (mut source, mut target) = (File::open(from)?, File::create_new(to)?);
    let mut left = len;
    loop {
        let count = io::copy(&mut Read::by_ref(&mut source).take(left.min(COPY_BYTES)), &mut target)?;
        progress.add(count);
        left -= count;
        if count == 0 || left == 0 {
            return target.sync_all();
        }
    }
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// What a restored set holds.
#[derive(Default)]
struct Held {
    keys: u64,
    commands: u64,
}

impl Visitor for Held {
    fn key(&mut self, _db: usize, _at: u64, _key: &perdura_core::rdb::LoadedKey) {
        self.keys += 1;
    }

    fn command(&mut self, seen: &Seen<'_>) -> io::Result<ControlFlow<()>> {
        self.commands += u64::from(seen.number > 0);
        Ok(ControlFlow::Continue(()))
    }
}

/// Reads what was built, from the first byte to the last.
fn verify(work: &Path, found: &Found) -> io::Result<Held> {
    let mut held = Held::default();
    let end = walk::walk(&mut Artefact::open(work)?, "Verifying", &mut held)?;
    let is_right = end == End::Whole && (found.cut.is_none() || held.commands == found.commands);
    match is_right {
        true => Ok(held),
        false => Err(other(format!(
            "{} does not read back as it should: {end:?}, {} commands instead of {}",
            work.display(),
            held.commands,
            found.commands
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read() {
        for (text, goal) in [
            ("end", Goal::End),
            ("1795341600", Goal::Second(1_795_341_600)),
            ("1795341600123", Goal::Second(1_795_341_600)),
            ("2026-11-22T10:00:00Z", Goal::Second(1_795_341_600)),
            ("2026-11-22 10:00:00", Goal::Second(1_795_341_600)),
            ("offset:17", Goal::Offset(17)),
            ("before:3", Goal::Number(3)),
            ("before:FLUSHALL", Goal::Command(vec![b"FLUSHALL".to_vec()])),
            ("before:del \"a b\"", Goal::Command(vec![b"del".to_vec(), b"a b".to_vec()])),
        ] {
            assert_eq!(parse_goal(text), Ok(goal), "{text}");
        }
        for text in ["", "yesterday", "offset:x", "before:", "before:\"x"] {
            assert!(parse_goal(text).is_err(), "{text}");
        }
    }
}
