//! A cache of digests. Neighbours compare at the same moments and about the same spans: one computation serves many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use super::read_state::ReadState;
use crate::arrivals::{Effect, Runs};
use crate::bounds::{DIGEST_ARRIVALS, DIGESTS_KEPT};
use crate::message::Digest;
use crate::tree::Root;
use crate::{ReadError, TimeSpan};

/// The latest digests, and their edition.
#[derive(Debug, Default)]
pub(super) struct Digests {
    kept: Mutex<Kept>,
    /// The spans whose digests are being computed. Each lock is held meanwhile.
    computing: Mutex<Vec<(TimeSpan, Weak<Turn>)>>,
}

type Turn = tokio::sync::Mutex<()>;

#[derive(Debug, Default)]
struct Kept {
    known: VecDeque<Known>,
    edition: Edition,
}

/// The number of corrections of the tree that brought no arrival. A digest computed before the last of them is not
/// kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Edition(u64);

/// A digest, and the number of arrivals in the state of which it was computed.
#[derive(Debug, Clone)]
struct Known {
    span: TimeSpan,
    root: Root,
    digest: Digest,
    arrivals: u64,
}

impl Digests {
    /// The digest of `span`, if it was computed and no event has arrived there since.
    pub(super) async fn get(
        &self,
        span: TimeSpan,
        state: &ReadState,
    ) -> Result<Option<(Root, Digest)>, ReadError> {
        let (known, edition) = {
            let kept = self.kept();
            (kept.known.iter().find(|known| known.span == span).cloned(), kept.edition)
        };
        let Some(known) = known else { return Ok(None) };
        if !is_untouched(span, known.arrivals, state).await? {
            return Ok(None);
        }
        let arrivals = state.checkpoint.next_arrival.max(known.arrivals);
        self.keep(span, (known.root, &known.digest), arrivals, edition);
        Ok(Some((known.root, known.digest)))
    }

    /// Waits while another caller computes the digest of this very span. It is kept then, unless an event has arrived.
    pub(super) async fn turn(&self, span: TimeSpan) -> OwnedMutexGuard<()> {
        let turn = {
            let mut computing = self.computing.lock().unwrap_or_else(PoisonError::into_inner);
            computing.retain(|(_, turn)| turn.strong_count() > 0);
            let known = computing.iter().find(|(other, _)| *other == span);
            known.and_then(|(_, turn)| turn.upgrade()).unwrap_or_else(|| {
                let turn = Arc::new(Turn::default());
                computing.push((span, Arc::downgrade(&turn)));
                turn
            })
        };
        turn.lock_owned().await
    }

    /// The edition of a digest that is computed from now on.
    pub(super) fn edition(&self) -> Edition {
        self.kept().edition
    }

    /// Keeps a digest computed of a state with so many arrivals.
    pub(super) fn keep(
        &self,
        span: TimeSpan,
        (root, digest): (Root, &Digest),
        arrivals: u64,
        edition: Edition,
    ) {
        let mut kept = self.kept();
        if kept.edition != edition {
            return;
        }
        kept.known.retain(|known| known.span != span);
        kept.known.truncate(DIGESTS_KEPT - 1);
        kept.known.push_front(Known { span, root, digest: digest.clone(), arrivals });
    }

    /// Forgets all after a correction, or after a failure of the store.
    pub(super) fn forget(&self) {
        let mut kept = self.kept();
        kept.known.clear();
        kept.edition.0 += 1;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic leaves no entry half written.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether no event has arrived in `span` from the arrival `since` on. False if there are too many to read.
async fn is_untouched(span: TimeSpan, since: u64, state: &ReadState) -> Result<bool, ReadError> {
    let end = state.checkpoint.next_arrival;
    if since >= end {
        return Ok(true);
    }
    if end - since > DIGEST_ARRIVALS {
        return Ok(false);
    }
    let mut seen = 0;
    let mut runs = Runs::from(&*state.view, since).await?;
    while let Some(page) = runs.next().await? {
        for run in page {
            let Ok(run) = run else { return Ok(false) };
            for arrival in run.from(since).filter(|arrival| arrival.sequence < end) {
                if arrival.effect == Effect::Stored && span.contains(arrival.event_key.timestamp) {
                    return Ok(false);
                }
                seen += 1;
            }
        }
    }
    // Some may have been trimmed.
    Ok(seen == end - since)
}
