//! An event as JSON: the object that every interface of Aevrion shows and every import reads.

use aevrion_core::{Effect, Event, Timestamp, Value};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::encoding::{from_base64, to_base64};
use crate::human::abbreviated;
use crate::times::{ReadTime, TimeStyle};

/// An event to serialize. Bytes that are not UTF-8 are written as base64 under another name, and so is a long text that
/// JSON would more than double: an import bounds its lines.
#[derive(Debug, Serialize)]
pub(crate) struct Shown<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    /// The outer option: whether the field is shown. The inner one: whether there is a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<&'e str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    timestamp: u64,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    /// The effect for a watcher, unless the event was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<&'static str>,
    /// The cursor behind the event, for a watcher.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'e str>,
}

/// The name of the only effect that is written out.
const EXPIRED: &str = "expired";

impl<'e> Shown<'e> {
    pub(crate) fn new(event: &'e Event) -> Self {
        let key = std::str::from_utf8(event.key()).ok();
        let data = event.value().data();
        let value = data.map(|data| std::str::from_utf8(data).ok().filter(|text| !swells(text)));
        Self {
            key,
            key_base64: key.is_none().then(|| to_base64(event.key())),
            value: match value {
                None => Some(None),
                Some(Some(text)) => Some(Some(text)),
                Some(None) => None,
            },
            value_base64: data.filter(|_| matches!(value, Some(None))).map(|data| to_base64(data)),
            timestamp: event.timestamp().as_millis(),
            id: event.id().to_string(),
            expires_at: event.value().expires_at().map(Timestamp::as_millis),
            effect: None,
            cursor: None,
        }
    }

    /// The event as a watcher sees it.
    pub(crate) fn seen(self, effect: Effect, cursor: Option<&'e str>) -> Self {
        Self { effect: (effect == Effect::Expired).then_some(EXPIRED), cursor, ..self }
    }
}

/// Texts up to this length fit the shortest line that an import takes, with any contents.
const NEVER_TOO_LONG: usize = 8 << 10;

/// Whether JSON would more than double a long text: it writes most control characters in six bytes.
fn swells(text: &str) -> bool {
    text.len() > NEVER_TOO_LONG && {
        let escaped: usize = text.bytes().map(bytes_in_json).sum();
        escaped > 2 * text.len()
    }
}

fn bytes_in_json(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
        0x00..0x20 => 6,
        _ => 1,
    }
}

/// A line of an imported file, before its fields are checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    key: Option<String>,
    key_base64: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'l RawValue>,
    value_base64: Option<String>,
    #[serde(borrow)]
    timestamp: Option<&'l RawValue>,
    #[serde(borrow)]
    expires_at: Option<&'l RawValue>,
    id: Option<String>,
    effect: Option<String>,
    /// A watcher's cursor: ignored here.
    #[serde(rename = "cursor")]
    _cursor: Option<String>,
}

/// An event read from a record, and how its time was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadEvent {
    pub(crate) event: Event,
    pub(crate) time: ReadTime,
}

/// A present field, `null` included.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// A fault of a record, and its field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadField {
    pub(crate) field: &'static str,
    pub(crate) problem: String,
}

impl BadField {
    pub(crate) fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: abbreviated(problem.into()) }
    }
}

/// Reads one JSON object. The store's limits are not checked here. An expiry seen by a watcher reads as the event once
/// more.
pub(crate) fn parse(line: &[u8], style: &TimeStyle) -> Result<ReadEvent, BadField> {
    read(line, style).map(|(made, _)| made)
}

/// Reads an event and its effect, as written for a watcher.
pub(crate) fn parse_seen(line: &[u8]) -> Result<(Event, Effect), BadField> {
    read(line, &TimeStyle::default()).map(|(made, effect)| (made.event, effect))
}

fn read(line: &[u8], style: &TimeStyle) -> Result<(ReadEvent, Effect), BadField> {
    let line = std::str::from_utf8(line).map_err(|error| {
        let at = error.valid_up_to() + 1;
        BadField::new(
            "line",
            format!("it is not UTF-8 at byte {at}: give such bytes as key_base64 or value_base64"),
        )
    })?;
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| explain(&error))?;
    let key = match (line.key, line.key_base64) {
        (Some(key), None) => key.into_bytes(),
        (None, Some(text)) => from_base64(&text).map_err(|problem| BadField::new("key_base64", problem))?,
        (None, None) => return Err(BadField::new("key", "it is missing: give key, or key_base64")),
        (Some(_), Some(_)) => return Err(BadField::new("key", "it is there twice: give key or key_base64")),
    };
    let data = match (line.value, line.value_base64) {
        (Some(value), None) => data_of(value)?,
        (None, Some(text)) => {
            Some(from_base64(&text).map_err(|problem| BadField::new("value_base64", problem))?)
        }
        (None, None) => {
            return Err(BadField::new("value", "it is missing: give value (null deletes), or value_base64"));
        }
        (Some(_), Some(_)) => {
            return Err(BadField::new("value", "it is there twice: give value or value_base64"));
        }
    };
    let time = match line.timestamp {
        Some(raw) => parse_time("timestamp", raw.get(), style)?,
        None => {
            return Err(BadField::new(
                "timestamp",
                "it is missing: give the milliseconds since 1970 of the write",
            ));
        }
    };
    let expires_at = line.expires_at.map(|raw| parse_time("expires_at", raw.get(), style)).transpose()?;
    let expires_at = expires_at.map(|time| time.at);
    let value = match (data, expires_at) {
        (None, None) => Value::Deletion,
        (None, Some(_)) => {
            return Err(BadField::new("expires_at", "a deletion does not expire: leave it out"));
        }
        (Some(data), None) => Value::Data(data.into()),
        (Some(data), Some(expires_at)) => Value::Expiring { data: data.into(), expires_at },
    };
    let effect = match line.effect.as_deref() {
        None => Effect::Stored,
        Some(EXPIRED) => Effect::Expired,
        Some(other) => return Err(BadField::new("effect", format!("`{other}` is not known: leave it out"))),
    };
    let event =
        Event::new(key.into(), value, time.at).map_err(|error| BadField::new("value", error.to_string()))?;
    match line.id {
        Some(id) if id != event.id().to_string() => {
            let problem =
                format!("it does not belong to this event, whose id is {}: the line was changed", event.id());
            Err(BadField::new("id", problem))
        }
        _ => Ok((ReadEvent { event, time }, effect)),
    }
}

/// `null` deletes, a string is its UTF-8 bytes, any other value is its text exactly as written.
fn data_of(value: &RawValue) -> Result<Option<Vec<u8>>, BadField> {
    match value.get() {
        "null" => Ok(None),
        text if text.starts_with('"') => {
            let text: String = serde_json::from_str(text).map_err(|error| explain(&error))?;
            Ok(Some(text.into_bytes()))
        }
        text => Ok(Some(text.as_bytes().to_vec())),
    }
}

/// Reads a JSON time: a number, or RFC 3339 as a string.
fn parse_time(field: &'static str, raw: &str, style: &TimeStyle) -> Result<ReadTime, BadField> {
    let text: Option<String> = raw.starts_with('"').then(|| serde_json::from_str(raw).ok()).flatten();
    let read = match text {
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(format!("`{text}` is a text: give a number without quotes, or RFC 3339"))
        }
        Some(text) => style.read_rfc_3339(&text),
        None => style.read_number(raw),
    };
    read.map_err(|problem| BadField::new(field, problem))
}

fn explain(error: &serde_json::Error) -> BadField {
    let text = error.to_string();
    let (problem, _) = text.split_once(" at line ").unwrap_or((&text, ""));
    if error.is_data() {
        return BadField::new("line", format!("{problem} (column {})", error.column()));
    }
    BadField::new("line", format!("it is not valid JSON: {problem} (column {})", error.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Event, BadField> {
        parse(line.as_bytes(), &TimeStyle::default()).map(|made| made.event)
    }

    fn data_of_line(line: &str) -> Option<Vec<u8>> {
        parsed(line).unwrap().value().data().map(|data| data.to_vec())
    }

    #[test]
    fn values_of_every_kind() {
        let of = |value: &str| data_of_line(&format!(r#"{{"key":"k","value":{value},"timestamp":1}}"#));
        assert_eq!(of("null"), None);
        assert_eq!(of(r#""a\u00e9\"b""#), Some("aé\"b".into()));
        assert_eq!(of(r#"{"a": 1.50,"b":[]}"#), Some(r#"{"a": 1.50,"b":[]}"#.into()));
        assert_eq!(of("1e3"), Some("1e3".into()));
        assert_eq!(data_of_line(r#"{"key":"k","value_base64":"AP8=","timestamp":1}"#), Some(vec![0, 0xFF]));
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for (key, value) in [
            (b"key".to_vec(), Value::Deletion),
            (b"k\xFF".to_vec(), Value::Data(b"v\x00\xFF".to_vec().into())),
            (b"key".to_vec(), Value::Data(vec![0; NEVER_TOO_LONG + 1].into())),
            (b"key".to_vec(), Value::Expiring { data: "v".into(), expires_at: Timestamp::from_millis(9) }),
        ] {
            let event = Event::new(key.into(), value, Timestamp::from_millis(42)).unwrap();
            let line = serde_json::to_string(&Shown::new(&event)).unwrap();
            assert_eq!(parsed(&line), Ok(event), "{line}");
        }
    }

    #[test]
    fn no_text_more_than_doubles() {
        for text in ["\0", "\u{1F}\"", "\\\n", "é\t", "plain"] {
            let text = text.repeat(NEVER_TOO_LONG + 1);
            let event = Event::new("k".into(), Value::Data(text.clone().into()), Timestamp::MIN).unwrap();
            let line = serde_json::to_string(&Shown::new(&event)).unwrap();
            assert!(line.len() <= 2 * text.len() + 200, "{} for {}", line.len(), text.len());
            assert_eq!(parsed(&line), Ok(event));
        }
    }

    #[test]
    fn bad_fields_are_named() {
        let field = |line: &str| parsed(line).unwrap_err();
        for (line, name, part) in [
            (r#"{"value":1,"timestamp":1}"#, "key", "missing"),
            (r#"{"key":"k","timestamp":1}"#, "value", "missing"),
            (r#"{"key":"k","value":1}"#, "timestamp", "missing"),
            (r#"{"key":"k","value":1,"timestamp":-1}"#, "timestamp", "negative"),
            (r#"{"key":"k","value":1,"timestamp":1.5}"#, "timestamp", "whole number"),
            (r#"{"key":"k","value":1,"timestamp":1e3}"#, "timestamp", "whole number"),
            (r#"{"key":"k","value":1,"timestamp":"1"}"#, "timestamp", "text"),
            (r#"{"key":"k","value":1,"timestamp":99999999999999999999}"#, "timestamp", "end of time"),
            (r#"{"key":"k","value":null,"timestamp":1,"expires_at":2}"#, "expires_at", "does not expire"),
            (r#"{"key_base64":"?","value":1,"timestamp":1}"#, "key_base64", "not base64"),
            (r#"{"key":"k","value":1,"timestamp":1,"id":"00"}"#, "id", "was changed"),
            (r#"{"key":"k","value":1,"timestamp":1,"ttl":5}"#, "line", "unknown field `ttl`"),
            (r#"{"key":"k","value":1,"timestamp":1,"effect":"lost"}"#, "effect", "not known"),
            (r#"{"key":"k","value":1,"timestamp":1"#, "line", "not valid JSON"),
            ("", "line", "not valid JSON"),
        ] {
            let bad = field(line);
            assert_eq!(bad.field, name, "{line}: {bad:?}");
            assert!(bad.problem.contains(part), "{line}: {bad:?}");
        }
    }

    #[test]
    fn what_is_quoted_of_a_record_is_bounded() {
        let long = "9".repeat(1 << 20);
        for line in [
            format!(r#"{{"key":"k","value":1,"timestamp":{long}}}"#),
            format!(r#"{{"key":"k","value":1,"timestamp":"{long}"}}"#),
            format!(r#"{{"key":"k","value":1,"timestamp":1,"{long}":1}}"#),
        ] {
            assert!(parsed(&line).unwrap_err().problem.len() < 3_000);
        }
    }

    #[test]
    fn times_are_numbers_or_rfc_3339() {
        let at = |time: &str| parsed(&format!(r#"{{"key":"k","value":1,"timestamp":{time}}}"#));
        assert_eq!(at("1714557600000"), at(r#""2024-05-01T12:00:00+02:00""#));
        for time in [r#""2024-05-01T12:00:00""#, r#""1714557600000""#, "1.5", "-1", "null", "[]", r#""""#] {
            assert!(at(time).is_err(), "{time}");
        }
    }

    #[test]
    fn what_is_watched_is_read_back_and_what_is_there_twice_is_not_chosen_from() {
        let event = Event::new("k".into(), Value::Data("v".into()), Timestamp::from_millis(42)).unwrap();
        for effect in [Effect::Stored, Effect::Expired] {
            let line = serde_json::to_string(&Shown::new(&event).seen(effect, Some("0123-4"))).unwrap();
            assert_eq!(parsed(&line), Ok(event.clone()));
            assert_eq!(parse_seen(line.as_bytes()), Ok((event.clone(), effect)));
        }
        for field in [r#""key":"l""#, r#""value":2"#, r#""timestamp":43"#] {
            let line = format!(r#"{{"key":"k","value":1,"timestamp":42,{field}}}"#);
            assert!(parsed(&line).unwrap_err().problem.contains("duplicate"), "{line}");
        }
    }
}
