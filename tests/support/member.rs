//! Nodes of a cluster as real processes: each with a directory, an address of its own, and a server that comes and goes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::server::{PATIENCE, Server};
use super::{Finished, aevrion, run_on};

/// Leaves of a second: comparisons of what was just written go down to a few events.
pub(crate) const SMALL: &[&str] = &["--granularity", "1000"];

/// Where the directories of a test stand.
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
    /// Where its peers reach it, over each of its transports, whenever it is served.
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

    /// A node that joins the cluster of `first` with a fresh token, served. `advertise` says whether the others learn
    /// where it is.
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

    /// A node that has joined already, not served yet.
    pub(crate) fn joined(data: PathBuf, transports: &'static str) -> Self {
        Self { data, listen: free_address(), transports, server: None }
    }

    /// Starts its server, where it was before.
    pub(crate) fn serve(&mut self, more: &[&str]) {
        self.serve_with(more, |_| ());
    }

    /// The same, with a command that is `changed` first.
    pub(crate) fn serve_with(&mut self, more: &[&str], change: impl FnOnce(&mut std::process::Command)) {
        let mut command = aevrion();
        command.args(["serve", "--http", "127.0.0.1:0", "--listen", &self.listen.to_string()]);
        command.args(["--transport", self.transports, "--data"]).arg(&self.data).args(more);
        change(&mut command);
        self.server = Some(Server::spawn(command));
    }

    /// Its server.
    #[track_caller]
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("it is served")
    }

    /// Runs a verb against it.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.server().run(arguments)
    }

    /// Ends its server without giving it time for anything.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        let server = self.server.take().expect("it is served");
        server.signal(Signal::KILL);
        assert_eq!(server.ended(), None, "it was to be killed, and ended by itself");
    }

    /// Ends its server in an orderly way.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.server.take().expect("it is served").stop();
    }

    /// Stops it as [`Member::stop`] does, and gives what it said on standard error.
    #[track_caller]
    pub(crate) fn stop_and_tell(&mut self) -> Vec<String> {
        self.server.take().expect("it is served").stop_and_tell()
    }

    /// Its identity.
    #[track_caller]
    pub(crate) fn id(&self) -> String {
        self.status()["node_id"].as_str().expect("a text").to_owned()
    }

    /// What it says of a node that it knows.
    #[track_caller]
    pub(crate) fn row(&self, id: &str) -> Value {
        let status = self.status();
        let neighbours = status["neighbours"].as_array().expect("a list");
        neighbours.iter().find(|neighbour| neighbour["id"] == id).cloned().unwrap_or(Value::Null)
    }

    /// What it says that someone should look after.
    #[track_caller]
    pub(crate) fn alarms(&self) -> Vec<String> {
        let status = self.status();
        let alarms = status["alarms"].as_array().expect("a list").iter();
        alarms.map(|alarm| alarm.as_str().expect("a text").to_owned()).collect()
    }

    /// Its address over one of its transports.
    pub(crate) fn address(&self, transport: &str) -> String {
        format!("{transport}://{}", self.listen)
    }

    /// A token, which its directory gives, served or not.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        run_on(&self.data, &["cluster", "token"]).ok().stdout.trim().to_owned()
    }

    /// What `status` says.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.run(&["status", "-o", "json"]).ok().json()
    }

    /// What `sync status` says.
    #[track_caller]
    pub(crate) fn sync_status(&self) -> Value {
        self.run(&["sync", "status", "-o", "json"]).ok().json()
    }

    /// How many neighbours are connected.
    #[track_caller]
    pub(crate) fn connected(&self) -> usize {
        let status = self.status();
        let neighbours = status["neighbours"].as_array().expect("a list");
        let there = |state: &str| !["unserved", "unreachable"].contains(&state);
        neighbours.iter().filter(|neighbour| neighbour["state"].as_str().is_some_and(there)).count()
    }

    /// Waits until it agrees with all who are connected.
    #[track_caller]
    pub(crate) fn wait(&self) -> Finished {
        self.run(&["sync", "wait", "--timeout", "180s"]).ok()
    }
}

/// Waits until each has so many neighbours, and then until all of them hold the same.
///
/// A node that agrees with its neighbours may learn of an event from one of them right after; so the one in the midst,
/// which must be the first, is asked once more when it has everything: what it then agrees on, all have.
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

/// Looks again and again until it is so. Only a failure takes the whole time.
#[track_caller]
pub(crate) fn until(mut is_so: impl FnMut() -> bool, otherwise: &str) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{otherwise}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An address on this machine at which nothing listens, neither over TCP nor over UDP, and at which nobody else will:
/// where all of 127/8 is the machine's own, each test process has a corner of it.
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
