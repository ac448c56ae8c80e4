//! Promises about the effect of a commit.

use bytes::Bytes;

use super::bench::{Bench, Row, batch_of, commit, commit_as, get, read_table, view};
use crate::conformance::filler;
use crate::store::{Durability, Table, WriteBatch};

pub(super) async fn a_commit_is_visible_to_every_view_from_then_on(bench: &Bench<'_>) {
    let store = bench.fresh().await;
    for number in 1..40_u8 {
        let durability = if number % 4 == 0 { Durability::Immediate } else { Durability::Buffered };
        let mut batch = WriteBatch::new();
        for table in Table::ALL {
            batch.put(table, "latest", vec![number]);
            batch.put(table, vec![number], vec![number]);
        }
        commit_as(&*store, batch, durability).await;
        let view = view(&*store).await;
        for table in Table::ALL {
            for key in [b"latest".as_slice(), &[number]] {
                assert_eq!(
                    get(&*view, table, key).await.as_deref(),
                    Some([number].as_slice()),
                    "all of a batch is visible to every view taken after its commit ({table:?}, {durability:?})"
                );
            }
            assert_eq!(
                read_table(&*view, table).await.len(),
                usize::from(number) + 1,
                "all of a batch is visible to every view taken after its commit ({table:?}, {durability:?})"
            );
        }
    }
}

pub(super) async fn the_last_write_of_a_key_counts(bench: &Bench<'_>) {
    let store = bench.fresh().await;
    let mut batch = WriteBatch::new();
    for value in ["first", "second", "third"] {
        batch.put(Table::Meta, "put again", value);
    }
    batch.put(Table::Meta, "put, then removed", "value");
    batch.remove(Table::Meta, "put, then removed");
    batch.remove(Table::Meta, "removed, then put");
    batch.put(Table::Meta, "removed, then put", "value");
    commit(&*store, batch).await;
    let view = view(&*store).await;
    let wanted: Vec<Row> =
        vec![("put again".into(), "third".into()), ("removed, then put".into(), "value".into())];
    assert_eq!(read_table(&*view, Table::Meta).await, wanted, "of several writes to one key the last counts");
}

pub(super) async fn removals_remove_and_nothing_else(bench: &Bench<'_>) {
    let rows: Vec<Row> = (0..100_u8).map(|number| (vec![number].into(), vec![number].into())).collect();
    let store = bench.holding(Table::Nodes, &rows).await;
    let mut batch = WriteBatch::new();
    batch.remove(Table::Nodes, "never there");
    batch.remove(Table::Nodes, vec![0, 0]);
    batch.remove(Table::Events, vec![1]);
    for number in (0..100).step_by(3) {
        batch.remove(Table::Nodes, vec![number]);
    }
    commit(&*store, batch.clone()).await;
    let wanted: Vec<Row> = rows.iter().filter(|(key, _)| key[0] % 3 != 0).cloned().collect();
    for time in ["once", "twice"] {
        let view = view(&*store).await;
        let found = read_table(&*view, Table::Nodes).await;
        assert_eq!(found, wanted, "a removal takes away exactly the row of its key (removed {time})");
        assert_eq!(get(&*view, Table::Nodes, &[3]).await, None, "get finds no removed row (removed {time})");
        commit(&*store, batch.clone()).await;
    }
    commit(&*store, batch_of(Table::Nodes, &rows)).await;
    let view = view(&*store).await;
    assert_eq!(read_table(&*view, Table::Nodes).await, rows, "a removed row can be written again");
}

pub(super) async fn an_empty_batch_is_allowed(bench: &Bench<'_>) {
    let store = bench.fresh().await;
    for durability in [Durability::Immediate, Durability::Buffered] {
        commit_as(&*store, WriteBatch::new(), durability).await;
    }
    let rows: Vec<Row> = vec![("key".into(), "value".into())];
    commit_as(&*store, batch_of(Table::Meta, &rows), Durability::Buffered).await;
    commit_as(&*store, WriteBatch::new(), Durability::Immediate).await;
    let view = view(&*store).await;
    assert_eq!(read_table(&*view, Table::Meta).await, rows, "an empty batch changes nothing");
}

/// As large as the writer's largest batch, and larger.
pub(super) async fn a_large_batch_is_one_commit(bench: &Bench<'_>) {
    let store = bench.fresh().await;
    let rows: Vec<Row> = (0..6_000_u32)
        .map(|number| {
            let key = number.wrapping_mul(0x9E37_79B1).to_be_bytes();
            (Bytes::copy_from_slice(&key), filler(u64::from(number), 2_000))
        })
        .collect();
    let mut batch = WriteBatch::new();
    for (key, value) in &rows {
        batch.put(Table::Events, key.clone(), value.clone());
        batch.put(Table::ByKey, key.clone(), Bytes::new());
    }
    commit_as(&*store, batch, Durability::Immediate).await;
    let mut wanted = rows;
    wanted.sort();
    let view = view(&*store).await;
    assert!(read_table(&*view, Table::Events).await == wanted, "a batch of 12 MB is kept whole");
    assert_eq!(read_table(&*view, Table::ByKey).await.len(), wanted.len(), "a batch of 12 MB is kept whole");
}
