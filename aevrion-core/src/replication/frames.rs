//! Frames sent by many links: a large one is encoded once and held once, however many lanes it waits on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use crate::bounds::{FRAMES_SHARED, SHARED_FRAME};
use crate::message::{Events, Message, Push, Reply, Source, encode};
use crate::{Event, EventKey};

/// The large frames that wait on a lane.
#[derive(Debug, Default)]
pub(super) struct Frames(Mutex<VecDeque<(Contents, Weak<Bytes>)>>);

/// Identifies a frame with events. The event key suffices for each event, as the id is its hash.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    header: Header,
    events: Vec<EventKey>,
}

/// The fields of a frame before its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    Push(Source),
    Events(Reply),
}

impl Contents {
    /// The identity of a message that is worth sharing; `None` for any other.
    fn of(message: &Message) -> Option<Self> {
        let (header, events) = match message {
            Message::Push(Push { source, events }) => (Header::Push(*source), events),
            Message::Events(Events { reply, events }) => (Header::Events(*reply), events),
            _ => return None,
        };
        let bytes: usize = events.iter().map(Event::weight).sum();
        (bytes >= SHARED_FRAME)
            .then(|| Self { header, events: events.iter().map(Event::event_key).collect() })
    }
}

/// A frame that lives while somebody holds it.
struct Shared(Arc<Bytes>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Frames {
    /// Encodes a message, or returns its shared frame.
    pub(super) fn encode(&self, message: &Message) -> Bytes {
        let Some(contents) = Contents::of(message) else { return encode(message) };
        // Held while encoding: a waiting caller most likely wants the same frame.
        let mut frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frames.retain(|(_, frame)| frame.strong_count() > 0);
        let known =
            frames.iter().find(|(known, _)| *known == contents).and_then(|(_, frame)| frame.upgrade());
        let frame = known.unwrap_or_else(|| {
            let frame = Arc::new(encode(message));
            frames.truncate(FRAMES_SHARED - 1);
            frames.push_front((contents, Arc::downgrade(&frame)));
            frame
        });
        Bytes::from_owner(Shared(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Timestamp, Value};

    fn answer(number: u64, len: usize, more: bool) -> Message {
        let value = Value::Data(vec![7; len].into());
        let event = Event::new("key".into(), value, Timestamp::from_millis(number)).unwrap();
        Message::Events(Events { reply: Reply::At { more }, events: vec![event] })
    }

    #[test]
    fn the_same_large_message_is_one_frame_while_anyone_holds_it() {
        let frames = Frames::default();
        let large = answer(1, SHARED_FRAME, false);
        let (one, other) = (frames.encode(&large), frames.encode(&large));
        assert_eq!((one.as_ptr(), &one), (other.as_ptr(), &encode(&large)));
        for different in [answer(2, SHARED_FRAME, false), answer(1, SHARED_FRAME, true)] {
            assert_eq!(frames.encode(&different), encode(&different));
        }
        drop((one, other));
        frames.encode(&answer(3, SHARED_FRAME, false));
        assert_eq!(frames.0.lock().unwrap().len(), 1, "nobody holds the others");
    }

    #[test]
    fn no_more_frames_are_remembered_than_there_is_room_for() {
        let frames = Frames::default();
        let held: Vec<_> =
            (0..FRAMES_SHARED as u64 * 2).map(|it| frames.encode(&answer(it, SHARED_FRAME, false))).collect();
        assert_eq!(frames.0.lock().unwrap().len(), FRAMES_SHARED);
        drop(held);
    }
}
