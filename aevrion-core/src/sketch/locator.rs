//! The key, the locators of events under it, and short ids.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::EventId;
use crate::bounds::{LOCATOR_HASH_BITS, LOCATOR_LEAF_BITS};
use crate::random::SplitMix64;

/// The key of the hash in a locator, a secret of the cluster: authors of contents, who choose ids by trial, cannot aim
/// at collisions. Not printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SketchKey([u8; 16]);

impl SketchKey {
    /// The key of clusters that have no secret.
    pub const PUBLIC: Self = Self([0; 16]);

    /// Makes the key from its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for SketchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SketchKey(..)")
    }
}

/// SipHash-2-4 of the id.
fn keyed_hash(key: &SketchKey, id: &EventId) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key.as_bytes());
    hasher.write(id.as_bytes());
    hasher.finish()
}

/// The first `bits` bits of the keyed hash of an id, as a number; 64 at most. For lists under a key of their own: a
/// collision by chance is gone in the next list.
pub fn short_id(key: &SketchKey, id: &EventId, bits: u8) -> u64 {
    keyed_hash(key, id).checked_shr(u64::BITS.saturating_sub(u32::from(bits))).unwrap_or(0)
}

/// The 48 bits that stand for an event in a sketch: 20 bits of its leaf's number, which tell the holder of the event
/// where to look, then 28 bits of its hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locator(u64);

impl Locator {
    /// The locator of an event in the leaf with this number. Cost: one SipHash of 32 bytes, some 20 ns.
    pub fn new(key: &SketchKey, leaf: u64, id: &EventId) -> Self {
        let leaf = leaf & ((1 << LOCATOR_LEAF_BITS) - 1);
        let hash = keyed_hash(key, id) & ((1 << LOCATOR_HASH_BITS) - 1);
        Self(leaf << LOCATOR_HASH_BITS | hash)
    }

    /// The locator with this value; `None` above 48 bits.
    pub const fn from_value(value: u64) -> Option<Self> {
        if value >> (LOCATOR_LEAF_BITS + LOCATOR_HASH_BITS) == 0 { Some(Self(value)) } else { None }
    }

    /// The 48 bits as a number.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The number of the leaf, modulo 2²⁰.
    pub const fn leaf(self) -> u64 {
        self.0 >> LOCATOR_HASH_BITS
    }

    /// The 20 bits of the leaf and the upper `hash_bits` of the 28 bits of the hash, as a number: for lists, which need
    /// no more bits than tell one event from the others.
    pub const fn truncated(self, hash_bits: u8) -> u64 {
        self.0 >> LOCATOR_HASH_BITS.saturating_sub(hash_bits as u32)
    }

    /// The check of the locator and the source of its mapping.
    pub(super) fn mix(self) -> Mix {
        let mut random = SplitMix64::new(self.0);
        let first = random.next();
        Mix { check: (first >> 56) as u8, class: (first >> 48 & 0xFF) as u8, random }
    }
}

impl fmt::Debug for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Locator({:012x})", self.0)
    }
}

/// Pseudo-random bits of a locator, from the generator that its value seeds.
pub(super) struct Mix {
    /// The highest byte of the first number.
    pub(super) check: u8,
    /// The next byte.
    pub(super) class: u8,
    /// The generator, after the first number.
    pub(super) random: SplitMix64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SketchKey = SketchKey::from_bytes([7; 16]);
    const ID: EventId = EventId::from_bytes([1; 32]);

    #[test]
    fn locators_are_pinned() {
        let value = |key: &SketchKey, leaf| format!("{:012x}", Locator::new(key, leaf, &ID).value());
        assert_eq!(value(&SketchKey::PUBLIC, 0), "000008263591");
        assert_eq!(value(&KEY, 1_700_000_000), "3f10040568c7");
        assert_eq!(format!("{:016x}", short_id(&KEY, &ID, 64)), "3368d141240568c7");
        let mix = Locator::from_value(0x0123_4567_89AB).unwrap().mix();
        assert_eq!((mix.check, mix.class), (0x27, 116));
    }

    #[test]
    fn a_locator_has_the_leaf_and_the_hash() {
        let locator = Locator::new(&KEY, 0x1234_5678, &ID);
        assert_eq!(locator.leaf(), 0x4_5678);
        assert_eq!(locator.value() & 0xFFF_FFFF, short_id(&KEY, &ID, 64) & 0xFFF_FFFF);
        assert_eq!(Locator::from_value(locator.value()), Some(locator));
        assert_eq!(Locator::from_value(1 << 48), None);
        assert_eq!(locator.truncated(28), locator.value());
        assert_eq!(locator.truncated(0), locator.leaf());
        assert_eq!(locator.truncated(22), locator.value() >> 6);
    }

    #[test]
    fn short_ids_are_the_first_bits() {
        let whole = short_id(&KEY, &ID, 64);
        assert_eq!(short_id(&KEY, &ID, 27), whole >> 37);
        assert_eq!(short_id(&KEY, &ID, 0), 0);
        assert_eq!(short_id(&KEY, &ID, u8::MAX), whole);
    }

    #[test]
    fn the_key_is_not_printed() {
        assert_eq!(format!("{KEY:?}"), "SketchKey(..)");
    }
}
