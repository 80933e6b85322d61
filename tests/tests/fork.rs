//! What a snapshot's fork costs a real server, and that it says so (W24).
//!
//! Not here: how the child writes (`engine/linux`), what a snapshot holds (`interop.rs`).

use std::time::Duration;

use perdura_harness::client::Client;
use perdura_tests::start_perdura;

/// A field of INFO.
fn field(client: &mut Client, name: &str) -> i64 {
    let reply = client.say("INFO everything").unwrap();
    let info = String::from_utf8_lossy(reply.as_bytes().unwrap()).into_owned();
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {name} in {info}")).parse().unwrap()
}

#[test]
fn w24_fork_cost_is_measured_and_shown() {
    let server = start_perdura(&[("save", "")]);
    let mut client = server.client().expect("the server listens");
    assert!(client.say("SET a 1").unwrap().is_ok());
    assert_eq!((field(&mut client, "total_forks"), field(&mut client, "latest_fork_usec")), (0, 0));
    assert!(client.say("BGSAVE").is_ok());
    let is_saved = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        field(&mut client, "rdb_bgsave_in_progress") == 0 && field(&mut client, "rdb_saves") == 1
    });
    assert!(is_saved, "BGSAVE ends");
    assert_eq!(field(&mut client, "total_forks"), 1);
    assert!(field(&mut client, "latest_fork_usec") > 0);
    assert!(field(&mut client, "rdb_last_cow_size") > 0, "what copy-on-write cost");
}
