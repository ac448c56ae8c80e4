//! Every limit of the HTTP interface, each with its reason. (The limits of events are in the core.)

use std::time::Duration;

use aevrion_core::bounds::{BATCH_BYTES, BATCH_OPERATIONS};

/// Concurrent connections. Each costs a file descriptor, and the peers and the store need some too: see
/// [`DESCRIPTORS`].
pub(super) const CONNECTIONS: usize = 768;

/// File descriptors needed at most: HTTP connections, the 256 peers of [`aevrion_core::transport::Limits`] with 64 more
/// handshakes, all of them over TCP, and the files of the store, the listeners and the runtime.
pub(super) const DESCRIPTORS: u64 = CONNECTIONS as u64 + 256 + 64 + 64;

/// Time limit for the head of a request, and for an idle connection. Slower than any serious client, and quick enough
/// that half-open connections do not pile up.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(10);

/// Bytes of the head of a request: the longest URL that can be parsed (64 KiB) and its headers.
pub(super) const HEAD_BYTES: usize = 96 << 10;

/// Headers of a request: three times those of a browser.
pub(super) const HEADERS: usize = 64;

/// Bytes a second that must move while one side waits for the other: less than any line in use can do (64 kbit/s). A
/// trickling client would hold a permit, and memory, for as long as it likes.
const MINIMUM_RATE: u64 = 8 << 10;

/// Stall timeout of a body: within each such time of waiting it ends, or arrives at the least rate.
pub(super) const BODY_STALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of a body to arrive within that time.
pub(super) const BODY_STALL_BYTES: u64 = MINIMUM_RATE * BODY_STALL_TIMEOUT.as_secs();

/// Stall timeout of an answer that the client does not take. A watcher that keeps up causes no waiting.
pub(super) const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of the answer to be taken within that time.
pub(super) const WRITE_STALL_BYTES: u64 = MINIMUM_RATE * WRITE_STALL_TIMEOUT.as_secs();

/// Bytes of bodies held in memory, of all requests together. A request waits for its share.
pub(super) const BODY_MEMORY: usize = 256 << 20;

/// Bytes of a body whose share grows as they arrive; then the whole rest gets its share at once. So a client that only
/// announces a large body delays no other, and bodies in progress do not wait for each other in the middle.
pub(super) const BODY_FIRST_BYTES: usize = 64 << 10;

/// How long a request waits for its share before it is told to retry.
pub(super) const BODY_MEMORY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a batch as JSON: those of one atomic write as base64, and the JSON around them.
pub(super) const BATCH_BODY: usize = BATCH_BYTES / 3 * 4 + BATCH_OPERATIONS * 256;

/// Bytes of a refused body that are read and discarded, so that the client can read the refusal.
pub(super) const DRAINED_BYTES: usize = 64 << 20;

/// Time limit for reading them.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Concurrent watchers: each holds a connection for as long as it likes, and other requests need some too.
pub(super) const WATCHERS: usize = 256;

/// Concurrent imports: each has a thread and some tens of megabytes.
pub(super) const IMPORTS: usize = 4;

/// Concurrent exports: each holds a view, and so keeps the store from reusing space.
pub(super) const EXPORTS: usize = 4;

/// Concurrent verifications and rebuilds: each reads the whole store.
pub(super) const UPKEEP: usize = 1;

/// Rows of one step of the scrub: a few milliseconds, during which a store without isolated views takes no writes.
pub(super) const SCRUB_ROWS: usize = 256;

/// Bad lines of an import that are reported one by one; further ones are counted.
pub(super) const ERRORS_LISTED: usize = 100;

/// Pieces of a streamed body that wait for the client.
pub(super) const PIECES_AHEAD: usize = 4;

/// Interval of keep-alive messages on a silent stream. Proxies give up after thirty seconds and more.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// Interval of progress reports about long work.
pub(super) const PROGRESS: Duration = Duration::from_millis(250);

/// Seconds after which a client may retry.
pub(super) const RETRY_AFTER: &str = "1";

/// How long requests in flight may take to finish once the node is told to stop.
pub(super) const GRACE: Duration = Duration::from_secs(10);

// Every accepted body has a share, even while all connections have begun one.
const _: () = assert!(BATCH_BODY + CONNECTIONS * BODY_FIRST_BYTES <= BODY_MEMORY);
