//! TLS configurations, and their callbacks during a handshake: choosing the certificate to present, and verifying the
//! other side's.
//!
//! The callbacks read the [`Credentials`] each time, so a renewed certificate is used from the next handshake on.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
};

use super::error::not_made;
use super::verify::{error_of_refusal, member_of, provider, roots};
use super::{Credentials, Fingerprint, IdentityError, JOIN_PROTOCOL, PROTOCOL};
use crate::transport::Refusal;
use crate::{SystemWall, WallClock};

impl Credentials {
    /// The TLS configuration for listening, for [neighbours](PROTOCOL) and for [joining machines](JOIN_PROTOCOL). A
    /// client that completes the handshake still has to be [admitted](Credentials::admit).
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn server_config(&self) -> Result<ServerConfig, IdentityError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(not_made("TLS settings"))?
            .with_client_cert_verifier(ClientCheck::new())
            .with_cert_resolver(Arc::new(Current(self.clone())));
        config.alpn_protocols = vec![PROTOCOL.to_vec(), JOIN_PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// The TLS configuration for dialling a node of the same cluster with `protocol`: [`PROTOCOL`] or
    /// [`JOIN_PROTOCOL`].
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn client_config(&self, protocol: &[u8]) -> Result<ClientConfig, IdentityError> {
        client_config(Trust::OwnCluster(self.clone()), Some(self.clone()), protocol)
    }

    /// The TLS configuration for a joining machine: it trusts any node of the cluster with this authority, and presents
    /// no certificate.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn joining(authority: Fingerprint) -> Result<ClientConfig, IdentityError> {
        client_config(Trust::Pinned(authority, Arc::new(SystemWall)), None, JOIN_PROTOCOL)
    }

    /// A dishonest TLS configuration: presents this identity to nodes of other clusters, and trusts them.
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
}

fn client_config(
    trust: Trust,
    shown: Option<Credentials>,
    protocol: &[u8],
) -> Result<ClientConfig, IdentityError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(not_made("TLS settings"))?
        // Stricter than the verifier that it replaces, except that it ignores the name: see the check.
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
