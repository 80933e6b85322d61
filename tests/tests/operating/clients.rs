//! Client libraries against our server, in the clear and over TLS, each doing what applications do: connect, pipelines,
//! transactions, publish and subscribe, blocking, streams, scripts, in every protocol that the library speaks.
//!
//! What could go wrong: a library negotiates, pipelines or reads replies differently from redis-cli.
//!
//! | library | from | protocols |
//! |---|---|---|
//! | redis-py, node-redis, redis-rs | PyPI, npm, crates.io | 2 and 3 |
//! | ioredis | npm | 2 |
//! | go-redis 5 | Debian | 2 |
//!
//! What the first four of other languages do stands in `tests/clients/`; redis-rs is at the end of this file.

use std::{path::PathBuf, process::Command, thread, time::Duration};

use redis::{
    Client, Commands, Connection, TlsCertificates,
    streams::{StreamReadOptions, StreamReadReply},
};

use perdura_tests::tell_not_run;

use super::{port_of, say, tls::Certificates, tools_of_clients::text};

/// A program of `tests/clients/`, and how to see that what it needs is installed.
struct Program {
    client: &'static str,
    command: &'static [&'static str],
    probe: &'static [&'static str],
}

impl Program {
    fn run(&self, words: &[&str], arguments: &[&str]) -> std::process::Output {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients");
        let mut command = Command::new("timeout");
        command.current_dir(folder).env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
        command.arg("60").args(words).args(arguments).output().expect("timeout is part of every system")
    }

    /// Runs it on the plain port and on that for TLS. What is not installed is named in the output; with
    /// `PERDURA_MUST_RUN=1`, as in `.ci/run`, it must be there.
    fn does_what_applications_do(&self) {
        if !self.run(self.probe, &[]).status.success() {
            tell_not_run(&format!("{} is not installed (.ci/run does it)", self.client));
            return;
        }
        let certificates = Certificates::new(self.client);
        let (server, tls_port) = certificates.server("no", "yes");
        assert_eq!(say(&mut server.client().unwrap(), "CONFIG SET appendonly yes requirepass secret"), "OK");
        let (port, tls_port) = (port_of(&server).to_string(), tls_port.to_string());
        let authority = certificates.file("ca.pem");
        for arguments in [&[&port, "secret"][..], &[&tls_port, "secret", &authority]] {
            let output = self.run(self.command, arguments);
            let said = text(&output);
            let is_good = output.status.success() && said.trim_end().ends_with("all good");
            assert!(is_good, "{} {arguments:?}: {said}", self.client);
        }
    }
}

#[test]
fn redis_py_does_what_applications_do() {
    let command = &["python3", "redis_py.py"];
    let probe = &["python3", "-c", "import redis"];
    Program { client: "redis-py", command, probe }.does_what_applications_do();
}

#[test]
fn ioredis_does_what_applications_do() {
    let probe = &["node", "-e", "require('ioredis')"];
    Program { client: "ioredis", command: &["node", "ioredis.js"], probe }.does_what_applications_do();
}

#[test]
fn node_redis_does_what_applications_do() {
    let probe = &["node", "-e", "require('redis')"];
    Program { client: "node-redis", command: &["node", "node_redis.js"], probe }.does_what_applications_do();
}

#[test]
fn go_redis_does_what_applications_do() {
    let command = &["go", "run", "go_redis.go"];
    let probe = &["go", "list", "gopkg.in/redis.v5"];
    Program { client: "go-redis", command, probe }.does_what_applications_do();
}

#[test]
fn redis_rs_does_what_applications_do() {
    let certificates = Certificates::new("redis-rs");
    let (server, tls_port) = certificates.server("no", "yes");
    assert_eq!(say(&mut server.client().unwrap(), "CONFIG SET appendonly yes requirepass secret"), "OK");
    let root = std::fs::read(certificates.file("ca.pem")).unwrap();
    for protocol in ["resp2", "resp3"] {
        let url = format!("redis://:secret@localhost:{}/?protocol={protocol}", port_of(&server));
        redis_rs(&Client::open(url).unwrap());
        let url = format!("rediss://:secret@localhost:{tls_port}/?protocol={protocol}");
        let trusted = TlsCertificates { client_tls: None, root_cert: Some(root.clone()) };
        redis_rs(&Client::build_with_tls(url, trusted).unwrap());
    }
    let wrong = Client::open(format!("redis://:wrong@localhost:{}/", port_of(&server))).unwrap();
    let refusal = wrong.get_connection().err().expect("a wrong password is refused").to_string();
    assert!(refusal.to_lowercase().contains("password"), "{refusal}");
}

fn redis_rs(client: &Client) {
    let mut r = client.get_connection().unwrap();
    r.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _: () = redis::cmd("FLUSHALL").query(&mut r).unwrap();
    let _: () = r.set_ex("a", 1, 100).unwrap();
    assert_eq!(r.incr::<_, _, i64>("a", 1), Ok(2));
    let mut pipeline = redis::pipe();
    for number in 0..1000 {
        pipeline.set(format!("key:{number}"), number).ignore();
    }
    pipeline.exec(&mut r).unwrap();
    assert_eq!(r.scan_match::<_, String>("key:*").unwrap().count(), 1000);
    let refusal = r.lpush::<_, _, i64>("a", 1).unwrap_err();
    assert_eq!(refusal.code(), Some("WRONGTYPE"), "{refusal}");
    transactions(client, &mut r);
    waiting(client, &mut r);
    streams_and_scripts(&mut r);
}

fn transactions(client: &Client, r: &mut Connection) {
    let mut tries = 0;
    let (after,): (i64,) = redis::transaction(r, &["a"], |r, pipeline| {
        tries += 1;
        if tries == 1 {
            let _: () = client.get_connection().unwrap().set("a", 10).unwrap();
        }
        let before: i64 = r.get("a")?;
        pipeline.set("a", before + 1).ignore().get("a").query(r)
    })
    .unwrap();
    assert_eq!((tries, after), (2, 11), "the first try is spoilt by another client's write");
}

fn waiting(client: &Client, r: &mut Connection) {
    let mut listener = client.get_connection().unwrap();
    let mut listener = listener.as_pubsub();
    listener.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    listener.subscribe("news").unwrap();
    assert_eq!(r.publish::<_, _, i64>("news", "hello"), Ok(1));
    assert_eq!(listener.get_message().unwrap().get_payload(), Ok("hello".to_owned()));
    let popped = thread::scope(|scope| {
        let popper = scope.spawn(|| client.get_connection().unwrap().blpop("queue", 5.0));
        let _: i64 = r.rpush("queue", "x").unwrap();
        popper.join().unwrap()
    });
    assert_eq!(popped, Ok(("queue".to_owned(), "x".to_owned())));
}

fn streams_and_scripts(r: &mut Connection) {
    let id: String = r.xadd("s", "*", &[("f", "v")]).unwrap();
    let _: () = r.xgroup_create("s", "g", "0").unwrap();
    let options = StreamReadOptions::default().group("g", "me");
    let read: StreamReadReply = r.xread_options(&["s"], &[">"], &options).unwrap();
    assert_eq!(read.keys[0].ids[0].id, id);
    assert_eq!(r.xack::<_, _, _, i64>("s", "g", &[&id]), Ok(1));
    let echoed = redis::Script::new("return {KEYS[1], ARGV[1]}").key("k").arg("v").invoke(r);
    assert_eq!(echoed, Ok(("k".to_owned(), "v".to_owned())));
}
