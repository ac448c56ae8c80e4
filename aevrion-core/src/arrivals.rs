//! The order in which this replica stored events and reported their expiry, read back run by run.
//!
//! A row of the table `arrivals` holds a run: the event keys of up to [`ARRIVAL_RUN`](crate::bounds::ARRIVAL_RUN)
//! events of one commit, under the sequence of the first. A row for each event would cost a third of the write speed. A
//! run of expired events has one more byte at its beginning.

use std::ops::Bound;

use bytes::Bytes;

use crate::store::{Direction, KeyRange, Pages, Projection, StoreError, Table, View, nearest};
use crate::tables::{EVENT_KEY_LEN, encode_event_key, parse_event_key, parse_sequence, sequence_key};
use crate::{EventKey, ReadError};

/// The kind of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// The event was stored.
    Stored,
    /// The event's value, the latest of the key, has expired.
    Expired,
}

/// One place in the order: an event, or its expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) sequence: u64,
    pub(crate) effect: Effect,
    pub(crate) event_key: EventKey,
}

/// The first byte of a run of expired events.
const EXPIRED: u8 = 1;

/// A run of arrivals with one effect: the sequence of the first, and their event keys.
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) effect: Effect,
    pub(crate) event_keys: Vec<EventKey>,
}

/// The row of a run, without its key.
pub(crate) fn encode_run(effect: Effect, event_keys: impl Iterator<Item = EventKey>) -> Bytes {
    let tag = (effect == Effect::Expired).then_some(EXPIRED);
    tag.into_iter().chain(event_keys.flat_map(encode_event_key)).collect()
}

impl Run {
    pub(crate) fn parse(key: &[u8], value: &[u8]) -> Result<Self, ReadError> {
        let damaged = || ReadError::damaged(Table::Arrivals, key, "its row cannot be read");
        let first = parse_sequence(key).ok_or_else(damaged)?;
        let (effect, event_keys) = match value.split_first() {
            Some((&EXPIRED, rest)) if value.len() % EVENT_KEY_LEN == 1 => (Effect::Expired, rest),
            _ => (Effect::Stored, value),
        };
        let event_keys: Option<Vec<_>> = event_keys.chunks(EVENT_KEY_LEN).map(parse_event_key).collect();
        Ok(Self { first, effect, event_keys: event_keys.ok_or_else(damaged)? })
    }

    /// The sequence behind the last arrival of the run.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.event_keys.len() as u64
    }

    /// The arrivals of the run from `sequence` on.
    pub(crate) fn from(&self, sequence: u64) -> impl Iterator<Item = Arrival> {
        let effect = self.effect;
        let arrivals = (self.first..).zip(self.event_keys.iter().copied());
        let arrivals = arrivals.map(move |(sequence, event_key)| Arrival { sequence, effect, event_key });
        arrivals.filter(move |arrival| arrival.sequence >= sequence)
    }
}

/// The run that holds the arrival `sequence`, or else the next one.
pub(crate) async fn run_at(view: &dyn View, sequence: u64) -> Result<Option<Run>, ReadError> {
    for range in [until(&sequence_key(sequence)), behind(&sequence_key(sequence))] {
        if let Some((first, value)) = nearest_run(view, range, Projection::Rows).await? {
            let run = Run::parse(&sequence_key(first), &value)?;
            if run.end() > sequence {
                return Ok(Some(run));
            }
        }
    }
    Ok(None)
}

/// The beginning of the first run behind the arrival `sequence`.
pub(crate) async fn next_run(view: &dyn View, sequence: u64) -> Result<Option<u64>, StoreError> {
    let run = nearest_run(view, behind(&sequence_key(sequence)), Projection::Keys).await?;
    Ok(run.map(|(first, _)| first))
}

fn until(key: &[u8]) -> (KeyRange<'_>, Direction) {
    (KeyRange { start: Bound::Unbounded, end: Bound::Included(key) }, Direction::Backward)
}

fn behind(key: &[u8]) -> (KeyRange<'_>, Direction) {
    (KeyRange { start: Bound::Excluded(key), end: Bound::Unbounded }, Direction::Forward)
}

async fn nearest_run(
    view: &dyn View,
    (range, direction): (KeyRange<'_>, Direction),
    projection: Projection,
) -> Result<Option<(u64, Bytes)>, StoreError> {
    nearest(view, Table::Arrivals, range, direction, projection, parse_sequence).await
}

/// All runs in order, a page at a time.
pub(crate) struct Runs<'v>(Pages<'v>);

impl<'v> Runs<'v> {
    /// The runs from the one that holds the arrival `sequence`.
    pub(crate) async fn from(view: &'v dyn View, sequence: u64) -> Result<Self, StoreError> {
        let first = nearest_run(view, until(&sequence_key(sequence)), Projection::Keys).await?;
        let first = sequence_key(first.map_or(sequence, |(first, _)| first));
        let range = KeyRange { start: Bound::Included(&first[..]), end: Bound::Unbounded };
        Ok(Self(Pages::new(view, Table::Arrivals, range, Projection::Rows)))
    }

    /// A page of runs, each read or with its damage; `None` after the last page.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Result<Run, ReadError>>>, StoreError> {
        let page = self.0.next().await?;
        Ok(page.map(|page| page.rows().map(|(key, value)| Run::parse(key, value)).collect()))
    }
}

/// The keys of the runs that end before the arrival `sequence` or with it, and the beginning of the rest.
pub(crate) async fn runs_before(view: &dyn View, sequence: u64) -> Result<(Vec<u64>, u64), StoreError> {
    let key = sequence_key(sequence);
    let range = KeyRange { start: Bound::Unbounded, end: Bound::Included(&key[..]) };
    let mut firsts = Vec::new();
    let mut pages = Pages::new(view, Table::Arrivals, range, Projection::Keys);
    while let Some(page) = pages.next().await? {
        firsts.extend(page.rows().filter_map(|(key, _)| parse_sequence(key)));
    }
    // The last of them reaches up to the sequence, or beyond: it stays.
    let rest = firsts.pop().unwrap_or(sequence);
    Ok((firsts, rest))
}
