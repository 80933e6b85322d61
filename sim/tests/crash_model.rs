//! The crash model judged by itself: what each file system may lose, and what none may.
//!
//! Exists because every verdict about the engine rests on these images: one that is too kind hides bugs, one that is
//! impossible cries wolf.

use std::collections::BTreeSet;

use bytes::Bytes;
use perdura_core::host::{Disk, EIO, ENOENT, ENOSPC, FileId, FileStep};
use perdura_sim::{
    Fault, FaultKind, Happening, Moment, Operation, ProcessId, Profile, SimDisk, SimRng, Sometimes,
};

const F: FileId = FileId(1);
const SEEDS: u64 = 400;

fn disk(profile: Profile) -> (SimDisk, ProcessId) {
    let mut disk = SimDisk::new(profile, 1);
    let process = disk.spawn();
    (disk, process)
}

fn perform(disk: &mut SimDisk, process: ProcessId, steps: &[FileStep]) {
    for step in steps {
        disk.handle(process).perform(step).unwrap_or_else(|error| panic!("{step:?}: {error:?}"));
    }
}

fn create(path: &str) -> FileStep {
    FileStep::CreateExclusive { file: F, path: path.into() }
}

fn append(bytes: &[u8]) -> FileStep {
    FileStep::Append { file: F, bytes: Bytes::copy_from_slice(bytes) }
}

fn rename(from: &str, to: &str) -> FileStep {
    FileStep::Rename { from: from.into(), to: to.into() }
}

fn sync_dir(path: &str) -> FileStep {
    FileStep::SyncDir { path: path.into() }
}

const SYNC: FileStep = FileStep::Sync { file: F };
const CLOSE: FileStep = FileStep::Close { file: F };

/// Everything that may be in `path` after a power loss; `None` where the name is gone.
fn outcomes(disk: &SimDisk, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    let drawn = (0..SEEDS).map(|seed| disk.draw_image(&mut SimRng::new(seed)));
    let (listed, _) = disk.images(500);
    drawn
        .chain(listed)
        .map(|image| {
            disk.check_image(&image).expect("a legal image");
            let mut after = disk.clone();
            after.lose_power_to(&image);
            after.peek(path).map(<[u8]>::to_vec)
        })
        .collect()
}

fn with_durable_file(profile: Profile, bytes: &[u8]) -> (SimDisk, ProcessId) {
    let (mut disk, process) = disk(profile);
    perform(&mut disk, process, &[create("f"), append(bytes), SYNC, sync_dir("")]);
    (disk, process)
}

#[test]
fn synced_data_under_a_synced_name_survives_on_every_honest_file_system() {
    for profile in Profile::HONEST {
        let (disk, _) = with_durable_file(profile, b"kept");
        assert_eq!(outcomes(&disk, "f"), BTreeSet::from([Some(b"kept".to_vec())]), "{profile:?}");
        assert_eq!(disk.durable_len("f"), Some(4));
    }
}

#[test]
fn lying_disk_loses_what_it_said_was_synced() {
    let (disk, _) = with_durable_file(Profile::LyingDisk, b"kept");
    assert!(outcomes(&disk, "f").contains(&None));
    assert_eq!(disk.durable_len("f"), None);
}

#[test]
fn synced_data_under_an_unsynced_name_may_be_lost_only_where_a_sync_leaves_names_alone() {
    for (profile, is_lost) in
        [(Profile::Strict, true), (Profile::Ext4Ordered, false), (Profile::Btrfs, false)]
    {
        let (mut disk, process) = disk(profile);
        perform(&mut disk, process, &[create("f"), append(b"kept"), SYNC]);
        assert_eq!(outcomes(&disk, "f").contains(&None), is_lost, "{profile:?}");
    }
}

#[test]
fn unsynced_append_is_a_prefix_on_ext4() {
    let (mut disk, process) = with_durable_file(Profile::Ext4Ordered, b"old");
    perform(&mut disk, process, &[append(&[b'x'; 9000])]);
    let outcomes = outcomes(&disk, "f");
    assert!(outcomes.len() > 10, "cuts at {} places only", outcomes.len());
    for bytes in outcomes.into_iter().flatten() {
        let text = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        assert!(bytes[..3] == *b"old" && bytes[3..text].iter().all(|byte| *byte == b'x'));
        assert!(bytes.len() == text || bytes.len() % 4096 == 0, "zeroes end with the block");
    }
}

#[test]
fn unsynced_append_may_vanish_tear_or_leave_zeroes_when_strict() {
    let (mut disk, process) = with_durable_file(Profile::Strict, b"old");
    perform(&mut disk, process, &[append(&[b'x'; 3000])]);
    let outcomes: Vec<Vec<u8>> = outcomes(&disk, "f").into_iter().flatten().collect();
    let has = |what: &dyn Fn(&[u8]) -> bool| outcomes.iter().any(|bytes| what(bytes));
    assert!(has(&|bytes| bytes == b"old"), "vanishes");
    assert!(
        has(&|bytes| bytes.len() == 3003 && bytes[3..].iter().all(|byte| *byte == 0)),
        "length without data"
    );
    assert!(
        has(&|bytes| bytes.len() == 3003 && bytes[600] == 0 && bytes[3000] == b'x'),
        "later sector first"
    );
    assert!(has(&|bytes| bytes.len() == 3003 && bytes[600] != 0 && bytes[600] != b'x'), "garbage");
    assert!(outcomes.iter().all(|bytes| bytes[..3] == *b"old"), "what was durable stays");
}

#[test]
fn length_may_be_ahead_of_data_on_xfs() {
    let (mut disk, process) = with_durable_file(Profile::Xfs, b"old");
    perform(&mut disk, process, &[append(&[b'x'; 100]), append(&[b'y'; 100])]);
    let zeroes_after_old = [b"old".as_slice(), &[0; 200]].concat();
    assert!(outcomes(&disk, "f").contains(&Some(zeroes_after_old)));
}

#[test]
fn rename_without_directory_sync_may_revert() {
    for profile in Profile::HONEST {
        let (mut disk, process) = with_durable_file(profile, b"old");
        perform(&mut disk, process, &[CLOSE, create("tmp"), append(b"new"), SYNC, rename("tmp", "f")]);
        let before = outcomes(&disk, "f");
        assert!(
            before.contains(&Some(b"old".to_vec())) && before.contains(&Some(b"new".to_vec())),
            "{profile:?}"
        );
        perform(&mut disk, process, &[sync_dir("")]);
        assert_eq!(outcomes(&disk, "f"), BTreeSet::from([Some(b"new".to_vec())]), "{profile:?}");
    }
}

#[test]
fn rename_of_an_unsynced_file_may_leave_it_empty_except_on_ext4() {
    for (profile, is_empty) in [(Profile::Strict, true), (Profile::Xfs, true), (Profile::Ext4Ordered, false)]
    {
        let (mut disk, process) = with_durable_file(profile, b"old");
        perform(&mut disk, process, &[CLOSE, create("tmp"), append(b"new"), rename("tmp", "f")]);
        assert_eq!(outcomes(&disk, "f").contains(&Some(Vec::new())), is_empty, "{profile:?}");
    }
}

#[test]
fn rename_between_directories_needs_both_synced() {
    let (mut disk, process) = disk(Profile::Strict);
    let dir = FileStep::CreateDir { path: "d".into() };
    perform(&mut disk, process, &[dir, create("f"), append(b"1"), SYNC, sync_dir(""), rename("f", "d/f")]);
    perform(&mut disk, process, &[sync_dir("d")]);
    assert!(outcomes(&disk, "d/f").contains(&None));
    perform(&mut disk, process, &[sync_dir("")]);
    assert_eq!(outcomes(&disk, "d/f"), BTreeSet::from([Some(b"1".to_vec())]));
    assert_eq!(outcomes(&disk, "f"), BTreeSet::from([None]));
}

#[test]
fn later_name_overtakes_earlier_one_only_when_strict_or_btrfs() {
    for (profile, overtakes) in
        [(Profile::Strict, true), (Profile::Btrfs, true), (Profile::Ext4Ordered, false)]
    {
        let (mut disk, process) = disk(profile);
        perform(&mut disk, process, &[create("a"), CLOSE, rename("a", "b"), create("c"), append(b"c"), SYNC]);
        let is_overtaken = (0..SEEDS).any(|seed| {
            let mut after = disk.clone();
            after.lose_power(&mut SimRng::new(seed));
            after.peek("b").is_none() && after.peek("c").is_some()
        });
        assert_eq!(is_overtaken, overtakes, "{profile:?}");
    }
}

#[test]
fn removed_name_may_return_until_the_directory_is_synced() {
    let (mut disk, process) = with_durable_file(Profile::Strict, b"old");
    perform(&mut disk, process, &[CLOSE, FileStep::Remove { path: "f".into() }]);
    assert_eq!(outcomes(&disk, "f"), BTreeSet::from([None, Some(b"old".to_vec())]));
    perform(&mut disk, process, &[sync_dir("")]);
    assert_eq!(outcomes(&disk, "f"), BTreeSet::from([None]));
}

#[test]
fn truncate_is_durable_when_it_returns() {
    for profile in Profile::HONEST {
        let (mut disk, process) = with_durable_file(profile, b"0123456789");
        perform(&mut disk, process, &[CLOSE, FileStep::Truncate { path: "f".into(), len: 4 }]);
        assert_eq!(outcomes(&disk, "f"), BTreeSet::from([Some(b"0123".to_vec())]), "{profile:?}");
    }
}

#[test]
fn appends_during_a_sync_are_not_covered_by_it() {
    let (mut disk, process) = with_durable_file(Profile::Strict, b"");
    perform(&mut disk, process, &[append(b"early")]);
    let started = disk.sync_begin(process, F).expect("open");
    perform(&mut disk, process, &[append(b"late")]);
    disk.sync_end(&started).expect("no fault");
    assert_eq!(disk.durable_len("f"), Some(5));
    assert!(outcomes(&disk, "f").contains(&Some(b"early".to_vec())));
}

fn fail(operation: Operation, kind: FaultKind) -> Fault {
    Fault { operation, path: String::new(), skip: 0, kind }
}

#[test]
fn failed_sync_drops_pages_once_and_says_so_once() {
    let (mut disk, process) = with_durable_file(Profile::Strict, b"old");
    perform(&mut disk, process, &[append(&[b'x'; 5000])]);
    disk.add_fault(fail(Operation::Fdatasync, FaultKind::Errno(EIO)));
    let error = disk.handle(process).perform(&SYNC).expect_err("planned");
    assert_eq!((error.operation, error.errno), ("fdatasync", EIO));
    assert_eq!(disk.peek("f").map(<[u8]>::len), Some(5003), "reads still see what is not on the platter");
    perform(&mut disk, process, &[SYNC]);
    // Whatever the first sync wrote is all there will ever be: the second one had nothing to write.
    let on_platter = outcomes(&disk, "f");
    assert_eq!(on_platter.len(), 1);
    disk.evict_cache();
    assert_eq!(disk.peek("f").map(<[u8]>::to_vec), on_platter.into_iter().next().flatten());
}

#[test]
fn failed_sync_reverts_on_btrfs() {
    let (mut disk, process) = with_durable_file(Profile::Btrfs, b"old");
    perform(&mut disk, process, &[append(b"new")]);
    disk.add_fault(fail(Operation::Fdatasync, FaultKind::Errno(EIO)));
    disk.handle(process).perform(&SYNC).expect_err("planned");
    assert_eq!(disk.peek("f"), Some(b"old".as_slice()));
}

#[test]
fn each_description_hears_of_a_lost_page_once() {
    let (mut disk, parent) = with_durable_file(Profile::Strict, b"");
    disk.add_fault(fail(Operation::Write, FaultKind::Writeback));
    perform(&mut disk, parent, &[append(b"lost")]);
    let child = disk.fork(parent);
    disk.handle(child).perform(&SYNC).expect_err("the child takes the error");
    disk.handle(parent).perform(&SYNC).expect("and the parent, sharing the description, never hears");
    let other = FileStep::OpenAppend { file: FileId(2), path: "f".into() };
    perform(&mut disk, parent, &[other, FileStep::Sync { file: FileId(2) }]);
}

#[test]
fn unseen_error_is_told_to_the_next_opener() {
    let (mut disk, process) = with_durable_file(Profile::Strict, b"");
    disk.add_fault(fail(Operation::Write, FaultKind::Writeback));
    perform(
        &mut disk,
        process,
        &[append(b"lost"), CLOSE, FileStep::OpenAppend { file: F, path: "f".into() }],
    );
    assert_eq!(disk.handle(process).perform(&SYNC).expect_err("unseen").errno, EIO);
    perform(&mut disk, process, &[SYNC]);
}

#[test]
fn short_and_interrupted_writes_are_completed() {
    let (mut disk, process) = with_durable_file(Profile::Strict, b"");
    disk.add_fault(fail(Operation::Write, FaultKind::Short(2)));
    disk.add_fault(fail(Operation::Write, FaultKind::Interrupted));
    let operations = disk.operation_next();
    perform(&mut disk, process, &[append(b"whole")]);
    assert_eq!(disk.peek("f"), Some(b"whole".as_slice()));
    assert_eq!(disk.operation_next() - operations, 3);
}

#[test]
fn full_disk_takes_what_fits_and_recovers() {
    let (mut disk, process) = with_durable_file(Profile::Strict, b"1234");
    disk.set_capacity(Some(6));
    let (written, error) = disk.append(process, F, &Bytes::from_static(b"abcd"));
    assert_eq!((written, error.map(|error| error.errno)), (2, Some(ENOSPC)));
    disk.set_capacity(Some(8));
    assert_eq!(disk.append(process, F, &Bytes::from_static(b"cd")), (2, None));
    assert_eq!(disk.peek("f"), Some(b"1234abcd".as_slice()));
}

#[test]
fn dead_process_changes_nothing() {
    let (mut disk, process) = with_durable_file(Profile::Strict, b"old");
    disk.kill(process);
    disk.handle(process).perform(&append(b"new")).expect_err("dead");
    disk.handle(process).perform(&FileStep::Remove { path: "f".into() }).expect_err("dead");
    assert_eq!(disk.peek("f"), Some(b"old".as_slice()), "the page cache outlives the process");
}

#[test]
fn crash_point_stops_before_inside_or_after() {
    for (moment, len) in [(Moment::Before, 0), (Moment::Within, 4096), (Moment::After, 5000)] {
        let (mut disk, process) = with_durable_file(Profile::Strict, b"");
        disk.arm(disk.operation_next(), moment);
        disk.handle(process).perform(&append(&[1; 5000])).expect_err("crashed");
        assert!(disk.has_tripped());
        disk.handle(process).perform(&append(b"more")).expect_err("crashed");
        assert_eq!(disk.peek("f").map(<[u8]>::len), Some(len), "{moment:?}");
    }
}

#[test]
fn lost_and_misdirected_writes_succeed_and_show_after_the_crash() {
    for kind in [FaultKind::Lost, FaultKind::Misdirected(2)] {
        let (mut disk, process) = with_durable_file(Profile::Strict, b"old");
        disk.add_fault(fail(Operation::Write, kind));
        perform(&mut disk, process, &[append(b"new"), SYNC]);
        assert_eq!(disk.peek("f"), Some(b"oldnew".as_slice()));
        let expected = if kind == FaultKind::Lost { b"old\0\0\0" } else { b"onew\0\0" };
        assert_eq!(outcomes(&disk, "f"), BTreeSet::from([Some(expected.to_vec())]));
    }
}

#[test]
fn process_works_in_the_directory_it_went_to() {
    let (mut disk, process) = disk(Profile::Strict);
    perform(&mut disk, process, &[FileStep::CreateDir { path: "a".into() }]);
    assert_eq!(disk.change_dir(process, "b"), Err(ENOENT));
    disk.change_dir(process, "a").expect("exists");
    perform(&mut disk, process, &[create("f")]);
    assert_eq!(disk.files().into_keys().collect::<Vec<_>>(), ["a/f"]);
    assert_eq!(disk.handle(process).list("/").expect("root").len(), 1);
}

/// Steps of every kind over few names, so that they meet.
fn random_step(rng: &mut SimRng, open: &mut BTreeSet<u32>) -> FileStep {
    let names = ["a", "b", "d/a", "d/b"];
    let name = |rng: &mut SimRng| names[rng.index(names.len())].to_string();
    let free = (0..).find(|file| !open.contains(file)).expect("endless");
    let held = FileId(open.iter().copied().nth(rng.index(open.len().max(1))).unwrap_or(99));
    match rng.below(16) {
        0 => FileStep::CreateExclusive { file: FileId(free), path: name(rng) },
        1 => FileStep::CreateTemp { file: FileId(free), path: name(rng) },
        2 => FileStep::OpenAppend { file: FileId(free), path: name(rng) },
        3 => FileStep::Close { file: held },
        4 | 5 => FileStep::Rename { from: name(rng), to: name(rng) },
        6 => FileStep::Link { from: name(rng), to: name(rng) },
        7 => FileStep::Remove { path: name(rng) },
        8 => FileStep::Truncate { path: name(rng), len: rng.below(2_000) },
        9 => FileStep::SyncPath { path: name(rng) },
        10 => FileStep::SyncDir { path: ["", "d"][rng.index(2)].into() },
        11 => FileStep::Sync { file: held },
        _ => {
            let len = if rng.chance(700) { rng.below(700) } else { rng.below(9_000) } as usize;
            FileStep::Append { file: held, bytes: vec![b'a' + rng.below(26) as u8; len].into() }
        }
    }
}

fn random_steps(disk: &mut SimDisk, process: ProcessId, count: u64, rng: &mut SimRng) {
    let mut open = BTreeSet::new();
    for _ in 0..count {
        let step = random_step(rng, &mut open);
        if disk.handle(process).perform(&step).is_ok() {
            match step {
                FileStep::CreateExclusive { file, .. }
                | FileStep::CreateTemp { file, .. }
                | FileStep::OpenAppend { file, .. } => drop(open.insert(file.0)),
                FileStep::Close { file } => drop(open.remove(&file.0)),
                _ => {}
            }
        }
    }
}

/// What could go wrong: the generator makes a state no file system leaves, or one that lacks what was certain.
/// How this would notice: `check_image` shares no code with it, and `durable_len` is asked before and looked at after.
#[test]
fn every_image_is_legal_and_keeps_what_was_certain() {
    let mut sometimes = Sometimes::default();
    for seed in 0..250 {
        let mut rng = SimRng::new(seed);
        let profile = Profile::HONEST[rng.index(4)];
        let mut disk = SimDisk::new(profile, seed);
        for _round in 0..3 {
            let process = disk.spawn();
            let _ = disk.handle(process).perform(&FileStep::CreateDir { path: "d".into() });
            if rng.chance(300) {
                let skip = rng.below(10) as u32;
                disk.add_fault(Fault { skip, ..fail(Operation::Fdatasync, FaultKind::Errno(EIO)) });
            }
            random_steps(&mut disk, process, 40, &mut rng);
            check_images(&disk, &mut rng, seed);
            disk.lose_power(&mut rng);
        }
        sometimes.add(disk.sometimes());
    }
    use Happening::*;
    for happening in [
        TornSector,
        SectorsReordered,
        ZeroTail,
        GarbageTail,
        LenAheadOfData,
        NameLost,
        RenameLost,
        NamesReordered,
        RemovedNameReturned,
        SyncFailedClean,
        SyncFailedReverted,
        PowerLost,
        ErrorByPlan,
    ] {
        assert!(sometimes.count(happening) > 0, "{happening:?} never happened");
    }
}

fn check_images(disk: &SimDisk, rng: &mut SimRng, seed: u64) {
    let certain: Vec<(String, Vec<u8>)> = disk
        .files()
        .into_keys()
        .filter_map(|path| {
            let len = disk.durable_len(&path)? as usize;
            let bytes = disk.peek(&path)?[..len].to_vec();
            Some((path, bytes))
        })
        .collect();
    let (listed, _) = disk.images(40);
    for image in (0..20).map(|_| disk.draw_image(rng)).chain(listed) {
        disk.check_image(&image).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let mut after = disk.clone();
        after.lose_power_to(&image);
        for (path, bytes) in &certain {
            let found = after.peek(path).unwrap_or_else(|| panic!("seed {seed}: {path} is gone"));
            assert!(found.starts_with(bytes), "seed {seed}: {path} lost what was durable");
        }
    }
}

#[test]
fn judge_of_images_refuses_impossible_ones() {
    let (mut disk, process) = with_durable_file(Profile::Strict, &[b'o'; 1_000]);
    perform(&mut disk, process, &[append(&[b'n'; 1_000]), CLOSE, create("g"), CLOSE, rename("g", "h")]);
    let mut rng = SimRng::new(1);
    let legal = disk.draw_image(&mut rng);
    let ino = *legal.contents.keys().next().expect("f has changes");
    let with = |bytes: Vec<u8>| {
        let mut image = legal.clone();
        image.contents.insert(ino, bytes);
        disk.check_image(&image)
    };
    assert_eq!(with(vec![b'o'; 1_000]), Ok(()));
    with(vec![b'o'; 999]).expect_err("shorter than what was durable");
    with([vec![b'?'; 512], vec![b'o'; 488]].concat()).expect_err("a durable sector changed");
    with([vec![b'o'; 1_000], vec![b'n'; 500]].concat()).expect_err("a length it never had");
    let mut image = legal.clone();
    image.names_kept = vec![false, true];
    disk.check_image(&image).expect_err("renamed what was not created");
}

#[test]
fn all_images_are_listed_when_there_are_few() {
    let (mut disk, process) = with_durable_file(Profile::Strict, b"");
    perform(&mut disk, process, &[CLOSE, create("a"), CLOSE, create("b"), CLOSE]);
    let (images, is_whole) = disk.images(100);
    assert_eq!((images.len(), is_whole), (4, true), "each of two names is there or not");
    let (images, is_whole) = disk.images(3);
    assert_eq!((images.len(), is_whole), (3, false));
}

#[test]
fn same_seed_same_digest() {
    let run = |seed| {
        let (mut disk, process) = disk(Profile::Strict);
        let mut rng = SimRng::new(seed);
        random_steps(&mut disk, process, 60, &mut rng);
        disk.lose_power(&mut rng);
        disk.trace().digest()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
