//! Every part, for our server and, where it says something, for the stock one beside it: `perdura-harness crash all`.
//!
//! Exists so that the tables of docs/DURABILITY.md come from one command.
//!
//! Always true: a part that finds something does not keep the others from running; what the stock server does wrong
//! is shown and is no failure of this command; the order of the tables does not depend on who is done first.
//!
//! Not here: the parts.

use super::disk::FileSystem;
use super::survey::{Columns, Outcome, Row, Survey, beside};
use super::{Missing, Policy};
use crate::args::{Args, UsageError};
use crate::process::ServerCommand;
use std::io;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;
use strum::VariantArray;

/// How `crash all` is called.
pub const USAGE: &str =
    "perdura-harness crash all [--points 42] [--rounds 170] [--states 400] [--seconds 3] [--seed 1] [--jobs 1]
    [--systems ext4,xfs,btrfs] [--parts kill,power,errors,contract,enumerate] [--without-stock] [--must-run]
    (tables on standard output, progress on standard error)";

const PARTS: [&str; 5] = ["kill", "power", "errors", "contract", "enumerate"];
/// Those that ask something of every server; the others are about the order that our engine counts on.
const COMPARED: [&str; 3] = ["kill", "power", "errors"];

/// Runs all parts, as many at the same time as `--jobs` says.
///
/// # Errors
/// A wrong command line, or a machine that fails.
pub(super) fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let plan = Plan::read(&mut args)?;
    let with_stock = !args.flag("--without-stock");
    let must_run = args.flag("--must-run");
    let jobs = args.number("--jobs", 1)?;
    args.finish()?;
    let ours = ServerCommand::perdura().ok_or("no perdura-server found")?;
    let installed = ServerCommand::stock_redis();
    println!(
        "{}",
        [Some(&ours), installed.as_ref()].into_iter().flatten().map(version).collect::<Vec<_>>().join("; ")
    );
    let stock = installed.as_ref().filter(|_| with_stock);
    let tasks: Vec<Task> = plan.tasks(&ours, stock);
    let mut outcomes = run_tasks(&plan, &tasks, must_run, jobs)?.into_iter();
    let mut code = ExitCode::SUCCESS;
    for part in &plan.parts {
        let (mut mine, mut others) = (Outcome::default(), Outcome::default());
        for (task, outcome) in tasks.iter().filter(|task| task.part == *part).zip(outcomes.by_ref()) {
            if task.server == &ours { mine.take_in(outcome) } else { others.take_in(outcome) }
        }
        let is_compared = with_stock && COMPARED.contains(part);
        if is_compared && stock.is_none() {
            let missing = Missing::Program("redis-server".into());
            mine.not_run.push(format!("NOT RUN: the stock server: {missing}"));
        }
        let stock = stock.filter(|_| is_compared).map(|stock| (stock, &others));
        println!("\ncrash {part}:\n\n{}", tell(&mine, stock));
        if !mine.is_good(must_run) {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// A part, or a share of it, for one server.
#[derive(Debug)]
struct Task<'a> {
    part: &'static str,
    server: &'a ServerCommand,
    /// What the share is, for its command line.
    share: Option<[String; 2]>,
}

/// Runs them all and gives their outcomes, in their order.
fn run_tasks(
    plan: &Plan,
    tasks: &[Task],
    must_run: bool,
    jobs: usize,
) -> Result<Vec<Outcome>, Box<dyn std::error::Error>> {
    let waiting = Mutex::new(tasks.iter().enumerate());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, tasks.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("nobody panics holding it").next();
                    let Some((index, task)) = next else { return };
                    let mut progress = io::stderr();
                    let mut survey = Survey::new(&mut progress, must_run);
                    let result = super::run_part(task.part, plan.words(task), &mut survey);
                    let result =
                        result.map(|()| survey.outcome).map_err(|error| format!("{task:?}: {error}"));
                    done.lock().expect("nobody panics holding it").push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("nobody panics holding it");
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect::<Result<_, _>>()?)
}

/// What is run, with the parts' own options.
struct Plan {
    parts: Vec<&'static str>,
    systems: Vec<FileSystem>,
    options: Vec<(&'static [&'static str], [String; 2])>,
}

impl Plan {
    fn read(args: &mut Args) -> Result<Plan, UsageError> {
        const KNOWN: [(&str, &str, &[&str]); 5] = [
            ("--points", "42", &["power"]),
            ("--rounds", "170", &["kill"]),
            ("--states", "400", &["enumerate"]),
            ("--seconds", "3", &["power"]),
            ("--seed", "1", &PARTS),
        ];
        let mut options = Vec::new();
        for (name, default, parts) in KNOWN {
            options.push((parts, [name.to_string(), args.text(name)?.unwrap_or(default.into())]));
        }
        Ok(Plan {
            parts: args.choices("--parts", &PARTS, |part| part)?,
            systems: args.choices("--systems", FileSystem::VARIANTS, FileSystem::name)?,
            options,
        })
    }

    /// In the order of the parts; each for our server and, where it is compared, for the stock one.
    fn tasks<'a>(&self, ours: &'a ServerCommand, stock: Option<&'a ServerCommand>) -> Vec<Task<'a>> {
        let mut tasks = Vec::new();
        for part in self.parts.iter().copied() {
            let shares = self.shares(part);
            let stock = stock.filter(|_| COMPARED.contains(&part));
            for server in [Some(ours), stock].into_iter().flatten() {
                tasks.extend(shares.iter().map(|share| Task { part, server, share: share.clone() }));
            }
        }
        tasks
    }

    /// What of a part can be tried beside the rest of it.
    fn shares(&self, part: &str) -> Vec<Option<[String; 2]>> {
        let each = |option: &str, names: Vec<&str>| {
            names.into_iter().map(|name| Some([option.to_string(), name.to_string()])).collect()
        };
        match part {
            "kill" => each("--policies", Policy::PROMISING.iter().map(|policy| policy.name()).collect()),
            "power" | "errors" => {
                each("--systems", self.systems.iter().map(|system| system.name()).collect())
            }
            _ => vec![None],
        }
    }

    /// The command line of a task.
    fn words(&self, task: &Task) -> Args {
        let server = task.server;
        let mut words = vec!["--server".to_string(), format!("{}={}", server.name, server.words.join(" "))];
        let own = self.options.iter().filter(|(parts, _)| parts.contains(&task.part));
        words.extend(own.flat_map(|(_, option)| option.iter().cloned()));
        words.extend(task.share.iter().flatten().cloned());
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
fn tell(ours: &Outcome, stock: Option<(&ServerCommand, &Outcome)>) -> String {
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
    #[test]
    fn each_policy_or_file_system_is_a_task_of_its_own_for_each_server() {
        let plan = Plan::read(&mut Args::new(["--systems", "ext4,xfs"].map(String::from))).unwrap();
        let server = |name: &str| ServerCommand::parse(&format!("{name}=program")).unwrap();
        let (ours, stock) = (server("ours"), server("stock"));
        let tasks = plan.tasks(&ours, Some(&stock));
        let of = |part: &str| tasks.iter().filter(|task| task.part == part).count();
        assert_eq!(PARTS.map(of), [6, 4, 4, 1, 1]);
        let mut words = plan.words(tasks.iter().find(|task| task.part == "power").unwrap());
        assert_eq!(words.text("--systems").unwrap().as_deref(), Some("ext4"));
        assert_eq!(words.text("--server").unwrap().as_deref(), Some("ours=program"));
    }
}
