//! A replica view with unreadable events.

use aevrion_core::agent::{CheckedHashes, Holdings, Walked};
use aevrion_core::message::{Digest, Tile};
use aevrion_core::tree::{NodeAddress, Root};
use aevrion_core::{Address, Event, ReadError, Replica, TimeSpan};

/// A replica, and the reason why an event of it is unreadable.
pub(crate) struct Held<'r, F>(pub(crate) &'r Replica, pub(crate) F);

impl<F: Fn(Address) -> Option<ReadError> + Send + Sync> Holdings for Held<'_, F> {
    async fn digest(&self, span: TimeSpan) -> Result<Walked<(Root, Digest)>, ReadError> {
        Holdings::digest(self.0, span).await
    }

    async fn children(
        &self,
        span: TimeSpan,
        parents: &[NodeAddress],
    ) -> Result<Walked<Vec<Vec<Tile>>>, ReadError> {
        Holdings::children(self.0, span, parents).await
    }

    async fn check_hashes(&self, span: TimeSpan) -> Result<CheckedHashes, ReadError> {
        Holdings::check_hashes(self.0, span).await
    }

    async fn addresses(
        &self,
        span: TimeSpan,
        before: Option<Address>,
        most: usize,
    ) -> Result<Vec<Address>, ReadError> {
        Holdings::addresses(self.0, span, before, most).await
    }

    async fn event(&self, address: Address) -> Result<Option<Event>, ReadError> {
        match self.1(address) {
            Some(error) => Err(error),
            None => Holdings::event(self.0, address).await,
        }
    }

    async fn missing(&self, addresses: &[Address]) -> Result<Vec<Address>, ReadError> {
        Holdings::missing(self.0, addresses).await
    }
}
