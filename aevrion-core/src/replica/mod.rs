//! The replica: the embeddable database, and the one place where order is decided.
//!
//! One [writer](writer) task takes many requests at a time and makes one commit of them: it stamps the clock, drops
//! known events, encodes, marks the tree, and answers when the commit is safe. Calls go one way: the writer's loop →
//! [submissions] and [expiry] → [committer] → store. Readers never wait for it: each reads the
//! [`ReadState`](read_state::ReadState) that the writer published last.

mod check;
mod commit_batch;
mod committer;
mod damaged;
mod derived;
mod digests;
mod expiry;
mod export;
mod failure;
mod feed;
mod handle;
mod heal;
mod import;
mod kept_sketch;
mod open;
mod operation;
mod options;
mod queue;
mod read_state;
mod rebuild;
mod recent;
mod replica_view;
mod scrub;
mod sketch_answer;
mod sketch_check;
mod sketch_upkeep;
mod state;
mod status;
mod submissions;
mod tree_changes;
mod tree_walk;
mod verify;
mod waiting;
mod watch;
mod writer;

pub use damaged::DamagedEvents;
pub use export::Export;
pub(crate) use feed::{FeedReader, News};
pub use handle::Replica;
pub use import::Import;
pub use operation::{Inserted, Operation};
pub use options::Options;
pub use rebuild::Rebuilt;
pub use scrub::{Scrub, ScrubPass, ScrubReport, ScrubStep};
pub use status::Status;
pub use verify::{Progress, Verification};
pub use watch::{Cursor, ParseCursorError, Watch, Watched};
