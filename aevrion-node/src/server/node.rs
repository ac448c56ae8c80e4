//! What a server serves: the replica, and whatever keeps it in step with others.
//!
//! This is where a synchronisation joins: opened with the replica, asked for its neighbours, closed before it.

use aevrion_core::Replica;

use crate::cli::{Global, Serving};
use crate::data;
use crate::exit::Failure;
use crate::problem::Problem;
use crate::report::{Neighbour, StatusReport};

/// A node.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) replica: Replica,
    /// The store, for people.
    place: String,
}

impl Node {
    pub(super) async fn open(global: &Global, serving: &Serving) -> Result<Self, Failure> {
        let replica = data::open(global).await?;
        let engine = replica.status().await?.store.name;
        let place = match &global.data {
            Some(path) => format!("{engine} in {}", path.display()),
            None => "memory, which keeps nothing".to_owned(),
        };
        tracing::debug!(listen = %serving.listen, transport = ?serving.transport, "no peers are awaited");
        if !serving.peers.is_empty() {
            anstream::eprintln!("no peer is contacted: this version does not synchronise yet");
        }
        Ok(Self { replica, place })
    }

    /// Where the store is, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// What the node says of itself.
    pub(super) async fn status(&self) -> Result<StatusReport, Problem> {
        let mut report = StatusReport::from(&self.replica.status().await?);
        report.neighbours = self.neighbours();
        Ok(report)
    }

    /// Who it keeps in step with.
    pub(super) fn neighbours(&self) -> Vec<Neighbour> {
        Vec::new()
    }

    /// Makes everything durable, and lets go of the store.
    pub(super) async fn close(&self) -> Result<(), Failure> {
        self.replica.close().await.map_err(|error| Failure::from(error).during("closing the store"))
    }
}
