//! The one table of all commands, and how a name finds its row.
//!
//! Always true: names are unique; rows are found whatever the case they are typed in.

use alloc::{string::String, vec::Vec};

use perdura_structures::dict::Dict;

use super::{
    Command, bitmap, connection, counter, expire, keys, lcs, persistence, scan, server,
    spec::{KeyBegin, KeyFind},
    stream, string, transaction,
};

/// Every group's commands, in the order of the documentation.
pub const GROUPS: &[&[Command]] = &[
    string::COMMANDS,
    counter::COMMANDS,
    lcs::COMMANDS,
    bitmap::COMMANDS,
    keys::COMMANDS,
    expire::COMMANDS,
    scan::COMMANDS,
    stream::COMMANDS,
    connection::COMMANDS,
    transaction::COMMANDS,
    persistence::COMMANDS,
    server::COMMANDS,
];

/// Longest command name, bytes; longer input is no command. (`georadiusbymember_ro` has 20.)
const NAME_BYTES_MAX: usize = 32;

/// A row with its number, under which statistics are kept.
#[derive(Clone, Copy)]
pub struct Row {
    /// The command.
    pub command: &'static Command,
    /// Its container, for a subcommand.
    pub container: Option<&'static Command>,
    /// Dense number, range 0..`Table::len`.
    pub id: usize,
}

impl Row {
    /// `get`, or `config|get`.
    pub fn full_name(&self) -> String {
        match self.container {
            Some(container) => alloc::format!("{}|{}", container.name, self.command.name),
            None => self.command.name.into(),
        }
    }
}

/// Names to rows.
#[derive(Clone)]
pub struct Table {
    rows: Vec<Row>,
    by_name: Dict<usize>,
}

impl Table {
    /// The table of [`GROUPS`].
    pub fn new() -> Table {
        let mut table = Table { rows: Vec::new(), by_name: Dict::new(0) };
        for command in GROUPS.iter().flat_map(|group| group.iter()) {
            table.add(command, None);
            for subcommand in command.subcommands {
                table.add(subcommand, Some(command));
            }
        }
        table
    }

    fn add(&mut self, command: &'static Command, container: Option<&'static Command>) {
        let row = Row { command, container, id: self.rows.len() };
        let previous = self.by_name.insert(row.full_name().as_bytes(), row.id);
        assert!(previous.is_none(), "command {} stands twice in the table", row.full_name());
        self.rows.push(row);
    }

    /// Number of rows, subcommands included.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows, in the order of their numbers.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The command of this name, in any case; `config|get` for a subcommand.
    pub fn find(&self, name: &[u8]) -> Option<Row> {
        let mut lower = [0; NAME_BYTES_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.by_name.get(lower).map(|&id| self.rows[id])
    }

    /// The row that a request means: the subcommand if its first word is a container and the second one of its words.
    ///
    /// A container with an unknown second word gives the container's own row.
    pub fn resolve(&self, args: &[&[u8]]) -> Option<Row> {
        let row = self.find(args[0])?;
        if row.command.subcommands.is_empty() || args.len() < 2 {
            return Some(row);
        }
        let subcommand =
            row.command.subcommands.iter().position(|sub| args[1].eq_ignore_ascii_case(sub.name.as_bytes()));
        // Subcommands' rows follow their container's.
        Some(subcommand.map_or(row, |index| self.rows[row.id + 1 + index]))
    }
}

impl Default for Table {
    fn default() -> Table {
        Table::new()
    }
}

/// Positions of a request's keys with their flags, by the command's specification.
///
/// `None` where the arguments contradict it (a count that is no number or too large).
pub fn key_positions(command: &Command, args: &[&[u8]]) -> Option<Vec<(usize, u32)>> {
    if let Some(find) = command.find_keys {
        return Some(find(args));
    }
    let mut positions = Vec::new();
    for spec in command.keys {
        let begin = match spec.begin {
            KeyBegin::Index(index) => index,
            KeyBegin::Keyword(word, from) => match find_keyword(args, word, from) {
                Some(index) => index + 1,
                None => continue,
            },
            KeyBegin::Unknown => continue,
        };
        let (first, last, step) = match spec.find {
            KeyFind::Range { last, step, limit } => {
                let end = if last >= 0 {
                    begin + last as usize
                } else {
                    args.len().checked_sub(last.unsigned_abs() as usize)?
                };
                let end = if last < 0 && limit > 1 {
                    begin + (end + 1).saturating_sub(begin) / limit - 1
                } else {
                    end
                };
                (begin, end, step)
            }
            KeyFind::Count { count_at, first, step } => {
                let count = crate::bytes::number::parse_i64(args.get(begin + count_at)?)?;
                let count = usize::try_from(count).ok().filter(|&count| count <= args.len())?;
                if count == 0 {
                    continue;
                }
                (begin + first, begin + first + (count - 1) * step, step)
            }
            KeyFind::Unknown => continue,
        };
        if first >= args.len() {
            // An optional key that is not given.
            continue;
        }
        if last >= args.len() {
            return None;
        }
        positions.extend((first..=last).step_by(step).map(|index| (index, spec.flags)));
    }
    Some(positions)
}

fn find_keyword(args: &[&[u8]], word: &str, from: i32) -> Option<usize> {
    let matches = |index: &usize| args[*index].eq_ignore_ascii_case(word.as_bytes());
    if from >= 0 {
        (from as usize..args.len()).find(matches)
    } else {
        (1..args.len().checked_sub(from.unsigned_abs() as usize)? + 1).rev().find(matches)
    }
}
