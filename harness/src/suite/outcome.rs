//! What one file of a suite came to, read from what the suite printed.
//!
//! Always true: a file whose output does not end as a whole run ends has failed.
//!
//! Not here: which tests were left out on purpose (`reasons.rs`).

use super::reasons::Reasons;

/// What the suite prints when it has run all it was asked to.
const END_MARK: &str = "The End";
/// The reason of tests that the suite itself leaves out in a mode.
const OWN_TAG: &str = "left out by the suite's own tag";

/// One file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// As the suite names it.
    pub file: String,
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed, by name and message; and what else went wrong.
    pub failed: Vec<String>,
    /// Tests, or `all`, with the reason.
    pub not_applicable: Vec<(String, String)>,
    /// How long it took.
    pub seconds: u64,
}

impl Outcome {
    /// A file that is not run.
    pub fn not_applicable(file: &str, reason: &str) -> Outcome {
        let all = vec![("all".to_owned(), reason.to_owned())];
        Outcome { file: file.to_owned(), not_applicable: all, ..Outcome::default() }
    }

    /// A file that could not be run.
    pub fn broken(file: &str, why: String) -> Outcome {
        Outcome { file: file.to_owned(), failed: vec![why], ..Outcome::default() }
    }

    /// Its row of the table.
    pub fn row(&self) -> String {
        let left_out = match self.not_applicable.as_slice() {
            [(all, reason)] if all == "all" => format!("all: {reason}"),
            some => some.len().to_string(),
        };
        format!("| {} | {} | {} | {left_out} | {} |", self.file, self.passed, self.failed.len(), self.seconds)
    }
}

/// Reads what a run of `file` printed.
pub fn read_output(file: &str, text: &str, reasons: &Reasons) -> Outcome {
    let mut outcome = Outcome { file: file.to_owned(), ..Outcome::default() };
    let text = without_colours(text);
    let mut is_whole = false;
    // The list of failures at the end repeats what stood before it.
    for line in text.lines().take_while(|line| !line.starts_with("*** [")) {
        is_whole |= line.trim() == END_MARK;
        let Some((tag, rest)) = line.strip_prefix('[').and_then(|line| line.split_once("]: ")) else {
            continue;
        };
        match tag {
            "ok" => outcome.passed += 1,
            "err" | "exception" | "TIMEOUT" => outcome.failed.push(with_message(rest, line, &text)),
            "skip" => {
                let reason = reasons.of_test(file, rest).unwrap_or("left out by an option of this run");
                outcome.not_applicable.push((rest.to_owned(), reason.to_owned()));
            }
            "ignore" => {
                // `name: Tag: tag denied`, or without a name for a whole block.
                let tag = rest.rsplit_once("Tag: ").and_then(|(_, tag)| tag.split(' ').next());
                let reason = tag.and_then(|tag| reasons.of_tag(file, tag)).unwrap_or(OWN_TAG);
                outcome.not_applicable.push((rest.to_owned(), reason.to_owned()));
            }
            _ => {}
        }
    }
    if !is_whole {
        outcome.failed.push("stopped before its end".to_owned());
    }
    outcome
}

/// The failure with the line after it, which says what was expected.
fn with_message(failure: &str, line: &str, text: &str) -> String {
    let after = text.split_once(line).map_or("", |(_, after)| after);
    match after.lines().nth(1).filter(|next| !next.starts_with('[')) {
        Some(message) => format!("{failure}: {}", message.trim()),
        None => failure.to_owned(),
    }
}

fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split("\x1b[");
    plain.push_str(parts.next().unwrap_or(""));
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASONS: &str = "[cluster]\nunit/a: two\n";

    fn check(text: &str, passed: usize, failed: &[&str], left_out: &[(&str, &str)]) {
        let outcome = read_output("unit/a", text, &Reasons::parse(REASONS).expect("well formed"));
        assert_eq!(outcome.passed, passed, "{text}");
        assert_eq!(outcome.failed, failed, "{text}");
        let left_out: Vec<_> = left_out.iter().map(|&(test, why)| (test.into(), why.into())).collect();
        assert_eq!(outcome.not_applicable, left_out, "{text}");
    }

    #[test]
    fn each_kind_of_line_is_counted() {
        check("[\x1b[0;32;49mok\x1b[0m]: one (0 ms)\n\n    The End\n", 1, &[], &[]);
        check("[skip]: two\nThe End\n", 0, &[], &[("two", "cluster")]);
        check("[ignore]: three: Tag: x\nThe End\n", 0, &[], &[("three: Tag: x", OWN_TAG)]);
        check("[err]: four in f\nExpected 1\n[ok]: five\nThe End\n", 1, &["four in f: Expected 1"], &[]);
    }

    #[test]
    fn the_summary_is_not_counted_again() {
        check("[err]: a in f\nwhy\nThe End\n*** [err]: a in f\nwhy\n[err]: a in f", 0, &["a in f: why"], &[]);
    }

    #[test]
    fn a_run_that_stops_in_the_middle_has_failed() {
        check("[ok]: one\n", 1, &["stopped before its end"], &[]);
        check("", 0, &["stopped before its end"], &[]);
    }
}
