//! The cluster's certificate authority: one key that says who belongs.

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
use super::files;
use super::key::KEY;
use super::{Fingerprint, Identity, NodeKey, removal};
use crate::{NodeId, Timestamp};

/// How long a node's certificate is valid: long enough that renewal may fail for weeks before anyone is locked out,
/// short enough that a removed node is out in the end, also where nobody has heard of it.
pub const CERTIFICATE_VALIDITY: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How long the authority is: changing it means visiting every node.
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(3_653 * 24 * 60 * 60);

/// How far before the moment of issue a certificate begins. A machine whose clock is behind takes its certificate for
/// one of the future, and cannot even be told that its clock is wrong; an hour covers the clocks that time
/// synchronisation has not reached yet, and costs nothing, since the key did not exist before.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

const KEY_FILE: &str = "authority.key";
/// Also the name under which every node keeps the authority's certificate.
pub(super) const CERTIFICATE_FILE: &str = "authority.crt";

/// The authority, private key and all. Whoever has it can make nodes.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    key_pem: String,
    certificate: CertificateDer<'static>,
    facts: Facts,
}

impl Authority {
    /// A new authority, and thus a new cluster.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn make(now: Timestamp) -> Result<Self, IdentityError> {
        let key = NodeKey::generate()?;
        // Each has a name of its own, so that a stranger's certificate is told from a forged one.
        let name = format!("Aevrion cluster {}", &key.node().to_string()[..16]);
        let (from, to) = (now.before(BACKDATED), now.after(AUTHORITY_VALIDITY));
        let mut parameters = parameters(&[], &name, from, to)?;
        // It signs nodes, and no further authorities.
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = parameters.self_signed(key.pair()).map_err(not_made(CERTIFICATE))?;
        Self::assemble(key.to_pem(), certificate.der().clone())
    }

    /// Reads `authority.key` and `authority.crt` in `directory`.
    ///
    /// # Errors
    /// [`IdentityError::Missing`] if this machine does not hold the authority; others as their names say.
    pub fn load(directory: &Path) -> Result<Self, IdentityError> {
        let key = files::read_key(&directory.join(KEY_FILE), "authority's private key")?;
        let certificate = files::read(&directory.join(CERTIFICATE_FILE), "authority's certificate")?;
        Self::assemble(key, from_pem(certificate.as_bytes())?.swap_remove(0))
    }

    /// Writes `authority.key`, which is a secret, and `authority.crt`, which is none, into `directory`.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub fn store(&self, directory: &Path) -> Result<(), IdentityError> {
        files::write(&directory.join(KEY_FILE), self.key_pem.as_bytes())?;
        files::write(&directory.join(CERTIFICATE_FILE), self.certificate_pem().as_bytes())
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

    /// What tells this authority from any other.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Its certificate (DER), which every node has to know.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Its certificate as PEM text.
    pub fn certificate_pem(&self) -> String {
        to_pem(&self.certificate)
    }

    /// When it ends, and with it every certificate it issued.
    pub fn expires_at(&self) -> Timestamp {
        self.facts.expires_at
    }

    /// Issues a certificate (DER) for the key that signed `request`; of the request nothing but the key is taken. It
    /// ends with the authority at the latest.
    ///
    /// # Errors
    /// [`IdentityError::Unreadable`] if the request is none, or is not signed by the key in it.
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

    /// Makes the holder of `key` a node of the cluster, here and now: the first one has nobody to ask.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn admit(&self, key: NodeKey, now: Timestamp, validity: Duration) -> Result<Identity, IdentityError> {
        let certificate = self.sign(key.pair(), now, validity)?;
        Identity::new(key, certificate, self.certificate.to_vec())
    }

    /// The statement that `node` is no longer of the cluster, from `at` on and for good. It is for everyone who knows
    /// this authority to [learn](crate::transport::Removals::learn).
    ///
    /// # Errors
    /// [`IdentityError::NotMade`] if this authority's key is of another kind than those made here.
    pub fn remove(&self, node: NodeId, at: Timestamp) -> Result<Bytes, IdentityError> {
        removal::sign(&NodeKey::from_pem(&self.key_pem)?.to_der(), node, at)
    }

    /// A node of an authority that has this one's name and another key.
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

    /// The node that asks with `request`, if the request is sound.
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
