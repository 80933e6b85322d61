//! Snapshots and who puts them in place: W12, W14, W15, W22, and the bugs of peers about it.

use perdura_core::mutant::Mutant;
use perdura_sim::HostMutant;
use perdura_sim::faults::{Fault, FaultKind, Operation};
use perdura_sim::profile::Profile;
use perdura_sim::world::Crash;
use perdura_tests::simulated::Simulated;

use crate::scenario::{
    ALWAYS, EIO, ENOSPC, EVERYSEC, SNAPSHOTS, fail, fails_with, holds, lose_power_and_start, started,
    wait_for,
};

/// redis#837, redis#12484: the stale set is loaded, and the snapshot that is newer is overwritten.
#[test]
fn w12_snapshot_after_the_switch_wins_over_the_closed_set() {
    fails_with(Mutant::ClosedSetWins, || {
        let mut server = started(ALWAYS);
        server.check(&[
            ("SET a 1", "OK"),
            ("CONFIG SET appendonly no", "OK"),
            ("SET a 2", "OK"),
            ("SAVE", "OK"),
        ]);
        lose_power_and_start(&mut server);
        server.check(&[("GET a", "2")]);
    });
}

#[test]
fn w12_closed_set_wins_over_the_snapshot_before_the_switch() {
    fails_with(Mutant::AnyDumpWins, || {
        let mut server = started(ALWAYS);
        server.check(&[
            ("SET a 1", "OK"),
            ("SAVE", "OK"),
            ("SET a 2", "OK"),
            ("CONFIG SET appendonly no", "OK"),
        ]);
        lose_power_and_start(&mut server);
        server.check(&[("GET a", "2")]);
    });
}

/// redis#10616: the manifest names the first incremental file before its base is there.
#[test]
fn w12_set_switched_on_counts_only_once_its_base_is_there() {
    fails_with(Mutant::EnabledTooEarly, || {
        let mut server = started(SNAPSHOTS);
        server.check(&[("SET a 1", "OK"), ("SAVE", "OK"), ("CONFIG SET rdb-key-save-delay 2000000", "OK")]);
        server.check(&[("CONFIG SET appendonly yes", "OK"), ("CONFIG SET appendfsync always", "OK")]);
        server.wait_ms(300);
        server.check(&[("SET a 2", "OK")]);
        let has_promised = server.say("WAITAOF 1 0 1").starts_with("1) 1");
        server.crash(Crash::Power);
        server.set("appendonly", "yes");
        server.start().unwrap();
        let kept = server.say("GET a");
        assert!(kept == "2" || kept == "1" && !has_promised, "promised: {has_promised}, kept: {kept}");
    });
}

/// A log that is switched off is durable to its end before anybody is told so.
#[test]
fn w12_switching_off_loses_nothing() {
    fails_with(Mutant::DisableDropsTail, || {
        for seed in 0..20 {
            let mut server = Simulated::on(Profile::Strict, seed, EVERYSEC);
            server.start().unwrap();
            server.check(&[("SET a 0", "OK"), ("SET a 1", "OK"), ("CONFIG SET appendonly no", "OK")]);
            lose_power_and_start(&mut server);
            server.check(&[("GET a", "1")]);
        }
    });
}

/// The orphan finishes long after, and its old snapshot replaces the new one.
#[test]
fn w14_orphan_of_a_dead_server_replaces_no_snapshot() {
    fails_with(Mutant::ChildRenames, || {
        let mut server = started(&[("save", "\"\""), ("rdb-key-save-delay", "200000")]);
        server.check(&[("SET a 1", "OK"), ("SAVE", "OK"), ("SET a 2", "OK")]);
        server.say("BGSAVE");
        server.crash(Crash::Server);
        server.start().unwrap();
        server.check(&[("SET a 3", "OK"), ("SAVE", "OK")]);
        server.wait_ms(10_000);
        server.crash(Crash::Group);
        server.start().unwrap();
        server.check(&[("GET a", "3")]);
        let leftovers: Vec<String> =
            server.world.disk().files().into_keys().filter(|path| path.starts_with("temp-")).collect();
        assert_eq!(leftovers, Vec::<String>::new());
    });
}

#[test]
fn w15_shutdown_is_refused_when_the_last_sync_fails() {
    fails_with(Mutant::ShutdownIgnoresFailure, || {
        let mut server = started(EVERYSEC);
        server.check(&[("SET a 1", "OK")]);
        for _ in 0..40 {
            fail(&mut server, Operation::Fdatasync, "incr.aof", FaultKind::Errno(EIO));
        }
        assert_eq!(server.say("SHUTDOWN"), "(error) ERR Errors trying to SHUTDOWN. Check logs.");
        assert!(server.world.engine().is_some(), "it goes on serving");
        server.world.disk_mut().clear_faults();
        server.check(&[("GET a", "1")]);
    });
}

#[test]
fn w13_full_disk_refuses_writes_and_recovers_by_itself() {
    holds(|| {
        let mut server = started(EVERYSEC);
        server.check(&[("SET a 1", "OK")]);
        let used: u64 = server.files().iter().map(|(_, len)| *len).sum();
        server.world.disk_mut().set_capacity(Some(used + 16));
        server.try_say("SET filler 0123456789012345678901234567890123456789");
        server.wait_ms(2_000);
        // The reply to that one is held until its change is safe; others are told what is wrong.
        server.reconnect();
        assert!(
            server
                .say("SET b 2")
                .starts_with("(error) MISCONF Errors writing to the AOF file: No space left on device")
        );
        server.world.disk_mut().set_capacity(None);
        wait_for(&mut server, "aof_last_write_status", "ok");
        server.check(&[("SET b 2", "OK"), ("WAITAOF 1 0 0", "1) 1 2) 0")]);
        lose_power_and_start(&mut server);
        server.check(&[("MGET a b", "1) 1 2) 2")]);
    });
}

/// The fresh file after a failed sync takes over what was not synced, and counts.
#[test]
fn w13_fresh_file_after_a_failed_sync_is_whole_and_listed() {
    for mutant in [Mutant::SalvageDropsUnsynced, Mutant::RepairNotListed] {
        fails_with(mutant, || {
            for seed in 0..10 {
                let mut server = Simulated::on(Profile::Strict, seed, EVERYSEC);
                server.start().unwrap();
                server.check(&[("SET a 1", "OK")]);
                fail(&mut server, Operation::Fdatasync, "incr.aof", FaultKind::Errno(EIO));
                server.wait_ms(5_000);
                wait_for(&mut server, "aof_last_write_status", "ok");
                server.check(&[("SET c 3", "OK"), ("WAITAOF 1 0 0", "1) 1 2) 0")]);
                lose_power_and_start(&mut server);
                server.check(&[("MGET a c", "1) 1 2) 3")]);
            }
        });
    }
}

#[test]
fn w22_snapshot_counts_only_once_its_name_is_durable() {
    for mutant in [Mutant::DumpNameNotSynced, Mutant::SnapshotNotSynced] {
        fails_with(mutant, || {
            for seed in 0..40 {
                let mut server = Simulated::on(Profile::Strict, seed, SNAPSHOTS);
                server.start().unwrap();
                server.check(&[("SET a 1", "OK"), ("SAVE", "OK")]);
                lose_power_and_start(&mut server);
                server.check(&[("GET a", "1")]);
            }
        });
    }
}

/// RedisLabs/redisraft#654: a crash while the snapshot is replaced leaves half a file, and the node never starts again.
#[test]
fn snapshot_that_is_being_written_leaves_the_one_before_it() {
    fails_with(Mutant::DumpInPlace, || {
        let mut server = started(&[("save", "\"\""), ("rdb-key-save-delay", "200000")]);
        server.check(&[("SET a 1", "OK"), ("SAVE", "OK"), ("SET a 2", "OK")]);
        server.say("BGSAVE");
        server.wait_ms(10);
        server.crash(Crash::Group);
        server.start().unwrap();
        server.check(&[("GET a", "1")]);
    });
}

/// redis#12037: for three months SAVE wrote files that nothing could read. redis#3137: and one of no bytes when the disk was full.
#[test]
fn snapshot_on_a_full_disk_fails_and_leaves_the_one_before_it() {
    fails_with(Mutant::SnapshotErrorsIgnored, || {
        let mut server = started(SNAPSHOTS);
        server.check(&[("SET a 1", "OK"), ("SAVE", "OK"), ("SET a 2", "OK")]);
        fail(&mut server, Operation::Write, "temp", FaultKind::Errno(ENOSPC));
        server.say("SAVE");
        lose_power_and_start(&mut server);
        server.check(&[("GET a", "1")]);
    });
}

/// The OOM killer takes the child; what it had written is half a file.
#[test]
fn snapshot_of_a_killed_child_is_not_put_in_place() {
    fails_with(HostMutant::ChildStatusIgnored, || {
        let mut server = started(&[("save", "\"\""), ("rdb-key-save-delay", "200000")]);
        server.check(&[("SET a 1", "OK"), ("SAVE", "OK"), ("SET a 2", "OK")]);
        server.say("BGSAVE");
        server.wait_ms(10);
        server.world.crash(Crash::Children);
        server.wait_ms(1_000);
        lose_power_and_start(&mut server);
        server.check(&[("GET a", "1")]);
    });
}

/// A file system that turns read-only between the steps of a rewrite.
#[test]
fn step_that_fails_is_not_passed_over() {
    fails_with(HostMutant::StepsGoOnAfterError, || {
        for skip in 0..3 {
            let mut server = started(ALWAYS);
            server.check(&[("SET a 1", "OK")]);
            let (operation, kind) = (Operation::Rename, FaultKind::Errno(30));
            server.world.disk_mut().add_fault(Fault { operation, path: String::new(), skip, kind });
            server.say("BGREWRITEAOF");
            server.wait_ms(20_000);
            server.check(&[("SET b 2", "OK")]);
            lose_power_and_start(&mut server);
            server.check(&[("MGET a b", "1) 1 2) 2")]);
        }
    });
}

/// Seed 1386, ours: a snapshot is taken, the clock goes back an hour, AOF is switched off. The mark of the set said that it was
/// older than the snapshot, so the next start loaded that, and dropped an hour of acknowledged writes.
#[test]
fn set_that_is_closed_after_the_clock_went_back_is_newer_than_the_snapshot_before() {
    fails_with(Mutant::ClosedByClockAlone, || {
        let mut server = started(ALWAYS);
        server.check(&[("SET a 1", "OK"), ("SAVE", "OK"), ("SET a 2", "OK")]);
        server.world.jump_wall_clock(-3_600_000_000);
        server.check(&[("CONFIG SET appendonly no", "OK")]);
        // The mark is on its way to the disk.
        server.wait_ms(100);
        lose_power_and_start(&mut server);
        server.check(&[("GET a", "2")]);
    });
}

/// Seed 1372, ours: the sync failed, the fresh file was whole, and the rename of the manifest that names it failed too. The
/// journal answered by the fresh file, which no manifest named; the power went before the next attempt.
#[test]
fn repair_in_doubt_answers_nobody() {
    fails_with(Mutant::DoubtfulRepairAdopted, || {
        let mut server = started(ALWAYS);
        server.check(&[("SET a 1", "OK")]);
        fail(&mut server, Operation::Fdatasync, "incr.aof", FaultKind::Errno(EIO));
        for skip in 0..20 {
            let (operation, kind) = (Operation::Rename, FaultKind::Errno(30));
            server.world.disk_mut().add_fault(Fault { operation, path: "manifest".into(), skip, kind });
        }
        server.send("SET a 2");
        server.wait_ms(3_000);
        let is_told = server.received().starts_with(b"+OK");
        lose_power_and_start(&mut server);
        let kept = server.say("GET a");
        assert!(kept == "2" || !is_told, "answered, and gone");
    });
}

/// The manifest is lost: a base that is newer than the snapshot file is what there is.
#[test]
fn base_without_a_manifest_wins_over_an_older_snapshot() {
    fails_with(Mutant::AnyDumpWins, || {
        let mut server = started(ALWAYS);
        server.check(&[("SET a 1", "OK"), ("SAVE", "OK"), ("SET a 2", "OK")]);
        server.check(&[("BGREWRITEAOF", "Background append only file rewriting started")]);
        server.wait_ms(20_000);
        server.crash(Crash::Power);
        server.remove_file("appendonlydir/appendonly.aof.manifest");
        server.start().unwrap();
        server.check(&[("GET a", "2")]);
    });
}
