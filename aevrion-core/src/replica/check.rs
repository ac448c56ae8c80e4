//! Checks of the tables against each other, a slice at a time. Each slice is checked within one state of the store, so
//! that concurrent writes are never taken for damage. `verify` checks all slices in one state, the scrub each slice in
//! the latest one.

use bytes::{Bytes, BytesMut};

use super::derived::{node_of, stands_for_event};
use super::read_state::ReadState;
use super::state::Shared;
use crate::arrivals::{Arrival, Run};
use crate::bounds::{ARRIVAL_RUN, INLINE_DATA};
use crate::event::is_reserved;
use crate::events::decode_event;
use crate::store::{Direction, KeyRange, Page, PageLimit, Projection, ScanRequest, Table, View};
use crate::tables::{IndexRow, encode_event_key, parse_node_value, sequence_key};
use crate::tree::{Node, TreePass};
use crate::{Damage, Event, ReadError, timetable};

/// A fault.
pub(super) struct Finding {
    pub(super) damage: Damage,
    /// `None` if only another copy of the data mends it.
    pub(super) remedy: Option<Remedy>,
}

/// How to mend a derived row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Write it: it is missing.
    Add,
    /// Remove it: it stands for nothing.
    Remove,
    /// Compute it again, and all rows derived from it: it is wrong.
    MakeAgain,
}

/// The faults found so far.
#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn mendable(&mut self, remedy: Remedy, table: Table, key: &[u8], what: impl Into<String>) {
        self.add(Some(remedy), table, key, what.into());
    }

    pub(super) fn lost(&mut self, table: Table, key: &[u8], what: impl Into<String>) {
        self.add(None, table, key, what.into());
    }

    fn add(&mut self, remedy: Option<Remedy>, table: Table, key: &[u8], what: String) {
        let damage = Damage { table, key: Bytes::copy_from_slice(key), what };
        self.0.push(Finding { damage, remedy });
    }
}

/// A walk through one table, from slice to slice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TableWalk {
    /// The key of the last row that was checked.
    pub(super) after: Option<Bytes>,
    /// Rows checked; of arrivals each one, not each run of them.
    pub(super) rows: u64,
    /// Sound events, or keys of clients in the index, so far; in the table of arrivals, the sequence that has to
    /// follow.
    pub(super) sum: u64,
    /// The last key that was counted, as index rows begin with it.
    pub(super) counted: Bytes,
}

/// The result of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checked {
    /// The cost in rows; a large value counts as several.
    pub(super) cost: usize,
    /// Whether it was the last one of its table.
    pub(super) ended: bool,
}

/// Checks against one state of the store.
pub(super) struct Check<'s> {
    shared: &'s Shared,
    state: &'s ReadState,
    pub(super) findings: Findings,
}

impl<'s> Check<'s> {
    pub(super) fn new(shared: &'s Shared, state: &'s ReadState) -> Self {
        Self { shared, state, findings: Findings::default() }
    }

    fn view(&self) -> &'s dyn View {
        &*self.state.view
    }

    /// Checks the next rows of a table. After an error the walk is of no more use.
    pub(super) async fn rows(
        &mut self,
        table: Table,
        walk: &mut TableWalk,
        budget: usize,
    ) -> Result<Checked, ReadError> {
        match table {
            Table::Events => self.events(walk, budget).await,
            Table::Bodies => self.bodies(walk, budget).await,
            Table::ByKey => self.index(walk, budget).await,
            Table::Arrivals => self.arrivals(walk, budget).await,
            Table::Nodes => self.nodes(walk, budget).await,
            // Its rows are checked when they are read, and its counts at the end of a pass.
            Table::Meta => Ok(Checked { cost: 0, ended: true }),
            Table::Timetable => self.timetable(walk, budget).await,
        }
    }

    /// Checks events against their ids and the limits, and for their rows in the index. Counts the sound events.
    async fn events(&mut self, walk: &mut TableWalk, budget: usize) -> Result<Checked, ReadError> {
        let page = self.page(Table::Events, walk, Projection::Rows, budget).await?;
        let complete = page.complete();
        let mut index_row = BytesMut::new();
        let mut cost = 0;
        for (key, row) in page.into_rows() {
            if cost >= budget {
                return Ok(Checked { cost, ended: false });
            }
            cost += 1;
            match decode_event(self.view(), &key, &row).await {
                Ok(event) => {
                    cost += event.value().len() / INLINE_DATA;
                    self.event(&key, &event, &mut index_row).await?;
                    walk.sum += 1;
                }
                Err(error @ ReadError::Damaged(_)) => {
                    self.shared.note_old_damage(&error).await;
                    if let ReadError::Damaged(Damage { what, .. }) = error {
                        self.findings.lost(Table::Events, &key, what);
                    }
                }
                Err(error) => return Err(error),
            }
            walk.pass(key);
        }
        Ok(Checked { cost, ended: complete })
    }

    async fn event(&mut self, key: &[u8], event: &Event, index_row: &mut BytesMut) -> Result<(), ReadError> {
        self.shared.damage.sound(&[event.event_key()]);
        if let Err(error) = self.shared.parameters.check(event.key(), event.value()) {
            self.findings.lost(Table::Events, key, error.to_string());
        }
        index_row.clear();
        IndexRow::encode(event.key(), event.event_key(), index_row);
        if !self.state.pending.contains(index_row)
            && self.view().get(Table::ByKey, index_row).await?.is_none()
        {
            let what = "the row of this version is missing";
            self.findings.mendable(Remedy::Add, Table::ByKey, index_row, what);
        }
        if let Some(row) = timetable::missing_row(self.view(), event).await? {
            let what = "the row of this expiry is missing";
            self.findings.mendable(Remedy::Add, Table::Timetable, &row, what);
        }
        Ok(())
    }

    /// Checks that each body has its event. (An event without its body is found with the events.)
    async fn bodies(&mut self, walk: &mut TableWalk, budget: usize) -> Result<Checked, ReadError> {
        let page = self.page(Table::Bodies, walk, Projection::Keys, budget).await?;
        for (key, _) in page.rows() {
            if self.view().get(Table::Events, key).await?.is_none() {
                self.findings.lost(Table::Bodies, key, "the event of this body is missing");
            }
        }
        Ok(walk.pass_page(&page))
    }

    /// Checks that each expiry has its event.
    async fn timetable(&mut self, walk: &mut TableWalk, budget: usize) -> Result<Checked, ReadError> {
        let page = self.page(Table::Timetable, walk, Projection::Keys, budget).await?;
        for (row, _) in page.rows() {
            if !timetable::stands(self.view(), row).await? {
                let what = "there is no such event, or it expires at another time";
                self.findings.mendable(Remedy::Remove, Table::Timetable, row, what);
            }
        }
        Ok(walk.pass_page(&page))
    }

    /// Checks that each index row has its event. Counts the keys of clients.
    async fn index(&mut self, walk: &mut TableWalk, budget: usize) -> Result<Checked, ReadError> {
        let page = self.page(Table::ByKey, walk, Projection::Keys, budget).await?;
        for (row, _) in page.rows() {
            if !stands_for_event(self.view(), row).await? {
                self.findings.mendable(Remedy::Remove, Table::ByKey, row, "there is no such version");
                continue;
            }
            let key = IndexRow::key_part(row);
            if key != walk.counted {
                walk.sum += u64::from(!is_reserved(key));
                walk.counted = Bytes::copy_from_slice(key);
            }
        }
        Ok(walk.pass_page(&page))
    }

    /// Checks that the arrivals have no gap, and each has its event.
    async fn arrivals(&mut self, walk: &mut TableWalk, budget: usize) -> Result<Checked, ReadError> {
        let runs = budget / ARRIVAL_RUN;
        let page = self.page(Table::Arrivals, walk, Projection::Rows, runs).await?;
        // Earlier arrivals may have been trimmed since the last slice.
        walk.sum = walk.sum.max(self.state.checkpoint.oldest_arrival);
        let mut cost = 0;
        for (key, row) in page.rows() {
            match Run::parse(key, row) {
                Ok(run) => {
                    self.run_of_arrivals(&run, walk.sum).await?;
                    cost += run.event_keys.len();
                    walk.sum = run.end();
                }
                Err(ReadError::Damaged(Damage { key, what, .. })) => {
                    self.findings.lost(Table::Arrivals, &key, what);
                }
                Err(error) => return Err(error),
            }
        }
        let ended = walk.pass_page(&page).ended;
        walk.rows += (cost - page.len().min(cost)) as u64;
        if ended && walk.sum != self.state.checkpoint.next_arrival {
            let what = "this arrival and those after it are missing";
            self.findings.lost(Table::Arrivals, &sequence_key(walk.sum), what);
        }
        Ok(Checked { cost, ended })
    }

    async fn run_of_arrivals(&mut self, run: &Run, expected: u64) -> Result<(), ReadError> {
        if run.first != expected {
            let what = format!("the run of arrival {expected} was to follow");
            self.findings.lost(Table::Arrivals, &sequence_key(run.first), what);
        }
        for Arrival { sequence, event_key, .. } in run.from(run.first) {
            if self.view().get(Table::Events, &encode_event_key(event_key)).await?.is_none() {
                let what = format!("its event {event_key} is missing");
                self.findings.lost(Table::Arrivals, &sequence_key(sequence), what);
            }
        }
        Ok(())
    }

    /// Checks stored hashes and counts against the nodes below, or the events of a leaf. The lower levels come first:
    /// their faults have to be mended before the next slice.
    async fn nodes(&mut self, walk: &mut TableWalk, budget: usize) -> Result<Checked, ReadError> {
        let page = self.page(Table::Nodes, walk, Projection::Rows, budget).await?;
        let complete = page.complete();
        let mut cost = 0;
        for (key, row) in page.into_rows() {
            if cost >= budget {
                return Ok(Checked { cost, ended: false });
            }
            match self.recomputed_node(&key).await {
                Ok(node) => {
                    cost += usize::try_from(node.filter(|_| key[0] == 0).map_or(1, |leaf| leaf.count))
                        .unwrap_or(budget);
                    if let Some(what) = fault_of_node(&row, node) {
                        self.findings.mendable(Remedy::MakeAgain, Table::Nodes, &key, what);
                    }
                }
                // The row of a node or an event below it cannot be read.
                Err(ReadError::Damaged(Damage { table: Table::Nodes, key, what })) => {
                    self.findings.mendable(Remedy::MakeAgain, Table::Nodes, &key, what);
                }
                Err(ReadError::Damaged(Damage { table, key, what })) => {
                    self.findings.lost(table, &key, what);
                }
                Err(error) => return Err(error),
            }
            walk.pass(key);
        }
        Ok(Checked { cost, ended: complete })
    }

    /// The node of a row of `nodes`, computed again; `None` if it has no events.
    async fn recomputed_node(&self, key: &[u8]) -> Result<Option<Node>, ReadError> {
        match node_of(self.shared.shape, key) {
            Some(node) => TreePass::new(self.view(), self.shared.shape, ()).recompute(node).await,
            None => Ok(None),
        }
    }

    /// The next rows of a table.
    async fn page(
        &self,
        table: Table,
        walk: &TableWalk,
        projection: Projection,
        budget: usize,
    ) -> Result<Page, ReadError> {
        let direction = Direction::Forward;
        let range = match &walk.after {
            Some(key) => KeyRange::ALL.after(key, direction),
            None => KeyRange::ALL,
        };
        let limit = PageLimit::rows(budget);
        Ok(self.view().scan(ScanRequest { table, range, direction, projection, limit }).await?)
    }
}

/// The fault of a stored row whose node is `node`; `None` if it has none.
pub(super) fn fault_of_node(row: &[u8], node: Option<Node>) -> Option<String> {
    let Some(node) = node else { return Some("there are no events below this node".to_owned()) };
    match parse_node_value(row) {
        Some((count, hash)) if (Node { count, hash }) == node => None,
        Some((count, _)) if count != node.count => {
            Some(format!("its count is {count}, there are {} events", node.count))
        }
        Some(_) => Some("its hash is not that of its events".to_owned()),
        None => Some("its row cannot be read".to_owned()),
    }
}

impl TableWalk {
    /// Goes behind the row under `key`.
    fn pass(&mut self, key: Bytes) {
        self.after = Some(key);
        self.rows += 1;
    }

    /// Goes behind the rows of a page.
    fn pass_page(&mut self, page: &Page) -> Checked {
        self.rows += page.len() as u64;
        self.after = page.last_key().map(Bytes::copy_from_slice).or(self.after.take());
        Checked { cost: page.len(), ended: page.complete() }
    }
}
