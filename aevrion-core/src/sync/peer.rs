//! Where a peer is said to be: `quic://host:port`, or `host:port` over the node's own transport.

use std::fmt;
use std::str::FromStr;

use crate::transport::host_and_port;

/// An address, perhaps with the transport by which it is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    transport: Option<String>,
    address: String,
}

impl Peer {
    /// The peer at `address` (`host:port`) by this transport.
    pub fn over(transport: &str, address: impl Into<String>) -> Self {
        Self { transport: Some(transport.to_owned()), address: address.into() }
    }

    /// The name of its transport, if it was given.
    pub fn transport(&self) -> Option<&str> {
        self.transport.as_deref()
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Some(transport) => write!(f, "{transport}://{}", self.address),
            None => f.write_str(&self.address),
        }
    }
}

/// A text that names no peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not the address of a node: give host:port, quic://host:port or tcp://host:port", .0.escape_debug())]
pub struct NotAPeer(String);

impl FromStr for Peer {
    type Err = NotAPeer;

    fn from_str(text: &str) -> Result<Self, NotAPeer> {
        let (transport, address) = match text.split_once("://") {
            Some((transport, address)) => (Some(transport), address),
            None => (None, text),
        };
        let named =
            transport.is_none_or(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()));
        if !named || host_and_port(address).is_err() {
            return Err(NotAPeer(text.to_owned()));
        }
        Ok(Self { transport: transport.map(str::to_owned), address: address.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["quic://127.0.0.1:7388", "tcp://[::1]:1", "host.example:7388"] {
            assert_eq!(text.parse::<Peer>().map(|peer| peer.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "host", "host:", "host:0", ":7388", "quic://", "://h:1", "h:99999"] {
            assert_eq!(text.parse::<Peer>(), Err(NotAPeer(text.to_owned())));
        }
        // What no transport could dial.
        for text in ["::1:7388", "[::1:7388", "a b:1", " h:1", "h\u{1b}[31m:1", "tcp://h\n:1"] {
            assert_eq!(text.parse::<Peer>(), Err(NotAPeer(text.to_owned())));
        }
    }
}
