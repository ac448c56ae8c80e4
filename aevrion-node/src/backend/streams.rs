//! Streams: imports, exports and watches.

use aevrion_core::{Cursor, Event, Export, Import, Inserted, ReadError, Watch, WatchError, Watched};
use bytes::Bytes;

use super::Backend;
use crate::client::{Client, Lines, RemoteWatch, Upload, WatchItem};
use crate::failure::Failure;
use crate::report::Line;
use crate::wire::Target;

/// Events that a node sends at once to a printing client.
const LINES_AT_ONCE: usize = 512;

/// An export in progress.
pub(crate) enum Exporting {
    Local(Export),
    Remote(Box<(Client, Lines)>),
}

impl Exporting {
    pub(super) async fn begin(backend: &Backend) -> Result<Self, Failure> {
        match backend {
            Backend::Local(replica) => Ok(Self::Local(replica.export()?)),
            Backend::Remote(client) => {
                let answer = client.get(&Target::new("/v1/export")).await?;
                let client = client.for_long_work();
                Ok(Self::Remote(Box::new((client.clone(), Lines::new(&client, answer)))))
            }
        }
    }

    /// The next events; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Event>>, Failure> {
        let (client, lines) = match self {
            Self::Local(export) => return Ok(export.next().await?),
            Self::Remote(remote) => &mut **remote,
        };
        let mut events = Vec::new();
        while events.len() < LINES_AT_ONCE {
            let Some(line) = lines.next().await? else { break };
            // A failed export ends with its error.
            if line.starts_with(b"{\"problem\":")
                && let Line::<()>::Problem(problem) = client.parsed(&line)?
            {
                return Err(problem.into());
            }
            events.push(client.event(&line)?);
        }
        Ok(Some(events).filter(|events| !events.is_empty()))
    }
}

/// An import in progress.
pub(crate) enum Importing<'b> {
    Local(Import<'b>),
    Remote(Upload),
}

impl<'b> Importing<'b> {
    pub(super) fn begin(backend: &'b Backend) -> Self {
        match backend {
            Backend::Local(replica) => Self::Local(replica.import()),
            Backend::Remote(client) => Self::Remote(Upload::new(&client.for_long_work())),
        }
    }

    /// Adds events. Waits while enough are in flight.
    pub(crate) async fn push(&mut self, batch: Vec<Event>) -> Result<(), Failure> {
        match self {
            Self::Local(import) => {
                for event in batch {
                    import.push(event).await?;
                }
                Ok(())
            }
            Self::Remote(_) if batch.is_empty() => Ok(()),
            Self::Remote(upload) => upload.push(&batch).await,
        }
    }

    /// Waits until all events are stored.
    pub(crate) async fn settle(&mut self) -> Result<(), Failure> {
        match self {
            Self::Local(import) => Ok(import.settle().await?),
            Self::Remote(upload) => upload.settle().await,
        }
    }

    /// The events known to be stored so far.
    pub(crate) fn inserted(&self) -> Inserted {
        match self {
            Self::Local(import) => import.inserted(),
            Self::Remote(upload) => upload.inserted(),
        }
    }
}

/// A watch under way.
pub(crate) enum Watching {
    Local(Box<Watch>),
    Remote(Box<RemoteWatch>),
}

impl Watching {
    pub(super) fn begin(backend: &Backend, prefix: Bytes, cursor: Option<Cursor>) -> Result<Self, Failure> {
        Ok(match backend {
            Backend::Local(replica) => Self::Local(Box::new(replica.watch(prefix, cursor)?)),
            Backend::Remote(client) => {
                let cursor = cursor.map(|cursor| cursor.to_string());
                Self::Remote(Box::new(RemoteWatch::new(client, prefix, cursor)))
            }
        })
    }

    /// The next item; `None` once the replica is closed.
    pub(crate) async fn next(&mut self) -> Result<Option<WatchItem>, Failure> {
        let watch = match self {
            Self::Remote(watch) => return watch.next().await.map(Some),
            Self::Local(watch) => watch,
        };
        match watch.next().await {
            Ok(watched) => Ok(watched.map(|Watched { event, effect, cursor }| {
                let cursor = cursor.to_string();
                WatchItem::Event { event, effect, cursor }
            })),
            // A damaged event is skipped; the watch goes on with the others.
            Err(WatchError::Read(error @ ReadError::Damaged(_))) => {
                Ok(Some(WatchItem::Note(error.to_string())))
            }
            Err(error) => Err(error.into()),
        }
    }
}
