//! W8, W14: what snapshot children leave behind. W15: a stop that cannot be lossless is refused.

use perdura_sim::{Crash, Fault, FaultKind, Operation};
use perdura_tests::simulated::Simulated;

#[test]
fn w14_orphan_of_a_dead_server_replaces_no_snapshot() {
    let mut server = Simulated::new(&[("save", "\"\""), ("rdb-key-save-delay", "200000")]);
    server.start().unwrap();
    server.check(&[("SET a 1", "OK"), ("SAVE", "OK"), ("SET a 2", "OK")]);
    server.say("BGSAVE");
    server.crash(Crash::Server);
    server.start().unwrap();
    server.check(&[("SET a 3", "OK"), ("SAVE", "OK")]);
    server.wait_ms(10_000);
    server.crash(Crash::Group);
    server.start().unwrap();
    server.check(&[("GET a", "3")]);
    let leftovers: Vec<String> =
        server.world.disk().files().into_keys().filter(|path| path.starts_with("temp-")).collect();
    assert_eq!(leftovers, Vec::<String>::new());
}

#[test]
fn w15_shutdown_is_refused_while_the_log_cannot_be_synced() {
    let mut server = Simulated::new(&[("appendonly", "yes"), ("appendfsync", "everysec"), ("save", "\"\"")]);
    server.start().unwrap();
    server.check(&[("SET a 1", "OK")]);
    for skip in 0..40 {
        let kind = FaultKind::Errno(5);
        server.world.disk_mut().add_fault(Fault {
            operation: Operation::Fdatasync,
            path: String::new(),
            skip,
            kind,
        });
    }
    assert!(server.say("SHUTDOWN").contains("Errors trying to SHUTDOWN"));
    server.world.disk_mut().clear_faults();
    server.check(&[("GET a", "1")]);
}
