//! The writer: the one task that changes the store. It decides which piece of work comes next; the work itself stands
//! in [`submissions`](super::submissions), [`expiry`](super::expiry) and the [`Committer`].
//!
//! It drains the waiting submissions, up to the bounds of a batch, makes one commit of them and answers. Submissions
//! that come meanwhile wait for the next batch: under load every fsync serves thousands of writes, at rest a write
//! waits for no other.

use std::future::pending;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::committer::Committer;
use super::expiry::Expiry;
use super::queue::{Request, Submission};
use super::state::Published;
use super::submissions::Submissions;
use super::tree_changes::Nodes;
use crate::bounds::{COMMIT_BYTES, COMMIT_EVENTS};
use crate::steady;

/// The loop of the task.
pub(super) struct Writer {
    committer: Committer,
    requests: mpsc::Receiver<Request>,
    submissions: Submissions,
    expiry: Expiry,
    /// Whether the last piece of work was one that goes before requests. A waiting request has its turn then: a walk
    /// computes nodes faster than they are stored, and a busy key has a write for each millisecond; either would keep
    /// the writer to itself.
    owes_turn: bool,
    /// A request taken from the queue that did not belong to the batch.
    stash: Option<Request>,
}

/// The next piece of work.
enum Next {
    Request(Request),
    /// The last handle is gone.
    Abandoned,
    Nodes(Option<(u64, Nodes)>),
    Sync,
    Retry,
    Waiting,
    Expiry,
}

impl Writer {
    pub(super) fn new(committer: Committer, requests: mpsc::Receiver<Request>) -> Self {
        Self {
            committer,
            requests,
            submissions: Submissions::default(),
            expiry: Expiry::new(),
            owes_turn: false,
            stash: None,
        }
    }

    /// Starts the task. If it dies, which is a defect, the replica is closed with an error in the log: a node that
    /// writes nothing must not look like one at rest.
    pub(super) fn spawn(self) {
        let shared = Arc::clone(&self.committer.shared);
        let writer = tokio::spawn(self.run());
        tokio::spawn(async move {
            let Err(error) = writer.await else { return };
            // A runtime that shuts down cancels its tasks.
            if error.is_panic() {
                tracing::error!("the writer has died, and the replica is closed: {error}");
                shared.published.store(Arc::new(Published::Closed));
                shared.died.send_replace(Some(error.to_string()));
                shared.arrivals.send_modify(|_| ());
            }
        });
    }

    /// Works until the replica is closed or its last handle is gone.
    async fn run(mut self) {
        loop {
            match self.next().await {
                Next::Request(request) => {
                    if self.serve(request).await.is_break() {
                        return;
                    }
                }
                Next::Abandoned => {
                    if let Err(error) = self.committer.close().await {
                        tracing::error!(%error, "closing the store failed");
                    }
                    return;
                }
                Next::Nodes(Some((walk, nodes))) => {
                    self.committer.commit_nodes(walk, nodes).await;
                    self.owes_turn = true;
                }
                // A walk has ended: a store without isolated views may be written again.
                Next::Nodes(None) => {}
                Next::Sync => drop(self.committer.sync().await),
                Next::Retry => self.committer.retry().await,
                Next::Waiting => {
                    self.submissions.retry_waiting(&mut self.committer).await;
                    self.owes_turn = true;
                }
                Next::Expiry => {
                    self.expiry.commit_due(&mut self.committer).await;
                    self.owes_turn = true;
                }
            }
        }
    }

    async fn next(&mut self) -> Next {
        if let Some(request) = self.stash.take() {
            return Next::Request(request);
        }
        let Committer { shared, tree, health, next_expiry, sync_at, .. } = &mut self.committer;
        // A store without isolated views must stand still during a walk of the tree.
        let stand_still = tree.is_walked() && !shared.capabilities.isolated_views;
        if std::mem::take(&mut self.owes_turn)
            && !stand_still
            && let Ok(request) = self.requests.try_recv()
        {
            return Next::Request(request);
        }
        tokio::select! {
            biased;
            () = until(*sync_at) => Next::Sync,
            () = until(health.retry_at), if !stand_still => Next::Retry,
            () = until(self.submissions.wake_at()), if !stand_still => Next::Waiting,
            () = until(self.expiry.wake_at(*next_expiry, shared.wall.now())), if !stand_still => Next::Expiry,
            nodes = tree.next_nodes() => Next::Nodes(nodes),
            request = self.requests.recv(), if !stand_still => request.map_or(Next::Abandoned, Next::Request),
        }
    }

    /// Breaks once the replica is closed.
    async fn serve(&mut self, request: Request) -> ControlFlow<()> {
        let committer = &mut self.committer;
        match request {
            Request::Submit(first) => {
                let submissions = self.drain(first);
                self.submissions.commit(submissions, &mut self.committer).await;
            }
            Request::Walk { told, reply } => committer.begin_walk(told, reply),
            Request::Mend(writes, counted, reply) => drop(reply.send(committer.mend(writes, counted).await)),
            Request::MendSketch(correction, reply) => {
                drop(reply.send(committer.mend_sketch(correction).await));
            }
            Request::WriteSetting(setting, reply) => {
                drop(reply.send(committer.commit_setting(setting).await));
            }
            Request::Refresh => committer.resync().await,
            Request::Settle(until, reply) => drop(reply.send(committer.settle(until).await)),
            Request::ResumeClock(reply) => drop(reply.send(committer.resume_clock().await)),
            Request::Close(reply) => {
                drop(reply.send(committer.close().await));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// `first` and the submissions that wait behind it, as many as one batch may hold.
    fn drain(&mut self, first: Submission) -> Vec<Submission> {
        let (mut events, mut bytes) = first.content.size();
        let mut submissions = vec![first];
        while events < COMMIT_EVENTS && bytes < COMMIT_BYTES {
            match self.requests.try_recv() {
                Ok(Request::Submit(submission)) => {
                    let (more_events, more_bytes) = submission.content.size();
                    events += more_events;
                    bytes += more_bytes;
                    submissions.push(submission);
                }
                Ok(other) => {
                    self.stash = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        submissions
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        // A moment that has come needs no timer: the runtime may have none.
        Some(moment) if moment <= steady::now() => {}
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}
