//! The time from a put on one node until its neighbour can read it, both durable: two redb stores in temporary
//! directories, real TLS over loopback, QUIC and TCP in turn.
//!
//! Beside it stands the put alone, on the same node in the same run: the difference is the transfer, the neighbour's
//! checks and the neighbour's own fsync.
//!
//! Not measured: a network (loopback has no distance), load from other writers, disks other than that of the temporary
//! directory, and HTTP.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails is no benchmark")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aevrion_core::identity::{Authority, CERTIFICATE_VALIDITY, Identity, NodeKey};
use aevrion_core::replication::{Peer, Replication};
use aevrion_core::transport::{Limits, Transport};
use aevrion_core::{Options, Replica, SystemWall, WallClock};
use aevrion_net_quic::QuicTransport;
use aevrion_net_tcp::TcpTransport;
use aevrion_store_redb::RedbStore;

const ROUNDS: usize = 5;
const PUTS: usize = 400;

struct Pair {
    name: &'static str,
    near: Replica,
    far: Replica,
    _syncs: [Replication; 2],
    _directories: [tempfile::TempDir; 2],
}

async fn replica(identity: &Identity) -> (Replica, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let store = tokio::task::spawn_blocking(move || RedbStore::open(path)).await.unwrap().unwrap();
    let options = Options::default().node(identity.node());
    (Replica::open(store, options).await.unwrap(), directory)
}

fn identity(authority: &Authority) -> Identity {
    let key = NodeKey::generate().unwrap();
    let certificate =
        authority.issue(&key.signing_request().unwrap(), SystemWall.now(), CERTIFICATE_VALIDITY).unwrap();
    Identity::new(key, certificate, authority.certificate().to_vec()).unwrap()
}

async fn pair<T: Transport>(
    name: &'static str,
    authority: &Authority,
    bind: impl Fn(SocketAddr, Identity) -> T,
) -> Pair {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (one, other) = (identity(authority), identity(authority));
    let ((near, near_directory), (far, far_directory)) = (replica(&one).await, replica(&other).await);
    let transport = bind(any, one);
    let address = Peer::over(name, transport.address());
    let near_replication = near.replicate_over(transport);
    let far_replication = far.replicate_over(bind(any, other));
    far_replication.add_peer(address);
    far_replication.agreement().await;
    let (_syncs, _directories) = ([near_replication, far_replication], [near_directory, far_directory]);
    Pair { name, near, far, _syncs, _directories }
}

/// The times of the puts alone, and the times until the neighbour could read them.
async fn measure(pair: &Pair) -> (Vec<Duration>, Vec<Duration>) {
    let (mut alone, mut read) = (Vec::new(), Vec::new());
    let mut watch = pair.far.watch("", None).unwrap();
    for number in 0..PUTS {
        let began = Instant::now();
        let written = pair.near.put(format!("key {}", number % 50), vec![b'v'; 100]).await.unwrap();
        alone.push(began.elapsed());
        let seen = watch.next().await.unwrap().unwrap();
        assert_eq!(seen.event.event_key(), written);
        let value = pair.far.get(format!("key {}", number % 50)).await.unwrap();
        assert!(value.is_some());
        read.push(began.elapsed());
    }
    (alone, read)
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100].as_secs_f64() * 1_000.0
}

#[tokio::main]
async fn main() {
    let authority = Authority::make().unwrap();
    let bind_quic = |address, identity| QuicTransport::bind(address, identity, Limits::default()).unwrap();
    let bind_tcp = |address, identity| TcpTransport::bind(address, identity, Limits::default()).unwrap();
    let pairs = [pair("quic", &authority, bind_quic).await, pair("tcp", &authority, bind_tcp).await];
    println!("{PUTS} puts of 100 B a round, {ROUNDS} rounds in turn; medians of the rounds, milliseconds");
    println!("{:<6} {:>10} {:>10} {:>14} {:>14}", "", "put p50", "put p99", "readable p50", "readable p99");
    let mut figures = vec![Vec::new(); pairs.len()];
    for _ in 0..ROUNDS {
        for (pair, figures) in pairs.iter().zip(&mut figures) {
            let (mut alone, mut read) = measure(pair).await;
            figures.push([
                percentile(&mut alone, 50),
                percentile(&mut alone, 99),
                percentile(&mut read, 50),
                percentile(&mut read, 99),
            ]);
        }
    }
    for (pair, figures) in pairs.iter().zip(&figures) {
        let median = |column: usize| {
            let mut all: Vec<f64> = figures.iter().map(|row: &[f64; 4]| row[column]).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let [put, put_99, read, read_99] = [0, 1, 2, 3].map(median);
        println!("{:<6} {put:>10.2} {put_99:>10.2} {read:>14.2} {read_99:>14.2}", pair.name);
    }
}
