//! The one source of chance of a simulation, from the seed alone.
//!
//! Each part has its own generator, made from the seed and its purpose: more or fewer draws in one part do not change
//! those of the others.

use crate::random::SplitMix64;

/// A sequence of pseudo-random numbers.
#[derive(Debug, Clone)]
pub struct Random(SplitMix64);

impl Random {
    /// The sequence for one purpose, identified by `parts`.
    pub fn new(seed: u64, parts: &[u64]) -> Self {
        let mut random = SplitMix64::new(seed ^ 0x5851_F42D_4C95_7F2D);
        for part in parts {
            random = SplitMix64::new(random.next() ^ part.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        }
        random.next();
        Self(random)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0.next()
    }

    /// One of the numbers below `end`; 0 if there are none.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw().checked_rem(end).unwrap_or(0)
    }

    /// One of `first..=last`.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below((last - first).saturating_add(1))
    }

    /// A position in a list of length `len`.
    pub fn place(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True once in `times`, and never if that is 0.
    pub fn once_in(&mut self, times: u64) -> bool {
        times > 0 && self.below(times) == 0
    }

    /// One of these values.
    pub fn pick<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        from[self.place(N)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_purpose_draws_the_same() {
        let draw = |seed, parts: &[u64]| Random::new(seed, parts).draw();
        assert_eq!(draw(1, &[2, 3]), draw(1, &[2, 3]));
        assert_ne!(draw(1, &[2, 3]), draw(1, &[3, 2]));
        assert_ne!(draw(1, &[]), draw(2, &[]));
    }
}
