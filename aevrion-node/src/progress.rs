//! Progress bars: for work over a second, on a terminal, on standard error.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, HumanFloatCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::human::thousands;
use crate::report::ProgressReport;
use crate::stderr::say;

/// Shorter work shows no bar.
const BAR_DELAY: Duration = Duration::from_secs(1);

/// A bar that appears when work takes long, and only on a terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
    began: Instant,
    shown: bool,
    phase: String,
    phase_began: Instant,
}

/// The unit of a bar.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counts {
    Bytes,
    Commits,
    Rows,
    /// The remaining work, where the total is unknown.
    ToGo,
}

/// Whether a bar would be visible. If not, callers save the requests for it.
pub(crate) fn is_seen() -> bool {
    io::stderr().is_terminal()
}

impl Bar {
    pub(crate) fn new(what: &'static str, counts: Counts) -> Self {
        let template = match counts {
            Counts::Bytes => "{prefix:>9} [{bar:30}] {bytes} of {total_bytes}, {msg}, {eta} left",
            Counts::Commits => "{prefix:>9} [{bar:30}] {human_pos} of {human_len} commits, {msg}, {eta} left",
            Counts::Rows => "{prefix:>9} [{bar:30}] {human_pos} of {human_len}, {msg}, {eta} left",
            Counts::ToGo => "{prefix:>9} [{wide_bar}] {msg}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(what);
        let now = Instant::now();
        Self { bar, began: now, shown: false, phase: what.to_owned(), phase_began: now }
    }

    /// Shows that `done` of `total` is done.
    pub(crate) fn set(&mut self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        if !self.shown && self.began.elapsed() > BAR_DELAY {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.shown = true;
        }
    }

    /// Shows the progress of long work, phase by phase.
    pub(crate) fn follow(&mut self, step: ProgressReport) {
        if step.phase != self.phase {
            self.bar.set_prefix(step.phase.clone());
            self.phase = step.phase;
            self.phase_began = Instant::now();
            self.bar.reset();
        }
        self.bar.set_message(format!("{}/s", self.rate(step.done)));
        self.set(step.done, step.total);
    }

    /// Shows `done` and the estimated remaining events, after the given text.
    pub(crate) fn set_left(&mut self, done: u64, left: u64, what: &str) {
        // A bar of total 0 would look complete.
        self.set(done, done.saturating_add(left).max(1));
        // The recent rate, not the average: the work may have waited for long.
        self.bar.set_message(format!("{what}, {}", left_at(left, self.bar.per_sec())));
    }

    /// Time since the work began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Shows the number of events and their rate beside the bar.
    pub(crate) fn say_events(&self, events: u64) {
        self.bar.set_message(format!("{} events, {}/s", thousands(events), self.rate(events)));
    }

    /// The rate since the phase began, for people to read.
    pub(crate) fn rate(&self, count: u64) -> String {
        let ms = u64::try_from(self.phase_began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        thousands(count.saturating_mul(1_000) / ms)
    }

    /// Prints a line above the bar.
    pub(crate) fn print(&self, line: &str) {
        self.bar.suspend(|| say!("{line}"));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The remaining events, and their duration at this rate, if it is known.
fn left_at(left: u64, rate: f64) -> String {
    let text = format!("{} events to go", thousands(left));
    match Duration::try_from_secs_f64(left as f64 / rate) {
        Ok(eta) if left > 0 && rate >= 1.0 => {
            format!("{text}, {}", at_rate(rate, eta))
        }
        _ => text,
    }
}

/// A rate of events, and the remaining time.
pub(crate) fn at_rate(rate: f64, left: Duration) -> String {
    format!("{:.0}/s, {:#} left", HumanFloatCount(rate), HumanDuration(left.max(Duration::from_secs(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_has_a_rate_and_an_end_once_something_moves() {
        assert_eq!(left_at(12_000, 0.0), "12,000 events to go");
        assert_eq!(left_at(0, 4_000.0), "0 events to go");
        assert_eq!(left_at(12_000, 4_000.0), "12,000 events to go, 4,000/s, 3s left");
        assert_eq!(left_at(1_200_000, 10_000.4), "1,200,000 events to go, 10,000/s, 2m left");
    }
}
