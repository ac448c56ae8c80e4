//! The promise: an untrustworthy clock shows in the status, the metrics and the log of a node. A node whose own clock
//! is ahead refuses writes that others would see only later, unless it is told to take them.

use crate::support::{engine, http};
use std::path::Path;
use std::time::Duration;

use crate::support::member::{Member, Place, until};
use crate::support::run_on;
use aevrion_core::identity::Identity;
use aevrion_core::replication::Replication;
use aevrion_core::transport::Limits;
use aevrion_core::{Options, Replica, SystemWall, Timestamp, WallClock};
use aevrion_net_quic::QuicTransport;

/// A clock that is behind.
struct Behind(Duration);

impl WallClock for Behind {
    fn now(&self) -> Timestamp {
        let now = Duration::from_millis(SystemWall.now().as_millis());
        Timestamp::MIN.after(now - self.0)
    }
}

/// A node of `first`'s cluster in this process: the binary has no setting for another clock.
async fn node_behind(data: &Path, first: &Member, by: Duration) -> (Replica, Replication) {
    let peer = first.address("quic");
    run_on(data, &["cluster", "join", &peer, &first.token()]).ok();
    let identity = Identity::load(&data.join("cluster")).expect("it has joined");
    let options = Options::default().node(identity.node()).wall(Behind(by));
    let replica = Replica::open(engine::store("redb", data), options).await.expect("the replica opens");
    let here = ([127, 0, 0, 1], 0).into();
    let transport = QuicTransport::bind(here, identity, Limits::default()).expect("a port is free");
    let replication = replica.replicate_over(transport);
    replication.add_peer(peer.parse().expect("it is an address"));
    (replica, replication)
}

/// The value of a metric without labels.
#[track_caller]
fn metric(member: &Member, name: &str) -> u64 {
    let page = http::send(&member.server().address, "GET", "/metrics", &[], b"").is(200).text();
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("aevrion_{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {page}"))
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

#[test]
fn a_clock_that_is_off_is_an_alarm_until_it_is_gone() {
    let place = Place::new();
    let mut first = place.first("first");
    assert_eq!((first.alarms(), metric(&first, "clock_alarm")), (Vec::new(), 0));
    let ends = metric(&first, "certificate_ends_seconds");
    assert_eq!(first.status()["certificate_ends"].as_u64().map(|ms| ms / 1_000), Some(ends));

    let runtime = engine::runtime();
    let (replica, replication) = runtime.block_on(node_behind(&place.at("behind"), &first, TEN_MINUTES));
    until(|| !first.alarms().is_empty(), "there is no alarm");
    let alarm = first.alarms().remove(0);
    assert!(alarm.contains("only neighbour") && alarm.contains("set right"), "{alarm}");
    assert_eq!(metric(&first, "clock_alarm"), 1);
    first.server().line_with("alarm: this node's clock and that of its only neighbour");
    // Two clocks do not show which of them is wrong.
    until(|| first.run(&["put", "k", "v"]).code == Some(5), "writes are taken");
    assert_eq!(metric(&first, "writes_refused"), 1);

    runtime.block_on(replication.close());
    until(|| first.alarms().is_empty(), "the alarm outlives its reason");
    assert_eq!(metric(&first, "clock_alarm"), 0);
    first.server().line_with("the alarm about the clock is over");
    first.run(&["put", "k", "v"]).ok();
    runtime.block_on(replica.close()).expect("it closes");
    first.stop();
}

#[test]
fn a_node_that_is_ahead_of_two_refuses_writes_unless_it_is_told_to_take_them() {
    let place = Place::new();
    let mut first = place.first("first");
    let runtime = engine::runtime();
    let others = runtime.block_on(async {
        let one = node_behind(&place.at("one"), &first, TEN_MINUTES).await;
        [one, node_behind(&place.at("other"), &first, TEN_MINUTES + Duration::from_secs(1)).await]
    });
    let is_ahead = |first: &Member| first.alarms().iter().any(|alarm| alarm.contains("this node's clock is"));
    until(|| is_ahead(&first), "it does not see that it is ahead");
    until(|| first.run(&["put", "k", "v"]).code == Some(5), "writes are taken");
    first.run(&["put", "k", "v"]).fails(5, &["ahead"]);
    assert!(first.alarms()[0].contains("Local writes are refused"));

    first.stop();
    first.serve(&["--write-despite-clocks"]);
    until(|| is_ahead(&first), "it does not see that it is ahead");
    first.run(&["put", "k", "v"]).ok();
    assert!(first.alarms()[0].contains("Local writes are taken all the same"));
    for (replica, replication) in others {
        runtime.block_on(replication.close());
        runtime.block_on(replica.close()).expect("it closes");
    }
}
