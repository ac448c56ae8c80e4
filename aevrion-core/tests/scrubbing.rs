//! The promise: the scrub visits every stored row, mends all repairable damage, finds nothing in a sound store despite
//! concurrent writes, and resumes at its last position.

use crate::support::Kept;
use crate::support::yielding::Yielding;
use aevrion_core::store::{Durability, EventStore, KeyRange, Pages, Projection, Table, WriteBatch};
use aevrion_core::{
    Event, Operation, Options, ParameterOverrides, ReadError, Replica, Root, Scrub, ScrubPass, Timestamp,
    Value,
};
use bytes::Bytes;

/// Events over some hours, of keys with several versions; a few have separate bodies.
fn events() -> Vec<Event> {
    let event = |n: u64| {
        let data = if n.is_multiple_of(50) { vec![b'v'; 9_000] } else { n.to_string().into_bytes() };
        let key = format!("key {:03}", n % 97).into_bytes();
        Event::new(key.into(), Value::Data(data.into()), Timestamp::from_millis(n * 20_000)).unwrap()
    };
    (1..1_000).map(event).collect()
}

fn options() -> Options {
    Options::default().index_batch(100)
}

/// A store with these events, indexed and hashed; and its root.
async fn filled() -> (Kept, Root) {
    let store = Kept::default();
    let replica = Replica::open(store.clone(), options()).await.unwrap();
    replica.insert(events(), Durability::Immediate).await.unwrap();
    let root = replica.root().await.unwrap();
    replica.close().await.unwrap();
    (store, root)
}

type Row = (Bytes, Bytes);

async fn rows(store: &Kept, table: Table) -> Vec<Row> {
    let view = store.view().await.unwrap();
    let mut pages = Pages::new(&*view, table, KeyRange::ALL, Projection::Rows);
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        rows.extend(page.into_rows());
    }
    rows
}

/// Changes a table without the replica's knowledge.
async fn plant(store: &Kept, table: Table, change: impl FnOnce(&[Row], &mut WriteBatch)) {
    let mut batch = WriteBatch::new();
    change(&rows(store, table).await, &mut batch);
    store.commit(batch, Durability::Immediate).await.unwrap();
}

/// Steps to the end of the pass.
async fn pass(scrub: &mut Scrub) -> ScrubPass {
    for _ in 0..1_000_000 {
        if scrub.step(37).await.unwrap().ended {
            return scrub.report().last.unwrap();
        }
    }
    panic!("the pass has no end: {:?}", scrub.report());
}

/// The damage that a pass finds and mends.
fn found(pass: &ScrubPass) -> (u64, u64, u64) {
    (pass.found, pass.mended, pass.damaged)
}

#[tokio::test]
async fn a_sound_store_is_seen_to_the_end_and_nothing_is_found() {
    let (store, _) = filled().await;
    let replica = Replica::open(store, options()).await.unwrap();
    replica.put("pending", "its index row is not written yet").await.unwrap();
    let mut scrub = replica.scrub().await.unwrap();
    for _ in 0..3 {
        let pass = pass(&mut scrub).await;
        assert_eq!(found(&pass), (0, 0, 0));
        // Each event with its row, arrival and leaf; the bodies; the other nodes.
        assert!((4_000..6_000).contains(&pass.rows), "{}", pass.rows);
    }
    assert_eq!(scrub.report().pass, None);
    let mut nothing = Replica::open(Kept::default(), options()).await.unwrap().scrub().await.unwrap();
    assert_eq!(found(&pass(&mut nothing).await), (0, 0, 0));
}

/// A row of `nodes` of this level.
fn node(rows: &[Row], level: u8) -> &Row {
    rows.iter().rfind(|(key, _)| key[0] == level).unwrap()
}

fn flipped(row: &[u8], at: usize) -> Vec<u8> {
    let mut row = row.to_vec();
    row[at] ^= 0x10;
    row
}

#[tokio::test]
async fn what_is_derived_is_mended() {
    type Plant = fn(&[Row], &mut WriteBatch);
    let plants: [(Table, Plant); 8] = [
        (Table::ByKey, |rows, batch| batch.remove(Table::ByKey, rows[500].0.clone())),
        (Table::ByKey, |rows, batch| {
            rows.iter().for_each(|(row, _)| batch.remove(Table::ByKey, row.clone()));
        }),
        (Table::ByKey, |rows, batch| {
            let ghost = flipped(&rows[3].0, rows[3].0.len() - 1);
            batch.put(Table::ByKey, ghost, Bytes::new());
            batch.put(Table::ByKey, Bytes::from_static(b"no row"), Bytes::new());
        }),
        (Table::Nodes, |rows, batch| {
            for level in [0, 2, 4] {
                let (key, value) = node(rows, level);
                batch.put(Table::Nodes, key.clone(), flipped(value, 20));
            }
        }),
        (Table::Nodes, |rows, batch| {
            let (key, value) = node(rows, 1);
            batch.put(Table::Nodes, key.clone(), flipped(value, 7));
        }),
        (Table::Nodes, |rows, batch| {
            let (key, value) = node(rows, 3);
            batch.put(Table::Nodes, key.clone(), value.slice(1..));
        }),
        (Table::Nodes, |rows, batch| {
            let (key, value) = node(rows, 0);
            batch.put(Table::Nodes, flipped(key, 5), value.clone());
            batch.put(Table::Nodes, flipped(key, 0), value.clone());
        }),
        (Table::Meta, |rows, batch| {
            let (key, value) = rows.iter().find(|(key, _)| key == "checkpoint").unwrap();
            batch.put(Table::Meta, key.clone(), flipped(&flipped(value, 7), 15));
        }),
    ];
    for (number, (table, change)) in plants.into_iter().enumerate() {
        let (store, root) = filled().await;
        plant(&store, table, change).await;
        let replica = Replica::open(store, options()).await.unwrap();
        let mut scrub = replica.scrub().await.unwrap();
        let first = pass(&mut scrub).await;
        assert!(first.found > 0 && first.found == first.mended, "{number}: {first:?}");
        let verified = replica.verify(|_| {}).await.unwrap();
        assert!(verified.is_clean(), "{number}: {verified:?}");
        assert_eq!(replica.root().await.unwrap(), root, "{number}");
        assert_eq!(found(&pass(&mut scrub).await), (0, 0, 0), "{number}");
        let total = scrub.report().total;
        assert_eq!((total.found, total.mended), (first.found, first.mended));
    }
}

#[tokio::test]
async fn what_only_another_copy_mends_is_named_and_left() {
    let (store, root) = filled().await;
    let victim = events()[499].clone();
    plant(&store, Table::Events, |rows, batch| {
        let (key, row) = &rows[499];
        batch.put(Table::Events, key.clone(), flipped(row, row.len() - 1));
    })
    .await;
    plant(&store, Table::Arrivals, |rows, batch| batch.remove(Table::Arrivals, rows[2].0.clone())).await;
    let replica = Replica::open(store, options()).await.unwrap();
    let mut scrub = replica.scrub().await.unwrap();
    for _ in 0..2 {
        assert_eq!(found(&pass(&mut scrub).await), (2, 0, 1));
        let standing = replica.damaged_events().standing;
        assert_eq!(standing.len(), 1);
        assert_eq!(standing[0].0, victim.event_key());
    }
    replica.insert(vec![victim], Durability::Immediate).await.unwrap();
    assert!(replica.damaged_events().standing.is_empty());
    assert_eq!(found(&pass(&mut scrub).await), (1, 0, 0));
    assert_eq!(replica.root().await.unwrap(), root);
}

/// A stored hash still includes an event whose row is gone: the scrub drops the hash, so that a comparison restores the
/// event. Its index row stays meanwhile, as otherwise a read would return the previous version.
#[tokio::test]
async fn a_lost_event_is_not_papered_over_before_a_neighbour_could_bring_it() {
    let (store, root) = filled().await;
    let lost = events().pop().unwrap();
    plant(&store, Table::Events, |rows, batch| batch.remove(Table::Events, rows[998].0.clone())).await;
    let replica = Replica::open(store, options()).await.unwrap();
    assert_eq!(replica.root().await.unwrap(), root, "its hash is stored");
    let mut scrub = replica.scrub().await.unwrap();
    pass(&mut scrub).await;
    assert_eq!(replica.root().await.unwrap().count, root.count - 1, "a neighbour is seen to hold more");
    let read = replica.get(lost.key()).await;
    assert!(matches!(read, Err(ReadError::Damaged(_))), "{read:?}");
    let brought = replica.insert(vec![lost.clone()], Durability::Immediate).await.unwrap();
    assert_eq!((brought.new, replica.root().await.unwrap()), (1, root));
    assert_eq!(replica.get_event(lost.key(), Timestamp::MAX).await.unwrap(), Some(lost));
    let verified = replica.verify(|_| {}).await.unwrap();
    assert!(verified.mendable.is_empty(), "{verified:?}");
}

/// If no node has the event, the row is finally removed.
#[tokio::test]
async fn an_event_that_nobody_brings_back_is_history() {
    let (store, _) = filled().await;
    let lost = events().pop().unwrap();
    plant(&store, Table::Events, |rows, batch| batch.remove(Table::Events, rows[998].0.clone())).await;
    let replica = Replica::open(store, options()).await.unwrap();
    let mut scrub = replica.scrub().await.unwrap();
    pass(&mut scrub).await;
    replica.root().await.unwrap();
    pass(&mut scrub).await;
    let before = replica.get_event(lost.key(), Timestamp::MAX).await.unwrap().unwrap();
    assert!(before.timestamp() < lost.timestamp());
}

#[tokio::test]
async fn it_goes_on_where_it_was_saved() {
    let (store, _) = filled().await;
    let whole = {
        let replica = Replica::open(store.clone(), options()).await.unwrap();
        let mut scrub = replica.scrub().await.unwrap();
        let whole = pass(&mut scrub).await;
        replica.close().await.unwrap();
        whole
    };
    let (mut steps, mut tables) = (0, Vec::new());
    let resumed = loop {
        let replica = Replica::open(store.clone(), options()).await.unwrap();
        let mut scrub = replica.scrub().await.unwrap();
        assert!(scrub.report().last.is_some_and(|last| last.rows == whole.rows));
        let step = scrub.step(100).await.unwrap();
        tables.push(scrub.report().table);
        steps += 1;
        if step.ended {
            break scrub.report().last.unwrap();
        }
        scrub.save().await.unwrap();
        replica.close().await.unwrap();
    };
    tables.dedup();
    assert_eq!(resumed.rows, whole.rows, "every row once");
    assert_eq!(found(&resumed), (0, 0, 0));
    assert!(steps > 30, "{steps}");
    assert_eq!(tables, ["events", "bodies", "by_key", "arrivals", "nodes", "timetable", "counts", "events"]);
}

#[tokio::test]
async fn a_step_that_fails_is_simply_repeated() {
    let (store, _) = filled().await;
    plant(&store, Table::ByKey, |rows, batch| batch.remove(Table::ByKey, rows[500].0.clone())).await;
    let replica = Replica::open(store.clone(), options()).await.unwrap();
    let mut scrub = replica.scrub().await.unwrap();
    let mut failed = 0;
    let last = loop {
        if failed < 200 {
            store.fail_reads(1 + failed % 60);
        }
        match scrub.step(37).await {
            Ok(step) if step.ended => break scrub.report().last.unwrap(),
            Ok(_) => {}
            Err(_) => {
                failed += 1;
                store.fail_reads(0);
                scrub.step(1).await.unwrap();
            }
        }
    };
    assert!(failed > 100, "{failed}");
    assert_eq!(found(&last), (1, 1, 0));
    assert!(replica.verify(|_| {}).await.unwrap().is_clean());
}

/// The clients' writes of a round.
async fn write(replica: &Replica, round: u64) {
    let key = |n: u64| format!("key {:03}", (round * 31 + n * 7) % 97);
    let batch = (0..3).map(|n| match n {
        0 => Operation::delete(key(n)),
        1 => Operation::put(key(n), vec![b'w'; 5_000]),
        _ => Operation::put(key(n), format!("{round} {n}")),
    });
    replica.batch(batch.collect(), Durability::Buffered).await.unwrap();
    let event = |n: u64| {
        let at = Timestamp::from_millis((round * 7_919 + n * 104_729) % 30_000_000);
        Event::new(key(n).into_bytes().into(), Value::Data("imported".into()), at).unwrap()
    };
    replica.insert((0..5).map(event).collect(), Durability::Immediate).await.unwrap();
    if round.is_multiple_of(10) {
        replica.root().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_written_meanwhile_is_never_taken_for_damage() {
    for isolated in [true, false] {
        let store = Yielding::new(isolated);
        let parameters = ParameterOverrides::default().granularity(1_000);
        // Index batches and trimmed arrivals occur all the time.
        let options = Options::default().parameters(parameters).index_batch(50).arrivals_kept(400);
        let replica = Replica::open(store, options).await.unwrap();
        replica.insert(events(), Durability::Immediate).await.unwrap();
        let mut scrub = replica.scrub().await.unwrap();
        let (mut round, mut passes) = (0, 0);
        while passes < 3 {
            // Each write overlaps three steps, each time at another point.
            let scrubbing = async {
                for _ in 0..3 {
                    passes += u64::from(scrub.step(37).await.unwrap().ended);
                }
            };
            tokio::join!(write(&replica, round), scrubbing);
            round += 1;
        }
        let total = scrub.report().total;
        assert_eq!(found(&total), (0, 0, 0), "isolated: {isolated}");
        assert!(round > 100, "only {round} writes came meanwhile");
        assert!(replica.damaged_events().standing.is_empty());
        assert!(replica.verify(|_| {}).await.unwrap().is_clean());
    }
}
