//! Renewal of the certificate, well before its expiry: by this node if it has the authority, else by a peer that has it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use aevrion_core::identity::join::{JoinError, Joining};
use aevrion_core::identity::{Authority, CERTIFICATE_VALIDITY, Credentials, Identity, IdentityError};
use aevrion_core::replication::{Peer, Replication};
use aevrion_core::{SystemWall, WallClock};

use super::parts::{AuthorityAt, Parts};

/// The interval of checks of the certificate.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// A certificate that expires within this time is an alarm.
const ALARM: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Renews the certificate for the lifetime of the membership.
pub(super) async fn run(parts: Weak<Parts>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let Some(parts) = parts.upgrade() else { return };
        let current = parts.credentials.current();
        if SystemWall.now() < current.renew_at() {
            continue;
        }
        match renew(&parts, &current).await {
            Ok(identity) => tracing::info!(until = %identity.expires_at(), "the certificate was renewed"),
            Err(error) => tracing::error!(%error, "the certificate was not renewed; trying again in an hour"),
        }
    }
}

/// The alarm about the certificate, if there is one.
pub(super) fn alarm(credentials: &Credentials, authority: AuthorityAt) -> Option<String> {
    let left = credentials.current().expires_at().ahead_of(SystemWall.now());
    (left < ALARM).then(|| {
        let days = left.as_secs() / (24 * 60 * 60);
        // A node with the authority depends on no other: the cause is here.
        let advice = match authority {
            AuthorityAt::ThisNode => {
                "the log says why it was not renewed here; see that its directory can be written to"
            }
            AuthorityAt::AnotherNode => "see that it reaches the node with the authority",
        };
        format!("this node's certificate ends in {days} days: {advice}")
    })
}

/// The renewal of a certificate failed.
#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("there is no neighbour to ask")]
    NobodyToAsk,
    #[error("{}", in_words(.0))]
    Refused(Vec<RefusedBy>),
}

/// The answer of one node that did not renew the certificate.
#[derive(Debug, thiserror::Error)]
#[error("{peer}: {error}")]
struct RefusedBy {
    peer: Peer,
    error: JoinError,
}

fn in_words(refusals: &[RefusedBy]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

async fn renew(parts: &Parts, current: &Identity) -> Result<Arc<Identity>, RenewalError> {
    let identity = match parts.cluster_dir.authority()? {
        Some(authority) => renew_here(&authority, current)?,
        None => renew_there(parts).await?,
    };
    parts.cluster_dir.store_identity(&identity)?;
    parts.credentials.replace(identity)?;
    Ok(parts.credentials.current())
}

fn renew_here(authority: &Authority, current: &Identity) -> Result<Identity, IdentityError> {
    let request = current.key().signing_request()?;
    current.renewed(authority.issue(&request, SystemWall.now(), CERTIFICATE_VALIDITY)?)
}

/// Asks one node after the other: those without the authority refuse.
async fn renew_there(parts: &Parts) -> Result<Identity, RenewalError> {
    let mut refusals = Vec::new();
    for peer in nodes_to_ask(&parts.replication) {
        let Some(transport) = transport_of(&parts.transports, &peer) else { continue };
        match transport.renew(peer.address()).await {
            Ok(identity) => return Ok(identity),
            Err(error) => refusals.push(RefusedBy { peer, error }),
        }
    }
    Err(if refusals.is_empty() { RenewalError::NobodyToAsk } else { RenewalError::Refused(refusals) })
}

/// The peers that this node dials, which listen, and then the addresses of its neighbours. The address of a neighbour
/// that dialled over TCP cannot be dialled.
fn nodes_to_ask(replication: &Replication) -> Vec<Peer> {
    let mut peers = replication.peers();
    let neighbours = replication.neighbours().into_iter().filter_map(|one| one.address.parse().ok());
    for neighbour in neighbours.collect::<Vec<Peer>>() {
        if !peers.contains(&neighbour) {
            peers.push(neighbour);
        }
    }
    peers
}

fn transport_of<'t>(transports: &'t [Arc<dyn Joining>], peer: &Peer) -> Option<&'t Arc<dyn Joining>> {
    match peer.transport() {
        None => transports.first(),
        Some(name) => transports.iter().find(|transport| transport.name() == name),
    }
}

#[cfg(test)]
mod tests {
    use aevrion_core::identity::NodeKey;

    use super::*;

    #[test]
    fn what_to_do_about_a_certificate_depends_on_where_the_authority_is() {
        let now = SystemWall.now();
        let authority = Authority::make_at(now).unwrap();
        let credentials = |days: u64| {
            let validity = Duration::from_secs(days * 24 * 60 * 60);
            Credentials::new(authority.admit_at(NodeKey::generate().unwrap(), now, validity).unwrap())
        };
        assert_eq!(alarm(&credentials(20), AuthorityAt::ThisNode), None);
        let places = [AuthorityAt::ThisNode, AuthorityAt::AnotherNode];
        let [here, there] = places.map(|place| alarm(&credentials(10), place).unwrap());
        assert!(here.contains("the log") && !here.contains("reaches"), "{here}");
        assert!(there.contains("reaches the node with the authority"), "{there}");
    }
}
