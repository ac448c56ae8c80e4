//! Joining a cluster.

use std::sync::Arc;

use aevrion_core::identity::join::{JoinError, Joined, Token, ask_to_join};
use aevrion_core::identity::{Credentials, JOIN_PROTOCOL, NodeKey};
use aevrion_core::transport::Limits;
use aevrion_net::in_time;

use crate::dial::connect;

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
    let joining = async {
        let config = Arc::new(Credentials::joining(token.authority)?);
        let (mut stream, _) = connect(address, &config, JOIN_PROTOCOL, limits).await?;
        ask_to_join(&mut stream, token, key, addresses).await
    };
    in_time(limits, address, joining).await
}
