//! Backup drills with the real server and the real tool: under load, during rewrites, killed, damaged, moved, restored.
//!
//! What could go wrong: a backup that answers OK lacks what was acknowledged before it was asked for, holds something torn,
//! or one that was interrupted passes for complete. (Losses of power at every step are for the simulation: `archive.rs`.)

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use perdura_harness::{
    client::{Address, Reply},
    process::{Server, Victims},
};
use perdura_tests::{killed, start_perdura, tell_not_run, tool};

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn run(name: &str, arguments: &[&str]) -> Output {
    tool(name).args(arguments).output().unwrap()
}

#[track_caller]
fn good(name: &str, arguments: &[&str]) -> String {
    let output = run(name, arguments);
    assert!(output.status.success(), "{name} {arguments:?}: {}", text(&output));
    text(&output)
}

#[track_caller]
fn bad(name: &str, arguments: &[&str]) -> String {
    let output = run(name, arguments);
    assert!(!output.status.success(), "{name} {arguments:?}: {}", text(&output));
    text(&output)
}

fn port_of(server: &Server) -> String {
    match server.address() {
        Address::Tcp(address) => address.port().to_string(),
        other => panic!("not TCP: {other:?}"),
    }
}

fn beside(server: &Server, name: &str) -> PathBuf {
    server.data_dir().with_file_name(name)
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Goes on with a copy of `files` as the data directory.
fn restart_over(server: &mut Server, files: &Path) {
    server.kill(Victims::ServerAndChildren).unwrap();
    let copy = beside(server, "copy");
    assert!(std::process::Command::new("cp").arg("-r").args([files, &copy]).status().unwrap().success());
    fs::remove_dir_all(server.data_dir()).unwrap();
    fs::rename(copy, server.data_dir()).unwrap();
    server.restart().unwrap_or_else(|error| panic!("{error}\n{}", server.log_tail()));
}

#[test]
fn a_backup_under_load_and_rewrites_is_a_prefix_with_all_that_was_acknowledged() {
    let mut server = start_perdura(&[("appendonly", "yes")]);
    let (acknowledged, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let before = thread::scope(|scope| {
        let mut writer = server.client().unwrap();
        let (acknowledged, is_over) = (&acknowledged, &is_over);
        scope.spawn(move || {
            let filling = "x".repeat(100);
            while !is_over.load(Ordering::Relaxed) {
                let from = acknowledged.load(Ordering::Relaxed);
                let commands: Vec<Vec<String>> = (from..from + 50)
                    .map(|number| vec!["SET".into(), format!("key:{number}"), filling.clone()])
                    .collect();
                assert!(writer.pipeline(&commands).unwrap().iter().all(Reply::is_ok));
                acknowledged.store(from + 50, Ordering::Relaxed);
            }
        });
        let mut client = server.client().unwrap();
        wait_for(|| acknowledged.load(Ordering::Relaxed) > 5000);
        client.say("BGREWRITEAOF").unwrap();
        let before = acknowledged.load(Ordering::Relaxed);
        let reply = client.say("BACKUP TO saved").unwrap();
        client.say("BGREWRITEAOF").unwrap();
        let second = client.say("BACKUP TO saved").unwrap();
        is_over.store(true, Ordering::Relaxed);
        assert!(reply.is_ok(), "{reply:?}");
        assert!(matches!(second, Reply::Error(_)), "the directory is not empty: {second:?}");
        before
    });
    let saved = beside(&server, "saved");
    fs::rename(server.data_dir().join("saved"), &saved).unwrap();
    assert!(good("backup", &["verify", name(&saved)]).contains("is complete and sound"));
    restart_over(&mut server, &saved);
    let mut client = server.client().unwrap();
    let count = client.say("DBSIZE").unwrap().as_integer().unwrap() as u64;
    assert!(count >= before, "{count} keys, {before} were acknowledged before");
    let last = client.call(&["EXISTS", &format!("key:{}", count - 1)]).unwrap();
    assert_eq!(last, Reply::Integer(1), "a prefix of what was sent");
}

fn wait_for(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "it never came");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_backup_from_outside_goes_through_a_store_and_back() {
    let server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    for line in ["SET a 1", "HSET h f v", "ZADD z 1.5 m", "XADD s 1-1 f v", "SADD t x y"] {
        assert!(!matches!(client.say(line).unwrap(), Reply::Error(_)), "{line}");
    }
    assert!(client.say("CONFIG SET requirepass secret").unwrap().is_ok());
    let port = port_of(&server);
    let refused = tool("backup").args(["to", "saved", "-p", &port]).output().unwrap();
    assert!(!refused.status.success() && text(&refused).contains("NOAUTH"), "{}", text(&refused));
    let asked =
        tool("backup").args(["to", "saved", "-p", &port]).env("REDISCLI_AUTH", "secret").output().unwrap();
    assert!(asked.status.success() && text(&asked).contains("verified by the server"), "{}", text(&asked));
    let saved = server.data_dir().join("saved");
    let sums = std::process::Command::new("sha256sum")
        .args(["--quiet", "-c", "perdura-backup.sha256"])
        .current_dir(&saved)
        .output()
        .unwrap();
    assert!(sums.status.success(), "{}", text(&sums));
    let store = beside(&server, "store");
    fs::create_dir(&store).unwrap();
    let url = format!("file://{}/monday", store.display());
    good("backup", &["push", name(&saved), &url]);
    let back = beside(&server, "back");
    good("backup", &["pull", &url, name(&back)]);
    assert!(good("inspect", &["diff", name(&saved), name(&back)]).contains("0 keys in both, and different"));
    assert!(
        good("inspect", &["diff", name(&server.data_dir().join("appendonlydir")), name(&back)])
            .contains("0 keys")
    );
    client.say("SET a 2").unwrap();
    client.say("DEL h").unwrap();
    let differs = bad("inspect", &["diff", name(&server.data_dir().join("appendonlydir")), name(&back)]);
    assert!(differs.contains("db0 a") && differs.contains("db0 h"), "{differs}");
}

#[test]
fn a_backup_that_was_killed_is_no_backup() {
    let mut server = start_perdura(&[("appendonly", "yes"), ("appendfsync", "no")]);
    let filling = "x".repeat(20_000);
    let mut complete = 0;
    for round in 0..8 {
        let mut client = server.client().unwrap();
        for number in 0..300 {
            client.call(&["SET", &format!("key:{round}:{number}"), &filling]).unwrap();
        }
        let dir = format!("saved-{round}");
        client.queue(&["BACKUP", "TO", &dir]);
        client.flush().unwrap();
        thread::sleep(Duration::from_millis(round * 6));
        server.kill(Victims::ServerAndChildren).unwrap();
        let saved = server.data_dir().join(&dir);
        let is_listed = saved.join("perdura-backup.sha256").exists();
        if saved.exists() {
            let verdict = run("backup", &["verify", name(&saved)]);
            assert_eq!(verdict.status.success(), is_listed, "round {round}: {}", text(&verdict));
        }
        complete += u32::from(is_listed);
        server.restart().unwrap_or_else(|error| panic!("{error}\n{}", server.log_tail()));
        let count = server.client().unwrap().say("DBSIZE").unwrap().as_integer().unwrap() as u64;
        assert_eq!(count, (round + 1) * 300, "round {round}");
    }
    assert!(complete < 8, "no kill came in time");
}

/// Calls by which a backup changes the disk.
const STEPS_OF_A_BACKUP: [&str; 7] =
    ["mkdirat", "linkat", "write", "fdatasync", "fsync", "renameat,renameat2", "unlinkat"];

#[test]
fn a_server_killed_at_any_step_of_a_backup_starts_again_and_the_backup_is_whole_or_none() {
    let mut server = start_perdura(&[("appendonly", "yes"), ("appendfsync", "always")]);
    for number in 0..10 {
        assert!(server.client().unwrap().say(&format!("SET key:{number} value")).unwrap().is_ok());
    }
    let saved = server.data_dir().join("saved");
    let mut kills = 0;
    for call in STEPS_OF_A_BACKUP {
        for count in 1..60 {
            let mut client = server.client().unwrap();
            let Some(tracer) = killed::attach(server.pid(), call, count) else {
                tell_not_run("the kernel does not let strace attach to the server");
                return;
            };
            let is_over = client.say("BACKUP TO saved").is_ok_and(|reply| reply.is_ok());
            // The tracer lets go first: what it has stopped does not die.
            drop(tracer);
            server.kill(Victims::ServerAndChildren).unwrap();
            let is_listed = saved.join("perdura-backup.sha256").exists();
            assert!(is_listed || !is_over, "{call} {count}: it answered OK");
            if saved.exists() {
                let verdict = run("backup", &["verify", name(&saved)]);
                assert_eq!(verdict.status.success(), is_listed, "{call} {count}: {}", text(&verdict));
                fs::remove_dir_all(&saved).unwrap();
            }
            server.restart().unwrap_or_else(|error| panic!("{call} {count}: {error}\n{}", server.log_tail()));
            let size = server.client().unwrap().say("DBSIZE").unwrap();
            assert_eq!(size, Reply::Integer(10), "{call} {count}");
            if is_over {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= 15, "{kills} kills only");
}

#[test]
fn a_download_killed_at_any_step_leaves_no_backup_or_a_whole_one() {
    let server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    assert!(client.say("SET key value").unwrap().is_ok());
    assert!(client.say("BACKUP TO saved").unwrap().is_ok());
    let (store, back) = (beside(&server, "store"), beside(&server, "back"));
    fs::create_dir(&store).unwrap();
    let url = format!("file://{}/monday", store.display());
    good("backup", &["push", name(&server.data_dir().join("saved")), &url]);
    let mut program = tool("backup");
    program.args(["pull", &url, name(&back)]);
    let kills = killed::at_each_step(&program, "", |step| {
        if back.exists() {
            let verdict = run("backup", &["verify", name(&back)]);
            assert!(verdict.status.success(), "{step}: {}", text(&verdict));
            fs::remove_dir_all(&back).unwrap();
        }
    });
    assert!(kills > 10, "{kills} kills only");
    good("backup", &["pull", &url, name(&back)]);
}

#[test]
fn a_damaged_backup_does_not_verify() {
    let server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    assert!(client.say("SET key value").unwrap().is_ok());
    assert!(client.say("BACKUP TO saved").unwrap().is_ok());
    let saved = server.data_dir().join("saved");
    let log = saved.join("appendonlydir/appendonly.aof.1.incr.aof");
    let bytes = fs::read(&log).unwrap();
    for (what, damaged) in [
        ("its bytes are not those", [&bytes[..bytes.len() - 1], b"\0"].concat()),
        ("its bytes are not those", bytes[..bytes.len() - 1].to_vec()),
    ] {
        fs::write(&log, damaged).unwrap();
        assert!(bad("backup", &["verify", name(&saved)]).contains(what));
    }
    fs::remove_file(&log).unwrap();
    assert!(bad("backup", &["verify", name(&saved)]).contains("No such file"));
    fs::write(&log, &bytes).unwrap();
    good("backup", &["verify", name(&saved)]);
    fs::remove_file(saved.join("perdura-backup.sha256")).unwrap();
    assert!(bad("backup", &["verify", name(&saved)]).contains("no complete backup"));
}

#[test]
fn a_server_without_a_log_is_backed_up_by_a_snapshot() {
    let mut server = start_perdura(&[]);
    let mut client = server.client().unwrap();
    assert!(client.say("SET key value").unwrap().is_ok());
    assert!(client.say("BACKUP TO saved").unwrap().is_ok());
    assert!(client.say("SET key later").unwrap().is_ok());
    let saved = beside(&server, "saved");
    fs::rename(server.data_dir().join("saved"), &saved).unwrap();
    good("backup", &["verify", name(&saved)]);
    restart_over(&mut server, &saved);
    assert_eq!(server.client().unwrap().say("GET key").unwrap(), Reply::Bulk("value".into()));
}

#[test]
fn a_restore_reaches_back_across_rewrites() {
    let mut server = start_perdura(&[("appendonly", "yes"), ("aof-archive-dir", "old")]);
    let mut client = server.client().unwrap();
    assert!(client.say("SET a 1").unwrap().is_ok());
    assert!(client.say("FLUSHALL").unwrap().is_ok());
    for round in 1..=2 {
        assert!(client.say(&format!("SET later {round}")).unwrap().is_ok());
        client.say("BGREWRITEAOF").unwrap();
        let sets = format!("aof_archive_sets:{round}\r\n");
        wait_for(|| {
            let info = client.say("INFO persistence").unwrap();
            String::from_utf8_lossy(info.as_bytes().unwrap_or_default()).contains(&sets)
        });
    }
    let target = beside(&server, "restored");
    let said = good("restore", &["--to", "before:FLUSHALL", name(&server.data_dir()), name(&target)]);
    assert!(said.contains("Left out: 3 commands (FLUSHALL 1, SET 2)"), "{said}");
    restart_over(&mut server, &target);
    let mut client = server.client().unwrap();
    assert_eq!(client.say("GET a").unwrap(), Reply::Bulk("1".into()));
    assert_eq!(client.say("DBSIZE").unwrap(), Reply::Integer(1));
}

#[test]
fn inspect_tells_what_is_there() {
    let server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    for line in ["SET user:1 ann", "SET user:2 bob", "RPUSH queue a b", "HSET h f v", "SELECT 3", "SET n 5"] {
        assert!(!matches!(client.say(line).unwrap(), Reply::Error(_)), "{line}");
    }
    let dir = server.data_dir();
    let summary = good("inspect", &["summary", name(&dir)]);
    for part in ["Keys: 5", "db3: 1 keys", "string: 3 keys", "Log: 5 commands", "  SET: 3\n"] {
        assert!(summary.contains(part), "{part}: {summary}");
    }
    let prefixes = good("inspect", &["keys", name(&dir), "--by", "prefix"]);
    assert!(prefixes.contains("2 keys  user:"), "{prefixes}");
    assert!(good("inspect", &["keys", name(&dir), "--by", "type"]).contains("list listpack"));
    assert_eq!(good("inspect", &["keys", name(&dir), "--top", "2"]).lines().count(), 2);
    let record = good("inspect", &["record", name(&dir), "60"]);
    assert!(record.contains("command number 1") && record.contains("1: user:1"), "{record}");
    let json = good("inspect", &["export", name(&dir)]);
    assert!(json.contains(r#"{"db":0,"key":"h","type":"hash","value":{"f":"v"}}"#), "{json}");
    assert!(json.contains(r#"{"db":3,"key":"n","type":"string","value":"5"}"#), "{json}");
    let resp = run("inspect", &["export", name(&dir), "--format", "resp"]).stdout;
    let file = beside(&server, "export.aof");
    fs::write(&file, &resp).unwrap();
    good("check-aof", &[name(&file)]);
    assert!(good("inspect", &["diff", name(&dir), name(&file)]).contains("0 keys in both, and different"));
}
