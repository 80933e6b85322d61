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
/// The line of `test_helper.tcl` before which all its procedures are defined and nothing has run.
const START_LINE: &str = "if {$::client} {\n";
/// Programs beside the server that the suites call, by the end of their names.
const TOOLS: [&str; 4] = ["cli", "benchmark", "check-aof", "check-rdb"];

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
        tree.link_tests(&suite.join("tests"))?;
        tree.link_programs(server)?;
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

    fn link_tests(&self, tests: &Path) -> io::Result<()> {
        let own = self.path().join("tests");
        fs::create_dir_all(own.join("tmp"))?;
        for entry in fs::read_dir(tests)? {
            let entry = entry?;
            if entry.file_name() != "tmp" && entry.file_name() != "test_helper.tcl" {
                symlink(entry.path(), own.join(entry.file_name()))?;
            }
        }
        let helper = fs::read_to_string(tests.join("test_helper.tcl"))?;
        let Some((before, after)) = helper.split_once(START_LINE) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a test_helper.tcl that we know"));
        };
        fs::write(own.join("test_helper.tcl"), [before, PROPAGATION, WAITING, START_LINE, after].concat())
    }

    fn link_programs(&self, server: &Path) -> io::Result<()> {
        let src = self.path().join("src");
        fs::create_dir(&src)?;
        for project in ["redis", "valkey"] {
            symlink(server, src.join(format!("{project}-server")))?;
            for tool in TOOLS {
                // Ours stand beside the server; what we have none of is the stock one.
                let own = server.with_file_name("perdura");
                let is_own = tool.starts_with("check-") && own.is_file();
                let stock = || Some(vec![on_path(&format!("redis-{tool}"))?.display().to_string()]);
                let own_words = || vec![own.display().to_string(), tool.to_owned()];
                if let Some(words) = if is_own { Some(own_words()) } else { stock() } {
                    write_script(&words, &src.join(format!("{project}-{tool}")))?;
                }
            }
        }
        Ok(())
    }
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
