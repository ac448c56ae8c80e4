//! What clients wrote, whatever became of it: the plain truth that replicas are held to.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Address, Event, EventId, Timestamp, Value};

/// Everything that was ever asked for, and what was promised.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// How often something of this content was asked for, by the id that it would have at the beginning of time.
    asked: BTreeMap<EventId, u64>,
    /// What was acknowledged as durable.
    promised: BTreeMap<Address, Event>,
    /// The greatest timestamp that a node promised for a key by its own clock.
    issued: BTreeMap<(usize, Bytes), Timestamp>,
    /// The end of the time that a node told to be settled.
    settled: BTreeMap<usize, Timestamp>,
}

impl Ledger {
    /// A client asks for this, and will learn what became of it.
    pub(super) fn ask(&mut self, key: &Bytes, value: &Value) {
        if let Some(content) = content(key, value) {
            *self.asked.entry(content).or_default() += 1;
        }
    }

    /// A node has promised to keep this. If its own clock `stamped` it, it must be later than what it promised for
    /// the key before.
    pub(super) fn promise(&mut self, node: usize, event: Event, stamped: bool) -> Result<(), String> {
        if stamped {
            let at = event.timestamp();
            let before = self.issued.insert((node, event.key().clone()), at);
            if let Some(before) = before.filter(|before| *before >= at) {
                return Err(format!("the clock of node {node} ran back from {before} to {at} for one key"));
            }
        }
        self.promised.insert(event.address(), event);
        Ok(())
    }

    /// What a node must show of a key at least: the last of its own writes, whatever its wall clock shows.
    pub(super) fn own(&self, node: usize, key: &Bytes) -> Option<Timestamp> {
        self.issued.get(&(node, key.clone())).copied()
    }

    /// A node tells that the time before `until` is settled.
    pub(super) fn settle(&mut self, node: usize, until: Timestamp) {
        let settled = self.settled.entry(node).or_default();
        *settled = until.max(*settled);
    }

    /// The end of the time that a node told to be settled: it stamps nothing there any more.
    pub(super) fn settled(&self, node: usize) -> Option<Timestamp> {
        self.settled.get(&node).copied()
    }

    /// Whether anybody ever asked for this.
    pub(super) fn knows(&self, event: &Event) -> bool {
        self.times_asked(event) > 0
    }

    /// What is wrong with `events`, if they are to be all that is left: something promised is missing, or something
    /// is there that nobody, or nobody so often, asked for.
    pub(super) fn judge(&self, events: &BTreeMap<Address, Event>) -> Result<(), String> {
        if let Some(lost) = self.promised.keys().find(|address| !events.contains_key(address)) {
            return Err(format!("the acknowledged event {lost} is lost"));
        }
        let mut found: BTreeMap<EventId, u64> = BTreeMap::new();
        for event in events.values() {
            let Some(content) = content(event.key(), event.value()) else { continue };
            let times = found.entry(content).or_default();
            *times += 1;
            if *times > self.times_asked(event) {
                return Err(format!("nobody asked for the event {}, or not so often", event.address()));
            }
        }
        Ok(())
    }

    /// How many events were promised.
    pub(super) fn promised(&self) -> usize {
        self.promised.len()
    }

    fn times_asked(&self, event: &Event) -> u64 {
        content(event.key(), event.value()).and_then(|id| self.asked.get(&id).copied()).unwrap_or(0)
    }
}

/// What tells one write from another before it has its time.
fn content(key: &Bytes, value: &Value) -> Option<EventId> {
    Event::new(key.clone(), value.clone(), Timestamp::MIN).ok().map(|event| event.id())
}
