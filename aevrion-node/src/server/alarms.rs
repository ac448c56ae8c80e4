//! Alarms: conditions that need an operator. Every node has the same list, in a cluster or not; the log records the
//! beginning and the end of each alarm.

use std::convert::Infallible;
use std::time::Duration;

use aevrion_core::WriteError;
use tokio::time::{MissedTickBehavior, interval};

use super::node::Node;

/// The interval of checks for the log. A check costs no more than a few locks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Advice for a removed node.
const ANEW: &str = "no other node meets it any more; to come back it needs a new key: stop it, remove the \
     `cluster` directory of its data, and `aevrion cluster join` with a new token";

/// The subject of an alarm: its name in the log, and its label in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Clock,
    Store,
    Certificate,
    Damage,
    Removal,
    Identity,
    Members,
    Neighbours,
}

impl Kind {
    /// Every kind.
    pub(super) const ALL: [Self; 8] = [
        Self::Clock,
        Self::Store,
        Self::Certificate,
        Self::Damage,
        Self::Removal,
        Self::Identity,
        Self::Members,
        Self::Neighbours,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Store => "store",
            Self::Certificate => "certificate",
            Self::Damage => "damage",
            Self::Removal => "removal",
            Self::Identity => "identity",
            Self::Members => "members",
            Self::Neighbours => "neighbours",
        }
    }

    /// The current alarm of this kind, in words, with its remedy. The only place that knows the sources of alarms.
    fn look(self, node: &Node) -> Option<String> {
        match self {
            Self::Clock => {
                let by_neighbours = || node.replication()?.clock_alarm();
                by_neighbours().or_else(|| {
                    node.replica.clock_fault().map(|fault| format!("{fault}. Local writes are refused"))
                })
            }
            Self::Store => match node.replica.refuses_writes()? {
                WriteError::Clock(_) => None,
                refused => Some(refused.to_string()),
            },
            Self::Certificate => node.membership().ok()?.certificate_alarm(),
            Self::Damage => damage(node),
            Self::Removal => node.replication()?.own_removal().map(|what| format!("{what}: {ANEW}")),
            Self::Identity => node.replication()?.identity_alarm(),
            // A removed node has no connections: its removal is the alarm.
            Self::Members => match Self::Removal.look(node) {
                Some(_) => None,
                None => node.membership().ok()?.away_alarm(),
            },
            Self::Neighbours => node.replication()?.full_alarm(),
        }
    }
}

/// The damaged events, and the state of their repair.
fn damage(node: &Node) -> Option<String> {
    let damaged = node.replica.damaged_events();
    let events = match damaged.standing.len() {
        0 => return None,
        1 => "1 stored event is damaged".to_owned(),
        number if damaged.more => format!("more than {number} stored events are damaged"),
        number => format!("{number} stored events are damaged"),
    };
    let import = "import a backup or an export, which mends what it holds";
    Some(match (node.connected(), node.replication()) {
        (0, None) => format!("{events}, and there is no neighbour to ask for a sound copy: {import}"),
        (0, Some(_)) => format!(
            "{events}, and no neighbour is connected to be asked for a sound copy: see that one is, or {import}"
        ),
        (1, _) => format!("{events}: asking the neighbour for a sound copy; if it has none, {import}"),
        (neighbours, _) => {
            format!("{events}: asking {neighbours} neighbours for a sound copy; if they have none, {import}")
        }
    })
}

/// A condition that needs an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alarm {
    pub(super) kind: Kind,
    /// The condition in words, with its remedy.
    pub(super) what: String,
}

/// The current alarms of a node.
pub(super) fn of(node: &Node) -> Vec<Alarm> {
    let alarm = |kind: Kind| kind.look(node).map(|what| Alarm { kind, what });
    Kind::ALL.into_iter().filter_map(alarm).collect()
}

/// Logs the alarms of a node, without end.
pub(super) async fn tell(node: &Node) -> Infallible {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut standing = Vec::new();
    loop {
        ticks.tick().await;
        let now = of(node);
        for transition in transitions(&standing, &now) {
            match transition {
                Transition::Begun(alarm) => tracing::warn!("alarm: {}", alarm.what),
                Transition::Over(alarm) => {
                    tracing::warn!("the alarm about the {} is over", alarm.kind.name());
                }
            }
        }
        standing = now;
    }
}

/// A change in the list of alarms.
#[derive(Debug, PartialEq, Eq)]
enum Transition<'a> {
    Begun(&'a Alarm),
    Over(&'a Alarm),
}

/// The changes between two lists. New words for the same alarm, with another number in them, are no change.
fn transitions<'a>(before: &'a [Alarm], now: &'a [Alarm]) -> Vec<Transition<'a>> {
    fn missing<'a>(of: &'a [Alarm], among: &'a [Alarm]) -> impl Iterator<Item = &'a Alarm> {
        of.iter().filter(|alarm| among.iter().all(|other| other.kind != alarm.kind))
    }
    let begun = missing(now, before).map(Transition::Begun);
    begun.chain(missing(before, now).map(Transition::Over)).collect()
}

#[cfg(test)]
mod tests {
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
        assert_eq!(transitions(&[], &near), [Transition::Begun(&near[0])]);
        assert_eq!(transitions(&near, far), []);
        assert_eq!(transitions(far, &both), [Transition::Begun(old)]);
        assert_eq!(transitions(&both, &[]), [Transition::Over(&both[0]), Transition::Over(old)]);
    }
}
