//! The phases of a simulation: trouble, with its invariants; healing; agreement; rest.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::clocks::clocks_reach;
use super::judge::{common_root, judge, scrub_all};
use super::network::keep_connected;
use super::plan::{Plan, RECONNECT};
use super::report::{Agreement, Report, Violation};
use super::troubles::rage;
use super::workload::{ANSWERED_WITHIN, Workload};
use super::world::{Node, World};
use crate::agent::CHECK_EVERY;
use crate::{Timestamp, WallClock, WriteError};

/// The interval between checks for agreement.
const LOOK: Duration = Duration::from_millis(20);

/// The time within which a replica must notice that its disk works again.
const RECOVERY: Duration = Duration::from_secs(3);

/// Runs a simulation to its end, on this thread.
///
/// # Errors
/// [`Violation`]: an invariant was violated, and how to reproduce it.
///
/// # Panics
/// If it is called inside another runtime.
pub fn run(plan: &Plan) -> Result<Report, Violation> {
    #[expect(
        clippy::expect_used,
        reason = "a runtime without input and output needs nothing that could be refused"
    )]
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without input and output can be built");
    crate::coop::reset();
    let outcome = runtime.block_on(simulate(plan.clone()));
    outcome.map_err(|what| Violation { plan: Box::new(plan.clone()), what })
}

async fn simulate(plan: Plan) -> Result<Report, String> {
    let world = Arc::new(World::new(plan));
    for number in 0..world.nodes.len() {
        world.restart(number).await;
    }
    let mut connections = JoinSet::new();
    for link in 0..world.links.len() {
        connections.spawn(keep_connected(Arc::clone(&world), link));
    }
    if world.plan.is_calm() || world.plan.is_crowd() {
        // Writes before the end of the handshakes are left to repairs.
        world.pass(RECONNECT + world.plan.latency * 8).await;
    }
    let end = Instant::now() + world.plan.trouble_lasts;
    let trouble = tokio::spawn(rage(Arc::clone(&world), end));
    Workload::new(Arc::clone(&world)).run(end).await;
    trouble.await.map_err(|error| format!("the troubles ended badly: {error}"))?;
    world.verdict()?;
    recover(&world).await?;
    settle_clients(&world).await?;
    let agreement = agree(&world).await?;
    let events = judge(&world).await?;
    world.verdict()?;
    rest(&world).await?;
    world.traffic().redundancy.judge(&world.plan, world.links.len(), events)?;
    if world.plan.is_calm() {
        world.traffic().judge_calm(&world.plan)?;
    }
    Ok(Report::of(&world, events, agreement))
}

/// Waits until every replica has noticed that its disk works again, which it must without a write.
async fn recover(world: &World) -> Result<(), String> {
    let until = Instant::now() + RECOVERY;
    for (number, node) in world.nodes.iter().enumerate() {
        let fails = || {
            let refused = node.process().and_then(|process| process.replica.refuses_writes());
            refused.filter(|error| !matches!(error, WriteError::Clock(_)))
        };
        while let Some(error) = fails() {
            if Instant::now() > until {
                return Err(format!("node {number} does not notice that its disk works: {error}"));
            }
            world.pass(LOOK).await;
        }
    }
    Ok(())
}

/// Waits for the outstanding answers to clients, up to their deadline.
async fn settle_clients(world: &World) -> Result<(), String> {
    let until = Instant::now() + ANSWERED_WITHIN;
    for (number, node) in world.nodes.iter().enumerate() {
        while node.waiting()? > 0 {
            if Instant::now() > until {
                return Err(format!("a client of node {number} was left waiting"));
            }
            world.pass(LOOK).await;
        }
    }
    world.verdict()
}

/// Waits until all replicas are equal. The last trouble is over, and so is the last write.
async fn agree(world: &World) -> Result<Agreement, String> {
    let healed = Instant::now();
    let reach = clocks_reach(world).await.map_err(|error| format!("no clock can be awaited: {error}"))?;
    let within = reach + world.plan.agreement_within() + healing(world);
    loop {
        world.verdict()?;
        if common_root(world).await.is_some() {
            return Ok(Agreement { after: healed.elapsed(), reach, within });
        }
        if healed.elapsed() > within {
            // Nothing above the present is compared as a whole: a spoilt hash there is left to the scrub.
            if world.plan.spoils && world.nodes.iter().all(Node::agrees) {
                scrub_all(world).await?;
                if common_root(world).await.is_some() {
                    return Ok(Agreement { after: within, reach, within });
                }
            }
            return Err(format!("no agreement {within:?} after the last trouble: {}", counts(world)));
        }
        world.pass(LOOK).await;
    }
}

/// The time until spoilt hashes are found, one by one: two repairs that move nothing, each after a leaf has closed, and
/// a check of their lists.
fn healing(world: &World) -> Duration {
    let leaf = Duration::from_millis(world.plan.parameters.granularity);
    let spoilt: u32 = world.nodes.iter().map(|node| node.disk.spoilt()).sum();
    (leaf * 2 + world.plan.settling() + CHECK_EVERY) * spoilt
}

fn counts(world: &World) -> String {
    let held = |node: &Node| node.process().and_then(|process| process.replica.events_held());
    format!("the nodes hold {:?} events", world.nodes.iter().map(held).collect::<Vec<_>>())
}

/// Checks that agreeing, idle replicas send only heartbeats.
async fn rest(world: &World) -> Result<(), String> {
    let leaf = Duration::from_millis(world.plan.parameters.granularity);
    let grace = world.plan.grace_at_most();
    // Messages in flight at the agreement have arrived, and both sides have confirmed it to each other.
    world.pass(grace * 4 + leaf * 2 + Duration::from_secs(6)).await;
    let (repairs, digests) = sums(world);
    let lasts = leaf * 2 + grace;
    let moved = moments_pass(world, lasts).await;
    world.pass(lasts).await;
    world.verdict()?;
    let (repairs_now, digests_now) = sums(world);
    if repairs_now > repairs {
        return Err(format!("{} messages of repairs between nodes that agree", repairs_now - repairs));
    }
    if digests_now > digests && !moved {
        return Err(format!("{} snapshots with digests between nodes that agree", digests_now - digests));
    }
    if common_root(world).await.is_none() {
        return Err(format!("the agreement did not last: {}", counts(world)));
    }
    Ok(())
}

fn sums(world: &World) -> (u64, u64) {
    let traffic = world.traffic();
    (traffic.repairs, traffic.digests)
}

/// Whether events pass from the future to the past of snapshots, which causes traffic although nothing was written.
async fn moments_pass(world: &World, lasts: Duration) -> bool {
    let margin = world.plan.grace_at_most() * 6 + Duration::from_secs(6);
    let leaf = Duration::from_millis(world.plan.parameters.granularity);
    let ahead = world.plan.max_drift * 2 + leaf * 2 + lasts;
    let Some(process) = world.nodes[0].process() else { return false };
    let Ok(mut export) = process.replica.export() else { return false };
    while let Ok(Some(events)) = export.next().await {
        let moves = |at: Timestamp| {
            world.nodes.iter().map(|node| node.wall.now()).any(|now| {
                now.before(margin + leaf * 2 + world.plan.max_drift) <= at && at <= now.after(ahead)
            })
        };
        if events.iter().any(|event| moves(event.timestamp())) {
            return true;
        }
    }
    false
}
