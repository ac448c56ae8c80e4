//! The broadcast trees of a node, one for each source of events: the neighbour from which the source's events come, its
//! parent there, and the neighbours to which they are pushed on, its children.
//!
//! Trees form by themselves. A neighbour that asks for an announced event becomes a child: it gets the source's next
//! events without asking. A neighbour that tells of an event of the source is no child any more: it has them from
//! elsewhere. All of this is a guess that saves time and bytes. A wrong guess loses nothing, because every neighbour
//! that is not pushed an event gets its announcement.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::bounds::FEED_EVENTS;
use crate::fault_injection::{Bug, injected};
use crate::message::Source;
use crate::{EventKey, NodeId};

/// Sources remembered. Beyond them the least recently used one is forgotten; its events are announced, and a tree forms
/// anew.
const SOURCES: usize = 4_096;

/// Received events whose source is remembered, until they have been told and asked for: more than wait in a feed.
const RECENT: usize = FEED_EVENTS * 4;

/// The least time that the push of a parent is awaited after another neighbour's announcement.
const PATIENCE: Duration = Duration::from_millis(100);

/// The greatest such time, however long the way to the parent.
pub(super) const MOST_PATIENCE: Duration = Duration::from_millis(500);

/// What a node knows of the sources of events.
#[derive(Debug, Default)]
pub(super) struct Sources {
    trees: BTreeMap<Source, Tree>,
    /// All sources by their last use, least recent first.
    by_use: BTreeMap<u64, Source>,
    /// The number of uses so far.
    uses: u64,
    /// The sources of the events received last.
    recent: BTreeMap<EventKey, Source>,
    /// These events, oldest first.
    order: VecDeque<EventKey>,
}

/// The place of this node in the tree of one source.
#[derive(Debug, Default)]
struct Tree {
    parent: Option<Parent>,
    children: BTreeSet<NodeId>,
    used: u64,
}

/// The neighbour that brought the last new event of a source.
#[derive(Debug, Clone, Copy)]
struct Parent {
    node: NodeId,
    patience: Duration,
}

impl Sources {
    /// Remembers the source of events that are about to arrive.
    pub(super) fn note(&mut self, event_keys: impl IntoIterator<Item = EventKey>, source: Source) {
        if source == Source::UNKNOWN {
            return;
        }
        for event_key in event_keys {
            if self.recent.insert(event_key, source).is_none() {
                self.order.push_back(event_key);
            }
            if self.order.len() > RECENT
                && let Some(oldest) = self.order.pop_front()
            {
                self.recent.remove(&oldest);
            }
        }
    }

    /// The source of an event received lately.
    pub(super) fn of(&self, event_key: EventKey) -> Source {
        self.recent.get(&event_key).copied().unwrap_or(Source::UNKNOWN)
    }

    /// A new event of `source` came from `neighbour`, to which the way there and back takes `round_trip`: it is the
    /// parent.
    pub(super) fn came(&mut self, source: Source, neighbour: NodeId, round_trip: Duration) {
        let patience = (round_trip * 2).clamp(PATIENCE, MOST_PATIENCE);
        if let Some(tree) = self.tree(source) {
            let known = tree.parent.filter(|parent| parent.node == neighbour);
            let patience = known.map_or(patience, |parent| parent.patience.max(patience));
            tree.parent = Some(Parent { node: neighbour, patience });
        }
    }

    /// A push of `neighbour` came after another one had been asked for its event: if it is the parent, its next pushes
    /// are awaited twice as long.
    pub(super) fn was_late(&mut self, source: Source, neighbour: NodeId) {
        if let Some(parent) = self.trees.get_mut(&source).and_then(|tree| tree.parent.as_mut())
            && parent.node == neighbour
        {
            parent.patience = (parent.patience * 2).min(MOST_PATIENCE);
        }
    }

    /// `neighbour` asks for these events: it becomes a child for their sources.
    pub(super) fn graft(&mut self, event_keys: &[EventKey], neighbour: NodeId) {
        let sources: BTreeSet<_> = event_keys.iter().map(|event_key| self.of(*event_key)).collect();
        for source in sources {
            if let Some(tree) = self.tree(source) {
                tree.children.insert(neighbour);
            }
        }
    }

    /// `neighbour` tells of an event of `source`: it has them from elsewhere, and is no child.
    pub(super) fn prune(&mut self, source: Source, neighbour: NodeId) {
        if let Some(tree) = self.trees.get_mut(&source)
            && !injected(Bug::NeverPrunes)
        {
            tree.children.remove(&neighbour);
        }
    }

    /// Whether the events of `source` are pushed to `neighbour`.
    pub(super) fn is_child(&self, source: Source, neighbour: NodeId) -> bool {
        self.trees.get(&source).is_some_and(|tree| tree.children.contains(&neighbour))
    }

    /// How long the push of the parent is awaited before `announcer` is asked for an event of `source`; `None`: it is
    /// asked at once.
    pub(super) fn patience(&self, source: Source, announcer: NodeId) -> Option<Duration> {
        let parent = self.trees.get(&source)?.parent?;
        (parent.node != announcer).then_some(parent.patience)
    }

    /// The connection to `neighbour` is over: it is neither a parent nor a child.
    pub(super) fn leave(&mut self, neighbour: NodeId) {
        for tree in self.trees.values_mut() {
            tree.parent = tree.parent.filter(|parent| parent.node != neighbour);
            tree.children.remove(&neighbour);
        }
    }

    /// The tree of a source, which counts as used now; `None` for the unknown source.
    fn tree(&mut self, source: Source) -> Option<&mut Tree> {
        if source == Source::UNKNOWN {
            return None;
        }
        if self.trees.len() >= SOURCES
            && !self.trees.contains_key(&source)
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.trees.remove(&oldest);
        }
        self.uses += 1;
        let tree = self.trees.entry(source).or_default();
        self.by_use.remove(&tree.used);
        tree.used = self.uses;
        self.by_use.insert(self.uses, source);
        Some(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, Timestamp};

    const NEAR: Duration = Duration::from_millis(1);

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn source(number: u64) -> Source {
        Source(number.to_be_bytes())
    }

    fn event_key(number: u64) -> EventKey {
        EventKey { timestamp: Timestamp::from_millis(number), id: EventId::from_bytes([0; 32]) }
    }

    #[test]
    fn a_neighbour_that_asks_is_a_child_until_it_tells_of_an_event() {
        let mut sources = Sources::default();
        sources.note([event_key(1)], source(7));
        sources.graft(&[event_key(1), event_key(2)], node(1));
        assert!(sources.is_child(source(7), node(1)));
        assert!(!sources.is_child(source(7), node(2)) && !sources.is_child(source(8), node(1)));
        sources.prune(source(8), node(1));
        assert!(sources.is_child(source(7), node(1)), "that was another source");
        sources.prune(source(7), node(1));
        assert!(!sources.is_child(source(7), node(1)));
    }

    #[test]
    fn the_unknown_source_has_no_tree() {
        let mut sources = Sources::default();
        sources.note([event_key(1)], Source::UNKNOWN);
        sources.graft(&[event_key(1)], node(1));
        sources.came(Source::UNKNOWN, node(1), NEAR);
        assert!(!sources.is_child(Source::UNKNOWN, node(1)));
        assert_eq!(sources.patience(Source::UNKNOWN, node(2)), None);
        assert!(sources.trees.is_empty() && sources.recent.is_empty());
    }

    #[test]
    fn others_are_asked_after_the_parent_had_its_time() {
        let mut sources = Sources::default();
        assert_eq!(sources.patience(source(7), node(2)), None, "there is no parent yet");
        sources.came(source(7), node(1), NEAR);
        assert_eq!(sources.patience(source(7), node(2)), Some(PATIENCE));
        assert_eq!(sources.patience(source(7), node(1)), None, "the parent announces it itself");
        sources.came(source(7), node(1), PATIENCE);
        assert_eq!(sources.patience(source(7), node(2)), Some(PATIENCE * 2));
        sources.came(source(7), node(1), MOST_PATIENCE);
        assert_eq!(sources.patience(source(7), node(2)), Some(MOST_PATIENCE));
    }

    #[test]
    fn a_parent_that_was_late_gets_more_time_while_it_stays_the_parent() {
        let mut sources = Sources::default();
        sources.came(source(7), node(1), NEAR);
        sources.was_late(source(7), node(2));
        assert_eq!(sources.patience(source(7), node(3)), Some(PATIENCE), "another one was");
        sources.was_late(source(7), node(1));
        sources.came(source(7), node(1), NEAR);
        assert_eq!(sources.patience(source(7), node(3)), Some(PATIENCE * 2));
        (0..9).for_each(|_| sources.was_late(source(7), node(1)));
        assert_eq!(sources.patience(source(7), node(3)), Some(MOST_PATIENCE));
        sources.came(source(7), node(2), NEAR);
        assert_eq!(sources.patience(source(7), node(3)), Some(PATIENCE));
    }

    #[test]
    fn a_lost_neighbour_is_neither_parent_nor_child() {
        let mut sources = Sources::default();
        sources.note([event_key(1)], source(7));
        sources.came(source(7), node(1), NEAR);
        sources.graft(&[event_key(1)], node(1));
        sources.graft(&[event_key(1)], node(2));
        sources.leave(node(1));
        assert_eq!(sources.patience(source(7), node(3)), None);
        assert!(!sources.is_child(source(7), node(1)) && sources.is_child(source(7), node(2)));
    }

    #[test]
    fn sources_without_end_take_no_more_room_and_the_used_ones_stay() {
        let mut sources = Sources::default();
        for number in 1..=SOURCES as u64 * 3 {
            sources.note((0..8).map(|part| event_key(number + (part << 40))), source(number));
            sources.came(source(number), node(1), NEAR);
            sources.came(source(1), node(2), NEAR);
        }
        assert_eq!((sources.trees.len(), sources.by_use.len()), (SOURCES, SOURCES));
        assert_eq!((sources.recent.len(), sources.order.len()), (RECENT, RECENT));
        assert!(sources.patience(source(1), node(1)).is_some(), "it is in use");
        assert!(sources.patience(source(2), node(2)).is_none(), "it is forgotten");
    }
}
