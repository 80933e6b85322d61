//! Backups in S3: pushed to a server that speaks its language, verified there, pulled, started from.
//!
//! What could go wrong: an upload that was interrupted passes for a backup, what was changed in the bucket comes back as
//! one, large or empty files do not survive the parts they are sent in.
//!
//! The server is moto, from PyPI (`tests/clients/prepare`): no account, no network.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Output, Stdio},
};

use perdura_harness::process::{Server, Victims};
use perdura_tests::{killed, start_perdura, tell_not_run, tool};

use super::{PATIENCE, Running, free_port, info, say, tools_of_clients::text, wait_for};

/// A server with a bucket called `bucket`, which ends with the test.
struct S3 {
    _process: Running,
    port: u16,
}

impl S3 {
    /// `None` where moto is not installed: then it is said, and with `PERDURA_MUST_RUN=1`, as in `.ci/run`, it fails.
    fn start() -> Option<S3> {
        let probe = Command::new("python3").args(["-c", "import moto.server"]).output();
        if !probe.is_ok_and(|output| output.status.success()) {
            tell_not_run("moto is not installed (tests/clients/prepare does it)");
            return None;
        }
        let port = free_port();
        let process = Command::new("python3")
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let s3 = S3 { _process: Running(process), port };
        wait_for("a bucket", || s3.put("/bucket", b"").is_some_and(|answer| answer.contains(" 200 ")));
        Some(s3)
    }

    fn put(&self, path: &str, body: &[u8]) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let len = body.len();
        let signed = "Host: localhost\r\nAuthorization: AWS any:any";
        let head = format!("PUT {path} HTTP/1.0\r\n{signed}\r\nContent-Length: {len}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tool("backup");
        command.args(arguments);
        command.env("AWS_ACCESS_KEY_ID", "any").env("AWS_SECRET_ACCESS_KEY", "any");
        command.env("AWS_REGION", "us-east-1").env("AWS_ALLOW_HTTP", "true");
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    #[track_caller]
    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    }

    #[track_caller]
    fn bad(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    }
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A server whose backup has a base of several parts and a log that is empty, and that backup.
fn backed_up() -> (Server, std::path::PathBuf) {
    let server =
        start_perdura(&[("appendonly", "yes"), ("rdbcompression", "no"), ("enable-debug-command", "yes")]);
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "DEBUG POPULATE 20000 key 1000"), "OK");
    assert!(say(&mut client, "BGREWRITEAOF").contains("started"));
    wait_for("the rewrite", || {
        info(&server, "aof_rewrites") == "1" && info(&server, "aof_rewrite_in_progress") == "0"
    });
    assert_eq!(say(&mut client, "BACKUP TO saved"), "OK");
    let saved = server.data_dir().join("saved");
    let mut lens: Vec<u64> = fs::read_dir(saved.join("appendonlydir"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect();
    lens.sort_unstable();
    assert!(lens[0] == 0 && lens[2] > 17 << 20, "an empty file and one of three parts: {lens:?}");
    (server, saved)
}

#[test]
fn a_backup_goes_to_s3_is_verified_there_and_started_from() {
    let Some(s3) = S3::start() else { return };
    let (mut server, saved) = backed_up();
    let url = "s3://bucket/perdura/monday";
    assert!(s3.bad(&["verify", url]).contains("no complete backup"));
    assert!(s3.good(&["push", name(&saved), url]).contains("complete"));
    assert!(s3.good(&["verify", url]).contains("is complete and sound: 3 files"));
    let back = server.data_dir().with_file_name("back");
    s3.good(&["pull", url, name(&back)]);
    assert!(s3.bad(&["pull", url, name(&back)]).contains("it is there already"));
    assert!(s3.bad(&["push", name(&saved), "s3://nowhere/monday"]).contains("NoSuchBucket"));
    server.kill(Victims::ServerAndChildren).unwrap();
    fs::remove_dir_all(server.data_dir()).unwrap();
    fs::rename(back, server.data_dir()).unwrap();
    server.restart().unwrap_or_else(|error| panic!("{error}\n{}", server.log_tail()));
    assert_eq!(say(&mut server.client().unwrap(), "DBSIZE"), "20000");
}

#[test]
fn what_was_changed_in_the_bucket_is_seen_and_gets_no_name() {
    let Some(s3) = S3::start() else { return };
    let (server, saved) = backed_up();
    let url = "s3://bucket/tuesday";
    s3.good(&["push", name(&saved), url]);
    let manifest = fs::read(saved.join("appendonlydir/appendonly.aof.manifest")).unwrap();
    let changed = [&manifest[..manifest.len() - 1], b" "].concat();
    let path = "/bucket/tuesday/appendonlydir/appendonly.aof.manifest";
    let put = |bytes: &[u8]| {
        let answer = s3.put(path, bytes).expect("an answer");
        assert!(answer.contains(" 200 "), "{answer}");
    };
    put(&changed);
    let back = server.data_dir().with_file_name("back");
    for arguments in [&["verify", url][..], &["pull", url, name(&back)]] {
        let said = s3.bad(arguments);
        assert!(
            said.contains("appendonly.aof.manifest: its bytes are not those that were backed up"),
            "{said}"
        );
    }
    assert!(!back.exists());
    put(&manifest);
    s3.good(&["pull", url, name(&back)]);
}

/// Calls by which an upload reaches the store.
const SENDS: [&str; 2] = ["writev", "sendto"];

#[test]
fn an_upload_that_was_killed_is_no_backup_and_the_next_one_is() {
    let Some(s3) = S3::start() else { return };
    let (_server, saved) = backed_up();
    let (mut kills, mut whole) = (0, 0);
    for call in SENDS {
        for count in 1.. {
            let url = format!("s3://bucket/{call}-{count}");
            let push = killed::at_call(&s3.command(&["push", name(&saved), &url]), call, count);
            let verdict = s3.run(&["verify", &url]);
            let said = text(&verdict);
            assert!(verdict.status.success() || said.contains("no complete backup"), "{url}: {said}");
            if push.status.success() {
                assert!(verdict.status.success(), "{url}: {said}");
                break;
            }
            (kills, whole) = (kills + 1, whole + u32::from(verdict.status.success()));
            // What was left there does not stand in the way of the next.
            s3.good(&["push", name(&saved), &url]);
            s3.good(&["verify", &url]);
        }
    }
    assert!(kills >= 8 && whole <= 2, "{kills} kills, after {whole} of them it was complete");
}
