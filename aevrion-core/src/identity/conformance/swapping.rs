//! The promise about replacing a certificate in use.

use std::time::Duration;

use super::bench::{Bench, Cluster, now, sound};
use crate::conformance::within;
use crate::identity::{CERTIFICATE_VALIDITY, Credentials};
use crate::transport::{Lane, Refusal, TransportError};

const PROMISE: &str = "a renewed certificate counts from the next handshake on, and disturbs no connection";

pub(super) async fn a_renewed_certificate_counts_from_the_next_handshake_on(bench: &Bench) {
    let cluster = Cluster::new();
    let long_ago = now().before(Duration::from_secs(100 * 24 * 60 * 60));
    let expired = Credentials::new(cluster.node(long_ago, CERTIFICATE_VALIDITY));
    let here = bench.bind(cluster.sound_node());
    let node = bench.bind(expired.clone());
    for (from, to) in [(&here, &node), (&node, &here)] {
        let address = to.address();
        assert!(within(PROMISE, from.dial(&address)).await.is_err(), "{PROMISE}: at first it has expired");
    }
    let request = sound(expired.current().key().signing_request());
    let certificate = sound(cluster.authority.issue(&request, now(), CERTIFICATE_VALIDITY));
    sound(expired.replace(sound(expired.current().renewed(certificate))));
    let mut connections = Vec::new();
    for (from, to) in [(&here, &node), (&node, &here)] {
        let address = to.address();
        let near = within(PROMISE, from.dial(&address)).await;
        let near = near.unwrap_or_else(|error| panic!("{PROMISE}: it does not count: {error}"));
        let far = within(PROMISE, to.accept()).await;
        let far = far.unwrap_or_else(|| panic!("{PROMISE}: accept ended"));
        let renewed = expired.current();
        let its = [&near, &far].into_iter().find(|end| end.neighbour() == renewed.node());
        let until = its.and_then(|end| end.proven_until());
        assert_eq!(until, Some(renewed.expires_at()), "{PROMISE}: and the connection says until when");
        connections.push((near, far));
    }
    // An expired replacement prevents new connections, but does not end existing ones, which were authenticated when
    // they began.
    let request = sound(expired.current().key().signing_request());
    let certificate = sound(cluster.authority.issue(&request, long_ago, CERTIFICATE_VALIDITY));
    sound(expired.replace(sound(expired.current().renewed(certificate))));
    let address = node.address();
    let error = within(PROMISE, here.dial(&address)).await.err();
    assert!(
        matches!(error, Some(TransportError::NotTrusted { refusal: Refusal::Expired, .. })),
        "{PROMISE}: {error:?}"
    );
    for (near, far) in &connections {
        let sent = within(PROMISE, near.send(Lane::Live, "on".into())).await;
        let found = within(PROMISE, far.receive(Lane::Live, 10)).await;
        assert!(sent.is_ok() && matches!(found, Ok(Some(frame)) if frame == "on"), "{PROMISE}: it goes on");
    }
    assert!(expired.replace(cluster.sound_node()).is_err(), "{PROMISE}: but no node becomes another");
    let stranger = Cluster::new();
    assert!(expired.replace(stranger.sound_node()).is_err(), "{PROMISE}: nor goes to another cluster");
}
