//! A suite that cannot fail proves nothing: each store here breaks one promise, and the suite must name it.

use std::convert::Infallible;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aevrion_core::store::{
    Capabilities, Direction, Durability, EventStore, KeyRange, MemoryStore, Page, PageBuilder, PageLimit,
    Projection, ScanRequest, StoreError, Table, View, WriteBatch, conformance,
};
use async_trait::async_trait;
use bytes::Bytes;

/// The defect of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    DropsTheLastWrite,
    CommitsInTwoHalves,
    CommitsInTwoHalvesOpenly,
    ShowsCommitsLate,
    IgnoresRemovals,
    MixesTwoTables,
    CutsLargeBatches,
    RefusesEmptyBatches,
    IgnoresTheUpperBound,
    IncludesTheExcludedStart,
    AlwaysWalksForward,
    GivesValuesWithKeys,
    IgnoresTheLimit,
    SaysCompleteTooEarly,
    NeverSaysComplete,
    GivesAnEmptyPage,
    SkipsARowBetweenPages,
    FindsTheNextKey,
    CutsLargeValues,
    DropsTheLastZero,
    ViewsMoveOn,
    LosesEverythingOnClose,
    AnswersAfterClose,
    FailsTheSecondClose,
}

/// A memory store with one bug.
struct Broken {
    bug: Bug,
    store: Arc<MemoryStore>,
    closed: AtomicUsize,
    late: Mutex<Option<Arc<dyn View>>>,
}

struct BrokenView {
    bug: Bug,
    view: Arc<dyn View>,
    store: Arc<MemoryStore>,
}

impl Broken {
    fn new(bug: Bug) -> Self {
        Self { bug, store: Arc::new(MemoryStore::new()), closed: AtomicUsize::new(0), late: Mutex::new(None) }
    }

    fn change(&self, batch: WriteBatch) -> WriteBatch {
        let mut changed = WriteBatch::new();
        for (table, writes) in batch.into_tables() {
            let table = match (self.bug, table) {
                (Bug::MixesTwoTables, Table::Bodies) => Table::Events,
                _ => table,
            };
            let keep = match self.bug {
                Bug::DropsTheLastWrite if writes.len() > 1 => writes.len() - 1,
                Bug::CutsLargeBatches => writes.len().min(5_000),
                _ => writes.len(),
            };
            for write in writes.into_iter().take(keep) {
                match write.value {
                    Some(value) => changed.put(table, write.key, self.change_value(value)),
                    None if self.bug == Bug::IgnoresRemovals => {}
                    None => changed.remove(table, write.key),
                }
            }
        }
        changed
    }

    fn change_value(&self, value: Bytes) -> Bytes {
        match self.bug {
            Bug::CutsLargeValues => value.slice(..value.len().min(8 << 20)),
            Bug::DropsTheLastZero if value.last() == Some(&0) => value.slice(..value.len() - 1),
            _ => value,
        }
    }
}

#[async_trait]
impl EventStore for Broken {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        if self.bug == Bug::RefusesEmptyBatches && batch.is_empty() {
            return Err(StoreError::Corrupt("nothing to do".to_owned()));
        }
        if self.bug == Bug::ShowsCommitsLate {
            let before = self.store.view().await?;
            *self.late.lock().expect("no panic under this lock") = Some(before);
        }
        let batch = self.change(batch);
        if matches!(self.bug, Bug::CommitsInTwoHalves | Bug::CommitsInTwoHalvesOpenly) {
            let (mut first, mut second) = (WriteBatch::new(), WriteBatch::new());
            for (table, writes) in batch.into_tables() {
                let middle = writes.len() / 2;
                for (position, write) in writes.into_iter().enumerate() {
                    let half = if position < middle { &mut first } else { &mut second };
                    match write.value {
                        Some(value) => half.put(table, write.key, value),
                        None => half.remove(table, write.key),
                    }
                }
            }
            self.store.commit(first, durability).await?;
            return self.store.commit(second, durability).await;
        }
        self.store.commit(batch, durability).await
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        let late = self.late.lock().expect("no panic under this lock").take();
        let view = match late {
            Some(late) => late,
            None => self.store.view().await?,
        };
        Ok(Arc::new(BrokenView { bug: self.bug, view, store: self.store.clone() }))
    }

    fn capabilities(&self) -> Capabilities {
        let persistent = self.bug == Bug::LosesEverythingOnClose;
        let isolated_views = self.bug != Bug::CommitsInTwoHalvesOpenly;
        Capabilities { persistent, isolated_views, ..self.store.capabilities() }
    }

    async fn close(&self) -> Result<(), StoreError> {
        let before = self.closed.fetch_add(1, Ordering::SeqCst);
        match self.bug {
            Bug::AnswersAfterClose => Ok(()),
            Bug::FailsTheSecondClose if before > 0 => Err(StoreError::Closed),
            _ => self.store.close().await,
        }
    }
}

impl BrokenView {
    fn change<'r>(&self, mut request: ScanRequest<'r>) -> ScanRequest<'r> {
        match (self.bug, request.range.start) {
            (Bug::IgnoresTheUpperBound, _) => request.range.end = Bound::Unbounded,
            (Bug::IncludesTheExcludedStart, Bound::Excluded(key)) => {
                request.range.start = Bound::Included(key);
            }
            (Bug::AlwaysWalksForward, _) => request.direction = Direction::Forward,
            (Bug::GivesValuesWithKeys, _) => request.projection = Projection::Rows,
            (Bug::IgnoresTheLimit, _) => request.limit = PageLimit { rows: usize::MAX, bytes: usize::MAX },
            _ => {}
        }
        request
    }
}

#[async_trait]
impl View for BrokenView {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if self.bug == Bug::FindsTheNextKey {
            let range = KeyRange { start: Bound::Included(key), end: Bound::Unbounded };
            let limit = PageLimit::ONE;
            let (direction, projection) = (Direction::Forward, Projection::Rows);
            let page = self.view.scan(ScanRequest { table, range, direction, projection, limit }).await?;
            return Ok(page.into_rows().next().map(|(_, value)| value));
        }
        if self.bug == Bug::ViewsMoveOn {
            return self.store.view().await?.get(table, key).await;
        }
        self.view.get(table, key).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<Page, StoreError> {
        if self.bug == Bug::ViewsMoveOn {
            return self.store.view().await?.scan(request).await;
        }
        let page = self.view.scan(self.change(request)).await?;
        Ok(match self.bug {
            Bug::SkipsARowBetweenPages
                if matches!(request.range.start, Bound::Excluded(_)) && page.len() > 1 =>
            {
                remade(&page, 1, page.complete())
            }
            Bug::GivesAnEmptyPage
                if page.len() == 1 && page.rows().any(|(_, value)| value.len() > 1 << 20) =>
            {
                PageBuilder::new(request.limit).more_follow()
            }
            Bug::SaysCompleteTooEarly => remade(&page, 0, true),
            Bug::NeverSaysComplete => remade(&page, 0, page.is_empty()),
            _ => page,
        })
    }
}

/// The page without its first rows, and with a chosen end.
fn remade(page: &Page, skip: usize, complete: bool) -> Page {
    let mut changed = PageBuilder::new(PageLimit::MOST);
    page.rows().skip(skip).for_each(|(key, value)| changed.push(key, value));
    if complete { changed.end_of_range() } else { changed.more_follow() }
}

/// The suite's complaint about a store with `bug`; `None` if it finds nothing.
fn complaint(bug: Bug) -> Option<String> {
    let suite = conformance::run(move |_| async move { Ok::<_, Infallible>(Broken::new(bug)) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let panic = catch_unwind(AssertUnwindSafe(|| runtime.block_on(suite))).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
}

macro_rules! catches {
    ($($name:ident: $bug:ident, $promise:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let complaint = complaint(Bug::$bug).expect("the suite finds the bug");
                assert!(complaint.contains($promise), "the suite names the promise, instead: {complaint}");
            }
        )*
    };
}

catches! {
    a_dropped_write: DropsTheLastWrite, "all of a batch is visible";
    a_batch_in_two_commits: CommitsInTwoHalves, "no view shows half a batch";
    a_batch_in_two_commits_without_isolation: CommitsInTwoHalvesOpenly, "no view shows half a batch";
    a_commit_that_shows_late: ShowsCommitsLate, "all of a batch is visible";
    an_ignored_removal: IgnoresRemovals, "a removal takes away exactly the row of its key";
    tables_that_mix: MixesTwoTables, "all of a batch is visible";
    a_batch_cut_short: CutsLargeBatches, "a batch of 12 MB is kept whole";
    a_refused_empty_batch: RefusesEmptyBatches, "commit must succeed";
    an_ignored_upper_bound: IgnoresTheUpperBound, "a scan gives the rows of its range";
    an_included_excluded_start: IncludesTheExcludedStart, "a scan gives the rows of its range";
    the_wrong_direction: AlwaysWalksForward, "the order asked for";
    values_with_keys: GivesValuesWithKeys, "a scan of keys alone gives every value back empty";
    an_ignored_limit: IgnoresTheLimit, "a page holds at most the rows of its limit";
    complete_too_early: SaysCompleteTooEarly, "complete is true exactly if";
    complete_never: NeverSaysComplete, "complete";
    an_empty_page: GivesAnEmptyPage, "a page of a non-empty range is never empty";
    a_row_skipped_between_pages: SkipsARowBetweenPages, "a scan gives the rows of its range";
    another_key: FindsTheNextKey, "get gives the value under exactly the key";
    a_value_cut_short: CutsLargeValues, "values of every size are kept";
    a_byte_lost: DropsTheLastZero, "every byte value is kept";
    a_view_that_moves_on: ViewsMoveOn, "an isolated view keeps the state it was taken from";
    a_loss_on_close: LosesEverythingOnClose, "kept, also by a persistent store that was closed";
    answers_after_close: AnswersAfterClose, "every call after close fails with Closed";
    a_second_close_that_fails: FailsTheSecondClose, "close must succeed";
}
