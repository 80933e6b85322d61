//! Every crash point of short scripted histories, with every coarse image of the disk at each of them.
//!
//! Exists because chance is weakest where enumeration is strongest: a window of one operation is hit by few seeds, and by
//! every exploration that walks over it. A script runs once; after each step that did something on the disk, copies
//! of the disk are given each image that differs in a coarse way, and started. The starts themselves are crashed at each of
//! their operations as well (depth 2), with an image of its own; the start of each life of a script before every one of them, with
//! every image.
//!
//! Always true: a script is explored whole, or the tally says that it was not.
//!
//! Not here: random histories (`sweep.rs`).

use std::process::ExitCode;
use std::time::Instant;

use perdura_sim::{Crash, Fault, FaultKind, Operation, Profile, WALL_STARTS_US};

use super::inheritance::Inheritance;
use super::oracle::Violation;
use super::plan::{Action, Deed, EIO, Ending, Plan, Round};
use super::run::{Exploration, Options, explore};
use super::workload::{Command, Op};
use crate::args::Args;

/// A short history to be crashed everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// What it is about.
    pub name: &'static str,
    settings: &'static [(&'static str, &'static str)],
    lines: &'static [&'static str],
}

/// All scripts. Lines: `set K`, `incr K`, `append K`, `del K`, `multi` (a transaction), `wait` (a second and a bit),
/// `rewrite`, `bgsave`, `save`, `on`, `off`, `always`, `fail` (the next sync of the log does), `kill` and `power` (a life ends, and
/// the next one may begin with the log `on`), `old` (the single file of an older server lies there at the first start).
pub const SCRIPTS: &[Script] = &[
    Script { name: "always", settings: ALWAYS, lines: &["set a", "incr c", "multi", "append a", "del a"] },
    Script { name: "everysec", settings: EVERYSEC, lines: &["set a", "incr c", "wait", "append a", "wait"] },
    Script { name: "no", settings: NO, lines: &["set a", "multi", "wait", "incr c"] },
    Script { name: "snapshot", settings: RDB, lines: &["set a", "bgsave", "set b", "wait", "save", "set a"] },
    Script {
        name: "rewrite-always",
        settings: ALWAYS,
        lines: &["set a", "set d1:b", "rewrite", "incr c", "set d1:b", "wait", "incr c"],
    },
    Script {
        name: "rewrite-everysec",
        settings: EVERYSEC,
        lines: &["set a", "incr c", "rewrite", "incr c", "multi", "wait", "incr c", "wait"],
    },
    Script {
        name: "two-rewrites",
        settings: ALWAYS,
        lines: &["set a", "rewrite", "incr c", "wait", "rewrite", "incr c", "wait", "incr c"],
    },
    Script {
        name: "rewrite-as-commands",
        settings: AS_COMMANDS,
        lines: &["set a", "set d1:b", "rewrite", "incr c", "wait", "incr c"],
    },
    Script {
        name: "switch-on",
        settings: RDB,
        lines: &["set a", "save", "incr c", "on", "incr c", "wait", "incr c", "wait"],
    },
    Script {
        name: "switch-off",
        settings: ALWAYS,
        lines: &["set a", "incr c", "off", "incr c", "save", "incr c"],
    },
    Script { name: "off-and-on", settings: ALWAYS, lines: OFF_AND_ON },
    Script {
        name: "rotation",
        settings: ALWAYS,
        lines: &["set a", "fail", "incr c", "wait", "wait", "incr c"],
    },
    Script {
        name: "rotation-everysec",
        settings: EVERYSEC,
        lines: &["set a", "incr c", "fail", "wait", "incr c", "wait", "wait", "incr c"],
    },
    Script { name: "upgrade", settings: ALWAYS, lines: &["old", "append s0", "incr c", "power", "incr c"] },
    Script { name: "upgrade-no", settings: NO, lines: &["old", "append s0", "multi", "power", "incr c"] },
    Script {
        name: "import",
        settings: RDB,
        lines: &["set a", "save", "incr c", "power on", "incr c", "power", "incr c"],
    },
    Script {
        name: "recovery",
        settings: NO,
        lines: &["set a", "multi", "power", "incr c", "kill", "multi", "power", "incr c", "power"],
    },
    Script {
        name: "recovery-in-a-rewrite",
        settings: EVERYSEC,
        lines: &["set a", "rewrite", "incr c", "power", "incr c", "wait", "rewrite", "kill", "incr c"],
    },
    Script {
        name: "rewrite-no",
        settings: NO,
        lines: &["set a", "set d1:b", "rewrite", "incr c", "multi", "wait", "incr c"],
    },
    Script {
        name: "rotation-no",
        settings: NO,
        lines: &["set a", "fail", "rewrite", "incr c", "wait", "incr c"],
    },
    Script { name: "snapshot-always", settings: ALWAYS, lines: SNAPSHOTS },
    Script { name: "snapshot-everysec", settings: EVERYSEC, lines: SNAPSHOTS },
    Script { name: "snapshot-no", settings: NO, lines: SNAPSHOTS },
    Script { name: "off-and-on-everysec", settings: EVERYSEC, lines: OFF_AND_ON },
    Script { name: "off-and-on-no", settings: NO, lines: OFF_AND_ON },
    Script {
        name: "upgrade-everysec",
        settings: EVERYSEC,
        lines: &["old", "append s0", "incr c", "power", "incr c"],
    },
    Script { name: "recovery-always", settings: ALWAYS, lines: RECOVERY },
    Script { name: "recovery-everysec", settings: EVERYSEC, lines: RECOVERY },
    Script { name: "to-always", settings: NO, lines: &["set a", "incr c", "always", "incr c"] },
];

const SNAPSHOTS: &[&str] = &["set a", "bgsave", "incr c", "wait", "save", "incr c"];
const OFF_AND_ON: &[&str] = &["set a", "off", "incr c", "on", "wait", "incr c", "wait"];
const RECOVERY: &[&str] = &["set a", "multi", "power", "incr c", "kill", "multi", "power"];

const ALWAYS: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "always"), ("save", "\"\"")];
const EVERYSEC: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "everysec"), ("save", "\"\"")];
const NO: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "no"), ("save", "\"\"")];
const RDB: &[(&str, &str)] = &[("appendonly", "no"), ("appendfsync", "always"), ("save", "\"\"")];
const AS_COMMANDS: &[(&str, &str)] =
    &[("appendonly", "yes"), ("appendfsync", "always"), ("save", "\"\""), ("aof-use-rdb-preamble", "no")];

impl Script {
    /// The script as a plan.
    pub fn plan(&self, profile: Profile) -> Plan {
        let mut rounds = vec![Round::default()];
        for (index, line) in self.lines.iter().enumerate() {
            let round = rounds.last_mut().expect("one is there");
            let crash = match line.split_whitespace().next() {
                Some("old") => continue,
                Some("kill") => Crash::Group,
                Some("power") => Crash::Power,
                _ => {
                    let (pause_us, deed) = deed_of(line, index);
                    round.actions.push(Action { number: index + 1, pause_us, deed });
                    continue;
                }
            };
            round.ending = Ending::Crash(crash, 0);
            let settings = if line.ends_with(" on") { vec![("appendonly", "yes")] } else { Vec::new() };
            rounds.push(Round { settings, ..Round::default() });
        }
        Plan {
            seed: 7,
            profile,
            settings: self.settings.to_vec(),
            slow_sync_permille: 0,
            clients: 2,
            wall_start_us: WALL_STARTS_US[0],
            inheritance: if self.lines.contains(&"old") { Inheritance::OldLog } else { Inheritance::Nothing },
            rounds,
            damage: None,
        }
    }
}

fn deed_of(line: &str, index: usize) -> (u64, Deed) {
    let (word, key) = line.split_once(' ').unwrap_or((line, "a"));
    let client = usize::from(key.starts_with("d1:"));
    let value = format!("v{index};");
    let data = |line: &[&str]| Op::Data(Command::new(line));
    let op = match word {
        "wait" => return (2_500_000, Deed::Jump(1)),
        "fail" => {
            let (operation, kind) = (Operation::Fdatasync, FaultKind::Errno(EIO));
            return (1_000, Deed::Fault(Fault { operation, path: "incr".into(), skip: 0, kind }));
        }
        "multi" => {
            let append = data(&["APPEND", key, &value]);
            let ops = vec![Op::Multi, append.clone(), data(&["LPUSH", "l", &value]), append, Op::Exec];
            return (1_000, Deed::Send { client, ops });
        }
        "set" => data(&["SET", key, &value]),
        "incr" => data(&["INCR", key]),
        "append" => data(&["APPEND", key, &value]),
        "del" => data(&["DEL", key]),
        "rewrite" => Op::BgRewrite,
        "bgsave" => Op::BgSave,
        "save" => Op::Save,
        "on" => Op::Config("appendonly", "yes"),
        "off" => Op::Config("appendonly", "no"),
        "always" => Op::Config("appendfsync", "always"),
        other => unreachable!("{other} is no line of a script"),
    };
    (3_000, Deed::Send { client, ops: vec![op] })
}

/// Explores one script on one file system.
///
/// # Errors
/// The first violation.
pub fn explore_script(
    script: &Script,
    profile: Profile,
    images_max: usize,
) -> Result<Exploration, Violation> {
    explore(&script.plan(profile), &Options { probe_permille: 0, ..Options::default() }, images_max)
}

/// `explore [--images N] [--script name]`
///
/// # Errors
/// A command line that is wrong.
pub fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let images_max = args.number("--images", 256usize)?;
    let only = args.text("--script")?;
    args.finish()?;
    let began = Instant::now();
    let (mut recoveries, mut failures) = (0, 0);
    println!(
        "{:<22} {:<12} {:>7} {:>9} {:>11} {:>7}",
        "script", "file system", "points", "images", "recoveries", "whole"
    );
    for script in SCRIPTS.iter().filter(|script| only.as_ref().is_none_or(|only| only == script.name)) {
        for profile in Profile::HONEST {
            match explore_script(script, profile, images_max) {
                Ok(found) => {
                    recoveries += found.recoveries;
                    println!(
                        "{:<22} {:<12} {:>7} {:>9} {:>11} {:>7}",
                        script.name,
                        format!("{profile:?}"),
                        found.points,
                        found.images,
                        found.recoveries,
                        if found.is_whole { "yes" } else { "no" }
                    );
                }
                Err(violation) => {
                    failures += 1;
                    println!("{:<22} {:<12} FAIL {violation}", script.name, format!("{profile:?}"));
                }
            }
        }
    }
    println!("{recoveries} recoveries in {:.1} s, {failures} failures", began.elapsed().as_secs_f64());
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
