//! The one table of all commands, and how a name finds its row.
//!
//! Always true: names are unique; rows are found whatever the case they are typed in.

use alloc::{string::String, vec, vec::Vec};

use super::{
    Command,
    spec::{KeyBegin, KeyFind, flag, key_flag},
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
    super::scripting::COMMANDS,
    super::transaction::COMMANDS,
    super::connection::COMMANDS,
    super::acl::COMMANDS,
    super::persistence::COMMANDS,
    super::server::COMMANDS,
    super::cluster::COMMANDS,
];

/// A row with its number, under which statistics are kept.
#[derive(Clone, Copy)]
pub struct Row {
    /// The command.
    pub command: &'static Command,
    /// Its container, for a subcommand.
    pub container: Option<&'static Command>,
    /// Dense number, range 0..`Table::len`.
    pub id: usize,
    /// How its keys are found.
    pub keys: KeyPlaces,
}

/// Where the keys of a command's requests stand: what its specifications come to, for who asks at every request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyPlaces {
    /// Keys cannot be said one by one, or there are none.
    Unknown,
    /// One key, the first argument.
    First,
    /// [`key_positions`] finds them.
    Listed,
}

impl KeyPlaces {
    fn of(command: &Command) -> KeyPlaces {
        let is_vague = |flags: u32| flags & (key_flag::INCOMPLETE | key_flag::NOT_KEY) != 0;
        // COPY and MOVE name a key of another database.
        let is_elsewhere = matches!(command.name, "copy" | "move" | "sort" | "sort_ro");
        if command.keys.is_empty()
            || command.has(flag::ARBITRARY_KEYS)
            || command.keys.iter().any(|spec| is_vague(spec.flags))
            || is_elsewhere
        {
            return KeyPlaces::Unknown;
        }
        match command.keys {
            [spec]
                if spec.begin == KeyBegin::Index(1)
                    && matches!(spec.find, KeyFind::Range { last: 0, .. }) =>
            {
                KeyPlaces::First
            }
            _ => KeyPlaces::Listed,
        }
    }
}

impl Row {
    /// Whether this is its full name, in any case.
    #[inline]
    fn is_named(&self, name: &[u8]) -> bool {
        let own = self.command.name.as_bytes();
        match self.container {
            None => name.eq_ignore_ascii_case(own),
            Some(container) => name
                .split_at_checked(container.name.len())
                .and_then(|(first, rest)| Some((first, rest.strip_prefix(b"|")?)))
                .is_some_and(|(first, rest)| {
                    first.eq_ignore_ascii_case(container.name.as_bytes()) && rest.eq_ignore_ascii_case(own)
                }),
        }
    }

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
    /// Open addressing by [`place_of`]: numbers of rows, `VACANT` where there is none. Every request is looked up here.
    by_name: Vec<u16>,
    renamed: Vec<Renamed>,
}

/// A command that clients know by another name than its own, or (with an empty one) not at all.
#[derive(Clone)]
struct Renamed {
    id: usize,
    to: Vec<u8>,
}

/// Whether a name is the one that was given; one that was taken away is none.
fn is_same_name(given: &[u8], name: &[u8]) -> bool {
    !given.is_empty() && given.eq_ignore_ascii_case(name)
}

/// Places for names, a power of two: four times as many as there are names, so that nearly all stand in their own.
const PLACES: usize = 2048;
const VACANT: u16 = u16::MAX;

/// Where the search for a name begins, whatever its case: its first eight letters and its length, mixed.
#[inline]
fn place_of(name: &[u8]) -> usize {
    /// Sets the bit that tells small letters from capital ones.
    const SMALL: u64 = 0x2020_2020_2020_2020;
    let mut letters = [0; 8];
    let count = name.len().min(letters.len());
    letters[..count].copy_from_slice(&name[..count]);
    let mixed =
        ((u64::from_le_bytes(letters) | SMALL) ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize % PLACES
}

impl Table {
    /// The table of [`GROUPS`].
    pub fn new() -> Table {
        let mut table = Table { rows: Vec::new(), by_name: vec![VACANT; PLACES], renamed: Vec::new() };
        for command in GROUPS.iter().flat_map(|group| group.iter()) {
            table.add(command, None);
            for subcommand in command.subcommands {
                table.add(subcommand, Some(command));
            }
        }
        table
    }

    fn add(&mut self, command: &'static Command, container: Option<&'static Command>) {
        let row = Row { command, container, id: self.rows.len(), keys: KeyPlaces::of(command) };
        let name = row.full_name();
        assert!(self.find(name.as_bytes()).is_none(), "command {name} stands twice in the table");
        let mut place = place_of(name.as_bytes());
        while self.by_name[place] != VACANT {
            place = (place + 1) % PLACES;
        }
        self.by_name[place] = u16::try_from(row.id).expect("far fewer rows");
        self.rows.push(row);
        assert!(self.rows.len() < PLACES / 2, "more places are needed");
    }

    /// Gives a command another name; an empty one takes it away from clients.
    ///
    /// # Errors
    /// There is no such command, or the new name is taken.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), &'static str> {
        let row = self.find(from.as_bytes()).filter(|row| row.container.is_none());
        let id = row.ok_or("No such command in rename-command")?.id;
        self.renamed.retain(|renamed| renamed.id != id);
        self.renamed.push(Renamed { id, to: Vec::new() });
        if self.find(to.as_bytes()).is_some() {
            return Err("Target command name already exists");
        }
        self.renamed.last_mut().expect("pushed above").to = to.as_bytes().to_vec();
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
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<Row> {
        let row = self.find_by_own_name(name);
        if self.renamed.is_empty() { row } else { self.find_renamed(name, row) }
    }

    #[inline]
    fn find_by_own_name(&self, name: &[u8]) -> Option<Row> {
        let mut place = place_of(name);
        loop {
            let row = self.rows.get(usize::from(self.by_name[place]))?;
            if row.is_named(name) {
                return Some(*row);
            }
            place = (place + 1) % PLACES;
        }
    }

    /// Which command clients mean by a name that is one's `own`, when some have other names.
    #[cold]
    fn find_renamed(&self, name: &[u8], own: Option<Row>) -> Option<Row> {
        let kept = own.filter(|row| self.renamed.iter().all(|renamed| renamed.id != row.id));
        let given = || self.renamed.iter().find(|renamed| is_same_name(&renamed.to, name));
        kept.or_else(|| Some(self.rows[given()?.id]))
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
        let row = self.find(args[0]).or_else(|| self.find_by_own_name(args[0]))?;
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
        for name in [&b""[..], b"gett", b"object|", b"objectfreq", &[b'x'; 33]] {
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
