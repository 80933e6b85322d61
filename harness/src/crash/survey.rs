//! What a part tried and what came of it: a table that grows row by row, findings, and what could not run.
//!
//! Exists so that every part is told in the same way, alone as it goes on and in `crash all` beside another server.
//!
//! Always true: a row has a cell for each column; whoever has findings, or lacks what it was told to have, has failed.
//!
//! Not here: what the cells say (`report.rs`).

use super::Missing;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

/// The columns of one part's table.
#[derive(Debug)]
pub(super) struct Columns {
    /// Of what was tried; two servers' rows that agree in these belong together.
    pub(super) places: &'static [&'static str],
    /// Of what came of it.
    pub(super) outcomes: &'static [&'static str],
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) place: Vec<String>,
    pub(super) outcome: Vec<String>,
}

/// The record of one part.
pub(super) struct Survey<'a> {
    /// Where everything is told as it happens.
    out: &'a mut dyn Write,
    must_run: bool,
    pub(super) outcome: Outcome,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) columns: Option<&'static Columns>,
    pub(super) rows: Vec<Row>,
    pub(super) findings: Vec<String>,
    /// What did not run, and why.
    pub(super) not_run: Vec<String>,
    /// What the machine kept from coming to its end, and why.
    pub(super) broken_off: Vec<String>,
}

impl Outcome {
    /// Adds what came of another share of the same part.
    pub(super) fn take_in(&mut self, share: Outcome) {
        self.columns = self.columns.or(share.columns);
        self.rows.extend(share.rows);
        self.findings.extend(share.findings);
        self.not_run.extend(share.not_run);
        self.broken_off.extend(share.broken_off);
    }

    /// Whether nothing was found, and nothing left out that had to run.
    pub(super) fn is_good(&self, must_run: bool) -> bool {
        self.findings.is_empty() && self.broken_off.is_empty() && (self.not_run.is_empty() || !must_run)
    }
}

impl<'a> Survey<'a> {
    /// Nothing tried yet. With `must_run`, whatever is missing is a failure.
    pub(super) fn new(out: &'a mut dyn Write, must_run: bool) -> Survey<'a> {
        Survey { out, must_run, outcome: Outcome::default() }
    }

    /// Begins the table.
    pub(super) fn begin(&mut self, title: &str, columns: &'static Columns) -> io::Result<()> {
        self.outcome.columns = Some(columns);
        let names: Vec<&str> = columns.places.iter().chain(columns.outcomes).copied().collect();
        writeln!(self.out, "{title}\n\n{}", head(&names))
    }

    /// Adds a row.
    pub(super) fn row(&mut self, place: &[&str], outcome: Vec<String>) -> io::Result<()> {
        let columns = self.outcome.columns.expect("the table has begun");
        assert!(place.len() == columns.places.len() && outcome.len() == columns.outcomes.len());
        let row = Row { place: place.iter().map(|cell| cell.to_string()).collect(), outcome };
        let cells: Vec<&str> = row.place.iter().chain(&row.outcome).map(String::as_str).collect();
        writeln!(self.out, "{}", line(&cells))?;
        self.outcome.rows.push(row);
        Ok(())
    }

    /// Something that the server did wrong.
    pub(super) fn finding(&mut self, what: String) -> io::Result<()> {
        writeln!(self.out, "- {what}")?;
        self.outcome.findings.push(what);
        Ok(())
    }

    /// Something worth telling that nobody did wrong.
    pub(super) fn note(&mut self, what: &str) -> io::Result<()> {
        writeln!(self.out, "{what}")
    }

    /// `what` cannot be run, because of `missing`.
    pub(super) fn skip(&mut self, what: &str, missing: &Missing) -> io::Result<()> {
        let text = format!("NOT RUN: {what}: {missing}");
        writeln!(self.out, "{text}")?;
        // A server that does not know a command is no less complete a machine.
        if !matches!(missing, Missing::Command(_)) {
            self.outcome.not_run.push(text);
        }
        Ok(())
    }

    /// `what` has not come to its end; what it tried before stands.
    pub(super) fn break_off(&mut self, what: &str, error: &dyn Error) {
        let text = format!("BROKEN OFF: {what}: {error}");
        // Told once more at the end, should nobody listen now.
        let _ = writeln!(self.out, "{text}");
        self.outcome.broken_off.push(text);
    }

    /// Whether all went well.
    pub(super) fn conclude(&self) -> ExitCode {
        if self.outcome.is_good(self.must_run) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The first two lines of a table.
pub(super) fn head(names: &[&str]) -> String {
    format!("{}\n|{}", line(names), "---|".repeat(names.len()))
}

/// One line of a table.
pub(super) fn line(cells: &[&str]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// The rows of one server.
pub(super) fn table(columns: &Columns, rows: &[Row]) -> String {
    let names: Vec<&str> = columns.places.iter().chain(columns.outcomes).copied().collect();
    let mut lines = vec![head(&names)];
    lines.extend(rows.iter().map(|row| {
        let cells: Vec<&str> = row.place.iter().chain(&row.outcome).map(String::as_str).collect();
        line(&cells)
    }));
    lines.join("\n")
}

/// The rows of one server with those of another beside them; dashes where that one has tried nothing.
pub(super) fn beside(columns: &Columns, rows: &[Row], other_name: &str, others: &[Row]) -> String {
    let other_names: Vec<String> =
        columns.outcomes.iter().map(|name| format!("{other_name}: {name}")).collect();
    let mut names: Vec<&str> = columns.places.iter().chain(columns.outcomes).copied().collect();
    names.extend(other_names.iter().map(String::as_str));
    let mut lines = vec![head(&names)];
    for row in rows {
        let other = others.iter().find(|other| other.place == row.place);
        let dashes = vec!["–".to_string(); columns.outcomes.len()];
        let other = other.map_or(&dashes, |other| &other.outcome);
        let cells: Vec<&str> =
            row.place.iter().chain(&row.outcome).chain(other).map(String::as_str).collect();
        lines.push(line(&cells));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    static COLUMNS: Columns = Columns { places: &["where"], outcomes: &["tried", "wrong"] };

    fn row(place: &str, outcome: [u32; 2]) -> Row {
        Row { place: vec![place.into()], outcome: outcome.iter().map(u32::to_string).collect() }
    }

    #[test]
    fn rows_are_told_as_they_come_and_two_servers_stand_side_by_side() {
        let mut out = Vec::new();
        let mut survey = Survey::new(&mut out, true);
        survey.begin("title", &COLUMNS).unwrap();
        survey.row(&["a"], vec!["5".into(), "0".into()]).unwrap();
        assert_eq!(survey.outcome.rows, [row("a", [5, 0])]);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "title\n\n| where | tried | wrong |\n|---|---|---|\n| a | 5 | 0 |\n"
        );
        let table = beside(&COLUMNS, &[row("a", [5, 0]), row("b", [7, 0])], "old", &[row("b", [7, 3])]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "| where | tried | wrong | old: tried | old: wrong |");
        assert_eq!(lines[2..], ["| a | 5 | 0 | – | – |", "| b | 7 | 0 | 7 | 3 |"]);
    }

    #[test]
    fn what_is_missing_fails_only_whoever_must_run() {
        let concluded = |must_run, missing: &Missing| {
            let mut out = Vec::new();
            let mut survey = Survey::new(&mut out, must_run);
            survey.skip("a part", missing).unwrap();
            let code = survey.conclude();
            assert!(String::from_utf8_lossy(&out).starts_with("NOT RUN: a part: "));
            code == ExitCode::SUCCESS
        };
        let (program, facility) = (Missing::Program("mkfs".into()), Missing::Facility("no root".into()));
        assert!(concluded(false, &program) && concluded(false, &facility));
        assert!(!concluded(true, &program) && !concluded(true, &facility));
        assert!(concluded(true, &Missing::Command("BACKUP".into())));
    }

    #[test]
    fn a_finding_is_a_failure() {
        let mut out = Vec::new();
        let mut survey = Survey::new(&mut out, false);
        assert_eq!(survey.conclude(), ExitCode::SUCCESS);
        survey.finding("lost".into()).unwrap();
        assert_eq!(survey.conclude(), ExitCode::FAILURE);
    }
}
