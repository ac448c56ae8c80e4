//! Milliseconds since the Unix epoch, as a type of their own so that no other number is mistaken for them.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

/// A moment on the time axis: milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The beginning of the axis, 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(0);
    /// The end of the axis, some 584 million years later.
    pub const MAX: Self = Self(u64::MAX);

    /// The moment `ms` milliseconds after the epoch.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The next millisecond, or the last one of the axis.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The previous millisecond, or the first one of the axis.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// `span` later (whole milliseconds), or the end of the axis.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// `span` earlier (whole milliseconds), or the beginning of the axis.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// RFC 3339 in UTC, to the second.
    pub fn to_utc(self) -> String {
        let seconds = self.0 / 1_000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Howard Hinnant's civil_from_days: years begin in March, in eras of 400.
        let days = days + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// How far `self` is ahead of `other`; zero if it is not.
    pub const fn ahead_of(self, other: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(other.0))
    }
}

/// A span of the time axis, both ends included; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan {
    first: Timestamp,
    last: Timestamp,
}

impl TimeSpan {
    /// The whole axis.
    pub const ALL: Self = Self { first: Timestamp::MIN, last: Timestamp::MAX };

    /// The span from `first` to `last`; `None` if `first` is later.
    pub fn new(first: Timestamp, last: Timestamp) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// Everything before `moment`; `None` at the beginning of the axis.
    pub fn before(moment: Timestamp) -> Option<Self> {
        (moment > Timestamp::MIN).then(|| Self { first: Timestamp::MIN, last: moment.previous() })
    }

    /// `moment` and everything after it.
    pub fn from(moment: Timestamp) -> Self {
        Self { first: moment, last: Timestamp::MAX }
    }

    /// The first moment.
    pub fn first(self) -> Timestamp {
        self.first
    }

    /// The last moment, included.
    pub fn last(self) -> Timestamp {
        self.last
    }

    /// Whether the span contains `moment`.
    pub fn contains(self, moment: Timestamp) -> bool {
        self.first <= moment && moment <= self.last
    }

    /// The common part of both spans, if any.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// The smallest span that holds both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_as_people_write_it() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp::from_millis(seconds * 1_000 + 999).to_utc(), text);
        }
        assert!(Timestamp::MAX.to_utc().ends_with('Z'));
    }
}
