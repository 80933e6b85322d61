//! Runs the public Tcl suites of Redis and Valkey against Perdura: `perdura-harness suite`.
//!
//! Exists because those suites are what the world's clients rely on without knowing it. They stay outside the
//! repository; this takes the directory of one, puts our server where it looks for its own, runs each file and
//! tells what passed, what failed and what does not apply to us, with the reason.
//!
//! Always true: a file runs in a directory of its own, and no server it started outlives it; a test that is
//! left out is left out by name in `suite/not-applicable.txt` or by the suite's own tags, and is reported; a
//! file that stops in the middle has failed, however many tests it passed before.
//!
//! Not here: how a suite's lines are read (`suite/outcome.rs`), the list of reasons (`suite/reasons.rs`), the
//! directory the suite runs in (`suite/tree.rs`).

mod outcome;
mod reasons;
mod tree;

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::{Args, UsageError};
use crate::client::Address;
use crate::os::{self, Signal};
use crate::process::{Launch, Server, ServerCommand};
use outcome::{Outcome, read_output};
use reasons::Reasons;
use tree::Tree;

/// How it is called.
pub const USAGE: &str =
    "perdura-harness suite --suite dir [--server program] [--mode full|external] [--file unit/type/string]…
    [--jobs 1] [--first-port 21000, at most 35000] [--minutes-per-file 10] [--keep dir] [--option word]… [--verbose]
    (dir: a source tree of Redis 7.0.15 or Valkey 7.2.7; redis-cli and redis-benchmark are found on the path)";

/// Ports a file may use, from its first.
const PORTS_PER_FILE: u16 = 200;
/// Between two looks at a running file.
const POLL_PAUSE: Duration = Duration::from_millis(50);

/// Whom the suite talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The suite starts our binary itself, as often and with whatever settings it likes.
    Full,
    /// One server of ours runs already, for each file.
    External,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Full => "full",
            Mode::External => "external",
        }
    }
}

/// What is run, and how.
struct Plan {
    suite: PathBuf,
    server: PathBuf,
    mode: Mode,
    first_port: u16,
    patience: Duration,
    /// Where what each file said is kept, if anywhere.
    keep: Option<PathBuf>,
    options: Vec<String>,
    is_verbose: bool,
    reasons: Reasons,
}

/// `suite`
///
/// # Errors
/// A command line that is wrong, or a suite that is none.
pub fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let suite = args.text("--suite")?.ok_or_else(|| UsageError(USAGE.into()))?;
    let named = args.text("--server")?.map(PathBuf::from);
    let own = || ServerCommand::perdura().map(|command| PathBuf::from(&command.words[0]));
    let server = named.or_else(own).ok_or_else(|| UsageError("--server is needed: none was built".into()))?;
    let modes = args.choices("--mode", &[Mode::Full, Mode::External], Mode::name)?;
    let suite = fs::canonicalize(suite)?;
    let plan = Plan {
        reasons: Reasons::committed(&name_of(&suite)),
        suite,
        server: fs::canonicalize(server)?,
        // Named by nobody, it is the mode in which most of the suite can run.
        mode: modes[0],
        first_port: args.number("--first-port", 21_000)?,
        patience: Duration::from_secs(60 * args.number("--minutes-per-file", 10)?),
        keep: args.text("--keep")?.map(PathBuf::from),
        options: args.texts("--option")?,
        is_verbose: args.flag("--verbose"),
    };
    let chosen = args.texts("--file")?;
    let jobs = args.number("--jobs", 1)?;
    args.finish()?;
    let files = if chosen.is_empty() { tree::files(&plan.suite)? } else { chosen };
    let outcomes = run_all(&plan, &files, jobs);
    Ok(report(&plan, &outcomes))
}

/// Runs `files`, `jobs` at a time; each line of the report is printed as soon as it is known.
fn run_all(plan: &Plan, files: &[String], jobs: usize) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    println!("| file | passed | failed | not applicable | seconds |\n|---|---|---|---|---|");
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = files.get(index) else { break };
                    let outcome = run_or_explain(plan, file, index);
                    println!("{}", outcome.row());
                    if plan.is_verbose {
                        outcome.failed.iter().for_each(|failure| println!("    {failure}"));
                    }
                    outcomes.lock().expect("nobody panics holding it").push(outcome);
                }
            });
        }
    });
    outcomes.into_inner().expect("nobody panics holding it")
}

fn run_or_explain(plan: &Plan, file: &str, index: usize) -> Outcome {
    if let Some(reason) = plan.reasons.of_file(file) {
        return Outcome::not_applicable(file, reason);
    }
    run(plan, file, index).unwrap_or_else(|error| Outcome::broken(file, format!("could not be run: {error}")))
}

fn run(plan: &Plan, file: &str, index: usize) -> io::Result<Outcome> {
    let began = Instant::now();
    let tree = Tree::make(&plan.suite, &plan.server)?;
    let external = match plan.mode {
        Mode::Full => None,
        Mode::External => Some(start_external(plan)?),
    };
    let mut command = command_line(plan, file, index, &tree);
    if let Some(server) = &external {
        let Address::Tcp(address) = server.address() else { unreachable!("servers listen on TCP") };
        command.args(["--host", &address.ip().to_string(), "--port", &address.port().to_string()]);
    }
    let output = tree.path().join("output.txt");
    let log = fs::File::create(&output)?;
    command.stdout(log.try_clone()?).stderr(log).stdin(Stdio::null());
    let mut suite = command.spawn()?;
    let finished = wait(&mut suite, plan.patience)?;
    end_group(suite.id());
    tree.end_servers();
    let text = String::from_utf8_lossy(&fs::read(&output)?).into_owned();
    if let Some(keep) = &plan.keep {
        fs::create_dir_all(keep)?;
        fs::write(keep.join(format!("{}.txt", file.replace('/', "_"))), &text)?;
    }
    let mut outcome = read_output(file, &text, &plan.reasons);
    if !finished {
        outcome.failed.push(format!("stopped after {} minutes", plan.patience.as_secs() / 60));
    }
    outcome.seconds = began.elapsed().as_secs();
    Ok(outcome)
}

fn command_line(plan: &Plan, file: &str, index: usize, tree: &Tree) -> Command {
    let base_port = usize::from(plan.first_port) + index * usize::from(PORTS_PER_FILE);
    let mut command = Command::new("tclsh");
    command.current_dir(tree.path()).process_group(0);
    command.args(["tests/test_helper.tcl", "--single", file, "--clients", "1", "--durable", "--dont-clean"]);
    command.args(["--baseport", &base_port.to_string(), "--portcount", &PORTS_PER_FILE.to_string()]);
    // Tests that read the append-only file expect commands and nothing else.
    command.args(["--config", "aof-checksum", "no"]);
    command.args(["--timeout", &plan.patience.as_secs().to_string()]);
    for pattern in plan.reasons.patterns(file) {
        command.args(["--skiptest", &pattern]);
    }
    let external: &[&str] = if plan.mode == Mode::External { &["needs:repl"] } else { &[] };
    let tags = plan.reasons.tags(file).into_iter().chain(external.iter().copied());
    let denied: Vec<String> = tags.map(|tag| format!("-{tag}")).collect();
    if !denied.is_empty() {
        command.args(["--tags", &denied.join(" ")]);
    }
    command.args(&plan.options);
    command
}

/// A server as the suite wants one that it did not start itself.
fn start_external(plan: &Plan) -> io::Result<Server> {
    let launch = Launch::new(ServerCommand::of_program("perdura", &plan.server))
        .setting("aof-checksum", "no")
        .setting("enable-debug-command", "yes")
        .setting("enable-protected-configs", "yes");
    Server::start(launch).map_err(|error| io::Error::other(error.to_string()))
}

/// Whether it ended by itself within `patience`.
fn wait(suite: &mut Child, patience: Duration) -> io::Result<bool> {
    let began = Instant::now();
    while began.elapsed() < patience {
        if suite.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(POLL_PAUSE);
    }
    Ok(false)
}

/// The suite, its clients and whatever else they started; some of it may be gone already.
fn end_group(leader: u32) {
    let _ = os::signal_group(leader, Signal::Kill);
}

/// The end of the report: totals, failures, and why the rest does not apply.
fn report(plan: &Plan, outcomes: &[Outcome]) -> ExitCode {
    let total = |count: fn(&Outcome) -> usize| outcomes.iter().map(count).sum::<usize>();
    let failed = total(|outcome| outcome.failed.len());
    println!(
        "\n{}, {} mode: {} files, {} passed, {failed} failed, {} not applicable",
        name_of(&plan.suite),
        plan.mode.name(),
        outcomes.len(),
        total(|outcome| outcome.passed),
        total(|outcome| outcome.not_applicable.len())
    );
    for outcome in outcomes.iter().filter(|outcome| !outcome.failed.is_empty()) {
        println!("\n{} failed:", outcome.file);
        outcome.failed.iter().for_each(|failure| println!("  {failure}"));
    }
    let left_out = outcomes.iter().filter(|outcome| !outcome.not_applicable.is_empty());
    for outcome in left_out {
        println!("\n{} not applicable:", outcome.file);
        outcome.not_applicable.iter().for_each(|(test, reason)| println!("  {test}: {reason}"));
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
