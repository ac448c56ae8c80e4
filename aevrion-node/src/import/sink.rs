//! The destination of a file's events: a store, or the preview of a dry run.

use aevrion_core::{Event, Inserted};

use super::reading::Stop;
use crate::backend::Importing;
use crate::failure::Failure;
use crate::human::{counted, thousands};
use crate::output::Listing;

/// Events that a dry run shows.
const SHOWN: usize = 10;

/// A destination of events.
pub(super) enum Sink<'b> {
    Stored(Importing<'b>),
    /// A dry run: the listing of the first events, and the number of all.
    Shown(Listing, u64),
}

/// The result of an import.
pub(super) enum Stored {
    Inserted(Inserted),
    Counted(u64),
}

impl Sink<'_> {
    /// Takes further events.
    pub(super) async fn take(&mut self, events: Vec<Event>) -> Result<(), Failure> {
        match self {
            Self::Stored(import) => {
                import.push(events).await.map_err(|failure| partly(failure, import.inserted()))
            }
            Self::Shown(listing, counted) => {
                let shown = SHOWN.saturating_sub(usize::try_from(*counted).unwrap_or(SHOWN));
                *counted += events.len() as u64;
                listing.add(&events[..shown.min(events.len())])
            }
        }
    }

    /// The number of events so far.
    pub(super) fn events(&self) -> u64 {
        match self {
            Self::Stored(import) => import.inserted().new + import.inserted().known,
            Self::Shown(_, counted) => *counted,
        }
    }

    /// Waits until all events are stored.
    pub(super) async fn finish(self) -> Result<Stored, Failure> {
        match self {
            Self::Stored(mut import) => {
                import.settle().await.map_err(|failure| partly(failure, import.inserted()))?;
                Ok(Stored::Inserted(import.inserted()))
            }
            Self::Shown(listing, counted) => listing.finish().map(|()| Stored::Counted(counted)),
        }
    }
}

impl Stored {
    /// The number of events.
    pub(super) fn events(&self) -> u64 {
        match self {
            Self::Inserted(inserted) => inserted.new + inserted.known,
            Self::Counted(counted) => *counted,
        }
    }

    /// The report for the user.
    pub(super) fn outcome(&self) -> String {
        match self {
            Self::Inserted(Inserted { new, known, .. }) => {
                let imported = counted(*new, "event");
                format!("{imported} imported, {} were stored already", thousands(*known))
            }
            Self::Counted(events) => {
                format!("{} would be imported, nothing was stored", counted(*events, "event"))
            }
        }
    }

    /// The advice to the user when reading has stopped.
    pub(super) fn advice(&self, stop: &Stop, bad: &str) -> Option<String> {
        match self {
            Self::Inserted(inserted) => stop.advice(*inserted, bad, "--skip-bad"),
            Self::Counted(counted) => Some(format!(
                "{} events before it could be imported; nothing was stored",
                thousands(*counted)
            )),
        }
    }
}

/// The store stopped taking events.
fn partly(failure: Failure, inserted: Inserted) -> Failure {
    let stored = thousands(inserted.new);
    failure.and(format!("{stored} events were stored before that; import again later"))
}
