//! A stream against its naive twin: a sorted map of entries and plain rules.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::store::Limits;

/// What may be done to entries.
#[derive(Clone, Debug)]
enum Step {
    Push { ms_ahead: u64, pairs: Vec<Vec<u8>> },
    Delete { which: usize },
    Trim { threshold: Threshold, effort: Effort },
    Reload,
}

fn any_pairs() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let text = prop_oneof![
        Just(b"f".to_vec()),
        Just(b"g".to_vec()),
        Just(b"12".to_vec()),
        Just(b"-5000".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(text, 1..4).prop_map(|mut texts| {
        if texts.len() % 2 == 1 {
            texts.push(b"last".to_vec());
        }
        texts
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let effort = prop_oneof![Just(Effort::Exact), (0u64..12).prop_map(|limit| Effort::WholeNodes { limit })];
    let threshold = prop_oneof![
        (0u64..30).prop_map(Threshold::MaxLen),
        (0u64..90, 0u64..3).prop_map(|(ms, seq)| Threshold::MinId(StreamId { ms, seq })),
    ];
    prop_oneof![
        6 => (0u64..3, any_pairs()).prop_map(|(ms_ahead, pairs)| Step::Push { ms_ahead, pairs }),
        2 => any::<usize>().prop_map(|which| Step::Delete { which }),
        1 => (threshold, effort).prop_map(|(threshold, effort)| Step::Trim { threshold, effort }),
        1 => Just(Step::Reload),
    ]
}

type Model = BTreeMap<StreamId, Vec<Vec<u8>>>;

fn read(entry: &Entry<'_>) -> (StreamId, Vec<Vec<u8>>) {
    let pairs: Vec<Vec<u8>> =
        entry.pairs().flat_map(|(name, value)| [name.to_vec(), value.to_vec()]).collect();
    assert_eq!(pairs.len(), entry.len() * 2);
    (entry.id, pairs)
}

fn collect(entries: &Entries, start: StreamId, end: StreamId) -> Vec<(StreamId, Vec<Vec<u8>>)> {
    let mut found = Vec::new();
    entries.visit(start, end, |entry| {
        found.push(read(entry));
        ControlFlow::Continue(())
    });
    let mut found_back = Vec::new();
    entries.visit_back(start, end, |entry| {
        found_back.push(read(entry));
        ControlFlow::Continue(())
    });
    found_back.reverse();
    assert_eq!(found, found_back, "both directions agree");
    found
}

fn apply(entries: &mut Entries, model: &mut Model, step: Step, limits: &Limits) {
    match step {
        Step::Push { ms_ahead, pairs } => {
            let last = entries.last_id;
            let id = StreamId { ms: last.ms + ms_ahead, seq: if ms_ahead == 0 { last.seq + 1 } else { 0 } };
            let borrowed: Vec<&[u8]> = pairs.iter().map(Vec::as_slice).collect();
            entries.push(id, &borrowed, limits);
            model.insert(id, pairs);
        }
        Step::Delete { which } => {
            let ids: Vec<StreamId> = model.keys().copied().collect();
            let id = ids.get(which % (ids.len() + 1)).copied().unwrap_or(StreamId::new(3, 7));
            assert_eq!(entries.delete(id), model.remove(&id).is_some());
        }
        Step::Trim { threshold, effort } => trim(entries, model, threshold, effort),
        Step::Reload => *entries = reload(entries),
    }
}

fn trim(entries: &mut Entries, model: &mut Model, threshold: Threshold, effort: Effort) {
    let doomed: Vec<StreamId> = match threshold {
        Threshold::MaxLen(len) => model.keys().rev().skip(len as usize).copied().collect(),
        Threshold::MinId(id) => model.range(..id).map(|(&id, _)| id).collect(),
    };
    let removed = entries.trim(threshold, effort);
    match effort {
        Effort::Exact => assert_eq!(removed, doomed.len() as u64),
        Effort::WholeNodes { limit } => {
            assert!(removed <= doomed.len() as u64);
            assert!(limit == 0 || removed <= limit);
        }
    }
    for _ in 0..removed {
        model.pop_first();
    }
}

fn reload(entries: &Entries) -> Entries {
    let mut loaded = Entries::default();
    for (master, bytes) in entries.nodes() {
        loaded.push_node(master, &bytes).expect("own nodes are sound");
    }
    assert_eq!(loaded.first_id(), entries.first_id());
    loaded.last_id = entries.last_id;
    loaded.max_deleted_id = entries.max_deleted_id;
    loaded.added = entries.added;
    loaded
}

proptest! {
    #[test]
    fn entries_are_those_of_a_sorted_map(
        steps in prop::collection::vec(any_step(), 1..120),
        bounds in prop::collection::vec((0u64..80, 0u64..4), 2),
        entries_max in 0usize..9,
        bytes_max in prop_oneof![Just(0usize), 20usize..400],
    ) {
        let limits = Limits { stream_node_entries_max: entries_max, stream_node_bytes_max: bytes_max, ..Limits::default() };
        let (mut entries, mut model) = (Entries::default(), Model::new());
        for step in steps {
            apply(&mut entries, &mut model, step, &limits);
            prop_assert_eq!(entries.len(), model.len() as u64);
            prop_assert_eq!(entries.first_id(), model.keys().next().copied().unwrap_or_default());
            prop_assert_eq!(entries.last(), model.keys().next_back().copied());
        }
        prop_assert_eq!(entries.memory(), entries.counted_memory());
        let all: Vec<_> = model.iter().map(|(&id, pairs)| (id, pairs.clone())).collect();
        prop_assert_eq!(collect(&entries, StreamId::MIN, StreamId::MAX), all);
        let [start, end] = [0, 1].map(|index: usize| StreamId::new(bounds[index].0, bounds[index].1));
        let within = model.iter().filter(|&(&id, _)| start <= id && id <= end);
        let within: Vec<_> = within.map(|(&id, pairs)| (id, pairs.clone())).collect();
        prop_assert_eq!(collect(&entries, start, end), within);
    }

    #[test]
    fn every_pending_entry_has_one_owner(
        steps in prop::collection::vec((0u8..5, 0u8..4, 0u64..8), 1..80),
    ) {
        let mut stream = Stream::default();
        stream.add_group(b"g", Group::default());
        let mut model: BTreeMap<StreamId, u8> = BTreeMap::new();
        let mut names: BTreeSet<u8> = BTreeSet::new();
        for (what, name, seq) in steps {
            let id = StreamId::new(1, seq);
            stream.edit_group(b"g", |_, group| match what {
                0 => {
                    assert_eq!(group.delete_consumer(&[name]), names.remove(&name).then(|| {
                        let before = model.len();
                        model.retain(|_, owner| *owner != name);
                        before - model.len()
                    }));
                }
                1 => assert_eq!(group.release(id).is_some(), model.remove(&id).is_some()),
                _ => {
                    group.add_consumer(&[name], 0, None);
                    let owner = group.find_consumer(&[name]).expect("just made");
                    group.assign(id, Pending { owner, delivered_ms: 0, deliveries: 1 });
                    names.insert(name);
                    model.insert(id, name);
                }
            });
            let group = stream.group(b"g").expect("it stays");
            let owners: Vec<_> = group.pending().iter().map(|(&id, pending)| (id, group.consumer(pending.owner).name()[0])).collect();
            prop_assert_eq!(owners, model.iter().map(|(&id, &name)| (id, name)).collect::<Vec<_>>());
            let lists: BTreeMap<StreamId, u8> = group
                .consumers()
                .flat_map(|consumer| consumer.pending().iter().map(|&id| (id, consumer.name()[0])))
                .collect();
            prop_assert_eq!(&lists, &model);
        }
        let names: Vec<Vec<u8>> = names.into_iter().map(|name| alloc::vec![name]).collect();
        stream.edit_group(b"g", |_, group| names.iter().for_each(|name| { group.delete_consumer(name); }));
        prop_assert_eq!(stream.group(b"g").map(Group::memory), Some(0));
        prop_assert!(stream.remove_group(b"g"));
        prop_assert_eq!(stream.group_bytes, 0);
    }
}

#[test]
fn nodes_out_of_order_are_refused() {
    let limits = Limits::default();
    let mut entries = Entries::default();
    entries.push(StreamId::new(5, 0), &[b"f", b"v"], &limits);
    entries.push(StreamId::new(7, 0), &[b"f", b"v"], &limits);
    let node = entries.nodes().next().expect("one node").1.to_vec();
    for (master, is_accepted) in [(5, false), (6, false), (7, false), (8, true)] {
        let mut loaded = reload(&entries);
        assert_eq!(loaded.push_node(StreamId::new(master, 0), &node).is_ok(), is_accepted, "{master}");
    }
}

/// Ids and a number of nodes of a radix tree.
type RadixRow<'a> = (&'a [(u64, u64)], usize);

#[test]
fn the_radix_tree_is_counted_as_redis_builds_it() {
    // As XINFO STREAM of redis-server 7.0.15 tells with stream-node-max-entries 1.
    let table: &[RadixRow<'_>] = &[
        (&[], 1),
        (&[(1, 1)], 2),
        (&[(1, 1), (1, 2)], 4),
        (&[(1, 1), (2, 1)], 6),
        (&[(1, 1), (1, 2), (1, 300)], 7),
        (&[(1, 1), (1, 256), (1, 65536), (2, 0), (1 << 56, 0)], 16),
        (&[(1, 255), (1, 256), (2, 255), (2, 256), (3, 0), (3, 1), (3, 2)], 19),
        (&[(1, 1), (1, 2), (1, 3), (300, 7), (301, 7), (302, 9), (65536, 1), (65537, 1)], 21),
    ];
    let limits = Limits { stream_node_entries_max: 1, ..Limits::default() };
    for (ids, expected) in table {
        let mut entries = Entries::default();
        for &(ms, seq) in *ids {
            entries.push(StreamId { ms, seq }, &[b"f", b"v"], &limits);
        }
        assert_eq!(entries.radix_node_count(), *expected, "{ids:?}");
    }
}
