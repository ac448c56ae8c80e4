//! Joining a cluster, and renewing the certificate of a node.

use std::sync::Arc;

use aevrion_core::identity::join::{JoinError, Joined, Token, ask_to_join, ask_to_renew};
use aevrion_core::identity::{Credentials, Identity, JOIN_PROTOCOL, NodeKey};
use aevrion_core::transport::Limits;

use crate::dial::connect;
use crate::state::Core;

/// Asks the node at `address` to admit the holder of `key` to the cluster of `token`, as a node that can be reached at
/// `addresses`. If the answer gets lost, the same key may ask again.
///
/// # Errors
/// [`JoinError`].
pub async fn join(
    address: &str,
    token: &Token,
    key: &NodeKey,
    addresses: &[String],
    limits: &Limits,
) -> Result<Joined, JoinError> {
    limits
        .in_time(address, async {
            let config = Arc::new(Credentials::joining(token.authority)?);
            let (mut stream, _) = connect(address, &config, JOIN_PROTOCOL, limits).await?;
            ask_to_join(&mut stream, token, key, addresses).await
        })
        .await
}

/// Asks the node at `address` for a new certificate.
pub(crate) async fn renew(core: &Core, address: &str) -> Result<Identity, JoinError> {
    core.limits
        .in_time(address, async {
            let (mut stream, _) = connect(address, &core.renewing, JOIN_PROTOCOL, &core.limits).await?;
            ask_to_renew(&mut stream, &core.credentials.current()).await
        })
        .await
}
