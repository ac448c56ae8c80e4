//! Verifying: everything that is stored against everything else that is stored.
//!
//! Events against their ids, the index against the events, the tree against a tree computed from the events alone,
//! arrivals and counts against both.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::derived::{node_has_events, stands_for_event};
use super::{ReadState, Replica, Shared};
use crate::arrivals::{Run, Runs};
use crate::bounds::FINDINGS_LISTED;
use crate::event::is_reserved;
use crate::events::EventPages;
use crate::store::{KeyRange, Pages, Projection, Table, View};
use crate::tables::{IndexRow, address_key, name, node_key, parse_node_value, sequence_key};
use crate::tree::{Node, NodeAddress, NodeSink, Root, TreePass};
use crate::{Damage, Event, ReadError};

/// How far a long piece of work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: &'static str,
    /// Rows done in this phase.
    pub done: u64,
    /// Rows to do in this phase, as far as is known.
    pub total: u64,
}

/// What `verify` found.
#[derive(Debug, Clone)]
pub struct Verification {
    /// Events that match their ids.
    pub events: u64,
    /// Keys of clients in the index, written or pending.
    pub keys: u64,
    /// The root computed from the events alone.
    pub root: Root,
    /// What is wrong in derived tables, which `rebuild` makes again. The first hundred.
    pub mendable: Vec<Damage>,
    /// What is wrong beyond that: events that are lost unless another copy exists. The first hundred.
    pub lost: Vec<Damage>,
    /// All that is wrong, listed or not.
    pub findings: u64,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings == 0
    }
}

impl Replica {
    /// Checks everything that is stored, and reports `progress` now and then. Cost: reads every row and hashes every
    /// event. Writes go on meanwhile, unless the store has no isolated views: then they wait. Dropping the future stops
    /// it.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read. Damage is no error, but part of the answer.
    pub async fn verify(&self, progress: impl FnMut(Progress) + Send) -> Result<Verification, ReadError> {
        let walk = if self.shared.capabilities.isolated_views { None } else { Some(self.walk(None).await?) };
        let state = match &walk {
            Some(walk) => Arc::clone(walk.state()),
            None => self.shared.state()?,
        };
        let check = Check {
            state: &state,
            view: &*state.view,
            shared: &self.shared,
            findings: Findings::default(),
            progress,
        };
        self.noting(check.run().await)
    }
}

/// What was found so far.
#[derive(Default)]
struct Findings {
    mendable: Vec<Damage>,
    lost: Vec<Damage>,
    count: u64,
}

impl Findings {
    fn mendable(&mut self, table: Table, key: &[u8], what: impl Into<String>) {
        self.count += 1;
        note(&mut self.mendable, Damage { table, key: Bytes::copy_from_slice(key), what: what.into() });
    }

    fn lost(&mut self, table: Table, key: &[u8], what: impl Into<String>) {
        self.count += 1;
        note(&mut self.lost, Damage { table, key: Bytes::copy_from_slice(key), what: what.into() });
    }
}

fn note(list: &mut Vec<Damage>, damage: Damage) {
    if list.len() < FINDINGS_LISTED {
        list.push(damage);
    }
}

struct Check<'s, P> {
    state: &'s ReadState,
    view: &'s dyn View,
    shared: &'s Shared,
    findings: Findings,
    progress: P,
}

impl<P: FnMut(Progress) + Send> Check<'_, P> {
    async fn run(mut self) -> Result<Verification, ReadError> {
        let events = self.events().await?;
        self.bodies().await?;
        let keys = self.index().await?;
        self.arrivals().await?;
        let root = self.tree().await?;
        self.counts(root.count, keys);
        let pending_keys = self.state.pending.count_new_keys(self.view).await?;
        let Findings { mendable, lost, count } = self.findings;
        Ok(Verification { events, keys: keys + pending_keys, root, mendable, lost, findings: count })
    }

    fn report(&mut self, phase: &'static str, done: u64, total: u64) {
        (self.progress)(Progress { phase, done, total });
    }

    /// Every event against its id and the limits, and its row in the index. Counts the good ones.
    async fn events(&mut self) -> Result<u64, ReadError> {
        let total = self.state.checkpoint.events;
        let (mut walked, mut good) = (0, 0);
        let mut index_row = BytesMut::new();
        let mut pages = EventPages::behind(self.view, None);
        while let Some(page) = pages.next().await? {
            for (key, event) in page {
                walked += 1;
                match event {
                    Ok(event) => {
                        good += 1;
                        self.shared.damage.sound(&[event.address()]);
                        self.event(&key, &event, &mut index_row).await?;
                    }
                    Err(ReadError::Damaged(damage)) => {
                        self.findings.lost(Table::Events, &key, damage.what.clone());
                        self.shared.note_old_damage(&ReadError::Damaged(damage)).await;
                    }
                    Err(error) => return Err(error),
                }
            }
            self.report("events", walked, total);
        }
        Ok(good)
    }

    async fn event(&mut self, key: &[u8], event: &Event, index_row: &mut BytesMut) -> Result<(), ReadError> {
        if let Err(error) = self.shared.parameters.check(event.key(), event.value()) {
            self.findings.lost(Table::Events, key, error.to_string());
        }
        index_row.clear();
        IndexRow::encode(event.key(), event.address(), index_row);
        if !self.state.pending.contains(index_row) && self.view.get(Table::ByKey, index_row).await?.is_none()
        {
            self.findings.mendable(Table::ByKey, index_row, "the row of this version is missing");
        }
        Ok(())
    }

    /// No body without its event. (An event without its body was found with the events.)
    async fn bodies(&mut self) -> Result<(), ReadError> {
        let mut pages = Pages::new(self.view, Table::Bodies, KeyRange::ALL, Projection::Keys);
        while let Some(page) = pages.next().await? {
            for (key, _) in page.rows() {
                if self.view.get(Table::Events, key).await?.is_none() {
                    self.findings.lost(Table::Bodies, key, "the event of this body is missing");
                }
            }
        }
        Ok(())
    }

    /// No row without its event. Counts the keys.
    async fn index(&mut self) -> Result<u64, ReadError> {
        let total = self.state.checkpoint.next_to_index;
        let (mut walked, mut keys) = (0, 0);
        let mut previous = Vec::new();
        let mut pages = Pages::new(self.view, Table::ByKey, KeyRange::ALL, Projection::Keys);
        while let Some(page) = pages.next().await? {
            for (row, _) in page.rows() {
                walked += 1;
                if !stands_for_event(self.view, row).await? {
                    self.findings.mendable(Table::ByKey, row, "there is no such version");
                    continue;
                }
                let key = IndexRow::key_part(row);
                if key != previous {
                    keys += u64::from(!is_reserved(key));
                    previous = key.to_vec();
                }
            }
            self.report("index", walked, total.max(walked));
        }
        Ok(keys)
    }

    /// The arrivals without a gap, each with its event.
    async fn arrivals(&mut self) -> Result<(), ReadError> {
        let checkpoint = self.state.checkpoint;
        let mut expected = checkpoint.oldest_arrival;
        let total = checkpoint.next_arrival.saturating_sub(expected);
        let mut runs = Runs::all(self.view);
        while let Some(page) = runs.next().await? {
            for run in page {
                match run {
                    Ok(run) => {
                        self.run_of_arrivals(&run, expected).await?;
                        expected = run.end();
                    }
                    Err(ReadError::Damaged(Damage { key, what, .. })) => {
                        self.findings.lost(Table::Arrivals, &key, what);
                    }
                    Err(error) => return Err(error),
                }
            }
            let left = checkpoint.next_arrival.saturating_sub(expected);
            self.report("arrivals", total.saturating_sub(left), total);
        }
        if expected != checkpoint.next_arrival {
            let key = sequence_key(expected);
            self.findings.lost(Table::Arrivals, &key, "this arrival and those after it are missing");
        }
        Ok(())
    }

    async fn run_of_arrivals(&mut self, run: &Run, expected: u64) -> Result<(), ReadError> {
        if run.first != expected {
            let what = format!("the run of arrival {expected} was to follow");
            self.findings.lost(Table::Arrivals, &sequence_key(run.first), what);
        }
        for (sequence, address) in run.from(run.first) {
            if self.view.get(Table::Events, &address_key(address)).await?.is_none() {
                let what = format!("its event {address} is missing");
                self.findings.lost(Table::Arrivals, &sequence_key(sequence), what);
            }
        }
        Ok(())
    }

    /// Every stored hash against the one computed from the events.
    async fn tree(&mut self) -> Result<Root, ReadError> {
        let mut compare = Compare {
            view: self.view,
            findings: std::mem::take(&mut self.findings),
            compared: 0,
            events: 0,
            total: self.state.checkpoint.events,
            progress: &mut self.progress,
        };
        let root = TreePass::new(self.view, self.shared.shape, &mut compare).distrusting().root().await;
        let Compare { findings, compared, .. } = compare;
        self.findings = findings;
        let root = root?;
        self.nodes_without_events(compared).await?;
        Ok(root)
    }

    /// Names the stored nodes that stand for nothing, if there are more of them than were `compared`.
    async fn nodes_without_events(&mut self, compared: u64) -> Result<(), ReadError> {
        let mut stored = 0;
        let mut pages = Pages::new(self.view, Table::Nodes, KeyRange::ALL, Projection::Keys);
        while let Some(page) = pages.next().await? {
            stored += u64::try_from(page.len()).unwrap_or(u64::MAX);
        }
        if stored == compared {
            return Ok(());
        }
        let mut pages = Pages::new(self.view, Table::Nodes, KeyRange::ALL, Projection::Keys);
        while let Some(page) = pages.next().await? {
            for (key, _) in page.rows() {
                if !node_has_events(self.view, self.shared.shape, key).await? {
                    self.findings.mendable(Table::Nodes, key, "there are no events below this node");
                }
            }
        }
        Ok(())
    }

    fn counts(&mut self, events: u64, keys: u64) {
        let checkpoint = self.state.checkpoint;
        for (name, stored, counted) in
            [("events", checkpoint.events, events), ("keys", checkpoint.indexed_keys, keys)]
        {
            if stored != counted {
                let what = format!("{stored} {name} were counted, there are {counted}");
                self.findings.mendable(Table::Meta, name::CHECKPOINT.as_bytes(), what);
            }
        }
    }
}

/// Compares computed nodes with stored ones.
struct Compare<'c, P> {
    view: &'c dyn View,
    findings: Findings,
    /// Computed nodes that have a stored row.
    compared: u64,
    events: u64,
    total: u64,
    progress: &'c mut P,
}

impl<P: FnMut(Progress) + Send> NodeSink for &mut Compare<'_, P> {
    async fn take(&mut self, nodes: Vec<(NodeAddress, Node)>) -> Result<(), ReadError> {
        for (address, node) in nodes {
            let key = node_key(address.level, address.index);
            if address.level == 0 {
                self.events += node.count;
            }
            let Some(row) = self.view.get(Table::Nodes, &key).await? else { continue };
            self.compared += 1;
            match parse_node_value(&row) {
                Some((count, hash)) if (Node { count, hash }) == node => {}
                Some((count, _)) if count != node.count => {
                    let what = format!("its count is {count}, there are {} events", node.count);
                    self.findings.mendable(Table::Nodes, &key, what);
                }
                Some(_) => self.findings.mendable(Table::Nodes, &key, "its hash is not that of its events"),
                None => self.findings.mendable(Table::Nodes, &key, "its row cannot be read"),
            }
        }
        (self.progress)(Progress { phase: "tree", done: self.events, total: self.total });
        Ok(())
    }
}
