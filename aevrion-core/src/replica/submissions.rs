//! Submissions on their way into a commit: local writes get their time, events keep theirs, and each submission is
//! answered when the commit is stored. Writes that the clock blocks wait here.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::commit_batch::CommitBatch;
use super::committer::Committer;
use super::operation::{Inserted, Operation};
use super::queue::{Content, Submission};
use super::waiting::WaitingWrites;
use crate::coop::{charge, rows_of};
use crate::fault_injection::{Bug, injected};
use crate::news::Origin;
use crate::store::Durability;
use crate::{Blocked, Event, EventKey, Timestamp, Value, WriteError, steady};

/// Puts submissions into commits.
#[derive(Default)]
pub(super) struct Submissions {
    /// Local writes that the clock does not let through yet.
    waiting: WaitingWrites,
}

/// The answer to a submission whose content is in the batch, once that is stored.
enum Outcome {
    EventKeys(Vec<EventKey>, oneshot::Sender<Result<Vec<EventKey>, WriteError>>),
    Inserted(Inserted, oneshot::Sender<Result<Inserted, WriteError>>),
}

impl Outcome {
    fn send(self, outcome: Result<(), WriteError>) {
        // The caller may have gone away: the write stands all the same.
        match self {
            Self::EventKeys(event_keys, reply) => drop(reply.send(outcome.map(|()| event_keys))),
            Self::Inserted(inserted, reply) => drop(reply.send(outcome.map(|()| inserted))),
        }
    }
}

/// The result of putting a submission into the batch.
enum Assembled {
    /// It is in the batch.
    Ready(Outcome),
    /// The clock blocks it for this reason, or it waits behind another write of its key.
    Waits(Content, Option<Blocked>),
    /// The store could not be read to place it.
    Failed(Content, WriteError),
}

/// Local writes with their timestamps, or the reason why they get none yet.
enum Stamped {
    Events(Vec<Event>),
    Blocked(Blocked),
}

impl Submissions {
    /// When to try the waiting writes again.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.waiting.wake_at()
    }

    /// Tries the waiting writes again.
    pub(super) async fn retry_waiting(&mut self, committer: &mut Committer) {
        let waiting = self.waiting.take();
        self.commit(waiting, committer).await;
    }

    /// Stores the content of the submissions in one commit, and answers them.
    pub(super) async fn commit(&mut self, submissions: Vec<Submission>, committer: &mut Committer) {
        let state = match committer.ready().await {
            Ok(state) => state,
            Err(error) => {
                for submission in submissions {
                    submission.content.refuse(WriteError::ReadOnly(error.clone()));
                }
                return;
            }
        };
        let buffered = submissions.iter().all(|submission| submission.durability == Durability::Buffered);
        let buffered = buffered || injected(Bug::AckedTooEarly);
        let durability = if buffered { Durability::Buffered } else { Durability::Immediate };
        let mut batch = committer.batch(state);
        let mut answers = Vec::with_capacity(submissions.len());
        // Held until the answers are out: they bound the queue.
        let mut spaces = Vec::with_capacity(submissions.len());
        let mut failure = None;
        for Submission { content, durability, space, deadline } in submissions {
            if let Some(error) = &failure {
                content.refuse(WriteError::clone(error));
                continue;
            }
            if content.is_abandoned() {
                continue;
            }
            match self.assemble(content, &mut batch, committer).await {
                Assembled::Ready(answer) => {
                    answers.push(answer);
                    spaces.push(space);
                }
                Assembled::Waits(content, blocked) => {
                    let submission = Submission { content, durability, space, deadline };
                    self.waiting.add(submission, blocked, steady::now());
                }
                // Its events in the batch cannot be told from the rest: none of the batch is stored.
                Assembled::Failed(content, error) => {
                    content.refuse(error.clone());
                    failure = Some(error);
                }
            }
        }
        let outcome = match failure {
            Some(error) => {
                if let WriteError::Store(error) = &error {
                    committer.fail(error).await;
                }
                Err(error)
            }
            None => committer.commit_batch(batch, durability).await.map_err(WriteError::Store),
        };
        for answer in answers {
            answer.send(outcome.clone());
        }
    }

    /// Puts the content of a submission into the batch.
    async fn assemble(
        &self,
        content: Content,
        batch: &mut CommitBatch,
        committer: &mut Committer,
    ) -> Assembled {
        match content {
            Content::Events(events, origin, reply) => {
                match add_events(&events, origin, batch, committer).await {
                    Ok(inserted) => Assembled::Ready(Outcome::Inserted(inserted, reply)),
                    Err(error) => Assembled::Failed(Content::Events(events, origin, reply), error),
                }
            }
            content if self.waiting.hold_back(&content) => Assembled::Waits(content, None),
            Content::Operations(operations, reply) => match stamp(&operations, batch, committer).await {
                Ok(Stamped::Blocked(blocked)) => {
                    Assembled::Waits(Content::Operations(operations, reply), Some(blocked))
                }
                Ok(Stamped::Events(events)) => {
                    let event_keys = events.iter().map(Event::event_key).collect();
                    match add_events(&events, Origin::Local, batch, committer).await {
                        Ok(_) => Assembled::Ready(Outcome::EventKeys(event_keys, reply)),
                        Err(error) => Assembled::Failed(Content::Operations(operations, reply), error),
                    }
                }
                Err(error) => Assembled::Failed(Content::Operations(operations, reply), error),
            },
        }
    }
}

async fn add_events(
    events: &[Event],
    origin: Origin,
    batch: &mut CommitBatch,
    committer: &mut Committer,
) -> Result<Inserted, WriteError> {
    let Committer { shared, clock, .. } = committer;
    let wall = shared.wall.now();
    let mut inserted = Inserted::default();
    for event in events {
        charge(1 + rows_of(event.weight())).await;
        match origin {
            Origin::Local => clock.note(event.key(), event.timestamp()),
            Origin::Pushed(_) | Origin::Repaired(_) => clock.observe(wall, event.key(), event.timestamp()),
        }
        if origin != Origin::Local && is_dropped(event, wall, shared.parameters.largest_data) {
            continue;
        }
        if batch.add(event).await.map_err(WriteError::Store)? {
            inserted.new += 1;
            batch.tell(event, origin);
        } else {
            inserted.known += 1;
        }
    }
    Ok(inserted)
}

/// Gives each operation its time, all of them or none.
async fn stamp(
    operations: &[Operation],
    batch: &CommitBatch,
    committer: &mut Committer,
) -> Result<Stamped, WriteError> {
    let wall = committer.shared.wall.now();
    let mut clock = committer.clock.clone();
    let mut events = Vec::with_capacity(operations.len());
    for (place, Operation { key, value }) in operations.iter().enumerate() {
        charge(1 + rows_of(value.len())).await;
        let timestamp = loop {
            let timestamp = match clock.issue(wall, key) {
                Ok(timestamp) => timestamp,
                Err(_) if injected(Bug::BatchPastDrift) && !events.is_empty() => {
                    clock.exceed(wall);
                    continue;
                }
                Err(blocked) => {
                    // A new attempt is useless before the last write of this key fits.
                    let more = operations[place + 1..].iter().filter(|more| more.key == *key).count();
                    return Ok(Stamped::Blocked(blocked.and_more(more)));
                }
            };
            // A client may have placed an event at this very moment, or one came from the future.
            let may_be_taken = batch.greatest.is_some_and(|greatest| timestamp <= greatest);
            if !(may_be_taken && batch.has_version_at(key, timestamp).await?) {
                break timestamp;
            }
        };
        events.push(Event::new(key.clone(), value.clone(), timestamp)?);
    }
    committer.clock = clock;
    Ok(Stamped::Events(events))
}

/// Whether an injected bug drops this event of a neighbour.
fn is_dropped(event: &Event, wall: Timestamp, largest: u32) -> bool {
    let old = event.timestamp() < wall.before(Duration::from_secs(3_600));
    let fills = u32::try_from(event.value().len()).is_ok_and(|len| len == largest);
    injected(Bug::OldRefused) && old
        || injected(Bug::LargestRefused) && fills
        || injected(Bug::DeletionDropped) && *event.value() == Value::Deletion
}
