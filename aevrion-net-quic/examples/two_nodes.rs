//! Two replicas in one program that synchronise over QUIC: a write on one is read on the other, and writes made while
//! they were apart are on both once they connect.
//!
//! Run it with `cargo run -p aevrion-net-quic --example two_nodes`.

use std::error::Error;

use aevrion_core::identity::Authority;
use aevrion_core::store::MemoryStore;
use aevrion_core::transport::Limits;
use aevrion_core::{Options, Replica};
use aevrion_net_quic::QuicTransport;

async fn node(authority: &Authority) -> Result<(Replica, QuicTransport), Box<dyn Error>> {
    // In a cluster of several machines each keeps its key: see `aevrion_core::identity::join`.
    let identity = authority.new_node()?;
    let replica = Replica::open(MemoryStore::new(), Options::default().node(identity.node())).await?;
    let any_port = ([127, 0, 0, 1], 0).into();
    Ok((replica, QuicTransport::bind(any_port, identity, Limits::default())?))
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let authority = Authority::make()?;
    let (left, left_transport) = node(&authority).await?;
    let (right, right_transport) = node(&authority).await?;

    // While apart, both write, also to the same key.
    left.put("flight:UA1545", "boarding").await?;
    left.put("gate:B4", "open").await?;
    right.put("flight:UA1545", "departed").await?;

    let left_replication = left.replicate_over(left_transport);
    let right_replication = right.replicate_over(right_transport);
    for address in left_replication.addresses() {
        right_replication.add_peer(address);
    }
    right_replication.agreement().await;

    assert_eq!(left.root().await?, right.root().await?);
    println!("both hold {} events, root {}", left.root().await?.count, left.root().await?.hash);
    let winner = right.get("flight:UA1545").await?.unwrap_or_default();
    println!(
        "flight:UA1545 is {} on both: the later write wins, the other is history",
        winner.escape_ascii()
    );

    // Once connected, a write on one is on the other at once.
    let mut watch = right.watch("gate:", None)?;
    left.put("gate:B4", "closed").await?;
    if let Some(seen) = watch.next().await? {
        println!("right hears of {} at {}", seen.event.key().escape_ascii(), seen.event.timestamp());
    }

    left_replication.close().await;
    right_replication.close().await;
    left.close().await?;
    right.close().await?;
    Ok(())
}
