//! `cluster`: creating one, issuing tokens, joining, listing and forgetting nodes.

use std::io::{self, Read};
use std::path::Path;

use aevrion_core::replication::Member;
use aevrion_core::{Replica, Timestamp};

use crate::backend::Backend;
use crate::cli::{ClusterVerb, Format, Global, ServeFile};
use crate::cluster::{self, ClusterDir, MemberStore, Newcomer, TOKENS_BY_FILE};
use crate::data::{self, Purpose};
use crate::failure::Failure;
use crate::moment;
use crate::output::{print_all, print_document, print_fields, print_line, print_table};
use crate::peer::{MemberSelector, TransportKind, parse_peer};
use crate::report::{ForgetReport, NeighbourReport};
use crate::stderr::say;

/// Runs a verb of `cluster`.
pub(super) async fn run(global: &Global, file: ServeFile, verb: ClusterVerb) -> Result<(), Failure> {
    match verb {
        ClusterVerb::Init => init(global).await,
        ClusterVerb::Token => token(global),
        ClusterVerb::Join { peer, token, advertise, transports } => {
            join(global, &peer, &token, advertise, &transports.or(file.transport)).await
        }
        ClusterVerb::Nodes => nodes(global).await,
        ClusterVerb::Remove { node } => super::remove::run(global, &node).await,
        ClusterVerb::Forget { whom } => forget(global, &whom).await,
    }
}

/// Creates a cluster whose first node is this directory.
async fn init(global: &Global) -> Result<(), Failure> {
    let cluster_dir = ClusterDir::of(data::directory(global)?);
    cluster_dir.expect_no_identity()?;
    // The store first: a directory that cannot hold a store must not become a member.
    data::open(global).await?.close().await?;
    let identity = cluster_dir.create_cluster()?;
    print_fields(&[("node", identity.node().to_string()), ("authority", identity.authority().to_string())])?;
    say!("the key of the authority stays in this directory: keep a copy in a safe place");
    say!(
        "next: `aevrion serve` with the same --data (and --listen 0.0.0.0:7388 if nodes on other machines are to join), \
         then `aevrion cluster token --data DIR` for each of them"
    );
    Ok(())
}

/// Prints a token by which one machine can join. The directory issues it, even while a server runs on it: a server does
/// not authenticate its clients.
fn token(global: &Global) -> Result<(), Failure> {
    let data = global.data.as_ref().ok_or_else(|| Failure::not_allowed(TOKENS_BY_FILE))?;
    print_line(&ClusterDir::of(data).issue_token()?.to_string())?;
    say!(
        "good for one node, within the hour: aevrion cluster join ADDRESS TOKEN --data DIR, where ADDRESS is that of \
         this node as the other one reaches it, such as host:7388"
    );
    Ok(())
}

/// Makes this directory a node of the cluster that `peer` belongs to.
async fn join(
    global: &Global,
    peer: &str,
    token: &str,
    advertise: Option<String>,
    transports: &[TransportKind],
) -> Result<(), Failure> {
    let data = data::directory(global)?;
    let cluster_dir = ClusterDir::of(data);
    cluster_dir.expect_no_identity()?;
    let token = if token == "-" { read_token()? } else { token.to_owned() };
    let token = token.trim().parse().map_err(Failure::usage)?;
    let peer = parse_peer(peer, transports.first().copied().unwrap_or_else(TransportKind::usual))?;
    let addresses: Vec<String> = advertise
        .iter()
        .flat_map(|address| transports.iter().map(move |kind| format!("{}://{address}", kind.name())))
        .collect();
    // The token is good for one machine: every possible failure should come before its use.
    data::try_out(data, global).await?;
    let newcomer = Newcomer::ask(&cluster_dir, peer, &token, &addresses).await?;
    newcomer.expect_fitting(global)?;
    let replica = data::open_with(global, newcomer.options()).await?;
    newcomer.settle(&replica, &cluster_dir).await?;
    replica.close().await?;
    print_fields(&[
        ("node", newcomer.identity.node().to_string()),
        ("authority", newcomer.identity.authority().to_string()),
        ("peers", newcomer.peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    ])?;
    say!("next: `aevrion serve` with the same --data, and --listen if others are to reach it from elsewhere");
    Ok(())
}

/// Reads a token from standard input. It is short; longer input is invalid.
fn read_token() -> Result<String, Failure> {
    let mut token = String::new();
    let read = io::stdin().lock().take(1_024).read_to_string(&mut token);
    read.map_err(|error| Failure::error(format!("cannot read the token from standard input: {error}")))?;
    Ok(token)
}

/// Lists the known nodes: a running node's neighbours, connected or not, or the members in a directory's store.
async fn nodes(global: &Global) -> Result<(), Failure> {
    let neighbours = match &global.data {
        None => Backend::open(global, Purpose::Read).await?.status().await?.nodes(),
        Some(data) => {
            let replica = data::open_for(global, Purpose::Read).await?;
            let known = known_in(data, &replica).await;
            replica.close().await?;
            known?
        }
    };
    match global.output.unwrap_or_default() {
        format @ (Format::Json | Format::Jsonl) => print_all(format, &neighbours),
        Format::Raw => {
            neighbours.iter().try_for_each(|neighbour| print_line(super::neighbours::name_of(neighbour)))
        }
        Format::Table => {
            let rows: Vec<_> = neighbours.iter().map(row).collect();
            print_table(&["NODE", "ADDRESS", "STATE", "LAST SEEN", "AGREED UNTIL"], &rows)
        }
    }
}

fn row(neighbour: &NeighbourReport) -> Vec<String> {
    let mut row = super::neighbours::who_and_where(neighbour);
    for moment in [neighbour.last_seen, neighbour.agreed_until] {
        row.push(moment.map_or_else(|| "-".to_owned(), |ms| moment::show(Timestamp::from_millis(ms))));
    }
    row
}

/// The members and the removed nodes in a directory's store.
async fn known_in(data: &Path, replica: &Replica) -> Result<Vec<NeighbourReport>, Failure> {
    let members = MemberStore::of(replica).await?.members().list();
    let removed = match ClusterDir::of(data).identity()? {
        Some(identity) => cluster::removed_from(replica, identity).await?.all(),
        None => Vec::new(),
    };
    let is_removed = |member: &&Member| removed.iter().any(|removal| member.id == Some(removal.node));
    let members = members.iter().filter(|member| !is_removed(member)).map(NeighbourReport::remembered);
    let removed = removed.iter().map(|removal| NeighbourReport::removed(&removal.into()));
    Ok(members.chain(removed).collect())
}

/// Forgets a node or an address: a running node does so itself, and stops dialling there.
async fn forget(global: &Global, selector: &MemberSelector) -> Result<(), Failure> {
    let report = if global.data.is_none() {
        Backend::open(global, Purpose::Read).await?.forget(selector).await?
    } else {
        let replica = data::open_for(global, Purpose::Mend).await?;
        let forgotten = match MemberStore::of(&replica).await {
            Ok(member_store) => member_store.forget(selector).await,
            Err(error) => Err(error.into()),
        };
        replica.close().await?;
        ForgetReport::from(&forgotten?[..])
    };
    let names = if report.forgotten.is_empty() { &report.nodes } else { &report.forgotten };
    if names.is_empty() {
        return Err(Failure::not_found(format!("{selector} is not remembered: see `aevrion cluster nodes`")));
    }
    match global.output.unwrap_or_default() {
        format @ (Format::Json | Format::Jsonl) => print_document(format, &report),
        Format::Table | Format::Raw => names.iter().try_for_each(|name| print_line(name)),
    }
}
