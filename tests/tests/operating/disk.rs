//! A disk that fills: below the soft limit, below the hard one, to the last byte.
//!
//! What could go wrong: a write is acknowledged and lost, reads stop, the server does not recover by itself, the rewrite
//! that would free space has no room.

use perdura_sim::world::Crash;
use perdura_tests::{simulated::Simulated, start_perdura};

use super::{info, say, wait_for};

/// No disk has so much room.
const MORE_THAN_ANY_DISK: &str = "8000000000000000000";

#[test]
fn below_the_hard_limit_writes_are_refused_and_reads_go_on() {
    let server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "SET a 1"), "OK");
    assert_eq!(info(&server, "perdura_disk_free_bytes"), "-1");
    assert_eq!(say(&mut client, &format!("CONFIG SET disk-hard-limit {MORE_THAN_ANY_DISK}")), "OK");
    wait_for("the limit", || info(&server, "perdura_disk_state") == "hard-limit");
    let refusal = say(&mut client, "SET a 2");
    assert!(
        refusal.starts_with("MISCONF The disk is almost full: less than 8000000000000000000 bytes"),
        "{refusal}"
    );
    let refusal = say(&mut client, "EVAL return(redis.call('set','a','2')) 1 a");
    assert!(refusal.contains("The disk is almost full"), "{refusal}");
    assert_eq!(say(&mut client, "GET a"), "1");
    assert!(info(&server, "perdura_disk_free_bytes").parse::<u64>().unwrap() > 0);
    assert_eq!(say(&mut client, "CONFIG SET disk-hard-limit 0"), "OK");
    wait_for("writes", || say(&mut client, "SET a 3") == "OK");
}

#[test]
fn below_the_soft_limit_the_log_is_rewritten_early() {
    let server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    let value = "x".repeat(4096);
    for _ in 0..100 {
        assert_eq!(say(&mut client, &format!("SET a {value}")), "OK");
    }
    assert_eq!(info(&server, "aof_rewrites"), "0");
    assert_eq!(say(&mut client, &format!("CONFIG SET disk-soft-limit {MORE_THAN_ANY_DISK}")), "OK");
    wait_for("a rewrite", || {
        info(&server, "aof_rewrites") == "1" && info(&server, "aof_rewrite_in_progress") == "0"
    });
    assert!(info(&server, "aof_current_size").parse::<u64>().unwrap() < 8192);
    assert_eq!(say(&mut client, "SET b 1"), "OK");
    assert_eq!(info(&server, "perdura_disk_state"), "soft-limit");
}

/// Bytes of all files.
fn used(server: &Simulated) -> u64 {
    server.files().iter().map(|(_, len)| *len).sum()
}

#[test]
fn the_hard_limit_leaves_the_rewrite_its_room() {
    let limit = 400 << 10;
    let mut server = Simulated::new(&[("appendonly", "yes"), ("disk-hard-limit", &limit.to_string())]);
    let room: u64 = 1 << 20;
    server.world.disk_mut().set_capacity(Some(room));
    assert!(server.start().is_ok());
    let mut acknowledged = 0;
    let mut refused = 0;
    // Far more than fits: each time the limit is reached, a rewrite makes room, and writes are taken again.
    for number in 0..1500 {
        let answer = server.say(&format!("SET key:{} {number:x>4000}", number % 20));
        match answer.as_str() {
            "OK" => acknowledged += 1,
            _ => {
                assert!(answer.contains("MISCONF The disk is almost full"), "{answer}");
                refused += 1;
                server.wait_ms(300);
            }
        }
        assert!(used(&server) < room, "the last byte is never taken");
    }
    assert!(acknowledged > 600 && refused > 0, "{acknowledged} taken, {refused} refused");
    let before = server.say("MGET key:0 key:7 key:19");
    server.check(&[("WAITAOF 1 0 0", "1) 1 2) 0")]);
    server.crash(Crash::Power);
    assert!(server.start().is_ok());
    server.reconnect();
    assert_eq!(server.say("MGET key:0 key:7 key:19"), before);
}
