//! Backups and the archive in simulation: a crash before, within and after every single disk operation.
//!
//! What could go wrong: a crash between two steps leaves something that looks complete and is not, or takes from the live
//! set what is not in the archive yet. Each scenario runs once without a crash; then once for each of its disk operations,
//! with a kill or a power loss there.

use std::collections::BTreeMap;

use perdura_core::persist::{backup::INVENTORY, manifest::Manifest};
use perdura_sim::{disk::Moment, profile::Profile, world::Crash};
use perdura_tests::simulated::Simulated;

const MOMENTS: [Moment; 3] = [Moment::Before, Moment::Within, Moment::After];
const CRASHES: [Crash; 2] = [Crash::Group, Crash::Power];

/// A server of the same seed, with a few keys.
fn begun(settings: &[(&str, &str)]) -> Simulated {
    let mut server = Simulated::on(Profile::Strict, 7, settings);
    server.start().expect("a first start");
    server.check(&[("SET a 1", "OK"), ("RPUSH l x y", "2"), ("SET b 2", "OK")]);
    server
}

fn operation_next(server: &Simulated) -> u64 {
    server.world.disk().operation_next()
}

fn contents(server: &Simulated, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let names = server.files().into_iter().map(|(name, _)| name).filter(|name| name.starts_with(folder));
    names.map(|name| (name.clone(), server.read_file(&name).expect("a file that is listed"))).collect()
}

fn expect_data(server: &mut Simulated, what: &str) {
    server.start().unwrap_or_else(|end| panic!("{what}: refused to start: {end:?}"));
    assert_eq!(server.say("MGET a b"), "1) 1 2) 2", "{what}");
    assert_eq!(server.say("LRANGE l 0 -1"), "1) x 2) y", "{what}");
}

/// Runs `scenario` with a crash at each of its disk operations; `judge` looks at what is left, and after the next start.
fn at_every_operation(
    settings: &[(&str, &str)],
    scenario: impl Fn(&mut Simulated),
    mut judge: impl FnMut(&Simulated, &str),
) {
    let mut whole = begun(settings);
    let from = operation_next(&whole);
    scenario(&mut whole);
    let to = operation_next(&whole);
    assert!(to > from + 10, "{from}..{to}: the scenario does nothing");
    judge(&whole, "no crash");
    for number in from..to {
        for (moment, crash) in MOMENTS.into_iter().flat_map(|moment| CRASHES.map(|crash| (moment, crash))) {
            let what = format!("operation {} of {}, {moment:?}, {crash:?}", number - from + 1, to - from);
            let mut server = begun(settings);
            server.world.crash_at(number, moment, crash);
            scenario(&mut server);
            server.crash(crash);
            judge(&server, &what);
            expect_data(&mut server, &what);
            server.wait_ms(2000);
            judge(&server, &format!("{what}, restarted"));
        }
    }
}

#[test]
fn a_backup_with_an_inventory_is_whole_wherever_a_crash_came() {
    let mut expected: Option<BTreeMap<String, Vec<u8>>> = None;
    let mut complete = 0;
    at_every_operation(
        &[("appendonly", "yes"), ("appendfsync", "always")],
        |server| {
            server.try_say("BACKUP TO saved");
        },
        |server, what| {
            let found = contents(server, "saved/");
            let whole = expected.get_or_insert_with(|| found.clone());
            assert!(whole.contains_key(&format!("saved/{INVENTORY}")), "{what}");
            if found.contains_key(&format!("saved/{INVENTORY}")) {
                complete += 1;
                assert_eq!(&found, whole, "{what}");
            }
        },
    );
    assert!(complete > 1, "no crash came after the inventory");
}

#[test]
fn an_archived_set_is_whole_wherever_a_crash_came() {
    at_every_operation(
        &[("appendonly", "yes"), ("appendfsync", "always"), ("aof-archive-dir", "old")],
        |server| {
            server.try_say("BGREWRITEAOF");
            server.wait_ms(5000);
        },
        |server, what| {
            let found = contents(server, "old/");
            for (name, text) in found.iter().filter(|(name, _)| is_archived_manifest(name)) {
                let manifest =
                    Manifest::parse(text).unwrap_or_else(|error| panic!("{what}: {name}: {error:?}"));
                assert!(manifest.base.is_some(), "{what}: {name}");
                for part in manifest.loaded() {
                    let path = format!("old/{}", part.name);
                    let bytes = found.get(&path).unwrap_or_else(|| panic!("{what}: {path} is missing"));
                    // The commands are in the log, the base of the first start is empty.
                    let is_log = part.name.ends_with(".incr.aof");
                    let has_commands = bytes.windows(5).any(|window| window == b"RPUSH");
                    assert!(!is_log || has_commands, "{what}: {path} lost its records");
                }
            }
            if what == "no crash" {
                assert_eq!(found.keys().filter(|name| is_archived_manifest(name)).count(), 1, "{found:?}");
            }
        },
    );
}

fn is_archived_manifest(name: &str) -> bool {
    name.ends_with(".manifest") && !name.contains("/temp-")
}
