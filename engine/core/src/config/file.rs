//! The configuration file: lines of directives, read into a [`Config`].
//!
//! Exists for the file given at start, the files it includes, and the options of the command line, which
//! the server appends as further lines.
//!
//! Always true: the first thing wrong ends the reading, and says in which line of which file.
//!
//! Not here: opening files (`engine/server`, through the `include` argument), writing them (`rewrite.rs`).

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use super::{Config, Directive, Flag, REDIS_VERSION, find, table::FORGOTTEN};
use crate::bytes::quote;

/// A file found for an `include` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IncludedFile {
    /// Where it was found.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// Why a configuration was not taken. Its `Display` is what the server prints before it exits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadError {
    /// The line at fault: its number from 1, and its text. `None` if the fault is of the whole.
    pub line: Option<(usize, String)>,
    /// The included file the line is in, or `None` for the outermost text.
    pub path: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***")?;
        if let Some((number, text)) = &self.line {
            match &self.path {
                Some(path) => writeln!(f, "Reading the configuration file '{path}', at line {number}")?,
                None => writeln!(f, "Reading the configuration file, at line {number}")?,
            }
            writeln!(f, ">>> '{text}'")?;
        }
        writeln!(f, "{}", self.reason)
    }
}

/// Finds the files an `include` line names: several or none for a wildcard, and an error for one that
/// cannot be read.
pub type Include<'a> = dyn FnMut(&str) -> Result<Vec<IncludedFile>, String> + 'a;

impl Config {
    /// Reads a whole configuration over this one.
    ///
    /// # Errors
    /// The first line that is wrong. What came before it is already set, so the configuration is of no
    /// use then.
    pub fn load(&mut self, text: &str, include: &mut Include<'_>) -> Result<(), LoadError> {
        Loader { config: self, include, has_save: false }.read(text, None, 0)?;
        if self.cluster_enabled && self.replicaof.is_some() {
            let reason = "replicaof directive not allowed in cluster mode".into();
            return Err(LoadError { line: None, path: None, reason });
        }
        Ok(())
    }
}

/// Includes within includes. Deeper than anybody would write by hand; a file that includes itself ends here.
const INCLUDE_DEPTH_MAX: usize = 16;

struct Loader<'a, 'b> {
    config: &'a mut Config,
    include: &'a mut Include<'b>,
    /// A `save` line was seen: the first one replaces the defaults, further ones add to it.
    has_save: bool,
}

impl Loader<'_, '_> {
    fn read(&mut self, text: &str, path: Option<&str>, depth: usize) -> Result<(), LoadError> {
        for (index, line) in text.split('\n').enumerate() {
            let line = line.trim_matches([' ', '\t', '\r', '\n']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            self.read_line(line, depth).map_err(|fault| match fault {
                Fault::Here(reason) => LoadError {
                    line: Some((index + 1, line.to_owned())),
                    path: path.map(ToOwned::to_owned),
                    reason,
                },
                Fault::Included(error) => error,
            })?;
        }
        Ok(())
    }

    fn read_line(&mut self, line: &str, depth: usize) -> Result<(), Fault> {
        let words = split_line(line)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let [name, values @ ..] = words.as_slice() else { return Ok(()) };
        if let Some(found) = find(name) {
            return Ok(self.set(found.directive, values)?);
        }
        match (name.to_ascii_lowercase().as_str(), values) {
            (name, [_]) if FORGOTTEN.contains(&name) => Ok(()),
            ("include", [pattern]) => self.include(pattern, depth),
            ("rename-command", [from, to]) => {
                self.config.renamed_commands.push(((*from).into(), (*to).into()));
                Ok(())
            }
            ("user", [_, ..]) => {
                self.config.users.push(values.iter().map(ToString::to_string).collect());
                Ok(())
            }
            ("loadmodule", _) => Err("modules cannot be loaded: Perdura has no module interface".into()),
            ("sentinel", _) => Err("sentinel directive while not in sentinel mode".into()),
            _ => Err("Bad directive or wrong number of arguments".into()),
        }
    }

    fn set(&mut self, directive: &Directive, values: &[&str]) -> Result<(), String> {
        if directive.name == "save" {
            return self.set_save(directive, values);
        }
        self.parse(directive, values)
    }

    fn set_save(&mut self, directive: &Directive, values: &[&str]) -> Result<(), String> {
        let is_first = !core::mem::replace(&mut self.has_save, true);
        let earlier = core::mem::take(&mut self.config.save);
        self.parse(directive, values)?;
        // An empty `save` takes back all save points there are.
        if !is_first && !self.config.save.is_empty() {
            let added = core::mem::replace(&mut self.config.save, earlier);
            self.config.save.extend(added);
        }
        Ok(())
    }

    fn parse(&mut self, directive: &Directive, values: &[&str]) -> Result<(), String> {
        match values {
            // Several words in one pair of quotes are several words.
            [all] if directive.is(Flag::MultiWord) && !all.is_empty() => {
                let words = split_line(all)?;
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                directive.parse(self.config, &words)
            }
            _ => directive.parse(self.config, values),
        }
    }

    fn include(&mut self, pattern: &str, depth: usize) -> Result<(), Fault> {
        if depth == INCLUDE_DEPTH_MAX {
            return Err(format!(
                "include '{pattern}': more than {INCLUDE_DEPTH_MAX} files within each other"
            )
            .into());
        }
        for file in (self.include)(pattern)? {
            self.read(&file.text, Some(&file.path), depth + 1).map_err(Fault::Included)?;
        }
        Ok(())
    }
}

/// What is wrong with a line: itself, or a line of a file it includes.
enum Fault {
    Here(String),
    Included(LoadError),
}

impl From<String> for Fault {
    fn from(reason: String) -> Fault {
        Fault::Here(reason)
    }
}

impl From<&str> for Fault {
    fn from(reason: &str) -> Fault {
        Fault::Here(reason.into())
    }
}

/// The words of a line, quotes and escapes resolved.
pub(super) fn split_line(line: &str) -> Result<Vec<String>, String> {
    let words = quote::split_args(line.as_bytes()).ok_or("Unbalanced quotes in configuration line")?;
    let words: Result<Vec<String>, _> = words.into_iter().map(String::from_utf8).collect();
    words.map_err(|_| "Not UTF-8 in configuration line".into())
}
