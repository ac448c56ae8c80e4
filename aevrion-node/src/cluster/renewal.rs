//! Certificates renew themselves, well before they end: here if the authority is here, else at a neighbour that has it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use aevrion_core::identity::join::Joining;
use aevrion_core::identity::{Authority, CERTIFICATE_VALIDITY, Credentials, Identity};
use aevrion_core::sync::{Peer, Sync};
use aevrion_core::{SystemWall, WallClock};

use super::Home;
use super::membership::Parts;

/// How often it is looked whether it is time.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// With less than this left the end of the certificate is an alarm.
const ALARM: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Renews for as long as the membership lasts.
pub(super) async fn run(parts: Weak<Parts>) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
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

/// Why the certificate is an alarm, if it is.
pub(super) fn alarm(credentials: &Credentials, authority_is_here: bool) -> Option<String> {
    let left = credentials.current().expires_at().ahead_of(SystemWall.now());
    (left < ALARM).then(|| {
        let days = left.as_secs() / (24 * 60 * 60);
        // Where the authority is nobody else is needed, so it is something here that keeps it from being renewed.
        let advice = match authority_is_here {
            true => "the log says why it was not renewed here; see that its directory can be written to",
            false => "see that it reaches the node with the authority",
        };
        format!("this node's certificate ends in {days} days: {advice}")
    })
}

async fn renew(parts: &Parts, current: &Identity) -> Result<Arc<Identity>, String> {
    let identity = match parts.home.authority().map_err(|failure| failure.to_string())? {
        Some(authority) => renew_here(&authority, current).map_err(|error| error.to_string())?,
        None => renew_there(parts).await?,
    };
    store(&parts.home, &identity)?;
    parts.credentials.replace(identity).map_err(|error| error.to_string())?;
    Ok(parts.credentials.current())
}

fn renew_here(
    authority: &Authority,
    current: &Identity,
) -> Result<Identity, aevrion_core::identity::IdentityError> {
    let request = current.key().signing_request()?;
    current.renewed(authority.issue(&request, SystemWall.now(), CERTIFICATE_VALIDITY)?)
}

/// Asks one node after the other: most do not hold the authority, and say so.
async fn renew_there(parts: &Parts) -> Result<Identity, String> {
    let mut refusals = Vec::new();
    for peer in nodes_to_ask(&parts.sync) {
        let Some(transport) = transport_of(&parts.transports, &peer) else { continue };
        match transport.renew(peer.address()).await {
            Ok(identity) => return Ok(identity),
            Err(error) => refusals.push(format!("{peer}: {error}")),
        }
    }
    Err(if refusals.is_empty() { "there is no neighbour to ask".to_owned() } else { refusals.join("; ") })
}

/// Those that are dialled first, for there they listen; then where neighbours are, which over TCP leads nowhere if it was
/// they who dialled.
fn nodes_to_ask(sync: &Sync) -> Vec<Peer> {
    let mut peers = sync.peers();
    let neighbours = sync.neighbours().into_iter().filter_map(|one| one.address.parse().ok());
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

fn store(home: &Home, identity: &Identity) -> Result<(), String> {
    home.keep(identity).map_err(|failure| failure.to_string())
}

#[cfg(test)]
mod tests {
    use aevrion_core::identity::NodeKey;

    use super::*;

    #[test]
    fn what_to_do_about_a_certificate_depends_on_where_the_authority_is() {
        let now = SystemWall.now();
        let authority = Authority::make(now).unwrap();
        let credentials = |days: u64| {
            let validity = Duration::from_secs(days * 24 * 60 * 60);
            Credentials::new(authority.admit(NodeKey::generate().unwrap(), now, validity).unwrap())
        };
        assert_eq!(alarm(&credentials(20), true), None);
        let [here, there] = [true, false].map(|here| alarm(&credentials(10), here).unwrap());
        assert!(here.contains("the log") && !here.contains("reaches"), "{here}");
        assert!(there.contains("reaches the node with the authority"), "{there}");
    }
}
