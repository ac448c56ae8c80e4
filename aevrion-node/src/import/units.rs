//! Noticing a file whose times are seconds or microseconds where milliseconds are expected.
//!
//! Such numbers are valid times, only of 1970 or of the far future, and what is imported stays. So the warning comes
//! with the first lot, before most of the file is stored, and again at the end if it holds for the whole file.

use aevrion_core::{Event, Timestamp};

use crate::moment::show;

/// Milliseconds between the beginning of 1970 and of 1973: no file of real times lies within, one in seconds does
/// (from 1973 on, until the year 5138).
const SECONDS: std::ops::Range<u64> = 100_000_000..100_000_000_000;
/// The year 5138: one in microseconds lies beyond.
const MICROSECONDS: std::ops::RangeFrom<u64> = 100_000_000_000_000..;

/// The times seen so far.
#[derive(Debug, Default)]
pub(super) struct Units {
    range: Option<(Timestamp, Timestamp)>,
    warned: bool,
}

impl Units {
    /// Takes note of a lot; the first one may bring a warning.
    pub(super) fn see(&mut self, events: &[Event]) -> Option<String> {
        let first_lot = self.range.is_none();
        for event in events {
            let time = event.timestamp();
            let (least, greatest) = self.range.unwrap_or((time, time));
            self.range = Some((least.min(time), greatest.max(time)));
        }
        if !first_lot {
            return None;
        }
        let warning = self.warning("the first times of the file")?;
        self.warned = true;
        Some(warning)
    }

    /// What holds for the whole file.
    pub(super) fn verdict(&self) -> Option<String> {
        self.warning("all times of the file").filter(|_| self.warned)
    }

    fn warning(&self, which: &str) -> Option<String> {
        let (least, greatest) = self.range?;
        let within = |range: &dyn Fn(u64) -> bool| range(least.as_millis()) && range(greatest.as_millis());
        let (unit, flag) = if within(&|ms| SECONDS.contains(&ms)) {
            ("seconds", "s")
        } else if within(&|ms| MICROSECONDS.contains(&ms)) {
            ("microseconds", "us")
        } else {
            return None;
        };
        Some(format!(
            "warning: {which} look like {unit}, and are taken for milliseconds ({}). If that is wrong, stop, and import \
             into a new directory with --time-unit {flag}",
            show(least)
        ))
    }
}

#[cfg(test)]
mod tests {
    use aevrion_core::Value;

    use super::*;

    fn lot(times: &[u64]) -> Vec<Event> {
        let event = |ms: &u64| Event::new("k".into(), Value::Deletion, Timestamp::from_millis(*ms)).unwrap();
        times.iter().map(event).collect()
    }

    #[test]
    fn seconds_and_microseconds_are_noticed() {
        let warning = |times: &[u64]| Units::default().see(&lot(times));
        assert!(warning(&[1_357_035_420, 1_388_500_000]).unwrap().contains("--time-unit s"));
        assert!(warning(&[1_357_035_420_000_000]).unwrap().contains("--time-unit us"));
        assert_eq!(warning(&[1_357_035_420_000]), None);
        assert_eq!(warning(&[0, 1, 2]), None);
        assert_eq!(warning(&[1_357_035_420, 1_357_035_420_000]), None);
    }

    #[test]
    fn the_verdict_is_about_the_whole_file() {
        let mut units = Units::default();
        assert!(units.see(&lot(&[1_357_035_420])).is_some());
        assert_eq!(units.see(&lot(&[1_357_035_421])), None);
        assert!(units.verdict().unwrap().contains("all times"));
        units.see(&lot(&[1_357_035_420_000]));
        assert_eq!(units.verdict(), None);
    }
}
