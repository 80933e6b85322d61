//! docs/COMMANDS.md says what the table of commands says.
//!
//! Exists so that the list cannot grow old: it is made from the table, and a table that moved on fails here.
//! `PERDURA_WRITE_DOCS=1 cargo test -p perdura-tests --test commands_doc` writes it again.
//!
//! Always true: every row of the table has one line, and says since when it exists and what it does.
//!
//! Not here: what a command replies (`differential.rs` and the tests beside each command).

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use perdura_core::commands::table::{Row, Table};

/// What stands above the tables.
const OPENING: &str = "# Commands\n\nMade from the table of commands by `tests/tests/commands_doc.rs`; \
                       do not edit.\n\nArity counts the command's own name, for a subcommand its container's \
                       too; a negative arity means at least that many.\n";

fn line(row: &Row) -> String {
    let command = row.command;
    let name = row.full_name().replace('|', " ").to_uppercase();
    format!(
        "| `{name}` | {} | {} | {} |\n",
        command.arity,
        command.since,
        command.summary.replace('|', "\\|")
    )
}

/// The whole document: groups in the order of their names, commands in the order of theirs.
fn document() -> String {
    let mut groups: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for row in Table::new().rows() {
        let group = row.container.unwrap_or(row.command).group;
        groups.entry(group).or_default().insert(row.full_name(), line(row));
    }
    let mut text = OPENING.to_owned();
    for (group, lines) in groups {
        write!(text, "\n## {group}\n\n| Command | Arity | Since | Summary |\n| --- | ---: | --- | --- |\n")
            .expect("a string takes everything");
        text.extend(lines.into_values());
    }
    text
}

#[test]
fn document_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/COMMANDS.md");
    let made = document();
    if std::env::var_os("PERDURA_WRITE_DOCS").is_some() {
        fs::write(&path, &made).expect("docs/ can be written");
    }
    let stored = fs::read_to_string(&path).expect("docs/COMMANDS.md is there");
    let differing = made.lines().zip(stored.lines()).find(|(made, stored)| made != stored);
    assert!(
        made == stored,
        "docs/COMMANDS.md is old; PERDURA_WRITE_DOCS=1 writes it again. First difference: {differing:?}"
    );
}

#[test]
fn every_command_says_what_it_does() {
    let silent: Vec<String> = Table::new()
        .rows()
        .iter()
        .filter(|row| row.command.summary.is_empty() || row.command.since.is_empty())
        .map(Row::full_name)
        .collect();
    assert!(silent.is_empty(), "without a summary: {silent:?}");
}
