//! The configuration of this start: its file, the standard input, and the command line, read in this order.
//!
//! Exists because the engine reads no files: what a configuration needs of the world is done here, and its
//! paths are made absolute before anything else runs.
//!
//! Always true: after `load` the process is in `dir`, and `dir` and `config_file` are absolute.
//!
//! Not here: what the lines mean (`perdura_core::config`).

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use perdura_core::{
    bytes::glob,
    config::{Config, IncludedFile, LoadError},
};

use crate::cli::Invocation;

/// Reads the whole configuration and goes to its directory. The error is what to print before leaving.
///
/// # Errors
/// A file that cannot be read, a line that is wrong, a directory we cannot enter, a log we cannot write.
pub fn load(invocation: &Invocation, stdin: &mut dyn Read) -> Result<Config, String> {
    let mut config = Config::default();
    config.load(&text(invocation, stdin)?, &mut included).map_err(|error| error.to_string())?;
    config.config_file = invocation.config_file.as_deref().map(absolute);
    enter_dir(&mut config).map_err(|reason| whole(reason).to_string())?;
    check_logfile(&config).map_err(|reason| whole(reason).to_string())?;
    Ok(config)
}

/// A fault that is of no one line.
fn whole(reason: String) -> LoadError {
    LoadError { line: None, path: None, reason }
}

fn text(invocation: &Invocation, stdin: &mut dyn Read) -> Result<String, String> {
    let mut text = String::new();
    if let Some(path) = &invocation.config_file {
        let path = absolute(path);
        let file = fs::read_to_string(&path)
            .map_err(|error| format!("Fatal error, can't open config file '{path}': {}", in_words(&error)))?;
        text.push_str(&file);
    }
    if invocation.reads_stdin {
        stdin
            .read_to_string(&mut text)
            .map_err(|error| format!("Fatal error, can't read config from stdin: {}", in_words(&error)))?;
    }
    text.push('\n');
    text.push_str(&invocation.options);
    Ok(text)
}

/// The files an `include` line names. A wildcard that finds nothing is fine: `conf.d` may be empty.
fn included(pattern: &str) -> Result<Vec<IncludedFile>, String> {
    let paths = if has_wildcard(pattern) { expand(pattern) } else { vec![PathBuf::from(pattern)] };
    paths.iter().map(|path| read_included(path)).collect()
}

fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The paths that match a pattern, in alphabetical order. Each part of it may have wildcards of its own.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let root = if pattern.starts_with('/') { "/" } else { "./" };
    let parts = pattern.split('/').filter(|part| !part.is_empty());
    parts.fold(vec![PathBuf::from(root)], |dirs, part| {
        dirs.iter().flat_map(|dir| entries_matching(dir, part)).collect()
    })
}

/// What cannot be listed has no entries. Hidden names match only a pattern that asks for them.
fn entries_matching(dir: &Path, part: &str) -> Vec<PathBuf> {
    if !has_wildcard(part) {
        return Some(dir.join(part)).into_iter().filter(|path| path.exists()).collect();
    }
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut paths: Vec<PathBuf> = names
        .filter(|name| part.starts_with('.') || !name.as_encoded_bytes().starts_with(b"."))
        .filter(|name| glob::matches(part.as_bytes(), name.as_encoded_bytes()))
        .map(|name| dir.join(name))
        .collect();
    paths.sort();
    paths
}

fn read_included(path: &Path) -> Result<IncludedFile, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("can't open config file '{}': {}", path.display(), in_words(&error)))?;
    Ok(IncludedFile { path: path.display().to_string(), text })
}

fn enter_dir(config: &mut Config) -> Result<(), String> {
    let fault = |error: io::Error| format!("Can't chdir to '{}': {}", config.dir, in_words(&error));
    std::env::set_current_dir(&config.dir).map_err(fault)?;
    let dir = std::env::current_dir().map_err(fault)?;
    config.dir =
        dir.into_os_string().into_string().map_err(|dir| format!("'{}' is not UTF-8", dir.display()))?;
    Ok(())
}

/// Opening it once tells a wrong path now, while somebody looks, and not with the first line that gets lost.
fn check_logfile(config: &Config) -> Result<(), String> {
    if config.logfile.is_empty() {
        return Ok(());
    }
    let opened = fs::OpenOptions::new().append(true).create(true).open(&config.logfile);
    opened.map(drop).map_err(|error| format!("Can't open the log file: {}", in_words(&error)))
}

fn absolute(path: &str) -> String {
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

/// The system's own words, without the error number that Rust adds.
fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own for one test, removed with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("perdura-settings-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("the temporary directory is writable");
            Scratch(path)
        }

        fn write(&self, name: &str, text: &str) -> String {
            let path = self.0.join(name);
            fs::write(&path, text).expect("the scratch directory is writable");
            path.display().to_string()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn invocation(config_file: &str, options: &str) -> Invocation {
        Invocation { config_file: Some(config_file.into()), reads_stdin: false, options: options.into() }
    }

    #[test]
    fn later_sources_have_the_last_word() {
        let scratch = Scratch::new("sources");
        let file = scratch.write("a.conf", "port 1\nhz 1\ntimeout 1");
        let invocation = Invocation { reads_stdin: true, ..invocation(&file, "hz 3") };
        let text = text(&invocation, &mut &b"\nhz 2\ntimeout 2"[..]).expect("readable");
        let mut config = Config::default();
        config.load(&text, &mut included).expect("valid");
        assert_eq!((config.port, config.timeout, config.hz), (1, 2, 3));
    }

    #[test]
    fn includes_take_wildcards_in_order_and_need_not_find_anything() {
        let scratch = Scratch::new("include");
        let a = scratch.write("a.part", "port 1\nhz 1");
        scratch.write("b.part", "port 2");
        scratch.write(".hidden.part", "port 3");
        let pattern = scratch.0.join("*.part").display().to_string();
        let names: Vec<String> =
            included(&pattern).expect("readable").into_iter().map(|file| file.text).collect();
        assert_eq!(names, ["port 1\nhz 1", "port 2"]);
        assert_eq!(included(&format!("{pattern}.none")), Ok(vec![]));
        let by_folder = format!("{}*/[a].part", scratch.0.display());
        assert_eq!(expand(&by_folder), [PathBuf::from(&a)]);
        assert_eq!(included(&a).map(|files| files.len()), Ok(1));
    }

    #[test]
    fn what_is_missing_is_named() {
        let scratch = Scratch::new("missing");
        let missing = scratch.0.join("none.conf").display().to_string();
        let error = load(&invocation(&missing, ""), &mut io::empty()).expect_err("no such file");
        let expected = format!("Fatal error, can't open config file '{missing}': No such file or directory");
        assert_eq!(error, expected);

        let file = scratch.write("a.conf", &format!("include {missing}\n"));
        let error = load(&invocation(&file, ""), &mut io::empty()).expect_err("no such file");
        assert!(error.contains("FATAL CONFIG FILE ERROR") && error.contains("at line 1"), "{error}");

        let file = scratch.write("b.conf", &format!("dir {missing}\n"));
        let error = load(&invocation(&file, ""), &mut io::empty()).expect_err("no such directory");
        assert!(error.contains(&format!("Can't chdir to '{missing}': No such file")), "{error}");
    }

    #[test]
    fn a_log_that_cannot_be_written_is_found_out_at_once() {
        let config = Config { logfile: "/proc/none/log".into(), ..Config::default() };
        let reason = check_logfile(&config).expect_err("nobody can write there");
        assert_eq!(reason, "Can't open the log file: No such file or directory");
    }
}
