//! The manifest: which files make up the append-only set, and in which order.
//!
//! One line a file, `file <name> seq <n> type <b|h|i>`; stock servers read what we write and the reverse. Comment lines
//! carry what stock servers need not know (`#perdura:` lines).
//!
//! Always true: at most one base; sequence numbers of incremental files increase.
//!
//! Not here: writing it durably (`append_only.rs`), what is done about a bad one (`recovery.rs`).

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    bytes::{number, quote},
    mutant::{self, Mutant},
};

/// Longest line a stock server reads, bytes, line end included.
const LINE_BYTES_MAX: usize = 1024;

/// A file of the set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Its name within the append-only directory.
    pub name: String,
    /// Its sequence number, counted apart for bases and incremental files.
    pub seq: u64,
}

/// The files of an append-only set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manifest {
    /// The snapshot everything else builds on.
    pub base: Option<Part>,
    /// Superseded files, not yet removed.
    pub history: Vec<Part>,
    /// Changes since the base, oldest first.
    pub incrementals: Vec<Part>,
    /// AOF was switched off at run time at this moment (milliseconds since 1970): the set is complete up to
    /// there and knows nothing of what came after (W12).
    pub closed_at_ms: Option<u64>,
    /// When the history was superseded, milliseconds since 1970: the name it gets in the archive, whoever archives it.
    pub superseded_at_ms: Option<u64>,
    /// The incremental file with this number was begun with batch headers, which nothing before it tells: an old log that
    /// was upgraded, or a base of commands, has none.
    pub headed_seq: Option<u64>,
}

/// A manifest that cannot be read, in Redis's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestError {
    /// Line, counted from 1; 0 if it is about the whole file.
    pub line: usize,
    /// The line.
    pub text: String,
    /// What is wrong.
    pub reason: &'static str,
}

/// Stands in a manifest that names no file: a set is being made for the first time, and does not count yet.
const BEGUN_LINE: &str = "#perdura: begun\n";
const CLOSED_PREFIX: &str = "#perdura: closed-at-ms ";
const SUPERSEDED_PREFIX: &str = "#perdura: superseded-at-ms ";
const HEADED_PREFIX: &str = "#perdura: headers-begin-at-seq ";
const CRC_PREFIX: &str = "#perdura: crc ";

/// Stock servers write no such line, and drop ours: then there is nothing to compare with.
fn check_crc(text: &[u8], line: &[u8]) -> Result<(), &'static str> {
    let crc = core::str::from_utf8(line).ok().and_then(|crc| u32::from_str_radix(crc.trim_end(), 16).ok());
    if crc == Some(crc32fast::hash(text)) || mutant::is(Mutant::ManifestChecksumIgnored) {
        Ok(())
    } else {
        Err("The manifest does not match its checksum: restore it, or remove this line to take it as it is")
    }
}

impl Manifest {
    /// No file at all.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incrementals.is_empty()
    }

    /// Sequence number for the next base.
    pub fn next_base_seq(&self) -> u64 {
        let history = self.history.iter().filter(|part| part.name.contains(".base.")).map(|part| part.seq);
        self.base.iter().map(|part| part.seq).chain(history).max().unwrap_or(0) + 1
    }

    /// Sequence number for the next incremental file.
    pub fn next_incremental_seq(&self) -> u64 {
        let history = self.history.iter().filter(|part| part.name.contains(".incr.")).map(|part| part.seq);
        self.incrementals.iter().map(|part| part.seq).chain(history).max().unwrap_or(0) + 1
    }

    /// The incremental files after the part of this name.
    pub fn followers(&self, name: &str) -> &[Part] {
        let at = self.incrementals.iter().position(|part| part.name == name);
        &self.incrementals[at.map_or(0, |at| at + 1)..]
    }

    /// Makes the part of this name the last: those that follow it are superseded.
    pub fn end_with(&mut self, name: &str) {
        let count = self.incrementals.len() - self.followers(name).len();
        self.history.extend(self.incrementals.drain(count..));
    }

    /// Files to load, in order.
    pub fn loaded(&self) -> impl Iterator<Item = &Part> {
        self.base.iter().chain(&self.incrementals)
    }

    /// Moves all files but the incremental ones from index `keep_from` on into the history: each set ends with its base.
    pub fn supersede(&mut self, keep_from: usize, superseded_at_ms: Option<u64>) {
        let kept = self.incrementals.split_off(keep_from.min(self.incrementals.len()));
        let superseded = core::mem::replace(&mut self.incrementals, kept);
        if self.history.is_empty() {
            self.superseded_at_ms = superseded_at_ms;
        }
        self.history.extend(superseded.into_iter().rev());
        self.history.extend(self.base.take());
    }

    /// Its text.
    pub fn format(&self) -> String {
        let mut text = String::from(if self.is_empty() { BEGUN_LINE } else { "" });
        if let Some(at) = self.closed_at_ms {
            text += &format!("{CLOSED_PREFIX}{at}\n");
        }
        if let Some(at) = self.superseded_at_ms {
            text += &format!("{SUPERSEDED_PREFIX}{at}\n");
        }
        if let Some(seq) = self.headed_seq.filter(|&seq| self.incrementals.iter().any(|part| part.seq == seq))
        {
            text += &format!("{HEADED_PREFIX}{seq}\n");
        }
        let mut line = |part: &Part, letter: char| {
            text += &format!("file {} seq {} type {letter}\n", quote::quote_if_needed(&part.name), part.seq);
        };
        self.base.iter().for_each(|part| line(part, 'b'));
        self.history.iter().for_each(|part| line(part, 'h'));
        self.incrementals.iter().for_each(|part| line(part, 'i'));
        text
    }

    /// Its text, headed by a checksum of it: one flipped bit turns a part in use (`i`) into one to be removed (`h`).
    ///
    /// The checksum comes first: scripts take the last line for the part that is being written.
    pub fn sealed(&self) -> String {
        let text = self.format();
        let crc = crc32fast::hash(text.as_bytes());
        format!("{CRC_PREFIX}{crc:08x}\n{text}")
    }

    /// Reads a manifest's text.
    ///
    /// # Errors
    /// The first line that a stock server would refuse, with the same reason; a checksum that does not match.
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        if text.is_empty() {
            return Err(ManifestError {
                line: 0,
                text: String::new(),
                reason: "Found an empty AOF manifest",
            });
        }
        let mut manifest = Manifest::default();
        let mut end = 0;
        for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            end += line.len();
            let checked = match line.strip_prefix(CRC_PREFIX.as_bytes()) {
                Some(crc) => check_crc(&text[end..], crc),
                None => manifest.take_line(line),
            };
            checked.map_err(|reason| ManifestError {
                line: index + 1,
                text: String::from_utf8_lossy(line).trim_end().to_string(),
                reason,
            })?;
        }
        Ok(manifest)
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        const INVALID: &str = "Invalid AOF manifest file format";
        if line.starts_with(b"#") {
            self.take_comment(line);
            return Ok(());
        }
        if line.len() > LINE_BYTES_MAX || !line.ends_with(b"\n") {
            return Err("The AOF manifest file contains too long line");
        }
        let tokens = quote::split_args(line.trim_ascii()).ok_or(INVALID)?;
        if tokens.len() < 6 || !tokens.len().is_multiple_of(2) {
            return Err(INVALID);
        }
        let (mut name, mut seq, mut letter) = (None, None, None);
        for pair in tokens.chunks_exact(2) {
            match &*pair[0].to_ascii_lowercase() {
                b"file" => name = Some(String::from_utf8(pair[1].clone()).map_err(|_| INVALID)?),
                b"seq" => seq = number::parse_i64(&pair[1]).and_then(|seq| u64::try_from(seq).ok()),
                b"type" => letter = pair[1].first().copied(),
                _ => {} // Written by a newer server; not needed to load.
            }
        }
        let (name, seq, letter) = (name.ok_or(INVALID)?, seq.ok_or(INVALID)?, letter.ok_or(INVALID)?);
        if name.contains(['/', '\\']) {
            return Err("File can't be a path, just a filename");
        }
        if name.is_empty() || seq == 0 {
            return Err(INVALID);
        }
        self.add(Part { name, seq }, letter)
    }

    fn take_comment(&mut self, line: &[u8]) {
        let Ok(line) = core::str::from_utf8(line) else { return };
        let number_after = |prefix| line.strip_prefix(prefix).map(|number| number.trim_end().parse().ok());
        if let Some(at) = number_after(CLOSED_PREFIX) {
            self.closed_at_ms = at;
        } else if let Some(at) = number_after(SUPERSEDED_PREFIX) {
            self.superseded_at_ms = at;
        } else if let Some(seq) = number_after(HEADED_PREFIX) {
            self.headed_seq = seq;
        }
    }

    fn add(&mut self, part: Part, letter: u8) -> Result<(), &'static str> {
        match letter {
            b'b' if self.base.is_some() => return Err("Found duplicate base file information"),
            b'b' => self.base = Some(part),
            b'h' => self.history.push(part),
            b'i' if self.incrementals.last().is_some_and(|last| last.seq >= part.seq) => {
                return Err("Found a non-monotonic sequence number");
            }
            b'i' => self.incrementals.push(part),
            _ => return Err("Unknown AOF file type"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let parsed = Manifest::parse(text.as_bytes());
        match expected {
            Ok(written) => assert_eq!(parsed.expect(text).format(), written, "{text}"),
            Err(reason) => assert_eq!(parsed.expect_err(text).reason, reason, "{text}"),
        }
    }

    #[test]
    fn what_stock_servers_accept_is_accepted() {
        let plain = "file a.1.base.rdb seq 1 type b\nfile a.1.incr.aof seq 1 type i\n";
        check(plain, Ok(plain));
        check("file a seq 1 type i\nfile b seq 4 type i\n", Ok("file a seq 1 type i\nfile b seq 4 type i\n"));
        check("SEQ 2 type b FILE x newkey newvalue\n", Ok("file x seq 2 type b\n"));
        check("# a comment\n", Ok("#perdura: begun\n"));
        check("file \"a b\\n\" seq 1 type h\r\n", Ok("#perdura: begun\nfile \"a b\\n\" seq 1 type h\n"));
        check(
            "#perdura: closed-at-ms 17\nfile x seq 2 type b\n",
            Ok("#perdura: closed-at-ms 17\nfile x seq 2 type b\n"),
        );
    }

    #[test]
    fn what_stock_servers_refuse_is_refused() {
        const INVALID: &str = "Invalid AOF manifest file format";
        const LONG: &str = "The AOF manifest file contains too long line";
        check("", Err("Found an empty AOF manifest"));
        check("file a seq 1 type i", Err(LONG));
        check(&format!("file {} seq 1 type i\n", "a".repeat(1024)), Err(LONG));
        check("\n", Err(INVALID));
        check("file a seq 1\n", Err(INVALID));
        check("file a seq 1 type i extra\n", Err(INVALID));
        check("file a seq 0 type i\n", Err(INVALID));
        check("file a seq x type i\n", Err(INVALID));
        check("name a seq 1 type i\n", Err(INVALID));
        check("file \"a seq 1 type i\n", Err(INVALID));
        check("file ../a seq 1 type i\n", Err("File can't be a path, just a filename"));
        check("file a seq 1 type x\n", Err("Unknown AOF file type"));
        check("file a seq 1 type b\nfile b seq 2 type b\n", Err("Found duplicate base file information"));
        check("file a seq 2 type i\nfile b seq 2 type i\n", Err("Found a non-monotonic sequence number"));
    }

    #[test]
    fn any_flipped_bit_of_a_sealed_manifest_is_seen_or_changes_nothing() {
        let text = "#perdura: closed-at-ms 17\n#perdura: headers-begin-at-seq 2\nfile a.1.base.rdb seq 1 type b\n\
             file a.2.incr.aof seq 2 type i\n";
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        let sealed = manifest.sealed().into_bytes();
        assert_eq!(Manifest::parse(&sealed), Ok(manifest.clone()));
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                Manifest::parse(&damaged).is_ok_and(|read| read == manifest)
                    || Manifest::parse(&damaged).is_err(),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_history_keeps_the_time_of_its_first_set() {
        let text = "file b.2.base.rdb seq 2 type b\nfile a.1.incr.aof seq 1 type i\nfile a.2.incr.aof seq 2 type i\n";
        let mut manifest = Manifest::parse(text.as_bytes()).unwrap();
        manifest.supersede(1, Some(17));
        manifest.supersede(usize::MAX, Some(18));
        let expected = "#perdura: superseded-at-ms 17\nfile a.1.incr.aof seq 1 type h\n\
                        file b.2.base.rdb seq 2 type h\nfile a.2.incr.aof seq 2 type h\n";
        assert_eq!(manifest.format(), ["#perdura: begun\n", expected].concat());
        assert_eq!(Manifest::parse(expected.as_bytes()).unwrap(), manifest);
    }

    #[test]
    fn sequence_numbers_go_on() {
        let manifest =
            Manifest::parse(b"file a.3.base.rdb seq 3 type b\nfile a.7.incr.aof seq 7 type h\n").unwrap();
        assert_eq!((manifest.next_base_seq(), manifest.next_incremental_seq()), (4, 8));
    }
}
