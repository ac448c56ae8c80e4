//! The token text, carried by hand from a node to a joining machine.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::identity::Fingerprint;

/// Identifies a token and its version.
const PREFIX: &str = "aev1-";
const SECRET_BYTES: usize = 16;
const FINGERPRINT_BYTES: usize = 32;
/// Length of the checksum, which catches copying errors before they look like a wrong cluster or an unknown token. With
/// three bytes, the encoding needs no padding.
const CHECK_BYTES: usize = 3;
const BYTES: usize = SECRET_BYTES + FINGERPRINT_BYTES + CHECK_BYTES;

/// The secret of a token, known only to its bearer and its issuer: 128 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// A random secret.
    ///
    /// # Panics
    /// If the operating system has no randomness, which happens only while it starts.
    pub(super) fn random() -> Self {
        let mut bytes = [0; SECRET_BYTES];
        #[expect(clippy::expect_used, reason = "a guessable secret would be worse than none")]
        getrandom::fill(&mut bytes).expect("the operating system gives randomness");
        Self(bytes)
    }

    /// A secret with these bytes.
    pub const fn from_bytes(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// The hash stored by the issuer.
    pub(super) fn hash(&self) -> blake3::Hash {
        blake3::hash(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Permission to join once: the secret, and the authority that identifies the cluster. Its text form is 73 characters
/// that begin with `aev1-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The secret to send to the cluster.
    pub secret: Secret,
    /// The fingerprint of the authority that the cluster has to prove first.
    pub authority: Fingerprint,
}

/// A text that is not a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a whole token: one begins with `{PREFIX}` and has 73 characters; copy it again")]
pub struct NotAToken;

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(self.secret.as_bytes());
        bytes.extend_from_slice(self.authority.as_bytes());
        bytes.extend_from_slice(&check(&bytes));
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(NotAToken)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotAToken)?;
        let (body, sum) = bytes.split_at_checked(SECRET_BYTES + FINGERPRINT_BYTES).ok_or(NotAToken)?;
        if sum != check(body) {
            return Err(NotAToken);
        }
        let (secret, authority) = body.split_at(SECRET_BYTES);
        Ok(Self {
            secret: Secret(secret.try_into().map_err(|_| NotAToken)?),
            authority: Fingerprint::from_bytes(authority.try_into().map_err(|_| NotAToken)?),
        })
    }
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = blake3::hash(body);
    let [first, second, third, ..] = *hash.as_bytes();
    [first, second, third]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_round_trips_and_every_slip_is_found() {
        let token = Token { secret: Secret::random(), authority: Fingerprint::from_bytes([7; 32]) };
        let text = token.to_string();
        assert_eq!(text.len(), 73);
        assert_eq!(format!("  {text}\n").parse(), Ok(token));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            assert_eq!(String::from_utf8(changed).unwrap().parse::<Token>(), Err(NotAToken), "at {at}");
        }
        for wrong in ["", "aev1-", &text[..72], &format!("{text}A")] {
            assert_eq!(wrong.parse::<Token>(), Err(NotAToken));
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let token =
            Token { secret: Secret::from_bytes([0xAB; 16]), authority: Fingerprint::from_bytes([0; 32]) };
        assert!(!format!("{token:?}").to_lowercase().contains("ab, ab"), "{token:?}");
        assert!(!format!("{token:?}").contains("171"), "{token:?}");
    }
}
