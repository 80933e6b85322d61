//! INFO persistence of a running server: what a loss would take, how the disk is doing, how far work has come.
//!
//! What could go wrong: a figure that somebody relies on is always zero, or lags behind. (That a loss of power never takes
//! more than was said is for the simulation: `harness/src/sim/oracle/exposure.rs`.)

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use perdura_harness::{client::Reply, process::Victims};
use perdura_tests::start_perdura;

use super::{info, say, wait_for};

#[track_caller]
fn number(server: &perdura_harness::process::Server, field: &str) -> f64 {
    let value = info(server, field);
    value.parse().unwrap_or_else(|_| panic!("{field}:{value}"))
}

#[test]
fn what_a_power_loss_would_take_is_said_in_bytes_commands_and_time() {
    let server = start_perdura(&[("appendonly", "yes"), ("appendfsync", "no")]);
    let mut client = server.client().unwrap();
    let log = server.data_dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    for line in ["SET a 1", "INCR a", "GET a", "MULTI", "SET b 1", "SET c 1", "EXEC"] {
        assert!(!matches!(client.say(line).unwrap(), Reply::Error(_)), "{line}");
    }
    thread::sleep(Duration::from_millis(60));
    assert_eq!(info(&server, "perdura_power_loss_commands"), "3", "a transaction is one, reads are none");
    // Commands are counted, not the header of each batch.
    let logged = fs::read(&log).unwrap();
    let lines = logged.split_inclusive(|byte| *byte == b'\n');
    let bytes: usize = lines.filter(|line| !line.starts_with(b"#")).map(<[u8]>::len).sum();
    assert_eq!(number(&server, "perdura_power_loss_bytes") as usize, bytes);
    assert!(number(&server, "perdura_power_loss_ms") >= 60.0);
    assert_eq!(info(&server, "perdura_kill_loss_bytes"), "0", "what was answered outlives the process");
    assert_eq!(say(&mut client, "CONFIG SET appendfsync always"), "OK");
    assert_eq!(say(&mut client, "SET d 1"), "OK");
    for field in ["bytes", "commands", "ms"] {
        assert_eq!(info(&server, &format!("perdura_power_loss_{field}")), "0", "{field}");
    }
    let (last, slowest) =
        (number(&server, "perdura_last_sync_us"), number(&server, "perdura_slowest_sync_us"));
    assert!(last > 0.0 && slowest >= last, "{last} {slowest}");
    let histogram = info(&server, "perdura_sync_histogram_us");
    let steps: Vec<(u64, u64)> = histogram
        .split(',')
        .map(|step| step.strip_prefix("le_").and_then(|step| step.split_once('=')).expect("le_N=count"))
        .map(|(bound, count)| (bound.parse().unwrap_or(u64::MAX), count.parse().unwrap()))
        .collect();
    assert!(steps.is_sorted(), "bounds and counts grow: {histogram}");
    let (bound, count) = *steps.last().unwrap();
    assert_eq!(count.to_string(), info(&server, "perdura_syncs"));
    assert!(slowest <= bound as f64, "{slowest} within {histogram}");
}

#[test]
fn without_a_log_changes_since_the_snapshot_and_its_age_are_said() {
    let server = start_perdura(&[]);
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "SAVE"), "OK");
    assert_eq!(info(&server, "perdura_power_loss_commands"), "0");
    assert_eq!(say(&mut client, "MSET a 1 b 2"), "OK");
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(info(&server, "perdura_power_loss_commands"), "2");
    assert!(number(&server, "perdura_power_loss_ms") >= 1000.0);
}

#[test]
fn a_running_snapshot_shows_how_far_it_is_and_what_copies_cost() {
    let server = start_perdura(&[("rdb-key-save-delay", "200"), ("enable-debug-command", "yes")]);
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "DEBUG POPULATE 50000 key 500"), "OK");
    assert_eq!(info(&server, "perdura_save_eta_seconds"), "-1");
    assert_eq!(say(&mut client, "BGSAVE"), "Background saving started");
    assert_eq!(info(&server, "current_save_keys_total"), "50000");
    wait_for("some keys", || number(&server, "current_save_keys_processed") > 0.0);
    let early = number(&server, "current_save_keys_processed");
    wait_for("more keys", || number(&server, "current_save_keys_processed") > early);
    assert!((0.0..100.0).contains(&number(&server, "current_fork_perc")));
    assert!((0.0..=60.0).contains(&number(&server, "perdura_save_eta_seconds")), "at 200 us a key");
    // Every page of the values is written to: the child keeps the old ones.
    for number in 0..5000 {
        client.queue(&["SETRANGE", &format!("key:{number}"), "0", "changed"]);
    }
    client.flush().unwrap();
    for _ in 0..5000 {
        assert_eq!(client.read().unwrap(), Reply::Integer(500));
    }
    wait_for("what copies cost", || number(&server, "current_cow_size") > 1e6);
    assert!(number(&server, "current_cow_peak") >= 1e6);
}

#[test]
fn loading_shows_how_far_it_is_and_when_it_will_be_over() {
    let mut server = start_perdura(&[("enable-debug-command", "yes")]);
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "DEBUG POPULATE 300000 key 200"), "OK");
    assert_eq!(say(&mut client, "SAVE"), "OK");
    let len = fs::metadata(server.data_dir().join("dump.rdb")).unwrap().len();
    server.kill(Victims::ServerAndChildren).unwrap();
    server.spawn().unwrap();
    let mut seen = Vec::new();
    wait_for("the end of loading", || {
        let Ok(text) = server.client().and_then(|mut client| client.say("INFO persistence")) else {
            return false;
        };
        let text = String::from_utf8_lossy(text.as_bytes().unwrap_or_default()).into_owned();
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.parse().ok())
        };
        if text.contains("\r\nloading:1\r\n") {
            let fields =
                ["loading_total_bytes", "loading_loaded_bytes", "loading_loaded_perc", "loading_eta_seconds"];
            seen.push(
                fields.map(|name| -> f64 { field(name).unwrap_or_else(|| panic!("{name} in {text}")) }),
            );
        }
        text.contains("\r\nloading:0\r\n")
    });
    assert!(!seen.is_empty(), "loading takes longer than a look");
    for [total, loaded, percent, eta_s] in seen {
        assert_eq!(total as u64, len);
        assert!(
            loaded <= total && (percent - 100.0 * loaded / total).abs() < 0.1,
            "{loaded} of {total}: {percent}"
        );
        assert!((0.0..600.0).contains(&eta_s), "{eta_s}");
    }
    assert_eq!(say(&mut server.client().unwrap(), "DBSIZE"), "300000");
}

#[test]
fn a_running_backup_shows_how_far_it_is_and_the_last_one_what_it_was() {
    let server =
        start_perdura(&[("appendonly", "yes"), ("rdbcompression", "no"), ("enable-debug-command", "yes")]);
    let (mut client, mut watcher) = (server.client().unwrap(), server.client().unwrap());
    assert_eq!(say(&mut client, "DEBUG POPULATE 60000 key 1000"), "OK");
    assert!(say(&mut client, "BGREWRITEAOF").contains("started"));
    wait_for("the rewrite", || {
        info(&server, "aof_rewrites") == "1" && info(&server, "aof_rewrite_in_progress") == "0"
    });
    let mut look = || -> BTreeMap<String, i64> {
        let text = say(&mut watcher, "INFO persistence");
        let fields = text.lines().filter_map(|line| line.strip_prefix("backup_")?.split_once(':'));
        fields.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    };
    let idle = |[time, age, ms, bytes]: [i64; 4]| {
        let fields = [
            ("in_progress", 0),
            ("last_verified_time", time),
            ("last_verified_age_sec", age),
            ("last_duration_ms", ms),
            ("last_bytes", bytes),
        ];
        fields.map(|(name, value)| (name.to_owned(), value)).into()
    };
    assert_eq!(look(), idle([-1, -1, 0, 0]));

    let (began, began_s) = (Instant::now(), wall_s());
    client.queue(&["BACKUP", "TO", "saved"]);
    client.flush().unwrap();
    let mut looks = Vec::new();
    let ended = loop {
        let fields = look();
        if fields["in_progress"] == 0 {
            break fields;
        }
        looks.push((fields["done_bytes"], fields["total_bytes"]));
        assert_eq!(fields["last_verified_time"], -1, "not before it is complete");
        assert!(began.elapsed() < Duration::from_secs(30), "{looks:?}");
    };
    assert!(client.read().unwrap().is_ok());
    let files = fs::read_dir(server.data_dir().join("saved/appendonlydir")).unwrap();
    let bytes: i64 = files.map(|entry| entry.unwrap().metadata().unwrap().len() as i64).sum();
    let (time, ms) = (ended["last_verified_time"], ended["last_duration_ms"]);
    assert!((began_s..=wall_s()).contains(&time), "{time}");
    assert!((1..=began.elapsed().as_millis() as i64).contains(&ms), "{ms} ms");
    assert_eq!(ended, idle([time, ended["last_verified_age_sec"], ms, bytes]));
    assert!((0..30).contains(&ended["last_verified_age_sec"]));

    // Each byte is read twice: to be copied, or summed up where it is linked, and to be verified.
    let is_known = |total: i64| total == 0 || (bytes..=2 * bytes).contains(&total);
    assert!(looks.iter().all(|(done, total)| is_known(*total) && done <= total), "{looks:?}");
    assert!(looks.iter().map(|(done, _)| done).is_sorted(), "{looks:?}");
    let is_midway = |(done, total): &(i64, i64)| *done > 0 && done < total;
    assert!(looks.iter().any(is_midway), "nobody saw it on its way: {looks:?}");
}

/// Seconds since 1970.
fn wall_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A byte of the base changes on the disk after it was loaded: nothing but a backup reads it.
#[test]
fn a_backup_that_does_not_verify_is_an_error_in_info_and_in_the_log() {
    let mut server = start_perdura(&[("appendonly", "yes")]);
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "SET key value"), "OK");
    assert!(say(&mut client, "BGREWRITEAOF").contains("started"));
    wait_for("the rewrite", || {
        info(&server, "aof_rewrites") == "1" && info(&server, "aof_rewrite_in_progress") == "0"
    });
    assert_eq!(info(&server, "backup_last_verified_age_sec"), "-1");
    assert_eq!(say(&mut client, "BACKUP TO good"), "OK");
    thread::sleep(Duration::from_millis(1100));
    assert!((1.0..30.0).contains(&number(&server, "backup_last_verified_age_sec")));
    let base = server.data_dir().join("appendonlydir/appendonly.aof.2.base.rdb");
    let mut bytes = fs::read(&base).unwrap();
    let at = bytes.windows(5).position(|window| window == b"value").unwrap();
    bytes[at] ^= 1;
    fs::write(&base, bytes).unwrap();
    let refusal = say(&mut client, "BACKUP TO bad");
    assert!(refusal.starts_with("ERR Backup failed: "), "{refusal}");
    assert_eq!(info(&server, "backup_last_status"), "err");
    assert!(refusal.ends_with(&info(&server, "backup_last_error")), "{refusal}");
    assert!(server.log_tail().contains("Backup failed: "), "{}", server.log_tail());
    assert!(!server.data_dir().join("bad/perdura-backup.sha256").exists());
    assert!(number(&server, "backup_last_verified_age_sec") >= 1.0, "the good one is still the last");
    server.kill(Victims::ServerAndChildren).unwrap();
}
