//! Rewriting while clients write: W5, W6, W9, W10, W11, and the bugs of peers about it.

use perdura_core::mutant::Mutant;
use perdura_sim::HostMutant;
use perdura_sim::faults::{Fault, FaultKind, Operation};
use perdura_sim::profile::Profile;
use perdura_sim::world::{Crash, End};
use perdura_tests::simulated::Simulated;

use crate::scenario::{
    ALWAYS, EIO, ENOSPC, EVERYSEC, fail, fails_with, holds, lose_power_and_start, started, wait_for,
};

const REWRITE: (&str, &str) = ("BGREWRITEAOF", "Background append only file rewriting started");

#[test]
fn w05_rotation_leaves_no_hole() {
    // What could go wrong: the next file's records survive and the end of the old one does not.
    fails_with(Mutant::OldPartNotSynced, || {
        for seed in 0..60 {
            let settings = [("appendonly", "yes"), ("appendfsync", "no"), ("save", "\"\"")];
            let mut server = Simulated::on(Profile::Strict, seed, &settings);
            server.start().unwrap();
            for index in 0..10 {
                server.check(&[(format!("SET k{index} {}", "v".repeat(300)).as_str(), "OK")]);
            }
            server.check(&[REWRITE]);
            for index in 10..20 {
                server.check(&[(format!("SET k{index} {}", "v".repeat(300)).as_str(), "OK")]);
            }
            lose_power_and_start(&mut server);
            let count: usize = server.say("DBSIZE").parse().unwrap();
            for index in 0..count {
                assert_eq!(
                    server.say(&format!("EXISTS k{index}")),
                    "1",
                    "seed {seed}: {count} keys are no prefix"
                );
            }
        }
    });
}

/// Redis 7.0.15 and Valkey, measured: INCR twice, and in the wrong database.
#[test]
fn w06_write_error_before_a_rewrite_duplicates_nothing() {
    holds(|| {
        let mut server = started(EVERYSEC);
        server.check(&[("SELECT 5", "OK"), ("INCR n", "1")]);
        fail(&mut server, Operation::Write, "incr.aof", FaultKind::Errno(ENOSPC));
        server.try_say("INCR n");
        server.try_say("BGREWRITEAOF");
        server.wait_ms(20_000);
        server.check(&[("SELECT 5", "OK"), ("GET n", "2")]);
        server.check(&[("WAITAOF 1 0 0", "1) 1 2) 0")]);
        lose_power_and_start(&mut server);
        server.check(&[("EXISTS n", "0"), ("SELECT 5", "OK"), ("GET n", "2")]);
    });
}

/// What is in memory at the fork is in the base; in the next file it would count twice (valkey#2627, valkey#2995).
#[test]
fn w06_what_is_in_the_base_is_not_in_the_next_file() {
    // The mutant meant for this is not noticed here: docs/DURABILITY.md, "Open".
    holds(|| {
        for seed in 0..20 {
            let mut server = Simulated::on(Profile::Strict, seed, ALWAYS);
            server.start().unwrap();
            // While a sync runs the next batch forms; that is when the rewrite begins.
            fail(&mut server, Operation::Fdatasync, "incr", FaultKind::Slow(100_000));
            server.send("SET a 1");
            server.wait_ms(5);
            server.send("INCR n");
            server.wait_ms(5);
            server.send("BGREWRITEAOF");
            server.wait_ms(20_000);
            server.reconnect();
            server.check(&[("GET n", "1")]);
            lose_power_and_start(&mut server);
            server.check(&[("GET n", "1")]);
        }
    });
}

#[test]
fn w06_database_is_selected_again_in_the_next_file() {
    fails_with(Mutant::SelectNotRepeated, || {
        let mut server = started(ALWAYS);
        server.check(&[("SELECT 5", "OK"), ("SET a 1", "OK"), REWRITE]);
        server.wait_ms(20_000);
        server.check(&[("SET b 2", "OK")]);
        lose_power_and_start(&mut server);
        server.check(&[("SELECT 5", "OK"), ("MGET a b", "1) 1 2) 2")]);
    });
}

/// redis: 25 files in three seconds. Nothing is made before the fork succeeded, and every failure counts.
#[test]
fn w09_failed_forks_make_no_files_and_are_limited() {
    holds(|| {
        let mut server = started(ALWAYS);
        for attempt in 1..=3 {
            server.world.fail_fork(12);
            server.say("BGREWRITEAOF");
            wait_for(&mut server, "aof_rewrites_consecutive_failures", &attempt.to_string());
        }
        let parts = server.files().into_iter().filter(|(name, _)| name.ends_with(".incr.aof")).count();
        assert_eq!(parts, 1, "{:?}", server.files());
        server.check(&[("SET a 1", "OK"), REWRITE]);
        wait_for(&mut server, "aof_last_bgrewrite_status", "ok");
    });
}

#[test]
fn w10_directory_sync_that_fails_after_the_manifest_removes_nothing() {
    fails_with(Mutant::DoubtfulBaseRemoved, || {
        for skip in 0..12 {
            let mut server = started(ALWAYS);
            server.check(&[("SET a 1", "OK")]);
            let (operation, kind) = (Operation::Fsync, FaultKind::Errno(EIO));
            server.world.disk_mut().add_fault(Fault { operation, path: "appendonlydir".into(), skip, kind });
            server.say("BGREWRITEAOF");
            server.wait_ms(20_000);
            server.check(&[("SET b 2", "OK")]);
            lose_power_and_start(&mut server);
            server.check(&[("MGET a b", "1) 1 2) 2")]);
        }
    });
}

/// redis#3487, redis#10737: a rename without a sync of its directory; and a manifest that names what is not there yet.
#[test]
fn w11_every_name_is_durable_before_it_is_relied_on() {
    for mutant in [Mutant::ManifestNameNotSynced, Mutant::PartNameNotSynced, Mutant::ManifestNotSynced] {
        fails_with(mutant, rewrites_and_power_losses);
    }
    fails_with(Mutant::ManifestBeforePart, power_losses_during_the_rotation);
    fails_with(HostMutant::DirSyncForgotten, rewrites_and_power_losses);
}

fn rewrites_and_power_losses() {
    // Strict profile: a name that was not synced is lost whenever the seed says so.
    for seed in 0..150 {
        let mut server = Simulated::on(Profile::Strict, seed, ALWAYS);
        server.start().unwrap();
        server.check(&[("SET a 1", "OK"), REWRITE]);
        server.wait_ms(seed % 40);
        server.check(&[("SET b 2", "OK")]);
        server.crash(Crash::Power);
        server.start().unwrap_or_else(|end| panic!("seed {seed}: {end:?}"));
        server.check(&[("MGET a b", "1) 1 2) 2")]);
    }
}

fn power_losses_during_the_rotation() {
    for seed in 0..200 {
        let mut server = Simulated::on(Profile::Strict, seed, ALWAYS);
        server.start().unwrap();
        server.check(&[("SET a 1", "OK"), REWRITE]);
        server.world.run_for(seed * 50);
        server.crash(Crash::Power);
        server.start().unwrap_or_else(|end| panic!("seed {seed}: {end:?}"));
        server.check(&[("GET a", "1")]);
    }
}

/// A rewrite that fails leaves the parts before it where they are.
#[test]
fn failed_rewrite_forgets_nothing() {
    fails_with(Mutant::FailedRewriteDropsPart, || {
        let mut server = started(ALWAYS);
        server.set("rdb-key-save-delay", "1000000");
        server.check(&[("SET a 1", "OK"), ("CONFIG SET rdb-key-save-delay 1000000", "OK"), REWRITE]);
        server.wait_ms(300);
        server.check(&[("SET b 2", "OK")]);
        server.world.crash(Crash::Children);
        server.wait_ms(1_000);
        server.check(&[REWRITE]);
        server.wait_ms(300);
        lose_power_and_start(&mut server);
        server.check(&[("MGET a b", "1) 1 2) 2")]);
    });
}

/// FLUSHALL while a base is being written: the base still has what was flushed.
#[test]
fn flush_during_a_rewrite_stays_flushed() {
    fails_with(Mutant::FlushNotLogged, || {
        let mut server = started(ALWAYS);
        server.check(&[("SET a 1", "OK"), ("CONFIG SET rdb-key-save-delay 500000", "OK"), REWRITE]);
        server.wait_ms(50);
        server.check(&[("FLUSHALL", "OK"), ("SET b 2", "OK")]);
        server.wait_ms(20_000);
        lose_power_and_start(&mut server);
        server.check(&[("EXISTS a", "0"), ("GET b", "2")]);
    });
}

#[test]
fn part_that_is_written_to_is_not_superseded() {
    fails_with(Mutant::HistoryTakesLivePart, || {
        let mut server = started(ALWAYS);
        server.check(&[("SET a 1", "OK"), REWRITE]);
        server.wait_ms(20_000);
        server.check(&[("SET b 2", "OK")]);
        lose_power_and_start(&mut server);
        server.check(&[("MGET a b", "1) 1 2) 2")]);
    });
}

/// Seed 10651, ours and the stock servers': an entry is pending and trimmed away, and the rewrite writes commands. XCLAIM makes
/// nothing pending that is not there, so the next start had forgotten who it was delivered to.
#[test]
fn pending_entries_that_are_gone_survive_a_rewrite_into_commands() {
    fails_with(Mutant::GonePendingForgotten, || {
        for removal in ["XTRIM x MAXLEN 1", "XDEL x 2-0 3-0", "XTRIM x MAXLEN 0"] {
            let settings = [
                ("appendonly", "yes"),
                ("appendfsync", "always"),
                ("aof-use-rdb-preamble", "no"),
                ("save", "\"\""),
            ];
            let mut server = started(&settings);
            for entry in ["XADD x 1-0 f v", "XADD x 2-0 f v", "XADD x 3-0 f v", "XADD x 4-0 f v"] {
                server.say(entry);
            }
            server.check(&[("XGROUP CREATE x g 0", "OK")]);
            server.say("XREADGROUP GROUP g c STREAMS x >");
            server.say(removal);
            let seen =
                ["XPENDING x g - + 9", "XINFO STREAM x FULL"].map(|line| without_times(&server.say(line)));
            server.check(&[REWRITE]);
            server.wait_ms(20_000);
            lose_power_and_start(&mut server);
            let again =
                ["XPENDING x g - + 9", "XINFO STREAM x FULL"].map(|line| without_times(&server.say(line)));
            assert_eq!(seen, again, "after {removal}");
        }
    });
}

/// What counts seconds since somebody was seen, or in what a stream is kept, may be another number.
fn without_times(reply: &str) -> String {
    let is_kept = |word: &&str| word.parse::<u64>().is_err();
    reply.split_whitespace().filter(is_kept).collect::<Vec<_>>().join(" ")
}

/// Seed 100555, ours: AOF is switched on and, while its first base is being put in place, off again. The set appeared all the
/// same, without the mark that it was closed, and the next start believed it instead of every later snapshot.
#[test]
fn set_that_is_installed_while_it_is_switched_off_gets_its_mark() {
    fails_with(Mutant::InstalledWhileOff, || {
        for wait_ms in 0..80 {
            let mut server = started(ALWAYS);
            server.check(&[("SET a 1", "OK"), ("CONFIG SET appendonly no", "OK"), ("SET a 2", "OK")]);
            server.wait_ms(200);
            server.check(&[("CONFIG SET appendonly yes", "OK")]);
            server.wait_ms(wait_ms);
            server.check(&[("CONFIG SET appendonly no", "OK"), ("SET a 3", "OK")]);
            wait_for(&mut server, "aof_enabled", "0");
            server.wait_ms(200);
            server.check(&[("SAVE", "OK")]);
            server.crash(Crash::Power);
            server.set("appendonly", "yes");
            server.start().unwrap();
            server.check(&[("GET a", "3")]);
        }
    });
}

/// Seed 700946, ours: SHUTDOWN calls off a rewrite while the file in use is being synced for it. That sync failed, nobody listened, and
/// the next one said that all was well (fsyncgate).
#[test]
fn rewrite_that_is_called_off_still_tells_of_its_failed_sync() {
    fails_with(Mutant::RotationForgotten, || {
        for (wait_ms, skip) in (0..12).flat_map(|wait_ms| (0..3).map(move |skip| (wait_ms, skip))) {
            let mut server = Simulated::on(Profile::Btrfs, wait_ms, ALWAYS);
            server.start().unwrap();
            server.check(&[("SET a 1", "OK")]);
            let (operation, kind) = (Operation::Fdatasync, FaultKind::Errno(5));
            server.world.disk_mut().add_fault(Fault { operation, path: "incr".into(), skip, kind });
            // The second is written while the sync of the first is under way, so the rotation's is the one that covers it.
            server.send("SET b 1");
            server.wait_ms(1);
            server.send("SET a 2");
            server.send("BGREWRITEAOF");
            server.wait_ms(wait_ms);
            server.send("SHUTDOWN NOSAVE");
            let is_orderly = server.wait_ms(3_000) == Some(End::Exited(0));
            let is_told = server.received().starts_with(b"+OK\r\n+OK");
            server.world.disk_mut().clear_faults();
            server.crash(Crash::Power);
            server.start().unwrap_or_else(|end| panic!("after {wait_ms} ms, sync {skip}: {end:?}"));
            if is_orderly || is_told {
                server.check(&[("GET a", "2")]);
            }
        }
    });
}

/// Seed 906519, ours: AOF is switched on, and its first file cannot be synced while the first set is being put in place. Another
/// one was begun, the first appeared all the same, and AOF was switched off without a mark on it.
#[test]
fn set_whose_file_fails_while_it_is_installed_is_not_forgotten() {
    fails_with(Mutant::InstallationForgotten, first_file_fails);
}

/// Found beside it: failing so after `appendonly no`, the log was begun anew and stayed on.
#[test]
fn switched_off_while_its_first_file_fails_stays_off() {
    fails_with(Mutant::SwitchOffForgotten, first_file_fails);
}

fn first_file_fails() {
    for (set_ms, wait_ms) in (0..20).flat_map(|set_ms| (0..24).map(move |wait_ms| (set_ms, wait_ms))) {
        let mut server = started(ALWAYS);
        server.check(&[("SET a 1", "OK"), ("CONFIG SET appendonly no", "OK"), ("SET a 2", "OK")]);
        server.wait_ms(200);
        fail(&mut server, Operation::Fdatasync, "temp-appendonly.aof.incr", FaultKind::Errno(EIO));
        server.check(&[("CONFIG SET appendonly yes", "OK")]);
        server.wait_ms(set_ms);
        server.send("SET b 1");
        server.wait_ms(wait_ms);
        server.reconnect();
        server.check(&[("CONFIG SET appendonly no", "OK"), ("SET a 3", "OK")]);
        wait_for(&mut server, "aof_enabled", "0");
        server.wait_ms(200);
        server.check(&[("SAVE", "OK")]);
        server.world.disk_mut().clear_faults();
        server.crash(Crash::Power);
        server.set("appendonly", "yes");
        server.start().unwrap();
        server.check(&[("GET a", "3")]);
    }
}

/// Seed 1004362, ours: what is switched off, on and off again while the last sync takes long stays off.
#[test]
fn switched_off_twice_during_a_slow_sync_stays_off() {
    fails_with(Mutant::ReopensForNobody, || {
        let mut server = started(EVERYSEC);
        server.check(&[("SET a 1", "OK")]);
        fail(&mut server, Operation::Fdatasync, "incr", FaultKind::Slow(2_000_000));
        for value in ["no", "yes", "no"] {
            server.send(&format!("CONFIG SET appendonly {value}"));
            server.wait_ms(10);
            server.reconnect();
        }
        server.wait_ms(10_000);
        assert!(server.say("INFO persistence").contains("aof_enabled:0"));
    });
}

/// Seed 4023668, ours: pages could not be written back. A sync that was told so was still under way when a rewrite changed the
/// file; the rotation's own sync was told nothing, as the kernel tells once, and what was lost was answered for.
#[test]
fn rotation_waits_for_the_sync_that_is_under_way() {
    fails_with(Mutant::SyncUnderWayForgotten, || {
        for seed in 0..20 {
            let mut server = Simulated::on(Profile::Ext4Ordered, seed, ALWAYS);
            server.start().unwrap();
            server.check(&[("SET x 0", "OK"), ("CONFIG SET rdb-key-save-delay 10000000", "OK")]);
            fail(&mut server, Operation::Write, "incr", FaultKind::Writeback);
            // It takes a while, and then its thread takes long to say so.
            fail(&mut server, Operation::Fdatasync, "incr", FaultKind::Slow(50_000));
            fail(&mut server, Operation::Fdatasync, "incr", FaultKind::Slow(8_000_000));
            server.send("SET a 1");
            server.wait_ms(20);
            server.send("BGREWRITEAOF");
            let is_told = (0..40).any(|_| {
                server.wait_ms(500);
                server.received().starts_with(b"+OK")
            });
            assert!(is_told, "answered once it is safe");
            server.crash(Crash::Power);
            server.start().unwrap();
            server.check(&[("GET a", "1")]);
        }
    });
}
