//! The addresses of neighbours: what the node knows, and what the store remembers of it.
//!
//! What is known is decided here in memory, and the store follows: each save writes all that is known by then, one after
//! the other. So whoever comes at the same moment as another is not forgotten.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aevrion_core::Replica;
use aevrion_core::sync::Peer;

use crate::exit::Failure;

/// Under which name the store remembers them.
const PEERS: &str = "peers";

/// Addresses remembered: what comes beyond is dialled, but forgotten with the process.
const MOST_PEERS: usize = 1_000;

/// The book of addresses. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Book {
    replica: Replica,
    known: Arc<Mutex<Vec<Peer>>>,
    /// Held while the store is written to.
    saving: Arc<tokio::sync::Mutex<()>>,
}

impl Book {
    /// That of a store. What cannot be read is passed over: it can be learned again.
    pub(crate) async fn of(replica: &Replica) -> Result<Self, Failure> {
        let row = replica.setting(PEERS).await?;
        let texts: Vec<String> = row.and_then(|row| serde_json::from_slice(&row).ok()).unwrap_or_default();
        let known = texts.iter().filter_map(|text| text.parse().ok()).collect();
        Ok(Self { replica: replica.clone(), known: Arc::new(Mutex::new(known)), saving: Arc::default() })
    }

    /// All that are known, in the order in which they were learned.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.known().clone()
    }

    /// Knows these, too. Gives those that were known before. They are remembered with the next [`Book::save`].
    pub(super) fn learn(&self, more: &[Peer]) -> Vec<Peer> {
        let mut known = self.known();
        let before = known.clone();
        for peer in more {
            if !known.contains(peer) {
                known.push(peer.clone());
            }
        }
        before
    }

    /// Learns these, and remembers them.
    pub(super) async fn remember(&self, more: &[Peer]) -> Result<(), Failure> {
        if self.learn(more).len() == self.known().len() {
            return Ok(());
        }
        self.save().await
    }

    /// Forgets whoever is at this address: over the transport that it names, or over any if it names none. Gives those
    /// that were forgotten.
    pub(crate) async fn forget(&self, address: &Peer) -> Result<Vec<Peer>, Failure> {
        let is_meant = |peer: &Peer| match address.transport() {
            Some(_) => peer == address,
            None => peer.address() == address.address(),
        };
        let forgotten: Vec<Peer> = self.known().extract_if(.., |peer| is_meant(peer)).collect();
        if !forgotten.is_empty() {
            self.save().await?;
        }
        Ok(forgotten)
    }

    /// Has the store remember what is known.
    pub(super) async fn save(&self) -> Result<(), Failure> {
        let _one_after_the_other = self.saving.lock().await;
        let texts: Vec<String> = self.known().iter().take(MOST_PEERS).map(ToString::to_string).collect();
        let row = serde_json::to_vec(&texts).map_err(Failure::error)?;
        Ok(self.replica.remember(PEERS, Some(row.into())).await?)
    }

    fn known(&self) -> MutexGuard<'_, Vec<Peer>> {
        // A list is whole whatever happened to who held it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use aevrion_core::Options;
    use aevrion_core::store::MemoryStore;

    use super::*;

    fn peer(text: &str) -> Peer {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn of_many_who_come_at_once_none_is_forgotten() {
        let replica = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
        let book = Book::of(&replica).await.unwrap();
        let mut coming = tokio::task::JoinSet::new();
        for n in 1..=50 {
            let book = book.clone();
            coming.spawn(async move { book.remember(&[Peer::over("tcp", format!("127.0.0.1:{n}"))]).await });
        }
        while let Some(remembered) = coming.join_next().await {
            remembered.unwrap().unwrap();
        }
        assert_eq!(Book::of(&replica).await.unwrap().peers().len(), 50);
    }

    #[tokio::test]
    async fn who_is_forgotten_stays_forgotten() {
        let replica = Replica::open(MemoryStore::new(), Options::default()).await.unwrap();
        let book = Book::of(&replica).await.unwrap();
        let [quic, tcp, other] = ["quic://127.0.0.1:1", "tcp://127.0.0.1:1", "tcp://127.0.0.1:2"].map(peer);
        book.remember(&[quic.clone(), tcp.clone(), other.clone()]).await.unwrap();
        assert_eq!(book.forget(&peer("quic://127.0.0.1:2")).await.unwrap(), []);
        let only_tcp = std::slice::from_ref(&tcp);
        assert_eq!(book.forget(&tcp).await.unwrap(), only_tcp);
        book.remember(only_tcp).await.unwrap();
        assert_eq!(book.forget(&peer("127.0.0.1:1")).await.unwrap(), [quic, tcp]);
        assert_eq!(Book::of(&replica).await.unwrap().peers(), [other]);
    }
}
