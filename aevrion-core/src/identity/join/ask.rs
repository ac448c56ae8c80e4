//! The asking side of a join, over any stream that TLS has made safe.

use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::{Answer, JoinRequest, LONGEST_ANSWER, Request, Unread, read, write};
use super::{JoinError, JoinRefusal, Token};
use crate::identity::{Identity, IdentityError, NodeKey};

/// What a machine has become.
#[derive(Debug, Clone)]
pub struct Joined {
    /// Its identity; to be stored.
    pub identity: Identity,
    /// What the node that let it in had to add: the cluster's parameters, the neighbours.
    pub welcome: Vec<u8>,
}

/// Asks over `stream`, whose other end has proven to belong to the cluster of `token`, to become the node of `key`,
/// reachable at `addresses`. If the answer gets lost, asking again with the same key is allowed.
///
/// # Errors
/// [`JoinError`].
pub async fn ask_to_join<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    token: &Token,
    key: &NodeKey,
    addresses: &[String],
) -> Result<Joined, JoinError> {
    let request = JoinRequest {
        secret: *token.secret.as_bytes(),
        signing_request: key.signing_request()?,
        addresses: addresses.to_vec(),
    };
    match ask(stream, &Request::Join(request)).await? {
        Answer::Welcome(welcome) => {
            let identity = Identity::new(key.clone(), welcome.certificate, welcome.authority)?;
            if identity.authority() != token.authority {
                return Err(IdentityError::OtherAuthority.into());
            }
            Ok(Joined { identity, welcome: welcome.welcome })
        }
        other => Err(unexpected(&other)),
    }
}

/// Asks over `stream`, to whose other end `identity` was proven, for a fresh certificate.
///
/// # Errors
/// [`JoinError`].
pub async fn ask_to_renew<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &Identity,
) -> Result<Identity, JoinError> {
    let signing_request = identity.key().signing_request()?;
    match ask(stream, &Request::Renew { signing_request }).await? {
        Answer::Renewed { certificate } => Ok(identity.renewed(certificate)?),
        other => Err(unexpected(&other)),
    }
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &Request,
) -> Result<Answer, JoinError> {
    let failed = |error: Unread| match error {
        Unread::Version(_) => JoinError::Refused(JoinRefusal::OtherVersion),
        error => JoinError::Protocol(error.to_string()),
    };
    write(stream, request).await.map_err(|error| failed(error.into()))?;
    match read(stream, LONGEST_ANSWER).await.map_err(failed)? {
        Answer::Refused(refusal) => Err(JoinError::Refused(refusal)),
        answer => Ok(answer),
    }
}

fn unexpected(answer: &Answer) -> JoinError {
    let what = match answer {
        Answer::Welcome(_) => "a welcome where a certificate was asked for",
        _ => "no welcome where one was asked for",
    };
    JoinError::Protocol(what.to_owned())
}
