//! The usual handler of joins: it admits every machine with a token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{JoinHandler, JoinRefusal, JoinRequest, RedeemError, Secret, Tokens, Welcome};
use crate::identity::{Authority, CERTIFICATE_VALIDITY, IdentityError};
use crate::transport::Removals;
use crate::{NodeId, WallClock};

/// Returns the cluster information for a new node, given its id and its addresses. It is called once for each admitted
/// node, after its token was redeemed, and so may record the node as well.
type MakeWelcome = Box<dyn Fn(NodeId, &[String]) -> Vec<u8> + Send + Sync>;

/// Admits machines with a token, and renews the certificates of nodes. It runs where the authority's key is.
pub struct Registrar {
    core: Arc<Core>,
    make_welcome: MakeWelcome,
}

struct Core {
    authority: Authority,
    tokens: Tokens,
    removals: Removals,
    wall: Arc<dyn WallClock>,
    validity: Duration,
}

impl Registrar {
    /// Refuses the nodes among the `removals`. `make_welcome` produces the opaque part of the welcome.
    pub fn new(
        authority: Authority,
        tokens: Tokens,
        removals: Removals,
        wall: impl WallClock,
        make_welcome: impl Fn(NodeId, &[String]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let (wall, validity) = (Arc::new(wall), CERTIFICATE_VALIDITY);
        let core = Core { authority, tokens, removals, wall, validity };
        Self { core: Arc::new(core), make_welcome: Box::new(make_welcome) }
    }
}

impl Core {
    /// Admits a node and issues its certificate. Blocks on the disk.
    fn join(&self, request: &JoinRequest) -> Result<(NodeId, Vec<u8>), JoinRefusal> {
        let now = self.wall.now();
        // Checked before the token: an invalid request must not use it up.
        let node = self.asking(&request.signing_request)?;
        let secret = Secret::from_bytes(request.secret);
        self.tokens.redeem(&secret, node, now).map_err(|error| match error {
            RedeemError::Refused(refusal) => refusal,
            RedeemError::File(error) => failed(&error),
        })?;
        Ok((node, self.issue(&request.signing_request)?))
    }

    fn renew(&self, node: NodeId, signing_request: &[u8]) -> Result<Vec<u8>, JoinRefusal> {
        if self.asking(signing_request)? != node {
            return Err(JoinRefusal::BadRequest);
        }
        self.issue(signing_request)
    }

    /// The node of the request's key, unless it was removed.
    fn asking(&self, signing_request: &[u8]) -> Result<NodeId, JoinRefusal> {
        let node = Authority::node_asking(signing_request).map_err(|_| JoinRefusal::BadRequest)?;
        if self.removals.of(node).is_some() { Err(JoinRefusal::Removed) } else { Ok(node) }
    }

    fn issue(&self, signing_request: &[u8]) -> Result<Vec<u8>, JoinRefusal> {
        let issued = self.authority.issue(signing_request, self.wall.now(), self.validity);
        issued.map_err(|error| failed(&error))
    }
}

fn failed(error: &IdentityError) -> JoinRefusal {
    tracing::error!("a request to join or renew failed here: {error}");
    JoinRefusal::Failed
}

#[async_trait]
impl JoinHandler for Registrar {
    async fn join(&self, request: JoinRequest, from: &str) -> Result<Welcome, JoinRefusal> {
        let (core, addresses) = (Arc::clone(&self.core), request.addresses.clone());
        let joined = tokio::task::spawn_blocking(move || core.join(&request)).await;
        let (node, certificate) = joined.map_err(|_| JoinRefusal::Failed)??;
        tracing::info!(%node, from, "a new node has joined");
        let authority = self.core.authority.certificate().to_vec();
        Ok(Welcome { certificate, authority, welcome: (self.make_welcome)(node, &addresses) })
    }

    async fn renew(&self, node: NodeId, signing_request: Vec<u8>) -> Result<Vec<u8>, JoinRefusal> {
        self.core.renew(node, &signing_request)
    }
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar").field("authority", &self.core.authority).finish_non_exhaustive()
    }
}
