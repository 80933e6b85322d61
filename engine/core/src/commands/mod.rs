//! The commands: one file per type, named as in `store/`, and the one table that lists them.
//!
//! A data command is a function of a [`Call`]: it reads its arguments, works on the store, writes its reply
//! and leaves its record for the log. A command that is about the server itself (CONFIG, MULTI, BGSAVE …) is
//! named by a [`NodeCommand`] and carried out by `node/`, which alone sees everything.
//!
//! Always true: a handler that returns an error has changed nothing; a change is visible in `store.dirty`.
//!
//! Not here: sessions and transactions (`node/`), what happens to the record (`persist/journal.rs`).

pub mod arguments;
pub mod spec;
pub mod table;

pub mod acl;
pub mod bitmap;
pub mod cluster;
pub mod connection;
pub mod counter;
pub mod dump;
pub mod expire;
pub mod geo;
pub mod geohash;
pub mod hash;
pub mod hyperloglog;
pub mod keys;
pub mod lcs;
pub mod list;
pub mod persistence;
pub mod pubsub;
pub mod scan;
pub mod scripting;
pub mod server;
pub mod set;
pub mod sort;
pub mod stream;
pub mod string;
pub mod transaction;
pub mod zset;
pub mod zset_algebra;
pub mod zset_range;

#[cfg(test)]
pub mod testing;

use alloc::{string::String, vec::Vec};

use perdura_structures::listpack::Item;

pub use crate::blocked::{Block, TimeoutReply};
pub use spec::{Action, Command, KeySpec, NodeCommand};

use crate::{
    blocked::parse_timeout_seconds,
    bytes::number,
    error::{
        DB_OUT_OF_RANGE, Error, MUST_BE_POSITIVE, NO_COUNTERPART, NOT_A_FLOAT, NOT_AN_INTEGER,
        OUT_OF_INT_RANGE,
    },
    resp::Reply,
    store::{Store, Type},
};

/// What a handler gives back; the reply of a success is already written.
pub type CommandResult = Result<(), Error>;

/// Arguments of a command, its name first, borrowed from wherever they lie.
pub type Args<'a> = &'a [&'a [u8]];

/// One execution of a data command.
pub struct Call<'a> {
    /// The arguments; `args[0]` is the name as typed. Their number fits the command's arity.
    pub args: Args<'a>,
    /// The data.
    pub store: &'a mut Store,
    /// Where the reply goes.
    pub reply: &'a mut Reply,
    /// What goes to the log instead of the command as typed.
    pub record: &'a mut Record,
    /// What the running client may and wants.
    pub context: Context,
    /// Set by a blocking command that found nothing: the reply is written later by whoever serves it.
    pub block: Option<Block>,
}

/// Circumstances of a call.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// In MULTI or a script: blocking commands answer as if their time were up.
    pub deny_blocking: bool,
    /// In a script.
    pub is_script: bool,
    /// `lazyfree-lazy-user-del` and kin, and sanitising of payloads.
    pub lazyfree_user_del: bool,
    /// `lazyfree-lazy-server-del`: implicit deletions are logged as UNLINK.
    pub lazyfree_server_del: bool,
    /// Skip the checksum of DUMP payloads (DEBUG SET-SKIP-CHECKSUM-VALIDATION).
    pub skip_checksum: bool,
    /// RDB version that DUMP writes.
    pub rdb_version: u16,
    /// Compress long strings in DUMP payloads.
    pub rdb_compression: bool,
    /// The user may read every key.
    pub may_read_all: bool,
    /// The command is replayed from a log.
    pub is_replay: bool,
}

/// What a command leaves for the log, if it changed anything.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Replaces the command as typed; each an argument list. Empty: see `is_verbatim`.
    pub commands: Vec<Vec<Vec<u8>>>,
    /// The command as typed goes to the log (the default when `commands` is empty).
    pub is_replaced: bool,
    /// Goes to the log even though nothing was counted as changed (FLUSHALL on an empty database).
    pub is_forced: bool,
}

impl Record {
    /// Logs this instead of the command as typed; several calls log several commands, as one unit.
    pub fn replace(&mut self, command: &[&[u8]]) {
        self.is_replaced = true;
        self.commands.push(command.iter().map(|argument| argument.to_vec()).collect());
    }

    /// Logs nothing of the command itself.
    pub fn suppress(&mut self) {
        self.is_replaced = true;
    }

    /// Ready for the next command.
    pub fn clear(&mut self) {
        self.commands.clear();
        self.is_replaced = false;
        self.is_forced = false;
    }
}

impl Call<'_> {
    /// An argument as a 64-bit integer.
    ///
    /// # Errors
    /// `ERR value is not an integer or out of range`
    pub fn int(&self, index: usize) -> Result<i64, Error> {
        parse_int(self.args[index])
    }

    /// An argument as a float, infinities allowed, NaN not.
    ///
    /// # Errors
    /// `ERR value is not a valid float`
    pub fn float(&self, index: usize) -> Result<f64, Error> {
        number::parse_f64(self.args[index]).filter(|value| !value.is_nan()).ok_or(NOT_A_FLOAT)
    }

    /// An argument as a number of elements, from 0.
    ///
    /// # Errors
    /// `ERR value is out of range, must be positive`, also if it is no integer at all.
    pub fn count(&self, index: usize) -> Result<usize, Error> {
        parse_count(self.args[index], 0).ok_or(MUST_BE_POSITIVE)
    }

    /// An argument as a timeout in seconds, in milliseconds; 0 is for ever.
    ///
    /// # Errors
    /// Not a number, negative, or too large.
    pub fn timeout_ms(&self, index: usize) -> Result<u64, Error> {
        parse_timeout_seconds(self.args[index], self.store.now_ms)
    }

    /// Waits until one of `keys` holds something of this type, then runs the command again; where waiting is not allowed, answers `denied`.
    pub fn wait_for(&mut self, kind: Type, keys: Args<'_>, timeout_ms: u64, denied: TimeoutReply) {
        if self.context.deny_blocking {
            match denied {
                TimeoutReply::Null => self.reply.null(),
                TimeoutReply::NullArray => self.reply.null_array(),
            }
            return;
        }
        self.block = Some(Block {
            keys: keys.iter().map(|key| key.to_vec()).collect(),
            kind,
            timeout_ms,
            // Whatever the command gives on success.
            on_timeout: TimeoutReply::NullArray,
            wakes_on_removal: false,
            retry_args: None,
        });
    }

    /// Whether an argument is this word, in any case.
    pub fn is_word(&self, index: usize, word: &str) -> bool {
        self.args[index].eq_ignore_ascii_case(word.as_bytes())
    }
}

/// Bytes as a 64-bit integer.
///
/// # Errors
/// `ERR value is not an integer or out of range`
pub fn parse_int(text: &[u8]) -> Result<i64, Error> {
    number::parse_i64(text).ok_or(NOT_AN_INTEGER)
}

/// Bytes as the number of a database below `db_count`.
///
/// # Errors
/// Not an integer, not one of 32 bits, or `ERR DB index is out of range`.
pub fn parse_db(text: &[u8], db_count: usize) -> Result<usize, Error> {
    let number = i32::try_from(parse_int(text)?).map_err(|_| OUT_OF_INT_RANGE)?;
    usize::try_from(number).ok().filter(|&db| db < db_count).ok_or(DB_OUT_OF_RANGE)
}

/// Bytes as a number of elements, from `least` on; `None` if they are anything else.
pub fn parse_count(text: &[u8], least: usize) -> Option<usize> {
    number::parse_i64(text).and_then(|count| usize::try_from(count).ok()).filter(|&count| count >= least)
}

/// Bytes as a count whose sign says something: its amount, and whether it is negative.
///
/// # Errors
/// Not an integer, or the one whose amount is no `i64`.
pub fn parse_signed_count(text: &[u8]) -> Result<(usize, bool), Error> {
    let count = parse_int(text)?;
    let amount = count.checked_abs().ok_or(NO_COUNTERPART)?;
    Ok((amount as usize, count < 0))
}

/// Writes an element of a collection as a bulk.
pub fn reply_item(reply: &mut Reply, item: Item<'_>) {
    match item {
        Item::Int(value) => reply.bulk_int(value),
        Item::Bytes(bytes) => reply.bulk(bytes),
    }
}

/// Bytes as text for an error message: what is not UTF-8 is shown as `?`.
pub fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
