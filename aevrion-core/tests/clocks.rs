//! Promise: under any wall clock, no acknowledged write of a node is hidden by an older one of the same node, no write
//! hangs or happens without its caller's knowledge, and a waiting write delays no other.

use std::sync::Arc;
use std::time::Duration;

use crate::support::Kept;
use aevrion_core::store::Durability;
use aevrion_core::{
    ClockFault, Event, ManualWall, Operation, Options, Replica, Timestamp, Value, WallClock, WriteError,
    YEAR_2020, bounds,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

const HOUR: u64 = 3_600_000;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

/// A replica whose wall clock shows ten hours.
struct Clocked {
    store: Kept,
    wall: Arc<ManualWall>,
    replica: Replica,
    max_drift: Duration,
}

impl Clocked {
    async fn new(max_drift: Duration) -> Self {
        Self::on(Kept::default(), Arc::new(ManualWall::at(at(10 * HOUR))), max_drift).await
    }

    async fn on(store: Kept, wall: Arc<ManualWall>, max_drift: Duration) -> Self {
        let options = Options::default().wall(Arc::clone(&wall)).max_drift(max_drift);
        let replica = Replica::open(store.clone(), options).await.unwrap();
        Self { store, wall, replica, max_drift }
    }

    /// Kills the process, and restarts it when the wall shows `now`.
    async fn killed(self, now: Timestamp) -> Self {
        drop(self.replica);
        self.wall.set(now);
        Self::on(self.store, self.wall, self.max_drift).await
    }
}

fn is_set_back(refused: &Result<aevrion_core::EventKey, WriteError>) -> bool {
    matches!(refused, Err(WriteError::Clock(ClockFault::SetBack { .. })))
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_refuses_writes_until_it_is_right_again() {
    let node = Clocked::new(Duration::from_secs(60)).await;
    node.replica.put("key", "before").await.unwrap();
    node.wall.set(at(9 * HOUR));
    let began = Instant::now();
    let refused = node.replica.put("key", "after").await;
    assert!(is_set_back(&refused), "{refused:?}");
    assert!(began.elapsed() <= Duration::from_secs(2), "it is not left hanging: {:?}", began.elapsed());
    let by = Duration::from_millis(HOUR);
    assert_eq!(node.replica.clock_fault(), Some(ClockFault::SetBack { by }), "an alarm stands");
    assert_eq!(node.replica.get("key").await.unwrap().as_deref(), Some(&b"before"[..]));
    node.wall.set(at(10 * HOUR + 5));
    assert_eq!(node.replica.clock_fault(), None);
    node.replica.put("key", "after").await.unwrap();
    // The refused write was not made later.
    let versions = node.replica.history("key", &Default::default()).await.unwrap().events;
    assert_eq!(versions.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_right_lets_through_what_waits() {
    let node = Clocked::new(Duration::from_secs(60)).await;
    node.replica.put("key", "before").await.unwrap();
    node.wall.set(at(9 * HOUR));
    let waiting = tokio::spawn({
        let replica = node.replica.clone();
        async move { replica.put("key", "after").await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.wall.set(at(10 * HOUR));
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_caller_has_gone_is_not_made() {
    let node = Clocked::new(Duration::from_secs(60)).await;
    node.replica.put("key", "before").await.unwrap();
    node.wall.set(at(9 * HOUR));
    let gone = node.replica.put("key", "given up");
    tokio::time::timeout(Duration::from_millis(300), gone).await.unwrap_err();
    node.wall.set(at(10 * HOUR + 10_000));
    tokio::time::sleep(Duration::from_secs(5)).await;
    node.replica.put("key", "after").await.unwrap();
    let versions = node.replica.history("key", &Default::default()).await.unwrap().events;
    assert_eq!(versions.len(), 2, "{versions:?}");
}

/// As above, for a write that waits for the disk.
#[tokio::test]
async fn a_write_that_is_given_up_in_the_queue_is_not_made() {
    let store = Kept::gated();
    store.let_commit(1);
    let node = Clocked::on(store, Arc::new(ManualWall::at(at(HOUR))), Duration::from_secs(60)).await;
    let first = tokio::spawn({
        let replica = node.replica.clone();
        async move { replica.put("first", "value").await }
    });
    tokio::task::yield_now().await;
    let given_up = tokio::spawn({
        let replica = node.replica.clone();
        async move { replica.put("second", "value").await }
    });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    node.store.let_commit(100);
    first.await.unwrap().unwrap();
    node.replica.put("third", "value").await.unwrap();
    assert_eq!(node.replica.get("second").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_restart_with_the_clock_back_hides_nothing() {
    let node = Clocked::new(Duration::from_secs(60)).await;
    let written = node.replica.put("key", "acknowledged").await.unwrap();
    let node = node.killed(at(9 * HOUR)).await;
    assert_eq!(node.replica.get("key").await.unwrap().as_deref(), Some(&b"acknowledged"[..]));
    let refused = node.replica.put("key", "newer").await;
    assert!(is_set_back(&refused), "{refused:?}");
    // Within the drift the clock goes on, and the newer write wins.
    let node = node.killed(at(10 * HOUR - 50_000)).await;
    let newer = node.replica.put("key", "newer").await.unwrap();
    assert!(newer > written);
    assert_eq!(node.replica.get("key").await.unwrap().as_deref(), Some(&b"newer"[..]));
}

#[tokio::test(start_paused = true)]
async fn the_operator_may_go_on_from_the_latest_write() {
    let node = Clocked::new(Duration::from_secs(60)).await;
    let before = node.replica.put("key", "before").await.unwrap();
    let node = node.killed(at(9 * HOUR)).await;
    assert!(is_set_back(&node.replica.put("key", "after").await));
    node.replica.resume_clock().await.unwrap();
    assert_eq!(node.replica.clock_fault(), None);
    let after = node.replica.put("key", "after").await.unwrap();
    assert!(after > before);
    // After another restart, too.
    let node = node.killed(at(9 * HOUR + 1_000)).await;
    assert!(node.replica.put("key", "again").await.unwrap() > after);
}

#[tokio::test(start_paused = true)]
async fn a_batch_stays_within_the_drift() {
    let node = Clocked::new(Duration::from_secs(1)).await;
    let batch = |len: usize| (0..len).map(|n| Operation::put("hot", n.to_string())).collect::<Vec<_>>();
    let refused = node.replica.batch(batch(1_001), Durability::Immediate).await.unwrap_err();
    assert!(matches!(refused, WriteError::BatchTooDense { writes: 1_001, most: 1_000 }), "{refused}");
    let written = node.replica.batch(batch(1_000), Durability::Immediate).await.unwrap();
    let last = written[999].timestamp;
    assert!(last <= at(10 * HOUR + 1_000), "{last}");
    // A second batch must wait, and is refused after a while because the wall clock stands still.
    let refused = node.replica.batch(batch(1_000), Durability::Immediate).await.unwrap_err();
    assert!(matches!(refused, WriteError::BusyKey), "{refused}");
    // After a kill no event of the batch is hidden, and a later write wins.
    let node = node.killed(at(10 * HOUR + 10)).await;
    assert_eq!(node.replica.get("hot").await.unwrap().as_deref(), Some(&b"999"[..]));
    assert!(node.replica.put("hot", "later").await.unwrap().timestamp > last);
    // A batch of many different keys needs only one timestamp.
    let wide = (0..5_000).map(|n| Operation::put(format!("key {n}"), "value")).collect();
    node.replica.batch(wide, Durability::Immediate).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_the_writes_of_a_busy_key_wait_and_in_order() {
    let node = Clocked::new(Duration::from_millis(10)).await;
    let mut busy = JoinSet::new();
    for number in 0..30 {
        let replica = node.replica.clone();
        busy.spawn(async move { replica.put("busy", format!("{number}")).await.map(|at| (number, at)) });
        tokio::task::yield_now().await;
    }
    let mut written = Vec::new();
    for _ in 0..11 {
        written.push(busy.join_next().await.unwrap().unwrap().unwrap());
    }
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(busy.try_join_next().is_none(), "the wall stands still, and the drift is used up");
    // Other writes proceed: of another key, of a client's event, of a neighbour's event.
    node.replica.put("other", "value").await.unwrap();
    node.replica.put_at("busy", Value::Deletion, at(5)).await.unwrap();
    for ms in 10 * HOUR + 1..10 * HOUR + 100 {
        node.wall.set(at(ms));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while let Some(answer) = busy.join_next().await {
        written.push(answer.unwrap().unwrap());
    }
    written.sort_unstable();
    assert!(written.is_sorted_by(|a, b| a.1 < b.1), "stamped in the order in which they came: {written:?}");
}

/// Four writes of 16 MiB that wait for the clock, and a neighbour with new events.
#[tokio::test(start_paused = true)]
async fn what_waits_for_the_clock_leaves_the_queue_to_others() {
    let node = Clocked::new(Duration::from_secs(60)).await;
    node.replica.put("key", "before").await.unwrap();
    node.wall.set(at(9 * HOUR));
    let mut waiting = JoinSet::new();
    for number in 0..bounds::QUEUE_BYTES >> 24 {
        let replica = node.replica.clone();
        waiting.spawn(async move { replica.put(format!("large {number}"), vec![0; 16 << 20]).await });
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    let event = Event::new("elsewhere".into(), Value::Deletion, at(8 * HOUR)).unwrap();
    node.replica.insert(vec![event], Durability::Immediate).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO, "it did not wait");
    while let Some(refused) = waiting.join_next().await {
        assert!(is_set_back(&refused.unwrap()));
    }
    assert!(began.elapsed() < Duration::from_secs(2));
}

/// Further waiting writes are refused at once.
#[tokio::test(start_paused = true)]
async fn what_waits_for_the_clock_is_bounded() {
    let node = Clocked::new(Duration::from_secs(60)).await;
    node.replica.put("key", "before").await.unwrap();
    node.wall.set(at(9 * HOUR));
    let began = Instant::now();
    let mut waiting = JoinSet::new();
    for number in 0..bounds::WAITING_WRITES + 100 {
        let replica = node.replica.clone();
        waiting.spawn(async move {
            let refused = replica.put(format!("key {number}"), "value").await;
            assert!(is_set_back(&refused), "{refused:?}");
            began.elapsed()
        });
    }
    let mut at_once = 0;
    while let Some(after) = waiting.join_next().await {
        at_once += usize::from(after.unwrap() < Duration::from_millis(500));
    }
    assert_eq!(at_once, 100);
}

#[tokio::test]
async fn a_time_that_a_client_chose_moves_no_clock() {
    let node = Clocked::new(Duration::from_secs(60)).await;
    node.replica.put_at("ahead", Value::Deletion, at(10 * HOUR + 50_000)).await.unwrap();
    assert_eq!(node.replica.now(), at(10 * HOUR));
    assert_eq!(node.replica.put("key", "value").await.unwrap().timestamp, at(10 * HOUR));
    // A later write of the same millisecond and key wins over a client's event with that timestamp.
    node.replica.put_at("key", Value::Data("placed".into()), at(10 * HOUR + 1)).await.unwrap();
    node.wall.set(at(10 * HOUR + 1));
    let written = node.replica.put("key", "later").await.unwrap();
    assert_eq!(written.timestamp, at(10 * HOUR + 2));
    assert_eq!(node.replica.get("key").await.unwrap().as_deref(), Some(&b"later"[..]));
}

#[tokio::test]
async fn a_lease_ends_by_the_wall() {
    let node = Clocked::new(Duration::from_secs(60)).await;
    let lease = at(10 * HOUR + 30_000);
    node.replica.put_until("lease", "mine", lease).await.unwrap();
    // Writes to a busy key have moved the clock 50 s ahead.
    let busy = (0..50_000).map(|n| Operation::put("busy", n.to_string())).collect();
    node.replica.batch(busy, Durability::Immediate).await.unwrap();
    assert!(node.replica.now() > lease);
    assert_eq!(node.replica.get("lease").await.unwrap().as_deref(), Some(&b"mine"[..]));
    let scanned = node.replica.scan(&Default::default()).await.unwrap();
    assert!(scanned.events.iter().any(|event| event.key() == "lease"));
    assert_eq!(node.replica.get_at("lease", node.replica.now()).await.unwrap(), None, "at a given time");
    node.wall.set(lease);
    assert_eq!(node.replica.get("lease").await.unwrap(), None);
}

/// A machine with an empty battery.
struct Seventies(Arc<ManualWall>);

impl WallClock for Seventies {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn earliest(&self) -> Timestamp {
        YEAR_2020
    }
}

#[tokio::test]
async fn a_clock_in_1970_takes_no_writes() {
    let wall = Arc::new(ManualWall::at(at(12_345)));
    let options = Options::default().wall(Seventies(Arc::clone(&wall)));
    let replica = Replica::open(Kept::default(), options).await.unwrap();
    let refused = replica.put("key", "value").await.unwrap_err();
    assert!(matches!(refused, WriteError::Clock(ClockFault::Impossible { .. })), "{refused}");
    assert!(matches!(replica.refuses_writes(), Some(WriteError::Clock(_))));
    replica.put_at("key", Value::Deletion, at(5)).await.unwrap();
    wall.set(YEAR_2020);
    replica.put("key", "value").await.unwrap();
}

/// A reader of the tree has received everything up to ten o'clock.
#[tokio::test]
async fn nothing_is_stamped_where_a_neighbour_was_told_all() {
    use aevrion_core::agent::ReplicaView;
    let node = Clocked::new(Duration::from_secs(60)).await;
    let until = aevrion_core::TimeSpan::before(at(10 * HOUR)).unwrap();
    ReplicaView::digest(&node.replica, until).await.unwrap();
    node.wall.set(at(10 * HOUR - 5_000));
    assert_eq!(node.replica.put("key", "value").await.unwrap().timestamp, at(10 * HOUR));
}
