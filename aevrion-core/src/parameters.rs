//! The parameters that all nodes of a cluster share, fixed when a store is made.
//!
//! A node with another granularity would compare hashes of different spans; a node that refuses a key that others
//! accept would differ from them for ever. So parameters are stored, compared and never changed.

use std::fmt;

use crate::bounds::{LARGEST_DATA, LONGEST_KEY, SHORTEST_TOP_NODE};
use crate::{Value, WriteError};

/// The shape of the tree and the size of an event, the same on every node of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Parameters {
    /// Milliseconds covered by one leaf (G).
    pub granularity: u64,
    /// Children of an inner node (B).
    pub branching: u32,
    /// Longest key, in bytes.
    pub longest_key: u32,
    /// Largest value, in bytes.
    pub largest_data: u32,
}

impl Default for Parameters {
    /// One leaf a minute, 32 children, keys up to 4,096 B, values up to 16 MiB.
    fn default() -> Self {
        Self { granularity: 60_000, branching: 32, longest_key: 4_096, largest_data: 16 << 20 }
    }
}

/// Required parameters; `None` accepts any value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ParameterOverrides {
    /// The required [`Parameters::granularity`].
    pub granularity: Option<u64>,
    /// The required [`Parameters::branching`].
    pub branching: Option<u32>,
    /// The required [`Parameters::longest_key`].
    pub longest_key: Option<u32>,
    /// The required [`Parameters::largest_data`].
    pub largest_data: Option<u32>,
}

impl ParameterOverrides {
    /// Sets [`granularity`](Self::granularity).
    #[must_use]
    pub fn granularity(mut self, granularity: impl Into<Option<u64>>) -> Self {
        self.granularity = granularity.into();
        self
    }

    /// Sets [`branching`](Self::branching).
    #[must_use]
    pub fn branching(mut self, branching: impl Into<Option<u32>>) -> Self {
        self.branching = branching.into();
        self
    }

    /// Sets [`longest_key`](Self::longest_key).
    #[must_use]
    pub fn longest_key(mut self, longest_key: impl Into<Option<u32>>) -> Self {
        self.longest_key = longest_key.into();
        self
    }

    /// Sets [`largest_data`](Self::largest_data).
    #[must_use]
    pub fn largest_data(mut self, largest_data: impl Into<Option<u32>>) -> Self {
        self.largest_data = largest_data.into();
        self
    }

    /// The required parameters, completed with those of `others`.
    pub fn or(self, others: Parameters) -> Parameters {
        Parameters {
            granularity: self.granularity.unwrap_or(others.granularity),
            branching: self.branching.unwrap_or(others.branching),
            longest_key: self.longest_key.unwrap_or(others.longest_key),
            largest_data: self.largest_data.unwrap_or(others.largest_data),
        }
    }
}

impl From<Parameters> for ParameterOverrides {
    /// Requires exactly these parameters.
    fn from(parameters: Parameters) -> Self {
        let Parameters { granularity, branching, longest_key, largest_data } = parameters;
        Self {
            granularity: Some(granularity),
            branching: Some(branching),
            longest_key: Some(longest_key),
            largest_data: Some(largest_data),
        }
    }
}

/// A parameter outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} {given} is not between {least} and {most}")]
pub struct OutOfRange {
    name: &'static str,
    given: u64,
    least: u64,
    most: u64,
}

/// The top level of the tree would get far too many nodes with this granularity and branching.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "with granularity {granularity} and branching {branching} a node of the top level of the tree covers {covers} ms, \
     and each is held for good: it has to cover a day at least. Choose {}", self.advice()
)]
pub struct TreeTooFine {
    granularity: u64,
    branching: u32,
    covers: u64,
}

impl TreeTooFine {
    /// The nearest valid parameters, in words.
    fn advice(&self) -> String {
        let granularity = SHORTEST_TOP_NODE.div_ceil(top_span(1, self.branching));
        let with = format!("a granularity of {granularity} or more with this branching");
        let branching =
            (self.branching..=256).find(|more| top_span(self.granularity, *more) >= SHORTEST_TOP_NODE);
        branching.map_or(with.clone(), |branching| {
            format!("{with}, or a branching of {branching} or more with this granularity")
        })
    }
}

/// Milliseconds covered by a top-level node: there are four levels below it.
fn top_span(granularity: u64, branching: u32) -> u64 {
    // Within the ranges of `Parameters::validate` it is at most 86,400,000 · 256⁴.
    granularity.saturating_mul(u64::from(branching).saturating_pow(4))
}

/// A parameter that differs from the stored one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: &'static str,
    /// The value in the store.
    pub stored: u64,
    /// The requested value.
    pub given: u64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, not {}", self.name, self.stored, self.given)
    }
}

impl Parameters {
    /// Length of [`Parameters::to_bytes`].
    pub(crate) const ENCODED_LEN: usize = 20;

    /// Checks every field against the ranges of the formats.
    ///
    /// # Errors
    /// The first parameter that is [out of range](OutOfRange).
    pub fn validate(&self) -> Result<(), OutOfRange> {
        let ranges = [(1, 86_400_000), (2, 256), (1, u64::from(LONGEST_KEY)), (0, u64::from(LARGEST_DATA))];
        for ((name, given), (least, most)) in self.fields().into_iter().zip(ranges) {
            if !(least..=most).contains(&given) {
                return Err(OutOfRange { name, given, least, most });
            }
        }
        Ok(())
    }

    /// Checks that the tree of a new cluster would not be too fine.
    ///
    /// # Errors
    /// [`TreeTooFine`] if a node of the top level would cover less than
    /// [`SHORTEST_TOP_NODE`](crate::bounds::SHORTEST_TOP_NODE).
    pub fn check_new(&self) -> Result<(), TreeTooFine> {
        let covers = top_span(self.granularity, self.branching);
        if covers >= SHORTEST_TOP_NODE {
            return Ok(());
        }
        Err(TreeTooFine { granularity: self.granularity, branching: self.branching, covers })
    }

    /// Checks key and value against the limits of the cluster.
    ///
    /// # Errors
    /// [`WriteError::EmptyKey`], [`WriteError::KeyTooLong`], [`WriteError::ValueTooLong`].
    pub fn check(&self, key: &[u8], value: &Value) -> Result<(), WriteError> {
        let exceeds = |len: usize, most: u32| usize::try_from(most).is_ok_and(|most| len > most);
        if key.is_empty() {
            Err(WriteError::EmptyKey)
        } else if exceeds(key.len(), self.longest_key) {
            Err(WriteError::KeyTooLong { len: key.len(), most: self.longest_key })
        } else if exceeds(value.len(), self.largest_data) {
            Err(WriteError::ValueTooLong { len: value.len(), most: self.largest_data })
        } else {
            Ok(())
        }
    }

    /// All differences between `self`, the stored parameters, and `given`.
    pub fn differences(&self, given: &Self) -> Vec<Difference> {
        let pairs = self.fields().into_iter().zip(given.fields());
        pairs
            .filter(|(stored, given)| stored.1 != given.1)
            .map(|((name, stored), (_, given))| Difference { name, stored, given })
            .collect()
    }

    fn fields(&self) -> [(&'static str, u64); 4] {
        [
            ("granularity", self.granularity),
            ("branching", u64::from(self.branching)),
            ("longest_key", u64::from(self.longest_key)),
            ("largest_data", u64::from(self.largest_data)),
        ]
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::ENCODED_LEN] {
        let mut out = [0; Self::ENCODED_LEN];
        out[..8].copy_from_slice(&self.granularity.to_be_bytes());
        out[8..12].copy_from_slice(&self.branching.to_be_bytes());
        out[12..16].copy_from_slice(&self.longest_key.to_be_bytes());
        out[16..].copy_from_slice(&self.largest_data.to_be_bytes());
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::ENCODED_LEN] = bytes.try_into().ok()?;
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let parameters = Self {
            granularity: u64::from_be_bytes(*bytes.first_chunk()?),
            branching: word(8),
            longest_key: word(12),
            largest_data: word(16),
        };
        parameters.validate().ok()?;
        Some(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        let parameters = Parameters { granularity: 1_000, branching: 4, longest_key: 77, largest_data: 5 };
        assert_eq!(Parameters::from_bytes(&parameters.to_bytes()), Some(parameters));
    }

    #[test]
    fn differences_are_named() {
        let other = Parameters { branching: 16, ..Parameters::default() };
        let differences = Parameters::default().differences(&other);
        assert_eq!(differences, [Difference { name: "branching", stored: 32, given: 16 }]);
        assert_eq!(differences[0].to_string(), "branching is 32, not 16");
    }

    #[test]
    fn a_tree_that_is_too_fine_is_refused_with_what_would_do() {
        let of = |granularity, branching| Parameters { granularity, branching, ..Parameters::default() };
        let refusal =
            |granularity, branching| of(granularity, branching).check_new().unwrap_err().to_string();
        let fine = refusal(1, 2);
        assert!(fine.contains("covers 16 ms") && fine.contains("granularity of 5400000 or more"), "{fine}");
        assert!(fine.contains("branching of 97 or more"), "{fine}");
        assert!(of(1, 97).check_new().is_ok() && of(1, 96).check_new().is_err());
        assert!(of(5_400_000, 2).check_new().is_ok() && of(5_399_999, 2).check_new().is_err());
        assert!(of(86_400_000, 256).check_new().is_ok() && Parameters::default().check_new().is_ok());
    }

    #[test]
    fn a_tree_of_one_child_is_refused() {
        let parameters = Parameters { branching: 1, ..Parameters::default() };
        assert_eq!(parameters.validate().unwrap_err().to_string(), "branching 1 is not between 2 and 256");
    }
}
