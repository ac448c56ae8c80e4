//! The connection limiter: places for handshakes and connections, and the rejection counters.
//!
//! A handshake costs memory before the other side is authenticated, so there are few places, and silent peers must not
//! be able to hold them. No new handshake is refused: if all places are taken, it gets the place of the handshake that
//! has waited longest among those of the busiest address. A machine that opens a thousand connections thus displaces
//! only its own, and an honest handshake, which takes a few round trips, ends long before its turn. A machine is one
//! IPv4 address, or one IPv6 network of 64 bits, as the owner of one address there has all of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{Limits, Refusal, RejectionCounters, Side, TransportError};
use crate::NodeId;

/// The connection limiter of one transport.
#[derive(Debug)]
pub struct ConnectionLimiter {
    /// In the order of [`Refusal::ALL`].
    refusals: RejectionCounters<{ Refusal::ALL.len() }>,
    /// The handshake timeout.
    pub(super) handshake: Duration,
    handshakes: Mutex<Handshakes>,
    most_handshakes: usize,
    connections: Arc<Semaphore>,
    most_connections: u32,
    /// Open connections dialled by each node.
    by_node: Mutex<BTreeMap<NodeId, usize>>,
    most_by_node: usize,
}

#[derive(Debug, Default)]
struct Handshakes {
    next: u64,
    /// In order of arrival.
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    from: IpAddr,
    leave: Arc<Notify>,
}

/// A place for a handshake, released on drop.
#[derive(Debug)]
pub struct HandshakePlace {
    limiter: Arc<ConnectionLimiter>,
    number: u64,
    leave: Arc<Notify>,
}

/// A place for a connection, released on drop.
#[derive(Debug)]
pub struct ConnectionPlace {
    _permit: OwnedSemaphorePermit,
    /// The dialling node, if it was not this one.
    dialler: Option<(Arc<ConnectionLimiter>, NodeId)>,
}

impl ConnectionLimiter {
    /// A limiter with the places that `limits` allow.
    pub fn new(limits: &Limits) -> Arc<Self> {
        let most = limits.connections.min(Semaphore::MAX_PERMITS);
        let most_connections = u32::try_from(most).unwrap_or(u32::MAX);
        Arc::new(Self {
            refusals: RejectionCounters::default(),
            handshake: limits.handshake,
            handshakes: Mutex::default(),
            most_handshakes: limits.handshakes.max(1),
            connections: Arc::new(Semaphore::new(most_connections as usize)),
            most_connections,
            by_node: Mutex::default(),
            most_by_node: limits.per_node,
        })
    }

    /// Takes a place for a handshake from `from`. Another one may have to [leave](HandshakePlace::leave) for it.
    pub fn enter(self: &Arc<Self>, from: IpAddr) -> HandshakePlace {
        let mut handshakes = self.lock();
        if handshakes.waiting.len() >= self.most_handshakes {
            let place = longest_of_the_busiest(&handshakes.waiting);
            handshakes.waiting.remove(place).leave.notify_one();
        }
        let (number, leave) = (handshakes.next, Arc::new(Notify::new()));
        handshakes.next += 1;
        handshakes.waiting.push(Waiting { number, from: machine(from), leave: Arc::clone(&leave) });
        HandshakePlace { limiter: Arc::clone(self), number, leave }
    }

    /// Handshakes in progress.
    pub fn handshakes(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Takes a place for a connection dialled by `node`; `None` if the limit is reached.
    pub fn admit(self: &Arc<Self>, node: NodeId) -> Option<ConnectionPlace> {
        let mut place = self.place()?;
        let mut by_node = self.by_node();
        let count = by_node.entry(node).or_default();
        if *count >= self.most_by_node {
            return None;
        }
        *count += 1;
        place.dialler = Some((Arc::clone(self), node));
        Some(place)
    }

    fn place(&self) -> Option<ConnectionPlace> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        Some(ConnectionPlace { _permit: permit, dialler: None })
    }

    fn by_node(&self) -> MutexGuard<'_, BTreeMap<NodeId, usize>> {
        self.by_node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a connection dialled by this node.
    ///
    /// # Errors
    /// [`TransportError::Closed`] by this node if the limit is reached.
    pub fn admit_dialled(&self) -> Result<ConnectionPlace, TransportError> {
        self.place().ok_or_else(|| TransportError::Closed {
            by: Side::Here,
            reason: "this node has as many connections as it may".to_owned(),
        })
    }

    /// Waits until all connections are closed. No new one gets a place meanwhile.
    pub async fn empty(&self) {
        // This fails only if the semaphore is closed, which never happens.
        let _ = self.connections.acquire_many(self.most_connections).await;
    }

    /// Counts a refusal and logs it: the reasons of a flood at debug level, each other reason at most once a second.
    pub fn refuse(&self, from: &str, refusal: Refusal) {
        let number = Refusal::ALL.iter().position(|one| *one == refusal);
        let log = number.is_some_and(|number| self.refusals.count(number));
        match refusal {
            Refusal::TooSlow | Refusal::TooMany => tracing::debug!(from, "turned away: {refusal}"),
            Refusal::GivenUp => tracing::debug!(from, "{refusal}"),
            _ if log => tracing::warn!(from, "turned away: {refusal}"),
            _ => {}
        }
    }

    /// Refused connections by reason, in the order of [`Refusal::ALL`].
    pub fn refusals(&self) -> Vec<(Refusal, u64)> {
        Refusal::ALL.into_iter().zip(self.refusals.counts()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Handshakes> {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The machine at this address, as far as it can be distinguished.
fn machine(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

/// The index of the handshake that has to leave. `waiting` is not empty.
fn longest_of_the_busiest(waiting: &[Waiting]) -> usize {
    let from = |address: IpAddr| waiting.iter().filter(|one| one.from == address).count();
    let most = waiting.iter().map(|one| from(one.from)).max().unwrap_or_default();
    waiting.iter().position(|one| from(one.from) == most).unwrap_or_default()
}

impl HandshakePlace {
    /// Waits until another handshake needs the place.
    pub async fn leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let Some((limiter, node)) = self.dialler.take() else { return };
        let mut by_node = limiter.by_node();
        if let Some(count) = by_node.get_mut(&node) {
            *count -= 1;
            if *count == 0 {
                by_node.remove(&node);
            }
        }
    }
}

impl Drop for HandshakePlace {
    fn drop(&mut self) {
        self.limiter.lock().waiting.retain(|one| one.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_turns_out_itself_and_nobody_else() {
        let limiter = ConnectionLimiter::new(&Limits { handshakes: 4, ..Limits::default() });
        let [honest, flood]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        let first = limiter.enter(honest);
        let mut places: Vec<_> = (0..100).map(|_| limiter.enter(flood)).collect();
        assert_eq!(limiter.handshakes(), 4);
        for place in places.drain(..97) {
            place.leave().await;
        }
        drop(places);
        assert_eq!(limiter.handshakes(), 1, "the honest one is still here");
        drop(first);
        assert_eq!(limiter.handshakes(), 0);
    }

    #[tokio::test]
    async fn a_machine_with_a_network_of_addresses_is_one_machine() {
        let limiter = ConnectionLimiter::new(&Limits { handshakes: 4, ..Limits::default() });
        let honest = limiter.enter("2001:db8:0:1::1".parse().unwrap());
        let flood =
            |n: u32| limiter.enter(Ipv6Addr::from_bits(0x20010db8_00000002 << 64 | u128::from(n)).into());
        let mut places: Vec<_> = (0..100).map(flood).collect();
        for place in places.drain(..97) {
            place.leave().await;
        }
        drop(places);
        assert_eq!(limiter.handshakes(), 1, "the honest one is still here");
        drop(honest);
        // The same IPv4 address in both notations.
        let [plain, mapped]: [IpAddr; 2] = ["10.0.0.2", "::ffff:10.0.0.2"].map(|ip| ip.parse().unwrap());
        assert_eq!(machine(mapped), plain);
    }

    #[test]
    fn no_node_takes_the_places_of_all() {
        let limiter = ConnectionLimiter::new(&Limits { per_node: 2, ..Limits::default() });
        let [greedy, other] = [1, 2].map(|node| NodeId::from_bytes([node; 32]));
        let places = [limiter.admit(greedy), limiter.admit(greedy)];
        assert!(places.iter().all(Option::is_some) && limiter.admit(greedy).is_none());
        assert!(limiter.admit(other).is_some() && limiter.admit_dialled().is_ok());
        drop(places);
        assert!(limiter.by_node().is_empty() && limiter.admit(greedy).is_some());
    }

    #[test]
    fn refusals_are_counted_by_reason() {
        let limiter = ConnectionLimiter::new(&Limits { connections: 1, ..Limits::default() });
        let node = NodeId::from_bytes([1; 32]);
        let place = limiter.admit(node);
        assert!(place.is_some() && limiter.admit(node).is_none());
        drop(place);
        assert!(limiter.admit(node).is_some());
        limiter.refuse("here:1", Refusal::Expired);
        let counted: Vec<_> = limiter.refusals().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(Refusal::Expired, 1)]);
    }
}
