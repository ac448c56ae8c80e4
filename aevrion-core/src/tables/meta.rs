//! The rows of `meta`: what a store is, and how far its derived parts have come.

use bytes::Bytes;

/// Version of everything described in [`crate::tables`]. A store of another version is refused.
pub(crate) const FORMAT_VERSION: u32 = 1;

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

    /// What the node remembers about itself under `name`: bytes that mean nothing here.
    pub(crate) fn setting(name: &str) -> String {
        format!("setting/{name}")
    }
}

/// How far a replica has come. Written by every commit that brings events, so it is as atomic as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    /// Events stored.
    pub(crate) events: u64,
    /// Client keys that have a row in `by_key`.
    pub(crate) indexed_keys: u64,
    /// The sequence that the next arrival gets; the first one is 0.
    pub(crate) next_arrival: u64,
    /// Arrivals before this one have their row in `by_key`.
    pub(crate) next_to_index: u64,
    /// Arrivals before this one were trimmed.
    pub(crate) oldest_arrival: u64,
}

impl Checkpoint {
    pub(crate) fn encode(&self) -> Bytes {
        let fields =
            [self.events, self.indexed_keys, self.next_arrival, self.next_to_index, self.oldest_arrival];
        fields.iter().flat_map(|field| field.to_be_bytes()).collect()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (fields, rest) = bytes.as_chunks();
        let &[events, indexed_keys, next_arrival, next_to_index, oldest_arrival] = fields else {
            return None;
        };
        let number = u64::from_be_bytes;
        rest.is_empty().then_some(Self {
            events: number(events),
            indexed_keys: number(indexed_keys),
            next_arrival: number(next_arrival),
            next_to_index: number(next_to_index),
            oldest_arrival: number(oldest_arrival),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_round_trip() {
        let checkpoint =
            Checkpoint { events: 1, indexed_keys: 2, next_arrival: 3, next_to_index: 4, oldest_arrival: 5 };
        assert_eq!(Checkpoint::parse(&checkpoint.encode()), Some(checkpoint));
        assert_eq!(Checkpoint::parse(&checkpoint.encode()[1..]), None);
    }
}
