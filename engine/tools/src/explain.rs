//! Saying what stands where: commands in one line, lines counted as the stock check tool counts them, and what a cut
//! would drop.
//!
//! Always true: nothing here changes a file; damaged bytes are shown quoted and cut short, never raw.

use std::{collections::BTreeMap, io};

use perdura_core::{
    bytes::quote::quoted,
    host::Disk,
    persist::{
        record::{self, Item, Read},
        recovery::read_range,
    },
    resp::Span,
};

use crate::place::io_error;

/// Longest argument shown whole, bytes.
const ARGUMENT_SHOWN_MAX: usize = 40;
/// Most arguments shown.
const ARGUMENTS_SHOWN_MAX: usize = 6;
/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// A command in one line, long ones cut short.
pub fn command_line(args: &[&[u8]]) -> String {
    let mut words: Vec<String> = args.iter().take(ARGUMENTS_SHOWN_MAX).map(|arg| word(arg)).collect();
    if args.len() > ARGUMENTS_SHOWN_MAX {
        words.push(format!("… ({} more)", args.len() - ARGUMENTS_SHOWN_MAX));
    }
    words.join(" ")
}

/// A record of a file in one line.
pub fn record_line(bytes: &[u8]) -> String {
    let mut spans = Vec::new();
    match record::read(bytes, &mut spans) {
        Read::Item(Item::Command, _) => command_line(&args_of(bytes, &spans)),
        _ => word(bytes),
    }
}

fn args_of<'a>(bytes: &'a [u8], spans: &[Span]) -> Vec<&'a [u8]> {
    spans.iter().map(|span| &bytes[span.start..span.end]).collect()
}

/// Bytes as one word: bare where that cannot be misread, else quoted; long ones cut short.
pub fn word(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(ARGUMENT_SHOWN_MAX)];
    let is_plain = !shown.is_empty() && shown.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"');
    let mut text = if is_plain { String::from_utf8_lossy(shown).into_owned() } else { quoted(shown) };
    if shown.len() < bytes.len() {
        text += &format!("… ({} bytes)", bytes.len());
    }
    text
}

/// Whether a command only frames or places others.
pub fn is_framing(name: &[u8]) -> bool {
    [&b"multi"[..], b"exec", b"select"].iter().any(|word| name.eq_ignore_ascii_case(word))
}

/// What lies in a stretch of a file that is to be cut off.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    /// Whole commands, MULTI, EXEC and SELECT not counted.
    pub commands: u64,
    /// The same by name, upper case.
    pub by_name: BTreeMap<String, u64>,
    /// Bytes that are part of no whole command.
    pub odd_bytes: u64,
    /// The first few commands.
    pub first: Vec<String>,
}

/// Commands shown of those that would be dropped.
const DROPPED_SHOWN_MAX: usize = 5;

impl Dropped {
    /// Looks through a file from `from` on, going on after damage where the next record seems to begin.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn after(path: &str, from: u64, disk: &mut dyn Disk) -> io::Result<Dropped> {
        let mut dropped = Dropped::default();
        let (mut buffer, mut at, mut is_eof) = (Vec::new(), from, false);
        let mut spans = Vec::new();
        let mut start = 0;
        loop {
            match record::read(&buffer[start..], &mut spans) {
                Read::Short if !is_eof => {
                    buffer.drain(..start);
                    start = 0;
                    let more = read_range(path, at, READ_BYTES, disk).map_err(io_error)?;
                    (at, is_eof) = (at + more.len() as u64, more.len() < READ_BYTES);
                    buffer.extend_from_slice(&more);
                }
                Read::Short if start == buffer.len() => return Ok(dropped),
                Read::Item(item, len) => {
                    if item == Item::Command {
                        dropped.add(&args_of(&buffer[start..], &spans));
                    }
                    start += len;
                }
                Read::Short | Read::Bad { .. } => {
                    let skipped = next_record(&buffer[start..]);
                    dropped.odd_bytes += skipped as u64;
                    start += skipped;
                }
            }
        }
    }

    /// Adds one command.
    pub fn add(&mut self, args: &[&[u8]]) {
        if is_framing(args[0]) {
            return;
        }
        self.commands += 1;
        let name = String::from_utf8_lossy(args[0]).to_ascii_uppercase();
        *self.by_name.entry(word(name.as_bytes())).or_default() += 1;
        if self.first.len() < DROPPED_SHOWN_MAX {
            self.first.push(command_line(args));
        }
    }

    /// `3 commands (SET 2, DEL 1)`
    pub fn summary(&self) -> String {
        let mut text = match self.commands {
            1 => "1 command".to_owned(),
            count => format!("{count} commands"),
        };
        if !self.by_name.is_empty() {
            let counts: Vec<String> =
                self.by_name.iter().map(|(name, count)| format!("{name} {count}")).collect();
            text += &format!(" ({})", counts.join(", "));
        }
        if self.odd_bytes > 0 {
            text += &format!(" and {} bytes that are part of no whole command", self.odd_bytes);
        }
        text
    }
}

/// Bytes to the next place where a record may begin: a `*` or `#` at the beginning of a line.
fn next_record(bytes: &[u8]) -> usize {
    let begins = |pair: &[u8]| pair[0] == b'\n' && matches!(pair[1], b'*' | b'#');
    bytes.windows(2).position(begins).map_or(bytes.len(), |at| at + 1)
}

/// Lines of a record that are whole, as the stock check tool counts them: one for the count, two for each argument.
pub fn whole_lines(record: &[u8]) -> u64 {
    let mut lines = 0;
    let mut rest = record;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines += 1;
        let len =
            std::str::from_utf8(&rest[..end]).ok().and_then(|line| line.strip_prefix('$')?.parse().ok());
        rest = &rest[end + 2..];
        let Some(len) = len else { continue };
        match rest.get(len..) {
            Some(after) if after.starts_with(b"\r\n") => {
                lines += 1;
                rest = &after[2..];
            }
            _ => break,
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_in_one_line() {
        assert_eq!(command_line(&[b"SET", b"key", b"a b\n"]), "SET key \"a b\\n\"");
        let long = "x".repeat(50);
        assert_eq!(command_line(&[b"SET", long.as_bytes()]), format!("SET {}… (50 bytes)", "x".repeat(40)));
        assert_eq!(command_line(&[b"A", b"1", b"2", b"3", b"4", b"5", b"6"]), "A 1 2 3 4 5 … (1 more)");
    }

    #[test]
    fn lines_are_counted_as_far_as_they_are_whole() {
        for (text, lines) in [
            ("", 0),
            ("*2\r", 0),
            ("*2\r\n", 1),
            ("*2\r\n$4\r\n", 2),
            ("*2\r\n$4\r\nin\r\n", 2),
            ("*2\r\n$4\r\nincr\r\n", 3),
            ("*2\r\n$4\r\nincr\r\n$1\r\nx\r\n", 5),
        ] {
            assert_eq!(whole_lines(text.as_bytes()), lines, "{text:?}");
        }
    }
}
