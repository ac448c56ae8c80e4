//! The wire form of the core's types. Lists are checked against their bound before memory is allocated for them.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bounds::{KEPT_IRREGULAR, MESSAGE_IDS};
use crate::sketch::{Cells, Mapping, NumberList};
use crate::{Event, EventId, EventKey, TimeSpan, Timestamp, Value};

/// A list of at most `MOST`.
pub(super) fn bounded<'de, D, T, const MOST: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const MOST: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Bounded<T, MOST> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MOST}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let len = list.size_hint().unwrap_or(0);
            if len > MOST {
                return Err(A::Error::invalid_length(len, &self));
            }
            // The claimed length may be false: memory grows with the items read.
            let mut items = Vec::with_capacity(len.min(1_024));
            while let Some(item) = list.next_element()? {
                if items.len() == MOST {
                    return Err(A::Error::invalid_length(MOST + 1, &self));
                }
                items.push(item);
            }
            Ok(items)
        }
    }

    deserializer.deserialize_seq(Bounded::<T, MOST>(PhantomData))
}

/// A text of at most `MOST` bytes.
pub(super) fn bounded_text<'de, D: Deserializer<'de>, const MOST: usize>(
    deserializer: D,
) -> Result<String, D::Error> {
    let text = <&str>::deserialize(deserializer)?;
    if text.len() > MOST {
        return Err(D::Error::invalid_length(text.len(), &"a shorter text"));
    }
    Ok(text.to_owned())
}

/// A text of at most `MOST` bytes, inside another type.
struct Text<const MOST: usize>(String);

impl<'de, const MOST: usize> Deserialize<'de> for Text<MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bounded_text::<D, MOST>(deserializer).map(Self)
    }
}

/// A list of at most `MOST` texts of at most `LEN` bytes each.
pub(super) fn bounded_texts<'de, D: Deserializer<'de>, const MOST: usize, const LEN: usize>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    let texts = bounded::<D, Text<LEN>, MOST>(deserializer)?;
    Ok(texts.into_iter().map(|Text(text)| text).collect())
}

/// A text of at most `MOST` bytes, or none.
pub(super) fn bounded_option<'de, D: Deserializer<'de>, const MOST: usize>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Ok(Option::<Text<MOST>>::deserialize(deserializer)?.map(|Text(text)| text))
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.first(), self.last()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (first, last) = <(Timestamp, Timestamp)>::deserialize(deserializer)?;
        Self::new(first, last).ok_or_else(|| D::Error::custom("a span ends before it begins"))
    }
}

impl Serialize for EventKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.timestamp, self.id).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EventKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (timestamp, id) = <(Timestamp, EventId)>::deserialize(deserializer)?;
        Ok(Self { timestamp, id })
    }
}

/// Writes bytes as one run.
pub(super) fn as_run<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    Run(bytes).serialize(serializer)
}

/// At most `MOST` bytes as one run.
pub(super) fn bounded_run<'de, D: Deserializer<'de>, const MOST: usize>(
    deserializer: D,
) -> Result<Vec<u8>, D::Error> {
    let Run(bytes) = Run::deserialize(deserializer)?;
    if bytes.len() > MOST {
        return Err(D::Error::invalid_length(bytes.len(), &"fewer bytes"));
    }
    Ok(bytes.to_vec())
}

/// Cells: the number of their mapping, the index of the first, their bytes.
impl Serialize for Cells {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mapping = match self.mapping() {
            Mapping::Regular => 0_u8,
            Mapping::Irregular => 1,
        };
        (mapping, self.from() as u64, Run(&self.to_bytes())).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mapping, from, bytes) = <(u8, u32, Run<'_>)>::deserialize(deserializer)?;
        let mapping = match mapping {
            0 => Mapping::Regular,
            1 => Mapping::Irregular,
            _ => return Err(D::Error::custom("there is no such mapping")),
        };
        let from = usize::try_from(from).map_err(D::Error::custom)?;
        let cells = Self::from_bytes(mapping, from, bytes.0).map_err(D::Error::custom)?;
        if cells.len() > KEPT_IRREGULAR {
            return Err(D::Error::invalid_length(cells.len(), &"fewer cells"));
        }
        Ok(cells)
    }
}

impl Serialize for NumberList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Run(&self.to_bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NumberList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Run(bytes) = Run::deserialize(deserializer)?;
        Self::from_bytes(bytes, MESSAGE_IDS).map_err(D::Error::custom)
    }
}

/// Bytes as one run: as compact as a list of numbers, and read and written in one step.
struct Run<'b>(&'b [u8]);

impl Serialize for Run<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for Run<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Run)
    }
}

/// The wire form of a value: a tag, then the fields of the variant.
#[derive(Serialize, Deserialize)]
enum WireValue<'v> {
    Deletion,
    #[serde(borrow)]
    Data(Run<'v>),
    Expiring(Timestamp, #[serde(borrow)] Run<'v>),
}

/// An event is sent as its three fields. Its id is not: the receiver computes it.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = match self.value() {
            Value::Deletion => WireValue::Deletion,
            Value::Data(data) => WireValue::Data(Run(data)),
            Value::Expiring { data, expires_at } => WireValue::Expiring(*expires_at, Run(data)),
        };
        (self.timestamp(), Run(self.key()), value).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (timestamp, key, value) = <(Timestamp, Run<'_>, WireValue<'_>)>::deserialize(deserializer)?;
        let value = match value {
            WireValue::Deletion => Value::Deletion,
            WireValue::Data(Run(data)) => Value::Data(Bytes::copy_from_slice(data)),
            WireValue::Expiring(expires_at, Run(data)) => {
                Value::Expiring { data: Bytes::copy_from_slice(data), expires_at }
            }
        };
        Self::new(Bytes::copy_from_slice(key.0), value, timestamp).map_err(D::Error::custom)
    }
}
