//! What was removed and is still to be freed, in pieces that keep nobody waiting.
//!
//! Exists because freeing ten million keys, or one collection of as many elements, takes seconds. What is removed is gone
//! at once for everybody and no longer counted; its memory goes back bit by bit, between turns. Whether it was DEL or
//! UNLINK, FLUSHALL, an expiry or an eviction makes no difference, so `lazyfree-lazy-*` decide the words of the log only.
//!
//! Always true: what is small is never here: it is freed when it is removed. Nothing here is visible to a command.
//!
//! Not here: when a piece is freed (`node/mod.rs`: one in each turn).

use alloc::{
    boxed::Box,
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};

use perdura_structures::{dict, table};

use super::{
    hash::{FieldOrder, FieldValue, Hash},
    list::List,
    set::Set,
    stream::{Effort, Stream, Threshold},
    value::Object,
    zset::ZSet,
};

/// Objects from this size on are not freed at once: thousands of allocations, at worst.
const HEAVY_BYTES: usize = 16 * 1024;

/// Elements of a list, sorted set or stream that are removed in one step.
const ELEMENTS_PER_STEP: usize = 128;

/// Whether freeing an object takes so long that it is to be done in pieces. A string is one allocation, however long.
pub(super) fn is_heavy(object: &Object) -> bool {
    object.memory() >= HEAVY_BYTES && !matches!(object, Object::String(_))
}

/// Something that is being taken apart.
enum Heap {
    Keys(table::Remains<Object>),
    Expiries(BTreeSet<(u64, u64)>),
    Fields(dict::Remains<FieldValue>),
    FieldExpiries(FieldOrder),
    Members(dict::Remains<()>),
    List(List),
    ZSet(ZSet),
    Stream(Box<Stream>),
}

/// What waits to be freed.
#[derive(Default)]
pub struct Garbage {
    heaps: VecDeque<Heap>,
    /// Keys of emptied databases, and heavy objects, not yet through.
    pending: u64,
    /// How many are.
    freed: u64,
}

impl Clone for Garbage {
    /// A copy of the data has nothing to free.
    fn clone(&self) -> Garbage {
        Garbage { freed: self.freed, ..Garbage::default() }
    }
}

impl Garbage {
    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.heaps.is_empty()
    }

    /// Objects that wait (INFO's `lazyfree_pending_objects`).
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Objects freed here since the last `reset_freed` (INFO's `lazyfreed_objects`).
    pub fn freed(&self) -> u64 {
        self.freed
    }

    /// Begins the count anew.
    pub fn reset_freed(&mut self) {
        self.freed = 0;
    }

    /// Takes over an object.
    pub(super) fn discard(&mut self, object: Object) {
        self.pending += 1;
        self.take_apart(object);
    }

    /// Takes over all that a database held.
    pub(super) fn discard_table(&mut self, table: table::Table<Object>, expiries: [BTreeSet<(u64, u64)>; 2]) {
        if !table.is_empty() {
            self.pending += table.len() as u64;
            self.heaps.push_back(Heap::Keys(table.into_remains()));
        }
        self.heaps.extend(expiries.into_iter().filter(|expiries| !expiries.is_empty()).map(Heap::Expiries));
    }

    /// Frees about as many allocations as `budget` says; `false` when nothing is left.
    pub fn free_some(&mut self, budget: usize) -> bool {
        let mut steps = 0;
        while steps < budget
            && let Some(mut heap) = self.heaps.pop_front()
        {
            let is_left = loop {
                let count = self.step(&mut heap);
                steps += count;
                if count == 0 || steps >= budget {
                    break count > 0;
                }
            };
            if is_left {
                self.heaps.push_front(heap);
            } else if !matches!(heap, Heap::Keys(_) | Heap::Expiries(_) | Heap::FieldExpiries(_)) {
                self.pending -= 1;
                self.freed += 1;
            }
        }
        !self.is_empty()
    }

    fn take_apart(&mut self, object: Object) {
        match object {
            Object::List(list) => self.heaps.push_back(Heap::List(list)),
            Object::ZSet(zset) => self.heaps.push_back(Heap::ZSet(zset)),
            Object::Stream(stream) => self.heaps.push_back(Heap::Stream(stream)),
            Object::Set(Set::Table(members)) => self.heaps.push_back(Heap::Members(members.into_remains())),
            Object::Hash(Hash::Table(table)) => {
                let (fields, expiries) = table.into_parts();
                self.heaps.push_back(Heap::FieldExpiries(expiries));
                self.heaps.push_back(Heap::Fields(fields.into_remains()));
            }
            // One allocation each, however large.
            Object::String(_) | Object::Set(_) | Object::Hash(_) => {
                self.pending -= 1;
                self.freed += 1;
            }
        }
    }

    /// Frees a little of something; how many allocations, 0 if nothing was left of it.
    fn step(&mut self, heap: &mut Heap) -> usize {
        match heap {
            Heap::Keys(keys) => {
                let mut heavy = Vec::new();
                let count = keys.free_some(&mut |object| {
                    if object.memory() >= HEAVY_BYTES {
                        heavy.push(object)
                    }
                });
                // Each has been counted as a key already.
                self.pending -= (count - heavy.len()) as u64;
                self.freed += (count - heavy.len()) as u64;
                heavy.into_iter().for_each(|object| self.take_apart(object));
                count
            }
            Heap::Expiries(expiries) => pop_some(|| expiries.pop_first().is_some()),
            Heap::FieldExpiries(expiries) => pop_some(|| expiries.pop_first().is_some()),
            Heap::Fields(fields) => fields.free_some(),
            Heap::Members(members) => members.free_some(),
            Heap::List(list) => list.remove_range(0, ELEMENTS_PER_STEP),
            Heap::ZSet(zset) => zset.remove_range(0..ELEMENTS_PER_STEP.min(zset.len())),
            Heap::Stream(stream) => free_of_stream(stream),
        }
    }
}

/// Removes some of something, one by one; how many.
fn pop_some(mut pop: impl FnMut() -> bool) -> usize {
    (0..ELEMENTS_PER_STEP).take_while(|_| pop()).count()
}

fn free_of_stream(stream: &mut Stream) -> usize {
    let len = stream.entries.len();
    if len > 0 {
        let kept = len.saturating_sub(ELEMENTS_PER_STEP as u64);
        return stream.entries.trim(Threshold::MaxLen(kept), Effort::Exact) as usize;
    }
    let Some(name) = stream.groups().keys().next().cloned() else { return 0 };
    let released = stream.edit_group(&name, |_, group| {
        pop_some(|| {
            let first = group.pending().first_key_value().map(|(&entry, _)| entry);
            first.is_some_and(|entry| group.release(entry).is_some())
        })
    });
    if released == Some(0) {
        stream.remove_group(&name);
    }
    released.unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use crate::{commands::testing::Bench, store::Store};
    use alloc::format;

    /// Frees all in small pieces; how many there were.
    fn free_all(store: &mut Store) -> usize {
        let mut pieces = 1;
        while store.free_garbage(100) {
            pieces += 1;
            assert!(pieces < 10_000, "it comes to an end");
        }
        pieces
    }

    fn fill(bench: &mut Bench, command: &str, count: usize) {
        for number in 0..count {
            bench.run(&command.replace("%", &format!("{number:030}")));
        }
    }

    #[test]
    fn a_heavy_object_of_each_type_goes_bit_by_bit() {
        for (command, heaps) in
            [("RPUSH k %", 1), ("SADD k %", 1), ("HSET k % %", 1), ("ZADD k 1 %", 1), ("XADD k * % %", 1)]
        {
            let mut bench = Bench::new();
            fill(&mut bench, command, 4000);
            if command.starts_with("XADD") {
                bench.run("XGROUP CREATE k g 0");
                bench.run("XREADGROUP GROUP g c COUNT 1000 STREAMS k >");
            }
            assert_eq!(bench.run("DEL k"), ":1", "{command}");
            assert_eq!(bench.store.memory(), 0, "{command}: what waits is not counted");
            bench.store.collect_garbage();
            assert_eq!(bench.store.garbage().pending(), heaps, "{command}");
            assert!(free_all(&mut bench.store) >= 10, "{command}");
            let garbage = bench.store.garbage();
            assert_eq!(
                (garbage.pending(), garbage.freed(), garbage.is_empty()),
                (0, heaps, true),
                "{command}"
            );
        }
    }

    #[test]
    fn small_objects_and_strings_go_at_once() {
        let mut bench = Bench::new();
        fill(&mut bench, "SADD small %", 10);
        bench.run("SET long 1");
        bench.run("SETRANGE long 1000000 x");
        bench.run("DEL small long");
        assert!(bench.store.garbage().is_empty());
    }

    #[test]
    fn an_emptied_database_goes_bit_by_bit_with_all_it_held() {
        let mut bench = Bench::new();
        fill(&mut bench, "SET % v EX 100", 2000);
        fill(&mut bench, "HSET heavy % %", 4000);
        bench.run("HPEXPIRE heavy 5000 FIELDS 1 000000000000000000000000000001");
        bench.store.empty_db(0);
        assert_eq!((bench.store.len(), bench.store.memory()), (0, 0));
        assert_eq!(bench.store.garbage().pending(), 2001);
        assert!(free_all(&mut bench.store) >= 40);
        assert_eq!((bench.store.garbage().pending(), bench.store.garbage().freed()), (0, 2001));
        bench.run("SET k v");
        assert_eq!(bench.store.len(), 1);
    }

    #[test]
    fn what_is_overwritten_is_freed_like_what_is_deleted() {
        let mut bench = Bench::new();
        fill(&mut bench, "SADD k %", 4000);
        bench.run("SET k v");
        bench.store.collect_garbage();
        assert_eq!(bench.store.garbage().pending(), 1);
    }
}
