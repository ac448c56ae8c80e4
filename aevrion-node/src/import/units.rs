//! Detects files whose times are in seconds, micro- or nanoseconds instead of milliseconds.
//!
//! Such numbers are valid times, only of 1970 or of the far future, and an import cannot be undone. So nothing is
//! stored before the user gives the unit.

use aevrion_core::Timestamp;

use crate::cli::TimeUnit;
use crate::moment::show;
use crate::record::ReadEvent;

/// Milliseconds between the beginning of 1970 and of 1973: no file of real times in milliseconds lies within, but one
/// in seconds does (from 1973 on, until the year 5138).
const SECONDS: std::ops::Range<u64> = 100_000_000..100_000_000_000;
/// From the year 5138 on: times in microseconds lie here.
const MICROSECONDS: std::ops::Range<u64> = 100_000_000_000_000..100_000_000_000_000_000;
/// Times in nanoseconds lie beyond those.
const NANOSECONDS: std::ops::RangeFrom<u64> = 100_000_000_000_000_000..;

/// The numeric times of the first records.
#[derive(Debug)]
pub(super) struct Units {
    asked: Option<TimeUnit>,
    range: Option<(Timestamp, Timestamp)>,
}

impl Units {
    /// Numbers are in the unit that the user `asked` for, by default milliseconds.
    pub(super) fn new(asked: Option<TimeUnit>) -> Self {
        Self { asked, range: None }
    }

    /// Notes the time of a record.
    pub(super) fn note(&mut self, made: &ReadEvent) {
        if made.time.number && self.asked.is_none() {
            let time = made.event.timestamp();
            let (least, greatest) = self.range.unwrap_or((time, time));
            self.range = Some((least.min(time), greatest.max(time)));
        }
    }

    /// The likely unit of the noted times, if it is not milliseconds; further times are not checked.
    pub(super) fn problem(&mut self) -> Option<String> {
        self.asked.get_or_insert_default();
        let (least, greatest) = self.range.take()?;
        let within = |range: &dyn Fn(u64) -> bool| range(least.as_millis()) && range(greatest.as_millis());
        let (unit, flag) = if within(&|ms| SECONDS.contains(&ms)) {
            ("seconds", "s")
        } else if within(&|ms| MICROSECONDS.contains(&ms)) {
            ("microseconds", "us")
        } else if within(&|ms| NANOSECONDS.contains(&ms)) {
            ("nanoseconds", "ns")
        } else {
            return None;
        };
        Some(format!(
            "the times look like {unit}: as milliseconds the first would be {}; say what they count, --time-unit {flag} or \
             --time-unit ms",
            show(least)
        ))
    }
}

#[cfg(test)]
mod tests {
    use aevrion_core::{Event, Value};

    use super::*;
    use crate::times::ReadTime;

    fn problem(asked: Option<TimeUnit>, number: bool, times: &[u64]) -> Option<String> {
        let mut units = Units::new(asked);
        for ms in times {
            let at = Timestamp::from_millis(*ms);
            let event = Event::new("k".into(), Value::Deletion, at).unwrap();
            units.note(&ReadEvent { event, time: ReadTime { at, number, as_utc: false, cut: false } });
        }
        units.problem()
    }

    #[test]
    fn what_does_not_look_like_milliseconds_is_asked_about() {
        let numbers = |times: &[u64]| problem(None, true, times);
        assert!(numbers(&[1_357_035_420, 1_388_500_000]).unwrap().contains("--time-unit s "));
        assert!(numbers(&[1_357_035_420_000_000]).unwrap().contains("--time-unit us "));
        assert!(numbers(&[1_357_035_420_000_000_000]).unwrap().contains("--time-unit ns "));
        assert_eq!(numbers(&[1_357_035_420_000]), None);
        assert_eq!(numbers(&[0, 1, 2]), None);
        assert_eq!(numbers(&[1_357_035_420, 1_357_035_420_000]), None);
    }

    #[test]
    fn what_was_said_or_is_no_number_is_believed() {
        assert_eq!(problem(Some(TimeUnit::Ms), true, &[1_357_035_420]), None);
        assert_eq!(problem(None, false, &[1_357_035_420]), None);
    }
}
