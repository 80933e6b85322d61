//! A run as a page: the same story in columns, self-contained, to be opened in any browser.

use std::fmt::Write as _;

use super::plan::Plan;
use super::run::Outcome;

/// The columns: who speaks, and in which colour.
const COLUMNS: [(&str, &str); 6] = [
    ("client", "#047"),
    ("plan", "#345"),
    ("engine", "#263"),
    ("world", "#922"),
    ("probe", "#637"),
    ("disk", "#555"),
];

/// The page of one run.
pub fn page(plan: &Plan, outcome: &Outcome, story: &[String]) -> String {
    let mut page = String::from(HEAD);
    let verdict = outcome.violation.as_ref().map_or("no violation".to_string(), ToString::to_string);
    let _ = write!(
        page,
        "<h1>seed {}</h1><p><b>{}</b><br>{:?} · {}<br>digest {:016x}</p><table><tr><th>µs</th>",
        plan.seed,
        escape(&verdict),
        plan.profile,
        escape(&format!("{:?}", plan.settings)),
        outcome.digest
    );
    for (name, colour) in COLUMNS {
        let _ = write!(page, "<th style=\"color:{colour}\">{name}</th>");
    }
    page.push_str("</tr>");
    let disk = outcome.recent.iter().map(|line| format!("{:>12} disk    {line}", ""));
    story.iter().cloned().chain(disk).for_each(|line| row(&mut page, &line));
    page.push_str("</table></body></html>");
    page
}

fn row(page: &mut String, line: &str) {
    let (time, rest) = line.split_at(line.len().min(13));
    let (who, what) = rest.split_once(' ').unwrap_or((rest, ""));
    let _ = write!(page, "<tr><td class=t>{}</td>", escape(time.trim()));
    for (name, colour) in COLUMNS {
        let text = if name == who { escape(what.trim()) } else { String::new() };
        let _ = write!(page, "<td style=\"color:{colour}\">{text}</td>");
    }
    page.push_str("</tr>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const HEAD: &str = "<!doctype html><html><head><meta charset=utf-8><title>Perdura replay</title><style>\
body{font:13px/1.4 ui-monospace,monospace;margin:2em;background:#fafaf7;color:#222}\
table{border-collapse:collapse}td,th{border-top:1px solid #e4e4dc;padding:2px 10px;text-align:left;\
vertical-align:top;max-width:46em;overflow-wrap:anywhere}.t{color:#999;text-align:right}\
h1{font-size:18px}</style></head><body>";
