//! XADD, XLEN, XRANGE, XREVRANGE, XDEL, XTRIM, XSETID: a stream as a log.
//!
//! Not here: reading from several streams (`read.rs`), nodes (`store/stream/`).

use alloc::{boxed::Box, vec::Vec};
use core::ops::ControlFlow;

use super::{
    Call, CommandResult, edit, find, find_for_change, parse_end, parse_id, parse_start, reply_entry, reply_id,
};
use crate::{
    bytes::number::{DecimalBuffer, format_u64},
    error::{Error, NO_SUCH_KEY, SYNTAX, wrong_arity},
    session::OwnedArgs,
    store::{
        Class, Limits,
        stream::{ENTRY_BYTES_MAX, Effort, Entries, Entry, Stream, StreamId, Threshold},
    },
};

const ID_TOO_SMALL: Error =
    Error::new("ERR The ID specified in XADD is equal or smaller than the target stream top item");

pub(super) fn xlen(call: &mut Call) -> CommandResult {
    let len = find(call, call.args[1])?.map_or(0, |stream| stream.entries.len());
    call.reply.integer(len as i64);
    Ok(())
}

// --- XRANGE -------------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

pub(super) fn xrange(call: &mut Call) -> CommandResult {
    range(call, call.args[2], call.args[3], Direction::Forward)
}

pub(super) fn xrevrange(call: &mut Call) -> CommandResult {
    range(call, call.args[3], call.args[2], Direction::Backward)
}

fn range(call: &mut Call, start: &[u8], end: &[u8], direction: Direction) -> CommandResult {
    let (start, end) = (parse_start(start)?, parse_end(end)?);
    let count = parse_range_count(call)?;
    let Some(stream) = call.store.get::<Box<Stream>>(call.args[1])? else {
        call.reply.array(0);
        return Ok(());
    };
    if count == Some(0) {
        call.reply.null_array();
        return Ok(());
    }
    let reply = &mut *call.reply;
    let begun = reply.defer_len();
    let mut shown = 0;
    let see = |entry: &Entry<'_>| {
        reply_entry(reply, entry);
        shown += 1;
        if count == Some(shown) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    match direction {
        Direction::Forward => stream.entries.visit(start, end, see),
        Direction::Backward => stream.entries.visit_back(start, end, see),
    }
    call.reply.array_deferred(begun, shown as usize);
    Ok(())
}

/// COUNT; below zero counts as zero.
fn parse_range_count(call: &Call) -> Result<Option<u64>, Error> {
    let mut count = None;
    let mut index = 4;
    while index < call.args.len() {
        if !call.is_word(index, "count") || index + 1 == call.args.len() {
            return Err(SYNTAX);
        }
        count = Some(call.int(index + 1)?.max(0) as u64);
        index += 2;
    }
    Ok(count)
}

// --- Trimming -----------------------------------------------------------------------------------

/// A trimming option, with where its threshold stands.
#[derive(Clone, Copy)]
struct Trim {
    threshold: Threshold,
    threshold_at: usize,
    effort: Effort,
}

impl Trim {
    /// The command with `~` made `=` and the threshold what was reached: replay may have other nodes.
    fn make_exact(self, entries: &Entries, args: &mut [Vec<u8>]) {
        let reached = match self.threshold {
            Threshold::MaxLen(_) => format_u64(entries.len(), &mut DecimalBuffer::default()).to_vec(),
            Threshold::MinId(_) => entries.first_kept().unwrap_or(StreamId::MAX).text().to_vec(),
        };
        args[self.threshold_at - 1] = b"=".to_vec();
        args[self.threshold_at] = reached;
    }

    fn is_approximate(self) -> bool {
        self.effort != Effort::Exact
    }
}

/// What XADD's id asks for.
#[derive(Clone, Copy)]
enum IdRule {
    /// `*`: now, or right after the last.
    Next,
    /// `ms-*`: this time, whatever sequence number is free.
    NextAt(u64),
    /// This one.
    Exactly(StreamId),
}

impl IdRule {
    fn parse(text: &[u8]) -> Result<IdRule, Error> {
        match text {
            b"*" => Ok(IdRule::Next),
            _ => match StreamId::parse_open(text) {
                Some(ms) => Ok(IdRule::NextAt(ms)),
                None => Ok(IdRule::Exactly(parse_id(text)?)),
            },
        }
    }

    /// The new entry's id, or `None` if it would not be above the last.
    fn resolve(self, last: StreamId, now_ms: u64) -> Option<StreamId> {
        let id = match self {
            IdRule::Next if now_ms > last.ms => StreamId::new(now_ms, 0),
            IdRule::Next => last.next()?,
            IdRule::NextAt(ms) if ms == last.ms => StreamId::new(ms, last.seq.checked_add(1)?),
            IdRule::NextAt(ms) => StreamId::new(ms, 0),
            IdRule::Exactly(id) => id,
        };
        (id > last).then_some(id)
    }
}

/// Which of two commands is parsed: they share their options.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Add,
    Trim,
}

/// Options before XADD's id, or all of XTRIM's.
#[derive(Default)]
struct TrimOptions {
    threshold: Option<(Threshold, usize)>,
    is_approximate: bool,
    limit: Option<u64>,
    only_existing: bool,
    /// Where XADD's id stands.
    id_at: usize,
}

impl TrimOptions {
    fn parse(call: &Call, purpose: Purpose) -> Result<TrimOptions, Error> {
        let mut options = TrimOptions::default();
        let mut index = 2;
        while index < call.args.len() {
            let has_more = index + 1 < call.args.len();
            if purpose == Purpose::Add && call.args[index] == b"*" {
                break;
            } else if has_more && (call.is_word(index, "maxlen") || call.is_word(index, "minid")) {
                index = options.parse_threshold(call, index)?;
            } else if has_more && call.is_word(index, "limit") {
                options.limit = Some(parse_limit(call, index + 1)?);
                index += 1;
            } else if purpose == Purpose::Add && call.is_word(index, "nomkstream") {
                options.only_existing = true;
            } else if purpose == Purpose::Add {
                // Whatever is no option should be the id.
                IdRule::parse(call.args[index])?;
                break;
            } else {
                return Err(SYNTAX);
            }
            index += 1;
        }
        options.id_at = index;
        options.check(call, purpose)?;
        Ok(options)
    }

    /// Reads MAXLEN or MINID at `index`; gives back where its threshold stands.
    fn parse_threshold(&mut self, call: &Call, index: usize) -> Result<usize, Error> {
        if self.threshold.is_some() {
            return Err(Error::new(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let has_sign = index + 2 < call.args.len() && matches!(call.args[index + 1], b"~" | b"=");
        self.is_approximate = has_sign && call.args[index + 1] == b"~";
        let at = index + 1 + usize::from(has_sign);
        let threshold = if call.is_word(index, "maxlen") {
            let len = u64::try_from(call.int(at)?)
                .map_err(|_| Error::new("ERR The MAXLEN argument must be >= 0."))?;
            Threshold::MaxLen(len)
        } else {
            Threshold::MinId(parse_id(call.args[at])?)
        };
        self.threshold = Some((threshold, at));
        Ok(at)
    }

    fn check(&self, call: &Call, purpose: Purpose) -> CommandResult {
        if self.threshold.is_none() && self.limit.is_some_and(|limit| limit > 0) {
            return Err(Error::new(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if self.threshold.is_none() && purpose == Purpose::Trim {
            return Err(Error::new("ERR syntax error, XTRIM must be called with a trimming strategy"));
        }
        // In a log LIMIT stays where `~` became `=`.
        if self.limit.is_some() && !self.is_approximate && !call.context.is_replay {
            return Err(Error::new("ERR syntax error, LIMIT cannot be used without the special ~ option"));
        }
        Ok(())
    }

    fn trim(&self, call: &Call) -> Option<Trim> {
        let (threshold, threshold_at) = self.threshold?;
        let effort = match self.is_approximate {
            false => Effort::Exact,
            true if call.context.is_replay => Effort::WholeNodes { limit: 0 },
            true => Effort::WholeNodes { limit: self.limit.unwrap_or(default_limit(&call.store.limits)) },
        };
        Some(Trim { threshold, threshold_at, effort })
    }
}

fn parse_limit(call: &Call, at: usize) -> Result<u64, Error> {
    u64::try_from(call.int(at)?).map_err(|_| Error::new("ERR The LIMIT argument must be >= 0."))
}

/// A hundred nodes' entries, within reason.
fn default_limit(limits: &Limits) -> u64 {
    match (limits.stream_node_entries_max as u64).saturating_mul(100) {
        0 => 10_000,
        entries => entries.min(1_000_000),
    }
}

pub(super) fn xtrim(call: &mut Call) -> CommandResult {
    let options = TrimOptions::parse(call, Purpose::Trim)?;
    let trim = options.trim(call).expect("checked to be there");
    let key = call.args[1];
    let mut logged = None;
    let args = call.args;
    let edited = call.store.edit::<Box<Stream>, u64>(key, |stream| {
        let removed = stream.entries.trim(trim.threshold, trim.effort);
        if removed > 0 && trim.is_approximate() {
            let mut exact: OwnedArgs = args.iter().map(|arg| arg.to_vec()).collect();
            trim.make_exact(&stream.entries, &mut exact);
            logged = Some(exact);
        }
        removed
    })?;
    let removed = edited.value().unwrap_or(0);
    if removed > 0 {
        call.store.notify(Class::Stream, "xtrim", key);
        call.store.touch(key, removed);
    }
    log(call, logged);
    call.reply.integer(removed as i64);
    Ok(())
}

/// Logs these arguments instead of those typed, if there are any.
fn log(call: &mut Call, args: Option<OwnedArgs>) {
    if let Some(args) = args {
        call.record.is_replaced = true;
        call.record.commands.push(args);
    }
}

// --- XADD ---------------------------------------------------------------------------------------

pub(super) fn xadd(call: &mut Call) -> CommandResult {
    let options = TrimOptions::parse(call, Purpose::Add)?;
    let (args, id_at) = (call.args, options.id_at);
    let pairs = args.get(id_at + 1..).unwrap_or_default();
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(wrong_arity("xadd"));
    }
    let rule = IdRule::parse(args[id_at])?;
    if matches!(rule, IdRule::Exactly(StreamId::MIN)) {
        return Err(Error::new("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let key = args[1];
    let Some(last_id) = last_id_or_new(call, key, options.only_existing)? else {
        call.reply.null();
        return Ok(());
    };
    if last_id == StreamId::MAX {
        return Err(Error::new(
            "ERR The stream has exhausted the last possible ID, unable to add more items",
        ));
    }
    let id = rule.resolve(last_id, call.store.now_ms).ok_or(ID_TOO_SMALL)?;
    if pairs.iter().map(|part| part.len()).sum::<usize>() > ENTRY_BYTES_MAX {
        return Err(Error::new("ERR Elements are too large to be stored"));
    }
    let trim = options.trim(call);
    let (removed, logged) = add(call, id, id_at, trim, matches!(rule, IdRule::Exactly(_)))?;
    reply_id(call.reply, id);
    call.store.notify(Class::Stream, "xadd", key);
    if removed > 0 {
        call.store.notify(Class::Stream, "xtrim", key);
    }
    call.store.touch(key, 1);
    log(call, logged);
    Ok(())
}

/// The last id of the stream at a key, 0-0 if XADD is to make one, `None` if it is not to.
fn last_id_or_new(call: &mut Call, key: &[u8], only_existing: bool) -> Result<Option<StreamId>, Error> {
    Ok(match find_for_change(call, key)? {
        Some(stream) => Some(stream.entries.last_id),
        None => (!only_existing).then_some(StreamId::MIN),
    })
}

/// Adds the entry and trims; how many entries went, and what is logged if not the command as typed.
fn add(
    call: &mut Call,
    id: StreamId,
    id_at: usize,
    trim: Option<Trim>,
    is_id_typed: bool,
) -> Result<(u64, Option<OwnedArgs>), Error> {
    let args = call.args;
    let limits = call.store.limits.clone();
    let edited = call.store.edit_or_insert(
        args[1],
        |_| Box::<Stream>::default(),
        |stream| {
            let entries = &mut stream.entries;
            entries.push(id, &args[id_at + 1..], &limits);
            let removed = trim.map_or(0, |trim| entries.trim(trim.threshold, trim.effort));
            let approximate = trim.filter(|trim| trim.is_approximate());
            if is_id_typed && approximate.is_none() {
                return (removed, None);
            }
            let mut logged: OwnedArgs = args.iter().map(|arg| arg.to_vec()).collect();
            logged[id_at] = id.text().to_vec();
            if let Some(trim) = approximate {
                trim.make_exact(entries, &mut logged);
            }
            (removed, Some(logged))
        },
    )?;
    Ok(edited.value().expect("the key was just made"))
}

// --- XDEL, XSETID -------------------------------------------------------------------------------

pub(super) fn xdel(call: &mut Call) -> CommandResult {
    let key = call.args[1];
    if find_for_change(call, key)?.is_none() {
        call.reply.integer(0);
        return Ok(());
    }
    let ids: Vec<StreamId> = call.args[2..].iter().map(|text| parse_id(text)).collect::<Result<_, _>>()?;
    let deleted =
        edit(call, key, |stream| ids.iter().filter(|&&id| stream.entries.delete(id)).count() as u64)?;
    if deleted > 0 {
        call.store.touch(key, deleted);
        call.store.notify(Class::Stream, "xdel", key);
    }
    call.reply.integer(deleted as i64);
    Ok(())
}

/// What XSETID sets.
struct Counters {
    last_id: StreamId,
    added: Option<u64>,
    max_deleted_id: StreamId,
}

pub(super) fn xsetid(call: &mut Call) -> CommandResult {
    let counters = parse_counters(call)?;
    let key = call.args[1];
    let entries = &find_for_change(call, key)?.ok_or(NO_SUCH_KEY)?.entries;
    check_counters(&counters, entries)?;
    edit(call, key, |stream| {
        stream.entries.last_id = counters.last_id;
        if let Some(added) = counters.added {
            stream.entries.added = added;
        }
        if counters.max_deleted_id != StreamId::MIN {
            stream.entries.max_deleted_id = counters.max_deleted_id;
        }
    })?;
    call.store.dirty += 1;
    call.store.notify(Class::Stream, "xsetid", key);
    call.reply.ok();
    Ok(())
}

fn parse_counters(call: &Call) -> Result<Counters, Error> {
    let last_id = parse_id(call.args[2])?;
    let mut counters = Counters { last_id, added: None, max_deleted_id: StreamId::MIN };
    let mut index = 3;
    while index < call.args.len() {
        let has_more = index + 1 < call.args.len();
        if has_more && call.is_word(index, "entriesadded") {
            let added = u64::try_from(call.int(index + 1)?);
            counters.added = Some(added.map_err(|_| Error::new("ERR entries_added must be positive"))?);
        } else if has_more && call.is_word(index, "maxdeletedid") {
            counters.max_deleted_id = parse_id(call.args[index + 1])?;
            if last_id < counters.max_deleted_id {
                return Err(Error::new(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
        } else {
            return Err(SYNTAX);
        }
        index += 2;
    }
    Ok(counters)
}

fn check_counters(counters: &Counters, entries: &Entries) -> CommandResult {
    if counters.last_id < entries.max_deleted_id {
        return Err(Error::new(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if entries.last().is_some_and(|last| counters.last_id < last) {
        return Err(Error::new("ERR The ID specified in XSETID is smaller than the target stream top item"));
    }
    if counters.added.is_some_and(|added| added < entries.len()) {
        return Err(Error::new(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    Ok(())
}
