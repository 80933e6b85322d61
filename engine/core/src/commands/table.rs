//! The one table of all commands, and how a name finds its row.
//!
//! Always true: names are unique; rows are found whatever the case they are typed in.

use alloc::{string::String, vec::Vec};

use perdura_structures::dict::Dict;

use super::{
    Command,
    spec::{KeyBegin, KeyFind},
};

/// Every group's commands, in the order of the documentation.
pub const GROUPS: &[&[Command]] = &[
    super::string::COMMANDS,
    super::counter::COMMANDS,
    super::lcs::COMMANDS,
    super::bitmap::COMMANDS,
    super::hyperloglog::COMMANDS,
    super::list::COMMANDS,
    super::set::COMMANDS,
    super::zset::COMMANDS,
    super::zset_range::COMMANDS,
    super::zset_algebra::COMMANDS,
    super::hash::COMMANDS,
    super::stream::COMMANDS,
    super::geo::COMMANDS,
    super::keys::COMMANDS,
    super::dump::COMMANDS,
    super::expire::COMMANDS,
    super::scan::COMMANDS,
    super::sort::COMMANDS,
    super::pubsub::COMMANDS,
    super::transaction::COMMANDS,
    super::connection::COMMANDS,
    super::acl::COMMANDS,
    super::persistence::COMMANDS,
    super::server::COMMANDS,
    super::cluster::COMMANDS,
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
    /// Names that clients no longer know a command by; the log still may.
    renamed: Vec<(Vec<u8>, usize)>,
}

impl Table {
    /// The table of [`GROUPS`].
    pub fn new() -> Table {
        let mut table = Table { rows: Vec::new(), by_name: Dict::new(0), renamed: Vec::new() };
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

    /// Gives a command another name; an empty one takes it away from clients.
    ///
    /// # Errors
    /// There is no such command, or the new name is taken.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), &'static str> {
        let (from, to) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
        let row = self.find(from.as_bytes()).filter(|row| row.container.is_none());
        let id = row.ok_or("No such command in rename-command")?.id;
        self.by_name.remove(from.as_bytes());
        self.renamed.push((from.into_bytes(), id));
        if !to.is_empty() && self.by_name.insert(to.as_bytes(), id).is_some() {
            return Err("Target command name already exists");
        }
        Ok(())
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
        // `config|get` names a row, but nobody says it so.
        let row = self.find(args[0]).filter(|row| row.container.is_none())?;
        Some(self.subcommand_of(row, args))
    }

    /// [`Table::resolve`] for a logged command: those we write ourselves have the names that clients may have lost.
    pub fn resolve_logged(&self, args: &[&[u8]]) -> Option<Row> {
        let original = || self.renamed.iter().find(|(name, _)| args[0].eq_ignore_ascii_case(name));
        let row = self.find(args[0]).or_else(|| original().map(|(_, id)| self.rows[*id]))?;
        Some(self.subcommand_of(row, args))
    }

    fn subcommand_of(&self, row: Row, args: &[&[u8]]) -> Row {
        if row.command.subcommands.is_empty() || args.len() < 2 {
            return row;
        }
        let subcommand =
            row.command.subcommands.iter().position(|sub| args[1].eq_ignore_ascii_case(sub.name.as_bytes()));
        // Subcommands' rows follow their container's.
        subcommand.map_or(row, |index| self.rows[row.id + 1 + index])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::spec::key_flag::{ACCESS, INSERT, OW, RO, RW, UPDATE};

    fn split(words: &str) -> Vec<&[u8]> {
        words.split(' ').map(str::as_bytes).collect()
    }

    #[track_caller]
    fn check_keys(request: &str, expected: Option<&[(usize, u32)]>) {
        let args = split(request);
        let row = Table::new().resolve(&args).expect("the command exists");
        assert_eq!(key_positions(row.command, &args).as_deref(), expected, "{request}");
    }

    #[test]
    fn names_are_found_in_any_case() {
        let table = Table::new();
        assert_eq!(table.find(b"GeT").map(|row| row.command.name), Some("get"));
        assert_eq!(table.find(b"object|FREQ").map(|row| row.full_name()), Some("object|freq".into()));
        for name in [&b""[..], b"gett", b"object|", &[b'x'; NAME_BYTES_MAX + 1]] {
            assert!(table.find(name).is_none());
        }
    }

    #[test]
    fn a_second_word_leads_to_the_subcommand_or_stays_with_the_container() {
        let table = Table::new();
        let name = |words| table.resolve(&split(words)).map(|row| row.full_name());
        assert_eq!(name("OBJECT ENCODING k"), Some("object|encoding".into()));
        assert_eq!(name("object nonsense"), Some("object".into()));
        assert_eq!(name("object"), Some("object".into()));
        assert_eq!(name("get encoding"), Some("get".into()));
        assert_eq!(name("nonsense"), None);
    }

    #[test]
    fn every_row_is_documented_and_has_a_number_of_its_own() {
        for (index, row) in Table::new().rows().iter().enumerate() {
            assert_eq!(row.id, index);
            assert!(
                !row.command.summary.is_empty() && !row.command.complexity.is_empty(),
                "{}",
                row.full_name()
            );
            assert_eq!(row.command.name, row.command.name.to_ascii_lowercase());
        }
    }

    #[test]
    fn keys_stand_where_the_row_says() {
        check_keys("get k", Some(&[(1, RO | ACCESS)]));
        check_keys("mset a 1 b 2", Some(&[(1, OW | UPDATE), (3, OW | UPDATE)]));
        check_keys("msetnx a 1", Some(&[(1, OW | INSERT)]));
        check_keys("bitop and d a b", Some(&[(2, OW | UPDATE), (3, RO | ACCESS), (4, RO | ACCESS)]));
        check_keys("lcs a b", Some(&[(1, RO | ACCESS), (2, RO | ACCESS)]));
        check_keys("lcs a", None);
        check_keys("object freq k", Some(&[(2, RO)]));
        check_keys("randomkey", Some(&[]));
    }

    #[test]
    fn flags_of_keys_follow_the_arguments() {
        check_keys("set k v", Some(&[(1, OW | UPDATE)]));
        check_keys("set k v ex 1 get", Some(&[(1, RW | ACCESS | UPDATE)]));
        check_keys("set get get", Some(&[(1, OW | UPDATE)]));
        check_keys("bitfield k get u8 0", Some(&[(1, RO | ACCESS)]));
        check_keys("bitfield k incrby u8 0 1", Some(&[(1, RW | ACCESS | UPDATE)]));
        check_keys("sort k by w* store d", Some(&[(1, RO | ACCESS), (5, OW | UPDATE)]));
    }
}
