//! Promises about concurrent readers and a writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;

use super::bench::{
    Bench, Row, all_of, batch_of, beside, commit, commit_as, finished, get, page, read_table, skipped, view,
};
use crate::store::{Direction, Durability, EventStore, KeyRange, Table, View, WriteBatch};

const HALF: &str = "no view shows half a batch";
const OLDER: &str = "no call on a view shows an older state than the call before";
const PROGRESS: &str = "neither do readers wait for the writer nor the writer for readers";

/// Enough rows that an engine uses several pages.
const ROWS: u16 = 300;
const READERS: usize = 2;

/// Only for stores that declare isolated views.
pub(super) async fn a_view_stays_as_it_was_taken(bench: &Bench<'_>) {
    let store = bench.fresh().await;
    if !store.capabilities().isolated_views {
        skipped("a view stays as it was taken", &*store, "no isolated views");
        return;
    }
    let mut held: Vec<(Arc<dyn View>, Vec<Row>)> = Vec::new();
    for number in 0..20_u8 {
        let rows: Vec<Row> =
            (0..60).map(|key| (vec![key].into(), vec![number; usize::from(key)].into())).collect();
        // Each state lacks other keys than the state before.
        let (there, gone): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|(key, _)| (key[0] ^ number) % 3 != 0);
        let mut batch = WriteBatch::new();
        for table in [Table::Events, Table::Meta] {
            there.iter().for_each(|(key, value)| batch.put(table, key.clone(), value.clone()));
            gone.iter().for_each(|(key, _)| batch.remove(table, key.clone()));
        }
        commit(&*store, batch).await;
        held.push((view(&*store).await, there));
        for (number, (view, rows)) in held.iter().enumerate() {
            for table in [Table::Events, Table::Meta] {
                let found = read_table(&**view, table).await;
                assert_eq!(
                    &found, rows,
                    "an isolated view keeps the state it was taken from (scan, state {number})"
                );
                for key in 0..60_u8 {
                    let wanted =
                        rows.iter().find(|(there, _)| there[0] == key).map(|(_, value)| value.clone());
                    let found = get(&**view, table, &[key]).await;
                    assert_eq!(
                        found, wanted,
                        "an isolated view keeps the state it was taken from (get, state {number})"
                    );
                }
            }
        }
    }
}

/// State `number`: every row of both tables holds the number, and the existing rows are those of its parity.
fn state(number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    let value = Bytes::copy_from_slice(&number.to_be_bytes());
    for row in 0..ROWS {
        for table in [Table::Events, Table::ByKey] {
            batch.put(table, row.to_be_bytes().to_vec(), value.clone());
            let (there, gone) = if number.is_multiple_of(2) { (b'e', b'o') } else { (b'o', b'e') };
            let key = |parity: u8| [&row.to_be_bytes()[..], &[parity]].concat();
            batch.put(table, key(there), value.clone());
            batch.remove(table, key(gone));
        }
    }
    batch
}

fn number_in(value: &[u8]) -> u64 {
    value.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The number of the state that a scan shows, after checking that it shows only one.
async fn state_shown(view: &dyn View, table: Table, direction: Direction) -> u64 {
    let page = page(view, all_of(table, KeyRange::ALL, direction)).await;
    let numbers: Vec<u64> = page.rows().map(|(_, value)| number_in(value)).collect();
    let first = numbers.first().copied().unwrap_or_default();
    assert!(
        numbers.iter().all(|number| *number == first),
        "{HALF}: one scan of {table:?} shows rows of states {:?} to {:?}",
        numbers.iter().min(),
        numbers.iter().max()
    );
    assert_eq!(
        numbers.len(),
        usize::from(ROWS) * 2,
        "{HALF}: one scan of {table:?} misses rows, or has removed ones"
    );
    first
}

/// Ends the concurrent work, also when a promise is broken.
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn new() -> Self {
        Self(Arc::default())
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

async fn read_states(store: Arc<dyn EventStore>, stop: Arc<AtomicBool>, rounds: Arc<AtomicU64>) {
    let isolated = store.capabilities().isolated_views;
    let mut latest = 0;
    while !stop.load(Ordering::SeqCst) {
        let view = view(&*store).await;
        let mut shown = None;
        for (table, direction) in [
            (Table::Events, Direction::Forward),
            (Table::ByKey, Direction::Backward),
            (Table::ByKey, Direction::Forward),
            (Table::Events, Direction::Backward),
        ] {
            let row = (rounds.load(Ordering::Relaxed) % u64::from(ROWS)).to_be_bytes();
            let by_get = get(&*view, table, &row[6..]).await.map_or(0, |value| number_in(&value));
            let by_scan = state_shown(&*view, table, direction).await;
            assert!(
                by_get >= latest && by_scan >= by_get,
                "{OLDER}: {latest}, then {by_get}, then {by_scan}"
            );
            if isolated {
                let shown = *shown.get_or_insert(by_get);
                assert_eq!((by_get, by_scan), (shown, shown), "{HALF}: two states through one isolated view");
            }
            latest = by_scan;
        }
        rounds.fetch_add(1, Ordering::SeqCst);
    }
}

pub(super) async fn no_reader_sees_half_a_batch(bench: &Bench<'_>) {
    let store = bench.fresh().await;
    commit(&*store, state(1)).await;
    let stop = Stop::new();
    let rounds: Vec<Arc<AtomicU64>> = (0..READERS).map(|_| Arc::default()).collect();
    let readers: Vec<_> = rounds
        .iter()
        .map(|rounds| beside(read_states(store.clone(), stop.0.clone(), rounds.clone())))
        .collect();
    let writer = beside({
        let (store, stop) = (store.clone(), stop.0.clone());
        let readers: Vec<_> = readers.iter().map(tokio::task::JoinHandle::abort_handle).collect();
        async move {
            let mut number = 2;
            let read_enough = || rounds.iter().all(|rounds| rounds.load(Ordering::SeqCst) >= 50);
            while !stop.load(Ordering::SeqCst) && (number < 150 || !read_enough()) {
                commit(&*store, state(number)).await;
                number += 1;
                if readers.iter().any(tokio::task::AbortHandle::is_finished) {
                    break;
                }
            }
            stop.store(true, Ordering::SeqCst);
        }
    });
    for reader in readers {
        finished(PROGRESS, reader).await;
    }
    finished(PROGRESS, writer).await;
}

/// A long-lived view blocks no commit, and continuous commits block no reader.
pub(super) async fn reading_and_writing_go_on_together(bench: &Bench<'_>) {
    let store = bench.fresh().await;
    commit(&*store, batch_of(Table::Meta, &[("key".into(), "value".into())])).await;
    let held = view(&*store).await;
    assert!(get(&*held, Table::Meta, b"key").await.is_some(), "a view shows the latest commit");

    let stop = Stop::new();
    let writer = beside({
        let (store, stop) = (store.clone(), stop.0.clone());
        async move {
            let mut number = 0;
            while number < 5 || !stop.load(Ordering::SeqCst) {
                let mut batch = state(number);
                batch.put(Table::Meta, "key", number.to_be_bytes().to_vec());
                commit_as(&*store, batch, Durability::Immediate).await;
                number += 1;
            }
        }
    });
    let readers: Vec<_> = (0..READERS).map(|_| beside(read_many_times(store.clone()))).collect();
    for reader in readers {
        finished(PROGRESS, reader).await;
    }
    drop(stop);
    finished(PROGRESS, writer).await;
    assert!(get(&*held, Table::Meta, b"key").await.is_some(), "a view is good for as long as it is held");
}

async fn read_many_times(store: Arc<dyn EventStore>) {
    for round in 0..200_u16 {
        let view = view(&*store).await;
        let found = get(&*view, Table::Meta, b"key").await;
        assert!(found.is_some(), "a row that is only ever written over is always there");
        let found = get(&*view, Table::Events, &(round % ROWS).to_be_bytes()).await;
        assert!(found.is_none_or(|value| value.len() == 8), "a value is read as it was written");
    }
}
