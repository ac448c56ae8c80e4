//! Every limit of the HTTP interface in one place, each with its reason. (Those of events stand in the core.)

use std::time::Duration;

use aevrion_core::bounds::{BATCH_BYTES, BATCH_OPERATIONS};

/// Connections at once. Each costs a file descriptor, and the peers and the store need some, too: see [`DESCRIPTORS`].
pub(super) const CONNECTIONS: usize = 768;

/// File descriptors that all of it can need: HTTP connections, the 256 peers of [`aevrion_core::transport::Limits`] with
/// 64 more that are shaking hands, all of them over TCP, and what the store, the listeners and the runtime have open.
pub(super) const DESCRIPTORS: u64 = CONNECTIONS as u64 + 256 + 64 + 64;

/// Until the head of a request is there; also the longest that a connection may idle. Slower than any client that
/// means it, and quick enough that half-open connections do not pile up.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(10);

/// Bytes of the head of a request: the longest address that can be parsed (64 KiB) and as many headers as anyone has.
pub(super) const HEAD_BYTES: usize = 96 << 10;

/// Headers of a request: three times what a browser sends.
pub(super) const HEADERS: usize = 64;

/// Bytes a second that must move while one side waits for the other: less than any line in use can do (64 kbit/s). Whoever
/// trickles would hold a place, and memory, for as long as it likes.
const LEAST_RATE: u64 = 8 << 10;

/// What is waited for a body: within each such time of waiting it ends, or as much of it comes as at the least rate.
pub(super) const BODY_PATIENCE: Duration = Duration::from_secs(20);

/// So much comes of a body within that time.
pub(super) const BODY_LEAST: u64 = LEAST_RATE * BODY_PATIENCE.as_secs();

/// What is waited for a client to take an answer that is ready for it. A watcher who keeps up makes nobody wait.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_secs(60);

/// So much of it is taken within that time.
pub(super) const WRITE_LEAST: u64 = LEAST_RATE * WRITE_PATIENCE.as_secs();

/// Bytes of bodies held in memory, of all requests together. A request waits for its share.
pub(super) const BODIES_BYTES: usize = 256 << 20;

/// Bytes of a body that have a share as they come; behind them the rest has one at once. So whoever only says that
/// something large will come keeps nobody waiting, and bodies that are under way do not wait for each other in the
/// middle.
pub(super) const BODY_BEGINNING: usize = 64 << 10;

/// How long a request waits for its share before it is told to come again.
pub(super) const BODIES_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a batch as JSON: as many as one atomic write may have, as base64, and what stands around them.
pub(super) const BATCH_BODY: usize = BATCH_BYTES / 3 * 4 + BATCH_OPERATIONS * 256;

/// Bytes of a refused body that are read and thrown away, so that the refusal can be read at the other end.
pub(super) const DRAINED_BYTES: usize = 64 << 20;

/// How long they are read.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Watchers at once: each holds a connection for as long as it likes, and others need some, too.
pub(super) const WATCHERS: usize = 256;

/// Imports at once: each has a thread and some tens of megabytes.
pub(super) const IMPORTS: usize = 4;

/// Exports at once: each holds a view, and so keeps the store from reusing space.
pub(super) const EXPORTS: usize = 4;

/// Verifications and rebuilds at once: each reads everything.
pub(super) const UPKEEP: usize = 1;

/// Rows of one step of the scrub: a few milliseconds, for which a store without isolated views takes no writes.
pub(super) const SCRUB_ROWS: usize = 256;

/// Bad lines of an import that are reported one by one; what is beyond is counted.
pub(super) const ERRORS_LISTED: usize = 100;

/// Pieces of a streamed body that wait for the other end.
pub(super) const PIECES_AHEAD: usize = 4;

/// Between two signs of life of a stream that has nothing to tell. Proxies give up after thirty seconds and more.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// Between two reports of long work.
pub(super) const PROGRESS: Duration = Duration::from_millis(250);

/// What a client is told to wait before it tries again, in seconds.
pub(super) const RETRY_AFTER: &str = "1";

/// How long requests in flight may take to finish once the node is told to stop.
pub(super) const GRACE: Duration = Duration::from_secs(10);

// Every body that is taken has a share, also while all connections have begun one.
const _: () = assert!(BATCH_BODY + CONNECTIONS * BODY_BEGINNING <= BODIES_BYTES);
