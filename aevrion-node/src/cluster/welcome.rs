//! What a new node is told about the cluster, beside its certificate.

use aevrion_core::Parameters;
use aevrion_core::sync::Peer;
use aevrion_core::transport::Removal;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// The cluster's parameters, where its other nodes are, and which are none any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) parameters: Parameters,
    peers: Vec<String>,
    /// What the authority has said of them, hexadecimal. It would come with the events as well, but perhaps only after a
    /// removed node has come.
    #[serde(default)]
    removals: Vec<String>,
}

impl Welcome {
    pub(super) fn new(parameters: Parameters, peers: &[Peer], removals: &[Removal]) -> Self {
        let peers = peers.iter().map(ToString::to_string).collect();
        let removals = removals.iter().map(|removal| hex::encode(&removal.statement)).collect();
        Self { parameters, peers, removals }
    }

    /// Fields that this version does not know are ignored: a newer node may say more.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(bytes)
            .map_err(|error| Failure::error(format!("the node's welcome cannot be understood: {error}")))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Statements of removals. Whether they are true is for the reader to see.
    pub(super) fn removals(&self) -> impl Iterator<Item = Vec<u8>> {
        self.removals.iter().filter_map(|text| hex::decode(text).ok())
    }

    /// Where the others are, as far as their addresses make sense.
    pub(super) fn peers(&self) -> Vec<Peer> {
        self.peers.iter().filter_map(|text| text.parse().ok()).collect()
    }
}
