//! Packets on a UDP port that no honest node sends.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use aevrion_core::identity::{Authority, Credentials, NodeKey, PROTOCOL};
use aevrion_core::transport::{Lane, Limits, Side, Transport, TransportError};
use quinn::Endpoint;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use super::LOOPBACK;
use crate::dial::{connect, lanes};
use crate::{QuicTransport, settings};

/// Far beyond the duration of any step here.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it ends in time")
}

fn credentials(authority: &Authority) -> Credentials {
    let key = NodeKey::generate().unwrap();
    authority.admit(key).unwrap().into()
}

fn bind(authority: &Authority) -> QuicTransport {
    let here = SocketAddr::from((LOOPBACK, 0));
    QuicTransport::bind(here, credentials(authority), Limits::default()).unwrap()
}

/// A node that accepts one connection, and stops silently once it has received a frame on it: all its tasks end at
/// once. Sends its address to the caller.
fn doomed(credentials: Credentials, limits: Limits, address: oneshot::Sender<SocketAddr>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let held = runtime.block_on(async {
        let here = SocketAddr::from((LOOPBACK, 0));
        let transport = QuicTransport::bind(here, credentials, limits).unwrap();
        address.send(transport.local_address()).unwrap();
        let connection = transport.accept().await.unwrap();
        connection.receive(Lane::Live, 100).await.unwrap();
        (transport, connection)
    });
    drop(runtime);
    drop(held);
}

async fn honest_node_gets_in(authority: &Authority, to: &QuicTransport) {
    let node = bind(authority);
    let address = to.address();
    let (near, far) = within(async { tokio::join!(node.dial(&address), to.accept()) }).await;
    let near = near.unwrap();
    near.send(Lane::Live, "honest".into()).await.unwrap();
    assert_eq!(within(far.unwrap().receive(Lane::Live, 10)).await.unwrap().unwrap(), "honest");
}

#[tokio::test]
async fn garbage_on_the_port_is_nothing() {
    let authority = Authority::make().unwrap();
    let here = bind(&authority);
    let socket = UdpSocket::bind(SocketAddr::from((LOOPBACK, 0))).await.unwrap();
    for seed in 0..=u8::MAX {
        // Long and short headers of every kind, and bodies that fit none.
        let packet: Vec<u8> =
            (0..1200_u16).map(|at| if at == 0 { seed } else { seed ^ at.to_le_bytes()[0] }).collect();
        socket.send_to(&packet[..usize::from(seed) * 4 + 1], here.local_address()).await.unwrap();
        socket.send_to(&packet, here.local_address()).await.unwrap();
    }
    honest_node_gets_in(&authority, &here).await;
}

#[tokio::test]
async fn whoever_hangs_up_in_the_midst_of_a_frame_takes_nobody_along() {
    let authority = Authority::make().unwrap();
    let here = bind(&authority);
    let local = SocketAddr::from((LOOPBACK, 0));
    let client = Endpoint::client(local).unwrap();
    let tls = credentials(&authority).client_config(PROTOCOL).unwrap();
    let config = settings::client(tls, &Limits::default()).unwrap();
    let address = here.address();
    let rogue = async {
        let rogue = connect(&client, local, &address, &config, &Limits::default()).await.unwrap();
        let mut lanes = lanes(&rogue, &address).await.unwrap();
        // The first four of a frame's 60 bytes.
        lanes[Lane::Live as usize].0.write_all(&[0, 0, 0, 60, 1, 2, 3, 4]).await.unwrap();
        (rogue, lanes)
    };
    let ((rogue, lanes), connection) = within(async { tokio::join!(rogue, here.accept()) }).await;
    let connection = connection.unwrap();
    rogue.close(7_u8.into(), b"\xFFgone");
    drop(lanes);
    let end = within(connection.receive(Lane::Live, 100)).await;
    let Err(TransportError::Closed { by: Side::There, reason }) = end else { panic!("{end:?}") };
    assert!(reason.ends_with("gone"), "{reason}");
    honest_node_gets_in(&authority, &here).await;
}

#[tokio::test]
async fn one_that_was_killed_and_started_anew_ends_the_connections_it_forgot() {
    let authority = Authority::make().unwrap();
    let identity = credentials(&authority);
    let (say_address, address) = oneshot::channel();
    // The shorter limit of the two sides counts.
    let limits = Limits { idle: Duration::from_secs(600), ..Limits::default() };
    let killed = {
        let identity = identity.clone();
        std::thread::spawn(move || doomed(identity, limits, say_address))
    };
    let here = SocketAddr::from((LOOPBACK, 0));
    let survivor = QuicTransport::bind(here, credentials(&authority), limits).unwrap();
    let address = within(address).await.unwrap();
    let connection = within(survivor.dial(&address.to_string())).await.unwrap();
    connection.send(Lane::Live, "that is all".into()).await.unwrap();
    within(tokio::task::spawn_blocking(move || killed.join())).await.unwrap().unwrap();

    let _anew = QuicTransport::bind(address, identity, limits).unwrap();
    connection.send(Lane::Live, vec![7; 100].into()).await.unwrap();
    let end = within(connection.receive(Lane::Live, 100)).await;
    let Err(TransportError::Closed { by: Side::Network, reason }) = end else { panic!("{end:?}") };
    assert!(reason.contains("forgotten"), "{reason}");
}
