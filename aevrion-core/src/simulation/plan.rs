//! The plan of a simulation, all of it decided by a seed.

use std::fmt;
use std::time::Duration;

use super::random::Random;
use super::topology::{Topology, most_links, reach};
use super::wire::Weather;
use crate::Parameters;
use crate::agent::{Budget, PAUSE, Rate};
use crate::bounds::PUSHED_BYTES;

/// More nodes than this make a large calm network: some writes and one partition that heals.
pub(super) const CROWD: usize = 50;

/// The nodes of a crowd that write: few, so that each of them writes often.
const WRITERS: usize = 16;

/// The troubles of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Troubles {
    /// Connections break.
    pub breaks: bool,
    /// The network is partitioned: in two, in one direction, repeatedly.
    pub partitions: bool,
    /// Nodes crash and restart.
    pub crashes: bool,
    /// Wall clocks jump.
    pub jumps: bool,
    /// Disks are slow, and fail.
    pub disks: bool,
    /// New events come faster than they can be announced.
    pub overflows: bool,
}

/// The plan of one simulation. It prints itself in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The source of all chance.
    pub seed: u64,
    /// The number of replicas.
    pub nodes: usize,
    /// The connections between nodes.
    pub topology: Topology,
    /// The parameters of the cluster.
    pub parameters: Parameters,
    /// The least distance between the present and the end of a snapshot.
    pub grace: Duration,
    /// The greatest difference between clocks without alarm.
    pub max_drift: Duration,
    /// The initial offset of each node's clock, in milliseconds.
    pub skews: Vec<i64>,
    /// The longest latency between two nodes.
    pub latency: Duration,
    /// The bandwidth of every path, in bytes a millisecond.
    pub bandwidth: u64,
    /// Bytes in flight on a lane at which sending stops.
    pub room: usize,
    /// The duration of the trouble.
    pub trouble_lasts: Duration,
    /// The kinds of trouble.
    pub troubles: Troubles,
    /// The treatment of single frames.
    pub weather: Weather,
    /// The number of client actions in that time.
    pub actions: u64,
    /// The number of keys that clients write.
    pub keys: u64,
    /// Index rows held in memory.
    pub index_batch: usize,
    /// Whether clients write one key in bursts that exceed the drift.
    pub dense: bool,
    /// Whether nodes accept local writes even if the neighbours' clocks contradict theirs.
    pub write_despite_clocks: bool,
    /// Whether failing disks also spoil the stored tree.
    pub spoils: bool,
    /// Largest event that is pushed, in bytes of key and value.
    pub pushed: usize,
    /// The read budget for one neighbour.
    pub budget: Budget,
}

impl Plan {
    /// The simulation of a seed.
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed, &[1]);
        let topologies = [
            Topology::Full,
            Topology::Full,
            Topology::Ring,
            Topology::Line,
            Topology::Star,
            Topology::Random(3),
        ];
        let topology = random.pick(topologies);
        let nodes = random.pick([3, 3, 3, 4, 4, 5, 5, 6, 7]);
        let granularity = random.pick([100, 250, 1_000, 1_000, 5_000, 20_000, 60_000]);
        let parameters = Parameters {
            granularity,
            branching: random.pick([2, 4, 32]),
            longest_key: 64,
            largest_data: LARGEST,
        };
        let calm = random.once_in(6);
        let skews = skews(nodes, calm, &mut random);
        let lasts = 4_000 + random.below(16_000) + granularity.min(40_000);
        let on = |random: &mut Random| !calm && random.once_in(2);
        let harsh = !calm && random.once_in(4);
        let weather = Weather { lost: 40, doubled: 30, overtaken: 15 };
        let dense = Random::new(seed, &[11]).once_in(4);
        Self {
            seed,
            nodes,
            topology,
            parameters,
            grace: Duration::from_millis(random.pick([500, 2_000, 2_000])),
            max_drift: match random.pick([1_000, 5_000, 60_000]) {
                _ if dense => DENSE_DRIFT,
                drift => Duration::from_millis(drift),
            },
            skews,
            latency: Duration::from_millis(random.pick([2, 20, 20, 100, 250])),
            bandwidth: random.pick([500, 5_000, 100_000]),
            // Without trouble nothing may be left out for want of room.
            room: random.pick([2_000, 100_000, 1_000_000]).max(if calm { 1_000_000 } else { 0 }),
            trouble_lasts: Duration::from_millis(lasts),
            troubles: Troubles {
                breaks: on(&mut random),
                partitions: on(&mut random),
                crashes: on(&mut random),
                jumps: on(&mut random),
                disks: on(&mut random),
                overflows: on(&mut random),
            },
            weather: if harsh { weather } else { Weather::default() },
            actions: 30 + random.below(170),
            keys: random.pick([1, 4, 12]),
            index_batch: random.pick([1, 8, 64, 65_536]),
            dense,
            write_despite_clocks: Random::new(seed, &[12]).once_in(2),
            spoils: Random::new(seed, &[15]).once_in(2),
            pushed: Random::new(seed, &[13]).pick([20, 100, PUSHED_BYTES]),
            budget: if !calm && Random::new(seed, &[14]).once_in(4) {
                SMALL_BUDGET
            } else {
                Budget::default()
            },
        }
    }

    /// The same plan with another number of nodes and another topology, if given.
    #[must_use]
    pub fn reshaped(mut self, nodes: Option<usize>, topology: Option<Topology>) -> Self {
        let mut random = Random::new(self.seed, &[2]);
        if let Some(nodes) = nodes.filter(|nodes| *nodes != self.nodes) {
            self.skews = skews(nodes, true, &mut random);
            self.nodes = nodes;
        }
        self.topology = topology.unwrap_or(self.topology);
        if self.nodes > CROWD { self.crowd() } else { self }
    }

    /// The same plan without any trouble.
    #[must_use]
    pub fn calmed(self) -> Self {
        let skews = skews(self.nodes, true, &mut Random::new(self.seed, &[2]));
        let (troubles, weather) = (Troubles::default(), Weather::default());
        // Without trouble nothing may be left out for want of room.
        let room = self.room.max(1_000_000);
        Self { skews, troubles, weather, room, budget: Budget::default(), ..self }
    }

    /// A large calm network.
    fn crowd(self) -> Self {
        Self {
            parameters: Parameters { granularity: 10_000, branching: 32, ..self.parameters },
            grace: Duration::from_secs(2),
            max_drift: Duration::from_secs(1),
            latency: Duration::from_millis(50),
            bandwidth: 10_000,
            room: 1_000_000,
            trouble_lasts: Duration::from_secs(30),
            troubles: Troubles { partitions: true, ..Troubles::default() },
            weather: Weather::default(),
            actions: 100,
            keys: 50,
            index_batch: 32,
            dense: false,
            pushed: PUSHED_BYTES,
            budget: Budget::default(),
            ..self
        }
    }

    /// Whether this is the large calm network.
    pub fn is_crowd(&self) -> bool {
        self.nodes > CROWD
    }

    /// The nodes whose clients act: all, or a few of a crowd.
    pub(super) fn writers(&self) -> Vec<usize> {
        if self.is_crowd() {
            (0..WRITERS).map(|writer| writer * self.nodes / WRITERS).collect()
        } else {
            (0..self.nodes).collect()
        }
    }

    /// Whether there is no trouble at all, clocks included.
    pub fn is_calm(&self) -> bool {
        let Troubles { breaks, partitions, crashes, jumps, disks, overflows } = self.troubles;
        let troubled = breaks || partitions || crashes || jumps || disks || overflows;
        !troubled && !self.is_harsh() && self.skews.iter().all(|skew| skew.abs() <= CALM_SKEW)
    }

    /// Whether single frames are lost, doubled or overtaken.
    pub fn is_harsh(&self) -> bool {
        self.weather != Weather::default()
    }

    /// The links between nodes.
    pub fn links(&self) -> Vec<(usize, usize)> {
        self.topology.links(self.nodes, &mut Random::new(self.seed, &[3]))
    }

    /// The time within which all replicas agree after the last trouble, once the clocks have reached their differences:
    /// two leaves, after each of which neighbours compare, and the time for connecting, successive repairs and the way
    /// to the farthest node.
    pub fn agreement_within(&self) -> Duration {
        Duration::from_millis(self.parameters.granularity) * 2 + self.settling()
    }

    /// The time for an agreement beside the two leaves:
    ///
    /// * the links are restored after `RECONNECT`, a replica whose disk failed rests for `PAUSE`, and clocks are settled
    ///   after three round trips;
    /// * each of the two leaves is compared a grace after it closed, and again and again while events are in flight, at
    ///   most three graces later;
    /// * a node repairs with one neighbour at a time: each repair takes five round trips (snapshot and answer, list and
    ///   request, events, the final silence, snapshots again), and three times as many if clocks are so far apart that
    ///   the time between past and future is compared on its own, beside the future;
    /// * repaired events spread by announcements as far as the farthest node;
    /// * an exhausted budget has to fill again.
    pub(super) fn settling(&self) -> Duration {
        let links = self.links();
        let far = u32::try_from(2 * reach(self.nodes, &links)).unwrap_or(u32::MAX);
        let turns = u32::try_from(most_links(&links)).unwrap_or(u32::MAX);
        let turns = if self.clocks_are_apart() { turns.saturating_mul(3) } else { turns };
        let there_and_back = self.latency * 2;
        let handshake = RECONNECT + PAUSE + there_and_back * 3;
        let budget = if self.budget == SMALL_BUDGET { FILLS } else { Duration::ZERO };
        handshake + self.grace_at_most() * 5 + there_and_back * 5 * turns + TRANSFER * far + budget
    }

    /// Whether some clocks differ by more than is allowed without alarm.
    fn clocks_are_apart(&self) -> bool {
        let apart = self.skews.iter().max().zip(self.skews.iter().min()).map(|(max, min)| max.abs_diff(*min));
        apart.is_some_and(|apart| u128::from(apart) > self.max_drift.as_millis())
    }

    /// The greatest grace of the agents: four round trips, if that is more than the configured one. A clock that jumped
    /// leaves one measurement, which a blocked path may have delayed, until the next leaf closes.
    pub fn grace_at_most(&self) -> Duration {
        let held = self.troubles.jumps && self.troubles.partitions;
        let way_back = self.latency * 2 + if held { LONGEST_TROUBLE } else { Duration::ZERO };
        self.grace.max(way_back * 4)
    }
}

/// A budget that many requests exhaust. At once it allows more rows than a leaf has: a smaller one never reaches the
/// end of a list.
const SMALL_BUDGET: Budget =
    Budget { rows: Rate::a_second(2_000, 300), bytes: Rate::a_second(100_000, 50_000) };

/// The time until such a budget is full again after the most expensive repair session.
const FILLS: Duration = Duration::from_secs(20);

/// The drift of simulations with bursts of one key: short, so that a burst exceeds it.
pub(super) const DENSE_DRIFT: Duration = Duration::from_millis(150);

/// The most writes of one key at once: the drift has room for one such burst, but not always for two.
pub(super) const LONGEST_BURST: u64 = 200;

/// Most milliseconds between clocks in a simulation without trouble.
const CALM_SKEW: i64 = 20;

/// The largest value: small, so that clients reach it.
pub(super) const LARGEST: u32 = 300;

/// The time to restore a lost connection, if nothing blocks it.
pub(super) const RECONNECT: Duration = Duration::from_millis(1_500);

/// The longest duration of one trouble.
pub(super) const LONGEST_TROUBLE: Duration = Duration::from_secs(6);

/// The time for a batch of events on the slowest path.
const TRANSFER: Duration = Duration::from_millis(250);

fn skews(nodes: usize, calm: bool, random: &mut Random) -> Vec<i64> {
    const MINUTES: i64 = 60_000;
    const DAYS: i64 = 86_400_000;
    let skew = |random: &mut Random| {
        if calm {
            return random.pick([0, 0, -CALM_SKEW / 2, CALM_SKEW / 2]);
        }
        random.pick([
            0,
            0,
            0,
            30,
            -200,
            3_000,
            20_000,
            -45_000,
            10 * MINUTES,
            -10 * MINUTES,
            10 * DAYS,
            -10 * DAYS,
        ])
    };
    (0..nodes).map(|_| skew(random)).collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, topology, parameters, troubles, .. } = self;
        write!(
            f,
            "seed {seed}: {nodes} nodes, {topology}, G {} ms, B {}",
            parameters.granularity, parameters.branching
        )?;
        write!(f, ", grace {:?}, drift {:?}, ways up to {:?}", self.grace, self.max_drift, self.latency)?;
        write!(f, ", {} actions on {} keys in {:?}", self.actions, self.keys, self.trouble_lasts)?;
        let named = [
            (troubles.breaks, "breaks"),
            (troubles.partitions, "partitions"),
            (troubles.crashes, "crashes"),
            (troubles.jumps, "jumps"),
            (troubles.disks, "disks"),
            (troubles.overflows, "overflows"),
            (self.is_harsh(), "harsh"),
            (self.dense, "dense"),
            (self.write_despite_clocks, "writes despite clocks"),
            (self.spoils && troubles.disks, "spoilt hashes"),
            (self.is_calm(), "calm"),
        ];
        for (_, name) in named.into_iter().filter(|(on, _)| *on) {
            write!(f, ", {name}")?;
        }
        Ok(())
    }
}
