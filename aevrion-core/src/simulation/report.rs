//! What a simulation has come to.

use std::fmt;
use std::time::Duration;

use super::plan::Plan;
use super::topology::Topology;
use super::world::World;

/// A simulation in which everything was as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many replicas there were, and links between them.
    pub nodes: usize,
    /// Links between them.
    pub links: usize,
    /// Events that all hold in the end.
    pub events: u64,
    /// Those that were acknowledged as durable.
    pub promised: usize,
    /// How long after the last trouble all held the same.
    pub agreed_after: Duration,
    /// How long it may have taken.
    pub agreement_within: Duration,
    /// The part of it in which clocks had yet to come to what the replicas differed in.
    pub clocks_reach: Duration,
    /// The greatest number of links that an event went over to come to a node.
    pub rounds: u32,
    /// Messages sent.
    pub messages: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Messages of repairs among them.
    pub repairs: u64,
    /// How often an event was sent.
    pub transmissions: u64,
    /// How often it was new to the receiver.
    pub useful: u64,
    /// How often an event came to a node that had it.
    pub again: u64,
    /// What went over the wires, and when: two runs of a seed have the same.
    pub transcript: String,
}

/// How all came to hold the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreement {
    /// How long after the last trouble.
    pub(super) after: Duration,
    /// How long clocks needed to come to what the replicas differed in.
    pub(super) reach: Duration,
    /// How long it may have taken.
    pub(super) within: Duration,
}

impl Report {
    pub(super) fn of(world: &World, events: u64, agreement: Agreement) -> Self {
        let traffic = world.traffic();
        Self {
            nodes: world.nodes.len(),
            links: world.links.len(),
            events,
            promised: world.ledger().promised(),
            agreed_after: agreement.after,
            agreement_within: agreement.within,
            clocks_reach: agreement.reach,
            rounds: traffic.rounds(),
            messages: traffic.messages,
            bytes: traffic.bytes,
            repairs: traffic.repairs,
            transmissions: traffic.transmissions,
            useful: traffic.useful,
            again: traffic.redundancy.again(),
            transcript: traffic.transcript(),
        }
    }

    /// How often an event was sent for each time that it was new.
    pub fn redundancy(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
        let ratio = self.transmissions as f64 / self.useful.max(1) as f64;
        ratio
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes as u64;
        write!(f, "{} events on {} nodes with {} links", self.events, self.nodes, self.links)?;
        write!(f, "; agreement {:?} after the last trouble", self.agreed_after)?;
        write!(f, " (allowed: {:?}", self.agreement_within)?;
        write!(f, ", clocks {:?})", self.clocks_reach)?;
        write!(f, "; {} rounds at most; {} bytes", self.rounds, self.bytes / nodes.max(1))?;
        write!(
            f,
            " and {} messages a node, {} of repairs in all",
            self.messages / nodes.max(1),
            self.repairs
        )?;
        write!(f, "; an event was sent {:.2} times for each time that it was new", self.redundancy())?;
        write!(f, " and came {} times where it was known", self.again)?;
        write!(f, "; transcript {}", self.transcript)
    }
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}\n  {plan}\n  replay: {}", replay(.plan))]
pub struct Violation {
    /// The simulation.
    pub plan: Box<Plan>,
    /// What.
    pub what: String,
}

/// The command that shows it again. The plan of a seed has its own size and shape; others are named.
fn replay(plan: &Plan) -> String {
    let Plan { seed, nodes, topology, .. } = plan;
    let own = Plan::from_seed(*seed);
    let mut line = format!("cargo xtask sim --seed {seed}");
    if own.nodes != *nodes {
        line.push_str(&format!(" --nodes {nodes}"));
    }
    if own.topology != *topology || own.nodes != *nodes {
        let topology: Topology = *topology;
        line.push_str(&format!(" --topology {topology}"));
    }
    line
}
