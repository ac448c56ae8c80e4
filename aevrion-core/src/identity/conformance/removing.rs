//! Promises about removed nodes.

use super::bench::{Bench, Cluster, counted, honest_node_gets_in, refused, sound};
use super::joining::{Issuer, refused_joins};
use crate::Timestamp;
use crate::conformance::within;
use crate::identity::join::{JoinError, JoinRefusal};
use crate::identity::{Credentials, NodeKey};
use crate::transport::{Refusal, TransportError};

const REFUSED: &str = "a removed node is refused, as server and as client, and is told when it was removed";
const NOTHING: &str = "a removed node gets no certificate, and its key lets nobody in again";

/// 2023-11-14T22:13:20Z.
const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(super) async fn a_removed_node_is_refused_on_both_sides_and_told_when(bench: &Bench) {
    let (cluster, stranger) = (Cluster::new(), Cluster::new());
    let credentials = Credentials::new(cluster.sound_node());
    let removals = credentials.removals().clone();
    let here = bench.bind(credentials);
    let node = bench.bind(cluster.sound_node());
    // A statement of another authority has no effect.
    let forged = sound(stranger.authority.remove(node.node(), AT));
    assert_eq!(removals.learn(&forged), None, "{REFUSED}: a stranger's word is no removal");
    for (from, to) in [(&node, &here), (&here, &node)] {
        let address = to.address();
        let near = within(REFUSED, from.dial(&address)).await;
        assert!(near.is_ok(), "{REFUSED}: but only then: {:?}", near.err());
        within(REFUSED, to.accept()).await;
    }

    assert!(removals.learn(&sound(cluster.authority.remove(node.node(), AT))).is_some(), "{REFUSED}");
    let error = refused(REFUSED, &*node, &*here).await;
    let told = match &error {
        TransportError::Refused { reason, by, .. } if *by == Some(here.node()) => reason.as_str(),
        _ => panic!("{REFUSED}: the one that dialled is told {error:?}"),
    };
    let words = "the node was removed from the cluster by its authority on 2023-11-14T22:13:20Z";
    assert_eq!(told, words, "{REFUSED}");
    counted(REFUSED, &*here, &[(Refusal::Removed, 1)]).await;
    // In the other direction the dialling side detects it, and tells the other by an alert.
    let error = refused(REFUSED, &*here, &*node).await;
    assert!(
        matches!(error, TransportError::NotTrusted { refusal: Refusal::Removed, .. }),
        "{REFUSED}: the one that dialled sees {error:?}"
    );
    counted(REFUSED, &*node, &[(Refusal::Removed, 1)]).await;
    honest_node_gets_in(REFUSED, &*bench.kit, &cluster, &*here).await;
}

pub(super) async fn a_removed_node_gets_no_certificate(bench: &Bench) {
    let issuer = Issuer::new(bench);
    let (token, key) = (issuer.token(), sound(NodeKey::generate()));
    let address = issuer.transport.address();
    let joined = within(NOTHING, bench.kit.join(&address, &token, &key)).await;
    let joined = joined.unwrap_or_else(|error| panic!("{NOTHING}: at first it does: {error}"));
    let node = bench.bind(joined.identity);
    let statement = sound(issuer.cluster.authority.remove(key.node(), AT));
    assert!(issuer.removals.learn(&statement).is_some(), "{NOTHING}");

    let renewed = within(NOTHING, node.renew(&address)).await;
    assert!(matches!(renewed, Err(JoinError::Refused(JoinRefusal::Removed))), "{NOTHING}: {renewed:?}");
    let token = issuer.token();
    let again = within(NOTHING, bench.kit.join(&address, &token, &key)).await;
    assert!(matches!(again, Err(JoinError::Refused(JoinRefusal::Removed))), "{NOTHING}: {again:?}");
    assert_eq!(refused_joins(&*issuer.transport), [("removed", 2)], "{NOTHING}: and it is counted");
    // The token is still valid: the machine may return with a new key.
    let anew = within(NOTHING, bench.kit.join(&address, &token, &sound(NodeKey::generate()))).await;
    assert!(anew.is_ok(), "{NOTHING}: a new key lets the machine in: {anew:?}");
    honest_node_gets_in(NOTHING, &*bench.kit, &issuer.cluster, &*issuer.transport).await;
}
