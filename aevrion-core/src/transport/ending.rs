//! How a connection ended: said once, by whoever was first, and seen by everyone who waits.

use bytes::Bytes;
use tokio::sync::watch;

use super::{LONGEST_REASON, Side, TransportError};

/// The end of a connection, to come or past.
#[derive(Debug)]
pub struct Ending {
    how: watch::Sender<Option<(Side, String)>>,
}

impl Default for Ending {
    fn default() -> Self {
        Self { how: watch::Sender::new(None) }
    }
}

impl Ending {
    /// Ends it, if it has not ended before; says whether it was this call that did.
    pub fn end(&self, by: Side, reason: &str) -> bool {
        self.how.send_if_modified(|how| {
            let first = how.is_none();
            if first {
                *how = Some((by, shortened(reason).to_owned()));
            }
            first
        })
    }

    /// Who ended it, and why.
    pub fn how(&self) -> Option<(Side, String)> {
        self.how.borrow().clone()
    }

    /// The error of whoever uses it from now on; `None` while it has not ended.
    pub fn error(&self) -> Option<TransportError> {
        self.how().map(|(by, reason)| TransportError::Closed { by, reason })
    }

    /// Waits for the end.
    pub async fn wait(&self) -> TransportError {
        let mut how = self.how.subscribe();
        // The sender lives as long as `self`.
        let _ = how.wait_for(Option::is_some).await;
        self.error().unwrap_or(TransportError::Closed { by: Side::Here, reason: String::new() })
    }

    /// What a receive answers after `error`: an end without a reason was an orderly one.
    ///
    /// # Errors
    /// `error`, otherwise.
    pub fn received(error: TransportError) -> Result<Option<Bytes>, TransportError> {
        match error {
            TransportError::Closed { reason, .. } if reason.is_empty() => Ok(None),
            error => Err(error),
        }
    }
}

/// As much of a reason as the other side is told.
pub fn shortened(reason: &str) -> &str {
    let end = (0..=LONGEST_REASON.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
    &reason[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts_and_is_cut_between_characters() {
        let ending = Ending::default();
        assert!(ending.error().is_none());
        assert!(ending.end(Side::There, &"ä".repeat(150)) && !ending.end(Side::Here, "later"));
        assert_eq!(ending.how(), Some((Side::There, "ä".repeat(100))));
        assert_eq!(shortened(&format!("x{}", "ä".repeat(150))).len(), 199);
    }
}
