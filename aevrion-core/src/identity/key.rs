//! The key of a node.

use std::fmt;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, PublicKeyData};
use rustls::pki_types::{CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::certificate::node_of_key;
use super::error::{IdentityError, not_made, unreadable};
use crate::NodeId;

pub(super) const KEY: &str = "private key";
const REQUEST: &str = "signing request";

/// A node's key pair (Ed25519: short, fast, and without parameters to choose wrongly). A clone shares it.
#[derive(Clone)]
pub struct NodeKey {
    pair: Arc<KeyPair>,
}

impl NodeKey {
    /// Generates a key pair.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`] if the system has no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(not_made(KEY))?;
        Ok(Self { pair: Arc::new(pair) })
    }

    /// Reads a key from a PEM text (PKCS #8).
    ///
    /// # Errors
    /// [`IdentityError::Unreadable`].
    pub fn from_pem(text: &str) -> Result<Self, IdentityError> {
        let pair = KeyPair::from_pem(text).map_err(unreadable(KEY))?;
        Ok(Self { pair: Arc::new(pair) })
    }

    /// The key as a PEM text (PKCS #8), which is secret.
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// Derives a secret for `purpose`. It is the same after a restart, and reveals nothing about the key or about other
    /// purposes' secrets. `purpose` is a constant of the program that is used for nothing else.
    pub fn secret_for(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.pair.serialize_der())
    }

    /// The id of this key's node.
    pub fn node(&self) -> NodeId {
        node_of_key(&self.pair.subject_public_key_info())
    }

    /// A certificate signing request (PKCS #10, DER). It is signed with the key, and so proves possession of it.
    ///
    /// # Errors
    /// [`IdentityError::NotMade`].
    pub fn signing_request(&self) -> Result<Vec<u8>, IdentityError> {
        // An authority takes only the public key from it.
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
