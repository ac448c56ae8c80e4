//! Detects two machines with one identity: a data directory was copied, and both copies are in use.
//!
//! Each opening of a store draws a random incarnation, which Hello carries. A restarted node shows a new incarnation
//! and never an earlier one. An incarnation that returns after another one has replaced it therefore proves that both
//! are running. From then on the connected machine keeps its connection, the other one is refused, and each is told the
//! other's address.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::ends::{ADVICE, TurnedAway};
use super::peer::place_of;
use super::place::Arrival;
use super::{Shared, lock};
use crate::agent::{Now, hello};
use crate::bounds::MEMBERS;
use crate::message::{Echo, Hello, Message, decode, encode, longest_frame};
use crate::transport::Lane;
use crate::{Incarnation, NodeId, steady};

/// How long a conflict lasts after its last sign: longer than the interval between two Hellos, and than the longest
/// pause between two dials.
const STANDS: Duration = Duration::from_secs(180);

/// The time limit for a new connection to show its incarnation.
const EXAMINED_WITHIN: Duration = Duration::from_secs(5);

/// Remembered incarnations per node: enough for two machines and their recent restarts.
const REMEMBERED: usize = 4;

/// Remembered machines with this node's identity.
const DOUBLES: usize = 4;

/// The known incarnations of all nodes.
#[derive(Default)]
pub(super) struct Conflicts(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    nodes: BTreeMap<NodeId, Incarnations>,
    /// The addresses of other machines with this node's identity, and the time of the last report.
    own: BTreeMap<String, Instant>,
}

/// The incarnations of one node.
#[derive(Default)]
struct Incarnations {
    /// Each with its address, the current one last.
    known: VecDeque<(Incarnation, String)>,
    /// Two running machines, and the time of the last sign.
    conflict: Option<([(Incarnation, String); 2], Instant)>,
}

impl Incarnations {
    fn standing(&self) -> Option<&[(Incarnation, String); 2]> {
        let (places, last) = self.conflict.as_ref()?;
        (steady::since(*last) < STANDS).then_some(places)
    }
}

impl Conflicts {
    /// Records the incarnation and address of a connected node. Returns whether this proves another running machine.
    pub(super) fn met(&self, node: NodeId, incarnation: Incarnation, place: &str) -> bool {
        let mut seen = lock(&self.0);
        if seen.nodes.len() >= MEMBERS && !seen.nodes.contains_key(&node) {
            return false;
        }
        let Incarnations { known, conflict } = seen.nodes.entry(node).or_default();
        let present = known.back().cloned();
        let is_back = known.iter().any(|(one, _)| *one == incarnation);
        known.retain(|(one, _)| *one != incarnation);
        let this = (incarnation, place.to_owned());
        known.push_back(this.clone());
        known.drain(..known.len().saturating_sub(REMEMBERED));
        let other = present.filter(|(present, _)| is_back && *present != incarnation);
        if let Some(other) = &other {
            *conflict = Some(([this, other.clone()], steady::now()));
        }
        other.is_some()
    }

    /// Records a second incarnation beside the connected one. Returns the address of the connected one if the two are
    /// known to be two machines.
    fn dispute(&self, node: NodeId, connected: Incarnation, other: (Incarnation, String)) -> Option<String> {
        let mut seen = lock(&self.0);
        let of = seen.nodes.get_mut(&node).filter(|of| of.standing().is_some())?;
        let connected = of.known.iter().find(|(one, _)| *one == connected)?.clone();
        let place = connected.1.clone();
        of.conflict = Some(([connected, other], steady::now()));
        Some(place)
    }

    /// The address of the other machine with the identity of a node that is connected as this incarnation.
    pub(super) fn other_than(&self, node: NodeId, incarnation: Incarnation) -> Option<String> {
        let seen = lock(&self.0);
        let mut places = seen.nodes.get(&node)?.standing()?.iter();
        places.find(|(one, _)| *one != incarnation).map(|(_, place)| place.clone())
    }

    fn is_disputed(&self, node: NodeId) -> bool {
        lock(&self.0).nodes.get(&node).is_some_and(|of| of.standing().is_some())
    }

    /// Records the address of another machine with this node's identity.
    pub(super) fn told(&self, place: &str) {
        let mut seen = lock(&self.0);
        seen.own.retain(|_, last| steady::since(*last) < STANDS);
        if seen.own.len() < DOUBLES || seen.own.contains_key(place) {
            seen.own.insert(place.to_owned(), steady::now());
        }
    }

    /// A message about all conflicts, with advice.
    pub(super) fn alarm(&self) -> Option<String> {
        let seen = lock(&self.0);
        let own = seen.own.iter().filter(|(_, last)| steady::since(**last) < STANDS);
        let own = own.map(|(place, _)| format!("another machine, at {place}, has this node's identity"));
        let others = seen.nodes.iter().filter_map(|(node, of)| Some((node, of.standing()?)));
        let others = others.map(|(node, [(_, one), (_, other)])| {
            format!("two machines have the identity of node {node}, one at {one} and one at {other}")
        });
        let all: Vec<_> = own.chain(others).collect();
        (!all.is_empty()).then(|| format!("{}: {ADVICE}", all.join("; ")))
    }
}

/// Whether a new connection must show its incarnation before it may replace another connection.
pub(super) fn is_doubtful(shared: &Shared, arrival: &Arrival) -> bool {
    let neighbour = arrival.connection.neighbour();
    neighbour == arrival.node || shared.conflicts.is_disputed(neighbour) && shared.links.has(neighbour)
}

/// Identifies the machine behind a new connection. Returns the Hello read from it if the connection may stay.
pub(super) async fn examine(shared: &Arc<Shared>, arrival: &Arrival) -> Result<Option<Message>, TurnedAway> {
    // A node that sends nothing in this time does not replace a connection.
    if arrival.connection.neighbour() == arrival.node {
        let met = timeout(EXAMINED_WITHIN, meet_oneself(shared, arrival)).await;
        Err(met.ok().flatten().unwrap_or(TurnedAway::Duplicate))
    } else {
        let met = timeout(EXAMINED_WITHIN, meet_another(shared, arrival)).await;
        met.unwrap_or(Err(TurnedAway::Duplicate))
    }
}

/// Distinguishes this node itself from another machine with its identity; `None` if the other side does not say.
async fn meet_oneself(shared: &Arc<Shared>, arrival: &Arrival) -> Option<TurnedAway> {
    let hellos = HelloExchange { shared, arrival };
    hellos.say(1, None, None).await?;
    let theirs = hellos.hear().await?;
    // Messages in flight are lost when the connection closes, so wait for an answer, which shows that ours was read. If
    // the other side has closed, it has read ours, too.
    hellos.say(2, Some(theirs.number), None).await;
    while hellos.hear().await.is_some_and(|answer| answer.echo.is_none()) {}
    if theirs.incarnation == shared.replica.incarnation() {
        return Some(TurnedAway::Myself);
    }
    let place = place_of(&theirs.listens, &arrival.address);
    tracing::error!(address = %arrival.address, "another machine, at {place}, has this node's identity");
    shared.conflicts.told(&place);
    shared.links.note_change();
    // To the other side, this machine is the other one.
    let here = shared.listens().into_iter().next().unwrap_or_default();
    arrival.connection.close(&TurnedAway::Conflict(here).to_string());
    Some(TurnedAway::Conflict(place))
}

/// Handles a disputed identity while one of its two machines is connected.
async fn meet_another(shared: &Arc<Shared>, arrival: &Arrival) -> Result<Option<Message>, TurnedAway> {
    let hellos = HelloExchange { shared, arrival };
    let theirs = hellos.hear().await.ok_or(TurnedAway::Duplicate)?;
    let (neighbour, incarnation) = (arrival.connection.neighbour(), theirs.incarnation);
    let connected = shared.links.incarnation(neighbour).filter(|connected| *connected != incarnation);
    let this = (incarnation, place_of(&theirs.listens, &arrival.address));
    let other = connected.and_then(|connected| shared.conflicts.dispute(neighbour, connected, this));
    let Some(other) = other else { return Ok(Some(Message::Hello(theirs))) };
    shared.links.warn(neighbour);
    hellos.say(1, Some(theirs.number), Some(other.clone())).await;
    while hellos.hear().await.is_some_and(|answer| answer.echo.is_none()) {}
    Err(TurnedAway::Conflict(other))
}

/// A few Hellos on a connection without an agent.
struct HelloExchange<'a> {
    shared: &'a Arc<Shared>,
    arrival: &'a Arrival,
}

impl HelloExchange<'_> {
    /// `None` when the connection has ended.
    async fn say(&self, number: u32, echo: Option<u32>, conflict: Option<String>) -> Option<()> {
        let Self { shared, arrival } = self;
        let now = Now { steady: steady::since(shared.began), wall: shared.replica.wall().now() };
        let echo = echo.map(|number| Echo { number, held_us: 0 });
        let hello = Hello { echo, conflict, ..hello(&shared.config(arrival.node), number, now) };
        arrival.connection.send(Lane::Live, encode(&Message::Hello(hello))).await.ok()
    }

    /// The next Hello; `None` on any other message.
    async fn hear(&self) -> Option<Hello> {
        let parameters = self.shared.replica.parameters();
        let frame = self.arrival.connection.receive(Lane::Live, longest_frame(&parameters)).await.ok()??;
        match decode(&frame, &parameters).ok()? {
            Message::Hello(hello) => Some(hello),
            _ => None,
        }
    }
}
