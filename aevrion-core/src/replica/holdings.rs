//! What the agents of a replica may ask of it.

use std::ops::Bound;

use super::Replica;
use crate::agent::Holdings;
use crate::bounds::{DIGEST_TILES, PAGE_ROWS};
use crate::events::read_event;
use crate::message::{Digest, Row, Tile};
use crate::store::{Direction, KeyRange, PageLimit, Projection, ScanRequest, Table};
use crate::tables::{address_key, parse_address, time_range};
use crate::tree::{NodeAddress, Root};
use crate::{Address, Event, ReadError, TimeSpan, Timestamp};

impl Holdings for Replica {
    async fn digest(&self, span: TimeSpan) -> Result<(Root, Digest), ReadError> {
        let past = span.first() == Timestamp::MIN;
        let walk = self.walk(past.then(|| span.last())).await?;
        let mut pass = self.pass(&walk).within(span);
        let root = self.noting(pass.root().await)?;
        let mut rows = Vec::new();
        for (level, indexes) in self.shared.shape.cover(span) {
            let nodes = self.noting(pass.nodes(level, indexes).await)?;
            let mut tiles: Vec<_> = nodes.into_iter().map(|(index, node)| Tile::new(index, node)).collect();
            // A row as long as a row may be says nothing of what lies before it.
            tiles.drain(..tiles.len().saturating_sub(DIGEST_TILES));
            if !tiles.is_empty() {
                rows.push(Row { level, tiles });
            }
        }
        Ok((root, Digest { rows }))
    }

    async fn children(&self, span: TimeSpan, parents: &[NodeAddress]) -> Result<Vec<Vec<Tile>>, ReadError> {
        let walk = self.walk(None).await?;
        let mut pass = self.pass(&walk).within(span);
        let mut all = Vec::with_capacity(parents.len());
        for parent in parents {
            let slots = self.shared.shape.children(*parent);
            let nodes = self.noting(pass.nodes(parent.level.saturating_sub(1), slots.clone()).await)?;
            all.push(nodes.into_iter().map(|(index, node)| Tile::new(index - slots.start(), node)).collect());
        }
        Ok(all)
    }

    async fn addresses(
        &self,
        span: TimeSpan,
        before: Option<Address>,
        most: usize,
    ) -> Result<Vec<Address>, ReadError> {
        let state = self.shared.state()?;
        let (start, end) = time_range(span.first(), span.last());
        let mut before = before.map(address_key);
        let mut addresses = Vec::new();
        while addresses.len() < most {
            let end = before.as_ref().map_or(Bound::Included(&end[..]), |key| Bound::Excluded(&key[..]));
            let range = KeyRange { start: Bound::Included(&start), end };
            let (table, direction, projection) = (Table::Events, Direction::Backward, Projection::Keys);
            let limit = PageLimit::rows((most - addresses.len()).min(PAGE_ROWS));
            let page = state.view.scan(ScanRequest { table, range, direction, projection, limit }).await;
            let page = self.noting(page.map_err(ReadError::from))?;
            for (key, _) in page.rows() {
                let unreadable = || ReadError::damaged(Table::Events, key, "its key is not an address");
                addresses.push(parse_address(key).ok_or_else(unreadable)?);
            }
            if page.complete() {
                break;
            }
            before = addresses.last().copied().map(address_key);
        }
        Ok(addresses)
    }

    async fn event(&self, address: Address) -> Result<Option<Event>, ReadError> {
        let state = self.shared.state()?;
        self.noting(read_event(&*state.view, address).await)
    }

    async fn missing(&self, addresses: &[Address]) -> Result<Vec<Address>, ReadError> {
        let state = self.shared.state()?;
        let mut missing = Vec::new();
        for address in addresses {
            let found = state.view.get(Table::Events, &address_key(*address)).await;
            if self.noting(found.map_err(ReadError::from))?.is_none() {
                missing.push(*address);
            }
        }
        Ok(missing)
    }
}

#[cfg(feature = "testkit")]
impl Replica {
    /// How many events are held, so that a simulation need not ask for the root to see that it cannot be equal.
    pub(crate) fn events_held(&self) -> Option<u64> {
        self.shared.state().ok().map(|state| state.checkpoint.events)
    }
}
