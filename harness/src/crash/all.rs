//! Every part, for our server and, where it says something, for the stock one beside it: `perdura-harness crash all`.
//!
//! Exists so that the tables of docs/DURABILITY.md come from one command.
//!
//! Always true: a part that finds something does not keep the later ones from running; what the stock server does wrong
//! is shown and is no failure of this command.
//!
//! Not here: the parts.

use super::Missing;
use super::survey::{Columns, Row, Survey, beside};
use crate::args::Args;
use crate::process::ServerCommand;
use std::io;
use std::process::{Command, ExitCode};

/// How `crash all` is called.
pub const USAGE: &str =
    "perdura-harness crash all [--points 42] [--rounds 170] [--states 400] [--seconds 3] [--seed 1]
    [--systems ext4,xfs,btrfs] [--parts kill,power,errors,contract,enumerate] [--without-stock] [--must-run]
    (tables on standard output, progress on standard error)";

const PARTS: [&str; 5] = ["kill", "power", "errors", "contract", "enumerate"];
/// Those that ask something of every server; the others are about the order that our engine counts on.
const COMPARED: [&str; 3] = ["kill", "power", "errors"];

/// Runs all parts, one after the other.
///
/// # Errors
/// A wrong command line, or a machine that fails.
pub(super) fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let plan = Plan::read(&mut args)?;
    let parts = args.choices("--parts", &PARTS, |part| part)?;
    let with_stock = !args.flag("--without-stock");
    let must_run = args.flag("--must-run");
    args.finish()?;
    let ours = ServerCommand::perdura().ok_or("no perdura-server found")?;
    let installed = ServerCommand::stock_redis();
    println!(
        "{}",
        [Some(&ours), installed.as_ref()].into_iter().flatten().map(version).collect::<Vec<_>>().join("; ")
    );
    let mut outcome = ExitCode::SUCCESS;
    for part in parts {
        let mut progress = io::stderr();
        let mut survey = Survey::new(&mut progress, must_run);
        super::run_part(part, plan.words(part, &ours), &mut survey)?;
        let mut others = io::stderr();
        let mut other = Survey::new(&mut others, false);
        let is_compared = with_stock && COMPARED.contains(&part);
        let stock = installed.as_ref().filter(|_| is_compared);
        if let Some(stock) = stock {
            super::run_part(part, plan.words(part, stock), &mut other)?;
        } else if is_compared {
            survey.skip("the stock server", &Missing::Program("redis-server".into()))?;
        }
        println!("\ncrash {part}:\n\n{}", tell(&survey, stock.map(|stock| (stock, &other))));
        if survey.conclude() != ExitCode::SUCCESS {
            outcome = ExitCode::FAILURE;
        }
    }
    Ok(outcome)
}

/// The parts' own options.
struct Plan {
    options: Vec<(&'static [&'static str], [String; 2])>,
}

impl Plan {
    fn read(args: &mut Args) -> Result<Plan, Box<dyn std::error::Error>> {
        const KNOWN: [(&str, &str, &[&str]); 6] = [
            ("--points", "42", &["power"]),
            ("--rounds", "170", &["kill"]),
            ("--states", "400", &["enumerate"]),
            ("--seconds", "3", &["power"]),
            ("--seed", "1", &PARTS),
            ("--systems", "all", &["power", "errors"]),
        ];
        let mut options = Vec::new();
        for (name, default, parts) in KNOWN {
            options.push((parts, [name.to_string(), args.text(name)?.unwrap_or(default.into())]));
        }
        Ok(Plan { options })
    }

    /// The command line of `part` for `server`.
    fn words(&self, part: &str, server: &ServerCommand) -> Args {
        let mut words = vec!["--server".to_string(), format!("{}={}", server.name, server.words.join(" "))];
        let mine = self.options.iter().filter(|(parts, _)| parts.contains(&part));
        words.extend(mine.flat_map(|(_, option)| option.iter().cloned()));
        Args::new(words)
    }
}

/// What a server says it is, on one line.
fn version(server: &ServerCommand) -> String {
    let output = Command::new(&server.words[0]).arg("--version").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    format!("{}: {}", server.name, said.lines().next().unwrap_or("no version"))
}

/// The tables side by side, the sums, and what was found.
fn tell(ours: &Survey, stock: Option<(&ServerCommand, &Survey)>) -> String {
    let mut lines = Vec::new();
    if let Some(columns) = ours.columns {
        let (name, others) = stock.map_or(("", &[][..]), |(server, other)| (&server.name, &other.rows));
        lines.push(if stock.is_some() {
            beside(columns, &ours.rows, name, others)
        } else {
            super::survey::table(columns, &ours.rows)
        });
        lines.push(String::new());
        lines.push(format!("In all: {}.", sums(columns, &ours.rows)));
        lines.extend(stock.map(|_| format!("{name}: {}.", sums(columns, others))));
    }
    lines.extend(ours.not_run.iter().cloned());
    lines.extend(ours.findings.iter().map(|what| format!("- {what}")));
    let first_line = |what: &String| what.lines().next().unwrap_or_default().to_string();
    if let Some((server, other)) = stock {
        lines.extend(other.findings.iter().map(|what| format!("- {}: {}", server.name, first_line(what))));
    }
    lines.join("\n")
}

/// What is counted, summed for each file system, or for everything where a part has none.
fn sums(columns: &Columns, rows: &[Row]) -> String {
    const COUNTED: [&str; 5] =
        ["rounds", "crash points", "violations", "starts refused", "breaches of the order"];
    let group_at = columns.places.iter().position(|name| *name == "file system");
    let group_of = |row: &Row| group_at.map_or(String::new(), |at| format!("{} ", row.place[at]));
    let mut groups: Vec<String> = Vec::new();
    for group in rows.iter().map(group_of) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let counted = || columns.outcomes.iter().enumerate().filter(|(_, name)| COUNTED.contains(name));
    let sum = |group: &String, at: usize| -> u64 {
        let cells = rows.iter().filter(|row| group_of(row) == *group).map(|row| &row.outcome[at]);
        cells.filter_map(|cell| cell.parse::<u64>().ok()).sum()
    };
    let of_group = |group: &String| {
        let figures = counted().map(|(at, name)| format!("{} {name}", sum(group, at)));
        format!("{group}{}", figures.collect::<Vec<_>>().join(", "))
    };
    groups.iter().map(of_group).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_summed_for_each_file_system() {
        static COLUMNS: Columns = Columns {
            places: &["policy", "file system"],
            outcomes: &["crash points", "slowest", "violations"],
        };
        let row = |system: &str, points: u32| Row {
            place: vec!["always".into(), system.into()],
            outcome: vec![points.to_string(), "9".into(), "0".into()],
        };
        let rows = [row("ext4", 5), row("ext4", 6), row("xfs", 7)];
        assert_eq!(
            sums(&COLUMNS, &rows),
            "ext4 11 crash points, 0 violations; xfs 7 crash points, 0 violations"
        );
    }
}
