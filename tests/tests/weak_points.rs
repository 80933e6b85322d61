//! The weak points of the stock servers that need a failing or slow disk, a failing fork, or a clock: W3 to W27.
//!
//! Each test carries its number from docs/DURABILITY.md. Those about what lies on disk at a start are in `recovery.rs`, W4
//! against a real process in `kill.rs`, W14 in `engine/linux/tests/run.rs`.

use perdura_core::host::Signal;
use perdura_sim::{
    faults::{Fault, FaultKind, Operation},
    world::{Crash, End},
};
use perdura_tests::simulated::Simulated;

const ALWAYS: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "always"), ("save", "\"\"")];
const EVERYSEC: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "everysec"), ("save", "\"\"")];

/// Input/output error, and no space left.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn started(settings: &[(&str, &str)]) -> Simulated {
    let mut server = Simulated::new(settings);
    server.start().unwrap();
    server
}

fn fail(server: &mut Simulated, operation: Operation, path: &str, kind: FaultKind) {
    server.world.disk_mut().add_fault(Fault { operation, path: path.into(), skip: 0, kind });
}

/// Waits until a field of INFO persistence has this value.
fn wait_for(server: &mut Simulated, field: &str, value: &str) {
    for _ in 0..3_000 {
        let info = server.say("INFO persistence");
        if info.lines().any(|line| line.trim() == format!("{field}:{value}")) {
            return;
        }
        server.wait_ms(10);
    }
    panic!("{field} never became {value}:\n{}", server.say("INFO persistence"));
}

fn lose_power_and_start(server: &mut Simulated) {
    server.crash(Crash::Power);
    server.world.disk_mut().clear_faults();
    server.start().unwrap();
}

#[test]
fn w03_everysec_holds_replies_once_the_disk_is_behind() {
    let mut server = started(EVERYSEC);
    server.check(&[("SET a 1", "OK")]);
    // The sync that is due within a second hangs for eight.
    fail(&mut server, Operation::Fdatasync, "incr.aof", FaultKind::Slow(8_000_000));
    server.wait_ms(1_100);
    server.check(&[("SET b 2", "OK")]);
    server.wait_ms(2_500);
    // Behind by more than appendfsync-max-lag: an answer now would be a promise that the disk has not kept for long.
    let before_us = server.world.now().mono_us;
    server.check(&[("SET c 3", "OK")]);
    let waited_us = server.world.now().mono_us - before_us;
    assert!(waited_us > 1_000_000, "answered after {waited_us} us although the disk hangs");
    server.crash(Crash::Power);
    server.start().unwrap();
    server.check(&[("MGET a b c", "1) 1 2) 2 3) 3")]);
}

#[test]
fn w03_idle_tail_is_synced_within_a_second() {
    let mut server = started(EVERYSEC);
    server.check(&[("SET a 1", "OK")]);
    server.wait_ms(1_200);
    lose_power_and_start(&mut server);
    server.check(&[("GET a", "1")]);
}

#[test]
fn w05_rotation_leaves_no_hole() {
    // What could go wrong: the next file's records survive and the end of the old one does not.
    for seed in 0..40 {
        let mut server = Simulated::on(perdura_sim::profile::Profile::Strict, seed, EVERYSEC);
        server.start().unwrap();
        for index in 0..10 {
            server.check(&[(format!("SET k{index} v").as_str(), "OK")]);
        }
        server.say("BGREWRITEAOF");
        for index in 10..20 {
            server.check(&[(format!("SET k{index} v").as_str(), "OK")]);
        }
        server.crash(Crash::Power);
        server.start().unwrap();
        let count: usize = server.say("DBSIZE").parse().unwrap();
        for index in 0..count {
            assert_eq!(server.say(&format!("GET k{index}")), "v", "seed {seed}: {count} keys are no prefix");
        }
    }
}

#[test]
fn w06_write_error_before_a_rewrite_duplicates_nothing() {
    let mut server = started(EVERYSEC);
    server.check(&[("SELECT 5", "OK"), ("INCR n", "1")]);
    fail(&mut server, Operation::Write, "incr.aof", FaultKind::Errno(ENOSPC));
    server.try_say("INCR n");
    server.try_say("BGREWRITEAOF");
    server.wait_ms(20_000);
    server.check(&[("SELECT 5", "OK"), ("GET n", "2")]);
    server.check(&[("WAITAOF 1 0 0", "1) 1 2) 0")]);
    lose_power_and_start(&mut server);
    server.check(&[("EXISTS n", "0"), ("SELECT 5", "OK"), ("GET n", "2")]);
}

#[test]
fn w09_failed_forks_make_no_files_and_are_limited() {
    let mut server = started(ALWAYS);
    for attempt in 1..=3 {
        server.world.fail_fork(12);
        server.say("BGREWRITEAOF");
        wait_for(&mut server, "aof_rewrites_consecutive_failures", &attempt.to_string());
    }
    let parts = server.files().into_iter().filter(|(name, _)| name.ends_with(".incr.aof")).count();
    assert_eq!(parts, 1, "{:?}", server.files());
    server.check(&[("SET a 1", "OK"), ("BGREWRITEAOF", "Background append only file rewriting started")]);
    wait_for(&mut server, "aof_last_bgrewrite_status", "ok");
}

#[test]
fn w10_directory_sync_that_fails_after_the_manifest_removes_nothing() {
    for skip in 0..12 {
        let mut server = started(ALWAYS);
        server.check(&[("SET a 1", "OK")]);
        let fault = Fault {
            operation: Operation::Fsync,
            path: "appendonlydir".into(),
            skip,
            kind: FaultKind::Errno(EIO),
        };
        server.world.disk_mut().add_fault(fault);
        server.say("BGREWRITEAOF");
        server.wait_ms(20_000);
        server.check(&[("SET b 2", "OK")]);
        lose_power_and_start(&mut server);
        server.check(&[("MGET a b", "1) 1 2) 2")]);
    }
}

#[test]
fn w11_every_name_is_durable_before_it_is_relied_on() {
    // Strict profile: a name that was not synced is lost whenever the seed says so.
    for seed in 0..60 {
        let mut server = Simulated::on(perdura_sim::profile::Profile::Strict, seed, ALWAYS);
        server.start().unwrap();
        server.check(&[("SET a 1", "OK")]);
        server.say("BGREWRITEAOF");
        server.wait_ms(seed % 20);
        server.check(&[("SET b 2", "OK")]);
        server.crash(Crash::Power);
        server.start().unwrap_or_else(|end| panic!("seed {seed}: {end:?}"));
        server.check(&[("MGET a b", "1) 1 2) 2")]);
    }
}

#[test]
fn w13_failed_sync_is_survived_in_a_fresh_file() {
    for settings in [ALWAYS, EVERYSEC] {
        let mut server = started(settings);
        server.check(&[("SET a 1", "OK")]);
        fail(&mut server, Operation::Fdatasync, "incr.aof", FaultKind::Errno(EIO));
        server.try_say("SET b 2");
        server.wait_ms(5_000);
        wait_for(&mut server, "aof_last_write_status", "ok");
        server.check(&[("SET c 3", "OK"), ("WAITAOF 1 0 0", "1) 1 2) 0")]);
        lose_power_and_start(&mut server);
        server.check(&[("MGET a b c", "1) 1 2) 2 3) 3")]);
    }
}

#[test]
fn w13_full_disk_refuses_writes_and_recovers_by_itself() {
    let mut server = started(EVERYSEC);
    server.check(&[("SET a 1", "OK")]);
    let used: u64 = server.files().iter().map(|(_, len)| *len).sum();
    server.world.disk_mut().set_capacity(Some(used + 16));
    server.try_say("SET filler 0123456789012345678901234567890123456789");
    server.wait_ms(2_000);
    // The reply to that one is held until its change is safe; others are told what is wrong.
    server.reconnect();
    assert!(
        server
            .say("SET b 2")
            .starts_with("(error) MISCONF Errors writing to the AOF file: No space left on device")
    );
    server.world.disk_mut().set_capacity(None);
    wait_for(&mut server, "aof_last_write_status", "ok");
    server.check(&[("SET b 2", "OK"), ("WAITAOF 1 0 0", "1) 1 2) 0")]);
    lose_power_and_start(&mut server);
    server.check(&[("MGET a b", "1) 1 2) 2")]);
}

#[test]
fn w15_shutdown_is_refused_when_the_last_sync_fails() {
    let mut server = started(EVERYSEC);
    server.check(&[("SET a 1", "OK")]);
    for _ in 0..40 {
        fail(&mut server, Operation::Fdatasync, "incr.aof", FaultKind::Errno(EIO));
    }
    let reply = server.say("SHUTDOWN");
    assert_eq!(reply, "(error) ERR Errors trying to SHUTDOWN. Check logs.");
    assert!(server.world.engine().is_some(), "it goes on serving");
}

#[test]
fn w16_waitaof_answers_after_the_sync() {
    let mut server = started(EVERYSEC);
    server.check(&[("SET a 1", "OK"), ("WAITAOF 1 0 0", "1) 1 2) 0")]);
    server.crash(Crash::Power);
    server.start().unwrap();
    server.check(&[("GET a", "1")]);
}

#[test]
fn w18_unreadable_manifest_is_never_an_empty_start() {
    let mut server = started(ALWAYS);
    server.check(&[("SET a 1", "OK")]);
    server.crash(Crash::Power);
    server.write_file("appendonlydir/appendonly.aof.manifest", b"file x seq 1 type b");
    assert_eq!(server.start(), Err(End::Exited(1)));
}

#[test]
fn w19_no_appendfsync_on_rewrite_never_weakens_always() {
    for seed in 0..30 {
        let mut server = Simulated::on(perdura_sim::profile::Profile::Strict, seed, ALWAYS);
        server.set("no-appendfsync-on-rewrite", "yes");
        server.start().unwrap();
        server.check(&[("SET a 1", "OK"), ("BGSAVE", "Background saving started"), ("SET b 2", "OK")]);
        server.crash(Crash::Power);
        server.start().unwrap();
        server.check(&[("MGET a b", "1) 1 2) 2")]);
    }
}

#[test]
fn w22_snapshot_counts_only_once_its_name_is_durable() {
    for seed in 0..40 {
        let mut server = Simulated::on(perdura_sim::profile::Profile::Strict, seed, &[("save", "\"\"")]);
        server.start().unwrap();
        server.check(&[("SET a 1", "OK"), ("SAVE", "OK")]);
        server.crash(Crash::Power);
        server.start().unwrap();
        server.check(&[("GET a", "1")]);
    }
}

#[test]
fn w26_loading_answers_meanwhile() {
    let mut server = Simulated::new(ALWAYS);
    let mut log = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n".to_vec();
    for number in 0..100_000 {
        log.extend_from_slice(format!("*3\r\n$3\r\nSET\r\n$6\r\n{number:06}\r\n$1\r\nv\r\n").as_bytes());
    }
    server.write_file("appendonly.aof", &log);
    server.boot();
    assert!(server.say("INFO persistence").contains("loading:1"));
    wait_for(&mut server, "loading", "0");
    server.check(&[("DBSIZE", "100000")]);
}

#[test]
fn sigterm_loses_nothing_under_everysec() {
    let mut server = started(EVERYSEC);
    server.check(&[("SET a 1", "OK")]);
    server.world.signal(Signal::Terminate);
    assert_eq!(server.wait_ms(10_000), Some(End::Exited(0)));
    server.crash(Crash::Power);
    server.start().unwrap();
    server.check(&[("GET a", "1")]);
}
