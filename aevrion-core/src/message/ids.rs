//! Ids as they travel in lists: whole, or shortened under a fresh salt.
//!
//! Five bytes tell a million events apart from one that is missing but for one time in a million. The salt is drawn
//! for each list, so nobody who chooses contents can aim at a collision, and one that happens by chance is gone in
//! the next list.

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

/// BLAKE3(salt ‖ id), of which both the short id and the share are made: so nobody who chooses contents can aim at
/// either.
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

    /// The id as it is listed.
    pub(crate) fn short(self) -> ShortId {
        let [a, b, c, d, e, ..] = self.0;
        ShortId([a, b, c, d, e])
    }

    /// The part of `of` that the id belongs to.
    pub(crate) fn part_of(self, of: u32) -> u32 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        let part = u64::from_be_bytes([a, b, c, d, e, f, g, h]) % u64::from(of.max(1));
        u32::try_from(part).unwrap_or(u32::MAX)
    }
}

/// Ids of one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ids {
    /// Whole.
    Full(#[serde(deserialize_with = "bounded::<_, _, MESSAGE_IDS>")] Vec<EventId>),
    /// Shortened.
    Short {
        /// Drawn for this list alone, or for all the shares of a span.
        salt: u64,
        /// They.
        #[serde(deserialize_with = "bounded::<_, _, MESSAGE_IDS>")]
        ids: Vec<ShortId>,
    },
}

impl Ids {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Full(ids) => ids.len(),
            Self::Short { ids, .. } => ids.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sorted, so that [`Sorted::position`] can be asked for.
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

    /// Those at these places of the list.
    pub(crate) fn select(&self, places: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Full(ids) => Self::Full(places.filter_map(|place| ids.get(place).copied()).collect()),
            Self::Short { salt, ids } => {
                Self::Short { salt: *salt, ids: places.filter_map(|place| ids.get(place).copied()).collect() }
            }
        }
    }
}

/// Ids by which events can be looked up, each with its place in the list.
pub(crate) enum Sorted {
    Full(Vec<(EventId, usize)>),
    Short(u64, Vec<(ShortId, usize)>),
}

impl Sorted {
    /// Where the list names this event.
    pub(crate) fn position(&self, id: EventId) -> Option<usize> {
        self.look_up(id, Share::WHOLE)?
    }

    /// Where the list names this event, if it does; nothing if this is not an event of the share that it is about.
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

/// A part of the ids of a span, for spans with more of them than one message takes: those of which the last eight bytes
/// of BLAKE3(salt ‖ id), as a number, leave `part` when divided by `of`. The salt is that of the short ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Which part.
    pub part: u32,
    /// Of how many; at least 1.
    pub of: u32,
}

impl Share {
    /// All of them.
    pub const WHOLE: Self = Self { part: 0, of: 1 };
}
