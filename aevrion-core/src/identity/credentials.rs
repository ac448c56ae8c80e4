//! The identity that is in use now, and the TLS settings made of it.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig};

use super::certificate::key_bits;
use super::tls::{ClientCheck, Current, ServerCheck, Trust};
use super::verify::{member_of, provider};
use super::{Fingerprint, Identity, IdentityError, JOIN_PROTOCOL, PROTOCOL, removal};
use crate::transport::{Refusal, Rejection, Removals, TransportError};
use crate::{NodeId, SystemWall, Timestamp, WallClock};

/// A node's identity as the transports hold it: shared, and replaced when the certificate is renewed. Cloning shares.
#[derive(Clone)]
pub struct Credentials {
    current: Arc<ArcSwap<Identity>>,
    removals: Removals,
    wall: Arc<dyn WallClock>,
}

/// A node of the cluster, as it has proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub node: NodeId,
    /// When its certificate ends.
    pub until: Timestamp,
}

/// What someone who connected may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is this node of the cluster.
    Neighbour(Member),
    /// It may ask to join, or, as this node, for a fresh certificate; nothing else.
    Asking(Option<NodeId>),
}

impl Credentials {
    /// Certificates are judged by the system's clock.
    pub fn new(identity: Identity) -> Self {
        Self::with_wall(identity, SystemWall)
    }

    /// Certificates are judged by `wall`.
    pub fn with_wall(identity: Identity, wall: impl WallClock) -> Self {
        // The authority stays the same, see `replace`. One whose key cannot be read removes nobody.
        let authority = key_bits(identity.authority_certificate()).unwrap_or_default();
        let removals = Removals::checked_by(move |statement| removal::verify(&authority, statement));
        Self { current: Arc::new(ArcSwap::from_pointee(identity)), removals, wall: Arc::new(wall) }
    }

    /// The nodes that the authority has removed, as far as this node has heard: they are no members, whatever certificate
    /// they show.
    pub fn removals(&self) -> &Removals {
        &self.removals
    }

    /// The identity in use.
    pub fn current(&self) -> Arc<Identity> {
        self.current.load_full()
    }

    /// Who this node is. It never changes.
    pub fn node(&self) -> NodeId {
        self.current.load().node()
    }

    /// Uses `identity` from the next handshake on. Connections that stand are not touched.
    ///
    /// # Errors
    /// [`IdentityError::OtherKey`] if it is another node's, [`IdentityError::OtherAuthority`] if another cluster's.
    pub fn replace(&self, identity: Identity) -> Result<(), IdentityError> {
        let current = self.current.load();
        if identity.node() != current.node() {
            return Err(IdentityError::OtherKey { found: identity.node(), wanted: current.node() });
        }
        if identity.authority() != current.authority() {
            return Err(IdentityError::OtherAuthority);
        }
        self.current.store(Arc::new(identity));
        Ok(())
    }

    /// How a node listens: for [neighbours](PROTOCOL) and for those who [join](JOIN_PROTOCOL). Whoever completes the
    /// handshake is still to be [admitted](Credentials::admit).
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn server_config(&self) -> Result<ServerConfig, IdentityError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(super::error::not_made("TLS settings"))?
            .with_client_cert_verifier(ClientCheck::new())
            .with_cert_resolver(Arc::new(Current(self.clone())));
        config.alpn_protocols = vec![PROTOCOL.to_vec(), JOIN_PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// How a node dials another of its cluster, for `protocol`: [`PROTOCOL`] or [`JOIN_PROTOCOL`].
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn client_config(&self, protocol: &[u8]) -> Result<ClientConfig, IdentityError> {
        client_config(Trust::OwnCluster(self.clone()), Some(self.clone()), protocol)
    }

    /// How a machine that is no node yet dials one: it believes any node of the cluster with this authority, and shows
    /// nothing itself.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn joining(authority: Fingerprint) -> Result<ClientConfig, IdentityError> {
        client_config(Trust::Pinned(authority, Arc::new(SystemWall)), None, JOIN_PROTOCOL)
    }

    /// As no node dials: shows this identity to whoever belongs to another cluster, and believes it.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    #[cfg(feature = "testkit")]
    pub(super) fn believing(
        &self,
        authority: Fingerprint,
        protocol: &[u8],
    ) -> Result<ClientConfig, IdentityError> {
        client_config(Trust::Pinned(authority, Arc::new(SystemWall)), Some(self.clone()), protocol)
    }

    /// Whether someone who completed a handshake with this node as server may stay, and as what: by the protocol that
    /// was negotiated and the certificates that were shown.
    ///
    /// # Errors
    /// The [`Rejection`] to tell it.
    pub fn admit(
        &self,
        protocol: Option<&[u8]>,
        certificates: Option<&[CertificateDer<'_>]>,
    ) -> Result<Admission, Rejection> {
        let shown = certificates.and_then(<[_]>::first);
        match protocol {
            Some(PROTOCOL) => self.member_of(shown.ok_or(Refusal::NoCertificate)?).map(Admission::Neighbour),
            Some(JOIN_PROTOCOL) => {
                // Who was removed may ask, and is told no in the answer.
                let certified = shown.map(|shown| self.certified(shown)).transpose()?;
                Ok(Admission::Asking(certified.map(|member| member.node)))
            }
            _ => Err(Refusal::WrongProtocol.into()),
        }
    }

    /// The node of this cluster that was reached at `address` and has `shown` this certificate (DER).
    ///
    /// # Errors
    /// [`TransportError::NotTrusted`].
    pub fn node_reached(
        &self,
        address: &str,
        shown: Option<&CertificateDer<'_>>,
    ) -> Result<Member, TransportError> {
        let shown = shown.ok_or_else(|| Refusal::NoCertificate.into());
        let member = shown.and_then(|shown| self.member_of(shown));
        member.map_err(|rejection| TransportError::not_trusted(address, rejection.refusal))
    }

    /// The node of this cluster that `certificate` (DER) names, unless it was removed.
    pub(super) fn member_of(&self, certificate: &CertificateDer<'_>) -> Result<Member, Rejection> {
        let member = self.certified(certificate)?;
        self.removals.of(member.node).map_or(Ok(member), |removal| Err(removal.into()))
    }

    /// The node that `certificate` names.
    fn certified(&self, certificate: &CertificateDer<'_>) -> Result<Member, Refusal> {
        member_of(certificate, self.current.load().roots(), self.wall.now())
    }
}

fn client_config(
    trust: Trust,
    shown: Option<Credentials>,
    protocol: &[u8],
) -> Result<ClientConfig, IdentityError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(super::error::not_made("TLS settings"))?
        // Stricter than what it replaces but for the name, which says nothing here: see the check.
        .dangerous()
        .with_custom_certificate_verifier(ServerCheck::new(trust));
    let mut config = match shown {
        Some(credentials) => builder.with_client_cert_resolver(Arc::new(Current(credentials))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

impl From<Identity> for Credentials {
    fn from(identity: Identity) -> Self {
        Self::new(identity)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.current()).finish()
    }
}
