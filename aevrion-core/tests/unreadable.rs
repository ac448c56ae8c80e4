//! Promise: an unreadable row affects only its own content. The store opens, all other rows are read, watched, compared
//! and verified as before; derived rows are rebuilt, at once or by `rebuild`; and no read returns an older version
//! instead.

use std::time::Duration;

use crate::support::Kept;
use aevrion_core::agent::ReplicaView;
use aevrion_core::store::{Durability, EventStore, KeyRange, Pages, Projection, Table, WriteBatch};
use aevrion_core::{
    Cursor, Event, Options, ReadError, Replica, Root, TimeSpan, Timestamp, Value, WatchError,
};
use aevrion_core::{EntryQuery, KeySpan, VersionQuery};

/// A row, changed or removed.
type Row = (Vec<u8>, Vec<u8>);

const VERSIONS: u64 = 40;

fn event(key: &str, ms: u64) -> Event {
    let value = Value::Data(format!("{key} at {ms}").into_bytes().into());
    Event::new(key.to_owned().into(), value, Timestamp::from_millis(ms)).unwrap()
}

/// A closed store with versions of a few keys, with its root and its first cursor.
struct Subject {
    store: Kept,
    root: Root,
    start: Cursor,
}

impl Subject {
    /// With its events `indexed`, or with the index rows left to the next start.
    async fn new(indexed: bool) -> Self {
        let store = Kept::default();
        let replica = open(&store, indexed).await.unwrap();
        let start = replica.watch("", None).unwrap().cursor();
        for ms in 0..VERSIONS {
            let keys = ["apple", "pear", "plum"];
            let events = keys.iter().map(|key| event(key, 1_000 + ms * 60_000)).collect();
            replica.insert(events, Durability::Immediate).await.unwrap();
        }
        let root = replica.root().await.unwrap();
        replica.close().await.unwrap();
        Self { store, root, start }
    }

    /// Changes the row of `table` that `choose` selects.
    async fn spoil(&self, table: Table, choose: fn(&[Row]) -> usize, change: fn(&mut Row)) {
        let view = self.store.view().await.unwrap();
        let mut pages = Pages::new(&*view, table, KeyRange::ALL, Projection::Rows);
        let mut rows = Vec::new();
        while let Some(page) = pages.next().await.unwrap() {
            rows.extend(page.rows().map(|(key, value)| (key.to_vec(), value.to_vec())));
        }
        let row = &rows[choose(&rows)];
        let mut spoilt = row.clone();
        change(&mut spoilt);
        let mut batch = WriteBatch::new();
        batch.remove(table, row.0.clone());
        if !spoilt.0.is_empty() {
            batch.put(table, spoilt.0, spoilt.1);
        }
        self.store.commit(batch, Durability::Immediate).await.unwrap();
    }

    async fn open(&self) -> Replica {
        open(&self.store, false).await.unwrap()
    }

    /// Checks that everything unrelated to plums is unchanged.
    async fn expect_others(&self, replica: &Replica) {
        replica.status().await.unwrap();
        for key in ["apple", "pear"] {
            let last = 1_000 + (VERSIONS - 1) * 60_000;
            let value = replica.get(key).await.unwrap().unwrap();
            assert_eq!(value, format!("{key} at {last}"));
            let history = replica.history(key, &VersionQuery::default()).await.unwrap();
            assert_eq!(history.events.len() as u64, VERSIONS);
            let query = EntryQuery::default().span(KeySpan::prefix(key));
            assert_eq!(replica.scan(&query).await.unwrap().events.len(), 1);
        }
        replica.put("apple", "once more").await.unwrap();
        assert_eq!(replica.get("apple").await.unwrap().as_deref(), Some(b"once more".as_slice()));
        replica.put("cherry", "another").await.unwrap();
        assert!(replica.get("cherry").await.unwrap().is_some());
    }

    /// Checks that neighbours' requests are answered as before the writes of [`Subject::expect_others`].
    async fn expect_tree(&self, replica: &Replica) {
        let span = TimeSpan::before(Timestamp::from_millis(1_000_000_000)).unwrap();
        let (root, digest) = ReplicaView::digest(replica, span).await.unwrap().answer;
        assert_eq!((root, replica.root_at(span.last().next()).await.unwrap()), (self.root, self.root));
        let node = |row: &aevrion_core::message::Row| aevrion_core::tree::NodePosition {
            level: row.level,
            index: row.nodes[0].index,
        };
        let parents: Vec<_> = digest.rows.iter().map(node).filter(|node| node.level > 0).collect();
        assert!(!ReplicaView::children(replica, span, &parents).await.unwrap().answer[0].is_empty());
        let found = ReplicaView::event_keys(replica, span, None, 1_000).await.unwrap();
        assert_eq!(found.len() as u64, self.root.count);
    }

    /// The number of events that a watcher sees from the beginning, and of damage reports. It reaches the end.
    async fn watch(&self, replica: &Replica) -> (u64, u64) {
        let until = replica.put("end", "end").await.unwrap();
        let mut watch = replica.watch("", Some(self.start)).unwrap();
        let (mut seen, mut damage) = (0, 0);
        loop {
            match tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap() {
                Ok(Some(watched)) if watched.event.event_key() == until => return (seen, damage),
                Ok(Some(_)) => seen += 1,
                Err(WatchError::Read(ReadError::Damaged(_))) => damage += 1,
                other => panic!("{other:?}"),
            }
            assert!(damage < 100, "told the same again and again");
        }
    }

    /// Checks that `verify` names the damage and `rebuild` mends it.
    async fn expect_mendable(&self, replica: &Replica) {
        let found = replica.verify(|_| ()).await.unwrap();
        assert!(!found.mendable.is_empty() && found.lost.is_empty(), "{found:?}");
        replica.rebuild(|_| ()).await.unwrap();
        self.expect_sound(replica).await;
    }

    async fn expect_sound(&self, replica: &Replica) {
        let found = replica.verify(|_| ()).await.unwrap();
        assert!(found.is_clean(), "{found:?}");
        let plum = replica.get("plum").await.unwrap().unwrap();
        assert_eq!(plum, format!("plum at {}", 1_000 + (VERSIONS - 1) * 60_000));
    }
}

async fn open(store: &Kept, indexed: bool) -> Result<Replica, aevrion_core::OpenError> {
    let index_batch = if indexed { 1 } else { 100_000 };
    Replica::open(store.clone(), Options::default().index_batch(index_batch)).await
}

fn cut_off(row: &mut Row) {
    row.1.pop();
}

fn gone(row: &mut Row) {
    row.0.clear();
}

fn cut_off_key(row: &mut Row) {
    row.0.pop();
}

#[tokio::test]
async fn an_unreadable_node_is_computed_again() {
    let zeros = |row: &mut Row| row.1.fill(0);
    let changes: [fn(&mut Row); 4] = [cut_off, zeros, gone, |row| row.1.clear()];
    for change in changes {
        // A leaf, a node of each level above it, the whole table's last row among them.
        let choices: [fn(&[Row]) -> usize; 5] = [
            |rows| rows.iter().position(|(key, _)| key[0] == 0).unwrap(),
            |rows| rows.iter().position(|(key, _)| key[0] == 1).unwrap(),
            |rows| rows.iter().position(|(key, _)| key[0] == 2).unwrap(),
            |rows| rows.iter().position(|(key, _)| key[0] == 3).unwrap(),
            |rows| rows.len() - 1,
        ];
        for choose in choices {
            let subject = Subject::new(true).await;
            subject.spoil(Table::Nodes, choose, change).await;
            let replica = subject.open().await;
            subject.expect_tree(&replica).await;
            subject.expect_others(&replica).await;
            assert_eq!(subject.watch(&replica).await.1, 0);
            for level in 0..5 {
                replica.nodes(level, 0..=1_000).await.unwrap();
            }
            // The writer handles this request after the computed nodes of the earlier ones.
            replica.root().await.unwrap();
            subject.expect_sound(&replica).await;
        }
    }
}

#[tokio::test]
async fn a_node_under_a_key_that_is_none_is_passed_over_until_a_rebuild_removes_it() {
    for change in [cut_off_key as fn(&mut Row), |row| row.0.push(0)] {
        let subject = Subject::new(true).await;
        subject.spoil(Table::Nodes, |rows| rows.len() / 2, change).await;
        let replica = subject.open().await;
        subject.expect_tree(&replica).await;
        subject.expect_others(&replica).await;
        subject.expect_mendable(&replica).await;
    }
}

/// The row of the newest plum: the first of the last key.
fn newest_plum(rows: &[Row]) -> usize {
    rows.iter().position(|(key, _)| key.starts_with(b"plum\0")).unwrap()
}

#[tokio::test]
async fn an_index_row_that_cannot_be_read_is_an_error_of_its_key_alone() {
    let changes: [fn(&mut Row); 2] = [cut_off_key, |row| row.0.push(7)];
    for change in changes {
        let subject = Subject::new(true).await;
        subject.spoil(Table::ByKey, newest_plum, change).await;
        let replica = subject.open().await;
        subject.expect_tree(&replica).await;
        subject.expect_others(&replica).await;
        assert_eq!(subject.watch(&replica).await, (VERSIONS * 3 + 2, 0));
        let damaged = |error| assert!(matches!(error, ReadError::Damaged(_)), "{error}");
        damaged(replica.get("plum").await.unwrap_err());
        damaged(replica.history("plum", &VersionQuery::default()).await.unwrap_err());
        let plums = EntryQuery::default().span(KeySpan::prefix("plum"));
        damaged(replica.scan(&plums).await.unwrap_err());
        subject.expect_mendable(&replica).await;
    }
}

#[tokio::test]
async fn a_key_with_an_unreadable_index_row_takes_writes() {
    let subject = Subject::new(true).await;
    subject.spoil(Table::ByKey, newest_plum, cut_off_key).await;
    let replica = subject.open().await;
    let written = replica.put("plum", "new").await.unwrap();
    assert_eq!(replica.get("plum").await.unwrap().as_deref(), Some(b"new".as_slice()));
    // Beside the unreadable event, at the same timestamp and at another one.
    for ms in [1_000 + (VERSIONS - 1) * 60_000, 5] {
        let value = Value::Data("late".into());
        replica.put_at("plum", value, Timestamp::from_millis(ms)).await.unwrap();
    }
    assert!(replica.get_event("plum", replica.now()).await.unwrap().unwrap().event_key() == written);
}

#[tokio::test]
async fn arrivals_that_cannot_be_read_are_passed_over_by_watchers_who_are_told() {
    let changes: [fn(&mut Row); 3] = [cut_off, gone, |row| row.0.push(0)];
    for (change, choose) in changes.into_iter().flat_map(|change| {
        let choices: [fn(&[Row]) -> usize; 3] = [|_| 0, |rows| rows.len() / 2, |rows| rows.len() - 1];
        choices.map(|choose| (change, choose))
    }) {
        let subject = Subject::new(true).await;
        subject.spoil(Table::Arrivals, choose, change).await;
        let replica = subject.open().await;
        subject.expect_tree(&replica).await;
        subject.expect_others(&replica).await;
        let (seen, damage) = subject.watch(&replica).await;
        // A commit of three events is one run; two more events were written since.
        assert_eq!(seen, (VERSIONS - 1) * 3 + 2);
        assert!((1..=2).contains(&damage), "{damage}");
        assert!(!replica.verify(|_| ()).await.unwrap().lost.is_empty());
    }
}

#[tokio::test]
async fn events_whose_arrival_cannot_be_read_are_indexed_all_the_same() {
    let changes: [fn(&mut Row); 3] = [cut_off, gone, |row| row.0.push(0)];
    for (change, choose) in changes.into_iter().flat_map(|change| {
        let choices: [fn(&[Row]) -> usize; 3] = [|_| 0, |rows| rows.len() / 2, |rows| rows.len() - 1];
        choices.map(|choose| (change, choose))
    }) {
        let subject = Subject::new(false).await;
        subject.spoil(Table::Arrivals, choose, change).await;
        let replica = subject.open().await;
        let status = replica.status().await.unwrap();
        assert_eq!((status.events, status.keys), (VERSIONS * 3, 3));
        for key in ["apple", "pear", "plum"] {
            let history = replica.history(key, &VersionQuery::default()).await.unwrap();
            assert_eq!(history.events.len() as u64, VERSIONS, "an older version is served");
        }
        subject.expect_others(&replica).await;
        let found = replica.verify(|_| ()).await.unwrap();
        assert!(found.mendable.is_empty() && !found.lost.is_empty(), "{found:?}");
        // The next start has no such work to do.
        replica.close().await.unwrap();
        let before = subject.store.commits();
        let replica = subject.open().await;
        assert_eq!(subject.store.commits(), before);
        assert_eq!(
            replica.history("plum", &VersionQuery::default()).await.unwrap().events.len() as u64,
            VERSIONS
        );
    }
}

#[tokio::test]
async fn an_event_under_a_key_that_is_no_address_is_as_good_as_missing() {
    // The arrival of a plum, the last of the first timestamp; and one of the last timestamp, which opening reads.
    let choices: [fn(&[Row]) -> usize; 2] = [
        |rows| rows.iter().position(|(_, value)| value[5..].starts_with(b"plum")).unwrap(),
        |rows| rows.iter().rposition(|(_, value)| value[5..].starts_with(b"plum")).unwrap(),
    ];
    for choose in choices {
        for change in [cut_off_key as fn(&mut Row), |row| row.0.push(0)] {
            let subject = Subject::new(true).await;
            subject.spoil(Table::Events, choose, change).await;
            let replica = subject.open().await;
            subject.expect_others(&replica).await;
            let found = replica.verify(|_| ()).await.unwrap();
            assert!(found.lost.iter().any(|damage| damage.table == Table::Events), "{found:?}");
            let history = replica.history("plum", &VersionQuery::default()).await;
            assert!(matches!(history, Err(ReadError::Damaged(_))), "{history:?}");
            let listed = ReplicaView::event_keys(&replica, TimeSpan::ALL, None, 1_000).await.unwrap();
            assert_eq!(listed.len() as u64, VERSIONS * 3 - 1 + 2);
            // A node that still has the event restores it.
            let plums = (0..VERSIONS).map(|ms| event("plum", 1_000 + ms * 60_000)).collect();
            assert_eq!(replica.insert(plums, Durability::Immediate).await.unwrap().new, 1);
            let history = replica.history("plum", &VersionQuery::default()).await.unwrap();
            assert_eq!(history.events.len() as u64, VERSIONS);
        }
    }
}
