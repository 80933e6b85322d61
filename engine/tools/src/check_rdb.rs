//! `perdura-check-rdb FILE`: reads a snapshot to its last byte, as the server would, and says what is in it or where it breaks.
//!
//! Output and exit status are shaped like redis-check-rdb's, so that scripts go on working.
//!
//! Not here: the format (`perdura-core`: `rdb/`), records that follow a snapshot (`check_aof.rs`).

use std::{
    ffi::OsString,
    io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use perdura_core::{
    host::Disk,
    persist::{recovery::read_range, set_files::Handover},
    rdb::{Damage, DecodeSettings, Decoder, Event, LoadedKey},
    store::Limits,
};

use crate::{
    Out, Outcome, explain,
    place::{Place, io_error},
    progress::Progress,
};

/// Bytes read at a time.
const READ_BYTES: usize = 2 << 20;

/// What the server says of a snapshot that ends too early, and what the stock tool says.
const SHORT_READ: &str = "Short read";
const UNEXPECTED_EOF: &str = "Unexpected EOF reading RDB file";

/// The tool.
///
/// # Errors
/// Its output cannot be written.
pub fn run(arguments: Vec<OsString>, out: Out<'_>) -> io::Result<Outcome> {
    let [file] = &arguments[..] else {
        eprintln!("Usage: perdura-check-rdb <rdb-file-name>");
        return Ok(Outcome::Bad);
    };
    let path = Path::new(file);
    let opened = Place::of(path).and_then(|place| std::fs::File::open(path).map(|_| place));
    let mut place = match opened {
        Ok(place) => place,
        Err(error) => {
            writeln!(out, "[offset 0] Checking RDB file {}", path.display())?;
            eprintln!("Cannot open file {}: {error}", path.display());
            return Ok(Outcome::Bad);
        }
    };
    match check(&mut place.disk, &place.name, &path.display().to_string(), out)? {
        Some(_) => Ok(Outcome::Good),
        None => Ok(Outcome::Bad),
    }
}

/// What a whole snapshot told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sound {
    /// Where it ends; an append-only file may go on behind it.
    pub end: u64,
    /// What it says about the log that follows.
    pub handover: Handover,
}

#[derive(Default)]
struct Counts {
    keys: u64,
    expires: u64,
    expired: u64,
}

/// Checks a snapshot at the beginning of a file and says so; `None` if it is damaged.
///
/// # Errors
/// It cannot be read, or the output not be written.
pub fn check(disk: &mut dyn Disk, name: &str, shown: &str, out: Out<'_>) -> io::Result<Option<Sound>> {
    writeln!(out, "[offset 0] Checking RDB file {shown}")?;
    let len = disk.len(name).map_err(io_error)?.unwrap_or(0);
    let mut progress = Progress::new(&format!("Checking {shown}"), len);
    let settings = DecodeSettings { limits: Limits::default(), skip_checksum: false };
    let (mut decoder, mut counts, mut sound) = (Decoder::new(settings), Counts::default(), Sound::default());
    let now_ms = now_ms();
    let mut at = 0;
    loop {
        match decoder.next() {
            Ok(Event::NeedMore) => {
                let bytes = read_range(name, at, READ_BYTES, disk).map_err(io_error)?;
                at += bytes.len() as u64;
                decoder.feed(&bytes);
                if bytes.len() < READ_BYTES {
                    decoder.finish_input();
                }
                progress.at(at);
            }
            Ok(Event::Aux { name, value }) => {
                let (shown, text) = (String::from_utf8_lossy(&name), String::from_utf8_lossy(&value));
                writeln!(out, "[offset {}] AUX FIELD {shown} = '{text}'", decoder.offset())?;
                sound.handover.take_note(&name, &value);
            }
            Ok(Event::SelectDb(index)) => {
                writeln!(out, "[offset {}] Selecting DB ID {index}", decoder.offset())?;
            }
            Ok(Event::Key(key)) => counts.take(&key, now_ms),
            Ok(Event::EmptyKey(key)) => {
                let key = explain::word(&key);
                writeln!(
                    out,
                    "[offset {}] The collection of {key} is empty: it is passed over",
                    decoder.offset()
                )?;
            }
            Ok(Event::Function(_) | Event::SizeHint { .. }) => {}
            Ok(Event::End) => break,
            Err(damage) => {
                progress.finish();
                say_damage(&damage, out)?;
                counts.say(out)?;
                return Ok(None);
            }
        }
    }
    progress.finish();
    sound.end = decoder.offset();
    writeln!(out, "[offset {}] Checksum OK", sound.end)?;
    writeln!(out, "[offset {}] \\o/ RDB looks OK! \\o/", sound.end)?;
    counts.say(out)?;
    Ok(Some(sound))
}

fn say_damage(damage: &Damage, out: Out<'_>) -> io::Result<()> {
    let what = if damage.what.starts_with(SHORT_READ) { UNEXPECTED_EOF } else { &damage.what };
    writeln!(out, "--- RDB ERROR DETECTED ---")?;
    writeln!(out, "[offset {}] {what}", damage.offset)?;
    if damage.doing == "check-sum" && what != UNEXPECTED_EOF {
        writeln!(out, "[offset {}] RDB CRC error", damage.offset)?;
    }
    writeln!(out, "[additional info] While doing: {}", damage.doing)?;
    if let Some(key) = &damage.key {
        writeln!(out, "[additional info] Reading key {}", explain::word(key))?;
    }
    if let Some(kind) = damage.kind {
        writeln!(out, "[additional info] Reading type {kind}")?;
    }
    Ok(())
}

impl Counts {
    fn take(&mut self, key: &LoadedKey, now_ms: u64) {
        self.keys += 1;
        self.expires += u64::from(key.expiry_ms.is_some());
        self.expired += u64::from(key.expiry_ms.is_some_and(|at| at < now_ms));
    }

    fn say(&self, out: Out<'_>) -> io::Result<()> {
        writeln!(out, "[info] {} keys read", self.keys)?;
        writeln!(out, "[info] {} expires", self.expires)?;
        writeln!(out, "[info] {} already expired", self.expired)
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
