//! A run as a page: what clients, engine, disk and platter did, in columns, and for each loss of power a drawing of which
//! bytes were where. Self-contained, to be opened in any browser.
//!
//! Always true: everything on the page is of the run that it names; nothing is fetched, nothing is scripted.
//!
//! Not here: telling the story (`replay.rs`), recording the bytes (`sim/src/black_box.rs`).

use std::fmt::Write as _;
use std::ops::Range;

use perdura_sim::{Entry, FileAtLoss, Place, PowerLoss};

use super::plan::Plan;
use super::run::Outcome;

/// The columns of the timeline.
const LANES: [&str; 4] = ["client", "engine", "disk", "platter"];

/// Rows before the end that are shown: what led to a violation is at the end, and a page must open at once.
const ROWS_MAX: usize = 600;

/// The page of one run.
pub fn page(plan: &Plan, outcome: &Outcome, story: &[String]) -> String {
    let mut page = String::from(HEAD);
    let (class, verdict) = match &outcome.violation {
        Some(violation) => ("bad", violation.to_string()),
        None => ("good", "no violation".to_string()),
    };
    let _ = write!(
        page,
        "<header><h1>perdura replay <b>seed {}</b></h1><p class={class}>{}</p><p class=dim>file system {:?} · {} \
         commands · {} recoveries · digest {:016x}</p><p class=dim>{}</p></header>",
        plan.seed,
        escape(&verdict),
        plan.profile,
        outcome.commands,
        outcome.recoveries,
        outcome.digest,
        escape(
            &plan
                .settings
                .iter()
                .map(|(name, value)| format!("{name} {value}"))
                .collect::<Vec<_>>()
                .join(" · ")
        )
    );
    page.push_str(LEGEND);
    for loss in outcome.losses.iter().rev() {
        draw_loss(&mut page, loss);
    }
    draw_timeline(&mut page, outcome, story);
    page.push_str("</body></html>");
    page
}

// --- Losses of power ------------------------------------------------------------------------------------

fn draw_loss(page: &mut String, loss: &PowerLoss) {
    let _ = write!(
        page,
        "<section><h2>⚡ {} <small>power lost before operation #{}</small></h2>",
        time(loss.mono_us),
        loss.operation
    );
    let len_max = loss.files.iter().map(len_of).max().unwrap_or(0).max(1);
    for file in loss.files.iter().filter(|file| len_of(file) > 0) {
        draw_file(page, file, len_max);
    }
    let empty: Vec<String> =
        loss.files.iter().filter(|file| len_of(file) == 0).map(|file| escape(&file.path)).collect();
    if !empty.is_empty() {
        let _ = write!(page, "<p class=dim>empty: {}</p>", empty.join(", "));
    }
    page.push_str("</section>");
}

fn len_of(file: &FileAtLoss) -> u64 {
    file.before.len().max(file.after.as_ref().map_or(0, Vec::len)) as u64
}

/// Two bars: where each byte was, and what came back. Long files are drawn longer, but short ones stay legible.
fn draw_file(page: &mut String, file: &FileAtLoss, len_max: u64) {
    let len = len_of(file);
    let width = 22.0 + 78.0 * (len as f64 / len_max as f64).sqrt();
    let name = if file.is_name_certain { "name durable" } else { "name in doubt" };
    let durable: u64 = file
        .places
        .iter()
        .filter(|(_, place)| *place == Place::Platter)
        .map(|(range, _)| range.end - range.start)
        .sum();
    let fate = match &file.after {
        None => "<span class=bad>gone</span>".to_string(),
        Some(after) if *after == file.before => "<span class=good>as it was</span>".to_string(),
        Some(after) => format!("<span class=bad>{} bytes came back</span>", after.len()),
    };
    let _ = write!(
        page,
        "<div class=file><div class=name>{} <small>{} bytes, {durable} on the platter, {name} → {fate}</small></div>\
         <svg viewBox='0 0 1000 46' preserveAspectRatio='none' style='width:{width:.1}%'>",
        escape(&file.path),
        file.before.len()
    );
    let x = |at: u64| at as f64 * 1000.0 / len as f64;
    for (range, place) in &file.places {
        let (class, what) = match place {
            Place::Platter => ("platter", "on the platter"),
            Place::Cache => ("cache", "in the page cache only"),
            Place::Ghost => ("ghost", "marked clean by a failed sync: on no platter, ever"),
        };
        bar(page, class, x(range.start), x(range.end), 4, &format!("{range:?} {what}"));
    }
    for (range, fate) in fates(file) {
        let (class, what) = match fate {
            Fate::Kept => ("kept", "came back"),
            Fate::Zeroes => ("zeroes", "zeroes"),
            Fate::Other => ("other", "other bytes"),
            Fate::Lost => ("lost", "gone"),
        };
        bar(page, class, x(range.start), x(range.end), 26, &format!("{range:?} {what}"));
    }
    for (at, header) in headers(&file.before) {
        let _ = write!(
            page,
            "<line x1={0:.1} x2={0:.1} y1=0 y2=22 class=tick><title>{1}</title></line>",
            x(at),
            escape(&header)
        );
    }
    page.push_str("</svg></div>");
}

fn bar(page: &mut String, class: &str, from: f64, to: f64, y: u32, title: &str) {
    let width = (to - from).max(1.5);
    let _ = write!(
        page,
        "<rect class={class} x={from:.1} y={y} width={width:.1} height=17><title>{}</title></rect>",
        escape(title)
    );
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Zeroes,
    Other,
    Lost,
}

/// What became of each byte, in runs.
fn fates(file: &FileAtLoss) -> Vec<(Range<u64>, Fate)> {
    let after = file.after.as_deref().unwrap_or_default();
    let fate = |index: usize| match (file.before.get(index), after.get(index)) {
        (Some(before), Some(after)) if before == after => Fate::Kept,
        (_, Some(0)) => Fate::Zeroes,
        (_, Some(_)) => Fate::Other,
        (_, None) => Fate::Lost,
    };
    let mut runs: Vec<(Range<u64>, Fate)> = Vec::new();
    for index in 0..file.before.len().max(after.len()) {
        match runs.last_mut() {
            Some((range, last)) if *last == fate(index) => range.end += 1,
            _ => runs.push((index as u64..index as u64 + 1, fate(index))),
        }
    }
    runs
}

/// Where batches begin, and their headers.
fn headers(bytes: &[u8]) -> Vec<(u64, String)> {
    let at = bytes.windows(3).enumerate().filter(|(_, window)| *window == b"#C:").map(|(at, _)| at);
    at.map(|at| {
        let line: Vec<u8> = bytes[at..].iter().copied().take_while(|byte| *byte != b'\r').take(64).collect();
        (at as u64, String::from_utf8_lossy(&line).into_owned())
    })
    .collect()
}

// --- The timeline ---------------------------------------------------------------------------------------

struct Row {
    mono_us: u64,
    lane: usize,
    class: &'static str,
    text: String,
    /// What is certain on the platter from now on.
    certain: Option<String>,
}

fn draw_timeline(page: &mut String, outcome: &Outcome, story: &[String]) {
    let mut rows = rows_of_story(story);
    rows.extend(outcome.recent.iter().map(row_of_operation));
    // Stable: what was said at one moment stays in its order, the disk after it.
    rows.sort_by_key(|row| row.mono_us);
    let skipped = rows.len().saturating_sub(ROWS_MAX);
    let _ = write!(
        page,
        "<section><h2>timeline <small>the last {} of {} lines</small></h2><table><tr><th>",
        rows.len() - skipped,
        rows.len()
    );
    for lane in LANES {
        let _ = write!(page, "<th class={lane}>{lane}");
    }
    let mut shown_us = u64::MAX;
    for row in &rows[skipped..] {
        let stamp = if row.mono_us == shown_us { String::new() } else { time(row.mono_us) };
        shown_us = row.mono_us;
        let _ = write!(page, "<tr class={}><td class=t>{stamp}", row.class);
        for (lane, name) in LANES.iter().enumerate() {
            let text = match lane {
                3 => row.certain.as_deref().unwrap_or_default(),
                lane if lane == row.lane => &row.text,
                _ => "",
            };
            let _ = write!(page, "<td class={name}>{}", escape(text));
        }
    }
    page.push_str("</table></section>");
}

/// Lines are `<12 columns of time> <who> <what>`; one without a time was said when the line before it was.
fn rows_of_story(story: &[String]) -> Vec<Row> {
    let (mut mono_us, mut is_probe) = (0, false);
    let mut rows = Vec::new();
    for line in story {
        let (stamp, rest) = line.split_at(line.len().min(13));
        mono_us = stamp.trim().parse().unwrap_or(mono_us);
        let (who, what) = rest.split_once(' ').unwrap_or((rest, ""));
        let what = what.trim().to_string();
        let (lane, class) = match who {
            "client" => (0, if what.contains("is told") { "told" } else { "" }),
            "plan" => (0, "plan"),
            "world" => (2, "world"),
            "probe" => {
                is_probe = what.starts_with("what if");
                (1, "probe")
            }
            _ => (1, if is_probe { "probe" } else { "" }),
        };
        rows.push(Row { mono_us, lane, class, text: what, certain: None });
    }
    rows
}

fn row_of_operation(entry: &Entry) -> Row {
    let Entry { number, mono_us, process, operation, path, amount, errno } = entry;
    // A page is wide enough for names, not for paths.
    let name = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("the directory");
    let amount = if *amount > 0 { format!(" {amount} bytes") } else { String::new() };
    let result = if *errno != 0 { format!(" ✗ errno {errno}") } else { String::new() };
    let class = if *errno != 0 { "failed" } else { "" };
    let text = format!("#{number} p{process} {operation} {name}{amount}{result}");
    let is_file = name.contains('.');
    let certain = match *operation {
        "fdatasync" | "fsync" if *errno != 0 => None,
        "fdatasync" => Some(format!("{name}: all its bytes")),
        "fsync" if is_file => Some(format!("{name}: all its bytes")),
        "fsync" => Some(format!("{name}: its names")),
        _ => None,
    };
    Row { mono_us: *mono_us, lane: 2, class, text, certain }
}

fn time(mono_us: u64) -> String {
    format!("{}.{:06} s", mono_us / 1_000_000, mono_us % 1_000_000)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}

const LEGEND: &str = "<p class=legend>upper bar: where the bytes were · \
<i class=platter></i> platter <i class=cache></i> page cache only <i class=ghost></i> lost by a failed sync \
&nbsp; lower bar: what came back · <i class=kept></i> as it was <i class=zeroes></i> zeroes <i class=other></i> other bytes \
<i class=lost></i> gone &nbsp; ticks: batches of the log, point at one for its header</p>";

const HEAD: &str = "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport \
content='width=device-width'><title>perdura replay</title><style>\
:root{--ink:#1d2129;--dim:#7a808c;--line:#e6e4dd;--paper:#fcfbf8;--platter:#2f6f73;--cache:#e0a33a;--ghost:#c1443c;\
--kept:#4d9a62;--zeroes:#b9bdc6;--other:#8a5fb0}\
body{font:13px/1.45 ui-monospace,'DejaVu Sans Mono',monospace;margin:28px auto;max-width:1360px;padding:0 24px;\
background:var(--paper);color:var(--ink)}\
h1{font:400 20px/1.2 system-ui,sans-serif;margin:0 0 6px}h2{font:600 15px/1.2 system-ui,sans-serif;margin:0 0 10px}\
h2 small,.name small,.dim{color:var(--dim);font-weight:400}p{margin:3px 0}\
p.bad{color:var(--ghost);font-weight:600;max-width:110ch;overflow-wrap:anywhere}p.good{color:var(--kept);font-weight:600}\
.bad{color:var(--ghost)}.good{color:var(--kept)}\
section{background:#fff;border:1px solid var(--line);border-radius:10px;padding:16px 18px;margin:14px 0}\
.file{margin:9px 0}.name{margin-bottom:2px}svg{height:46px;display:block}\
rect.platter,i.platter{fill:var(--platter);background:var(--platter)}rect.cache,i.cache{fill:var(--cache);background:var(--cache)}\
rect.ghost,i.ghost{fill:var(--ghost);background:var(--ghost)}rect.kept,i.kept{fill:var(--kept);background:var(--kept)}\
rect.zeroes,i.zeroes{fill:var(--zeroes);background:var(--zeroes)}rect.other,i.other{fill:var(--other);background:var(--other)}\
rect.lost{fill:#fff;stroke:var(--ghost);stroke-dasharray:4 3;vector-effect:non-scaling-stroke}\
i.lost{background:#fff;outline:1px dashed var(--ghost)}line.tick{stroke:#fff;stroke-width:1.4;vector-effect:non-scaling-stroke}\
i{display:inline-block;width:14px;height:10px;border-radius:2px;margin:0 2px 0 8px}.legend{color:var(--dim);margin:12px 0}\
table{border-collapse:collapse;width:100%;table-layout:fixed}td,th{border-top:1px solid var(--line);padding:2px 8px;\
text-align:left;vertical-align:top;overflow-wrap:anywhere}th{border:0;color:var(--dim);font-weight:600}\
th:first-child,td.t{width:92px;color:var(--dim);white-space:nowrap}th.client{width:36%}th.platter{width:20%}\
td.engine{color:#2c5c3a}td.disk{color:#555b66}\
td.platter{color:var(--platter);font-weight:600}tr.told td{font-weight:600}tr.plan td{color:#8a7d55}\
tr.probe td{color:#b5b9c2}tr.world td,tr.failed td.disk{color:var(--ghost);font-weight:600}\
</style></head><body>";
