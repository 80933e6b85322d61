//! LCS: the longest common subsequence of two strings.
//!
//! Not here: everything else about strings (`string.rs`).

use alloc::{vec, vec::Vec};

use super::{
    Call, Command, CommandResult, KeySpec,
    spec::{acl, flag, key_flag},
};
use crate::{
    error::{Error, SYNTAX},
    store::StringRef,
};

/// The command of this file.
pub const COMMANDS: &[Command] = &[Command::run("lcs", -3, flag::READONLY, lcs)
    .keys(&[KeySpec::range(1, 1, 1, key_flag::RO | key_flag::ACCESS)])
    .acl(acl::STRING)
    .doc(
        "string",
        "7.0.0",
        "Gives what two strings have in common, in order.",
        "O(N*M) where N and M are the lengths of the strings.",
    )];

/// Options of LCS.
#[derive(Default)]
struct Options {
    wants_len: bool,
    wants_ranges: bool,
    with_match_len: bool,
    match_len_min: i64,
}

fn lcs(call: &mut Call) -> CommandResult {
    let (first, second) = (text(call, call.args[1])?, text(call, call.args[2])?);
    let options = parse_options(call)?;
    let table = LengthTable::new(&first, &second, call.store.limits.string_bytes_max)?;
    if options.wants_ranges {
        reply_ranges(call, &options, &table);
    } else if options.wants_len {
        call.reply.integer(table.common_len());
    } else {
        let common: Vec<u8> = table
            .ranges()
            .iter()
            .rev()
            .flat_map(|range| &first[range.first..range.first + range.len])
            .copied()
            .collect();
        call.reply.bulk(&common);
    }
    Ok(())
}

fn text(call: &mut Call, key: &[u8]) -> Result<Vec<u8>, Error> {
    let found = call
        .store
        .string(key)
        .map_err(|_| Error::new("ERR The specified keys must contain string values"))?;
    Ok(found.map_or_else(Vec::new, StringRef::to_vec))
}

fn parse_options(call: &Call) -> Result<Options, Error> {
    let mut options = Options::default();
    let mut index = 3;
    while index < call.args.len() {
        if call.is_word(index, "idx") {
            options.wants_ranges = true;
        } else if call.is_word(index, "len") {
            options.wants_len = true;
        } else if call.is_word(index, "withmatchlen") {
            options.with_match_len = true;
        } else if call.is_word(index, "minmatchlen") && index + 1 < call.args.len() {
            options.match_len_min = call.int(index + 1)?;
            index += 1;
        } else {
            return Err(SYNTAX);
        }
        index += 1;
    }
    if options.wants_len && options.wants_ranges {
        return Err(Error::new("ERR If you want both the length and indexes, please just use IDX."));
    }
    Ok(options)
}

fn reply_ranges(call: &mut Call, options: &Options, table: &LengthTable<'_>) {
    let mut ranges = table.ranges();
    ranges.retain(|range| range.len as i64 >= options.match_len_min);
    call.reply.map(2);
    call.reply.bulk(b"matches");
    call.reply.array(ranges.len());
    for range in ranges {
        call.reply.array(if options.with_match_len { 3 } else { 2 });
        for start in [range.first, range.second] {
            call.reply.array(2);
            call.reply.integer(start as i64);
            call.reply.integer((start + range.len - 1) as i64);
        }
        if options.with_match_len {
            call.reply.integer(range.len as i64);
        }
    }
    call.reply.bulk(b"len");
    call.reply.integer(table.common_len());
}

/// A stretch that both strings have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    /// Where it begins in the first string.
    first: usize,
    /// Where it begins in the second string.
    second: usize,
    /// How many bytes.
    len: usize,
}

/// For each pair of beginnings of the two strings, the length of their longest common subsequence.
struct LengthTable<'a> {
    first: &'a [u8],
    second: &'a [u8],
    /// Row by row; a row has one column more than `second` has bytes.
    lengths: Vec<u32>,
}

impl<'a> LengthTable<'a> {
    fn new(first: &'a [u8], second: &'a [u8], bytes_max: usize) -> Result<LengthTable<'a>, Error> {
        let cells = (first.len() + 1).saturating_mul(second.len() + 1);
        if cells.saturating_mul(size_of::<u32>()) > bytes_max {
            return Err(Error::new(
                "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            ));
        }
        let mut table = LengthTable { first, second, lengths: vec![0; cells] };
        let width = second.len() + 1;
        for (row, &byte) in first.iter().enumerate() {
            for (column, &other) in second.iter().enumerate() {
                let length = if byte == other {
                    table.at(row, column) + 1
                } else {
                    table.at(row, column + 1).max(table.at(row + 1, column))
                };
                table.lengths[(row + 1) * width + column + 1] = length;
            }
        }
        Ok(table)
    }

    /// Length for the first `row` bytes of one string and the first `column` of the other.
    fn at(&self, row: usize, column: usize) -> u32 {
        self.lengths[row * (self.second.len() + 1) + column]
    }

    fn common_len(&self) -> i64 {
        i64::from(self.at(self.first.len(), self.second.len()))
    }

    /// The stretches of one longest common subsequence, last one first.
    fn ranges(&self) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        let (mut row, mut column) = (self.first.len(), self.second.len());
        while row > 0 && column > 0 {
            if self.first[row - 1] == self.second[column - 1] {
                (row, column) = (row - 1, column - 1);
                match ranges.last_mut() {
                    Some(range) if range.first == row + 1 && range.second == column + 1 => {
                        *range = Range { first: row, second: column, len: range.len + 1 };
                    }
                    _ => ranges.push(Range { first: row, second: column, len: 1 }),
                }
            } else if self.at(row - 1, column) > self.at(row, column - 1) {
                row -= 1;
            } else {
                column -= 1;
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Bench, check};

    #[test]
    fn common_text_its_length_and_its_places() {
        check(&[
            ("MSET a ohmytext b mynewtext n 5", "+OK"),
            ("LCS a b", "\"mytext\""),
            ("LCS a b LEN", ":6"),
            ("LCS a b IDX", "[\"matches\", [[[:4, :7], [:5, :8]], [[:2, :3], [:0, :1]]], \"len\", :6]"),
            (
                "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
                "[\"matches\", [[[:4, :7], [:5, :8], :4]], \"len\", :6]",
            ),
            ("LCS a b MINMATCHLEN -1", "\"mytext\""),
            ("LCS a none", "\"\""),
            ("LCS none other IDX", "[\"matches\", [], \"len\", :0]"),
            ("LCS a a LEN", ":8"),
            ("LCS n n", "\"5\""),
        ]);
    }

    #[test]
    fn wrong_options_are_refused() {
        check(&[
            ("LCS a b LEN IDX", "-ERR If you want both the length and indexes, please just use IDX."),
            ("LCS a b FOO", "-ERR syntax error"),
            ("LCS a b MINMATCHLEN", "-ERR syntax error"),
            ("LCS a b MINMATCHLEN x", "-ERR value is not an integer or out of range"),
        ]);
    }

    #[test]
    fn the_table_stays_below_the_longest_string() {
        let mut bench = Bench::new();
        bench.store.limits.string_bytes_max = 4 * 3 * 4;
        let error = "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
        bench.check(&[
            ("SET two ab", "+OK"),
            ("SET three abc", "+OK"),
            ("LCS two three LEN", ":2"),
            ("LCS three three LEN", error),
        ]);
    }
}
