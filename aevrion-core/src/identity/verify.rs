//! Verifies certificates, with the exact reason for a failure.
//!
//! Both sides of a handshake use this module. TLS carries only a number between them (an alert); the tables below
//! preserve every reason in both directions.

use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{AlertDescription, CertificateError, Error, RootCertStore};

use super::certificate::Facts;
use crate::transport::Refusal;
use crate::{NodeId, Timestamp};

/// An authenticated node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// The expiry of its certificate.
    pub until: Timestamp,
}

/// The cryptography provider of this module.
pub(super) fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// A root store with this authority only.
pub(super) fn roots(authority: &CertificateDer<'_>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    Ok(roots)
}

/// Checks that an authority of `roots` issued `certificate` for a node, and that it is valid at `now`.
pub(super) fn issued_by(
    certificate: &CertificateDer<'_>,
    roots: &RootCertStore,
    now: Timestamp,
) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now.as_millis()));
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    // No intermediates: the authority signs nodes directly, and any further certificates are ignored.
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, &[], now, algorithms)
}

/// The node of this certificate, or the reason not to trust it.
pub(super) fn member_of(
    certificate: &CertificateDer<'_>,
    roots: &RootCertStore,
    now: Timestamp,
) -> Result<Member, Refusal> {
    issued_by(certificate, roots, now).map_err(|error| refusal_of_error(&error))?;
    let facts = Facts::of(certificate).map_err(|_| Refusal::BadCertificate)?;
    Ok(Member { node: facts.node, until: facts.expires_at })
}

/// The refusal behind a TLS error: a local error is about the other side, an alert received is about this one.
pub fn refusal_of_error(error: &Error) -> Refusal {
    match error {
        Error::InvalidCertificate(error) => refusal_of_alert(AlertDescription::from(error.clone())),
        Error::NoCertificatesPresented => Refusal::NoCertificate,
        Error::NoApplicationProtocol
        | Error::PeerIncompatible(_)
        | Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => Refusal::WrongProtocol,
        Error::AlertReceived(alert) => refusal_of_alert(*alert),
        _ => Refusal::Broken,
    }
}

/// The refusal that an alert reports about its receiver.
pub fn refusal_of_alert(alert: AlertDescription) -> Refusal {
    match alert {
        AlertDescription::UnknownCA => Refusal::ForeignAuthority,
        AlertDescription::CertificateExpired => Refusal::Expired,
        AlertDescription::CertificateRevoked => Refusal::Removed,
        AlertDescription::CertificateRequired => Refusal::NoCertificate,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError => Refusal::BadCertificate,
        AlertDescription::NoApplicationProtocol
        | AlertDescription::ProtocolVersion
        | AlertDescription::HandshakeFailure => Refusal::WrongProtocol,
        _ => Refusal::Broken,
    }
}

/// The TLS error whose alert reports `refusal`.
pub(super) fn error_of_refusal(refusal: Refusal) -> Error {
    Error::InvalidCertificate(match refusal {
        Refusal::ForeignAuthority => CertificateError::UnknownIssuer,
        Refusal::Expired => CertificateError::Expired,
        Refusal::Removed => CertificateError::Revoked,
        _ => CertificateError::BadEncoding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_survive_the_way_through_an_alert() {
        let told = [Refusal::ForeignAuthority, Refusal::Expired, Refusal::Removed, Refusal::BadCertificate];
        for refusal in told {
            let Error::InvalidCertificate(error) = error_of_refusal(refusal) else { panic!("{refusal}") };
            assert_eq!(refusal_of_alert(error.into()), refusal);
        }
    }
}
