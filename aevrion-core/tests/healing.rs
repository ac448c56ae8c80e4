//! Promise: two nodes with the same events agree despite any damage to the stored hashes and counts of one of them, at
//! every level of the tree, and without a request.

use std::time::Duration;

use crate::support::Kept;
use crate::support::pair::Pair;
use aevrion_core::store::{Durability, EventStore, KeyRange, Pages, Projection, Table, WriteBatch};
use aevrion_core::{Event, Options, ParameterOverrides, Parameters, Replica, Timestamp, Value};

const NOW: u64 = 1_700_000_000_000;

/// Events of some years: many in a few leaves, so that repairs name children down to a leaf; or sparse, so that they
/// list whole years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Dense,
    Sparse,
}

impl Layout {
    fn events(self) -> Vec<Event> {
        let (clumps, count) = match self {
            Self::Dense => (7, 300),
            Self::Sparse => (7, 3),
        };
        // In the same year, month, day and hour as other events, and in different ones.
        let apart = [0, 60_000, 3_600_000, 86_400_000, 40 * 86_400_000, 900 * 86_400_000, 2_000 * 86_400_000];
        let moment = |clump: usize, number: u64| NOW - 4_000_000_000 - apart[clump] - number * 7;
        let event = |(clump, number)| {
            let value = Value::Data(format!("{clump} {number}").into_bytes().into());
            Event::new("key".into(), value, Timestamp::from_millis(moment(clump, number))).unwrap()
        };
        (0..clumps).flat_map(|clump| (0..count).map(move |number| (clump, number))).map(event).collect()
    }
}

/// The damage of a stored tree node.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Hash,
    Count,
    /// A count so large that the sum overflows.
    HugeCount,
    /// A node that does not exist, without events below it.
    Ghost,
}

/// The common properties of two nodes, and their relation.
#[derive(Debug, Clone, Copy)]
struct Setting {
    parameters: Parameters,
    now: u64,
    /// How far the clock of each side is ahead of that.
    ahead: [Duration; 2],
    /// The one-way latency.
    latency: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        let latency = Duration::from_millis(5);
        Self { parameters: Parameters::default(), now: NOW, ahead: [Duration::ZERO; 2], latency }
    }
}

/// A store with these events and all hashes.
async fn stored(events: &[Event], parameters: &Parameters) -> Kept {
    let store = Kept::default();
    let parameters =
        ParameterOverrides::default().granularity(parameters.granularity).branching(parameters.branching);
    let options = Options::default().parameters(parameters);
    let replica = Replica::open(store.clone(), options).await.unwrap();
    replica.insert(events.to_vec(), Durability::Immediate).await.unwrap();
    replica.root().await.unwrap();
    replica.close().await.unwrap();
    store
}

/// Spoils the node of `level` above the last event, and removes the hashes computed from it, so that they are
/// recomputed from the wrong one.
async fn spoil(store: &Kept, level: u8, wrong: Wrong) {
    let view = store.view().await.unwrap();
    let mut pages = Pages::new(&*view, Table::Nodes, KeyRange::ALL, Projection::Rows);
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        rows.extend(page.rows().map(|(key, value)| (key.to_vec(), value.to_vec())));
    }
    let mut batch = WriteBatch::new();
    for above in level..5 {
        let (key, value) = rows.iter().rfind(|(key, _)| key[0] == above).unwrap();
        let (mut key, mut value) = (key.clone(), value.clone());
        if above > level {
            batch.remove(Table::Nodes, key);
            continue;
        }
        match wrong {
            Wrong::Hash => value[20] ^= 0x10,
            Wrong::Count => value[7] ^= 0x40,
            Wrong::HugeCount => value[..8].copy_from_slice(&(u64::MAX - 1).to_be_bytes()),
            // Nearby, in an empty place, and outside the current years, which are not compared as a whole.
            Wrong::Ghost => key[8] ^= 0x08,
        }
        assert!(!matches!(wrong, Wrong::Ghost) || rows.iter().all(|(other, _)| *other != key));
        batch.put(Table::Nodes, key, value);
    }
    store.commit(batch, Durability::Immediate).await.unwrap();
}

/// Spoils one of two nodes with the same events, and connects them.
async fn heal(setting: Setting, layout: Layout, level: u8, wrong: Wrong, side: usize) {
    let what = format!("{setting:?}, {layout:?}, level {level}, {wrong:?}, side {side}");
    let Setting { parameters, now, ahead, latency } = setting;
    let events = layout.events();
    let stores = [stored(&events, &parameters).await, stored(&events, &parameters).await];
    spoil(&stores[side], level, wrong).await;
    let mut pair = Pair::over(stores, parameters, now).await;
    pair.put_ahead(ahead);
    pair.take(latency);
    assert!(!pair.agree().await, "nothing was spoilt: {what}");
    pair.connect().await;
    pair.pass_time(Duration::from_secs(180)).await;
    assert!(pair.agree().await, "{what}\n{}", pair.transcript);
    let healed = [0, 1].map(|side| pair.sides[side].replica.healed_hashes() > 0);
    assert_eq!(healed, [side == 0, side == 1], "{what}");
    for side in &pair.sides {
        let found = side.replica.verify(|_| ()).await.unwrap();
        assert!(found.is_clean(), "{what}: {:?}", found.mendable);
        assert_eq!(found.events, events.len() as u64);
    }
}

async fn heal_everywhere(wrong: Wrong) {
    for layout in [Layout::Dense, Layout::Sparse] {
        for level in 0..5 {
            for side in 0..2 {
                heal(Setting::default(), layout, level, wrong, side).await;
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_hash_heals_at_every_level() {
    heal_everywhere(Wrong::Hash).await;
}

#[tokio::test]
async fn a_wrong_count_heals_at_every_level() {
    heal_everywhere(Wrong::Count).await;
}

#[tokio::test]
async fn a_count_beyond_all_counting_heals_at_every_level() {
    heal_everywhere(Wrong::HugeCount).await;
}

#[tokio::test]
async fn a_node_without_events_heals_at_every_level() {
    heal_everywhere(Wrong::Ghost).await;
}

/// The past of the slower side ends before the fault, and agrees, again and again. This must not end the search in the
/// past of the other side; nor must leaves that close faster than a repair ends.
#[tokio::test]
async fn what_only_the_faster_clock_has_passed_heals() {
    let oldest = Layout::Sparse.events().iter().map(Event::timestamp).min().unwrap().as_millis();
    let now = oldest - 3_600_000;
    let (latency, ahead) = (Duration::from_millis(200), Duration::from_millis(NOW - now));
    for granularity in [250, 60_000] {
        let parameters = Parameters { granularity, ..Parameters::default() };
        for ahead in [[ahead, Duration::ZERO], [Duration::ZERO, ahead]] {
            let setting = Setting { parameters, now, ahead, latency };
            for wrong in [Wrong::Hash, Wrong::Count] {
                for side in 0..2 {
                    heal(setting, Layout::Sparse, 0, wrong, side).await;
                }
            }
        }
    }
}
