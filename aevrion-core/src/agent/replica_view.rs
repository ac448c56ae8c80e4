//! What the agent may ask of the replica that it speaks for.

use std::future::Future;

use crate::message::{Digest, NodeDigest};
use crate::tree::{NodePosition, Root};
use crate::{Event, EventKey, ReadError, TimeSpan};

/// What checking stored hashes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedHashes {
    /// Events that were read for it.
    pub events: u64,
    /// Stored hashes and counts that were wrong. They are computed anew.
    pub wrong: usize,
    /// What was too much for one time.
    pub rest: Option<TimeSpan>,
}

/// What a walk over the tree came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked<T> {
    /// The answer.
    pub answer: T,
    /// Rows that were read for it alone. Hashes that were computed for all who ask do not count.
    pub rows: u64,
}

/// What a replica holds, as its agents see it. Each answer is consistent in itself; between two of them events may
/// arrive, and never any leave.
pub trait ReplicaView: Send + Sync {
    /// Hash and count of the events of `span`, and the non-empty nodes that cover it.
    fn digest(
        &self,
        span: TimeSpan,
    ) -> impl Future<Output = Result<Walked<(Root, Digest)>, ReadError>> + Send;

    /// For each parent its non-empty children, counting only events of `span`; indexes from the first child on.
    fn children(
        &self,
        span: TimeSpan,
        parents: &[NodePosition],
    ) -> impl Future<Output = Result<Walked<Vec<Vec<NodeDigest>>>, ReadError>> + Send;

    /// Checks what is stored of the nodes in `span` and above it against the events, and takes back what is wrong.
    fn check_hashes(&self, span: TimeSpan) -> impl Future<Output = Result<CheckedHashes, ReadError>> + Send;

    /// Addresses of events of `span` before `before`, latest first, at most `most` of them.
    fn event_keys(
        &self,
        span: TimeSpan,
        before: Option<EventKey>,
        most: usize,
    ) -> impl Future<Output = Result<Vec<EventKey>, ReadError>> + Send;

    /// The event at an address.
    fn event(&self, event_key: EventKey) -> impl Future<Output = Result<Option<Event>, ReadError>> + Send;

    /// Which of these events are not held, in the same order.
    fn missing(
        &self,
        event_keys: &[EventKey],
    ) -> impl Future<Output = Result<Vec<EventKey>, ReadError>> + Send;
}
