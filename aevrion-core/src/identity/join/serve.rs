//! The answering side of a join, over any stream that TLS has made safe.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::{Answer, LONGEST_ADDRESS, LONGEST_REQUEST, MOST_ADDRESSES, Request, Unread, read, write};
use super::{JoinHandler, JoinRefusal, JoinRequest};
use crate::NodeId;

/// Reads one request from `stream` and answers it. `node` is who has proven to be asking, if anyone; `from` is where
/// it is, for the log. The caller bounds the time that this takes.
///
/// # Errors
/// If the stream ends or fails. Nonsense is answered, and no error.
pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    node: Option<NodeId>,
    from: &str,
    handler: Option<&dyn JoinHandler>,
) -> io::Result<()> {
    let outcome = match read(stream, LONGEST_REQUEST).await {
        Ok(request) => decide(request, node, from, handler).await,
        Err(Unread::Io(error)) => return Err(error),
        Err(Unread::Version(_)) => Err(JoinRefusal::OtherVersion),
        Err(Unread::TooLong(_) | Unread::Malformed) => Err(JoinRefusal::BadRequest),
    };
    let answer = outcome.unwrap_or_else(|refusal| {
        tracing::warn!(from, "a request to join or renew was refused: {refusal}");
        Answer::Refused(refusal)
    });
    write(stream, &answer).await
}

async fn decide(
    request: Request,
    node: Option<NodeId>,
    from: &str,
    handler: Option<&dyn JoinHandler>,
) -> Result<Answer, JoinRefusal> {
    let handler = handler.ok_or(JoinRefusal::NotAuthority)?;
    match request {
        Request::Join(request) if !sensible(&request) => Err(JoinRefusal::BadRequest),
        Request::Join(request) => handler.join(request, from).await.map(Answer::Welcome),
        Request::Renew { signing_request } => {
            let node = node.ok_or(JoinRefusal::BadRequest)?;
            let certificate = handler.renew(node, signing_request).await?;
            Ok(Answer::Renewed { certificate })
        }
    }
}

fn sensible(request: &JoinRequest) -> bool {
    request.addresses.len() <= MOST_ADDRESSES
        && request.addresses.iter().all(|address| address.len() <= LONGEST_ADDRESS)
}
