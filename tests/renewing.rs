//! The promise: certificates renew themselves well before they end, at the authority, which may be another node, and no
//! connected node notices.

use std::path::Path;
use std::time::Duration;

use crate::support::member::{Member, Place, agree, file_of, until};
use aevrion_core::identity::{Authority, Identity};
use aevrion_core::{SystemWall, WallClock};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Gives a stopped node a certificate near its end.
fn let_nearly_end(data: &Path, authority: &Authority) {
    let home = data.join("cluster");
    let identity = Identity::load(&home).expect("it is a node");
    let request = identity.key().signing_request().expect("it can ask");
    let issued = SystemWall.now().before(60 * MINUTE);
    let certificate = authority.issue(&request, issued, 70 * MINUTE).expect("it is issued");
    identity.renewed(certificate).and_then(|identity| identity.store(&home)).expect("it is stored");
}

fn ends_within(member: &Member, time: Duration) -> bool {
    let status = member.status();
    let number = |name: &str| status[name].as_u64().expect("a number");
    u128::from(number("certificate_ends") - number("now")) < time.as_millis()
}

#[test]
fn a_certificate_is_renewed_here_and_there() {
    let place = Place::new();
    let mut first = place.first("first");
    let mut second = Member::join(place.at("second"), "redb", "quic", &first, true);
    let mut third = Member::join(place.at("third"), "redb", "tcp", &first, true);
    agree(&[(&first, 2), (&second, 1), (&third, 1)]);
    let authority = Authority::load(&first.data.join("cluster")).expect("it began the cluster");

    for member in [&mut first, &mut second, &mut third] {
        member.stop();
        let_nearly_end(&member.data, &authority);
        let before = std::fs::read(file_of(&member.data, "node.crt")).expect("it is there");
        member.serve(&[]);
        until(|| !ends_within(member, 30 * DAY), "the certificate is not renewed");
        assert_eq!(member.status()["alarms"], serde_json::json!([]));
        // The new certificate is saved, and not only used.
        let after = std::fs::read(file_of(&member.data, "node.crt")).expect("it is there");
        assert_ne!(before, after);
    }
    first.run(&["put", "k", "v"]).ok();
    agree(&[(&first, 2), (&second, 1), (&third, 1)]);
}

#[test]
fn a_certificate_that_nobody_can_renew_is_an_alarm() {
    let place = Place::new();
    let mut first = place.first("first");
    let mut second = Member::join(place.at("second"), "redb", "quic", &first, true);
    second.stop();
    let authority = Authority::load(&first.data.join("cluster")).expect("it began the cluster");
    let_nearly_end(&second.data, &authority);
    first.stop();
    second.serve(&[]);
    second.server().line_with("the certificate was not renewed");
    assert!(ends_within(&second, 10 * MINUTE));
    let alarms = second.status()["alarms"].to_string();
    assert!(alarms.contains("certificate ends in 0 days"), "{alarms}");
}
