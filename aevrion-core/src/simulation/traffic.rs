//! The traffic: counted, and hashed into the transcript that compares two runs.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::plan::Plan;
use super::redundancy::Redundancy;
use super::spread::Spread;
use super::topology::reach;
use crate::message::{EventList, Events, Message, NeedEvents, Reply};
use crate::{Event, EventKey};

/// The totals over all sent messages.
pub(super) struct Traffic {
    transcript: blake3::Hasher,
    began: Instant,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// Messages that compare or repair differences.
    pub(super) repairs: u64,
    /// Snapshots with a digest.
    pub(super) digests: u64,
    /// Events sent, each as often as it was.
    pub(super) transmissions: u64,
    /// Events sent that were new to the receiver.
    pub(super) useful: u64,
    /// Events that reached nodes that had them.
    pub(super) redundancy: Redundancy,
    /// The first arrival of each event at each node.
    came: BTreeMap<(usize, EventKey), Came>,
    /// When an event was first sent or announced: a buffered write is durable, and told, a while after its answer.
    first_told: BTreeMap<EventKey, Instant>,
    /// How often an event was sent or announced from one node to another.
    told: BTreeMap<(usize, usize, EventKey), Told>,
    /// An event that was announced to the node that sent it.
    echo: Option<(usize, usize, EventKey)>,
    /// Events that came to a node by a repair.
    mended: BTreeSet<(usize, EventKey)>,
    /// A node that requested an event which it had had for a while.
    forgetful: Option<(usize, EventKey)>,
}

/// The arrival of an event at a node.
#[derive(Debug, Clone, Copy)]
struct Came {
    at: Instant,
    from: usize,
    /// The number of links taken; 0 at the writer.
    hops: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Told {
    sent: u32,
    announced: u32,
}

impl Traffic {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            transcript: blake3::Hasher::new(),
            began,
            messages: 0,
            bytes: 0,
            repairs: 0,
            digests: 0,
            transmissions: 0,
            useful: 0,
            redundancy: Redundancy::default(),
            came: BTreeMap::new(),
            echo: None,
            mended: BTreeSet::new(),
            forgetful: None,
            first_told: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Records a sent message. `detailed`: whether to record the receivers of each event, which takes memory.
    pub(super) fn sent(
        &mut self,
        (from, to): (usize, usize),
        message: &Message,
        frame: &[u8],
        detailed: bool,
    ) {
        tracing::trace!("{:10.3} s  {from} → {to}  {message}", self.began.elapsed().as_secs_f64());
        self.note(from, to, frame);
        self.messages += 1;
        self.bytes += frame.len() as u64;
        self.repairs += u64::from(is_repair(message));
        self.digests += u64::from(matches!(message, Message::Snapshot(snapshot) if snapshot.cells.is_some()));
        self.transmissions += message.events().len() as u64;
        if let Message::EventList(EventList::Announced { event_keys, .. }) = message {
            self.redundancy.announced(event_keys.len());
        }
        if !detailed {
            return;
        }
        for event_key in message.events().iter().map(Event::event_key) {
            self.first_told.entry(event_key).or_insert_with(Instant::now);
            self.told.entry((from, to, event_key)).or_default().sent += 1;
        }
        if let Message::NeedEvents(NeedEvents::At(event_keys)) = message {
            let had = |event_key: &&EventKey| {
                self.came.get(&(from, **event_key)).is_some_and(|came| came.at < Instant::now())
            };
            self.forgetful =
                self.forgetful.or(event_keys.iter().find(had).map(|event_key| (from, *event_key)));
        }
        if let Message::EventList(EventList::Announced { event_keys, .. }) = message {
            for event_key in event_keys {
                self.first_told.entry(*event_key).or_insert_with(Instant::now);
                self.told.entry((from, to, *event_key)).or_default().announced += 1;
                if self.came.get(&(from, *event_key)).is_some_and(|came| came.from == to) {
                    self.echo = Some((from, to, *event_key));
                }
            }
        }
    }

    /// Records a received message.
    pub(super) fn received(&mut self, (from, to): (usize, usize), message: &Message) {
        if is_repair(message) {
            self.mended.extend(message.events().iter().map(|event| (to, event.event_key())));
        }
        for event in message.events() {
            let hops = self.came.get(&(from, event.event_key())).map_or(1, |came| came.hops + 1);
            let useful = &mut self.useful;
            self.came.entry((to, event.event_key())).or_insert_with(|| {
                *useful += 1;
                Came { at: Instant::now(), from, hops }
            });
        }
    }

    /// Records an event that a node wrote itself.
    pub(super) fn wrote(&mut self, node: usize, event_key: EventKey) {
        self.came.entry((node, event_key)).or_insert(Came { at: Instant::now(), from: node, hops: 0 });
    }

    /// Adds data to the transcript.
    pub(super) fn note(&mut self, from: usize, to: usize, what: &[u8]) {
        let at = self.began.elapsed().as_micros();
        self.transcript.update(&at.to_be_bytes());
        self.transcript.update(&[from as u64, to as u64].map(u64::to_be_bytes).concat());
        self.transcript.update(what);
    }

    /// The transcript, for comparing two runs.
    pub(super) fn transcript(&self) -> String {
        self.transcript.finalize().to_hex()[..16].to_owned()
    }

    /// The greatest number of links that an event took to reach a node.
    pub(super) fn rounds(&self) -> u32 {
        self.came.values().map(|came| came.hops).max().unwrap_or(0)
    }

    /// The spread of the later half of the events written by clients.
    pub(super) fn later(&self) -> Option<Spread> {
        let writes = self.came.iter().filter(|(_, came)| came.hops == 0).map(|((_, event_key), _)| event_key);
        let told_at = |event_key| self.first_told.get(event_key).map(|at| (*at, *event_key));
        let mut writes: Vec<_> = writes.filter_map(told_at).collect();
        writes.sort_unstable();
        let later: BTreeMap<_, _> =
            writes.split_off(writes.len() / 2).into_iter().map(|(at, event_key)| (event_key, at)).collect();
        let sent = self.told.iter().filter(|((_, _, event_key), _)| later.contains_key(event_key));
        let sent = sent.map(|(_, told)| u64::from(told.sent)).sum();
        let arrivals = self.came.iter().filter(|(_, came)| came.hops > 0);
        let arrivals = arrivals.filter_map(|((_, event_key), came)| {
            later.get(event_key).map(|told| (came.hops, came.at.saturating_duration_since(*told)))
        });
        Spread::new(later.len(), sent, arrivals.collect())
    }

    /// Without trouble an event is sent and announced at most once in either direction of a link, and not announced to
    /// the node that sent it; anything more is a loop, or will be one. Repairs are rare: a newly stored event with an
    /// old timestamp may be found missing before it is announced, or while it takes longer to arrive than the quickest
    /// handshakes did. Each such repair is up to eight messages, ends of answers among them.
    pub(super) fn judge_calm(&self, plan: &Plan) -> Result<(), String> {
        self.judge_told(plan)?;
        // A long burst takes longer to arrive.
        let each = if plan.dense { 8 } else { 4 };
        if self.repairs > plan.nodes as u64 * each {
            return Err(format!("{} messages of repairs where there was no trouble", self.repairs));
        }
        if let Some((from, to, event_key)) = self.echo {
            return Err(format!("node {from} announced {event_key} to node {to}, which it has it from"));
        }
        if let Some((node, event_key)) = self.forgetful {
            return Err(format!("node {node} asked for {event_key}, which it had"));
        }
        // A repair may send an event already in flight.
        let most = 1 + u32::from(self.repairs > 0);
        let excess = self.told.iter().find(|(_, told)| told.sent > most || told.announced > most);
        if let Some(((from, to, event_key), Told { sent, announced })) = excess {
            let often = format!("sent it {sent} times and announced it {announced} times");
            return Err(format!("node {from} told node {to} of {event_key} too often: {often}"));
        }
        match self.later().filter(|_| plan.is_crowd()) {
            Some(later) => later.judge(reach(plan.nodes, &plan.links())),
            None => Ok(()),
        }
    }

    /// Each node tells each neighbour of each event, but for the neighbour that the event came from. What a repair brings
    /// may be left to the next comparison.
    fn judge_told(&self, plan: &Plan) -> Result<(), String> {
        let links: BTreeSet<_> = plan.links().into_iter().flat_map(|(a, b)| [(a, b), (b, a)]).collect();
        for ((node, event_key), came) in self.came.iter().filter(|(place, _)| !self.mended.contains(place)) {
            let mut neighbours = links.range((*node, 0)..(node + 1, 0)).map(|(_, neighbour)| *neighbour);
            let untold = |to: &usize| *to != came.from && !self.told.contains_key(&(*node, *to, *event_key));
            if let Some(to) = neighbours.find(untold) {
                return Err(format!("node {node} did not tell node {to} of {event_key}"));
            }
        }
        Ok(())
    }
}

/// Whether the message would not be sent between agreeing sides.
fn is_repair(message: &Message) -> bool {
    match message {
        Message::Nodes(_)
        | Message::EventList(
            EventList::Held(_) | EventList::Lacked(_) | EventList::LackedIn(_) | EventList::Cells(_),
        )
        | Message::NeedEvents(NeedEvents::Of(_) | NeedEvents::Cells { .. })
        | Message::Events(Events { reply: Reply::Part | Reply::End(_), .. }) => true,
        Message::Hello(_)
        | Message::Push(_)
        | Message::Snapshot(_)
        | Message::EventList(EventList::Announced { .. })
        | Message::NeedEvents(NeedEvents::At(_))
        | Message::Events(Events { reply: Reply::At { .. }, .. }) => false,
    }
}
