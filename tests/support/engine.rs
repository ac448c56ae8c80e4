//! The stores of the engines, opened in this process.

use std::path::Path;
use std::sync::Arc;

use aevrion_core::store::{EventStore, KeyRange, Pages, Projection, Table, WriteBatch};
use aevrion_core::{Options, Replica};

/// The store of a data directory. Nothing else may have it open.
pub(crate) fn store(engine: &str, data: &Path) -> Arc<dyn EventStore> {
    match engine {
        #[cfg(feature = "redb")]
        "redb" => Arc::new(aevrion_store_redb::RedbStore::open(data).expect("the store opens")),
        #[cfg(feature = "sled")]
        "sled" => Arc::new(aevrion_store_sled::SledStore::open(data).expect("the store opens")),
        other => panic!("no engine is called {other} in this build"),
    }
}

/// The replica of a data directory.
pub(crate) async fn replica(engine: &str, data: &Path) -> Replica {
    Replica::open(store(engine, data), Options::default()).await.expect("the replica opens")
}

/// A runtime for one test.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts")
}

/// A row: key and value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// All rows of a table.
pub(crate) async fn rows(store: &dyn EventStore, table: Table) -> Vec<Row> {
    let view = store.view().await.expect("the store gives a view");
    let mut pages = Pages::new(&*view, table, KeyRange::ALL, Projection::Rows);
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await.expect("the table can be read") {
        rows.extend(page.rows().map(|(key, value)| (key.to_vec(), value.to_vec())));
    }
    rows
}

/// Changes a store without the replica's knowledge, as a disk error or a bug might.
pub(crate) fn plant(engine: &str, data: &Path, table: Table, change: impl FnOnce(&[Row], &mut WriteBatch)) {
    runtime().block_on(async {
        let store = store(engine, data);
        let mut batch = WriteBatch::new();
        change(&rows(&*store, table).await, &mut batch);
        assert!(!batch.is_empty(), "nothing was planted");
        store.commit(batch, aevrion_core::store::Durability::Immediate).await.expect("the plant is taken");
        store.close().await.expect("the store closes");
    });
}
