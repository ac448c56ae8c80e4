//! The agent's interface to its replica.

use std::future::Future;
use std::ops::Range;

use crate::message::{Digest, NodeDigest};
use crate::sketch::{Cells, Mapping, SketchKey};
use crate::tree::{NodePosition, Root};
use crate::{Event, EventKey, ReadError, TimeSpan};

/// The result of a check of stored hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedHashes {
    /// Events read for the check.
    pub events: u64,
    /// Wrong stored hashes and counts. They are computed anew.
    pub wrong: usize,
    /// The part left for the next check.
    pub rest: Option<TimeSpan>,
}

/// The result of a walk over the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked<T> {
    /// The answer.
    pub answer: T,
    /// Rows read for this answer alone. Hashes computed for all neighbours do not count.
    pub rows: u64,
}

/// The contents of a replica, as its agents see it. Each answer is consistent in itself; between two answers events
/// may be added, but never removed.
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

    /// Checks the stored hashes and counts of the nodes in `span` and above it against the events, and drops the wrong
    /// ones.
    fn check_hashes(&self, span: TimeSpan) -> impl Future<Output = Result<CheckedHashes, ReadError>> + Send;

    /// The key of the replica's sketch, the same on all nodes of a cluster.
    fn sketch_key(&self) -> SketchKey;

    /// The cells with the indexes `range` of the events in `span`. Those that the replica keeps cost no read if `span`
    /// is all time; else the events in `span` are read, or those after it if `span` begins with time.
    fn cells(
        &self,
        span: TimeSpan,
        mapping: Mapping,
        range: Range<usize>,
    ) -> impl Future<Output = Result<Walked<Cells>, ReadError>> + Send;

    /// Keys of events of `span` before `before`, latest first, at most `most` of them.
    fn event_keys(
        &self,
        span: TimeSpan,
        before: Option<EventKey>,
        most: usize,
    ) -> impl Future<Output = Result<Vec<EventKey>, ReadError>> + Send;

    /// The event with this key.
    fn event(&self, event_key: EventKey) -> impl Future<Output = Result<Option<Event>, ReadError>> + Send;

    /// Which of these events the replica lacks, in the same order.
    fn missing(
        &self,
        event_keys: &[EventKey],
    ) -> impl Future<Output = Result<Vec<EventKey>, ReadError>> + Send;
}
