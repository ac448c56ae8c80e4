//! Every limit of the HTTP interface in one place, each with its reason. (Those of events stand in the core.)

use std::time::Duration;

use aevrion_core::bounds::{BATCH_BYTES, BATCH_OPERATIONS};

/// Connections at once. Each costs a file descriptor, of which a process has 1,024 unless told otherwise, and the
/// store needs some, too.
pub(super) const CONNECTIONS: usize = 768;

/// Until the head of a request is there; also the longest that a connection may idle. Slower than any client that
/// means it, and quick enough that half-open connections do not pile up.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(10);

/// Bytes of the head of a request: the longest address that can be parsed (64 KiB) and as many headers as anyone has.
pub(super) const HEAD_BYTES: usize = 96 << 10;

/// Headers of a request: three times what a browser sends.
pub(super) const HEADERS: usize = 64;

/// Between two pieces of a body that arrives: whoever stalls longer has gone.
pub(super) const BODY_PATIENCE: Duration = Duration::from_secs(20);

/// During which a client must take some of an answer that is ready for it.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of bodies held in memory, of all requests together. A request waits for its share.
pub(super) const BODIES_BYTES: usize = 256 << 20;

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

// Every body that is taken has a share.
const _: () = assert!(BATCH_BODY <= BODIES_BYTES);
