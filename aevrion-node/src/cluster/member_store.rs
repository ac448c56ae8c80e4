//! The list of members in the store, which survives a restart.
//!
//! The core keeps the list in memory, and the store follows. Saves are serialized and each writes the whole list, so two
//! nodes that join at once are both saved. A new member is saved at once: `stable_until` depends on it. A changed
//! address is saved within seconds, and the time of the last connection within minutes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aevrion_core::replication::{Member, Members, Peer};
use aevrion_core::{NodeId, ReadError, Replica, Timestamp, WriteError};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use crate::peer::MemberSelector;

/// The name of the list in the store.
const MEMBERS: &str = "members";

/// The name of an older release's list of addresses.
const PEERS: &str = "peers";

/// The longest delay of a save after a change of address. It bounds the writes for members that move often.
const MOVES: Duration = Duration::from_secs(10);

/// The interval of saves of the times of last connection and agreement.
const SIGHTS: Duration = Duration::from_secs(5 * 60);

/// The list of members cannot be read from the store, or saved there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemberStoreError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Encode(#[from] serde_json::Error),
}

/// A member was not forgotten.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForgetError {
    #[error("`{prefix}` may be one of several: give more of it. There are {}", in_words(.several))]
    Ambiguous { prefix: String, several: Vec<NodeId> },
    #[error(transparent)]
    Store(#[from] MemberStoreError),
}

fn in_words(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The list of members and its copy in the store. Cloning shares both.
#[derive(Clone)]
pub(crate) struct MemberStore {
    replica: Replica,
    members: Members,
    /// The copy in the store.
    saved: Arc<Mutex<Vec<Member>>>,
    /// Held during a save.
    saving: Arc<tokio::sync::Mutex<()>>,
}

impl MemberStore {
    /// Reads the list of a store. Entries that cannot be read are skipped: the node learns of these members again.
    pub(crate) async fn of(replica: &Replica) -> Result<Self, MemberStoreError> {
        let saved = match replica.setting(MEMBERS).await? {
            Some(row) => serde_json::from_slice::<Vec<Entry>>(&row).unwrap_or_default(),
            None => Vec::new(),
        };
        let saved: Vec<_> = saved.iter().filter_map(Entry::member).collect();
        let members = Members::new(saved.clone());
        let saved = Arc::new(Mutex::new(saved));
        let member_store = Self { replica: replica.clone(), members, saved, saving: Arc::default() };
        member_store.take_over().await?;
        Ok(member_store)
    }

    /// Takes over the addresses of an older release.
    async fn take_over(&self) -> Result<(), MemberStoreError> {
        let Some(row) = self.replica.setting(PEERS).await? else { return Ok(()) };
        let texts: Vec<String> = serde_json::from_slice(&row).unwrap_or_default();
        texts.iter().filter_map(|text| text.parse().ok()).for_each(|peer| self.members.expect(&peer));
        self.save(self.members.list()).await?;
        Ok(self.replica.remember(PEERS, None).await?)
    }

    /// The list in memory. The next [`MemberStore::save`] writes it to the store.
    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    /// Adds addresses to dial, also after a restart.
    pub(super) async fn expect(&self, peers: &[Peer]) -> Result<(), MemberStoreError> {
        peers.iter().for_each(|peer| self.members.expect(peer));
        self.save(self.members.list()).await
    }

    /// Forgets the selected members, and returns them.
    pub(crate) async fn forget(&self, selector: &MemberSelector) -> Result<Vec<Member>, ForgetError> {
        let forgotten = match selector {
            MemberSelector::IdPrefix(prefix) => match &self.members.named(prefix)[..] {
                [] => Vec::new(),
                [node] => self.members.forget(*node).into_iter().collect(),
                several => {
                    let (prefix, several) = (prefix.clone(), several.to_vec());
                    return Err(ForgetError::Ambiguous { prefix, several });
                }
            },
            MemberSelector::Address(address) => self.members.forget_at(|peer| match address.transport() {
                Some(_) => peer == address,
                None => peer.address() == address.address(),
            }),
        };
        self.save(self.members.list()).await?;
        Ok(forgotten)
    }

    /// Saves this list, unless the store has the same.
    pub(super) async fn save(&self, members: Vec<Member>) -> Result<(), MemberStoreError> {
        let _one_after_the_other = self.saving.lock().await;
        if *self.saved() == members {
            return Ok(());
        }
        let entries: Vec<_> = members.iter().map(Entry::of).collect();
        let row = serde_json::to_vec(&entries)?;
        self.replica.remember(MEMBERS, Some(row.into())).await?;
        *self.saved() = members;
        Ok(())
    }

    /// Saves the list that `now` returns whenever a save is due, until it returns none.
    pub(super) async fn run(self, now: impl Fn() -> Option<Vec<Member>>) {
        let mut changes = self.members.changes();
        changes.mark_changed();
        let mut due = Instant::now() + SIGHTS;
        loop {
            tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) if self.knows_somebody_new() => {}
                    Ok(()) => {
                        due = due.min(Instant::now() + MOVES);
                        continue;
                    }
                    Err(_) => return,
                },
                () = sleep_until(due) => {}
            }
            let Some(members) = now() else { return };
            if let Err(error) = self.save(members).await {
                tracing::warn!(failure = %error, "what is known of the members was not remembered; trying again later");
            }
            due = Instant::now() + SIGHTS;
        }
    }

    fn knows_somebody_new(&self) -> bool {
        let saved = self.saved();
        let is_new = |member: &Member| member.id.is_some() && saved.iter().all(|one| one.id != member.id);
        self.members.list().iter().any(is_new)
    }

    fn saved(&self) -> MutexGuard<'_, Vec<Member>> {
        // A panic of the holder cannot leave a partial list.
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A member as the store has it. Fields of a later release are ignored.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default)]
    listens: Vec<String>,
    #[serde(default)]
    told: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreed_until: Option<u64>,
}

impl Entry {
    fn of(member: &Member) -> Self {
        let texts = |peers: &[Peer]| peers.iter().map(ToString::to_string).collect();
        Self {
            id: member.id.map(|id| id.to_string()),
            listens: texts(&member.listens),
            told: texts(&member.told),
            last_seen: member.last_seen.map(Timestamp::as_millis),
            agreed_until: member.agreed_until.map(Timestamp::as_millis),
        }
    }

    /// The member, if its id can be read.
    fn member(&self) -> Option<Member> {
        let peers = |texts: &[String]| texts.iter().filter_map(|text| text.parse().ok()).collect();
        let id = self.id.as_ref().map(|id| id.parse()).transpose().ok()?;
        Some(Member {
            listens: peers(&self.listens),
            told: peers(&self.told),
            last_seen: self.last_seen.map(Timestamp::from_millis),
            agreed_until: self.agreed_until.map(Timestamp::from_millis),
            ..Member::new(id)
        })
    }
}

#[cfg(test)]
mod tests {
    use aevrion_core::store::MemoryStore;
    use aevrion_core::{NodeId, Options};

    use super::*;

    fn peer(text: &str) -> Peer {
        text.parse().unwrap()
    }

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    async fn replica() -> Replica {
        Replica::open(MemoryStore::new(), Options::default()).await.unwrap()
    }

    #[tokio::test]
    async fn of_many_who_come_at_once_none_is_forgotten() {
        let replica = replica().await;
        let member_store = MemberStore::of(&replica).await.unwrap();
        let mut coming = tokio::task::JoinSet::new();
        for n in 1..=50 {
            let member_store = member_store.clone();
            coming.spawn(
                async move { member_store.expect(&[Peer::over("tcp", format!("127.0.0.1:{n}"))]).await },
            );
        }
        while let Some(remembered) = coming.join_next().await {
            remembered.unwrap().unwrap();
        }
        assert_eq!(MemberStore::of(&replica).await.unwrap().members().list().len(), 50);
    }

    #[tokio::test]
    async fn who_is_forgotten_stays_forgotten() {
        let replica = replica().await;
        let member_store = MemberStore::of(&replica).await.unwrap();
        let [quic, tcp, other] = ["quic://127.0.0.1:1", "tcp://127.0.0.1:1", "tcp://127.0.0.1:2"].map(peer);
        member_store.expect(&[quic.clone(), tcp.clone(), other.clone()]).await.unwrap();
        let forget = async |whom: &str| {
            let forgotten = member_store.forget(&whom.parse().unwrap()).await.unwrap();
            forgotten.iter().flat_map(Member::addresses).cloned().collect::<Vec<_>>()
        };
        assert_eq!(forget("quic://127.0.0.1:2").await, []);
        assert_eq!(forget("tcp://127.0.0.1:1").await, std::slice::from_ref(&tcp));
        member_store.expect(std::slice::from_ref(&tcp)).await.unwrap();
        assert_eq!(forget("127.0.0.1:1").await, [quic, tcp]);
        assert_eq!(MemberStore::of(&replica).await.unwrap().members().peers(), [other]);
    }

    #[tokio::test]
    async fn a_node_is_meant_by_the_beginning_of_its_identity() {
        let replica = replica().await;
        let member_store = MemberStore::of(&replica).await.unwrap();
        member_store.members().introduce(id(0xab), &[peer("tcp://127.0.0.1:1")]);
        member_store.members().introduce(id(0xac), &[]);
        let forget = async |whom: &str| member_store.forget(&whom.parse().unwrap()).await;
        let several = forget("a").await.unwrap_err().to_string();
        assert!(several.contains(&id(0xab).to_string()) && several.contains("give more of it"), "{several}");
        assert_eq!(forget("ABAB").await.unwrap()[0].id, Some(id(0xab)));
        assert_eq!(forget("abab").await.unwrap(), []);
        let left = MemberStore::of(&replica).await.unwrap().members().list();
        assert_eq!(left.iter().map(|member| member.id).collect::<Vec<_>>(), [Some(id(0xac))]);
    }

    #[tokio::test]
    async fn the_addresses_of_an_older_release_are_taken_over() {
        let replica = replica().await;
        replica.remember(PEERS, Some(r#"["quic://127.0.0.1:1","no peer"]"#.into())).await.unwrap();
        for _ in 0..2 {
            assert_eq!(
                MemberStore::of(&replica).await.unwrap().members().peers(),
                [peer("quic://127.0.0.1:1")]
            );
        }
        assert_eq!(replica.setting(PEERS).await.unwrap(), None);
    }

    /// Each save costs the store a commit.
    #[tokio::test(start_paused = true)]
    async fn what_changes_all_the_time_is_saved_now_and_then() {
        let replica = replica().await;
        let member_store = MemberStore::of(&replica).await.unwrap();
        let saved = async || {
            let row = replica.setting(MEMBERS).await.unwrap().unwrap_or_default();
            serde_json::from_slice::<Vec<Entry>>(&row).unwrap_or_default()
        };
        let minutes = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let (of_now, members) = (Arc::clone(&minutes), member_store.members().clone());
        let now = move || {
            let seen = Timestamp::from_millis(of_now.load(std::sync::atomic::Ordering::SeqCst));
            Some(members.list().into_iter().map(|one| Member { last_seen: Some(seen), ..one }).collect())
        };
        tokio::spawn(member_store.clone().run(now));
        tokio::task::yield_now().await;
        let pass = async |time| tokio::time::sleep(time).await;
        member_store.members().introduce(id(1), &[]);
        pass(Duration::from_millis(1)).await;
        assert_eq!(saved().await.len(), 1, "who is new is remembered at once");
        member_store.members().introduce(id(1), &[peer("tcp://127.0.0.1:1")]);
        pass(Duration::from_secs(1)).await;
        assert_eq!(saved().await[0].told, Vec::<String>::new());
        pass(MOVES).await;
        assert_eq!(saved().await[0].told, ["tcp://127.0.0.1:1"]);
        let mut sights = std::collections::BTreeSet::new();
        for minute in 1..=60 {
            minutes.store(minute, std::sync::atomic::Ordering::SeqCst);
            pass(Duration::from_secs(60)).await;
            sights.insert(saved().await[0].last_seen);
        }
        assert!((12..=13).contains(&sights.len()), "{sights:?}");
    }
}
