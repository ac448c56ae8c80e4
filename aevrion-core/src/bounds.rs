//! Every limit of the core in one place, each with its reason.
//!
//! What comes from outside is checked against these before memory is allocated for it; what grows inside stays
//! below them. Limits that all nodes of a cluster must share are not here but in [`Parameters`](crate::Parameters).

/// Longest key that [`Parameters`](crate::Parameters) may allow, in bytes: an index row holds the escaped key (at
/// worst twice as long) and has to fit comfortably in a page of any engine.
pub const LONGEST_KEY: u32 = 65_535;

/// Largest value that [`Parameters`](crate::Parameters) may allow, in bytes: one event has to fit in one frame and,
/// a few times over, in memory.
pub const LARGEST_DATA: u32 = 256 << 20;

/// Values longer than this stand in the table `bodies`, so that walking the time axis reads none of them.
pub const INLINE_DATA: usize = 4 << 10;

/// Rows in one page of a scan: enough to spread the cost of the call, little enough to hold.
pub const PAGE_ROWS: usize = 4_096;

/// Bytes in one page of a scan (one row is always allowed, whatever its size).
pub const PAGE_BYTES: usize = 1 << 20;

/// Writes that one transaction of the writer carries at most: beyond it latency grows and throughput does not.
pub const LOT_EVENTS: usize = 4_096;

/// Bytes of keys and values that one transaction of the writer carries at most, for the same reason.
pub const LOT_BYTES: usize = 8 << 20;

/// Operations in one atomic batch. A batch is one transaction whatever its size, so this bounds the transaction.
pub const BATCH_OPERATIONS: usize = 65_536;

/// Bytes of keys and values in one atomic batch.
pub const BATCH_BYTES: usize = 64 << 20;

/// Requests that wait for the writer; a caller beyond that waits for its place.
pub const QUEUE_REQUESTS: usize = 4_096;

/// Bytes of keys and values that wait for the writer, whatever the number of requests.
pub const QUEUE_BYTES: usize = 64 << 20;

/// Index rows held in memory before they are written in one sorted lot. Larger lots write faster, cost memory
/// (about 150 B a row) and lengthen the first start after a crash (about 3 µs a row).
pub const PENDING_ROWS: usize = 65_536;

/// Index rows that closing leaves to be recovered at the next start, rather than pay for another commit now.
pub const PENDING_LEFT: usize = 1_024;

/// Arrivals in one row: enough to make the row's own cost small, little enough to read for the sake of one of them.
pub const ARRIVAL_RUN: usize = 256;

/// The newest arrivals that stay readable for watchers that come back.
pub const ARRIVALS_KEPT: u64 = 1_000_000;

/// Ids of one leaf that are sorted in memory at once, 32 B each. A fuller leaf takes several passes instead.
pub const LEAF_IDS_IN_MEMORY: usize = 1 << 20;

/// Node hashes that travel to the writer in one message.
pub const HASH_ROWS: usize = 4_096;

/// Nodes that the writer remembers as having no stored hash. Forgetting one costs a needless removal, no more.
pub const KNOWN_STALE: usize = 1 << 16;

/// Nodes written to while a hashing pass runs. Beyond it the pass stores nothing more, and the next one does.
pub const TOUCHED_DURING_PASS: usize = 1 << 20;

/// Keys whose newest version is kept in memory once it was read.
pub const TIP_SLOTS: usize = 8_192;

/// Largest event kept so, in bytes of key and value: with the slots it bounds the memory to 8 MiB.
pub const TIP_BYTES: usize = 1 << 10;

/// Damage that `verify` lists one by one; what is beyond is counted.
pub const FINDINGS_LISTED: usize = 100;

// A page holds at least one row of everything but a body, and a lot fits in the queue.
const _: () = assert!(LONGEST_KEY as usize * 2 + INLINE_DATA < PAGE_BYTES);
const _: () = assert!(LOT_BYTES <= QUEUE_BYTES && BATCH_BYTES <= QUEUE_BYTES);
const _: () = assert!(LOT_EVENTS <= PENDING_ROWS && PENDING_ROWS as u64 <= ARRIVALS_KEPT);
