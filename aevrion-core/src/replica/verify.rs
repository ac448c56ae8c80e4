//! Verification of the whole store: events against their ids, the index against the events, the tree against a tree
//! computed from the events alone, arrivals and counts against both.

use super::check::{Check, Finding, Findings, Remedy, TableWalk, fault_of_node};
use super::derived::node_has_events;
use super::handle::Replica;
use super::kept_sketch::{KeptCells, lacking};
use super::read_state::ReadState;
use super::state::Shared;
use super::tree_walk::unchanging;
use crate::bounds::{FINDINGS_LISTED, PAGE_ROWS};
use crate::store::{KeyRange, Pages, Projection, Table, View};
use crate::tables::{name, node_key};
use crate::tree::{Node, NodePosition, NodeSink, Root, TreePass};
use crate::{Damage, ReadError, TimeSpan};

/// The progress of a long piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The name of the present phase.
    pub phase: &'static str,
    /// Rows done in this phase.
    pub done: u64,
    /// Rows to do in this phase, as an estimate.
    pub total: u64,
}

/// The result of a verification.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Verification {
    /// Events that match their ids.
    pub events: u64,
    /// Keys of clients in the index, written or pending.
    pub keys: u64,
    /// The root computed from the events alone.
    pub root: Root,
    /// Faults in derived tables, which `rebuild` mends. The first hundred.
    pub mendable: Vec<Damage>,
    /// All other faults: events that are lost unless another copy exists. The first hundred.
    pub lost: Vec<Damage>,
    /// The number of faults, listed or not.
    pub findings: u64,
}

impl Verification {
    /// Whether there is no fault.
    pub fn is_clean(&self) -> bool {
        self.findings == 0
    }
}

impl Replica {
    /// Checks the whole store, and reports `progress` now and then. Cost: reads every row and hashes every event.
    /// Writes go on meanwhile, unless the store has no isolated views: then they wait. Dropping the future stops it.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read. Damage is part of the result, and no error.
    pub async fn verify(&self, progress: impl FnMut(Progress) + Send) -> Result<Verification, ReadError> {
        let (_, _unchanging) = unchanging(&self.shared, &self.queue).await?;
        let (state, cells) = self.shared.state_and_cells()?;
        let verify = Verify {
            shared: &self.shared,
            view: &*state.view,
            state: &state,
            cells: &cells,
            findings: Remedies::default(),
            progress,
        };
        self.noting(verify.run().await)
    }
}

/// The faults found so far, by remedy.
#[derive(Default)]
struct Remedies {
    mendable: Vec<Damage>,
    lost: Vec<Damage>,
    count: u64,
}

impl Remedies {
    fn add(&mut self, findings: Findings) {
        for Finding { damage, remedy } in findings.0 {
            self.count += 1;
            let list = if remedy.is_some() { &mut self.mendable } else { &mut self.lost };
            if list.len() < FINDINGS_LISTED {
                list.push(damage);
            }
        }
    }
}

/// A verification of one state of the store.
struct Verify<'s, P> {
    shared: &'s Shared,
    state: &'s ReadState,
    /// The kept cells of the state.
    cells: &'s KeptCells,
    view: &'s dyn View,
    findings: Remedies,
    progress: P,
}

impl<P: FnMut(Progress) + Send> Verify<'_, P> {
    async fn run(mut self) -> Result<Verification, ReadError> {
        let checkpoint = self.state.checkpoint;
        let arrivals = checkpoint.next_arrival.saturating_sub(checkpoint.oldest_arrival);
        let events = self.table(Table::Events, "events", checkpoint.events).await?;
        self.table(Table::Bodies, "bodies", 0).await?;
        let keys = self.table(Table::ByKey, "index", checkpoint.next_to_index).await?;
        self.table(Table::Arrivals, "arrivals", arrivals).await?;
        self.table(Table::Timetable, "timetable", 0).await?;
        let root = self.tree().await?;
        self.sketch().await?;
        self.counts(root.count, keys);
        let pending_keys = self.state.pending.count_new_keys(self.view).await?;
        let Remedies { mendable, lost, count } = self.findings;
        Ok(Verification { events, keys: keys + pending_keys, root, mendable, lost, findings: count })
    }

    /// Checks a table from one end to the other. Returns its [sum](TableWalk::sum).
    async fn table(&mut self, table: Table, phase: &'static str, total: u64) -> Result<u64, ReadError> {
        let mut walk = TableWalk::default();
        loop {
            let mut check = Check::new(self.shared, self.state);
            let checked = check.rows(table, &mut walk, PAGE_ROWS).await?;
            self.findings.add(check.findings);
            (self.progress)(Progress { phase, done: walk.rows, total: total.max(walk.rows) });
            if checked.ended {
                return Ok(walk.sum);
            }
        }
    }

    /// Checks every stored hash against the one computed from the events.
    async fn tree(&mut self) -> Result<Root, ReadError> {
        let mut compare = Compare {
            view: self.view,
            findings: Findings::default(),
            compared: 0,
            events: 0,
            total: self.state.checkpoint.events,
            progress: &mut self.progress,
        };
        let pass = TreePass::new(self.view, self.shared.shape, &mut compare);
        let root = pass.distrusting(TimeSpan::ALL).root().await;
        let Compare { findings, compared, .. } = compare;
        self.findings.add(findings);
        let root = root?;
        self.nodes_without_events(compared).await?;
        Ok(root)
    }

    /// Finds the stored nodes without events, if more are stored than were `compared`.
    async fn nodes_without_events(&mut self, compared: u64) -> Result<(), ReadError> {
        let mut stored = 0;
        let mut pages = Pages::new(self.view, Table::Nodes, KeyRange::ALL, Projection::Keys);
        while let Some(page) = pages.next().await? {
            stored += u64::try_from(page.len()).unwrap_or(u64::MAX);
        }
        if stored == compared {
            return Ok(());
        }
        let mut findings = Findings::default();
        let mut pages = Pages::new(self.view, Table::Nodes, KeyRange::ALL, Projection::Keys);
        while let Some(page) = pages.next().await? {
            for (key, _) in page.rows() {
                if !node_has_events(self.view, self.shared.shape, key).await?
                    && let Some(what) = fault_of_node(&[], None)
                {
                    findings.mendable(Remedy::MakeAgain, Table::Nodes, key, what);
                }
            }
        }
        self.findings.add(findings);
        Ok(())
    }

    /// Checks the kept cells against those computed from the events.
    async fn sketch(&mut self) -> Result<(), ReadError> {
        let total = self.state.checkpoint.events;
        let progress = |done: u64| {
            (self.progress)(Progress { phase: "sketch", done, total: total.max(done) });
        };
        if lacking(self.view, self.cells, self.shared.sketch.locators, progress).await?.is_some() {
            let mut findings = Findings::default();
            let what = "the kept cells are not those of the events";
            findings.mendable(Remedy::MakeAgain, Table::Meta, name::SKETCH.as_bytes(), what);
            self.findings.add(findings);
        }
        Ok(())
    }

    fn counts(&mut self, events: u64, keys: u64) {
        let checkpoint = self.state.checkpoint;
        let mut findings = Findings::default();
        for (name, stored, counted) in
            [("events", checkpoint.events, events), ("keys", checkpoint.indexed_keys, keys)]
        {
            if stored != counted {
                let what = format!("{stored} {name} were counted, there are {counted}");
                findings.mendable(Remedy::MakeAgain, Table::Meta, name::CHECKPOINT.as_bytes(), what);
            }
        }
        self.findings.add(findings);
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
    async fn take(&mut self, nodes: Vec<(NodePosition, Node)>) -> Result<(), ReadError> {
        for (position, node) in nodes {
            let key = node_key(position.level, position.index);
            if position.level == 0 {
                self.events += node.count;
            }
            let Some(row) = self.view.get(Table::Nodes, &key).await? else { continue };
            self.compared += 1;
            if let Some(what) = fault_of_node(&row, Some(node)) {
                self.findings.mendable(Remedy::MakeAgain, Table::Nodes, &key, what);
            }
        }
        (self.progress)(Progress { phase: "tree", done: self.events, total: self.total });
        Ok(())
    }
}
