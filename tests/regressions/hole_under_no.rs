//! Seed 5140, ours: `appendfsync no` keeps nothing in memory that a failed sync could be made good from, so the file that is
//! given up may have a hole, and only the rewrite that is begun at once fills it. If the power goes before that rewrite has
//! ended, the hole is in a file that others follow.
//!
//! The start refused: "the truncated file is not the last file". Nothing was lost that anybody was promised, but an operator
//! had to look at every such machine. Now the later files say how far the log was durable when they were written: if that
//! is not beyond the tear, the log ends there, the rest is copied aside, and the server starts with a prefix.
//!
//! The other half was worse and nobody had seen it: after a kill -9 instead, the page cache still gave the whole old file,
//! the start served it, took the fresh file's word for what was durable, and a power loss then took what had been served.

use perdura_core::mutant::Mutant;
use perdura_sim::{Crash, Fault, FaultKind, Operation, Profile};
use perdura_tests::simulated::Simulated;

use crate::scenario::{fails_with, wait_for};

/// The sync of a rotation has failed, the rewrite that would fill the hole is still running, and three more keys were set.
fn with_a_hole(seed: u64) -> Simulated {
    with_a_hole_on(Profile::Strict, seed, &[])
}

/// The same on this file system, the single file of an older server lying there if it is not empty.
fn with_a_hole_on(profile: Profile, seed: u64, old_log: &[u8]) -> Simulated {
    let settings =
        [("appendonly", "yes"), ("appendfsync", "no"), ("save", "\"\""), ("rdb-key-save-delay", "10000000")];
    let mut server = Simulated::on(profile, seed, &settings);
    if !old_log.is_empty() {
        server.write_file("appendonly.aof", old_log);
    }
    server.start().unwrap();
    for index in 0..20 {
        server.check(&[(format!("SET k{index} {}", "v".repeat(300)).as_str(), "OK")]);
    }
    fail_next_sync(&mut server);
    server.say("BGREWRITEAOF");
    server.wait_ms(100);
    wait_for(&mut server, "aof_last_write_status", "ok");
    for index in 20..23 {
        server.check(&[(format!("SET k{index} {}", "v".repeat(300)).as_str(), "OK")]);
    }
    server.wait_ms(100);
    server
}

fn fail_next_sync(server: &mut Simulated) {
    let (operation, kind) = (Operation::Fdatasync, FaultKind::Errno(5));
    server.world.disk_mut().add_fault(Fault { operation, path: "incr".into(), skip: 0, kind });
}

/// Keys k0, k1, … as far as they go; all of them must be a prefix.
fn prefix_len(server: &mut Simulated) -> usize {
    let count: usize = server.say("DBSIZE").parse().unwrap();
    for index in 0..count {
        assert_eq!(server.say(&format!("EXISTS k{index}")), "1", "{count} keys are no prefix");
    }
    count
}

#[test]
fn power_loss_before_the_rewrite_has_ended_leaves_a_prefix() {
    fails_with(Mutant::HoleForgotten, power_loss_before_the_rewrite_has_ended);
}

fn power_loss_before_the_rewrite_has_ended() {
    for seed in 0..40 {
        let mut server = with_a_hole(seed);
        server.crash(Crash::Power);
        server.start().unwrap_or_else(|end| panic!("seed {seed}: {end:?}"));
        let count = prefix_len(&mut server);
        // What it served is what the next start finds, and it can be written to.
        server.check(&[("CONFIG SET appendfsync always", "OK"), (format!("SET k{count} v").as_str(), "OK")]);
        server.crash(Crash::Power);
        server.start().unwrap();
        assert_eq!(prefix_len(&mut server), count + 1, "seed {seed}");
    }
}

#[test]
fn what_a_start_after_a_kill_served_survives_the_power_loss_that_follows() {
    fails_with(Mutant::UnsyncedNotCopied, power_loss_after_a_start_after_a_kill);
}

fn power_loss_after_a_start_after_a_kill() {
    for seed in 0..20 {
        let mut server = with_a_hole(seed);
        server.crash(Crash::Group);
        server.start().unwrap();
        assert_eq!(prefix_len(&mut server), 23, "seed {seed}");
        server.crash(Crash::Power);
        server.start().unwrap();
        assert_eq!(prefix_len(&mut server), 23, "seed {seed}");
    }
}

/// A write fails, the file that is given up is to be synced, that sync fails too: asked again the kernel says yes, and what
/// it was about is gone (fsyncgate). Only a rewrite may answer for it.
#[test]
fn sync_of_a_given_up_file_is_not_asked_for_twice() {
    fails_with(Mutant::GivenUpFileSyncedAgain, given_up_file_cannot_be_synced);
}

fn given_up_file_cannot_be_synced() {
    for seed in 0..20 {
        let settings = [("appendonly", "yes"), ("appendfsync", "no"), ("save", "\"\"")];
        let mut server = Simulated::on(Profile::Strict, seed, &settings);
        server.start().unwrap();
        for index in 0..20 {
            server.check(&[(format!("SET k{index} {}", "v".repeat(300)).as_str(), "OK")]);
        }
        for (operation, errno) in [(Operation::Write, 28), (Operation::Fsync, 5)] {
            let kind = FaultKind::Errno(errno);
            server.world.disk_mut().add_fault(Fault { operation, path: "1.incr".into(), skip: 0, kind });
        }
        server.try_say("SET k20 v");
        server.check(&[("WAITAOF 1 0 0", "1) 1 2) 0")]);
        server.crash(Crash::Power);
        server.start().unwrap();
        assert_eq!(prefix_len(&mut server), 21, "seed {seed}");
    }
}

/// Seed 32, ours: behind the file of an older server nothing said where the log begins, so that a first part which the failed
/// sync had emptied was not missed, and what came after it was served without it.
#[test]
fn hole_at_the_very_beginning_is_missed() {
    fails_with(Mutant::FirstOffsetUnknown, || {
        for seed in 0..10 {
            let old_log = b"*3\r\n$3\r\nSET\r\n$2\r\nk0\r\n$3\r\nold\r\n";
            let mut server = with_a_hole_on(Profile::Btrfs, seed, old_log);
            server.crash(Crash::Power);
            server.start().unwrap_or_else(|end| panic!("seed {seed}: {end:?}"));
            prefix_len(&mut server);
        }
    });
}

/// Seeds 502714 and 507669, ours: the fresh file had selected its database and held nothing else when the server was killed, so
/// the set seemed to end in records of a stock server. The start took what stands before them as durable, and the next loss of
/// power left a hole in front of others.
#[test]
fn fresh_file_without_records_does_not_vouch_for_the_one_before_it() {
    fails_with(Mutant::SelectsForNothing, || {
        for seed in 0..20 {
            let settings = [
                ("appendonly", "yes"),
                ("appendfsync", "no"),
                ("save", "\"\""),
                ("rdb-key-save-delay", "10000000"),
            ];
            let mut server = Simulated::on(Profile::Strict, seed, &settings);
            server.start().unwrap();
            for index in 0..20 {
                server.check(&[(format!("SET k{index} {}", "v".repeat(300)).as_str(), "OK")]);
            }
            fail_next_sync(&mut server);
            server.check(&[("SHUTDOWN NOSAVE", "(error) ERR Errors trying to SHUTDOWN. Check logs.")]);
            wait_for(&mut server, "aof_last_write_status", "ok");
            server.crash(Crash::Group);
            server.start().unwrap();
            assert_eq!(prefix_len(&mut server), 20, "seed {seed}");
            server.crash(Crash::Power);
            server.start().unwrap_or_else(|end| panic!("seed {seed}: {end:?}"));
            assert_eq!(prefix_len(&mut server), 20, "seed {seed}");
        }
    });
}

/// Seed 601895, ours: a log that is being switched off waited for its hole to be filled, and no rewrite might begin because it was
/// being switched off.
#[test]
fn log_with_a_hole_can_be_switched_off() {
    fails_with(Mutant::HoleClosedIn, || {
        let settings = [("appendonly", "yes"), ("appendfsync", "no"), ("save", "\"\"")];
        let mut server = Simulated::on(Profile::Strict, 1, &settings);
        server.start().unwrap();
        for index in 0..20 {
            server.check(&[(format!("SET k{index} {}", "v".repeat(300)).as_str(), "OK")]);
        }
        fail_next_sync(&mut server);
        server.check(&[("CONFIG SET appendonly no", "OK")]);
        server.check(&[("SET k20 lost", "OK")]);
        server.crash(Crash::Power);
        server.start().unwrap();
        assert_eq!(prefix_len(&mut server), 20);
    });
}

/// Seed 132 of `--focus hole`, ours: a rewrite was under way whose base is older than the hole. Its end was taken to fill it, the
/// log was said to be switched off in order, and a loss of power took what only the hole had held.
#[test]
fn older_base_does_not_fill_a_hole() {
    fails_with(Mutant::HoleFilledByOlderBase, || {
        for seed in 0..20 {
            let settings = [
                ("appendonly", "yes"),
                ("appendfsync", "no"),
                ("save", "\"\""),
                ("rdb-key-save-delay", "100000"),
            ];
            let mut server = Simulated::on(Profile::Xfs, seed, &settings);
            server.start().unwrap();
            let set = |server: &mut Simulated, index: u32| {
                server.check(&[(format!("SET k{index} {}", "v".repeat(300)).as_str(), "OK")]);
            };
            (0..20).for_each(|index| set(&mut server, index));
            server.say("BGREWRITEAOF");
            server.wait_ms(200);
            (20..30).for_each(|index| set(&mut server, index));
            fail_next_sync(&mut server);
            server.check(&[("CONFIG SET appendonly no", "OK")]);
            server.crash(Crash::Power);
            server.start().unwrap();
            assert_eq!(prefix_len(&mut server), 30, "seed {seed}");
        }
    });
}

/// Seed 3013643, ours: the rewrite that was to fill the hole failed, nobody asked for another, and from `always` on nobody was
/// answered any more.
#[test]
fn rewrite_for_a_hole_is_repeated() {
    fails_with(Mutant::HoleRewriteNotRepeated, || {
        let settings = [("appendonly", "yes"), ("appendfsync", "no"), ("save", "\"\"")];
        let mut server = Simulated::on(Profile::Strict, 1, &settings);
        server.start().unwrap();
        (0..20).for_each(|index| server.check(&[(format!("SET k{index} v").as_str(), "OK")]));
        fail_next_sync(&mut server);
        server.say("BGREWRITEAOF");
        server.wait_ms(1);
        // The manifest that names the fresh file is written; the one for the rewrite is not.
        let (operation, kind) = (Operation::Fdatasync, FaultKind::Errno(5));
        let path = "temp-appendonly.aof.manifest".into();
        server.world.disk_mut().add_fault(Fault { operation, path, skip: 1, kind });
        server.wait_ms(5_000);
        server.check(&[("CONFIG SET appendfsync always", "OK"), ("SET k20 v", "OK")]);
        server.crash(Crash::Power);
        server.start().unwrap();
        assert_eq!(prefix_len(&mut server), 21);
    });
}
