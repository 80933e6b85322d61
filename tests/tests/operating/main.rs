//! What an operator sees and does: INFO, figures over HTTP, signals and the log, a disk that fills, TLS, the service manager, clients and their
//! tools, programs that watch, backups in S3, keys that move to another server.
//!
//! Each file is one subject, with the real server. Backups and restores are beside (`backup.rs`, `restore.rs`).

mod clients;
mod disk;
mod exposure;
mod metrics;
mod migrate;
mod object_store;
mod process;
mod security;
mod service;
mod tls;
mod tools_of_clients;
mod watchers;

use std::{
    net::TcpListener,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use perdura_harness::{
    client::{Address, Client, Reply},
    process::Server,
};

/// Long enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The port a server listens on.
fn port_of(server: &Server) -> u16 {
    match server.address() {
        Address::Tcp(address) => address.port(),
        other => panic!("not TCP: {other:?}"),
    }
}

/// Looks every 20 ms until it holds.
#[track_caller]
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A reply as text, errors included.
fn say(client: &mut Client, line: &str) -> String {
    match client.say(line).unwrap() {
        Reply::Error(text) | Reply::Simple(text) => text,
        Reply::Integer(number) => number.to_string(),
        Reply::Null => "nil".into(),
        other => String::from_utf8_lossy(other.as_bytes().unwrap_or_default()).into_owned(),
    }
}

/// A field of INFO.
#[track_caller]
fn info(server: &Server, field: &str) -> String {
    let text = say(&mut server.client().unwrap(), "INFO all");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")).map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {field} in {text}"))
}
