//! Joining a cluster, and renewing the certificate of a node.

use std::net::{Ipv6Addr, SocketAddr};

use aevrion_core::identity::join::{JoinError, Joined, Token, ask_to_join, ask_to_renew};
use aevrion_core::identity::{Credentials, Identity, NodeKey};
use aevrion_core::transport::{Limits, TransportError};
use aevrion_net::{BindError, GRACE, in_time};
use quinn::{Connection, Endpoint};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::CLOSED;
use crate::dial::connect;
use crate::error::dial_error;
use crate::settings;

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
    let unreachable = |what: String| TransportError::Unreachable { address: address.to_owned(), what };
    let config = settings::client(Credentials::joining(token.authority)?, limits);
    let config = config.map_err(|error: BindError| unreachable(error.to_string()))?;
    let (endpoint, here) = endpoint().map_err(|error| unreachable(error.to_string()))?;
    let joining = async {
        let connection = connect(&endpoint, here, address, &config, limits).await?;
        let mut stream = open(&connection, address).await?;
        let joined = ask_to_join(&mut stream, token, key, addresses).await;
        connection.close(CLOSED, b"");
        joined
    };
    let joined = in_time(limits, address, joining).await;
    // Until the close is sent.
    let _ = tokio::time::timeout(GRACE, endpoint.wait_idle()).await;
    joined
}

/// Asks the node at the other end, which was dialled at `address`, for a new certificate.
pub(crate) async fn renew(
    connection: &Connection,
    address: &str,
    identity: &Identity,
) -> Result<Identity, JoinError> {
    let mut stream = open(connection, address).await?;
    let renewed = ask_to_renew(&mut stream, identity).await;
    connection.close(CLOSED, b"");
    renewed
}

/// An endpoint to dial from before this node listens: for IPv4 and IPv6, where the system has both.
fn endpoint() -> std::io::Result<(Endpoint, SocketAddr)> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let endpoint = Endpoint::client(both).or_else(|_| Endpoint::client(SocketAddr::from(([0; 4], 0))))?;
    let here = endpoint.local_addr()?;
    Ok((endpoint, here))
}

async fn open(
    connection: &Connection,
    address: &str,
) -> Result<impl AsyncRead + AsyncWrite + Unpin, TransportError> {
    let stream = connection.open_bi().await.map_err(|error| dial_error(address, &error))?;
    Ok(tokio::io::join(stream.1, stream.0))
}
