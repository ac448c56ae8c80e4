//! Progress bars: for work over a second, on a terminal, on standard error.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, HumanFloatCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::Step;
use crate::say::say;
use crate::text::thousands;

/// Work shorter than this shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar that appears when work takes long. Away from a terminal it never does.
pub(crate) struct Bar {
    bar: ProgressBar,
    began: Instant,
    shown: bool,
    phase: String,
    phase_began: Instant,
}

/// What a bar counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counts {
    Bytes,
    Commits,
    Rows,
    /// What is left, where the whole is not known.
    ToGo,
}

/// Whether there is someone to see a bar. Where it costs requests, nobody should make them in vain.
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
        if !self.shown && self.began.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.shown = true;
        }
    }

    /// Shows how far long work has come, phase by phase.
    pub(crate) fn follow(&mut self, step: Step) {
        if step.phase != self.phase {
            self.bar.set_prefix(step.phase.clone());
            self.phase = step.phase;
            self.phase_began = Instant::now();
            self.bar.reset();
        }
        self.bar.set_message(format!("{}/s", self.rate(step.done)));
        self.set(step.done, step.total);
    }

    /// Shows that so many events are done and so many left, as far as is known by now, behind `what` else there is to
    /// say.
    pub(crate) fn set_left(&mut self, done: u64, left: u64, what: &str) {
        // A bar of nothing would look as if all were done.
        self.set(done, done.saturating_add(left).max(1));
        // Of late, and not since the work began: it may have waited for long.
        self.bar.set_message(format!("{what}, {}", left_at(left, self.bar.per_sec())));
    }

    /// Since the work began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Says beside the bar how many events that makes, and how fast they come.
    pub(crate) fn say_events(&self, events: u64) {
        self.bar.set_message(format!("{} events, {}/s", thousands(events), self.rate(events)));
    }

    /// So many a second since the phase began, for people to read.
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

/// How many events are left, and how long they take at so many a second, if that is known.
fn left_at(left: u64, rate: f64) -> String {
    let text = format!("{} events to go", thousands(left));
    match Duration::try_from_secs_f64(left as f64 / rate) {
        Ok(eta) if left > 0 && rate >= 1.0 => {
            format!("{text}, {}", at_rate(rate, eta))
        }
        _ => text,
    }
}

/// So many events a second, and how long the rest takes.
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
