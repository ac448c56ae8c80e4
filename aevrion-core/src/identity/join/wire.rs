//! The messages of a join: one request and one answer, each a length and a postcard encoding.

use std::fmt;
use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Version of the protocol. A node with another version says so in words.
pub(super) const VERSION: u16 = 1;

/// The longest request in bytes: a signing request has some 200, and addresses are few. Unauthenticated clients send
/// it.
pub(super) const LONGEST_REQUEST: usize = 16 << 10;

/// The longest answer in bytes: two certificates, and the information about the cluster and its nodes.
pub(super) const LONGEST_ANSWER: usize = 4 << 20;

/// The most addresses that a joining machine may claim.
pub(super) const MOST_ADDRESSES: usize = 16;

/// The longest address in bytes: the longest possible host name, and a port.
pub(super) const LONGEST_ADDRESS: usize = 260;

/// A request to become a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The token's secret.
    pub secret: [u8; 16],
    /// The signing request for the machine's key (PKCS #10, DER).
    pub signing_request: Vec<u8>,
    /// Its future listening addresses, as `quic://host:port` or `tcp://host:port`.
    pub addresses: Vec<String>,
}

/// The answer to a new node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The node's certificate (DER).
    pub certificate: Vec<u8>,
    /// The authority's certificate (DER).
    pub authority: Vec<u8>,
    /// The handler's additions: the cluster's parameters, the neighbours. Opaque here.
    pub welcome: Vec<u8>,
}

/// Why a request to join or to renew was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JoinRefusal {
    /// The token was not issued here, or is forgotten by now.
    UnknownToken,
    /// Another machine has joined with the token.
    UsedToken,
    /// The token has expired.
    ExpiredToken,
    /// This node does not hold the authority's key.
    NotAuthority,
    /// The request is malformed, or its sender is not entitled to it.
    BadRequest,
    /// The two sides speak different versions of this protocol.
    OtherVersion,
    /// An internal error of this node; its log has the details.
    Failed,
    /// The authority has removed the node with this key.
    Removed,
}

impl JoinRefusal {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::UnknownToken,
        Self::UsedToken,
        Self::ExpiredToken,
        Self::NotAuthority,
        Self::BadRequest,
        Self::OtherVersion,
        Self::Failed,
        Self::Removed,
    ];

    /// A short name, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownToken => "unknown_token",
            Self::UsedToken => "used_token",
            Self::ExpiredToken => "expired_token",
            Self::NotAuthority => "not_authority",
            Self::BadRequest => "bad_request",
            Self::OtherVersion => "other_version",
            Self::Failed => "failed",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for JoinRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownToken => "it knows no such token: ask the node that issued it, or get a new one",
            Self::UsedToken => "the token was used by another machine: get a new one",
            Self::ExpiredToken => "the token has expired: get a new one",
            Self::NotAuthority => "it does not hold the cluster's authority: ask the node that does",
            Self::BadRequest => "it does not accept the request",
            Self::OtherVersion => "it speaks another version of joining: use the same version of aevrion",
            Self::Failed => "it failed to carry the request out; its log says why",
            Self::Removed => {
                "the node with this key was removed from the cluster by its authority: remove the `cluster` directory \
                 of --data, and join with a new token"
            }
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Join(JoinRequest),
    Renew { signing_request: Vec<u8> },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Welcome(Welcome),
    Renewed { certificate: Vec<u8> },
    Refused(JoinRefusal),
}

/// Writes the version, the length and the message.
pub(super) async fn write<M: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &M,
) -> io::Result<()> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(body.len() + 6);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&body);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// Why a message could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("it speaks version {0} of joining, this is version {VERSION}")]
    Version(u16),
    #[error("it sends {0} bytes, which is too much")]
    TooLong(usize),
    #[error("what it says cannot be understood")]
    Malformed,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads a message of at most `longest` bytes. Memory grows with the received bytes, not with the claimed length.
pub(super) async fn read<M: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    longest: usize,
) -> Result<M, Unread> {
    let version = stream.read_u16().await?;
    if version != VERSION {
        return Err(Unread::Version(version));
    }
    let length = stream.read_u32().await?;
    let claimed = usize::try_from(length).unwrap_or(usize::MAX);
    if claimed > longest {
        return Err(Unread::TooLong(claimed));
    }
    let mut body = Vec::new();
    (&mut *stream).take(u64::from(length)).read_to_end(&mut body).await?;
    if body.len() < claimed {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    postcard::from_bytes(&body).map_err(|_| Unread::Malformed)
}
