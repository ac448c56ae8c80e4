//! `cluster remove`: removes a node from the cluster. The authority signs here; the statement then goes to the node
//! that has the store open, or into the store itself.

use aevrion_core::identity::Authority;
use aevrion_core::replication::RemovalError;
use aevrion_core::{NodeId, Options, Replica, SystemWall, Timestamp, WallClock};
use bytes::Bytes;

use crate::backend::Backend;
use crate::cli::{Format, Global};
use crate::client::Client;
use crate::cluster::{self, ClusterDir, HOLDS_AUTHORITY, MemberStore};
use crate::data::{self, Opened, Purpose};
use crate::failure::{Failure, FailureKind};
use crate::output::{print_document, print_fields};
use crate::report::RemovedNode;
use crate::stderr::say;

/// Removes the node whose id is `text`, or begins with it.
pub(super) async fn run(global: &Global, text: &str) -> Result<(), Failure> {
    let cluster_dir = ClusterDir::of(data::directory(global)?);
    let authority = cluster_dir.expect_authority()?;
    let own = cluster_dir.identity()?.map(|identity| identity.node());
    let signer = Signer { authority, own, text };
    let removed = match data::try_open(global, Options::default(), Purpose::Write).await? {
        Opened::Here(replica) => {
            let removed = in_store(&replica, &cluster_dir, &signer).await;
            replica.close().await?;
            removed?
        }
        Opened::Elsewhere(_) => by_node(global, &signer).await?,
    };
    tell(global, &removed)
}

/// The authority's key, and the node to remove.
struct Signer<'t> {
    authority: Authority,
    own: Option<NodeId>,
    text: &'t str,
}

impl Signer<'_> {
    /// The signed statement about the node, found in `known`. The node that holds the authority cannot be removed.
    fn statement(&self, known: &[NodeId]) -> Result<Bytes, Failure> {
        let all: Vec<_> = known.iter().copied().chain(self.own).collect();
        let node = named(self.text, &all)?;
        if self.own == Some(node) {
            return Err(Failure::not_allowed(HOLDS_AUTHORITY));
        }
        self.authority.remove(node, SystemWall.now()).map_err(Failure::error)
    }
}

/// No server runs on the directory: its neighbours get the statement when one does.
async fn in_store(
    replica: &Replica,
    cluster_dir: &ClusterDir,
    signer: &Signer<'_>,
) -> Result<RemovedNode, Failure> {
    let identity = cluster_dir.identity()?.ok_or_else(|| Failure::error(cluster::NO_CLUSTER))?;
    let removals = cluster::removed_from(replica, identity).await?;
    if let Some(removal) = signer.own.and_then(|own| removals.of(own)) {
        return Err(Failure::not_allowed(format!("{}: it removes nobody", removal.own_words())));
    }
    let members = MemberStore::of(replica).await?.members().list();
    let members = members.iter().filter_map(|member| member.id);
    let known: Vec<_> = members.chain(removals.all().iter().map(|removal| removal.node)).collect();
    let statement = signer.statement(&known)?;
    let removal = replica.remove_node(&removals, &statement).await.map_err(|error| match error {
        RemovalError::Write(error) => error.into(),
        error => Failure::error(error),
    })?;
    Ok(RemovedNode::from(&removal))
}

/// A server runs on the directory, so it gets the statement.
async fn by_node(global: &Global, signer: &Signer<'_>) -> Result<RemovedNode, Failure> {
    let node = Backend::Remote(Client::new(global.endpoint.as_deref(), global.timeout())?);
    let status = node.status().await.map_err(|failure| match failure.is(FailureKind::Unreachable) {
        true => {
            failure.and("another process has --data open: give the --endpoint of the node that serves it")
        }
        false => failure,
    })?;
    if signer.own.is_none_or(|own| own.to_string() != status.node_id) {
        return Err(Failure::usage(format!(
            "the node at the endpoint is {}, not the one of --data: give the --endpoint of that one",
            status.node_id
        )));
    }
    let known: Vec<NodeId> =
        status.nodes().iter().filter_map(|node| node.id.as_ref()?.parse().ok()).collect();
    node.remove_node(signer.statement(&known)?).await
}

/// The node of this id, or the only known node whose id begins so.
fn named(text: &str, known: &[NodeId]) -> Result<NodeId, Failure> {
    if let Ok(node) = text.parse() {
        return Ok(node);
    }
    let beginning = text.to_ascii_lowercase();
    let is_meant = |node: &&NodeId| !text.is_empty() && node.to_string().starts_with(&beginning);
    let mut meant: Vec<_> = known.iter().filter(is_meant).copied().collect();
    meant.sort_unstable();
    meant.dedup();
    match meant[..] {
        [node] => Ok(node),
        [] => Err(Failure::not_found(format!(
            "no node is known here whose id begins with `{text}`: give the whole id, as `aevrion cluster nodes -o json` or \
             `aevrion status` at that node say it"
        ))),
        _ => {
            let all: Vec<_> = meant.iter().map(ToString::to_string).collect();
            Err(Failure::usage(format!("`{text}` may be any of {}: give more of the id", all.join(", "))))
        }
    }
}

fn tell(global: &Global, removed: &RemovedNode) -> Result<(), Failure> {
    match global.output.unwrap_or_default() {
        format @ (Format::Json | Format::Jsonl) => print_document(format, removed)?,
        Format::Table | Format::Raw => {
            let at = Timestamp::from_millis(removed.removed_at).to_utc();
            print_fields(&[("node", removed.id.clone()), ("removed", at)])?;
        }
    }
    say!(
        "every node cuts it off as soon as it hears of it; what it wrote before stays. Its machine can come back only \
         with a new key: remove the `cluster` directory of its data, and `aevrion cluster join` with a new token"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_its_id_or_by_a_beginning_that_is_no_other_ones() {
        let node = |first: u8, second: u8| {
            let mut bytes = [0xAB; 32];
            [bytes[0], bytes[1]] = [first, second];
            NodeId::from_bytes(bytes)
        };
        let [one, other, third] = [node(0x1F, 0x20), node(0x1F, 0x21), node(0x30, 0)];
        let known = [one, other, third, third];
        assert_eq!(named("3", &known).unwrap(), third);
        assert_eq!(named("1F20", &known).unwrap(), one);
        assert!(named("1f", &known).unwrap_err().is(FailureKind::Usage));
        assert!(named("4", &known).unwrap_err().is(FailureKind::NotFound));
        assert!(named("", &known).unwrap_err().is(FailureKind::NotFound));
        // A node that is not known here.
        let unknown = node(0x77, 0x77);
        assert_eq!(named(&unknown.to_string(), &known).unwrap(), unknown);
    }
}
