//! The current identity, and the decision whether the other side is a node of its cluster.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;

use super::certificate::key_bits;
use super::verify::{Member, member_of};
use super::{Identity, IdentityError, JOIN_PROTOCOL, PROTOCOL, removal};
use crate::transport::{Refusal, Rejection, Removals, TransportError};
use crate::{NodeId, SystemWall, WallClock};

/// A node's identity as used by the transports: shared, and replaced when the certificate is renewed. A clone shares
/// it.
#[derive(Clone)]
pub struct Credentials {
    current: Arc<ArcSwap<Identity>>,
    removals: Removals,
    wall: Arc<dyn WallClock>,
}

/// The rights of a connecting client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// An authenticated node of the cluster.
    Neighbour(Member),
    /// A client that may only ask to join, or, as this node, to renew its certificate.
    Asking(Option<NodeId>),
}

impl Credentials {
    /// Credentials that check certificates against the system's clock.
    pub fn new(identity: Identity) -> Self {
        Self::with_wall(identity, SystemWall)
    }

    /// Credentials that check certificates against `wall`.
    pub fn with_wall(identity: Identity, wall: impl WallClock) -> Self {
        // `replace` keeps the authority. With an unreadable key, no removal statement is valid.
        let authority = key_bits(identity.authority_certificate()).unwrap_or_default();
        let removals = Removals::checked_by(move |statement| removal::verify(&authority, statement));
        Self { current: Arc::new(ArcSwap::from_pointee(identity)), removals, wall: Arc::new(wall) }
    }

    /// The nodes removed by the authority, as far as known. They are refused, whatever certificate they present.
    pub fn removals(&self) -> &Removals {
        &self.removals
    }

    /// The current identity.
    pub fn current(&self) -> Arc<Identity> {
        self.current.load_full()
    }

    /// This node. It never changes.
    pub fn node(&self) -> NodeId {
        self.current.load().node()
    }

    /// Uses `identity` from the next handshake on. Existing connections are not affected.
    ///
    /// # Errors
    /// [`IdentityError::OtherKey`] if it belongs to another node, [`IdentityError::OtherAuthority`] if to another
    /// cluster.
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

    /// Decides after a handshake, as the server, whether the client may stay and with which rights, by the negotiated
    /// protocol and the presented certificates.
    ///
    /// # Errors
    /// The [`Rejection`] to send to the client.
    pub fn admit(
        &self,
        protocol: Option<&[u8]>,
        certificates: Option<&[CertificateDer<'_>]>,
    ) -> Result<Admission, Rejection> {
        let shown = certificates.and_then(<[_]>::first);
        match protocol {
            Some(PROTOCOL) => self.member_of(shown.ok_or(Refusal::NoCertificate)?).map(Admission::Neighbour),
            Some(JOIN_PROTOCOL) => {
                // A removed node may send a join request. The answer then refuses it.
                let certified = shown.map(|shown| self.certified(shown)).transpose()?;
                Ok(Admission::Asking(certified.map(|member| member.node)))
            }
            _ => Err(Refusal::WrongProtocol.into()),
        }
    }

    /// The node of this cluster that presented the certificate `shown` (DER) at `address`.
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

    /// The node of this cluster in `certificate` (DER), unless it was removed.
    pub(super) fn member_of(&self, certificate: &CertificateDer<'_>) -> Result<Member, Rejection> {
        let member = self.certified(certificate)?;
        self.removals.of(member.node).map_or(Ok(member), |removal| Err(removal.into()))
    }

    /// The node in `certificate`.
    fn certified(&self, certificate: &CertificateDer<'_>) -> Result<Member, Refusal> {
        member_of(certificate, self.current.load().roots(), self.wall.now())
    }
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
