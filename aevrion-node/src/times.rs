//! Times in files: numbers since 1970, RFC 3339, or a given format. Nothing is guessed: a local time needs a zone, and
//! one that the clock showed twice, or never, needs a decision.

use aevrion_core::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::cli::{TimeArgs, TimeUnit};
use crate::rfc3339::{Fold, LEAP_SECOND, TimeError, from_jiff, read_standard, resolve};

/// How a file writes its times.
#[derive(Debug, Clone, Default)]
pub(crate) struct TimeStyle {
    unit: TimeUnit,
    format: Option<String>,
    zone: Option<TimeZone>,
    fold: Option<Fold>,
}

/// A time read from a file, and the assumptions made about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadTime {
    pub(crate) at: Timestamp,
    /// Whether it was a number.
    pub(crate) number: bool,
    /// Whether it was a local time without a zone, taken for UTC.
    pub(crate) as_utc: bool,
    /// Whether a fraction of a millisecond was cut off.
    pub(crate) cut: bool,
}

impl TimeStyle {
    pub(crate) fn new(arguments: &TimeArgs, unit: TimeUnit) -> Self {
        let TimeArgs { time_format, time_zone, fold } = arguments;
        Self {
            unit,
            format: time_format.clone(),
            zone: time_zone.as_ref().map(|zone| zone.0.clone()),
            fold: *fold,
        }
    }

    /// Numbers only, in this unit.
    pub(crate) fn of_numbers(unit: TimeUnit) -> Self {
        Self { unit, ..Self::default() }
    }

    /// Reads a time. The error names the fault and its remedy.
    pub(crate) fn read(&self, text: &str) -> Result<ReadTime, String> {
        match &self.format {
            Some(format) => self.read_formatted(text, format),
            None if text.is_empty() => Err("it is empty".to_owned()),
            None if is_number(text) => self.read_number(text),
            None => self.read_rfc_3339(text),
        }
    }

    /// Reads a number in the configured unit.
    pub(crate) fn read_number(&self, text: &str) -> Result<ReadTime, String> {
        read_number(text, self.unit).map_err(|problem| format!("{text} {problem}"))
    }

    fn read_formatted(&self, text: &str, format: &str) -> Result<ReadTime, String> {
        let otherwise = |error| format!("`{text}` is not written as --time-format says: {error}");
        let parsed = strtime::parse(format, text).map_err(otherwise)?;
        if let Some(moment) = parsed.timestamp() {
            return read_moment(moment, false);
        }
        let local = parsed.to_datetime().map_err(otherwise)?;
        if local.second() == 59 && text.contains("60") && !strtime_says_60(&parsed, format) {
            return Err(format!("`{text}`: {LEAP_SECOND}"));
        }
        if let Some(offset) = parsed.offset() {
            return read_moment(offset.to_timestamp(local).map_err(otherwise)?, false);
        }
        match parsed.iana_time_zone() {
            Some(name) => self.read_local(text, local, &TimeZone::get(name).map_err(otherwise)?, false),
            None => {
                let zone = self.zone.clone();
                let as_utc = zone.is_none();
                self.read_local(text, local, &zone.unwrap_or(TimeZone::UTC), as_utc)
            }
        }
    }

    /// Reads RFC 3339, and its extension by the name of a zone.
    pub(crate) fn read_rfc_3339(&self, text: &str) -> Result<ReadTime, String> {
        let moment = read_standard(text, self.zone.as_ref(), self.fold);
        let moment = moment.map_err(|why| describe(text, &why))?;
        read_moment(moment, false)
    }

    fn read_local(
        &self,
        text: &str,
        local: DateTime,
        zone: &TimeZone,
        as_utc: bool,
    ) -> Result<ReadTime, String> {
        let moment = resolve(local, zone, self.fold).map_err(|why| describe(text, &why))?;
        read_moment(moment, as_utc)
    }
}

/// Whether the time, written again, contains a 60: if not, a 60 in the text was its second.
fn strtime_says_60(time: &strtime::BrokenDownTime, format: &str) -> bool {
    time.to_string(format).is_ok_and(|text| text.contains("60"))
}

/// The remedy for an unreadable time in a file.
fn describe(text: &str, why: &TimeError) -> String {
    match why {
        TimeError::OtherForm => {
            format!("`{text}` is neither a number nor RFC 3339: say how it is written with --time-format")
        }
        TimeError::NoTimeOfDay => {
            format!("`{text}` has no time of day: if its beginning is meant, say --time-format '%Y-%m-%d'")
        }
        TimeError::NoOffset => {
            format!("`{text}` has no offset: say --time-zone, such as UTC or Europe/Berlin")
        }
        TimeError::CameTwiceOrNever(zone) => format!(
            "`{text}` came twice or not at all in {zone}, where clocks were changed: say --fold earlier or --fold later"
        ),
        TimeError::Invalid(why) => format!("`{text}`: {why}"),
    }
}

fn read_moment(moment: jiff::Timestamp, as_utc: bool) -> Result<ReadTime, String> {
    let cut = moment.subsec_nanosecond() % 1_000_000 != 0;
    Ok(ReadTime { at: from_jiff(moment)?, number: false, as_utc, cut })
}

fn is_number(text: &str) -> bool {
    // A minus inside is a date's.
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE".contains(&byte))
}

/// Reads a number as a time. The error text continues after the number.
fn read_number(text: &str, unit: TimeUnit) -> Result<ReadTime, &'static str> {
    let per_ms = |number: u64, each: u64| (Some(number / each), !number.is_multiple_of(each));
    let whole = text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let (ms, cut) = match (whole, unit) {
        (Some(seconds), TimeUnit::S) => (seconds.checked_mul(1_000), false),
        (Some(ms), TimeUnit::Ms) => (Some(ms), false),
        (Some(us), TimeUnit::Us) => per_ms(us, 1_000),
        (Some(ns), TimeUnit::Ns) => per_ms(ns, 1_000_000),
        (None, TimeUnit::S) if let Some(read) = decimal_seconds(text) => read,
        (None, _) => return Err(no_whole_number(text)),
    };
    let at = ms.map(Timestamp::from_millis).ok_or("is too large for seconds")?;
    Ok(ReadTime { at, number: true, as_utc: false, cut })
}

/// Milliseconds of decimal seconds such as `1714557600.25`, and whether there are finer digits.
fn decimal_seconds(text: &str) -> Option<(Option<u64>, bool)> {
    let (whole, fraction) = text.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let (ms, finer) = fraction.split_at(fraction.len().min(3));
    let ms: u64 = format!("{ms:0<3}").parse().ok()?;
    let seconds: Option<u64> = whole.parse().ok();
    let all = seconds.and_then(|seconds| seconds.checked_mul(1_000)?.checked_add(ms));
    Some((all, finer.bytes().any(|digit| digit != b'0')))
}

fn no_whole_number(text: &str) -> &'static str {
    match text {
        text if text.starts_with('-') => "is negative: times begin in 1970",
        text if text.contains(['.', 'e', 'E']) => {
            "is not a whole number: give milliseconds, without a fraction or an exponent"
        }
        text if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            "is beyond the end of time, 18446744073709551615"
        }
        _ => "is not a number: give whole milliseconds since 1970",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::Zone;

    fn style(format: Option<&str>, zone: Option<&str>, fold: Option<Fold>) -> TimeStyle {
        let time_zone = zone.map(|name| name.parse::<Zone>().unwrap());
        let arguments = TimeArgs { time_format: format.map(str::to_owned), time_zone, fold };
        TimeStyle::new(&arguments, TimeUnit::Ms)
    }

    fn ms(style: &TimeStyle, text: &str) -> Result<u64, String> {
        style.read(text).map(|read| read.at.as_millis())
    }

    #[test]
    fn numbers_in_every_unit() {
        let of = |text, unit| read_number(text, unit).map(|read| (read.at.as_millis(), read.cut));
        assert_eq!(of("1714557600", TimeUnit::S), Ok((1_714_557_600_000, false)));
        assert_eq!(of("1714557600.25", TimeUnit::S), Ok((1_714_557_600_250, false)));
        assert_eq!(of("1714557600.2509", TimeUnit::S), Ok((1_714_557_600_250, true)));
        assert_eq!(of("1714557600000999", TimeUnit::Us), Ok((1_714_557_600_000, true)));
        assert_eq!(of("1714557600000000000", TimeUnit::Ns), Ok((1_714_557_600_000, false)));
        assert_eq!(of("18446744073709551615", TimeUnit::Ms), Ok((u64::MAX, false)));
        for (text, unit) in [
            ("18446744073709551616", TimeUnit::Ms),
            ("18446744073709551615", TimeUnit::S),
            ("1.5", TimeUnit::Ms),
            ("1e3", TimeUnit::Ms),
            (".5", TimeUnit::S),
            ("5.", TimeUnit::S),
            ("+5", TimeUnit::Ms),
            ("-5", TimeUnit::Ms),
            ("", TimeUnit::Ms),
        ] {
            assert!(of(text, unit).is_err(), "{text}");
        }
    }

    #[test]
    fn a_named_zone_is_used_wherever_it_stands() {
        let noon_in_berlin = Ok(1_714_557_600_000);
        let named = style(Some("%Y-%m-%d %H:%M:%S %Q"), None, None);
        assert_eq!(ms(&named, "2024-05-01 12:00:00 Europe/Berlin"), noon_in_berlin);
        assert_eq!(ms(&style(None, None, None), "2024-05-01T12:00:00[Europe/Berlin]"), noon_in_berlin);
        assert_eq!(ms(&style(None, Some("Europe/Berlin"), None), "2024-05-01 12:00:00"), noon_in_berlin);
        let local = Some("%d.%m.%Y %H:%M");
        assert_eq!(ms(&style(local, Some("Europe/Berlin"), None), "01.05.2024 12:00"), noon_in_berlin);
        assert!(style(local, None, None).read("01.05.2024 10:00").unwrap().as_utc);
        assert!(ms(&style(None, None, None), "2024-05-01 12:00:00").unwrap_err().contains("--time-zone"));
        assert!(ms(&named, "2024-05-01 12:00:00 Europe/Bärlin").is_err());
        let conflict = ms(&style(None, None, None), "2024-05-01T12:00:00+05:00[Europe/Berlin]");
        assert!(conflict.unwrap_err().contains("not that of its zone"));
    }

    #[test]
    fn no_time_becomes_another_one() {
        let said = |style: &TimeStyle, text| ms(style, text).unwrap_err();
        let plain = style(None, Some("UTC"), None);
        for text in ["2016-12-31T23:59:60Z", "2016-12-31 23:59:60", "2016-12-31T23:59:60.5+00:00[UTC]"] {
            assert!(said(&plain, text).contains("leap second"), "{text}");
        }
        let formatted = style(Some("%Y-%m-%d %H:%M:%S"), Some("UTC"), None);
        assert!(said(&formatted, "2016-12-31 23:59:60").contains("leap second"));
        assert_eq!(ms(&formatted, "1970-01-01 00:00:59"), Ok(59_000));
        assert_eq!(ms(&plain, "9999-12-30T22:00:00Z"), Ok(253_402_207_200_000));
        for text in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59"] {
            assert!(said(&plain, text).contains("give later times in milliseconds"), "{text}");
        }
    }

    #[test]
    fn what_came_twice_or_never_needs_a_decision() {
        let at = |text, fold| ms(&style(None, Some("Europe/Berlin"), fold), text);
        for text in ["2024-10-27 02:30:00", "2024-03-31 02:30:00"] {
            assert!(at(text, None).unwrap_err().contains("--fold"), "{text}");
            let (earlier, later) = (at(text, Some(Fold::Earlier)), at(text, Some(Fold::Later)));
            assert_eq!(later.unwrap() - earlier.unwrap(), 3_600_000, "{text}");
        }
    }

    #[test]
    fn the_edges() {
        let rfc = style(None, None, None);
        assert_eq!(ms(&rfc, "1970-01-01T00:00:00Z"), Ok(0));
        assert!(ms(&rfc, "1969-12-31T23:59:59.9999Z").unwrap_err().contains("before 1970"));
        assert_eq!(ms(&rfc, "9999-12-30T22:00:00Z"), Ok(253_402_207_200_000));
        assert!(rfc.read("2024-05-01T10:00:00.1234Z").unwrap().cut);
        assert!(!rfc.read("2024-05-01T10:00:00.123Z").unwrap().cut);
        assert!(ms(&rfc, "2024-05-01").unwrap_err().contains("time of day"));
        assert!(ms(&rfc, "soon").unwrap_err().contains("--time-format"));
        assert_eq!(ms(&style(Some("%s"), None, None), "1714557600"), Ok(1_714_557_600_000));
    }
}
