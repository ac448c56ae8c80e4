//! The callbacks of a TLS handshake: choosing the certificate to present, and verifying the other side's.
//!
//! They read the [`Credentials`] each time, so a renewed certificate is used from the next handshake on.

use std::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};

use super::verify::{error_of_refusal, member_of, provider, roots};
use super::{Credentials, Fingerprint};
use crate::WallClock;
use crate::transport::Refusal;

/// The servers that a client trusts.
pub(super) enum Trust {
    /// The nodes of this node's own cluster.
    OwnCluster(Credentials),
    /// Any node of the cluster with this authority's fingerprint, which is all that a machine knows before it joins.
    Pinned(Fingerprint, Arc<dyn WallClock>),
}

/// A client's verification of the server.
pub(super) struct ServerCheck {
    pub(super) trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCheck {
    pub(super) fn new(trust: Trust) -> Arc<Self> {
        Arc::new(Self { trust, algorithms: provider().signature_verification_algorithms })
    }

    fn check(&self, end: &CertificateDer<'_>, sent_along: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        match &self.trust {
            Trust::OwnCluster(credentials) => {
                credentials.member_of(end).map(drop).map_err(|rejection| rejection.refusal)
            }
            Trust::Pinned(fingerprint, wall) => {
                let authority = sent_along
                    .iter()
                    .find(|one| Fingerprint::of(one) == *fingerprint)
                    .ok_or(Refusal::ForeignAuthority)?;
                let roots = roots(authority).map_err(|_| Refusal::BadCertificate)?;
                member_of(end, &roots, wall.now()).map(drop)
            }
        }
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is ignored: all nodes have the same one, and the key identifies the node.
        self.check(end_entity, intermediates).map_err(error_of_refusal)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for ServerCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerCheck")
    }
}

/// A server's verification of the client: only possession of the presented certificate's key. The rest is checked after
/// the handshake, where a refusal can be explained in words ([`Credentials::admit`]).
pub(super) struct ClientCheck {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCheck {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { algorithms: provider().signature_verification_algorithms })
    }
}

impl ClientCertVerifier for ClientCheck {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCheck")
    }
}

fn only_tls13() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
}

/// Presents the current certificate at each handshake.
pub(super) struct Current(pub(super) Credentials);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().certified())
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
