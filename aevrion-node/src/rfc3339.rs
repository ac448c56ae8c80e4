//! RFC 3339 and RFC 9557, read strictly. Flags and files share these rules, so both take the same texts.

use aevrion_core::Timestamp;
use clap::ValueEnum;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;

/// Which moment a local time stands for where clocks were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fold {
    Earlier,
    Later,
}

/// The reason for which a text is no moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TimeError {
    OtherForm,
    NoTimeOfDay,
    NoOffset,
    /// Clocks were changed then, in the zone of this name.
    CameTwiceOrNever(String),
    Invalid(String),
}

/// Reads RFC 3339, and its extension by the name of a zone in brackets, RFC 9557. `zone` is the zone of times with
/// neither an offset nor a zone; `fold` decides where clocks were changed.
pub(crate) fn read_standard(
    text: &str,
    zone: Option<&TimeZone>,
    fold: Option<Fold>,
) -> Result<jiff::Timestamp, TimeError> {
    let wrong = |error: jiff::Error| TimeError::Invalid(error.to_string());
    let pieces = Pieces::parse(text).map_err(|_| TimeError::OtherForm)?;
    if text.contains(":60") && pieces.time().is_some_and(|time| time.second() == 59) {
        return Err(TimeError::Invalid(LEAP_SECOND.to_owned()));
    }
    let local = DateTime::from_parts(pieces.date(), pieces.time().ok_or(TimeError::NoTimeOfDay)?);
    let named = pieces.to_time_zone().map_err(wrong)?;
    if let Some(offset) = pieces.to_numeric_offset() {
        let moment = offset.to_timestamp(local).map_err(|_| beyond())?;
        let fits = |zone: &TimeZone| offset == jiff::tz::Offset::UTC || zone.to_offset(moment) == offset;
        if !named.as_ref().is_none_or(fits) {
            return Err(TimeError::Invalid("its offset is not that of its zone".to_owned()));
        }
        return Ok(moment);
    }
    resolve(local, named.as_ref().or(zone).ok_or(TimeError::NoOffset)?, fold)
}

/// The moment of a local time.
pub(crate) fn resolve(
    local: DateTime,
    zone: &TimeZone,
    fold: Option<Fold>,
) -> Result<jiff::Timestamp, TimeError> {
    let moment = zone.to_ambiguous_timestamp(local);
    let moment = match fold {
        _ if !moment.is_ambiguous() => moment.compatible(),
        Some(Fold::Earlier) => moment.earlier(),
        Some(Fold::Later) => moment.later(),
        None => {
            return Err(TimeError::CameTwiceOrNever(zone.iana_name().unwrap_or("its zone").to_owned()));
        }
    };
    moment.map_err(|_| beyond())
}

fn beyond() -> TimeError {
    TimeError::Invalid(format!("texts end at {}: give later times in milliseconds", jiff::Timestamp::MAX))
}

/// The second 60 of a minute.
pub(crate) const LEAP_SECOND: &str =
    "it is a leap second, which no number stands for: say second 59, or the next minute";

/// Converts a moment of `jiff`.
pub(crate) fn from_jiff(timestamp: jiff::Timestamp) -> Result<Timestamp, String> {
    // A fraction of a millisecond before 1970 would be cut to 1970 itself.
    let ms =
        u64::try_from(timestamp.as_millisecond()).ok().filter(|_| timestamp >= jiff::Timestamp::UNIX_EPOCH);
    ms.map(Timestamp::from_millis).ok_or_else(|| format!("{timestamp} is before 1970"))
}
