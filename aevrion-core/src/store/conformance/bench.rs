//! Shared helpers: stores under test, and reading a whole range.

use std::cell::Cell;
use std::future::Future;
use std::ops::Bound;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::conformance::within;
use crate::store::{
    Direction, Durability, EventStore, KeyRange, Page, PageLimit, Projection, ScanRequest, Table, View,
    WriteBatch,
};

/// A key and its value.
pub(super) type Row = (Bytes, Bytes);

pub(super) type Opening<'a> = Pin<Box<dyn Future<Output = Result<Arc<dyn EventStore>, String>> + 'a>>;

pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Backward];

/// Opens stores, each in its own directory, deleted with the bench.
pub(super) struct Bench<'a> {
    opener: Box<dyn Fn(PathBuf) -> Opening<'a> + 'a>,
    root: TempDir,
    directories: Cell<u32>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(opener: impl Fn(PathBuf) -> Opening<'a> + 'a) -> Self {
        let root = tempfile::tempdir().expect("the suite needs a temporary directory");
        Self { opener: Box::new(opener), root, directories: Cell::new(0) }
    }

    /// A path where nothing exists yet.
    pub(super) fn new_directory(&self) -> PathBuf {
        self.directories.set(self.directories.get() + 1);
        self.root.path().join(format!("store-{}", self.directories.get()))
    }

    /// Opens or creates a store.
    pub(super) async fn open(&self, directory: PathBuf) -> Arc<dyn EventStore> {
        match (self.opener)(directory.clone()).await {
            Ok(store) => store,
            Err(error) => panic!("the store in {} must open: {error}", directory.display()),
        }
    }

    /// A new store.
    pub(super) async fn fresh(&self) -> Arc<dyn EventStore> {
        self.open(self.new_directory()).await
    }

    /// A new store that holds `rows` in `table`.
    pub(super) async fn holding(&self, table: Table, rows: &[Row]) -> Arc<dyn EventStore> {
        let store = self.fresh().await;
        commit(&*store, batch_of(table, rows)).await;
        store
    }
}

pub(super) fn batch_of(table: Table, rows: &[Row]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (key, value) in rows {
        batch.put(table, key.clone(), value.clone());
    }
    batch
}

/// Commits without waiting for the disk, as most promises are not about durability.
pub(super) async fn commit(store: &dyn EventStore, batch: WriteBatch) {
    commit_as(store, batch, Durability::Buffered).await;
}

pub(super) async fn commit_as(store: &dyn EventStore, batch: WriteBatch, durability: Durability) {
    if let Err(error) = store.commit(batch, durability).await {
        panic!("a commit must succeed where nothing stands in its way: {error}");
    }
}

pub(super) async fn view(store: &dyn EventStore) -> Arc<dyn View> {
    store.view().await.unwrap_or_else(|error| panic!("an open store must give a view: {error}"))
}

pub(super) async fn get(view: &dyn View, table: Table, key: &[u8]) -> Option<Bytes> {
    view.get(table, key).await.unwrap_or_else(|error| panic!("get must succeed: {error}"))
}

/// A request for the largest page of `range`.
pub(super) fn all_of(table: Table, range: KeyRange<'_>, direction: Direction) -> ScanRequest<'_> {
    ScanRequest { table, range, direction, projection: Projection::Rows, limit: PageLimit::MOST }
}

/// Reads one page and checks the invariants of every page.
pub(super) async fn page(view: &dyn View, request: ScanRequest<'_>) -> Page {
    let page = view.scan(request).await.unwrap_or_else(|error| panic!("a scan must succeed: {error}"));
    let limit = request.limit;
    assert!(
        page.len() <= limit.rows.max(1),
        "a page holds at most the rows of its limit: {} rows with {limit:?}",
        page.len()
    );
    let before_last: usize = page.rows().rev().skip(1).map(|(key, value)| key.len() + value.len()).sum();
    assert!(
        page.len() <= 1 || before_last < limit.bytes,
        "a page takes no further row once its bytes reach the limit: {before_last} B before the last row with {limit:?}"
    );
    assert!(
        !page.is_empty() || page.complete(),
        "a page of a non-empty range is never empty: no row, and yet not complete, for {request:?}"
    );
    if request.projection == Projection::Keys {
        assert!(
            page.rows().all(|(_, value)| value.is_empty()),
            "a scan of keys alone gives every value back empty: {request:?}"
        );
    }
    page
}

/// Reads all rows of the request's range, page by page.
pub(super) async fn read(view: &dyn View, request: ScanRequest<'_>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut last: Option<Bytes> = None;
    loop {
        let range = match &last {
            Some(last) => request.range.after(last, request.direction),
            None => request.range,
        };
        let page = page(view, ScanRequest { range, ..request }).await;
        let complete = page.complete();
        for (key, value) in page.into_rows() {
            let in_order = last.as_ref().is_none_or(|last| match request.direction {
                Direction::Forward => *last < key,
                Direction::Backward => *last > key,
            });
            assert!(in_order, "rows come in the order asked for: {key:?} after {last:?} in {request:?}");
            last = Some(key.clone());
            rows.push((key, value));
        }
        if complete {
            return rows;
        }
    }
}

/// All rows of a table.
pub(super) async fn read_table(view: &dyn View, table: Table) -> Vec<Row> {
    read(view, all_of(table, KeyRange::ALL, Direction::Forward)).await
}

/// The rows, given in any order, that a correct store returns for `range`.
pub(super) fn expected(rows: &[Row], range: KeyRange<'_>, direction: Direction) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.iter().filter(|(key, _)| contains(range, key)).cloned().collect();
    rows.sort();
    if direction == Direction::Backward {
        rows.reverse();
    }
    rows
}

fn contains(range: KeyRange<'_>, key: &[u8]) -> bool {
    let after_start = match range.start {
        Bound::Unbounded => true,
        Bound::Included(start) => start <= key,
        Bound::Excluded(start) => start < key,
    };
    let before_end = match range.end {
        Bound::Unbounded => true,
        Bound::Included(end) => key <= end,
        Bound::Excluded(end) => key < end,
    };
    after_start && before_end
}

/// Starts `work` on its own thread, so that it runs concurrently on any flavour of runtime.
pub(super) fn beside<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work))
}

/// Waits for work started by [`beside`], and propagates its panic.
pub(super) async fn finished<T>(promise: &str, work: tokio::task::JoinHandle<T>) -> T {
    match within(promise, work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => panic!("the suite's own task ended: {error}"),
    }
}

/// Prints the promise that is skipped because of what the store declares, so that it does not look like a pass.
pub(super) fn skipped(promise: &str, store: &dyn EventStore, declared: &str) {
    println!("skipped: {promise} ({} declares {declared})", store.capabilities().name);
}
