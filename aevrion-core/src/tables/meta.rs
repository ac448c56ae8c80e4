//! The rows of `meta`: the identity of a store, and the progress of its derived parts.

use bytes::Bytes;

use crate::{ClockMark, Timestamp};

/// The version of the formats in [`crate::tables`]. A store of another version is refused.
pub(crate) const FORMAT_VERSION: u32 = 2;
/// The version of stores without a timetable: opening one creates it.
pub(crate) const WITHOUT_TIMETABLE: u32 = 1;

/// Names of the rows.
pub(crate) mod name {
    /// `u32` format version.
    pub(crate) const FORMAT: &str = "format";
    /// The [`Parameters`](crate::Parameters).
    pub(crate) const PARAMETERS: &str = "parameters";
    /// The [`NodeId`](crate::NodeId).
    pub(crate) const NODE: &str = "node";
    /// The [`Checkpoint`](super::Checkpoint).
    pub(crate) const CHECKPOINT: &str = "checkpoint";
    /// The [`Lineage`](super::super::Lineage), written with the first arrival of an incarnation.
    pub(crate) const LINEAGE: &str = "lineage";

    /// The kept cells of all events, and the sequence up to which they are complete.
    pub(crate) const SKETCH: &str = "sketch";
    /// `u64` time until which expiries were reported to watchers: see [`crate::timetable`].
    pub(crate) const EXPIRED: &str = "expired";

    /// The row of a node's setting `name`: its bytes have no meaning here.
    pub(crate) fn setting(name: &str) -> String {
        format!("setting/{name}")
    }
}

/// The progress of a replica. Every commit of events writes it, so it is as atomic as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    /// The number of stored events.
    pub(crate) events: u64,
    /// The number of client keys with a row in `by_key`.
    pub(crate) indexed_keys: u64,
    /// The sequence of the next arrival; the first one is 0.
    pub(crate) next_arrival: u64,
    /// Arrivals before this one have their row in `by_key`.
    pub(crate) next_to_index: u64,
    /// Arrivals before this one were trimmed.
    pub(crate) oldest_arrival: u64,
    /// The state of the clock.
    pub(crate) clock: ClockMark,
}

impl Checkpoint {
    pub(crate) fn encode(&self) -> Bytes {
        let Self { events, indexed_keys, next_arrival, next_to_index, oldest_arrival, clock } = *self;
        let ClockMark { continues, resumed } = clock;
        let counts = [events, indexed_keys, next_arrival, next_to_index, oldest_arrival];
        let fields = counts.into_iter().chain([continues, resumed].map(Timestamp::as_millis));
        fields.flat_map(u64::to_be_bytes).collect()
    }

    /// Parses a row. Rows of the first releases have no clock.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (fields, rest) = bytes.as_chunks();
        let (&[events, indexed_keys, next_arrival, next_to_index, oldest_arrival], clock) =
            fields.split_first_chunk()?;
        let number = u64::from_be_bytes;
        let moment = |bytes| Timestamp::from_millis(number(bytes));
        let clock = match *clock {
            [] => ClockMark::default(),
            [continues, resumed] => ClockMark { continues: moment(continues), resumed: moment(resumed) },
            _ => return None,
        };
        rest.is_empty().then_some(Self {
            events: number(events),
            indexed_keys: number(indexed_keys),
            next_arrival: number(next_arrival),
            next_to_index: number(next_to_index),
            oldest_arrival: number(oldest_arrival),
            clock,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_round_trip() {
        let checkpoint = Checkpoint {
            events: 1,
            indexed_keys: 2,
            next_arrival: 3,
            next_to_index: 4,
            oldest_arrival: 5,
            clock: ClockMark { continues: Timestamp::from_millis(6), resumed: Timestamp::from_millis(7) },
        };
        let row = checkpoint.encode();
        assert_eq!(Checkpoint::parse(&row), Some(checkpoint));
        assert_eq!(Checkpoint::parse(&row[1..]), None);
        assert_eq!(Checkpoint::parse(&[&row[..], &row[..8]].concat()), None);
        let without_clock = Checkpoint { clock: ClockMark::default(), ..checkpoint };
        assert_eq!(Checkpoint::parse(&row[..40]), Some(without_clock));
    }
}
