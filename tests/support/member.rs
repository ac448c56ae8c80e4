//! Nodes of a cluster as real processes: each with a directory, its own address, and a server that starts and stops.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::server::{PATIENCE, Server};
use super::{Finished, aevrion, run_on};

/// Leaves of a second: comparing recent writes descends to a few events.
pub(crate) const SMALL: &[&str] = &["--granularity", "1000"];

/// The parent of the directories of a test.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a place"))
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A node that began a cluster.
    pub(crate) fn first(&self, name: &str) -> Member {
        Member::found(self.at(name), "redb", "quic,tcp", SMALL)
    }
}

/// A node of a cluster, served or not.
pub(crate) struct Member {
    pub(crate) data: PathBuf,
    /// The address for peers, over each of its transports, across restarts.
    pub(crate) listen: SocketAddr,
    transports: &'static str,
    server: Option<Server>,
}

impl Member {
    /// The first node of a new cluster, served.
    pub(crate) fn found(data: PathBuf, engine: &str, transports: &'static str, more: &[&str]) -> Self {
        run_on(&data, &[&["cluster", "init", "--store", engine], more].concat()).ok();
        let mut member = Self { data, listen: free_address(), transports, server: None };
        member.serve(&[]);
        member
    }

    /// A served node that joined the cluster of `first` with a new token. `advertise` tells whether the others learn
    /// its address.
    pub(crate) fn join(
        data: PathBuf,
        engine: &str,
        transports: &'static str,
        first: &Self,
        advertise: bool,
    ) -> Self {
        let mut member = Self::joined(data, transports);
        let address = member.listen.to_string();
        let token = first.token();
        let usual = transports.split(',').next().expect("there is one");
        let peer = first.address(usual);
        let mut arguments = vec!["cluster", "join", &peer, &token, "--store", engine];
        arguments.extend(["--transport", transports]);
        if advertise {
            arguments.extend(["--advertise", &address]);
        }
        run_on(&member.data, &arguments).ok();
        member.serve(&[]);
        member
    }

    /// A stopped node that has joined already.
    pub(crate) fn joined(data: PathBuf, transports: &'static str) -> Self {
        Self { data, listen: free_address(), transports, server: None }
    }

    /// Starts the server, at its earlier address.
    pub(crate) fn serve(&mut self, more: &[&str]) {
        self.serve_with(more, |_| ());
    }

    /// As [`Member::serve`], with a command adjusted by `change`.
    pub(crate) fn serve_with(&mut self, more: &[&str], change: impl FnOnce(&mut std::process::Command)) {
        let mut command = aevrion();
        command.args(["serve", "--http", "127.0.0.1:0", "--listen", &self.listen.to_string()]);
        command.args(["--transport", self.transports, "--data"]).arg(&self.data).args(more);
        change(&mut command);
        self.server = Some(Server::spawn(command));
    }

    /// The server, which must be running.
    #[track_caller]
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("it is served")
    }

    /// Runs a verb against the server.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.server().run(arguments)
    }

    /// Kills the server.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        let server = self.server.take().expect("it is served");
        server.signal(Signal::KILL);
        assert_eq!(server.ended(), None, "it was to be killed, and ended by itself");
    }

    /// Stops the server in an orderly way.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.server.take().expect("it is served").stop();
    }

    /// As [`Member::stop`]. Returns the rest of standard error.
    #[track_caller]
    pub(crate) fn stop_and_tell(&mut self) -> Vec<String> {
        self.server.take().expect("it is served").stop_and_tell()
    }

    /// The node's id.
    #[track_caller]
    pub(crate) fn id(&self) -> String {
        self.status()["node_id"].as_str().expect("a text").to_owned()
    }

    /// The status of a neighbour; null if unknown.
    #[track_caller]
    pub(crate) fn row(&self, id: &str) -> Value {
        let status = self.status();
        let neighbours = status["neighbours"].as_array().expect("a list");
        neighbours.iter().find(|neighbour| neighbour["id"] == id).cloned().unwrap_or(Value::Null)
    }

    /// The alarms in the status.
    #[track_caller]
    pub(crate) fn alarms(&self) -> Vec<String> {
        let status = self.status();
        let alarms = status["alarms"].as_array().expect("a list").iter();
        alarms.map(|alarm| alarm.as_str().expect("a text").to_owned()).collect()
    }

    /// The address over one of the transports.
    pub(crate) fn address(&self, transport: &str) -> String {
        format!("{transport}://{}", self.listen)
    }

    /// A token from the node's directory, whether it is served or not.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        run_on(&self.data, &["cluster", "token"]).ok().stdout.trim().to_owned()
    }

    /// The output of `status`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.run(&["status", "-o", "json"]).ok().json()
    }

    /// The output of `sync status`.
    #[track_caller]
    pub(crate) fn sync_status(&self) -> Value {
        self.run(&["sync", "status", "-o", "json"]).ok().json()
    }

    /// The number of connected neighbours.
    #[track_caller]
    pub(crate) fn connected(&self) -> usize {
        let status = self.status();
        let neighbours = status["neighbours"].as_array().expect("a list");
        let there = |state: &str| !["unserved", "unreachable"].contains(&state);
        neighbours.iter().filter(|neighbour| neighbour["state"].as_str().is_some_and(there)).count()
    }

    /// Waits until the node agrees with all connected neighbours.
    #[track_caller]
    pub(crate) fn wait(&self) -> Finished {
        self.run(&["sync", "wait", "--timeout", "180s"]).ok()
    }
}

/// Waits until each node has so many neighbours, and then until all nodes hold the same.
///
/// A node that agrees with its neighbours may receive an event from one of them right after. So the node between the
/// others, which must be the first, waits once more when it has everything: all others then have the same.
#[track_caller]
pub(crate) fn agree(members: &[(&Member, usize)]) {
    for (member, neighbours) in members {
        until(|| member.connected() >= *neighbours, "the neighbours are not connected");
    }
    for (member, _) in members {
        member.wait();
    }
    members.first().expect("somebody").0.wait();
    let roots: Vec<_> = members.iter().map(|(member, _)| member.status()["root"].clone()).collect();
    assert!(roots.iter().all(|root| *root == roots[0]), "{roots:?}");
}

/// Polls until the condition holds. Only a failure takes the whole time.
#[track_caller]
pub(crate) fn until(mut is_so: impl FnMut() -> bool, otherwise: &str) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{otherwise}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A local address where nothing listens over TCP or UDP, nor will: if all of 127/8 is local, each test process uses a
/// separate part of it.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let host = match cfg!(target_os = "linux") {
        true => Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed)),
        false => Ipv4Addr::LOCALHOST,
    };
    let host = IpAddr::from(host);
    for _ in 0..100 {
        let tcp = TcpListener::bind((host, 0)).expect("a port is free");
        let address = tcp.local_addr().expect("it has one");
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free for both");
}

/// A file of a node's `cluster` directory.
pub(crate) fn file_of(data: &Path, name: &str) -> PathBuf {
    data.join("cluster").join(name)
}
