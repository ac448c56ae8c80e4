//! Cuts off removed nodes. The statements of the cluster's authority are events of the replica, below a reserved key
//! prefix, and so reach every node like all events, including nodes that join or return later.
//!
//! Any node can write an event there, so the event itself proves nothing. A valid statement in it counts, even if
//! there are other events under the same key.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::{Shared, lock};
use crate::replica::{FeedReader, News};
use crate::transport::{Removal, Removals, Transport};
use crate::{Event, NodeId, ReadError, Replica, Value, WriteError};

/// The prefix of the keys. The node's id follows.
const PREFIX: &[u8] = b"__aevrion/cluster/removed/";

/// The pause before reading the replica again after an error.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Why a node was not removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemovalError {
    /// The statement is not signed by the cluster's authority.
    #[error(
        "the authority of this cluster has not made the statement: `aevrion cluster remove` on its machine makes it"
    )]
    NotTrue,
    /// The replica rejects the event.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Replica {
    /// Passes the statements in this replica to `removals`. A synchronising replica does that by itself.
    ///
    /// # Errors
    /// [`ReadError`] if the store cannot be read.
    pub async fn read_removals(&self, removals: &Removals) -> Result<(), ReadError> {
        let mut events = self.system_events(PREFIX)?;
        while let Some(events) = events.next().await? {
            events.iter().for_each(|event| drop(learn(removals, event)));
            // Any node may have written many rows there: other tasks must not wait for all of them.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Stores the statement that a node was removed, if it is valid; it then reaches every neighbour. If `removals`
    /// hold that node already, nothing is stored. Callers cannot write anything else below the reserved prefix.
    /// # Errors
    /// [`RemovalError`].
    pub async fn remove_node(&self, removals: &Removals, statement: &[u8]) -> Result<Removal, RemovalError> {
        let removal = removals.check(statement).ok_or(RemovalError::NotTrue)?;
        if let Some(known) = removals.of(removal.node) {
            return Ok(known);
        }
        let key = Bytes::from([PREFIX, removal.node.to_string().as_bytes()].concat());
        // The timestamp comes from the statement, so the event is the same wherever it is stored.
        let event = Event::new(key, Value::Data(removal.statement.clone()), removal.at);
        self.insert_system(event.map_err(WriteError::from)?).await?;
        Ok(removals.learn(statement).unwrap_or(removal))
    }
}

/// The removal in an event under the prefix, if its statement is valid.
fn learn(removals: &Removals, event: &Event) -> Option<Removal> {
    event.value().data().and_then(|statement| removals.learn(statement))
}

/// The known removals of all transports of a synchronisation.
#[derive(Default)]
pub(super) struct Registry {
    sources: Mutex<Vec<Removals>>,
    /// The number of transports that have not read the replica's statements yet. No connection starts before it is 0.
    reading: watch::Sender<usize>,
    /// The neighbour that reported the removal of this node, with its message.
    told: Mutex<Option<(NodeId, String)>>,
}

impl Registry {
    /// The removal of `node`, if it was removed.
    pub(super) fn of(&self, node: NodeId) -> Option<Removal> {
        lock(&self.sources).iter().find_map(|removals| removals.of(node))
    }

    /// All removals.
    pub(super) fn all(&self) -> Vec<Removal> {
        let mut all: Vec<Removal> = lock(&self.sources).iter().flat_map(Removals::all).collect();
        all.sort_by_key(|removal| removal.node);
        all.dedup_by_key(|removal| removal.node);
        all
    }

    /// Reaches 0 once the replica's statements are read.
    pub(super) fn reading(&self) -> watch::Receiver<usize> {
        self.reading.subscribe()
    }

    /// Records the close reason of `neighbour` if it reports the removal of this node. Returns whether it does.
    pub(super) fn hear(&self, neighbour: NodeId, reason: &str) -> bool {
        let told = Removal::told_by(reason);
        let is_told = told.is_some();
        if let Some(words) = told {
            *lock(&self.told) = Some((neighbour, words));
        }
        is_told
    }

    /// Clears earlier reports that this node was removed, as a neighbour has accepted it. Any node can make such a
    /// report, and may be gone since; a neighbour that knows of a removal reports it again.
    pub(super) fn let_in(&self) {
        lock(&self.told).take();
    }

    /// The removal of this node, `own`, by a statement or by a neighbour's report.
    pub(super) fn own(&self, own: impl IntoIterator<Item = NodeId>) -> Option<String> {
        let known = own.into_iter().find_map(|own| self.of(own)).map(|removal| removal.own_words());
        let told = || lock(&self.told).clone();
        known.or_else(|| told().map(|(by, words)| format!("{words}, as node {by} says")))
    }
}

/// Reads the replica's removals for `transport`, now and whenever one arrives, and cuts off the removed nodes.
pub(super) fn follow(shared: &Arc<Shared>, transport: &dyn Transport) {
    let Some(removals) = transport.removals() else { return };
    lock(&shared.removals.sources).push(removals.clone());
    shared.removals.reading.send_modify(|reading| *reading += 1);
    // Subscribed before reading, so that no event is missed in between.
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
            News::Events(news) => {
                let of_system = news.iter().filter(|news| news.event.key().starts_with(PREFIX));
                of_system.filter_map(|news| learn(&removals, &news.event)).collect()
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

/// Reads the replica's statements; `None` if the synchronisation or the replica ends.
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

/// Closes the connections of a removed node and stops waiting for it. If this node was removed, closes all connections.
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
        // The removed node itself may write this event.
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
        // The watcher next sees a client's write, so nothing else was written.
        replica.put("k", "v").await.unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap().event.key(), &b"k"[..]);
    }
}
