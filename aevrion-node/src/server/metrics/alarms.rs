//! What someone should look after.

use super::Page;
use crate::cluster::Membership;

/// Whether something is an alarm, and when the certificate ends: with the latter anyone can set a limit of their own.
pub(super) fn write(page: &mut Page, membership: &Membership) {
    let clock = membership.sync().clock_alarm().is_some();
    page.gauge("clock_alarm", "Whether this clock and a neighbour's are too far apart.", u64::from(clock));
    let ends = membership.certificate_ends().as_millis() / 1_000;
    page.gauge("certificate_ends_seconds", "When the certificate of this node ends, since 1970.", ends);
}
