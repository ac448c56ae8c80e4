//! Promises about joining.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::bench::{Bench, Cluster, counted, honest_node_gets_in, now, sound};
use crate::conformance::within;
use crate::identity::join::{
    JoinError, JoinHandler, JoinRefusal, Joining, Registrar, Secret, TOKEN_VALIDITY, Token, Tokens,
};
use crate::identity::{Authority, Credentials, NodeKey};
use crate::transport::{Refusal, Removals, TransportError};
use crate::{NodeId, SystemWall};

const JOINS: &str = "a machine with a token becomes a node";
const GOOD: &str = "a token that is not good is refused with the reason";
const AUTHORITY: &str = "a node that does not hold the authority says so";
const OTHER: &str = "a token is shown to no node of another cluster";
const RENEWS: &str = "a node gets a fresh certificate for itself, and for nobody else";

/// A node that admits others.
pub(super) struct Issuer {
    pub(super) cluster: Cluster,
    pub(super) transport: Arc<dyn Joining>,
    /// The removals that it knows.
    pub(super) removals: Removals,
    tokens: Tokens,
    directory: TempDir,
}

impl Issuer {
    pub(super) fn new(bench: &Bench) -> Self {
        let cluster = Cluster::new();
        let directory = sound(tempfile::tempdir());
        sound(cluster.authority.store(directory.path()));
        let tokens = Tokens::in_directory(directory.path());
        let authority = sound(Authority::load(directory.path()));
        let make_welcome = |node: NodeId, addresses: &[String]| {
            format!("{node} at {}", addresses.join(" and ")).into_bytes()
        };
        let credentials = Credentials::new(cluster.sound_node());
        let removals = credentials.removals().clone();
        let transport = bench.bind(credentials);
        let registrar = Registrar::new(authority, tokens.clone(), removals.clone(), SystemWall, make_welcome);
        transport.answer_joins(Arc::new(registrar));
        Self { cluster, transport, removals, tokens, directory }
    }

    pub(super) fn token(&self) -> Token {
        sound(self.tokens.issue(self.cluster.authority.fingerprint(), now(), TOKEN_VALIDITY))
    }
}

pub(super) async fn a_machine_with_a_token_becomes_a_node(bench: &Bench) {
    let issuer = Issuer::new(bench);
    let (token, key) = (issuer.token(), sound(NodeKey::generate()));
    let address = issuer.transport.address();
    let joined = within(JOINS, bench.kit.join(&address, &token, &key)).await;
    let joined = joined.unwrap_or_else(|error| panic!("{JOINS}: {error}"));
    assert_eq!(joined.identity.node(), key.node(), "{JOINS}: the one that its key says");
    let welcome = format!("{} at {}", key.node(), "joiner:7388");
    assert_eq!(joined.welcome, welcome.into_bytes(), "{JOINS}: and is told what the caller adds");
    // The new node is accepted by every node of the cluster.
    let node = bench.bind(joined.identity);
    let near = within(JOINS, node.dial(&address)).await;
    let near = near.unwrap_or_else(|error| panic!("{JOINS}: its certificate is none: {error}"));
    let far = within(JOINS, issuer.transport.accept()).await;
    assert_eq!(far.map(|far| far.neighbour()), Some(key.node()), "{JOINS}: and connects as itself");
    drop(near);
    // The answer may have got lost.
    let again = within(JOINS, bench.kit.join(&address, &token, &key)).await;
    assert!(again.is_ok(), "{JOINS}: and may ask again: {again:?}");
    assert_eq!(refused_joins(&*issuer.transport), [], "{JOINS}: nobody was refused");
    counted(JOINS, &*issuer.transport, &[]).await;
}

/// The refusals of join requests, as counted.
pub(super) fn refused_joins(transport: &dyn Joining) -> Vec<(&'static str, u64)> {
    transport.join_refusals().into_iter().filter(|(_, count)| *count > 0).collect()
}

async fn join_refusal(promise: &str, bench: &Bench, address: &str, token: &Token) -> JoinRefusal {
    let joined = within(promise, bench.kit.join(address, token, &sound(NodeKey::generate()))).await;
    match joined {
        Err(JoinError::Refused(refusal)) => refusal,
        other => panic!("{promise}: the outcome is {other:?}"),
    }
}

pub(super) async fn a_token_that_is_not_good_is_refused_with_the_reason(bench: &Bench) {
    let issuer = Issuer::new(bench);
    let (authority, address) = (issuer.cluster.authority.fingerprint(), issuer.transport.address());
    let unknown = Token { secret: Secret::from_bytes([7; 16]), authority };
    let refusal = join_refusal(GOOD, bench, &address, &unknown).await;
    assert_eq!(refusal, JoinRefusal::UnknownToken, "{GOOD}");

    let old = now().before(TOKEN_VALIDITY + Duration::from_secs(1));
    let expired = sound(issuer.tokens.issue(authority, old, TOKEN_VALIDITY));
    let refusal = join_refusal(GOOD, bench, &address, &expired).await;
    assert_eq!(refusal, JoinRefusal::ExpiredToken, "{GOOD}");

    let used = issuer.token();
    let joined = within(GOOD, bench.kit.join(&address, &used, &sound(NodeKey::generate()))).await;
    assert!(joined.is_ok(), "{GOOD}: the first time it is: {joined:?}");
    let refusal = join_refusal(GOOD, bench, &address, &used).await;
    assert_eq!(refusal, JoinRefusal::UsedToken, "{GOOD}");
    let counted = [("unknown_token", 1), ("used_token", 1), ("expired_token", 1)];
    assert_eq!(refused_joins(&*issuer.transport), counted, "{GOOD}: and is counted");
    honest_node_gets_in(GOOD, &*bench.kit, &issuer.cluster, &*issuer.transport).await;
}

pub(super) async fn a_node_without_the_authority_says_so(bench: &Bench) {
    let issuer = Issuer::new(bench);
    let other = bench.bind(issuer.cluster.sound_node());
    let refusal = join_refusal(AUTHORITY, bench, &other.address(), &issuer.token()).await;
    assert_eq!(refusal, JoinRefusal::NotAuthority, "{AUTHORITY}");
    assert_eq!(refused_joins(&*other), [("not_authority", 1)], "{AUTHORITY}: and counts it");
    honest_node_gets_in(AUTHORITY, &*bench.kit, &issuer.cluster, &*other).await;
}

pub(super) async fn a_token_of_another_cluster_is_not_shown(bench: &Bench) {
    let (issuer, other) = (Issuer::new(bench), Issuer::new(bench));
    let token = issuer.token();
    let key = sound(NodeKey::generate());
    let joined = within(OTHER, bench.kit.join(&other.transport.address(), &token, &key)).await;
    let refusal = match &joined {
        Err(JoinError::Transport(TransportError::NotTrusted { refusal, .. })) => Some(*refusal),
        _ => None,
    };
    assert_eq!(refusal, Some(Refusal::ForeignAuthority), "{OTHER}: the outcome is {joined:?}");
    counted(OTHER, &*other.transport, &[(Refusal::ForeignAuthority, 1)]).await;
    // No node has seen the token, so it is still valid in its own cluster.
    let joined = within(OTHER, bench.kit.join(&issuer.transport.address(), &token, &key)).await;
    assert!(joined.is_ok(), "{OTHER}: {joined:?}");
    honest_node_gets_in(OTHER, &*bench.kit, &other.cluster, &*other.transport).await;
}

pub(super) async fn a_certificate_renews_itself_and_only_itself(bench: &Bench) {
    let issuer = Issuer::new(bench);
    let soon = issuer.cluster.node(now(), Duration::from_secs(60 * 60));
    let credentials = Credentials::new(soon.clone());
    let node = bench.bind(credentials.clone());
    let renewed = within(RENEWS, node.renew(&issuer.transport.address())).await;
    let renewed = renewed.unwrap_or_else(|error| panic!("{RENEWS}: {error}"));
    assert!(
        renewed.node() == soon.node() && renewed.expires_at() > soon.expires_at(),
        "{RENEWS}: it is the same node for longer"
    );
    sound(credentials.replace(renewed));
    let request = sound(sound(NodeKey::generate()).signing_request());
    let handler = Registrar::new(
        sound(Authority::load(issuer.directory.path())),
        issuer.tokens.clone(),
        issuer.removals.clone(),
        SystemWall,
        |_, _| Vec::new(),
    );
    let stolen = handler.renew(node.node(), request).await;
    assert_eq!(stolen, Err(JoinRefusal::BadRequest), "{RENEWS}: for another's key it gets none");
    // A node of another cluster has nothing to renew.
    let stranger = bench.bind(Cluster::new().sound_node());
    let renewed = within(RENEWS, stranger.renew(&issuer.transport.address())).await;
    assert!(matches!(renewed, Err(JoinError::Transport(_))), "{RENEWS}: {renewed:?}");
    honest_node_gets_in(RENEWS, &*bench.kit, &issuer.cluster, &*issuer.transport).await;
}
