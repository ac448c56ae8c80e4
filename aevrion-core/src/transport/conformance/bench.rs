//! Shared helpers: transports and connections under test, and distinguishable frames.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;

use crate::conformance::{filler, within};
use crate::transport::{Connection, Lane, Side, Transport, TransportError};

pub(super) type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn Transport>, String>> + Send>>;

/// Longer than any frame here.
pub(super) const LONGEST: usize = 32 << 20;

/// Binds transports.
#[derive(Clone)]
pub(super) struct Bench {
    opener: Arc<dyn Fn() -> Opening + Send + Sync>,
}

/// Two nodes, and a connection between them.
pub(super) struct Pair {
    pub(super) dialling: Arc<dyn Transport>,
    pub(super) accepting: Arc<dyn Transport>,
    /// The dialling end.
    pub(super) near: Arc<dyn Connection>,
    /// The accepting end.
    pub(super) far: Arc<dyn Connection>,
}

impl Bench {
    pub(super) fn new(opener: impl Fn() -> Opening + Send + Sync + 'static) -> Self {
        Self { opener: Arc::new(opener) }
    }

    /// A transport with a node of its own.
    pub(super) async fn transport(&self) -> Arc<dyn Transport> {
        (self.opener)().await.unwrap_or_else(|error| panic!("the transport must bind: {error}"))
    }

    /// Two connected nodes.
    pub(super) async fn pair(&self) -> Pair {
        let (dialling, accepting) = (self.transport().await, self.transport().await);
        let (near, far) = connect(&*dialling, &*accepting).await;
        Pair { dialling, accepting, near, far }
    }
}

/// Sender and receiver.
pub(super) type Direction<'a> = (&'a Arc<dyn Connection>, &'a Arc<dyn Connection>);

impl Pair {
    /// Both directions.
    pub(super) fn directions(&self) -> [Direction<'_>; 2] {
        [(&self.near, &self.far), (&self.far, &self.near)]
    }
}

/// Connects one node to another. Returns the dialling end, then the accepting one.
pub(super) async fn connect(
    dialling: &dyn Transport,
    accepting: &dyn Transport,
) -> (Arc<dyn Connection>, Arc<dyn Connection>) {
    let address = accepting.address();
    let both = async { tokio::join!(dialling.dial(&address), accepting.accept()) };
    let (near, far) = within("nodes of one cluster can connect", both).await;
    let near = near.unwrap_or_else(|error| panic!("nodes of one cluster can connect: {error}"));
    (near, far.unwrap_or_else(|| panic!("an open transport accepts whoever connects")))
}

/// Polls `future` once. `None` if it is pending.
pub(super) fn look<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(result) => Some(result),
        std::task::Poll::Pending => None,
    }
}

pub(super) async fn send(promise: &str, connection: &dyn Connection, lane: Lane, frame: Bytes) {
    let sent = within(promise, connection.send(lane, frame)).await;
    sent.unwrap_or_else(|error| panic!("{promise}: a send on a sound connection failed: {error}"));
}

pub(super) async fn receive(promise: &str, connection: &dyn Connection, lane: Lane) -> Bytes {
    match within(promise, connection.receive(lane, LONGEST)).await {
        Ok(Some(frame)) => frame,
        Ok(None) => panic!("{promise}: a sound connection ended"),
        Err(error) => panic!("{promise}: a receive on a sound connection failed: {error}"),
    }
}

/// A round trip on a lane, which gives concurrent work time to proceed.
pub(super) async fn round_trip(promise: &str, one: &dyn Connection, other: &dyn Connection, lane: Lane) {
    for (from, to) in [(one, other), (other, one)] {
        let frame = filler(7, 100);
        let ((), received) =
            tokio::join!(send(promise, from, lane, frame.clone()), receive(promise, to, lane));
        assert!(received == frame, "{promise}: what was sent arrives");
    }
}

/// The side that ended the connection and its reason, from the result of a send or a receive.
pub(super) fn ended<T>(promise: &str, result: Result<T, TransportError>) -> (Side, String) {
    match result {
        Err(TransportError::Closed { by, reason }) => (by, reason),
        Err(error) => panic!("{promise}: the error is not that the connection is closed: {error}"),
        Ok(_) => panic!("{promise}: it went on after the end"),
    }
}
