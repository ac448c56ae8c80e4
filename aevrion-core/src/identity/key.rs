//! The key that makes a machine a node.

use std::fmt;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, PublicKeyData};
use rustls::pki_types::{CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::certificate::node_of_key;
use super::error::{IdentityError, not_made, unreadable};
use crate::NodeId;

pub(super) const KEY: &str = "private key";
const REQUEST: &str = "signing request";

/// A node's key pair (Ed25519: short, fast, and nothing about it to choose wrongly). Cloning shares it.
#[derive(Clone)]
pub struct NodeKey {
    pair: Arc<KeyPair>,
}

impl NodeKey {
    /// A fresh one.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`] if the system has no randomness to give.
    pub fn generate() -> Result<Self, IdentityError> {
        let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(not_made(KEY))?;
        Ok(Self { pair: Arc::new(pair) })
    }

    /// The one in a PEM text (PKCS #8).
    ///
    /// # Errors
    /// [`IdentityError::Unreadable`].
    pub fn from_pem(text: &str) -> Result<Self, IdentityError> {
        let pair = KeyPair::from_pem(text).map_err(unreadable(KEY))?;
        Ok(Self { pair: Arc::new(pair) })
    }

    /// As a PEM text (PKCS #8). It is a secret.
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// A secret for `purpose` that the same key gives again, also after a restart, and that tells nothing about the key
    /// or about the secrets for other purposes. `purpose` is a constant of the program that nothing else uses.
    pub fn secret_for(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.pair.serialize_der())
    }

    /// The id of the node that has this key.
    pub fn node(&self) -> NodeId {
        node_of_key(&self.pair.subject_public_key_info())
    }

    /// Asks an authority for a certificate (PKCS #10, DER). It is signed with the key, and thus proves that whoever
    /// asks has it.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn signing_request(&self) -> Result<Vec<u8>, IdentityError> {
        // An authority takes the public key from it, and nothing else.
        let parameters = CertificateParams::default();
        let request = parameters.serialize_request(&*self.pair).map_err(not_made(REQUEST))?;
        Ok(CertificateSigningRequestDer::from(request).to_vec())
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    pub(super) fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pair.serialize_der()).into()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.node())
    }
}
