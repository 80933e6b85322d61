//! One contract, two disks: the simulated one without faults and a real directory answer alike.
//!
//! Exists because everything simulation proves rests on the simulated disk being like the real one. Lists of steps and
//! questions, over few names so that they meet, are put to both; every answer must be equal, errors included.
//!
//! Not here: what a crash leaves (`sim/tests/crash_model.rs`); no real disk can be asked that.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use perdura_core::host::{DirEntry, Disk, FileId, FileStep, IoError};
use perdura_linux::LinuxDisk;
use perdura_sim::{Profile, SimDisk};
use proptest::prelude::*;

/// A step or a question.
#[derive(Clone, Debug)]
enum Action {
    Step(FileStep),
    List(String),
    Read { path: String, offset: u64, len: usize },
    Len(String),
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Answer {
    Done(Result<(), IoError>),
    Listed(Result<Vec<(String, u64, bool)>, IoError>),
    Read(Result<Vec<u8>, IoError>),
    Len(Result<Option<u64>, IoError>),
}

/// Plain names, folders, names inside them, and paths that lead nowhere or through a file.
const PATHS: [&str; 8] = ["a", "b", "c", "d", "d/a", "d/b", "a/x", "no/a"];
const ACTIONS_MAX: usize = 40;

fn path() -> impl Strategy<Value = String> {
    prop::sample::select(PATHS.as_slice()).prop_map(String::from)
}

/// Numbers of actions: a handle is called by the number of the action that opened it, if one did.
fn handle() -> impl Strategy<Value = FileId> {
    (0..ACTIONS_MAX as u32).prop_map(FileId)
}

fn action() -> impl Strategy<Value = Action> {
    // Stands for "the number of this action" until the list is known.
    const FILE: FileId = FileId(u32::MAX);
    let step = prop_oneof![
        2 => path().prop_map(|path| FileStep::CreateDir { path }),
        4 => path().prop_map(|path| FileStep::CreateExclusive { file: FILE, path }),
        3 => path().prop_map(|path| FileStep::CreateTemp { file: FILE, path }),
        3 => path().prop_map(|path| FileStep::OpenAppend { file: FILE, path }),
        9 => (handle(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(file, bytes)| FileStep::Append { file, bytes: bytes.into() }),
        3 => handle().prop_map(|file| FileStep::Sync { file }),
        3 => handle().prop_map(|file| FileStep::Close { file }),
        4 => (path(), path()).prop_map(|(from, to)| FileStep::Rename { from, to }),
        3 => (path(), path()).prop_map(|(from, to)| FileStep::Link { from, to }),
        3 => path().prop_map(|path| FileStep::Remove { path }),
        3 => (path(), 0..60_u64).prop_map(|(path, len)| FileStep::Truncate { path, len }),
        2 => path().prop_map(|path| FileStep::SyncPath { path }),
        2 => prop_oneof![Just(String::new()), path()].prop_map(|path| FileStep::SyncDir { path }),
    ];
    prop_oneof![
        6 => step.prop_map(Action::Step),
        1 => prop_oneof![Just(String::new()), path()].prop_map(Action::List),
        1 => (path(), 0..50_u64, 0..50_usize).prop_map(|(path, offset, len)| Action::Read { path, offset, len }),
        1 => path().prop_map(Action::Len),
    ]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    prop::collection::vec(action(), 1..ACTIONS_MAX).prop_map(|mut actions| {
        for (index, action) in actions.iter_mut().enumerate() {
            if let Action::Step(
                FileStep::CreateExclusive { file, .. }
                | FileStep::CreateTemp { file, .. }
                | FileStep::OpenAppend { file, .. },
            ) = action
            {
                *file = FileId(index as u32);
            } else if let Action::Step(
                FileStep::Append { file, .. } | FileStep::Sync { file } | FileStep::Close { file },
            ) = action
            {
                // One that may have been opened before; by chance one that was not.
                *file = FileId(file.0 % (index as u32 + 1));
            }
        }
        actions
    })
}

fn answer(disk: &mut dyn Disk, action: &Action) -> Answer {
    match action {
        Action::Step(step) => Answer::Done(disk.perform(step)),
        Action::List(path) => Answer::Listed(disk.list(path).map(without_times)),
        Action::Len(path) => Answer::Len(disk.len(path)),
        Action::Read { path, offset, len } => {
            let mut bytes = vec![0; *len];
            Answer::Read(disk.read_at(path, *offset, &mut bytes).map(|count| {
                bytes.truncate(count);
                bytes
            }))
        }
    }
}

fn without_times(entries: Vec<DirEntry>) -> Vec<(String, u64, bool)> {
    entries.into_iter().map(|entry| (entry.name, entry.len, entry.is_file)).collect()
}

/// Everything there is, by path.
fn contents(disk: &mut dyn Disk) -> Vec<Answer> {
    let folders = ["", "a", "b", "c", "d"].map(|folder| Action::List(folder.into()));
    let files = PATHS.map(|path| Action::Read { path: path.into(), offset: 0, len: 4096 });
    folders.iter().chain(&files).map(|action| answer(disk, action)).collect()
}

/// A real directory of its own, gone when dropped.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> TempDir {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("host-contract-{}-{number}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&dir).expect("a directory for the test");
        TempDir(dir)
    }

    fn disk(&self) -> LinuxDisk {
        LinuxDisk::open(self.0.to_str().expect("a path in UTF-8")).expect("it was just made")
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn check(actions: &[Action]) -> Result<(), TestCaseError> {
    let dir = TempDir::new();
    let mut real = dir.disk();
    let mut disk = SimDisk::new(Profile::Strict, 0);
    let process = disk.spawn();
    let mut simulated = disk.handle(process);
    for (index, action) in actions.iter().enumerate() {
        let (real, simulated) = (answer(&mut real, action), answer(&mut simulated, action));
        prop_assert_eq!(real, simulated, "action {}: {:?}", index, action);
    }
    prop_assert_eq!(contents(&mut real), contents(&mut simulated));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn simulated_disk_and_real_directory_answer_alike(actions in actions()) {
        check(&actions)?;
    }
}

fn create(file: u32, path: &str) -> Action {
    Action::Step(FileStep::CreateExclusive { file: FileId(file), path: path.into() })
}

fn append(file: u32, bytes: &[u8]) -> Action {
    Action::Step(FileStep::Append { file: FileId(file), bytes: bytes.to_vec().into() })
}

fn rename(from: &str, to: &str) -> Action {
    Action::Step(FileStep::Rename { from: from.into(), to: to.into() })
}

fn link(from: &str, to: &str) -> Action {
    Action::Step(FileStep::Link { from: from.into(), to: to.into() })
}

#[test]
fn open_file_is_appended_to_under_whatever_name_it_has() {
    let remove = Action::Step(FileStep::Remove { path: "b".into() });
    check(&[create(0, "a"), append(0, b"1"), rename("a", "b"), append(0, b"2"), remove, append(0, b"3")])
        .expect("alike");
}

#[test]
fn rename_between_two_names_of_one_file_does_nothing() {
    check(&[create(0, "a"), append(0, b"1"), link("a", "b"), rename("a", "b"), append(0, b"2")])
        .expect("alike");
}

#[test]
fn file_emptied_while_open_is_appended_to_at_its_new_end() {
    let empty = Action::Step(FileStep::CreateTemp { file: FileId(1), path: "a".into() });
    check(&[create(0, "a"), append(0, b"12345"), empty, append(0, b"6"), append(1, b"7")]).expect("alike");
}
