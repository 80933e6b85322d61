//! A node: up to some hundred entries in one listpack, laid out as RDB files hold it.
//!
//! Exists because entries of a stream mostly have the same field names and ids close to each other: the node says
//! them once, in a master entry, and each entry only how it differs.
//!
//! ```text
//! master   live, deleted, names, name 1 … name N, 0
//! entry    flags, ms - master ms, seq - master seq, value 1 … value N, elements before this one
//!      or  flags, ms - master ms, seq - master seq, n, name 1, value 1 … name n, value n, elements before this one
//! ```
//!
//! Always true: ids ascend and none is below the master's; `live + deleted` entries follow the master; the last
//! element of an entry counts the others, so that a node can be read from its end.
//!
//! Not here: which nodes a stream has (`entries.rs`), the bytes of a listpack (`engine/structures/listpack.rs`).

use perdura_structures::{
    damage::Damage,
    listpack::{Item, Iter, Listpack, Position},
};

use super::StreamId;

/// Flag of an entry that was deleted, though its bytes are still there.
const DELETED: i64 = 1;
/// Flag of an entry whose names are the master's.
const SAME_NAMES: i64 = 2;
/// Elements of an entry besides names and values: flags, two parts of the id.
const FIXED_ITEMS: usize = 3;

/// Entries in a listpack. The master's id is kept by whoever keeps the node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pack: Listpack,
}

/// Live and deleted entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counts {
    pub live: u64,
    pub deleted: u64,
}

impl Node {
    /// A node without entries, whose master has the names of these name, value pairs.
    pub(super) fn new(pairs: &[&[u8]]) -> Node {
        let mut pack = Listpack::new();
        for number in [0, 0, pairs.len() as i64 / 2] {
            pack.push_back(number);
        }
        for &[name, _] in pairs.as_chunks().0 {
            pack.push_back(name);
        }
        pack.push_back(0);
        Node { pack }
    }

    /// Takes in the bytes of a node after checking all of it; its counts and the id of its last entry.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub(super) fn from_bytes_checked(bytes: &[u8], master: StreamId) -> Result<(Node, Counts), Damage> {
        let node = Node { pack: Listpack::from_bytes_checked(bytes)? };
        let counts = check(&node.pack, master).ok_or(Damage { what: "stream node", offset: 0 })?;
        Ok((node, counts))
    }

    /// A node that was checked when it was made.
    pub(super) fn from_own_bytes(bytes: &[u8]) -> Node {
        Node { pack: Listpack::from_bytes_checked(bytes).expect("these bytes were a listpack before") }
    }

    /// The bytes as RDB files hold them.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.pack.as_bytes()
    }

    /// Heap bytes held.
    pub(super) fn memory(&self) -> usize {
        self.pack.memory()
    }

    /// How many entries there are.
    pub(super) fn counts(&self) -> Counts {
        let mut items = self.pack.iter();
        Counts { live: read_int(&mut items) as u64, deleted: read_int(&mut items) as u64 }
    }

    /// Adds an entry of name, value pairs at the end; its id must be above those of the others.
    pub(super) fn push(&mut self, master: StreamId, id: StreamId, pairs: &[&[u8]]) {
        let (pairs, rest) = pairs.as_chunks::<2>();
        assert!(rest.is_empty(), "a name has a value");
        let has_same_names = self.has_names(pairs);
        self.pack.push_back(if has_same_names { SAME_NAMES } else { 0 });
        self.pack.push_back(id.ms.wrapping_sub(master.ms) as i64);
        self.pack.push_back(id.seq.wrapping_sub(master.seq) as i64);
        let mut items = FIXED_ITEMS + pairs.len();
        if !has_same_names {
            self.pack.push_back(pairs.len() as i64);
            items += 1 + pairs.len();
        }
        for &[name, value] in pairs {
            if !has_same_names {
                self.pack.push_back(name);
            }
            self.pack.push_back(value);
        }
        self.pack.push_back(items as i64);
        let counts = self.counts();
        self.set_counts(Counts { live: counts.live + 1, ..counts });
    }

    fn has_names(&self, pairs: &[[&[u8]; 2]]) -> bool {
        let mut items = self.pack.range(2..3 + pairs.len());
        read_int(&mut items) as usize == pairs.len()
            && pairs.iter().zip(items).all(|([name, _], own)| own.is(name))
    }

    fn set_counts(&mut self, counts: Counts) {
        for (index, count) in [counts.live, counts.deleted].into_iter().enumerate() {
            let at = self.pack.seek(index as i64).expect("a node has a master");
            self.pack.replace(at, count as i64);
        }
    }

    /// Marks an entry as deleted; `false` if there is none with this id, or not any more.
    pub(super) fn delete(&mut self, master: StreamId, id: StreamId) -> bool {
        self.delete_while(master, |entry| match entry.id.cmp(&id) {
            core::cmp::Ordering::Less => Verdict::Keep,
            core::cmp::Ordering::Equal => Verdict::Delete,
            core::cmp::Ordering::Greater => Verdict::Stop,
        }) > 0
    }

    /// Marks entries as deleted from the first on, as long as `judge` says so; how many were alive before.
    ///
    /// `judge` is asked about deleted entries too.
    pub(super) fn delete_while(
        &mut self,
        master: StreamId,
        mut judge: impl FnMut(&Entry<'_>) -> Verdict,
    ) -> u64 {
        let mut deleted = 0;
        let mut next = self.first_entry();
        while let Some(at) = next {
            let shape = Shape::of(&self.pack);
            let entry = shape.read(&mut self.pack.iter_from(at), master);
            let verdict = judge(&entry);
            if verdict == Verdict::Stop {
                break;
            }
            next = self.step(at, entry.item_count());
            if verdict == Verdict::Delete && !entry.is_deleted() {
                let flags = entry.flags | DELETED;
                // Flags take one byte each, so positions stay good.
                self.pack.replace(at, flags);
                deleted += 1;
            }
        }
        let counts = self.counts();
        self.set_counts(Counts { live: counts.live - deleted, deleted: counts.deleted + deleted });
        deleted
    }

    fn first_entry(&self) -> Option<Position> {
        let shape = Shape::of(&self.pack);
        self.pack.seek(shape.master_items() as i64)
    }

    fn step(&self, from: Position, count: usize) -> Option<Position> {
        (0..count).try_fold(from, |at, _| self.pack.next(at))
    }

    /// All entries from the first to the last, deleted ones included.
    pub(super) fn walk(&self, master: StreamId) -> Walk<'_> {
        let shape = Shape::of(&self.pack);
        let mut rest = self.pack.iter();
        skip(&mut rest, shape.master_items());
        Walk { master, shape, rest }
    }

    /// All entries from the last to the first, deleted ones included.
    pub(super) fn walk_back(&self, master: StreamId) -> WalkBack<'_> {
        WalkBack { pack: &self.pack, master, shape: Shape::of(&self.pack), end: self.pack.last() }
    }
}

/// What becomes of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is marked as deleted.
    Delete,
    /// It stays; the next one is looked at.
    Keep,
    /// It stays, and so do all that follow.
    Stop,
}

/// The names that entries may leave out.
#[derive(Clone)]
struct Shape<'a> {
    len: usize,
    names: Iter<'a>,
}

impl<'a> Shape<'a> {
    fn of(pack: &'a Listpack) -> Shape<'a> {
        let mut items = pack.iter();
        skip(&mut items, 2);
        let len = read_int(&mut items) as usize;
        Shape { len, names: items }
    }

    /// Elements of the master: three numbers, names, a zero.
    fn master_items(&self) -> usize {
        self.len + 4
    }

    /// Reads an entry's beginning; names and values are left to [`Entry::pairs`].
    fn read(&self, items: &mut Iter<'a>, master: StreamId) -> Entry<'a> {
        let flags = read_int(items);
        let id = StreamId {
            ms: master.ms.wrapping_add(read_int(items) as u64),
            seq: master.seq.wrapping_add(read_int(items) as u64),
        };
        let (len, names) = if flags & SAME_NAMES != 0 {
            (self.len, Some(self.names.clone()))
        } else {
            (read_int(items) as usize, None)
        };
        Entry { id, flags, len, names, rest: items.clone() }
    }
}

/// An entry as it lies in its node.
#[derive(Clone)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    flags: i64,
    len: usize,
    /// The master's, if they are its own.
    names: Option<Iter<'a>>,
    rest: Iter<'a>,
}

impl<'a> Entry<'a> {
    /// Number of name, value pairs.
    #[allow(clippy::len_without_is_empty)] // An entry has at least one.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Its name, value pairs, in the order in which they were given.
    pub fn pairs(&self) -> Pairs<'a> {
        Pairs { left: self.len, names: self.names.clone(), rest: self.rest.clone() }
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.flags & DELETED != 0
    }

    /// Elements of names and values.
    fn pair_items(&self) -> usize {
        if self.names.is_some() { self.len } else { self.len * 2 }
    }

    /// All its elements.
    fn item_count(&self) -> usize {
        FIXED_ITEMS + usize::from(self.names.is_none()) + self.pair_items() + 1
    }
}

/// Name, value pairs of an entry.
#[derive(Clone)]
pub struct Pairs<'a> {
    left: usize,
    names: Option<Iter<'a>>,
    rest: Iter<'a>,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Item<'a>, Item<'a>);

    fn next(&mut self) -> Option<(Item<'a>, Item<'a>)> {
        self.left = self.left.checked_sub(1)?;
        let name = match &mut self.names {
            Some(names) => names.next()?,
            None => self.rest.next()?,
        };
        Some((name, self.rest.next()?))
    }
}

/// Entries from the first to the last.
pub(super) struct Walk<'a> {
    master: StreamId,
    shape: Shape<'a>,
    rest: Iter<'a>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.rest.clone().next()?;
        let entry = self.shape.read(&mut self.rest, self.master);
        skip(&mut self.rest, entry.pair_items() + 1);
        Some(entry)
    }
}

/// Entries from the last to the first.
pub(super) struct WalkBack<'a> {
    pack: &'a Listpack,
    master: StreamId,
    shape: Shape<'a>,
    /// Last element of the next entry; of the master in the end.
    end: Option<Position>,
}

impl<'a> Iterator for WalkBack<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let end = self.end?;
        let items = self.pack.item(end).to_int().expect("a node was checked");
        if items == 0 {
            return None;
        }
        let start = (0..items).try_fold(end, |at, _| self.pack.prev(at)).expect("a node was checked");
        self.end = self.pack.prev(start);
        Some(self.shape.read(&mut self.pack.iter_from(start), self.master))
    }
}

fn read_int(items: &mut Iter<'_>) -> i64 {
    items.next().and_then(Item::to_int).expect("a node was checked")
}

fn skip(items: &mut Iter<'_>, count: usize) {
    if let Some(last) = count.checked_sub(1) {
        items.nth(last);
    }
}

/// The counts of a listpack that is a node, or `None` if it is none.
fn check(pack: &Listpack, master: StreamId) -> Option<Counts> {
    let mut items = pack.iter();
    let mut int = || items.next()?.to_int();
    let (live, deleted, len) = (int()?, int()?, usize::try_from(int()?).ok()?);
    let counts = Counts { live: u64::try_from(live).ok()?, deleted: u64::try_from(deleted).ok()? };
    take(&mut items, len)?;
    if items.next()?.to_int()? != 0 {
        return None;
    }
    let mut found = Counts { live: 0, deleted: 0 };
    let mut last = None;
    while items.clone().next().is_some() {
        let (id, is_deleted) = check_entry(&mut items, master, len)?;
        if id < master || last.is_some_and(|last| id <= last) {
            return None;
        }
        last = Some(id);
        *if is_deleted { &mut found.deleted } else { &mut found.live } += 1;
    }
    (found == counts && counts.live > 0).then_some(counts)
}

fn check_entry(items: &mut Iter<'_>, master: StreamId, len: usize) -> Option<(StreamId, bool)> {
    let mut int = || items.next()?.to_int();
    let (flags, ms, seq) = (int()?, int()?, int()?);
    let id = StreamId { ms: master.ms.wrapping_add(ms as u64), seq: master.seq.wrapping_add(seq as u64) };
    if flags & !(DELETED | SAME_NAMES) != 0 {
        return None;
    }
    let count = if flags & SAME_NAMES != 0 {
        take(items, len)?;
        FIXED_ITEMS + len
    } else {
        let own_len = usize::try_from(int()?).ok()?;
        take(items, own_len.checked_mul(2)?)?;
        FIXED_ITEMS + 1 + own_len * 2
    };
    (items.next()?.to_int()? == count as i64).then_some((id, flags & DELETED != 0))
}

/// Passes over exactly so many elements.
fn take(items: &mut Iter<'_>, count: usize) -> Option<()> {
    match count.checked_sub(1) {
        None => Some(()),
        Some(last) => items.nth(last).map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec::Vec};

    use super::*;

    const MASTER: StreamId = StreamId::new(5, 3);

    fn sample() -> Node {
        let mut node = Node::new(&[b"f", b"v"]);
        node.push(MASTER, MASTER, &[b"f", b"v"]);
        node.push(MASTER, StreamId::new(6, 0), &[b"f", b"12"]);
        node.push(MASTER, StreamId::new(6, 1), &[b"g", b"w", b"f", b"x"]);
        node
    }

    fn show(entries: impl Iterator<Item = Entry<'static>>) -> Vec<String> {
        entries.map(|entry| show_entry(&entry)).collect()
    }

    fn show_entry(entry: &Entry<'_>) -> String {
        let pairs: Vec<String> = entry
            .pairs()
            .map(|(name, value)| {
                alloc::format!("{}={}", name.to_vec().escape_ascii(), value.to_vec().escape_ascii())
            })
            .collect();
        let mark = if entry.is_deleted() { "!" } else { "" };
        alloc::format!("{mark}{} {}", entry.id, pairs.join(" "))
    }

    #[test]
    fn bytes_are_those_of_redis() {
        let mut node = Node::new(&[b"f", b"v"]);
        let id = StreamId::new(1, 1);
        node.push(id, id, &[b"f", b"v"]);
        let expected =
            b"\x1d\0\0\0\x0a\0\x01\x01\0\x01\x01\x01\x81f\x02\0\x01\x02\x01\0\x01\0\x01\x81v\x02\x04\x01\xff";
        assert_eq!(node.as_bytes(), expected);
    }

    #[test]
    fn entries_are_read_from_both_ends() {
        let node: &'static Node = alloc::boxed::Box::leak(alloc::boxed::Box::new(sample()));
        let mut expected = ["5-3 f=v", "6-0 f=12", "6-1 g=w f=x"];
        assert_eq!(show(node.walk(MASTER)), expected);
        expected.reverse();
        assert_eq!(show(node.walk_back(MASTER)), expected);
    }

    #[test]
    fn the_deleted_are_marked_once() {
        let mut node = sample();
        assert!(node.delete(MASTER, StreamId::new(6, 0)));
        assert!(!node.delete(MASTER, StreamId::new(6, 0)));
        assert!(!node.delete(MASTER, StreamId::new(5, 9)));
        assert_eq!(node.counts(), Counts { live: 2, deleted: 1 });
        let marked: Vec<bool> = node.walk(MASTER).map(|entry| entry.is_deleted()).collect();
        assert_eq!(marked, [false, true, false]);
    }

    #[test]
    fn what_is_no_node_is_refused() {
        let accepts = |node: &Node, master| Node::from_bytes_checked(node.as_bytes(), master).is_ok();
        assert!(accepts(&sample(), MASTER));
        assert!(!accepts(&sample(), StreamId::new(u64::MAX, 3)), "the second id would wrap around");
        assert!(!accepts(&Node::new(&[b"f", b"v"]), MASTER), "no entries");
        let mut dead = sample();
        dead.delete_while(MASTER, |_| Verdict::Delete);
        assert!(!accepts(&dead, MASTER), "no live entries");
        // Any one element changed to another number breaks a count, an order or a flag, or is a value or name.
        let free = [3, 7, 8, 13, 16, 17, 19, 20, 21, 22];
        let len = sample().pack.len();
        for index in (0..len).filter(|index| !free.contains(index)) {
            let mut node = sample();
            let at = node.pack.seek(index as i64).unwrap();
            node.pack.replace(at, Item::Int(-77));
            assert!(!accepts(&node, MASTER), "element {index}");
        }
        for cut in 1..len {
            let mut node = sample();
            node.pack.remove_range(-(cut as i64), cut);
            assert!(!accepts(&node, MASTER), "{cut} elements cut off");
        }
    }
}
