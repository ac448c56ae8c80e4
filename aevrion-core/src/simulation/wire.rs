//! One direction of a connection: frames under way, on two lanes, each in order unless the weather is harsh.
//!
//! A blocked path holds frames back until it is open again, as a stream does whose packets are repeated. A connection
//! that breaks loses what is under way. In harsh weather single frames are lost, come twice or overtake each other,
//! which no transport does: it shows that a neighbour's nonsense costs a connection and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::random::Random;
use crate::agent::ByLane;
use crate::transport::Lane;

/// One in so many frames suffers so; none if 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// It is lost.
    pub lost: u64,
    /// It comes twice.
    pub doubled: u64,
    /// It is overtaken by later ones.
    pub overtaken: u64,
}

/// What the way from one node to another is like, whatever connections there are.
pub(super) struct Path(Mutex<Conditions>);

struct Conditions {
    /// Milliseconds, at least and at most.
    latency: (u64, u64),
    /// Bytes a millisecond.
    bandwidth: u64,
    blocked: bool,
    weather: Weather,
    random: Random,
}

impl Path {
    pub(super) fn new(latency: (u64, u64), bandwidth: u64, weather: Weather, random: Random) -> Self {
        Self(Mutex::new(Conditions { latency, bandwidth, blocked: false, weather, random }))
    }

    pub(super) fn block(&self, blocked: bool) {
        self.conditions().blocked = blocked;
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.conditions().blocked
    }

    pub(super) fn clear_up(&self) {
        self.conditions().weather = Weather::default();
    }

    fn conditions(&self) -> MutexGuard<'_, Conditions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frames from one end of a connection to the other.
pub(super) struct Wire {
    path: Arc<Path>,
    flow: Mutex<Flow>,
    /// Something happened that the receiver may wait for.
    pub(super) arrived: Notify,
    /// Something was received: the sender may have room again.
    pub(super) drained: Notify,
    /// Bytes under way on a lane beyond which nothing more should be sent.
    room: usize,
}

struct Flow {
    lanes: [Queue; 2],
    open: bool,
}

/// A frame as it comes.
pub(super) struct Arrival {
    pub(super) frame: Bytes,
    /// Whether it is the second of two where the sender sent one.
    pub(super) doubled: bool,
}

#[derive(Default)]
struct Queue {
    /// By their arrival and the order of sending.
    frames: BTreeMap<(Instant, u64), Arrival>,
    /// Held back by a blocked path.
    held: VecDeque<Bytes>,
    sent: u64,
    bytes: usize,
    /// When the last one arrives.
    last: Option<Instant>,
}

impl Wire {
    pub(super) fn new(path: Arc<Path>, room: usize) -> Self {
        let flow = Mutex::new(Flow { lanes: <[Queue; 2]>::default(), open: true });
        Self { path, flow, arrived: Notify::new(), drained: Notify::new(), room }
    }

    /// Sends a frame.
    pub(super) fn send(&self, lane: Lane, frame: Bytes, now: Instant) {
        let mut flow = self.flow();
        if !flow.open {
            return;
        }
        let queue = &mut flow.lanes[slot(lane)];
        let mut path = self.path.conditions();
        let Conditions { weather, .. } = *path;
        if path.random.once_in(weather.lost) {
            return;
        }
        if path.blocked {
            queue.bytes += frame.len();
            queue.held.push_back(frame);
            return;
        }
        queue.put(Arrival { frame: frame.clone(), doubled: false }, now, &mut path);
        if path.random.once_in(weather.doubled) {
            queue.put(Arrival { frame, doubled: true }, now, &mut path);
        }
        drop(path);
        drop(flow);
        self.arrived.notify_one();
    }

    /// Lets go what a blocked path held back, once it is open.
    pub(super) fn release(&self, now: Instant) {
        let mut flow = self.flow();
        let mut path = self.path.conditions();
        if !path.blocked {
            for queue in &mut flow.lanes {
                for frame in std::mem::take(&mut queue.held) {
                    queue.bytes -= frame.len();
                    queue.put(Arrival { frame, doubled: false }, now, &mut path);
                }
            }
        }
        drop(path);
        drop(flow);
        self.arrived.notify_one();
    }

    /// The next frame that has arrived.
    pub(super) fn receive(&self, now: Instant) -> Option<(Lane, Arrival)> {
        let mut flow = self.flow();
        for lane in Lane::ALL {
            let queue = &mut flow.lanes[slot(lane)];
            if queue.is_due(now) {
                let (_, arrival) = queue.frames.pop_first()?;
                queue.bytes -= arrival.frame.len();
                drop(flow);
                self.drained.notify_one();
                return Some((lane, arrival));
            }
        }
        None
    }

    /// When the next frame arrives.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.flow().lanes.iter().filter_map(Queue::next_at).min()
    }

    /// Whether frames have arrived that were not received.
    pub(super) fn unread(&self, now: Instant) -> ByLane<bool> {
        let [live, repair] = &self.flow().lanes;
        ByLane { live: live.is_due(now), repair: repair.is_due(now) }
    }

    pub(super) fn has_room(&self, lane: Lane) -> bool {
        self.flow().lanes[slot(lane)].bytes < self.room
    }

    pub(super) fn is_open(&self) -> bool {
        self.flow().open
    }

    pub(super) fn close(&self) {
        self.flow().open = false;
        self.arrived.notify_one();
        self.drained.notify_one();
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn next_at(&self) -> Option<Instant> {
        self.frames.first_key_value().map(|((at, _), _)| *at)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next_at().is_some_and(|at| at <= now)
    }

    fn put(&mut self, arrival: Arrival, now: Instant, path: &mut Conditions) {
        let (least, most) = path.latency;
        let way = path.random.between(least, most);
        let sending = arrival.frame.len() as u64 / path.bandwidth;
        let mut at = now + Duration::from_millis(way + sending);
        if !path.random.once_in(path.weather.overtaken) {
            at = at.max(self.last.map_or(at, |last| last + Duration::from_millis(sending)));
            self.last = Some(at);
        }
        self.sent += 1;
        self.bytes += arrival.frame.len();
        self.frames.insert((at, self.sent), arrival);
    }
}

/// Where a lane stands in a pair.
pub(super) fn slot(lane: Lane) -> usize {
    match lane {
        Lane::Live => 0,
        Lane::Repair => 1,
    }
}
