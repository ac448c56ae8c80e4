//! Messages to the neighbour: each on its lane, events in frames of limited size.

use super::Output;
use crate::bounds::{BATCH_FRAME, MESSAGE_EVENTS};
use crate::message::{Events, Message, Reply};
use crate::transport::Lane;
use crate::{Event, ReadError};

pub(super) fn send_live(message: Message) -> Output {
    Output::Send(Lane::Live, message)
}

pub(super) fn send_repair(message: Message) -> Output {
    Output::Send(Lane::Repair, message)
}

/// Sends events in frames: the last with the reply `last`, all others with `reply`.
pub(super) fn send_in_frames(lane: Lane, reply: Reply, last: Reply, events: Vec<Event>) -> Vec<Output> {
    let send = |events| Output::Send(lane, Message::Events(Events { reply, events }));
    let mut outputs: Vec<_> = batches(events).map(send).collect();
    if let Some(Output::Send(_, Message::Events(events))) = outputs.last_mut() {
        events.reply = last;
    }
    outputs
}

/// Divides events into batches that fit a frame each.
pub(super) fn batches(events: Vec<Event>) -> impl Iterator<Item = Vec<Event>> {
    /// Beside key and value: their lengths, the timestamp, the tag, an expiry.
    const FIELDS: usize = 32;
    let mut events = events.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut batch = vec![events.next()?];
        let mut bytes = batch[0].weight() + FIELDS;
        while batch.len() < MESSAGE_EVENTS
            && let Some(event) = events.next_if(|event| bytes + event.weight() + FIELDS <= BATCH_FRAME)
        {
            bytes += event.weight() + FIELDS;
            batch.push(event);
        }
        Some(batch)
    })
}

/// An event that was read for a neighbour.
pub(super) enum Readable {
    Event(Event),
    /// No event has this key.
    Unknown,
    /// Its copy here is damaged: `verify` reports it, and no neighbour gets it.
    Damaged,
}

/// Classifies the result of a read: a damaged event is no error.
///
/// # Errors
/// [`ReadError`] if the store fails.
pub(super) fn readable(event: Result<Option<Event>, ReadError>) -> Result<Readable, ReadError> {
    match event {
        Ok(Some(event)) => Ok(Readable::Event(event)),
        Ok(None) => Ok(Readable::Unknown),
        Err(ReadError::Damaged(damage)) => {
            tracing::warn!(%damage, "a damaged event is not sent to a neighbour");
            Ok(Readable::Damaged)
        }
        Err(error) => Err(error),
    }
}
