//! How a restarted node ends the connections of its previous process.
//!
//! A node that still sends on such a connection is answered with a stateless reset (RFC 9000, 10.3). It believes the
//! reset because of a token from the connection's beginning. Quinn draws the keys of these tokens, and of connection
//! ids, anew at each start; then no reset is believed, and the other side holds a dead connection until the idle limit.
//! Here both keys are derived from the node's own key.

use std::sync::Arc;

use aevrion_core::identity::NodeKey;
use quinn::EndpointConfig;
use quinn::crypto::{CryptoError, HmacKey};
use quinn_proto::HashedConnectionIdGenerator;

const TOKENS: &str = "aevrion 2026 QUIC tokens of stateless resets";
const IDS: &str = "aevrion 2026 QUIC ids of connections";

/// Settings of an endpoint whose resets are believed even after a restart with the same key.
pub(crate) fn endpoint_config(key: &NodeKey) -> EndpointConfig {
    let [a, b, c, d, e, f, g, h, ..] = key.secret_for(IDS);
    let ids = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let mut config = EndpointConfig::new(Arc::new(Tokens(key.secret_for(TOKENS))));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config
}

/// Keyed BLAKE3 as the HMAC that quinn asks for.
struct Tokens([u8; 32]);

impl HmacKey for Tokens {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let mut hash = blake3::Hasher::new_keyed(&self.0);
        hash.update(data).finalize_xof().fill(signature_out);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let mut signed = [0; 32];
        self.sign(data, &mut signed);
        // In constant time, as hashes are compared.
        let given = <[u8; 32]>::try_from(signature).map_err(|_| CryptoError)?;
        if blake3::Hash::from(signed) == blake3::Hash::from(given) { Ok(()) } else { Err(CryptoError) }
    }
}
