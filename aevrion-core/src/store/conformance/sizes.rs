//! Promises about large values and long keys.

use bytes::Bytes;

use super::bench::{Bench, Row, all_of, batch_of, commit, commit_as, expected, get, read, read_table, view};
use crate::bounds::LONGEST_KEY;
use crate::conformance::filler;
use crate::store::{Direction, Durability, KeyRange, Projection, ScanRequest, Table};

const SIZES: [usize; 7] = [0, 1, 4 << 10, (4 << 10) + 1, 64 << 10, 1 << 20, 16 << 20];

pub(super) async fn values_of_every_size_are_kept(bench: &Bench<'_>) {
    let directory = bench.new_directory();
    let mut store = bench.open(directory.clone()).await;
    let key = |size: usize| Bytes::from(format!("{size:08}"));
    // Each size is written over a smaller one, over a larger one, and to a new key.
    for round in 0..2 {
        let sizes = SIZES.iter().zip(SIZES.iter().cycle().skip(round * 3));
        let rows: Vec<Row> = sizes.map(|(slot, size)| (key(*slot), filler(*size as u64, *size))).collect();
        for row in &rows {
            commit(&*store, batch_of(Table::Bodies, std::slice::from_ref(row))).await;
        }
        if store.capabilities().persistent {
            store.close().await.unwrap_or_else(|error| panic!("close must succeed: {error}"));
            drop(store);
            store = bench.open(directory.clone()).await;
        }
        let view = view(&*store).await;
        for (key, value) in &rows {
            let found = get(&*view, Table::Bodies, key).await;
            assert!(
                found.as_ref() == Some(value),
                "values of every size are kept, also by a persistent store that was closed: {} B became {:?} B, or other bytes",
                value.len(),
                found.map(|found| found.len())
            );
        }
        assert!(read_table(&*view, Table::Bodies).await == rows, "values of every size are kept (scan)");
        let request = all_of(Table::Bodies, KeyRange::ALL, Direction::Backward);
        let keys = read(&*view, ScanRequest { projection: Projection::Keys, ..request }).await;
        assert_eq!(keys.len(), rows.len(), "a scan of keys alone gives the same keys as one of rows");
    }
}

/// The length of an index row for the longest key that a cluster may allow.
pub(super) async fn keys_of_the_longest_size_are_kept(bench: &Bench<'_>) {
    let longest = LONGEST_KEY as usize * 2 + 32;
    let rows: Vec<Row> = [0x00, b'x', 0xFF]
        .into_iter()
        .flat_map(|byte| {
            let key = vec![byte; longest];
            let mut last_differs = key.clone();
            last_differs[longest - 1] = 0x80;
            [key, last_differs]
        })
        .map(|key| (Bytes::from(key), Bytes::new()))
        .collect();
    let store = bench.fresh().await;
    commit_as(&*store, batch_of(Table::ByKey, &rows), Durability::Immediate).await;
    let view = view(&*store).await;
    for (key, value) in &rows {
        assert!(
            get(&*view, Table::ByKey, key).await.as_ref() == Some(value),
            "keys of {longest} B are kept (get)"
        );
    }
    assert!(
        read_table(&*view, Table::ByKey).await == expected(&rows, KeyRange::ALL, Direction::Forward),
        "keys of {longest} B are kept, in order (scan)"
    );
}
