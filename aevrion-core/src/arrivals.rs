//! The order in which this replica learned of events, read back run by run.
//!
//! A row of the table `arrivals` holds a run: the addresses of up to [`ARRIVAL_RUN`](crate::bounds::ARRIVAL_RUN)
//! events that one commit brought, under the sequence of the first. A row for each event would cost a third of the
//! write speed.

use std::ops::Bound;

use crate::store::{Direction, KeyRange, PageLimit, Pages, Projection, ScanRequest, StoreError, Table, View};
use crate::tables::{ADDRESS_LEN, parse_address, parse_sequence, sequence_key};
use crate::{Address, ReadError};

/// A run of arrivals: the sequence of the first, and their addresses.
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) addresses: Vec<Address>,
}

impl Run {
    pub(crate) fn parse(key: &[u8], value: &[u8]) -> Result<Self, ReadError> {
        let damaged = || ReadError::damaged(Table::Arrivals, key, "its row cannot be read");
        let first = parse_sequence(key).ok_or_else(damaged)?;
        let addresses: Option<Vec<_>> = value.chunks(ADDRESS_LEN).map(parse_address).collect();
        Ok(Self { first, addresses: addresses.ok_or_else(damaged)? })
    }

    /// The sequence behind the last arrival of the run.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.addresses.len() as u64
    }

    /// The arrivals of the run from `sequence` on.
    pub(crate) fn from(&self, sequence: u64) -> impl Iterator<Item = (u64, Address)> {
        (self.first..).zip(self.addresses.iter().copied()).filter(move |(number, _)| *number >= sequence)
    }
}

/// The run that holds the arrival `sequence`, or else the first one behind it.
pub(crate) async fn run_at(view: &dyn View, sequence: u64) -> Result<Option<Run>, ReadError> {
    let key = sequence_key(sequence);
    for (range, direction) in [
        (KeyRange { start: Bound::Unbounded, end: Bound::Included(&key[..]) }, Direction::Backward),
        (KeyRange { start: Bound::Excluded(&key[..]), end: Bound::Unbounded }, Direction::Forward),
    ] {
        let (projection, limit) = (Projection::Rows, PageLimit::ONE);
        let page =
            view.scan(ScanRequest { table: Table::Arrivals, range, direction, projection, limit }).await?;
        if let Some((key, value)) = page.rows().next() {
            let run = Run::parse(key, value)?;
            if run.end() > sequence {
                return Ok(Some(run));
            }
        }
    }
    Ok(None)
}

/// All runs in order, a page at a time.
pub(crate) struct Runs<'v>(Pages<'v>);

impl<'v> Runs<'v> {
    /// The runs from the one on that holds the arrival `sequence`.
    pub(crate) async fn from(view: &'v dyn View, sequence: u64) -> Result<Self, StoreError> {
        let key = sequence_key(sequence);
        let before = KeyRange { start: Bound::Unbounded, end: Bound::Included(&key[..]) };
        let (direction, projection, limit) = (Direction::Backward, Projection::Keys, PageLimit::ONE);
        let table = Table::Arrivals;
        let page = view.scan(ScanRequest { table, range: before, direction, projection, limit }).await?;
        let first = page.last_key().unwrap_or(&key);
        let range = KeyRange { start: Bound::Included(first), end: Bound::Unbounded };
        Ok(Self(Pages::new(view, table, range, Projection::Rows)))
    }

    /// A page of runs, each read or what is wrong with it; `None` after the last page.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Result<Run, ReadError>>>, StoreError> {
        let page = self.0.next().await?;
        Ok(page.map(|page| page.rows().map(|(key, value)| Run::parse(key, value)).collect()))
    }
}

/// The keys of the runs that end before the arrival `sequence` or with it, and where the rest begins.
pub(crate) async fn runs_before(view: &dyn View, sequence: u64) -> Result<(Vec<u64>, u64), StoreError> {
    let key = sequence_key(sequence);
    let range = KeyRange { start: Bound::Unbounded, end: Bound::Included(&key[..]) };
    let mut firsts = Vec::new();
    let mut pages = Pages::new(view, Table::Arrivals, range, Projection::Keys);
    while let Some(page) = pages.next().await? {
        firsts.extend(page.rows().filter_map(|(key, _)| parse_sequence(key)));
    }
    // The last of them reaches up to the sequence, or beyond: it stays.
    let rest = firsts.pop().unwrap_or(sequence);
    Ok((firsts, rest))
}
