//! Removed nodes are cut off: what the cluster's authority has said of them stands in the replica, below a key of the
//! system's own, and so it comes to every node by the same way as all events, also to who joins or comes back later.
//!
//! An event there says nothing by itself, for any node can write one. The statement in it counts, if it is true; and
//! then it counts whatever else is written under the same key.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::{Shared, lock};
use crate::replica::{FeedReader, News};
use crate::transport::{Removal, Removals, Transport};
use crate::{Event, NodeId, ReadError, Replica, Value, WriteError};

/// What the keys begin with; the node's id follows.
const PREFIX: &[u8] = b"__aevrion/cluster/removed/";

/// How long to wait when the replica could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Why a node was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// Anyone could have made the statement.
    #[error(
        "the authority of this cluster has not made the statement: `aevrion cluster remove` on its machine makes it"
    )]
    NotTrue,
    /// The replica does not take it.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Replica {
    /// Has `removals` learn what this replica holds. A replica that synchronises does that by itself.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read.
    pub async fn read_removals(&self, removals: &Removals) -> Result<(), ReadError> {
        let mut events = self.system_events(PREFIX)?;
        while let Some(events) = events.next().await? {
            events.iter().for_each(|event| drop(learn(removals, event)));
            // Any node may have written many there: others want to work, too.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Stores the statement that a node was removed, if it is true: from here it goes to every neighbour. Where
    /// `removals` know of that node already, nothing is stored. Below the system's keys nothing else can be written from
    /// outside.
    ///
    /// # Errors
    /// [`RemovalError`].
    pub async fn remove_node(&self, removals: &Removals, statement: &[u8]) -> Result<Removal, RemovalError> {
        let removal = removals.check(statement).ok_or(RemovalError::NotTrue)?;
        if let Some(known) = removals.of(removal.node) {
            return Ok(known);
        }
        let key = Bytes::from([PREFIX, removal.node.to_string().as_bytes()].concat());
        // With the time in the statement it is the same event wherever it is handed in.
        let event = Event::new(key, Value::Data(removal.statement.clone()), removal.at);
        self.insert_system(event.map_err(WriteError::from)?).await?;
        Ok(removals.learn(statement).unwrap_or(removal))
    }
}

/// What an event under the prefix says, if it is true.
fn learn(removals: &Removals, event: &Event) -> Option<Removal> {
    event.value().data().and_then(|statement| removals.learn(statement))
}

/// What a synchronisation knows of removals, over all of its transports.
#[derive(Default)]
pub(super) struct Registry {
    sources: Mutex<Vec<Removals>>,
    /// How many of them have not read yet what the replica holds: nobody is met before.
    reading: watch::Sender<usize>,
    /// Who said that this node was removed, and in what words.
    told: Mutex<Option<(NodeId, String)>>,
}

impl Registry {
    /// The removal of `node`, if it was removed.
    pub(super) fn of(&self, node: NodeId) -> Option<Removal> {
        lock(&self.sources).iter().find_map(|removals| removals.of(node))
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Removal> {
        let mut all: Vec<Removal> = lock(&self.sources).iter().flat_map(Removals::all).collect();
        all.sort_by_key(|removal| removal.node);
        all.dedup_by_key(|removal| removal.node);
        all
    }

    /// 0 when what the replica holds is known.
    pub(super) fn reading(&self) -> watch::Receiver<usize> {
        self.reading.subscribe()
    }

    /// Takes note of a reason that `neighbour` gave, if it is that this node was removed; says whether it is.
    pub(super) fn hear(&self, neighbour: NodeId, reason: &str) -> bool {
        let told = Removal::told_by(reason);
        let is_told = told.is_some();
        if let Some(words) = told {
            *lock(&self.told) = Some((neighbour, words));
        }
        is_told
    }

    /// A neighbour has let this node in: what was said before, by whomever, is over. Anyone can say it, and who did may be
    /// gone; one that knows of a removal says so again.
    pub(super) fn let_in(&self) {
        lock(&self.told).take();
    }

    /// That this node, `own`, was removed: as the statement says, or as a neighbour does.
    pub(super) fn own(&self, own: impl IntoIterator<Item = NodeId>) -> Option<String> {
        let known = own.into_iter().find_map(|own| self.of(own)).map(|removal| removal.own_words());
        let told = || lock(&self.told).clone();
        known.or_else(|| told().map(|(by, words)| format!("{words}, as node {by} says")))
    }
}

/// Learns from the replica who was removed, from now on and for `transport`, and cuts them off.
pub(super) fn follow(shared: &Arc<Shared>, transport: &dyn Transport) {
    let Some(removals) = transport.removals() else { return };
    lock(&shared.removals.sources).push(removals.clone());
    shared.removals.reading.send_modify(|reading| *reading += 1);
    // From before reading: what comes meanwhile is heard of in either way.
    let news = shared.replica.feed();
    shared.spawn(read_and_follow(Arc::downgrade(shared), transport.node(), removals, news));
}

async fn read_and_follow(shared: Weak<Shared>, own: NodeId, removals: Removals, mut news: FeedReader) {
    if read(&shared, own, &removals).await.is_none() {
        return;
    }
    if let Some(shared) = shared.upgrade() {
        shared.removals.reading.send_modify(|reading| *reading -= 1);
    }
    loop {
        let learned = match news.next().await {
            News::Events(fresh) => {
                let of_system = fresh.iter().filter(|fresh| fresh.event.key().starts_with(PREFIX));
                of_system.filter_map(|fresh| learn(&removals, &fresh.event)).collect()
            }
            News::Missed => match read(&shared, own, &removals).await {
                Some(()) => Vec::new(),
                None => return,
            },
        };
        let Some(shared) = shared.upgrade() else { return };
        learned.iter().for_each(|removal| enforce(&shared, own, removal));
    }
}

/// Reads what the replica holds; `None` at the end of either.
async fn read(shared: &Weak<Shared>, own: NodeId, removals: &Removals) -> Option<()> {
    loop {
        let strong = shared.upgrade()?;
        match strong.replica.read_removals(removals).await {
            Ok(()) => {
                removals.all().iter().for_each(|removal| enforce(&strong, own, removal));
                return Some(());
            }
            Err(ReadError::Closed) => return None,
            Err(error) => tracing::warn!(%error, "who was removed cannot be read; trying again"),
        }
        drop(strong);
        tokio::time::sleep(READ_AGAIN).await;
    }
}

/// Nobody that is removed keeps a connection, or is waited for; a node that was removed itself keeps none either.
fn enforce(shared: &Shared, own: NodeId, removal: &Removal) {
    if removal.node == own {
        shared.cut_off(|_| true, &removal.own_words());
        return;
    }
    if shared.cut_off(|neighbour| neighbour == removal.node, &removal.words()) {
        tracing::warn!(neighbour = %removal.node, "cut off: {}", removal.words());
    }
    if shared.members.forget(removal.node).is_some() {
        tracing::info!(node = %removal.node, "it is no member any more, and not dialled");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::Timestamp;
    use crate::store::MemoryStore;

    const NODE: NodeId = NodeId::from_bytes([7; 32]);

    fn removals() -> Removals {
        Removals::checked_by(|statement| {
            (statement == b"true").then_some((NODE, Timestamp::from_millis(1_000)))
        })
    }

    async fn written(replica: &Replica, value: Value, at: u64) {
        let key = Bytes::from([PREFIX, NODE.to_string().as_bytes()].concat());
        let event = Event::new(key, value, Timestamp::from_millis(at)).unwrap();
        replica.insert_system(event).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_not_true_says_nothing_and_hides_nothing() {
        let replica = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
        let forged = |text: &'static str| Value::Data(Bytes::from_static(text.as_bytes()));
        written(&replica, forged("forged"), 500).await;
        let known = removals();
        replica.read_removals(&known).await.unwrap();
        assert_eq!(known.all(), []);
        replica.remove_node(&known, b"forged").await.unwrap_err();

        replica.remove_node(&known, b"true").await.unwrap();
        // The removed node may be the one that writes this.
        written(&replica, forged("forged"), 2_000).await;
        written(&replica, Value::Deletion, 3_000).await;
        written(&replica, forged("forged"), u64::MAX).await;
        let anew = removals();
        replica.read_removals(&anew).await.unwrap();
        assert_eq!(anew.all(), known.all());
        assert_eq!(anew.of(NODE).map(|removal| removal.at), Some(Timestamp::from_millis(1_000)));
    }

    #[tokio::test]
    async fn a_removal_is_one_event_that_clients_do_not_see() {
        let replica = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
        let mut watch = replica.watch("", None).unwrap();
        let known = removals();
        for _ in 0..2 {
            replica.remove_node(&known, b"true").await.unwrap();
        }
        let status = replica.status().await.unwrap();
        assert_eq!((status.events, status.keys), (1, 0));
        let key = [PREFIX, NODE.to_string().as_bytes()].concat();
        assert_eq!(replica.get(&key).await.unwrap(), None);
        assert_eq!(replica.history(&key, &Default::default()).await.unwrap().events, []);
        assert_eq!(replica.scan(&Default::default()).await.unwrap().events, []);
        assert!(replica.export().unwrap().next().await.unwrap().is_none());
        let refusal = replica.put(&key, "true").await;
        assert!(matches!(refusal, Err(WriteError::ReservedKey)), "{refusal:?}");
        // The next thing that a watcher sees is the next write of a client.
        replica.put("k", "v").await.unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap().event.key(), &b"k"[..]);
    }
}
