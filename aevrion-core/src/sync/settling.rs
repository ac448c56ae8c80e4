//! Until when this node and its neighbours have agreed on everything, and the promise that goes with telling it.
//!
//! What is told to be settled stays so as far as this node is concerned: its clock stamps nothing at or before it any
//! more, also after a restart with the wall clock set back. So a time is told only once that promise is durable.

use std::sync::Arc;

use super::Shared;
use super::status::NeighbourState;
use crate::Timestamp;

/// Makes the promise whenever the neighbours have agreed on more.
pub(super) fn begin(shared: &Arc<Shared>) {
    let mut changes = shared.links.changes();
    let weak = Arc::downgrade(shared);
    shared.spawn(async move {
        while changes.changed().await.is_ok() {
            let Some(shared) = weak.upgrade() else { return };
            promise(&shared).await;
        }
    });
}

/// Promises what can be told.
pub(super) async fn promise(shared: &Shared) {
    if let Some(until) = agreed_until(shared)
        && let Err(error) = shared.replica.settle(until).await
    {
        tracing::debug!(%error, "the time that is settled stands still");
    }
}

/// What is promised and still true.
pub(super) fn stable_until(shared: &Shared) -> Option<Timestamp> {
    let promised = shared.replica.settled();
    agreed_until(shared).map(|until| until.min(promised)).filter(|until| *until > Timestamp::MIN)
}

/// The time before which this node and every neighbour have agreed; `None` while one of them has not been compared with,
/// or there are none. What was removed is waited for no longer.
fn agreed_until(shared: &Shared) -> Option<Timestamp> {
    let mut agreements = shared.links.agreements();
    agreements.retain(|node, _| shared.removals.of(*node).is_none());
    let is_known = |one: &super::Neighbour| {
        one.state == NeighbourState::Unserved || one.id.is_some_and(|id| agreements.contains_key(&id))
    };
    if !shared.neighbours().iter().all(is_known) {
        return None;
    }
    agreements.into_values().min().flatten()
}
