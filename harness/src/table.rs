//! The table a benchmark prints: medians, spread, and the ratio to the best of the others.
//!
//! Exists so that every row reads the same way: a ratio above 1 is in favour of the first server, whatever
//! is measured.
//!
//! Always true: a cell without a figure says so; it never takes part in a ratio.
//!
//! Not here: how figures come about (`bench.rs`).

use std::fmt::Write;

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Throughput.
    Higher,
    /// Time and memory.
    Lower,
}

/// One measurement of all servers.
#[derive(Clone, Debug)]
pub struct Row {
    /// What.
    pub measurement: String,
    /// Under which conditions.
    pub parameters: String,
    /// Of the figures.
    pub unit: &'static str,
    /// Which way is good.
    pub better: Better,
    /// Per server, one figure per round; empty if it has none.
    pub samples: Vec<Vec<f64>>,
    /// The ratio that is wanted, where one is.
    pub goal: Option<f64>,
    /// What limits the row's worth, or nothing.
    pub remark: String,
}

/// All rows.
#[derive(Clone, Debug)]
pub struct Table {
    servers: Vec<String>,
    rows: Vec<Row>,
}

impl Table {
    /// A table without rows.
    pub fn new(servers: Vec<String>) -> Table {
        assert!(!servers.is_empty(), "somebody is measured");
        Table { servers, rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it does not have one list of samples per server.
    pub fn add(&mut self, row: Row) {
        assert!(row.samples.len() == self.servers.len(), "one cell per server");
        self.rows.push(row);
    }

    /// What was added, in order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Markdown, ready to be pasted.
    pub fn to_markdown(&self) -> String {
        let mut text = format!(
            "Cells: median (lowest – highest). Ratio: {} against the best of the others; above 1 it is better.\n\n",
            self.servers[0]
        );
        let heads = self.servers.join(" | ");
        let rules = "---:|".repeat(self.servers.len() + 2);
        writeln!(text, "| measurement | parameters | unit | {heads} | ratio | goal | remark |")
            .expect("to a string");
        writeln!(text, "|---|---|---|{rules}---|").expect("to a string");
        for row in &self.rows {
            let Row { measurement, parameters, unit, remark, goal, .. } = row;
            let cells: Vec<String> = row.samples.iter().map(|samples| cell(samples)).collect();
            let cells = cells.join(" | ");
            let ratio = ratio(row).map_or("–".into(), |ratio| format!("{ratio:.2}"));
            let goal = goal.map_or(String::new(), |goal| format!("≥ {goal}"));
            writeln!(
                text,
                "| {measurement} | {parameters} | {unit} | {cells} | {ratio} | {goal} | {remark} |"
            )
            .expect("to a string");
        }
        text
    }
}

/// How many times better the first server is than the best of the others.
fn ratio(row: &Row) -> Option<f64> {
    let ours = median(&row.samples[0])?;
    let peers = row.samples[1..].iter().filter_map(|samples| median(samples));
    let ratio = match row.better {
        Better::Higher => ours / peers.max_by(f64::total_cmp)?,
        Better::Lower => peers.min_by(f64::total_cmp)? / ours,
    };
    ratio.is_finite().then_some(ratio)
}

fn cell(samples: &[f64]) -> String {
    let Some(median) = median(samples) else { return "no figure".into() };
    if samples.len() == 1 {
        return number(median);
    }
    let lowest = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} ({} – {})", number(median), number(lowest), number(highest))
}

/// The middle of the figures, or `None` if there are none.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(lower.midpoint(upper))
}

/// Three digits that count, thousands set apart.
fn number(value: f64) -> String {
    match value.abs() {
        size if size < 1.0 => format!("{value:.4}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => group_thousands(value.round() as i64),
    }
}

fn group_thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(better: Better, samples: &[&[f64]]) -> Row {
        Row {
            measurement: "m".into(),
            parameters: "p".into(),
            unit: "u",
            better,
            samples: samples.iter().map(|samples| samples.to_vec()).collect(),
            goal: Some(1.5),
            remark: String::new(),
        }
    }

    #[test]
    fn above_one_is_in_favour_of_the_first() {
        assert_eq!(ratio(&row(Better::Higher, &[&[30.0], &[10.0], &[20.0]])), Some(1.5));
        assert_eq!(ratio(&row(Better::Lower, &[&[10.0], &[15.0], &[20.0]])), Some(1.5));
    }

    #[test]
    fn without_a_figure_or_a_peer_there_is_no_ratio() {
        assert_eq!(ratio(&row(Better::Higher, &[&[30.0]])), None);
        assert_eq!(ratio(&row(Better::Higher, &[&[], &[10.0]])), None);
        assert_eq!(ratio(&row(Better::Higher, &[&[10.0], &[], &[5.0]])), Some(2.0));
        assert_eq!(ratio(&row(Better::Lower, &[&[0.0], &[5.0]])), None);
    }

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn numbers_keep_three_digits() {
        for (value, text) in [(0.01234, "0.0123"), (1.234, "1.23"), (12.34, "12.3"), (999.6, "1,000")] {
            assert_eq!(number(value), text);
        }
        assert_eq!(group_thousands(1_234_567), "1,234,567");
        assert_eq!(group_thousands(-123), "-123");
    }

    #[test]
    fn the_table_is_markdown() {
        let mut table = Table::new(vec!["a".into(), "b".into()]);
        table.add(row(Better::Higher, &[&[1.0, 3.0], &[]]));
        let markdown = table.to_markdown();
        let lines: Vec<&str> = markdown.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| measurement | parameters | unit | a | b | ratio | goal | remark |",
                "|---|---|---|---:|---:|---:|---:|---|",
                "| m | p | u | 2.00 (1.00 – 3.00) | no figure | – | ≥ 1.5 |  |",
            ]
        );
    }
}
