//! `perdura-inspect`: what is in an artefact (a data directory, a set, a log, a snapshot, a backup).
//!
//! ```text
//!   perdura-inspect summary PATH                      keys, types, memory, files, the log's commands
//!   perdura-inspect keys PATH [--by size|type|prefix] [--top N] [--separator :]
//!   perdura-inspect record PATH OFFSET [--file NAME]  the record at an offset of a file, and its batch
//!   perdura-inspect diff PATH PATH                    keys that only one has, or that differ; status 1 if any
//!   perdura-inspect export PATH [--format json|resp]  one line of JSON per key, or commands that rebuild it
//! ```
//!
//! Always true: nothing is changed (`dataset.rs`); text that is no UTF-8 becomes `{"hex":"…"}` in JSON.
//!
//! Not here: judging whether an artefact is sound (`check_aof.rs`, `check_rdb.rs`).

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    ops::ControlFlow,
    path::Path,
};

use perdura_core::{
    host::{Encoder, Engine, SnapshotForm, SnapshotJob, Ticket},
    node::{Node, value_digest},
    persist::record::{self, Item, Read},
    resp::Span,
    store::{
        Entry,
        db::entry_memory,
        value::{encoding, type_of},
    },
};

use crate::{
    Out, Outcome,
    artefact::{Artefact, other},
    check_rdb::now_ms,
    dataset, explain, json,
    walk::{self, End, Seen, Visitor},
};

const USAGE: &str = "\
Usage: perdura-inspect summary PATH
       perdura-inspect keys PATH [--by size|type|prefix] [--top N] [--separator CHARACTER]
       perdura-inspect record PATH OFFSET [--file NAME]
       perdura-inspect diff PATH PATH
       perdura-inspect export PATH [--format json|resp]";

/// Lines of a list, if nobody says how many.
const TOP: usize = 20;

struct Options {
    words: Vec<String>,
    by: String,
    top: usize,
    separator: u8,
    format: String,
    file: Option<String>,
}

/// The tool.
///
/// # Errors
/// Something cannot be read.
pub fn run(arguments: Vec<OsString>, out: Out<'_>) -> io::Result<Outcome> {
    let options = match parse(arguments) {
        Ok(options) => options,
        Err(reason) => {
            eprintln!("perdura-inspect: {reason}\n{USAGE}");
            return Ok(Outcome::Bad);
        }
    };
    let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
    match words[..] {
        ["summary", path] => summary(Path::new(path), out),
        ["keys", path] => keys(Path::new(path), &options, out),
        ["record", path, offset] => match offset.parse() {
            Ok(offset) => record(Path::new(path), offset, options.file.as_deref(), out),
            Err(_) => Err(other(format!("'{offset}' is no offset"))),
        },
        ["diff", first, second] => diff(Path::new(first), Path::new(second), out),
        ["export", path] => export(Path::new(path), &options.format, out),
        _ => {
            eprintln!("{USAGE}");
            Ok(Outcome::Bad)
        }
    }
}

fn parse(arguments: Vec<OsString>) -> Result<Options, String> {
    use lexopt::prelude::{Long, Value};
    let mut options = Options {
        words: Vec::new(),
        by: "size".into(),
        top: TOP,
        separator: b':',
        format: "json".into(),
        file: None,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        let name = match argument {
            Value(word) => {
                options
                    .words
                    .push(word.into_string().map_err(|word| format!("{}: no UTF-8", word.display()))?);
                continue;
            }
            Long(name) => name.to_owned(),
            other => return Err(other.unexpected().to_string()),
        };
        let value = parser.value().map_err(|error| error.to_string())?.to_string_lossy().into_owned();
        match &*name {
            "by" if ["size", "type", "prefix"].contains(&&*value) => options.by = value,
            "top" => options.top = value.parse().map_err(|_| format!("'{value}' is no number"))?,
            "separator" if value.len() == 1 => options.separator = value.as_bytes()[0],
            "format" if ["json", "resp"].contains(&&*value) => options.format = value,
            "file" => options.file = Some(value),
            _ => return Err(format!("--{name} {value}: no such option or value")),
        }
    }
    Ok(options)
}

/// Shows every key of every database.
fn each_key<'a>(node: &'a Node, mut visit: impl FnMut(usize, Entry<'a>)) {
    for db in 0..node.store().db_count() {
        node.store().db(db).table().iter().for_each(|entry| visit(db, entry));
    }
}

// --- Summary ----------------------------------------------------------------------------------------------------

/// Keys of one kind, with their memory.
#[derive(Default)]
struct Group {
    keys: u64,
    bytes: u64,
}

impl Group {
    fn add(&mut self, entry: Entry<'_>) {
        self.keys += 1;
        self.bytes += entry_memory(entry) as u64;
    }
}

#[derive(Default)]
struct LogCounts {
    commands: BTreeMap<String, u64>,
    bytes: u64,
    seconds: Option<(u64, u64)>,
    offsets: Option<(u64, u64)>,
}

impl Visitor for LogCounts {
    fn command(&mut self, seen: &Seen<'_>) -> io::Result<ControlFlow<()>> {
        let widen = |range: Option<(u64, u64)>, low: u64, high: u64| {
            Some(range.map_or((low, high), |(from, to)| (from.min(low), to.max(high))))
        };
        if seen.number > 0 {
            let name = String::from_utf8_lossy(seen.args[0]).to_ascii_uppercase();
            *self.commands.entry(name).or_default() += 1;
        }
        self.bytes += seen.len as u64;
        if let Some(second) = seen.second {
            self.seconds = widen(self.seconds, second, second);
        }
        if let Some(offset) = seen.offset {
            self.offsets = widen(self.offsets, offset, offset + seen.len as u64);
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn summary(path: &Path, out: Out<'_>) -> io::Result<Outcome> {
    let mut artefact = Artefact::open(path)?;
    writeln!(out, "{:?} in {}", artefact.kind, artefact.dir.display())?;
    for file in &artefact.files {
        let kind = if file.is_base { "base" } else { "log " };
        writeln!(
            out,
            "  {kind} {} ({} bytes{})",
            file.name,
            file.len,
            if file.is_rdb { ", RDB" } else { "" }
        )?;
    }
    let mut log = LogCounts::default();
    let end = walk::walk(&mut artefact, "Reading", &mut log)?;
    say_log(&log, &end, &artefact, out)?;
    let node = dataset::load(&artefact)?;
    let (mut by_type, mut by_db) = (BTreeMap::<&str, Group>::new(), BTreeMap::<usize, (Group, u64)>::new());
    each_key(&node, |db, entry| {
        by_type.entry(type_of(entry.content()).name()).or_default().add(entry);
        let (group, expires) = by_db.entry(db).or_default();
        group.add(entry);
        *expires += u64::from(entry.expiry_ms().is_some());
    });
    writeln!(out, "Keys: {}", by_db.values().map(|(group, _)| group.keys).sum::<u64>())?;
    for (db, (group, expires)) in &by_db {
        writeln!(out, "  db{db}: {} keys, {expires} expire, {} bytes", group.keys, group.bytes)?;
    }
    for (name, group) in &by_type {
        writeln!(out, "  {name}: {} keys, {} bytes", group.keys, group.bytes)?;
    }
    Ok(Outcome::Good)
}

fn say_log(log: &LogCounts, end: &End, artefact: &Artefact, out: Out<'_>) -> io::Result<()> {
    if log.bytes > 0 {
        let commands: u64 = log.commands.values().sum();
        writeln!(out, "Log: {commands} commands, {} bytes", log.bytes)?;
        for (name, count) in &log.commands {
            writeln!(out, "  {}: {count}", explain::word(name.as_bytes()))?;
        }
    }
    if let Some((from, to)) = log.offsets {
        writeln!(out, "  offsets {from} to {to}")?;
    }
    if let Some((from, to)) = log.seconds {
        let time = |second| {
            humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + std::time::Duration::from_secs(second))
        };
        writeln!(out, "  times {} to {}", time(from), time(to))?;
    }
    if let End::Bad { file, bad } = end {
        let name = &artefact.files[*file].name;
        writeln!(out, "  {name} ends badly at {}: {}", bad.found_at, bad.reason)?;
    }
    Ok(())
}

// --- Keys -------------------------------------------------------------------------------------------------------

fn keys(path: &Path, options: &Options, out: Out<'_>) -> io::Result<Outcome> {
    let node = dataset::load(&Artefact::open(path)?)?;
    if options.by == "size" {
        return largest(&node, options.top, out);
    }
    let mut groups = BTreeMap::<String, Group>::new();
    each_key(&node, |_, entry| {
        let name = match &*options.by {
            "type" => format!("{} {}", type_of(entry.content()).name(), encoding(entry.content())),
            _ => explain::word(prefix_of(entry.key(), options.separator)),
        };
        groups.entry(name).or_default().add(entry);
    });
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.bytes));
    for (name, group) in groups.iter().take(options.top) {
        writeln!(out, "{:>12} bytes {:>10} keys  {name}", group.bytes, group.keys)?;
    }
    Ok(Outcome::Good)
}

/// What stands before the first separator, with it; a key without one stands for itself.
fn prefix_of(key: &[u8], separator: u8) -> &[u8] {
    key.iter().position(|&byte| byte == separator).map_or(key, |at| &key[..=at])
}

/// The largest keys: a sorted set of so many, so that memory stays small.
fn largest(node: &Node, top: usize, out: Out<'_>) -> io::Result<Outcome> {
    let mut kept = BTreeSet::new();
    each_key(node, |db, entry| {
        kept.insert((entry_memory(entry), db, entry.key().to_vec(), type_of(entry.content()).name()));
        if kept.len() > top {
            kept.pop_first();
        }
    });
    for (bytes, db, key, name) in kept.iter().rev() {
        writeln!(out, "{bytes:>12} bytes  db{db} {name:<6} {}", explain::word(key))?;
    }
    Ok(Outcome::Good)
}

// --- One record -------------------------------------------------------------------------------------------------

struct Lookup {
    file: usize,
    offset: u64,
    said: Option<String>,
}

impl Visitor for Lookup {
    fn command(&mut self, seen: &Seen<'_>) -> io::Result<ControlFlow<()>> {
        let is_it = seen.file == self.file && (seen.at..seen.at + seen.len as u64).contains(&self.offset);
        if !is_it {
            return Ok(ControlFlow::Continue(()));
        }
        let known = |number: Option<u64>| number.map_or("unknown".to_owned(), |number| number.to_string());
        let mut text = format!(
            "At {} ({} bytes), database {}, command number {}\nLog offset {}, logged at second {}\n",
            seen.at,
            seen.len,
            seen.db,
            if seen.number > 0 { seen.number.to_string() } else { "-".into() },
            known(seen.offset),
            known(seen.second),
        );
        if let Some(inside) = &seen.before.inside {
            text += &format!("In the batch whose header is at {}\n", inside.header_at);
        }
        for (index, arg) in seen.args.iter().enumerate() {
            text += &format!("  {index}: {}\n", explain::word(arg));
        }
        self.said = Some(text);
        Ok(ControlFlow::Break(()))
    }

    fn key(&mut self, db: usize, at: u64, key: &perdura_core::rdb::LoadedKey) {
        // Keys come in their order: the last that begins at or before the offset is it.
        if self.file == 0 && at <= self.offset {
            let expiry = key.expiry_ms.map_or("never".to_owned(), |ms| format!("at {ms} ms"));
            let name = explain::word(&key.key);
            self.said = Some(format!("At {at}: key {name} of database {db}, expires {expiry}\n"));
        }
    }
}

fn record(path: &Path, offset: u64, file: Option<&str>, out: Out<'_>) -> io::Result<Outcome> {
    let mut artefact = Artefact::open(path)?;
    let index = match file {
        Some(name) => artefact.files.iter().position(|file| file.name == name),
        None => artefact.files.len().checked_sub(1),
    };
    let Some(index) = index else { return Err(other(format!("no file {} in it", file.unwrap_or_default()))) };
    if offset >= artefact.files[index].len {
        return Err(other(format!("{} ends at {}", artefact.files[index].name, artefact.files[index].len)));
    }
    let mut lookup = Lookup { file: index, offset, said: None };
    let end = walk::walk(&mut artefact, "Looking", &mut lookup)?;
    match (lookup.said, end) {
        (Some(text), _) => write!(out, "{}: {text}", artefact.files[index].name)?,
        (None, End::Bad { bad, .. }) => {
            writeln!(out, "No record: the file is bad from {} on ({})", bad.at, bad.reason)?;
            return Ok(Outcome::Bad);
        }
        (None, _) => writeln!(out, "No record there: a header or another annotation")?,
    }
    Ok(Outcome::Good)
}

// --- Two artefacts ----------------------------------------------------------------------------------------------

/// Differing keys shown of each kind.
const DIFFERENCES_SHOWN_MAX: usize = 20;

fn diff(first: &Path, second: &Path, out: Out<'_>) -> io::Result<Outcome> {
    let (first_node, second_node) =
        (dataset::load(&Artefact::open(first)?)?, dataset::load(&Artefact::open(second)?)?);
    let (mut only_first, mut only_second, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    let name = |db: usize, key: &[u8]| format!("db{db} {}", explain::word(key));
    each_key(&first_node, |db, entry| match second_node.store().db(db).get(entry.key()) {
        None => only_first.push(name(db, entry.key())),
        Some(twin) if !is_same(entry, twin) => changed.push(name(db, entry.key())),
        Some(_) => {}
    });
    each_key(&second_node, |db, entry| {
        if first_node.store().db(db).get(entry.key()).is_none() {
            only_second.push(name(db, entry.key()));
        }
    });
    let is_equal = only_first.is_empty() && only_second.is_empty() && changed.is_empty();
    for (what, mut keys) in [
        (format!("only in {}", first.display()), only_first),
        (format!("only in {}", second.display()), only_second),
        ("in both, and different".into(), changed),
    ] {
        keys.sort();
        writeln!(out, "{} keys {what}", keys.len())?;
        for key in keys.iter().take(DIFFERENCES_SHOWN_MAX) {
            writeln!(out, "  {key}")?;
        }
    }
    Ok(if is_equal { Outcome::Good } else { Outcome::Bad })
}

fn is_same(entry: Entry<'_>, twin: Entry<'_>) -> bool {
    entry.expiry_ms() == twin.expiry_ms() && value_digest(entry) == value_digest(twin)
}

// --- Export -----------------------------------------------------------------------------------------------------

fn export(path: &Path, format: &str, out: Out<'_>) -> io::Result<Outcome> {
    let node = dataset::load(&Artefact::open(path)?)?;
    let job = SnapshotJob {
        ticket: Ticket(0),
        form: SnapshotForm::AofBaseCommands,
        path: String::new(),
        key_delay_us: 0,
        now_ms: now_ms(),
        is_last: false,
    };
    let mut encoder = node.encoder(&job);
    let mut writer = io::BufWriter::new(out);
    match format {
        "resp" => each_command(&mut *encoder, |bytes, _| io::Write::write_all(&mut writer, bytes))?,
        _ => {
            let mut lines = json::Lines::new(&mut writer);
            each_command(&mut *encoder, |_, args| lines.take(args))?;
            lines.end()?;
        }
    }
    io::Write::flush(&mut writer)?;
    Ok(Outcome::Good)
}

/// Shows the commands of an encoder, each with its bytes.
fn each_command(
    encoder: &mut dyn Encoder,
    mut visit: impl FnMut(&[u8], &[&[u8]]) -> io::Result<()>,
) -> io::Result<()> {
    let (mut buffer, mut spans): (Vec<u8>, Vec<Span>) = (Vec::new(), Vec::new());
    let mut has_more = true;
    while has_more {
        has_more = encoder.step(&mut buffer);
        let mut start = 0;
        loop {
            let rest = &buffer[start..];
            match record::read(rest, &mut spans) {
                Read::Item(Item::Command, len) => {
                    let args: Vec<&[u8]> = spans.iter().map(|span| &rest[span.start..span.end]).collect();
                    visit(&rest[..len], &args)?;
                    start += len;
                }
                Read::Item(_, len) => start += len,
                Read::Short => break,
                Read::Bad { reason, .. } => return Err(other(reason.into())),
            }
        }
        buffer.drain(..start);
    }
    Ok(())
}
