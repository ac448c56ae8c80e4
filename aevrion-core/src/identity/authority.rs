//! The cluster's certificate authority: the key that certifies the nodes.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateSigningRequestParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::CertificateDer;

use super::certificate::{CERTIFICATE, Facts, from_pem, node_of_key, node_parameters, parameters, to_pem};
use super::error::{IdentityError, not_made, unreadable};
use super::files::{self, AUTHORITY_FILE};
use super::key::KEY;
use super::{Fingerprint, Identity, NodeKey, removal};
use crate::{NodeId, SystemWall, Timestamp, WallClock};

/// The validity of a node's certificate: long enough that renewal may fail for weeks before a node is locked out, short
/// enough that a removed node is excluded in the end, even where the removal is unknown.
pub const CERTIFICATE_VALIDITY: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The validity of the authority. Changing it means visiting every node.
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(3_653 * 24 * 60 * 60);

/// How far before the time of issue a certificate becomes valid. To a machine whose clock is behind, its certificate
/// would lie in the future, and it could not even be told that its clock is wrong. An hour covers clocks before time
/// synchronisation, and is safe, as the key did not exist before.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

const KEY_FILE: &str = "authority.key";

/// The authority with its private key. Anyone who has it can create nodes.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    key_pem: String,
    certificate: CertificateDer<'static>,
    facts: Facts,
}

impl Authority {
    /// Creates an authority, and so a cluster.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn make() -> Result<Self, IdentityError> {
        Self::make_at(SystemWall.now())
    }

    /// As [`Authority::make`], at `now` of another clock.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn make_at(now: Timestamp) -> Result<Self, IdentityError> {
        let key = NodeKey::generate()?;
        // Each authority has a name of its own, so that a foreign certificate can be distinguished from a forged one.
        let name = format!("Aevrion cluster {}", &key.node().to_string()[..16]);
        let (from, to) = (now.before(BACKDATED), now.after(AUTHORITY_VALIDITY));
        let mut parameters = parameters(&[], &name, from, to)?;
        // It signs nodes, but no further authorities.
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = parameters.self_signed(key.pair()).map_err(not_made(CERTIFICATE))?;
        Self::assemble(key.to_pem(), certificate.der().clone())
    }

    /// Reads `authority.key` and `authority.crt` in `directory`.
    ///
    /// # Errors
    /// [`IdentityError::Missing`] if this machine does not hold the authority; others by their names.
    pub fn load(directory: &Path) -> Result<Self, IdentityError> {
        let key = files::read_key(&directory.join(KEY_FILE), "authority's private key")?;
        let certificate = files::read(&directory.join(AUTHORITY_FILE), "authority's certificate")?;
        Self::assemble(key, from_pem(certificate.as_bytes())?.swap_remove(0))
    }

    /// Writes `authority.key`, which is secret, and `authority.crt`, which is public, to `directory`.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub fn store(&self, directory: &Path) -> Result<(), IdentityError> {
        files::write(&directory.join(KEY_FILE), self.key_pem.as_bytes())?;
        files::write(&directory.join(AUTHORITY_FILE), self.certificate_pem().as_bytes())
    }

    fn assemble(key_pem: String, certificate: CertificateDer<'static>) -> Result<Self, IdentityError> {
        let key = KeyPair::from_pem(&key_pem).map_err(unreadable(KEY))?;
        let facts = Facts::of(&certificate)?;
        let wanted = node_of_key(&key.subject_public_key_info());
        if facts.node != wanted {
            return Err(IdentityError::OtherKey { found: facts.node, wanted });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(unreadable(CERTIFICATE))?;
        Ok(Self { issuer, key_pem, certificate, facts })
    }

    /// The fingerprint of its certificate, which identifies it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Its certificate (DER), known to every node.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Its certificate as PEM text.
    pub fn certificate_pem(&self) -> String {
        to_pem(&self.certificate)
    }

    /// Its expiry, and the latest expiry of any certificate that it issued.
    pub fn expires_at(&self) -> Timestamp {
        self.facts.expires_at
    }

    /// Issues a certificate (DER) for the key that signed `request`. Nothing but the key is taken from the request. The
    /// certificate expires with the authority at the latest.
    ///
    /// # Errors
    /// [`IdentityError::Unreadable`] if the request is malformed, or not signed by its own key.
    pub fn issue(
        &self,
        request: &[u8],
        now: Timestamp,
        validity: Duration,
    ) -> Result<Vec<u8>, IdentityError> {
        let request = CertificateSigningRequestParams::from_der(&request.into())
            .map_err(unreadable("signing request"))?;
        self.sign(&request.public_key, now, validity)
    }

    /// A new node of the cluster with a key generated here. A node on another machine makes its own key and
    /// [joins](super::join).
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn new_node(&self) -> Result<Identity, IdentityError> {
        self.admit(NodeKey::generate()?)
    }

    /// Makes the holder of `key` a node of the cluster locally, as the first node has no other node to ask. The
    /// certificate is [valid](CERTIFICATE_VALIDITY) from now on.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn admit(&self, key: NodeKey) -> Result<Identity, IdentityError> {
        self.admit_at(key, SystemWall.now(), CERTIFICATE_VALIDITY)
    }

    /// As [`Authority::admit`], at `now` of another clock, and valid for another time.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn admit_at(
        &self,
        key: NodeKey,
        now: Timestamp,
        validity: Duration,
    ) -> Result<Identity, IdentityError> {
        let certificate = self.sign(key.pair(), now, validity)?;
        Identity::new(key, certificate, self.certificate.to_vec())
    }

    /// The statement that `node` is removed from the cluster, from `at` on and permanently. Every node that knows this
    /// authority can [learn](crate::transport::Removals::learn) it.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`] if this authority's key is not of the kind generated here.
    pub fn remove(&self, node: NodeId, at: Timestamp) -> Result<Bytes, IdentityError> {
        removal::sign(&NodeKey::from_pem(&self.key_pem)?.to_der(), node, at)
    }

    /// A node of an authority with this one's name and another key.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    #[cfg(feature = "testkit")]
    pub(super) fn forged(&self, key: NodeKey, now: Timestamp) -> Result<Identity, IdentityError> {
        let forger = KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(not_made(KEY))?;
        let forger = Issuer::from_ca_cert_der(&self.certificate, forger).map_err(unreadable(CERTIFICATE))?;
        let certificate = node_parameters(now.before(BACKDATED), now.after(CERTIFICATE_VALIDITY))?
            .signed_by(key.pair(), &forger)
            .map_err(not_made(CERTIFICATE))?;
        Identity::unchecked(key, certificate.der().to_vec(), self.certificate.to_vec())
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        now: Timestamp,
        validity: Duration,
    ) -> Result<Vec<u8>, IdentityError> {
        let to = now.after(validity).min(self.expires_at());
        let certificate = node_parameters(now.before(BACKDATED), to)?
            .signed_by(key, &self.issuer)
            .map_err(not_made(CERTIFICATE))?;
        Ok(certificate.der().to_vec())
    }

    /// The node whose key signed `request`, if the request is valid.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn node_asking(request: &[u8]) -> Result<NodeId, IdentityError> {
        let request = CertificateSigningRequestParams::from_der(&request.into())
            .map_err(unreadable("signing request"))?;
        Ok(node_of_key(&request.public_key.subject_public_key_info()))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}
