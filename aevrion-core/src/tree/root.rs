//! The root, from the whole top row or from its part in memory.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::hash::RootHasher;
use super::kept_top::{Reading, TopOfWalk};
use super::pass::{NodeSink, TreePass};
use super::top_row::{Found, TopRow};
use super::{Indexed, NodePosition, Root, Shape, add};
use crate::ReadError;
use crate::bounds::ROW_PART;

/// How often a walk looks for nodes that the kept row lacks. Once is enough unless commits touch further ones meanwhile;
/// then it reads the whole row from the store.
const TRIES: usize = 8;

/// The counted part of the top row: whole nodes, and nodes cut by an end of the span.
struct TopSpan {
    before: Option<u64>,
    whole: Option<RangeInclusive<u64>>,
    behind: Option<u64>,
}

impl<S: NodeSink> TreePass<'_, S> {
    /// Hash and count of all events. Cost: reads the whole top row, a part at a time.
    pub(crate) async fn root(&mut self) -> Result<Root, ReadError> {
        let (mut count, mut hasher) = (0_u64, RootHasher::new());
        let mut rest = self.clip(Shape::TOP, self.shape().indexes(Shape::TOP));
        while let Some(indexes) = rest {
            let (part, to) = self.part_of_row(Shape::TOP, indexes.clone()).await?;
            for (index, node) in part {
                count = add(count, node.count);
                hasher.update(index, node.hash);
            }
            rest = behind(to, &indexes);
        }
        self.flush().await?;
        Ok(Root { count, hash: hasher.finish() })
    }

    /// As [`TreePass::root`], but reads only the nodes that the row lacks, and those that the span cuts through.
    pub(crate) async fn root_with(&mut self, top: TopOfWalk<'_>) -> Result<Root, ReadError> {
        let TopSpan { before, whole, behind } = self.top_span();
        let before = self.cut_node(before).await?;
        let behind = self.cut_node(behind).await?;
        let root = match whole {
            Some(whole) => {
                let root = |row: &mut TopRow| row.root(before, Some(whole.clone()), behind);
                self.read_row(top, &whole, root).await?
            }
            None => Some(TopRow::unknown().root(before, None, behind)),
        };
        self.flush().await?;
        match root {
            Some(root) => Ok(root),
            None => self.root().await,
        }
    }

    /// The last top-level nodes with these indexes, none of which the span may cut through: at most `most`, ascending.
    /// Cost: as [`TreePass::root_with`].
    pub(crate) async fn latest_of_top(
        &mut self,
        top: TopOfWalk<'_>,
        indexes: RangeInclusive<u64>,
        most: usize,
    ) -> Result<Vec<Indexed>, ReadError> {
        let latest = self.read_row(top, &indexes, |row| row.latest(&indexes, most)).await?;
        self.flush().await?;
        if let Some(latest) = latest {
            return Ok(latest);
        }
        let mut latest = VecDeque::new();
        let mut rest = Some(indexes);
        while let Some(indexes) = rest {
            let (part, to) = self.part_of_row(Shape::TOP, indexes.clone()).await?;
            latest.extend(part);
            latest.drain(..latest.len().saturating_sub(most));
            rest = behind(to, &indexes);
        }
        self.flush().await?;
        Ok(latest.into())
    }

    /// The answer of `read` about the kept row, after finding the nodes that it lacks; `None` if it cannot be used. The
    /// row is not locked meanwhile. Dropping the future half-way keeps most of the nodes found so far.
    async fn read_row<T>(
        &mut self,
        top: TopOfWalk<'_>,
        indexes: &RangeInclusive<u64>,
        read: impl Fn(&mut TopRow) -> T,
    ) -> Result<Option<T>, ReadError> {
        let mut found = Vec::new();
        for _ in 0..TRIES {
            let lacking = match top.read(indexes, &found, &read).await {
                Reading::Done(answer) => return Ok(Some(answer)),
                Reading::Alone => return Ok(None),
                Reading::Lacks(lacking) => lacking,
            };
            self.find(top, lacking, &mut found).await?;
        }
        Ok(None)
    }

    /// Adds the nodes of these indexes to `found`. What is too much to keep enters the row.
    async fn find(
        &mut self,
        top: TopOfWalk<'_>,
        lacking: Vec<RangeInclusive<u64>>,
        found: &mut Vec<Found>,
    ) -> Result<(), ReadError> {
        let mut rows = found.iter().map(|(_, nodes)| nodes.len() + 1).sum::<usize>();
        for indexes in lacking {
            let mut rest = Some(indexes.clone());
            while let Some(part_of) = rest {
                let (part, to) = self.part_of_row(Shape::TOP, part_of.clone()).await?;
                rows += part.len() + 1;
                found.push((*part_of.start()..=to, part));
                rest = behind(to, &indexes);
                if rows >= ROW_PART {
                    found.sort_unstable_by_key(|(indexes, _)| *indexes.start());
                    top.enter(found).await;
                    found.clear();
                    rows = 0;
                }
            }
        }
        found.sort_unstable_by_key(|(indexes, _)| *indexes.start());
        Ok(())
    }

    fn top_span(&self) -> TopSpan {
        let Some(indexes) = self.clip(Shape::TOP, self.shape().indexes(Shape::TOP)) else {
            return TopSpan { before: None, whole: None, behind: None };
        };
        let (first, last) = indexes.into_inner();
        let is_cut = |index: &u64| self.is_cut(NodePosition { level: Shape::TOP, index: *index });
        let before = Some(first).filter(is_cut);
        let behind = Some(last).filter(is_cut).filter(|last| before != Some(*last));
        let from = if before.is_some() { first.checked_add(1) } else { Some(first) };
        let to = if behind.is_some() { last.checked_sub(1) } else { Some(last) };
        let whole = from.zip(to).filter(|(from, to)| from <= to).map(|(from, to)| from..=to);
        TopSpan { before, whole, behind }
    }

    async fn cut_node(&mut self, index: Option<u64>) -> Result<Option<Indexed>, ReadError> {
        let Some(index) = index else { return Ok(None) };
        let (part, _) = self.part_of_row(Shape::TOP, index..=index).await?;
        Ok(part.into_iter().next())
    }
}

/// The part of `indexes` behind `read`.
fn behind(read: u64, indexes: &RangeInclusive<u64>) -> Option<RangeInclusive<u64>> {
    read.checked_add(1).filter(|next| next <= indexes.end()).map(|next| next..=*indexes.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Durability, EventStore, MemoryStore, Table, WriteBatch};
    use crate::tables::encode_event_key;
    use crate::tree::{KeptTop, Node};
    use crate::{EventId, EventKey, Parameters, TimeSpan, Timestamp};

    /// A sink that drops everything.
    struct Nowhere;

    impl NodeSink for Nowhere {
        async fn take(&mut self, _: Vec<(NodePosition, Node)>) -> Result<(), ReadError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_row_that_is_too_long_to_be_kept_has_the_same_root_and_the_same_last_nodes() {
        let shape = Shape::new(&Parameters { granularity: 1, branching: 2, ..Parameters::default() });
        let store = MemoryStore::new();
        let mut batch = WriteBatch::new();
        // Nodes of 16 ms, most of them with one event: more of them than are read at a time.
        for number in 0..6_000_u64 {
            let id: EventId = blake3::hash(&number.to_be_bytes()).into();
            let timestamp = Timestamp::from_millis(number * 17 + number % 5);
            batch.put(Table::Events, encode_event_key(EventKey { timestamp, id }).to_vec(), Vec::new());
        }
        store.commit(batch, Durability::Buffered).await.unwrap();
        let view = store.view().await.unwrap();
        let (kept, short) = (KeptTop::default(), KeptTop::of_at_most(500));
        let [of_kept, of_short] = [&kept, &short].map(|top| top.of_walk(top.begin_walk()));
        for (first, last) in [(0, 100), (0, 40_003), (16, 90_000), (33, 90_001), (0, u64::MAX), (5, 5)] {
            let span = TimeSpan::new(Timestamp::from_millis(first), Timestamp::from_millis(last)).unwrap();
            let mut pass = TreePass::new(&*view, shape, Nowhere).within(span);
            let root = pass.root().await.unwrap();
            assert_eq!(pass.root_with(of_kept).await.unwrap(), root, "{span:?}");
            assert_eq!(pass.root_with(of_short).await.unwrap(), root, "{span:?}");
            let whole = pass.top_span().whole;
            let Some(whole) = whole else { continue };
            let all = pass.nodes(Shape::TOP, whole.clone()).await.unwrap();
            let latest = &all[all.len().saturating_sub(700)..];
            assert_eq!(pass.latest_of_top(of_kept, whole.clone(), 700).await.unwrap(), latest);
            assert_eq!(pass.latest_of_top(of_short, whole, 700).await.unwrap(), latest);
        }
        assert!(kept.is_kept().await && !short.is_kept().await);
    }
}
