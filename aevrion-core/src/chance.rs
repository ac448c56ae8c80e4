//! The only source of randomness in the core: the operating system's.
//!
//! All other code takes a seed or an id as an argument, so that a simulation decides it.

/// Random bytes.
pub(crate) fn random<const LEN: usize>() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    #[expect(clippy::expect_used, reason = "nothing sensible can be done without an identity")]
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}
