//! Why tests of the public suites do not apply to us: `suite/not-applicable.txt`, read.
//!
//! Always true: nothing is left out without a line there, and a line without a reason is refused.

/// The list in the repository.
const COMMITTED: &str = include_str!("../../suite/not-applicable.txt");

/// Begins an entry that names no test but one of the suite's tags.
const TAG: &str = "tag ";

/// All entries, in the file's order.
#[derive(Debug)]
pub struct Reasons {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// A file of the suite; a `*` at its end stands for any.
    file: String,
    /// A test of it, by name; none stands for all. A `*` at its end stands for anything. `tag name` stands for whatever the
    /// suite has marked so.
    test: Option<String>,
    reason: String,
    /// The suite it is of, by the beginning of its name; none stands for all.
    suite: Option<String>,
}

impl Reasons {
    /// Those of the repository that concern a suite, as its directory is named: `redis-7.0.15`.
    ///
    /// # Panics
    /// When the file is malformed; a test reads it.
    pub fn committed(suite: &str) -> Reasons {
        Reasons::parse(COMMITTED).expect("a committed file that a test reads").of_suite(suite)
    }

    /// Those that concern a suite.
    fn of_suite(mut self, suite: &str) -> Reasons {
        self.entries.retain(|entry| entry.suite.as_ref().is_none_or(|own| suite.starts_with(own.as_str())));
        self
    }

    /// Reads sections `[reason]`, or `[suite only: reason]`, of lines `file` or `file: test`.
    ///
    /// # Errors
    /// The line that stands before any reason.
    pub fn parse(text: &str) -> Result<Reasons, String> {
        let mut entries = Vec::new();
        let mut section = None;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(heading) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = Some(match heading.split_once(" only: ") {
                    Some((suite, reason)) => (Some(suite.to_owned()), reason.to_owned()),
                    None => (None, heading.to_owned()),
                });
                continue;
            }
            let (suite, reason) = section.clone().ok_or_else(|| format!("no reason given for: {line}"))?;
            let (file, test) = match line.split_once(": ") {
                Some((file, test)) => (file, Some(test.to_owned())),
                None => (line, None),
            };
            entries.push(Entry { file: file.to_owned(), test, reason, suite });
        }
        Ok(Reasons { entries })
    }

    /// Why all of `file` does not apply, if so.
    pub fn of_file(&self, file: &str) -> Option<&str> {
        let mut whole = self.entries.iter().filter(|entry| entry.test.is_none());
        whole.find(|entry| matches(&entry.file, file)).map(|entry| entry.reason.as_str())
    }

    /// Why one test of `file` does not apply, if so.
    pub fn of_test(&self, file: &str, test: &str) -> Option<&str> {
        let mut own = self.entries.iter().filter(|entry| matches(&entry.file, file));
        own.find(|entry| entry.test.as_ref().is_some_and(|pattern| matches(pattern, test)))
            .map(|entry| entry.reason.as_str())
    }

    /// The tests of `file` to leave out, as the suite's `--skiptest` takes them: a name, or `/` and an expression.
    pub fn patterns(&self, file: &str) -> Vec<String> {
        let tests = self.tests_of(file).filter(|test| !test.starts_with(TAG));
        tests.map(skip_pattern).collect()
    }

    /// The suite's own tags of what to leave out in `file`.
    pub fn tags(&self, file: &str) -> Vec<&str> {
        self.tests_of(file).filter_map(|test| test.strip_prefix(TAG)).collect()
    }

    /// Why what bears a tag does not apply.
    pub fn of_tag(&self, file: &str, tag: &str) -> Option<&str> {
        self.of_test(file, &format!("{TAG}{tag}"))
    }

    fn tests_of<'a>(&'a self, file: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let own: Vec<&Entry> = self.entries.iter().filter(|entry| matches(&entry.file, file)).collect();
        own.into_iter().filter_map(|entry| entry.test.as_deref())
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => text.starts_with(prefix),
        None => pattern == text,
    }
}

fn skip_pattern(pattern: &str) -> String {
    let Some(prefix) = pattern.strip_suffix('*') else { return pattern.to_owned() };
    let escaped: String = prefix.chars().flat_map(escape).collect();
    format!("/^{escaped}")
}

/// A character as a regular expression that means itself.
fn escape(character: char) -> impl Iterator<Item = char> {
    let needs_escape = !character.is_alphanumeric() && character != ' ';
    needs_escape.then_some('\\').into_iter().chain([character])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_list_is_well_formed() {
        let reasons = Reasons::committed("valkey-7.2.7");
        assert!(reasons.of_file("unit/cluster/misc").is_some());
        assert_eq!(reasons.of_file("unit/type/string"), None);
    }

    #[test]
    fn files_and_tests_are_found_with_their_reasons() {
        let text = "# why\n[cluster]\nunit/cluster/*\nunit/a: one: two\n[other]\nunit/a: begins *\n";
        let reasons = Reasons::parse(text).expect("well formed");
        assert_eq!(reasons.of_file("unit/cluster/links"), Some("cluster"));
        assert_eq!(reasons.of_file("unit/a"), None);
        assert_eq!(reasons.of_test("unit/a", "one: two"), Some("cluster"));
        assert_eq!(reasons.of_test("unit/a", "one"), None);
        assert_eq!(reasons.of_test("unit/a", "begins (so)"), Some("other"));
        assert_eq!(reasons.of_test("unit/b", "begins (so)"), None);
        assert_eq!(reasons.patterns("unit/a"), ["one: two", "/^begins "]);
        assert_eq!(skip_pattern("a (b)*"), "/^a \\(b\\)");
    }

    #[test]
    fn a_section_may_be_of_one_suite() {
        let of = |suite: &str| {
            let text = "[redis-7 only: older]\nunit/a: one\n[cluster]\nunit/b\n";
            Reasons::parse(text).expect("well formed").of_suite(suite)
        };
        assert_eq!(of("redis-7.0.15").of_test("unit/a", "one"), Some("older"));
        assert_eq!(of("valkey-7.2.7").of_test("unit/a", "one"), None);
        assert_eq!(of("valkey-7.2.7").of_file("unit/b"), Some("cluster"));
    }

    #[test]
    fn tags_stand_apart_from_tests() {
        let reasons =
            Reasons::parse("[replicas]\nunit/a: tag needs:repl\nunit/a: one\n").expect("well formed");
        assert_eq!(reasons.tags("unit/a"), ["needs:repl"]);
        assert_eq!(reasons.patterns("unit/a"), ["one"]);
        assert_eq!(reasons.of_tag("unit/a", "needs:repl"), Some("replicas"));
    }

    #[test]
    fn an_entry_without_a_reason_is_refused() {
        assert!(Reasons::parse("unit/a\n[why]\n").is_err());
    }
}
