//! Times on the command line: milliseconds, RFC 3339, or a span ago.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aevrion_core::Timestamp;

use crate::rfc3339::{TimeError, from_jiff, read_standard};

/// A time given on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    /// The timestamp, relative to `now`.
    pub(crate) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(timestamp) => timestamp,
            Self::Ago(span) => now.before(span),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(|first: char| first.is_ascii_digit())
            && let Ok(timestamp) = text.parse()
        {
            return Ok(Self::At(timestamp));
        }
        match read_standard(text, None, None) {
            Ok(moment) => from_jiff(moment).map(Self::At),
            Err(TimeError::OtherForm) => match text.trim_end_matches("ago").trim().parse::<Span>() {
                Ok(Span(span)) => Ok(Self::Ago(span)),
                Err(_) => {
                    Err("give milliseconds since 1970, RFC 3339 such as 2013-07-04T12:00:00Z, or a span ago \
                               such as 15m"
                        .into())
                }
            },
            Err(TimeError::NoTimeOfDay) => Err(format!("the time of day is missing: say {text}T00:00:00Z")),
            Err(TimeError::NoOffset) => Err("the offset is missing: Z for UTC, or one such as +02:00".into()),
            Err(TimeError::CameTwiceOrNever(zone)) => Err(format!(
                "that came twice or not at all in {zone}, where clocks were changed: give an offset"
            )),
            Err(TimeError::Invalid(why)) => Err(why),
        }
    }
}

/// In the form that is parsed.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(timestamp) => timestamp.fmt(f),
            Self::Ago(span) => Span(*span).fmt(f),
        }
    }
}

/// A duration given on the command line, such as `90s`, `1h 30m` or `7days`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || "give a span such as 90s, 15m, 1h 30m or 7days".to_owned();
        let span: jiff::Span = text.parse().map_err(|_| help())?;
        let span = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| help())?;
        Duration::try_from(span).map(Self).map_err(|_| help())
    }
}

/// In the form that is parsed, in whole milliseconds, the finest unit here.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0.as_millis())
    }
}

/// A moment as RFC 3339; beyond the year 9999 as milliseconds.
pub(crate) fn show(timestamp: Timestamp) -> String {
    let ms = i64::try_from(timestamp.as_millis()).ok();
    match ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
        Some(moment) => format!("{moment:.3}"),
        None => format!("{timestamp} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_every_spelling() {
        let at = |ms| Ok(Moment::At(Timestamp::from_millis(ms)));
        assert_eq!("1372939200000".parse(), at(1_372_939_200_000));
        assert_eq!("2013-07-04T12:00:00Z".parse(), at(1_372_939_200_000));
        assert_eq!("2013-07-04T14:00:00+02:00".parse(), at(1_372_939_200_000));
        assert_eq!("15m".parse(), Ok(Moment::Ago(Duration::from_secs(900))));
        assert_eq!("2 hours ago".parse(), Ok(Moment::Ago(Duration::from_secs(7_200))));
        assert!("yesterday".parse::<Moment>().is_err());
        assert!("1969-07-20T20:17:00Z".parse::<Moment>().is_err());
        assert!("1969-12-31T23:59:59.9999Z".parse::<Moment>().is_err());
        for none in ["-5", "+5", "18446744073709551616", "1e3", "", "ago", "-1h", "9999-12-31T23:59:60.5Z x"]
        {
            assert!(none.parse::<Moment>().is_err(), "{none}");
        }
    }

    #[test]
    fn what_a_file_may_say_a_flag_may_say_too() {
        let ms = |text: &str| match text.parse() {
            Ok(Moment::At(timestamp)) => Ok(timestamp.as_millis()),
            Ok(Moment::Ago(_)) => Err("a span".to_owned()),
            Err(why) => Err(why),
        };
        assert_eq!(ms("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(ms("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(ms("9999-12-30T22:00:00.999Z"), Ok(253_402_207_200_999));
        assert_eq!(ms("2024-07-01T12:00:00[Europe/Berlin]"), ms("2024-07-01T10:00:00Z"));
        assert_eq!(ms("2024-07-01t12:00:00+02:00[Europe/Berlin]"), ms("2024-07-01T10:00:00Z"));
        for (text, part) in [
            ("2024-07-01", "2024-07-01T00:00:00Z"),
            ("2024-07-01T12:00:00", "offset is missing"),
            ("2024-07-01T12:00:00+01:00[Europe/Berlin]", "not that of its zone"),
            ("2024-10-27T02:30:00[Europe/Berlin]", "twice or not at all"),
            ("2024-07-01T12:00:00[Europe/Nowhere]", "Nowhere"),
            ("1969-12-31T23:59:59.9999Z", "before 1970"),
        ] {
            let why = ms(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    #[test]
    fn spans() {
        assert_eq!("1h 30m".parse(), Ok(Span(Duration::from_secs(5_400))));
        assert_eq!("7days".parse(), Ok(Span(Duration::from_secs(604_800))));
        assert!("-1h".parse::<Span>().is_err() && "soon".parse::<Span>().is_err());
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["1372939200000", "15m", "0s", "300days", "1ms"] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.to_string().parse(), Ok(moment), "{moment}");
        }
    }

    #[test]
    fn shown_as_rfc_3339() {
        assert_eq!(show(Timestamp::from_millis(1_372_939_200_042)), "2013-07-04T12:00:00.042Z");
        assert_eq!(show(Timestamp::MAX), format!("{} ms", u64::MAX));
    }
}
