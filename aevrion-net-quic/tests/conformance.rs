//! QUIC keeps the transport contract.

use std::time::Duration;

use aevrion_core::identity::{Authority, CERTIFICATE_VALIDITY, NodeKey};
use aevrion_core::sync;
use aevrion_core::transport::{Limits, conformance};
use aevrion_core::{SystemWall, WallClock};
use aevrion_net_quic::QuicTransport;

#[tokio::test]
async fn keeps_the_contract() {
    let limits =
        Limits { handshake: Duration::from_secs(3), idle: Duration::from_secs(3), ..Limits::default() };
    let now = SystemWall.now();
    let authority = std::sync::Arc::new(Authority::make(now).unwrap());
    conformance::run(move || {
        let authority = authority.clone();
        async move {
            let identity = authority.admit(NodeKey::generate().unwrap(), now, CERTIFICATE_VALIDITY).unwrap();
            QuicTransport::bind("127.0.0.1:0".parse().unwrap(), identity, limits)
        }
    })
    .await;
}

#[tokio::test]
async fn neighbours_that_do_not_keep_up_are_cut_off() {
    let now = SystemWall.now();
    let authority = Authority::make(now).unwrap();
    sync::conformance::run(async || {
        let identity = authority.admit(NodeKey::generate().unwrap(), now, CERTIFICATE_VALIDITY).unwrap();
        QuicTransport::bind("127.0.0.1:0".parse().unwrap(), identity, Limits::default())
    })
    .await;
}
