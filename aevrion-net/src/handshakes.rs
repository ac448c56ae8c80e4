//! Places for handshakes.
//!
//! A handshake costs memory before the other side is authenticated, so there are few places, and silent peers must not
//! be able to hold them. No new handshake is refused: if all places are taken, it gets the place of the handshake that
//! has waited longest among those of the busiest address. A machine that opens a thousand connections thus displaces
//! only its own, and an honest handshake, which takes a few round trips, ends long before its turn. A machine is one
//! IPv4 address, or one IPv6 network of 64 bits, as the owner of one address there has all of them.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aevrion_core::transport::Limits;
use tokio::sync::Notify;

/// The handshake places of one transport.
#[derive(Debug)]
pub struct HandshakePlaces {
    handshakes: Mutex<Handshakes>,
    most: usize,
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
pub(crate) struct HandshakePlace {
    places: Arc<HandshakePlaces>,
    number: u64,
    leave: Arc<Notify>,
}

impl HandshakePlaces {
    /// The places that `limits` allow.
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self { handshakes: Mutex::default(), most: limits.handshakes.max(1) })
    }

    /// Takes a place for a handshake from `from`. Another one may have to [leave](HandshakePlace::leave) for it.
    pub(crate) fn enter(self: &Arc<Self>, from: IpAddr) -> HandshakePlace {
        let mut handshakes = self.lock();
        if handshakes.waiting.len() >= self.most {
            let place = longest_of_the_busiest(&handshakes.waiting);
            handshakes.waiting.remove(place).leave.notify_one();
        }
        let (number, leave) = (handshakes.next, Arc::new(Notify::new()));
        handshakes.next += 1;
        handshakes.waiting.push(Waiting { number, from: machine(from), leave: Arc::clone(&leave) });
        HandshakePlace { places: Arc::clone(self), number, leave }
    }

    /// Handshakes in progress.
    pub fn taken(&self) -> usize {
        self.lock().waiting.len()
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
    pub(crate) async fn leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for HandshakePlace {
    fn drop(&mut self) {
        self.places.lock().waiting.retain(|one| one.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_turns_out_itself_and_nobody_else() {
        let places = HandshakePlaces::new(&Limits::default().handshakes(4));
        let [honest, flood]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        let first = places.enter(honest);
        let mut flooding: Vec<_> = (0..100).map(|_| places.enter(flood)).collect();
        assert_eq!(places.taken(), 4);
        for place in flooding.drain(..97) {
            place.leave().await;
        }
        drop(flooding);
        assert_eq!(places.taken(), 1, "the honest one is still here");
        drop(first);
        assert_eq!(places.taken(), 0);
    }

    #[tokio::test]
    async fn a_machine_with_a_network_of_addresses_is_one_machine() {
        let places = HandshakePlaces::new(&Limits::default().handshakes(4));
        let honest = places.enter("2001:db8:0:1::1".parse().unwrap());
        let flood =
            |n: u32| places.enter(Ipv6Addr::from_bits(0x20010db8_00000002 << 64 | u128::from(n)).into());
        let mut flooding: Vec<_> = (0..100).map(flood).collect();
        for place in flooding.drain(..97) {
            place.leave().await;
        }
        drop(flooding);
        assert_eq!(places.taken(), 1, "the honest one is still here");
        drop(honest);
        // The same IPv4 address in both notations.
        let [plain, mapped]: [IpAddr; 2] = ["10.0.0.2", "::ffff:10.0.0.2"].map(|ip| ip.parse().unwrap());
        assert_eq!(machine(mapped), plain);
    }
}
