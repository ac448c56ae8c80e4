//! From what was asked for to one batch: local writes get their time, events that have theirs are taken as they are, and
//! whoever asked is answered when the batch is stored.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::commit_batch::CommitBatch;
use super::queue::{Content, Submission};
use super::queue::{Inserted, Operation};
use super::read_state::ReadState;
use super::writer::Writer;
use crate::coop::{charge, rows_of};
use crate::fault_injection::{Bug, injected};
use crate::news::Origin;
use crate::store::Durability;
use crate::{Blocked, Event, EventKey, Timestamp, Value, WriteError, steady};

/// A submission whose content is in the batch, and what to answer once that is stored.
enum Outcome {
    EventKeys(Vec<EventKey>, oneshot::Sender<Result<Vec<EventKey>, WriteError>>),
    Inserted(Inserted, oneshot::Sender<Result<Inserted, WriteError>>),
}

impl Outcome {
    fn send(self, outcome: Result<(), WriteError>) {
        // Whoever asked may have gone away: the write stands all the same.
        match self {
            Self::EventKeys(event_keys, reply) => drop(reply.send(outcome.map(|()| event_keys))),
            Self::Inserted(inserted, reply) => drop(reply.send(outcome.map(|()| inserted))),
        }
    }
}

/// What became of a submission.
enum Assembled {
    /// It is in the batch.
    Ready(Outcome),
    /// The clock does not let it through yet, for this reason or because of another write of its key.
    Waits(Content, Option<Blocked>),
    /// The store could not be read to place it.
    Failed(Content, WriteError),
}

/// What became of local writes that were to be stamped.
enum Stamped {
    Events(Vec<Event>),
    Blocked(Blocked),
}

impl Writer {
    /// Stores what the submissions bring in one commit, and answers them.
    pub(super) async fn store_submissions(&mut self, submissions: Vec<Submission>) {
        let base = match self.refusal() {
            Some(error) => Err(error),
            None => self.base().await,
        };
        let state = match base {
            Ok(state) => state,
            Err(error) => {
                for submission in submissions {
                    submission.content.refuse(WriteError::ReadOnly(error.clone()));
                }
                return;
            }
        };
        let shared = Arc::clone(&self.shared);
        let buffered = submissions.iter().all(|submission| submission.durability == Durability::Buffered);
        let buffered = buffered || injected(Bug::AckedTooEarly);
        let durability = if buffered { Durability::Buffered } else { Durability::Immediate };
        let mut batch = CommitBatch::new(&state, self.greatest, &shared);
        let mut answers = Vec::with_capacity(submissions.len());
        // Held until the answers are out: it is what bounds the queue.
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
            match self.assemble(content, &mut batch, &state).await {
                Assembled::Ready(answer) => {
                    answers.push(answer);
                    spaces.push(space);
                }
                Assembled::Waits(content, blocked) => {
                    let submission = Submission { content, durability, space, deadline };
                    self.waiting.add(submission, blocked, steady::now());
                }
                // What this submission has put into the batch cannot be told from the rest: none of it is stored.
                Assembled::Failed(content, error) => {
                    content.refuse(error.clone());
                    failure = Some(error);
                }
            }
        }
        let outcome = match failure {
            Some(error) => {
                if let WriteError::Store(error) = &error {
                    self.fail(error).await;
                }
                Err(error)
            }
            None => self.finish(batch, &state, durability).await.map_err(WriteError::Store),
        };
        for answer in answers {
            answer.send(outcome.clone());
        }
    }

    /// Puts what a submission brings into the batch.
    async fn assemble(
        &mut self,
        content: Content,
        batch: &mut CommitBatch<'_>,
        state: &ReadState,
    ) -> Assembled {
        match content {
            Content::Events(events, origin, reply) => {
                match self.add_events(&events, origin, batch, state).await {
                    Ok(inserted) => Assembled::Ready(Outcome::Inserted(inserted, reply)),
                    Err(error) => Assembled::Failed(Content::Events(events, origin, reply), error),
                }
            }
            content if self.waiting.hold_back(&content) => Assembled::Waits(content, None),
            Content::Operations(operations, reply) => match self.stamp(&operations, batch, state).await {
                Ok(Stamped::Blocked(blocked)) => {
                    Assembled::Waits(Content::Operations(operations, reply), Some(blocked))
                }
                Ok(Stamped::Events(events)) => {
                    let event_keys = events.iter().map(Event::event_key).collect();
                    match self.add_events(&events, Origin::Local, batch, state).await {
                        Ok(_) => Assembled::Ready(Outcome::EventKeys(event_keys, reply)),
                        Err(error) => Assembled::Failed(Content::Operations(operations, reply), error),
                    }
                }
                Err(error) => Assembled::Failed(Content::Operations(operations, reply), error),
            },
        }
    }

    async fn add_events(
        &mut self,
        events: &[Event],
        origin: Origin,
        batch: &mut CommitBatch<'_>,
        state: &ReadState,
    ) -> Result<Inserted, WriteError> {
        let wall = self.shared.wall.now();
        let mut inserted = Inserted::default();
        for event in events {
            charge(1 + rows_of(event.weight())).await;
            match origin {
                Origin::Local => self.clock.note(event.key(), event.timestamp()),
                Origin::Pushed(_) | Origin::Repaired(_) => {
                    self.clock.observe(wall, event.key(), event.timestamp());
                }
            }
            if origin != Origin::Local && is_dropped(event, wall, self.shared.parameters.largest_data) {
                continue;
            }
            if batch.add(event, &*state.view).await.map_err(WriteError::Store)? {
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
        &mut self,
        operations: &[Operation],
        batch: &CommitBatch<'_>,
        state: &ReadState,
    ) -> Result<Stamped, WriteError> {
        let wall = self.shared.wall.now();
        let mut clock = self.clock.clone();
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
                        // Before the last write of this key fits there is no use in trying.
                        let more = operations[place + 1..].iter().filter(|more| more.key == *key).count();
                        return Ok(Stamped::Blocked(blocked.and_more(more)));
                    }
                };
                // A client may have placed an event at this very moment, or one came from the future.
                let may_be_taken = batch.greatest.is_some_and(|greatest| timestamp <= greatest);
                if !(may_be_taken && batch.has_version_at(key, timestamp, &*state.view).await?) {
                    break timestamp;
                }
            };
            events.push(Event::new(key.clone(), value.clone(), timestamp)?);
        }
        self.clock = clock;
        Ok(Stamped::Events(events))
    }
}

/// Whether a planted bug drops this event of a neighbour.
fn is_dropped(event: &Event, wall: Timestamp, largest: u32) -> bool {
    let old = event.timestamp() < wall.before(Duration::from_secs(3_600));
    let fills = u32::try_from(event.value().len()).is_ok_and(|len| len == largest);
    injected(Bug::OldRefused) && old
        || injected(Bug::LargestRefused) && fills
        || injected(Bug::DeletionDropped) && *event.value() == Value::Deletion
}
