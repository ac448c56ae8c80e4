//! Watching: all events of a prefix, in the order of their arrival at this node, from a cursor on, without end. An
//! event whose value expires while it is the latest of its key is seen once more, as expired.
//!
//! A watcher pulls: it reads arrivals at its own pace, and sleeps when it has read them all. So a slow watcher delays
//! no other work, and costs no memory but its own page. It passes over events of other keys without reading them.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::handle::Replica;
use super::recent::Wanted;
use super::state::Shared;
use crate::arrivals::{Arrival, Effect, next_run, run_at};
use crate::event::is_reserved;
use crate::events::decode_event;
use crate::store::{Table, View};
use crate::tables::{Checkpoint, EventRow, encode_event_key, sequence_key};
use crate::{Event, Incarnation, ReadError, WatchError};

/// The place of a watcher: behind one arrival of one node. Written `6d8a31cc-9f86d081884c7d65-42`; the place before
/// the first arrival is `6d8a31cc-0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The first bytes of the node's identity: sequences are counted by each node.
    node: u32,
    /// That of the arrival before; `None` if there is none, and in cursors of older releases.
    incarnation: Option<Incarnation>,
    /// The next arrival to see.
    next: u64,
}

impl Cursor {
    fn new(shared: &Shared, next: u64) -> Self {
        let [a, b, c, d, ..] = *shared.node.as_bytes();
        let node = u32::from_be_bytes([a, b, c, d]);
        Self { node, incarnation: shared.lineage.behind(next), next }
    }

    /// The sequence of the next arrival.
    fn resume(self, shared: &Shared, checkpoint: &Checkpoint) -> Result<u64, WatchError> {
        let Self { node, incarnation, next } = self;
        if node != Self::new(shared, next).node {
            return Err(WatchError::OtherNode);
        }
        // Nothing comes before the first arrival, so it cannot differ.
        let holds =
            next == 0 || incarnation.is_some_and(|incarnation| shared.lineage.holds(incarnation, next));
        if !holds || next > checkpoint.next_arrival {
            return Err(WatchError::OtherHistory);
        }
        if next < checkpoint.oldest_arrival {
            return Err(WatchError::Compacted { oldest: checkpoint.oldest_arrival });
        }
        Ok(next)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-", self.node)?;
        if let Some(incarnation) = self.incarnation {
            write!(f, "{incarnation}-")?;
        }
        write!(f, "{}", self.next)
    }
}

/// A text that is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cursor: pass on what came with an event, such as 6d8a31cc-9f86d081884c7d65-42")]
pub struct ParseCursorError(String);

impl FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        let parse = || {
            let (node, rest) = text.split_once('-')?;
            let (incarnation, next) = match rest.split_once('-') {
                Some((incarnation, next)) => {
                    let mut bytes = [0; 8];
                    hex::decode_to_slice(incarnation, &mut bytes).ok()?;
                    (Some(Incarnation::from_bytes(bytes)), next)
                }
                None => (None, rest),
            };
            let node = u32::from_str_radix(node, 16).ok()?;
            Some(Self { node, incarnation, next: next.parse().ok()? })
        };
        parse().ok_or_else(|| ParseCursorError(text.to_owned()))
    }
}

/// An event, its effect, and the cursor behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The event: a write of this node, or of another one, perhaps older than events seen before.
    pub event: Event,
    /// Whether it was stored, or its value has expired.
    pub effect: Effect,
    /// The place behind it.
    pub cursor: Cursor,
}

/// An endless walk over the events of a prefix, in the order of their arrival at this node.
pub struct Watch {
    shared: Arc<Shared>,
    prefix: Bytes,
    next: u64,
    /// Arrivals to read, from `next` on.
    page: VecDeque<Arrival>,
    /// The sequence behind the page. Arrivals between its last one and here are of other keys.
    page_end: u64,
    arrivals: watch::Receiver<u64>,
}

impl Replica {
    /// Watches the keys that begin with `prefix`: from `cursor` on, or from now on.
    ///
    /// # Errors
    /// [`WatchError::OtherNode`], [`WatchError::OtherHistory`] and [`WatchError::Compacted`] about the cursor.
    pub fn watch(&self, prefix: impl AsRef<[u8]>, cursor: Option<Cursor>) -> Result<Watch, WatchError> {
        let shared = Arc::clone(&self.shared);
        let checkpoint = shared.state()?.checkpoint;
        let next = match cursor {
            Some(cursor) => cursor.resume(&shared, &checkpoint)?,
            None => *shared.arrivals.borrow(),
        };
        let prefix = Bytes::copy_from_slice(prefix.as_ref());
        let arrivals = shared.arrivals.subscribe();
        Ok(Watch { shared, prefix, next, page: VecDeque::new(), page_end: next, arrivals })
    }
}

impl Watch {
    /// The next event; waits for it. `None` once the replica is closed. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] if the watcher was so slow that its next arrival is gone, [`WatchError::Read`] if the
    /// store fails. It may be called again; a damaged event is passed over then.
    pub async fn next(&mut self) -> Result<Option<Watched>, WatchError> {
        loop {
            let state = match self.shared.state() {
                Ok(state) => state,
                Err(ReadError::Closed) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            while let Some(arrival) = self.page.front().copied() {
                let event = match self.read(&*state.view, arrival).await {
                    // The store may be readable again when the same event is asked for once more.
                    Err(ReadError::Store(error)) => return Err(ReadError::Store(error).into()),
                    event => event,
                };
                self.page.pop_front();
                self.next = arrival.sequence + 1;
                if let Some(event) = event.inspect_err(|error| self.shared.note_damage(error))? {
                    let effect = arrival.effect;
                    return Ok(Some(Watched { event, effect, cursor: self.cursor() }));
                }
            }
            self.next = self.next.max(self.page_end);
            let oldest = state.checkpoint.oldest_arrival;
            if self.next < oldest {
                return Err(WatchError::Compacted { oldest });
            }
            let end = *self.arrivals.borrow_and_update();
            // Only a later state is sure to hold the arrivals before `end`.
            drop(state);
            if self.next < end {
                self.read_page(end).await?;
                continue;
            }
            if self.shared.state().is_ok() && self.arrivals.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// The place behind the last event seen, where a later watch may resume.
    pub fn cursor(&self) -> Cursor {
        Cursor::new(&self.shared, self.next)
    }

    /// The event of an arrival; `None` if it is of another key.
    ///
    /// The row names its key. If that is another one, the body is neither read nor hashed. So the key is not checked
    /// against the id, and an event of this prefix whose key is damaged is passed over silently. `verify` finds such
    /// damage; a watcher that looked for it would read and hash every event.
    async fn read(&self, view: &dyn View, arrival: Arrival) -> Result<Option<Event>, ReadError> {
        let Arrival { sequence, event_key, .. } = arrival;
        let key = encode_event_key(event_key);
        let Some(row) = view.get(Table::Events, &key).await? else {
            let what = "its event is not in the store";
            return Err(ReadError::damaged(Table::Arrivals, &sequence_key(sequence), what));
        };
        match EventRow::parse(&row) {
            Ok(parsed) if !self.wants(&parsed.key) => Ok(None),
            _ => decode_event(view, &key, &row).await.map(Some),
        }
    }

    fn wants(&self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix) && !is_reserved(key)
    }

    /// Fills the page with arrivals before `end`. There is at least one.
    async fn read_page(&mut self, end: u64) -> Result<(), ReadError> {
        let state = match self.shared.state() {
            Err(ReadError::Closed) => return Ok(()),
            state => state?,
        };
        if let Some(Wanted { arrivals, end }) = self.shared.recent.find(self.next, end, |key| self.wants(key))
        {
            self.page = arrivals.into();
            self.page_end = end;
            return Ok(());
        }
        let run = match run_at(&*state.view, self.next).await {
            Err(ReadError::Damaged(damage)) => {
                // Its arrivals are passed over, as missing ones are.
                let next = next_run(&*state.view, self.next).await?;
                self.next = next.map_or(end, |next| next.min(end));
                return Err(ReadError::Damaged(damage));
            }
            run => run?,
        };
        let found = run.as_ref().map_or(end, |run| run.first.max(self.next));
        if found > self.next {
            let what = format!("the arrivals up to {} are missing", found - 1);
            let error = ReadError::damaged(Table::Arrivals, &sequence_key(self.next), what);
            self.next = found;
            return Err(error);
        }
        let arrived = run.iter().flat_map(|run| run.from(self.next));
        self.page.extend(arrived.take_while(|arrival| arrival.sequence < end));
        self.page_end = self.page.back().map_or(self.next, |arrival| arrival.sequence + 1);
        Ok(())
    }
}
