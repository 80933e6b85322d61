//! What a stranger or a bad day may hand us: each gives a clear error, nothing panics, nothing is lost.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use perdura_harness::{
    client::{Address, Client, Reply},
    process::{Server, ServerCommand, TempDir},
};
use perdura_tests::start_perdura;
use proptest::prelude::*;

fn raw(server: &Server) -> TcpStream {
    let Address::Tcp(address) = server.address() else { panic!("not TCP") };
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// What the server answers before it hangs up, or within a moment if it does not.
fn answer(server: &Server, bytes: &[u8]) -> String {
    let mut stream = raw(server);
    stream.write_all(bytes).unwrap();
    let mut text = vec![0; 4096];
    let len = stream.read(&mut text).unwrap_or(0);
    String::from_utf8_lossy(&text[..len]).into_owned()
}

#[test]
fn protocol_errors_have_the_words_of_redis() {
    let server = start_perdura(&[]);
    for (bytes, expected) in [
        (&b"*1\r\n$600000000\r\n"[..], "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*3000000000\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
        (b"SET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ] {
        assert_eq!(answer(&server, bytes), expected, "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(server.client().unwrap().say("PING").unwrap(), Reply::Simple("PONG".into()));
}

#[test]
fn garbage_on_the_socket_ends_that_connection_only() {
    let server = start_perdura(&[]);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(200)
    });
    runner
        .run(&proptest::collection::vec(any::<u8>(), 1..400), |bytes| {
            let mut stream = raw(&server);
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut sink = Vec::new();
            let _ = stream.read_to_end(&mut sink);
            prop_assert!(server.client().unwrap().say("PING").unwrap() == Reply::Simple("PONG".into()));
            Ok(())
        })
        .unwrap();
}

#[test]
fn unknown_directive_is_fatal_and_names_its_line() {
    let binary = ServerCommand::perdura().expect("built by cargo test --workspace");
    let dir = TempDir::new("bad-config").unwrap();
    let path = dir.path().join("bad.conf");
    fs::write(&path, "port 0\n\nno-such-directive 1\n").unwrap();
    let output = binary.raw_command().arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("FATAL CONFIG FILE ERROR"), "{text}");
    assert!(text.contains("at line 3") && text.contains("no-such-directive"), "{text}");
}

#[test]
fn a_directory_that_cannot_be_written_refuses_the_start_with_aof() {
    let binary = ServerCommand::perdura().expect("built by cargo test --workspace");
    let dir = TempDir::new("unwritable").unwrap();
    let socket = dir.path().join("socket");
    // Nobody, not even root, creates files there.
    let settings = ["--dir", "/proc", "--appendonly", "yes", "--port", "0", "--unixsocket"];
    let output = binary.raw_command().args(settings).arg(&socket).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(log.contains("Fatal error: mkdir appendonlydir: No such file or directory"), "{log}");
}

#[test]
fn a_snapshot_that_cannot_be_written_refuses_writes_until_one_can() {
    let server = start_perdura(&[("save", "3600 1")]);
    let mut client = server.client().unwrap();
    let dump = server.data_dir().join("dump.rdb");
    assert!(client.say("SET a 1").unwrap().is_ok());
    fs::create_dir(&dump).unwrap();
    assert_eq!(client.say("SAVE").unwrap(), Reply::Error("ERR".into()));
    assert!(client.say("SET a 1").unwrap().is_ok(), "who asked for it was told");
    client.say("BGSAVE").unwrap();
    let has_failed = |client: &mut Client| {
        let Reply::Bulk(info) = client.say("INFO persistence").unwrap() else { panic!("INFO is a text") };
        String::from_utf8_lossy(&info).contains("rdb_last_bgsave_status:err")
    };
    let begun = Instant::now();
    while !has_failed(&mut client) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the child never failed");
        thread::sleep(Duration::from_millis(10));
    }
    let Reply::Error(text) = client.say("SET a 2").unwrap() else { panic!("writes are refused") };
    assert!(text.starts_with("MISCONF Redis is configured to save RDB snapshots"), "{text}");
    assert_eq!(client.say("GET a").unwrap(), Reply::Bulk(b"1".to_vec()), "reads go on");

    fs::remove_dir(&dump).unwrap();
    assert!(client.say("SAVE").unwrap().is_ok());
    assert!(client.say("SET a 2").unwrap().is_ok());
}
