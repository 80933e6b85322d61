//! The log: one line per event, in Redis's layout or as JSON, on the standard output or in a file.
//!
//! Exists because tools and people read Redis's log by its layout, `pid:role date level message`:
//!
//! ```text
//! 4321:M 22 Nov 2026 18:00:00.123 * Ready to accept connections
//! ```
//!
//! How: what is logged anywhere by `tracing` comes here. Its levels are Redis's: `trace!` is debug `.`,
//! `debug!` verbose `-`, `info!` notice `*`, `warn!` and `error!` warning `#`.
//!
//! Always true: a line is written by one system call, so that a snapshot child's lines do not mix with ours;
//! the file is opened for each line, so that it may be moved away at any time; no lock is held that a forked
//! child could find taken. Times are UTC.
//!
//! Not here: the wording of what is said at start (`banner.rs`), reports of a crash (`perdura-linux`).

use std::{
    fmt::{self, Write as _},
    fs::{File, OpenOptions},
    io::{self, Write},
    os::fd::AsFd,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use perdura_core::config::{Config, LogFormat, LogLevel};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::Interest,
};

/// Makes the log of this configuration the one that everything is written to.
///
/// # Errors
/// The standard output is closed although it is to be logged to.
///
/// # Panics
/// If there is a log already.
pub fn install(config: &Config) -> io::Result<LogControl> {
    let control = LogControl::new(config);
    let log = Log { control: control.clone(), target: Target::of(config)?, pid: std::process::id() };
    tracing::subscriber::set_global_default(log).expect("the log is installed once");
    Ok(control)
}

/// What can be changed while the server runs.
#[derive(Clone, Debug)]
pub struct LogControl(Arc<Switches>);

#[derive(Debug)]
struct Switches {
    /// Redis's number of the least important level written: 0 debug to 4 nothing.
    level: AtomicU8,
    is_json: AtomicU8,
    role: AtomicU8,
}

impl LogControl {
    fn new(config: &Config) -> LogControl {
        let switches = Switches {
            level: AtomicU8::new(config.loglevel as u8),
            is_json: AtomicU8::new(u8::from(config.log_format == LogFormat::Json)),
            role: AtomicU8::new(role(config)),
        };
        LogControl(Arc::new(switches))
    }

    /// Follows a changed configuration.
    pub fn follow(&self, config: &Config) {
        self.0.is_json.store(u8::from(config.log_format == LogFormat::Json), Ordering::Relaxed);
        self.0.role.store(role(config), Ordering::Relaxed);
        let level = config.loglevel as u8;
        if self.0.level.swap(level, Ordering::Relaxed) != level {
            tracing::callsite::rebuild_interest_cache();
        }
    }

    fn level(&self) -> u8 {
        self.0.level.load(Ordering::Relaxed)
    }
}

// `LogLevel as u8` is Redis's number.
const _: () = assert!(LogLevel::Debug as u8 == 0 && LogLevel::Nothing as u8 == 4);

fn role(config: &Config) -> u8 {
    if config.replicaof.is_some() { b'S' } else { b'M' }
}

struct Log {
    control: LogControl,
    target: Target,
    /// Of the server itself; another one is a child's.
    pid: u32,
}

enum Target {
    Stdout(File),
    File(PathBuf),
}

impl Target {
    fn of(config: &Config) -> io::Result<Target> {
        if config.logfile.is_empty() {
            // A descriptor of our own: `io::Stdout` has a lock that a forked child might find taken.
            return Ok(Target::Stdout(File::from(io::stdout().as_fd().try_clone_to_owned()?)));
        }
        Ok(Target::File(PathBuf::from(&config.logfile)))
    }

    /// A line that cannot be written is lost: there is nowhere else to say so.
    fn write(&self, line: &str) {
        let _ = match self {
            Target::Stdout(stdout) => (&*stdout).write_all(line.as_bytes()),
            Target::File(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .and_then(|mut file| file.write_all(line.as_bytes())),
        };
    }
}

impl Subscriber for Log {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // Neither always nor never: the level may change.
        Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.control.level() {
            0 => LevelFilter::TRACE,
            1 => LevelFilter::DEBUG,
            2 => LevelFilter::INFO,
            3 => LevelFilter::WARN,
            _ => LevelFilter::OFF,
        })
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && Severity::of(metadata.level()).number() >= self.control.level()
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let pid = std::process::id();
        let line = Line {
            pid,
            role: if pid == self.pid { self.control.0.role.load(Ordering::Relaxed) } else { b'C' } as char,
            since_1970: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            severity: Severity::of(event.metadata().level()),
            text,
        };
        let is_json = self.control.0.is_json.load(Ordering::Relaxed) == 1;
        self.target.write(&if is_json { line.as_json() } else { line.as_redis() });
    }

    // Spans are not used: an event says all there is to say.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// A level in Redis's terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Severity {
    Debug,
    Verbose,
    Notice,
    Warning,
}

impl Severity {
    fn of(level: &Level) -> Severity {
        match *level {
            Level::TRACE => Severity::Debug,
            Level::DEBUG => Severity::Verbose,
            Level::INFO => Severity::Notice,
            Level::WARN | Level::ERROR => Severity::Warning,
        }
    }

    fn number(self) -> u8 {
        self as u8
    }

    fn mark(self) -> char {
        ['.', '-', '*', '#'][self as usize]
    }

    fn name(self) -> &'static str {
        ["debug", "verbose", "notice", "warning"][self as usize]
    }
}

/// What an event says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Text {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

struct Line {
    pid: u32,
    role: char,
    since_1970: Duration,
    severity: Severity,
    text: Text,
}

impl Line {
    fn as_redis(&self) -> String {
        let Time { year, month, day, hour, minute, second, milli } = Time::of(self.since_1970);
        let month = MONTHS[month as usize - 1];
        let mut line = format!(
            "{}:{} {day:02} {month} {year} {hour:02}:{minute:02}:{second:02}.{milli:03} {} ",
            self.pid,
            self.role,
            self.severity.mark(),
        );
        push_without_line_ends(&mut line, &self.text.message);
        for (name, value) in &self.text.fields {
            line.push_str(&format!(" {name}="));
            push_without_line_ends(&mut line, value);
        }
        line.push('\n');
        line
    }

    fn as_json(&self) -> String {
        let Time { year, month, day, hour, minute, second, milli } = Time::of(self.since_1970);
        let mut line = format!(
            "{{\"time\":\"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z\",\
             \"pid\":{},\"role\":\"{}\",\"level\":\"{}\",\"message\":",
            self.pid,
            self.role,
            self.severity.name(),
        );
        push_json_string(&mut line, &self.text.message);
        for (name, value) in &self.text.fields {
            line.push(',');
            push_json_string(&mut line, name);
            line.push(':');
            push_json_string(&mut line, value);
        }
        line.push_str("}\n");
        line
    }
}

/// Nobody shall forge a line by what a key is called.
fn push_without_line_ends(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            _ => line.push(c),
        }
    }
}

fn push_json_string(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            ..' ' => write!(line, "\\u{:04x}", c as u32).expect("a string takes all"),
            _ => line.push(c),
        }
    }
    line.push('"');
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment as people write it, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Time {
    year: u64,
    /// 1 to 12.
    month: u64,
    /// 1 to 31.
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    milli: u64,
}

impl Time {
    fn of(since_1970: Duration) -> Time {
        let seconds = since_1970.as_secs();
        let (year, month, day) = date(seconds / 86_400);
        Time {
            year,
            month,
            day,
            hour: seconds / 3_600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            milli: since_1970.subsec_millis().into(),
        }
    }
}

/// Year, month and day from days since 1970.
///
/// Counts from 1 March of the year 0, so that the leap day is the last of its year; a cycle of the calendar is
/// 400 years, or 146 097 days, and the months from March on repeat every 153 days.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let (cycle, day_of_cycle) = (days / 146_097, days % 146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * cycle + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str, fields: &[(&'static str, &str)]) -> Line {
        let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Line {
            pid: 42,
            role: 'M',
            since_1970: Duration::from_millis(1_792_692_367_089),
            severity: Severity::Notice,
            text: Text { message: message.into(), fields },
        }
    }

    #[test]
    fn a_line_has_the_layout_of_redis() {
        assert_eq!(line("Hi", &[]).as_redis(), "42:M 22 Oct 2026 18:06:07.089 * Hi\n");
        let forged = line("a\nb\r", &[("key", "x\ny")]).as_redis();
        assert_eq!(forged, "42:M 22 Oct 2026 18:06:07.089 * a\\nb\\r key=x\\ny\n");
    }

    #[test]
    fn a_line_may_be_json() {
        let expected = "{\"time\":\"2026-10-22T18:06:07.089Z\",\"pid\":42,\"role\":\"M\",\"level\":\"notice\",\
            \"message\":\"a \\\"b\\\" \\u0001\\n\",\"key\":\"\u{e9}\\\\\"}\n";
        assert_eq!(line("a \"b\" \u{1}\n", &[("key", "\u{e9}\\")]).as_json(), expected);
    }

    #[test]
    fn dates_follow_the_calendar() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (30, (1970, 1, 31)),
            (31, (1970, 2, 1)),
            (364, (1970, 12, 31)),
            (365, (1971, 1, 1)),
            (789, (1972, 2, 29)),
            (790, (1972, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }

    #[test]
    fn each_level_has_its_mark() {
        for (level, mark) in [
            (Level::TRACE, '.'),
            (Level::DEBUG, '-'),
            (Level::INFO, '*'),
            (Level::WARN, '#'),
            (Level::ERROR, '#'),
        ] {
            assert_eq!(Severity::of(&level).mark(), mark);
        }
    }

    #[test]
    fn what_is_written_follows_the_configuration() {
        let path = std::env::temp_dir().join(format!("perdura-logging-{}", std::process::id()));
        let mut config = Config { logfile: path.display().to_string(), ..Config::default() };
        let control = LogControl::new(&config);
        let target = Target::of(&config).expect("a file needs nothing");
        let log = Log { control: control.clone(), target, pid: 0 };
        tracing::subscriber::with_default(log, || {
            tracing::info!("one");
            tracing::debug!("unseen");
            config.loglevel = LogLevel::Verbose;
            control.follow(&config);
            tracing::debug!(size = 3, "two");
            config.loglevel = LogLevel::Nothing;
            control.follow(&config);
            tracing::error!("unseen");
            config.loglevel = LogLevel::Warning;
            config.log_format = LogFormat::Json;
            control.follow(&config);
            tracing::warn!(name = "x", "three");
        });
        let text = std::fs::read_to_string(&path).expect("written");
        std::fs::remove_file(&path).expect("removable");
        let lines: Vec<&str> = text.lines().collect();
        // Another process id than the log's own is a child's.
        assert!(lines[0].contains(":C ") && lines[0].ends_with(" * one"), "{text}");
        assert!(lines[1].ends_with(" - two size=3"), "{text}");
        assert!(lines[2].ends_with("\"level\":\"warning\",\"message\":\"three\",\"name\":\"x\"}"), "{text}");
        assert_eq!(lines.len(), 3);
    }
}
