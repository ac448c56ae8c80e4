//! Every limit of the core in one place, each with its reason.
//!
//! Outside input is checked against these limits before memory is allocated for it; internal structures stay below
//! them. [`Parameters`](crate::Parameters) has the limits that all nodes of a cluster must share.

/// Longest key that [`Parameters`](crate::Parameters) may allow, in bytes. An index row holds the escaped key (at worst
/// twice as long) and must fit comfortably in a page of any engine.
pub const LONGEST_KEY: u32 = 65_535;

/// Largest value that [`Parameters`](crate::Parameters) may allow, in bytes. One event must fit in one frame and, a few
/// times over, in memory.
pub const LARGEST_DATA: u32 = 256 << 20;

/// Longer values are stored in the table `bodies`, so that a walk of the time axis does not read them.
pub const INLINE_DATA: usize = 4 << 10;

/// Rows in one page of a scan: enough to spread the cost of the call, little enough to hold.
pub const PAGE_ROWS: usize = 4_096;

/// Bytes in one page of a scan. One row is always allowed, regardless of its size.
pub const PAGE_BYTES: usize = 1 << 20;

/// Work between two yields, in rows. Reading and checking a small row takes about a microsecond, so this is half a
/// millisecond, some hundred times the cost of a yield.
pub const QUANTUM: usize = 512;

/// Most writes in one transaction of the writer: beyond it latency grows and throughput does not.
pub const COMMIT_EVENTS: usize = 4_096;

/// Most bytes of keys and values in one transaction of the writer, for the same reason.
pub const COMMIT_BYTES: usize = 8 << 20;

/// Operations in one atomic batch. A batch of any size is one transaction, so this bounds the transaction.
pub const BATCH_OPERATIONS: usize = 65_536;

/// Bytes of keys and values in one atomic batch.
pub const BATCH_BYTES: usize = 64 << 20;

/// Requests that wait for the writer. Further callers wait for a place in the queue.
pub const QUEUE_REQUESTS: usize = 4_096;

/// Bytes of keys and values that wait for the writer, in any number of requests.
pub const QUEUE_BYTES: usize = 64 << 20;

/// Local writes that wait for the clock: more writes of one key than a second allows.
pub const WAITING_WRITES: usize = 1_024;

/// Bytes of keys and values of the waiting writes: a few of the largest by default. They have left the queue, so this
/// adds to [`QUEUE_BYTES`].
pub const WAITING_BYTES: usize = BATCH_BYTES;

/// Index rows held in memory before one sorted batch writes them. Larger batches write faster, cost memory (about 150 B
/// a row) and lengthen the first start after a crash (about 3 µs a row).
pub const PENDING_ROWS: usize = 65_536;

/// Index rows that a close leaves for recovery at the next start, to save another commit.
pub const PENDING_LEFT: usize = 1_024;

/// Arrivals in one row: enough to make the row's overhead small, few enough to read the row for one of them.
pub const ARRIVAL_RUN: usize = 256;

/// The newest arrivals kept for returning watchers.
pub const ARRIVALS_KEPT: u64 = 1_000_000;

/// Expired values reported to watchers in one commit: enough that a restart after a long time catches up within
/// seconds, few enough that a write behind them does not notice.
pub const EXPIRED_AT_ONCE: usize = 512;

/// The latest arrivals whose keys stay in memory for watchers: a full commit batch.
pub const RECENT_ARRIVALS: usize = COMMIT_EVENTS;

/// Bytes of these keys.
pub const RECENT_KEY_BYTES: usize = 1 << 20;

/// Remembered incarnations of a store, 16 B each. Cursors of older incarnations are refused. Enough for the verbs of a
/// script, each of which opens the directory; few enough to write with the first arrival of each.
pub const LINEAGE: usize = 1_024;

/// Ids of one leaf that are sorted in memory at once, 32 B each. A larger leaf takes several passes.
pub const LEAF_IDS_IN_MEMORY: usize = 1 << 20;

/// Ids of one leaf that any walk may hold in memory, 32 B each. A walk that needs more waits for room.
pub const LARGE_LEAF: usize = 1 << 16;

/// Larger leaves sorted in memory at once, by all walks of the process: two take 128 MiB at most.
pub const LARGE_LEAVES_AT_ONCE: usize = 2;

/// Node hashes in one message to the writer: their commit takes a few milliseconds, and a write may have to wait for
/// it.
pub const HASH_ROWS: usize = 1_024;

/// Tree nodes that the writer remembers as having no stored hash. Forgetting one costs a needless removal, no more.
pub const KNOWN_STALE: usize = 1 << 16;

/// Tree nodes written to during a hashing pass. Beyond it the pass stores nothing more; the next pass does.
pub const TOUCHED_DURING_PASS: usize = 1 << 20;

/// Tree nodes of one row that are read, or computed, at a time. Rows below the top have no more than a node has
/// children.
pub const ROW_PART: usize = 4_096;

/// Least milliseconds covered by a top-row node in the tree of a new cluster: a day. Only the top row grows with time
/// for ever; at a node a day it has 3,650 nodes in ten years, of which the last [`DIGEST_NODES`] days are compared at
/// once. A node every 16 ms would be two billion a year.
pub const SHORTEST_TOP_NODE: u64 = 86_400_000;

/// Top-row nodes kept in memory, 48 B each: 25 MB, and briefly as much again when nodes are added. At a day for a node,
/// the least that a new store may have, they cover 1,400 years. With a longer row every root reads all of it, page by
/// page.
pub const TOP_ROW_NODES: usize = 1 << 19;

/// Top-row nodes recorded one by one as written to since the last read. Beyond it the whole row is read again, which is
/// no slower than so many single reads.
pub const TOUCHED_TOP_NODES: usize = 1 << 16;

/// Keys in the latest-value cache. A read enters its key.
pub const LATEST_SLOTS: usize = 8_192;

/// Largest event in the latest-value cache, in bytes of key and value: with the slots it bounds the memory to 8 MiB.
pub const LATEST_BYTES: usize = 1 << 10;

/// Damage that `verify` lists one by one; further damage is only counted.
pub const FINDINGS_LISTED: usize = 100;

/// Damaged events that are remembered until they are mended. Further ones are found again when there is room.
pub const DAMAGED_EVENTS: usize = 1_024;

/// Damaged events in one request to a neighbour: far fewer than it would answer at once, because they are read one by
/// one.
pub const MENDED_AT_ONCE: usize = 256;

/// Events and lists of one frame stop at this size, unless a single event is larger: enough to keep a link busy, small
/// enough to hold a few in memory.
pub const BATCH_FRAME: usize = 1 << 20;

/// Bytes of a frame beside its events: numbers, lengths and the fields of the message.
pub const FRAME_OVERHEAD: usize = 1 << 10;

/// Events in one message: a batch of the smallest ones.
pub const MESSAGE_EVENTS: usize = 16_384;

/// Event keys in one message, 38 B each: they fit in [`BATCH_FRAME`].
pub const MESSAGE_EVENT_KEYS: usize = 16_384;

/// Numbers in all the lists of one message: at eight bits each they take 128 KiB, at 64 a frame.
pub const MESSAGE_IDS: usize = 131_072;

/// Lists of events that are wanted, or lacked, in one message.
pub const MESSAGE_LISTS: usize = 128;

/// Scopes listed in one message.
pub const MESSAGE_SPANS: usize = 4_096;

/// Tree nodes whose children are named in one message.
pub const MESSAGE_PARENTS: usize = 512;

/// Children named in one message, about 11 B each.
pub const MESSAGE_CHILDREN: usize = 16_384;

/// Rows of a digest: two for each level.
pub const DIGEST_ROWS: usize = 10;

/// Tree nodes in one row of a digest. Only the top row, a node for two years, can ever come near.
pub const DIGEST_NODES: usize = 1_024;

/// Digests of spans that are kept for the next comparing neighbour: those of a minute and a few late ones. A digest has
/// up to half a megabyte, and usually six kilobytes.
pub const DIGESTS_KEPT: usize = 16;

/// Arrivals since a digest was computed that are searched for one in its span. The search is quicker than a new digest.
pub const DIGEST_ARRIVALS: u64 = 4_096;

/// Most children of a tree node that [`Parameters`](crate::Parameters) may set.
pub const WIDEST_NODE: usize = 256;

/// Bytes of the name of a space.
pub const SPACE_NAME: usize = 64;

/// Bytes of the address of a node: a host name of the greatest length, its port and a transport.
pub const PEER_TEXT: usize = 272;

/// Listen addresses that a node announces: both transports, each for both kinds of IP addresses.
pub const LISTENS: usize = 4;

/// Members of the cluster that a node remembers: several times as many as it is connected to. Further members count
/// only while they are connected.
pub const MEMBERS: usize = 400;

/// Remembered addresses of a member beside its own announced ones.
pub const TOLD: usize = 4;

/// Events in one answer to a neighbour's message, in bytes of keys and values (a single event may be larger). The rest
/// follows when the neighbour asks again: it sets the pace.
pub const WINDOW_BYTES: usize = 2 << 20;

/// Event keys scanned for one question. The answer to a longer one stops there, and the asker asks on.
pub const SCANNED_EVENT_KEYS: usize = 1 << 22;

/// Events whose hashes are checked at once after a repair that moved nothing; the leaf of the last one is checked to
/// its end. With the proportional pause that follows, a neighbour that claims to differ costs this node 1,600 events a
/// second.
pub const CHECKED_EVENTS: usize = 1 << 14;

/// Spans of futile repairs that await a hash check. Further ones are found by the next repair.
pub const SUSPECTED_SPANS: usize = 256;

/// Rows that may be scanned for one neighbour at once. The largest honest repair session covers a leaf that fits in no
/// message: if one side holds a million events there and the other 800,000 of them, it scans 22 million rows.
pub const SCANNED_AT_ONCE: u64 = 1 << 25;

/// Rows that may be scanned for one neighbour in a second, in the long run: about a fifth of a core. A node that lacks
/// whole stretches costs one row for each event, a node that lacks scattered events up to thirty.
pub const SCANNED_A_SECOND: u64 = 1 << 19;

/// Bytes of events that may be read for one neighbour at once: some seconds of a fast line.
pub const READ_AT_ONCE: u64 = 1 << 30;

/// Bytes of events that may be read for one neighbour in a second, in the long run: more than a store writes.
pub const READ_A_SECOND: u64 = 1 << 28;

/// Event keys read at a time while scanning.
pub const SCAN_PAGE: usize = 4_096;

/// Events that a node requests from its neighbours at once after an announcement. The next comparison finds the rest.
pub const WANTED_AT_ONCE: usize = 65_536;

/// Largest event that is pushed, in bytes of key and value: on a line of a megabit it delays later writes by half a
/// second. Larger events are announced, and sent over the repair lane.
pub const PUSHED_BYTES: usize = 64 << 10;

/// Announcements that wait for a few milliseconds; at this number they are sent at once.
pub const ANNOUNCED_AT_ONCE: usize = 1_024;

/// Remembered leaves with events in flight: current writes touch a few, an import of history more.
pub const LEAVES_IN_FLIGHT: usize = 4_096;

/// Requests for events that do not exist, before the connection is closed. One is forgiven each minute: the holder of a
/// damaged event cannot know that its neighbour lacks it.
pub const MISTAKEN_REQUESTS: u32 = 16;

/// Hello messages before the clocks are settled.
pub const HELLOS: u32 = 64;

/// Bytes of one setting of a node: it is read whole.
pub const SETTING_BYTES: usize = 1 << 20;

/// Bytes that wait on one lane to a neighbour before it takes no more. One answer may exceed it by [`WINDOW_BYTES`] and
/// its lists.
pub const LANE_BYTES: usize = 2 << 20;

/// Least bytes of events for which a frame is encoded once for all links that send it. Encoding a smaller one costs
/// less than the lookup.
pub const SHARED_FRAME: usize = 16 << 10;

/// Shared frames remembered while they wait: links in step send the same few.
pub const FRAMES_SHARED: usize = 32;

/// Batches of events of one neighbour in the store at once: one on the disk, and the next.
pub const STORES_AT_ONCE: usize = 2;

/// Neighbours with a connection at once: a hundred, and some that connect while departed ones still count. Each may
/// have some megabytes waiting on its lanes.
pub const NEIGHBOURS: usize = 128;

/// New events held for neighbours that have not sent them yet. A neighbour that is further behind compares instead.
pub const FEED_EVENTS: usize = 16_384;

/// Bytes of keys and values of the held new events.
pub const FEED_BYTES: usize = 16 << 20;

/// New events taken for one neighbour at a time.
pub const FEED_PAGE: usize = 1_024;

// A page holds at least one row of any table but `bodies`, and a batch fits in the queue.
const _: () = assert!(LONGEST_KEY as usize * 2 + INLINE_DATA < PAGE_BYTES);
const _: () = assert!(COMMIT_BYTES <= QUEUE_BYTES && BATCH_BYTES <= QUEUE_BYTES);
const _: () = assert!(MESSAGE_EVENT_KEYS * 42 <= BATCH_FRAME && MESSAGE_IDS * 8 <= BATCH_FRAME);
const _: () =
    assert!(SCANNED_EVENT_KEYS as u64 <= SCANNED_AT_ONCE / 4 && WINDOW_BYTES as u64 * 4 <= READ_A_SECOND);
// The list of members is stored as one setting, in text.
const _: () = assert!(MEMBERS * ((LISTENS + TOLD) * (PEER_TEXT + 4) + 256) <= SETTING_BYTES);
const _: () = assert!(COMMIT_EVENTS <= PENDING_ROWS && PENDING_ROWS as u64 <= ARRIVALS_KEPT);

/// Cells of the irregular mapping that a replica keeps: they decode 14,000 differences, take 128 KiB and stay in a
/// core's cache.
pub const KEPT_IRREGULAR: usize = 16_384;

/// Cells of the regular mapping that a replica keeps, for some hundred differences: 4 KiB.
pub const KEPT_REGULAR: usize = 512;

/// Arrivals after which the kept cells are stored again: 132 KiB, two bytes an arrival. A start after a crash reads the
/// arrivals since.
pub const SKETCH_CHECKPOINT: u64 = 65_536;

/// Regular cells in a Snapshot: 240 bytes that nearly always decode ten differences.
pub const FIRST_CELLS: usize = 30;

/// Counts of cells in one message, a byte each: more would cost more than they save.
pub const CELL_COUNTS: usize = 2_048;

/// Stretches, spans and nodes of one plan. The next comparison finds the rest.
pub const PLANNED: usize = MESSAGE_SPANS;

/// Named events of one plan, 8 B each.
pub const PLANNED_EVENTS: usize = MESSAGE_IDS * 2;

/// Event keys in one list of held events at most. It is a few steps' work, and a tenth of a frame.
pub const LISTED_AT_ONCE: usize = 65_536;

/// Cells of any sketch end before this index: 128 MiB, more than any exchange takes. Mappings compute with its bits.
pub const CELL_INDEXES: u64 = 1 << 24;

/// Bytes of a cell: 48 bits of locators, 8 bits of checks, 8 bits of count.
pub const CELL_BYTES: usize = 8;

/// Bits of the leaf's number in a locator. Leaves of a second come round in twelve days: a holder looks in few leaves.
pub const LOCATOR_LEAF_BITS: u32 = 20;

/// Bits of the event's hash in a locator: two of a thousand differences in one leaf share them once in 500 times.
pub const LOCATOR_HASH_BITS: u32 = 28;
