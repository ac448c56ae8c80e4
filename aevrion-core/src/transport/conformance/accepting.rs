//! Promises about accepting connections, and about closing a transport.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::bench::{Bench, LONGEST, connect, ended, look, round_trip};
use crate::conformance::within;
use crate::transport::{Lane, Side, TransportError};

const ABANDONED: &str = "an accept that is dropped loses no connection";
const CLOSED: &str = "a closed transport accepts nobody, and its connections end with the reason";
/// The number of abandoned calls before the real one.
const LOOKS: usize = 500;
const DIALS: &str = "a closed transport dials nobody";
const ADDRESS: &str = "after a close the address can be bound again, and a dial is refused at once";
/// Far longer than a refusal takes, and shorter than the handshake timeout.
const AT_ONCE: Duration = Duration::from_secs(2);

pub(super) async fn an_abandoned_accept_loses_no_connection(bench: &Bench) {
    let (dialling, accepting) = (bench.transport().await, bench.transport().await);
    let address = accepting.address();
    for _ in 0..8 {
        let dial = async {
            let near = within(ABANDONED, dialling.dial(&address)).await;
            near.unwrap_or_else(|error| panic!("{ABANDONED}: the dial fails: {error}"))
        };
        let accept = async {
            for _ in 0..LOOKS {
                // Dropped after one poll each.
                if let Some(far) = look(accepting.accept().as_mut()) {
                    return far.unwrap_or_else(|| panic!("{ABANDONED}: accept ended"));
                }
                tokio::task::yield_now().await;
            }
            within(ABANDONED, accepting.accept()).await.unwrap_or_else(|| panic!("{ABANDONED}: accept ended"))
        };
        let (near, far) = within(ABANDONED, async { tokio::join!(dial, accept) }).await;
        round_trip(ABANDONED, &*near, &*far, Lane::Live).await;
    }
}

pub(super) async fn after_close_accept_ends_and_so_do_connections(bench: &Bench) {
    let pair = bench.pair().await;
    let (other_near, _other_far) = connect(&*pair.accepting, &*pair.dialling).await;
    let waiting = {
        let accepting = pair.accepting.clone();
        tokio::spawn(async move { accepting.accept().await.is_none() })
    };
    within(CLOSED, pair.accepting.close("maintenance")).await;
    assert!(matches!(within(CLOSED, waiting).await, Ok(true)), "{CLOSED}: an accept that waited gives None");
    assert!(within(CLOSED, pair.accepting.accept()).await.is_none(), "{CLOSED}: and every later one");
    for (connection, by) in [(&pair.near, Side::There), (&pair.far, Side::Here), (&other_near, Side::Here)] {
        let end = ended(CLOSED, within(CLOSED, connection.receive(Lane::Live, LONGEST)).await);
        assert_eq!(end, (by, "maintenance".to_owned()), "{CLOSED}");
    }
    within(CLOSED, pair.accepting.close("again")).await;
    let address = pair.accepting.address();
    assert!(within(CLOSED, pair.dialling.dial(&address)).await.is_err(), "{CLOSED}: nobody gets in");
    // The other nodes are not affected.
    let another = bench.transport().await;
    let (near, far) = connect(&*pair.dialling, &*another).await;
    round_trip(CLOSED, &*near, &*far, Lane::Live).await;
}

pub(super) async fn a_closed_transport_dials_nobody(bench: &Bench) {
    let (closed, open) = (bench.transport().await, bench.transport().await);
    within(DIALS, closed.close("done")).await;
    let error = within(DIALS, closed.dial(&open.address())).await.err();
    assert!(matches!(error, Some(TransportError::Closed { by: Side::Here, .. })), "{DIALS}: {error:?}");
}

/// The closed transport is kept, as its owner may do.
pub(super) async fn a_closed_transport_gives_up_its_address(bench: &Bench) {
    let (closed, open) = (bench.transport().await, bench.transport().await);
    let address = closed.address();
    let port = tcp_port(&address);
    within(ADDRESS, closed.close("done")).await;
    if let Some(port) = port {
        assert!(TcpListener::bind(port).is_ok(), "{ADDRESS}: {port} is still taken");
    }
    let dialled = tokio::time::timeout(AT_ONCE, open.dial(&address)).await;
    match dialled.map(|dialled| dialled.err()) {
        Ok(Some(TransportError::Unreachable { .. } | TransportError::Refused { .. })) => {}
        Ok(other) => panic!("{ADDRESS}: the dial ends with {other:?}"),
        Err(_) => panic!("{ADDRESS}: the dial still waits after {AT_ONCE:?}"),
    }
    drop(closed);
}

/// The TCP port that listens at `address`. None does if the transport is in memory, or uses UDP: such a socket stays
/// with its transport, to refuse dials.
fn tcp_port(address: &str) -> Option<SocketAddr> {
    let port = address.parse().ok()?;
    TcpStream::connect_timeout(&port, AT_ONCE).is_ok().then_some(port)
}
