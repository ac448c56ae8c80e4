//! Peers and members as people name them, on the command line, in a file and in a URL.

use std::str::FromStr;

use aevrion_core::replication::{NotAPeer, Peer};
use clap::ValueEnum;
use serde::Deserialize;

use crate::failure::Failure;

/// The protocol between peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TransportKind {
    /// QUIC over UDP
    Quic,
    /// TLS over TCP
    Tcp,
}

impl TransportKind {
    /// The name in addresses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }

    /// The default transport: QUIC, if it is compiled in.
    pub(crate) fn usual() -> Self {
        if cfg!(feature = "quic") { Self::Quic } else { Self::Tcp }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Quic, Self::Tcp].into_iter().find(|kind| kind.name() == name)
    }
}

/// Parses the address of a peer; an address without a transport gets the usual one.
pub(crate) fn parse_peer(text: &str, usual: TransportKind) -> Result<Peer, Failure> {
    let peer: Peer = text.parse().map_err(Failure::usage)?;
    match peer.transport() {
        None => Ok(Peer::over(usual.name(), peer.address())),
        Some(name) if TransportKind::named(name).is_some() => Ok(peer),
        Some(name) => {
            Err(Failure::usage(format!("`{name}` is no transport: give quic://host:port or tcp://host:port")))
        }
    }
}

/// MemberSelector to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberSelector {
    /// The node whose id begins so.
    IdPrefix(String),
    /// The node at this address: over the transport that it names, or over any if it names none.
    Address(Peer),
}

impl FromStr for MemberSelector {
    type Err = NotAPeer;

    fn from_str(text: &str) -> Result<Self, NotAPeer> {
        let is_node = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_node { Ok(Self::IdPrefix(text.to_ascii_lowercase())) } else { text.parse().map(Self::Address) }
    }
}

impl std::fmt::Display for MemberSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::IdPrefix(prefix) => f.write_str(prefix),
            Self::Address(peer) => peer.fmt(f),
        }
    }
}
