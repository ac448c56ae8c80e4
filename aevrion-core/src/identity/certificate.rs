//! Reading and writing certificates.

use std::fmt;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::{IdentityError, not_made, unreadable};
use crate::{NodeId, Timestamp};

pub(super) const CERTIFICATE: &str = "certificate";

/// BLAKE3 of an authority's certificate. It identifies the authority.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate (DER).
    pub(super) fn of(certificate: &[u8]) -> Self {
        Self(blake3::hash(certificate).into())
    }

    /// A fingerprint with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The id of the node with this public key (SubjectPublicKeyInfo, DER).
pub(super) fn node_of_key(public_key: &[u8]) -> NodeId {
    NodeId::from_bytes(blake3::hash(public_key).into())
}

/// The bits of a certificate's public key, of any kind.
pub(super) fn key_bits(certificate: &[u8]) -> Result<Vec<u8>, IdentityError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(unreadable(CERTIFICATE))?;
    Ok(parsed.public_key().subject_public_key.data.to_vec())
}

/// The fields read from a certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) node: NodeId,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

impl Facts {
    /// Reads a certificate without verifying it.
    pub(super) fn of(certificate: &[u8]) -> Result<Self, IdentityError> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(unreadable(CERTIFICATE))?;
        let moment = |seconds: i64| {
            Timestamp::MIN.after(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
        };
        Ok(Self {
            node: node_of_key(parsed.public_key().raw),
            issued_at: moment(parsed.validity().not_before.timestamp()),
            expires_at: moment(parsed.validity().not_after.timestamp()),
        })
    }
}

/// The parameters of a certificate for a holder called `name`, valid from `from` to `to`.
pub(super) fn parameters(
    names: &[&str],
    name: &str,
    from: Timestamp,
    to: Timestamp,
) -> Result<CertificateParams, IdentityError> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(names).map_err(not_made(CERTIFICATE))?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = moment(from)?;
    parameters.not_after = moment(to)?;
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

/// The parameters of a node's certificate, for use as server and as client, but not for signing.
pub(super) fn node_parameters(from: Timestamp, to: Timestamp) -> Result<CertificateParams, IdentityError> {
    let mut parameters = parameters(&[super::SERVER_NAME], "Aevrion node", from, to)?;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(parameters)
}

fn moment(at: Timestamp) -> Result<OffsetDateTime, IdentityError> {
    let seconds = i64::try_from(at.as_millis() / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).map_err(not_made(CERTIFICATE))
}

/// The certificates in a PEM text, in order.
pub(super) fn from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    use rustls::pki_types::pem::PemObject;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let certificates = certificates.map_err(unreadable(CERTIFICATE))?;
    if certificates.is_empty() {
        return Err(unreadable(CERTIFICATE)("the file holds none"));
    }
    Ok(certificates)
}

/// A certificate as PEM text.
pub(super) fn to_pem(certificate: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
