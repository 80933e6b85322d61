//! `perdura.conf`: every directive that does something, with what it is for and its default.
//!
//! Exists so that an operator has a file to begin with, made from the same table that the server reads by.
//!
//! Always true: the file in the repository is what `--default-config` prints, and loading it changes nothing.
//!
//! Not here: the table (`perdura_core::config`).

use perdura_core::config::{Config, DIRECTIVES, Directive, Flag, Kind};

const HEAD: &str = "\
# Configuration of perdura-server, with all defaults: take away the '#' before a line to change it.
#
# Made by: perdura-server --default-config
#
# Memory is in bytes, or with a unit: 1k is 1000, 1kb is 1024, and so on with m, mb, g, gb.
# Other files are read in place by: include /path/to/file.conf
";

const TAIL: &str = "
# Also understood:
#
#   include PATTERN               files to read here; a wildcard may find none
#   rename-command NAME NEW       another name for a command; an empty one removes it
#   user NAME RULE ...            a user and what it may do, as ACL SETUSER takes it
#
# Understood, so that files written for Redis load, but without effect:
";

/// The whole file.
pub fn default_config() -> String {
    let default = Config::default();
    let (idle, active): (Vec<&Directive>, Vec<&Directive>) = DIRECTIVES
        .iter()
        .filter(|directive| !directive.is(Flag::Hidden))
        .partition(|directive| directive.is(Flag::NoEffect));
    let mut text = String::from(HEAD);
    for directive in active {
        text.push_str(&entry(directive, &default));
    }
    text.push_str(TAIL);
    for directive in idle {
        text.push_str(&format!("#   {}\n", directive.name));
    }
    text
}

fn entry(directive: &Directive, default: &Config) -> String {
    let mut text = format!("\n#{}{}\n", directive.doc, restriction(directive));
    if let Some(values) = values(directive.kind) {
        text.push_str(&format!("# {values}\n"));
    }
    text.push_str(&format!("# {} {}\n", directive.name, example(directive, default)));
    text
}

/// The default, or what could stand there where the default is to have no line at all.
fn example(directive: &Directive, default: &Config) -> String {
    let value = directive.print(default);
    match (directive.kind, value.as_str()) {
        (Kind::Special(words), "") if directive.is(Flag::AbsentAtDefault) => format!("<{words}>"),
        (_, text) if text.is_empty() || text.contains('{') => format!("\"{text}\""),
        _ => value,
    }
}

fn restriction(directive: &Directive) -> &'static str {
    if directive.is(Flag::Immutable) {
        " Not changed by CONFIG SET."
    } else if directive.is(Flag::Protected) {
        " Changed by CONFIG SET only with enable-protected-configs."
    } else {
        ""
    }
}

/// What may stand there, where the default does not show it.
fn values(kind: Kind) -> Option<String> {
    match kind {
        Kind::Choice(words) => Some(format!("One of: {}.", words.join(", "))),
        Kind::Int { min, max } if max < i128::from(u16::MAX) => Some(format!("From {min} to {max}.")),
        Kind::Hint { min, max } => Some(format!("From {min} to {max}.")),
        Kind::Special(words) => Some(format!("Takes: {words}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Config {
        let mut config = Config::default();
        config.load(text, &mut |_| Ok(vec![])).expect("valid");
        config
    }

    #[test]
    fn the_file_in_the_repository_is_up_to_date() {
        let file = include_str!("../../../perdura.conf");
        assert!(
            file == default_config(),
            "run: cargo run -p perdura-server -- --default-config > perdura.conf"
        );
    }

    #[test]
    fn what_it_shows_are_the_defaults() {
        // Without the '#', each line that names a directive must be valid and change nothing.
        let shown: Vec<&str> = DIRECTIVES.iter().map(|directive| directive.name).collect();
        let text = default_config();
        let body = text.split(TAIL).next().expect("the head and the entries");
        let lines: Vec<&str> = body
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.split_once(' ').is_some_and(|(name, _)| shown.contains(&name)))
            // There is no line for having no primary.
            .filter(|line| *line != "replicaof <host port>")
            .collect();
        assert!(lines.len() > 100);
        assert_eq!(load(&lines.join("\n")), Config::default());
        assert_eq!(load(&text), Config::default());
    }
}
