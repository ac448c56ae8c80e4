//! Packets on a UDP port that no honest node sends.

use std::net::SocketAddr;
use std::time::Duration;

use aevrion_core::conformance::within;
use aevrion_core::identity::conformance::{Cluster, honest_node_gets_in};
use aevrion_core::identity::{Credentials, PROTOCOL};
use aevrion_core::transport::{Lane, Limits, Side, Transport, TransportError};
use quinn::Endpoint;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use super::{LOOPBACK, QuicKit};
use crate::dial::{connect, lanes};
use crate::{QuicTransport, settings};

const GARBAGE: &str = "garbage on the port is nothing";
const HALF: &str = "whoever hangs up in the midst of a frame takes nobody along";
const ANEW: &str = "one that was killed and started anew ends the connections it forgot";

fn bind(cluster: &Cluster) -> QuicTransport {
    QuicTransport::bind(SocketAddr::from((LOOPBACK, 0)), cluster.sound_node(), Limits::default()).unwrap()
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

#[tokio::test]
async fn garbage_on_the_port_is_nothing() {
    let cluster = Cluster::new();
    let here = bind(&cluster);
    let socket = UdpSocket::bind(SocketAddr::from((LOOPBACK, 0))).await.unwrap();
    for seed in 0..=u8::MAX {
        // Long and short headers of every kind, and bodies that fit none.
        let packet: Vec<u8> =
            (0..1200_u16).map(|at| if at == 0 { seed } else { seed ^ at.to_le_bytes()[0] }).collect();
        socket.send_to(&packet[..usize::from(seed) * 4 + 1], here.local_address()).await.unwrap();
        socket.send_to(&packet, here.local_address()).await.unwrap();
    }
    honest_node_gets_in(GARBAGE, &QuicKit, &cluster, &here).await;
}

#[tokio::test]
async fn whoever_hangs_up_in_the_midst_of_a_frame_takes_nobody_along() {
    let cluster = Cluster::new();
    let here = bind(&cluster);
    let local = SocketAddr::from((LOOPBACK, 0));
    let client = Endpoint::client(local).unwrap();
    let tls = Credentials::new(cluster.sound_node()).client_config(PROTOCOL).unwrap();
    let config = settings::client(tls, &Limits::default()).unwrap();
    let address = here.address();
    let rogue = async {
        let rogue = connect(&client, local, &address, &config, &Limits::default()).await.unwrap();
        let mut lanes = lanes(&rogue, &address).await.unwrap();
        // The first four of a frame's 60 bytes.
        lanes[Lane::Live as usize].0.write_all(&[0, 0, 0, 60, 1, 2, 3, 4]).await.unwrap();
        (rogue, lanes)
    };
    let ((rogue, lanes), connection) = within(HALF, async { tokio::join!(rogue, here.accept()) }).await;
    let connection = connection.unwrap();
    rogue.close(7_u8.into(), b"\xFFgone");
    drop(lanes);
    let end = within(HALF, connection.receive(Lane::Live, 100)).await;
    let Err(TransportError::Closed { by: Side::There, reason }) = end else { panic!("{end:?}") };
    assert!(reason.ends_with("gone"), "{reason}");
    honest_node_gets_in(HALF, &QuicKit, &cluster, &here).await;
}

#[tokio::test]
async fn one_that_was_killed_and_started_anew_ends_the_connections_it_forgot() {
    let cluster = Cluster::new();
    let identity = Credentials::new(cluster.sound_node());
    let (say_address, address) = oneshot::channel();
    // The shorter limit of the two sides counts.
    let limits = Limits::default().idle(Duration::from_secs(600));
    let killed = {
        let identity = identity.clone();
        std::thread::spawn(move || doomed(identity, limits, say_address))
    };
    let here = SocketAddr::from((LOOPBACK, 0));
    let survivor = QuicTransport::bind(here, cluster.sound_node(), limits).unwrap();
    let address = within(ANEW, address).await.unwrap();
    let connection = within(ANEW, survivor.dial(&address.to_string())).await.unwrap();
    connection.send(Lane::Live, "that is all".into()).await.unwrap();
    within(ANEW, tokio::task::spawn_blocking(move || killed.join())).await.unwrap().unwrap();

    let _anew = QuicTransport::bind(address, identity, limits).unwrap();
    connection.send(Lane::Live, vec![7; 100].into()).await.unwrap();
    let end = within(ANEW, connection.receive(Lane::Live, 100)).await;
    let Err(TransportError::Closed { by: Side::Network, reason }) = end else { panic!("{end:?}") };
    assert!(reason.contains("forgotten"), "{reason}");
}
