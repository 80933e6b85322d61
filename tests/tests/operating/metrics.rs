//! The metrics endpoint: as a scraper, a probe and a browser meet it, and as a stranger may abuse it.
//!
//! What could go wrong: a figure is wrong or missing, the page draws nothing, a slow reader holds the server up, a
//! snapshot child keeps the port.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use perdura_harness::process::{Server, Victims};
use perdura_tests::start_perdura;

use super::{PATIENCE, free_port, info, say, wait_for};

fn with_metrics(settings: &[(&str, &str)]) -> (Server, u16) {
    let port = free_port();
    let text = port.to_string();
    let own = [("metrics-port", text.as_str()), ("enable-debug-command", "yes")];
    let all: Vec<(&str, &str)> = settings.iter().copied().chain(own).collect();
    (start_perdura(&all), port)
}

/// Status line and body; the connection is closed by the server.
fn get(port: u16, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("headers end");
    (head.lines().next().unwrap_or_default().into(), body.into())
}

/// One sample of `/metrics`.
fn sample(port: u16, name: &str) -> Option<f64> {
    let (_, text) = get(port, "/metrics");
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_scraper_reads_what_info_shows() {
    let (server, port) = with_metrics(&[("appendonly", "yes"), ("appendfsync", "always")]);
    let mut client = server.client().unwrap();
    for number in 0..50 {
        assert_eq!(say(&mut client, &format!("SET key:{number} value")), "OK");
    }
    wait_for("the figures of now", || sample(port, "perdura_keys") == Some(50.0));
    wait_for("all is synced", || sample(port, "perdura_power_loss_bytes") == Some(0.0));
    assert_eq!(sample(port, "perdura_log_policy{policy=\"always\"}"), Some(1.0));
    assert_eq!(sample(port, "perdura_takes_writes"), Some(1.0));
    assert!(sample(port, "perdura_commands_total").unwrap() >= 50.0);
    assert!(sample(port, "perdura_memory_resident_bytes").unwrap() > 1e6);
    let syncs: f64 = info(&server, "perdura_syncs").parse().unwrap();
    wait_for("syncs", || sample(port, "perdura_sync_seconds_count") == Some(syncs));
    let histogram = info(&server, "perdura_sync_histogram_us");
    let (_, last) = histogram.rsplit_once('=').expect("some steps");
    assert_eq!(last.parse::<f64>().unwrap(), syncs, "{histogram}");
    assert!(get(port, "/metrics").0.contains("200"));
    assert!(get(port, "/healthz").0.contains("200") && get(port, "/readyz").0.contains("200"));
    assert!(get(port, "/nowhere").0.contains("404"));
}

#[test]
fn unsynced_writes_are_shown_before_they_are_lost() {
    let (server, port) = with_metrics(&[("appendonly", "yes"), ("appendfsync", "no")]);
    let mut client = server.client().unwrap();
    for number in 0..10 {
        say(&mut client, &format!("SET key:{number} value"));
    }
    wait_for("ten commands", || sample(port, "perdura_power_loss_commands") == Some(10.0));
    assert!(sample(port, "perdura_power_loss_bytes").unwrap() > 300.0);
    assert_eq!(info(&server, "perdura_power_loss_commands"), "10");
}

#[test]
fn the_server_is_not_ready_while_it_loads() {
    let (mut server, port) = with_metrics(&[("appendonly", "yes")]);
    say(&mut server.client().unwrap(), "DEBUG POPULATE 300000 key 200");
    say(&mut server.client().unwrap(), "BGREWRITEAOF");
    wait_for("the rewrite", || {
        info(&server, "aof_rewrites") == "1" && info(&server, "aof_rewrite_in_progress") == "0"
    });
    server.kill(Victims::ServerAndChildren).unwrap();
    server.spawn().unwrap();
    let mut seen_loading = false;
    wait_for("ready", || {
        let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
        drop(stream);
        let (status, body) = get(port, "/readyz");
        seen_loading |= status.contains("503") && body.starts_with("loading");
        status.contains("200")
    });
    assert!(seen_loading, "loading takes longer than a look");
}

#[test]
fn strangers_who_dawdle_hold_nobody_up() {
    let (server, port) = with_metrics(&[]);
    let dawdlers: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let mut client = server.client().unwrap();
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(say(&mut client, "PING"), "PONG");
    }
    assert!(begun.elapsed() < PATIENCE / 3, "the engine waits for nobody");
    // Those that are kept waiting are given up after a few seconds.
    wait_for("an answer", || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut answer = String::new();
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n");
        stream.read_to_string(&mut answer).is_ok() && answer.contains("200 OK")
    });
    drop(dawdlers);
}

#[test]
fn a_snapshot_child_does_not_keep_the_port() {
    let (server, port) = with_metrics(&[("rdb-key-save-delay", "100000")]);
    let mut client = server.client().unwrap();
    for number in 0..100 {
        say(&mut client, &format!("SET key:{number} value"));
    }
    let mut asker = TcpStream::connect(("127.0.0.1", port)).unwrap();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(say(&mut client, "BGSAVE"), "Background saving started");
    wait_for("a running snapshot", || sample(port, "perdura_snapshot_running") == Some(1.0));
    // The child was forked while this connection was open; its end must be seen here all the same.
    write!(asker, "GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    asker.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answer = String::new();
    asker.read_to_string(&mut answer).expect("the connection is closed though the child lives");
    assert!(answer.contains("200 OK"));
    assert_eq!(info(&server, "rdb_bgsave_in_progress"), "1");
}

/// A client that sends all it has and shuts its side down is still owed its replies, which wait for the disk.
#[test]
fn who_sends_nothing_more_still_gets_replies_that_wait_for_the_disk() {
    let server = start_perdura(&[("appendonly", "yes"), ("appendfsync", "always")]);
    let perdura_harness::client::Address::Tcp(address) = server.address() else { panic!("not TCP") };
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"SET a 1\r\nINCR a\r\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut replies = String::new();
        stream.read_to_string(&mut replies).unwrap();
        assert_eq!(replies, "+OK\r\n:2\r\n");
    }
}

/// The page in a real browser. `PERDURA_SCREENSHOT=path` keeps what it looks like.
#[test]
fn the_page_draws_its_plots_in_a_browser() {
    let (server, port) = with_metrics(&[("appendonly", "yes"), ("rdb-key-save-delay", "1000")]);
    let seconds = if std::env::var_os("PERDURA_SCREENSHOT").is_some() { 45 } else { 4 };
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut client = server.client().unwrap();
    say(&mut client, "DEBUG POPULATE 2000 key 100");
    let mut round = 0u64;
    while Instant::now() < until {
        round += 1;
        for number in 0..round % 300 {
            say(&mut client, &format!("SET counter:{round}:{number} 0123456789"));
        }
        match round % 60 {
            10 => drop(say(&mut client, "BGSAVE")),
            30 => drop(say(&mut client, "BGREWRITEAOF")),
            50 => drop(say(&mut client, &format!("BACKUP TO backup-{round}"))),
            _ => thread::sleep(Duration::from_millis(10)),
        }
    }
    let scratch = server.data_dir().with_file_name("browser");
    let page = browse(port, &scratch, &["--dump-dom"]);
    assert_eq!(page.matches("<polyline").count(), 5, "five plots with a line: {page}");
    assert!(page.contains("class=\"good\">serving"), "{page}");
    let line = page.split("<polyline points=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert!(line.split(' ').count() >= 2, "a line of several points: {line}");
    for row in ["snapshots", "rewrites", "backups"] {
        assert!(page.contains(&format!(">{row}</td>")), "{row}: {page}");
    }
    if let Some(path) = std::env::var_os("PERDURA_SCREENSHOT") {
        let to = format!("--screenshot={}", Path::new(&path).display());
        browse(port, &scratch, &[&to, "--window-size=1180,505", "--hide-scrollbars"]);
    }
}

/// Opens the page in headless chromium, lets its script run, and gives what chromium prints.
fn browse(port: u16, scratch: &Path, arguments: &[&str]) -> String {
    fs::create_dir_all(scratch).unwrap();
    let output = Command::new("timeout")
        .args([
            "60",
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .arg(format!("--user-data-dir={}", scratch.display()))
        .args(["--no-first-run", "--virtual-time-budget=3000"])
        .args(arguments)
        .arg(format!("http://127.0.0.1:{port}/"))
        .env("HOME", scratch)
        .output()
        .expect("chromium is installed (.ci/run does it)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
