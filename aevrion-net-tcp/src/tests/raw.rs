//! Bytes on a TCP port that no honest node sends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aevrion_core::conformance::within;
use aevrion_core::identity::conformance::{Cluster, honest_node_gets_in};
use aevrion_core::identity::{Credentials, PROTOCOL};
use aevrion_core::transport::{Connection, Lane, Limits, Refusal, Side, Transport, TransportError};
use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::TcpKit;
use crate::TcpTransport;
use crate::chunk;
use crate::counted::Counted;
use crate::dial::{connect, welcomed};

const GARBAGE: &str = "garbage on the port is another protocol";
const HALF: &str = "whoever hangs up in the midst of a frame takes nobody along";
const KEEPS: &str = "a node that does not keep to the protocol is cut off and told why";
const TAKES: &str = "a node that takes nothing is cut off";
const BUSY: &str = "a node that is busy is not cut off";
const SILENT: &str = "a silent network is noticed";

/// A cluster whose nodes have these limits.
struct Limited {
    cluster: Cluster,
    limits: Limits,
}

impl Limited {
    fn new(idle: Duration) -> Self {
        Self { cluster: Cluster::new(), limits: Limits::default().idle(idle) }
    }

    fn bind(&self) -> TcpTransport {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        TcpTransport::bind(here, self.cluster.sound_node(), self.limits).unwrap()
    }

    /// An admitted node of the cluster whose bytes the test writes from here on.
    async fn rogue(&self, promise: &str, to: &TcpTransport) -> (TlsStream<Counted>, Arc<dyn Connection>) {
        let credentials = Credentials::new(self.cluster.sound_node());
        let config = Arc::new(credentials.client_config(PROTOCOL).unwrap());
        let address = to.address();
        let rogue = async {
            let (mut stream, _) = connect(&address, &config, PROTOCOL, &self.limits).await.unwrap();
            welcomed(&mut stream, &address).await.unwrap();
            stream
        };
        let (stream, connection) = within(promise, async { tokio::join!(rogue, to.accept()) }).await;
        (stream, connection.unwrap())
    }

    async fn honest_node_gets_in(&self, promise: &str, to: &TcpTransport) {
        honest_node_gets_in(promise, &TcpKit, &self.cluster, to).await;
    }
}

fn count(transport: &TcpTransport, wanted: Refusal) -> u64 {
    transport.refusals().into_iter().filter(|(refusal, _)| *refusal == wanted).map(|(_, count)| count).sum()
}

/// The end of a connection for the core: its side, or `None` for a violation, and the reason.
async fn end(promise: &str, connection: &dyn Connection) -> (Option<Side>, String) {
    match within(promise, connection.receive(Lane::Live, 100)).await {
        Err(TransportError::Closed { by, reason }) => (Some(by), reason),
        Err(TransportError::Violation { what }) => (None, what),
        other => panic!("{promise}: it goes on: {other:?}"),
    }
}

#[tokio::test]
async fn garbage_on_the_port_is_another_protocol() {
    let cluster = Limited::new(Duration::from_secs(30));
    let here = cluster.bind();
    for garbage in [&b"GET / HTTP/1.1\r\nHost: aevrion\r\n\r\n"[..], b"PING\r\n", &[0xFF; 4096]] {
        let mut stream = TcpStream::connect(here.local_address()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        // The server answers with a TLS alert, if at all, and hangs up.
        let _ = within(GARBAGE, stream.read_to_end(&mut answer)).await;
        assert!(answer.len() < 100, "{answer:?}");
    }
    within(GARBAGE, async {
        while count(&here, Refusal::WrongProtocol) < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    cluster.honest_node_gets_in(GARBAGE, &here).await;
}

#[tokio::test]
async fn whoever_hangs_up_in_the_midst_of_a_frame_takes_nobody_along() {
    let cluster = Limited::new(Duration::from_secs(30));
    let here = cluster.bind();
    let (mut rogue, connection) = cluster.rogue(HALF, &here).await;
    let mut bytes = BytesMut::new();
    chunk::begin_data(&mut bytes, Lane::Live, 8);
    // The first four of a frame's 60 bytes.
    bytes.put_slice(&[0, 0, 0, 60, 1, 2, 3, 4]);
    rogue.write_all(&bytes).await.unwrap();
    rogue.flush().await.unwrap();
    drop(rogue);
    let (by, reason) = end(HALF, &*connection).await;
    assert!(by == Some(Side::Network) && reason.contains("broke off"), "{by:?}: {reason}");
    cluster.honest_node_gets_in(HALF, &here).await;
}

#[tokio::test]
async fn a_node_that_does_not_keep_to_the_protocol_is_cut_off_and_told_why() {
    let cluster = Limited::new(Duration::from_secs(30));
    let here = cluster.bind();
    let mut overrun = BytesMut::new();
    for _ in 0..=cluster.limits.window / chunk::CHUNK {
        chunk::begin_data(&mut overrun, Lane::Repair, chunk::CHUNK);
        overrun.put_bytes(0xEE, chunk::CHUNK);
    }
    let mut credit = BytesMut::new();
    chunk::put_credit(&mut credit, Lane::Live, usize::MAX);
    for (bytes, wanted) in [
        (BytesMut::from(&[9, 9, 9, 9][..]), "it does not keep to the protocol"),
        (overrun, "it sent more than it was allowed to"),
        (credit, "it allowed more than there is"),
    ] {
        let (mut rogue, connection) = cluster.rogue(KEEPS, &here).await;
        // The other side may hang up before all bytes are written.
        let _ = within(KEEPS, rogue.write_all(&bytes)).await;
        let _ = rogue.flush().await;
        assert_eq!(end(KEEPS, &*connection).await, (None, wanted.to_owned()));
        let mut told = Vec::new();
        let _ = within(KEEPS, rogue.read_to_end(&mut told)).await;
        assert!(String::from_utf8_lossy(&told).ends_with(wanted), "what it is told: {told:?}");
    }
    cluster.honest_node_gets_in(KEEPS, &here).await;
}

/// A node that takes next to none of the bytes sent to it: if it sends a chunk now and then it violates the protocol,
/// and if it sends none it is taken for gone.
#[tokio::test]
async fn a_node_that_takes_nothing_is_cut_off() {
    for speaks in [false, true] {
        let cluster = Limited::new(Duration::from_secs(2));
        let here = cluster.bind();
        let (mut rogue, connection) = cluster.rogue(TAKES, &here).await;
        let mut credit = BytesMut::new();
        for _ in 0..60 {
            chunk::put_credit(&mut credit, Lane::Repair, 16 << 20);
        }
        rogue.write_all(&credit).await.unwrap();
        rogue.flush().await.unwrap();
        let sending = {
            let connection = Arc::clone(&connection);
            tokio::spawn(async move {
                loop {
                    if let Err(error) = connection.send(Lane::Repair, vec![7; 1 << 20].into()).await {
                        return error;
                    }
                }
            })
        };
        let chatter = tokio::spawn(async move {
            let mut word = BytesMut::new();
            chunk::put_ping(&mut word, 1);
            loop {
                // Below TLS, so that nothing more is read for it.
                let read = rogue.get_mut().0.read_u8().await;
                let said = if speaks { rogue.write_all(&word).await } else { Ok(()) };
                if read.is_err() || said.is_err() || rogue.flush().await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        match within(TAKES, sending).await.unwrap() {
            TransportError::Violation { what } if speaks => assert!(what.contains("took nothing"), "{what}"),
            TransportError::Closed { by: Side::Network, reason } if !speaks => {
                assert!(reason.contains("no sign of life"), "{reason}");
            }
            error => panic!("{speaks}: {error:?}"),
        }
        cluster.honest_node_gets_in(TAKES, &here).await;
        chatter.abort();
    }
}

/// A node whose user is busy for long, but which answers pings, keeps its connection.
#[tokio::test]
async fn a_node_that_is_busy_is_not_cut_off() {
    let cluster = Limited::new(Duration::from_millis(600));
    let (here, there) = (cluster.bind(), cluster.bind());
    let address = there.address();
    let (near, far) = within(BUSY, async { tokio::join!(here.dial(&address), there.accept()) }).await;
    let (near, far) = (near.unwrap(), far.unwrap());
    let sending = {
        let near = Arc::clone(&near);
        tokio::spawn(async move {
            for _ in 0..8 {
                near.send(Lane::Repair, vec![7; 1 << 20].into()).await?;
            }
            Ok::<_, TransportError>(())
        })
    };
    // Its user receives nothing for several times the idle limit.
    tokio::time::sleep(cluster.limits.idle * 4).await;
    assert!(!sending.is_finished(), "it is held back meanwhile");
    assert!(near.round_trip().is_some(), "and pings come back");
    for _ in 0..8 {
        assert_eq!(within(BUSY, far.receive(Lane::Repair, 2 << 20)).await.unwrap().unwrap().len(), 1 << 20);
    }
    within(BUSY, sending).await.unwrap().unwrap();
}

/// A pulled cable: no bytes get through, and no close is announced.
#[tokio::test]
async fn a_silent_network_is_noticed() {
    let cluster = Limited::new(Duration::from_secs(1));
    let here = cluster.bind();
    let (rogue, connection) = cluster.rogue(SILENT, &here).await;
    let (by, reason) = end(SILENT, &*connection).await;
    assert!(by == Some(Side::Network) && reason.contains("no sign of life"), "{by:?}: {reason}");
    drop(rogue);
}
