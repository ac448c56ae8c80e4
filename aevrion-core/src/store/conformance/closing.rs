//! Promises about closing and reopening a store.

use std::sync::Arc;

use super::bench::{Bench, Row, batch_of, commit, commit_as, read_table, skipped, view};
use crate::conformance::filler;
use crate::store::{Durability, EventStore, StoreError, Table, WriteBatch};

async fn close(store: &dyn EventStore) {
    store.close().await.unwrap_or_else(|error| panic!("close must succeed, also the second time: {error}"));
}

/// Whether the promise is for persistent stores only, and this is none.
pub(super) fn skip(store: &dyn EventStore, promise: &str) -> bool {
    let persistent = store.capabilities().persistent;
    if !persistent {
        skipped(promise, store, "that it is not persistent");
    }
    !persistent
}

pub(super) async fn a_closed_store_says_so(bench: &Bench<'_>) {
    const PROMISE: &str = "every call after close fails with Closed";
    let rows: Vec<Row> = vec![("key".into(), "value".into())];
    let store = bench.holding(Table::Meta, &rows).await;
    let capabilities = store.capabilities();
    let held = view(&*store).await;
    close(&*store).await;
    close(&*store).await;

    for durability in [Durability::Immediate, Durability::Buffered] {
        let refused = store.commit(batch_of(Table::Meta, &rows), durability).await;
        assert!(matches!(refused, Err(StoreError::Closed)), "{PROMISE}: commit gave {refused:?}");
        let refused = store.commit(WriteBatch::new(), durability).await;
        assert!(matches!(refused, Err(StoreError::Closed)), "{PROMISE}: an empty commit gave {refused:?}");
    }
    let refused = store.view().await.err();
    assert!(matches!(refused, Some(StoreError::Closed)), "{PROMISE}: view gave {refused:?}");
    assert_eq!(store.capabilities(), capabilities, "capabilities are constant");

    match held.get(Table::Meta, b"key").await {
        Ok(found) => {
            assert_eq!(
                found.as_deref(),
                Some(b"value".as_slice()),
                "a held view answers right or not at all"
            );
        }
        Err(StoreError::Closed) => {}
        Err(error) => panic!("a held view answers right, or that the store is closed: {error}"),
    }
}

pub(super) async fn closing_makes_everything_durable_and_lets_go(bench: &Bench<'_>) {
    const PROMISE: &str =
        "after close, and once the last view is gone, the store opens again with all it held";
    let directory = bench.new_directory();
    let mut rows: Vec<Row> = Vec::new();
    for round in 0..6_u16 {
        let store = bench.open(directory.clone()).await;
        if skip(&*store, PROMISE) {
            return;
        }
        let last_view = view(&*store).await;
        assert!(read_table(&*last_view, Table::Events).await == rows, "{PROMISE}: not so in round {round}");
        let new: Vec<Row> = (0..200_u16)
            .map(|row| {
                (
                    format!("{round}.{row:03}").into(),
                    filler((round * 1_000 + row).into(), 20 * usize::from(row)),
                )
            })
            .collect();
        commit(&*store, batch_of(Table::Events, &new)).await;
        rows.extend(new);
        if round % 2 == 0 {
            close(&*store).await;
            drop(last_view);
        } else {
            drop(last_view);
            close(&*store).await;
            close(&*store).await;
        }
        // The handle of a closed store may be kept, and must not interfere.
        let closed = store;
        let store = bench.open(directory.clone()).await;
        close(&*store).await;
        drop(closed);
    }
}

/// Calling close is optional. Only durable commits must exist afterwards.
pub(super) async fn dropping_lets_go_too(bench: &Bench<'_>) {
    const PROMISE: &str = "a store that was dropped opens again, with all that was made durable";
    let directory = bench.new_directory();
    for round in 0..4_u8 {
        let store = bench.open(directory.clone()).await;
        if skip(&*store, PROMISE) {
            return;
        }
        let last_view = view(&*store).await;
        assert_eq!(read_table(&*last_view, Table::Meta).await.len(), usize::from(round), "{PROMISE}");
        let rows: Vec<Row> = vec![(vec![round].into(), filler(round.into(), 10_000))];
        commit_as(&*store, batch_of(Table::Meta, &rows), Durability::Immediate).await;
        assert_eq!(Arc::strong_count(&store), 1, "the suite holds no other handle");
        drop(last_view);
    }
}
