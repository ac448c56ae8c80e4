//! The statement by which an authority removes a node, permanently and for all nodes that know the authority.
//!
//! ```text
//! statement = 01 ‖ node (32) ‖ removed_at (8) ‖ signature (64)                      integers big-endian
//! signature = Ed25519, by the authority's key, of "aevrion removal 1" ‖ 00 ‖ node ‖ removed_at
//! ```
//!
//! Certificates, the other objects that the authority signs, begin with the byte 30, so neither can be taken for the
//! other. The encoding is written by hand because it is signed: it must not change with a library.

use bytes::Bytes;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, alg_id};

use super::IdentityError;
use super::error::not_made;
use super::verify::provider;
use crate::{NodeId, Timestamp};

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"aevrion removal 1\0";
const NODE_BYTES: usize = 32;
const TIME_BYTES: usize = 8;
const SIGNATURE_BYTES: usize = 64;

/// Length of a statement in bytes.
pub const REMOVAL_BYTES: usize = 1 + NODE_BYTES + TIME_BYTES + SIGNATURE_BYTES;

/// The statement that `node` was removed at `at`, signed with the private key of an authority.
pub(super) fn sign(key: &PrivateKeyDer<'_>, node: NodeId, at: Timestamp) -> Result<Bytes, IdentityError> {
    const WHAT: &str = "statement of a removal";
    let key = any_supported_type(key).map_err(not_made(WHAT))?;
    let signer = key.choose_scheme(&[SignatureScheme::ED25519]);
    let signer = signer.ok_or_else(|| not_made(WHAT)("the authority's key is not of Ed25519"))?;
    let signature = signer.sign(&message(node, at)).map_err(not_made(WHAT))?;
    let mut statement = Vec::with_capacity(REMOVAL_BYTES);
    statement.push(VERSION);
    statement.extend_from_slice(node.as_bytes());
    statement.extend_from_slice(&at.as_millis().to_be_bytes());
    statement.extend_from_slice(&signature);
    Ok(statement.into())
}

/// The removed node and the time, if the authority with this public key (the 32 bytes of Ed25519) signed the statement.
pub(super) fn verify(authority: &[u8], statement: &[u8]) -> Option<(NodeId, Timestamp)> {
    let statement: &[u8; REMOVAL_BYTES] = statement.try_into().ok()?;
    let (&[version], rest) = statement.split_first_chunk()?;
    let (&node, rest) = rest.split_first_chunk::<NODE_BYTES>()?;
    let (&at, signature) = rest.split_first_chunk::<TIME_BYTES>()?;
    let (node, at) = (NodeId::from_bytes(node), Timestamp::from_millis(u64::from_be_bytes(at)));
    let algorithms = provider().signature_verification_algorithms.all;
    let ed25519 = algorithms.iter().find(|one| one.signature_alg_id() == alg_id::ED25519)?;
    let is_signed = || ed25519.verify_signature(authority, &message(node, at), signature).is_ok();
    (version == VERSION && is_signed()).then_some((node, at))
}

/// The signed message.
fn message(node: NodeId, at: Timestamp) -> Vec<u8> {
    [DOMAIN, node.as_bytes(), &at.as_millis().to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::PrivatePkcs8KeyDer;

    use super::*;
    use crate::identity::{Authority, CERTIFICATE_VALIDITY, Credentials, NodeKey};
    use crate::{SystemWall, WallClock};

    /// The first key pair of RFC 8032, 7.1.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const NODE: [u8; 32] = [0xAB; 32];
    const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn key() -> PrivateKeyDer<'static> {
        // PKCS #8 (RFC 8410, 7): a header of sixteen bytes, and the seed.
        let header = "302e020100300506032b657004220420";
        PrivatePkcs8KeyDer::from(hex::decode(format!("{header}{SEED}")).unwrap()).into()
    }

    fn public() -> Vec<u8> {
        hex::decode(PUBLIC).unwrap()
    }

    /// The statement in the protocol's document, computed with another implementation of Ed25519.
    fn golden() -> Vec<u8> {
        let document = include_str!("../../../docs/PROTOCOL.md");
        let (_, block) = document.split_once("```removal\n").unwrap();
        let (block, _) = block.split_once("```").unwrap();
        hex::decode(block.replace('\n', "")).unwrap()
    }

    #[test]
    fn the_statement_is_fixed_to_the_bit() {
        let statement = sign(&key(), NodeId::from_bytes(NODE), AT).unwrap();
        assert_eq!(statement, golden());
        assert_eq!(verify(&public(), &statement), Some((NodeId::from_bytes(NODE), AT)));
    }

    #[test]
    fn no_bit_may_differ() {
        let statement = sign(&key(), NodeId::from_bytes(NODE), AT).unwrap();
        for bit in 0..statement.len() * 8 {
            let mut forged = statement.to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(&public(), &forged), None, "bit {bit}");
        }
        assert_eq!(verify(&public(), &statement[1..]), None);
        assert_eq!(verify(&public(), &[&statement[..], b"\0"].concat()), None);
        assert_eq!(verify(&public(), b""), None);
        assert_eq!(verify(b"no key", &statement), None);
    }

    #[test]
    fn nobody_but_the_authority_of_the_cluster_removes_a_node() {
        let now = SystemWall.now();
        let [authority, other] = [0; 2].map(|_| Authority::make_at(now).unwrap());
        let admit = |key| authority.admit_at(key, now, CERTIFICATE_VALIDITY).unwrap();
        let key = NodeKey::generate().unwrap();
        let (node, credentials) = (key.node(), Credentials::new(admit(key.clone())));
        let removals = credentials.removals();
        assert_eq!(removals.learn(&other.remove(node, now).unwrap()), None);
        // A node cannot sign for the authority either.
        assert_eq!(removals.learn(&sign(&key.to_der(), node, now).unwrap()), None);
        assert_eq!(removals.all(), []);
        let statement = authority.remove(node, now).unwrap();
        assert_eq!(removals.learn(&statement).map(|removal| (removal.node, removal.at)), Some((node, now)));
    }
}
