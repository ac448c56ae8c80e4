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

/// The time before which this node and every member have agreed; `None` while one of them has not been compared with,
/// or there are none. What was removed is waited for no longer.
fn agreed_until(shared: &Shared) -> Option<Timestamp> {
    let mut agreements = shared.links.agreements();
    let settled = shared.members.settled();
    for neighbour in shared.neighbours().iter().filter(|one| one.state != NeighbourState::Unserved) {
        // Nobody knows who was expected there.
        let id = neighbour.id?;
        let agreed = agreements.entry(id).or_default();
        *agreed = (*agreed).max(settled.get(&id).copied().flatten());
    }
    agreements.retain(|node, _| shared.removals.of(*node).is_none());
    agreements.into_values().min().flatten()
}
