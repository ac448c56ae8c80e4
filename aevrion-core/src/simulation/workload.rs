//! The clients: they write with and without their own timestamps, read, and check the answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::plan::{LARGEST, LONGEST_BURST};
use super::random::Random;
use super::wall::START;
use super::world::World;
use crate::index::VersionQuery;
use crate::store::Durability;
use crate::{Event, Operation, ReadError, Replica, Timestamp, Value, WallClock};

/// The time within which a client must get an answer, even a refusal: far more than the slowest disk takes.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// The greatest error of a clock measurement.
const MEASURED_WITHIN: Duration = Duration::from_secs(1);

/// The first writes of each writer of a crowd.
const FIRST_WRITES: u64 = 4;

const SECOND: u64 = 1_000;
const DAY: u64 = 86_400_000;

/// The clients.
pub(super) struct Workload {
    world: Arc<World>,
    random: Random,
    /// The nodes whose clients act.
    writers: Vec<usize>,
    /// Makes every value unique.
    written: u64,
}

impl Workload {
    pub(super) fn new(world: Arc<World>) -> Self {
        let random = Random::new(world.plan.seed, &[9]);
        let writers = world.plan.writers();
        Self { world, random, writers, written: 0 }
    }

    /// Performs the planned actions, at random moments before `end`.
    pub(super) async fn run(mut self, end: Instant) {
        if self.world.plan.is_crowd() {
            self.write_everywhere().await;
        }
        let now = Instant::now();
        let lasts = u64::try_from((end - now).as_millis()).unwrap_or(0);
        let mut moments: Vec<_> = (0..self.world.plan.actions).map(|_| self.random.below(lasts)).collect();
        moments.sort_unstable();
        for moment in moments {
            tokio::time::sleep_until(now + Duration::from_millis(moment)).await;
            let node = self.writers[self.random.place(self.writers.len())];
            if let Some(process) = self.world.nodes[node].process() {
                self.act(node, process.replica);
            }
        }
    }

    /// Each node of a crowd that writes at all begins with some writes, so that the ways of its events form: while the
    /// first ones spread, the next take other ways.
    async fn write_everywhere(&mut self) {
        for _ in 0..FIRST_WRITES {
            for node in self.writers.clone() {
                if let Some(process) = self.world.nodes[node].process() {
                    let operation = self.operation();
                    self.write(node, process.replica, vec![operation], Durability::Immediate);
                }
            }
            self.world.pass(self.world.plan.latency).await;
        }
    }

    fn act(&mut self, node: usize, replica: Replica) {
        match self.random.below(20) {
            0..=6 => {
                let operation = self.operation();
                self.write(node, replica, vec![operation], Durability::Immediate);
            }
            7..=8 => {
                let operations = (0..self.random.between(2, 8)).map(|_| self.operation()).collect();
                self.write(node, replica, operations, Durability::Immediate);
            }
            9 => {
                let operation = self.operation();
                self.write(node, replica, vec![operation], Durability::Buffered);
            }
            10 if self.world.plan.dense => {
                let key = self.key();
                let len = self.random.between(LONGEST_BURST / 2, LONGEST_BURST);
                let operations = (0..len).map(|_| Operation { key: key.clone(), ..self.operation() });
                let operations = operations.collect();
                self.write(node, replica, operations, Durability::Immediate);
            }
            10 => {
                for _ in 0..self.random.between(5, 25) {
                    let operation = self.operation();
                    self.write(node, replica.clone(), vec![operation], Durability::Immediate);
                }
            }
            11..=14 => {
                let at = self.some_time(node);
                self.place(node, replica, at);
            }
            _ => self.look(node, replica),
        }
    }

    /// Writes by the node's clock.
    fn write(&mut self, node: usize, replica: Replica, operations: Vec<Operation>, durability: Durability) {
        let world = Arc::clone(&self.world);
        for Operation { key, value } in &operations {
            world.ledger().ask(key, value);
        }
        self.world.nodes[node].client(async move {
            let offset = world.nodes[node].wall.offset();
            let mut seen = Vec::with_capacity(operations.len());
            for Operation { key, .. } in &operations {
                let Ok(newest) = newest(&replica, key).await else { return };
                seen.push(newest.map(|event| event.timestamp()));
            }
            let settled = world.ledger().settled(node);
            let wrong_clock = world.true_verdict(node, world.plan.max_drift + MEASURED_WITHIN);
            let answer = timeout(ANSWERED_WITHIN, replica.batch(operations.clone(), durability)).await;
            let Ok(answer) = answer else {
                return world.wrong(format!("a write on node {node} was left hanging"));
            };
            let Ok(event_keys) = answer else { return };
            let jumped = world.nodes[node].wall.offset() != offset;
            if let Some(fault) = wrong_clock.filter(|_| !world.plan.troubles.jumps)
                && !world.plan.write_despite_clocks
            {
                world.wrong(format!("node {node} took a write although {fault}"));
            }
            for ((Operation { key, value }, event_key), seen) in
                operations.into_iter().zip(event_keys).zip(seen)
            {
                let Ok(event) = Event::new(key, value, event_key.timestamp) else { continue };
                if event.event_key() != event_key {
                    world.wrong(format!("node {node} answered {event_key} for {}", event.event_key()));
                }
                if settled.is_some_and(|settled| event_key.timestamp <= settled) {
                    world.wrong(format!(
                        "node {node} stamped {event_key} where it had told all to be settled"
                    ));
                }
                let horizon = world.nodes[node].wall.now().after(world.plan.max_drift);
                if !jumped && event_key.timestamp > horizon {
                    world.wrong(format!("node {node} stamped {event_key} beyond the drift allowed"));
                }
                if !jumped && seen.is_some_and(|seen| seen >= event_key.timestamp) {
                    world.wrong(format!(
                        "the write {event_key} on node {node} does not win over what it had seen"
                    ));
                }
                world.traffic().wrote(node, event_key);
                world.promised(node, event, true, durability);
            }
        });
    }

    /// Writes an event with a timestamp of its own.
    fn place(&mut self, node: usize, replica: Replica, at: Timestamp) {
        let Operation { key, value } = self.operation();
        let world = Arc::clone(&self.world);
        world.ledger().ask(&key, &value);
        self.world.nodes[node].client(async move {
            let Ok(event_key) = replica.put_at(&key, value.clone(), at).await else { return };
            let Ok(event) = Event::new(key, value, at) else { return };
            world.traffic().wrote(node, event_key);
            world.promised(node, event, false, Durability::Immediate);
        });
    }

    /// Reads a key, and checks that the answer is possible.
    fn look(&mut self, node: usize, replica: Replica) {
        let key = self.key();
        let world = Arc::clone(&self.world);
        self.world.nodes[node].client(async move {
            let (now, wall) = (replica.now(), world.nodes[node].wall.now());
            let own = world.ledger().own(node, &key);
            let (newest, got) =
                (newest(&replica, &key).await, replica.get_event(&key, replica.present()).await);
            let (Ok(newest), Ok(got)) = (newest, got) else { return };
            for event in got.iter().chain(&newest) {
                if event.timestamp() > now {
                    world.wrong(format!("node {node} shows {} at {now}", event.event_key()));
                }
                if !world.ledger().knows(event) {
                    world.wrong(format!("node {node} shows {}, which nobody wrote", event.event_key()));
                }
            }
            let visible = newest.clone().filter(|event| event.value().visible_at(wall).is_some());
            if got != visible {
                world.wrong(format!("node {node} reads another value of a key than its history says"));
            }
            if own.is_some_and(|own| newest.is_none_or(|newest| newest.timestamp() < own)) {
                world.wrong(format!("node {node} does not read what it wrote at {own:?}"));
            }
        });
    }

    fn key(&mut self) -> Bytes {
        Bytes::from(format!("key-{}", self.random.below(self.world.plan.keys)))
    }

    fn operation(&mut self) -> Operation {
        self.written += 1;
        let mut data = format!("value {}", self.written).into_bytes();
        if self.random.once_in(8) {
            data.resize(LARGEST as usize, b'.');
        }
        let data = Bytes::from(data);
        let value = match self.random.below(10) {
            0..=1 => Value::Deletion,
            2 => {
                let after = Duration::from_millis(self.random.between(1, 20 * SECOND));
                Value::Expiring { data, expires_at: START.after(self.world.began.elapsed() + after) }
            }
            _ => Value::Data(data),
        };
        Operation { key: self.key(), value }
    }

    /// A timestamp for an event: long past, shared by many, just ahead, or far in the future.
    fn some_time(&mut self, node: usize) -> Timestamp {
        let now = self.world.nodes[node].wall.now();
        let later = |ms| now.after(Duration::from_millis(ms));
        match self.random.below(8) {
            0 => now.before(Duration::from_millis(self.random.below(2 * DAY))),
            1 => now.before(Duration::from_millis(self.random.below(5 * SECOND))),
            2..=4 => START.before(Duration::from_millis(self.random.below(3) * 700)),
            5 => later(self.random.below(4 * SECOND)),
            6 => later(self.random.between(DAY, 40 * DAY)),
            _ => later(400 * DAY + self.random.below(DAY)),
        }
    }
}

/// The newest visible version of a key, even if it is a deletion.
async fn newest(replica: &Replica, key: &Bytes) -> Result<Option<Event>, ReadError> {
    let query = VersionQuery { limit: 1, ..VersionQuery::default() };
    Ok(replica.history(key, &query).await?.events.into_iter().next())
}
