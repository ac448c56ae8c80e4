//! Resolving the host of an address.

use std::net::SocketAddr;

use aevrion_core::transport::{TransportError, host_and_port};

/// The most addresses tried for one host: more than any sensible name has.
const MOST_ADDRESSES: usize = 8;

/// Resolves `address` (`host:port`) with the system's resolver.
///
/// # Errors
/// [`TransportError::BadAddress`], or [`TransportError::Unreachable`] if there is no such host.
pub async fn resolve(address: &str) -> Result<Vec<SocketAddr>, TransportError> {
    let (host, port) = host_and_port(address)?;
    let unreachable = |what: String| TransportError::Unreachable { address: address.to_owned(), what };
    let found =
        tokio::net::lookup_host((host, port)).await.map_err(|error| unreachable(error.to_string()))?;
    let found: Vec<_> = found.take(MOST_ADDRESSES).collect();
    if found.is_empty() { Err(unreachable("the host has no address".to_owned())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_stands_for_itself_and_a_bad_one_is_not_looked_up() {
        assert_eq!(resolve("[::1]:7388").await.unwrap(), ["[::1]:7388".parse().unwrap()]);
        assert!(matches!(resolve("::1:7388").await, Err(TransportError::BadAddress { .. })));
    }
}
