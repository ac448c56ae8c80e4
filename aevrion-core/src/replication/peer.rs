//! The address of a peer: `quic://host:port`, or `host:port` over the node's first transport.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::transport::host_and_port;

/// An address, optionally with the transport that reaches it.
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

    /// The name of its transport, if given.
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

/// A text that is not a peer address.
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

/// The addresses to dial for a node that connects `from` an address and claims to listen at `listens`. An unspecified
/// address stands for the one that it connects from. A loopback address of another machine is left out.
pub(super) fn claimed(listens: &[String], from: &str) -> Vec<Peer> {
    let from = from.parse().ok().and_then(|peer: Peer| ip_of(&peer));
    let complete = |text: &String| {
        let peer: Peer = text.parse().ok()?;
        let transport = peer.transport()?;
        match (ip_of(&peer), from) {
            (Some(here), Some(from)) if here.is_unspecified() => {
                let (_, port) = host_and_port(peer.address()).ok()?;
                Some(Peer::over(transport, SocketAddr::from((from, port)).to_string()))
            }
            (Some(here), from) if here.is_unspecified() || here.is_loopback() => {
                from.is_some_and(|from| here.is_loopback() && from.is_loopback()).then_some(peer)
            }
            _ => Some(peer),
        }
    };
    listens.iter().filter_map(complete).collect()
}

/// The IP address of a peer, unless its host is a name.
fn ip_of(peer: &Peer) -> Option<IpAddr> {
    let (host, _) = host_and_port(peer.address()).ok()?;
    host.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// The address of a node: its first listening address, or else the address that it connects from.
pub(super) fn place_of(listens: &[String], from: &str) -> String {
    claimed(listens, from).first().map_or_else(|| from.to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_node_listens_is_completed_by_where_it_comes_from() {
        let far = "tcp://192.0.2.7:50123";
        for (said, from, meant) in [
            ("quic://192.0.2.1:7388", far, Some("quic://192.0.2.1:7388")),
            ("quic://0.0.0.0:7388", far, Some("quic://192.0.2.7:7388")),
            ("tcp://[::]:7388", "tcp://[2001:db8::1]:9", Some("tcp://[2001:db8::1]:7388")),
            ("tcp://[::]:7388", "tcp://[::ffff:192.0.2.7]:9", Some("tcp://192.0.2.7:7388")),
            ("quic://127.0.0.1:7388", far, None),
            ("quic://127.0.0.2:7388", "quic://127.0.0.1:5", Some("quic://127.0.0.2:7388")),
            ("quic://0.0.0.0:7388", "memory:1", None),
            ("memory://memory:2", "memory://memory:1", Some("memory://memory:2")),
            ("quic://host.example:7388", far, Some("quic://host.example:7388")),
            ("192.0.2.1:7388", far, None),
            ("quic://192.0.2.1", far, None),
            ("\u{1b}[2J", far, None),
        ] {
            let claimed: Vec<_> = claimed(&[said.to_owned()], from).iter().map(ToString::to_string).collect();
            assert_eq!(claimed, meant.into_iter().collect::<Vec<_>>(), "{said} from {from}");
        }
    }

    #[test]
    fn text_round_trips() {
        for text in ["quic://127.0.0.1:7388", "tcp://[::1]:1", "host.example:7388"] {
            assert_eq!(text.parse::<Peer>().map(|peer| peer.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "host", "host:", "host:0", ":7388", "quic://", "://h:1", "h:99999"] {
            assert_eq!(text.parse::<Peer>(), Err(NotAPeer(text.to_owned())));
        }
        // No transport could dial these.
        for text in ["::1:7388", "[::1:7388", "a b:1", " h:1", "h\u{1b}[31m:1", "tcp://h\n:1"] {
            assert_eq!(text.parse::<Peer>(), Err(NotAPeer(text.to_owned())));
        }
    }
}
