//! Promise: a watcher sees every event of its prefix once, in the order of arrival, across restarts of itself and of
//! the replica; or gets an error.

use std::time::Duration;

use crate::support::Kept;
use aevrion_core::store::Durability;
use aevrion_core::{
    Cursor, Event, Operation, Options, Replica, Timestamp, Value, Watch, WatchError, Watched,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

async fn open(store: &Kept) -> Replica {
    let options = Options::default().index_batch(20).arrivals_kept(100);
    Replica::open(store.clone(), options).await.unwrap()
}

/// The watcher's next item; a test that waits in vain fails instead of hanging.
async fn next(watch: &mut Watch) -> Option<Watched> {
    timeout(Duration::from_secs(20), watch.next()).await.expect("an event comes").unwrap()
}

fn key_of(watched: &Watched) -> String {
    String::from_utf8(watched.event.key().to_vec()).unwrap()
}

#[tokio::test]
async fn sees_what_comes_in_the_order_of_arrival() {
    let replica = open(&Kept::default()).await;
    replica.put("before", "unseen").await.unwrap();
    let mut watch = replica.watch("plane:", None).unwrap();
    let late = Event::new("plane:late".into(), Value::Deletion, Timestamp::from_millis(5)).unwrap();
    replica.put("plane:now", "1").await.unwrap();
    replica.put("train:now", "2").await.unwrap();
    replica.insert(vec![late.clone(), late], Durability::Immediate).await.unwrap();
    replica
        .batch(vec![Operation::put("plane:a", "3"), Operation::delete("plane:b")], Durability::Buffered)
        .await
        .unwrap();
    for expected in ["plane:now", "plane:late", "plane:a", "plane:b"] {
        assert_eq!(key_of(&next(&mut watch).await.unwrap()), expected);
    }
    replica.close().await.unwrap();
    assert_eq!(next(&mut watch).await, None);
}

#[tokio::test]
async fn wakes_when_something_comes() {
    let replica = open(&Kept::default()).await;
    let mut watch = replica.watch("", None).unwrap();
    let waiting = tokio::spawn(async move { next(&mut watch).await });
    tokio::task::yield_now().await;
    replica.put("key", "value").await.unwrap();
    assert_eq!(key_of(&waiting.await.unwrap().unwrap()), "key");
}

#[tokio::test]
async fn resumes_without_gap_or_repeat() {
    let store = Kept::default();
    let mut replica = open(&store).await;
    let mut cursor = replica.watch("", None).unwrap().cursor();
    let (mut written, mut seen) = (0, Vec::new());
    for round in 0..30 {
        let batch = (0..round % 7 + 1).map(|_| {
            written += 1;
            Operation::put(format!("{written}"), "")
        });
        replica.batch(batch.collect(), Durability::Immediate).await.unwrap();
        if round % 5 == 4 {
            replica.close().await.unwrap();
            replica = open(&store).await;
        }
        // A watcher resumes, sees some items, and goes away again.
        let resumed: Cursor = cursor.to_string().parse().unwrap();
        let mut watch = replica.watch("", Some(resumed)).unwrap();
        for _ in 0..(written - seen.len()).min(round % 4 + 2) {
            let watched = next(&mut watch).await.unwrap();
            seen.push(key_of(&watched));
            cursor = watched.cursor;
        }
    }
    let mut watch = replica.watch("", Some(cursor)).unwrap();
    while seen.len() < written {
        seen.push(key_of(&next(&mut watch).await.unwrap()));
    }
    assert_eq!(seen, (1..=written).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn is_told_when_its_cursor_is_too_old() {
    let replica = open(&Kept::default()).await;
    let old = replica.watch("", None).unwrap().cursor();
    let mut slow = replica.watch("", Some(old)).unwrap();
    for number in 0..500 {
        replica.write(Operation::put(format!("{number}"), ""), Durability::Buffered).await.unwrap();
    }
    assert!(matches!(replica.watch("", Some(old)), Err(WatchError::Compacted { oldest }) if oldest > 0));
    assert!(matches!(slow.next().await, Err(WatchError::Compacted { .. })));
    let kept = replica.status().await.unwrap().arrivals;
    assert!(kept.end == 500 && kept.start > 300 && kept.end - kept.start >= 100, "{kept:?}");
    assert!(replica.verify(|_| {}).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_cursor_of_another_node_is_refused() {
    let (one, other) = (open(&Kept::default()).await, open(&Kept::default()).await);
    let cursor = one.watch("", None).unwrap().cursor();
    assert!(matches!(other.watch("", Some(cursor)), Err(WatchError::OtherNode)));
    assert!("6d8a31cc".parse::<Cursor>().is_err() && "x-1".parse::<Cursor>().is_err());
}

#[tokio::test]
async fn a_read_that_fails_skips_nothing() {
    let store = Kept::default();
    let replica = open(&store).await;
    let mut watch = replica.watch("", None).unwrap();
    let writes = vec![Operation::put("x", ""), Operation::put("y", "")];
    replica.batch(writes, Durability::Immediate).await.unwrap();
    let mut failures = 0;
    for expected in ["x", "y"] {
        store.fail_reads(1);
        while let Err(error) =
            watch.next().await.map(|watched| assert_eq!(key_of(&watched.unwrap()), expected))
        {
            assert!(matches!(error, WatchError::Read(_)), "{error}");
            failures += 1;
        }
    }
    assert_eq!(failures, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_only_buffered_is_not_shown_yet() {
    let store = Kept::default();
    let replica = open(&store).await;
    let mut watch = replica.watch("", None).unwrap();
    let before = store.syncs();
    replica.write(Operation::put("key", ""), Durability::Buffered).await.unwrap();
    assert_eq!(key_of(&next(&mut watch).await.unwrap()), "key");
    assert_eq!(store.syncs(), before + 1, "it was shown before it was durable");
}

#[tokio::test]
async fn who_watches_other_keys_reads_nothing_of_large_values() {
    const WATCHERS: usize = 60;
    const PUTS: usize = 5;
    let store = Kept::default();
    let replica = open(&store).await;
    let mut others = JoinSet::new();
    for _ in 0..WATCHERS {
        let mut watch = replica.watch("other:", None).unwrap();
        others.spawn(async move { next(&mut watch).await });
    }
    let large = vec![7; 16 << 20];
    let (reads, bodies) = (store.reads(), store.body_reads());
    for number in 0..PUTS {
        replica.put(format!("large:{number}"), large.clone()).await.unwrap();
    }
    // A watcher that has seen this write has skipped the large ones.
    replica.put("other:key", "small").await.unwrap();
    while let Some(seen) = others.join_next().await {
        assert_eq!(key_of(&seen.unwrap().unwrap()), "other:key");
    }
    assert_eq!(store.body_reads(), bodies);
    let reads = store.reads() - reads;
    assert!(reads < 2 * (WATCHERS + PUTS) as u64, "{reads} reads: the watchers read what is not theirs");
}

#[tokio::test]
async fn who_comes_back_passes_over_large_values_of_other_keys() {
    let store = Kept::default();
    let replica = open(&store).await;
    let cursor = replica.watch("", None).unwrap().cursor();
    for number in 0..5 {
        replica.put(format!("large:{number}"), vec![7; 100_000]).await.unwrap();
    }
    replica.put("other:key", "small").await.unwrap();
    let bodies = store.body_reads();
    let mut watch = replica.watch("other:", Some(cursor)).unwrap();
    assert_eq!(key_of(&next(&mut watch).await.unwrap()), "other:key");
    assert_eq!(store.body_reads(), bodies);
    let mut watch = replica.watch("large:", Some(cursor)).unwrap();
    assert_eq!(next(&mut watch).await.unwrap().event.value().len(), 100_000);
    assert_eq!(store.body_reads(), bodies + 1);
}
