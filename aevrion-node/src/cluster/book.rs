//! The addresses of neighbours, as the store remembers them.

use aevrion_core::Replica;
use aevrion_core::sync::Peer;

use crate::exit::Failure;

/// Under which name the store remembers them.
const PEERS: &str = "peers";

/// Addresses remembered: what comes beyond is dialled, but forgotten with the process.
const MOST_PEERS: usize = 1_000;

/// Those that are remembered. What cannot be read is passed over: it can be learned again.
pub(crate) async fn peers_in(replica: &Replica) -> Result<Vec<Peer>, Failure> {
    let Some(row) = replica.setting(PEERS).await? else { return Ok(Vec::new()) };
    let texts: Vec<String> = serde_json::from_slice(&row).unwrap_or_default();
    Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
}

/// Remembers these, too.
pub(super) async fn remember_peers(replica: &Replica, more: &[Peer]) -> Result<(), Failure> {
    let mut peers = peers_in(replica).await?;
    let known = peers.len();
    peers.extend(more.iter().filter(|peer| !peers.contains(peer)).cloned().collect::<Vec<_>>());
    peers.truncate(MOST_PEERS);
    if peers.len() == known {
        return Ok(());
    }
    let texts: Vec<String> = peers.iter().map(ToString::to_string).collect();
    let row = serde_json::to_vec(&texts).map_err(Failure::error)?;
    Ok(replica.remember(PEERS, Some(row.into())).await?)
}
