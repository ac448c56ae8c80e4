//! Ids in lists: whole, or shortened under a fresh salt.
//!
//! With five bytes, one missing event is mistaken for another of a million events once in a million times. The salt is
//! drawn for each list, so that no author of contents can aim at a collision, and a chance collision is gone in the
//! next list.

use serde::{Deserialize, Serialize};

use super::wire::bounded;
use crate::EventId;
use crate::bounds::MESSAGE_IDS;

/// The first five bytes of BLAKE3(salt ‖ id).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShortId(pub [u8; 5]);

/// Shortens an id. Cost: one BLAKE3 of 40 bytes.
pub fn shorten(salt: u64, id: EventId) -> ShortId {
    Salted::new(salt, id).short()
}

/// BLAKE3(salt ‖ id), the source of both the short id and the share: no author of contents can aim at either.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Salted([u8; 32]);

impl Salted {
    /// Cost: one BLAKE3 of 40 bytes.
    pub(crate) fn new(salt: u64, id: EventId) -> Self {
        let mut salted = [0; 40];
        salted[..8].copy_from_slice(&salt.to_be_bytes());
        salted[8..].copy_from_slice(id.as_bytes());
        Self(*blake3::hash(&salted).as_bytes())
    }

    /// The short form of the id.
    pub(crate) fn short(self) -> ShortId {
        let [a, b, c, d, e, ..] = self.0;
        ShortId([a, b, c, d, e])
    }

    /// The share, of `of`, that the id belongs to.
    pub(crate) fn part_of(self, of: u32) -> u32 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        let part = u64::from_be_bytes([a, b, c, d, e, f, g, h]) % u64::from(of.max(1));
        u32::try_from(part).unwrap_or(u32::MAX)
    }
}

/// Ids of one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ids {
    /// Whole ids.
    Full(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_IDS>")] Vec<EventId>),
    /// Shortened ids.
    Short {
        /// Drawn for this list alone, or for all the shares of a span.
        salt: u64,
        /// The short ids.
        #[serde(deserialize_with = "bounded::<_, _, MESSAGE_IDS>")]
        ids: Vec<ShortId>,
    },
}

impl Ids {
    /// The number of ids.
    pub fn len(&self) -> usize {
        match self {
            Self::Full(ids) => ids.len(),
            Self::Short { ids, .. } => ids.len(),
        }
    }

    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids sorted, for [`Sorted::position`].
    pub(crate) fn sorted(&self) -> Sorted {
        match self {
            Self::Full(ids) => {
                let mut ids: Vec<_> = ids.iter().copied().zip(0..).collect();
                ids.sort_unstable();
                Sorted::Full(ids)
            }
            Self::Short { salt, ids } => {
                let mut ids: Vec<_> = ids.iter().copied().zip(0..).collect();
                ids.sort_unstable();
                Sorted::Short(*salt, ids)
            }
        }
    }

    /// The ids at these positions of the list.
    pub(crate) fn select(&self, places: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Full(ids) => Self::Full(places.filter_map(|place| ids.get(place).copied()).collect()),
            Self::Short { salt, ids } => {
                Self::Short { salt: *salt, ids: places.filter_map(|place| ids.get(place).copied()).collect() }
            }
        }
    }
}

/// Ids sorted for lookup, each with its position in the list.
pub(crate) enum Sorted {
    Full(Vec<(EventId, usize)>),
    Short(u64, Vec<(ShortId, usize)>),
}

impl Sorted {
    /// The position of this event in the list.
    pub(crate) fn position(&self, id: EventId) -> Option<usize> {
        self.look_up(id, Share::WHOLE)?
    }

    /// The position of this event in the list, if any; `None` if the event does not belong to the share of the list.
    pub(crate) fn look_up(&self, id: EventId, share: Share) -> Option<Option<usize>> {
        match self {
            Self::Full(ids) => {
                let found = ids.binary_search_by(|(listed, _)| listed.cmp(&id)).ok();
                Some(found.map(|found| ids[found].1))
            }
            Self::Short(salt, ids) => {
                let salted = Salted::new(*salt, id);
                if salted.part_of(share.of) != share.part {
                    return None;
                }
                let short = salted.short();
                let found = ids.binary_search_by(|(listed, _)| listed.cmp(&short)).ok();
                Some(found.map(|found| ids[found].1))
            }
        }
    }
}

/// A part of the ids of a span, for spans that do not fit in one message: the ids whose last eight bytes of BLAKE3(salt
/// ‖ id), as a number, leave `part` when divided by `of`. The salt is that of the short ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The index of the part, below `of`.
    pub part: u32,
    /// The number of parts; at least 1.
    pub of: u32,
}

impl Share {
    /// All ids.
    pub const WHOLE: Self = Self { part: 0, of: 1 };
}
