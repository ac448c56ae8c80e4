//! The time until which this node and all members agree, and the promise that comes with reporting it.
//!
//! Reported agreement must stay true: this node's clock never again issues a timestamp at or before the reported time,
//! even after a restart with the wall clock set back. A time is therefore reported only once the promise is durable.

use std::sync::Arc;

use super::Shared;
use super::status::NeighbourState;
use crate::Timestamp;

/// Makes a new promise whenever the agreed time advances.
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

/// Makes the agreed time durable as a promise.
pub(super) async fn promise(shared: &Shared) {
    if let Some(until) = agreed_until(shared)
        && let Err(error) = shared.replica.settle(until).await
    {
        tracing::debug!(%error, "the time that is settled stands still");
    }
}

/// The time that is promised and still agreed.
pub(super) fn stable_until(shared: &Shared) -> Option<Timestamp> {
    let promised = shared.replica.settled();
    agreed_until(shared).map(|until| until.min(promised)).filter(|until| *until > Timestamp::MIN)
}

/// The time before which this node and every member agree; `None` if one of them has not been compared with, or if
/// there are no members. Removed nodes do not count.
fn agreed_until(shared: &Shared) -> Option<Timestamp> {
    let mut agreements = shared.links.agreements();
    let settled = shared.members.settled();
    for neighbour in shared.neighbours().iter().filter(|one| one.state != NeighbourState::Unserved) {
        // The node at this address is unknown, and so is its agreement.
        let id = neighbour.id?;
        let agreed = agreements.entry(id).or_default();
        *agreed = (*agreed).max(settled.get(&id).copied().flatten());
    }
    agreements.retain(|node, _| shared.removals.of(*node).is_none());
    agreements.into_values().min().flatten()
}
