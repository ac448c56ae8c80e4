//! What a new node is told about the cluster, beside its certificate.

use aevrion_core::Parameters;
use aevrion_core::sync::Peer;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// The cluster's parameters, and where its other nodes are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) parameters: Parameters,
    peers: Vec<String>,
}

impl Welcome {
    pub(super) fn new(parameters: Parameters, peers: &[Peer]) -> Self {
        Self { parameters, peers: peers.iter().map(ToString::to_string).collect() }
    }

    /// Fields that this version does not know are ignored: a newer node may say more.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(bytes)
            .map_err(|error| Failure::error(format!("the node's welcome cannot be understood: {error}")))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Where the others are, as far as their addresses make sense.
    pub(super) fn peers(&self) -> Vec<Peer> {
        self.peers.iter().filter_map(|text| text.parse().ok()).collect()
    }
}
