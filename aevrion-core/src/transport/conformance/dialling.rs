//! Promises about dialling.

use std::collections::BTreeSet;

use super::bench::{Bench, connect, look, receive, round_trip, send};
use crate::conformance::{filler, within};
use crate::transport::{Lane, TransportError};

const WHO: &str = "who is at the other end is said rightly";
const BAD: &str = "an address that is none is an error that says so";
const NOBODY: &str = "a dial to nobody fails in bounded time";
const ABANDONED: &str = "a dial that is dropped leaves everything in order";
const MANY: &str = "many connections at once do not mix";

pub(super) async fn who_is_at_the_other_end_is_right(bench: &Bench) {
    let (one, two, three) = (bench.transport().await, bench.transport().await, bench.transport().await);
    let nodes: BTreeSet<_> = [&one, &two, &three].map(|transport| transport.node()).into();
    assert_eq!(nodes.len(), 3, "{WHO}: nodes differ");
    for (dialling, accepting) in [(&one, &two), (&two, &three), (&three, &one), (&two, &one)] {
        let (near, far) = connect(&**dialling, &**accepting).await;
        assert_eq!(near.neighbour(), accepting.node(), "{WHO}: to the one that dialled");
        assert_eq!(far.neighbour(), dialling.node(), "{WHO}: to the one that accepted");
        assert_eq!(near.address(), accepting.address(), "{WHO}: and where it is");
    }
    for transport in [&one, &two, &three] {
        let refused: u64 = transport.refusals().iter().map(|(_, count)| count).sum();
        assert_eq!(refused, 0, "{WHO}: nobody was refused");
    }
}

pub(super) async fn an_address_that_is_none_is_an_error_of_whoever_gave_it(bench: &Bench) {
    let transport = bench.transport().await;
    for address in ["", "nonsense", "localhost:", "localhost:port", "localhost:70000", ":1"] {
        let error = within(BAD, transport.dial(address)).await.err();
        assert!(
            matches!(&error, Some(TransportError::BadAddress { address: named, .. }) if named == address),
            "{BAD}: `{address}` gives {error:?}"
        );
    }
}

pub(super) async fn a_dial_to_nobody_fails_in_bounded_time(bench: &Bench) {
    let (transport, gone) = (bench.transport().await, bench.transport().await);
    let address = gone.address();
    gone.close("leaving").await;
    drop(gone);
    let error = within(NOBODY, transport.dial(&address)).await.err();
    assert!(matches!(error, Some(TransportError::Unreachable { .. })), "{NOBODY}: {error:?}");
}

pub(super) async fn an_abandoned_dial_leaves_everything_in_order(bench: &Bench) {
    let (dialling, accepting) = (bench.transport().await, bench.transport().await);
    let address = accepting.address();
    for looks in 0..6 {
        let mut dial = dialling.dial(&address);
        for _ in 0..looks {
            if look(dial.as_mut()).is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    // Connections that were established all the same are accepted first. They have ended, as the dialler is gone.
    let dialling = async {
        let near = within(ABANDONED, dialling.dial(&address)).await;
        let near = near.unwrap_or_else(|error| panic!("{ABANDONED}: the next one fails: {error}"));
        send(ABANDONED, &*near, Lane::Live, filler(1, 100)).await;
        near
    };
    let accepting = async {
        loop {
            let far = within(ABANDONED, accepting.accept()).await;
            let far = far.unwrap_or_else(|| panic!("{ABANDONED}: the transport goes on"));
            if let Ok(Some(_)) = within(ABANDONED, far.receive(Lane::Live, 100)).await {
                return far;
            }
        }
    };
    let (near, far) = tokio::join!(dialling, accepting);
    round_trip(ABANDONED, &*near, &*far, Lane::Live).await;
}

pub(super) async fn many_connections_at_once_do_not_mix(bench: &Bench) {
    const NODES: usize = 4;
    /// The most connections that one node may have.
    const EACH: usize = 4;
    let hub = bench.transport().await;
    let address = hub.address();
    let mut dialling = tokio::task::JoinSet::new();
    for _ in 0..NODES {
        let transport = bench.transport().await;
        for number in 0..EACH {
            let (transport, address) = (transport.clone(), address.clone());
            dialling.spawn(async move {
                let near = within(MANY, transport.dial(&address)).await;
                let near = near.unwrap_or_else(|error| panic!("{MANY}: {error}"));
                // Sends its node id over the connection, which must match the id that the transport reports.
                let name = [&transport.node().as_bytes()[..], &[u8::try_from(number).unwrap_or(0)]].concat();
                send(MANY, &*near, Lane::Live, name.clone().into()).await;
                assert!(receive(MANY, &*near, Lane::Live).await == name, "{MANY}: the own words come back");
                (transport, near)
            });
        }
    }
    let mut accepted = Vec::new();
    let mut names = BTreeSet::new();
    for _ in 0..NODES * EACH {
        let far = within(MANY, hub.accept()).await.unwrap_or_else(|| panic!("{MANY}: accept ended"));
        accepted.push(far);
    }
    for far in &accepted {
        let name = receive(MANY, &**far, Lane::Live).await;
        assert_eq!(name[..32], far.neighbour().as_bytes()[..], "{MANY}: who says it is who it is");
        assert!(names.insert(name.clone()), "{MANY}: each is accepted once");
        send(MANY, &**far, Lane::Live, name).await;
    }
    let ends = within(MANY, dialling.join_all()).await;
    for ((_, near), seed) in ends.iter().zip(0..) {
        let far = accepted.iter().find(|far| far.neighbour() == ends[0].0.node());
        assert!(far.is_some(), "{MANY}: both ends stand");
        send(MANY, &**near, Lane::Repair, filler(seed, 10_000)).await;
    }
    for far in &accepted {
        assert_eq!(receive(MANY, &**far, Lane::Repair).await.len(), 10_000, "{MANY}: and go on");
    }
    drop(ends);
    let another = bench.transport().await;
    let (near, far) = connect(&*another, &*hub).await;
    round_trip(MANY, &*near, &*far, Lane::Live).await;
}
