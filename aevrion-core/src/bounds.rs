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

/// Work between two yields, in rows: reading and checking a small one takes about a microsecond, so half a millisecond,
/// some hundred times what a yield costs.
pub const QUANTUM: usize = 512;

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

/// Local writes that wait for the clock: more of one key than a second brings in.
pub const WAITING_WRITES: usize = 1_024;

/// Bytes of keys and values of these: a few of the greatest by default. They have left the queue, so this adds to
/// [`QUEUE_BYTES`].
pub const WAITING_BYTES: usize = BATCH_BYTES;

/// Index rows held in memory before they are written in one sorted lot. Larger lots write faster, cost memory
/// (about 150 B a row) and lengthen the first start after a crash (about 3 µs a row).
pub const PENDING_ROWS: usize = 65_536;

/// Index rows that closing leaves to be recovered at the next start, rather than pay for another commit now.
pub const PENDING_LEFT: usize = 1_024;

/// Arrivals in one row: enough to make the row's own cost small, little enough to read for the sake of one of them.
pub const ARRIVAL_RUN: usize = 256;

/// The newest arrivals that stay readable for watchers that come back.
pub const ARRIVALS_KEPT: u64 = 1_000_000;

/// Expired values that watchers are told of in one commit: so many that a restart after a long time catches up within
/// seconds, so few that a write which waits behind them does not notice.
pub const EXPIRED_AT_ONCE: usize = 512;

/// The latest arrivals whose keys stay in memory for watchers: those of a full commit batch.
pub const RECENT_ARRIVALS: usize = LOT_EVENTS;

/// Bytes of these keys.
pub const RECENT_KEY_BYTES: usize = 1 << 20;

/// Incarnations of a store that are remembered, 16 B each. A cursor that an older one gave is refused: enough for the
/// verbs of a script, each of which opens the directory, little enough to write with the first arrival of each.
pub const LINEAGE: usize = 1_024;

/// Ids of one leaf that are sorted in memory at once, 32 B each. A fuller leaf takes several passes instead.
pub const LEAF_IDS_IN_MEMORY: usize = 1 << 20;

/// Node hashes that travel to the writer in one message: their commit takes a few milliseconds, and a write may have to
/// wait for it.
pub const HASH_ROWS: usize = 1_024;

/// Nodes that the writer remembers as having no stored hash. Forgetting one costs a needless removal, no more.
pub const KNOWN_STALE: usize = 1 << 16;

/// Nodes written to while a hashing pass runs. Beyond it the pass stores nothing more, and the next one does.
pub const TOUCHED_DURING_PASS: usize = 1 << 20;

/// Nodes of one row of the tree that are read, or computed, at a time. Rows below the top have no more than a node has
/// children.
pub const ROW_PART: usize = 4_096;

/// Milliseconds that a node of the top row covers at least in the tree of a new cluster: a day. The top row is the one
/// part of the tree that grows with time for ever; with a node a day it has 3,650 of them in ten years, of which the
/// last [`DIGEST_TILES`] days are compared at once. A node every 16 ms would be two billion a year.
pub const SHORTEST_TOP_NODE: u64 = 86_400_000;

/// Nodes of the top row that are kept in memory, 48 B each: 25 MB, and for a moment as much again when new nodes come.
/// At a day for a node, which is the least that a new store may have, they are 1,400 years. Of a longer row every root
/// reads all, page by page.
pub const TOP_ROW_NODES: usize = 1 << 19;

/// Nodes of the top row that are known one by one to have been written to since they were last read. Beyond it the whole
/// row is read again, which is no slower than so many single reads.
pub const TOUCHED_TOP_NODES: usize = 1 << 16;

/// Keys whose newest version is kept in memory once it was read.
pub const TIP_SLOTS: usize = 8_192;

/// Largest event kept so, in bytes of key and value: with the slots it bounds the memory to 8 MiB.
pub const TIP_BYTES: usize = 1 << 10;

/// Damage that `verify` lists one by one; what is beyond is counted.
pub const FINDINGS_LISTED: usize = 100;

/// Damaged events that are remembered until they are mended. What is beyond is found again when there is room.
pub const DAMAGED_EVENTS: usize = 1_024;

/// Damaged events that a neighbour is asked for in one question: far fewer than it would answer at once, for they are
/// read one by one.
pub const MENDED_AT_ONCE: usize = 256;

/// Events and lists of one frame stop at this size, unless a single event is larger: enough to keep a link busy,
/// little enough to hold a few.
pub const BATCH_FRAME: usize = 1 << 20;

/// Bytes of a frame beside its events: numbers, lengths and the fields of the message.
pub const FRAME_OVERHEAD: usize = 1 << 10;

/// Events in one message: a batch of the smallest ones.
pub const MESSAGE_EVENTS: usize = 16_384;

/// Addresses in one message, 38 B each: they fit in [`BATCH_FRAME`].
pub const MESSAGE_ADDRESSES: usize = 16_384;

/// Ids in all the lists of one message, 5 B each when shortened.
pub const MESSAGE_IDS: usize = 131_072;

/// Whole ids in one message, 32 B each: as many as fit in [`BATCH_FRAME`].
pub const WHOLE_IDS: usize = MESSAGE_IDS / 8;

/// Messages of ids that one question is answered with. A fuller span takes several rounds.
pub const LISTS_AT_ONCE: usize = 8;

/// Shares of one span that are listed at once: no more than a lane takes, or what they have the other side wish for would
/// be declined for want of room.
pub const SHARES_AT_ONCE: usize = 3;

/// Ids of the neighbour's lists that it is asked for in one question: about as many events as one answer holds.
pub const WISHED_AT_ONCE: usize = 16_384;

/// Scopes listed in one message.
pub const MESSAGE_SPANS: usize = 4_096;

/// Nodes whose children are named in one message.
pub const MESSAGE_PARENTS: usize = 512;

/// Children named in one message, about 40 B each.
pub const MESSAGE_CHILDREN: usize = 16_384;

/// Rows of a digest: two for each level.
pub const DIGEST_ROWS: usize = 10;

/// Nodes in one row of a digest. Only the top row, a node for two years, can ever come near.
pub const DIGEST_TILES: usize = 1_024;

/// Digests of spans that are kept for the next neighbour that compares: those of a minute and of some that are late.
/// One may have half a megabyte, and has usually six kilobytes.
pub const DIGESTS_KEPT: usize = 16;

/// Arrivals since a digest was computed that are looked through for one in its span. That is quicker than to compute it
/// again.
pub const DIGEST_ARRIVALS: u64 = 4_096;

/// Most children that [`Parameters`](crate::Parameters) may give a node.
pub const WIDEST_NODE: usize = 256;

/// Bytes of the name of a space.
pub const SPACE_NAME: usize = 64;

/// Bytes of the address of a node: a host name of the greatest length, its port and a transport.
pub const PEER_TEXT: usize = 272;

/// Addresses at which a node says that it listens: both transports, each for both kinds of IP addresses.
pub const LISTENS: usize = 4;

/// Members of the cluster that a node remembers: several times as many as it is connected to. One that is beyond them
/// counts only while it is connected.
pub const MEMBERS: usize = 400;

/// Addresses of a member that are remembered beside those that it names itself.
pub const TOLD: usize = 4;

/// Events that one message of a neighbour is answered with, in bytes of keys and values (a single event may be larger).
/// What is beyond follows when the neighbour asks on: it sets the pace.
pub const WINDOW_BYTES: usize = 2 << 20;

/// Addresses looked at for one scope of a list, and those of one moment beyond, for moments cannot be parted. A scope is
/// a leaf or a small node; a million ids in it are sent in shares, so each of them walks all of it.
pub const SCANNED_ADDRESSES: usize = 1 << 22;

/// Events whose hashes are checked at once where a repair moved nothing; the leaf of the last one is checked to its end.
/// With the pause that follows, in proportion, whoever claims to differ costs this node 1,600 events a second.
pub const CHECKED_EVENTS: usize = 1 << 14;

/// Spans of repairs in vain whose hashes wait to be checked. What is beyond is found by the next repair.
pub const SUSPECTED_SPANS: usize = 256;

/// Addresses that are compared with a list for each id that it names, or would name if its span were listed whole. Where
/// this side holds so much more, what the other lacks is what matters.
pub const COMPARED_FOR_ONE: usize = 64;

/// Addresses that are compared with any list: more than events that fit an answer.
pub const COMPARED_AT_LEAST: usize = 1 << 16;

/// Shares beyond which a span is not believed to have more. One of four millions of events has forty.
pub const COMPARED_SHARES: usize = 1_024;

/// Rows that may be looked at for one neighbour at once. The largest honest exchange is about a leaf that no message
/// takes: if one side holds a million events there and the other 800,000 of them, it looks at 22 millions of rows.
pub const SCANNED_AT_ONCE: u64 = 1 << 25;

/// Rows that may be looked at for one neighbour in a second, in the long run: about a fifth of a core. A node that catches
/// up on what it lacks altogether has one row looked at for each event, one that lacks some here and there up to thirty.
pub const SCANNED_A_SECOND: u64 = 1 << 19;

/// Bytes of events that may be read for one neighbour at once: some seconds of what a fast line carries.
pub const READ_AT_ONCE: u64 = 1 << 30;

/// Bytes of events that may be read for one neighbour in a second, in the long run: more than a store takes in.
pub const READ_A_SECOND: u64 = 1 << 28;

/// Addresses read at a time while scanning.
pub const SCAN_PAGE: usize = 4_096;

/// Events that a node asks its neighbours for at once after an announcement. What is beyond is found by the next
/// comparison.
pub const WANTED_AT_ONCE: usize = 65_536;

/// Largest event that is pushed, in bytes of key and value: on a line of a megabit it holds up what is written after it for
/// half a second. Larger ones are announced, and given over the repair lane.
pub const PUSHED_BYTES: usize = 64 << 10;

/// Announcements that wait for their few milliseconds; with these they go at once.
pub const ANNOUNCED_AT_ONCE: usize = 1_024;

/// Leaves whose events are in flight that are remembered: what is written now touches a few, an import of history more.
pub const LEAVES_IN_FLIGHT: usize = 4_096;

/// Nodes of one repair whose children were named.
pub const OPENED_NODES: usize = 65_536;

/// Requests for events that do not exist, before the connection is closed. One is forgiven each minute: whoever holds a
/// damaged event cannot know that its neighbour lacks it.
pub const MISTAKEN_WISHES: u32 = 16;

/// Hellos before the clocks are settled.
pub const GREETINGS: u32 = 64;

/// Bytes of one thing that a node remembers about itself: it is read whole.
pub const SETTING_BYTES: usize = 1 << 20;

/// Bytes that wait on one lane to a neighbour before nothing more is put there. One answer may go beyond it by
/// [`WINDOW_BYTES`] and its lists.
pub const LANE_BYTES: usize = 2 << 20;

/// Bytes of events from which on a frame is encoded once for all links that send it. Smaller ones cost less than to look
/// for them.
pub const SHARED_FRAME: usize = 16 << 10;

/// Such frames that are remembered while they wait: links that are in step send the same few.
pub const FRAMES_SHARED: usize = 32;

/// Lots of events of one neighbour that are being stored at once: one that the disk is at, and the next.
pub const STORES_AT_ONCE: usize = 2;

/// Neighbours with a connection at once: a hundred, and some that come while others are still held for there. Each may have
/// some megabytes wait on its lanes.
pub const NEIGHBOURS: usize = 128;

/// News held for the neighbours that have not sent it yet. A neighbour that is further behind compares instead.
pub const FEED_EVENTS: usize = 16_384;

/// Bytes of keys and values of these.
pub const FEED_BYTES: usize = 16 << 20;

/// News taken for one neighbour at a time.
pub const FEED_PAGE: usize = 1_024;

// A page holds at least one row of everything but a body, and a lot fits in the queue.
const _: () = assert!(LONGEST_KEY as usize * 2 + INLINE_DATA < PAGE_BYTES);
const _: () = assert!(LOT_BYTES <= QUEUE_BYTES && BATCH_BYTES <= QUEUE_BYTES);
const _: () = assert!(MESSAGE_ADDRESSES * 42 <= BATCH_FRAME && MESSAGE_IDS * 5 <= BATCH_FRAME);
const _: () = assert!(SHARES_AT_ONCE * MESSAGE_IDS * 5 <= LANE_BYTES);
const _: () =
    assert!(SCANNED_ADDRESSES as u64 <= SCANNED_AT_ONCE / 4 && WINDOW_BYTES as u64 * 4 <= READ_A_SECOND);
const _: () = assert!(WHOLE_IDS * 32 <= BATCH_FRAME && WISHED_AT_ONCE <= WHOLE_IDS);
// The list of members is remembered as one thing, in text.
const _: () = assert!(MEMBERS * ((LISTENS + TOLD) * (PEER_TEXT + 4) + 256) <= SETTING_BYTES);
const _: () = assert!(LOT_EVENTS <= PENDING_ROWS && PENDING_ROWS as u64 <= ARRIVALS_KEPT);
