//! How far long work has come: a bar with rate and time left on a terminal, a plain line now and then elsewhere.
//!
//! Always true: it goes to the error output, so that what a tool found can be piped; work that is over at once shows
//! nothing.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

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
            let style = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} eta {eta}";
            bar.set_style(
                ProgressStyle::with_template(style).expect("a template that is right").progress_chars("=> "),
            );
            bar.set_message(self.what.clone());
            self.bar = Some(bar.with_elapsed(self.began.elapsed()));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        }
    }

    fn line(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64().max(1e-6);
        let rate = self.done as f64 / seconds;
        let left = self.total.saturating_sub(self.done) as f64 / rate.max(1.0);
        let percent = (self.done * 100).checked_div(self.total).unwrap_or(100);
        let (done, total) = (HumanBytes(self.done), HumanBytes(self.total));
        let rate = HumanBytes(rate as u64);
        format!("{}: {percent}% ({done} of {total}), {rate}/s, {left:.0} s left", self.what)
    }
}
