//! Importing: many events, batch by batch. The next batch is prepared while the last one becomes durable.

use std::collections::VecDeque;

use super::handle::Replica;
use super::operation::Inserted;
use super::queue::Answer;
use crate::bounds::{COMMIT_BYTES, COMMIT_EVENTS};
use crate::event::is_reserved;
use crate::news::Origin;
use crate::store::Durability;
use crate::{Event, WriteError};

/// Batches under way at once: one being stored, one waiting to be.
const BATCHES_IN_FLIGHT: usize = 2;

/// Inserts a stream of events. Each batch of up to 4,096 events or 8 MiB is one atomic, durable write.
pub struct Import<'r> {
    replica: &'r Replica,
    batch: Vec<Event>,
    bytes: usize,
    in_flight: VecDeque<Answer<Inserted>>,
    inserted: Inserted,
}

impl Replica {
    /// Begins an import. Importing an event again changes nothing, so an import that broke off is simply repeated.
    pub fn import(&self) -> Import<'_> {
        Import {
            replica: self,
            batch: Vec::new(),
            bytes: 0,
            in_flight: VecDeque::new(),
            inserted: Inserted::default(),
        }
    }
}

impl Import<'_> {
    /// Adds an event. Waits while two batches are on their way to the disk.
    ///
    /// # Errors
    /// As [`Replica::insert`]; about this event, or about a batch pushed earlier. The events that [`Import::inserted`]
    /// counts are stored.
    pub async fn push(&mut self, event: Event) -> Result<(), WriteError> {
        if is_reserved(event.key()) {
            return Err(WriteError::ReservedKey);
        }
        self.bytes += event.weight();
        self.batch.push(event);
        if self.batch.len() >= COMMIT_EVENTS || self.bytes >= COMMIT_BYTES {
            self.send_batch().await
        } else {
            Ok(())
        }
    }

    /// Stores the rest, and returns the result of the whole import.
    ///
    /// # Errors
    /// As [`Import::push`].
    pub async fn finish(mut self) -> Result<Inserted, WriteError> {
        self.settle().await?;
        Ok(self.inserted)
    }

    /// Waits until everything pushed so far is stored.
    ///
    /// # Errors
    /// As [`Import::push`].
    pub async fn settle(&mut self) -> Result<(), WriteError> {
        if !self.batch.is_empty() {
            self.send_batch().await?;
        }
        while !self.in_flight.is_empty() {
            self.await_oldest().await?;
        }
        Ok(())
    }

    /// The result so far.
    pub fn inserted(&self) -> Inserted {
        self.inserted
    }

    async fn send_batch(&mut self) -> Result<(), WriteError> {
        while self.in_flight.len() >= BATCHES_IN_FLIGHT {
            self.await_oldest().await?;
        }
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        self.in_flight.push_back(self.replica.submit(batch, Origin::Local, Durability::Immediate).await?);
        Ok(())
    }

    async fn await_oldest(&mut self) -> Result<(), WriteError> {
        if let Some(answer) = self.in_flight.pop_front() {
            let inserted = answer.wait().await?;
            self.inserted.new += inserted.new;
            self.inserted.known += inserted.known;
        }
        Ok(())
    }
}
