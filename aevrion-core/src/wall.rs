//! The only source of wall-clock time in the core.
//!
//! All other code takes the time as an argument, so that a test or a simulation controls it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Timestamp;

/// A wall clock. It may stand still, jump and run backwards: the clock of a replica makes it dependable.
pub trait WallClock: Send + Sync + 'static {
    /// The time of day, in milliseconds since the Unix epoch.
    fn now(&self) -> Timestamp;

    /// The earliest plausible time. An earlier one is taken for an unset clock: a machine without a battery starts in
    /// 1970.
    fn earliest(&self) -> Timestamp {
        Timestamp::MIN
    }
}

/// 2020-01-01: older than this program.
pub const YEAR_2020: Timestamp = Timestamp::from_millis(1_577_836_800_000);

/// The operating system's clock. Before 1970 it reads as 1970.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemWall;

impl WallClock for SystemWall {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn now(&self) -> Timestamp {
        Timestamp::MIN.after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn earliest(&self) -> Timestamp {
        YEAR_2020
    }
}

/// A clock under manual control, for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualWall(AtomicU64);

impl ManualWall {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.as_millis()))
    }

    /// Sets the clock to `now`, forward or back.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }
}

impl WallClock for ManualWall {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl<W: WallClock + ?Sized> WallClock for std::sync::Arc<W> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn earliest(&self) -> Timestamp {
        (**self).earliest()
    }
}
