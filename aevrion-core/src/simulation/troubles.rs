//! The troubles, and their times.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::disk::Habits;
use super::plan::{LONGEST_TROUBLE, Troubles};
use super::random::Random;
use super::world::World;

/// One kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Break,
    Split,
    OneWay,
    TwoLinks,
    Flapping,
    Crash,
    Jump,
    Disk,
}

/// Causes trouble until `end`, and then stops.
pub(super) async fn rage(world: Arc<World>, end: Instant) {
    let mut random = Random::new(world.plan.seed, &[8]);
    let possible = possible(world.plan.troubles);
    let mut under_way = JoinSet::new();
    while !possible.is_empty() && !world.plan.is_crowd() {
        let next = Instant::now() + Duration::from_millis(random.between(20, 2_000));
        if next >= end {
            break;
        }
        tokio::time::sleep_until(next).await;
        let trouble = possible[random.place(possible.len())];
        under_way.spawn(make(Arc::clone(&world), trouble, Random::new(random.draw(), &[])));
    }
    if world.plan.is_crowd() && world.plan.troubles.partitions {
        split_crowd(&world, end, &mut random).await;
    }
    tokio::time::sleep_until(end).await;
    // Dropping them ends the troubles in progress.
    drop(under_way);
    heal(&world).await;
}

fn possible(troubles: Troubles) -> Vec<Trouble> {
    let Troubles { breaks, partitions, crashes, jumps, disks, overflows: _ } = troubles;
    let all = [
        (breaks, Trouble::Break),
        (partitions, Trouble::Split),
        (partitions, Trouble::OneWay),
        (partitions, Trouble::TwoLinks),
        (partitions, Trouble::Flapping),
        (crashes, Trouble::Crash),
        (jumps, Trouble::Jump),
        (disks, Trouble::Disk),
    ];
    all.into_iter().filter(|(on, _)| *on).map(|(_, trouble)| trouble).collect()
}

async fn make(world: Arc<World>, trouble: Trouble, mut random: Random) {
    let longest = u64::try_from(LONGEST_TROUBLE.as_millis()).unwrap_or(u64::MAX);
    let lasts = Duration::from_millis(random.between(200, longest));
    let links = || 0..world.links.len();
    let node = random.place(world.nodes.len());
    match trouble {
        Trouble::Break => world.links[random.place(world.links.len())].cut(),
        Trouble::Split => {
            let sides: Vec<bool> = world.nodes.iter().map(|_| random.once_in(2)).collect();
            let across = links().filter(|link| {
                let [a, b] = world.links[*link].ends;
                sides[a] != sides[b]
            });
            let across: Vec<_> = across.collect();
            block_for(&world, &across, [true; 2], lasts, random).await;
        }
        Trouble::OneWay => {
            let ways = random.pick([[true, false], [false, true]]);
            let link = random.place(world.links.len());
            block_for(&world, &[link], ways, lasts, random).await;
        }
        Trouble::TwoLinks => {
            let two = [random.place(world.links.len()), random.place(world.links.len())];
            block_for(&world, &two, [true; 2], lasts, random).await;
        }
        Trouble::Flapping => {
            let link = random.place(world.links.len());
            for _ in 0..6 {
                let once = Random::new(random.draw(), &[]);
                block_for(&world, &[link], [true; 2], lasts / 12, once).await;
                world.pass(lasts / 12).await;
            }
        }
        Trouble::Crash => {
            world.crash(node);
            world.pass(lasts / 2).await;
            if world.nodes[node].process().is_none() {
                world.restart(node).await;
            }
        }
        Trouble::Jump => {
            let far = random.pick([5, 200, 1_500, 30_000, 600_000, 2 * 86_400_000]);
            let by = random.pick([far, -far]);
            world.nodes[node].wall.jump(by);
            if random.once_in(2) {
                // The clock is set right.
                world.pass(lasts).await;
                world.nodes[node].wall.jump(-by);
            }
        }
        Trouble::Disk => {
            let slow = random.pick([0, 20, 300]);
            let (failing, blind) = (random.pick([0, 3, 20]), random.pick([0, 2, 2, 10]));
            let unreadable = random.pick([0, 0, 20, 100]);
            world.nodes[node].disk.become_like(Habits { slow, failing, blind, unreadable });
            world.pass(lasts).await;
            world.nodes[node].disk.become_like(Habits::default());
            if world.plan.spoils {
                world.nodes[node].disk.spoil_node(&mut random);
            }
        }
    }
}

/// Blocks links for a while. Their connections may break at once, or at the end, or not at all.
async fn block_for(world: &World, links: &[usize], ways: [bool; 2], lasts: Duration, mut random: Random) {
    let (first, last) = (random.once_in(3), random.once_in(2));
    let cut_if = |cut: bool| links.iter().filter(|_| cut).for_each(|link| world.links[*link].cut());
    links.iter().for_each(|link| world.links[*link].block(ways));
    cut_if(first);
    world.pass(lasts).await;
    cut_if(last);
    links.iter().for_each(|link| world.links[*link].block([false; 2]));
}

/// The one trouble of a large network: a partition in two for a third of the time.
async fn split_crowd(world: &World, end: Instant, random: &mut Random) {
    let third = (end - Instant::now()) / 3;
    world.pass(third).await;
    let sides: Vec<bool> = world.nodes.iter().map(|_| random.once_in(2)).collect();
    let across = || world.links.iter().filter(|link| sides[link.ends[0]] != sides[link.ends[1]]);
    for link in across() {
        link.block([true; 2]);
        link.cut();
    }
    world.pass(third).await;
}

/// Ends all troubles. Clocks stay as they are.
async fn heal(world: &World) {
    world.heal();
    for link in &world.links {
        link.paths.iter().for_each(|path| path.clear_up());
        if world.plan.is_harsh() {
            // The other side may wait for a lost frame: no transport goes on after a loss.
            link.cut();
        }
        link.block([false; 2]);
    }
    for (number, node) in world.nodes.iter().enumerate() {
        node.disk.become_like(Habits::default());
        if node.process().is_none() {
            world.restart(number).await;
        }
    }
}
