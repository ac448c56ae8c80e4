//! Promise: a watcher sees that a value has expired: at the wall clock's time, once by cursor, across restarts and
//! failures; and only if the value was the latest of its key.

use std::sync::Arc;
use std::time::Duration;

use crate::support::Kept;
use aevrion_core::store::{Durability, EventStore, KeyRange, Pages, Projection, Table, WriteBatch};
use aevrion_core::{
    Cursor, Effect, Event, ManualWall, Operation, Options, Replica, Timestamp, Value, Watch, Watched,
};
use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::timeout;

const START: u64 = 1_700_000_000_000;

/// A wall clock under the test's control, in milliseconds after its start.
#[derive(Clone)]
struct Wall(Arc<ManualWall>);

impl Wall {
    fn new() -> Self {
        Self(Arc::new(ManualWall::at(at(0))))
    }

    fn set(&self, ms: u64) {
        self.0.set(at(ms));
    }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(START + ms)
}

async fn open(store: &Kept, wall: &Wall) -> Replica {
    let options = Options::default().wall(wall.0.clone()).index_batch(20);
    Replica::open(store.clone(), options).await.unwrap()
}

fn lease(key: &str, timestamp: u64, expires_at: u64) -> Event {
    let value = Value::Expiring { data: "held".into(), expires_at: at(expires_at) };
    Event::new(Bytes::copy_from_slice(key.as_bytes()), value, at(timestamp)).unwrap()
}

async fn insert(replica: &Replica, event: Event) {
    replica.insert(vec![event], Durability::Immediate).await.unwrap();
}

/// The watcher's next item, in words.
async fn next(watch: &mut Watch) -> String {
    told(&timeout(Duration::from_secs(3_600), watch.next()).await.expect("something comes").unwrap().unwrap())
}

fn told(watched: &Watched) -> String {
    let effect = match watched.effect {
        Effect::Stored => "stored",
        Effect::Expired => "expired",
        _ => "?",
    };
    format!("{} {effect}", watched.event.key().escape_ascii())
}

/// Checks that no item arrives, however long the wait.
async fn nothing(watch: &mut Watch) {
    let seen = timeout(Duration::from_secs(60), watch.next()).await;
    assert!(seen.is_err(), "{seen:?}");
}

async fn clean(replica: &Replica) {
    let verified = replica.verify(|_| {}).await.unwrap();
    assert!(verified.is_clean(), "{verified:?}");
}

#[tokio::test(start_paused = true)]
async fn it_is_told_when_the_wall_says_so() {
    let (store, wall) = (Kept::default(), Wall::new());
    let replica = open(&store, &wall).await;
    let mut watch = replica.watch("lock:", None).unwrap();
    replica.put_until("lock:a", "held", at(10_000)).await.unwrap();
    replica.put_until("other", "held", at(5_000)).await.unwrap();
    assert_eq!(next(&mut watch).await, "lock:a stored");
    for ms in [0, 5_000, 9_999] {
        wall.set(ms);
        nothing(&mut watch).await;
        assert!(replica.exists("lock:a", replica.present()).await.unwrap());
    }
    wall.set(10_000);
    let seen = watch.next().await.unwrap().unwrap();
    assert_eq!((told(&seen), seen.event.value().expires_at()), ("lock:a expired".into(), Some(at(10_000))));
    assert!(!replica.exists("lock:a", replica.present()).await.unwrap());
    replica.put("lock:a", "again").await.unwrap();
    assert_eq!(next(&mut watch).await, "lock:a stored");
    nothing(&mut watch).await;
    clean(&replica).await;
}

/// A write ahead of the wall clock, which moves the logical clock, neither ends a lease nor reports one.
#[tokio::test(start_paused = true)]
async fn it_is_told_by_the_wall_and_not_by_the_latest_write() {
    let (store, wall) = (Kept::default(), Wall::new());
    let replica = open(&store, &wall).await;
    replica.put_until("lease", "held", at(20_000)).await.unwrap();
    insert(&replica, lease("ahead", 50_000, 90_000)).await;
    let mut watch = replica.watch("", None).unwrap();
    nothing(&mut watch).await;
    wall.set(20_000);
    assert_eq!(next(&mut watch).await, "lease expired");
}

#[tokio::test(start_paused = true)]
async fn what_was_replaced_before_is_not_told() {
    let (store, wall) = (Kept::default(), Wall::new());
    let replica = open(&store, &wall).await;
    for key in ["renewed", "kept", "deleted", "rewritten"] {
        replica.put_until(key, "held", at(1_000)).await.unwrap();
    }
    replica.put_until("renewed", "held", at(2_000)).await.unwrap();
    replica.put("kept", "for ever").await.unwrap();
    replica.delete("deleted").await.unwrap();
    let mut watch = replica.watch("", None).unwrap();
    wall.set(1_000);
    assert_eq!(next(&mut watch).await, "rewritten expired");
    nothing(&mut watch).await;
    wall.set(2_000);
    assert_eq!(next(&mut watch).await, "renewed expired");
    nothing(&mut watch).await;
    clean(&replica).await;
}

/// A node learns late of a lease that has ended while it was down.
#[tokio::test(start_paused = true)]
async fn what_has_expired_before_it_came_is_told_behind_it() {
    let (store, wall) = (Kept::default(), Wall::new());
    let replica = open(&store, &wall).await;
    wall.set(5_000);
    replica.put("newer", "value").await.unwrap();
    let mut watch = replica.watch("", None).unwrap();
    insert(&replica, lease("late", 10, 1_000)).await;
    insert(&replica, lease("newer", 10, 1_000)).await;
    let mut seen = [next(&mut watch).await, next(&mut watch).await, next(&mut watch).await];
    seen.sort_unstable_by_key(|word| word.starts_with("newer"));
    assert_eq!(seen, ["late stored", "late expired", "newer stored"]);
    nothing(&mut watch).await;
    clean(&replica).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_never_to_be_seen_is_told_when_its_time_comes() {
    let (store, wall) = (Kept::default(), Wall::new());
    let replica = open(&store, &wall).await;
    insert(&replica, lease("key", 900_000, 1_000)).await;
    insert(&replica, Event::new("key".into(), Value::Data("old".into()), at(0)).unwrap()).await;
    let mut watch = replica.watch("", None).unwrap();
    wall.set(899_999);
    nothing(&mut watch).await;
    assert!(replica.exists("key", replica.present()).await.unwrap());
    wall.set(900_000);
    assert_eq!(next(&mut watch).await, "key expired");
    assert!(!replica.exists("key", replica.present()).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn each_is_told_once_from_whatever_cursor_across_restarts() {
    let (store, wall) = (Kept::default(), Wall::new());
    let mut replica = open(&store, &wall).await;
    let begin = replica.watch("", None).unwrap().cursor();
    for round in 0..20 {
        for lease in 0..7 {
            let expiry = at(round * 100 + 50 + lease * 40);
            replica.put_until(format!("{round}-{lease}"), "held", expiry).await.unwrap();
        }
        wall.set(round * 100 + 99);
        if round % 3 == 0 {
            // Closed, or dropped like a killed process.
            if round % 2 == 0 {
                replica.close().await.unwrap();
            }
            replica = open(&store, &wall).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    wall.set(100_000);
    let mut watch = replica.watch("", Some(begin)).unwrap();
    let mut all: Vec<(String, Cursor)> = Vec::new();
    while all.len() < 280 {
        let seen = timeout(Duration::from_secs(60), watch.next()).await.expect("more").unwrap().unwrap();
        all.push((told(&seen), seen.cursor));
    }
    nothing(&mut watch).await;
    let mut words: Vec<_> = all.iter().map(|(word, _)| word).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), 280, "each was stored once and expired once");
    for (place, (_, cursor)) in all.iter().enumerate().step_by(17) {
        let mut watch = replica.watch("", Some(*cursor)).unwrap();
        for (word, _) in &all[place + 1..] {
            assert_eq!(&next(&mut watch).await, word);
        }
    }
    clean(&replica).await;
}

#[tokio::test(start_paused = true)]
async fn what_expired_while_nobody_was_there_is_told_at_the_next_opening() {
    let (store, wall) = (Kept::default(), Wall::new());
    let replica = open(&store, &wall).await;
    replica.put_until("key", "held", at(1_000)).await.unwrap();
    let cursor = replica.watch("", None).unwrap().cursor();
    replica.close().await.unwrap();
    wall.set(1_000_000);
    let replica = open(&store, &wall).await;
    assert_eq!(next(&mut replica.watch("", Some(cursor)).unwrap()).await, "key expired");
}

/// The reporting commit fails, or is stored although the store reports a failure.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_delays_it_and_repeats_nothing() {
    for lies in [true, false] {
        let (store, wall) = (Kept::default(), Wall::new());
        let replica = open(&store, &wall).await;
        for key in ["a", "b"] {
            replica.put_until(key, "held", at(1_000)).await.unwrap();
        }
        let mut watch = replica.watch("", None).unwrap();
        if lies {
            store.lie_once();
        } else {
            store.fail_commits(3);
        }
        wall.set(1_000);
        assert_eq!([next(&mut watch).await, next(&mut watch).await], ["a expired", "b expired"]);
        nothing(&mut watch).await;
        replica.put("c", "").await.unwrap();
        assert_eq!(next(&mut watch).await, "c stored");
        clean(&replica).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_that_is_set_back_makes_nothing_expire_twice() {
    let (store, wall) = (Kept::default(), Wall::new());
    let replica = open(&store, &wall).await;
    replica.put_until("early", "held", at(1_000)).await.unwrap();
    let mut watch = replica.watch("", None).unwrap();
    wall.set(2_000);
    assert_eq!(next(&mut watch).await, "early expired");
    wall.set(500);
    nothing(&mut watch).await;
    clean(&replica).await;
    // Reported expiries stay reported; a new value has its own time.
    replica.put_until("new", "held", at(700)).await.unwrap();
    assert_eq!(next(&mut watch).await, "new stored");
    nothing(&mut watch).await;
    wall.set(700);
    assert_eq!(next(&mut watch).await, "new expired");
    wall.set(1_000_000);
    nothing(&mut watch).await;
    clean(&replica).await;
}

#[tokio::test(start_paused = true)]
async fn very_many_at_once_are_all_told_and_hold_up_no_write() {
    let (store, wall) = (Kept::default(), Wall::new());
    let replica = open(&store, &wall).await;
    for batch in 0..5 {
        let leases = (0..1_000).map(|n| Operation {
            key: format!("{batch}-{n}").into(),
            value: Value::Expiring { data: "held".into(), expires_at: at(1_000) },
        });
        replica.batch(leases.collect(), Durability::Immediate).await.unwrap();
    }
    wall.set(1_000);
    let mut watch = replica.watch("", None).unwrap();
    replica.put("write", "").await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 5_001 {
        seen.push(next(&mut watch).await);
    }
    nothing(&mut watch).await;
    let place = seen.iter().position(|word| word == "write stored").unwrap();
    assert!(place < 2_500, "the write came behind {place} others");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 5_001);
    clean(&replica).await;
}

async fn timetable(store: &Kept) -> Vec<Bytes> {
    let view = store.view().await.unwrap();
    let mut pages = Pages::new(&*view, Table::Timetable, KeyRange::ALL, Projection::Keys);
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        rows.extend(page.into_rows().map(|(key, _)| key));
    }
    rows
}

#[tokio::test(start_paused = true)]
async fn a_store_of_an_older_release_tells_what_expires_from_now_on() {
    let (store, wall) = (Kept::default(), Wall::new());
    let replica = open(&store, &wall).await;
    replica.put_until("past", "held", at(1_000)).await.unwrap();
    replica.put_until("future", "held", at(9_000)).await.unwrap();
    replica.put("value", "").await.unwrap();
    let cursor = replica.watch("", None).unwrap().cursor();
    replica.close().await.unwrap();
    let mut older = WriteBatch::new();
    timetable(&store).await.into_iter().for_each(|row| older.remove(Table::Timetable, row));
    older.remove(Table::Meta, "expired");
    older.put(Table::Meta, "format", Bytes::copy_from_slice(&1_u32.to_be_bytes()));
    store.commit(older, Durability::Immediate).await.unwrap();

    wall.set(5_000);
    let replica = open(&store, &wall).await;
    clean(&replica).await;
    let mut watch = replica.watch("", Some(cursor)).unwrap();
    nothing(&mut watch).await;
    wall.set(9_000);
    assert_eq!(next(&mut watch).await, "future expired");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_timetable_is_named_and_made_again() {
    for scrubs in [true, false] {
        let (store, wall) = (Kept::default(), Wall::new());
        let replica = open(&store, &wall).await;
        replica.put_until("told", "held", at(1_000)).await.unwrap();
        replica.put_until("to tell", "held", at(9_000)).await.unwrap();
        wall.set(5_000);
        let mut watch = replica.watch("told", None).unwrap();
        assert_eq!(next(&mut watch).await, "told expired");
        replica.close().await.unwrap();

        let row = timetable(&store).await.pop().unwrap();
        let mut other_time = row.to_vec();
        other_time[7] ^= 1;
        let mut damage = WriteBatch::new();
        damage.remove(Table::Timetable, row.clone());
        damage.put(Table::Timetable, other_time, Bytes::new());
        damage.put(Table::Timetable, "no row", Bytes::new());
        store.commit(damage, Durability::Immediate).await.unwrap();

        let replica = open(&store, &wall).await;
        let verified = replica.verify(|_| {}).await.unwrap();
        assert_eq!((verified.findings, verified.mendable.len()), (3, 3), "{verified:?}");
        if scrubs {
            let mut scrub = replica.scrub().await.unwrap();
            while !scrub.step(1_000).await.unwrap().ended {}
        } else {
            let rebuilt = replica.rebuild(|_| {}).await.unwrap();
            assert_eq!((rebuilt.rows_added, rebuilt.rows_removed), (1, 2));
        }
        clean(&replica).await;
        assert_eq!(timetable(&store).await, [row]);
        let mut watch = replica.watch("", None).unwrap();
        wall.set(9_000);
        assert_eq!(next(&mut watch).await, "to tell expired");
        nothing(&mut watch).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For any writes and any course of the wall clock, the watcher's items taken together match the reads.
    #[test]
    fn what_was_seen_is_what_is_there(steps in prop::collection::vec((0..4_u8, 0..6_u64, 0..300_u64), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (store, wall) = (Kept::default(), Wall::new());
            let mut replica = open(&store, &wall).await;
            let begin = replica.watch("", None).unwrap().cursor();
            let mut now = 0;
            for (number, (what, key, span)) in steps.into_iter().enumerate() {
                let key = format!("key{key}");
                match what {
                    0 => drop(replica.put_until(&key, number.to_string(), at(now + span)).await.unwrap()),
                    1 => drop(replica.put(&key, number.to_string()).await.unwrap()),
                    2 => {
                        now += span;
                        wall.set(now);
                    }
                    _ => replica = open(&store, &wall).await,
                }
            }
            // The clock is ahead, so a value may expire before the time of its own write: the report waits for that
            // time.
            wall.0.set(replica.now());
            let mut watch = replica.watch("", Some(begin)).unwrap();
            let mut present = std::collections::BTreeMap::new();
            while let Ok(seen) = timeout(Duration::from_secs(10), watch.next()).await {
                let seen = seen.unwrap().unwrap();
                let key = seen.event.key().clone();
                match seen.effect {
                    Effect::Expired => {
                        let had = present.remove(&key);
                        assert_eq!(had.as_ref(), Some(&seen.event), "it was what the key had");
                    }
                    _ => drop(present.insert(key, seen.event)),
                }
            }
            for key in 0..6 {
                let key = format!("key{key}");
                let found = replica.get_event(&key, replica.present()).await.unwrap();
                assert_eq!(found.as_ref(), present.get(key.as_bytes()), "{key}");
            }
        });
    }
}
