//! The disk of a simulated node: its crashes, the duration of its commits, and its failures.
//!
//! A process mounts the disk. After a crash only a new mount sees it; the old process may still run for a while, but
//! its writes no longer arrive. A crash may lose commits that were `Buffered` and not synced since, the later ones
//! before the earlier ones.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::random::Random;
use crate::store::{
    Capabilities, Durability, EventStore, MemoryStore, Page, ScanRequest, StoreError, Table, View, WriteBatch,
};

/// Buffered states that a crash may fall back to.
const REMEMBERED: usize = 16;

/// The present behaviour of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Habits {
    /// Most milliseconds that a commit takes.
    pub(super) slow: u64,
    /// One commit in this number fails; none if 0.
    pub(super) failing: u64,
    /// One view in this number is refused; none if 0.
    pub(super) blind: u64,
    /// One read in this number fails; none if 0.
    pub(super) unreadable: u64,
}

/// The disk of one machine.
pub(super) struct Disk(Mutex<Content>);

struct Content {
    live: MemoryStore,
    synced: MemoryStore,
    /// States since the last sync, each with one more commit.
    buffered: Vec<MemoryStore>,
    /// The number of crashes.
    generation: u64,
    habits: Habits,
    /// The number of spoilt rows.
    spoilt: u32,
    random: Random,
}

/// The outcome of a commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stored,
    Refused,
    /// Reported as failed; stored or not.
    Unknown(bool),
    /// Reported as failed; stored, and not durable.
    Unsynced,
}

impl Disk {
    pub(super) fn new(random: Random) -> Self {
        Self(Mutex::new(Content {
            live: MemoryStore::new(),
            synced: MemoryStore::new(),
            buffered: Vec::new(),
            generation: 0,
            habits: Habits::default(),
            spoilt: 0,
            random,
        }))
    }

    /// Sets the behaviour from now on.
    pub(super) fn become_like(&self, habits: Habits) {
        self.content().habits = habits;
    }

    /// Cuts the power.
    pub(super) fn crash(&self) {
        let mut content = self.content();
        content.generation += 1;
        let states = content.buffered.len();
        let kept = content.random.place(states + 1);
        let survived = match kept.checked_sub(1) {
            None => content.synced.fork(),
            Some(place) => content.buffered[place].fork(),
        };
        content.synced = survived.fork();
        content.live = survived;
        content.buffered.clear();
    }

    /// Flips a bit of a stored tree node, in every state that holds that row. At once, as a commit may be in progress.
    pub(super) fn spoil_node(&self, random: &mut Random) {
        let mut content = self.content();
        let keys = content.live.keys(Table::Nodes);
        if keys.is_empty() {
            return;
        }
        let key = &keys[random.place(keys.len())];
        let (byte, bit) = (random.draw(), random.below(8));
        for state in [&content.live, &content.synced].into_iter().chain(&content.buffered) {
            state.flip(Table::Nodes, key, byte, bit);
        }
        content.spoilt += 1;
    }

    /// The number of spoilt rows.
    pub(super) fn spoilt(&self) -> u32 {
        self.content().spoilt
    }

    /// The number of power cuts.
    pub(super) fn crashes(&self) -> u64 {
        self.content().generation
    }

    /// Mounts the disk for a new process.
    pub(super) fn mount(self: &Arc<Self>) -> Mount {
        Mount { generation: self.content().generation, disk: Arc::clone(self) }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The view of one process on the disk.
pub(super) struct Mount {
    disk: Arc<Disk>,
    generation: u64,
}

impl Mount {
    fn content(&self) -> Result<MutexGuard<'_, Content>, StoreError> {
        let content = self.disk.content();
        if content.generation == self.generation { Ok(content) } else { Err(StoreError::Closed) }
    }

    /// The duration and outcome of the next commit.
    fn fate(&self) -> Result<(Duration, Fate), StoreError> {
        let mut content = self.content()?;
        let Habits { slow, failing, .. } = content.habits;
        let wait = content.random.below(slow + 1);
        let fate = match content.random.once_in(failing) {
            false => Fate::Stored,
            true => {
                let fates = [Fate::Refused, Fate::Unknown(false), Fate::Unknown(true), Fate::Unsynced];
                content.random.pick(fates)
            }
        };
        Ok((Duration::from_millis(wait), fate))
    }

    /// Fails with the probability that `habit` selects.
    fn read(&self, habit: impl FnOnce(Habits) -> u64) -> Result<(), StoreError> {
        let mut content = self.content()?;
        let failing = habit(content.habits);
        if content.random.once_in(failing) { Err(StoreError::Io(failed())) } else { Ok(()) }
    }

    async fn store(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let target = self.content()?.live.fork();
        target.commit(compact(batch), durability).await?;
        let mut content = self.content()?;
        content.live = target.fork();
        match durability {
            Durability::Immediate => {
                content.synced = target;
                content.buffered.clear();
            }
            Durability::Buffered => {
                if content.buffered.len() == REMEMBERED {
                    content.buffered.remove(0);
                }
                content.buffered.push(target);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl EventStore for Mount {
    async fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let (wait, fate) = self.fate()?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        match fate {
            Fate::Stored => self.store(batch, durability).await,
            Fate::Refused => Err(StoreError::Io(failed())),
            Fate::Unknown(stored) => {
                if stored {
                    self.store(batch, durability).await?;
                }
                Err(StoreError::Unknown(failed()))
            }
            Fate::Unsynced => {
                self.store(batch, Durability::Buffered).await?;
                Err(StoreError::Unknown(failed()))
            }
        }
    }

    async fn view(&self) -> Result<Arc<dyn View>, StoreError> {
        self.read(|habits| habits.blind)?;
        let now = self.content()?.live.fork();
        let reader = Mount { disk: Arc::clone(&self.disk), generation: self.generation };
        Ok(Arc::new(FlakyView { state: now.view().await?, reader }))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { isolated_views: true, ..Capabilities::new("simulated") }
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A state of the disk, with failing reads.
struct FlakyView {
    state: Arc<dyn View>,
    reader: Mount,
}

#[async_trait]
impl View for FlakyView {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.reader.read(|habits| habits.unreadable)?;
        self.state.get(table, key).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<Page, StoreError> {
        self.reader.read(|habits| habits.unreadable)?;
        self.state.scan(request).await
    }
}

fn failed() -> Arc<std::io::Error> {
    Arc::new(std::io::Error::other("the simulated disk failed"))
}

/// A copy of the rows in their own memory. The writer cuts rows out of large chunks, which a thousand simulated disks
/// would keep alive for a few bytes each.
fn compact(batch: WriteBatch) -> WriteBatch {
    let mut compacted = WriteBatch::new();
    for (table, writes) in batch.into_tables() {
        for write in writes {
            let key = Bytes::copy_from_slice(&write.key);
            match write.value {
                Some(value) => compacted.put(table, key, Bytes::copy_from_slice(&value)),
                None => compacted.remove(table, key),
            }
        }
    }
    compacted
}
