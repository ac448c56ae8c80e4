//! The refused connections of a transport, by reason.

use aevrion_core::transport::{Refusal, RejectionCounters};

/// Counts refusals and logs them.
#[derive(Debug, Default)]
pub struct RefusalCounters {
    /// In the order of [`Refusal::ALL`].
    counters: RejectionCounters<{ Refusal::ALL.len() }>,
}

impl RefusalCounters {
    /// Counts a refusal and logs it: the reasons of a flood at debug level, each other reason at most once a second.
    pub fn refuse(&self, from: &str, refusal: Refusal) {
        let number = Refusal::ALL.iter().position(|one| *one == refusal);
        let log = number.is_some_and(|number| self.counters.count(number));
        match refusal {
            Refusal::TooSlow | Refusal::TooMany => tracing::debug!(from, "turned away: {refusal}"),
            Refusal::GivenUp => tracing::debug!(from, "{refusal}"),
            _ if log => tracing::warn!(from, "turned away: {refusal}"),
            _ => {}
        }
    }

    /// Refused connections by reason, in the order of [`Refusal::ALL`].
    pub(crate) fn counts(&self) -> Vec<(Refusal, u64)> {
        Refusal::ALL.into_iter().zip(self.counters.counts()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_reason() {
        let refusals = RefusalCounters::default();
        refusals.refuse("here:1", Refusal::Expired);
        let counted: Vec<_> = refusals.counts().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(Refusal::Expired, 1)]);
    }
}
