//! MIGRATE: keys on their way between servers, ours and Redis's.
//!
//! What could go wrong: a key is lost between two servers, or lives on both; a server that does not answer stops this one.

use std::{fs, net::TcpListener, thread, time::Duration};

use perdura_harness::{
    client::Client,
    process::{Server, Victims},
};
use perdura_tests::{start_perdura, start_redis};

use super::{free_port, port_of, say};

/// So that Redis 7.0 reads what is sent, and each record is in the log before its reply comes.
const SETTINGS: &[(&str, &str)] = &[
    ("rdb-version", "10"),
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("enable-debug-command", "local"),
    ("save", ""),
];

/// One key of each type, and one of a long form.
const KEYS: &str = "text number list set ints zset hash stream long";

fn fill(client: &mut Client) {
    for line in [
        "SET text hello PX 100000000",
        "SET number 12345",
        "RPUSH list a b 3",
        "SADD set a b",
        "SADD ints 1 2 70000",
        "ZADD zset 1.5 a -2 b",
        "HSET hash f v g 7",
        "XADD stream 1-1 f v",
        "XGROUP CREATE stream g 0",
        "XREADGROUP GROUP g c STREAMS stream >",
        "SETRANGE long 100000 x",
    ] {
        let reply = client.say(line).unwrap();
        assert!(!matches!(reply, perdura_harness::client::Reply::Error(_)), "{line}: {reply:?}");
    }
}

fn digests(client: &mut Client) -> String {
    format!("{:?}", client.say(&format!("DEBUG DIGEST-VALUE {KEYS}")).unwrap())
}

/// MIGRATE to a server, with these words from the key on.
fn migrate(client: &mut Client, to: &Server, words: &str) -> String {
    let port = port_of(to).to_string();
    let words = words.split(' ').map(|word| if word == "''" { "" } else { word });
    let command: Vec<&str> = ["MIGRATE", "127.0.0.1", &port].into_iter().chain(words).collect();
    match client.call(&command).unwrap() {
        perdura_harness::client::Reply::Simple(text) | perdura_harness::client::Reply::Error(text) => text,
        other => panic!("{other:?}"),
    }
}

fn check_moves(source: &Server, target: &Server) {
    let (mut here, mut there) = (source.client().unwrap(), target.client().unwrap());
    assert_eq!(say(&mut there, "SELECT 3"), "OK");
    fill(&mut here);
    let before = digests(&mut here);
    assert_eq!(migrate(&mut here, target, &format!("'' 3 5000 COPY KEYS {KEYS}")), "OK");
    assert_eq!((say(&mut here, "DBSIZE"), say(&mut there, "DBSIZE")), ("9".into(), "9".into()));
    assert_eq!(digests(&mut there), before);
    let busy = "ERR Target instance replied with error: BUSYKEY Target key name already exists.";
    assert_eq!(migrate(&mut here, target, "number 3 5000"), busy);
    assert_eq!(say(&mut here, "DBSIZE"), "9");
    assert_eq!(say(&mut there, "SET number 0"), "OK");
    assert_eq!(migrate(&mut here, target, "number 3 5000 REPLACE"), "OK");
    assert_eq!(migrate(&mut here, target, &format!("'' 3 5000 REPLACE KEYS nobody {KEYS}")), "OK");
    assert_eq!((say(&mut here, "DBSIZE"), say(&mut there, "DBSIZE")), ("0".into(), "9".into()));
    assert_eq!(digests(&mut there), before);
    assert!(say(&mut there, "PTTL text").parse::<i64>().unwrap() > 1_000_000);
    assert_eq!(migrate(&mut here, target, "text 3 5000"), "NOKEY");
    assert_eq!(migrate(&mut here, target, "'' 3 5000 KEYS text number"), "NOKEY");
    say(&mut here, "SET text 1");
    let refusal = "ERR Target instance replied with error: ERR DB index is out of range";
    assert_eq!(migrate(&mut here, target, "text 99 5000"), refusal);
    assert_eq!(say(&mut here, "DEL text"), "1");
}

#[test]
fn keys_move_to_a_server_of_ours() {
    check_moves(&start_perdura(SETTINGS), &start_perdura(SETTINGS));
}

#[test]
fn keys_move_to_redis_and_back() {
    let (ours, theirs) =
        (start_perdura(SETTINGS), start_redis(&[("enable-debug-command", "local"), ("save", "")]));
    check_moves(&ours, &theirs);
    assert_eq!(say(&mut theirs.client().unwrap(), "FLUSHALL"), "OK");
    check_moves(&theirs, &ours);
}

#[test]
fn what_has_moved_is_logged_as_removed() {
    let (mut source, target) = (start_perdura(SETTINGS), start_perdura(SETTINGS));
    let mut client = source.client().unwrap();
    assert_eq!(say(&mut client, "MSET a 1 b 2 c 3"), "OK");
    assert_eq!(say(&mut target.client().unwrap(), "SET b old"), "OK");
    assert!(migrate(&mut client, &target, "'' 0 5000 KEYS a b c").contains("BUSYKEY"));
    assert_eq!(migrate(&mut client, &target, "b 0 5000 COPY REPLACE"), "OK");
    let log = fs::read(source.data_dir().join("appendonlydir/appendonly.aof.1.incr.aof")).unwrap();
    let log = String::from_utf8_lossy(&log).into_owned();
    assert!(log.contains("*3\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nc\r\n"), "{log}");
    assert!(!log.contains("MIGRATE"), "{log}");
    source.kill(Victims::ServerAndChildren).unwrap();
    source.restart().unwrap();
    let mut client = source.client().unwrap();
    assert_eq!((say(&mut client, "DBSIZE"), say(&mut client, "GET b")), ("1".into(), "2".into()));
}

#[test]
fn passwords_are_given_as_asked() {
    let (source, target) = (start_perdura(SETTINGS), start_perdura(&[]));
    let (mut here, mut there) = (source.client().unwrap(), target.client().unwrap());
    assert_eq!(say(&mut there, "CONFIG SET requirepass secret"), "OK");
    assert_eq!(say(&mut there, "ACL SETUSER mover on >moving ~a +restore +select"), "OK");
    assert_eq!(say(&mut here, "MSET a 1 b 2"), "OK");
    for (words, expected) in [
        ("b 0 5000", "ERR Target instance replied with error: NOAUTH Authentication required."),
        ("b 0 5000 AUTH wrong", "ERR Target instance replied with error: WRONGPASS"),
        ("b 0 5000 AUTH2 mover moving", "ERR Target instance replied with error: NOPERM"),
        ("a 0 5000 AUTH2 mover moving", "OK"),
        ("b 0 5000 AUTH secret", "OK"),
    ] {
        let reply = migrate(&mut here, &target, words);
        assert!(reply.starts_with(expected), "{words}: {reply}");
    }
    assert_eq!(say(&mut here, "DBSIZE"), "0");
    assert_eq!(say(&mut there, "DBSIZE"), "2");
}

#[test]
fn a_server_that_does_not_answer_holds_up_nobody_else() {
    let source = start_perdura(SETTINGS);
    let (mut client, mut reader) = (source.client().unwrap(), source.client().unwrap());
    assert_eq!(say(&mut client, "SET a 1"), "OK");
    let nobody = free_port().to_string();
    assert_eq!(
        say(&mut client, &format!("MIGRATE 127.0.0.1 {nobody} a 0 500")),
        "IOERR error or timeout connecting to the client"
    );
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    client.queue(&["MIGRATE", "127.0.0.1", &port.to_string(), "a", "0", "1500"]);
    client.flush().unwrap();
    // The talk has begun once the request has come.
    let (stream, _) = silent.accept().unwrap();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(say(&mut reader, "GET a"), "1");
    reader.queue(&["SET", "a", "2"]);
    reader.flush().unwrap();
    let reply = format!("{:?}", client.read().unwrap());
    assert!(reply.contains("IOERR error or timeout reading to target instance"), "{reply}");
    assert!(reader.read().unwrap().is_ok(), "what waited goes on");
    assert_eq!(say(&mut client, "GET a"), "2");
    drop(stream);
}
