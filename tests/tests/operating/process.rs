//! The process as a shell, a supervisor and logrotate meet it: signals, exit status, the log.
//!
//! What could go wrong: a signal that means nothing ends the server, a status that scripts go by is another, lines of
//! the log go to a file that was moved away.

use std::{fs, os::unix::process::ExitStatusExt, process::Command, thread, time::Duration};

use perdura_harness::{
    client::encode_command,
    process::{Server, Victims},
};
use perdura_tests::start_perdura;

use super::{PATIENCE, info, say, wait_for};

fn signal(server: &Server, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &server.pid().to_string()]).status();
    assert!(sent.unwrap().success(), "{name}");
}

#[test]
fn an_orderly_stop_ends_with_0_and_keeps_everything() {
    let mut server = start_perdura(&[("appendonly", "yes")]);
    for (number, stop) in ["TERM", "INT", "SHUTDOWN", "SHUTDOWN NOSAVE"].into_iter().enumerate() {
        let mut client = server.client().unwrap();
        assert_eq!(say(&mut client, &format!("SET key:{number} 1")), "OK");
        match stop {
            "TERM" | "INT" => signal(&server, stop),
            command => {
                client.send_raw(format!("{command}\r\n").as_bytes()).unwrap();
            }
        }
        assert_eq!(server.wait_for_exit(PATIENCE).unwrap().code(), Some(0), "{stop}");
        server.restart().unwrap();
        assert_eq!(say(&mut server.client().unwrap(), "DBSIZE"), (number + 1).to_string(), "{stop}");
    }
}

#[test]
fn a_second_interrupt_does_not_wait_for_the_last_snapshot() {
    let mut server = start_perdura(&[("save", "900 1"), ("rdb-key-save-delay", "10000000")]);
    assert_eq!(say(&mut server.client().unwrap(), "SET a 1"), "OK");
    let temp = server.data_dir().join(format!("temp-{}.rdb", server.pid()));
    signal(&server, "INT");
    wait_for("the last snapshot begins", || temp.exists());
    thread::sleep(Duration::from_millis(30));
    signal(&server, "INT");
    assert_eq!(server.wait_for_exit(Duration::from_secs(5)).unwrap().code(), Some(1));
    assert!(!temp.exists());
    assert!(server.log_tail().contains("You insist... exiting now."), "{}", server.log_tail());
}

#[test]
fn a_stop_that_could_not_save_leaves_a_server_that_serves() {
    let server = start_perdura(&[("save", "900 1")]);
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "SET a 1"), "OK");
    fs::create_dir(server.data_dir().join("dump.rdb")).unwrap();
    signal(&server, "INT");
    wait_for("it gives up", || server.log_tail().contains("Error trying to save the DB, can't exit"));
    assert_eq!(say(&mut client, "SHUTDOWN"), "ERR Errors trying to SHUTDOWN. Check logs.");
    assert_eq!(say(&mut client, "SAVE"), "ERR");
    for (line, expected) in [("PING", "PONG"), ("SET b 2", "OK"), ("FLUSHALL", "OK"), ("DBSIZE", "0")] {
        assert_eq!(say(&mut client, line), expected, "{line}");
    }
}

#[test]
fn signals_that_mean_nothing_do_nothing() {
    let server = start_perdura(&[]);
    let mut client = server.client().unwrap();
    for name in ["HUP", "PIPE", "HUP"] {
        signal(&server, name);
        thread::sleep(Duration::from_millis(30));
        assert_eq!(say(&mut client, "PING"), "PONG", "{name}");
    }
}

#[test]
fn a_crash_ends_with_its_signal_and_a_report_unless_that_is_switched_off() {
    for (enabled, is_reported) in [("yes", true), ("no", false)] {
        let mut server = start_perdura(&[("crash-log-enabled", enabled)]);
        signal(&server, "ABRT");
        assert_eq!(server.wait_for_exit(PATIENCE).unwrap().signal(), Some(6), "{enabled}");
        let log = server.log_tail();
        assert_eq!(log.contains("crashed by signal: 6"), is_reported, "{enabled}: {log}");
    }
}

#[test]
fn what_flushall_saves_is_no_change_since_the_last_save() {
    let server = start_perdura(&[("save", "3600 1")]);
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "SET key value"), "OK");
    client.queue(&["FLUSHALL"]);
    client.queue(&["INFO", "persistence"]);
    client.flush().unwrap();
    assert!(client.read().unwrap().is_ok());
    let info = client.read().unwrap();
    let info = String::from_utf8_lossy(info.as_bytes().unwrap());
    assert!(info.contains("rdb_changes_since_last_save:0\r\n"), "{info}");
}

#[test]
fn a_rewrite_has_ended_when_what_it_supersedes_is_gone() {
    let server = start_perdura(&[("appendonly", "yes")]);
    let dir = server.data_dir().join("appendonlydir");
    for round in 0..5 {
        say(&mut server.client().unwrap(), "BGREWRITEAOF");
        wait_for("the rewrite", || info(&server, "aof_rewrite_in_progress") == "0");
        let manifest = fs::read_to_string(dir.join("appendonly.aof.manifest")).unwrap();
        let files = manifest.lines().filter(|line| line.starts_with("file ")).count();
        assert_eq!((files, fs::read_dir(&dir).unwrap().count()), (2, 3), "{round}: {manifest}");
    }
}

/// Servers before Redis 7 logged scripts as they were called.
#[test]
fn a_script_of_the_log_that_takes_long_lets_clients_be_told_so() {
    let settings = [("appendonly", "yes"), ("aof-checksum", "no"), ("busy-reply-threshold", "1")];
    let server = start_perdura(&[&settings[..], &[("enable-debug-command", "yes")]].concat());
    let log = server.data_dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    let script = "local n=0 for i=1,50000000 do n=n+1 end redis.call('SET',KEYS[1],n)";
    let mut records = Vec::new();
    encode_command(&["EVAL", script, "1", "slow"], &mut records);
    encode_command(&["MULTI"], &mut records);
    encode_command(&["EVAL", "redis.call('INCR',KEYS[1])", "1", "slow"], &mut records);
    encode_command(&["INCR", "slow"], &mut records);
    encode_command(&["EXEC"], &mut records);
    fs::write(log, records).unwrap();
    let (mut loader, mut client) = (server.client().unwrap(), server.client().unwrap());
    loader.queue(&["DEBUG", "LOADAOF"]);
    loader.flush().unwrap();
    let begins = |answer: &str| answer.starts_with("LOADING");
    wait_for("loading", || begins(&say(&mut client, "PING")));
    for _ in 0..3 {
        assert!(begins(&say(&mut client, "PING")), "as long as the script runs");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(loader.read().unwrap().is_ok());
    assert_eq!(say(&mut client, "GET slow"), "50000002");
    assert!(server.log_tail().contains("Slow script detected"), "{}", server.log_tail());
}

/// As logrotate does it: the file is moved away, and nobody is told.
#[test]
fn a_log_that_was_moved_away_begins_anew() {
    let mut server = start_perdura(&[("logfile", "server.log"), ("loglevel", "verbose")]);
    let (log, moved) = (server.data_dir().join("server.log"), server.data_dir().join("server.log.1"));
    assert!(fs::read_to_string(&log).unwrap().contains("Ready to accept connections"));
    fs::rename(&log, &moved).unwrap();
    let before = fs::read(&moved).unwrap();
    assert_eq!(say(&mut server.client().unwrap(), "SAVE"), "OK");
    wait_for("a new file", || fs::read_to_string(&log).is_ok_and(|text| text.contains("DB saved on disk")));
    assert_eq!(fs::read(&moved).unwrap(), before, "the old one is left alone");
    server.kill(Victims::ServerAndChildren).unwrap();
}
