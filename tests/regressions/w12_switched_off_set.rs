//! W12, W20 and redis#837: switching the log off and on, and which of set and snapshot a later start believes.

use perdura_sim::Crash;
use perdura_tests::simulated::Simulated;

const ALWAYS: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "always"), ("save", "\"\"")];

#[test]
fn w12_snapshot_after_the_switch_wins_over_the_closed_set() {
    let mut server = Simulated::new(ALWAYS);
    server.start().unwrap();
    server.check(&[("SET a 1", "OK"), ("CONFIG SET appendonly no", "OK"), ("SET a 2", "OK"), ("SAVE", "OK")]);
    server.crash(Crash::Power);
    server.start().unwrap();
    server.check(&[("GET a", "2")]);
}

#[test]
fn w12_closed_set_wins_over_the_snapshot_before_the_switch() {
    let mut server = Simulated::new(ALWAYS);
    server.start().unwrap();
    server.check(&[("SET a 1", "OK"), ("SAVE", "OK"), ("SET a 2", "OK"), ("CONFIG SET appendonly no", "OK")]);
    server.crash(Crash::Power);
    server.start().unwrap();
    server.check(&[("GET a", "2")]);
}

#[test]
fn w12_set_switched_on_counts_only_once_its_base_is_there() {
    for after_ms in [0, 1, 5, 20, 100] {
        let mut server = Simulated::new(&[("save", "\"\"")]);
        server.start().unwrap();
        server.check(&[("SET a 1", "OK"), ("SAVE", "OK"), ("CONFIG SET appendonly yes", "OK")]);
        server.wait_ms(after_ms);
        server.crash(Crash::Power);
        server.set("appendonly", "yes");
        server.start().unwrap();
        server.check(&[("GET a", "1")]);
    }
}
