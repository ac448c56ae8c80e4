//! QUIC keeps the transport contract.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aevrion_core::identity::conformance::Cluster;
use aevrion_core::replication;
use aevrion_core::transport::{Limits, conformance};
use aevrion_net_quic::{BindError, QuicTransport};

fn bind(cluster: &Cluster, limits: Limits) -> Result<QuicTransport, BindError> {
    QuicTransport::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), cluster.sound_node(), limits)
}

#[tokio::test]
async fn keeps_the_contract() {
    let limits = Limits::default().handshake(Duration::from_secs(3)).idle(Duration::from_secs(3));
    let cluster = Arc::new(Cluster::new());
    conformance::run(move || {
        let cluster = Arc::clone(&cluster);
        async move { bind(&cluster, limits) }
    })
    .await;
}

#[tokio::test]
async fn neighbours_that_do_not_keep_up_are_cut_off() {
    let cluster = Cluster::new();
    replication::conformance::run(async || bind(&cluster, Limits::default())).await;
}
