//! `perdura.conf`: every directive that does something, with what it is for, its trade-off and its default.
//!
//! Exists so that an operator has a file to begin with, made from the same table that the server reads by.
//!
//! Always true: the file in the repository is what `--default-config` prints, and loading it changes nothing.
//!
//! Not here: the table (`perdura_core::config`).

use perdura_core::config::{Config, DIRECTIVES, Directive, Flag, Kind};

use crate::trade_offs;

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
    if let Some(trade_off) = trade_offs::of(directive.name) {
        text.push_str(&format!("# {trade_off}\n"));
    }
    if let Some(values) = values(directive.kind) {
        text.push_str(&format!("# {values}\n"));
    }
    text.push_str(&format!("# {} {}\n", directive.name, example(directive, default)));
    text
}

/// The default, as it would stand in a file.
fn example(directive: &Directive, default: &Config) -> String {
    let value = directive.print(default);
    if value.is_empty() || value.contains('{') { format!("\"{value}\"") } else { value }
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
    fn each_directive_that_does_something_has_a_trade_off_and_nothing_else_has() {
        let is_active = |directive: &&Directive| !directive.is(Flag::NoEffect) && !directive.is(Flag::Hidden);
        let active: Vec<&str> = DIRECTIVES.iter().filter(is_active).map(|directive| directive.name).collect();
        let named: Vec<&str> = trade_offs::TRADE_OFFS.iter().map(|(name, _)| *name).collect();
        assert_eq!(named, active);
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
            .collect();
        assert!(lines.len() > 95, "{}", lines.len());
        assert_eq!(load(&lines.join("\n")), Config::default());
        assert_eq!(load(&text), Config::default());
    }
}
