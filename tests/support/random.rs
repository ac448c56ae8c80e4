//! Deterministic pseudo-random numbers per seed, so that a failure can be replayed.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to choose test cases.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of the environment variable `AEVRION_TEST_SEED`, to replay a failure; `default` without it.
    pub(crate) fn seed_or(default: u64) -> u64 {
        let given = std::env::var("AEVRION_TEST_SEED").ok();
        given.map_or(default, |seed| seed.parse().expect("AEVRION_TEST_SEED is a number"))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// As [`Random::below`], for lengths and positions.
    pub(crate) fn place(&mut self, end: usize) -> usize {
        usize::try_from(self.below(u64::try_from(end).expect("a length fits"))).expect("it is below a length")
    }

    /// Random hexadecimal digits.
    pub(crate) fn text(&mut self, len: usize) -> String {
        let mut text = String::with_capacity(len + 16);
        while text.len() < len {
            text.push_str(&format!("{:016x}", self.next()));
        }
        text.truncate(len);
        text
    }
}
