//! The contract of `Disk` on a real directory: each step, each failure it names, each question.

mod toy;

use bytes::Bytes;
use perdura_core::host::*;
use perdura_linux::LinuxDisk;
use toy::TempDir;

struct Fixture {
    dir: TempDir,
    disk: LinuxDisk,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = TempDir::new();
        let disk = LinuxDisk::open(dir.path.to_str().unwrap()).unwrap();
        Fixture { dir, disk }
    }

    fn with_file(path: &str, contents: &str) -> Fixture {
        let fixture = Fixture::new();
        std::fs::write(fixture.dir.path.join(path), contents).unwrap();
        fixture
    }

    fn ok(&mut self, step: FileStep) {
        self.disk.perform(&step).unwrap_or_else(|error| panic!("{step:?}: {error:?}"));
    }

    fn fails(&mut self, step: FileStep, operation: &str, errno: i32) {
        let error = self.disk.perform(&step).expect_err("the step fails");
        assert_eq!((error.operation, error.errno), (operation, errno), "{step:?}");
    }

    fn contents(&self, path: &str) -> String {
        std::fs::read_to_string(self.dir.path.join(path)).unwrap()
    }

    fn names(&mut self, path: &str) -> Vec<String> {
        self.disk.list(path).unwrap().into_iter().map(|entry| entry.name).collect()
    }
}

const A: FileId = FileId(1);

fn append(text: &str) -> FileStep {
    FileStep::Append { file: A, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

fn path(path: &str) -> String {
    path.into()
}

#[test]
fn create_dir_makes_one_and_accepts_one_that_exists() {
    let mut fixture = Fixture::with_file("file", "");
    fixture.ok(FileStep::CreateDir { path: path("dir") });
    fixture.ok(FileStep::CreateDir { path: path("dir") });
    assert!(fixture.dir.path.join("dir").is_dir());
    fixture.fails(FileStep::CreateDir { path: path("file") }, "mkdir", EEXIST);
    fixture.fails(FileStep::CreateDir { path: path("none/dir") }, "mkdir", ENOENT);
}

#[test]
fn create_exclusive_refuses_a_name_that_is_taken() {
    let mut fixture = Fixture::with_file("taken", "old");
    fixture.fails(FileStep::CreateExclusive { file: A, path: path("taken") }, "open", EEXIST);
    fixture.fails(append("x"), "fd", 9);
    fixture.ok(FileStep::CreateExclusive { file: A, path: path("new") });
    fixture.ok(append("x"));
    assert_eq!((fixture.contents("taken"), fixture.contents("new")), (path("old"), path("x")));
}

#[test]
fn create_temp_empties_what_was_there() {
    let mut fixture = Fixture::with_file("temp", "old");
    fixture.ok(FileStep::CreateTemp { file: A, path: path("temp") });
    assert_eq!(fixture.contents("temp"), "");
    fixture.fails(FileStep::CreateTemp { file: FileId(2), path: path("none/temp") }, "open", ENOENT);
}

#[test]
fn open_append_writes_behind_what_is_there() {
    let mut fixture = Fixture::with_file("log", "one ");
    fixture.fails(FileStep::OpenAppend { file: A, path: path("none") }, "open", ENOENT);
    fixture.ok(FileStep::OpenAppend { file: A, path: path("log") });
    fixture.ok(append("two "));
    fixture.ok(append(""));
    fixture.ok(append("three"));
    assert_eq!(fixture.contents("log"), "one two three");
}

#[test]
fn append_goes_to_the_end_even_after_a_truncation_by_name() {
    let mut fixture = Fixture::with_file("log", "0123456789");
    fixture.ok(FileStep::OpenAppend { file: A, path: path("log") });
    fixture.ok(FileStep::Truncate { path: path("log"), len: 4 });
    fixture.ok(append("X"));
    assert_eq!(fixture.contents("log"), "0123X");
}

#[test]
fn append_to_a_full_device_is_enospc() {
    let mut fixture = Fixture::new();
    std::os::unix::fs::symlink("/dev/full", fixture.dir.path.join("full")).unwrap();
    fixture.ok(FileStep::OpenAppend { file: A, path: path("full") });
    fixture.fails(append("x"), "write", ENOSPC);
}

#[test]
fn closed_file_is_not_written_and_its_name_can_be_opened_again() {
    let mut fixture = Fixture::new();
    fixture.ok(FileStep::CreateExclusive { file: A, path: path("log") });
    fixture.ok(append("one"));
    fixture.ok(FileStep::Sync { file: A });
    fixture.ok(FileStep::Close { file: A });
    fixture.fails(append("two"), "fd", 9);
    fixture.fails(FileStep::Sync { file: A }, "fd", 9);
    fixture.ok(FileStep::Close { file: A });
    fixture.ok(FileStep::OpenAppend { file: FileId(2), path: path("log") });
    assert_eq!(fixture.contents("log"), "one");
}

#[test]
fn rename_replaces_and_link_does_not() {
    let mut fixture = Fixture::with_file("a", "A");
    std::fs::write(fixture.dir.path.join("b"), "B").unwrap();
    fixture.fails(FileStep::Link { from: path("a"), to: path("b") }, "link", EEXIST);
    fixture.ok(FileStep::Link { from: path("a"), to: path("c") });
    fixture.ok(FileStep::Rename { from: path("a"), to: path("b") });
    fixture.fails(FileStep::Rename { from: path("a"), to: path("b") }, "rename", ENOENT);
    assert_eq!(fixture.names(""), ["b", "c"]);
    assert_eq!((fixture.contents("b"), fixture.contents("c")), (path("A"), path("A")));
}

#[test]
fn remove_accepts_what_is_not_there_and_refuses_a_directory() {
    let mut fixture = Fixture::with_file("a", "A");
    fixture.ok(FileStep::CreateDir { path: path("dir") });
    fixture.ok(FileStep::Remove { path: path("a") });
    fixture.ok(FileStep::Remove { path: path("a") });
    fixture.fails(FileStep::Remove { path: path("dir") }, "unlink", 21);
    assert_eq!(fixture.names(""), ["dir"]);
}

#[test]
fn truncate_cuts_and_never_lengthens() {
    let mut fixture = Fixture::with_file("log", "12345");
    fixture.ok(FileStep::Truncate { path: path("log"), len: 5 });
    fixture.ok(FileStep::Truncate { path: path("log"), len: 2 });
    assert_eq!(fixture.contents("log"), "12");
    fixture.fails(FileStep::Truncate { path: path("log"), len: 3 }, "truncate", 22);
    fixture.fails(FileStep::Truncate { path: path("none"), len: 0 }, "open", ENOENT);
    fixture.ok(FileStep::Truncate { path: path("log"), len: 0 });
    assert_eq!(fixture.contents("log"), "");
}

#[test]
fn syncs_by_name_need_the_name() {
    let mut fixture = Fixture::with_file("log", "1");
    fixture.ok(FileStep::CreateDir { path: path("dir") });
    fixture.ok(FileStep::SyncPath { path: path("log") });
    fixture.fails(FileStep::SyncPath { path: path("none") }, "open", ENOENT);
    fixture.ok(FileStep::SyncDir { path: path("") });
    fixture.ok(FileStep::SyncDir { path: path("dir") });
    fixture.fails(FileStep::SyncDir { path: path("none") }, "open", ENOENT);
    fixture.fails(FileStep::SyncDir { path: path("log") }, "open", 20);
}

#[test]
fn sync_of_what_cannot_be_synced_is_an_error() {
    let mut fixture = Fixture::new();
    std::os::unix::fs::symlink("/dev/full", fixture.dir.path.join("full")).unwrap();
    fixture.ok(FileStep::OpenAppend { file: A, path: path("full") });
    fixture.fails(FileStep::Sync { file: A }, "fdatasync", 22);
}

#[test]
fn list_is_sorted_and_says_what_each_name_is() {
    let mut fixture = Fixture::with_file("b", "four");
    fixture.ok(FileStep::CreateDir { path: path("a") });
    fixture.ok(FileStep::CreateTemp { file: A, path: path("a/inner") });
    let entries = fixture.disk.list("").unwrap();
    let kinds: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.len, e.is_file)).collect();
    assert_eq!(kinds, [("a", 0, false), ("b", 4, true)]);
    assert!(entries.iter().all(|entry| entry.modified_ms > 1_577_836_800_000));
    assert_eq!(fixture.names("a"), ["inner"]);
    let error = fixture.disk.list("none").unwrap_err();
    assert_eq!((error.path.as_str(), error.errno), ("none", ENOENT));
}

#[test]
fn read_at_gives_what_is_there_and_zero_at_the_end() {
    let mut fixture = Fixture::with_file("log", "0123456789");
    let mut buffer = [0; 4];
    assert_eq!(fixture.disk.read_at("log", 8, &mut buffer), Ok(2));
    assert_eq!(&buffer[..2], b"89");
    assert_eq!(fixture.disk.read_at("log", 10, &mut buffer), Ok(0));
    assert_eq!(fixture.disk.read_at("log", 11, &mut buffer), Ok(0));
    assert_eq!(fixture.disk.read_at("none", 0, &mut buffer).unwrap_err().errno, ENOENT);
}

#[test]
fn len_is_of_regular_files_only() {
    let mut fixture = Fixture::with_file("log", "12345");
    fixture.ok(FileStep::CreateDir { path: path("dir") });
    assert_eq!(fixture.disk.len("log"), Ok(Some(5)));
    assert_eq!(fixture.disk.len("dir"), Ok(None));
    assert_eq!(fixture.disk.len("none"), Ok(None));
    assert_eq!(fixture.disk.len("log/none").unwrap_err().errno, 20);
}

#[test]
fn a_path_with_a_nul_is_refused() {
    let mut fixture = Fixture::new();
    fixture.fails(FileStep::CreateTemp { file: A, path: path("a\0b") }, "open", 22);
    assert!(fixture.names("").is_empty());
}

#[test]
fn the_directory_has_one_lock() {
    let fixture = Fixture::new();
    let other = LinuxDisk::open(fixture.dir.path.to_str().unwrap()).unwrap();
    let lock = fixture.disk.lock_dir().unwrap();
    assert_eq!(other.lock_dir().err().unwrap().kind(), std::io::ErrorKind::WouldBlock);
    drop(lock);
    other.lock_dir().unwrap();
}

#[test]
fn write_snapshot_leaves_a_verified_file_and_removes_a_failed_one() {
    let mut fixture = Fixture::new();
    let written =
        write_snapshot(&mut toy::ToyEncoder::of(100_000), "temp", A, &mut fixture.disk, &mut |_, _| {})
            .unwrap();
    let expected = toy::ToyEncoder::contents(100_000);
    assert_eq!(written, SnapshotWritten { path: path("temp"), len: expected.len() as u64, keys: 100_000 });
    assert_eq!(fixture.contents("temp"), expected);

    std::os::unix::fs::symlink("/dev/full", fixture.dir.path.join("full")).unwrap();
    let error = write_snapshot(&mut toy::ToyEncoder::of(1), "full", A, &mut fixture.disk, &mut |_, _| {});
    assert_eq!(error.unwrap_err().errno, ENOSPC);
    assert_eq!(fixture.names(""), ["temp"]);
}
