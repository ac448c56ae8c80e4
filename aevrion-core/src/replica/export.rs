//! Exporting: every event of the clients, in the order of time.

use std::sync::Arc;

use super::handle::Replica;
use super::read_state::ReadState;
use super::state::Shared;
use crate::event::is_reserved;
use crate::events::EventPages;
use crate::{Address, Event, ReadError};

/// A walk over all events, in the order of time and, within a millisecond, of ids.
pub struct Export {
    shared: Arc<Shared>,
    state: Arc<ReadState>,
    /// The last event given.
    last: Option<Address>,
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
                self.last = Some(event.address());
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
