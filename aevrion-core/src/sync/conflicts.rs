//! Two machines with one identity: a data directory was copied, and both copies are served.
//!
//! Each opening of a store draws an incarnation, which Hello names. A node that was started anew shows another one than
//! before, and the one of before never again. So when an incarnation comes back after another one had its place, both
//! are alive. From then on whichever of the two is connected stays, the other one is turned away, and each of them is
//! told where the other is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::links::{Arrival, TurnedAway};
use super::peer::claimed;
use super::{Shared, lock};
use crate::agent::{Moment, hello};
use crate::bounds::MEMBERS;
use crate::message::{Echo, Hello, Message, decode, encode, longest_frame};
use crate::transport::Lane;
use crate::{Incarnation, NodeId};

/// How long a conflict stands after the last sign of it: longer than it is between two Hellos, and than the longest
/// pause between two attempts to connect.
const STANDS: Duration = Duration::from_secs(180);

/// How long who connects may take to say which incarnation it is.
const EXAMINED_WITHIN: Duration = Duration::from_secs(5);

/// Incarnations of one node that are remembered: those of two machines, and their restarts of late.
const REMEMBERED: usize = 4;

/// Machines with this node's identity that are remembered.
const DOUBLES: usize = 4;

/// What is known of incarnations.
#[derive(Default)]
pub(super) struct Conflicts(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    nodes: BTreeMap<NodeId, Incarnations>,
    /// Where there are other machines with this node's identity, and when that was last said.
    own: BTreeMap<String, Instant>,
}

/// The incarnations of one node.
#[derive(Default)]
struct Incarnations {
    /// Each with where it was, the present one last.
    known: VecDeque<(Incarnation, String)>,
    /// Two that are alive, and the last sign of it.
    conflict: Option<([(Incarnation, String); 2], Instant)>,
}

impl Incarnations {
    fn standing(&self) -> Option<&[(Incarnation, String); 2]> {
        let (places, last) = self.conflict.as_ref()?;
        (last.elapsed() < STANDS).then_some(places)
    }
}

impl Conflicts {
    /// A node is connected and answers, as this incarnation and from this place. Says whether there is another one of it.
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
            *conflict = Some(([this, other.clone()], Instant::now()));
        }
        other.is_some()
    }

    /// Another incarnation of a node has shown itself than the one that is connected. Gives where that one is, if the two
    /// are known to be two machines.
    fn dispute(&self, node: NodeId, connected: Incarnation, other: (Incarnation, String)) -> Option<String> {
        let mut seen = lock(&self.0);
        let of = seen.nodes.get_mut(&node).filter(|of| of.standing().is_some())?;
        let connected = of.known.iter().find(|(one, _)| *one == connected)?.clone();
        let place = connected.1.clone();
        of.conflict = Some(([connected, other], Instant::now()));
        Some(place)
    }

    /// Where the other machine is that has the identity of a node which is connected as this incarnation.
    pub(super) fn other_than(&self, node: NodeId, incarnation: Incarnation) -> Option<String> {
        let seen = lock(&self.0);
        let mut places = seen.nodes.get(&node)?.standing()?.iter();
        places.find(|(one, _)| *one != incarnation).map(|(_, place)| place.clone())
    }

    fn is_disputed(&self, node: NodeId) -> bool {
        lock(&self.0).nodes.get(&node).is_some_and(|of| of.standing().is_some())
    }

    /// Another machine with this node's identity is there.
    pub(super) fn told(&self, place: &str) {
        let mut seen = lock(&self.0);
        seen.own.retain(|_, last| last.elapsed() < STANDS);
        if seen.own.len() < DOUBLES || seen.own.contains_key(place) {
            seen.own.insert(place.to_owned(), Instant::now());
        }
    }

    /// What is wrong, and what to do about it.
    pub(super) fn alarm(&self) -> Option<String> {
        let seen = lock(&self.0);
        let own = seen.own.iter().filter(|(_, last)| last.elapsed() < STANDS);
        let own = own.map(|(place, _)| format!("another machine, at {place}, has this node's identity"));
        let others = seen.nodes.iter().filter_map(|(node, of)| Some((node, of.standing()?)));
        let others = others.map(|(node, [(_, one), (_, other)])| {
            format!("two machines have the identity of node {node}, one at {one} and one at {other}")
        });
        let all: Vec<_> = own.chain(others).collect();
        (!all.is_empty()).then(|| format!("{}: {ADVICE}", all.join("; ")))
    }
}

/// What to do about two machines with one identity.
pub(super) const ADVICE: &str =
    "stop one of the two, remove `cluster/` from its data directory, and let it join anew";

/// Whether who has connected must say which incarnation it is before it takes the place of another connection.
pub(super) fn is_doubtful(shared: &Shared, arrival: &Arrival) -> bool {
    let neighbour = arrival.connection.neighbour();
    neighbour == arrival.node || shared.conflicts.is_disputed(neighbour) && shared.links.has(neighbour)
}

/// Finds out who has connected. Gives the Hello that it has said, if it may stay.
pub(super) async fn examine(shared: &Arc<Shared>, arrival: &Arrival) -> Result<Option<Message>, TurnedAway> {
    // Who says nothing in this time is nobody to make way for.
    if arrival.connection.neighbour() == arrival.node {
        let met = timeout(EXAMINED_WITHIN, meet_oneself(shared, arrival)).await;
        Err(met.ok().flatten().unwrap_or(TurnedAway::Duplicate))
    } else {
        let met = timeout(EXAMINED_WITHIN, meet_another(shared, arrival)).await;
        met.unwrap_or(Err(TurnedAway::Duplicate))
    }
}

/// Who has this node's identity: this node itself, or another machine; `None` if it does not say.
async fn meet_oneself(shared: &Arc<Shared>, arrival: &Arrival) -> Option<TurnedAway> {
    let greeting = Greeting { shared, arrival };
    greeting.say(1, None, None).await?;
    let theirs = greeting.hear().await?;
    // An answer shows that what was said is read, which would be void with the end of the connection. The side that
    // ended it has read it, too.
    greeting.say(2, Some(theirs.number), None).await;
    while greeting.hear().await.is_some_and(|answer| answer.echo.is_none()) {}
    if theirs.incarnation == shared.replica.incarnation() {
        return Some(TurnedAway::Myself);
    }
    let place = place_of(&theirs.listens, &arrival.address);
    tracing::error!(address = %arrival.address, "another machine, at {place}, has this node's identity");
    shared.conflicts.told(&place);
    shared.links.note_change();
    // To the other side this one is the other machine.
    let here = shared.listens().into_iter().next().unwrap_or_default();
    arrival.connection.close(&TurnedAway::Conflict(here).to_string());
    Some(TurnedAway::Conflict(place))
}

/// One of two machines that have the identity of a neighbour, while one of them is connected.
async fn meet_another(shared: &Arc<Shared>, arrival: &Arrival) -> Result<Option<Message>, TurnedAway> {
    let greeting = Greeting { shared, arrival };
    let theirs = greeting.hear().await.ok_or(TurnedAway::Duplicate)?;
    let (neighbour, incarnation) = (arrival.connection.neighbour(), theirs.incarnation);
    let connected = shared.links.incarnation(neighbour).filter(|connected| *connected != incarnation);
    let this = (incarnation, place_of(&theirs.listens, &arrival.address));
    let other = connected.and_then(|connected| shared.conflicts.dispute(neighbour, connected, this));
    let Some(other) = other else { return Ok(Some(Message::Hello(theirs))) };
    shared.links.warn(neighbour);
    greeting.say(1, Some(theirs.number), Some(other.clone())).await;
    while greeting.hear().await.is_some_and(|answer| answer.echo.is_none()) {}
    Err(TurnedAway::Conflict(other))
}

/// Where a node is: at the first address at which it says that it listens, or else where its connection comes from.
pub(super) fn place_of(listens: &[String], from: &str) -> String {
    claimed(listens, from).first().map_or_else(|| from.to_owned(), ToString::to_string)
}

/// A few Hellos on a connection that no agent speaks on.
struct Greeting<'a> {
    shared: &'a Arc<Shared>,
    arrival: &'a Arrival,
}

impl Greeting<'_> {
    /// `None` when the connection is at its end.
    async fn say(&self, number: u32, echo: Option<u32>, conflict: Option<String>) -> Option<()> {
        let Self { shared, arrival } = self;
        let now = Moment { steady: shared.began.elapsed(), wall: shared.replica.wall().now() };
        let echo = echo.map(|number| Echo { number, held_us: 0 });
        let hello = Hello { echo, conflict, ..hello(&shared.terms(arrival.node), number, now) };
        arrival.connection.send(Lane::Live, encode(&Message::Hello(hello))).await.ok()
    }

    /// The next Hello; `None` if something else comes.
    async fn hear(&self) -> Option<Hello> {
        let parameters = self.shared.replica.parameters();
        let frame = self.arrival.connection.receive(Lane::Live, longest_frame(&parameters)).await.ok()??;
        match decode(&frame, &parameters).ok()? {
            Message::Hello(hello) => Some(hello),
            _ => None,
        }
    }
}
