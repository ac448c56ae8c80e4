//! Progress bars: for work over a second, on a terminal, on standard error.

use std::time::{Duration, Instant};

use aevrion_core::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work shorter than this shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar that appears when work takes long. Away from a terminal it never does.
pub(crate) struct Bar {
    bar: ProgressBar,
    began: Instant,
    shown: bool,
    phase: &'static str,
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
            Counts::Bytes => "{prefix:>9} [{bar:30}] {bytes} of {total_bytes} {msg}, {eta} left",
            Counts::Rows => "{prefix:>9} [{bar:30}] {human_pos} of {human_len}, {per_sec}, {eta} left",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(what);
        Self { bar, began: Instant::now(), shown: false, phase: what }
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

    /// Shows the progress of the core's long work, phase by phase.
    pub(crate) fn follow(&mut self, progress: Progress) {
        if progress.phase != self.phase {
            self.phase = progress.phase;
            self.bar.set_prefix(progress.phase);
            self.bar.reset();
        }
        self.set(progress.done, progress.total);
    }

    /// Since the work began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Says something beside the bar.
    pub(crate) fn say(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
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
