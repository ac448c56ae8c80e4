//! What someone should look after: made here for whoever asks, and told in the log when it begins and when it is over.

use std::sync::Weak;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::membership::Parts;
use super::renewal;

/// How often it is looked also while nothing is heard of a neighbour: a certificate comes to its end by itself.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// What kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Clock,
    Certificate,
}

/// Something to look after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alarm {
    kind: Kind,
    /// In words, with what to do.
    pub(super) what: String,
}

/// Those of a membership.
pub(super) fn of(parts: &Parts) -> Vec<Alarm> {
    let clock = parts.sync.clock_alarm().map(|what| Alarm { kind: Kind::Clock, what });
    let certificate = renewal::alarm(&parts.credentials, parts.authority);
    let certificate = certificate.map(|what| Alarm { kind: Kind::Certificate, what });
    [clock, certificate].into_iter().flatten().collect()
}

/// Tells of them for as long as the membership lasts. `changes` tells when something was learned of a neighbour.
pub(super) async fn run(parts: Weak<Parts>, mut changes: watch::Receiver<u64>) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut standing = Vec::new();
    loop {
        tokio::select! {
            _ = look.tick() => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
        let Some(parts) = parts.upgrade() else { return };
        let now = of(&parts);
        for (alarm, begins) in transitions(&standing, &now) {
            let Alarm { kind, what } = alarm;
            if begins {
                tracing::warn!("alarm: {what}");
            } else {
                tracing::warn!("the alarm about the {} is over", kind.name());
            }
        }
        standing = now;
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Certificate => "certificate",
        }
    }
}

/// What has begun, and what is over. That the words change, with a number in them, is neither.
fn transitions<'a>(before: &'a [Alarm], now: &'a [Alarm]) -> Vec<(&'a Alarm, bool)> {
    fn missing<'a>(of: &'a [Alarm], among: &'a [Alarm]) -> impl Iterator<Item = &'a Alarm> {
        of.iter().filter(|alarm| among.iter().all(|other| other.kind != alarm.kind))
    }
    let begun = missing(now, before).map(|alarm| (alarm, true));
    begun.chain(missing(before, now).map(|alarm| (alarm, false))).collect()
}

#[cfg(test)]
mod tests {
    use aevrion_core::identity::{Authority, Credentials, NodeKey};
    use aevrion_core::{SystemWall, WallClock};

    use super::*;

    fn alarm(kind: Kind, what: &str) -> Alarm {
        Alarm { kind, what: what.to_owned() }
    }

    #[test]
    fn an_alarm_begins_and_ends_once() {
        let [near, far] = ["61000 ms", "62000 ms"].map(|what| alarm(Kind::Clock, what));
        let old = alarm(Kind::Certificate, "13 days");
        let (near, both) = ([near], [far, old]);
        let (far, old) = (&both[..1], &both[1]);
        assert_eq!(transitions(&[], &near), [(&near[0], true)]);
        assert_eq!(transitions(&near, far), []);
        assert_eq!(transitions(far, &both), [(old, true)]);
        assert_eq!(transitions(&both, &[]), [(&both[0], false), (old, false)]);
    }

    #[test]
    fn what_to_do_about_a_certificate_depends_on_where_the_authority_is() {
        let now = SystemWall.now();
        let authority = Authority::make(now).unwrap();
        let credentials = |days: u64| {
            let validity = Duration::from_secs(days * 24 * 60 * 60);
            Credentials::new(authority.admit(NodeKey::generate().unwrap(), now, validity).unwrap())
        };
        assert_eq!(renewal::alarm(&credentials(20), true), None);
        let [here, there] = [true, false].map(|here| renewal::alarm(&credentials(10), here).unwrap());
        assert!(here.contains("the log") && !here.contains("reaches"), "{here}");
        assert!(there.contains("reaches the node with the authority"), "{there}");
    }
}
