//! Promise: the writer never continues from stale memory. After a failed commit it reads the store before it commits
//! again; a view stays paired with its pending rows; and a dying writer reports its end.

use std::time::Duration;

use crate::support::Kept;
use aevrion_core::store::StoreError;
use aevrion_core::{Options, ReadError, Replica, Timestamp, Value, WriteError};

async fn open(store: &Kept) -> Replica {
    Replica::open(store.clone(), Options::default()).await.unwrap()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_committed_before_the_store_was_read_again() {
    let store = Kept::default();
    let replica = open(&store).await;
    replica.put_at("key", Value::Deletion, at(1_000)).await.unwrap();
    // The commit is stored but reports an error, and the store is unreadable afterwards.
    store.lie_once();
    store.fail_views(3);
    replica.put_at("key", Value::Deletion, at(2_000)).await.unwrap_err();
    let refused = replica.put_at("key", Value::Deletion, at(3_000)).await.unwrap_err();
    assert!(matches!(refused, WriteError::ReadOnly(_)), "{refused}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(replica.refuses_writes().is_none(), "it tries again by itself");
    replica.put_at("key", Value::Deletion, at(3_000)).await.unwrap();
    let status = replica.status().await.unwrap();
    assert_eq!((status.events, status.arrivals), (3, 0..3), "the arrival that was stored has kept its place");
    assert!(replica.verify(|_| {}).await.unwrap().is_clean());
}

/// As above, with a view whose reads fail.
#[tokio::test(start_paused = true)]
async fn a_reload_that_fails_half_way_is_repeated() {
    let store = Kept::default();
    let replica = open(&store).await;
    replica.put_at("key", Value::Deletion, at(1_000)).await.unwrap();
    store.lie_once();
    store.fail_reads(2);
    replica.put_at("key", Value::Deletion, at(2_000)).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(5)).await;
    replica.put_at("key", Value::Deletion, at(3_000)).await.unwrap();
    assert_eq!(replica.status().await.unwrap().events, 3);
    assert!(replica.verify(|_| {}).await.unwrap().is_clean());
}

/// An acknowledged key never reads as damaged, nor with its older value.
#[tokio::test(start_paused = true)]
async fn a_commit_that_cannot_be_shown_is_not_shown_by_half() {
    let store = Kept::default();
    let replica = open(&store).await;
    replica.put("key", "old").await.unwrap();
    store.fail_views(1);
    replica.put("key", "new").await.unwrap();
    let read = replica.get("key").await;
    assert!(matches!(read, Err(ReadError::Store(_))), "{read:?}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(replica.get("key").await.unwrap().as_deref(), Some(&b"new"[..]));
    replica.put("key", "newest").await.unwrap();
    assert!(replica.verify(|_| {}).await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_works_again_takes_writes_again_without_being_asked() {
    let store = Kept::default();
    let replica = open(&store).await;
    store.fail_commits(3);
    replica.put("key", "value").await.unwrap_err();
    assert!(matches!(replica.refuses_writes(), Some(WriteError::ReadOnly(_))));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(replica.refuses_writes().is_none());
}

#[tokio::test]
async fn a_writer_that_dies_closes_the_replica_and_says_so() {
    let store = Kept::default();
    let replica = open(&store).await;
    replica.put("key", "value").await.unwrap();
    store.panic_once();
    replica.put("key", "fatal").await.unwrap_err();
    let reason = tokio::time::timeout(Duration::from_secs(20), replica.died()).await.unwrap();
    assert!(reason.contains("panic"), "{reason}");
    assert!(matches!(replica.get("key").await, Err(ReadError::Closed)));
    assert!(replica.refuses_writes().is_some());
    assert!(matches!(replica.close().await, Ok(()) | Err(StoreError::Closed)));
}
