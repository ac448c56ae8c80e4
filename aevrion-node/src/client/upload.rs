//! An import over HTTP: each batch is a request of its own, whose answer tells that the batch is stored.

use std::collections::VecDeque;

use aevrion_core::{Event, Inserted};
use bytes::Bytes;
use hyper::Method;
use tokio::task::JoinHandle;

use super::Client;
use crate::failure::Failure;
use crate::record::Shown;
use crate::report::ImportReport;
use crate::wire::Target;

/// Batches in flight: one being stored, one waiting, as in an import into a directory.
const LOTS_IN_FLIGHT: usize = 2;

/// An import in progress.
pub(crate) struct Upload {
    client: Client,
    in_flight: VecDeque<JoinHandle<Result<ImportReport, Failure>>>,
    inserted: Inserted,
}

impl Upload {
    pub(crate) fn new(client: &Client) -> Self {
        Self { client: client.clone(), in_flight: VecDeque::new(), inserted: Inserted::default() }
    }

    /// Sends a batch. Waits while two are in flight.
    pub(crate) async fn push(&mut self, batch: &[Event]) -> Result<(), Failure> {
        while self.in_flight.len() >= LOTS_IN_FLIGHT {
            self.await_oldest().await?;
        }
        let mut lines = Vec::new();
        for event in batch {
            serde_json::to_writer(&mut lines, &Shown::new(event)).map_err(Failure::error)?;
            lines.push(b'\n');
        }
        let (client, lines) = (self.client.clone(), Bytes::from(lines));
        self.in_flight.push_back(tokio::spawn(async move {
            client.json(Method::POST, &Target::new("/v1/import"), lines).await
        }));
        Ok(())
    }

    /// Waits until all events are stored.
    pub(crate) async fn settle(&mut self) -> Result<(), Failure> {
        while !self.in_flight.is_empty() {
            self.await_oldest().await?;
        }
        Ok(())
    }

    /// The events known to be stored.
    pub(crate) fn inserted(&self) -> Inserted {
        self.inserted
    }

    async fn await_oldest(&mut self) -> Result<(), Failure> {
        if let Some(answer) = self.in_flight.pop_front() {
            let report = answer.await.map_err(Failure::error)??;
            self.inserted.new += report.new;
            self.inserted.known += report.known;
        }
        Ok(())
    }
}
