//! The system's own keys: events like any others, that clients neither write nor see. A reader of them here trusts
//! nothing because it is there: every node of the cluster can write some.

use std::sync::Arc;

use bytes::Bytes;

use super::handle::Replica;
use super::queue::Inserted;
use super::read_state::ReadState;
use crate::event::is_reserved;
use crate::index::KeySpan;
use crate::news::Origin;
use crate::store::Durability;
use crate::{Event, ReadError, WriteError};

/// A walk over every version of the keys below a prefix, whatever its time: neither a later write nor a deletion hides
/// one here.
pub(crate) struct SystemEvents {
    state: Arc<ReadState>,
    span: KeySpan,
    /// The row to go on behind.
    after: Option<Bytes>,
    exhausted: bool,
}

impl Replica {
    /// Begins a walk over the events of the system's keys below `prefix`, as the replica is now.
    pub(crate) fn system_events(&self, prefix: &[u8]) -> Result<SystemEvents, ReadError> {
        let span = KeySpan::prefix(prefix);
        Ok(SystemEvents { state: self.shared.state()?, span, after: None, exhausted: false })
    }

    /// Stores an event of the system's own as one of this node: durable here, then told to the neighbours.
    pub(crate) async fn insert_system(&self, event: Event) -> Result<Inserted, WriteError> {
        debug_assert!(is_reserved(event.key()), "clients have their own way in");
        self.submit(vec![event], Origin::Local, Durability::Immediate).await?.wait().await
    }
}

impl SystemEvents {
    /// The next events, about 1 MiB at a time; `None` after the last ones. A damaged one is passed over: it says nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Event>>, ReadError> {
        while !self.exhausted {
            let (events, next) = self.state.index().all_versions(&self.span, self.after.as_ref()).await?;
            self.exhausted = next.is_none();
            self.after = next;
            if !events.is_empty() {
                return Ok(Some(events));
            }
        }
        Ok(None)
    }
}
