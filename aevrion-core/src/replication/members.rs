//! The known members of the cluster: their identities, their listening addresses, when they were last seen, and until
//! when they agreed.
//!
//! A node becomes known when it connects, or when the node that admitted it names it. An address becomes known when an
//! operator names it. Both stay known while the node is away, and across restarts if the list is kept, until they are
//! forgotten: the events that an absent member writes will arrive later. An address that a member claims is dialled
//! like any other. Dialling authenticates the node there, so a wrong claim costs one attempt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Peer, lock};
use crate::bounds::{MEMBERS, TOLD};
use crate::{NodeId, Timestamp, steady};

/// A node of the cluster, or an address whose node is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The node's identity; `None` until a node was found at its address.
    pub id: Option<NodeId>,
    /// The listening addresses that the node itself claims.
    pub listens: Vec<Peer>,
    /// The addresses at which it was found, or which others named.
    pub told: Vec<Peer>,
    /// The time of its last connection; `None` if it never connected.
    pub last_seen: Option<Timestamp>,
    /// Both sides held the same events before this time at their last comparison.
    pub agreed_until: Option<Timestamp>,
}

impl Member {
    /// A member without addresses and history.
    pub fn new(id: Option<NodeId>) -> Self {
        Self { id, listens: Vec::new(), told: Vec::new(), last_seen: None, agreed_until: None }
    }

    /// Its possible addresses, the most reliable first.
    pub fn addresses(&self) -> impl Iterator<Item = &Peer> {
        self.told.iter().chain(self.listens.iter().filter(|peer| !self.told.contains(peer)))
    }

    fn is_at(&self, peer: &Peer) -> bool {
        self.told.contains(peer) || self.listens.contains(peer)
    }

    /// Puts an address first in `told`. Only the latest [`TOLD`] addresses are kept.
    fn tell(&mut self, peer: &Peer) {
        if !self.told.contains(peer) {
            self.told.insert(0, peer.clone());
            self.told.truncate(TOLD);
        }
    }

    /// Replaces its listening addresses. An address in `told` that it no longer listens at is replaced, too.
    fn listen(&mut self, listens: Vec<Peer>) {
        let before = std::mem::replace(&mut self.listens, listens);
        let has_left = |peer: &mut Peer| before.contains(peer) && !self.listens.contains(peer);
        let left: Vec<Peer> = self.told.extract_if(.., has_left).collect();
        let instead = |peer: &&Peer| left.iter().any(|old| old.transport() == peer.transport());
        let instead: Vec<Peer> = self.listens.iter().filter(instead).cloned().collect();
        instead.iter().rev().for_each(|peer| self.tell(peer));
    }

    fn strike(&mut self, is_meant: &impl Fn(&Peer) -> bool) {
        self.told.retain(|peer| !is_meant(peer));
        self.listens.retain(|peer| !is_meant(peer));
    }
}

/// A member and its relation to this process.
#[derive(Debug)]
struct Record {
    member: Member,
    /// The time until which it agreed at the end of its last connection to this process. Earlier agreement does not
    /// count: this store may be an older copy of the store that agreed.
    settled: Option<Timestamp>,
    /// Since when this process misses it; `None` while it is connected.
    away: Option<Instant>,
}

impl Record {
    fn new(member: Member) -> Self {
        Self { member, settled: None, away: Some(steady::now()) }
    }
}

/// The list of members, in the order in which they became known. A clone shares it.
#[derive(Debug, Clone, Default)]
pub struct Members(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    records: Mutex<Vec<Record>>,
    /// Counts changes of the members and of their addresses.
    changed: watch::Sender<u64>,
}

impl Members {
    /// Restores a [kept](Members::list) list. All members are away at first.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let records = members.into_iter().take(MEMBERS).map(Record::new).collect();
        Self(Arc::new(Inner { records: Mutex::new(records), changed: watch::Sender::default() }))
    }

    /// All members, each as of the end of its last connection.
    pub fn list(&self) -> Vec<Member> {
        self.records().iter().map(|record| record.member.clone()).collect()
    }

    /// The addresses of all members, without duplicates.
    pub fn peers(&self) -> Vec<Peer> {
        let records = self.records();
        let mut peers: Vec<Peer> = Vec::new();
        for peer in records.iter().flat_map(|record| record.member.addresses()) {
            if !peers.contains(peer) {
                peers.push(peer.clone());
            }
        }
        peers
    }

    /// Changes whenever a member becomes known, changes its address, or is forgotten.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Adds an address whose node is unknown. A member's claim to this address does not identify the node there.
    pub fn expect(&self, peer: &Peer) {
        self.change(|records| {
            let is_known = records.iter().any(|record| record.member.told.contains(peer));
            !is_known && add(records, Member { told: vec![peer.clone()], ..Member::new(None) }).is_some()
        });
    }

    /// Adds `node` with these addresses.
    pub fn introduce(&self, node: NodeId, peers: &[Peer]) {
        self.change(|records| {
            let Some(record) = record_of(records, node) else { return false };
            peers.iter().rev().for_each(|peer| record.member.tell(peer));
            true
        });
    }

    /// The nodes whose identity begins with this prefix, in hexadecimal digits.
    pub fn named(&self, prefix: &str) -> Vec<NodeId> {
        let ids = self.records().iter().filter_map(|record| record.member.id).collect::<Vec<_>>();
        ids.into_iter().filter(|id| id.to_string().starts_with(prefix)).collect()
    }

    /// Forgets a node until it connects by itself: it is not dialled or waited for any more. An existing connection
    /// stays open.
    pub fn forget(&self, node: NodeId) -> Option<Member> {
        let mut forgotten = None;
        self.change(|records| {
            let place = records.iter().position(|record| record.member.id == Some(node));
            forgotten = place.map(|place| records.remove(place).member);
            forgotten.is_some()
        });
        forgotten
    }

    /// Forgets the selected addresses: an absent node entirely, a connected node's address only. Returns the forgotten
    /// parts.
    pub fn forget_at(&self, is_meant: impl Fn(&Peer) -> bool) -> Vec<Member> {
        let mut forgotten = Vec::new();
        self.change(|records| {
            for mut record in std::mem::take(records) {
                let meant: Vec<_> =
                    record.member.addresses().filter(|peer| is_meant(peer)).cloned().collect();
                if meant.is_empty() {
                    records.push(record);
                } else if record.away.is_some() {
                    forgotten.push(record.member);
                } else {
                    record.member.strike(&is_meant);
                    forgotten.push(Member { told: meant, ..Member::new(record.member.id) });
                    records.push(record);
                }
            }
            !forgotten.is_empty()
        });
        forgotten
    }

    /// Records that a node has connected from an address, and its listening addresses.
    pub(super) fn met(&self, node: NodeId, from: Option<&Peer>, listens: Vec<Peer>, now: Timestamp) {
        self.change(|records| {
            let was_expected = from.is_some_and(|from| identify(records, node, from));
            let is_new = records.iter().all(|record| record.member.id != Some(node));
            let Some(record) = record_of(records, node) else {
                tracing::warn!(%node, "a node was not noted, for {MEMBERS} are known: forget those that are gone");
                return false;
            };
            let before = record.member.clone();
            record.member.listen(listens);
            record.member.last_seen = Some(now);
            record.away = None;
            let has_moved = record.member.listens != before.listens || record.member.told != before.told;
            was_expected || is_new || has_moved
        });
    }

    /// Records that the last connection to a node has ended. A forgotten node stays forgotten.
    pub(super) fn parted(&self, node: NodeId, agreed: Option<Timestamp>, now: Timestamp) {
        let mut records = self.records();
        let Some(record) = records.iter_mut().find(|record| record.member.id == Some(node)) else { return };
        record.settled = record.settled.max(agreed);
        record.member.agreed_until = record.member.agreed_until.max(agreed);
        if record.away.is_none() {
            record.member.last_seen = Some(now);
            record.away = Some(steady::now());
        }
    }

    /// Records that a node was authenticated at this address.
    pub(super) fn found(&self, node: NodeId, peer: &Peer) {
        self.change(|records| {
            let mut changed = identify(records, node, peer);
            for record in records.iter_mut().filter(|record| record.member.id != Some(node)) {
                changed |= record.member.is_at(peer);
                record.member.strike(&|struck| struck == peer);
            }
            if let Some(record) = record_of(records, node)
                && !record.member.is_at(peer)
            {
                record.member.tell(peer);
                changed = true;
            }
            changed
        });
    }

    /// Removes this node's own address from all members.
    pub(super) fn strike(&self, peer: &Peer) {
        self.change(|records| {
            let mut changed = false;
            for record in records.iter_mut().filter(|record| record.member.is_at(peer)) {
                record.member.strike(&|struck| struck == peer);
                changed = true;
            }
            records.retain(|record| record.member.id.is_some() || !record.member.told.is_empty());
            changed
        });
    }

    /// Whether a member has this address.
    pub(super) fn is_wanted(&self, peer: &Peer) -> bool {
        self.records().iter().any(|record| record.member.is_at(peer))
    }

    /// The nodes that may be at this address. Empty if the address was named without a node and none was found there
    /// yet.
    pub(super) fn at(&self, peer: &Peer) -> Vec<NodeId> {
        let records = self.records();
        let there =
            || records.iter().filter(|record| record.member.is_at(peer)).map(|record| record.member.id);
        // One unknown node makes the whole list empty.
        there().collect::<Option<_>>().unwrap_or_default()
    }

    /// The number of more reliable addresses, among the `dialled` ones, of the node that may be at this address.
    pub(super) fn surer(&self, peer: &Peer, dialled: impl Fn(&Peer) -> bool) -> usize {
        let records = self.records();
        let there = records.iter().filter(|record| record.member.is_at(peer));
        let surer = |record: &Record| {
            let before = record.member.addresses().take_while(|address| *address != peer);
            before.filter(|address| dialled(address)).count()
        };
        there.map(surer).min().unwrap_or_default()
    }

    /// The record of a node.
    pub(super) fn get(&self, node: NodeId) -> Option<Member> {
        let records = self.records();
        records.iter().find(|record| record.member.id == Some(node)).map(|record| record.member.clone())
    }

    /// The members that are not connected, and for how long this process has missed them.
    pub(super) fn away(&self) -> Vec<(Member, Duration)> {
        let records = self.records();
        records
            .iter()
            .filter_map(|record| Some((record.member.clone(), steady::since(record.away?))))
            .collect()
    }

    /// The time until which each node agreed at the end of its last connection to this process.
    pub(super) fn settled(&self) -> BTreeMap<NodeId, Option<Timestamp>> {
        let records = self.records();
        records.iter().filter_map(|record| Some((record.member.id?, record.settled))).collect()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Record>) -> bool) {
        // The lock is released before anyone is woken.
        let changed = change(&mut self.records());
        if changed {
            self.0.changed.send_modify(|changes| *changes += 1);
        }
    }

    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        lock(&self.0.records)
    }
}

/// The record of a node, created if missing. `None` if the list is full.
fn record_of(records: &mut Vec<Record>, node: NodeId) -> Option<&mut Record> {
    match records.iter().position(|record| record.member.id == Some(node)) {
        Some(place) => records.get_mut(place),
        None => add(records, Member::new(Some(node))),
    }
}

fn add(records: &mut Vec<Record>, member: Member) -> Option<&mut Record> {
    if records.len() >= MEMBERS {
        return None;
    }
    records.push(Record::new(member));
    records.last_mut()
}

/// Assigns the node to the entry of this address. Returns whether there was such an entry.
fn identify(records: &mut Vec<Record>, node: NodeId, peer: &Peer) -> bool {
    let is_expected = |record: &Record| record.member.id.is_none() && record.member.told.contains(peer);
    let Some(place) = records.iter().position(is_expected) else { return false };
    match records.iter_mut().find(|record| record.member.id == Some(node)) {
        Some(known) => {
            known.member.tell(peer);
            records.remove(place);
        }
        // The node takes over the entry's place in the list.
        None => records[place].member.id = Some(node),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn peer(port: u16) -> Peer {
        Peer::over("tcp", format!("192.0.2.1:{port}"))
    }

    fn addresses(members: &Members, node: NodeId) -> Vec<Peer> {
        members.get(node).map(|member| member.addresses().cloned().collect()).unwrap_or_default()
    }

    #[tokio::test]
    async fn who_is_found_at_an_expected_address_is_one_node() {
        let members = Members::default();
        let mut changes = members.changes();
        members.expect(&peer(1));
        members.expect(&peer(1));
        members.expect(&peer(9));
        assert_eq!((members.list().len(), members.at(&peer(1))), (2, Vec::new()));
        members.found(id(1), &peer(1));
        assert_eq!(members.list()[0].id, Some(id(1)), "it keeps its place in the list");
        members.strike(&peer(9));
        assert_eq!((members.list().len(), members.at(&peer(1))), (1, vec![id(1)]));
        members.met(id(1), None, vec![peer(1), peer(2)], NOW);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        members.met(id(1), None, vec![peer(1), peer(2)], NOW.after(Duration::from_secs(60)));
        members.parted(id(1), None, NOW.after(Duration::from_secs(60)));
        members.expect(&peer(1));
        assert!(!changes.has_changed().unwrap(), "that it was seen again is no change of who is where");
        assert_eq!(addresses(&members, id(1)), [peer(1), peer(2)]);
    }

    #[tokio::test]
    async fn a_claim_is_no_proof() {
        let members = Members::default();
        members.expect(&peer(1));
        members.met(id(1), Some(&peer(9)), vec![peer(1), peer(2)], NOW);
        assert_eq!(members.at(&peer(1)), [], "who is at the expected address is not known");
        assert_eq!(members.at(&peer(2)), [id(1)]);
        members.found(id(2), &peer(1));
        members.found(id(2), &peer(2));
        assert_eq!(
            (addresses(&members, id(1)), addresses(&members, id(2))),
            (vec![], vec![peer(2), peer(1)])
        );
        let surer = |port, but| members.surer(&peer(port), |one| *one != peer(but));
        assert_eq!((surer(2, 9), surer(1, 9), surer(1, 2), surer(5, 9)), (0, 1, 0, 0));
        members.strike(&peer(2));
        assert_eq!(addresses(&members, id(2)), [peer(1)]);
    }

    #[tokio::test]
    async fn one_that_moves_is_not_sought_where_it_was() {
        let members = Members::default();
        members.introduce(id(1), &[peer(1), peer(7)]);
        members.met(id(1), None, vec![peer(1)], NOW);
        members.met(id(1), None, vec![peer(2)], NOW);
        assert_eq!(addresses(&members, id(1)), [peer(2), peer(7)], "it never said that it was there");
        assert_eq!(members.list()[0].told, [peer(2), peer(7)], "newcomers are told where it is now");
        assert!(!members.is_wanted(&peer(1)));
    }

    #[tokio::test]
    async fn a_list_that_was_kept_says_the_same_and_settles_nothing() {
        let members = Members::default();
        members.expect(&peer(1));
        members.met(id(1), None, vec![peer(2)], NOW);
        members.parted(id(1), Some(NOW), NOW);
        assert_eq!(members.settled(), BTreeMap::from([(id(1), Some(NOW))]));
        let kept = Members::new(members.list());
        assert_eq!(kept.list(), members.list());
        assert_eq!(kept.settled(), BTreeMap::from([(id(1), None)]), "the store may be an older copy");
    }

    #[tokio::test]
    async fn who_is_forgotten_comes_back_by_itself_only() {
        let members = Members::default();
        members.met(id(1), None, vec![peer(1), peer(2)], NOW);
        members.met(id(2), None, vec![peer(3)], NOW);
        assert_eq!((members.named("01"), members.named("03")), (vec![id(1)], vec![]));
        assert!(members.forget(id(1)).is_some() && members.forget(id(1)).is_none());
        members.parted(id(1), Some(NOW), NOW);
        assert!(members.get(id(1)).is_none(), "the end of its connection brings it back");
        // A connected node loses the address only, an absent one is forgotten entirely.
        members.met(id(1), None, vec![peer(1), peer(2)], NOW);
        let at_one = |members: &Members| members.forget_at(|peer| peer.address().ends_with(":1"));
        assert_eq!(at_one(&members), [Member { told: vec![peer(1)], ..Member::new(Some(id(1))) }]);
        assert_eq!(addresses(&members, id(1)), [peer(2)]);
        members.met(id(1), None, vec![peer(1), peer(2)], NOW);
        members.parted(id(1), None, NOW);
        assert_eq!(at_one(&members).len(), 1);
        assert_eq!(members.list().iter().map(|member| member.id).collect::<Vec<_>>(), [Some(id(2))]);
    }

    #[tokio::test]
    async fn the_list_is_bounded() {
        let members = Members::default();
        let node = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            NodeId::from_bytes(bytes)
        };
        (0..MEMBERS * 2).for_each(|number| members.met(node(number), None, vec![peer(1)], NOW));
        assert_eq!(members.list().len(), MEMBERS);
        (1..100).for_each(|port| members.introduce(node(0), &[peer(port)]));
        assert_eq!(members.get(node(0)).map(|member| member.told), Some((96..100).rev().map(peer).collect()));
    }
}
