//! The credentials of a node: its key, its certificate, and the trusted authority.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::certificate::{Facts, from_pem, to_pem};
use super::error::{IdentityError, unreadable};
use super::files::{self, AUTHORITY_FILE};
use super::key::KEY;
use super::verify::{issued_by, roots};
use super::{Fingerprint, NodeKey};
use crate::{NodeId, Timestamp};

const KEY_FILE: &str = "node.key";
const CERTIFICATE_FILE: &str = "node.crt";

/// A node's identity. Its parts match: the certificate is for the key and issued by the authority. It may have expired.
#[derive(Clone)]
pub struct Identity {
    key: NodeKey,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
    facts: Facts,
    roots: Arc<RootCertStore>,
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// Combines the parts; certificates are in DER.
    ///
    /// # Errors
    /// [`IdentityError::OtherKey`] or [`IdentityError::OtherAuthority`] if they do not match, and
    /// [`IdentityError::Unreadable`].
    pub fn new(key: NodeKey, certificate: Vec<u8>, authority: Vec<u8>) -> Result<Self, IdentityError> {
        let identity = Self::unchecked(key, certificate, authority)?;
        // As of the time of issue: each handshake checks whether it is still valid.
        if issued_by(&identity.certificate, &identity.roots, identity.facts.issued_at).is_err() {
            return Err(IdentityError::OtherAuthority);
        }
        Ok(identity)
    }

    /// Combines the parts without checking the issuer.
    pub(super) fn unchecked(
        key: NodeKey,
        certificate: Vec<u8>,
        authority: Vec<u8>,
    ) -> Result<Self, IdentityError> {
        let (certificate, authority) = (CertificateDer::from(certificate), CertificateDer::from(authority));
        let facts = Facts::of(&certificate)?;
        if facts.node != key.node() {
            return Err(IdentityError::OtherKey { found: facts.node, wanted: key.node() });
        }
        let roots = roots(&authority).map_err(unreadable("authority's certificate"))?;
        let signing = any_supported_type(&key.to_der()).map_err(unreadable(KEY))?;
        // The authority's certificate is included for joining machines, which know only its fingerprint.
        let chain = vec![certificate.clone(), authority.clone()];
        let certified = Arc::new(CertifiedKey::new(chain, signing));
        Ok(Self { key, certificate, authority, facts, roots: Arc::new(roots), certified })
    }

    /// Reads `node.key`, `node.crt` and `authority.crt` in `directory`.
    ///
    /// # Errors
    /// [`IdentityError::Missing`] if there is no identity yet; others as [`Identity::new`].
    pub fn load(directory: &Path) -> Result<Self, IdentityError> {
        let key = files::read_key(&directory.join(KEY_FILE), "node's private key")?;
        let certificate = files::read(&directory.join(CERTIFICATE_FILE), "node's certificate")?;
        let authority = files::read(&directory.join(AUTHORITY_FILE), "authority's certificate")?;
        let single = |text: &str| Ok(from_pem(text.as_bytes())?.swap_remove(0).to_vec());
        Self::new(NodeKey::from_pem(&key)?, single(&certificate)?, single(&authority)?)
    }

    /// Writes the three files to `directory`. The certificate comes last, so that its presence implies the others.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub fn store(&self, directory: &Path) -> Result<(), IdentityError> {
        files::write(&directory.join(KEY_FILE), self.key.to_pem().as_bytes())?;
        files::write(&directory.join(AUTHORITY_FILE), to_pem(&self.authority).as_bytes())?;
        files::write(&directory.join(CERTIFICATE_FILE), to_pem(&self.certificate).as_bytes())
    }

    /// The same node with a new certificate (DER).
    ///
    /// # Errors
    /// As [`Identity::new`].
    pub fn renewed(&self, certificate: Vec<u8>) -> Result<Self, IdentityError> {
        Self::new(self.key.clone(), certificate, self.authority.to_vec())
    }

    /// The id of the node.
    pub fn node(&self) -> NodeId {
        self.facts.node
    }

    /// The key pair of the node.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// The start of the certificate's validity, a little before its time of issue.
    pub fn valid_from(&self) -> Timestamp {
        self.facts.issued_at
    }

    /// The expiry of the certificate.
    pub fn expires_at(&self) -> Timestamp {
        self.facts.expires_at
    }

    /// The time to renew the certificate: after two thirds of its validity, which leaves a third for failed attempts.
    pub fn renew_at(&self) -> Timestamp {
        let validity: Duration = self.expires_at().ahead_of(self.valid_from());
        self.valid_from().after(validity / 3 * 2)
    }

    /// The fingerprint of the trusted authority.
    pub fn authority(&self) -> Fingerprint {
        Fingerprint::of(&self.authority)
    }

    /// The authority's certificate (DER).
    pub fn authority_certificate(&self) -> &[u8] {
        &self.authority
    }

    /// The node's certificate as PEM text.
    pub fn certificate_pem(&self) -> String {
        to_pem(&self.certificate)
    }

    pub(super) fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("node", &self.node())
            .field("authority", &self.authority())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}
