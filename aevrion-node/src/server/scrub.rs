//! The pace of the scrub: it checks the whole store once in the configured time, in steps of a few milliseconds with
//! pauses between them, so that it does not disturb other work.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aevrion_core::{Replica, ScrubReport, ScrubStep, WriteError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::limits::SCRUB_ROWS;

/// How often the scrub's position is saved: a killed process repeats at most this much.
const SAVE_EACH: Duration = Duration::from_secs(60);

/// Pause after a failed step.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A running scrub.
pub(super) struct Scrubbing {
    every: Duration,
    told: watch::Receiver<Option<ScrubReport>>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Scrubbing {
    /// Begins to check the whole store once in `every`.
    pub(super) fn begin(replica: &Replica, every: Duration) -> Self {
        let (tell, told) = watch::channel(None);
        let (stop, mut stopping) = watch::channel(false);
        let replica = replica.clone();
        let task = tokio::spawn(async move {
            while let Err(error) = run(&replica, every, &tell, &mut stopping).await {
                if matches!(error, WriteError::Closed) {
                    return;
                }
                tracing::warn!(%error, "the scrub could not go on; trying again");
                tokio::select! {
                    () = sleep(RETRY_AFTER) => {}
                    () = stopped(&mut stopping) => return,
                }
            }
        });
        Self { every, told, stop, task: Mutex::new(Some(task)) }
    }

    /// Duration of a full pass, and the progress; nothing before the first step.
    pub(super) fn report(&self) -> Option<(Duration, ScrubReport)> {
        self.told.borrow().map(|report| (self.every, report))
    }

    /// Stops the scrub, and saves its position.
    pub(super) async fn end(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // After a panic there is nothing to wait for.
            let _ = task.await;
        }
    }
}

/// Scrubs until told to stop.
async fn run(
    replica: &Replica,
    every: Duration,
    tell: &watch::Sender<Option<ScrubReport>>,
    stopping: &mut watch::Receiver<bool>,
) -> Result<(), WriteError> {
    let mut scrub = replica.scrub().await?;
    let mut saved = Instant::now();
    let mut pause = until_next_pass(&scrub.report(), every);
    loop {
        tell.send_replace(Some(scrub.report()));
        tokio::select! {
            () = sleep(pause) => {}
            () = stopped(stopping) => return scrub.save().await,
        }
        let began = Instant::now();
        let step = scrub.step(SCRUB_ROWS).await?;
        let report = scrub.report();
        pause = match step.ended {
            true => until_next_pass(&report, every),
            false => after_step(step, &report, every, began.elapsed()),
        };
        if saved.elapsed() >= SAVE_EACH {
            scrub.save().await?;
            saved = Instant::now();
        }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A dropped sender is a stop, too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Passes start one duration apart, even if there is little to do or the node was down meanwhile.
fn until_next_pass(report: &ScrubReport, every: Duration) -> Duration {
    match (report.pass, report.last) {
        (None, Some(last)) => {
            let now = report.total.ended;
            // A clock that was set back does not make the wait longer.
            last.began.after(every).ahead_of(now).min(every)
        }
        _ => Duration::ZERO,
    }
}

/// The pause after a step: the step's share of all rows, taken of the whole duration. It is never shorter than the step
/// took, or a too short duration would use up a core.
fn after_step(step: ScrubStep, report: &ScrubReport, every: Duration, took: Duration) -> Duration {
    let share = step.rows as f64 / report.expected_rows.max(1) as f64;
    every.mul_f64(share.min(1.0)).max(took)
}

#[cfg(test)]
mod tests {
    use aevrion_core::{ScrubPass, Timestamp};

    use super::*;

    const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    fn report(pass: Option<ScrubPass>, last: Option<ScrubPass>, now: Timestamp) -> ScrubReport {
        let mut report = ScrubReport::default();
        (report.pass, report.expected_rows, report.last) = (pass, 4_000_000, last);
        report.total.ended = now;
        report
    }

    #[test]
    fn a_pass_takes_as_long_as_was_asked_for() {
        let step = ScrubStep { rows: 256, ended: false };
        let pause = |took| after_step(step, &report(None, None, Timestamp::MIN), WEEK, took);
        let steps = 4_000_000.0 / 256.0;
        assert!(
            (pause(Duration::from_millis(2)).mul_f64(steps).as_secs_f64() / WEEK.as_secs_f64() - 1.0).abs()
                < 0.01
        );
        let slow = Duration::from_secs(120);
        assert_eq!(pause(slow), slow, "at most half of a core");
    }

    #[test]
    fn the_next_pass_begins_when_it_is_time() {
        let began = Timestamp::from_millis(1_700_000_000_000);
        let mut last = ScrubPass::default();
        (last.began, last.ended) = (began, began);
        let last = Some(last);
        let hour = Duration::from_secs(3_600);
        let rest = |pass, now| until_next_pass(&report(pass, last, now), WEEK);
        assert_eq!(rest(None, began.after(hour)), WEEK - hour);
        assert_eq!(rest(None, began.after(WEEK * 2)), Duration::ZERO);
        assert_eq!(rest(None, began.before(WEEK * 2)), WEEK, "the clock was put back");
        assert_eq!(rest(last, began.after(hour)), Duration::ZERO, "one is under way");
        assert_eq!(until_next_pass(&report(None, None, began), WEEK), Duration::ZERO);
    }
}
