//! What a new node is told about the cluster, beside its certificate.

use aevrion_core::Parameters;
use aevrion_core::replication::{Member, Members, Peer};
use aevrion_core::transport::Removal;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The cluster's parameters, where its other nodes are, and which are none any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) parameters: Parameters,
    peers: Vec<String>,
    /// Whose addresses they are, as far as that is known. An older node does not say.
    #[serde(default)]
    members: Vec<Told>,
    /// What the authority has said of removed nodes, hexadecimal. It would come with the events as well, but perhaps only
    /// after a removed node has come.
    #[serde(default)]
    removals: Vec<String>,
}

/// A node and its addresses.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Told {
    id: String,
    addresses: Vec<String>,
}

impl Welcome {
    /// Tells of those whose addresses were named by people, or by themselves when they joined; and of those who were
    /// removed.
    pub(super) fn new(parameters: Parameters, members: &[Member], removals: &[Removal]) -> Self {
        let texts = |member: &Member| member.told.iter().map(ToString::to_string).collect::<Vec<_>>();
        let told = members.iter().filter(|member| !member.told.is_empty());
        let told =
            told.filter_map(|member| Some(Told { id: member.id?.to_string(), addresses: texts(member) }));
        let removals = removals.iter().map(|removal| hex::encode(&removal.statement)).collect();
        Self {
            parameters,
            peers: members.iter().flat_map(texts).collect(),
            members: told.collect(),
            removals,
        }
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
        parsed(&self.peers)
    }

    /// Has them known.
    pub(super) fn introduce_to(&self, members: &Members) {
        for Told { id, addresses } in &self.members {
            if let Ok(id) = id.parse() {
                members.introduce(id, &parsed(addresses));
            }
        }
        self.peers().iter().for_each(|peer| members.expect(peer));
    }
}

fn parsed(texts: &[String]) -> Vec<Peer> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
