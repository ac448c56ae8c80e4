//! The result of a simulation.

use std::fmt;
use std::time::Duration;

use super::plan::Plan;
use super::spread::Spread;
use super::topology::Topology;
use super::world::World;

/// The report of a simulation without violation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The number of replicas.
    pub nodes: usize,
    /// The number of links between them.
    pub links: usize,
    /// The number of events that all hold in the end.
    pub events: u64,
    /// The number of events acknowledged as durable.
    pub promised: usize,
    /// The time from the last trouble to agreement.
    pub agreed_after: Duration,
    /// The time allowed for it.
    pub agreement_within: Duration,
    /// The part of it until the clocks reached the differences of the replicas.
    pub clocks_reach: Duration,
    /// The greatest number of links that an event took to reach a node.
    pub rounds: u32,
    /// The later half of the events, in a simulation without trouble.
    pub later: Option<Spread>,
    /// The number of messages sent.
    pub messages: u64,
    /// The bytes of these messages.
    pub bytes: u64,
    /// The number of repair messages among them.
    pub repairs: u64,
    /// The number of event transmissions.
    pub transmissions: u64,
    /// The number of transmissions that were new to the receiver.
    pub useful: u64,
    /// The number of transmissions to a node that had the event.
    pub again: u64,
    /// The hash over all traffic and its times: two runs of a seed have the same.
    pub transcript: String,
}

/// How the replicas reached agreement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreement {
    /// The time since the last trouble.
    pub(super) after: Duration,
    /// The time until the clocks reached the differences of the replicas.
    pub(super) reach: Duration,
    /// The time allowed.
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
            later: world.plan.is_calm().then(|| traffic.later()).flatten(),
            messages: traffic.messages,
            bytes: traffic.bytes,
            repairs: traffic.repairs,
            transmissions: traffic.transmissions,
            useful: traffic.useful,
            again: traffic.redundancy.again(),
            transcript: traffic.transcript(),
        }
    }

    /// Transmissions of an event for each new one.
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
        if let Some(later) = &self.later {
            write!(f, "; {later}")?;
        }
        write!(f, "; transcript {}", self.transcript)
    }
}

/// A violated invariant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}\n  {plan}\n  replay: {}", replay(.plan))]
pub struct Violation {
    /// The plan of the simulation.
    pub plan: Box<Plan>,
    /// The violation in words.
    pub what: String,
}

/// The command that reproduces it. Size and topology are named if they differ from those of the seed.
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
    if plan.is_calm() && !own.reshaped(Some(*nodes), Some(*topology)).is_calm() {
        line.push_str(" --calm");
    }
    line
}
