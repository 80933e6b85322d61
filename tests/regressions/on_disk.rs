//! What lies on disk at a start: W1, W2, W7, W7b, W8, W17, W18, W20, W21, W23, W27, and what peers made of such files.

use perdura_core::mutant::Mutant;
use perdura_harness::model::Value;
use perdura_harness::reference::read_set;
use perdura_sim::faults::{FaultKind, Operation};
use perdura_sim::world::{Crash, End};
use perdura_tests::simulated::Simulated;

use crate::scenario::{
    ALWAYS, EIO, EVERYSEC, INCR, MANIFEST, SNAPSHOTS, fail, fails_with, holds, lose_power_and_start, started,
};

/// A set that holds k0 … k9, whole and durable, its server gone.
fn set_of_ten() -> Simulated {
    let mut server = started(ALWAYS);
    for index in 0..10 {
        server.check(&[(format!("SET k{index} v{index}").as_str(), "OK")]);
    }
    server.crash(Crash::Power);
    server
}

fn refuses(server: &mut Simulated) {
    let contents = |server: &Simulated| -> Vec<_> {
        server.files().into_iter().map(|(name, _)| server.read_file(&name)).collect()
    };
    let before = (server.files(), contents(server));
    assert_eq!(server.start(), Err(End::Exited(1)));
    assert_eq!((server.files(), contents(server)), before, "a refused start changes nothing");
}

/// redis#3730: flipped bytes are served, and replicated.
#[test]
fn w01_flipped_byte_of_a_value_is_not_served() {
    fails_with(Mutant::ChecksumIgnored, || {
        let mut server = set_of_ten();
        let mut incr = server.read_file(INCR).unwrap();
        let at = incr.windows(2).position(|pair| pair == b"v5").expect("the record is there") + 1;
        incr[at] ^= 1;
        server.write_file(INCR, &incr);
        refuses(&mut server);
    });
}

/// redis#5177, valkey#1148: after a power loss the file is longer than its data, and the server does not start.
#[test]
fn w02_zeroes_at_the_end_do_not_stop_a_start() {
    fails_with(Mutant::ZeroTailRefused, || {
        let mut server = set_of_ten();
        let mut incr = server.read_file(INCR).unwrap();
        incr.resize(incr.len() + 5_000, 0);
        server.write_file(INCR, &incr);
        server.start().unwrap();
        server.check(&[("DBSIZE", "10")]);
    });
}

/// Ours, found by `crash errors` on ext4: what is not vouched for is written anew at the start, for which a full disk has no
/// room. The start says so, however often it is tried; no record is touched, and the one after there is room has everything.
#[test]
fn a_start_on_a_full_disk_loses_nothing() {
    holds(|| {
        let mut server = started(EVERYSEC);
        for index in 0..10 {
            server.check(&[(format!("SET k{index} v{index}").as_str(), "OK")]);
        }
        server.crash(Crash::Group);
        let mut incr = server.read_file(INCR).unwrap();
        incr.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$1\r\nx");
        server.write_file(INCR, &incr);
        let used: u64 = server.files().iter().map(|(_, len)| *len).sum();
        // Not even what could be written of a copy before the room was used up stays.
        for room in [0, 10] {
            server.world.disk_mut().set_capacity(Some(used + room));
            refuses(&mut server);
        }
        // Room for what is torn, which is moved aside, and not for the rest.
        for room in [20, 60] {
            server.world.disk_mut().set_capacity(Some(used + room));
            assert_eq!(server.start(), Err(End::Exited(1)));
        }
        server.world.disk_mut().set_capacity(None);
        server.start().unwrap();
        server.check(&[
            ("DBSIZE", "10"),
            ("GET k9", "v9"),
            ("SET k10 v10", "OK"),
            ("WAITAOF 1 0 0", "1) 1 2) 0"),
        ]);
        lose_power_and_start(&mut server);
        server.check(&[("DBSIZE", "11")]);
    });
}

/// The other way to get it wrong: the zeroes stay, and what is written behind them is lost at the start after the next.
#[test]
fn w02_zeroes_at_the_end_are_not_written_behind() {
    // The mutant meant for this is not noticed here: docs/DURABILITY.md, "Open".
    holds(|| {
        let mut server = set_of_ten();
        // Stopped in order, so that the server goes on in this very file.
        server.start().unwrap();
        assert_eq!(server.try_say("SHUTDOWN NOSAVE"), None);
        let last =
            server.files().into_iter().rfind(|(name, _)| name.ends_with(".incr.aof")).expect("a part").0;
        let mut incr = server.read_file(&last).unwrap();
        incr.resize(incr.len() + 5_000, 0);
        server.write_file(&last, &incr);
        server.start().unwrap();
        server.check(&[("SET k10 v", "OK")]);
        server.crash(Crash::Power);
        server.start().unwrap();
        server.check(&[("DBSIZE", "11")]);
    });
}

/// A torn file, and another server's records in the file after it.
fn torn_in_the_middle() -> Simulated {
    let mut server = set_of_ten();
    let mut incr = server.read_file(INCR).unwrap();
    incr.truncate(incr.len() - 3);
    server.write_file(INCR, &incr);
    let foreign = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n3\r\n";
    server.write_file("appendonlydir/appendonly.aof.2.incr.aof", foreign);
    let manifest = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n\
                    file appendonly.aof.2.incr.aof seq 2 type i\n";
    server.write_file(MANIFEST, manifest.as_bytes());
    server
}

/// Redis cuts the file, then finds that it is not the last, and refuses. A supervisor starts it again: it comes up with a hole.
#[test]
fn w07_torn_file_that_is_not_the_last_is_left_as_it_is() {
    fails_with(Mutant::CutBeforeRefusal, || {
        let mut server = torn_in_the_middle();
        refuses(&mut server);
        refuses(&mut server);
    });
}

#[test]
fn w07_what_follows_a_torn_file_is_not_run() {
    fails_with(Mutant::TornFileFollowed, || refuses(&mut torn_in_the_middle()));
}

/// Redis 7.0.15 cuts such a file to nothing: the data lives on in memory only, until the next restart.
#[test]
fn w07b_torn_first_command_after_an_old_preamble_leaves_the_preamble() {
    fails_with(Mutant::PreambleForgotten, || {
        let mut donor = started(SNAPSHOTS);
        donor.check(&[("SET a 1", "OK"), ("SAVE", "OK")]);
        let mut old = donor.read_file("dump.rdb").unwrap();
        let preamble_len = old.len();
        old.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$1\r\nb");
        let mut server = Simulated::new(ALWAYS);
        server.write_file("appendonly.aof", &old);
        server.start().unwrap();
        server.check(&[("GET a", "1")]);
        server.crash(Crash::Power);
        server.start().unwrap();
        server.check(&[("GET a", "1")]);
        assert_eq!(server.read_file("appendonlydir/appendonly.aof").unwrap().len(), preamble_len);
    });
}

/// redis#3065, Enapter/charts#61: temporary files of killed servers pile up until the disk is full. Seed 2011271, ours: that of a
/// start which could not sync its new base stayed.
#[test]
fn w08_what_dead_servers_left_behind_is_removed() {
    fails_with(Mutant::LeftoversKept, || {
        let mut server = set_of_ten();
        for name in [
            "temp-77.rdb",
            "temp-rewriteaof-77.aof",
            "temp-rewriteaof-bg-77.aof",
            "temp-rewriteaof-start.aof",
        ] {
            server.write_file(name, b"half");
        }
        server.start().unwrap();
        assert!(!server.files().iter().any(|(name, _)| name.starts_with("temp-")), "{:?}", server.files());
    });
}

/// The server starts empty and goes on in the old file: its old records come back at the start after the next.
#[test]
fn w17_lost_manifest_is_no_empty_start() {
    fails_with(Mutant::LostManifestIsEmpty, || {
        let mut server = set_of_ten();
        server.remove_file(MANIFEST);
        refuses(&mut server);
    });
}

/// garnet#2150, dragonfly#4840: what cannot be read became an empty start, which was then saved over the good copy.
#[test]
fn w18_unreadable_manifest_is_no_empty_start() {
    fails_with(Mutant::UnreadableManifestIsEmpty, || {
        let mut server = set_of_ten();
        server.write_file(MANIFEST, b"file x seq 1 type b");
        refuses(&mut server);
    });
}

/// One flipped bit makes a part in use (`i`) one that is to be removed (`h`), and the server removes it.
#[test]
fn flipped_bit_in_the_manifest_drops_no_part() {
    fails_with(Mutant::ManifestChecksumIgnored, || {
        let mut server = set_of_ten();
        let mut manifest = server.read_file(MANIFEST).unwrap();
        let at = manifest.windows(6).position(|text| text == b"type i").expect("a part in use") + 5;
        manifest[at] ^= 1;
        server.write_file(MANIFEST, &manifest);
        refuses(&mut server);
    });
}

#[test]
fn missing_part_is_not_passed_over() {
    fails_with(Mutant::LostPartIgnored, || {
        let mut server = set_of_ten();
        server.remove_file(INCR);
        refuses(&mut server);
    });
}

#[test]
fn files_that_the_manifest_does_not_name_are_not_loaded() {
    fails_with(Mutant::ManifestIgnored, || {
        let mut server = set_of_ten();
        let stray = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n3\r\n";
        server.write_file("appendonlydir/appendonly.aof.9.incr.aof", stray);
        server.start().unwrap();
        server.check(&[("DBSIZE", "10")]);
    });
}

/// redis#837 and its kin: AOF is switched on in the configuration, and the data of years is gone.
#[test]
fn w20_snapshot_alone_is_imported() {
    fails_with(Mutant::OnlyDumpIgnored, || {
        let mut server = started(SNAPSHOTS);
        server.check(&[("SET a 1", "OK"), ("SAVE", "OK")]);
        server.crash(Crash::Power);
        server.set("appendonly", "yes");
        server.start().unwrap();
        server.check(&[("GET a", "1")]);
    });
}

#[test]
fn older_snapshot_does_not_win_over_the_set() {
    fails_with(Mutant::AnyDumpWins, || {
        let mut server = started(ALWAYS);
        server.check(&[("SET a 1", "OK"), ("SAVE", "OK"), ("SET a 2", "OK")]);
        server.crash(Crash::Power);
        server.start().unwrap();
        server.check(&[("GET a", "2")]);
    });
}

/// Redis crashes (SIGSEGV) on such a record.
#[test]
fn w21_record_with_too_few_arguments_is_refused() {
    fails_with(Mutant::ArityIgnored, || {
        let mut server = Simulated::new(ALWAYS);
        server.write_file("appendonly.aof", b"*2\r\n$3\r\nSET\r\n$1\r\na\r\n");
        let before = server.files();
        assert_eq!(server.start(), Err(End::Exited(1)));
        assert_eq!(server.files(), before, "what is refused is not moved either");
    });
}

#[test]
fn w23_flipped_byte_of_a_snapshot_is_not_served() {
    fails_with(Mutant::RdbChecksumIgnored, || {
        let mut server = started(&[("save", "\"\""), ("rdbcompression", "no")]);
        server.check(&[("SET a value", "OK"), ("SAVE", "OK")]);
        server.crash(Crash::Power);
        let mut dump = server.read_file("dump.rdb").unwrap();
        let at = dump.windows(5).position(|text| text == b"value").expect("the value is there");
        dump[at] ^= 1;
        server.write_file("dump.rdb", &dump);
        refuses(&mut server);
    });
}

/// RedisLabs/redisraft#654 had an empty file there; garnet#2150 served 5 of 205 keys and said that it was ready.
#[test]
fn unreadable_snapshot_is_no_empty_start() {
    fails_with(Mutant::UnreadableDumpIsEmpty, || {
        let mut server = started(SNAPSHOTS);
        server.check(&[("SET a 1", "OK"), ("SAVE", "OK")]);
        server.crash(Crash::Power);
        let dump = server.read_file("dump.rdb").unwrap();
        server.write_file("dump.rdb", &dump[..dump.len() / 2]);
        refuses(&mut server);
    });
}

/// A set of a base alone, to which this was done.
fn with_damaged_base(damage: fn(&mut Vec<u8>)) -> Simulated {
    let mut server = set_of_ten();
    server.start().unwrap();
    server.check(&[("BGREWRITEAOF", "Background append only file rewriting started")]);
    server.wait_ms(20_000);
    server.crash(Crash::Power);
    let base = "appendonlydir/appendonly.aof.2.base.rdb";
    let mut bytes = server.read_file(base).expect("the rewrite has ended");
    damage(&mut bytes);
    server.write_file(base, &bytes);
    server
}

#[test]
fn base_that_ends_too_early_is_not_served() {
    fails_with(Mutant::TornBaseAccepted, || {
        refuses(&mut with_damaged_base(|bytes| bytes.truncate(bytes.len() / 2)));
    });
}

/// Seed 716977, ours: the sector that a base takes up reads as zeroes, and no records follow it.
#[test]
fn base_that_reads_as_zeroes_is_not_cut_as_a_log() {
    fails_with(Mutant::RottenBaseIsTorn, || refuses(&mut with_damaged_base(|bytes| bytes.fill(0))));
}

/// `aof_current_size` keeps what was cut, and the next automatic rewrite comes too late.
#[test]
fn w27_size_after_a_cut_is_the_size() {
    fails_with(Mutant::CutLengthForgotten, || {
        let mut server = set_of_ten();
        server.set("aof-checksum", "no");
        let mut incr = server.read_file(INCR).unwrap();
        incr.resize(incr.len() + 5_000, 0);
        server.write_file(INCR, &incr);
        server.start().unwrap();
        let is_part = |name: &str| !name.contains("cut-") && !name.ends_with("manifest");
        let size: u64 = server.files().iter().filter(|(name, _)| is_part(name)).map(|(_, len)| *len).sum();
        let info = server.say("INFO persistence");
        assert!(info.contains(&format!("aof_current_size:{size}\r\n")), "{size}: {info}");
    });
}

/// valkey#4342: only the partial EXEC is cut, the MULTI stays open, and swallows what is written after it at the second restart.
#[test]
fn cut_inside_of_a_multi_leaves_none_open() {
    fails_with(Mutant::MultiLeftOpen, open_multi_at_the_end);
}

#[test]
fn multi_without_its_exec_is_not_run() {
    fails_with(Mutant::OpenMultiApplied, open_multi_at_the_end);
}

fn open_multi_at_the_end() {
    let mut server = Simulated::new(ALWAYS);
    server.set("aof-checksum", "no");
    server.start().unwrap();
    server.check(&[("SET a 1", "OK")]);
    server.crash(Crash::Power);
    let mut incr = server.read_file(INCR).unwrap();
    incr.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n2\r\n");
    server.write_file(INCR, &incr);
    server.start().unwrap();
    server.check(&[("GET a", "1"), ("SET b 1", "OK")]);
    server.crash(Crash::Power);
    server.start().unwrap();
    server.check(&[("MGET a b", "1) 1 2) 1")]);
}

/// Seed 601870, ours: the next server writes checksums. Its first header stood at an offset that counted what was cut, and the start
/// after that refused.
#[test]
fn half_a_transaction_that_was_cut_counts_for_nothing() {
    fails_with(Mutant::OpenMultiCounted, || {
        let mut server = Simulated::new(ALWAYS);
        server.start().unwrap();
        server.crash(Crash::Power);
        server.set("aof-checksum", "no");
        server.start().unwrap();
        server.check(&[("SET a 1", "OK")]);
        server.crash(Crash::Power);
        let mut incr = server.read_file(INCR).unwrap();
        incr.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n2\r\n");
        server.write_file(INCR, &incr);
        server.set("aof-checksum", "yes");
        server.start().unwrap();
        server.check(&[("GET a", "1"), ("SET b 1", "OK")]);
        server.crash(Crash::Power);
        server.start().unwrap();
        server.check(&[("MGET a b", "1) 1 2) 1")]);
    });
}

/// redis#4950, redis#11792: a key expires between base and replay; what was done to it later makes half of it come back.
#[test]
fn key_of_a_base_that_expired_since_is_not_half_restored() {
    fails_with(Mutant::BaseDropsExpired, || {
        let mut server = started(ALWAYS);
        server.check(&[("SET a base PX 60000", "OK")]);
        server.check(&[("BGREWRITEAOF", "Background append only file rewriting started")]);
        server.wait_ms(20_000);
        server.check(&[("APPEND a +log", "8"), ("PERSIST a", "1")]);
        server.crash(Crash::Power);
        server.world.jump_wall_clock(3_600_000_000);
        server.start().unwrap();
        server.check(&[("GET a", "base+log")]);
    });
}

#[test]
fn w26_loading_answers_meanwhile() {
    fails_with(Mutant::LoadingBlocks, || {
        let mut server = Simulated::new(ALWAYS);
        let mut log = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n".to_vec();
        for number in 0..100_000 {
            log.extend_from_slice(format!("*3\r\n$3\r\nSET\r\n$6\r\n{number:06}\r\n$1\r\nv\r\n").as_bytes());
        }
        server.write_file("appendonly.aof", &log);
        server.boot();
        assert!(server.say("INFO persistence").contains("loading:1"));
        crate::scenario::wait_for(&mut server, "loading", "0");
        server.check(&[("DBSIZE", "100000")]);
    });
}

/// Replication goes by the log's offset; a restart that counts from 0 again makes all that follows look like another log's.
#[test]
fn w28_offset_of_the_log_survives_a_restart() {
    fails_with(Mutant::OffsetForgotten, || {
        let mut server = set_of_ten();
        for _ in 0..3 {
            server.start().unwrap();
            server.check(&[("INCR n", "1"), ("DEL n", "1")]);
            server.crash(Crash::Power);
        }
        server.start().unwrap();
        server.check(&[("SET last 1", "OK")]);
        server.crash(Crash::Power);
        server.start().unwrap();
        server.check(&[("GET last", "1"), ("DBSIZE", "11")]);
    });
}

/// What went wrong (seed 351): behind records of another server, which have no batch headers, nothing said that ours begin.
/// A power loss that took the first sector of the first batch and kept the next ones looked like damage.
#[test]
fn a_hole_at_the_beginning_of_our_first_batch_is_a_torn_tail() {
    const BARE: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    let an_old_file: &[(&str, &[u8])] = &[("appendonly.aof", BARE)];
    let a_set: &[(&str, &[u8])] =
        &[(INCR, BARE), (MANIFEST, b"file appendonly.aof.1.incr.aof seq 1 type i\n")];
    holds(|| [an_old_file, a_set].into_iter().for_each(check_hole_behind));
}

fn check_hole_behind(files: &[(&str, &[u8])]) {
    let mut server = Simulated::new(&[("appendonly", "yes"), ("appendfsync", "no"), ("save", "\"\"")]);
    files.iter().for_each(|(name, contents)| server.write_file(name, contents));
    server.start().unwrap();
    let (incr, begun) = newest_part(&server);
    server.check(&[("SET b 2", "OK"), ("SET c 3", "OK")]);
    server.crash(Crash::Group);
    let mut bytes = server.read_file(&incr).unwrap();
    bytes[begun..begun + 10].fill(0);
    server.write_file(&incr, &bytes);
    server.start().unwrap();
    server.check(&[("GET a", "1"), ("DBSIZE", "1")]);
}

/// The last incremental file, and its length.
fn newest_part(server: &Simulated) -> (String, usize) {
    let (name, _) =
        server.files().into_iter().rfind(|(name, _)| name.ends_with(".incr.aof")).expect("a part");
    let len = server.read_file(&name).unwrap().len();
    (name, len)
}

/// Seed 98, ours: a start after kill -9 writes anew what only the page cache may have held, and cuts the original. Killed before
/// the cut, or failing in it, it left both; our loader knew by the headers, and a stock server would have run INCR twice. The
/// next start makes the cut.
#[test]
fn files_of_which_one_took_over_are_the_same_to_a_stock_reader() {
    fails_with(Mutant::OverlapKept, || {
        let mut server = started(&[("appendonly", "yes"), ("appendfsync", "everysec"), ("save", "\"\"")]);
        server.check(&[("INCR n", "1"), ("INCR n", "2")]);
        server.crash(Crash::Group);
        fail(&mut server, Operation::Truncate, "incr", FaultKind::Errno(EIO));
        server.start().unwrap();
        server.crash(Crash::Group);
        server.start().unwrap();
        server.check(&[("GET n", "2")]);
        let disk = server.world.disk();
        let read = |path: &String| disk.peek(path).unwrap_or_default().to_vec();
        let files = disk.files().into_keys().map(|path| (path.clone(), read(&path))).collect();
        let loaded = read_set(&files, "appendonlydir/appendonly.aof.manifest").unwrap();
        assert_eq!(loaded.keyspace.get(0, b"n").unwrap().value, Value::String(b"2".to_vec()));
    });
}
