//! The members of the cluster, as far as this node knows them: who they are, where they listen, when they were last
//! seen, and until when they agreed.
//!
//! A node becomes known when it connects, or when the node that let it in names it; an address, when a person names
//! it. Both stay known while they are away, also across restarts if the list is kept, until they are forgotten: what
//! a member writes while it is away will come. An address that a member merely claims is dialled like any other:
//! dialling proves who is there, so a wrong claim costs an attempt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Peer, lock};
use crate::bounds::{MEMBERS, TOLD};
use crate::{NodeId, Timestamp};

/// A node of the cluster, or an address at which one is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who it is; `None` as long as nobody was found at its address.
    pub id: Option<NodeId>,
    /// Where it says that it listens.
    pub listens: Vec<Peer>,
    /// Where it was found, or is said to be by others.
    pub told: Vec<Peer>,
    /// When it was last connected; `None` if it never was.
    pub last_seen: Option<Timestamp>,
    /// Every event before this moment was the same on both sides when they last compared.
    pub agreed_until: Option<Timestamp>,
}

impl Member {
    /// One of which nothing else is known.
    pub fn new(id: Option<NodeId>) -> Self {
        Self { id, listens: Vec::new(), told: Vec::new(), last_seen: None, agreed_until: None }
    }

    /// Where it may be, the surest address first.
    pub fn addresses(&self) -> impl Iterator<Item = &Peer> {
        self.told.iter().chain(self.listens.iter().filter(|peer| !self.told.contains(peer)))
    }

    fn is_at(&self, peer: &Peer) -> bool {
        self.told.contains(peer) || self.listens.contains(peer)
    }

    /// Of many addresses beside those that it names itself the latest are kept.
    fn tell(&mut self, peer: &Peer) {
        if !self.told.contains(peer) {
            self.told.insert(0, peer.clone());
            self.told.truncate(TOLD);
        }
    }

    /// It listens here from now on, and no longer where it did before. What others were told of that is no longer true.
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

/// A member, and how it stands to this process.
#[derive(Debug)]
struct Record {
    member: Member,
    /// Until when it agreed at the end of its last connection to this process. What it agreed on before counts for
    /// nothing: this store may be an older copy of the one that agreed.
    settled: Option<Timestamp>,
    /// Since when it is away, as far as this process knows; `None` while it is connected.
    away: Option<Instant>,
}

impl Record {
    fn new(member: Member) -> Self {
        Self { member, settled: None, away: Some(Instant::now()) }
    }
}

/// The list of members, in the order in which they became known. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Members(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    records: Mutex<Vec<Record>>,
    /// Counts changes of who is known, and where.
    changed: watch::Sender<u64>,
}

impl Members {
    /// A list as it was [kept](Members::list). All of them are away so far.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let records = members.into_iter().take(MEMBERS).map(Record::new).collect();
        Self(Arc::new(Inner { records: Mutex::new(records), changed: watch::Sender::default() }))
    }

    /// All of them, each as of the end of its last connection.
    pub fn list(&self) -> Vec<Member> {
        self.records().iter().map(|record| record.member.clone()).collect()
    }

    /// The addresses of all, each once.
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

    /// Changes whenever somebody becomes known, is found elsewhere, or is forgotten.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Expects somebody at this address. That a member claims to be there is not enough to know who it is.
    pub fn expect(&self, peer: &Peer) {
        self.change(|records| {
            let is_known = records.iter().any(|record| record.member.told.contains(peer));
            !is_known && add(records, Member { told: vec![peer.clone()], ..Member::new(None) }).is_some()
        });
    }

    /// Expects `node` at these addresses.
    pub fn introduce(&self, node: NodeId, peers: &[Peer]) {
        self.change(|records| {
            let Some(record) = record_of(records, node) else { return false };
            peers.iter().rev().for_each(|peer| record.member.tell(peer));
            true
        });
    }

    /// Those whose identity begins so, in hexadecimal digits.
    pub fn named(&self, prefix: &str) -> Vec<NodeId> {
        let ids = self.records().iter().filter_map(|record| record.member.id).collect::<Vec<_>>();
        ids.into_iter().filter(|id| id.to_string().starts_with(prefix)).collect()
    }

    /// Forgets a node: nobody waits for it any more, until it comes by itself. A connection that stands stays.
    pub fn forget(&self, node: NodeId) -> Option<Member> {
        let mut forgotten = None;
        self.change(|records| {
            let place = records.iter().position(|record| record.member.id == Some(node));
            forgotten = place.map(|place| records.remove(place).member);
            forgotten.is_some()
        });
        forgotten
    }

    /// Forgets the node at an address that is meant: a node that is away as a whole, of one that is connected nothing
    /// but the address. Gives what was forgotten.
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

    /// A node has connected from an address, and says where it listens.
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

    /// The last connection to a node has ended. Who was forgotten stays so.
    pub(super) fn parted(&self, node: NodeId, agreed: Option<Timestamp>, now: Timestamp) {
        let mut records = self.records();
        let Some(record) = records.iter_mut().find(|record| record.member.id == Some(node)) else { return };
        record.settled = record.settled.max(agreed);
        record.member.agreed_until = record.member.agreed_until.max(agreed);
        if record.away.is_none() {
            record.member.last_seen = Some(now);
            record.away = Some(Instant::now());
        }
    }

    /// A node has proven that it is at this address.
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

    /// Nobody else is at this address: it is this node's own.
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

    /// Whether somebody is or may be at this address.
    pub(super) fn is_wanted(&self, peer: &Peer) -> bool {
        self.records().iter().any(|record| record.member.is_at(peer))
    }

    /// The nodes that may be at this address, unless somebody named it and nobody was found there yet.
    pub(super) fn at(&self, peer: &Peer) -> Vec<NodeId> {
        let records = self.records();
        let there =
            || records.iter().filter(|record| record.member.is_at(peer)).map(|record| record.member.id);
        // With one that is not known the list is none.
        there().collect::<Option<_>>().unwrap_or_default()
    }

    /// How many addresses of the node that may be at this one are surer, of those that are `dialled`.
    pub(super) fn surer(&self, peer: &Peer, dialled: impl Fn(&Peer) -> bool) -> usize {
        let records = self.records();
        let there = records.iter().filter(|record| record.member.is_at(peer));
        let surer = |record: &Record| {
            let before = record.member.addresses().take_while(|address| *address != peer);
            before.filter(|address| dialled(address)).count()
        };
        there.map(surer).min().unwrap_or_default()
    }

    /// What is known of a node.
    pub(super) fn get(&self, node: NodeId) -> Option<Member> {
        let records = self.records();
        records.iter().find(|record| record.member.id == Some(node)).map(|record| record.member.clone())
    }

    /// Those that are not connected, and since when this process misses them.
    pub(super) fn away(&self) -> Vec<(Member, Duration)> {
        let records = self.records();
        records.iter().filter_map(|record| Some((record.member.clone(), record.away?.elapsed()))).collect()
    }

    /// Until when each node agreed at the end of its last connection to this process.
    pub(super) fn settled(&self) -> BTreeMap<NodeId, Option<Timestamp>> {
        let records = self.records();
        records.iter().filter_map(|record| Some((record.member.id?, record.settled))).collect()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Record>) -> bool) {
        // Nobody is woken before the list is free again.
        let changed = change(&mut self.records());
        if changed {
            self.0.changed.send_modify(|changes| *changes += 1);
        }
    }

    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        lock(&self.0.records)
    }
}

/// The record of a node, made if there is none yet and room for it.
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

/// The node expected at this address is this one. Says whether somebody was.
fn identify(records: &mut Vec<Record>, node: NodeId, peer: &Peer) -> bool {
    let is_expected = |record: &Record| record.member.id.is_none() && record.member.told.contains(peer);
    let Some(place) = records.iter().position(is_expected) else { return false };
    match records.iter_mut().find(|record| record.member.id == Some(node)) {
        Some(known) => {
            known.member.tell(peer);
            records.remove(place);
        }
        // It keeps its place in the list.
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
        // Of one that is connected the address is forgotten, of one that is away everything.
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
