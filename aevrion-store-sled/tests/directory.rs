//! A store's directory is held by one at a time, until the last view is gone.

use aevrion_core::store::{DirectoryError, Durability, EventStore, StoreError, Table, WriteBatch};
use aevrion_store_sled::{OpenError, SledStore};

#[tokio::test]
async fn held_until_the_last_view_is_gone() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("store");
    let store = SledStore::open(&path).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(Table::Meta, "key", "value");
    store.commit(batch, Durability::Buffered).await.unwrap();
    let view = store.view().await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.view().await.err(), Some(StoreError::Closed)));
    assert_eq!(view.get(Table::Meta, b"key").await.unwrap().as_deref(), Some(b"value".as_slice()));

    let refusal = SledStore::open(&path).unwrap_err();
    assert!(matches!(refusal, OpenError::Directory(DirectoryError::InUse { .. })), "{refusal}");
    drop(view);
    let store = SledStore::open(&path).unwrap();
    let view = store.view().await.unwrap();
    assert_eq!(view.get(Table::Meta, b"key").await.unwrap().as_deref(), Some(b"value".as_slice()));
}

#[test]
fn refuses_what_is_not_its_own() {
    let parent = tempfile::tempdir().unwrap();
    std::fs::write(parent.path().join("thesis.doc"), "…").unwrap();
    let refusal = SledStore::open(parent.path()).unwrap_err();
    assert!(matches!(refusal, OpenError::Directory(DirectoryError::NotAStore(_))), "{refusal}");
}
