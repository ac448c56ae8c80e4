//! Promise: a digest kept for the next neighbour matches the store: it contains neither hashes that were mended since
//! nor events lost by a failed store.

use crate::support::Kept;
use aevrion_core::agent::ReplicaView;
use aevrion_core::message::Digest;
use aevrion_core::store::{Durability, EventStore, KeyRange, Pages, Projection, Table, WriteBatch};
use aevrion_core::tree::{NodePosition, Root};
use aevrion_core::{Event, Options, Replica, TimeSpan, Timestamp, Value};

/// The beginning of a node of level 1.
const BEGIN: u64 = 1_699_999_200_000;

fn event(number: u64) -> Event {
    let value = Value::Data(format!("{number}").into_bytes().into());
    Event::new("key".into(), value, Timestamp::from_millis(BEGIN + number * 30_000)).unwrap()
}

async fn open(store: &Kept) -> Replica {
    Replica::open(store.clone(), Options::default()).await.unwrap()
}

/// Some minutes of events with all their hashes.
async fn filled() -> Kept {
    let store = Kept::default();
    let replica = open(&store).await;
    replica.insert((0..20).map(event).collect(), Durability::Immediate).await.unwrap();
    replica.root().await.unwrap();
    replica.close().await.unwrap();
    store
}

async fn rows(store: &Kept, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let view = store.view().await.unwrap();
    let mut pages = Pages::new(&*view, table, KeyRange::ALL, Projection::Rows);
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        rows.extend(page.rows().map(|(key, value)| (key.to_vec(), value.to_vec())));
    }
    rows
}

/// Spoils the hash of the node above the first leaf, and removes the hashes computed from it.
async fn spoil(store: &Kept) {
    let mut batch = WriteBatch::new();
    for (key, mut value) in rows(store, Table::Nodes).await {
        match key[0] {
            1 => {
                value[20] ^= 1;
                batch.put(Table::Nodes, key, value);
            }
            2.. => batch.remove(Table::Nodes, key),
            _ => {}
        }
    }
    store.commit(batch, Durability::Immediate).await.unwrap();
}

/// The past, with an end in the middle of the events: it contains the damaged node as a whole.
fn span() -> TimeSpan {
    TimeSpan::before(Timestamp::from_millis(BEGIN + 86_400_000)).unwrap()
}

async fn told(replica: &Replica) -> (Root, Digest) {
    ReplicaView::digest(replica, span()).await.unwrap().answer
}

/// Compares before the damage is mended, mends it with `mend`, and compares again.
async fn mended_by(what: &str, mend: impl AsyncFn(&Replica)) {
    let store = filled().await;
    let right = told(&open(&store.copied().await.unwrap()).await).await;
    spoil(&store).await;
    let replica = open(&store).await;
    let wrong = told(&replica).await;
    assert_ne!(wrong, right, "nothing was spoilt: {what}");
    assert_eq!(told(&replica).await, wrong, "{what}");
    // The hashes computed from it are stored by now.
    replica.root().await.unwrap();
    mend(&replica).await;
    assert_eq!(told(&replica).await, right, "{what}");
    assert_eq!(right.0, replica.root_at(span().last().next()).await.unwrap(), "{what}");
}

#[tokio::test]
async fn what_was_wrong_is_not_said_again_once_it_is_mended() {
    mended_by("a check after repairs in vain", async |replica| {
        assert!(ReplicaView::check_hashes(replica, span()).await.unwrap().wrong > 0);
    })
    .await;
    mended_by("a node that its children contradict", async |replica| {
        let parent =
            NodePosition { level: 1, index: replica.nodes(1, 0..=u64::from(u32::MAX)).await.unwrap()[0].0 };
        ReplicaView::children(replica, span(), &[parent]).await.unwrap();
        assert!(replica.healed_hashes() > 0);
    })
    .await;
    mended_by("the scrub", async |replica| {
        let mut scrub = replica.scrub().await.unwrap();
        while !scrub.step(1_000).await.unwrap().ended {}
        assert!(scrub.report().total.mended > 0);
    })
    .await;
    mended_by("a rebuild", async |replica| {
        replica.rebuild(|_| ()).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_store_has_lost_is_not_said_again() {
    let store = filled().await;
    let replica = open(&store).await;
    let before = store.copied().await.unwrap();
    let held = told(&replica).await;
    replica.insert(vec![event(100)], Durability::Buffered).await.unwrap();
    assert_ne!(told(&replica).await, held);
    // The power fails, and the store continues from its state on disk.
    let mut batch = WriteBatch::new();
    for table in Table::ALL {
        rows(&store, table).await.into_iter().for_each(|(key, _)| batch.remove(table, key));
        rows(&before, table).await.into_iter().for_each(|(key, value)| batch.put(table, key, value));
    }
    store.commit(batch, Durability::Immediate).await.unwrap();
    store.fail_commits(1);
    replica.put("other", "value").await.unwrap_err();
    assert_eq!(told(&replica).await, held);
}
