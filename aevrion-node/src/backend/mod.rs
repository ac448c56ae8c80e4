//! The backend of a verb: a replica opened here, or a running node. A verb is written once, for both.

mod long;
mod streams;

use std::time::Duration;

use aevrion_core::{Cursor, EventKey, Parameters, Replica};
use bytes::Bytes;
use hyper::Method;

use crate::cli::Global;
use crate::client::Client;
use crate::data::{self, Purpose};
use crate::failure::Failure;
use crate::moment::{Moment, Span};
use crate::paging::Page;
use crate::peer::MemberSelector;
use crate::report::{
    Done, ForgetReport, ProgressReport, RebuildReport, RemovedNode, StatusReport, SyncReport, VerifyReport,
    WaitReport,
};
use crate::requests::{self, History, Keys, Put, Scan};
use crate::wire::Target;

pub(crate) use streams::{Exporting, Importing, Watching};

/// The error of a verb that needs a running node, not a directory.
pub(crate) fn needs_a_node() -> Failure {
    Failure::usage("this asks a running node: leave --data out, and start the node with `aevrion serve`")
}

/// How much later than the wait its answer may arrive.
const AFTER_WAIT: Duration = Duration::from_secs(2);

/// A backend.
pub(crate) enum Backend {
    /// A directory, or a store in memory, opened by this process.
    Local(Replica),
    /// A running node.
    Remote(Client),
}

impl Backend {
    /// Opens the configured replica, or else connects to the node.
    ///
    /// A store in memory ends with the verb. So only the command line can request one: a setting of the environment or
    /// a file is meant for `serve`, and a lost write would look acknowledged.
    pub(crate) async fn open(global: &Global, purpose: Purpose) -> Result<Self, Failure> {
        if global.memory_insisted_on && global.data.is_none() && global.endpoint.is_some() {
            return Err(Failure::usage(
                "--store memory keeps nothing, and there is an endpoint to ask: leave --store out to ask the node, or \
                 unset the endpoint (--endpoint, AEVRION_ENDPOINT, the --config file) to try the verb in memory",
            ));
        }
        if global.data.is_some() || global.memory_insisted_on {
            return data::open_for(global, purpose).await.map(Self::Local);
        }
        Client::new(global.endpoint.as_deref(), global.timeout()).map(Self::Remote)
    }

    /// Closes the replica.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Local(replica) => {
                replica.close().await.map_err(|error| Failure::from(error).during("closing the store"))
            }
            Self::Remote(_) => Ok(()),
        }
    }

    pub(crate) async fn put(&self, put: Put) -> Result<EventKey, Failure> {
        match self {
            Self::Local(replica) => Ok(put.write(replica).await?),
            Self::Remote(client) => {
                let target = Target::of_key("/v1/kv/", &put.key)
                    .with_some("ttl", put.ttl.map(Span))
                    .with_some("timestamp", put.timestamp);
                client.place(Method::PUT, &target, put.data).await
            }
        }
    }

    pub(crate) async fn delete(&self, key: &[u8]) -> Result<EventKey, Failure> {
        match self {
            Self::Local(replica) => Ok(replica.delete(key).await?),
            Self::Remote(client) => {
                client.place(Method::DELETE, &Target::of_key("/v1/kv/", key), Bytes::new()).await
            }
        }
    }

    pub(crate) async fn get(&self, key: &[u8], at: Option<Moment>) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Local(replica) => {
                let event = requests::get(replica, key, at).await?;
                Ok(event.and_then(|event| event.value().data().cloned()))
            }
            Self::Remote(client) => client.value(key, at).await,
        }
    }

    pub(crate) async fn history(&self, history: &History) -> Result<Page, Failure> {
        match self {
            Self::Local(replica) => Ok(history.page(replica).await?),
            Self::Remote(client) => {
                let reverse = history.order == aevrion_core::Order::NewestFirst;
                let target = Target::of_key("/v1/history/", &history.key)
                    .with_some("limit", history.limit)
                    .with_some("reverse", Some(reverse))
                    .with_some("cursor", history.cursor.as_ref())
                    .at(history.at);
                client.page(&target).await
            }
        }
    }

    pub(crate) async fn scan(&self, scan: &Scan) -> Result<Page, Failure> {
        match self {
            Self::Local(replica) => Ok(scan.page(replica).await?),
            Self::Remote(client) => {
                let target = match &scan.keys {
                    Keys::Prefix(prefix) => Target::new("/v1/scan").with("prefix", prefix),
                    Keys::Range(from, None) => Target::new("/v1/scan").with("from", from),
                    Keys::Range(from, Some(to)) => Target::new("/v1/scan").with("from", from).with("to", to),
                };
                let target = target
                    .with_some("limit", scan.limit)
                    .with_some("cursor", scan.cursor.as_ref())
                    .at(scan.at);
                client.page(&target).await
            }
        }
    }

    pub(crate) async fn status(&self) -> Result<StatusReport, Failure> {
        match self {
            Self::Local(replica) => Ok(StatusReport::from(&replica.status().await?)),
            Self::Remote(client) => client.json(Method::GET, &Target::new("/v1/status"), Bytes::new()).await,
        }
    }

    /// Accepts writes again although the clock was set back.
    pub(crate) async fn resume_clock(&self) -> Result<(), Failure> {
        match self {
            Self::Local(replica) => Ok(replica.resume_clock().await?),
            Self::Remote(client) => client
                .json::<Done>(Method::POST, &Target::new("/v1/clock/resume"), Bytes::new())
                .await
                .map(drop),
        }
    }

    /// The parameters of the store.
    pub(crate) async fn parameters(&self) -> Result<Parameters, Failure> {
        match self {
            Self::Local(replica) => Ok(replica.parameters()),
            Self::Remote(_) => {
                let status = self.status().await?;
                Ok(Parameters {
                    granularity: status.granularity_ms,
                    branching: status.branching,
                    longest_key: status.longest_key,
                    largest_data: status.largest_data,
                })
            }
        }
    }

    pub(crate) async fn verify(
        &self,
        mut step: impl FnMut(ProgressReport) + Send,
    ) -> Result<VerifyReport, Failure> {
        match self {
            Self::Local(replica) => {
                let found = replica.verify(|progress| step(progress.into())).await?;
                Ok(VerifyReport::from(&found))
            }
            Self::Remote(client) => long::ask(client, "/v1/verify", step).await,
        }
    }

    pub(crate) async fn rebuild(
        &self,
        mut step: impl FnMut(ProgressReport) + Send,
    ) -> Result<RebuildReport, Failure> {
        match self {
            Self::Local(replica) => {
                let rebuilt = replica.rebuild(|progress| step(progress.into())).await?;
                Ok(RebuildReport::from(&rebuilt))
            }
            Self::Remote(client) => long::ask(client, "/v1/rebuild", step).await,
        }
    }

    /// The node's report of its synchronisation.
    pub(crate) async fn sync_status(&self) -> Result<SyncReport, Failure> {
        self.node()?.json(Method::GET, &Target::new("/v1/sync"), Bytes::new()).await
    }

    /// Makes the node compare with its neighbours.
    pub(crate) async fn sync_now(&self) -> Result<SyncReport, Failure> {
        self.node()?.json(Method::POST, &Target::new("/v1/sync/now"), Bytes::new()).await
    }

    /// Waits until the node's neighbours agree with it, or for about `timeout`.
    pub(crate) async fn sync_wait(&self, timeout: Duration) -> Result<WaitReport, Failure> {
        let target = Target::new("/v1/sync/wait").with_some("timeout", Some(Span(timeout)));
        let node = self.node()?.with_stall_timeout(timeout + AFTER_WAIT);
        node.json(Method::POST, &target, Bytes::new()).await
    }

    /// Makes the node forget a node or an address.
    pub(crate) async fn forget(&self, selector: &MemberSelector) -> Result<ForgetReport, Failure> {
        let name = if matches!(selector, MemberSelector::IdPrefix(_)) { "node" } else { "address" };
        let target = Target::new("/v1/cluster/forget").with(name, selector.to_string().as_bytes());
        self.node()?.json(Method::POST, &target, Bytes::new()).await
    }

    /// Sends a statement of the authority to the node, which removes another from the cluster.
    pub(crate) async fn remove_node(&self, statement: Bytes) -> Result<RemovedNode, Failure> {
        self.node()?.json(Method::POST, &Target::new("/v1/cluster/removals"), statement).await
    }

    fn node(&self) -> Result<&Client, Failure> {
        match self {
            Self::Remote(client) => Ok(client),
            Self::Local(_) => Err(needs_a_node()),
        }
    }

    pub(crate) async fn export(&self) -> Result<Exporting, Failure> {
        Exporting::begin(self).await
    }

    pub(crate) fn import(&self) -> Importing<'_> {
        Importing::begin(self)
    }

    pub(crate) fn watch(&self, prefix: Bytes, cursor: Option<Cursor>) -> Result<Watching, Failure> {
        Watching::begin(self, prefix, cursor)
    }
}
