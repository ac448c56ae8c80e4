//! Walks over all events: those of clients in the order of time, for an export, and those of the system's own keys.
//!
//! Clients neither write nor see the system's keys. Every node of the cluster can write them, so their readers verify
//! the content.

use std::sync::Arc;

use bytes::Bytes;

use super::handle::Replica;
use super::read_state::ReadState;
use super::state::Shared;
use crate::event::is_reserved;
use crate::events::EventPages;
use crate::index::KeySpan;
use crate::{Event, EventKey, ReadError};

/// A walk over all events, in the order of time and, within a millisecond, of ids.
pub struct Export {
    shared: Arc<Shared>,
    state: Arc<ReadState>,
    /// The last event given.
    last: Option<EventKey>,
    exhausted: bool,
}

impl Replica {
    /// Begins a walk over all events that clients wrote. It shows the replica as it is now, as far as the store has
    /// isolated views.
    ///
    /// # Errors
    /// [`ReadError::Closed`].
    pub fn export(&self) -> Result<Export, ReadError> {
        let shared = Arc::clone(&self.shared);
        Ok(Export { state: shared.state()?, shared, last: None, exhausted: false })
    }

    /// Begins a walk over the events of the system's keys below `prefix`, as the replica is now.
    pub(crate) fn system_events(&self, prefix: &[u8]) -> Result<SystemEvents, ReadError> {
        let span = KeySpan::prefix(prefix);
        Ok(SystemEvents { state: self.shared.state()?, span, after: None, exhausted: false })
    }
}

impl Export {
    /// The next events, some hundreds or about half a MiB at a time; `None` after the last ones.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read, or at an event that is damaged.
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>, ReadError> {
        while !self.exhausted {
            let mut pages = EventPages::behind(&*self.state.view, self.last);
            let Some(page) = pages.next().await? else {
                self.exhausted = true;
                break;
            };
            let mut events = Vec::with_capacity(page.len());
            for (_, event) in page {
                if let Err(error) = &event {
                    self.shared.note_old_damage(error).await;
                }
                let event = event?;
                self.last = Some(event.event_key());
                if !is_reserved(event.key()) {
                    events.push(event);
                }
            }
            if !events.is_empty() {
                return Ok(Some(events));
            }
        }
        Ok(None)
    }
}

/// A walk over every version of the keys below a prefix. Neither a later write nor a deletion hides one here.
pub(crate) struct SystemEvents {
    state: Arc<ReadState>,
    span: KeySpan,
    /// The last row read.
    after: Option<Bytes>,
    exhausted: bool,
}

impl SystemEvents {
    /// The next events, about 1 MiB at a time; `None` after the last ones. Damaged events are passed over.
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
