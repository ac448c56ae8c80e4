//! The writes of clients and their outcomes: the plain truth for judging the replicas.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Event, EventId, EventKey, Timestamp, Value};

/// All requested writes, and all promises.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The number of requests with this content, by its id at the beginning of time.
    asked: BTreeMap<EventId, u64>,
    /// The events acknowledged as durable.
    promised: BTreeMap<EventKey, Event>,
    /// The greatest timestamp that a node promised for a key by its own clock.
    issued: BTreeMap<(usize, Bytes), Timestamp>,
    /// The end of the time that a node declared settled.
    settled: BTreeMap<usize, Timestamp>,
}

impl Ledger {
    /// Records a client's request, whose outcome will follow.
    pub(super) fn ask(&mut self, key: &Bytes, value: &Value) {
        if let Some(content) = content(key, value) {
            *self.asked.entry(content).or_default() += 1;
        }
    }

    /// Records a node's promise to keep an event. If its own clock `stamped` it, it must be later than the node's
    /// earlier promises for the key.
    pub(super) fn promise(&mut self, node: usize, event: Event, stamped: bool) -> Result<(), String> {
        if stamped {
            let at = event.timestamp();
            let before = self.issued.insert((node, event.key().clone()), at);
            if let Some(before) = before.filter(|before| *before >= at) {
                return Err(format!("the clock of node {node} ran back from {before} to {at} for one key"));
            }
        }
        self.promised.insert(event.event_key(), event);
        Ok(())
    }

    /// The newest timestamp that a node must show for a key: its own last write, even if its wall clock shows less.
    pub(super) fn own(&self, node: usize, key: &Bytes) -> Option<Timestamp> {
        self.issued.get(&(node, key.clone())).copied()
    }

    /// Records that a node declared the time before `until` settled.
    pub(super) fn settle(&mut self, node: usize, until: Timestamp) {
        let settled = self.settled.entry(node).or_default();
        *settled = until.max(*settled);
    }

    /// The end of a node's settled time: it stamps nothing there any more.
    pub(super) fn settled(&self, node: usize) -> Option<Timestamp> {
        self.settled.get(&node).copied()
    }

    /// Whether any client requested this event.
    pub(super) fn knows(&self, event: &Event) -> bool {
        self.times_asked(event) > 0
    }

    /// Compares the final set `events` with the requests and promises. Fails if a promised event is missing, or if an
    /// event occurs more often than clients requested it.
    pub(super) fn judge(&self, events: &BTreeMap<EventKey, Event>) -> Result<(), String> {
        if let Some(lost) = self.promised.keys().find(|event_key| !events.contains_key(event_key)) {
            return Err(format!("the acknowledged event {lost} is lost"));
        }
        let mut found: BTreeMap<EventId, u64> = BTreeMap::new();
        for event in events.values() {
            let Some(content) = content(event.key(), event.value()) else { continue };
            let times = found.entry(content).or_default();
            *times += 1;
            if *times > self.times_asked(event) {
                return Err(format!("nobody asked for the event {}, or not so often", event.event_key()));
            }
        }
        Ok(())
    }

    /// The number of promised events.
    pub(super) fn promised(&self) -> usize {
        self.promised.len()
    }

    fn times_asked(&self, event: &Event) -> u64 {
        content(event.key(), event.value()).and_then(|id| self.asked.get(&id).copied()).unwrap_or(0)
    }
}

/// Identifies a write before it has a timestamp.
fn content(key: &Bytes, value: &Value) -> Option<EventId> {
    Event::new(key.clone(), value.clone(), Timestamp::MIN).ok().map(|event| event.id())
}
