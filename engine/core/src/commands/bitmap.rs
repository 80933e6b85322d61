//! Strings as arrays of bits: SETBIT, BITCOUNT, BITOP, BITFIELD and kin.
//!
//! Bit 0 is the highest bit of the first byte:
//!
//! ```text
//! offset   0 1 2 3 4 5 6 7   8 9 …
//! byte     0                 1
//! ```
//!
//! Always true: bits beyond the end of a string are 0.
//!
//! Not here: growing and storing strings (`string.rs`, `store/mod.rs`).

use alloc::vec::Vec;

use super::{
    Args, Call, Command, CommandResult, KeySpec,
    spec::{acl, flag, key_flag},
    string::{grow, store_raw},
};
use crate::{
    bytes::number::{DecimalBuffer, parse_i64},
    error::{Error, SYNTAX},
    store::{Class, StringRef},
};

const READ: u32 = key_flag::RO | key_flag::ACCESS;
const READ_KEY: &[KeySpec] = &[KeySpec::one(1, READ)];
const CHANGE: u32 = key_flag::RW | key_flag::ACCESS | key_flag::UPDATE;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("bitcount", -2, flag::READONLY, bitcount).keys(READ_KEY).acl(acl::BITMAP).doc(
        "bitmap",
        "2.6.0",
        "Counts the bits that are set.",
        "O(N)",
    ),
    Command::run("bitfield", -2, flag::WRITE | flag::DENYOOM, bitfield)
        .keys(&[KeySpec::one(1, CHANGE | key_flag::VARIABLE_FLAGS)])
        .keys_found_by(bitfield_keys)
        .acl(acl::BITMAP)
        .doc(
            "bitmap",
            "3.2.0",
            "Reads and changes integers of any width inside a string.",
            "O(1) for each operation.",
        ),
    Command::run("bitfield_ro", -2, flag::READONLY | flag::FAST, bitfield_ro)
        .keys(READ_KEY)
        .acl(acl::BITMAP)
        .doc("bitmap", "6.0.0", "Reads integers of any width inside a string.", "O(1) for each operation."),
    Command::run("bitop", -4, flag::WRITE | flag::DENYOOM, bitop)
        .keys(&[KeySpec::one(2, key_flag::OW | key_flag::UPDATE), KeySpec::range(3, -1, 1, READ)])
        .acl(acl::BITMAP)
        .doc("bitmap", "2.6.0", "Combines strings bit by bit and stores what comes out.", "O(N)"),
    Command::run("bitpos", -3, flag::READONLY, bitpos).keys(READ_KEY).acl(acl::BITMAP).doc(
        "bitmap",
        "2.8.7",
        "Finds the first bit that is set, or that is clear.",
        "O(N)",
    ),
    Command::run("getbit", 3, flag::READONLY | flag::FAST, getbit).keys(READ_KEY).acl(acl::BITMAP).doc(
        "bitmap",
        "2.2.0",
        "Gives one bit.",
        "O(1)",
    ),
    Command::run("setbit", 4, flag::WRITE | flag::DENYOOM, setbit)
        .keys(&[KeySpec::one(1, CHANGE)])
        .acl(acl::BITMAP)
        .doc("bitmap", "2.2.0", "Sets or clears one bit and gives what it was.", "O(1)"),
];

const BIT_OFFSET_INVALID: Error = Error::new("ERR bit offset is not an integer or out of range");
const BIT_INVALID: Error = Error::new("ERR bit is not an integer or out of range");

// --- One bit ------------------------------------------------------------------------------------

fn getbit(call: &mut Call) -> CommandResult {
    let offset = bit_offset(call, call.args[2])?;
    let bit = with_text(call, |text| text.get(offset / 8).is_some_and(|byte| byte & bit_mask(offset) != 0))?;
    call.reply.integer(i64::from(bit));
    Ok(())
}

fn setbit(call: &mut Call) -> CommandResult {
    let offset = bit_offset(call, call.args[2])?;
    let is_set = match parse_i64(call.args[3]) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(BIT_INVALID),
    };
    let key = call.args[1];
    let (was_set, has_grown) = call.store.edit_text(key, |text| {
        let has_grown = text.len() <= offset / 8;
        grow(text, offset / 8 + 1);
        let byte = &mut text[offset / 8];
        let was_set = *byte & bit_mask(offset) != 0;
        *byte = if is_set { *byte | bit_mask(offset) } else { *byte & !bit_mask(offset) };
        (was_set, has_grown)
    })?;
    if has_grown || was_set != is_set {
        call.store.touch(key, 1);
        call.store.notify(Class::String, "setbit", key);
    }
    call.reply.integer(i64::from(was_set));
    Ok(())
}

/// The bit within its byte.
fn bit_mask(offset: usize) -> u8 {
    0x80 >> (offset % 8)
}

fn bit_offset(call: &Call, text: &[u8]) -> Result<usize, Error> {
    checked_bit_offset(call, parse_i64(text))
}

/// A bit offset that lies in a string of allowed length.
fn checked_bit_offset(call: &Call, offset: Option<i64>) -> Result<usize, Error> {
    offset
        .and_then(|offset| usize::try_from(offset).ok())
        .filter(|offset| offset / 8 < call.store.limits.string_bytes_max)
        .ok_or(BIT_OFFSET_INVALID)
}

/// Looks at the string of `args[1]`; a missing one is empty.
fn with_text<R>(call: &mut Call, look: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
    let text = call.store.string(call.args[1])?.unwrap_or(StringRef::Bytes(b""));
    Ok(look(text.bytes(&mut DecimalBuffer::default())))
}

// --- Counting and finding -----------------------------------------------------------------------

/// What the ends of a range count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn parse(word: Option<&&[u8]>) -> Result<Unit, Error> {
        match word {
            None => Ok(Unit::Byte),
            Some(word) if word.eq_ignore_ascii_case(b"byte") => Ok(Unit::Byte),
            Some(word) if word.eq_ignore_ascii_case(b"bit") => Ok(Unit::Bit),
            Some(_) => Err(SYNTAX),
        }
    }
}

/// A range as given: both ends included, from the end of the string if negative.
#[derive(Clone, Copy)]
struct Range {
    start: i64,
    end: i64,
    unit: Unit,
}

impl Range {
    /// Everything.
    const ALL: Range = Range { start: 0, end: -1, unit: Unit::Byte };

    /// First and last bit of the range in a string of `len` bytes, or `None` if it holds none.
    fn bits(self, len: usize) -> Option<(usize, usize)> {
        let count = if self.unit == Unit::Bit { len as i64 * 8 } else { len as i64 };
        let from_front = |index: i64| if index < 0 { index.saturating_add(count).max(0) } else { index };
        let (start, end) = (from_front(self.start), from_front(self.end).min(count - 1));
        match self.unit {
            _ if start > end => None,
            Unit::Bit => Some((start as usize, end as usize)),
            Unit::Byte => Some((start as usize * 8, end as usize * 8 + 7)),
        }
    }
}

fn bitcount(call: &mut Call) -> CommandResult {
    // Redis 7.2 does not look at the other arguments if there is no string.
    if call.store.string(call.args[1])?.is_none() {
        call.reply.integer(0);
        return Ok(());
    }
    let range = match call.args.len() {
        2 => Range::ALL,
        4 | 5 => Range { start: call.int(2)?, end: call.int(3)?, unit: Unit::parse(call.args.get(4))? },
        _ => return Err(SYNTAX),
    };
    // Both from the end and the wrong way round: nothing, even where clipping would leave the first byte.
    let is_reversed = range.start < 0 && range.end < 0 && range.start > range.end;
    let count = with_text(call, |text| match range.bits(text.len()) {
        Some((start, end)) if !is_reversed => count_bits(text, start, end),
        _ => 0,
    })?;
    call.reply.integer(count as i64);
    Ok(())
}

/// Bits set from `start` to `end` inclusive.
fn count_bits(text: &[u8], start: usize, end: usize) -> u64 {
    let (first, last) = (start / 8, end / 8);
    let whole: u64 = text[first..=last].iter().map(|byte| u64::from(byte.count_ones())).sum();
    let before = text[first] & !(0xff >> (start % 8));
    let after = text[last] & !(!0 << (7 - end % 8));
    whole - u64::from(before.count_ones()) - u64::from(after.count_ones())
}

fn bitpos(call: &mut Call) -> CommandResult {
    let wants_set = match call.int(2)? {
        0 => false,
        1 => true,
        _ => return Err(Error::new("ERR The bit argument must be 1 or 0.")),
    };
    // A missing string is one of endless zeros; its range is not looked at.
    if call.store.string(call.args[1])?.is_none() {
        call.reply.integer(if wants_set { -1 } else { 0 });
        return Ok(());
    }
    let range = bitpos_range(call)?;
    let has_end = call.args.len() > 4;
    let position = with_text(call, |text| {
        let (start, end) = range.bits(text.len())?;
        // Without an end the zeros beyond the string count as well.
        find_bit(text, wants_set, start, end).or((!wants_set && !has_end).then_some(text.len() * 8))
    })?;
    call.reply.integer(position.map_or(-1, |position| position as i64));
    Ok(())
}

fn bitpos_range(call: &Call) -> Result<Range, Error> {
    match call.args.len() {
        3 => Ok(Range::ALL),
        4 => Ok(Range { start: call.int(3)?, ..Range::ALL }),
        5 | 6 => {
            let (start, unit) = (call.int(3)?, Unit::parse(call.args.get(5))?);
            Ok(Range { start, end: call.int(4)?, unit })
        }
        _ => Err(SYNTAX),
    }
}

/// The first bit from `start` to `end` inclusive that is as wanted.
fn find_bit(text: &[u8], wants_set: bool, start: usize, end: usize) -> Option<usize> {
    let wanted = |byte: u8| if wants_set { byte } else { !byte };
    let first = start / 8;
    let in_first = wanted(text[first]) & (0xff >> (start % 8));
    let position = if in_first != 0 {
        first * 8 + in_first.leading_zeros() as usize
    } else {
        let skipped = text[first + 1..=end / 8].iter().position(|&byte| wanted(byte) != 0)?;
        let index = first + 1 + skipped;
        index * 8 + wanted(text[index]).leading_zeros() as usize
    };
    (position <= end).then_some(position)
}

// --- Combining ----------------------------------------------------------------------------------

/// What BITOP does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn parse(word: &[u8]) -> Result<Operation, Error> {
        match &*word.to_ascii_lowercase() {
            b"and" => Ok(Operation::And),
            b"or" => Ok(Operation::Or),
            b"xor" => Ok(Operation::Xor),
            b"not" => Ok(Operation::Not),
            _ => Err(SYNTAX),
        }
    }

    /// Combines `other` into `result`; the shorter one counts as padded with zeros.
    fn combine(self, result: &mut Vec<u8>, other: &[u8]) {
        if result.len() < other.len() {
            result.resize(other.len(), 0);
        }
        let (common, rest) = result.split_at_mut(other.len());
        let pairs = common.iter_mut().zip(other);
        match self {
            Operation::And => {
                pairs.for_each(|(byte, other)| *byte &= other);
                rest.fill(0);
            }
            Operation::Or => pairs.for_each(|(byte, other)| *byte |= other),
            Operation::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
            Operation::Not => pairs.for_each(|(byte, other)| *byte = !other),
        }
    }
}

fn bitop(call: &mut Call) -> CommandResult {
    let operation = Operation::parse(call.args[1])?;
    if operation == Operation::Not && call.args.len() != 4 {
        return Err(Error::new("ERR BITOP NOT must be called with a single source key."));
    }
    let target = call.args[2];
    let mut result = Vec::new();
    for (index, &source) in call.args[3..].iter().enumerate() {
        let text = call.store.string(source)?.unwrap_or(StringRef::Bytes(b""));
        let mut buffer = DecimalBuffer::default();
        let text = text.bytes(&mut buffer);
        if index == 0 && operation != Operation::Not {
            result.extend_from_slice(text);
        } else {
            operation.combine(&mut result, text);
        }
    }
    call.reply.integer(result.len() as i64);
    if !result.is_empty() {
        store_raw(call, target, result);
        call.store.touch(target, 1);
        call.store.notify(Class::String, "set", target);
    } else if call.store.remove(target) {
        call.store.touch_removed(target);
    }
    Ok(())
}

// --- Integers among bits ------------------------------------------------------------------------

/// Type and place of an integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Field {
    is_signed: bool,
    /// Range: 1 to 64 if signed, to 63 if not.
    bits: u32,
    /// Of its highest bit.
    offset: usize,
}

/// What to do with a result that does not fit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// What BITFIELD does with one field.
#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64, Overflow),
    Increment(i64, Overflow),
}

/// One operation of BITFIELD.
#[derive(Clone, Copy)]
struct FieldOperation {
    field: Field,
    action: Action,
}

fn bitfield(call: &mut Call) -> CommandResult {
    let operations = parse_operations(call)?;
    if operations.iter().all(FieldOperation::only_reads) {
        read_fields(call, &operations)
    } else {
        change_fields(call, &operations)
    }
}

fn bitfield_ro(call: &mut Call) -> CommandResult {
    let operations = parse_operations(call)?;
    if !operations.iter().all(FieldOperation::only_reads) {
        return Err(Error::new("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    read_fields(call, &operations)
}

fn read_fields(call: &mut Call, operations: &[FieldOperation]) -> CommandResult {
    let values: Vec<i64> = with_text(call, |text| {
        operations.iter().map(|operation| operation.field.get(text) as i64).collect()
    })?;
    call.reply.array(values.len());
    for value in values {
        call.reply.integer(value);
    }
    Ok(())
}

fn change_fields(call: &mut Call, operations: &[FieldOperation]) -> CommandResult {
    let key = call.args[1];
    let writes = operations.iter().filter(|operation| !operation.only_reads());
    let len = writes.map(|operation| operation.field.end_bytes()).max().expect("one of them writes");
    let mut changes = 0;
    let answers: Vec<Option<i64>> = call.store.edit_text(key, |text| {
        let has_grown = text.len() < len;
        grow(text, len);
        let answers =
            operations.iter().map(|operation| operation.run(text, has_grown, &mut changes)).collect();
        // Growing is a change even where every write failed: replay must give the same length.
        if has_grown && changes == 0 {
            changes = 1;
        }
        answers
    })?;
    if changes > 0 {
        call.store.touch(key, changes);
        call.store.notify(Class::String, "setbit", key);
    }
    call.reply.array(answers.len());
    for answer in answers {
        match answer {
            Some(value) => call.reply.integer(value),
            None => call.reply.null(),
        }
    }
    Ok(())
}

fn parse_operations(call: &Call) -> Result<Vec<FieldOperation>, Error> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut index = 2;
    while index < call.args.len() {
        let following = call.args.len() - index - 1;
        if call.is_word(index, "overflow") && following >= 1 {
            overflow = parse_overflow(call.args[index + 1])?;
            index += 2;
        } else if call.is_word(index, "get") && following >= 2 {
            operations.push(FieldOperation { field: Field::parse(call, index + 1)?, action: Action::Get });
            index += 3;
        } else if call.is_word(index, "set") && following >= 3 {
            let field = Field::parse(call, index + 1)?;
            operations.push(FieldOperation { field, action: Action::Set(call.int(index + 3)?, overflow) });
            index += 4;
        } else if call.is_word(index, "incrby") && following >= 3 {
            let field = Field::parse(call, index + 1)?;
            operations
                .push(FieldOperation { field, action: Action::Increment(call.int(index + 3)?, overflow) });
            index += 4;
        } else {
            return Err(SYNTAX);
        }
    }
    Ok(operations)
}

fn parse_overflow(word: &[u8]) -> Result<Overflow, Error> {
    match &*word.to_ascii_lowercase() {
        b"wrap" => Ok(Overflow::Wrap),
        b"sat" => Ok(Overflow::Saturate),
        b"fail" => Ok(Overflow::Fail),
        _ => Err(Error::new("ERR Invalid OVERFLOW type specified")),
    }
}

impl Field {
    /// Type and offset from two arguments. `#n` as offset is the n-th field of this width.
    fn parse(call: &Call, index: usize) -> Result<Field, Error> {
        let (is_signed, bits) = parse_field_type(call.args[index])?;
        let offset = match call.args[index + 1] {
            [b'#', number @ ..] => parse_i64(number).and_then(|number| number.checked_mul(i64::from(bits))),
            text => parse_i64(text),
        };
        Ok(Field { is_signed, bits, offset: checked_bit_offset(call, offset)? })
    }

    /// Bytes a string must have to hold it.
    fn end_bytes(self) -> usize {
        (self.offset + self.bits as usize).div_ceil(8)
    }

    /// Smallest and largest value.
    fn range(self) -> (i128, i128) {
        if self.is_signed {
            (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1)
        } else {
            (0, (1 << self.bits) - 1)
        }
    }

    fn get(self, text: &[u8]) -> i128 {
        self.wrapped((self.window(text) >> self.shift()) as i128)
    }

    fn set(self, text: &mut [u8], value: i128) {
        let mask = ((1u128 << self.bits) - 1) << self.shift();
        let window = (self.window(text) & !mask) | (((value as u128) << self.shift()) & mask);
        let bytes = &window.to_be_bytes()[size_of::<u128>() - WINDOW_BYTES..];
        for (byte, &new) in text.iter_mut().skip(self.offset / 8).zip(bytes) {
            *byte = new;
        }
    }

    /// The nine bytes from the one it begins in, zeros beyond the end: 64 bits at any offset lie within.
    fn window(self, text: &[u8]) -> u128 {
        let first = self.offset / 8;
        (first..first + WINDOW_BYTES)
            .fold(0, |window, index| window << 8 | u128::from(text.get(index).copied().unwrap_or(0)))
    }

    /// Bits of the window after it.
    fn shift(self) -> u32 {
        WINDOW_BYTES as u32 * 8 - (self.offset % 8) as u32 - self.bits
    }

    /// The value that its lowest bits stand for.
    fn wrapped(self, value: i128) -> i128 {
        let low = value & ((1 << self.bits) - 1);
        if low > self.range().1 { low - (1 << self.bits) } else { low }
    }

    /// A value made to fit, or `None` if that is not wanted.
    fn fitted(self, value: i128, overflow: Overflow) -> Option<i128> {
        let (min, max) = self.range();
        match overflow {
            _ if (min..=max).contains(&value) => Some(value),
            Overflow::Wrap => Some(self.wrapped(value)),
            Overflow::Saturate => Some(value.clamp(min, max)),
            Overflow::Fail => None,
        }
    }
}

/// Bytes that 64 bits at any offset may touch.
const WINDOW_BYTES: usize = 9;

fn parse_field_type(text: &[u8]) -> Result<(bool, u32), Error> {
    let (is_signed, bits_max) = match text.first() {
        Some(b'i') => (true, 64),
        Some(b'u') => (false, 63),
        _ => (false, 0),
    };
    match text.get(1..).and_then(parse_i64) {
        Some(bits) if (1..=bits_max).contains(&bits) => Ok((is_signed, bits as u32)),
        _ => Err(Error::new(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        )),
    }
}

impl FieldOperation {
    fn only_reads(&self) -> bool {
        matches!(self.action, Action::Get)
    }

    /// Carries it out; what it answers. `has_grown`: every write counts as a change, also of nothing.
    fn run(&self, text: &mut [u8], has_grown: bool, changes: &mut u64) -> Option<i64> {
        let field = self.field;
        let old = field.get(text);
        let (wanted, overflow) = match self.action {
            Action::Get => return Some(old as i64),
            Action::Set(value, overflow) if field.is_signed => (i128::from(value), overflow),
            // A negative number is a very large one, as Redis sees it.
            Action::Set(value, overflow) => (i128::from(value as u64), overflow),
            Action::Increment(by, overflow) => (old + i128::from(by), overflow),
        };
        let new = field.fitted(wanted, overflow)?;
        field.set(text, new);
        *changes += u64::from(has_grown || new != old);
        Some(if matches!(self.action, Action::Set(..)) { old as i64 } else { new as i64 })
    }
}

/// BITFIELD with nothing but GET only reads.
fn bitfield_keys(args: Args<'_>) -> Vec<(usize, u32)> {
    let writes =
        |argument: &&[u8]| argument.eq_ignore_ascii_case(b"set") || argument.eq_ignore_ascii_case(b"incrby");
    let flags = if args.iter().skip(2).any(writes) { CHANGE } else { READ };
    alloc::vec![(1, flags)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::commands::testing::{Bench, check};

    #[test]
    fn bits_count_from_the_highest() {
        check(&[
            ("SETBIT k 7 1", ":0"),
            ("GET k", "\"\\x01\""),
            ("SETBIT k 7 0", ":1"),
            ("SETBIT k 8 1", ":0"),
            ("GET k", "\"\\x00\\x80\""),
            ("GETBIT k 8", ":1"),
            ("GETBIT k 9", ":0"),
            ("GETBIT k 1000000", ":0"),
            ("GETBIT none 0", ":0"),
            ("SET n 1", "+OK"),
            ("GETBIT n 2", ":1"),
            ("SETBIT n 6 1", ":0"),
            ("GET n", "\"3\""),
        ]);
    }

    #[test]
    fn offsets_end_with_the_longest_string() {
        let offset = "-ERR bit offset is not an integer or out of range";
        check(&[
            ("SETBIT k 4294967296 1", offset),
            ("SETBIT k -1 1", offset),
            ("SETBIT k x 1", offset),
            ("GETBIT k 4294967296", offset),
            ("GETBIT k #1", offset),
            ("SETBIT k 0 2", "-ERR bit is not an integer or out of range"),
            ("SETBIT k 0 x", "-ERR bit is not an integer or out of range"),
            ("BITFIELD k GET u8 #-1", offset),
            ("BITFIELD k GET u8 #9223372036854775807", offset),
            ("EXISTS k", ":0"),
        ]);
    }

    #[test]
    fn a_bit_that_stays_as_it_is_is_no_change() {
        let mut bench = Bench::new();
        bench.logs("SETBIT k 0 0", &["SETBIT k 0 0"]);
        bench.logs("SETBIT k 0 0", &[]);
        bench.logs("SETBIT k 0 1", &["SETBIT k 0 1"]);
        bench.logs("SETBIT k 8 0", &["SETBIT k 8 0"]);
        bench.logs("BITFIELD k SET u8 0 128", &[]);
        bench.logs("BITFIELD k INCRBY u8 0 1 GET u4 0", &["BITFIELD k INCRBY u8 0 1 GET u4 0"]);
        bench.logs("BITFIELD k GET u8 100", &[]);
        bench.events();
        bench.run("SETBIT k 0 0");
        assert_eq!(bench.events(), ["setbit k"]);
    }

    #[test]
    fn ranges_are_counted_in_bytes_or_bits() {
        check(&[
            ("SET k foobar", "+OK"),
            ("BITCOUNT k", ":26"),
            ("BITCOUNT k 0 0", ":4"),
            ("BITCOUNT k 1 1", ":6"),
            ("BITCOUNT k 1 1 BYTE", ":6"),
            ("BITCOUNT k 5 30 BIT", ":17"),
            ("BITCOUNT k -2 -1", ":7"),
            ("BITCOUNT k -1 -2", ":0"),
            ("BITCOUNT k -100 -200", ":0"),
            ("BITCOUNT k 0 -100", ":4"),
            ("BITCOUNT k 6 7", ":0"),
            ("BITCOUNT k 0", "-ERR syntax error"),
            ("BITCOUNT k 0 1 FOO", "-ERR syntax error"),
            ("BITCOUNT k a 1", "-ERR value is not an integer or out of range"),
            ("BITCOUNT none a b", ":0"),
            ("SET e \"\"", "+OK"),
            ("BITCOUNT e", ":0"),
            ("BITCOUNT e 0 -1 BIT", ":0"),
        ]);
    }

    #[test]
    fn bit_counts_agree_with_counting_one_by_one() {
        let text = [0xa5, 0x00, 0xff, 0x3c, 0x81];
        let bit = |index: usize| text[index / 8] & bit_mask(index) != 0;
        for start in 0..text.len() * 8 {
            for end in start..text.len() * 8 {
                assert_eq!(
                    count_bits(&text, start, end),
                    (start..=end).filter(|&index| bit(index)).count() as u64
                );
                for wanted in [false, true] {
                    let expected = (start..=end).find(|&index| bit(index) == wanted);
                    assert_eq!(find_bit(&text, wanted, start, end), expected, "{wanted} {start} {end}");
                }
            }
        }
    }

    #[test]
    fn bitpos_sees_zeros_beyond_the_end_only_without_an_end() {
        check(&[
            ("SET k \"\\xff\\xf0\\x00\"", "+OK"),
            ("BITPOS k 0", ":12"),
            ("BITPOS k 1 2", ":-1"),
            ("BITPOS k 1 -1 -1", ":-1"),
            ("BITPOS k 0 0 0", ":-1"),
            ("BITPOS k 0 2 -1 BYTE", ":16"),
            ("BITPOS k 1 7 15 BIT", ":7"),
            ("BITPOS k 0 12 12 BIT", ":12"),
            ("SET k \"\\xff\"", "+OK"),
            ("BITPOS k 0", ":8"),
            ("BITPOS k 0 0", ":8"),
            ("BITPOS k 0 0 -1", ":-1"),
            ("BITPOS k 0 1", ":-1"),
            ("BITPOS none 0", ":0"),
            ("BITPOS none 1", ":-1"),
            ("SET e \"\"", "+OK"),
            ("BITPOS e 0", ":-1"),
            ("BITPOS k 2", "-ERR The bit argument must be 1 or 0."),
            ("BITPOS k x", "-ERR value is not an integer or out of range"),
            ("BITPOS k 1 0 1 FOO", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn shorter_strings_are_padded_when_combined() {
        check(&[
            ("MSET a \"\\xf0\\xff\" b \"\\x3c\"", "+OK"),
            ("BITOP AND d a b", ":2"),
            ("GET d", "\"0\\x00\""),
            ("BITOP AND d b a", ":2"),
            ("GET d", "\"0\\x00\""),
            ("BITOP OR d a b", ":2"),
            ("GET d", "\"\\xfc\\xff\""),
            ("BITOP XOR d a b none", ":2"),
            ("GET d", "\"\\xcc\\xff\""),
            ("BITOP NOT d a", ":2"),
            ("GET d", "\"\\x0f\\x00\""),
            ("BITOP AND d none a", ":2"),
            ("GET d", "\"\\x00\\x00\""),
            ("BITOP NOT a a", ":2"),
            ("GET a", "\"\\x0f\\x00\""),
            ("BITOP NOT d none", ":0"),
            ("EXISTS d", ":0"),
            ("BITOP NOT d a b", "-ERR BITOP NOT must be called with a single source key."),
            ("BITOP NAND d a b", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn fields_wrap_saturate_or_fail() {
        check(&[
            ("BITFIELD k INCRBY i5 100 1 GET u4 0", "[:1, :0]"),
            ("BITFIELD k SET u8 0 255 INCRBY u8 0 1", "[:0, :0]"),
            ("BITFIELD k SET u8 0 255 OVERFLOW SAT INCRBY u8 0 10", "[:0, :255]"),
            ("BITFIELD k OVERFLOW FAIL INCRBY u8 0 1", "[nil]"),
            ("BITFIELD k GET u8 0", "[:255]"),
            ("BITFIELD k OVERFLOW SAT SET i8 0 -1000 GET i8 0", "[:-1, :-128]"),
            ("BITFIELD k OVERFLOW SAT INCRBY i8 0 -1", "[:-128]"),
            ("BITFIELD k OVERFLOW WRAP INCRBY i8 0 -1", "[:127]"),
            ("BITFIELD k OVERFLOW SAT SET u8 0 -1 GET u8 0", "[:127, :255]"),
            ("BITFIELD k OVERFLOW SAT INCRBY u8 0 -300", "[:0]"),
            // Redis saturates this one upwards, by an overflow of its own.
            ("BITFIELD low OVERFLOW SAT SET i8 0 -9223372036854775808 GET i8 0", "[:0, :-128]"),
            ("BITFIELD k SET i64 3 -1 GET i64 3 GET u63 4", "[:0, :-1, :9223372036854775807]"),
            ("BITFIELD k SET u63 1 9223372036854775807 INCRBY u63 1 1", "[:2305843009213693951, :0]"),
            ("BITFIELD k SET u4 #3 5 GET u4 12", "[:0, :5]"),
            ("BITFIELD none GET u8 0", "[:0]"),
            ("EXISTS none", ":0"),
            ("BITFIELD none", "[]"),
        ]);
    }

    #[test]
    fn growth_survives_a_write_that_failed() {
        let mut bench = Bench::new();
        let command = "BITFIELD k OVERFLOW FAIL SET u4 8 16";
        bench.logs(command, &[command]);
        assert_eq!(bench.run("STRLEN k"), ":2");
    }

    #[test]
    fn wrong_fields_are_refused() {
        let field = "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
        check(&[
            ("BITFIELD k GET u64 0", field),
            ("BITFIELD k GET i65 0", field),
            ("BITFIELD k GET u0 0", field),
            ("BITFIELD k GET x8 0", field),
            ("BITFIELD k GET u 0", field),
            ("BITFIELD k GET u8", "-ERR syntax error"),
            ("BITFIELD k SET u8 0", "-ERR syntax error"),
            ("BITFIELD k SET u8 0 x", "-ERR value is not an integer or out of range"),
            ("BITFIELD k OVERFLOW foo", "-ERR Invalid OVERFLOW type specified"),
            ("BITFIELD_RO k SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand"),
            ("BITFIELD_RO k GET u8 0", "[:0]"),
            ("EXISTS k", ":0"),
        ]);
    }

    proptest! {
        #[test]
        fn a_field_changes_its_own_bits_and_no_others(
            text in proptest::collection::vec(any::<u8>(), 20),
            (is_signed, bits) in prop_oneof![(Just(true), 1..=64u32), (Just(false), 1..=63u32)],
            offset in 0..80usize,
            value: i64,
        ) {
            let field = Field { is_signed, bits, offset };
            let value = field.wrapped(i128::from(value));
            let mut changed = text.clone();
            field.set(&mut changed, value);
            prop_assert_eq!(field.get(&changed), value);
            for index in 0..160 {
                let inside = (offset..offset + bits as usize).contains(&index);
                let bit = |text: &[u8]| text[index / 8] & bit_mask(index) != 0;
                let expected = if inside { value >> (offset + bits as usize - 1 - index) & 1 == 1 } else { bit(&text) };
                prop_assert_eq!(bit(&changed), expected, "bit {}", index);
            }
        }
    }
}
