//! Any sequence of calls reads like one sorted map per table: covers the cases that the other promises miss.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::bench::{Bench, DIRECTIONS, Row, commit_as, expected, get, page, read, view};
use crate::bounds::PAGE_BYTES;
use crate::conformance::{Numbers, filler};
use crate::store::{
    Durability, EventStore, KeyRange, PageLimit, Projection, ScanRequest, Table, View, WriteBatch,
};

const SEEDS: [u64; 3] = [1, 2, 3];
const STEPS: usize = 250;

type Model = BTreeMap<Table, BTreeMap<Bytes, Bytes>>;

pub(super) async fn any_sequence_reads_like_a_sorted_map(bench: &Bench<'_>) {
    for seed in SEEDS {
        let directory = bench.new_directory();
        let mut store = bench.open(directory.clone()).await;
        let mut numbers = Numbers::new(seed);
        let mut model = Model::new();
        for step in 0..STEPS {
            let context =
                format!("any sequence of calls reads like sorted maps: not so with seed {seed}, step {step}");
            if store.capabilities().persistent && numbers.below(60) == 0 {
                store.close().await.unwrap_or_else(|error| panic!("{context}: close: {error}"));
                drop(store);
                store = bench.open(directory.clone()).await;
            }
            change(&mut numbers, &*store, &mut model).await;
            let view = view(&*store).await;
            for _ in 0..4 {
                compare(&mut numbers, &view, &model, &context).await;
            }
        }
    }
}

/// Short keys over few bytes, so that writes hit existing keys and keys are prefixes of each other.
fn key(numbers: &mut Numbers) -> Bytes {
    let length = numbers.below(5);
    (0..length).map(|_| [0x00, 0x01, b'a', 0xFE, 0xFF][numbers.below(5)]).collect()
}

fn table(numbers: &mut Numbers) -> Table {
    Table::ALL[numbers.below(Table::ALL.len())]
}

async fn change(numbers: &mut Numbers, store: &dyn EventStore, model: &mut Model) {
    let mut batch = WriteBatch::new();
    for _ in 0..numbers.below(30) {
        let (table, key) = (table(numbers), key(numbers));
        if numbers.below(3) == 0 {
            model.entry(table).or_default().remove(&key);
            batch.remove(table, key);
        } else {
            let length = [0, 1, 20, 200, 5_000][numbers.below(5)];
            let value = filler(numbers.next(), length);
            model.entry(table).or_default().insert(key.clone(), value.clone());
            batch.put(table, key, value);
        }
    }
    let durability = if numbers.below(8) == 0 { Durability::Immediate } else { Durability::Buffered };
    commit_as(store, batch, durability).await;
}

async fn compare(numbers: &mut Numbers, view: &Arc<dyn View>, model: &Model, context: &str) {
    let (table, sought) = (table(numbers), key(numbers));
    let rows: Vec<Row> =
        model.get(&table).into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    let wanted = rows.iter().find(|(key, _)| *key == sought).map(|(_, value)| value.clone());
    assert!(get(&**view, table, &sought).await == wanted, "{context}: get {sought:?} in {table:?}");

    let (low, high) = (key(numbers), key(numbers));
    let range = KeyRange { start: bound(numbers, &low), end: bound(numbers, &high) };
    let direction = DIRECTIONS[numbers.below(2)];
    let projection = [Projection::Rows, Projection::Keys][numbers.below(2)];
    let limit = PageLimit { rows: numbers.below(40), bytes: [1, 100, 10_000, PAGE_BYTES][numbers.below(4)] };
    let request = ScanRequest { table, range, direction, projection, limit };
    let mut wanted = expected(&rows, range, direction);
    if projection == Projection::Keys {
        wanted.iter_mut().for_each(|(_, value)| *value = Bytes::new());
    }
    let first = page(&**view, request).await;
    assert_eq!(first.complete(), first.len() == wanted.len(), "{context}: complete, of {request:?}");
    assert!(read(&**view, request).await == wanted, "{context}: {request:?}");
}

fn bound<'k>(numbers: &mut Numbers, key: &'k [u8]) -> Bound<&'k [u8]> {
    [Bound::Unbounded, Bound::Included(key), Bound::Excluded(key)][numbers.below(3)]
}
