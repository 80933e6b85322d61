//! Seeds 100070, 100089 and 410048, ours: a start that writes anew what only the page cache may have held, and is itself cut
//! short before the original is cut. Until then the original and its copy both stand in the set, and the next start tells where
//! the first ends by where the second begins.
//!
//! It could not where the copy did not begin with a batch header, because `aof-checksum` had been changed while the file was
//! written (which is not allowed any more): records ran twice. Such data is now written anew as a base, which stands beside nothing. And it could not behind the
//! file of an older server, because nothing said at which offset the original begins: if the power loss had left the original's
//! length without its data, the start was refused. It begins at 0.

use perdura_core::mutant::Mutant;
use perdura_core::persist::batch;
use perdura_harness::reference::read_set;
use perdura_sim::world::Crash;
use perdura_sim::{Moment, Profile};
use perdura_tests::simulated::Simulated;

use crate::scenario::{ALWAYS, INCR, MANIFEST, UNDER_NO, fails_with, holds};

/// Operations that a start has at most.
const OPERATIONS_MAX: u64 = 40;

/// Crashes the start of such a server after each of its operations in turn, and looks at what the start after that serves.
fn each_start_cut_short(crash: Crash, make: impl Fn() -> Simulated, look: impl Fn(&mut Simulated)) {
    for number in 0..OPERATIONS_MAX {
        let mut server = make();
        let operation = server.world.disk().operation_next() + number;
        server.world.crash_at(operation, Moment::After, crash);
        if server.start().is_ok() {
            assert!(number > 5, "a start of {number} operations shows nothing");
            return;
        }
        server.start().unwrap_or_else(|end| panic!("after operation {number}: {end:?}"));
        look(&mut server);
    }
}

#[test]
fn records_without_headers_do_not_run_twice() {
    fails_with(Mutant::CopyNotToldApart, || {
        let make = || {
            let mut server = Simulated::on(Profile::Btrfs, 1, UNDER_NO);
            server.start().unwrap();
            server.crash(Crash::Group);
            let mut incr = server.read_file(INCR).unwrap();
            let [one, two, three] = [
                &b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n*3\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n$1\r\na\r\n"[..],
                b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n*3\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n$1\r\nb\r\n",
                b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n",
            ];
            incr.extend_from_slice(one);
            incr.extend_from_slice(&batch::seal((one.len() + two.len()) as u64, 0, two));
            incr.extend_from_slice(three);
            server.write_file(INCR, &incr);
            server
        };
        each_start_cut_short(Crash::Group, make, |server| {
            server.check(&[("GET n", "3"), ("LRANGE l 0 -1", "1) a 2) b")]);
        });
    });
}

#[test]
fn file_behind_an_older_servers_may_lose_its_data_when_its_copy_is_there() {
    holds(|| {
        for seed in 0..20 {
            let make = || {
                let mut server = Simulated::on(Profile::Strict, seed, UNDER_NO);
                server.write_file("appendonly.aof", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\nold\r\n");
                server.start().unwrap();
                server.check(&[("INCR n", "1"), (format!("SET b {}", "v".repeat(2_000)).as_str(), "OK")]);
                server.crash(Crash::Group);
                server
            };
            each_start_cut_short(Crash::Power, make, |server| server.check(&[("GET a", "old")]));
        }
    });
}

/// Seed 408094, ours: of what stands behind the point where another file took over only the first bytes of a header are left.
/// Our loader does not look there; to a stock server it was a torn file that others follow.
#[test]
fn line_without_its_end_is_cut_where_another_file_took_over() {
    fails_with(Mutant::OverlapKept, || {
        let mut server = Simulated::new(ALWAYS);
        server.start().unwrap();
        server.check(&[("SET a 1", "OK"), ("SET b 2", "OK")]);
        server.crash(Crash::Group);
        let (first, second) =
            ("appendonlydir/appendonly.aof.1.incr.aof", "appendonlydir/appendonly.aof.2.incr.aof");
        let whole = server.read_file(first).unwrap();
        let last = whole.windows(3).rposition(|bytes| bytes == b"#C:").unwrap();
        server.write_file(first, &whole[..last + 7]);
        server.write_file(second, &whole[last..]);
        let manifest = String::from_utf8(server.read_file(MANIFEST).unwrap()).unwrap();
        let listed: String = manifest
            .lines()
            .filter(|line| line.starts_with("file "))
            .map(|line| format!("{line}\n"))
            .collect();
        server.write_file(
            MANIFEST,
            format!("{listed}file appendonly.aof.2.incr.aof seq 2 type i\n").as_bytes(),
        );
        server.start().unwrap();
        server.check(&[("MGET a b", "1) 1 2) 2")]);
        let disk = server.world.disk();
        let read = |path: &String| disk.peek(path).unwrap_or_default().to_vec();
        let files = disk.files().into_keys().map(|path| (path.clone(), read(&path))).collect();
        let loaded = read_set(&files, MANIFEST).unwrap();
        assert!(loaded.keyspace.get(0, b"b").is_some());
    });
}
