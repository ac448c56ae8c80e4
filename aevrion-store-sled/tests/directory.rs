//! A store's directory has one holder at a time, until the last view is dropped; an incomplete store is completed by
//! the next open.

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

/// The result of a kill while sled writes its first file: settings without their checksum.
#[test]
fn is_made_to_the_end_after_a_kill() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("store");
    drop(SledStore::open(&path).unwrap());
    let settings = path.join("sled/conf");
    let whole = std::fs::read(&settings).unwrap();
    for kept in [0, 4, whole.len() - 4, whole.len() - 1] {
        std::fs::remove_file(path.join("sled/db")).unwrap();
        std::fs::write(&settings, &whole[..kept]).unwrap();
        drop(SledStore::open(&path).unwrap());
        assert_eq!(std::fs::read(&settings).unwrap(), whole, "{kept} bytes of the settings were there");
    }
}
