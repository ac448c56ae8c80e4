//! The close reason of a connection: set once, by the first side to close, and seen by all waiters.

use bytes::Bytes;
use tokio::sync::watch;

use super::{LONGEST_REASON, Side, TransportError};

/// The close reason of a connection, once it has ended.
#[derive(Debug)]
pub struct CloseReason {
    how: watch::Sender<Option<TransportError>>,
}

impl Default for CloseReason {
    fn default() -> Self {
        Self { how: watch::Sender::new(None) }
    }
}

impl CloseReason {
    /// Ends the connection. Returns false if it had ended before.
    pub fn end(&self, by: Side, reason: &str) -> bool {
        self.fail(TransportError::Closed { by, reason: shortened(reason).to_owned() })
    }

    /// Ends the connection from this side because of the other side's `error`. Waiters get that error.
    pub fn fail(&self, error: TransportError) -> bool {
        self.how.send_if_modified(|how| {
            let first = how.is_none();
            if first {
                *how = Some(error);
            }
            first
        })
    }

    /// The side that ended it, and the reason.
    pub fn how(&self) -> Option<(Side, String)> {
        self.error().map(|error| match error {
            TransportError::Closed { by, reason } => (by, reason),
            error => (Side::Here, shortened(&error.to_string()).to_owned()),
        })
    }

    /// The error for every later use; `None` while the connection lives.
    pub fn error(&self) -> Option<TransportError> {
        self.how.borrow().clone()
    }

    /// Waits for the end.
    pub async fn wait(&self) -> TransportError {
        let mut how = self.how.subscribe();
        // The sender lives as long as `self`.
        let _ = how.wait_for(Option::is_some).await;
        self.error().unwrap_or(TransportError::Closed { by: Side::Here, reason: String::new() })
    }

    /// The result of a receive after `error`: an end without a reason was orderly.
    ///
    /// # Errors
    /// `error`, if the end was not orderly.
    pub fn received(error: TransportError) -> Result<Option<Bytes>, TransportError> {
        match error {
            TransportError::Closed { reason, .. } if reason.is_empty() => Ok(None),
            error => Err(error),
        }
    }
}

/// Cuts a reason to the length that the other side is told.
pub fn shortened(reason: &str) -> &str {
    let end = (0..=LONGEST_REASON.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
    &reason[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts_and_is_cut_between_characters() {
        let close_reason = CloseReason::default();
        assert!(close_reason.error().is_none());
        assert!(close_reason.end(Side::There, &"ä".repeat(150)) && !close_reason.end(Side::Here, "later"));
        assert_eq!(close_reason.how(), Some((Side::There, "ä".repeat(100))));
        assert_eq!(shortened(&format!("x{}", "ä".repeat(150))).len(), 199);
    }

    #[test]
    fn what_the_other_side_did_is_told_to_everyone() {
        let close_reason = CloseReason::default();
        let error = TransportError::Violation { what: "it does not keep to the protocol".to_owned() };
        assert!(close_reason.fail(error) && !close_reason.end(Side::Here, "later"));
        assert!(matches!(close_reason.error(), Some(TransportError::Violation { .. })));
        assert_eq!(close_reason.how(), Some((Side::Here, "it does not keep to the protocol".to_owned())));
    }
}
