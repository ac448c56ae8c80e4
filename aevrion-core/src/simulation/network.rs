//! Connecting nodes, and reconnecting them.

use std::sync::Arc;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::plan::RECONNECT;
use super::random::Random;
use super::wire::Wire;
use super::world::{Link, World, lock};
use crate::agent::AgentError;

/// The pause between attempts to connect over a blocked path.
const RETRY: Duration = Duration::from_millis(200);

/// Keeps two nodes connected, as far as the network allows.
pub(super) async fn keep_connected(world: Arc<World>, number: usize) {
    let link = &world.links[number];
    let mut random = Random::new(world.plan.seed, &[7, number as u64]);
    let longest = u64::try_from(RECONNECT.saturating_sub(RETRY * 2).as_millis()).unwrap_or(0);
    loop {
        let wait = if world.plan.is_crowd() { 0 } else { random.below(longest) };
        world.pass(Duration::from_millis(wait)).await;
        let [a, b] = link.ends;
        let blocked = link.paths.iter().any(|path| path.is_blocked());
        let (Some(here), Some(there)) = (world.nodes[a].process(), world.nodes[b].process()) else {
            world.pass(RETRY).await;
            continue;
        };
        if blocked {
            world.pass(RETRY).await;
            continue;
        }
        let wires = connect(&world, link);
        let [out, back] = wires.clone();
        let ends = [
            Endpoint::new(&world, (a, b), here, (Arc::clone(&out), Arc::clone(&back)), random.draw()),
            Endpoint::new(&world, (b, a), there, (back, out), random.draw()),
        ];
        let tasks = ends.map(|end| tokio::spawn(end.run()));
        for (task, (here, there)) in tasks.into_iter().zip([(a, b), (b, a)]) {
            match task.await {
                Ok(AgentError::Closed) => {}
                // Lost or doubled frames, which no transport produces, make honest neighbours look faulty.
                Ok(AgentError::Fault(_)) if world.plan.is_harsh() => {}
                // A path that is blocked or loses frames for long looks like a silent neighbour.
                Ok(AgentError::Silent | AgentError::NotSettled)
                    if world.plan.troubles.partitions || world.plan.is_harsh() => {}
                Ok(AgentError::Fault(fault)) => {
                    world.wrong(format!("node {here} says of node {there}: {fault}"));
                }
                Ok(end) => world.wrong(format!("node {here} gives up node {there}: {end}")),
                Err(panic) => world.wrong(format!("the agent of node {here} for node {there} died: {panic}")),
            }
        }
        *lock(&link.wires) = None;
    }
}

fn connect(world: &World, link: &Link) -> [Arc<Wire>; 2] {
    let wires = link.paths.clone().map(|path| Arc::new(Wire::new(path, world.plan.room)));
    *lock(&link.wires) = Some(wires.clone());
    wires
}
