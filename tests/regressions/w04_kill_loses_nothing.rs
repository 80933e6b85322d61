//! W4: Redis answers before it writes while a sync is slow, so that a kill -9 loses up to two seconds of answers.

use perdura_sim::{Crash, Fault, FaultKind, Operation};
use perdura_tests::simulated::Simulated;

/// What could go wrong: the reply is released while the write waits for a sync that takes seconds.
/// How this would notice: the server is killed right after the reply, and the key is gone.
#[test]
fn w04_answered_write_survives_a_kill_while_a_sync_is_stuck() {
    for policy in ["always", "everysec", "no"] {
        let mut server = Simulated::new(&[("appendonly", "yes"), ("appendfsync", policy), ("save", "\"\"")]);
        server.start().unwrap();
        server.check(&[("SET a 1", "OK")]);
        server.wait_ms(1_500);
        let slow = FaultKind::Slow(4_000_000);
        server.world.disk_mut().add_fault(Fault {
            operation: Operation::Fdatasync,
            path: "incr".into(),
            skip: 0,
            kind: slow,
        });
        server.check(&[("SET a 2", "OK")]);
        server.wait_ms(1_500);
        server.check(&[("SET a 3", "OK"), ("INCR c", "1")]);
        server.crash(Crash::Group);
        server.start().unwrap();
        server.check(&[("GET a", "3"), ("GET c", "1")]);
    }
}

/// W5, W6: the next file of a rewrite takes records only after the old one is safe to its end, so a power loss in the
/// middle of a rewrite leaves a prefix, never a hole.
#[test]
fn w05_power_loss_during_a_rewrite_leaves_a_prefix() {
    for after_ms in [0, 1, 3, 10, 30, 100, 400] {
        let mut server =
            Simulated::new(&[("appendonly", "yes"), ("appendfsync", "everysec"), ("save", "\"\"")]);
        server.start().unwrap();
        server.check(&[("INCR c", "1"), ("INCR c", "2")]);
        server.say("BGREWRITEAOF");
        server.check(&[("INCR c", "3")]);
        server.wait_ms(after_ms);
        server.crash(Crash::Power);
        server.start().unwrap();
        let count: u64 = server.say("GET c").parse().unwrap_or(0);
        assert!(count <= 3, "{count}");
    }
}
