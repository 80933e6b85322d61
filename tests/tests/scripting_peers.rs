//! Scripts on the real binary: the same replies as Debian's redis-server 7.0.15, and what happens to one that takes long.
//!
//! tests/scripts/equal.txt holds the scripts, `---` between them; each is run in both protocols with one key and one argument.
//! Left out are those whose replies Redis 7.2 words differently (`redis.set_repl()`, blocking commands).

use std::{
    thread,
    time::{Duration, Instant},
};

use perdura_harness::client::{Client, Reply};
use perdura_tests::{start_perdura, start_redis};

const SCRIPTS: &str = include_str!("../scripts/equal.txt");

/// Longest wait for another client's command to be noticed.
const PATIENCE: Duration = Duration::from_secs(20);

fn text(reply: Reply) -> String {
    match reply {
        Reply::Error(text) | Reply::Simple(text) => text,
        other => format!("{other:?}"),
    }
}

#[test]
fn scripts_answer_as_on_redis() {
    let (ours, theirs) = (start_perdura(&[("save", "")]), start_redis(&[("save", "")]));
    let mut differences = Vec::new();
    for protocol in ["2", "3"] {
        let (mut one, mut other) = (ours.client().unwrap(), theirs.client().unwrap());
        for client in [&mut one, &mut other] {
            client.call(&["HELLO", protocol]).unwrap();
            assert!(client.say("FLUSHALL").unwrap().is_ok());
        }
        for script in SCRIPTS.split("\n---\n") {
            let script = script.trim_end_matches('\n');
            let request = ["EVAL", script, "1", "k", "v"];
            let (found, expected) = (one.call(&request).unwrap(), other.call(&request).unwrap());
            if format!("{found:?}") != format!("{expected:?}") {
                differences.push(format!("{script}\n  {found:?}\n  {expected:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Says something until the reply begins so.
fn say_until(client: &mut Client, line: &str, beginning: &str) {
    let begun = Instant::now();
    loop {
        let reply = text(client.say(line).unwrap());
        if reply.starts_with(beginning) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{line}: {reply}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_script_that_takes_long_can_be_killed() {
    let server = start_perdura(&[("save", ""), ("busy-reply-threshold", "50")]);
    let (mut caller, mut other) = (server.client().unwrap(), server.client().unwrap());
    // No pcall holds it, nor a coroutine.
    for endless in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local f=coroutine.wrap(function() while true do end end) while true do pcall(f) end",
    ] {
        caller.queue(&["EVAL", endless, "0"]);
        caller.flush().unwrap();
        say_until(&mut other, "PING", "BUSY Redis is busy running a script. You can only call SCRIPT KILL");
        assert_eq!(text(other.say("FUNCTION KILL").unwrap()).split(' ').next(), Some("BUSY"));
        assert!(other.say("SCRIPT KILL").unwrap().is_ok());
        let killed = text(caller.read().unwrap());
        assert!(killed.starts_with("ERR Script killed by user with SCRIPT KILL..."), "{killed}");
        assert_eq!(text(other.say("PING").unwrap()), "PONG");
    }
    assert_eq!(text(other.say("SCRIPT KILL").unwrap()), "NOTBUSY No scripts in execution right now.");
}

#[test]
fn a_script_that_has_written_ends_only_with_the_server() {
    let mut server = start_perdura(&[("appendonly", "yes"), ("busy-reply-threshold", "50")]);
    let (mut caller, mut other) = (server.client().unwrap(), server.client().unwrap());
    assert!(other.say("SET k before").unwrap().is_ok());
    let endless = "redis.call('SET','k','during') while true do end";
    caller.queue(&["EVAL", endless, "0"]);
    caller.flush().unwrap();
    say_until(&mut other, "SCRIPT KILL", "UNKILLABLE");
    assert_eq!(text(other.say("SHUTDOWN").unwrap()).split(' ').next(), Some("BUSY"));
    other.queue(&["SHUTDOWN", "NOSAVE"]);
    other.flush().unwrap();
    server.wait_for_exit(PATIENCE).expect("SHUTDOWN NOSAVE ends even a script that wrote");
    server.restart().unwrap();
    let mut client = server.client().unwrap();
    assert_eq!(client.say("GET k").unwrap(), Reply::Bulk("before".into()), "half a script is nothing");
}

#[test]
fn libraries_come_back_from_snapshot_and_log() {
    let code = "#!lua name=l\nredis.register_function{function_name='f', callback=function() return 7 end, flags={'no-writes'}}";
    for settings in [[("appendonly", "yes"), ("save", "")], [("appendonly", "no"), ("save", "3600 1")]] {
        let mut server = start_perdura(&settings);
        let mut client = server.client().unwrap();
        assert!(client.call(&["FUNCTION", "LOAD", code]).unwrap().as_bytes().is_some());
        let payload = client.say("FUNCTION DUMP").unwrap().as_bytes().unwrap().to_vec();
        server.terminate(PATIENCE).unwrap();
        server.restart().unwrap();
        let mut client = server.client().unwrap();
        assert_eq!(client.say("FCALL_RO f 0").unwrap(), Reply::Integer(7));
        assert!(client.say("FUNCTION FLUSH").unwrap().is_ok());
        assert_eq!(text(client.say("FCALL f 0").unwrap()), "ERR Function not found");
        assert!(client.call(&[b"FUNCTION".as_slice(), b"RESTORE", &payload]).unwrap().is_ok());
        assert_eq!(client.say("FCALL f 0").unwrap(), Reply::Integer(7));
    }
}
