//! The server side of a join, over any stream secured by TLS.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::{Answer, LONGEST_ADDRESS, LONGEST_REQUEST, MOST_ADDRESSES, Request, Unread, read, write};
use super::{JoinHandler, JoinRefusal, JoinRequest};
use crate::NodeId;
use crate::transport::RejectionCounters;

/// Answers the join requests of a transport by its handler, once it is set, and counts the refusals.
#[derive(Default)]
pub struct JoinServer {
    handler: Mutex<Option<Arc<dyn JoinHandler>>>,
    refusals: RejectionCounters<{ JoinRefusal::ALL.len() }>,
}

impl JoinServer {
    /// Sets the handler.
    pub fn answer_with(&self, handler: Arc<dyn JoinHandler>) {
        *self.handler() = Some(handler);
    }

    /// Refused requests, by [reason](JoinRefusal::name).
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        JoinRefusal::ALL.into_iter().map(JoinRefusal::name).zip(self.refusals.counts()).collect()
    }

    /// Reads one request from `stream` and answers it. `node` is the authenticated client, if any; `from` is its
    /// address, for the log. The caller limits the time.
    ///
    /// # Errors
    /// If the stream ends or fails. A malformed request is answered and is no error.
    pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        node: Option<NodeId>,
        from: &str,
    ) -> io::Result<()> {
        let handler = self.handler().clone();
        let outcome = match read(stream, LONGEST_REQUEST).await {
            Ok(request) => decide(request, node, from, handler.as_deref()).await,
            Err(Unread::Io(error)) => return Err(error),
            Err(Unread::Version(_)) => Err(JoinRefusal::OtherVersion),
            Err(Unread::TooLong(_) | Unread::Malformed) => Err(JoinRefusal::BadRequest),
        };
        let answer = outcome.unwrap_or_else(|refusal| self.refuse(from, refusal));
        write(stream, &answer).await
    }

    fn refuse(&self, from: &str, refusal: JoinRefusal) -> Answer {
        let number = JoinRefusal::ALL.iter().position(|one| *one == refusal);
        if number.is_some_and(|number| self.refusals.count(number)) {
            tracing::warn!(from, "a request to join or renew was refused: {refusal}");
        }
        Answer::Refused(refusal)
    }

    fn handler(&self) -> MutexGuard<'_, Option<Arc<dyn JoinHandler>>> {
        self.handler.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
