//! Reads one file of an append-only set, batch by batch, and says exactly where it stops being good.
//!
//! A batch with a header is given out only after its checksum was found right, so no command of a torn batch is ever
//! executed. Records without header (a stock server wrote them) are given out one by one.
//!
//! Always true: everything before `valid_to` was given out and is whole units; nothing after it is part of one.
//!
//! Not here: whether a bad end is cut or refused (`node/loading.rs`), executing (`node/`).

use alloc::{collections::VecDeque, string::String, vec::Vec};

use super::{
    batch::{self, Header},
    journal::Offset,
    record::{self, Item, Read},
    recovery::read_range,
};
use crate::{
    host::{Disk, IoError},
    mutant::{self, Mutant},
    resp::Span,
};

/// Bytes read from the file at a time.
const READ_BYTES: usize = 1 << 20;

/// What comes next in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// A command; see [`LogReader::args`].
    Command,
    /// The file ended where a unit ended.
    End,
    /// The rest of the file is not whole units.
    Bad(Bad),
}

/// How a file stops being good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bad {
    /// Where the last whole unit ends: a cut would be made here.
    pub at: u64,
    /// Where the first byte stands that is wrong or missing; for a batch whose checksum is wrong, its header.
    pub found_at: u64,
    /// The file ended too early, or was torn by a crash: the tail of the last file may be cut.
    /// Otherwise it is damage that a crash cannot explain.
    pub is_tail: bool,
    /// The tail is a MULTI without its EXEC.
    pub is_open_multi: bool,
    /// What was found.
    pub reason: &'static str,
}

/// A file being read.
#[derive(Clone, Debug)]
pub struct LogReader {
    path: String,
    buffer: Vec<u8>,
    /// Offset in the file of the buffer's first byte.
    buffer_at: u64,
    /// Consumed part of the buffer.
    consumed: usize,
    is_eof: bool,
    verifies: bool,
    spans: Vec<Span>,
    spans_ahead: Vec<Span>,
    /// Bytes left of the batch whose checksum was right.
    batch_left: u64,
    batch_end: Offset,
    /// Position in the file of that batch's header.
    batch_at: u64,
    /// The log's offset here, once a header told it.
    offset: Option<Offset>,
    has_headers: bool,
    /// What came last was checked, or nothing came and a checked batch is what must come first: bytes that begin nothing are
    /// then the tail of a crash.
    follows_checked: bool,
    valid_to: u64,
    /// The log's offset there: that of a MULTI without its EXEC is not reached.
    valid_offset: Option<Offset>,
    multi_at: Option<u64>,
    timestamp_s: Option<u64>,
    /// Where the next file takes over: what this one holds beyond does not count.
    until: Option<Offset>,
    /// Highest offset that a header called durable.
    synced: Offset,
    /// Ends of batches beyond `synced`: the log's offset, the position in the file, the database selected there.
    unsynced_ends: VecDeque<(Offset, u64, usize)>,
    /// Database that the records read so far have selected, and the one selected at `synced_to`.
    db: usize,
    synced_db: usize,
    /// Bytes of records before the first header: a fresh file selects its database before it goes on with batches of
    /// another, and those bytes count for no offset.
    leading: u64,
    /// Position in the file up to which everything was once called durable.
    synced_to: u64,
    /// The log's offset there, if it was known before what follows was read.
    synced_offset: Option<Offset>,
}

impl LogReader {
    /// A file to be read from `start`. `offset` is the log's offset at its beginning, if a file before it told;
    /// `verifies` whether checksums are looked at; `until` where the next file's first batch begins.
    pub fn new(
        path: String,
        start: u64,
        offset: Option<Offset>,
        verifies: bool,
        until: Option<Offset>,
    ) -> LogReader {
        LogReader {
            path,
            buffer: Vec::new(),
            buffer_at: start,
            consumed: 0,
            is_eof: false,
            verifies,
            spans: Vec::new(),
            spans_ahead: Vec::new(),
            batch_left: 0,
            batch_end: 0,
            batch_at: start,
            offset,
            has_headers: false,
            follows_checked: false,
            valid_to: if mutant::is(Mutant::PreambleForgotten) { 0 } else { start },
            valid_offset: offset,
            multi_at: None,
            timestamp_s: None,
            until,
            synced: 0,
            unsynced_ends: VecDeque::new(),
            db: 0,
            synced_db: 0,
            leading: 0,
            synced_to: start,
            synced_offset: offset,
        }
    }

    /// The file before it, or the base, says that this one was begun with batch headers.
    pub fn expecting_headers(mut self, is_expecting: bool) -> LogReader {
        self.follows_checked = is_expecting && self.verifies;
        self
    }

    /// The command that `next` announced.
    pub fn args(&self) -> impl Iterator<Item = &[u8]> {
        let base = self.consumed;
        self.spans.iter().map(move |span| &self.buffer[base + span.start..base + span.end])
    }

    /// The next file goes on from here, whatever else this one holds.
    pub fn is_taken_over(&self) -> bool {
        self.batch_left == 0 && self.until.is_some() && self.offset == self.until
    }

    /// Offset in the file up to which everything is good and was given out.
    pub fn valid_to(&self) -> u64 {
        self.valid_to
    }

    /// The log's offset there.
    pub fn offset(&self) -> Option<Offset> {
        if mutant::is(Mutant::OpenMultiCounted) { self.offset } else { self.valid_offset }
    }

    /// Where the part begins that no header called durable: what it holds may be in the page cache only. `None` if the file
    /// has no headers, or no such part.
    pub fn unsynced_from(&self) -> Option<u64> {
        (self.has_headers && self.synced_to < self.valid_to).then_some(self.synced_to)
    }

    /// The log's offset where `unsynced_from` begins, as far as a reader knows it who has only read what comes before.
    pub fn unsynced_offset(&self) -> Option<Offset> {
        self.synced_offset
    }

    /// Highest offset of the log that a header called durable.
    pub fn synced(&self) -> Offset {
        self.synced
    }

    /// Database that is selected where `unsynced_from` begins.
    pub fn unsynced_db(&self) -> usize {
        self.synced_db
    }

    /// Position in the file of the header whose batch reading is inside of.
    pub fn batch_at(&self) -> Option<u64> {
        (self.batch_left > 0).then_some(self.batch_at)
    }

    /// The log's offset where reading stands, inside of a batch too.
    pub fn offset_here(&self) -> Option<Offset> {
        if self.batch_left > 0 { Some(self.batch_end - self.batch_left) } else { self.offset }
    }

    /// A batch header was seen.
    pub fn has_headers(&self) -> bool {
        self.has_headers
    }

    /// What came last was a checked batch, or nothing came and one must come first.
    pub fn follows_checked(&self) -> bool {
        self.follows_checked
    }

    /// Where reading stands in the file.
    pub fn position(&self) -> u64 {
        self.buffer_at + self.consumed as u64
    }

    /// The last `#TS:` seen, seconds since 1970.
    pub fn timestamp_s(&self) -> Option<u64> {
        self.timestamp_s
    }

    /// Shows the first argument of the next commands, `count_max` of them at most, as far as they lie in memory already.
    ///
    /// What is shown was not checked and may never be given out: good for guesses only. `previous_len` is what the next
    /// call of [`LogReader::next`] would be told.
    pub fn look_ahead(&mut self, previous_len: usize, count_max: usize, mut show: impl FnMut(&[u8])) {
        let mut at = self.consumed + previous_len;
        for _ in 0..count_max {
            let rest = &self.buffer[at..];
            let Read::Item(item, len) = record::read(rest, &mut self.spans_ahead) else { return };
            if item == Item::Command
                && let Some(span) = self.spans_ahead.get(1)
            {
                show(&rest[span.start..span.end]);
            }
            at += len;
        }
    }

    /// Gives the next command out; the one before it is forgotten.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next(&mut self, disk: &mut dyn Disk, previous_len: &mut usize) -> Result<Next, IoError> {
        self.consume(core::mem::take(previous_len));
        loop {
            if self.is_taken_over() {
                return Ok(Next::End);
            }
            match record::read(&self.buffer[self.consumed..], &mut self.spans) {
                Read::Short if !self.is_eof => self.fill(disk)?,
                Read::Short if self.consumed == self.buffer.len() => return Ok(self.at_end()),
                Read::Short => {
                    let end = self.buffer_at + self.buffer.len() as u64;
                    return self.bad("the file ends inside of a record", end, true, disk).map(Next::Bad);
                }
                Read::Bad { .. }
                    if mutant::is(Mutant::ZeroTailAccepted) && self.is_zero_filled_or_checked(disk)? =>
                {
                    return Ok(Next::End);
                }
                Read::Bad { at, reason } => {
                    let is_tail = self.is_zero_filled_or_checked(disk)?;
                    return self.bad(reason, self.position() + at as u64, is_tail, disk).map(Next::Bad);
                }
                Read::Item(Item::Command, len) => {
                    *previous_len = len;
                    self.track_multi();
                    return Ok(Next::Command);
                }
                Read::Item(Item::Header(header), len) if self.verifies && self.batch_left == 0 => {
                    if let Some(bad) = self.open_batch(header, len, disk)? {
                        return Ok(Next::Bad(bad));
                    }
                }
                Read::Item(Item::Timestamp(second), len) => {
                    self.timestamp_s = Some(second);
                    self.consume(len);
                }
                // Where a header must stand, a comment of another kind is a header that a crash tore. Taken for a comment, the
                // records after it would be run unchecked.
                Read::Item(Item::Annotation, _) if self.follows_checked && self.batch_left == 0 => {
                    return self.bad("a header that is none", self.position(), true, disk).map(Next::Bad);
                }
                Read::Item(_, len) => self.consume(len),
            }
        }
    }

    fn open_batch(
        &mut self,
        header: Header,
        line_len: usize,
        disk: &mut dyn Disk,
    ) -> Result<Option<Bad>, IoError> {
        let is_first = !core::mem::replace(&mut self.has_headers, true);
        if self.multi_at.is_some() {
            return self.bad("a batch begins inside of a MULTI", self.position(), true, disk).map(Some);
        }
        let leading = if is_first { self.leading } else { 0 };
        let follows = |start: Offset, offset: Offset| start == offset || start + leading == offset;
        let is_next = |start| self.offset.is_none_or(|offset| follows(start, offset));
        if !header.start().is_some_and(is_next) && !mutant::is(Mutant::BatchOrderIgnored) {
            return self
                .bad("a batch does not follow the one before it", self.position(), true, disk)
                .map(Some);
        }
        // A length that the file cannot hold is known without reading it all.
        let wanted = self.consumed + line_len + header.len as usize;
        while self.buffer.len() < wanted && !self.is_eof {
            self.fill(disk)?;
        }
        let start = self.consumed + line_len;
        let Some(payload) = self.buffer.get(start..start.saturating_add(header.len as usize)) else {
            let end = self.buffer_at + self.buffer.len() as u64;
            return self.bad("the file ends inside of a batch", end, true, disk).map(Some);
        };
        if !header.matches(payload) && mutant::is(Mutant::BadBatchSkipped) {
            self.consumed += line_len + payload.len();
            self.offset = Some(header.end);
            return Ok(None);
        }
        if !header.matches(payload) && !mutant::is(Mutant::ChecksumIgnored) {
            return self.bad("a batch does not match its checksum", self.position(), true, disk).map(Some);
        }
        self.batch_at = self.position();
        self.consumed += line_len;
        self.batch_left = header.len;
        self.batch_end = header.end;
        self.offset = Some(header.start().expect("checked above"));
        self.synced = self.synced.max(header.synced);
        self.close_batch_if_over();
        Ok(None)
    }

    fn consume(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        self.consumed += len;
        if self.batch_left > 0 {
            self.batch_left = self.batch_left.saturating_sub(len as u64);
            self.close_batch_if_over();
        } else {
            // A stock server's record, or an annotation: headers that may follow count on from here.
            self.offset = self.offset.map(|offset| offset + len as u64);
            self.leading += if self.has_headers { 0 } else { len as u64 };
            self.follows_checked = false;
            if self.multi_at.is_none() {
                (self.valid_to, self.valid_offset) = (self.position(), self.offset);
            }
        }
    }

    fn close_batch_if_over(&mut self) {
        if self.batch_left == 0 {
            self.offset = Some(self.batch_end);
            self.follows_checked = true;
            (self.valid_to, self.valid_offset) = (self.position(), self.offset);
            self.unsynced_ends.push_back((self.batch_end, self.valid_to, self.db));
            while let Some(&(end, position, db)) = self.unsynced_ends.front()
                && end <= self.synced
            {
                (self.synced_to, self.synced_offset, self.synced_db) = (position, Some(end), db);
                self.unsynced_ends.pop_front();
            }
        }
    }

    fn track_multi(&mut self) {
        let name =
            self.spans.first().map(|span| &self.buffer[self.consumed + span.start..self.consumed + span.end]);
        if name.is_some_and(|name| name.eq_ignore_ascii_case(b"multi")) {
            self.multi_at = Some(self.position());
        } else if name.is_some_and(|name| name.eq_ignore_ascii_case(b"exec")) {
            self.multi_at = None;
        } else if name.is_some_and(|name| name.eq_ignore_ascii_case(b"select")) {
            let text = self.spans.get(1).map(|span| {
                let base = self.consumed;
                &self.buffer[base + span.start..base + span.end]
            });
            let number = text.and_then(|text| core::str::from_utf8(text).ok()?.parse().ok());
            self.db = number.unwrap_or(self.db);
        }
    }

    fn at_end(&self) -> Next {
        match self.multi_at {
            None => Next::End,
            Some(at) => Next::Bad(Bad {
                at: if mutant::is(Mutant::MultiLeftOpen) { self.position() } else { at.min(self.valid_to) },
                found_at: self.position(),
                is_tail: true,
                is_open_multi: true,
                reason: "the file ends inside of a MULTI",
            }),
        }
    }

    fn fill(&mut self, disk: &mut dyn Disk) -> Result<(), IoError> {
        self.buffer.drain(..self.consumed);
        self.buffer_at += self.consumed as u64;
        self.consumed = 0;
        let bytes = read_range(&self.path, self.buffer_at + self.buffer.len() as u64, READ_BYTES, disk)?;
        self.is_eof = bytes.len() < READ_BYTES;
        self.buffer.extend_from_slice(&bytes);
        Ok(())
    }

    /// Builds the verdict: what a later header calls synced cannot have been torn.
    fn bad(
        &mut self,
        reason: &'static str,
        found_at: u64,
        is_tail: bool,
        disk: &mut dyn Disk,
    ) -> Result<Bad, IoError> {
        let is_rot = self.has_headers && self.is_called_synced_later(disk)?;
        Ok(Bad { at: self.valid_to, found_at, is_tail: is_tail && !is_rot, is_open_multi: false, reason })
    }

    /// Bytes that begin no record: the tail of a crash if they are all NUL, or in a file whose good part is checksummed.
    fn is_zero_filled_or_checked(&mut self, disk: &mut dyn Disk) -> Result<bool, IoError> {
        if mutant::is(Mutant::ZeroTailRefused) {
            return Ok(false);
        }
        if self.follows_checked && self.batch_left == 0 {
            return Ok(true);
        }
        let mut at = self.position();
        loop {
            let bytes = read_range(&self.path, at, READ_BYTES, disk)?;
            if bytes.is_empty() {
                return Ok(true);
            }
            if bytes.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            at += bytes.len() as u64;
        }
    }

    /// Whether a good batch further on says that the log was durable beyond the point reached.
    fn is_called_synced_later(&mut self, disk: &mut dyn Disk) -> Result<bool, IoError> {
        let reached = self.offset.unwrap_or(0);
        let mut rest = Vec::new();
        let mut at = self.valid_to + 1;
        loop {
            let bytes = read_range(&self.path, at, READ_BYTES, disk)?;
            at += bytes.len() as u64;
            let is_last = bytes.len() < READ_BYTES;
            rest.extend_from_slice(&bytes);
            if is_last {
                break;
            }
        }
        Ok(synced_max(&rest) > reached)
    }
}

/// Highest offset that a good batch anywhere in these bytes calls durable.
fn synced_max(bytes: &[u8]) -> Offset {
    let mut synced = 0;
    let mut from = 0;
    while let Some(found) = find(&bytes[from..], b"#C:") {
        let start = from + found;
        from = start + 1;
        let line = &bytes[start..(start + batch::HEADER_BYTES_MAX).min(bytes.len())];
        let Some(line_len) = find(line, b"\r\n") else { continue };
        let Some(header) = batch::parse(&line[..line_len]) else { continue };
        let payload_at = start + line_len + 2;
        let is_whole = usize::try_from(header.len)
            .ok()
            .and_then(|len| bytes.get(payload_at..payload_at.checked_add(len)?))
            .is_some_and(|payload| header.matches(payload));
        synced = synced.max(if is_whole { header.synced } else { 0 });
    }
    synced
}

/// What a file says about the files before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Testimony {
    /// The log was durable up to here when the file was written to.
    Synced(Offset),
    /// It has records without a header: somebody else loaded what comes before it, and went on.
    Foreign,
}

/// Asks a file what it knows of the files before it.
///
/// # Errors
/// The file cannot be read.
pub fn testimony(path: &str, disk: &mut dyn Disk) -> Result<Testimony, IoError> {
    let len = disk.len(path)?.unwrap_or(0);
    let bytes = read_range(path, 0, usize::try_from(len).unwrap_or(usize::MAX), disk)?;
    let (mut spans, mut at) = (Vec::new(), 0);
    while let Read::Item(item, len) = record::read(&bytes[at..], &mut spans) {
        match item {
            Item::Header(_) => break,
            Item::Command => {
                let name = spans.first().map(|span| &bytes[at + span.start..at + span.end]);
                if !name.is_some_and(|name| name.eq_ignore_ascii_case(b"select")) {
                    return Ok(Testimony::Foreign);
                }
            }
            Item::Timestamp(_) | Item::Annotation => {}
        }
        at += len;
    }
    Ok(Testimony::Synced(synced_max(&bytes)))
}

/// Where the log stands at the beginning of a file, by its first header; `None` if it begins otherwise.
///
/// # Errors
/// The file cannot be read.
pub fn first_offset(path: &str, disk: &mut dyn Disk) -> Result<Option<Offset>, IoError> {
    let bytes = read_range(path, 0, SELECT_BYTES_MAX + batch::HEADER_BYTES_MAX, disk)?;
    let header_at =
        find(&bytes, b"#C:").filter(|&at| at == 0 || bytes.starts_with(b"*2\r\n$6\r\nSELECT\r\n"));
    let bytes = &bytes[header_at.unwrap_or(0)..];
    let line = find(bytes, b"\r\n").and_then(|end| batch::parse(&bytes[..end]));
    Ok(line.and_then(|header| header.start()))
}

/// Longest record that selects a database, bytes.
const SELECT_BYTES_MAX: usize = 48;

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
