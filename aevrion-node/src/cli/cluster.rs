//! The command lines of `cluster` and `sync`.

use aevrion_core::transport::host_and_port;
use clap::Subcommand;

use super::TransportArgs;
use crate::peer::MemberSelector;

/// `cluster`.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterVerb {
    /// Make a cluster of which the node in --data is the first
    Init,
    /// Print a token by which one other machine can join within the hour: the node in --data does, served or not
    Token,
    /// Make --data a node of the cluster that the node at ADDR belongs to
    Join {
        /// The node that issued the token: host:port, quic://host:port or tcp://host:port
        #[arg(value_name = "ADDR")]
        peer: String,
        /// What `aevrion cluster token` printed there, or - to read it from standard input
        ///
        /// What stands on the command line others on this machine can see while it runs; what is in AEVRION_TOKEN or
        /// comes by standard input they cannot.
        #[arg(env = "AEVRION_TOKEN", hide_env_values = true)]
        token: String,
        /// Where others will reach this node, host:port: they are told [default: they wait to be dialled]
        #[arg(long, env = "AEVRION_ADVERTISE", hide_env_values = true, value_name = "ADDR", value_parser = reachable)]
        advertise: Option<String>,
        #[command(flatten)]
        transports: TransportArgs,
    },
    /// List the nodes that this one knows, those that are away among them
    Nodes,
    /// Put a node out of the cluster for good: its neighbours cut it off, and its certificate ends
    ///
    /// The node in --data does, which holds the cluster's authority; while it is served, with the server at --endpoint. A
    /// machine that is to come back needs a new key: remove the `cluster` directory of its data, and join anew.
    Remove {
        /// Its id, as `status` and `cluster nodes -o json` say, or how it begins
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// No longer wait for a node, nor dial it, nor tell others of it, until it comes by itself
    ///
    /// What a node that is away has written is expected until it is forgotten: nothing after it left is settled. A
    /// connection that stands stays.
    Forget {
        /// The beginning of a node's id; or host:port, where quic://host:port or tcp://host:port mean one of them
        #[arg(value_name = "NODE|ADDR")]
        whom: MemberSelector,
    },
}

/// `sync`.
#[derive(Debug, Subcommand)]
pub(crate) enum SyncVerb {
    /// Say how things stand with each neighbour
    Status,
    /// Compare with every neighbour now, and repair what differs
    Now,
    /// Wait until every connected neighbour holds the same; exit 8 if that takes longer than --timeout
    Wait,
    /// List the spans of time in which a neighbour differed when last compared with; exit 8 if there are any
    Diff,
}

/// Checks an address, host:port, at which peers reach this node.
fn reachable(address: &str) -> Result<String, String> {
    host_and_port(address).map(|_| address.to_owned()).map_err(|error| error.to_string())
}
