//! `cluster`: making one, letting others in, joining it.

use std::net::SocketAddr;
use std::path::Path;

use crate::backend::Backend;
use crate::cli::{ClusterVerb, Global, TransportKind};
use crate::cluster::{self, Home, Newcomer, peers_in};
use crate::data;
use crate::exit::Failure;
use crate::output::{print_fields, print_line};

/// Does what `cluster` asks for.
pub(super) async fn run(global: &Global, verb: ClusterVerb) -> Result<(), Failure> {
    match verb {
        ClusterVerb::Init => init(global).await,
        ClusterVerb::Token => token(global).await,
        ClusterVerb::Join { peer, token, advertise, transports } => {
            join(global, &peer, &token, advertise, &transports.or(None)).await
        }
        ClusterVerb::Nodes => nodes(global).await,
    }
}

/// Makes a cluster whose first node is this directory.
async fn init(global: &Global) -> Result<(), Failure> {
    let home = Home::of(directory(global)?);
    home.expect_nobody()?;
    // The store first: a directory that cannot be one must not become a member.
    data::open(global).await?.close().await?;
    let identity = home.found()?;
    print_fields(&[("node", identity.node().to_string()), ("authority", identity.authority().to_string())])?;
    anstream::eprintln!("the key of the authority stays in this directory: keep a copy in a safe place");
    anstream::eprintln!(
        "next: `aevrion serve` here, then `aevrion cluster token` for each node that is to join"
    );
    Ok(())
}

/// Prints a token by which one machine can join. A directory issues it itself, also while a server runs on it.
async fn token(global: &Global) -> Result<(), Failure> {
    let token = match &global.data {
        Some(data) => Home::of(data).issue_token()?.to_string(),
        None => Backend::open(global).await?.token().await?,
    };
    print_line(&token)?;
    anstream::eprintln!(
        "good for one node, within the hour: aevrion cluster join HOST:7388 TOKEN --data DIR"
    );
    Ok(())
}

/// Makes this directory a node of the cluster that `peer` belongs to.
async fn join(
    global: &Global,
    peer: &str,
    token: &str,
    advertise: Option<SocketAddr>,
    transports: &[TransportKind],
) -> Result<(), Failure> {
    let data = directory(global)?;
    let home = Home::of(data);
    home.expect_nobody()?;
    let token = token.parse().map_err(Failure::usage)?;
    let peer = cluster::parse_peer(peer, transports.first().copied().unwrap_or_else(TransportKind::usual))?;
    let addresses: Vec<String> = advertise
        .iter()
        .flat_map(|address| transports.iter().map(move |kind| format!("{}://{address}", kind.name())))
        .collect();
    // The token is good for one attempt: whatever can fail here is to fail before.
    data::try_out(data, global).await?;
    let newcomer = Newcomer::ask(peer, &token, &addresses).await?;
    newcomer.expect_fitting(global)?;
    let replica = data::open_with(global, newcomer.options()).await?;
    newcomer.settle(&replica, &home).await?;
    replica.close().await?;
    print_fields(&[
        ("node", newcomer.identity.node().to_string()),
        ("authority", newcomer.identity.authority().to_string()),
        ("peers", newcomer.peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    ])?;
    anstream::eprintln!("next: `aevrion serve` with the same --data");
    Ok(())
}

/// The nodes that this one knows: those a running node is or tries to be connected to, or the addresses that a
/// directory remembers.
async fn nodes(global: &Global) -> Result<(), Failure> {
    if global.data.is_none() {
        let backend = Backend::open(global).await?;
        return super::sync::print_neighbours(global, &backend.status().await?.neighbours);
    }
    let replica = data::open(global).await?;
    let peers = peers_in(&replica).await;
    replica.close().await?;
    peers?.iter().try_for_each(|peer| print_line(&peer.to_string()))
}

fn directory(global: &Global) -> Result<&Path, Failure> {
    let which = || Failure::usage("which node? Give its directory with --data DIR, or set AEVRION_DATA");
    global.data.as_deref().ok_or_else(which)
}
