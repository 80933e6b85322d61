//! A run as a story: what the plan did, what the engine said, what the disk was asked, in order of time.
//!
//! Always true: the story is of the same run; telling it changes nothing.
//!
//! Not here: running (`run.rs`).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::ExitCode;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::command::{mutant_of, scope_of};
use super::plan::Plan;
use super::run::{Options, Outcome};
use super::sweep::run_caught;
use crate::args::Args;

thread_local! {
    static STORY: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note(line: String) {
    STORY.with_borrow_mut(|story| story.push(line));
}

/// Runs a plan and keeps its story.
pub fn tell(plan: &Plan, options: &Options) -> (Outcome, Vec<String>) {
    STORY.with_borrow_mut(Vec::clear);
    let options = Options { narrate: Some(note), ..options.clone() };
    let outcome = tracing::subscriber::with_default(EngineLog, || run_caught(plan, &options));
    (outcome, STORY.with_borrow_mut(std::mem::take))
}

/// `replay --seed N [--without 1,2,3] [--html file] [--mutant Name]`
///
/// # Errors
/// A command line that is wrong, a file that cannot be written.
pub fn main(mut args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let seed = args.number("--seed", 0u64)?;
    let scope = scope_of(&mut args)?;
    let left_out: BTreeSet<usize> = args.numbers("--without", &[])?.into_iter().collect();
    let probe_permille = args.number("--probe", Options::default().probe_permille)?;
    let html = args.text("--html")?;
    let mutant = mutant_of(&mut args)?;
    args.finish()?;
    mutant.switch_on();
    let plan = Plan::draw(seed, scope).without(&left_out);
    let (outcome, story) = tell(&plan, &Options { probe_permille, ..Options::default() });
    println!("seed {seed} {:?} {:?}", plan.profile, plan.settings);
    story.iter().for_each(|line| println!("{line}"));
    println!("last operations on the disk:");
    let skipped = outcome.recent.len().saturating_sub(OPERATIONS_SHOWN);
    outcome.recent.iter().skip(skipped).for_each(|line| println!("  {line}"));
    println!("files at the end:");
    outcome.files.iter().for_each(|line| println!("  {line}"));
    println!("digest {:016x}", outcome.digest);
    match &outcome.violation {
        None => println!("no violation"),
        Some(violation) => println!("SIM FAIL seed={seed} {violation}"),
    }
    if let Some(path) = html {
        std::fs::write(&path, super::page::page(&plan, &outcome, &story))?;
    }
    Ok(if outcome.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Operations that the text ends with; the page has all.
const OPERATIONS_SHOWN: usize = 48;

/// What the engine logs becomes part of the story.
struct EngineLog;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for EngineLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        note(format!("{:>12} engine  {}", "", text.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
