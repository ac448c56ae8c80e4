//! The in-memory network keeps the transport contract. The other tests cover its further features.

use aevrion_core::NodeId;
use aevrion_core::replication;
use aevrion_core::transport::memory::MemoryNetwork;
use aevrion_core::transport::{Lane, Side, Transport, TransportError, conformance};

#[tokio::test]
async fn keeps_the_contract() {
    let network = MemoryNetwork::new();
    conformance::run(move || {
        let network = network.clone();
        async move { Ok::<_, std::io::Error>(network.bind(NodeId::random())) }
    })
    .await;
}

#[tokio::test]
async fn neighbours_that_do_not_keep_up_are_cut_off() {
    let network = MemoryNetwork::new();
    replication::conformance::run(async || Ok::<_, std::io::Error>(network.bind(NodeId::random()))).await;
}

#[tokio::test]
async fn links_can_be_cut_and_pairs_parted_and_healed() {
    let network = MemoryNetwork::new();
    let [one, two, three] = [1, 2, 3].map(|node| network.bind(NodeId::from_bytes([node; 32])));
    let to_two = one.dial(&two.address()).await.unwrap();
    let to_three = one.dial(&three.address()).await.unwrap();

    network.cut(two.node(), one.node());
    let end = to_two.receive(Lane::Live, 100).await;
    assert!(matches!(end, Err(TransportError::Closed { by: Side::Network, .. })), "{end:?}");
    to_three.send(Lane::Live, "still there".into()).await.unwrap();
    one.dial(&two.address()).await.unwrap();

    network.part(one.node(), two.node());
    assert!(matches!(one.dial(&two.address()).await, Err(TransportError::Unreachable { .. })));
    assert!(matches!(two.dial(&one.address()).await, Err(TransportError::Unreachable { .. })));
    network.heal(two.node(), one.node());
    one.dial(&two.address()).await.unwrap();
}
