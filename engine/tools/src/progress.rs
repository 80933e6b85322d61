//! How far long work has come: a bar with rate and time left on a terminal, a plain line now and then elsewhere.
//!
//! Always true: it goes to the error output, so that what a tool found can be piped; work that is over at once shows
//! nothing.

use std::{
    fmt,
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Work shorter than this needs no telling.
const QUIET: Duration = Duration::from_secs(1);
/// Pause between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Work over a known number of bytes.
pub struct Progress {
    what: String,
    total: u64,
    done: u64,
    began: Instant,
    said: Instant,
    is_terminal: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `total` bytes are to be worked through.
    pub fn new(what: &str, total: u64) -> Progress {
        let now = Instant::now();
        let is_terminal = io::stderr().is_terminal();
        Progress { what: what.into(), total, done: 0, began: now, said: now, is_terminal, bar: None }
    }

    /// So many bytes more are done.
    pub fn add(&mut self, bytes: u64) {
        self.at(self.done + bytes);
    }

    /// So many bytes are done.
    pub fn at(&mut self, done: u64) {
        self.done = done;
        if self.is_terminal {
            self.draw();
        } else if self.said.elapsed() >= LINE_INTERVAL {
            self.said = Instant::now();
            eprintln!("{}", self.line());
        }
    }

    /// It is over: the bar goes, and says what it came to if it was long enough to be seen.
    pub fn finish(mut self) {
        self.done = self.total.max(self.done);
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if self.began.elapsed() >= QUIET {
            eprintln!("{}", self.line());
        }
    }

    fn draw(&mut self) {
        if self.bar.is_none() && self.began.elapsed() >= QUIET / 4 {
            let bar = ProgressBar::with_draw_target(Some(self.total), ProgressDrawTarget::stderr());
            let bar = bar.with_style(style()).with_message(self.what.clone()).with_position(self.done);
            self.bar = Some(bar.with_elapsed(self.began.elapsed()));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        }
    }

    fn line(&self) -> String {
        let (rate, left) = pace(self.done, self.total, self.began.elapsed());
        let percent = (self.done * 100).checked_div(self.total).unwrap_or(100);
        let (done, total) = (HumanBytes(self.done), HumanBytes(self.total));
        format!("{}: {percent}% ({done} of {total}), {rate}/s, {left} s left", self.what)
    }
}

/// Rate since the beginning, and the seconds that are left at it. The bar's own estimate goes by what came between two
/// looks, and the first of these comes long after the beginning.
fn pace(done: u64, total: u64, elapsed: Duration) -> (HumanBytes, u64) {
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-6);
    let left = total.saturating_sub(done) as f64 / rate.max(1.0);
    (HumanBytes(rate as u64), left.ceil() as u64)
}

fn style() -> ProgressStyle {
    let pace_of = |state: &ProgressState| pace(state.pos(), state.len().unwrap_or(0), state.elapsed());
    ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {rate} {left}")
        .expect("a template that is right")
        .progress_chars("=> ")
        .with_key("rate", move |state: &ProgressState, to: &mut dyn fmt::Write| {
            let _ = write!(to, "{}/s", pace_of(state).0);
        })
        .with_key("left", move |state: &ProgressState, to: &mut dyn fmt::Write| {
            let _ = write!(to, "{} s left", pace_of(state).1);
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_since_the_beginning() {
        let (rate, left) = pace(2 << 20, 16 << 20, Duration::from_millis(200));
        assert_eq!((rate.to_string().as_str(), left), ("10.00 MiB", 2));
        assert_eq!(pace(16 << 20, 16 << 20, Duration::from_secs(1)).1, 0);
        assert_eq!(pace(0, 0, Duration::ZERO).1, 0);
    }
}
