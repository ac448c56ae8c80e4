//! The judgement at the end: whether the replicas agree, and whether they agree on the truth.

use std::collections::BTreeMap;

use super::model::Model;
use super::random::Random;
use super::wall::START;
use super::world::World;
use crate::agent::ReplicaView;
use crate::bounds::{KEPT_IRREGULAR, KEPT_REGULAR, PAGE_ROWS};
use crate::index::{EntryQuery, Order, VersionQuery};
use crate::sketch::Mapping;
use crate::{Event, EventKey, Parameters, ReadError, Replica, Root, TimeSpan, Timestamp, WriteError};

/// Versions and entries of one page: few, to test paging as well.
const PAGE: usize = 7;

/// Replicas of a crowd that are checked closely; in a smaller network all are.
const CLOSELY: usize = 12;

/// The common root of all replicas, if they have one.
pub(super) async fn common_root(world: &World) -> Option<Root> {
    let mut replicas = Vec::with_capacity(world.nodes.len());
    for node in &world.nodes {
        replicas.push(node.process()?.replica);
    }
    let count = replicas.first()?.events_held()?;
    if !replicas.iter().all(|replica| replica.events_held() == Some(count)) {
        return None;
    }
    let mut common = None;
    for replica in &replicas {
        let root = replica.root().await.ok()?;
        if *common.get_or_insert(root) != root {
            return None;
        }
    }
    common
}

/// Compares all replicas with each other, with the acknowledgements to clients, and with the plain model.
pub(super) async fn judge(world: &World) -> Result<u64, String> {
    let first = events_of(&replica(world, 0)?).await.map_err(|error| failed(0, &error))?;
    world.ledger().judge(&first)?;
    if world.plan.spoils {
        scrub_all(world).await?;
    }
    let model = Model::new(first);
    let root = model.root(&world.plan.parameters);
    let mut random = Random::new(world.plan.seed, &[10]);
    let times = times(world, &model, &mut random);
    let step = world.nodes.len().div_ceil(CLOSELY);
    for number in 0..world.nodes.len() {
        let replica = replica(world, number)?;
        let closely = number % step == 0;
        if !world.plan.spoils && replica.healed_hashes() > 0 {
            // Nothing spoils this disk, so the writer made the error.
            return Err(format!("node {number}: a stored hash was not that of its events"));
        }
        let expected = (&world.plan.parameters, root);
        let compared = compare(&replica, &model, expected, if closely { &times } else { &[] }).await;
        compared.map_err(|dissent| match dissent {
            Dissent::Unreadable(error) => failed(number, &error),
            Dissent::Wrong(what) => format!("node {number}: {what}"),
        })?;
    }
    Ok(root.count)
}

fn failed(number: usize, error: &ReadError) -> String {
    format!("node {number} cannot be read: {error}")
}

fn replica(world: &World, number: usize) -> Result<Replica, String> {
    let process = world.nodes[number].process().ok_or_else(|| format!("node {number} does not run"))?;
    Ok(process.replica)
}

/// Moments of the compared reads: present, past, edges of versions, the end of time.
fn times(world: &World, model: &Model, random: &mut Random) -> Vec<Timestamp> {
    let mut times = vec![START.after(world.began.elapsed()), Timestamp::MAX];
    let stamps: Vec<_> = model.events().keys().map(|event_key| event_key.timestamp).collect();
    if !stamps.is_empty() {
        let stamp = stamps[random.place(stamps.len())];
        times.extend([stamp, stamp.previous()]);
    }
    times
}

/// Why a replica does not agree with the model.
#[derive(Debug, thiserror::Error)]
enum Dissent {
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    #[error("{0}")]
    Wrong(String),
}

async fn compare(
    replica: &Replica,
    model: &Model,
    (parameters, root): (&Parameters, Root),
    times: &[Timestamp],
) -> Result<(), Dissent> {
    let wrong = |what: &str| Err(Dissent::Wrong(what.to_owned()));
    if replica.root().await? != root {
        return wrong("its root is not that of its events, or it has other events than node 0");
    }
    if times.is_empty() {
        return Ok(());
    }
    if events_of(replica).await? != *model.events() {
        return wrong("it has other events than node 0");
    }
    for at in times {
        for key in model.keys() {
            if replica.get_event(&key, *at).await? != model.visible(&key, *at) {
                return wrong(&format!("a read of {key:?} at {at} is not what its events say"));
            }
        }
        if scan(replica, *at).await? != entries(model, *at) {
            return wrong(&format!("a scan at {at} is not what its events say"));
        }
    }
    for key in model.keys() {
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let mut versions = model.versions(&key, Timestamp::MAX);
            if order == Order::NewestFirst {
                versions.reverse();
            }
            if history(replica, &key, order).await? != versions {
                return wrong(&format!("the history of {key:?} is not what its events say"));
            }
        }
    }
    for (mapping, len) in [(Mapping::Regular, KEPT_REGULAR), (Mapping::Irregular, KEPT_IRREGULAR)] {
        let cells = model.cells(&replica.sketch_key(), parameters, mapping, len);
        if replica.cells(TimeSpan::ALL, mapping, 0..len).await?.answer != cells {
            return wrong("its kept cells are not those of its events");
        }
    }
    let verified = replica.verify(|_| ()).await?;
    if !verified.is_clean() {
        return wrong(&format!("verify finds {:?} {:?}", verified.mendable, verified.lost));
    }
    Ok(())
}

/// A spoilt hash below a sound one shows in no comparison, nor does one above the present: only the scrub finds them.
pub(super) async fn scrub_all(world: &World) -> Result<(), String> {
    for number in 0..world.nodes.len() {
        let scrubbed = scrub(&replica(world, number)?).await;
        scrubbed.map_err(|error| format!("node {number} cannot be scrubbed: {error}"))?;
    }
    Ok(())
}

/// A view does not see damage done after it was taken, so the scrub begins with a commit, which makes a new view.
async fn scrub(replica: &Replica) -> Result<(), WriteError> {
    let mut scrub = replica.scrub().await?;
    scrub.save().await?;
    loop {
        while !scrub.step(PAGE_ROWS).await?.ended {}
        if scrub.report().last.is_none_or(|pass| pass.found == 0) {
            return Ok(());
        }
    }
}

async fn events_of(replica: &Replica) -> Result<BTreeMap<EventKey, Event>, ReadError> {
    let mut events = BTreeMap::new();
    let mut export = replica.export()?;
    while let Some(page) = export.next().await? {
        events.extend(page.into_iter().map(|event| (event.event_key(), event)));
    }
    Ok(events)
}

fn entries(model: &Model, at: Timestamp) -> Vec<Event> {
    model.keys().iter().filter_map(|key| model.visible(key, at)).collect()
}

async fn scan(replica: &Replica, at: Timestamp) -> Result<Vec<Event>, ReadError> {
    let mut query = EntryQuery { as_of: Some(at.into()), limit: PAGE, ..EntryQuery::default() };
    let mut events = Vec::new();
    loop {
        let page = replica.scan(&query).await?;
        events.extend(page.events);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(events),
        }
    }
}

async fn history(replica: &Replica, key: &[u8], order: Order) -> Result<Vec<Event>, ReadError> {
    let until = Some(Timestamp::MAX);
    let mut query = VersionQuery { order, until, limit: PAGE, ..VersionQuery::default() };
    let mut events = Vec::new();
    loop {
        let page = replica.history(key, &query).await?;
        events.extend(page.events);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(events),
        }
    }
}
