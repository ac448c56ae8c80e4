//! One direction of a connection: frames in flight, on two lanes, each in order unless the weather is harsh.
//!
//! A blocked path holds frames back until it opens again, as a stream does that retransmits packets. A broken
//! connection loses the frames in flight. In harsh weather single frames are lost, doubled or overtaken, which no
//! transport does: it shows that a neighbour's nonsense costs a connection and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::random::Random;
use crate::agent::ByLane;
use crate::transport::Lane;

/// Faults of single frames, each in one frame of the given number; none if 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// The frame is lost.
    pub lost: u64,
    /// The frame arrives twice.
    pub doubled: u64,
    /// Later frames overtake it.
    pub overtaken: u64,
}

/// The state of the path from one node to another, across connections.
pub(super) struct Path(Mutex<Conditions>);

struct Conditions {
    /// Least and greatest milliseconds.
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

/// The frames from one end of a connection to the other.
pub(super) struct Wire {
    path: Arc<Path>,
    flow: Mutex<Flow>,
    /// Notifies the waiting receiver of a change.
    pub(super) arrived: Notify,
    /// A frame was received: the sender may have room again.
    pub(super) drained: Notify,
    /// Bytes in flight on a lane at which sending should stop.
    room: usize,
}

struct Flow {
    lanes: [Queue; 2],
    open: bool,
}

/// A frame on its arrival.
pub(super) struct Arrival {
    pub(super) frame: Bytes,
    /// Whether it is a duplicate made by the network.
    pub(super) doubled: bool,
}

#[derive(Default)]
struct Queue {
    /// Frames by arrival time and sending order.
    frames: BTreeMap<(Instant, u64), Arrival>,
    /// Frames held back by a blocked path.
    held: VecDeque<Bytes>,
    sent: u64,
    bytes: usize,
    /// The arrival of the last frame.
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

    /// Releases the frames held back by a blocked path, once it is open.
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

    /// The next arrived frame.
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

    /// The arrival time of the next frame.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.flow().lanes.iter().filter_map(Queue::next_at).min()
    }

    /// Whether arrived frames were not received yet.
    pub(super) fn unread(&self, now: Instant) -> ByLane<bool> {
        let [live, repair] = &self.flow().lanes;
        ByLane { live: live.is_due(now), repair: repair.is_due(now) }
    }

    /// Whether more than `most` bytes wait on a lane.
    pub(super) fn is_overfull(&self, most: usize) -> bool {
        self.flow().lanes.iter().any(|queue| queue.bytes > most)
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

/// The index of a lane in a pair.
pub(super) fn slot(lane: Lane) -> usize {
    match lane {
        Lane::Live => 0,
        Lane::Repair => 1,
    }
}
