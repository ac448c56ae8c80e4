//! The description of the cluster that a new node receives with its certificate.

use aevrion_core::Parameters;
use aevrion_core::identity::{ClusterKey, IdentityError};
use aevrion_core::replication::{Member, Members, Peer};
use aevrion_core::transport::Removal;
use serde::{Deserialize, Serialize};

/// The cluster's parameters and its key, the addresses of its nodes, and the removed nodes. Not printed.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) parameters: Parameters,
    peers: Vec<String>,
    /// The nodes at these addresses, as far as known. An older node does not send them.
    #[serde(default)]
    members: Vec<MemberAddresses>,
    /// The authority's statements of removal, hexadecimal. They also come with the events, but perhaps only after a
    /// removed node has connected.
    #[serde(default)]
    removals: Vec<String>,
    /// The key of the cluster, hexadecimal. An older cluster has none.
    #[serde(default)]
    cluster_key: Option<String>,
}

/// A node and its addresses.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct MemberAddresses {
    id: String,
    addresses: Vec<String>,
}

/// The welcome cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("the node's welcome cannot be understood: {0}")]
pub(crate) struct UnreadableWelcome(#[from] serde_json::Error);

impl Welcome {
    /// Lists the addresses that people configured or that nodes gave when they joined, and the removals.
    pub(super) fn new(
        parameters: Parameters,
        cluster_key: Option<ClusterKey>,
        members: &[Member],
        removals: &[Removal],
    ) -> Self {
        let texts = |member: &Member| member.told.iter().map(ToString::to_string).collect::<Vec<_>>();
        let told = members.iter().filter(|member| !member.told.is_empty());
        let told = told.filter_map(|member| {
            Some(MemberAddresses { id: member.id?.to_string(), addresses: texts(member) })
        });
        let removals = removals.iter().map(|removal| hex::encode(&removal.statement)).collect();
        Self {
            parameters,
            peers: members.iter().flat_map(texts).collect(),
            members: told.collect(),
            removals,
            cluster_key: cluster_key.map(|key| key.to_hex()),
        }
    }

    /// The key of the cluster.
    pub(super) fn cluster_key(&self) -> Result<Option<ClusterKey>, IdentityError> {
        self.cluster_key.as_deref().map(ClusterKey::from_hex).transpose()
    }

    /// Fields that this version does not know are ignored: a newer node may say more.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, UnreadableWelcome> {
        Ok(serde_json::from_slice(bytes)?)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The statements of removal. Their signatures are not checked here.
    pub(super) fn removals(&self) -> impl Iterator<Item = Vec<u8>> {
        self.removals.iter().filter_map(|text| hex::decode(text).ok())
    }

    /// The addresses that can be parsed.
    pub(super) fn peers(&self) -> Vec<Peer> {
        parsed(&self.peers)
    }

    /// Adds these nodes to the members.
    pub(super) fn introduce_to(&self, members: &Members) {
        for MemberAddresses { id, addresses } in &self.members {
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
