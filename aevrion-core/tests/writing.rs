//! Promise: writes are grouped, bounded and answered honestly: acknowledged writes are stored, the queue is bounded,
//! and the order of callers is kept.

use std::sync::Arc;
use std::time::Duration;

use crate::support::Kept;
use crate::support::running::Running;
use aevrion_core::store::{Capabilities, Durability, EventStore, MemoryStore, StoreError, View, WriteBatch};
use aevrion_core::{Event, Operation, Options, Replica, Timestamp, Value, WriteError, bounds};
use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

async fn open(store: &Kept) -> Replica {
    Replica::open(store.clone(), Options::default()).await.unwrap()
}

#[tokio::test]
async fn many_writers_share_a_commit() {
    let store = Kept::gated();
    store.let_commit(1);
    let replica = open(&store).await;
    let mut writers = JoinSet::new();
    for number in 0..1_000 {
        let replica = replica.clone();
        writers.spawn(async move { replica.put(format!("key{number}"), "value").await });
    }
    // All of them are queued before the first commit may pass.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    store.let_commit(10);
    while let Some(written) = writers.join_next().await {
        written.unwrap().unwrap();
    }
    assert!(store.commits() <= 4, "{} commits for 1,000 writes", store.commits());
    assert_eq!(replica.status().await.unwrap().events, 1_000);
}

/// While the disk stands still callers wait, most of them outside the queue.
#[tokio::test]
async fn the_queue_is_bounded_in_bytes() {
    let store = Kept::gated();
    store.let_commit(1);
    let replica = open(&store).await;
    let value = vec![0; 1 << 20];
    let queued = bounds::QUEUE_BYTES / value.len();
    let mut writers = JoinSet::new();
    for number in 0..queued * 3 {
        let (replica, value) = (replica.clone(), value.clone());
        writers.spawn(async move { replica.put(format!("key{number:03}"), value).await });
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(writers.try_join_next().is_none(), "nothing is stored, and nothing refused");
    // A caller in the queue is answered when the replica closes; one that waits for room gets an error.
    let closing = tokio::spawn({
        let replica = replica.clone();
        async move { replica.close().await }
    });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    store.let_commit(1_000);
    closing.await.unwrap().unwrap();
    let mut stored = 0;
    while let Some(written) = writers.join_next().await {
        stored += usize::from(written.unwrap().is_ok());
    }
    // The writes in the queue before the close, and their replacements during the commits.
    assert!(stored >= queued - 1 && stored <= queued * 2, "{stored} of {} were queued", queued * 3);
}

#[tokio::test]
async fn reads_do_not_wait_for_a_commit() {
    let store = Kept::gated();
    store.let_commit(2);
    let replica = open(&store).await;
    replica.put("key", "old").await.unwrap();
    let slow = tokio::spawn({
        let replica = replica.clone();
        async move { replica.put("key", "new").await }
    });
    for _ in 0..10 {
        tokio::task::yield_now().await;
        assert_eq!(replica.get("key").await.unwrap().as_deref(), Some(b"old".as_slice()));
    }
    store.let_commit(1);
    slow.await.unwrap().unwrap();
    assert_eq!(replica.get("key").await.unwrap().as_deref(), Some(b"new".as_slice()));
}

#[tokio::test(start_paused = true)]
async fn buffered_writes_are_synced_within_half_a_second() {
    let store = Kept::default();
    let replica = open(&store).await;
    let before = store.syncs();
    replica.write(Operation::put("key", "value"), Durability::Buffered).await.unwrap();
    assert_eq!(store.syncs(), before);
    tokio::time::sleep(Duration::from_millis(501)).await;
    assert_eq!(store.syncs(), before + 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(store.syncs(), before + 1, "nothing to sync, no sync");
}

#[tokio::test]
async fn batches_are_bounded() {
    let replica = open(&Kept::default()).await;
    let many = vec![Operation::delete("key"); bounds::BATCH_OPERATIONS + 1];
    let refused = replica.batch(many, Durability::Buffered).await.unwrap_err();
    assert!(matches!(refused, WriteError::BatchTooLarge { .. }), "{refused}");
    let value = vec![0; 10 << 20];
    let large = vec![Operation::put("key", value); 7];
    assert!(matches!(
        replica.batch(large, Durability::Buffered).await,
        Err(WriteError::BatchTooLarge { .. })
    ));
    assert!(replica.batch(Vec::new(), Durability::Immediate).await.unwrap().is_empty());
    assert_eq!(replica.status().await.unwrap().events, 0);
}

#[tokio::test]
async fn nothing_is_taken_after_closing() {
    let replica = open(&Kept::default()).await;
    replica.put("key", "value").await.unwrap();
    replica.close().await.unwrap();
    assert!(matches!(replica.put("key", "value").await, Err(WriteError::Closed)));
    assert!(replica.get("key").await.is_err());
    assert!(replica.root().await.is_err());
    replica.close().await.unwrap();
}

/// Readers and a writer on few keys: a reader never sees a key go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_never_sees_a_key_go_back() {
    let replica = open(&Kept::default()).await;
    replica.put("key", "0").await.unwrap();
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let replica = replica.clone();
        readers.spawn(async move {
            let mut last = 0_u64;
            while last < 3_000 {
                let value = replica.get("key").await.unwrap().unwrap();
                let number = std::str::from_utf8(&value).unwrap().parse().unwrap();
                assert!(number >= last, "{number} after {last}");
                last = number;
                tokio::task::yield_now().await;
            }
        });
    }
    for number in 1..=3_000 {
        replica.put("key", number.to_string()).await.unwrap();
        let own = replica.get("key").await.unwrap().unwrap();
        assert_eq!(own, number.to_string(), "a node reads its own writes");
    }
    while let Some(reader) = timeout(Duration::from_secs(60), readers.join_next()).await.unwrap() {
        reader.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_stored_though_it_failed_is_noticed() {
    let store = Kept::default();
    let replica = open(&store).await;
    let deletion = || Value::Deletion;
    replica.put_at("key", deletion(), Timestamp::from_millis(1_000)).await.unwrap();
    store.lie_once();
    replica.put_at("key", deletion(), Timestamp::from_millis(2_000)).await.unwrap_err();
    assert!(replica.status().await.unwrap().read_only.is_some());
    tokio::time::sleep(Duration::from_secs(2)).await;
    replica.put_at("key", deletion(), Timestamp::from_millis(2_000)).await.unwrap();
    replica.put_at("key", deletion(), Timestamp::from_millis(3_000)).await.unwrap();
    let status = replica.status().await.unwrap();
    assert_eq!((status.events, status.root.count, status.arrivals), (3, 3, 0..3));
    assert!(status.read_only.is_none());
    assert!(replica.verify(|_| {}).await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_in_the_writer_stores_nothing_of_the_lot() {
    let store = Kept::default();
    let replica = open(&store).await;
    replica.put_at("key", Value::Deletion, Timestamp::from_millis(2_000)).await.unwrap();
    let event = |key: &'static str, ms| {
        let time = Timestamp::from_millis(ms);
        Event::new(key.into(), Value::Deletion, time).unwrap()
    };
    store.fail_reads(1);
    let events = vec![event("new", 3_000), event("late", 1_000)];
    replica.insert(events.clone(), Durability::Immediate).await.unwrap_err();
    assert_eq!(replica.status().await.unwrap().events, 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(replica.insert(events, Durability::Immediate).await.unwrap().new, 2);
    assert!(replica.verify(|_| {}).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_write_has_its_turn_while_the_hashes_of_a_walk_are_stored() {
    let store = Kept::default();
    let replica = open(&store).await;
    let mut import = replica.import();
    // A node for each event, and ten messages of nodes.
    for minute in 0..10 * bounds::HASH_ROWS as u64 {
        let time = Timestamp::from_millis(minute * 60_000);
        import.push(Event::new("key".into(), Value::Deletion, time).unwrap()).await.unwrap();
    }
    import.finish().await.unwrap();
    store.close_gate();
    let (walker, writer) = (replica.clone(), replica.clone());
    let walking = tokio::spawn(async move { walker.root().await });
    // The walk waits until its first nodes are stored.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let writing = tokio::spawn(async move { writer.put("other", "value").await });
    let before = store.commits();
    while !writing.is_finished() {
        store.let_commit(1);
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    }
    let commits = store.commits() - before;
    assert!(commits <= 3, "it waited for {commits} commits");
    assert!(!walking.is_finished());
    store.let_commit(1_000);
    assert_eq!(walking.await.unwrap().unwrap().count, 10 * bounds::HASH_ROWS as u64);
}

/// A disk with slow commits.
struct Slow(MemoryStore);

#[async_trait]
impl EventStore for Slow {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.0.commit(batch, durability).await
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        self.0.view().await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.0.close().await
    }
}

/// While writes of a busy key wait, one of them is due at every commit that takes over a millisecond.
#[tokio::test(start_paused = true)]
async fn a_busy_key_takes_no_turn_of_others_where_commits_are_slow() {
    let options = Options::default().wall(Running(Instant::now())).max_drift(Duration::from_millis(100));
    let replica = Replica::open(Slow(MemoryStore::new()), options).await.unwrap();
    let mut hot = JoinSet::new();
    for _ in 0..600 {
        let replica = replica.clone();
        hot.spawn(async move { replica.put("hot", "value").await });
    }
    // By now the drift is used up, and hundreds of writes wait.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    replica.put("other", "value").await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(50), "it waited for {:?}", began.elapsed());
    assert!(hot.try_join_next().is_some_and(|first| first.unwrap().is_ok()));
    let written = hot.join_all().await;
    assert!(
        written.iter().filter(|write| write.is_ok()).count() > 400,
        "the busy key is written all the same"
    );
}
