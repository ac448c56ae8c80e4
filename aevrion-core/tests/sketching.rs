//! Promise: the kept cells of a replica are those of its events, after any writes, failures, crashes and repairs; and
//! neither a start nor a question reads events that it need not read.

use std::ops::Range;

use crate::support::Kept;
use crate::support::counted::Counted;
use crate::support::yielding::Yielding;
use aevrion_core::agent::ReplicaView;
use aevrion_core::bounds::{COMMIT_EVENTS, KEPT_IRREGULAR, KEPT_REGULAR, SKETCH_CHECKPOINT};
use aevrion_core::fault_injection::{Bug, inject};
use aevrion_core::sketch::{Cells, Locator, Mapping, SketchKey};
use aevrion_core::store::{Durability, EventStore, KeyRange, Pages, Projection, Table, WriteBatch};
use aevrion_core::{Event, EventKey, Operation, Options, Replica, TimeSpan, Timestamp, Value};
use bytes::Bytes;
use proptest::prelude::*;

const OTHER_KEY: SketchKey = SketchKey::from_bytes([9; 16]);

/// Index batches and trimmed arrivals occur all the time.
fn options() -> Options {
    Options::default().index_batch(20).arrivals_kept(50)
}

async fn open(store: &Kept) -> Replica {
    Replica::open(store.clone(), options()).await.unwrap()
}

/// The replica in a copy of the store as it is now: that of a process that was killed.
async fn killed(store: &Kept) -> (Kept, Replica) {
    let copy = store.copied().await.unwrap();
    let replica = open(&copy).await;
    (copy, replica)
}

fn event(number: u64) -> Event {
    let value = Value::Data(format!("{number}").into_bytes().into());
    Event::new("key".into(), value, Timestamp::from_millis(1_000_000 + number * 7_000)).unwrap()
}

fn events(numbers: Range<u64>) -> Vec<Event> {
    numbers.map(event).collect()
}

/// Cells from the definition.
fn plain(replica: &Replica, events: &[EventKey], mapping: Mapping, range: Range<usize>) -> Cells {
    let (key, granularity) = (replica.sketch_key(), replica.parameters().granularity);
    let mut cells = Cells::part(mapping, range);
    for event_key in events {
        let leaf = event_key.timestamp.as_millis() / granularity;
        cells.insert(Locator::new(&key, leaf, &event_key.id));
    }
    cells
}

async fn held(replica: &Replica, span: TimeSpan) -> Vec<EventKey> {
    replica.event_keys(span, None, usize::MAX).await.unwrap()
}

const KEPT: [(Mapping, Range<usize>); 2] =
    [(Mapping::Regular, 0..KEPT_REGULAR), (Mapping::Irregular, 0..KEPT_IRREGULAR)];

/// Whether the kept cells are those of the events. No row is read for them.
async fn are_right(replica: &Replica) -> bool {
    let events = held(replica, TimeSpan::ALL).await;
    let mut right = true;
    for (mapping, range) in KEPT {
        let cells = replica.cells(TimeSpan::ALL, mapping, range.clone()).await.unwrap();
        right &= cells.rows == 0 && cells.answer == plain(replica, &events, mapping, range);
    }
    right
}

async fn rows(store: &impl EventStore, table: Table) -> Vec<(Bytes, Bytes)> {
    let view = store.view().await.unwrap();
    let mut pages = Pages::new(&*view, table, KeyRange::ALL, Projection::Rows);
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        rows.extend(page.into_rows());
    }
    rows
}

async fn sketch_row(store: &impl EventStore) -> Option<Bytes> {
    store.view().await.unwrap().get(Table::Meta, b"sketch").await.unwrap()
}

/// Changes a row without the replica's knowledge.
async fn plant(store: &impl EventStore, table: Table, key: impl Into<Bytes>, value: Option<Vec<u8>>) {
    let mut batch = WriteBatch::new();
    match value {
        Some(value) => batch.put(table, key, value),
        None => batch.remove(table, key),
    }
    store.commit(batch, Durability::Immediate).await.unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<u8>),
    Import(Vec<u16>),
    Lie,
    Fail,
    Blind,
    Kill,
    Close,
    Rebuild,
    OtherKey(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 1..6).prop_map(Step::Write),
        4 => prop::collection::vec(0u16..300, 1..90).prop_map(Step::Import),
        1 => Just(Step::Lie),
        1 => Just(Step::Fail),
        1 => Just(Step::Blind),
        2 => Just(Step::Kill),
        1 => Just(Step::Close),
        1 => Just(Step::Rebuild),
        1 => any::<bool>().prop_map(Step::OtherKey),
    ]
}

async fn take(step: Step, store: &mut Kept, replica: &mut Replica) {
    match step {
        Step::Write(keys) => {
            let operation = |key: u8| match key % 3 {
                0 => Operation::delete([key]),
                _ => Operation::put([key], vec![key; 3]),
            };
            // A store that failed takes no writes for a while.
            let _ = replica.batch(keys.into_iter().map(operation).collect(), Durability::Buffered).await;
        }
        Step::Import(numbers) => {
            let events = numbers.into_iter().map(|number| event(number.into())).collect();
            let _ = replica.insert(events, Durability::Immediate).await;
        }
        Step::Lie => store.lie_once(),
        Step::Fail => store.fail_commits(1),
        Step::Blind => store.fail_views(1),
        Step::Kill | Step::Close | Step::OtherKey(_) => {
            store.fail_views(0);
            if matches!(step, Step::Close) {
                let _ = replica.close().await;
            }
            *store = store.copied().await.unwrap();
            let key = if matches!(step, Step::OtherKey(true)) { Some(OTHER_KEY) } else { None };
            *replica = Replica::open(store.clone(), options().sketch_key(key)).await.unwrap();
        }
        Step::Rebuild => drop(replica.rebuild(|_| {}).await),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_kept_cells_are_those_of_the_events(steps in prop::collection::vec(step(), 1..40)) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut store = Kept::default();
            let mut replica = open(&store).await;
            for step in steps {
                let shown = format!("{step:?}");
                take(step, &mut store, &mut replica).await;
                // The store is read again after its failure.
                while replica.status().await.is_err() {
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
                prop_assert!(are_right(&replica).await, "after {shown}");
            }
            store.fail_views(0);
            let (_, killed) = killed(&store).await;
            prop_assert!(are_right(&killed).await);
            let verified = killed.verify(|_| {}).await.unwrap();
            prop_assert!(verified.is_clean());
            Ok(())
        })?;
    }
}

/// As the test above finds them, and so does the simulation.
#[tokio::test(start_paused = true)]
async fn cells_that_miss_a_commit_are_seen() {
    inject(Some(Bug::CellsNotReloaded));
    let store = Kept::default();
    let replica = open(&store).await;
    store.lie_once();
    replica.insert(events(0..30), Durability::Immediate).await.unwrap_err();
    let right = are_right(&replica).await;
    inject(None);
    assert_eq!((held(&replica, TimeSpan::ALL).await.len(), right), (30, false));
}

/// Whether the cells of a span are those of its events.
async fn are_of_their_span(replica: &Replica, spans: [TimeSpan; 5]) -> bool {
    for span in spans {
        let inside = held(replica, span).await;
        for (mapping, range) in [
            (Mapping::Regular, 0..32),
            (Mapping::Regular, 32..KEPT_REGULAR),
            (Mapping::Regular, 100..1_000),
            (Mapping::Irregular, 0..KEPT_IRREGULAR),
            (Mapping::Irregular, 9_000..9_000),
            (Mapping::Irregular, KEPT_IRREGULAR..20_000),
        ] {
            let cells = replica.cells(span, mapping, range.clone()).await.unwrap();
            if cells.answer != plain(replica, &inside, mapping, range.clone()) {
                println!("{span} {range:?}");
                return false;
            }
        }
    }
    true
}

#[tokio::test]
async fn the_cells_of_any_span_are_those_of_its_events() {
    let replica = open(&Kept::default()).await;
    replica.insert(events(0..3_000), Durability::Immediate).await.unwrap();
    let moment = |number: u64| event(number).timestamp();
    let from_the_beginning = |number| TimeSpan::before(moment(number)).unwrap();
    let between = TimeSpan::new(moment(40), moment(2_000)).unwrap();
    let [most, half, few] = [2_995, 1_500, 3].map(from_the_beginning);
    let spans = [TimeSpan::ALL, most, half, few, between];
    assert!(are_of_their_span(&replica, spans).await);
    inject(Some(Bug::CellsOfLaterEvents));
    let planted = are_of_their_span(&replica, spans).await;
    inject(None);
    assert!(!planted, "cells of other events would be noticed");
    // The rows read: none, the few after the span, or the few in it and a page of the others.
    let read = async |span| replica.cells(span, Mapping::Regular, 0..32).await.unwrap().rows;
    assert_eq!((read(TimeSpan::ALL).await, read(from_the_beginning(2_995)).await), (0, 5));
    assert_eq!(read(between).await, 1_961);
    let few = read(from_the_beginning(3)).await;
    assert!((3..3_000).contains(&few), "{few}");
}

/// A question is answered by one state: a state and its cells are a pair.
#[tokio::test]
async fn what_is_written_meanwhile_is_in_no_answer_by_half() {
    for isolated in [true, false] {
        let replica = Replica::open(Yielding::new(isolated), options()).await.unwrap();
        replica.insert(events(0..500), Durability::Immediate).await.unwrap();
        let span = TimeSpan::before(event(500).timestamp()).unwrap();
        let expected = plain(&replica, &held(&replica, span).await, Mapping::Irregular, 0..KEPT_IRREGULAR);
        for round in 0..60 {
            let write = replica.insert(events(500 + round * 90..590 + round * 90), Durability::Buffered);
            let ask = replica.cells(span, Mapping::Irregular, 0..KEPT_IRREGULAR);
            let (written, answer) = tokio::join!(write, ask);
            written.unwrap();
            assert!(answer.unwrap().answer == expected, "isolated: {isolated}, round {round}");
        }
        assert!(are_right(&replica).await);
    }
}

/// A start reads the arrivals since the row was written, and no event.
#[tokio::test]
async fn a_start_after_a_crash_reads_no_more_than_the_arrivals_since() {
    let store = Counted::default();
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    let empty = sketch_row(&store).await.unwrap();
    assert!(empty.len() < 100, "an empty store has a small row");
    let commit = COMMIT_EVENTS as u64;
    let mut written = 0;
    while written <= SKETCH_CHECKPOINT + commit * 2 {
        assert!(written > SKETCH_CHECKPOINT || sketch_row(&store).await.unwrap() == empty, "at {written}");
        replica.insert(events(written..written + commit), Durability::Buffered).await.unwrap();
        written += commit;
    }
    let row = sketch_row(&store).await.unwrap();
    assert_eq!(row[16..24], SKETCH_CHECKPOINT.to_be_bytes(), "the events of the commit are not in its row");
    let before = store.rows();
    let killed = Replica::open(store.clone(), Options::default()).await.unwrap();
    let read = store.rows() - before;
    // Runs of 256 arrivals, twice: for the index, and for the sketch.
    assert!(read < 200, "{read} rows were read");
    assert!(are_right(&killed).await);
}

#[tokio::test]
async fn a_clean_close_leaves_little_to_read() {
    let store = Kept::default();
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    replica.insert(events(0..3_000), Durability::Immediate).await.unwrap();
    replica.close().await.unwrap();
    assert_eq!(sketch_row(&store).await.unwrap()[16..24], 3_000_u64.to_be_bytes());
    let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
    replica.insert(events(3_000..3_010), Durability::Immediate).await.unwrap();
    replica.close().await.unwrap();
    assert_eq!(
        sketch_row(&store).await.unwrap()[16..24],
        3_000_u64.to_be_bytes(),
        "few arrivals are read again"
    );
    assert!(are_right(&open(&store).await).await);
}

/// Trimmed arrivals are never those that the row lacks.
#[tokio::test]
async fn arrivals_are_not_trimmed_before_the_row_has_them() {
    let store = Kept::default();
    let replica = open(&store).await;
    for commit in 0..60 {
        replica.insert(events(commit * 9..commit * 9 + 9), Durability::Immediate).await.unwrap();
        let row = sketch_row(&store).await.unwrap();
        let stored = u64::from_be_bytes(row[16..24].try_into().unwrap());
        let oldest = replica.status().await.unwrap().arrivals.start;
        assert!(oldest <= stored, "arrivals from {oldest} on are kept, the row ends at {stored}");
    }
    assert!(replica.status().await.unwrap().arrivals.start > 300);
    assert!(are_right(&killed(&store).await.1).await);
}

/// The stored row is missing, damaged, or older than the arrivals: the events are read, once.
#[tokio::test]
async fn a_sketch_that_cannot_be_followed_is_made_anew() {
    for way in 0..4 {
        let store = Kept::default();
        let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
        replica.insert(events(0..2_000), Durability::Immediate).await.unwrap();
        replica.close().await.unwrap();
        let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
        replica.insert(events(2_000..2_300), Durability::Immediate).await.unwrap();
        let row = sketch_row(&store).await.unwrap();
        let arrivals = rows(&store, Table::Arrivals).await;
        let store = store.copied().await.unwrap();
        match way {
            0 => plant(&store, Table::Meta, "sketch", None).await,
            1 => {
                let mut row = row.to_vec();
                row[5_000] ^= 1;
                plant(&store, Table::Meta, "sketch", Some(row)).await;
            }
            2 => plant(&store, Table::Arrivals, arrivals[arrivals.len() - 2].0.clone(), None).await,
            _ => plant(&store, Table::Arrivals, arrivals.last().unwrap().0.clone(), Some(vec![7; 9])).await,
        }
        let replica = Replica::open(store.clone(), Options::default()).await.unwrap();
        assert!(are_right(&replica).await, "way {way}");
        let row = sketch_row(&store).await.unwrap();
        assert_eq!(row[16..24], 2_300_u64.to_be_bytes(), "way {way}: it is stored at once");
    }
}

#[tokio::test]
async fn another_key_makes_another_sketch_and_stays() {
    let store = Kept::default();
    let replica = open(&store).await;
    replica.insert(events(0..200), Durability::Immediate).await.unwrap();
    assert_eq!(replica.sketch_key(), SketchKey::PUBLIC);
    let store = store.copied().await.unwrap();
    let replica = Replica::open(store.clone(), options().sketch_key(OTHER_KEY)).await.unwrap();
    assert!(replica.sketch_key() == OTHER_KEY && are_right(&replica).await);
    replica.insert(events(200..220), Durability::Immediate).await.unwrap();
    let (_, replica) = killed(&store).await;
    assert_eq!(replica.sketch_key(), OTHER_KEY, "the store keeps its key");
    assert!(are_right(&replica).await);
}

/// A making that was interrupted has stored nothing, and the next start begins it again.
#[tokio::test]
async fn an_interrupted_making_is_repeated() {
    let store = Kept::default();
    let replica = open(&store).await;
    replica.insert(events(0..200), Durability::Immediate).await.unwrap();
    let store = store.copied().await.unwrap();
    plant(&store, Table::Meta, "sketch", None).await;
    store.fail_commits(1);
    Replica::open(store.clone(), options()).await.unwrap_err();
    assert_eq!(sketch_row(&store).await, None);
    for reads in 1..12 {
        store.fail_reads(reads);
        let _ = Replica::open(store.clone(), options()).await;
        store.fail_reads(0);
    }
    assert!(are_right(&open(&store).await).await);
}

/// A mended event was held all the time.
#[tokio::test]
async fn a_mended_event_counts_once() {
    let store = Kept::default();
    let replica = open(&store).await;
    replica.insert(events(0..50), Durability::Immediate).await.unwrap();
    let (key, row) = rows(&store, Table::Events).await[20].clone();
    plant(&store, Table::Events, key, Some(row[..row.len() - 1].to_vec())).await;
    let (store, replica) = killed(&store).await;
    assert_eq!(replica.insert(vec![event(20)], Durability::Immediate).await.unwrap().new, 0);
    assert_eq!(replica.damaged_events().mended, 1);
    assert!(are_right(&replica).await);
    assert!(are_right(&killed(&store).await.1).await);
}

/// Has the scrub remove a misplaced copy of an event, and kills the process. Returns whether the cells are right before
/// and after.
async fn remove_misplaced() -> [bool; 2] {
    let store = Kept::default();
    let replica = open(&store).await;
    replica.insert(events(0..50), Durability::Immediate).await.unwrap();
    let (key, row) = rows(&store, Table::Events).await[20].clone();
    let mut elsewhere = key.to_vec();
    elsewhere[30] ^= 1;
    let store = store.copied().await.unwrap();
    plant(&store, Table::Events, elsewhere, Some(row.to_vec())).await;
    plant(&store, Table::Meta, "sketch", None).await;
    let replica = open(&store).await;
    assert_eq!(held(&replica, TimeSpan::ALL).await.len(), 51);
    let mut scrub = replica.scrub().await.unwrap();
    while held(&replica, TimeSpan::ALL).await.len() > 50 {
        scrub.step(10).await.unwrap();
    }
    [are_right(&replica).await, are_right(&killed(&store).await.1).await]
}

#[tokio::test]
async fn a_removed_event_is_taken_out_for_good() {
    assert_eq!(remove_misplaced().await, [true, true]);
    inject(Some(Bug::RemovalNotStored));
    let planted = remove_misplaced().await;
    inject(None);
    assert_eq!(planted, [true, false], "a removal brings no arrival");
}

/// An event that the disk has lost is in the cells still. Whoever notices the loss corrects them, before it comes again.
#[tokio::test]
async fn a_lost_event_that_comes_again_counts_once() {
    for by_scrub in [true, false] {
        let store = Kept::default();
        let replica = open(&store).await;
        replica.insert(events(0..50), Durability::Immediate).await.unwrap();
        replica.root().await.unwrap();
        replica.close().await.unwrap();
        let (key, _) = rows(&store, Table::Events).await[20].clone();
        plant(&store, Table::Events, key, None).await;
        let replica = open(&store).await;
        assert!(!are_right(&replica).await);
        if by_scrub {
            let mut scrub = replica.scrub().await.unwrap();
            while !scrub.step(100).await.unwrap().ended {}
        } else {
            assert!(replica.check_hashes(TimeSpan::ALL).await.unwrap().wrong > 0);
        }
        assert!(are_right(&replica).await, "by scrub: {by_scrub}");
        assert_eq!(replica.insert(vec![event(20)], Durability::Immediate).await.unwrap().new, 1);
        assert!(are_right(&replica).await);
        assert!(are_right(&killed(&store).await.1).await);
    }
}

/// A row with a wrong cell, and the right hash of it.
async fn plant_wrong_cell(store: &Kept) {
    let row = sketch_row(store).await.unwrap();
    let mut row = row[..row.len() - 32].to_vec();
    row[700] ^= 1;
    let hash = blake3::hash(&row);
    row.extend(hash.as_bytes());
    plant(store, Table::Meta, "sketch", Some(row)).await;
}

#[tokio::test]
async fn verify_names_a_wrong_cell_and_rebuild_corrects_it() {
    let store = Kept::default();
    let replica = open(&store).await;
    replica.insert(events(0..2_000), Durability::Immediate).await.unwrap();
    replica.close().await.unwrap();
    plant_wrong_cell(&store).await;
    let replica = open(&store).await;
    let found = replica.verify(|_| {}).await.unwrap();
    let damage: Vec<_> = found.mendable.iter().map(|damage| (damage.table, &damage.key[..])).collect();
    assert_eq!((damage, found.findings), (vec![(Table::Meta, &b"sketch"[..])], 1));
    // Writes go on meanwhile.
    let (rebuilt, written) =
        tokio::join!(replica.rebuild(|_| {}), replica.insert(events(2_000..2_100), Durability::Immediate));
    assert!(rebuilt.is_ok() && written.is_ok());
    assert!(are_right(&replica).await);
    assert!(replica.verify(|_| {}).await.unwrap().is_clean());
    assert!(are_right(&killed(&store).await.1).await, "it is stored");
}
