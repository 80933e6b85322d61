//! The check tools against the stock ones: the same verdict on the same file, at every truncation point.
//!
//! What could go wrong: a script that relies on the exit status of redis-check-aof gets another one from ours; or a fix
//! leaves another file than the stock fix. Each verdict is taken from both tools and compared.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use perdura_harness::process::{Server, Victims};
use perdura_tests::{killed, start_perdura, start_redis, tool};

/// A directory of our own below the server's, which goes away with it.
fn scratch(server: &Server) -> PathBuf {
    let dir = server.data_dir().with_file_name("scratch");
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn output(command: &mut Command, answer: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // A tool that asks nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(answer.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn ours(name: &str, arguments: &[&str], answer: &str) -> Output {
    output(tool(name).args(arguments), answer)
}

fn stock(name: &str, arguments: &[&str], answer: &str) -> Output {
    output(Command::new(format!("redis-{name}")).args(arguments), answer)
}

fn is_agreed(name: &str, path: &Path, what: &str) -> bool {
    let path = path.to_str().unwrap();
    let (ours, stock) = (ours(name, &[path], ""), stock(name, &[path], ""));
    assert_eq!(ours.status.code(), stock.status.code(), "{what}:\n{}---\n{}", text(&ours), text(&stock));
    ours.status.success()
}

/// A log with a transaction, a second database, an expiry and time annotations, as a stock server writes it.
fn stock_log() -> (Server, Vec<u8>) {
    let server = start_redis(&[("save", ""), ("appendonly", "yes"), ("aof-timestamp-enabled", "yes")]);
    let mut client = server.client().unwrap();
    for line in ["SET a 1", "SET b 2 PX 100000000", "SELECT 3", "MULTI", "RPUSH l x", "INCR n", "EXEC"] {
        client.say(line).unwrap();
    }
    let path = server.data_dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    let bytes = fs::read(path).unwrap();
    (server, bytes)
}

#[test]
fn a_log_cut_anywhere_is_judged_and_fixed_as_by_the_stock_tool() {
    let (server, log) = stock_log();
    let dir = scratch(&server);
    let (one, other) = (dir.join("one.aof"), dir.join("other.aof"));
    let (one_path, other_path) = (one.to_str().unwrap(), other.to_str().unwrap());
    let mut valid = 0;
    for len in 0..=log.len() {
        fs::write(&one, &log[..len]).unwrap();
        let line = log[..len].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        if log.get(line) == Some(&b'#') && line < len {
            // The stock tool takes the beginning of an annotation for one: the next record would become part of it.
            assert!(!ours("check-aof", &[one_path], "").status.success(), "annotation cut at {len}");
            continue;
        }
        if is_agreed("check-aof", &one, &format!("cut at {len}")) {
            valid += 1;
            continue;
        }
        fs::write(&other, &log[..len]).unwrap();
        let (ours, stock) = (
            ours("check-aof", &["--fix", one_path], "y\n"),
            stock("check-aof", &["--fix", other_path], "y\n"),
        );
        assert_eq!(ours.status.code(), stock.status.code(), "fix at {len}: {}", text(&ours));
        assert_eq!(fs::read(&one).unwrap(), fs::read(&other).unwrap(), "fix at {len}: {}", text(&ours));
    }
    // Nothing, after the annotation, after each command outside of the transaction.
    assert!((5..12).contains(&valid), "{valid} valid lengths");
}

#[test]
fn a_log_with_a_byte_changed_is_judged_as_by_the_stock_tool() {
    let (server, log) = stock_log();
    let path = scratch(&server).join("changed.aof");
    for at in 0..log.len() {
        let mut changed = log.clone();
        changed[at] = b'*';
        fs::write(&path, &changed).unwrap();
        is_agreed("check-aof", &path, &format!("byte {at}"));
    }
}

#[test]
fn our_log_cut_anywhere_is_valid_only_where_a_batch_ends() {
    let server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    for line in ["SET a 1", "SET b 2", "LPUSH l 1 2 3"] {
        assert!(!matches!(client.say(line).unwrap(), perdura_harness::client::Reply::Error(_)));
    }
    let log = fs::read(server.data_dir().join("appendonlydir/appendonly.aof.1.incr.aof")).unwrap();
    let path = scratch(&server).join("appendonly.aof");
    let starts: Vec<usize> =
        (0..log.len()).filter(|&at| log[at..].starts_with(b"#C:")).chain([log.len()]).collect();
    for len in 0..=log.len() {
        fs::write(&path, &log[..len]).unwrap();
        let verdict = ours("check-aof", &[path.to_str().unwrap()], "");
        let said = text(&verdict);
        assert_eq!(verdict.status.success(), starts.contains(&len), "cut at {len}: {said}");
        if !verdict.status.success() {
            let batch = starts.iter().rfind(|&&start| start < len).unwrap();
            assert!(said.contains(&format!("ok_up_to={batch},")), "cut at {len}: {said}");
            assert!(said.contains("First bad offset: "), "{said}");
        }
    }
}

#[test]
fn a_flipped_bit_is_found_that_no_stock_tool_sees() {
    let server = start_perdura(&[("appendonly", "yes")]);
    assert!(server.client().unwrap().say("SET key value").unwrap().is_ok());
    let dir = scratch(&server);
    let path = dir.join("appendonly.aof");
    let mut log = fs::read(server.data_dir().join("appendonlydir/appendonly.aof.1.incr.aof")).unwrap();
    let at = log.windows(5).position(|window| window == b"value").unwrap();
    log[at] = b'V';
    fs::write(&path, &log).unwrap();
    assert!(stock("check-aof", &[path.to_str().unwrap()], "").status.success());
    let said = ours("check-aof", &["--fix", path.to_str().unwrap()], "n\n");
    assert!(!said.status.success());
    for part in ["a batch does not match its checksum", "A fix would drop 1 command (SET 1)", "Aborting..."] {
        assert!(text(&said).contains(part), "{}", text(&said));
    }
    assert_eq!(fs::read(&path).unwrap(), log, "nothing was agreed to");
    let said = ours("check-aof", &["--fix", path.to_str().unwrap()], "y\n");
    assert!(
        said.status.success() && text(&said).contains("kept in ./cut-appendonly.aof-0"),
        "{}",
        text(&said)
    );
    assert_eq!(fs::read(dir.join("cut-appendonly.aof-0")).unwrap(), log);
}

#[test]
fn a_fix_killed_at_any_step_leaves_the_file_whole_or_cut_and_nothing_is_lost() {
    let server = start_perdura(&[("appendonly", "yes")]);
    for line in ["SET a 1", "SET b 2"] {
        assert!(server.client().unwrap().say(line).unwrap().is_ok());
    }
    let dir = scratch(&server);
    let path = dir.join("appendonly.aof");
    let log = fs::read(server.data_dir().join("appendonlydir/appendonly.aof.1.incr.aof")).unwrap();
    let torn = &log[..log.len() - 3];
    let good = log.windows(3).rposition(|window| window == b"#C:").unwrap();
    let copy = dir.join(format!("cut-appendonly.aof-{good}"));
    fs::write(&path, torn).unwrap();
    let mut program = tool("check-aof");
    program.args(["--fix", path.to_str().unwrap()]);
    let mut fixed = 0;
    let kills = killed::at_each_step(&program, "y\n", |step| {
        let found = fs::read(&path).unwrap();
        if found != torn {
            assert_eq!(found, &torn[..good], "{step}");
            assert_eq!(fs::read(&copy).unwrap(), &torn[good..], "{step}: what was cut is kept");
            fixed += 1;
        }
        fs::write(&path, torn).unwrap();
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().starts_with("cut-") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    });
    assert!(kills >= 5 && fixed >= 2, "{kills} kills, {fixed} times fixed");
    // A copy that an earlier, killed run left half written is in nobody's way.
    fs::write(&copy, &torn[good..good + 2]).unwrap();
    assert!(output(&mut program, "y\n").status.success());
    assert_eq!(fs::read(&path).unwrap(), &torn[..good]);
}

#[test]
fn sets_are_judged_as_by_the_stock_tool() {
    let (mut server, log) = stock_log();
    server.kill(Victims::ServerAndChildren).unwrap();
    let dir = server.data_dir().join("appendonlydir");
    let manifest = dir.join("appendonly.aof.manifest");
    let listed = fs::read(&manifest).unwrap();
    let (incr, base) = (dir.join("appendonly.aof.1.incr.aof"), dir.join("appendonly.aof.1.base.rdb"));
    assert!(is_agreed("check-aof", &manifest, "as it is"));
    let base_bytes = fs::read(&base).unwrap();
    fs::write(&base, &base_bytes[..base_bytes.len() - 3]).unwrap();
    assert!(!is_agreed("check-aof", &manifest, "base cut"));
    fs::write(&base, &base_bytes).unwrap();
    let next = b"file appendonly.aof.2.incr.aof seq 2 type i\n";
    fs::write(&manifest, [&listed[..], next].concat()).unwrap();
    assert!(!is_agreed("check-aof", &manifest, "a part is missing"));
    fs::write(dir.join("appendonly.aof.2.incr.aof"), &log).unwrap();
    assert!(is_agreed("check-aof", &manifest, "two parts"));
    fs::write(&incr, &log[..log.len() - 3]).unwrap();
    assert!(!is_agreed("check-aof", &manifest, "the first of two is cut"));
    let said = ours("check-aof", &["--fix", manifest.to_str().unwrap()], "y\n");
    assert!(
        !said.status.success() && text(&said).contains("because it is not the last file"),
        "{}",
        text(&said)
    );
    for bad in ["file x seq 0 type i\n", "file x seq 1 type z\n", "file a b\n", "nonsense\n"] {
        fs::write(&manifest, bad).unwrap();
        assert!(!is_agreed("check-aof", &manifest, bad));
    }
    for arguments in
        [&[][..], &["--fix"], &["--bad", "x"], &["--truncate-to-timestamp", "x", "y"], &["missing"]]
    {
        let (ours, stock) = (ours("check-aof", arguments, ""), stock("check-aof", arguments, ""));
        assert_eq!(ours.status.code(), stock.status.code(), "{arguments:?}");
    }
}

#[test]
fn a_cut_at_a_second_keeps_what_was_logged_until_then() {
    let mut server = start_perdura(&[("appendonly", "yes"), ("aof-timestamp-enabled", "yes")]);
    let mut client = server.client().unwrap();
    for round in 0..3 {
        for number in 0..10 {
            client.queue(&["SET", &format!("key:{round}:{number}"), "value"]);
        }
        client.flush().unwrap();
        for _ in 0..10 {
            assert!(client.read().unwrap().is_ok());
        }
        std::thread::sleep(Duration::from_millis(1100));
    }
    assert_eq!(client.say("DBSIZE").unwrap().as_integer(), Some(30));
    server.kill(Victims::ServerAndChildren).unwrap();
    let dir = server.data_dir().join("appendonlydir");
    let log = fs::read(dir.join("appendonly.aof.1.incr.aof")).unwrap();
    let log_text = String::from_utf8_lossy(&log);
    let seconds: Vec<u64> = log_text
        .split("#TS:")
        .skip(1)
        .map(|rest| rest.split('\r').next().unwrap().parse().unwrap())
        .collect();
    assert!(seconds.len() >= 3, "{seconds:?}");
    let manifest = dir.join("appendonly.aof.manifest");
    let manifest = manifest.to_str().unwrap();
    let said = ours("check-aof", &["--truncate-to-timestamp", &seconds[0].to_string(), manifest], "");
    assert!(said.status.success(), "{}", text(&said));
    assert!(ours("check-aof", &[manifest], "").status.success());
    server.restart().unwrap_or_else(|error| panic!("{error}\n{}", server.log_tail()));
    let kept =
        log_text.split(&format!("#TS:{}", seconds[1])).next().unwrap().matches("\nSET\r").count() as i64;
    assert!((10..30).contains(&kept));
    assert_eq!(server.client().unwrap().say("DBSIZE").unwrap().as_integer(), Some(kept));
}

#[test]
fn a_cut_at_a_second_takes_later_annotations_too() {
    let server = start_perdura(&[]);
    let dir = scratch(&server);
    let set = |key: &str| format!("*3\r\n$3\r\nSET\r\n$1\r\n{key}\r\n$1\r\n1\r\n");
    let log = format!("#TS:100\r\n{}#TS:101\r\n", set("a"));
    let (manifest, base) = (dir.join("a.manifest"), dir.join("a.1.base.aof"));
    fs::write(&base, &log).unwrap();
    fs::write(dir.join("a.1.incr.aof"), set("b")).unwrap();
    fs::write(&manifest, "file a.1.base.aof seq 1 type b\nfile a.1.incr.aof seq 1 type i\n").unwrap();
    let said = ours("check-aof", &["--truncate-to-timestamp", "100", manifest.to_str().unwrap()], "");
    assert!(text(&said).contains("it is not the last file"), "{}", text(&said));
    let said = ours("check-aof", &["--truncate-to-timestamp", "100", base.to_str().unwrap()], "");
    assert!(said.status.success(), "{}", text(&said));
    assert_eq!(fs::read_to_string(&base).unwrap(), log.replace("#TS:101\r\n", ""));
}

#[test]
fn a_snapshot_cut_anywhere_is_judged_as_by_the_stock_tool() {
    let server = start_redis(&[("save", "")]);
    let mut client = server.client().unwrap();
    for line in [
        "SET a 1",
        "RPUSH l 1 2 3",
        "ZADD z 1 x",
        "HSET h f v",
        "XADD s 1-1 f v",
        "SET t 1 PX 100000000",
        "SAVE",
    ] {
        client.say(line).unwrap();
    }
    let dump = fs::read(server.data_dir().join("dump.rdb")).unwrap();
    let path = scratch(&server).join("dump.rdb");
    for len in (0..dump.len()).step_by(3).chain([dump.len() - 1]) {
        fs::write(&path, &dump[..len]).unwrap();
        assert!(!is_agreed("check-rdb", &path, &format!("cut at {len}")));
    }
    fs::write(&path, &dump).unwrap();
    assert!(is_agreed("check-rdb", &path, "whole"));
    let mut damaged = dump.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&path, &damaged).unwrap();
    assert!(!is_agreed("check-rdb", &path, "checksum"));
}

/// Long work, made long by a delay of each read: on a terminal a bar with rate and time left, elsewhere plain lines.
#[test]
fn long_work_shows_how_far_it_is() {
    let server = start_perdura(&[]);
    let path = scratch(&server).join("appendonly.aof");
    let record = format!("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1000\r\n{}\r\n", "x".repeat(1000));
    fs::write(&path, record.repeat(16_000)).unwrap();
    let check = tool("check-aof");
    let reads = "read,pread64";
    let slowed = format!(
        "strace -f -qq -o /dev/null -e trace={reads} -e inject={reads}:delay_enter=100000 {} check-aof {}",
        check.get_program().display(),
        path.display()
    );
    let plain = output(Command::new("sh").args(["-c", &slowed]), "");
    let said = String::from_utf8_lossy(&plain.stderr).into_owned();
    assert!(plain.status.success() && text(&plain).contains("is valid"), "{said}");
    assert!(said.contains(": 100% (") && said.contains("/s, 0 s left"), "{said}");
    assert!(!said.contains('\u{1b}'), "no bar where there is no terminal: {said}");
    // `script` gives it a terminal.
    let on_terminal = format!("stty cols 200; {slowed}");
    let shown = text(&output(Command::new("script").args(["-qec", &on_terminal, "/dev/null"]), ""));
    assert!(shown.contains("is valid") && shown.contains("[="), "{shown}");
    // At 100 ms for each MiB: that is the rate, and what is left is a second or two.
    let paces = shown.split("/15.73 MiB ").skip(1).map(|rest| rest.split(" s left").next().unwrap_or(""));
    let paces: Vec<&str> = paces.collect();
    let is_true = |pace: &&str| {
        let Some((rate, left)) = pace.split_once("iB/s ") else { return false };
        let is_slow = rate.ends_with('K')
            || rate.strip_suffix(" M").is_some_and(|rate| rate.parse::<f64>().is_ok_and(|rate| rate < 30.0));
        is_slow && left.parse::<u64>().is_ok_and(|left| left <= 60)
    };
    assert!(!paces.is_empty() && paces.iter().all(is_true), "{paces:?}");
}

#[test]
fn a_link_with_a_tools_name_is_that_tool() {
    let server = start_perdura(&[]);
    let dir = scratch(&server);
    for prefix in ["perdura-", "redis-"] {
        assert!(ours("link", &[dir.to_str().unwrap(), prefix], "").status.success());
        let linked = output(Command::new(dir.join(format!("{prefix}check-aof"))).arg("missing"), "");
        assert_eq!(text(&linked), "Cannot open file missing: No such file or directory\n");
    }
}
