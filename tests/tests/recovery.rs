//! The table of `persist/recovery.rs`, row by row: what is on disk, and what the server makes of it.

use perdura_sim::world::{Crash, End};
use perdura_tests::simulated::Simulated;

const AOF: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "always"), ("save", "\"\"")];
const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
const INCR: &str = "appendonlydir/appendonly.aof.1.incr.aof";

/// A directory with an append-only set that holds `a` = 1 and `b` = 2, the server killed.
fn set_of_two() -> Simulated {
    let mut server = Simulated::new(AOF);
    server.start().unwrap();
    server.check(&[("SET a 1", "OK"), ("SET b 2", "OK")]);
    server.crash(Crash::Power);
    server
}

fn refuses(server: &mut Simulated) {
    let before = server.files();
    assert_eq!(server.start(), Err(End::Exited(1)));
    assert_eq!(server.files(), before, "a refused start changes nothing");
}

#[test]
fn nothing_on_disk_is_a_first_start() {
    for settings in [AOF, &[("appendonly", "no")][..]] {
        let mut server = Simulated::new(settings);
        server.start().unwrap();
        server.check(&[("DBSIZE", "0"), ("SET a 1", "OK")]);
    }
}

#[test]
fn complete_set_is_loaded() {
    let mut server = set_of_two();
    server.start().unwrap();
    server.check(&[("MGET a b", "1) 1 2) 2")]);
}

#[test]
fn dump_is_loaded_without_aof() {
    let mut server = Simulated::new(&[("save", "\"\"")]);
    server.start().unwrap();
    server.check(&[("SET a 1", "OK"), ("SAVE", "OK"), ("SET a 2", "OK")]);
    server.crash(Crash::Power);
    server.start().unwrap();
    server.check(&[("GET a", "1")]);
}

#[test]
fn damaged_manifest_refuses_even_without_aof() {
    for appendonly in ["yes", "no"] {
        let mut server = set_of_two();
        server.set("appendonly", appendonly);
        server.write_file(MANIFEST, b"file x seq 1\n");
        refuses(&mut server);
        server.write_file(MANIFEST, b"");
        refuses(&mut server);
    }
}

#[test]
fn missing_part_refuses() {
    let mut server = set_of_two();
    server.remove_file("appendonlydir/appendonly.aof.1.base.rdb");
    refuses(&mut server);
}

#[test]
fn w17_parts_without_a_manifest_refuse() {
    let mut server = set_of_two();
    server.remove_file(MANIFEST);
    refuses(&mut server);
}

/// Seed 504681, ours: an older server's file had been moved into the directory, the manifest that named it was gone, and the start
/// began empty.
#[test]
fn w17_upgraded_file_without_its_manifest_refuses() {
    let mut server = Simulated::new(&[("appendonly", "yes"), ("save", "\"\"")]);
    server.write_file("appendonly.aof", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\nold\r\n");
    server.start().unwrap();
    server.check(&[("GET a", "old")]);
    server.crash(Crash::Power);
    server.remove_file(MANIFEST);
    refuses(&mut server);
}

/// Seed 610204, ours: a base of commands says nowhere when it was frozen, so any dump won against it.
#[test]
fn base_of_commands_without_its_manifest_is_newer_than_an_older_dump() {
    let mut server =
        Simulated::new(&[("appendonly", "yes"), ("aof-use-rdb-preamble", "no"), ("save", "\"\"")]);
    server.start().unwrap();
    server.check(&[("SET a 1", "OK"), ("SAVE", "OK")]);
    server.wait_ms(1_000);
    server.check(&[("SET a 2", "OK"), ("BGREWRITEAOF", "Background append only file rewriting started")]);
    server.wait_ms(20_000);
    server.crash(Crash::Power);
    server.remove_file(MANIFEST);
    server.start().unwrap();
    server.check(&[("GET a", "2")]);
}

#[test]
fn w20_only_a_dump_is_imported_when_aof_is_newly_on() {
    let mut server = Simulated::new(&[("save", "\"\"")]);
    server.start().unwrap();
    server.check(&[("SET a 1", "OK"), ("SAVE", "OK")]);
    server.crash(Crash::Power);
    server.set("appendonly", "yes");
    server.start().unwrap();
    server.check(&[("GET a", "1"), ("SET b 2", "OK"), ("WAITAOF 1 0 0", "1) 1 2) 0")]);
    server.crash(Crash::Power);
    server.start().unwrap();
    server.check(&[("MGET a b", "1) 1 2) 2")]);
}

#[test]
fn w12_set_that_was_switched_off_loses_to_a_newer_dump() {
    let mut server = set_of_two();
    server.start().unwrap();
    server.check(&[("CONFIG SET appendonly no", "OK"), ("SET a 9", "OK")]);
    server.wait_ms(10);
    server.check(&[("SAVE", "OK")]);
    server.crash(Crash::Power);
    server.start().unwrap();
    server.check(&[("MGET a b", "1) 9 2) 2")]);
}

#[test]
fn old_single_file_is_upgraded() {
    let mut server = Simulated::new(AOF);
    server.write_file(
        "appendonly.aof",
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n",
    );
    server.start().unwrap();
    server.check(&[("GET a", "1"), ("SET b 2", "OK")]);
    server.crash(Crash::Power);
    server.start().unwrap();
    server.check(&[("MGET a b", "1) 1 2) 2")]);
    assert!(server.read_file("appendonly.aof").is_none());
}

#[test]
fn w07b_torn_first_command_after_an_old_preamble_keeps_the_preamble() {
    let mut donor = Simulated::new(&[("save", "\"\"")]);
    donor.start().unwrap();
    donor.check(&[("SET a 1", "OK"), ("SAVE", "OK")]);
    let mut old = donor.read_file("dump.rdb").unwrap();
    let preamble_len = old.len();
    old.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$1\r\nb");
    let mut server = Simulated::new(AOF);
    server.write_file("appendonly.aof", &old);
    server.start().unwrap();
    server.check(&[("GET a", "1"), ("EXISTS b", "0")]);
    assert_eq!(server.read_file("appendonlydir/appendonly.aof").unwrap().len(), preamble_len);
}

#[test]
fn torn_tail_is_cut_and_kept_aside() {
    let mut server = set_of_two();
    let mut incr = server.read_file(INCR).unwrap();
    let whole = incr.len();
    incr.extend_from_slice(b"#C:999:20:0:00000000\r\n*3\r\n$3\r\nSET\r\n");
    server.write_file(INCR, &incr);
    server.start().unwrap();
    server.check(&[("MGET a b", "1) 1 2) 2")]);
    let copy = server.files().into_iter().find(|(name, _)| name.contains("/cut-"));
    assert_eq!(copy.map(|(_, len)| len), Some((incr.len() - whole) as u64), "the tail was copied aside");
    // What no header had called durable went on in a part of its own, the rest stays where it was.
    let parts =
        server.files().into_iter().filter(|(name, _)| name.ends_with(".incr.aof") && !name.contains("/cut-"));
    assert_eq!(parts.map(|(_, len)| len).sum::<u64>(), whole as u64);
}

#[test]
fn torn_tail_refuses_with_aof_load_truncated_no() {
    let mut server = set_of_two();
    let mut incr = server.read_file(INCR).unwrap();
    incr.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
    server.write_file(INCR, &incr);
    server.set("aof-load-truncated", "no");
    refuses(&mut server);
}

#[test]
fn w02_zero_filled_tail_is_a_torn_tail() {
    for checksums in ["yes", "no"] {
        let mut server = Simulated::new(AOF);
        server.set("aof-checksum", checksums);
        server.start().unwrap();
        server.check(&[("SET a 1", "OK")]);
        server.crash(Crash::Power);
        let mut incr = server.read_file(INCR).unwrap();
        incr.resize(incr.len() + 5000, 0);
        server.write_file(INCR, &incr);
        server.start().unwrap();
        server.check(&[("GET a", "1")]);
    }
}

#[test]
fn w07_torn_file_that_is_not_the_last_refuses_and_stays_untouched() {
    let mut server = set_of_two();
    let mut incr = server.read_file(INCR).unwrap();
    incr.truncate(incr.len() - 3);
    server.write_file(INCR, &incr);
    // A stock server went on in the next file: it had loaded what is torn now.
    let foreign = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n3\r\n";
    server.write_file("appendonlydir/appendonly.aof.2.incr.aof", foreign);
    let manifest = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n\
                    file appendonly.aof.2.incr.aof seq 2 type i\n";
    server.write_file(MANIFEST, manifest.as_bytes());
    refuses(&mut server);
    // The second start of a supervisor that restarts finds the same and says the same.
    refuses(&mut server);
}

#[test]
fn w01_flipped_byte_below_what_was_synced_refuses() {
    let mut server = Simulated::new(AOF);
    server.start().unwrap();
    for index in 0..20 {
        server.check(&[(format!("SET k{index} {index}").as_str(), "OK")]);
    }
    server.crash(Crash::Power);
    let intact = server.read_file(INCR).unwrap();
    let at = intact.windows(2).position(|pair| pair == b"k5").expect("the record is there");
    let mut damaged = intact.clone();
    damaged[at] ^= 1;
    server.write_file(INCR, &damaged);
    refuses(&mut server);
}

#[test]
fn damage_at_any_byte_gives_a_prefix_or_a_refusal() {
    // What could go wrong: a flipped bit that loads as other data. Noticed by comparing with every prefix.
    let mut server = Simulated::new(AOF);
    server.start().unwrap();
    for index in 0..4 {
        server.check(&[(format!("SET k{index} v").as_str(), "OK")]);
    }
    server.crash(Crash::Power);
    let intact = server.read_file(INCR).unwrap();
    let prefixes = ["0", "1", "2", "3", "4"];
    for at in 0..intact.len() {
        let mut damaged = intact.clone();
        damaged[at] ^= 0x20;
        let mut server = set_of_two();
        server.write_file(INCR, &damaged);
        match server.start() {
            Err(end) => assert_eq!(end, End::Exited(1), "byte {at}"),
            Ok(()) => {
                let count = server.say("DBSIZE");
                assert!(prefixes.contains(&count.as_str()), "byte {at}: {count} keys");
                for index in 0..count.parse::<usize>().unwrap() {
                    assert_eq!(server.say(&format!("GET k{index}")), "v", "byte {at}");
                }
            }
        }
    }
}

#[test]
fn cut_at_any_byte_gives_a_prefix() {
    let mut server = Simulated::new(AOF);
    server.start().unwrap();
    for index in 0..4 {
        server.check(&[(format!("SET k{index} v").as_str(), "OK")]);
    }
    server.crash(Crash::Power);
    let intact = server.read_file(INCR).unwrap();
    for len in 0..intact.len() {
        let mut server = set_of_two();
        server.write_file(INCR, &intact[..len]);
        server.start().unwrap_or_else(|end| panic!("cut at {len}: {end:?}"));
        let count: usize = server.say("DBSIZE").parse().unwrap();
        assert!(count <= 4);
        for index in 0..count {
            assert_eq!(server.say(&format!("GET k{index}")), "v", "cut at {len}");
        }
    }
}

#[test]
fn damaged_dump_refuses_at_every_byte() {
    let mut donor = Simulated::new(&[("save", "\"\"")]);
    donor.start().unwrap();
    donor.check(&[("SET a 1", "OK"), ("SET key value", "OK"), ("SAVE", "OK")]);
    let intact = donor.read_file("dump.rdb").unwrap();
    for at in 0..intact.len() {
        let mut damaged = intact.clone();
        damaged[at] ^= 0x10;
        let mut server = Simulated::new(&[("save", "\"\"")]);
        server.write_file("dump.rdb", &damaged);
        assert_eq!(server.start(), Err(End::Exited(1)), "flipped at {at}");
        let mut server = Simulated::new(&[("save", "\"\"")]);
        server.write_file("dump.rdb", &intact[..at]);
        assert_eq!(server.start(), Err(End::Exited(1)), "cut at {at}");
    }
}

#[test]
fn w21_record_with_too_few_arguments_refuses() {
    let mut server = Simulated::new(AOF);
    server.write_file("appendonly.aof", b"*2\r\n$3\r\nSET\r\n$1\r\na\r\n");
    assert_eq!(server.start(), Err(End::Exited(1)));
}

#[test]
fn records_of_a_stock_server_after_ours_are_kept() {
    let mut server = set_of_two();
    let mut incr = server.read_file(INCR).unwrap();
    incr.extend_from_slice(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n3\r\n");
    server.write_file(INCR, &incr);
    server.start().unwrap();
    server.check(&[("MGET a b c", "1) 1 2) 2 3) 3"), ("SET d 4", "OK")]);
    server.crash(Crash::Power);
    server.start().unwrap();
    server.check(&[("MGET a b c d", "1) 1 2) 2 3) 3 4) 4")]);
}

#[test]
fn w08_temporary_files_of_dead_servers_are_swept() {
    let mut server = set_of_two();
    for name in ["temp-77.rdb", "temp-rewriteaof-77.aof", "temp-rewriteaof-bg-77.aof"] {
        server.write_file(name, b"half");
    }
    server.write_file("appendonlydir/temp-appendonly.aof.manifest", b"half");
    server.write_file("appendonlydir/appendonly.aof.9.incr.aof", b"*1\r\n");
    server.start().unwrap();
    let left: Vec<String> = server
        .files()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name.contains("temp") || name.contains(".9."))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    server.check(&[("MGET a b", "1) 1 2) 2")]);
}
