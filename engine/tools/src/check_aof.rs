//! `perdura-check-aof [--fix | --truncate-to-timestamp SECONDS] FILE`: checks an append-only set or a single file of one.
//!
//! Called like redis-check-aof, with its output and its exit status, and with what that one does not say: the first bad
//! offset, what stands before and behind it, and which commands a fix would drop, before it drops them.
//!
//! What is checked beyond the grammar of records: the checksum of every batch, that each batch follows the one before it,
//! across files too, and MULTI and EXEC in pairs.
//!
//! Always true: nothing is changed before it was agreed to; only the last file is ever cut, and what is cut from it was
//! copied beside it first (`cut-<file>-<offset>`).
//!
//! Not here: reading a file (`perdura-core`: `persist/log_reader.rs`), restoring to a point (`restore.rs`).

use std::{
    ffi::OsString,
    io::{self, BufRead},
    path::Path,
};

use perdura_core::{
    host::Disk,
    persist::{
        append_only::Names,
        log_reader::{LogReader, Next},
        manifest::Manifest,
        recovery::read_range,
        set_files::{self, Handover, SetFile},
    },
    rdb,
};

use crate::{
    Out, Outcome, artefact, check_rdb, cut,
    explain::{self, Dropped},
    place::{Place, io_error},
    progress::Progress,
};

const USAGE: &str =
    "Usage: perdura-check-aof [--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>";

/// What is to be done besides looking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    Check,
    Fix,
    /// Cut where the first record is annotated with a later second.
    TruncateTo(u64),
}

/// What a file turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Valid,
    Empty,
    /// It was cut, and is valid now.
    Cut,
    /// It is not, and the reason was said.
    Invalid,
}

/// The tool.
///
/// # Errors
/// Its output cannot be written.
pub fn run(arguments: Vec<OsString>, out: Out<'_>) -> io::Result<Outcome> {
    let (wish, file) = match &arguments[..] {
        [file] => (Wish::Check, file),
        [flag, file] if flag == "--fix" => (Wish::Fix, file),
        [flag, second, file] if flag == "--truncate-to-timestamp" => {
            match second.to_str().and_then(|text| text.parse().ok()) {
                Some(second) => (Wish::TruncateTo(second), file),
                None => {
                    writeln!(out, "Invalid timestamp, aborting...")?;
                    return Ok(Outcome::Bad);
                }
            }
        }
        _ => {
            writeln!(out, "{USAGE}")?;
            return Ok(Outcome::Bad);
        }
    };
    let path = Path::new(file);
    let opened = Place::of(path).and_then(|place| std::fs::File::open(path).map(|_| place));
    let place = match opened {
        Ok(place) => place,
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.split(" (os error").next().unwrap_or_default();
            writeln!(out, "Cannot open file {}: {reason}", path.display())?;
            return Ok(Outcome::Bad);
        }
    };
    if path.is_dir() {
        writeln!(out, "Cannot read file: {}", path.display())?;
        return Ok(Outcome::Bad);
    }
    let Place { disk, name, .. } = place;
    let names = Names { dir: ".".into(), prefix: name.clone() };
    let shown = path.display().to_string();
    let checker = Checker { disk, names, wish, handover: Handover::default(), out };
    let head = read_range(&name, 0, MANIFEST_BYTES_MAX, &mut checker.disk.clone()).map_err(io_error)?;
    let is_good = match artefact::is_manifest(&head) {
        true => checker.check_set(&head)?,
        false => checker.check_single(&name, &shown)?,
    };
    Ok(if is_good { Outcome::Good } else { Outcome::Bad })
}

/// Far beyond any manifest; an append-only file shows what it is in less.
const MANIFEST_BYTES_MAX: usize = 1 << 20;

struct Checker<'a> {
    disk: perdura_linux::LinuxDisk,
    names: Names,
    wish: Wish,
    /// What the files checked so far tell about the next.
    handover: Handover,
    out: Out<'a>,
}

/// Where a file stops being good.
struct Finding {
    /// Length of the good part.
    valid_to: u64,
    /// Line after it, counted from 1 as the stock tool counts.
    line: u64,
    /// Where the last good command begins, and its length.
    last_good: Option<(u64, usize)>,
    /// What is wrong, if anything is.
    fault: Option<Fault>,
    /// Where the first record later than the wanted second begins.
    later: Option<cut::Point>,
}

struct Fault {
    found_at: u64,
    reason: String,
    /// A crash can have done this; otherwise it is damage to what was durable.
    is_tail: bool,
}

impl Checker<'_> {
    fn check_set(mut self, text: &[u8]) -> io::Result<bool> {
        writeln!(self.out, "Start checking Multi Part AOF")?;
        let manifest = match Manifest::parse(text) {
            Ok(manifest) => manifest,
            Err(error) => {
                writeln!(
                    self.out,
                    "\n*** FATAL AOF MANIFEST FILE ERROR ***\nReading the manifest file, at line {}\n>>> '{}'\n{}",
                    error.line, error.text, error.reason
                )?;
                return Ok(false);
            }
        };
        let files = set_files::set_files(&self.names, &manifest, true, &mut self.disk).map_err(io_error)?;
        let mut has_said_incr = false;
        for file in &files {
            if file.is_base {
                let format = if file.is_rdb { "RDB" } else { "RESP" };
                writeln!(self.out, "Start to check BASE AOF ({format} format).")?;
            } else if !std::mem::replace(&mut has_said_incr, true) {
                writeln!(self.out, "Start to check INCR files.")?;
            }
            if self.disk.len(&file.path).map_err(io_error)?.is_none() {
                writeln!(self.out, "Cannot open file {}: No such file or directory, aborting...", file.path)?;
                return Ok(false);
            }
            let kind = if file.is_base { "BASE AOF" } else { "INCR AOF" };
            match self.check_file(file)? {
                Verdict::Valid => writeln!(self.out, "{kind} {} is valid", file.name)?,
                Verdict::Empty => writeln!(self.out, "{kind} {} is empty", file.name)?,
                Verdict::Cut => {}
                Verdict::Invalid => return Ok(false),
            }
        }
        writeln!(self.out, "All AOF files and manifest are valid")?;
        Ok(true)
    }

    fn check_single(mut self, name: &str, shown: &str) -> io::Result<bool> {
        writeln!(self.out, "Start checking Old-Style AOF")?;
        let len = self.disk.len(name).map_err(io_error)?.unwrap_or(0);
        let magic = read_range(name, 0, rdb::MAGIC.len(), &mut self.disk).map_err(io_error)?;
        let file = SetFile::alone(shown.into(), self.names.path(name), len, magic == rdb::MAGIC);
        match self.check_file(&file)? {
            Verdict::Valid => writeln!(self.out, "AOF {shown} is valid")?,
            Verdict::Empty => writeln!(self.out, "AOF {shown} is empty")?,
            Verdict::Cut => {}
            Verdict::Invalid => return Ok(false),
        }
        Ok(true)
    }

    fn check_file(&mut self, file: &SetFile) -> io::Result<Verdict> {
        if file.len == 0 {
            return Ok(Verdict::Empty);
        }
        let mut reader = if file.is_rdb {
            match check_rdb::check(&mut self.disk, &file.path, &file.name, self.out)? {
                Some(sound) => {
                    self.handover = sound.handover;
                    writeln!(self.out, "RDB preamble is OK, proceeding with AOF tail...")?;
                    self.handover.reader_after_snapshot(file.path.clone(), sound.end, true)
                }
                None => {
                    writeln!(self.out, "RDB preamble of AOF file is not sane, aborting.")?;
                    return Ok(Verdict::Invalid);
                }
            }
        } else {
            self.handover.reader(file, true)
        };
        let finding = self.read(file, &mut reader)?;
        self.handover.take_over(&reader);
        if let (Wish::TruncateTo(second), None) = (self.wish, &finding.fault) {
            return self.truncate_to(second, file, finding.later.as_ref());
        }
        self.judge(file, &finding)
    }

    /// Reads a file as far as it is good.
    fn read(&mut self, file: &SetFile, reader: &mut LogReader) -> io::Result<Finding> {
        let mut progress = Progress::new(&format!("Checking {}", file.name), file.len);
        let mut finding =
            Finding { valid_to: reader.valid_to(), line: 1, last_good: None, fault: None, later: None };
        let (mut previous_len, mut is_in_multi) = (0, false);
        let mut points = cut::Tracker::new(reader.position());
        loop {
            match reader.next(&mut self.disk, &mut previous_len).map_err(io_error)? {
                Next::Command => {
                    if let Wish::TruncateTo(second) = self.wish
                        && reader.timestamp_s().is_some_and(|at| at > second)
                    {
                        finding.later = Some(points.here(reader));
                        break;
                    }
                    let args: Vec<&[u8]> = reader.args().collect();
                    let is_multi = args[0].eq_ignore_ascii_case(b"multi");
                    let is_exec = args[0].eq_ignore_ascii_case(b"exec");
                    if is_multi && is_in_multi || is_exec && !is_in_multi {
                        let name = if is_multi { "MULTI" } else { "EXEC" };
                        let reason = format!("Unexpected {name} in AOF {}", file.name);
                        finding.fault = Some(Fault { found_at: reader.position(), reason, is_tail: false });
                        break;
                    }
                    is_in_multi = (is_in_multi || is_multi) && !is_exec;
                    finding.line += 1 + 2 * args.len() as u64;
                    finding.last_good = Some((reader.position(), previous_len));
                    points.took(reader, previous_len, is_in_multi);
                    progress.at(reader.position());
                }
                Next::End => {
                    if let Wish::TruncateTo(second) = self.wish
                        && reader.timestamp_s().is_some_and(|at| at > second)
                    {
                        // Nothing but an annotation is later, and it goes too.
                        finding.later = Some(points.end());
                    }
                    break;
                }
                Next::Bad(bad) => {
                    let broken = read_range(
                        &file.path,
                        reader.position(),
                        usize::try_from(bad.found_at - reader.position()).unwrap_or(usize::MAX),
                        &mut self.disk,
                    );
                    finding.line += explain::whole_lines(&broken.map_err(io_error)?);
                    finding.fault = Some(Fault {
                        found_at: bad.found_at,
                        reason: bad.reason.into(),
                        is_tail: bad.is_tail,
                    });
                    break;
                }
            }
        }
        progress.finish();
        finding.valid_to = reader.valid_to();
        if finding.fault.is_none() && file.until.is_some() {
            // What follows was taken over by the next file, and does not count.
            finding.valid_to = finding.valid_to.max(reader.position());
        }
        Ok(finding)
    }

    fn judge(&mut self, file: &SetFile, finding: &Finding) -> io::Result<Verdict> {
        let Finding { valid_to, line, .. } = *finding;
        let excess = if finding.fault.is_some() { file.len - valid_to } else { 0 };
        if let Some(fault) = &finding.fault {
            writeln!(self.out, "0x{:>16x}: {}", fault.found_at, fault.reason)?;
            if fault.found_at == valid_to && fault.reason.contains("begins no record") {
                writeln!(self.out, "AOF {} format error", file.name)?;
            }
        }
        writeln!(
            self.out,
            "AOF analyzed: filename={}, size={}, ok_up_to={valid_to}, ok_up_to_line={line}, diff={excess}",
            file.name, file.len
        )?;
        let Some(fault) = &finding.fault else {
            if file.until.is_some() && valid_to < file.len {
                writeln!(
                    self.out,
                    "The {} bytes from {valid_to} on were taken over by the next file and do not count",
                    file.len - valid_to
                )?;
            }
            return Ok(Verdict::Valid);
        };
        let dropped = Dropped::after(&file.path, valid_to, &mut self.disk)?;
        self.explain(file, finding, fault, &dropped)?;
        if self.wish != Wish::Fix {
            writeln!(self.out, "AOF {} is not valid. Use the --fix option to try fixing it.", file.name)?;
            return Ok(Verdict::Invalid);
        }
        if !file.is_last {
            writeln!(self.out, "Failed to truncate AOF {} because it is not the last file", file.name)?;
            return Ok(Verdict::Invalid);
        }
        writeln!(
            self.out,
            "This will shrink the AOF {} from {} bytes, with {excess} bytes, to {valid_to} bytes",
            file.name, file.len
        )?;
        write!(self.out, "Continue? [y/N]: ")?;
        if !is_agreed(self.out)? {
            writeln!(self.out, "Aborting...")?;
            return Ok(Verdict::Invalid);
        }
        let end = cut::Point { at: valid_to, inside: None };
        let copy = cut::cut(&self.names, own_name(file), &end, &mut self.disk)?;
        writeln!(self.out, "Successfully truncated AOF {}", file.name)?;
        writeln!(self.out, "What was cut is kept in {copy}")?;
        Ok(Verdict::Cut)
    }

    /// The first bad offset, what stands before and behind it, and what a fix would drop.
    fn explain(
        &mut self,
        file: &SetFile,
        finding: &Finding,
        fault: &Fault,
        dropped: &Dropped,
    ) -> io::Result<()> {
        writeln!(self.out, "First bad offset: {}", fault.found_at)?;
        match finding.last_good {
            Some((at, len)) => {
                let record = read_range(&file.path, at, len, &mut self.disk).map_err(io_error)?;
                writeln!(self.out, "Before it: {} (at {at})", explain::record_line(&record))?;
            }
            None => writeln!(self.out, "Before it: no command")?,
        }
        let behind = read_range(&file.path, fault.found_at, BYTES_SHOWN, &mut self.disk).map_err(io_error)?;
        match (behind.is_empty(), behind.iter().all(|&byte| byte == 0)) {
            (true, _) => writeln!(self.out, "Behind it: the end of the file")?,
            (false, true) => {
                writeln!(self.out, "Behind it: NUL bytes (a size that was kept without its data)")?
            }
            (false, false) => writeln!(self.out, "Behind it: {}", explain::word(&behind))?,
        }
        if !fault.is_tail {
            writeln!(
                self.out,
                "No crash leaves this: the server refuses to start. Restore a backup, or a point before the damage, rather \
                 than cutting"
            )?;
        }
        writeln!(self.out, "A fix would drop {}", dropped.summary())?;
        for command in &dropped.first {
            writeln!(self.out, "  {command}")?;
        }
        Ok(())
    }

    fn truncate_to(
        &mut self,
        second: u64,
        file: &SetFile,
        later: Option<&cut::Point>,
    ) -> io::Result<Verdict> {
        let Some(point) = later else {
            writeln!(self.out, "Truncate nothing in AOF {} to timestamp {second}", file.name)?;
            return Ok(Verdict::Valid);
        };
        if point.at == 0 {
            writeln!(self.out, "AOF {} has nothing before timestamp {second}, aborting...", file.path)?;
            return Ok(Verdict::Invalid);
        }
        if !file.is_last {
            writeln!(
                self.out,
                "Failed to truncate AOF {} to timestamp {second} to offset {} because it is not the last file. \
                 perdura-restore --to {second} builds a new directory that ends there",
                file.name, point.at
            )?;
            return Ok(Verdict::Invalid);
        }
        let dropped = Dropped::after(&file.path, point.at, &mut self.disk)?;
        writeln!(self.out, "Dropping {}", dropped.summary())?;
        let copy = cut::cut(&self.names, own_name(file), point, &mut self.disk)?;
        writeln!(self.out, "Successfully truncated AOF {} to timestamp {second}", file.name)?;
        writeln!(self.out, "What was cut is kept in {copy}")?;
        Ok(Verdict::Cut)
    }
}

/// Bytes shown of what stands behind the first bad offset.
const BYTES_SHOWN: usize = 48;

/// The file's name in its directory; a single file is called as it was typed.
fn own_name(file: &SetFile) -> &str {
    file.path.rsplit('/').next().unwrap_or(&file.path)
}

fn is_agreed(out: Out<'_>) -> io::Result<bool> {
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.starts_with(['y', 'Y']))
}
