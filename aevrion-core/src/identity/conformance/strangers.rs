//! Promises about peers that are not nodes of the cluster.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::bench::{Bench, Cluster, counted, honest_node_gets_in, limits, now, refused, sound};
use crate::ManualWall;
use crate::conformance::{PATIENCE, within};
use crate::identity::{CERTIFICATE_VALIDITY, Credentials, NodeKey, PROTOCOL};
use crate::transport::{Refusal, TransportError};

const FOREIGN: &str = "a node of another cluster is refused, and both sides know why";
const NONE: &str = "whoever shows no certificate is told so";
const EXPIRED: &str = "an expired certificate is refused, and both sides know why";
const FUTURE: &str = "a certificate of the future is refused";
const FORGED: &str = "a forged certificate is refused";
const PROTOCOLS: &str = "another protocol is refused";
const PLACES: &str = "whoever finds no place is told so";
const GREEDY: &str = "one node does not get all places";
const GIVEN_UP: &str = "an attempt that is given up counts as that";
const SILENT: &str = "silent handshakes keep nobody out";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn expect_not_trusted(promise: &str, error: &TransportError, wanted: Refusal) {
    assert!(
        matches!(error, TransportError::NotTrusted { refusal, .. } if *refusal == wanted),
        "{promise}: the one that dialled sees {error:?}"
    );
}

fn expect_refused(promise: &str, error: &TransportError, wanted: Refusal) {
    assert!(
        matches!(error, TransportError::Refused { reason, .. } if *reason == wanted.to_string()),
        "{promise}: the one that dialled is told {error:?}"
    );
}

pub(super) async fn a_node_of_another_cluster_is_refused_on_both_sides(bench: &Bench) {
    let (ours, theirs) = (Cluster::new(), Cluster::new());
    let (here, stranger) = (bench.bind(ours.sound_node()), bench.bind(theirs.sound_node()));
    let error = refused(FOREIGN, &*stranger, &*here).await;
    expect_not_trusted(FOREIGN, &error, Refusal::ForeignAuthority);
    counted(FOREIGN, &*here, &[(Refusal::ForeignAuthority, 1)]).await;

    // A client that trusts everyone is refused all the same.
    let credentials = Credentials::new(theirs.sound_node());
    let believing = sound(credentials.believing(ours.authority.fingerprint(), PROTOCOL));
    let error = within(FOREIGN, bench.kit.dial_with(&here.address(), believing)).await.err();
    let error = error.unwrap_or_else(|| panic!("{FOREIGN}: it was let in"));
    expect_refused(FOREIGN, &error, Refusal::ForeignAuthority);
    counted(FOREIGN, &*here, &[(Refusal::ForeignAuthority, 2)]).await;
    honest_node_gets_in(FOREIGN, &*bench.kit, &ours, &*here).await;
}

pub(super) async fn whoever_shows_no_certificate_is_told_so(bench: &Bench) {
    let cluster = Cluster::new();
    let here = bench.bind(cluster.sound_node());
    let mut config = sound(Credentials::joining(cluster.authority.fingerprint()));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    let error = within(NONE, bench.kit.dial_with(&here.address(), config)).await.err();
    let error = error.unwrap_or_else(|| panic!("{NONE}: it was let in"));
    expect_refused(NONE, &error, Refusal::NoCertificate);
    counted(NONE, &*here, &[(Refusal::NoCertificate, 1)]).await;
    honest_node_gets_in(NONE, &*bench.kit, &cluster, &*here).await;
}

pub(super) async fn an_expired_certificate_is_refused_on_both_sides(bench: &Bench) {
    let cluster = Cluster::new();
    let here = bench.bind(cluster.sound_node());
    let long_ago = now().before(100 * DAY);
    let expired = bench.bind(cluster.node(long_ago, CERTIFICATE_VALIDITY));
    let error = refused(EXPIRED, &*expired, &*here).await;
    expect_refused(EXPIRED, &error, Refusal::Expired);
    counted(EXPIRED, &*here, &[(Refusal::Expired, 1)]).await;
    // In the other direction the dialling side detects it, and tells the other by an alert.
    let error = refused(EXPIRED, &*here, &*expired).await;
    expect_not_trusted(EXPIRED, &error, Refusal::Expired);
    counted(EXPIRED, &*expired, &[(Refusal::Expired, 1)]).await;
    honest_node_gets_in(EXPIRED, &*bench.kit, &cluster, &*here).await;
}

pub(super) async fn a_certificate_of_the_future_is_refused(bench: &Bench) {
    let cluster = Cluster::new();
    let behind = ManualWall::at(now().before(2 * DAY));
    let here = bench.bind(Credentials::with_wall(cluster.sound_node(), behind));
    let node = bench.bind(cluster.sound_node());
    let error = refused(FUTURE, &*node, &*here).await;
    expect_refused(FUTURE, &error, Refusal::Expired);
    counted(FUTURE, &*here, &[(Refusal::Expired, 1)]).await;
    // A clock that is behind by less than certificates are backdated causes no failure.
    let slightly = ManualWall::at(now().before(Duration::from_secs(30 * 60)));
    let here = bench.bind(Credentials::with_wall(cluster.sound_node(), slightly));
    honest_node_gets_in(FUTURE, &*bench.kit, &cluster, &*here).await;
}

pub(super) async fn a_forged_certificate_is_refused(bench: &Bench) {
    let cluster = Cluster::new();
    let here = bench.bind(cluster.sound_node());
    // From an authority with our authority's name and another key.
    let forged = sound(cluster.authority.forged(sound(NodeKey::generate()), now()));
    let credentials = Credentials::new(forged);
    let believing = sound(credentials.believing(cluster.authority.fingerprint(), PROTOCOL));
    let error = within(FORGED, bench.kit.dial_with(&here.address(), believing)).await.err();
    let error = error.unwrap_or_else(|| panic!("{FORGED}: it was let in"));
    let known = [Refusal::BadCertificate, Refusal::ForeignAuthority];
    let said = known.into_iter().find(
        |refusal| matches!(&error, TransportError::Refused { reason, .. } if *reason == refusal.to_string()),
    );
    let said = said.unwrap_or_else(|| panic!("{FORGED}: it is told {error:?}"));
    counted(FORGED, &*here, &[(said, 1)]).await;
    honest_node_gets_in(FORGED, &*bench.kit, &cluster, &*here).await;
}

pub(super) async fn another_protocol_is_refused(bench: &Bench) {
    let cluster = Cluster::new();
    let here = bench.bind(cluster.sound_node());
    let credentials = Credentials::new(cluster.sound_node());
    let config = sound(credentials.client_config(b"h2"));
    let error = within(PROTOCOLS, bench.kit.dial_with(&here.address(), config)).await.err();
    let error = error.unwrap_or_else(|| panic!("{PROTOCOLS}: it was let in"));
    expect_not_trusted(PROTOCOLS, &error, Refusal::WrongProtocol);
    counted(PROTOCOLS, &*here, &[(Refusal::WrongProtocol, 1)]).await;
    honest_node_gets_in(PROTOCOLS, &*bench.kit, &cluster, &*here).await;
}

pub(super) async fn whoever_has_no_place_is_told_so(bench: &Bench) {
    let cluster = Cluster::new();
    let here = bench.bind_with(cluster.sound_node(), limits().connections(1));
    let [first, second] = [0; 2].map(|_| bench.bind(cluster.sound_node()));
    let address = here.address();
    let near = within(PLACES, first.dial(&address)).await;
    let near = near.unwrap_or_else(|error| panic!("{PLACES}: there is a place for one: {error}"));
    let error = refused(PLACES, &*second, &*here).await;
    expect_refused(PLACES, &error, Refusal::TooMany);
    counted(PLACES, &*here, &[(Refusal::TooMany, 1)]).await;
    // The place is free again once the first connection has ended.
    let far = within(PLACES, here.accept()).await;
    near.close("making room");
    drop((near, far));
    within(PLACES, async {
        while second.dial(&address).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub(super) async fn one_node_does_not_get_all_places(bench: &Bench) {
    let cluster = Cluster::new();
    let limits = limits().per_node(2);
    let here = bench.bind_with(cluster.sound_node(), limits);
    let greedy = bench.bind(cluster.sound_node());
    let address = here.address();
    let mut held = Vec::new();
    for _ in 0..limits.per_node {
        let near = within(GREEDY, greedy.dial(&address)).await;
        held.push(near.unwrap_or_else(|error| panic!("{GREEDY}: it gets some: {error}")));
    }
    let error = refused(GREEDY, &*greedy, &*here).await;
    expect_refused(GREEDY, &error, Refusal::TooMany);
    counted(GREEDY, &*here, &[(Refusal::TooMany, 1)]).await;
    honest_node_gets_in(GREEDY, &*bench.kit, &cluster, &*here).await;
}

pub(super) async fn a_thousand_silent_handshakes_keep_nobody_out(bench: &Bench) {
    const MANY: usize = 1_000;
    let cluster = Cluster::new();
    let limits = limits().handshake(Duration::from_secs(3)).handshakes(32);
    let here = bench.bind_with(cluster.sound_node(), limits);
    let address: SocketAddr = sound(here.address().parse());
    let silent = within(SILENT, bench.kit.begin_handshakes(address, MANY)).await;
    honest_node_gets_in(SILENT, &*bench.kit, &cluster, &*here).await;
    // Each handshake that had a place has lost it in the end, and is counted.
    let turned_away = || {
        let counts = here.refusals().into_iter();
        let expected = [Refusal::TooMany, Refusal::TooSlow];
        counts.filter(|(refusal, _)| expected.contains(refusal)).map(|(_, count)| count).sum::<u64>()
    };
    within(SILENT, async {
        while turned_away() < limits.handshakes as u64 / 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    drop(silent);
    honest_node_gets_in(SILENT, &*bench.kit, &cluster, &*here).await;
}

pub(super) async fn an_attempt_that_is_given_up_turns_nobody_away(bench: &Bench) {
    let cluster = Cluster::new();
    let (here, hasty) = (bench.bind(cluster.sound_node()), bench.bind(cluster.sound_node()));
    let address = here.address();
    let given_up = || here.refusals().into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>();
    // Given up after some time, or after so many waits: how far a handshake gets depends on the machine and the
    // transport.
    let give_up = async |step: u32| {
        let by_time = step.is_multiple_of(2);
        let time = if by_time { Duration::from_micros(100) * (step % 200) } else { PATIENCE };
        let waits = if by_time { u32::MAX } else { step / 2 % 20 };
        let mut dialling = pin!(hasty.dial(&address));
        let mut waited = 0;
        let attempt = poll_fn(|context| {
            waited += 1;
            if waited > waits { Poll::Ready(()) } else { dialling.as_mut().poll(context).map(|_| ()) }
        });
        let let_in = async { while here.accept().await.is_some() {} };
        tokio::select! {
            () = attempt => {}
            () = let_in => {}
            () = tokio::time::sleep(time) => {}
        }
    };
    within(GIVEN_UP, async {
        let mut steps = 0..;
        while given_up().is_empty() {
            give_up(steps.next().unwrap_or_default()).await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    honest_node_gets_in(GIVEN_UP, &*bench.kit, &cluster, &*here).await;
    let others: Vec<_> = given_up().into_iter().filter(|(refusal, _)| *refusal != Refusal::GivenUp).collect();
    assert!(others.is_empty(), "{GIVEN_UP}: counted are {others:?}");
}
