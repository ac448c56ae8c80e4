//! Events that a list of the neighbour's named and this node lacks: what was asked for by id, so that what comes can
//! be told from what nobody asked for.

use std::collections::BTreeSet;

use super::repair::FULL_IDS;
use crate::Event;
use crate::bounds::{MESSAGE_IDS, MESSAGE_SPANS};
use crate::message::Listed;

/// Ids asked for within scopes, and not seen yet.
#[derive(Debug, Default)]
pub(super) struct Wished(Vec<Listed>);

impl Wished {
    /// Remembers wishes. Returns how many older ones had to be forgotten for them.
    pub(super) fn add(&mut self, wishes: &[Listed]) -> usize {
        self.0.extend_from_slice(wishes);
        let mut ids = self.len();
        let mut lists = self.0.len();
        let old = self.0.iter().take_while(|list| {
            let too_many = ids > MESSAGE_IDS * 2 || lists > MESSAGE_SPANS;
            ids -= if too_many { list.ids.len() } else { 0 };
            lists -= usize::from(too_many);
            too_many
        });
        let old = old.count();
        self.0.drain(..old).map(|list| list.ids.len()).sum()
    }

    /// Strikes off what has come. Returns how many of the events were not wished for. What was wished for twice,
    /// because it was not stored yet when it was listed again, comes twice: each time strikes one wish.
    pub(super) fn take(&mut self, events: &[Event]) -> usize {
        let sorted: Vec<_> = self.0.iter().map(|list| (list.span, list.ids.sorted())).collect();
        let mut come: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); sorted.len()];
        let mut unasked = 0;
        for event in events {
            let lists =
                sorted.iter().zip(&mut come).filter(|((span, _), _)| span.contains(event.timestamp()));
            let mut named = false;
            for ((_, ids), come) in lists {
                let place = ids.position(event.id());
                named |= place.is_some();
                if place.is_some_and(|place| come.insert(place)) {
                    break;
                }
            }
            // Two events can share a short id: then both come for the one that was wished for.
            unasked += usize::from(!named);
        }
        for (list, come) in self.0.iter_mut().zip(&come) {
            list.ids = list.ids.select((0..list.ids.len()).filter(|place| !come.contains(place)));
        }
        self.0.retain(|list| !list.ids.is_empty());
        unasked
    }

    /// The first of them, as many as one message takes.
    pub(super) fn first(&self) -> Vec<Listed> {
        let mut room = FULL_IDS;
        let fits = self.0.iter().take(MESSAGE_SPANS).take_while(|list| {
            let before = room;
            room = room.saturating_sub(list.ids.len());
            before > 0
        });
        fits.map(|list| list.first(FULL_IDS)).collect()
    }

    /// Forgets all. Returns how many there were.
    pub(super) fn clear(&mut self) -> usize {
        let ids = self.len();
        self.0.clear();
        ids
    }

    /// Ids that have not come.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|list| list.ids.len()).sum()
    }
}
