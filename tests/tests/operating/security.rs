//! What strangers get, and what others on the machine may see: see docs/SECURITY.md, which names each of these.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use perdura_harness::process::Server;
use perdura_tests::start_perdura;

use super::{PATIENCE, info, port_of, say, wait_for};

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port_of(server))).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All the server says until it closes.
fn talk(server: &Server, bytes: &[u8]) -> String {
    let mut stream = connect(server);
    // It may hang up before it has taken everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn before_auth_a_stranger_gets_little_room() {
    let server = start_perdura(&[]);
    assert_eq!(say(&mut server.client().unwrap(), "CONFIG SET requirepass secret"), "OK");
    let many = talk(&server, b"*11\r\n$4\r\nPING\r\n");
    assert!(many.contains("Protocol error: unauthenticated multibulk length"), "{many}");
    let long = talk(&server, b"*2\r\n$4\r\nECHO\r\n$16385\r\n");
    assert!(long.contains("Protocol error: unauthenticated bulk length"), "{long}");
    let endless = talk(&server, &vec![b'x'; 3 << 20]);
    assert!(!endless.contains("PONG"), "{endless}");
    assert!(talk(&server, b"GET a\r\nQUIT\r\n").starts_with("-NOAUTH"));
    let mut client = server.client().unwrap();
    assert!(say(&mut client, "AUTH wrong").starts_with("WRONGPASS"));
    assert_eq!(say(&mut client, "AUTH secret"), "OK");
    assert_eq!(say(&mut client, "PING"), "PONG");
}

#[test]
fn secrets_are_in_no_log_and_in_no_list() {
    let server = start_perdura(&[("loglevel", "debug"), ("slowlog-log-slower-than", "0")]);
    assert_eq!(say(&mut server.client().unwrap(), "CONFIG SET requirepass first-secret"), "OK");
    let mut client = server.client().unwrap();
    assert!(say(&mut client, "AUTH wrong-secret").starts_with("WRONGPASS"));
    assert_eq!(say(&mut client, "AUTH first-secret"), "OK");
    assert_eq!(say(&mut client, "CONFIG SET requirepass second-secret"), "OK");
    assert_eq!(say(&mut client, "ACL SETUSER other on >third-secret ~* +@all"), "OK");
    assert_eq!(say(&mut client, "AUTH other third-secret"), "OK");
    let slow = format!("{:?}", client.say("SLOWLOG GET 100").unwrap());
    let users = format!("{:?}", client.say("ACL LIST").unwrap());
    let denied = format!("{:?}", client.say("ACL LOG").unwrap());
    for (place, text) in
        [("log", server.log_tail()), ("slow log", slow), ("users", users), ("ACL log", denied)]
    {
        for secret in ["first-secret", "second-secret", "third-secret", "wrong-secret"] {
            // The slow log shows bytes as numbers in Debug's form; both are looked for.
            let bytes = format!("{:?}", secret.as_bytes());
            assert!(
                !text.contains(secret) && !text.contains(bytes.trim_matches(['[', ']'])),
                "{secret} in {place}: {text}"
            );
        }
    }
}

/// Files below a directory, itself included.
fn below(path: &Path, found: &mut Vec<PathBuf>) {
    found.push(path.into());
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            below(&entry.unwrap().path(), found);
        }
    }
}

#[test]
fn files_are_ours_alone() {
    let server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "SET a 1"), "OK");
    assert_eq!(say(&mut client, "SAVE"), "OK");
    assert_eq!(say(&mut client, "BACKUP TO kept"), "OK");
    assert!(say(&mut client, "BGREWRITEAOF").contains("started"));
    wait_for("the rewrite", || {
        info(&server, "aof_rewrites") == "1" && info(&server, "aof_rewrite_in_progress") == "0"
    });
    let mut found = Vec::new();
    for entry in fs::read_dir(server.data_dir()).unwrap() {
        below(&entry.unwrap().path(), &mut found);
    }
    assert!(found.len() > 7, "{found:?}");
    for path in found {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
}

#[test]
fn commands_that_reach_beyond_the_data_are_closed_by_default() {
    let server = start_perdura(&[("enable-debug-command", "no"), ("enable-protected-configs", "no")]);
    let mut client = server.client().unwrap();
    assert!(say(&mut client, "DEBUG SLEEP 0").starts_with("ERR DEBUG command not allowed"));
    for line in ["CONFIG SET dir /tmp", "CONFIG SET dbfilename x", "CONFIG SET aof-archive-dir /tmp/x"] {
        assert!(say(&mut client, line).contains("can't set protected config"), "{line}");
    }
    let local = start_perdura(&[("enable-debug-command", "local")]);
    assert_eq!(say(&mut local.client().unwrap(), "DEBUG SLEEP 0"), "OK");
}

#[test]
fn a_renamed_command_answers_to_its_new_name_and_survives_a_restart() {
    let file = std::env::temp_dir().join(format!("perdura-rename-{}.conf", std::process::id()));
    fs::write(&file, "rename-command SET put\nrename-command FLUSHALL \"\"\n").unwrap();
    let mut server = start_perdura(&[("appendonly", "yes"), ("include", file.to_str().unwrap())]);
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "PUT a 1"), "OK");
    assert!(say(&mut client, "SET a 2").contains("unknown command"));
    assert!(say(&mut client, "FLUSHALL").contains("unknown command"));
    server.kill(perdura_harness::process::Victims::ServerAndChildren).unwrap();
    server.restart().unwrap();
    assert_eq!(say(&mut server.client().unwrap(), "GET a"), "1");
    fs::remove_file(file).unwrap();
}
