//! The directory a file of a suite runs in: the suite's tests, our server where it looks for its own.
//!
//! Exists so that the suite itself stays as its authors published it, and so that files can run side by side.
//!
//! Always true: only `tests/tmp` and what lies beside it is written to; the suite's own directory is not.
//!
//! Not here: when it is made and thrown away (`suite.rs`).

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::os::{self, Signal};
use crate::process::TempDir;

/// Procedures of ours that replace some of the suite's.
const PROPAGATION: &str = include_str!("../../suite/propagation.tcl");
const WAITING: &str = include_str!("../../suite/waiting.tcl");
/// Those that replace some of `support/aofmanifest.tcl`, which files of tests read again by themselves.
const MANIFEST: &str = include_str!("../../suite/manifest.tcl");
/// Those of the suite of Redis 7.0 alone.
const ENCODINGS_OF_7_0: &str = include_str!("../../suite/encodings-7.0.tcl");
/// What is changed in files of tests.
const EDITS: &[Edit] = &[
    // Settings that only a start decides: ours are added to the list of those.
    Edit {
        suite: "",
        file: "introspection.tcl",
        words: "set skip_configs {\n",
        instead: "set skip_configs {\nio-uring aof-checksum aof-archive-dir metrics-port metrics-bind\n",
    },
    // A server started for the debugger of scripts alone, which ends the file where there is none.
    Edit {
        suite: "",
        file: "scripting.tcl",
        words: "r script debug sync\n    r eval {return 'hello'} 0\n    r eval {return 'hello'} 0\n",
        instead: "\n",
    },
    // Since 7.2 the error speaks of a key and a channel.
    Edit { suite: OF_7_0, file: "acl.tcl", words: "NOPERM*channels*", instead: "NOPERM*channel*" },
    Edit { suite: OF_7_0, file: "acl-v2.tcl", words: "NOPERM*channels*", instead: "NOPERM*channel*" },
    Edit { suite: OF_7_0, file: "acl-v2.tcl", words: "NOPERM*keys*", instead: "NOPERM*key*" },
];
/// The suite of Redis 7.0, by the beginning of its directory's name.
const OF_7_0: &str = "redis-7.0";
/// The line of `test_helper.tcl` before which all its procedures are defined and nothing has run.
const START_LINE: &str = "if {$::client} {\n";
/// Programs beside the server that the suites call, by the end of their names.
const TOOLS: [&str; 4] = ["cli", "benchmark", "check-aof", "check-rdb"];

/// Words of a file of tests that are replaced wherever they stand.
struct Edit {
    /// The suite by the beginning of its directory's name; empty for all.
    suite: &'static str,
    /// The file, in `tests/unit`.
    file: &'static str,
    words: &'static str,
    instead: &'static str,
}

/// A directory with `src/` and `tests/`, removed when dropped.
pub struct Tree {
    dir: TempDir,
}

impl Tree {
    /// For one file of `suite`, with `server` in place of the stock one.
    ///
    /// # Errors
    /// When `suite` is not the source tree of Redis or Valkey, or something cannot be written.
    pub fn make(suite: &Path, server: &Path) -> io::Result<Tree> {
        let tree = Tree { dir: TempDir::new("perdura-suite")? };
        tree.link_tests(suite)?;
        tree.link_programs(suite, server)?;
        Ok(tree)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Kills the servers that were started here and still run: they stand in groups of their own.
    pub fn end_servers(&self) {
        for pid in processes_in(self.path()) {
            // It may end by itself meanwhile.
            let _ = os::signal_process(pid, Signal::Kill);
        }
    }

    fn link_tests(&self, suite: &Path) -> io::Result<()> {
        let (tests, own) = (suite.join("tests"), self.path().join("tests"));
        fs::create_dir_all(own.join("tmp"))?;
        link_all_but(&["tmp", "test_helper.tcl", "support", "unit"], &tests, &own)?;
        fs::create_dir(own.join("support"))?;
        link_all_but(&["aofmanifest.tcl"], &tests.join("support"), &own.join("support"))?;
        let manifest = fs::read_to_string(tests.join("support/aofmanifest.tcl"))?;
        fs::write(own.join("support/aofmanifest.tcl"), [&manifest, "\n", MANIFEST].concat())?;
        link_edited(suite, &tests.join("unit"), &own.join("unit"))?;
        let helper = fs::read_to_string(tests.join("test_helper.tcl"))?;
        let Some((before, after)) = helper.split_once(START_LINE) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a test_helper.tcl that we know"));
        };
        let encodings = if is_of(suite, OF_7_0) { ENCODINGS_OF_7_0 } else { "" };
        let parts = [before, PROPAGATION, WAITING, encodings, START_LINE, after];
        fs::write(own.join("test_helper.tcl"), parts.concat())
    }

    fn link_programs(&self, suite: &Path, server: &Path) -> io::Result<()> {
        let src = self.path().join("src");
        fs::create_dir(&src)?;
        for project in ["redis", "valkey"] {
            symlink(server, src.join(format!("{project}-server")))?;
            for tool in TOOLS {
                let name = format!("{project}-{tool}");
                if let Some(words) = words_of_tool(suite, server, tool, &name) {
                    write_script(&words, &src.join(name))?;
                }
            }
        }
        Ok(())
    }
}

/// How a tool is called: ours stand beside the server; what we have none of is the suite's own if that was built, or one of the path.
fn words_of_tool(suite: &Path, server: &Path, tool: &str, name: &str) -> Option<Vec<String>> {
    let own = server.with_file_name("perdura");
    if tool.starts_with("check-") && own.is_file() {
        return Some(vec![own.display().to_string(), tool.to_owned()]);
    }
    let built = Some(suite.join("src").join(name)).filter(|path| path.is_file());
    let stock = built.or_else(|| on_path(name)).or_else(|| on_path(&format!("redis-{tool}")))?;
    Some(vec![stock.display().to_string()])
}

/// Whether the name of a suite's directory begins so.
fn is_of(suite: &Path, beginning: &str) -> bool {
    suite.file_name().is_some_and(|name| name.to_string_lossy().starts_with(beginning))
}

/// Links to all files of tests in `from`, but for those that are edited, of which copies are made.
fn link_edited(suite: &Path, from: &Path, to: &Path) -> io::Result<()> {
    let edits: Vec<&Edit> = EDITS.iter().filter(|edit| is_of(suite, edit.suite)).collect();
    let names: Vec<&str> = edits.iter().map(|edit| edit.file).collect();
    fs::create_dir(to)?;
    link_all_but(&names, from, to)?;
    for name in names {
        let mut text = fs::read_to_string(from.join(name))?;
        for edit in edits.iter().filter(|edit| edit.file == name) {
            text = text.replace(edit.words, edit.instead);
        }
        fs::write(to.join(name), text)?;
    }
    Ok(())
}

/// Links to all that `from` holds but for these names.
fn link_all_but(names: &[&str], from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if !names.iter().any(|name| entry.file_name() == *name) {
            symlink(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// A script that runs these words with its arguments: a link would not do, for tools look at the name they are called by.
fn write_script(words: &[String], path: &Path) -> io::Result<()> {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    fs::write(path, format!("#!/bin/sh\nexec {} \"$@\"\n", quoted.join(" ")))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Every file of a suite, in its own order.
///
/// # Errors
/// When it is not the source tree of Redis or Valkey.
pub fn files(suite: &Path) -> io::Result<Vec<String>> {
    let helper = fs::read_to_string(suite.join("tests/test_helper.tcl"))?;
    let list = helper.split_once("set ::all_tests {").and_then(|(_, rest)| rest.split_once('}'));
    let Some((names, _)) = list else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no list of tests in test_helper.tcl"));
    };
    Ok(names.split_whitespace().map(String::from).collect())
}

fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// Processes whose working directory is `dir` or below it.
fn processes_in(dir: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(dir)))
        .collect()
}
