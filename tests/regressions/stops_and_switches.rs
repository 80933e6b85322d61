//! Found by the workload of all types: what a stop and a switch let clients believe.

use crate::scenario::fails_with;
use perdura_core::host::Signal;
use perdura_core::mutant::Mutant;
use perdura_harness::client::encode_command;
use perdura_sim::{Crash, Fault, FaultKind, Operation, Profile};
use perdura_tests::simulated::Simulated;

fn slow(server: &mut Simulated, path: &str) {
    let (operation, kind) = (Operation::Fdatasync, FaultKind::Slow(300_000));
    server.world.disk_mut().add_fault(Fault { operation, path: path.into(), skip: 0, kind });
}

/// What went wrong: a write that ran while the last snapshot of an orderly stop was put in place was answered, and was in
/// neither the snapshot nor anything else.
#[test]
fn a_write_during_an_orderly_stop_is_kept_or_not_answered() {
    for after_ms in [0, 1, 5, 100, 290, 400] {
        let mut server = Simulated::new(&[("save", "3600 1")]);
        server.start().unwrap();
        server.check(&[("SET a 1", "OK")]);
        slow(&mut server, "temp");
        server.world.signal(Signal::Terminate);
        server.wait_ms(after_ms);
        let answer = server.try_say("SET b 2");
        server.start().unwrap();
        let kept = if answer.as_deref() == Some("OK") { "2" } else { "(nil)" };
        server.check(&[("GET a", "1"), ("GET b", kept)]);
    }
}

/// A stop that fails lets the writes go on that it had held.
#[test]
fn a_write_held_by_a_stop_that_fails_goes_on() {
    let mut server = Simulated::new(&[("save", "3600 1"), ("stop-writes-on-bgsave-error", "no")]);
    server.start().unwrap();
    server.check(&[("SET a 1", "OK")]);
    let (operation, kind) = (Operation::Rename, FaultKind::Errno(5));
    server.world.disk_mut().add_fault(Fault { operation, path: "temp".into(), skip: 0, kind });
    slow(&mut server, "temp");
    server.world.signal(Signal::Terminate);
    server.wait_ms(10);
    server.check(&[("SET b 2", "OK"), ("GET b", "2")]);
}

/// What went wrong: while `CONFIG SET appendonly no` waited for its mark to be durable, INFO still called the log's policy
/// and said that a power loss would take nothing, although what changed was not logged any more.
#[test]
fn info_tells_of_no_log_while_it_is_being_switched_off() {
    let mut server = Simulated::new(&[("appendonly", "yes"), ("appendfsync", "everysec"), ("save", "\"\"")]);
    server.start().unwrap();
    server.check(&[("SET a 1", "OK")]);
    slow(&mut server, "manifest");
    let mut request = Vec::new();
    encode_command(&["CONFIG", "SET", "appendonly", "no"], &mut request);
    let other = server.world.connect();
    server.world.send(other, request);
    server.wait_ms(50);
    server.check(&[("SET a 2", "OK")]);
    let info = server.say("INFO persistence");
    assert!(info.contains("perdura_log_policy:none"), "{info}");
    assert!(!info.contains("perdura_power_loss_commands:0"), "{info}");
}

/// What went wrong: a sync failed, the fresh file was written and durable, and the rename of the manifest that names it
/// failed. Which manifest is on disk was unknown; held replies were released all the same, and a power loss took what they
/// told of.
#[test]
fn nothing_is_answered_from_a_file_that_no_manifest_names() {
    let always = [("appendonly", "yes"), ("appendfsync", "always"), ("save", "\"\"")];
    for after_ms in [20, 100, 400, 2_000, 6_000] {
        let mut server = Simulated::new(&always);
        server.start().unwrap();
        server.check(&[("SET a 1", "OK")]);
        for (operation, path) in [(Operation::Fdatasync, "incr"), (Operation::Rename, "manifest")] {
            let kind = FaultKind::Errno(5);
            server.world.disk_mut().add_fault(Fault { operation, path: path.into(), skip: 0, kind });
        }
        let mut request = Vec::new();
        encode_command(&["SET", "b", "2"], &mut request);
        let other = server.world.connect();
        server.world.send(other, request);
        server.wait_ms(after_ms);
        let is_answered = server.world.received(other) == b"+OK\r\n";
        assert!(is_answered || after_ms < 6_000, "the log is mended by then");
        server.crash(Crash::Power);
        server.start().unwrap();
        if is_answered {
            server.check(&[("GET b", "2")]);
        }
        server.check(&[("GET a", "1")]);
    }
}

/// Found by `crash power`, enabling, on a machine that was busy: INFO said that the log was on as soon as its files were in
/// place, while what had just been answered without waiting for it was still being synced. A loss of power took that.
#[test]
fn the_log_is_said_to_be_on_once_it_has_all_that_was_answered() {
    const OFF: &[(&str, &str)] = &[("appendonly", "no"), ("appendfsync", "always"), ("save", "\"\"")];
    fails_with(Mutant::SettlingNotSaid, || {
        let is_on = |info: &str| {
            let says = |line: &str| info.lines().any(|found| found.trim() == line);
            says("aof_enabled:1") && says("aof_rewrite_in_progress:0") && says("aof_rewrite_scheduled:0")
        };
        for seed in 0..40 {
            let mut server = Simulated::on(Profile::Strict, seed, OFF);
            server.start().unwrap();
            server.check(&[("CONFIG SET appendonly yes", "OK")]);
            let answered = (1..10_000)
                .find(|number| {
                    server.check(&[(format!("RPUSH k {number}").as_str(), number.to_string().as_str())]);
                    is_on(&server.say("INFO persistence"))
                })
                .expect("it is switched on soon");
            server.crash(Crash::Power);
            server.set("appendonly", "yes");
            server.start().unwrap();
            server.check(&[("LLEN k", answered.to_string().as_str())]);
        }
    });
}
