//! The repository's own rules: who may know whom, what may not be named, how a file begins.
//!
//! Each rule says what it protects. A rule that has an exception names it here with its reason.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").into()
}

/// All Rust files below a folder, with their text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("a readable file")));
            }
        }
    }
    found.sort();
    found
}

/// The program text of a file: without comments, and without its tests.
fn program(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]").next().expect("split gives one piece at least");
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

fn complain(rule: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

/// Modules of the core, in rows: each uses its own row and earlier ones. Two of one row may see each other unless
/// they are listed in [`STRANGERS`].
const ROWS: &[&[&str]] = &[
    &["bytes", "mutant", "rng", "time"],
    &["host", "resp"],
    &["error", "store"],
    &["config"],
    &["rdb"],
    &["blocked", "pubsub", "tracking", "session", "script"],
    &["commands", "persist"],
    &["acl"],
    &["node"],
];

/// Neighbours that never see each other.
const STRANGERS: &[(&str, &str)] = &[("commands", "persist"), ("persist", "commands")];

#[test]
fn core_modules_use_earlier_rows_only() {
    let row_of = |module: &str| ROWS.iter().position(|row| row.contains(&module));
    let mut offenders = Vec::new();
    for (name, text) in sources("engine/core/src") {
        let relative = name.strip_prefix("engine/core/src/").expect("listed from there");
        let own = relative.split(['/', '.']).next().expect("a name");
        // The root names every row; tests may look further down than the code they test.
        if own == "lib" || relative.ends_with("tests.rs") || relative.ends_with("testing.rs") {
            continue;
        }
        let Some(own_row) = row_of(own) else {
            offenders.push(format!("{name}: module `{own}` stands in no row"));
            continue;
        };
        for used in used_modules(&program(&text)) {
            let is_late = row_of(&used).is_none_or(|row| row > own_row);
            let is_strange = STRANGERS.contains(&(own, used.as_str()));
            if is_late || is_strange {
                offenders.push(format!("{name} uses crate::{used}"));
            }
        }
    }
    complain("layers of engine/core (docs/ARCHITECTURE.md)", &offenders);
}

/// First segments after `crate::`, in paths and in `use crate::{…}` lists.
fn used_modules(text: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            let mut is_head = true;
            for letter in list.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        modules.push(std::mem::take(&mut word));
                        is_head = true;
                        continue;
                    }
                    ':' => is_head = false,
                    _ => {}
                }
                if depth == 0 && is_head && (letter.is_alphanumeric() || letter == '_') {
                    word.push(letter);
                }
            }
            modules.push(word);
        } else {
            modules
                .push(rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect());
        }
    }
    // Macros and items of the crate's root have no row.
    modules.retain(|module| !module.is_empty() && module.chars().next().is_some_and(char::is_lowercase));
    modules.sort();
    modules.dedup();
    modules
}

#[test]
fn core_cannot_name_the_outside_world() {
    let lib = fs::read_to_string(root().join("engine/core/src/lib.rs")).expect("the core");
    assert!(lib.contains("#![no_std]") && lib.contains("#![forbid(unsafe_code)]"));
    let banned = [
        "extern crate std",
        "std::",
        "static mut",
        "thread_local",
        "println!",
        "{:p}",
        "Instant::",
        "SystemTime",
    ];
    let mut offenders = Vec::new();
    for (name, text) in sources("engine/core/src") {
        if name.ends_with("tests.rs") || name.ends_with("testing.rs") || name.contains("/tests/") {
            continue;
        }
        let text = program(&text);
        offenders
            .extend(banned.iter().filter(|word| text.contains(**word)).map(|word| format!("{name}: {word}")));
    }
    complain("the core reads no clock, file or address, and keeps no global", &offenders);
}

#[test]
fn unsafe_stays_where_it_is_watched() {
    // structures: naive twins under proptest; linux: system calls; harness/os.rs: system calls of the judge;
    // lua: the interpreter's own interface.
    let allowed = [
        "engine/structures/",
        "engine/linux/",
        "engine/lua/",
        "harness/src/os.rs",
        "engine/server/src/",
        "tests/tests/tidy.rs",
    ];
    let mut offenders = Vec::new();
    for folder in ["engine", "sim", "harness", "tests"] {
        for (name, text) in sources(folder) {
            let is_used = program(&text)
                .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .any(|word| word == "unsafe");
            if is_used && !allowed.iter().any(|place| name.starts_with(place)) {
                offenders.push(name);
            }
        }
    }
    complain("unsafe code", &offenders);
}

#[test]
fn simulation_draws_only_from_its_seed() {
    let banned = [
        "HashMap",
        "HashSet",
        "Instant::now",
        "SystemTime::now",
        "thread_rng",
        "rand::rng()",
        "thread::sleep",
    ];
    let mut offenders = Vec::new();
    for (name, text) in sources("sim/src") {
        let text = program(&text);
        offenders
            .extend(banned.iter().filter(|word| text.contains(**word)).map(|word| format!("{name}: {word}")));
    }
    complain("determinism of sim", &offenders);
}

#[test]
fn production_knows_neither_simulation_nor_judge() {
    let mut offenders = Vec::new();
    for manifest in
        ["engine/structures", "engine/core", "engine/linux", "engine/lua", "engine/server", "engine/tools"]
    {
        let text = fs::read_to_string(root().join(manifest).join("Cargo.toml")).expect("a manifest");
        for word in ["perdura-sim", "perdura-harness", "madsim", "tokio"] {
            // The tools talk to object stores, whose library needs it; the server never waits for anything else.
            let is_fine = word == "tokio" && manifest == "engine/tools";
            if text.contains(word) && !is_fine {
                offenders.push(format!("{manifest}/Cargo.toml: {word}"));
            }
        }
    }
    let model = sources("harness/src/model");
    assert!(!model.is_empty(), "the judge's model is where it was");
    for (name, text) in model {
        if text.contains("perdura_core") {
            offenders.push(format!("{name} uses the engine it judges"));
        }
    }
    complain("dependencies of production crates", &offenders);
}

#[test]
fn production_never_asks_for_mutants() {
    let mut offenders = Vec::new();
    for manifest in ["engine/structures", "engine/linux", "engine/server"] {
        let text = fs::read_to_string(root().join(manifest).join("Cargo.toml")).expect("a manifest");
        offenders.extend(text.contains("mutants").then(|| format!("{manifest}/Cargo.toml")));
    }
    let core = fs::read_to_string(root().join("engine/core/Cargo.toml")).expect("a manifest");
    let lines: Vec<&str> =
        core.lines().filter(|line| !line.starts_with('#') && line.contains("mutants")).collect();
    if lines != ["mutants = []"] {
        offenders.push(format!("engine/core/Cargo.toml: {lines:?}"));
    }
    // The workspace's table of dependencies is what all of them inherit.
    let workspace = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    offenders.extend(workspace.contains("mutants").then(|| "Cargo.toml".into()));
    complain("mistakes on purpose are compiled in for tests and the harness only", &offenders);
}

#[test]
fn server_binary_holds_no_madsim() {
    let command = perdura_harness::process::ServerCommand::perdura()
        .expect("perdura-server is built by cargo test --workspace");
    let program = command.raw_command().get_program().to_owned();
    let bytes = fs::read(&program).expect("the binary");
    let needle = ["mad", "sim"].concat();
    let is_there = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(!is_there, "{} contains the simulator", program.display());
}

#[test]
fn files_open_with_what_they_are() {
    let mut offenders = Vec::new();
    for folder in ["engine", "sim", "harness", "tests"] {
        for (name, text) in sources(folder) {
            if !text.starts_with("//!") {
                offenders.push(name);
            }
        }
    }
    complain("a file begins with `//!`", &offenders);
}

#[test]
fn the_book_is_whole() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).expect("docs/SUMMARY.md");
    let mut pages = Vec::new();
    for folder in [docs.clone(), docs.join("decisions")] {
        for entry in fs::read_dir(folder).expect("docs") {
            let path = entry.expect("a readable folder").path();
            if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    let mut offenders = Vec::new();
    for page in &pages {
        let name = page.strip_prefix(&docs).expect("below docs").display().to_string();
        if name != "SUMMARY.md" && !summary.contains(&format!("({name})")) {
            offenders.push(format!("{name} is not in SUMMARY.md"));
        }
        let text = fs::read_to_string(page).expect("a page");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
            if !page.with_file_name(link).exists() {
                offenders.push(format!("{name}: {link} is not there"));
            }
        }
    }
    complain("every page is in the book, and every link leads somewhere", &offenders);
}

/// A drill that no test performs is a story.
#[test]
fn tests_that_the_book_names_exist() {
    let all: String = ["engine", "sim", "harness", "tests"]
        .iter()
        .flat_map(|folder| sources(folder))
        .map(|(_, text)| text)
        .collect();
    let mut offenders = Vec::new();
    for page in ["backup-and-restore.md", "drills.md", "SECURITY.md", "migrating.md"] {
        let text = fs::read_to_string(root().join("docs").join(page)).expect("a page");
        // A section of a page of drills is a drill.
        if ["backup-and-restore.md", "drills.md"].contains(&page) {
            let untested = text.split("\n## ").skip(1).filter(|section| !section.contains("*Test"));
            offenders
                .extend(untested.map(|section| format!("{page}: {}", section.lines().next().unwrap_or(""))));
        }
        for name in text.split('`').skip(1).step_by(2) {
            // Fields of INFO are written alike.
            let is_field = ["perdura_", "backup_last_"].iter().any(|start| name.starts_with(start));
            let is_test = !is_field
                && name.matches('_').count() >= 3
                && name.chars().all(|c| c.is_alphanumeric() || c == '_');
            if is_test && !all.contains(&format!("fn {name}()")) {
                offenders.push(format!("{page}: {name}"));
            }
        }
    }
    complain("tests named in the book", &offenders);
}

#[test]
fn nothing_is_left_open() {
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["#[ig", "nore"].concat(),
        ["todo", "!("].concat(),
        ["unimpl", "emented!("].concat(),
    ];
    let mut offenders = Vec::new();
    for folder in ["engine", "sim", "harness", "tests"] {
        for (name, text) in sources(folder) {
            offenders.extend(
                marks
                    .iter()
                    .filter(|mark| text.contains(mark.as_str()))
                    .map(|mark| format!("{name}: {mark}")),
            );
        }
    }
    complain("open marks", &offenders);
}

/// A directive that nothing reads is accepted, and does nothing: then it says so, at the start and in `perdura.conf`.
#[test]
fn directives_that_nothing_reads_say_so() {
    let table = "engine/core/src/config/table.rs";
    let text = fs::read_to_string(root().join(table)).expect("a readable file");
    let programs: Vec<String> = sources("engine")
        .iter()
        .filter(|(name, _)| name != table && !name.ends_with("config/tests.rs"))
        .map(|(_, text)| text.clone())
        .collect();
    let reads = |text: &str, field: &str| {
        let is_whole =
            |rest: &str| !rest.starts_with(|next: char| next == '_' || next.is_ascii_alphanumeric());
        text.split(&format!(".{field}")).skip(1).any(is_whole)
    };
    let is_read = |field: &str| programs.iter().any(|text| reads(text, field));
    let rows = text.lines().filter_map(|line| {
        let (name, rest) = line.trim_start().strip_prefix('"')?.split_once('"')?;
        let (field, _) = rest.split_once("=> ")?.1.split_once(':')?;
        Some((name, field, line.contains("NoEffect")))
    });
    let rows: Vec<(&str, &str, bool)> = rows.collect();
    assert!(rows.len() > 150, "{} directives", rows.len());
    let silent = rows.iter().filter(|(_, field, is_without)| !is_without && !is_read(field));
    let silent: Vec<String> = silent.map(|(name, ..)| (*name).into()).collect();
    complain("directives without effect have the flag NoEffect", &silent);
}
