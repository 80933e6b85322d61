//! Both ways with Debian's redis-server 7.0.15 and its tools: they load what we write, we load what they write.

use std::{fs, path::Path, process::Command, time::Duration};

use perdura_harness::{
    client::{Client, Reply},
    process::{Server, Victims},
};
use perdura_tests::{start_perdura, start_redis};

/// Settings under which Redis 7.0 reads our snapshots.
const FOR_REDIS_7_0: &[(&str, &str)] = &[("rdb-version", "10"), ("save", "")];

fn with(
    settings: &[(&'static str, &'static str)],
    more: &[(&'static str, &'static str)],
) -> Vec<(&'static str, &'static str)> {
    settings.iter().chain(more).copied().collect()
}

fn fill(client: &mut Client) {
    for (line, expected) in [
        ("SET text hello", Reply::Simple("OK".into())),
        ("SET number 12345", Reply::Simple("OK".into())),
        ("APPEND grown abc", Reply::Integer(3)),
        ("SETBIT bits 100 1", Reply::Integer(0)),
        ("SET lasting 1 PX 100000000", Reply::Simple("OK".into())),
    ] {
        assert_eq!(client.say(line).unwrap(), expected, "{line}");
    }
    let long = "abc".repeat(1000);
    assert!(client.call(&["SET", "long", &long]).unwrap().is_ok());
    assert!(client.say("SELECT 3").unwrap().is_ok());
    assert!(client.say("SET elsewhere 3").unwrap().is_ok());
    assert!(client.say("SELECT 0").unwrap().is_ok());
}

fn expect_filled(server: &Server) {
    let mut client = server.client().unwrap();
    let bulk = |text: &str| Reply::Bulk(text.into());
    assert_eq!(
        client.say("MGET text number grown").unwrap(),
        Reply::Array(vec![bulk("hello"), bulk("12345"), bulk("abc")])
    );
    assert_eq!(client.say("GETBIT bits 100").unwrap(), Reply::Integer(1));
    assert_eq!(client.say("STRLEN long").unwrap(), Reply::Integer(3000));
    assert!(client.say("PTTL lasting").unwrap().as_integer().unwrap() > 1_000_000);
    assert!(client.say("SELECT 3").unwrap().is_ok());
    assert_eq!(client.say("GET elsewhere").unwrap(), bulk("3"));
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Starts `server` again over the files of another one.
fn restart_over(server: &mut Server, files: &Path) {
    server.kill(Victims::ServerAndChildren).unwrap();
    fs::remove_dir_all(server.data_dir()).unwrap();
    copy_dir(files, &server.data_dir());
    server.restart().unwrap_or_else(|error| panic!("{error}\n{}", server.log_tail()));
}

fn tool(program: &str, file: &Path) {
    let output =
        Command::new(program).arg(file).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {}:\n{}",
        file.display(),
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn redis_loads_our_snapshot() {
    let ours = start_perdura(FOR_REDIS_7_0);
    let mut client = ours.client().unwrap();
    fill(&mut client);
    assert!(client.say("SAVE").unwrap().is_ok());
    tool("redis-check-rdb", &ours.data_dir().join("dump.rdb"));
    let mut stock = start_redis(&[("save", "")]);
    restart_over(&mut stock, &ours.data_dir());
    expect_filled(&stock);
}

#[test]
fn redis_loads_our_log_with_checksums() {
    for preamble in ["yes", "no"] {
        let ours =
            start_perdura(&with(FOR_REDIS_7_0, &[("appendonly", "yes"), ("aof-use-rdb-preamble", preamble)]));
        let mut client = ours.client().unwrap();
        fill(&mut client);
        client.say("BGREWRITEAOF").unwrap();
        wait_until(&mut client, "aof_rewrite_in_progress:0");
        assert!(client.say("SET after rewrite").unwrap().is_ok());
        tool("redis-check-aof", &ours.data_dir().join("appendonlydir/appendonly.aof.manifest"));
        let mut stock = start_redis(&[("save", ""), ("appendonly", "yes")]);
        restart_over(&mut stock, &ours.data_dir());
        expect_filled(&stock);
        assert_eq!(stock.client().unwrap().say("GET after").unwrap(), Reply::Bulk("rewrite".into()));
    }
}

#[test]
fn we_load_the_snapshot_and_the_log_of_redis() {
    for appendonly in ["no", "yes"] {
        let stock = start_redis(&[("save", ""), ("appendonly", appendonly)]);
        let mut client = stock.client().unwrap();
        fill(&mut client);
        assert!(client.say("SAVE").unwrap().is_ok());
        let mut ours = start_perdura(&with(FOR_REDIS_7_0, &[("appendonly", appendonly)]));
        restart_over(&mut ours, &stock.data_dir());
        expect_filled(&ours);
    }
}

#[test]
fn we_load_the_log_of_a_redis_killed_under_load() {
    let mut stock = start_redis(&[("save", ""), ("appendonly", "yes"), ("appendfsync", "no")]);
    let mut client = stock.client().unwrap();
    for number in 0..20_000 {
        client.queue(&["SET", &format!("key:{number}"), "value"]);
    }
    client.flush().unwrap();
    std::thread::sleep(Duration::from_millis(3));
    stock.kill(Victims::ServerAndChildren).unwrap();
    let mut ours = start_perdura(&with(FOR_REDIS_7_0, &[("appendonly", "yes")]));
    restart_over(&mut ours, &stock.data_dir());
    let count = ours.client().unwrap().say("DBSIZE").unwrap().as_integer().unwrap();
    assert!((0..=20_000).contains(&count));
    let mut client = ours.client().unwrap();
    for number in 0..count {
        assert_eq!(
            client.say(&format!("GET key:{number}")).unwrap(),
            Reply::Bulk("value".into()),
            "a prefix of what was sent"
        );
    }
}

#[test]
fn redis_goes_on_with_our_log_and_we_with_what_it_added() {
    let mut ours = start_perdura(&with(FOR_REDIS_7_0, &[("appendonly", "yes")]));
    fill(&mut ours.client().unwrap());
    ours.terminate(Duration::from_secs(10)).unwrap();
    let mut stock = start_redis(&[("save", ""), ("appendonly", "yes"), ("auto-aof-rewrite-percentage", "0")]);
    restart_over(&mut stock, &ours.data_dir());
    assert!(stock.client().unwrap().say("SET from redis").unwrap().is_ok());
    stock.terminate(Duration::from_secs(10)).unwrap();
    fs::remove_dir_all(ours.data_dir()).unwrap();
    copy_dir(&stock.data_dir(), &ours.data_dir());
    ours.restart().unwrap_or_else(|error| panic!("{error}\n{}", ours.log_tail()));
    expect_filled(&ours);
    assert_eq!(ours.client().unwrap().say("GET from").unwrap(), Reply::Bulk("redis".into()));
}

#[test]
fn redis_cli_and_redis_benchmark_run_against_us() {
    let ours = start_perdura(&[("save", "")]);
    let port = match ours.address() {
        perdura_harness::client::Address::Tcp(address) => address.port().to_string(),
        other => panic!("not TCP: {other:?}"),
    };
    let cli = Command::new("redis-cli").args(["-p", &port, "SET", "a", "1"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&cli.stdout), "OK\n");
    let benchmark = Command::new("redis-benchmark")
        .args(["-p", &port, "-n", "2000", "-P", "16", "-t", "set,get,incr", "-q"])
        .output()
        .unwrap();
    assert!(benchmark.status.success());
    let text = String::from_utf8_lossy(&benchmark.stdout);
    assert_eq!(text.matches("requests per second").count(), 3, "{text}");
}

fn wait_until(client: &mut Client, field: &str) {
    for _ in 0..200 {
        let info = client.say("INFO persistence").unwrap();
        let text = match &info {
            Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("INFO gave {other:?}"),
        };
        if text.lines().any(|line| line == field) && text.contains("aof_rewrite_scheduled:0") {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("never {field}");
}
