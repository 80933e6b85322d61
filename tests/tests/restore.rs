//! Restore drills: a data directory is built that ends at a point of the past, and a server started on it.
//!
//! What could go wrong: the point is off by a command, half a transaction is kept, the source is touched, a restore that was
//! killed looks like a finished one. Each drill runs the real tool and the real server.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use perdura_harness::{
    client::{Client, Reply},
    process::{Server, Victims},
};
use perdura_tests::{killed, start_perdura, tool};

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn restore(to: &str, source: &Path, target: &Path) -> Output {
    tool("restore").args(["--to", to]).args([source, target]).output().unwrap()
}

#[track_caller]
fn restored(to: &str, source: &Path, target: &Path) -> String {
    let output = restore(to, source, target);
    assert!(output.status.success(), "--to {to}: {}", text(&output));
    let manifest = target.join("appendonlydir/appendonly.aof.manifest");
    let check = tool("check-aof").arg(&manifest).output().unwrap();
    assert!(check.status.success(), "{}", text(&check));
    text(&output)
}

/// Every file below a directory with its bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

fn beside(server: &Server, name: &str) -> PathBuf {
    server.data_dir().with_file_name(name)
}

/// Goes on with `files` as the data directory.
fn restart_over(server: &mut Server, files: &Path) -> Client {
    server.kill(Victims::ServerAndChildren).unwrap();
    fs::remove_dir_all(server.data_dir()).unwrap();
    fs::rename(files, server.data_dir()).unwrap();
    server.restart().unwrap_or_else(|error| panic!("{error}\n{}", server.log_tail()));
    server.client().unwrap()
}

fn dbsize(client: &mut Client) -> i64 {
    client.say("DBSIZE").unwrap().as_integer().unwrap()
}

/// Sends commands in one go, so that they become one batch.
fn at_once(client: &mut Client, lines: &[&str]) {
    let commands: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    for reply in client.pipeline(&commands).unwrap() {
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
    }
}

#[test]
fn flushall_is_undone() {
    let mut server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    for number in 0..100 {
        client.call(&["SET", &format!("key:{number}"), "value"]).unwrap();
    }
    client.say("BGREWRITEAOF").unwrap();
    at_once(&mut client, &["SET one more", "SET two more", "FLUSHALL", "SET later 1", "DEL later"]);
    server.kill(Victims::ServerAndChildren).unwrap();
    let before = contents(&server.data_dir());
    let target = beside(&server, "restored");
    let said = restored("before:FLUSHALL", &server.data_dir(), &target);
    assert_eq!(contents(&server.data_dir()), before, "the source is only read");
    for part in ["Ends before FLUSHALL", "Left out: 3 commands (DEL 1, FLUSHALL 1, SET 1)", "  SET later 1\n"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let left_out = fs::read(target.join("left-out.aof")).unwrap();
    let expected = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*1\r\n$8\r\nFLUSHALL\r\n*3\r\n$3\r\nSET\r\n$5\r\nlater\r\n$1\r\n1\r\n\
                    *2\r\n$3\r\nDEL\r\n$5\r\nlater\r\n";
    assert_eq!(String::from_utf8_lossy(&left_out), expected);
    let mut client = restart_over(&mut server, &target);
    assert_eq!(dbsize(&mut client), 102);
    assert_eq!(client.say("GET two").unwrap(), Reply::Bulk("more".into()));
    assert!(client.say("SET and on").unwrap().is_ok());
}

#[test]
fn a_restore_may_end_before_any_command_of_a_batch() {
    let server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    at_once(
        &mut client,
        &["SET a 1", "SET b 2", "SELECT 5", "SET c 3", "MULTI", "SET d 4", "SET e 5", "EXEC", "SET f 6"],
    );
    // Commands kept, for each that is left out: those of the transaction go together.
    for (number, kept) in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 3), (6, 5)] {
        let target = beside(&server, &format!("before-{number}"));
        let said = restored(&format!("before:{number}"), &server.data_dir(), &target);
        assert!(said.contains(&format!(" {kept} commands behind it")), "before:{number}: {said}");
        assert!(said.contains(&format!("Left out: {} command", 6 - kept)), "before:{number}: {said}");
    }
    for (point, reason) in [
        ("before:7", "no command number 7"),
        ("before:FLUSHDB", "no FLUSHDB in the log"),
        ("9999999999", "carries no times"),
    ] {
        let output = restore(point, &server.data_dir(), &beside(&server, "nothing"));
        assert!(!output.status.success() && text(&output).contains(reason), "{point}: {}", text(&output));
        assert!(!beside(&server, "nothing").exists());
    }
}

#[test]
fn half_a_batch_starts_and_goes_on() {
    let mut server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    at_once(&mut client, &["SELECT 3", "SET a 1", "SET b 2", "DEL a"]);
    let target = beside(&server, "restored");
    restored("before:del a", &server.data_dir(), &target);
    let mut client = restart_over(&mut server, &target);
    assert!(client.say("SELECT 3").unwrap().is_ok());
    assert_eq!(
        client.say("MGET a b").unwrap(),
        Reply::Array(vec![Reply::Bulk("1".into()), Reply::Bulk("2".into())])
    );
    assert!(client.say("SET c 3").unwrap().is_ok());
    server.kill(Victims::ServerAndChildren).unwrap();
    server.restart().unwrap_or_else(|error| panic!("{error}\n{}", server.log_tail()));
    let mut client = server.client().unwrap();
    assert!(client.say("SELECT 3").unwrap().is_ok());
    assert_eq!(dbsize(&mut client), 3);
}

#[test]
fn a_restore_ends_at_a_second() {
    let mut server = start_perdura(&[("appendonly", "yes"), ("aof-timestamp-enabled", "yes")]);
    let mut client = server.client().unwrap();
    assert!(client.say("SET early 1").unwrap().is_ok());
    let second = client.say("TIME").unwrap().into_elements().unwrap()[0].as_bytes().unwrap().to_vec();
    let second = String::from_utf8(second).unwrap();
    std::thread::sleep(Duration::from_millis(2100));
    at_once(&mut client, &["SET late 1", "SET early 2"]);
    let target = beside(&server, "restored");
    let said = restored(&second, &server.data_dir(), &target);
    assert!(said.contains("Left out: 2 commands (SET 2)"), "{said}");
    let output = restore("1000000000", &server.data_dir(), &beside(&server, "older"));
    assert!(text(&output).contains("the oldest base that is kept was made at"), "{}", text(&output));
    let mut client = restart_over(&mut server, &target);
    assert_eq!(client.say("GET early").unwrap(), Reply::Bulk("1".into()));
    assert_eq!(dbsize(&mut client), 1);
}

#[test]
fn a_torn_end_is_left_out_and_damage_is_named() {
    let mut server = start_perdura(&[("appendonly", "yes"), ("appendfsync", "always")]);
    let mut client = server.client().unwrap();
    for line in ["SET a 1", "SET b 2", "SET c 3"] {
        assert!(client.say(line).unwrap().is_ok());
    }
    server.kill(Victims::ServerAndChildren).unwrap();
    let log = server.data_dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 4]).unwrap();
    let said = restored("end", &server.data_dir(), &beside(&server, "torn"));
    assert!(said.contains("Ends before the torn end") && said.contains(" 2 commands behind it"), "{said}");
    let mut rotten = bytes.clone();
    let at = rotten.windows(8).position(|window| window == b"$1\r\na\r\n$").unwrap();
    rotten[at + 4] = b'x';
    fs::write(&log, &rotten).unwrap();
    let output = restore("end", &server.data_dir(), &beside(&server, "rotten"));
    assert!(!output.status.success() && text(&output).contains("is damaged at"), "{}", text(&output));
}

#[test]
fn a_target_with_something_in_it_is_refused() {
    let server = start_perdura(&[("appendonly", "yes")]);
    let target = beside(&server, "target");
    fs::create_dir(&target).unwrap();
    restored("end", &server.data_dir(), &target);
    let output = restore("end", &server.data_dir(), &target);
    assert!(!output.status.success() && text(&output).contains("not empty"), "{}", text(&output));
}

#[test]
fn a_restore_killed_at_any_step_leaves_no_target_or_a_whole_one() {
    let mut server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    at_once(&mut client, &["SET a 1", "SET b 2", "FLUSHALL"]);
    server.kill(Victims::ServerAndChildren).unwrap();
    let before = contents(&server.data_dir());
    let target = beside(&server, "restored");
    let manifest = target.join("appendonlydir/appendonly.aof.manifest");
    let mut program = tool("restore");
    program.args(["--to", "before:FLUSHALL"]).args([server.data_dir(), target.clone()]);
    let kills = killed::at_each_step(&program, "", |step| {
        assert_eq!(contents(&server.data_dir()), before, "{step}");
        assert_eq!(target.exists(), manifest.exists(), "{step}: a target that is not whole");
        if target.exists() {
            let check = tool("check-aof").arg(&manifest).output().unwrap();
            assert!(check.status.success(), "{step}: {}", text(&check));
            fs::remove_dir_all(&target).unwrap();
        }
    });
    assert!(kills > 10, "{kills} kills only");
    restored("before:FLUSHALL", &server.data_dir(), &target);
}
