//! Golden files: snapshots that stock servers of every RDB version within reach wrote, loaded by ours.
//!
//! What could go wrong: a form that only old servers wrote is read wrongly, and nobody has such a server to notice. How
//! this would notice: the data set's digest must be the one the stock server computed, and the one that the same commands
//! give here.
//!
//! Not here: how the files were made (`golden/make`, `golden/README.md`).

use std::fs;
use std::path::{Path, PathBuf};

use perdura_tests::simulated::Simulated;

/// Files and the version of the format each is there for.
const FILES: [(&str, &str); 10] = [
    ("redis-2.2.15", "0001"),
    ("redis-2.4.18", "0002"),
    ("redis-2.8.24", "0006"),
    ("redis-3.2.13", "0007"),
    ("redis-4.0.14", "0008"),
    ("redis-5.0.14", "0009"),
    ("redis-6.2.16", "0009"),
    ("redis-7.0.15", "0010"),
    ("valkey-7.2.7", "0011"),
    ("valkey-8.1.1", "0011"),
];

const STREAM_ID_TOO_SMALL: &str =
    "(error) ERR The ID specified in XADD is equal or smaller than the target stream top item";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn server() -> Simulated {
    Simulated::new(&[("save", "\"\""), ("enable-debug-command", "yes")])
}

/// Loads a file; the digest of what it held.
fn loaded(name: &str) -> (Simulated, String) {
    let mut server = server();
    server.write_file("dump.rdb", &fs::read(golden().join(format!("{name}.rdb"))).expect("a golden file"));
    server.start().unwrap_or_else(|end| panic!("{name} is refused: {end:?}"));
    let digest = server.say("DEBUG DIGEST");
    (server, digest)
}

/// Major and minor number.
fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split('.').map(|number| number.parse().expect("a number"));
    (numbers.next().expect("major"), numbers.next().expect("minor"))
}

/// The digest after running what the server of this name ran.
fn digest_of_commands(name: &str) -> String {
    let own = version(name.split_once('-').expect("name and version").1);
    let mut files: Vec<((u32, u32), PathBuf)> = fs::read_dir(golden().join("commands"))
        .expect("the commands")
        .map(|entry| entry.expect("readable").path())
        .map(|path| (version(path.file_stem().and_then(|stem| stem.to_str()).expect("a version")), path))
        .filter(|(version, _)| *version <= own)
        .collect();
    files.sort();
    let mut server = server();
    server.start().expect("an empty disk is served");
    for (_, path) in files {
        let commands = fs::read_to_string(path).expect("readable");
        // CONFIG shapes the encoding only, with parameters that come and go.
        for line in commands.lines().filter(|line| !line.starts_with("CONFIG ")) {
            let reply = server.say(line);
            assert!(!reply.starts_with("(error)"), "{line}: {reply}");
        }
    }
    server.say("DEBUG DIGEST")
}

#[test]
fn every_version_of_the_format_is_there_as_announced() {
    for (name, version) in FILES {
        let file = fs::read(golden().join(format!("{name}.rdb"))).expect("a golden file");
        assert!(file.starts_with(format!("REDIS{version}").as_bytes()), "{name}");
    }
}

#[test]
fn stock_snapshots_load_with_the_digest_the_stock_server_gave() {
    for (name, _) in FILES {
        let expected = fs::read_to_string(golden().join(format!("{name}.digest"))).expect("a digest");
        assert_eq!(loaded(name).1, expected.trim(), "{name}");
    }
}

#[test]
fn stock_snapshots_hold_what_the_same_commands_give_here() {
    for (name, _) in FILES {
        assert_eq!(loaded(name).1, digest_of_commands(name), "{name}");
    }
}

#[test]
fn a_loaded_snapshot_is_saved_and_loaded_again() {
    for (name, _) in FILES {
        let (mut server, digest) = loaded(name);
        assert_eq!(server.say("SAVE"), "OK");
        server.crash(perdura_sim::world::Crash::Power);
        server.start().expect("our own snapshot");
        assert_eq!(server.say("DEBUG DIGEST"), digest, "{name}");
    }
}

/// The one file that no server wrote: hexadecimal, with what the bytes are behind each `#`.
fn by_hand() -> Vec<u8> {
    let text = fs::read_to_string(golden().join("hash-expiry-by-hand.hex")).expect("the file made by hand");
    let digits: String = text
        .lines()
        .flat_map(|line| line.split('#').next().expect("a line has a beginning").chars())
        .filter(|digit| !digit.is_whitespace())
        .collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("two digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Types 22 to 25 byte by byte from their documentation: pinned by something else than our encoder.
#[test]
fn hashes_with_expiring_fields_are_read_as_documented() {
    let mut read = server();
    read.write_file("dump.rdb", &by_hand());
    read.start().expect("the file is whole");
    let mut told = server();
    told.start().expect("an empty disk is served");
    for key in ["table-first-form", "table", "pack"] {
        told.say(&format!("HSET {key} soon a never b late 42"));
        told.say(&format!("HPEXPIREAT {key} 4102444800000 FIELDS 1 soon"));
        told.say(&format!("HPEXPIREAT {key} 4102444800005 FIELDS 1 late"));
    }
    told.say("HSET pack-first-form soon a never 7");
    told.say("HPEXPIREAT pack-first-form 4102444800000 FIELDS 1 soon");
    told.say("PEXPIREAT pack 4102444801005");
    told.say("HSET lone f v");
    told.say("HPEXPIREAT lone 4102444800005 FIELDS 1 f");
    for line in [
        "DEBUG DIGEST",
        "HPEXPIRETIME table-first-form FIELDS 3 soon never late",
        "HPEXPIRETIME pack-first-form FIELDS 2 soon never",
        "HPEXPIRETIME table FIELDS 3 soon never late",
        "HPEXPIRETIME pack FIELDS 3 soon never late",
        "PEXPIRETIME pack",
        "HPEXPIRETIME lone FIELDS 1 f",
    ] {
        assert_eq!(read.say(line), told.say(line), "{line}");
    }
    assert_eq!(
        read.say("HPEXPIRETIME pack FIELDS 3 soon never late"),
        "1) 4102444800000 2) -1 3) 4102444800005"
    );
    let lone = read.call(&["DUMP", "lone"]).expect("a reply");
    let documented =
        b"\x18\x05\xd8\xc3\x2c\xbb\x03\0\0\x01\x01\x01f\x01v\x0c\0\x6f\x4f\x7c\xc4\xc0\xda\x80\xab";
    assert_eq!(lone.as_bytes(), Some(&documented[..]), "type 24 is what we write");
}

#[test]
fn old_encodings_become_ours() {
    for (name, key, encoding) in [
        ("redis-2.2.15", "hash", "hashtable"),
        ("redis-2.2.15", "list", "listpack"),
        ("redis-2.4.18", "intset64", "intset"),
        ("redis-2.8.24", "list", "listpack"),
        ("redis-2.8.24", "zset", "listpack"),
        ("redis-3.2.13", "quicklist", "listpack"),
        ("redis-7.0.15", "listpacks", "quicklist"),
        ("valkey-7.2.7", "set-listpack", "listpack"),
    ] {
        assert_eq!(loaded(name).0.say(&format!("OBJECT ENCODING {key}")), encoding, "{name} {key}");
    }
}

#[test]
fn what_is_no_part_of_the_digest_is_there_too() {
    let mut server = loaded("valkey-7.2.7").0;
    server.check(&[
        ("PEXPIRETIME volatile-ms", "4102444800123"),
        ("EXPIRETIME volatile", "2100000000"),
        ("PFCOUNT hll", "5"),
        ("XGROUP CREATE stream workers 0", "(error) BUSYGROUP Consumer Group name already exists"),
        ("XACK stream workers 2-0 3-0", "2"),
        ("XGROUP DELCONSUMER stream workers carol", "0"),
        ("XADD stream-of-nothing 5-5 a 1", STREAM_ID_TOO_SMALL),
    ]);
}
