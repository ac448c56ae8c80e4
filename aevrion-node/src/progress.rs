//! Progress bars: for work over a second, on a terminal, on standard error.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::thousands;
use crate::report::Step;

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
    Rows,
}

impl Bar {
    pub(crate) fn new(what: &'static str, counts: Counts) -> Self {
        let template = match counts {
            Counts::Bytes => "{prefix:>9} [{bar:30}] {bytes} of {total_bytes}, {msg}, {eta} left",
            Counts::Rows => "{prefix:>9} [{bar:30}] {human_pos} of {human_len}, {msg}, {eta} left",
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
        self.bar.suspend(|| anstream::eprintln!("{line}"));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
