//! The lineage of a store: which incarnation assigned which sequences.
//!
//! A restored older copy of the directory assigns the same sequences again, to other events. An incarnation and a
//! sequence name the same arrival in every copy, or none.

use bytes::Bytes;

use crate::Incarnation;
use crate::bounds::LINEAGE;

/// Bytes of one incarnation in the row: its name and the sequence of its first arrival.
const ENTRY: usize = 16;

/// The incarnations of a store, in the order of their openings, each with the sequence of its first arrival. There is
/// at least one; all arrivals before those of the second belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lineage(Vec<(Incarnation, u64)>);

impl Lineage {
    /// The lineage of a store without a record: all its arrivals are those of `incarnation`.
    pub(crate) fn of(incarnation: Incarnation) -> Self {
        Self(vec![(incarnation, 0)])
    }

    /// The lineage with all arrivals from `first` on assigned by `incarnation`. Beyond the bound the oldest one is
    /// forgotten.
    pub(crate) fn continued(mut self, incarnation: Incarnation, first: u64) -> Self {
        if self.0.last().is_none_or(|(last, _)| *last != incarnation) {
            self.0.push((incarnation, first));
        }
        self.0.drain(..self.0.len().saturating_sub(LINEAGE));
        self
    }

    /// The incarnation of the arrival before `next`.
    pub(crate) fn behind(&self, next: u64) -> Option<Incarnation> {
        let known = self.0.iter().rev().find(|(_, first)| *first < next);
        known.or(self.0.first()).map(|(incarnation, _)| *incarnation)
    }

    /// Whether the arrivals before `next`, as `incarnation` knew them, are those of this store.
    pub(crate) fn holds(&self, incarnation: Incarnation, next: u64) -> bool {
        let mut rest = self.0.iter().skip_while(|(known, _)| *known != incarnation);
        rest.next().is_some() && rest.next().is_none_or(|(_, first)| next <= *first)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let entries = self.0.iter();
        entries
            .flat_map(|(incarnation, first)| [*incarnation.as_bytes(), first.to_be_bytes()])
            .flatten()
            .collect()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (entries, rest) = bytes.as_chunks::<ENTRY>();
        let entry = |entry: &[u8; ENTRY]| {
            let (incarnation, first) = entry.split_first_chunk()?;
            let first = u64::from_be_bytes(first.try_into().ok()?);
            Some((Incarnation::from_bytes(*incarnation), first))
        };
        let entries: Vec<_> = entries.iter().map(entry).collect::<Option<_>>()?;
        let ascends = entries.is_sorted_by_key(|(_, first)| *first);
        (rest.is_empty() && ascends && !entries.is_empty()).then_some(Self(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incarnation(number: u8) -> Incarnation {
        Incarnation::from_bytes([number; 8])
    }

    #[test]
    fn a_place_is_good_wherever_the_arrivals_before_it_are_the_same() {
        let original = Lineage::of(incarnation(1)).continued(incarnation(2), 3).continued(incarnation(3), 5);
        let copy = Lineage::of(incarnation(1)).continued(incarnation(2), 3).continued(incarnation(4), 4);
        assert_eq!(
            [0, 1, 3, 4, 5, 6].map(|next| original.behind(next)),
            [1, 1, 1, 2, 2, 3].map(|n| Some(incarnation(n)))
        );
        for (next, good) in [(4, true), (5, false)] {
            assert_eq!(copy.holds(incarnation(2), next), good);
        }
        assert!(copy.holds(incarnation(1), 3) && !copy.holds(incarnation(1), 4));
        assert!(copy.holds(incarnation(4), 99) && !copy.holds(incarnation(3), 5));
    }

    #[test]
    fn the_oldest_incarnations_are_forgotten() {
        let names = (0..LINEAGE as u64 * 2).map(|n| Incarnation::from_bytes(n.to_be_bytes()));
        let of_many = |lineage: Lineage, (first, name): (u64, Incarnation)| lineage.continued(name, first);
        let lineage = (0..).zip(names).fold(Lineage::of(incarnation(1)), of_many);
        assert_eq!(lineage.encode().len(), LINEAGE * ENTRY);
        let newest = Incarnation::from_bytes((LINEAGE as u64 * 2 - 1).to_be_bytes());
        assert!(!lineage.holds(incarnation(1), 0) && lineage.holds(newest, u64::MAX));
        assert_eq!(
            lineage.behind(0),
            lineage.behind(LINEAGE as u64),
            "older arrivals count to the oldest known"
        );
    }

    #[test]
    fn rows_round_trip() {
        let lineage = Lineage::of(incarnation(1)).continued(incarnation(2), 3);
        let row = lineage.encode();
        assert_eq!(Lineage::parse(&row), Some(lineage));
        assert_eq!(Lineage::parse(&row[1..]), None);
        assert_eq!(Lineage::parse(&[]), None);
        let backwards = [row.slice(ENTRY..), row.slice(..ENTRY)].concat();
        assert_eq!(Lineage::parse(&backwards), None);
    }
}
