//! Identifiers: of events, tree nodes, nodes of a cluster, and openings of a store.

use crate::chance::random;
use std::fmt;
use std::str::FromStr;

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not 64 hexadecimal digits")]
pub struct ParseHexError(String);

macro_rules! thirty_two_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Makes the identifier from its bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 64];
                match hex::encode_to_slice(self.0, &mut text) {
                    Ok(()) => f.write_str(&String::from_utf8_lossy(&text)),
                    Err(_) => Err(fmt::Error),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseHexError;

            fn from_str(text: &str) -> Result<Self, ParseHexError> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseHexError(text.to_owned()))?;
                Ok(Self(bytes))
            }
        }

        impl From<blake3::Hash> for $name {
            fn from(hash: blake3::Hash) -> Self {
                Self(hash.into())
            }
        }
    };
}

thirty_two_bytes! {
    /// The identity of an event: BLAKE3 of its canonical encoding. Ordered as bytes, which breaks ties between
    /// versions of a key that share a timestamp.
    EventId
}

thirty_two_bytes! {
    /// The hash of a tree node or of a whole tree. [`Hash::EMPTY`] stands for "no events below".
    Hash
}

thirty_two_bytes! {
    /// The identity of a node, drawn once when its store is made.
    NodeId
}

impl NodeId {
    /// A new unique identity, from the operating system's randomness.
    ///
    /// # Panics
    /// If the operating system has no randomness, which happens only during its start.
    pub fn random() -> Self {
        Self(random())
    }
}

/// One opening of a store. The contents of a data directory do not tell a copy from the original; but each opening
/// draws a new incarnation, and from then on the two differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Incarnation([u8; 8]);

impl Incarnation {
    /// Makes the incarnation from its bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The 8 bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// A new unique incarnation, from the operating system's randomness.
    ///
    /// # Panics
    /// As [`NodeId::random`].
    pub fn random() -> Self {
        Self(random())
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl Hash {
    /// The hash of nothing: 32 zero bytes, at every level.
    pub const EMPTY: Self = Self([0; 32]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let id = EventId::from_bytes(std::array::from_fn(|i| u8::try_from(i * 7).unwrap()));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("6d8a".parse::<EventId>(), Err(ParseHexError("6d8a".into())));
    }
}
