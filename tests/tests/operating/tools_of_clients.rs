//! redis-cli's own programs against our server.
//!
//! What could go wrong: a program reads INFO, SCAN or MEMORY in a way that nobody types by hand.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use perdura_harness::process::Server;
use perdura_tests::start_perdura;

use super::{port_of, say};

/// redis-cli with these arguments, given `input`, ended by force after 20 s.
fn cli(server: &Server, arguments: &[&str], input: &str) -> String {
    let port = port_of(server).to_string();
    let mut child = Command::new("timeout")
        .args(["20", "redis-cli", "-p", &port])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("redis-cli is installed (.ci/run does it)");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    text(&child.wait_with_output().unwrap())
}

/// All that a program printed.
pub(super) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn shows(text: &str, wanted: &[&str]) {
    for one in wanted {
        assert!(text.contains(one), "{one} in {text}");
    }
}

#[test]
fn redis_cli_finds_keys_that_are_big_or_hot() {
    let server = start_perdura(&[("maxmemory-policy", "allkeys-lfu")]);
    let mut client = server.client().unwrap();
    say(&mut client, &format!("SET wide {}", "x".repeat(5000)));
    say(&mut client, "RPUSH long 1 2 3 4 5");
    say(&mut client, "HSET plain a 1");
    for _ in 0..500 {
        say(&mut client, "GET wide");
    }
    let big =
        ["Biggest string found '\"wide\"' has 5000 bytes", "Biggest   list found '\"long\"' has 5 items"];
    shows(&cli(&server, &["--bigkeys"], ""), &big);
    shows(&cli(&server, &["--memkeys"], ""), &["Biggest string found '\"wide\"' has", "Sampled 3 keys"]);
    shows(&cli(&server, &["--hotkeys"], ""), &["hot key found with counter:", "keyname: \"wide\""]);
}

#[test]
fn redis_cli_scans_pipes_and_watches() {
    let server = start_perdura(&[]);
    let lines: String = (0..2000).map(|number| format!("SET key:{number} {number}\r\n")).collect();
    shows(&cli(&server, &["--pipe"], &lines), &["errors: 0, replies: 2000"]);
    assert_eq!(cli(&server, &["--scan", "--pattern", "key:1*"], "").lines().count(), 1111);
    let port = port_of(&server).to_string();
    // Ended by force, a program loses what it has not written yet: line by line it loses little.
    let watched = |arguments: &[&str]| {
        let line_by_line = ["4", "stdbuf", "-oL", "redis-cli", "-p", &port, "-i", "1"];
        text(&Command::new("timeout").args(line_by_line).args(arguments).output().unwrap())
    };
    let latency = watched(&["--latency", "--raw"]);
    assert_eq!(latency.split_whitespace().count(), 4, "least, most, mean, samples: {latency}");
    shows(&watched(&["--stat"]), &["keys", "mem", "2000"]);
    shows(&cli(&server, &["--json", "GET", "key:7"], ""), &["\"7\""]);
    shows(&cli(&server, &["-3", "HELLO"], ""), &["proto", "3"]);
}
