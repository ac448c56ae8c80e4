//! The client side of a join, over any stream secured by TLS.

use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::{Answer, JoinRequest, LONGEST_ANSWER, Request, Unread, read, write};
use super::{JoinError, JoinRefusal, Token};
use crate::identity::{Identity, IdentityError, NodeKey};

/// The result of a join.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The new identity, to be stored by the caller.
    pub identity: Identity,
    /// The additions of the admitting node: the cluster's parameters, the neighbours.
    pub welcome: Vec<u8>,
}

/// Asks over `stream` to become the node of `key`, reachable at `addresses`. The other end must be authenticated as a
/// node of `token`'s cluster. If the answer gets lost, the same key may ask again.
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

/// Asks for a new certificate over `stream`, on which `identity` was authenticated.
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
